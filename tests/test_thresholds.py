"""False-match rates of distances, and the thresholds that follow from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.engines import DETECTORS, EMBEDDERS, calibration
from recognizer.galleries import thresholds


@pytest.mark.parametrize(
    ("distances", "rates"),
    [
        ([], []),
        ([0.5], [0.1]),
        ([0.5, 0.6], [0.1]),
        ([0.5, 0.5], [0.1, 0.2]),
        ([0.6, 0.5], [0.1, 0.2]),
        ([0.5, 0.6], [0.2, 0.1]),
        ([0.5, 0.6], [0.1, 0.1]),
    ],
)
def test_a_curve_that_does_not_rise_is_refused(distances, rates):
    with pytest.raises(ValueError, match="expected"):
        thresholds.Curve(distances, rates)


def test_a_curve_between_below_and_above_its_points():
    curve = thresholds.Curve([0.4, 0.6, 0.8], [1e-4, 1e-2, 1e-1])
    for distance, rate in [(0.4, 1e-4), (0.5, 1e-3), (0.6, 1e-2), (0.7, 10**-1.5), (0.8, 1e-1), (0.3, 1e-5), (0.2, 1e-6)]:
        assert curve.rate(distance) == pytest.approx(rate)
        assert curve.distance(rate) == pytest.approx(distance)
    assert curve.rate(5) == pytest.approx(0.1)  # nothing is known beyond the last point
    assert curve.distance(0.9) == pytest.approx(0.8)
    assert curve.distance(1e-300) == 0  # never below


def test_below_its_points_a_curve_goes_on_as_over_the_first_decade():
    """The first two points of a curve are made of the fewest pairs: a few that lie by chance do not decide on all below."""
    rates = [1e-6, 2e-6, 4e-6, 1e-5, 1e-3]
    curve = thresholds.Curve([0.50, 0.51, 0.55, 0.60, 0.80], rates)
    assert curve.rate(0.40) == pytest.approx(1e-7) and curve.distance(1e-8) == pytest.approx(0.30)
    assert curve.reported_rate(0.40) == pytest.approx(1e-7)
    assert curve.reported_rate(0.10) == thresholds.LEAST_RATE > curve.rate(0.10)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("embedder", EMBEDDERS)
def test_the_calibration_of_every_engine_rises_and_contains_its_threshold(detector, embedder):
    points = calibration(detector, embedder)
    curve = thresholds.Curve(points.distances, points.rates)
    grid = np.linspace(0, points.distances[-1], 400)
    rates = [curve.rate(distance) for distance in grid]
    assert (np.diff(rates) > 0).all() and 0 < rates[0] and rates[-1] <= 1
    for distance in grid[1:]:
        assert curve.distance(curve.rate(distance)) == pytest.approx(distance, abs=1e-9)
    assert curve.rate(points.threshold) == pytest.approx(points.false_match_rate, rel=0.1)
    assert points.data_set and points.date.count("-") == 2


@pytest.mark.parametrize(
    ("stranger_rate", "enrolled", "expected"),
    [
        (0.01, 0, 0.01),
        (0.01, 1, 0.01),
        (0.01, 100, 1 - 0.99 ** (1 / 100)),
        (0.5, 1_000_000, 1 - 0.5**1e-6),
        (1e-6, 10, 1e-7),
    ],
)
def test_rate_per_comparison(stranger_rate, enrolled, expected):
    rate = thresholds.rate_per_comparison(stranger_rate, enrolled)
    assert rate == pytest.approx(expected, rel=1e-5)
    assert 1 - (1 - rate) ** max(1, enrolled) == pytest.approx(stranger_rate, rel=1e-3)


@given(st.floats(1e-6, 0.5), st.integers(0, 10**6))
def test_more_people_make_every_comparison_stricter(stranger_rate, enrolled):
    one, more = (thresholds.rate_per_comparison(stranger_rate, count) for count in (enrolled, enrolled + 1))
    assert 0 < more <= one <= stranger_rate * (1 + 1e-9)
