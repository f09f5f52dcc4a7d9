"""The files of recognizer/web as replies: read and compressed once, each with its type and its ETag.

Their addresses hold a version made of their content, so browsers may cache them for ever; only the pages that name them,
`index.html` and `docs.html`, are requested again. No path is followed: a name is looked up among the files that were read.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from recognizer.core.errors import UnknownRoute

FOLDER = Path(__file__).parents[1] / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
    ".json": "application/json",
}
#: Scripts, styles and pictures from this server alone; no inline script, no inline style, and nothing that takes HTML. The
#: policy `shell` of app.js makes one address, that of the service worker.
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types shell"
)
#: The same for the viewer of the API, which builds its page from HTML that it makes safe itself.
DOCS_POLICY = POLICY.partition("; require-trusted-types")[0]
FOR_GOOD, ASK_AGAIN = "private, max-age=31536000, immutable", "no-cache"
_MARK = b"@version@"
_WORKER = "service-worker.js"
#: The worker may answer for the page, two folders up, and ask this server only.
_WORKER_HEADERS = {"Service-Worker-Allowed": "../../", "Content-Security-Policy": "default-src 'none'; connect-src 'self'"}
_WORTH = 200
_GONE = "there is no such part of the page; load the page again"


@dataclass(frozen=True)
class Reply:
    """A reply: status, headers, and the body, which is empty for 304."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class File:
    """One file as it is sent: plain, and compressed where that is shorter."""

    name: str
    plain: bytes
    digest: str

    @classmethod
    def of(cls, name: str, data: bytes) -> File:
        return cls(name, data, hashlib.sha256(data).hexdigest()[:20])

    @cached_property
    def packed(self) -> bytes | None:
        """Compressed when it is first asked for: compressing all files would be a twentieth of the work of a start."""
        packed = gzip.compress(self.plain, 9, mtime=0) if len(self.plain) >= _WORTH else None
        return packed if packed is not None and len(packed) < len(self.plain) else None

    def reply(self, request: Mapping[str, str | None], **headers: str) -> Reply:
        """Answer a request according to its headers Accept-Encoding and If-None-Match."""
        packed = self.packed if accepts_gzip(request.get("Accept-Encoding") or "") else None
        tag = f'"{self.digest}{"-gz" if packed is not None else ""}"'
        shown = {"Content-Type": TYPES[Path(self.name).suffix], "ETag": tag, "Vary": "Accept-Encoding", **headers}
        if matches(request.get("If-None-Match") or "", tag):
            return Reply(304, shown)
        if packed is None:
            return Reply(200, shown, self.plain)
        return Reply(200, {**shown, "Content-Encoding": "gzip"}, packed)


class Pages:
    """Every file of a folder, read when this is made.

    Parameters
    ----------
    folder : Path, optional
    others : mapping, optional
        Name -> callable that gives the path of a file kept elsewhere, or raises an error; asked until it is there.
    """

    def __init__(self, folder: Path = FOLDER, others: Mapping[str, Callable[[], Path]] | None = None):
        self._others = dict(others or {})
        self._read: dict[str, File] = {}
        self._lock = threading.Lock()
        found = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in TYPES}
        self.version = _version(found.values())
        self.files = {name: File.of(name, data.replace(_MARK, self.version.encode())) for name, data in found.items()}

    def page(self, name: str, request: Mapping[str, str | None]) -> Reply:
        """One of the HTML files; the browser asks each time whether it has changed."""
        policy = DOCS_POLICY if name == "docs.html" else POLICY
        headers = {"Cache-Control": ASK_AGAIN, "Content-Security-Policy": policy, "Vary": "Accept, Accept-Encoding"}
        return self.files[name].reply(request, **headers)

    def asset(self, version: str, name: str, request: Mapping[str, str | None]) -> Reply:
        """A file that a page names.

        Raises
        ------
        UnknownRoute
            There is no such file, or the version is another: the page was loaded from an earlier release.
        """
        if version != self.version or name.endswith(".html"):
            raise UnknownRoute(_GONE)
        if name in self._others:
            return self._other(name).reply(request, **{"Cache-Control": ASK_AGAIN})
        if name not in self.files:
            raise UnknownRoute(_GONE)
        more = _WORKER_HEADERS if name == _WORKER else {}
        return self.files[name].reply(request, **{"Cache-Control": FOR_GOOD, **more})

    def _other(self, name: str) -> File:
        path = self._others[name]()
        with self._lock:  # compressing a large one once is enough
            if name not in self._read:
                self._read[name] = File.of(name, path.read_bytes())
            file = self._read[name]
            _ = file.packed
            return file


def _version(contents: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for data in contents:
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:12]


def wants_page(accept: str) -> bool:
    """Whether the client is a browser: programs that accept anything get the description of the API."""
    return any(part.split(";")[0].strip().lower() == "text/html" for part in accept.split(","))


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip."""
    offered = {}
    for part in header.lower().split(","):
        name, *options = (piece.strip() for piece in part.split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        offered[name] = quality.strip("0.") != ""
    return offered.get("gzip", offered.get("*", False))


def matches(header: str, tag: str) -> bool:
    """Whether an If-None-Match header names this ETag."""
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in header.split(","))
