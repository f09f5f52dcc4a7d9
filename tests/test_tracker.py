"""Following faces from detection to detection: moving, crossing, missing, coming back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.core.types import Box, Face, Faces
from recognizer.video.tracking.tracker import Tracker

RATE = 25.0


def face(x: float, y: float = 100.0, size: float = 50.0, score: float = 0.9) -> Face:
    box = Box(x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    points = np.array([[-0.2, -0.1], [0.2, -0.1], [0, 0.05], [-0.15, 0.25], [0.15, 0.25]]) * size + (x, y)
    return Face(box, score, points.astype(np.float32), "yunet5")


def together(*found: Face) -> Faces:
    if not found:
        return Faces.empty()
    boxes, scores = np.array([tuple(each.box) for each in found]), np.array([each.score for each in found])
    return Faces(boxes, scores, np.array([each.landmarks for each in found]), "yunet5")


def ids(tracks) -> list[int]:
    return [track.id for track in tracks]


def test_nothing_is_followed_where_nothing_is():
    tracker = Tracker()
    assert tracker.update(Faces.empty(), 0.0) == []
    assert tracker.visible(0.0) == tracker.lost(0.0) == tracker.expire(100.0) == []


@pytest.mark.parametrize("speed", [0, 40, 150, 300])
@pytest.mark.parametrize("every", [1, 3, 5])
def test_a_face_that_moves_is_one_track(speed, every):
    """Up to six sizes per second, seen down to five times a second."""
    tracker = Tracker()
    for i in range(0, 100, every):
        (track,) = tracker.update(together(face(100 + speed * i / RATE)), i / RATE)
        assert track.id == 1
        assert not track.doubtful or i == 0 or speed > 100


def test_where_it_goes_is_expected():
    tracker = Tracker()
    for i in range(25):
        (track,) = tracker.update(together(face(100 + 4 * i)), i / RATE)
    expected = track.face_at(27 / RATE)
    assert expected.box.centre[0] == pytest.approx(100 + 4 * 27, abs=3)
    assert expected.landmarks[2, 0] == pytest.approx(100 + 4 * 27, abs=3)
    assert track.face_at(24 / RATE) is track.face


def test_a_carried_face_does_not_run_away():
    tracker = Tracker()
    for i in range(25):
        (track,) = tracker.update(together(face(100 + 20 * i)), i / RATE)
    there = track.face.box.centre[0]
    assert track.face_at(1000).box.centre[0] - there < 500 * 0.31


def test_two_who_pass_each_other_keep_their_tracks():
    tracker = Tracker()
    for i in range(60):
        found = together(face(100 + 5 * i, 100), face(400 - 5 * i, 125))
        assert ids(tracker.update(found, i / RATE)) == [1, 2]


def test_the_order_of_detections_does_not_matter():
    tracker = Tracker()
    tracker.update(together(face(100), face(300)), 0.0)
    assert ids(tracker.update(together(face(301), face(101)), 0.04)) == [2, 1]


def test_missing_for_a_moment_is_carried_on_then_hidden_then_forgotten():
    tracker = Tracker(shown=0.4, kept=4.0)
    (track,) = tracker.update(together(face(100)), 0.0)
    assert tracker.visible(0.3) == [track]
    assert tracker.visible(0.5) == [] and tracker.lost(0.5) == [track]
    assert ids(tracker.update(together(face(105)), 1.0)) == [1]
    assert not track.doubtful
    for i in range(1, 5):
        tracker.update(together(), 1.0 + 0.04 * i)
    assert ids(tracker.update(together(face(105)), 1.2)) == [1]
    assert track.doubtful  # it was looked for and not there: somebody else may have come
    assert tracker.expire(5.1) == []
    assert tracker.expire(5.3) == [track] and tracker.tracks == []
    assert ids(tracker.update(together(face(100)), 5.4)) == [2]


def test_what_a_slow_pass_found_is_shown_until_the_next_one_is_done():
    tracker = Tracker(shown=0.4, kept=4.0)
    (track,) = tracker.update(together(face(100)), 0.0)
    tracker.delayed(3.0)
    assert tracker.visible(3.0) == tracker.visible(12.3) == [track]
    assert tracker.visible(12.5) == [] and tracker.expire(12.5) == []  # it never came
    assert ids(tracker.update(together(face(100)), 3.1)) == [1] and not track.doubtful
    tracker.delayed(6.1)
    assert tracker.visible(6.1) == [track]
    tracker.update(together(), 6.2)
    assert tracker.visible(6.2) == [] and tracker.lost(6.2) == [track]  # missed: it is not shown any more


def test_a_weak_detection_of_a_slow_pass_has_time_to_be_repeated():
    tracker = Tracker(sure=0.75)
    tracker.update(together(face(100, score=0.65)), 0.0)
    tracker.delayed(2.0)
    assert tracker.visible(2.0) == [] and tracker.expire(4.0) == []
    assert ids(tracker.update(together(face(100, score=0.65)), 2.1)) == [1]
    assert ids(tracker.visible(4.1)) == [1]


def test_a_long_gap_between_pictures_shows_nobody():
    """The camera was lost for a minute while a pass ran."""
    tracker = Tracker()
    tracker.update(together(face(100)), 0.0)
    tracker.delayed(60.0)
    assert tracker.visible(60.0) == []


def test_a_face_elsewhere_is_another_one():
    tracker = Tracker()
    tracker.update(together(face(100)), 0.0)
    assert ids(tracker.update(together(face(400)), 0.04)) == [2]
    assert ids(tracker.update(together(face(100, size=150)), 0.08)) == [3]


def test_a_weak_detection_has_to_be_repeated():
    tracker = Tracker(sure=0.75)
    tracker.update(together(face(100, score=0.65)), 0.0)
    assert tracker.visible(0.0) == [] and tracker.lost(1.0) == []
    assert len(tracker.expire(1.0)) == 1
    for time in (2.0, 2.04):
        tracker.update(together(face(100, score=0.65)), time)
    assert ids(tracker.visible(2.04)) == [2]


def test_nothing_goes_on_by_its_place_after_a_cut():
    tracker = Tracker()
    tracker.update(together(face(100)), 0.0)
    tracker.cut(0.04)
    assert ids(tracker.visible(0.0)) == [1] and tracker.visible(0.04) == []
    (new,) = tracker.update(together(face(100)), 0.04)
    assert new.id == 2
    assert ids(tracker.update(together(face(101)), 0.08)) == [2]
    assert ids(tracker.lost(0.08)) == [1]


def test_a_detection_from_before_a_cut_does_not_count_as_after_it():
    tracker = Tracker()
    tracker.update(together(face(100)), 0.0)
    tracker.cut(0.08)
    assert ids(tracker.update(together(face(100)), 0.04)) == [1]
    assert ids(tracker.update(together(face(100)), 0.12)) == [2]


def test_joined_tracks_go_on_as_the_older():
    tracker = Tracker()
    (old,) = tracker.update(together(face(100)), 0.0)
    (new,) = tracker.update(together(face(400)), 2.0)
    tracker.merge(new, old)
    assert tracker.tracks == [old] and old.face.box.centre[0] == 400
    assert ids(tracker.update(together(face(402)), 2.04)) == [1]


def test_a_split_track_is_lost_and_another_goes_on():
    tracker = Tracker()
    (track,) = tracker.update(together(face(100)), 0.0)
    other = tracker.split(track)
    assert ids(tracker.visible(0.0)) == [other.id] and ids(tracker.lost(0.0)) == [1]
    assert ids(tracker.update(together(face(102)), 0.04)) == [other.id]


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 2000), st.floats(0, 1000), st.floats(5, 500)), max_size=6),
        min_size=1,
        max_size=8,
    )
)
def test_every_detection_has_a_track_of_its_own(pictures):
    tracker = Tracker()
    for i, found in enumerate(pictures):
        tracks = tracker.update(together(*(face(*each) for each in found)), i * 0.2)
        assert len(tracks) == len(found) == len(set(ids(tracks)))
        for track, each in zip(tracks, found, strict=True):
            assert track.face.box.centre == pytest.approx(each[:2])
        for track in tracker.tracks:
            assert np.isfinite(tuple(track.face_at(i * 0.2 + 0.3).box)).all()
        tracker.expire(i * 0.2)
