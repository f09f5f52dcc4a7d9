"""YuNet on ONNX Runtime: what cv2.FaceDetectorYN gives, faster, and one network for all threads.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20 (2023); weights
from opencv_zoo (MIT). Priors and decoding as in OpenCV's face_detect.cpp.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ModelCorrupt
from ..types import check_pixels
from . import onnxfile
from .runtime import Session

_STRIDES = (8, 16, 32)
_DIVISOR = 32
_OUTPUTS = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in _STRIDES)


class YuNet:
    """The raw detector. Safe to call from several threads at once.

    Parameters
    ----------
    model_path : path of face_detection_yunet_2023mar.onnx
    threads : int
        Threads that work on one picture together.
    score : float
        Faces below this score are left out.
    nms : float
        IoU above which two boxes are one face.
    top_k : int
        Most boxes that are looked at before suppression.
    provider : str
        See `runtime.PROVIDERS`.

    Raises
    ------
    ModelMissing, ModelCorrupt
        The file is not there, or is not such a model.
    """

    def __init__(
        self,
        model_path: str | Path,
        threads: int = 1,
        score: float = 0.6,
        nms: float = 0.3,
        top_k: int = 5000,
        provider: str = "cpu",
    ):
        self._session = Session(_for_any_size(onnxfile.read_file(model_path)), threads, provider)
        self._score, self._nms, self._top_k = np.float32(score), nms, top_k

    def raw(self, pixels: np.ndarray) -> np.ndarray:
        """Find faces.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.

        Returns
        -------
        ndarray of float32, shape (n, 15)
            left, top, width, height, x and y of five points (the eye on the left of the picture, the one on its right,
            nose tip, mouth's left and right corner), score; best score first.
        """
        padded = _padded(check_pixels(pixels))
        rows = self._decoded(dict(zip(_OUTPUTS, self._session.run(padded[None]), strict=True)), padded.shape[1])
        return rows if len(rows) < 2 else rows[self._staying(rows)]

    def _decoded(self, outputs: dict[str, np.ndarray], width: int) -> np.ndarray:
        """The rows of all places whose score suffices, largest scale last."""
        return np.concatenate([self._decoded_scale(outputs, stride, width // stride) for stride in _STRIDES])

    def _decoded_scale(self, outputs: dict[str, np.ndarray], stride: int, columns: int) -> np.ndarray:
        classes, objects = (np.clip(outputs[f"{kind}_{stride}"].ravel(), 0, 1) for kind in ("cls", "obj"))
        scores = np.sqrt(classes * objects)
        places = np.flatnonzero(scores >= self._score)
        cell = np.stack([places % columns, places // columns], axis=1).astype(np.float32)
        box = outputs[f"bbox_{stride}"][0, places]
        size = np.exp(box[:, 2:]) * stride
        corner = (cell + box[:, :2]) * stride - size / 2
        points = (outputs[f"kps_{stride}"][0, places].reshape(-1, 5, 2) + cell[:, None]) * stride
        return np.hstack([corner, size, points.reshape(-1, 10), scores[places, None]]).astype(np.float32)

    def _staying(self, rows: np.ndarray) -> np.ndarray:
        """Indices of the rows that stay after suppression, best first; boxes are cut to whole pixels, as in OpenCV."""
        import cv2

        boxes = np.trunc(rows[:, :4].astype(np.float64))
        kept = cv2.dnn.NMSBoxes(boxes, rows[:, 14], float(self._score), self._nms, 1.0, self._top_k)
        return np.asarray(kept, np.int64).ravel()


def _padded(pixels: np.ndarray) -> np.ndarray:
    """The picture with zeros on the right and at the bottom, up to a multiple of 32."""
    height, width = pixels.shape[:2]
    down, right = -height % _DIVISOR, -width % _DIVISOR
    if not (down or right):
        return np.ascontiguousarray(pixels)
    padded = np.zeros((height + down, width + right, 3), np.uint8)
    padded[:height, :width] = pixels
    return padded


def _for_any_size(model) -> bytes:
    """The model with uint8 RGB pixels (1, H, W, 3) of any size as its input, instead of BGR planes of 640x640."""
    graph = model.graph
    if tuple(output.name for output in graph.output) != _OUTPUTS or len(graph.input) != 1:
        raise ModelCorrupt(f"expected YuNet's outputs {', '.join(_OUTPUTS)}, got another model")
    del graph.value_info[:]  # sizes for 640x640
    planes, first = graph.input[0].name, graph.node[0]
    _reverse_channels(model, first.input[1])
    graph.input[0].name = "pixels"
    graph.input[0].type.tensor_type.elem_type = onnxfile.UINT8
    onnxfile.set_shape(graph.input[0], (1, "height", "width", 3))
    for output in graph.output:
        values = output.type.tensor_type.shape.dim[2].dim_value
        onnxfile.set_shape(output, (1, f"places_{output.name}", values))
    nodes = list(graph.node)
    del graph.node[:]
    turned = onnxfile.add_node(model, "Transpose", ["pixels"], perm=(0, 3, 1, 2))
    onnxfile.add_node(model, "Cast", [turned], planes, to=onnxfile.FLOAT)
    graph.node.extend(nodes)
    return onnxfile.to_bytes(model)


def _reverse_channels(model, name: str) -> None:
    """Let the first convolution take RGB where it took BGR."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            reversed_ = onnxfile.to_array(tensor)[:, ::-1]
            onnxfile.set_array(tensor, reversed_)
            return
    raise ModelCorrupt("expected the weights of YuNet's first layer, they are not there")
