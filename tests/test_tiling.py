"""Detection on tiles of a very large copy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.core.types import Faces
from recognizer.engines import tiling


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    """Left, top, right, bottom and score of each."""
    table = np.array(rows, float).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4], np.repeat(table[:, None, :2], 5, axis=1).astype(np.float32), "yunet5")


class Squares:
    """Finds white squares, also what is visible of one that is cut off, with a lower score."""

    name, preferred_size, finds_in_tiles = "squares", 640, True

    def __init__(self, side: int):
        self.side = side

    def detect(self, pixels: np.ndarray) -> Faces:
        import cv2

        _, _, found, _ = cv2.connectedComponentsWithStats((pixels[..., 0] > 128).astype(np.uint8))
        rows = [(x, y, x + w, y + h, 0.6 + 0.3 * area / self.side**2) for x, y, w, h, area in found[1:]]
        return faces(*rows)


@given(st.integers(1, 9000))
def test_tiles_cover_a_side_and_overlap_enough(length):
    places = tiling.starts(length)
    assert places[0] == 0 and places[-1] + tiling.TILE >= length
    assert places[-1] == max(0, length - tiling.TILE)
    assert all(0 < after - before <= tiling.TILE - tiling.OVERLAP for before, after in zip(places, places[1:], strict=False))


@given(st.integers(4, 20_000), st.integers(4, 20_000))
def test_a_copy_is_limited(width, height):
    size = tiling.copy_size(width, height)
    assert size <= max(width, height)
    assert size**2 * min(width, height) / max(width, height) <= 1.01 * tiling.MOST_PIXELS + size


def test_a_face_on_the_border_of_tiles_is_found_once_and_whole():
    side, pixels = 60, np.zeros((1500, 2600, 3), np.uint8)
    edges = [end for left, _, end, _ in tiling.tiles(2600, 1500)] + [left for left, *_ in tiling.tiles(2600, 1500)]
    places = sorted({(x, y) for x in edges for y in (20, 490, 900, 1400) if 40 < x < 2560})
    places = [each for i, each in enumerate(places) if all(np.hypot(*np.subtract(each, b)) > 90 for b in places[:i])]
    for x, y in places:
        pixels[y : y + side, x - 30 : x + 30] = 255
    found = tiling.detect(Squares(side), pixels)
    assert sorted(map(tuple, found.boxes.tolist())) == sorted((x - 30, y, x + 30, y + side) for x, y in places)
    assert np.all(np.diff(found.scores) <= 0)


def test_a_face_that_the_photo_cuts_is_found_at_its_edge():
    pixels = np.zeros((1200, 1200, 3), np.uint8)
    pixels[500:560, 1160:] = pixels[1180:, 500:560] = 255
    assert len(tiling.detect(Squares(60), pixels)) == 2


@pytest.mark.parametrize(
    "one, other, count",
    [
        ([], [], 0),
        ([(0, 0, 10, 10, 0.9)], [], 1),
        ([], [(0, 0, 10, 10, 0.9)], 1),
        ([(0, 0, 10, 10, 0.9)], [(1, 1, 11, 11, 0.8)], 1),
        ([(0, 0, 100, 100, 0.9)], [(10, 10, 40, 40, 0.8)], 1),  # part of a better one
        ([(0, 0, 100, 100, 0.7)], [(200, 0, 230, 30, 0.8)], 2),
    ],
)
def test_faces_of_two_passes_are_joined(one, other, count):
    assert len(tiling.joined(faces(*one), faces(*other))) == count
