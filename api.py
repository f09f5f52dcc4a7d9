"""Recognizer: find and recognise faces, on your own machine.

Enrol people by putting photos into known_faces/<name>/ or by POST /enroll; ask who is on a photo with /recognize.
"""

import contextlib
import json
import logging
import os
import threading
import time

import falcon
import hug

from recognizer import __version__, audit, auth, bodies, logs, models, openapi, replies, server
from recognizer.access_file import AccessFile
from recognizer.consent import Consent
from recognizer.errors import (
    AccessError,
    AddressRefused,
    AuditBroken,
    BackupBroken,
    BadRequest,
    BodyTooLarge,
    Busy,
    CameraUnavailable,
    Conflict,
    DecoderUnavailable,
    EngineMismatch,
    FaceError,
    FetchError,
    FetchFailed,
    FetchTimeout,
    FetchTooLarge,
    ImageError,
    ImageTooLarge,
    InvalidKey,
    InvalidParameter,
    KeyExpired,
    KeyRequired,
    MethodNotAllowed,
    ModelError,
    NoImage,
    NotFound,
    RateLimited,
    RecognizerError,
    SealBroken,
    SettingsError,
    Starting,
    StorageError,
    UnknownRoute,
    UnsupportedImage,
)
from recognizer.images import sniff
from recognizer.keys import ROLES, Keys
from recognizer.metrics import CONTENT_TYPE as METRICS_TYPE
from recognizer.metrics import UNKNOWN, Metrics
from recognizer.objects import LABELS
from recognizer.observing import Observing
from recognizer.pages import Pages, Reply, wants_page
from recognizer.progress import Progress
from recognizer.refusals import Refusals
from recognizer.service import Service, make_service
from recognizer.sessions import Sessions, csrf_token
from recognizer.settings import Settings
from recognizer.video import mjpeg, sse
from recognizer.video.cameras import DEFAULT as DEFAULT_CAMERA
from recognizer.video.mjpeg import view_key
from recognizer.wsgi import Guard

#: Status of each error; a class that is not named has its nearest ancestor's.
STATUS = {
    BadRequest: 400,
    BodyTooLarge: 413,
    UnknownRoute: 404,
    MethodNotAllowed: 405,
    ImageError: 422,
    UnsupportedImage: 415,
    ImageTooLarge: 413,
    DecoderUnavailable: 503,
    FaceError: 422,
    FetchError: 502,
    FetchFailed: 502,
    AddressRefused: 400,
    FetchTooLarge: 413,
    FetchTimeout: 504,
    AccessError: 403,
    KeyRequired: 401,
    InvalidKey: 401,
    KeyExpired: 401,
    RateLimited: 429,
    NotFound: 404,
    Conflict: 409,
    CameraUnavailable: 503,
    Busy: 503,
    StorageError: 507,
    SealBroken: 500,
    AuditBroken: 500,
    BackupBroken: 500,
    ModelError: 503,
    EngineMismatch: 500,
    SettingsError: 500,
    RecognizerError: 500,
}


def cannot_start(error: RecognizerError):
    """End the process with one sentence that says why."""
    logs.announce(f"Recognizer cannot start: {error.message}", logging.CRITICAL)
    raise SystemExit(1) from None


try:
    settings = Settings.from_environment()
except SettingsError as error:
    cannot_start(error)
api = hug.API(__name__)
access_file = AccessFile(settings.state_dir / "access.sqlite")
keys = Keys(access_file, settings.admin_key)
gate = auth.Gate(
    keys, Sessions(access_file, keys, settings.session_hours * 3600),
    auth.Rules(
        settings.anyone_may_do_anything, settings.allowed_hosts, settings.cors, settings.trusted_proxies,
        settings.rate_key, settings.rate_address,
    ),
)  # fmt: skip
#: What is noted here is about no subject; the service's own log also knows their names.
access_log = audit.AuditLog(settings.state_dir / "audit")
refusals = Refusals(access_log)
metrics = Metrics()
pages = Pages(others={
    "swagger-ui.js": lambda: models.path("docs-script", settings.models_dir),
    "swagger-ui.css": lambda: models.path("docs-style", settings.models_dir),
})  # fmt: skip
_service: Service | None = None
_failure: RecognizerError | None = None
_service_lock = threading.Lock()
_progress: Progress | None = None


def service() -> Service:
    """The one service of this process.

    Raises
    ------
    Starting
        It is not there yet, or not any longer.
    """
    made = _service
    if made is None:
        raise Starting(f"not everything is loaded yet ({_progress.now if _progress else 'stopped'}); try again shortly")
    return made


def load() -> None:
    """Make the service, or wait until another thread has; more than once does nothing, or fails as it did before."""
    global _service, _failure, _progress
    with _service_lock:
        if _failure is not None:
            raise _failure
        if _service is None:
            try:
                with Progress(logged=logs.wants_json(settings.log)) as _progress:
                    made = make_service(settings, _progress.download, metrics)
                    made.start(_progress.photos)
                made.serve()
            except RecognizerError as error:
                _failure = error
                raise
            _service, _progress = made, None


