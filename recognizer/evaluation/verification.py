"""Verification (1:1): accuracy, true-accept rates at given FMRs, and a check of the calibration.

A pair is lost if no face was detected on one of its photos. Lost genuine pairs are always false non-matches. In accuracies,
lost impostor pairs are errors too, unless a field's name says otherwise. The FMR is computed over the pairs that were compared,
so that lost pairs never improve it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recognizer.evaluation.encode import Vectors
from recognizer.evaluation.intervals import adjusted, clustered_variance, interval, sum_variance
from recognizer.evaluation.pairs import Pairs
from recognizer.galleries.thresholds import Curve

#: Key in the report -> FMR at which the true-accept rate is reported.
RATES = {"1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}
#: Calibrated FMRs whose thresholds are checked.
_PROMISES = {"1e-1": 1e-1, **RATES}
_ROC_POINTS = 200


@dataclass(frozen=True)
class Compared:
    """Pairs with their distances, which are infinite for lost pairs."""

    pairs: Pairs
    distances: np.ndarray

    @property
    def lost(self) -> np.ndarray:
        """Whether each pair is lost; bool (n,)."""
        return np.isinf(self.distances)


def compare(pairs: Pairs, found: Vectors) -> Compared:
    """Euclidean distance of every pair; `found` has the templates of ``pairs.photos``."""
    first, second = found.vectors[pairs.first].astype(np.float64), found.vectors[pairs.second]
    distances = np.linalg.norm(first - second, axis=1)
    return Compared(pairs, np.where(found.found[pairs.first] & found.found[pairs.second], distances, np.inf))


def measure(compared: Compared, threshold: float, curve: Curve) -> dict[str, Any]:
    """The report as plain data; docs/accuracy.md explains it.

    Parameters
    ----------
    compared : Compared
    threshold : float
        The threshold in use: the largest distance of a match.
    curve : Curve
        The engine's calibration.
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
        **_true_accepts(compared),
        "calibration": {key: _promise(compared, curve.distance(rate)) for key, rate in _PROMISES.items()},
        "roc": roc(distances[same], distances[~same & ~lost]),
        "histogram": _histogram(distances, same, lost),
    }


def _histogram(distances: np.ndarray, same: np.ndarray, lost: np.ndarray, bins: int = 40) -> dict[str, Any]:
    """Histogram of the distances."""
    seen = distances[~lost]
    edges = np.linspace(0, float(seen.max()) if len(seen) and seen.max() > 0 else 1.0, bins + 1)
    kinds = {"same": distances[same & ~lost], "different": distances[~same & ~lost]}
    return {"edges": edges.tolist(), **{key: np.histogram(apart, edges)[0].tolist() for key, apart in kinds.items()}}


def _at(compared: Compared, threshold: float) -> dict[str, Any]:
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


def _promise(compared: Compared, threshold: float) -> dict[str, Any]:
    """The threshold of a calibrated FMR, and the FMR measured there."""
    found = _at(compared, threshold)
    return {"threshold": threshold, "fmr": found["fmr"], "fmr_interval": found["fmr_interval"]}


def _share(outcomes: np.ndarray) -> float | None:
    return float(np.mean(outcomes)) if len(outcomes) else None


# -- accuracy -------------------------------------------------------------------------------------------------------


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the most correct decisions: halfway between two distances, and the median of all such thresholds."""
    order = np.argsort(distances, kind="stable")
    apart, gains = distances[order], np.where(same[order], 1, -1)
    apart, gains = apart[np.isfinite(apart)], gains[np.isfinite(apart)]
    if not len(apart):
        return 0.0
    edges = np.flatnonzero(np.append(np.diff(apart) > 0, True))  # the last one of equal distances
    scores = np.append(0, np.cumsum(gains)[edges])  # first: nothing accepted
    below = apart[0] / 2 if apart[0] > 0 else -1.0
    between = np.concatenate([[below], (apart[edges[:-1]] + apart[edges[:-1] + 1]) / 2, [apart[-1]]])
    best = np.flatnonzero(scores == scores.max())
    return float(between[best[len(best) // 2]])


def cross_validated(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Whether each decision is correct at the best threshold of the other folds; lost pairs count as decided different.

    This is the protocol of Huang et al., "Labeled Faces in the Wild" (2007), for its view 2.
    """
    right = np.zeros(len(same), bool)
    for fold in np.unique(folds):
        here = folds == fold
        threshold = best_threshold(distances[~here], same[~here])
        right[here] = (distances[here] <= threshold) == same[here]
    return right


# -- true-accept rates ----------------------------------------------------------------------------------------------


def threshold_at(impostors: np.ndarray, rate: float) -> float:
    """The distance below which the FMR is at most `rate`.

    Parameters
    ----------
    impostors : ndarray, shape (n,)
        Distances of impostor pairs, rising. Without any the result is 0, so that nothing matches.
    rate : float
    """
    if not len(impostors):
        return 0.0
    first = int(rate * len(impostors) * (1 + 1e-12))
    return float(impostors[first]) if first < len(impostors) else np.inf


def _true_accepts(compared: Compared) -> dict[str, Any]:
    same, tried = compared.pairs.same, ~compared.pairs.same & ~compared.lost
    people, impostors = compared.pairs.people, np.sort(compared.distances[tried])
    accepts, intervals, thresholds, measurable = {}, {}, {}, {}
    for key, rate in RATES.items():
        limit = threshold_at(impostors, rate)
        near = compared.distances < limit
        accepts[key] = float(np.mean(near[same]))
        variance = accepts_variance(near, same, tried, people, compared.distances, impostors)
        intervals[key] = adjusted(accepts[key], variance, int(same.sum()), len(np.unique(people[same])))
        thresholds[key] = float(np.nextafter(limit, 0))
        measurable[key] = bool(rate * len(impostors) >= 1)
    return {"tar": accepts, "tar_interval": intervals, "tar_threshold": thresholds, "tar_measurable": measurable}


def accepts_variance(
    near: np.ndarray,
    same: np.ndarray,
    tried: np.ndarray,
    people: np.ndarray,
    distances: np.ndarray,
    impostors: np.ndarray,
) -> float:
    """Variance of the true-accept rate, if the threshold is estimated from the same pairs.

    Parameters
    ----------
    near : ndarray of bool, shape (n,)
        Pairs that the threshold accepts.
    same, tried : ndarray of bool, shape (n,)
        Genuine pairs, and impostor pairs that were compared.
    people, distances
        As in `Compared`.
    impostors : ndarray
        Distances of `tried`, rising.

    Notes
    -----
    The delta method: an impostor pair contributes its share of the FMR times the slope of the ROC, measured over one standard
    error of the FMR to each side.
    """
    n, fmr = len(impostors), float(np.mean(near[tried])) if tried.any() else 0.0
    if not n:
        return 0.0
    error = max(1 / n, float(np.sqrt(clustered_variance(near[tried], people[tried]))))
    low, high = max(0.0, fmr - error), fmr + error
    rise = np.mean(distances[same] < threshold_at(impostors, high)) - np.mean(distances[same] < threshold_at(impostors, low))
    shares = np.zeros(len(same))
    shares[same] = (near[same] - near[same].mean()) / same.sum()
    shares[tried] = -(near[tried] - fmr) / n * rise / (high - low)
    used = same | tried
    return sum_variance(shares[used], people[used])


def roc(genuine: np.ndarray, impostors: np.ndarray, points: int = _ROC_POINTS) -> list[list[float]]:
    """About `points` points (FMR, TAR, distance) of the ROC curve at most, FMR rising from 0.

    The rates of a point result from accepting every pair with a smaller distance.
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
