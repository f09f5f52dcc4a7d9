"""The stream in a real browser: Debian's Chromium, driven by Playwright's library. Skipped where either is missing."""

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.video.sources import pattern

from .serving import Server

SIZE = (640, 360)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("browser"), camera=f"test:{SIZE[0]}x{SIZE[1]}@30") as server:
        yield server


@pytest.fixture
def page(chromium):
    page = chromium.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, device_scale_factor=1)
    yield page
    page.close()


def look(page, name: str) -> np.ndarray:
    """What the page shows now. ``TEST_SCREENSHOTS_DIR`` keeps it for people to look at."""
    data = page.screenshot()
    if folder := os.environ.get("TEST_SCREENSHOTS_DIR"):
        (Path(folder) / f"{name}.png").write_bytes(data)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def show(page, server, body: str) -> None:
    """A page of the server's own address with `body`; pages of other sites get no picture."""
    page.route(f"{server.url}/page", lambda route: route.fulfill(content_type="text/html", body=body))
    page.goto(f"{server.url}/page")


def numbers(page, name: str, count: int = 4) -> list[int]:
    """The numbers of the frames that the page shows, one after the other."""
    found, until = [], time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until, f"the page shows no moving picture: {found}"
        read = pattern.read(look(page, name))
        if read and read[0] not in found:
            found.append(read[0])
        time.sleep(0.2)
    return found


def test_a_page_with_the_stream_in_an_image_shows_it_moving(server, page):
    show(page, server, "<body style='margin:0'><img src='/stream?overlay=faces,clock,fps' width='100%'></body>")
    seen = numbers(page, "image")
    assert seen == sorted(seen)


def test_what_is_shown_is_the_present(server, page):
    show(page, server, "<body style='margin:0'><img src='/stream' width='100%'></body>")
    numbers(page, "present", 2)
    ages, until = [], time.monotonic() + 60
    while len(ages) < 5 or min(ages) >= 3:  # a screenshot may take long, but not each of them
        assert time.monotonic() < until, ages
        before = time.time()
        if read := pattern.read(look(page, "present")):
            ages.append(pattern.age(read[1], before))


def test_the_stream_by_itself_in_a_tab(server, page):
    page.goto(f"{server.url}/stream", wait_until="commit")
    until = time.monotonic() + 60
    page.wait_for_function("() => document.images[0]?.naturalWidth > 0")  # else what comes would count as movement
    first = look(page, "tab")
    while np.abs(look(page, "tab").astype(int) - first).mean() < 1:
        assert time.monotonic() < until, "nothing moves"
        time.sleep(0.2)


def test_closing_the_page_ends_the_stream(server, chromium):
    page = chromium.new_page()
    show(page, server, "<img src='/stream'><img src='/stream?width=160'>")
    server.wait_for(lambda: server.get("/health").json()["video"]["viewers"] == 2)
    page.close()
    server.wait_for(lambda: server.get("/health").json()["video"]["viewers"] == 0)


def test_a_page_of_another_site_gets_no_picture(server, page):
    page.set_content(f"<img src='{server.url}/stream'>")
    page.wait_for_function("() => document.images[0].complete")
    assert page.evaluate("document.images[0].naturalWidth") == 0
    server.wait_for(lambda: "origin_refused" in server.log())
