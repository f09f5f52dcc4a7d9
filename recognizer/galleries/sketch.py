"""Short forms of templates, 64 bytes each, by which a search finds the few rows that are worth measuring.

A template is turned into its principal axes. Its first coordinates a are kept as bytes, and of the rest b its length: since
the rests of two faces have hardly any direction in common, ``|p - t|**2`` is about ``|pa - a|**2 + |b|**2 + |pb|**2``. The
rows that are nearest by that estimate are then measured whole, which also tells how far off the estimates are. Unless the rows
that were passed over are farther away by several times that, all are measured.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

import numpy as np

#: Fewer templates than this are compared as they are: it takes a few milliseconds at most.
WORTHWHILE = 50_000
#: Bytes of a sketch: coordinates, and the length of the rest.
COLUMNS = 64
#: The rows are read in so many parts, since keeping the best of a few is quicker than keeping as many of all.
PARTS = 16
#: Rows of each part that are measured whole, and how many more for each subject that is asked for.
MEASURED, MEASURED_PER_SUBJECT = 128, 4
#: How many standard deviations of an estimate's error a row that is passed over must at least be off. For faces it is more
#: than 4; vectors that have no principal axes stay below 1 (benchmarks/search.py counts what goes wrong).
DEVIATIONS = 3.5
_MISSES, _RETRY = 4, 64
_SAMPLE = 20_000
_BLOCK = 1 << 14
#: The largest byte stands for this many standard deviations of the first coordinate.
_REACH = 4.5


class Sketch:
    """Sketches of the first `count` rows of `vectors`, an array that is changed in place by its owner only.

    Parameters
    ----------
    vectors : ndarray of float32, shape (capacity, d)
    count : int
        At least 2; `extend` takes in what is added later.
    """

    def __init__(self, vectors: np.ndarray, count: int):
        self.vectors, self.count = vectors, 0
        self._misses = self._asked = 0  # counted loosely: a lost count costs a few milliseconds
        sample = vectors[: count : max(1, count // _SAMPLE)]
        self._mean = sample.mean(axis=0)
        spread, axes = np.linalg.eigh(np.cov(sample.T.astype(np.float64)))
        self._axes = axes[:, ::-1].astype(np.float32)
        #: Rows that were there when the axes were chosen.
        self.made_of = count
        self._kept = min(COLUMNS - 1, vectors.shape[1] - 1)
        self._steps = np.float32(127 / (_REACH * max(float(spread[-1]), 1e-12) ** 0.5))  # per unit of length
        self._rows = np.full((len(vectors), self._kept + 1), 255, np.uint8)
        self.extend(count)

    def extend(self, count: int) -> None:
        """Take in the rows up to `count`. A search that is under way does not see them."""
        for start in range(self.count, count, _BLOCK):
            block = slice(start, min(start + _BLOCK, count))
            turned = (self.vectors[block] - self._mean) @ self._axes
            self._rows[block, :-1] = self._bytes(turned[:, : self._kept])
            rest = np.linalg.norm(turned[:, self._kept :], axis=1)
            self._rows[block, -1] = np.clip(np.rint(rest * self._steps), 0, 255)
        self.count = count

    def moved(self, vectors: np.ndarray, order: np.ndarray) -> Sketch:
        """The same for an array whose first rows are this one's rows `order`."""
        other = copy(self)
        other.vectors, other.count = vectors, len(order)
        other._rows = np.full((len(vectors), self._kept + 1), 255, np.uint8)
        other._rows[: len(order)] = self._rows[order]
        return other

    def _bytes(self, coordinates: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(coordinates * self._steps) + 128, 0, 255).astype(np.uint8)

    def clear(self, row) -> None:
        """Forget one row, or several: nothing of them is kept, and they are near to nothing."""
        self._rows[row] = 255

    def pays(self) -> bool:
        """Whether to ask for candidates: after some misses in a row, only one search in `_RETRY` tries."""
        self._asked += 1
        return self._misses < _MISSES or self._asked % _RETRY == 0

    def candidates(self, probe: np.ndarray, count: int, k: int) -> Candidates:
        """Of the first `count` rows those that are nearest by estimate, among them the nearest of `k` subjects.

        Parameters
        ----------
        probe : ndarray of float32, shape (d,)
        count : int
        k : int
        """
        import cv2

        turned = (probe - self._mean) @ self._axes
        sketched = np.zeros((1, self._kept + 1), np.uint8)  # its rest counts as 0, so that a row's adds its square
        sketched[0, :-1] = self._bytes(turned[: self._kept])
        wanted = MEASURED + MEASURED_PER_SUBJECT * k
        rows, apart, passed_over, size = [], [], np.inf, max(wanted, -(-count // PARTS))
        for start in range(0, count, size):
            part = self._rows[start : min(start + size, count)]
            best = cv2.batchDistance(sketched, part, cv2.CV_32S, normType=cv2.NORM_L2SQR, K=min(wanted, len(part)))
            rows.append(best[1][0] + start)
            apart.append(best[0][0])
            if len(part) > wanted:
                passed_over = min(passed_over, float(best[0][0, -1]))
        scale, rest = float(self._steps) ** -2, float(turned[self._kept :] @ turned[self._kept :])
        estimates = np.concatenate(apart).astype(np.float32) * np.float32(scale) + np.float32(rest)
        return Candidates(np.concatenate(rows), estimates, passed_over * scale + rest)

    def suffices(self, candidates: Candidates, squared: np.ndarray, farthest: float) -> bool:
        """Whether no row that was passed over can be expected to be as near as the farthest that a search found.

        Parameters
        ----------
        candidates : Candidates
        squared : ndarray of float32
            The measured squared distances of the candidates; infinite for a row that does not count.
        farthest : float
            Distance.
        """
        errors = (squared - candidates.estimates)[np.isfinite(squared)]
        sure = farthest**2 + DEVIATIONS * float(errors.std()) <= candidates.passed_over if len(errors) else False
        self._misses = 0 if sure else self._misses + 1
        return sure


class Candidates(NamedTuple):
    """Rows, their estimated squared distances, and the least estimate of any row that was passed over."""

    rows: np.ndarray
    estimates: np.ndarray
    passed_over: float
