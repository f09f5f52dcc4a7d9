"""JPEG 2000, and with the packages of the extras JPEG XL and the previews of camera raw files."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as pillow

from recognizer.core.errors import ImageError, ImageTooLarge, UnsupportedImage
from recognizer.photos import extra_decoders, images, metadata

from .tiffs import directory

Y, X = np.mgrid[0:72, 0:96]
SCENE = np.stack([X * 2, Y * 3, X + Y], 2).astype(np.uint8)


def saved(kind: str, pixels: np.ndarray = SCENE, **options) -> bytes:
    file = io.BytesIO()
    pillow.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


@pytest.mark.parametrize("plain", [False, True], ids=["jp2", "codestream"])
def test_jpeg_2000_is_read(plain):
    data = saved("jpeg2000", no_jp2=plain)
    image = images.decode(data)
    assert image.format == "jp2" and np.array_equal(image.pixels, SCENE)
    grey = images.decode(saved("jpeg2000", SCENE[..., 0], no_jp2=plain)).pixels
    assert np.array_equal(grey, np.repeat(SCENE[..., :1], 3, axis=2))
    clear = np.dstack([SCENE, np.full(SCENE.shape[:2], 255, np.uint8)])
    clear[:10, :10, 3] = 0
    if not plain:
        found = images.decode(saved("jpeg2000", clear)).pixels
        assert (found[:10, :10] == 255).all() and np.array_equal(found[10:], SCENE[10:])
    with pytest.raises(ImageTooLarge):
        images.decode(data, max_pixels=1_000)
    for end in (20, 60, 100):
        with pytest.raises(ImageError):
            images.decode(data[:end])


def test_jpeg_2000_loses_its_metadata():
    said = box(b"uuid", b"JpgTiffExif->JP2" + b"Nowhere Square") + box(b"xml ", b"<Nowhere Square/>")
    data = saved("jpeg2000")
    at = data.index(b"jp2c") - 4
    left = metadata.strip(data[:at] + said + data[at:], "location")
    assert left == data


JXL, RAF = b"\xff\x0a" + bytes(50), b"FUJIFILMCCD-RAW"


@pytest.mark.parametrize("kind, name, data", [("jxl", "JPEG XL", JXL), ("raw", "Fujifilm", RAF)])
def test_a_format_whose_extra_is_missing_says_how_to_install_it(kind, name, data):
    if extra_decoders.is_available(kind):
        pytest.skip("it is installed")
    with pytest.raises(UnsupportedImage, match=rf"{name}.*pip install 'recognizer\[{kind}\]'") as caught:
        images.decode(data)
    assert "JPEG 2000" in caught.value.message


XL_FORMS = [SCENE, SCENE[..., 0], SCENE[:8, :8], SCENE.astype(np.uint16) * 257, SCENE[:50, :61] / np.float32(255)]


# -- JPEG XL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("pixels", XL_FORMS)
def test_jpeg_xl_is_read(pixels, container):
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    data = imagecodecs.jpegxl_encode(np.ascontiguousarray(pixels), lossless=True, usecontainer=container)
    height, width = pixels.shape[:2]
    truth = SCENE[:height, :width] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    assert extra_decoders.read_jxl_size(data) == (width, height)
    image = images.decode(data)
    assert image.format == "jxl" and np.abs(image.pixels.astype(int) - truth).max() <= 1
    assert np.array_equal(images.decode(metadata.strip(data + box(b"Exif", b"Nowhere"), "all")).pixels, image.pixels)
    with pytest.raises(ImageTooLarge):
        images.decode(data, max_pixels=20)
    for end in (2, 14, len(data) - 8):
        with pytest.raises(ImageError):
            images.decode(data[:end])


def test_jpeg_xl_of_several_frames_and_with_alpha():
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    frames = np.stack([SCENE, 255 - SCENE])
    assert np.array_equal(images.decode(imagecodecs.jpegxl_encode(frames, lossless=True)).pixels, SCENE)
    clear = np.dstack([SCENE, np.full(SCENE.shape[:2], 255, np.uint8)])
    clear[:10, :10, 3] = 0
    found = images.decode(imagecodecs.jpegxl_encode(clear, lossless=True)).pixels
    assert (found[:10, :10] == 255).all() and np.array_equal(found[10:], SCENE[10:])


# -- camera raw files -------------------------------------------------------------------------------------------------


def dng(preview: bytes, width: int, height: int, orientation: int = 1) -> bytes:
    """A camera raw file of one grey, with a JPEG as its preview."""
    sensor = np.full((height, width), 1000, "<u2").tobytes()
    with pillow.open(io.BytesIO(preview)) as picture:
        size = picture.size

    def directories(inner: int, jpeg: int, raw: int) -> tuple[bytes, bytes]:
        common = {258: (3, [16]), 277: (3, [1]), 278: (4, [height]), 50717: (4, [4095])}
        place = {256: (4, [width]), 257: (4, [height]), 273: (4, [raw]), 279: (4, [len(sensor)])}
        mosaic = {254: (4, [0]), 259: (3, [1]), 262: (3, [32803]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2])}
        first = {254: (4, [1]), 256: (4, [size[0]]), 257: (4, [size[1]]), 258: (3, [8, 8, 8]), 259: (3, [7]), 262: (3, [6])}
        first |= {271: (2, list(b"Test\0")), 272: (2, list(b"Camera\0")), 273: (4, [jpeg]), 274: (3, [orientation])}
        first |= {277: (3, [3]), 278: (4, [size[1]]), 279: (4, [len(preview)]), 330: (4, [inner]), 50706: (1, [1, 4, 0, 0])}
        return directory("<", 8, first), directory("<", inner, common | place | mosaic)

    lengths = [len(each) for each in directories(0, 0, 0)]
    inner = 8 + lengths[0] + lengths[0] % 2
    jpeg = inner + lengths[1]
    raw = jpeg + len(preview) + len(preview) % 2
    outer, nested = directories(inner, jpeg, raw)
    data = (b"II*\0" + struct.pack("<I", 8) + outer).ljust(inner, b"\0") + nested + preview
    return data.ljust(raw, b"\0") + sensor


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_preview_of_a_camera_raw_file_is_read_upright(orientation):
    pytest.importorskip("rawpy", reason="the extra raw is not installed")
    preview = saved("jpeg", quality=95)
    image = images.decode(dng(preview, 192, 144, orientation))
    assert image.format == "raw"
    assert np.array_equal(image.pixels, images.upright(images.decode(preview).pixels, orientation))


def test_a_small_preview_is_not_taken_for_the_photo_and_metadata_cannot_be_removed():
    raw = dng(saved("jpeg"), 640, 480)
    with pytest.raises(UnsupportedImage, match="small preview|pip install"):
        images.decode(raw)
    for what in ("location", "all"):
        with pytest.raises(UnsupportedImage, match="RECOGNIZER_STRIP_METADATA"):
            metadata.strip(raw, what)
