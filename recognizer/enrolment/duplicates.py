"""Which photos of a subject are the same picture, re-encoded or scaled: only one of them becomes a template.

More copies of one picture say nothing more about a face, yet each would cost every search its time and count as one
more chance of a false match.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from recognizer.core.geometry import iou
from recognizer.enrolment.encodings import Encoding

#: Two photos are one picture if their templates are nearer than this share of the engine's threshold ...
DISTANCE_SHARE = 0.35
#: ... and their faces' boxes, each as a share of its photo, have at least this intersection over union ...
LEAST_OVERLAP = 0.75
#: ... and the photos' sides have the same ratio, but for this share: sizes are whole pixels.
#: benchmarks/duplicates.py prints what the three are worth.
RATIO_SHARE = 0.02
_ROWS = 256  # new photos compared at once
_PAIRS = 4096  # pairs compared at once


@dataclass(frozen=True, slots=True)
class Change:
    """Changes of a subject's templates: encodings that become templates, and photos that no longer are."""

    added: tuple[Encoding, ...] = ()
    removed: tuple[str, ...] = ()


class PictureGroups:
    """Of every subject, the photos that are templates, and those that are copies of one of them.

    Not thread-safe: its owner serialises the calls.

    Parameters
    ----------
    distance : float
        Templates that are further apart belong to different pictures; see `DISTANCE_SHARE`.
    """

    def __init__(self, distance: float):
        self.distance = distance
        self._originals: dict[str, dict[str, Encoding]] = {}
        self._copies: dict[str, dict[str, tuple[str, Encoding]]] = {}

    def is_awake(self, subject: str) -> bool:
        """Whether the subject's photos that are templates are held here; see `sleep`."""
        return subject in self._originals

    def wake(self, subject: str, templates: Iterable[Encoding]) -> None:
        """Hold the photos of a subject that are templates again, as they were before `sleep`."""
        held = {encoding.photo: encoding for encoding in templates}
        if held:
            self._originals[subject] = held

    def sleep(self, subject: str) -> None:
        """Let go of the photos that are templates, which are much to keep of everybody; only copies are still held.

        Before the next call about this subject, `original_of` excepted, its owner calls `wake`.
        """
        self._originals.pop(subject, None)

    def original_of(self, subject: str, photo: str) -> str | None:
        """The photo that this one is a copy of; None if it is none."""
        found = self._copies.get(subject, {}).get(photo)
        return None if found is None else found[0]

    def note(self, subject: str, encodings: Iterable[Encoding]) -> Change:
        """Take in usable photos of `subject`, in this order: the first of a picture is the one that stays."""
        new = {encoding.photo: encoding for encoding in encodings if not self._is_held(subject, encoding)}
        if not new:
            return Change()
        before = self.forget(subject, new)  # photos that are held with another template
        added = [*before.added, *self._sort_in(subject, list(new.values()))]
        stay = {encoding.photo for encoding in added}
        return Change(tuple(added), tuple(photo for photo in before.removed if photo not in stay))

    def _is_held(self, subject: str, encoding: Encoding) -> bool:
        held = self._originals.get(subject, {}).get(encoding.photo)
        if held is None:
            held = self._copies.get(subject, {}).get(encoding.photo, (None, None))[1]
        if held is None or held.vector is None or encoding.vector is None:
            return False
        return held.vector is encoding.vector or np.array_equal(held.vector, encoding.vector)

    def forget(self, subject: str, photos: Iterable[str]) -> Change:
        """Photos are gone; copies of them that stay become templates, if they are of no other picture."""
        originals, copies = self._originals.get(subject, {}), self._copies.get(subject, {})
        gone = set(photos)
        removed = [photo for photo in gone if originals.pop(photo, None) is not None]
        for photo in gone:
            copies.pop(photo, None)
        freed = [copies.pop(photo)[1] for photo, (of, _) in list(copies.items()) if of in gone]
        added = self._sort_in(subject, freed) if freed else []
        for table in (self._originals, self._copies):
            if not table.get(subject, True):
                del table[subject]
        return Change(tuple(added), tuple(removed))

    def forget_subject(self, subject: str) -> None:
        self._originals.pop(subject, None)
        self._copies.pop(subject, None)

    def _sort_in(self, subject: str, new: Sequence[Encoding]) -> list[Encoding]:
        """Those of `new` that are originals now."""
        originals = self._originals.setdefault(subject, {})
        everything = [*originals.values(), *new]
        first = len(originals)
        alike = _alike(everything, first, self.distance) if len(everything) > 1 else {}
        is_original = [True] * len(everything)
        for i in range(first, len(everything)):
            of = next((j for j in alike.get(i, ()) if is_original[j]), None)
            if of is None:
                originals[everything[i].photo] = everything[i]
            else:
                is_original[i] = False
                self._copies.setdefault(subject, {})[everything[i].photo] = everything[of].photo, everything[i]
        return [one for one, stays in zip(everything[first:], is_original[first:], strict=True) if stays]


