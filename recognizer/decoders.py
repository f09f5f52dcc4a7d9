"""Bytes of a photo in one of the formats other than JPEG -> RGB as stored, and how it has to be turned.

What runs here may run in a process of its own (see `sandbox`): it imports nothing but Pillow, pi-heif and NumPy.
"""

from __future__ import annotations

import io
import types
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache

import numpy as np

from . import image_headers
from .errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage

FORMATS = {
    "jpeg": "JPEG", "png": "PNG", "webp": "WebP", "gif": "GIF",
    "bmp": "BMP", "tiff": "TIFF", "heic": "HEIC", "avif": "AVIF",
}  # fmt: skip

#: RGB pixels uint8 (H, W, 3) as they are stored, and the EXIF orientation 1-8 by which they have to be turned.
Read = tuple[np.ndarray, int]

_MOST_RLE_BYTES = 2_000_000  # Pillow unpacks run-length BMPs in Python
_STRIP = 256  # rows at a time, where a photo is laid on white


def read(kind: str, data: bytes, max_pixels: int) -> Read:
    """Decode a photo of `kind`, a key of `FORMATS` other than JPEG's, of at most `max_pixels`.

    Raises
    ------
    ImageError
    """
    with damage_is_an_error(kind):
        return _READERS[kind](data, lambda width, height: admit(kind, width, height, max_pixels))


def admit(kind: str, width: int, height: int, max_pixels: int) -> None:
    """Raise unless a photo of this size may be decoded.

    Raises
    ------
    BrokenImage, ImageTooLarge
    """
    if width < 1 or height < 1:
        raise BrokenImage(f"the {FORMATS[kind]} photo has no pixels: {width}x{height}", format=kind)
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"expected a photo of at most {max_pixels} pixels, got {width}x{height}",
            width=width, height=height, pixels=width * height, max_pixels=max_pixels,
        )  # fmt: skip


@contextmanager
def damage_is_an_error(kind: str):
    """Whatever a decoder raises over bytes from outside, of any type, is damage in the photo."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageTooLarge(f"the {FORMATS[kind]} photo takes more memory than it may", format=kind) from None
    except Exception as error:
        if "unsupported" in str(error).lower():
            raise UnsupportedImage(f"a {FORMATS[kind]} photo of this kind is not read", format=kind) from error
        raise BrokenImage(f"the {FORMATS[kind]} photo is damaged or cut short", format=kind) from error


def _read_png(data: bytes, admit: Callable) -> Read:
    from PIL.PngImagePlugin import PngImageFile

    width, height, orientation, plain = image_headers.read_png(data)
    admit(width, height)
    with PngImageFile(io.BytesIO(plain)) as image:
        return rgb(strict(image)), orientation


def _read_gif(data: bytes, admit: Callable) -> Read:
    from PIL.GifImagePlugin import GifImageFile

    admit(*image_headers.read_gif(data))
    with GifImageFile(io.BytesIO(data)) as image:
        return rgb(strict(image)), 1


def _read_bmp(data: bytes, admit: Callable) -> Read:
    from PIL.BmpImagePlugin import BmpImageFile

    with BmpImageFile(io.BytesIO(data)) as image:
        admit(*image.size)
        if len(data) > _MOST_RLE_BYTES and any(tile[0] == "bmp_rle" for tile in image.tile):
            raise UnsupportedImage("a BMP photo this large is read only without run-length compression", format="bmp")
        return rgb(strict(image)), 1


def _read_tiff(data: bytes, admit: Callable) -> Read:
    from PIL.TiffImagePlugin import TiffImageFile

    width, height, orientation, plain = image_headers.read_tiff(data)
    admit(width, height)
    with TiffImageFile(io.BytesIO(plain)) as image:
        packed = any(tile[0] == "libtiff" for tile in image.tile)
        image = image if packed else strict(image)
        return rgb(image), orientation


def _read_webp(data: bytes, admit: Callable) -> Read:
    from PIL.WebPImagePlugin import WebPImageFile

    admit(*image_headers.read_webp(data))
    with WebPImageFile(io.BytesIO(data)) as image:
        return rgb(image), image_headers.exif_orientation(image.info.get("exif"))


def _read_avif(data: bytes, admit: Callable) -> Read:
    """AVIF; Pillow turns the container's own rotation into an EXIF orientation, which replaces the file's."""
    from PIL.AvifImagePlugin import AvifImageFile

    with AvifImageFile(io.BytesIO(data)) as image:
        admit(*image.size)
        return rgb(image), image_headers.exif_orientation(image.info.get("exif"))


def _read_heic(data: bytes, admit: Callable) -> Read:
    """HEIC; libheif turns the photo by the container's rotation, which by ISO/IEC 23008-12 is the one that counts."""
    import pi_heif

    photo = pi_heif.open_heif(data)
    admit(*photo.size)
    return rgb(photo.to_pillow()), 1


_READERS = {
    "png": _read_png, "gif": _read_gif, "bmp": _read_bmp, "tiff": _read_tiff,
    "webp": _read_webp, "avif": _read_avif, "heic": _read_heic,
}  # fmt: skip


@cache
def _strict_load() -> Callable:
    """Pillow's own loading of tiles, bound to globals in which truncated data are an error.

    Pillow keeps that choice in a variable of the process, which importing face_recognition turns off for everyone.
    """
    from PIL import ImageFile

    load = ImageFile.ImageFile.load
    strict = {**load.__globals__, "LOAD_TRUNCATED_IMAGES": False}
    return types.FunctionType(load.__code__, strict, load.__name__, load.__defaults__, load.__closure__)


def strict(image):
    _strict_load()(image)
    return image


def rgb(image) -> np.ndarray:
    """Any Pillow image as RGB uint8 (H, W, 3)."""

    if image.mode.startswith("I;16"):
        return _grey_to_rgb((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _grey_to_rgb(_to_8_bits(np.array(image)))
    if image.mode == "LAB":
        raise UnsupportedImage("a photo in CIE Lab colours is not read; save it as RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _on_white(image) -> np.ndarray:
    """A transparent image over white, a strip at a time: whole, it would be in memory five times."""
    from PIL import Image as pillow

    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        strip = image.crop((0, top, width, min(top + _STRIP, height)))
        solid = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
        white = pillow.new("RGBA", solid.size, "white")
        pixels[top : top + solid.height] = pillow.alpha_composite(white, solid).convert("RGB")
    return pixels


def _grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of unknown range as uint8: 0..1 (floats), 0..255 and 0..65535 are known by their extremes.

    Any other range is stretched from its least to its largest value; what is not a number becomes black.
    """
    whole = values.dtype.kind == "i"
    values = np.nan_to_num(values.astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    top = next((top for top in (1.0, 255.0, 65535.0) if high <= top and not (whole and top == 1.0)), None)
    if low < 0 or top is None:
        values -= low
        top = float(values.max()) or 1.0
    values *= 255.0 / top
    return np.clip(values, 0, 255, out=values).astype(np.uint8)
