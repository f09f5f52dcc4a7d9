"""The default detector: YuNet, small and quick, with five landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..types import Faces, check_pixels
from .yunet_ort import YuNet

#: Boxes of a lower score are not faces often enough to be worth a reply (benchmarks/detection.py).
MIN_SCORE = 0.6


class YunetDetector:
    """See `base.Detector`.

    Parameters
    ----------
    model : path of face_detection_yunet_2023mar.onnx
    score : float
        Faces below this score are left out.
    """

    name = "yunet"
    preferred_size = 640

    def __init__(self, model: Path, score: float = MIN_SCORE, threads: int = 1, provider: str = "cpu"):
        self._network = YuNet(model, threads, score, provider=provider)

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 (H, W, 3) at the size it has; see `base.Detector`."""
        rows = self._network.raw(check_pixels(pixels)).astype(np.float64)
        rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        return Faces(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2).astype(np.float32), "yunet5")
