"""Reads dlib's serialized networks (.dat): layers with their parameters, innermost first.

The format does not describe its own nesting, so a file is read according to the known list of layers of its network. Every
length is checked against the remaining bytes before memory is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from recognizer.core.errors import ModelCorrupt

_LARGEST_DIMENSION = 1 << 20


class DatReader:
    """Reads dlib's serialized values one after another.

    Raises
    ------
    ModelCorrupt
        By every method: the data ends too early, or is not such a value.
    """

    def __init__(self, data: bytes):
        self._data = memoryview(data)
        self._at = 0

    @property
    def left(self) -> int:
        """Number of bytes that were not read."""
        return len(self._data) - self._at

    def take(self, count: int) -> memoryview:
        """The next `count` bytes."""
        if not 0 <= count <= self.left:
            raise ModelCorrupt(f"expected {count} more bytes of weights, {self.left} are left")
        self._at += count
        return self._data[self._at - count : self._at]

    def integer(self) -> int:
        """An integer: one control byte (bit 7 is the sign, the low 4 bits the byte count), then the little-endian magnitude."""
        control = self.take(1)[0]
        count = control & 0x0F
        if control & 0x70 or not 1 <= count <= 8:
            raise ModelCorrupt(f"expected an integer, got control byte {control:#04x}")
        value = int.from_bytes(self.take(count), "little")
        return -value if control & 0x80 else value

    def number(self) -> float:
        """A floating-point number, stored as mantissa and binary exponent."""
        mantissa, exponent = self.integer(), self.integer()
        try:
            return math.ldexp(mantissa, exponent)  # exponents from 32000 on encode infinity and NaN
        except OverflowError:
            raise ModelCorrupt(f"expected a finite number, got {mantissa} * 2^{exponent}") from None

    def flag(self) -> bool:
        byte = bytes(self.take(1))
        if byte not in (b"0", b"1"):
            raise ModelCorrupt(f"expected a flag, got {byte!r}")
        return byte == b"1"

    def text(self) -> str:
        return bytes(self.take(self.integer())).decode("latin-1")

    def expect_version(self, *versions: int) -> int:
        version = self.integer()
        if version not in versions:
            raise ModelCorrupt(f"expected version {' or '.join(map(str, versions))}, got {version}")
        return version

    def expect_text(self, *texts: str) -> str:
        text = self.text()
        if text not in texts:
            raise ModelCorrupt(f"expected {' or '.join(texts)}, got {text[:40]!r}")
        return text

    def dimensions(self) -> tuple[int, int, int, int]:
        dimensions = (self.integer(), self.integer(), self.integer(), self.integer())
        if not all(0 <= size <= _LARGEST_DIMENSION for size in dimensions):
            raise ModelCorrupt(f"expected the four sizes of an array, got {dimensions}")
        return dimensions

    def tensor(self) -> np.ndarray:
        """A float32 array of four dimensions."""
        self.expect_version(2)
        dimensions = self.dimensions()
        count = 1
        for size in dimensions:
            count *= size
        return np.frombuffer(self.take(4 * count), "<f4").astype(np.float32).reshape(dimensions)

    def alias(self) -> tuple[int, int, int, int]:
        """The shape of a view into the parameters before it."""
        self.expect_version(1)
        return self.dimensions()

    def end(self) -> None:
        if self.left:
            raise ModelCorrupt(f"expected the end of the weights, {self.left} bytes are left")


@dataclass
class Layer:
    """One layer: its kind and its parameters.

    Attributes
    ----------
    kind : str
        One of "con", "affine", "relu", "max_pool", "avg_pool", "avg_pool_everything", "fc", "tag1", "tag2",
        "skip1" (continue from the output marked by tag1), "add1", "add2" (add the output marked by that tag).
    arrays : dict of str to ndarray of float32
        con: weights (out, in, rows, columns), bias (out,); affine: scale, shift (channels,); fc: weights (in, out).
    window, stride, padding : int
        For con and pooling layers; windows are square.
    """

    kind: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    window: int = 0
    stride: int = 1
    padding: int = 0


@dataclass
class Network:
    """A network read from a file.

    Attributes
    ----------
    means : ndarray of float32, shape (3,)
        Subtracted from red, green and blue.
    layers : list of Layer
    options : dict
        Values of the loss and input layers.
    """

    means: np.ndarray
    layers: list[Layer]
    options: dict[str, float]


def read_resnet(data: bytes) -> Network:
    """Read dlib_face_recognition_resnet_model_v1.dat.

    Raises
    ------
    ModelCorrupt
    """
    return _read(data, _RESNET, _metric_loss, _image_input)


def read_mmod(data: bytes) -> Network:
    """Read mmod_human_face_detector.dat; options: width, height, nms_iou, nms_covered, padding, outer_padding.

    Raises
    ------
    ModelCorrupt
    """
    return _read(data, _MMOD, _mmod_loss, _pyramid_input)


def _residual(window_stride: int) -> list[str]:
    """Two convolutions around a relu, added to their input; the size is halved if the stride is not 1."""
    body = ["tag1", "con", "affine", "relu", "con", "affine"]
    return body + (["add1", "relu"] if window_stride == 1 else ["tag2", "skip1", "avg_pool", "add2", "relu"])


# the layers of each file, from input to output
_RESNET = ["con", "affine", "relu", "max_pool"]
for _stride in (1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 2, 1, 1, 2):
    _RESNET += _residual(_stride)
_RESNET += ["avg_pool_everything", "fc"]
_MMOD = ["con", "affine", "relu"] * 6 + ["con"]


def _read(
    data: bytes,
    kinds: Sequence[str],
    read_loss: Callable[[DatReader], dict[str, float]],
    read_input: Callable[[DatReader], tuple[np.ndarray, dict[str, float]]],
) -> Network:
    reader = DatReader(data)
    reader.expect_version(1)
    options = read_loss(reader)
    # the versions of all wrappers come first, the outermost first
    for kind in reversed(kinds[1:]):
        reader.expect_version(*((1,) if kind.startswith(("tag", "skip")) else (1, 2)))
    version = reader.expect_version(2, 3)
    means, more = read_input(reader)
    layers = []
    for kind in kinds:
        layers.append(_LAYERS[kind](reader) if kind in _LAYERS else Layer(kind))
        if not kind.startswith(("tag", "skip")):
            _skip_training_state(reader)
            if len(layers) == 1 and version == 3:
                reader.integer()
    reader.end()
    return Network(means, layers, {**options, **more})


def _skip_training_state(reader: DatReader) -> None:
    for _ in range(3):
        reader.flag()
    for _ in range(3):
        reader.tensor()


def _metric_loss(reader: DatReader) -> dict[str, float]:
    if reader.expect_text("loss_metric_", "loss_metric_2") == "loss_metric_2":
        reader.number(), reader.number()
    return {}


def _mmod_loss(reader: DatReader) -> dict[str, float]:
    reader.expect_text("loss_mmod_")
    reader.expect_version(1)
    width, height = reader.integer(), reader.integer()
    for _ in range(3):  # of training: the costs of a miss and of a false alarm, and the overlap that counts as found
        reader.number()
    nms_iou, nms_covered, _, _ = (reader.number() for _ in range(4))
    return {"width": width, "height": height, "nms_iou": nms_iou, "nms_covered": nms_covered}


def _image_input(reader: DatReader) -> tuple[np.ndarray, dict[str, float]]:
    reader.expect_text("input_rgb_image_sized")
    means = np.array([reader.number() for _ in range(3)], np.float32)
    size = reader.integer(), reader.integer()
    if size != (150, 150):
        raise ModelCorrupt(f"expected a network for images of 150x150, got {size}")
    return means, {}


def _pyramid_input(reader: DatReader) -> tuple[np.ndarray, dict[str, float]]:
    version = reader.expect_text("input_rgb_image_pyramid", "input_rgb_image_pyramid2")
    means = np.array([reader.number() for _ in range(3)], np.float32)
    padding, outer = (reader.integer(), reader.integer()) if version.endswith("2") else (10, 11)
    return means, {"padding": padding, "outer_padding": outer}


def _con(reader: DatReader) -> Layer:
    version = reader.expect_text("con_4", "con_5", "con_6")
    parameters = reader.tensor().ravel()
    filters, rows, columns, stride_y, stride_x, padding_y, padding_x = (reader.integer() for _ in range(7))
    shape, bias_shape = reader.alias(), reader.alias()
    for _ in range(4):
        reader.number()
    for _ in range({"con_4": 0, "con_5": 1, "con_6": 2}[version]):
        reader.flag()
    if (rows, stride_y, padding_y) != (columns, stride_x, padding_x):
        raise ModelCorrupt("expected a convolution with a square window")
    if shape[0] != filters or shape[2:] != (rows, columns):
        raise ModelCorrupt(f"expected weights of {filters} windows of {rows}x{columns}, got {shape}")
    if not (1 <= rows <= 31 and 1 <= stride_y <= 8 and 0 <= padding_y < rows) or bias_shape != (1, filters, 1, 1):
        raise ModelCorrupt("expected a convolution of plausible sizes")
    weights, bias = _split(parameters, int(np.prod(shape, dtype=np.int64)), filters)
    return Layer("con", {"weights": weights.reshape(shape), "bias": bias}, rows, stride_y, padding_y)


def _affine(reader: DatReader) -> Layer:
    """A scale and shift per channel; a batch normalisation is converted to one, as in dlib."""
    version = reader.expect_text("affine_", "bn_con2")
    parameters = reader.tensor().ravel()
    channels = int(np.prod(reader.alias(), dtype=np.int64))
    reader.alias()
    scale, shift = _split(parameters, channels, channels)
    if version == "affine_":
        reader.integer()
        return Layer("affine", {"scale": scale, "shift": shift})
    _, _, means, variances = (reader.tensor().ravel() for _ in range(4))
    reader.integer(), reader.integer()
    for _ in range(4):
        reader.number()
    epsilon = reader.number()
    if means.size != channels or variances.size != channels or not (variances + epsilon > 0).all():
        raise ModelCorrupt(f"expected the statistics of {channels} channels")
    scale = scale / np.sqrt(variances.astype(np.float64) + epsilon)
    shift = shift - scale * means
    return Layer("affine", {"scale": scale.astype(np.float32), "shift": shift.astype(np.float32)})


def _fc(reader: DatReader) -> Layer:
    version = reader.expect_text("fc_2", "fc_3")
    outputs, inputs = reader.integer(), reader.integer()
    parameters = reader.tensor().ravel()
    shape = reader.alias()
    reader.alias()
    reader.integer()
    for _ in range(4):
        reader.number()
    if version == "fc_3":
        reader.flag()
    if shape[:2] != (inputs, outputs) or parameters.size != inputs * outputs:
        raise ModelCorrupt(f"expected {inputs} x {outputs} weights, got {parameters.size}")
    return Layer("fc", {"weights": parameters.reshape(inputs, outputs)})


def _pool(name: str, kind: str) -> Callable[[DatReader], Layer]:
    def read(reader: DatReader) -> Layer:
        reader.expect_text(f"{name}_pool_2")
        rows, columns, stride_y, stride_x, padding_y, padding_x = (reader.integer() for _ in range(6))
        if (rows, stride_y, padding_y) != (columns, stride_x, padding_x) or padding_y != 0:
            raise ModelCorrupt("expected a pooling layer with a square window")
        return Layer(kind, window=rows, stride=stride_y)

    return read


def _plain(kind: str, name: str) -> Callable[[DatReader], Layer]:
    def read(reader: DatReader) -> Layer:
        reader.expect_text(name)
        return Layer(kind)

    return read


def _split(parameters: np.ndarray, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    if parameters.size != first + second:
        raise ModelCorrupt(f"expected {first} + {second} parameters, got {parameters.size}")
    return parameters[:first], parameters[first:]


_LAYERS = {
    "con": _con,
    "affine": _affine,
    "fc": _fc,
    "relu": _plain("relu", "relu_"),
    "max_pool": _pool("max", "max_pool"),
    "avg_pool": _pool("avg", "avg_pool"),
    "avg_pool_everything": _pool("avg", "avg_pool_everything"),
    "add1": _plain("add1", "add_prev_"),
    "add2": _plain("add2", "add_prev_"),
}
