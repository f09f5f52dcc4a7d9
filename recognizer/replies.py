"""The shapes of answers: results as plain data, the same for HTTP and for the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from . import quality
from .engines.dlib import PARTS_68
from .errors import RecognizerError
from .folder import Problem
from .results import EnrolledPhoto, FoundObject, Person, PersonPhoto, Seen, SeenFace, SeenObjects, Verification
from .strangers import Stranger
from .template_file import EXTENSION
from .types import LANDMARK_SCHEMES, Box, Candidate, Face, Match

if TYPE_CHECKING:
    from .access_file import Key
    from .closeness import Calibration, Closeness, Pair
    from .video.cameras import CameraEntry
    from .video.results import FrameResult


def error(failure: RecognizerError) -> dict:
    """An error as a reply shows it."""
    return {"code": failure.code, "message": failure.message, **failure.details}


def box(edges: Box | Iterable[float]) -> dict[str, int]:
    """A box in whole pixels."""
    left, top, right, bottom = (int(round(edge)) for edge in edges)
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _points(points: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


def landmarks_5(face: Face) -> dict[str, list]:
    """The five points by name; each name holds a list of x, y."""
    found: dict[str, list] = {}
    for name, point in zip(LANDMARK_SCHEMES[face.scheme], _points(face.landmarks), strict=True):
        found.setdefault(name, []).append(point)
    return found


def landmarks_68(points: np.ndarray) -> dict[str, list]:
    """The 68 points by the names that face_recognition gives their parts."""
    return {name: _points(points[list(indices)]) for name, indices in PARTS_68}


def _match(match: Match, with_candidates: bool) -> dict:
    shown = {
        "subject": match.subject,
        "distance": _rounded(match.distance),
        "threshold": _rounded(match.threshold),
        "false_match_rate": _significant(match.false_match_rate),
    }
    if match.ambiguous:
        shown["ambiguous"] = True
    if with_candidates or match.ambiguous:
        shown["candidates"] = [
            {"subject": each.subject, "distance": _rounded(each.distance), "photo": each.photo}
            for each in match.candidates
        ]
    return shown


def _quality(found: quality.Quality) -> dict:
    """The measures of a face's picture, and `remarks` on what is wrong with it."""
    shown = {
        "sharpness": round(found.sharpness, 4),
        "contrast": round(found.contrast, 1),
        "brightness": round(found.brightness, 1),
        "cut_off": round(found.cut_off, 3),
    }
    for name in ("yaw", "pitch", "roll"):
        angle = getattr(found, name)
        shown[name] = None if math.isnan(angle) else round(angle)
    return shown | {"remarks": quality.remarks(found)}


def _face(seen: SeenFace, candidates: bool) -> dict:
    shown = {} if seen.match is None else _match(seen.match, candidates)
    shown |= {"box": box(seen.face.box), "score": round(seen.face.score, 4), "landmarks": landmarks_5(seen.face)}
    if seen.quality is not None:
        shown["quality"] = _quality(seen.quality)
    if seen.landmarks_68 is not None:
        shown["landmarks"] = landmarks_68(seen.landmarks_68)
    return shown


def seen(result: Seen, *, candidates: bool = False, landmarks: bool = False) -> dict:
    """A photo that was looked at, by `recognize` or `detect`."""
    faces = [_face(each, candidates) for each in result.faces]
    if not landmarks:
        for each in faces:
            del each["landmarks"]
    return {
        "image": {"width": result.image.width, "height": result.image.height},
        "faces": faces,
        "timing_ms": timing(result.timing_ms),
    }


def followed(result: FrameResult, *, landmarks: bool = False) -> dict:
    """A picture of a video, with the faces that are followed in it; times in seconds since the epoch."""
    faces = []
    for face in result.faces:
        shown = {"track": face.track, "detected": face.detected, "since": round(face.since, 3), **_face(face.seen, False)}
        if not landmarks:
            del shown["landmarks"]
        faces.append({"subject": None, "decided": face.decided, **shown})
    frame = result.frame
    return {
        "frame": frame.number,
        "time": round(frame.time, 3),
        "position": None if frame.position is None else round(frame.position, 3),
        "width": frame.width,
        "height": frame.height,
        "dropped": result.dropped,
        "faces": faces,
        "objects": [found_object(each) for each in result.objects],
        "ended": list(result.ended),
        "timing_ms": timing(result.timing_ms),
    }


def objects(result: SeenObjects) -> dict:
    return {
        "image": {"width": result.image.width, "height": result.image.height},
        "objects": [found_object(each) for each in result.objects],
        "timing_ms": timing(result.timing_ms),
    }


def found_object(found: FoundObject) -> dict:
    return {"label": found.label, "score": round(found.score, 4), "box": box(found.box)}


def verification(result: Verification) -> dict:
    return {
        "same": result.same,
        "distance": _rounded(result.distance),
        "threshold": _rounded(result.threshold),
        "false_match_rate": _significant(result.false_match_rate),
        "faces": [{"box": box(face.box), "score": round(face.score, 4)} for face in result.faces],
        "timing_ms": timing(result.timing_ms),
    }


