"""Amazon Rekognition's dialect: collections, faces, users, detection, comparison and labels, by one route and a header.

A collection is a group; `default` is known_faces. A face is an enrolled photo, and its id is the photo's id as a UUID. Faces
with one ExternalImageId are one person, of that name; a face without one is a person named after its id. Users, and which
faces belong to them, stand in the identity files of the group and of the people, and are erased with these.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from recognizer.access.dialects import ADMIN, READ, WRITE
from recognizer.core.audit import one_act
from recognizer.core.brief import brief, cut
from recognizer.core.errors import (
    Conflict,
    FaceError,
    FaceTooSmall,
    GroupNotFound,
    InvalidName,
    InvalidParameter,
    LooksLikeAnother,
    NoFace,
    PhotoNotFound,
    UnknownRoute,
)
from recognizer.core.identity import Identity
from recognizer.core.names import normalise
from recognizer.enrolment.encodings import photo_id
from recognizer.enrolment.entries import Entry
from recognizer.galleries import matching
from recognizer.galleries.similarity import similarity
from recognizer.http import bodies
from recognizer.http.compat.rekognition_shapes import box_of, compared_face, face_detail, percent, shape_error, shares
from recognizer.http.compat.shared import as_uuid, certainty, from_uuid, largest_first
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectReply, DialectRouter
from recognizer.http.site import Site
from recognizer.photos import images
from recognizer.photos.objects import LEAST_SCORE
from recognizer.photos.results import Seen, SeenFace
from recognizer.service.groups import PeopleGroup

__all__ = ["add_routes", "shape_error"]

#: Under which name identity files have what this dialect stores.
KEY = "rekognition"
MODEL = "7.0"
_TARGET = "RekognitionService."
_ID, _USER = re.compile(r"[a-zA-Z0-9_.\-]{1,255}"), re.compile(r"[a-zA-Z0-9_.\-:]{1,128}")
_MOST_FACES, _MOST_USERS, _MOST_LISTED, _MOST_OF_USER = 4096, 500, 4096, 100
#: How much around a face is cut out of a photo of several, in sides of its box.
_MARGIN = 0.6
_FILTERS = ("NONE", "AUTO", "LOW", "MEDIUM", "HIGH")
_SEARCH, _ASSOCIATE = 80.0, 55.0

Given = Mapping[str, Any]
Operation = Callable[[Given], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class CollectionFace:
    """An enrolled photo as a face of a collection."""

    entry: Entry
    kept: Mapping[str, Any]

    @property
    def id(self) -> str:
        return as_uuid(self.entry.photo)

    def shown(self) -> dict[str, Any]:
        """As AWS shows it."""
        found, kept = self.entry.encoding, self.kept
        box = kept.get("box")
        if not isinstance(box, dict):
            edges = found.box or (0.0, 0.0, 1.0, 1.0)
            box = shares(edges, found.width or 1, found.height or 1)
        external = kept.get("external", self.entry.subject)
        shown = {
            "FaceId": self.id,
            "ImageId": kept.get("image", self.id),
            "BoundingBox": box,
            "Confidence": percent(certainty(found.score or 0.0)),
            "IndexFacesModelVersion": MODEL,
        }
        if external != self.id:
            shown["ExternalImageId"] = external
        return shown | ({"UserId": kept["user"]} if kept.get("user") else {})


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add the one route of all operations."""
    operations = _operations(site)

    @route.add("POST", "/", photos=True)
    def call(asked: DialectRequest) -> DialectReply:
        """The operation that the header X-Amz-Target names."""
        name = str(asked.environ.get("HTTP_X_AMZ_TARGET", "")).removeprefix(_TARGET)
        if name not in operations:
            raise UnknownRoute(f"there is no operation {cut(name)!r} here; there are {', '.join(sorted(operations))}")
        role, operation = operations[name]
        site.gate.require(site.gate.admit(asked.environ), role, f"for {name}")
        given = asked.body.content
        if not isinstance(given, dict):
            raise InvalidParameter("expected a JSON object", aws="SerializationException")
        return DialectReply(operation(given), headers={"x-amzn-RequestId": str(uuid.uuid4())})


