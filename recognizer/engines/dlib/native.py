"""dlib itself, as face_recognition uses it: HOG detector, 5 and 68 landmarks, 128-d embedding.

Weights come from the installed ``face_recognition_models``; the package is not imported, since importing it, or
face_recognition, loads every model and changes Pillow's settings for the whole process.

Boxes follow face_recognition's convention: right and bottom are dlib's (inclusive) numbers, clipped to the image.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Face, Faces, check_pixels
from recognizer.weights import manifest

#: Degrees of tilt, by landmark scheme, from which on dlib's landmarks are found on an upright copy of a face. What dlib's own
#: detectors find upright stays with dlib, to the last bit; beyond half a right angle a face was found on a turned copy.
TURNED = {"yunet5": 30.0, "dlib5": 45.0}
#: Side of that copy in pixels.
PATCH = 400
#: An object of dlib, which has no types: ``dlib.full_object_detection``.
Shape: TypeAlias = Any


def predictor(points: int) -> Any:
    """dlib's shape predictor for 5 or 68 points; each file is loaded on first use."""
    with _LOADING:  # a second thread waits instead of loading it too
        return _predictor(points)


@cache
def _predictor(points: int) -> Any:
    import dlib

    return dlib.shape_predictor(str(manifest.dlib_file(f"shape_predictor_{points}_face_landmarks.dat")))


_LOADING = threading.Lock()


def _rectangle(box: np.ndarray) -> Any:
    import dlib

    return dlib.rectangle(*(int(round(float(edge))) for edge in box))


def dlib_boxes(faces: Faces) -> np.ndarray:
    """The boxes that dlib's shape predictors expect, for faces of any detector: (n, 4), left, top, right, bottom."""
    return faces.boxes if faces.scheme == "dlib5" else geometry.dlib_boxes(faces.boxes)


def shapes(pixels: np.ndarray, faces: Faces, points: int = 5) -> list[Shape]:
    """dlib's landmarks of each face as ``dlib.full_object_detection``; `points` is 5 or 68."""
    find_points = predictor(points)
    made = []
    for face, box in zip(faces, dlib_boxes(faces), strict=True):
        turn = geometry.roll(face.landmarks, face.scheme)
        if abs(turn) <= TURNED[face.scheme]:
            made.append(find_points(pixels, _rectangle(box)))
        else:
            made.append(_turned_shape(find_points, pixels, face, turn))
    return made


def _turned_shape(find_points: Any, pixels: np.ndarray, face: Face, turn: float) -> Shape:
    """dlib's landmarks of a face that is turned in the plane: found on an upright copy of its surroundings.

    dlib's predictors know upright faces only, some 30 degrees to either side.
    """
    import cv2
    import dlib

    reference = geometry.REFERENCE_POINTS[face.scheme]
    factor = PATCH / (4 * geometry.DLIB_SIDE_AT_112)
    matrix = factor * geometry.similarity(face.landmarks, reference)
    matrix[:, 2] += PATCH / 2 - factor * np.array(geometry.DLIB_CENTRE_AT_112)
    patch = cv2.warpAffine(pixels, matrix, (PATCH, PATCH), flags=cv2.INTER_LINEAR)
    half = PATCH / 8
    middle = PATCH / 2
    found = np.array(
        points_of(find_points(patch, _rectangle(np.array([middle - half, middle - half, middle + half, middle + half]))))
    )
    back = cv2.invertAffineTransform(matrix)
    where = np.rint(found @ back[:, :2].T + back[:, 2]).astype(int)
    return dlib.full_object_detection(_rectangle(np.array(tuple(face.box))), [dlib.point(int(x), int(y)) for x, y in where])


def points_of(shape: Shape) -> list[tuple[int, int]]:
    """x, y of each landmark of a ``dlib.full_object_detection``."""
    return [(part.x, part.y) for part in shape.parts()]


