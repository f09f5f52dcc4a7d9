"""Events on their way to somebody who may be away: read from the log by a cursor that is kept on the disk.

Nothing queues in memory: what waits for a receiver is the log itself. So a restart loses nothing, and what the log still keeps
is the bound on what may wait.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

from ..files import write_durably
from .event_log import EventLog

log = logging.getLogger("recognizer.events")

_BATCH = 50


def backoff(attempt: int, least: float = 1.0, most: float = 300.0) -> float:
    """Seconds to wait after the n-th failure in a row, n from 1: doubled each time, up to `most`, and scattered by half."""
    return min(most, least * 2 ** min(attempt - 1, 20)) * random.uniform(0.5, 1.0)


class Cursor:
    """The id of the last event that a receiver is done with, in a file. One thread owns it.

    A receiver that is new begins with what comes from now on.
    """

    def __init__(self, file: Path, last: int):
        self._file = file
        try:
            self.after = int(json.loads(file.read_bytes())["after"])
        except FileNotFoundError:
            self.move(last)
        except (ValueError, KeyError, TypeError, OSError):
            log.warning("%s was damaged: it begins with new events", file.name)
            self.move(last)
        if self.after > last:  # the log was deleted
            self.move(last)

    def move(self, after: int) -> None:
        self.after = after
        try:
            write_durably(self._file, json.dumps({"after": after}).encode())
        except OSError as error:  # told again after a restart, which receivers have to bear anyway
            log.warning("%s cannot be written: %s", self._file.name, error.strerror)


class Delivery:
    """A thread that hands every event of the log to `deliver`, in order, and remembers how far it came.

    Subclasses override `deliver`; it returns once the event is done with, delivered or given up, or raises `Stopped`.

    `label` names it in counts and logs, `problem` says what is wrong with the receiver now.

    Parameters
    ----------
    events : EventLog
    name : str
        Of the cursor's file: letters, digits and hyphens.
    backlog : int
        Most events that may wait: of more, the oldest are passed over, and counted as dropped.
    """

    def __init__(self, events: EventLog, name: str, backlog: int):
        self.events, self.name, self.backlog = events, name, backlog
        self.label = name
        self.problem: str | None = None
        self.counts = {"delivered": 0, "retried": 0, "dropped": 0}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._cursor = Cursor(self.events.folder / f"{self.name}.cursor", self.events.last)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def finish(self, seconds: float = 1.0) -> None:
        """Wait a moment for what is still to be delivered: the next start goes on with the rest."""
        until = time.monotonic() + seconds
        while self._thread is not None and self.waiting and not self.problem and time.monotonic() < until:
            time.sleep(0.02)

    def stop(self, seconds: float = 5.0) -> None:
        """End; what is being sent is given that long."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)

    @property
    def waiting(self) -> int:
        """Events that are not done with yet."""
        return max(0, self.events.last - self._cursor.after) if self._thread is not None else 0

    def deliver(self, event: dict) -> None:
        raise NotImplementedError

    def forgotten(self) -> None:
        """Told when a person was taken out of the events."""

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises
        ------
        Stopped
        """
        if self._stop.wait(seconds):
            raise Stopped

    def _run(self) -> None:
        with suppress(Stopped):
            while not self._stop.is_set() and not self.events.closed:
                try:
                    self._hand_over()
                except Stopped:
                    raise
                except Exception:  # a receiver must not end because of one surprise
                    log.exception("delivering events to %s failed", self.name)
                    self.pause(5.0)

    def _hand_over(self) -> None:
        self._pass_over()
        for event in self.events.read(self._cursor.after, _BATCH):
            self.deliver(event)
            self._cursor.move(event["id"])
        self.events.wait(self._cursor.after, 1.0)

    def _pass_over(self) -> None:
        """What the log keeps no longer, or what is too much, is dropped."""
        begin = max(self.events.first, self.events.last - self.backlog + 1)
        if self._cursor.after + 1 < begin:
            self.counts["dropped"] += begin - 1 - self._cursor.after
            self._cursor.move(begin - 1)


class Stopped(Exception):
    """The receiver is to end: not an error."""