def _operations(site: Site) -> dict[str, tuple[str, Operation]]:
    collections, faces, users, photos = _Collections(site), _Faces(site), _Users(site), _Photos(site)
    return {
        "CreateCollection": (WRITE, collections.create),
        "DeleteCollection": (ADMIN, collections.delete),
        "DescribeCollection": (READ, collections.describe),
        "ListCollections": (READ, collections.all),
        "IndexFaces": (WRITE, faces.index),
        "ListFaces": (READ, faces.all),
        "DeleteFaces": (WRITE, faces.delete),
        "SearchFaces": (READ, faces.search),
        "SearchFacesByImage": (READ, faces.search_by_image),
        "CreateUser": (WRITE, users.create),
        "DeleteUser": (WRITE, users.delete),
        "ListUsers": (READ, users.all),
        "AssociateFaces": (WRITE, users.associate),
        "DisassociateFaces": (WRITE, users.disassociate),
        "SearchUsers": (READ, users.search),
        "SearchUsersByImage": (READ, users.search_by_image),
        "DetectFaces": (READ, photos.detect),
        "CompareFaces": (READ, photos.compare),
        "DetectLabels": (READ, photos.labels),
    }


# -- what comes in ----------------------------------------------------------------------------------------------------


def _id(given: Given, name: str, pattern: re.Pattern[str] = _ID) -> str:
    found = given.get(name)
    if not isinstance(found, str) or not pattern.fullmatch(found):
        raise InvalidParameter(f"{name}: expected letters, digits and _ . -, got {brief(found)}")
    return found


def _ids(given: Given, name: str) -> list[str]:
    found = given.get(name)
    if not isinstance(found, list) or not 0 < len(found) <= _MOST_FACES or not all(isinstance(each, str) for each in found):
        raise InvalidParameter(f"{name}: expected 1 to {_MOST_FACES} ids")
    return list(dict.fromkeys(found))


def _number(given: Given, name: str, default: float, least: float, most: float) -> float:
    found = given.get(name, default)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not least <= found <= most:
        raise InvalidParameter(f"{name}: expected a number from {least:g} to {most:g}, got {brief(found)}")
    return float(found)


def _photo(given: Given, name: str = "Image") -> bytes:
    found = given.get(name)
    if isinstance(found, dict) and found.get("S3Object"):
        raise InvalidParameter(f"{name}: objects of S3 are not read here; send Bytes", aws="InvalidS3ObjectException")
    data = found.get("Bytes") if isinstance(found, dict) else None
    if not data:
        raise InvalidParameter(f"{name}: expected a photo in Bytes", aws="InvalidImageFormatException")
    return bodies.decode_base64(name, data)


def _attributes(site: Site, given: Given, name: str) -> list[str]:
    """The attributes that are wanted, as far as the setting allows them."""
    asked = given.get(name) or []
    words = {str(each) for each in asked} if isinstance(asked, list) else set()
    by_word = {"AGE_RANGE": "age", "GENDER": "gender", "EMOTIONS": "expression"}
    return [ours for word, ours in by_word.items() if ours in site.settings.attributes and words & {"ALL", word}]


def _page(given: Given, items: list[Any], most: int = 100) -> tuple[list[Any], dict[str, str]]:
    """The part of a list that is asked for, and where the next one begins."""
    size, token = int(_number(given, "MaxResults", most, 0, _MOST_LISTED)) or most, given.get("NextToken") or "0"
    if not isinstance(token, str) or not re.fullmatch(r"[0-9]{1,9}", token):
        raise InvalidParameter("NextToken: expected one that came with an earlier reply", aws="InvalidPaginationTokenException")
    begin = int(token)
    more = {"NextToken": str(begin + size)} if begin + size < len(items) else {}
    return items[begin : begin + size], more


# -- collections ------------------------------------------------------------------------------------------------------


def _kept(identity: Identity | None) -> dict[str, Any]:
    found = {} if identity is None else identity.data.get(KEY)
    return dict(found) if isinstance(found, dict) else {}


def _arn(name: str) -> str:
    return f"aws:rekognition:local:000000000000:collection/{name}"


