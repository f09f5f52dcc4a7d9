"""What each route answers and refuses, and what its parameters mean: the part of the document that no signature tells."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..errors import (
    AddressRefused,
    BodyTooLarge,
    Busy,
    CameraFixed,
    CameraNotFound,
    CameraUnavailable,
    EventNotFound,
    EventsOff,
    FaceError,
    FetchError,
    ImageError,
    InvalidName,
    InvalidSource,
    InvalidUrl,
    KeyMissing,
    KeyNotFound,
    LooksLikeAnother,
    ModelError,
    NameTaken,
    NoFace,
    NoImage,
    PhotoNotFound,
    PictureNotFound,
    RecognizerError,
    SealBroken,
    SettingFixed,
    StorageError,
    StrangerNotFound,
    StrangersOff,
    SubjectNotFound,
    TooManyCameras,
    UnknownRoute,
)
from .schemas import PHOTO_ID, PICTURE_ID

JSON, JPEG, MJPEG, ZIP = "application/json", "image/jpeg", "multipart/x-mixed-replace", "application/zip"
#: Replies that are pictures as they were received.
PICTURES = (
    JPEG, "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/heic", "image/avif",
    "application/octet-stream",
)  # fmt: skip

#: What a page is made of.
ASSETS = ("text/javascript", "text/css", "image/svg+xml")

Errors = tuple[type[RecognizerError], ...]

_FETCH: Errors = (InvalidUrl, FetchError)
_LOOK: Errors = (NoImage, ImageError, BodyTooLarge, Busy, ModelError, *_FETCH)


@dataclass(frozen=True)
class Operation:
    """One route and method.

    Attributes
    ----------
    tag : str
        The group that it is shown in.
    replies : dict
        Status -> media type -> name of a schema.
    errors : tuple of classes
        What it may be refused with, besides what everything may; subclasses are meant too.
    codes : dict
        Status -> codes of refusals that have no class.
    photos : tuple of str
        Fields of the body that hold photos: of ``file`` and ``other``.
    several : bool
        Whether many photos may come at once.
    needed : tuple of str
        Parameters that are required although the route's signature leaves them open.
    bodiless : bool
        Whether a request without a body does as well.
    """

    tag: str
    replies: dict[int, dict[str, str]]
    errors: Errors = ()
    codes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    photos: tuple[str, ...] = ()
    several: bool = False
    needed: tuple[str, ...] = ()
    bodiless: bool = False


def _json(name: str, status: int = 200) -> dict[int, dict[str, str]]:
    return {status: {JSON: name}}


_RECOGNIZE = ("Photos", {200: {JSON: "Recognized", JPEG: "Photo"}})

_OBJECTS = {200: {JSON: "Objects", JPEG: "Photo"}}
#: What adding or changing a camera may be refused with.
_CAMERA: Errors = (InvalidSource, AddressRefused, NameTaken, TooManyCameras, StorageError, BodyTooLarge)

#: What everything about one stranger may be refused with.
_STRANGER: Errors = (StrangerNotFound, StrangersOff, StorageError)

OPERATIONS: dict[str, Operation] = {
    "GET /": Operation("Server", {200: {JSON: "Description", "text/html": "Page"}}),
    "GET /docs": Operation("Server", {200: {"text/html": "Page"}}),
    "GET /docs/hug": Operation("Server", _json("Description")),
    "GET /web/{version}/{asset}": Operation("Server", {200: dict.fromkeys(ASSETS, "Page")}, (UnknownRoute, ModelError)),
    "GET /session": Operation("Access", _json("Session")),
    "POST /session": Operation("Access", _json("BegunSession", 201), (BodyTooLarge,), bodiless=True),
    "DELETE /session": Operation("Access", _json("EndedSession")),
    "GET /recognize": Operation(*_RECOGNIZE, _LOOK, needed=("image_url",)),
    "POST /recognize": Operation(*_RECOGNIZE, _LOOK, photos=("file",)),
    "POST /detect": Operation("Photos", {200: {JSON: "Detected", JPEG: "Photo"}}, _LOOK, photos=("file",)),
    "POST /verify": Operation("Photos", _json("Verified"), (*_LOOK, NoFace, SubjectNotFound), photos=("file", "other")),
    "POST /enroll": Operation(
        "People", {200: {JSON: "Enrolled"}, 201: {JSON: "Enrolled"}},
        (*_LOOK, InvalidName, FaceError, NameTaken, LooksLikeAnother, StorageError),
        codes={422: ("no_usable_photo",)}, photos=("file",), several=True,
    ),
    "GET /people": Operation("People", _json("People")),
    "GET /people/{person}": Operation("People", _json("Person"), (SubjectNotFound,)),
    "PATCH /people/{person}": Operation(
        "People", _json("Person"), (SubjectNotFound, InvalidName, NameTaken, StorageError, BodyTooLarge)
    ),
    "DELETE /people/{person}": Operation("People", _json("DeletedPerson"), (SubjectNotFound, StorageError)),
    "GET /people/{person}/photos/{photo_id}": Operation(
        "People", {200: dict.fromkeys(PICTURES, "Photo")},
        (SubjectNotFound, PhotoNotFound, ImageError, Busy, SealBroken, KeyMissing),
    ),
    "GET /people/{person}/photos/{photo_id}/quality": Operation(
        "People", _json("PhotoQuality"), (SubjectNotFound, PhotoNotFound, ImageError, Busy)
    ),
    "DELETE /people/{person}/photos/{photo_id}": Operation(
        "People", _json("DeletedPhoto"), (SubjectNotFound, PhotoNotFound, StorageError)
    ),
    "GET /unsorted/{unsorted}": Operation(
        "People", {200: dict.fromkeys(PICTURES, "Photo")}, (PhotoNotFound, ImageError, SealBroken, KeyMissing)
    ),
    "DELETE /unsorted/{unsorted}": Operation("People", _json("DeletedFile"), (PhotoNotFound, StorageError)),
    "GET /settings": Operation("Settings", _json("Settings")),
    "PATCH /settings": Operation("Settings", _json("Setting"), (SettingFixed, StorageError, BodyTooLarge)),
    "GET /calibration": Operation("Settings", _json("Calibration")),
    "GET /keys": Operation("Access", _json("Keys"), (StorageError,)),
    "POST /keys": Operation("Access", _json("MadeKey", 201), (StorageError, BodyTooLarge)),
    "DELETE /keys/{key_id}": Operation("Access", _json("Key"), (KeyNotFound, StorageError)),
    "GET /objects": Operation("Photos", _OBJECTS, _LOOK, needed=("image_url",)),
    "POST /objects": Operation("Photos", _OBJECTS, _LOOK, photos=("file",)),
    "GET /objects/labels": Operation("Photos", _json("ObjectLabels")),
    "GET /cameras": Operation("Cameras", _json("Cameras"), (StorageError,)),
    "POST /cameras": Operation("Cameras", _json("Camera", 201), _CAMERA),
    "GET /cameras/{camera}": Operation("Cameras", _json("Camera"), (CameraNotFound, StorageError)),
    "PATCH /cameras/{camera}": Operation("Cameras", _json("Camera"), (*_CAMERA, CameraNotFound, CameraFixed)),
    "DELETE /cameras/{camera}": Operation(
        "Cameras", _json("DeletedCamera"), (CameraNotFound, CameraFixed, StorageError)
    ),
    "GET /stream": Operation("Cameras", {200: {MJPEG: "Stream"}}, (CameraNotFound, Busy)),
    "GET /cameras/{camera}/stream": Operation("Cameras", {200: {MJPEG: "Stream"}}, (CameraNotFound, Busy)),
    "GET /cameras/{camera}/snapshot.jpg": Operation(
        "Cameras", {200: {JPEG: "Photo"}}, (CameraNotFound, CameraUnavailable, Busy)
    ),
    "GET /events": Operation(
        "Events", {200: {JSON: "Events", "text/event-stream": "Stream"}}, (EventsOff, StorageError, Busy)
    ),
    "GET /events/{event}": Operation("Events", _json("Event"), (EventNotFound, EventsOff, StorageError)),
    "GET /events/{event}/thumbnail.jpg": Operation(
        "Events", {200: {JPEG: "Photo"}}, (EventNotFound, EventsOff, StorageError)
    ),
    "GET /audit": Operation("Access", _json("AuditLines")),
    "GET /backup": Operation("Server", {200: {ZIP: "Backup"}}, (Busy,)),
    "GET /strangers": Operation("Strangers", _json("Strangers"), (StorageError,)),
    "GET /strangers/{stranger}": Operation("Strangers", _json("Stranger"), _STRANGER),
    "GET /strangers/{stranger}/pictures/{picture}": Operation(
        "Strangers", {200: {JPEG: "Photo"}}, (*_STRANGER, PictureNotFound)
    ),
    "POST /strangers/{stranger}/name": Operation(
        "Strangers", {200: {JSON: "Enrolled"}, 201: {JSON: "Enrolled"}},
        (*_STRANGER, PictureNotFound, InvalidName, FaceError, NameTaken, LooksLikeAnother, Busy, BodyTooLarge),
        codes={422: ("no_usable_photo",)},
    ),
    "POST /strangers/{stranger}/join": Operation("Strangers", _json("Stranger"), (*_STRANGER, BodyTooLarge)),
    "POST /strangers/{stranger}/split": Operation(
        "Strangers", _json("Stranger", 201), (*_STRANGER, PictureNotFound, BodyTooLarge)
    ),
    "DELETE /strangers/{stranger}": Operation("Strangers", _json("DismissedStranger"), _STRANGER),
    "GET /health": Operation("Server", _json("Health")),
    "GET /health/live": Operation("Server", _json("Live")),
    "GET /health/ready": Operation("Server", _json("Ready"), codes={503: ("not_ready",)}),
    "GET /metrics": Operation("Server", {200: {"text/plain": "Metrics"}}),
    "GET /openapi.json": Operation("Server", _json("Document")),
}  # fmt: skip

#: Parameter, or ``METHOD /path parameter`` where one route means something else by it: what it means, and an example.
PARAMETERS: dict[str, tuple[str, object]] = {
    "image_url": ("Where the photo is: an http or https URL.", "https://example.org/photo.jpg"),
    "other_url": ("Where the second photo is.", "https://example.org/other.jpg"),
    "top_k": ("How many candidates each face lists.", 3),
    "min_face": ("Faces whose box is narrower or lower than this many pixels are left out.", 40),
    "landmarks": ("How many points of each face are told. The 68 are not licensed for commercial use.", "5"),
    "threshold": ("Largest distance at which a face gets a name, from 0 to 4.", 1.2),
    "format": ("jpeg answers with the photo and what was found drawn on it; so does Accept: image/jpeg.", "json"),
    "subject": ("Name of the person.", "Joe Biden"),
    "face": ("What to do with photos of several people of similar size: refuse them, or take the largest face.", "largest"),
    "force": ("Enrol although the face looks like another person's.", False),
    "offset": ("How many people to pass over.", 0),
    "limit": ("How many to list at most.", 100),
    "search": ("A part of the names that are wanted; case does not matter.", "biden"),
    "version": ("The version of the page that names the file.", "3f9c0a417be2"),
    "asset": ("The file's name.", "app.js"),
    "person": ("Name of the person.", "Joe Biden"),
    "name": ("The new name.", "Joseph Biden"),
    "merge": ("Join them with somebody who has that name already.", False),
    "labels": ("Only objects with one of these labels, separated by commas.", "person,dog"),
    "GET /objects threshold": ("Least score of an object, from 0 to 1.", 0.5),
    "POST /objects threshold": ("Least score of an object, from 0 to 1.", 0.5),
    "camera": ("The camera's id.", "default"),
    "width": ("Pixels across, at most; the camera's own if it is not given.", 640),
    "fps": ("Pictures per second, at most.", 10),
    "quality": ("Quality of the JPEGs, as libjpeg counts it.", 80),
    "overlay": ("What is drawn, separated by commas, or none.", "faces,clock"),
    "consent": ("What they agreed to, or where that is written; none takes it away.", "signed on paper, 2026-11-01"),
    "expires": ("Until when: a date, which is the last day (UTC), or a time; none takes it away.", "2027-12-31"),
    "GET /audit after": ("Only lines with a higher number.", 16),
    "GET /audit before": ("Only lines with a lower number.", 100),
    "GET /audit subject": ("Only lines about this person; the id that stands for somebody erased will do.", "Joe Biden"),
    "actor": ("Only what they did.", "key:7c3mz4qp"),
    "action": ("Only this, or these, separated by commas.", "delete,export"),
    "raw": ("The picture as the camera gave it.", False),
    "event": ("The event's id.", 17),
    "after": ("Only events with a higher id.", 16),
    "before": ("Only events with a lower id; of a page.", 100),
    "kind": ("Only events of these kinds, separated by commas.", "appeared,left"),
    "GET /events limit": ("How many to list at most; of a page.", 100),
    "GET /events camera": ("Only events of the camera with this id.", "door"),
    "GET /events subject": ("Only events of this person.", "Joe Biden"),
    "GET /events format": ("json answers with a page of past events, sse with what happens from now on.", "json"),
    "source": (
        "Where its frames come from: a webcam's number, an rtsp, rtmp, http or https URL, a file that the settings allow, or "
        "test: for a pattern.",
        "test:",
    ),
    "POST /cameras name": ("What people call it.", "Door"),
    "PATCH /cameras/{camera} name": ("What people call it from now on.", "Door"),
    "key": ("The key, where no header shows it. It may not stand in the URL.", "rk_7c3mz4qp_" + 43 * "x"),
    "stranger_rate": ("Chance that somebody who is not enrolled gets any name, from 0.000001 to 0.5.", 0.01),
    "POST /keys name": ("What it is for.", "front door"),
    "role": ("What it may do.", "read"),
    "days": ("Days until it expires; 0 for never.", 365),
    "key_id": ("The key's id, which the list of keys tells.", "7c3mz4qp"),
    "always": ("Whether it runs also while nobody watches.", False),
    "GET /strangers offset": ("How many strangers to pass over.", 0),
    "stranger": ("The stranger's id.", "3f9a0c1b72"),
    "picture": ("The picture's id.", PICTURE_ID),
    "pictures": ("Ids of the pictures that show somebody else, as a list or separated by commas.", [PICTURE_ID]),
    "other": ("Id of the other stranger, who is joined.", "a81c5d09e4"),
    "never": ("Do not ask about them again: their templates are kept, and no pictures.", True),
    "photo_id": ("The photo's id, which the list of a person's photos tells.", PHOTO_ID),
    "unsorted": ("Name of the file, as the `problems` of the list of people have it.", "holiday.jpg"),
    "thumbnail": ("A small JPEG of the face instead.", True),
}

#: Parameters that say where a photo is: beside a photo in the body they have no place in the URL.
PHOTO_URLS = ("image_url", "other_url")
#: Fields that hold photos: the multipart part of that name, its JSON field in base64, and a sentence.
PHOTO_FIELDS = {
    "file": ("image_base64", "The photo; files, image and photo are taken as names too."),
    "other": ("other_base64", "The second photo."),
}
EXAMPLE_PHOTO = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