def shapes_at(faces: Faces, points: np.ndarray) -> list[Shape]:
    """What `shapes` gave, made again from its points, (n, 5, 2)."""
    import dlib

    return [
        dlib.full_object_detection(_rectangle(box), [dlib.point(int(x), int(y)) for x, y in each])
        for box, each in zip(faces.boxes, points, strict=True)
    ]


def points_array(made: Sequence[Shape]) -> np.ndarray:
    """The five landmarks of each shape; float32, shape (n, 5, 2)."""
    return np.array([points_of(shape) for shape in made], np.float32).reshape(-1, 5, 2)


def landmarks_68(pixels: np.ndarray, faces: Faces) -> np.ndarray:
    """68 landmarks of each face in the order of iBUG 300-W; float32, shape (n, 68, 2), in `pixels`.

    The predictor was trained on data whose licence excludes commercial use; it is loaded only here.
    """
    found = [points_of(shape) for shape in shapes(check_pixels(pixels), faces, 68)]
    return np.array(found, np.float32).reshape(-1, 68, 2)


class HogDetector:
    """face_recognition's default detector: dlib's HOG, with dlib's five landmarks.

    Parameters
    ----------
    upsample : int
        How many times the image is doubled; 1 finds faces from about 32 pixels, 0 from about 60.
    """

    name = "hog"
    preferred_size = 1280

    def __init__(self, upsample: int = 1):
        self._upsample = upsample
        self._local = threading.local()

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 pixels, shape (H, W, 3), without resizing them; see `protocols.Detector`."""
        rectangles, scores = self.raw_rectangles(check_pixels(pixels), self._upsample)
        if not len(rectangles):
            return Faces.empty("dlib5")
        height, width = pixels.shape[:2]
        boxes = [(max(r.left(), 0), max(r.top(), 0), min(r.right(), width), min(r.bottom(), height)) for r in rectangles]
        found = Faces(np.array(boxes, float), np.array(scores), np.zeros((len(boxes), 5, 2), np.float32), "dlib5")
        points = np.array([points_of(shape) for shape in shapes(pixels, found)], np.float32)
        return Faces(found.boxes, found.scores, points, "dlib5")

    def raw_rectangles(self, pixels: np.ndarray, upsample: int) -> tuple[list[Any], list[float]]:
        """dlib's rectangles and scores for RGB or grey uint8 pixels.

        Each thread has its own detector object, which is not thread-safe; dlib releases the GIL while it runs.
        """
        import dlib

        detector = getattr(self._local, "detector", None)
        if detector is None:
            detector = self._local.detector = dlib.get_frontal_face_detector()
        rectangles, scores, _ = detector.run(np.ascontiguousarray(pixels), upsample, 0.0)  # dlib misreads other layouts
        return list(rectangles), list(scores)


class DlibEmbedder:
    """face_recognition's 128-d embedding, computed by dlib's own ResNet and alignment.

    King, "High Quality Face Recognition with Deep Metric Learning", 2017. dlib stores the network's activations in the model
    object, but holds the GIL while it computes, so sharing one object is safe.
    """

    name = "dlib"
    dim = 128
    holds_lock = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._network: Any = None

    def embed(self, pixels: np.ndarray, faces: Faces, jitters: int = 1) -> np.ndarray:
        """Describe faces; see `protocols.Embedder`. `jitters` as in ``face_recognition.face_encodings``."""
        pixels = np.ascontiguousarray(check_pixels(pixels))  # dlib requires this layout
        network = self._load()
        found = [network.compute_face_descriptor(pixels, shape, jitters) for shape in shapes(pixels, faces)]
        return np.array(found, np.float32).reshape(-1, self.dim)

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """Describe the faces of several photos; see `protocols.Embedder`."""
        return [self.embed(pixels, faces) for pixels, faces in photos]

    def _load(self) -> Any:
        with self._lock:
            if self._network is None:
                import dlib

                file = manifest.dlib_file("dlib_face_recognition_resnet_model_v1.dat")
                self._network = dlib.face_recognition_model_v1(str(file))
        return self._network
