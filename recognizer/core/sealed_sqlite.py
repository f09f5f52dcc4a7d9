"""What the SQLite files of the state folder share whose contents may be encrypted: their tables, their key, transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from recognizer.core.errors import KeyMissing, StorageError
from recognizer.core.vault import Vault


def prepare(connection: sqlite3.Connection, what: str, version: int, tables: str) -> None:
    """Set how a file is written, and create the tables that are missing.

    Parameters
    ----------
    connection : sqlite3.Connection
    what : str
        What is stored, and its verb, for messages: ``the visits were``.
    version : int
        Of the tables, as ``PRAGMA user_version``.
    tables : str
        Statements that create the tables where they are missing.

    Raises
    ------
    StorageError
        The file is of a later version.
    """
    connection.execute("PRAGMA secure_delete = ON")  # a deleted face is overwritten, not only unlinked
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > version:
        raise StorageError(f"{what} written by a later release (version {found})")
    connection.executescript(tables)
    connection.execute(f"PRAGMA user_version = {version}")


def must_reseal(what: str, held: str | None, vault: Vault | None) -> bool:
    """Whether contents that are encrypted with the key `held`, or not at all, are to be encrypted with the vault's key.

    Raises
    ------
    KeyMissing
        The vault lacks that key.
    """
    if held == (None if vault is None else vault.current):
        return False
    if held is not None and (vault is None or held not in vault.ids):
        raise KeyMissing(f"{what} encrypted with the key {held}, which is not there", key=held)
    return True


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: what is done inside is durable after the block, or not done at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
