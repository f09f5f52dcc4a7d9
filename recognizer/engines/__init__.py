"""Finding and describing faces: `make_engine` builds an engine by the names of its detector and embedder.

Only what is asked for is imported and loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .. import models
from ..errors import InvalidParameter
from .base import Calibration, Detector, Embedder, EngineInfo
from .engine import Engine, LookSizes, central, largest
from .runtime import EXACT, require_provider

#: Raised whenever a change of code gives other templates for the same photo, so that they are made anew.
REVISION = 2


@dataclass(frozen=True, slots=True)
class Choice:
    """What a factory may need to know: where weights are, how often HOG doubles the picture, what networks run on."""

    models_dir: Path
    upsample: int = 1
    provider: str = "cpu"


def _yunet(choice: Choice) -> Detector:
    from .yunet import YunetDetector

    # in bf16 it is no quicker, and landmarks that move by pixels cost more than all other drift together
    provider = "openvino" if choice.provider == "openvino-bf16" else choice.provider
    return YunetDetector(models.path("yunet", choice.models_dir), provider=provider)


def _hog(choice: Choice) -> Detector:
    from .dlib import HogDetector

    return HogDetector(choice.upsample)


def _cnn(choice: Choice) -> Detector:
    from .dlib_onnx import CnnDetector

    return CnnDetector(provider=choice.provider)


def _dlib(choice: Choice) -> Embedder:
    from .dlib_onnx import DlibOnnxEmbedder

    return DlibOnnxEmbedder(provider=choice.provider, kept=choice.models_dir)


def _dlib_itself(choice: Choice) -> Embedder:
    from .dlib import DlibEmbedder

    return DlibEmbedder()


def _sface(choice: Choice) -> Embedder:
    from .sface import SfaceEmbedder

    return SfaceEmbedder(models.path("sface", choice.models_dir), provider=choice.provider)


def _joined(choice: Choice) -> Embedder:
    from .joined import JoinedEmbedder

    return JoinedEmbedder(_dlib(choice), _sface(choice))


DETECTORS: dict[str, Callable[[Choice], Detector]] = {"yunet": _yunet, "hog": _hog, "cnn": _cnn}
EMBEDDERS: dict[str, Callable[[Choice], Embedder]] = {"dlib": _dlib, "sface": _sface, "dlib+sface": _joined}
#: The one pair that runs on dlib itself throughout: face_recognition's own results to the last bit, at its own speed.
REFERENCE = ("hog", "dlib")
#: Weights that have to be fetched for a detector or an embedder; dlib's come with an installed package.
WEIGHTS: dict[str, tuple[str, ...]] = {"yunet": ("yunet",), "sface": ("sface",), "dlib+sface": ("sface",)}


def weights_for(detector: str, embedder: str) -> tuple[str, ...]:
    """Keys of the weights (see `models`) that this engine loads."""
    return (*WEIGHTS.get(detector, ()), *WEIGHTS.get(embedder, ()))


def runs_on(detector: str, embedder: str, provider: str) -> str:
    """What the networks of this engine run on if `provider` is asked for: `REFERENCE` has none, and is always the same."""
    return "cpu" if (detector, embedder) == REFERENCE else provider


def make_engine(
    detector: str = "yunet",
    embedder: str = "dlib+sface",
    *,
    models_dir: Path,
    detect_size: int = 0,
    detect_size_large: int = 0,
    min_face: int = 20,
    hog_upsample: int = 1,
    provider: str = "cpu",
) -> Engine:
    """Build an engine.

    Parameters
    ----------
    detector : a key of `DETECTORS`
    embedder : a key of `EMBEDDERS`
    models_dir : path
        Where fetched weights are.
    detect_size, detect_size_large : int
        Long sides of the copies of the first and of the second look; 0 for the detector's own, and for none.
    min_face : int
        Smallest side of a face's box in pixels of the photo.
    hog_upsample : int
        For the detector `hog`.
    provider : str
        What the networks run on; see `runtime.PROVIDERS`. Not for `hog` with `dlib`, which run on dlib itself. The engine's id
        tells it where templates are not the same in all that matters: all but `runtime.EXACT` (docs/accuracy.md).

    Raises
    ------
    InvalidParameter
        No such detector or embedder.
    ModelMissing
        Weights are not there.
    """
    for kind, name, table in (("detector", detector, DETECTORS), ("embedder", embedder, EMBEDDERS)):
        if name not in table:
            raise InvalidParameter(f"expected a {kind} of {', '.join(table)}, got {name!r}")
    choice = Choice(models_dir, hog_upsample, provider)
    finds = DETECTORS[detector](choice)
    describes = (_dlib_itself if (detector, embedder) == REFERENCE else EMBEDDERS[embedder])(choice)
    sizes = LookSizes(detect_size or finds.preferred_size, detect_size_large)
    name = f"{detector}+{embedder}" if detector != "hog" else f"hog{hog_upsample}+{embedder}"
    provider = runs_on(detector, embedder, provider)
    engine_id = f"{name}/{REVISION}" + ("" if provider in EXACT else f"@{provider}")
    info = EngineInfo(engine_id, describes.dim, "euclidean", calibration(detector, embedder))
    return Engine(finds, describes, info, sizes, min_face)


@cache
def _calibrations() -> dict:
    return json.loads((Path(__file__).parent / "calibrations.json").read_text())


def calibration(detector: str, embedder: str) -> Calibration:
    """What was measured of this engine (benchmarks/calibrate.py wrote it)."""
    entry = _calibrations()[f"{detector}+{embedder}"]
    return Calibration(
        entry["threshold"], entry["false_match_rate"], entry["data_set"], entry["date"],
        tuple(entry["distances"]), tuple(entry["rates"]),
    )  # fmt: skip


__all__ = [
    "DETECTORS", "EMBEDDERS", "Calibration", "Choice", "Detector", "Embedder", "Engine", "EngineInfo", "LookSizes",
    "calibration", "central", "largest", "make_engine", "require_provider", "runs_on", "weights_for",
]  # fmt: skip
