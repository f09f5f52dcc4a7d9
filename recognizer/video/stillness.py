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
#: Seconds for which a compressed picture of the usual size passes for one that shows the same, before it is compared again.
UNSEEN = 0.15
#: Sizes of so many compared pictures are known before one is usual, and the newest one's weight in the means.
_KNOWN, _NEWEST = 8, 0.1
#: A size is usual up to so many mean deviations, or bytes, from the mean one.
_DEVIATIONS, _BYTES = 3.0, 8.0
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


class UsualSizes:
    """The sizes in bytes of compressed pictures that show the same: they vary with the noise, by a thousandth. Whoever enters
    changes the size by more, unless all of him is hardly larger than a face that is just detected."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._deviation = 0.0

    def note(self, size: int) -> None:
        """Note the size of a picture that shows the same as the one before."""
        self._count += 1
        weight = max(_NEWEST, 1 / self._count)
        deviation = abs(size - self._mean) if self._count > 1 else 0.0
        self._mean += weight * (size - self._mean)
        self._deviation += weight * (deviation - self._deviation)

    def forget(self) -> None:
        """The picture shows something else now."""
        self._count = 0

    def has(self, size: int) -> bool:
        """Whether a picture of this size may show the same as those that were noted."""
        return self._count >= _KNOWN and abs(size - self._mean) <= max(_DEVIATIONS * self._deviation, _BYTES)
