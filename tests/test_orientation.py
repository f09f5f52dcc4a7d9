"""Orientation in every place where formats keep it, against Pillow's `exif_transpose` and pillow-heif."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as pillow
from PIL import ImageOps

from recognizer.photos import images

SCENE = np.zeros((40, 60, 3), np.uint8)
SCENE[:10, :15] = 255, 0, 0
SCENE[:, 52:] = 0, 0, 255
SCENE[30:, :20] = 0, 255, 0


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    value = struct.pack(order + ("Hxx" if kind == 3 else "Bxxx" if kind == 1 else "I"), orientation)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIHHHI", 42, 8, 1, 274, kind, 1) + value + bytes(4)


def exif_without() -> bytes:
    return b"II" + struct.pack("<HIHHHI", 42, 8, 1, 305, 2, 4) + b"abc\0" + bytes(4)


def xmp(orientation: int, form: str = "attribute") -> bytes:
    stated = {
        "attribute": f'<rdf:Description tiff:Orientation="{orientation}"/>',
        "element": f"<rdf:Description><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>",
    }[form]
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{stated}</rdf:RDF></x:xmpmeta>'.encode()


def saved(kind: str, **options) -> bytes:
    file = io.BytesIO()
    pillow.fromarray(SCENE).save(file, kind, **options)
    return file.getvalue()


def segment(name: bytes, content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", 2 + len(name + content)) + name + content


def jpeg(*segments: bytes) -> bytes:
    data = saved("jpeg", quality=95, subsampling=0)
    return data[:2] + b"".join(segments) + data[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes, last: bool = False) -> bytes:
    data = saved("png")
    at = len(data) - 12 if last else 33
    return data[:at] + b"".join(chunks) + data[at:]


def profile(block: bytes) -> bytes:
    return b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"


EXIF, XAP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
PLACES = {
    "JPEG": lambda n: jpeg(segment(EXIF, exif(n))),
    "JPEG, big-endian": lambda n: jpeg(segment(EXIF, exif(n, ">"))),
    "JPEG, a long": lambda n: jpeg(segment(EXIF, exif(n, kind=4))),
    "JPEG, a byte": lambda n: jpeg(segment(EXIF, exif(n, kind=1))),
    "JPEG, EXIF named twice": lambda n: jpeg(segment(EXIF, EXIF + exif(n))),
    "JPEG, EXIF in two segments": lambda n: jpeg(segment(EXIF, exif(n)[:20]), segment(EXIF, exif(n)[20:])),
    "JPEG, XMP": lambda n: jpeg(segment(XAP, xmp(n))),
    "JPEG, XMP element": lambda n: jpeg(segment(XAP, xmp(n, "element"))),
    "JPEG, XMP beside EXIF that states none": lambda n: jpeg(segment(EXIF, exif_without()), segment(XAP, xmp(n))),
    "JPEG, XMP beside EXIF that differs": lambda n: jpeg(segment(EXIF, exif(n)), segment(XAP, xmp(9 - n))),
    "JPEG, EXIF after XMP": lambda n: jpeg(segment(XAP, xmp(9 - n)), segment(EXIF, exif(n))),
    "PNG": lambda n: png(chunk(b"eXIf", exif(n))),
    "PNG, after the pixels": lambda n: png(chunk(b"eXIf", exif(n)), last=True),
    "PNG, XMP": lambda n: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(n))),
    "PNG, packed XMP": lambda n: png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp(n)))),
    "PNG, ImageMagick's": lambda n: png(chunk(b"tEXt", b"Raw profile type exif\0" + profile(EXIF + exif(n)))),
    "PNG, ImageMagick's packed": lambda n: png(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile(EXIF + exif(n))))
    ),
    "PNG, both": lambda n: png(
        chunk(b"tEXt", b"Raw profile type exif\0" + profile(EXIF + exif(9 - n))), chunk(b"eXIf", exif(n))
    ),
    "WebP": lambda n: saved("webp", lossless=True, exif=EXIF + exif(n)),
    "WebP, without its name": lambda n: saved("webp", lossless=True, exif=exif(n)),
    "WebP, XMP": lambda n: saved("webp", lossless=True, xmp=xmp(n)),
    "TIFF": lambda n: saved("tiff", tiffinfo={274: n}),
    "TIFF, compressed": lambda n: saved("tiff", compression="tiff_lzw", tiffinfo={274: n}),
    "TIFF, XMP": lambda n: saved("tiff", tiffinfo={700: xmp(n)}),
    "AVIF": lambda n: saved("avif", quality=100, subsampling="4:4:4", exif=EXIF + exif(n)),
}


@pytest.mark.parametrize("orientation", [*range(10)])
@pytest.mark.parametrize("place", PLACES)
def test_orientation_is_followed_as_pillow_does(place, orientation):
    if place in ("AVIF", "TIFF, compressed") and orientation not in range(1, 9):
        pytest.skip("this cannot be written")
    data = PLACES[place](orientation)
    upright = np.asarray(ImageOps.exif_transpose(pillow.open(io.BytesIO(data))).convert("RGB"))
    image = images.decode(data)
    assert (image.width, image.height) == upright.shape[1::-1]
    if place.startswith("TIFF, XMP"):  # Pillow reads the packet as a tuple in some releases; ours must turn it
        turned = images.decode(saved("tiff", tiffinfo={274: orientation if 1 <= orientation <= 8 else 1})).pixels
        assert np.array_equal(image.pixels, turned)
    else:
        assert np.array_equal(image.pixels, upright)


def heic(orientation: int, box: bool) -> bytes:
    """A HEIC with an EXIF orientation, and a rotation box if `box`."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="writing HEIC needs pillow-heif")
    file = io.BytesIO()
    options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    pillow_heif.from_pillow(pillow.fromarray(SCENE)).save(file, exif=EXIF + exif(orientation), **options)
    data = file.getvalue()
    if not box:  # other names, which readers skip
        data = data.replace(b"irot", b"free").replace(b"imir", b"free")
    return data


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_heic_is_turned_by_its_box_and_never_by_exif(orientation):
    """ISO/IEC 23008-12 says so, and so do browsers; phones write both alike."""
    turned = images.decode(saved("png", exif=EXIF + exif(orientation))).pixels
    assert np.abs(images.decode(heic(orientation, True)).pixels.astype(int) - turned).max() <= 8
    unturned = images.decode(heic(orientation, False)).pixels
    assert unturned.shape == SCENE.shape and np.abs(unturned.astype(int) - SCENE).max() <= 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_an_avif_is_turned_by_its_box_and_never_by_exif_or_xmp(orientation):
    tagged = saved("avif", quality=100, subsampling="4:4:4", exif=EXIF + exif(1) + b"mark")
    for data in (
        tagged.replace(exif(1) + b"mark", exif(orientation) + b"mark"),
        saved("avif", quality=100, subsampling="4:4:4", xmp=xmp(orientation)),
    ):
        unturned = images.decode(data).pixels
        assert unturned.shape == SCENE.shape and np.abs(unturned.astype(int) - SCENE).max() <= 8