def load_or_end() -> None:
    """Load, or end the process and say why."""
    try:
        keys.required()
        load()
    except RecognizerError as error:
        cannot_start(error)


@hug.startup()
def start(api):
    """Load everything before the first request; our own server answers meanwhile that it is loading."""
    logs.configure(settings.log, settings.log_level)
    if not server.hug_is_serving():
        load_or_end()


def start_early() -> None:
    """Start while the hug command still waits, as it does for a second before it serves; `load_or_end` tells of failures."""
    with contextlib.suppress(RecognizerError):
        load()


def stop() -> None:
    """End what `load` began."""
    global _service
    refusals.flush()
    with _service_lock:
        if _service is not None:
            _service.close()
            _service = None


def unready() -> list[str]:
    """Why this process should be given no requests now; nothing where it should."""
    try:
        return service().unready()
    except Starting as error:
        return [error.message]


metrics.watch("recognizer_ready", lambda: not unready())


# -- how requests come in and answers go out -------------------------------------------------------------------------

number, fraction, text = hug.types.number, hug.types.float_number, hug.types.text
top_k_type = hug.types.in_range(0, 101)
landmarks_type = hug.types.one_of(["5", "68"])
format_type = hug.types.one_of(["json", "jpeg"])
event_id_type = hug.types.in_range(0, 10**15)
events_format_type = hug.types.one_of(["sse", "json"])
face_type = hug.types.one_of(["only", "largest"])
role_type = hug.types.one_of(ROLES)
#: A hundred years.
MOST_KEY_DAYS = 36_500


@hug.type(extend=hug.types.smart_boolean)
def switch(value):
    """true or false, or 1 or 0"""
    if isinstance(value, str) and value.lower() not in ("true", "false", "1", "0"):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


@hug.type()
def ids(value):
    """ids, as a list or separated by commas"""
    parts = value if isinstance(value, list) else value.split(",")
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("expected ids")
    return [part.strip() for part in parts if part.strip()]


def status_of(error: RecognizerError) -> int:
    """The HTTP status of an error: its class's, or its nearest ancestor's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def send_error(request, response, error, params=None):
    """Answer with an error, whoever raised it."""
    request.env["recognizer.error"] = error.code
    response.status = getattr(falcon, f"HTTP_{status_of(error)}")
    response.content_type = "application/json"
    response.data = json.dumps({"error": replies.error(error)}).encode()
    if error.retry_after:
        response.set_header("Retry-After", str(max(1, round(error.retry_after))))
    if response.status == falcon.HTTP_401:
        response.set_header("WWW-Authenticate", 'Bearer realm="recognizer"')


def output(content, request, response):
    """Bytes and streams as they are, with the type that the route set; everything else as JSON."""
    if request.method == "HEAD" and hasattr(content, "close"):
        content.close()  # nobody reads what was opened
        return b""
    if isinstance(content, bytes) or hasattr(content, "read"):
        return content
    response.content_type = "application/json"
    return json.dumps(content, ensure_ascii=False).encode()


output.content_type = "application/json"


def invalid(errors, request):
    """Hug's complaints about parameters, in the form of our errors."""
    request.env["recognizer.error"] = InvalidParameter.code
    complaints = {name: str(message) for name, message in errors["errors"].items()}
    message = "; ".join(f"{name}: {complaint}" for name, complaint in complaints.items())
    return {"error": {"code": InvalidParameter.code, "message": message, "parameters": complaints}}


class Headers:
    """Gives every reply the headers that keep browsers from doing more with it than is meant."""

    def process_response(self, request, response, resource, request_succeeded):
        for name, value in gate.headers(gate.admit(request.env)).items():
            if name == "Vary" or response.get_header(name) is None:
                response.append_header(name, value)


class Access:
    """Refuses who may not ask, before anything else is done, and who may not ask this, once the route is known."""

    def process_request(self, request, response):
        visit = gate.admit(request.env)
        audit.ACTOR.set(visit.actor)  # of this thread, until its next request
        if visit.error is not None:
            refusals.note(visit.actor, visit.error)
            raise visit.error
        if visit.preflight:
            response.status = falcon.HTTP_204
            response.complete = True

    def process_resource(self, request, response, resource, params):
        if hasattr(resource, f"on_{request.method.lower()}"):
            gate.allow(gate.admit(request.env), request.method, request.uri_template)


