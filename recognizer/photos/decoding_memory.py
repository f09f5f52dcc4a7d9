"""Limits of size, and a bound on the memory of everything that is decoded at once, over all threads.

A small file can claim many pixels: an empty WebP of 34 bytes has as many as its header says. Photos are therefore admitted by
their header, and wait for each other if they would together take more memory than one photo of the largest size may.

Only JPEG can be decoded at a reduced scale, so that a photo of 200 megapixels takes little. All other formats are decoded
whole, and the largest size is smaller for them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

#: Default of the largest number of pixels of a photo: what phones of 200 megapixels take.
MAX_PIXELS = 210_000_000
#: Largest number of pixels that are decoded whole, unless `MAX_PIXELS` is set to more than three times this: panoramas and
#: cameras of 64 megapixels.
MAX_WHOLE = 70_000_000
#: Bytes per pixel that decoding takes at most.
BYTES_PER_PIXEL = 18


def whole_pixels(max_pixels: int) -> int:
    """The largest number of pixels that may be decoded at full scale, where a photo may have `max_pixels`."""
    return min(max_pixels, max(MAX_WHOLE, max_pixels // 3))


class DecodingMemory:
    """A bound on memory that threads share; those that wait are served in the order of their arrival."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._used = 0
        self._waiting: deque[object] = deque()
        self._freed = threading.Condition(self._lock)

    @property
    def used(self) -> int:
        """Bytes that are taken now."""
        with self._lock:
            return self._used

    @property
    def waiting(self) -> int:
        """Number of threads that wait."""
        with self._lock:
            return len(self._waiting)

    @contextmanager
    def taking(self, size: int, limit: int) -> Iterator[None]:
        """Take `size` bytes while the block runs; wait until at most `limit` are taken together, or none but these."""
        turn = object()
        with self._freed:
            self._waiting.append(turn)
            try:
                self._freed.wait_for(lambda: self._waiting[0] is turn and (not self._used or self._used + size <= limit))
                self._used += size
            finally:
                self._waiting.remove(turn)
                self._freed.notify_all()
        try:
            yield
        finally:
            with self._freed:
                self._used -= size
                self._freed.notify_all()

    def forked(self) -> None:
        """Start anew in a forked process, in which no other thread runs."""
        self._begin()


#: The memory of this process.
SHARED = DecodingMemory()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.forked)
