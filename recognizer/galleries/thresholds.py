"""What a distance means: its false-match rate, and the threshold for a given rate. Pure: NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: The lowest false-match rate that is reported. LFW's development view has 12 million pairs, enough to measure one in a
#: million. Lower rates extrapolate its curve, and it contains no data on relatives, who resemble each other more often.
LEAST_RATE = 1e-8


class Curve:
    """Distance -> false-match rate: how often two different people are at that distance or closer.

    Between the measured points the logarithm of the rate is interpolated linearly. Below the first point it is extrapolated
    with the mean slope of the first decade, which overestimates the rate, since the true curve falls ever more steeply.

    Parameters
    ----------
    distances, rates : sequence of float
        Both strictly rising, rates above 0; at least two points.

    Raises
    ------
    ValueError
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

    def log_rate(self, distance: float) -> float:
        """The natural logarithm of the false-match rate, continued beyond both ends so that it rises with every distance.

        Beyond the last point it is no rate any more, only a rank: it goes on with half the slope of the last segment.
        """
        if distance <= self._distances[-1]:
            inside = distance >= self._distances[0]
            if inside:
                return float(np.interp(distance, self._distances, self._logs))
            return float(self._logs[0] + self._slope * (distance - self._distances[0]))
        last = (self._logs[-1] - self._logs[-2]) / (self._distances[-1] - self._distances[-2])
        return float(self._logs[-1] + last / 2 * (distance - self._distances[-1]))

    def reported_rate(self, distance: float, factor: float = 1.0) -> float:
        """`rate` for a reply, times a factor for faces that lie together more often: from `LEAST_RATE` to 1."""
        return min(1.0, max(LEAST_RATE, factor * self.rate(distance)))

    def distance(self, rate: float) -> float:
        """The distance whose false-match rate is `rate`; never below 0."""
        log = np.log(rate)
        if log < self._logs[0]:
            return float(max(0.0, self._distances[0] + (log - self._logs[0]) / self._slope))
        return float(np.interp(log, self._logs, self._distances))


def rate_per_comparison(stranger_rate: float, enrolled: int) -> float:
    """The false-match rate per comparison at which strangers are given one of `enrolled` names at `stranger_rate`.

    Comparisons are taken as independent: ``1 - (1 - fmr)**enrolled = stranger_rate`` (ISO/IEC 19795-1's relation of FPIR
    and FMR for an exhaustive search).
    """
    return float(-np.expm1(np.log1p(-stranger_rate) / max(1, enrolled)))
