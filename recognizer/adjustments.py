"""Settings that were changed while the server runs: one small JSON file in the state folder, which outlives restarts.

What the environment or the configuration file says wins over it; `service` sees to that.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Collection
from pathlib import Path

from .errors import StorageError
from .files import own_folder, write_durably

#: Seconds after which a change that another process made is noticed.
NOTICED_SECONDS = 1.0

log = logging.getLogger("recognizer")


class Adjustments:
    """The file, and what of it is in memory. Safe from several threads; of several processes, the last one that writes wins.

    Parameters
    ----------
    file : Path
        It need not exist; the first change makes it.
    names : collection of str
        Settings that may stand in it, each a number; others are ignored.
    """

    def __init__(self, file: Path, names: Collection[str]):
        self._file, self._names = file, frozenset(names)
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}
        self._stamp: tuple | None = None
        self._looked = float("-inf")

    def get(self, name: str) -> float | None:
        """What was set, or None."""
        if time.monotonic() - self._looked >= NOTICED_SECONDS:
            with self._lock:
                self._look()
        return self._values.get(name)

    def set(self, name: str, value: float | None) -> None:
        """Change one; None forgets it. When this returns, it is on the disk.

        Raises
        ------
        StorageError
        """
        with self._lock:
            self._look()
            values = {**self._values, name: value}
            values = {key: each for key, each in values.items() if each is not None}
            try:
                self._write(json.dumps(values, indent=1).encode() + b"\n")
            except OSError as error:
                reason = (error.strerror or type(error).__name__).lower()
                raise StorageError(f"the changed setting cannot be kept: {reason}") from None
            self._values = values

    def _look(self) -> None:
        """Read the file if it is another than before."""
        self._looked = time.monotonic()
        try:
            status = os.stat(self._file)
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is None:
            self._values = {}
            return
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            self._values = {name: float(kept[name]) for name in self._names & kept.keys()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            what = type(error).__name__
            log.error("%s cannot be read (%s): what was changed while running does not count", self._file.name, what)

    def _write(self, data: bytes) -> None:
        own_folder(self._file.parent)
        write_durably(self._file, data)
        status = os.stat(self._file)
        self._stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
