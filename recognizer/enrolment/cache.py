"""The template cache: what an engine computed for a photo, stored so that no photo is encoded twice.

An "encoding" is face_recognition's word for an embedding; here it is the cached result of examining one photo for
enrolment, usable or not. Everything in this file can be made again from the photos. It is one SQLite database
(no pickle, several processes at once), keyed by the photo's content and the engine's id; every row has a checksum.
"""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from recognizer.core.disk import disk_errors
from recognizer.core.errors import KeyMissing, RecognizerError, SealBroken, StorageError
from recognizer.core.files import own_folder
from recognizer.core.sealed_sqlite import means_damage, transaction
from recognizer.core.vault import Vault
from recognizer.enrolment.cache_rows import (
    encoding_of,
    is_sound,
    is_sound_encoding,
    is_sound_file,
    is_sound_folder,
    middle_of_encodings,
    purpose_of,
    row_of,
    with_checksum,
)
from recognizer.enrolment.encodings import PHOTO_ID_LENGTH, Encoding, FileStamp, KnownFolder

log = logging.getLogger(__name__)
Result = TypeVar("Result")

#: Increased whenever the tables change; a file of another version is replaced.
VERSION = 3
#: Seconds to wait for another process that uses the file.
LOCKED_SECONDS = 30.0
#: Rows that are looked up one by one; of more, the whole table is read.
FEW = 64
_TABLES = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER, photo TEXT NOT NULL,
    checksum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS encodings (
    photo TEXT, engine TEXT, face TEXT, problem TEXT, message TEXT, vector BLOB,
    left REAL, top REAL, right REAL, bottom REAL, score REAL, width INTEGER, height INTEGER, checksum INTEGER,
    PRIMARY KEY (photo, engine, face)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thumbnails (photo TEXT PRIMARY KEY, jpeg BLOB NOT NULL, checksum INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folders (
    name TEXT PRIMARY KEY, mtime_ns INTEGER, inode INTEGER, files INTEGER,
    note_size INTEGER, note_mtime_ns INTEGER, note_inode INTEGER, checksum INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_photo ON files (photo);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT, checksum INTEGER) WITHOUT ROWID;
"""
#: Binds an encrypted thumbnail to its purpose; the photo's id follows.
_THUMBNAIL = "thumbnail "
_SCHEMA = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
#: Bytes of a page of a new file: in the usual ones of 4,096, the row of a template of 256 numbers does not fit into a page of
#: its tree, so that it takes a second one, and the file is four times as large.
_PAGE = 8192
#: Rows that are read at once where all are read.
_AT_ONCE = 500
#: Bytes of the file that are mapped at most while all of it is read.
_MAPPED = 1 << 40
_COLUMNS = "photo, engine, face, problem, message, vector, left, top, right, bottom, score, width, height, checksum"


@cache
def _schema() -> list[tuple[str, str]]:
    """The tables that an intact file has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return connection.execute(_SCHEMA).fetchall()


class EncodingsCache:
    """The cache file. Owns one connection; every call is one transaction; safe from several threads.

    Parameters
    ----------
    path : path of the database, or ``":memory:"``
    vault : Vault, optional
        Encrypts vectors, thumbnails and paths, which contain names. A file that is encrypted with another key, or not at
        all, is encrypted again.
    without_disk : bool
        If the disk is full or cannot be written, use a copy in memory. Then every write tries to open the file again, and
        raises StorageError while that fails.

    Raises
    ------
    StorageError
    KeyMissing
        The file is encrypted with a key that `vault` lacks.
    """

    def __init__(self, path: Path | str, vault: Vault | None = None, *, without_disk: bool = False):
        self._path, self._vault, self._without_disk = str(path), vault, without_disk
        self._refusal: str | None = None  # why there is only a copy in memory
        self._lock = threading.Lock()
        self._openings = 0
        self._inode: int | None = None
        self._closed = False
        # None after a repair that failed: then the next call opens the file again
        self._connection: sqlite3.Connection | None = self._open()

    def _open(self) -> sqlite3.Connection:
        """Open the file or, where that is allowed and the disk refuses it, a copy of it in memory."""
        try:
            opened = self._open_file()
        except StorageError as error:
            if not self._without_disk or not _is_refusal(error):
                raise
            if self._refusal is None:
                log.warning("%s: nothing can be stored until this is mended", error.message)
            self._refusal = error.message
            return self._copied()
        self._refusal = None
        return opened

    def _open_file(self) -> sqlite3.Connection:
        self._openings += 1
        if self._path != ":memory:":
            with disk_errors("the state folder cannot be used"):
                own_folder(Path(self._path).parent)
        with _storage_errors():
            try:
                opened = self._connect()
            except sqlite3.DatabaseError as error:
                if not means_damage(error):
                    raise
                opened = self._open_anew(error)
        self._inode = self._inode_now()
        return opened

    def _inode_now(self) -> int | None:
        try:
            return os.stat(self._path).st_ino
        except OSError:
            return None

    def _copied(self) -> sqlite3.Connection:
        """A copy in memory of what can be read of the file, without thumbnails, which are made again when they are wanted."""
        copy = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        copy.executescript(_TABLES)
        file = Path(self._path).absolute()
        with (
            suppress(sqlite3.Error, UnicodeDecodeError),
            closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as source,
        ):
            for table in ("files", "encodings", "meta"):
                rows = [row for row in source.execute(f"SELECT * FROM {table}") if is_sound(row)]
                if rows:
                    copy.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        self._encrypt_as_wanted(copy)
        return copy

    def _connect(self, whole: bool = False) -> sqlite3.Connection:
        """Open the file and check that it can be read: its tables' heads, or with `whole` every page.

        SQLite does not wait, whatever its time-out, where waiting might be for ever: as when several processes at once
        give a new file its journal. Then this tries again; all that it does may be done twice.
        """
        until = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                return _decoded(self._try_to_connect, whole)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(random.uniform(0.01, 0.05))  # at equal pauses, two processes could meet again and again

    def _try_to_connect(self, whole: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=LOCKED_SECONDS, check_same_thread=False, isolation_level=None)
        try:
            connection.execute("PRAGMA secure_delete = ON")  # a deleted face is overwritten, not only unlinked
            connection.execute(f"PRAGMA page_size = {_PAGE}")  # of a file that is made now
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if connection.execute("PRAGMA auto_vacuum").fetchone()[0]:  # never set here; SQLite would find the disk full
                raise sqlite3.DatabaseError("the head of the file is not as it was made")
            if connection.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
                for table in ("files", "encodings", "thumbnails", "folders", "meta"):
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.executescript(_TABLES)
            connection.execute(f"PRAGMA user_version = {VERSION}")
            if connection.execute(_SCHEMA).fetchall() != _schema():
                raise sqlite3.DatabaseError("the tables are not as they were made")
            connection.execute("SELECT count(*) FROM encodings").fetchone()
            if whole and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("database disk image is malformed")
            self._encrypt_as_wanted(connection)
        except (sqlite3.DatabaseError, UnicodeDecodeError, RecognizerError):
            connection.close()
            raise
        return connection

    def _encrypt_as_wanted(self, connection: sqlite3.Connection) -> None:
        """Encrypt every row with the vault's current key, or with none."""
        wanted = self._vault.current if self._vault else None
        if _key_of(connection) == wanted:
            return
        with transaction(connection):
            held = _key_of(connection)  # another process may have done it
            if held == wanted:
                return
            if held is not None and (self._vault is None or held not in self._vault.ids):
                raise KeyMissing(f"the cache of encodings is encrypted with the key {held}, which is not there", key=held)
            _reseal(connection, self._vault, held)
            connection.execute("DELETE FROM meta WHERE name = 'key'")
            if wanted is not None:
                connection.execute("INSERT INTO meta VALUES (?, ?, ?)", with_checksum(("key", wanted)))
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def decrypt(self) -> None:
        """Decrypt every row; the vault is no longer used."""

        def work(connection: sqlite3.Connection) -> None:
            held = _key_of(connection)
            if held is None:
                return
            with transaction(connection):
                _reseal(connection, self._vault, held, plain=True)
                connection.execute("DELETE FROM meta WHERE name = 'key'")

        self._run(work)
        self._vault = None

    def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do `work`. If the file turns out to be damaged, do it with a new file: everything in it can be computed again."""
        with self._lock, _storage_errors():
            for repair in (self._open_again, self._open_anew):
                try:
                    return _decoded(work, self._connected())
                except sqlite3.DatabaseError as error:
                    if not means_damage(error):
                        raise
                    self._disconnect()
                    self._connection = repair(error)
                    self._inode = self._inode_now()
            return _decoded(work, self._connected())

    def _connected(self) -> sqlite3.Connection:
        """The open file; opened again if the last repair failed, as when the disk refused, or if another process has put a new
        file in its place."""
        if self._closed:
            raise sqlite3.ProgrammingError("it is closed")
        if self._refusal is None and self._inode_now() not in (None, self._inode):
            self._disconnect()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _open_again(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        """Open the file again, because another process may already have replaced it."""
        self._openings += 1
        try:
            return self._connect(whole=True)
        except sqlite3.DatabaseError as found:
            if not means_damage(found):
                raise
            return self._open_anew(error)

    def _open_anew(self, error: sqlite3.DatabaseError) -> sqlite3.Connection:
        log.warning("the cache of encodings was damaged and is made anew (%s)", error)
        self._openings += 1
        for suffix in ("", "-wal", "-shm"):
            Path(self._path + suffix).unlink(missing_ok=True)
        return self._connect()

    def version(self) -> tuple[int, int]:
        """Differs from an earlier value once another connection, such as another process's, has changed the file."""
        changed: int = self._read("PRAGMA data_version")[0][0]
        return self._openings, changed

    def _write(self, *statements: tuple[str, Iterable[Sequence[Any]]]) -> int:
        """One transaction: each statement with all its rows of values; how many rows the last one changed."""
        complete = [(query, list(rows)) for query, rows in statements]  # the work may be done twice

        def work(connection: sqlite3.Connection) -> int:
            with transaction(connection):
                return [connection.executemany(query, rows).rowcount for query, rows in complete][-1]

        self._require_file()
        return self._run(work)

    def _require_file(self) -> None:
        """If there is only a copy in memory, open the file, which the disk may allow by now.

        Raises
        ------
        StorageError
        """
        with self._lock:
            if self._refusal is None or self._closed:
                return
            opened = self._open_file()
            self._disconnect()
            self._connection, self._refusal = opened, None

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(query, values).fetchall())

    def _read_sound(self, query: str, values: Sequence[Any] = (), key: int = 0) -> list[tuple[Any, ...]]:
        """Rows that are as they were written. Where one is not, or the order by the first `key` values is not kept, rows
        also lie where nobody finds them who has to erase them: then all tables are written anew, from what is sound."""
        rows = self._read(query, values)
        sound = [row for row in rows if is_sound(row)]
        if len(sound) < len(rows) or any(not one[:key] < other[:key] for one, other in pairwise(sound) if key):
            log.warning("the cache of encodings was damaged: %d rows are made again", len(rows) - len(sound))
            self._run(_rewrite)
        return sound

    def _texts(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Rows of paths and photos' ids, without those that are no texts; where one is not, all tables are written anew."""
        texts = [row for row in rows if all(type(value) is str for value in row)]
        if len(texts) < len(rows):
            log.warning("the cache of encodings was damaged: %d rows are made again", len(rows) - len(texts))
            self._run(_rewrite)
        return texts

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._disconnect()

    # -- which photo a file holds -------------------------------------------------------------------------------

    def files(self) -> dict[str, tuple[FileStamp, str]]:
        """Every file whose content is known: path -> (stamp, photo id)."""
        rows = self._read_sound("SELECT path, size, mtime_ns, inode, photo, checksum FROM files ORDER BY path", key=1)
        found = {}
        for mark, size, mtime, inode, photo, _ in rows:
            with _as_if_not_there():
                found[self._path_of(mark)] = FileStamp(size, mtime, inode), photo
        return found

    def files_at(self, paths: Sequence[str]) -> dict[str, tuple[FileStamp, str]]:
        """Those of `paths` whose content is known: path -> (stamp, photo id)."""
        if len(paths) > FEW:
            known = self.files()
            return {path: known[path] for path in paths if path in known}
        query = "SELECT path, size, mtime_ns, inode, photo, checksum FROM files WHERE path = ?"
        found = {}
        for path in paths:
            for _, size, mtime, inode, photo, _ in self._read_sound(query, (self._mark(path),)):
                found[path] = FileStamp(size, mtime, inode), photo
        return found

    def files_of(self, photos: Collection[str]) -> list[tuple[str, FileStamp, str]]:
        """The files that are known to hold these photos: path, stamp, photo id."""
        if len(photos) > FEW:
            return [(path, stamp, photo) for path, (stamp, photo) in self.files().items() if photo in photos]
        query = "SELECT path, size, mtime_ns, inode, photo, checksum FROM files WHERE photo = ?"
        found = []
        for photo in photos:
            for mark, size, mtime, inode, _, _ in self._read_sound(query, (photo,)):
                with _as_if_not_there():
                    found.append((self._path_of(mark), FileStamp(size, mtime, inode), photo))
        return found

    def _mark(self, path: str) -> str:
        """A path as it is stored."""
        return path if self._vault is None else self._vault.mark(path)

    def _path_of(self, mark: str) -> str:
        return mark if self._vault is None else self._vault.unmark(mark)

    def remember_files(self, files: Iterable[tuple[str, FileStamp, str]]) -> None:
        """Store which photo each file contains."""
        self._write((_A_FILE, self._file_rows(files)))

    def _file_rows(self, files: Iterable[tuple[str, FileStamp, str]]) -> list[tuple[Any, ...]]:
        return [
            with_checksum((self._mark(path), stamp.size, stamp.mtime_ns, stamp.inode, photo)) for path, stamp, photo in files
        ]

    def move_files(self, files: Iterable[tuple[str, str, FileStamp, str]]) -> None:
        """Files have another path now: the old path, the new one, the stamp, the photo id. One transaction."""
        moved = list(files)
        rows = self._file_rows((new, stamp, photo) for _, new, stamp, photo in moved)
        folders = {_folder_of(path) for old, new, *_ in moved for path in (old, new)}
        self._write(
            (_NO_FOLDER, [(self._mark(name),) for name in folders]),
            ("DELETE FROM files WHERE path = ?", [(self._mark(old),) for old, *_ in moved]),
            (_A_FILE, rows),
        )

    def forget_files(self, paths: Iterable[str]) -> None:
        """Remove these files, and what is known of their folders."""
        gone = list(paths)
        self._write(
            (_NO_FOLDER, [(self._mark(name),) for name in {_folder_of(path) for path in gone}]),
            ("DELETE FROM files WHERE path = ?", [(self._mark(path),) for path in gone]),
        )

    def files_below(self, folder: str) -> dict[str, str]:
        """The photo's id of every file that is known in a folder, by path."""
        if self._vault is not None:
            return {path: photo for path, (_, photo) in self.files().items() if path.startswith(folder + "/")}
        between = (folder + "/", folder + "0")  # the character after the slash
        return dict(self._texts(self._read("SELECT path, photo FROM files WHERE path >= ? AND path < ?", between)))

    def known_files(self, damaged: dict[str, str] | None = None) -> dict[str, tuple[int, int, int, str]]:
        """`files` in plain values, for starts with hundreds of thousands of them: path -> (size, mtime_ns, inode, photo id).

        Rows that are damaged are left out; `files` deals with them.

        Parameters
        ----------
        damaged : dict of str, optional
            Gets the photo of each damaged row, by path.
        """
        found: dict[str, tuple[int, int, int, str]] = {}
        bad: dict[str, str] = {}

        def work(connection: sqlite3.Connection) -> None:
            found.clear()
            bad.clear()
            for row in connection.execute("SELECT path, size, mtime_ns, inode, photo, checksum FROM files"):
                if is_sound_file(row):
                    found[row[0]] = row[1:5]
                else:
                    bad[row[0]] = row[4]

        with self._mapped():
            self._run(work)
        if damaged is not None and bad:
            damaged.update({path: row[1] for path, row in self._by_path(self._texts(list(bad.items())))})
        if self._vault is None:
            return found
        return {path: row[1:] for path, row in self._by_path((mark, *row) for mark, row in found.items())}

    def _by_path(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Rows, each with the path or name that it begins with."""
        if self._vault is None:
            yield from ((row[0], row) for row in rows)
            return
        for row in rows:
            with _as_if_not_there():
                yield self._path_of(row[0]), row

    def each_encoding(
        self,
        engine: str,
        take: Callable[[list[tuple[Any, ...]]], object],
        take_unusable: Callable[[list[Encoding]], object],
    ) -> None:
        """Call `take` with every usable encoding of `engine`, and `take_unusable` with those that enrol nobody, some hundreds
        at a time, by photo; with some of them twice if the file is repaired then.

        What `take` gets are tuples of plain values, since there may be hundreds of thousands: the photo's id, the face, the
        float32 numbers of the vector, little-endian, left, top, right and bottom of the box, score, width and height; more may
        follow.

        Rows that are damaged are left out; `encodings` deals with them.
        """
        query = """SELECT photo, face, vector, left, top, right, bottom, score, width, height, checksum, problem, message
            FROM encodings WHERE engine = ? ORDER BY photo, engine, face"""

        def work(connection: sqlite3.Connection) -> None:
            cursor, middle = connection.execute(query, (engine,)), middle_of_encodings(engine)
            while rows := cursor.fetchmany(_AT_ONCE):
                plain = [row for row in rows if row[11] is None and row[12] is None and type(row[2]) is bytes]
                sound = [row for row in plain if is_sound_encoding(engine, middle, row)]
                take(sound if self._vault is None else list(self._opened(engine, sound)))
                if len(plain) < len(rows):
                    whole = [
                        (photo, engine, face, problem, message, None, *rest)
                        for photo, face, vector, *rest, problem, message in rows
                        if problem is not None and vector is None
                    ]
                    take_unusable([encoding_of(row, None) for row in whole if is_sound(row)])

        with self._mapped():
            self._run(work)

    def _opened(self, engine: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Usable encodings with their vectors decrypted, without those whose vectors are not what was encrypted."""
        assert self._vault is not None
        for photo, face, vector, *rest in rows:
            with suppress(SealBroken):
                yield photo, face, self._vault.open(vector, purpose_of(photo, engine, face)), *rest

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Within the block SQLite reads the file from memory that is mapped, which spares a call for every page."""
        self._read(f"PRAGMA mmap_size = {_MAPPED}")
        try:
            yield
        finally:
            self._read("PRAGMA mmap_size = 0")

    def paths(self, without: AbstractSet[str] = frozenset()) -> dict[str, str]:
        """The photo's id of every path that is stored, whether its row is sound or not.

        Parameters
        ----------
        without : set of str
            Paths that are left out.
        """
        found: dict[str, str] = {}
        known = without if self._vault is None else {self._vault.mark(path) for path in without}

        def work(connection: sqlite3.Connection) -> None:
            found.clear()
            cursor = connection.execute("SELECT path, photo FROM files")
            while rows := cursor.fetchmany(_AT_ONCE):
                found.update([row for row in rows if row[0] not in known])

        self._run(work)
        texts = self._texts(list(found.items()))
        return dict(texts) if self._vault is None else {path: row[1] for path, row in self._by_path(texts)}

    def without_file(self) -> set[str]:
        """The ids of photos with a stored row that no stored file has."""
        of = {"encodings": "t.photo", "thumbnails": f"substr(t.photo, 1, {PHOTO_ID_LENGTH})"}
        queries = [
            f"SELECT {photo} FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.photo = {photo})"
            for table, photo in of.items()
        ]
        return {row[0] for query in queries for row in self._texts(self._read(query))}

    # -- folders --------------------------------------------------------------------------------------------------

    def folders(self) -> dict[str, KnownFolder]:
        """What is known of the folders of which every file is known, by name."""
        rows = (row for row in self._read("SELECT * FROM folders") if is_sound_folder(row))
        return {name: KnownFolder(*row[1:7]) for name, row in self._by_path(rows)}

    def remember_folders(self, folders: Mapping[str, KnownFolder]) -> None:
        """Store what is known of folders, by name."""
        rows = [(self._mark(name), *each) for name, each in folders.items()]
        self._write(("INSERT OR REPLACE INTO folders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(with_checksum, rows)))

    def forget_folders(self, names: Iterable[str]) -> None:
        self._write((_NO_FOLDER, [(self._mark(name),) for name in names]))

    # -- what an engine made of it ------------------------------------------------------------------------------

    def encodings(self, engine: str, photos: Iterable[str] | None = None) -> dict[tuple[str, str], Encoding]:
        """The encodings of `engine`, for all photos or some: (photo id, face wanted) -> Encoding."""
        order = "ORDER BY photo, engine, face"  # which is that of the file
        if photos is None:
            rows = self._read_sound(f"SELECT {_COLUMNS} FROM encodings WHERE engine = ? {order}", (engine,), key=3)
        else:
            query = f"SELECT {_COLUMNS} FROM encodings WHERE engine = ? AND photo = ?"
            rows = [row for photo in photos for row in self._read_sound(query, (engine, photo))]
        found = {}
        for row in rows:
            with _as_if_not_there():
                found[row[0], row[2]] = encoding_of(row, self._vault)
        return found

    def put(
        self,
        encodings: Iterable[Encoding],
        thumbnails: dict[str, bytes] | None = None,
        files: Iterable[tuple[str, FileStamp, str]] = (),
    ) -> None:
        """Store encodings, thumbnails (photo id -> JPEG), and which photo each file contains; durable on return."""
        insert = f"INSERT OR REPLACE INTO encodings ({_COLUMNS}) VALUES ({', '.join('?' * 14)})"
        rows = [with_checksum(row_of(encoding, self._vault)) for encoding in encodings]
        pictures = list((thumbnails or {}).items())
        if self._vault is not None:
            pictures = [(photo, self._vault.seal(jpeg, _THUMBNAIL + photo)) for photo, jpeg in pictures]
        self._write(
            (insert, rows),
            ("INSERT OR REPLACE INTO thumbnails VALUES (?, ?, ?)", map(with_checksum, pictures)),
            (_A_FILE, self._file_rows(files)),
        )

    def thumbnail(self, photo: str) -> bytes | None:
        rows = self._read_sound("SELECT photo, jpeg, checksum FROM thumbnails WHERE photo = ?", (photo,))
        for _, jpeg, _ in rows:
            with _as_if_not_there():
                return jpeg if self._vault is None else self._vault.open(jpeg, _THUMBNAIL + photo)
        return None

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
        self.erase((), photos)

    def erase(self, paths: Iterable[str], photos: Sequence[str], folders: Iterable[str] = ()) -> None:
        """The same, and erase these files and what is known of their folders, and of these folders."""
        gone, rows = list(paths), [(photo,) for photo in photos]
        self._write(
            (_NO_FOLDER, [(self._mark(name),) for name in {*folders, *map(_folder_of, gone)}]),
            ("DELETE FROM files WHERE path = ?", [(self._mark(path),) for path in gone]),
            *((f"DELETE FROM {table} WHERE photo = ?", rows) for table in ("files", "encodings", "thumbnails")),
            (f"DELETE FROM thumbnails WHERE {_ONE_OF_SEVERAL}", [_several(photo) for photo in photos]),
        )
        self._read("PRAGMA wal_checkpoint(TRUNCATE)")

    def forget_other_engines(self, engine: str) -> int:
        """Erase the results of engines other than `engine`; returns the number of rows."""
        return self._write(("DELETE FROM encodings WHERE engine != ?", [(engine,)]))

    def photos(self) -> set[str]:
        """The ids of all photos with any stored row."""
        query = "SELECT photo FROM files UNION SELECT photo FROM encodings UNION SELECT photo FROM thumbnails"
        return {row[0] for row in self._read(query)}

    def rows_about(self, photos: Sequence[str]) -> int:
        """The number of rows about these photos; 0 after `forget`."""
        tables = ("files", "encodings", "thumbnails")
        queries = [f"SELECT count(*) FROM {table} WHERE photo = ?" for table in tables]
        faces = f"SELECT count(*) FROM thumbnails WHERE {_ONE_OF_SEVERAL}"
        return sum(
            sum(self._read(query, (photo,))[0][0] for query in queries) + self._read(faces, _several(photo))[0][0]
            for photo in photos
        )


_NO_FOLDER = "DELETE FROM folders WHERE name = ?"
_A_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)"


def _folder_of(path: str) -> str:
    return path.partition("/")[0]


#: Thumbnails of each face of a photo: the photo's id, a slash, the face's number.
_ONE_OF_SEVERAL = "photo > ? AND photo < ?"


def _several(photo: str) -> tuple[str, str]:
    """What the ids of a photo's faces lie between."""
    return f"{photo}/", f"{photo}0"


def _rewrite(connection: sqlite3.Connection) -> None:
    """Rebuild all tables from the intact rows. Thumbnails and folders are dropped: they are made again when they are needed."""
    kept = {}
    for table in ("files", "encodings"):
        kept[table] = [row for row in connection.execute(f"SELECT * FROM {table}") if is_sound(row)]
    with transaction(connection):
        for table in ("files", "encodings", "thumbnails", "folders"):
            connection.execute(f"DROP TABLE {table}")
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        for table, rows in kept.items():
            if rows:
                connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = error if isinstance(error, sqlite3.Error) else (error.strerror or "").lower()
        raise StorageError(f"the cache of encodings cannot be used: {reason}") from error


def _decoded(work: Callable[..., Result], *args: Any) -> Result:
    """Do `work`. What SQLite says of damage may quote it, so that the message itself is no text."""
    try:
        return work(*args)
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError("database disk image is malformed") from error


#: Of the messages of SQLite and of the system: the disk is full, or it must not be written.
_REFUSALS = ("full", "no space", "quota", "readonly", "read-only", "unable to open", "i/o", "permission", "not permitted")


def _is_refusal(error: StorageError) -> bool:
    """Whether the disk refuses to store anything, rather than the settings naming a place that is none."""
    return any(words in error.message.lower() for words in _REFUSALS)


def _key_of(connection: sqlite3.Connection) -> str | None:
    """The id of the key that the rows are encrypted with."""
    found = connection.execute("SELECT name, value, checksum FROM meta WHERE name = 'key'").fetchone()
    if found is not None and not is_sound(found):
        raise sqlite3.DatabaseError("the name of the key is malformed")
    return found[1] if found else None


def _reseal(connection: sqlite3.Connection, vault: Vault | None, held: str | None, plain: bool = False) -> None:
    """Rewrite every row, encrypted as `vault` says or in plain; damaged rows are left out."""

    def anew(data: bytes | None, purpose: str) -> bytes | None:
        if data is None or vault is None:
            return data
        opened = data if held is None else vault.open(data, purpose)
        return opened if plain else vault.seal(opened, purpose)

    def path(row: tuple[Any, ...]) -> tuple[Any, ...]:
        if vault is None:
            return row[:-1]
        opened = row[0] if held is None else vault.unmark(row[0], held)
        return (opened if plain else vault.mark(opened), *row[1:-1])

    def vector(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return *row[:5], anew(row[5], purpose_of(*row[:3])), *row[6:-1]

    def thumbnail(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return row[0], anew(row[1], _THUMBNAIL + row[0])

    changes = ("files", 1, path), ("folders", 1, path), ("encodings", 3, vector), ("thumbnails", 1, thumbnail)
    for table, key, change in changes:
        names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall()]
        where = " AND ".join(f"{name} IS ?" for name in names[:key])
        rows = connection.execute(f"SELECT {', '.join(names[:key])} FROM {table}").fetchall()
        for place in rows:  # one at a time: all thumbnails would be much to hold
            row = connection.execute(f"SELECT * FROM {table} WHERE {where}", place).fetchone()
            connection.execute(f"DELETE FROM {table} WHERE {where}", place)
            with suppress(SealBroken):
                if row is not None and is_sound(row):
                    new = with_checksum(change(row))
                    connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(new))})", new)


@contextmanager
def _as_if_not_there() -> Iterator[None]:
    """A row that was sealed for another place is left out: it can be made again."""
    try:
        yield
    except SealBroken as error:
        log.warning("the cache of encodings was changed, and a row is made again: %s", error.message)
