"""How near strangers are expected to be to an embedding, and by how much the threshold is lowered where that is unusually near.

Embedders place some kinds of faces closer together than others: those of small children, and of whoever is rare in the photos
that they were trained on. At one threshold for all, strangers among them would match more often than the rate that is set. A
small network expects the distance of the nearest strangers from the embedding alone. benchmarks/comparability.py fits it and
writes crowding.npz. Its weights are statistics, and contain no photo and no template. See also `galleries.cohort`, which does
the same with the people who are enrolled.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("crowding.npz")
#: By which share of the threshold it is lowered at most.
MOST = 0.35


def lowered(expected: np.ndarray, usual: float, strength: float, threshold: float) -> np.ndarray:
    """By how much the threshold is lowered for each embedding.

    Parameters
    ----------
    expected : ndarray of float, shape (m,)
        The distance of the nearest strangers, as it is expected.
    usual : float
        Most plain faces have strangers that are further away.
    strength : float
        How many times the distance that strangers are nearer than that the threshold is lowered.
    threshold : float
        The engine's, for comparing one face with one.

    Returns
    -------
    ndarray of float, shape (m,)
        From 0 to `MOST` times the threshold.
    """
    found: np.ndarray = np.clip(strength * (usual - expected), 0.0, MOST * threshold)
    return found


class Crowding:
    """How near strangers are expected to be to embeddings of one embedder. Thread-safe.

    Parameters
    ----------
    embedder : str
        A key of `engines.EMBEDDERS`.
    """

    def __init__(self, embedder: str):
        with np.load(FILE, allow_pickle=False) as file:
            parts = {name.partition("/")[2]: file[name] for name in file.files if name.partition("/")[0] == embedder}
        self._first, self._biases, self._second = (parts[name].astype(np.float32) for name in ("first", "biases", "second"))
        self._bias, self._usual, self._strength, self._threshold = map(float, parts["levels"])
        self._lowerings, self._factors = parts["factors"].astype(float)

    def expected(self, vectors: np.ndarray) -> np.ndarray:
        """The distance of the nearest strangers that is expected for each embedding, float32 (m, dim): float64, shape (m,)."""
        hidden = np.maximum(np.asarray(vectors, np.float32) @ self._first + self._biases, 0)
        found: np.ndarray = (hidden @ self._second).astype(float) + self._bias
        return found

    def lowerings(self, vectors: np.ndarray) -> np.ndarray:
        """By how much the threshold is lowered for each embedding, float32 (m, dim): float64, shape (m,)."""
        return lowered(self.expected(vectors), self._usual, self._strength, self._threshold)

    def rate_factors(self, vectors: np.ndarray) -> np.ndarray:
        """How many times as often as usual strangers are near each embedding, float32 (m, dim): float64, shape (m,), from 1.

        At the false-match rate that is set, divided by that, the threshold is lower by `lowerings`.
        """
        found: np.ndarray = 10 ** np.interp(self.lowerings(vectors), self._lowerings, self._factors)
        return found


@cache
def crowding(embedder: str) -> Crowding:
    """The one of an embedder."""
    return Crowding(embedder)
