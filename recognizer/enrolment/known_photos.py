"""What the cache knows of the files of a folder, all at once: for starts with hundreds of thousands of photos."""

from __future__ import annotations

import gc
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recognizer.enrolment.cache import Encoding, EncodingsCache, FileStamp
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


def stamp_of(packed: bytes) -> FileStamp:
    """The stamp of the file of something packed."""
    return FileStamp(*STAMP.unpack_from(packed))


@dataclass(frozen=True, slots=True)
class KnownPhotos:
    """Files, each with its encoding, in columns: objects for hundreds of thousands would take seconds to make.

    Attributes
    ----------
    subjects, paths : list of str
        Whose each file is, and where.
    packed : list of bytes
        See `PACKED`; it begins with the file's stamp.
    vectors : ndarray of float32, shape (n, dim)
    unusable : list of (PhotoFile, Encoding)
        Besides, the files that enrol nobody, and why.
    """

    subjects: list[str]
    paths: list[str]
    packed: list[bytes]
    vectors: np.ndarray
    unusable: list[tuple[PhotoFile, Encoding]] = field(default_factory=list)

    def select(self, which: Sequence[int]) -> KnownPhotos:
        """Some of them, by index, and all that enrol nobody."""
        if len(which) == len(self.paths):
            return self
        columns = [[column[i] for i in which] for column in (self.subjects, self.paths)]
        packed, vectors = [self.packed[i] for i in which], self.vectors[list(which)]
        return KnownPhotos(columns[0], columns[1], packed, vectors, self.unusable)

    def files(self) -> Iterator[PhotoFile]:
        """The files, without their encodings."""
        for subject, path, packed in zip(self.subjects, self.paths, self.packed, strict=True):
            yield PhotoFile(subject, path, stamp_of(packed))


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


def in_folders(
    cache: EncodingsCache, engine: str, dim: int, subjects: Mapping[str, str], rest: dict[str, str] | None = None
) -> KnownPhotos:
    """All files in folders that have not changed, without a look at them; by path.

    Parameters
    ----------
    subjects : mapping of str
        By folder.
    rest : dict of str, optional
        Gets the photo of every other file that the cache knows, by path.
    """
    known = cache.known_files(rest)
    owners, paths = [], []
    for path in sorted(known):
        subject = subjects.get(path.partition("/")[0])
        if subject is not None:
            owners.append(subject)
            paths.append(path)
    return _claimed(cache, engine, dim, known, owners, paths, rest)


def _claimed(
    cache: EncodingsCache,
    engine: str,
    dim: int,
    known: dict[str, tuple[int, int, int, str]],
    owners: list[str],
    paths: list[str],
    rest: dict[str, str] | None,
) -> KnownPhotos:
    rows = list(map(known.__getitem__, paths))
    if rest is not None and len(paths) < len(known):
        chosen = set(paths)
        rest.update({path: row[3] for path, row in known.items() if path not in chosen})
    known.clear()
    found = _read(cache, engine, dim, owners, paths, rows)
    if rest is not None and len(found.paths) < len(paths):
        enrolled = set(found.paths)
        rest.update({path: row[3] for path, row in zip(paths, rows, strict=True) if path not in enrolled})
    return found


def read(
    cache: EncodingsCache, engine: str, dim: int, files: Sequence[PhotoFile], rest: dict[str, str] | None = None
) -> KnownPhotos:
    """Those of `files` that have not changed since the cache got their encodings, in the same order.

    Files are left out about which anything is unusual. `rest` as in `in_folders`.
    """
    known = cache.known_files(rest)
    owners, paths = [], []
    for file in files:
        row, stamp = known.get(file.path), file.stamp
        if row is not None and row[:3] == (stamp.size, stamp.mtime_ns, stamp.inode):
            owners.append(file.subject)
            paths.append(file.path)
    return _claimed(cache, engine, dim, known, owners, paths, rest)


def _read(
    cache: EncodingsCache,
    engine: str,
    dim: int,
    owners: list[str],
    paths: list[str],
    rows: list[tuple[int, int, int, str]],
) -> KnownPhotos:
    """What the cache knows of files: of each its subject, its path, and its row in `EncodingsCache.known_files`."""
    count, length = len(paths), 4 * dim
    first = dict(zip([row[3] for row in rows], range(count), strict=True))  # by photo, the index of its file
    others: dict[str, list[int]] = {}  # the other files that hold the same photo; there is hardly ever one
    if len(first) < count:
        for i, row in enumerate(rows):
            if first[row[3]] != i:
                others.setdefault(row[3], []).append(i)
    ids = _ids([row[3] for row in rows])
    vectors = np.zeros((count, dim), "<f4")
    room = vectors.reshape(-1).view(np.uint8).data
    packed: list[bytes | None] = [None] * count
    pack = PACKED.pack

    def take(encodings: list[tuple[Any, ...]]) -> None:
        for photo, face, vector, *rest in encodings:
            place = first.get(photo)
            if place is None or len(vector) != length:
                continue
            for i in (place, *others[photo]) if photo in others else (place,):
                if wanted_face(paths[i]) == face:
                    size, mtime_ns, inode, _ = rows[i]
                    try:
                        packed[i] = pack(size, mtime_ns, inode, ids[i], *rest)
                    except struct.error:  # something is missing that every usable photo has, or its id is unusual
                        continue
                    room[i * length : (i + 1) * length] = vector

    unusable: dict[int, Encoding] = {}

    def take_unusable(encodings: list[Encoding]) -> None:
        for encoding in encodings:
            photo = encoding.photo
            place = first.get(photo)
            if place is not None:
                places = (place, *others[photo]) if photo in others else (place,)
                unusable.update({i: encoding for i in places if wanted_face(paths[i]) == encoding.face})

    cache.each_encoding(engine, take, take_unusable)
    files = [(PhotoFile(owners[i], paths[i], FileStamp(*rows[i][:3])), encoding) for i, encoding in sorted(unusable.items())]
    found = [each for each in packed if each is not None]
    if len(found) < count:
        chosen = [i for i, each in enumerate(packed) if each is not None]
        owners, paths, vectors = [owners[i] for i in chosen], [paths[i] for i in chosen], vectors[chosen]
    return KnownPhotos(owners, paths, found, vectors.astype(np.float32, copy=False), files)


def _ids(photos: list[str]) -> list[bytes | None]:
    """Each id as bytes, and None for one that cannot be written so."""
    joined = "".join(photos)
    size = PhotoIds.BYTES
    if len(joined) == 2 * size * len(photos):
        try:
            data = bytes.fromhex(joined)
        except ValueError:
            data = b""
        if data.hex() == joined and all(len(photo) == 2 * size for photo in photos):
            return [data[start : start + size] for start in range(0, len(data), size)]
    return [as_bytes(photo) for photo in photos]
