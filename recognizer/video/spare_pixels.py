"""Memory for pictures that is used again once nobody has the picture in it any more.

A picture of 720p takes 2.7 MB. Fresh memory of that size comes from the system page by page, which takes ten times as long as
copying a picture into memory that the process has already.
"""

from __future__ import annotations

import sys
import threading

import numpy as np

#: References to an array that only a list has, as `sys.getrefcount` counts them.
_ALONE = (lambda only: sys.getrefcount(only[0]))([np.empty(0)])


class SparePixels:
    """Arrays for pictures. Thread-safe.

    An array is given again only while nothing but this object refers to it: neither a frame, a view of its pixels, nor work
    that has not ended.

    Parameters
    ----------
    most : int
        Arrays that are kept at most. Whoever needs more gets new ones.
    """

    def __init__(self, most: int = 3):
        self._most = most
        self._lock = threading.Lock()
        self._kept: list[np.ndarray] = []

    def take(self, height: int, width: int) -> np.ndarray:
        """An array, uint8 (height, width, 3), with any content."""
        shape = height, width, 3
        with self._lock:
            kept = self._kept
            for index in range(len(kept)):
                if kept[index].shape == shape and sys.getrefcount(kept[index]) == _ALONE:
                    return kept[index]
            made = np.empty(shape, np.uint8)
            kept.append(made)
            if len(kept) > self._most:
                del kept[0]  # the oldest: its user frees it
            return made
