"""CodeProject.AI's dialect: DeepStack's routes, with errors in the body of a reply whose status is 200.

`deepstack` answers most clients of both. This is for those that take another status than 200 for a server that is down.
"""

from __future__ import annotations

from typing import Any

from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import AccessError, Busy, MethodNotAllowed, NoFace, RateLimited, RecognizerError, UnknownRoute
from recognizer.http.compat import deepstack
from recognizer.http.hug_adapter import DialectRouter
from recognizer.http.site import Site
from recognizer.http.statuses import status_of

#: What clients compare an error's text with.
_NO_FACE = "No face found in image"


def shape_error(error: RecognizerError) -> tuple[int, Any]:
    """An error as CodeProject.AI sends it: from a module with the status 200, from the server itself with its own."""
    of_server = isinstance(error, (AccessError, RateLimited, Busy, UnknownRoute, MethodNotAllowed))
    text = _NO_FACE if isinstance(error, NoFace) else cut(error.message, MESSAGE)
    return (status_of(error) if of_server else 200), {"success": False, "error": text, "code": 500}


def add_routes(route: DialectRouter, site: Site) -> None:
    """Add these routes to the dialect's API."""
    deepstack.add_routes(route, site, always_200=True)
