"""Detection and description of faces: `make_engine` builds an engine from the names of a detector and an embedder.

Only the chosen ones are imported and loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer.core.ahead import Ahead
from recognizer.core.errors import InvalidParameter, RecognizerError
from recognizer.engines.engine import DetectionSizes, Engine, central, largest
from recognizer.engines.prepared import Origin
from recognizer.engines.protocols import Calibration, Detector, Embedder, EngineInfo
from recognizer.engines.runtime import EXACT, require_provider
from recognizer.weights import manifest

if TYPE_CHECKING:
    from recognizer.engines.dlib.onnx import DlibOnnxEmbedder
    from recognizer.engines.sface import SfaceEmbedder

#: Of each embedder, increased whenever a change of code gives different templates for the same photo, so that all are computed
#: again.
REVISIONS = {"dlib": 3, "sface": 3, "dlib+sface": 4}


@dataclass(frozen=True, slots=True)
class Choice:
    """The options of detectors and embedders.

    Attributes
    ----------
    models_dir : Path
        Folder of the downloaded weights.
    upsample : int
        How many times HOG doubles the image.
    provider : str
        What the networks run on; see `runtime.PROVIDERS`.
    """

    models_dir: Path
    upsample: int = 1
    provider: str = "cpu"


def _yunet(choice: Choice) -> Detector:
    from recognizer.engines.yunet import YunetDetector

    # bf16 is not faster here, and its shift of landmarks by pixels causes more drift than everything else together
    provider = "openvino" if choice.provider == "openvino-bf16" else choice.provider
    return YunetDetector(manifest.path("yunet", choice.models_dir), provider=provider, origin=_origin("yunet", choice))


def _origin(key: str, choice: Choice) -> Origin:
    return Origin(choice.models_dir, manifest.MANIFEST[key].sha256)


def _hog(choice: Choice) -> Detector:
    from recognizer.engines.dlib.native import HogDetector

    return HogDetector(choice.upsample)


def _cnn(choice: Choice) -> Detector:
    from recognizer.engines.dlib.onnx import CnnDetector

    return CnnDetector(provider=choice.provider)


def _dlib(choice: Choice) -> DlibOnnxEmbedder:
    from recognizer.engines.dlib.onnx import DlibOnnxEmbedder

    return DlibOnnxEmbedder(provider=choice.provider, folder=choice.models_dir)


def _dlib_itself(choice: Choice) -> Embedder:
    from recognizer.engines.dlib.native import DlibEmbedder

    return DlibEmbedder()


def _sface(choice: Choice) -> SfaceEmbedder:
    from recognizer.engines.sface import SfaceEmbedder

    path = manifest.path("sface", choice.models_dir)
    return SfaceEmbedder(path, provider=choice.provider, origin=_origin("sface", choice))


def _joined(choice: Choice) -> Embedder:
    from recognizer.engines.joined import JoinedEmbedder

    return JoinedEmbedder(_dlib(choice), _sface(choice))


DETECTORS: dict[str, Callable[[Choice], Detector]] = {"yunet": _yunet, "hog": _hog, "cnn": _cnn}
EMBEDDERS: dict[str, Callable[[Choice], Embedder]] = {"dlib": _dlib, "sface": _sface, "dlib+sface": _joined}
#: The only pair that runs entirely on dlib itself: identical to face_recognition to the last bit, and as slow.
REFERENCE = ("hog", "dlib")
#: Weights that must be downloaded for a detector or an embedder; dlib's come with an installed package.
WEIGHTS: dict[str, tuple[str, ...]] = {"yunet": ("yunet",), "sface": ("sface",), "dlib+sface": ("sface",)}


def weights_for(detector: str, embedder: str) -> tuple[str, ...]:
    """Keys of the downloaded weights (see `weights.manifest`) that this engine loads."""
    return (*WEIGHTS.get(detector, ()), *WEIGHTS.get(embedder, ()))


def runs_on(detector: str, embedder: str, provider: str) -> str:
    """The provider that this engine uses if `provider` is requested: `REFERENCE` always runs on the processor."""
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
        Folder of the downloaded weights.
    detect_size, detect_size_large : int
        Long sides of the reduced copies for the first and the second detection pass; 0 for the detector's default size, and for
        no second pass.
    min_face : int
        Smallest side of a face's box in pixels of the photo.
    hog_upsample : int
        How many times the detector `hog` doubles the image.
    provider : str
        What the networks run on; see `runtime.PROVIDERS`. Ignored for `hog` with `dlib`, which run on dlib itself. The engine's
        id contains it unless it is one of `runtime.EXACT`, since other providers give slightly different templates
        (docs/accuracy.md).

    Raises
    ------
    InvalidParameter
        There is no such detector or embedder.
    ModelMissing
        The weights were not downloaded.
    """
    for kind, name, table in (("detector", detector, DETECTORS), ("embedder", embedder, EMBEDDERS)):
        if name not in table:
            raise InvalidParameter(f"expected a {kind} of {', '.join(table)}, got {name!r}")
    choice = Choice(models_dir, hog_upsample, provider)
    made_detector = DETECTORS[detector](choice)
    make_embedder = _dlib_itself if (detector, embedder) == REFERENCE else EMBEDDERS[embedder]
    made_embedder = make_embedder(choice)
    sizes = DetectionSizes(detect_size or made_detector.preferred_size, detect_size_large)
    name = f"{detector}+{embedder}" if detector != "hog" else f"hog{hog_upsample}+{embedder}"
    provider = runs_on(detector, embedder, provider)
    engine_id = f"{name}/{REVISIONS[embedder]}" + ("" if provider in EXACT else f"@{provider}")
    info = EngineInfo(engine_id, made_embedder.dim, "euclidean", calibration(detector, embedder), embedder)
    return Engine(made_detector, made_embedder, info, sizes, min_face)


def engine_ahead(recipe: Mapping[str, Any]) -> Ahead[Engine]:
    """`make_engine`, begun on a thread with these keywords if their weights were downloaded.

    Half of the work, reading the networks' files and setting them up, needs no lock of Python: where there is a second core,
    imports take no longer meanwhile.
    """
    ahead = Ahead(make_engine)
    try:
        for key in weights_for(recipe["detector"], recipe["embedder"]):
            manifest.path(key, recipe["models_dir"])
    except RecognizerError:
        return ahead
    ahead.begin(**recipe)
    return ahead


@cache
def _calibrations() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((Path(__file__).parent / "calibrations.json").read_text())
    return table


def calibration(detector: str, embedder: str) -> Calibration:
    """The calibration of this engine, measured by benchmarks/calibrate.py."""
    entry = _calibrations()[f"{detector}+{embedder}"]
    return Calibration(
        entry["threshold"],
        entry["false_match_rate"],
        entry["data_set"],
        entry["date"],
        tuple(entry["distances"]),
        tuple(entry["rates"]),
        tuple(entry.get("cohort_sizes", ())),
        tuple(entry.get("cohort_distances", ())),
    )


__all__ = [
    "DETECTORS",
    "EMBEDDERS",
    "Calibration",
    "Choice",
    "DetectionSizes",
    "Detector",
    "Embedder",
    "Engine",
    "EngineInfo",
    "calibration",
    "central",
    "engine_ahead",
    "largest",
    "make_engine",
    "require_provider",
    "runs_on",
    "weights_for",
]
