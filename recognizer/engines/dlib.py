"""dlib itself, as face_recognition uses it: HOG detector, 5 and 68 points, 128-d embedding.

Weights come from the installed ``face_recognition_models``; the package is not imported, since importing it (or
face_recognition) loads every model and changes Pillow's settings for the whole process.

Boxes keep face_recognition's reading of dlib's rectangles: right and bottom are the numbers that dlib gives, cut
to the picture.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np

from .. import geometry, models
from ..types import Faces, check_pixels

#: Parts of the 68-point scheme, as face_recognition.face_landmarks names them: (name, indices in order).
PARTS_68: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("chin", tuple(range(0, 17))),
    ("left_eyebrow", tuple(range(17, 22))),
    ("right_eyebrow", tuple(range(22, 27))),
    ("nose_bridge", tuple(range(27, 31))),
    ("nose_tip", tuple(range(31, 36))),
    ("left_eye", tuple(range(36, 42))),
    ("right_eye", tuple(range(42, 48))),
    ("top_lip", (*range(48, 55), 64, 63, 62, 61, 60)),
    ("bottom_lip", (*range(54, 60), 48, 60, 67, 66, 65, 64)),
)


@cache
def predictor(points: int):
    """dlib's shape predictor of 5 or 68 points; the file of the latter is loaded only when it is asked for."""
    import dlib

    return dlib.shape_predictor(str(models.dlib_file(f"shape_predictor_{points}_face_landmarks.dat")))


def _rectangle(box):
    import dlib

    return dlib.rectangle(*(int(round(float(edge))) for edge in box))


def dlib_boxes(faces: Faces) -> np.ndarray:
    """The boxes to hand to dlib for faces of any detector, left, top, right, bottom."""
    return faces.boxes if faces.scheme == "dlib5" else geometry.dlib_boxes(faces.boxes)


def shapes(pixels: np.ndarray, faces: Faces, points: int = 5) -> list:
    """dlib's landmarks for each face as ``dlib.full_object_detection``; `points` is 5 or 68."""
    find_points = predictor(points)
    return [find_points(pixels, _rectangle(box)) for box in dlib_boxes(faces)]


def points_of(shape) -> list[tuple[int, int]]:
    """x, y of each landmark of a ``dlib.full_object_detection``."""
    return [(part.x, part.y) for part in shape.parts()]


def landmarks_68(pixels: np.ndarray, faces: Faces) -> np.ndarray:
    """68 landmarks of each face, float32 (n, 68, 2), in the order of iBUG 300-W.

    The file behind them was trained on data whose licence excludes commercial use; it is loaded only here.
    """
    found = [points_of(shape) for shape in shapes(check_pixels(pixels), faces, 68)]
    return np.array(found, np.float32).reshape(-1, 68, 2)


class HogDetector:
    """face_recognition's default detector: dlib's HOG, with its five points.

    Parameters
    ----------
    upsample : int
        How many times the picture is doubled; 1 finds faces from about 32 pixels, 0 from about 60.
    """

    name = "hog"
    preferred_size = 1280

    def __init__(self, upsample: int = 1):
        self._upsample = upsample
        self._local = threading.local()

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 (H, W, 3) at the size it has; see `base.Detector`."""
        rectangles, scores = self.raw_rectangles(check_pixels(pixels), self._upsample)
        if not len(rectangles):
            return Faces.empty("dlib5")
        height, width = pixels.shape[:2]
        boxes = [
            (max(r.left(), 0), max(r.top(), 0), min(r.right(), width), min(r.bottom(), height)) for r in rectangles
        ]
        found = Faces(np.array(boxes, float), np.array(scores), np.zeros((len(boxes), 5, 2), np.float32), "dlib5")
        points = np.array([points_of(shape) for shape in shapes(pixels, found)], np.float32)
        return Faces(found.boxes, found.scores, points, "dlib5")

    def raw_rectangles(self, pixels: np.ndarray, upsample: int) -> tuple[list, list[float]]:
        """dlib's rectangles and scores, of RGB or grey uint8 pixels.

        The detector object is not safe to share, and dlib lets go of the GIL in it.
        """
        import dlib

        detector = getattr(self._local, "detector", None)
        if detector is None:
            detector = self._local.detector = dlib.get_frontal_face_detector()
        rectangles, scores, _ = detector.run(np.ascontiguousarray(pixels), upsample, 0.0)  # it reads other layouts as noise
        return list(rectangles), list(scores)


class DlibEmbedder:
    """face_recognition's 128-d embedding, by dlib's own ResNet and alignment (King, 2017, "High Quality Face
    Recognition with Deep Metric Learning").

    dlib's network keeps its activations in the model object; dlib holds the GIL while it computes, which is what
    makes sharing one object safe.
    """

    name = "dlib"
    dim = 128
    holds_lock = True

    def __init__(self):
        self._lock = threading.Lock()
        self._network = None

    def embed(self, pixels: np.ndarray, faces: Faces, jitters: int = 1) -> np.ndarray:
        """Describe faces; see `base.Embedder`. `jitters` as in ``face_recognition.face_encodings``."""
        pixels = np.ascontiguousarray(check_pixels(pixels))  # dlib reads a network's pixels in no other order
        network = self._load()
        found = [network.compute_face_descriptor(pixels, shape, jitters) for shape in shapes(pixels, faces)]
        return np.array(found, np.float32).reshape(-1, self.dim)

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """Describe the faces of several photos; see `base.Embedder`."""
        return [self.embed(pixels, faces) for pixels, faces in photos]

    def _load(self):
        with self._lock:
            if self._network is None:
                import dlib

                file = models.dlib_file("dlib_face_recognition_resnet_model_v1.dat")
                self._network = dlib.face_recognition_model_v1(str(file))
        return self._network
