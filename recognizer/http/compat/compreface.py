"""CompreFace's dialect: recognition, the face collection, subjects, detection, verification and embeddings, below `/api/v1`.

Errors are `{"message": text, "code": number}`. Ids of images are our photos' ids with hyphens, so they outlive renaming and
restarts, and are gone when the photo is erased.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from recognizer.access.dialects import ADMIN
from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    Busy,
    FaceError,
    ImageError,
    ImageTooLarge,
    InvalidKey,
    InvalidName,
    InvalidParameter,
    KeyExpired,
    KeyRequired,
    NameTaken,
    NoFace,
    NoImage,
    PhotoNotFound,
    RecognizerError,
    SeveralFaces,
    SubjectNotFound,
)
from recognizer.core.names import comparison_key
from recognizer.core.types import Candidate
from recognizer.enrolment.entries import Entry
from recognizer.galleries import matching
from recognizer.http.compat.shared import alike, as_uuid, certainty, corners, from_uuid, largest_first
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectReply, DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of
from recognizer.photos.remarks import Comparability
from recognizer.photos.results import Seen, SeenFace

#: Error class -> CompreFace's number and status; the first that fits.
_NUMBERS: tuple[tuple[type[RecognizerError], int, int], ...] = (
    (KeyRequired, 20, 400),
    (InvalidKey, 10, 404),
    (KeyExpired, 10, 404),
    (SeveralFaces, 31, 400),
    (FaceError, 28, 400),
    (ImageTooLarge, 28, 413),
    (ImageError, 28, 400),
    (SubjectNotFound, 42, 404),
    (PhotoNotFound, 44, 404),
    (NameTaken, 43, 400),
    (InvalidName, 36, 400),
    (NoImage, 34, 400),
    (InvalidParameter, 26, 400),
    (Busy, 41, 503),
)
#: Most faces of one page of the collection, and most subjects that a face is compared with.
_MOST_LISTED, _MOST_CANDIDATES = 10_000, 100
_MOST_EMBEDDINGS = 1000


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as CompreFace sends it. Details named `number` say which of its numbers is meant."""
    number, status = next(((number, status) for kind, number, status in _NUMBERS if isinstance(error, kind)), (0, 0))
    number = error.details.get("number", number)
    if not status:
        status = status_of(error)
        status = 400 if status == 409 else 500 if status > 503 else status
    return status, {"message": cut(error.message, MESSAGE), "code": number}


# -- plug-ins: what is added to each face if a request names it ---------------------------------------------------------


def _landmarks(face: SeenFace) -> dict[str, Any]:
    """Eyes, nose and corners of the mouth, the left of the picture first."""
    if face.face.scheme != "yunet5":
        return {}  # dlib's five points have no mouth
    return {"landmarks": [[round(float(x)), round(float(y))] for x, y in face.face.landmarks]}


def _pose(face: SeenFace) -> dict[str, Any]:
    """Angles of the head in degrees; left out where the points do not determine them."""
    measured = face.quality
    angles = {} if measured is None else {name: getattr(measured, name) for name in ("pitch", "roll", "yaw")}
    if not angles or any(map(math.isnan, angles.values())):
        return {}
    return {"pose": {name: round(angle, 2) for name, angle in angles.items()}}


def _calculator(face: SeenFace) -> dict[str, Any]:
    """The embedding."""
    return {} if face.embedding is None else {"embedding": [float(value) for value in face.embedding]}


def _age(face: SeenFace) -> dict[str, Any]:
    """The range of ages, with the share of faces whose age is in their range; left out where nothing is said."""
    found = None if face.attributes is None else face.attributes.age
    return {} if found is None else {"age": {"low": found.low, "high": found.high, "probability": found.coverage}}


def _gender(face: SeenFace) -> dict[str, Any]:
    """As a face looks; left out where nothing is said."""
    found = None if face.attributes is None else face.attributes.gender
    return {} if found is None else {"gender": {"value": found.value, "probability": round(found.probability, 5)}}


#: Name -> what a plug-in adds to a face. Other names are ignored, as CompreFace ignores plug-ins that it does not have.
FACE_PLUGINS: dict[str, Callable[[SeenFace], dict[str, Any]]] = {
    "age": _age,
    "gender": _gender,
    "landmarks": _landmarks,
    "pose": _pose,
    "calculator": _calculator,
}
#: Those that need no more than the detector.
_OF_DETECTOR = {"landmarks", "age", "gender"}
#: Those that are attributes, and ignored where the setting of attributes does not name them.
_OF_ATTRIBUTES = ("age", "gender")


