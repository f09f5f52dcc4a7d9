"""How similar enrolled people are to themselves and to each other, measured on this gallery's own templates.

Of each template that is looked at, its distance to the nearest other one of the same person (would this photo have been
recognised without itself?) and to the nearest of somebody else (whose name would this person get if they were not enrolled?).
The second comes from the gallery's own search, so nothing grows with the square of the templates: of a large gallery some
templates, drawn by chance, are compared with all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from recognizer.core.priorities import VIDEO, lower_thread_priority
from recognizer.core.types import Template
from recognizer.enrolment.enrolment import Enrolment
from recognizer.galleries.contract import Gallery
from recognizer.galleries.matching import distances

#: Maximum number of templates measured; the number of comparisons above which fewer are; and the minimum.
MOST_SAMPLED, MOST_COMPARISONS, LEAST_SAMPLED = 2_000, 20_000_000, 300
#: How many of them are searched for at once.
BATCH = 32
#: Templates of one person that are compared with each other, at most.
MOST_OWN = 500
#: Pairs of different people that are reported.
MOST_CLOSEST = 12
#: Seconds that a request waits for a measurement.
PATIENCE = 1.0
#: Width of the bars that the distances are counted in.
STEP = 0.05


@dataclass(frozen=True)
class Pair:
    """Two photos of different people, and how far apart they are."""

    distance: float
    subjects: tuple[str, str]
    photos: tuple[str, str | None]


@dataclass(frozen=True)
class Closeness:
    """The result of a measurement.

    Attributes
    ----------
    templates, sampled : int
        The number of templates, and how many of them were measured.
    same : ndarray of float, shape (n,)
        Ascending: the distance from each template to the nearest other template of the same person.
    different : ndarray of float, shape (m,)
        Ascending: the distance from each template to the nearest template of somebody else.
    closest : tuple of Pair
        The closest photos of each two people who are close, nearest first.
    """

    templates: int
    sampled: int
    same: np.ndarray
    different: np.ndarray
    closest: tuple[Pair, ...]

    def accepted(self, threshold: float) -> float | None:
        """The share of photos that the person's other photos would recognise; None where nobody has two."""
        return _share(self.same, threshold)

    def mistaken(self, threshold: float) -> float | None:
        """The share of photos that somebody else's name would be given to, were their own person not enrolled."""
        return _share(self.different, threshold)

    @property
    def step(self) -> float:
        return STEP

    def bars(self) -> tuple[list[int], list[int]]:
        """How many distances of `same` and of `different` lie in each `STEP`, from 0 on."""
        both = np.concatenate([self.same, self.different])
        if not len(both):
            return [], []
        edges = np.arange(0, both.max() + 2 * STEP, STEP)
        return tuple(np.histogram(each, edges)[0].tolist() for each in (self.same, self.different))


@dataclass(frozen=True)
class CurvePoint:
    """What a stranger rate means: the threshold, the false-match rate of one comparison, and the shares of `Closeness`."""

    stranger_rate: float
    threshold: float
    false_match_rate: float
    accepted: float | None
    mistaken: float | None


@dataclass(frozen=True)
class GalleryCalibration:
    """What each stranger rate means in a gallery.

    Attributes
    ----------
    stranger_rate : float or None
        The one in force; None where the threshold is fixed.
    threshold : float
        The one in force.
    templates : int
    curve : tuple of CurvePoint
        By rising rate.
    measured : Closeness or None
        None before the first measurement.
    current : bool
        Whether it describes the current gallery; otherwise a new measurement is running.
    """

    stranger_rate: float | None
    threshold: float
    templates: int
    curve: tuple[CurvePoint, ...]
    measured: Closeness | None
    current: bool


def _share(rising: np.ndarray, threshold: float) -> float | None:
    return float(np.searchsorted(rising, threshold, "right") / len(rising)) if len(rising) else None


