"""Names for embeddings: searches the gallery, and decides up to which distance a face gets a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recognizer.core.types import Candidate, Match
from recognizer.engines import Engine
from recognizer.engines.protocols import EngineInfo
from recognizer.enrolment.closeness import CurvePoint, GalleryCalibration, Measurement
from recognizer.enrolment.examination import EnrolmentRules
from recognizer.galleries import cohort, matching, thresholds
from recognizer.galleries.clustering import nothing_lowered
from recognizer.galleries.contract import Gallery
from recognizer.photos.remarks import Comparability, factor_of_two

#: Stranger rates that `Matcher.calibration` explains.
RATES = tuple(float(f"{digit}e{power}") for power in range(-6, 0) for digit in (1, 2, 5))


class Matcher:
    """Decides whose an embedding is. Has no state of its own; every method may be called from any thread.

    Parameters
    ----------
    info : EngineInfo
        Of the engine that made the gallery's templates.
    gallery : Gallery
    fixed : float, optional
        Maximum distance of a match, however many people are enrolled.
    stranger_rate : callable
        Returns the probability that a stranger gets a name, as it is set now; called if `fixed` is None.
    crowded : callable
        By how much the threshold of each embedding, float32 (m, dim), is lowered because strangers are expected to be near; see
        `engines.crowding`.
    """

    def __init__(
        self,
        info: EngineInfo,
        gallery: Gallery,
        fixed: float | None,
        stranger_rate: Callable[[], float],
        crowded: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
    ):
        #: By how much a limit is lowered for each embedding, (m, dim) -> (m,).
        self.crowded = crowded
        self._gallery, self._fixed, self._stranger_rate = gallery, fixed, stranger_rate
        points = info.calibration
        self.curve = thresholds.Curve(points.distances, points.rates)
        #: The engine's threshold for comparing one face with one.
        self.one_to_one = points.threshold
        self._usual = points.cohort_sizes, points.cohort_distances
        self._margin = matching.AMBIGUOUS_SHARE * points.threshold

    @property
    def stranger_rate(self) -> float | None:
        """The probability that a stranger gets a name; None if the threshold is fixed instead."""
        return self._stranger_rate() if self._fixed is None else None

    @property
    def verification_threshold(self) -> float:
        """The largest distance at which two faces count as one person's in a comparison of one with one."""
        return self.one_to_one if self._fixed is None else self._fixed

    def threshold_now(self, comparisons: int | None = None) -> float:
        """The largest distance at which a face gets a name: fixed, or such that a stranger gets one of so many templates'
        names (by default all of the gallery) with the permitted probability."""
        if self._fixed is not None:
            return self._fixed
        return self.threshold_at(self._stranger_rate(), len(self._gallery) if comparisons is None else comparisons)

    def threshold_at(self, rate: float, comparisons: int | None = None) -> float:
        """The same for another stranger rate, ignoring `fixed`."""
        comparisons = len(self._gallery) if comparisons is None else comparisons
        return self.curve.distance(thresholds.rate_per_comparison(rate, comparisons))

    def match(
        self,
        vectors: np.ndarray,
        top_k: int = 0,
        threshold: float | None = None,
        verdicts: Sequence[Comparability] | None = None,
    ) -> list[Match]:
        """The match of each embedding, float32 (n, dim), with `top_k` candidates.

        Parameters
        ----------
        verdicts : sequence of Comparability, optional
            Whether each face can be compared. One that cannot gets no name. For others the threshold follows from the stranger
            rate divided by the `rate_factor`, unless it is given or fixed; without verdicts it is lowered by `crowded`. Where
            much of the gallery is unusually near to a face that would get a name, its threshold is lowered further, see
            `cohort`.
        """
        if not len(vectors):
            return []
        found = self._gallery.search(vectors, max(2, top_k))
        if verdicts is None and threshold is None:
            plain = self.threshold_now()
            limits = self.limits(vectors, plain)
            factors = [self.curve.rate(plain) / self.curve.rate(each) if each < plain else 1.0 for each in limits]
            verdicts = [Comparability()] * len(vectors)
        else:
            verdicts = [Comparability()] * len(vectors) if verdicts is None else verdicts
            limits = [self._limit(each.rate_factor) if threshold is None else threshold for each in verdicts]
            factors = [each.rate_factor for each in verdicts]
        if threshold is None:
            within = [i for i, each in enumerate(found) if verdicts[i].comparable and each and each[0].distance <= limits[i]]
            for i, lowering in zip(within, self.lowerings(vectors[within]), strict=True):
                if lowering:
                    factors[i] *= self.curve.rate(limits[i]) / self.curve.rate(limits[i] - lowering)
                    limits[i] -= lowering
        matches = []
        for candidates, verdict, limit, factor in zip(found, verdicts, limits, factors, strict=True):
            match = matching.decide(candidates, limit, self.curve, top_k, self._margin, factor)
            matches.append(match if verdict.comparable else matching.withheld(match))
        return matches

    def lowerings(self, vectors: np.ndarray, stranger_rate: float | None = None) -> list[float]:
        """By how much the threshold of each embedding, float32 (n, dim), is lowered, see `cohort`. By 0 where it is fixed,
        unless it is the one of `threshold_at` for a stranger rate."""
        if not len(vectors) or (self._fixed is not None and stranger_rate is None):
            return [0.0] * len(vectors)
        found = cohort.lowerings(self._gallery.cohort(vectors), *self._usual, self.one_to_one)
        return [float(each) for each in found]

    def live_lowerings(self, vectors: np.ndarray, stranger_rate: float | None = None) -> list[float]:
        """`lowerings` for embeddings without a verdict: with what the `rate_factor` of a verdict contains of `crowded`."""
        found = self.lowerings(vectors, stranger_rate)
        if not found or (self._fixed is not None and stranger_rate is None):
            return found
        return [one + float(other) for one, other in zip(found, self.crowded(vectors), strict=True)]

    def limits(self, vectors: np.ndarray, plain: float) -> list[float]:
        """The largest distances for embeddings without a verdict, float32 (n, dim): `plain`, lowered by `crowded` unless the
        threshold is fixed."""
        if self._fixed is not None or not len(vectors):
            return [plain] * len(vectors)
        return [max(0.0, plain - float(each)) for each in self.crowded(vectors)]

    def _limit(self, rate_factor: float) -> float:
        if self._fixed is not None or rate_factor <= 1:
            return self.threshold_now()
        return self.threshold_at(self._stranger_rate() / rate_factor)

    def verification_limit(self, verdicts: Sequence[Comparability]) -> float:
        """`verification_threshold` for two faces with these verdicts, or for one face if only its verdict is known: lower where
        strangers lie together more often, see `remarks.factor_of_two`."""
        factor = factor_of_two(verdicts)
        if self._fixed is not None or factor <= 1:
            return self.verification_threshold
        return min(self.one_to_one, self.curve.distance(self.curve.rate(self.one_to_one) / factor))

    def nearest_other(self, subject: str, vector: np.ndarray) -> Candidate | None:
        """The nearest subject of an embedding, float32 (dim,), other than `subject`."""
        found = self._gallery.search(vector[None], 2)[0]
        return next((candidate for candidate in found if candidate.subject != subject), None)

    def nearest(self, vectors: Sequence[np.ndarray], rate: float) -> list[Candidate | None]:
        """The nearest subject of each embedding, within the distance that a stranger has to anybody with probability `rate`."""
        if not len(vectors):
            return []
        near = max(self.threshold_at(rate), self.threshold_now())
        found = self._gallery.search(np.array(vectors), 1)
        return [each[0] if each and each[0].distance <= near else None for each in found]

    def calibration(self, measurement: Measurement) -> GalleryCalibration:
        """What each stranger rate means in this gallery; distances are measured in the background if that takes long."""
        count = len(self._gallery)
        measured, current = measurement.latest()
        points = []
        for rate in sorted({*RATES, self._stranger_rate()}):
            threshold = self.threshold_at(rate, count)
            shares = (None, None) if measured is None else (measured.accepted(threshold), measured.mistaken(threshold))
            points.append(CurvePoint(rate, threshold, thresholds.rate_per_comparison(rate, count), *shares))
        return GalleryCalibration(self.stranger_rate, self.threshold_now(), count, tuple(points), measured, current)


@dataclass(frozen=True, slots=True)
class Identification:
    """What finds a face on a photo and names it.

    Attributes
    ----------
    engine : Engine
    gallery : Gallery
        The enrolled people of a group.
    matcher : Matcher
        Decides for `gallery`.
    rules : EnrolmentRules
        Limits for photos, and what a face needs to be enrolled.
    """

    engine: Engine
    gallery: Gallery
    matcher: Matcher
    rules: EnrolmentRules
