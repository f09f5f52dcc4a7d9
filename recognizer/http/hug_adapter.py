"""How Hug is adapted: parameter types, the forms of errors and replies, checks before each route, and how it is served.

Hug is no longer maintained, so everything that depends on its internals is here. `adapt` gives an API object of Hug an HTTP
side of ours, before the first route is added. The routes themselves are in `recognizer.http.routes` and `api.py`.
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
from urllib.parse import unquote_to_bytes

import falcon
import hug
from falcon.routing.compiled import CompiledRouter

from recognizer.access import gate
from recognizer.access.dialects import ADMIN, ANYONE
from recognizer.access.keys import ROLES
from recognizer.core import audit, logs
from recognizer.core.brief import MESSAGE, brief, cut
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
from recognizer.core.metrics import UNKNOWN
from recognizer.http import bodies, openapi, replies, server
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.early import hug_is_serving
from recognizer.http.observing import Observing
from recognizer.http.reload import Reloader, serve_at_once
from recognizer.http.statuses import status_of
from recognizer.http.wsgi import Guard
from recognizer.jobs.job_model import OPERATIONS

if TYPE_CHECKING:
    from recognizer.http.site import Site

# -- types of parameters --------------------------------------------------------------------------------------------

number, fraction, text = hug.types.number, hug.types.float_number, hug.types.text
top_k_type = hug.types.in_range(0, 101)
landmarks_type = hug.types.one_of(["5", "68"])
format_type = hug.types.one_of(["json", "jpeg"])
event_id_type = hug.types.in_range(0, 10**15)
events_format_type = hug.types.one_of(["sse", "json", "csv"])
presence_format_type = hug.types.one_of(["json", "csv"])
results_format_type = hug.types.one_of(["json", "ndjson"])
job_operation_type = hug.types.one_of(OPERATIONS)
people_order_type = hug.types.one_of(["name", "photos", "seen", "expires"])
role_type = hug.types.one_of(ROLES)


@hug.type()
def switch(value):
    """true or false, or 1 or 0"""
    said = value.lower() if isinstance(value, str) else value
    if said in (True, "true", "1"):
        return True
    if said in (False, "false", "0"):
        return False
    raise ValueError(f"expected true or false, got {brief(value)!r}")


@hug.type()
def ids(value):
    """ids, as a list or separated by commas"""
    parts = value if isinstance(value, list) else value.split(",")
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("expected ids")
    return [part.strip() for part in parts if part.strip()]


@hug.type()
def urls(value):
    """URLs or ids, as a list or separated by spaces"""
    parts = value if isinstance(value, list) else value.split()
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("expected URLs or ids")
    return [part.strip() for part in parts if part.strip()]


#: What may be said of a photo of a batch, besides its URL.
_BATCH_FIELDS = ("id", "subject")


@hug.type()
def batch(value):
    """URLs, as a list or separated by spaces; in a list, objects with url, subject and id as well"""
    found = []
    for each in value if isinstance(value, list) else value.split():
        item = {"url": each} if isinstance(each, str) else each
        if not isinstance(item, dict) or set(item) - {"url", *_BATCH_FIELDS} or not isinstance(item.get("url"), str):
            raise ValueError("expected URLs, or objects with url, subject and id")
        for name in _BATCH_FIELDS:
            said = item.get(name, "")
            if not isinstance(said, str) or len(said) > 500 or not said.isprintable():
                raise ValueError(f"expected {name} as printable text of at most 500 characters")
        source = {name: item[name] for name in ("url", "id") if name in item}
        found.append({"source": source, "subject": item.get("subject")})
    return found


def _json_list(value):
    """A list, or the same as JSON text, which is how a form or a URL contains one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("expected a list as JSON") from None
    if not isinstance(value, list):
        raise ValueError("expected a list")
    return value


@hug.type()
def areas(value):
    """areas of a picture: a list of objects with points, each two fractions of the picture, and for zones a name"""
    return _json_list(value)


@hug.type()
def periods(value):
    """hours of the week: a list of objects with days, from and to"""
    return _json_list(value)


@hug.type()
def message(value):
    """the JSON object that is the whole body: what another program sends in its own form"""
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object as the body")
    return value


#: Types of parameters whose values may be lists or objects.
_LISTS = (ids, urls, batch, areas, periods, message)


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
#: In the WSGI environ: whether other servers' changes could not be learned before the request.
OUTDATED = "recognizer.outdated"

# -- before each route --------------------------------------------------------------------------------------------


class SecurityHeaders:
    """Adds the headers that limit what browsers may do with a reply."""

    def __init__(self, site: Site):
        self._gate = site.gate

    def process_response(self, request, response, resource, request_succeeded):
        for name, value in self._gate.headers(self._gate.admit(request.env)).items():
            if name == "Vary" or response.get_header(name) is None:
                response.append_header(name, value)


