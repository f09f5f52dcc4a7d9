"""How Hug is adapted: the forms of errors and replies, how it is served, and the routers of routes and dialects.

Hug is no longer maintained, so everything that depends on its internals is here, in `parameters` and in `request_checks`.
`adapt` gives an API object of Hug an HTTP side of ours, before the first route is added. The routes themselves are in
`recognizer.http.routes` and `api.py`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import falcon
import hug
from falcon.routing.compiled import CompiledRouter

from recognizer.access import gate
from recognizer.access.dialects import ADMIN, ANYONE
from recognizer.access.route_roles import ROUTES
from recognizer.core import logs
from recognizer.core.brief import MESSAGE, cut
from recognizer.core.errors import (
    BadRequest,
    Busy,
    InvalidParameter,
    MethodNotAllowed,
    PhotoNotFound,
    RecognizerError,
    SubjectNotFound,
    UnknownRoute,
)
from recognizer.http import bodies, openapi, replies, server
from recognizer.http.early import hug_is_serving
from recognizer.http.observing import Observing
from recognizer.http.parameters import schema_of
from recognizer.http.reload import Reloader, serve_at_once
from recognizer.http.request_checks import (
    OUTDATED,
    PHOTO_FIELDS,
    AccessCheck,
    ChangeNumbers,
    RequestParameters,
    SecurityHeaders,
    SharedFolder,
)
from recognizer.http.statuses import status_of
from recognizer.http.wsgi import Guard

if TYPE_CHECKING:
    from recognizer.http.site import Site

# -- forms of replies and errors ---------------------------------------------------------------------------------


def send_error(request, response, error, params=None):
    """Answer with an error of any origin."""
    if isinstance(error, (SubjectNotFound, PhotoNotFound)) and request.env.get(OUTDATED):
        error = Busy("another server is changing people at the moment; try again shortly")
    request.env["recognizer.error"] = error.code
    status, content = shaped(request, error)
    response.status = getattr(falcon, f"HTTP_{status}")
    response.content_type = "application/json"
    response.data = json.dumps(content).encode()
    if error.retry_after:
        response.set_header("Retry-After", str(max(1, round(error.retry_after))))
    if response.status == falcon.HTTP_401:
        response.set_header("WWW-Authenticate", 'Bearer realm="recognizer"')


def shaped(request, error: RecognizerError) -> tuple[int, Any]:
    """Status and content of an error's reply: of this server, or of the dialect in which the answer is expected."""
    shape = request.env.get(ERROR_SHAPE)
    return (status_of(error), {"error": replies.error(error)}) if shape is None else shape(error)


def output(content, request, response):
    """Bytes and streams as they are, with the type that the route set; everything else as JSON."""
    if request.method == "HEAD" and hasattr(content, "close"):
        content.close()  # nobody reads the stream
        return b""
    if isinstance(content, bytes) or hasattr(content, "read"):
        return content
    response.content_type = "application/json"
    return json.dumps(content, ensure_ascii=False).encode()


output.content_type = "application/json"  # type: ignore[attr-defined]  # hug asks the function for it


def invalid(errors, request):
    """Hug's parameter errors, in the form of our errors."""
    request.env["recognizer.error"] = InvalidParameter.code
    complaints = {cut(name): cut(str(message)) for name, message in errors["errors"].items()}
    message = cut("; ".join(f"{name}: {complaint}" for name, complaint in complaints.items()), MESSAGE)
    return {"error": {"code": InvalidParameter.code, "message": message, "parameters": complaints}}


def send_http_error(request, response, error):
    """Falcon's own errors, in the form of our errors."""
    kind = MethodNotAllowed if error.status.startswith("405") else BadRequest
    message = f"{cut(request.method)} is not possible here" if kind is MethodNotAllowed else error.title or "bad request"
    if error.description:
        message += f": {error.description}"
    message = cut(message, MESSAGE)
    request.env["recognizer.error"] = kind.code
    status, content = shaped(request, kind(message))
    if ERROR_SHAPE in request.env:
        response.status = getattr(falcon, f"HTTP_{status}")
    response.content_type = "application/json"
    response.data = json.dumps(content).encode()


#: In the WSGI environ: how the dialect of the request shapes errors, from an error to a status and plain data.
ERROR_SHAPE = "recognizer.error_shape"


@contextmanager
def _routes_compiled_once() -> Iterator[None]:
    """Applications of falcon that are made within the block compile their routes at its end.

    Falcon compiles all of them anew with each one that is added: for 160 routes, a third of the time that a start takes.
    """
    compile_routes, routers = CompiledRouter._compile, []

    def note(router: CompiledRouter) -> None:
        if router not in routers:
            routers.append(router)

    with _COMPILING:
        CompiledRouter._compile = note
        try:
            yield
        finally:
            CompiledRouter._compile = compile_routes
    for router in routers:
        router._find = router._compile()


