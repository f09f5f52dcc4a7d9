"""The values: what they accept, what they refuse, and what their methods give."""

import dataclasses

import numpy as np
import pytest

from recognizer.core.errors import EngineMismatch
from recognizer.core.types import LANDMARK_SCHEMES, Box, Candidate, Embedding, Face, Faces, Match, Template, check_pixels


def some_faces(count: int = 3, scheme: str = "yunet5") -> Faces:
    boxes = np.array([[10.0 * i, 5.0 * i, 10.0 * i + 20, 5.0 * i + 30] for i in range(count)]).reshape(-1, 4)
    points = np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2)
    return Faces(boxes, np.linspace(0.9, 0.6, count), points, scheme)


@pytest.mark.parametrize(
    ("pixels", "error"),
    [
        (np.zeros((0, 0, 3), np.uint8), ValueError),
        (np.zeros((0, 5, 3), np.uint8), ValueError),
        (np.zeros((5, 0, 3), np.uint8), ValueError),
        (np.zeros((5, 5, 0), np.uint8), ValueError),
        (np.zeros((5, 5), np.uint8), ValueError),
        (np.zeros((5, 5, 1), np.uint8), ValueError),
        (np.zeros((5, 5, 4), np.uint8), ValueError),
        (np.zeros((1, 5, 5, 3), np.uint8), ValueError),
        (np.zeros((5, 5, 3), np.float32), TypeError),
        (np.zeros((5, 5, 3), np.int8), TypeError),
        (np.zeros((5, 5, 3), bool), TypeError),
        ([[[0, 0, 0]]], TypeError),
        (b"pixels", TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_picture_is_refused_and_the_message_says_what_it_was(pixels, error):
    with pytest.raises(error) as caught:
        check_pixels(pixels)
    got = pixels.shape if error is ValueError else getattr(pixels, "dtype", type(pixels).__name__)
    assert str(caught.value).endswith(f"got {got}")


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 900, 3), (7, 5, 3)])
def test_a_picture_passes_as_the_same_object(shape):
    pixels = np.zeros(shape, np.uint8)
    assert check_pixels(pixels) is pixels
    assert check_pixels(pixels[:, ::-1]) is not None  # strides are the decoder's business


@pytest.mark.parametrize(
    "edges",
    [
        (0, 0, 0, 0),
        (0, 0, 0, 10),
        (0, 0, 10, 0),
        (10, 0, 0, 10),
        (0, 10, 10, 0),
        (float("nan"), 0, 10, 10),
        (0, 0, float("inf"), 10),
        (float("-inf"), 0, 10, 10),
    ],
)
def test_a_box_without_an_area_or_with_no_finite_edge_is_refused(edges):
    with pytest.raises(ValueError, match="expected"):
        Box(*edges)


@pytest.mark.parametrize(
    ("edges", "width", "height", "area", "size", "centre"),
    [
        ((0, 0, 1, 1), 1, 1, 1, 1, (0.5, 0.5)),
        ((10, 20, 40, 30), 30, 10, 300, 10, (25, 25)),
        ((-10, -20, 10, 20), 20, 40, 800, 20, (0, 0)),
        ((0.25, 0.5, 0.5, 1.5), 0.25, 1, 0.25, 0.25, (0.375, 1)),
    ],
)
def test_measures_of_a_box(edges, width, height, area, size, centre):
    box = Box(*edges)
    assert tuple(box) == edges
    assert (box.width, box.height, box.area, box.size, box.centre) == (width, height, area, size, centre)
    with pytest.raises(dataclasses.FrozenInstanceError):
        box.left = 1


