"""The event log: JSON Lines in files of limited size with thumbnails beside them, written by one process and read by all.

The jobs are in modules of their own: `event_files` (names and lines), `event_appending` (appending, and new files),
`event_reading` (reading by id), `event_erasing` (retention and erasure) and `event_sealing` (encryption).

A batch of events is on the disk (fsync) before `append` returns, and nobody receives an event earlier. A line that was
incomplete when the machine stopped is cut off at the next start; nobody had received it, so its id is given again. Ids
increase by one and continue after a restart. The oldest file is deleted, with its thumbnails, when all files are too large or
too many, or when it is too old.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from recognizer.core.disk import disk_reason
from recognizer.core.errors import KeyMissing, StorageError
from recognizer.core.vault import Vault
from recognizer.events import event_erasing
from recognizer.events.event_appending import EventAppender
from recognizer.events.event_erasing import EventEraser, EventRequest, Retention
from recognizer.events.event_files import OWNER_LOCK, first_ids, last_id_of, lines_file, refused
from recognizer.events.event_reading import EventPages, every
from recognizer.events.event_sealing import find_events, read_thumbnail

log = logging.getLogger("recognizer.events")


class EventLog:
    """The log. The process that holds its lock writes; any other process may read. Safe to use from several threads.

    Parameters
    ----------
    folder : path
        Created if it is missing.
    retention : Retention
    remembered : int
        How many of the newest events are kept in memory for readers.
    now : callable
        Seconds since 1970.
    vault : Vault, optional
        Encrypts events and thumbnails; a line then shows only its id.
    node : str, optional
        The node that these events are of, where nodes share a database.

    Raises
    ------
    StorageError
        The folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        retention: Retention | None = None,
        *,
        remembered: int = 1000,
        now: Callable[[], float] = time.time,
        vault: Vault | None = None,
        node: str | None = None,
    ):
        from filelock import FileLock

        self.node = node
        self.folder, self.retention = Path(folder), retention or Retention()
        self._vault = vault
        self._pages = EventPages(self.folder, vault)
        self._appender = EventAppender(self.folder, self.retention.file_bytes, now, vault)
        self._eraser = EventEraser(self.folder, self.retention, now, vault)
        self._counts = {"written": 0, "failed": 0, "purged": 0, "repaired": 0}
        self._lock = threading.Condition(threading.RLock())
        self._newest: deque[dict] = deque(maxlen=remembered)
        self._closed = False
        self._edits = 0
        self.last = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._owner = FileLock(self.folder / OWNER_LOCK, thread_local=False)
        except OSError as error:
            raise refused(error) from error
        self.writable = False
        self.take_over()
        if not self.writable:
            self._refresh()

    # -- life ---------------------------------------------------------------------------------------------------

    def take_over(self) -> bool:
        """Become the process that writes, if no other one does; returns whether this process writes."""
        from filelock import Timeout

        with self._lock:
            if self.writable or self._closed:
                return self.writable
            try:
                self._owner.acquire(blocking=False)
            except Timeout:
                return False
            except OSError as error:
                raise refused(error) from error
            try:
                self._counts["repaired"] += self._appender.repair()
                self.last = last_id_of(self.folder, first_ids(self.folder))
                self._purge_files()
            except OSError as error:
                self._owner.release()
                raise refused(error) from error
            self._remember()
            self.writable = True
            return True

    def close(self) -> None:
        """Close all files and wake everybody who waits."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            self._appender.release()
            if self.writable:
                self.writable = False
                self._owner.release()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def counts(self) -> dict[str, int]:
        """Since the start: events written, failed and purged; lines repaired, unreadable, and deleted because of damage."""
        return {**self._counts, "unreadable": self._pages.unreadable, "damaged": self._eraser.damaged}

    # -- writing ------------------------------------------------------------------------------------------------

    def append(
        self,
        events: Sequence[dict],
        thumbnails: Sequence[bytes | None] = (),
        scenes: Sequence[bytes | None] | None = None,
    ) -> int:
        """Write events, each ``{"id": 0, ...}``, and give them their ids; what returns is on the disk.

        Parameters
        ----------
        events : sequence of dict
            Plain data; `id` is set in place. `thumbnail` becomes the path of the picture, if there is one.
        thumbnails : sequence of bytes or None, optional
            A JPEG for each event.
        scenes : sequence of bytes or None, optional
            A JPEG of the whole picture for each event; `scene` becomes its path.

        Returns
        -------
        int
            The id of the last event.

        Raises
        ------
        StorageError
            Nothing was written: the disk is full, or another process writes.
        """
        thumbnails = list(thumbnails) or [None] * len(events)
        with self._lock:
            if not self.writable:
                raise StorageError("another process writes the events")
            try:
                if self._appender.roll(self.last):
                    self._purge_files()
                for number, event in enumerate(events, self.last + 1):
                    event["id"] = number
                self._appender.append(events, thumbnails, scenes)
            except OSError as error:
                self._counts["failed"] += len(events)
                raise refused(error) from error
            self.last += len(events)
            self._counts["written"] += len(events)
            self._newest.extend(events)
            self._lock.notify_all()
            return self.last

    # -- retention and erasure ----------------------------------------------------------------------------------

    def purge(self) -> None:
        """Delete events that are no longer to be stored. To be called now and then, also if no new events come."""
        with self._lock:
            if not self.writable:
                return
            with suppress(OSError, KeyMissing):
                files = first_ids(self.folder)
                if files and self._eraser.is_expired(files[-1]):
                    self._appender.start(self.last + 1)
                self._purge_files()
                due = self._eraser.files_to_purge()
                if due:
                    purged = self._rewritten(lambda: self._eraser.purge_unknown(due))
                    self._counts["purged"] += purged

    def _purge_files(self) -> None:
        purged = self._eraser.purge_files()
        if purged:
            self._counts["purged"] += purged
            self._edits += 1
        files = first_ids(self.folder)
        while files and self._newest and self._newest[0]["id"] < files[0]:
            self._newest.popleft()

    def find(self, subject: str) -> list[dict]:
        """Every event about a person, as it is on the disk; see `event_links.about`.

        Raises
        ------
        StorageError
        """
        return find_events(self.folder, subject, self._vault)

    def export(self, subject: str) -> Iterator[tuple[dict, bytes | None]]:
        """Every event about a person, and its picture if there is one.

        Raises
        ------
        StorageError
        """
        for event in self.find(subject):
            yield event, self.thumbnail(event["id"])

    def rename(self, old: str, new: str) -> int:
        """Replace a person's name in all events; how many events were changed.

        If another process writes, or if it fails, it is requested: the process that writes does so within seconds.

        Raises
        ------
        StorageError
        """
        with self._lock:
            if not self.writable:
                event_erasing.leave_request(self.folder, old, new, self._vault)
                return 0
            try:
                return self._rewritten(lambda: self._eraser.rename(old, new))
            except OSError as error:
                log.warning("events could not be renamed, which is tried again: %s", disk_reason(error))
                event_erasing.leave_request(self.folder, old, new, self._vault)
                return 0

    def name_unknown(self, subject: str, visits: Iterable[str]) -> int:
        """Give a name to the events of an unknown person who was identified later; see `EventEraser.name_unknown`.

        Nothing is changed if another process writes.

        Raises
        ------
        StorageError
        """
        with self._lock:
            if not self.writable:
                return 0
            try:
                return self._rewritten(lambda: self._eraser.name_unknown(subject, visits))
            except OSError as error:
                raise refused(error) from error

    def correct(self, camera: str, begin: float, end: float, old: str, new: str | None) -> int:
        """Replace a wrong name in the events of one stay; see `EventEraser.correct`. Not done if another process writes.

        Raises
        ------
        StorageError
        """
        with self._lock:
            if not self.writable:
                return 0
            try:
                return self._rewritten(lambda: self._eraser.correct(camera, begin, end, old, new))
            except OSError as error:
                raise refused(error) from error

    def erase(self, subject: str, also: Iterable[int] = ()) -> int:
        """Remove a person's name and pictures from all events about them; how many events were changed.

        Damaged lines are deleted, with their pictures. If another process writes, it is requested: that process does so within
        seconds.

        Parameters
        ----------
        also : iterable of int
            Ids of further events that are about the person.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            if not self.writable:
                event_erasing.leave_request(self.folder, subject, vault=self._vault)
                return 0
            try:
                return self._rewritten(lambda: self._eraser.erase(subject, also))
            except OSError as error:
                raise refused(error) from error

    def verify(self, subject: str) -> int:
        """How many events on the disk are about a person, and how many open requests name that person.

        Raises
        ------
        StorageError
        """
        asked = event_erasing.open_requests(self.folder, self._vault)
        return len(self.find(subject)) + sum(subject in (each.subject, each.to) for each in asked)

    def requests(self) -> list[EventRequest]:
        """What other processes asked this one, which writes, to erase or to rename; oldest first."""
        return event_erasing.open_requests(self.folder, self._vault) if self.writable else []

    def done(self, request: EventRequest) -> None:
        """Delete a request that was fulfilled."""
        try:
            request.file.unlink(missing_ok=True)
        except OSError as error:
            raise refused(error) from error

    def forget_as_asked(self) -> bool:
        """Erase and rename as other processes requested; whether there were any requests.

        Raises
        ------
        StorageError, KeyMissing
            A request could not be fulfilled, and stays.
        """
        asked = self.requests()
        for request in asked:
            if request.to is None:
                self.erase(request.subject)
            else:
                self.rename(request.subject, request.to)
            self.done(request)
        return bool(asked)

    def _rewritten(self, rewrite: Callable[[], int]) -> int:
        """Call what rewrites files, and bring everything that was read from them up to date."""
        self._appender.release()
        try:
            changed = rewrite()
        finally:
            self._edits += 1
            with suppress(OSError):  # if the newest event was deleted, its id must not be given again
                if last_id_of(self.folder, first_ids(self.folder)) < self.last:
                    self._appender.start(self.last + 1)
                    self._appender.release()
            self._remember()
        return changed

    @property
    def edition(self) -> object:
        """Changes when stored events were changed or deleted: events that were read before have to be read again."""
        if self.writable:
            return self._edits
        return [(begin, _changed(lines_file(self.folder, begin))) for begin in first_ids(self.folder)]

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """The id of the oldest event that is stored; one more than `last` if there is none."""
        last = self.last  # before the files are listed: an event that is written meanwhile is not the one before the first
        return next(iter(first_ids(self.folder)), last + 1)

    def newest(self) -> int:
        """The id of the newest event, also if another process writes."""
        with self._lock:
            if not self.writable:
                self._refresh()
            return self.last

    def read(self, after: int, limit: int, wanted: Callable[[dict], bool] = every) -> list[dict]:
        """The oldest `limit` events after id `after` that are wanted, oldest first."""
        return self.scan(after, limit, wanted)[0]

    def scan(self, after: int, limit: int, wanted: Callable[[dict], bool] = every) -> tuple[list[dict], int]:
        """As `read`, and the id up to which events were examined: where to continue, even if none was wanted."""
        with self._lock:
            if not self.writable:
                self._refresh()
            last, remembered = self.last, list(self._newest)
        found: list[dict] = []
        if after >= last:
            return found, after
        source = iter(remembered) if remembered and remembered[0]["id"] <= after + 1 else self._pages.after(after)
        for event in source:
            if after < event["id"] <= last and wanted(event):
                found.append(event)
                if len(found) == limit:
                    return found, event["id"]
        return found, last

    def latest(self, before: int | None, limit: int, wanted: Callable[[dict], bool] = every) -> list[dict]:
        """The newest `limit` events before id `before`, or of all, that are wanted, oldest first."""
        with self._lock:
            if not self.writable:
                self._refresh()
        return self._pages.newest(self.last + 1 if before is None else before, limit, wanted)

    def get(self, number: int) -> dict | None:
        """One event by its id."""
        return next(iter(self.read(number - 1, 1, lambda event: event["id"] == number)), None)

    def thumbnail(self, number: int) -> bytes | None:
        """The JPEG of an event; None if there is none, or if it was deleted."""
        return read_thumbnail(self.folder, number, self._vault)

    def scene(self, number: int) -> bytes | None:
        """The JPEG of an event's whole picture; None if there is none, or if it was deleted."""
        return read_thumbnail(self.folder, number, self._vault, scene=True)

    def newest_of(self, cameras: Iterable[str], kinds: Collection[str], last: int) -> dict[str, dict]:
        """The newest event up to the id `last`, of certain kinds, for each camera that has one, however old."""
        found: dict[str, dict] = {}
        missing = set(cameras)
        for event in self._pages.backwards():
            if not missing:
                break
            if event["id"] <= last and event["camera"] in missing and event["kind"] in kinds:
                found[event["camera"]] = event
                missing.discard(event["camera"])
        return found

    def wait(self, after: int, seconds: float) -> bool:
        """Wait until there is an event after id `after`; False if time is up or the log is closed."""
        until = time.monotonic() + seconds
        with self._lock:
            while self.last <= after and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                # nobody announces what another process writes
                self._lock.wait(left if self.writable else min(left, 0.5))
                if not self.writable and not self._closed:
                    self._refresh()
            return not self._closed

    def _remember(self) -> None:
        self._newest.clear()
        self._newest.extend(self._pages.newest(self.last + 1, self._newest.maxlen or 0))

    def _refresh(self) -> None:
        """Notice what another process wrote."""
        self.last = max(self.last, last_id_of(self.folder, first_ids(self.folder)))


def _changed(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
