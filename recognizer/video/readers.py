"""What a camera reads from: one interface over processes, connections, folders and patterns.

A reader lives on the camera's thread. It gives each picture as a `Shot`, which costs nothing until somebody wants its
pixels: a JPEG that a newer one replaces is never decoded, and a picture in shared memory never copied.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import RecognizerError
from .reach import Reach
from .source import Source, pattern_size

#: Long side in pixels above which stills are scaled down: they are shown as video.
STILL_SIDE = 1920
#: Seconds for which each still is shown.
STILL_SECONDS = 2.0
_MOST_STILL_BYTES = 50_000_000


class SourceLost(Exception):
    """The source cannot be opened, or gives no more. The text is for people, and holds nothing secret."""


class SourceEnded(Exception):
    """A recording that is played once is over, or cannot be played at all: `reason`.

    `skipped` pictures were passed over after the last one that was given.
    """

    def __init__(self, reason: str = "the recording is over", skipped: int = 0):
        super().__init__(reason)
        self.skipped = skipped


class Stopper:
    """Tells everything that a camera's thread may wait in that it is over. One per run of a camera."""

    def __init__(self):
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._calls: list[Callable[[], None]] = []

    @property
    def stopped(self) -> bool:
        return self._event.is_set()

    def stop(self) -> None:
        """Say that it is over, and break off what registered with `calling`."""
        with self._lock:
            self._event.set()
            calls = list(self._calls)
        for call in calls:
            with contextlib.suppress(OSError):
                call()

    def wait(self, seconds: float) -> bool:
        """Wait; True as soon as it is over."""
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
    """A picture that has come and whose pixels nobody may have wanted yet.

    Parameters
    ----------
    load : callable
        Gives the pixels, RGB uint8 (H, W, 3); called once at most. It may raise `BrokenShot`.
    time, taken, position
        As in `results.Frame`.
    skipped : int
        Pictures that the reader passed over before this one.
    same : bool
        Whether it equals the picture before it in every pixel.
    release : callable, optional
        Called when the pixels are not wanted any more, instead of `load` or after it.
    """

    __slots__ = ("_load", "_release", "position", "same", "skipped", "taken", "time")

    def __init__(self, load, time, taken, position=None, skipped=0, same=False, release=None):
        self._load, self._release = load, release
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
    """A picture that cannot be decoded; the next one may be whole."""


class Reader(Protocol):
    """A source that is open, or being opened."""

    def read(self, timeout: float) -> Shot | None:
        """The next picture; None when none came within `timeout` seconds, or when the camera is to stop.

        Raises
        ------
        SourceLost, SourceEnded
        """

    def close(self) -> None:
        """Free everything. Nothing is left when it returns."""


def open_reader(source: Source, *, stopper: Stopper, reach: Reach, paced: bool, timeout: float) -> Reader:
    """Begin to read a source. May wait for the network, until `stopper` stops it or `timeout` seconds have passed.

    Raises
    ------
    SourceLost, SourceEnded
    """
    if source.kind == "pattern":
        return PatternReader(source, stopper, paced)
    if source.kind == "stills":
        return StillsReader(source, stopper, paced)
    if source.kind == "http":
        from .http_camera import open_http

        return open_http(source, stopper, reach, timeout)
    from .process import ProcessReader, decoder_config

    return ProcessReader(decoder_config(source, stopper, reach, paced, timeout), stopper)


class _Pace:
    """When the next picture is due."""

    def __init__(self, stopper: Stopper, seconds: float, paced: bool):
        self._stopper, self._seconds, self._paced = stopper, seconds, paced
        self._due = time.perf_counter()

    def wait(self, timeout: float) -> bool:
        """Wait until the next picture is due; False when it is not within `timeout`, or the camera is to stop."""
        if not self._paced:
            return not self._stopper.stopped
        left = self._due - time.perf_counter()
        if left > timeout:
            self._stopper.wait(timeout)
            return False
        if left > 0 and self._stopper.wait(left):
            return False
        self._due = max(self._due + self._seconds, time.perf_counter() - self._seconds)
        return not self._stopper.stopped


class PatternReader:
    """The moving test pattern; see `pattern`."""

    def __init__(self, source: Source, stopper: Stopper, paced: bool):
        from .pattern import Pattern

        width, height, rate = pattern_size(source.address)
        self._pattern, self._rate = Pattern(width, height), rate
        self._pace = _Pace(stopper, 1 / rate, paced)
        self._number = 0

    def read(self, timeout: float) -> Shot | None:
        if not self._pace.wait(timeout):
            return None
        number, now = self._number, time.time()
        self._number += 1
        return Shot(lambda: self._pattern.draw(number, now), now, time.perf_counter(), number / self._rate)

    def close(self) -> None:
        pass


class StillsReader:
    """The photos of a folder, by name, one after the other. The folder is looked at anew each time round."""

    def __init__(self, source: Source, stopper: Stopper, paced: bool):
        self._folder, self._loop = Path(source.address), source.loop
        self._stopper = stopper
        self._pace = _Pace(stopper, STILL_SECONDS, paced)
        self._left: list[Path] = []
        self._shown, self._round, self._rounds = 0, 0, 0

    def read(self, timeout: float) -> Shot | None:
        if not self._left:
            self._next_round()
        if not self._pace.wait(timeout):
            return None
        path, now, number = self._left.pop(0), time.time(), self._shown
        self._shown += 1
        self._round += 1
        return Shot(lambda: self._pixels(path), now, time.perf_counter(), number * STILL_SECONDS)

    def _next_round(self) -> None:
        if self._rounds and not self._loop:
            raise SourceEnded("every photo of the folder was shown")
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            names = []
        self._left = [self._folder / name for name in names if not name.startswith(".") and _is_photo(self._folder / name)]
        self._rounds += 1
        if not self._left:
            if not self._loop:
                raise SourceEnded("there is no photo in this folder")
            raise SourceLost("there is no photo in this folder")

    def _pixels(self, path: Path) -> np.ndarray:
        from .. import images

        try:
            data = images.read_file(path, max_bytes=_MOST_STILL_BYTES)
            pixels = images.decode(data, max_bytes=_MOST_STILL_BYTES, long_side=STILL_SIDE).pixels
        except (OSError, RecognizerError):
            raise BrokenShot from None
        return images.resize(pixels, STILL_SIDE)

    def close(self) -> None:
        self._left = []


def _is_photo(path: Path) -> bool:
    from ..image_headers import sniff

    try:
        with path.open("rb") as file:
            return sniff(file.read(64)) is not None
    except OSError:
        return False
