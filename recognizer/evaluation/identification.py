"""Open-set identification, with strangers among the probes: FPIR, FNIR and rank 1, by the size of the gallery.

As in the server, the distance of a subject is that of its nearest template, and only the nearest subject can be named. A probe
without a detected face gets no name: for an enrolled person that is an error; for a stranger it is ignored, so that lost photos
never improve the FPIR. A person whose gallery photos were all lost remains a member of the gallery whom no search can find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.evaluation.intervals import adjusted, clustered_variance
from recognizer.galleries import cohort, matching

SIZES = (10, 100, 1000)
REPEATS = 10
#: Small galleries are drawn more often: until they have about this many people in total.
_PEOPLE_DRAWN, _MOST_REPEATS = 2000, 100
_DET_FPIRS = np.geomspace(1e-4, 0.5, 40)
_BLOCK = 512

Threshold = Callable[[int], float]
#: Embeddings of probes, (m, dim), and their distances from a cohort, (m, c) -> by how much the threshold is lowered for each,
#: (m,); see `cohort.lowerings` and `engines.crowding`.
Lowerings = Callable[[np.ndarray, np.ndarray], np.ndarray]


def no_lowerings(vectors: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """The threshold is the same for every probe, as where it is fixed."""
    return np.zeros(len(apart))


@dataclass(frozen=True)
class Photos:
    """Photos with their templates.

    Attributes
    ----------
    people : ndarray of int, shape (n,)
        Number of the person on each.
    vectors : ndarray of float32, shape (n, dim)
    found : ndarray of bool, shape (n,)
        Whether each has a template.
    """

    people: np.ndarray
    vectors: np.ndarray
    found: np.ndarray

    def select(self, which: slice | np.ndarray) -> Photos:
        """The photos at these indices."""
        return Photos(self.people[which], self.vectors[which], self.found[which])


@dataclass(frozen=True)
class Trial:
    """One gallery, and the results of searching the probes in it.

    Attributes
    ----------
    threshold : float
    templates : int
    people : ndarray of int, shape (n,)
        Number of the person on each probe.
    mated : ndarray of bool, shape (n,)
        Whether that person is in the gallery.
    found : ndarray of bool, shape (n,)
        Whether the probe has a face.
    distance : ndarray, shape (n,)
        Of the nearest subject, plus what the threshold is lowered by for this probe; infinite if there is none, or no face.
    correct : ndarray of bool, shape (n,)
        Whether that subject is the person on the probe.
    """

    threshold: float
    templates: int
    people: np.ndarray
    mated: np.ndarray
    found: np.ndarray
    distance: np.ndarray
    correct: np.ndarray


def search(
    gallery: Photos, probes: Photos, members: np.ndarray, threshold: Threshold, lowerings: Lowerings = no_lowerings
) -> Trial:
    """Search all probes in a gallery of `members` (numbers of people).

    Parameters
    ----------
    threshold : callable
        Number of templates -> largest distance of a match.
    lowerings : callable
    """
    enrolled = gallery.select(np.isin(gallery.people, members) & gallery.found)
    distance, nearest = _nearest(probes.vectors, enrolled)
    mated = np.isin(probes.people, members)
    correct = mated & probes.found & (nearest == probes.people)
    distance = np.where(probes.found, distance + _lowered(probes.vectors, enrolled, lowerings), np.inf)
    templates = len(enrolled.people)
    return Trial(threshold(templates), templates, probes.people, mated, probes.found, distance, correct)


def _lowered(probes: np.ndarray, enrolled: Photos, lowerings: Lowerings) -> np.ndarray:
    _, first = np.unique(enrolled.people, return_index=True)
    chosen = first[np.unique(np.linspace(0, len(first) - 1, min(cohort.SIZE, len(first))).round().astype(int))]
    return lowerings(probes, matching.distances_between(probes, enrolled.vectors[chosen]))


def _nearest(probes: np.ndarray, enrolled: Photos) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the nearest template, and its person; infinite and -1 if nobody is enrolled."""
    distance, owner = np.full(len(probes), np.inf), np.full(len(probes), -1)
    if not len(enrolled.people):
        return distance, owner
    squares = (enrolled.vectors**2).sum(axis=1)
    for start in range(0, len(probes), _BLOCK):
        block = probes[start : start + _BLOCK]
        rows = (squares - 2 * (block @ enrolled.vectors.T)).argmin(axis=1)
        distance[start : start + _BLOCK] = np.linalg.norm(block.astype(np.float64) - enrolled.vectors[rows], axis=1)
        owner[start : start + _BLOCK] = enrolled.people[rows]
    return distance, owner


