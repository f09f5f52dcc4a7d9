"""What the cache knows of the files of a folder, all at once: for starts with hundreds of thousands of photos."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recognizer.enrolment.cache import EncodingsCache, KnownPhoto
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


def read(cache: EncodingsCache, engine: str, dim: int, files: Sequence[PhotoFile]) -> KnownPhotos:
    """Those of `files` that have not changed since the cache got their encodings, in the same order.

    Files are left out about which anything is unusual.
    """
    known = cache.known_files()
    places: dict[str, int | list[int]] = {}  # by photo, the indices of its files; nearly always one
    for i, file in enumerate(files):
        row, stamp = known.get(file.path), file.stamp
        if row is not None and row[:3] == (stamp.size, stamp.mtime_ns, stamp.inode):
            before = places.setdefault(row[3], i)
            if before is not i:
                places[row[3]] = [*([before] if isinstance(before, int) else before), i]
    del known
    length = 4 * dim
    vectors = np.zeros((len(files), dim), "<f4")
    room = vectors.reshape(-1).view(np.uint8).data
    packed: list[bytes | None] = [None] * len(files)

    def take(row: KnownPhoto) -> None:
        found = places.get(row.photo)
        if found is None:
            return
        photo, box, rest = as_bytes(row.photo), row[3:7], row[7:]
        if photo is None or len(row.vector) != length or None in box or None in rest:
            return
        for i in (found,) if isinstance(found, int) else found:
            file = files[i]
            if wanted_face(file.path) == row.face:
                stamp = file.stamp
                packed[i] = PACKED.pack(stamp.size, stamp.mtime_ns, stamp.inode, photo, *box, *rest)
                room[i * length : (i + 1) * length] = row.vector

    cache.each_usable(engine, take)
    chosen = [i for i, each in enumerate(packed) if each is not None]
    taken = vectors if len(chosen) == len(files) else vectors[chosen]
    return KnownPhotos(
        [files[i] for i in chosen], [each for each in packed if each is not None], taken.astype(np.float32, copy=False)
    )