_COMPILING = threading.Lock()

# -- hug's HTTP side --------------------------------------------------------------------------------------------------


class ServedHttp(hug.api.HTTPInterfaceAPI):
    """Hug's HTTP side, whose ``serve``, which the ``hug`` command calls, serves with `recognizer.http.server`.

    Parameters
    ----------
    api : hug.API
    options : server.Options
    configure : callable, optional
        Called with each falcon application that Hug makes for this API, under any WSGI server: the place for falcon's options
        and error handlers, which Hug would overwrite elsewhere.
    """

    __slots__ = ("_configure", "_options", "_reloader")

    def __init__(self, api: hug.API, options: server.Options, configure: Callable[[Any], None] | None = None):
        super().__init__(api)
        self._options, self._configure = options, configure
        self._reloader = Reloader()
        self._reloader.watch_start()

    def server(self, default_not_found=True, base_url=None):
        with _routes_compiled_once():
            app = super().server(default_not_found, base_url)
        if self._configure is not None:
            self._configure(app)
        return app

    def serve(self, host="", port=8000, no_documentation=False, display_intro=True):
        server.serve_with(
            self._options,
            lambda: self.server(None if no_documentation else True),
            host,
            port,
            reloader=self._reloader,
            quiet=not display_intro,
        )


class SiteHttp(ServedHttp):
    """The HTTP side of this server's API: HEAD for every GET, errors in one form, every request counted and logged."""

    __slots__ = ("_photo_routes", "_site")

    def __init__(self, api: hug.API, site: Site):
        options = server.Options(
            site.settings,
            on_start=site.load_and_prepare,
            on_stop=site.close,
            max_body=site.settings.max_body_bytes,
            check_host=site.gate.check_host,
            body_limit=self._body_limit,
            counted_as=site.gate.counted_as,
        )
        super().__init__(api, options)
        self._site = site
        self._photo_routes: list[tuple[str, re.Pattern[str]]] | None = None
        self.output_format = output  # type: ignore[misc]  # a property of hug's class, which mypy does not see
        parts = (SecurityHeaders, AccessCheck, ChangeNumbers, RequestParameters, SharedFolder)
        for middleware in (part(site) for part in parts):
            self.add_middleware(middleware)

    def _body_limit(self, environ: dict[str, Any]) -> int | None:
        """How much of a request's body is read."""
        if not self._site.gate.reads_body(environ):
            return 0
        if self._photo_routes is None:
            self._photo_routes = [
                (method, gate.path_pattern(path))
                for routes in self.routes.values()
                for path, methods in routes.items()
                for method, versions in methods.items()
                if _takes_photos(versions[None].interface)
            ]
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if not any(method == each and pattern.fullmatch(path) for each, pattern in self._photo_routes):
            return bodies.PLAIN_BYTES
        visit = self._site.gate.admit(environ)
        if visit.awaits_key and not (
            visit.dialect and visit.dialect.signed
        ):  # read from somebody unknown, for the key in it: one photo
            return min(self._site.settings.max_image_bytes + bodies.PLAIN_BYTES, self._site.settings.max_body_bytes)
        return None

    def server(self, default_not_found=True, base_url=None):
        # otherwise hug adds every route as /v<anything>/ as well
        versions, self.versions = self.versions, self.versions - {None}
        readable = [methods for routes in self.routes.values() for methods in routes.values() if "GET" in methods]
        for methods in readable:
            methods["HEAD"] = methods["GET"]
        app = super().server(default_not_found, base_url)
        for methods in readable:
            del methods["HEAD"]  # not shown where the routes are listed
        self.versions = versions
        app.req_options.auto_parse_qs_csv = False  # a comma in image_url separates nothing
        app.req_options.keep_blank_qs_values = True
        app.add_error_handler(RecognizerError, send_error)
        app.set_error_serializer(send_http_error)
        admit, shapes = self._site.gate.admit, self._site.dialect_errors

        def mounted(environ, start_response):
            visit = admit(environ)  # before falcon reads the path, of which a proxy's prefix is taken off
            if visit.dialect is not None:
                environ[ERROR_SHAPE] = shapes[visit.dialect.name]
            return app(environ, start_response)

        return Guard(mounted, observer=Observing(self._site.metrics))


def _takes_photos(interface: Any) -> bool:
    dialect = getattr(interface.spec, "dialect", None)
    if dialect is not None:
        return dialect.takes_photos
    return any(url in interface.all_parameters for _, url in PHOTO_FIELDS)


def install(api: hug.API, options: server.Options, configure: Callable[[Any], None] | None = None) -> None:
    """Let any Hug API be served as this one is. Must be called before a route is added.

    Raises
    ------
    ValueError
        The API has routes already.
    """
    _give(api, ServedHttp(api, options, configure))


