"""The keys that may sign, in the database that nodes share, encrypted where there is a key."""

from __future__ import annotations

import threading
from collections.abc import Callable

from recognizer.access.signing import SigningSecrets
from recognizer.core.errors import DatabaseAway, KeyMissing
from recognizer.core.vault import Vault, is_sealed
from recognizer.database.connection import Database

_PURPOSE = "shared signing secret "


class SigningTable(SigningSecrets):
    """The keys that may sign; see `SigningSecrets` for what each method does. Any thread may call.

    A node that has read one goes on with it while the database is away; whether it was revoked is known by the keys.

    Parameters
    ----------
    database : Database
    vault : callable
        Returns the vault that encrypts them, or None.
    """

    def __init__(self, database: Database, vault: Callable[[], Vault | None]):
        self._database, self._vault = database, vault
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, id: str) -> str | None:
        try:
            rows = self._database.rows("select secret from access_signing where id = %s", [id])
        except DatabaseAway:
            with self._lock:
                if id in self._known:
                    return self._known[id]
            raise
        found = self._opened(id, rows[0][0]) if rows else None
        with self._lock:
            if found is None:
                self._known.pop(id, None)
            else:
                self._known[id] = found
        return found

    def _opened(self, id: str, data: bytes) -> str:
        vault = self._vault()
        if vault is None and is_sealed(data):
            raise KeyMissing("this key is encrypted, and there is no key to read it")
        return (data if vault is None else vault.open(data, _PURPOSE + id)).decode()

    def add(self, id: str, key: str) -> None:
        data, vault = key.encode(), self._vault()
        with self._database.transaction() as connection:
            connection.execute(
                "insert into access_signing (id, secret) values (%s, %s) "
                "on conflict (id) do update set secret = excluded.secret",
                (id, data if vault is None else vault.seal(data, _PURPOSE + id)),
            )

    def remove(self, id: str) -> None:
        with self._database.transaction() as connection:
            connection.execute("delete from access_signing where id = %s", [id])
        with self._lock:
            self._known.pop(id, None)
