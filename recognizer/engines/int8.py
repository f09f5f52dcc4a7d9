"""dlib's ResNet with 8-bit weights and activations: over twice the speed on processors with VNNI, for some drift.

The ranges of its activations are gathered from drawn faces, so that the network is the same everywhere and carries
nothing of anybody's face. A drawn face excites the layers less than a real one: each range is widened, and those of the
last layers, which see faces rather than edges, more (docs/accuracy.md has the drift that is left).

SFace is not here: of its depthwise layers, 8 bits leave a drift of 0.1 and hardly any gain.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import ModelError, StorageError
from ..files import write_durably

#: Raised whenever a change of code gives another network.
REVISION = 1
#: Faces that are drawn to gather ranges from.
FACES = 60
#: How much ranges are widened, and those at the convolutions from this one on.
WIDER, WIDER_LATE, LATE = 1.3, 3.0, 22


def quantised(graph: bytes, name: str, face: np.ndarray, folder: Path) -> Path:
    """The file with the 8-bit form of `graph`; made if it is not in `folder`, which takes some seconds.

    Parameters
    ----------
    graph : bytes
        An ONNX model, whose only input is chips as `face` is one.
    name : str
        Begins the file's name, which also tells the graph by its hash.
    face : ndarray of uint8, shape (side, side, 3)
        A drawn face.
    folder : path

    Raises
    ------
    ModelError
        It has to be made, and a package that this needs is missing.
    StorageError
        It cannot be kept.
    """
    source = hashlib.sha256(graph).hexdigest()[:16]
    file = Path(folder) / f"{name}.int8-{REVISION}.{source}.onnx"
    if not file.is_file():
        _keep(_made(graph, drawn_faces(face)), file)
    return file


def _keep(model: bytes, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, model)
    except OSError as error:
        raise StorageError(f"the 8-bit network cannot be kept: {(error.strerror or 'error').lower()}") from error


def drawn_faces(face: np.ndarray, count: int = FACES) -> np.ndarray:
    """`face` turned, lit and textured in `count` ways; uint8 (count, side, side, 3), the same on every call."""
    chance = np.random.default_rng(0)
    return np.stack([_varied(face, chance) for _ in range(count)])


def _varied(face: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    import cv2

    side = len(face)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), chance.uniform(-15, 15), chance.uniform(0.9, 1.25))
    turn[:, 2] += chance.uniform(-side / 19, side / 19, 2)
    moved = cv2.warpAffine(face, turn, (side, side), borderMode=cv2.BORDER_REFLECT).astype(float)
    lit = moved * chance.uniform(0.5, 1.3) * chance.uniform(0.85, 1.15, 3) + chance.uniform(-40, 40)
    coarse = chance.normal(0, 1, (int(chance.integers(4, 40)),) * 2 + (3,))
    texture = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * chance.uniform(0, 40)
    grain = chance.normal(0, chance.uniform(0, 12), lit.shape)
    return np.clip(lit + texture + grain, 0, 255).astype(np.uint8)


def _made(graph: bytes, chips: np.ndarray) -> bytes:
    try:
        import onnx
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    except ImportError:
        raise ModelError(
            "the provider cpu-int8 needs the onnx package to make its network: pip install -r requirements-int8.txt"
        ) from None
    model = onnx.load_from_string(graph)
    ranges = _ranges(graph, model, chips)
    with _quiet():
        quantiser = QDQQuantizer(
            model, per_channel=True, reduce_range=False, weight_qType=QuantType.QInt8, activation_qType=QuantType.QUInt8,
            tensors_range=ranges, nodes_to_quantize=[], nodes_to_exclude=[], op_types_to_quantize=["Conv"],
            extra_options={"WeightSymmetric": True},
        )  # fmt: skip
        quantiser.quantize_model()
    return quantiser.model.model.SerializeToString()


def _ranges(graph: bytes, model, chips: np.ndarray):
    """Of every activation beside a convolution, the range to give it, as onnxruntime's quantiser takes them."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, create_calibrator

    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "model.onnx"
        file.write_bytes(graph)
        calibrator = create_calibrator(
            str(file), ["Conv"], augmented_model_path=str(Path(folder) / "observed.onnx"),
            calibrate_method=CalibrationMethod.MinMax,
        )  # fmt: skip
        calibrator.collect_data(_Chips(model.graph.input[0].name, chips))
        ranges = calibrator.compute_data()
        del calibrator  # it holds files of the folder
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    late = {name for node in convolutions[LATE:] for name in (node.input[0], node.output[0])}
    for name, found in list(ranges.data.items()):
        factor = WIDER_LATE if name in late else WIDER
        low, high = (np.float32(np.ravel(edge)[0] * factor) for edge in found.range_value)
        ranges.data[name] = TensorData(lowest=low, highest=high)
    return ranges


class _Chips:
    """What onnxruntime's calibrators ask for inputs: one by one, then None."""

    def __init__(self, name: str, chips: np.ndarray):
        self._left = iter([{name: chip[None]} for chip in chips])

    def get_next(self) -> dict | None:
        return next(self._left, None)

    def __iter__(self) -> Iterator[dict]:
        return self._left


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that the quantiser gives the root logger."""

    def drop(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)
