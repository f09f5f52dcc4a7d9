"""ONNX graphs of the networks, built from their weight files; each takes RGB uint8 chips and normalises them itself.

Convolutions that TensorFlow pads as SAME have the padding SAME_UPPER of ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recognizer.attributes.tflite import LiteModel, LiteOperation
from recognizer.core.errors import ModelCorrupt
from recognizer.engines.onnxfile import FLOAT, UINT8, GraphBuilder

#: Mean of red, green and blue that face-api's networks were trained with.
MEAN = np.array([122.782, 117.001, 104.298], np.float32)
#: Red, green and blue in grey, as of ITU-R BT.601, which OpenCV and Pillow use.
GREY = np.array([0.299, 0.587, 0.114], np.float32)


class _FaceApi:
    """The layers of face-api's networks, which take their weights by name."""

    def __init__(self, name: str, tensors: Mapping[str, np.ndarray], side: int):
        self.graph, self._tensors = GraphBuilder(name), tensors
        chips = self.graph.input("chips", UINT8, ("n", side, side, 3))
        # planes first: subtracting three numbers in turn from neighbours takes ONNX Runtime sixteen times as long
        pixels = self.graph.node("Cast", [self.graph.node("Transpose", [chips], perm=(0, 3, 1, 2))], to=FLOAT)
        centred = self.graph.node("Sub", [pixels, self.graph.constant(MEAN.reshape(3, 1, 1))])
        self.pixels = self.graph.node("Mul", [centred, self.graph.constant(np.float32(1 / 255).reshape(1))])

    def tensor(self, name: str) -> np.ndarray:
        return self._tensors[name]

    def convolved(self, x: str, name: str, stride: int = 1) -> str:
        """A whole convolution: `name`/filters and `name`/bias."""
        filters = self.tensor(f"{name}/filters").transpose(3, 2, 0, 1)
        bias = self.graph.constant(self.tensor(f"{name}/bias"))
        return self.graph.node(
            "Conv",
            [x, self._constant(filters), bias],
            strides=(stride, stride),
            auto_pad="SAME_UPPER",
            kernel_shape=_window(filters),
        )

    def separable(self, x: str, name: str, stride: int = 1) -> str:
        """A depthwise convolution without bias, then a pointwise one."""
        depthwise = self.tensor(f"{name}/depthwise_filter").transpose(2, 3, 0, 1)
        pointwise = self.tensor(f"{name}/pointwise_filter").transpose(3, 2, 0, 1)
        bias = self.graph.constant(self.tensor(f"{name}/bias"))
        each = self.graph.node(
            "Conv",
            [x, self._constant(depthwise)],
            strides=(stride, stride),
            auto_pad="SAME_UPPER",
            group=len(depthwise),
            kernel_shape=_window(depthwise),
        )
        return self.graph.node("Conv", [each, self._constant(pointwise), bias], kernel_shape=_window(pointwise))

    def dense(self, x: str, name: str, output: str | None = None) -> str:
        """A fully connected layer: `name`/weights and `name`/bias."""
        weights, bias = (self.graph.constant(self.tensor(f"{name}/{part}")) for part in ("weights", "bias"))
        return self.graph.node("Add", [self.graph.node("MatMul", [x, weights]), bias], output)

    def relu(self, x: str) -> str:
        return self.graph.node("Relu", [x])

    def sum(self, *summands: str) -> str:
        total = summands[0]
        for each in summands[1:]:
            total = self.graph.node("Add", [total, each])
        return total

    def mean(self, x: str) -> str:
        """The mean over all places: (n, channels)."""
        return self.graph.node("Flatten", [self.graph.node("GlobalAveragePool", [x])], axis=1)

    def _constant(self, array: np.ndarray) -> str:
        return self.graph.constant(np.ascontiguousarray(array))


def _window(filters: np.ndarray) -> tuple[int, int]:
    return filters.shape[2], filters.shape[3]


def age_gender_graph(tensors: Mapping[str, np.ndarray], side: int) -> bytes:
    """face-api's TinyXception: "chips" uint8 (n, side, side, 3) RGB -> "age" (n, 1) in years, "gender" (n, 2): male, female.

    Raises
    ------
    ModelCorrupt
    """
    net = _FaceApi("age_gender_model", tensors, side)

    def reduction(x: str, name: str, first: bool = False) -> str:
        out = net.separable(x if first else net.relu(x), f"{name}/separable_conv0")
        out = net.separable(net.relu(out), f"{name}/separable_conv1")
        pooled = net.graph.node("MaxPool", [out], kernel_shape=(3, 3), strides=(2, 2), auto_pad="SAME_UPPER")
        return net.sum(pooled, net.convolved(x, f"{name}/expansion_conv", 2))

    def main(x: str, name: str) -> str:
        out = x
        for index in range(3):
            out = net.separable(net.relu(out), f"{name}/separable_conv{index}")
        return net.sum(out, x)

    try:
        x = net.relu(net.convolved(net.pixels, "entry_flow/conv_in", 2))
        x = reduction(x, "entry_flow/reduction_block_0", first=True)
        x = reduction(x, "entry_flow/reduction_block_1")
        for index in range(2):
            x = main(x, f"middle_flow/main_block_{index}")
        x = reduction(x, "exit_flow/reduction_block")
        x = net.mean(net.relu(net.separable(x, "exit_flow/separable_conv")))
        net.dense(x, "fc/age", "age")
        net.graph.node("Softmax", [net.dense(x, "fc/gender")], "gender", axis=1)
    except KeyError as error:
        raise ModelCorrupt(f"the weights lack {error}") from None
    net.graph.output("age", FLOAT, ("n", 1))
    net.graph.output("gender", FLOAT, ("n", 2))
    return net.graph.to_bytes()


