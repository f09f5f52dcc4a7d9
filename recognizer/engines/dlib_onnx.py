"""dlib's ResNet and its mmod face detector on ONNX Runtime: the same boxes and embeddings, about 18 times as fast.

The graphs are made from the installed ``face_recognition_models`` when a network is loaded, which takes about a tenth
of a second, so nothing is kept on disk. Each is compared with dlib on a drawn face before it is used (the ResNet with
what dlib said of it once, and with dlib itself only where that is something else); should it ever differ, dlib itself
does the work and a warning is logged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .. import models
from ..errors import ModelCorrupt
from ..types import Faces, check_pixels
from . import datfile, dlib_convert, tiled_pyramid
from .base import parted
from .dlib import shapes
from .dlib_jitter import jittered
from .runtime import EXACT, INT8, Session, release_memory

RESNET_FILE = "dlib_face_recognition_resnet_model_v1.dat"
MMOD_FILE = "mmod_human_face_detector.dat"
POINTS_FILE = "shape_predictor_5_face_landmarks.dat"
_RECORDED = Path(__file__).with_name("drawn_face.json")
CHIP = 150
PADDING = 0.25
#: Largest L2 distance to dlib's own descriptor, and largest difference to its detection scores.
TOLERANCE, SCORE_TOLERANCE = 1e-5, 1e-4
_BATCH = 16
_LEAST_SIDE = 10  # below, mmod's layers have nothing left to look at

_log = logging.getLogger(__name__)


def _trusted_bytes(name: str) -> bytes:
    data = models.dlib_file(name).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    expected = models.DLIB_FILES[name].sha256
    if found != expected:
        raise ModelCorrupt(f"expected {name} with sha256 {expected}, got {found}")
    return data


def _resnet_graph() -> bytes:
    return dlib_convert.resnet_to_onnx(datfile.read_resnet(_trusted_bytes(RESNET_FILE)))


def _resnet_int8(threads: int, folder: Path | None) -> Session:
    from .int8 import quantised

    if folder is None:
        raise ValueError("expected a folder to keep the 8-bit network in")
    graph = _resnet_graph()
    file = quantised(graph, "dlib_resnet", drawn_face(CHIP), folder)
    try:
        return Session(file, threads, INT8)
    except ModelCorrupt:
        _log.warning("the 8-bit network %s was damaged and is made anew", file.name)
        file.unlink(missing_ok=True)
        return Session(quantised(graph, "dlib_resnet", drawn_face(CHIP), folder), threads, INT8)


class ResNet:
    """dlib's face descriptor network. Safe to call from several threads at once.

    Parameters
    ----------
    threads : int
        Threads that work on one call together.
    provider : str
        See `runtime.PROVIDERS`.
    kept : path, optional
        Folder for the 8-bit network of the provider ``"cpu-int8"``, which takes some seconds to make.

    Attributes
    ----------
    on_dlib : bool
        Whether dlib itself does the work, since the graph did not give what dlib gives here.

    Raises
    ------
    ModelMissing, ModelCorrupt
        The weights are not there, or are not the ones that are trusted.
    ModelError, StorageError
        The 8-bit network cannot be made, or not kept.
    """

    dim = 128

    def __init__(self, threads: int = 1, provider: str = "cpu", kept: Path | None = None):
        self._session = _resnet_int8(threads, kept) if provider == INT8 else Session(_resnet_graph(), threads, provider)
        self._dlib = self._dlib_if_different() if provider in EXACT else None
        release_memory()

    @property
    def on_dlib(self) -> bool:
        return self._dlib is not None

    def describe(self, chips: np.ndarray) -> np.ndarray:
        """Describe aligned faces.

        Parameters
        ----------
        chips : ndarray of uint8, shape (n, 150, 150, 3)
            RGB, as `face_chips` cuts them.

        Returns
        -------
        ndarray of float32, shape (n, 128)
            Within `TOLERANCE` of what dlib gives; the same bits for the same chip, alone or among others.
        """
        if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[1:] != (CHIP, CHIP, 3):
            raise ValueError(f"expected uint8 chips of shape (n, {CHIP}, {CHIP}, 3), got {chips.dtype} {chips.shape}")
        if not len(chips):
            return np.zeros((0, self.dim), np.float32)
        run = self._run if self._dlib is None else self._dlib
        return np.concatenate([run(chips[start : start + _BATCH]) for start in range(0, len(chips), _BATCH)])

    def describe_jittered(self, chips: np.ndarray, jitters: int) -> np.ndarray:
        """Describe each face by the mean over `jitters` slightly moved, turned, scaled and mirrored copies of it.

        The copies are those that dlib's compute_face_descriptor makes when it is first called with `num_jitters`;
        dlib makes others on each call, here the same chip always gives the same descriptor. Up to 1 jitter is none.
        """
        if jitters <= 1:
            return self.describe(chips)
        means = [self.describe(jittered(chip, jitters)).mean(axis=0, dtype=np.float64) for chip in chips]
        return np.array(means, np.float32).reshape(-1, self.dim)

    def _run(self, chips: np.ndarray) -> np.ndarray:
        return self._session.run(np.ascontiguousarray(chips))[0]

    def _dlib_if_different(self) -> _DlibResNet | None:
        chips = drawn_face(CHIP)[None]
        found = self._run(chips)
        # loading dlib's network and asking it would take as long as everything so far
        if np.linalg.norm(found - _recorded_descriptor()) <= TOLERANCE:
            return None
        reference = _DlibResNet()
        distance = float(np.linalg.norm(found - reference(chips)))
        if distance <= TOLERANCE:
            return None
        _log.warning("the ONNX ResNet is %.2g away from dlib's descriptor; dlib is used, which is slower", distance)
        return reference


def _recorded_descriptor() -> np.ndarray:
    """What dlib itself said of the drawn face."""
    return np.array(json.loads(_RECORDED.read_bytes())["descriptor"])


class _DlibResNet:
    """dlib's own network; its activations live in the object, so calls take turns."""

    def __init__(self):
        import dlib

        self._network = dlib.face_recognition_model_v1(str(models.dlib_file(RESNET_FILE)))
        self._lock = threading.Lock()

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        with self._lock:
            return np.array(self._network.compute_face_descriptor(list(chips)), np.float32)


