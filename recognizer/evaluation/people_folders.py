"""Folders of labelled photos, one folder per person."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recognizer.core.errors import InvalidParameter
from recognizer.evaluation.text import require_folder
from recognizer.photos.image_headers import sniff

_EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl"}
#: Names of a folder with photos of strangers, each of a different person.
STRANGERS = ("unknown", "unknowns", "strangers")


@dataclass(frozen=True)
class Photo:
    """A photo, and the name of the person on it."""

    person: str
    path: Path


def read_people(folder: Path) -> list[Photo]:
    """All photos in the folders of people and in their subfolders, sorted by name.

    Raises
    ------
    InvalidParameter
        The folder does not exist, or no folder in it contains a photo.
    """
    photos = []
    for person in sorted(require_folder(folder).iterdir()):
        if person.is_dir() and not person.name.startswith("."):
            name = unicodedata.normalize("NFC", person.name)
            for path in _photos_below(person):
                within = path.relative_to(person).as_posix()
                photos.append(Photo(f"{name}/{within}" if name.lower() in STRANGERS else name, path))
    if not photos:
        raise InvalidParameter(f"{folder}: expected one folder per person with photos in it, found no photo in a folder")
    return photos


def count_loose(folder: Path) -> int:
    """Number of photos outside the folders of people: it is not known who is on them."""
    return sum(map(_is_photo, require_folder(folder).iterdir()))


def _photos_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _photos_below(path)
        elif _is_photo(path):
            yield path


def _is_photo(path: Path) -> bool:
    """Whether a file is a photo by its suffix, so that damaged photos count, or else by its content."""
    if path.name.startswith(".") or not path.is_file():
        return False
    if path.suffix.lower() in _EXTENSIONS:
        return True
    try:
        with path.open("rb") as file:
            return sniff(file.read(64)) is not None
    except OSError:
        return False
