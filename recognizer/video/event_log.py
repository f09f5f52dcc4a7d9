"""Events on the disk: JSON Lines in files of limited size, with thumbnails beside them, read back by id.

::

    events/
      owner.lock              whoever writes holds it: one process
      000000000001.jsonl      named after the first event in it
      000000000001/17.jpg     thumbnails of the events in that file
      000000002350.jsonl      the newest: lines are appended to it

A batch of events is on the disk (fsync) before `append` returns, and nobody hears of an event sooner. A line that was torn when
the machine stopped is cut off at the next start; nobody had heard of it, so its id is given again. Ids grow by one and go on
after a restart. The oldest file goes, with its thumbnails, when all are larger than the bound, older, or too many.
"""

from __future__ import annotations

import base64
import itertools
import json
import logging
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..errors import KeyMissing, RecognizerError, StorageError
from ..files import sync_folder, write_durably
from ..vault import Vault, sealed_by

log = logging.getLogger("recognizer.events")

_DAY = 86_400.0
_LOCK = "owner.lock"
_FORGET = ".forget"
#: What encrypted word to another process is for.
_ERASURE = "event erasure"


@dataclass(frozen=True, slots=True)
class Retention:
    """How much is kept.

    Attributes
    ----------
    max_bytes : int
        Of all lines; thumbnails, which take 3 to 10 kB each, are not counted.
    max_days : float
        Age of the newest line of a file from which on the file goes.
    file_bytes : int
        From which size on a new file is begun; one is also begun each day.
    max_files : int
    unknown_days : float or None
        Age from which on events of people without a name go, whatever else is in their file.
    """

    max_bytes: int = 16_000_000
    max_days: float = 30.0
    file_bytes: int = 1_000_000
    max_files: int = 400
    unknown_days: float | None = None