class _Collections:
    def __init__(self, site: Site):
        self.site = site

    def group(self, given: Given) -> PeopleGroup:
        return self.site.service.groups.get(_id(given, "CollectionId"))

    def users(self, name: str) -> list[str]:
        found = _kept(self.site.service.groups.known_identity(name)).get("users")
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def set_users(self, name: str, users: list[str]) -> None:
        self.site.service.groups.update(name, lambda held: held.with_data(**{KEY: {**_kept(held), "users": users}}))

    def create(self, given: Given) -> dict[str, Any]:
        name = _id(given, "CollectionId")
        self.site.service.groups.add(name, **{KEY: {"users": []}})
        return {"StatusCode": 200, "CollectionArn": _arn(name), "FaceModelVersion": MODEL}

    def delete(self, given: Given) -> dict[str, Any]:
        self.site.service.groups.delete(self.group(given).name)
        return {"StatusCode": 200}

    def describe(self, given: Given) -> dict[str, Any]:
        found = self.group(given)
        made = datetime.fromisoformat(self.site.service.groups.identity(found.name).made.replace("Z", "+00:00"))
        return {
            "FaceCount": sum(1 for _ in faces_of(found)),
            "UserCount": len(self.users(found.name)),
            "FaceModelVersion": MODEL,
            "CollectionARN": _arn(found.name),
            "CreationTimestamp": made.timestamp(),
        }

    def all(self, given: Given) -> dict[str, Any]:
        names, more = _page(given, [name for name in self.site.service.groups.names() if _ID.fullmatch(name)])
        return {"CollectionIds": names, "FaceModelVersions": [MODEL] * len(names), **more}


# -- faces of a collection --------------------------------------------------------------------------------------------


def _face_notes(group: PeopleGroup, subject: str) -> dict[str, dict[str, Any]]:
    """What is stored about each photo of somebody, by the photo's id."""
    found = _kept(group.ids.known(subject)).get("faces")
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}


def _note_face(group: PeopleGroup, subject: str, photo: str, **changes: Any) -> None:
    def change(held: Identity) -> Identity:
        kept = _kept(held)
        faces = dict(kept.get("faces") or {})
        merged = {**(faces.get(photo) or {}), **changes}
        faces[photo] = {name: value for name, value in merged.items() if value is not None}
        there = {entry.photo for entry in group.enrolment.entries_so_far(subject)} | {photo}
        return held.with_data(**{KEY: {**kept, "faces": {id: each for id, each in faces.items() if each and id in there}}})

    group.ids.update(subject, change)


def faces_of(group: PeopleGroup) -> Iterator[CollectionFace]:
    """Every face of a collection, by the names of the people."""
    for subject, entries in sorted(group.enrolment.subjects().items()):
        notes, told = _face_notes(group, subject), set()
        for entry in entries:
            if entry.encoding.vector is not None and entry.photo not in told:
                told.add(entry.photo)
                yield CollectionFace(entry, notes.get(entry.photo, {}))


def face_of(group: PeopleGroup, id: str) -> CollectionFace | None:
    photo = from_uuid(id)
    entry = None if photo is None else group.enrolment.entry_of(photo)
    return None if entry is None else CollectionFace(entry, _face_notes(group, entry.subject).get(entry.photo, {}))


def similar_faces(
    group: PeopleGroup, vector: np.ndarray, limit: float, least: float, most: int
) -> list[tuple[float, CollectionFace]]:
    """The faces of a collection with at least a similarity (0 to 100), the most similar first.

    Parameters
    ----------
    vector : ndarray of float32, shape (dim,)
    limit : float
        Largest distance of one person's faces.
    """
    curve, found = group.matcher.curve, []
    for candidate in group.gallery.search(vector[None], max(most, 2))[0]:
        if percent(similarity(candidate.distance, limit, curve)) < least:
            break
        held, notes = group.gallery.templates(candidate.subject), _face_notes(group, candidate.subject)
        apart = matching.distances(vector.astype(np.float64), np.array([each.embedding.vector for each in held]))
        entries = {each.photo: each for each in group.enrolment.entries_so_far(candidate.subject)}
        for template, distance in zip(held, apart, strict=True):
            alike, entry = percent(similarity(float(distance), limit, curve)), entries.get(template.photo)
            if alike >= least and entry is not None:
                found.append((alike, CollectionFace(entry, notes.get(entry.photo, {}))))
    found.sort(key=lambda each: -each[0])
    return found[:most]


