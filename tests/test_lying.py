"""A camera on its side or upside down is noticed by its faces."""

from __future__ import annotations

import asyncio
import logging

import numpy as np
import pytest

from recognizer.core.geometry import ARCFACE_POINTS
from recognizer.core.types import Faces
from recognizer.engines.yunet import YunetDetector
from recognizer.photos import images
from recognizer.video.tracking.lying import ENOUGH, EVERY, PATIENCE, QUARTERS, LyingFaces
from recognizer.video.tracking.pipeline import Pipeline

from . import simulated
from .video_actors import Camera, Vision, picture


@pytest.fixture(scope="module")
def detector(models_dir):
    return YunetDetector(models_dir / "face_detection_yunet_2023mar.onnx")


@pytest.fixture(scope="module")
def frame(photos):
    return images.resize(images.decode(photos["obama.jpg"].read_bytes()).pixels, 400)


def watched(lying: LyingFaces, detector, pixels: np.ndarray, seconds: range) -> list[int]:
    """The turn after each second, as a pipeline that sees this picture all the time."""
    turns = []
    for now in seconds:
        lying.saw(detector.detect(pixels), now)
        copy = lying.turned_copy(pixels, now)
        if copy is not None:
            lying.saw_turned(detector.detect(copy[0]), copy[1])
        turns.append(lying.turn)
    return turns


@pytest.mark.slow
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_the_turn_that_is_wanted_makes_faces_upright(detector, frame, turn):
    hung = np.ascontiguousarray(np.rot90(frame, turn // 90))  # counterclockwise, so that turning it clockwise is right
    lying = LyingFaces()
    turns = watched(lying, detector, hung, range(0, 120))
    assert turns[-1] == turn and set(turns) == {0, turn}
    assert watched(lying, detector, frame, range(120, 122)) == [0, 0]  # it was hung right


def test_an_upright_camera_is_never_searched_turned(detector, frame):
    lying = LyingFaces()
    for now in range(0, 100, 10):
        lying.saw(detector.detect(frame), now)
        assert lying.turned_copy(frame, now) is None and lying.turn == 0


def face(score: float, roll: float = 0) -> Faces:
    """A reference face, turned clockwise."""
    angle = np.deg2rad(roll)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (ARCFACE_POINTS - 56) @ turn.T + 56
    return Faces(np.array([[0.0, 0, 112, 112]]), np.array([score]), points[None].astype(np.float32), "yunet5")


def test_who_is_certainly_upright_among_others_keeps_the_camera_upright():
    lying = LyingFaces()
    for i in range(50):
        lying.saw(face(0.92 if i % ENOUGH == 0 else 0.7), i)
        lying.saw_turned(face(0.9), 1)
        assert lying.turn == 0


@pytest.mark.parametrize(
    "upright, turned",
    [
        (0.7, [(face(0.85), 1)]),  # it may lie there, too
        (0.88, [(face(0.9), 1)]),  # hardly better
        (0.7, [(face(0.9, roll=60), 1)]),  # it lies there as well
        (0.7, [(face(0.9), quarter) for quarter in QUARTERS]),  # every way
        (0.7, [(Faces.empty(), 1)]),
    ],
)
def test_what_proves_nothing(upright, turned):
    lying = LyingFaces()
    for i in range(12 * ENOUGH):
        lying.saw(face(upright), i)
        lying.saw_turned(*turned[i % len(turned)])
        assert lying.turn == 0


def test_turned_copies_are_made_seldom_and_in_all_ways():
    lying, pixels = LyingFaces(), np.zeros((40, 60, 3), np.uint8)
    made = []
    for tenth in range(1000):
        lying.saw(Faces.empty(), tenth / 10)
        copy = lying.turned_copy(pixels, tenth / 10)
        if copy is not None:
            made.append((tenth / 10, copy[1]))
            assert copy[0].shape[:2] == ((60, 40) if copy[1] % 2 else (40, 60))
    assert made[0][0] >= PATIENCE and {quarter for _, quarter in made} == {1, 2, 3}
    assert np.diff([at for at, _ in made]).min() >= EVERY - 1e-6


class Hung(Vision):
    """Finds a face only on pictures that were turned clockwise by 90 degrees."""

    def detect(self, image) -> Faces:
        self._step("detect")
        back = np.rot90(image.pixels)
        number = int(back[0, 0, 0]) + 256 * int(back[0, 0, 1])
        return face(0.95) if np.array_equal(back, picture(number, 128)) else Faces.empty()


def test_a_pipeline_says_which_turn_its_camera_wants(caplog):
    vision, camera = Hung(), Camera(240, rate=2)

    async def work() -> None:
        clock = asyncio.get_running_loop().time
        await Pipeline(camera, vision, executor=simulated.Threads(1), clock=clock).run(lambda result: None)

    with caplog.at_level(logging.WARNING):
        simulated.run(work())
    assert camera.turn_wanted == 90
    assert [record.message for record in caplog.records if "turn90:" in record.message]
    assert vision.calls["detect"] <= 240 * (1 + 1 / (2 * EVERY)) + 1
