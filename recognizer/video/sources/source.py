"""Parses the names of cameras into `CameraSource`s, and shows them without their secrets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from recognizer.core.errors import InvalidSource, InvalidUrl
from recognizer.core.origins import Address
from recognizer.fetching.urls import parse_host

if TYPE_CHECKING:
    import numpy as np

#: Schemes of streams, with their ports.
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
#: Live kinds, which never end unless they fail: such a source is never "ended".
LIVE = frozenset({"device", "rtsp", "http"})
#: Kinds that end, and then start over unless they are to be played once.
RECORDINGS = frozenset({"file", "stills"})
#: Prefix of a recording that is played once.
ONCE = "once:"
MOST_DEVICES = 64
_LONGEST = 4096
_WAYS = "a number (webcam), an rtsp, rtmp, http or https URL, a video file, a folder of photos, or test:"
_VIEW = re.compile(r"(?:turn(?P<turn>90|180|270)|(?P<mirror>mirror)|crop(?P<crop>[0-9., ]{1,60})):", re.ASCII | re.IGNORECASE)
#: A camera's address without a scheme.
_SCHEMELESS = re.compile(
    r"(?:[^/\s:@]+:[^/\s@]*@[^/\s:]+|(?:[^/\s@]*@)?(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\]|www\.[^/\s:]+"
    r"|[a-z0-9.-]+\.(?:local|lan|home)|[a-z0-9.-]{2,}(?=:[0-9]{2,5}(?:/|$))))(?::[0-9]{1,5})?(?:[/?].*)?",
    re.ASCII | re.IGNORECASE,
)
_PATTERN = re.compile(r"test:(?:(\d{1,5})x(\d{1,5}))?(?:@(\d{1,4}(?:\.\d{1,3})?))?", re.ASCII)


@dataclass(frozen=True)
class SourceView:
    """How a camera's pictures are changed: turned first, then mirrored, then cropped.

    Attributes
    ----------
    turn : {0, 90, 180, 270}
        Degrees, clockwise.
    mirror : bool
        Whether left and right are swapped.
    crop : tuple of float, optional
        Left, top, right and bottom of the visible part, in hundredths of the width and the height.
    """

    turn: int = 0
    mirror: bool = False
    crop: tuple[float, float, float, float] | None = None

    def __bool__(self) -> bool:
        return self != SourceView()

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """The changed pixels, contiguous."""
        import numpy as np

        pixels = np.rot90(pixels, -self.turn // 90)
        if self.mirror:
            pixels = pixels[:, ::-1]
        if self.crop is not None:
            height, width = pixels.shape[:2]
            left, top, right, bottom = self.crop
            x, y = min(width - 1, int(width * left / 100)), min(height - 1, int(height * top / 100))
            pixels = pixels[y : max(y + 1, round(height * bottom / 100)), x : max(x + 1, round(width * right / 100))]
        return np.ascontiguousarray(pixels)


@dataclass(frozen=True)
class CameraSource:
    """Where frames come from.

    Attributes
    ----------
    kind : {"device", "rtsp", "http", "file", "stills", "pattern"}
        "rtsp" includes RTMP: FFmpeg connects to these by itself.
    address : str
        With credentials; never shown.
    loop : bool
        Whether a recording starts over when it ends.
    shown : str
        The address for people: without credentials, and for files without their folders.
    view : SourceView
        How its pictures are changed.
    root : str, optional
        The folder that a file or folder must be in whenever it is opened, symbolic links resolved.
    """

    kind: str
    address: str = field(repr=False)
    loop: bool
    shown: str
    view: SourceView = SourceView()
    root: str | None = field(default=None, repr=False)

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
        """The URL without user and password."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def at(self, address: Address) -> str:
        """The URL with an address instead of the host name, and with the credentials."""
        host = f"[{address}]" if address.version == 6 else str(address)
        login = "" if self.user is None else quote(self.user, safe="")
        if self.password is not None:
            login += ":" + quote(self.password, safe="")
        return f"{self.scheme}://{login}{'@' if login else ''}{host}:{self.port}{self.path}"


