"""A gallery in memory. Searches use one matrix product; large galleries also use sketches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from recognizer.core.errors import EngineMismatch
from recognizer.core.types import Candidate, Embedding, Template
from recognizer.galleries import matching
from recognizer.galleries.sketch import WORTHWHILE, Sketch


@dataclass(frozen=True, slots=True)
class _Rows:
    """The state that a search reads: the first `count` rows of the arrays. Replaced as a whole."""

    vectors: np.ndarray  # float32 (capacity, dim)
    squares: np.ndarray  # float32 (capacity,): squared lengths; infinite where a template was removed
    owners: np.ndarray  # int32 (capacity,): index into `names`
    names: list[str]
    photos: list[str]
    count: int


class MemoryGallery:
    """A gallery in memory; see `contract.Gallery`.

    Owns its arrays. Writers hold a lock. Searches take no lock, since new rows are appended behind the rows that a search
    reads. Rows that are cleared or renamed are changed in place; a search during which this happened is repeated under the
    lock.

    Parameters
    ----------
    engine : str
    dim : int
    sketch_from : int
        Number of templates at which a thread starts to compute sketches. Searches use them to preselect rows; until they are
        ready, searches compare all rows.
    """

    def __init__(self, engine: str, dim: int, sketch_from: int = WORTHWHILE):
        self.engine, self.dim = engine, dim
        self._lock = threading.Lock()
        self._version = 0  # odd while rows are changed in place
        self._changes = 0
        self._living = 0
        self._ids: dict[str, int] = {}
        self._by_subject: dict[str, dict[str, int]] = {}
        self._rows = _Rows(*self._allocate(64), [], [], 0)
        self._sketch: Sketch | None = None
        self._sketch_from = sketch_from
        self._sketching: threading.Thread | None = None

    def _allocate(self, capacity: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            np.zeros((capacity, self.dim), np.float32),
            np.full(capacity, np.inf, np.float32),
            np.zeros(capacity, np.int32),
        )

    @property
    def generation(self) -> int:
        return self._changes

    @property
    def sketch(self) -> Sketch | None:
        """The sketches that searches use; None while they compare all rows."""
        return self._sketch

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        """Mark that rows which a search may be reading are changed. The caller must hold the lock."""
        self._version += 1
        try:
            yield
        finally:
            self._version += 1
            self._changes += 1

    def add(self, templates: Sequence[Template]) -> None:
        vectors = np.empty((len(templates), self.dim), np.float32)
        for vector, template in zip(vectors, templates, strict=True):
            values = template.embedding.require(self.engine)
            if values.shape != (self.dim,):
                raise EngineMismatch(f"expected a template of length {self.dim}, got {values.shape}")
            vector[:] = values
        with self._lock:
            if not any(each.photo in self._by_subject.get(each.subject, ()) for each in templates):
                self._append(templates, vectors)
                self._changes += len(templates) > 0
                return
            with self._in_place():
                for template in templates:
                    self._mark_removed(template.subject, template.photo)
                self._append(templates, vectors)

    def load(self, vectors: np.ndarray, owners: np.ndarray, names: list[str], photos: list[str]) -> None:
        """Replace everything by these templates, in one step for searches; a million take about a second.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim)
            The gallery keeps this array, and changes it later.
        owners : ndarray of int, shape (n,)
            The index of each row's subject in `names`.
        names : list of str
            Each subject once.
        photos : list of str, of length n
            No subject has a photo twice.
        """
        if vectors.shape != (len(photos), self.dim):
            raise EngineMismatch(f"expected templates of length {self.dim}, got {vectors.shape}")
        squares = np.einsum("ij,ij->i", vectors, vectors)
        by_subject: list[dict[str, int]] = [{} for _ in names]
        for row, (owner, photo) in enumerate(zip(owners.tolist(), photos, strict=True)):
            by_subject[owner][photo] = row
        held = {name: rows for name, rows in zip(names, by_subject, strict=True) if rows}
        with self._lock, self._in_place():
            self._ids = {name: owner for owner, name in enumerate(names)}
            self._by_subject, self._living, self._sketch = held, len(photos), None
            self._rows = _Rows(vectors, squares, owners.astype(np.int32), names, photos, len(photos))
            self._sketch_if_worthwhile()

    def _append(self, templates: Sequence[Template], vectors: np.ndarray) -> None:
        rows = self._room_for(len(templates))
        start, end = rows.count, rows.count + len(templates)
        rows.vectors[start:end] = vectors
        rows.owners[start:end] = [self._id(template.subject) for template in templates]
        rows.squares[start:end] = np.einsum("ij,ij->i", vectors, vectors)
        for row, template in enumerate(templates, start):
            photos = self._by_subject.setdefault(template.subject, {})
            if template.photo in photos:  # twice in one call: the later one replaces the earlier one
                self._clear(photos[template.photo])
                self._living -= 1
            photos[template.photo] = row
            rows.photos.append(template.photo)
        self._living += len(templates)
        if self._sketch is not None:
            self._sketch.extend(end)
        self._rows = _Rows(rows.vectors, rows.squares, rows.owners, rows.names, rows.photos, end)
        self._sketch_if_worthwhile()

    def _clear(self, row: int) -> None:
        self._rows.squares[row] = np.inf
        self._rows.vectors[row] = 0  # removed templates must not remain in memory
        if self._sketch is not None:
            self._sketch.clear(row)

    def _sketch_if_worthwhile(self) -> None:
        """Compute sketches once there are enough templates, and again, with new axes, whenever their number has doubled."""
        least = self._sketch_from if self._sketch is None else 2 * self._sketch.made_of
        if self._rows.count >= least and self._sketching is None:
            self._sketching = threading.Thread(target=self._make_sketch, name="sketch", daemon=True)
            self._sketching.start()

    def _make_sketch(self) -> None:
        while True:
            rows = self._rows
            sketch = Sketch(rows.vectors, rows.count) if rows.count > 1 else None
            with self._lock:
                if self._rows.vectors is not rows.vectors:
                    continue  # the rows were moved in the meantime
                if sketch is None:  # nearly all rows were removed in the meantime
                    self._sketching = None
                    return
                sketch.extend(self._rows.count)
                sketch.clear(np.flatnonzero(np.isinf(rows.squares[: sketch.count])))  # removed in the meantime
                self._sketch, self._sketching = sketch, None
                return

    def settle(self) -> None:
        """Wait until no sketch is being computed."""
        thread = self._sketching
        if thread is not None:
            thread.join()

    def _id(self, subject: str) -> int:
        if subject not in self._ids:
            self._ids[subject] = len(self._rows.names)
            self._rows.names.append(subject)
        return self._ids[subject]

    def _room_for(self, more: int) -> _Rows:
        """Arrays with room for `more` rows; enlarged by half when full, and compacted when many rows were removed."""
        rows, living = self._rows, self._living
        if rows.count + more <= len(rows.vectors) and rows.count - living <= max(1024, living):
            return rows
        order = np.array(sorted(row for photos in self._by_subject.values() for row in photos.values()), int)
        vectors, squares, owners = self._allocate(max(64, (living + more) * 3 // 2))
        vectors[:living], squares[:living] = rows.vectors[order], rows.squares[order]
        used, owners[:living] = np.unique(rows.owners[order], return_inverse=True)
        new_row = {int(old): new for new, old in enumerate(order)}
        for photos in self._by_subject.values():
            photos.update({photo: new_row[row] for photo, row in photos.items()})
        names = [rows.names[owner] for owner in used]
        self._ids = {name: owner for owner, name in enumerate(names)}
        if self._sketch is not None:
            self._sketch = self._sketch.moved(vectors, order)
        self._rows = _Rows(vectors, squares, owners, names, [rows.photos[row] for row in order], living)
        return self._rows

    def _mark_removed(self, subject: str, photo: str) -> bool:
        photos = self._by_subject.get(subject, {})
        row = photos.pop(photo, None)
        if row is None:
            return False
        self._clear(row)
        self._living -= 1
        if not photos:
            del self._by_subject[subject]
        return True

    def remove(self, subject: str, photo: str | None = None) -> int:
        with self._lock, self._in_place():
            photos = [photo] if photo is not None else list(self._by_subject.get(subject, ()))
            return sum(self._mark_removed(subject, each) for each in photos)

    def rename(self, old: str, new: str) -> int:
        with self._lock, self._in_place():
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
        before = self._version
        if before % 2 == 0:
            found = self._search(probes, k)
            if self._version == before:
                return found
        with self._lock:
            return self._search(probes, k)

    def _search(self, probes: np.ndarray, k: int) -> list[list[Candidate]]:
        rows, sketch = self._rows, self._sketch
        if sketch is not None and sketch.vectors is rows.vectors:
            found = [self._nearest_by_sketch(probe, rows, sketch, k) for probe in probes]
        else:
            n = rows.count
            found = list(matching.nearest_rows(probes, rows.vectors[:n], rows.squares[:n], rows.owners[:n], k))
        return [
            [Candidate(rows.names[rows.owners[row]], distance, rows.photos[row]) for row, distance in nearest]
            for nearest in found
        ]

    def _nearest_by_sketch(self, probe: np.ndarray, rows: _Rows, sketch: Sketch, k: int) -> list[tuple[int, float]]:
        n = rows.count
        if sketch.pays():
            near = sketch.candidates(probe, n, k)
            vectors, squares = rows.vectors[near.rows], rows.squares[near.rows]
            [found] = matching.nearest_rows(probe[None], vectors, squares, rows.owners[near.rows], k)
            enough = len(found) == min(k, len(self._by_subject))  # the candidates may belong to fewer subjects than that
            squared = squares - 2 * (vectors @ probe) + probe @ probe
            if enough and sketch.suffices(near, squared, found[-1][1] if found else 0.0):
                return [(int(near.rows[row]), distance) for row, distance in found]
        [found] = matching.nearest_rows(probe[None], rows.vectors[:n], rows.squares[:n], rows.owners[:n], k)
        return found

    def templates(self, subject: str) -> list[Template]:
        with self._lock:
            vectors = self._rows.vectors
            photos = self._by_subject.get(subject, {})
            return [Template(subject, photo, Embedding(vectors[row].copy(), self.engine)) for photo, row in photos.items()]

    def subjects(self) -> dict[str, int]:
        with self._lock:
            return {subject: len(photos) for subject, photos in self._by_subject.items()}

    def __len__(self) -> int:
        return self._living
