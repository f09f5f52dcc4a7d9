"""Azure Face: detection with ids, landmarks and attributes; verification, identification, similar faces, grouping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recognizer.core.errors import FaceError, InvalidParameter, SubjectNotFound
from recognizer.galleries import clustering, matching
from recognizer.http.compat.azure_groups import FACES, require_trained
from recognizer.http.compat.azure_requests import (
    DETECTION_MODELS,
    LIST_PREFIX,
    RECOGNITION_MODELS,
    AzureRouter,
    choice,
    group_id,
    photo,
    searched_group,
)
from recognizer.http.compat.shared import alike, as_uuid, largest_first
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.site import Site
from recognizer.photos import quality
from recognizer.photos.quality import Quality
from recognizer.photos.results import SeenFace
from recognizer.service.detected_faces import DetectedFace

#: Seconds for which an id of a face lives: the default, the least and the most.
LIVES, LIVES_LEAST, LIVES_MOST = 86_400, 60, 86_400
MOST_IDENTIFIED, MOST_COMPARED = 10, 1000
#: Most candidates of one face.
MOST_CANDIDATES = 100

#: Azure's name of each point, and those of the 68 points that it is the mean of. Four of Azure's 27 points have no
#: counterpart and are left out: noseRootLeft, noseRootRight, noseLeftAlarTop and noseRightAlarTop.
POINTS: dict[str, tuple[int, ...]] = {
    "pupilLeft": (36, 37, 38, 39, 40, 41),
    "pupilRight": (42, 43, 44, 45, 46, 47),
    "noseTip": (30,),
    "mouthLeft": (48,),
    "mouthRight": (54,),
    "eyebrowLeftOuter": (17,),
    "eyebrowLeftInner": (21,),
    "eyeLeftOuter": (36,),
    "eyeLeftTop": (37, 38),
    "eyeLeftBottom": (40, 41),
    "eyeLeftInner": (39,),
    "eyebrowRightInner": (22,),
    "eyebrowRightOuter": (26,),
    "eyeRightInner": (42,),
    "eyeRightTop": (43, 44),
    "eyeRightBottom": (46, 47),
    "eyeRightOuter": (45,),
    "noseLeftAlarOutTip": (31,),
    "noseRightAlarOutTip": (35,),
    "upperLipTop": (51,),
    "upperLipBottom": (62,),
    "underLipTop": (66,),
    "underLipBottom": (57,),
}


# -- attributes: what is measured, in Azure's terms; what is not measured is left out -----------------------------------


def _age(face: SeenFace) -> float | None:
    """The middle of the range of ages."""
    found = None if face.attributes is None else face.attributes.age
    return None if found is None else (found.low + found.high) / 2


def _gender(face: SeenFace) -> str | None:
    found = None if face.attributes is None else face.attributes.gender
    return None if found is None else found.value


def _emotion(face: SeenFace) -> dict[str, float] | None:
    """The three that are told apart; the others are together, and left out."""
    found = None if face.attributes is None else face.attributes.expression
    if found is None:
        return None
    named = {"happiness": "happy", "neutral": "neutral", "surprise": "surprised"}
    return {theirs: round(float(found.all[ours]), 3) for theirs, ours in named.items()}


def _head_pose(face: SeenFace) -> dict[str, float] | None:
    measured = face.quality
    if measured is None or math.isnan(measured.yaw) or math.isnan(measured.pitch):
        return None
    return {name: round(float(getattr(measured, name)), 1) for name in ("pitch", "roll", "yaw")}


def _blur(face: SeenFace) -> dict[str, Any] | None:
    """0 for a sharp face to 1; 0.75 and more where this server calls it blurred."""
    if face.quality is None:
        return None
    value = 1 / (1 + (face.quality.sharpness / 0.02) ** 2 / 3)
    return {"blurLevel": "low" if value < 0.25 else "medium" if value < 0.75 else "high", "value": round(value, 2)}


def _exposure(face: SeenFace) -> dict[str, Any] | None:
    """The mean brightness of the face."""
    if face.quality is None:
        return None
    value = face.quality.brightness / 255
    level = "underExposure" if value < 0.25 else "goodExposure" if value < 0.75 else "overExposure"
    return {"exposureLevel": level, "value": round(value, 2)}


def _quality_for_recognition(face: SeenFace) -> str | None:
    if face.quality is None:
        return None
    if face.comparable is False or quality.remarks(face.quality):
        return "low"
    return "high" if _is_good(face.quality) else "medium"


def _is_good(found: Quality) -> bool:
    return quality.picture_value(found) >= 0.8


#: Name -> what is shown, and this server's attribute that it needs. Others of Azure's attributes cannot be told here.
ATTRIBUTES: dict[str, tuple[Callable[[SeenFace], Any], str | None]] = {
    "age": (_age, "age"),
    "gender": (_gender, "gender"),
    "emotion": (_emotion, "expression"),
    "headPose": (_head_pose, None),
    "blur": (_blur, None),
    "exposure": (_exposure, None),
    "qualityForRecognition": (_quality_for_recognition, None),
}


def _wanted(asked: DialectRequest) -> list[str]:
    words = [word.strip().lower() for word in (asked.query.get("returnFaceAttributes") or "").split(",")]
    return [name for name in ATTRIBUTES if name.lower() in words]


def _landmarks(points: np.ndarray) -> dict[str, dict[str, float]]:
    means = {name: points[list(rows)].mean(axis=0) for name, rows in POINTS.items()}
    return {name: {"x": round(float(x), 1), "y": round(float(y), 1)} for name, (x, y) in means.items()}


def add_routes(route: AzureRouter, site: Site) -> None:
    """Add these routes."""
    _add_detection(route, site)
    _add_comparison(route, site)


def _add_detection(route: AzureRouter, site: Site) -> None:
    @route.add("POST", "/detect", photos=True)
    def detect(asked: DialectRequest) -> list[dict]:
        """Every face of a photo, the largest first."""
        with_id = asked.switch("returnFaceId", True)
        with_points = asked.switch("returnFaceLandmarks")
        model = choice(asked, "recognitionModel", RECOGNITION_MODELS) or RECOGNITION_MODELS[0]
        choice(asked, "detectionModel", DETECTION_MODELS)
        lives = asked.whole("faceIdTimeToLive", LIVES, LIVES_LEAST, LIVES_MOST)
        wanted = _wanted(asked)
        needed = [ours for name in wanted if (ours := ATTRIBUTES[name][1]) in site.settings.attributes and ours is not None]
        looking, landmarks = site.service.recognition, 68 if with_points else 5
        look = looking.describe if with_id or wanted else looking.detect
        seen = look(photo(site, asked), landmarks=landmarks, attributes=needed)
        result = []
        for face in largest_first(seen.faces):
            shown: dict[str, Any] = {}
            if with_id and face.embedding is not None and face.comparability is not None:
                shown["faceId"] = site.service.detected_faces.add(face.embedding, face.comparability, lives)
            if asked.switch("returnRecognitionModel"):
                shown["recognitionModel"] = model
            box = face.box
            left, top = max(0, round(box.left)), max(0, round(box.top))
            right, bottom = min(seen.image.width, round(box.right)), min(seen.image.height, round(box.bottom))
            shown["faceRectangle"] = {"top": top, "left": left, "width": right - left, "height": bottom - top}
            if face.landmarks_68 is not None:
                shown["faceLandmarks"] = _landmarks(face.landmarks_68)
            if wanted:
                told = {name: ATTRIBUTES[name][0](face) for name in wanted}
                shown["faceAttributes"] = {name: value for name, value in told.items() if value is not None}
            result.append(shown)
        return result


def _add_comparison(route: AzureRouter, site: Site) -> None:
    def face(id_: Any, status: int = 400) -> DetectedFace:
        found = site.service.detected_faces.get(id_.lower()) if isinstance(id_, str) else None
        if found is None:
            raise FaceError("there is no face with that id, or its time is over", azure="FaceNotFound", status=status)
        return found

    def faces(asked: DialectRequest, name: str, least: int, most: int) -> tuple[list[str], list[DetectedFace]]:
        ids = asked.body.fields.get(name)
        if not isinstance(ids, list) or not least <= len(ids) <= most or not all(isinstance(each, str) for each in ids):
            raise InvalidParameter(f"{name}: expected {least} to {most} ids of faces")
        return ids, [face(each) for each in ids]

    def one_to_one(found: Sequence[DetectedFace], distance: float) -> tuple[bool, float]:
        """Whether two faces at a distance are one person's, and how alike they are."""
        if not all(each.verdict.comparable for each in found):
            return False, 0.0
        limit = site.service.matcher.verification_limit([each.verdict for each in found])
        return distance <= limit, alike(site, distance, limit)

    @route.add("POST", "/verify")
    def verify(asked: DialectRequest) -> dict:
        """Whether two faces, or a face and a person, are one person's."""
        fields = asked.body.fields
        if "personId" not in fields:
            first, second = face(fields.get("faceId1"), 404), face(fields.get("faceId2"), 404)
            same, confidence = one_to_one([first, second], float(np.linalg.norm(first.vector - second.vector)))
            return {"isIdentical": same, "confidence": confidence}
        probe, group = face(fields.get("faceId"), 404), _named_group(site, asked)
        name = group.ids.name_of(str(fields["personId"]).lower())
        held = group.gallery.templates(name)
        if not held:
            raise SubjectNotFound("this person has no face that can be compared", azure="PersonNotFound")
        templates = np.array([each.embedding.vector for each in held])
        same, confidence = one_to_one([probe], float(matching.distances(probe.vector.astype(np.float64), templates).min()))
        return {"isIdentical": same, "confidence": confidence}

    @route.add("POST", "/identify")
    def identify(asked: DialectRequest) -> list[dict]:
        """The people of a group that faces belong to."""
        ids, found = faces(asked, "faceIds", 1, MOST_IDENTIFIED)
        group = _named_group(site, asked)
        require_trained(site, group, _code(asked))
        count = asked.whole("maxNumOfCandidatesReturned", 1, 1, MOST_CANDIDATES)
        least = asked.number("confidenceThreshold", -1, -1, 1)
        vectors = np.array([each.vector for each in found])
        matches = group.matcher.match(vectors, count, verdicts=[each.verdict for each in found])
        result = []
        for id_, match in zip(ids, matches, strict=True):
            candidates = []
            for each in match.candidates[:count]:
                confidence = alike(site, each.distance, match.threshold)
                if confidence >= least if least >= 0 else each.distance <= match.threshold:
                    candidates.append({"personId": group.ids.of(each.subject).id, "confidence": confidence})
            result.append({"faceId": id_, "candidates": candidates})
        return result

    @route.add("POST", "/findsimilars")
    def find_similars(asked: DialectRequest) -> list[dict]:
        """The faces of a list, or some that were detected, which are like a face; the most alike first."""
        probe = face(asked.body.fields.get("faceId"))
        count = asked.whole("maxNumOfCandidatesReturned", 20, 1, MOST_COMPARED)
        mode = choice(asked, "mode", ("matchPerson", "matchFace")) or "matchPerson"
        if "faceIds" in asked.body.fields:
            names, others = faces(asked, "faceIds", 1, MOST_COMPARED)
            compared = [({"faceId": name}, other.vector, [probe, other]) for name, other in zip(names, others, strict=True)]
        else:
            compared = [({"persistedFaceId": name}, vector, [probe]) for name, vector in _listed(site, asked)]
        result: list[dict[str, Any]] = []
        for shown, vector, both in compared:
            same, confidence = one_to_one(both, float(np.linalg.norm(probe.vector - vector)))
            if same or (mode == "matchFace" and confidence > 0):
                result.append({**shown, "confidence": confidence})
        return sorted(result, key=lambda each: float(each["confidence"]), reverse=True)[:count]

    @route.add("POST", "/group")
    def group_faces(asked: DialectRequest) -> dict:
        """Faces grouped by person; those that are like no other are the messy group."""
        ids, found = faces(asked, "faceIds", 2, MOST_COMPARED)
        usable = [row for row, each in enumerate(found) if each.verdict.comparable]
        labels: dict[int, list[str]] = {}
        if usable:
            vectors = np.array([found[row].vector for row in usable])
            limit = clustering.limit_for(len(usable), site.service.matcher.curve.distance)
            lowered = site.service.matcher.crowded(vectors)
            pairs = clustering.neighbours(vectors, vectors, limit, lowered=(lowered, lowered))
            marks = clustering.whispers(len(usable), pairs)
            for row, mark in zip(usable, marks.tolist(), strict=True):
                labels.setdefault(mark, []).append(ids[row])
        groups = sorted((each for each in labels.values() if len(each) > 1), key=len, reverse=True)
        grouped = {id_ for each in groups for id_ in each}
        return {"groups": groups, "messyGroup": [id_ for id_ in ids if id_ not in grouped]}


def _code(asked: DialectRequest) -> str:
    return "LargePersonGroup" if asked.body.fields.get("largePersonGroupId") else "PersonGroup"


def _named_group(site: Site, asked: DialectRequest) -> Any:
    """The person group that a request names."""
    fields = asked.body.fields
    return searched_group(site, fields.get("largePersonGroupId") or fields.get("personGroupId"), _code(asked))


def _listed(site: Site, asked: DialectRequest) -> list[tuple[str, np.ndarray]]:
    """The faces of the face list that a request names: id and embedding."""
    fields = asked.body.fields
    code = "LargeFaceList" if fields.get("largeFaceListId") else "FaceList"
    id_ = group_id(fields.get("largeFaceListId") or fields.get("faceListId"))
    group = searched_group(site, id_, code, LIST_PREFIX + id_)
    entries = group.enrolment.entries_so_far(FACES)
    return [(as_uuid(each.photo), each.encoding.vector) for each in entries if each.encoding.vector is not None]
