"""What counts as a picture that has not changed, and which pictures of a camera are decoded."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import simplejpeg

from recognizer.video.sources.base import BrokenShot, Shot
from recognizer.video.sources.camera import ShotPixels
from recognizer.video.sources.http_camera import decode_jpeg, glance_at
from recognizer.video.sources.source import SourceView
from recognizer.video.stillness import SAFETY, UNSEEN, UsualSizes, alike, small_copy

SIZES = [(1280, 720), (640, 360), (1920, 1080), (321, 243)]


def room(width: int, height: int, seed: int = 0, noise: float = 4.0) -> np.ndarray:
    """A wall with something on it, and the camera's noise."""
    coarse = np.random.default_rng(7).integers(40, 200, (9, 16, 3)).astype(np.float32)
    wall = coarse.repeat(height // 9 + 1, axis=0).repeat(width // 16 + 1, axis=1)[:height, :width]
    return np.clip(wall + np.random.default_rng(seed).normal(0, noise, wall.shape), 0, 255).astype(np.uint8)


def with_face(pixels: np.ndarray, side: int = 20) -> np.ndarray:
    """The same with a round patch somewhat darker than the wall, where a face might be."""
    changed, (height, width) = pixels.astype(np.int16), pixels.shape[:2]
    y, x = np.ogrid[:height, :width]
    changed[(y - height // 3) ** 2 + (x - width // 3) ** 2 < (side / 2) ** 2] -= 30
    return np.clip(changed, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_noise_is_no_change_and_the_smallest_face_is_one(size):
    before = small_copy(room(*size, seed=1))
    assert alike(small_copy(room(*size, seed=2)), before)
    assert not alike(small_copy(with_face(room(*size, seed=3))), before)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_same_holds_for_a_glance_at_a_jpeg(size):
    def seen(pixels: np.ndarray) -> np.ndarray:
        copy = glance_at(simplejpeg.encode_jpeg(pixels, 85))
        assert copy is not None
        return copy

    before = seen(room(*size, seed=1))
    assert alike(seen(room(*size, seed=2)), before)
    assert not alike(seen(with_face(room(*size, seed=3))), before)


def test_another_size_is_a_change():
    assert not alike(small_copy(room(640, 360)), small_copy(room(640, 480)))


@pytest.mark.parametrize("shape", [(1, 1), (1, 640), (3, 2)], ids=str)
def test_any_size_has_a_copy(shape):
    assert small_copy(np.full((*shape, 3), 9, np.uint8)).size >= 1


class Counted:
    """The shots of a camera on HTTP, and how many of them were decoded."""

    def __init__(self) -> None:
        self.decoded = self.glanced = 0

    def shot(self, data: bytes, taken: float, size: int | None = None) -> Shot:
        def load() -> np.ndarray:
            self.decoded += 1
            return decode_jpeg(data)

        def glance() -> np.ndarray | None:
            self.glanced += 1
            return glance_at(data)

        return Shot(load, 0.0, taken, glance=glance, size=size)


def test_a_picture_that_shows_the_same_is_not_decoded_for_a_second():
    camera, pixels = Counted(), ShotPixels(SourceView(mirror=True))
    first = pixels.of(camera.shot(simplejpeg.encode_jpeg(room(640, 360, 1), 90), 10.0))
    for number in range(1, 20):
        data = simplejpeg.encode_jpeg(room(640, 360, number), 90)
        assert pixels.of(camera.shot(data, 10 + 0.05 * number)) is first
    assert camera.decoded == 1
    assert pixels.of(camera.shot(data, 10 + SAFETY)) is not first and camera.decoded == 2


def test_while_the_picture_moves_only_some_shots_are_glanced_at_and_all_are_decoded():
    pixels, glances, decoded = ShotPixels(SourceView()), [], []

    def shot(number: int) -> Shot:
        picture = room(640, 360, noise=0)
        if number < 200:
            picture[:60, 2 * number : 2 * number + 60] ^= 255
        data = simplejpeg.encode_jpeg(picture, 85)
        return Shot(
            lambda: decoded.append(number) or decode_jpeg(data),
            0.0,
            number / 30,
            glance=lambda: glances.append(number) or glance_at(data),
        )

    for number in range(200):
        pixels.of(shot(number))
    assert decoded == list(range(200)) and 20 <= len(glances) <= 40
    for number in range(200, 260):
        pixels.of(shot(number))
    assert len(decoded) <= 222, "a picture that stands still again is decoded seldom again"


def test_whoever_enters_is_in_the_pixels_of_the_first_picture_and_mirrored_like_all():
    camera, pixels = Counted(), ShotPixels(SourceView(mirror=True))
    pixels.of(camera.shot(simplejpeg.encode_jpeg(room(640, 360, 1), 90), 10.0))
    entered = with_face(room(640, 360, 2), 40)
    found = pixels.of(camera.shot(simplejpeg.encode_jpeg(entered, 95), 10.1))
    assert camera.decoded == 2
    assert np.abs(found[:, ::-1].astype(int) - entered).mean() < 8


class Still:
    """A camera whose picture has stood still for so many pictures, 30 a second."""

    def __init__(self, pictures: int, size: int | None = None):
        self.camera, self.pixels, self.number = Counted(), ShotPixels(SourceView()), 0
        for _ in range(pictures):
            self.found = self.show(room(640, 360, self.number), size)

    def show(self, picture: np.ndarray, size: int | None = None) -> np.ndarray:
        data = simplejpeg.encode_jpeg(picture, 90)
        self.number += 1
        return self.pixels.of(self.camera.shot(data, self.number / 30, size or len(data)))


def test_of_a_camera_that_stands_still_few_pictures_are_glanced_at():
    still = Still(120)
    assert still.camera.decoded <= 5  # the first one, and one each second
    assert 20 <= still.camera.glanced <= 45  # the first ten, then one in five, and some of an unusual size


@pytest.mark.parametrize("before", range(60, 65))
def test_whoever_enters_is_seen_in_the_first_picture_whether_or_not_it_would_have_been_glanced_at(before):
    still = Still(before)
    entered = with_face(room(640, 360, 999), 60)
    entered[120:300, 180:240] = np.random.default_rng(1).integers(0, 255, (180, 60, 3))
    assert np.abs(still.show(entered).astype(int) - entered).mean() < 8


def test_what_does_not_change_the_size_is_seen_a_moment_later():
    still = Still(40, size=1000)
    glanced = still.camera.glanced
    while still.camera.glanced == glanced:
        still.show(room(640, 360, still.number), 1000)
    entered = with_face(room(640, 360, 999), 60)
    shown = [still.show(entered, 1000) for _ in range(6)]
    assert shown[0] is still.found  # the one before was glanced at
    late = next(number for number, each in enumerate(shown) if each is not still.found)
    assert 0 < late <= UNSEEN * 30 + 1


def test_after_a_change_all_is_glanced_at_again():
    still = Still(60)
    still.show(with_face(room(640, 360, 999), 60))
    glanced = still.camera.glanced
    for _ in range(4):
        still.show(with_face(room(640, 360, still.number), 60))
    assert still.camera.glanced == glanced + 4


def test_sizes_are_usual_once_some_are_known_and_as_they_vary():
    sizes = UsualSizes()
    for size in (1000, 1010, 990, 1005, 995, 1000, 1012):
        sizes.note(size)
        assert not sizes.has(1000)
    sizes.note(988)
    assert sizes.has(1000) and sizes.has(1009) and not sizes.has(1060) and not sizes.has(940)
    sizes.forget()
    assert not sizes.has(1000)


def test_a_damaged_picture_is_never_taken_for_the_one_before():
    camera, pixels, data = Counted(), ShotPixels(SourceView()), simplejpeg.encode_jpeg(room(640, 360), 90)
    pixels.of(camera.shot(data, 10.0))
    for damaged in (data[: len(data) // 2], data[: len(data) // 2] + b"\xff\xd9", data[:40]):
        assert glance_at(damaged) is None
        with contextlib.suppress(BrokenShot):  # what ends as it should is shown as far as it goes
            pixels.of(camera.shot(damaged, 10.1))
    assert camera.decoded == 4
