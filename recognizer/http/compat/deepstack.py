"""DeepStack's dialect: faces recognised, registered, listed, deleted and compared, and objects, below `/v1`.

Errors are `{"success": false, "error": text, "duration": 0}`. Replies also carry the fields that CodeProject.AI added, which
DeepStack's clients ignore.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from recognizer.core.audit import one_act
from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    Busy,
    Conflict,
    FaceError,
    ImageError,
    InvalidParameter,
    NotFound,
    RecognizerError,
    SubjectNotFound,
)
from recognizer.core.names import comparison_key, normalise
from recognizer.core.version import __version__
from recognizer.core.wording import plural
from recognizer.http.compat.shared import certainty, corners, largest_first, likeness, verified
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectReply, DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of
from recognizer.photos.objects import LEAST_SCORE

#: Below these certainties a face or an object is left out unless a request says otherwise; below `NAME` a face gets no name.
FACE, NAME, OBJECT = 0.55, 0.67, 0.4
#: The name under which the objects that are found here are offered as a custom model.
MODEL = "coco"
#: The name that strangers get.
UNKNOWN = "unknown"


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as DeepStack sends it: 400, 401, 403, 404, 405, 413, 429, 500 or 503."""
    status = 400 if isinstance(error, (ImageError, FaceError, Conflict, NotFound)) else status_of(error)
    status = 500 if status >= 500 and not isinstance(error, Busy) else status
    return status, {"success": False, "error": cut(error.message, MESSAGE), "duration": 0}


