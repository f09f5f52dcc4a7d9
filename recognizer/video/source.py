"""What somebody names as a camera, read into a `Source`, and how it is shown without what is secret in it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ..errors import InvalidSource, InvalidUrl
from ..fetch import Address, read_host

#: Schemes of streams, with their ports.
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
#: Kinds that go on for ever unless they fail: such a source is never "ended".
LIVE = frozenset({"device", "rtsp", "http"})
#: Kinds that have an end, and begin again there unless they are to be played once.
RECORDINGS = frozenset({"file", "stills"})
#: Before a recording that is not to begin again at its end.
ONCE = "once:"
MOST_DEVICES = 64
_LONGEST = 4096
_WAYS = "a number (webcam), an rtsp, rtmp, http or https URL, a video file, a folder of photos, or test:"
_PATTERN = re.compile(r"test:(?:(\d{1,5})x(\d{1,5}))?(?:@(\d{1,4}(?:\.\d{1,3})?))?", re.ASCII)


@dataclass(frozen=True)
class Source:
    """Where frames come from.

    Attributes
    ----------
    kind : {"device", "rtsp", "http", "file", "stills", "pattern"}
        "rtsp" stands for RTMP too: what FFmpeg connects to by itself.
    address : str
        With credentials; never shown.
    loop : bool
        Whether a recording starts over when it ends.
    shown : str
        The same for people: without credentials, and of files without their folders.
    """

    kind: str
    address: str = field(repr=False)
    loop: bool
    shown: str

    @property
    def live(self) -> bool:
        return self.kind in LIVE


@dataclass(frozen=True)
class StreamUrl:
    """The parts of a stream's URL. ``path`` has its query; user and password are decoded."""

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def plain(self) -> str:
        """Without user and password."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def at(self, address: Address) -> str:
        """The URL with an address in the place of the host name, and with the credentials."""
        host = f"[{address}]" if address.version == 6 else str(address)
        login = "" if self.user is None else quote(self.user, safe="")
        if self.password is not None:
            login += ":" + quote(self.password, safe="")
        return f"{self.scheme}://{login}{'@' if login else ''}{host}:{self.port}{self.path}"


def parse_source(text: str | int, *, loop: bool = True) -> Source:
    """Read what names a source.

    Parameters
    ----------
    text : str or int
        A webcam's number or device file; an rtsp, rtsps, rtmp, rtmps, http or https URL; a video file; a folder of
        photos; ``test:`` or ``test:1280x720@30``, a moving pattern. ``file:`` before a path keeps it from being taken
        for anything else, ``once:`` before a file or a folder from starting over.
    loop : bool
        Whether a video file or a folder starts over at its end.

    Raises
    ------
    InvalidSource
        It is none of these. The message does not repeat it: it may hold a password.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int, os.PathLike)):
        raise InvalidSource(f"expected {_WAYS}")
    text = str(text).strip()
    if not 0 < len(text) <= _LONGEST or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", text):
        raise InvalidSource(f"expected {_WAYS}: 1 to {_LONGEST} characters, none of them control characters")
    if text.lower().startswith(ONCE):
        return _played_once(text[len(ONCE) :])
    if re.fullmatch(r"-?[0-9]+", text):
        return _device(int(text), loop)
    if text.startswith("/dev/"):
        number = re.fullmatch(r"/dev/video([0-9]{1,3})", text)
        return _device(int(number[1]), loop) if number else Source("device", text, loop, f"device {Path(text).name}")
    if text.lower().startswith("test:"):
        return _pattern(text.lower(), loop)
    scheme, separator, rest = text.partition("://")
    if text.lower().startswith("file:"):
        return _path(unquote(rest) if separator else text[len("file:") :], loop)
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        if scheme.lower() not in PORTS:
            raise InvalidSource(f"expected one of {', '.join(PORTS)} before ://")
        url = split_url(text)
        return Source("http" if url.scheme in ("http", "https") else "rtsp", text, loop, shown_url(url))
    return _path(text, loop)