# -- metrics --------------------------------------------------------------------------------------------------------


def rates(trials: Sequence[Trial]) -> dict[str, Any]:
    """FPIR, FNIR and rank 1 over galleries of one size, each with its 95 % interval.

    Notes
    -----
    Searches for one person are dependent, and so are searches in one gallery; the variance is the sum of both. This is the
    two-way clustering of Cameron, Gelbach and Miller ("Robust inference with multiway clustering", Journal of Business &
    Economic Statistics 29(2), 2011) without subtracting the variance of the intersection, which makes intervals wider.
    """
    named = [trial.distance <= trial.threshold for trial in trials]
    strangers = [~trial.mated & trial.found for trial in trials]
    mated = [trial.mated for trial in trials]
    missed = [~(hit & trial.correct) for hit, trial in zip(named, trials, strict=True)]
    report: dict[str, Any] = {
        "galleries": len(trials),
        "templates": float(np.mean([trial.templates for trial in trials])),
        "threshold": float(np.mean([trial.threshold for trial in trials])),
    }
    parts = (("fpir", named, strangers), ("fnir", missed, mated), ("rank1", [t.correct for t in trials], mated))
    for name, outcomes, which in parts:
        report[name], report[f"{name}_interval"] = _rate(trials, outcomes, which)
    report["searches_strangers"] = int(sum(part.sum() for part in strangers))
    report["searches_enrolled"] = int(sum(part.sum() for part in mated))
    report["misnamed"] = int(sum((n & t.mated & ~t.correct).sum() for n, t in zip(named, trials, strict=True)))
    return report


def _rate(
    trials: Sequence[Trial], outcomes: Sequence[np.ndarray], which: Sequence[np.ndarray]
) -> tuple[float | None, tuple[float, float]]:
    hits = np.concatenate([part[mask] for part, mask in zip(outcomes, which, strict=True)])
    people = np.concatenate([trial.people[mask] for trial, mask in zip(trials, which, strict=True)])
    galleries = np.repeat(np.arange(len(trials)), [int(mask.sum()) for mask in which])
    if not len(hits):
        return None, (0.0, 1.0)
    variance = clustered_variance(hits, people)
    if len(trials) > 1:
        variance += clustered_variance(hits, galleries)
    share = float(np.mean(hits))
    return share, adjusted(share, variance, len(hits), len(np.unique(people)))


def det(trials: Sequence[Trial]) -> list[list[float]]:
    """Points (FPIR, FNIR, distance) of the DET curve, over all galleries of one size."""
    strangers = np.sort(np.concatenate([t.distance[~t.mated & t.found] for t in trials]))
    right = np.sort(np.concatenate([np.where(t.correct, t.distance, np.inf)[t.mated] for t in trials]))
    if not len(strangers) or not len(right):
        return []
    points = []
    for index in np.unique((_DET_FPIRS * len(strangers)).astype(int)):
        limit = strangers[index]
        if not np.isfinite(limit):
            break
        points.append(
            [
                float(np.searchsorted(strangers, limit, side="left") / len(strangers)),
                float(1 - np.searchsorted(right, limit, side="left") / len(right)),
                float(limit),
            ]
        )
    return points


