"""One photo against one: accuracy, true accepts at chosen rates of false matches, and whether the calibration is true.

A pair is lost when no face was found in one of its photos. Lost pairs of one person are false non-matches everywhere;
in the accuracies, lost pairs of two people are errors too, except where a name says otherwise; FMR is taken over pairs
that were compared, so that losing pairs never makes it look better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..matching import Curve
from .encode import Vectors
from .intervals import adjusted, bootstrap_variance, interval
from .pairs import Pairs

#: FMRs at which true accepts are reported, as the report's keys write them.
RATES = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
#: Calibrated FMRs whose thresholds are tried.
_PROMISES = {"1e-1": 1e-1, **RATES}
_ROC_POINTS = 200


@dataclass(frozen=True)
class Compared:
    """Pairs with their distances, infinite for those that were lost."""

    pairs: Pairs
    distances: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        return np.isinf(self.distances)


def compare(pairs: Pairs, found: Vectors) -> Compared:
    """Euclidean distance of every pair; `found` is of ``pairs.photos``."""
    first, second = found.vectors[pairs.first].astype(np.float64), found.vectors[pairs.second]
    distances = np.linalg.norm(first - second, axis=1)
    return Compared(pairs, np.where(found.found[pairs.first] & found.found[pairs.second], distances, np.inf))


def measure(compared: Compared, threshold: float, curve: Curve, rounds: int = 500) -> dict:
    """Everything there is to say, as plain data; docs/accuracy.md explains it.

    Parameters
    ----------
    compared : Compared
    threshold : float
        The one in force: at most this distance means one person.
    curve : Curve
        The engine's calibration.
    rounds : int
        Of the bootstrap behind the intervals of `tar`.
    """
    pairs, distances, same = compared.pairs, compared.distances, compared.pairs.same
    lost = compared.lost
    right = cross_validated(distances, same, pairs.folds)
    by_fold = [float(np.mean((right & ~lost)[pairs.folds == fold])) for fold in np.unique(pairs.folds)]
    return {
        "pairs": len(pairs),
        "pairs_same": int(same.sum()),
        "pairs_different": int((~same).sum()),
        "pairs_lost": int(lost.sum()),
        "pairs_lost_same": int((lost & same).sum()),
        "pairs_lost_different": int((lost & ~same).sum()),
        "folds": len(by_fold),
        "accuracy": float(np.mean(right & ~lost)),
        "accuracy_interval": interval(right & ~lost, pairs.people),
        "accuracy_standard_error": float(np.std(by_fold, ddof=1) / np.sqrt(len(by_fold))),
        "accuracy_lost_as_different": float(np.mean(right)),
        "best_threshold": best_threshold(distances, same),
        "threshold": threshold,
        "at_threshold": _at(compared, threshold),
        **_true_accepts(compared, rounds),
        "calibration": {key: _promise(compared, curve.distance(rate)) for key, rate in _PROMISES.items()},
        "roc": roc(distances[same], distances[~same & ~lost]),
        "histogram": _histogram(distances, same, lost),
    }


def _histogram(distances: np.ndarray, same: np.ndarray, lost: np.ndarray, bins: int = 40) -> dict:
    """How many pairs are how far apart."""
    seen = distances[~lost]
    edges = np.linspace(0, float(seen.max()) if len(seen) and seen.max() > 0 else 1.0, bins + 1)
    kinds = {"same": distances[same & ~lost], "different": distances[~same & ~lost]}
    return {"edges": edges.tolist(), **{key: np.histogram(apart, edges)[0].tolist() for key, apart in kinds.items()}}


def _at(compared: Compared, threshold: float) -> dict:
    same, lost, people = compared.pairs.same, compared.lost, compared.pairs.people
    accepted = compared.distances <= threshold
    tried = ~same & ~lost
    return {
        "accuracy": float(np.mean((accepted == same) & ~lost)),
        "fmr": _share(accepted[tried]),
        "fmr_interval": interval(accepted[tried], people[tried]),
        "fnmr": _share(~accepted[same]),
        "fnmr_interval": interval(~accepted[same], people[same]),
    }


def _promise(compared: Compared, threshold: float) -> dict:
    """What became of a calibrated FMR: its threshold, the FMR measured there, and whether that is far off."""
    found = _at(compared, threshold)
    return {"threshold": threshold, "fmr": found["fmr"], "fmr_interval": found["fmr_interval"]}


def _share(outcomes: np.ndarray) -> float | None:
    return float(np.mean(outcomes)) if len(outcomes) else None


# -- accuracy -------------------------------------------------------------------------------------------------------


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The distance at which most pairs are told right: halfway between two of them, in the middle of all such."""
    order = np.argsort(distances, kind="stable")
    apart, gains = distances[order], np.where(same[order], 1, -1)
    apart, gains = apart[np.isfinite(apart)], gains[np.isfinite(apart)]
    if not len(apart):
        return 0.0
    edges = np.flatnonzero(np.append(np.diff(apart) > 0, True))  # the last of those that are equally far
    scores = np.append(0, np.cumsum(gains)[edges])  # first: nothing accepted
    below = apart[0] / 2 if apart[0] > 0 else -1.0
    between = np.concatenate([[below], (apart[edges[:-1]] + apart[edges[:-1] + 1]) / 2, [apart[-1]]])
    best = np.flatnonzero(scores == scores.max())
    return float(between[best[len(best) // 2]])


def cross_validated(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Whether each pair is told right at the threshold that is best on all other folds; lost pairs count as different.

    This is the protocol of Huang et al., "Labeled Faces in the Wild" (2007), for its view 2.
    """
    right = np.zeros(len(same), bool)
    for fold in np.unique(folds):
        here = folds == fold
        threshold = best_threshold(distances[~here], same[~here])
        right[here] = (distances[here] <= threshold) == same[here]
    return right


# -- true accepts ---------------------------------------------------------------------------------------------------


def threshold_at(impostors: np.ndarray, rate: float, weights: np.ndarray | None = None) -> float:
    """The distance that must not be reached for the FMR to stay at or below `rate`.

    Parameters
    ----------
    impostors : ndarray, shape (n,)
        Distances of pairs of different people, rising.
    weights : ndarray, shape (n,), optional
        How often each counts.
    """
    if not len(impostors):
        return np.nan
    mass = np.arange(1, len(impostors) + 1) if weights is None else np.cumsum(weights)
    first = int(np.searchsorted(mass, rate * mass[-1] * (1 + 1e-12), side="right"))
    return float(impostors[first]) if first < len(impostors) else np.inf


def _true_accepts(compared: Compared, rounds: int) -> dict:
    order = np.argsort(compared.distances, kind="stable")
    order = order[~(compared.lost & ~compared.pairs.same)[order]]
    apart, same, people = compared.distances[order], compared.pairs.same[order], compared.pairs.people[order]
    impostors, genuine = apart[~same], apart[same]
    accepts, intervals, thresholds, measurable = {}, {}, {}, {}
    for key, rate in RATES.items():
        limit = threshold_at(impostors, rate)
        share = float(np.mean(genuine < limit))

        def again(weights, rate=rate):
            return _weighted_accepts(apart, same, weights, rate)

        variance = bootstrap_variance(people, again, rounds)
        accepts[key] = share
        intervals[key] = adjusted(share, variance, len(genuine), len(np.unique(people[same])))
        thresholds[key] = float(np.nextafter(limit, 0))
        measurable[key] = bool(rate * len(impostors) >= 1)
    return {"tar": accepts, "tar_interval": intervals, "tar_threshold": thresholds, "tar_measurable": measurable}


def _weighted_accepts(apart, same, weights, rate) -> float:
    total = weights[same].sum()
    counted = weights[~same]
    if total <= 0 or counted.sum() <= 0:
        return np.nan
    return float(weights[same & (apart < threshold_at(apart[~same], rate, counted))].sum() / total)


def roc(genuine: np.ndarray, impostors: np.ndarray, points: int = _ROC_POINTS) -> list[list[float]]:
    """Points (FMR, TAR, distance) of the curve, FMR rising from 0; at most about `points`.

    A point's rates are those of accepting every pair that is nearer than its distance.
    """
    impostors, genuine = np.sort(impostors), np.sort(genuine)
    n = len(impostors)
    if not n:
        return []
    ranks = np.unique(np.concatenate([[0], np.geomspace(1, n, points).astype(int) - 1]))
    limits = impostors[ranks]
    fmr = np.searchsorted(impostors, limits, side="left") / n
    tar = np.searchsorted(genuine, limits, side="left") / len(genuine)
    return [[float(a), float(b), float(c)] for a, b, c in zip(fmr, tar, limits, strict=True)]
