"""Changes of the cache that may fail: whatever it contains can be computed again from the photos."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from recognizer.core.errors import StorageError

log = logging.getLogger("recognizer.enrolment")


class CacheWriting:
    """Takes the locks for changes of the cache, and goes on without the cache where the disk refuses them.

    Parameters
    ----------
    hold_lock : callable
        Returns the cross-process lock for changes.
    lock : RLock
        See `entries.EntryTable`.
    """

    def __init__(self, hold_lock: Callable[[], AbstractContextManager[Any]], lock: AbstractContextManager[Any]):
        self._hold_lock, self._lock = hold_lock, lock
        self._refusal: str | None = None

    @property
    def was_refused(self) -> bool:
        """Whether a change could not be stored, and none has been stored since; see `recovered`."""
        return self._refusal is not None

    @contextmanager
    def holding_lock(self) -> Iterator[bool]:
        """The cross-process lock; False where the state folder cannot be written: then nothing there must be changed."""
        with ExitStack() as held:
            writable = True
            try:
                held.enter_context(self._hold_lock())
            except StorageError as error:
                writable = False
                self._note_refusal(error)
            yield writable

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Both locks; otherwise as `holding_lock`."""
        with self.holding_lock() as writable, self._lock:
            yield writable

    def attempt(self, change: Callable[[], object]) -> None:
        """Change the cache. If the disk refuses that, it is logged, and the next start makes up for it."""
        try:
            change()
        except StorageError as error:
            self._note_refusal(error)

    def recovered(self) -> None:
        """Call when the cache is complete again."""
        self._refusal = None

    def _note_refusal(self, error: StorageError) -> None:
        if error.message != self._refusal:
            log.warning("what was made of the photos is not stored, and is made again at the next start: %s", error.message)
        self._refusal = error.message
