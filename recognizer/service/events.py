"""The events of an installation: made while cameras run, read and forgotten also where none are made any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import EventNotFound, EventsOff
from ..vault import Vault
from ..video.event_hub import Events
from ..video.event_log import EventLog, Retention, read_all, read_thumbnail
from ..video.events import Rules

#: Seconds that another process, which writes the events, is given to take a person out of them.
FORGET_SECONDS = 8.0


class KeptEvents:
    """Owns the one `event_hub.Events` of a service, and knows where events lie. Any thread may call.

    Parameters
    ----------
    folder : Path
    wanted : bool
        Whether events are made.
    rules : Rules
        What is an event.
    retention : Retention
        How much is kept, and how long.
    vault : Vault, optional
        What they are encrypted with.
    """

    def __init__(self, folder: Path, wanted: bool, rules: Rules, retention: Retention, vault: Vault | None):
        self._folder, self.wanted, self._rules, self._retention, self._vault = folder, wanted, rules, retention, vault
        self._hub: Events | None = None
        self._lock = threading.Lock()

    @property
    def hub(self) -> Events:
        """Where they are made and handed out; an observer for `video.live`. Made when it is first asked for.

        Raises
        ------
        EventsOff, StorageError
        """
        if not self.wanted:
            raise EventsOff("no events are kept: the setting RECOGNIZER_EVENTS is off")
        with self._lock:
            if self._hub is None:
                self._hub = Events(self._folder, self._rules, self._retention, vault=self._vault)
            return self._hub

    def get(self, number: int) -> dict:
        """One event.

        Raises
        ------
        EventNotFound, EventsOff
        """
        found = self.hub.log.get(number)
        if found is None:
            raise EventNotFound(f"there is no event {number}, or no longer", event=number)
        return found

    def counts(self) -> dict | None:
        """What became of events since the start; None where nobody asked for any."""
        return None if self._hub is None else self._hub.counts()

    def about(self, name: str) -> list[dict]:
        """Every event that names a subject, or that another one of theirs replaces, read from the disk."""
        everything = read_all(self._folder, self._vault)
        theirs = {event["id"] for event in everything if event.get("subject") == name}
        theirs |= {event.get("replaces") for event in everything if event["id"] in theirs}
        return [event for event in everything if event["id"] in theirs]

    def pictures(self, events: Sequence[dict]) -> Iterator[tuple[str, bytes]]:
        """A file's name and the JPEG, of each event that has one."""
        for event in events:
            picture = read_thumbnail(self._folder, event["id"], self._vault)
            if picture is not None:
                yield f"{event['id']}.jpg", picture

    def forget(self, name: str) -> None:
        """Take a person who is erased out of the events, also where another process writes them."""
        if self._hub is not None:
            self._hub.forget(name)
        elif self._folder.is_dir():
            held = self._log()
            try:
                held.forget(name)
            finally:
                held.close()

    def left_of(self, name: str) -> int:
        """How many events on the disk name a subject; another process that writes them is given a moment to forget."""
        until = time.monotonic() + FORGET_SECONDS
        while (left := len(self.about(name))) and time.monotonic() < until:
            time.sleep(0.1)
        return left

    def purge(self) -> int:
        """Delete old events that are kept no longer where none are made any more; how many. Who makes events purges them."""
        with self._lock:
            if self.wanted or not self._folder.is_dir():
                return 0
            held = self._log()
            try:
                held.purge()
                return held.counts["purged"]
            finally:
                held.close()

    def close(self) -> None:
        """Write what waits, end all threads."""
        with self._lock:
            if self._hub is not None:
                self._hub.close()

    def _log(self) -> EventLog:
        return EventLog(self._folder, self._retention, vault=self._vault)
