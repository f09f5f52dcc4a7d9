"""Decoding of photos to upright RGB arrays. The format is detected by content, never by a name or a header field.

Limits of bytes and pixels are checked before decoding, and photos that would take too much memory together wait for each other
(see `decoding_memory`). JPEG is decoded by simplejpeg, whose pixels are bit-identical to
Pillow's (and so to face_recognition's) at every scale, and which reports damage; HEIC by pi-heif; the other formats by Pillow's
reader for the format. Formats other than JPEG, PNG and WebP are decoded in a separate process that can fail without harm (see
`sandbox`). Transparent photos are composited over white. Of animations the first frame is used, of 16-bit channels the upper 8
bits. Colour profiles are not applied.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from recognizer.core.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from recognizer.core.types import check_pixels
from recognizer.photos import extra_decoders, foreign, image_headers, sandbox, tiff_headers
from recognizer.photos.decoders import FORMATS, admit, damage_is_an_error, decode_stored, rgb, strict
from recognizer.photos.decoding_memory import BYTES_PER_PIXEL, MAX_PIXELS, SHARED, whole_pixels
from recognizer.photos.image_headers import sniff

if TYPE_CHECKING:
    import PIL.Image

__all__ = ["FORMATS", "Image", "decode", "encode_jpeg", "from_array", "read_file", "resize", "sniff"]

#: Formats that are decoded in this process.
IN_PROCESS = ("jpeg", "png", "webp")

#: Pixels of a photo that is decoded whole, above which only a reduced copy is kept while it is processed.
_MOST_KEPT = 24_000_000
_MOST_SCANS = 100  # of a progressive JPEG; encoders write about 10, and each takes a pass over the whole image


@dataclass(frozen=True, eq=False)
class Image:
    """A decoded photo.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (h, w, 3)
        RGB, upright, possibly at a reduced scale.
    width, height : int
        Size of the original photo, upright.
    format : str
        A key of `FORMATS`, or ``"array"``.
    """

    pixels: np.ndarray
    width: int
    height: int
    format: str
    _data: bytes | None = field(default=None, repr=False)  # only if it can be decoded at a larger scale
    _max_pixels: int = field(default=MAX_PIXELS, repr=False)

    @property
    def scale_x(self) -> float:
        """Horizontal pixels of `pixels` per pixel of the original; at most 1."""
        return float(self.pixels.shape[1] / self.width)

    @property
    def scale_y(self) -> float:
        """Vertical pixels of `pixels` per pixel of the original; at most 1."""
        return float(self.pixels.shape[0] / self.height)

    def sharper(self, scale: float) -> Image:
        """The photo with at least `scale` pixels per original pixel; self if it is that sharp already.

        It is at most at full scale, and at most as sharp as memory allows: of a JPEG with more than 70 million pixels, not all
        are decoded at once.

        Raises
        ------
        ValueError
            `scale` is not above 0.
        """
        if not scale > 0:
            raise ValueError(f"expected a scale above 0, got {scale}")
        if self._data is None or min(self.scale_x, self.scale_y) >= scale:
            return self
        divisor = next((k for k in (8, 4, 2) if 1 / k >= scale), 1)
        if self.format != "jpeg":
            return _read_whole(self.format, self._data, self._max_pixels, divisor)
        with damage_is_an_error(self.format):
            return _read_jpeg(self._data, image_headers.read_jpeg(self._data), divisor, self._max_pixels)


def decode(data: bytes, *, max_bytes: int = 25_000_000, max_pixels: int = MAX_PIXELS, long_side: int | None = None) -> Image:
    """Decode a photo.

    Parameters
    ----------
    data : bytes
        A file of one of `FORMATS`.
    max_bytes, max_pixels : int
        Limits, checked before decoding. Formats other than JPEG may have at most `decoding_memory.whole_pixels(max_pixels)`.
    long_side : int, optional
        If given, a JPEG is decoded at the smallest scale of 1/1, 1/2, 1/4 and 1/8 whose long side has at least this many
        pixels, and a very large photo of another format is reduced to it; `Image.sharper` decodes it at a larger scale.

    Raises
    ------
    UnsupportedImage
        It is not an image, or of an unsupported format or kind.
    BrokenImage
        It is damaged or truncated.
    ImageTooLarge
        It exceeds a limit; ``details`` contain the size and the limit.
    """
    if len(data) > max_bytes:
        raise too_many_bytes(max_bytes, bytes=len(data))
    data = bytes(data)
    kind = sniff(data)
    if kind == "tiff" and extra_decoders.is_available("raw") and tiff_headers.is_camera_raw(data):
        kind = "raw"
    if kind is None or not extra_decoders.is_available(kind):
        raise _unsupported(data, kind)

    if kind == "jpeg":
        with damage_is_an_error(kind):
            header = image_headers.read_jpeg(data)
            admit(kind, header.width, header.height, max_pixels)
            return _read_jpeg(data, header, _divisor(max(header.width, header.height), long_side), max_pixels)
    return _read_whole(kind, data, max_pixels, None, long_side)


def _unsupported(data: bytes, kind: str | None) -> UnsupportedImage:
    formats = ", ".join(name for each, name in FORMATS.items() if extra_decoders.is_available(each))
    known = foreign.identify(data[:1000])
    if known is not None and kind is not None:
        advice = f"{known.advice}, or {extra_decoders.how_to_install(kind)}"
        return UnsupportedImage(f"expected a photo ({formats}), got {known.name}: {advice}")
    if known is None:
        return UnsupportedImage(f"expected a photo ({formats}), got {'something else' if data else 'nothing: 0 bytes'}")
    return UnsupportedImage(f"expected a photo ({formats}), got {known.name}: {known.advice}")


def _read_whole(kind: str, data: bytes, max_pixels: int, divisor: int | None, long_side: int | None = None) -> Image:
    """Decode a photo of a format that has no reduced scale. Without a `divisor`, `long_side` reduces only very large photos."""
    whole = whole_pixels(max_pixels)
    if kind in IN_PROCESS:
        limit = whole * BYTES_PER_PIXEL
        stored, orientation = decode_stored(kind, data, whole, lambda pixels: SHARED.taking(pixels * BYTES_PER_PIXEL, limit))
    else:
        stored, orientation = sandbox.decode_stored(kind, data, whole)
    pixels = upright(stored, orientation)
    height, width = pixels.shape[:2]
    if divisor is None:
        divisor = _divisor(max(width, height), long_side) if width * height > _MOST_KEPT else 1
    if divisor == 1:
        return Image(pixels, width, height, kind)
    return Image(resize(pixels, -(-max(width, height) // divisor)), width, height, kind, data, max_pixels)


def from_array(pixels: np.ndarray) -> Image:
    """Make a photo of an RGB uint8 array, shape (H, W, 3), at full scale.

    Raises
    ------
    TypeError, ValueError
        It is not such an array.
    """
    pixels = np.ascontiguousarray(check_pixels(pixels))
    return Image(pixels, pixels.shape[1], pixels.shape[0], "array")


def from_pillow(image: PIL.Image.Image) -> Image:
    """Make a photo of a PIL image at full scale: turned upright by its EXIF orientation, transparent parts white.

    Raises
    ------
    OSError
        Pillow cannot read the file behind the image.
    """
    from PIL import Image as pillow
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        solid = upright.convert("RGBA")
        upright = pillow.alpha_composite(pillow.new("RGBA", solid.size, "white"), solid)
    return from_array(np.asarray(upright.convert("RGB")))


def encode_jpeg(pixels: np.ndarray, quality: int = 90) -> bytes:
    """Encode an RGB uint8 array, shape (H, W, 3), as a baseline JPEG with chroma subsampling 4:2:0."""
    import simplejpeg

    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(check_pixels(pixels)), quality=quality, colorspace="RGB", colorsubsampling="420"
    )
    return data


def read_file(path: str | os.PathLike[str], *, max_bytes: int) -> bytes:
    """Read a file; at most `max_bytes` + 1 bytes of it.

    Raises
    ------
    ImageTooLarge
        The file is larger.
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise too_many_bytes(max_bytes)
    return data


