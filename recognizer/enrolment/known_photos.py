"""What the cache knows of the files of a folder, all at once: for starts with hundreds of thousands of photos."""

from __future__ import annotations

import gc
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding, FileStamp
from recognizer.enrolment.folder_look import PhotoFile
from recognizer.enrolment.photo_marks import wanted_face
from recognizer.galleries.photo_ids import PhotoIds, as_bytes

#: A usable encoding and its file without vector, subject and path: size, modification time and inode of the file; the photo's
#: id; box, score, width and height.
PACKED = struct.Struct("<qqq16s5dii")
STAMP = struct.Struct("<qqq")
#: The same as `PACKED`, of many at once.
_COLUMNS = np.dtype(
    [
        *((name, "<i8") for name in ("size", "mtime_ns", "inode")),
        ("photo", f"S{PhotoIds.BYTES}"),
        *((name, "<f8") for name in ("left", "top", "right", "bottom", "score")),
        *((name, "<i4") for name in ("width", "height")),
    ]
)
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
    found = _Found(dim, paths, rows)
    cache.each_encoding(engine, found.take, found.take_unusable)
    data = found.packed.tobytes()
    packed = [data[start : start + PACKED.size] for start in range(0, len(data), PACKED.size)]
    unusable = [
        (PhotoFile(owners[i], paths[i], FileStamp(*rows[i][:3])), encoding) for i, encoding in sorted(found.unusable.items())
    ]
    known = KnownPhotos(owners, paths, packed, found.vectors, unusable)
    return known if found.is_there.all() else known.select(np.flatnonzero(found.is_there).tolist())


class _Found:
    """Takes encodings, and puts each where its file is.

    Parameters
    ----------
    dim : int
    paths : list of str
        Of the files.
    rows : list of tuple
        Of each file, its row in `EncodingsCache.known_files`.

    Attributes
    ----------
    packed : ndarray of uint8, shape (n, PACKED.size)
    vectors : ndarray of float32, shape (n, dim)
    is_there : ndarray of bool, shape (n,)
        Whether the file's encoding was found.
    unusable : dict of Encoding
        Of files that enrol nobody, by the file's index.
    """

    def __init__(self, dim: int, paths: list[str], rows: list[tuple[int, int, int, str]]):
        count = len(paths)
        self.packed, self.vectors = np.zeros((count, PACKED.size), np.uint8), np.zeros((count, dim), np.float32)
        self.is_there = np.zeros(count, bool)
        self.unusable: dict[int, Encoding] = {}
        self._rows, self._length = rows, 4 * dim
        self._faces = [wanted_face(path) for path in paths]
        self._ids = _ids([row[3] for row in rows])
        self._places: dict[str, list[int]] | None = None  # of every photo, the files that hold it; made when first needed
        self._columns: np.ndarray | None = self.packed.view(_COLUMNS).reshape(count)
        stamps = np.array([row[:3] for row in rows])
        if None in self._ids or stamps.dtype != np.int64 or stamps.shape != (count, 3):
            self._columns = None  # something about a file is unusual: all are taken one by one
            return
        for name, values in zip(("size", "mtime_ns", "inode"), stamps.T, strict=True):
            self._columns[name] = values
        self._columns["photo"] = self._ids
        self._order = np.argsort(self._columns["photo"], kind="stable")
        self._sorted = self._columns["photo"][self._order]

    def take(self, encodings: list[tuple[Any, ...]]) -> None:
        """Take some encodings, as `EncodingsCache.each_encoding` gives them."""
        if encodings and not self._take_together(*list(zip(*encodings, strict=True))[:10]):
            self._take_one_by_one(encodings)

    def _take_together(
        self, photos: Sequence[str], faces: Sequence[str], vectors: Sequence[bytes], *others: Sequence[Any]
    ) -> bool:
        """Whether nothing about them is unusual, so that they could be taken at once."""
        columns, count = self._columns, len(photos)
        try:
            ids, joined = bytes.fromhex("".join(photos)), b"".join(vectors)
        except ValueError:
            return False
        numbers = [np.array(each) for each in others]
        if columns is None or ids.hex() != "".join(photos) or set(map(len, photos)) != {2 * PhotoIds.BYTES}:
            return False
        if set(map(len, vectors)) != {self._length} or any(each.dtype != np.float64 for each in numbers[:5]):
            return False
        if any(each.dtype != np.int64 or each.min() < -(2**31) or each.max() >= 2**31 for each in numbers[5:]):
            return False
        wanted = np.frombuffer(ids, self._sorted.dtype)
        first = self._sorted.searchsorted(wanted)
        files = self._sorted.searchsorted(wanted, "right") - first  # hardly ever more than one
        source = np.repeat(np.arange(count), files)
        nth = np.arange(len(source)) - np.repeat(np.cumsum(files) - files, files)
        target = self._order[first[source] + nth]
        fits = [self._faces[i] == faces[n] for i, n in zip(target.tolist(), source.tolist(), strict=True)]
        if not all(fits):
            source, target = source[fits], target[fits]
        self.vectors[target] = np.frombuffer(joined, "<f4").reshape(count, -1)[source]
        for name, values in zip(("left", "top", "right", "bottom", "score", "width", "height"), numbers, strict=True):
            columns[name][target] = values[source]
        self.is_there[target] = True
        return True

    def _take_one_by_one(self, encodings: list[tuple[Any, ...]]) -> None:
        for photo, face, vector, *numbers in encodings:
            for i in self._places_of(photo) if len(vector) == self._length else ():
                if self._faces[i] == face:
                    size, mtime_ns, inode, _ = self._rows[i]
                    try:
                        packed = PACKED.pack(size, mtime_ns, inode, self._ids[i], *numbers[:7])
                    except struct.error:  # something is missing that every usable photo has, or its id is unusual
                        continue
                    self.packed[i] = np.frombuffer(packed, np.uint8)
                    self.vectors[i] = np.frombuffer(vector, "<f4")
                    self.is_there[i] = True

    def take_unusable(self, encodings: list[Encoding]) -> None:
        """Take some that enrol nobody."""
        for encoding in encodings:
            places = self._places_of(encoding.photo)
            self.unusable.update({i: encoding for i in places if self._faces[i] == encoding.face})

    def _places_of(self, photo: str) -> Sequence[int]:
        """The files that hold a photo."""
        if self._places is None:
            self._places = {}
            for i, row in enumerate(self._rows):
                self._places.setdefault(row[3], []).append(i)
        return self._places.get(photo, ())


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
