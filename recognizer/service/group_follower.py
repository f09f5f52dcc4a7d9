"""Follows the folders of all groups: what is put there is enrolled, and groups come and go with their folders."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from recognizer.core.errors import Busy, RecognizerError, StorageError
from recognizer.enrolment.folder_watching import FollowingThreads, RepeatedFailures, announced, place_of
from recognizer.enrolment.watcher import OTHERS, REGULAR, SOON
from recognizer.service.groups import PeopleGroup, PeopleGroups

log = logging.getLogger("recognizer.groups")

#: Seconds between two looks at all folders where changes are not announced.
POLL = 1.0


class GroupFollower:
    """Threads that follow all groups until they are closed; `watcher.Watcher` does so for the default group.

    Parameters
    ----------
    groups : PeopleGroups
    poll : bool
        Look every second instead of waiting for notifications.
    hold_lock : callable
        Returns the lock of every write.
    """

    def __init__(self, groups: PeopleGroups, poll: bool, hold_lock: Callable[[], AbstractContextManager[Any]]):
        self._groups, self._poll, self._hold_lock = groups, poll, hold_lock
        self._threads = FollowingThreads()
        self._stop, self._woken = self._threads.stop, threading.Event()
        self._changed: set[str] = set()
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()
        self._threads.start("groups", self._follow)
        self._threads.start("groups-others", self._follow_others)
        self._threads.start("groups-events", self._listen)

    @property
    def alive(self) -> bool:
        """Whether the folders are followed."""
        return self._threads.alive

    def close(self) -> None:
        """Stop following, and interrupt what runs. Returns when the threads have ended; see `FollowingThreads.join`."""
        self._stop.set()
        self._woken.set()
        self._groups.interrupt()
        self._threads.join()

    # -- what changed -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Turn the system's notifications into names of groups; while there are none, `_follow` looks every second."""
        assert self._groups.root is not None, "there are groups to follow"
        root, failures = self._groups.root.absolute(), RepeatedFailures()
        while not self._stop.is_set():
            if self._poll or not root.is_dir():
                self._stop.wait(POLL)
                self._wake(None)
                continue
            try:
                place, begun = place_of(root), False
                for changes in announced(root, self._stop):
                    if not begun:  # what changed before the watch began was not announced
                        self._wake(None)
                    elif changes:
                        self._wake({_group_of(path, root) for path in changes})
                    begun = True
                    if place_of(root) != place:  # another folder now: nothing of it will be announced
                        break
            except (OSError, RuntimeError) as error:  # out of inotify watches, folder gone or unmounted, a name not in Unicode
                if (reason := failures.news(error)) is not None:
                    log.warning("changes in the folders of groups are not announced (%s): looking again shortly", reason)
                self._stop.wait(5)
                self._wake(None)

    def _wake(self, changed: set[str | None] | None) -> None:
        """Note which groups changed; None for all that there are."""
        with self._lock:
            if changed is None or None in changed:
                self._due.clear()
            self._changed |= {each for each in changed or () if each}
        self._woken.set()

    # -- taking it up -------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._stop.is_set():
            self._woken.wait(self._pause())
            self._woken.clear()
            if self._stop.is_set():
                return
            try:
                self._groups.follow()
                for group in self._groups.opened():
                    if self._stop.is_set():
                        return
                    if self._is_due(group):
                        self._sync(group)
            except RecognizerError as error:
                log.warning("the groups cannot be followed for now: %s", error.message)
            except Exception:
                log.exception("looking at the groups failed")

    def _pause(self) -> float:
        """Seconds until somebody's consent expires, a file is complete, or all folders are looked at again."""
        now = time.monotonic()
        with self._lock:
            due = [at - now for at in self._due.values()]
        expiries = [at - time.time() for each in self._groups.opened() if (at := each.enrolment.next_expiry()) is not None]
        return max(0.05, min([REGULAR, *due, *expiries]))

    def _is_due(self, group: PeopleGroup) -> bool:
        expiry = group.enrolment.next_expiry()
        with self._lock:
            changed = group.name in self._changed
            self._changed.discard(group.name)
            due = self._due.get(group.name, 0.0) <= time.monotonic()
        return changed or due or (expiry is not None and expiry <= time.time() + 0.05)

    def _sync(self, group: PeopleGroup) -> None:
        try:
            wait = SOON if group.enrolment.sync(settle=True) else REGULAR
        except Busy:  # a backup is being made, or the group is closed
            wait = 1.0
        except StorageError as error:
            log.warning("the folder of a group could not be read: %s", error.message)
            wait = 1.0
        with self._lock:
            self._due[group.name] = time.monotonic() + wait

    def _follow_others(self) -> None:
        """Take over what other processes enrol and erase, also while a long sync encodes photos."""
        while not self._stop.wait(OTHERS):
            for group in self._groups.opened():
                try:
                    if group.enrolment.others_changed():
                        with self._hold_lock():
                            group.enrolment.catch_up()
                except RecognizerError as error:
                    log.debug("what other processes changed is not known yet: %s", error.message)
                except Exception:
                    log.exception("taking over what other processes changed failed")


def _group_of(path: Path, root: Path) -> str | None:
    """The group whose folder a path is in; None where that cannot be said."""
    with suppress(ValueError, IndexError):
        return path.relative_to(root).parts[0]
    return None
