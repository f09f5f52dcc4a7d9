"""The four networks, each loaded from the file of the manifest that it needs: aligned chips in, raw outputs out.

A chip is the square that ``dlib.get_face_chip`` cuts from a face's five points with padding `PADDING`. Looser crops ruin all of
these networks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from recognizer.attributes import graphs, shards, tflite
from recognizer.core.errors import ModelMissing
from recognizer.engines.runtime import NetworkSession
from recognizer.weights import manifest

#: dlib's padding of a chip.
PADDING = 0.2
#: Chips that a network is given at once: more are not faster, and a photo of a crowd would need hundreds of megabytes.
TOGETHER = 8


class AttributeNetwork(Protocol):
    """A loaded network. Thread-safe.

    Attributes
    ----------
    key : str
        Its file in `weights.manifest`.
    side : int
        Of its chips, in pixels.
    """

    key: str
    side: int

    def run(self, chips: np.ndarray) -> np.ndarray:
        """The raw outputs, float64 (n, k), of RGB uint8 chips (n, side, side, 3)."""


class AgeGenderNetwork:
    """face-api's age and gender network: (n, 3), the age in years and the probabilities of male and female."""

    key, side = "age-gender", 112

    def __init__(self, models_dir: Path):
        data = _bytes(self.key, models_dir)
        self._session = NetworkSession(graphs.age_gender_graph(shards.read_shard(self.key, data), self.side))

    def run(self, chips: np.ndarray) -> np.ndarray:
        return _in_parts(lambda part: np.concatenate(self._session.infer(part), axis=1), _checked(chips, self.side))


class DlibGenderNetwork:
    """dlib's gender network: (n, 2), the probabilities of female and male."""

    key, side = "gender-dlib", 32

    def __init__(self, models_dir: Path):
        self._session = NetworkSession(manifest.path(self.key, models_dir))

    def run(self, chips: np.ndarray) -> np.ndarray:
        return _in_parts(self._of_part, _checked(chips, self.side))

    def _of_part(self, chips: np.ndarray) -> np.ndarray:
        pixels = (chips.astype(np.float32) - graphs.MEAN) / np.float32(256)
        return self._session.infer(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))[0]


class ExpressionNetwork:
    """face-api's expression network: (n, 7), the probabilities of `EXPRESSIONS`."""

    key, side = "expression", 112

    def __init__(self, models_dir: Path):
        data = _bytes(self.key, models_dir)
        self._session = NetworkSession(graphs.expression_graph(shards.read_shard(self.key, data), self.side))

    def run(self, chips: np.ndarray) -> np.ndarray:
        return _in_parts(lambda part: self._session.infer(part)[0], _checked(chips, self.side))


class FerExpressionNetwork:
    """fer's expression network: (n, 7), the probabilities of `EXPRESSIONS`."""

    key, side = "expression-fer", 64

    #: Its own order is angry, disgusted, fearful, happy, sad, surprised, neutral.
    _ORDER = (6, 3, 4, 0, 2, 1, 5)

    def __init__(self, models_dir: Path):
        model = tflite.read_lite(_bytes(self.key, models_dir))
        self._session = NetworkSession(graphs.fer_graph(model, self.side))

    def run(self, chips: np.ndarray) -> np.ndarray:
        return _in_parts(lambda part: self._session.infer(part)[0], _checked(chips, self.side))[:, self._ORDER]


#: The order of both expression networks' outputs.
EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
NETWORKS: dict[str, type[AttributeNetwork]] = {
    network.key: network for network in (AgeGenderNetwork, DlibGenderNetwork, ExpressionNetwork, FerExpressionNetwork)
}


def load_network(key: str, models_dir: Path) -> AttributeNetwork:
    """The network whose file has this key.

    Raises
    ------
    ModelMissing, ModelCorrupt, StorageError
    """
    made: AttributeNetwork = NETWORKS[key](models_dir)  # type: ignore[call-arg]
    return made


def _bytes(key: str, models_dir: Path) -> bytes:
    file = manifest.path(key, models_dir)
    try:
        return file.read_bytes()
    except OSError as error:
        raise ModelMissing(f"{file.name} cannot be read: {error.strerror}") from error


def _checked(chips: np.ndarray, side: int) -> np.ndarray:
    if chips.dtype != np.uint8 or chips.ndim != 4 or chips.shape[1:] != (side, side, 3):
        raise ValueError(f"expected uint8 chips of shape (n, {side}, {side}, 3), got {chips.dtype} {chips.shape}")
    return np.ascontiguousarray(chips)


def _in_parts(run: Callable[[np.ndarray], np.ndarray], chips: np.ndarray) -> np.ndarray:
    """The outputs of `run`, as float64, for so many chips at once."""
    parts = [run(chips[start : start + TOGETHER]) for start in range(0, len(chips), TOGETHER)]
    return np.concatenate(parts).astype(np.float64)
