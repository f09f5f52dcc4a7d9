"""Which pictures show the same stranger: strangers as groups of faces, and what becomes of them when the groups change."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from recognizer.galleries.clustering import Group, Groups
from recognizer.strangers.model import Picture, Sighting, Stranger, joined_visits

#: A person seen again at the same camera within so many seconds is still on the same visit.
SAME_VISIT = 60.0


class StrangerGroups:
    """All strangers of one engine as groups of faces. Changes nothing that is stored: each change returns the strangers that
    it makes or alters, by id.

    Parameters
    ----------
    strangers : mapping
        By id.
    limit : callable
        Number of faces -> largest distance of neighbours; see `clustering.limit_for`.
    lowered : callable
        By how much that is lowered for each vector; see `clustering.Groups`.
    most_pictures : int
        Pictures that are stored of a stranger. The worst others are dropped, and counted in `dropped_pictures`.
    """

    def __init__(
        self,
        strangers: Mapping[str, Stranger],
        limit: Callable[[int], float],
        lowered: Callable[[np.ndarray], np.ndarray],
        most_pictures: int,
    ):
        self.dropped_pictures = 0
        self._strangers, self._most_pictures = strangers, most_pictures
        groups = {
            each.id: Group({p.id: p.vector for p in each.pictures}, each.fixed or each.never, each.apart)
            for each in strangers.values()
        }
        faces = sum(len(group.faces) for group in groups.values())
        self._groups: Groups = Groups(limit(faces), groups, lambda: secrets.token_hex(5), lowered)

    def add_sighting(
        self, sighting: Sighting, pictures: Mapping[str, Picture], known: Collection[str]
    ) -> tuple[str, dict[str, Stranger]] | None:
        """Add the new pictures of a sighting.

        Parameters
        ----------
        sighting : Sighting
        pictures : mapping
            New pictures of this visit, by id.
        known : collection of str
            Ids of pictures that this sighting shows and that are stored already.

        Returns
        -------
        tuple of str and dict, or None
            The id of the stranger who was seen, and all strangers that changed; None if no picture shows who it is.
        """
        changed = self._groups.add_faces(list(pictures), np.array([each.vector for each in pictures.values()]))
        earlier = self._pictures_of(sighting.visit, known)
        homes = Counter(self._groups.group_of(id_) for id_ in (*earlier, *pictures))
        if not homes:
            return None
        home = homes.most_common(1)[0][0]
        # a visit shows one person: new pictures that are grouped with somebody else are not stored
        strays = [id_ for id_ in pictures if self._groups.group_of(id_) != home]
        changed |= self._groups.remove_faces(strays) | {home}
        made = self._regrouped(changed, {id_: each for id_, each in pictures.items() if id_ not in strays})
        made[home] = _seen_again(made[home], self._strangers.get(home), sighting)
        return home, made

    def join(self, id_: str, other: str) -> dict[str, Stranger]:
        """Merge two strangers for good; the result has the id `id_`."""
        return self._regrouped(self._groups.join(id_, other), {})

    def split(self, id_: str, pictures: Collection[str]) -> tuple[str, dict[str, Stranger]]:
        """Move some pictures of a stranger to a new one for good; the new id, and the strangers that changed."""
        old = self._strangers[id_]
        new = self._groups.split(pictures)
        made = self._regrouped({id_, new, *old.apart}, {})
        both = {each.visit for each in made[id_].pictures} & {each.visit for each in made[new].pictures}
        left = max(1, old.sightings - made[new].sightings + len(both))
        own_visits = tuple(each for each in made[id_].visits if each in both or each not in made[new].visits)
        return new, {**made, id_: replace(made[id_], sightings=left, visits=own_visits)}

    def _pictures_of(self, visit: str, known: Collection[str]) -> list[str]:
        """Ids of the stored pictures of a visit, and of `known`."""
        return [
            each.id
            for stranger in self._strangers.values()
            for each in stranger.pictures
            if each.visit == visit or each.id in known
        ]

    def _regrouped(self, changed: Iterable[str], new: Mapping[str, Picture]) -> dict[str, Stranger]:
        """The strangers of the groups that changed.

        A group that no longer exists passes visits and times on to the group that has most of its pictures.
        """
        pictures = {each.id: each for stranger in self._strangers.values() for each in stranger.pictures} | dict(new)
        heirs: dict[str, list[Stranger]] = {}
        for id_ in changed:
            if id_ not in self._groups and id_ in self._strangers:
                gone = self._strangers[id_]
                heir = Counter(self._groups.group_of(each.id) for each in gone.pictures).most_common(1)[0][0]
                heirs.setdefault(heir, []).append(gone)
        made = {}
        for id_ in {each for each in changed if each in self._groups} | heirs.keys():
            group = self._groups.groups([id_])[id_]
            own = sorted((pictures[key] for key in group.faces), key=lambda each: -each.quality)
            origins = [*([self._strangers[id_]] if id_ in self._strangers else []), *heirs.get(id_, [])]
            if any(each.never for each in origins):  # no new picture is stored of somebody who was dismissed for ever
                made[id_] = self._merged(id_, origins, [each for each in own if each.id not in new], group).dismissed()
            else:
                made[id_] = self._merged(id_, origins, own, group)
        return made

    def _merged(self, id_: str, origins: Sequence[Stranger], own: Sequence[Picture], group: Group) -> Stranger:
        """A stranger with the pictures `own`, best first, and the visits and times of `origins`."""
        self.dropped_pictures += max(0, len(own) - self._most_pictures)
        own = own[: self._most_pictures]
        at: dict[str | None, float] = {}
        if origins:
            places = [place for each in origins for place in each.at.items()]
            sightings = sum(each.sightings for each in origins)
            first, last = min(each.first_seen for each in origins), max(each.last_seen for each in origins)
        else:
            places = [(picture.camera, picture.time) for picture in own]
            sightings = len({each.visit for each in own})
            first, last = min(each.time for each in own), max(each.time for each in own)
        for camera, when in places:
            at[camera] = max(when, at.get(camera, 0.0))
        visits = joined_visits(*(each.visits for each in origins), [each.visit for each in own])
        return Stranger(id_, sightings, first, last, at, tuple(own), visits, False, group.fixed, group.apart)


def _seen_again(stranger: Stranger, before: Stranger | None, sighting: Sighting) -> Stranger:
    """The stranger after a sighting; `before` is the same stranger before it, None for a new one."""
    if stranger.never:
        return replace(stranger, last_seen=max(stranger.last_seen, sighting.last))
    again = 0
    if before is not None:
        same = before.at.get(sighting.camera, float("-inf")) >= sighting.first - SAME_VISIT
        again = not same and all(each.visit != sighting.visit for each in before.pictures)
    return replace(
        stranger,
        sightings=stranger.sightings + again,
        first_seen=min(stranger.first_seen, sighting.first),
        last_seen=max(stranger.last_seen, sighting.last),
        at={**stranger.at, sighting.camera: max(stranger.at.get(sighting.camera, 0.0), sighting.last)},
        visits=joined_visits(stranger.visits, [sighting.visit]),
    )
