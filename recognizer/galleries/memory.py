"""A gallery in memory. Searches use one matrix product; large galleries also use short codes of the templates."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recognizer.core.errors import EngineMismatch
from recognizer.core.types import Candidate, Embedding, Template
from recognizer.galleries import codes, cohort, matching
from recognizer.galleries.photo_ids import PhotoIds
from recognizer.galleries.sketch import FIRST_MEASURED, WORTHWHILE, Preselection, Sketch
from recognizer.galleries.vector_store import BLOCK, FirstRows, VectorStore

_NONE = -1


@dataclass(frozen=True, slots=True)
class _Rows:
    """The state that a search reads: the first `count` rows. Replaced as a whole."""

    store: VectorStore
    squares: np.ndarray  # float32 (capacity,): squared lengths; infinite where a template was removed
    owners: np.ndarray  # int32 (capacity,): index into `names`
    names: list[str]
    photos: PhotoIds
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
        Number of templates at which a thread starts to make short codes of them. Searches use them to preselect rows; until
        they are ready, searches compare all rows.
    folder : path, optional
        Where the vectors of a very large gallery are put into a file without a name; see `vector_store`.
    with_codes : bool, optional
        Whether faiss's codes are used, or else our own sketches; by default, where faiss is installed.
    file_from : int
        Number of templates from which on the vectors are in a file.
    """

    def __init__(
        self,
        engine: str,
        dim: int,
        sketch_from: int = WORTHWHILE,
        folder: Path | None = None,
        with_codes: bool | None = None,
        file_from: int = BLOCK,
    ):
        self.engine, self.dim = engine, dim
        self._lock = threading.Lock()
        self._version = 0  # odd while rows are changed in place
        self._changes = 0
        self._living = 0
        self._folder, self._file_from = folder, file_from
        self._kind: type[Preselection] = codes.Codes if (codes.suits(dim) if with_codes is None else with_codes) else Sketch
        self._ids: dict[str, int] = {}
        self._free: list[int] = []  # numbers of subjects who have no template any more
        # the rows of each subject, as chains: its last row and their number; before each row, the subject's earlier one
        self._last, self._counts = np.full(64, _NONE, np.int32), np.zeros(64, np.int32)
        self._before = np.full(64, _NONE, np.int32)
        self._rows = _Rows(self._new_store(), np.full(64, np.inf, np.float32), np.zeros(64, np.int32), [], PhotoIds(64), 0)
        self._cohort: list[str] | None = None  # None until somebody asks, and after one of them has left
        self._cohort_rows: tuple[object, np.ndarray] = (None, np.zeros(0, int))  # with the state of the gallery they are of
        self._sketch: Preselection | None = None
        self._sketch_from = sketch_from
        self._sketching: threading.Thread | None = None

    def _new_store(self) -> VectorStore:
        return VectorStore(self.dim, self._folder, self._file_from)

    @property
    def generation(self) -> int:
        return self._changes

    @property
    def sketch(self) -> Preselection | None:
        """The codes or sketches that searches use; None while they compare all rows."""
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

    # -- adding -------------------------------------------------------------------------------------------------

    def add(self, templates: Sequence[Template]) -> None:
        vectors = np.empty((len(templates), self.dim), np.float32)
        for vector, template in zip(vectors, templates, strict=True):
            values = template.embedding.require(self.engine)
            if values.shape != (self.dim,):
                raise EngineMismatch(f"expected a template of length {self.dim}, got {values.shape}")
            vector[:] = values
        subjects, photos = [each.subject for each in templates], [each.photo for each in templates]
        with self._lock:
            there = set(zip(subjects, photos, strict=True))
            if len(there) == len(templates) and not any(self._row_of(*each) != _NONE for each in there):
                self._append(vectors, subjects, photos)
                self._changes += len(templates) > 0
                return
            latest = {each: i for i, each in enumerate(zip(subjects, photos, strict=True))}  # a later one replaces an earlier
            with self._in_place():
                for subject, photo in latest:
                    self._mark_removed(subject, photo)
                chosen = sorted(latest.values())
                self._append(vectors[chosen], [subjects[i] for i in chosen], [photos[i] for i in chosen])

    def load(
        self, vectors: np.ndarray, owners: np.ndarray, subjects: Sequence[str], photos: np.ndarray | Sequence[str]
    ) -> None:
        """Add many templates at once, which must not be there yet.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim)
        owners : ndarray of int, shape (n,)
            Index into `subjects` of each row.
        subjects : sequence of str
            None of them has a template yet.
        photos : ndarray of uint8, shape (n, 16), or sequence of str
            The photos' ids, as bytes or as they are written.

        Raises
        ------
        ValueError
            A subject has templates already, or the shapes do not fit.
        """
        fits = len(photos) == len(owners) and (not isinstance(photos, np.ndarray) or photos.shape[1:] == (PhotoIds.BYTES,))
        if vectors.shape != (len(owners), self.dim) or not fits:
            raise ValueError(f"expected {len(owners)} rows, got vectors {vectors.shape} and {len(photos)} photos")
        with self._lock:
            if len(set(subjects)) < len(subjects) or any(subject in self._ids for subject in subjects):
                raise ValueError("expected subjects without templates")
            numbers = np.array([self._id(subject) for subject in subjects], np.int32)
            start, end = self._make_room(len(vectors))
            if isinstance(photos, np.ndarray):
                self._rows.photos.put_bytes(start, photos)
            else:
                self._rows.photos.put(start, photos)
            self._fill(start, vectors, numbers[owners])
            self._publish(end)
            self._rows.store.release()

    def _append(self, vectors: np.ndarray, subjects: Sequence[str], photos: Sequence[str]) -> None:
        owners = np.array([self._id(subject) for subject in subjects], np.int32)
        start, end = self._make_room(len(vectors))
        self._rows.photos.put(start, photos)
        self._fill(start, vectors, owners)
        self._publish(end)

    def _fill(self, start: int, vectors: np.ndarray, owners: np.ndarray) -> None:
        """Write rows behind the others, and chain them to the earlier ones of their subjects."""
        rows, end = self._rows, start + len(vectors)
        rows.store.write(start, vectors)
        rows.owners[start:end] = owners
        rows.squares[start:end] = np.einsum("ij,ij->i", vectors, vectors)
        order = np.argsort(owners, kind="stable")  # one subject after the other, each in the order of rows
        ordered, there = owners[order], (order + start).astype(np.int32)
        is_first, is_last = np.diff(ordered, prepend=_NONE) != 0, np.diff(ordered, append=_NONE) != 0
        self._before[there] = np.where(is_first, self._last[ordered], np.concatenate([there[-1:], there[:-1]]))
        self._last[ordered[is_last]] = there[is_last]
        np.add.at(self._counts, owners, 1)
        self._living += len(vectors)

    def _publish(self, end: int) -> None:
        rows = self._rows
        if self._sketch is not None:
            self._sketch.extend(end)
        self._rows = _Rows(rows.store, rows.squares, rows.owners, rows.names, rows.photos, end)
        self._sketch_if_worthwhile()

    def _id(self, subject: str) -> int:
        number = self._ids.get(subject)
        if number is None:
            names = self._rows.names
            if self._free:
                number = self._free.pop()
                names[number] = subject
            else:
                number = len(names)
                names.append(subject)
                if number >= len(self._last):
                    self._last, self._counts = _larger(self._last, number + 1, _NONE), _larger(self._counts, number + 1, 0)
            self._ids[subject] = number
            if self._cohort is not None and cohort.joins(subject, self._cohort):
                self._cohort = cohort.members([*self._cohort, subject])
        return number

    def _make_room(self, more: int) -> tuple[int, int]:
        """Room for `more` rows, and where they begin and end. Many removed rows are left out first."""
        if self._rows.count - self._living > max(1024, self._living):
            self._compact()
        rows = self._rows
        start, end = rows.count, rows.count + more
        rows.store.reserve(end)
        rows.photos.reserve(end)
        self._before = _larger(self._before, end, _NONE)
        if end > len(rows.squares):
            squares, owners = _larger(rows.squares, end, np.inf), _larger(rows.owners, end, 0)
            self._rows = _Rows(rows.store, squares, owners, rows.names, rows.photos, rows.count)
        return start, end

    def _compact(self) -> None:
        """Move the rows that were not removed to a new store, in their order."""
        rows = self._rows
        order = np.flatnonzero(np.isfinite(rows.squares[: rows.count]))
        store, photos, count = self._new_store(), rows.photos.taken(order), len(order)
        store.reserve(count)
        for start in range(0, count, 1 << 14):
            store.write(start, rows.store.take(order[start : start + (1 << 14)]))
        new_number = np.full(rows.count + 1, _NONE, np.int32)
        new_number[order] = np.arange(count)
        self._before = _larger(new_number[self._before[order]], max(64, count), _NONE)
        self._last = np.where(self._last == _NONE, _NONE, new_number[self._last]).astype(np.int32)
        squares, owners = _larger(rows.squares[order], max(64, count), np.inf), _larger(rows.owners[order], max(64, count), 0)
        self._sketch = None
        self._rows = _Rows(store, squares, owners, rows.names, photos, count)

    # -- codes --------------------------------------------------------------------------------------------------

    def _sketch_if_worthwhile(self) -> None:
        least = self._sketch_from if self._sketch is None else 2 * self._sketch.made_of
        if self._rows.count >= least and self._sketching is None:
            self._sketching = threading.Thread(target=self._make_sketch, name="sketch", daemon=True)
            self._sketching.start()

    def _make_sketch(self) -> None:
        while True:
            rows = self._rows
            sketch = self._kind(rows.store, rows.count) if rows.count > 1 else None
            with self._lock:
                if self._rows.store is not rows.store:
                    continue  # the rows were moved in the meantime
                if sketch is None:  # nearly all rows were removed in the meantime
                    self._sketching = None
                    return
                sketch.extend(self._rows.count)
                rows.store.release()
                sketch.clear(np.flatnonzero(np.isinf(self._rows.squares[: sketch.count])))  # removed in the meantime
                self._sketch, self._sketching = sketch, None
                return

    def settle(self) -> None:
        """Wait until no codes are being made."""
        thread = self._sketching
        if thread is not None:
            thread.join()

    # -- removing and renaming ----------------------------------------------------------------------------------

    def _chain(self, subject: str) -> list[int]:
        """The rows of a subject, in the order in which they were added."""
        number = self._ids.get(subject)
        row = _NONE if number is None else int(self._last[number])
        found = []
        while row != _NONE:
            found.append(row)
            row = int(self._before[row])
        return found[::-1]

    def _row_of(self, subject: str, photo: str) -> int:
        if subject not in self._ids:
            return _NONE
        return next((row for row in self._chain(subject) if self._rows.photos[row] == photo), _NONE)

    def _set_chain(self, subject: str, chain: Sequence[int]) -> None:
        number = self._id(subject)
        before = _NONE
        for row in chain:
            self._before[row] = before
            before = row
        self._last[number], self._counts[number] = before, len(chain)
        if not chain:  # the name must not stay
            del self._ids[subject]
            if self._cohort is not None and subject in self._cohort:
                self._cohort = None
            self._rows.names[number] = ""
            self._free.append(number)

    def _mark_removed(self, subject: str, photo: str) -> bool:
        row = self._row_of(subject, photo)
        if row == _NONE:
            return False
        self._set_chain(subject, [each for each in self._chain(subject) if each != row])
        self._clear(row)
        return True

    def _clear(self, row: int) -> None:
        """Take a row out; nothing of a removed template must remain in memory."""
        self._rows.squares[row] = np.inf
        self._rows.store.clear(row)
        self._rows.photos.clear(row)
        if self._sketch is not None:
            self._sketch.clear(row)
        self._living -= 1

    def remove(self, subject: str, photo: str | None = None) -> int:
        with self._lock, self._in_place():
            if photo is not None:
                return int(self._mark_removed(subject, photo))
            chain = self._chain(subject)
            if chain:
                self._set_chain(subject, [])
            for row in chain:
                self._clear(row)
            return len(chain)

    def rename(self, old: str, new: str) -> int:
        with self._lock, self._in_place():
            moved = self._chain(old) if old != new else []
            if not moved:
                return 0
            for row in moved:
                self._mark_removed(new, self._rows.photos[row])
            kept = self._chain(new)
            self._set_chain(old, [])
            self._rows.owners[moved] = self._id(new)
            self._set_chain(new, [*kept, *moved])
            return len(moved)

    # -- searching ----------------------------------------------------------------------------------------------

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
        n = rows.count
        if sketch is not None and sketch.store is rows.store:
            found = [self._nearest_by_sketch(probe, rows, sketch, k) for probe in probes]
        else:
            vectors = rows.store.rows(0, n) if n <= matching.BLOCK else FirstRows(rows.store, n)
            found = list(matching.nearest_rows(probes, vectors, rows.squares[:n], rows.owners[:n], k))
        return [
            [Candidate(rows.names[rows.owners[row]], distance, rows.photos[row]) for row, distance in nearest]
            for nearest in found
        ]

    def _nearest_by_sketch(self, probe: np.ndarray, rows: _Rows, sketch: Preselection, k: int) -> list[tuple[int, float]]:
        n = rows.count
        if sketch.pays():
            everybody = sketch.candidates(probe, n, k)
            for near in (everybody.nearest(FIRST_MEASURED * k), everybody):
                vectors, squares = rows.store.take(near.rows), rows.squares[near.rows]
                [found] = matching.nearest_rows(probe[None], vectors, squares, rows.owners[near.rows], k)
                enough = len(found) == min(k, len(self._ids))  # the candidates may belong to fewer subjects than that
                squared = squares - 2 * (vectors @ probe) + probe @ probe
                if enough and near.suffice(squared, found[-1][1] if found else 0.0):
                    sketch.note(True)
                    return [(int(near.rows[row]), distance) for row, distance in found]
                if near.rows is everybody.rows:
                    break
            sketch.note(False)
        everything = FirstRows(rows.store, n)
        [found] = matching.nearest_rows(probe[None], everything, rows.squares[:n], rows.owners[:n], k)
        return found

    def cohort(self, probes: np.ndarray) -> np.ndarray:
        probes = np.ascontiguousarray(probes, np.float32).reshape(-1, self.dim)
        with self._lock:
            vectors = self._rows.store.take(self._rows_of_cohort())
        return matching.distances_between(probes, vectors)

    def _rows_of_cohort(self) -> np.ndarray:
        if self._cohort is None:
            self._cohort = cohort.members(self._ids)
        state, rows = self._cohort_rows
        now = self._changes, self._rows.count
        if state != now:
            photos = self._rows.photos
            rows = np.array([min(self._chain(each), key=photos.__getitem__) for each in self._cohort], int)
            self._cohort_rows = now, rows
        return rows

    def templates(self, subject: str) -> list[Template]:
        return self.templates_of([subject])[subject]

    def templates_of(self, subjects: Iterable[str]) -> dict[str, list[Template]]:
        with self._lock:
            chains = {subject: self._chain(subject) for subject in subjects}
            rows = [row for chain in chains.values() for row in chain]
            vectors = iter(self._rows.store.take(np.array(rows, int)) if rows else ())
            photos = self._rows.photos
            return {
                subject: [Template(subject, photos[row], Embedding(next(vectors), self.engine)) for row in chain]
                for subject, chain in chains.items()
            }

    def subjects(self) -> dict[str, int]:
        with self._lock:
            counts = self._counts
            return {subject: int(counts[number]) for subject, number in self._ids.items()}

    def __len__(self) -> int:
        return self._living


def _larger(array: np.ndarray, least: int, filling: float) -> np.ndarray:
    """A copy with room for at least `least` values."""
    if least <= len(array):
        return array
    made = np.full(max(64, least * 5 // 4), filling, array.dtype)
    made[: len(array)] = array
    return made
