"""Decoding of all formats other than JPEG to RGB as stored, with the orientation.

This code may run in a separate process (see `sandbox`): it imports only Pillow, pi-heif and NumPy, for WebP OpenCV, and
for JPEG XL and camera raw files the packages of the extras.
"""

from __future__ import annotations

import io
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from recognizer.core.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from recognizer.photos import extra_decoders, hdr, heif_boxes, image_headers, tiff_headers

if TYPE_CHECKING:
    import PIL.Image
    import PIL.ImageFile

FileT = TypeVar("FileT", bound="PIL.ImageFile.ImageFile")

#: Format, as `image_headers.sniff` returns it -> its name.
FORMATS = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "heic": "HEIC",
    "avif": "AVIF",
    "jp2": "JPEG 2000",
    "jxl": "JPEG XL",
    "raw": "camera raw",
}

#: RGB pixels as stored, uint8 (H, W, 3), and the EXIF orientation 1-8 that turns them upright.
Decoded: TypeAlias = tuple[np.ndarray, int]
#: Raises unless an image of this width and height may be decoded.
Admit: TypeAlias = Callable[[int, int], None]

_MOST_RLE_BYTES = 2_000_000  # Pillow decodes run-length compressed BMPs in Python
_STRIP = 256  # rows that are composited over white at a time


def decode_stored(
    kind: str, data: bytes, max_pixels: int, begin: Callable[[int], AbstractContextManager[None]] | None = None
) -> Decoded:
    """Decode a photo without turning it upright.

    Parameters
    ----------
    kind : str
        A key of `FORMATS` other than ``"jpeg"``.
    data : bytes
    max_pixels : int
        Largest width times height.
    begin : callable, optional
        Is called with the number of pixels before they are decoded; what it returns is entered until they are.

    Raises
    ------
    ImageError
    """
    with ExitStack() as until_decoded, damage_is_an_error(kind):

        def admitted(width: int, height: int) -> None:
            admit(kind, width, height, max_pixels)
            if begin is not None:
                until_decoded.enter_context(begin(width * height))

        return DECODERS[kind](data, admitted)


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
            f"expected a {FORMATS[kind]} photo of at most {max_pixels} pixels, got {width}x{height}",
            width=width,
            height=height,
            pixels=width * height,
            max_pixels=max_pixels,
        )


