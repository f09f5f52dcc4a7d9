"""Connections to PostgreSQL: transactions, the lock of every write, and errors in the form of ours.

A thread that is in a transaction, or holds the lock, uses its one connection for everything. If that connection is lost, the
lock is lost with it, and so is whatever the thread has not committed: nothing is written without the lock.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from recognizer.core.errors import Busy, DatabaseAway, SettingsError, StorageError

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

#: Numbers of the advisory locks: of every write, of the order of changes, of the audit log, of the cameras, of dropped photos,
#: of the rules, of what is kept as one piece.
WRITES, CHANGES, AUDIT, CAMERAS, DROPPED, RULES, KEPT = (0x7265636F00 + number for number in range(1, 8))
#: The channel that wakes the nodes.
CHANNEL = "recognizer_change"
#: Seconds that a write waits for the writes of others.
PATIENCE_FOR_WRITES = 60
#: Seconds to wait for a connection.
PATIENCE = 2.0
#: Seconds for which the database counts as away after a failure, without asking again.
AWAY_SECONDS = 1.0
CONNECTIONS = 8
_AWAY = "the database cannot be reached"
#: So that a server which hangs, or a cable that was pulled, is noticed.
_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "recognizer",
}
MISSING = "a database needs the extra packages of requirements-postgres.txt: pip install 'recognizer[postgres]'"


class Database:
    """A pool of connections. Safe from any thread.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/name``, or a connection string of libpq.
    connections : int
        Most connections at once; the feed has one more.
    patience : float
        Seconds to wait for a connection.

    Raises
    ------
    SettingsError
        The URL is not valid, or a package is missing.
    """

    def __init__(self, url: str, *, connections: int = CONNECTIONS, patience: float = PATIENCE):
        try:
            from psycopg import ProgrammingError
            from psycopg.conninfo import make_conninfo
            from psycopg_pool import ConnectionPool
        except ImportError:
            raise SettingsError(MISSING) from None
        try:
            self._conninfo = make_conninfo(url, **_KEEPALIVE)
        except ProgrammingError:
            raise SettingsError("database_url: expected postgresql://user:password@host:port/name") from None
        self._patience = patience
        self._local = threading.local()
        self._away: float | None = None  # since when, in seconds since 1970
        self._failed = float("-inf")
        self._lock = threading.Lock()
        self._opened = False
        #: Whether a thread notices by itself when the database is back; then nobody else tries meanwhile, and waits for it.
        self.followed = False
        self._pool: ConnectionPool[Connection[Any]] = ConnectionPool(
            self._conninfo,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=patience,
            kwargs={"autocommit": True},
            check=ConnectionPool.check_connection,
            name="recognizer",
        )

    @property
    def conninfo(self) -> str:
        """For connections besides those of the pool; contains the password."""
        found: str = self._conninfo
        return found

    @property
    def away_since(self) -> float | None:
        """Since when the database cannot be reached, in seconds since 1970; None while it can."""
        return self._away

    def connect(self) -> Connection[Any]:
        """A connection of one's own, in autocommit mode.

        Raises
        ------
        DatabaseAway
        """
        import psycopg

        with self.errors():
            return psycopg.connect(self._conninfo, autocommit=True)

    def close(self) -> None:
        """Close all connections of the pool."""
        self._pool.close()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the errors of psycopg within the block into ours.

        Raises
        ------
        DatabaseAway, Busy, StorageError
        """
        import psycopg
        from psycopg_pool import PoolTimeout

        try:
            yield
        except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled, psycopg.errors.DeadlockDetected):
            raise Busy("another change is in progress; try again shortly") from None
        except (psycopg.OperationalError, PoolTimeout):
            self.note_away()
            raise DatabaseAway(_AWAY) from None
        except psycopg.Error as error:
            shown = error.diag.message_primary or type(error).__name__
            raise StorageError(f"the database refused a statement: {shown}") from error

    def note_away(self) -> None:
        """Note that the database could not be reached just now."""
        self._failed = time.monotonic()
        if self._away is None:
            self._away = time.time()

    def note_there(self) -> None:
        """Note that the database was reached just now."""
        self._away, self._failed = None, float("-inf")

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        """The connection of this thread, or one of the pool for the block."""
        own = getattr(self._local, "connection", None)
        if own is not None:
            yield own
            return
        if self._away is not None and (self.followed or time.monotonic() - self._failed < AWAY_SECONDS):
            raise DatabaseAway(_AWAY)
        if not self._opened:
            with self._lock:
                self._pool.open()
                self._opened = True
        with self.errors(), self._pool.connection() as connection:
            self.note_there()
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """One transaction, committed when the block ends; within another one of this thread, a part of it.

        Raises
        ------
        DatabaseAway, StorageError
        """
        with self._connection() as connection, self.errors(), connection.transaction():
            yield connection

    def rows(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement.

        Raises
        ------
        DatabaseAway, StorageError
        """
        with self._connection() as connection, self.errors():
            found: list[tuple[Any, ...]] = connection.execute(cast(Any, statement), values).fetchall()
            return found

    @contextlib.contextmanager
    def hold(self, patience: float | None = None) -> Iterator[None]:
        """Within the block, no other thread and no other node writes. A thread that holds the lock may take it again.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for others; `PATIENCE_FOR_WRITES` by default.

        Raises
        ------
        DatabaseAway
        Busy
            Others wrote for so long.
        """
        if getattr(self._local, "holds", False):
            yield
            return
        # 0 would wait for ever
        wait = max(1, int(1000 * (PATIENCE_FOR_WRITES if patience is None else patience)))
        with self._connection() as connection:
            with self.errors():
                connection.execute("select set_config('lock_timeout', %s, false)", [f"{wait}ms"])
                connection.execute("select pg_advisory_lock(%s)", [WRITES])
            self._local.holds = True
            try:
                yield
            finally:
                self._local.holds = False
                with contextlib.suppress(Exception):  # a lost connection has lost its lock
                    connection.execute("select pg_advisory_unlock(%s)", [WRITES])

    @contextlib.contextmanager
    def write(self) -> Iterator[ChangeWriter]:
        """One transaction that changes what the nodes know; see `ChangeWriter`.

        Transactions that note changes are committed in the order of the numbers of the changes: without the lock that this
        takes, a reader could see number 2 before number 1 is committed, and would never look for number 1.

        Raises
        ------
        DatabaseAway, Busy, StorageError
        """
        with self.transaction() as connection:
            writer = ChangeWriter(connection)
            with self.errors():
                connection.execute("select pg_advisory_xact_lock(%s)", [CHANGES])
            yield writer
            writer.wake()
        if writer.seq:
            self._local.seq = writer.seq

    def latest_change(self) -> int:
        """The number of the last change that this thread committed, since `forget_changes`; 0 for none."""
        return getattr(self._local, "seq", 0)

    def forget_changes(self) -> None:
        """Begin a new piece of work of this thread; see `latest_change`."""
        self._local.seq = 0


class ChangeWriter:
    """Notes in the table `change` what a transaction changes.

    Changes carry the numbers of subjects, never a name, so that erasing a subject leaves no name in the table.

    Attributes
    ----------
    connection : psycopg.Connection
        In the transaction.
    seq : int
        Number of the last change that was noted; 0 before the first.
    """

    def __init__(self, connection: Connection[Any]):
        self.connection = connection
        self.seq = 0

    def note(self, kind: str, subject: int, photo: str | None = None, other: int | None = None) -> None:
        """Note a change.

        Parameters
        ----------
        kind : str
            ``photo``: a photo of the subject is to be read again; ``subject``: the whole subject is; ``merge``: the photos of
            the subject belong to `other` now.
        """
        row = self.connection.execute(
            "insert into change (kind, subject, photo, other) values (%s, %s, %s, %s) returning seq",
            (kind, subject, photo, other),
        ).fetchone()
        assert row is not None  # an insert returns its row
        self.seq = row[0]

    def wake(self) -> None:
        """Wake the other nodes once the transaction is committed."""
        if self.seq:
            self.connection.execute("select pg_notify(%s, '')", [CHANNEL])