def _played_once(text: str) -> Source:
    source = parse_source(text, loop=False)
    if source.kind not in RECORDINGS:
        raise InvalidSource(f"expected a video file or a folder of photos after {ONCE}")
    return source


def _device(number: int, loop: bool) -> Source:
    if not 0 <= number < MOST_DEVICES:
        raise InvalidSource(f"expected a webcam's number from 0 to {MOST_DEVICES - 1}")
    return Source("device", str(number), loop, f"webcam {number}")


def _pattern(text: str, loop: bool) -> Source:
    if not _PATTERN.fullmatch(text):
        raise InvalidSource("expected a test pattern as test:, test:1280x720 or test:1280x720@30")
    pattern_size(text)
    return Source("pattern", text, loop, text)


def pattern_size(text: str) -> tuple[int, int, float]:
    """Width, height and frames per second of a test pattern's address."""
    width, height, rate = _PATTERN.fullmatch(text).groups()
    size = int(width or 1280), int(height or 720), float(rate or 30)
    if not (64 <= size[0] <= 7680 and 64 <= size[1] <= 4320 and 0.1 <= size[2] <= 240):
        raise InvalidSource("expected a test pattern of 64x64 to 7680x4320 pixels at 0.1 to 240 frames per second")
    return size


def _path(text: str, loop: bool) -> Source:
    if not text.strip():
        raise InvalidSource(f"expected {_WAYS}")
    path = Path(text).expanduser()
    try:
        kind = "stills" if path.is_dir() else "file"
    except OSError:
        kind = "file"
    return Source(kind, str(path), loop, path.name or "folder")


# --- URLs ------------------------------------------------------------------------------------------------------------


def split_url(text: str) -> StreamUrl:
    """The parts of a stream's URL.

    Raises
    ------
    InvalidSource
        It has no host or port that can be read.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
        user, password = parts.username, parts.password
    except ValueError:
        raise InvalidSource("expected a URL with a host and a port that can be read") from None
    place = parts.netloc.rpartition("@")[2]
    if not place or "\\" in parts.netloc or port == 0 or not re.fullmatch(r"[^:]*|.*\]|.*:[0-9]{0,5}", place, re.ASCII):
        raise InvalidSource("expected a URL with a host, and a port from 1 to 65535 if any; percent-encode / ? # in passwords")
    try:
        host, literal = read_host(place)
    except InvalidUrl as error:
        raise InvalidSource(error.message) from None
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~[]|")
    if parts.query:
        path += "?" + quote(parts.query, safe="/%?:@!$&()*+,;=~[]|{}^`'")
    scheme = parts.scheme.lower()
    if user is not None:
        user, password = unquote(user), None if password is None else unquote(password)
    return StreamUrl(scheme, host, port or PORTS[scheme], path or "/", literal, user, password)


def shown_url(url: StreamUrl) -> str:
    """A URL without what may be secret: user and password, values of the query, stream keys, tokens in the path."""
    login = "" if url.user is None and url.password is None else "***@"
    path, _, query = url.path.partition("?")
    segments = path.split("/")
    shown = ["/".join(_shown_segment(segment) for segment in segments)]
    if url.scheme.startswith("rtmp") and segments[-1] and len(segments) > 2:
        shown = ["/".join([*map(_shown_segment, segments[:-1]), "***"])]  # the last one is the stream's key
    if query:
        names = [part.partition("=")[0] if "=" in part else "" for part in query.split("&")]
        shown.append("&".join(f"{_shown_segment(name)}=***" if name else "***" for name in names))
    return f"{url.scheme}://{login}{url.authority}{'?'.join(shown)}"


def _shown_segment(text: str) -> str:
    """A piece of a path as it is if it looks like a word that names a stream, else stars."""
    plain = re.fullmatch(r"[A-Za-z0-9._-]{0,32}", text)
    token = len(text) >= 12 and re.search("[0-9]", text) and re.search("[A-Za-z]", text)
    return text if plain and not token else "***"
