"""Every setting: its name, type, default and description. The only module that reads settings from the environment.

The setting ``name`` is read from the environment variable ``RECOGNIZER_NAME``; a secret may instead be in the file named by
``RECOGNIZER_NAME_FILE``; and every setting may be in the TOML file named by ``RECOGNIZER_CONFIG``, in lower case and without
the prefix. The first of these that has a value is used. A setting of `CHANGEABLE` that has a value in none of them may be
changed while the server runs (see `adjustments`). The table in docs/settings.md is generated from `SETTINGS` by
`markdown_table`, and a test compares the two.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recognizer.core.answers import ATTRIBUTES
from recognizer.core.disk import disk_reason
from recognizer.core.errors import SettingsError
from recognizer.core.names import GROUPS_FOLDER
from recognizer.core.origins import normal_host, normal_origin

PREFIX = "RECOGNIZER_"
#: Sources of a value.
DEFAULT, ENVIRONMENT, FILE, CONFIG, OPTION, PAGE = "default", "environment", "file", "config", "option", "page"
#: Settings that may be changed while the server runs, unless the environment or the configuration file has a value.
CHANGEABLE = ("stranger_rate", "sightings_days", "strangers_days", "bin_days")
#: Settings about where events are sent: the same holds for them, except where nodes share a database.
RECEIVER_SETTINGS = (
    "webhooks",
    "webhook_secret",
    "webhook_events",
    "mqtt_url",
    "mqtt_password",
    "mqtt_prefix",
    "mqtt_discovery",
    "mqtt_double_take",
)
#: Settings that have an effect only where others are set and not off: all of those that are named; ``a|b`` is one of two, and
#: ``a=b`` a value. Those whose others may also be set on the page are not here.
ONLY_WITH: dict[str, tuple[str, ...]] = {
    "photos": ("database_url", "keep_photos"),
    "dropped_seconds": ("photos",),
    "dropped_queue": ("photos", "dropped_seconds"),
    "node_url": ("database_url",),
    "snapshot_hours": ("database_url",),
    "hog_upsample": ("detector=hog",),
    "strip_metadata": ("keep_photos",),
    "watch_poll": ("watch",),
    "event_shown_seconds": ("events",),
    "event_scenes": ("events",),
    "event_unknown_quality": ("events",),
    "event_left_seconds": ("events",),
    "event_attributes": ("events", "attributes"),
    "webhooks": ("events",),
    "mqtt_url": ("events",),
    "events_key": ("amqp_url|kafka_url|nats_url",),
    "amqp_url": ("events",),
    "amqp_password_file": ("amqp_url",),
    "amqp_ca_file": ("amqp_url",),
    "amqp_exchange": ("amqp_url",),
    "amqp_queue": ("amqp_url",),
    "kafka_url": ("events",),
    "kafka_password_file": ("kafka_url",),
    "kafka_ca_file": ("kafka_url",),
    "kafka_topic": ("kafka_url",),
    "kafka_sasl": ("kafka_url",),
    "nats_url": ("events",),
    "nats_password_file": ("nats_url",),
    "nats_ca_file": ("nats_url",),
    "nats_stream": ("nats_url",),
    "frigate_topic": ("frigate_url",),
    "frigate_user": ("frigate_url",),
    "frigate_password": ("frigate_url",),
    "frigate_ca_file": ("frigate_url",),
}
_MAX_FILE_BYTES = 1_000_000


def _whole(text: str) -> int:
    return int(text.replace("_", ""))


def _switch(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("expected on or off")
    return words[text.lower()]


def _networks(text: str) -> tuple[str, ...]:
    """Comma-separated addresses or networks in CIDR form, validated."""
    return tuple(str(ipaddress.ip_network(part.strip(), strict=False)) for part in text.split(",") if part.strip())


def _urls(text: str) -> tuple[str, ...]:
    """URLs separated by spaces or commas; a comma inside a URL does not separate."""
    return tuple(filter(None, re.split(r"\s+|,(?=\s*https?://)\s*|,$", text.strip())))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _proxies(text: str) -> tuple[str, ...]:
    """Networks, and the word ``unix`` for connections over a Unix socket."""
    words = _words(text)
    return tuple(word for word in words if word == "unix") + _networks(",".join(word for word in words if word != "unix"))


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(normal_host(word) for word in _words(text))


def _origins(text: str) -> tuple[str, ...]:
    return tuple(normal_origin(word) for word in _words(text))


def _rate(text: str) -> str:
    if text == "off" or re.fullmatch(r"[1-9]\d{0,8}/(second|minute|hour)", text):
        return text
    raise ValueError("expected a number per second, minute or hour, such as 600/minute, or off")


def _long_secret(text: str) -> str:
    if not 20 <= len(text) <= 512 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("expected 20 to 512 visible ASCII characters")
    return text


def _prefixes(text: str) -> tuple[str, ...]:
    """URLs of folders and buckets, separated by spaces or commas."""
    found = tuple(part for part in re.split(r"[\s,]+", text) if part)
    for each in found:
        scheme, separator, rest = each.partition("://")
        if not separator or not rest.strip("/") or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or ".." in rest.split("/"):
            raise ValueError("expected URLs such as s3://bucket/folder or file:///srv/photos")
    return found


def _node_url(text: str) -> str:
    """The root of a server, without what belongs to a user or a request."""
    found = urlsplit(text)
    plain = found.scheme in ("http", "https") and found.hostname and "@" not in found.netloc
    if not plain or found.query or found.fragment or found.port == 0:
        raise ValueError("expected http://host:port or https://host:port")
    return text.rstrip("/")


def _queue_url(text: str) -> str:
    """The URL of a queue of Amazon SQS."""
    found = urlsplit(text)
    if found.scheme not in ("http", "https") or not found.hostname or "@" in found.netloc or not found.path.strip("/"):
        raise ValueError("expected the URL of a queue, https://sqs.<region>.amazonaws.com/<account>/<name>")
    return text


def _topic(text: str) -> str:
    """One or more levels of an MQTT topic."""
    if not re.fullmatch(r"[^+#/$\s\0][^+#\s\0]*[^+#/\s\0]|[^+#/$\s\0]", text) or "//" in text:
        raise ValueError("expected levels of a topic without wildcards and spaces")
    return text


def _queue_name(text: str) -> str:
    """The name of an exchange, a queue or a topic of Kafka."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,200}", text):
        raise ValueError("expected letters, digits, points, hyphens and underscores")
    return text


