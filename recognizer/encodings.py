"""The cache of encodings: what an engine made of a photo, kept so that no photo is encoded twice.

An "encoding" is face_recognition's word for an embedding; here it is the cached result of examining one photo for
enrolment, usable or not. Everything in this file can be made again from the photos. It is one SQLite database
(no pickle, several processes at once), keyed by the photo's content and the engine's id.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from .errors import KeyMissing, RecognizerError, StorageError
from .vault import Vault

log = logging.getLogger(__name__)
Result = TypeVar("Result")

#: Raised whenever the tables change; a file of another version is made anew.
VERSION = 1
#: How long to wait for another process that uses the file.
LOCKED_SECONDS = 30.0
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, photo TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS encodings (
    photo TEXT, engine TEXT, face TEXT, problem TEXT, message TEXT, vector BLOB,
    left REAL, top REAL, right REAL, bottom REAL, score REAL, width INTEGER, height INTEGER,
    PRIMARY KEY (photo, engine, face)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thumbnails (photo TEXT PRIMARY KEY, jpeg BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_photo ON files (photo);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
#: What an encrypted thumbnail is for; the photo's id follows.
_THUMBNAIL = "thumbnail "
_COLUMNS = "photo, engine, face, problem, message, vector, left, top, right, bottom, score, width, height"


def photo_id(data: bytes) -> str:
    """The id of a photo: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """What one engine made of one photo.

    Attributes
    ----------
    photo, engine : str
    face : str
        Which face was wanted: ``"only"`` or ``"largest"``.
    vector : ndarray of float32 or None
        None where the photo cannot be used; then `problem` is an error's code and `message` its sentence.
    box : tuple of float
        left, top, right, bottom of the face that was taken, in pixels of the photo.
    score : float
    width, height : int
        Of the photo.
    """

    photo: str
    engine: str
    face: str = "only"
    vector: np.ndarray | None = None
    problem: str | None = None
    message: str | None = None
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What of a file changes when its content does, as far as that can be seen without reading it."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """The stamp, with numbers that fit into 63 bits: some systems have larger inodes, and broken clocks later times."""
        return cls(status.st_size, max(0, min(status.st_mtime_ns, 2**63 - 1)), status.st_ino % 2**63)


class EncodingsCache:
    """The cache file. Owns one connection; every call is one transaction; safe from several threads.

    Parameters
    ----------
    path : path of the database, or ``":memory:"``
    vault : Vault, optional
        What vectors, thumbnails and paths, which hold names, are encrypted with. A file that is encrypted otherwise, or not
        at all, is encrypted anew.

    Raises
    ------
    StorageError
    KeyMissing
        The file is encrypted with a key that `vault` lacks.
    """

    def __init__(self, path: Path | str, vault: Vault | None = None):
        self._path, self._vault = str(path), vault
        self._lock = threading.Lock()
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        if self._path != ":memory:":
            try:
                Path(self._path).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(f"the state folder cannot be used: {(error.strerror or '').lower()}") from error
        with _storage_errors():
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if not _means_damage(error):
                    raise
                return self._make_anew(error)

    def _make_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        log.warning("the cache of encodings was damaged and is made anew (%s)", error)
        for suffix in ("", "-wal", "-shm"):
            Path(self._path + suffix).unlink(missing_ok=True)
        return self._connect()

    def _connect(self, whole: bool = False) -> sqlite3.Connection:
        """Open the file and see that it can be read: its tables' heads, or with `whole` every page.

        SQLite does not wait, whatever its time-out, where waiting might be for ever: as when several processes at once
        give a new file its journal. Then this tries again; all that it does may be done twice.
        """
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return self._try_to_connect(whole)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def _try_to_connect(self, whole: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=LOCKED_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA secure_delete = ON")  # a deleted face is overwritten, not only unlinked
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
                for table in ("files", "encodings", "thumbnails"):
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            connection.execute("SELECT count(*) FROM encodings").fetchone()
            if whole and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("database disk image is malformed")
            self._encrypt_as_wanted(connection)
        except (sqlite3.DatabaseError, RecognizerError):
            connection.close()
            raise
        return connection

    def _encrypt_as_wanted(self, connection: sqlite3.Connection) -> None:
        """Bring every row under the vault's current key, or under none."""
        wanted = self._vault.current if self._vault else None
        if _key_of(connection) == wanted:
            return
        with _transaction(connection):
            held = _key_of(connection)  # another process may have done it
            if held == wanted:
                return
            if held is not None and (self._vault is None or held not in self._vault.ids):
                raise KeyMissing(f"the cache of encodings is encrypted with the key {held}, which is not there", key=held)
            _reseal(connection, self._vault, held)
            connection.execute("DELETE FROM meta WHERE name = 'key'")
            if wanted is not None:
                connection.execute("INSERT INTO meta VALUES ('key', ?)", (wanted,))
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def decrypt(self) -> None:
        """Bring every row under no key; the vault is used no longer."""

        def work(connection: sqlite3.Connection) -> None:
            held = _key_of(connection)
            if held is None:
                return
            with _transaction(connection):
                _reseal(connection, self._vault, held, plain=True)
                connection.execute("DELETE FROM meta WHERE name = 'key'")

        self._run(work)
        self._vault = None

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work`; if the file turns out to be damaged, with a new one: all of it can be made again."""
        with self._lock, _storage_errors():
            try:
                return work(self._connection)
            except sqlite3.DatabaseError as error:
                if not _means_damage(error):
                    raise
                self._connection.close()
                try:
                    self._connection = self._connect(whole=True)  # another process may have made it anew already
                except sqlite3.DatabaseError:
                    self._connection = self._make_anew(error)
                return work(self._connection)

    def _write(self, *statements: tuple[str, Iterable[Sequence]]) -> int:
        """One transaction: each statement with all its rows of values; how many rows the last one changed."""
        statements = [(query, list(rows)) for query, rows in statements]

        def work(connection: sqlite3.Connection) -> int:
            with _transaction(connection):
                return [connection.executemany(query, rows).rowcount for query, rows in statements][-1]

        return self._run(work)

    def _read(self, query: str, values: Sequence = ()) -> list[tuple]:
        return self._run(lambda connection: connection.execute(query, values).fetchall())

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # -- which photo a file holds -------------------------------------------------------------------------------

    def files(self) -> dict[str, tuple[FileStamp, str]]:
        """Every file whose content is known: path -> (stamp, photo id)."""
        rows = self._read("SELECT path, size, mtime_ns, inode, photo FROM files")
        return {self._path_of(path): (FileStamp(size, mtime, inode), photo) for path, size, mtime, inode, photo in rows}

    def _mark(self, path: str) -> str:
        """A path as it is kept."""
        return path if self._vault is None else self._vault.mark(path)

    def _path_of(self, mark: str) -> str:
        return mark if self._vault is None else self._vault.unmark(mark)

    def remember_files(self, files: Iterable[tuple[str, FileStamp, str]]) -> None:
        """Note which photo each file holds."""
        rows = [(self._mark(path), stamp.size, stamp.mtime_ns, stamp.inode, photo) for path, stamp, photo in files]
        self._write(("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows))

    def forget_files(self, paths: Iterable[str]) -> None:
        self._write(("DELETE FROM files WHERE path = ?", [(self._mark(path),) for path in paths]))

    def forget_folder(self, folder: str) -> set[str]:
        """Forget every file below `folder`; the ids of the photos that they held."""
        if self._vault is not None:
            below = {path: photo for path, (_, photo) in self.files().items() if path.startswith(folder + "/")}
            self.forget_files(below)
            return set(below.values())
        below = (len(folder) + 1, folder + "/")
        held = self._read("SELECT photo FROM files WHERE substr(path, 1, ?) = ?", below)
        self._write(("DELETE FROM files WHERE substr(path, 1, ?) = ?", [below]))
        return {photo for (photo,) in held}

    # -- what an engine made of it ------------------------------------------------------------------------------

    def encodings(self, engine: str, photos: Iterable[str] | None = None) -> dict[tuple[str, str], Encoding]:
        """The encodings that `engine` made, of all photos or of some: (photo id, face wanted) -> Encoding."""
        if photos is None:
            rows = self._read(f"SELECT {_COLUMNS} FROM encodings WHERE engine = ?", (engine,))
        else:
            query = f"SELECT {_COLUMNS} FROM encodings WHERE engine = ? AND photo = ?"
            rows = [row for photo in photos for row in self._read(query, (engine, photo))]
        return {(row[0], row[2]): _encoding(row, self._vault) for row in rows}

    def put(self, encodings: Iterable[Encoding], thumbnails: dict[str, bytes] | None = None) -> None:
        """Keep encodings, and thumbnails (photo id -> JPEG); durable when this returns."""
        insert = f"INSERT OR REPLACE INTO encodings ({_COLUMNS}) VALUES ({', '.join('?' * 13)})"
        rows = [_row(encoding, self._vault) for encoding in encodings]
        pictures = (thumbnails or {}).items()
        if self._vault is not None:
            pictures = [(photo, self._vault.seal(jpeg, _THUMBNAIL + photo)) for photo, jpeg in pictures]
        self._write((insert, rows), ("INSERT OR REPLACE INTO thumbnails VALUES (?, ?)", pictures))

    def thumbnail(self, photo: str) -> bytes | None:
        rows = self._read("SELECT jpeg FROM thumbnails WHERE photo = ?", (photo,))
        if not rows:
            return None
        return rows[0][0] if self._vault is None else self._vault.open(rows[0][0], _THUMBNAIL + photo)

    def forget_thumbnail(self, photo: str) -> None:
        self._write(("DELETE FROM thumbnails WHERE photo = ?", [(photo,)]))
        self._read("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy_to(self, path: Path) -> None:
        """Write a copy of the database as it is at one instant, while others use it."""

        def work(connection: sqlite3.Connection) -> None:
            copy = sqlite3.connect(path)
            try:
                connection.backup(copy)
            finally:
                copy.close()

        self._run(work)

    # -- forgetting ---------------------------------------------------------------------------------------------

    def forget(self, photos: Sequence[str]) -> None:
        """Erase everything about these photos, of every engine, from the file and from its journal."""
        rows = [(photo,) for photo in photos]
        self._write(*((f"DELETE FROM {table} WHERE photo = ?", rows) for table in ("files", "encodings", "thumbnails")))
        self._read("PRAGMA wal_checkpoint(TRUNCATE)")

    def forget_other_engines(self, engine: str) -> int:
        """Erase what engines other than `engine` made; how many rows there were."""
        return self._write(("DELETE FROM encodings WHERE engine != ?", [(engine,)]))

    def photos(self) -> set[str]:
        """The ids of all photos about which anything is kept."""
        query = "SELECT photo FROM files UNION SELECT photo FROM encodings UNION SELECT photo FROM thumbnails"
        return {row[0] for row in self._read(query)}

    def rows_about(self, photos: Sequence[str]) -> int:
        """How many rows hold anything about these photos; 0 after `forget`."""
        tables = ("files", "encodings", "thumbnails")
        queries = [f"SELECT count(*) FROM {table} WHERE photo = ?" for table in tables]
        return sum(self._read(query, (photo,))[0][0] for photo in photos for query in queries)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error if isinstance(error, sqlite3.Error) else (error.strerror or "").lower()
        raise StorageError(f"the cache of encodings cannot be used: {reason}") from error


def _means_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is bad, rather than locked, out of reach or out of room."""
    return type(error) is sqlite3.DatabaseError or "unsupported file format" in str(error)


def _key_of(connection: sqlite3.Connection) -> str | None:
    """The id of the key that the rows are encrypted with."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
    return found[0] if found else None


def _reseal(connection: sqlite3.Connection, vault: Vault | None, held: str | None, plain: bool = False) -> None:
    """Write every row anew, as `vault` has it, or `plain`."""

    def anew(data: bytes, purpose: str) -> bytes:
        opened = data if held is None else vault.open(data, purpose)
        return opened if plain else vault.seal(opened, purpose)

    paths = [path for (path,) in connection.execute("SELECT path FROM files").fetchall()]
    opened = [path if held is None else vault.unmark(path, held) for path in paths]
    rows = [(path if plain else vault.mark(path), old) for path, old in zip(opened, paths, strict=True)]
    connection.executemany("UPDATE files SET path = ? WHERE path = ?", rows)
    found = connection.execute("SELECT vector, photo, engine, face FROM encodings WHERE vector IS NOT NULL").fetchall()
    rows = [(anew(vector, _purpose(*key)), *key) for vector, *key in found]
    connection.executemany("UPDATE encodings SET vector = ? WHERE photo = ? AND engine = ? AND face = ?", rows)
    found = connection.execute("SELECT jpeg, photo FROM thumbnails").fetchall()
    rows = [(anew(jpeg, _THUMBNAIL + photo), photo) for jpeg, photo in found]
    connection.executemany("UPDATE thumbnails SET jpeg = ? WHERE photo = ?", rows)


def _purpose(photo: str, engine: str, face: str) -> str:
    """What binds an encrypted vector to its row."""
    return f"vector {photo} {engine} {face}"


def _row(encoding: Encoding, vault: Vault | None) -> tuple:
    vector = None if encoding.vector is None else np.ascontiguousarray(encoding.vector, "<f4").tobytes()
    if vector is not None and vault is not None:
        vector = vault.seal(vector, _purpose(encoding.photo, encoding.engine, encoding.face))
    box = encoding.box or (None,) * 4
    return (
        encoding.photo, encoding.engine, encoding.face, encoding.problem, encoding.message, vector,
        *box, encoding.score, encoding.width, encoding.height,
    )  # fmt: skip


def _encoding(row: tuple, vault: Vault | None) -> Encoding:
    photo, engine, face, problem, message, vector, *box, score, width, height = row
    if vector is not None and vault is not None:
        vector = vault.open(vector, _purpose(photo, engine, face))
    return Encoding(
        photo,
        engine,
        face,
        None if vector is None else np.frombuffer(vector, "<f4"),
        problem,
        message,
        None if box[0] is None else tuple(box),
        score,
        width,
        height,
    )
