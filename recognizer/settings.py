"""Every setting: its name, type, default and what it does. The only place that reads the environment.

A setting ``name`` is read from the environment variable ``RECOGNIZER_NAME``. The table in the README is made from
`SETTINGS` by `markdown_table`, and a test holds the two together.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
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


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _default_models() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("recognizer", appauthor=False) / "models"


def _setting(default, parse, help: str, *, least=None, most=None, choices=None, shown: str | None = None):
    metadata = {"parse": parse, "help": help, "least": least, "most": most, "choices": choices, "shown": shown}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


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
        Path(".recognizer"), Path, "Folder of what can be made again: cached templates and thumbnails."
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
    workers: int = _setting(
        0, _whole, "Photos that are worked on at once; 0 takes one per processor core.", least=0, most=256
    )
    queue: int = _setting(
        64, _whole, "Photos that may wait for a worker; beyond it the answer is 503 at once.", least=0, most=100_000
    )
    host: str = _setting("127.0.0.1", str, "Address that `hug -f api.py` listens on when its `-ho` is not given.")
    http_threads: int = _setting(
        96, _whole,
        "Requests that are answered at once. With more than `RECOGNIZER_QUEUE`, full queues leave threads to other routes.",
        least=2, most=1024,
    )
    watch: bool = _setting(True, _switch, "Pick up photos dropped into `known_faces` while running.")
    watch_poll: bool = _setting(
        False, _switch, "Look at `known_faces` by polling; for network shares, which announce nothing."
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
                raise SettingsError(f"{variable}: {text!r} cannot be used: {error}") from None
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
