"""The default detector: YuNet, a small and fast network that also finds five landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recognizer.core.types import Faces, check_pixels
from recognizer.engines.prepared import Origin
from recognizer.engines.yunet_ort import YuNet

#: Boxes with a lower score are too rarely faces to be reported (benchmarks/detection.py).
MIN_SCORE = 0.6


class YunetDetector:
    """A detector; see `protocols.Detector`.

    Parameters
    ----------
    model : path of face_detection_yunet_2023mar.onnx
    score : float
        Faces with a lower score are ignored.
    threads : int
        Number of threads for one call.
    provider : str
        See `runtime.PROVIDERS`.
    origin : Origin, optional
        Where the rewritten network is stored.
    """

    name = "yunet"
    preferred_size = 640
    finds_in_tiles = True

    def __init__(
        self,
        model: Path,
        score: float = MIN_SCORE,
        threads: int = 1,
        provider: str = "cpu",
        origin: Origin | None = None,
    ):
        self._network = YuNet(model, threads, score, provider=provider, origin=origin)

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 pixels, shape (H, W, 3), without resizing them; see `protocols.Detector`."""
        rows = self._network.raw(check_pixels(pixels)).astype(np.float64)
        rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        return Faces(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2).astype(np.float32), "yunet5")
