"""Jobs in the database that nodes share: any node takes photos of any job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.jobs.job_store import JobStore, Run


class JobTables(JobStore):
    """The tables of the jobs in a database.

    Parameters
    ----------
    database : Database
    vault : Vault, optional
    """

    _skip_locked = " FOR UPDATE SKIP LOCKED"  # of nodes that ask at once, each gets another photo
    _for_update, _for_share = " FOR UPDATE", " FOR SHARE"

    def __init__(self, database: Database, vault: Vault | None = None):
        super().__init__(vault)
        self._database = database

    @contextmanager
    def _change(self) -> Iterator[Run]:
        with self._database.transaction() as connection:

            def run(statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
                with self._database.errors():
                    cursor = connection.execute(cast(Any, statement.replace("?", "%s")), values)
                    return cursor.fetchall() if cursor.description else []

            yield run

    def _now(self, run: Run) -> float:
        return float(run("SELECT extract(epoch FROM clock_timestamp())::float8")[0][0])

    def close(self) -> None:
        """Nothing: the database belongs to others."""

    def _erased(self) -> None:
        """Nothing: the database gives space back by itself."""
