"""JPEG XL, and the previews inside camera raw files: read with packages that are installed as extras.

This code runs in the process of the sandbox.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from recognizer.core.errors import BrokenImage, UnsupportedImage
from recognizer.photos import hdr, heif_boxes, image_headers

#: Format -> the package that reads it, which is also what has to be imported, and the extra that installs it.
PACKAGES = {"jxl": ("imagecodecs", "jxl"), "raw": ("rawpy", "raw")}
#: A preview whose long side is less than this share of the photo's is too small to stand for it.
LEAST_PREVIEW = 0.25
_JXL_CODESTREAM, _JXL_CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MOST_HEADER = 4096  # bytes of a JPEG XL's codestream within which its header ends
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


@dataclass(frozen=True)
class JxlHeader:
    """The header of a JPEG XL.

    Attributes
    ----------
    width, height : int
        As coded, before turning.
    bits : int
        Bits per sample of whole numbers; 0 if they are floats.
    transfer, primaries : int
        How light is coded in what libjxl gives, as in ITU-T H.273; 0 if a colour profile says it, 2 if unknown.
    """

    width: int
    height: int
    bits: int = 8
    transfer: int = 13
    primaries: int = 1


def read_jxl_header(data: bytes) -> JxlHeader:
    """Read the header of a JPEG XL (ISO/IEC 18181-1, SizeHeader and ImageMetadata).

    Raises
    ------
    BrokenImage
    UnsupportedImage
        It has a preview.
    """
    stream = data[:_MOST_HEADER]
    if data.startswith(_JXL_CONTAINER):
        stream = b""
        for kind, start, end in heif_boxes.boxes(data, 0, len(data)):
            if kind in (b"jxlc", b"jxlp"):
                stream += data[start + (4 if kind == b"jxlp" else 0) : end][:_MOST_HEADER]
            if len(stream) >= _MOST_HEADER:
                break
    if not stream.startswith(_JXL_CODESTREAM) or len(stream) < 12:
        raise BrokenImage("the JPEG XL photo is damaged or cut short: its size is missing", format="jxl")
    bits = _Bits(int.from_bytes(stream[2:], "little"))
    width, height = bits.size()
    if bits.take(1):  # everything else is as usual
        return JxlHeader(width, height)
    if bits.take(1):
        bits.take(3)  # orientation, which libjxl follows
        if bits.take(1):  # a size at which it is meant to be seen
            bits.size()
        if bits.take(1):
            raise UnsupportedImage("JPEG XL photos with a preview are not supported; save it as JPEG", format="jxl")
        if bits.take(1):  # an animation: ticks per second as a fraction, loops, time codes
            bits.number((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.number((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.number((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    depth = bits.depth()
    bits.take(1)
    for _ in range(bits.number((0, 0), (1, 0), (2, 4), (1, 12))):
        bits.channel()
    perceptual = bits.take(1)
    transfer, primaries = bits.colours()
    if perceptual and transfer == 0:  # libjxl does not convert to the profile, and gives linear light
        transfer, primaries = hdr.LINEAR, 1
    return JxlHeader(width, height, depth, transfer, primaries)


class _Bits:
    """The fields of a JPEG XL's header: bits, the lowest first; behind the end there are zeros."""

    def __init__(self, value: int):
        self._value = value

    def take(self, count: int) -> int:
        taken = self._value & (1 << count) - 1
        self._value >>= count
        return taken

    def number(self, *choices: tuple[int, int]) -> int:
        """A number of one of four ranges: where each begins, and the bits that follow."""
        first, count = choices[self.take(2)]
        return first + self.take(count)

    def choice(self) -> int:
        """The number of a name."""
        return self.number((0, 0), (1, 0), (2, 4), (18, 6))

    def side(self, small: int) -> int:
        return 8 * (1 + self.take(5)) if small else self.number((1, 9), (1, 13), (1, 18), (1, 30))

    def size(self) -> tuple[int, int]:
        """Width and height."""
        small = self.take(1)
        height = self.side(small)
        ratio = self.take(3)
        if not ratio:
            return self.side(small), height
        over, under = _JXL_RATIOS[ratio - 1]
        return height * over // under, height

    def depth(self) -> int:
        """Bits per sample; 0 for floats."""
        if self.take(1):
            self.number((32, 0), (16, 0), (24, 0), (1, 6))
            self.take(4)
            return 0
        return self.number((8, 0), (10, 0), (12, 0), (1, 6))

    def channel(self) -> None:
        """Pass over what is said about one more channel than the colours."""
        if self.take(1):  # usual transparency
            return
        kind = self.choice()
        self.depth()
        self.number((0, 0), (3, 0), (4, 0), (1, 3))
        self.take(8 * self.number((0, 0), (0, 4), (16, 5), (48, 10)))
        if kind == 0:  # transparency
            self.take(1)
        elif kind == 2:  # a spot colour
            self.take(64)
        elif kind == 5:  # of a colour filter
            self.number((1, 0), (0, 2), (3, 4), (19, 8))

    def colours(self) -> tuple[int, int]:
        """Transfer characteristics and primaries; 0 if a colour profile says them."""
        if self.take(1):
            return 13, 1
        profile, space, primaries = self.take(1), self.choice(), 1
        if profile:
            return 0, 0
        if space != 2 and self.choice() == 2:  # not XYB, and a white point of its own
            self._points(1)
        if space not in (1, 2):  # neither grey nor XYB
            primaries = {1: 1, 9: 9, 11: 12}.get(self.choice(), 2)
            if primaries == 2:
                self._points(3)
        if space == 2 or not self.take(1):
            return (2 if space == 2 else self.choice()), primaries
        return (8 if self.take(24) == 10_000_000 else 2), primaries  # a gamma, of 1

    def _points(self, count: int) -> None:
        for _ in range(2 * count):
            self.number((0, 19), (1 << 19, 19), (1 << 20, 20), (1 << 21, 21))


def read_jxl(data: bytes, admit: Callable[[int, int], None]) -> tuple[np.ndarray, int]:
    """Decode the first frame of a JPEG XL. libjxl turns it upright."""
    import imagecodecs

    header = read_jxl_header(data)
    admit(header.width, header.height)
    pixels = np.asarray(imagecodecs.jpegxl_decode(data, index=0, numthreads=1))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] > 4:
        raise UnsupportedImage("JPEG XL photos of this kind are not supported; save it as RGB", format="jxl")
    if pixels.dtype == np.uint16 and header.bits > 8:
        pixels = (pixels >> (header.bits - 8)).clip(0, 255).astype(np.uint8)
    elif pixels.dtype == np.uint8 and 0 < header.bits < 8:
        pixels = (pixels.astype(np.uint16) * 255 // (2**header.bits - 1)).clip(0, 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = np.clip(np.nan_to_num(pixels.astype(np.float32)) * 255 + 0.5, 0, 255).astype(np.uint8)
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if pixels.shape[2] in (2, 4) else (pixels, None)
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    if hdr.is_hdr(header.transfer):
        colour = hdr.to_srgb(np.ascontiguousarray(colour), header.transfer, header.primaries)
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
