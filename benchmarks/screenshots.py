"""Makes the picture of the page at the README's top, from photos in the public domain only.

    python benchmarks/screenshots.py [--out FOLDER]

It starts a server of its own, enrols the one person of tests/photos.py whose photo is in the public domain from a part of
that photo, shows the whole of it in Try, and keeps what Debian's Chromium draws as docs/page.webp.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import report
from PIL import Image

from tests.e2e.browsing import CHROMIUM
from tests.e2e.pictures import load, save
from tests.e2e.serving import Server
from tests.photos import PHOTOS, fetch_photos

PHOTO, PERSON = "astronaut.png", "Eileen Collins"
SIZE = {"width": 1280, "height": 760}


def portrait(photo: bytes) -> bytes:
    """The head alone, as another photo of the same person might show it."""
    picture = load(photo)
    width, height = picture.size
    head = picture.crop((round(0.24 * width), 0, round(0.66 * width), round(0.46 * height)))
    return save(head.rotate(5, resample=Image.Resampling.BICUBIC, expand=False), quality=88)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--out", metavar="FOLDER", type=Path, default=report.ROOT / "docs")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    assert PHOTOS[PHOTO].licence == "public domain"
    photo = fetch_photos(PHOTO)[PHOTO].read_bytes()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        server = Server(Path(folder), camera="none")
        server.put(f"{PERSON}/portrait.jpg", portrait(photo))
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with server:
            page = browser.new_page(viewport=SIZE, device_scale_factor=1.5, color_scheme="light")
            page.goto(server.url)
            for button in ("Choose a photo", "Another photo"):  # the second with everything loaded
                with page.expect_file_chooser() as chooser:
                    page.get_by_role("button", name=button).click()
                chooser.value.set_files([{"name": PHOTO, "mimeType": "image/png", "buffer": photo}])
                page.locator(".found-face").wait_for()
                page.get_by_label("68 landmarks").check()
                page.locator(".landmarks").wait_for()
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)
            shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    target = options.out / "page.webp"
    shot.convert("RGB").save(target, "WEBP", quality=82, method=6)
    print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
