"""Reads a TensorFlow Lite file: its operators, and its tensors as float32. Only what fer's network uses.

A file is a FlatBuffer (https://flatbuffers.dev/internals/): tables whose fields are found through a table of offsets. Numbers
of fields are those of TensorFlow's schema.fbs. Weights of 8 bits are stored with a scale for each output channel; their values
are byte x scale, since their zero point is 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from recognizer.core.errors import ModelCorrupt

#: Operators by their number in schema.fbs.
OPERATORS = {0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 17: "MAX_POOL_2D", 25: "SOFTMAX", 40: "MEAN"}
_TYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 2: np.dtype("<i4"), 9: np.dtype("i1")}
_SAME = 0


@dataclass(frozen=True, slots=True)
class LiteOperation:
    """One operator of the file.

    Attributes
    ----------
    kind : str
        A value of `OPERATORS`.
    inputs, outputs : tuple of int
        Indices of tensors.
    same : bool
        Whether the input is padded as TensorFlow's SAME; else not at all.
    stride, window : int
        Of convolutions and of pooling; windows only of pooling.
    relu : bool
        Whether negative results become 0.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    same: bool = True
    stride: int = 1
    window: int = 1
    relu: bool = False


@dataclass(frozen=True, slots=True)
class LiteModel:
    """The operators in order, the indices of input and output, and the values of the constant tensors by index."""

    operations: tuple[LiteOperation, ...]
    input: int
    output: int
    constants: dict[int, np.ndarray]


def read_lite(data: bytes) -> LiteModel:
    """Read a file.

    Raises
    ------
    ModelCorrupt
        The bytes are not such a file, or use what is not known here.
    """
    if data[4:8] != b"TFL3":
        raise ModelCorrupt("expected a TensorFlow Lite file, the mark TFL3 is missing")
    try:
        root = _Table(data, struct.unpack_from("<I", data)[0])
        codes = [max(code.number(0, "b"), code.number(3, "i")) for code in root.tables(1)]
        buffers, graph = root.tables(4), root.tables(2)[0]
        tensors = graph.tables(0)
        constants = {
            index: array
            for index, tensor in enumerate(tensors)
            if (array := _constant(tensor, buffers[tensor.number(2, "I")])) is not None
        }
        operations = tuple(_operation(each, codes) for each in graph.tables(3))
        return LiteModel(operations, int(graph.numbers(1, "<i4")[0]), int(graph.numbers(2, "<i4")[0]), constants)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise ModelCorrupt(f"the TensorFlow Lite file cannot be read: {type(error).__name__}") from error


def _operation(operator: _Table, codes: list[int]) -> LiteOperation:
    kind = OPERATORS[codes[operator.number(0, "I")]]
    inputs = tuple(int(index) for index in operator.numbers(1, "<i4") if index >= 0)
    outputs = tuple(int(index) for index in operator.numbers(2, "<i4"))
    options = operator.table(4)
    if options is None or kind in ("SOFTMAX", "MEAN"):
        return LiteOperation(kind, inputs, outputs)
    fused = {"ADD": 0, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4, "MAX_POOL_2D": 5}[kind]
    activation = options.number(fused, "b")
    if activation not in (0, 1):
        raise ValueError("an unknown activation")
    if kind == "ADD":
        return LiteOperation(kind, inputs, outputs, relu=activation == 1)
    window = options.number(3, "i") if kind == "MAX_POOL_2D" else 1
    return LiteOperation(
        kind, inputs, outputs, options.number(0, "b") == _SAME, options.number(1, "i"), window, activation == 1
    )


def _constant(tensor: _Table, buffer: _Table) -> np.ndarray | None:
    """The values of a tensor that the file contains; None for one that is computed."""
    raw = buffer.numbers(0, "u1")
    if not len(raw):
        return None
    shape = tuple(int(size) for size in tensor.numbers(0, "<i4"))
    values = np.frombuffer(raw.tobytes(), _TYPES[tensor.number(1, "b")]).reshape(shape)
    quantised = tensor.table(4)
    scales = quantised.numbers(2, "<f4") if quantised is not None else np.zeros(0, "<f4")
    if not len(scales):
        return values if values.dtype == np.dtype("<i4") else values.astype(np.float32)
    assert quantised is not None
    if quantised.numbers(3, "<i8").any():
        raise ValueError("a zero point other than 0")
    along = [1] * len(shape)
    if len(scales) > 1:
        along[quantised.number(6, "i")] = len(scales)
    scaled: np.ndarray = (values.astype(np.float32) * scales.reshape(along if len(scales) > 1 else [1] * len(shape))).astype(
        np.float32
    )
    return scaled


class _Table:
    """A table of a FlatBuffer, at a position of the file."""

    def __init__(self, data: bytes, at: int):
        self._data, self._at = data, at
        self._offsets = at - struct.unpack_from("<i", data, at)[0]

    def _field(self, number: int) -> int:
        """The position of a field; 0 if the table has its default."""
        place = 4 + 2 * number
        if place >= struct.unpack_from("<H", self._data, self._offsets)[0]:
            return 0
        offset: int = struct.unpack_from("<H", self._data, self._offsets + place)[0]
        return self._at + offset if offset else 0

    def number(self, field: int, kind: str) -> int:
        """A whole number of `kind`, a letter of `struct`; 0 by default."""
        at = self._field(field)
        return int(struct.unpack_from("<" + kind, self._data, at)[0]) if at else 0

    def _pointed(self, at: int) -> int:
        return at + int(struct.unpack_from("<I", self._data, at)[0])

    def table(self, field: int) -> _Table | None:
        at = self._field(field)
        return _Table(self._data, self._pointed(at)) if at else None

    def _vector(self, field: int) -> tuple[int, int]:
        """Position and length of a vector."""
        at = self._field(field)
        if not at:
            return 0, 0
        start = self._pointed(at)
        return start + 4, int(struct.unpack_from("<I", self._data, start)[0])

    def tables(self, field: int) -> list[_Table]:
        start, length = self._vector(field)
        return [_Table(self._data, self._pointed(start + 4 * index)) for index in range(length)]

    def numbers(self, field: int, dtype: str) -> np.ndarray:
        """A vector of numbers; empty by default."""
        start, length = self._vector(field)
        return np.frombuffer(self._data, dtype, length, start) if length else np.zeros(0, dtype)
