"""Retention: erases people whose consent has expired, and purges old events of unknown people."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from recognizer.core.audit import acting
from recognizer.core.errors import RecognizerError, SubjectNotFound

log = logging.getLogger("recognizer.retention")

_Result = TypeVar("_Result")

#: Seconds between two sweeps.
PAUSE = 60.0
#: Maximum number of seconds between two attempts to erase somebody.
_LONGEST_PAUSE = 3600.0
_DAY = 86_400.0


class Expiring(Protocol):
    """Whoever knows when consents expire: an `Enrolment`, or all of them."""

    def expired(self, now: float | None = None) -> dict[str, float]:
        """The people whose consent has expired, and since when, in seconds since 1970."""


class Sweep:
    """A thread that sweeps periodically until it is closed.

    Parameters
    ----------
    people : Expiring
        Knows whose consent has expired.
    erase : callable
        Called with the name of a person to erase.
    finish : callable
        Goes on with erasures that were not finished; returns how many are finished now.
    purge_events : callable
        Deletes expired events; returns how many.
    grace_days : float
        Days between the expiry and the erasure.
    pause : float
        Seconds between two sweeps. An erasure that fails is repeated after this time, then after twice as long each time, up
        to an hour.
    """

    def __init__(
        self,
        people: Expiring,
        erase: Callable[[str], object],
        finish: Callable[[], int],
        purge_events: Callable[[], int],
        grace_days: float,
        *,
        pause: float = PAUSE,
    ):
        self._people, self._erase, self._finish, self._purge_events = people, erase, finish, purge_events
        self._grace = grace_days * _DAY
        self._pause = pause
        self._counts = {"sweeps": 0, "erased": 0, "finished": 0, "purged_events": 0, "failed": 0}
        self._last: float | None = None
        self._retries: dict[str, tuple[float, float]] = {}  # by name: when to try again, and how long this waits
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def counts(self) -> dict[str, Any]:
        """Counts since the start, and how many people wait for their erasure."""
        return {**self._counts, "expired": len(self._people.expired()), "last": self._last}

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            with acting("retention"):
                self.sweep()
            self._stop.wait(self._wait())

    def _wait(self) -> float:
        """Seconds until the next sweep: fewer if somebody is to be erased earlier."""
        try:
            expired = self._people.expired()
        except Exception:
            return self._pause
        due = min((self._due(name, since) for name, since in expired.items()), default=None)
        return self._pause if due is None else min(self._pause, max(1.0, due - time.time()))

    def _due(self, name: str, since: float) -> float:
        """When a person is to be erased, or when this is to be tried again."""
        return max(since + self._grace, self._retries.get(name, (0.0, 0.0))[0])

    def sweep(self) -> None:
        """Erase people whose grace period is over, finish what earlier erasures left, and purge events.

        What fails is counted, and prevents nothing else.
        """
        expired = self._attempt("who is to be erased cannot be found", self._people.expired) or {}
        self._retries = {name: retry for name, retry in self._retries.items() if name in expired}
        for name, since in expired.items():
            if time.time() < self._due(name, since) or self._stop.is_set():
                continue
            if self._attempt("somebody whose consent has expired could not be erased", lambda: self._erased(name)):  # noqa: B023
                self._retries.pop(name, None)
            else:
                waited = self._retries.get(name, (0.0, self._pause / 2))[1]
                pause = min(2 * waited, _LONGEST_PAUSE)
                self._retries[name] = (time.time() + pause, pause)
        self._counts["finished"] += self._attempt("earlier changes could not be finished", self._finish) or 0
        self._counts["purged_events"] += self._attempt("old events could not be deleted", self._purge_events) or 0
        self._counts["sweeps"] += 1
        self._last = round(time.time(), 3)

    def _erased(self, name: str) -> bool:
        try:
            self._erase(name)
        except SubjectNotFound:  # another process erased the person
            return True
        self._counts["erased"] += 1
        log.info("somebody was erased, whose consent had expired")
        return True

    def _attempt(self, failure: str, work: Callable[[], _Result]) -> _Result | None:
        """Do one part of a sweep; None if it fails, which is logged and counted."""
        try:
            return work()
        except RecognizerError as error:
            self._counts["failed"] += 1
            log.warning("%s: %s", failure, error.message)
        except Exception:
            self._counts["failed"] += 1
            log.exception("%s", failure)
        return None