def _stream_name(text: str) -> str:
    """The name of a stream of NATS, which is also the first part of subjects."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", text):
        raise ValueError("expected letters, digits, hyphens and underscores")
    return text


def _traces(text: str) -> str:
    """``off``, ``on``, or the URL of a receiver."""
    if text.lower() in ("on", "off"):
        return text.lower()
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", text):
        raise ValueError("expected off, on, or a URL such as http://collector:4318")
    return text


def _topic_or_none(text: str) -> str:
    return "none" if text.lower() == "none" else _topic(text)


def _places(text: str) -> tuple[str, ...]:
    """Like `_networks`, and the words ``lan`` and ``public``."""
    words = tuple(part.lower() for part in _words(text))
    return tuple(word if word in ("lan", "public") else _networks(word)[0] for word in words)


def _event_kinds(text: str) -> tuple[str, ...]:
    """Kinds of events; ``all`` is every kind, which an empty tuple stands for. Which there are, `events.webhooks` knows."""
    words = tuple(dict.fromkeys(_words(text.lower())))
    if not all(re.fullmatch(r"[a-z_]{1,40}", word) for word in words):
        raise ValueError("expected kinds of events such as appeared, or all")
    return () if "all" in words else words


def _attributes(text: str) -> tuple[str, ...]:
    """Attributes of faces; ``off`` and ``none`` are no attribute."""
    words = tuple(word for word in _words(text.lower()) if word not in ("off", "none"))
    unknown = [word for word in words if word not in ATTRIBUTES]
    if unknown:
        raise ValueError(f"expected some of {', '.join(ATTRIBUTES)}, or off")
    return words


def _default_models() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("recognizer", appauthor=False) / "models"


def _setting(
    default: Any,
    parse: Callable[[str], Any],
    help: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] | None = None,
    shown: str | None = None,
    secret: bool = False,
) -> Any:
    """A dataclass field with the rules of a setting.

    Parameters
    ----------
    default
        The default, or a function that returns it.
    parse : callable
        Turns a text into a value; raises ValueError.
    help : str
        The description, in Markdown.
    least, most : float, optional
        Bounds, inclusive.
    choices : tuple of str, optional
        The only allowed values.
    shown : str, optional
        The default as the table shows it.
    secret : bool
        Whether the value must not appear in messages, tables and representations.
    """
    metadata = {
        "parse": parse,
        "help": help,
        "least": least,
        "most": most,
        "choices": choices,
        "shown": shown,
        "secret": secret,
    }
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """All settings, validated. Programs construct it with keywords, entry points with `from_environment`.

    Raises
    ------
    SettingsError
        A value is not allowed.
    """

    known_faces: Path = _setting(
        Path("known_faces"), Path, "Folder of enrolled people: one folder per person with that person's photos."
    )
    state_dir: Path = _setting(
        Path(".recognizer"),
        Path,
        "Folder for the server's own data. Cached templates and thumbnails can be rebuilt; keys, sessions, cameras, rules, "
        "events, strangers, the audit log and changed settings cannot.",
    )
    groups: Path | None = _setting(
        None,
        Path,
        "Folder of groups: one folder per group, with one folder per person in it (docs/groups.md).",
        shown="`.groups` in `RECOGNIZER_KNOWN_FACES`",
    )
    database_url: str | None = _setting(
        None,
        str,
        "PostgreSQL database that several nodes share (docs/scale.md): `postgresql://user:password@host/name`. It then has "
        "what `known_faces` and the state folder have otherwise: people, cameras, rules, jobs, keys, sessions, changed "
        "settings and the audit log.",
        shown="none",
        secret=True,
    )
    photos: str | None = _setting(
        None,
        str,
        "Where nodes that share a database store photos: a folder that all of them see, or a bucket such as "
        "`s3://bucket/prefix`. Required with a database unless photos are not kept.",
        shown="none",
    )
    dropped_seconds: float = _setting(
        30.0,
        float,
        "Seconds after which a node looks again for photos that were put below `people/` in `RECOGNIZER_PHOTOS` "
        "(docs/scale.md). `0` disables this.",
        least=0,
        most=86_400,
    )
    dropped_queue: str | None = _setting(
        None,
        _queue_url,
        "URL of an Amazon SQS queue that gets the notifications of the bucket in `RECOGNIZER_PHOTOS`, so that photos below "
        "`people/` are looked at as soon as they are put there (docs/scale.md).",
        shown="none",
    )
    node_url: str | None = _setting(
        None,
        _node_url,
        "Where the other nodes of the database reach this one, such as `http://10.0.0.11:8000`: they pass requests for the "
        "live video of its cameras on to it.",
        shown="none",
    )
    node_cameras: bool = _setting(
        True, _switch, "Whether this node reads cameras that the nodes of a database share; `off` leaves them to the others."
    )
    snapshot_hours: float = _setting(
        24.0,
        float,
        "How old a node's copy of the templates in its state folder may be for a start while the database is away, in hours. "
        "`0` stores no copy.",
        least=0,
        most=8_760,
    )
    models_dir: Path = _setting(_default_models, Path, "Folder for downloaded model weights.", shown="the user's cache folder")
    detector: str = _setting("yunet", str, "Face detector.", choices=("yunet", "hog", "cnn"))
    embedder: str = _setting("dlib+sface", str, "Face embedder.", choices=("dlib", "sface", "dlib+sface"))
    provider: str = _setting(
        "cpu",
        str,
        "Runtime for the neural networks. All except `cpu` need an extra package and give slightly different results "
        "(docs/accuracy.md).",
        choices=("cpu", "cpu-int8", "openvino", "openvino-bf16", "cuda", "coreml", "directml"),
    )
    detect_size: int = _setting(
        0,
        _whole,
        "Long side, in pixels, of the scaled copy used for face detection; 0 uses the detector's default.",
        least=0,
        most=8192,
    )
    detect_size_large: int = _setting(
        1280,
        _whole,
        "Long side, in pixels, of the second detection pass, which runs on a large photo when the first pass found no face or "
        "only small ones; 0 disables it.",
        least=0,
        most=8192,
    )
    min_face: int = _setting(
        20,
        _whole,
        "Minimum width and height of a face box, in pixels of the original photo; smaller faces are ignored.",
        least=1,
    )
    enroll_min_face: int = _setting(
        40, _whole, "Minimum face size for enrolment, in pixels; photos with a smaller face are refused.", least=1
    )
    hog_upsample: int = _setting(
        1, _whole, "How many times the `hog` detector doubles the image size to find smaller faces.", least=0, most=3
    )
    stranger_rate: float = _setting(
        0.01,
        float,
        "Target probability that a person who is not enrolled is given any name (FPIR). The threshold is derived from it and "
        "the number of templates.",
        least=1e-6,
        most=0.5,
    )
    threshold: float | None = _setting(
        None,
        float,
        "Fixed maximum distance for a match, used instead of the threshold derived from `RECOGNIZER_STRANGER_RATE`.",
        least=0.0,
        most=4.0,
        shown="follows",
    )
    object_threshold: float = _setting(
        0.55, float, "Minimum score, 0 to 1, for an object to be reported.", least=0.01, most=1.0
    )
    attributes: tuple[str, ...] = _setting(
        (),
        _attributes,
        "Attributes of faces that may be asked for, separated by commas: `age`, `gender`, `expression`. They cannot be enabled "
        "in any other way (docs/attributes.md).",
        shown="`off`",
    )
    max_image_bytes: int = _setting(25_000_000, _whole, "Maximum size of a photo, in bytes.", least=1_000)
    max_image_pixels: int = _setting(
        210_000_000,
        _whole,
        "Maximum size of a photo, in pixels (width x height). Formats other than JPEG: at most 70 million, or a third of this.",
        least=1_000,
    )
    max_body_bytes: int = _setting(64_000_000, _whole, "Maximum size of a request body, in bytes.", least=1_000)
    max_photos: int = _setting(50, _whole, "Maximum number of photos in one request.", least=1)
    fetch_allow: tuple[str, ...] = _setting(
        (),
        _networks,
        "Private addresses or networks that `image_url` may access, separated by commas, for example `192.168.1.0/24`.",
        shown="none",
    )
    fetch_timeout: float = _setting(
        10.0, float, "Total time limit, in seconds, for fetching one `image_url`.", least=0.1, most=300
    )
    camera: str = _setting(
        "0",
        str,
        "Source of the camera `default`: a webcam number, an rtsp, rtmp, http or https URL, a video file or folder of photos "
        "(prefix `once:` to play it once), `test:` for a test pattern, or `none`.",
        secret=True,
    )
    camera_allow: tuple[str, ...] = _setting(
        ("lan",),
        _places,
        "Networks that URLs of cameras added over the API may access: addresses, networks, `lan` for private networks or "
        "`public` for the Internet, separated by commas.",
        shown="`lan`",
    )
    camera_files: Path | None = _setting(
        None,
        Path,
        "Folder that must contain the video files and photo folders used by cameras added over the API.",
        shown="none",
    )
    archive_files: Path | None = _setting(
        None,
        Path,
        "Folder that must contain the photo folders that are added to the archive over the API; without it, only "
        "`recognizer archive add` can add some.",
        shown="none",
    )
    archive_video_minutes: int = _setting(
        120,
        _whole,
        "Minutes of each video that the archive reads, from its beginning; 0 reads no videos.",
        least=0,
        most=1440,
    )
    workers: int = _setting(
        0, _whole, "Number of photos processed in parallel; 0 uses one worker per processor core.", least=0, most=256
    )
    queue: int = _setting(
        64, _whole, "Number of photos that may wait for a worker; further requests get 503 at once.", least=0, most=100_000
    )
    job_workers: int | None = _setting(
        None,
        _whole,
        "Number of photos of jobs (docs/http.md) processed in parallel; 0 leaves all jobs to other nodes.",
        least=0,
        most=256,
        shown="half of the workers",
    )
    job_photos: int = _setting(10_000, _whole, "Maximum number of photos in one job.", least=1, most=1_000_000)
    job_bytes: int = _setting(
        2_000_000_000, _whole, "Maximum size, in bytes, of all uploaded photos of jobs that wait to be processed.", least=0
    )
    job_days: float = _setting(
        7.0, float, "Jobs are deleted with their results so many days after their end.", least=0.001, most=3650
    )
    jobs_from: tuple[str, ...] = _setting(
        (),
        _prefixes,
        "Buckets and folders whose photos jobs may read, separated by commas: URLs of fsspec such as `s3://bucket/folder` or "
        "`file:///srv/photos`.",
        shown="none",
    )
    host: str = _setting("127.0.0.1", str, "Address that `hug -f api.py` listens on when `-ho` is not given.")
    anyone_may_do_anything: bool = _setting(
        False,
        _switch,
        "Serve other machines without any API key: everyone who can reach the port can see, enrol and erase people.",
    )
    admin_key: str | None = _setting(
        None,
        _long_secret,
        "An API key with the role `admin`, in addition to those made by `python -m recognizer keys`.",
        shown="none",
        secret=True,
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        _hosts,
        "Host names, in addition to its addresses, under which this server may be reached, separated by commas "
        "(docs/security.md).",
        shown="none",
    )
    cors: tuple[str, ...] = _setting(
        (),
        _origins,
        "Origins of other sites whose pages may use this API, such as `https://app.example.org`, separated by commas.",
        shown="none",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (),
        _proxies,
        "Proxies whose `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Prefix` headers are trusted: addresses, "
        "networks, or `unix` for Unix sockets, separated by commas.",
        shown="none",
    )
    dialects: tuple[str, ...] = _setting(
        ("auto",),
        _words,
        "Other services whose clients are served (docs/dialects.md): names separated by commas, each perhaps with a prefix "
        "(`deepstack,compreface=/cf`), `all` or `none`. `auto` is `all` while there are no keys and only this machine is "
        "served.",
        shown="`auto`",
    )
    rate_key: str = _setting("6000/minute", _rate, "Rate limit per API key; `off` for no limit.")
    rate_address: str = _setting(
        "6000/minute", _rate, "Rate limit per client address, applied only when keys exist; `off` for no limit."
    )
    session_hours: float = _setting(
        12.0, float, "Lifetime of a browser session, in hours; then the key must be entered again.", least=0.01, most=8760
    )
    tls_certificate: Path | None = _setting(
        None, Path, "PEM file with the server's certificate and its chain; enables HTTPS.", shown="none"
    )
    tls_key: Path | None = _setting(
        None, Path, "PEM file with the certificate's private key, if it is not in the certificate file.", shown="none"
    )
    tls_key_password: str | None = _setting(None, str, "Password of the private key.", shown="none", secret=True)
    tls_client_ca: Path | None = _setting(
        None,
        Path,
        "PEM file with certificate authorities; only clients with a certificate signed by one of them can connect.",
        shown="none",
    )
    http_threads: int = _setting(
        96,
        _whole,
        "Number of requests served in parallel. Keep it above `RECOGNIZER_QUEUE`, so that a full queue leaves threads for "
        "other routes.",
        least=2,
        most=1024,
    )
    config: Path | None = _setting(
        None, Path, "TOML file with any of these settings, in lower case and without the prefix.", shown="none"
    )
    streams: int = _setting(
        64,
        _whole,
        "Maximum number of open live video and event streams; they do not use the threads of `RECOGNIZER_HTTP_THREADS`.",
        least=1,
        most=256,
    )
    expiry_grace_days: float = _setting(
        30.0,
        float,
        "Days between the expiry of a person's consent and their erasure. Matching stops at the expiry.",
        least=0,
        most=36_500,
    )
    keep_photos: bool = _setting(
        True,
        _switch,
        "Keep enrolled photos. `off` replaces each photo by its template, which cannot be used with another engine.",
    )
    strip_metadata: str = _setting(
        "off",
        str,
        "What is removed from photos before they are stored: nothing (`off`), what says where they were taken (`location`), or "
        "all metadata (`all`). Pixels, orientation and colour profile stay. Files copied into `known_faces` are not changed.",
        choices=("off", "location", "all"),
    )
    encryption_key_file: Path | None = _setting(
        None,
        Path,
        "File with the key that encrypts photos, templates, thumbnails and events; `encryption init` creates it and encrypts "
        "existing data.",
        shown="none",
    )
    encryption_key: str | None = _setting(None, str, "The encryption key itself, instead of a file.", shown="none", secret=True)
    log: str = _setting(
        "auto",
        str,
        "Log format: plain text, one JSON object per line, or `auto` for text on a terminal and JSON elsewhere.",
        choices=("auto", "text", "json"),
    )
    log_level: str = _setting(
        "info",
        str,
        "Minimum level of log messages. `debug` also logs request paths, which contain names.",
        choices=("debug", "info", "warning", "error"),
    )
    watch: bool = _setting(True, _switch, "Detect photos added to `known_faces` while the server runs.")
    watch_poll: bool = _setting(
        False, _switch, "Watch `known_faces` by polling; needed on network shares, which send no change notifications."
    )

    events: bool = _setting(
        True, _switch, "Record events when people appear at cameras and leave; `off` neither stores nor sends any."
    )
    events_max_bytes: int = _setting(
        16_000_000,
        _whole,
        "Maximum disk space for events, about 400 bytes each; their thumbnails are not counted.",
        least=100_000,
    )
    events_max_days: float = _setting(30.0, float, "Days until events are deleted.", least=0.01, most=36_500)
    unknown_days: float = _setting(
        30.0, float, "Days until events of unknown people, and their pictures, are deleted.", least=0.01, most=36_500
    )
    event_shown_seconds: float = _setting(
        0.5, float, "Seconds that a face must be tracked before an `appeared` event.", least=0, most=60
    )
    event_unknown_seconds: float = _setting(
        2.0, float, "Seconds that a face must stay without a match before an `unknown` event.", least=0, most=300
    )
    event_scenes: bool = _setting(
        False,
        _switch,
        "Store the camera's whole picture with each `appeared` and `unknown` event; it shows everybody else who is there, too.",
    )
    event_unknown_quality: float = _setting(
        0.0,
        float,
        "Least quality, 0 to 1, of the best picture of a person without a name for an `unknown` event; 0.2 leaves out dark, "
        "blurred and tiny faces.",
        least=0,
        most=1,
    )
    event_left_seconds: float = _setting(
        5.0, float, "Seconds without seeing a person before a `left` event.", least=0.1, most=86_400
    )
    event_attributes: bool = _setting(
        False,
        _switch,
        "Store and send with each event how the person looked: the attributes that `RECOGNIZER_ATTRIBUTES` enables.",
    )
    strangers: str = _setting(
        "off",
        str,
        "Whose unknown faces are stored, grouped by person, so that they can be named later: nobody's (`off`), those seen by "
        "cameras (`cameras`), or also those in photos sent to `/recognize` (`all`).",
        choices=("off", "cameras", "all"),
    )
    sightings: str = _setting(
        "off",
        str,
        "Whose visits at cameras are kept with a picture and a template, to be searched later: nobody's, enrolled people's "
        "(`known`), or everybody's (`all`). Read docs/privacy.md first.",
        choices=("off", "known", "all"),
    )
    sightings_days: float = _setting(14.0, float, "Visits at cameras are deleted after this many days.", least=0.01, most=3650)
    strangers_days: float = _setting(
        30.0, float, "Days after the last sighting until a stranger is deleted.", least=0.01, most=36_500
    )
    bin_days: float = _setting(
        7.0, float, "Days for which deletions on the page can be undone; 0 makes them final at once.", least=0, most=365
    )
    webhooks: tuple[str, ...] = _setting(
        (), _urls, "URLs that every event is posted to, separated by spaces.", shown="none", secret=True
    )
    webhook_secret: str | None = _setting(
        None, str, "Secret for signing webhooks: `whsec_` followed by base64, or any text.", shown="none", secret=True
    )
    webhook_secret_file: Path | None = _setting(None, Path, "File with the webhook secret.", shown="none")
    webhook_events: tuple[str, ...] = _setting(
        (),
        _event_kinds,
        "Kinds of events that webhooks get, separated by commas, such as `appeared,unknown` (docs/video.md).",
        shown="`all`",
    )
    webhook_allow: tuple[str, ...] = _setting(
        (), _networks, "Private addresses or networks that webhooks and rules may access, separated by commas.", shown="none"
    )
    webhook_retry_hours: float = _setting(
        24.0, float, "Hours after which an undelivered event is dropped for a webhook.", least=0, most=8760
    )
    mqtt_url: str | None = _setting(
        None,
        str,
        "MQTT broker that events are published to: `mqtt://user:password@host:1883`, or `mqtts://` for TLS.",
        shown="none",
        secret=True,
    )
    mqtt_password: str | None = _setting(
        None, str, "The broker's password, if it is not in the URL.", shown="none", secret=True
    )
    mqtt_password_file: Path | None = _setting(None, Path, "File with the broker's password.", shown="none")
    mqtt_ca_file: Path | None = _setting(
        None, Path, "PEM file with an additional trusted certificate authority for `mqtts://`.", shown="none"
    )
    mqtt_prefix: str = _setting("recognizer", _topic, "First levels of all MQTT topics.")
    mqtt_discovery: str = _setting(
        "homeassistant", _topic_or_none, "Home Assistant's MQTT discovery prefix; `none` disables discovery."
    )
    mqtt_double_take: bool = _setting(
        False, _switch, "Publish who appears by Double Take's MQTT topics as well (docs/dialects.md)."
    )
    traces: str = _setting(
        "off",
        _traces,
        "Send traces by OpenTelemetry: `on` to where the variables `OTEL_*` say, or the URL of a receiver of OTLP over HTTP, "
        "such as `http://collector:4318` (docs/operations.md).",
    )
    events_key: str = _setting(
        "camera",
        str,
        "What events on AMQP, Kafka and NATS are keyed by: the camera, or the name of the person.",
        choices=("camera", "person"),
    )
    amqp_url: str | None = _setting(
        None,
        str,
        "AMQP 0-9-1 broker, such as RabbitMQ, that events are published to: `amqp://user:password@host:5672/vhost`, or "
        "`amqps://` for TLS.",
        shown="none",
        secret=True,
    )
    amqp_password_file: Path | None = _setting(None, Path, "File with the AMQP broker's password.", shown="none")
    amqp_ca_file: Path | None = _setting(
        None, Path, "PEM file with an additional trusted certificate authority for `amqps://`.", shown="none"
    )
    amqp_exchange: str = _setting(
        "recognizer", _queue_name, "Durable topic exchange of events; it is declared if it does not exist."
    )
    amqp_queue: str | None = _setting(None, _queue_name, "Durable queue that is declared and gets every event.", shown="none")
    kafka_url: str | None = _setting(
        None,
        str,
        "Kafka that events are published to: `kafka://user:password@host:9092,host:9092`, or `kafkas://` for TLS.",
        shown="none",
        secret=True,
    )
    kafka_password_file: Path | None = _setting(None, Path, "File with Kafka's password.", shown="none")
    kafka_ca_file: Path | None = _setting(
        None, Path, "PEM file with the trusted certificate authorities for `kafkas://`.", shown="certifi's"
    )
    kafka_topic: str = _setting("recognizer", _queue_name, "Topic of events.")
    kafka_sasl: str = _setting(
        "PLAIN", str, "SASL mechanism, used with a user.", choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
    )
    nats_url: str | None = _setting(
        None,
        str,
        "NATS server with JetStream that events are published to: `nats://user:password@host:4222`, `nats://token@host`, or "
        "`tls://` for TLS.",
        shown="none",
        secret=True,
    )
    nats_password_file: Path | None = _setting(None, Path, "File with the password of NATS.", shown="none")
    nats_ca_file: Path | None = _setting(
        None, Path, "PEM file with an additional trusted certificate authority for `tls://`.", shown="none"
    )
    nats_stream: str = _setting(
        "recognizer", _stream_name, "Stream of events, and first part of their subjects; it is declared if it does not exist."
    )
    frigate_url: str | None = _setting(
        None,
        str,
        "Frigate, such as `http://frigate:5000`: its events, which are read from the MQTT broker, get names as sub labels "
        "(docs/dialects.md).",
        shown="none",
    )
    frigate_topic: str = _setting("frigate", _topic, "First levels of Frigate's MQTT topics.")
    frigate_user: str | None = _setting(
        None,
        str,
        "User of Frigate with the role admin, who logs in: for its port 8971. Its port 5000 asks for no login.",
        shown="none",
    )
    frigate_password: str | None = _setting(None, str, "Password of that user.", shown="none", secret=True)
    frigate_ca_file: Path | None = _setting(
        None,
        Path,
        "PEM file with an additional trusted certificate authority for an `https://` address of Frigate.",
        shown="none",
    )
    frigate_verify: bool = _setting(
        True,
        _switch,
        "Check the certificate of an `https://` address of Frigate; `off` accepts any, such as the one that Frigate makes for "
        "itself.",
    )
    #: The values that came from the environment or from files, by setting; empty if a program passed the values.
    found: Mapping[str, FoundSetting] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for item in SETTINGS:
            value, rule = getattr(self, item.name), item.metadata
            if value is None:
                continue
            if rule["choices"] and value not in rule["choices"]:
                raise SettingsError(f"{item.name}: expected one of {', '.join(rule['choices'])}, got {value!r}")
            if rule["least"] is not None and not value >= rule["least"]:  # written so that NaN is refused
                raise SettingsError(f"{item.name}: expected at least {rule['least']}, got {value}")
            if rule["most"] is not None and not value <= rule["most"]:
                raise SettingsError(f"{item.name}: expected at most {rule['most']}, got {value}")
        for name in ("tls_key", "tls_key_password", "tls_client_ca"):
            if getattr(self, name) is not None and self.tls_certificate is None:
                raise SettingsError(f"{name}: tls_certificate must be set as well")
        unknown = [name for name in self.attributes if name not in ATTRIBUTES]
        if unknown:
            raise SettingsError(f"attributes: expected some of {', '.join(ATTRIBUTES)}, got {unknown[0]!r}")
        if self.database_url and self.keep_photos and self.photos is None:
            raise SettingsError("photos: must be set, because database_url is: a folder that all nodes share, or a bucket")
        if not self.keep_photos and self.strangers != "off":
            raise SettingsError("strangers: must be off while keep_photos is off, because strangers are stored with pictures")

    @property
    def groups_dir(self) -> Path:
        """The folder of groups: the setting's, or else the one in `known_faces`."""
        return self.known_faces / GROUPS_FOLDER if self.groups is None else self.groups

    @property
    def accepts_any_frigate(self) -> bool:
        """Whether Frigate is asked over TLS, and its certificate is not checked."""
        return (self.frigate_url or "").lower().startswith("https:") and not self.frigate_verify

    def without_effect(self) -> list[str]:
        """A sentence for each setting of `ONLY_WITH` that is given, and has no effect because of another one."""
        return [
            f"{self.source(name)[1]} has no effect: {missing}"
            for name, needs in ONLY_WITH.items()
            if self._is_on(name) and getattr(self, name) != default_of(name)
            if (missing := ", and ".join(filter(None, map(self._missing, needs))))
        ]

    def _is_on(self, name: str) -> bool:
        return getattr(self, name) not in (None, False, 0, "off", ())

    def _missing(self, need: str) -> str:
        """What is missing of an entry of `ONLY_WITH`, or nothing."""
        name, _, value = need.partition("=")
        if value:
            return "" if getattr(self, name) == value else f"{PREFIX}{name.upper()} is not {value}"
        names = name.split("|")
        if any(self._is_on(each) for each in names):
            return ""
        shown = " or ".join(PREFIX + each.upper() for each in names)
        return f"{shown} is {'not set' if getattr(self, names[0]) in (None, ()) else 'off'}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the settings from `environ` (default: the process's environment); `overrides` take precedence.

        Raises
        ------
        SettingsError
            A value is invalid, or a variable with the prefix, or a name in the TOML file, is not a setting: typing errors
            must not be ignored silently.
        """
        found = read_values(environ)
        values = {name: value.parsed() for name, value in found.items()}
        values.update({name: value for name, value in overrides.items() if value is not None})
        found = {name: each for name, each in found.items() if overrides.get(name) is None}
        return cls(**values, found=found)

    @property
    def engine_recipe(self) -> dict[str, Any]:
        """The keywords of `engines.make_engine`."""
        return {
            "detector": self.detector,
            "embedder": self.embedder,
            "models_dir": self.models_dir,
            "detect_size": self.detect_size,
            "detect_size_large": self.detect_size_large,
            "min_face": self.min_face,
            "hog_upsample": self.hog_upsample,
            "provider": self.provider,
        }

    def replace(self, **changes: Any) -> Settings:
        """A copy with other values."""
        return dataclasses.replace(self, **changes)

    def source(self, name: str) -> tuple[str, str]:
        """The source of a setting's value, and the setting's name in that source."""
        found = self.found.get(name)
        if found is not None:
            return found.where, found.label
        variable = PREFIX + name.upper()
        return (DEFAULT if getattr(self, name) == default_of(name) else OPTION), variable

    def shown(self, name: str) -> Any:
        """A setting's value as plain data: for a secret only whether it is set, for a path only its last part."""
        value = getattr(self, name)
        if _RULES[name]["secret"]:
            return "set" if value else "not set"
        if name == "photos" and value is not None and "://" not in value:  # a folder, not a bucket
            value = Path(value)
        if isinstance(value, Path):
            return str(value) if len(value.parts) < 2 else f".../{value.name}"
        return list(value) if isinstance(value, tuple) else value