class FaceOptions:
    """What a request says about the faces of its reply.

    Parameters
    ----------
    asked : DialectRequest
    enabled : collection of str
        The attributes that may be asked for.

    Raises
    ------
    InvalidParameter
    """

    def __init__(self, asked: DialectRequest, enabled: Collection[str]):
        self.limit = asked.whole("limit", 0, 0, 1_000_000)
        self.least = _probability(asked)
        self.status = asked.switch("status")
        words = [word.strip() for word in str(asked.value("face_plugins") or "").split(",")]
        self.plugins = [word for word in FACE_PLUGINS if word in words]
        self.attributes = [word for word in _OF_ATTRIBUTES if word in words and word in enabled]

    @property
    def needs_description(self) -> bool:
        return bool(set(self.plugins) - _OF_DETECTOR)

    def chosen(self, seen: Seen) -> list[SeenFace]:
        """The faces that are wanted, the largest first.

        Raises
        ------
        NoFace
        """
        found = [face for face in largest_first(seen.faces) if certainty(face.score) >= self.least]
        if not found:
            raise NoFace("No face is found in the given image")
        return found[: self.limit] if self.limit else found

    def shown(self, face: SeenFace, seen: Seen) -> dict[str, Any]:
        """A face with what the plug-ins add."""
        shown: dict[str, Any] = {"box": {"probability": certainty(face.score), **corners(face.box, seen)}}
        for name in self.plugins:
            shown |= FACE_PLUGINS[name](face)
        if self.status:
            times = {"detector": seen.timing_ms.get("detect", 0.0), "calculator": seen.timing_ms.get("embed", 0.0)}
            shown["execution_time"] = {name: round(ms, 1) for name, ms in times.items()}
        return shown

    def versions(self, site: Site) -> dict[str, Any]:
        """What computes the reply, where the request asks for it."""
        if not self.status:
            return {}
        settings = site.settings
        used = {"detector": settings.detector, "calculator": settings.embedder}
        return {"plugins_versions": used | {name: "recognizer" for name in self.plugins if name not in used}}


def _probability(asked: DialectRequest) -> float:
    try:
        return asked.number("det_prob_threshold", 0, 0, 1)
    except InvalidParameter as error:
        raise InvalidParameter(error.message, number=28) from None


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add these routes to the dialect's API."""
    _add_recognition(route, site)
    _add_collection(route, site)
    _add_subjects(route, site)
    _add_embeddings(route, site)

    @route.add("GET", "/api/v1/config")
    def config(asked: DialectRequest) -> dict:
        """How large files and bodies may be."""
        return {"clientMaxFileSize": site.settings.max_image_bytes, "clientMaxBodySize": site.settings.max_body_bytes}

    @route.add("GET", "/api/v1/consistence/status")
    def status(asked: DialectRequest) -> dict:
        """That the server answers; nothing can be inconsistent here."""
        kept = site.settings.keep_photos
        return {"status": "OK", "demoFaceCollectionIsInconsistent": False, "dbIsInconsistent": False, "saveImagesToDB": kept}


# -- photos looked at -------------------------------------------------------------------------------------------------


