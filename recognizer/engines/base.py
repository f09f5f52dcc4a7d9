"""What every engine is: a detector that finds faces and an embedder that describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from ..types import Faces


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where a threshold comes from.

    Attributes
    ----------
    threshold : float
        Two faces at most this far apart are taken for one person.
    false_match_rate : float
        The share of pairs of different people that come this close in `data_set`.
    data_set, date : str
        What it was measured on, and when (ISO 8601).
    distances, rates : tuple of float
        Points of the curve distance -> false-match rate, both rising; empty when only the threshold is known.
    """

    threshold: float
    false_match_rate: float
    data_set: str
    date: str
    distances: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What has to be known of an engine to keep and compare its templates.

    Attributes
    ----------
    id : str
        Written on every template. It changes whenever the same photo would give another template.
    dim : int
        Length of a template.
    metric : str
        Always ``"euclidean"`` so far: a cosine embedder gives unit vectors, whose Euclidean distance has the same order.
    calibration : Calibration
    """

    id: str
    dim: int
    metric: str
    calibration: Calibration


@runtime_checkable
class Detector(Protocol):
    """Finds faces. Implementations are safe to call from several threads at once."""

    name: str
    #: long side, in pixels, of the copy on which this detector does best when nothing else is asked for
    preferred_size: int

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find the faces of an RGB uint8 image (H, W, 3), at the size it has; in its pixels, best score first."""


@runtime_checkable
class Embedder(Protocol):
    """Describes faces. Implementations are safe to call from several threads at once."""

    name: str
    dim: int
    #: whether the interpreter's lock is held for most of the work, so that threads bring nothing
    holds_lock: bool

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe `faces`, found in `pixels` (RGB uint8, (H, W, 3)); float32, shape (len(faces), dim)."""

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """`embed` for each of several photos, all at once where that is quicker."""


def parted(rows: np.ndarray, photos: Sequence[Sequence]) -> list[np.ndarray]:
    """The rows of each photo, of those of the faces of all."""
    return np.split(rows, np.cumsum([len(faces) for faces in photos])[:-1]) if photos else []
