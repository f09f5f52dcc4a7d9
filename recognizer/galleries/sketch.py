"""Sketches: compressed templates of 64 bytes, by which a search preselects the few rows to compare exactly.

A template is rotated to the principal axes. Its first coordinates, a, are stored as bytes; of the remaining ones, b, only the
length is stored. The remainders of two faces are nearly orthogonal, so ``|p - t|**2`` is about ``|pa - a|**2 + |b|**2 +
|pb|**2``. The distances of the rows that are nearest by this estimate are then computed exactly, which also gives the error of
the estimates. If the rows that were skipped are not farther away by several times that error, all rows are compared.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recognizer.galleries.vector_store import VectorStore

#: Smaller galleries are searched without sketches: that takes a few milliseconds at most.
WORTHWHILE = 50_000
#: Bytes of a sketch: coordinates, and the length of the remainder.
COLUMNS = 64
#: Number of parts in which the rows are scanned: selecting the best of each part is faster than selecting as many from all
#: rows.
PARTS = 16
#: Rows of each part that are compared exactly, and how many more for each subject requested.
MEASURED, MEASURED_PER_SUBJECT = 128, 4
#: Rows may be skipped if they are farther away by at least this many standard deviations of the estimates' error. For faces it
#: is more than 4; vectors without principal axes stay below 1 (benchmarks/search.py counts the errors).
DEVIATIONS = 3.5
_MISSES, _RETRY = 4, 64
#: Candidates that are measured first, for each subject requested: for probes of enrolled people they nearly always suffice.
FIRST_MEASURED = 256
_SAMPLE = 20_000
_BLOCK = 1 << 14
#: The largest byte represents this many standard deviations of the first coordinate.
_REACH = 4.5


class Preselection:
    """What `Sketch` and `codes.Codes` share: which rows a search measures exactly.

    Parameters
    ----------
    store : VectorStore
        Only its owner changes it.
    count : int
        Number of rows to begin with, at least 2.

    Attributes
    ----------
    count : int
        Number of rows that are known; `extend` adds later ones.
    made_of : int
        Number of rows when what is learned from them was learned.
    """

    def __init__(self, store: VectorStore, count: int):
        self.store, self.count, self.made_of = store, 0, count
        self.misses = self._asked = 0  # without a lock: a lost update costs a few milliseconds

    def extend(self, count: int) -> None:
        """Add the rows up to `count`. Searches in progress do not see them."""
        raise NotImplementedError

    def clear(self, row: int | np.ndarray) -> None:
        """Erase what is known of one row or several."""
        raise NotImplementedError

    def candidates(self, probe: np.ndarray, count: int, k: int) -> Candidates:
        """The rows that are nearest to the probe by estimate.

        Parameters
        ----------
        probe : ndarray of float32, shape (d,)
        count : int
            Only the first `count` rows are considered.
        k : int
            Number of subjects to find; more candidates are selected for more subjects.
        """
        raise NotImplementedError

    def pays(self) -> bool:
        """Whether a search should preselect: after `_MISSES` consecutive failures, only one search in `_RETRY` does."""
        self._asked += 1
        return self.misses < _MISSES or self._asked % _RETRY == 0

    def note(self, sufficed: bool) -> None:
        """Note whether the candidates of a search were enough."""
        self.misses = 0 if sufficed else self.misses + 1


class Sketch(Preselection):
    """Sketches of the first `count` rows of `store`; see `Preselection`."""

    def __init__(self, store: VectorStore, count: int):
        super().__init__(store, count)
        sample = store.take(np.arange(0, count, max(1, count // _SAMPLE)))
        self._mean = sample.mean(axis=0)
        spread, axes = np.linalg.eigh(np.cov(sample.T.astype(np.float64)))
        self._axes = axes[:, ::-1].astype(np.float32)
        self._kept = min(COLUMNS - 1, store.dim - 1)
        self._steps = np.float32(127 / (_REACH * max(float(spread[-1]), 1e-12) ** 0.5))  # per unit of length
        self.rows = np.full((count, self._kept + 1), 255, np.uint8)
        self.extend(count)

    def extend(self, count: int) -> None:
        """Add the rows up to `count`. Searches in progress do not see them."""
        if count > len(self.rows):
            larger = np.full((count * 3 // 2, self._kept + 1), 255, np.uint8)
            larger[: self.count] = self.rows[: self.count]
            self.rows = larger
        for start in range(self.count, count, _BLOCK):
            block = slice(start, min(start + _BLOCK, count))
            turned = (self.store.rows(block.start, block.stop) - self._mean) @ self._axes
            self.rows[block, :-1] = self._bytes(turned[:, : self._kept])
            rest = np.linalg.norm(turned[:, self._kept :], axis=1)
            self.rows[block, -1] = np.clip(np.rint(rest * self._steps), 0, 255)
        self.count = count

    def _bytes(self, coordinates: np.ndarray) -> np.ndarray:
        quantised: np.ndarray = np.clip(np.rint(coordinates * self._steps) + 128, 0, 255).astype(np.uint8)
        return quantised

    def clear(self, row: int | np.ndarray) -> None:
        """Erase the sketch of one row or several, which makes them distant from everything."""
        self.rows[row] = 255

    def candidates(self, probe: np.ndarray, count: int, k: int) -> Candidates:
        """See `Preselection.candidates`."""
        import cv2

        turned = (probe - self._mean) @ self._axes
        sketched = np.zeros((1, self._kept + 1), np.uint8)  # remainder 0, so that a row's remainder adds its square
        sketched[0, :-1] = self._bytes(turned[: self._kept])
        wanted = MEASURED + MEASURED_PER_SUBJECT * k
        rows, apart, passed_over, size = [], [], np.inf, max(wanted, -(-count // PARTS))
        for start in range(0, count, size):
            part = self.rows[start : min(start + size, count)]
            best = cv2.batchDistance(sketched, part, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=min(wanted, len(part)))
            rows.append(best[1][0] + start)
            apart.append(best[0][0])
            if len(part) > wanted:
                passed_over = min(passed_over, float(best[0][0, -1]))
        scale, rest = float(self._steps) ** -2, float(turned[self._kept :] @ turned[self._kept :])
        estimates = np.concatenate(apart).astype(np.float32) * np.float32(scale) + np.float32(rest)
        return Candidates(np.concatenate(rows), estimates, passed_over * scale + rest)


class Candidates(NamedTuple):
    """Rows, their estimated squared distances (NaN where there is none), and the lowest estimate of any that was skipped."""

    rows: np.ndarray
    estimates: np.ndarray
    passed_over: float

    def nearest(self, count: int) -> Candidates:
        """The nearest of them by estimate, and those without an estimate; all, if there are hardly more."""
        if len(self.rows) < 2 * count:
            return self
        order = np.argpartition(self.estimates, count)  # NaN is last
        limit = float(self.estimates[order[count]])
        if np.isnan(limit):
            return self
        chosen = (self.estimates < limit) | np.isnan(self.estimates)
        return Candidates(self.rows[chosen], self.estimates[chosen], min(limit, self.passed_over))

    def suffice(self, squared: np.ndarray, farthest: float) -> bool:
        """Whether no skipped row can be expected to be nearer than the farthest row that the search found.

        Parameters
        ----------
        squared : ndarray of float32
            Exact squared distances of the candidates; infinite for a row that is ignored.
        farthest : float
            Distance of the farthest row found.
        """
        if self.passed_over == np.inf:
            return True  # nothing was skipped
        errors = squared - self.estimates
        errors = errors[np.isfinite(errors)]
        return bool(len(errors)) and farthest**2 + DEVIATIONS * float(errors.std()) <= self.passed_over
