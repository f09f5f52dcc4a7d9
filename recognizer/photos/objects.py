"""Detection of objects of 80 classes: SSD MobileNetV3-large, trained on COCO, run by OpenCV.

The input of the network is the whole photo, resized to 320 x 320 pixels, so small objects in large photos are not detected.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core import geometry
from recognizer.core.errors import InvalidParameter, ModelCorrupt
from recognizer.core.types import Box, check_pixels
from recognizer.photos.results import FoundObject

NAME = "ssd-mobilenet-v3-large"
#: Keys of the weights (see `weights.manifest`).
WEIGHTS, GRAPH = "objects-weights", "objects-graph"

#: COCO's number of a class -> its label. COCO uses 80 of the numbers up to 90.
LABELS: dict[int, str] = {
    1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 6: "bus", 7: "train", 8: "truck", 9: "boat",
    10: "traffic light", 11: "fire hydrant", 13: "stop sign", 14: "parking meter", 15: "bench", 16: "bird", 17: "cat",
    18: "dog", 19: "horse", 20: "sheep", 21: "cow", 22: "elephant", 23: "bear", 24: "zebra", 25: "giraffe",
    27: "backpack", 28: "umbrella", 31: "handbag", 32: "tie", 33: "suitcase", 34: "frisbee", 35: "skis",
    36: "snowboard", 37: "sports ball", 38: "kite", 39: "baseball bat", 40: "baseball glove", 41: "skateboard",
    42: "surfboard", 43: "tennis racket", 44: "bottle", 46: "wine glass", 47: "cup", 48: "fork", 49: "knife",
    50: "spoon", 51: "bowl", 52: "banana", 53: "apple", 54: "sandwich", 55: "orange", 56: "broccoli", 57: "carrot",
    58: "hot dog", 59: "pizza", 60: "donut", 61: "cake", 62: "chair", 63: "couch", 64: "potted plant", 65: "bed",
    67: "dining table", 70: "toilet", 72: "tv", 73: "laptop", 74: "mouse", 75: "remote", 76: "keyboard",
    77: "cell phone", 78: "microwave", 79: "oven", 80: "toaster", 81: "sink", 82: "refrigerator", 84: "book",
    85: "clock", 86: "vase", 87: "scissors", 88: "teddy bear", 89: "hair drier", 90: "toothbrush",
}  # fmt: skip

#: Side of the network's square input, in pixels.
SIDE = 320
#: Long side of a decoded photo that loses no detail for the network.
DECODE_SIZE = 2 * SIDE
#: The lowest score that the network reports; a lower threshold finds nothing more.
LEAST_SCORE = 0.01
#: IoU above which two boxes are one object: of the same label, and of different labels. The network itself suppresses boxes of
#: the same label only above 0.6. Measured on labelled photos (docs/accuracy.md): lower limits lose more objects than they
#: remove repeats.
SAME, SAME_PLACE = 0.45, 0.95
#: The default threshold, at which three of four boxes are correct.
THRESHOLD = 0.55


def check_labels(labels: Collection[str]) -> frozenset[str]:
    """Check that the detector knows all `labels`; return them.

    Raises
    ------
    InvalidParameter
        Names an unknown label, and known labels with a similar spelling.
    """
    known = list(LABELS.values())
    for label in labels:
        if label not in known:
            import difflib

            near = difflib.get_close_matches(label.casefold(), known, 3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise InvalidParameter(f"labels: {label!r} is not one of the {len(known)} labels{hint}", labels=known)
    if not labels:
        raise InvalidParameter("labels: expected at least one label", labels=known)
    return frozenset(labels)


class ObjectDetector:
    """The loaded network. Thread-safe.

    A network of OpenCV contains the state of one run, so concurrent calls use separate copies, which are reused later: there
    are as many copies as there ever were concurrent calls.

    Parameters
    ----------
    weights, graph : path
        The frozen TensorFlow graph, and OpenCV's text description of it.

    Raises
    ------
    ModelCorrupt
        OpenCV cannot read them.
    """

    def __init__(self, weights: Path, graph: Path):
        self._files = str(weights), str(graph)
        self._lock = threading.Lock()
        self._idle = [self._load()]

    def find(
        self, pixels: np.ndarray, threshold: float = THRESHOLD, size: tuple[int, int] | None = None
    ) -> tuple[FoundObject, ...]:
        """Detect objects.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.
        threshold : float
            Minimum score.
        size : (int, int), optional
            Width and height of the original photo, if `pixels` is a scaled copy of it; boxes are in pixels of the original.

        Returns
        -------
        tuple of FoundObject
            Best score first; boxes are clipped to the photo.
        """
        height, width = check_pixels(pixels).shape[:2]
        width, height = size or (width, height)
        rows = self._raw_rows(pixels)
        rows = rows[rows[:, 1] >= threshold]
        boxes = geometry.clip(rows[:, 2:].astype(float) * (width, height, width, height), width, height)
        good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        good &= np.isin(rows[:, 0], list(LABELS))
        rows, boxes = rows[good], boxes[good]
        return tuple(
            FoundObject(LABELS[int(rows[i, 0])], float(rows[i, 1]), Box(*(float(edge) for edge in boxes[i])))
            for i in without_repeats(boxes, rows[:, 1], rows[:, 0])
        )

    def _raw_rows(self, pixels: np.ndarray) -> np.ndarray:
        """Number of the class, score, and left, top, right, bottom as shares of the image; float32 (n, 6)."""
        import cv2

        scaled = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA if _shrinks(pixels) else cv2.INTER_LINEAR)
        blob = cv2.dnn.blobFromImage(scaled, 1 / 127.5, (SIDE, SIDE), (127.5, 127.5, 127.5), swapRB=False)
        net = self._take()
        try:
            net.setInput(blob)
            found = np.array(net.forward()).reshape(-1, 7)
        finally:
            with self._lock:
                self._idle.append(net)
        return found[:, 1:]

    def _take(self) -> Any:
        """An idle network, or another one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._load()

    def _load(self) -> Any:
        import cv2

        try:
            return cv2.dnn.readNetFromTensorflow(*self._files)
        except cv2.error as error:
            raise ModelCorrupt("OpenCV cannot read the object detector's network") from error


def _shrinks(pixels: np.ndarray) -> bool:
    return bool(min(pixels.shape[:2]) > 2 * SIDE)


def without_repeats(boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Indices of the boxes that remain after suppression of repeats, best score first.

    Parameters
    ----------
    boxes : ndarray, shape (n, 4)
    scores, kinds : ndarray, shape (n,)
        Score and class of each.
    """
    remaining: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if remaining:
            overlap = geometry.iou(boxes[i], boxes[remaining])
            if (overlap > np.where(kinds[remaining] == kinds[i], SAME, SAME_PLACE)).any():
                continue
        remaining.append(int(i))
    return np.array(remaining, dtype=int)
