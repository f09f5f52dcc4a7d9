"""`group`: a folder of photos by who is on them, as JSON and as a page; interrupted, gone on with, and with bad photos."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import os
import re
import signal
import sqlite3
import sys
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from .e2e import pictures
from .test_cli import Home

HOSTILE = "<img src=x onerror=alert(1)> & 'co'.jpg"


@pytest.fixture(scope="module")
def small(photos) -> dict[str, bytes]:
    names = {
        "obama.jpg": "obama",
        "obama2.jpg": "obama2",
        "obama3.jpg": "obama3",
        "biden.jpg": "biden",
        "astronaut.png": "collins",
    }
    return {short: pictures.smaller(photos[name].read_bytes(), 500) for name, short in names.items()}


@pytest.fixture
def home(tmp_path, models_dir) -> Home:
    made = Home(tmp_path, models_dir)
    made.album, made.out = tmp_path / "album", tmp_path / "out"
    made.album.mkdir()
    return made


def put(home: Home, photos: dict[str, bytes]) -> None:
    for name, data in photos.items():
        place = home.album / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def group(home: Home, *more, code: int = 0) -> tuple[dict, dict, str]:
    """What the command said, groups.json, and the page."""
    said = home.json("group", home.album, "--out", home.out, *more, code=code)
    return said, json.loads((home.out / "groups.json").read_bytes()), (home.out / "index.html").read_text("utf-8")


def people(shown: dict) -> list[tuple[str | None, list[str]]]:
    """Who is in groups.json, and the names of their photos."""
    return [(each["subject"], sorted(Path(face["photo"]).name for face in each["faces"])) for each in shown["people"]]


class Page(html.parser.HTMLParser):
    """What is in a page: its tags with their attributes, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.slow
def test_one_photo_of_one_person_is_not_counted_as_several(home, small):
    (home.known / "Barack Obama").mkdir(parents=True)
    (home.known / "Barack Obama" / "one.jpg").write_bytes(small["obama3"])
    put(home, {"obama.jpg": small["obama2"]})
    _, _, page = group(home)
    assert "1 photo, 1 face, 1 person on several photos or enrolled, 0 people seen once." in page
    assert "1 face on 1 photo<" in page
    assert home.run("group", home.album, "--out", home.out).stdout.startswith("1 photo, 1 face, 1 person, ")


def test_people_are_put_together_and_those_who_are_enrolled_are_named(home, small):
    (home.known / "Barack Obama").mkdir(parents=True)
    (home.known / "Barack Obama" / "one.jpg").write_bytes(small["obama3"])
    both = pictures.side_by_side([small["obama"], small["biden"]])
    put(
        home,
        {
            "a/obama.jpg": small["obama"],
            "b/obama2.jpg": small["obama2"],
            "b/biden.jpg": small["biden"],
            "both.jpg": both,
            "collins.jpg": small["collins"],
            "nobody.jpg": pictures.nobody(),
            "b/again.jpg": small["obama2"],
            "notes.txt": b"no photo",
            ".hidden.jpg": small["collins"],
        },
    )
    said, shown, page = group(home)
    assert people(shown) == [
        ("Barack Obama", ["again.jpg", "both.jpg", "obama.jpg"]),
        (None, ["biden.jpg", "both.jpg"]),
        (None, ["collins.jpg"]),
    ]
    assert (said["photos"], said["faces"], said["people"], said["on_several"]) == (7, 6, 3, 2)
    assert said["named"] == ["Barack Obama"] and said["refused"] == []
    assert [Path(each).name for each in shown["without_faces"]] == ["nobody.jpg"]
    copied = next(face for face in shown["people"][0]["faces"] if "copies" in face)
    assert [Path(copied["photo"]).name, *(Path(each).name for each in copied["copies"])] == ["again.jpg", "obama2.jpg"]
    read = Page(page)
    assert "Barack Obama 3 faces on 3 photos" in " ".join(read.text.split())
    links = [unquote(each["href"]) for each in read.all("a")]
    assert len(links) == 6 and all((home.out / link).is_file() for link in links)
    for picture in read.all("img"):
        kind, data = picture["src"].split(",", 1)
        assert kind == "data:image/jpeg;base64" and max(Image.open(io.BytesIO(base64.b64decode(data))).size) <= 96