def parse_source(text: str | int, *, loop: bool = True) -> CameraSource:
    """Parse the name of a source.

    Parameters
    ----------
    text : str or int
        A webcam's number or device file; an rtsp, rtsps, rtmp, rtmps, http or https URL; a video file; a folder of
        photos; ``test:`` or ``test:1280x720@30``, a moving pattern. ``file:`` before a path keeps it from being taken
        for anything else, ``once:`` before a file or a folder from starting over. Before all of it may stand ``turn90:``,
        ``turn180:`` or ``turn270:``, ``mirror:`` and ``crop10,0,90,100:``, see `SourceView`.
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
    said, rest = split_view(text)
    if said:
        source = parse_source(rest, loop=loop)
        return replace(source, view=parse_view(said), shown=said + source.shown)
    if text.lower().startswith(ONCE):
        return _played_once(text[len(ONCE) :])
    if re.fullmatch(r"-?[0-9]+", text):
        return _device(int(text), loop)
    if text.startswith("/dev/"):
        number = re.fullmatch(r"/dev/video([0-9]{1,3})", text)
        return _device(int(number[1]), loop) if number else CameraSource("device", text, loop, f"device {Path(text).name}")
    if text.lower().startswith("test:"):
        return _pattern(text.lower(), loop)
    scheme, separator, rest = text.partition("://")
    if text.lower().startswith("file:"):
        return _path(unquote(rest) if separator else text[len("file:") :], loop, explicit=True)
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        if scheme.lower() not in PORTS:
            raise InvalidSource(f"expected one of {', '.join(PORTS)} before ://")
        url = split_url(text)
        return CameraSource("http" if url.scheme in ("http", "https") else "rtsp", text, loop, shown_url(url))
    return _path(text, loop)


def split_view(text: str) -> tuple[str, str]:
    """Split the prefixes for turning, mirroring and cropping from the rest of a source."""
    at = 0
    while found := _VIEW.match(text, at):
        at = found.end()
    return text[:at], text[at:].strip()


def parse_view(text: str) -> SourceView:
    """Parse the prefixes that `split_view` returned.

    Raises
    ------
    InvalidSource
        A prefix occurs twice, or nothing is left after cropping.
    """
    turn, mirror, crop = 0, False, None
    seen = set()
    for found in _VIEW.finditer(text):
        kind = found.lastgroup
        if kind in seen:
            raise InvalidSource("expected turn, mirror and crop at most once each")
        seen.add(kind)
        if kind == "turn":
            turn = int(found["turn"])
        elif kind == "mirror":
            mirror = True
        else:
            crop = _parse_crop(found["crop"])
    return SourceView(turn, mirror, crop)


def _parse_crop(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = map(float, text.split(","))
    except ValueError:
        left = top = right = bottom = 0.0
    if not (0 <= left < right <= 100 and 0 <= top < bottom <= 100):
        raise InvalidSource("expected crop as left,top,right,bottom in hundredths of the picture: crop10,0,90,100")
    return left, top, right, bottom


def _played_once(text: str) -> CameraSource:
    source = parse_source(text, loop=False)
    if source.kind not in RECORDINGS:
        raise InvalidSource(f"expected a video file or a folder of photos after {ONCE}")
    return source


def _device(number: int, loop: bool) -> CameraSource:
    if not 0 <= number < MOST_DEVICES:
        raise InvalidSource(f"expected a webcam's number from 0 to {MOST_DEVICES - 1}")
    return CameraSource("device", str(number), loop, f"webcam {number}")


def _pattern(text: str, loop: bool) -> CameraSource:
    if not _PATTERN.fullmatch(text):
        raise InvalidSource("expected a test pattern as test:, test:1280x720 or test:1280x720@30")
    pattern_size(text)
    return CameraSource("pattern", text, loop, text)


def pattern_size(text: str) -> tuple[int, int, float]:
    """Width, height and frames per second of a test pattern's address."""
    found = _PATTERN.fullmatch(text)
    assert found is not None, "`parse_source` accepts no other pattern"
    width, height, rate = found.groups()
    size = int(width or 1280), int(height or 720), float(rate or 30)
    if not (64 <= size[0] <= 7680 and 64 <= size[1] <= 4320 and 0.1 <= size[2] <= 240):
        raise InvalidSource("expected a test pattern of 64x64 to 7680x4320 pixels at 0.1 to 240 frames per second")
    return size


def _path(text: str, loop: bool, explicit: bool = False) -> CameraSource:
    if not text.strip():
        raise InvalidSource(f"expected {_WAYS}")
    path = Path(text).expanduser()
    if not explicit and _SCHEMELESS.fullmatch(text) and not os.path.lexists(path):
        raise InvalidSource("expected rtsp:// or http:// before the address of a camera, as in rtsp://192.168.1.20/stream")
    try:
        kind = "stills" if path.is_dir() else "file"
    except OSError:
        kind = "file"
    return CameraSource(kind, str(path), loop, path.name or "folder")


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
        host, literal = parse_host(place)
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
    """A URL without its secrets: user and password, values of the query, stream keys, tokens in the path."""
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
    """A part of a path if it looks like a stream's name, else stars."""
    plain = re.fullmatch(r"[A-Za-z0-9._-]{0,32}", text)
    token = len(text) >= 12 and re.search("[0-9]", text) and re.search("[A-Za-z]", text)
    return text if plain and not token else "***"
