"""Templates in memory, searched exactly by one matrix product."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import matching
from ..errors import EngineMismatch
from ..types import Candidate, Embedding, Template

@dataclass(frozen=True, slots=True)
class _Rows:
    """What a search sees: the first `count` rows of the arrays. Replaced as a whole; only ever appended to."""

    vectors: np.ndarray  # float32 (capacity, dim)
    squares: np.ndarray  # float32 (capacity,): squared lengths; infinite where a template was removed
    owners: np.ndarray  # int32 (capacity,): index into the list of names
    photos: list[str]
    count: int


class MemoryGallery:
    """See `base.Gallery`.

    Owns its arrays. Writers hold a lock and only ever append rows or mark them removed; a search works on the arrays
    that were current when it began, so it takes no lock and never waits.
    """

    def __init__(self, engine: str, dim: int):
        self.engine, self.dim = engine, dim
        self._lock = threading.Lock()
        self._clear()

    def _clear(self):
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        self._by_subject: dict[str, dict[str, int]] = {}
        self._rows = self._allocate(64)

    def _allocate(self, capacity: int) -> _Rows:
        return _Rows(
            np.zeros((capacity, self.dim), np.float32),
            np.full(capacity, np.inf, np.float32),
            np.zeros(capacity, np.int32),
            [],
            0,
        )

    def add(self, templates: Sequence[Template]) -> None:
        vectors = np.empty((len(templates), self.dim), np.float32)
        for vector, template in zip(vectors, templates, strict=True):
            values = template.embedding.require(self.engine)
            if values.shape != (self.dim,):
                raise EngineMismatch(f"expected a template of length {self.dim}, got {values.shape}")
            vector[:] = values
        with self._lock:
            for template in templates:
                self._mark_removed(template.subject, template.photo)
            self._append(templates, vectors)

    def _append(self, templates: Sequence[Template], vectors: np.ndarray) -> None:
        rows = self._room_for(len(templates))
        start, end = rows.count, rows.count + len(templates)
        rows.vectors[start:end] = vectors
        rows.owners[start:end] = [self._id(template.subject) for template in templates]
        rows.squares[start:end] = np.einsum("ij,ij->i", vectors, vectors)
        for row, template in enumerate(templates, start):
            photos = self._by_subject.setdefault(template.subject, {})
            if template.photo in photos:  # twice in one call: the later one stands
                rows.squares[photos[template.photo]] = np.inf
            photos[template.photo] = row
            rows.photos.append(template.photo)
        self._rows = _Rows(rows.vectors, rows.squares, rows.owners, rows.photos, end)

    def _id(self, subject: str) -> int:
        if subject not in self._ids:
            self._ids[subject] = len(self._names)
            self._names.append(subject)
        return self._ids[subject]

    def _room_for(self, more: int) -> _Rows:
        """Arrays with room for that many more rows; grown by half, and packed when much of them was removed."""
        rows, living = self._rows, len(self)
        if rows.count + more <= len(rows.vectors) and rows.count - living <= max(1024, living):
            return rows
        order = np.array(sorted(row for photos in self._by_subject.values() for row in photos.values()), int)
        grown = self._allocate(max(64, (living + more) * 3 // 2))
        for new, old in ((grown.vectors, rows.vectors), (grown.squares, rows.squares), (grown.owners, rows.owners)):
            new[:living] = old[order]
        new_row = {int(old): new for new, old in enumerate(order)}
        for photos in self._by_subject.values():
            photos.update({photo: new_row[row] for photo, row in photos.items()})
        kept = [rows.photos[row] for row in order]
        return _Rows(grown.vectors, grown.squares, grown.owners, kept, living)

    def _mark_removed(self, subject: str, photo: str) -> bool:
        photos = self._by_subject.get(subject, {})
        row = photos.pop(photo, None)
        if row is None:
            return False
        self._rows.squares[row] = np.inf
        self._rows.vectors[row] = 0  # a removed face leaves nothing behind
        if not photos:
            del self._by_subject[subject]
        return True

    def remove(self, subject: str, photo: str | None = None) -> int:
        with self._lock:
            photos = [photo] if photo is not None else list(self._by_subject.get(subject, ()))
            return sum(self._mark_removed(subject, each) for each in photos)

    def rename(self, old: str, new: str) -> int:
        with self._lock:
            moved = self._by_subject.get(old, {}) if old != new else {}
            for photo in list(moved):
                self._mark_removed(new, photo)
            photos = self._by_subject.setdefault(new, {}) if moved else {}
            for photo, row in moved.items():
                self._rows.owners[row] = self._id(new)
                photos[photo] = row
            count = len(moved)
            if moved:
                del self._by_subject[old]
            return count

    def search(self, probes: np.ndarray, k: int = 1) -> list[list[Candidate]]:
        probes = np.ascontiguousarray(probes, np.float32).reshape(-1, self.dim)
        rows, names = self._rows, self._names
        n = rows.count
        found = matching.nearest_rows(probes, rows.vectors[:n], rows.squares[:n], rows.owners[:n], k)
        return [
            [Candidate(names[rows.owners[row]], distance, rows.photos[row]) for row, distance in nearest]
            for nearest in found
        ]

    def templates(self, subject: str) -> list[Template]:
        with self._lock:
            vectors = self._rows.vectors
            photos = self._by_subject.get(subject, {})
            return [
                Template(subject, photo, Embedding(vectors[row].copy(), self.engine)) for photo, row in photos.items()
            ]

    def subjects(self) -> dict[str, int]:
        with self._lock:
            return {subject: len(photos) for subject, photos in self._by_subject.items()}

    def __len__(self) -> int:
        return sum(len(photos) for photos in self._by_subject.values())
