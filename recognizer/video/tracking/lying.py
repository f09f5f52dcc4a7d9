"""Notices that a camera hangs on its side or upside down: all faces in its pictures lie. Pure.

Detectors find some faces that lie, with a low score and with points as if they were upright. So while no face is seen that is
certainly upright, a turned copy of a picture is searched now and then, and the scores are compared.
"""

from __future__ import annotations

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Faces

#: Score from which on a face is certainly upright: lying faces that are taken for upright ones had at most 0.88.
CERTAIN = 0.89
#: How much better the score has to be on a turned copy.
BETTER = 0.04
#: Largest tilt, in degrees, of an upright face.
UPRIGHT = 45.0
#: Turned copies with a better face, without a certainly upright one between them, after which the camera is said to be turned,
#: and their share among all such copies.
ENOUGH, SHARE = 4, 0.75
#: Seconds without a certainly upright face after which turned copies are searched, and seconds between two searches.
PATIENCE, EVERY = 20.0, 5.0
#: The quarter turns, counterclockwise as in `numpy.rot90`, in the order in which they are tried.
QUARTERS = (2, 1, 3)


class LyingFaces:
    """What a camera's faces say about how it hangs.

    Attributes
    ----------
    turn : {0, 90, 180, 270}
        Degrees, clockwise, by which its pictures have to be turned for faces to be upright; 0 if they are, or if that is not
        known.
    """

    def __init__(self) -> None:
        self.turn = 0
        self._better = dict.fromkeys(QUARTERS, 0)
        self._best = 0.0
        self._upright_at: float | None = None
        self._searched_at = float("-inf")
        self._searches = 0

    def saw(self, faces: Faces, now: float) -> None:
        """Take the faces of a picture, and the time in seconds."""
        self._best = _best(faces)
        if self._upright_at is None:
            self._upright_at = now  # patience begins with the first picture
        if self._best >= CERTAIN:
            self._upright_at, self.turn = now, 0
            self._better = dict.fromkeys(QUARTERS, 0)

    def turned_copy(self, pixels: np.ndarray, now: float) -> tuple[np.ndarray, int] | None:
        """A copy of the picture to be searched now, and its quarter turns, counterclockwise; None if none is due."""
        waited = self._upright_at is not None and now - self._upright_at >= PATIENCE
        if not waited or now - self._searched_at < EVERY:
            return None
        self._searched_at = now
        likely = max(QUARTERS, key=self._better.__getitem__)
        every_other = self._searches % 2 and self._better[likely]
        quarter = likely if every_other else QUARTERS[self._searches // 2 % 3]
        self._searches += 1
        return np.ascontiguousarray(np.rot90(pixels, quarter)), quarter

    def saw_turned(self, faces: Faces, quarter: int) -> None:
        """Take the faces of a turned copy of the picture that was seen last."""
        best = _best(faces)
        if best < CERTAIN or best < self._best + BETTER:
            return
        self._better[quarter] += 1
        likely = max(QUARTERS, key=self._better.__getitem__)
        if self._better[likely] >= ENOUGH and self._better[likely] >= SHARE * sum(self._better.values()):
            self.turn = -90 * likely % 360


def _best(faces: Faces) -> float:
    """The best score of an upright face; 0 without one."""
    scores = [face.score for face in faces if abs(geometry.roll(face.landmarks, face.scheme)) <= UPRIGHT]
    return max(scores, default=0.0)
