"""What the service answers, as values; `replies` turns them into plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .consent import Consent
from .encodings import Encoding
from .images import Image
from .quality import Quality
from .types import Box, Candidate, Face, Match


@dataclass(frozen=True, slots=True)
class SeenFace:
    """A face of a photo, with its 68 landmarks (float32 (68, 2)) whom it matched, and how good its
    picture is, where that was asked for."""

    face: Face
    landmarks_68: np.ndarray | None = None
    match: Match | None = None
    quality: Quality | None = None

    @property
    def subject(self) -> str | None:
        """Whose face it is; None for a stranger, or where nobody was compared."""
        return self.match.subject if self.match else None

    @property
    def distance(self) -> float | None:
        """To the nearest enrolled person, named or not; None where there is none."""
        return self.match.distance if self.match else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return self.match.candidates if self.match else ()

    @property
    def box(self) -> Box:
        return self.face.box

    @property
    def score(self) -> float:
        return self.face.score


@dataclass(frozen=True, slots=True)
class Seen:
    """A photo that was looked at, and how long each stage took, in milliseconds."""

    image: Image
    faces: tuple[SeenFace, ...]
    timing_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object: its label, the detector's score (0 to 1), and its box in pixels."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class SeenObjects:
    """A photo in which objects were looked for: what was found, best score first, and how long each stage took, in
    milliseconds."""

    image: Image
    objects: tuple[FoundObject, ...]
    timing_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether two faces are one person's: `same` is `distance` <= `threshold`."""

    same: bool
    distance: float
    threshold: float
    false_match_rate: float | None
    faces: tuple[Face, ...]
    timing_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class EnrolledPhoto:
    """A photo that is enrolled: `new` is False when it was before. `warnings` say what is odd about it."""

    subject: str
    encoding: Encoding
    new: bool
    warnings: tuple[dict, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class PersonPhoto:
    """One file of a subject's folder. Its encoding's `problem` says why it is not used, `warnings` what is odd about it."""

    id: str | None
    file: str
    bytes: int
    encoding: Encoding
    warnings: tuple[dict, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Person:
    """A subject with its photos; `templates` counts those that are in use while the consent has not expired."""

    name: str
    templates: int
    photos: tuple[PersonPhoto, ...]
    consent: Consent = Consent()
