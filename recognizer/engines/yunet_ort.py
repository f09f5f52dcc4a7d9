"""YuNet on ONNX Runtime: the results of cv2.FaceDetectorYN, faster, with one network for all threads.

Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 20 (2023); weights from opencv_zoo
(MIT). Priors and decoding are those of OpenCV's face_detect.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recognizer.core.errors import ModelCorrupt
from recognizer.core.types import check_pixels
from recognizer.engines import onnxfile
from recognizer.engines.prepared import Origin
from recognizer.engines.processor_form import load_network

_STRIDES = (8, 16, 32)
_DIVISOR = 32
#: The network's outputs for each cell, and the number of channels of each: two logits, a box, five points.
_HEADS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_OUTPUTS = tuple(f"{kind}_{stride}" for kind in _HEADS for stride in _STRIDES)
#: The operators from a level of the network to one of its heads, the last one first.
_CHAIN = ("Reshape", "Transpose", "Conv", "Conv")


class YuNet:
    """The network with decoding and suppression. Thread-safe.

    Parameters
    ----------
    model_path : path of face_detection_yunet_2023mar.onnx
    threads : int
        Number of threads for one image.
    score : float
        Faces with a lower score are ignored.
    nms : float
        IoU above which two boxes are one face.
    top_k : int
        Largest number of boxes before suppression.
    provider : str
        See `runtime.PROVIDERS`.
    origin : Origin, optional
        Where the rewritten network is stored.

    Raises
    ------
    ModelMissing, ModelCorrupt
        The file does not exist, or is not this model.
    """

    def __init__(
        self,
        model_path: str | Path,
        threads: int = 1,
        score: float = 0.6,
        nms: float = 0.3,
        top_k: int = 5000,
        provider: str = "cpu",
        origin: Origin | None = None,
    ):
        code = (__file__, onnxfile.__file__)
        make = lambda: _rewritten(onnxfile.read_file(model_path))  # noqa: E731
        self._session = load_network("yunet", origin, code, make, threads, provider)
        self._score, self._nms, self._top_k = np.float32(score), nms, top_k
        # a product of two sigmoids can reach the squared score only where both do; slightly lower, to allow for rounding
        least = min(max(score**2, 1e-6), 1 - 1e-6)
        self._least_logit = np.float32(np.log(least / (1 - least)) - 1e-3)

    def raw(self, pixels: np.ndarray) -> np.ndarray:
        """Find faces.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.

        Returns
        -------
        ndarray of float32, shape (n, 15)
            left, top, width, height, x and y of five points (the eye on the left of the image, the one on its right, nose tip,
            left and right corner of the mouth), score; best score first.
        """
        levels = self._session.infer(_padded(check_pixels(pixels))[None])
        rows = np.concatenate([self._decoded(level[0], stride) for level, stride in zip(levels, _STRIDES, strict=True)])
        return rows if len(rows) < 2 else rows[self._staying(rows)]

    def _decoded(self, level: np.ndarray, stride: int) -> np.ndarray:
        """The rows of the cells of one level, shape (16, rows, columns), whose score suffices."""
        columns = level.shape[2]
        level = level.reshape(len(level), -1)
        places = np.flatnonzero((level[0] >= self._least_logit) & (level[1] >= self._least_logit))
        found = level[:, places].T
        classes, objects = 1 / (1 + np.exp(-found[:, :2].T))
        scores = np.sqrt(classes * objects)
        stay = scores >= self._score
        places, found, scores = places[stay], found[stay], scores[stay]
        cell = np.stack([places % columns, places // columns], axis=1).astype(np.float32)
        size = np.exp(found[:, 4:6]) * stride
        corner = (cell + found[:, 2:4]) * stride - size / 2
        points = (found[:, 6:].reshape(-1, 5, 2) + cell[:, None]) * stride
        return np.hstack([corner, size, points.reshape(-1, 10), scores[:, None]]).astype(np.float32)

    def _staying(self, rows: np.ndarray) -> np.ndarray:
        """Indices of the rows that remain after suppression, best first; boxes are truncated to whole pixels, as in OpenCV."""
        import cv2

        boxes = np.trunc(rows[:, :4].astype(np.float64))
        # cv2's type stubs want sequences; arrays are read without a copy
        remaining = cv2.dnn.NMSBoxes(boxes, rows[:, 14], float(self._score), self._nms, 1.0, self._top_k)  # type: ignore[arg-type]
        return np.asarray(remaining, np.int64).ravel()


def _padded(pixels: np.ndarray) -> np.ndarray:
    """The image padded with zeros on the right and at the bottom, to a multiple of 32."""
    height, width = pixels.shape[:2]
    down, right = -height % _DIVISOR, -width % _DIVISOR
    if not (down or right):
        return np.ascontiguousarray(pixels)
    padded = np.zeros((height + down, width + right, 3), np.uint8)
    padded[:height, :width] = pixels
    return padded


def _rewritten(model: onnxfile.Message) -> bytes:
    """The model with another input and other outputs.

    The input is uint8 RGB pixels (1, H, W, 3) of any size, instead of BGR planes of 640x640. Each level has one output
    (1, 16, H / stride, W / stride), instead of four that are computed separately.
    """
    graph = model.graph
    if tuple(output.name for output in graph.output) != _OUTPUTS or len(graph.input) != 1:
        raise ModelCorrupt(f"expected YuNet's outputs {', '.join(_OUTPUTS)}, got another model")
    del graph.value_info[:]  # sizes for 640x640
    planes, first = graph.input[0].name, graph.node[0]
    arrays = {tensor.name: tensor for tensor in graph.initializer}
    try:
        weights = arrays[first.input[1]]
        onnxfile.set_array(weights, onnxfile.to_array(weights)[:, ::-1])  # from BGR to RGB
        joined = [_joined(model, arrays, stride) for stride in _STRIDES]
    except (KeyError, IndexError, ValueError) as error:
        raise ModelCorrupt(f"expected YuNet's layers, they are missing: {type(error).__name__}") from error
    graph.input[0].name = "pixels"
    graph.input[0].type.tensor_type.elem_type = onnxfile.UINT8
    onnxfile.set_shape(graph.input[0], (1, "height", "width", 3))
    heads = {name for level in joined for name in level.replaces}
    nodes = [node for node in graph.node if node.output[0] not in heads]
    del graph.node[:]
    turned = onnxfile.add_node(model, "Transpose", ["pixels"], perm=(0, 3, 1, 2))
    onnxfile.add_node(model, "Cast", [turned], planes, to=onnxfile.FLOAT)
    graph.node.extend(nodes)
    del graph.output[3:]
    for output, stride, level in zip(graph.output, _STRIDES, joined, strict=True):
        output.name = _add_heads(model, level, f"level_{stride}")
        onnxfile.set_shape(output, (1, sum(_HEADS.values()), f"rows_{stride}", f"columns_{stride}"))
    return onnxfile.to_bytes(model)


class _Level(NamedTuple):
    """The four heads of a level as one pair of convolutions: 1x1, then 3x3 on each channel.

    Attributes
    ----------
    features : str
        Name of their input.
    weights : tuple of ndarray
        Weights and bias of the first convolution, then of the second.
    replaces : frozenset of str
        Names of the original heads' outputs.
    """

    features: str
    weights: tuple[np.ndarray, ...]
    replaces: frozenset[str]


def _joined(model: onnxfile.Message, arrays: Mapping[str, onnxfile.Message], stride: int) -> _Level:
    """Join the heads of one level.

    Raises
    ------
    KeyError, IndexError, ValueError
        They are not as expected.
    """
    makers = {node.output[0]: node for node in model.graph.node}
    features: set[str] = set()
    replaced: set[str] = set()
    parts = []
    for kind, count in _HEADS.items():
        node, chain = makers[f"{kind}_{stride}"], []
        if node.op_type == "Sigmoid":  # applied to the logits
            replaced.add(node.output[0])
            node = makers[node.input[0]]
        for operator in _CHAIN:
            if node.op_type != operator:
                raise ValueError(f"expected {operator}, got {node.op_type}")
            replaced.add(node.output[0])
            chain.append(node)
            node = makers[node.input[0]]
        features.add(node.output[0])
        second, first = (tuple(onnxfile.to_array(arrays[name]) for name in each.input[1:3]) for each in chain[2:])
        if first[0].shape[0] != count or second[0].shape != (count, 1, 3, 3):
            raise ValueError(f"expected {count} channels, got {second[0].shape}")
        parts.append((*first, *second))
    (name,) = features
    return _Level(name, tuple(np.concatenate(each) for each in zip(*parts, strict=True)), frozenset(replaced))


def _add_heads(model: onnxfile.Message, level: _Level, output: str) -> str:
    first, first_bias, second, second_bias = (onnxfile.add_constant(model, each) for each in level.weights)
    here = onnxfile.add_node(model, "Conv", [level.features, first, first_bias], kernel_shape=(1, 1))
    return onnxfile.add_node(
        model,
        "Conv",
        [here, second, second_bias],
        output,
        kernel_shape=(3, 3),
        pads=(1, 1, 1, 1),
        group=len(level.weights[2]),
    )
