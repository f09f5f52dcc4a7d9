"""Every setting: its name, type, default and what it does. The only place that reads the environment.

A setting ``name`` is the environment variable ``RECOGNIZER_NAME``; a secret may instead stand in the file that
``RECOGNIZER_NAME_FILE`` names; and all may stand, by their names in small letters, in the TOML file that
``RECOGNIZER_CONFIG`` names. Of these the first that says something wins; what of `CHANGEABLE` none of them says may be changed
while the server runs (see `adjustments`). The table in the README is made from
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
from .origins import normal_host, normal_origin

PREFIX = "RECOGNIZER_"
#: Where a value may come from.
DEFAULT, ENVIRONMENT, FILE, CONFIG, OPTION, PAGE = "default", "environment", "file", "config", "option", "page"
#: Settings that may be changed while the server runs; what is said elsewhere wins.
CHANGEABLE = ("stranger_rate",)
_MOST_FILE_BYTES = 1_000_000


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


def _proxies(text: str) -> tuple[str, ...]:
    """Networks, and the word ``unix`` for whoever comes through a socket file."""
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
        "Folder of what the server keeps: cached templates and thumbnails, which can be made again; keys and "
        "sessions, the list of cameras, the events and changed settings, which cannot.",
    )
    models_dir: Path = _setting(
        _default_models, Path, "Folder where fetched weights are kept.", shown="the user's cache folder"
    )
    detector: str = _setting("yunet", str, "How faces are found.", choices=("yunet", "hog", "cnn"))
    embedder: str = _setting("dlib+sface", str, "How faces are described.", choices=("dlib", "sface", "dlib+sface"))
    provider: str = _setting(
        "cpu", str,
        "What the networks run on. All but `cpu` need a package of their own and drift a little (docs/accuracy.md).",
        choices=("cpu", "cpu-int8", "openvino", "openvino-bf16", "cuda", "coreml", "directml"),
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
        "What the camera `default` shows: a webcam's number, an rtsp, rtmp, http or https URL, a video file or a folder of "
        "photos (`once:` before it plays it once), `test:` for a test pattern, or `none`.",
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
    anyone_may_do_anything: bool = _setting(
        False, _switch,
        "Serve other machines although there are no keys: whoever reaches the port may see, enrol and erase people.",
    )
    admin_key: str | None = _setting(
        None, _long_secret, "A key with the role `admin`, besides those of `python -m recognizer keys`.",
        shown="none", secret=True,
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), _hosts, "Names, beside its addresses, by which this server may be asked, separated by commas (docs/security.md).",
        shown="none",
    )
    cors: tuple[str, ...] = _setting(
        (), _origins, "Other sites whose pages may ask this server, such as `https://app.example.org`, separated by commas.",
        shown="none",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), _proxies, "Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: addresses, networks, or `unix`.",
        shown="none",
    )
    rate_key: str = _setting("6000/minute", _rate, "Requests that one key may make; `off` for any number.")
    rate_address: str = _setting(
        "6000/minute", _rate, "Requests that one address may make while there are keys; `off` for any number."
    )
    session_hours: float = _setting(
        12.0, float, "Hours after which a browser has to show its key again.", least=0.01, most=8760
    )
    tls_certificate: Path | None = _setting(
        None, Path, "PEM file of the certificate, and its chain, with which HTTPS is served.", shown="none"
    )
    tls_key: Path | None = _setting(
        None, Path, "PEM file of the certificate's private key, where the certificate's own file does not hold it.",
        shown="none",
    )
    tls_key_password: str | None = _setting(None, str, "Password of the private key.", shown="none", secret=True)
    tls_client_ca: Path | None = _setting(
        None, Path, "PEM file of authorities: only clients with a certificate by one of them can connect.", shown="none"
    )
    http_threads: int = _setting(
        96, _whole,
        "Requests that are answered at once. With more than `RECOGNIZER_QUEUE`, full queues leave threads to other routes.",
        least=2, most=1024,
    )
    config: Path | None = _setting(
        None, Path, "TOML file with any of these settings, named in small letters without the prefix.", shown="none"
    )
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
    log: str = _setting(
        "auto", str, "How logs are written: as text, as a line of JSON each, or `auto`: text on a terminal, else JSON.",
        choices=("auto", "text", "json"),
    )
    log_level: str = _setting(
        "info", str, "From which level on. `debug` also writes the paths of requests, which hold names.",
        choices=("debug", "info", "warning", "error"),
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
    strangers: str = _setting(
        "off", str,
        "Whose faces are kept, grouped by person, so that somebody may say who they are: nobody's, those that cameras do not "
        "know, or those in photos sent to `/recognize` as well.",
        choices=("off", "cameras", "all"),
    )
    strangers_days: float = _setting(
        30.0, float, "Days after which a stranger who was not seen again is forgotten.", least=0.01, most=36_500
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
    #: What was said of which setting, and where; empty where a program gives the values.
    found: Mapping[str, Found] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self):
        for item in SETTINGS:
            value, rule = getattr(self, item.name), item.metadata
            if value is None:
                continue
            if rule["choices"] and value not in rule["choices"]:
                raise SettingsError(f"{item.name}: expected one of {', '.join(rule['choices'])}, got {value!r}")
            if rule["least"] is not None and not value >= rule["least"]:  # not a number is neither
                raise SettingsError(f"{item.name}: expected at least {rule['least']}, got {value}")
            if rule["most"] is not None and not value <= rule["most"]:
                raise SettingsError(f"{item.name}: expected at most {rule['most']}, got {value}")
        for name in ("tls_key", "tls_key_password", "tls_client_ca"):
            if getattr(self, name) is not None and self.tls_certificate is None:
                raise SettingsError(f"{name}: expected tls_certificate beside it")
        if not self.keep_photos and self.strangers != "off":
            raise SettingsError("strangers: expected off where keep_photos is off, since pictures of them would be kept")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides) -> Settings:
        """Read the settings that `environ` (default: the process's) holds; `overrides` win over it.

        Raises
        ------
        SettingsError
            A value cannot be read, or a variable with our prefix, or a name in the TOML file, is no setting's (a typo
            must not pass in silence).
        """
        found = read(environ)
        values = {name: value.parsed() for name, value in found.items()}
        values.update({name: value for name, value in overrides.items() if value is not None})
        found = {name: each for name, each in found.items() if overrides.get(name) is None}
        return cls(**values, found=found)

    def replace(self, **changes) -> Settings:
        return dataclasses.replace(self, **changes)

    def source(self, name: str) -> tuple[str, str]:
        """Where a setting's value comes from, and what it is called there."""
        said = self.found.get(name)
        if said is not None:
            return said.where, said.label
        variable = PREFIX + name.upper()
        return (DEFAULT if getattr(self, name) == default_of(name) else OPTION), variable

    def shown(self, name: str):
        """A setting's value as plain data; of a secret, whether there is one, and of a path its last part."""
        value = getattr(self, name)
        if _RULES[name]["secret"]:
            return "set" if value else "not set"
        if isinstance(value, Path):
            return str(value) if len(value.parts) < 2 else f".../{value.name}"
        return list(value) if isinstance(value, tuple) else value


