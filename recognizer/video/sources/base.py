"""What all camera sources share: errors, pictures, and how they are stopped.

A frame reader lives on the camera's thread. It returns each picture as a `Shot`, which costs nothing until its pixels are
needed: a JPEG that a newer one replaces is never decoded, and a picture in shared memory is never copied.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np


class SourceLost(Exception):
    """The source cannot be opened, or has failed. The text is for people, and contains no secrets."""


class SourceEnded(Exception):
    """A recording that is played once has ended, or cannot be played: `reason`.

    `skipped` is the number of pictures that were skipped after the last one.
    """

    def __init__(self, reason: str = "the recording is over", skipped: int = 0):
        super().__init__(reason)
        self.skipped = skipped


class Stopper:
    """Ends everything in which a camera's thread may wait. One per run of a camera."""

    def __init__(self):
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []

    @property
    def stopped(self) -> bool:
        return self._event.is_set()

    def stop(self) -> None:
        """End the run, and interrupt everything that registered with `calling`."""
        with self._lock:
            self._event.set()
            calls = list(self._calls)
        for call in calls:
            with contextlib.suppress(OSError):
                call()

    def wait(self, seconds: float) -> bool:
        """Wait; True as soon as the run is to end."""
        return self._event.wait(seconds)

    @contextlib.contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Within the block, `stop` calls `call`, from its own thread."""
        with self._lock:
            self._calls.append(call)
            stopped = self._event.is_set()
        try:
            if stopped:
                with contextlib.suppress(OSError):
                    call()
            yield
        finally:
            with self._lock:
                self._calls.remove(call)


class Shot:
    """A picture that has arrived, and may not be decoded yet.

    Parameters
    ----------
    load : callable
        Returns the pixels, RGB uint8 (H, W, 3); called at most once. It may raise `BrokenShot`.
    time, taken, position
        As in `results.Frame`.
    skipped : int
        Pictures that the reader skipped before this one.
    same : bool
        Whether it equals the picture before it in every pixel.
    release : callable, optional
        Called when the pixels are no longer needed, instead of `load` or after it.
    glance : callable, optional
        Returns a small grey copy of the picture, uint8 (rows, columns), for much less than `load` costs; None if it cannot.
    size : int, optional
        Bytes of the picture, if each one is compressed for itself.
    """

    __slots__ = ("_load", "_release", "glance", "position", "same", "size", "skipped", "taken", "time")

    def __init__(self, load, time, taken, position=None, skipped=0, same=False, release=None, glance=lambda: None, size=None):
        self._load, self._release, self.glance, self.size = load, release, glance, size
        self.time, self.taken, self.position = time, taken, position
        self.skipped, self.same = skipped, same

    def load(self) -> np.ndarray:
        try:
            return self._load()
        finally:
            self.release()

    def release(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()


class BrokenShot(Exception):
    """A picture that cannot be decoded; the next one may be sound."""


class FrameReader(Protocol):
    """A source that is open, or being opened."""

    def read(self, timeout: float) -> Shot | None:
        """The next picture; None if none arrived within `timeout` seconds, or if the camera is to stop.

        Raises
        ------
        SourceLost, SourceEnded
        """

    def close(self) -> None:
        """Release everything, before returning."""
