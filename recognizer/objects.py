"""Finds objects of 80 kinds in photos: SSD MobileNetV3-large, trained on COCO, run by OpenCV.

The network looks at the whole picture, stretched to 320 x 320 pixels, so what is small in a large photo is not found.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Collection
from pathlib import Path

import numpy as np

from . import geometry
from .errors import InvalidParameter, ModelCorrupt
from .results import FoundObject
from .types import Box, check_pixels

NAME = "ssd-mobilenet-v3-large"
#: Files (see `models`) that are needed.
WEIGHTS, GRAPH = "objects-weights", "objects-graph"

#: COCO's number of a kind -> its label. Of the numbers up to 90 COCO gives out 80.
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

#: The side of the square that the network sees.
SIDE = 320
#: The long side of a decoded photo that keeps everything the network could see.
DECODE_SIZE = 2 * SIDE
#: Least score that the network gives out at all; no threshold below it finds more.
LEAST_SCORE = 0.01
#: Overlaps above which two boxes are taken for one object: of one label, and of any two. The network itself drops repeats
#: of one label above 0.6 only. Measured on labelled photos (docs/accuracy.md): lower limits lose more than they clear up.
SAME, SAME_PLACE = 0.45, 0.95
#: The threshold at which three boxes of four are right, where nobody sets another.
THRESHOLD = 0.55


def check_labels(labels: Collection[str]) -> frozenset[str]:
    """`labels`, if the detector knows them all.

    Raises
    ------
    InvalidParameter
        Says which it does not, and which it knows that are spelt nearly so.
    """
    known = list(LABELS.values())
    for label in labels:
        if label not in known:
            near = difflib.get_close_matches(label.casefold(), known, 3)
            hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise InvalidParameter(f"labels: {label!r} is none of the {len(known)} labels{hint}", labels=known)
    if not labels:
        raise InvalidParameter("labels: expected at least one label", labels=known)
    return frozenset(labels)


class ObjectDetector:
    """The loaded network. Every method may be called from any thread.

    A network of OpenCV holds the state of one run, so calls that overlap each get one of their own, which is kept for the
    next: there are as many as calls ever overlapped.

    Parameters
    ----------
    weights, graph : path
        The frozen TensorFlow graph, and OpenCV's text that says how to read it.

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
        """The objects of a picture.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.
        threshold : float
            Least score.
        size : (int, int), optional
            Width and height of the picture in whose pixels boxes are to be, where `pixels` are a scaled copy of it.

        Returns
        -------
        tuple of FoundObject
            Best score first; boxes lie within the picture.
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
        """Number of the kind, score, left, top, right, bottom as shares of the picture; float32 (n, 6)."""
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

    def _take(self):
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._load()

    def _load(self):
        import cv2

        try:
            return cv2.dnn.readNetFromTensorflow(*self._files)
        except cv2.error as error:
            raise ModelCorrupt("OpenCV cannot read the object detector's network") from error


def _shrinks(pixels: np.ndarray) -> bool:
    return min(pixels.shape[:2]) > 2 * SIDE


def without_repeats(boxes: np.ndarray, scores: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Indices of the boxes that no better one stands for, best score first.

    Parameters
    ----------
    boxes : ndarray, shape (n, 4)
    scores, kinds : ndarray, shape (n,)
    """
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if kept:
            overlap = geometry.iou(boxes[i], boxes[kept])
            if (overlap > np.where(kinds[kept] == kinds[i], SAME, SAME_PLACE)).any():
                continue
        kept.append(int(i))
    return np.array(kept, dtype=int)
