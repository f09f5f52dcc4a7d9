"""The HTTP API of the Python package DeepFace: faces described, compared, analysed, registered and searched, below a prefix.

Distances, thresholds and embeddings are those of this server's engine, whatever model a request names; replies say which it is.
Results are in the order of the faces from left to right.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    AttributesOff,
    Conflict,
    FaceError,
    FetchError,
    ImageError,
    InvalidKey,
    InvalidParameter,
    KeyExpired,
    KeyRequired,
    NoFace,
    NoImage,
    NotFound,
    RecognizerError,
)
from recognizer.core.names import normalise
from recognizer.core.types import Candidate
from recognizer.galleries import matching
from recognizer.galleries.similarity import FARTHEST
from recognizer.http.compat.shared import alike, as_uuid, certainty, largest_first
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of
from recognizer.photos.results import Seen, SeenFace

#: What clients look for in the text of an error.
NO_FACE = "Face could not be detected"
METRIC = "euclidean"
#: What can be asked for, and our name of it. DeepFace also guesses a race, which is not done here.
ACTIONS = {"age": "age", "gender": "gender", "emotion": "expression"}
_EMOTIONS = {"happy": "happy", "neutral": "neutral", "surprised": "surprise", "other": "other"}
_ENDINGS = (".jpg", ".jpeg", ".png")
_NOWHERE = dict.fromkeys(("x", "y", "w", "h", "left_eye", "right_eye"))
_MOST_MATCHES = 100


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as DeepFace sends it: 400 with a text in `error`, or in `exception` where there is no photo, and 401."""
    status = status_of(error)
    if isinstance(error, (KeyRequired, InvalidKey, KeyExpired)):
        return status, {"message": cut(error.message, MESSAGE)}
    if isinstance(error, (ImageError, FaceError, FetchError, Conflict)) or (isinstance(error, NotFound) and status == 404):
        status = 400
    text = cut(f"{NO_FACE}: {error.message}" if isinstance(error, NoFace) else error.message, MESSAGE)
    return status, {"exception" if isinstance(error, NoImage) else "error": text}


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add these routes to the dialect's API."""
    settings = site.settings
    engine = {"model_name": settings.embedder, "detector_backend": settings.detector}

    @route.add("POST", "/represent", photos=True)
    def represent(asked: DialectRequest) -> dict:
        """The embedding of each face."""
        most = asked.whole("max_faces", 0, 0, 1_000_000)
        faces = _faces(asked, site.service.recognition.describe(_photo(site, asked, "img")), most)
        return {"results": [{"embedding": _plain(face.embedding), **_area(face)} for face in faces]}

    @route.add("POST", "/verify", photos=True)
    def verify(asked: DialectRequest) -> dict:
        """Whether the two most similar faces of two photos are one person's."""
        begun = time.perf_counter()
        photos = [_photo(site, asked, name) for name in ("img1", "img2")]
        first, second = (_faces(asked, site.service.recognition.describe(photo)) for photo in photos)
        distance, limit, pair = _nearest_pair(site, first, second)
        return {
            "verified": distance <= limit,
            "distance": distance,
            "threshold": limit,
            "confidence": round(100 * alike(site, distance, limit), 2),
            "model": engine["model_name"],
            "detector_backend": engine["detector_backend"],
            "similarity_metric": METRIC,
            "facial_areas": {
                f"img{number}": _NOWHERE if face is None else _area(face)["facial_area"] for number, face in enumerate(pair, 1)
            },
            "time": round(time.perf_counter() - begun, 2),
        }

    @route.add("POST", "/analyze", photos=True)
    def analyze(asked: DialectRequest) -> dict:
        """Age, gender and expression of each face, as far as the setting of attributes allows and something can be said."""
        wanted = _actions(asked)
        names = [ACTIONS[word] for word in wanted if ACTIONS.get(word) in settings.attributes]
        if not names:
            said = ", ".join(wanted)
            raise AttributesOff(f"{cut(said)}: not enabled here; the setting RECOGNIZER_ATTRIBUTES names what is")
        faces = _faces(asked, site.service.recognition.detect(_photo(site, asked, "img"), attributes=names))
        return {"results": [_looks(face) for face in faces]}

    @route.add("POST", "/search", photos=True)
    def search(asked: DialectRequest) -> dict:
        """The people nearest to each face: only those who match, unless `similarity_search` is on."""
        count = asked.whole("k", 5, 1, _MOST_MATCHES)
        everybody = asked.switch("similarity_search")
        faces = _faces(asked, site.service.recognition.recognize(_photo(site, asked, "img"), top_k=count))
        return {"results": [[found(face, each) for each in _chosen(face, everybody)[:count]] for face in faces]}

    def found(face: SeenFace, candidate: Candidate) -> dict[str, Any]:
        assert face.match is not None
        area, limit = _area(face)["facial_area"], face.match.threshold
        return {
            "id": None if candidate.photo is None else as_uuid(candidate.photo),
            "img_name": candidate.subject,
            **engine,
            "aligned": True,
            "l2_normalized": False,
            "search_method": "exact",
            **{f"target_{edge}": area[edge] for edge in ("x", "y", "w", "h")},
            "threshold": limit,
            "distance_metric": METRIC,
            "distance": candidate.distance,
            "confidence": round(100 * alike(site, candidate.distance, limit), 2),
        }

    @route.add("POST", "/register", photos=True)
    def register(asked: DialectRequest) -> dict:
        """Enrol the one face of a photo under the name of the image."""
        photo = _photo(site, asked, "img")
        done = site.service.subjects.enrol(_name(asked), photo)
        return {"inserted": int(done.new)}

    @route.add("POST", "/build/index")
    def build_index(asked: DialectRequest) -> dict:
        """Nothing has to be built: whatever is registered can be found."""
        return {"message": "Index built successfully"}


