"""Photos in a running service of another make, fetched over its API."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from recognizer.core.errors import FetchFailed, ImageTooLarge, InvalidUrl, PhotoNotFound
from recognizer.core.trust import trusting_session
from recognizer.moving.from_files import from_folders, read_file
from recognizer.moving.incoming import Incoming

if TYPE_CHECKING:
    from requests import Response, Session

_SECONDS = 60
#: Photos listed at once.
_PAGE = 200
_MOST_PAGES = 100_000
#: Persons that Azure lists at once.
_AZURE_PAGE = 1000


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
    session, base = trusting_session(), _base(url) + "/api/v1/recognition/faces"
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
    reply = _ask(trusting_session(), "POST", _base(url) + "/v1/vision/face/list", data={"api_key": key})
    names = _json(reply).get("faces")
    if not isinstance(names, list):
        raise FetchFailed("expected a list of faces; is this DeepStack?")
    return _with_photos(map(str, names), photos, max_bytes)


def from_azure(url: str, key: str, photos: Path | None, max_bytes: int) -> list[Incoming]:
    """The people of a person group of Azure Face, with the photos that `photos` has in a folder for each.

    Azure hands out neither photos nor embeddings.

    Parameters
    ----------
    url : str
        Of the group: ``https://<endpoint>/face/v1.0/persongroups/<group>``, or one of ``largepersongroups``.

    Raises
    ------
    InvalidUrl, FetchFailed, InvalidParameter
    """
    session, base = trusting_session(), _base(url)
    if "persongroups/" not in base:
        raise InvalidUrl("expected the address of a group, such as https://HOST/face/v1.0/persongroups/GROUP")
    session.headers["Ocp-Apim-Subscription-Key"] = key
    names: list[str] = []
    start = ""
    for _ in range(_MOST_PAGES):
        shown = _content(_ask(session, "GET", f"{base}/persons", params={"top": str(_AZURE_PAGE), "start": start}))
        if not isinstance(shown, list) or not all(isinstance(each, dict) for each in shown):
            raise FetchFailed("expected a list of persons; is this a person group of Azure Face?")
        names += [str(each.get("name", "")) for each in shown]
        if len(shown) < _AZURE_PAGE:
            break
        start = str(shown[-1].get("personId", ""))
    return _with_photos(dict.fromkeys(names), photos, max_bytes)


def from_rekognition(collection: str, photos: Path | None, max_bytes: int) -> list[Incoming]:
    """The users and ExternalImageIds of a collection of Amazon Rekognition, with the photos that `photos` has for each: in a
    folder of that name, or in a file.

    Rekognition hands out neither photos nor embeddings. boto3 finds credentials, region and endpoint as it always does.

    Raises
    ------
    FetchFailed
        boto3 is missing, or the service refuses.
    InvalidParameter
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise FetchFailed("this needs boto3: pip install boto3") from None
    names: list[str] = []
    try:
        for page in boto3.client("rekognition").get_paginator("list_faces").paginate(CollectionId=collection):
            names += [str(each.get("UserId") or each.get("ExternalImageId") or each["FaceId"]) for each in page["Faces"]]
    except (BotoCoreError, ClientError) as error:
        raise FetchFailed(f"Rekognition cannot be read: {str(error)[:200]}") from None
    return _with_photos(dict.fromkeys(names), photos, max_bytes)


def _with_photos(names: Iterable[str], photos: Path | None, max_bytes: int) -> list[Incoming]:
    """The photos of some people that a folder has: of each in a folder of that name, or in a file of that name."""
    there = [] if photos is None else from_folders(photos, max_bytes)
    found: list[Incoming] = []
    for name in names:
        mine = [each for each in there if each.subject == name]
        if not mine and photos is not None and "/" not in name and (photos / name).is_file():
            mine = [Incoming(Path(name).stem, name, read_file(photos / name, max_bytes))]
        found += mine or [Incoming(name, "no photo", _missing(name))]
    return found


def _missing(name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise PhotoNotFound(f"the service keeps no photos: put some of {name!r} into a folder of that name, and use --photos")

    return read


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


def _content(reply: Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        return None


def _json(reply: Response) -> dict[str, Any]:
    content = _content(reply)
    if not isinstance(content, dict):
        raise FetchFailed("expected JSON; is this the right address?")
    return content
