"""The past of the cameras: visits that are kept if a setting says so, searched by face, and corrected."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from recognizer.core.errors import EventNotFound, FaceError, ImageError, InvalidParameter, SightingsOff
from recognizer.core.sealed_sqlite import remove_old_set_aside
from recognizer.core.times import iso_seconds
from recognizer.core.work_queue import WorkQueue
from recognizer.enrolment.examination import examine
from recognizer.events.visit_file import VISITS_FILE, KeptVisit, VisitFile
from recognizer.events.visit_shots import SeenVisit
from recognizer.galleries import matching
from recognizer.photos import images
from recognizer.service.face_storage import FaceStorage
from recognizer.service.matcher import Identification
from recognizer.strangers.inbox import LONG_SIDE

#: Maximum number of visits that wait to be examined, each with a picture.
QUEUED = 32
_HOUSEKEEPING = 600.0
_QUALITY, _DAY = 90, 86_400.0
#: Seconds that an erasure waits for the visit that is being examined.
_EXAMINED_SECONDS = 10.0
#: How many corrections are remembered while their visits may go on.
_MOST_CORRECTED = 100


class KeptVisits:
    """Owns the visits of an installation, and the thread that examines pictures. Any thread may call.

    Parameters
    ----------
    storage : FaceStorage
        `folder` is the state folder; `kept` is one of "off", "known" and "all".
    identification : Identification
    enrolled : callable
        Whether a name is enrolled; visits of others, whom another process erased, are not stored.
    now : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        storage: FaceStorage,
        identification: Identification,
        enrolled: Callable[[str], bool] = lambda name: True,
        now: Callable[[], float] = time.time,
    ):
        self._enrolled, self._now = enrolled, now
        self._changed: dict[str, tuple[float, str | None]] = {}  # by name: when it was erased or changed, and the new one
        self._erased = 0.0  # when somebody was last erased
        self._corrected: dict[str, tuple[float, str | None]] = {}  # by the visit's id: when, and to which name
        self._path, self.kept, self._days, self._vault = storage.folder / VISITS_FILE, storage.kept, storage.days, storage.vault
        self._engine, self._matcher, self._rules = identification.engine, identification.matcher, identification.rules
        self._lock = threading.Lock()
        self._file: VisitFile | None = None
        self._queue: WorkQueue[SeenVisit] = WorkQueue("visits", "visit", QUEUED, self.take, idle=self._tidy, counts=("unfit",))
        self._tidy_at = 0.0

    @property
    def wanted(self) -> bool:
        """Whether visits are kept from now on."""
        return self.kept != "off"

    @property
    def exists(self) -> bool:
        """Whether any are stored, also from before."""
        return self._file is not None or self._path.exists()

    @property
    def file(self) -> VisitFile:
        """The file; made when it is first used.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            if self._file is None:
                self._file = VisitFile(self._path, self._vault)
            return self._file

    def require(self) -> VisitFile:
        """The file, if visits are kept.

        Raises
        ------
        SightingsOff, StorageError
        """
        if not self.wanted:
            raise SightingsOff("no visits are kept: the setting RECOGNIZER_SIGHTINGS is off")
        return self.file

    # -- what comes in ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Examine visits from now on; without the setting, only delete what has expired.

        Raises
        ------
        StorageError, KeyMissing
            The file cannot be opened. Visits are stored as soon as it can be.
        """
        if self.wanted:
            self._queue.start()
            self.file  # noqa: B018, made here
        elif self.exists:
            self.purge()

    def offer(self, visit: SeenVisit) -> bool:
        """Queue a visit without waiting; returns whether there was room."""
        current = self._current(visit)
        return current is None or self._queue.offer(current)

    def purge_if_off(self) -> None:
        """Delete what has expired where no visits are kept any more. To be called now and then."""
        if not self.wanted and self.exists:
            self._tidy()

    def _tidy(self) -> None:
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + _HOUSEKEEPING
            self.purge()

    def take(self, visit: SeenVisit) -> None:
        """Examine and store a visit. One of an unknown person whose picture cannot be compared is not stored."""
        current = self._current(visit)
        if current is None or (current.subject is None and self.kept == "known"):
            return
        if current.subject is not None and current.id not in self._corrected and not self._enrolled(current.subject):
            return
        visit, jpeg, vector = current, None, None
        if visit.shot is not None:
            jpeg = images.encode_jpeg(images.resize(visit.shot.pixels, LONG_SIDE), quality=_QUALITY)
            with contextlib.suppress(ImageError, FaceError):
                vector = examine(self._engine, jpeg, self._rules, "largest").encoding.vector
        if vector is None and visit.subject is None and visit.shot is not None:
            self._queue.count("unfit")
            return
        worth = 0.0 if visit.shot is None else visit.shot.worth
        kept = KeptVisit(0, visit.id, visit.camera, visit.first, visit.last, visit.subject, worth, vector)
        self.file.put(kept, jpeg)

    def purge(self) -> int:
        """Delete expired visits; how many."""
        remove_old_set_aside(self._path, self._days() * _DAY)
        return self.file.purge(time.time() - self._days() * _DAY) if self.exists else 0

    def counts(self) -> dict[str, int] | None:
        """Counts since the start, visits that wait, and visits that are stored; None if none are."""
        if not self.exists:
            return None
        return {**self._queue.counts(), "stored": self.file.count()}

    def close(self) -> None:
        """Examine what waits, end the thread, close the file."""
        self._queue.close()
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    # -- what is asked ------------------------------------------------------------------------------------------

    def search(
        self,
        probes: np.ndarray,
        subject: str | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        camera: str | None = None,
        max_distance: float | None = None,
    ) -> list[tuple[KeptVisit, float | None]]:
        """The visits of somebody, latest first, with the distance of the picture; None for one without a template.

        Parameters
        ----------
        probes : ndarray of float32, shape (m, d)
            Templates of the person.
        subject : str, optional
            Visits with this name belong to the result in any case.
        since, until : float, optional
            Seconds since 1970.
        camera : str, optional
        max_distance : float, optional
            By default as for a name among so many visits as are compared.

        Raises
        ------
        SightingsOff, StorageError
        """
        conditions = [("last >= ?", since), ("first <= ?", until), ("camera = ?", camera)]
        given = [(text, value) for text, value in conditions if value is not None]
        held = self.require().find(" AND ".join(text for text, _ in given) or "1", [value for _, value in given])
        compared = [each for each in held if each.vector is not None]
        limit = max_distance
        if limit is None:
            limit = min(self._matcher.one_to_one, self._matcher.threshold_now(max(1, len(compared) * max(1, len(probes)))))
        distances = _nearest(probes, compared)
        found: list[tuple[KeptVisit, float | None]] = []
        for each in held:
            distance = distances.get(each.number)
            if (subject is not None and each.subject == subject) or (distance is not None and distance <= limit):
                found.append((each, distance))
        return found[::-1]

    def get(self, number: int) -> KeptVisit:
        """One visit.

        Raises
        ------
        EventNotFound
            There is no such visit.
        SightingsOff
        """
        found = self.require().find("number = ?", (number,))
        if not found:
            raise EventNotFound(f"there is no visit {number}, or no longer", visit=number)
        return found[0]

    def name(self, number: int, subject: str | None) -> KeptVisit:
        """Correct whose visit it was; None: nobody's who is known.

        Raises
        ------
        EventNotFound
            There is no such visit.
        SightingsOff
        """
        id_ = self.get(number).id
        with self._lock:
            self._corrected = dict([*self._corrected.items(), (id_, (self._now(), subject))][-_MOST_CORRECTED:])
        self._queue.change(self._current, _EXAMINED_SECONDS)
        self.file.name([number], subject)
        return self.get(number)

    def picture(self, number: int) -> bytes:
        """The picture of a visit.

        Raises
        ------
        EventNotFound, SightingsOff
        """
        found = self.require().picture(number)
        if found is None:
            raise EventNotFound(f"there is no picture of visit {number}, or no longer", visit=number)
        return found

    def name_unknown(self, subject: str, visits: Iterable[str], templates: np.ndarray) -> int:
        """Give a name to earlier visits of somebody who was identified later: of known ids, and those that are recognised."""
        if not self.exists:
            return 0
        nameless, ids = self.file.find("subject ISNULL"), set(visits)
        compared = [each for each in nameless if each.vector is not None]
        vectors = np.array([each.vector for each in compared], np.float32)
        allowed = self._matcher.limits(vectors, self._matcher.threshold_now(max(1, len(templates))))
        limits = {each.number: limit for each, limit in zip(compared, allowed, strict=True)}
        near = _nearest(templates, compared)
        theirs = [
            each.number for each in nameless if each.id in ids or near.get(each.number, np.inf) <= limits.get(each.number, 0)
        ]
        self.file.name(theirs, subject)
        return len(theirs)

    # -- one person ---------------------------------------------------------------------------------------------

    def about(self, subject: str, templates: np.ndarray) -> list[KeptVisit]:
        """The visits with a name, and nameless ones that would be recognised by the templates."""
        if not self.exists:
            return []
        named, nameless = self.file.of_subject(subject), self.file.find("+subject ISNULL")
        limit = self._matcher.threshold_now(max(1, len(templates)))
        near = _nearest(templates, [each for each in nameless if each.vector is not None])
        return [*named, *(each for each in nameless if near.get(each.number, np.inf) <= limit)]

    def rename(self, old: str, new: str) -> None:
        """Give somebody another name, also in visits that are not over or wait."""
        self._note_changed(old, new)
        if self.exists:
            self.file.rename(old, new)

    def erase(self, subject: str, templates: np.ndarray) -> None:
        """Erase somebody's visits, and what is damaged; of those that are not over or wait, nothing is stored."""
        self._note_changed(subject, None)
        if self.exists:
            self.file.leave_out_broken()  # which nobody can tell whose it is
        found = self.about(subject, templates)
        if found:
            self.file.erase(each.number for each in found)

    def waiting(self, subject: str) -> int:
        """How many visits with a name wait to be examined."""
        return sum(each.subject == subject for each in self._queue.waiting())

    def _note_changed(self, name: str, to: str | None) -> None:
        now = self._now()
        with self._lock:
            recent = {each: change for each, change in self._changed.items() if now - change[0] < _DAY}
            self._changed = {**recent, name: (now, to)}
            self._erased = now if to is None else self._erased
        self._queue.change(self._current, _EXAMINED_SECONDS)

    def _current(self, visit: SeenVisit) -> SeenVisit | None:
        """A visit with the name that is valid now. None for that of somebody who was erased since it began, and for a picture
        from before an erasure that shows nobody knows whom."""
        since, name = self._corrected.get(visit.id, (visit.first, visit.subject))
        if name is None and visit.subject is not None:
            visit = replace(visit, subject=None)
        if name is None:
            return None if visit.shot is not None and visit.shot.time < self._erased else visit
        while (change := self._changed.get(name)) is not None and change[0] > since:
            since, name = change
            if name is None:
                return None
        return visit if name == visit.subject else replace(visit, subject=name)


def _nearest(probes: np.ndarray, visits: Sequence[KeptVisit]) -> dict[int, float]:
    """Number of each visit -> distance of its template from the nearest probe."""
    if not len(probes) or not visits:
        return {}
    vectors = np.array([each.vector for each in visits], np.float32)
    best = np.min([matching.distances(probe, vectors) for probe in probes], axis=0)
    return {each.number: float(distance) for each, distance in zip(visits, best, strict=True)}


def day_or_time(text: str | None, name: str, *, end: bool = False) -> float | None:
    """A day of this machine's clock or a time in ISO 8601, as seconds since 1970; of a day the first moment, or with `end` the
    last.

    Raises
    ------
    InvalidParameter
    """
    if text is None or not text.strip():
        return None
    try:
        if len(text.strip()) == 10:
            day = datetime.fromisoformat(text.strip())
            return (day + timedelta(days=1)).timestamp() - 0.001 if end else day.timestamp()
        return iso_seconds(text.strip())
    except (ValueError, OverflowError):
        raise InvalidParameter(f"{name}: expected a day such as 2026-11-30, or a time in ISO 8601") from None