# -- what comes in ----------------------------------------------------------------------------------------------------


def _photo(site: Site, asked: DialectRequest, name: str) -> bytes:
    """A file, base64, or the address of a photo. Paths of this machine are none of these."""
    given = asked.body.fields.get(name)
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        return site.service.fetch(given)
    return asked.photo(name, any_name=False)


def _name(asked: DialectRequest) -> str:
    given = asked.text("img_name")
    if given is None:
        raise InvalidParameter("img_name: expected a name")
    return normalise(str(PurePosixPath(given).with_suffix("")) if given.lower().endswith(_ENDINGS) else given)


def _actions(asked: DialectRequest) -> list[str]:
    """The words of a list, or of a text such as ``['age', 'gender']``."""
    given = asked.value("actions")
    if given is None:
        return [*ACTIONS]
    words = given if isinstance(given, list) else str(given).strip("[]() ").split(",")
    return [str(word).strip("'\" ") for word in words][:20]


def _faces(asked: DialectRequest, seen: Seen, most: int = 0) -> list[SeenFace]:
    """The faces of a photo, at most so many of the largest.

    Raises
    ------
    NoFace
        There is none, and the request insists on one, as it does by default.
    """
    if not seen.faces and asked.switch("enforce_detection", True):
        raise NoFace("no face was found in the photo")
    faces = largest_first(seen.faces)
    return sorted(faces[:most] if most else faces, key=lambda face: face.box.left)


# -- what goes out ----------------------------------------------------------------------------------------------------


def _plain(vector: Any) -> list[float]:
    return [float(value) for value in vector]


def _area(face: SeenFace) -> dict[str, Any]:
    """Where a face is, and its eyes: left and right of the person, not of the picture."""
    box, points = face.box, face.face.landmarks
    left, right = (points[1], points[0]) if face.face.scheme == "yunet5" else (points[0:2].mean(0), points[2:4].mean(0))
    area = {
        "x": round(box.left),
        "y": round(box.top),
        "w": round(box.width),
        "h": round(box.height),
        "left_eye": [round(float(value)) for value in left],
        "right_eye": [round(float(value)) for value in right],
    }
    return {"facial_area": area, "face_confidence": round(certainty(face.score), 2)}


def _looks(face: SeenFace) -> dict[str, Any]:
    """What is said of a face; what cannot be said is left out."""
    shown: dict[str, Any] = {}
    age, gender, expression = (getattr(face.attributes, name, None) for name in ACTIONS.values())
    if age is not None:
        shown["age"] = round((age.low + age.high) / 2)
    if gender is not None:
        share = {True: 100 * gender.probability, False: 100 * (1 - gender.probability)}
        shown["gender"] = {word: round(share[gender.value == ours], 2) for word, ours in (("Woman", "female"), ("Man", "male"))}
        shown["dominant_gender"] = "Woman" if gender.value == "female" else "Man"
    if expression is not None:
        shown["emotion"] = {_EMOTIONS[name]: round(100 * share, 2) for name, share in expression.all.items()}
        shown["dominant_emotion"] = _EMOTIONS[expression.value]
    area = _area(face)
    return {**shown, "region": area["facial_area"], "face_confidence": area["face_confidence"]}


def _chosen(face: SeenFace, everybody: bool) -> list[Candidate]:
    """The candidates of a face that are shown."""
    if face.match is None or (face.comparable is False and not everybody):
        return []
    limit = face.match.threshold
    return [each for each in face.candidates if everybody or each.distance <= limit]


def _nearest_pair(
    site: Site, first: Sequence[SeenFace], second: Sequence[SeenFace]
) -> tuple[float, float, tuple[SeenFace | None, SeenFace | None]]:
    """The distance and the threshold of the two most similar faces, and these; the farthest distance where there are none."""
    matcher = site.service.matcher
    ours = [face for face in first if face.comparable is not False]
    theirs = [face for face in second if face.comparable is not False]
    if not ours or not theirs:
        shown = (first[0] if first else None, second[0] if second else None)
        return FARTHEST, matcher.verification_threshold, shown
    vectors = np.array([face.embedding for face in theirs])
    apart = np.array([matching.distances(np.asarray(face.embedding, np.float64), vectors) for face in ours])
    row, column = np.unravel_index(int(apart.argmin()), apart.shape)
    pair = ours[int(row)], theirs[int(column)]
    verdicts = [face.comparability for face in pair if face.comparability is not None]
    return float(apart.min()), matcher.verification_limit(verdicts), pair
