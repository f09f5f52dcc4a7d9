"""YuNet: the default detector, small and quick, with five landmarks.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20 (2023); weights
from opencv_zoo (MIT).
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from ..types import Faces, check_pixels

#: Boxes of a lower score are not faces often enough to be worth a reply (docs/accuracy.md).
MIN_SCORE = 0.6
#: IoU above which two boxes are one face, as in the model's own demo.
NMS_IOU = 0.3


class YunetDetector:
    """YuNet on OpenCV. One network per thread, since cv2.FaceDetectorYN remembers its input size.

    Parameters
    ----------
    model : path of face_detection_yunet_2023mar.onnx
    score : float
        Faces below this score are left out.
    """

    name = "yunet"
    preferred_size = 640

    def __init__(self, model: Path, score: float = MIN_SCORE):
        self._model = str(model)
        self._score = score
        self._local = threading.local()

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 (H, W, 3) at the size it has; see `base.Detector`."""
        rows = self._raw_rows(check_pixels(pixels))
        if rows is None or len(rows) == 0:
            return Faces.empty("yunet5")
        rows = rows[np.argsort(-rows[:, 14], kind="stable")].astype(np.float64)
        rows = rows[(rows[:, 2] > 0) & (rows[:, 3] > 0)]
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        return Faces(boxes, rows[:, 14], rows[:, 4:14].reshape(-1, 5, 2).astype(np.float32), "yunet5")

    def _raw_rows(self, pixels: np.ndarray) -> np.ndarray | None:
        """Rows of left, top, width, height, five points, score, as cv2.FaceDetectorYN gives them."""
        import cv2

        network = getattr(self._local, "network", None)
        if network is None:
            network = self._local.network = cv2.FaceDetectorYN.create(
                self._model, "", (320, 320), self._score, NMS_IOU, 5000
            )
        height, width = pixels.shape[:2]
        network.setInputSize((width, height))
        return network.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1]
