"""A SQLite file of the state folder whose contents may be encrypted: its tables, its key, transactions, and what becomes of
damage.

Damage is noticed when the file is opened or used. Then the file is set aside under the name that `set_aside_name` gives, and a
new one takes its place with every row that can still be read. What was set aside keeps faces and names, so it is a holding of
its own: it is deleted when anybody is erased.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from recognizer.core.disk import disk_errors
from recognizer.core.errors import DamageRepaired, KeyMissing, SealBroken, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, remove_erasing, sync_folder
from recognizer.core.vault import Vault

log = logging.getLogger("recognizer.storage")

#: Stands for the purpose of a column that has an encrypted name: equal names are equal there.
NAME = "name"
#: Ends the name of a file that was set aside.
SET_ASIDE = ".damaged"
#: SQLite's files beside a database.
JOURNALS = ("-wal", "-shm", "-journal")
_LOCKED_SECONDS = 30.0
#: What SQLite says of a file that is out of reach, in use or without room, rather than bad.
_NO_DAMAGE = ("locked", "busy", "full", "unable to open", "readonly", "i/o", "memory", "interrupted", "permission", "closed")


def means_damage(error: sqlite3.Error) -> bool:
    """Whether a file is damaged, rather than locked, unreachable or out of disk space. Damage also shows as missing tables or
    columns, invalid text, or an unknown version."""
    if type(error) is sqlite3.OperationalError:
        return not any(words in str(error).lower() for words in _NO_DAMAGE)
    return type(error) is sqlite3.DatabaseError


def set_aside_name(name: str) -> str:
    """The name of what is set aside of a damaged file."""
    return name + SET_ASIDE


def set_aside_files(folder: Path) -> list[Path]:
    """The damaged files of a folder that were set aside, without their journals."""
    return sorted(folder.glob(f"*{SET_ASIDE}"))


def remove_set_aside(file: Path) -> None:
    """Delete what was set aside, with its journals, and overwrite it."""
    for suffix in ("", *JOURNALS):
        with suppress(FileNotFoundError):
            remove_erasing(file.with_name(file.name + suffix))


def remove_old_set_aside(path: Path, seconds: float) -> None:
    """Delete what was set aside of a file, if that was last changed so long ago."""
    aside = path.with_name(set_aside_name(path.name))
    with disk_errors("a damaged file that was set aside cannot be deleted"), suppress(FileNotFoundError):
        if time.time() - aside.stat().st_mtime > seconds:
            remove_set_aside(aside)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: what is done inside is durable after the block, or not done at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.DatabaseError):  # of damage, which the block's own error tells
                connection.execute("ROLLBACK")
        raise


@dataclass(frozen=True)
class SealedTables:
    """What one of these files contains.

    Attributes
    ----------
    what : str
        What is stored, and its verb, for messages: ``the visits are``.
    version : int
        Of the tables, as ``PRAGMA user_version``.
    statements : str
        Create the tables where they are missing, one of which is ``meta (name, value)``.
    sealed : mapping
        Table -> column -> purpose of what is encrypted there, with the row's columns in braces: ``visit picture {id}``; or
        `NAME`.
    made_again : collection of str
        Tables that are not copied from a damaged file, because their rows are made again when they are needed.
    added : mapping
        Table -> column -> type of the columns that later versions added behind the others.
    before : str
        A statement that must come before the tables.
    tidy : callable, optional
        Called with a connection, inside a transaction, when rows were left out; does what the other rows need then.
    """

    what: str
    version: int
    statements: str
    sealed: Mapping[str, Mapping[str, str]]
    made_again: Collection[str] = ()
    added: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    before: str = ""
    tidy: Callable[[sqlite3.Connection], object] | None = None

    @property
    def things(self) -> str:
        """What is stored, without the verb."""
        return self.what.rsplit(" ", 1)[0]


class SealedSqlite:
    """One such file. Owns one connection; safe from several threads and processes.

    Parameters
    ----------
    path : path of the file, or ``":memory:"``
    tables : SealedTables
    vault : Vault, optional

    Raises
    ------
    StorageError
        It cannot be used, or is of a later version.
    KeyMissing
        It is encrypted with a key that `vault` lacks.
    """

    def __init__(self, path: Path | str, tables: SealedTables, vault: Vault | None = None):
        self._path, self._tables, self.vault = str(path), tables, vault
        self._lock = threading.RLock()
        self._closed = False
        self._connection: sqlite3.Connection | None = None
        self._inode: int | None = None
        self._suspect = False
        with self._lock, self._errors():
            self._connected()

    @property
    def _in_memory(self) -> bool:
        return self._path == ":memory:"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"{self._tables.things} cannot be read or stored: {error}") from error

    # -- opening ------------------------------------------------------------------------------------------------

    def _connect(self, whole: bool = False) -> sqlite3.Connection:
        """Open the file and see that its tables can be read; with `whole`, that every page can.

        Where several processes at once give a new file its journal, SQLite does not wait, whatever its time-out: then this
        tries again.
        """
        if not self._in_memory:
            with disk_errors("the state folder cannot be used"):
                own_folder(Path(self._path).parent)
        until = time.monotonic() + _LOCKED_SECONDS
        while True:
            try:
                return self._try_to_connect(whole)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0.01, 0.05))  # at equal pauses, two processes could meet again and again

    def _try_to_connect(self, whole: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_LOCKED_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            self._prepare(connection)
            if whole and connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("database disk image is malformed")
            self._encrypt_as_wanted(connection)
        except UnicodeDecodeError as error:  # what SQLite says of damage may quote it
            connection.close()
            raise sqlite3.DatabaseError("database disk image is malformed") from error
        except BaseException:
            connection.close()
            raise
        self._inode = self._inode_now()
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        tables = self._tables
        if tables.before:
            connection.execute(tables.before)
        connection.execute("PRAGMA secure_delete = ON")  # a deleted face is overwritten, not only unlinked
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > tables.version:
            raise StorageError(f"{tables.what} from a later release (version {found}), which this one cannot read")
        for table, added in tables.added.items():
            there = _columns_of(connection, table)
            for name in added if there else ():
                if name not in there:
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {name} {added[name]}")
        connection.executescript(tables.statements)
        connection.execute(f"PRAGMA user_version = {tables.version}")
        for name, columns in _columns(self._tables.statements).items():
            if _columns_of(connection, name) != columns:
                raise sqlite3.DatabaseError(f"the table {name} is not as it was made")
            connection.execute(f"SELECT count(*) FROM {name}").fetchone()

    def _inode_now(self) -> int | None:
        try:
            return None if self._in_memory else os.stat(self._path).st_ino
        except OSError:
            return None

    def _connected(self) -> sqlite3.Connection:
        """The open file; opened again where another process has put a new one in its place, or a repair failed."""
        if self._closed:
            raise sqlite3.ProgrammingError("it is closed")
        if self._connection is not None and self._inode != self._inode_now():
            self._disconnect()
        if self._connection is None:
            try:
                self._connection = self._connect()
            except sqlite3.DatabaseError as error:
                if not means_damage(error):
                    raise
                self._repair(error)
        assert self._connection is not None
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._disconnect()

    # -- use ----------------------------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; inside another one, a part of it.

        Raises
        ------
        DamageRepaired
            The file was damaged: nothing was changed, and another try finds a sound file.
        StorageError
        """
        with self._lock, self._errors():
            connection = self._connected()
            if connection.in_transaction:
                yield connection
                return
            try:
                with transaction(connection):
                    yield connection
            except SealBroken as error:
                self._leave_out(connection)
                raise self._repaired() from error
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                found = _as_database_error(error)
                if not means_damage(found):
                    raise
                self._repair(found)
                raise self._repaired() from error
            if self._inode != self._inode_now():  # set aside meanwhile, perhaps without this change
                raise self._repaired()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement; its rows. If the file turns out to be damaged, those of what could be kept of it.

        Raises
        ------
        StorageError
        """
        with self._lock, self._errors():
            for last in (False, False, True):
                connection = self._connected()
                within = connection.in_transaction
                try:
                    return connection.execute(query, values).fetchall()
                except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                    found = _as_database_error(error)
                    if within or last or not means_damage(found):  # within a change, that deals with it
                        raise found from error
                    self._repair(found)
        raise AssertionError("unreachable")

    def checkpoint(self) -> None:
        """Overwrite what the journal still holds of deleted rows."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- damage -------------------------------------------------------------------------------------------------

    def _repaired(self) -> DamageRepaired:
        return DamageRepaired(f"the file of {self._tables.things} was damaged, and what can be read of it was kept; try again")

    def _repair(self, error: sqlite3.Error) -> None:
        """Set the file aside and make a new one with what can be read, unless another process has done so.

        Raises
        ------
        sqlite3.Error
            The statement was wrong, not the file.
        StorageError
        """
        if self._in_memory:
            raise error
        before = self._inode
        self._disconnect()
        with disk_errors(f"{self._tables.things} cannot be stored"), ExitStack() as held:
            try:
                held.enter_context(FairLock(Path(f"{self._path}.lock")).hold(_LOCKED_SECONDS))
            except TimeoutError:
                raise StorageError(f"{self._tables.things} cannot be used yet: another process is repairing the file") from None
            self._connection = self._sound()
            if self._connection is not None and self._inode == before:
                if isinstance(error, sqlite3.OperationalError):
                    raise error
                if self._suspect:  # sound to the eye, and yet it fails
                    self._disconnect()
                self._suspect = True
            if self._connection is None:
                log.warning("the file of %s is damaged, and is set aside (%s)", self._tables.things, error)
                self._set_aside()
                self._connection, self._suspect = self._connect(), False

    def _sound(self) -> sqlite3.Connection | None:
        """The file as it is now, if another process has repaired it."""
        try:
            return self._connect(whole=True)
        except sqlite3.DatabaseError as error:
            if not means_damage(error):
                raise
            return None

    def _set_aside(self) -> None:
        """Rename the file, and write what can be read of it to a new one. Interrupted, it leaves a new file without rows."""
        file = Path(self._path)
        aside = file.with_name(set_aside_name(file.name))
        remove_set_aside(aside)
        for suffix in ("-wal", "-journal", ""):
            with suppress(FileNotFoundError):
                os.replace(f"{file}{suffix}", f"{aside}{suffix}")
        Path(f"{file}-shm").unlink(missing_ok=True)
        sync_folder(file.parent)
        with closing(sqlite3.connect(file, timeout=_LOCKED_SECONDS, isolation_level=None)) as made:
            self._prepare(made)
            kept = self._copy(aside, made)
            self._leave_out(made, tidy=True)
        log.warning("%d rows of the damaged file of %s could be read, and are kept", kept, self._tables.things)

    def _copy(self, aside: Path, made: sqlite3.Connection) -> int:
        """Copy every row that can be read; how many. None without the table that says which key they are encrypted with."""
        kept = 0
        with suppress(sqlite3.DatabaseError), closing(_opened(aside)) as source:
            source.execute("SELECT name, value FROM meta").fetchall()
            with transaction(made):
                for table in _columns(self._tables.statements):
                    if table not in self._tables.made_again:
                        kept += _copy_table(source, made, table)
                with suppress(sqlite3.DatabaseError):
                    for row in source.execute("SELECT name, seq FROM sqlite_sequence").fetchall():  # numbers stay taken
                        made.execute("DELETE FROM sqlite_sequence WHERE name = ?", row[:1])
                        made.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", row)
        return kept

    def leave_out_broken(self) -> int:
        """Delete the rows that cannot be decrypted, whoever they are about; how many."""
        with self.change() as connection:
            held, gone = _key_of(connection), 0
            if held is not None:
                gone = self._delete_broken(connection, held)
            if gone:
                self._tidy(connection)
        if gone:
            self.checkpoint()
        return gone

    def _leave_out(self, connection: sqlite3.Connection, tidy: bool = False) -> int:
        held = _key_of(connection)
        if held is not None and (self.vault is None or held not in self.vault.ids):
            return 0  # which is reported where the key is needed
        with transaction(connection):
            gone = 0 if held is None else self._delete_broken(connection, held)
            if gone or tidy:
                self._tidy(connection)
        return gone

    def _tidy(self, connection: sqlite3.Connection) -> None:
        if self._tables.tidy is not None:
            self._tables.tidy(connection)

    # -- encryption ---------------------------------------------------------------------------------------------

    def mark(self, name: str) -> str:
        """A name as it is stored."""
        return name if self.vault is None else self.vault.mark(name)

    def unmark(self, mark: str) -> str:
        """The name that is stored as `mark`.

        Raises
        ------
        DamageRepaired
            It was changed: its row is deleted.
        """
        try:
            return mark if self.vault is None else self.vault.unmark(mark)
        except SealBroken as error:
            with self._lock, self._errors():
                connection = self._connected()
                if connection.in_transaction:  # then `change` deals with it
                    raise
                self._leave_out(connection)
            raise self._repaired() from error

    def seal(self, data: bytes, purpose: str) -> bytes:
        return data if self.vault is None else self.vault.seal(data, purpose)

    def open(self, data: bytes, purpose: str) -> bytes:
        """Decrypt what `seal` encrypted.

        Raises
        ------
        SealBroken
        """
        return data if self.vault is None else self.vault.open(data, purpose)

    def _encrypt_as_wanted(self, connection: sqlite3.Connection) -> None:
        held, wanted = _key_of(connection), None if self.vault is None else self.vault.current
        if held == wanted:
            return
        if held is not None and (self.vault is None or held not in self.vault.ids):
            raise KeyMissing(f"{self._tables.what} encrypted with the key {held}, which is missing", key=held)
        self._reseal(connection, held, plain=False)

    def decrypt(self) -> None:
        """Decrypt everything; the vault is not used any longer."""
        with self._lock, self._errors():
            try:
                self._decrypt()
            except sqlite3.DatabaseError as error:
                if not means_damage(error):
                    raise
                self._repair(error)
                self._decrypt()
            self.vault = None

    def _decrypt(self) -> None:
        connection = self._connected()
        held = _key_of(connection)
        if held is not None:
            self._reseal(connection, held, plain=True)

    def _reseal(self, connection: sqlite3.Connection, held: str | None, plain: bool) -> None:
        """Rewrite what is encrypted with the key `held`, or not at all, with the current key, or in plain."""
        vault = self.vault
        assert vault is not None
        with transaction(connection):
            if _key_of(connection) != held:  # another process has done it
                return
            changed = _Plain() if plain else _Sealed(vault)
            gone = self._rewrite(connection, held, changed)
            if gone:
                log.warning("%d rows of %s could not be decrypted, and are deleted", gone, self._tables.things)
                self._tidy(connection)
            connection.execute("DELETE FROM meta WHERE name = 'key'")
            if not plain:
                connection.execute("INSERT INTO meta VALUES ('key', ?)", (vault.current,))
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _rewrite(self, connection: sqlite3.Connection, held: str | None, changed: _Plain) -> int:
        """Store every encrypted value in another form. Rows that do not open are deleted; how many."""
        gone = 0
        for table, columns in self._tables.sealed.items():
            key = _key_columns(connection, table)
            where = " AND ".join(f"{name} IS ?" for name in key)
            for place in connection.execute(
                f"SELECT {', '.join(key)} FROM {table}"
            ).fetchall():  # all rows would be much to hold
                cursor = connection.execute(f"SELECT * FROM {table} WHERE {where}", place)
                row = dict(zip((each[0] for each in cursor.description), cursor.fetchone(), strict=True))
                try:
                    opened = self._opened(row, columns, held)
                except SealBroken:
                    connection.execute(f"DELETE FROM {table} WHERE {where}", place)
                    gone += 1
                    continue
                if opened:
                    values = [changed.form(value, columns[name].format_map(row)) for name, value in opened.items()]
                    setting = ", ".join(f"{name} = ?" for name in opened)
                    connection.execute(f"UPDATE OR REPLACE {table} SET {setting} WHERE {where}", (*values, *place))
        return gone

    def _delete_broken(self, connection: sqlite3.Connection, held: str) -> int:
        """Delete the rows that do not open; how many."""
        gone = 0
        for table, columns in self._tables.sealed.items():
            if table in self._tables.made_again:
                continue
            key = _key_columns(connection, table)
            cursor = connection.execute(f"SELECT {', '.join(key)}, * FROM {table}")
            names = [each[0] for each in cursor.description][len(key) :]
            broken = []
            for row in cursor:
                try:
                    self._opened(dict(zip(names, row[len(key) :], strict=True)), columns, held)
                except SealBroken:
                    broken.append(row[: len(key)])
            connection.executemany(f"DELETE FROM {table} WHERE {' AND '.join(f'{name} IS ?' for name in key)}", broken)
            gone += len(broken)
        return gone

    def _opened(self, row: Mapping[str, Any], columns: Mapping[str, str], held: str | None) -> dict[str, Any]:
        """The decrypted values of a row, without those that are NULL.

        Raises
        ------
        SealBroken
        """
        vault, opened = self.vault, {}
        for name, purpose in columns.items():
            value = row[name]
            if value is None:
                continue
            if held is None or vault is None:
                opened[name] = value
            elif purpose == NAME:
                opened[name] = vault.unmark(value if isinstance(value, str) else "", held)
            else:
                opened[name] = vault.open(value if isinstance(value, bytes) else b"", purpose.format_map(row))
        return opened