class Requests:
    """Reads every request's body, and refuses parameters that the route does not know: a typo must not pass."""

    def process_resource(self, request, response, resource, params):
        if request.method not in falcon.COMBINED_METHODS:  # which falcon calls a bad request
            raise falcon.HTTPMethodNotAllowed([name[3:].upper() for name in resource._fields])
        route = getattr(resource, f"on_{request.method.lower()}", None)
        if not hasattr(route, "all_parameters"):
            return
        body = bodies.read(request.env, settings.max_body_bytes)
        request.context.body = body
        known = set(route.all_parameters) - {"request", "response", *params}
        declared = route.interface.spec.__annotations__
        for name, value in body.fields.items():
            value = as_choice(value, declared.get(name))
            check_json_type(name, value, declared.get(name))
            if name in request.params:
                raise InvalidParameter(f"{name}: expected once, got it in the URL and in the body")
            request.params[name] = value
        unknown = sorted(set(request.params) - known)
        if unknown:
            raise InvalidParameter(f"{unknown[0]}: no such parameter; there are {', '.join(sorted(known)) or 'none'}")
        taken = {field for field, url in (("file", "image_url"), ("other", "other_url")) if url in known}
        for field in sorted(set(body.photos) - taken):
            ways = f"expected it as {' or '.join(sorted(taken))}" if taken else "no photo is taken here"
            raise InvalidParameter(f"{field}: got a photo or raw data in the body; {ways}")
        for name, value in request.params.items():
            if isinstance(value, (list, dict)) and declared.get(name) is not ids:
                raise InvalidParameter(f"{name}: expected one value, got several")
        for name in [name for name, value in request.params.items() if value is None or value == ""]:
            del request.params[name]

    def process_response(self, request, response, resource, request_succeeded):
        request.env["recognizer.route"] = request.uri_template or UNKNOWN
        if request.method == "HEAD" and response.data is not None:
            response.set_header("Content-Length", str(len(response.data)))


def as_choice(value, kind):
    """A whole number of JSON as text, where that text is one of the choices: landmarks are 68 as well as "68"."""
    if isinstance(value, int) and kind is not None and str(value) in schema_of(kind).get("enum", ()):
        return str(value)
    return value


def check_json_type(name: str, value, kind) -> None:
    """Refuse what JSON can say and hug would make something of: a person called True, 1.5 candidates."""
    wanted = schema_of(kind)["type"] if kind is not None and value is not None else None
    if wanted == "array" and not isinstance(value, (str, list)):
        raise InvalidParameter(f"{name}: expected a list, got {json.dumps(value)[:80]}")
    if wanted == "string" and not isinstance(value, str):
        raise InvalidParameter(f"{name}: expected text, got {json.dumps(value)[:80]}")
    if wanted in ("integer", "number") and isinstance(value, bool):
        raise InvalidParameter(f"{name}: expected a number, got {json.dumps(value)}")
    if wanted == "integer" and isinstance(value, float) and not value.is_integer():
        raise InvalidParameter(f"{name}: expected a whole number, got {value}")


class Http(type(api.http)):
    """Hug's HTTP side with falcon set as this API needs it."""

    __slots__ = ()

    def server(self, default_not_found=True, base_url=None):
        # else hug adds every route as /v<anything>/ too
        versions, self.versions = self.versions, self.versions - {None}
        readable = [methods for routes in self.routes.values() for methods in routes.values() if "GET" in methods]
        for methods in readable:
            methods["HEAD"] = methods["GET"]
        app = super().server(default_not_found, base_url)
        for methods in readable:
            del methods["HEAD"]  # not worth a word where the routes are listed
        self.versions = versions
        app.req_options.auto_parse_qs_csv = False  # a comma in image_url separates nothing
        app.req_options.keep_blank_qs_values = True
        app.add_error_handler(RecognizerError, send_error)
        app.set_error_serializer(send_http_error)
        return Guard(app, observer=Observing(metrics))


def send_http_error(request, response, error):
    """Falcon's own refusals, in the form of our errors."""
    kind = MethodNotAllowed if error.status.startswith("405") else BadRequest
    message = f"{request.method} is not possible here" if kind is MethodNotAllowed else error.title or "bad request"
    if error.description:
        message += f": {error.description}"
    request.env["recognizer.error"] = kind.code
    response.content_type = "application/json"
    response.data = json.dumps({"error": {"code": kind.code, "message": message}}).encode()


api.http.__class__ = Http
api.http.output_format = output
for middleware in (Headers(), Access(), Requests()):
    api.http.add_middleware(middleware)
server.install(
    api, settings, on_start=load_or_end, on_stop=stop, max_body=settings.max_body_bytes, check_host=gate.check_host,
    reads_body=gate.reads_body, counted_as=gate.counted_as,
)  # fmt: skip
if server.hug_is_serving():
    logs.configure(settings.log, settings.log_level)
    threading.Thread(target=start_early, name="start", daemon=True).start()
route = hug.route.API(__name__)
NOT_READY = "not_ready"
ROUTE = {"on_invalid": invalid, "parse_body": False}


@hug.not_found(output=output)
def not_found(request, response):
    error = UnknownRoute(f"there is no {request.path}; GET / lists what there is")
    response.status = falcon.HTTP_404
    request.env["recognizer.error"] = error.code
    return {"error": replies.error(error)}


def photos(request, field: str, url: str | None) -> list[bytes]:
    """All photos that a request brings for `field`, uploaded or behind `url`."""
    found = list(request.context.body.photos.get(field, ()))
    if len(found) + bool(url) > settings.max_photos:
        raise InvalidParameter(f"expected at most {settings.max_photos} photos, got {len(found) + bool(url)}")
    if url:
        found.append(service().fetch(url))
    return found


