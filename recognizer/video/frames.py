"""The values of the video pipeline: frames, tracked faces, objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from recognizer.core.types import Box, Candidate, Faces, Match
from recognizer.photos.images import Image
from recognizer.photos.quality import Quality
from recognizer.photos.remarks import Comparability
from recognizer.photos.results import FoundObject, SeenFace


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a source.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (H, W, 3)
        RGB. Several threads read it; nobody writes to it.
    number : int
        Counts the source's frames from 0; a gap means dropped frames.
    time : float
        Seconds since the epoch, when the picture came.
    taken : float
        The same on `time.perf_counter`'s clock, for measuring delays.
    position : float or None
        Seconds from the beginning, where the source is a recording.
    """

    pixels: np.ndarray
    number: int
    time: float
    taken: float
    position: float | None = None

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class DetectedIn:
    """The frame that a face was detected in, and its box there."""

    frame: Frame
    box: Box


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A face that is followed from frame to frame.

    Attributes
    ----------
    track : int
        The same for the same face; unique within one run of a pipeline.
    seen : SeenFace
        Box, landmarks and quality in this frame, and the match: the decision over all frames of the track so far,
        None until the face was described for the first time.
    detected : bool
        Whether the detector found it in this frame; else the tracker predicted its box.
    since : float
        Seconds since the epoch, of the track's first frame.
    late : bool
        Whether the detector found it in a frame shortly before this one, which it was done with only after that frame's
        result: as ever where it takes longer than a frame lasts.
    detected_in : DetectedIn or None
        Of a late face: where it was detected. This frame may not show it any more.
    zones : tuple of str
        Names of the camera's zones that contain the centre of the face.
    """

    track: int
    seen: SeenFace
    detected: bool
    since: float
    late: bool = False
    detected_in: DetectedIn | None = None
    zones: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the detector found it since the previous result."""
        return self.detected or self.late

    def picture(self, shown: Frame) -> DetectedIn:
        """The frame to take a picture of this face from, and its box there; `shown` is the result's own frame."""
        return self.detected_in or DetectedIn(shown, self.box)

    @property
    def subject(self) -> str | None:
        """The subject; None for a stranger, or while there is no decision."""
        return self.seen.subject

    @property
    def decided(self) -> bool:
        """Whether the face was compared with the gallery: if so, no subject means a stranger."""
        return self.seen.match is not None

    @property
    def box(self) -> Box:
        return self.seen.box


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """A frame, and its faces and objects.

    Attributes
    ----------
    frame : Frame
    faces : tuple of TrackedFace
        By track.
    objects : tuple of FoundObject
        Best score first; empty if objects are not detected.
    ended : tuple of int
        Tracks that ended with this frame.
    dropped : int
        Frames of the source that were skipped since the last result.
    timing_ms : dict
        Milliseconds of each stage.
    searched : bool
        Whether face detection has run since the beginning and since the last cut.
    still : bool
        Whether the picture shows what the one that was examined last shows, so that its faces are those of that one.
    outside : tuple of Box
        Faces on the picture that are not in `faces`, because they are in no zone of the camera.
    """

    frame: Frame
    faces: tuple[TrackedFace, ...] = ()
    objects: tuple[FoundObject, ...] = ()
    ended: tuple[int, ...] = ()
    dropped: int = 0
    timing_ms: dict[str, float] = field(default_factory=dict)
    searched: bool = True
    still: bool = False
    outside: tuple[Box, ...] = ()


class Vision(Protocol):
    """What a pipeline needs from the rest of the package. All of it may be called from any thread, and all but `generation`
    and `decide` blocks.

    Attributes
    ----------
    same_within, other_beyond : float or None
        Distances of two embeddings within which they are one person's, and beyond which they are not. None: tracks are
        neither joined nor split by what faces look like.
    """

    same_within: float | None
    other_beyond: float | None

    @property
    def generation(self) -> int:
        """Increases when the enrolled people or the threshold change: tracks are then compared again."""

    def detect(self, image: Image, min_face: int | None = None) -> Faces:
        """The faces of a frame, boxes and landmarks in its pixels; `min_face` is another least size than usual."""

    def describe(self, image: Image, faces: Faces, qualities: Sequence[Quality]) -> tuple[np.ndarray, Sequence[Comparability]]:
        """Embeddings of faces that `detect` found, float32 (len(faces), dim), and whether each can be compared."""

    def match(self, vectors: np.ndarray, stranger_rate: float | None = None) -> list[Match]:
        """The match of each embedding, with the nearest subjects as candidates; `stranger_rate` is another one than usual."""

    def qualities(self, image: Image, faces: Faces) -> list[Quality]:
        """The quality of each face."""

    def landmarks_68(self, image: Image, faces: Faces) -> np.ndarray:
        """68 landmarks of each face, float32 (n, 68, 2)."""

    def evidence(self, image: Image, faces: Faces, attributes: Collection[str]) -> Sequence[Mapping[str, np.ndarray]]:
        """The evidence of each face about `attributes`; see `attributes.reader.AttributeReader.evidence`."""

    def decide(self, candidates: Sequence[Candidate], stranger_rate: float | None = None) -> Match:
        """What `match` makes of candidates, nearest first: whether the first is near enough to be named. A track's
        candidates are those of all its pictures."""

    def objects(self, pixels: np.ndarray, threshold: float) -> Sequence[FoundObject]:
        """Objects in an RGB uint8 picture (H, W, 3)."""
