"""Distances, ranking, the decision, and what a distance is worth. Pure: NumPy and `types`, nothing else.

A subject is as far away as the nearest of its templates. Of nearest, mean of the best two or three, mean, centroid
and trimmed centroid, nearest left the fewest people unrecognised at the same rate of strangers named
(benchmarks/identification.py prints the table).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .types import Candidate, Match

#: Rows compared at once: few enough that their distances stay in the processor's cache.
BLOCK = 1 << 15
#: A name is ambiguous when the next subject is nearer to it than this share of the engine's threshold. On LFW's development
#: view with 1,500 people that marks two thirds of the wrong names and 0.7 % of the right ones.
AMBIGUOUS_SHARE = 0.075
#: The lowest false-match rate that is said. LFW's development view, with its 12 million pairs, counts down to one in a million;
#: what lies below continues its curve, and how often relatives look alike it does not know at all.
LEAST_RATE = 1e-8
#: Rows of the first block; each next one is twice as long, up to BLOCK. The first give a bound that few later rows pass,
#: where sorting a whole first block would take longer than comparing a hundred thousand rows.
_FIRST_BLOCK = 1 << 9
#: Ranks kept beyond those asked for until distances are exact: a product in float32 may swap near ties.
_SPARE = 4


def distances(probe: np.ndarray, templates: np.ndarray) -> np.ndarray:
    """Euclidean distance of `probe` (d,) from each of `templates` (n, d); shape (n,)."""
    return np.linalg.norm(templates - probe, axis=1)


def nearest_rows(
    probes: np.ndarray, vectors: np.ndarray, squares: np.ndarray, owners: np.ndarray, k: int
) -> Iterator[list[tuple[int, float]]]:
    """For each probe the nearest row of each of the `k` nearest owners, as (row, distance), nearest first.

    Parameters
    ----------
    probes : ndarray of float32, shape (m, d)
    vectors : ndarray of float32, shape (n, d)
    squares : ndarray of float32, shape (n,)
        Squared lengths of `vectors`; infinite for a row that does not count.
    owners : ndarray of int, shape (n,)
    k : int

    Notes
    -----
    ``|p - t|**2 = |p|**2 + |t|**2 - 2 p.t``, so one matrix product ranks all rows; the few that remain are then
    measured exactly.
    """
    found = [(np.zeros(0, int), np.zeros(0, np.float32)) for _ in probes]
    doubled = -2 * probes
    for block in _blocks(len(vectors)):
        scores = doubled @ vectors[block].T
        scores += squares[block]
        for i, (rows, kept) in enumerate(found):
            bound = kept[-1] if len(kept) >= k + _SPARE else np.inf
            better = np.flatnonzero(scores[i] < bound)
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
        start, size = start + size, min(2 * size, BLOCK)


def _best_of_each_owner(rows, scores, owners, limit):
    order = np.argsort(scores, kind="stable")
    _, first = np.unique(owners[rows[order]], return_index=True)
    best = order[np.sort(first)[:limit]]
    return rows[best], scores[best]


def decide(
    candidates: Sequence[Candidate],
    threshold: float,
    curve: Curve | None = None,
    keep: int | None = None,
    margin: float = 0.0,
) -> Match:
    """Name the nearest candidate if it is within `threshold`.

    Parameters
    ----------
    candidates : sequence of Candidate, nearest first
    threshold : float
    curve : Curve, optional
        Gives the match its false-match rate.
    keep : int, optional
        How many candidates the match carries; default all. An ambiguous match carries two at least.
    margin : float
        A name is ambiguous when the next subject is less than this further away.
    """
    if not candidates:
        return Match(None, None, threshold)
    best = candidates[0]
    rate = None if curve is None else curve.told(best.distance)
    name = best.subject if best.distance <= threshold else None
    ambiguous = name is not None and len(candidates) > 1 and candidates[1].distance - best.distance < margin
    kept = candidates if keep is None else candidates[: max(keep, 2) if ambiguous else keep]
    return Match(name, best.distance, threshold, rate, tuple(kept), ambiguous)


class Curve:
    """Distance -> false-match rate: how often two different people come that close or closer.

    Between the measured points the logarithm of the rate is interpolated; below the first it is continued as it falls
    over the first decade, which errs towards naming fewer strangers, since the true curve falls ever more steeply.

    Parameters
    ----------
    distances, rates : sequence of float
        Both strictly rising, rates above 0; at least two points.
    """

    def __init__(self, distances: Sequence[float], rates: Sequence[float]):
        self._distances, self._logs = np.asarray(distances, float), np.log(np.asarray(rates, float))
        if len(self._distances) < 2 or self._distances.shape != self._logs.shape:
            raise ValueError(f"expected two points or more, got {len(self._distances)} and {len(self._logs)}")
        if (np.diff(self._distances) <= 0).any() or (np.diff(self._logs) <= 0).any():
            raise ValueError("expected distances and rates that both rise")
        decade = max(1, int(np.searchsorted(self._logs, self._logs[0] + np.log(10.0), "right")) - 1)
        self._slope = (self._logs[decade] - self._logs[0]) / (self._distances[decade] - self._distances[0])

    def rate(self, distance: float) -> float:
        """The false-match rate at `distance`, at most 1."""
        if distance < self._distances[0]:
            log = self._logs[0] + self._slope * (distance - self._distances[0])
        else:
            log = np.interp(distance, self._distances, self._logs)
        return float(min(1.0, np.exp(log)))

    def told(self, distance: float) -> float:
        """`rate` as it may be said to anybody: never below `LEAST_RATE`."""
        return max(LEAST_RATE, self.rate(distance))

    def distance(self, rate: float) -> float:
        """The distance whose false-match rate is `rate`; never below 0."""
        log = np.log(rate)
        if log < self._logs[0]:
            return float(max(0.0, self._distances[0] + (log - self._logs[0]) / self._slope))
        return float(np.interp(log, self._logs, self._distances))


def rate_per_comparison(stranger_rate: float, enrolled: int) -> float:
    """The false-match rate of one comparison at which a stranger gets any of `enrolled` names with `stranger_rate`.

    Comparisons count as independent: ``1 - (1 - fmr)**enrolled = stranger_rate`` (ISO/IEC 19795-1's relation of FPIR
    and FMR for an exhaustive search).
    """
    return float(-np.expm1(np.log1p(-stranger_rate) / max(1, enrolled)))
