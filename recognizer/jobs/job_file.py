"""Jobs in one SQLite file of the state folder, where there is one server. What is deleted is overwritten."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recognizer.core.sealed_sqlite import NAME, SealedSqlite, SealedTables
from recognizer.core.vault import Vault
from recognizer.jobs.job_store import JobStore, Run

#: The file's name in the state folder.
JOBS_FILE = "jobs.sqlite"
VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS job (
    id TEXT PRIMARY KEY, operation TEXT NOT NULL, options BLOB NOT NULL, state TEXT NOT NULL, made REAL NOT NULL, begun REAL,
    ended REAL, photos INTEGER NOT NULL, done INTEGER NOT NULL, failed INTEGER NOT NULL, error TEXT, taken_by TEXT,
    taken_until REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS job_photo (
    job TEXT NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, source BLOB NOT NULL, photo BLOB, bytes INTEGER NOT NULL,
    subject TEXT, result BLOB, attempts INTEGER NOT NULL, taken_by TEXT, taken_until REAL, PRIMARY KEY (job, place));
CREATE INDEX IF NOT EXISTS job_photo_waiting ON job_photo (place, job) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS job_photo_subject ON job_photo (subject) WHERE subject IS NOT NULL;
CREATE TABLE IF NOT EXISTS job_name (
    name TEXT NOT NULL, job TEXT NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (name, job, place)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS job_name_job ON job_name (job);
CREATE TABLE IF NOT EXISTS job_edition (number INTEGER NOT NULL);
INSERT INTO job_edition SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM job_edition);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
"""


def _tidy(connection: sqlite3.Connection) -> None:
    """Count the photos of each job anew; what belongs to no job any more is deleted."""
    run = connection.execute
    run("DELETE FROM job_photo WHERE job NOT IN (SELECT id FROM job)")
    run(
        "DELETE FROM job_name WHERE NOT EXISTS "
        "(SELECT 1 FROM job_photo p WHERE p.job = job_name.job AND p.place = job_name.place)"
    )
    of_it = "SELECT count(*) FROM job_photo p WHERE p.job = job.id"
    run(f"UPDATE job SET photos = ({of_it}), done = ({of_it} AND state = 'done'), failed = ({of_it} AND state = 'failed')")
    run("UPDATE job SET state = 'done', ended = ? WHERE state = 'running' AND done + failed >= photos", (time.time(),))


_STORED = SealedTables(
    "the jobs are",
    VERSION,
    _TABLES,
    {
        "job": {"options": "job{id}"},
        "job_photo": {
            "source": "job source {job}/{place}",
            "photo": "job photo {job}/{place}",
            "result": "job result {job}/{place}",
            "subject": NAME,
        },
        "job_name": {"name": NAME},
    },
    before="PRAGMA auto_vacuum = INCREMENTAL",  # the space of photos is given back
    tidy=_tidy,
)


class JobFile(JobStore):
    """The file of the jobs.

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
        super().__init__(vault)
        self._sqlite = SealedSqlite(path, _STORED, vault)

    def close(self) -> None:
        self._sqlite.close()

    @contextmanager
    def _change(self) -> Iterator[Run]:
        with self._sqlite.change() as connection:

            def run(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                return connection.execute(statement, values).fetchall()

            yield run

    def _now(self, run: Run) -> float:
        return time.time()

    def _erased(self) -> None:
        self._sqlite.rows("PRAGMA incremental_vacuum")
        self._sqlite.checkpoint()

    def leave_out_broken(self) -> None:
        """Delete what cannot be decrypted, whoever it is about."""
        self._sqlite.leave_out_broken()

    def decrypt(self) -> None:
        """Decrypt everything; the vault is not used any longer."""
        self._sqlite.decrypt()
        self._vault = None
