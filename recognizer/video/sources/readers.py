"""Opens what a camera reads from: the test pattern, a folder of photos, a connection, or a process that decodes."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from recognizer.core.errors import RecognizerError
from recognizer.video.sources.base import BrokenShot, FrameReader, Shot, SourceEnded, SourceLost, Stopper
from recognizer.video.sources.confined import open_file, read_start
from recognizer.video.sources.http_camera import open_http
from recognizer.video.sources.pattern import Pattern
from recognizer.video.sources.process import ProcessReader, decoder_config
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.source import CameraSource, pattern_size

#: Long side in pixels above which stills are scaled down: they are shown as video.
STILL_SIDE = 1920
#: Seconds for which each still is shown.
STILL_SECONDS = 2.0
_MOST_STILL_BYTES = 50_000_000


def open_reader(source: CameraSource, *, stopper: Stopper, reach: Reach, paced: bool, timeout: float) -> FrameReader:
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
        return open_http(source, stopper, reach, timeout)
    config = decoder_config(source, stopper, reach, paced, timeout)
    if "descriptor" not in config:
        return ProcessReader(config, stopper)
    try:
        return ProcessReader(config, stopper, inherit=(config["descriptor"],))
    finally:
        os.close(config["descriptor"])


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

    def __init__(self, source: CameraSource, stopper: Stopper, paced: bool):
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

    def __init__(self, source: CameraSource, stopper: Stopper, paced: bool):
        self._folder, self._loop = Path(source.address), source.loop
        # a link among the photos does not lead out of the folder, whoever named it
        self._source = source if source.root else replace(source, root=os.path.realpath(source.address))
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
        self._left = [path for path in map(self._folder.joinpath, self._names()) if self._is_photo(path)]
        self._rounds += 1
        if not self._left:
            if not self._loop:
                raise SourceEnded("there is no photo in this folder")
            raise SourceLost("there is no photo in this folder")

    def _names(self) -> list[str]:
        """The folder's files that are not hidden, by name."""
        try:
            if os.listdir not in os.supports_fd:
                names = os.listdir(self._folder)
            else:
                number = open_file(self._source)
                try:
                    names = os.listdir(number)
                finally:
                    os.close(number)
        except OSError:
            return []
        return sorted(name for name in names if not name.startswith("."))

    def _is_photo(self, path: Path) -> bool:
        from recognizer.photos.image_headers import sniff

        try:
            return sniff(read_start(self._source, path, 64)) is not None
        except OSError:
            return False

    def _pixels(self, path: Path) -> np.ndarray:
        from recognizer.photos import images

        try:
            data = read_start(self._source, path, _MOST_STILL_BYTES + 1)
            pixels = images.decode(data, max_bytes=_MOST_STILL_BYTES, long_side=STILL_SIDE).pixels
        except (OSError, RecognizerError):
            raise BrokenShot from None
        return images.resize(pixels, STILL_SIDE)

    def close(self) -> None:
        self._left = []