def photo(request, field: str, url: str | None) -> bytes:
    """The one photo that a request brings for `field`."""
    found = len(request.context.body.photos.get(field, ())) + bool(url)
    if not found:
        ways = "image_url, a multipart file, the photo as the body, or JSON with image_url or image_base64"
        raise NoImage(f"expected a photo: {ways}" if field == "file" else f"expected a photo in {field}")
    if found > 1:
        raise NoImage(f"expected one photo, got {found}")
    return photos(request, field, url)[0]


def wants_jpeg(request, format: str | None) -> bool:
    """Whether to answer with the annotated photo: asked for by `format`, or else by the Accept header."""
    if format:
        return format == "jpeg"
    accept = request.get_header("Accept") or ""
    return ("image/jpeg" in accept or accept.strip() == "image/*") and "json" not in accept


def described_routes() -> list[openapi.Route]:
    """Every route with its parameters, in hug's order, without hug's words."""
    found = []
    for routes in api.http.routes.values():
        for path, methods in routes.items():
            for method, versions in methods.items():
                interface = versions[None].interface
                summary = " ".join((interface.spec.__doc__ or "").split())
                parameters = [
                    openapi.Parameter(
                        name, schema_of(kind), name in interface.required and f"{{{name}}}" not in path,
                        interface.defaults.get(name),
                    )
                    for name, kind in interface.spec.__annotations__.items()
                ]  # fmt: skip
                role = auth.ROUTES.get((method, path), auth.ADMIN)
                needed = None if role == auth.ANYONE else role
                found.append(openapi.Route(method, path, interface.spec.__name__, summary, parameters, needed))
    return found


def schema_of(kind) -> dict:
    """The JSON schema of one of the types that parameters are declared with."""
    if isinstance(kind, hug.types.InRange):
        return {"type": "integer", "minimum": kind.lower, "maximum": kind.upper - 1}
    if isinstance(kind, hug.types.OneOf):
        return {"type": "string", "enum": sorted(kind.values)}
    if kind is ids:
        return {"type": "array", "items": {"type": "string"}}
    if kind is switch:
        return {"type": ["boolean", "integer"], "enum": [True, False, 1, 0]}
    known = [(number, "integer"), (fraction, "number"), (text, "string")]
    return {"type": next(name for each, name in known if kind is each)}


# -- routes ----------------------------------------------------------------------------------------------------------


@route.get("/", **ROUTE)
def start_page(request, response):
    """The page for people, for browsers; else what this API offers, as Hug describes it."""
    if wants_page(request.get_header("Accept") or ""):
        return send_file(response, pages.page("index.html", asked(request)))
    response.set_header("Vary", "Accept")
    return documentation(request)


@route.get("/docs", **ROUTE)
def reference(request, response):
    """The API reference for people: Swagger UI with the document of /openapi.json."""
    return send_file(response, pages.page("docs.html", asked(request)))


@route.get("/docs/hug", **ROUTE)
def documentation(request):
    """What this API offers, as Hug describes it."""
    return api.http.documentation(prefix=request.prefix)


@route.get("/web/{version}/{asset}", **ROUTE)
def page_asset(request, response, version: text, asset: text):
    """A script, a style or a picture of the page."""
    return send_file(response, pages.asset(version, asset, asked(request)))


def asked(request) -> dict[str, str | None]:
    """The headers that decide how a file is sent."""
    return {name: request.get_header(name) for name in ("Accept-Encoding", "If-None-Match")}


def send_file(response, found: Reply):
    """Answer with a file of the page."""
    response.status = getattr(falcon, f"HTTP_{found.status}")
    for name, value in found.headers.items():
        response.set_header(name, value)
    return found.body


@route.get("/recognize", examples="image_url=https://example.org/photo.jpg", **ROUTE)
@route.post("/recognize", **ROUTE)
def recognize(
    request,
    response,
    image_url: text = None,
    top_k: top_k_type = 0,
    min_face: number = None,
    landmarks: landmarks_type = None,
    threshold: fraction = None,
    format: format_type = None,
):
    """Every face of a photo with the name of who it is, or null. `format=jpeg` returns the photo with names drawn."""
    seen = service().recognition.recognize(
        photo(request, "file", image_url),
        top_k=top_k,
        min_face=min_face,
        landmarks=int(landmarks or 5),
        threshold=threshold,
    )
    return answer(request, response, seen, format, candidates=top_k > 0, landmarks=landmarks is not None)


@route.post("/detect", **ROUTE)
def detect(
    request,
    response,
    image_url: text = None,
    min_face: number = None,
    landmarks: landmarks_type = "5",
    format: format_type = None,
):
    """Every face of a photo: box, score and landmarks."""
    seen = service().recognition.detect(photo(request, "file", image_url), min_face=min_face, landmarks=int(landmarks))
    return answer(request, response, seen, format, landmarks=True)


