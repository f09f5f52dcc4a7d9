"""SFace: the second embedder, 128-d cosine, given as unit vectors so that Euclidean distance ranks as cosine does.

Zhong et al.: "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP (2021); weights from
opencv_zoo (Apache-2.0).
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from .. import geometry
from ..types import Faces, check_pixels

CHIP = 112


def chips(pixels: np.ndarray, faces: Faces) -> np.ndarray:
    """The faces turned and scaled as SFace expects them: RGB uint8 (n, 112, 112, 3)."""
    import cv2

    reference = geometry.ARCFACE_DLIB_POINTS if faces.scheme == "dlib5" else geometry.ARCFACE_POINTS
    out = np.empty((len(faces), CHIP, CHIP, 3), np.uint8)
    for chip, points in zip(out, faces.landmarks, strict=True):
        cv2.warpAffine(pixels, geometry.similarity(points, reference), (CHIP, CHIP), dst=chip)
    return out


class SfaceEmbedder:
    """SFace on OpenCV, one network per thread."""

    name = "sface"
    dim = 128

    def __init__(self, model: Path):
        self._model = str(model)
        self._local = threading.local()

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces by unit vectors; see `base.Embedder`."""
        raw = self._raw_features(chips(check_pixels(pixels), faces))
        return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)

    def _raw_features(self, faces: np.ndarray) -> np.ndarray:
        import cv2

        network = getattr(self._local, "network", None)
        if network is None:
            network = self._local.network = cv2.FaceRecognizerSF.create(self._model, "")
        rows = [network.feature(cv2.cvtColor(chip, cv2.COLOR_RGB2BGR)) for chip in faces]
        return np.array(rows, np.float32).reshape(-1, self.dim)
