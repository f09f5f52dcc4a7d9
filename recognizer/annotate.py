"""Draws what was found onto a photo: boxes, names, landmarks; legible from a thumbnail to a poster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from .results import SeenFace
from .types import Box

#: Box and label colours, told apart by colour-blind people too; the text is white.
KNOWN, UNKNOWN, FOUND = (0, 98, 204), (176, 74, 0), (70, 70, 70)
POINT = (255, 221, 0)
UNKNOWN_LABEL = "unknown"


def draw(pixels: np.ndarray, faces: Sequence[SeenFace], font: Path | None = None) -> np.ndarray:
    """A copy of `pixels` with the faces drawn on it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    faces : sequence of SeenFace
        In the pixels of `pixels`. Faces that were matched get their name, or are called unknown.
    font : path, optional
        A TrueType font for the names; else Pillow's own, which has Latin letters only.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    brush = ImageDraw.Draw(picture)
    for seen in sorted(faces, key=lambda seen: seen.face.box.area, reverse=True):
        _draw_box(brush, picture.size, seen)
    for seen in faces:
        _draw_points(brush, picture.size, seen)
    taken: list[tuple[float, float, float, float]] = []
    for seen in sorted(faces, key=lambda seen: seen.face.box.area, reverse=True):
        label = _label(seen)
        if label:
            taken.append(_draw_label(brush, picture.size, seen, label, font, taken))
    return np.asarray(picture)


def _label(seen: SeenFace) -> str:
    if seen.match is None:
        return ""
    return seen.match.subject or UNKNOWN_LABEL


def colour_of(seen: SeenFace) -> tuple[int, int, int]:
    """What a face's box and label are drawn in: known, unknown, or not compared."""
    if seen.match is None:
        return FOUND
    return KNOWN if seen.match.subject else UNKNOWN


def line_width(size: tuple[int, int], box: Box) -> int:
    """Of a box's lines, in pixels, on a picture of this width and height."""
    return max(1, round(min(max(size) / 300, box.size / 20)))


def _draw_box(brush, size, seen: SeenFace) -> None:
    box, width = seen.face.box, line_width(size, seen.face.box)
    edges = [box.left, box.top, max(box.left, box.right - 1), max(box.top, box.bottom - 1)]
    halo = max(1, width // 2)
    brush.rectangle([edges[0] - halo, edges[1] - halo, edges[2] + halo, edges[3] + halo], outline="white", width=halo)
    brush.rectangle(edges, outline=colour_of(seen), width=width)


def _draw_points(brush, size, seen: SeenFace) -> None:
    if seen.landmarks_68 is None:
        return
    radius = max(0.8, seen.face.box.size / 110)
    for x, y in seen.landmarks_68:
        brush.ellipse([x - radius, y - radius, x + radius, y + radius], fill=POINT)


@lru_cache(maxsize=64)
def typeface(path: Path | None, size: int):
    """The font in a size, for Pillow."""
    from PIL import ImageFont

    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)


def _font_size(size: tuple[int, int], box: Box) -> int:
    """In pixels: a share of the face, but never too small to read nor too large for the photo."""
    long_side = max(size)
    return round(min(max(0.16 * box.height, 12, long_side / 80), max(12, long_side / 22)))


def _draw_label(brush, size, seen: SeenFace, label: str, font: Path | None, taken: list) -> tuple:
    letters = typeface(font, _font_size(size, seen.face.box))
    label = _shortened(brush, label, letters, size[0])
    left, top, right, bottom = brush.textbbox((0, 0), label, font=letters)
    pad = max(2, letters.size // 5)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x, y = place(size, seen.face.box, width, height, taken)
    brush.rectangle([x, y, x + width - 1, y + height - 1], fill=colour_of(seen))
    brush.text((x + pad - left, y + pad - top), label, font=letters, fill="white")
    return (x, y, x + width, y + height)


def place(size, box: Box, width: float, height: float, taken: list) -> tuple[float, float]:
    """Below the box, above it, or inside its foot: the first place in the photo that no other label has."""
    x = min(max(0.0, box.centre[0] - width / 2), max(0.0, size[0] - width))
    places = [y for y in (box.bottom, box.top - height, box.bottom - height) if 0 <= y <= size[1] - height]
    places.append(min(max(0.0, box.bottom), max(0.0, size[1] - height)))
    free = (y for y in places if not any(_overlap((x, y, x + width, y + height), other) for other in taken))
    return x, next(free, places[0])


def _overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _shortened(brush, label: str, letters, room: float) -> str:
    limit = 0.95 * room
    if brush.textlength(label, font=letters) <= limit:
        return label
    while label and brush.textlength(label + "…", font=letters) > limit:
        label = label[:-1]
    return label + "…"
