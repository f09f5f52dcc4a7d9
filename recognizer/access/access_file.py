"""The file of keys and sessions: one SQLite database of mode 0600 in the state folder. No secret stands in it, only hashes.

Readers get the file's contents of at most `NOTICED_SECONDS` ago, whichever process wrote it.

Each row has a digest of its values, so that no failing disk makes another role, time or hash of them: with a damaged key,
nobody gets in; a damaged session has ended. Digests are no protection against somebody who may write the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recognizer.core.errors import StorageError
from recognizer.core.files import own_folder, sync_folder

NOTICED_SECONDS = 0.5
_LOCKED_SECONDS = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL,
    made REAL NOT NULL, expires REAL, revoked REAL, digest TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    token TEXT PRIMARY KEY, key TEXT NOT NULL, proof TEXT NOT NULL, expires REAL NOT NULL, digest TEXT) WITHOUT ROWID;
"""
#: Releases before the digests revoke keys, and leave them as they are: then the row has none.
_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS key_revoked AFTER UPDATE OF revoked ON keys WHEN NEW.digest IS OLD.digest
BEGIN UPDATE keys SET digest = NULL WHERE id = NEW.id; END;
"""
#: The columns of each table besides the digest, the first of which names a row.
_COLUMNS = {"keys": "id, name, role, hash, made, expires, revoked", "sessions": "token, key, proof, expires"}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept. Times are seconds since 1970; `hash` is the key-derivation function's."""

    id: str
    name: str
    role: str
    hash: str = field(repr=False)
    made: float
    expires: float | None = None
    revoked: float | None = None


@dataclass(frozen=True, slots=True)
class CookieSession:
    """A browser's session: hashes of its token, and of the token together with what proves its key is still the same."""

    token: str
    key: str
    proof: str
    expires: float


