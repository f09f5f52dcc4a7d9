"""Two embedders side by side: [weight x dlib, unit SFace], 256-d Euclidean.

The squared distance is ``weight**2 * dlib's + SFace's``, which beats each alone (docs/accuracy.md). The first half
divided by the weight is face_recognition's own encoding.
"""

from __future__ import annotations

import numpy as np

from ..types import Faces
from .base import Embedder

#: How much a dlib distance counts against one between SFace unit vectors; fitted on LFW's development view (docs/accuracy.md).
DLIB_WEIGHT = 1.0


class JoinedEmbedder:
    name = "dlib+sface"

    def __init__(self, dlib: Embedder, sface: Embedder, weight: float = DLIB_WEIGHT):
        self._parts = (dlib, sface)
        self._weight = np.float32(weight)
        self.dim = dlib.dim + sface.dim

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces; see `base.Embedder`."""
        first, second = (part.embed(pixels, faces) for part in self._parts)
        return np.hstack([first * self._weight, second])
