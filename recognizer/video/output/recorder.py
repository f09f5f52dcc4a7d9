"""Writes pictures to a video file, each for the duration for which it was shown."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.core.types import check_pixels

if TYPE_CHECKING:
    import cv2

#: Codecs that OpenCV's wheels can write, by the file's extension.
CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".avi": "MJPG", ".mkv": "mp4v"}
#: Frames per second if the source does not report a rate.
USUAL_RATE = 25.0
#: A pause longer than this, in seconds, is shown as long as this.
LONGEST_PAUSE = 10.0
#: Number of pictures that are buffered at first to measure their intervals: the first ones of a camera are irregular.
_HELD = 5


class Recorder:
    """A video file of constant rate, made of pictures at irregular times. One caller at a time; it blocks.

    Parameters
    ----------
    path : path
        Ends in one of `CODECS`. An existing file is replaced.
    rate : float, optional
        Frames per second; by default from the intervals of the first few pictures.

    Raises
    ------
    InvalidParameter
        The extension is none of those.
    """

    def __init__(self, path: str | Path, rate: float | None = None):
        self.path, self.written = Path(path), 0
        codec = CODECS.get(self.path.suffix.lower())
        if codec is None:
            raise InvalidParameter(f"expected a video file that ends in {', '.join(CODECS)}")
        self._codec, self._rate = codec, rate
        self._writer: cv2.VideoWriter | None = None
        self._held: list[tuple[np.ndarray, float]] = []
        self._size = (0, 0)
        self._first = 0.0
        self._last: tuple[np.ndarray, float] | None = None

    def add(self, pixels: np.ndarray, time: float) -> None:
        """Add an RGB uint8 picture (H, W, 3), shown from `time`, in seconds, until the next one.

        Raises
        ------
        StorageError
            The file cannot be written.
        """
        if self._rate is None:
            self._held.append((check_pixels(pixels), time))
            if len(self._held) == _HELD:
                self._begin()
        else:
            self._take(pixels, time)

    def _begin(self) -> None:
        """Decide the rate, and write the buffered pictures."""
        held, self._held = self._held, []
        gaps = [time - before for (_, before), (_, time) in zip(held, held[1:], strict=False) if time > before]
        self._rate = min(120.0, max(1.0, 1 / statistics.median(gaps))) if gaps else USUAL_RATE
        for pixels, time in held:
            self._take(pixels, time)

    def _take(self, pixels: np.ndarray, time: float) -> None:
        if self._last is None:
            self._last = check_pixels(pixels), time
            self._first = time
            return
        before, since = self._last
        passed = min(time - since, LONGEST_PAUSE)
        if passed <= 0:
            self._last = pixels, since
            return
        self._first += time - since - passed  # the part that is cut from a pause is not compensated
        self._write(before, round((time - self._first) * (self._rate or USUAL_RATE)))
        self._last = check_pixels(pixels), time

    def _write(self, pixels: np.ndarray, until: int) -> None:
        """Repeat a picture until so many are in the file."""
        import cv2

        writer = self._writer or self._open(pixels.shape[1], pixels.shape[0])
        if pixels.shape[1::-1] != self._size:
            pixels = cv2.resize(pixels, self._size, interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        while self.written < until:
            writer.write(bgr)
            self.written += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        import cv2

        self._size = width - width % 2, height - height % 2  # the codecs need even sizes
        code = cv2.VideoWriter.fourcc(*self._codec)
        self._writer = writer = cv2.VideoWriter(str(self.path), code, self._rate or USUAL_RATE, self._size)
        if not writer.isOpened():
            raise StorageError(f"the video file {self.path.name!r} cannot be written")
        return writer

    def close(self) -> None:
        """Write the remaining pictures and close the file."""
        if self._held:
            self._begin()
        if self._last is not None:
            self._write(self._last[0], self.written + 1)
            self._last = None
        if self._writer is not None:
            self._writer.release()
            self._writer = None
