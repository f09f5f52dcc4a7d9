"""What live video asks of an engine and a gallery: small, blocking steps, each of a bounded cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from . import matching
from .engines import Engine
from .errors import ModelMissing
from .galleries.base import Gallery
from .images import Image
from .quality import Quality
from .results import FoundObject
from .types import Candidate, Faces, Match

#: Subjects that a match lists: a track's distance from a subject is a mean over its pictures, so that those who come
#: second in one may come first in all.
LISTED = 10
#: Of different people, the share whose faces are no further apart than two pictures of a track may be, before it is taken
#: for two people's.
OTHER_RATE = 0.1

Objects = Callable[[np.ndarray, float], Sequence[FoundObject]]


class EngineVision:
    """The steps of `video.results.Vision`, by an engine and a gallery. Every method may be called from any thread.

    Parameters
    ----------
    engine : Engine
    gallery : Gallery
    threshold : callable
        The largest distance at which a face gets a name, now.
    objects : callable, optional
        Finds objects: RGB pixels and the least score -> what was found.
    min_face : int, optional
        Smallest side of a face's box, in pixels of the picture, instead of the engine's.
    """

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        threshold: Callable[[], float],
        objects: Objects | None = None,
        min_face: int | None = None,
    ):
        self._engine, self._gallery, self._threshold, self._objects = engine, gallery, threshold, objects
        self._min_face = engine.min_face if min_face is None else min_face
        calibration = engine.info.calibration
        self._curve = matching.Curve(calibration.distances, calibration.rates)
        self._margin = matching.AMBIGUOUS_SHARE * calibration.threshold
        #: Two faces at most this far apart are one person's, by the engine's calibration.
        self.same_within = calibration.threshold
        #: Two faces further apart than this are not.
        self.other_beyond = self._curve.distance(OTHER_RATE)

    @property
    def generation(self) -> int:
        return self._gallery.generation

    def detect(self, image: Image) -> Faces:
        """Faces, by one look at a copy of the engine's usual size."""
        return self._engine.glance(image, self._min_face)

    def describe(self, image: Image, faces: Faces) -> np.ndarray:
        return self._engine.describe(image, faces)

    def match(self, vectors: np.ndarray) -> list[Match]:
        if not len(vectors):
            return []
        found = self._gallery.search(vectors, LISTED)
        return [self.decide(candidates) for candidates in found]

    def decide(self, candidates: Sequence[Candidate]) -> Match:
        return matching.decide(candidates, self._threshold(), self._curve, margin=self._margin)

    def qualities(self, image: Image, faces: Faces) -> list[Quality]:
        return self._engine.qualities(image, faces)

    def landmarks_68(self, image: Image, faces: Faces) -> np.ndarray:
        return self._engine.landmarks_68(image, faces)

    def objects(self, pixels: np.ndarray, threshold: float) -> Sequence[FoundObject]:
        if self._objects is None:
            raise ModelMissing("objects cannot be found: there is no detector for them here")
        return self._objects(pixels, threshold)
