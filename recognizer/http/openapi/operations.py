"""The replies, errors and parameter descriptions of each route: the part of the document that no signature contains."""

from __future__ import annotations

from dataclasses import dataclass, field

from recognizer.core.errors import (
    ActionFailed,
    ActionOff,
    AddressRefused,
    ArchiveGroupNotFound,
    AttributesOff,
    BinItemNotFound,
    BinOff,
    BodyTooLarge,
    Busy,
    CameraElsewhere,
    CameraFixed,
    CameraNotFound,
    CameraUnavailable,
    EventNotFound,
    EventsOff,
    FaceError,
    FetchError,
    FolderInArchive,
    FolderNotFound,
    GroupFixed,
    GroupNotFound,
    GroupTaken,
    ImageError,
    InUse,
    InvalidGroup,
    InvalidName,
    InvalidSource,
    InvalidUrl,
    JobNotFound,
    KeyMissing,
    KeyNotFound,
    LooksLikeAnother,
    ModelError,
    NameTaken,
    NoFace,
    NoImage,
    NothingToUndo,
    PhotoNotFound,
    PictureNotFound,
    ReceiverNotFound,
    RecognizerError,
    RuleNotFound,
    SealBroken,
    SettingFixed,
    SightingsOff,
    StorageError,
    StrangerNotFound,
    StrangersOff,
    SubjectNotFound,
    SubscriptionNotFound,
    TooManyCameras,
    TooManyJobs,
    TooManyRules,
    TooManySubscriptions,
    UnknownRoute,
)
from recognizer.http.openapi.schemas import PHOTO_ID, PICTURE_ID

JSON, JPEG, MJPEG, ZIP = "application/json", "image/jpeg", "multipart/x-mixed-replace", "application/zip"
#: Replies that are pictures as they were received.
PICTURES = (
    JPEG,
    "image/png",
    "image/webp",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/heic",
    "image/avif",
    "application/octet-stream",
)

#: What a page is made of.
ASSETS = ("text/javascript", "text/css", "image/svg+xml", "image/png", "application/manifest+json")

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
_CAMERA: Errors = (InvalidSource, AddressRefused, NameTaken, GroupNotFound, TooManyCameras, StorageError, BodyTooLarge)

#: What everything about one stranger may be refused with.
_STRANGER: Errors = (StrangerNotFound, StrangersOff, StorageError)

#: What adding or changing a rule may be refused with.
_RULE: Errors = (InvalidUrl, SubjectNotFound, GroupNotFound, CameraNotFound, EventsOff, ActionOff, StorageError)

#: What a decision about a group of the archive may be refused with.
_ARCHIVE_GROUP: Errors = (ArchiveGroupNotFound, StorageError, BodyTooLarge)