def test_the_page_needs_nothing_and_names_are_only_text(home, small):
    subject = "O'Brien <b>&amp; \u202eco"
    (home.known / subject.replace("\u202e", "")).mkdir(parents=True)
    (home.known / subject.replace("\u202e", "") / "one.jpg").write_bytes(small["obama3"])
    broken = b"\xff\xd8\xff\xe0" + b"nothing" * 30
    put(home, {HOSTILE.replace("/", ""): small["obama"], "<script>bad.jpg": broken, "two\nlines.jpg": small["obama2"]})
    _, _, page = group(home)
    read = Page(page)
    tags = {tag for tag, _ in read.tags}
    assert tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "h1",
        "h2",
        "p",
        "section",
        "span",
        "ul",
        "li",
        "a",
        "img",
        "details",
        "summary",
        "table",
        "tr",
        "td",
    }
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert all(each["src"].startswith("data:") for each in read.all("img"))
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page and "O'Brien <b>&amp; co" in read.text and "<script>bad.jpg" in read.text
    assert HOSTILE in [each["title"].rsplit("/", 1)[1] for each in read.all("a")]


def test_bad_photos_are_listed_with_their_reasons_and_stop_nothing(home, small):
    put(
        home,
        {
            "good.jpg": small["obama"],
            "empty.jpg": b"",
            "text.png": b"not a picture at all",
            "cut.jpg": small["biden"][:2000],
            "bomb.png": _bomb(),
            "camera.raf": b"FUJIFILMCCD-RAW 0201" + bytes(100),
            "new.jxl": b"\xff\x0a" + bytes(100),
            "notes.txt": b"no picture",
            "film.mp4": b"\0\0\0\x18ftypisom" + bytes(100),
        },
    )
    (home.album / "gone.jpg").symlink_to(home.album / "nowhere")
    os.mkfifo(home.album / "pipe.jpg")  # reading which would never end
    (home.album / "again").symlink_to(home.album)
    said, shown, page = group(home)
    codes = {Path(each["photo"]).name: each["code"] for each in said["refused"]}
    broken, foreign = {"empty.jpg", "text.png", "cut.jpg", "bomb.png"}, {"camera.raf", "new.jxl"}
    assert codes.keys() == broken | foreign | {"gone.jpg", "pipe.jpg"}
    assert codes["gone.jpg"] == codes["pipe.jpg"] == "unreadable" and said["other_files"] == 2
    reasons = {Path(each["photo"]).name: each["message"] for each in said["refused"]}
    assert "Fujifilm" in reasons["camera.raf"] and "JPEG XL" in reasons["new.jxl"]
    assert codes["cut.jpg"] == "broken_image" and codes["text.png"] == "unsupported_image"
    assert codes["bomb.png"] == "image_too_large"
    assert all(each["message"] and Path(each["photo"]).name in page for each in shown["refused"])
    assert people(shown) == [(None, ["good.jpg"])]


def _bomb() -> bytes:
    """A PNG that says it is enormous."""
    data = bytearray(pictures.save(Image.new("RGB", (8, 8)), "PNG"))
    import zlib

    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def test_groups_keep_their_numbers_and_no_photo_is_looked_at_twice(home, small):
    put(home, {"one.jpg": small["biden"], "two.jpg": small["obama"]})
    _, before, _ = group(home)
    rows = _rows(home)
    put(home, {"0.jpg": small["collins"], "three.jpg": small["obama2"]})
    (home.album / "one.jpg").rename(home.album / "moved.jpg")
    _, after, _ = group(home)

    def numbers(shown):
        return {frozenset(Path(face["photo"]).name for face in each["faces"]): each["id"] for each in shown["people"]}

    assert numbers(after)[frozenset({"moved.jpg"})] == numbers(before)[frozenset({"one.jpg"})]
    assert numbers(after)[frozenset({"two.jpg", "three.jpg"})] == numbers(before)[frozenset({"two.jpg"})]
    assert numbers(after)[frozenset({"0.jpg"})] not in numbers(before).values()
    assert rows.items() <= _rows(home).items() and len(_rows(home)) == len(rows) + 4
    (home.album / "moved.jpg").unlink()
    _, left, _ = group(home)
    assert len(left["people"]) == 2
    _, fresh, _ = group(home, "--fresh")
    assert sorted(each["id"] for each in fresh["people"]) == [1, 2]


