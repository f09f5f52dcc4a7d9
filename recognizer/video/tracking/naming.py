"""Decides over its frames whose face a track is, and keeps the decision stable. Pure: NumPy, `matching`, `quality` and `types`.

A subject's distance from a track is the mean of its distances from the track's descriptions, each weighing what its
picture is worth. The mean of several distances is within a threshold no more often by chance than one distance is, so
the engine's calibration holds for it, on the safe side; the nearest of several, or the distance of a mean vector, would
give strangers names more often the longer they are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recognizer.core.types import Candidate, Match

#: Maximum number of descriptions of a track.
KEPT = 12
#: Weight of all of a track's pictures together, or their number, at which it is decided. One good picture weighs about 1.
ENOUGH, ENOUGH_PICTURES = 1.0, 3
#: With less than that, a name is given if people are mistaken for others at its distance this much more rarely than at
#: the limit.
SURE = 1 / 30
#: A name stays until its distance exceeds the limit by this share, or another is nearer by as much.
HELD = 0.04
#: The share of the threshold by which a second track must be nearer to take a name from the first.
TAKEN = 0.04
#: Number of candidates of a track's match.
LISTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """The embedding of one picture of a track's face, and its match in the gallery.

    A description that is not comparable counts as a picture that was examined, and does not count for whose face it is.
    """

    vector: np.ndarray
    weight: float
    match: Match
    time: float
    generation: int = 0
    comparable: bool = True


@dataclass(eq=False)
class Name:
    """The identity of a track, as far as it is known.

    Attributes
    ----------
    match : Match or None
        The decision in force; None until enough was seen to make one. Where a subject is named, the figures are those of
        the decision that gave or last confirmed the name.
    proposed : Match or None
        The result of the descriptions alone.
    descriptions : list of Description
        The best of the track, and its last.
    """

    match: Match | None = None
    descriptions: list[Description] = field(default_factory=list)
    proposed: Match | None = None

    @property
    def weight(self) -> float:
        return sum(each.weight for each in self.descriptions if each.comparable)

    @property
    def ripe(self) -> bool:
        """Whether there are enough descriptions to decide."""
        return self.weight >= ENOUGH or len(self.descriptions) >= ENOUGH_PICTURES

    @property
    def best(self) -> float:
        """Weight of the best picture so far; 0 if there is none."""
        return max((each.weight for each in self.descriptions if each.comparable), default=0.0)

    @property
    def last(self) -> float:
        """When the face was last described; minus infinity if never."""
        return max((each.time for each in self.descriptions), default=-math.inf)

    def add(self, description: Description) -> None:
        """Add a description; if there are too many, the least useful one is dropped, but never the last two."""
        self.descriptions.append(description)
        if len(self.descriptions) > KEPT:
            self.descriptions.remove(min(self.descriptions[:-2], key=lambda each: each.weight))

    def distance_of(self, vector: np.ndarray) -> float | None:
        """The median distance of a description from those of this track; None if there are none."""
        kept = np.array([each.vector for each in self.descriptions if each.comparable])
        if not len(kept):
            return None
        squares = sorted(((kept - vector) ** 2).sum(axis=1).tolist())  # np.median imports what takes 6 ms
        return math.sqrt(squares[len(squares) // 2])

    def join(self, other: Name) -> None:
        """Add the descriptions of another track of the same face."""
        for each in sorted((*self.descriptions, *other.descriptions), key=lambda each: each.time):
            if each not in self.descriptions:
                self.add(each)
        self.descriptions.sort(key=lambda each: each.time)


def combined(descriptions: Sequence[Description]) -> list[Candidate]:
    """Subjects by their distance from a track, nearest first.

    A subject that a description's match does not list counts as being as far from it as the last that it lists, which it
    is at least.
    """
    descriptions = [each for each in descriptions if each.comparable]
    total = sum(each.weight for each in descriptions)
    photos: dict[str, tuple[float, str | None]] = {}
    for each in descriptions:
        for candidate in each.match.candidates:
            if candidate.subject not in photos or candidate.distance < photos[candidate.subject][0]:
                photos[candidate.subject] = candidate.distance, candidate.photo
    sums = dict.fromkeys(photos, 0.0)
    for each in descriptions:
        listed = {candidate.subject: candidate.distance for candidate in each.match.candidates}
        if not listed:
            continue  # nobody was enrolled at that time
        furthest = max(listed.values())
        for subject in sums:
            sums[subject] += each.weight / total * listed.get(subject, furthest)
    found = [Candidate(subject, distance, photos[subject][1]) for subject, distance in sums.items()]
    return sorted(found, key=lambda candidate: candidate.distance)


class Naming:
    """Names tracks. Owns the identity of each; one caller at a time.

    Parameters
    ----------
    decide : callable
        Candidates, nearest first -> Match, as `matching.decide` does with the threshold and the calibration in force.
    """

    def __init__(self, decide: Callable[[Sequence[Candidate]], Match]):
        self._decide = decide
        self._names: dict[int, Name] = {}

    def of(self, track: int) -> Name:
        return self._names.setdefault(track, Name())

    def forget(self, track: int) -> None:
        self._names.pop(track, None)

    def join(self, track: int, old: int) -> None:
        """`track` turned out to be `old`, which gets the descriptions of both."""
        name = self._names.pop(track, None)
        if name is not None:
            self.of(old).join(name)

    def describe(self, track: int, description: Description) -> None:
        """Add a description of a track's face; `settle` makes the decision."""
        name = self.of(track)
        name.add(description)
        name.proposed = self._propose(name)

    def compare_anew(self, stale: Sequence[tuple[int, Description]], matches: Sequence[Match], generation: int) -> None:
        """The gallery changed: replace the matches of descriptions. Earlier decisions are dropped."""
        anew = {id(each): match for (_, each), match in zip(stale, matches, strict=True)}
        for track in {track for track, _ in stale} & self._names.keys():
            name = self._names[track]
            name.descriptions = [
                replace(each, match=anew[id(each)], generation=generation) if id(each) in anew else each
                for each in name.descriptions
            ]
            name.match, name.proposed = None, self._propose(name)

    def settle(self, tracks: Iterable[int]) -> None:
        """Decide for the tracks of one picture together: each person is at most one of them."""
        names = {track: self._names[track] for track in tracks if track in self._names}
        decided = {track: match for track, name in names.items() if (match := self._held(name)) is not None}
        carrying: dict[str, list[int]] = {}
        for track, match in decided.items():
            if match.subject is not None:
                carrying.setdefault(match.subject, []).append(track)
        for subject, claimants in carrying.items():
            if len(claimants) > 1:
                owner = self._owner(subject, claimants, decided)
                for track in claimants:
                    if track != owner:
                        decided[track] = replace(decided[track], subject=None, ambiguous=False)
        for track, match in decided.items():
            self._names[track].match = match

    def _owner(self, subject: str, claimants: list[int], decided: dict[int, Match]) -> int:
        """Which track gets a name: the nearest, except that the track that has it keeps it if another is hardly nearer."""

        def rank(track: int) -> float:
            held = self._names[track].match
            has = held is not None and held.subject == subject
            match = decided[track]
            return (match.distance or 0.0) - (TAKEN * match.threshold if has else 0.0)

        return min(claimants, key=lambda track: (rank(track), track))

    def _propose(self, name: Name) -> Match | None:
        """The result of the descriptions, ignoring earlier decisions; None if there are too few."""
        match = self._decide(combined(name.descriptions))
        if match.ambiguous:
            match = replace(match, subject=None)
        return match if name.ripe or (match.subject is not None and self._beyond_doubt(match)) else None

    def _beyond_doubt(self, match: Match) -> bool:
        if match.false_match_rate is None:
            return False
        at_limit = self._decide([Candidate("", match.threshold)]).false_match_rate
        return at_limit is not None and match.false_match_rate <= SURE * at_limit

    def _held(self, name: Name) -> Match | None:
        """The proposal, or the decision in force if the difference is too small to change it."""
        held, new = name.match, name.proposed
        if new is None or held is None or held.subject is None or new.subject == held.subject:
            return new
        slack = HELD * new.threshold
        own = next((each.distance for each in new.candidates if each.subject == held.subject), None)
        if own is None or own > new.threshold + slack:
            return new
        if new.subject is not None and new.distance is not None and own - new.distance > slack:
            return new
        return held
