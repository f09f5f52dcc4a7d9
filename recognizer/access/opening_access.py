"""The keys and sessions: in the database where nodes share one, and in the state folder otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from recognizer.access.access_file import AccessFile
from recognizer.access.access_tables import AccessTables
from recognizer.access.signing import SigningSecrets
from recognizer.access.signing_table import SigningTable
from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy


def open_access(state: Path, database: Database | None, copy: LocalCopy | None = None) -> AccessFile:
    """The keys and sessions of a node; with `copy`, they are known also to a node that starts while the database is away."""
    return AccessFile(state / "access.sqlite") if database is None else AccessTables(database, copy)


def open_signing(state: Path, vault: Callable[[], Vault | None], database: Database | None) -> SigningSecrets:
    """The keys that may sign requests; `vault` returns what encrypts them, or None."""
    return SigningSecrets(state, vault) if database is None else SigningTable(database, vault)
