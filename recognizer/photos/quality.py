"""Quality of the picture of a face, as numbers that do not depend on an engine. Pure: NumPy, cv2 and `types`.

benchmarks/quality.py prints how each of them relates to errors of recognition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Face, check_pixels

CHIP = 112
#: The lowest `picture_value`.
LEAST_VALUE = 0.01
#: YuNet's five points on a mean frontal face, shape (5, 3): x to the right, y down, z towards the camera, in distances between
#: the eyes. x and y are `geometry.ARCFACE_POINTS`; the depths are rounded values for adults.
MEAN_HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.57, 0.5], [-0.41, 1.15, 0.1], [0.41, 1.15, 0.1]])
_DARK, _BRIGHT = 25, 230
_CENTRED_HEAD = MEAN_HEAD - MEAN_HEAD.mean(axis=0)
#: What the centred points of a face are multiplied by for the least-squares fit of `pose`.
_FIT = np.linalg.pinv(_CENTRED_HEAD)


@dataclass(frozen=True, slots=True)
class Quality:
    """Measures of the picture of a face.

    Attributes
    ----------
    size : float
        Shorter side of the box, in pixels of the photo.
    sharpness : float
        Variance of the Laplacian of the aligned grey face, divided by the variance of that face: independent of contrast, 0 for
        a completely blurred face.
    yaw, pitch, roll : float
        Degrees, approximate. Positive: turned to the right of the image, upwards, and tilted clockwise. NaN where the points do
        not determine the angle.
    cut_off : float
        Share of the box outside the photo.
    brightness, contrast : float
        Mean and standard deviation of the aligned grey face, 0 to 255.
    clipped : float
        Share of the aligned grey face that is nearly black or nearly white.
    score : float
        The detector's.
    """

    size: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    cut_off: float
    brightness: float
    contrast: float
    clipped: float
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class AlignedFace:
    """An aligned face, upright, from eyebrows to chin, and what is measured on it.

    Attributes
    ----------
    colour : ndarray of uint8, shape (82, 72, 3)
        RGB.
    grey : ndarray of float32, shape (82, 72)
        0 to 255.
    matrix : ndarray, shape (2, 3)
        From the photo to the chip of 112 pixels that this is a part of.
    spread : float
        Standard deviation of `grey`.
    detail : float
        Variance of the Laplacian of `grey`.
    clipped : float
        Share of `grey` that is nearly black or nearly white.
    """

    colour: np.ndarray
    grey: np.ndarray
    matrix: np.ndarray
    spread: float
    detail: float
    clipped: float


#: Remarks on a face's picture, code -> test; their limits are where errors rise in benchmarks/quality.py. They explain why a
#: face is unknown. None of them made false matches of strangers more frequent, so none prevents a match.
REMARKS: dict[str, Callable[[Quality], bool]] = {
    "small": lambda quality: quality.size < 24,
    "blurred": lambda quality: quality.sharpness < 0.02,
    "flat": lambda quality: quality.contrast < 8,
    "turned": lambda quality: abs(quality.yaw) > 40,
    "cut_off": lambda quality: quality.cut_off > 1 / 3,
    "doubtful": lambda quality: quality.score < 0.8,
}
#: The remarks that prevent enrolment: two blurred or two dark faces resemble each other whoever they show. At the threshold for
#: FMR 1 in 1,000, blur of 6 % of the face gave an FMR of 1 in 10 (benchmarks/quality.py).
UNFIT_TO_ENROL = ("blurred", "flat")


def remarks(quality: Quality) -> list[str]:
    """Codes of the defects of a face's picture; empty for a good one."""
    return [code for code, applies in REMARKS.items() if applies(quality)]