#: Carries the number of a change: in the reply to a change, and in requests that must see it on another node.
CHANGE_HEADER = "Recognizer-Change"
#: Seconds that such a request waits for its node to have the change.
CHANGE_SECONDS = 1.0


class ChangeNumbers:
    """Where nodes share a database: replies carry the number of the change that they made, and requests wait for theirs."""

    def __init__(self, site: Site):
        self._site = site

    def process_resource(self, request, response, resource, params):
        database, wanted = self._site.database, request.get_header(CHANGE_HEADER)
        if database is None:
            return
        database.forget_changes()
        if wanted is None:
            return
        if not wanted.isascii() or not wanted.isdigit() or len(wanted) > 18:
            raise InvalidParameter(f"{CHANGE_HEADER}: expected the number that a reply carried, got {brief(wanted)}")
        self._site.service.wait_for_change(int(wanted), CHANGE_SECONDS)

    def process_response(self, request, response, resource, request_succeeded):
        database = self._site.database
        if database is not None and (number := database.latest_change()):
            response.set_header(CHANGE_HEADER, str(number))


class AccessCheck:
    """Refuses requests of unknown clients before anything else is done, and those without the route's role once it is known."""

    def __init__(self, site: Site):
        self._gate, self._refusals = site.gate, site.refusals
        self._max_body, self._max_photos = site.settings.max_body_bytes, site.settings.max_photos

    def process_request(self, request, response):
        visit = self._gate.admit(request.env)
        audit.ACTOR.set(visit.actor)  # for this thread, until its next request
        if visit.error is not None:
            self._refusals.note(visit.actor, visit.error)
            raise visit.error
        if visit.preflight:
            response.status = falcon.HTTP_204
            response.complete = True

    def process_resource(self, request, response, resource, params):
        route = getattr(resource, f"on_{request.method.lower()}", None)
        if route is None:
            return
        visit = self._gate.admit(request.env)
        dialect = getattr(route, "interface", None) and getattr(route.interface.spec, "dialect", None)
        if dialect is not None:
            asked = DialectRequest(request.env, self._max_body, self._max_photos, dialect.takes_photos)
            request.context.dialect_request = asked
            if visit.awaits_key:
                self._take_key(request.env, visit, asked)
        self._gate.allow(visit, request.method, request.uri_template)

    def _take_key(self, environ, visit, asked: DialectRequest) -> None:
        """The key that stands in the body, or whose secret has signed it."""
        try:
            if visit.dialect.signed:
                self._gate.take_signature(environ, asked.raw)
            else:
                shown = asked.body.fields.get(visit.dialect.key_field)
                self._gate.take_key(environ, shown if isinstance(shown, str) else None)
        except RecognizerError as error:
            self._refusals.note(visit.actor, error)
            raise
        audit.ACTOR.set(visit.actor)


#: First parts of the paths of routes whose answers depend on who is enrolled.
_ABOUT_PEOPLE = frozenset({"people", "recognize", "verify", "unsorted"})


class SharedFolder:
    """Lets requests about people wait until this server knows what others changed in the folder that they share.

    If that cannot be known soon, because others keep changing it, a person who seems not to exist may exist: the answer is
    then `Busy`, which asks for another attempt, not that there is no such person.
    """

    def __init__(self, site: Site):
        self._site = site

    def process_resource(self, request, response, resource, params):
        route = getattr(resource, f"on_{request.method.lower()}", None)
        spec = getattr(getattr(route, "interface", None), "spec", None)
        about_people = request.path.strip("/").partition("/")[0] in _ABOUT_PEOPLE or hasattr(spec, "dialect")
        if about_people and self._site.loaded:
            request.env[OUTDATED] = not self._site.service.others.learn()


#: Fields that photos fill, and the parameter of a route that takes one.
_PHOTOS = (("file", "image_url"), ("other", "other_url"))