@route.get("/objects", examples="image_url=https://example.org/photo.jpg", **ROUTE)
@route.post("/objects", **ROUTE)
def objects(
    request,
    response,
    image_url: text = None,
    threshold: fraction = None,
    labels: text = None,
    format: format_type = None,
):
    """The objects of a photo, of 80 kinds: label, score and box. `format=jpeg` returns the photo with them drawn."""
    wanted = None if labels is None else [label.strip() for label in labels.split(",") if label.strip()]
    seen = service().recognition.objects(photo(request, "file", image_url), threshold=threshold, labels=wanted)
    return answer(request, response, seen, format, replies.objects)


@route.get("/objects/labels", **ROUTE)
def object_labels():
    """The kinds of objects that are found."""
    return {"labels": list(LABELS.values())}


def answer(request, response, seen, format, shape=replies.seen, **shown):
    """A photo that was looked at, as JSON or as an annotated JPEG."""
    if wants_jpeg(request, format):
        response.content_type = "image/jpeg"
        return service().recognition.annotated(seen)
    return shape(seen, **shown)


@route.post("/verify", **ROUTE)
def verify(
    request,
    image_url: text = None,
    other_url: text = None,
    subject: text = None,
    threshold: fraction = None,
):
    """Whether two photos show the same person, or a photo shows an enrolled subject. Of each photo the largest face."""
    uploaded = request.context.body.photos
    if len(uploaded.get("file", ())) == 2 and not uploaded.get("other"):
        uploaded["other"] = [uploaded["file"].pop()]
    other = None
    if other_url or uploaded.get("other"):
        other = photo(request, "other", other_url)
    first = photo(request, "file", image_url)
    return replies.verification(service().recognition.verify(first, other, subject, threshold))


def enrolled(request, response, subject, given, face, force, as_one=False):
    """Enrol photos, and answer what became of each; `as_one`: what they are all refused for is the answer's error."""
    shown, errors = [], []
    for each in given:
        try:
            shown.append(replies.enrolled(service().subjects.enrol(subject, each, face=face, force=force)))
        except (ImageError, FaceError, Conflict, Busy, StorageError) as error:
            errors.append(error)  # of many photos, those before it are enrolled: the answer has to say so
            shown.append({"status": "refused", "error": replies.error(error)})
    if len(errors) == len(given):
        if len(given) == 1 or (as_one and len({type(error) for error in errors}) == 1):
            raise errors[0]
        if isinstance(errors[0], (Busy, StorageError)):
            raise errors[0]
        response.status = falcon.HTTP_422
        request.env["recognizer.error"] = "no_usable_photo"
        message = f"none of the {len(given)} photos could be used"
        return {"error": {"code": "no_usable_photo", "message": message, "photos": shown}}
    added = sum(each["status"] == "added" for each in shown)
    response.status = falcon.HTTP_201 if added else falcon.HTTP_200
    return {"subject": service().subjects.person(subject).name, "added": added, "refused": len(errors), "photos": shown}


@route.post("/enroll", **ROUTE)
def enroll(
    request,
    response,
    subject: text,
    image_url: text = None,
    face: face_type = "only",
    force: switch = False,
):
    """Add photos of a subject; what is answered as added is on the disk. 409 if it looks like somebody else."""
    given = photos(request, "file", image_url)
    if not given:
        photo(request, "file", None)
    return enrolled(request, response, subject, given, face, force)


@route.get("/people", **ROUTE)
def people(
    offset: hug.types.in_range(0, 1_000_000_000) = 0,
    limit: hug.types.in_range(1, 10_001) = 1000,
    search: text = None,
):
    """Everybody enrolled, by name, with counts and thumbnails, and every file that is not used with its reason."""
    found, total = service().subjects.page(offset, limit, search or "")
    return {
        "people": [replies.person(person, photos=False) for person in found],
        "total": total,
        "problems": [replies.problem(problem) for problem in service().subjects.problems()],
    }


@route.get("/people/{person}", **ROUTE)
def person(person: text):
    """One subject and every photo of theirs."""
    return replies.person(service().subjects.person(person), photos=True)


@route.patch("/people/{person}", **ROUTE)
def change_person(person: text, name: text = None, merge: switch = False, consent: text = None, expires: text = None):
    """Rename a subject, `merge` joining them with somebody who has that name; note their consent, and when it expires."""
    if name is None and consent is None and expires is None:
        raise InvalidParameter("expected name, consent or expires")
    if consent is not None or expires is not None:
        Consent().changed(consent, expires)  # before anything is changed
    if name is not None:
        person = service().subjects.rename(person, name, merge=merge).name
    if consent is not None or expires is not None:
        service().subjects.set_consent(person, consent, expires)
    return replies.person(service().subjects.person(person), photos=True)


@route.delete("/people/{person}", **ROUTE)
def delete_person(person: text):
    """Erase a subject: photos, templates, cache, thumbnails and events; `left` is what a check found afterwards."""
    return service().subjects.delete(person)


@route.get("/people/{person}/photos/{photo_id}", **ROUTE)
def person_photo(response, person: text, photo_id: text, thumbnail: switch = False):
    """A photo as it was received, or a small JPEG of its face."""
    data = service().subjects.thumbnail(person, photo_id) if thumbnail else service().subjects.photo(person, photo_id)
    kind = sniff(data)
    response.content_type = f"image/{kind}" if kind else "application/octet-stream"
    return data


