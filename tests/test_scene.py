"""How often the faces at a camera have to be detected, by what is known of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recognizer.core.types import Faces
from recognizer.galleries import matching
from recognizer.photos.quality import Quality
from recognizer.video.frames import Frame
from recognizer.video.tracking.scene import CALM_PASSES, ENOUGH_PASSES, TrackedScene

from .video_actors import CURVE, THRESHOLD, axis

GOOD = Quality(80, 0.1, 0, 0, 0, 0, 120, 40, 0, 0.95)
EVERY = 0.1


def look(scene: TrackedScene, time: float, *centres: float, described: bool = True) -> float:
    """Faces of 60 pixels are detected there at `time`, and described; how many passes a second are wanted then."""
    boxes = np.array([[x - 30, 60, x + 30, 120] for x in centres]).reshape(-1, 4)
    points = np.zeros((len(boxes), 5, 2), np.float32)
    frame = Frame(np.zeros((1, 1, 3), np.uint8), 0, time, time)
    scene.detected(Faces(boxes, np.full(len(boxes), 0.95), points), [GOOD] * len(boxes), time, frame)
    for due in scene.due(time, 3) if described else ():
        scene.described(due, axis(due.track), matching.decide([], THRESHOLD, CURVE), 0)
    return scene.passes_wanted(time)


@pytest.fixture
def scene() -> TrackedScene:
    return TrackedScene(lambda candidates: matching.decide(candidates, THRESHOLD, CURVE))


def test_a_face_that_is_known_and_stays_needs_fewer_passes(scene):
    assert look(scene, 0.0, 100, described=False) == ENOUGH_PASSES
    assert [look(scene, EVERY * number, 100 + number) for number in range(1, 12)][-1] == CALM_PASSES


def test_one_that_moves_quickly_or_has_just_come_does_not(scene):
    for number in range(12):
        look(scene, EVERY * number, 100)
    assert look(scene, 12 * EVERY, 100, 300, described=False) == ENOUGH_PASSES
    quick = [look(scene, EVERY * number, 100 + 20 * (number - 12), 300) for number in range(13, 18)]
    assert quick[-1] == ENOUGH_PASSES


def test_one_that_was_just_missed_is_looked_for_at_once_and_then_as_often_as_a_new_one(scene):
    for number in range(12):
        look(scene, EVERY * number, 100)
    last = 11 * EVERY
    assert look(scene, last + 0.1) == math.inf
    assert look(scene, last + 0.2) == ENOUGH_PASSES
    assert look(scene, last + 1.0) == ENOUGH_PASSES, "nobody is in sight, somebody may return"
    assert look(scene, last + 1.1, 100) != math.inf
