"""What is known of a folder of photos, as JSON and as a page that needs nothing beside itself.

Both are written piece by piece, to a file that takes its name at the end.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np

from .archive import Key, Looked, Person
from .errors import StorageError
from .files import new_file
from .replies import box

#: Long side of the thumbnails on the page.
THUMBNAIL = 96
_QUALITY = 72
#: People with one face only whose pictures are shown.
SINGLES = 1000

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --edge: #8886; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 0; } h2 span, p.note, summary { opacity: .75; font-weight: normal; }
section { border-top: 1px solid var(--edge); padding: 1rem 0; content-visibility: auto; contain-intrinsic-size: auto 10rem; }
ul.faces { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem; padding: 0; margin: .6rem 0 0; }
ul.faces img { display: block; width: 96px; height: 96px; object-fit: cover; border-radius: .4rem; background: #8883; }
a:focus-visible img, a:hover img { outline: 3px solid Highlight; }
table { border-collapse: collapse; } td { padding: .1rem 1rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; }
"""


def write_json(file: Path, looked: Looked, people: Sequence[Person], about: dict) -> None:
    """Write everything: people with their faces, faces that cannot be told apart, photos without faces or not usable.

    Parameters
    ----------
    about : dict
        What stands at the beginning.

    Raises
    ------
    StorageError
    """
    grouped = {key for person in people for key in person.faces}
    rest = [key for key in looked.faces if key not in grouped]
    with _written(file) as out:
        out.write(json.dumps(about, ensure_ascii=True)[:-1])
        _array(out, "people", ({"id": each.id, "subject": each.subject, "faces": [_face(looked, key) for key in each.faces]}
                               for each in people))  # fmt: skip
        _array(out, "not_grouped", ({**_face(looked, key), "remarks": looked.faces[key].message} for key in rest))
        _array(out, "without_faces", (str(path) for photo in looked.faceless for path in looked.paths[photo]))
        _array(out, "refused", ({"photo": str(e.path), "code": e.code, "message": e.message} for e in looked.refused))
        out.write("\n}\n")


def _array(out, name: str, items: Iterator) -> None:
    out.write(f",\n{json.dumps(name)}: [")
    for number, item in enumerate(items):
        out.write((",\n " if number else "\n ") + json.dumps(item, ensure_ascii=True))
    out.write("]")


def _face(looked: Looked, key: Key) -> dict:
    face, (path, *copies) = looked.faces[key], looked.paths[key.photo]
    shown = {"face": str(key), "photo": str(path), "box": box(face.box), "score": round(face.score, 4)}
    return {**shown, "copies": [str(each) for each in copies]} if copies else shown


def write_page(
    file: Path, looked: Looked, people: Sequence[Person], title: str, thumbnail: Callable[[str], bytes | None], most: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:  # fmt: skip
    """Write the contact sheet.

    Parameters
    ----------
    thumbnail : callable
        A face's key as text -> its JPEG.
    most : int
        Pictures of each person.
    progress : callable
        Told how many of those who are on several photos are written, and how many there are.

    Raises
    ------
    StorageError
    """
    several = [each for each in people if len(each.faces) > 1 or each.subject is not None]
    singles = [each for each in people if len(each.faces) == 1 and each.subject is None]

    def pictures(faces: Sequence[Key], who: str) -> None:
        out.write("<ul class=faces>\n")
        for key in faces:
            path = looked.paths[key.photo][0]
            at = os.path.relpath(path.resolve(), file.parent.resolve()).replace(os.sep, "/")
            link, shown = quote(os.fsencode(at)), _safe(path)
            out.write(f'<li><a href="{link}" title="{shown}"><img alt="{who}" src="{_data(thumbnail(str(key)))}"></a>\n')
        out.write("</ul>\n")

    with _written(file) as out:
        out.write(
            "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\n"
            '<meta name=viewport content="width=device-width, initial-scale=1">\n'
            f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">\n'
            f"<title>{_safe(title)}</title><style>{_STYLE}</style></head>\n<body><main><h1>{_safe(title)}</h1>\n"
        )
        photos = sum(map(len, looked.paths.values()))
        out.write(f"<p class=note>{photos} photos, {len(looked.faces)} faces, {len(several)} people who are on several or "
                  f"enrolled, {len(singles)} who are seen once.</p>\n")  # fmt: skip
        for number, each in enumerate(several):
            progress(number, len(several))
            who = _safe(each.subject if each.subject is not None else f"Person {each.id}")
            on = len({key.photo for key in each.faces})
            out.write(f"<section><h2>{who} <span>{len(each.faces)} faces on {on} photos</span></h2>\n")
            pictures(each.faces[:most], who)
            if len(each.faces) > most:
                out.write(f"<p class=note>and {len(each.faces) - most} more</p>\n")
            out.write("</section>\n")
        if singles:
            out.write(f"<section><h2>Seen once <span>{len(singles)} people</span></h2>\n")
            pictures([each.faces[0] for each in singles[:SINGLES]], "Seen once")
            if len(singles) > SINGLES:
                out.write(f"<p class=note>and {len(singles) - SINGLES} more</p>\n")
            out.write("</section>\n")
        if looked.refused:
            out.write(f"<section><details open><summary>{len(looked.refused)} files could not be used</summary><table>\n")
            for each in looked.refused:
                out.write(f"<tr><td>{_safe(each.path)}<td>{_safe(each.message)}\n")
            out.write("</table></details></section>\n")
        if looked.faceless:
            out.write(f"<p class=note>{len(looked.faceless)} photos show no face.</p>\n")
        out.write("</main></body></html>\n")


def _safe(text) -> str:
    return html.escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def _data(jpeg: bytes | None) -> str:
    """A picture as a URL, small; a dot where it is gone."""
    import cv2

    from . import images

    if jpeg is None:
        return "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    small = images.encode_jpeg(images.resize(pixels, THUMBNAIL), quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()


@contextmanager
def _written(file: Path) -> Iterator:
    """A file to write text to, which takes the place of `file` when all of it is on the disk."""
    try:
        with new_file(file, mode=0o666) as raw:
            out = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
            yield out
            out.detach()
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {(error.strerror or type(error).__name__).lower()}") from error
