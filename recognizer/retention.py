"""What happens by itself as time passes: people whose consent has expired are erased, and events of unknown people go."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from .audit import acting
from .enrolment import Enrolment
from .errors import RecognizerError, SubjectNotFound

log = logging.getLogger("recognizer.retention")

#: Seconds between two sweeps.
PAUSE = 60.0
_DAY = 86_400.0


class Sweep:
    """A thread that sweeps now and then, until it is closed.

    Parameters
    ----------
    enrolment : Enrolment
    erase : callable
        Told the name of whom to erase.
    purge_events : callable
        Deletes the events that are kept no longer; how many.
    grace_days : float
        Days between the expiry and the erasure.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        erase: Callable[[str], object],
        purge_events: Callable[[], int],
        grace_days: float,
        *,
        pause: float = PAUSE,
    ):
        self._enrolment, self._erase, self._purge_events = enrolment, erase, purge_events
        self._grace = grace_days * _DAY
        self._pause = pause
        self._counts = {"sweeps": 0, "erased": 0, "purged_events": 0, "failed": 0}
        self._last: float | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
        self._thread.start()

    def counts(self) -> dict:
        """Everything that was done since the start, and how many wait for their erasure."""
        return {**self._counts, "expired": len(self._enrolment.expired()), "last": self._last}

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with acting("retention"):
                    self.sweep()
            except RecognizerError as error:
                self._counts["failed"] += 1
                log.warning("a sweep of what is kept no longer failed: %s", error.message)
            except Exception:
                self._counts["failed"] += 1
                log.exception("a sweep of what is kept no longer failed")
            self._stop.wait(self._wait())

    def _wait(self) -> float:
        """Seconds until the next sweep: soon where somebody is to be erased."""
        due = min((since + self._grace for since in self._enrolment.expired().values()), default=None)
        return self._pause if due is None else min(self._pause, max(1.0, due - time.time()))

    def sweep(self) -> None:
        """Erase whose grace is over, and purge events."""
        for name, since in self._enrolment.expired().items():
            if time.time() >= since + self._grace:
                try:
                    self._erase(name)
                    self._counts["erased"] += 1
                    log.info("somebody was erased, whose consent had expired")
                except SubjectNotFound:
                    continue  # by another process
        self._counts["purged_events"] += self._purge_events()
        self._counts["sweeps"] += 1
        self._last = round(time.time(), 3)
