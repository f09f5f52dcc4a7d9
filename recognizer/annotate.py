"""Draws what was found onto a photo: boxes, names, landmarks, objects; legible from a thumbnail to a poster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zlib import crc32

import numpy as np

from . import fonts
from .results import FoundObject, SeenFace
from .types import Box

Colour = tuple[int, int, int]

#: Box and label colours, told apart by colour-blind people too; the text is white.
KNOWN, UNKNOWN, FOUND = (0, 98, 204), (176, 74, 0), (70, 70, 70)
#: Of objects, whose boxes lie across each other: one kind has the same everywhere.
OBJECTS = ((104, 45, 145), (0, 105, 92), (160, 20, 70), (88, 88, 0))
POINT = (255, 221, 0)
UNKNOWN_LABEL = "unknown"


@dataclass(frozen=True, slots=True)
class _Mark:
    """A box to be drawn, what is written beside it, and in which colour."""

    box: Box
    label: str
    colour: Colour
    corner: bool = False  # the label stands at a corner of the box, and small, since such boxes lie across each other


def draw(
    pixels: np.ndarray, faces: Sequence[SeenFace], font: Path | None = None, objects: Sequence[FoundObject] = ()
) -> np.ndarray:
    """A copy of `pixels` with the faces and objects drawn on it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    faces : sequence of SeenFace
        In the pixels of `pixels`. Faces that were matched get their name, or are called unknown.
    font : path, optional
        A TrueType font for the names, or Pillow's own, which has Latin letters only; see `fonts` for letters it lacks.
    objects : sequence of FoundObject
        In the pixels of `pixels`; each gets its label and score.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    brush = ImageDraw.Draw(picture)
    marks = sorted([*map(_face, faces), *map(_object, objects)], key=lambda mark: mark.box.area, reverse=True)
    for mark in marks:
        _draw_box(brush, picture.size, mark)
    for seen in faces:
        _draw_points(brush, seen)
    taken: list[tuple[float, float, float, float]] = []
    for mark in marks:
        if mark.label:
            taken.append(_draw_label(brush, picture.size, mark, font, taken))
    return np.asarray(picture)


def _face(seen: SeenFace) -> _Mark:
    label = "" if seen.match is None else seen.match.subject or UNKNOWN_LABEL
    return _Mark(seen.face.box, label, colour_of(seen))


def colour_of(seen: SeenFace) -> Colour:
    """What a face's box and label are drawn in: known, unknown, or not compared."""
    if seen.match is None:
        return FOUND
    return KNOWN if seen.match.subject else UNKNOWN


def _object(found: FoundObject) -> _Mark:
    return _Mark(found.box, f"{found.label} {found.score:.2f}", object_colour(found.label), corner=True)


def object_colour(label: str) -> Colour:
    """The colour of objects of that label."""
    return OBJECTS[crc32(label.encode()) % len(OBJECTS)]


def line_width(size: tuple[int, int], box: Box) -> int:
    """Of a box's lines, in pixels, on a picture of this width and height."""
    return max(1, round(min(max(size) / 300, box.size / 20)))


def _draw_box(brush, size, mark: _Mark) -> None:
    box, width = mark.box, line_width(size, mark.box)
    edges = [box.left, box.top, max(box.left, box.right - 1), max(box.top, box.bottom - 1)]
    halo = max(1, width // 2)
    brush.rectangle([edges[0] - halo, edges[1] - halo, edges[2] + halo, edges[3] + halo], outline="white", width=halo)
    brush.rectangle(edges, outline=mark.colour, width=width)


def _draw_points(brush, seen: SeenFace) -> None:
    if seen.landmarks_68 is None:
        return
    radius = max(0.8, seen.face.box.size / 110)
    for x, y in seen.landmarks_68:
        brush.ellipse([x - radius, y - radius, x + radius, y + radius], fill=POINT)


@lru_cache(maxsize=64)
def typeface(path: Path | None, size: int):
    from PIL import ImageFont

    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)


def _font_size(size: tuple[int, int], mark: _Mark) -> int:
    """In pixels: a share of the box, but never too small to read nor too large for the photo."""
    long_side, largest = max(size), 40 if mark.corner else 22
    return round(min(max(0.16 * mark.box.height, 12, long_side / 80), max(12, long_side / largest)))


def _draw_label(brush, size, mark: _Mark, font: Path | None, taken: list) -> tuple:
    label, font = fonts.choose(mark.label, font)
    letters = typeface(font, _font_size(size, mark))
    label = _shortened(brush, label, letters, size[0])
    left, top, right, bottom = brush.textbbox((0, 0), label, font=letters)
    pad = max(2, letters.size // 5)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x, y = place(size, mark.box, width, height, taken, mark.corner)
    brush.rectangle([x, y, x + width - 1, y + height - 1], fill=mark.colour)
    brush.text((x + pad - left, y + pad - top), label, font=letters, fill="white")
    return (x, y, x + width, y + height)


def place(size, box: Box, width: float, height: float, taken: list, corner: bool = False) -> tuple[float, float]:
    """Where a label of this width and height goes that belongs to a box, or to its corner: the first place in the photo
    that no other label has, or else the first."""
    room = max(0.0, size[0] - width), max(0.0, size[1] - height)
    corners = (_corners if corner else _beside)(box, width, height)
    places = [(min(max(0.0, x), room[0]), y) for x, y in corners if 0 <= y <= size[1] - height]
    x, y = corners[0]
    places.append((min(max(0.0, x), room[0]), min(max(0.0, y), room[1])))
    free = (at for at in places if not any(_overlap((*at, at[0] + width, at[1] + height), other) for other in taken))
    return next(free, places[0])


def _beside(box: Box, width: float, height: float) -> list[tuple[float, float]]:
    """Below the box, above it, or inside its foot."""
    x = box.centre[0] - width / 2
    return [(x, box.bottom), (x, box.top - height), (x, box.bottom - height)]


def _corners(box: Box, width: float, height: float) -> list[tuple[float, float]]:
    """Above the box, in it, at its foot or below, each on the left and then on the right."""
    rows = (box.top - height, box.top, box.bottom - height, box.bottom)
    return [(x, y) for y in rows for x in (box.left, box.right - width)]


def _overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _shortened(brush, label: str, letters, room: float) -> str:
    limit = 0.95 * room
    if brush.textlength(label, font=letters) <= limit:
        return label
    while label and brush.textlength(label + "…", font=letters) > limit:
        label = label[:-1]
    return label + "…"
