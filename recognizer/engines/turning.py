"""Faces that are turned in the plane of the picture: found on turned copies.

Detectors know upright faces, up to about 45 degrees of tilt. Of a face that is turned further they find nothing, or a box
whose points lie anywhere. So a photo without faces is searched again on copies turned by 90, 180 and 270 degrees, and what is
around a face that is in doubt in steps of 45 degrees. Landmarks keep their meaning: the "left" eye is the left one of the face
when it is upright.
"""

from __future__ import annotations

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Box, Face, Faces
from recognizer.engines.protocols import Detector

QUARTERS = (1, 2, 3)
#: A face is in doubt if YuNet's score is below this, or if it seems to be tilted by more degrees than the next.
SURE_SCORE = 0.8
TILTED = 50.0
#: Largest tilt, in degrees, on the turned copy on which a face is accepted.
UPRIGHT = 35.0
#: Most faces of one photo that are looked at again, the largest first.
MOST = 12
#: Side of what is searched again around a face, in sides of its box, and in pixels at most.
AROUND, AROUND_PIXELS = 2.4, 224
#: How much better a score has to be on a turned copy.
BETTER = 0.04


def quarter_back(faces: Faces, quarters: int, width: float, height: float) -> Faces:
    """Faces on a copy that ``np.rot90`` turned by `quarters`, in pixels of the original of that size."""
    if not len(faces):
        return faces
    corners = _points_back(faces.boxes.reshape(-1, 2, 2), quarters, width, height)
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    points = _points_back(faces.landmarks, quarters, width, height).astype(np.float32)
    return Faces(boxes, faces.scores, points, faces.scheme)


def _points_back(points: np.ndarray, quarters: int, width: float, height: float) -> np.ndarray:
    x, y = points[..., 0], points[..., 1]
    back = {1: (width - y, x), 2: (width - x, height - y), 3: (y, height - x)}[quarters]
    return np.stack(back, axis=-1)


def found_on_turned_copies(detector: Detector, pixels: np.ndarray) -> Faces:
    """The faces of a photo on which nothing was found upright, best score first."""
    height, width = pixels.shape[:2]
    found = [_upright(detector.detect(np.rot90(pixels, k).copy("C")), k, width, height) for k in QUARTERS]
    found = [each for each in found if len(each)]
    return _joined(found) if found else Faces.empty()


def corrected(detector: Detector, pixels: np.ndarray, faces: Faces) -> Faces:
    """The faces of a photo, those in doubt as they are on the turned copy on which they are found best.

    Only YuNet's faces are looked at again: dlib's detectors find none that is turned far.
    """
    if faces.scheme != "yunet5":
        return faces
    doubtful = [i for i, face in enumerate(faces) if in_doubt(face)]
    if not doubtful:
        return faces
    doubtful.sort(key=lambda i: -faces[i].box.area)
    boxes, scores, landmarks = faces.boxes.copy(), faces.scores.copy(), faces.landmarks.copy()
    for i in doubtful[:MOST]:
        found = found_turned(detector, pixels, faces[i])
        if found is not None and found.score > faces[i].score + (0 if _tilted(faces[i]) else BETTER):
            boxes[i], scores[i], landmarks[i] = tuple(found.box), found.score, found.landmarks
    changed = Faces(boxes, scores, landmarks, faces.scheme)
    return changed.select(geometry.suppress(boxes, scores, 0.5))


def in_doubt(face: Face) -> bool:
    """Whether a face may be turned far, or none: its score is low, or its points are not those of an upright face."""
    return face.score < SURE_SCORE or _tilted(face)


def _tilted(face: Face) -> bool:
    return abs(geometry.roll(face.landmarks, face.scheme)) > TILTED


def found_turned(detector: Detector, pixels: np.ndarray, face: Face) -> Face | None:
    """The same face on the turned copy of its surroundings on which it is found best; None if it is found on none."""
    import cv2

    x, y = face.box.centre
    side = AROUND * max(face.box.width, face.box.height)
    size = max(32, round(min(AROUND_PIXELS, side)))
    found: list[tuple[float, Face]] = []
    for turn in range(45, 360, 45):
        matrix = np.asarray(cv2.getRotationMatrix2D((x, y), turn, size / side), np.float64)
        matrix[:, 2] += size / 2 - np.array([x, y])
        patch = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for each in detector.detect(patch):
            near = np.hypot(*(np.array(each.box.centre) - size / 2)) < 0.5 * max(each.box.width, each.box.height)
            if near and abs(geometry.roll(each.landmarks, each.scheme)) <= UPRIGHT:
                found.append((each.score, _placed(each, cv2.invertAffineTransform(matrix), side / size)))
    return max(found, key=lambda each: each[0])[1] if found else None


def _placed(face: Face, back: np.ndarray, scale: float) -> Face:
    """A face of a turned copy in the photo: its points, and an upright box of the same size around its turned centre."""
    points = (face.landmarks @ back[:, :2].T + back[:, 2]).astype(np.float32)
    x, y = back[:, :2] @ face.box.centre + back[:, 2]
    half = np.array([face.box.width, face.box.height]) * scale / 2
    if 45 < abs(geometry.roll(points, face.scheme)) < 135:
        half = half[::-1]
    return Face(Box(*map(float, (x - half[0], y - half[1], x + half[0], y + half[1]))), face.score, points, face.scheme)


def _upright(faces: Faces, quarters: int, width: float, height: float) -> Faces:
    """The faces that are upright on a turned copy, in pixels of the original."""
    upright = [abs(geometry.roll(face.landmarks, face.scheme)) <= TILTED for face in faces]
    return quarter_back(faces.select(np.array(upright, bool)), quarters, width, height)


def _joined(found: list[Faces]) -> Faces:
    boxes, scores, points = (
        np.concatenate(part) for part in ([f.boxes for f in found], [f.scores for f in found], [f.landmarks for f in found])
    )
    every = Faces(boxes, scores, points, found[0].scheme)
    return every.select(geometry.suppress(boxes, scores, 0.3))
