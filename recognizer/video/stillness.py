"""Whether two pictures of a camera show the same, but for noise: then what was found in the first holds for the second.

A picture is compared as a small copy, each of whose cells is the mean of many pixels, so that noise cancels out and a face
does not: one of the smallest that are detected covers four cells.
"""

from __future__ import annotations

import numpy as np

#: Levels, of 255, by which no cell differs between two pictures that show the same.
DIFFERENCE = 8
#: Seconds after which a picture is examined although nothing seems to have changed.
SAFETY = 1.0
#: Pixels of the long side of which the small copy is made, and the side of a cell in these.
_SAMPLED, _CELL = 640, 4


def small_copy(pixels: np.ndarray) -> np.ndarray:
    """A small copy, uint8 (rows, columns), of RGB uint8 pixels (H, W, 3): the mean green of each cell."""
    import cv2

    step = max(1, max(pixels.shape[:2]) // _SAMPLED)
    green = np.ascontiguousarray(pixels[::step, ::step, 1])
    size = max(1, green.shape[1] // _CELL), max(1, green.shape[0] // _CELL)
    return cv2.resize(green, size, interpolation=cv2.INTER_AREA)


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two small copies are of pictures that show the same."""
    import cv2

    return one.shape == other.shape and int(cv2.absdiff(one, other).max()) <= DIFFERENCE
