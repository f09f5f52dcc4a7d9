"""Reading of photos from files, folders, URLs, bytes, arrays and PIL images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.core.disk import disk_reason
from recognizer.core.errors import UnreadableImage, UnsupportedImage
from recognizer.core.files import is_special
from recognizer.photos.foreign import is_picture
from recognizer.photos.image_headers import sniff

if TYPE_CHECKING:
    from recognizer.photos import images

#: The name of the standard input.
STDIN = "-"
#: Suffixes of files that are expected to be photos, whatever their content.
ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".png",
    ".webp",
    ".gif",
    ".bmp",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".jxl",
)


def is_url(source: str) -> bool:
    """Whether a source is an http(s) URL."""
    return source.lower().startswith(("http://", "https://"))


def expand(sources: Iterable[str]) -> Iterator[str]:
    """Yield the photos of `sources` in order: for a folder, all photos in it and its subfolders, sorted by path.

    Photos in folders are recognised by content, those of unsupported formats too, so that reading them reports the reason.
    Names that begin with a dot are skipped. A folder without photos is yielded itself, so that reading it reports the error.
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


def _is_folder(path: str | os.PathLike[str]) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # reading it will report the error
        return False


def _files(folder: str) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(at, name) for name in sorted(files) if not name.startswith("."))
        yield from (str(path) for path in paths if not is_special(path))


def _is_photo(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            head = file.read(1000)
    except OSError:
        return True  # the error of an unreadable file is reported when it is read
    return sniff(head) is not None or is_picture(head)


def read_source(source: str | os.PathLike[str], *, max_bytes: int, fetch: Callable[[str], bytes]) -> bytes:
    """Read the bytes of a photo from a path or an http(s) URL.

    Parameters
    ----------
    source : str or path
    max_bytes : int
        Largest accepted size of a file.
    fetch : callable
        URL -> bytes.

    Raises
    ------
    UnreadableImage, ImageTooLarge, FetchError, InvalidUrl
    """
    from recognizer.photos.images import read_file

    source = os.fspath(source)
    if isinstance(source, str) and is_url(source):
        return fetch(source)
    if _is_folder(source):
        raise UnsupportedImage("expected a photo, got a folder without photos")
    try:
        return read_file(source, max_bytes=max_bytes)
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {disk_reason(error)}") from None
    except ValueError:  # a path with a null character
        raise UnreadableImage("the file cannot be read: that is not a valid path") from None


def read_stdin(max_bytes: int) -> bytes:
    """Read the standard input; at most `max_bytes` + 1 bytes of it."""
    return sys.stdin.buffer.read(max_bytes + 1)


def load_photo(photo: object, *, max_bytes: int, fetch: Callable[[str], bytes]) -> bytes | images.Image:
    """Load a photo from any type of the Python interface.

    Parameters
    ----------
    photo : object
        A path, an http(s) URL, bytes, a binary file, an RGB uint8 array of shape (H, W, 3), an `images.Image`, or a PIL image,
        whose transparent parts become white and which is turned upright by its EXIF orientation.
    max_bytes : int
        Largest accepted size of a file.
    fetch : callable
        URL -> bytes.

    Raises
    ------
    UnreadableImage, ImageTooLarge, FetchError, InvalidUrl
    TypeError, ValueError
        It has another type, or is an array of another shape or type.
    """
    if isinstance(photo, bytes | bytearray | memoryview):
        return bytes(photo)
    if isinstance(photo, str | os.PathLike):
        return read_source(photo, max_bytes=max_bytes, fetch=fetch)
    import numpy as np

    from recognizer.photos import images

    if isinstance(photo, images.Image):
        return photo
    if isinstance(photo, np.ndarray):
        return images.from_array(photo)
    if (pillow := sys.modules.get("PIL.Image")) is not None and isinstance(photo, pillow.Image):
        return images.from_pillow(photo)
    read = getattr(photo, "read", None)
    if callable(read):
        data = read(max_bytes + 1)
        if not isinstance(data, bytes):
            raise TypeError(f"expected a file opened in binary mode, got one that reads {type(data).__name__}")
        return data
    raise TypeError(f"expected a path, a URL, bytes, a binary file, an RGB array or a PIL image, got {type(photo).__name__}")


def to_bytes(photo: bytes | images.Image) -> bytes:
    """The bytes of a photo that `load_photo` returned: a decoded image is encoded as PNG, which is lossless."""
    if isinstance(photo, bytes):
        return photo
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(photo.sharper(1.0).pixels).save(file, "PNG", compress_level=3)
    return file.getvalue()


def annotated_paths(photos: list[str], target: str) -> list[Path]:
    """The path of the annotated copy of each photo: `target` itself for one photo, or files named like the photos in `target`.

    Raises
    ------
    ValueError
        `target` is the name of a file and there are several photos, or it does not end in .jpg.
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
    """The photo's name with the suffix .jpg, numbered if another photo has it."""
    stem = Path(photo.split("?")[0] if is_url(photo) else photo).stem.strip("-") or "photo"
    name, number = f"{stem}.jpg", 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}.jpg"
    taken.add(name.lower())
    return name
