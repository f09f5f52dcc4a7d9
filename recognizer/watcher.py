"""Watches known_faces/ and has the enrolment look at it when something changed."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from .enrolment import Enrolment
from .errors import StorageError

log = logging.getLogger(__name__)

#: Seconds after which the folder is looked at even if nothing was announced.
REGULAR = 30.0
#: Seconds between looks while files may still be being copied.
SOON = 0.25


class Watcher:
    """A thread that follows the folder until it is closed.

    Parameters
    ----------
    enrolment : Enrolment
    poll : bool
        Look every second instead of waiting to be told; for file systems that announce nothing.
    """

    def __init__(self, enrolment: Enrolment, poll: bool = False):
        self._enrolment, self._poll = enrolment, poll
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._threads = [threading.Thread(target=self._follow, name="known-faces", daemon=True)]
        if not poll:
            self._threads.append(threading.Thread(target=self._listen, name="known-faces-events", daemon=True))
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        """Turn the system's announcements into `_changed`; while they cannot be had, have the folder polled."""
        import watchfiles

        root = self._enrolment.folder.root.absolute()
        while not self._stop.is_set():
            try:
                place, begun = _place(root), False
                self._poll = False
                for changes in watchfiles.watch(
                    root, watch_filter=None, debounce=100, step=20, rust_timeout=1000,
                    yield_on_timeout=True, stop_event=self._stop, raise_interrupt=False, ignore_permission_denied=True,
                ):  # fmt: skip
                    if changes or not begun:  # what changed before the watch began was not announced
                        self._changed.set()
                    begun = True
                    replaced = any(Path(path) == root for _, path in changes) or _place(root) != place
                    if replaced:  # another folder now, if maybe of the same number: nothing of it will be announced
                        break
            except (OSError, RuntimeError) as error:  # out of inotify watches, folder gone or unmounted
                log.warning("changes in known_faces are not announced (%s): looking every second instead", error)
                self._poll = True
                self._changed.set()
                self._stop.wait(5)

    def _follow(self) -> None:
        wait = REGULAR
        while not self._stop.is_set():
            expiry = self._enrolment.next_expiry()  # whoever's it is must not be matched from then on
            if expiry is not None:
                wait = min(wait, max(0.05, expiry - time.time()))
            self._changed.wait(1.0 if self._poll and wait == REGULAR else wait)
            if self._stop.is_set():
                return
            self._changed.clear()
            try:
                wait = SOON if self._enrolment.sync(settle=True) else REGULAR
            except StorageError as error:
                log.warning("known_faces could not be read: %s", error.message)
                wait = 1.0
            except Exception:
                log.exception("looking at known_faces failed")
                wait = 1.0

    @property
    def alive(self) -> bool:
        """Whether the folder is followed."""
        return self._threads[0].is_alive()

    def close(self) -> None:
        """Stop watching; returns when the threads have ended."""
        self._stop.set()
        self._changed.set()
        for thread in self._threads:
            thread.join()


def _place(root: Path) -> tuple[int, int]:
    """What tells a folder from another one of the same name."""
    status = root.stat()
    return status.st_dev, status.st_ino
