"""Conversion of dlib's networks to ONNX graphs: the same arithmetic, with affine layers folded into convolutions."""

from __future__ import annotations

import numpy as np

from recognizer.core.errors import ModelCorrupt
from recognizer.engines.dlib.datfile import Layer, Network
from recognizer.engines.onnxfile import FLOAT, UINT8, GraphBuilder

_SCALE = np.float32(1 / 256)  # dlib divides pixels less the mean by 256
_CHIP = 150


def resnet_to_onnx(network: Network) -> bytes:
    """The ResNet: "chips" uint8 (n, 150, 150, 3) RGB -> "descriptors" float32 (n, 128).

    Raises
    ------
    ModelCorrupt
        The layers do not fit together.
    """
    graph = GraphBuilder("dlib_face_recognition_resnet_model_v1")
    chips = graph.input("chips", UINT8, ("n", _CHIP, _CHIP, 3))
    pixels = graph.node("Transpose", [graph.node("Cast", [chips], to=FLOAT)], perm=(0, 3, 1, 2))
    centred = graph.node("Sub", [pixels, graph.constant(network.means.reshape(1, 3, 1, 1))])
    _Walk(graph, centred, 3, _CHIP).through(_folded(_scaled_input(network.layers)), "descriptors")
    graph.output("descriptors", FLOAT, ("n", 128))
    return graph.to_bytes()


def mmod_to_onnx(network: Network) -> bytes:
    """The mmod detector: "canvas" float32 (1, 3, H, W), pixels minus the means -> "scores" float32 (1, 1, h, w).

    Raises
    ------
    ModelCorrupt
        The layers do not fit together.
    """
    graph = GraphBuilder("mmod_human_face_detector")
    canvas = graph.input("canvas", FLOAT, (1, 3, "height", "width"))
    _Walk(graph, canvas, 3, None).through(_folded(_scaled_input(network.layers)), "scores")
    graph.output("scores", FLOAT, (1, 1, "rows", "columns"))
    return graph.to_bytes()


def _scaled_input(layers: list[Layer]) -> list[Layer]:
    """The layers with the division by 256 moved into the first convolution; exact, since 256 is a power of two."""
    first = layers[0]
    arrays = {**first.arrays, "weights": first.arrays["weights"] * _SCALE}
    return [Layer(first.kind, arrays, first.window, first.stride, first.padding), *layers[1:]]


def _folded(layers: list[Layer]) -> list[Layer]:
    """The layers with every affine layer folded into the preceding convolution."""
    folded: list[Layer] = []
    for layer in layers:
        if layer.kind != "affine":
            folded.append(layer)
            continue
        con = folded.pop()
        scale, shift = (layer.arrays[name].astype(np.float64) for name in ("scale", "shift"))
        if scale.shape != con.arrays["bias"].shape:
            raise ModelCorrupt(f"expected an affine layer of {con.arrays['bias'].size} channels, got {scale.size}")
        arrays = {
            "weights": (con.arrays["weights"] * scale[:, None, None, None]).astype(np.float32),
            "bias": (con.arrays["bias"] * scale + shift).astype(np.float32),
        }
        folded.append(Layer("con", arrays, con.window, con.stride, con.padding))
    return folded


class _Walk:
    """Adds the layers to a graph in order.

    `here` is the current output: its name, number of channels, and side in pixels (None where it varies).
    """

    def __init__(self, graph: GraphBuilder, name: str, channels: int, side: int | None):
        self.graph = graph
        self.here = (name, channels, side)
        self.marks: dict[str, tuple[str, int, int | None]] = {}

    def through(self, layers: list[Layer], output: str) -> None:
        for layer in layers[:-1]:
            self.here = self._step(layer, None)
        self.here = self._step(layers[-1], output)

    def _step(self, layer: Layer, output: str | None) -> tuple[str, int, int | None]:
        name, channels, side = self.here
        match layer.kind:
            case "con":
                return self._convolve(layer, output)
            case "relu":
                return self.graph.node("Relu", [name], output), channels, side
            case "max_pool":
                window = (layer.window, layer.window)
                pooled = self.graph.node("MaxPool", [name], kernel_shape=window, strides=(layer.stride, layer.stride))
                return pooled, channels, _shrunk(side, layer)
            case "avg_pool":
                return self._halve(layer)
            case "avg_pool_everything":
                return self.graph.node("Flatten", [self.graph.node("GlobalAveragePool", [name])], axis=1), channels, 1
            case "fc":
                weights = layer.arrays["weights"]
                if weights.shape[0] != channels:
                    raise ModelCorrupt(f"expected weights for {channels} channels, got {weights.shape}")
                return self.graph.node("MatMul", [name, self.graph.constant(weights)], output), weights.shape[1], 1
            case "tag1" | "tag2":
                self.marks[layer.kind] = self.here
                return self.here
            case "skip1":
                return self.marks["tag1"]
            case "add1" | "add2":
                return self._add(self.marks["tag" + layer.kind[-1]])
        raise ModelCorrupt(f"expected a known layer, got {layer.kind!r}")

    def _convolve(self, layer: Layer, output: str | None) -> tuple[str, int, int | None]:
        name, channels, side = self.here
        weights = layer.arrays["weights"]
        if weights.shape[1] != channels:
            raise ModelCorrupt(f"expected a convolution of {channels} channels, got {weights.shape[1]}")
        made = self.graph.node(
            "Conv",
            [name, self.graph.constant(weights), self.graph.constant(layer.arrays["bias"])],
            output,
            kernel_shape=(layer.window, layer.window),
            strides=(layer.stride, layer.stride),
            pads=(layer.padding,) * 4,
        )
        return made, weights.shape[0], _shrunk(side, layer)

    def _halve(self, layer: Layer) -> tuple[str, int, int | None]:
        """Average pooling on the path around a block, then a convolution that adds the missing channels.

        The other summand has more channels, and dlib takes the missing ones as zero. A copying convolution does the same
        without leaving the layout in which convolutions are fast.
        """
        name, channels, side = self.here
        window = (layer.window, layer.window)
        pooled = self.graph.node("AveragePool", [name], kernel_shape=window, strides=(layer.stride, layer.stride))
        self.here = pooled, channels, _shrunk(side, layer)
        wanted = max(channels, self.marks["tag2"][1])
        copies = np.eye(wanted, channels, dtype=np.float32).reshape(wanted, channels, 1, 1)
        return self._convolve(Layer("con", {"weights": copies, "bias": np.zeros(wanted, np.float32)}, window=1), None)

    def _add(self, other: tuple[str, int, int | None]) -> tuple[str, int, int | None]:
        """The sum of both; the smaller one is padded with zeros at the bottom and on the right."""
        (name, channels, side), (other_name, other_channels, other_side) = self.here, other
        if channels != other_channels:
            raise ModelCorrupt(f"expected {other_channels} channels to be added, got {channels}")
        if side is None or other_side is None:
            raise ModelCorrupt("expected layers of known size to be added")
        larger = max(side, other_side)
        names = [self._padded(name, larger - side), self._padded(other_name, larger - other_side)]
        return self.graph.node("Add", names), channels, larger

    def _padded(self, name: str, missing: int) -> str:
        if not missing:
            return name
        return self.graph.node("Pad", [name, self.graph.constant(np.array([0, 0, 0, 0, 0, 0, missing, missing]))])


def _shrunk(side: int | None, layer: Layer) -> int | None:
    if side is None:
        return None
    if side + 2 * layer.padding < layer.window:
        raise ModelCorrupt(f"expected at least {layer.window} pixels before a layer, got {side}")
    return (side + 2 * layer.padding - layer.window) // layer.stride + 1