def _add_recognition(route: DialectRouter, site: Site) -> None:
    enabled = site.settings.attributes

    @route.add("POST", "/api/v1/recognition/recognize", photos=True)
    def recognize(asked: DialectRequest) -> dict:
        """Every face of a photo with the nearest people, strangers with a similarity below the gap."""
        options, count = FaceOptions(asked, enabled), asked.whole("prediction_count", 1, 1, 1_000_000)
        top, attributes = min(count, _MOST_CANDIDATES), options.attributes
        seen = site.service.recognition.recognize(asked.photo("file"), top_k=top, attributes=attributes)
        result = []
        for face in options.chosen(seen):
            limit = face.match.threshold if face.match is not None else 0.0
            result.append({**options.shown(face, seen), "subjects": _subjects(site, face.candidates[:count], limit)})
        return {"result": result, **options.versions(site)}

    @route.add("POST", "/api/v1/detection/detect", photos=True)
    def detect(asked: DialectRequest) -> dict:
        """Every face of a photo."""
        options, photo, looking = FaceOptions(asked, enabled), asked.photo("file"), site.service.recognition
        look = looking.describe if options.needs_description else looking.detect
        seen = look(photo, attributes=options.attributes)
        return {"result": [options.shown(face, seen) for face in options.chosen(seen)], **options.versions(site)}

    @route.add("POST", "/api/v1/verification/verify", photos=True)
    def verify(asked: DialectRequest) -> dict:
        """The one face of a photo compared with every face of another."""
        options = FaceOptions(asked, enabled)
        source = site.service.recognition.describe(asked.photo("source_image", any_name=False), attributes=options.attributes)
        target = site.service.recognition.describe(asked.photo("target_image", any_name=False), attributes=options.attributes)
        first = options.chosen(source)
        if len(first) > 1:
            raise SeveralFaces("expected one face in source_image", faces=len(first))
        assert first[0].embedding is not None
        usable = first[0].comparable is not False
        chosen = options.chosen(target)
        similar = _compared(site, first[0].embedding, chosen, first[0].comparability) if usable else [0.0] * len(chosen)
        matches = [{**options.shown(face, target), "similarity": each} for face, each in zip(chosen, similar, strict=True)]
        matches.sort(key=lambda each: -each["similarity"])
        shown = {"source_image_face": options.shown(first[0], source), "face_matches": matches}
        return {"result": [{**shown, **options.versions(site)}]}

    @route.add("POST", "/api/v1/recognition/faces/{image_id}/verify", photos=True)
    def verify_with_stored(asked: DialectRequest, image_id: str) -> dict:
        """Every face of a photo compared with a stored one; an unknown id is similar to nobody."""
        options = FaceOptions(asked, enabled)
        seen = site.service.recognition.describe(asked.photo("file"), attributes=options.attributes)
        chosen, entry = options.chosen(seen), _entry(site, image_id)
        similar = [0.0] * len(chosen) if entry is None else _compared(site, entry.encoding.vector, chosen)
        subject = "" if entry is None else entry.subject
        shown = [
            {**options.shown(face, seen), "subject": subject, "similarity": each}
            for face, each in zip(chosen, similar, strict=True)
        ]
        return {"result": shown, **options.versions(site)}


def _subjects(site: Site, candidates: Sequence[Candidate], limit: float) -> list[dict]:
    """People by similarity, the nearest first."""
    return [{"subject": each.subject, "similarity": alike(site, each.distance, limit)} for each in candidates]


def _compared(site: Site, vector: Any, faces: Sequence[SeenFace], verdict: Comparability | None = None) -> list[float]:
    """The similarity of an embedding, which may have a verdict, and each of some faces; 0 of faces that are not comparable."""
    matcher = site.service.matcher
    (own,) = matcher.limits(np.asarray(vector, np.float32)[None], matcher.verification_threshold)
    apart = matching.distances(np.asarray(vector, np.float64), np.array([face.embedding for face in faces]))
    similar = []
    for face, distance in zip(faces, apart, strict=True):
        verdicts = [each for each in (verdict, face.comparability) if each is not None]
        limit = min(own, matcher.verification_limit(verdicts))
        similar.append(0.0 if face.comparable is False else alike(site, float(distance), limit))
    return similar


# -- the collection ---------------------------------------------------------------------------------------------------