class EventLog:
    """The log. Owns its folder while it holds the lock; any other process may read.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    retention : Retention
    remembered : int
        How many of the newest events are held in memory, where whoever follows finds them.
    now : callable
        Seconds since the epoch.
    vault : Vault, optional
        What events and thumbnails are encrypted with; a line then shows only its id.

    Raises
    ------
    StorageError
        The folder cannot be used.
    """

    def __init__(
        self, folder: Path, retention: Retention | None = None, *, remembered: int = 1000, now: Callable = time.time,
        vault: Vault | None = None,
    ):  # fmt: skip
        from filelock import FileLock

        self.folder, self.retention = Path(folder), retention or Retention()
        self._vault = vault
        self.counts = {"written": 0, "failed": 0, "purged": 0, "repaired": 0, "unreadable": 0}
        self._now = now
        self._lock = threading.Condition(threading.RLock())
        self._newest: deque[dict] = deque(maxlen=remembered)
        self._file = None
        self._begun = 0.0
        self._swept: dict[int, int] = {}  # files without anything to purge, at this size
        self._closed = False
        self.last = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._owner = FileLock(self.folder / _LOCK, thread_local=False)
        except OSError as error:
            raise _refused(error) from error
        self.writable = False
        self.take_over()
        if not self.writable:
            self._refresh()

    # -- life ---------------------------------------------------------------------------------------------------

    def take_over(self) -> bool:
        """Become the one who writes, if nobody else is; whether this is so."""
        from filelock import Timeout

        with self._lock:
            if self.writable or self._closed:
                return self.writable
            try:
                self._owner.acquire(blocking=False)
            except Timeout:
                return False
            except OSError as error:
                raise _refused(error) from error
            try:
                self._repair()
                self._purge()
            except OSError as error:
                self._owner.release()
                raise _refused(error) from error
            self._remember()
            self.writable = True
            return True

    def close(self) -> None:
        """Let go of the files; whoever waits is woken."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            if self._file is not None:
                self._file.close()
                self._file = None
            if self.writable:
                self.writable = False
                self._owner.release()

    @property
    def closed(self) -> bool:
        return self._closed

    # -- writing ------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[dict], thumbnails: Sequence[bytes | None] = ()) -> int:
        """Write events, each ``{"id": 0, ...}``, which get their ids here; what returns is on the disk.

        Parameters
        ----------
        events : sequence of dict
            Plain data; `id` is set in place. `thumbnail` becomes the id where there is a picture.
        thumbnails : sequence of bytes or None, optional
            A JPEG for each event.

        Raises
        ------
        StorageError
            Nothing was written: no room, or another process writes.
        """
        thumbnails = list(thumbnails) or [None] * len(events)
        with self._lock:
            if not self.writable:
                raise StorageError("another process writes the events")
            try:
                self._roll()
                pictures = self._file_path(self._begin).with_suffix("")
                for number, (event, picture) in enumerate(zip(events, thumbnails, strict=True), self.last + 1):
                    event["id"] = number
                    if picture is not None:
                        kept = self._keep_picture(pictures, number, picture)
                        event["thumbnail"] = thumbnail_url(number) if kept else None
                self._write(b"".join(_line(event, self._vault) for event in events))
            except OSError as error:
                self.counts["failed"] += len(events)
                raise _refused(error) from error
            self.last += len(events)
            self.counts["written"] += len(events)
            self._newest.extend(events)
            self._lock.notify_all()
            return self.last

    def _roll(self) -> None:
        """See to it that there is a file to append to, a new one when its time has come."""
        if self._file is not None:
            old = self._now() - self._begun > _DAY and self._size > 0
            if self._size < self.retention.file_bytes and not old:
                return
            self._file.close()
            self._file = None
        files = self._files()
        # a file that was written to before the last start goes on, unless it is full
        if files and self._open(files[-1]) and self._size < self.retention.file_bytes:
            if self._size == 0 or self._now() - self._begun <= _DAY:
                return
        if self._file is not None:
            self._file.close()
        self._begin, path = self.last + 1, self._file_path(self.last + 1)
        self._file = open(path, "ab")
        self._size, self._begun = self._file.tell(), self._now()
        sync_folder(self.folder)
        self._purge()

    def _open(self, begin: int) -> bool:
        path = self._file_path(begin)
        self._file = open(path, "ab")
        self._begin, self._size = begin, self._file.tell()
        first = next(self._read_file(begin), None)
        self._begun = seconds(first.get("time")) if first else self._now()
        return True

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._size += len(data)
        except OSError:
            with suppress(OSError):  # what was half written must not stay: the next line would be glued to it
                self._file.close()
            with suppress(OSError):
                os.truncate(self._file_path(self._begin), self._size)
            self._file = None
            raise

    def _keep_picture(self, folder: Path, number: int, data: bytes) -> bool:
        """Write a thumbnail, once; an event whose picture finds no room goes without."""
        try:
            folder.mkdir(exist_ok=True)
            if self._vault is not None:
                data = self._vault.seal(data, _picture_purpose(number))
            (folder / f"{number}.jpg").write_bytes(data)
        except OSError as error:
            log.warning("a thumbnail could not be written: %s", error.strerror)
            return False
        return True

    def _purge(self) -> None:
        """Delete the oldest files beyond what is kept; never the newest."""
        files, rule = self._files(), self.retention
        sizes = {begin: self._file_path(begin).stat().st_size for begin in files}
        while len(files) > 1:
            oldest, following = files[0], files[1]
            old = self._now() - self._file_path(oldest).stat().st_mtime > rule.max_days * _DAY
            if not old and len(files) <= rule.max_files and sum(sizes.values()) <= rule.max_bytes:
                break
            self._delete(oldest)
            self.counts["purged"] += following - oldest
            files.pop(0)
            del sizes[oldest]
        while files and self._newest and self._newest[0]["id"] < files[0]:
            self._newest.popleft()

    def purge(self) -> None:
        """Delete what is older than is kept, also where nothing new comes. To be called now and then."""
        with self._lock:
            if not self.writable:
                return
            with suppress(OSError):
                files = self._files()
                if files and self._now() - self._file_path(files[-1]).stat().st_mtime > self.retention.max_days * _DAY:
                    if self._file is not None:
                        self._file.close()
                    self._file = open(self._file_path(self.last + 1), "ab")
                    self._begin, self._size, self._begun = self.last + 1, 0, self._now()
                    self._newest.clear()
                self._purge()
                self._purge_unknown()

    def _purge_unknown(self) -> None:
        """Delete old events of people without a name. The newest event of all stays, without its picture, to keep its id."""
        days = self.retention.unknown_days
        if days is None or days >= self.retention.max_days:
            return
        edge = self._now() - days * _DAY
        for begin in self._files():
            if self._swept.get(begin) == self._file_path(begin).stat().st_size:
                continue
            events = list(self._read_whole(begin))
            gone = [each for each in events if _is_unknown(each) and seconds(each.get("time")) < edge]
            if gone:
                if self._file is not None:
                    self._file.close()
                    self._file = None
                ids = {each["id"] for each in gone}
                kept = [each for each in events if each["id"] not in ids]
                if gone[-1]["id"] == self.last:
                    kept.append({"id": self.last, "kind": "purged", "camera": gone[-1]["camera"], "time": gone[-1]["time"],
                                 "subject": None})  # fmt: skip
                self._replace(begin, kept)
                for number in ids:
                    (self._file_path(begin).with_suffix("") / f"{number}.jpg").unlink(missing_ok=True)
                self.counts["purged"] += len(ids) - (gone[-1]["id"] == self.last)
                self._remember()
                events = kept
            if not any(_is_unknown(each) for each in events):
                self._swept[begin] = self._file_path(begin).stat().st_size

    def _delete(self, begin: int) -> None:
        path = self._file_path(begin)
        path.unlink(missing_ok=True)
        shutil.rmtree(path.with_suffix(""), ignore_errors=True)

    def forget(self, subject: str) -> int:
        """Take a person out of all events: their name and their pictures. How many events were changed.

        Where another process writes, it is asked to do so, and does within seconds.

        Raises
        ------
        StorageError
        """
        changed, told = 0, set()
        with self._lock:
            if not self.writable:
                self._ask_to_forget(subject)
                return 0
            if self._file is not None:
                self._file.close()
                self._file = None
            try:
                for begin in reversed(self._files()):
                    events = list(self._read_whole(begin))
                    theirs = {event["id"] for event in events if event["id"] in told or event.get("subject") == subject}
                    if not theirs:
                        continue
                    told |= {event.get("replaces") for event in events if event["id"] in theirs}  # pictures of them too
                    theirs |= {event["id"] for event in events if event["id"] in told}
                    changed += len(theirs)
                    for event in events:
                        if event["id"] in theirs:
                            event.update(subject=None, thumbnail=None)
                    self._replace(begin, events)
                    for number in theirs:
                        (self._file_path(begin).with_suffix("") / f"{number}.jpg").unlink(missing_ok=True)
            except OSError as error:
                raise _refused(error) from error
            self._remember()
        return changed

    def _ask_to_forget(self, subject: str) -> None:
        """Leave word for the process that writes, which looks for it every few seconds and when it starts."""
        part = self.folder / f"{secrets.token_hex(8)}.part"
        try:
            data = json.dumps({"subject": subject}).encode()
            part.write_bytes(data if self._vault is None else self._vault.seal(data, _ERASURE))
            part.rename(part.with_suffix(_FORGET))
        except OSError as error:
            raise _refused(error) from error

    def forget_as_asked(self) -> bool:
        """Do what other processes left word for; whether there was any."""
        if not self.writable:
            return False
        asked = list(self.folder.glob(f"*{_FORGET}"))
        for file in asked:
            with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
                data = file.read_bytes()
                self.forget(json.loads(data if self._vault is None else self._vault.open_or_plain(data, _ERASURE))["subject"])
            file.unlink(missing_ok=True)
        return bool(asked)

    def _replace(self, begin: int, events: Sequence[dict]) -> None:
        path = self._file_path(begin)
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            file.write(b"".join(_line(event, self._vault) for event in events))
            file.flush()
            os.fsync(file.fileno())
        kept = path.stat()
        os.utime(part, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        os.replace(part, path)
        sync_folder(self.folder)

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def first(self) -> int:
        """Id of the oldest event that is kept; one more than `last` when there is none."""
        return next(iter(self._files()), self.last + 1)

    def newest(self) -> int:
        """`last`, also where another process writes."""
        with self._lock:
            if not self.writable:
                self._refresh()
            return self.last

    def read(self, after: int, limit: int, wanted: Callable[[dict], bool] = lambda event: True) -> list[dict]:
        """The oldest `limit` events beyond id `after` that are wanted, oldest first."""
        return self.scan(after, limit, wanted)[0]

    def scan(self, after: int, limit: int, wanted: Callable[[dict], bool] = lambda event: True) -> tuple[list[dict], int]:
        """As `read`, and the id up to which everything was looked at: where to go on, though nothing was wanted."""
        with self._lock:
            if not self.writable:
                self._refresh()
            last, held = self.last, list(self._newest)
        found: list[dict] = []
        if after >= last:
            return found, after
        source = iter(held) if held and held[0]["id"] <= after + 1 else self._read_after(after)
        for event in source:
            if after < event["id"] <= last and wanted(event):
                found.append(event)
                if len(found) == limit:
                    return found, event["id"]
        return found, last

    def latest(self, before: int | None, limit: int, wanted: Callable[[dict], bool] = lambda event: True) -> list[dict]:
        """The newest `limit` events below id `before`, or of all, that are wanted, oldest first."""
        with self._lock:
            if not self.writable:
                self._refresh()
        edge = self.last + 1 if before is None else before
        found: list[dict] = []
        for begin in reversed(self._files()):
            if begin >= edge:
                continue
            here = [event for event in self._read_file(begin) if event["id"] < edge and wanted(event)]
            found = here[-(limit - len(found)) :] + found
            if len(found) >= limit:
                break
        return found

    def get(self, number: int) -> dict | None:
        """One event by its id."""
        return next(iter(self.read(number - 1, 1, lambda event: event["id"] == number)), None)

    def thumbnail(self, number: int) -> bytes | None:
        """The JPEG of an event; None where there is none, or no longer."""
        return read_thumbnail(self.folder, number, self._vault)

    def wait(self, after: int, seconds: float) -> bool:
        """Wait until there is an event beyond id `after`; False when time is up, or the log is closed."""
        until = time.monotonic() + seconds
        with self._lock:
            while self.last <= after and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                # what another process writes is announced by nobody
                self._lock.wait(left if self.writable else min(left, 0.5))
                if not self.writable and not self._closed:
                    self._refresh()
            return not self._closed

    def _read_after(self, after: int) -> Iterator[dict]:
        files = self._files()
        for begin, following in itertools.zip_longest(files, files[1:]):  # there may be none
            if following is None or following > after + 1:
                yield from self._read_file(begin)

    def _read_file(self, begin: int) -> Iterator[dict]:
        for event in _lines(self._file_path(begin), self._vault):
            if event is None:
                self.counts["unreadable"] += 1
            else:
                yield event

    def _read_whole(self, begin: int) -> Iterator[dict]:
        """As `_read_file`, for what is going to be written anew: what cannot be decrypted must not get lost in that."""
        for event in _lines(self._file_path(begin), self._vault, strict=True):
            if event is not None:
                yield event

    def _files(self) -> list[int]:
        return _files(self.folder)

    def _file_path(self, begin: int) -> Path:
        return self.folder / f"{begin:012}.jsonl"

    # -- beginning ----------------------------------------------------------------------------------------------

    def _repair(self) -> None:
        """Cut off what follows the last whole line of the newest file; a stop in the middle of a write leaves that."""
        for part in self.folder.glob("*.part"):
            part.unlink(missing_ok=True)
        files = self._files()
        if not files:
            self.last = 0
            return
        path = self._file_path(files[-1])
        data = path.read_bytes()
        keep = len(data)
        while keep:
            start = data.rfind(b"\n", 0, keep - 1) + 1
            if _parsed(data[start:keep]) is not None:
                break
            keep = start
        if keep < len(data):
            log.warning("the last line of the event log was torn; %d bytes were cut off", len(data) - keep)
            self.counts["repaired"] += 1
            with open(path, "r+b") as file:
                file.truncate(keep)
                os.fsync(file.fileno())
        self.last = self._last_of(files)

    def _last_of(self, files: list[int]) -> int:
        whole = [event["id"] for event in _raw_lines(self._file_path(files[-1])) if event is not None]
        return whole[-1] if whole else files[-1] - 1

    def _remember(self) -> None:
        self._newest.clear()
        self._newest.extend(self.latest(None, self._newest.maxlen))

    def _refresh(self) -> None:
        """See what another process wrote."""
        files = self._files()
        if files:
            self.last = max(self.last, self._last_of(files))


def read_all(folder: Path, vault: Vault | None = None) -> list[dict]:
    """Every event in a log's folder, by id, without taking part in it; nothing where there is none.

    Raises
    ------
    StorageError
    """
    try:
        found = (event for begin in _files(folder) for event in _lines(folder / f"{begin:012}.jsonl", vault))
        return [event for event in found if event is not None]
    except OSError as error:
        raise _refused(error) from error


def reseal(folder: Path, old: Vault | None, new: Vault | None) -> int:
    """Write what is not as `new` has it anew: lines and thumbnails. Nobody may be writing. How many files were written.

    Raises
    ------
    StorageError, KeyMissing
    """
    written = 0

    def sealer(data: bytes) -> bool:
        return sealed_by(data) == (new.current if new else None)

    try:
        for begin in _files(folder):
            path = folder / f"{begin:012}.jsonl"
            raw = [event for event in _raw_lines(path) if event is not None]
            if not all(sealer(_sealed_part(event)) for event in raw):
                events = [event for event in _lines(path, old, strict=True) if event is not None]
                kept = path.stat()
                write_durably(path, b"".join(_line(event, new) for event in events))
                os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
                written += 1
            for picture in path.with_suffix("").glob("*.jpg"):
                data = picture.read_bytes()
                if picture.stem.isdigit() and not sealer(data):
                    purpose = _picture_purpose(int(picture.stem))
                    data = data if old is None else old.open_or_plain(data, purpose)
                    write_durably(picture, data if new is None else new.seal(data, purpose))
                    written += 1
    except OSError as error:
        raise _refused(error) from error
    return written


def sealed_parts(folder: Path) -> Iterator[bytes]:
    """What is encrypted of each line; nothing where it is not."""
    for begin in _files(folder):
        yield from (_sealed_part(event) for event in _raw_lines(folder / f"{begin:012}.jsonl") if event is not None)


def read_thumbnail(folder: Path, number: int, vault: Vault | None = None) -> bytes | None:
    """The JPEG of an event in a log's folder; None where there is none, or no longer."""
    begin = max((begin for begin in _files(folder) if begin <= number), default=None)
    if begin is None:
        return None
    try:
        data = (folder / f"{begin:012}" / f"{number}.jpg").read_bytes()
        return data if vault is None else vault.open_or_plain(data, _picture_purpose(number))
    except OSError:
        return None


