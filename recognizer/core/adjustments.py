"""Settings that were changed while the server runs: a small JSON file in the state folder, so that they survive restarts.

Values of the environment and of the configuration file take precedence; `service` implements that.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path

from recognizer.core.disk import SeenFile, disk_errors
from recognizer.core.files import own_folder, write_durably

#: Maximum time in seconds until a change by another process is noticed.
NOTICED_SECONDS = 1.0

log = logging.getLogger("recognizer")


class Adjustments:
    """The changed settings. Safe to use from several threads; among several processes, the last write wins.

    Parameters
    ----------
    file : Path
        May be missing; the first change creates it.
    names : collection of str
        Settings that the file may contain, each a number; others are ignored.
    """

    def __init__(self, file: Path, names: Collection[str]):
        self._file, self._names = file, frozenset(names)
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}
        self._seen = SeenFile(file)
        self._refreshed = float("-inf")

    def get(self, name: str) -> float | None:
        """The changed value of a setting, or None."""
        if time.monotonic() - self._refreshed >= NOTICED_SECONDS:
            with self._lock:
                self._refresh()
        return self._values.get(name)

    def set(self, name: str, value: float | None) -> None:
        """Change a setting, durably; None removes the change.

        Raises
        ------
        StorageError
        """
        with self._lock:
            self._refresh()
            values = {key: each for key, each in self._values.items() if key != name}
            if value is not None:
                values[name] = value
            with disk_errors("the changed setting cannot be stored"):
                own_folder(self._file.parent)
                write_durably(self._file, json.dumps(values, indent=1).encode() + b"\n")
            self._seen.forget()  # another process may have replaced the file meanwhile
            self._values = values

    def _refresh(self) -> None:
        """Read the file if it has changed."""
        self._refreshed = time.monotonic()
        if not self._seen.changed():
            return
        if self._seen.missing:
            self._values = {}
            return
        try:
            stored = json.loads(self._file.read_text("utf-8"))
            self._values = {name: float(stored[name]) for name in self._names & stored.keys()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            reason = type(error).__name__
            log.error("%s cannot be read (%s): settings that were changed while running are ignored", self._file.name, reason)
