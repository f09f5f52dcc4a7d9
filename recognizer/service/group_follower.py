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
from recognizer.enrolment.watcher import CLOSE_SECONDS, OTHERS, REGULAR, SOON
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
    gate : callable
        Returns the lock of every write.
    """

    def __init__(self, groups: PeopleGroups, poll: bool, gate: Callable[[], AbstractContextManager[Any]]):
        self._groups, self._poll, self._gate = groups, poll, gate
        self._stop, self._woken = threading.Event(), threading.Event()
        self._changed: set[str] = set()
        self._due: dict[str, float] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._follow, name="groups", daemon=True),
            threading.Thread(target=self._follow_others, name="groups-others", daemon=True),
            threading.Thread(target=self._listen, name="groups-events", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether the folders are followed."""
        return self._threads[0].is_alive()

    def close(self) -> None:
        """Stop following, and interrupt what runs. Returns when the threads have ended, or after `CLOSE_SECONDS`."""
        self._stop.set()
        self._woken.set()
        self._groups.interrupt()
        until = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # -- what changed -------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Turn the system's notifications into names of groups; while there are none, `_follow` looks every second."""
        import watchfiles

        assert self._groups.root is not None, "there are groups to follow"
        root = self._groups.root.absolute()
        while not self._stop.is_set():
            if self._poll or not root.is_dir():
                self._stop.wait(POLL)
                self._wake(None)
                continue
            try:
                place, begun = _place(root), False
                for changes in watchfiles.watch(
                    root,
                    watch_filter=None,
                    debounce=100,
                    step=20,
                    rust_timeout=1000,
                    yield_on_timeout=True,
                    stop_event=self._stop,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                ):
                    if not begun:  # what changed before the watch began was not announced
                        self._wake(None)
                    elif changes:
                        self._wake({_group_of(Path(path), root) for _, path in changes})
                    begun = True
                    if _place(root) != place:  # another folder now: nothing of it will be announced
                        break
            except (OSError, RuntimeError) as error:  # out of inotify watches, folder gone or unmounted
                log.warning("changes in the folders of groups are not announced (%s): looking again shortly", error)
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
                        with self._gate():
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


def _place(root: Path) -> tuple[int, int]:
    """What tells a folder from another one of the same name."""
    status = root.stat()
    return status.st_dev, status.st_ino
