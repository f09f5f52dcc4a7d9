"""How good a picture of a face is, as numbers that do not depend on an engine. Pure: NumPy, cv2 and `types`.

benchmarks/quality.py prints what each of them says about errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import geometry
from .types import Face, check_pixels

CHIP = 112
#: The five points of YuNet's scheme on a face that looks straight ahead: x to the right, y down, z towards the camera,
#: in distances between the eyes. x and y are `geometry.ARCFACE_POINTS`; the depths are round figures for adults.
_HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.57, 0.5], [-0.41, 1.15, 0.1], [0.41, 1.15, 0.1]])
_DARK, _BRIGHT = 25, 230


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of a face's picture.

    Attributes
    ----------
    size : float
        Shorter side of the box, in pixels of the photo.
    sharpness : float
        Variance of the Laplacian of the aligned grey face over the variance of the face itself: 0 for a smear, whatever
        the contrast.
    yaw, pitch, roll : float
        Degrees, rough: turned to the picture's right, upwards, and tilted clockwise are positive. Not a number where
        the points do not tell.
    cut_off : float
        Share of the box that lies outside the photo.
    brightness, contrast : float
        Mean and standard deviation of the aligned grey face, 0 to 255.
    clipped : float
        Share of it that is nearly black or nearly white.
    score : float
        The detector's own.
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


#: What of a face's picture lies beyond where benchmarks/quality.py saw errors rise: code -> test. They explain an "unknown";
#: none of them made strangers more likely to get a name, so none withholds one.
REMARKS: dict[str, Callable[[Quality], bool]] = {
    "small": lambda quality: quality.size < 24,
    "blurred": lambda quality: quality.sharpness < 0.02,
    "flat": lambda quality: quality.contrast < 8,
    "turned": lambda quality: abs(quality.yaw) > 40,
    "cut_off": lambda quality: quality.cut_off > 1 / 3,
    "doubtful": lambda quality: quality.score < 0.8,
}
#: Of those, what an enrolled photo must not have: two blurred or two dark faces look alike whoever they are. At the
#: threshold of one false match in a thousand, blur of 6 % of the face gave one in ten (benchmarks/quality.py).
UNFIT_TO_ENROL = ("blurred", "flat")


def remarks(quality: Quality) -> list[str]:
    """Codes of what is wrong with a face's picture; empty for a good one."""
    return [code for code, holds in REMARKS.items() if holds(quality)]


def measure(pixels: np.ndarray, face: Face) -> Quality:
    """Measure one face.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        The photo, RGB.
    face : Face
        In `pixels`.
    """
    import cv2

    grey = aligned_grey(check_pixels(pixels), face)
    spread = float(grey.std())
    edges = float(cv2.Laplacian(grey, cv2.CV_32F).var())
    yaw, pitch, roll = pose(face.landmarks, face.scheme)
    return Quality(
        face.box.size, edges / max(spread**2, 1.0), yaw, pitch, roll, cut_off(face, pixels.shape[1], pixels.shape[0]),
        float(grey.mean()), spread, float(((grey < _DARK) | (grey > _BRIGHT)).mean()), face.score,
    )  # fmt: skip


def aligned_grey(pixels: np.ndarray, face: Face) -> np.ndarray:
    """The face turned upright, from the eyebrows to the chin: float32 (h, w), 0 to 255."""
    import cv2

    reference = geometry.ARCFACE_DLIB_POINTS if face.scheme == "dlib5" else geometry.ARCFACE_POINTS
    matrix = geometry.similarity(face.landmarks, reference)
    chip = cv2.warpAffine(pixels, matrix, (CHIP, CHIP), borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY)[24:106, 20:92].astype(np.float32)


def cut_off(face: Face, width: int, height: int) -> float:
    """Share of the face's box that lies outside a photo of that size, 0 to 1."""
    box = face.box
    inside_x = max(0.0, min(box.right, width) - max(box.left, 0.0))
    inside_y = max(0.0, min(box.bottom, height) - max(box.top, 0.0))
    return 1 - inside_x * inside_y / box.area


def pose(landmarks: np.ndarray, scheme: str) -> tuple[float, float, float]:
    """Yaw, pitch and roll in degrees, from five points.

    Parameters
    ----------
    landmarks : ndarray, shape (5, 2)
    scheme : a key of `types.LANDMARK_SCHEMES`
        dlib's five points lie nearly in one plane with the eyes, so they tell the roll only.

    Notes
    -----
    A scaled orthographic camera is fitted to a mean head by least squares, the first step of POSIT (DeMenthon and
    Davis, "Model-based object pose in 25 lines of code", IJCV 15, 1995).
    """
    points = np.asarray(landmarks, float)
    if scheme != "yunet5":
        right, left = points[0:2].mean(axis=0), points[2:4].mean(axis=0)
        return float("nan"), float("nan"), float(np.degrees(np.arctan2(*(right - left)[::-1])))
    rows = np.linalg.lstsq(_HEAD - _HEAD.mean(axis=0), points - points.mean(axis=0), rcond=None)[0].T
    lengths = np.linalg.norm(rows, axis=1)
    if (lengths <= 0).any():
        return float("nan"), float("nan"), float("nan")
    across, down = rows / lengths[:, None]
    towards = np.cross(across, down)
    # the rotation nearest to the three rows
    u, _, v = np.linalg.svd(np.stack([across, down, towards]))
    turn = u @ v
    # turned about the neck first, then nodded, then tilted
    yaw = np.degrees(np.arctan2(-turn[2, 0], turn[2, 2]))
    pitch = np.degrees(np.arcsin(np.clip(turn[2, 1], -1, 1)))
    roll = np.degrees(np.arctan2(-turn[0, 1], turn[1, 1]))
    return float(yaw), float(pitch), float(roll)
