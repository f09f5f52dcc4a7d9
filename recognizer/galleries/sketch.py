"""Sketches: compressed templates of 64 bytes, by which a search preselects the few rows to compare exactly.

A template is rotated to the principal axes. Its first coordinates, a, are stored as bytes; of the remaining ones, b, only the
length is stored. The remainders of two faces are nearly orthogonal, so ``|p - t|**2`` is about ``|pa - a|**2 + |b|**2 +
|pb|**2``. The distances of the rows that are nearest by this estimate are then computed exactly, which also gives the error of
the estimates. If the rows that were skipped are not farther away by several times that error, all rows are compared.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import numpy as np

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
_SAMPLE = 20_000
_BLOCK = 1 << 14
#: The largest byte represents this many standard deviations of the first coordinate.
_REACH = 4.5


class Sketch:
    """Sketches of the first `count` rows of `vectors`, an array that only its owner changes in place.

    Parameters
    ----------
    vectors : ndarray of float32, shape (capacity, d)
    count : int
        At least 2; `extend` adds later rows.
    """

    def __init__(self, vectors: np.ndarray, count: int):
        self.vectors, self.count = vectors, 0
        self.misses = self._asked = 0  # without a lock: a lost update costs a few milliseconds
        sample = vectors[: count : max(1, count // _SAMPLE)]
        self._mean = sample.mean(axis=0)
        spread, axes = np.linalg.eigh(np.cov(sample.T.astype(np.float64)))
        self._axes = axes[:, ::-1].astype(np.float32)
        #: Number of rows when the axes were computed.
        self.made_of = count
        self._kept = min(COLUMNS - 1, vectors.shape[1] - 1)
        self._steps = np.float32(127 / (_REACH * max(float(spread[-1]), 1e-12) ** 0.5))  # per unit of length
        self.rows = np.full((len(vectors), self._kept + 1), 255, np.uint8)
        self.extend(count)

    def extend(self, count: int) -> None:
        """Add the rows up to `count`. Searches in progress do not see them."""
        for start in range(self.count, count, _BLOCK):
            block = slice(start, min(start + _BLOCK, count))
            turned = (self.vectors[block] - self._mean) @ self._axes
            self.rows[block, :-1] = self._bytes(turned[:, : self._kept])
            rest = np.linalg.norm(turned[:, self._kept :], axis=1)
            self.rows[block, -1] = np.clip(np.rint(rest * self._steps), 0, 255)
        self.count = count

    def moved(self, vectors: np.ndarray, order: np.ndarray) -> Sketch:
        """The sketches of another array, whose first rows are the rows `order` of this one."""
        other = copy(self)
        other.vectors, other.count = vectors, len(order)
        other.rows = np.full((len(vectors), self._kept + 1), 255, np.uint8)
        other.rows[: len(order)] = self.rows[order]
        return other

    def _bytes(self, coordinates: np.ndarray) -> np.ndarray:
        quantised: np.ndarray = np.clip(np.rint(coordinates * self._steps) + 128, 0, 255).astype(np.uint8)
        return quantised

    def clear(self, row: int | np.ndarray) -> None:
        """Erase the sketch of one row or several, which makes them distant from everything."""
        self.rows[row] = 255

    def pays(self) -> bool:
        """Whether a search should use sketches: after `_MISSES` consecutive failures, only one search in `_RETRY` does."""
        self._asked += 1
        return self.misses < _MISSES or self._asked % _RETRY == 0

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

    def suffices(self, candidates: Candidates, squared: np.ndarray, farthest: float) -> bool:
        """Whether no skipped row can be expected to be nearer than the farthest row that the search found.

        Parameters
        ----------
        candidates : Candidates
        squared : ndarray of float32
            Exact squared distances of the candidates; infinite for a row that is ignored.
        farthest : float
            Distance of the farthest row found.
        """
        errors = (squared - candidates.estimates)[np.isfinite(squared)]
        sure = farthest**2 + DEVIATIONS * float(errors.std()) <= candidates.passed_over if len(errors) else False
        self.misses = 0 if sure else self.misses + 1
        return sure


class Candidates(NamedTuple):
    """Rows, their estimated squared distances, and the lowest estimate of any row that was skipped."""

    rows: np.ndarray
    estimates: np.ndarray
    passed_over: float