SETTINGS = tuple(item for item in fields(Settings) if item.metadata)


def default_of(name: str) -> Any:
    """The default of a setting."""
    item = next(each for each in SETTINGS if each.name == name)
    if item.default_factory is not dataclasses.MISSING:
        return item.default_factory()
    return item.default


@dataclass(frozen=True)
class FoundSetting:
    """The text of a setting's value, and its source.

    Attributes
    ----------
    name : str
        The setting.
    text : str
    where : str
        `ENVIRONMENT`, `FILE`, `CONFIG` or `PAGE`.
    label : str
        The setting's name in the source, for messages.
    """

    name: str
    text: str = field(repr=False)
    where: str
    label: str

    def parsed(self) -> Any:
        """The value.

        Raises
        ------
        SettingsError
            The text is not a value of the setting.
        """
        return parsed_value(self.name, self.text, self.label)


def parsed_value(name: str, text: str, label: str | None = None) -> Any:
    """The value of a setting that a text stands for; `label` is what messages call the setting.

    Raises
    ------
    SettingsError
        The text is not a value of the setting.
    """
    rule = _RULES[name]
    try:
        return rule["parse"](text)
    except ValueError as error:
        shown = "its value" if rule["secret"] else repr(text)
        raise SettingsError(f"{label or name}: {shown} is not valid: {error}") from None


