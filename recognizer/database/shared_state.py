"""What nodes share besides people: the lock of every write, and settings that were changed while they run."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from recognizer.core.adjustments import Adjustments
from recognizer.core.errors import DatabaseAway
from recognizer.core.lock import WriteLock
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy


class DatabaseLock(WriteLock):
    """The write lock of all nodes: one write at a time. Reentrant.

    Parameters
    ----------
    database : Database
    """

    def __init__(self, database: Database):
        self._database = database

    @contextmanager
    def hold(self, patience: float | None = None) -> Iterator[None]:
        """Within the block, no other thread and no other node writes.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for others.

        Raises
        ------
        DatabaseAway, Busy, StorageError
        """
        with self._database.hold(patience):
            yield


class SharedAdjustments(Adjustments):
    """The changed settings of all nodes; while the database is away, those that were last read.

    Parameters
    ----------
    database : Database
    names : collection of str
        Settings that may be changed.
    copy : LocalCopy, optional
        Where what was read last is stored, for a start while the database is away.
    """

    def __init__(self, database: Database, names: Collection[str], copy: LocalCopy | None = None):
        self._database, self._names, self._copy = database, frozenset(names), copy
        self._read = False
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}
        self._refreshed = float("-inf")

    def set(self, name: str, value: float | None) -> None:
        with self._database.transaction() as connection:
            if value is None:
                connection.execute("delete from setting where name = %s", [name])
            else:
                connection.execute(
                    "insert into setting (name, value) values (%s, %s) on conflict (name) do update set value = excluded.value",
                    (name, value),
                )
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        try:
            rows = self._database.rows("select name, value from setting")
        except DatabaseAway:
            if not self._read and self._copy is not None:
                rows, self._copy = self._copy.read() or [], None
                self._values = {name: value for name, value in rows if name in self._names}
            return
        self._read = True
        if self._copy is not None:
            self._copy.write([list(row) for row in rows])
        self._values = {name: value for name, value in rows if name in self._names}
