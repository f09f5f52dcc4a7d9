"""Jobs in one SQLite file of the state folder, where there is one server. What is deleted is overwritten."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recognizer.core.disk import disk_errors
from recognizer.core.errors import StorageError
from recognizer.core.files import own_folder
from recognizer.core.sealed_sqlite import must_reseal, prepare, transaction
from recognizer.core.vault import Vault
from recognizer.jobs.job_store import JobStore, Run

#: The file's name in the state folder.
JOBS_FILE = "jobs.sqlite"
VERSION = 1
_LOCKED_SECONDS = 30.0
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
        self._lock = threading.RLock()
        if str(path) != ":memory:":
            with disk_errors("the state folder cannot be used"):
                own_folder(Path(path).parent)
        with _job_errors():
            self._connection = sqlite3.connect(
                str(path), timeout=_LOCKED_SECONDS, check_same_thread=False, isolation_level=None
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # the space of photos is given back
        prepare(self._connection, "the jobs were", VERSION, _TABLES)
        found = self._connection.execute("SELECT value FROM meta WHERE name = 'key'").fetchone()
        held = found[0] if found else None
        if must_reseal("the jobs are", held, self._vault):
            self._reseal(held, plain=False)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[Run]:
        with self._lock, _job_errors():
            with transaction(self._connection):
                yield self._run

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()

    def _now(self, run: Run) -> float:
        return time.time()

    def _erased(self) -> None:
        with self._lock, _job_errors():
            self._run("PRAGMA incremental_vacuum")
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")  # overwrites what the journal still holds

    # -- another key --------------------------------------------------------------------------------------------

    def _reseal(self, held: str | None, plain: bool) -> None:
        """Rewrite what is encrypted with the key `held`, or not at all, with the current key, or in plain."""
        vault = self._vault
        if vault is None:
            return

        def mark(name: str | None) -> str | None:
            if name is None:
                return None
            name = name if held is None else vault.unmark(name, held)
            return name if plain else vault.mark(name)

        def data(sealed: bytes | None, purpose: str) -> bytes | None:
            opened = sealed if sealed is None or held is None else vault.open(sealed, purpose)
            return opened if opened is None or plain else vault.seal(opened, purpose)

        with self._change() as run:
            for id_, options in run("SELECT id, options FROM job"):
                run("UPDATE job SET options = ? WHERE id = ?", (data(options, f"job{id_}"), id_))
            for job, place in run("SELECT job, place FROM job_photo"):
                row = run("SELECT source, photo, result, subject FROM job_photo WHERE job = ? AND place = ?", (job, place))[0]
                parts = [
                    data(row[number], f"job {part} {job}/{place}") for number, part in enumerate(("source", "photo", "result"))
                ]
                run(
                    "UPDATE job_photo SET source = ?, photo = ?, result = ?, subject = ? WHERE job = ? AND place = ?",
                    (*parts, mark(row[3]), job, place),
                )
            for (name,) in run("SELECT DISTINCT name FROM job_name"):
                run("UPDATE job_name SET name = ? WHERE name = ?", (mark(name), name))
            run("DELETE FROM meta WHERE name = 'key'")
            if not plain:
                run("INSERT INTO meta VALUES ('key', ?)", (vault.current,))
        self._run("VACUUM")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def decrypt(self) -> None:
        """Decrypt everything; the vault is not used any longer."""
        held = self._run("SELECT value FROM meta WHERE name = 'key'")
        if held:
            self._reseal(held[0][0], plain=True)
        self._vault = None


@contextmanager
def _job_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(f"the jobs cannot be stored: {error}") from error
