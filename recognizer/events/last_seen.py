"""When enrolled people were last seen and how often they came, as the stored events say."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recognizer.events.event_log import EventLog

_KINDS = ("appeared", "left")


@dataclass(frozen=True, slots=True)
class SeenPerson:
    """Somebody at the cameras.

    Attributes
    ----------
    last : str
        When the person was last seen, ISO 8601 in UTC.
    visits : int
        How often the person appeared, at any camera, in the events that are stored.
    """

    last: str
    visits: int


class LastSeen:
    """Remembers what was read of a log, and reads only what is new unless stored events were changed. Any thread may call."""

    def __init__(self) -> None:
        self._people: dict[str, SeenPerson] = {}
        self._after = 0
        self._edition: object = None
        self._lock = threading.Lock()

    def read(self, log: EventLog) -> dict[str, SeenPerson]:
        """Everybody whom the events name."""
        with self._lock:
            edition = log.edition if log.writable else None
            if edition is None or edition != self._edition:
                self._people, self._after, self._edition = {}, 0, edition
            found, self._after = log.scan(self._after, 10**9, lambda event: event["kind"] in _KINDS and bool(event["subject"]))
            for event in found:
                known = self._people.get(event["subject"], SeenPerson("", 0))
                came = known.visits + (event["kind"] == "appeared")
                self._people[event["subject"]] = SeenPerson(max(known.last, event["time"]), came)
            return dict(self._people)
