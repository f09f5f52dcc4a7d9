"""Results of detection and recognition on photos, as values; `plain` converts them to plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recognizer.core.answers import FaceAttributes
from recognizer.core.types import Box, Candidate, Face, Match
from recognizer.photos import plain
from recognizer.photos.images import Image
from recognizer.photos.quality import Quality
from recognizer.photos.remarks import Comparability


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face of a photo.

    Attributes
    ----------
    face : Face
    landmarks_68 : ndarray of float32, shape (68, 2), or None
        If requested.
    match : Match or None
        If it was compared with the gallery.
    quality : Quality or None
        If it was measured.
    embedding : ndarray of float32, shape (d,), or None
        If it was compared with the gallery.
    attributes : FaceAttributes or None
        If they were asked for.
    comparability : Comparability or None
        If it was described.
    """

    face: Face
    landmarks_68: np.ndarray | None = None
    match: Match | None = None
    quality: Quality | None = None
    embedding: np.ndarray | None = None
    attributes: FaceAttributes | None = None
    comparability: Comparability | None = None

    @property
    def comparable(self) -> bool | None:
        """Whether the face can be compared with others; a face that cannot has no subject. None if it was not described."""
        return self.comparability.comparable if self.comparability else None

    @property
    def subject(self) -> str | None:
        """The subject; None for an unknown face, or if it was not compared."""
        return self.match.subject if self.match else None

    @property
    def distance(self) -> float | None:
        """Distance from the nearest subject, whether or not it matched; None if nobody is enrolled."""
        return self.match.distance if self.match else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return self.match.candidates if self.match else ()

    @property
    def box(self) -> Box:
        """Where the face is, in pixels of the photo; on photos, the part inside the photo."""
        return self.face.box

    @property
    def score(self) -> float:
        return self.face.score

    def to_dict(self) -> dict[str, Any]:
        """The face as plain data, as the HTTP API shows it: boxes in whole pixels, numbers rounded."""
        return plain.seen_face(self, candidates=bool(self.candidates))


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo, its faces, and the duration of each stage in milliseconds."""

    image: Image
    faces: tuple[SeenFace, ...]
    timing_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object: its label, the detector's score (0 to 1), and its box in pixels."""

    label: str
    score: float
    box: Box

    def to_dict(self) -> dict[str, Any]:
        """The object as plain data, as the HTTP API shows it."""
        return plain.found_object(self)


@dataclass(frozen=True, slots=True)
class SeenObjects:
    """A photo, the objects detected on it, best score first, and the duration of each stage in milliseconds."""

    image: Image
    objects: tuple[FoundObject, ...]
    timing_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification, whether two faces show one person.

    `same` is `distance` <= `threshold`, and False if a face is not comparable; then the distance says nothing, and
    `false_match_rate` is None. `comparabilities` has one entry for each of `faces`.
    """

    same: bool
    distance: float
    threshold: float
    false_match_rate: float | None
    faces: tuple[Face, ...]
    timing_ms: dict[str, float]
    comparabilities: tuple[Comparability, ...] = ()

    @property
    def comparable(self) -> bool:
        """Whether all faces can be compared."""
        return all(each.comparable for each in self.comparabilities)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, as the HTTP API shows it."""
        return plain.verification(self)