@route.get("/people/{person}/photos/{photo_id}/quality", **ROUTE)
def person_photo_quality(person: text, photo_id: text):
    """How good the picture of the face is; null where the face is not found any more."""
    return replies.photo_quality(service().subjects.quality(person, photo_id))


@route.delete("/people/{person}/photos/{photo_id}", **ROUTE)
def delete_photo(person: text, photo_id: text):
    """Erase one photo of a subject."""
    return service().subjects.delete_photo(person, photo_id)


@route.get("/unsorted/{unsorted}", **ROUTE)
def unsorted_photo(response, unsorted: text):
    """A picture that lies in known_faces itself and is nobody's, as it is; `problems` of the people lists them."""
    data = service().subjects.unsorted(unsorted)
    response.content_type = f"image/{sniff(data)}"
    return data


@route.delete("/unsorted/{unsorted}", **ROUTE)
def delete_unsorted(unsorted: text):
    """Erase a file that lies in known_faces itself."""
    return service().subjects.delete_unsorted(unsorted)


@route.get("/session", **ROUTE)
def session(request):
    """Who asks: the role, and for a session when it ends and the token that its page has to show."""
    visit = gate.admit(request.env)
    shown = {"role": visit.role, "key": visit.key and {"id": visit.key.id, "name": visit.key.name}}
    if visit.session:
        found = gate.sessions.find(visit.session)
        shown |= {"expires": found and found[1], "csrf_token": csrf_token(visit.session)}
    return shown


@route.post("/session", **ROUTE)
def begin_session(request, response, key: text = None):
    """Exchange a key for a session: a cookie for the pages of this server. The key stands in a header or in the body."""
    if "key" in falcon.uri.parse_query_string(request.query_string):
        raise InvalidParameter("key: expected in the body or a header; what stands in a URL is written down in many places")
    visit = gate.admit(request.env)
    try:
        token, used, expires = gate.log_in(visit, key)
    except RecognizerError as error:
        refusals.note(visit.actor, error)
        raise
    with audit.acting(f"key:{used.id}"):
        access_log.append("sign_in", role=used.role)
    response.append_header("Set-Cookie", auth.set_cookie(visit, token, expires - time.time()))
    response.status = falcon.HTTP_201
    return {
        "role": used.role, "key": {"id": used.id, "name": used.name}, "expires": expires, "csrf_token": csrf_token(token),
    }  # fmt: skip


@route.delete("/session", **ROUTE)
def end_session(request, response):
    """End the session."""
    visit = gate.admit(request.env)
    if visit.session:
        gate.sessions.end(visit.session)
        access_log.append("sign_out")
    response.append_header("Set-Cookie", auth.set_cookie(visit, None))
    return {"ended": visit.session is not None}


# -- settings and keys -----------------------------------------------------------------------------------------------


@route.get("/settings", **ROUTE)
def settings_now():
    """Every setting, its value (of a secret only whether there is one), where it comes from, and whether it can be changed."""
    return {"settings": service().tuning.all()}


@route.patch("/settings", **ROUTE)
def change_settings(stranger_rate: fraction):
    """Change what may be changed while running: the stranger rate. It counts at once, and after a restart."""
    return service().tuning.change("stranger_rate", stranger_rate)


@route.get("/calibration", **ROUTE)
def calibration():
    """What each stranger rate means on this gallery's own distances, and who of the enrolled are closest to each other."""
    return replies.calibration(service().calibration())


@route.get("/keys", **ROUTE)
def list_keys():
    """Every key that was ever made, without what could be used. `setting` says whether the settings give one as well."""
    return {"keys": [replies.key(key, time.time()) for key in keys.all()], "setting": settings.admin_key is not None}


@route.post("/keys", **ROUTE)
def add_key(response, name: text, role: role_type = "read", days: fraction = 365.0):
    """Make a key; the answer is the only place where it ever stands. With the first one, the server begins to ask for keys."""
    if not 0 <= days <= MOST_KEY_DAYS:
        raise InvalidParameter(f"days: expected 0 to {MOST_KEY_DAYS}, got {days}")
    made, shown = keys.add(name, role, time.time() + days * 86400 if days else None)
    access_log.append("key_add", key=made.id, role=made.role)
    response.status = falcon.HTTP_201
    return {**replies.key(made, time.time()), "key": shown}


@route.delete("/keys/{key_id}", **ROUTE)
def revoke_key(key_id: text):
    """End a key, and every session that was begun with it."""
    revoked = keys.revoke(key_id)
    access_log.append("key_revoke", key=revoked.id)
    return replies.key(revoked, time.time())


# -- live video ------------------------------------------------------------------------------------------------------


@route.get("/cameras", **ROUTE)
def cameras():
    """Every camera and how it is."""
    return {"cameras": [replies.camera(entry) for entry in service().video.cameras.all()]}


