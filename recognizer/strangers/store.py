"""People whom nobody enrolled, stored until they are named: pictures grouped by person, and when they were seen.

The jobs are in modules of their own: `model` (what is stored), `grouping` (which pictures show the same person) and
`stranger_files` (the folder).

Of a stranger who was dismissed for ever ("never") only the templates are stored, so that they are recognised and ignored when
they return; pictures, places and counts are erased.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from recognizer.core.errors import InvalidParameter, KeyMissing, PictureNotFound, SealBroken, StrangerNotFound
from recognizer.core.types import Match
from recognizer.core.vault import Vault
from recognizer.enrolment.encodings import photo_id
from recognizer.galleries.clustering import nothing_lowered
from recognizer.strangers.grouping import StrangerGroups
from recognizer.strangers.model import Bounds, Fresh, Picture, Sighting, Stranger
from recognizer.strangers.stranger_files import StrangerFolder

_DAY = 86_400.0


class Strangers:
    """All strangers. Owns their folder, together with other processes that have one too; safe from any thread.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    engine : str
        Id of the engine that makes the templates.
    limit : callable
        Number of faces -> largest distance of neighbours; see `clustering.limit_for`.
    bounds : Bounds
    days : callable, optional
        Days after the last sighting until a stranger is deleted, where they may change; by default those of `bounds`.
    now : callable
        Seconds since the epoch.
    vault : Vault, optional
        Encrypts the stored data.
    lowered : callable
        By how much that is lowered for each vector; see `clustering.Groups`.

    Raises
    ------
    StorageError
    """

    def __init__(
        self,
        folder: Path,
        engine: str,
        limit: Callable[[int], float],
        bounds: Bounds | None = None,
        *,
        now: Callable[[], float] = time.time,
        vault: Vault | None = None,
        days: Callable[[], float] | None = None,
        lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
    ):
        self.bounds = held = bounds or Bounds()
        self._days = days or (lambda: held.days)
        self.counts = dict.fromkeys(("kept", "never", "dropped_strangers", "dropped_pictures", "purged", "recognised"), 0)
        #: Called with the id of a stranger who is new, by the thread that stores them.
        self.arrived: Callable[[str], object] = lambda stranger: None
        self._limit, self._lowered, self._now = limit, lowered, now
        self._files = StrangerFolder(Path(folder), engine, vault)

    # -- what there is ------------------------------------------------------------------------------------------

    def all(self) -> list[Stranger]:
        """All strangers that are not dismissed, last seen first."""
        with self._files.held():
            return sorted(self._not_dismissed(), key=lambda each: (-each.last_seen, each.id))

    def get(self, id_: str) -> Stranger:
        """One stranger.

        Raises
        ------
        StrangerNotFound
        """
        with self._files.held():
            return self._get(id_)

    def picture(self, id_: str, picture: str) -> bytes:
        """A JPEG.

        Raises
        ------
        StrangerNotFound, PictureNotFound
        """
        with self._files.held():
            if all(each.id != picture for each in self._get(id_).pictures):
                raise PictureNotFound(f"the stranger has no picture {picture!r}")
            try:
                return self._files.read_picture(picture)
            except (OSError, SealBroken, KeyMissing):
                raise PictureNotFound(f"the picture {picture!r} is gone") from None

    def _get(self, id_: str) -> Stranger:
        found = self._files.own().get(id_)
        if found is None or found.never:
            raise StrangerNotFound(f"there is no stranger {id_!r}, or no longer")
        return found

    def _not_dismissed(self) -> list[Stranger]:
        return [each for each in self._files.own().values() if not each.never]

    # -- what is seen -------------------------------------------------------------------------------------------

    def keep(self, sighting: Sighting, fresh: Sequence[Fresh]) -> str | None:
        """Store a sighting; returns the stranger's id, or None if nothing is stored.

        Parameters
        ----------
        fresh : sequence of Fresh
            The usable pictures among its shots; empty if the sighting only reports that somebody is still there.

        Raises
        ------
        StorageError
        """
        with self._files.held():
            jpegs = {photo_id(each.jpeg): each for each in fresh}
            known = {picture.id for each in self._files.all().values() for picture in each.pictures}
            pictures = {
                id_: Picture(id_, each.time, sighting.camera, round(each.quality, 3), sighting.visit, each.vector)
                for id_, each in jpegs.items()
                if id_ not in known
            }
            groups, before = self._groups(), set(self._files.all())
            added = groups.add_sighting(sighting, pictures, jpegs.keys() & known)
            self._count_dropped(groups)
            if added is None:
                return None
            home, made = added
            if made[home].never:
                self.counts["never"] += 1
            listed = {each.id for stranger in made.values() if not stranger.never for each in stranger.pictures}
            for id_ in listed & pictures.keys():
                self._files.write_picture(id_, jpegs[id_].jpeg)
                self.counts["kept"] += 1
            self._files.save(made)
            self._limit_number(keep=home)
        if home not in before and not made[home].never:
            self.arrived(home)
        return home

    def forget_visit(self, visit: str) -> None:
        """Erase the pictures of a visit: the person was identified."""
        with self._files.held():
            for stranger in self._not_dismissed():
                left = tuple(each for each in stranger.pictures if each.visit != visit)
                if len(left) == len(stranger.pictures):
                    continue
                if left:
                    fewer = replace(stranger, pictures=left, sightings=max(1, stranger.sightings - 1))
                    self._files.save({stranger.id: fewer})
                else:
                    self._files.save({}, [stranger.id])

    def forget_recognised(self, match: Callable[[np.ndarray], Sequence[Match]]) -> int:
        """Erase strangers who are enrolled by now, judged by most of their templates; returns how many."""
        with self._files.held():
            gone = []
            for stranger in self._files.own().values():
                names = Counter(found.subject for found in match(np.array([each.vector for each in stranger.pictures])))
                names.pop(None, None)
                if names and 2 * max(names.values()) > len(stranger.pictures):
                    gone.append(stranger.id)
            self._files.save({}, gone)
            self.counts["recognised"] += len(gone)
            return len(gone)

    def count_like(self, same: Callable[[np.ndarray], bool]) -> int:
        """The number of strangers most of whose templates are `same`; also of those who were dismissed for ever."""
        with self._files.held():
            return len(self._like(same))

    def forget_like(self, same: Callable[[np.ndarray], bool]) -> int:
        """Erase the strangers most of whose templates are `same`; returns how many."""
        with self._files.held():
            gone = self._like(same)
            self._files.save({}, gone)
            return len(gone)

    def _like(self, same: Callable[[np.ndarray], bool]) -> list[str]:
        return [
            each.id
            for each in self._files.own().values()
            if 2 * sum(same(picture.vector) for picture in each.pictures) > len(each.pictures)
        ]

    def renew(self, describe: Callable[[bytes], np.ndarray | None]) -> None:
        """Compute templates of another engine again from the pictures; strangers without a usable picture are deleted."""
        with self._files.held():
            foreign = list(self._files.foreign())
        for id_ in foreign:
            with self._files.held():
                stranger = self._files.foreign().get(id_)
                if stranger is None:
                    continue
                pictures = []
                for each in () if stranger.never else stranger.pictures:
                    with suppress(OSError, SealBroken, KeyMissing):
                        vector = describe(self._files.read_picture(each.id))
                        if vector is not None:
                            pictures.append(replace(each, vector=vector))
                if pictures:
                    self._files.save({id_: replace(stranger, pictures=tuple(pictures))})
                else:
                    self._files.save({}, [id_])

    # -- what people say ----------------------------------------------------------------------------------------

    def join(self, id_: str, other: str) -> Stranger:
        """Merge two strangers, keeping the id `id_`; grouping does not separate them again.

        Raises
        ------
        StrangerNotFound, InvalidParameter, StorageError
        """
        if id_ == other:
            raise InvalidParameter("other: expected another stranger")
        with self._files.held():
            self._get(id_), self._get(other)
            groups = self._groups()
            made = groups.join(id_, other)
            self._count_dropped(groups)
            self._files.save(made)
            return self._get(id_)

    def split(self, id_: str, pictures: Collection[str]) -> Stranger:
        """Move pictures that show somebody else to a new stranger, who is returned; grouping does not merge the two again.

        Raises
        ------
        StrangerNotFound, PictureNotFound, InvalidParameter, StorageError
        """
        with self._files.held():
            own, wanted = {each.id for each in self._get(id_).pictures}, set(pictures)
            if wanted - own:
                raise PictureNotFound(f"the stranger has no picture {sorted(wanted - own)[0]!r}")
            if not wanted or wanted == own:
                raise InvalidParameter("pictures: expected some of the stranger's pictures, and not all of them")
            groups = self._groups()
            new, made = groups.split(id_, wanted)
            self._count_dropped(groups)
            self._files.save(made)
            return self._get(new)

    def dismiss(self, id_: str, never: bool = False) -> None:
        """Delete a stranger; with `never`, keep the templates, so that the person is not reported again.

        Raises
        ------
        StrangerNotFound, StorageError
        """
        with self._files.held():
            stranger = self._get(id_)
            if never:
                self._files.save({id_: stranger.dismissed()})
                self._limit_number(keep=id_)
            else:
                self._files.save({}, [id_])

    def remove(self, id_: str) -> None:
        """Delete a stranger, if the id still exists."""
        with self._files.held():
            self._files.save({}, [id_] if id_ in self._files.all() else [])

    # -- limits -------------------------------------------------------------------------------------------------

    def purge(self) -> int:
        """Delete strangers not seen for too long, and erase leftovers; returns the number of deleted strangers."""
        edge = self._now() - self._days() * _DAY
        with self._files.held():
            old = [each.id for each in self._files.all().values() if each.last_seen < edge]
            self._files.save({}, old)
            self.counts["purged"] += len(old)
            self._files.erase_leftovers(edge)
            return len(old)

    def _limit_number(self, keep: str) -> None:
        """Delete the strangers not seen for the longest time if there are too many; `keep` stays."""
        for never, most in ((False, self.bounds.strangers), (True, self.bounds.never)):
            those = [each for each in self._files.all().values() if each.never == never]
            oldest = sorted((each for each in those if each.id != keep), key=lambda each: each.last_seen)
            gone = [each.id for each in oldest[: max(0, len(those) - most)]]
            self._files.save({}, gone)
            self.counts["dropped_strangers"] += len(gone)

    def _groups(self) -> StrangerGroups:
        return StrangerGroups(self._files.own(), self._limit, self._lowered, self.bounds.pictures)

    def _count_dropped(self, groups: StrangerGroups) -> None:
        self.counts["dropped_pictures"] += groups.dropped_pictures
