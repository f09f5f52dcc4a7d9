"""Detectors that look at each picture once. Some tests ask for the faces of the same photo twenty times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np

from recognizer.engines.dlib.native import HogDetector
from recognizer.engines.dlib.onnx import Mmod


def remembered(find: Callable[..., Any]) -> Callable[..., Any]:
    """`find(self, pixels, *options)` which answers a question that it has answered from memory."""
    answers: dict[tuple, Any] = {}

    @wraps(find)
    def ask(self, pixels: np.ndarray, *options):
        question = (pixels.shape, str(pixels.dtype), pixels.tobytes(), options)
        if question not in answers:
            answers[question] = find(self, pixels, *options)
        return answers[question]

    return ask


@contextlib.contextmanager
def looking_once() -> Iterator[None]:
    """HOG and mmod find the faces of each picture once, and are themselves asked for everything else."""
    with (
        patch.object(HogDetector, "raw_rectangles", remembered(HogDetector.raw_rectangles)),
        patch.object(Mmod, "detect", remembered(Mmod.detect)),
    ):
        yield
