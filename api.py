"""Recognizer: find and recognise faces, on your own machine.

Enrol people by putting photos into known_faces/<name>/ or by POST /enroll; ask who is on a photo with /recognize.
"""

import contextlib
import json
import sys
import threading

import falcon
import hug

from recognizer import bodies, replies, server
from recognizer.consent import Consent
from recognizer.errors import (
    AddressRefused,
    AuditBroken,
    BadRequest,
    BodyTooLarge,
    Busy,
    CameraUnavailable,
    Conflict,
    EngineMismatch,
    FaceError,
    FetchError,
    FetchFailed,
    FetchTimeout,
    FetchTooLarge,
    ImageError,
    ImageTooLarge,
    InvalidParameter,
    MethodNotAllowed,
    ModelError,
    NoImage,
    NotFound,
    RecognizerError,
    SealBroken,
    SettingsError,
    StorageError,
    UnknownRoute,
    UnsupportedImage,
)
from recognizer.images import sniff
from recognizer.objects import LABELS
from recognizer.progress import Progress
from recognizer.service import Service, make_service
from recognizer.settings import Settings
from recognizer.video import mjpeg, sse
from recognizer.video.cameras import DEFAULT as DEFAULT_CAMERA
from recognizer.video.mjpeg import view_key

#: Status of each error; a class that is not named has its nearest ancestor's.
STATUS = {
    BadRequest: 400,
    BodyTooLarge: 413,
    UnknownRoute: 404,
    MethodNotAllowed: 405,
    ImageError: 422,
    UnsupportedImage: 415,
    ImageTooLarge: 413,
    FaceError: 422,
    FetchError: 502,
    FetchFailed: 502,
    AddressRefused: 400,
    FetchTooLarge: 413,
    FetchTimeout: 504,
    NotFound: 404,
    Conflict: 409,
    CameraUnavailable: 503,
    Busy: 503,
    StorageError: 507,
    SealBroken: 500,
    AuditBroken: 500,
    ModelError: 503,
    EngineMismatch: 500,
    SettingsError: 500,
    RecognizerError: 500,
}


def cannot_start(error: RecognizerError):
    """End the process with one sentence that says why."""
    print(f"Recognizer cannot start: {error.message}", file=sys.stderr, flush=True)
    raise SystemExit(1) from None


try:
    settings = Settings.from_environment()
except SettingsError as error:
    cannot_start(error)
api = hug.API(__name__)
_service: Service | None = None
_service_lock = threading.Lock()


def service() -> Service:
    """The one service of this process, started when it is first asked for."""
    global _service
    with _service_lock:
        if _service is None:
            with Progress() as progress:
                made = make_service(settings, progress.download)
                made.start(progress.photos)
            made.deliver_events()
            made.start_cameras()
            _service = made
        return _service


@hug.startup()
def start(api):
    """Load everything before the first request."""
    try:
        service()
    except RecognizerError as error:
        cannot_start(error)


def start_early() -> None:
    """Start while the hug command still waits, as it does for a second before it serves; `start` tells of failures."""
    with contextlib.suppress(RecognizerError):
        service()


def stop() -> None:
    """End what `start` began."""
    global _service
    with _service_lock:
        if _service is not None:
            _service.close()
            _service = None


# -- how requests come in and answers go out -------------------------------------------------------------------------

number, fraction, switch, text = hug.types.number, hug.types.float_number, hug.types.smart_boolean, hug.types.text
top_k_type = hug.types.in_range(0, 101)
landmarks_type = hug.types.one_of(["5", "68"])
format_type = hug.types.one_of(["json", "jpeg"])
event_id_type = hug.types.in_range(0, 10**15)
events_format_type = hug.types.one_of(["sse", "json"])
face_type = hug.types.one_of(["only", "largest"])


