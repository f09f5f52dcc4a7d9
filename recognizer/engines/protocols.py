"""The interfaces of detectors, which find faces, and embedders, which describe them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from recognizer.core.types import Faces

SizedT = TypeVar("SizedT", bound=Sized)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold and its origin.

    Attributes
    ----------
    threshold : float
        Two faces at this distance or less are decided to show one person.
    false_match_rate : float
        The FMR at this threshold, measured on `data_set`.
    data_set, date : str
        The data set, and the date of the measurement (ISO 8601).
    distances, rates : tuple of float
        Points of the curve distance -> FMR, both rising; empty if only the threshold is known.
    cohort_sizes, cohort_distances : tuple
        Of cohorts of so many subjects, most plain photos of strangers are further away than this, as
        `galleries.cohort.nearness` measures it; empty if that is not known.
    """

    threshold: float
    false_match_rate: float
    data_set: str
    date: str
    distances: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    cohort_sizes: tuple[int, ...] = ()
    cohort_distances: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The properties of an engine that matter for storing and comparing its templates.

    Attributes
    ----------
    id : str
        Stored with every template. It changes whenever the same photo would give a different template.
    dim : int
        Length of a template.
    metric : str
        Always ``"euclidean"``: embedders for cosine similarity return unit vectors, whose Euclidean distance ranks identically.
    calibration : Calibration
    embedder : str
        A key of `engines.EMBEDDERS`; empty if it is not known.
    """

    id: str
    dim: int
    metric: str
    calibration: Calibration
    embedder: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Embeddings of the faces of one photo.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n, dim)
    strengths : ndarray of float32, shape (n,)
        How strongly the network reacted to each face: the length of SFace's vector before it is made a unit vector. Blurred,
        covered and strange faces have short ones. 0 where the embedder has no such measure.
    points : ndarray of float32, shape (n, 5, 2), optional
        dlib's five landmarks of each face, in the pixels that were given to the embedder. None if it did not need them.
    disagreements : ndarray of float32, shape (n,), optional
        Distance between dlib's embeddings of the face and of its mirror image. None where the mirror image is not described.
    """

    vectors: np.ndarray
    strengths: np.ndarray
    points: np.ndarray | None = None
    disagreements: np.ndarray | None = None

    def each(self) -> Iterator[Evidence]:
        """What is known of each face."""
        for i, vector in enumerate(self.vectors):
            yield Evidence(
                vector,
                float(self.strengths[i]),
                None if self.points is None else self.points[i],
                0.0 if self.disagreements is None else float(self.disagreements[i]),
            )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One face's part of `Described`: vector, (dim,), strength, points, (5, 2) or None, and disagreement."""

    vector: np.ndarray
    strength: float = 0.0
    points: np.ndarray | None = None
    disagreement: float = 0.0


@runtime_checkable
class Detector(Protocol):
    """Finds faces. Implementations are thread-safe."""

    name: str
    #: Default long side, in pixels, of the reduced copy for this detector.
    preferred_size: int

    def detect(self, pixels: np.ndarray) -> Faces:
        """Find faces without resizing the image.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.

        Returns
        -------
        Faces
            In pixels of the image, best score first.
        """


@runtime_checkable
class Embedder(Protocol):
    """Computes embeddings of faces. Implementations are thread-safe.

    An embedder that knows how strongly its network reacted has a method `describe_all` besides, like `embed_all`, which returns
    `Described` for each photo.
    """

    name: str
    #: Length of an embedding.
    dim: int
    #: Whether most of the work holds the interpreter's lock, so that threads do not make it faster.
    holds_lock: bool

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (H, W, 3)
            RGB.
        faces : Faces
            In these pixels.

        Returns
        -------
        ndarray of float32, shape (len(faces), dim)
        """

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """`embed` for each of several photos, in one batch where that is faster."""


def parted(rows: np.ndarray, photos: Sequence[SizedT]) -> list[np.ndarray]:
    """Split the rows of all faces into those of each photo.

    Parameters
    ----------
    rows : ndarray, shape (n, ...)
    photos : sequence
        One item per photo, whose length is its number of faces; n in all.
    """
    return np.split(rows, np.cumsum([len(faces) for faces in photos])[:-1]) if photos else []
