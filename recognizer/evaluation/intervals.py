"""How far a measured rate can be trusted: 95 % intervals that know that pairs share people.

Two pairs with the same person in them are not two independent trials, and rates near 0 or 1 make the usual formulas
fail. Fogliato, Patil and Perona ("Confidence Intervals for Error Rates in 1:1 Matching Tasks", IJCV 2024) compare what
is in use and find that Wilson's interval keeps its promise when its variance counts that dependence; so that is done
everywhere here.
"""

from __future__ import annotations

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
    low, high = float((middle - spread) / scale), float((middle + spread) / scale)
    return max(0.0, min(rate, low)), min(1.0, max(rate, high))  # rounding must not leave the rate outside


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
    """
    outcomes = np.asarray(outcomes, float)
    if not len(outcomes):
        return 0.0
    return sum_variance((outcomes - outcomes.mean()) / len(outcomes), people)


def sum_variance(shares: np.ndarray, people: np.ndarray) -> float:
    """Variance of an estimate to which trials contribute `shares`, shape (n,), that are 0 on average.

    Notes
    -----
    The dyadic-robust estimator of Fafchamps and Gubert ("The formation of risk sharing networks", Journal of
    Development Economics 83, 2007): products of shares, summed over all pairs of trials that have a person in common.
    """
    codes = np.unique(people, return_inverse=True)[1].reshape(len(shares), -1)
    sums = np.bincount(codes[:, 0], shares, minlength=codes.max() + 1)
    twice = 0.0
    if codes.shape[1] == 2:
        two = codes[:, 0] != codes[:, 1]
        sums += np.bincount(codes[two, 1], shares[two], minlength=len(sums))
        twice = (shares[two] ** 2).sum()  # a trial has itself in common once, not once for each of its people
    return max(0.0, float((sums**2).sum() - twice))


def interval(outcomes: np.ndarray, people: np.ndarray) -> Interval:
    """95 % interval of the mean of `outcomes`, bool (n,), of trials with `people` in them; see `clustered_variance`."""
    if not len(outcomes):
        return 0.0, 1.0
    rate, variance = float(np.mean(outcomes)), clustered_variance(outcomes, people)
    return adjusted(rate, variance, len(outcomes), len(np.unique(people)))