class _Faces:
    def __init__(self, site: Site):
        self.site, self.collections = site, _Collections(site)

    def index(self, given: Given) -> dict[str, Any]:
        """Enrol the faces of a photo, each on a photo of its own where there are several."""
        group, photo = self.collections.group(given), _photo(given)
        external = None if given.get("ExternalImageId") is None else _subject(given["ExternalImageId"])
        most = int(_number(given, "MaxFaces", _MOST_FACES, 0, _MOST_FACES)) or _MOST_FACES
        filter = given.get("QualityFilter", "AUTO")
        if filter not in _FILTERS:
            raise InvalidParameter(f"QualityFilter: expected one of {', '.join(_FILTERS)}, got {brief(filter)}")
        seen = group.recognition.describe(photo, attributes=_attributes(self.site, given, "DetectionAttributes"))
        faces, image = largest_first(seen.faces), str(uuid.UUID(photo_id(photo)))
        records, left_out = [], [_unindexed(face, seen, "EXCEEDS_MAX_FACES") for face in faces[most:]]
        with one_act():
            for number, face in enumerate(faces[:most]):
                data = photo if len(faces) == 1 else self._cut_out(photo, face)
                name = external if external is None or not number else f"{external} ({number + 1})"
                try:
                    indexed = self._enrol(group, name, data, filter == "NONE", external, image, box_of(face, *_size(seen)))
                except FaceError as error:
                    small = isinstance(error, FaceTooSmall)
                    left_out.append(_unindexed(face, seen, "SMALL_BOUNDING_BOX" if small else "LOW_FACE_QUALITY"))
                    continue
                records.append({"Face": indexed.shown(), "FaceDetail": face_detail(face, *_size(seen))})
        return {"FaceRecords": records, "UnindexedFaces": left_out, "FaceModelVersion": MODEL}

    def _enrol(
        self, group: PeopleGroup, name: str | None, data: bytes, force: bool, external: str | None, image: str, box: dict
    ) -> CollectionFace:
        subject = str(uuid.UUID(photo_id(data))) if name is None else name
        try:
            done = group.subjects.enrol(subject, data, face="largest", force=force)
        except LooksLikeAnother:  # collections have many faces of one person under several names
            done = group.subjects.enrol(subject, data, face="largest", force=True)
        photo = done.encoding.photo
        _note_face(group, done.subject, photo, image=image, box=box, external=external or as_uuid(photo))
        found = face_of(group, as_uuid(photo))
        if found is None:
            raise PhotoNotFound("the face was erased at once")
        return found

    def _cut_out(self, photo: bytes, face: SeenFace) -> bytes:
        """The surroundings of a face, as a JPEG."""
        rules = self.site.service.enrolment.options.rules

        def work() -> bytes:
            image = images.decode(photo, max_bytes=rules.max_bytes, max_pixels=rules.max_pixels)
            box, high, wide = face.box, *image.pixels.shape[:2]
            dx, dy = _MARGIN * box.width, _MARGIN * box.height
            left, right = (int(np.clip(x * image.scale_x, 0, wide)) for x in (box.left - dx, box.right + dx))
            top, bottom = (int(np.clip(y * image.scale_y, 0, high)) for y in (box.top - dy, box.bottom + dy))
            return images.encode_jpeg(image.pixels[top:bottom, left:right], quality=97)

        return self.site.service.pool.run_inference(work)[0]

    def all(self, given: Given) -> dict[str, Any]:
        group, wanted, user = self.collections.group(given), given.get("FaceIds"), given.get("UserId")
        found = [
            face.shown()
            for face in faces_of(group)
            if (not wanted or face.id in wanted) and (user is None or face.kept.get("user") == user)
        ]
        faces, more = _page(given, found, _MOST_LISTED)
        return {"Faces": faces, "FaceModelVersion": MODEL, **more}

    def delete(self, given: Given) -> dict[str, Any]:
        group, done, failed = self.collections.group(given), [], []
        with one_act():
            for id in _ids(given, "FaceIds"):
                face = face_of(group, id)
                if face is None:
                    failed.append({"FaceId": id, "Reasons": ["FACE_NOT_FOUND"]})
                    continue
                group.subjects.delete_photo(face.entry.subject, face.entry.photo)
                done.append(id)
        return {"DeletedFaces": done, "UnsuccessfulFaceDeletions": failed}

    def search(self, given: Given) -> dict[str, Any]:
        group, least, most = self.collections.group(given), *_wanted(given, "Face", _MOST_FACES)
        face = self.known(group, given)
        vector = face.entry.encoding.vector
        assert vector is not None
        limit = _stored_limit(group, vector)
        found = [each for each in similar_faces(group, vector, limit, least, most + 1) if each[1].id != face.id]
        return {"SearchedFaceId": face.id, "FaceMatches": _shown(found[:most]), "FaceModelVersion": MODEL}

    def known(self, group: PeopleGroup, given: Given) -> CollectionFace:
        face = face_of(group, str(given.get("FaceId")))
        if face is None:
            raise InvalidParameter(f"FaceId: there is no face {brief(given.get('FaceId'))} in this collection")
        return face

    def probe(self, group: PeopleGroup, given: Given) -> tuple[Seen, SeenFace]:
        """The largest face of a photo, described."""
        seen = group.recognition.describe(_photo(given))
        if not seen.faces:
            raise _no_faces()
        return seen, largest_first(seen.faces)[0]

    def search_by_image(self, given: Given) -> dict[str, Any]:
        group, least, most = self.collections.group(given), *_wanted(given, "Face", _MOST_FACES)
        seen, face = self.probe(group, given)
        return {
            "SearchedFaceBoundingBox": box_of(face, *_size(seen)),
            "SearchedFaceConfidence": percent(certainty(face.score)),
            "FaceMatches": _shown(matches_of(group, face, least, most)),
            "FaceModelVersion": MODEL,
        }


