"""What the cache knows of the files of a folder, all at once: for starts with hundreds of thousands of photos."""

from __future__ import annotations

import gc
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from recognizer.enrolment.cache import EncodingsCache, FileStamp
from recognizer.enrolment.folder import PhotoFile
from recognizer.enrolment.photo_marks import wanted_face
from recognizer.galleries.photo_ids import PhotoIds, as_bytes

#: A usable encoding and its file without vector, subject and path: size, modification time and inode of the file; the photo's
#: id; box, score, width and height.
PACKED = struct.Struct("<qqq16s5dii")
STAMP = struct.Struct("<qqq")
PACKED_ID = slice(STAMP.size, STAMP.size + PhotoIds.BYTES)


def photo_of(packed: bytes) -> str:
    """The photo's id of something packed."""
    return packed[PACKED_ID].hex()


@dataclass(frozen=True, slots=True)
class KnownPhotos:
    """Files, each with its encoding.

    Attributes
    ----------
    files : list of PhotoFile
    packed : list of bytes
        See `PACKED`.
    vectors : ndarray of float32, shape (n, dim)
    """

    files: list[PhotoFile]
    packed: list[bytes]
    vectors: np.ndarray

    def select(self, which: Sequence[int]) -> KnownPhotos:
        """Some of them, by index."""
        if len(which) == len(self.files):
            return self
        return KnownPhotos([self.files[i] for i in which], [self.packed[i] for i in which], self.vectors[list(which)])


@contextmanager
def uncollected() -> Iterator[None]:
    """Within the block Python does not search for circles of garbage: it would look at a million objects each time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def in_folders(cache: EncodingsCache, engine: str, dim: int, subjects: Mapping[str, str]) -> KnownPhotos:
    """All files in folders that have not changed, without a look at them; by path.

    Parameters
    ----------
    subjects : mapping of str
        By folder.
    """
    known = cache.known_files()
    files = [
        PhotoFile(subjects[folder], path, FileStamp(*row[:3]))
        for path, row in sorted(known.items())
        if (folder := path.partition("/")[0]) in subjects
    ]
    return _read(cache, engine, dim, files, known)


def read(cache: EncodingsCache, engine: str, dim: int, files: Sequence[PhotoFile]) -> KnownPhotos:
    """Those of `files` that have not changed since the cache got their encodings, in the same order.

    Files are left out about which anything is unusual.
    """
    return _read(cache, engine, dim, files, cache.known_files())


def _read(
    cache: EncodingsCache, engine: str, dim: int, files: Sequence[PhotoFile], known: dict[str, tuple[int, int, int, str]]
) -> KnownPhotos:
    places: dict[str, int | list[int]] = {}  # by photo, the indices of its files; nearly always one
    for i, file in enumerate(files):
        row, stamp = known.get(file.path), file.stamp
        if row is not None and row[:3] == (stamp.size, stamp.mtime_ns, stamp.inode):
            before = places.setdefault(row[3], i)
            if before is not i:
                places[row[3]] = [*([before] if isinstance(before, int) else before), i]
    known.clear()
    length = 4 * dim
    vectors = np.zeros((len(files), dim), "<f4")
    room = vectors.reshape(-1).view(np.uint8).data
    packed: list[bytes | None] = [None] * len(files)

    def take(photo: str, face: str, vector: bytes, rest: tuple[Any, ...]) -> None:
        found, data = places.get(photo), as_bytes(photo)
        if found is None or data is None or len(vector) != length or None in rest:
            return
        for i in (found,) if isinstance(found, int) else found:
            file = files[i]
            if wanted_face(file.path) == face:
                stamp = file.stamp
                packed[i] = PACKED.pack(stamp.size, stamp.mtime_ns, stamp.inode, data, *rest)
                room[i * length : (i + 1) * length] = vector

    cache.each_usable(engine, take)
    chosen = [i for i, each in enumerate(packed) if each is not None]
    taken = vectors if len(chosen) == len(files) else vectors[chosen]
    return KnownPhotos(
        [files[i] for i in chosen], [each for each in packed if each is not None], taken.astype(np.float32, copy=False)
    )
