"""What tells a face that can be compared from one that cannot: numbers about its picture, its points and its embedding.

None of them says whose face it is. `comparability` weighs them; benchmarks/comparability.py fits the weights.
"""

from __future__ import annotations

import math

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Face, Faces
from recognizer.engines.dlib import native
from recognizer.photos import quality

#: Size of the reduced grey face that is compared with the mean face: width, height.
SMALL = (18, 20)
_BINS = 64


def reduced(grey: np.ndarray) -> np.ndarray:
    """An aligned grey face at the size `SMALL`, with mean 0 and length 1; float32, shape (360,)."""
    import cv2

    small: np.ndarray = cv2.resize(grey, SMALL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return small / max(float(np.linalg.norm(small)), 1e-6)


def picture_signals(
    pixels: np.ndarray,
    face: Face,
    mean_face: np.ndarray,
    dlib_points: np.ndarray | None = None,
    aligned: quality.AlignedFace | None = None,
) -> dict[str, float]:
    """Signals of the picture and the points of one face.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB, decoded sharply enough for the face.
    face : Face
        In these pixels.
    mean_face : ndarray, shape (360,)
        The mean of `reduced` upright faces, of length 1.
    dlib_points : ndarray, shape (5, 2), optional
        dlib's landmarks of the face in these pixels, if the caller has them; they are found otherwise.
    aligned : quality.AlignedFace, optional
        What `quality.align` makes of the face, if the caller has it.

    Returns
    -------
    dict
        ``score``, the detector's; ``size``, logarithm of the box's side in pixels; ``sharpness`` and ``contrast``, logarithms;
        ``clipped`` (see `quality.Quality`); ``likeness``, correlation with the mean face, negative for a negative;
        ``evenness``, correlation with its mirror image; ``tones``, entropy of the grey values in bits; ``warmth``, red minus
        blue as a share of the light; ``misfit``, logarithm of the points' distance from those of an upright face, after the
        best similarity; ``direction``, logarithm of the detail across over the detail down, which motion blur changes;
        ``stretch``, logarithm of eye distance over the distance from eyes to mouth, relative to a mean face;
        ``agreement``, logarithm of the distance between the detector's points and dlib's.
    """
    aligned = quality.align(pixels, face) if aligned is None else aligned
    grey, spread = aligned.grey, max(aligned.spread, 1.0)
    small = reduced(grey)
    mirrored = small.reshape(SMALL[::-1])[:, ::-1].ravel()
    red, green, blue = (float(each) + 1 for each in aligned.colour.reshape(-1, 3).mean(axis=0))
    return {
        "score": face.score,
        "size": math.log(max(face.box.size, 1.0)),
        "sharpness": math.log(aligned.detail / spread**2 + 1e-3),
        "contrast": math.log(spread),
        "direction": direction(grey),
        "clipped": aligned.clipped,
        "likeness": float(small @ mean_face),
        "evenness": float(small @ mirrored),
        "tones": _entropy(pixels, face),
        "warmth": (red - blue) / (red + green + blue),
        **_point_signals(pixels, face, dlib_points, aligned.matrix),
    }


def direction(grey: np.ndarray) -> float:
    """Logarithm of the variance of second differences across over that down."""
    across = grey[:, 2:] - 2 * grey[:, 1:-1] + grey[:, :-2]
    down = grey[2:] - 2 * grey[1:-1] + grey[:-2]
    return math.log((float(across.var()) + 1) / (float(down.var()) + 1))


def _entropy(pixels: np.ndarray, face: Face) -> float:
    """Entropy of the grey values in the face's box, in bits."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = geometry.clip(np.array([tuple(face.box)]), width, height)[0].astype(int)
    part = pixels[top : max(top + 1, bottom), left : max(left + 1, right)]
    if not part.size:
        return 0.0
    grey = part @ np.array([0.299, 0.587, 0.114])
    counts = np.bincount((grey * (_BINS / 256)).astype(int).ravel(), minlength=_BINS)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _point_signals(pixels: np.ndarray, face: Face, dlib_points: np.ndarray | None, matrix: np.ndarray) -> dict[str, float]:
    """The signals of a face's points; `matrix` places them on those of an upright face."""
    points = np.asarray(face.landmarks, float)
    if face.scheme != "yunet5":
        return {"misfit": _misfit(points, geometry.ARCFACE_DLIB_POINTS, matrix), "stretch": 0.0, "agreement": 0.0}
    if dlib_points is None:
        (dlib_points,) = native.points_array(native.shapes(np.ascontiguousarray(pixels), _single(face)))
    dlibs = dlib_points.astype(float) @ matrix[:, :2].T + matrix[:, 2]
    apart = float(np.sqrt(((dlibs - geometry.ARCFACE_DLIB_POINTS) ** 2).sum(axis=1).mean()))
    eyes = float(np.hypot(*(points[1] - points[0])))
    down = float(np.hypot(*(points[3:].mean(axis=0) - points[:2].mean(axis=0))))
    return {
        "misfit": _misfit(points, geometry.ARCFACE_POINTS, matrix),
        "stretch": math.log(max(eyes, 1e-3) / max(down, 1e-3) / 0.867),
        "agreement": math.log(apart + 0.5),
    }


def _single(face: Face) -> Faces:
    return Faces(np.array([tuple(face.box)]), np.array([face.score]), face.landmarks[None], face.scheme)


def _misfit(points: np.ndarray, reference: np.ndarray, matrix: np.ndarray) -> float:
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    return math.log(float(np.sqrt(((placed - reference) ** 2).sum(axis=1).mean())) + 0.5)
