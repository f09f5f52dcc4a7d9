"""Every setting: its name, type, default and what it does. The only place that reads the environment.

A setting ``name`` is read from the environment variable ``RECOGNIZER_NAME``. The table in the README is made from
`SETTINGS` by `markdown_table`, and a test holds the two together.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from .errors import SettingsError

PREFIX = "RECOGNIZER_"


def _whole(text: str) -> int:
    return int(text.replace("_", ""))


def _switch(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.lower() not in words:
        raise ValueError("expected on or off")
    return words[text.lower()]


def _networks(text: str) -> tuple[str, ...]:
    """Comma-separated addresses or networks in CIDR form, checked."""
    return tuple(str(ipaddress.ip_network(part.strip(), strict=False)) for part in text.split(",") if part.strip())


def _urls(text: str) -> tuple[str, ...]:
    """URLs separated by spaces or commas; a comma within one stays."""
    return tuple(filter(None, re.split(r"\s+|,(?=\s*https?://)\s*|,$", text.strip())))


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _topic(text: str) -> str:
    """Levels of an MQTT topic."""
    if not re.fullmatch(r"[^+#/$\s\0][^+#\s\0]*[^+#/\s\0]|[^+#/$\s\0]", text) or "//" in text:
        raise ValueError("expected levels of a topic without wildcards and spaces")
    return text


def _topic_or_none(text: str) -> str:
    return "none" if text.lower() == "none" else _topic(text)


def _places(text: str) -> tuple[str, ...]:
    """Like `_networks`, with the words ``lan`` and ``public`` for those networks."""
    words = tuple(part.lower() for part in _words(text))
    return tuple(word if word in ("lan", "public") else _networks(word)[0] for word in words)


def _default_models() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("recognizer", appauthor=False) / "models"


def _setting(
    default, parse, help: str, *, least=None, most=None, choices=None, shown: str | None = None, secret: bool = False
):
    """A field; `secret` keeps its value out of every message, table and representation."""
    metadata = {
        "parse": parse, "help": help, "least": least, "most": most, "choices": choices, "shown": shown, "secret": secret,
    }  # fmt: skip
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """All settings, checked. Build it with keywords in a program, or with `from_environment` at an entry point.

    Raises
    ------
    SettingsError
        A value is outside what its setting allows.
    """

    known_faces: Path = _setting(Path("known_faces"), Path, "Folder of the enrolled: one folder per person, photos in it.")
    state_dir: Path = _setting(
        Path(".recognizer"), Path,
        "Folder of what the server keeps: cached templates and thumbnails, which can be made again; the list of cameras and "
        "the events, which cannot.",
    )
    models_dir: Path = _setting(
        _default_models, Path, "Folder where fetched weights are kept.", shown="the user's cache folder"
    )
    detector: str = _setting("yunet", str, "How faces are found.", choices=("yunet", "hog", "cnn"))
    embedder: str = _setting("dlib+sface", str, "How faces are described.", choices=("dlib", "sface", "dlib+sface"))
    provider: str = _setting(
        "cpu", str,
        "What the networks run on. All but `cpu` need a package of their own and drift a little (docs/accuracy.md).",
        choices=("cpu", "openvino", "openvino-bf16", "cuda", "coreml", "directml"),
    )
    detect_size: int = _setting(
        0, _whole, "Long side in pixels of the copy on which faces are looked for; 0 takes the detector's own.",
        least=0, most=8192,
    )
    detect_size_large: int = _setting(
        1280, _whole,
        "Long side of the second look at large photos whose first look found nothing or only small faces; 0 never takes one.",
        least=0, most=8192,
    )
    min_face: int = _setting(
        20, _whole, "Faces whose box is narrower or lower than this many pixels of the photo are left out.", least=1
    )
    enroll_min_face: int = _setting(
        40, _whole, "Photos whose face is smaller than this many pixels do not enrol anybody.", least=1
    )
    hog_upsample: int = _setting(
        1, _whole, "How many times the `hog` detector doubles the picture to find smaller faces.", least=0, most=3
    )
    stranger_rate: float = _setting(
        0.01, float,
        "Chance that somebody who is not enrolled gets any name; the threshold follows from it and the number enrolled.",
        least=1e-6, most=0.5,
    )
    threshold: float | None = _setting(
        None, float,
        "Fixed largest distance at which a face gets a name, instead of one that follows `RECOGNIZER_STRANGER_RATE`.",
        least=0.0, most=4.0, shown="follows",
    )
    object_threshold: float = _setting(
        0.55, float, "Least score, 0 to 1, from which on an object counts as found.", least=0.01, most=1.0
    )
    max_image_bytes: int = _setting(25_000_000, _whole, "Largest photo taken, in bytes.", least=1_000)
    max_image_pixels: int = _setting(50_000_000, _whole, "Largest photo taken, in pixels.", least=1_000)
    max_body_bytes: int = _setting(64_000_000, _whole, "Largest request body, in bytes.", least=1_000)
    max_photos: int = _setting(50, _whole, "Most photos in one request.", least=1)
    fetch_allow: tuple[str, ...] = _setting(
        (), _networks,
        "Private addresses or networks that `image_url` may lead to, separated by commas, for example `192.168.1.0/24`.",
        shown="none",
    )
    fetch_timeout: float = _setting(10.0, float, "Seconds that fetching one `image_url` may take in all.", least=0.1, most=300)
    camera: str = _setting(
        "0", str,
        "What the camera `default` shows: a webcam's number, an rtsp, rtmp, http or https URL, a video file, a folder of "
        "photos, `test:` for a test pattern, or `none`.",
        secret=True,
    )
    camera_allow: tuple[str, ...] = _setting(
        ("lan",), _places,
        "Where URLs of cameras added over the API may lead: addresses or networks, `lan` for private networks, `public` for "
        "the Internet, separated by commas.",
        shown="`lan`",
    )
    camera_files: Path | None = _setting(
        None, Path, "Folder below which cameras added over the API may name video files and folders of photos.", shown="none"
    )
    workers: int = _setting(
        0, _whole, "Photos that are worked on at once; 0 takes one per processor core.", least=0, most=256
    )
    queue: int = _setting(
        64, _whole, "Photos that may wait for a worker; beyond it the answer is 503 at once.", least=0, most=100_000
    )
    host: str = _setting("127.0.0.1", str, "Address that `hug -f api.py` listens on when its `-ho` is not given.")
    http_threads: int = _setting(32, _whole, "Requests that are answered at once.", least=2, most=1024)
    streams: int = _setting(
        64, _whole, "Live streams and event streams that may be open at once, beside those requests.", least=1, most=256
    )
    expiry_grace_days: float = _setting(
        30.0, float, "Days from which on people whose consent has expired are erased; from the expiry on nobody is matched "
        "with them.", least=0, most=36_500,
    )
    keep_photos: bool = _setting(
        True, _switch, "Keep the photos that enrol people; `off` replaces each by its template, which another engine cannot "
        "use.",
    )
    encryption_key_file: Path | None = _setting(
        None, Path, "File with the key that encrypts photos, templates, thumbnails and events; `encryption init` makes both.",
        shown="none",
    )
    encryption_key: str | None = _setting(
        None, str, "That key itself, instead of a file.", shown="none", secret=True
    )
    watch: bool = _setting(True, _switch, "Pick up photos dropped into `known_faces` while running.")
    watch_poll: bool = _setting(
        False, _switch, "Look at `known_faces` by polling; for network shares, which announce nothing."
    )

    events: bool = _setting(
        True, _switch, "Keep events of who appears and leaves at cameras; `off` keeps, tells and sends none."
    )
    events_max_bytes: int = _setting(
        16_000_000, _whole, "Room for events on the disk, about 400 bytes each; their thumbnails come on top.", least=100_000
    )
    events_max_days: float = _setting(30.0, float, "Days after which events are deleted.", least=0.01, most=36_500)
    unknown_days: float = _setting(
        30.0, float, "Days after which events of people without a name are deleted, with their pictures.",
        least=0.01, most=36_500,
    )
    event_shown_seconds: float = _setting(
        0.5, float, "Seconds that a face must have been followed before it is an event.", least=0, most=60
    )
    event_unknown_seconds: float = _setting(
        2.0, float, "Seconds that a face must have been nameless before it is an unknown person.", least=0, most=300
    )
    event_left_seconds: float = _setting(
        5.0, float, "Seconds that a person must not have been seen before they have left.", least=0.1, most=86_400
    )
    webhooks: tuple[str, ...] = _setting(
        (), _urls, "URLs that every event is posted to, separated by spaces.", shown="none", secret=True
    )
    webhook_secret: str | None = _setting(
        None, str, "What webhooks are signed with; `whsec_` and base64, or any text.", shown="none", secret=True
    )
    webhook_secret_file: Path | None = _setting(None, Path, "File that holds it instead.", shown="none")
    webhook_allow: tuple[str, ...] = _setting(
        (), _networks, "Private addresses or networks that webhooks may lead to, as for `RECOGNIZER_FETCH_ALLOW`.",
        shown="none",
    )
    webhook_retry_hours: float = _setting(
        24.0, float, "Age in hours from which on an event that a webhook does not take is dropped.", least=0, most=8760
    )
    mqtt_url: str | None = _setting(
        None, str, "MQTT broker that events are published to: `mqtt://user:password@host:1883`, `mqtts://` with TLS.",
        shown="none", secret=True,
    )
    mqtt_password_file: Path | None = _setting(None, Path, "File that holds the broker's password instead.", shown="none")
    mqtt_ca_file: Path | None = _setting(
        None, Path, "PEM file of a certificate authority to trust besides the usual ones, for `mqtts://`.", shown="none"
    )
    mqtt_prefix: str = _setting("recognizer", _topic, "First levels of all MQTT topics.")
    mqtt_discovery: str = _setting(
        "homeassistant", _topic_or_none, "Home Assistant's MQTT discovery prefix; `none` announces nothing."
    )

    def __post_init__(self):
        for item in fields(self):
            value, rule = getattr(self, item.name), item.metadata
            if value is None:
                continue
            if rule["choices"] and value not in rule["choices"]:
                raise SettingsError(f"{item.name}: expected one of {', '.join(rule['choices'])}, got {value!r}")
            if rule["least"] is not None and not value >= rule["least"]:  # not a number is neither
                raise SettingsError(f"{item.name}: expected at least {rule['least']}, got {value}")
            if rule["most"] is not None and not value <= rule["most"]:
                raise SettingsError(f"{item.name}: expected at most {rule['most']}, got {value}")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides) -> Settings:
        """Read the settings that `environ` (default: the process's) holds; `overrides` win over it.

        Raises
        ------
        SettingsError
            A value cannot be read, or a variable with our prefix names no setting (a typo must not pass in silence).
        """
        environ = os.environ if environ is None else environ
        known = {PREFIX + item.name.upper(): item for item in fields(cls)}
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
        if unknown:
            raise SettingsError(f"no such setting: {', '.join(unknown)}")
        values = {}
        for variable, item in known.items():
            text = environ.get(variable, "").strip()
            if not text:
                continue
            try:
                values[item.name] = item.metadata["parse"](text)
            except ValueError as error:
                found = "its value" if item.metadata["secret"] else repr(text)
                raise SettingsError(f"{variable}: {found} cannot be used: {error}") from None
        values.update({name: value for name, value in overrides.items() if value is not None})
        return cls(**values)

    def replace(self, **changes) -> Settings:
        return dataclasses.replace(self, **changes)


SETTINGS = fields(Settings)


def markdown_table() -> str:
    """The settings as the README shows them."""
    rows = ["| setting | default | what it does |", "| --- | --- | --- |"]
    for item in SETTINGS:
        rule = item.metadata
        shown = rule["shown"]
        if shown is None:
            default = item.default if item.default is not dataclasses.MISSING else item.default_factory()
            shown = f"`{'on' if default is True else 'off' if default is False else default}`"
        text = rule["help"]
        if rule["choices"]:
            text += " One of " + ", ".join(f"`{choice}`" for choice in rule["choices"]) + "."
        rows.append(f"| `{PREFIX}{item.name.upper()}` | {shown} | {text} |")
    return "\n".join(rows) + "\n"
