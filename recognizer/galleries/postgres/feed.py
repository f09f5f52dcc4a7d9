"""Follows the changes of other nodes: a thread that NOTIFY wakes, and that reads the table `change`, which is the truth."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from recognizer.core.errors import RecognizerError
from recognizer.database.connection import CHANNEL, Database

log = logging.getLogger(__name__)

#: Seconds after which the table is read although nothing woke the thread: a server that hangs is noticed.
QUIET_SECONDS = 1.0
#: Seconds between attempts to reach a database that is away; a random part keeps many nodes from asking at once.
RETRY_SECONDS = 0.25


class Feed:
    """Calls `catch_up` whenever there may be changes, as long as the process lives.

    Parameters
    ----------
    database : Database
    catch_up : callable
        Reads what has changed.
    back : callable
        Called after the database was away, before `catch_up`.
    """

    def __init__(self, database: Database, catch_up: Callable[[], object], back: Callable[[], object] = lambda: None):
        self._database, self._catch_up, self._back = database, catch_up, back
        self._ended = threading.Event()
        database.followed = True
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._database.followed = False
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                with self._database.connect() as connection:
                    self._follow(connection)
            except RecognizerError as error:
                log.debug("the feed of changes is interrupted: %s", error.message)
            except Exception:
                log.exception("the feed of changes is interrupted")
            self._ended.wait(RETRY_SECONDS * (1 + random.random()))

    def _follow(self, connection: Any) -> None:
        """Read changes until the connection is lost."""
        with self._database.errors():
            connection.execute(f"listen {CHANNEL}")
        was_away = self._database.away_since
        self._database.note_there()
        if was_away is not None:
            log.info("the database is back after %.1f s", time.time() - was_away)
        self._back()
        while not self._ended.is_set():
            self._catch_up()
            with self._database.errors():
                woken = False
                for _ in connection.notifies(timeout=QUIET_SECONDS, stop_after=1):
                    woken = True
                for _ in connection.notifies(timeout=0):  # one pass over the table serves all that wait
                    pass
                if not woken:
                    connection.execute("select 1")
