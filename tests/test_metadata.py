"""What is removed from a photo's file, and that the picture stays: in every format, against Pillow as a second reader."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as pillow

import recognizer
from recognizer.core.errors import ImageError
from recognizer.photos import images, metadata

from . import heifs
from .test_orientation import PLACES as ORIENTED

PLACE, MAKER, ARTIST = "Nowhere Square", b"NoteOfTheMaker", "Somebody Artist"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r exif:GPSLatitude="52,31.2N" place="Nowhere Square"/></x:xmpmeta>'
Y, X = np.mgrid[0:24, 0:32]
SCENE = np.stack([X * 8, Y * 10, (X + Y) * 4], 2).astype(np.uint8)
_GPS, _EXIF = 34853, 34665


def exif(orientation: int = 6) -> pillow.Exif:
    found = pillow.Exif()
    found[274], found[315] = orientation, ARTIST
    found.get_ifd(_EXIF)[37500] = MAKER
    found.get_ifd(_EXIF)[36867] = "2026:11:29 12:00:00"
    found.get_ifd(_GPS).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0), 28: PLACE.encode()})
    return found


def exif_of(photo: bytes) -> pillow.Exif:
    if images.sniff(photo) != "heic":
        with pillow.open(io.BytesIO(photo)) as picture:
            picture.load()
            return picture.getexif()
    found = pillow.Exif()
    found.load(pytest.importorskip("pillow_heif").open_heif(photo).info["exif"])
    return found


def saved(kind: str, **options) -> bytes:
    file = io.BytesIO()
    pillow.fromarray(SCENE).save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def jpeg() -> bytes:
    data = saved("jpeg", exif=exif(), xmp=XMP, comment=b"a comment")
    iptc = segment(0xED, b"Photoshop 3.0\0" + PLACE.encode())
    return data[:2] + iptc + data[2:] + saved("jpeg", exif=exif())  # with another picture behind it


def gif() -> bytes:
    data = saved("gif", comment=b"a comment")
    xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(XMP)]) + XMP + b"\0"
    at = 13 + (6 << (data[10] & 7))  # after the colours
    return data[:at] + xmp + data[at:]


#: Format -> a photo that says in several places where it was taken.
PHOTOS = {
    "jpeg": jpeg,
    "png": lambda: saved("png", exif=exif(), pnginfo=_text()),
    "webp": lambda: saved("webp", lossless=True, exif=exif(), xmp=XMP),
    "tiff": lambda: saved("tiff", exif=exif(), tiffinfo={700: XMP}),
    "gif": gif,
    "bmp": lambda: saved("bmp"),
    "heic": lambda: heifs.heic(SCENE, exif=exif(1).tobytes(), xmp=XMP),
    "avif": lambda: heifs.avif(SCENE, exif=exif(1).tobytes(), xmp=XMP),
}


def _text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return info


@pytest.mark.parametrize("what", ["location", "all"])
@pytest.mark.parametrize("kind", PHOTOS)
def test_the_position_goes_and_the_picture_stays(kind, what):
    photo = PHOTOS[kind]()
    assert PLACE.encode() in photo or kind == "bmp"
    left = metadata.strip(photo, what)
    for said in (PLACE.encode(), MAKER, b"GPSLatitude"):
        assert said not in left
    before, after = images.decode(photo), images.decode(left)
    assert np.array_equal(before.pixels, after.pixels)
    assert metadata.strip(left, what) == left
    found = exif_of(left)
    assert not found.get_ifd(_GPS) and 37500 not in found.get_ifd(_EXIF)
    if kind in ("jpeg", "png", "webp", "heic", "avif"):
        assert (found.get(315) == ARTIST and 36867 in found.get_ifd(_EXIF)) == (what == "location")
    if what == "all":
        assert ARTIST.encode() not in left and b"2026:11:29" not in left and b"a comment" not in left


def test_the_compressed_picture_of_a_jpeg_is_not_touched():
    photo = saved("jpeg", exif=exif(), icc_profile=b"a profile")
    scan = photo[photo.index(b"\xff\xdb") :]
    for what in ("location", "all"):
        left = metadata.strip(photo, what)
        assert left.endswith(scan) and b"a profile" in left
    assert metadata.strip(photo, "off") == photo


@pytest.mark.parametrize("what", ["location", "all"])
@pytest.mark.parametrize("form", ORIENTED)
def test_the_orientation_stays(form, what):
    for orientation in (1, 6, 7):
        photo = ORIENTED[form](orientation)
        try:
            left = metadata.strip(photo, what)
        except ImageError as error:
            assert form.startswith("TIFF") and "orientation" in error.message
            continue
        assert np.array_equal(images.decode(left).pixels, images.decode(photo).pixels)


def test_damaged_metadata_is_removed_as_a_whole():
    photo = saved("jpeg", exif=exif())
    at = photo.index(b"Exif\0\0") + 10
    left = metadata.strip(photo[:at] + b"\xff\xff\xff\x7f" + photo[at + 4 :], "location")
    assert PLACE.encode() not in left and images.decode(left).pixels.shape == SCENE.shape


@pytest.mark.parametrize("kind", PHOTOS)
def test_a_photo_that_is_cut_short_does_not_become_whole(kind):
    photo = PHOTOS[kind]()
    for end in range(0, len(photo), max(1, len(photo) // 60)):
        try:
            left = images.decode(metadata.strip(photo[:end], "location"))
        except ImageError:
            continue
        assert np.array_equal(left.pixels, images.decode(photo[:end]).pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_entries_that_overlap_do_not_multiply_the_work(order):
    """1,500 GPS entries whose values are the whole file."""
    count = 1_500
    entries = b"".join(struct.pack(order + "HHII", 34735, 7, 40_000_000, 0) for _ in range(count))
    block = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, count) + entries + bytes(30_000)
    photo = saved("png")
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block
    photo = photo[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + photo[33:]
    assert metadata.strip(photo, "location") == saved("png")


@pytest.mark.slow
def test_what_is_enrolled_has_no_position(tmp_path, models_dir, photos):
    with pillow.open(photos["obama.jpg"]) as picture:
        file = io.BytesIO()
        picture.convert("RGB").save(file, "jpeg", exif=exif(1))
    options = {"state_dir": tmp_path / "state", "models_dir": models_dir, "embedder": "sface", "strip_metadata": "location"}
    with recognizer.open(tmp_path / "known", **options) as people:
        first = people.enroll("Barack Obama", file.getvalue())
        again = people.enroll("Barack Obama", file.getvalue())
        people.enroll("Barack Obama", photos["obama2.jpg"])
    assert (first.new, again.new) == (True, False)
    stored = [path for path in (tmp_path / "known" / "Barack Obama").iterdir() if path.suffix == ".jpg"]
    assert len(stored) == 2
    assert not any(PLACE.encode() in path.read_bytes() for path in stored)
    assert sum(ARTIST.encode() in path.read_bytes() for path in stored) == 1
