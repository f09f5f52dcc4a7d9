"""Bytes of a photo -> an upright RGB array. The content decides which format it is, never a name or a header field.

Bytes and pixels are capped before anything is decoded. JPEG goes through simplejpeg, whose pixels are bit-identical
to Pillow's (and so to face_recognition's) at every scale and which reports damage; HEIC through pi-heif; the rest
through Pillow's own readers, one picked by content. What is no JPEG, PNG or WebP is decoded by a process that may fail
without harm (see `sandbox`). Transparent photos are laid on white, as a page would show them. Animations give their
first frame; 16-bit channels their upper 8 bits. Colour profiles are not applied.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from . import image_headers, sandbox
from .decoders import FORMATS, admit, damage_is_an_error, read, rgb, strict
from .errors import BrokenImage, ImageTooLarge, UnsupportedImage
from .image_headers import sniff
from .types import check_pixels

__all__ = ["FORMATS", "Image", "decode", "encode_jpeg", "from_array", "read_file", "resize", "sniff"]

IN_PROCESS = ("jpeg", "png", "webp")

_MOST_SCANS = 100  # of a progressive JPEG; encoders write about 10, and each costs a pass over the whole picture


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded photo.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB, upright, possibly at a reduced scale.
    width, height : int
        Of the original photo, upright.
    format : str
        A key of `FORMATS`, or ``"array"``.
    """

    pixels: np.ndarray
    width: int
    height: int
    format: str
    _data: bytes | None = field(default=None, repr=False)  # kept only while there is more detail to be had from it

    @property
    def scale_x(self) -> float:
        """Pixels here per pixel of the original, across; at most 1."""
        return self.pixels.shape[1] / self.width

    @property
    def scale_y(self) -> float:
        """Pixels here per pixel of the original, down; at most 1."""
        return self.pixels.shape[0] / self.height

    def sharper(self, scale: float) -> Image:
        """The same photo with at least `scale` pixels per original pixel, or all of them; self if that is so already.

        Raises
        ------
        ValueError
            `scale` is not above 0.
        """
        if not scale > 0:
            raise ValueError(f"expected a scale above 0, got {scale}")
        if self._data is None or min(self.scale_x, self.scale_y) >= scale:
            return self
        with damage_is_an_error(self.format):
            divisor = next((k for k in (8, 4, 2) if 1 / k >= scale), 1)
            return _read_jpeg(self._data, image_headers.read_jpeg(self._data), divisor)


def decode(
    data: bytes, *, max_bytes: int = 25_000_000, max_pixels: int = 50_000_000, long_side: int | None = None
) -> Image:
    """Decode a photo.

    Parameters
    ----------
    data : bytes
        A file of one of `FORMATS`.
    max_bytes, max_pixels : int
        Caps, checked before decoding.
    long_side : int, optional
        With it, a JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 scale whose long side is at least this
        many pixels; `Image.sharper` gives the rest.

    Raises
    ------
    UnsupportedImage
        Not an image, or of a format or kind that is not read.
    BrokenImage
        Damaged or cut short.
    ImageTooLarge
        Above a cap; ``details`` hold the size and the cap.
    """
    if len(data) > max_bytes:
        raise _too_many_bytes(max_bytes, bytes=len(data))
    data = bytes(data)
    kind = sniff(data)
    if kind is None:
        what = "nothing: 0 bytes" if not data else "something else"
        raise UnsupportedImage(f"expected a photo ({', '.join(FORMATS.values())}), got {what}")

    if kind == "jpeg":
        with damage_is_an_error(kind):
            header = image_headers.read_jpeg(data)
            admit(kind, header.width, header.height, max_pixels)
            return _read_jpeg(data, header, _divisor(max(header.width, header.height), long_side))
    stored, orientation = (read if kind in IN_PROCESS else sandbox.read)(kind, data, max_pixels)
    pixels = _upright(stored, orientation)
    return Image(pixels, pixels.shape[1], pixels.shape[0], kind)


def from_array(pixels: np.ndarray) -> Image:
    """Take an RGB uint8 array (H, W, 3) as a photo at full scale.

    Raises
    ------
    TypeError, ValueError
        It is not such an array.
    """
    pixels = np.ascontiguousarray(check_pixels(pixels))
    return Image(pixels, pixels.shape[1], pixels.shape[0], "array")


def encode_jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """Encode an RGB uint8 array (H, W, 3) as a baseline JPEG, colours at half resolution (4:2:0)."""
    import simplejpeg

    return simplejpeg.encode_jpeg(
        np.ascontiguousarray(check_pixels(pixels)), quality=quality, colorspace="RGB", colorsubsampling="420"
    )


