"""A lock between processes that whoever waits longest soon gets.

A file lock is polled: whoever releases it and takes it again at once keeps it from all others, who find it held at each
attempt. Here a second file lock is held while waiting for the first, so that who comes again has to wait behind them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Seconds between two attempts to take the lock.
POLL_SECONDS = 0.005


class FairLock:
    """A file lock. One thread at a time may use an instance; the thread that holds it may take it again.

    Parameters
    ----------
    path : path
        The lock's file. The file of those who wait is beside it, with ``.next`` appended. Both stay.
    """

    def __init__(self, path: Path):
        from filelock import FileLock

        self._file = FileLock(path, thread_local=False)
        self._next = FileLock(f"{path}.next", thread_local=False)

    def create_files(self) -> None:
        """Create the files now, because a full disk may have no room for them later. Failures are ignored."""
        for lock in (self._file, self._next):
            with suppress(OSError):
                Path(lock.lock_file).touch(exist_ok=True)

    @contextmanager
    def hold(self, patience: float) -> Iterator[None]:
        """Within the block, nobody else holds the lock, in any process.

        Parameters
        ----------
        patience : float
            Seconds to wait for others.

        Raises
        ------
        TimeoutError
            Others held it for so long.
        OSError
            The file cannot be used.
        """
        from filelock import Timeout

        try:
            self._acquire(time.monotonic() + patience)
        except Timeout:
            raise TimeoutError(f"{self._file.lock_file} is locked by another process") from None
        try:
            yield
        finally:
            self._file.release()

    def _acquire(self, until: float) -> None:
        if self._file.is_locked:  # by the caller: who waits for it must not keep the caller from taking it again
            self._file.acquire()
            return
        queued = self._queue(until)
        try:
            self._file.acquire(timeout=max(0.0, until - time.monotonic()), poll_interval=POLL_SECONDS)
        finally:
            if queued:
                self._next.release()

    def _queue(self, until: float) -> bool:
        """Wait until nobody waits before; False where that cannot be told, for example because the disk is full."""
        from filelock import Timeout

        try:
            self._next.acquire(timeout=max(0.0, until - time.monotonic()), poll_interval=POLL_SECONDS)
        except Timeout:
            raise
        except OSError:
            return False
        return True