def _give(api: hug.API, http: ServedHttp) -> None:
    if hasattr(api, "_http"):
        raise ValueError("expected an API without routes: its HTTP side is made with the first one")
    api._http = http  # hug offers no setter


class Router:
    """Adds routes to an API: ``@router.get("/people")``. Bodies are read by `RequestParameters`, not by Hug."""

    def __init__(self, api: hug.API):
        self.api = api
        self._route = hug.route.API(api)

    def get(self, path: str, **options: Any) -> Callable:
        return self._route.get(path, on_invalid=invalid, parse_body=False, **options)

    def post(self, path: str, **options: Any) -> Callable:
        return self._route.post(path, on_invalid=invalid, parse_body=False, **options)

    def patch(self, path: str, **options: Any) -> Callable:
        return self._route.patch(path, on_invalid=invalid, parse_body=False, **options)

    def put(self, path: str, **options: Any) -> Callable:
        return self._route.put(path, on_invalid=invalid, parse_body=False, **options)

    def delete(self, path: str, **options: Any) -> Callable:
        return self._route.delete(path, on_invalid=invalid, parse_body=False, **options)


@dataclass(frozen=True)
class DialectMark:
    """What is known of a dialect's route before its body is read."""

    takes_photos: bool


@dataclass(frozen=True)
class DialectReply:
    """A reply of a dialect's route with another status than 200, with headers, or with bytes of a type of their own."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    media_type: str | None = None


class DialectRouter:
    """Adds the routes of a dialect to a Hug API of its own: functions of a `DialectRequest` and what stands in the path.

    What they return is the reply: plain data, bytes, or a `DialectReply`.
    """

    def __init__(self, name: str):
        self.api = hug.API(name)
        self._route = hug.route.API(self.api)

    def add(self, method: str, path: str, photos: bool = False) -> Callable[[Callable], Callable]:
        """Add a route; `photos` says whether it takes photos."""

        def decorate(function: Callable) -> Callable:
            def answer(request, response, **path):
                reply = function(request.context.dialect_request, **path)
                media_type = None
                if isinstance(reply, DialectReply):
                    response.status = getattr(falcon, f"HTTP_{reply.status}")
                    for name, value in reply.headers.items():
                        response.set_header(name, value)
                    reply, media_type = reply.content, reply.media_type
                if isinstance(reply, bytes):
                    response.content_type = media_type or "application/octet-stream"
                return reply

            answer.dialect = DialectMark(photos)  # type: ignore[attr-defined]
            answer.__doc__ = function.__doc__
            getattr(self._route, method.lower())(path, parse_body=False, output=output, private=True)(answer)
            return function

        return decorate


def adapt(name: str, site: Site) -> Router:
    """Make the Hug API of the module `name` ours; what is returned adds routes to it.

    Where the `hug` command is about to serve this module, loading begins at once, while the routes are still being added.
    Under another WSGI server, such as gunicorn, the first request to a process waits for the load.
    """
    api = hug.API(name)
    _give(api, SiteHttp(api, site))
    hug.not_found(output=output, api=api)(not_found)
    settings = site.settings

    @hug.startup(api=api)
    def start(api):
        logs.configure(settings.log, settings.log_level)
        if not hug_is_serving():
            site.load_or_end()

    if hug_is_serving():
        logs.configure(settings.log, settings.log_level)
        serve_at_once()
        site.load_early()
    return Router(api)


def over(request: Any) -> Callable[[], bool]:
    """Whether a reply without an end has to end: its reader left, the server stops, or the key was revoked."""
    left, allowed = request.env.get("recognizer.over", lambda: False), request.env[gate.STILL_ALLOWED]
    return lambda: left() or not allowed()


def not_found(request, response):
    """The reply for an unknown route."""
    error = UnknownRoute(f"there is no {cut(request.path)}; GET / lists the routes")
    request.env["recognizer.error"] = error.code
    status, content = shaped(request, error)
    response.status = getattr(falcon, f"HTTP_{status}")
    return content


# -- the routes, for the OpenAPI document -----------------------------------------------------------------------------


def described_routes(api: hug.API) -> list[openapi.Route]:
    """Every route of this server itself, with its parameters, in the order in which they were added."""
    found = []
    for routes in api.http.routes.values():
        for path, methods in routes.items():
            for method, versions in methods.items():
                interface = versions[None].interface
                if hasattr(interface.spec, "dialect"):
                    continue  # described where its service is
                summary = " ".join((interface.spec.__doc__ or "").split())
                parameters = [
                    openapi.Parameter(
                        name,
                        schema_of(kind),
                        name in interface.required and f"{{{name}}}" not in path,
                        interface.defaults.get(name),
                    )
                    for name, kind in interface.spec.__annotations__.items()
                ]
                role = ROUTES.get((method, path), ADMIN)
                needed = None if role == ANYONE else role
                found.append(openapi.Route(method, path, interface.spec.__name__, summary, parameters, needed))
    return found