@dataclass(frozen=True)
class Held:
    """The file's contents when it was last read."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    sessions: dict[str, CookieSession] = field(default_factory=dict)


class AccessFile:
    """Reads and writes the file. Owns what of it is in memory; safe from several threads and processes.

    Parameters
    ----------
    path : Path
        It need not exist; the first write makes it, readable by its owner alone.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lock = threading.Lock()
        self._held = Held()
        self._signature: tuple[object, ...] | None = None
        self._looked = float("-inf")
        #: Whether there ever were keys while this object looked.
        self.had_keys = False

    def held(self, fresh: bool = False) -> Held:
        """The file's contents of at most `NOTICED_SECONDS` ago; with `fresh`, it is read now.

        Raises
        ------
        StorageError
        """
        if not fresh and time.monotonic() - self._looked < NOTICED_SECONDS:
            return self._held
        with self._lock:
            if fresh or time.monotonic() - self._looked >= NOTICED_SECONDS:
                signature = self._sign()
                if signature != self._signature:
                    self._held = self._read() if signature else Held()
                    self._signature = signature
                    self.had_keys = self.had_keys or bool(self._held.keys)
                self._looked = time.monotonic()  # not after an error: then the next to ask looks again
            return self._held

    def add_key(self, key: ApiKey) -> None:
        """Store a new key, durably.

        Raises
        ------
        StorageError
        """
        with self.writing() as database:
            database.execute(
                "INSERT INTO keys (id, name, role, hash, made, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (key.id, key.name, key.role, key.hash, key.made, key.expires),
            )

    def revoke_key(self, id: str, revoked: float) -> None:
        """Note when a key was revoked, and end its sessions.

        Raises
        ------
        StorageError
        """
        with self.writing() as database:
            database.execute("UPDATE keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (revoked, id))
            database.execute("DELETE FROM sessions WHERE key = ?", (id,))

    def add_session(self, session: CookieSession, now: float, most: int) -> None:
        """Store a session; those that have ended go, and the oldest of its key if it has more than `most`.

        Raises
        ------
        StorageError
        """
        with self.writing() as database:
            database.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
            database.execute(
                "DELETE FROM sessions WHERE token IN "
                "(SELECT token FROM sessions WHERE key = ? ORDER BY expires DESC LIMIT -1 OFFSET ?)",
                (session.key, most - 1),
            )
            database.execute(
                "INSERT INTO sessions (token, key, proof, expires) VALUES (?, ?, ?, ?)",
                (session.token, session.key, session.proof, session.expires),
            )

    def end_session(self, token: str) -> None:
        """Forget a session, by the hash of its token.

        Raises
        ------
        StorageError
        """
        with self.writing() as database:
            database.execute("DELETE FROM sessions WHERE token = ?", (token,))

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk once the block has ended.

        Raises
        ------
        StorageError
        """
        self._make()
        with _storage_errors(), self._connect() as connection:
            _check(connection)
            connection.executescript(_TABLES)
            connection.execute("BEGIN IMMEDIATE")
            try:
                _add_digests(connection)
                _sound_rows(connection, "keys")
                sound = {row[0] for row in _sound_rows(connection, "sessions")}
                damaged = [(token,) for (token,) in connection.execute("SELECT token FROM sessions") if token not in sound]
                connection.executemany("DELETE FROM sessions WHERE token = ?", damaged)
                yield connection
                _note_digests(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
        self.held(fresh=True)

    def _sign(self) -> tuple[object, ...] | None:
        """A value that changes with the file: SQLite counts its transactions in the file's header. None if there is no file."""
        try:
            with self._path.open("rb") as file:
                status, head = os.fstat(file.fileno()), file.read(28)
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise StorageError(f"the file of keys in the state folder cannot be read: {reason}") from error
        return status.st_ino, status.st_size, status.st_mtime_ns, head[24:28]

    def _read(self) -> Held:
        with _storage_errors(), self._connect() as connection:
            if connection.execute("SELECT name FROM sqlite_master").fetchone() is None:
                # It is never made so: somebody emptied it, or its disk lost it.
                raise StorageError("the file of keys is empty; restore it from a backup, or delete it if there were no keys")
            _check(connection)
            keys = [ApiKey(*row) for row in _sound_rows(connection, "keys")]
            sessions = [CookieSession(*row) for row in _sound_rows(connection, "sessions")]
            return Held({key.id: key for key in keys}, {session.token: session for session in sessions})

    def _make(self) -> None:
        """See that the file is there, with its tables, and is its owner's alone, before anything is written into it."""
        try:
            own_folder(self._path.parent)
            if not self._path.exists():
                self._make_anew()
            number = os.open(self._path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if os.name == "posix" and os.fstat(number).st_mode & 0o077:
                    os.fchmod(number, 0o600)
            finally:
                os.close(number)
        except OSError as error:
            raise StorageError(f"the file of keys cannot be opened: {(error.strerror or '').lower()}") from error

    def _make_anew(self) -> None:
        """Put a file with empty tables in place, unless another process does so first."""
        number, name = tempfile.mkstemp(prefix=".access-", suffix=".part", dir=self._path.parent)
        os.close(number)
        try:
            with _storage_errors(), contextlib.closing(sqlite3.connect(name, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=FULL")
                connection.executescript(_TABLES)
            try:
                os.link(name, self._path)
            except FileExistsError:
                return
            except OSError:  # a file system without links
                if not self._path.exists():
                    os.replace(name, self._path)
            sync_folder(self._path.parent)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(name)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        # "rw" makes no file, and reads one that may not be written.
        address = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(address, uri=True, timeout=_LOCKED_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            yield connection
        finally:
            connection.close()


def _check(connection: sqlite3.Connection) -> None:
    """Refuse a file whose pages contradict themselves: one wrong byte can hide all keys, and everybody would be let in.

    Raises
    ------
    StorageError
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StorageError(f"the file of keys is damaged; restore it from a backup ({found.splitlines()[-1]})")


def _has_digests(connection: sqlite3.Connection, table: str) -> bool:
    return any(name == "digest" for _, name, *_ in connection.execute(f"PRAGMA table_info({table})"))


def _add_digests(connection: sqlite3.Connection) -> None:
    """Give a file of an earlier release its column of digests."""
    for table in _COLUMNS:
        if not _has_digests(connection, table):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN digest TEXT")
    connection.execute(_TRIGGER)


def _sound_rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table that are as they were written. A row without a digest was written by an earlier release.

    Raises
    ------
    StorageError
        A key is damaged.
    """
    digest = "digest" if _has_digests(connection, table) else "NULL"
    rows = connection.execute(f"SELECT {digest}, {_COLUMNS[table]} FROM {table}").fetchall()
    sound = [values for noted, *values in rows if noted is None or noted == _digest(values)]
    if table == "keys" and len(sound) < len(rows):
        raise StorageError("the file of keys is damaged; restore it from a backup (a key is not as it was written)")
    return [tuple(values) for values in sound]


def _note_digests(connection: sqlite3.Connection) -> None:
    """Bring the digests up to date with what was changed."""
    for table, columns in _COLUMNS.items():
        rows = connection.execute(f"SELECT digest, {columns} FROM {table}").fetchall()
        news = [(digest, values[0]) for noted, *values in rows if noted != (digest := _digest(values))]
        connection.executemany(f"UPDATE {table} SET digest = ? WHERE {columns.partition(',')[0]} = ?", news)


def _digest(values: list[Any]) -> str:
    """Of the values of a row, as the file holds them."""
    return hashlib.sha256(repr(values).encode("utf-8", "surrogatepass")).hexdigest()


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the second, if SQLite's message quotes a damaged part
        reason = "it is damaged" if isinstance(error, UnicodeDecodeError) else error
        raise StorageError(f"the file of keys cannot be used: {reason}") from error