@contextmanager
def damage_is_an_error(kind: str) -> Iterator[None]:
    """Convert any exception of a decoder to an `ImageError`: untrusted bytes can make it raise every type."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageTooLarge(f"the {FORMATS[kind]} photo takes more memory than is allowed", format=kind) from None
    except Exception as error:
        if "unsupported" in str(error).lower():
            raise UnsupportedImage(f"{FORMATS[kind]} photos of this kind are not supported", format=kind) from error
        raise BrokenImage(f"the {FORMATS[kind]} photo is damaged or cut short", format=kind) from error


def _read_png(data: bytes, admit: Admit) -> Decoded:
    from PIL.PngImagePlugin import PngImageFile

    header = image_headers.read_png(data)
    if header.for_iphones:
        raise UnsupportedImage(
            "this PNG has the form that Apple's tools give to pictures inside apps (CgBI); save it as an ordinary PNG or JPEG",
            format="png",
        )
    admit(header.width, header.height)
    with PngImageFile(io.BytesIO(header.data)) as image:
        pixels = _without_hdr(rgb(strict(image)), header.transfer, header.primaries)
        if header.transparent is not None:  # Pillow compares it with samples of another depth
            wide = image.mode.startswith("I")
            stored = np.asarray(image)[..., None] if wide else np.asarray(image.convert("RGB"))
            pixels[(stored == header.transparent).all(axis=2)] = 255
        return pixels, header.orientation


def _read_gif(data: bytes, admit: Admit) -> Decoded:
    from PIL.GifImagePlugin import GifImageFile

    admit(*image_headers.read_gif(data))
    with GifImageFile(io.BytesIO(data)) as image:
        return rgb(strict(image)), 1


def _read_bmp(data: bytes, admit: Admit) -> Decoded:
    from PIL.BmpImagePlugin import BmpImageFile

    with BmpImageFile(io.BytesIO(data)) as image:
        admit(*image.size)
        if len(data) > _MOST_RLE_BYTES and any(tile[0] == "bmp_rle" for tile in image.tile):
            raise UnsupportedImage("BMP photos of this size are supported only without run-length compression", format="bmp")
        whole = strict(image)
        if whole.mode == "RGBA" and whole.getchannel("A").getextrema() == (0, 0):  # many programs leave the field empty
            return _in_strips(whole, lambda strip: strip.convert("RGB")), 1
        return rgb(whole), 1


def _read_tiff(data: bytes, admit: Admit) -> Decoded:
    from PIL.TiffImagePlugin import TiffImageFile

    header = tiff_headers.read_tiff(data)
    admit(header.width, header.height)
    try:
        image = TiffImageFile(io.BytesIO(header.data))
    except SyntaxError as error:  # of a form that this release of Pillow does not know
        raise UnsupportedImage(
            "TIFF photos of this form are not supported; save it as RGB with 8 bits", format="tiff"
        ) from error
    with image:
        packed = any(tile[0] == "libtiff" for tile in image.tile)
        loaded = image if packed else strict(image)
        if header.bits == 12:
            pixels = _grey_to_rgb((np.asarray(loaded) >> 4).astype(np.uint8))
        else:
            pixels = rgb(loaded)
    return (255 - pixels if header.inverted else pixels), header.orientation


def _read_webp(data: bytes, admit: Admit) -> Decoded:
    """Decode WebP. OpenCV takes a third of the memory that Pillow takes, and gives the same pixels, but not of animations."""
    import cv2

    header = image_headers.read_webp(data)
    admit(header.width, header.height)
    if header.animated:
        from PIL.WebPImagePlugin import WebPImageFile

        with WebPImageFile(io.BytesIO(data)) as image:
            return rgb(image), header.orientation
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.shape[:2] != (header.height, header.width):
        raise BrokenImage("the WebP photo is damaged or cut short", format="webp")
    if stored.shape[2] == 4:
        return _on_white(_pillow(cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA, dst=stored))), header.orientation
    pixels: np.ndarray = cv2.cvtColor(stored, cv2.COLOR_BGR2RGB, dst=stored)
    return pixels, header.orientation


def _read_avif(data: bytes, admit: Admit) -> Decoded:
    """Decode AVIF. As in HEIC, the container alone turns the picture: neither EXIF nor XMP is asked.

    Pillow does not apply the crop box, and converts rotation and mirroring, in one order only, to an EXIF orientation.
    """
    from PIL.AvifImagePlugin import AvifImageFile

    header = heif_boxes.read_heif(data)
    with AvifImageFile(io.BytesIO(data)) as image:
        admit(*image.size)
        pixels = rgb(image)
        orientation = image_headers.orientation(image.info.get("exif"))
    if header.shaping is not None:
        pixels, orientation = _shaped(pixels, header.shaping, "avif"), 1
    return _without_hdr(pixels, header.transfer, header.primaries), orientation


def _read_heic(data: bytes, admit: Admit) -> Decoded:
    """Decode HEIC. libheif applies the container's rotation, which takes precedence by ISO/IEC 23008-12.

    libheif refuses photos with a crop box that cuts away more than 64 pixels. Such boxes are hidden from it and applied here.
    """
    import pi_heif

    header = heif_boxes.read_heif(data)
    shaping = None if header.shaping is None or header.shaping.padding else header.shaping
    if shaping is not None:
        plain = bytearray(data)
        for at in shaping.boxes:
            plain[at : at + 4] = b"free"
        data = bytes(plain)
    photo = pi_heif.open_heif(data)
    admit(*photo.size)
    pixels = _heif_pixels(photo)
    if shaping is not None:
        pixels = _shaped(pixels, shaping, "heic")
    return _without_hdr(pixels, header.transfer, header.primaries), 1


def _shaped(pixels: np.ndarray, shaping: heif_boxes.Shaping, kind: str) -> np.ndarray:
    """Crop, rotate and mirror the coded pixels of a HEIC or AVIF."""
    for step, values in shaping.steps:
        if step == b"irot":
            pixels = np.rot90(pixels, values[0])
        elif step == b"imir":
            pixels = np.flip(pixels, values[0])
        else:
            left, top, right, bottom = values
            if not (0 <= left < right <= pixels.shape[1] and 0 <= top < bottom <= pixels.shape[0]):
                raise BrokenImage(f"the {FORMATS[kind]} photo is damaged: its crop box lies outside the picture", format=kind)
            pixels = pixels[top:bottom, left:right]
    return np.array(pixels, order="C")


def _read_jp2(data: bytes, admit: Admit) -> Decoded:
    """Decode JPEG 2000, which states no orientation."""
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

    with Jpeg2KImageFile(io.BytesIO(data)) as image:
        admit(*image.size)
        size = data.find(b"\xff\x4f\xff\x51")  # the codestream's beginning; its first channel's bits follow 42 bytes later
        if size >= 0 and data[size + 42] & 0x7F < 7:  # Pillow makes them too dark, and mistakes numbers of a palette
            raise UnsupportedImage("JPEG 2000 photos of fewer than 8 bits are not supported; save it as JPEG", format="jp2")
        image.load()
        return rgb(image), 1


def _read_raw(data: bytes, admit: Admit) -> Decoded:
    """Decode the preview inside a camera raw file."""
    from PIL.JpegImagePlugin import JpegImageFile

    preview, orientation = extra_decoders.raw_preview(data)
    if not isinstance(preview, bytes):
        admit(preview.shape[1], preview.shape[0])
        return preview, orientation
    with JpegImageFile(io.BytesIO(preview)) as image:
        admit(*image.size)
        return rgb(strict(image)), orientation


def _heif_pixels(photo: Any) -> np.ndarray:
    """The pixels of a `pi_heif` photo, without a detour over Pillow, which would take 7 bytes per pixel more."""
    if photo.mode != "RGB":
        return rgb(photo.to_pillow())
    width, height = photo.size
    data = np.frombuffer(photo.data, np.uint8)
    rows = data[: height * photo.stride].reshape(height, photo.stride)
    pixels: np.ndarray = rows[:, : width * 3].reshape(height, width, 3).copy()
    return pixels


def _pillow(rgba: np.ndarray) -> PIL.Image.Image:
    """An RGBA array as a Pillow image that shares its memory."""
    from PIL import Image as pillow

    return pillow.frombuffer("RGBA", rgba.shape[1::-1], rgba, "raw", "RGBA", 0, 1)


def _without_hdr(pixels: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    return hdr.to_srgb(pixels, transfer, primaries) if hdr.is_hdr(transfer) else pixels


#: Format -> its decoder.
DECODERS: dict[str, Callable[[bytes, Admit], Decoded]] = {
    "png": _read_png,
    "gif": _read_gif,
    "bmp": _read_bmp,
    "tiff": _read_tiff,
    "webp": _read_webp,
    "avif": _read_avif,
    "heic": _read_heic,
    "jp2": _read_jp2,
    "jxl": extra_decoders.read_jxl,
    "raw": _read_raw,
}


@cache
def _strict_load() -> types.FunctionType:
    """Pillow's loading of tiles, bound to globals in which truncated data is an error.

    Pillow stores that choice in a process-wide variable, which importing face_recognition changes for everyone.
    """
    from PIL import ImageFile

    load = ImageFile.ImageFile.load
    strict = {**load.__globals__, "LOAD_TRUNCATED_IMAGES": False}
    return types.FunctionType(load.__code__, strict, load.__name__, load.__defaults__, load.__closure__)


def strict(image: FileT) -> FileT:
    """Load an image such that truncated data is an error; return it."""
    _strict_load()(image)
    return image


def rgb(image: PIL.Image.Image) -> np.ndarray:
    """Any Pillow image as RGB, uint8 (H, W, 3); transparent parts white.

    Raises
    ------
    UnsupportedImage
    """
    if image.mode.startswith("I;16"):
        return _grey_to_rgb((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _grey_to_rgb(_to_8_bits(np.array(image)))
    if image.mode == "LAB":
        raise UnsupportedImage("photos in CIE Lab colours are not supported; save it as RGB")
    if image.has_transparency_data:
        return _on_white(image)
    return _in_strips(image, lambda strip: strip if strip.mode == "RGB" else strip.convert("RGB"))


def _in_strips(image: PIL.Image.Image, convert: Callable[[PIL.Image.Image], PIL.Image.Image]) -> np.ndarray:
    """An image as RGB, converted in strips: as a whole, it would need several times its memory."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        strip = convert(image.crop((0, top, width, min(top + _STRIP, height))))
        pixels[top : top + strip.height] = np.asarray(strip)
    return pixels


def _on_white(image: PIL.Image.Image) -> np.ndarray:
    """A transparent image composited over white."""
    from PIL import Image as pillow

    def solid(strip: PIL.Image.Image) -> PIL.Image.Image:
        strip = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
        return pillow.alpha_composite(pillow.new("RGBA", strip.size, "white"), strip).convert("RGB")

    return _in_strips(image, solid)


def _grey_to_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of unknown range as uint8: the ranges 0..1 (floats), 0..255 and 0..65535 are detected by the extremes.

    Any other range is stretched from its lowest to its highest value. NaN becomes black.
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
