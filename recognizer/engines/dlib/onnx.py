"""dlib's ResNet and its mmod face detector on ONNX Runtime: the same boxes and embeddings, about 18 times as fast.

The graphs are converted from the installed ``face_recognition_models``; the ResNet's is stored beside the downloaded weights
(see `engines.prepared`). Before use, each network is compared with dlib on a synthetic face (the ResNet with a stored
descriptor, and with dlib itself only if that differs). If the results differ, dlib itself is used and a warning is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.errors import ModelCorrupt
from recognizer.core.types import Faces, check_pixels
from recognizer.engines import onnxfile
from recognizer.engines.dlib import convert, datfile, pyramid
from recognizer.engines.dlib.jitter import jittered
from recognizer.engines.dlib.native import Shape, points_array, shapes
from recognizer.engines.prepared import Origin, prepared
from recognizer.engines.processor_form import load_network
from recognizer.engines.protocols import Described, parted
from recognizer.engines.runtime import EXACT, INT8, NetworkSession
from recognizer.weights import manifest

RESNET_FILE = "dlib_face_recognition_resnet_model_v1.dat"
MMOD_FILE = "mmod_human_face_detector.dat"
POINTS_FILE = "shape_predictor_5_face_landmarks.dat"
_RECORDED = Path(__file__).with_name("drawn_face.json")
CHIP = 150
PADDING = 0.25
#: Largest accepted L2 distance from dlib's descriptor, and largest accepted difference from its detection scores.
TOLERANCE, SCORE_TOLERANCE = 1e-5, 1e-4
_BATCH = 16
_LEAST_SIDE = 10  # smaller images are reduced to nothing by mmod's layers

_log = logging.getLogger(__name__)


def _trusted_bytes(name: str) -> bytes:
    data = manifest.dlib_file(name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    expected = manifest.DLIB_FILES[name].sha256
    if found != expected:
        raise ModelCorrupt(f"expected {name} with sha256 {expected}, got {found}")
    return data


_RESNET = "dlib_resnet"
_RESNET_CODE = (convert.__file__, datfile.__file__, onnxfile.__file__)


def _resnet_origin(folder: Path | None) -> Origin | None:
    return None if folder is None else Origin(folder, manifest.DLIB_FILES[RESNET_FILE].sha256)


def _make_resnet() -> bytes:
    return convert.resnet_to_onnx(datfile.read_resnet(_trusted_bytes(RESNET_FILE)))


def _resnet_graph(folder: Path | None = None) -> bytes:
    return prepared(_RESNET, _resnet_origin(folder), _RESNET_CODE, _make_resnet)


def resnet_int8(threads: int, folder: Path | None) -> NetworkSession:
    from recognizer.engines.dlib.int8 import quantised

    if folder is None:
        raise ValueError("expected a folder in which to store the 8-bit network")
    graph = _resnet_graph(folder)
    file = quantised(graph, _RESNET, drawn_face(CHIP), folder)
    try:
        return NetworkSession(file, threads, INT8)
    except ModelCorrupt:
        _log.warning("the 8-bit network %s was damaged and is created again", file.name)
        file.unlink(missing_ok=True)
        return NetworkSession(quantised(graph, _RESNET, drawn_face(CHIP), folder), threads, INT8)


class ResNet:
    """dlib's face descriptor network. Thread-safe.

    Parameters
    ----------
    threads : int
        Number of threads for one call.
    provider : str
        See `runtime.PROVIDERS`.
    folder : path, optional
        Folder of the downloaded weights, where the converted network is stored. The provider ``"cpu-int8"`` needs it for the
        8-bit network, which takes some seconds to create.

    Attributes
    ----------
    on_dlib : bool
        Whether dlib itself is used, because the graph's result differed from dlib's on this machine.

    Raises
    ------
    ModelMissing, ModelCorrupt
        The weights do not exist, or are not the trusted ones.
    ModelError, StorageError
        The 8-bit network cannot be created or stored.
    """

    dim = 128

    def __init__(self, threads: int = 1, provider: str = "cpu", folder: Path | None = None):
        if provider == INT8:
            self._session = resnet_int8(threads, folder)
        else:
            self._session = load_network(_RESNET, _resnet_origin(folder), _RESNET_CODE, _make_resnet, threads, provider)
        self._dlib = self._dlib_if_different() if provider in EXACT else None

    @property
    def on_dlib(self) -> bool:
        return self._dlib is not None

    def describe(self, chips: np.ndarray) -> np.ndarray:
        """Describe aligned faces.

        Parameters
        ----------
        chips : ndarray of uint8, shape (n, 150, 150, 3)
            RGB, from `face_chips`.

        Returns
        -------
        ndarray of float32, shape (n, 128)
            Within `TOLERANCE` of dlib's; identical for the same chip, whether alone or in a batch.
        """
        if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[1:] != (CHIP, CHIP, 3):
            raise ValueError(f"expected uint8 chips of shape (n, {CHIP}, {CHIP}, 3), got {chips.dtype} {chips.shape}")
        if not len(chips):
            return np.zeros((0, self.dim), np.float32)
        run = self._run if self._dlib is None else self._dlib
        return np.concatenate([run(chips[start : start + _BATCH]) for start in range(0, len(chips), _BATCH)])

    def describe_jittered(self, chips: np.ndarray, jitters: int) -> np.ndarray:
        """Describe each face by the mean over `jitters` slightly shifted, rotated, scaled and mirrored copies.

        The copies are those of dlib's compute_face_descriptor when it is called with `num_jitters` for the first time. dlib's
        later calls use other copies; here the same chip always gives the same descriptor. With `jitters` 1 or less there are no
        copies.
        """
        if jitters <= 1:
            return self.describe(chips)
        means = [self.describe(jittered(chip, jitters)).mean(axis=0, dtype=np.float64) for chip in chips]
        return np.array(means, np.float32).reshape(-1, self.dim)

    def _run(self, chips: np.ndarray) -> np.ndarray:
        return self._session.infer(np.ascontiguousarray(chips))[0]

    def _dlib_if_different(self) -> DlibResNet | None:
        chips = drawn_face(CHIP)[None]
        found = self._run(chips)
        # loading and running dlib's network would take as long as everything before
        if np.linalg.norm(found - recorded_descriptor()) <= TOLERANCE:
            return None
        reference = DlibResNet()
        distance = float(np.linalg.norm(found - reference(chips)))
        if distance <= TOLERANCE:
            return None
        _log.warning("the ONNX ResNet is %.2g away from dlib's descriptor; dlib is used, which is slower", distance)
        return reference


def recorded_descriptor() -> np.ndarray:
    """dlib's descriptor of the synthetic face."""
    return np.array(json.loads(_RECORDED.read_bytes())["descriptor"])


