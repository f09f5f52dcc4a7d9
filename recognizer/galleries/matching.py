"""Distances, ranking and the decision. Pure: NumPy, `types` and `thresholds`, nothing else.

The distance of a subject is the distance of its nearest template. Compared with the mean of the best two or three, the mean,
the centroid and the trimmed centroid, the nearest template had the lowest FNIR at the same FPIR (benchmarks/identification.py
prints the table).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from recognizer.core.types import Candidate, Match
from recognizer.galleries.thresholds import Curve

#: Rows compared at once: few enough that their distances fit in the processor's cache.
BLOCK = 1 << 15
#: A name is ambiguous when the next subject's distance is larger by less than this share of the engine's threshold. On LFW's
#: development view with 1,500 people that marks two thirds of the wrong names and 0.7 % of the right ones.
AMBIGUOUS_SHARE = 0.075
#: Rows of the first two blocks; each further block is twice as long, up to BLOCK. A short first block soon gives a bound that
#: few later rows pass.
_FIRST_BLOCK = 1 << 11
#: Ranks kept in addition to those requested until distances are computed exactly: a float32 product can swap near ties.
_SPARE = 4
#: Rows per requested owner that are sorted first.
_ROWS_PER_OWNER = 4


def distances(probe: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Euclidean distance of `probe` (d,) from each of `templates` (n, d); shape (n,)."""
    apart: np.ndarray = np.linalg.norm(templates - probe, axis=1)
    return apart


def distances_between(probes: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Euclidean distance of each of `probes` (m, d) from each of `templates` (n, d), by one matrix product; float32 (m, n)."""
    squares = np.einsum("ij,ij->i", probes, probes)[:, None] + np.einsum("ij,ij->i", templates, templates)
    apart: np.ndarray = np.sqrt(np.maximum(0, squares - 2 * (probes @ templates.T)))
    return apart


class IndexedVectors(Protocol):
    """An array, or something else that gives rows of vectors by a slice, or copies of some by their numbers."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any, /) -> np.ndarray: ...


def nearest_rows(
    probes: np.ndarray, vectors: IndexedVectors, squares: np.ndarray, owners: np.ndarray, k: int
) -> Iterator[list[tuple[int, float]]]:
    """The nearest row of each of the `k` nearest owners for each probe, as (row, distance), nearest first.

    Parameters
    ----------
    probes : ndarray of float32, shape (m, d)
    vectors : ndarray of float32, shape (n, d), or FirstRows
    squares : ndarray of float32, shape (n,)
        Squared lengths of `vectors`; infinite for a row that is ignored.
    owners : ndarray of int, shape (n,)
        Number of the subject that each row belongs to.
    k : int

    Notes
    -----
    ``|p - t|**2 = |p|**2 + |t|**2 - 2 p.t``, so one matrix product ranks all rows; the distances of the few
    best are then computed exactly.
    """
    found = [(np.zeros(0, int), np.zeros(0, np.float32)) for _ in probes]
    doubled = -2 * probes
    for block in _blocks(len(vectors)):
        scores = doubled @ vectors[block].T
        scores += squares[block]
        for i, (rows, kept) in enumerate(found):
            if len(kept) >= k + _SPARE:
                better = np.flatnonzero(scores[i] < kept[-1])
            else:
                better = np.flatnonzero(np.isfinite(scores[i]))
            if len(better):
                rows, kept = np.concatenate([rows, better + block.start]), np.concatenate([kept, scores[i, better]])
                found[i] = _best_of_each_owner(rows, kept, owners, k + _SPARE)
    for probe, (rows, _) in zip(probes, found, strict=True):
        exact = distances(probe.astype(np.float64), vectors[rows])
        order = np.argsort(exact, kind="stable")[:k]
        yield [(int(rows[i]), float(exact[i])) for i in order]


def _blocks(count: int) -> Iterator[slice]:
    start, size = 0, min(_FIRST_BLOCK, BLOCK)
    while start < count:
        yield slice(start, min(start + size, count))
        start, size = start + size, min(start + size, BLOCK)  # begins at multiples of its length


def _best_of_each_owner(rows: np.ndarray, scores: np.ndarray, owners: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The row with the lowest score of each owner, and that score, lowest first; at most `limit`."""
    few = _ROWS_PER_OWNER * limit
    if len(scores) > few:  # the owners among the lowest rows are the ones, unless one owner has too many of these rows
        low = np.argpartition(scores, few)[:few]
        best = _first_of_each_owner(rows[low], scores[low], owners, limit)
        if len(best) == limit:
            return rows[low[best]], scores[low[best]]
    best = _first_of_each_owner(rows, scores, owners, limit)
    return rows[best], scores[best]


def _first_of_each_owner(rows: np.ndarray, scores: np.ndarray, owners: np.ndarray, limit: int) -> list[int]:
    """Indices into `rows` of the lowest score of each owner, lowest first; at most `limit`."""
    best: dict[int, int] = {}
    order = np.argsort(scores, kind="stable")
    for index, owner in zip(order.tolist(), owners[rows[order]].tolist(), strict=True):
        if best.setdefault(owner, index) == index and len(best) == limit:
            break
    return list(best.values())


def decide(
    candidates: Sequence[Candidate],
    threshold: float,
    curve: Curve | None = None,
    keep: int | None = None,
    margin: float = 0.0,
    rate_factor: float = 1.0,
) -> Match:
    """Identify the probe as the nearest candidate if that is within `threshold`.

    Parameters
    ----------
    candidates : sequence of Candidate, nearest first
    threshold : float
    curve : Curve, optional
        Supplies the false-match rate of the match.
    keep : int, optional
        Number of candidates in the match; default all. An ambiguous match has at least two.
    margin : float
        A name is ambiguous when the next subject's distance is larger by less than this.
    rate_factor : float
        How many times as often as plain faces of strangers faces like the probe's lie within a distance.
    """
    if not candidates:
        return Match(None, None, threshold)
    best = candidates[0]
    rate = None if curve is None else curve.reported_rate(best.distance, rate_factor)
    name = best.subject if best.distance <= threshold else None
    ambiguous = name is not None and len(candidates) > 1 and candidates[1].distance - best.distance < margin
    kept = candidates if keep is None else candidates[: max(keep, 2) if ambiguous else keep]
    return Match(name, best.distance, threshold, rate, tuple(kept), ambiguous)


def withheld(match: Match) -> Match:
    """A match of a face that is not comparable: without a name, a rate and candidates. Its distance says nothing."""
    return Match(None, match.distance, match.threshold)
