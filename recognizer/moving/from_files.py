"""Photos in folders, ZIP files and lists: which there are, and whose."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from recognizer.core.disk import disk_reason
from recognizer.core.errors import ImageTooLarge, InvalidParameter, UnreadableImage
from recognizer.moving.incoming import Incoming

#: Names of the columns of a list.
_NAMES, _PHOTOS = ("name", "subject", "person", "userid"), ("photo", "file", "path", "image")
_MOST_BYTES_OF_LIST = 50_000_000
_MOST_MEMBERS = 1_000_000


def from_folders(folder: Path, max_bytes: int) -> list[Incoming]:
    """Every file of ``<folder>/<name>/``, and of the folders inside it.

    Raises
    ------
    InvalidParameter
        There is no such folder.
    """
    if not folder.is_dir():
        raise InvalidParameter(f"there is no folder {str(folder)!r}")
    try:
        people = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
        return [
            Incoming(person.name, str(file.relative_to(folder)), read_file(file, max_bytes))
            for person in people
            for file in sorted(person.rglob("*"))
            if file.is_file() and not file.name.startswith(".")
        ]
    except OSError as error:
        raise InvalidParameter(f"{str(folder)!r} cannot be read: {disk_reason(error)}") from None


def from_double_take(folder: Path, max_bytes: int) -> list[Incoming]:
    """The photos with which Double Take was trained: ``train/<name>/`` below its storage folder."""
    train = folder / "train"
    return from_folders(train if train.is_dir() else folder, max_bytes)


def read_file(file: Path, max_bytes: int) -> Callable[[], bytes]:
    """What reads a file when it is called; see `Incoming.read`."""

    def read() -> bytes:
        try:
            with file.open("rb") as opened:
                data = opened.read(max_bytes + 1)
        except OSError as error:
            raise UnreadableImage(f"the file cannot be read: {disk_reason(error)}") from None
        return _bounded(data, max_bytes)

    return read


def _bounded(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise ImageTooLarge(f"expected a photo of at most {max_bytes} bytes, got more", max_bytes=max_bytes)
    return data


def from_zip(file: Path, max_bytes: int) -> list[Incoming]:
    """Every file of a ZIP file that is in a folder, which is named after the person.

    Raises
    ------
    InvalidParameter
        It is no ZIP file.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise InvalidParameter(f"{file.name}: this is no ZIP file that can be read: {error}") from None
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise InvalidParameter(f"{file.name}: expected at most {_MOST_MEMBERS} files")
    found = []
    for member in members:
        path = PurePosixPath(member.filename.replace("\\", "/"))
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        if not member.is_dir() and not hidden and len(path.parts) > 1:
            found.append(Incoming(path.parts[-2], str(path), _member_reader(archive, member, max_bytes)))
    return found


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int):
    def read() -> bytes:
        try:
            with archive.open(member) as opened:
                data = opened.read(max_bytes + 1)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UnreadableImage(f"it cannot be read from the ZIP file: {error}") from None
        return _bounded(data, max_bytes)

    return read


def from_csv(file: Path, max_bytes: int) -> list[Incoming]:
    """The photos of a list with a row for each: a column ``name`` and a column ``photo`` with a path, from the list's folder.

    Raises
    ------
    InvalidParameter
        There is no such list, or no such column.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES_OF_LIST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"{file.name}: expected a list in UTF-8: {error}") from None
    if len(data) > _MOST_BYTES_OF_LIST:
        raise InvalidParameter(f"{file.name}: expected at most {_MOST_BYTES_OF_LIST} bytes")
    return list(_rows(file, text, max_bytes))


def _rows(file: Path, text: str, max_bytes: int) -> Iterator[Incoming]:
    lines = text.splitlines()
    heads = lines[0] if lines else ""
    rows = csv.DictReader(lines, delimiter=max(",;\t", key=heads.count), restval="")
    columns = {(head or "").strip().lower(): head for head in rows.fieldnames or ()}
    name = next((columns[each] for each in _NAMES if each in columns), None)
    photo = next((columns[each] for each in _PHOTOS if each in columns), None)
    if name is None or photo is None:
        raise InvalidParameter(f"{file.name}: expected a first row with the columns name and photo, got {heads[:100]!r}")
    for row in rows:
        if row[name] or row[photo]:
            yield Incoming(row[name], row[photo], read_file(file.parent / row[photo].replace("\\", "/"), max_bytes))
