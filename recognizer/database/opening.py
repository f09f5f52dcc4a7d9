"""What is in the database where nodes share one, and in the state folder otherwise."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from recognizer.core.adjustments import Adjustments
from recognizer.core.audit import AuditLog
from recognizer.core.lock import WriteLock
from recognizer.core.vault import Vault
from recognizer.database.audit_table import AuditTable
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy
from recognizer.database.shared_state import DatabaseLock, SharedAdjustments


def open_database(url: str | None) -> Database | None:
    """The database of a setting; None without one. Connections are made when they are needed.

    Raises
    ------
    SettingsError
    """
    return Database(url) if url else None


def open_audit(state: Path, vault: Vault | None, database: Database | None) -> AuditLog:
    """The audit log."""
    return AuditLog(state / "audit", vault) if database is None else AuditTable(database, vault)


def open_adjustments(
    state: Path, names: Collection[str], database: Database | None, copy: LocalCopy | None = None
) -> Adjustments:
    """The settings that were changed at run time."""
    return Adjustments(state / "settings.json", names) if database is None else SharedAdjustments(database, names, copy)


def open_lock(state: Path, database: Database | None) -> WriteLock:
    """The lock of every write."""
    return WriteLock(state) if database is None else DatabaseLock(database)