def status_of(error: RecognizerError) -> int:
    """The HTTP status of an error: its class's, or its nearest ancestor's."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def send_error(request, response, error, params=None):
    """Answer with an error, whoever raised it."""
    response.status = getattr(falcon, f"HTTP_{status_of(error)}")
    response.content_type = "application/json"
    response.data = json.dumps({"error": replies.error(error)}).encode()
    if error.retry_after:
        response.set_header("Retry-After", str(max(1, round(error.retry_after))))


def output(content, request, response):
    """Bytes and streams as they are, with the type that the route set; everything else as JSON."""
    if isinstance(content, bytes) or hasattr(content, "read"):
        return content
    response.content_type = "application/json"
    return json.dumps(content, ensure_ascii=False).encode()


output.content_type = "application/json"


def invalid(errors):
    """Hug's complaints about parameters, in the form of our errors."""
    complaints = {name: str(message) for name, message in errors["errors"].items()}
    message = "; ".join(f"{name}: {complaint}" for name, complaint in complaints.items())
    return {"error": {"code": InvalidParameter.code, "message": message, "parameters": complaints}}


class Requests:
    """Reads every request's body, and refuses parameters that the route does not know: a typo must not pass."""

    def process_resource(self, request, response, resource, params):
        route = getattr(resource, f"on_{request.method.lower()}", None)
        if not hasattr(route, "all_parameters"):
            return
        body = bodies.read(request.env, settings.max_body_bytes)
        request.context.body = body
        known = set(route.all_parameters) - {"request", "response", *params}
        for name, value in body.fields.items():
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
            if isinstance(value, (list, dict)):
                raise InvalidParameter(f"{name}: expected one value, got several")
        for name in [name for name, value in request.params.items() if value is None or value == ""]:
            del request.params[name]

    def process_response(self, request, response, resource, request_succeeded):
        response.set_header("Cache-Control", "no-store")
        response.set_header("X-Content-Type-Options", "nosniff")


class Http(type(api.http)):
    """Hug's HTTP side with falcon set as this API needs it."""

    __slots__ = ()

    def server(self, default_not_found=True, base_url=None):
        # else hug adds every route as /v<anything>/ too
        versions, self.versions = self.versions, self.versions - {None}
        app = super().server(default_not_found, base_url)
        self.versions = versions
        app.req_options.auto_parse_qs_csv = False  # a comma in image_url separates nothing
        app.req_options.keep_blank_qs_values = True
        app.add_error_handler(RecognizerError, send_error)
        app.set_error_serializer(send_http_error)
        return app


def send_http_error(request, response, error):
    """Falcon's own refusals, in the form of our errors."""
    kind = MethodNotAllowed if error.status.startswith("405") else BadRequest
    message = f"{request.method} is not possible here" if kind is MethodNotAllowed else error.title or "bad request"
    if error.description:
        message += f": {error.description}"
    response.content_type = "application/json"
    response.data = json.dumps({"error": {"code": kind.code, "message": message}}).encode()


api.http.__class__ = Http
api.http.output_format = output
api.http.add_middleware(Requests())
server.install(api, settings, on_stop=stop, max_body=settings.max_body_bytes)
if server.hug_is_serving():
    threading.Thread(target=start_early, name="start", daemon=True).start()
route = hug.route.API(__name__)
ROUTE = {"on_invalid": invalid, "parse_body": False}


@hug.not_found(output=output)
def not_found(request, response):
    error = UnknownRoute(f"there is no {request.path}; GET / lists what there is")
    response.status = falcon.HTTP_404
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


# -- routes ----------------------------------------------------------------------------------------------------------


