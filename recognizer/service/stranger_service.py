"""People whom nobody enrolled, if they are stored: the inbox, and which faces enter it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from recognizer.core.errors import StrangersOff
from recognizer.core.types import Box, Candidate
from recognizer.enrolment.duplicates import DISTANCE_SHARE
from recognizer.events.sightings import cut
from recognizer.galleries import clustering, matching
from recognizer.photos import quality
from recognizer.photos.quality import picture_value
from recognizer.photos.results import Seen
from recognizer.service.face_storage import FaceStorage
from recognizer.service.matcher import Identification
from recognizer.strangers.inbox import Inbox
from recognizer.strangers.model import Picture, Sighting, Stranger, StrangerShot
from recognizer.strangers.store import Strangers

#: A stranger resembles an enrolled person within the distance that a stranger has to anybody with this probability.
RESEMBLES_RATE = 0.02
#: Maximum number of pictures with which a stranger is enrolled.
ENROLLING_PICTURES = 5
#: Seconds between two searches for strangers that have expired, where none are stored any more.
_HOUSEKEEPING = 3600.0


class KeptStrangers:
    """Owns the one `inbox.Inbox` of a service. Any thread may call.

    Parameters
    ----------
    storage : FaceStorage
        `kept` is one of "off", "cameras" and "all": nobody's faces, those at cameras, or also those on the photos of requests;
        `days` count from the last sighting.
    identification : Identification
    """

    def __init__(
        self,
        storage: FaceStorage,
        identification: Identification,
    ):
        self._storage, self._engine, self._gallery = storage, identification.engine, identification.gallery
        self._matcher, self._rules = identification.matcher, identification.rules
        #: Called when somebody is seen for the first time.
        self.heard: Callable[[], object] = lambda: None
        self._inbox: Inbox | None = None
        self._purge_at = 0.0
        self._lock = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Whether strangers are stored."""
        return self._storage.wanted

    @property
    def inbox(self) -> Inbox:
        """Takes sightings; created when it is first used.

        Raises
        ------
        StrangersOff, StorageError
        """
        if not self.wanted:
            raise StrangersOff("no strangers are kept: the setting RECOGNIZER_STRANGERS is off")
        with self._lock:
            if self._inbox is None:
                self._inbox = Inbox(
                    self._open(), self._engine, self._rules, self._matcher.match, lambda: self._gallery.generation
                )
            return self._inbox

    @property
    def people(self) -> Strangers:
        """The stored strangers, to be joined, split, named and dismissed.

        Raises
        ------
        StrangersOff, StorageError
        """
        return self.inbox.strangers

    def _open(self) -> Strangers:
        def limit(faces: int) -> float:
            return clustering.limit_for(faces, self._matcher.curve.distance)

        stored = self._storage
        made = Strangers(
            stored.folder, self._engine.info.id, limit, vault=stored.vault, days=stored.days, lowered=self._matcher.crowded
        )
        made.arrived = lambda stranger: self.heard()
        return made

    def look_after(self) -> None:
        """Process sightings from now on; if strangers are no longer stored, delete those that have expired. Only servers do
        this, not commands."""
        if self.wanted:
            self.inbox  # noqa: B018, made here
        else:
            self.purge_if_off()

    def purge_if_off(self) -> None:
        """Delete the strangers that have expired where none are stored any more. To be called now and then."""
        if not self.wanted and self._storage.folder.is_dir() and time.monotonic() >= self._purge_at:
            self._purge_at = time.monotonic() + _HOUSEKEEPING
            self._open().purge()

    def all(self) -> list[Stranger]:
        """All strangers, last seen first; empty if none are stored."""
        return self.people.all() if self.wanted else []

    def resembles(self, strangers: list[Stranger]) -> list[Candidate | None]:
        """The enrolled person whom most of a stranger's pictures resemble (see `RESEMBLES_RATE`), with the distance of the
        nearest picture; None for most strangers."""
        vectors = [picture.vector for each in strangers for picture in each.pictures]
        found = iter(self._matcher.nearest(vectors, RESEMBLES_RATE))
        return [_of_most([next(found) for _ in each.pictures]) for each in strangers]

    def pictures(self, id_: str) -> list[bytes]:
        """The pictures that enrol a stranger: the best ones, without those that are too similar to a better one.

        Raises
        ------
        StrangerNotFound, StrangersOff
        """
        held = self.people
        chosen = different(held.get(id_).pictures, DISTANCE_SHARE * self._matcher.one_to_one)[:ENROLLING_PICTURES]
        return [held.picture(id_, each.id) for each in chosen]

    def offer(self, seen: Seen) -> None:
        """Offer the unknown faces of a request's photo to the inbox, without waiting; if those are stored, and in a process
        that processes sightings."""
        inbox, now = self._inbox, time.time()
        if inbox is None or self._storage.kept != "all":
            return
        for number, face in enumerate(seen.faces):
            if face.subject is not None or face.quality is None or face.comparable is False:
                continue
            if face.box.size < self._rules.min_face or quality.remarks(face.quality):
                continue
            image = seen.image
            height, width = image.pixels.shape[:2]
            fx, fy = width / image.width, height / image.height
            box = Box(face.box.left * fx, face.box.top * fy, face.box.right * fx, face.box.bottom * fy)
            shot = StrangerShot(cut(image.pixels, box), now, picture_value(face.quality))
            inbox.offer(Sighting(f"request/{now:.3f}/{number}/{id(seen):x}", None, now, now, (shot,)))

    def waiting_pictures(self, before: float) -> int:
        """How many pictures from before a time wait to be examined."""
        inbox = self._inbox
        return 0 if inbox is None else inbox.waiting_pictures(before)

    def drop_pictures(self, before: float) -> None:
        """Drop the pictures from before a time that wait to be examined."""
        inbox = self._inbox
        if inbox is not None:
            inbox.drop_pictures(before)

    def count_like(self, same: Callable[[np.ndarray], bool]) -> int:
        """The number of stored strangers most of whose templates are `same`, also if no new ones are stored."""
        people = self._stored()
        return 0 if people is None else people.count_like(same)

    def forget_like(self, same: Callable[[np.ndarray], bool]) -> int:
        """Erase the stored strangers most of whose templates are `same`; returns how many."""
        people = self._stored()
        return 0 if people is None else people.forget_like(same)

    def _stored(self) -> Strangers | None:
        with self._lock:
            if self._inbox is not None:
                return self._inbox.strangers
        return self._open() if self._storage.folder.is_dir() else None

    def counts(self) -> dict[str, int] | None:
        """Counts of sightings since the start; None if this process handles none."""
        return None if self._inbox is None else self._inbox.counts()

    def close(self) -> None:
        """Process the waiting sightings, end the thread."""
        with self._lock:
            if self._inbox is not None:
                self._inbox.close()


def different(pictures: Sequence[Picture], apart: float) -> list[Picture]:
    """The pictures, in their order, that are at least `apart` from each one before them."""
    chosen: list[Picture] = []
    for each in pictures:
        if not chosen or matching.distances(each.vector, np.array([other.vector for other in chosen])).min() >= apart:
            chosen.append(each)
    return chosen


def _of_most(found: Sequence[Candidate | None]) -> Candidate | None:
    """The nearest candidate of the subject that more than half of all pictures resemble."""
    counts = Counter(each.subject for each in found if each is not None)
    subject, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if 2 * count <= len(found):
        return None
    return min((each for each in found if each is not None and each.subject == subject), key=lambda each: each.distance)
