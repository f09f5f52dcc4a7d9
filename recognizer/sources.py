"""Where photos come from when somebody names them: files, folders, URLs, bytes, arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .errors import UnreadableImage, UnsupportedImage
from .files import is_special
from .image_headers import sniff

#: Stands for the standard input.
STDIN = "-"


def is_url(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def expand(sources: Iterable[str]) -> Iterator[str]:
    """The photos that `sources` name, in their order: a folder stands for every photo in it and below, by path.

    In a folder the content of a file decides whether it is a photo, and names that begin with a dot are passed over.
    A folder without photos stands for itself, so that reading it says what is wrong.
    """
    for source in sources:
        if is_url(source) or source == STDIN or not _is_folder(source):
            yield source
            continue
        found = False
        for path in _files(source):
            if _is_photo(path):
                found = True
                yield path
        if not found:
            yield source


def _is_folder(path: str | os.PathLike) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # reading it will say what is wrong
        return False


def _files(folder: str) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(at, name) for name in sorted(files) if not name.startswith("."))
        yield from (str(path) for path in paths if not is_special(path))


def _is_photo(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return sniff(file.read(64)) is not None
    except OSError:
        return True  # an unreadable file is reported when its turn comes


def read(source: str | os.PathLike, *, max_bytes: int, fetch: Callable[[str], bytes]) -> bytes:
    """The bytes of a photo that is named by a path or an http(s) URL.

    Parameters
    ----------
    max_bytes : int
        Most that is read of a file.
    fetch : callable
        Gives the bytes behind a URL.

    Raises
    ------
    UnreadableImage, ImageTooLarge, FetchError, InvalidUrl
    """
    from .images import read_file

    source = os.fspath(source)
    if isinstance(source, str) and is_url(source):
        return fetch(source)
    if _is_folder(source):
        raise UnsupportedImage("expected a photo, got a folder without photos")
    try:
        return read_file(source, max_bytes=max_bytes)
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {(error.strerror or type(error).__name__).lower()}") from None
    except ValueError:  # a path with a null character
        raise UnreadableImage("the file cannot be read: that is no path") from None


def read_stdin(max_bytes: int) -> bytes:
    """The standard input, of which no more is read than shows that it is too long."""
    return sys.stdin.buffer.read(max_bytes + 1)


def take(photo, *, max_bytes: int, fetch: Callable[[str], bytes]):
    """A photo as `Service` takes it: from a path, an http(s) URL, bytes, or an RGB uint8 array (H, W, 3).

    Returns
    -------
    bytes or images.Image

    Raises
    ------
    UnreadableImage, ImageTooLarge, FetchError, InvalidUrl
    TypeError, ValueError
        It is none of these, or an array of another shape or type.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str | os.PathLike):
        return read(photo, max_bytes=max_bytes, fetch=fetch)
    import numpy as np

    from . import images

    if isinstance(photo, images.Image):
        return photo
    if isinstance(photo, np.ndarray):
        return images.from_array(photo)
    raise TypeError(f"expected a path, a URL, bytes or an RGB array, got {type(photo).__name__}")


def to_store(photo) -> bytes:
    """What `take` gave, as bytes that can be stored: an array becomes a PNG, which loses nothing."""
    if isinstance(photo, bytes):
        return photo
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(photo.sharper(1.0).pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()


def annotated_paths(photos: list[str], target: str) -> list[Path]:
    """Where the annotated copy of each photo goes: `target` itself for one photo, or files of their names in it.

    Raises
    ------
    ValueError
        `target` is a file's name and there are several photos, or it does not end in .jpg.
    """
    place = Path(target)
    if place.suffix and not place.is_dir():
        if place.suffix.lower() not in (".jpg", ".jpeg"):
            raise ValueError(f"expected a folder or a name that ends in .jpg, got {target}")
        if len(photos) > 1:
            raise ValueError(f"expected a folder for {len(photos)} photos, got the file {target}")
        return [place]
    taken: set[str] = set()
    return [place / _free_name(photo, taken) for photo in photos]


def _free_name(photo: str, taken: set[str]) -> str:
    """The photo's own name with .jpg, numbered when another photo had it."""
    stem = Path(photo.split("?")[0] if is_url(photo) else photo).stem.strip("-") or "photo"
    name, number = f"{stem}.jpg", 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}.jpg"
    taken.add(name.lower())
    return name
