"""Pure geometry of boxes and points: overlap, suppression, alignment, the boxes that dlib expects.

Boxes are arrays (n, 4) of left, top, right, bottom; points are (x, y); all in pixels, y down.
"""

from __future__ import annotations

import numpy as np

#: Where YuNet's five points lie in a 112 x 112 chip: the reference that ArcFace-style embedders (SFace among
#: them) were trained with, picture's left eye first (Deng et al., ArcFace, 2019, and opencv_zoo's SFace).
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

#: Where dlib's five points lie in that same chip: their mean over LFW development photos aligned by YuNet's points
#: (benchmarks/alignment.py prints it).
ARCFACE_DLIB_POINTS = np.array(
    [[79.55, 53.31], [65.71, 53.82], [30.36, 53.90], [44.31, 54.10], [55.12, 80.53]]
)

#: dlib's square box from YuNet's: its side over the mean of YuNet's width and height, and how far its centre
#: lies below YuNet's, in YuNet heights. Fitted on LFW's development view (benchmarks/alignment.py).
DLIB_SIDE, DLIB_DROP = 0.92, 0.06


def iou(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Intersection over union of box `one` (4,) with boxes `many` (n, 4); shape (n,), 0 where they are apart."""
    width = np.minimum(one[2], many[:, 2]) - np.maximum(one[0], many[:, 0])
    height = np.minimum(one[3], many[:, 3]) - np.maximum(one[1], many[:, 1])
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1])
    return shared / ((one[2] - one[0]) * (one[3] - one[1]) + areas - shared)


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes kept, best score first.

    A box is dropped when its IoU with a better one that was kept is above `limit`.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[iou(boxes[best], boxes[order]) <= limit]
    return np.array(kept, dtype=int)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift that bring `source` points nearest to `target`, least squares.

    Parameters
    ----------
    source, target : ndarray, shape (n, 2), n >= 2

    Returns
    -------
    ndarray of float64, shape (2, 3)
        An affine matrix for ``cv2.warpAffine``.

    Notes
    -----
    Closed form in two dimensions of Umeyama (1991), "Least-squares estimation of transformation parameters
    between two point patterns", IEEE TPAMI 13(4); mirror images are not considered.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_centre, target - to_centre
    spread = (a**2).sum()
    if spread <= 0:
        raise ValueError("expected points that are not all the same")
    real = (a * b).sum() / spread
    imaginary = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    turn = np.array([[real, -imaginary], [imaginary, real]])
    return np.hstack([turn, (to_centre - turn @ from_centre)[:, None]])


def dlib_boxes(boxes: np.ndarray) -> np.ndarray:
    """The square boxes around the same faces as dlib's own detector would draw them, from YuNet's."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    half = DLIB_SIDE * (width + height) / 4
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = (boxes[:, 1] + boxes[:, 3]) / 2 + DLIB_DROP * height
    return np.stack([x - half, y - half, x + half, y + half], axis=1)


def clip(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """`boxes` cut to a picture of that size."""
    return np.clip(boxes, 0, [width, height, width, height])
