"""SFace: the second embedder, 128-d cosine, given as unit vectors so that Euclidean distance ranks as cosine does.

Zhong et al.: "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP (2021); weights from
opencv_zoo (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import geometry
from ..types import Faces, check_pixels
from .sface_ort import SFaceNet

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
    """See `base.Embedder`.

    Parameters
    ----------
    model : path of face_recognition_sface_2021dec.onnx
    """

    name = "sface"
    dim = 128

    def __init__(self, model: Path, threads: int = 1, provider: str = "cpu"):
        self._network = SFaceNet(model, threads, provider)

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces by unit vectors; see `base.Embedder`."""
        raw = self._network.describe(chips(check_pixels(pixels), faces))
        return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12)