@route.post("/cameras", **ROUTE)
def add_camera(response, source: text, name: text = None, always: switch = False):
    """Add a camera: a webcam's number, the URL of a stream, a file that the settings allow, or test: for a pattern."""
    entry = service().video.cameras.add(source, name, always)
    service().audit.append("camera_add", camera=entry.id)
    response.status = falcon.HTTP_201
    return replies.camera(entry)


@route.get("/cameras/{camera}", **ROUTE)
def camera(camera: text):
    """One camera and how it is."""
    return replies.camera(service().video.cameras.get(camera))


@route.patch("/cameras/{camera}", **ROUTE)
def change_camera(camera: text, name: text = None, source: text = None, always: switch = None):
    """Change a camera's name, its source, or whether it always runs."""
    if name is None and source is None and always is None:
        raise InvalidParameter("expected name, source or always")
    entry = service().video.cameras.change(camera, name=name, source=source, always=always)
    service().audit.append("camera_change", camera=entry.id)
    return replies.camera(entry)


@route.delete("/cameras/{camera}", **ROUTE)
def remove_camera(camera: text):
    """Remove a camera from the list."""
    removed = service().video.cameras.remove(camera).id
    service().audit.append("camera_remove", camera=removed)
    return {"deleted": removed}


@route.get("/stream", examples="width=640&fps=10&overlay=faces,clock", **ROUTE)
def stream(
    request, response, width: number = None, fps: fraction = None, quality: number = None, overlay: text = None
):
    """Live video of the camera that the setting names, with faces named: MJPEG, for a browser's `<img src>`."""
    return live_stream(request, response, DEFAULT_CAMERA, width, fps, quality, overlay)


@route.get("/cameras/{camera}/stream", **ROUTE)
def camera_stream(
    request,
    response,
    camera: text,
    width: number = None,
    fps: fraction = None,
    quality: number = None,
    overlay: text = None,
):
    """Live video of a camera, with faces named: MJPEG."""
    return live_stream(request, response, camera, width, fps, quality, overlay)


def over(request):
    """A callable that says when a reply without end has to end: its reader left, the server stops, or the key is revoked."""
    left, allowed = request.env.get("recognizer.over", lambda: False), request.env[auth.STILL_ALLOWED]
    return lambda: left() or not allowed()


def live_stream(request, response, camera, width, fps, quality, overlay):
    viewer = service().video.live.watch(view_key(camera, width, fps, quality, overlay), over(request))
    response.content_type = mjpeg.CONTENT_TYPE
    return viewer


@route.get("/cameras/{camera}/snapshot.jpg", **ROUTE)
def camera_snapshot(
    response, camera: text, width: number = None, quality: number = None, overlay: text = None, raw: switch = False
):
    """One picture of a camera, now: with faces named, or `raw` as the camera gave it."""
    if raw and overlay is not None:
        raise InvalidParameter("overlay: expected none beside raw, which draws nothing")
    taken = service().video.live.snapshot(view_key(camera, width, None, quality, "none" if raw else overlay))
    response.content_type = "image/jpeg"
    response.set_header("X-Timestamp", f"{taken.time:.6f}")
    return taken.jpeg


# -- events ------------------------------------------------------------------------------------------------------------


@route.get("/events", examples="format=json&kind=appeared,unknown", **ROUTE)
def events(
    request,
    response,
    after: event_id_type = None,
    before: event_id_type = None,
    limit: hug.types.in_range(1, 1001) = None,
    camera: text = None,
    subject: text = None,
    kind: text = None,
    format: events_format_type = None,
):
    """Who appeared and left at the cameras: as it happens (Server-Sent Events), or past events with `format=json`."""
    wanted = sse.selection(camera, subject, kind)
    held = service().events.hub
    if wants_events_json(request, format):
        found = held.page(after=after, before=before, limit=limit or 100, wanted=wanted)
        return {"events": found, "first": held.log.first, "last": held.log.newest()}
    for name, value in (("before", before), ("limit", limit)):
        if value is not None:
            raise InvalidParameter(f"{name}: only with format=json")
    response.content_type = "text/event-stream; charset=utf-8"
    reached = sse.last_event_id(request.get_header("Last-Event-ID"), after)
    return sse.Reader(held, reached, wanted, over(request))


def wants_events_json(request, format: str | None) -> bool:
    """Whether to answer with a page of events: asked for by `format`, or else by the Accept header."""
    accept = request.get_header("Accept") or ""
    return format == "json" if format else "json" in accept and "event-stream" not in accept


@route.get("/events/{event}", **ROUTE)
def event(event: event_id_type):
    """One event."""
    return service().events.get(event)


@route.get("/events/{event}/thumbnail.jpg", **ROUTE)
def event_thumbnail(response, event: event_id_type):
    """The face that an event is about: a small JPEG."""
    data = service().events.hub.thumbnail(event)
    response.content_type = "image/jpeg"
    return data


# -- who did what ------------------------------------------------------------------------------------------------------


@route.get("/audit", examples="action=delete,export&limit=20", **ROUTE)
def audit_lines(
    after: event_id_type = None,
    before: event_id_type = None,
    limit: hug.types.in_range(1, 1001) = 100,
    actor: text = None,
    action: text = None,
    subject: text = None,
):
    """The audit log: who did what to whom and when; the newest lines, or those that follow `after`."""
    return service().audit_page(after=after, before=before, limit=limit, actor=actor, action=action, subject=subject)


