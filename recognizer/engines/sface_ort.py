"""SFace on ONNX Runtime: the results of cv2.FaceRecognizerSF, nearly twice as fast.

The published graph is slow on ONNX Runtime: batch normalisation cannot be folded while the weights are inputs of the graph, and
each of its 27 PReLUs converts the data out of the layout in which convolutions are fast. The rewritten graph is one chain of
convolutions, additions and ReLUs.

Zhong et al.: "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP (2021); weights from
opencv_zoo (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.errors import ModelCorrupt
from recognizer.engines import onnxfile
from recognizer.engines.prepared import Origin
from recognizer.engines.processor_form import load_network

CHIP = 112
_BATCH = 2  # as fast as 4, with half the memory; larger batches do not fit in the processor's cache
_ENDING = ["BatchNormalization", "Dropout", "Flatten", "Gemm", "BatchNormalization"]


class SFaceNet:
    """The network, without detection and alignment. Thread-safe.

    Parameters
    ----------
    model_path : path of face_recognition_sface_2021dec.onnx
    threads : int
        Number of threads for one call.
    provider : str
        See `runtime.PROVIDERS`.
    origin : Origin, optional
        Where the rewritten network is stored.

    Raises
    ------
    ModelMissing, ModelCorrupt
        The file does not exist, or is not this model.
    """

    dim = 128

    def __init__(self, model_path: str | Path, threads: int = 1, provider: str = "cpu", origin: Origin | None = None):
        code = (__file__, onnxfile.__file__)
        make = lambda: _rewritten(onnxfile.read_file(model_path))  # noqa: E731
        self._session = load_network("sface", origin, code, make, threads, provider)

    def describe(self, chips: np.ndarray) -> np.ndarray:
        """Describe aligned faces.

        Parameters
        ----------
        chips : ndarray of uint8, shape (n, 112, 112, 3)
            RGB.

        Returns
        -------
        ndarray of float32, shape (n, 128)
            The same as cv2.FaceRecognizerSF.feature: not normalised to unit length.
        """
        if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[1:] != (CHIP, CHIP, 3):
            raise ValueError(f"expected uint8 chips of shape (n, {CHIP}, {CHIP}, 3), got {chips.dtype} {chips.shape}")
        if not len(chips):
            return np.zeros((0, self.dim), np.float32)
        parts = [np.ascontiguousarray(chips[start : start + _BATCH]) for start in range(0, len(chips), _BATCH)]
        return np.concatenate([self._session.infer(part)[0] for part in parts])


def _rewritten(model: onnxfile.Message) -> bytes:
    """The model with uint8 chips (n, 112, 112, 3) as its only input, and only fast operators."""
    nodes = list(model.graph.node)
    kinds = [node.op_type for node in nodes]
    body = kinds[2:-5]
    if kinds[:2] != ["Sub", "Mul"] or kinds[-5:] != _ENDING or not body or body != _BLOCK * (len(body) // 3):
        raise ModelCorrupt("expected SFace's layers, got another model")
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    try:
        return _Writer(arrays).write(nodes)
    except (KeyError, ValueError) as error:
        raise ModelCorrupt(f"expected SFace's weights, they do not fit its layers: {type(error).__name__}") from error


_BLOCK = ["Conv", "BatchNormalization", "PRelu"]


class _Writer:
    """Writes the chain of layers to a new graph; computes in float64 until the weights are stored."""

    def __init__(self, tensors: Mapping[str, onnxfile.Message]):
        self._tensors = tensors
        self._graph = onnxfile.GraphBuilder("face_recognition_sface_2021dec")
        #: The sign with which each channel of the previous layer was computed.
        self._signs = np.ones(1)

    def write(self, nodes: Sequence[onnxfile.Message]) -> bytes:
        graph = self._graph
        chips = graph.input("chips", onnxfile.UINT8, ("n", CHIP, CHIP, 3))
        planes = graph.node("Cast", [graph.node("Transpose", [chips], perm=(0, 3, 1, 2))], to=onnxfile.FLOAT)
        centred = graph.node("Sub", [planes, self._constant(self._array(nodes[0].input[1]))])
        here = graph.node("Mul", [centred, self._constant(self._array(nodes[1].input[1]))])
        for index in range(2, len(nodes) - 5, 3):
            here = self._block(here, *nodes[index : index + 3])
        self._ending(here, nodes[-5], nodes[-2], nodes[-1])
        graph.output("features", onnxfile.FLOAT, ("n", SFaceNet.dim))
        return graph.to_bytes()

    def _block(self, here: str, con: onnxfile.Message, norm: onnxfile.Message, prelu: onnxfile.Message) -> str:
        """A convolution with its normalisation folded in, and prelu(x) = slope x + (1 - slope) relu(x).

        The factor of relu(x) is moved into its argument, where only its sign is lost: channels with a slope above 1 are
        computed with the opposite sign, which the weights of the next layer reverse.
        """
        scale, shift = self._scale_and_shift(norm)
        weights = self._array(con.input[1]) * scale[:, None, None, None]
        attributes: dict[str, Any] = {item.name: item.i if item.type == 2 else tuple(item.ints) for item in con.attribute}
        depthwise = attributes.get("group", 1) > 1
        weights = weights * (self._signs[:, None, None, None] if depthwise else self._signs[:, None, None])
        slope = self._array(prelu.input[1]).reshape(len(shift))
        self._signs = np.where(slope > 1, -1.0, 1.0)
        factors = np.abs(1 - slope), self._signs * slope
        if depthwise:  # so little work that computing it twice is faster than writing and reading it again
            bent, straight = (self._convolved(here, weights, shift, each, attributes) for each in factors)
        else:
            x = self._convolved(here, weights, shift, np.ones(len(shift)), attributes)
            bent, straight = (self._scaled(x, each) for each in factors)
        return self._graph.node("Add", [straight, self._graph.node("Relu", [bent])])

    def _convolved(
        self, here: str, weights: np.ndarray, shift: np.ndarray, factors: np.ndarray, attributes: Mapping[str, Any]
    ) -> str:
        """A convolution with each output channel multiplied by a factor."""
        arrays = weights * factors[:, None, None, None], shift * factors
        return self._graph.node("Conv", [here, *map(self._constant, arrays)], **attributes)

    def _scaled(self, name: str, factors: np.ndarray) -> str:
        """Each channel multiplied by its factor, as a convolution: that keeps the data in the layout of convolutions."""
        weights = self._constant(factors.reshape(-1, 1, 1, 1))
        return self._graph.node("Conv", [name, weights], kernel_shape=(1, 1), group=len(factors))

    def _ending(self, here: str, norm: onnxfile.Message, dense: onnxfile.Message, last_norm: onnxfile.Message) -> None:
        """The dense layer, with the normalisations before and after it folded in."""
        bias = self._array(dense.input[2])
        scale, shift = self._scale_and_shift(norm)
        # most of the file, so computed in float32 and in place
        weights = onnxfile.to_array(self._tensors[dense.input[1]]).reshape(len(bias), len(scale), -1).copy()
        bias = bias + weights.sum(axis=2, dtype=np.float64) @ shift
        weights *= (scale * self._signs)[:, None].astype(np.float32)
        scale, shift = self._scale_and_shift(last_norm)
        weights, bias = weights.reshape(len(bias), -1), bias * scale + shift
        weights *= scale[:, None].astype(np.float32)
        flat = self._graph.node("Flatten", [here], axis=1)
        self._graph.node("Gemm", [flat, self._constant(weights.T), self._constant(bias)], "features")

    def _scale_and_shift(self, norm: onnxfile.Message) -> tuple[np.ndarray, np.ndarray]:
        gamma, beta, mean, variance = (self._array(name) for name in norm.input[1:])
        epsilon = next((item.f for item in norm.attribute if item.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale

    def _array(self, name: str) -> np.ndarray:
        return onnxfile.to_array(self._tensors[name]).astype(np.float64)

    def _constant(self, array: np.ndarray) -> str:
        return self._graph.constant(array.astype(np.float32, copy=False))
