"""Watches known_faces/ and syncs the enrolment when something changed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from recognizer.core.errors import Busy, RecognizerError, StorageError
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.folder_watching import FollowingThreads, RepeatedFailures, announced, place_of

log = logging.getLogger(__name__)

#: Seconds after which the folder is looked at even if nothing was announced.
REGULAR = 30.0
#: Seconds between two checks whether other processes enrolled or erased anybody.
OTHERS = 0.5
#: Seconds between two looks at a folder that is polled.
POLL = 1.0
#: Seconds after which notifications are asked for again that failed.
RETRY = 5.0
#: How many times as long as a look at everything takes, on the processor until the next one; with 50,000 people it takes 0.2 s.
REGULAR_SHARE, POLL_SHARE = 200, 20
#: Seconds between looks while files may still be being copied.
SOON = 0.25


class Watcher:
    """A thread that follows the folder until it is closed.

    Parameters
    ----------
    enrolment : Enrolment
    poll : bool
        Poll every second instead of waiting for notifications; for file systems that send none.
    hold_lock : callable
        Returns the lock of every write.
    """

    def __init__(
        self, enrolment: Enrolment, poll: bool = False, hold_lock: Callable[[], AbstractContextManager[Any]] = nullcontext
    ):
        self._enrolment, self._poll, self._hold_lock = enrolment, poll, hold_lock
        self._threads = FollowingThreads()
        self._stop = self._threads.stop
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._names: set[str] = set()  # in the folder, below which something changed
        self._whole = False  # whether everything is to be looked at
        self._threads.start("known-faces", self._follow)
        self._threads.start("known-faces-others", self._follow_others)
        if not poll:
            self._threads.start("known-faces-events", self._listen)

    def _listen(self) -> None:
        """Turn the system's notifications into `_changed`; while they are unavailable, poll the folder."""
        root, failures = self._enrolment.folder.root.absolute(), RepeatedFailures()
        while not self._stop.is_set():
            try:
                place, begun = place_of(root), False
                self._poll = False
                for changes in announced(root, self._stop):
                    mine = [path for path in changes if not self._is_ignored(path, root)]
                    if not begun:  # what changed before the watch began was not announced
                        self._look_at(None)
                    elif mine:
                        self._look_at(_names_below(root, mine))
                    begun = True
                    replaced = root in changes or place_of(root) != place
                    if replaced:  # another folder now, if maybe of the same number: nothing of it will be announced
                        break
            except (OSError, RuntimeError) as error:  # out of inotify watches, folder gone or unmounted, a name not in Unicode
                if (reason := failures.news(error)) is not None:
                    log.warning("changes in known_faces are not announced (%s): looking every second instead", reason)
                self._poll = True
                self._look_at(None)
                self._stop.wait(RETRY)

    def _look_at(self, changed: set[str] | None) -> None:
        """Let the folder be looked at soon: below these names, or everywhere."""
        with self._lock:
            if changed is None:
                self._whole = True
            else:
                self._names |= changed
        self._changed.set()

    def _due(self) -> tuple[bool, set[str]]:
        """Whether everything is to be looked at, and the names that changed since the last call."""
        with self._lock:
            whole, changed = self._whole, self._names
            self._whole, self._names = False, set()
            return whole, changed

    def _is_ignored(self, path: Path, root: Path) -> bool:
        """Whether a path is in a hidden folder, which holds nobody: groups have watchers of their own."""
        with suppress(ValueError):
            inside = path.relative_to(root).parts
            return len(inside) > 1 and inside[0].startswith(".")
        return False

    def _follow_others(self) -> None:
        """Take over what other processes enrol and erase, also while a long sync encodes photos."""
        while not self._stop.wait(OTHERS):
            try:
                if self._enrolment.others_changed():
                    with self._hold_lock():
                        self._enrolment.catch_up()
            except RecognizerError as error:
                log.debug("what other processes changed is not known yet: %s", error.message)
            except Exception:
                log.exception("taking over what other processes changed failed")

    def _follow(self) -> None:
        wait, regular = REGULAR, time.monotonic() + REGULAR
        while not self._stop.is_set():
            expiry = self._enrolment.next_expiry()  # whoever's it is must not be matched from then on
            if expiry is not None:
                wait = min(wait, max(0.05, expiry - time.time()))
            self._changed.wait(min(wait, max(POLL, POLL_SHARE * self._enrolment.look_seconds)) if self._poll else wait)
            if self._stop.is_set():
                return
            self._changed.clear()
            whole, changed = self._due()
            whole = whole or self._poll or time.monotonic() >= regular
            try:  # besides what changed, a partial look is at what the last one left
                more = self._enrolment.sync(settle=True, changed=None if whole else changed)
                if whole:
                    regular = time.monotonic() + max(REGULAR, REGULAR_SHARE * self._enrolment.look_seconds)
                wait = SOON if more else max(0.0, regular - time.monotonic())
            except Busy:  # a backup is being made
                wait = 1.0
            except StorageError as error:
                log.warning("known_faces could not be read: %s", error.message)
                wait = 1.0
            except Exception:
                log.exception("looking at known_faces failed")
                wait = 1.0

    @property
    def alive(self) -> bool:
        """Whether the folder is being watched."""
        return self._threads.alive

    def close(self) -> None:
        """Stop watching, and interrupt a sync that runs. Returns when the threads have ended; see `FollowingThreads.join`."""
        self._stop.set()
        self._changed.set()
        self._enrolment.interrupt()
        self._threads.join()


def _names_below(root: Path, paths: Iterable[Path]) -> set[str] | None:
    """The names in `root` that these paths begin with; None where that cannot be said."""
    found = set()
    for path in paths:
        try:
            parts = path.relative_to(root).parts
        except ValueError:  # the system knows the folder by another path
            return None
        if not parts:
            return None
        found.add(parts[0])
    return found
