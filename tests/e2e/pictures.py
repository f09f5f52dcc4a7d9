"""Variants of real photos: sizes, formats, turns, and several people side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

#: How the photos of the tests begin, and so do thumbnails: long enough never to come about by chance in what is encrypted.
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00"


def load(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def save(picture: Image.Image, format: str = "JPEG", **how) -> bytes:
    buffer = io.BytesIO()
    if format == "JPEG":
        how.setdefault("quality", 92)
    picture.save(buffer, format, **how)
    return buffer.getvalue()


def smaller(data: bytes, long_side: int) -> bytes:
    """A JPEG of the photo whose long side is at most `long_side` pixels."""
    picture = load(data)
    picture.thumbnail((long_side, long_side))
    return save(picture)


def converted(data: bytes, format: str) -> bytes:
    """The photo in another format."""
    picture = load(data)
    if format == "HEIF":
        import pillow_heif

        buffer = io.BytesIO()
        pillow_heif.from_pillow(picture).save(buffer, quality=90)
        return buffer.getvalue()
    if format == "GIF":
        return save(picture.quantize(256), "GIF")
    return save(picture, format)


#: What was done to the pixels by a camera that notes this orientation.
_TURNS = {
    1: [],
    2: ["FLIP_LEFT_RIGHT"],
    3: ["ROTATE_180"],
    4: ["FLIP_TOP_BOTTOM"],
    5: ["TRANSPOSE"],
    6: ["ROTATE_90"],
    7: ["TRANSVERSE"],
    8: ["ROTATE_270"],
}


def turned(data: bytes, orientation: int) -> bytes:
    """The same photo, its pixels stored turned as EXIF's `orientation` says."""
    picture = load(data)
    for turn in _TURNS[orientation]:
        picture = picture.transpose(Image.Transpose[turn])
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(picture, exif=exif.tobytes())


def side_by_side(photos: Sequence[bytes], height: int = 480) -> bytes:
    """One photo that shows all of these, from left to right."""
    pictures = [load(photo) for photo in photos]
    pictures = [picture.resize((round(picture.width * height / picture.height), height)) for picture in pictures]
    joined = Image.new("RGB", (sum(picture.width for picture in pictures), height), "white")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width
    return save(joined)


def nobody(width: int = 320, height: int = 240) -> bytes:
    """A photo-like picture without a face: a smooth sky over noisy ground."""
    ground = np.random.default_rng(1).integers(60, 120, (height, width, 3))
    sky = np.linspace(230, 120, height)[:, None, None] * np.ones((1, width, 1)) * (0.6, 0.8, 1.0)
    pixels = np.where(np.arange(height)[:, None, None] < height * 0.6, sky, ground)
    return save(Image.fromarray(pixels.astype(np.uint8)))
