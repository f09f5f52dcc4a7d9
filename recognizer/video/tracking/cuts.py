"""Detects that a picture does not continue the previous one: a cut in a recording, a camera that turned. Pure."""

from __future__ import annotations

import numpy as np

#: Two pictures are of different scenes if their brightness correlates less than this from place to place, and differs by
#: more than so many of 255 levels on average. In the measuring clips the cuts are at 0.2 and less, all else is above 0.5.
CORRELATION, DIFFERENCE = 0.35, 10.0
_COLUMNS, _ROWS = 64, 36


class Cuts:
    """Compares each picture with the previous one, of which it stores a small copy."""

    def __init__(self):
        self._before: np.ndarray | None = None
        self._pixels: np.ndarray | None = None

    def is_cut(self, pixels: np.ndarray) -> bool:
        """Whether RGB uint8 pixels (H, W, 3) show another scene than the previous ones."""
        if pixels is self._pixels:  # as a camera that stands still gives them again
            return False
        self._pixels = pixels
        now, self._before, before = _sample(pixels), None, self._before
        self._before = now
        if before is None:
            return False
        if before.shape != now.shape:
            return True
        if float(np.abs(now - before).mean()) <= DIFFERENCE:
            return False
        one, other = now - now.mean(), before - before.mean()
        spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
        return spread <= 0 or float((one * other).sum()) / spread < CORRELATION


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Green values from all over the picture, averaged over four pixels each to reduce noise."""
    down, across = max(1, pixels.shape[0] // (2 * _ROWS)), max(1, pixels.shape[1] // (2 * _COLUMNS))
    places = pixels[::down, ::across, 1].astype(np.float32)
    places = places[: len(places) // 2 * 2, : places.shape[1] // 2 * 2]
    if not places.size:
        return pixels[..., 1].astype(np.float32)
    return (places[::2, ::2] + places[1::2, ::2] + places[::2, 1::2] + places[1::2, 1::2]) / 4