def matches_of(group: PeopleGroup, face: SeenFace, least: float, most: int) -> list[tuple[float, CollectionFace]]:
    """The stored faces that are like one of a photo; none like one that is not comparable."""
    if face.embedding is None or face.match is None or face.comparable is False:
        return []
    return similar_faces(group, face.embedding, face.match.threshold, least, most)


def _subject(external: object) -> str:
    """The name that an ExternalImageId stands for; other characters than AWS allows are, too."""
    if not isinstance(external, str) or not external:
        raise InvalidParameter(f"ExternalImageId: expected text, got {brief(external)}")
    try:
        return normalise(external)
    except InvalidName as error:
        raise InvalidParameter(f"ExternalImageId: it becomes a name here, and {error.message}") from None


def _wanted(given: Given, kind: str, most: int) -> tuple[float, int]:
    """Least similarity and largest number of matches."""
    least = _number(given, f"{kind}MatchThreshold", _SEARCH, 0, 100)
    return least, int(_number(given, f"Max{kind}s", min(80, most), 1, most))


def _no_faces() -> NoFace:
    return NoFace("no face was found", no_faces=True)


def _size(seen: Seen) -> tuple[int, int]:
    return seen.image.width, seen.image.height


def _shown(found: list[tuple[float, CollectionFace]]) -> list[dict[str, Any]]:
    return [{"Similarity": alike, "Face": face.shown()} for alike, face in found]


def _unindexed(face: SeenFace, seen: Seen, reason: str) -> dict[str, Any]:
    return {"Reasons": [reason], "FaceDetail": face_detail(face, *_size(seen))}


# -- users --------------------------------------------------------------------------------------------------------------


