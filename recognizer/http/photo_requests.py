"""What several routes share: reading photos from a request, answering with JSON or a picture, enrolling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import falcon

from recognizer.core.audit import one_act
from recognizer.core.errors import Busy, Conflict, FaceError, ImageError, InvalidParameter, NoImage, StorageError
from recognizer.core.wording import plural
from recognizer.http import replies
from recognizer.http.site import Site
from recognizer.photos.results import Seen, SeenObjects


def all_photos(site: Site, request: Any, field: str, url: str | None) -> list[bytes]:
    """All photos that a request brings for `field`, uploaded or at `url`.

    Raises
    ------
    InvalidParameter
        There are more than the settings allow.
    FetchError, InvalidUrl
    """
    found = list(request.context.body.photos.get(field, ()))
    if len(found) + bool(url) > site.settings.max_photos:
        raise InvalidParameter(f"expected at most {plural(site.settings.max_photos, 'photo')}, got {len(found) + bool(url)}")
    if url:
        found.append(site.service.fetch(url))
    return found


def one_photo(site: Site, request: Any, field: str, url: str | None) -> bytes:
    """The one photo that a request brings for `field`.

    Raises
    ------
    NoImage
        There is none, or there are several.
    FetchError, InvalidUrl
    """
    found = len(request.context.body.photos.get(field, ())) + bool(url)
    if not found:
        ways = "image_url, a multipart file, the photo as the body, or JSON with image_url or image_base64"
        raise NoImage(f"expected a photo: {ways}" if field == "file" else f"expected a photo in {field}")
    if found > 1:
        raise NoImage(f"expected one photo, got {found}")
    return all_photos(site, request, field, url)[0]


def wants_jpeg(request: Any, format: str | None) -> bool:
    """Whether to answer with the annotated photo: requested by `format`, or else by the Accept header."""
    if format:
        return format == "jpeg"
    accept = request.get_header("Accept") or ""
    return ("image/jpeg" in accept or accept.strip() == "image/*") and "json" not in accept


def answer(
    site: Site,
    request: Any,
    response: Any,
    seen: Seen | SeenObjects,
    format: str | None,
    shape: Callable[..., dict] = replies.seen,
    **shown: bool,
) -> dict | bytes:
    """The result for a photo, as JSON in the given shape or as an annotated JPEG."""
    if wants_jpeg(request, format):
        response.content_type = "image/jpeg"
        return site.service.recognition.annotated(seen)
    return shape(seen, **shown)


def enrol_photos(
    site: Site,
    request: Any,
    response: Any,
    subject: str,
    given: Sequence[bytes],
    face: str,
    force: bool,
    as_one: bool = False,
    details: dict[str, str] | None = None,
    group: str | None = None,
    taken: str | None = None,
) -> dict:
    """Enrol photos, and report the result of each.

    Parameters
    ----------
    as_one : bool
        If all photos are refused for the same reason, that reason is the error of the whole reply.
    details : dict, optional
        Added to the one line of the audit log.
    group : str, optional
        Where they are enrolled; by default in known_faces.
    taken : str, optional
        When they were taken, for those that do not say so.
    """
    names = request.context.body.file_names.get("file", [])
    names = names if len(names) == len(given) else [None] * len(given)  # a URL tells no name
    subjects = site.service.groups.get(group).subjects
    shown, errors, added_to = [], [], []
    with one_act(**details or {}):
        for each, name in zip(given, names, strict=True):
            try:
                enrolled = subjects.enrol(subject, each, face=face, force=force, file=name, taken=taken)
                shown.append(replies.enrolled(enrolled))
                added_to.append(enrolled.subject)
            except (ImageError, FaceError, Conflict, Busy, StorageError) as error:
                errors.append(error)  # of several photos, the earlier ones are enrolled: the reply has to say so
                shown.append({"status": "refused", "error": replies.error(error)})
    if len(errors) == len(given):
        if len(given) == 1 or (as_one and len({type(error) for error in errors}) == 1):
            raise errors[0]
        if isinstance(errors[0], (Busy, StorageError)):
            raise errors[0]
        response.status = falcon.HTTP_422
        request.env["recognizer.error"] = "no_usable_photo"
        message = f"none of the {plural(len(given), 'photo')} could be used"
        return {"error": {"code": "no_usable_photo", "message": message, "photos": shown}}
    added = sum(each["status"] == "added" for each in shown)
    response.status = falcon.HTTP_201 if added else falcon.HTTP_200
    return {"subject": added_to[0], "added": added, "refused": len(errors), "photos": shown}
