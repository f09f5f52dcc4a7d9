"""SFace: the second embedder, 128-d cosine, given as unit vectors so that Euclidean distance ranks as cosine does.

Zhong et al.: "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP (2021); weights from
opencv_zoo (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import geometry
from ..types import Faces, check_pixels
from .base import parted
from .dlib import points_of, shapes
from .sface_ort import SFaceNet

CHIP = 112


def chips(pixels: np.ndarray, faces: Faces, dlib_shapes: list | None = None) -> np.ndarray:
    """The faces turned and scaled as SFace expects them: RGB uint8 (n, 112, 112, 3).

    YuNet's five points and dlib's are used together, since each has errors of its own: on LFW's development view that cut
    the false non-matches at a false-match rate of 1 in 10,000 by a quarter, against YuNet's points alone. `dlib_shapes` are
    what `dlib.shapes` gives, if somebody has it already.
    """
    import cv2

    points, reference = faces.landmarks, geometry.ARCFACE_DLIB_POINTS
    if faces.scheme != "dlib5":
        dlibs = [points_of(shape) for shape in dlib_shapes or shapes(pixels, faces)]
        points = np.concatenate([points, np.array(dlibs, np.float32).reshape(-1, 5, 2)], axis=1)
        reference = np.concatenate([geometry.ARCFACE_POINTS, geometry.ARCFACE_DLIB_POINTS])
    out = np.empty((len(faces), CHIP, CHIP, 3), np.uint8)
    for chip, each in zip(out, points, strict=True):
        cv2.warpAffine(pixels, geometry.similarity(each, reference), (CHIP, CHIP), dst=chip)
    return out


class SfaceEmbedder:
    """See `base.Embedder`.

    Parameters
    ----------
    model : path of face_recognition_sface_2021dec.onnx
    """

    name = "sface"
    dim = 128
    holds_lock = False

    def __init__(self, model: Path, threads: int = 1, provider: str = "cpu"):
        self._network = SFaceNet(model, threads, provider)

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces by unit vectors; see `base.Embedder`."""
        return self.embed_all([(pixels, faces)])[0]

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """Describe the faces of several photos; see `base.Embedder`."""
        return self.embed_shapes([(check_pixels(pixels), faces, None) for pixels, faces in photos])

    def embed_shapes(self, photos: Sequence[tuple[np.ndarray, Faces, list | None]]) -> list[np.ndarray]:
        """`embed_all`, with dlib's landmarks from somebody who has them already."""
        cut = [chips(*photo) for photo in photos]
        raw = self._network.describe(np.concatenate(cut)) if cut else np.zeros((0, self.dim), np.float32)
        return parted(raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-12), cut)
