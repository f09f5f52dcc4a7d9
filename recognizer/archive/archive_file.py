"""The index of a photo archive: which photos are in its folders, the faces on them, and what people decided about them.

One SQLite file in the state folder. Photos are known by their content, so that a photo which is copied or moved is not
processed again. What is about people can only be read with the installation's key, if it has one: paths, names, templates
and thumbnails are encrypted; boxes, times, and which faces are grouped together are not. A deleted row is overwritten.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recognizer.archive.archive_model import (
    ArchiveFace,
    ArchiveFolder,
    ArchivePerson,
    ArchivePhoto,
    KnownFile,
    real_path,
)
from recognizer.archive.photo_index import FaceKey
from recognizer.core.errors import SealBroken
from recognizer.core.sealed_sqlite import NAME, SealedSqlite, SealedTables
from recognizer.core.types import Box
from recognizer.core.vault import Vault
from recognizer.enrolment.encodings import FileStamp

Result = TypeVar("Result")

#: The file's name in the state folder.
ARCHIVE_FILE = "photos.sqlite"
#: Increased whenever the tables change.
VERSION = 2
#: Tables with rows of 1 kB have row ids: without, SQLite would put most of each row on a page of its own, of 4 kB.
_TABLES = """
CREATE TABLE IF NOT EXISTS folders (
    id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, added REAL NOT NULL, seen REAL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    folder INTEGER NOT NULL, path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    photo TEXT, problem TEXT, message TEXT, PRIMARY KEY (folder, path)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_photo ON files (photo);
CREATE TABLE IF NOT EXISTS photos (
    photo TEXT PRIMARY KEY, engine TEXT NOT NULL, width INTEGER, height INTEGER, taken REAL, clock TEXT,
    faces INTEGER NOT NULL, problem TEXT, message TEXT, seconds REAL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS photos_by_time ON photos (taken);
CREATE TABLE IF NOT EXISTS faces (
    photo TEXT NOT NULL, number INTEGER NOT NULL, left REAL NOT NULL, top REAL NOT NULL, right REAL NOT NULL,
    bottom REAL NOT NULL, score REAL NOT NULL, quality REAL NOT NULL, remarks TEXT, vector BLOB NOT NULL, sum INTEGER NOT NULL,
    person INTEGER, no_face INTEGER NOT NULL DEFAULT 0, seconds REAL, PRIMARY KEY (photo, number));
CREATE INDEX IF NOT EXISTS faces_by_group ON faces (person, no_face);
CREATE TABLE IF NOT EXISTS people (
    id INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT, decided INTEGER NOT NULL DEFAULT 0, rate REAL,
    likely TEXT, likely_rate REAL, fixed INTEGER NOT NULL DEFAULT 0, hidden INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS people_by_subject ON people (subject);
CREATE TABLE IF NOT EXISTS apart (one INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (one, other)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
    person INTEGER NOT NULL, subject TEXT NOT NULL, PRIMARY KEY (person, subject)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS thumbnails (
    photo TEXT NOT NULL, number INTEGER NOT NULL, jpeg BLOB NOT NULL, PRIMARY KEY (photo, number));
CREATE TABLE IF NOT EXISTS changes (id INTEGER PRIMARY KEY AUTOINCREMENT, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
_PHOTO_TABLES = ("faces", "thumbnails", "photos")
#: What binds encrypted data to its place.
_FACE, _THUMBNAIL, _CHANGE = "archive face", "archive thumbnail", "archive change"


def _tidy(connection: sqlite3.Connection) -> None:
    """What a damaged file leaves: photos without a file, and faces without a photo, which the next update reads again."""
    run = connection.execute
    run("DELETE FROM files WHERE folder NOT IN (SELECT id FROM folders)")
    run("DELETE FROM photos WHERE photo NOT IN (SELECT photo FROM files WHERE photo NOTNULL)")
    run("DELETE FROM photos WHERE faces != (SELECT count(*) FROM faces WHERE faces.photo = photos.photo)")
    for table in ("faces", "thumbnails"):
        run(f"DELETE FROM {table} WHERE photo NOT IN (SELECT photo FROM photos)")
    run("UPDATE faces SET person = NULL WHERE person NOT IN (SELECT id FROM people)")
    _forget_empty_people(connection)
    run("DELETE FROM changes")
    run("INSERT OR REPLACE INTO meta VALUES ('generation', ?)", (str(int(time.time() * 1000)),))  # no earlier one's


def _forget_empty_people(connection: sqlite3.Connection) -> None:
    """Delete groups without faces."""
    connection.execute("DELETE FROM people WHERE id NOT IN (SELECT person FROM faces WHERE person NOTNULL)")
    connection.execute("DELETE FROM refused WHERE person NOT IN (SELECT id FROM people)")
    connection.execute("DELETE FROM apart WHERE one NOT IN (SELECT id FROM people) OR other NOT IN (SELECT id FROM people)")


_STORED = SealedTables(
    "the index of the archive is",
    VERSION,
    _TABLES,
    {
        "folders": {"path": NAME},
        "files": {"path": NAME},
        "people": {"subject": NAME, "likely": NAME},
        "refused": {"subject": NAME},
        "faces": {"vector": f"{_FACE} {{photo}}/{{number}}"},
        "thumbnails": {"jpeg": f"{_THUMBNAIL} {{photo}}/{{number}}"},
        "changes": {"content": _CHANGE},
    },
    made_again=("thumbnails",),
    added={"photos": {"seconds": "REAL"}, "faces": {"seconds": "REAL"}},
    tidy=_tidy,
)


class ArchiveFile:
    """The file of the index. Owns one connection; each change is one transaction; safe from several threads and processes.

    Parameters
    ----------
    path : path of the file, or ``":memory:"``
    vault : Vault, optional
        Encrypts paths, names, templates and thumbnails.

    Raises
    ------
    StorageError
        It cannot be used, or is of a later version.
    KeyMissing
        It is encrypted with a key that `vault` lacks.
    """

    def __init__(self, path: Path | str, vault: Vault | None = None):
        self._sqlite = SealedSqlite(path, _STORED, vault)
        self._changing = False  # by the thread that has the lock of `change`

    def close(self) -> None:
        self._sqlite.close()

    # -- transactions -------------------------------------------------------------------------------------------

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction; what is done inside is durable after the block, or not done at all.

        Raises
        ------
        StorageError
        """
        with self._sqlite.change() as connection:
            outermost = not self._changing
            self._changing = True
            try:
                yield connection
                if outermost:
                    self._set_meta(connection, "generation", str(int(self.meta("generation") or 0) + 1))
            finally:
                self._changing = not outermost

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        return self._sqlite.rows(query, values)

    def meta(self, name: str) -> str | None:
        """A value that is stored under a name."""
        found = self._rows("SELECT value FROM meta WHERE name = ?", (name,))
        return found[0][0] if found else None

    def _set_meta(self, connection: sqlite3.Connection, name: str, value: str | None) -> None:
        if value is None:
            connection.execute("DELETE FROM meta WHERE name = ?", (name,))
        else:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    @property
    def generation(self) -> int:
        """Increases with every change, by any process."""
        return int(self.meta("generation") or 0)

    def report_progress(self, progress: dict[str, Any] | None) -> None:
        """Store how far an update is, for other processes; no change of the index."""
        with self._sqlite.change() as connection:
            self._set_meta(connection, "progress", None if progress is None else json.dumps(progress))

    def progress(self) -> dict[str, Any] | None:
        """What `report_progress` stored last."""
        found = self.meta("progress")
        return None if found is None else json.loads(found)

    def decrypt(self) -> None:
        """Decrypt everything; the vault is not used any longer."""
        self._sqlite.decrypt()

    def leave_out_broken(self) -> None:
        """Delete what is damaged, whoever it is about: what cannot be decrypted, and faces whose template was changed."""
        if self._sqlite.leave_out_broken():
            with self.change():  # of which searches learn
                pass
        broken = [
            FaceKey(photo, number)
            for photo, number, data, checksum in self._rows("SELECT photo, number, vector, sum FROM faces")
            if zlib.crc32(self._sqlite.open(data, f"{_FACE} {photo}/{number}")) != checksum
        ]
        if broken:
            self.forget_faces(broken)

    def checkpoint(self) -> None:
        """Overwrite what the journal still holds of deleted rows."""
        self._sqlite.checkpoint()

    def _name(self, mark: str | None) -> str | None:
        return None if mark is None else self._sqlite.unmark(mark)

    # -- folders and files --------------------------------------------------------------------------------------

    def folders(self) -> list[ArchiveFolder]:
        """All folders, in the order in which they were added."""
        rows = self._rows("SELECT id, path, added, seen, state FROM folders ORDER BY id")
        return [ArchiveFolder(id_, self._sqlite.unmark(path), *rest) for id_, path, *rest in rows]

    def add_folder(self, path: str) -> ArchiveFolder:
        """Add a folder that is not there yet."""
        with self.change() as connection:
            connection.execute(
                "INSERT INTO folders (path, added, state) VALUES (?, ?, 'new')", (self._sqlite.mark(path), time.time())
            )
        return self.folders()[-1]

    def set_folder_state(self, folder: int, state: str) -> None:
        """Note how an update found a folder; when it was seen, if it is present."""
        with self.change() as connection:
            connection.execute("UPDATE folders SET state = ? WHERE id = ?", (state, folder))
            if state == "present":
                connection.execute("UPDATE folders SET seen = ? WHERE id = ?", (time.time(), folder))

    def remove_folder(self, folder: int) -> None:
        """Remove a folder and everything about photos that are in no other one."""
        with self.change() as connection:
            connection.execute("DELETE FROM files WHERE folder = ?", (folder,))
            connection.execute("DELETE FROM folders WHERE id = ?", (folder,))
            self._forget_orphans(connection)
        self.checkpoint()

    def files(self, folder: int) -> dict[str, KnownFile]:
        """The files of a folder by their relative paths, as `stored_path` writes them."""
        rows = self._rows("SELECT path, size, mtime_ns, inode, photo, problem, message FROM files WHERE folder = ?", (folder,))
        found = {}
        for path, size, mtime, inode, photo, problem, message in rows:
            name = self._sqlite.unmark(path)
            found[name] = KnownFile(name, FileStamp(size, mtime, inode), photo, problem, message)
        return found

    def put_files(self, folder: int, files: Iterable[KnownFile]) -> None:
        """Store what an update found of files."""
        rows = [
            (folder, self._sqlite.mark(e.path), e.stamp.size, e.stamp.mtime_ns, e.stamp.inode, e.photo, e.problem, e.message)
            for e in files
        ]
        with self.change() as connection:
            connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def remove_files(self, folder: int, paths: Iterable[str]) -> int:
        """Remove files that no longer exist, and everything about photos that are nowhere any more; how many photos."""
        with self.change() as connection:
            connection.executemany(
                "DELETE FROM files WHERE folder = ? AND path = ?", [(folder, self._sqlite.mark(path)) for path in paths]
            )
            gone = self._forget_orphans(connection)
        if gone:
            self.checkpoint()
        return gone

    def _forget_orphans(self, connection: sqlite3.Connection) -> int:
        """Remove photos that no file has any more, their faces, and groups without faces."""
        gone = connection.execute("SELECT photo FROM photos WHERE photo NOT IN (SELECT photo FROM files WHERE photo NOTNULL)")
        photos = gone.fetchall()
        for table in _PHOTO_TABLES:
            connection.executemany(f"DELETE FROM {table} WHERE photo = ?", photos)
        _forget_empty_people(connection)
        return len(photos)

    def photo(self, id_: str) -> ArchivePhoto | None:
        """One photo, if it is there."""
        return self.known_photos([id_]).get(id_)

    def paths_of(self, photos: Collection[str]) -> dict[str, list[str]]:
        """The absolute paths of the files with each of these contents, in the order of the folders."""
        roots = {each.id: each.path for each in self.folders()}
        found: dict[str, list[str]] = {}
        for photo in photos:
            rows = self._rows("SELECT folder, path FROM files WHERE photo = ? ORDER BY folder", (photo,))
            found[photo] = sorted(
                str(Path(roots[folder], real_path(self._sqlite.unmark(path)))) for folder, path in rows if folder in roots
            )
        return found

    def photos_in(self, folders: Collection[int]) -> set[str]:
        """Ids of the photos that have a file in one of these folders."""
        marks = ", ".join("?" * len(folders))
        return {photo for (photo,) in self._rows(f"SELECT photo FROM files WHERE folder IN ({marks})", list(folders)) if photo}

    def problems(self, limit: int = 1000) -> list[tuple[str, str, str]]:
        """Files that cannot be used: path, code, message; in the order of folders and paths."""
        roots = {each.id: each.path for each in self.folders()}
        rows = self._rows(
            "SELECT f.folder, f.path, coalesce(f.problem, p.problem), coalesce(f.message, p.message) FROM files f "
            "LEFT JOIN photos p ON p.photo = f.photo WHERE f.problem NOTNULL OR p.problem NOTNULL ORDER BY f.folder LIMIT ?",
            (limit,),
        )
        return sorted(
            (str(Path(roots[folder], real_path(self._sqlite.unmark(path)))), code, text) for folder, path, code, text in rows
        )

    def counts(self) -> dict[str, int]:
        """How many files, photos, faces, groups and named groups there are, and files that cannot be used."""
        queries = {
            "files": "SELECT count(*) FROM files WHERE photo NOTNULL",
            "photos": "SELECT count(*) FROM photos",
            "videos": "SELECT count(*) FROM photos WHERE seconds NOTNULL",
            "faces": "SELECT count(*) FROM faces WHERE no_face = 0",
            "people": "SELECT count(*) FROM people",
            "named": "SELECT count(*) FROM people WHERE subject NOTNULL",
            "suggested": "SELECT count(*) FROM people WHERE likely NOTNULL",
            "problems": "SELECT count(*) FROM files f LEFT JOIN photos p ON p.photo = f.photo "
            "WHERE f.problem NOTNULL OR p.problem NOTNULL",
        }
        return {name: self._rows(query)[0][0] for name, query in queries.items()}

    # -- photos and faces ---------------------------------------------------------------------------------------

    def known_photos(self, photos: Collection[str]) -> dict[str, ArchivePhoto]:
        """Those of these photos that were processed."""
        found = {}
        for photo in photos:
            for row in self._rows(
                "SELECT photo, engine, width, height, taken, clock, faces, problem, message, seconds FROM photos "
                "WHERE photo = ?",
                (photo,),
            ):
                found[photo] = ArchivePhoto(*row)
        return found

    def videos(self) -> set[str]:
        """Ids of the photos that are videos."""
        return {photo for (photo,) in self._rows("SELECT photo FROM photos WHERE seconds NOTNULL")}

    def stamps_of(self, photo: str) -> dict[str, FileStamp]:
        """The files with a content as the last update found them, by their absolute paths."""
        roots = {each.id: each.path for each in self.folders()}
        rows = self._rows(
            "SELECT folder, path, size, mtime_ns, inode FROM files WHERE photo = ? ORDER BY folder, path", (photo,)
        )
        return {
            str(Path(roots[folder], real_path(self._sqlite.unmark(path)))): FileStamp(*stamp)
            for folder, path, *stamp in rows
            if folder in roots
        }

    def outdated(self, engine: str) -> set[str]:
        """Ids of the photos that another engine processed."""
        return {photo for (photo,) in self._rows("SELECT photo FROM photos WHERE engine != ?", (engine,))}

    def put_photos(self, photos: Iterable[tuple[ArchivePhoto, Sequence[ArchiveFace]]]) -> None:
        """Store processed photos with their faces. Faces that were there before keep their groups."""
        with self.change() as connection:
            for photo, faces in photos:
                before = self._faces("WHERE photo = ?", (photo.id,), False)
                hidden = {row[0] for row in self._rows("SELECT number FROM faces WHERE photo = ? AND no_face", (photo.id,))}
                for table in _PHOTO_TABLES:
                    connection.execute(f"DELETE FROM {table} WHERE photo = ?", (photo.id,))
                connection.execute(
                    "INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        photo.id,
                        photo.engine,
                        photo.width,
                        photo.height,
                        photo.taken,
                        photo.clock,
                        photo.faces,
                        photo.problem,
                        photo.message,
                        photo.seconds,
                    ),
                )
                for face in faces:
                    old = next((each for each in before if _same_place(each, face)), None)
                    data = np.ascontiguousarray(face.vector, "<f4").tobytes()
                    connection.execute(
                        "INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        (
                            photo.id,
                            face.key.number,
                            *map(float, face.box),
                            float(face.score),
                            float(face.quality),
                            face.remarks,
                            self._sqlite.seal(data, f"{_FACE} {face.key}"),
                            zlib.crc32(data),
                            face.person if old is None else old.person,
                            int(old is not None and old.key.number in hidden),
                            face.seconds,
                        ),
                    )

    def _faces(self, where: str, values: Sequence[Any] = (), visible: bool = True) -> list[ArchiveFace]:
        """Faces in the order of their keys; one whose template was damaged is left out."""
        query = (
            "SELECT photo, number, left, top, right, bottom, score, quality, remarks, vector, sum, person, seconds FROM faces "
            f"{where}{' AND no_face = 0' if visible else ''} ORDER BY photo, number"
        )
        found = []
        for photo, number, left, top, right, bottom, score, quality, remarks, data, checksum, person, seconds in self._rows(
            query, values
        ):
            key = FaceKey(photo, number)
            try:
                data = self._sqlite.open(data, f"{_FACE} {key}")
            except SealBroken:
                continue
            if zlib.crc32(data) != checksum:
                continue
            box, vector = Box(left, top, right, bottom), np.frombuffer(data, "<f4")
            found.append(ArchiveFace(key, box, score, quality, remarks, vector, person, seconds))
        return found

    def all_faces(self, engine: str) -> list[ArchiveFace]:
        """All faces that `engine` described, without those that are none."""
        return self._faces("WHERE photo IN (SELECT photo FROM photos WHERE engine = ?)", (engine,))

    def faces_on(self, photo: str) -> list[ArchiveFace]:
        """The faces on a photo."""
        return self._faces("WHERE photo = ?", (photo,))

    def faces_of(self, person: int) -> list[ArchiveFace]:
        """The faces of a group."""
        return self._faces("WHERE person = ?", (person,))

    def face(self, key: FaceKey) -> ArchiveFace | None:
        """One face, if it is there."""
        found = self._faces("WHERE photo = ? AND number = ?", (key.photo, key.number))
        return found[0] if found else None

    def place_of(self, key: FaceKey) -> tuple[int | None, bool]:
        """The group of a face, and whether its box shows no face; none of both for one that is not there."""
        rows = self._rows("SELECT person, no_face FROM faces WHERE photo = ? AND number = ?", (key.photo, key.number))
        return (rows[0][0], bool(rows[0][1])) if rows else (None, False)

    def keys_of(self, person: int) -> list[FaceKey]:
        """Keys of a group's faces, best pictures first."""
        rows = self._rows(
            "SELECT photo, number FROM faces WHERE person = ? AND no_face = 0 ORDER BY quality DESC, photo, number", (person,)
        )
        return [FaceKey(*row) for row in rows]

    def ungrouped(self, engine: str) -> list[ArchiveFace]:
        """Faces that can be grouped and have no group yet."""
        return self._faces(
            "WHERE person ISNULL AND remarks ISNULL AND photo IN (SELECT photo FROM photos WHERE engine = ?)", (engine,)
        )

    def times(self) -> dict[str, float | None]:
        """When each photo was taken."""
        return dict(self._rows("SELECT photo, taken FROM photos"))

    def thumbnail(self, key: FaceKey) -> bytes | None:
        """The thumbnail of a face, if it was made."""
        rows = self._rows("SELECT jpeg FROM thumbnails WHERE photo = ? AND number = ?", (key.photo, key.number))
        try:
            return self._sqlite.open(rows[0][0], f"{_THUMBNAIL} {key}") if rows else None
        except SealBroken:
            return None

    def put_thumbnail(self, key: FaceKey, jpeg: bytes) -> None:
        """Store a thumbnail of a face that is still there."""
        with self._sqlite.change() as connection:  # no change of the index
            connection.execute(
                "INSERT OR REPLACE INTO thumbnails SELECT photo, number, ? FROM faces WHERE photo = ? AND number = ?",
                (self._sqlite.seal(jpeg, f"{_THUMBNAIL} {key}"), key.photo, key.number),
            )

    # -- groups -------------------------------------------------------------------------------------------------

    def people(self, ids: Collection[int] | None = None) -> dict[int, ArchivePerson]:
        """All groups, or some, by id."""
        where = "" if ids is None else f" WHERE id IN ({', '.join('?' * len(ids))})"
        apart: dict[int, set[int]] = {}
        for one, other in self._rows("SELECT one, other FROM apart"):
            apart.setdefault(one, set()).add(other)
            apart.setdefault(other, set()).add(one)
        refused: dict[int, set[str]] = {}
        for person, subject in self._rows("SELECT person, subject FROM refused"):
            refused.setdefault(person, set()).add(self._sqlite.unmark(subject))
        query = f"SELECT id, subject, decided, rate, likely, likely_rate, fixed, hidden FROM people{where}"
        return {
            id_: ArchivePerson(
                id_,
                self._name(subject),
                bool(decided),
                rate,
                self._name(likely),
                likely_rate,
                bool(fixed),
                bool(hidden),
                frozenset(apart.get(id_, ())),
                frozenset(refused.get(id_, ())),
            )
            for id_, subject, decided, rate, likely, likely_rate, fixed, hidden in self._rows(query, list(ids or ()))
        }

    def sizes(self) -> dict[int, int]:
        """Id of each group -> number of its faces."""
        return dict(self._rows("SELECT person, count(*) FROM faces WHERE person NOTNULL AND no_face = 0 GROUP BY person"))

    def next_person(self) -> int:
        """An id that no group has or had; the caller stores a group under it in the same change."""
        with self.change() as connection:
            made = connection.execute("INSERT INTO people (subject) VALUES (NULL)").lastrowid
            assert made is not None
            return made

    def put_people(self, people: Iterable[ArchivePerson]) -> None:
        """Store groups; not which faces they have."""
        with self.change() as connection:
            for each in people:
                connection.execute(
                    "INSERT OR REPLACE INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        each.id,
                        None if each.subject is None else self._sqlite.mark(each.subject),
                        int(each.decided),
                        each.rate,
                        None if each.likely is None else self._sqlite.mark(each.likely),
                        each.likely_rate,
                        int(each.fixed),
                        int(each.hidden),
                    ),
                )
                connection.execute("DELETE FROM apart WHERE one = ? OR other = ?", (each.id, each.id))
                connection.executemany("INSERT OR REPLACE INTO apart VALUES (?, ?)", [(each.id, other) for other in each.apart])
                connection.execute("DELETE FROM refused WHERE person = ?", (each.id,))
                connection.executemany(
                    "INSERT OR REPLACE INTO refused VALUES (?, ?)",
                    [(each.id, self._sqlite.mark(name)) for name in each.refused],
                )

    def set_faces(self, person: int | None, keys: Iterable[FaceKey]) -> None:
        """Put faces into a group, or into none."""
        with self.change() as connection:
            connection.executemany(
                "UPDATE faces SET person = ? WHERE photo = ? AND number = ?", [(person, key.photo, key.number) for key in keys]
            )

    def set_no_face(self, key: FaceKey, no_face: bool) -> None:
        """Note that a box shows no face, or that it does after all."""
        with self.change() as connection:
            connection.execute(
                "UPDATE faces SET no_face = ? WHERE photo = ? AND number = ?", (int(no_face), key.photo, key.number)
            )

    def tidy_people(self) -> None:
        """Remove groups without faces."""
        with self.change() as connection:
            _forget_empty_people(connection)

    # -- undo ---------------------------------------------------------------------------------------------------

    def push_change(self, content: dict[str, Any], most: int = 200) -> int:
        """Store how a decision is taken back; its id. Only the newest `most` are kept."""
        data = self._sqlite.seal(json.dumps(content).encode(), _CHANGE)
        with self.change() as connection:
            made = connection.execute("INSERT INTO changes (content) VALUES (?)", (data,)).lastrowid
            assert made is not None
            connection.execute("DELETE FROM changes WHERE id <= ?", (made - most,))
            return made

    def newest_change(self) -> tuple[int, dict[str, Any]] | None:
        """The newest stored decision."""
        rows = self._rows("SELECT id, content FROM changes ORDER BY id DESC LIMIT 1")
        return (rows[0][0], json.loads(self._sqlite.open(rows[0][1], _CHANGE))) if rows else None

    def drop_change(self, id_: int) -> None:
        """Forget a decision."""
        with self.change() as connection:
            connection.execute("DELETE FROM changes WHERE id = ?", (id_,))

    # -- one person ---------------------------------------------------------------------------------------------

    def named(self, subject: str) -> list[int]:
        """Ids of the groups that have a name."""
        return [
            id_ for (id_,) in self._rows("SELECT id FROM people WHERE subject = ? ORDER BY id", (self._sqlite.mark(subject),))
        ]

    def mentions(self, subject: str) -> int:
        """How often a name is stored: of groups, suggestions and refusals."""
        mark = self._sqlite.mark(subject)
        return sum(
            self._rows(f"SELECT count(*) FROM {table} WHERE {column} = ?", (mark,))[0][0]
            for table, column in (("people", "subject"), ("people", "likely"), ("refused", "subject"))
        )

    def rename(self, old: str, new: str) -> None:
        """Store under another name what is stored under a name."""
        before, after = self._sqlite.mark(old), self._sqlite.mark(new)
        with self.change() as connection:
            connection.execute("UPDATE people SET subject = ? WHERE subject = ?", (after, before))
            connection.execute("UPDATE people SET likely = ? WHERE likely = ?", (after, before))
            connection.execute("UPDATE OR REPLACE refused SET subject = ? WHERE subject = ?", (after, before))
            connection.execute("DELETE FROM changes")

    def forget_name(self, subject: str) -> None:
        """Erase a name, also from suggestions, refusals, and what could be taken back."""
        mark = self._sqlite.mark(subject)
        with self.change() as connection:
            connection.execute("UPDATE people SET subject = NULL, decided = 0, rate = NULL WHERE subject = ?", (mark,))
            connection.execute("UPDATE people SET likely = NULL, likely_rate = NULL WHERE likely = ?", (mark,))
            connection.execute("DELETE FROM refused WHERE subject = ?", (mark,))
            connection.execute("DELETE FROM changes")

    def forget_faces(self, keys: Collection[FaceKey]) -> None:
        """Erase faces: templates, boxes and thumbnails. Their photos stay known, so that they are not processed again."""
        at = [(key.photo, key.number) for key in keys]
        with self.change() as connection:
            for table in ("faces", "thumbnails"):
                connection.executemany(f"DELETE FROM {table} WHERE photo = ? AND number = ?", at)
            connection.executemany(
                "UPDATE photos SET faces = (SELECT count(*) FROM faces WHERE faces.photo = photos.photo) WHERE photo = ?",
                [(photo,) for photo, _ in at],
            )
            _forget_empty_people(connection)
            connection.execute("DELETE FROM changes")
        self.checkpoint()


def _same_place(one: ArchiveFace, other: ArchiveFace) -> bool:
    """Whether two faces of one photo or video are the same one."""
    at, now = one.seconds, other.seconds
    if at is None or now is None:
        return _overlap(one.box, other.box) > 0.5 and at is now
    return abs(at - now) < _SAME_TIME and _overlap(one.box, other.box) > 0.5


#: Seconds by which the same face of a video may be at another time after a change of the engine, which prefers other pictures.
_SAME_TIME = 0.75


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    common = max(0.0, width) * max(0.0, height)
    return common / (one.area + other.area - common)
