"""What Amazon Rekognition's clients read: errors, boxes as shares of the picture, faces with what is said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    AccessError,
    BadRequest,
    BodyTooLarge,
    Busy,
    FaceError,
    GroupNotFound,
    GroupTaken,
    ImageError,
    ImageTooLarge,
    InvalidKey,
    KeyExpired,
    KeyRequired,
    MethodNotAllowed,
    NameTaken,
    NotFound,
    RateLimited,
    RecognizerError,
    UnknownRoute,
)
from recognizer.http.compat.shared import certainty
from recognizer.http.statuses import status_of
from recognizer.photos.results import SeenFace

#: The text that clients compare the message of an error with.
NO_FACES = "There are no faces in the image. Should be at least 1."
#: Error class -> AWS's code; the first that fits. A detail named `aws` has another one.
_CODES: tuple[tuple[type[RecognizerError], str], ...] = (
    (KeyRequired, "MissingAuthenticationTokenException"),
    (InvalidKey, "UnrecognizedClientException"),
    (KeyExpired, "UnrecognizedClientException"),
    (AccessError, "AccessDeniedException"),
    (RateLimited, "ThrottlingException"),
    (Busy, "ProvisionedThroughputExceededException"),
    (ImageTooLarge, "ImageTooLargeException"),
    (ImageError, "InvalidImageFormatException"),
    (FaceError, "InvalidParameterException"),
    (GroupNotFound, "ResourceNotFoundException"),
    (GroupTaken, "ResourceAlreadyExistsException"),
    (NameTaken, "ResourceAlreadyExistsException"),
    (UnknownRoute, "UnknownOperationException"),
    (NotFound, "ResourceNotFoundException"),
    (BadRequest, "InvalidParameterException"),
)
#: Errors that keep their status; all others of the request have 400.
_OWN_STATUS = (Busy, RateLimited, BodyTooLarge, AccessError, UnknownRoute, MethodNotAllowed)
#: Names of the five landmarks, in the order of YuNet's: left in the picture first.
_LANDMARKS = ("eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight")
_EMOTIONS = {"happy": "HAPPY", "neutral": "CALM", "surprised": "SURPRISED", "other": "UNKNOWN"}
#: Sharpness of a face that is shown as 100; see `photos.quality.Quality`.
_SHARP = 0.3


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as AWS's JSON protocol has it: 400, and the code in the body."""
    code = error.details.get("aws") or next((code for kind, code in _CODES if isinstance(error, kind)), "InternalServerError")
    status = status_of(error) if isinstance(error, _OWN_STATUS) else 500 if code == "InternalServerError" else 400
    message = NO_FACES if error.details.get("no_faces") else cut(error.message, MESSAGE)
    return status, {"__type": code, "message": message, "Message": message}


def percent(share: float) -> float:
    """0 to 1 as 0 to 100."""
    return round(100 * share, 4)


def shares(box: Iterable[float], width: float, height: float) -> dict[str, float]:
    """A box (left, top, right, bottom) as shares of a picture of that size."""
    left, top, right, bottom = box
    return {
        "Width": round((right - left) / width, 6),
        "Height": round((bottom - top) / height, 6),
        "Left": round(left / width, 6),
        "Top": round(top / height, 6),
    }


def box_of(face: SeenFace, width: int, height: int) -> dict[str, float]:
    return shares(face.box, width, height)


def face_detail(face: SeenFace, width: int, height: int) -> dict[str, Any]:
    """A face with what is said of it: what was not asked for, or cannot be said, is left out."""
    shown: dict[str, Any] = {
        "BoundingBox": box_of(face, width, height),
        "Confidence": percent(certainty(face.score)),
        "Landmarks": _landmarks(face, width, height),
    }
    measured = face.quality
    if measured is not None:
        angles = {"Roll": measured.roll, "Yaw": measured.yaw, "Pitch": measured.pitch}
        if not any(map(math.isnan, angles.values())):
            shown["Pose"] = {name: round(angle, 3) for name, angle in angles.items()}
        bright, sharp = measured.brightness / 255, min(1.0, measured.sharpness / _SHARP)
        shown["Quality"] = {"Brightness": percent(bright), "Sharpness": percent(sharp)}
    said = face.attributes
    if said is None:
        return shown
    if said.age is not None:
        shown["AgeRange"] = {"Low": said.age.low, "High": said.age.high}
    if said.gender is not None:
        shown["Gender"] = {"Value": said.gender.value.title(), "Confidence": percent(said.gender.probability)}
    if said.expression is not None:
        found = [{"Type": _EMOTIONS[name], "Confidence": percent(share)} for name, share in said.expression.all.items()]
        shown["Emotions"] = sorted(found, key=lambda each: -each["Confidence"])
    return shown


def compared_face(face: SeenFace, width: int, height: int) -> dict[str, Any]:
    """A face of CompareFaces."""
    detail = face_detail(face, width, height)
    return {name: detail[name] for name in ("BoundingBox", "Confidence", "Landmarks", "Pose", "Quality") if name in detail}


def _landmarks(face: SeenFace, width: int, height: int) -> list[dict[str, Any]]:
    points = face.face.landmarks
    if face.face.scheme == "dlib5":  # no mouth; two corners of each eye
        named = {"eyeLeft": points[2:4].mean(0), "eyeRight": points[0:2].mean(0), "nose": points[4]}
    else:
        named = dict(zip(_LANDMARKS, points, strict=True))
    return [{"Type": name, "X": round(float(x) / width, 6), "Y": round(float(y) / height, 6)} for name, (x, y) in named.items()]
