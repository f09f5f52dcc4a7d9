"""dlib's ResNet with 8-bit weights and activations: more than twice as fast on processors with VNNI, with some drift.

The ranges of activations are measured on synthetic faces, so that the network is the same everywhere and contains no
information about real faces. A synthetic face excites the layers less than a real one, so all ranges are widened; those of the
last layers, which respond to faces rather than edges, are widened more (docs/accuracy.md lists the remaining drift).

SFace is not quantised: because of its depthwise layers, 8 bits cause a drift of 0.1 and hardly any gain in speed.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.disk import disk_errors
from recognizer.core.errors import ModelError
from recognizer.core.files import write_durably

#: Increased whenever a change of code gives a different network.
REVISION = 2
#: Number of synthetic faces on which ranges are measured.
FACES = 60
#: Factor by which ranges are widened; the same for the late convolutions; and the index of the first late one.
WIDER, WIDER_LATE, LATE = 1.3, 3.0, 22


def quantised(graph: bytes, name: str, face: np.ndarray, folder: Path) -> Path:
    """The file with the 8-bit form of `graph`. If it is not in `folder`, it is created, which takes some seconds.

    Parameters
    ----------
    graph : bytes
        An ONNX model, whose only input is chips of the shape of `face`.
    name : str
        Beginning of the file name, which also contains a hash of the graph.
    face : ndarray of uint8, shape (side, side, 3)
        A synthetic face.
    folder : path

    Raises
    ------
    ModelError
        It must be created, and a package that this needs is missing.
    StorageError
        It cannot be stored.
    """
    source = hashlib.sha256(graph).hexdigest()[:16]
    file = Path(folder) / f"{name}.int8-{REVISION}.{source}.onnx"
    if not file.is_file():
        model = quantise(graph, drawn_faces(face))
        with disk_errors("the 8-bit network cannot be stored"):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_durably(file, model)
    return file


def drawn_faces(face: np.ndarray, count: int = FACES) -> np.ndarray:
    """`face` with `count` variations of pose, lighting and texture; uint8 (count, side, side, 3), the same on every call."""
    chance = np.random.default_rng(0)
    return np.stack([_varied(face, chance) for _ in range(count)])


def _varied(face: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    import cv2

    side = len(face)
    turn = np.asarray(cv2.getRotationMatrix2D((side / 2, side / 2), chance.uniform(-15, 15), chance.uniform(0.9, 1.25)), float)
    turn[:, 2] += chance.uniform(-side / 19, side / 19, 2)
    moved = cv2.warpAffine(face, turn, (side, side), borderMode=cv2.BORDER_REFLECT).astype(float)
    lit = moved * chance.uniform(0.5, 1.3) * chance.uniform(0.85, 1.15, 3) + chance.uniform(-40, 40)
    coarse = chance.normal(0, 1, (int(chance.integers(4, 40)),) * 2 + (3,))
    texture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * chance.uniform(0, 40)
    grain = chance.normal(0, chance.uniform(0, 12), lit.shape)
    return np.clip(lit + texture + grain, 0, 255).astype(np.uint8)


def quantise(graph: bytes, chips: np.ndarray) -> bytes:
    try:
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError:
        raise ModelError(
            "the provider cpu-int8 needs the onnx package to create its network: pip install -r requirements-int8.txt"
        ) from None
    model = onnx.load_from_string(graph)
    ranges = _ranges(graph, model, chips)
    with _quiet():
        quantiser = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=True,  # 7-bit weights: with 8 bits, sums can overflow on processors without VNNI
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv"],
            extra_options={"WeightSymmetric": True},
        )
        quantiser.quantize_model()
    data: bytes = quantiser.model.model.SerializeToString()
    return data


def _ranges(graph: bytes, model: Any, chips: np.ndarray) -> Any:
    """The range of every activation before or after a convolution, in the form that onnxruntime's quantiser expects."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, create_calibrator

    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "model.onnx"
        file.write_bytes(graph)
        calibrator = create_calibrator(
            str(file),
            ["Conv"],
            augmented_model_path=str(Path(folder) / "observed.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )
        calibrator.collect_data(_Chips(model.graph.input[0].name, chips))
        ranges = calibrator.compute_data()
        del calibrator  # it has files of the folder open
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    late = {name for node in convolutions[LATE:] for name in (node.input[0], node.output[0])}
    for name, found in list(ranges.data.items()):
        factor = WIDER_LATE if name in late else WIDER
        low, high = (np.float32(np.ravel(edge)[0] * factor) for edge in found.range_value)
        ranges.data[name] = TensorData(lowest=low, highest=high)
    return ranges


class _Chips:
    """The interface through which onnxruntime's calibrators read inputs: one at a time, then None."""

    def __init__(self, name: str, chips: np.ndarray):
        self._left = iter([{name: chip[None]} for chip in chips])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self._left


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the advice that the quantiser logs to the root logger."""

    def drop(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)