class _Users:
    def __init__(self, site: Site):
        self.collections, self.faces = _Collections(site), _Faces(site)

    def create(self, given: Given) -> dict[str, Any]:
        group, user = self.collections.group(given), _id(given, "UserId", _USER)
        users = self.collections.users(group.name)
        if user in users:
            raise Conflict(f"there is a user {user!r} already", aws="ConflictException")
        self.collections.set_users(group.name, [*users, user])
        return {}

    def known(self, group: PeopleGroup, given: Given) -> str:
        user = _id(given, "UserId", _USER)
        if user not in self.collections.users(group.name):
            raise GroupNotFound(f"there is no user {user!r} in this collection")
        return user

    def delete(self, given: Given) -> dict[str, Any]:
        group = self.collections.group(given)
        user = self.known(group, given)
        for face in self.of(group, user):
            _note_face(group, face.entry.subject, face.entry.photo, user=None)
        self.collections.set_users(group.name, [each for each in self.collections.users(group.name) if each != user])
        return {}

    def of(self, group: PeopleGroup, user: str) -> list[CollectionFace]:
        return [face for face in faces_of(group) if face.kept.get("user") == user]

    def all(self, given: Given) -> dict[str, Any]:
        group = self.collections.group(given)
        with_faces = {face.kept.get("user") for face in faces_of(group)}
        users, more = _page(given, self.collections.users(group.name), _MOST_USERS)
        return {"Users": [_user(user, user in with_faces) for user in users], **more}

    def associate(self, given: Given) -> dict[str, Any]:
        """Give faces to a user; those that are not like the ones it has are refused."""
        group, least = self.collections.group(given), _number(given, "UserMatchThreshold", _ASSOCIATE, 0, 100)
        user = self.known(group, given)
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        held = self.of(group, user)
        for id in _ids(given, "FaceIds"):
            face = face_of(group, id)
            owner = None if face is None else face.kept.get("user")
            if face is None:
                failed.append({"FaceId": id, "Reasons": ["FACE_NOT_FOUND"]})
            elif owner not in (None, user):
                failed.append({"FaceId": id, "UserId": owner, "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]})
            elif len(held) >= _MOST_OF_USER:
                failed.append({"FaceId": id, "Reasons": ["USER_IS_FULL"]})
            elif held and (alike := _likeness(group, face, held)) < least:
                failed.append({"FaceId": id, "Confidence": alike, "Reasons": ["LOW_MATCH_CONFIDENCE"]})
            else:
                if owner is None:
                    _note_face(group, face.entry.subject, face.entry.photo, user=user)
                    held.append(face)
                done.append({"FaceId": id})
        return {"AssociatedFaces": done, "UnsuccessfulFaceAssociations": failed, "UserStatus": _status(bool(held))}

    def disassociate(self, given: Given) -> dict[str, Any]:
        group = self.collections.group(given)
        user, done, failed = self.known(group, given), [], []
        for id in _ids(given, "FaceIds"):
            face = face_of(group, id)
            if face is None or face.kept.get("user") != user:
                reason = "FACE_NOT_FOUND" if face is None else "ASSOCIATED_TO_A_DIFFERENT_USER"
                failed.append({"FaceId": id, "Reasons": [reason]})
                continue
            _note_face(group, face.entry.subject, face.entry.photo, user=None)
            done.append({"FaceId": id})
        return {
            "DisassociatedFaces": done,
            "UnsuccessfulFaceDisassociations": failed,
            "UserStatus": _status(bool(self.of(group, user))),
        }

    def search(self, given: Given) -> dict[str, Any]:
        group, least, most = self.collections.group(given), *_wanted(given, "User", _MOST_USERS)
        if given.get("UserId") is None:
            face = self.faces.known(group, given)
            asked, shown, user = [face], {"SearchedFace": {"FaceId": face.id}}, face.kept.get("user")
        else:
            user = self.known(group, given)
            asked, shown = self.of(group, user), {"SearchedUser": {"UserId": user}}
        best: dict[str, float] = {}
        for face in asked:
            vector = face.entry.encoding.vector
            assert vector is not None
            near = similar_faces(group, vector, _stored_limit(group, vector), least, _MOST_FACES)
            for each, alike in self.best(near).items():
                best[each] = max(alike, best.get(each, 0.0))
        if given.get("UserId") is not None:
            best.pop(str(user), None)
        return {"UserMatches": _user_matches(best, most), "FaceModelVersion": MODEL, **shown}

    def search_by_image(self, given: Given) -> dict[str, Any]:
        group, least, most = self.collections.group(given), *_wanted(given, "User", _MOST_USERS)
        seen, face = self.faces.probe(group, given)
        found = self.best(matches_of(group, face, least, _MOST_FACES))
        others = [each for each in largest_first(seen.faces) if each is not face]
        return {
            "UserMatches": _user_matches(found, most),
            "FaceModelVersion": MODEL,
            "SearchedFace": {"FaceDetail": face_detail(face, *_size(seen))},
            "UnsearchedFaces": [
                {"FaceDetails": face_detail(each, *_size(seen)), "Reasons": ["FACE_NOT_LARGEST"]} for each in others
            ],
        }

    @staticmethod
    def best(found: list[tuple[float, CollectionFace]]) -> dict[str, float]:
        """The greatest similarity of each user's faces."""
        best: dict[str, float] = {}
        for alike, face in found:
            user = face.kept.get("user")
            if user:
                best[user] = max(alike, best.get(user, 0.0))
        return best


def _stored_limit(group: PeopleGroup, vector: np.ndarray) -> float:
    """The largest distance at which others are one person's with a stored face."""
    return group.matcher.limits(vector[None], group.matcher.threshold_now())[0]


def _likeness(group: PeopleGroup, face: CollectionFace, others: list[CollectionFace]) -> float:
    """The similarity of a stored face and the nearest of others, 0 to 100."""
    vectors, vector = np.array([each.entry.encoding.vector for each in others]), face.entry.encoding.vector
    assert vector is not None
    nearest = float(matching.distances(vector.astype(np.float64), vectors).min())
    return percent(similarity(nearest, _stored_limit(group, vector), group.matcher.curve))


def _status(with_faces: bool) -> str:
    return "ACTIVE" if with_faces else "CREATED"


def _user(user: str, with_faces: bool) -> dict[str, str]:
    return {"UserId": user, "UserStatus": _status(with_faces)}


def _user_matches(best: Mapping[str, float], most: int) -> list[dict[str, Any]]:
    ordered = sorted(best.items(), key=lambda each: -each[1])[:most]
    return [{"Similarity": alike, "User": _user(user, True)} for user, alike in ordered]


# -- photos -------------------------------------------------------------------------------------------------------------


class _Photos:
    def __init__(self, site: Site):
        self.site = site

    def detect(self, given: Given) -> dict[str, Any]:
        wanted = _attributes(self.site, given, "Attributes")
        seen = self.site.service.recognition.describe(_photo(given), attributes=wanted)
        return {"FaceDetails": [face_detail(face, *_size(seen)) for face in largest_first(seen.faces)]}

    def compare(self, given: Given) -> dict[str, Any]:
        """The largest face of a photo compared with every face of another."""
        least, service = _number(given, "SimilarityThreshold", _SEARCH, 0, 100), self.site.service
        source, target = (service.recognition.describe(_photo(given, name)) for name in ("SourceImage", "TargetImage"))
        if not source.faces or not target.faces:
            raise _no_faces()
        first = largest_first(source.faces)[0]
        matches: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for face in largest_first(target.faces):
            alike, shown = self._alike(first, face), compared_face(face, *_size(target))
            if alike >= least:
                matches.append({"Similarity": alike, "Face": shown})
            else:
                others.append(shown)
        box = {"BoundingBox": box_of(first, *_size(source)), "Confidence": percent(certainty(first.score))}
        matches.sort(key=lambda each: -each["Similarity"])
        return {"SourceImageFace": box, "FaceMatches": matches, "UnmatchedFaces": others}

    def _alike(self, one: SeenFace, other: SeenFace) -> float:
        if one.comparable is False or other.comparable is False or one.embedding is None or other.embedding is None:
            return 0.0
        matcher = self.site.service.matcher
        verdicts = [each.comparability for each in (one, other) if each.comparability is not None]
        distance = float(matching.distances(one.embedding.astype(np.float64), other.embedding[None])[0])
        return percent(similarity(distance, matcher.verification_limit(verdicts), matcher.curve))

    def labels(self, given: Given) -> dict[str, Any]:
        """The objects of a photo by their labels, the most certain first."""
        least, most = _number(given, "MinConfidence", 55, 0, 100), int(_number(given, "MaxLabels", 1000, 0, 1000))
        found = self.site.service.recognition.objects(_photo(given), threshold=max(LEAST_SCORE, least / 100))
        labels: dict[str, list[dict[str, Any]]] = {}
        for each in sorted(found.objects, key=lambda each: -each.score):
            box = shares(each.box, found.image.width, found.image.height)
            labels.setdefault(each.label, []).append({"BoundingBox": box, "Confidence": percent(each.score)})
        shown = [
            {
                "Name": label.title(),
                "Confidence": instances[0]["Confidence"],
                "Instances": instances,
                "Parents": [],
                "Aliases": [],
                "Categories": [],
            }
            for label, instances in labels.items()
        ]
        return {"Labels": shown[:most], "LabelModelVersion": "3.0"}