def read_file(path, *, max_bytes: int) -> bytes:
    """Read a file, never more than `max_bytes` + 1 bytes of it.

    Raises
    ------
    ImageTooLarge
        It is longer.
    OSError
        It cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise _too_many_bytes(max_bytes)
    return data


def resize(pixels: np.ndarray, long_side: int) -> np.ndarray:
    """Shrink (H, W, 3) so that the longer side is `long_side`; what is no longer than that is returned as it is."""
    import cv2

    height, width = pixels.shape[:2]
    if max(height, width) <= long_side:
        return pixels
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # down to half, averaging over areas gives nothing that interpolating does not, for five times the time
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)


def _too_many_bytes(max_bytes: int, **details) -> ImageTooLarge:
    got = f"{details['bytes']}" if details else "more"
    return ImageTooLarge(f"expected a photo of at most {max_bytes} bytes, got {got}", max_bytes=max_bytes, **details)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels as the EXIF orientation 1-8 asks for (CIPA DC-008, tag 274)."""
    import cv2

    turn: dict[int, Callable] = {
        2: lambda p: cv2.flip(p, 1),
        3: lambda p: cv2.rotate(p, cv2.ROTATE_180),
        4: lambda p: cv2.flip(p, 0),
        5: cv2.transpose,
        6: lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
        7: lambda p: cv2.transpose(cv2.rotate(p, cv2.ROTATE_180)),
        8: lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    return turn[orientation](pixels) if orientation in turn else pixels


# --- JPEG ------------------------------------------------------------------------------------------------------------


def _divisor(longest: int, long_side: int | None) -> int:
    """8, 4, 2 or 1: the largest by which `longest` can be divided, rounding up, and still be at least `long_side`."""
    return next((k for k in (8, 4, 2) if long_side and -(-longest // k) >= long_side), 1)


def _read_jpeg(data: bytes, header: image_headers.JpegHeader, divisor: int) -> Image:
    if header.precision != 8 or header.components not in (1, 3, 4):
        raise UnsupportedImage(
            f"expected a JPEG photo of 8 bits and 1, 3 or 4 channels, got {header.precision} and {header.components}",
            format="jpeg",
        )
    if not header.complete:
        raise BrokenImage("the JPEG photo is cut short: its end is missing", format="jpeg")
    if sum(marker == 0xDA for marker, *_ in header.segments) > _MOST_SCANS:
        raise UnsupportedImage(f"expected a JPEG photo of at most {_MOST_SCANS} scans, got more", format="jpeg")
    pixels = _upright(_jpeg_pixels(data, header, divisor), header.orientation)
    turned = header.orientation >= 5
    width, height = (header.height, header.width) if turned else (header.width, header.height)
    return Image(pixels, width, height, "jpeg", data if divisor > 1 else None)


def _jpeg_pixels(data: bytes, header: image_headers.JpegHeader, divisor: int) -> np.ndarray:
    try:
        return _raw_jpeg(data, header, divisor)
    except ValueError:
        clean = image_headers.clean_jpeg(data, header)
    try:
        return _raw_jpeg(clean, header, divisor)
    except ValueError as error:
        if "subsampling" in str(error):
            return _raw_odd_jpeg(clean, divisor)
        return _raw_jpeg(_without_padding(clean, str(error)), header, divisor)


def _raw_jpeg(data: bytes, header: image_headers.JpegHeader, divisor: int) -> np.ndarray:
    """Strict decoding: libjpeg's every warning is a ValueError."""
    import simplejpeg

    smallest = {}
    if divisor > 1:
        smallest = {"min_width": -(-header.width // divisor), "min_height": -(-header.height // divisor)}
    if header.components < 4:
        return simplejpeg.decode_jpeg(data, "RGB", **smallest)
    from PIL import Image as pillow

    inks = 255 - simplejpeg.decode_jpeg(data, "CMYK", **smallest)  # stored inverted, as Adobe does and everyone reads
    return np.array(pillow.frombuffer("CMYK", inks.shape[1::-1], inks, "raw", "CMYK", 0, 1).convert("RGB"))


def _raw_odd_jpeg(data: bytes, divisor: int) -> np.ndarray:
    """Colour resolutions that TurboJPEG's interface does not know; Pillow does not see damage inside a whole file."""
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(io.BytesIO(data)) as image:
        image.draft(None, tuple(max(1, side // divisor) for side in image.size))
        return rgb(strict(image))


def _without_padding(data: bytes, complaint: str) -> bytes:
    """Take out what some cameras write between the last block of the picture and the end marker.

    A flipped bit can leave unread bytes there as well, so only uniform or little padding passes.

    Raises
    ------
    BrokenImage
        The complaint is about something else, or what is left over is more than padding.
    """
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", complaint)
    count = int(found[1]) if found else 0
    padding = data[-2 - count : -2]
    if not count or (len(set(padding)) > 1 and count > max(64, len(data) // 100)):
        raise BrokenImage("the JPEG photo is damaged or cut short", format="jpeg")
    return data[: -2 - count] + data[-2:]
