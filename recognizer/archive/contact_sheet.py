"""The people of a folder of photos as JSON, and as an HTML page without external resources.

Both are written as a stream, so that memory use does not grow with the number of faces, to a temporary file that replaces the
target at the end.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

import numpy as np

from recognizer.archive.photo_groups import PersonGroup
from recognizer.archive.photo_index import FaceKey, PhotoIndex
from recognizer.core.disk import disk_errors
from recognizer.core.files import new_file
from recognizer.core.wording import plural

if TYPE_CHECKING:
    import jinja2

#: Long side of the thumbnails on the page, in pixels.
THUMBNAIL = 96
_QUALITY = 72
#: Most people with only one face whose pictures are shown.
SINGLES = 1000
#: Pieces of the page that are written at once.
_PIECES = 64
#: A transparent pixel, shown where a thumbnail is missing.
_MISSING = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


def write_json(file: Path, index: PhotoIndex, people: Sequence[PersonGroup], about: dict[str, Any]) -> None:
    """Write everything: people with their faces, faces that are not grouped, photos without faces, and unusable files.

    Parameters
    ----------
    file : Path
    index : PhotoIndex
    people : sequence of PersonGroup
    about : dict
        The first fields of the JSON object.

    Raises
    ------
    StorageError
    """
    grouped = {key for person in people for key in person.faces}
    rest = [key for key in index.faces if key not in grouped]
    with _replaced(file) as out:
        out.write(json.dumps(about, ensure_ascii=True)[:-1])
        _write_array(
            out,
            "people",
            ({"id": each.id, "subject": each.subject, "faces": [_face(index, key) for key in each.faces]} for each in people),
        )
        _write_array(out, "not_grouped", ({**_face(index, key), "remarks": index.faces[key].remarks} for key in rest))
        _write_array(out, "without_faces", (str(path) for photo in index.faceless for path in index.paths[photo]))
        _write_array(out, "refused", ({"photo": str(e.path), "code": e.code, "message": e.message} for e in index.refused))
        out.write("\n}\n")


def _write_array(out: TextIO, name: str, items: Iterable[object]) -> None:
    out.write(f",\n{json.dumps(name)}: [")
    for number, item in enumerate(items):
        out.write((",\n " if number else "\n ") + json.dumps(item, ensure_ascii=True))
    out.write("]")


def _face(index: PhotoIndex, key: FaceKey) -> dict[str, Any]:
    face, (path, *copies) = index.faces[key], index.paths[key.photo]
    shown = {"face": str(key), "photo": str(path), "box": face.box.to_dict(), "score": round(face.score, 4)}
    return {**shown, "copies": [str(each) for each in copies]} if copies else shown


@dataclass(frozen=True)
class _Picture:
    """A thumbnail on the page: the photo it links to, relative to the page, and the JPEG as a data URL."""

    link: str
    path: Path
    data: str


@dataclass(frozen=True)
class _Section:
    """A person on the page, or all people who are seen once; `more` is the number of pictures that are not shown."""

    heading: str
    note: str
    pictures: Iterator[_Picture]
    more: int


def write_page(
    file: Path,
    index: PhotoIndex,
    people: Sequence[PersonGroup],
    title: str,
    thumbnail: Callable[[str], bytes | None],
    most: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Write the contact sheet.

    Parameters
    ----------
    file : Path
    index : PhotoIndex
    people : sequence of PersonGroup
    title : str
    thumbnail : callable
        A face's key as text -> its JPEG, or None if there is none.
    most : int
        Largest number of pictures of each person.
    progress : callable
        Called with the number of people on several photos that were written, and their total number.

    Raises
    ------
    StorageError
    """
    several = [each for each in people if len(each.faces) > 1 or each.subject is not None]
    singles = [each for each in people if len(each.faces) == 1 and each.subject is None]

    def pictures(faces: Sequence[FaceKey]) -> Iterator[_Picture]:
        for key in faces:
            path = index.paths[key.photo][0]
            at = os.path.relpath(path.resolve(), file.parent.resolve()).replace(os.sep, "/")
            yield _Picture(quote(os.fsencode(at)), path, _data_url(thumbnail(str(key))))

    def sections() -> Iterator[_Section]:
        for number, each in enumerate(several):
            progress(number, len(several))
            heading = each.subject if each.subject is not None else f"Person {each.id}"
            note = f"{plural(len(each.faces), 'face')} on {plural(len({key.photo for key in each.faces}), 'photo')}"
            yield _Section(heading, note, pictures(each.faces[:most]), max(0, len(each.faces) - most))
        if singles:
            shown = [each.faces[0] for each in singles[:SINGLES]]
            yield _Section("Seen once", plural(len(singles), "person", "people"), pictures(shown), len(singles) - len(shown))

    stream = _template().stream(
        title=title,
        plural=plural,
        photos=sum(map(len, index.paths.values())),
        faces=len(index.faces),
        several=len(several),
        singles=len(singles),
        sections=sections(),
        refused=index.refused,
        faceless=len(index.faceless),
    )
    stream.enable_buffering(_PIECES)
    with _replaced(file) as out:
        out.writelines(stream)


def _template() -> jinja2.Template:
    import jinja2

    loader = jinja2.PackageLoader("recognizer.archive", ".")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["printable"] = _printable
    return environment.get_template("contact_sheet.html")


def _printable(text: object) -> str:
    """The text without control characters, and without bytes of file names that are not UTF-8."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))


def _data_url(jpeg: bytes | None) -> str:
    """A thumbnail as a data URL, reduced to `THUMBNAIL`."""
    import cv2

    from recognizer.photos import images

    decoded = None if jpeg is None else cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        return _MISSING
    pixels = images.resize(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), THUMBNAIL)
    return "data:image/jpeg;base64," + base64.b64encode(images.encode_jpeg(pixels, quality=_QUALITY)).decode()


@contextmanager
def _replaced(file: Path) -> Iterator[TextIO]:
    """A new text file that replaces `file` once it is on the disk.

    Raises
    ------
    StorageError
    """
    with disk_errors(f"{file} cannot be written"), new_file(file, mode=0o666) as raw:
        out = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        yield out
        out.detach()
