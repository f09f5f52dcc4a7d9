"""95 % confidence intervals of rates, for trials that share people.

Two pairs with a person in common are not independent trials, and the usual formulas fail for rates near 0 or 1. Fogliato, Patil
and Perona ("Confidence Intervals for Error Rates in 1:1 Matching Tasks", IJCV 2024) compare the methods in use; Wilson's
interval has the stated coverage if its variance accounts for that dependence. It is used here throughout.
"""

from __future__ import annotations

import numpy as np

#: The normal distribution's quantile for 95 %, two sides.
Z = 1.959964

Interval = tuple[float, float]


def wilson(rate: float, count: float, z: float = Z) -> Interval:
    """Wilson's score interval of a rate observed in `count` independent trials (JASA 22, 1927); (0, 1) without trials."""
    if count <= 0:
        return 0.0, 1.0
    spread = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    middle, scale = rate + z**2 / (2 * count), 1 + z**2 / count
    low, high = float((middle - spread) / scale), float((middle + spread) / scale)
    return max(0.0, min(rate, low)), min(1.0, max(rate, high))  # rounding must not exclude the rate


def adjusted(rate: float, variance: float, count: int, people: int) -> Interval:
    """Wilson's interval for the number of independent trials that would have this variance.

    Parameters
    ----------
    rate : float
    variance : float
        Of `rate`, accounting for dependence.
    count : int
        Number of trials: the upper limit of the number of independent ones.
    people : int
        Number of different people in the trials: the number of independent ones at rates 0 and 1, where the variance is 0.
    """
    if count == 0:
        return 0.0, 1.0
    if variance <= 0:
        return wilson(rate, min(count, max(1, people)))
    return wilson(rate, min(count, max(1.0, rate * (1 - rate) / variance)))


def clustered_variance(outcomes: np.ndarray, people: np.ndarray) -> float:
    """Variance of the mean of `outcomes`, with arbitrary dependence between outcomes that share a person.

    Parameters
    ----------
    outcomes : ndarray, shape (n,)
    people : ndarray of int, shape (n,) or (n, 2)
        The one or two people in each trial; the same person twice counts once.
    """
    outcomes = np.asarray(outcomes, float)
    if not len(outcomes):
        return 0.0
    return sum_variance((outcomes - outcomes.mean()) / len(outcomes), people)


def sum_variance(shares: np.ndarray, people: np.ndarray) -> float:
    """Variance of an estimate that is the sum of the trials' `shares`, shape (n,), whose mean is 0.

    Notes
    -----
    The dyadic-robust estimator of Fafchamps and Gubert ("The formation of risk sharing networks", Journal of Development
    Economics 83, 2007): products of shares, summed over all pairs of trials with a person in common.
    """
    codes = np.unique(people, return_inverse=True)[1].reshape(len(shares), -1)
    sums = np.bincount(codes[:, 0], shares, minlength=codes.max() + 1)
    twice = 0.0
    if codes.shape[1] == 2:
        two = codes[:, 0] != codes[:, 1]
        sums += np.bincount(codes[two, 1], shares[two], minlength=len(sums))
        twice = (shares[two] ** 2).sum()  # each trial's square counts once, not once per person
    return max(0.0, float((sums**2).sum() - twice))


def interval(outcomes: np.ndarray, people: np.ndarray) -> Interval:
    """95 % interval of the mean of `outcomes`, bool (n,), of trials with `people`; see `clustered_variance`."""
    if not len(outcomes):
        return 0.0, 1.0
    rate, variance = float(np.mean(outcomes)), clustered_variance(outcomes, people)
    return adjusted(rate, variance, len(outcomes), len(np.unique(people)))
