"""Embeddings in, names out: the gallery asked, and the distance at which a face gets a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import matching
from ..closeness import Calibration, CurvePoint, Measurement
from ..engines.base import EngineInfo
from ..galleries.base import Gallery
from ..types import Candidate, Match

#: Stranger rates of which `Matcher.calibration` tells what they mean.
RATES = tuple(float(f"{digit}e{power}") for power in range(-6, 0) for digit in (1, 2, 5))


class Matcher:
    """Says whom an embedding belongs to. Keeps nothing itself; every method may be called from any thread.

    Parameters
    ----------
    info : EngineInfo
        Of the engine that made the gallery's templates.
    gallery : Gallery
    fixed : float, optional
        The distance up to which a face gets a name, whoever is enrolled.
    stranger_rate : callable
        The probability that a stranger may get any name, now; asked where nothing is fixed.
    """

    def __init__(self, info: EngineInfo, gallery: Gallery, fixed: float | None, stranger_rate: Callable[[], float]):
        self._gallery, self._fixed, self._stranger_rate = gallery, fixed, stranger_rate
        points = info.calibration
        self.curve = matching.Curve(points.distances, points.rates)
        #: The engine's threshold for comparing one face with one.
        self.one_to_one = points.threshold
        self._margin = matching.AMBIGUOUS_SHARE * points.threshold

    @property
    def stranger_rate(self) -> float | None:
        """The probability that a stranger gets any name; None where the threshold is fixed instead."""
        return self._stranger_rate() if self._fixed is None else None

    @property
    def verification_threshold(self) -> float:
        """The largest distance at which two faces are taken for one person's, where nobody else is compared."""
        return self.one_to_one if self._fixed is None else self._fixed

    def threshold_now(self, comparisons: int | None = None) -> float:
        """The largest distance at which a face gets a name: fixed, or such that a stranger gets any of so many templates'
        names, by default the gallery's, with the probability that is allowed."""
        if self._fixed is not None:
            return self._fixed
        return self.threshold_at(self._stranger_rate(), len(self._gallery) if comparisons is None else comparisons)

    def threshold_at(self, rate: float, comparisons: int | None = None) -> float:
        """The same for another stranger rate, whatever is fixed."""
        comparisons = len(self._gallery) if comparisons is None else comparisons
        return self.curve.distance(matching.rate_per_comparison(rate, comparisons))

    def match(self, vectors: np.ndarray, top_k: int = 0, threshold: float | None = None) -> list[Match]:
        """Whom each embedding, float32 (n, dim), belongs to; with `top_k` candidates each."""
        if not len(vectors):
            return []
        limit = self.threshold_now() if threshold is None else threshold
        found = self._gallery.search(vectors, max(2, top_k))
        return [matching.decide(candidates, limit, self.curve, top_k, self._margin) for candidates in found]

    def nearest_other(self, subject: str, vector: np.ndarray) -> Candidate | None:
        """Who is nearest to an embedding, float32 (dim,), apart from `subject`."""
        found = self._gallery.search(vector[None], 2)[0]
        return next((candidate for candidate in found if candidate.subject != subject), None)

    def nearest(self, vectors: Sequence[np.ndarray], rate: float) -> list[Candidate | None]:
        """Who is nearest to each embedding, where a stranger comes that near to anybody with the chance `rate` at most."""
        if not len(vectors):
            return []
        near = max(self.threshold_at(rate), self.threshold_now())
        found = self._gallery.search(np.array(vectors), 1)
        return [each[0] if each and each[0].distance <= near else None for each in found]

    def calibration(self, measurement: Measurement) -> Calibration:
        """What each stranger rate means in this gallery; distances are measured meanwhile where that takes long."""
        count = len(self._gallery)
        measured, current = measurement.latest()
        points = []
        for rate in sorted({*RATES, self._stranger_rate()}):
            threshold = self.threshold_at(rate, count)
            shares = (None, None) if measured is None else (measured.accepted(threshold), measured.mistaken(threshold))
            points.append(CurvePoint(rate, threshold, matching.rate_per_comparison(rate, count), *shares))
        return Calibration(self.stranger_rate, self.threshold_now(), count, tuple(points), measured, current)
