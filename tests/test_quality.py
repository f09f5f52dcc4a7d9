"""Qualities of a face's picture: against pictures whose damage is known."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.core.errors import PoorPhoto
from recognizer.core.types import Box, Face
from recognizer.engines import make_engine
from recognizer.enrolment import examination
from recognizer.photos import images, quality


def _seen(yaw: float, pitch: float, roll: float, size: float = 40.0) -> np.ndarray:
    """The mean head's five points as a camera far away sees them, turned by so many degrees."""
    y, p, r = np.radians([yaw, -pitch, roll])
    around_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    around_x = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    around_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return (quality.MEAN_HEAD @ (around_z @ around_x @ around_y).T)[:, :2] * size + 100


@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-45, 0, 0), (0, 20, 0), (0, -25, 0), (0, 0, 60), (0, 0, -170), (0, 0, 90)]
)
def test_a_head_turned_about_one_axis_is_measured_exactly(angles):
    assert quality.pose(_seen(*angles), "yunet5") == pytest.approx(angles, abs=1e-6)


@given(st.floats(-80, 80), st.floats(-60, 60), st.floats(-179, 179), st.floats(2, 500))
def test_so_is_one_turned_nodded_and_tilted(yaw, pitch, roll, size):
    assert quality.pose(_seen(yaw, pitch, roll, size), "yunet5") == pytest.approx((yaw, pitch, roll), abs=1e-4)


def test_points_that_are_all_the_same_have_no_pose():
    assert np.isnan(quality.pose(np.zeros((5, 2)), "yunet5")).all()


def test_dlibs_points_tell_the_roll_alone():
    points = np.array([[80, 50], [66, 50], [30, 50], [44, 50], [55, 80]], float)
    yaw, pitch, roll = quality.pose(points, "dlib5")
    assert np.isnan([yaw, pitch]).all() and roll == pytest.approx(0)
    assert quality.pose(points[:, ::-1] * (-1, 1), "dlib5")[2] == pytest.approx(90)


@pytest.mark.parametrize(
    "box, share",
    [
        ((0, 0, 100, 100), 0),
        ((-10, 0, 90, 100), 0.1),
        ((50, 50, 150, 150), 0.75),
        ((-100, -100, 0, 0), 1),
        ((-50, -50, 150, 150), 0.75),
    ],
)
def test_cut_off(box, share):
    face = Face(Box(*box), 1.0, np.zeros((5, 2), np.float32), "yunet5")
    assert quality.cut_off(face, 100, 100) == pytest.approx(share)


@pytest.fixture(scope="module")
def engine(models_dir):
    return make_engine(models_dir=models_dir)


@pytest.mark.parametrize("name", ["obama.jpg", "biden.jpg", "astronaut.png"])
def test_damage_shows(engine, photos, name):
    import cv2

    pixels = images.resize(images.decode(photos[name].read_bytes()).pixels, 800)

    def look(changed):
        image = images.from_array(changed)
        faces = engine.find(image)
        return quality.measure(changed, faces[0])

    good = look(pixels)
    assert good.cut_off == 0 and good.clipped < 0.5 and good.score > 0.8
    assert max(map(abs, (good.yaw, good.pitch, good.roll))) < 35
    blurred = look(cv2.GaussianBlur(pixels, (0, 0), 0.05 * good.size))
    assert blurred.sharpness < good.sharpness / 2
    dark = look((pixels * 0.25).astype(np.uint8))
    assert dark.brightness == pytest.approx(good.brightness / 4, rel=0.1)
    assert dark.contrast < good.contrast / 2 and dark.clipped > good.clipped
    assert dark.sharpness == pytest.approx(good.sharpness, rel=0.35)  # whatever the contrast
    small = look(images.resize(pixels, round(max(pixels.shape) * 50 / good.size)))
    assert small.size == pytest.approx(50, rel=0.2)
    turned = look(np.ascontiguousarray(cv2.flip(pixels, 1)))
    assert turned.yaw == pytest.approx(-good.yaw, abs=8)
    face = engine.find(images.from_array(pixels))[0]
    cut = look(pixels[:, : int(face.box.right - 0.3 * face.box.width)])
    assert cut.cut_off > 0 or cut.size < 0.85 * good.size


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 9), "blurred"),
        (lambda pixels: (pixels * 0.08).astype(np.uint8), "flat"),
    ],
)
def test_a_photo_that_could_be_anybody_enrols_nobody(photos, models_dir, spoil, code):
    engine = make_engine("yunet", "sface", models_dir=models_dir)
    pixels = images.resize(np.array(PIL.Image.open(photos["obama.jpg"]).convert("RGB")), 640)
    assert examination.examine(engine, images.encode_jpeg(pixels), examination.EnrolmentRules()).encoding.problem is None
    with pytest.raises(PoorPhoto) as refused:
        examination.examine(engine, images.encode_jpeg(spoil(pixels), 95), examination.EnrolmentRules())
    assert refused.value.details["remarks"] == [code]


GOOD = quality.Quality(80, 0.1, 0, 0, 0, 0, 120, 40, 0, 0.95)


@pytest.mark.parametrize(
    ("size", "full_size", "value"), [(60, 60, 1), (30, 60, 0.5), (80, 160, 0.5), (1000, 160, 1), (0, 60, 0.01)]
)
def test_a_picture_larger_than_needed_is_not_better(size, full_size, value):
    assert quality.picture_value(replace(GOOD, size=size), full_size) == pytest.approx(value)
