"""Results about photos as plain data, the same in replies, on the command line and from `to_dict`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core.types import LANDMARK_SCHEMES, PARTS_68, Box, Face, Match
from recognizer.photos.quality import Quality, remarks
from recognizer.photos.remarks import Comparability

if TYPE_CHECKING:
    from recognizer.photos.results import FoundObject, SeenFace, Verification


def box(edges: Box | Iterable[float]) -> dict[str, int]:
    """A box in whole pixels."""
    left, top, right, bottom = (int(round(edge)) for edge in edges)
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _points(points: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


def landmarks_5(face: Face) -> dict[str, list[Any]]:
    """The five points by name; each name holds a list of x, y."""
    found: dict[str, list[Any]] = {}
    for name, point in zip(LANDMARK_SCHEMES[face.scheme], _points(face.landmarks), strict=True):
        found.setdefault(name, []).append(point)
    return found


def landmarks_68(points: np.ndarray) -> dict[str, list[Any]]:
    """The 68 points by the names that face_recognition gives their parts."""
    return {name: _points(points[list(indices)]) for name, indices in PARTS_68}


def match(found: Match, with_candidates: bool) -> dict[str, Any]:
    """A match: the name or None, its distance and threshold, and the false-match rate; numbers are rounded."""
    shown: dict[str, Any] = {
        "subject": found.subject,
        "distance": rounded(found.distance),
        "threshold": rounded(found.threshold),
        "false_match_rate": significant(found.false_match_rate),
    }
    if found.ambiguous:
        shown["ambiguous"] = True
    if with_candidates or found.ambiguous:
        shown["candidates"] = [
            {"subject": each.subject, "distance": rounded(each.distance), "photo": each.photo} for each in found.candidates
        ]
    return shown


def face_quality(found: Quality) -> dict[str, Any]:
    """The measures of a face's picture, and `remarks` on what is wrong with it."""
    shown: dict[str, Any] = {
        "sharpness": round(found.sharpness, 4),
        "contrast": round(found.contrast, 1),
        "brightness": round(found.brightness, 1),
        "cut_off": round(found.cut_off, 3),
    }
    for name in ("yaw", "pitch", "roll"):
        angle = getattr(found, name)
        shown[name] = None if math.isnan(angle) else round(angle)
    return shown | {"remarks": remarks(found)}


def comparability(found: Comparability) -> dict[str, Any]:
    """Whether a face can be compared, and remarks in words: what is wrong with it, and what would help."""
    return {"comparable": found.comparable, "remarks": found.sentences()}


def seen_face(seen: SeenFace, candidates: bool) -> dict[str, Any]:
    """A face of a photo, with its match, landmarks and quality, as far as they were computed."""
    shown: dict[str, Any] = {} if seen.match is None else match(seen.match, candidates)
    shown |= {"box": box(seen.face.box), "score": round(seen.face.score, 4), "landmarks": landmarks_5(seen.face)}
    if seen.comparability is not None:
        shown |= comparability(seen.comparability)
    if seen.quality is not None:
        shown["quality"] = face_quality(seen.quality)
    if seen.attributes is not None:
        shown["attributes"] = seen.attributes.to_dict()
    if seen.landmarks_68 is not None:
        shown["landmarks"] = landmarks_68(seen.landmarks_68)
    return shown


def found_object(found: FoundObject) -> dict[str, Any]:
    """An object: label, score and box."""
    return {"label": found.label, "score": round(found.score, 4), "box": box(found.box)}


def verification(result: Verification) -> dict[str, Any]:
    """The result of a verification."""
    return {
        "same": result.same,
        "distance": rounded(result.distance),
        "threshold": rounded(result.threshold),
        "false_match_rate": significant(result.false_match_rate),
        "comparable": result.comparable,
        "faces": [
            {"box": box(face.box), "score": round(face.score, 4), **comparability(found)}
            for face, found in zip(result.faces, result.comparabilities, strict=True)
        ],
        "timing_ms": timing(result.timing_ms),
    }


def timing(stages: dict[str, float]) -> dict[str, float]:
    """Milliseconds of each stage, rounded."""
    return {name: round(value, 2) for name, value in stages.items()}


def rounded(value: float | None) -> float | None:
    """Four decimals: for distances and scores."""
    return None if value is None else round(float(value), 4)


def significant(value: float | None) -> float | None:
    """Three significant digits: for rates."""
    return None if value is None else float(f"{value:.3g}")
