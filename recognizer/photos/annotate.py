"""Drawing of results onto a photo: boxes, names, landmarks, objects; legible at any size of the photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

import numpy as np

from recognizer.core.types import Box
from recognizer.photos import fonts
from recognizer.photos.images import Image
from recognizer.photos.results import FoundObject, SeenFace

if TYPE_CHECKING:
    import PIL.ImageDraw
    import PIL.ImageFont

#: Red, green, blue.
Colour: TypeAlias = tuple[int, int, int]
#: Width, height.
Size: TypeAlias = tuple[int, int]
#: left, top, right, bottom.
Area: TypeAlias = tuple[float, float, float, float]

#: Colours of boxes and labels, distinguishable by colour-blind people; the text is white.
KNOWN, UNKNOWN, FOUND = (0, 98, 204), (176, 74, 0), (70, 70, 70)
#: Colours of objects; each label has the same colour everywhere.
OBJECTS = ((104, 45, 145), (0, 105, 92), (160, 20, 70), (88, 88, 0))
POINT = (255, 221, 0)
UNKNOWN_LABEL = "unknown"


@dataclass(frozen=True, slots=True)
class _Mark:
    """A box to be drawn, with its label and colour.

    If `corner` is set, the label is small and at a corner of the box: boxes of objects often overlap.
    """

    box: Box
    label: str
    colour: Colour
    corner: bool = False


def draw(
    pixels: np.ndarray, faces: Sequence[SeenFace], font: Path | None = None, objects: Sequence[FoundObject] = ()
) -> np.ndarray:
    """A copy of `pixels` with the faces and objects drawn on it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    faces : sequence of SeenFace
        In pixels of `pixels`. Faces that were matched are labelled with their name or as unknown.
    font : path, optional
        A TrueType font for the names; default: Pillow's own, which has Latin letters only. For missing letters see `fonts`.
    objects : sequence of FoundObject
        In pixels of `pixels`; they are labelled with label and score.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    from PIL import Image as pillow
    from PIL import ImageDraw

    picture = pillow.fromarray(pixels)
    brush = ImageDraw.Draw(picture)
    marks = sorted([*map(_face, faces), *map(object_mark, objects)], key=lambda mark: mark.box.area, reverse=True)
    for mark in marks:
        _draw_box(brush, picture.size, mark)
    for seen in faces:
        _draw_points(brush, seen)
    taken: list[Area] = []
    for mark in marks:
        if mark.label:
            taken.append(draw_label(brush, picture.size, mark, font, taken))
    return np.asarray(picture)


def draw_on(
    image: Image, faces: Sequence[SeenFace], font: Path | None = None, objects: Sequence[FoundObject] = ()
) -> np.ndarray:
    """Like `draw`, on a photo at its full size, or as large as memory allows to decode it.

    Faces and objects are in pixels of the original photo.
    """
    image = image.sharper(1.0)
    x, y = image.scale_x, image.scale_y
    if (x, y) != (1, 1):
        faces = [_scaled(each, x, y) for each in faces]
        objects = [replace(each, box=_scaled_box(each.box, x, y)) for each in objects]
    return draw(image.pixels, faces, font, objects)


def _scaled_box(box: Box, x: float, y: float) -> Box:
    return Box(box.left * x, box.top * y, box.right * x, box.bottom * y)


def _scaled(seen: SeenFace, x: float, y: float) -> SeenFace:
    points = None if seen.landmarks_68 is None else seen.landmarks_68 * (x, y)
    face = replace(seen.face, box=_scaled_box(seen.face.box, x, y), landmarks=seen.face.landmarks * (x, y))
    return replace(seen, face=face, landmarks_68=points)


def _face(seen: SeenFace) -> _Mark:
    name = "" if seen.match is None else seen.match.subject or UNKNOWN_LABEL
    said = () if seen.attributes is None else seen.attributes.labels
    return _Mark(seen.face.box, " · ".join(filter(None, (name, *said))), colour_of(seen))


def colour_of(seen: SeenFace) -> Colour:
    """The colour of a face's box and label: known, unknown, or not compared."""
    if seen.match is None:
        return FOUND
    return KNOWN if seen.match.subject else UNKNOWN


def object_mark(found: FoundObject) -> _Mark:
    return _Mark(found.box, f"{found.label} {found.score:.2f}", object_colour(found.label), corner=True)


def object_colour(label: str) -> Colour:
    """The colour of objects with that label."""
    return OBJECTS[crc32(label.encode()) % len(OBJECTS)]