def _files(folder: Path) -> list[int]:
    """First ids of all files, oldest first."""
    with suppress(FileNotFoundError):
        names = (name.removesuffix(".jsonl") for name in os.listdir(folder) if name.endswith(".jsonl"))
        return sorted(int(name) for name in names if name.isdigit())
    return []


def _lines(path: Path, vault: Vault | None = None, strict: bool = False) -> Iterator[dict | None]:
    """The events of a file; None for a line that is damaged, or not yet whole.

    Raises
    ------
    SealBroken, KeyMissing
        With `strict`: a line cannot be decrypted.
    """
    for event in _raw_lines(path):
        if event is None or "sealed" not in event:
            yield event
            continue
        try:
            if vault is None:
                raise KeyMissing("the events are encrypted, and there is no key")
            yield json.loads(vault.open(_sealed_part(event), _event_purpose(event["id"])))
        except RecognizerError:
            if strict:
                raise
            yield None


def _sealed_part(event: dict) -> bytes:
    """What is encrypted of a line; nothing where it is not encrypted."""
    return base64.b64decode(event.get("sealed", ""))


def _raw_lines(path: Path) -> Iterator[dict | None]:
    """The lines of a file as they are, perhaps encrypted."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return  # purged while we look
    yield from (_parsed(line) for line in data.splitlines(keepends=True))


def last_id(lines: bytes) -> int:
    """The id in the last of these lines that is whole; 0 where none is."""
    return next((event["id"] for line in reversed(lines.splitlines(keepends=True)) if (event := _parsed(line))), 0)


def _is_unknown(event: dict) -> bool:
    """Whether an event is about a person without a name."""
    return event.get("subject") is None and event.get("kind") in ("unknown", "left", "appeared")


def thumbnail_url(number: int) -> str:
    return f"/events/{number}/thumbnail.jpg"


def _event_purpose(number: int) -> str:
    return f"event {number}"


def _picture_purpose(number: int) -> str:
    return f"event picture {number}"


def _line(event: dict, vault: Vault | None = None) -> bytes:
    if vault is not None:
        sealed = vault.seal(json.dumps(event, ensure_ascii=False).encode(), _event_purpose(event["id"]))
        event = {"id": event["id"], "sealed": base64.b64encode(sealed).decode()}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _parsed(line: bytes) -> dict | None:
    """The event of a whole line; None for anything else."""
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("id"), int) else None


def seconds(time: str | None) -> float:
    """An event's time in seconds since the epoch; 0 for what is none."""
    try:
        return datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp()
    except (ValueError, AttributeError):
        return 0.0


def _refused(error: OSError) -> StorageError:
    return StorageError(f"the events cannot be kept: {(error.strerror or type(error).__name__).lower()}")
