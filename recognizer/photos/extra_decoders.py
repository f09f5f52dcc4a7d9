"""JPEG XL, and the previews inside camera raw files: read with packages that are installed as extras.

This code runs in the process of the sandbox.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from functools import cache

import numpy as np

from recognizer.core.errors import BrokenImage, UnsupportedImage
from recognizer.photos import heif_boxes, image_headers

#: Format -> the package that reads it, which is also what has to be imported, and the extra that installs it.
PACKAGES = {"jxl": ("imagecodecs", "jxl"), "raw": ("rawpy", "raw")}
#: A preview whose long side is less than this share of the photo's is too small to stand for it.
LEAST_PREVIEW = 0.25
_JXL_CODESTREAM, _JXL_CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
#: LibRaw's `flip` -> EXIF orientation.
_FLIPS = {3: 3, 5: 8, 6: 6}


@cache
def is_available(kind: str) -> bool:
    """Whether photos of a format can be read here: always, or because its package is installed."""
    return kind not in PACKAGES or importlib.util.find_spec(PACKAGES[kind][0]) is not None


def how_to_install(kind: str) -> str:
    """What makes photos of a format readable, in words."""
    return f"install what reads it with `pip install 'recognizer[{PACKAGES[kind][1]}]'`"


# --- JPEG XL ---------------------------------------------------------------------------------------------------------


def read_jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG XL (ISO/IEC 18181-1, SizeHeader), as coded.

    Raises
    ------
    BrokenImage
    """
    stream = data
    if data.startswith(_JXL_CONTAINER):
        stream = b""
        for kind, start, end in heif_boxes.boxes(data, 0, len(data)):
            if kind in (b"jxlc", b"jxlp"):
                stream = data[start + (4 if kind == b"jxlp" else 0) : end]
                break
    if not stream.startswith(_JXL_CODESTREAM) or len(stream) < 12:
        raise BrokenImage("the JPEG XL photo is damaged or cut short: its size is missing", format="jxl")
    bits = _Bits(int.from_bytes(stream[2:12], "little"))
    small = bits.take(1)
    height = 8 * (1 + bits.take(5)) if small else 1 + bits.take((9, 13, 18, 30)[bits.take(2)])
    ratio = bits.take(3)
    if ratio:
        over, under = _JXL_RATIOS[ratio - 1]
        return height * over // under, height
    width = 8 * (1 + bits.take(5)) if small else 1 + bits.take((9, 13, 18, 30)[bits.take(2)])
    return width, height


class _Bits:
    """Bits, the lowest first."""

    def __init__(self, value: int):
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & (1 << count) - 1
        self._value >>= count
        return taken


def read_jxl(data: bytes, admit: Callable[[int, int], None]) -> tuple[np.ndarray, int]:
    """Decode the first frame of a JPEG XL. libjxl turns it upright."""
    import imagecodecs

    admit(*read_jxl_size(data))
    pixels = np.asarray(imagecodecs.jpegxl_decode(data, index=0, numthreads=1))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise UnsupportedImage("JPEG XL photos of this kind are not supported; save it as RGB", format="jxl")
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.clip(np.nan_to_num(pixels.astype(np.float32)) * 255 + 0.5, 0, 255).astype(np.uint8)
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if pixels.shape[2] in (2, 4) else (pixels, None)
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    if alpha is not None:  # on white
        share = alpha.astype(np.uint16)
        colour = ((colour * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(colour), 1


def strip_jxl(data: bytes, everything: bool) -> bytes:
    """A JPEG XL without the boxes that hold EXIF, XMP and the like."""
    if not data.startswith(_JXL_CONTAINER):
        return data
    kept, at = [], 0
    for kind, _, end in heif_boxes.boxes(data, 0, len(data)):
        if kind in (b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


# --- camera raw files ------------------------------------------------------------------------------------------------


def raw_preview(data: bytes) -> tuple[bytes | np.ndarray, int]:
    """The largest preview inside a camera raw file; the sensor's own values are not developed.

    Returns
    -------
    preview : bytes or ndarray
        A JPEG, or RGB pixels, shape (H, W, 3).
    orientation : int
        The EXIF orientation 1-8 that turns it upright.

    Raises
    ------
    UnsupportedImage
        There is no preview, or only a small one.
    """
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as opened:
            sizes, preview = opened.sizes, opened.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        raise _refused("this camera raw file has no preview that can be read") from None
    except rawpy.LibRawFileUnsupportedError:
        raise _refused("raw files of this camera are not supported") from None
    turn = _FLIPS.get(sizes.flip, 1)
    if preview.format == rawpy.ThumbFormat.JPEG:
        header = image_headers.read_jpeg(preview.data)
        _check_preview(header.width, header.height, sizes.width, sizes.height)
        exif = b"".join(preview.data[a + 4 : b] for marker, a, b in header.segments if marker == 0xE1)
        stated = image_headers.exif_orientation(exif)
        return bytes(preview.data), turn if stated is None else stated
    height, width = preview.data.shape[:2]
    _check_preview(width, height, sizes.width, sizes.height)
    return np.ascontiguousarray(preview.data[..., :3], np.uint8), turn


def _check_preview(width: int, height: int, whole_width: int, whole_height: int) -> None:
    if max(width, height) < LEAST_PREVIEW * max(whole_width, whole_height):
        raise _refused(
            f"this camera raw file of {whole_width}x{whole_height} pixels has only a small preview, {width}x{height}"
        )


def _refused(reason: str) -> UnsupportedImage:
    return UnsupportedImage(f"{reason}; export it as JPEG", format="raw")
