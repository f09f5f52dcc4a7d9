"""Suspicious photos of enrolled people: they may show somebody else.

Results are computed on request and stored until the gallery or the threshold changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recognizer.enrolment.enrolment import Enrolment
from recognizer.galleries.matching import distances

#: Fewest other photos of a subject that can say of one that it is unlike them: of two that differ, either may be wrong.
LEAST_OTHERS = 2
#: Templates up to which everybody is looked at when all people are listed; it grows with their square.
MOST_AT_ONCE = 12_000
_ROWS = 256

Warnings = dict[str, list[dict[str, Any]]]


class Review:
    """Flags suspicious photos per person. Thread-safe.

    Parameters
    ----------
    enrolment : Enrolment
    limit : float
        Above this distance two photos count as different people: the engine's threshold.
    named : callable
        Returns the current matching threshold of the gallery.
    """

    def __init__(self, enrolment: Enrolment, limit: float, named: Callable[[], float]):
        self._enrolment, self._limit, self._named = enrolment, limit, named
        self._lock = threading.Lock()
        self._revision: tuple[Any, ...] | None = None
        self._kept: dict[str, Warnings] = {}

    def of(self, subject: str) -> Warnings:
        """Photo id -> warnings; photos without warnings are left out."""
        revision = self._state()
        with self._lock:
            kept = self._kept.get(subject) if revision == self._revision else None
        if kept is None:
            kept = self._look(subject)
            self._keep(revision, {subject: kept})
        return kept

    def of_all(self) -> dict[str, Warnings] | None:
        """The same of everybody, by subject; None where there are more than `MOST_AT_ONCE` templates."""
        gallery, revision = self._enrolment.gallery, self._state()
        subjects = gallery.subjects()
        if sum(subjects.values()) > MOST_AT_ONCE:
            return None
        with self._lock:
            if revision == self._revision and self._kept.keys() >= subjects.keys():
                return dict(self._kept)
        found = self._look_at_all(list(subjects))
        self._keep(revision, found)
        return found

    def _state(self) -> tuple[int, float]:
        """What all of it depends on."""
        return self._enrolment.revision, self._named()

    def _keep(self, revision: tuple[Any, ...], found: dict[str, Warnings]) -> None:
        with self._lock:
            if self._revision != revision:
                self._revision, self._kept = revision, {}
            self._kept.update(found)

    def _look(self, subject: str) -> Warnings:
        gallery = self._enrolment.gallery
        templates = gallery.templates(subject)
        if not templates:
            return {}
        vectors = np.array([each.embedding.vector for each in templates])
        others: list[tuple[str, float] | None] = []
        for start in range(0, len(vectors), _ROWS):
            for candidates in gallery.search(vectors[start : start + _ROWS], 2):
                other = next((each for each in candidates if each.subject != subject), None)
                others.append(None if other is None else (other.subject, other.distance))
        return self._warnings(subject, [each.photo for each in templates], _own(vectors), others)

    def _look_at_all(self, subjects: Sequence[str]) -> dict[str, Warnings]:
        """`_look` at everybody: a few large products instead of many searches."""
        groups = [each for each in self._enrolment.gallery.templates_of(subjects).items() if each[1]]
        if not groups:
            return {}
        vectors = np.array([each.embedding.vector for _, templates in groups for each in templates])
        owners = np.repeat(np.arange(len(groups)), [len(templates) for _, templates in groups])
        nearest = _nearest_of_others(vectors, owners)
        found, start = {}, 0
        for subject, templates in groups:
            rows = slice(start, start + len(templates))
            others = [
                None if row < 0 else (groups[owners[row]][0], float(distances(vectors[i].astype(float), vectors[[row]])[0]))
                for i, row in enumerate(nearest[rows], start)
            ]
            found[subject] = self._warnings(subject, [each.photo for each in templates], _own(vectors[rows]), others)
            start = rows.stop
        return found

    def _warnings(self, subject: str, photos: Sequence[str], own: np.ndarray, others: Sequence[Any]) -> Warnings:
        named, found = self._named(), {}
        for photo, near, other in zip(photos, own.tolist(), others, strict=True):
            odd = []
            if len(photos) > LEAST_OTHERS and near > self._limit:
                odd.append(unlike_others(subject, near, self._limit))
            if other is not None and other[1] < (near if len(photos) > 1 else named):
                odd.append(looks_like_another(other[0], other[1], named))
            if odd:
                found[photo] = odd
        return found


def _own(vectors: np.ndarray) -> np.ndarray:
    """Of each template, the distance to the nearest of the others; infinite where there is none."""
    near = np.full(len(vectors), np.inf)
    for i, vector in enumerate(vectors.astype(np.float64) if len(vectors) > 1 else ()):
        far = distances(vector, vectors)
        far[i] = np.inf
        near[i] = far.min()
    return near


def _nearest_of_others(vectors: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Of each row the nearest that another owner has, whose rows stand together; -1 where there is none."""
    if owners[0] == owners[-1]:
        return np.full(len(vectors), -1)
    squares = np.einsum("ij,ij->i", vectors, vectors)
    first = np.searchsorted(owners, owners, "left")
    last = np.searchsorted(owners, owners, "right")
    nearest = np.empty(len(vectors), int)
    for start in range(0, len(vectors), _ROWS):
        scores = vectors[start : start + _ROWS] @ vectors.T
        scores *= -2
        scores += squares
        for i, row in enumerate(scores, start):
            row[first[i] : last[i]] = np.inf
        nearest[start : start + _ROWS] = scores.argmin(axis=1)
    return nearest


def unlike_others(subject: str, distance: float, threshold: float) -> dict[str, Any]:
    """The warning of a photo whose face is unlike all others of its subject."""
    message = f"this face is unlike the other photos of {subject!r}"
    return _warning("unlike_others", message, distance=round(distance, 4), threshold=round(threshold, 4))


def looks_like_another(subject: str, distance: float, threshold: float) -> dict[str, Any]:
    """The warning of a photo whose face is like that of another subject."""
    message = f"this face looks like {subject!r}, who is enrolled"
    about = {"subject": subject, "distance": round(distance, 4), "threshold": round(threshold, 4)}
    return _warning("looks_like_another", message, **about)


def duplicate_of(photo: str) -> dict[str, Any]:
    """The warning of a photo that is the same picture as another of its subject."""
    return _warning("duplicate_of", "this is the same picture as another photo, which stands for both", photo=photo)


def _warning(code: str, message: str, **about: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **about}
