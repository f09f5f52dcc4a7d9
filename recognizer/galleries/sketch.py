"""Short forms of templates that bound distances from below, so that an exact search reads a third of the memory.

A template t, turned into its principal axes, is split into its first coordinates a and the rest b. For a probe likewise
split, ``|p - t|**2 >= |pa - a|**2 + (|pb| - |b|)**2`` (triangle inequality on the rest). Rows whose bound is above the
distance of a row already measured cannot be nearer, whatever the axes; good axes only leave fewer rows to measure.
"""

from __future__ import annotations

import numpy as np

#: Fewer templates than this are compared as they are: it takes a few milliseconds at most.
WORTHWHILE = 50_000
#: Columns of a sketch, per length of a template: the fewer, the less memory is read, and the more rows have to be measured.
SHARE = 0.375
_SAMPLE = 20_000
_BLOCK = 1024
_MISSES, _RETRY = 4, 64
_SLACK = 1e-4  # of a squared distance: what float32 may lose


class Sketch:
    """Sketches of the first `count` rows of `vectors`, an array that is changed in place by its owner only.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
    count : int
    """

    def __init__(self, vectors: np.ndarray, count: int):
        self.vectors, self.count = vectors, count
        self._misses = self._asked = 0  # counted loosely: a lost count costs a few milliseconds
        columns = max(3, round(SHARE * vectors.shape[1] / 16) * 16)  # rows that end where cache lines do
        sample = vectors[:count:max(1, count // _SAMPLE)]
        self._mean = sample.mean(axis=0)
        _, axes = np.linalg.eigh(np.cov(sample.T.astype(np.float64)))
        self._axes = axes[:, ::-1].astype(np.float32)
        self._kept = columns - 2
        # the first coordinates, the length of the rest, and the squared length of all: one product gives the bounds
        self._rows = np.empty((count, columns), np.float32)
        for start in range(0, count, 1 << 14):
            block = slice(start, min(start + (1 << 14), count))
            turned = (vectors[block] - self._mean) @ self._axes
            self._rows[block, :-2] = turned[:, : self._kept]
            self._rows[block, -2] = np.linalg.norm(turned[:, self._kept :], axis=1)
            self._rows[block, -1] = np.einsum("ij,ij->i", turned, turned)

    def clear(self, row) -> None:
        """Forget one row, or several: nothing of them is kept, and they are never near."""
        self._rows[row, :-1] = 0
        self._rows[row, -1] = np.inf

    def candidates(self, probe: np.ndarray, owners: np.ndarray, k: int) -> np.ndarray | None:
        """Rows among which the nearest of each of the `k` nearest owners are; None where a full search is as quick.

        Parameters
        ----------
        probe : ndarray of float32, shape (d,)
        owners : ndarray of int, shape (>= count,)
        """
        turned = (probe - self._mean) @ self._axes
        rest = np.linalg.norm(turned[self._kept :])
        bounds = self._rows @ np.array([*(-2 * turned[: self._kept]), -2 * rest, 1], np.float32)
        limit = self._limit(bounds, probe, owners, k) - float(turned @ turned)  # which every bound lacks
        found = np.flatnonzero(bounds <= limit)
        if len(found) > self.count // 8:
            self._misses += 1
            return None
        self._misses = 0
        return found

    def pays(self) -> bool:
        """Whether to ask for candidates: where templates have no principal axes to speak of, there are hardly ever few, so
        after some misses only one search in `_RETRY` tries."""
        self._asked += 1
        return self._misses < _MISSES or self._asked % _RETRY == 0

    def _limit(self, bounds: np.ndarray, probe: np.ndarray, owners: np.ndarray, k: int) -> float:
        """A squared distance within which `k` owners surely have a row: measured on the most promising rows."""
        full = self.count // _BLOCK * _BLOCK
        best = bounds[:full].reshape(-1, _BLOCK).argmin(axis=1) + np.arange(0, full, _BLOCK)
        best = best[np.argsort(bounds[best])[: 16 + 8 * k]]
        best = best[np.isfinite(bounds[best])]
        squared = ((self.vectors[best].astype(np.float64) - probe) ** 2).sum(axis=1)
        order = np.argsort(squared)
        _, first = np.unique(owners[best[order]], return_index=True)
        if len(first) < k:
            return np.inf
        return squared[order[np.sort(first)[k - 1]]] + _SLACK * max(1.0, float(squared.max()))