def resize(pixels: np.ndarray, long_side: int) -> np.ndarray:
    """Reduce an image, shape (H, W, 3), to `long_side` pixels on its longer side; smaller images are returned unchanged."""
    import cv2

    height, width = pixels.shape[:2]
    if max(height, width) <= long_side:
        return pixels
    scale = long_side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # down to half the size, averaging over areas is not better than interpolation, and takes five times as long
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR)


def too_many_bytes(max_bytes: int, **details: int) -> ImageTooLarge:
    """The error of a photo that is too large."""
    got = f"{details['bytes']}" if details else "more"
    return ImageTooLarge(f"expected a photo of at most {max_bytes} bytes, got {got}", max_bytes=max_bytes, **details)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels upright according to the EXIF orientation 1-8 (CIPA DC-008, tag 274)."""
    import cv2

    turn: dict[int, Callable[[np.ndarray], np.ndarray]] = {
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
    """8, 4, 2 or 1: the largest divisor for which `longest`, divided and rounded up, is at least `long_side`."""
    return next((k for k in (8, 4, 2) if long_side and -(-longest // k) >= long_side), 1)


def _read_jpeg(data: bytes, header: image_headers.JpegHeader, divisor: int, max_pixels: int) -> Image:
    if not header.usual:
        raise UnsupportedImage("lossless and hierarchical JPEGs are not supported; save it as an ordinary JPEG", format="jpeg")
    if header.precision != 8 or header.components not in (1, 3, 4):
        raise UnsupportedImage(
            f"expected a JPEG photo of 8 bits and 1, 3 or 4 channels, got {header.precision} and {header.components}",
            format="jpeg",
        )
    if not header.complete:
        return _read_endless_jpeg(data, header, divisor, max_pixels)
    if sum(marker == 0xDA for marker, *_ in header.segments) > _MOST_SCANS:
        raise UnsupportedImage(f"expected a JPEG photo of at most {_MOST_SCANS} scans, got more", format="jpeg")
    whole = whole_pixels(max_pixels)
    largest = next((k for k in (1, 2, 4) if header.width * header.height <= whole * k * k), 8)
    divisor = max(divisor, largest)
    with SHARED.taking(_jpeg_memory(header, divisor), whole * BYTES_PER_PIXEL):
        pixels = upright(_jpeg_pixels(data, header, divisor), header.orientation)
    turned = header.orientation >= 5
    width, height = (header.height, header.width) if turned else (header.width, header.height)
    return Image(pixels, width, height, "jpeg", data if divisor > largest else None, max_pixels)


def _read_endless_jpeg(data: bytes, header: image_headers.JpegHeader, divisor: int, max_pixels: int) -> Image:
    """Decode a JPEG without its end marker, which some cameras leave out, if all of its pixels are there.

    The strict decoder reports missing pixels. It cannot tell whether a progressive photo lacks its last scans.
    """
    cut_short = BrokenImage("the JPEG photo is cut short: its end is missing", format="jpeg")
    if header.progressive:
        raise cut_short
    ended = data.removesuffix(b"\xff") + b"\xff\xd9"
    whole = image_headers.read_jpeg(ended)
    if not whole.complete:
        raise cut_short
    try:
        return _read_jpeg(ended, whole, divisor, max_pixels)
    except (ValueError, BrokenImage):
        raise cut_short from None


def _jpeg_memory(header: image_headers.JpegHeader, divisor: int) -> int:
    """Bytes that decoding takes: of several scans, libjpeg keeps all coefficients at full scale, 2 bytes each."""
    pixels = header.width * header.height
    several = header.progressive or sum(marker == 0xDA for marker, *_ in header.segments) > 1
    return 8 * pixels // divisor**2 + (2 * header.components * pixels if several else 0)


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
    """Strict decoding: every warning of libjpeg is a ValueError."""
    import simplejpeg

    smallest = {}
    if divisor > 1:
        smallest = {"min_width": -(-header.width // divisor), "min_height": -(-header.height // divisor)}
    if header.components < 4:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", **smallest)
        return pixels
    from PIL import Image as pillow

    inks = 255 - simplejpeg.decode_jpeg(data, "CMYK", **smallest)  # stored inverted, as by Adobe's software
    return np.array(pillow.frombuffer("CMYK", inks.shape[1::-1], inks, "raw", "CMYK", 0, 1).convert("RGB"))


def _raw_odd_jpeg(data: bytes, divisor: int) -> np.ndarray:
    """Decode chroma subsamplings that TurboJPEG's interface does not support, by Pillow, which does not detect all damage."""
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(io.BytesIO(data)) as image:
        image.draft(None, (max(1, image.width // divisor), max(1, image.height // divisor)))
        return rgb(strict(image))


def _without_padding(data: bytes, complaint: str) -> bytes:
    """Remove the padding that some cameras write between the last block and the end marker.

    A flipped bit can leave unread bytes there as well, so only uniform or short padding is accepted.

    Raises
    ------
    BrokenImage
        The decoder's complaint is about something else, or there are more bytes than padding.
    """
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", complaint)
    count = int(found[1]) if found else 0
    padding = data[-2 - count : -2]
    if not count or (len(set(padding)) > 1 and count > max(64, len(data) // 100)):
        raise BrokenImage("the JPEG photo is damaged or cut short", format="jpeg")
    return data[: -2 - count] + data[-2:]
