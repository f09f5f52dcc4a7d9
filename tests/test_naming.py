"""Whose face a track is: evidence over its frames, ties, strangers, names that hold, one person per picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recognizer.core.types import Candidate, Match
from recognizer.galleries import matching, thresholds
from recognizer.photos.quality import Quality, picture_value
from recognizer.video.tracking.naming import KEPT, Description, Naming, combined

THRESHOLD, MARGIN = 1.0, 0.05
CURVE = thresholds.Curve([0.5, 1.0, 1.5], [1e-6, 1e-2, 0.5])
GOOD = Quality(80, 0.1, 0, 0, 0, 0, 120, 40, 0, 0.95)


def decide(candidates) -> Match:
    return matching.decide(candidates, THRESHOLD, CURVE, margin=MARGIN)


def seen(time: float = 0.0, weight: float = 1.0, generation: int = 0, **distances: float) -> Description:
    """A description that is so far from these subjects."""
    candidates = [Candidate(name, distance, "photo") for name, distance in distances.items()]
    candidates.sort(key=lambda each: each.distance)
    return Description(np.zeros(4, np.float32), weight, decide(candidates), time, generation)


@pytest.fixture
def naming() -> Naming:
    return Naming(decide)


def told(naming: Naming, *tracks: int) -> list[str | None]:
    naming.settle(tracks or (1,))
    return [naming.of(track).match and naming.of(track).match.subject for track in (tracks or (1,))]


def test_nothing_is_decided_before_anything_was_seen(naming):
    naming.settle([1, 2])
    assert naming.of(1).match is None and naming.of(1).best == 0 and naming.of(1).last == -math.inf


def test_nobody_is_enrolled(naming):
    naming.describe(1, seen())
    assert told(naming) == [None]
    match = naming.of(1).match
    assert match is not None and match.distance is None and match.candidates == ()


def test_a_good_picture_is_enough(naming):
    naming.describe(1, seen(ada=0.7, bob=1.4))
    assert told(naming) == ["ada"]


def test_a_poor_picture_alone_decides_nothing(naming):
    naming.describe(1, seen(weight=0.2, ada=0.95, bob=1.4))
    naming.settle([1])
    assert naming.of(1).match is None
    for time in (0.1, 0.2):
        naming.describe(1, seen(time, weight=0.2, ada=0.95, bob=1.4))
    assert told(naming) == ["ada"]


def test_a_poor_picture_is_enough_for_what_is_beyond_doubt(naming):
    naming.describe(1, seen(weight=0.2, ada=0.5, bob=1.4))
    assert told(naming) == ["ada"]


def test_the_figures_are_those_of_the_decision(naming):
    naming.describe(1, seen(0.0, weight=1.0, ada=0.8, bob=1.4))
    naming.describe(1, seen(0.1, weight=3.0, ada=0.6, bob=1.2))
    naming.settle([1])
    match = naming.of(1).match
    assert match.subject == "ada" and match.threshold == THRESHOLD and not match.ambiguous
    assert match.distance == pytest.approx(0.65)
    assert match.false_match_rate == pytest.approx(CURVE.rate(0.65))
    assert [(each.subject, round(each.distance, 9)) for each in match.candidates] == [("ada", 0.65), ("bob", 1.25)]


def test_one_lucky_picture_names_no_stranger(naming):
    """The nearest of many pictures would: here the mean counts."""
    for i in range(8):
        naming.describe(1, seen(i, ada=0.95 if i == 3 else 1.3, bob=1.4))
    assert told(naming) == [None]
    assert naming.of(1).match.distance > THRESHOLD


def test_a_tie_stays_unknown(naming):
    for i in range(5):
        naming.describe(1, seen(i, ada=0.80 + 0.03 * (i % 2), bob=0.83 - 0.03 * (i % 2)))
    assert told(naming) == [None]
    match = naming.of(1).match
    assert match.ambiguous and {each.subject for each in match.candidates[:2]} == {"ada", "bob"}


def test_who_is_not_listed_is_at_least_as_far_as_the_last_who_is():
    found = combined([seen(ada=0.5, bob=1.0), seen(ada=0.7, eve=0.9)])
    assert [(each.subject, round(each.distance, 9)) for each in found] == [("ada", 0.6), ("bob", 0.95), ("eve", 0.95)]


def test_a_name_holds_while_its_distance_wavers_about_the_limit(naming):
    naming.describe(1, seen(0, ada=0.97, bob=1.5))
    assert told(naming) == ["ada"]
    for i in range(1, 30):
        naming.describe(1, seen(i, ada=1.01 if i % 2 else 1.03, bob=1.5))
        assert told(naming) == ["ada"]
        match = naming.of(1).match
        assert match.distance <= match.threshold  # the figures of the decision that is held


def test_a_name_that_was_wrong_goes(naming):
    naming.describe(1, seen(0, ada=0.9, bob=1.5))
    assert told(naming) == ["ada"]
    for i in range(1, 20):
        naming.describe(1, seen(i, ada=1.3, bob=1.5))
    assert told(naming) == [None]


def test_another_takes_over_only_when_clearly_nearer(naming):
    naming.describe(1, seen(0, ada=0.80, bob=1.2))
    assert told(naming) == ["ada"]
    changes, before = 0, "ada"
    for i in range(1, 40):
        naming.describe(1, seen(i, ada=0.85, bob=0.6))
        (now,) = told(naming)
        changes += now != before
        before = now
    assert (before, changes) == ("bob", 1)


def test_two_tracks_never_carry_one_person(naming):
    naming.describe(1, seen(ada=0.7, bob=1.4))
    naming.describe(2, seen(ada=0.8, bob=1.4))
    assert told(naming, 1, 2) == ["ada", None]
    match = naming.of(2).match
    assert match.candidates[0].subject == "ada" and match.distance == pytest.approx(0.8)


def test_whoever_has_a_name_keeps_it_against_one_hardly_nearer(naming):
    naming.describe(1, seen(ada=0.80, bob=1.4))
    assert told(naming, 1, 2) == ["ada", None]
    naming.describe(2, seen(ada=0.78, bob=1.4))
    assert told(naming, 1, 2) == ["ada", None]
    naming.describe(3, seen(ada=0.60, bob=1.4))
    assert told(naming, 1, 2, 3) == [None, None, "ada"]
    assert told(naming, 1, 2) == [None, "ada"]  # gone again: the nearer of those who are left


def test_a_changed_gallery_decides_anew_and_holds_nothing(naming):
    naming.describe(1, seen(0, ada=0.7, bob=1.4))
    naming.describe(1, seen(1, ada=0.7, bob=1.4))
    assert told(naming) == ["ada"]
    kept = [(1, each) for each in naming.of(1).descriptions]
    naming.compare_anew(kept, [decide([Candidate("bob", 1.01)])] * 2, 7)
    assert told(naming) == [None]
    assert [each.generation for each in naming.of(1).descriptions] == [7, 7]
    naming.compare_anew([(9, kept[0][1])], [decide([])], 8)  # a track that is gone


def test_the_best_descriptions_are_kept_and_the_last():
    naming = Naming(decide)
    for i in range(3 * KEPT):
        naming.describe(1, seen(i, weight=0.9 if i < 5 else 0.1 + i / 1000, ada=0.7))
    kept = naming.of(1).descriptions
    assert len(kept) == KEPT and kept[-1].time == 3 * KEPT - 1
    assert sum(each.weight == 0.9 for each in kept) == 5


def test_joined_tracks_know_what_both_knew(naming):
    naming.describe(1, seen(0, ada=0.9, bob=1.4))
    naming.describe(2, seen(5, ada=0.5, bob=1.4))
    naming.join(2, 1)
    assert [each.time for each in naming.of(1).descriptions] == [0, 5]
    assert naming.of(2).descriptions == []
    naming.join(9, 1)
    naming.forget(1)
    assert naming.of(1).descriptions == []


@pytest.mark.parametrize(
    "worse",
    [
        {"size": 20},
        {"sharpness": 0.005},
        {"yaw": 60},
        {"yaw": -60},
        {"pitch": 50},
        {"cut_off": 0.4},
        {"contrast": 5},
        {"score": 0.6},
    ],
    ids=str,
)
def test_what_a_picture_is_worth(worse):
    from dataclasses import replace

    assert picture_value(GOOD) == pytest.approx(1.0)
    assert 0 < picture_value(replace(GOOD, **worse)) < 0.7
    assert picture_value(replace(GOOD, yaw=math.nan, pitch=math.nan)) == pytest.approx(1.0)
