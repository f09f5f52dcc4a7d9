"""The values that travel through the package; each checks its shape when it is built.

Coordinates are pixels of the original, upright photo, x to the right, y down, origin at the top left corner.
Boxes are ``(left, top, right, bottom)``. "Left" and "right" of a face mean left and right *in the picture*, as
in face_recognition, not the person's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .errors import EngineMismatch

#: Names of the points of each landmark scheme, in the order of the arrays' rows.
LANDMARK_SCHEMES: dict[str, tuple[str, ...]] = {
    # YuNet, read from the picture's left to its right
    "yunet5": ("left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"),
    # dlib's 5 points in dlib's own order: the picture's right eye (outer, inner corner), its left eye, under the nose
    "dlib5": ("right_eye", "right_eye", "left_eye", "left_eye", "nose_tip"),
}


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return `pixels` if it is an RGB uint8 array of shape (H, W, 3), else raise.

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
    """A rectangle ``(left, top, right, bottom)`` in pixels, right and bottom exclusive.

    Raises
    ------
    ValueError
        An edge is not finite, or right is not beyond left, or bottom not below top.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self):
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
        """The shorter side, which is what `min_face` is compared with."""
        return min(self.width, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


@dataclass(frozen=True, slots=True)
class Face:
    """One found face.

    Attributes
    ----------
    box : Box
    score : float
        The detector's own score; comparable within one detector only.
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
    """The faces of one photo, best score first; indexable and iterable as `Face`.

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

    def __post_init__(self):
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
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2), np.float32), scheme)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> Face:
        box = Box(*(float(edge) for edge in self.boxes[index]))
        return Face(box, float(self.scores[index]), self.landmarks[index], self.scheme)

    def __iter__(self) -> Iterator[Face]:
        return (self[i] for i in range(len(self)))

    def select(self, which) -> Faces:
        """The faces that an index array or a boolean mask picks, in its order."""
        return Faces(self.boxes[which], self.scores[which], self.landmarks[which], self.scheme)

    def scaled(self, factor_x: float, factor_y: float | None = None) -> Faces:
        """The same faces in a picture stretched by these factors."""
        fx, fy = factor_x, factor_x if factor_y is None else factor_y
        return Faces(
            self.boxes * (fx, fy, fx, fy),
            self.scores,
            (self.landmarks * (fx, fy)).astype(np.float32),
            self.scheme,
        )

    def shifted(self, dx: float, dy: float) -> Faces:
        """The same faces moved by dx, dy pixels."""
        return Faces(
            self.boxes + (dx, dy, dx, dy),
            self.scores,
            (self.landmarks + (dx, dy)).astype(np.float32),
            self.scheme,
        )


@dataclass(frozen=True, slots=True)
class Embedding:
    """What an engine makes of one face: a vector, and the id of the engine that made it."""

    vector: np.ndarray
    engine: str

    def __post_init__(self):
        if self.vector.ndim != 1 or self.vector.dtype != np.float32:
            raise ValueError(f"expected a float32 vector, got {self.vector.dtype} {self.vector.shape}")

    def require(self, engine: str) -> np.ndarray:
        """The vector, if `engine` made it.

        Raises
        ------
        EngineMismatch
        """
        if engine != self.engine:
            raise EngineMismatch(f"an embedding of engine {self.engine!r} cannot be compared with one of {engine!r}")
        return self.vector


@dataclass(frozen=True, slots=True)
class Template:
    """An enrolled embedding: whose it is, and which photo it came from (the photo's id, see `encodings`)."""

    subject: str
    photo: str
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subject that a probe was compared with, its distance, and the photo that was nearest."""

    subject: str
    distance: float
    photo: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What `matching.decide` made of a probe's candidates.

    Attributes
    ----------
    subject : str or None
        The nearest subject if it is within the threshold, else None: a stranger.
    distance : float or None
        To the nearest subject, named or not; None with nobody enrolled.
    threshold : float
    false_match_rate : float or None
        How often two different people come this close or closer, by the engine's calibration; never below
        `matching.LEAST_RATE`.
    candidates : tuple of Candidate
        Nearest first.
    ambiguous : bool
        Whether another subject is nearly as close as the one that is named; both are among the candidates.
    """

    subject: str | None
    distance: float | None
    threshold: float
    false_match_rate: float | None = None
    candidates: tuple[Candidate, ...] = field(default=())
    ambiguous: bool = False