# -- galleries of every size ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How galleries are drawn.

    Attributes
    ----------
    sizes : tuple of int
        Numbers of people; sizes with too few people are skipped, and the full size is always measured.
    repeats : int
        Minimum number of random galleries of each size.
    seed : int
    """

    sizes: tuple[int, ...] = SIZES
    repeats: int = REPEATS
    seed: int = 0

    def draws(self, size: int) -> int:
        """Number of galleries of a size."""
        return int(min(_MOST_REPEATS, max(self.repeats, _PEOPLE_DRAWN // size)))


def measure(
    gallery: Photos,
    probes: Photos,
    threshold: Threshold,
    plan: Plan,
    split: Callable[[int], tuple[Photos, Photos]] | None = None,
    lowerings: Lowerings = no_lowerings,
) -> dict[str, Any]:
    """The report as plain data; docs/accuracy.md explains it.

    Parameters
    ----------
    gallery, probes : Photos
        Probes of people outside a drawn gallery are strangers to it, even if these people are in `gallery`.
    threshold : callable
        Number of templates -> largest distance of a match.
    plan : Plan
    split : callable, optional
        Seed -> another (gallery, probes). If given, every gallery, including the full one, is drawn from another split.
    lowerings : callable
    """
    everybody = len(np.unique(gallery.people))
    by_size = {}
    for size in (*sorted({size for size in plan.sizes if size < everybody}), everybody):
        trials = _trials(gallery, probes, threshold, plan, size, split, lowerings)
        by_size["all" if size == everybody else str(size)] = {"people": size, **rates(trials), "det": det(trials)}
    full = by_size["all"]
    return {
        "people_enrolled": everybody,
        "photos_gallery": len(gallery.people),
        "photos_gallery_lost": int((~gallery.found).sum()),
        "photos_probes": len(probes.people),
        "photos_probes_lost": int((~probes.found).sum()),
        **{
            key: full[key] for key in ("fpir", "fpir_interval", "fnir", "fnir_interval", "rank1", "rank1_interval", "threshold")
        },
        "by_size": by_size,
    }


def _trials(
    gallery: Photos,
    probes: Photos,
    threshold: Threshold,
    plan: Plan,
    size: int,
    split: Callable[[int], tuple[Photos, Photos]] | None,
    lowerings: Lowerings,
) -> list[Trial]:
    drawn = plan.draws(size)
    if split is None and size == len(np.unique(gallery.people)):
        drawn = 1
    trials = []
    for number in range(drawn):
        random = np.random.default_rng([plan.seed, size, number])
        if split is not None:
            gallery, probes = split(plan.seed + number)
        people = np.unique(gallery.people)
        members = random.choice(people, min(size, len(people)), replace=False)
        trials.append(search(gallery, probes, members, threshold, lowerings))
    return trials


def split_photos(photos: Photos, seed: int, share: float = 2 / 3) -> tuple[Photos, Photos]:
    """Divide the photos of one folder into a gallery and probes.

    A random `share` of the people is enrolled, with half of their photos, rounded up; the other half are probes. All photos of
    the other people are probes of strangers.

    Raises
    ------
    InvalidParameter
        There are fewer than 3 people, or nobody has two photos.
    """
    people, counts = np.unique(photos.people, return_counts=True)
    if len(people) < 3 or counts.max() < 2:
        raise InvalidParameter(
            f"expected at least 3 people and somebody with two photos, got {len(people)} people "
            f"with at most {int(counts.max(initial=0))}"
        )
    random = np.random.default_rng([seed, 1])
    enrolled = random.choice(people, max(1, min(len(people) - 1, round(share * len(people)))), replace=False)
    order = random.permutation(len(photos.people))
    order = order[np.argsort(photos.people[order], kind="stable")]
    sizes = dict(zip(people.tolist(), counts.tolist(), strict=True))
    position = np.concatenate([np.arange(count) for count in counts])
    half = np.array([-(-sizes[person] // 2) for person in photos.people[order].tolist()])
    into = np.isin(photos.people[order], enrolled) & (position < half)
    return photos.select(order[into]), photos.select(order[~into])