def _rows(home: Home) -> dict:
    """Where in the cache what is."""
    with sqlite3.connect(Path(home.environ["RECOGNIZER_STATE_DIR"]) / "archive.sqlite") as connection:
        return {row[:2]: row[2:] for row in connection.execute("SELECT photo, face, vector, checksum FROM encodings")}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_an_interrupted_run_goes_on_where_it_was(home, small, how):
    """Photos that differ in a byte, so many that some are written before the end."""
    put(home, {f"{number}.jpg": small["obama"] + bytes([number]) for number in range(150)})
    process = home.start("group", home.album, "--out", home.out)
    cache = Path(home.environ["RECOGNIZER_STATE_DIR"]) / "archive.sqlite"
    until = time.monotonic() + 120
    while _photos(cache) < 64 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    process.send_signal(how)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -9) and "Traceback" not in err
    assert not (home.out / "groups.json").exists() and not (home.out / "index.html").exists()
    rows = _rows(home)
    assert 64 <= len({photo for photo, _ in rows}) < 150
    _, shown, _ = group(home)
    assert len(shown["people"]) == 1 and len(shown["people"][0]["faces"]) == 150
    assert rows.items() <= _rows(home).items()


def _photos(cache: Path) -> int:
    try:
        with sqlite3.connect(f"file:{cache}?mode=ro", uri=True) as connection:
            return connection.execute("SELECT count(*) FROM encodings WHERE face = 'all'").fetchone()[0]
    except sqlite3.Error:
        return 0


def test_the_page_shows_so_many_of_each_and_counts_the_rest(home, small):
    put(home, {f"{number}.jpg": small["obama"] + bytes([number]) for number in range(5)})
    _, shown, page = group(home, "--thumbnails", "2")
    assert len(shown["people"][0]["faces"]) == 5
    assert len(Page(page).all("img")) == 2 and "and 3 more" in page


def test_blurred_faces_are_told_and_not_grouped(home, small):
    sharp = pictures.load(small["obama"])
    smeared = sharp.resize((40, 40 * sharp.height // sharp.width)).resize(sharp.size, Image.Resampling.BICUBIC)
    put(home, {"smeared.jpg": pictures.save(smeared), "sharp.jpg": small["obama"]})
    said, shown, _ = group(home)
    assert people(shown) == [(None, ["sharp.jpg"])] and said["not_grouped"] == len(shown["not_grouped"]) == 1
    assert "blurred" in shown["not_grouped"][0]["remarks"]


def test_a_folder_without_photos_and_places_that_cannot_be_written_are_told(home, small):
    result = home.run("group", home.album, "--out", home.out)
    assert result.exit_code == 1 and "there is no photo in" in result.stderr
    put(home, {"a.jpg": small["obama"]})
    home.out.rmdir()
    home.out.write_text("a file")
    assert "[storage_error]" in home.run("group", home.album, "--out", home.out / "below").stderr
    assert home.run("group", home.album / "nowhere").exit_code == 2
    assert home.run("group", home.album, "--thumbnails", "0").exit_code == 2


def test_earlier_groups_that_cannot_be_read_are_told_and_made_anew(home, small):
    put(home, {"a.jpg": small["obama"]})
    home.out.mkdir()
    for broken in (b"{", b"[]", b'{"groups": {"x": ["y"]}, "engine": 1}'):
        (home.out / "groups.json").write_bytes(broken)
        result = home.run("group", home.album, "--out", home.out)
        assert result.exit_code == 0 and "numbered anew" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_text_are_read_too(home, small):
    put(home, {"a.jpg": small["biden"]})
    try:
        with open(os.fsencode(home.album) + b"/caf\xe9.jpg", "wb") as file:
            file.write(small["obama"])
    except OSError:
        pytest.skip("this file system takes no such names")
    said, shown, page = group(home)
    assert said["photos"] == 2 and len(people(shown)) == 2
    assert any("caf%E9.jpg" in each["href"] for each in Page(page).all("a"))


@pytest.mark.slow
def test_without_json_it_says_what_it_did(home, small):
    put(home, {"a.jpg": small["obama"], "b.jpg": small["obama2"], "bad.jpg": b"x", "notes.txt": b"x"})
    code, out, err = home.process("group", home.album, "--out", home.out)
    assert code == 0
    assert "2 photos, 2 faces, 1 person, 1 of them on several photos" in out
    assert "looking at photos" in err and "bad.jpg" in err and "[unsupported_image]" in err
    assert "1 other file is no photo" in err
