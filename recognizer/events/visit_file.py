"""Visits at the cameras, if they are kept: who was where and when, with one picture and its template.

One SQLite file in the state folder. With a key, names, templates and pictures are encrypted; cameras and times are not. A
deleted row is overwritten.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.errors import SealBroken
from recognizer.core.sealed_sqlite import NAME, SealedSqlite, SealedTables
from recognizer.core.vault import Vault

#: The file's name in the state folder.
VISITS_FILE = "visits.sqlite"
VERSION = 1
#: Somebody with a name who is seen again at the same camera within so many seconds is on the same visit.
SAME_VISIT = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS visits (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, camera TEXT NOT NULL, first REAL NOT NULL,
    last REAL NOT NULL, subject TEXT, quality REAL NOT NULL, vector BLOB, sum INTEGER, jpeg BLOB);
CREATE INDEX IF NOT EXISTS visits_by_time ON visits (last);
CREATE INDEX IF NOT EXISTS visits_by_subject ON visits (subject);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""
_VECTOR, _PICTURE = "visit template", "visit picture"
_STORED = SealedTables(
    "the visits are",
    VERSION,
    _TABLES,
    {"visits": {"subject": NAME, "vector": f"{_VECTOR} {{id}}", "jpeg": f"{_PICTURE} {{id}}"}},
)


@dataclass(frozen=True, slots=True, eq=False)
class KeptVisit:
    """Somebody's stay at a camera. Times are seconds since 1970.

    Attributes
    ----------
    number : int
        0 until it is stored.
    id : str
        Of the visit; strangers and events know it by the same one.
    camera : str
    first, last : float
        When the person was first and last seen.
    subject : str or None
    quality : float
        Of the picture, 0 to 1.
    vector : ndarray of float32, shape (d,), or None
        None if the picture cannot be compared.
    """

    number: int
    id: str
    camera: str
    first: float
    last: float
    subject: str | None
    quality: float
    vector: np.ndarray | None = None


class VisitFile:
    """The file of the visits. One transaction per call; safe from several threads and processes.

    Parameters
    ----------
    path : path of the file, or ``":memory:"``
    vault : Vault, optional

    Raises
    ------
    StorageError
    KeyMissing
    """

    def __init__(self, path: Path | str, vault: Vault | None = None):
        self._sqlite = SealedSqlite(path, _STORED, vault)

    def close(self) -> None:
        self._sqlite.close()

    @contextmanager
    def _change(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._sqlite.change() as connection:
            yield connection.execute

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        return self._sqlite.rows(query, values)

    def decrypt(self) -> None:
        """Decrypt everything; the vault is not used any longer."""
        self._sqlite.decrypt()

    def leave_out_broken(self) -> None:
        """Delete what is damaged, whoever it shows: visits that cannot be decrypted, and those whose template was changed."""
        self._sqlite.leave_out_broken()
        rows = self._rows("SELECT number, id, vector, sum FROM visits WHERE vector NOTNULL")
        broken = [
            number
            for number, id_, data, checksum in rows
            if zlib.crc32(self._sqlite.open(data, f"{_VECTOR} {id_}")) != checksum
        ]
        if broken:
            self.erase(broken)

    # -- what is stored -----------------------------------------------------------------------------------------

    def put(self, visit: KeptVisit, jpeg: bytes | None) -> None:
        """Store a visit, or what is new about one: a name, a later time, a better picture."""
        with self._change() as run:
            held = run("SELECT number, id, quality FROM visits WHERE id = ?", (visit.id,)).fetchone()
            if held is None and visit.subject is not None:
                held = run(
                    "SELECT number, id, quality FROM visits WHERE subject = ? AND camera = ? AND last >= ? AND first <= ?",
                    (self._sqlite.mark(visit.subject), visit.camera, visit.first - SAME_VISIT, visit.last + SAME_VISIT),
                ).fetchone()
            if held is None:
                run(
                    "INSERT INTO visits (id, camera, first, last, quality) VALUES (?, ?, ?, ?, -1)",
                    (visit.id, visit.camera, visit.first, visit.last),
                )
                held = run("SELECT number, id, quality FROM visits WHERE id = ?", (visit.id,)).fetchone()
            number, id_, quality = held
            run(
                "UPDATE visits SET first = min(first, ?), last = max(last, ?) WHERE number = ?",
                (visit.first, visit.last, number),
            )
            if visit.subject is not None:
                run("UPDATE visits SET subject = ? WHERE number = ?", (self._sqlite.mark(visit.subject), number))
            if jpeg is not None and visit.quality > quality:
                data = None if visit.vector is None else np.ascontiguousarray(visit.vector, "<f4").tobytes()
                run(
                    "UPDATE visits SET quality = ?, vector = ?, sum = ?, jpeg = ? WHERE number = ?",
                    (
                        visit.quality,
                        None if data is None else self._sqlite.seal(data, f"{_VECTOR} {id_}"),
                        None if data is None else zlib.crc32(data),
                        self._sqlite.seal(jpeg, f"{_PICTURE} {id_}"),
                        number,
                    ),
                )

    def find(self, where: str = "1", values: Sequence[Any] = ()) -> list[KeptVisit]:
        """Visits that fulfil a condition of SQL, oldest first."""
        columns = "number, id, camera, first, last, subject, quality, vector, sum"
        query = f"SELECT {columns} FROM visits WHERE {where} ORDER BY last, number"
        found = []
        for number, id_, camera, first, last, subject, quality, data, checksum in self._rows(query, values):
            vector = None
            try:
                name = None if subject is None else self._sqlite.unmark(subject)
                if data is not None:
                    plain = self._sqlite.open(data, f"{_VECTOR} {id_}")
                    vector = np.frombuffer(plain, "<f4") if zlib.crc32(plain) == checksum else None
            except SealBroken:
                continue
            found.append(KeptVisit(number, id_, camera, first, last, name, max(0.0, quality), vector))
        return found

    def of_subject(self, subject: str) -> list[KeptVisit]:
        """All visits of somebody; found without the index, which damage may have made incomplete."""
        return self.find("+subject = ?", (self._sqlite.mark(subject),))

    def picture(self, number: int) -> bytes | None:
        """The picture of a visit."""
        for id_, jpeg in self._rows("SELECT id, jpeg FROM visits WHERE number = ?", (number,)):
            if jpeg is not None:
                return self._sqlite.open(jpeg, f"{_PICTURE} {id_}")
        return None

    def count(self) -> int:
        return int(self._rows("SELECT count(*) FROM visits")[0][0])

    def name(self, numbers: Iterable[int], subject: str | None) -> None:
        """Give visits a name, or none."""
        mark = None if subject is None else self._sqlite.mark(subject)
        with self._change() as run:
            for number in numbers:
                run("UPDATE visits SET subject = ? WHERE number = ?", (mark, number))

    def rename(self, old: str, new: str) -> None:
        with self._change() as run:
            run("UPDATE visits SET subject = ? WHERE subject = ?", (self._sqlite.mark(new), self._sqlite.mark(old)))

    def erase(self, numbers: Iterable[int]) -> None:
        """Erase visits with their pictures and templates."""
        with self._change() as run:
            for number in numbers:
                run("DELETE FROM visits WHERE number = ?", (number,))
        self._sqlite.checkpoint()

    def purge(self, before: float) -> int:
        """Erase the visits that ended before a time; how many."""
        with self._change() as run:
            gone = run("DELETE FROM visits WHERE last < ?", (before,)).rowcount
        if gone:
            self._sqlite.checkpoint()
        return int(gone)
