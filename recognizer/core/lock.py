"""The lock that every write holds: one write at a time, in any process, and none while a backup takes its last files."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from recognizer.core.disk import storage_error
from recognizer.core.errors import Busy
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder

_FILE = "changes.lock"
#: Seconds that a write waits for other writes and for the last step of a backup.
PATIENCE = 60.0


class WriteLock:
    """The write lock of an installation. Reentrant: a thread that holds it may take it again.

    Parameters
    ----------
    state : path
        The state folder.
    """

    def __init__(self, state: Path):
        self._lock = threading.RLock()
        self._file = FairLock(Path(state) / _FILE)
        with suppress(OSError):
            own_folder(Path(state))
            self._file.create_files()

    @contextmanager
    def hold(self, patience: float | None = None) -> Iterator[None]:
        """Within the block, no other thread and no other process writes.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for others; `PATIENCE` by default.

        Raises
        ------
        Busy
            The lock was held by others for so long.
        StorageError
        """
        until = time.monotonic() + (PATIENCE if patience is None else patience)
        if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Busy("another change or a backup is in progress; try again shortly")
        try:
            with ExitStack() as held:
                try:
                    held.enter_context(self._file.hold(max(0.0, until - time.monotonic())))
                except TimeoutError:
                    raise Busy("another change or a backup is in progress; try again shortly") from None
                except OSError as error:
                    raise storage_error("the state folder cannot be used", error) from error
                yield
        finally:
            self._lock.release()