@route.get("/backup", **ROUTE)
def backup(request, response):
    """Everything that is kept, in one ZIP file; `python -m recognizer restore` puts it in place."""
    response.content_type = "application/zip"
    if request.method == "HEAD":
        return b""
    file = service().backup()
    response.content_length = file.seek(0, os.SEEK_END)
    file.seek(0)
    stamp = time.strftime("%Y-%m-%dT%H%MZ", time.gmtime())
    response.set_header("Content-Disposition", f'attachment; filename="recognizer-{stamp}.zip"')
    return Sent(file)


class Sent:
    """A file that is sent as it is read: hug would read all of one with a name for a range."""

    def __init__(self, file):
        self.read, self.close = file.read, file.close


# -- strangers ---------------------------------------------------------------------------------------------------------


def shown_strangers(found):
    return [replies.stranger(each, like) for each, like in zip(found, service().strangers.resembles(found), strict=True)]


def shown_stranger(found):
    return shown_strangers([found])[0]


@route.get("/strangers", **ROUTE)
def strangers(
    offset: hug.types.in_range(0, 1_000_000_000) = 0,
    limit: hug.types.in_range(1, 1001) = 100,
):
    """People whom cameras, or photos of requests, showed and nobody enrolled; whoever was seen last comes first."""
    found = service().strangers.all()
    return {
        "on": settings.strangers != "off",
        "setting": "RECOGNIZER_STRANGERS",
        "total": len(found),
        "strangers": shown_strangers(found[offset : offset + limit]),
    }


@route.get("/strangers/{stranger}", **ROUTE)
def stranger(stranger: text):
    """One stranger."""
    return shown_stranger(service().strangers.people.get(stranger))


@route.get("/strangers/{stranger}/pictures/{picture}", **ROUTE)
def stranger_picture(response, stranger: text, picture: text):
    """A picture of a stranger."""
    data = service().strangers.people.picture(stranger, picture)
    response.content_type = "image/jpeg"
    return data


@route.post("/strangers/{stranger}/name", **ROUTE)
def name_stranger(request, response, stranger: text, subject: text, force: switch = False):
    """Say who a stranger is: their best pictures enrol that person, who may be enrolled already, and they leave the inbox."""
    answer = enrolled(request, response, subject, service().strangers.pictures(stranger), "largest", force, as_one=True)
    if "error" not in answer:
        service().strangers.people.remove(stranger)
    return answer


@route.post("/strangers/{stranger}/join", **ROUTE)
def join_strangers(stranger: text, other: text):
    """Two strangers are one person; grouping does not part them again."""
    joined = service().strangers.people.join(stranger, other)
    service().audit.append("stranger_join", stranger=stranger, other=other)
    return shown_stranger(joined)


@route.post("/strangers/{stranger}/split", **ROUTE)
def split_stranger(response, stranger: text, pictures: ids):
    """Some pictures of a stranger show somebody else, who is answered; grouping does not join the two again."""
    new = service().strangers.people.split(stranger, pictures)
    service().audit.append("stranger_split", stranger=stranger, other=new.id)
    response.status = falcon.HTTP_201
    return shown_stranger(new)


@route.delete("/strangers/{stranger}", **ROUTE)
def dismiss_stranger(stranger: text, never: switch = False):
    """Forget a stranger. `never` keeps the templates, without pictures, so that they are not asked about again."""
    service().strangers.people.dismiss(stranger, never)
    service().audit.append("stranger_dismiss", stranger=stranger, never=never)
    return {"dismissed": stranger, "never": never}


@route.get("/health", **ROUTE)
def health(request):
    """Whether the server is alive and ready; to whoever may read also with which engine and how many people."""
    shown = service().health()
    if gate.admit(request.env).role == auth.ANYONE:
        return {"live": shown["live"], "ready": shown["ready"]}
    return shown


@route.get("/health/live", **ROUTE)
def live():
    """Whether the process answers. Asks nothing of the service: when this fails, only a restart helps."""
    return {"live": True}


@route.get("/health/ready", **ROUTE)
def ready(request, response):
    """Whether requests should be sent here; 503 with the reasons while it starts, ends, or cannot read its folder."""
    reasons = unready()
    if not reasons:
        return {"ready": True}
    request.env["recognizer.error"] = NOT_READY
    response.status = falcon.HTTP_503
    response.set_header("Retry-After", "1")
    return {"error": {"code": NOT_READY, "message": "; ".join(reasons), "reasons": reasons}}


@route.get("/metrics", **ROUTE)
def metrics_text(response):
    """What is counted and measured, in Prometheus' text format."""
    response.content_type = METRICS_TYPE
    return metrics.text()


@route.get("/openapi.json", **ROUTE)
def openapi_document():
    """This API as an OpenAPI 3.1 document."""
    return openapi.document(described_routes(), status_of, __version__, locked=keys.required())
