"""The keys and sessions: in the database where nodes share one, and in the state folder otherwise."""

from __future__ import annotations

from pathlib import Path

from recognizer.access.access_file import AccessFile
from recognizer.access.access_tables import AccessTables
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy


def open_access(state: Path, database: Database | None, copy: LocalCopy | None = None) -> AccessFile:
    """The keys and sessions of a node; with `copy`, they are known also to a node that starts while the database is away."""
    return AccessFile(state / "access.sqlite") if database is None else AccessTables(database, copy)
