"""The shapes of answers: results as plain data, the same for HTTP and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from recognizer.core import geometry
from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import RecognizerError
from recognizer.core.names import DEFAULT_GROUP
from recognizer.core.particulars import Particulars
from recognizer.core.times import iso_time
from recognizer.core.types import Candidate
from recognizer.enrolment.bin_store import BinItem
from recognizer.enrolment.cache import Encoding
from recognizer.enrolment.enrolled import EnrolledPhoto, Person, PersonPhoto
from recognizer.enrolment.folder import Problem
from recognizer.enrolment.template_file import EXTENSION
from recognizer.events.last_seen import SeenPerson
from recognizer.photos import quality
from recognizer.photos.plain import box, face_quality, found_object, rounded, seen_face, significant, timing
from recognizer.photos.results import Seen, SeenObjects
from recognizer.strangers.model import Stranger

if TYPE_CHECKING:
    from recognizer.access.access_file import ApiKey
    from recognizer.enrolment.closeness import Closeness, GalleryCalibration, Pair
    from recognizer.service.groups import PeopleGroup
    from recognizer.video.frames import FrameResult
    from recognizer.video.sources.cameras import CameraEntry


def error(failure: RecognizerError) -> dict:
    """An error as a reply shows it: short, although it may repeat what the request contained."""
    return {"code": failure.code, "message": cut(failure.message, MESSAGE), **_brief(failure.details)}


def _brief(details):
    if isinstance(details, str):
        return cut(details, MESSAGE)
    if isinstance(details, dict):
        return {name: _brief(each) for name, each in details.items()}
    if isinstance(details, list | tuple):
        return [_brief(each) for each in details[:100]]
    return details


def seen(result: Seen, *, candidates: bool = False, landmarks: bool = False) -> dict:
    """The result of `recognize` or `detect` for a photo."""
    faces = [seen_face(each, candidates) for each in result.faces]
    if not landmarks:
        for each in faces:
            del each["landmarks"]
    return {
        "image": {"width": result.image.width, "height": result.image.height},
        "faces": faces,
        "timing_ms": timing(result.timing_ms),
    }


def followed(result: FrameResult, *, landmarks: bool = False) -> dict:
    """A video frame with its tracked faces; times in seconds since the epoch."""
    faces = []
    for face in result.faces:
        shown = {"track": face.track, "detected": face.detected, "since": round(face.since, 3), **seen_face(face.seen, False)}
        if not landmarks:
            del shown["landmarks"]
        faces.append({"subject": None, "comparable": None, "decided": face.decided, **shown})
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


def enrolled(result: EnrolledPhoto) -> dict:
    shown: dict[str, Any] = {
        "photo": result.encoding.photo,
        "status": "added" if result.new else "known",
        "box": _box(result.encoding),
        "score": result.encoding.score,
    }
    if result.encoding.forced:
        shown["forced"] = True
    if result.warnings:
        shown["warnings"] = list(result.warnings)
    return shown


def _box(encoding: Encoding) -> dict[str, int]:
    """The box of a face that was found, inside the photo."""
    assert encoding.box is not None and encoding.width is not None and encoding.height is not None
    return box(geometry.inside(encoding.box, encoding.width, encoding.height))


def group(found: PeopleGroup) -> dict:
    """A group with its counts."""
    return {
        "name": found.name,
        "default": found.is_default,
        "people": len(found.enrolment.names()),
        "templates": len(found.gallery),
        "problems": found.enrolment.problem_count,
    }


def person(result: Person, *, photos: bool, group: str | None = None, seen: SeenPerson | None = None) -> dict:
    """A subject of a group; `photos` says whether every photo is listed or only counted, `seen` when cameras showed them."""
    usable = [photo for photo in result.photos if photo.encoding.vector is not None]
    kept, about = [photo for photo in usable if not photo.file.endswith("." + EXTENSION)], result.particulars
    shown_by = next((photo for photo in kept if photo.id == about.cover), kept[0] if kept else None)
    shown = {
        "name": result.name,
        "photos": [_photo(result.name, photo, group, about) for photo in result.photos] if photos else len(result.photos),
        "templates": result.templates,
        "problems": sum(photo.encoding.problem is not None for photo in result.photos),
        "thumbnail": _link(result.name, shown_by.id, group, thumbnail=True) if shown_by else None,
        "consent": result.consent.note,
        "expires": result.consent.expires,
        "expired": result.consent.expired(),
        "tags": list(about.tags),
        "cover": shown_by.id if shown_by and shown_by.id == about.cover else None,
        "last_seen": None if seen is None else seen.last,
        "visits": None if seen is None else seen.visits,
    }
    return shown


def binned(item: BinItem, until: float, group: str | None = None) -> dict:
    """A deletion that can be undone."""
    asked = "" if group is None else f"?group={quote(group, safe='')}"
    return {
        "id": item.id,
        "kind": item.kind,
        "subject": item.subject,
        "photos": sum(not name.startswith(".") for name in item.files),
        "deleted": iso_time(item.deleted),
        "until": iso_time(until),
        "thumbnail": f"/bin/{item.id}/thumbnail.jpg{asked}" if item.thumbnail else None,
    }


def _photo(name: str, photo: PersonPhoto, group: str | None, about: Particulars) -> dict:
    kept = not photo.file.endswith("." + EXTENSION)
    shown: dict[str, Any] = {"id": photo.id, "file": photo.file, "bytes": photo.bytes}
    if photo.encoding.vector is not None:
        shown |= {
            "width": photo.encoding.width,
            "height": photo.encoding.height,
            "box": _box(photo.encoding),
            "score": photo.encoding.score,
            "url": _link(name, photo.id, group) if kept else None,
            "thumbnail": _link(name, photo.id, group, thumbnail=True) if kept else None,
        }
        if photo.encoding.forced:
            shown["forced"] = True
        if photo.warnings:
            shown["warnings"] = list(photo.warnings)
    else:
        shown["problem"] = {"code": photo.encoding.problem, "message": photo.encoding.message}
    origin = about.photos.get(photo.id or "")
    if origin is not None:
        shown["original"] = {"name": origin.name, "taken": origin.taken, "added": origin.added}
    return shown


def photo_quality(found: quality.Quality | None) -> dict:
    return {"quality": None if found is None else face_quality(found)}


def _link(name: str, photo: str | None, group: str | None = None, *, thumbnail: bool = False) -> str:
    asked = [*(["thumbnail=1"] if thumbnail else []), *([] if group is None else [f"group={quote(group, safe='')}"])]
    return f"/people/{quote(name, safe='')}/photos/{photo}" + ("?" if asked else "") + "&".join(asked)


def calibration(found: GalleryCalibration) -> dict:
    """What each stranger rate means in this gallery."""
    return {
        "stranger_rate": found.stranger_rate,
        "threshold": rounded(found.threshold),
        "templates": found.templates,
        "curve": [
            {
                "stranger_rate": point.stranger_rate,
                "threshold": rounded(point.threshold),
                "false_match_rate": significant(point.false_match_rate),
                "accepted": rounded(point.accepted),
                "mistaken": rounded(point.mistaken),
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
        "closest": [{"distance": rounded(pair.distance), "photos": _pair(pair)} for pair in found.closest],
    }


def _pair(pair: Pair) -> list[dict]:
    return [
        {"subject": subject, "photo": photo, "thumbnail": None if photo is None else _link(subject, photo, thumbnail=True)}
        for subject, photo in zip(pair.subjects, pair.photos, strict=True)
    ]


def key(held: ApiKey, now: float) -> dict:
    """A key as it is listed, without its secret. Times are seconds since 1970."""
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


def camera(entry: CameraEntry, zones: Sequence[str]) -> dict:
    """A camera of the list, its state, and the names of its zones; its source without secrets."""
    from recognizer.video.sources.cameras import plain_state

    seen = (entry.elsewhere and entry.elsewhere.state) or plain_state(entry)
    return {
        "id": entry.id,
        "name": entry.name,
        "source": entry.source.shown,
        "kind": entry.source.kind,
        "always": entry.always,
        "group": entry.group or DEFAULT_GROUP,
        "fixed": entry.fixed,
        "node": entry.node,
        "zones": list(zones),
        **seen,
    }


def stranger(found: Stranger, resembles: Candidate | None) -> dict:
    """A stranger, and the enrolled person whom the stranger resembles."""
    pictures = [
        {
            "id": each.id,
            "url": f"/strangers/{found.id}/pictures/{each.id}",
            "time": _iso(each.time),
            "camera": each.camera,
            "quality": each.quality,
        }
        for each in found.pictures
    ]
    return {
        "id": found.id,
        "sightings": found.sightings,
        "first_seen": _iso(found.first_seen),
        "last_seen": _iso(found.last_seen),
        "cameras": found.cameras,
        "thumbnail": pictures[0]["url"],
        "pictures": pictures,
        "resembles": resembles and {"subject": resembles.subject, "distance": rounded(resembles.distance)},
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def problem(found: Problem) -> dict:
    return {"subject": found.subject, "file": found.path, "code": found.code, "message": found.message}