def _add_collection(route: DialectRouter, site: Site) -> None:
    @route.add("POST", "/api/v1/recognition/faces", photos=True)
    def add(asked: DialectRequest) -> DialectReply:
        """Enrol a photo of a subject, who is made if needed."""
        photo, _ = asked.photo("file"), _probability(asked)
        subject = _existing(site, _given(asked, "subject"))
        done = site.service.subjects.enrol(subject, photo)
        return DialectReply({"image_id": as_uuid(done.encoding.photo), "subject": done.subject}, 201)

    @route.add("GET", "/api/v1/recognition/faces")
    def list_faces(asked: DialectRequest) -> dict:
        """The stored photos, page by page."""
        page, size = asked.whole("page", 0, 0, 1_000_000), asked.whole("size", 20, 1, 1_000_000)
        size, subject = min(size, _MOST_LISTED), asked.text("subject")
        if subject is None:
            everybody = site.service.enrolment.subjects()
        else:
            subject = _existing(site, subject)
            everybody = {subject: site.service.enrolment.entries_so_far(subject)}
        found = [
            {"image_id": as_uuid(entry.photo), "subject": name}
            for name, entries in everybody.items()
            for entry in entries
            if entry.encoding.vector is not None
        ]
        return {
            "faces": found[page * size : (page + 1) * size],
            "page_number": page,
            "page_size": size,
            "total_pages": math.ceil(len(found) / size),
            "total_elements": len(found),
        }

    @route.add("DELETE", "/api/v1/recognition/faces")
    def delete_all_of(asked: DialectRequest) -> dict:
        """Erase a subject; without one, everybody, for which the role `admin` is needed."""
        given = asked.text("subject")
        if given is None:
            site.gate.require(site.gate.admit(asked.environ), ADMIN, "to erase everybody")
            return {"deleted": sum(_erase(site, name) for name in _names(site))}
        try:
            return {"deleted": _erase(site, _existing(site, given))}
        except SubjectNotFound:
            return {"deleted": 0}

    @route.add("DELETE", "/api/v1/recognition/faces/{image_id}")
    def delete(asked: DialectRequest, image_id: str) -> dict:
        """Erase one photo."""
        entry = _entry(site, image_id)
        if entry is None:
            raise PhotoNotFound(f"there is no image {cut(image_id)}")
        return _erase_photo(site, entry)

    @route.add("POST", "/api/v1/recognition/faces/delete")
    def delete_several(asked: DialectRequest) -> list[dict]:
        """Erase photos; unknown ids are left out."""
        ids = asked.body.content
        if not isinstance(ids, list):
            raise InvalidParameter("expected a list of ids")
        entries = [entry for entry in (_entry(site, each) for each in dict.fromkeys(map(str, ids))) if entry is not None]
        return [_erase_photo(site, entry) for entry in entries]

    @route.add("GET", "/api/v1/recognition/faces/{image_id}/img")
    def image(asked: DialectRequest, image_id: str) -> bytes:
        """A stored photo; nothing where there is none."""
        return _photo(site, image_id)

    @route.add("GET", "/api/v1/static/{service}/images/{image_id}")
    def static_image(asked: DialectRequest, service: str, image_id: str) -> bytes:
        """The same for pages. What stands in the place of the key is not read: a key in a URL is none."""
        return _photo(site, image_id)


def _photo(site: Site, image_id: str) -> bytes:
    entry = _entry(site, image_id)
    if entry is None:
        return b""
    try:
        return site.service.subjects.photo(entry.subject, entry.photo)
    except PhotoNotFound:  # only its template was kept
        return b""


def _entry(site: Site, image_id: str) -> Entry | None:
    photo = from_uuid(image_id)
    return None if photo is None else site.service.enrolment.entry_of(photo)


def _erase(site: Site, name: str) -> int:
    return int(site.service.subjects.delete(name)["photos"])


def _erase_photo(site: Site, entry: Entry) -> dict:
    site.service.subjects.delete_photo(entry.subject, entry.photo)
    return {"image_id": as_uuid(entry.photo), "subject": entry.subject}


# -- subjects -----------------------------------------------------------------------------------------------------------


def _add_subjects(route: DialectRouter, site: Site) -> None:
    @route.add("GET", "/api/v1/recognition/subjects")
    def list_subjects(asked: DialectRequest) -> dict:
        """Everybody's names, also of those without a photo."""
        return {"subjects": _names(site)}

    @route.add("POST", "/api/v1/recognition/subjects")
    def add_subject(asked: DialectRequest) -> DialectReply:
        """Make a subject without photos."""
        return DialectReply({"subject": site.service.subjects.add_empty(_given(asked, "subject"))}, 201)

    @route.add("PUT", "/api/v1/recognition/subjects/{subject}")
    def rename(asked: DialectRequest, subject: str) -> dict:
        """Rename a subject; one that has the new name gets the photos."""
        old, new = _existing(site, subject), _given(asked, "subject")
        if old == new:
            return {"updated": False}
        site.service.subjects.rename(old, new, merge=True)
        return {"updated": True}

    @route.add("DELETE", "/api/v1/recognition/subjects/{subject}")
    def delete_subject(asked: DialectRequest, subject: str) -> dict:
        """Erase a subject."""
        name = _existing(site, subject)
        _erase(site, name)
        return {"subject": name}

    @route.add("DELETE", "/api/v1/recognition/subjects")
    def delete_everybody(asked: DialectRequest) -> dict:
        """Erase everybody."""
        names = _names(site)
        for name in names:
            _erase(site, name)
        return {"deleted": len(names)}

    def no_such_subject(asked: DialectRequest, subject: str, rest: str) -> dict:
        """A name with a slash, which clients do not encode: nobody has one."""
        raise SubjectNotFound(f"nobody is called {cut(f'{subject}/{rest}')!r}: names have no slash")

    for method in ("PUT", "DELETE"):
        route.add(method, "/api/v1/recognition/subjects/{subject}/{rest}")(no_such_subject)