class _Plain:
    """What is stored without a key."""

    def form(self, value: Any, purpose: str) -> Any:
        return value


class _Sealed(_Plain):
    """What is stored with a key."""

    def __init__(self, vault: Vault):
        self._vault = vault

    def form(self, value: Any, purpose: str) -> Any:
        return self._vault.mark(value) if purpose == NAME else self._vault.seal(value, purpose)


def _as_database_error(error: Exception) -> sqlite3.DatabaseError:
    """What SQLite says of damage may quote it, so that the message itself is no text."""
    return error if isinstance(error, sqlite3.DatabaseError) else sqlite3.DatabaseError("database disk image is malformed")


@cache
def _columns(statements: str) -> dict[str, list[str]]:
    """Table -> its columns, of the tables that some statements create."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(statements)
        names = made.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
        return {name: _columns_of(made, name) for (name,) in names}


def _columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    return [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall()]


def _key_columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns that tell one row from another, in the order in which rows are stored."""
    try:
        connection.execute(f"SELECT rowid FROM {table} LIMIT 0")
        return ["rowid"]
    except sqlite3.OperationalError:  # a table without
        found = [(place, name) for _, name, *_, place in connection.execute(f"PRAGMA table_info({table})").fetchall() if place]
        return [name for _, name in sorted(found)]


