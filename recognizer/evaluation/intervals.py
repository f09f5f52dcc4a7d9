"""How far a measured rate can be trusted: 95 % intervals that know that pairs share people.

Two pairs with the same person in them are not two independent trials, and rates near 0 or 1 make the usual formulas
fail. Fogliato, Patil and Perona ("Confidence Intervals for Error Rates in 1:1 Matching Tasks", IJCV 2024) compare what
is in use and find that Wilson's interval keeps its promise when its variance counts that dependence; so that is done
everywhere here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: The normal distribution's quantile for 95 %, two sides.
Z = 1.959964

Interval = tuple[float, float]


def wilson(rate: float, count: float, z: float = Z) -> Interval:
    """Wilson's score interval of a rate seen in `count` independent trials (JASA 22, 1927); (0, 1) for none."""
    if count <= 0:
        return 0.0, 1.0
    spread = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    middle, scale = rate + z**2 / (2 * count), 1 + z**2 / count
    return max(0.0, float((middle - spread) / scale)), min(1.0, float((middle + spread) / scale))


def adjusted(rate: float, variance: float, count: int, people: int) -> Interval:
    """Wilson's interval with the number of independent trials that would have this variance.

    Parameters
    ----------
    rate : float
    variance : float
        Of `rate`, with all dependence counted.
    count : int
        Trials, which are taken to be worth no more than that many independent ones.
    people : int
        Different people in them: what the trials are worth when the variance says nothing, at a rate of 0 or 1.
    """
    if count == 0:
        return 0.0, 1.0
    if variance <= 0:
        return wilson(rate, min(count, max(1, people)))
    return wilson(rate, min(count, max(1.0, rate * (1 - rate) / variance)))


def clustered_variance(outcomes: np.ndarray, people: np.ndarray) -> float:
    """Variance of the mean of `outcomes` when those that share a person may depend on each other in any way.

    Parameters
    ----------
    outcomes : ndarray, shape (n,)
    people : ndarray of int, shape (n,) or (n, 2)
        Who is in each trial: one person, or two (the same twice counts once).

    Notes
    -----
    The dyadic-robust estimator of Fafchamps and Gubert ("The formation of risk sharing networks", Journal of
    Development Economics 83, 2007): products of deviations, summed over all pairs of trials that share a person.
    """
    outcomes = np.asarray(outcomes, float)
    people = np.asarray(people).reshape(len(outcomes), -1)
    if not len(outcomes):
        return 0.0
    off = outcomes - outcomes.mean()
    codes = np.unique(people, return_inverse=True)[1].reshape(people.shape)
    sums = np.bincount(codes[:, 0], off, minlength=codes.max() + 1)
    twice = 0.0
    if people.shape[1] == 2:
        two = codes[:, 0] != codes[:, 1]
        sums += np.bincount(codes[two, 1], off[two], minlength=len(sums))
        twice = (off[two] ** 2).sum()  # a trial is among its own neighbours once, not once for each of its people
    return max(0.0, float((sums**2).sum() - twice)) / len(outcomes) ** 2


def interval(outcomes: np.ndarray, people: np.ndarray) -> Interval:
    """95 % interval of the mean of `outcomes`, bool (n,), of trials with `people` in them; see `clustered_variance`."""
    if not len(outcomes):
        return 0.0, 1.0
    rate, variance = float(np.mean(outcomes)), clustered_variance(outcomes, people)
    return adjusted(rate, variance, len(outcomes), len(np.unique(people)))


def bootstrap_variance(
    people: np.ndarray, statistic: Callable[[np.ndarray], float], rounds: int = 500, seed: int = 0
) -> float:
    """Variance of a statistic over samples in which every person is drawn anew.

    Parameters
    ----------
    people : ndarray of int, shape (n, 2)
        Who is in each pair.
    statistic : callable
        Of weights, shape (n,): how often each pair counts.

    Notes
    -----
    Each person weighs 0 or 2 with equal chance, a pair the product over its people: the product-weight bootstrap of
    Owen and Eckles ("Bootstrapping data arrays of arbitrary order", Annals of Applied Statistics 6(3), 2012), which
    errs towards wider.
    """
    random = np.random.default_rng(seed)
    codes = np.unique(people, return_inverse=True)[1].reshape(people.shape)
    two = codes[:, 0] != codes[:, 1]
    values = []
    for _ in range(rounds):
        weights = 2.0 * random.integers(0, 2, codes.max() + 1)
        values.append(statistic(weights[codes[:, 0]] * np.where(two, weights[codes[:, 1]], 1.0)))
    kept = np.array(values)[np.isfinite(values)]
    return float(kept.var()) if len(kept) > 1 else 0.0
