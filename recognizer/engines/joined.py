"""Two embedders side by side: [weight x dlib, unit SFace], 256-d Euclidean.

The squared distance is ``weight**2 * dlib's + SFace's``, which beats each alone (docs/accuracy.md). The first half
divided by the weight is face_recognition's own encoding.
"""

from __future__ import annotations

import numpy as np

from ..types import Faces, check_pixels
from .dlib import shapes
from .dlib_onnx import DlibOnnxEmbedder
from .sface import SfaceEmbedder

#: How much a dlib distance counts against one between SFace unit vectors; fitted on LFW's development view (docs/accuracy.md).
DLIB_WEIGHT = 1.0


class JoinedEmbedder:
    name = "dlib+sface"
    holds_lock = False

    def __init__(self, dlib: DlibOnnxEmbedder, sface: SfaceEmbedder, weight: float = DLIB_WEIGHT):
        self._dlib, self._sface = dlib, sface
        self._weight = np.float32(weight)
        self.dim = dlib.dim + sface.dim

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces; see `base.Embedder`."""
        pixels = np.ascontiguousarray(check_pixels(pixels))
        found = shapes(pixels, faces)  # both align by dlib's points
        first = self._dlib.embed_shapes(pixels, found)
        return np.hstack([first * self._weight, self._sface.embed_shapes(pixels, faces, found)])