class Mmod:
    """dlib's mmod (CNN) face detector. Safe to call from several threads at once; parameters as for `ResNet`."""

    def __init__(self, threads: int = 1, provider: str = "cpu"):
        network = datfile.read_mmod(_trusted_bytes(MMOD_FILE))
        self._options = network.options
        self._means = network.means.reshape(3, 1, 1)
        self._session = Session(dlib_convert.mmod_to_onnx(network), threads, provider)
        self._dlib = self._dlib_if_different() if provider in EXACT else None

    @property
    def on_dlib(self) -> bool:
        return self._dlib is not None

    def detect(self, pixels: np.ndarray, upsample: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Find faces as ``dlib.cnn_face_detection_model_v1(file)(pixels, upsample)`` does.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.
        upsample : int
            How many times the picture is doubled first; without it, faces from about 80 pixels are found.

        Returns
        -------
        boxes : ndarray of int64, shape (n, 4)
            left, top, right, bottom as in dlib's rectangles: right and bottom belong to the box, which may reach
            beyond the picture. Best score first.
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
        plan = tiled_pyramid.layout(
            *pixels.shape[:2], padding=self._options["padding"], outer_padding=self._options["outer_padding"]
        )
        canvas = tiled_pyramid.canvas(plan, pixels.transpose(2, 0, 1) - self._means)
        boxes, scores = self._raw_boxes(plan, self._session.run(canvas)[0][0, 0])
        stay = tiled_pyramid.suppress(boxes, self._options["nms_iou"], self._options["nms_covered"])
        boxes = boxes[stay]
        if upsample:
            boxes = _halved(boxes, upsample)
        return boxes, scores[stay]

    def _raw_boxes(self, plan: tiled_pyramid.Layout, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes and scores of all places that look like a face, best first."""
        rows, columns = np.nonzero(scores > 0)
        found = scores[rows, columns].astype(np.float64)
        order = np.argsort(-found, kind="stable")
        # three convolutions of 5x5 that halve the size: place c of the answer stands at 8c + 14 of the canvas
        centres = np.stack([columns, rows], axis=1)[order] * 8.0 + 14
        return tiled_pyramid.to_image(plan, centres, self._options["width"], self._options["height"]), found[order]

    def _dlib_if_different(self) -> _DlibMmod | None:
        reference = _DlibMmod()
        pixels = drawn_face(120)
        (boxes, scores), (wanted, wanted_scores) = self._detect(pixels, 0), reference(pixels, 0)
        if np.array_equal(boxes, wanted) and np.allclose(scores, wanted_scores, rtol=0, atol=SCORE_TOLERANCE):
            return None
        _log.warning("the ONNX mmod detector does not find what dlib finds; dlib is used, which is slower")
        return reference


class _DlibMmod:
    """dlib's own detector, one call at a time."""

    def __init__(self):
        import dlib

        self._network = dlib.cnn_face_detection_model_v1(str(models.dlib_file(MMOD_FILE)))
        self._lock = threading.Lock()

    def __call__(self, pixels: np.ndarray, upsample: int) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            found = self._network(pixels, upsample)
        boxes = [(f.rect.left(), f.rect.top(), f.rect.right(), f.rect.bottom()) for f in found]
        return np.array(boxes, np.int64).reshape(-1, 4), np.array([f.confidence for f in found], np.float64)


def _doubled(pixels: np.ndarray) -> np.ndarray:
    """The picture at twice its size, with the edge that dlib's pyramid_up adds."""
    import dlib

    height, width = pixels.shape[:2]
    return dlib.resize_image(pixels, rows=2 * height + 1, cols=2 * width + 2)


def _halved(boxes: np.ndarray, times: int) -> np.ndarray:
    """Boxes found in a picture that was doubled `times` times, in the picture itself."""
    edges = boxes.astype(np.float64)
    for _ in range(times):
        edges = edges / 2 - (1.25, 0.75, 1.25, 0.75)
    return tiled_pyramid.round_away(edges)


def face_chips(pixels: np.ndarray, shapes: list) -> np.ndarray:
    """Cut out faces as compute_face_descriptor does for one face at a time; uint8 (n, 150, 150, 3).

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
    """A face that needs no photo and that mmod finds: a few soft spots on an oval; uint8 (side, side, 3)."""
    y, x = np.mgrid[0:side, 0:side] / side

    def spot(centre_x, centre_y, width, height):
        return np.exp(-(((x - centre_x) / width) ** 2) - ((y - centre_y) / height) ** 2)

    oval = np.hypot((x - 0.5) / 0.32, (y - 0.5) / 0.42)
    shade = 60 + 150 / (1 + np.exp(30 * (oval - 1)))
    for eye in (0.37, 0.63):
        shade -= 110 * spot(eye, 0.42, 0.07, 0.035) + 80 * spot(eye, 0.34, 0.1, 0.025)
    shade += 20 * spot(0.5, 0.5, 0.03, 0.12) - 40 * spot(0.5, 0.58, 0.07, 0.03) - 90 * spot(0.5, 0.72, 0.12, 0.035)
    hair = np.hypot((x - 0.5) / 0.4, (y - 0.5) / 0.5) < 1
    shade -= 100 * hair / (1 + np.exp(40 * (y - 0.2)))
    return np.clip(shade[..., None] * (1, 0.8, 0.65), 0, 255).astype(np.uint8)


class CnnDetector:
    """dlib's mmod detector as a `base.Detector`, with dlib's five points.

    Parameters
    ----------
    upsample : int
        How many times the picture is doubled first.
    """

    name = "cnn"
    preferred_size = 1280

    def __init__(self, upsample: int = 0, threads: int = 1, provider: str = "cpu"):
        import dlib

        self._upsample = upsample
        self._mmod = Mmod(threads, provider)
        self._points = dlib.shape_predictor(str(models.dlib_file(POINTS_FILE)))

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces in RGB uint8 (H, W, 3) at the size it has; see `base.Detector`.

        Boxes are cut to the picture and keep dlib's numbers for right and bottom, as face_recognition's do.
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
    """face_recognition's 128-d embedding as `dlib.DlibEmbedder` gives it, within 1e-5, about 18 times as fast."""

    name = "dlib"
    dim = 128
    holds_lock = False

    def __init__(self, threads: int = 1, provider: str = "cpu", kept: Path | None = None):
        self._network = ResNet(threads, provider, kept)

    def embed(self, pixels: np.ndarray, faces: Faces, jitters: int = 1) -> np.ndarray:
        """Describe faces; see `base.Embedder`. `jitters`: see `ResNet.describe_jittered`."""
        return self.embed_all([(pixels, faces)], jitters)[0]

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]], jitters: int = 1) -> list[np.ndarray]:
        """Describe the faces of several photos; see `base.Embedder`."""
        whole = [(np.ascontiguousarray(check_pixels(pixels)), faces) for pixels, faces in photos]
        return self.embed_shapes([(pixels, shapes(pixels, faces)) for pixels, faces in whole], jitters)

    def embed_shapes(self, photos: Sequence[tuple[np.ndarray, list]], jitters: int = 1) -> list[np.ndarray]:
        """`embed_all` of contiguous pixels, with dlib's landmarks from somebody who has them already."""
        cut = [face_chips(*photo) for photo in photos]
        chips = np.concatenate(cut) if cut else np.zeros((0, CHIP, CHIP, 3), np.uint8)
        return parted(self._network.describe_jittered(chips, jitters), cut)
