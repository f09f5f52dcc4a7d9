"""The names of the folders in known_faces/, read once and kept: which subject each belongs to, and which names clash.

With 50,000 people, reading and normalising all names takes seconds, and every change of somebody asks for it several times. The
folder's modification time tells whether a name came or went; then the names are listed again, which takes 30 ms, and only new
ones are normalised.

What this process itself changes is taken over without listing the names, if nothing else has changed them since they were last
known. Somebody who changes the folder by hand at the very same moment may be overlooked by that, so the names are listed once
more soon afterwards: by whoever follows the folder, where somebody does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from recognizer.core import names
from recognizer.core.errors import InvalidName
from recognizer.core.files import PART

#: Begins the names of what is being deleted, and of folders that get their own name once they are complete.
TRASH = ".deleted-"
#: Two changes within this time may leave the same modification time: where clocks count finely, and where they count seconds.
_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_000_000_000
#: Names are listed once more after own changes when this many times as long has passed as listing them takes: for those who
#: follow the folder, and for those who are being waited for.
_VERIFY_AFTER, _VERIFY_AT_LATEST = 20, 40
#: For so many milliseconds an own change is waited for, at most, until a later one is sure to leave another modification time.
_SETTLE_MS = 12
#: Linux takes modification times from this clock, which goes in steps of some milliseconds.
_COARSE_CLOCK = 5

_Mark = tuple[int, int, int]


class _Begun(NamedTuple):
    """A listing that was begun: the folder's mark before, when that was by two clocks, and how often the index had changed."""

    mark: _Mark
    at: int
    since: int
    changes: int