def line_width(size: Size, box: Box) -> int:
    """Width of a box's lines in pixels, on an image of this width and height."""
    return max(1, round(min(max(size) / 300, box.size / 20)))


def _draw_box(brush: PIL.ImageDraw.ImageDraw, size: Size, mark: _Mark) -> None:
    box, width = mark.box, line_width(size, mark.box)
    edges = [box.left, box.top, max(box.left, box.right - 1), max(box.top, box.bottom - 1)]
    halo = max(1, width // 2)
    brush.rectangle([edges[0] - halo, edges[1] - halo, edges[2] + halo, edges[3] + halo], outline="white", width=halo)
    brush.rectangle(edges, outline=mark.colour, width=width)


def _draw_points(brush: PIL.ImageDraw.ImageDraw, seen: SeenFace) -> None:
    if seen.landmarks_68 is None:
        return
    radius = max(0.8, seen.face.box.size / 110)
    for x, y in seen.landmarks_68:
        brush.ellipse([x - radius, y - radius, x + radius, y + radius], fill=POINT)


@lru_cache(maxsize=64)
def typeface(path: Path | None, size: int) -> PIL.ImageFont.FreeTypeFont:
    """A font at a size in pixels; default: Pillow's own."""
    from PIL import ImageFont

    font = ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow was built without FreeType
        raise TypeError(f"expected a scalable font, got {type(font).__name__}")
    return font


def _font_size(size: Size, mark: _Mark) -> int:
    """In pixels: a share of the box, within limits of legibility and of the size of the photo."""
    long_side, largest = max(size), 40 if mark.corner else 22
    return round(min(max(0.16 * mark.box.height, 12, long_side / 80), max(12, long_side / largest)))


def draw_label(brush: PIL.ImageDraw.ImageDraw, size: Size, mark: _Mark, font: Path | None, taken: Sequence[Area]) -> Area:
    """Draw a mark's label where none of the areas `taken` is; return its area."""
    label, font = fonts.choose(mark.label, font)
    letters = typeface(font, _font_size(size, mark))
    label = _shortened(brush, label, letters, size[0])
    left, top, right, bottom = brush.textbbox((0, 0), label, font=letters)
    pad = max(2, int(letters.size) // 5)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x, y = place(size, mark.box, width, height, taken, mark.corner)
    brush.rectangle([x, y, x + width - 1, y + height - 1], fill=mark.colour)
    brush.text((x + pad - left, y + pad - top), label, font=letters, fill="white")
    return (x, y, x + width, y + height)


def place(
    size: Size, box: Box, width: float, height: float, taken: Sequence[Area], corner: bool = False
) -> tuple[float, float]:
    """Find the place of a label: the first possible place that overlaps no other label, or else the first.

    Parameters
    ----------
    size : (int, int)
        Width and height of the photo.
    box : Box
        The box that the label belongs to.
    width, height : float
        Of the label.
    taken : sequence of (left, top, right, bottom)
        Areas of the other labels.
    corner : bool
        Whether the label belongs at a corner of the box instead of below or above it.

    Returns
    -------
    left, top : float
    """
    room = max(0.0, size[0] - width), max(0.0, size[1] - height)
    corners = (_corners if corner else _beside)(box, width, height)
    places = [(min(max(0.0, x), room[0]), y) for x, y in corners if 0 <= y <= size[1] - height]
    x, y = corners[0]
    places.append((min(max(0.0, x), room[0]), min(max(0.0, y), room[1])))
    free = (at for at in places if not any(areas_overlap((*at, at[0] + width, at[1] + height), other) for other in taken))
    return next(free, places[0])


def _beside(box: Box, width: float, height: float) -> list[tuple[float, float]]:
    """Below the box, above it, or inside at its lower edge."""
    x = box.centre[0] - width / 2
    return [(x, box.bottom), (x, box.top - height), (x, box.bottom - height)]


def _corners(box: Box, width: float, height: float) -> list[tuple[float, float]]:
    """Above the box, inside at its upper edge, inside at its lower edge, or below; each on the left, then on the right."""
    rows = (box.top - height, box.top, box.bottom - height, box.bottom)
    return [(x, y) for y in rows for x in (box.left, box.right - width)]


def areas_overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _shortened(brush: PIL.ImageDraw.ImageDraw, label: str, letters: PIL.ImageFont.FreeTypeFont, room: float) -> str:
    limit = 0.95 * room
    if brush.textlength(label, font=letters) <= limit:
        return label
    while label and brush.textlength(label + "…", font=letters) > limit:
        label = label[:-1]
    return label + "…"
