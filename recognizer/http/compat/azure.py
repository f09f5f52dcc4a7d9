"""Azure Face's dialect, versions 1.0 to 1.2: detection, identification, person groups and face lists, below `/face`.

Errors are `{"error": {"code": text, "message": text}}`. A person group is a group of this server (`service.groups`) of the same
name, `default` the people of known_faces; a face list is a group with one person. `azure_detection` and `azure_groups` have the
routes.
"""

from __future__ import annotations

from typing import Any

from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    AccessError,
    BadRequest,
    BodyTooLarge,
    Busy,
    FaceError,
    FetchError,
    GroupNotFound,
    GroupTaken,
    ImageError,
    ImageTooLarge,
    InvalidKey,
    InvalidUrl,
    KeyExpired,
    KeyRequired,
    LooksLikeAnother,
    MethodNotAllowed,
    NameTaken,
    NoImage,
    PhotoNotFound,
    RateLimited,
    RecognizerError,
    SubjectNotFound,
    UnknownRoute,
)
from recognizer.http.compat import azure_detection, azure_groups
from recognizer.http.compat.azure_requests import AzureRouter
from recognizer.http.hug_adapter import DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of

#: Error class -> Azure's code and status; the first that fits. Without a status, it is this server's own.
_CODES: tuple[tuple[type[RecognizerError], str, int | None], ...] = (
    (KeyRequired, "401", 401),
    (InvalidKey, "401", 401),
    (KeyExpired, "401", 401),
    (AccessError, "Forbidden", 403),
    (RateLimited, "429", 429),
    (UnknownRoute, "ResourceNotFound", 404),
    (MethodNotAllowed, "MethodNotAllowed", 405),
    (BodyTooLarge, "RequestEntityTooLarge", 413),
    (ImageTooLarge, "InvalidImageSize", 400),
    (NoImage, "InvalidImage", 400),
    (ImageError, "InvalidImage", None),
    (FaceError, "InvalidImage", 400),
    (LooksLikeAnother, "InvalidImage", 400),
    (InvalidUrl, "InvalidURL", 400),
    (FetchError, "InvalidURL", 400),
    (GroupTaken, "PersonGroupExists", 409),
    (NameTaken, "BadArgument", 400),
    (GroupNotFound, "PersonGroupNotFound", 404),
    (SubjectNotFound, "PersonNotFound", 404),
    (PhotoNotFound, "PersistedFaceNotFound", 404),
    (BadRequest, "BadArgument", 400),
    (Busy, "ServiceUnavailable", 503),
)


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as Azure Face sends it. Details named `azure` and `status` say which of its errors is meant."""
    code, status = next(((code, status) for kind, code, status in _CODES if isinstance(error, kind)), ("Unspecified", None))
    own = status_of(error)
    if status is None:
        status = 400 if 400 <= own < 500 else 500 if own != 503 else 503
    code, status = error.details.get("azure", code), error.details.get("status", status)
    return status, {"error": {"code": code, "message": cut(error.message, MESSAGE)}}


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add these routes to the dialect's API."""
    router = AzureRouter(route)
    azure_detection.add_routes(router, site)
    azure_groups.add_routes(router, site)
