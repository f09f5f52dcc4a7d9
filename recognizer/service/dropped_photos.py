"""Photos that somebody puts beside the photos of nodes, below `people/`: they are enrolled, as files in known_faces are.

One node at a time lists them; the lock that it holds ends with its connection. A bucket's notification makes the node that gets
it check the named files at once. What is enrolled is stored as every photo is, and the dropped file is removed. What cannot be
used stays where it is, and is listed among the problems until it is replaced. A note of consent beside the photos is stored
once its person is enrolled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice

from recognizer.core import audit, consent, names
from recognizer.core.consent import Consent
from recognizer.core.errors import (
    Busy,
    DatabaseAway,
    GroupNotFound,
    GroupTaken,
    ImageTooLarge,
    InvalidName,
    RecognizerError,
    StorageError,
    SubjectNotFound,
)
from recognizer.core.holdings import ExportedFile, Whose
from recognizer.core.priorities import lower_thread_priority
from recognizer.database.connection import DROPPED
from recognizer.enrolment.bucket_notifications import NamedObject
from recognizer.enrolment.encodings import FORCED
from recognizer.enrolment.photo_marks import wanted_face
from recognizer.enrolment.photo_store import DroppedFile, PhotoStore
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.service.groups import PeopleGroup, PeopleGroups

log = logging.getLogger("recognizer.nodes")

#: Who the audit log says enrolled a dropped photo.
ACTOR = "dropped"
#: Files that wait because a notification named them; beyond that, the next look at everything finds them.
MOST_NAMED = 10_000
#: Named files that are looked at in one go: no other node looks meanwhile.
_AT_ONCE = 100
#: Seconds after which named files are looked at again, if another node was looking.
_AGAIN_SECONDS = 0.5
#: Bytes of a note of consent at most.
_MOST_CONSENT = 65_536


@dataclass(frozen=True, slots=True)
class DroppedPlace:
    """Whose photo, or note of consent, a file is by its path: ``<person>/<file>``, or ``.groups/<group>/<person>/<file>``."""

    group: str | None
    person: str
    name: str

    @property
    def is_consent(self) -> bool:
        """Whether it is a note of consent."""
        return self.name == consent.FILE


def place_of(path: str) -> DroppedPlace | None:
    """What a path says; None for a file that is neither a photo of somebody nor a note of consent."""
    parts = path.split("/")
    group = None
    if parts[0] == names.GROUPS_FOLDER:
        if len(parts) != 4:
            return None
        group, parts = parts[1], parts[2:]
    if len(parts) != 2 or not all(parts) or parts[0].startswith("."):
        return None
    place = DroppedPlace(group, *parts)
    return place if place.is_consent or not place.name.startswith(".") else None


def _in_order(file: DroppedFile) -> tuple[str, bool]:
    """Notes of consent come after the photos of their person."""
    folder, _, name = file.path.rpartition("/")
    return folder, name == consent.FILE


class DroppedPhotos:
    """Enrols dropped photos, on a thread.

    Parameters
    ----------
    enrolment : SharedEnrolment
        Of the default group.
    groups : PeopleGroups
    store : PhotoStore
    max_bytes : int
        Size of the largest photo that is read.
    seconds : float
        Between two looks.
    """

    def __init__(self, enrolment: SharedEnrolment, groups: PeopleGroups, store: PhotoStore, max_bytes: int, seconds: float):
        self._enrolment, self._groups, self._store = enrolment, groups, store
        self._database, self._most, self._seconds = enrolment.database, max_bytes, seconds
        self._ended = threading.Event()
        self._wake = threading.Condition()
        self._named: dict[str, None] = {}  # in the order in which they were named
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look from now on."""
        self._thread = threading.Thread(target=self._run, name="dropped", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the photo that is being enrolled."""
        self._ended.set()
        with self._wake:
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(30)

    def wake(self, objects: Iterable[NamedObject]) -> int:
        """Look soon at objects that a bucket's notification names; how many of them are dropped photos or notes of consent.

        Returns at once. Nothing in the notification is believed: only what the bucket has there counts.
        """
        paths = [path for path in map(self._store.dropped_path, objects) if path is not None and place_of(path) is not None]
        with self._wake:
            self._named |= dict.fromkeys(paths[: max(0, MOST_NAMED - len(self._named))])
            self._wake.notify_all()
        return len(paths)

    def _run(self) -> None:
        lower_thread_priority()
        while not self._ended.is_set():
            self._attempt(self.look)
            end = time.monotonic() + self._seconds
            while self._wait(end):
                if not self._attempt(self._look_at_named):
                    self._ended.wait(_AGAIN_SECONDS)

    def _wait(self, end: float) -> bool:
        """Wait until a file is named, True, or until it is time for a look at everything, False."""
        with self._wake:
            while not self._ended.is_set() and not self._named and (left := end - time.monotonic()) > 0:
                self._wake.wait(left)
            return bool(self._named) and not self._ended.is_set() and time.monotonic() < end

    def _attempt(self, look: Callable[[], int | None]) -> bool:
        """Whether a look could be taken."""
        try:
            return look() is not None
        except RecognizerError as error:  # tried again at the next look
            log.debug("dropped photos are not looked for: %s", error.message)
        except Exception:
            log.exception("dropped photos are not looked for")
        return False

    def _look_at_named(self) -> int | None:
        with self._wake:
            paths = list(islice(self._named, _AT_ONCE))
            for path in paths:
                del self._named[path]
        enrolled = None
        try:
            enrolled = self.look_at(paths)
        except (Busy, DatabaseAway):
            log.debug("the photos that a notification named are looked at again")
        if enrolled is None:
            with self._wake:
                self._named = dict.fromkeys(paths) | self._named
        return enrolled

    def look_at(self, paths: Collection[str]) -> int | None:
        """Enrol some of the dropped files; how many photos were enrolled. None if another node is looking now.

        Raises
        ------
        DatabaseAway, Busy, StorageError
        """
        with self._alone() as alone:
            if not alone:
                return None
            rows = self._database.rows("select place, stamp from dropped where place = any(%s)", [list(paths)])
            there: dict[str, DroppedFile | None] = {}
            for path in paths:
                if self._ended.is_set():
                    break
                try:
                    there[path] = self._store.find_dropped(path)
                except StorageError as error:  # the next look at everything finds it
                    log.debug("a named photo is not looked at: %s", error.message)
            self._forget({place for place, _ in rows if there.get(place, place) is None})
            enrolled = self._take(sorted((file for file in there.values() if file is not None), key=_in_order), dict(rows))
        self._enrolment.notes.count_problems()
        return enrolled

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether no other node looks; none does within the block then."""
        with self._database.connect() as connection:
            with self._database.errors():
                found = connection.execute("select pg_try_advisory_lock(%s)", [DROPPED]).fetchone()
            alone = found == (True,)
            try:
                yield alone
            finally:
                if alone:  # the server notices only after a moment that a connection has ended
                    with suppress(DatabaseAway, Busy, StorageError), self._database.errors():
                        connection.execute("select pg_advisory_unlock(%s)", [DROPPED])

    def look(self) -> int:
        """Enrol what was dropped, unless another node does so now; how many photos were enrolled.

        Raises
        ------
        DatabaseAway, Busy, StorageError
        """
        enrolled = 0
        with self._alone() as alone:
            if alone:
                files = sorted(self._store.dropped(), key=_in_order)
                known = dict(self._database.rows("select place, stamp from dropped"))
                self._forget(known.keys() - {file.path for file in files})
                enrolled = self._take(files, known)
        self._enrolment.notes.count_problems()
        return enrolled

    def _take(self, files: Sequence[DroppedFile], known: Mapping[str, str]) -> int:
        """Enrol files but those that are known, by their stamps, to be useless; how many photos were enrolled."""
        enrolled = 0
        for file in files:
            if self._ended.is_set():
                break
            place = place_of(file.path)
            if place is None or known.get(file.path) == file.stamp:
                continue
            if place.is_consent:
                self._take_consent(file, place)
            else:
                enrolled += self._take_in(file, place)
        return enrolled

    def _take_in(self, file: DroppedFile, place: DroppedPlace) -> bool:
        try:
            if file.size > self._most:
                raise ImageTooLarge(f"the photo has more than {self._most} bytes")
            group = self._group(place.group)
            photo = self._store.read_dropped(file.path)
            with audit.acting(ACTOR):
                group.subjects.enrol(
                    place.person,
                    photo,
                    face=wanted_face(place.name).removesuffix(FORCED),
                    force=wanted_face(place.name).endswith(FORCED),
                    alike=True,
                    confirm=lambda: self._require(file),
                )
        except FileNotFoundError:  # somebody removed it, or erased the person
            return False
        except (Busy, DatabaseAway, StorageError):
            raise
        except RecognizerError as error:
            self._note(file, place, error.code, error.message)
            return False
        self._store.remove_dropped(file)
        self._forget([file.path])
        return True

    def _take_consent(self, file: DroppedFile, place: DroppedPlace) -> None:
        """Store a note of consent, instead of what was agreed before; it waits until its person is enrolled."""
        try:
            subjects = self._groups.get(place.group).subjects
            name = names.normalise(place.person)
            if not self._groups.get(place.group).enrolment.has_files(name):
                return
            agreed = self._read_consent(file)
            with audit.acting(ACTOR), subjects.changing(name):
                self._require(file)
                subjects.set_consent(name, agreed.note or "none", agreed.expires or "none")
        except (FileNotFoundError, GroupNotFound, SubjectNotFound):  # removed or erased, or nobody is there yet
            return
        except ValueError as error:
            self._note(file, place, "consent_unreadable", f"this note of consent cannot be read: {error}")
            return
        except (Busy, DatabaseAway, StorageError):
            raise
        except RecognizerError as error:
            self._note(file, place, error.code, error.message)
            return
        self._store.remove_dropped(file)
        self._forget([file.path])

    def _read_consent(self, file: DroppedFile) -> Consent:
        """A note of consent.

        Raises
        ------
        ValueError, FileNotFoundError, StorageError
        """
        if file.size > _MOST_CONSENT:
            raise ValueError(f"expected at most {_MOST_CONSENT} bytes")
        agreed = Consent.from_bytes(self._store.read_dropped(file.path))
        if not agreed:  # perhaps a misspelt word: what was agreed before, and until when, must not end by that
            raise ValueError("it has neither `consent` nor `expires`")
        return agreed

    def _require(self, file: DroppedFile) -> None:
        if not self._store.is_dropped(file):
            raise FileNotFoundError(file.path)

    def _group(self, name: str | None) -> PeopleGroup:
        """The group of a dropped photo; it is made as a folder in `.groups` makes one."""
        try:
            return self._groups.get(name)
        except GroupNotFound:
            assert name is not None  # the default one is there
        try:
            with audit.acting(ACTOR):
                return self._groups.add(name)
        except GroupTaken:  # made by another node a moment ago
            self._enrolment.catch_up()
            return self._groups.get(name)

    def _note(self, file: DroppedFile, place: DroppedPlace, code: str, message: str) -> None:
        group = 0
        if place.group is not None:
            try:
                found = self._groups.get(place.group).enrolment
                group = found.group if isinstance(found, SharedEnrolment) else 0
            except GroupNotFound:  # its name is not allowed: shown with the default group's
                pass
        with self._database.transaction() as connection:
            connection.execute(
                "insert into dropped (place, stamp, people_group, subject, code, message) values (%s, %s, %s, %s, %s, %s) "
                "on conflict (place) do update set stamp = excluded.stamp, people_group = excluded.people_group, "
                "code = excluded.code, message = excluded.message",
                (file.path, file.stamp, group, place.person, code, message),
            )

    def _forget(self, places: Collection[str]) -> None:
        if places:
            with self._database.transaction() as connection:
                connection.execute("delete from dropped where place = any(%s)", [list(places)])


class DroppedHolding:
    """Photos of somebody, and notes of consent, that were dropped and not enrolled yet, or cannot be used.

    Parameters
    ----------
    enrolment : SharedEnrolment
    store : PhotoStore or None
        None where no photos are kept, and so none are dropped.
    """

    label = "dropped photos"

    def __init__(self, enrolment: SharedEnrolment, store: PhotoStore | None):
        self._enrolment, self._store = enrolment, store

    def _files(self, name: str) -> list[DroppedFile]:
        return [] if self._store is None else [each for each in self._store.dropped(settled=False) if self._is_of(each, name)]

    def _is_of(self, file: DroppedFile, name: str) -> bool:
        place = place_of(file.path)
        return place is not None and place.group == self._enrolment.group_name and _same(place.person, name)

    def find(self, whose: Whose) -> int:
        """Those that cannot be used; the listing is not read for this."""
        rows = self._enrolment.database.rows("select subject from dropped where people_group = %s", [self._enrolment.group])
        return sum(_same(subject, whose.name) for (subject,) in rows)

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        for file in self._files(whose.name):
            assert self._store is not None
            yield ExportedFile(f"dropped/{file.path.rpartition('/')[2]}", self._store.read_dropped(file.path), "dropped_photos")

    def rename(self, old: str, new: str) -> None:
        for file in self._files(old):
            assert self._store is not None
            folder, _, name = file.path.rpartition("/")
            self._store.move_dropped(file, f"{folder.rpartition('/')[0]}/{new}/{name}".lstrip("/"))
        self._forget(old)

    def erase(self, whose: Whose) -> None:
        if whose.again:  # what is there now may be of somebody else
            return
        for file in self._files(whose.name):
            assert self._store is not None
            self._store.remove_dropped(file, changed=True)
        self._forget(whose.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"files": 0 if whose.again else len(self._files(whose.name))}

    def _forget(self, name: str) -> None:
        with self._enrolment.database.transaction() as connection:
            rows = connection.execute("select place, subject from dropped where people_group = %s", [self._enrolment.group])
            gone = [place for place, subject in rows.fetchall() if _same(subject, name)]
            connection.execute("delete from dropped where place = any(%s)", [gone])


def _same(written: str, name: str) -> bool:
    """Whether the name of a folder is a person's."""
    try:
        return names.normalise(written) == name
    except InvalidName:
        return False
