"""What Azure Face's routes share: versions in the path, parameters in Azure's terms, photos, pages of lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from recognizer.core.brief import brief, cut
from recognizer.core.errors import GroupNotFound, GroupTaken, InvalidParameter, NoFace, NoImage, UnknownRoute
from recognizer.http.dialect_requests import DialectRequest
from recognizer.http.hug_adapter import DialectRouter
from recognizer.http.site import Site
from recognizer.photos import images
from recognizer.service.groups import PeopleGroup

VERSIONS = ("v1.0", "v1.1-preview.1", "v1.2-preview.1", "v1.2")
RECOGNITION_MODELS = tuple(f"recognition_0{number}" for number in range(1, 5))
DETECTION_MODELS = tuple(f"detection_0{number}" for number in range(1, 4))
#: Groups whose names begin so are face lists; ids that clients give have no dot.
LIST_PREFIX = "facelist."
_ID = re.compile(r"[a-z0-9_-]{1,64}")
#: Most characters of a name, and of what clients store beside it.
MAX_NAME, MAX_DATA = 128, 16_384
#: What of the photo is left around the face that a request points at, as a share of the face's size.
_MARGIN = 0.6
_Item = TypeVar("_Item")


class AzureRouter:
    """Adds routes below each version of the dialect.

    Parameters
    ----------
    route : DialectRouter
    """

    def __init__(self, route: DialectRouter):
        self._route = route

    def add(self, method: str, path: str, photos: bool = False) -> Callable[[Callable], Callable]:
        """Add a route; `photos` says whether it takes photos."""

        def decorate(function: Callable[..., Any]) -> Callable:
            def of_version(asked: DialectRequest, version: str, **parts: str) -> Any:
                if version not in VERSIONS:
                    raise UnknownRoute(f"there is no version {cut(version)}; there are {', '.join(VERSIONS)}")
                return function(asked, **parts)

            of_version.__doc__ = function.__doc__
            self._route.add(method, f"/face/{{version}}{path}", photos=photos)(of_version)
            return function

        return decorate


def group_id(given: Any) -> str:
    """The id of a group as clients may give it.

    Raises
    ------
    InvalidParameter
    """
    if not isinstance(given, str) or not _ID.fullmatch(given):
        raise InvalidParameter(f"expected an id of lower-case letters, digits, - and _, at most 64, got {brief(given)}")
    return given


def searched_group(site: Site, id_: Any, code: str, name: str | None = None) -> PeopleGroup:
    """A group that a request searches in; one that is missing is a mistake of the request.

    Parameters
    ----------
    code : str
        What Azure's errors about this kind of group begin with.
    name : str, optional
        Of the group, where it is not the id.

    Raises
    ------
    GroupNotFound
    """
    try:
        return site.service.groups.get(name or group_id(id_))
    except GroupNotFound as error:
        raise GroupNotFound(error.message, azure=f"{code}NotFound", status=400) from None


def named_errors(code: str) -> Callable[[Callable], Callable]:
    """A decorator: errors about a group have the code of its kind."""

    def decorate(function: Callable[..., Any]) -> Callable:
        def named(asked: DialectRequest, **parts: str) -> Any:
            try:
                return function(asked, **parts)
            except GroupNotFound as error:
                raise GroupNotFound(error.message, azure=f"{code}NotFound") from None
            except GroupTaken as error:
                raise GroupTaken(error.message, azure=f"{code}Exists") from None

        named.__doc__ = function.__doc__
        return named

    return decorate


def choice(asked: DialectRequest, name: str, choices: Sequence[str]) -> str | None:
    """A parameter that is one of some words, whatever their case.

    Raises
    ------
    InvalidParameter
    """
    found = asked.text(name)
    if found is None:
        return None
    wanted = next((each for each in choices if each.lower() == found.lower()), None)
    if wanted is None:
        raise InvalidParameter(f"{name}: expected one of {', '.join(choices)}, got {brief(found)}")
    return wanted


def text(asked: DialectRequest, name: str, most: int, required: bool = False) -> str | None:
    """A text of a JSON body.

    Raises
    ------
    InvalidParameter
    """
    found = asked.body.fields.get(name)
    if found is None or found == "":
        if required:
            raise InvalidParameter(f"{name}: expected text")
        return found
    if not isinstance(found, str) or len(found) > most:
        raise InvalidParameter(f"{name}: expected text of at most {most} characters, got {brief(found)}")
    return found


def photo(site: Site, asked: DialectRequest) -> bytes:
    """The photo of a request: the body itself, or what is at the URL that it names.

    Raises
    ------
    NoImage, InvalidUrl, FetchError
    """
    files = asked.body.files
    if files and files[0][1]:
        return files[0][1]
    url = asked.body.fields.get("url")
    if isinstance(url, str) and url:
        return site.service.fetch(url)
    raise NoImage("expected a photo as the body, or JSON with its url")


def one_face(site: Site, asked: DialectRequest) -> tuple[bytes, str]:
    """The photo that a face is taken from, and how: the only face, or what is around the face that `targetFace` points at.

    Raises
    ------
    NoImage, InvalidParameter, NoFace, ImageError
    """
    choice(asked, "detectionModel", DETECTION_MODELS)
    given = asked.query.get("targetFace")
    data = photo(site, asked)
    if not given:
        return data, "only"
    numbers = given.split(",")
    if len(numbers) != 4 or not all(re.fullmatch(r"-?\d{1,6}", each.strip()) for each in numbers):
        raise InvalidParameter(f"targetFace: expected left,top,width,height, got {brief(given)}")
    left, top, width, height = map(int, numbers)
    if width < 1 or height < 1:
        raise InvalidParameter("targetFace: expected a width and a height above 0")
    service = site.service

    def cut_out() -> bytes:
        rules = service.enrolment.options.rules
        image = images.decode(data, max_bytes=rules.max_bytes, max_pixels=rules.max_pixels)
        across, down = image.scale_x, image.scale_y
        box = np.array([left - _MARGIN * width, left + (1 + _MARGIN) * width]) * across
        tall = np.array([top - _MARGIN * height, top + (1 + _MARGIN) * height]) * down
        high, wide = image.pixels.shape[:2]
        x0, x1 = (int(each) for each in np.clip(box, 0, wide))
        y0, y1 = (int(each) for each in np.clip(tall, 0, high))
        if x1 - x0 < 2 or y1 - y0 < 2:
            raise NoFace("targetFace lies outside the photo")
        return images.encode_jpeg(image.pixels[y0:y1, x0:x1], quality=97)

    return service.pool.run_inference(cut_out)[0], "largest"


def page(asked: DialectRequest, items: Sequence[_Item], key: Callable[[_Item], str], most: int = 1000) -> list[_Item]:
    """The part of a list that a request asks for: those after `start`, at most `top`, by their ids.

    Raises
    ------
    InvalidParameter
    """
    start = asked.query.get("start") or ""
    count = int(asked.query["top"]) if (asked.query.get("top") or "").isdecimal() and len(asked.query["top"]) < 9 else most
    if not 1 <= count <= most:
        raise InvalidParameter(f"top: expected 1 to {most}, got {count}")
    return [each for each in sorted(items, key=key) if key(each) > start][:count]
