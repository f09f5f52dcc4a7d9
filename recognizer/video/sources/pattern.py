"""A moving test pattern. Every frame shows its number and time, as text and as bars that a program can read.

Along the lower edge run two rows of black and white cells: the frame's number, and the milliseconds since the epoch, each
as 32 bits, the highest first, and 8 bits of check. They survive JPEG and scaling, so that a benchmark can determine at the
viewer which frame it sees and how old it is.
"""

from __future__ import annotations

import time as clock

import numpy as np

_BITS = 40
_ROWS = 45  # heights of a row of cells in a frame
_STEP = 4  # pixels that the background moves per frame


class Pattern:
    """Draws the frames of one pattern.

    Parameters
    ----------
    width, height : int
        At least 64 each.
    """

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self._wide = _background(width, height)

    def draw(self, number: int, time: float) -> np.ndarray:
        """The frame `number` as it is at `time`, seconds since the epoch: RGB uint8 (height, width, 3), a new array."""
        import cv2

        offset = number * _STEP % self.width
        frame = np.ascontiguousarray(self._wide[:, offset : offset + self.width])
        x = int((np.sin(number / 40) * 0.4 + 0.5) * self.width)
        y = int((np.cos(number / 27) * 0.3 + 0.45) * self.height)
        cv2.circle(frame, (x, y), self.height // 12, (250, 250, 250), -1, cv2.LINE_AA)
        scale = self.height / 480
        stamp = clock.strftime("%H:%M:%S", clock.localtime(time)) + f".{int(time * 1000) % 1000:03d}"
        for line, text in enumerate((stamp, f"frame {number}")):
            place = (int(16 * scale), int((48 + 44 * line) * scale))
            for colour, width in (((0, 0, 0), 6), ((255, 255, 255), 2)):
                cv2.putText(
                    frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, 1.2 * scale, colour, max(1, round(width * scale)), cv2.LINE_AA
                )
        self._write(frame, 0, number)
        self._write(frame, 1, int(time * 1000))
        return frame

    def _write(self, frame: np.ndarray, row: int, value: int) -> None:
        bits = _bits(value)
        columns = np.arange(self.width) * _BITS // self.width
        bottom, cell = self.height - row * self.height / _ROWS, self.height / _ROWS
        frame[round(bottom - cell) : round(bottom)] = (bits[columns] * 255)[None, :, None]


def read(pixels: np.ndarray) -> tuple[int, int] | None:
    """The frame's number and milliseconds since the epoch, both modulo 2**32; None if the bars cannot be read.

    `pixels` is the whole frame at any size, RGB or grey.
    """
    height, width = pixels.shape[:2]
    grey = pixels if pixels.ndim == 2 else pixels[..., 1]
    columns = ((np.arange(_BITS) + 0.5) * width / _BITS).astype(int)
    values = []
    for row in range(2):
        y = int(height - (row + 0.5) * height / _ROWS)
        value = _value(grey[y, columns] > 127)
        if value is None:
            return None
        values.append(value)
    return values[0], values[1]


def age(milliseconds: int, now: float) -> float:
    """Seconds from the time that `read` returned to `now`, seconds since the epoch."""
    return ((int(now * 1000) - milliseconds + (1 << 31)) % (1 << 32) - (1 << 31)) / 1000


def _check(value: int) -> int:
    return (sum(value >> shift & 255 for shift in (0, 8, 16, 24)) + 85) & 255


def _bits(value: int) -> np.ndarray:
    value &= 0xFFFFFFFF
    whole = value << 8 | _check(value)
    return np.array([whole >> bit & 1 for bit in range(_BITS - 1, -1, -1)], np.uint8)


def _value(bits: np.ndarray) -> int | None:
    whole = int("".join("1" if bit else "0" for bit in bits), 2)
    value, check = whole >> 8, whole & 255
    return value if check == _check(value) else None


def _background(width: int, height: int) -> np.ndarray:
    """Coloured stripes on a gradient, twice as wide as a frame: each frame is `width` columns of it."""
    x = np.arange(width)
    stripes = np.array([(180, 60, 60), (60, 160, 70), (60, 80, 190), (170, 150, 50)], np.float32)[x * 8 // width % 4]
    shade = np.linspace(0.35, 1.0, height, dtype=np.float32)[:, None, None]
    one = (stripes[None] * shade).astype(np.uint8)
    return np.concatenate([one, one], axis=1)
