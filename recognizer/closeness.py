"""How near the enrolled are to themselves and to each other: measured on this gallery's own templates.

Of each template that is looked at, its distance to the nearest other one of the same person (would this photo have been
recognised without itself?) and to the nearest of somebody else (whose name would this person get if they were not enrolled?).
The second comes from the gallery's own search, so nothing grows with the square of the templates: of a large gallery some
templates, drawn by chance, are compared with all.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from .enrolment import Enrolment
from .matching import distances
from .types import Template
from .video.workers import step_back

#: Templates that are looked at, at most; comparisons from which on they are fewer; and at least.
MOST_SAMPLED, MOST_COMPARISONS, LEAST_SAMPLED = 2_000, 20_000_000, 300
#: How many of them are searched for at once.
BATCH = 32
#: Templates of one person that are compared with each other, at most.
MOST_OWN = 500
#: Pairs of different people that are told.
MOST_CLOSEST = 12
#: Seconds that whoever asks waits for a measurement.
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
    """What was measured.

    Attributes
    ----------
    templates, sampled : int
        How many there are, and how many of them were looked at.
    same : ndarray of float, shape (n,)
        Rising: distances to the nearest other template of the same person, of templates that have one.
    different : ndarray of float, shape (m,)
        Rising: distances to the nearest template of somebody else, of templates that have one.
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
class Calibration:
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
        None until it was measured first.
    current : bool
        Whether it is of the gallery as it is; else it is being measured anew.
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
    """Measures on a thread of its own, when somebody asks and the gallery is another than before. Safe from several threads.

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
        """What was measured last, None before the first time; and whether it is of the gallery as it is."""
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
            return self._found, self._revision == self._enrolment.revision

    def close(self) -> None:
        """End what runs."""
        self._closed = True
        thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        step_back()
        revision = self._enrolment.revision
        try:
            found = measure(self._enrolment.gallery, lambda: self._closed)
            with self._lock:
                if found is not None:
                    self._found, self._revision = found, revision
        finally:
            self._thread = None


def measure(gallery, over=lambda: False, most: int | None = None) -> Closeness | None:
    """Look at a gallery; None where `over` says meanwhile that nobody wants to know any longer.

    Parameters
    ----------
    gallery : galleries.base.Gallery
    over : callable returning bool
    most : int
        How many templates are looked at; by default as many as take seconds.
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


def _to_others(gallery, batch: list[Template], nearest: dict[tuple[str, str], Pair]) -> list[float]:
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
        key = tuple(sorted(names))
        if key not in nearest or other.distance < nearest[key].distance:
            nearest[key] = Pair(other.distance, names, (template.photo, other.photo))
    if len(nearest) > 50 * MOST_CLOSEST:
        for key, _ in sorted(nearest.items(), key=lambda item: item[1].distance)[MOST_CLOSEST:]:
            del nearest[key]
    return found
