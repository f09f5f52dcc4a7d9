"""The page in a real browser: Debian's Chromium, driven by Playwright's library, with a camera that shows a clip.

The fixtures `chromium` and `visit`, which looks at the fixture `server`, are there for all. Tests that use them are skipped
where either is missing.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from .pictures import load

#: The headless shell, the same engine without windows, comes first: it takes less than half the processor time.
_BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _BROWSERS)), None)
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 360, "height": 740}
#: What a browser says by itself of an answer that is a refusal.
_REFUSAL = "Failed to load resource: the server responded with a status of 4"
#: What Playwright says where a test wants no service worker, which would answer instead of the server.
_BLOCKED = "Service Worker registration blocked by Playwright"
_WORST = ("serious", "critical")
#: No claim on how fast the page is: the machine may be busy.
_PATIENCE_MS = 60_000


def clip(path: Path, photo: bytes, frames: int = 25, size: tuple[int, int] = (640, 480)) -> Path:
    """A film for the browser's camera: one photo, which moves a little."""
    picture = load(photo)
    picture.thumbnail((size[0], size[1] - 16))
    with path.open("wb") as film:
        for number in range(frames):
            frame = Image.new("RGB", size, (90, 100, 110))
            frame.paste(picture, ((size[0] - picture.width) // 2, abs(number - frames // 2) % 16))
            buffer = io.BytesIO()
            frame.save(buffer, "JPEG", quality=92, subsampling="4:2:0")
            film.write(buffer.getvalue())
    return path


class SharedBrowser:
    """The browser that tests of modules in a row share: a start takes longer than many a test.

    It ends before a module whose first test drives no browser: Playwright's loop runs in the thread of the tests, which all
    that uses asyncio would notice.
    """

    def __init__(self) -> None:
        self._running = contextlib.ExitStack()
        self._browser = None

    def get(self, film: Path):
        """The browser, whose camera shows a film if it is started now."""
        if self._browser is None:
            playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
            driver = self._running.enter_context(playwright.sync_playwright())
            driver.selectors.set_test_id_attribute("id")
            flags = [
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-video-capture={film}",
            ]
            self._browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
            self._running.callback(self._browser.close)
        return self._browser

    def end_before(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """End it after a test if the one that follows is in another module and drives no browser."""
        if following is None or (following.path != item.path and following.get_closest_marker("browser") is None):
            self._browser = None
            self._running.close()


SHARED_BROWSER = SharedBrowser()


@pytest.fixture(scope="session")
def film(tmp_path_factory, faces) -> Path:
    return clip(tmp_path_factory.mktemp("film") / "clip.mjpeg", faces["biden"])


@pytest.fixture(scope="module")
def chromium(film):
    """A browser whose camera shows Joe Biden."""
    if not CHROMIUM:
        pytest.skip("chromium is not installed")
    return SHARED_BROWSER.get(film)


class Visit:
    """One tab that looks at a server's page. What the page throws or the policy forbids fails the test that ends.

    Attributes
    ----------
    page
        Playwright's.
    """

    def __init__(self, browser, url: str, size: dict = DESKTOP, theme: str = "light", **how):
        self.url = url
        how = {"permissions": ["clipboard-read", "clipboard-write"], "reduced_motion": "reduce", **how}
        how = {"service_workers": "block", **how}
        self.context = browser.new_context(viewport=size, color_scheme=theme, **how)
        self.context.set_default_timeout(_PATIENCE_MS)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.page.on("console", lambda message: self._hear(message))
        self.page.on("pageerror", lambda error: self.said.append(f"thrown: {error}"))
        self.page.on("dialog", self.refuse_window)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning") and not message.text.startswith((_REFUSAL, _BLOCKED)):
            self.said.append(f"{message.type}: {message.text}")

    def refuse_window(self, window) -> None:
        self.said.append(f"a window of the browser: {window.message}")
        window.dismiss()

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, kind, *_) -> None:
        self.shoot("end")
        self.context.close()
        if kind is None:
            assert not self.said, self.said

    def open(self, address: str = ""):
        """Show a view, from the start of the page."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/{address}")
        self.page.locator("h1").first.wait_for()
        return self.page

    def escape(self) -> None:
        """Close the dialog with the keyboard, and wait until it is gone."""
        self.page.keyboard.press("Escape")
        self.page.locator("dialog").wait_for(state="detached")

    def copied(self, button) -> str:
        """What the clipboard holds after a button that copies."""
        self.page.evaluate("navigator.clipboard.writeText('')")
        button.click()
        said = self.page.wait_for_function("async () => (await navigator.clipboard.readText()) || null")
        return said.json_value()

    def shoot(self, name: str) -> None:
        """Keep what is seen for people to look at, where ``TEST_SCREENSHOTS_DIR`` says so."""
        if folder := os.environ.get("TEST_SCREENSHOTS_DIR"):
            test = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].split(" ")[0].replace("/", "_")
            self.page.screenshot(path=Path(folder) / f"{test}-{name}.png")

    def choose(self, button, *files: tuple[str, bytes]) -> None:
        """Choose files by a button."""
        with self.page.expect_file_chooser() as chooser:
            button.click()
        chooser.value.set_files([_upload(*file) for file in files])

    def drop(self, place: str, *files: tuple[str, bytes]) -> None:
        """Drop files on what a selector finds."""
        self.page.locator(place).dispatch_event("drop", {"dataTransfer": self._transfer(files)})

    def drop_paths(self, place: str, *paths: Path) -> None:
        """Drop files and folders of the disk as a user does; folders can be dropped in no other way."""
        box = self.page.locator(place).bounding_box()
        protocol = self.context.new_cdp_session(self.page)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + min(box["height"], 200) / 2}
        for kind in ("dragEnter", "dragOver", "drop"):
            protocol.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})

    def paste(self, *files: tuple[str, bytes]) -> None:
        event = "new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true})"
        self.page.evaluate(f"data => document.dispatchEvent({event})", self._transfer(files))

    def _transfer(self, files):
        given = [[name, base64.b64encode(data).decode()] for name, data in files]
        return self.page.evaluate_handle(
            """files => {
                const transfer = new DataTransfer();
                for (const [name, data] of files) {
                    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
                    transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
                }
                return transfer;
            }""",
            given,
        )

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def barriers(self, *rules: str) -> list[str]:
        """What axe-core finds that is serious or critical; of these rules only, if some are named."""
        spec = importlib.util.find_spec("axe_playwright_python")
        if spec is None:
            pytest.skip("axe-playwright-python is not installed (requirements-dev.txt)")
        if not self.page.evaluate("'axe' in window"):  # half a megabyte, which a view keeps
            self.page.evaluate((Path(spec.origin).parent / "axe.min.js").read_text("utf-8"))
        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{each['id']}: {node['html'][:120]} ({node['failureSummary']})"
            for each in found["violations"]
            if each["impact"] in _WORST
            for node in each["nodes"]
        ]


class Gate:
    """Holds the requests that enrol photos on their way to the server until it is opened."""

    def __init__(self, page):
        self._page, self._held, self._is_open = page, [], False
        page.route("**/enroll", lambda route: route.continue_() if self._is_open else self._held.append(route))

    def wait(self, count: int) -> None:
        while len(self._held) < count:
            self._page.wait_for_timeout(20)

    def open(self) -> None:
        self._is_open = True
        for route in self._held:
            route.continue_()


@pytest.fixture
def visit(chromium, server):
    """A tab that looks at the page of the module's server."""
    with Visit(chromium, server.url) as visit:
        yield visit


def _upload(name: str, data: bytes) -> dict:
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}
