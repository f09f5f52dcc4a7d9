"""Which face of a photo enrols somebody: the only one, the largest, or the one at a place that a person chose.

A place is written as ``at-512-340``: the centre of the face's box, in thousandths of the width and the height of the upright
photo. So it can be part of a file's name, and means the same face after the cache is lost or the detector is another.
"""

from __future__ import annotations

import re

import numpy as np

from recognizer.core.errors import InvalidParameter, NoFace
from recognizer.core.types import Box, Faces

ONLY, LARGEST = "only", "largest"
_WHOLE = 1000
_PLACE = re.compile(r"at-(\d{1,4})-(\d{1,4})")


def check(face: str) -> None:
    """Refuse what names no face.

    Raises
    ------
    InvalidParameter
    """
    if face not in (ONLY, LARGEST) and _box(face) is None:
        raise InvalidParameter(f"face: expected only, largest or a box as left,top,right,bottom, got {face[:80]!r}")


def resolve(face: str, width: int, height: int) -> str:
    """The choice as it is stored: ``only``, ``largest`` or a place.

    Parameters
    ----------
    face : str
        The same, or a box as ``left,top,right,bottom`` in pixels of the upright photo.
    width, height : int
        Of that photo.

    Raises
    ------
    InvalidParameter
        The box's centre is not on the photo.
    """
    box = _box(face)
    if box is None:
        return face
    x, y = box.centre
    if not (0 <= x <= width and 0 <= y <= height):
        raise InvalidParameter(f"face: the box {face} is not on the photo, which has {width} x {height} pixels")
    return f"at-{round(_WHOLE * x / width)}-{round(_WHOLE * y / height)}"


def is_place(face: str) -> bool:
    """Whether a stored choice is a place."""
    return _PLACE.fullmatch(face) is not None


def at_place(faces: Faces, face: str, width: int, height: int) -> int:
    """Index of the face at a place: of those whose boxes contain it, the one whose centre is nearest for its size.

    Parameters
    ----------
    face : str
        As `resolve` gives it.
    width, height : int
        Of the photo, in the pixels of the boxes.

    Raises
    ------
    NoFace
    """
    place = _PLACE.fullmatch(face)
    if place is None:
        raise ValueError(f"expected a place, got {face!r}")
    point = np.array([int(place[1]) * width, int(place[2]) * height]) / _WHOLE
    corners, opposite = faces.boxes[:, :2], faces.boxes[:, 2:4]
    inside = ((corners <= point) & (point <= opposite)).all(axis=1)
    if not inside.any():
        raise NoFace("no face was found at the chosen place of this photo")
    off = np.linalg.norm((point - (corners + opposite) / 2) / (opposite - corners), axis=1)
    return int(np.where(inside, off, np.inf).argmin())


def thumbnail_key(photo: str, face: str) -> str:
    """Under which key the cache has the thumbnail of this face: a photo may enrol several people, each by another face."""
    base = face.partition("+")[0]
    return f"{photo}/{base}" if is_place(base) else photo


def _box(face: str) -> Box | None:
    try:
        left, top, right, bottom = (float(edge) for edge in face.split(","))
        return Box(left, top, right, bottom)
    except ValueError:
        return None