def expression_graph(tensors: Mapping[str, np.ndarray], side: int) -> bytes:
    """face-api's expression network: "chips" uint8 (n, side, side, 3) RGB -> "expression" (n, 7), probabilities in the order
    neutral, happy, sad, angry, fearful, disgusted, surprised.

    Raises
    ------
    ModelCorrupt
    """
    net = _FaceApi("face_expression_model", tensors, side)
    try:
        x = net.pixels
        for block in range(4):
            name = f"dense{block}"
            first = net.convolved(x, f"{name}/conv0", 2) if block == 0 else net.separable(x, f"{name}/conv0", 2)
            outs = [net.relu(first)]
            parts = [outs[0]]
            for index in range(1, 4):
                parts.append(net.separable(outs[-1], f"{name}/conv{index}"))
                outs.append(net.relu(net.sum(*parts)))
            x = outs[-1]
        net.graph.node("Softmax", [net.dense(net.mean(x), "fc")], "expression", axis=1)
    except KeyError as error:
        raise ModelCorrupt(f"the weights lack {error}") from None
    net.graph.output("expression", FLOAT, ("n", 7))
    return net.graph.to_bytes()


def fer_graph(model: LiteModel, side: int) -> bytes:
    """fer's mini-Xception in float32: "chips" uint8 (n, side, side, 3) RGB, made grey here -> "expression" (n, 7),
    probabilities in the order angry, disgust, fear, happy, sad, surprise, neutral.

    Raises
    ------
    ModelCorrupt
    """
    graph = GraphBuilder("fer_emotion_model")
    chips = graph.input("chips", UINT8, ("n", side, side, 3))
    pixels = graph.node("Transpose", [graph.node("Cast", [chips], to=FLOAT)], perm=(0, 3, 1, 2))
    # grey, and its scale: (grey / 255 - 0.5) * 2
    weights = graph.constant((GREY * 2 / 255).reshape(1, 3, 1, 1))
    values = {model.input: graph.node("Conv", [pixels, weights, graph.constant(-np.ones(1, np.float32))], kernel_shape=(1, 1))}
    for operation in model.operations:
        values[operation.outputs[0]] = _lite_node(graph, operation, values, model.constants)
    graph.node("Identity", [values[model.output]], "expression")
    graph.output("expression", FLOAT, ("n", 7))
    return graph.to_bytes()


def _lite_node(
    graph: GraphBuilder, operation: LiteOperation, values: Mapping[int, str], constants: Mapping[int, np.ndarray]
) -> str:
    """One operator of TensorFlow Lite as nodes; tensors are (n, channels, height, width) here."""
    try:
        inputs = [values[index] for index in operation.inputs if index in values]
        pad = "SAME_UPPER" if operation.same else "VALID"
        stride = (operation.stride, operation.stride)
        match operation.kind:
            case "CONV_2D" | "DEPTHWISE_CONV_2D":
                filters, bias = (constants[index] for index in operation.inputs[1:])
                depthwise = operation.kind == "DEPTHWISE_CONV_2D"
                filters = np.ascontiguousarray(filters.transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2)))
                group = len(filters) if depthwise else 1
                made = graph.node(
                    "Conv",
                    [*inputs, graph.constant(filters), graph.constant(bias)],
                    strides=stride,
                    auto_pad=pad,
                    group=group,
                    kernel_shape=_window(filters),
                )
            case "MAX_POOL_2D":
                window = (operation.window, operation.window)
                made = graph.node("MaxPool", inputs, kernel_shape=window, strides=stride, auto_pad=pad)
            case "ADD":
                made = graph.node("Add", inputs)
            case "MEAN":
                made = graph.node("Flatten", [graph.node("GlobalAveragePool", inputs)], axis=1)
            case "SOFTMAX":
                made = graph.node("Softmax", inputs, axis=1)
            case other:
                raise ModelCorrupt(f"expected a known operator, got {other!r}")
    except (KeyError, ValueError) as error:
        raise ModelCorrupt(f"the operators do not fit together: {error}") from None
    return graph.node("Relu", [made]) if operation.relu else made