def picture_value(quality: Quality, full_size: float = 60) -> float:
    """How much a picture of a face says about whose it is: from 0.01 to 1, for choosing and weighting pictures.

    Parameters
    ----------
    quality : Quality
    full_size : float
        Size of a face, in pixels, above which a larger picture is not better.
    """
    size = min(1.0, quality.size / full_size)
    sharp = min(1.0, 0.2 + quality.sharpness / 0.05)
    yaw = 0.0 if math.isnan(quality.yaw) else abs(quality.yaw)
    pitch = 0.0 if math.isnan(quality.pitch) else abs(quality.pitch)
    frontal = max(0.1, 1 - (max(0.0, yaw - 15) + max(0.0, pitch - 20)) / 50)
    whole = max(0.05, 1 - 2 * quality.cut_off)
    lit = 1.0 if quality.contrast >= 16 else max(0.1, quality.contrast / 16)
    certain = min(1.0, max(0.2, (quality.score - 0.5) / 0.35))
    return max(LEAST_VALUE, size * sharp * frontal * whole * lit * certain)


def measure(pixels: np.ndarray, face: Face, aligned: AlignedFace | None = None) -> Quality:
    """Measure the picture of one face.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The photo, RGB.
    face : Face
        In pixels of the photo.
    aligned : AlignedFace, optional
        What `align` makes of both, if the caller has it already.
    """
    aligned = align(check_pixels(pixels), face) if aligned is None else aligned
    yaw, pitch, roll = pose(face.landmarks, face.scheme)
    return Quality(
        face.box.size,
        aligned.detail / max(aligned.spread**2, 1.0),
        yaw,
        pitch,
        roll,
        cut_off(face, pixels.shape[1], pixels.shape[0]),
        float(aligned.grey.mean()),
        aligned.spread,
        aligned.clipped,
        face.score,
    )


def align(pixels: np.ndarray, face: Face) -> AlignedFace:
    """The aligned face of a photo, RGB uint8 (H, W, 3)."""
    import cv2

    matrix = geometry.similarity(face.landmarks, geometry.REFERENCE_POINTS[face.scheme])
    chip = cv2.warpAffine(pixels, matrix, (CHIP, CHIP), borderMode=cv2.BORDER_REPLICATE)
    colour = chip[24:106, 20:92]
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    clipped = float(((grey < _DARK) | (grey > _BRIGHT)).mean())
    return AlignedFace(colour, grey, matrix, float(grey.std()), detail, clipped)


def aligned_grey(pixels: np.ndarray, face: Face) -> np.ndarray:
    """The aligned face in grey; float32, shape (82, 72), 0 to 255."""
    return align(pixels, face).grey


def cut_off(face: Face, width: int, height: int) -> float:
    """Share of the face's box outside a photo of that size, 0 to 1."""
    box = face.box
    inside_x = max(0.0, min(box.right, width) - max(box.left, 0.0))
    inside_y = max(0.0, min(box.bottom, height) - max(box.top, 0.0))
    return 1 - inside_x * inside_y / box.area


def pose(landmarks: np.ndarray, scheme: str) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, from five points; NaN where the points do not determine an angle.

    Parameters
    ----------
    landmarks : ndarray, shape (5, 2)
        x, y.
    scheme : a key of `types.LANDMARK_SCHEMES`
        dlib's five points lie nearly in one plane with the eyes, so they determine the roll only.

    Notes
    -----
    A scaled orthographic camera is fitted to a mean head by least squares: the first step of POSIT (DeMenthon and Davis,
    "Model-based object pose in 25 lines of code", IJCV 15, 1995).
    """
    points = np.asarray(landmarks, float)
    if scheme != "yunet5":
        right, left = points[0:2].mean(axis=0), points[2:4].mean(axis=0)
        return float("nan"), float("nan"), float(np.degrees(np.arctan2(*(right - left)[::-1])))
    rows = (_FIT @ (points - points.mean(axis=0))).T
    lengths = np.linalg.norm(rows, axis=1)
    if (lengths <= 0).any():
        return float("nan"), float("nan"), float("nan")
    across, down = rows / lengths[:, None]
    (x, y, z), (a, b, c) = across.tolist(), down.tolist()
    towards = y * c - z * b, z * a - x * c, x * b - y * a  # np.cross takes as long as everything else
    # the rotation nearest to the three rows
    u, _, v = np.linalg.svd(np.array([across, down, towards]))
    turn = (u @ v).tolist()
    # the order of rotations: yaw, then pitch, then roll
    yaw = math.atan2(-turn[2][0], turn[2][2])
    pitch = math.asin(max(-1.0, min(1.0, turn[2][1])))
    roll = math.atan2(-turn[0][1], turn[1][1])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)
