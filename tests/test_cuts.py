"""Cuts are told from movement, light and noise; in real clips too."""

from __future__ import annotations

import numpy as np
import pytest

from recognizer.video.tracking.cuts import Cuts

from . import data
from .video_actors import scenery


def cuts(*pictures: np.ndarray) -> list[int]:
    """Numbers of the pictures that do not continue the one before."""
    told = Cuts()
    return [i for i, pixels in enumerate(pictures) if told.is_cut(pixels)]


def dark(pixels: np.ndarray, share: float) -> np.ndarray:
    return (pixels * share).astype(np.uint8)


def test_the_first_picture_and_the_same_again_are_no_cut():
    assert cuts(scenery(1), scenery(1), scenery(1)) == []


def test_another_scene_is_a_cut_in_the_dark_as_well():
    assert cuts(scenery(1), scenery(2), scenery(2), scenery(3)) == [1, 3]
    assert cuts(dark(scenery(1), 0.25), dark(scenery(2), 0.25)) == [1]


def test_light_and_movement_are_none():
    assert cuts(dark(scenery(1), 0.3), scenery(1)) == []
    assert cuts(*(np.roll(scenery(1), 8 * i, axis=1) for i in range(10))) == []


def test_noise_in_the_dark_is_none():
    random = np.random.default_rng(0)
    assert cuts(*(np.clip(random.normal(12, 8, (360, 640, 3)), 0, 255).astype(np.uint8) for _ in range(10))) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (2, 3), (71, 127), (2160, 3840)], ids=str)
def test_any_size_and_a_change_of_it(shape):
    assert cuts(np.zeros((*shape, 3), np.uint8), np.full((*shape, 3), 5, np.uint8)) == []
    assert cuts(np.zeros((*shape, 3), np.uint8), scenery(1)) == [1]


def test_the_cuts_of_a_real_clip():
    """Seen by eye: the pictures 20, 82 and 211 begin another shot."""
    import cv2

    clip = data.folder("videos") / "fr_short_hamilton_clip.mp4"
    video, pictures = cv2.VideoCapture(str(clip)), []
    while (read := video.read())[0]:
        pictures.append(read[1])
    video.release()
    assert cuts(*pictures) == [20, 82, 211]