def _names(site: Site) -> list[str]:
    enrolment = site.service.enrolment
    return sorted({*enrolment.names(), *enrolment.folder_names()}, key=comparison_key)


def _given(asked: DialectRequest, name: str) -> str:
    found = asked.text(name)
    if found is None:
        raise InvalidParameter(f"{name}: expected a name", number=33)
    return found


def _existing(site: Site, name: str) -> str:
    """The name as it is enrolled, whatever its case; as given where nobody has it."""
    if site.service.enrolment.is_enrolled(name):
        return name
    wanted = comparison_key(" ".join(name.split()))
    return next((each for each in _names(site) if comparison_key(each) == wanted), name)


# -- embeddings ---------------------------------------------------------------------------------------------------------


def _add_embeddings(route: DialectRouter, site: Site) -> None:
    @route.add("POST", "/api/v1/recognition/embeddings/recognize", photos=True)
    def recognize(asked: DialectRequest) -> dict:
        """The people nearest to embeddings that the plug-in calculator gave."""
        count = min(asked.whole("prediction_count", 1, 1, 1_000_000), _MOST_CANDIDATES)
        given = _embeddings(site, asked, "embeddings")
        matcher = site.service.matcher
        limits = matcher.limits(given, matcher.threshold_now())
        found = site.service.gallery.search(given, count)
        return {
            "result": [
                {"embedding": [float(value) for value in each], "similarities": _subjects(site, candidates, limit)}
                for each, candidates, limit in zip(given, found, limits, strict=True)
            ]
        }

    @route.add("POST", "/api/v1/recognition/embeddings/faces/{image_id}/verify", photos=True)
    def verify_with_stored(asked: DialectRequest, image_id: str) -> dict:
        """Embeddings compared with that of a stored photo."""
        entry = _entry(site, image_id)
        if entry is None or entry.encoding.vector is None:
            raise PhotoNotFound(f"there is no image {cut(image_id)}")
        return compared(entry.encoding.vector, _embeddings(site, asked, "embeddings"))

    @route.add("POST", "/api/v1/verification/embeddings/verify", photos=True)
    def verify(asked: DialectRequest) -> dict:
        """Embeddings compared with another."""
        source = _embeddings(site, asked, "source", one=True)
        return compared(source[0], _embeddings(site, asked, "targets"))

    def compared(first: Any, others: np.ndarray) -> dict:
        matcher = site.service.matcher
        own, *limits = matcher.limits(np.array([first, *others], np.float32), matcher.verification_threshold)
        apart = matching.distances(np.asarray(first, np.float64), others)
        return {
            "result": [
                {"embedding": [float(value) for value in each], "similarity": alike(site, float(distance), min(own, limit))}
                for each, distance, limit in zip(others, apart, limits, strict=True)
            ]
        }


def _embeddings(site: Site, asked: DialectRequest, name: str, one: bool = False) -> np.ndarray:
    """Embeddings of a JSON body, float32 (n, dim).

    Raises
    ------
    InvalidParameter
    """
    given, dim = asked.body.fields.get(name), site.service.gallery.dim
    rows = [given] if one else given
    if not isinstance(rows, list) or not 0 < len(rows) <= _MOST_EMBEDDINGS:
        raise InvalidParameter(f"{name}: expected 1 to {_MOST_EMBEDDINGS} embeddings", number=37)
    for row in rows:
        if not isinstance(row, list) or len(row) != dim or not all(type(value) in (int, float) for value in row):
            raise InvalidParameter(f"{name}: expected embeddings of {dim} numbers", number=37)
    found = np.array(rows, np.float64)
    if not (np.abs(found) < 1e6).all():
        raise InvalidParameter(f"{name}: expected small numbers", number=37)
    return found.astype(np.float32)
