"""Whether a face can be compared: `Judge` weighs its `signals` and its embedding, and says in codes what is wrong with it.

A small network, fitted to plain photos and to damaged copies whose embedding no longer says whose face it is. Its weights are
in comparability.npz; its scales and limits, with data set and date, in comparability.json. benchmarks/comparability.py makes
both. They are statistics, and contain no photo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.types import Face
from recognizer.engines.protocols import Evidence
from recognizer.engines.signals import picture_signals
from recognizer.photos import quality
from recognizer.photos.quality import Quality
from recognizer.photos.remarks import Comparability

FILE = Path(__file__).with_name("comparability.json")
NETWORKS = FILE.with_suffix(".npz")
#: Degrees of tilt from which on a face is said to lie on its side, and to be upside down.
ON_ITS_SIDE, UPSIDE_DOWN = 50.0, 130.0
#: Where two pictures are compared, the one in less doubt decides, as if its doubt were higher by this, by scheme of landmarks
#: and embedder: by as much as loses hardly any pair of plain photos (docs/accuracy.md, "Two pictures"; measured on LFW's
#: development view, 2026-11-30, by `benchmarks/comparability.py --rules`).
BOTH = {
    "yunet5+dlib": 2.0,
    "yunet5+sface": 5.0,
    "yunet5+dlib+sface": 5.0,
    "dlib5+dlib": 2.0,
    "dlib5+sface": 4.0,
    "dlib5+dlib+sface": 4.0,
}
#: Largest value of a signal that counts, in standard deviations from its mean over plain photos.
MOST = 6.0


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(FILE.read_text())
    return table


def _network(name: str) -> list[np.ndarray]:
    """The weights of one network, without reading the others."""
    with np.load(NETWORKS, allow_pickle=False) as file:
        return [file[f"{name}/{part}"].astype(np.float32) for part in ("first", "biases", "second")]


class Judge:
    """Judges the faces of one detector as one embedder describes them. Thread-safe.

    Parameters
    ----------
    scheme : str
        The detector's landmark scheme.
    embedder : str
        A key of `engines.EMBEDDERS`.
    """

    def __init__(self, scheme: str, embedder: str):
        table, name = _table(), f"{scheme}+{embedder}"
        model = table["models"][name]
        self._mean_face = np.array(model.get("mean_face", table["mean_face"][scheme]), np.float32)
        self._signals = tuple(model["signals"])
        self._mean, self._scale = np.array(list(model["signals"].values()), np.float32).T
        self._first, self._biases, self._second = _network(name)
        self._bias = float(model["bias"])
        self._factors, self._both = (model["factors"]["doubts"], model["factors"]["log10"]), BOTH[name]
        #: The share of plain photos that are withheld, and where that was measured.
        self.provenance: Mapping[str, Any] = table["provenance"]

    def judge(
        self,
        pixels: np.ndarray,
        face: Face,
        evidence: Evidence,
        found: Quality,
        aligned: quality.AlignedFace | None = None,
        crowded: float = 1.0,
    ) -> Comparability:
        """Judge one face.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB, decoded sharply enough for the face.
        face : Face
            In these pixels.
        evidence : Evidence
            What the embedder made of it, with dlib's landmarks in these pixels if it has them.
        found : Quality
        aligned : quality.AlignedFace, optional
            What `quality.align` makes of the face, if the caller has it.
        crowded : float
            How many times as often as usual strangers are near its embedding; see `Crowding.rate_factors`.
        """
        signals = picture_signals(pixels, face, self._mean_face, evidence.points, aligned)
        signals |= {"strength": evidence.strength, "disagreement": evidence.disagreement}
        doubt = self._doubt(np.array([signals[name] for name in self._signals], np.float32), evidence.vector)
        picture, alike = (10 ** float(np.interp(each, *self._factors)) for each in (doubt, doubt + self._both))
        said = remarks(found, signals, doubt > 0)
        return Comparability(doubt <= 0, doubt, picture, said, crowded, alike)

    def _doubt(self, signals: np.ndarray, vector: np.ndarray) -> float:
        measured = np.clip((signals - self._mean) / self._scale, -MOST, MOST)
        seen = np.concatenate([measured, measured * measured, vector])
        return self._bias + float(np.maximum(seen @ self._first + self._biases, 0) @ self._second)


@cache
def judge(scheme: str, embedder: str) -> Judge:
    """The judge of faces with landmarks of `scheme`, described by `embedder`."""
    return Judge(scheme, embedder)


def remarks(found: Quality, signals: Mapping[str, float], withheld: bool) -> tuple[str, ...]:
    """Codes of what is wrong with a face; of one that is withheld at least one, whose limit is lower then."""
    turned = []
    if abs(found.roll) > UPSIDE_DOWN:
        turned.append("upside_down")
    elif abs(found.roll) > ON_ITS_SIDE:
        turned.append("on_its_side")
    codes = quality.remarks(found)
    if not withheld:
        return (*turned, *codes)
    warmth, likeness = signals["warmth"], signals["likeness"]
    wide = {
        # skin is never bluish in daylight; in grey pictures eyes and mouth are darker than skin
        "negative": (warmth < -0.04 and likeness < 0.45) or (abs(warmth) < 0.03 and likeness < -0.1),
        "few_tones": signals["tones"] < 3.2,
        "small": found.size < 28,
        "blurred": found.sharpness < 0.03,
        "flat": found.contrast < 14,
        "cut_off": found.cut_off > 0.08,
        "turned": abs(found.yaw) > 35,
        "distorted": abs(signals["stretch"]) > 0.4,
        "uneven": signals["evenness"] < 0.35,
    }
    said = dict.fromkeys([*(code for code, applies in wide.items() if applies), *codes])
    return (*turned, *(said or ("unusual",)))
