"""JPEG 2000, and with the packages of the extras JPEG XL and the previews of camera raw files."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as pillow

from recognizer.core.errors import ImageError, ImageTooLarge, UnsupportedImage
from recognizer.photos import extra_decoders, hdr, images, metadata

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


@pytest.mark.parametrize("bits", [1, 4, 7])
def test_jpeg_2000_of_few_bits_is_refused(bits):
    data = bytearray(saved("jpeg2000", SCENE[..., 0], no_jp2=True))
    assert data[42] == 8 - 1
    data[42] = bits - 1
    with pytest.raises(UnsupportedImage, match="fewer than 8 bits"):
        images.decode(bytes(data))


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


XL_FORMS = [SCENE, SCENE[..., 0], SCENE[:8, :8]]
LIGHT = np.where(SCENE <= 10, SCENE / 255 / 12.92, ((SCENE / 255 + 0.055) / 1.055) ** 2.4)


# -- JPEG XL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("pixels", XL_FORMS)
def test_jpeg_xl_is_read(pixels, container):
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    data = imagecodecs.jpegxl_encode(np.ascontiguousarray(pixels), lossless=True, usecontainer=container)
    height, width = pixels.shape[:2]
    truth = SCENE[:height, :width] if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    header = extra_decoders.read_jxl_header(data)
    assert (header.width, header.height) == (width, height)
    image = images.decode(data)
    assert image.format == "jxl" and np.abs(image.pixels.astype(int) - truth).max() <= 1
    assert np.array_equal(images.decode(metadata.strip(data + box(b"Exif", b"Nowhere"), "all")).pixels, image.pixels)
    with pytest.raises(ImageTooLarge):
        images.decode(data, max_pixels=20)
    for end in (2, 14, len(data) - 8):
        with pytest.raises(ImageError):
            images.decode(data[:end])


@pytest.mark.parametrize("bits", [10, 12, 14, 16, 0])
def test_jpeg_xl_of_more_bits_and_of_floats(bits):
    """The encoder says of both that they are linear light."""
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    pixels = np.round(LIGHT * (2**bits - 1)).astype(np.uint16) if bits else LIGHT.astype(np.float32)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, bitspersample=bits or None)
    header = extra_decoders.read_jxl_header(data)
    assert (header.bits, header.transfer) == (bits, hdr.LINEAR)
    found = images.decode(data).pixels.astype(int)
    dark = SCENE.max(axis=2) < 190  # brighter light is compressed
    assert np.abs(found - SCENE)[dark].max() <= 13  # 8 bits of linear light are few for what is dark
    assert np.abs(found - SCENE)[dark].mean() <= 3


def test_jpeg_xl_in_pq():
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    plain = imagecodecs.jpegxl_encode(SCENE.astype(np.uint16) * 257, lossless=True)
    header = extra_decoders.read_jxl_header(plain)
    # of the four bits of the transfer function, one tells PQ (16) from linear light (8)
    start = 8 * (plain.index(b"jxlc") + 6) if b"jxlc" in plain else 16
    for place in range(start, start + 200):
        number = int.from_bytes(plain, "little") | 1 << place
        data = number.to_bytes(len(plain), "little")
        if extra_decoders.read_jxl_header(data) == replace(header, transfer=hdr.PQ):
            break
    assert np.array_equal(images.decode(data).pixels, hdr.to_srgb(SCENE.copy(), hdr.PQ, 1))


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_in_jpeg_xl_is_read_upright(orientation):
    """As encoders make of a JPEG by default. The codestream is in parts, the first of a few bytes."""
    imagecodecs = pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    exif = pillow.Exif()
    exif[274] = orientation
    photo = saved("jpeg", quality=95, exif=exif.tobytes())
    image, truth = images.decode(imagecodecs.jpegxl_encode_jpeg(photo)), images.decode(photo)
    assert (image.width, image.height) == (truth.width, truth.height)
    assert np.abs(image.pixels.astype(int) - truth.pixels).mean() < 2


def test_a_jpeg_xl_with_a_profile_is_not_dark(tmp_path):
    """libjxl gives linear light where it cannot convert to a profile, as of grey photos that FFmpeg wrote."""
    pytest.importorskip("imagecodecs", reason="the extra jxl is not installed")
    (tmp_path / "a.png").write_bytes(saved("png"))
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.png", "-pix_fmt", "gray", "-c:v", "libjxl", tmp_path / "a.jxl"]
    if shutil.which("ffmpeg") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this needs an ffmpeg that writes JPEG XL")
    grey = np.asarray(pillow.fromarray(SCENE).convert("L"))
    assert np.abs(images.decode((tmp_path / "a.jxl").read_bytes()).pixels[..., 0].astype(int) - grey).mean() < 6


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