SETTINGS = tuple(item for item in fields(Settings) if item.metadata)


def default_of(name: str):
    """A setting's value where nobody says anything."""
    item = next(each for each in SETTINGS if each.name == name)
    return item.default if item.default is not dataclasses.MISSING else item.default_factory()


@dataclass(frozen=True)
class Found:
    """A value as it was found: the text, which setting it is for, and where it stood."""

    name: str
    text: str = field(repr=False)
    where: str
    label: str

    def parsed(self):
        rule = _RULES[self.name]
        try:
            return rule["parse"](self.text)
        except ValueError as error:
            shown = "its value" if rule["secret"] else repr(self.text)
            raise SettingsError(f"{self.label}: {shown} cannot be used: {error}") from None


_RULES = {item.name: item.metadata for item in SETTINGS}


def secret_file(name: str) -> str | None:
    """The variable that may name a file with a secret setting's value; None for what is no secret."""
    if not _RULES[name]["secret"] or f"{name}_file" in _RULES:  # which then reads it itself
        return None
    return f"{PREFIX}{name.upper()}_FILE"


def read(environ: Mapping[str, str] | None = None) -> dict[str, Found]:
    """What the environment (default: the process's), and the files it names, say of the settings.

    Raises
    ------
    SettingsError
    """
    environ = os.environ if environ is None else environ
    known = {PREFIX + name.upper(): name for name in _RULES}
    files = {secret_file(name): name for name in _RULES if secret_file(name)}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known and name not in files)
    if unknown:
        raise SettingsError(f"no such setting: {', '.join(unknown)}")
    said = {variable: environ.get(variable, "").strip() for variable in (*known, *files)}
    found = {known[each]: Found(known[each], said[each], ENVIRONMENT, each) for each in known if said[each]}
    for variable, name in files.items():
        if not said[variable]:
            continue
        if name in found:
            raise SettingsError(f"{variable}: expected it or {PREFIX}{name.upper()}, got both")
        text = _file(variable, Path(said[variable])).strip()
        if not text:
            raise SettingsError(f"{variable}: the file it names is empty")
        found[name] = Found(name, text, FILE, variable)
    if "config" in found:
        found = _config(Path(found["config"].text)) | found
    return found


def _config(path: Path) -> dict[str, Found]:
    """The settings of a TOML file."""
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        table = tomllib.loads(_file(f"{PREFIX}CONFIG", path))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path.name} cannot be read as TOML: {error}") from None
    unknown = sorted(set(table) - (set(_RULES) - {"config"}))
    if unknown:
        raise SettingsError(f"no such setting in {path.name}: {', '.join(unknown)}")
    found = {}
    for name, value in table.items():
        label = f"{name} in {path.name}"
        text = _as_text(label, value).strip()
        if text:
            found[name] = Found(name, text, CONFIG, label)
    return found


def _as_text(label: str, value) -> str:
    """A value of TOML as its variable would hold it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    raise SettingsError(f"{label}: expected a text, a number, true, false or a list of texts")


def _file(label: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_FILE_BYTES + 1)
        if len(data) > _MOST_FILE_BYTES:
            raise ValueError("it is too large")
        return data.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{label}: the file it names cannot be read: {(error.strerror or '').lower()}") from None
    except ValueError as error:
        shown = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise SettingsError(f"{label}: the file it names cannot be read: {shown}") from None


def markdown_table() -> str:
    """The settings as the README shows them."""
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
