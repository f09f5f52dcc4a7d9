"""Thousands of photos that are added on the page, to the end, in a real browser: run by hand, some minutes.

::

    python -m tests.manual.import_many [--photos N] [--data DIR] [--page-alone]

Drops a folder of N (5,000) photos on *Add many people*, looks at other views while they are added, and waits for the report.
Then a second server gets the same folder copied into its known_faces. Prints what both took, and for how long the page did not
answer at most. The photos are those in folders of people below DIR, or variants, made here, of a few photos that other tests
rely on too. Needs Linux, Chromium and Playwright. Ends with 0 if every photo has a result, and if nobody has more photos by the
page than by copying: of some photos the page lets a person decide.

With --page-alone uploads get an answer at once that is not the server's, which nobody is enrolled by: what is left is what the
page itself does with so many photos.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from .. import photos as real_photos
from ..e2e import pictures
from ..e2e.browsing import CHROMIUM, Visit
from ..e2e.serving import Server

#: Who is on the photos of which variants are made.
_PEOPLE = {"obama": "Barack Obama", "biden": "Joe Biden", "collins": "Eileen Collins"}
_FRAMES = """() => {
    const seen = (window.frames_ = { last: performance.now(), longest: 0 });
    const next = (now) => {
        seen.longest = Math.max(seen.longest, now - seen.last);
        seen.last = now;
        requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
}"""


def variants(count: int) -> Iterator[tuple[str, bytes]]:
    """So many photos, each by the path below the folder that is dropped: cut, scaled and lit differently."""
    chance = np.random.default_rng(1)
    found = real_photos.fetch_photos("obama.jpg", "biden.jpg", "astronaut.png")
    sources = {"obama": found["obama.jpg"], "biden": found["biden.jpg"], "collins": found["astronaut.png"]}
    originals = {}
    for key, path in sources.items():
        originals[key] = Image.open(path).convert("RGB")
        originals[key].thumbnail((640, 640))
    for number in range(count):
        key = list(originals)[number % len(originals)]
        picture = originals[key]
        width, height = picture.size
        left, top, right, bottom = chance.uniform(0, 0.06, 4) * (width, height, width, height)
        cut = picture.crop((int(left), int(top), width - int(right), height - int(bottom)))
        size = int(chance.integers(320, 520))
        cut = cut.resize((size, round(size * cut.height / cut.width)))
        cut = ImageEnhance.Brightness(cut).enhance(float(chance.uniform(0.7, 1.25)))
        yield f"{_PEOPLE[key]}/{number:05d}.jpg", pictures.save(cut, quality=int(chance.integers(75, 95)))


def fill(folder: Path, count: int, data: Path | None) -> int:
    """Make the folder that is dropped; how many photos are in it."""
    made = variants(count) if data is None else ((f"{p.parent.name}/{p.name}", p.read_bytes()) for p in below(data)[:count])
    number = 0
    for path, content in made:
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        number += 1
    return number


def below(data: Path) -> list[Path]:
    return sorted(data.glob("*/*.jpg"))


def cpu_seconds(server: Server) -> float:
    """Processor time of the server's process so far."""
    parts = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def by_the_page(browser, server: Server, folder: Path, count: int, alone: bool) -> dict:
    """Add the photos of a folder on the page."""
    used = cpu_seconds(server)
    with Visit(browser, server.url) as visit:
        page = visit.open("#/people")
        page.set_default_timeout(0)
        if alone:
            page.route("**/enroll", lambda route: route.fulfill(json={"photos": [{"status": "added", "warnings": []}]}))
        page.evaluate(_FRAMES)
        begun = time.monotonic()
        visit.drop_paths("#main", folder)
        start = page.get_by_role("button", name=f"Add {count:,} photos of")
        start.wait_for()
        listed = time.monotonic() - begun
        start.click()
        page.get_by_text(f"of {count:,} photos done").wait_for()
        views, slowest, turn = ("Live", "People", "Try"), 0.0, 0
        strip = page.locator("#job")
        while True:
            asked = time.monotonic()
            page.get_by_role("link", name=views[turn % len(views)], exact=True).first.click()
            turn += 1
            page.locator("h1").first.wait_for()
            slowest = max(slowest, time.monotonic() - asked)
            shown = strip.inner_text() if strip.count() else ""
            print(f"  {time.monotonic() - begun:6.0f} s  {shown}", flush=True)
            if "Adding photos" not in shown:
                break
            page.wait_for_timeout(min(10_000, 500 * turn))
        took = time.monotonic() - begun
        page.evaluate("location.hash = '#/import'")
        page.get_by_text("Save the report").wait_for()
        outcome = page.locator("p.number").first.inner_text()
        longest = page.evaluate("window.frames_.longest")
        return {
            "seconds until listed": listed,
            "seconds": took,
            "server's processor time": cpu_seconds(server) - used,
            "longest pause of the page, s": longest / 1000,
            "slowest change of view, s": slowest,
            "report": outcome,
        }


def by_copying(server: Server, folder: Path, wanted: int) -> dict:
    """Copy the folder into known_faces, and wait until every photo was read."""
    used, begun = cpu_seconds(server), time.monotonic()
    shutil.copytree(folder, server.known_faces, dirs_exist_ok=True)

    def is_done() -> bool:
        listed = server.get("/people").json()
        return sum(each["photos"] for each in listed["people"]) + len(listed["problems"]) >= wanted

    server.wait_for(is_done, 36_000)
    return {"seconds": time.monotonic() - begun, "server's processor time": cpu_seconds(server) - used}


def shown(title: str, found: dict) -> None:
    words = [f"{key} {value if isinstance(value, str) else round(value, 2)}" for key, value in found.items()]
    print(f"{title}: {', '.join(words)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", metavar="N", type=int, default=5000)
    parser.add_argument("--data", metavar="DIR", type=Path, help="photos in folders of people")
    parser.add_argument("--page-alone", action="store_true", help="answer the uploads at once, and copy nothing")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as made, sync_playwright() as driver:
        work = Path(made)
        count = fill(work / "dropped", options.photos, options.data)
        driver.selectors.set_test_id_attribute("id")
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with Server(work / "page") as page_server:
            page = by_the_page(browser, page_server, work / "dropped", count, options.page_alone)
            by_page = {name: each["photos"] for name, each in page_server.people().items()}
        browser.close()
        if options.page_alone:
            shown(f"{count} photos on the page alone", page)
            return 0
        with Server(work / "copied") as copy_server:
            copied = by_copying(copy_server, work / "dropped", count)
            by_copy = {name: each["photos"] for name, each in copy_server.people().items()}
    shown(f"{count} photos on the page", page)
    shown(f"{count} photos copied into known_faces", copied)
    more = {name: number - by_copy.get(name, 0) for name, number in by_page.items() if number > by_copy.get(name, 0)}
    print(f"enrolled: {sum(by_page.values())} on the page, {sum(by_copy.values())} by copying")
    print(f"ratio of time: {page['seconds'] / copied['seconds']:.2f}")
    return 1 if more else 0


if __name__ == "__main__":
    sys.exit(main())
