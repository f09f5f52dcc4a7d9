"""What the page weighs, how soon it shows, and how smoothly 10,000 people scroll, in Debian's Chromium.

    python benchmarks/web.py [--people N] [--quick] [--json FILE]

The people are folders of a few photos of tests/photos.py, again and again. `painted` is the browser's first contentful
paint and `useful` the moment at which Try can be used, the median of visits with an empty cache over loopback. `scrolling`
moves the grid of People by 600 pixels in every frame, `jumping` to places all over it; what counts is how many frames came
later than 50 ms after the one before, and the longest task of the page's thread. The baseline puts all cards into the page
at once, as a plain list would.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import report

from recognizer.http.pages import Pages
from tests.e2e import pictures
from tests.e2e.browsing import CHROMIUM
from tests.e2e.serving import Server
from tests.photos import fetch_photos

PHOTOS = ("astronaut.png", "biden.jpg", "obama.jpg", "obama2.jpg", "obama3.jpg")
LATE = 50
SIZE = {"width": 1440, "height": 900}
WATCH = """
window.tasks = [];
new PerformanceObserver((list) => tasks.push(...list.getEntries().map((each) => each.duration)))
  .observe({type: "longtask", buffered: true});
new MutationObserver((_, watch) => {
  if (document.querySelector("main .drop")) { window.useful = performance.now(); watch.disconnect(); }
}).observe(document, {childList: true, subtree: true});
"""
SCROLL = """([steps, jump]) => new Promise((resolve) => {
  const gaps = [];
  let last = performance.now(), left = steps;
  window.tasks.length = 0;
  const step = () => {
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    const most = document.documentElement.scrollHeight - innerHeight;
    scrollTo(0, jump ? Math.random() * most : (scrollY + 600) % most);
    if (left-- > 0) requestAnimationFrame(step);
    else setTimeout(() => resolve({gaps: gaps.slice(1), tasks: window.tasks}), 300);
  };
  requestAnimationFrame(step);
})"""
ALL_AT_ONCE = """async () => {
  const {people} = await (await fetch("/people?limit=10000")).json();
  window.tasks.length = 0;
  await new Promise((done) => setTimeout(done, 200));
  const list = document.createElement("div");
  list.style.cssText = "display:grid;grid-template-columns:repeat(auto-fill,minmax(148px,1fr));gap:16px";
  for (const person of people) {
    const [card, face, name] = ["a", "img", "span"].map((tag) => document.createElement(tag));
    face.src = person.thumbnail; face.loading = "lazy"; face.width = face.height = 148;
    name.textContent = person.name;
    card.append(face, name);
    list.append(card);
  }
  document.querySelector("main").replaceChildren(list);
  await new Promise((done) => setTimeout(done, 1500));
  return {tasks: window.tasks};
}"""


def enrol(server: Server, count: int) -> None:
    photos = [pictures.smaller(path.read_bytes(), 400) for path in fetch_photos(*PHOTOS).values()]
    for number in range(count):
        server.put(f"Person {number:05}/photo.jpg", photos[number % len(photos)])


def visits(browser, url: str, count: int) -> dict:
    painted, useful = [], []
    for _ in range(count):
        with browser.new_context(viewport=SIZE) as context:
            page = context.new_page()
            page.add_init_script(WATCH)
            page.goto(url)
            page.locator("main .drop").wait_for()
            page.wait_for_timeout(300)
            painted.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            useful.append(page.evaluate("window.useful"))
    return {"visits": count, "painted ms": statistics.median(painted), "useful ms": statistics.median(useful)}


def scrolling(browser, url: str, frames: int) -> list[dict]:
    rows = []
    with browser.new_context(viewport=SIZE) as context:
        page = context.new_page()
        page.add_init_script(WATCH)
        page.goto(f"{url}/#/people")
        page.locator(".person-name").first.wait_for()
        page.wait_for_timeout(500)
        for what, count, jump in (("scrolling", frames, False), ("jumping", frames // 4, True)):
            seen = page.evaluate(SCROLL, [count, jump])
            rows.append(
                {
                    "what": what,
                    "cards": page.locator(".cell").count(),
                    "frames": len(seen["gaps"]),
                    "median ms": statistics.median(seen["gaps"]),
                    "longest ms": max(seen["gaps"]),
                    "late frames": sum(gap > LATE for gap in seen["gaps"]),
                    "longest task ms": max(seen["tasks"], default=0),
                }
            )
        tasks = page.evaluate(ALL_AT_ONCE)["tasks"]
        rows.append({"what": "all cards at once", "longest task ms": max(tasks, default=0)})
    return rows


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--people", metavar="N", type=int, default=10_000)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    files = Pages().files.values()
    weight = {
        "files": len(files),
        "kB": sum(len(file.plain) for file in files) / 1000,
        "compressed kB": sum(len(file.packed or file.plain) for file in files) / 1000,
    }
    report.table([weight], "What the page weighs")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        server = Server(Path(folder), camera="none")
        enrol(server, 1000 if options.quick else options.people)
        with server:
            begun = time.perf_counter()
            server.get("/people", params={"limit": 200, "offset": options.people // 2})
            asked = {"GET /people ms": 1000 * (time.perf_counter() - begun)}
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            shown = visits(browser, server.url, 3 if options.quick else 9) | asked
            report.table([shown], "A visit with an empty cache")
            rows = scrolling(browser, server.url, 150 if options.quick else 600)
            report.table(rows, f"{options.people} people in the grid")
            browser.close()
    report.save(options, weight=weight, visit=shown, scrolling=rows)


if __name__ == "__main__":
    main()
