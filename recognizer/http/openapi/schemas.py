"""The shapes of replies as JSON schemas, with examples: what `replies` and the routes make, written once for whoever reads it.

Objects are closed: a field that a reply has and its schema has not is an error, which the tests look for.
"""

from __future__ import annotations

from recognizer.core.catalogues import LANGUAGES
from recognizer.photos.remarks import SENTENCES

PICTURE_ID = "8c1d2e3f4a5b6c7d8e9fa0b1c2d3e4f5"
PHOTO_ID = "3c17ad7c5f0e4b6f9d1e2a8b7c6d5e4f"

INTEGER, NUMBER, TEXT, BOOLEAN = {"type": "integer"}, {"type": "number"}, {"type": "string"}, {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
POINT = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}


def ref(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: dict) -> dict:
    return {"type": "array", "items": items}


def optional(schema: dict) -> dict:
    """The same, or null."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return {**schema, "type": [kind, "null"]}
    return {"oneOf": [schema, {"type": "null"}]}


def about(schema: dict, description: str) -> dict:
    return {**schema, "description": description}


def closed(properties: dict, *, may: tuple[str, ...] = (), example=None, description: str = "") -> dict:
    """An object of exactly these properties, all required but those that `may` be there."""
    schema: dict = {"type": "object", "properties": properties, "additionalProperties": False}
    schema["required"] = [name for name in properties if name not in may]
    if description:
        schema["description"] = description
    if example is not None:
        schema["examples"] = [example]
    return schema


_BOX = {"left": 787, "top": 48, "right": 936, "bottom": 254}
_GROUP = {"name": "Night shift", "default": False, "people": 12, "templates": 38, "problems": 0}
_QUALITY = {
    "sharpness": 0.14,
    "contrast": 52.1,
    "brightness": 131.0,
    "cut_off": 0.0,
    "yaw": -12,
    "pitch": 3,
    "roll": 2,
    "remarks": [],
}
_ATTRIBUTES = {
    "age": {"low": 38, "high": 57, "coverage": 0.8},
    "gender": {"value": "male", "probability": 0.991},
    "expression": None,
    "reasons": {"expression": ["uncertain"]},
}
_CANDIDATE = {"subject": "Joe Biden", "distance": 0.2559, "photo": PHOTO_ID}
_FACE = {
    "subject": "Joe Biden",
    "distance": 0.2559,
    "threshold": 1.3406,
    "false_match_rate": 1e-08,
    "box": _BOX,
    "score": 0.9216,
    "comparable": True,
    "remarks": [],
    "quality": _QUALITY,
}
_REMARK = {"code": "upside_down", "message": SENTENCES["upside_down"]}
_COMPARED = {"comparable": True, "remarks": []}
_LANDMARKS = {
    "left_eye": [[820.1, 120.4]],
    "right_eye": [[890.7, 118.9]],
    "nose_tip": [[858.0, 160.2]],
    "mouth_left": [[829.3, 200.5]],
    "mouth_right": [[886.2, 199.1]],
}
_TIMING = {"decode": 4.2, "detect": 8.3, "embed": 23.1, "match": 0.3, "quality": 0.4, "total": 36.4, "queue": 0.1}
_IMAGE = {"width": 1126, "height": 661}
_WARNING = {
    "code": "unlike_others",
    "message": "this face is unlike the other photos of 'Joe Biden'",
    "distance": 1.41,
    "threshold": 1.2901,
}
_ENROLLED = {"photo": PHOTO_ID, "status": "added", "box": _BOX, "score": 0.9216}
_LINK = f"/people/Joe%20Biden/photos/{PHOTO_ID}"
_PHOTO = {
    "id": PHOTO_ID,
    "file": "biden.jpg",
    "bytes": 150_123,
    "width": 1126,
    "height": 661,
    "box": _BOX,
    "score": 0.9216,
    "url": _LINK,
    "thumbnail": f"{_LINK}?thumbnail=1",
}
_COUNTED = {
    "name": "Joe Biden",
    "photos": 1,
    "templates": 1,
    "problems": 0,
    "thumbnail": f"{_LINK}?thumbnail=1",
    "consent": "signed on paper, 2026-11-01",
    "expires": "2027-12-31",
    "expired": False,
    "tags": ["front desk"],
    "cover": None,
    "last_seen": "2026-11-20T17:02:09.900Z",
    "visits": 3,
}
_OBJECT = {"label": "dog", "score": 0.8312, "box": _BOX}
_CAMERA = {
    "id": "door",
    "name": "Door",
    "source": "rtsp://***@192.168.1.20/stream",
    "kind": "rtsp",
    "always": False,
    "group": "default",
    "fixed": False,
    "node": None,
    "zones": ["porch"],
    "state": {"name": "live", "reason": None, "since": 1795266000.125},
    "turn_wanted": 0,
    "fps": 25.0,
    "frames": {"read": 1200, "dropped": 300, "broken": 0, "connects": 1},
}
_RULE = {
    "id": "3f9a0c1b72",
    "kind": "comes",
    "who": "unknown",
    "people": [],
    "group": "default",
    "cameras": ["door"],
    "zones": ["door/porch"],
    "days": ["sat", "sun"],
    "start": "22:00",
    "end": "06:00",
    "timezone": "Europe/Berlin",
    "sure": "likely",
    "apart_minutes": 5.0,
    "most_per_hour": 60,
    "late_minutes": 1440.0,
    "action": "webhook",
    "url": "https://example.org",
    "message": None,
    "language": "en",
    "picture": False,
    "topic": None,
    "payload": None,
    "retain": False,
    "off_payload": None,
    "off_seconds": 0.0,
    "enabled": True,
    "sentence": "When somebody unknown comes to Door (only in porch) on Saturday or Sunday from 22:00 to 06:00, "
    "call https://example.org; at most 60 times an hour, and 5 minutes apart for each person.",
    "problem": None,
    "problem_code": None,
    "lost_zones": [],
    "counts": {"delivered": 3, "retried": 0, "dropped": 0, "held_back": 1},
    "last_sent": "2026-11-20T22:02:09.900Z",
}
_BROWSER = {
    "id": "3f9a0c1b72",
    "label": "Firefox, Android",
    "service": "updates.push.services.mozilla.com",
    "made": "2026-11-20T17:02:09.900Z",
    "key": "7c3mz4qp",
    "strangers": True,
}
_EVENT = {
    "id": 17,
    "kind": "appeared",
    "camera": "door",
    "time": "2026-11-20T08:15:30.125Z",
    "subject": "Joe Biden",
    "track": 3,
    "distance": 0.2559,
    "false_match_rate": 1e-08,
    "box": _BOX,
    "thumbnail": "/events/17/thumbnail.jpg",
}
_KEY = {
    "id": "7c3mz4qp",
    "name": "front door",
    "role": "read",
    "state": "valid",
    "made": 1795266000.125,
    "expires": 1826802000.125,
    "revoked": None,
}
_RECEIVER_STATE = {"delivered": 12, "retried": 0, "dropped": 0, "waiting": 0, "problem": None}
#: Null where another process delivers, or none does.
_STATE = optional(ref("ReceiverState"))
_RECEIVERS = {
    "off": None,
    "webhooks": [{"id": "9f86d081884c7d65", "url": "https://example.org", "state": _RECEIVER_STATE}],
    "webhook_signed": True,
    "webhook_events": [],
    "event_kinds": ["appeared", "left", "unknown", "entered", "camera_live", "camera_lost", "camera_frozen", "camera_ended"],
    "mqtt": {"url": "mqtt://user@192.168.1.2:1883", "password": True, "state": _RECEIVER_STATE},
    "mqtt_prefix": "recognizer",
    "mqtt_discovery": "homeassistant",
    "mqtt_double_take": False,
    "others": [],
    "fixed": {},
}
_SETTING = {
    "name": "stranger_rate",
    "variable": "RECOGNIZER_STRANGER_RATE",
    "value": 0.01,
    "secret": False,
    "source": "default",
    "label": "RECOGNIZER_STRANGER_RATE",
    "changeable": True,
    "changed_at": "/settings",
    "fixed_by": None,
    "help": "Chance that somebody who is not enrolled gets any name.",
}
_CLOSE = {"subject": "Joe Biden", "photo": PHOTO_ID, "thumbnail": f"{_LINK}?thumbnail=1"}
_POINT_OF_CURVE = {
    "stranger_rate": 0.01,
    "threshold": 1.3335,
    "false_match_rate": 0.00334,
    "accepted": 0.97,
    "mistaken": 0.0,
}
_PICTURE_LINK = f"/strangers/3f9a0c1b72/pictures/{PICTURE_ID}"
_STRANGER = {
    "id": "3f9a0c1b72",
    "sightings": 7,
    "first_seen": "2026-11-17T08:15:30.125Z",
    "last_seen": "2026-11-20T17:02:11.400Z",
    "cameras": ["door"],
    "thumbnail": _PICTURE_LINK,
    "pictures": [
        {"id": PICTURE_ID, "url": _PICTURE_LINK, "time": "2026-11-20T17:02:09.900Z", "camera": "door", "quality": 0.83}
    ],
    "resembles": {"subject": "Joe Biden", "distance": 1.3911},
}
_PROBLEM = {"subject": "Joe Biden", "file": "Joe Biden/beach.jpg", "code": "no_face", "message": "no face was found"}

_PERSON = {
    "name": TEXT,
    "templates": about(COUNT, "How many of the photos are compared with."),
    "problems": about(COUNT, "How many are not used."),
    "thumbnail": optional(TEXT),
    "consent": about(optional(TEXT), "What they agreed to."),
    "expires": about(optional(TEXT), "Until when: a last day (UTC), or a time."),
    "expired": about(BOOLEAN, "Whether that is over, and nobody is matched with them."),
    "tags": array(TEXT),
    "cover": about(optional(TEXT), "Id of the photo that was chosen to stand for the person."),
    "last_seen": about(optional(TEXT), "When cameras showed them last, of the events that are stored."),
    "visits": about(optional(COUNT), "How often they appeared in these events."),
}
_HEAD = {"seq": 7, "hash": 64 * "5"}
_LINE = {
    "seq": 7,
    "time": "2026-11-20T08:15:30.125Z",
    "actor": "key:7c3mz4qp",
    "action": "enroll",
    "subject": "s-4c1d0a94be8c71f2",
    "name": "Joe Biden",
    "details": {},
    "previous": 64 * "4",
    "hash": 64 * "5",
}
_LEFT = dict.fromkeys(
    (
        "files",
        "templates",
        "bin",
        "cache_rows",
        "events",
        "present",
        "receivers",
        "waiting_pictures",
        "strangers",
        "visits",
        "archive",
        "jobs",
        "damaged_files",
        "rules",
        "names",
        "leftovers",
    ),
    0,
)
_RETENTION = {
    "sweeps": 12,
    "erased": 0,
    "finished": 0,
    "purged_events": 3,
    "failed": 0,
    "expired": 0,
    "pending": 0,
    "last": 1795266000.125,
}
_VISIT = {
    "id": 12,
    "camera": "door",
    "first": "2026-11-30T08:00:00.000Z",
    "last": "2026-11-30T08:00:21.500Z",
    "seconds": 21.5,
    "subject": "Joe Biden",
    "distance": 0.71,
    "picture": "/visits/12/picture.jpg",
}
_JOB = {
    "id": "j0123456789abcdef",
    "operation": "recognize",
    "group": None,
    "prefix": None,
    "state": "running",
    "photos": 1200,
    "done": 290,
    "failed": 10,
    "waiting": 900,
    "progress": 0.25,
    "made": "2026-11-30T08:00:00.000Z",
    "begun": "2026-11-30T08:00:00.250Z",
    "ended": None,
    "error": None,
    "result": "/jobs/j0123456789abcdef/result",
}
_JOB_PHOTO = {
    "number": 0,
    "source": {"url": "https://example.org/1.jpg"},
    "state": "failed",
    "error": {"code": "fetch_failed", "message": "the server of the URL answered 404"},
}
_ARCHIVE_STATUS = ("folders", "files", "photos", "videos", "faces", "people", "named", "suggested", "problems")
_ARCHIVE_EXAMPLE = {
    **dict(zip(_ARCHIVE_STATUS, (1, 1200, 1190, 14, 2100, 260, 12, 3, 2), strict=True)),
    "update": None,
    "last_update": None,
}
_ARCHIVE_FOLDER = {
    "id": 1,
    "name": "photos",
    "state": "present",
    "added": "2026-11-30T08:00:00.000Z",
    "seen": "2026-11-30T09:00:00.000Z",
}
_ARCHIVE_THUMBNAIL = f"/archive/photos/{PHOTO_ID}/faces/0/thumbnail.jpg"
_ARCHIVE_FACE = {
    "photo": PHOTO_ID,
    "number": 0,
    "distance": 0.62,
    "false_match_rate": 1e-08,
    "box": _BOX,
    "time_s": None,
    "quality": 0.91,
    "width": 4000,
    "height": 3000,
    "taken": "2024-07-31T16:20:05",
    "clock": "camera",
    "files": ["photos/2024/beach.jpg"],
    "group_id": 17,
    "subject": "Joe Biden",
    "thumbnail": _ARCHIVE_THUMBNAIL,
}
_ARCHIVE_PERSON = {
    "id": 17,
    "subject": "Joe Biden",
    "decided": False,
    "rate": 1e-09,
    "likely": None,
    "likely_rate": None,
    "hidden": False,
    "faces": 12,
    "pictures": [{"photo": PHOTO_ID, "number": 0, "thumbnail": _ARCHIVE_THUMBNAIL}],
}
_KEY_SHAPE = {
    "id": TEXT,
    "name": TEXT,
    "role": {"type": "string", "enum": ["read", "write", "admin"]},
    "state": {"type": "string", "enum": ["valid", "expired", "revoked"]},
    "made": about(NUMBER, "Seconds since 1970, as are the others."),
    "expires": optional(NUMBER),
    "revoked": optional(NUMBER),
}
_BARS = closed({"count": COUNT, "bars": about(array(COUNT), "How many distances lie in each step of bar_width, from 0 on.")})
_SESSION = {
    "role": {"type": "string", "enum": ["read", "write", "admin"]},
    "key": closed({"id": TEXT, "name": TEXT}),
    "expires": about(optional(NUMBER), "Seconds since 1970."),
    "csrf_token": about(TEXT, "For the header X-CSRF-Token."),
}
_BEGUN = {
    "role": "write",
    "key": {"id": "7c3mz4qp", "name": "front door"},
    "expires": 1795309200.0,
    "csrf_token": "Zm9v...",
}

#: An area of a camera's picture, and hours in which it gives events, as requests contain them.
CAMERA_AREA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 60},
        "points": {
            "type": "array",
            "items": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}, "minItems": 2, "maxItems": 2},
            "minItems": 3,
            "maxItems": 64,
        },
    },
    "required": ["points"],
    "additionalProperties": False,
}
CAMERA_PERIOD = {
    "type": "object",
    "properties": {
        "days": {
            "type": "array",
            "items": {"type": "string", "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]},
            "minItems": 1,
        },
        "from": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        "to": {"type": "string", "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"},
    },
    "required": ["days", "from", "to"],
    "additionalProperties": False,
}
_ENTRANCE = [[0.1, 0.2], [0.6, 0.2], [0.6, 0.9], [0.1, 0.9]]


SCHEMAS: dict[str, dict] = {
    "Box": closed(
        {"left": INTEGER, "top": INTEGER, "right": INTEGER, "bottom": INTEGER},
        example=_BOX,
        description="Whole pixels of the upright photo; right and bottom exclusive.",
    ),
    "Landmarks": {
        "type": "object",
        "additionalProperties": array(POINT),
        "description": "Points by the name of what they mark, each a list of x, y in pixels of the photo.",
        "examples": [_LANDMARKS],
    },
    "Timing": {
        "type": "object",
        "additionalProperties": NUMBER,
        "required": ["total"],
        "description": "Milliseconds of each stage.",
        "examples": [_TIMING],
    },
    "Image": closed({"width": COUNT, "height": COUNT}, example=_IMAGE),
    "Quality": closed(
        {
            "sharpness": NUMBER,
            "contrast": NUMBER,
            "brightness": NUMBER,
            "cut_off": about(NUMBER, "Share of the face that lies outside the photo."),
            "yaw": optional(INTEGER),
            "pitch": optional(INTEGER),
            "roll": optional(INTEGER),
            "remarks": array(
                {
                    "type": "string",
                    "enum": ["small", "blurred", "flat", "turned", "cut_off", "doubtful"],
                }
            ),
        },
        example=_QUALITY,
        description="How good the picture of a face is; angles in degrees.",
    ),
    "FaceAttributes": closed(
        {
            "age": optional(
                closed(
                    {
                        "low": COUNT,
                        "high": COUNT,
                        "coverage": about(NUMBER, "Share of faces whose age is in the range that they are given."),
                    }
                )
            ),
            "gender": optional(closed({"value": {"type": "string", "enum": ["female", "male"]}, "probability": NUMBER})),
            "expression": optional(
                closed(
                    {
                        "value": {"type": "string", "enum": ["happy", "neutral", "surprised", "other"]},
                        "probability": NUMBER,
                        "all": {"type": "object", "additionalProperties": NUMBER},
                    }
                )
            ),
            "reasons": about(
                {"type": "object", "additionalProperties": array(TEXT)},
                "Why nothing is said: codes by attribute, for each that is null.",
            ),
        },
        may=("age", "gender", "expression"),
        example=_ATTRIBUTES,
        description="How a face looks: not who somebody is, how old they are, or what they feel.",
    ),
    "Remark": closed({"code": {"type": "string", "enum": list(SENTENCES)}, "message": TEXT}, example=_REMARK),
    "Candidate": closed({"subject": TEXT, "distance": NUMBER, "photo": optional(TEXT)}, example=_CANDIDATE),
    "Face": closed(
        {
            "subject": about(optional(TEXT), "Who it is, or null for somebody who is not enrolled."),
            "distance": about(optional(NUMBER), "To the nearest subject, named or not; null with nobody enrolled."),
            "threshold": NUMBER,
            "false_match_rate": about(
                optional(NUMBER), "Share of pairs of different people that come this close or closer; never below 1e-08."
            ),
            "box": ref("Box"),
            "score": NUMBER,
            "comparable": about(BOOLEAN, "false: the picture could be anybody's, so the face gets no name; remarks say why."),
            "remarks": about(array(ref("Remark")), "What is wrong with the picture of the face, and what would help."),
            "quality": ref("Quality"),
            "attributes": ref("FaceAttributes"),
            "landmarks": ref("Landmarks"),
            "ambiguous": about(BOOLEAN, "Another subject is nearly as close."),
            "candidates": array(ref("Candidate")),
        },
        may=("attributes", "landmarks", "ambiguous", "candidates"),
        example=_FACE,
    ),
    "Recognized": closed(
        {"image": ref("Image"), "faces": array(ref("Face")), "timing_ms": ref("Timing")},
        example={"image": _IMAGE, "faces": [{**_FACE, "candidates": [_CANDIDATE]}], "timing_ms": _TIMING},
    ),
    "FoundFace": closed(
        {
            "box": ref("Box"),
            "score": NUMBER,
            "landmarks": ref("Landmarks"),
            "quality": ref("Quality"),
            "attributes": ref("FaceAttributes"),
        },
        may=("quality", "attributes"),
        example={"box": _BOX, "score": 0.9216, "landmarks": _LANDMARKS},
    ),
    "Detected": closed(
        {"image": ref("Image"), "faces": array(ref("FoundFace")), "timing_ms": ref("Timing")},
        example={
            "image": _IMAGE,
            "faces": [{"box": _BOX, "score": 0.9216, "landmarks": _LANDMARKS}],
            "timing_ms": {"decode": 4.2, "detect": 8.3, "total": 12.5, "queue": 0.1},
        },
    ),
    "Verified": closed(
        {
            "same": BOOLEAN,
            "distance": NUMBER,
            "threshold": NUMBER,
            "false_match_rate": optional(NUMBER),
            "comparable": about(BOOLEAN, "Whether all faces are; if not, same is false and the distance says nothing."),
            "faces": about(
                array(closed({"box": ref("Box"), "score": NUMBER, "comparable": BOOLEAN, "remarks": array(ref("Remark"))})),
                "The face that was taken of each photo.",
            ),
            "timing_ms": ref("Timing"),
        },
        example={
            "same": True,
            "distance": 0.7777,
            "threshold": 1.2901,
            "false_match_rate": 1e-08,
            "comparable": True,
            "faces": [{"box": _BOX, "score": 0.9216, **_COMPARED}, {"box": _BOX, "score": 0.9102, **_COMPARED}],
            "timing_ms": _TIMING,
        },
    ),
    "Warning": closed(
        {
            "code": {"type": "string", "enum": ["unlike_others", "looks_like_another", "duplicate_of"]},
            "message": TEXT,
            "subject": TEXT,
            "distance": NUMBER,
            "threshold": NUMBER,
            "photo": about(TEXT, "Of duplicate_of: the id of the photo that stands for both."),
        },
        may=("subject", "distance", "threshold", "photo"),
        example=_WARNING,
    ),
    "EnrolledPhoto": closed(
        {
            "photo": about(TEXT, "The photo's id."),
            "status": {"type": "string", "enum": ["added", "known"]},
            "box": ref("Box"),
            "score": NUMBER,
            "forced": about(BOOLEAN, "true: stored with force although the face is not comparable."),
            "warnings": array(ref("Warning")),
        },
        may=("forced", "warnings"),
        example=_ENROLLED,
    ),
    "RefusedPhoto": closed(
        {"status": {"const": "refused"}, "error": ref("ErrorDetail")},
        example={"status": "refused", "error": {"code": "no_face", "message": "no face was found in this photo"}},
    ),
    "Enrolled": closed(
        {
            "subject": TEXT,
            "added": COUNT,
            "refused": COUNT,
            "photos": array({"oneOf": [ref("EnrolledPhoto"), ref("RefusedPhoto")]}),
        },
        example={"subject": "Joe Biden", "added": 1, "refused": 0, "photos": [_ENROLLED]},
    ),
    "Problem": closed(
        {"subject": optional(TEXT), "file": TEXT, "code": TEXT, "message": TEXT},
        example=_PROBLEM,
        description="A file that is not used, and why.",
    ),
    "PersonPhoto": closed(
        {
            "id": optional(TEXT),
            "file": TEXT,
            "bytes": COUNT,
            "width": COUNT,
            "height": COUNT,
            "box": ref("Box"),
            "score": NUMBER,
            "url": about(optional(TEXT), "null where only its template was kept."),
            "thumbnail": optional(TEXT),
            "problem": closed({"code": TEXT, "message": TEXT}),
            "forced": about(BOOLEAN, "true: stored with force although the face is not comparable."),
            "warnings": array(ref("Warning")),
            "original": about(
                closed({"name": optional(TEXT), "taken": optional(TEXT), "added": optional(TEXT)}),
                "What its file was called, when it was taken (without a time zone: on the camera's clock), when it came here.",
            ),
        },
        may=("width", "height", "box", "score", "url", "thumbnail", "problem", "forced", "warnings", "original"),
        example=_PHOTO,
    ),
    "PhotoQuality": closed({"quality": optional(ref("Quality"))}, example={"quality": _QUALITY}),
    "PersonCounted": closed({**_PERSON, "photos": about(COUNT, "How many there are.")}, example=_COUNTED),
    "Person": closed({**_PERSON, "photos": array(ref("PersonPhoto"))}, example={**_COUNTED, "photos": [_PHOTO]}),
    "People": closed(
        {"people": array(ref("PersonCounted")), "total": COUNT, "problems": array(ref("Problem"))},
        example={"people": [_COUNTED], "total": 1, "problems": [_PROBLEM]},
    ),
    "DeletedPerson": closed(
        {
            "deleted": TEXT,
            "photos": COUNT,
            "left": about(
                closed(dict.fromkeys(_LEFT, COUNT), may=tuple(_LEFT)), "What a check found afterwards: nothing; empty with bin."
            ),
            "bin": about(TEXT, "With bin: the id by which it can be restored."),
        },
        may=("bin",),
        example={"deleted": "Joe Biden", "photos": 2, "left": _LEFT},
    ),
    "DeletedPhoto": closed(
        {
            "deleted": TEXT,
            "of": TEXT,
            "files": about(COUNT, "How many files held it."),
            "bin": about(TEXT, "With bin: the id by which it can be restored."),
        },
        may=("bin",),
        example={"deleted": PHOTO_ID, "of": "Joe Biden", "files": 1},
    ),
    "MovedPhoto": closed(
        {"moved": TEXT, "of": TEXT, "to": TEXT, "files": about(COUNT, "How many files held it.")},
        example={"moved": PHOTO_ID, "of": "Joe Biden", "to": "Beau Biden", "files": 1},
    ),
    "Bin": closed(
        {
            "days": about(NUMBER, "For how long deletions can be undone; 0 if they cannot."),
            "items": array(
                closed(
                    {
                        "id": TEXT,
                        "kind": {"type": "string", "enum": ["photo", "person"]},
                        "subject": TEXT,
                        "photos": COUNT,
                        "deleted": TEXT,
                        "until": about(TEXT, "When it becomes final."),
                        "thumbnail": optional(TEXT),
                    }
                )
            ),
        },
        example={
            "days": 7,
            "items": [
                {
                    "id": "3f9a0c1b72d4e5f6",
                    "kind": "photo",
                    "subject": "Joe Biden",
                    "photos": 1,
                    "deleted": "2026-11-20T17:02:09.900Z",
                    "until": "2026-11-27T17:02:09.900Z",
                    "thumbnail": "/bin/3f9a0c1b72d4e5f6/thumbnail.jpg",
                }
            ],
        },
    ),
    "Groups": closed({"groups": array(ref("Group"))}, example={"groups": [_GROUP]}),
    "Group": closed(
        {
            "name": TEXT,
            "default": about(BOOLEAN, "Whether it is known_faces itself."),
            "people": about(COUNT, "People with a folder."),
            "templates": about(COUNT, "Photos that are in use."),
            "problems": about(COUNT, "Files that are not used."),
        },
        example=_GROUP,
    ),
    "DeletedGroup": closed(
        {"deleted": TEXT, "people": COUNT, "photos": COUNT}, example={"deleted": "Night shift", "people": 12, "photos": 40}
    ),
    "DeletedFile": closed({"deleted": TEXT}, example={"deleted": "holiday.jpg"}),
    "Setting": closed(
        {
            "name": TEXT,
            "variable": TEXT,
            "value": {"description": "Text, a number, true or false, a list of texts, or null. Of a secret: set, or not set."},
            "secret": BOOLEAN,
            "source": {"type": "string", "enum": ["default", "environment", "file", "config", "option", "page"]},
            "label": about(TEXT, "What it is called where it is said."),
            "changeable": about(BOOLEAN, "Whether PATCH /settings takes it."),
            "changed_at": about(optional(TEXT), "The route whose PATCH takes it now: /settings or /receivers; else null."),
            "fixed_by": about(optional(TEXT), "Why it does not, of one that it otherwise takes: where it is said."),
            "help": TEXT,
        },
        example=_SETTING,
    ),
    "Settings": closed({"settings": array(ref("Setting"))}, example={"settings": [_SETTING]}),
    "Calibration": closed(
        {
            "stranger_rate": about(optional(NUMBER), "In force; null where the threshold is fixed."),
            "threshold": about(NUMBER, "In force."),
            "templates": COUNT,
            "curve": array(
                closed(
                    {
                        "stranger_rate": NUMBER,
                        "threshold": NUMBER,
                        "false_match_rate": about(NUMBER, "Of one comparison, with this many templates."),
                        "accepted": about(optional(NUMBER), "Share of photos that the person's other photos would recognise."),
                        "mistaken": about(
                            optional(NUMBER),
                            "Share of photos that would get somebody else's name, were their person not enrolled.",
                        ),
                    }
                )
            ),
            "measured": about(optional(ref("Measured")), "null until it was measured."),
            "current": about(BOOLEAN, "Whether it is of the gallery as it is; else ask again in a moment."),
        },
        example={
            "stranger_rate": 0.01,
            "threshold": 1.3335,
            "templates": 3,
            "curve": [_POINT_OF_CURVE],
            "measured": None,
            "current": False,
        },
    ),
    "Measured": closed(
        {
            "templates": COUNT,
            "sampled": about(COUNT, "How many of them, drawn by chance, were compared with all others."),
            "same": about(_BARS, "Of each the nearest other of the same person."),
            "different": about(_BARS, "Of each the nearest of somebody else."),
            "bar_width": NUMBER,
            "closest": about(
                array(
                    closed(
                        {
                            "distance": NUMBER,
                            "photos": array(closed({"subject": TEXT, "photo": optional(TEXT), "thumbnail": optional(TEXT)})),
                        }
                    )
                ),
                "The closest two photos of each two people, nearest first.",
            ),
        },
        example={
            "templates": 3,
            "sampled": 3,
            "same": {"count": 2, "bars": [0, 2]},
            "different": {"count": 3, "bars": [0, 3]},
            "bar_width": 0.05,
            "closest": [{"distance": 1.52, "photos": [_CLOSE, {**_CLOSE, "subject": "Ada Lovelace"}]}],
        },
    ),
    "Key": closed(_KEY_SHAPE, example=_KEY, description="Nothing that could be used."),
    "Keys": closed(
        {"keys": array(ref("Key")), "setting": about(BOOLEAN, "Whether RECOGNIZER_ADMIN_KEY gives one as well.")},
        example={"keys": [_KEY], "setting": False},
    ),
    "MadeKey": closed(
        {**_KEY_SHAPE, "key": about(TEXT, "The key itself, this once.")},
        example={**_KEY, "key": "rk_7c3mz4qp_" + 43 * "x"},
    ),
    "Object": closed({"label": TEXT, "score": NUMBER, "box": ref("Box")}, example=_OBJECT),
    "Objects": closed(
        {"image": ref("Image"), "objects": array(ref("Object")), "timing_ms": ref("Timing")},
        example={"image": _IMAGE, "objects": [_OBJECT], "timing_ms": {"decode": 4.2, "detect": 20.1, "total": 24.4}},
    ),
    "ObjectLabels": closed({"labels": array(TEXT)}, example={"labels": ["person", "bicycle", "car"]}),
    "Camera": closed(
        {
            "id": TEXT,
            "name": TEXT,
            "source": about(TEXT, "Without what is secret."),
            "kind": {"type": "string", "enum": ["device", "rtsp", "http", "file", "stills", "pattern"]},
            "always": about(BOOLEAN, "Whether it runs also while nobody watches."),
            "group": about(TEXT, "The group whose people are named."),
            "fixed": about(BOOLEAN, "Whether a setting names it."),
            "node": about(optional(TEXT), "Id of the node that reads it, where nodes share a database."),
            "zones": about(array(TEXT), "Names of its zones."),
            "state": closed(
                {
                    "name": {"type": "string", "enum": ["idle", "connecting", "live", "frozen", "lost", "ended"]},
                    "reason": optional(TEXT),
                    "since": about(NUMBER, "Seconds since 1970."),
                }
            ),
            "turn_wanted": about(
                {"type": "integer", "enum": [0, 90, 180, 270]},
                "Degrees, clockwise, by which the pictures should be turned, because all faces lie; 0 if they do not.",
            ),
            "fps": NUMBER,
            "frames": closed({"read": COUNT, "dropped": COUNT, "broken": COUNT, "connects": COUNT}),
        },
        example=_CAMERA,
    ),
    "Cameras": closed(
        {
            "cameras": array(ref("Camera")),
            "removed": about(
                array(closed({"id": TEXT, "name": TEXT})), "Cameras that were removed and that events still mention."
            ),
        },
        example={"cameras": [_CAMERA], "removed": [{"id": "yard", "name": "Back yard"}]},
    ),
    "Rule": closed(
        {
            "id": TEXT,
            "kind": {"type": "string", "enum": ["comes", "leaves"]},
            "who": {"type": "string", "enum": ["people", "group", "known", "unknown", "anybody"]},
            "people": array(TEXT),
            "group": about(TEXT, "The group whose people are meant."),
            "cameras": about(array(TEXT), "Ids; empty for every camera."),
            "zones": about(array(TEXT), "CAMERA/ZONE: of a camera that has some here, only these zones count."),
            "days": about(
                array({"type": "string", "enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}), "Empty for every day."
            ),
            "start": about(optional(TEXT), "HH:MM; null for the whole day."),
            "end": optional(TEXT),
            "timezone": about(optional(TEXT), "IANA name; null for the zone of the server."),
            "sure": {"type": "string", "enum": ["likely", "sure"]},
            "apart_minutes": NUMBER,
            "most_per_hour": COUNT,
            "late_minutes": NUMBER,
            "action": {"type": "string", "enum": ["notify", "push", "webhook", "mqtt"]},
            "url": about(optional(TEXT), "Without what is secret."),
            "message": about(optional(TEXT), "Text of a notification; null for the default."),
            "language": about({"type": "string", "enum": list(LANGUAGES)}, "Of the default message."),
            "picture": BOOLEAN,
            "topic": optional(TEXT),
            "payload": optional(TEXT),
            "retain": BOOLEAN,
            "off_payload": optional(TEXT),
            "off_seconds": NUMBER,
            "enabled": BOOLEAN,
            "sentence": about(TEXT, "The rule in words."),
            "problem": about(optional(TEXT), "Why it cannot be followed."),
            "problem_code": about(
                optional(TEXT), "The same for programs: an error's code, events_off, cameras_gone or zones_gone."
            ),
            "lost_zones": about(array(TEXT), "Those of its zones that do not exist any longer."),
            "counts": about(
                optional(closed({"delivered": COUNT, "retried": COUNT, "dropped": COUNT, "held_back": COUNT})),
                "Messages since the start; null where another process follows the rule, or none does.",
            ),
            "last_sent": about(optional(TEXT), "When a message was last sent since the start."),
        },
        example=_RULE,
    ),
    "Rules": closed(
        {
            "rules": array(ref("Rule")),
            "notice": about(TEXT, "What everybody who makes a rule must know about photos before cameras."),
            "off": about(optional(TEXT), "Why there can be no rules on this server."),
            "can_notify": about(BOOLEAN, "Whether Apprise is installed."),
            "broker": about(optional(TEXT), "The MQTT broker, without credentials; null without one."),
        },
        example={
            "rules": [_RULE],
            "notice": "A face is no key.",
            "off": None,
            "can_notify": True,
            "broker": "mqtt://broker:1883",
        },
    ),
    "DeletedRule": closed({"deleted": TEXT}, example={"deleted": "3f9a0c1b72"}),
    "TestedRule": closed(
        {"tested": TEXT, "action": {"type": "string", "enum": ["notify", "push", "webhook", "mqtt"]}},
        example={"tested": "3f9a0c1b72", "action": "webhook"},
    ),
    "PushSubscription": closed(
        {
            "id": TEXT,
            "label": about(TEXT, "What the browser calls itself."),
            "service": about(TEXT, "Host of the push service."),
            "made": TEXT,
            "key": about(optional(TEXT), "Id of the key with which it was subscribed."),
            "strangers": about(BOOLEAN, "Whether it also gets word of new strangers."),
        },
        example=_BROWSER,
    ),
    "Push": closed(
        {
            "public_key": about(TEXT, "The server's key, as PushManager.subscribe takes it."),
            "subscriptions": array(ref("PushSubscription")),
        },
        example={
            "public_key": "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
            "subscriptions": [_BROWSER],
        },
    ),
    "DeletedPushSubscription": closed({"deleted": TEXT}, example={"deleted": "3f9a0c1b72"}),
    "TestedPushSubscription": closed({"tested": TEXT}, example={"tested": "3f9a0c1b72"}),
    "Receivers": closed(
        {
            "off": about(optional(TEXT), "Why no events are sent at all."),
            "webhooks": array(closed({"id": TEXT, "url": about(TEXT, "Without what is secret."), "state": _STATE})),
            "webhook_signed": about(BOOLEAN, "Whether there is a secret that signs webhooks."),
            "webhook_events": about(array(TEXT), "Kinds of events that webhooks get; empty for all."),
            "event_kinds": about(array(TEXT), "All kinds of events."),
            "mqtt": about(
                {
                    "anyOf": [
                        closed(
                            {
                                "url": about(TEXT, "With the user, and without the password."),
                                "password": about(BOOLEAN, "Whether there is a password."),
                                "state": _STATE,
                            }
                        ),
                        {"type": "null"},
                    ]
                },
                "The broker; null without one.",
            ),
            "mqtt_prefix": TEXT,
            "mqtt_discovery": TEXT,
            "mqtt_double_take": BOOLEAN,
            "others": about(
                array(closed({"name": TEXT, "state": _STATE})), "AMQP, Kafka, NATS and Frigate, set by the environment."
            ),
            "fixed": about(
                {"type": "object", "additionalProperties": TEXT},
                "By the name of a setting that cannot be changed here: where it is set, or why.",
            ),
        },
        example=_RECEIVERS,
    ),
    "ReceiverState": closed(
        {
            "delivered": about(COUNT, "Events since the start."),
            "retried": COUNT,
            "dropped": COUNT,
            "waiting": COUNT,
            "problem": optional(TEXT),
        },
        example=_RECEIVER_STATE,
    ),
    "TestedReceiver": closed({"tested": TEXT}, example={"tested": "mqtt"}),
    "CameraSettings": closed(
        {
            "zones": about(array(CAMERA_AREA), "Only faces whose centre lies in one give events; none for the whole picture."),
            "masks": about(array(CAMERA_AREA), "What is blackened before anything is done with a picture."),
            "schedule": about(array(CAMERA_PERIOD), "When the camera gives events, on the server's clock; none for always."),
            "events": about(BOOLEAN, "Whether the camera gives events about people."),
            "min_face": about(optional(INTEGER), "Least width and height of a face in pixels; null for the server's."),
            "stranger_rate": about(optional(NUMBER), "Probability that a stranger gets a name; null for the server's."),
            "unknown_quality": about(optional(NUMBER), "Least quality of unknown people's pictures; null for the server's."),
        },
        example={
            "zones": [{"name": "Entrance", "points": _ENTRANCE}],
            "masks": [{"points": [[0.0, 0.0], [0.2, 0.0], [0.2, 0.3]]}],
            "schedule": [{"days": ["sat", "sun"], "from": "20:00", "to": "06:00"}],
            "events": True,
            "min_face": 40,
            "stranger_rate": None,
            "unknown_quality": None,
        },
    ),
    "Stream": {"type": "string", "description": "A reply without an end.", "examples": ["event: appeared"]},
    "Event": closed(
        {
            "id": COUNT,
            "kind": {
                "type": "string",
                "enum": [
                    "appeared",
                    "left",
                    "unknown",
                    "entered",
                    "camera_live",
                    "camera_lost",
                    "camera_frozen",
                    "camera_ended",
                ],
            },
            "camera": TEXT,
            "time": TEXT,
            "subject": optional(TEXT),
            "track": optional(INTEGER),
            "distance": optional(NUMBER),
            "false_match_rate": optional(NUMBER),
            "box": optional(ref("Box")),
            "thumbnail": optional(TEXT),
            "since": TEXT,
            "seconds": NUMBER,
            "appearance": COUNT,
            "replaces": COUNT,
            "same_as": COUNT,
            "reason": TEXT,
            "scene": about(TEXT, "The whole picture of the camera, with RECOGNIZER_EVENT_SCENES."),
            "scene_faces": about(COUNT, "How many faces are on it."),
            "attributes": about(
                {"type": "object"}, "How the person looked, of RECOGNIZER_EVENT_ATTRIBUTES: age, gender, expression."
            ),
            "zones": about(array(TEXT), "Names of the camera's zones in which the person was seen."),
        },
        may=("since", "seconds", "appearance", "replaces", "same_as", "reason", "scene", "scene_faces", "attributes", "zones"),
        example=_EVENT,
    ),
    "Events": closed(
        {
            "events": array(ref("Event")),
            "first": about(COUNT, "Id of the oldest that is kept."),
            "last": about(COUNT, "Id of the newest."),
        },
        example={"events": [_EVENT], "first": 1, "last": 17},
    ),
    "AuditLine": closed(
        {
            "seq": COUNT,
            "time": TEXT,
            "actor": about(TEXT, "A key, a user of the command line, local, an address, or retention."),
            "action": TEXT,
            "subject": about(optional(TEXT), "The id that stands for them."),
            "name": about(optional(TEXT), "null where nobody is meant, or they were erased."),
            "details": {"type": "object"},
            "previous": about(TEXT, "The hash of the line before."),
            "hash": TEXT,
        },
        example=_LINE,
    ),
    "AuditLines": closed(
        {"lines": array(ref("AuditLine")), "head": optional(closed({"seq": COUNT, "hash": TEXT}))},
        example={"lines": [_LINE], "head": _HEAD},
        description="Oldest first; head is the newest line of all.",
    ),
    "Stranger": closed(
        {
            "id": TEXT,
            "sightings": about(COUNT, "How often they came."),
            "first_seen": TEXT,
            "last_seen": TEXT,
            "cameras": about(array(TEXT), "Ids, the latest first."),
            "thumbnail": TEXT,
            "pictures": about(
                array(
                    closed(
                        {
                            "id": TEXT,
                            "url": TEXT,
                            "time": TEXT,
                            "camera": about(optional(TEXT), "Null for a photo of a request."),
                            "quality": about({"type": "number", "minimum": 0, "maximum": 1}, "1 is best."),
                        }
                    )
                ),
                "Best first.",
            ),
            "resembles": about(
                optional(closed({"subject": TEXT, "distance": NUMBER})), "Somebody enrolled who is nearly near enough."
            ),
        },
        example=_STRANGER,
        description="Somebody whom nobody enrolled.",
    ),
    "Strangers": closed(
        {
            "on": about(BOOLEAN, "Whether any are kept."),
            "setting": about(TEXT, "The setting that says so."),
            "total": COUNT,
            "strangers": array(ref("Stranger")),
        },
        example={"on": True, "setting": "RECOGNIZER_STRANGERS", "total": 1, "strangers": [_STRANGER]},
    ),
    "DismissedStranger": closed({"dismissed": TEXT, "never": BOOLEAN}, example={"dismissed": "3f9a0c1b72", "never": False}),
    "DeletedCamera": closed({"deleted": TEXT}, example={"deleted": "door"}),
    "Health": {"oneOf": [ref("HealthForReaders"), ref("HealthForStrangers")], "examples": [{"live": True, "ready": True}]},
    "HealthForStrangers": closed(
        {"live": BOOLEAN, "ready": BOOLEAN},
        example={"live": True, "ready": True},
        description="What whoever shows no key is told, where keys are needed.",
    ),
    "HealthForReaders": closed(
        {
            "live": BOOLEAN,
            "ready": BOOLEAN,
            "version": TEXT,
            "engine": closed(
                {
                    "id": TEXT,
                    "detector": TEXT,
                    "embedder": TEXT,
                    "dim": COUNT,
                    "calibration": closed(
                        {
                            "threshold": NUMBER,
                            "false_match_rate": NUMBER,
                            "data_set": TEXT,
                            "date": TEXT,
                        }
                    ),
                }
            ),
            "threshold": NUMBER,
            "stranger_rate": optional(NUMBER),
            "counts": closed({"subjects": COUNT, "templates": COUNT, "problems": COUNT}),
            "queue": closed({"inside": COUNT, "workers": COUNT, "waiting_at_most": COUNT}),
            "encoding": about(
                optional(closed({"done": COUNT, "total": COUNT, "seconds_left": optional(COUNT)})),
                "How far the encoding of photos from known_faces has got; null while none are encoded.",
            ),
            "video": closed({"viewers": COUNT, "running": about(array(TEXT), "Ids of cameras.")}),
            "attributes": about(array(TEXT), "What may be asked about how faces look."),
            "uptime_s": NUMBER,
            "events": about({"type": ["object", "null"]}, "What was made, dropped and delivered since the start."),
            "retention": about(
                optional(closed({**dict.fromkeys(_RETENTION, COUNT), "last": optional(NUMBER)})),
                "What was erased since the start because time had passed, how many people's consent has expired, and how many "
                "erasures and renamings are not finished yet.",
            ),
            "strangers": about({"type": ["object", "null"]}, "What was kept and dropped since the start."),
            "visits": about({"type": ["object", "null"]}, "Visits that are kept; null if there are none."),
            "archive": about(optional(ref("ArchiveStatus")), "Null without an archive."),
            "jobs": about(
                {"type": ["object", "null"]}, "Jobs by state, and photos that wait and were processed; null without jobs."
            ),
            "damaged": about(
                array(TEXT),
                "Files that were damaged and set aside, such as `visits.sqlite`. What was readable is still in use.",
            ),
            "database": about(
                closed({"reachable": BOOLEAN, "away_since": optional(NUMBER), "node": TEXT, "applied": COUNT}),
                "The database that nodes share, only where there is one: since when it is away, in seconds since 1970, the id "
                "of this node, and the number of the last change that its searches see.",
            ),
        },
        may=("database",),
        example={
            "live": True,
            "ready": True,
            "version": "0.1.0",
            "engine": {
                "id": "yunet+dlib+sface",
                "detector": "yunet",
                "embedder": "dlib+sface",
                "dim": 256,
                "calibration": {"threshold": 1.2901, "false_match_rate": 0.001, "data_set": "LFW", "date": "2026-11-01"},
            },
            "threshold": 1.3406,
            "stranger_rate": 0.01,
            "counts": {"subjects": 2, "templates": 2, "problems": 0},
            "queue": {"inside": 0, "workers": 2, "waiting_at_most": 64},
            "encoding": {"done": 1200, "total": 5001, "seconds_left": 310},
            "video": {"viewers": 0, "running": []},
            "attributes": [],
            "uptime_s": 12.5,
            "events": None,
            "retention": _RETENTION,
            "strangers": None,
            "visits": None,
            "archive": None,
            "jobs": None,
            "damaged": [],
        },
    ),
    "FoundVisits": closed(
        {
            "total": COUNT,
            "visits": about(array(ref("Visit")), "Latest first."),
        },
        example={"total": 1, "visits": [_VISIT]},
    ),
    "Job": closed(
        {
            "id": TEXT,
            "operation": {"type": "string", "enum": ["recognize", "detect", "enroll"]},
            "group": about(optional(TEXT), "Null for the default group."),
            "prefix": optional(TEXT),
            "state": about(
                {"type": "string", "enum": ["listing", "running", "done", "failed"]},
                "listing: the photos below the prefix are being looked for; failed: the job as a whole, see error.",
            ),
            "photos": COUNT,
            "done": about(COUNT, "Photos with a result."),
            "failed": about(COUNT, "Photos with an error."),
            "waiting": COUNT,
            "progress": about(NUMBER, "From 0 to 1."),
            "made": TEXT,
            "begun": optional(TEXT),
            "ended": optional(TEXT),
            "error": optional(closed({"code": TEXT, "message": TEXT})),
            "result": about(TEXT, "Path of the results."),
        },
        example=_JOB,
    ),
    "Notified": closed(
        {"named": about(COUNT, "Photos and notes of consent below people/ that are looked at now.")}, example={"named": 1}
    ),
    "Jobs": closed({"total": COUNT, "jobs": about(array(ref("Job")), "Newest first.")}, example={"total": 1, "jobs": [_JOB]}),
    "JobResult": closed(
        {
            "job": TEXT,
            "state": TEXT,
            "photos": array(ref("JobPhoto")),
            "after": about(optional(COUNT), "For the next page; null where nothing more is processed yet."),
        },
        example={"job": _JOB["id"], "state": "running", "photos": [_JOB_PHOTO], "after": None},
    ),
    "JobPhoto": closed(
        {
            "number": about(COUNT, "The photo's number in the job."),
            "source": about(
                {"type": "object"},
                "url and the client's id, path below the prefix, or upload (its number); empty where a person was erased.",
            ),
            "state": {"type": "string", "enum": ["done", "failed"]},
            "result": about(
                {"type": "object"},
                "What the operation found: image and faces as /recognize and /detect show them, or of an enrolment subject, "
                "photo, status, box, score and the codes of warnings.",
            ),
            "error": about({"type": "object"}, "code and message."),
        },
        may=("result", "error"),
        example=_JOB_PHOTO,
    ),
    "JobLines": {"type": "string", "description": "A JSON object like JobPhoto in each line.", "examples": ["{}"]},
    "DeletedJob": closed({"deleted": TEXT}, example={"deleted": "j0123456789abcdef"}),
    "Visit": closed(
        {
            "id": COUNT,
            "camera": TEXT,
            "first": TEXT,
            "last": TEXT,
            "seconds": NUMBER,
            "subject": optional(TEXT),
            "distance": about(optional(NUMBER), "Of the picture from the nearest template that was searched for."),
            "picture": TEXT,
        },
        example=_VISIT,
    ),
    "Presence": closed(
        {
            "days": array(
                closed({"day": TEXT, "subject": TEXT, "first": TEXT, "last": TEXT, "seconds": NUMBER, "visits": COUNT})
            )
        },
        example={
            "days": [
                {
                    "day": "2026-11-30",
                    "subject": "Joe Biden",
                    "first": "2026-11-30T08:01:12",
                    "last": "2026-11-30T17:02:40",
                    "seconds": 1804.5,
                    "visits": 9,
                }
            ]
        },
    ),
    "Table": {"type": "string", "description": "A table as CSV.", "examples": ["day,subject,first,last,seconds,visits"]},
    "ArchiveStatus": closed(
        {
            **dict.fromkeys(_ARCHIVE_STATUS, COUNT),
            "update": about(
                optional(
                    closed(
                        {
                            "stage": TEXT,
                            "done": COUNT,
                            "total": COUNT,
                            "share": about(optional(NUMBER), "Of a video that is being read, how much of it was read; 0 to 1."),
                            "per_second": optional(NUMBER),
                            "seconds_left": optional(COUNT),
                            "process": COUNT,
                            "time": NUMBER,
                        }
                    )
                ),
                "How far a running update is, in whichever process; null while none runs.",
            ),
            "last_update": about({"type": ["object", "null"]}, "What the last update of this server did."),
        },
        example=_ARCHIVE_EXAMPLE,
    ),
    "Archive": closed(
        {
            "folders": array(ref("ArchiveFolder")),
            "status": optional(ref("ArchiveStatus")),
            "addable": about(BOOLEAN, "Whether folders can be added over the API."),
        },
        example={"folders": [_ARCHIVE_FOLDER], "status": _ARCHIVE_EXAMPLE, "addable": False},
    ),
    "ArchiveFolder": closed(
        {
            "id": COUNT,
            "name": about(TEXT, "The folder's own name, without where it is."),
            "state": about(TEXT, "new, present, missing, unreadable or empty."),
            "added": TEXT,
            "seen": optional(TEXT),
        },
        example=_ARCHIVE_FOLDER,
    ),
    "ArchiveProblems": closed(
        {"problems": array(closed({"file": TEXT, "code": TEXT, "message": TEXT}))},
        example={"problems": [{"file": "photos/a.jpg", "code": "broken_image", "message": "the photo is damaged"}]},
    ),
    "RemovedArchiveFolder": closed({"removed": COUNT}, example={"removed": 1}),
    "StartedArchiveUpdate": closed({"status": optional(ref("ArchiveStatus"))}, example={"status": _ARCHIVE_EXAMPLE}),
    "ArchiveFound": closed(
        {
            "faces": array(ref("ArchiveFace")),
            "total": about(COUNT, "On all pages."),
            "cursor": about(optional(TEXT), "Gets the next page; null on the last one."),
            "max_distance": NUMBER,
        },
        example={"faces": [_ARCHIVE_FACE], "total": 1, "cursor": None, "max_distance": 1.12},
    ),
    "ArchiveFace": closed(
        {
            "photo": TEXT,
            "number": COUNT,
            "distance": NUMBER,
            "false_match_rate": NUMBER,
            "box": about(closed(dict.fromkeys(_BOX, INTEGER)), "In pixels of the upright photo."),
            "time_s": about(optional(NUMBER), "Seconds from the beginning of a video; null on a photo."),
            "quality": NUMBER,
            "width": optional(COUNT),
            "height": optional(COUNT),
            "taken": about(optional(TEXT), "On the camera's clock, without a time zone."),
            "clock": about(optional(TEXT), "Whose clock: camera, video (the server's), or file for the file's time."),
            "files": about(array(TEXT), "All files with this content: the folder's name, and the path below it."),
            "group_id": optional(COUNT),
            "subject": optional(TEXT),
            "thumbnail": TEXT,
        },
        example=_ARCHIVE_FACE,
    ),
    "ArchivePerson": closed(
        {
            "id": COUNT,
            "subject": optional(TEXT),
            "decided": about(BOOLEAN, "Whether a person gave the name; otherwise it was recognised."),
            "rate": about(optional(NUMBER), "Probability that a group of strangers is given a name at this distance."),
            "likely": about(optional(TEXT), "A suggestion."),
            "likely_rate": optional(NUMBER),
            "hidden": BOOLEAN,
            "faces": COUNT,
            "pictures": about(array(closed({"photo": TEXT, "number": COUNT, "thumbnail": TEXT})), "Best first."),
        },
        example=_ARCHIVE_PERSON,
    ),
    "ArchivePeople": closed(
        {"total": COUNT, "people": array(ref("ArchivePerson"))}, example={"total": 1, "people": [_ARCHIVE_PERSON]}
    ),
    "ChangedArchiveFace": closed(
        {"photo": TEXT, "number": COUNT, "no_face": BOOLEAN}, example={"photo": PHOTO_ID, "number": 0, "no_face": True}
    ),
    "UndoneArchiveDecision": closed({"undone": TEXT}, example={"undone": "join"}),
    "Session": closed(
        {**_SESSION, "key": optional(_SESSION["key"])},
        may=("expires", "csrf_token"),
        example=_BEGUN,
        description="Who asks: key is null where no keys are needed; expires and csrf_token are told of a session.",
    ),
    "BegunSession": closed(_SESSION, example=_BEGUN),
    "EndedSession": closed({"ended": about(BOOLEAN, "Whether there was one.")}, example={"ended": True}),
    "Live": closed({"live": {"const": True}}, example={"live": True}),
    "Ready": closed({"ready": {"const": True}}, example={"ready": True}),
    "Description": {
        "type": "object",
        "description": "The API as Hug describes it.",
        "examples": [{"documentation": {"overview": "Recognizer", "handlers": {"/health": {"GET": {}}}}}],
    },
    "Document": {
        "type": "object",
        "description": "This document.",
        "required": ["openapi", "info", "paths"],
        "examples": [{"openapi": "3.1.0", "info": {"title": "Recognizer", "version": "0.1.0"}, "paths": {}}],
    },
    "Metrics": {"type": "string", "examples": ["recognizer_queue_inside 0.0\n"]},
    "Page": {"type": "string", "description": "Text for browsers.", "examples": ["<!doctype html>"]},
    "Photo": {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/octet-stream",
        "description": "The bytes of a picture.",
    },
    "Backup": {
        "type": "string",
        "format": "binary",
        "contentMediaType": "application/zip",
        "description": "A ZIP file, for the command restore.",
        "examples": ["PK..."],
    },
    "ErrorDetail": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": about(TEXT, "A stable name for programs."),
            "message": about(TEXT, "A sentence for people."),
            "request_id": about(TEXT, "Where the server's log tells more; of the code internal."),
        },
        "description": "Further fields depend on the code.",
        "examples": [{"code": "no_face", "message": "no face was found in this photo"}],
    },
    "Error": closed(
        {"error": ref("ErrorDetail")},
        example={"error": {"code": "no_face", "message": "no face was found in this photo"}},
    ),
}