class RequestParameters:
    """Reads the body of each request, and refuses parameters that the route does not know, so that a typo is noticed."""

    def __init__(self, site: Site):
        self._max_body = site.settings.max_body_bytes

    def process_resource(self, request, response, resource, params):
        if request.method not in falcon.COMBINED_METHODS:  # falcon would answer 400
            raise falcon.HTTPMethodNotAllowed([name[3:].upper() for name in resource._fields])
        route = getattr(resource, f"on_{request.method.lower()}", None)
        if not hasattr(route, "all_parameters"):
            return
        check_query(request.env)
        if hasattr(route.interface.spec, "dialect"):
            request.params.clear()  # a dialect reads them itself, and Hug would put them before those of the path
            return
        known = set(route.all_parameters) - {"request", "response", *params}
        taken = {field for field, url in _PHOTOS if url in known}
        declared = route.interface.spec.__annotations__
        plain = bodies.BATCH_BYTES if batch in declared.values() else bodies.PLAIN_BYTES
        body = bodies.read(request.env, self._max_body, bool(taken), plain)
        request.context.body = body
        whole = next((name for name, kind in declared.items() if kind is message), None)
        for name, value in body.fields.items() if whole is None else [(whole, body.fields)]:
            value = as_choice(value, declared.get(name))
            check_json_type(name, value, declared.get(name))
            if name in request.params:
                raise InvalidParameter(f"{name}: expected once, got it in the URL and in the body")
            request.params[name] = value
        unknown = sorted(set(request.params) - known)
        if unknown:
            there_are = f"the parameters are {', '.join(sorted(known))}" if known else "there are none"
            raise InvalidParameter(f"{cut(unknown[0])}: no such parameter; {there_are}")
        for field in sorted(set(body.photos) - taken):
            ways = f"expected it as {' or '.join(sorted(taken))}" if taken else "no photo is taken here"
            raise InvalidParameter(f"{cut(field)}: got a photo or raw data in the body; {ways}")
        for name, value in request.params.items():
            if isinstance(value, (list, dict)) and declared.get(name) not in _LISTS:
                raise InvalidParameter(f"{name}: expected one value, got several")
        for name in [name for name, value in request.params.items() if value is None or value == ""]:
            del request.params[name]

    def process_response(self, request, response, resource, request_succeeded):
        request.env["recognizer.route"] = request.uri_template or UNKNOWN
        if request.method == "HEAD" and response.data is not None:
            response.set_header("Content-Length", str(len(response.data)))


def check_query(environ: Mapping[str, Any]) -> None:
    """Refuse a query that is not UTF-8, percent-encoded or not: a name in it would be stored as another one.

    Raises
    ------
    BadRequest
    """
    try:
        unquote_to_bytes(environ.get("QUERY_STRING", "").encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise BadRequest("the query of the URL: expected UTF-8, percent-encoded") from None


def as_choice(value, kind):
    """A whole number in JSON as text, where that text is one of the choices: `landmarks` may be 68 as well as "68"."""
    if isinstance(value, int) and kind is not None and str(value) in schema_of(kind).get("enum", ()):
        return str(value)
    return value


def check_json_type(name: str, value, kind) -> None:
    """Refuse JSON values of another type that hug would convert: a person called True, 1.5 candidates."""
    wanted = schema_of(kind)["type"] if kind is not None and value is not None else None
    if wanted == "array" and not isinstance(value, (str, list)):
        raise InvalidParameter(f"{name}: expected a list, got {brief(value)}")
    if wanted == "string" and not isinstance(value, str):
        raise InvalidParameter(f"{name}: expected text, got {brief(value)}")
    if wanted in ("integer", "number") and isinstance(value, bool):
        raise InvalidParameter(f"{name}: expected a number, got {brief(value)}")
    if wanted == "integer" and isinstance(value, float) and not value.is_integer():
        raise InvalidParameter(f"{name}: expected a whole number, got {brief(value)}")


def schema_of(kind) -> dict:
    """The JSON schema of one of the types that parameters are declared with."""
    if isinstance(kind, hug.types.InRange):
        return {"type": "integer", "minimum": kind.lower, "maximum": kind.upper - 1}
    if isinstance(kind, hug.types.OneOf):
        return {"type": "string", "enum": sorted(kind.values)}
    if kind in (ids, urls):
        return {"type": "array", "items": {"type": "string"}}
    if kind is batch:
        fields = {name: {"type": "string"} for name in ("url", *_BATCH_FIELDS)}
        one = {"type": "object", "properties": fields, "required": ["url"], "additionalProperties": False}
        return {"type": "array", "items": {"anyOf": [{"type": "string"}, one]}}
    if kind is areas:
        return {"type": "array", "items": openapi.CAMERA_AREA}
    if kind is periods:
        return {"type": "array", "items": openapi.CAMERA_PERIOD}
    if kind is message:
        return {"type": "object"}
    if kind is switch:
        return {"type": ["boolean", "integer"], "enum": [True, False, 1, 0]}
    known = [(number, "integer"), (fraction, "number"), (text, "string")]
    return {"type": next(name for each, name in known if kind is each)}


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
    return any(url in interface.all_parameters for _, url in _PHOTOS)


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
                role = gate.ROUTES.get((method, path), ADMIN)
                needed = None if role == ANYONE else role
                found.append(openapi.Route(method, path, interface.spec.__name__, summary, parameters, needed))
    return found
