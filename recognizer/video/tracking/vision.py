"""The steps of live video with an engine and a gallery: small, blocking, each of limited cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recognizer.attributes.reader import AttributeReader
from recognizer.core.errors import ModelMissing
from recognizer.core.types import Candidate, Faces, Match
from recognizer.engines import Engine
from recognizer.galleries import matching, thresholds
from recognizer.galleries.contract import Gallery
from recognizer.photos.images import Image
from recognizer.photos.quality import Quality
from recognizer.photos.remarks import Comparability
from recognizer.photos.results import FoundObject

#: Subjects that a match lists: a track's distance from a subject is a mean over its pictures, so that those who come
#: second in one may come first in all.
LISTED = 10
#: Of different people, the share whose faces are no further apart than two pictures of a track may be, before it is taken
#: for two people's.
OTHER_RATE = 0.1

Objects = Callable[[np.ndarray, float], Sequence[FoundObject]]


@dataclass(frozen=True, slots=True)
class NamingLimits:
    """Up to which distance faces on frames get a name.

    Attributes
    ----------
    now : callable
        Returns the largest distance at which a face gets a name.
    at : callable, optional
        The same for a stranger rate of a camera's own.
    lowerings : callable
        By how much the threshold of each embedding is lowered, with a camera's own stranger rate or None; see
        `Matcher.live_lowerings`. Candidates' distances are raised by it instead, since those of several pictures are combined.
    """

    now: Callable[[], float]
    at: Callable[[float], float] | None = None
    lowerings: Callable[[np.ndarray, float | None], Sequence[float]] = lambda vectors, rate: [0.0] * len(vectors)


class EngineVision:
    """The steps of `video.results.Vision`, by an engine and a gallery. Every method may be called from any thread.

    Parameters
    ----------
    engine : Engine
    gallery : Gallery
    limits : NamingLimits
    objects : callable, optional
        Detects objects: RGB pixels and the minimum score -> objects.
    min_face : int, optional
        Smallest side of a face's box, in pixels of the picture, instead of the engine's.
    reader : callable, optional
        Returns what reads attributes; it may have to be fetched first.
    forced : callable
        Whether the template of a photo was enrolled although its face is not comparable: such a template names nobody.
    """

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        limits: NamingLimits,
        *,
        objects: Objects | None = None,
        min_face: int | None = None,
        reader: Callable[[], AttributeReader] | None = None,
        forced: Callable[[str | None], bool] = lambda photo: False,
    ):
        self._engine, self._gallery, self._limits, self._objects = engine, gallery, limits, objects
        self._reader, self._forced = reader, forced
        self._min_face = engine.min_face if min_face is None else min_face
        calibration = engine.info.calibration
        self._curve = thresholds.Curve(calibration.distances, calibration.rates)
        self._margin = matching.AMBIGUOUS_SHARE * calibration.threshold
        #: Two faces at most this far apart are one person's, by the engine's calibration.
        self.same_within: float | None = calibration.threshold
        #: Two faces further apart than this are not.
        self.other_beyond: float | None = self._curve.distance(OTHER_RATE)

    @property
    def generation(self) -> int:
        return self._gallery.generation

    def detect(self, image: Image, min_face: int | None = None) -> Faces:
        """Faces, by one look at a copy of the engine's usual size."""
        return self._engine.find_in_one_pass(image, self._min_face if min_face is None else min_face)

    def match(self, vectors: np.ndarray, stranger_rate: float | None = None) -> list[Match]:
        if not len(vectors):
            return []
        found = [
            [each for each in candidates if not self._forced(each.photo)]
            for candidates in self._gallery.search(vectors, LISTED)
        ]
        limit = self._limit(stranger_rate)
        within = [i for i, candidates in enumerate(found) if candidates and candidates[0].distance <= limit]
        for i, lowering in zip(within, self._limits.lowerings(vectors[within], stranger_rate), strict=True):
            if lowering:
                found[i] = [replace(each, distance=each.distance + lowering) for each in found[i]]
        return [self.decide(candidates, stranger_rate) for candidates in found]

    def decide(self, candidates: Sequence[Candidate], stranger_rate: float | None = None) -> Match:
        return matching.decide(candidates, self._limit(stranger_rate), self._curve, margin=self._margin)

    def _limit(self, stranger_rate: float | None) -> float:
        at_rate = self._limits.at
        return self._limits.now() if stranger_rate is None or at_rate is None else at_rate(stranger_rate)

    def qualities(self, image: Image, faces: Faces) -> list[Quality]:
        return self._engine.qualities(image, faces)

    def describe(self, image: Image, faces: Faces, qualities: Sequence[Quality]) -> tuple[np.ndarray, Sequence[Comparability]]:
        described = self._engine.described_all([(image, faces)])[0]
        return described.vectors, self._engine.judged(image, faces, described, qualities, again=False).verdicts

    def landmarks_68(self, image: Image, faces: Faces) -> np.ndarray:
        return self._engine.landmarks_68(image, faces)

    def evidence(self, image: Image, faces: Faces, attributes: Collection[str]) -> Sequence[Mapping[str, np.ndarray]]:
        if self._reader is None:
            raise ModelMissing("attributes cannot be read: there is no reader for them here")
        reader = self._reader()
        if not len(faces):
            return []
        near, scaled = self._engine.aligned(image, faces)
        return reader.evidence(near.pixels, scaled, attributes)

    def objects(self, pixels: np.ndarray, threshold: float) -> Sequence[FoundObject]:
        if self._objects is None:
            raise ModelMissing("objects cannot be found: there is no detector for them here")
        return self._objects(pixels, threshold)
