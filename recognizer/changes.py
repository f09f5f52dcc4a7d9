"""The gate that everything passes which changes what is kept: one at a time, in whichever process, and none during a backup."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import Busy, StorageError
from .files import own_folder

_FILE = "changes.lock"
#: Seconds that a change waits for others, and for a backup's last look.
PATIENCE = 60.0
_LOOK_SECONDS = 0.005


class Changes:
    """The gate of an installation. May be passed again by a thread that is inside.

    Parameters
    ----------
    state : path
        The state folder.
    """

    def __init__(self, state: Path):
        from filelock import FileLock

        self._lock = threading.RLock()
        self._file = FileLock(Path(state) / _FILE, thread_local=False)
        with suppress(OSError):  # now, since a full disk may have no room for it later
            own_folder(Path(state))
            (Path(state) / _FILE).touch(exist_ok=True)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Nobody else changes anything inside.

        Raises
        ------
        Busy
            Somebody is inside for long.
        StorageError
        """
        from filelock import Timeout

        if not self._lock.acquire(timeout=PATIENCE):
            raise Busy("what is kept is being copied; try again shortly")
        try:
            try:
                self._file.acquire(timeout=PATIENCE, poll_interval=_LOOK_SECONDS)
            except Timeout:
                raise Busy("what is kept is being copied; try again shortly") from None
            except OSError as error:
                raise StorageError(f"the state folder cannot be used: {(error.strerror or '').lower()}") from error
            try:
                yield
            finally:
                self._file.release()
        finally:
            self._lock.release()