@route.get("/", **ROUTE)
def documentation(request):
    """What this API offers."""
    return api.http.documentation(prefix=request.prefix)


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
    seen = service().recognize(
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
    seen = service().detect(photo(request, "file", image_url), min_face=min_face, landmarks=int(landmarks))
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
    seen = service().objects(photo(request, "file", image_url), threshold=threshold, labels=wanted)
    return answer(request, response, seen, format, replies.objects)


@route.get("/objects/labels", **ROUTE)
def object_labels():
    """The kinds of objects that are found."""
    return {"labels": list(LABELS.values())}


def answer(request, response, seen, format, shape=replies.seen, **shown):
    """A photo that was looked at, as JSON or as an annotated JPEG."""
    if wants_jpeg(request, format):
        response.content_type = "image/jpeg"
        return service().annotated(seen)
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
    return replies.verification(service().verify(first, other, subject, threshold))


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
    shown, errors = [], []
    for each in given:
        try:
            shown.append(replies.enrolled(service().enrol(subject, each, face=face, force=force)))
        except (ImageError, FaceError, Conflict, Busy, StorageError) as error:
            errors.append(error)  # of many photos, those before it are enrolled: the answer has to say so
            shown.append({"status": "refused", "error": replies.error(error)})
    if len(errors) == len(given):
        if len(given) == 1:
            raise errors[0]
        if isinstance(errors[0], (Busy, StorageError)):
            raise errors[0]
        response.status = falcon.HTTP_422
        message = f"none of the {len(given)} photos could be used"
        return {"error": {"code": "no_usable_photo", "message": message, "photos": shown}}
    added = sum(each["status"] == "added" for each in shown)
    response.status = falcon.HTTP_201 if added else falcon.HTTP_200
    return {"subject": service().person(subject).name, "added": added, "refused": len(errors), "photos": shown}


@route.get("/people", **ROUTE)
def people(
    offset: hug.types.in_range(0, 1_000_000_000) = 0,
    limit: hug.types.in_range(1, 10_001) = 1000,
    search: text = None,
):
    """Everybody enrolled, by name, with counts and thumbnails, and every file that is not used with its reason."""
    found = service().people()
    if search:
        found = [person for person in found if search.casefold() in person.name.casefold()]
    return {
        "people": [replies.person(person, photos=False) for person in found[offset : offset + limit]],
        "total": len(found),
        "problems": [replies.problem(problem) for problem in service().problems()],
    }


@route.get("/people/{person}", **ROUTE)
def person(person: text):
    """One subject and every photo of theirs."""
    return replies.person(service().person(person), photos=True)


@route.patch("/people/{person}", **ROUTE)
def change_person(person: text, name: text = None, merge: switch = False, consent: text = None, expires: text = None):
    """Rename a subject, `merge` joining them with somebody who has that name; note their consent, and when it expires."""
    if name is None and consent is None and expires is None:
        raise InvalidParameter("expected name, consent or expires")
    if consent is not None or expires is not None:
        Consent().changed(consent, expires)  # before anything is changed
    if name is not None:
        person = service().rename(person, name, merge=merge).name
    if consent is not None or expires is not None:
        service().set_consent(person, consent, expires)
    return replies.person(service().person(person), photos=True)


@route.delete("/people/{person}", **ROUTE)
def delete_person(person: text):
    """Erase a subject: photos, templates, cache, thumbnails and events; `left` is what a check found afterwards."""
    return service().delete_person(person)


@route.get("/people/{person}/photos/{photo_id}", **ROUTE)
def person_photo(response, person: text, photo_id: text, thumbnail: switch = False):
    """A photo as it was received, or a small JPEG of its face."""
    data = service().photo_thumbnail(person, photo_id) if thumbnail else service().photo(person, photo_id)
    kind = sniff(data)
    response.content_type = f"image/{kind}" if kind else "application/octet-stream"
    return data


@route.delete("/people/{person}/photos/{photo_id}", **ROUTE)
def delete_photo(person: text, photo_id: text):
    """Erase one photo of a subject."""
    return service().delete_photo(person, photo_id)


# -- live video ------------------------------------------------------------------------------------------------------


@route.get("/cameras", **ROUTE)
def cameras():
    """Every camera and how it is."""
    return {"cameras": [replies.camera(entry) for entry in service().cameras.all()]}


@route.post("/cameras", **ROUTE)
def add_camera(response, source: text, name: text = None, always: switch = False):
    """Add a camera: a webcam's number, the URL of a stream, a file that the settings allow, or test: for a pattern."""
    entry = service().cameras.add(source, name, always)
    service().audit.append("camera_add", camera=entry.id)
    response.status = falcon.HTTP_201
    return replies.camera(entry)


@route.get("/cameras/{camera}", **ROUTE)
def camera(camera: text):
    """One camera and how it is."""
    return replies.camera(service().cameras.get(camera))


@route.patch("/cameras/{camera}", **ROUTE)
def change_camera(camera: text, name: text = None, source: text = None, always: switch = None):
    """Change a camera's name, its source, or whether it always runs."""
    if name is None and source is None and always is None:
        raise InvalidParameter("expected name, source or always")
    entry = service().cameras.change(camera, name=name, source=source, always=always)
    service().audit.append("camera_change", camera=entry.id)
    return replies.camera(entry)


@route.delete("/cameras/{camera}", **ROUTE)
def remove_camera(camera: text):
    """Remove a camera from the list."""
    removed = service().cameras.remove(camera).id
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


def live_stream(request, response, camera, width, fps, quality, overlay):
    viewer = service().live.watch(view_key(camera, width, fps, quality, overlay), request.env.get("recognizer.over"))
    response.content_type = mjpeg.CONTENT_TYPE
    return viewer


@route.get("/cameras/{camera}/snapshot.jpg", **ROUTE)
def camera_snapshot(
    response, camera: text, width: number = None, quality: number = None, overlay: text = None, raw: switch = False
):
    """One picture of a camera, now: with faces named, or `raw` as the camera gave it."""
    if raw and overlay is not None:
        raise InvalidParameter("overlay: expected none beside raw, which draws nothing")
    taken = service().live.snapshot(view_key(camera, width, None, quality, "none" if raw else overlay))
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
    held = service().events
    if wants_events_json(request, format):
        found = held.page(after=after, before=before, limit=limit or 100, wanted=wanted)
        return {"events": found, "first": held.log.first, "last": held.log.newest()}
    for name, value in (("before", before), ("limit", limit)):
        if value is not None:
            raise InvalidParameter(f"{name}: only with format=json")
    response.content_type = "text/event-stream; charset=utf-8"
    reached = sse.last_event_id(request.get_header("Last-Event-ID"), after)
    return sse.Reader(held, reached, wanted, request.env.get("recognizer.over"))


def wants_events_json(request, format: str | None) -> bool:
    """Whether to answer with a page of events: asked for by `format`, or else by the Accept header."""
    accept = request.get_header("Accept") or ""
    return format == "json" if format else "json" in accept and "event-stream" not in accept


@route.get("/events/{event}", **ROUTE)
def event(event: event_id_type):
    """One event."""
    return service().event(event)


@route.get("/events/{event}/thumbnail.jpg", **ROUTE)
def event_thumbnail(response, event: event_id_type):
    """The face that an event is about: a small JPEG."""
    data = service().events.thumbnail(event)
    response.content_type = "image/jpeg"
    return data


# -- who did what ------------------------------------------------------------------------------------------------------


@route.get("/audit", examples="action=delete,export&limit=20", **ROUTE)
def audit(
    after: event_id_type = None,
    before: event_id_type = None,
    limit: hug.types.in_range(1, 1001) = 100,
    actor: text = None,
    action: text = None,
    subject: text = None,
):
    """The audit log: who did what to whom and when; the newest lines, or those that follow `after`."""
    return service().audit_page(after=after, before=before, limit=limit, actor=actor, action=action, subject=subject)


@route.get("/health", **ROUTE)
def health(response):
    """Whether the server is alive and ready, with which engine and how many people."""
    return service().health()
