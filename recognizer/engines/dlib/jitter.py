"""Jittered copies of a face chip: identical to dlib's, but the same on every call.

dlib draws random numbers from a generator that is part of its model (or, for `dlib.jitter_image`, of the process), so its
second call gives other copies than its first. Here the generator is reset for each chip: a template depends on the photo alone.
"""

from __future__ import annotations

import functools
import math

import numpy as np

_SEED, _DISCARDED = 5489, 10_000  # of dlib's default generator, a Mersenne Twister
_LARGEST_TURN = 3 * math.pi / 180
_SHIFT = 0.02
_LEAST_SCALE, _LARGEST_SCALE = 0.97, 0.99999
_EDGE = 3
_DRAWS = 5  # random numbers per copy


def jittered(chip: np.ndarray, count: int) -> np.ndarray:
    """`count` copies of a chip, slightly shifted, scaled and rotated, about half of them mirrored.

    Parameters
    ----------
    chip : ndarray of uint8, shape (side, side, 3)
    count : int

    Returns
    -------
    ndarray of uint8, shape (count, side, side, 3)
    """
    return np.array([_copy(chip, draws) for draws in _draws(count)], np.uint8).reshape(-1, *chip.shape)


def _copy(chip: np.ndarray, draws: np.ndarray) -> np.ndarray:
    import dlib

    side = len(chip)
    inner = side - 2 * _EDGE
    # the vertical shift is drawn first, as in dlib's Linux wheels: the order depends on the compiler
    shift_y, shift_x = (math.floor((2 * draw - 1) * _SHIFT * inner + 0.5) for draw in draws[:2])
    box = int(inner / (_LEAST_SCALE + draws[2] * (_LARGEST_SCALE - _LEAST_SCALE)))
    left, top = side // 2 + shift_x - box // 2, side // 2 + shift_y - box // 2
    angle = (2 * draws[3] - 1) * _LARGEST_TURN
    place = dlib.rectangle(left, top, left + box - 1, top + box - 1)
    copy: np.ndarray = dlib.extract_image_chip(chip, dlib.chip_details(place, dlib.chip_dims(side, side), angle))
    return copy[:, ::-1] if draws[4] > 0.5 else copy


@functools.lru_cache(maxsize=4)
def _draws(count: int) -> np.ndarray:
    """48-bit random numbers in [0, 1), as dlib's rand draws them from a new generator; float64 (count, 5)."""
    words = np.random.RandomState(_SEED).randint(0, 1 << 32, _DISCARDED + 2 * _DRAWS * count, np.uint32)
    numbers = (words[_DISCARDED:] & 0xFFFFFF).astype(np.float64)
    return ((numbers[0::2] * 2.0**24 + numbers[1::2]) / (2.0**48 - 1 + 0.05)).reshape(count, _DRAWS)