OPERATIONS: dict[str, Operation] = {
    "GET /": Operation("Server", {200: {JSON: "Description", "text/html": "Page"}}),
    "GET /docs": Operation("Server", {200: {"text/html": "Page"}}),
    "GET /docs/hug": Operation("Server", _json("Description")),
    "GET /web/{version}/{asset}": Operation("Server", {200: dict.fromkeys(ASSETS, "Page")}, (UnknownRoute, ModelError)),
    "GET /session": Operation("Access", _json("Session")),
    "POST /session": Operation("Access", _json("BegunSession", 201), (BodyTooLarge,), bodiless=True),
    "DELETE /session": Operation("Access", _json("EndedSession")),
    "GET /recognize": Operation(*_RECOGNIZE, (*_LOOK, AttributesOff, GroupNotFound), needed=("image_url",)),
    "POST /recognize": Operation(*_RECOGNIZE, (*_LOOK, AttributesOff, GroupNotFound), photos=("file",)),
    "POST /detect": Operation("Photos", {200: {JSON: "Detected", JPEG: "Photo"}}, (*_LOOK, AttributesOff), photos=("file",)),
    "POST /verify": Operation(
        "Photos", _json("Verified"), (*_LOOK, NoFace, SubjectNotFound, GroupNotFound), photos=("file", "other")
    ),
    "POST /enroll": Operation(
        "People",
        {200: {JSON: "Enrolled"}, 201: {JSON: "Enrolled"}},
        (*_LOOK, InvalidName, FaceError, NameTaken, LooksLikeAnother, GroupNotFound, StorageError),
        codes={422: ("no_usable_photo",)},
        photos=("file",),
        several=True,
    ),
    "POST /jobs": Operation(
        "Jobs",
        _json("Job", 202),
        (InvalidUrl, InvalidName, GroupNotFound, AttributesOff, TooManyJobs, BodyTooLarge, StorageError, Busy),
        photos=("file",),
        several=True,
    ),
    "POST /dropped": Operation("People", _json("Notified", 202), (ActionOff, BodyTooLarge)),
    "GET /jobs": Operation("Jobs", _json("Jobs"), (StorageError, Busy)),
    "GET /jobs/{job}": Operation("Jobs", _json("Job"), (JobNotFound, StorageError, Busy)),
    "GET /jobs/{job}/result": Operation(
        "Jobs", {200: {JSON: "JobResult", "application/x-ndjson": "JobLines"}}, (JobNotFound, StorageError, Busy)
    ),
    "DELETE /jobs/{job}": Operation("Jobs", _json("DeletedJob"), (JobNotFound, StorageError, Busy)),
    "GET /people": Operation("People", _json("People"), (GroupNotFound,)),
    "GET /people/{person}": Operation("People", _json("Person"), (SubjectNotFound, GroupNotFound)),
    "PATCH /people/{person}": Operation(
        "People",
        _json("Person"),
        (SubjectNotFound, PhotoNotFound, GroupNotFound, InvalidName, NameTaken, StorageError, BodyTooLarge),
    ),
    "DELETE /people/{person}": Operation(
        "People", _json("DeletedPerson"), (SubjectNotFound, GroupNotFound, BinOff, StorageError)
    ),
    "GET /people/{person}/photos/{photo_id}": Operation(
        "People",
        {200: dict.fromkeys(PICTURES, "Photo")},
        (SubjectNotFound, GroupNotFound, PhotoNotFound, ImageError, Busy, SealBroken, KeyMissing),
    ),
    "GET /people/{person}/photos/{photo_id}/quality": Operation(
        "People", _json("PhotoQuality"), (SubjectNotFound, GroupNotFound, PhotoNotFound, ImageError, Busy)
    ),
    "DELETE /people/{person}/photos/{photo_id}": Operation(
        "People", _json("DeletedPhoto"), (SubjectNotFound, GroupNotFound, PhotoNotFound, BinOff, StorageError)
    ),
    "POST /people/{person}/photos/{photo_id}/move": Operation(
        "People",
        _json("MovedPhoto"),
        (SubjectNotFound, GroupNotFound, PhotoNotFound, InvalidName, NameTaken, StorageError, BodyTooLarge),
    ),
    "GET /bin": Operation("People", _json("Bin"), (GroupNotFound, StorageError)),
    "GET /bin/{item}/thumbnail.jpg": Operation(
        "People", {200: {JPEG: "Photo"}}, (BinItemNotFound, PhotoNotFound, GroupNotFound)
    ),
    "POST /bin/{item}/restore": Operation(
        "People", _json("Person"), (BinItemNotFound, BinOff, GroupNotFound, NameTaken, StorageError), bodiless=True
    ),
    "DELETE /bin/{item}": Operation("People", _json("DeletedFile"), (BinItemNotFound, GroupNotFound, StorageError)),
    "GET /unsorted/{unsorted}": Operation(
        "People", {200: dict.fromkeys(PICTURES, "Photo")}, (PhotoNotFound, GroupNotFound, ImageError, SealBroken, KeyMissing)
    ),
    "DELETE /unsorted/{unsorted}": Operation("People", _json("DeletedFile"), (PhotoNotFound, GroupNotFound, StorageError)),
    "GET /groups": Operation("Groups", _json("Groups"), (StorageError,)),
    "POST /groups": Operation("Groups", _json("Group", 201), (InvalidGroup, GroupTaken, StorageError, BodyTooLarge)),
    "GET /groups/{group}": Operation("Groups", _json("Group"), (GroupNotFound, StorageError)),
    "DELETE /groups/{group}": Operation("Groups", _json("DeletedGroup"), (GroupNotFound, GroupFixed, StorageError)),
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
    "DELETE /cameras/{camera}": Operation("Cameras", _json("DeletedCamera"), (CameraNotFound, CameraFixed, StorageError)),
    "GET /cameras/{camera}/settings": Operation("Cameras", _json("CameraSettings"), (CameraNotFound, StorageError)),
    "PUT /cameras/{camera}/settings": Operation(
        "Cameras", _json("CameraSettings"), (CameraNotFound, StorageError, BodyTooLarge), bodiless=True
    ),
    "GET /wall": Operation(
        "Cameras", {200: {"multipart/mixed": "Stream"}}, (CameraNotFound, CameraElsewhere, AttributesOff, Busy)
    ),
    "GET /stream": Operation("Cameras", {200: {MJPEG: "Stream"}}, (CameraNotFound, CameraElsewhere, AttributesOff, Busy)),
    "GET /cameras/{camera}/stream": Operation(
        "Cameras", {200: {MJPEG: "Stream"}}, (CameraNotFound, CameraElsewhere, AttributesOff, Busy)
    ),
    "GET /cameras/{camera}/snapshot.jpg": Operation(
        "Cameras", {200: {JPEG: "Photo"}}, (CameraNotFound, AttributesOff, CameraUnavailable, CameraElsewhere, Busy)
    ),
    "GET /events": Operation(
        "Events", {200: {JSON: "Events", "text/event-stream": "Stream", "text/csv": "Table"}}, (EventsOff, StorageError, Busy)
    ),
    "GET /events/{event}": Operation("Events", _json("Event"), (EventNotFound, EventsOff, StorageError)),
    "GET /events/{event}/thumbnail.jpg": Operation("Events", {200: {JPEG: "Photo"}}, (EventNotFound, EventsOff, StorageError)),
    "GET /events/{event}/scene.jpg": Operation("Events", {200: {JPEG: "Photo"}}, (EventNotFound, EventsOff, StorageError)),
    "GET /audit": Operation("Access", _json("AuditLines")),
    "GET /backup": Operation("Server", {200: {ZIP: "Backup"}}, (Busy,)),
    "GET /strangers": Operation("Strangers", _json("Strangers"), (StorageError,)),
    "GET /strangers/{stranger}": Operation("Strangers", _json("Stranger"), _STRANGER),
    "GET /strangers/{stranger}/pictures/{picture}": Operation(
        "Strangers", {200: {JPEG: "Photo"}}, (*_STRANGER, PictureNotFound)
    ),
    "POST /strangers/{stranger}/name": Operation(
        "Strangers",
        {200: {JSON: "Enrolled"}, 201: {JSON: "Enrolled"}},
        (*_STRANGER, PictureNotFound, InvalidName, FaceError, NameTaken, LooksLikeAnother, Busy, BodyTooLarge),
        codes={422: ("no_usable_photo",)},
    ),
    "POST /strangers/{stranger}/join": Operation("Strangers", _json("Stranger"), (*_STRANGER, BodyTooLarge)),
    "POST /strangers/{stranger}/split": Operation(
        "Strangers", _json("Stranger", 201), (*_STRANGER, PictureNotFound, BodyTooLarge)
    ),
    "DELETE /strangers/{stranger}": Operation("Strangers", _json("DismissedStranger"), _STRANGER),
    "GET /rules": Operation("Rules", _json("Rules"), (StorageError, KeyMissing)),
    "POST /rules": Operation("Rules", _json("Rule", 201), (*_RULE, TooManyRules, BodyTooLarge)),
    "PATCH /rules/{rule}": Operation("Rules", _json("Rule"), (*_RULE, RuleNotFound, BodyTooLarge)),
    "DELETE /rules/{rule}": Operation("Rules", _json("DeletedRule"), (RuleNotFound, StorageError)),
    "GET /push": Operation("Rules", _json("Push"), (StorageError, KeyMissing)),
    "POST /push/subscriptions": Operation(
        "Rules",
        _json("PushSubscription", 201),
        (TooManySubscriptions, StorageError, KeyMissing, BodyTooLarge),
    ),
    "DELETE /push/subscriptions/{subscription}": Operation(
        "Rules", _json("DeletedPushSubscription"), (SubscriptionNotFound, StorageError, KeyMissing)
    ),
    "POST /push/subscriptions/{subscription}/test": Operation(
        "Rules",
        _json("TestedPushSubscription"),
        (SubscriptionNotFound, ActionFailed, StorageError, KeyMissing, BodyTooLarge),
        bodiless=True,
    ),
    "POST /rules/{rule}/test": Operation(
        "Rules",
        _json("TestedRule"),
        (RuleNotFound, ActionOff, ActionFailed, InvalidUrl, StorageError, BodyTooLarge),
        bodiless=True,
    ),
    "GET /receivers": Operation("Receivers", _json("Receivers"), (StorageError, KeyMissing)),
    "PATCH /receivers": Operation(
        "Receivers",
        _json("Receivers"),
        (SettingFixed, InvalidUrl, AddressRefused, StorageError, KeyMissing, BodyTooLarge),
    ),
    "POST /receivers/{receiver}/test": Operation(
        "Receivers",
        _json("TestedReceiver"),
        (ReceiverNotFound, ActionOff, ActionFailed, StorageError, BodyTooLarge),
        bodiless=True,
    ),
    "POST /events/search": Operation(
        "Events",
        _json("FoundVisits"),
        (*_LOOK, FaceError, SubjectNotFound, StrangerNotFound, StrangersOff, SightingsOff, StorageError),
        photos=("file",),
    ),
    "GET /visits/{visit}/picture.jpg": Operation("Events", {200: {JPEG: "Photo"}}, (EventNotFound, SightingsOff, StorageError)),
    "PATCH /visits/{visit}": Operation(
        "Events",
        _json("Visit"),
        (EventNotFound, SightingsOff, InvalidName, ImageError, FaceError, NameTaken, LooksLikeAnother, Busy, StorageError)
        + (BodyTooLarge,),
    ),
    "GET /presence": Operation("Events", {200: {JSON: "Presence", "text/csv": "Table"}}, (EventsOff, StorageError)),
    "GET /archive": Operation("Archive", _json("Archive"), (StorageError,)),
    "GET /archive/problems": Operation("Archive", _json("ArchiveProblems"), (StorageError,)),
    "POST /archive/folders": Operation(
        "Archive", _json("ArchiveFolder", 201), (FolderInArchive, SettingFixed, InUse, StorageError, BodyTooLarge)
    ),
    "DELETE /archive/folders/{folder_id}": Operation(
        "Archive", _json("RemovedArchiveFolder"), (FolderNotFound, InUse, StorageError)
    ),
    "POST /archive/update": Operation(
        "Archive", _json("StartedArchiveUpdate", 202), (InUse, StorageError, BodyTooLarge), bodiless=True
    ),
    "POST /archive/search": Operation(
        "Archive",
        _json("ArchiveFound"),
        (
            *_LOOK,
            FaceError,
            SubjectNotFound,
            ArchiveGroupNotFound,
            StrangerNotFound,
            StrangersOff,
            FolderNotFound,
            StorageError,
        ),
        photos=("file",),
    ),
    "GET /archive/photos/{photo_id}": Operation("Archive", {200: {JPEG: "Photo"}}, (PhotoNotFound, ImageError, StorageError)),
    "GET /archive/photos/{photo_id}/faces/{face}/thumbnail.jpg": Operation(
        "Archive", {200: {JPEG: "Photo"}}, (PictureNotFound, PhotoNotFound, ImageError, StorageError)
    ),
    "PATCH /archive/photos/{photo_id}/faces/{face}": Operation(
        "Archive", _json("ChangedArchiveFace"), (PictureNotFound, StorageError, BodyTooLarge)
    ),
    "GET /archive/people": Operation("Archive", _json("ArchivePeople"), (StorageError,)),
    "GET /archive/people/{group_id}": Operation("Archive", _json("ArchivePerson"), (ArchiveGroupNotFound, StorageError)),
    "PATCH /archive/people/{group_id}": Operation("Archive", _json("ArchivePerson"), (*_ARCHIVE_GROUP, InvalidName)),
    "POST /archive/people/{group_id}/accept": Operation("Archive", _json("ArchivePerson"), _ARCHIVE_GROUP, bodiless=True),
    "POST /archive/people/{group_id}/refuse": Operation("Archive", _json("ArchivePerson"), _ARCHIVE_GROUP, bodiless=True),
    "POST /archive/people/{group_id}/join": Operation("Archive", _json("ArchivePerson"), _ARCHIVE_GROUP),
    "POST /archive/people/{group_id}/apart": Operation("Archive", _json("ArchivePerson"), _ARCHIVE_GROUP),
    "POST /archive/people/{group_id}/enroll": Operation(
        "Archive",
        {200: {JSON: "Enrolled"}, 201: {JSON: "Enrolled"}},
        (*_ARCHIVE_GROUP, PhotoNotFound, ImageError, FaceError, InvalidName, NameTaken, LooksLikeAnother, Busy),
        codes={422: ("no_usable_photo",)},
    ),
    "POST /archive/move": Operation("Archive", _json("ArchivePerson"), (*_ARCHIVE_GROUP, PictureNotFound)),
    "POST /archive/undo": Operation(
        "Archive", _json("UndoneArchiveDecision"), (NothingToUndo, StorageError, BodyTooLarge), bodiless=True
    ),
    "GET /health": Operation("Server", _json("Health")),
    "GET /health/live": Operation("Server", _json("Live")),
    "GET /health/ready": Operation("Server", _json("Ready"), codes={503: ("not_ready",)}),
    "GET /metrics": Operation("Server", {200: {"text/plain": "Metrics"}}),
    "GET /openapi.json": Operation("Server", _json("Document")),
}