def _key_of(connection: sqlite3.Connection) -> str | None:
    """The id of the key that the rows are encrypted with."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
    return found[0] if found else None


def _opened(file: Path) -> sqlite3.Connection:
    """A damaged file; with its journal, so that what was written last is read as well."""
    opened = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
    opened.execute("PRAGMA query_only = ON")
    return opened


def _copy_table(source: sqlite3.Connection, made: sqlite3.Connection, table: str) -> int:
    """Copy the rows of a table that can be read, from both of its ends; how many."""
    there: list[str] = []
    with suppress(sqlite3.DatabaseError, UnicodeDecodeError):
        there = _columns_of(source, table)  # fewer, if an older version wrote the file
    names, order = [name for name in _columns_of(made, table) if name in there or not there], _key_columns(made, table)
    insert = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    emptied = False
    for direction in ("", " DESC"):
        query = f"SELECT {', '.join(names)} FROM {table} NOT INDEXED ORDER BY {', '.join(name + direction for name in order)}"
        try:
            for row in source.execute(query):
                if not emptied:  # of the row that the statements may have made
                    made.execute(f"DELETE FROM {table}")
                    emptied = True
                with suppress(sqlite3.IntegrityError):
                    made.execute(insert, row)
            break
        except (sqlite3.DatabaseError, UnicodeDecodeError):
            continue
    ((kept,),) = made.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(kept)
