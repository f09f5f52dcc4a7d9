"""Geometry of boxes and points: overlap, non-maximum suppression, alignment, and the boxes that dlib expects.

Boxes are arrays (n, 4) of left, top, right, bottom; points are (x, y); all in pixels, with y pointing down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

#: Positions of YuNet's five points in a 112 x 112 crop, picture's left eye first: the reference that ArcFace-style embedders
#: such as SFace were trained with (Deng et al., ArcFace, 2019, and opencv_zoo's SFace).
ARCFACE_POINTS = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])

#: Positions of dlib's five points in the same crop: their mean over the LFW development photos, aligned by YuNet's points
#: (printed by benchmarks/alignment.py).
ARCFACE_DLIB_POINTS = np.array([[79.55, 53.31], [65.71, 53.82], [30.36, 53.90], [44.31, 54.10], [55.12, 80.53]])

#: Where the five points of each landmark scheme are in the same crop.
REFERENCE_POINTS = {"yunet5": ARCFACE_POINTS, "dlib5": ARCFACE_DLIB_POINTS}
_CENTRED_POINTS = {scheme: (points - points.mean(axis=0)).tolist() for scheme, points in REFERENCE_POINTS.items()}

#: dlib's square box relative to YuNet's box: its side divided by the mean of YuNet's width and height, and the offset of its
#: centre below YuNet's, in YuNet heights. Fitted on LFW's development view (benchmarks/alignment.py).
DLIB_SIDE, DLIB_DROP = 0.92, 0.06
#: Side and centre of dlib's box in the 112 x 112 crop: medians over the same photos.
DLIB_SIDE_AT_112, DLIB_CENTRE_AT_112 = 86.0, (56.0, 71.5)


def iou(one: np.ndarray, many: np.ndarray) -> np.ndarray:
    """Intersection over union of box `one` (4,) with boxes `many` (n, 4); shape (n,), 0 for disjoint boxes."""
    width = np.minimum(one[2], many[:, 2]) - np.maximum(one[0], many[:, 0])
    height = np.minimum(one[3], many[:, 3]) - np.maximum(one[1], many[:, 1])
    shared: np.ndarray = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = (many[:, 2] - many[:, 0]) * (many[:, 3] - many[:, 1])
    overlap: np.ndarray = shared / ((one[2] - one[0]) * (one[3] - one[1]) + areas - shared)
    return overlap


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> np.ndarray:
    """Greedy non-maximum suppression.

    A box is dropped if its IoU with a selected box of a better score is above `limit`.

    Parameters
    ----------
    boxes : ndarray, shape (n, 4)
    scores : ndarray, shape (n,)
    limit : float

    Returns
    -------
    ndarray of int
        Indices of the selected boxes, best score first.
    """
    order = np.argsort(-scores, kind="stable")
    selected: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        selected.append(best)
        order = order[iou(boxes[best], boxes[order]) <= limit]
    return np.array(selected, dtype=int)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The least-squares similarity transform (rotation, scale, translation) from `source` points to `target` points.

    Parameters
    ----------
    source, target : ndarray, shape (n, 2), n >= 2

    Returns
    -------
    ndarray of float64, shape (2, 3)
        An affine matrix for ``cv2.warpAffine``.

    Raises
    ------
    ValueError
        All source points are the same.

    Notes
    -----
    Closed form in two dimensions of Umeyama (1991), "Least-squares estimation of transformation parameters
    between two point patterns", IEEE TPAMI 13(4); reflections are not considered.
    """
    source, target = np.asarray(source, float), np.asarray(target, float)
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_centre, target - to_centre
    spread = (a**2).sum()
    if spread <= 0:
        raise ValueError("expected points that are not all the same")
    real = (a * b).sum() / spread
    imaginary = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    rotation = np.array([[real, -imaginary], [imaginary, real]])
    return np.hstack([rotation, (to_centre - rotation @ from_centre)[:, None]])


def roll(landmarks: np.ndarray, scheme: str) -> float:
    """Degrees by which a face is tilted clockwise, from its five points, -180 to 180: 0 for an upright face.

    Points that are all the same have no direction: 0.

    Parameters
    ----------
    landmarks : ndarray, shape (5, 2)
    scheme : str
        ``"yunet5"`` or ``"dlib5"``; see `types.LANDMARK_SCHEMES`.
    """
    # the direction of `similarity` from the reference to the points, in plain numbers: NumPy takes five times as long for ten
    points = np.asarray(landmarks, float).tolist()
    if all(point == points[0] for point in points):
        return 0.0
    mean_x, mean_y = (sum(each) / len(points) for each in zip(*points, strict=True))
    real = imaginary = 0.0
    for (from_x, from_y), (x, y) in zip(_CENTRED_POINTS[scheme], points, strict=True):
        real += from_x * (x - mean_x) + from_y * (y - mean_y)
        imaginary += from_x * (y - mean_y) - from_y * (x - mean_x)
    return math.degrees(math.atan2(imaginary, real))


def dlib_boxes(boxes: np.ndarray) -> np.ndarray:
    """The square boxes that dlib's own detector would return for the same faces, computed from YuNet's boxes.

    Parameters
    ----------
    boxes : ndarray, shape (n, 4)

    Returns
    -------
    ndarray, shape (n, 4)
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    half = DLIB_SIDE * (width + height) / 4
    x = (boxes[:, 0] + boxes[:, 2]) / 2
    y = (boxes[:, 1] + boxes[:, 3]) / 2 + DLIB_DROP * height
    return np.stack([x - half, y - half, x + half, y + half], axis=1)


def clip(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """`boxes`, shape (n, 4), clipped to a picture of `width` x `height` pixels."""
    clipped: np.ndarray = np.clip(boxes, 0, [width, height, width, height])
    return clipped


def inside(box: Iterable[float], width: float, height: float) -> tuple[float, float, float, float]:
    """The part of a box inside a picture, at least one pixel wide and high: left, top, right, bottom."""
    left, top, right, bottom = box
    left, top = min(max(left, 0.0), width - 1.0), min(max(top, 0.0), height - 1.0)
    return left, top, max(min(right, width), left + 1), max(min(bottom, height), top + 1)