#: The example of RFC 8291.
_ENDPOINT = "https://push.example.net/push/JzLQ3raZJfFBR0aqvOMsLrt54w4rJUsV"
_P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"

#: Parameter, or ``METHOD /path parameter`` where a parameter has another meaning there: description and example.
PARAMETERS: dict[str, tuple[str, object]] = {
    "image_url": ("The photo's http or https URL.", "https://example.org/photo.jpg"),
    "other_url": ("The second photo's http or https URL.", "https://example.org/other.jpg"),
    "top_k": ("Number of candidates that are listed for each face.", 3),
    "min_face": ("Minimum width and height of a face in pixels; smaller faces are omitted.", 40),
    "landmarks": ("Number of landmarks of each face. The weights for 68 points are not licensed for commercial use.", 5),
    "attributes": (
        "What to estimate for each face, separated by commas: age, gender, expression. RECOGNIZER_ATTRIBUTES must name them.",
        "age,gender",
    ),
    "threshold": ("Maximum distance of a match, from 0 to 4.", 1.2),
    "format": ("jpeg returns the annotated photo, as does Accept: image/jpeg.", "json"),
    "subject": ("Name of the person.", "Joe Biden"),
    "face": (
        "For photos of several people: only refuses them, largest enrols the largest face, left,top,right,bottom the face in "
        "this box, in pixels of the upright photo.",
        "largest",
    ),
    "force": ("Enrol the photo even if the face resembles another enrolled person or is not comparable.", False),
    "offset": ("Number of people to skip.", 0),
    "limit": ("Maximum number of items in the list.", 100),
    "search": ("Only names that contain this text, ignoring case.", "biden"),
    "version": ("The version of the page that names the file.", "3f9c0a417be2"),
    "asset": ("The file's name.", "app.js"),
    "person": ("Name of the person.", "Joe Biden"),
    "name": ("The new name.", "Joseph Biden"),
    "group": ("Name of the group; by default known_faces.", "default"),
    "POST /groups name": ("The group's name.", "Night shift"),
    "merge": ("Merge the two people if somebody already has the new name.", False),
    "labels": ("Only objects with one of these labels, separated by commas.", "person,dog"),
    "GET /objects threshold": ("Minimum score of an object, from 0 to 1.", 0.5),
    "POST /objects threshold": ("Minimum score of an object, from 0 to 1.", 0.5),
    "camera": ("The camera's id.", "default"),
    "width": ("Maximum width in pixels; by default the camera's own width.", 640),
    "fps": ("Maximum number of frames per second.", 10),
    "quality": ("JPEG quality on libjpeg's scale.", 80),
    "overlay": ("The layers to draw, separated by commas, or none.", "faces,clock"),
    "consent": ("What the person agreed to, or where that is recorded; none removes the note.", "signed on paper, 2026-11-01"),
    "expires": ("End of the consent: the last day (UTC) or a time; none removes it.", "2027-12-31"),
    "GET /audit after": ("Only lines with a higher number.", 16),
    "GET /audit before": ("Only lines with a lower number.", 100),
    "GET /audit subject": (
        "Only lines about this person: a name, or the id of somebody erased.",
        "Joe Biden",
    ),
    "actor": ("Only actions of this actor.", "key:7c3mz4qp"),
    "action": ("Only these actions, separated by commas.", "delete,export"),
    "raw": ("The frame as the camera delivered it, without annotations.", False),
    "event": ("The event's id.", 17),
    "after": ("Only events with a higher id.", 16),
    "before": ("Only events with a lower id; for format=json.", 100),
    "kind": ("Only events of these kinds, separated by commas.", "appeared,left"),
    "zone": ("Only events in the zone with this name, of any camera.", "porch"),
    "GET /events limit": ("Maximum number of events; for format=json.", 100),
    "GET /events camera": ("Only events of the camera with this id.", "door"),
    "GET /events subject": ("Only events of this person.", "Joe Biden"),
    "GET /events format": (
        "json returns a page of past events, csv past events as a table, sse streams events as they happen.",
        "json",
    ),
    "GET /events since": ("Only events then or later: a day, or a time in ISO 8601; not for a stream.", "2026-11-20"),
    "GET /events until": ("Only events then or before: a day, which is included, or a time.", "2026-11-30"),
    "source": (
        "Source of the frames: a webcam's number, an rtsp, rtmp, http or https URL, a file that the settings allow, or "
        "test: for a test pattern.",
        "test:",
    ),
    "POST /cameras name": ("The camera's name.", "Door"),
    "PATCH /cameras/{camera} name": ("The camera's new name.", "Door"),
    "zones": (
        "Areas that give events: corners in fractions of the picture, and names for the events.",
        [{"name": "Entrance", "points": [[0.1, 0.2], [0.6, 0.2], [0.6, 0.9], [0.1, 0.9]]}],
    ),
    "masks": ("Areas that are blackened.", [{"points": [[0.0, 0.0], [0.2, 0.0], [0.2, 0.3]]}]),
    "POST /rules zones": ("CAMERA/ZONE, separated by commas: of these cameras only these zones count.", ["door/porch"]),
    "PATCH /rules/{rule} zones": ("CAMERA/ZONE, separated by commas; all for the whole picture.", ["door/porch"]),
    "schedule": (
        "Hours in which the camera gives events, on the server's clock.",
        [{"days": ["sat", "sun"], "from": "20:00", "to": "06:00"}],
    ),
    "events": ("Whether the camera gives events about people.", True),
    "PUT /cameras/{camera}/settings min_face": ("Least width and height of a face in pixels of the picture.", 40),
    "unknown_quality": ("Least quality, from 0 to 1, of the best picture of an unknown person.", 0.2),
    "cameras": ("Ids of the cameras, separated by commas.", ["default", "door"]),
    "key": ("The key, if no header contains it. It must not be in the URL.", "rk_7c3mz4qp_" + 43 * "x"),
    "stranger_rate": ("Probability that somebody who is not enrolled gets a name, from 0.000001 to 0.5.", 0.01),
    "sightings_days": ("Days after which visits at cameras are deleted.", 14),
    "strangers_days": ("Days after the last sighting until a stranger is deleted.", 30),
    "bin_days": ("Days for which deletions on the page can be undone; 0 makes them final at once.", 7),
    "POST /keys name": ("A name for the key, such as its purpose.", "front door"),
    "role": ("The role of the key.", "read"),
    "days": ("Days until the key expires; 0 for never.", 365),
    "key_id": ("The key's id, as in the list of keys.", "7c3mz4qp"),
    "always": ("Whether the camera also runs while nobody watches it.", False),
    "GET /strangers offset": ("Number of strangers to skip.", 0),
    "GET /strangers since": ("Only strangers first seen then or later: a day, or a time in ISO 8601.", "2026-11-20"),
    "stranger": ("The stranger's id.", "3f9a0c1b72"),
    "picture": ("The picture's id.", PICTURE_ID),
    "pictures": ("Ids of the pictures that show somebody else, as a list or separated by commas.", [PICTURE_ID]),
    "other": ("Id of the stranger who is merged into this one.", "a81c5d09e4"),
    "never": ("Never report this person again: the templates are stored, the pictures are erased.", True),
    "tag": ("Only people with this tag, ignoring case.", "night shift"),
    "tags": ("Tags, separated by commas; none removes all.", "night shift,front desk"),
    "cover": ("Id of the photo that stands for the person; none for the first usable one.", PHOTO_ID),
    "sort": ("name, photos (most first), seen (last seen first) or expires (next expiry first).", "name"),
    "bin": ("Put it into the bin instead, from which it can be restored for some days.", False),
    "item": ("The deletion's id, as in the list of the bin.", "3f9a0c1b72d4e5f6"),
    "to": ("Name of the person who gets the photo.", "Joe Biden"),
    "taken": ("When a photo was taken that does not say so itself: a day, or a time in ISO 8601.", "2026-11-01T12:30:00Z"),
    "photo_id": ("The photo's id, as in the list of a person's photos.", PHOTO_ID),
    "unsorted": ("Name of the file, as in `problems` of the list of people.", "holiday.jpg"),
    "POST /events/search subject": ("Somebody who is enrolled, or has visits with this name.", "Joe Biden"),
    "POST /events/search stranger": ("A stranger's id.", "3f9a0c1b72"),
    "POST /events/search since": ("Only visits that lasted until then or longer: a day or a time in ISO 8601.", "2026-11-01"),
    "POST /events/search until": ("Only visits that began before: a day, which is included, or a time.", "2026-11-30"),
    "POST /events/search camera": ("Only visits at this camera.", "door"),
    "POST /events/search offset": ("Number of visits to skip.", 0),
    "visit": ("The visit's id.", 12),
    "PATCH /visits/{visit} subject": ("Whose visit it was.", "Joe Biden"),
    "unknown": ("It was nobody who is known.", True),
    "unnamed": ("Take the group's name away.", True),
    "enroll": ("Whether the picture also enrols the person.", False),
    "GET /presence since": ("The first day.", "2026-11-01"),
    "GET /presence until": ("The last day.", "2026-11-30"),
    "GET /presence subject": ("Only this person.", "Joe Biden"),
    "GET /presence format": ("csv returns a table, as does Accept: text/csv.", "json"),
    "folder": ("The folder's path.", "/photos"),
    "POST /archive/search folder": ("Only photos in this folder of the archive, or below it.", "photos/2024"),
    "folder_id": ("The folder's id.", 1),
    "POST /archive/search subject": ("Somebody who is enrolled, or has a name in the archive.", "Joe Biden"),
    "POST /archive/search stranger": ("A stranger's id.", "3f9a0c1b72"),
    "GET /archive/people subject": ("Only groups with this name.", "Joe Biden"),
    "PATCH /archive/people/{group_id} subject": ("The name.", "Joe Biden"),
    "GET /archive/people offset": ("Number of groups to skip.", 0),
    "group_id": ("The id of a group of faces in the archive.", 17),
    "POST /archive/move group_id": ("Id of the group that the faces belong to; by default a new one.", 17),
    "POST /archive/people/{group_id}/apart other_group_id": ("Id of the group that shows somebody else.", 23),
    "other_group_id": ("Id of the group that is merged into this one.", 23),
    "box": ("Which face of the photo: left,top,right,bottom in its pixels; by default the largest face.", "787,48,936,254"),
    "since": ("Only photos taken on this day or later: a day, a month, a year, or a time, on the camera's clock.", "2024-07"),
    "until": ("Only photos taken on this day or earlier.", "2024-07-31"),
    "max_distance": ("Largest distance; by default such that one face of somebody else is expected at most.", 1.1),
    "cursor": ("The cursor of the page before.", "MC42MiAzYzE3Lzc"),
    "PATCH /archive/photos/{photo_id}/faces/{face} face": ("The face's number on the photo.", 0),
    "GET /archive/photos/{photo_id}/faces/{face}/thumbnail.jpg face": ("The face's number on the photo.", 0),
    "time_s": ("Of a video: seconds from its beginning; by default where its first face is.", 12.5),
    "no_face": ("Whether the box shows no face.", True),
    "named": ("Only groups with a name, or only those without.", True),
    "suggested": ("Only groups for which a name is suggested, or only those without.", True),
    "hidden": ("Whether the group is hidden from lists; in a list, whether the hidden ones are shown instead.", False),
    "faces": ("Ids of faces, as photo/number, as a list or separated by commas.", [f"{PHOTO_ID}/0"]),
    "operation": ("What is done with each photo.", "recognize"),
    "image_urls": (
        "URLs of photos: a list of URLs, or of objects with url, and perhaps subject and an id of your own; as text, separated "
        "by spaces.",
        ["https://example.org/1.jpg", {"url": "https://example.org/2.jpg", "id": "2"}],
    ),
    "prefix": ("URL of a folder or of a part of a bucket that RECOGNIZER_JOBS_FROM allows.", "s3://photos/2026"),
    "POST /jobs subject": (
        "Whom photos enrol that have no subject of their own. Below a prefix, each photo's folder names the person otherwise.",
        "Joe Biden",
    ),
    "GET /jobs offset": ("Number of jobs to skip.", 0),
    "notification": (
        "The notification as the bucket sends it: that of S3 or MinIO, of SNS, or of EventBridge.",
        {
            "Records": [
                {
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "faces"}, "object": {"key": "photos/people/Joe+Biden/1.jpg"}},
                }
            ]
        },
    ),
    "job": ("The job's id.", "j0123456789abcdef"),
    "GET /jobs/{job}/result after": ("Only photos with a higher number.", 99),
    "GET /jobs/{job}/result format": ("ndjson returns everything, a line for each photo, as does Accept.", "json"),
    "rule": ("The rule's id.", "3f9a0c1b72"),
    "start": ("From which time of day on, HH:MM; none removes start and end, if end is none too.", "22:00"),
    "end": ("Until which time of day. It may be on the next day.", "06:00"),
    "timezone": ("The time zone of days and times, by its IANA name; none for that of the server.", "Europe/Berlin"),
    "sure": ("How sure a name must be: likely, or sure (a False-match rate of at most 1 in 100,000).", "likely"),
    "apart_minutes": ("Least time between two messages about the same person, in minutes.", 5),
    "most_per_hour": ("How many messages at most in an hour.", 60),
    "late_minutes": ("Age in minutes at which a message is dropped that could not be sent.", 60),
    "url": (
        "Where a notification goes, as Apprise writes it, or the URL of a webhook. No reply shows it again.",
        "https://example.org/hook",
    ),
    "message": (
        "Text of a notification, with the places {who}, {camera}, {zone} and {time}; none for the default.",
        "{who} is at {camera}",
    ),
    "subscription": ("The browser's id, as in the list of subscriptions.", "3f9a0c1b72"),
    "endpoint": ("PushSubscription.endpoint: where the browser's push service takes messages. No reply shows it.", _ENDPOINT),
    "p256dh": ("The browser's public key, PushSubscription.getKey('p256dh'), as base64url.", _P256DH),
    "auth": ("The browser's secret, PushSubscription.getKey('auth'), as base64url.", "BTBZMqHH6r4Tts7J_aSIgg"),
    "label": ("What the browser is called in the list.", "Firefox, Android"),
    "POST /push/subscriptions strangers": (
        "What a notification about new strangers says, in the language of the browser; without it there is none.",
        "Somebody new was seen.",
    ),
    "POST /push/subscriptions/{subscription}/test message": ("The text.", "Notifications work."),
    "POST /rules language": ("Language of the default message.", "en"),
    "PATCH /rules/{rule} language": ("Language of the default message.", "en"),
    "topic": ("Topic of an MQTT message.", "home/light/set"),
    "payload": ("The MQTT message.", "ON"),
    "retain": ("Whether the broker retains the message.", False),
    "off_payload": ("What is published off_seconds later; none for nothing.", "OFF"),
    "off_seconds": ("After how many seconds off_payload is published; 0 for never.", 30),
    "enabled": ("Whether the rule is followed.", True),
    "receiver": ("Id of a webhook, or mqtt.", "mqtt"),
    "PATCH /receivers webhooks": (
        "URLs that events are posted to, all of them, or ids of webhooks that stay.",
        ["https://example.org/hook"],
    ),
    "PATCH /receivers webhook_secret": ("Secret that signs webhooks; none for no signature.", "whsec_bXktc2VjcmV0"),
    "PATCH /receivers webhook_events": ("Kinds of events that webhooks get; all for every kind.", ["appeared", "left"]),
    "PATCH /receivers mqtt_url": ("URL of the MQTT broker; none for no broker.", "mqtt://user@192.168.1.2:1883"),
    "PATCH /receivers mqtt_password": ("Password of the broker; none for none.", "secret"),
    "PATCH /receivers mqtt_prefix": ("First levels of all MQTT topics.", "recognizer"),
    "PATCH /receivers mqtt_discovery": ("Home Assistant's discovery prefix; none for no discovery.", "homeassistant"),
    "PATCH /receivers mqtt_double_take": ("Whether Double Take's topics are published as well.", False),
    "POST /rules kind": ("What happens: somebody comes, or leaves.", "comes"),
    "PATCH /rules/{rule} kind": ("What happens: somebody comes, or leaves.", "comes"),
    "POST /rules who": (
        "Whom the rule is about: some people, a group, anybody with a name, somebody unknown, or anybody.",
        "people",
    ),
    "PATCH /rules/{rule} who": (
        "Whom the rule is about: some people, a group, anybody with a name, somebody unknown, or anybody.",
        "people",
    ),
    "POST /rules people": ("Names of the people, as a list or separated by commas; for who=people.", ["Joe Biden"]),
    "PATCH /rules/{rule} people": ("Names of the people, as a list or separated by commas; for who=people.", ["Joe Biden"]),
    "POST /rules group": ("The group whose people are meant; for who=people and who=group.", "default"),
    "PATCH /rules/{rule} group": ("The group whose people are meant; for who=people and who=group.", "default"),
    "POST /rules cameras": ("Ids of the cameras, as a list or separated by commas; all stands for every camera.", ["door"]),
    "PATCH /rules/{rule} cameras": (
        "Ids of the cameras, as a list or separated by commas; all stands for every camera.",
        ["door"],
    ),
    "POST /rules days": (
        "Days, as a list or separated by commas: mon, tue, wed, thu, fri, sat, sun; all stands for every day.",
        ["mon", "tue"],
    ),
    "PATCH /rules/{rule} days": (
        "Days, as a list or separated by commas: mon, tue, wed, thu, fri, sat, sun; all stands for every day.",
        ["mon", "tue"],
    ),
    "POST /rules action": ("What happens then.", "webhook"),
    "PATCH /rules/{rule} action": ("What happens then.", "webhook"),
    "POST /rules picture": ("Whether a notification contains the picture of the face.", False),
    "PATCH /rules/{rule} picture": ("Whether a notification contains the picture of the face.", False),
    "thumbnail": ("Return a small JPEG of the face instead.", True),
}

#: Parameters for the URL of a photo: not allowed in the URL if the body contains a photo.
PHOTO_URLS = ("image_url", "other_url")
#: Fields that hold photos: the multipart part of that name, its JSON field in base64, and a sentence.
PHOTO_FIELDS = {
    "file": ("image_base64", "The photo; files, image and photo are accepted as names too."),
    "other": ("other_base64", "The second photo."),
}
EXAMPLE_PHOTO = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