class FolderIndex:
    """The folders below `root` by name, subject and comparison key. Thread-safe.

    Files, symbolic links, names that begin with a dot and names that no subject may have are not in it.
    """

    def __init__(self, root: Path):
        self._root = root
        self._lock = threading.Lock()
        self._mark: _Mark | None = None  # of the folder that the index agrees with
        self._settles_at = 0  # when the mark can have no second meaning any more, so that the names must be listed again; or 0
        self._is_own = False  # whether that is an own change which goes on, so that no other process changes anything
        self._changes = 0
        self._verify_from = self._verify_at = 0  # see `_VERIFY_AFTER`; 0 while nothing is to be verified
        self._listing_ns = 0  # how long listing the names took
        self._subjects: dict[str, tuple[str, str] | None] = {}  # folder -> subject and key; None for names that are not allowed
        self._by_key: dict[str, list[str]] = {}  # key -> folders, the one that counts first
        self._left_over: set[str] = set()

    # -- reading the folder -------------------------------------------------------------------------------------

    def refresh(self, *, verify: bool = False) -> None:
        """List the names again if they may have changed.

        Parameters
        ----------
        verify : bool
            List them also if only something that happened at the moment of an own change may have been overlooked; but not so
            often that this costs more than a twentieth of a processor.

        Raises
        ------
        OSError
        """
        with self._lock:
            self._refresh(verify)

    def _refresh(self, verify: bool = False) -> None:
        begun = self._begin()
        if begun.mark == self._mark and not self._is_due(begun.at, verify):
            return
        there, left_over = set(), set()
        with os.scandir(self._root) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    if is_left_over(entry.name):
                        left_over.add(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    there.add(entry.name)
        self._take_all(begun, there, left_over)

    def _is_due(self, now: int, verify: bool) -> bool:
        if self._settles_at and not self._is_own:
            return now >= self._settles_at
        at = self._verify_from if verify else self._verify_at
        return bool(at) and time.monotonic_ns() >= at

    def begin(self) -> _Begun:
        """To be called by who is about to list the names; see `take`.

        Raises
        ------
        OSError
        """
        with self._lock:
            return self._begin()

    def _begin(self) -> _Begun:
        return _Begun(self._mark_now(), time.time_ns(), time.monotonic_ns(), self._changes)

    def take(self, begun: _Begun, listed: Iterable[tuple[str, bool]]) -> None:
        """Take over what the caller has listed: names, and whether each is a folder. What was listed before an own change, or
        before somebody else listed the names, is not.

        Raises
        ------
        OSError
        """
        with self._lock:
            if self._changes != begun.changes:
                self._refresh()
                return
            there, left_over = set(), set()
            for name, is_folder in listed:
                if name.startswith("."):
                    if is_left_over(name):
                        left_over.add(name)
                elif is_folder:
                    there.add(name)
            self._take_all(begun, there, left_over)

    def _mark_now(self) -> _Mark:
        status = os.stat(self._root)
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def _take_all(self, begun: _Begun, there: set[str], left_over: set[str]) -> None:
        self._listing_ns = time.monotonic_ns() - begun.since
        known = self._subjects.keys()
        self._apply(known - there, there - known)
        self._left_over = left_over
        self._changes += 1
        settles_at = begun.mark[2] + _tick(begun.mark)
        # a change in the same tick as the last one leaves the same mark: list once more after it
        self._mark, self._settles_at = begun.mark, settles_at if settles_at > begun.at else 0
        self._is_own, self._verify_from, self._verify_at = False, 0, 0

    def _apply(self, gone: Collection[str], new: Iterable[str]) -> None:
        for name in gone:
            parts = self._subjects.pop(name, None)
            if parts is not None:
                same = self._by_key[parts[1]]
                same.remove(name)
                if not same:
                    del self._by_key[parts[1]]
        for name in new:
            if name in self._subjects:
                continue
            self._subjects[name] = parts = _parts(name)
            if parts is not None:
                same = self._by_key.setdefault(parts[1], [])
                same.append(name)
                same.sort(key=self._order)

    # -- own changes --------------------------------------------------------------------------------------------

    @contextmanager
    def own_change(self, *, gone: Collection[str] = (), new: Collection[str] = ()) -> Iterator[None]:
        """The caller, who holds the lock of every write, changes the folder within the block, by as few calls as possible.

        Whoever releases the lock after own changes calls `settle` before. What the disk refuses to the index raises nothing,
        since the change is made: the next call lists the names.

        Parameters
        ----------
        gone, new : collection of str
            Names of folders, and of what `left_over` has, that are not there any more, and that are there now.
        """
        before = None
        with self._lock, suppress(OSError):
            self._refresh()
            before = self._mark if self._is_own or not self._settles_at else None
        try:
            yield
        except BaseException:
            self.forget()
            raise
        try:
            after = self._mark_now()
        except OSError:
            self.forget()
            return
        with self._lock:
            if before is None or before != self._mark or before[:2] != after[:2]:
                self._mark = None  # it is not known what else has changed
                return
            self._apply(gone, [name for name in new if not name.startswith(".")])
            self._left_over.difference_update(gone)
            self._left_over.update(name for name in new if is_left_over(name))
            self._changes += 1
            self._mark, self._settles_at, self._is_own = after, after[2] + _tick(after), True
            now = time.monotonic_ns()
            self._verify_from = self._verify_from or now + _VERIFY_AFTER * self._listing_ns
            self._verify_at = self._verify_at or now + max(_TICK_NS, _VERIFY_AT_LATEST * self._listing_ns)

    def settle(self) -> None:
        """Wait, for some milliseconds at most, until any later change of the folder leaves another mark than the own one."""
        with self._lock:
            mark, waits = self._mark, self._is_own
        if not waits or mark is None:
            return
        fine = _is_fine(mark)
        for _ in range(_SETTLE_MS if fine else 0):
            if _clock_of_files() > mark[2]:
                break
            time.sleep(0.001)
        with self._lock:
            if self._mark == mark and self._is_own:
                self._is_own, self._settles_at = False, 0
                if not fine or _clock_of_files() <= mark[2]:
                    self._mark = None

    def forget(self) -> None:
        """The next call lists the names: nothing is known of what changed."""
        with self._lock:
            self._mark, self._is_own = None, False
            self._changes += 1

    def agrees(self, name: str, is_folder: bool) -> bool:
        """Whether the index has a name if, and only if, it is that of a folder."""
        return name.startswith(".") or (name in self._subjects) == is_folder

    # -- what is known ------------------------------------------------------------------------------------------

    @property
    def left_over(self) -> list[str]:
        """What is in the folder itself of writes and deletions that were interrupted, or are going on."""
        with self._lock:
            return sorted(self._left_over)

    @property
    def folders(self) -> list[str]:
        """All folders, also those whose names are not allowed."""
        return list(self._subjects)

    def _order(self, name: str) -> tuple[bool, str]:
        """Folders whose names are written as `names.normalise` has them first: of two for one subject, that one counts."""
        parts = self._subjects[name]
        return parts is None or parts[0] != name, name

    def parts(self, folder: str) -> tuple[str, str]:
        """Subject and comparison key of a folder, also of one that is not in the index.

        Raises
        ------
        InvalidName
        """
        known = self._subjects.get(folder)
        if known is None:
            subject = names.normalise(folder)
            return subject, names.comparison_key(subject)
        return known

    def first(self, key: str) -> str | None:
        """Of the folders with this comparison key, the one that counts."""
        same = self._by_key.get(key)
        return same[0] if same else None

    def alike(self, key: str) -> list[str]:
        """All folders with this comparison key, the one that counts first."""
        return list(self._by_key.get(key, ()))

    def folder_of(self, subject: str) -> str | None:
        """The folder of a subject, however its name is written on the disk."""
        for name in self.alike(names.comparison_key(subject)):
            parts = self._subjects.get(name)
            if parts is not None and parts[0] == subject:
                return name
        return None

    def clash(self, subject: str) -> str | None:
        """Another subject's name that some file systems cannot tell from this one."""
        for name in self.alike(names.comparison_key(subject)):
            parts = self._subjects.get(name)
            if parts is not None and parts[0] != subject:
                return parts[0]
        return None

    def counting(self) -> Iterator[tuple[str, str]]:
        """The same without the folders whose names some systems cannot tell from another one that counts."""
        for same in list(self._by_key.values()):
            parts = self._subjects.get(same[0])
            if parts is not None:
                yield same[0], parts[0]

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Folder and subject of each, in no order."""
        for name, parts in list(self._subjects.items()):
            if parts is not None:
                yield name, parts[0]


def _parts(name: str) -> tuple[str, str] | None:
    try:
        subject = names.normalise(name)
    except InvalidName:
        return None
    return (name if subject == name else subject), names.comparison_key(subject)


def is_left_over(name: str) -> bool:
    """Whether an interrupted write or deletion has left what has this name."""
    return name.startswith((TRASH, PART))


def _tick(mark: _Mark) -> int:
    return _TICK_NS if mark[2] % 1_000_000_000 else _COARSE_TICK_NS


def _is_fine(mark: _Mark) -> bool:
    """Whether modification times are as fine as the clock that they come from: some file systems round them."""
    return mark[2] % 10_000 != 0


def _realtime() -> int:
    return time.clock_gettime_ns(_COARSE_CLOCK)


#: The clock that modification times come from, in nanoseconds.
_clock_of_files: Callable[[], int] = _realtime if sys.platform == "linux" else time.time_ns