class DlibResNet:
    """dlib's own network. Its activations are stored in the object, so calls are serialised."""

    def __init__(self) -> None:
        import dlib

        self._network = dlib.face_recognition_model_v1(str(manifest.dlib_file(RESNET_FILE)))
        self._lock = threading.Lock()

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        with self._lock:
            return np.array(self._network.compute_face_descriptor(list(chips)), np.float32)


class Mmod:
    """dlib's mmod (CNN) face detector. Thread-safe; parameters as for `ResNet`."""

    def __init__(self, threads: int = 1, provider: str = "cpu"):
        network = datfile.read_mmod(_trusted_bytes(MMOD_FILE))
        self._options = network.options
        self._means = network.means.reshape(3, 1, 1)
        self._session = NetworkSession(convert.mmod_to_onnx(network), threads, provider)
        self._dlib = self._dlib_if_different() if provider in EXACT else None

    @property
    def on_dlib(self) -> bool:
        return self._dlib is not None

    def detect(self, pixels: np.ndarray, upsample: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Find faces, with the results of ``dlib.cnn_face_detection_model_v1(file)(pixels, upsample)``.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.
        upsample : int
            How many times the image is doubled first; with 0, faces from about 80 pixels are found.

        Returns
        -------
        boxes : ndarray of int64, shape (n, 4)
            left, top, right, bottom as in dlib's rectangles: right and bottom are inclusive, and a box may extend beyond the
            image. Best score first.
        scores : ndarray of float64, shape (n,)
        """
        check_pixels(pixels)
        if self._dlib is not None:
            return self._dlib(pixels, upsample)
        return self._detect(pixels, upsample)

    def _detect(self, pixels: np.ndarray, upsample: int) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(upsample):
            pixels = _doubled(pixels)
        if min(pixels.shape[:2]) < _LEAST_SIDE:
            return np.zeros((0, 4), np.int64), np.zeros(0)
        options = self._options
        padding, outer_padding = int(options["padding"]), int(options["outer_padding"])
        plan = pyramid.layout(pixels.shape[0], pixels.shape[1], padding, outer_padding)
        canvas = pyramid.canvas(plan, pixels.transpose(2, 0, 1) - self._means)
        boxes, scores = self._raw_boxes(plan, self._session.infer(canvas)[0][0, 0])
        stay = pyramid.suppress(boxes, options["nms_iou"], options["nms_covered"])
        boxes = boxes[stay]
        if upsample:
            boxes = _halved(boxes, upsample)
        return boxes, scores[stay]

    def _raw_boxes(self, plan: pyramid.Layout, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and scores of all cells with a positive score, best first."""
        rows, columns = np.nonzero(scores > 0)
        found = scores[rows, columns].astype(np.float64)
        order = np.argsort(-found, kind="stable")
        # three 5x5 convolutions halve the size: the centre of output cell c is at 8c + 14 on the canvas
        centres = np.stack([columns, rows], axis=1)[order] * 8.0 + 14
        return pyramid.to_image(plan, centres, int(self._options["width"]), int(self._options["height"])), found[order]

    def _dlib_if_different(self) -> _DlibMmod | None:
        reference = _DlibMmod()
        pixels = drawn_face(120)
        (boxes, scores), (wanted, wanted_scores) = self._detect(pixels, 0), reference(pixels, 0)
        if np.array_equal(boxes, wanted) and np.allclose(scores, wanted_scores, rtol=0, atol=SCORE_TOLERANCE):
            return None
        _log.warning("the results of the ONNX mmod detector differ from dlib's; dlib is used, which is slower")
        return reference


class _DlibMmod:
    """dlib's own detector; calls are serialised."""

    def __init__(self) -> None:
        import dlib

        self._network = dlib.cnn_face_detection_model_v1(str(manifest.dlib_file(MMOD_FILE)))
        self._lock = threading.Lock()

    def __call__(self, pixels: np.ndarray, upsample: int) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            found = self._network(pixels, upsample)
        boxes = [(f.rect.left(), f.rect.top(), f.rect.right(), f.rect.bottom()) for f in found]
        return np.array(boxes, np.int64).reshape(-1, 4), np.array([f.confidence for f in found], np.float64)


def _doubled(pixels: np.ndarray) -> np.ndarray:
    """The image at twice its size, with the border that dlib's pyramid_up adds."""
    import dlib

    height, width = pixels.shape[:2]
    larger: np.ndarray = dlib.resize_image(pixels, rows=2 * height + 1, cols=2 * width + 2)
    return larger


def _halved(boxes: np.ndarray, times: int) -> np.ndarray:
    """Boxes in an image that was doubled `times` times -> boxes in the original image."""
    edges = boxes.astype(np.float64)
    for _ in range(times):
        edges = edges / 2 - (1.25, 0.75, 1.25, 0.75)
    return pyramid.round_away(edges)


def face_chips(pixels: np.ndarray, shapes: list[Shape]) -> np.ndarray:
    """Crop and align faces as compute_face_descriptor does for a single face; uint8 (n, 150, 150, 3).

    Parameters
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB.
    shapes : list of dlib.full_object_detection
        5 or 68 points of each face.
    """
    import dlib

    chips = [dlib.get_face_chip(pixels, shape, size=CHIP, padding=PADDING) for shape in shapes]
    return np.array(chips, np.uint8).reshape(-1, CHIP, CHIP, 3)


def drawn_face(side: int) -> np.ndarray:
    """A synthetic face that mmod detects: a few soft spots on an oval; uint8 (side, side, 3)."""
    y, x = np.mgrid[0:side, 0:side] / side

    def spot(centre_x: float, centre_y: float, width: float, height: float) -> Any:
        return np.exp(-(((x - centre_x) / width) ** 2) - ((y - centre_y) / height) ** 2)

    oval = np.hypot((x - 0.5) / 0.32, (y - 0.5) / 0.42)
    shade = 60 + 150 / (1 + np.exp(30 * (oval - 1)))
    for eye in (0.37, 0.63):
        shade -= 110 * spot(eye, 0.42, 0.07, 0.035) + 80 * spot(eye, 0.34, 0.1, 0.025)
    shade += 20 * spot(0.5, 0.5, 0.03, 0.12) - 40 * spot(0.5, 0.58, 0.07, 0.03) - 90 * spot(0.5, 0.72, 0.12, 0.035)
    hair = np.hypot((x - 0.5) / 0.4, (y - 0.5) / 0.5) < 1
    shade -= 100 * hair / (1 + np.exp(40 * (y - 0.2)))
    drawn: np.ndarray = np.clip(shade[..., None] * (1, 0.8, 0.65), 0, 255).astype(np.uint8)
    return drawn


class CnnDetector:
    """dlib's mmod detector as a `protocols.Detector`, with dlib's five landmarks.

    Parameters
    ----------
    upsample : int
        How many times the image is doubled first.
    threads : int
        Number of threads for one call.
    provider : str
        See `runtime.PROVIDERS`.
    """

    name = "cnn"
    preferred_size = 1280

    def __init__(self, upsample: int = 0, threads: int = 1, provider: str = "cpu"):
        import dlib

        self._upsample = upsample
        self._mmod = Mmod(threads, provider)
        self._points = dlib.shape_predictor(str(manifest.dlib_file(POINTS_FILE)))

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 pixels, shape (H, W, 3), without resizing them; see `protocols.Detector`.

        Boxes are clipped to the image; right and bottom are dlib's (inclusive) numbers, as in face_recognition.
        """
        boxes, scores = self._mmod.detect(pixels, self._upsample)
        height, width = pixels.shape[:2]
        boxes = np.clip(boxes, 0, (width, height, width, height))
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        boxes, scores = boxes[inside], scores[inside]
        points = [self._five_points(pixels, box) for box in boxes]
        return Faces(boxes.astype(np.float64), scores, np.array(points, np.float32).reshape(-1, 5, 2), "dlib5")

    def _five_points(self, pixels: np.ndarray, box: np.ndarray) -> list[tuple[int, int]]:
        import dlib

        return [(part.x, part.y) for part in self._points(pixels, dlib.rectangle(*box.tolist())).parts()]


class DlibOnnxEmbedder:
    """face_recognition's 128-d embedding: the results of `native.DlibEmbedder` within 1e-5, about 18 times as fast.

    Parameters
    ----------
    threads, provider, folder
        See `ResNet`.
    """

    name = "dlib"
    dim = 128
    holds_lock = False

    def __init__(self, threads: int = 1, provider: str = "cpu", folder: Path | None = None):
        self._network = ResNet(threads, provider, folder)

    def embed(self, pixels: np.ndarray, faces: Faces, jitters: int = 1) -> np.ndarray:
        """Describe faces; see `protocols.Embedder`. `jitters`: see `ResNet.describe_jittered`."""
        return self.embed_all([(pixels, faces)], jitters)[0]

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]], jitters: int = 1) -> list[np.ndarray]:
        """Describe the faces of several photos; see `protocols.Embedder`."""
        whole = [(np.ascontiguousarray(check_pixels(pixels)), faces) for pixels, faces in photos]
        return self.embed_shapes([(pixels, shapes(pixels, faces)) for pixels, faces in whole], jitters)

    def describe_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[Described]:
        """`embed_all` with dlib's landmarks; see `protocols.Described`. There are no strengths: they are 0."""
        whole = [(np.ascontiguousarray(check_pixels(pixels)), faces) for pixels, faces in photos]
        found = [(pixels, shapes(pixels, faces)) for pixels, faces in whole]
        return [
            Described(vectors, np.zeros(len(vectors), np.float32), points_array(made))
            for vectors, (_, made) in zip(self.embed_shapes(found), found, strict=True)
        ]

    def embed_shapes(self, photos: Sequence[tuple[np.ndarray, list[Shape]]], jitters: int = 1) -> list[np.ndarray]:
        """Like `embed_all`, for contiguous pixels and dlib's landmarks that the caller has already."""
        cut = _cut(photos)
        return parted(self._network.describe_jittered(np.concatenate(cut), jitters), cut) if cut else []

    def embed_with_mirrored(self, photos: Sequence[tuple[np.ndarray, list[Shape]]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """The mean of the embeddings of each face and of its mirror image, (n, 128), and the distance between them, (n,).

        Parameters
        ----------
        photos
            As for `embed_shapes`.
        """
        cut = _cut(photos)
        if not cut:
            return []
        both = self._network.describe(_with_mirrored(cut)).reshape(2, -1, self.dim)
        apart = np.linalg.norm(both[0] - both[1], axis=1)
        return list(zip(parted(both.mean(axis=0), cut), parted(apart, cut), strict=True))


def _with_mirrored(cut: Sequence[np.ndarray]) -> np.ndarray:
    """The chips of all photos, then their mirror images; OpenCV mirrors fifteen times as fast as NumPy."""
    import cv2

    count = sum(map(len, cut))
    both = np.empty((2 * count, CHIP, CHIP, 3), np.uint8)
    np.concatenate(cut, out=both[:count])
    for chip, mirrored in zip(both[:count], both[count:], strict=True):
        cv2.flip(chip, 1, dst=mirrored)
    return both


def _cut(photos: Sequence[tuple[np.ndarray, list[Shape]]]) -> list[np.ndarray]:
    return [face_chips(*photo) for photo in photos]