class Measurement:
    """Measures on a thread of its own, on request and if the gallery has changed. Thread-safe.

    Parameters
    ----------
    enrolment : Enrolment
    """

    def __init__(self, enrolment: Enrolment):
        self._enrolment = enrolment
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._revision = -1
        self._found: Closeness | None = None
        self._closed = False

    def latest(self, patience: float = PATIENCE) -> tuple[Closeness | None, bool]:
        """The last measurement, None before the first one; and whether it describes the current gallery.

        An outdated measurement lists only pairs whose photos are both still enrolled.
        """
        with self._lock:
            if self._revision == self._enrolment.revision:
                return self._found, True
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="closeness", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(patience)
        with self._lock:
            found, current = self._found, self._revision == self._enrolment.revision
        if current or found is None:
            return found, current
        return replace(found, closest=tuple(pair for pair in found.closest if self._is_enrolled(pair))), False

    def _is_enrolled(self, pair: Pair) -> bool:
        """Whether both photos of a pair are still in the gallery."""
        gallery = self._enrolment.gallery
        return all(
            any(photo in (None, template.photo) for template in gallery.templates(subject))
            for subject, photo in zip(pair.subjects, pair.photos, strict=True)
        )

    def close(self) -> None:
        """End what runs."""
        self._closed = True
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        lower_thread_priority(VIDEO)
        revision = self._enrolment.revision
        try:
            found = measure(self._enrolment.gallery, lambda: self._closed)
            with self._lock:
                if found is not None:
                    self._found, self._revision = found, revision
        finally:
            self._thread = None


def measure(gallery: Gallery, over: Callable[[], bool] = lambda: False, most: int | None = None) -> Closeness | None:
    """Measure a gallery; None if `over` reports meanwhile that the result is no longer needed.

    Parameters
    ----------
    gallery : galleries.base.Gallery
    over : callable returning bool
    most : int
        Maximum number of templates to measure; by default as many as take a few seconds.
    """
    subjects = gallery.subjects()
    total, same, different = sum(subjects.values()), [], []
    if most is None:
        most = min(MOST_SAMPLED, max(LEAST_SAMPLED, MOST_COMPARISONS // max(1, total)))
    nearest: dict[tuple[str, str], Pair] = {}
    sampled = 0
    batch: list[Template] = []
    for subject, count in _drawn(subjects, most):
        if over():
            return None
        own = gallery.templates(subject)[:MOST_OWN]
        chosen = own[:count]
        sampled += len(chosen)
        same += _to_own(chosen, own)
        batch += chosen
        if len(batch) >= BATCH:
            different += _to_others(gallery, batch, nearest)
            batch = []
    different += _to_others(gallery, batch, nearest)
    closest = sorted(nearest.values(), key=lambda pair: pair.distance)[:MOST_CLOSEST]
    return Closeness(total, sampled, np.sort(np.array(same)), np.sort(np.array(different)), tuple(closest))


def _drawn(subjects: dict[str, int], most: int) -> list[tuple[str, int]]:
    """Subjects in an order of chance, always the same for the same people, and how many templates of each to take."""
    order = np.random.default_rng(0).permutation(len(subjects))
    names, left, taken = list(subjects), most, []
    share = max(1, most // max(1, len(names)))
    each = max(subjects.values(), default=0) if sum(subjects.values()) <= most else max(2, share)
    for i in order:
        if left <= 0:
            break
        count = min(subjects[names[i]], each, left)
        taken.append((names[i], count))
        left -= count
    return taken


def _to_own(chosen: list[Template], own: list[Template]) -> list[float]:
    if len(own) < 2:
        return []
    vectors = np.array([each.embedding.vector for each in own], np.float64)
    found = []
    for i in range(len(chosen)):
        far = distances(vectors[i], vectors)
        far[i] = np.inf
        found.append(float(far.min()))
    return found


def _to_others(gallery: Gallery, batch: list[Template], nearest: dict[tuple[str, str], Pair]) -> list[float]:
    """Distances to the nearest of somebody else; the closest pairs are noted in `nearest`, by the two names."""
    if not batch:
        return []
    found = []
    vectors = np.array([each.embedding.vector for each in batch], np.float32)
    for template, candidates in zip(batch, gallery.search(vectors, 2), strict=True):
        other = next((each for each in candidates if each.subject != template.subject), None)
        if other is None:
            continue
        found.append(other.distance)
        names = (template.subject, other.subject)
        key = (min(names), max(names))
        if key not in nearest or other.distance < nearest[key].distance:
            nearest[key] = Pair(other.distance, names, (template.photo, other.photo))
    if len(nearest) > 50 * MOST_CLOSEST:
        for key, _ in sorted(nearest.items(), key=lambda item: item[1].distance)[MOST_CLOSEST:]:
            del nearest[key]
    return found