def enrolled(result: EnrolledPhoto) -> dict:
    shown = {
        "photo": result.encoding.photo,
        "status": "added" if result.new else "known",
        "box": box(result.encoding.box),
        "score": result.encoding.score,
    }
    if result.warnings:
        shown["warnings"] = list(result.warnings)
    return shown


def person(result: Person, *, photos: bool) -> dict:
    """A subject; `photos` says whether every photo is listed or only counted."""
    usable = [photo for photo in result.photos if photo.encoding.vector is not None]
    shown_by = next((photo for photo in usable if not photo.file.endswith("." + EXTENSION)), None)
    shown = {
        "name": result.name,
        "photos": [_photo(result.name, photo) for photo in result.photos] if photos else len(result.photos),
        "templates": result.templates,
        "problems": sum(photo.encoding.problem is not None for photo in result.photos),
        "thumbnail": _link(result.name, shown_by.id, thumbnail=True) if shown_by else None,
        "consent": result.consent.note,
        "expires": result.consent.expires,
        "expired": result.consent.expired(),
    }
    return shown


def _photo(name: str, photo: PersonPhoto) -> dict:
    kept = not photo.file.endswith("." + EXTENSION)
    shown = {"id": photo.id, "file": photo.file, "bytes": photo.bytes}
    if photo.encoding.vector is not None:
        shown |= {
            "width": photo.encoding.width,
            "height": photo.encoding.height,
            "box": box(photo.encoding.box),
            "score": photo.encoding.score,
            "url": _link(name, photo.id) if kept else None,
            "thumbnail": _link(name, photo.id, thumbnail=True) if kept else None,
        }
        if photo.warnings:
            shown["warnings"] = list(photo.warnings)
    else:
        shown["problem"] = {"code": photo.encoding.problem, "message": photo.encoding.message}
    return shown


def photo_quality(found: quality.Quality | None) -> dict:
    return {"quality": None if found is None else _quality(found)}


def _link(name: str, photo: str, thumbnail: bool = False) -> str:
    return f"/people/{quote(name, safe='')}/photos/{photo}" + ("?thumbnail=1" if thumbnail else "")


def calibration(found: Calibration) -> dict:
    """What each stranger rate means in this gallery."""
    return {
        "stranger_rate": found.stranger_rate,
        "threshold": _rounded(found.threshold),
        "templates": found.templates,
        "curve": [
            {
                "stranger_rate": point.stranger_rate,
                "threshold": _rounded(point.threshold),
                "false_match_rate": _significant(point.false_match_rate),
                "accepted": _rounded(point.accepted),
                "mistaken": _rounded(point.mistaken),
            }
            for point in found.curve
        ],
        "measured": None if found.measured is None else _closeness(found.measured),
        "current": found.current,
    }


def _closeness(found: Closeness) -> dict:
    same, different = found.bars()
    return {
        "templates": found.templates,
        "sampled": found.sampled,
        "same": {"count": len(found.same), "bars": same},
        "different": {"count": len(found.different), "bars": different},
        "bar_width": found.step,
        "closest": [{"distance": _rounded(pair.distance), "photos": _pair(pair)} for pair in found.closest],
    }


def _pair(pair: Pair) -> list[dict]:
    return [
        {"subject": subject, "photo": photo, "thumbnail": None if photo is None else _link(subject, photo, thumbnail=True)}
        for subject, photo in zip(pair.subjects, pair.photos, strict=True)
    ]


def key(held: Key, now: float) -> dict:
    """A key as it is listed: nothing that could be used. Times are seconds since 1970."""
    over = held.expires is not None and held.expires <= now
    return {
        "id": held.id,
        "name": held.name,
        "role": held.role,
        "state": "revoked" if held.revoked is not None else "expired" if over else "valid",
        "made": round(held.made, 3),
        "expires": None if held.expires is None else round(held.expires, 3),
        "revoked": None if held.revoked is None else round(held.revoked, 3),
    }


def camera(entry: CameraEntry) -> dict:
    """A camera of the list, and how it is; its source without what is secret."""
    reader, state = entry.camera, entry.camera.state
    return {
        "id": entry.id,
        "name": entry.name,
        "source": entry.source.shown,
        "kind": entry.source.kind,
        "always": entry.always,
        "fixed": entry.fixed,
        "state": {"name": state.name, "reason": state.reason or None, "since": round(state.since, 3)},
        "fps": round(reader.fps, 1),
        "frames": reader.counts,
    }


def stranger(found: Stranger, resembles: Candidate | None) -> dict:
    """Somebody whom nobody enrolled, and whom of those who are enrolled they are like."""
    pictures = [
        {
            "id": each.id, "url": f"/strangers/{found.id}/pictures/{each.id}", "time": _iso(each.time),
            "camera": each.camera, "quality": each.quality,
        }
        for each in found.pictures
    ]  # fmt: skip
    return {
        "id": found.id,
        "sightings": found.sightings,
        "first_seen": _iso(found.first_seen),
        "last_seen": _iso(found.last_seen),
        "cameras": found.cameras,
        "thumbnail": pictures[0]["url"],
        "pictures": pictures,
        "resembles": resembles and {"subject": resembles.subject, "distance": _rounded(resembles.distance)},
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem(found: Problem) -> dict:
    return {"subject": found.subject, "file": found.path, "code": found.code, "message": found.message}


def timing(stages: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in stages.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _significant(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