def add_routes(route: DialectRouter, site: Site, always_200: bool = False) -> None:
    """Add these routes to a dialect's API.

    Parameters
    ----------
    always_200 : bool
        Whether what is switched off is told with the status 200, as by CodeProject.AI.
    """

    def add(path: str, command: str, module: str = "FaceProcessing") -> Callable[[Callable], Callable]:
        def decorate(function: Callable[..., dict]) -> Callable:
            def timed(asked: DialectRequest, **parts: str) -> dict:
                begun = time.perf_counter()
                content = function(asked, **parts)
                return {**content, **measured(site, content, time.perf_counter() - begun, command, module)}

            timed.__doc__ = function.__doc__
            route.add("POST", path, photos=True)(timed)
            return function

        return decorate

    @add("/v1/vision/face", "detect")
    def detect(asked: DialectRequest) -> dict:
        """Every face of a photo."""
        least = asked.number("min_confidence", FACE, 0, 1)
        seen = site.service.recognition.detect(asked.photo("image"))
        faces = [{"confidence": certainty(face.score), **corners(face.box, seen)} for face in largest_first(seen.faces)]
        return {"success": True, "predictions": [face for face in faces if face["confidence"] >= least]}

    @add("/v1/vision/face/recognize", "recognize")
    def recognize(asked: DialectRequest) -> dict:
        """Every face of a photo with its name, or "unknown" with the confidence 0."""
        least = asked.number("min_confidence", NAME, 0, 1)
        seen = site.service.recognition.recognize(asked.photo("image"))
        found = []
        for face in largest_first(seen.faces):
            known = likeness(site, face)
            named = face.subject is not None and known >= least
            shown = {"userid": face.subject, "confidence": known} if named else {"userid": UNKNOWN, "confidence": 0}
            found.append({**shown, **corners(face.box, seen)})
        return {"success": True, "predictions": found}

    @add("/v1/vision/face/register", "register")
    def register(asked: DialectRequest) -> dict:
        """Enrol photos of a person; those without a usable face are passed over, and of several faces the largest is taken."""
        name = userid(asked)
        if comparison_key(name) == UNKNOWN:
            raise InvalidParameter(f"userid: {UNKNOWN} stands for strangers")
        photos = [data for _, data in asked.body.files]
        if not photos:
            raise InvalidParameter("no image was sent")
        known = site.service.enrolment.is_enrolled(name)
        refused: list[RecognizerError] = []
        with one_act():
            for photo in photos:
                try:
                    site.service.subjects.enrol(name, photo, face="largest")
                except (ImageError, FaceError, Conflict) as error:
                    refused.append(error)
        if len(refused) == len(photos):
            raise refused[0]
        return {"success": True, "message": "face updated" if known else "face added"}

    @add("/v1/vision/face/list", "list")
    def list_faces(asked: DialectRequest) -> dict:
        """The names of everybody who is enrolled."""
        return {"success": True, "faces": site.service.enrolment.names()}

    @add("/v1/vision/face/delete", "delete")
    def delete(asked: DialectRequest) -> dict:
        """Erase a person; somebody who is not enrolled counts as erased."""
        with suppress(SubjectNotFound):
            site.service.subjects.delete(userid(asked))
        return {"success": True}

    @add("/v1/vision/face/match", "match")
    def match(asked: DialectRequest) -> dict:
        """How alike the largest faces of two photos are."""
        photos = [data for _, data in asked.body.files]
        if len(photos) != 2:
            raise InvalidParameter(f"expected two images, got {len(photos)}")
        found = site.service.recognition.verify(photos[0], photos[1])
        return {"success": True, "similarity": verified(site, found)}

    @add("/v1/vision/detection", "detect", "ObjectDetectionYOLO")
    def find_objects(asked: DialectRequest) -> dict:
        """The objects of a photo, the most certain first."""
        least = asked.number("min_confidence", OBJECT, 0, 1)
        seen = site.service.recognition.objects(asked.photo("image"), threshold=max(LEAST_SCORE, least))
        found = [
            {"label": each.label, "confidence": round(each.score, 5), **corners(each.box, seen)}
            for each in sorted(seen.objects, key=lambda each: -each.score)
        ]
        return {"success": True, "predictions": found}

    @add("/v1/vision/custom/{model}", "custom", "ObjectDetectionYOLO")
    def find_with_model(asked: DialectRequest, model: str) -> dict:
        """The objects of a photo by a model of that name; `list` gives the names."""
        if model == "list":
            return {"success": True, "models": [MODEL]}
        if model != MODEL:
            raise InvalidParameter(f"there is no custom model {cut(model)}; there is {MODEL}")
        return find_objects(asked)

    @route.add("POST", "/v1/vision/scene", photos=True)
    def scene(asked: DialectRequest) -> DialectReply:
        """Scenes are not recognised: refused as by a server on which that is switched off."""
        off = {"success": False, "error": "scenes are not recognised by this server", "code": 500, "duration": 0}
        return DialectReply(off, 200 if always_200 else 403)

    def ping(asked: DialectRequest) -> dict:
        """That the server answers, and its version."""
        numbers = [int(part) for part in re.findall(r"\d+", __version__)[:3]]
        version = dict(zip(("major", "minor", "patch"), numbers, strict=False))
        return {"success": True, "code": 200, "message": __version__, "version": version}

    for path in ("/v1/status/ping", "/v1/server/status/ping", "/v1/server/status/version"):
        route.add("GET", path)(ping)


def userid(asked: DialectRequest) -> str:
    """The name that a request is about.

    Raises
    ------
    InvalidParameter, InvalidName
    """
    given = asked.text("userid")
    if given is None:
        raise InvalidParameter("userid: expected a name")
    return normalise(given)


def measured(site: Site, content: dict, seconds: float, command: str, module: str) -> dict[str, Any]:
    """How long a request took, as DeepStack says it, and what CodeProject.AI adds."""
    ms = round(seconds * 1000)
    added: dict[str, Any] = {
        "duration": round(seconds, 4),
        "code": 200,
        "command": command,
        "moduleId": module,
        "moduleName": "Recognizer",
        "requestId": str(uuid.uuid4()),
        "inferenceDevice": site.settings.provider.upper(),
        "inferenceMs": ms,
        "processMs": ms,
        "analysisRoundTripMs": ms,
        "processedBy": "localhost",
        "timestampUTC": datetime.now(timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT"),
    }
    if "predictions" in content:
        found = content["predictions"]
        added |= {"count": len(found), "message": f"Found {plural(len(found), 'item')}"}
    return added
