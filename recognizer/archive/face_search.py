"""Search for a face in an archive: everything that shows somebody, nearest first, page by page."""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from recognizer.archive.archive_file import ArchiveFile
from recognizer.archive.photo_index import FaceKey
from recognizer.core.errors import InvalidParameter

#: Rows whose distances are computed at once.
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face that a search found.

    Attributes
    ----------
    key : FaceKey
    distance : float
        From the nearest of the probes.
    person : int or None
        Id of its group.
    taken : float or None
        When the photo was taken; see `archive_model.ArchivePhoto`.
    """

    key: FaceKey
    distance: float
    person: int | None
    taken: float | None


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of what a search found.

    Attributes
    ----------
    faces : list of FoundFace
        Nearest first; equally near ones by their keys.
    total : int
        How many there are on all pages.
    cursor : str or None
        Continues the search behind this page; None on the last one.
    """

    faces: list[FoundFace]
    total: int
    cursor: str | None


@dataclass(frozen=True, eq=False)
class _Loaded:
    """The faces of the index as arrays, one row each, in the order of their keys."""

    generation: int
    keys: list[FaceKey]
    vectors: np.ndarray
    squares: np.ndarray
    people: np.ndarray  # -1: none
    taken: np.ndarray  # NaN: unknown
    rows: dict[FaceKey, int]
    photos: np.ndarray


class FaceSearch:
    """Searches the faces of an index, which are held in memory: 1 kB for each. Safe from several threads.

    Parameters
    ----------
    file : ArchiveFile
    engine : str
        Key of the engine whose templates are compared.
    """

    def __init__(self, file: ArchiveFile, engine: str):
        self._file, self._engine = file, engine
        self._lock = threading.Lock()
        self._held: _Loaded | None = None

    def _loaded(self) -> _Loaded:
        with self._lock:
            generation = self._file.generation
            if self._held is None or self._held.generation != generation:
                self._held = None  # two of them need not fit into the memory
                self._held = self._load(generation)
            return self._held

    def _load(self, generation: int) -> _Loaded:
        faces, times = self._file.all_faces(self._engine), self._file.times()
        vectors = np.array([each.vector for each in faces], np.float32) if faces else np.empty((0, 0), np.float32)
        taken = np.array([times.get(each.key.photo) for each in faces], float)
        return _Loaded(
            generation,
            [each.key for each in faces],
            vectors,
            (vectors**2).sum(axis=1),
            np.array([-1 if each.person is None else each.person for each in faces], int),
            taken,
            {each.key: row for row, each in enumerate(faces)},
            np.array([each.key.photo for each in faces], "U32"),
        )

    def __len__(self) -> int:
        return len(self._loaded().keys)

    def forget(self) -> None:
        """Free the memory; the next search loads the faces again."""
        with self._lock:
            self._held = None

    def vectors_of(self, keys: Collection[FaceKey]) -> np.ndarray:
        """Templates of faces, float32 (n, d); those that are not there are left out."""
        held = self._loaded()
        return held.vectors[[held.rows[key] for key in keys if key in held.rows]]

    def find(
        self,
        probes: np.ndarray,
        max_distance: float,
        *,
        people: Collection[int] = (),
        since: float | None = None,
        until: float | None = None,
        photos: Collection[str] | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> FoundPage:
        """The faces that are near one of the probes.

        Parameters
        ----------
        probes : ndarray of float32, shape (m, d)
        max_distance : float
        people : collection of int, optional
            Groups whose faces belong to the result, however far they are.
        since, until : float, optional
            Only photos that were taken then, both included; photos without a time are left out then.
        photos : collection of str, optional
            Only these photos.
        limit : int
            Faces on a page.
        cursor : str, optional
            Of the page before.

        Raises
        ------
        InvalidParameter
            The cursor is none.
        """
        after = None if cursor is None else _parse_cursor(cursor)
        held = self._loaded()
        if not len(held.keys) or not len(probes):
            return FoundPage([], 0, None)
        distances = _nearest(probes, held)
        wanted = (distances <= max_distance) | np.isin(held.people, list(people))
        if since is not None:
            wanted &= held.taken >= since
        if until is not None:
            wanted &= held.taken <= until
        if photos is not None:
            wanted &= np.isin(held.photos, np.array(sorted(photos), "U32"))
        rows = np.flatnonzero(wanted)
        rows = rows[np.argsort(distances[rows], kind="stable")]  # rows are in the order of keys
        total = len(rows)
        if after is not None:
            distance, key = after
            behind = [row for row in rows.tolist() if (float(distances[row]), _order(held.keys[row])) > (distance, _order(key))]
            rows = np.array(behind, int)
        page = rows[:limit].tolist()
        faces = [
            FoundFace(
                held.keys[row],
                float(distances[row]),
                None if held.people[row] < 0 else int(held.people[row]),
                None if np.isnan(held.taken[row]) else float(held.taken[row]),
            )
            for row in page
        ]
        more = len(rows) > limit
        return FoundPage(faces, total, _cursor(faces[-1]) if more else None)


def _order(key: FaceKey) -> tuple[str, int]:
    return key.photo, key.number


def _nearest(probes: np.ndarray, held: _Loaded) -> np.ndarray:
    """Distance of each face from the nearest probe, float64 (n,); the same for every page."""
    best = np.full(len(held.keys), np.inf)
    for start in range(0, len(best), _BLOCK):
        block = slice(start, start + _BLOCK)
        for probe in np.asarray(probes, np.float32):
            squared = held.squares[block] - 2 * held.vectors[block] @ probe + float(probe @ probe)
            best[block] = np.minimum(best[block], np.sqrt(np.maximum(squared, 0.0)))
    return np.round(best, 6)


def _cursor(last: FoundFace) -> str:
    text = f"{last.distance!r} {last.key}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> tuple[float, FaceKey]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        distance, key = text.split(" ")
        return float(distance), FaceKey.parse(key)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise InvalidParameter("cursor: expected one that a search returned") from None
