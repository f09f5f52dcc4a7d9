"""Boxes and points, against slower ways to the same answer."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recognizer.core import geometry
from recognizer.core.types import Faces
from recognizer.engines.dlib.native import points_of, shapes
from recognizer.engines.sface import chips
from recognizer.engines.yunet import YunetDetector
from recognizer.photos import images

SIDE = 12
edges = st.tuples(st.integers(0, SIDE - 1), st.integers(1, SIDE)).filter(lambda pair: pair[0] < pair[1])
boxes = st.tuples(edges, edges).map(lambda box: (box[0][0], box[1][0], box[0][1], box[1][1]))
finite = st.floats(-500, 500, width=32)


def array(rows) -> np.ndarray:
    return np.array(rows, float).reshape(-1, 4)


def painted(box) -> np.ndarray:
    canvas = np.zeros((SIDE, SIDE), bool)
    left, top, right, bottom = (int(edge) for edge in box)
    canvas[top:bottom, left:right] = True
    return canvas


# --- overlap ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("many", "expected"),
    [
        ([], []),
        ([(0, 0, 10, 10)], [1]),
        ([(10, 0, 20, 10)], [0]),
        ([(0, 10, 10, 20)], [0]),
        ([(50, 50, 60, 60)], [0]),
        ([(5, 0, 15, 10)], [1 / 3]),
        ([(2, 2, 4, 4)], [0.04]),
        ([(-10, -10, 20, 20), (0, 0, 10, 10)], [1 / 9, 1]),
    ],
)
def test_iou(many, expected):
    assert geometry.iou(np.array([0.0, 0, 10, 10]), array(many)).tolist() == pytest.approx(expected)


@given(boxes, st.lists(boxes, max_size=8))
def test_iou_counts_the_pixels_that_two_boxes_share(one, many):
    counted = [(painted(one) & painted(other)).sum() / (painted(one) | painted(other)).sum() for other in many]
    assert geometry.iou(np.array(one, float), array(many)) == pytest.approx(np.array(counted))


# --- suppression -----------------------------------------------------------------------------------------------------


def greedy(rows, scores, limit) -> list[int]:
    """Suppression word for word as its docstring has it."""
    kept = []
    for i in sorted(range(len(rows)), key=lambda i: -scores[i]):
        shared = [(painted(rows[i]) & painted(rows[j])).sum() / (painted(rows[i]) | painted(rows[j])).sum() for j in kept]
        if all(share <= limit for share in shared):
            kept.append(i)
    return kept


@given(
    st.lists(st.tuples(boxes, st.integers(0, 5)), max_size=14),
    st.sampled_from([0.0, 0.1, 0.3, 0.45, 0.7, 1.0]),
)
def test_suppression_is_the_greedy_one(found, limit):
    rows, scores = [box for box, _ in found], np.array([score for _, score in found], float)
    kept = geometry.suppress(array(rows), scores, limit)
    assert kept.dtype.kind == "i"
    assert kept.tolist() == greedy(rows, scores, limit)


# --- similarity ------------------------------------------------------------------------------------------------------


def by_least_squares(source, target) -> np.ndarray:
    """The same matrix as the solution of linear equations in its four free numbers."""
    rows, values = [], []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [(x, -y, 1, 0), (y, x, 0, 1)]
        values += [u, v]
    a, b, dx, dy = np.linalg.lstsq(np.array(rows, float), np.array(values, float), rcond=None)[0]
    return np.array([[a, -b, dx], [b, a, dy]])


points = st.lists(st.tuples(finite, finite), min_size=2, max_size=8)


@given(points, st.data())
def test_similarity_is_the_least_squares_answer(source, data):
    source = np.array(source)
    assume(np.ptp(source, axis=0).max() > 1)
    same_size = st.lists(st.tuples(finite, finite), min_size=len(source), max_size=len(source))
    target = np.array(data.draw(same_size))
    found, expected = geometry.similarity(source, target), by_least_squares(source, target)
    scale = 1 + np.abs(expected).max()
    assert np.abs(found - expected).max() <= 1e-6 * scale


@given(
    points.filter(lambda rows: np.ptp(np.array(rows), axis=0).max() > 1),
    st.floats(0.05, 20),
    st.floats(-np.pi, np.pi),
    finite,
    finite,
)
def test_similarity_finds_the_turn_that_was_made(source, scale, angle, dx, dy):
    made = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]) * scale
    made[:, 2] = dx, dy
    source = np.array(source)
    target = source @ made[:, :2].T + made[:, 2]
    assert np.allclose(geometry.similarity(source, target), made, atol=1e-6 * (1 + scale))


@given(st.lists(st.tuples(finite, finite), min_size=5, max_size=5), st.sampled_from(sorted(geometry.REFERENCE_POINTS)))
def test_a_roll_is_the_direction_of_the_similarity_from_an_upright_face(landmarks, scheme):
    landmarks = np.array(landmarks, float)
    if not np.ptp(landmarks, axis=0).any():
        assert geometry.roll(landmarks, scheme) == 0
        return
    real, imaginary = geometry.similarity(geometry.REFERENCE_POINTS[scheme], landmarks)[:, 0]
    assume(np.hypot(real, imaginary) > 1e-6)
    apart = geometry.roll(landmarks, scheme) - np.degrees(np.arctan2(imaginary, real))
    assert (apart + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)


def test_similarity_agrees_with_opencv():
    rng = np.random.default_rng(3)
    for _ in range(50):
        source = rng.uniform(0, 600, (5, 2))
        made = geometry.similarity(source[:2], rng.uniform(0, 112, (2, 2)))
        target = source @ made[:, :2].T + made[:, 2]
        theirs, inside = cv2.estimateAffinePartial2D(source, target)
        assert inside.all()
        assert np.allclose(geometry.similarity(source, target), theirs, atol=1e-6)


@pytest.mark.parametrize("source", [np.zeros((2, 2)), np.full((5, 2), 7.5), np.ones((1, 2))])
def test_points_that_are_all_the_same_give_no_similarity(source):
    with pytest.raises(ValueError, match="not all the same"):
        geometry.similarity(source, np.arange(2 * len(source)).reshape(-1, 2))


@pytest.mark.parametrize("name", ["obama.jpg", "biden.jpg", "obama_partial_face.jpg", "astronaut.png"])
def test_a_chip_is_the_one_that_opencv_would_cut(photos, models_dir, name):
    pixels = images.decode(photos[name].read_bytes()).pixels
    faces = YunetDetector(models_dir / "face_detection_yunet_2023mar.onnx").detect(pixels)
    row = np.concatenate([[0, 0, 0, 0], faces.landmarks[0].ravel(), [1]]).astype(np.float32)
    recognizer = cv2.FaceRecognizerSF.create(str(models_dir / "face_recognition_sface_2021dec.onnx"), "")
    theirs = cv2.cvtColor(recognizer.alignCrop(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), row), cv2.COLOR_BGR2RGB)
    matrix = geometry.similarity(faces.landmarks[0], geometry.ARCFACE_POINTS)
    ours = cv2.warpAffine(pixels, matrix, (112, 112))
    # the matrix is the same but for float32 rounding, which moves a sample by at most a grey level or two
    assert np.abs(ours.astype(int) - theirs).max() <= 3
    assert (ours != theirs).mean() < 0.01


# --- dlib's boxes, clipping -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[], [(10, 20, 50, 70)], [(10, 20, 50, 70), (-5, -5, 5, 5)]])
def test_dlib_boxes_are_squares_below_the_centre(rows):
    rows = array(rows)
    found = geometry.dlib_boxes(rows)
    width, height = rows[:, 2] - rows[:, 0], rows[:, 3] - rows[:, 1]
    assert found.shape == rows.shape
    assert np.allclose(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1])
    assert np.allclose(found[:, 2] - found[:, 0], geometry.DLIB_SIDE * (width + height) / 2)
    assert np.allclose((found[:, 0] + found[:, 2]) / 2, (rows[:, 0] + rows[:, 2]) / 2)
    assert np.allclose((found[:, 1] + found[:, 3] - rows[:, 1] - rows[:, 3]) / 2, geometry.DLIB_DROP * height)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([(1, 2, 3, 4)], [(1, 2, 3, 4)]),
        ([(-5, -6, 200, 300)], [(0, 0, 100, 50)]),
        ([(120, 10, 130, 20)], [(100, 10, 100, 20)]),
    ],
)
def test_clip(rows, expected):
    assert np.array_equal(geometry.clip(array(rows), 100, 50), array(expected))


@pytest.mark.parametrize(
    "box, expected",
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ((-5, -7.5, 30, 400), (0, 0, 30, 50)),
        ((-20, 60, -10, 70), (0, 49, 1, 50)),  # outside: one pixel is left
        ((99.5, 0, 140, 10), (99, 0, 100, 10)),
    ],
)
def test_the_part_of_a_box_inside_a_picture(box, expected):
    assert geometry.inside(box, 100, 50) == expected


@pytest.mark.parametrize("name", ["obama.jpg", "astronaut.png"])
def test_points_of_both_kinds_agree_on_where_a_chip_is_cut(photos, models_dir, name):
    pixels = images.decode(photos[name].read_bytes()).pixels
    faces = YunetDetector(models_dir / "face_detection_yunet_2023mar.onnx").detect(pixels).select([0])
    of_dlib = Faces(geometry.dlib_boxes(faces.boxes).round(), faces.scores, faces.landmarks, "dlib5")
    of_dlib = Faces(of_dlib.boxes, faces.scores, np.array([points_of(shapes(pixels, of_dlib)[0])], np.float32), "dlib5")
    both, dlibs = chips(pixels, faces)[0].astype(int), chips(pixels, of_dlib)[0].astype(int)
    alone = cv2.warpAffine(pixels, geometry.similarity(faces.landmarks[0], geometry.ARCFACE_POINTS), (112, 112)).astype(int)
    # the chip by all ten points lies between those by five each
    assert np.abs(both - alone).mean() < np.abs(dlibs - alone).mean() + 1
    assert np.abs(both - dlibs).mean() < np.abs(dlibs - alone).mean() + 1
