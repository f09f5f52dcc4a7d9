"""The data types that the packages exchange; each validates its shape when it is constructed.

Coordinates are pixels of the original, upright photo: x to the right, y down, origin at the top left corner. Boxes are ``(left,
top, right, bottom)``. "Left" and "right" of a face mean left and right *in the picture*, as in face_recognition, not the
person's own left and right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from recognizer.core.errors import EngineMismatch

#: Names of the points of each landmark scheme, in the order of the rows of `Faces.landmarks`.
LANDMARK_SCHEMES: dict[str, tuple[str, ...]] = {
    # YuNet: from left to right in the picture
    "yunet5": ("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"),
    # dlib's 5 points in dlib's order: the picture's right eye (outer, inner corner), its left eye, below the nose
    "dlib5": ("right_eye", "right_eye", "left_eye", "left_eye", "nose_tip"),
}

#: Parts of the 68-point scheme, named as in face_recognition.face_landmarks: (name, indices in order).
PARTS_68: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("chin", tuple(range(0, 17))),
    ("left_eyebrow", tuple(range(17, 22))),
    ("right_eyebrow", tuple(range(22, 27))),
    ("nose_bridge", tuple(range(27, 31))),
    ("nose_tip", tuple(range(31, 36))),
    ("left_eye", tuple(range(36, 42))),
    ("right_eye", tuple(range(42, 48))),
    ("top_lip", (*range(48, 55), 64, 63, 62, 61, 60)),
    ("bottom_lip", (*range(54, 60), 48, 60, 67, 66, 65, 64)),
)


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """Check that `pixels` is an RGB uint8 array of shape (H, W, 3), and return it.

    Raises
    ------
    TypeError
        The dtype is not uint8.
    ValueError
        The shape is not (H, W, 3) with H and W at least 1.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise TypeError(f"expected an array of uint8, got {getattr(pixels, 'dtype', type(pixels).__name__)}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"expected an RGB image of shape (H, W, 3), got {pixels.shape}")
    return pixels


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle ``(left, top, right, bottom)`` in pixels; right and bottom are exclusive.

    Raises
    ------
    ValueError
        An edge is not finite, or the width or height is not positive.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not np.isfinite((self.left, self.top, self.right, self.bottom)).all():
            raise ValueError(f"expected finite edges, got {tuple(self)}")
        if not (self.right > self.left and self.bottom > self.top):
            raise ValueError(f"expected right > left and bottom > top, got {tuple(self)}")

    def __iter__(self) -> Iterator[float]:
        yield from (self.left, self.top, self.right, self.bottom)

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def size(self) -> float:
        """The shorter side, which `min_face` is compared with."""
        return min(self.width, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def to_dict(self) -> dict[str, int]:
        """The edges in whole pixels, by name: ``left``, ``top``, ``right``, ``bottom``."""
        return {name: round(edge) for name, edge in zip(("left", "top", "right", "bottom"), self, strict=True)}


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    Attributes
    ----------
    box : Box
    score : float
        The detector's score; comparable only between faces of the same detector.
    landmarks : ndarray of float32, shape (5, 2)
        x, y of the points that ``LANDMARK_SCHEMES[scheme]`` names.
    scheme : str
    """

    box: Box
    score: float
    landmarks: np.ndarray
    scheme: str


@dataclass(frozen=True, slots=True)
class Faces:
    """The faces of one photo, best score first; indexing and iterating give `Face`.

    Parameters
    ----------
    boxes : ndarray of float64, shape (n, 4)
        left, top, right, bottom.
    scores : ndarray of float64, shape (n,)
    landmarks : ndarray of float32, shape (n, 5, 2)
    scheme : str
        A key of `LANDMARK_SCHEMES`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray
    scheme: str = "yunet5"

    def __post_init__(self) -> None:
        n = len(self.boxes)
        for name, array, shape in (
            ("boxes", self.boxes, (n, 4)),
            ("scores", self.scores, (n,)),
            ("landmarks", self.landmarks, (n, 5, 2)),
        ):
            if np.shape(array) != shape:
                raise ValueError(f"expected {name} of shape {shape}, got {np.shape(array)}")
        if self.scheme not in LANDMARK_SCHEMES:
            raise ValueError(f"expected a scheme of {sorted(LANDMARK_SCHEMES)}, got {self.scheme!r}")

    @classmethod
    def empty(cls, scheme: str = "yunet5") -> Faces:
        """No faces."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2), np.float32), scheme)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> Face:
        box = Box(*(float(edge) for edge in self.boxes[index]))
        return Face(box, float(self.scores[index]), self.landmarks[index], self.scheme)

    def __iter__(self) -> Iterator[Face]:
        return (self[i] for i in range(len(self)))

    def select(self, which: np.ndarray | Sequence[int]) -> Faces:
        """The faces selected by an array of indices, in its order, or by a boolean mask, shape (n,)."""
        return Faces(self.boxes[which], self.scores[which], self.landmarks[which], self.scheme)

    def scaled(self, factor_x: float, factor_y: float | None = None) -> Faces:
        """The same faces in a picture that is scaled by these factors."""
        fx, fy = factor_x, factor_x if factor_y is None else factor_y
        return Faces(
            self.boxes * (fx, fy, fx, fy),
            self.scores,
            (self.landmarks * (fx, fy)).astype(np.float32),
            self.scheme,
        )

    def shifted(self, dx: float, dy: float) -> Faces:
        """The same faces, moved by dx, dy pixels."""
        return Faces(
            self.boxes + (dx, dy, dx, dy),
            self.scores,
            (self.landmarks + (dx, dy)).astype(np.float32),
            self.scheme,
        )


@dataclass(frozen=True, slots=True)
class Embedding:
    """The embedding of one face.

    Attributes
    ----------
    vector : ndarray of float32, shape (d,)
    engine : str
        The id of the engine that computed it.
    """

    vector: np.ndarray
    engine: str

    def __post_init__(self) -> None:
        if self.vector.ndim != 1 or self.vector.dtype != np.float32:
            raise ValueError(f"expected a float32 vector, got {self.vector.dtype} {self.vector.shape}")

    def require(self, engine: str) -> np.ndarray:
        """The vector, after checking that `engine` computed it.

        Raises
        ------
        EngineMismatch
            Another engine computed it.
        """
        if engine != self.engine:
            raise EngineMismatch(f"an embedding of engine {self.engine!r} cannot be compared with one of {engine!r}")
        return self.vector


@dataclass(frozen=True, slots=True)
class Template:
    """An enrolled embedding, with its subject and the id of its photo."""

    subject: str
    photo: str
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subject that a probe was compared with, the distance, and the id of the subject's nearest photo."""

    subject: str
    distance: float
    photo: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The decision of `matching.decide` for a probe.

    Attributes
    ----------
    subject : str or None
        The nearest subject if its distance is within the threshold; None for a stranger.
    distance : float or None
        The distance to the nearest subject, even beyond the threshold; None if the gallery is empty.
    threshold : float
    false_match_rate : float or None
        The rate at which different people have this distance or less, from the engine's calibration; at least
        `thresholds.LEAST_RATE`.
    candidates : tuple of Candidate
        Nearest first.
    ambiguous : bool
        Whether another subject is nearly as close as `subject`; both are among the candidates.
    """

    subject: str | None
    distance: float | None
    threshold: float
    false_match_rate: float | None = None
    candidates: tuple[Candidate, ...] = field(default=())
    ambiguous: bool = False