@pytest.mark.parametrize("scheme", LANDMARK_SCHEMES)
def test_no_faces_behave_like_faces(scheme):
    none = Faces.empty(scheme)
    assert len(none) == 0 and list(none) == []
    for same in (none.scaled(2), none.scaled(2, 3), none.shifted(1, 2), none.select([]), none.select(np.zeros(0, bool))):
        assert (len(same), same.scheme, same.boxes.shape, same.landmarks.shape) == (0, scheme, (0, 4), (0, 5, 2))
        assert same.landmarks.dtype == np.float32
    with pytest.raises(IndexError):
        none[0]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"boxes": np.zeros((0, 4))}, "scores"),
        ({"boxes": np.zeros((2, 4))}, "scores"),
        ({"boxes": np.zeros((3, 5))}, "boxes"),
        ({"boxes": np.zeros(3)}, "boxes"),
        ({"scores": np.zeros((3, 1))}, "scores"),
        ({"scores": np.zeros(2)}, "scores"),
        ({"landmarks": np.zeros((3, 5), np.float32)}, "landmarks"),
        ({"landmarks": np.zeros((3, 68, 2), np.float32)}, "landmarks"),
        ({"scheme": "dlib68"}, "scheme"),
    ],
)
def test_faces_whose_parts_do_not_fit_are_refused(change, named):
    good = some_faces(3)
    parts = {name: getattr(good, name) for name in ("boxes", "scores", "landmarks", "scheme")}
    with pytest.raises(ValueError, match=f"expected (a )?{named}"):
        Faces(**{**parts, **change})


def test_a_face_of_faces_is_plain_numbers_and_keeps_the_scheme():
    faces = some_faces(3, "dlib5")
    face = faces[1]
    assert isinstance(face, Face) and face.scheme == "dlib5"
    assert tuple(face.box) == (10, 5, 30, 35) and all(type(edge) is float for edge in face.box)
    assert type(face.score) is float and face.score == pytest.approx(0.75)
    assert np.array_equal(face.landmarks, faces.landmarks[1])
    assert [tuple(each.box) for each in faces] == [tuple(row) for row in faces.boxes]
    assert tuple(faces[-1].box) == (20, 10, 40, 40)
    with pytest.raises(IndexError):
        faces[3]


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ([], []),
        (np.zeros(3, bool), []),
        ([1], [10]),
        ([2, 0], [20, 0]),
        (np.array([True, False, True]), [0, 20]),
        (slice(1, None), [10, 20]),
        ([0, 0], [0, 0]),
    ],
)
def test_select_keeps_what_is_picked_in_that_order(which, left):
    faces = some_faces(3)
    picked = faces.select(which)
    assert picked.boxes[:, 0].tolist() == left
    assert picked.landmarks.shape == (len(left), 5, 2) and picked.landmarks.dtype == np.float32


def test_scaled_and_shifted_move_boxes_and_points_alike_and_back():
    faces = some_faces(3)
    there = faces.scaled(2, 3).shifted(-7, 11)
    assert tuple(there[1].box) == (10 * 2 - 7, 5 * 3 + 11, 30 * 2 - 7, 35 * 3 + 11)
    assert there.landmarks[1, 2].tolist() == [14 * 2 - 7, 15 * 3 + 11]
    back = there.shifted(7, -11).scaled(1 / 2, 1 / 3)
    assert np.allclose(back.boxes, faces.boxes) and np.allclose(back.landmarks, faces.landmarks)
    assert np.array_equal(faces.boxes, some_faces(3).boxes)  # the original is as it was
    assert np.array_equal(faces.scaled(2).boxes, faces.scaled(2, 2).boxes)


@pytest.mark.parametrize(
    "vector",
    [np.zeros((0, 3), np.float32), np.zeros((1, 3), np.float32), np.zeros(3), np.zeros(3, np.float16), np.float32(1)],
)
def test_an_embedding_is_one_row_of_float32(vector):
    with pytest.raises(ValueError, match="expected a float32 vector"):
        Embedding(vector, "a")


def test_an_embedding_is_only_given_to_its_own_engine():
    embedding = Embedding(np.arange(3, dtype=np.float32), "yunet+dlib/1")
    assert embedding.require("yunet+dlib/1") is embedding.vector
    for other in ("", "yunet+dlib/2", "yunet+dlib", "YUNET+DLIB/1"):
        with pytest.raises(EngineMismatch) as caught:
            embedding.require(other)
        assert "'yunet+dlib/1'" in str(caught.value) and repr(other) in str(caught.value)


def test_values_are_frozen_and_take_no_other_attributes():
    embedding = Embedding(np.zeros(3, np.float32), "a")
    for value in (some_faces(1), embedding, Template("x", "p", embedding), Candidate("x", 0.5), Match(None, None, 0.6)):
        with pytest.raises((AttributeError, TypeError)):
            value.subjct = "typo"
        assert not hasattr(value, "__dict__")


def test_landmark_schemes_name_five_points_each():
    assert {len(points) for points in LANDMARK_SCHEMES.values()} == {5}
