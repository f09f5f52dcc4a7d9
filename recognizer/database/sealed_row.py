"""A few secret settings that nodes share, as one row of the database, encrypted where there is a key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recognizer.core.errors import StorageError
from recognizer.core.vault import Vault, unsealed
from recognizer.database.connection import KEPT, Database


class SealedRow:
    """See `SealedPlace` for what each method does; the database is asked each time.

    Parameters
    ----------
    database : Database
    key : str
        Of the row.
    what : str
        What it has, as the plural subject of error messages: ``the subscriptions``.
    purpose : str
        What the encrypted content is for; another purpose's is not accepted in its place.
    vault : Vault, optional
    """

    def __init__(self, database: Database, key: str, what: str, purpose: str, vault: Vault | None = None):
        self._database, self._key, self._what, self._purpose, self._vault = database, key, what, purpose, vault
        self._revision: int | None = None
        self._sure = False
        self.missing = True

    @property
    def name(self) -> str:
        return f"the row {self._key!r} of the table `kept`"

    def changed(self) -> bool:
        rows = self._database.rows("select revision from kept where key = %s", [self._key])
        revision = rows[0][0] if rows else None
        if self._sure and revision == self._revision:
            return False
        self._revision, self.missing, self._sure = revision, revision is None, True
        return True

    def forget(self) -> None:
        self._sure = False

    @contextmanager
    def held(self) -> Iterator[None]:
        try:
            with self._database.transaction() as connection:
                connection.execute("select pg_advisory_xact_lock(%s)", [KEPT])
                yield
        except BaseException:
            self.forget()  # what was written is not stored
            raise

    def read(self) -> bytes:
        rows = self._database.rows("select content from kept where key = %s", [self._key])
        if not rows:
            raise StorageError(f"{self._what} were removed from the database a moment ago; try again")
        return unsealed(bytes(rows[0][0]), self._vault, self._purpose, f"{self._what} are")

    def write(self, data: bytes) -> None:
        if self._vault is not None:
            data = self._vault.seal(data, self._purpose)
        with self._database.transaction() as connection:
            connection.execute(
                "insert into kept (key, content) values (%s, %s) "
                "on conflict (key) do update set content = excluded.content, revision = kept.revision + 1",
                (self._key, data),
            )
        self.forget()

    def now(self) -> float:
        """Seconds since 1970, by the database's clock: that of one node may differ from another's.

        Raises
        ------
        DatabaseAway
        """
        return float(self._database.rows("select extract(epoch from clock_timestamp())::float8")[0][0])
