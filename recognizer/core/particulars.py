"""What is stored about a person besides the photos: the cover photo, tags, and where each photo came from.

A small file in the person's folder, encrypted as photos are: it moves, is exported and is erased with the folder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from recognizer.core.errors import InvalidParameter
from recognizer.core.outside_json import parse_outside

#: Name of the file in a subject's folder. It begins with a dot, so it is not taken for a photo.
FILE = ".about.json"
#: What the encrypted file is for; see `vault`.
PURPOSE = "about person"
#: Limits: characters of a file's name and of a tag, tags of a person, photos whose origin is known.
MAX_FILE_NAME, MAX_TAG, MAX_TAGS, MAX_PHOTOS = 200, 40, 20, 1000
#: Largest file, in bytes: what that many photos take at most.
MAX_BYTES = 1_200_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class PhotoOrigin:
    """Where a photo came from.

    Attributes
    ----------
    name : str or None
        The file's name where it was sent from.
    taken : str or None
        When it was taken, on the camera's clock: ISO 8601 without a time zone.
    added : str or None
        When it was enrolled, ISO 8601 in UTC.
    """

    name: str | None = None
    taken: str | None = None
    added: str | None = None


@dataclass(frozen=True, slots=True)
class Particulars:
    """What is stored about a person.

    Attributes
    ----------
    cover : str or None
        Id of the photo that stands for the person.
    tags : tuple of str
    photos : mapping
        Id of a photo -> `PhotoOrigin`.
    """

    cover: str | None = None
    tags: tuple[str, ...] = ()
    photos: Mapping[str, PhotoOrigin] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.cover or self.tags or self.photos)

    def with_photo(self, photo: str, origin: PhotoOrigin) -> Particulars:
        """A copy that knows the origin of a photo; of more than `MAX_PHOTOS`, the oldest are forgotten."""
        known = {**self.photos, photo: origin}
        return replace(self, photos=dict(list(known.items())[-MAX_PHOTOS:]))

    def without_photo(self, photo: str) -> Particulars:
        """A copy that knows nothing of a photo."""
        left = {each: origin for each, origin in self.photos.items() if each != photo}
        return replace(self, photos=left, cover=None if self.cover == photo else self.cover)

    def joined(self, other: Particulars) -> Particulars:
        """What is stored about two people who are one."""
        tags = tuple(dict.fromkeys((*self.tags, *other.tags)))[:MAX_TAGS]
        return Particulars(self.cover or other.cover, tags, dict([*other.photos.items(), *self.photos.items()][-MAX_PHOTOS:]))

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        shown = {
            photo: {"name": origin.name, "taken": origin.taken, "added": origin.added} for photo, origin in self.photos.items()
        }
        return {"cover": self.cover, "tags": list(self.tags), "photos": shown}

    def as_bytes(self) -> bytes:
        """The contents of the file, JSON."""
        return json.dumps(self.as_json(), ensure_ascii=False, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Particulars:
        """Parse a file that `as_bytes` or a person wrote; what it should not contain is left out.

        Raises
        ------
        ValueError
        """
        held = parse_outside(data, MAX_BYTES)
        if not isinstance(held, dict):
            raise ValueError("expected an object")
        cover, tags, photos = held.get("cover"), held.get("tags"), held.get("photos")
        origins = {
            photo: PhotoOrigin(*(_text(origin.get(key)) for key in ("name", "taken", "added")))
            for photo, origin in (photos.items() if isinstance(photos, dict) else ())
            if isinstance(origin, dict)
        }
        named = [each for each in tags if isinstance(each, str)] if isinstance(tags, list) else []
        return cls(_text(cover), tuple(named[:MAX_TAGS]), dict(list(origins.items())[-MAX_PHOTOS:]))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def file_name(given: str | None) -> str | None:
    """The name of a file as it is stored: without folders and control characters, not too long; None where nothing is left."""
    if given is None:
        return None
    name = _CONTROL.sub("", re.split(r"[/\\]", given)[-1]).strip()
    return name[-MAX_FILE_NAME:] or None


def parsed_tags(given: str | Iterable[str]) -> tuple[str, ...]:
    """Tags, separated by commas if they are one text; without empty ones and repetitions.

    Raises
    ------
    InvalidParameter
    """
    listed = given.split(",") if isinstance(given, str) else list(given)
    tags = tuple(dict.fromkeys(" ".join(each.split()) for each in listed if each.strip()))
    if len(tags) > MAX_TAGS:
        raise InvalidParameter(f"tags: expected at most {MAX_TAGS}, got {len(tags)}")
    for tag in tags:
        if len(tag) > MAX_TAG or _CONTROL.search(tag):
            raise InvalidParameter(f"tags: expected at most {MAX_TAG} characters in each, and no control characters")
    return tags
