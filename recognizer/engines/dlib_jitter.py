"""Jittered copies of a face chip: the very ones that dlib makes, but the same on every call.

dlib draws them from a generator that lives in its model (or, in `dlib.jitter_image`, in the process), so its second
call gives other copies than its first. Here each chip starts the generator anew: what is enrolled from a photo
depends on the photo alone.
"""

from __future__ import annotations

import functools
import math

import numpy as np

_SEED, _DISCARDED = 5489, 10_000  # of dlib's default generator, a Mersenne twister
_LARGEST_TURN = 3 * math.pi / 180
_SHIFT = 0.02
_LEAST_SCALE, _LARGEST_SCALE = 0.97, 0.99999
_EDGE = 3
_DRAWS = 5  # numbers that one copy takes


def jittered(chip: np.ndarray, count: int) -> np.ndarray:
    """`count` copies of a chip, slightly moved, scaled and turned, half of them mirrored.

    Parameters
    ----------
    chip : ndarray of uint8, shape (side, side, 3)

    Returns
    -------
    ndarray of uint8, shape (count, side, side, 3)
    """
    return np.array([_copy(chip, draws) for draws in _draws(count)], np.uint8).reshape(-1, *chip.shape)


def _copy(chip: np.ndarray, draws: np.ndarray) -> np.ndarray:
    import dlib

    side = len(chip)
    inner = side - 2 * _EDGE
    # the vertical shift is drawn first: so do the compilers that dlib's Linux wheels are made with
    shift_y, shift_x = (math.floor((2 * draw - 1) * _SHIFT * inner + 0.5) for draw in draws[:2])
    box = int(inner / (_LEAST_SCALE + draws[2] * (_LARGEST_SCALE - _LEAST_SCALE)))
    left, top = side // 2 + shift_x - box // 2, side // 2 + shift_y - box // 2
    angle = (2 * draws[3] - 1) * _LARGEST_TURN
    place = dlib.rectangle(left, top, left + box - 1, top + box - 1)
    copy = dlib.extract_image_chip(chip, dlib.chip_details(place, dlib.chip_dims(side, side), angle))
    return copy[:, ::-1] if draws[4] > 0.5 else copy


@functools.lru_cache(maxsize=4)
def _draws(count: int) -> np.ndarray:
    """Numbers in [0, 1) of 48 bits, as dlib's rand draws them from a fresh generator; float64 (count, 5)."""
    words = np.random.RandomState(_SEED).randint(0, 1 << 32, _DISCARDED + 2 * _DRAWS * count, np.uint32)
    words = (words[_DISCARDED:] & 0xFFFFFF).astype(np.float64)
    return ((words[0::2] * 2.0**24 + words[1::2]) / (2.0**48 - 1 + 0.05)).reshape(count, _DRAWS)
