"""Folders of photos, one folder per person."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidParameter
from ..image_headers import sniff
from .text import require_folder

_EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif"}
#: A folder of this name holds people who are not known, each photo somebody else.
STRANGERS = ("unknown", "unknowns", "strangers")


@dataclass(frozen=True)
class Photo:
    person: str
    path: Path


def read_people(folder: Path) -> list[Photo]:
    """Every photo in the folders of people, and in folders below those, by name.

    Raises
    ------
    InvalidParameter
        There is no such folder, or no photo in a folder in it.
    """
    photos = []
    for person in sorted(require_folder(folder).iterdir()):
        if person.is_dir() and not person.name.startswith("."):
            name = unicodedata.normalize("NFC", person.name)
            for path in _photos_below(person):
                within = path.relative_to(person).as_posix()
                photos.append(Photo(f"{name}/{within}" if name.lower() in STRANGERS else name, path))
    if not photos:
        raise InvalidParameter(
            f"{folder}: expected one folder per person with photos in it, found no photo in a folder"
        )
    return photos


def count_loose(folder: Path) -> int:
    """Photos that lie in no person's folder, so that nobody can tell whose they are."""
    return sum(map(_is_photo, require_folder(folder).iterdir()))


def _photos_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _photos_below(path)
        elif _is_photo(path):
            yield path


def _is_photo(path: Path) -> bool:
    """By its name, so that a damaged photo counts as one, or else by what is in it."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix.lower() in _EXTENSIONS:
        return True
    try:
        with path.open("rb") as file:
            return sniff(file.read(64)) is not None
    except OSError:
        return False
