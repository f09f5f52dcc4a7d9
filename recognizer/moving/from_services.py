"""Photos in a running service of another make, fetched over its API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from recognizer.core.errors import FetchFailed, ImageTooLarge, InvalidUrl, PhotoNotFound
from recognizer.moving.from_files import from_folders
from recognizer.moving.incoming import Incoming

if TYPE_CHECKING:
    from requests import Response, Session

_SECONDS = 60
#: Photos listed at once.
_PAGE = 200
_MOST_PAGES = 100_000


def from_compreface(url: str, key: str, max_bytes: int) -> list[Incoming]:
    """Every photo of the face collection that a key of CompreFace opens.

    Parameters
    ----------
    url : str
        Of the service, without ``/api/v1``.

    Raises
    ------
    InvalidUrl
    FetchFailed
        It cannot be reached, refuses the key, or answers something else.
    """
    session, base = _session(), _base(url) + "/api/v1/recognition/faces"
    session.headers["x-api-key"] = key
    found: list[Incoming] = []
    for page in range(_MOST_PAGES):
        shown = _json(_ask(session, "GET", base, params={"page": str(page), "size": str(_PAGE)}))
        faces = shown.get("faces")
        if not isinstance(faces, list) or not all(isinstance(each, dict) for each in faces):
            raise FetchFailed("expected a list of faces; is this CompreFace?")
        for each in faces:
            id, subject = str(each.get("image_id", "")), str(each.get("subject", ""))
            found.append(Incoming(subject, id, _image_reader(session, f"{base}/{quote(id, safe='')}/img", max_bytes)))
        if not faces or page + 1 >= int(shown.get("total_pages") or 0):
            break
    return found


def _image_reader(session: Session, url: str, max_bytes: int) -> Callable[[], bytes]:
    def read() -> bytes:
        with _ask(session, "GET", url, stream=True) as reply:
            data = b""
            for part in reply.iter_content(1 << 16):
                data += part
                if len(data) > max_bytes:
                    raise ImageTooLarge(f"expected a photo of at most {max_bytes} bytes, got more", max_bytes=max_bytes)
        if not data:
            raise PhotoNotFound("the service has not kept this photo")
        return data

    return read


def from_deepstack(url: str, key: str, photos: Path | None, max_bytes: int) -> list[Incoming]:
    """The people whom DeepStack or CodeProject.AI knows, with the photos that `photos` has in a folder for each.

    These services keep embeddings and no photos, and embeddings of another network are of no use here.

    Raises
    ------
    InvalidUrl, FetchFailed, InvalidParameter
    """
    reply = _ask(_session(), "POST", _base(url) + "/v1/vision/face/list", data={"api_key": key})
    names = _json(reply).get("faces")
    if not isinstance(names, list):
        raise FetchFailed("expected a list of faces; is this DeepStack?")
    there = [] if photos is None else from_folders(photos, max_bytes)
    found: list[Incoming] = []
    for name in map(str, names):
        mine = [each for each in there if each.subject == name]
        found += mine or [Incoming(name, "no photo", _missing(name))]
    return found


def _missing(name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise PhotoNotFound(f"the service keeps no photos: put some of {name!r} into a folder of that name, and use --photos")

    return read


def _session() -> Session:
    import requests

    return requests.Session()


def _base(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise InvalidUrl(f"expected the address of a service, such as http://localhost:8000, got {url[:100]!r}")
    return url.rstrip("/")


def _ask(session: Session, method: str, url: str, **how: Any) -> Response:
    """A reply of 200, without following it elsewhere: the key is for this service only."""
    import requests

    try:
        reply = session.request(method, url, timeout=_SECONDS, allow_redirects=False, **how)
    except requests.RequestException as error:
        raise FetchFailed(f"the service does not answer: {type(error).__name__}") from None
    if reply.status_code != 200:
        raise FetchFailed(f"the service answered {reply.status_code}: {reply.text[:200]}")
    return reply


def _json(reply: Response) -> dict[str, Any]:
    try:
        content = reply.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise FetchFailed("expected JSON; is this the right address?")
    return content
