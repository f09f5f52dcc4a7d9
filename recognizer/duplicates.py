"""Which photos of a subject are one picture, written again or at another size: only one of them becomes a template.

More copies of one picture say nothing more about a face, yet each would cost every search its time and be counted as
one more chance of a false match.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .encodings import Encoding
from .geometry import iou

#: Two photos are one picture if their templates are nearer than this share of the engine's threshold ...
DISTANCE_SHARE = 0.35
#: ... and their faces' boxes, each as a share of its photo, have at least this intersection over union (benchmarks/duplicates.py
#: prints what both are worth) ...
LEAST_OVERLAP = 0.75
#: ... and the photos' sides have the same ratio, but for this share: sizes are whole pixels.
RATIO_SHARE = 0.02


def placed(encoding: Encoding) -> np.ndarray:
    """The face's box as a share of the photo's sides, and the ratio of those; float64 (5,)."""
    width, height = encoding.width, encoding.height
    left, top, right, bottom = encoding.box
    return np.array([left / width, top / height, right / width, bottom / height, width / height])


def same_picture(one: Encoding, other: Encoding, distance: float) -> bool:
    """Whether two usable encodings are of one picture; `distance` is the largest that is allowed between them."""
    a, b = placed(one), placed(other)
    if abs(a[4] / b[4] - 1) > RATIO_SHARE or iou(a[:4], b[None, :4])[0] < LEAST_OVERLAP:
        return False
    return float(np.linalg.norm(one.vector - other.vector)) <= distance
