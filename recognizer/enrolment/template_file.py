"""A template instead of its photo: what is stored of an enrolment where photos are not kept."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import replace

import numpy as np

from recognizer.core.errors import BrokenImage
from recognizer.core.outside_json import parse_outside
from recognizer.enrolment.encodings import Encoding

#: Extension of such a file.
EXTENSION = "face"
_PHOTO = re.compile("[0-9a-f]{32}")
_BEGIN = b'{"recognizer_template": 1,'


def is_template(data: bytes) -> bool:
    return data.startswith(_BEGIN)


def written(encoding: Encoding) -> bytes:
    """A usable encoding as a file holds it."""
    held = {
        "recognizer_template": 1,
        "photo": encoding.photo,
        "engine": encoding.engine,
        "face": encoding.face,
        "vector": base64.b64encode(np.ascontiguousarray(encoding.vector, "<f4").tobytes()).decode(),
        "box": encoding.box,
        "score": encoding.score,
        "width": encoding.width,
        "height": encoding.height,
    }
    return json.dumps(held).encode()


def read(data: bytes) -> Encoding:
    """The encoding in a file.

    Raises
    ------
    BrokenImage
    """
    try:
        held = parse_outside(data)
        vector = np.frombuffer(base64.b64decode(held["vector"], validate=True), "<f4")
        photo, engine, face = (str(held[name]) for name in ("photo", "engine", "face"))
        if not len(vector) or not np.isfinite(vector).all() or not _PHOTO.fullmatch(photo):
            raise ValueError
        box = tuple(float(edge) for edge in held["box"])
        left, top, right, bottom = box
        width, height = int(held["width"]), int(held["height"])
        if not (np.isfinite(box).all() and left < right and top < bottom and width > 0 and height > 0):
            raise ValueError
        return Encoding(
            photo, engine, face, vector, box=(left, top, right, bottom), score=float(held["score"]), width=width, height=height
        )
    except (ValueError, KeyError, TypeError, OverflowError, binascii.Error):
        raise BrokenImage("this template's file is damaged") from None


def for_engine(data: bytes, engine: str, dim: int, face: str) -> Encoding:
    """The encoding in a file as `engine` may use it: one of another engine says that a new photo is needed.

    Parameters
    ----------
    face : str
        What the file's name asks for; the template is of the face that the photo's name asked for.

    Raises
    ------
    BrokenImage
    """
    held = read(data)
    if held.engine != engine or held.vector is None or len(held.vector) != dim:
        message = "the photo was not kept, and its template was made by another engine: enrol a new photo"
        return Encoding(held.photo, engine, face, problem="needs_new_photo", message=message)
    return replace(held, face=face)