def placed(encoding: Encoding) -> np.ndarray:
    """The face's box as a share of the photo's sides, and the ratio of those; float64 (5,)."""
    width, height = encoding.width, encoding.height
    assert encoding.box is not None and width is not None and height is not None  # it is usable
    left, top, right, bottom = encoding.box
    return np.array([left / width, top / height, right / width, bottom / height, width / height])


def _alike(encodings: Sequence[Encoding], first: int, distance: float) -> dict[int, list[int]]:
    """For each index from `first` on, the lower indices whose photos are the same picture, rising."""
    places = np.array([placed(each) for each in encodings])
    vectors = np.array([each.vector for each in encodings])
    squares = np.einsum("ij,ij->i", vectors, vectors)
    found: dict[int, list[int]] = {}
    for start in range(first, len(encodings), _ROWS):
        rows = slice(start, min(start + _ROWS, len(encodings)))
        squared = squares[rows, None] + squares[: rows.stop] - 2 * vectors[rows] @ vectors[: rows.stop].T
        near, others = np.nonzero(squared <= distance**2)
        for i, j in zip((near + start).tolist(), others.tolist(), strict=True):
            if j < i and _same_place(places[i], places[j]):
                found.setdefault(i, []).append(j)
    return found


def like_another(vectors: np.ndarray, owners: np.ndarray, distance: float) -> np.ndarray:
    """The owners who have two templates within `distance` of each other, among which copies are to be looked for.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dim)
    owners : ndarray of int, shape (n,)
        In groups: the rows of one owner lie side by side.
    distance : float

    Returns
    -------
    ndarray of int
        Each once.
    """
    behind = np.append(np.flatnonzero(np.diff(owners)), len(owners) - 1)  # the last row of each owner
    left = np.repeat(behind, np.diff(behind, prepend=-1)) - np.arange(len(owners))  # rows of the same owner that follow
    squares = np.einsum("ij,ij->i", vectors, vectors)
    found, least = [], 1.01 * distance**2  # `_alike` rounds otherwise
    rows, apart = np.flatnonzero(left > 0), 1
    while len(rows):
        for start in range(0, len(rows), _PAIRS):
            some = rows[start : start + _PAIRS]
            others = some + apart
            if some[-1] - some[0] < 2 * len(some):  # nearly all of the rows between, which need not be copied
                between = slice(some[0], some[-1] + 1), slice(others[0], others[-1] + 1)
                products = np.einsum("ij,ij->i", vectors[between[0]], vectors[between[1]])[some - some[0]]
            else:
                products = np.einsum("ij,ij->i", vectors[some], vectors[others])
            found.append(owners[some[squares[some] + squares[others] - 2 * products <= least]])
        apart += 1
        rows = rows[left[rows] >= apart]
    odd = np.sort(np.concatenate(found)) if found else owners[:0]
    return odd[np.append(True, odd[1:] != odd[:-1])] if len(odd) else odd  # np.unique imports masked arrays, which takes longer


def _same_place(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(abs(one[4] / other[4] - 1) <= RATIO_SHARE and iou(one[:4], other[None, :4])[0] >= LEAST_OVERLAP)


def same_picture(one: Encoding, other: Encoding, distance: float) -> bool:
    """Whether two usable encodings are of one picture; `distance` is the largest that is allowed between them."""
    return bool(_alike([one, other], 1, distance))
