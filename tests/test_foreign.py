"""Refusals of files that are no supported photos name what the file is and what to do; the file's name plays no part."""

import io
import struct

import pytest
from PIL import Image as pillow

from recognizer.core.errors import UnsupportedImage
from recognizer.photos import foreign, images, sources


def by_pillow(kind: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    pillow.new(mode, (32, 24), 77).save(file, kind, **options)
    return file.getvalue()


def brand(name: bytes, *more: bytes) -> bytes:
    return struct.pack(">I4s4sI", 16 + 4 * len(more), b"ftyp", name, 0) + b"".join(more) + bytes(100)


FILES = {
    "JPEG XL": (b"\xff\x0a" + bytes(50), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50)),
    "Canon CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(50),),
    "Canon CR3": (brand(b"crx ", b"crx ", b"isom"),),
    "Canon CRW": (b"II\x1a\0\0\0HEAPCCDR" + bytes(50),),
    "Fujifilm": (b"FUJIFILMCCD-RAW 0201" + bytes(50),),
    "Panasonic": (b"IIU\0\x18\0\0\0" + bytes(50),),
    "Olympus": (b"IIRO\x08\0\0\0" + bytes(50), b"MMOR\0\0\0\x08" + bytes(50)),
    "Minolta": (b"\0MRM\0\0" + bytes(50),),
    "Sigma": (b"FOVb" + bytes(50),),
    "Photoshop": (b"8BPS\0\1" + bytes(50),),
    "PDF": (b"%PDF-1.7\n" + bytes(50),),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n",),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg/>"),
    "ICO": (by_pillow("ico"),),
    "CUR": (b"\0\0\2\0\1\0" + bytes([32, 32, 0, 0]) + bytes(50),),
    "Targa": (by_pillow("tga"), by_pillow("tga", "L"), by_pillow("tga", "RGBA", compression="tga_rle"), by_pillow("tga", "P")),
    "PCX": (by_pillow("pcx"), by_pillow("pcx", "1")),
    "SGI": (by_pillow("sgi"),),
    "Netpbm": (by_pillow("ppm"), by_pillow("ppm", "L")),
    "DDS": (by_pillow("dds"),),
    "OpenEXR": (b"\x76\x2f\x31\x01" + bytes(50),),
    "Radiance": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n",),
    "JPEG XR": (b"II\xbc\x01" + bytes(50),),
    "DICOM": (bytes(128) + b"DICM" + bytes(50),),
    "MP4 or QuickTime": (brand(b"isom", b"mp42"), brand(b"qt  "), brand(b"M4V "), b"\0\0\0\x08wide" + bytes(50)),
    "Matroska": (b"\x1a\x45\xdf\xa3" + bytes(50),),
    "AVI": (b"RIFF\0\0\0\0AVI LIST" + bytes(50),),
    "MPEG": ((b"\x47" + bytes(187)) * 3, b"\0\0\1\xba" + bytes(50)),
    "ZIP": (b"PK\3\4" + bytes(50),),
    "web page": (b"<!DOCTYPE html><html>", b"  <html>"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_refusal_names_the_format_and_says_what_to_do(name):
    for data in FILES[name]:
        with pytest.raises(UnsupportedImage, match=name) as caught:
            images.decode(data)
        assert caught.value.message.startswith("expected a photo (JPEG, PNG") and ": " in caught.value.message
        assert len(caught.value.message) < 300 and caught.value.code == "unsupported_image"


def test_apples_own_pngs_are_named():
    data = by_pillow("png")
    special = data[:8] + struct.pack(">I", 4) + b"CgBI" + b"\x50\0\x20\x06" + b"\x2c\xb8\x77\x66" + data[8:]
    with pytest.raises(UnsupportedImage, match="CgBI"):
        images.decode(special)


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"])
def test_photos_are_never_taken_for_something_else(kind):
    data = by_pillow(kind)
    assert images.sniff(data) == kind and foreign.identify(data[:1000]) is None


@pytest.mark.parametrize("data", [b"", b"x", b"hello", bytes(1000), b"P", b"II", b"<", b"RIFF\0\0\0\0WAVE"])
def test_what_is_unknown_stays_unknown(data):
    assert foreign.identify(data) is None


def test_pictures_of_other_formats_in_a_folder_are_not_passed_over(tmp_path):
    files = {"a": by_pillow("jpeg"), "b": FILES["JPEG XL"][0], "c": FILES["Fujifilm"][0], "d": FILES["ZIP"][0], "e": b"text"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert list(sources.expand([str(tmp_path)])) == [str(tmp_path / name) for name in "abc"]
