"""Reading and writing of ONNX files with protobuf only.

This avoids the `onnx` package (27 MB): the few messages below are all that conversion needs. protobuf preserves fields that are
not listed here, so a file that is read, changed and written loses nothing. Field numbers are those of onnx.proto
(https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from recognizer.core.errors import ModelCorrupt, ModelMissing

#: A protobuf message whose class is built at run time, from the table below.
Message: TypeAlias = Any
#: The value of an attribute of a node.
Attribute: TypeAlias = "int | float | str | Sequence[int]"

FLOAT, UINT8, INT64 = 1, 2, 7
_DTYPES: dict[int, np.dtype[Any]] = {FLOAT: np.dtype("<f4"), UINT8: np.dtype("u1"), INT64: np.dtype("<i8")}

# message -> name, number and type of its fields; * means repeated, a capital letter a message of this table
_MESSAGES = {
    "Model": "ir_version 1 int64, producer_name 2 string, graph 7 Graph, opset_import 8 *Opset",
    "Opset": "domain 1 string, version 2 int64",
    "Graph": ("node 1 *Node, name 2 string, initializer 5 *Tensor, input 11 *Value, output 12 *Value, value_info 13 *Value"),
    "Node": "input 1 *string, output 2 *string, name 3 string, op_type 4 string, attribute 5 *Attribute",
    "Attribute": "name 1 string, f 2 float, i 3 int64, s 4 bytes, ints 8 *int64, type 20 int32",
    "Tensor": ("dims 1 *int64, data_type 2 int32, float_data 4 *float, int64_data 7 *int64, name 8 string, raw_data 9 bytes"),
    "Value": "name 1 string, type 2 Type",
    "Type": "tensor_type 1 TensorType",
    "TensorType": "elem_type 1 int32, shape 2 Shape",
    "Shape": "dim 1 *Dimension",
    "Dimension": "dim_value 1 int64, dim_param 2 string",
}


@functools.cache
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="recognizer/onnx.proto", package="recognizer.onnx", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            title, number, kind = field.split()
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            kind = kind.lstrip("*")
            if kind in _MESSAGES:
                type_ = {"type": kinds.TYPE_MESSAGE, "type_name": f".recognizer.onnx.{kind}"}
            else:
                type_ = {"type": getattr(kinds, f"TYPE_{kind.upper()}")}
            message.field.add(name=title, number=int(number), label=label, **type_)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"recognizer.onnx.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def parse(data: bytes) -> Message:
    """Parse an ONNX file; return a protobuf message with the fields of onnx.proto's ModelProto.

    Raises
    ------
    ModelCorrupt
    """
    from google.protobuf.message import DecodeError

    try:
        model = _classes()["Model"].FromString(data)
    except DecodeError:
        raise ModelCorrupt("expected an ONNX model, the file cannot be parsed") from None
    if not model.graph.node:
        raise ModelCorrupt("expected an ONNX model, the file contains no graph")
    return model


def read_file(path: str | Path) -> Message:
    """Parse the ONNX file at `path`; see `parse`.

    Raises
    ------
    ModelMissing, ModelCorrupt
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelMissing(f"expected the model {Path(path).name}, it cannot be read: {error.strerror}") from error
    return parse(data)


def to_array(tensor: Message) -> np.ndarray:
    """The values of an initializer of type float32, uint8 or int64.

    Raises
    ------
    ModelCorrupt
    """
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        raise ModelCorrupt(f"expected an array of type {sorted(_DTYPES)}, got {tensor.data_type}")
    typed = tensor.float_data if tensor.data_type == FLOAT else tensor.int64_data
    raw = tensor.raw_data or np.array(typed, dtype).tobytes()
    try:
        return np.frombuffer(raw, dtype).reshape(tuple(tensor.dims))
    except ValueError:
        raise ModelCorrupt(f"expected an array of shape {tuple(tensor.dims)}, got {len(raw)} bytes") from None


def set_array(tensor: Message, array: np.ndarray) -> None:
    """Replace the values of an initializer by others of the same shape and type."""
    dtype = _DTYPES[tensor.data_type]
    tensor.ClearField("float_data")
    tensor.ClearField("int64_data")
    tensor.raw_data = np.ascontiguousarray(array, dtype).tobytes()


def set_shape(value: Message, shape: Sequence[int | str]) -> None:
    """Change the shape of an input or output; a str is the name of a variable size."""
    del value.type.tensor_type.shape.dim[:]
    for size in shape:
        where = {"dim_param": size} if isinstance(size, str) else {"dim_value": size}
        value.type.tensor_type.shape.dim.add(**where)


class GraphBuilder:
    """Builds an ONNX model node by node.

    Parameters
    ----------
    name : str
    opset : int
        Version of the ONNX operators.

    Attributes
    ----------
    model : protobuf message
        The model built so far.
    """

    def __init__(self, name: str, opset: int = 17):
        # ir_version 8 came with opset 17
        self.model: Message = _classes()["Model"](ir_version=8, producer_name="recognizer")
        self.model.opset_import.add(domain="", version=opset)
        self.model.graph.name = name

    @property
    def _graph(self) -> Message:
        return self.model.graph

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        return self._value(self._graph.input.add(name=name), kind, shape)

    def output(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        return self._value(self._graph.output.add(name=name), kind, shape)

    @staticmethod
    def _value(value: Message, kind: int, shape: Sequence[int | str]) -> str:
        value.type.tensor_type.elem_type = kind
        set_shape(value, shape)
        return str(value.name)

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """Add an array of weights; return its name."""
        return add_constant(self.model, array, name)

    def node(self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Attribute) -> str:
        """Add a node; return the name of its only output."""
        return add_node(self.model, operator, inputs, output, **attributes)

    def to_bytes(self) -> bytes:
        return to_bytes(self.model)


def add_constant(model: Message, array: np.ndarray, name: str | None = None) -> str:
    """Append an initializer to a model; return its name."""
    kind = {dtype: kind for kind, dtype in _DTYPES.items()}[array.dtype]
    name = name or f"constant_{len(model.graph.initializer)}"
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    model.graph.initializer.add(name=name, dims=array.shape, data_type=kind, raw_data=data)
    return name


def add_node(model: Message, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Attribute) -> str:
    """Append a node to a model; return the name of its only output.

    Parameters
    ----------
    attributes
        int, float, str or a sequence of int.
    """
    output = output or f"{operator.lower()}_{len(model.graph.node)}"
    node = model.graph.node.add(op_type=operator, name=output, input=inputs, output=[output])
    set_attributes(node, attributes)
    return output


def set_attributes(node: Message, attributes: Mapping[str, Attribute]) -> None:
    """Append attributes to a node. The numbers `type` are those of AttributeProto.AttributeType."""
    for name, value in attributes.items():
        if isinstance(value, float):
            node.attribute.add(name=name, type=1, f=value)
        elif isinstance(value, int):
            node.attribute.add(name=name, type=2, i=value)
        elif isinstance(value, str):
            node.attribute.add(name=name, type=3, s=value.encode())
        else:
            node.attribute.add(name=name, type=7, ints=value)


def to_bytes(model: Message) -> bytes:
    """The bytes of the file; the same model gives the same bytes."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data
