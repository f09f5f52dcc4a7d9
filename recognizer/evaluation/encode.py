"""Photos -> templates, on all cores. Results are cached as they are computed: an interrupted run continues where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recognizer.core.errors import ImageError, NoFace
from recognizer.engines import central, largest
from recognizer.enrolment.bulk import BulkSettings, decode, in_batches
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding, photo_id
from recognizer.photos import images

SUBJECTS = ("central", "largest")
_UNREAD = "unread:"


@dataclass(frozen=True)
class Vectors:
    """The templates of photos, in the given order.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n, dim)
        Rows of photos without a template are zero.
    found : ndarray of bool, shape (n,)
        Whether each photo has a template.
    photos : tuple of str
        Ids of the photos' contents.
    problems : tuple of (int, str, str)
        Index, error code and message of each photo without a template.
    """

    vectors: np.ndarray
    found: np.ndarray
    photos: tuple[str, ...]
    problems: tuple[tuple[int, str, str], ...]


def encode(
    paths: Sequence[Path], source: BulkSettings, cache: EncodingsCache, progress: Callable[[int, int], None] = lambda *_: None
) -> Vectors:
    """Describe the face of the subject on each photo.

    Parameters
    ----------
    paths : sequence of path
    source : BulkSettings
    cache : EncodingsCache
        Results for the same content, engine and subject are taken from it.
    progress : callable
        Called with the number of photos that are done, and their total number.
    """
    photos = [identify(path, source.max_bytes) for path in paths]
    cached = cache.encodings(source.key)
    known = {photo: cached[photo, source.subject] for photo in photos if (photo, source.subject) in cached}
    missing = {photo: path for photo, path in zip(photos, paths, strict=True) if photo not in known}
    done = len(paths) - len(missing)
    for batch in in_batches(encode_file, list(missing.items()), source):
        cache.put([replace(one, engine=source.key) for one in batch if not unread(one.photo)])
        known.update((one.photo, one) for one in batch)
        done += len(batch)
        progress(done, len(paths))
    return _vectors([known[photo] for photo in photos], source.engine.info.dim)


def _vectors(encodings: list[Encoding], dim: int) -> Vectors:
    rows = np.zeros((len(encodings), dim), np.float32)
    for row, one in zip(rows, encodings, strict=True):
        if one.vector is not None:
            row[:] = one.vector
    found = np.array([one.vector is not None for one in encodings], bool)
    problems = tuple((i, one.problem or "", one.message or "") for i, one in enumerate(encodings) if one.vector is None)
    return Vectors(rows, found, tuple(one.photo for one in encodings), problems)


def identify(path: Path, max_bytes: int) -> str:
    """The id of a photo's content; for an unreadable photo an id made of its path, which is not stored."""
    try:
        return photo_id(images.read_file(path, max_bytes=max_bytes))
    except (ImageError, OSError):
        return f"{_UNREAD}{path}"


def unread(photo: str) -> bool:
    """Whether an id is that of an unreadable photo."""
    return photo.startswith(_UNREAD)


def encode_file(source: BulkSettings, item: tuple[str, Path]) -> Encoding:
    """The template of one photo, or the problem with it; `item` is its id and path."""
    photo, path = item
    empty = Encoding(photo, source.engine.info.id, source.subject)
    try:
        return _describe(source, images.read_file(path, max_bytes=source.max_bytes), empty)
    except OSError:
        return replace(empty, problem="unreadable", message="the file cannot be read")
    except (ImageError, NoFace) as error:
        return replace(empty, problem=error.code, message=error.message)


def _describe(source: BulkSettings, data: bytes, empty: Encoding) -> Encoding:
    engine = source.engine
    image = decode(source, data)
    faces, image = engine.find_with_image(image)
    if not len(faces):
        raise NoFace("no face was found in this photo")
    chosen = central(faces, image.width, image.height) if source.subject == "central" else largest(faces)
    taken = faces.select([chosen])
    left, top, right, bottom = (float(edge) for edge in taken.boxes[0])
    return replace(
        empty,
        vector=engine.describe(image, taken)[0],
        box=(left, top, right, bottom),
        score=float(taken.scores[0]),
        width=image.width,
        height=image.height,
    )
