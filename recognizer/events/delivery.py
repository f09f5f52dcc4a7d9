"""Delivery of events to a receiver that may be unavailable: read from the log by a cursor that is stored on the disk.

Nothing queues in memory: waiting events are read from the log. A restart loses nothing, and the log's retention
limits how many events can wait.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from contextlib import suppress
from pathlib import Path

from recognizer.core import tracing
from recognizer.core.files import write_durably
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog

log = logging.getLogger("recognizer.events")

_BATCH = 50


def backoff(attempt: int, least: float = 1.0, most: float = 300.0) -> float:
    """Seconds to wait after the n-th failure in a row, n from 1: doubled each time, up to `most`, and scattered by half."""
    return min(most, least * 2 ** min(attempt - 1, 20)) * random.uniform(0.5, 1.0)


def message_id(event: dict, node: str | None = None) -> str:
    """The id of an event's message, the same each time it is sent, so that receivers recognise it.

    Parameters
    ----------
    event : dict
    node : str, optional
        Where nodes share a database, the id of the one that has the event: each numbers its own.
    """
    return f"recognizer-{event['id']}" if node is None else f"recognizer-{node}-{event['id']}"


def of_node(event: dict, node: str | None) -> dict:
    """An event as messages have it: with the node that has it, where nodes share a database."""
    return event if node is None else {**event, "node": node}


def message_body(event: dict, node: str | None = None) -> bytes:
    """An event's message: its JSON in UTF-8, the same for webhooks and message queues."""
    return json.dumps(of_node(event, node), ensure_ascii=False, separators=(",", ":")).encode()


class Cursor:
    """The id of the last event that a receiver has processed, in a file. One thread owns it.

    A new receiver begins with new events.
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
        except OSError as error:  # delivered again after a restart, which receivers must tolerate anyway
            log.warning("%s cannot be written: %s", self._file.name, error.strerror)


class Delivery:
    """A thread that passes every event of the log to `deliver`, in order, and remembers the last one.

    Subclasses override `deliver`; it returns once the event is delivered or given up, or raises `Stopped`.

    `label` is its name in counts and logs, `problem` the receiver's current problem. `since` is set before `start` where
    another node may have named the receiver a moment ago: when it was, in seconds since 1970. What happened from then on is
    delivered.

    Parameters
    ----------
    events : EventLog
    name : str
        Of the cursor's file: letters, digits and hyphens.
    backlog : int
        Maximum number of waiting events: the oldest beyond it are skipped, and counted as dropped.
    """

    def __init__(self, events: EventLog, name: str, backlog: int):
        self.events, self.name, self.backlog = events, name, backlog
        self.label = name
        self._kind = name.partition("-")[0]  # without what tells receivers apart
        self.problem: str | None = None
        self.since = 0.0
        self._doubtful = 0  # up to this event, those of before `since` are not delivered
        self.counts = {"delivered": 0, "retried": 0, "dropped": 0}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        file, last = self.events.folder / f"{self.name}.cursor", self.events.last
        if self.since:
            self._doubtful = last
            if not file.exists():
                Cursor(file, self.events.first - 1)
        self._cursor = Cursor(file, last)
        if self.since:
            found, scanned = self.events.scan(self._cursor.after, 1, lambda event: not self._is_older(event))
            self._cursor.move(found[0]["id"] - 1 if found else scanned)
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def finish(self, seconds: float = 1.0) -> None:
        """Wait a short time for pending deliveries; the next start delivers the rest."""
        until = time.monotonic() + seconds
        while self._thread is not None and self.waiting and not self.problem and time.monotonic() < until:
            time.sleep(0.02)

    def stop_soon(self) -> None:
        """Begin nothing more; `stop` then waits less."""
        self._stop.set()

    def stop(self, seconds: float = 5.0) -> None:
        """End; a delivery that runs may take so many seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def forget(self) -> None:
        """Forget how far the events were read, after `stop`: the receiver is not used any longer."""
        if self._thread is not None:
            with suppress(OSError):
                (self.events.folder / f"{self.name}.cursor").unlink(missing_ok=True)

    @property
    def started(self) -> bool:
        """Whether this process delivers: the one that writes the events does."""
        return self._thread is not None

    @property
    def waiting(self) -> int:
        """The number of events that are not processed yet."""
        return max(0, self.events.last - self._cursor.after) if self._thread is not None else 0

    def deliver(self, event: dict) -> None:
        raise NotImplementedError

    def renewed(self, event: dict) -> dict | None:
        """An event as it is stored now, after a wait: its person may have been erased or renamed. None if it was deleted."""
        return self.events.get(event["id"])

    # A receiver stores nothing about a person but the id of the last event; subclasses may store more.

    def find(self, subject: str) -> list[str]:
        """What is stored about a person for this receiver, or at it."""
        return []

    def rename(self, old: str, new: str) -> None:
        """Called after a person was renamed in the events."""

    def erase(self, subject: str) -> None:
        """Called after a person was erased from the events."""

    def verify(self, subject: str) -> int:
        """How much of what was stored about an erased person is left."""
        return len(self.find(subject))

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
                except Exception:  # an unexpected error must not end the delivery
                    log.exception("delivering events to %s failed", self.name)
                    self.pause(5.0)

    def _hand_over(self) -> None:
        self._pass_over()
        edition = self.events.edition
        found, scanned = self.events.scan(self._cursor.after, _BATCH)
        for event in found:
            if self.events.edition != edition:
                return  # somebody was erased or renamed since these were read
            if event["id"] <= self._doubtful and self._is_older(event):
                self._cursor.move(event["id"])
                continue
            with tracing.span("deliver event", event_kind=event["kind"], event_id=event["id"], receiver=self._kind):
                self.deliver(event)
            self._cursor.move(event["id"])
        if scanned > self._cursor.after:  # the events at the end were deleted, or are damaged
            self._cursor.move(scanned)
        self.events.wait(self._cursor.after, 1.0)

    def _is_older(self, event: dict) -> bool:
        """Whether an event happened before the receiver was named."""
        return bool(event["time"]) and seconds(event["time"]) < self.since

    def _pass_over(self) -> None:
        """Drop events that the log no longer stores, and those beyond the backlog."""
        begin = max(self.events.first, self.events.last - self.backlog + 1)
        if self._cursor.after + 1 < begin:
            self.counts["dropped"] += begin - 1 - self._cursor.after
            self._cursor.move(begin - 1)


class Stopped(Exception):
    """The delivery must end: not an error."""