_RULES = {item.name: item.metadata for item in SETTINGS}


def secret_file(name: str) -> str | None:
    """The variable that names a file with a secret setting's value; None if the setting is not secret."""
    if not _RULES[name]["secret"] or f"{name}_file" in _RULES:  # another setting names the file
        return None
    return f"{PREFIX}{name.upper()}_FILE"


def read_values(environ: Mapping[str, str] | None = None) -> dict[str, FoundSetting]:
    """The values of settings in the environment (default: the process's) and in the files that it names.

    Raises
    ------
    SettingsError
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper(): name for name in _RULES}
    files = {variable: name for name in _RULES if (variable := secret_file(name))}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known and name not in files)
    if unknown:
        raise SettingsError(f"no such setting: {', '.join(unknown)}")
    texts = {variable: environ.get(variable, "").strip() for variable in (*known, *files)}
    found = {known[each]: FoundSetting(known[each], texts[each], ENVIRONMENT, each) for each in known if texts[each]}
    for variable, name in files.items():
        if not texts[variable]:
            continue
        if name in found:
            raise SettingsError(f"{variable}: expected only one of it and {PREFIX}{name.upper()}, got both")
        text = _file(variable, Path(texts[variable])).strip()
        if not text:
            raise SettingsError(f"{variable}: the file it names is empty")
        found[name] = FoundSetting(name, text, FILE, variable)
    if "config" in found:
        found = _config(Path(found["config"].text)) | found
    return found


def _config(path: Path) -> dict[str, FoundSetting]:
    """The settings of a TOML file."""
    from recognizer.core.toml import parse_toml

    text = _file(f"{PREFIX}CONFIG", path)
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise SettingsError(f"{path.name} cannot be read as TOML: {error}") from None
    unknown = sorted(set(table) - (set(_RULES) - {"config"}))
    if unknown:
        raise SettingsError(f"no such setting in {path.name}: {', '.join(unknown)}")
    found = {}
    for name, value in table.items():
        label = f"{name} in {path.name}"
        text = _as_text(label, value).strip()
        if text:
            found[name] = FoundSetting(name, text, CONFIG, label)
    return found


def _as_text(label: str, value: object) -> str:
    """A TOML value as text in the form of the environment variable."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    raise SettingsError(f"{label}: expected a string, a number, true, false or a list of strings")


def _file(label: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError("it is too large")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{label}: the file it names cannot be read: {disk_reason(error)}") from None
    except ValueError as error:
        shown = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise SettingsError(f"{label}: the file it names cannot be read: {shown}") from None


def markdown_table() -> str:
    """The table of settings in docs/settings.md."""
    rows = ["| setting | default | what it does |", "| --- | --- | --- |"]
    for item in SETTINGS:
        rule = item.metadata
        shown = rule["shown"]
        if shown is None:
            default = default_of(item.name)
            shown = f"`{'on' if default is True else 'off' if default is False else default}`"
        text = rule["help"]
        if rule["choices"]:
            text += " One of " + ", ".join(f"`{choice}`" for choice in rule["choices"]) + "."
        if rule["secret"]:
            text += f" Secret; `{secret_file(item.name)}` may name a file with it." if secret_file(item.name) else " Secret."
        rows.append(f"| `{PREFIX}{item.name.upper()}` | {shown} | {text} |")
    return "\n".join(rows) + "\n"
