"""The tables of the database: creating them, bringing them up to date, and checking them before a node uses them.

The migrations are Alembic's, in `migrations/versions`, as SQL. A node never migrates by itself: several start at once, and an
older one may still be running.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recognizer.core.errors import EngineMismatch, SettingsError, StorageError
from recognizer.core.vault import Vault
from recognizer.database.connection import MISSING, Database

#: The newest migration; a test compares it with the files.
NEWEST = "0007"
_MIGRATIONS = Path(__file__).with_name("migrations")
_ADVICE = "run `python -m recognizer database"


@dataclass(frozen=True, slots=True)
class Installation:
    """What all nodes of a database have in common.

    Attributes
    ----------
    engine : str
        Id of the engine whose templates are stored.
    dim : int
        Length of its templates.
    sealed_by : str or None
        Id of the key that encrypts photos and templates; None if they are not encrypted.
    """

    engine: str
    dim: int
    sealed_by: str | None


def version(database: Database) -> str | None:
    """The newest migration that was applied; None if there are no tables.

    Raises
    ------
    DatabaseAway, StorageError
    """
    if database.rows("select to_regclass('alembic_version')")[0][0] is None:
        return None
    found = database.rows("select version_num from alembic_version")
    return found[0][0] if found else None


def migrate(database: Database) -> tuple[str | None, str]:
    """Create the tables or bring them up to date; the versions before and after. Safe while others do the same.

    Raises
    ------
    SettingsError
        A package is missing.
    StorageError
        The user of the database may not do this, or pgvector is not installed there.
    DatabaseAway
    """
    try:
        import alembic.command
        import sqlalchemy
        from alembic.config import Config
    except ImportError:
        raise SettingsError(MISSING) from None
    before = version(database)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: _plain(database), poolclass=sqlalchemy.NullPool)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("select pg_advisory_xact_lock(hashtext('recognizer migrations'))")
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")
    except sqlalchemy.exc.DBAPIError as error:
        raise StorageError(f"the tables cannot be made: {_reason(error.orig)}") from None
    return before, NEWEST


def _plain(database: Database) -> Any:
    connection = database.connect()
    connection.autocommit = False
    return connection


def _reason(error: Any) -> str:
    shown = str(getattr(getattr(error, "diag", None), "message_primary", None) or type(error).__name__)
    if "vector" in shown and ("extension" in shown or "control file" in shown):
        return "the extension pgvector is not installed on the database's machine, or this user may not create it"
    return shown


def require_current(database: Database) -> None:
    """Check that the tables are those of this version.

    Raises
    ------
    SettingsError
        They are missing, older or newer; the message says what to run.
    DatabaseAway
    """
    found = version(database)
    if found is None:
        raise SettingsError(f"the database has no tables yet: {_ADVICE} init`")
    if found < NEWEST:
        raise SettingsError(f"the tables of the database are of version {found}, expected {NEWEST}: {_ADVICE} migrate`")
    if found > NEWEST:
        raise SettingsError(f"the tables of the database are of version {found}, this program knows {NEWEST}: update it")


def installation(database: Database) -> Installation | None:
    """What all nodes have in common; None before the first node or `database load`."""
    found = database.rows("select engine, dim, sealed_by from installation")
    return Installation(*found[0]) if found else None


def join(database: Database, engine: str, dim: int, vault: Vault | None) -> None:
    """Check that a node may use this database; the first one determines the engine and the key.

    Raises
    ------
    EngineMismatch
        The templates were made by another engine.
    SettingsError
        The photos and templates are encrypted with another key, or this node has a key and they are not encrypted.
    DatabaseAway, StorageError
    """
    sealed_by = None if vault is None else vault.current
    with database.transaction() as connection:
        connection.execute(
            "insert into installation (engine, dim, sealed_by) values (%s, %s, %s) on conflict do nothing",
            (engine, dim, sealed_by),
        )
    found = installation(database)
    assert found is not None  # a row was inserted
    if (found.engine, found.dim) != (engine, dim):
        raise EngineMismatch(
            f"the database has templates of the engine {found.engine!r}, and this node has {engine!r}: all nodes must have "
            "the same RECOGNIZER_DETECTOR, RECOGNIZER_EMBEDDER, RECOGNIZER_PROVIDER and version"
        )
    known = [] if vault is None else vault.ids
    if found.sealed_by is None and vault is not None:
        raise SettingsError("the data in the database is not encrypted, and this node has an encryption key")
    if found.sealed_by is not None and found.sealed_by not in known:
        raise SettingsError(f"the data in the database is encrypted with the key {found.sealed_by}, which this node lacks")
