"""The external model of Nextcloud's Face Recognition app: faces with dlib's landmarks and descriptors, below a prefix.

The app keeps the descriptors and groups them itself, so they are dlib's own whatever this server's engine is. It does not look
at faces whose confidence is below a setting of its own, 0.99 by default.
"""

from __future__ import annotations

import json
from typing import Any

from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import BadRequest, ImageError, ImageTooLarge, InvalidParameter, RecognizerError
from recognizer.core.version import __version__
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectReply, DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of
from recognizer.service.dlib_descriptions import DlibFace

#: Most pixels of a photo, to which the app reduces larger ones.
MOST_PIXELS = 3840 * 2160
#: The number of the original's model that finds faces by dlib's network; the app shows it.
MODEL = 1
_EDGES = ("left", "top", "right", "bottom")
_MOST_DIGITS = 2000


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as the app logs it; 412 for photos with too many pixels."""
    status = status_of(error)
    if isinstance(error, ImageTooLarge):
        status = 412
    elif isinstance(error, (ImageError, BadRequest)):
        status = 400 if status not in (404, 405, 413) else status
    return status, {"error": cut(error.message, MESSAGE)}


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add these routes to the dialect's API."""
    describing = lambda: site.service.dlib_descriptions  # noqa: E731

    @route.add("GET", "/open")
    def open_model(asked: DialectRequest) -> dict:
        """Which photos the app may send."""
        return {"preferred_mimetype": "image/jpeg", "maximum_area": min(MOST_PIXELS, site.settings.max_image_pixels)}

    @route.add("POST", "/detect", photos=True)
    def detect(asked: DialectRequest) -> dict:
        """Every face of a photo."""
        faces = describing().detect(asked.photo("file"), MOST_PIXELS)
        return {"filename": "file", "faces-count": len(faces), "faces": [shown(face) for face in faces]}

    @route.add("POST", "/compute", photos=True)
    def compute(asked: DialectRequest) -> dict:
        """The face in a box that the app has."""
        given = box_of(asked)
        face = describing().describe(asked.photo("file"), tuple(given[edge] for edge in _EDGES), MOST_PIXELS)
        computed = shown(face)
        return {"filename": "file", "face": {**given, "landmarks": computed["landmarks"], "descriptor": computed["descriptor"]}}

    @route.add("GET", "/health")
    def health(asked: DialectRequest) -> DialectReply:
        """That the server answers."""
        return DialectReply(b"ok", media_type="text/plain; charset=utf-8")

    @route.add("GET", "/welcome")
    def welcome(asked: DialectRequest) -> dict:
        """That the server has what it needs, and its version."""
        return {"facerecognition-external-model": "welcome", "version": __version__, "model": MODEL}


def shown(face: DlibFace) -> dict[str, Any]:
    """A face as the app reads it: all of these are expected."""
    return {
        "detection_confidence": confidence(face),
        **dict(zip(_EDGES, face.box, strict=True)),
        "landmarks": [{"x": int(x), "y": int(y)} for x, y in face.landmarks],
        "descriptor": [float(value) for value in face.descriptor],
    }


def confidence(face: DlibFace) -> float:
    """1 to 1.1, as of dlib's network; a fifth less, and so below the app's default limit, where a face is not comparable."""
    certain = 1 + 0.1 * min(1.0, max(0.0, face.score))
    return round(certain if face.comparable else 0.8 * certain, 5)


def box_of(asked: DialectRequest) -> dict[str, Any]:
    """What the app sent as `face`, with edges that are whole numbers.

    Raises
    ------
    InvalidParameter
    """
    given = asked.value("face")
    if isinstance(given, str) and len(given) <= _MOST_DIGITS:
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            given = None
    edges = given if isinstance(given, dict) else {}
    box: dict[str, Any] = {}
    for edge in _EDGES:
        value = edges.get(edge)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
            raise InvalidParameter(f"face: expected a JSON object with the numbers {', '.join(_EDGES)}")
        box[edge] = round(value)
    certain = edges.get("detection_confidence")
    known = isinstance(certain, (int, float)) and not isinstance(certain, bool) and abs(certain) < 1e6
    return {"detection_confidence": certain if known else 1.0, **box}
