"""Keys and sessions in the database that nodes share, behind the interface of the file."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from recognizer.access.access_file import NOTICED_SECONDS, AccessFile, ApiKey, CookieSession, Held
from recognizer.core.errors import DatabaseAway
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy

if TYPE_CHECKING:
    from psycopg import Connection


_KEYS = "select id, name, role, hash, made, expires, revoked from access_key"


class AccessTables(AccessFile):
    """Reads and writes the tables. Owns what of them is in memory; safe from several threads.

    A node that has read the keys goes on with them while the database is away: searches need no database. A key or session
    that it does not know cannot be checked then, and a revocation is noticed once the database is back.

    Parameters
    ----------
    database : Database
    copy : LocalCopy, optional
        Where what was read last is stored, for a start while the database is away.
    """

    def __init__(self, database: Database, copy: LocalCopy | None = None):
        self._database, self._copy = database, copy
        self._lock = threading.Lock()
        self._held: Held = Held()
        self._version: int | None = None
        self._looked = float("-inf")
        self.had_keys = False

    def held(self, fresh: bool = False) -> Held:
        """What the tables hold, as of `NOTICED_SECONDS` ago; `fresh` looks at them now.

        Raises
        ------
        DatabaseAway
            They were never read, or `fresh` is wanted.
        StorageError
        """
        if not fresh and time.monotonic() - self._looked < NOTICED_SECONDS:
            return self._held
        with self._lock:
            if fresh or time.monotonic() - self._looked >= NOTICED_SECONDS:
                try:
                    self._refresh()
                except DatabaseAway:
                    if fresh or (self._version is None and not self._from_copy()):
                        raise
                self._looked = time.monotonic()
            return self._held

    def _refresh(self) -> None:
        version = self._database.rows("select number from access_version")[0][0]
        if version == self._version:
            self._store()
            return
        keys = [ApiKey(*row) for row in self._database.rows(_KEYS)]
        sessions = [CookieSession(*row) for row in self._database.rows("select token, key, proof, expires from access_session")]
        self._held = Held({key.id: key for key in keys}, {session.token: session for session in sessions})
        self._version = version
        self.had_keys = self.had_keys or bool(keys)
        self._store()

    def _store(self) -> None:
        if self._copy is not None:
            keys, sessions = self._held.keys.values(), self._held.sessions.values()
            self._copy.write({"keys": [asdict(each) for each in keys], "sessions": [asdict(each) for each in sessions]})

    def _from_copy(self) -> bool:
        """Use what was read before this process began; whether there is anything."""
        if self._held.keys:
            return True
        found = None if self._copy is None else self._copy.read()
        if not found or not found["keys"]:
            return False
        keys = [ApiKey(**each) for each in found["keys"]]
        sessions = [CookieSession(**each) for each in found["sessions"]]
        self._held = Held({key.id: key for key in keys}, {session.token: session for session in sessions})
        self.had_keys = True
        return True

    @contextlib.contextmanager
    def _change(self) -> Iterator[Connection[Any]]:
        with self._database.transaction() as connection:
            connection.execute("update access_version set number = number + 1")
            yield connection
        self.held(fresh=True)

    def add_key(self, key: ApiKey) -> None:
        with self._change() as connection:
            connection.execute(
                "insert into access_key (id, name, role, hash, made, expires) values (%s, %s, %s, %s, %s, %s)",
                (key.id, key.name, key.role, key.hash, key.made, key.expires),
            )

    def revoke_key(self, id: str, revoked: float) -> None:
        with self._change() as connection:
            connection.execute("update access_key set revoked = %s where id = %s and revoked is null", (revoked, id))
            connection.execute("delete from access_session where key = %s", [id])

    def add_session(self, session: CookieSession, now: float, most: int) -> None:
        with self._change() as connection:
            connection.execute("delete from access_session where expires <= %s", [now])
            connection.execute(
                "delete from access_session where token in "
                "(select token from access_session where key = %s order by expires desc offset %s)",
                (session.key, most - 1),
            )
            connection.execute(
                "insert into access_session (token, key, proof, expires) values (%s, %s, %s, %s)",
                (session.token, session.key, session.proof, session.expires),
            )

    def end_session(self, token: str) -> None:
        with self._change() as connection:
            connection.execute("delete from access_session where token = %s", [token])
