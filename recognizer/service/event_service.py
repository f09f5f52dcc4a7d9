"""The events of an installation: made while cameras run; read and erased also when no new ones are made."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.core.errors import EventNotFound, EventsOff, RecognizerError, StorageError
from recognizer.events.appearances import EventRules
from recognizer.events.event_erasing import Retention, open_requests
from recognizer.events.event_options import EventOptions
from recognizer.events.event_sealing import find_events, read_thumbnail
from recognizer.events.last_seen import LastSeen, SeenPerson
from recognizer.events.mqtt_announced import forget_topics, topics_about
from recognizer.events.visit_file import KeptVisit

if TYPE_CHECKING:
    from recognizer.events.double_take_topics import LookedAt, NamedFace
    from recognizer.events.event_hub import Events
    from recognizer.events.event_log import EventLog

log = logging.getLogger("recognizer.events")

#: Seconds that another process, which writes the events, has to erase a person from them.
FORGET_SECONDS = 8.0


class KeptEvents:
    """Owns the one `event_hub.Events` of a service, and knows where events are stored. Any thread may call.

    Parameters
    ----------
    folder : Path
    wanted : bool
        Whether events are made.
    rules : EventRules
        When something is an event.
    retention : Retention
        How many events are stored, and for how long.
    options : EventOptions, optional
    announced : callable
        Whether an MQTT broker retains who is present: then the process that is connected to it removes topics with names.
    """

    def __init__(
        self,
        folder: Path,
        wanted: bool,
        rules: EventRules,
        retention: Retention,
        options: EventOptions | None = None,
        announced: Callable[[], bool] = lambda: False,
    ):
        options = options or EventOptions()
        self._folder, self.wanted, self._rules, self._retention = folder, wanted, rules, retention
        self._options, self._vault, self.node, self._announced = options, options.vault, options.node, announced
        self._hub: Events | None = None
        self._last_seen = LastSeen()
        self._lock = threading.Lock()

    @property
    def hub(self) -> Events:
        """Makes and distributes events; an observer for `video.live`. Created when it is first used.

        Raises
        ------
        EventsOff, StorageError
        """
        if not self.wanted:
            raise EventsOff("no events are kept: the setting RECOGNIZER_EVENTS is off")
        from recognizer.events.event_hub import Events

        with self._lock:
            if self._hub is None:
                self._hub = Events(self._folder, self._rules, self._retention, self._options)
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
        """Counts of events since the start; None if the hub was never used."""
        hub = self._made()
        return None if hub is None else hub.counts()

    def seen(self) -> dict[str, SeenPerson]:
        """When everybody was last seen, by the name in events; nobody while no events are kept."""
        if not self.wanted:
            return {}
        try:
            return self._last_seen.read(self.hub.log)
        except StorageError as error:
            log.warning("when people were last seen cannot be read: %s", error.message)
            return {}

    def tell(self, findings: Sequence[NamedFace], picture: LookedAt) -> None:
        """Publish what was found on a picture by Double Take's topics, if this process is connected to a broker."""
        from recognizer.events.mqtt import Mqtt

        hub = self._made()
        for sink in () if hub is None else list(hub.sinks):
            if isinstance(sink, Mqtt):
                sink.tell(findings, picture)

    # -- one person ---------------------------------------------------------------------------------------------

    def find(self, name: str) -> list[dict]:
        """Every event about a subject, read from the disk; see `event_links.about`.

        Raises
        ------
        StorageError
        """
        return find_events(self._folder, name, self._vault)

    def pictures(self, events: Sequence[dict]) -> Iterator[tuple[str, bytes]]:
        """A file name and the JPEG, of each event that has one; that of the scene only if it shows nobody else's face."""
        for event in events:
            picture = read_thumbnail(self._folder, event["id"], self._vault)
            if picture is not None:
                yield f"{event['id']}.jpg", picture
            if event.get("scene_faces") == 1:
                scene = read_thumbnail(self._folder, event["id"], self._vault, scene=True)
                if scene is not None:
                    yield f"{event['id']}-scene.jpg", scene

    def export(self, name: str) -> tuple[list[dict], Iterator[tuple[str, bytes]]]:
        """Every event about a subject, and their pictures."""
        events = self.find(name)
        return events, self.pictures(events)

    def rename(self, old: str, new: str) -> None:
        """Give a subject another name in the events, also if another process writes them.

        Raises
        ------
        StorageError
        """
        self._change(lambda events: events.rename(old, new))
        self._forget_topics(old)

    def name_unknown(self, name: str, visits: Iterable[str]) -> None:
        """Give a name to the events of an unknown person who was identified later; events that cannot be written stay."""
        try:
            if self.wanted:
                self.hub.name_unknown(name, visits)
        except StorageError as error:
            log.warning("earlier events of a stranger were not named: %s", error.message)

    def correct(self, visit: KeptVisit, name: str | None) -> None:
        """Give the events of a visit the name that the visit is corrected to; events that cannot be written stay.

        Parameters
        ----------
        visit : KeptVisit
            As it was before.
        name : str or None
        """
        try:
            if not self.wanted or visit.subject == name:
                return
            if visit.subject is not None:
                self.hub.correct(visit.camera, visit.first, visit.last, visit.subject, name)
            elif name is not None:
                self.hub.name_unknown(name, [visit.id])
        except StorageError as error:
            log.warning("the events of a visit were not corrected: %s", error.message)

    def erase(self, name: str) -> None:
        """Erase a subject, who must not be enrolled any more, from the events, also if another process writes them.

        Raises
        ------
        StorageError, KeyMissing
        """
        self._change(lambda events: events.erase(name))
        self._forget_topics(name)

    def verify(self, name: str) -> dict[str, int]:
        """How much about an erased subject is left; other threads and processes are given a moment to erase it.

        Raises
        ------
        StorageError
        """
        until = time.monotonic() + FORGET_SECONDS
        while True:
            left = self._left_of(name)
            if not any(left.values()) or time.monotonic() >= until or self._waits_for_a_broker(left):
                return left
            time.sleep(0.02)

    def _waits_for_a_broker(self, left: dict[str, int]) -> bool:
        """Whether all that is left is at a broker to which this process has no connection."""
        hub = self._made()
        if hub is None or left["events"] or left["present"]:
            return False
        return any(sink.name == "mqtt" and sink.problem is not None for sink in list(hub.sinks))

    def _left_of(self, name: str) -> dict[str, int]:
        hub = self._made()
        if hub is not None:
            return hub.verify(name)
        requested = sum(name in (each.subject, each.to) for each in open_requests(self._folder, self._vault))
        topics = topics_about(self._folder, name)
        return {"events": len(self.find(name)) + requested, "present": 0, "receivers": len(topics)}

    def _forget_topics(self, name: str) -> None:
        """Forget topics that were announced before MQTT was disabled: no process will remove them at the broker."""
        if not self._announced() and forget_topics(self._folder, name):
            log.warning("a broker that is no longer used may still retain the name of somebody who was erased or renamed")

    def _change(self, change: Callable[[Events | EventLog], object]) -> None:
        """Change events through the hub, or in the files if no events are made."""
        hub = self._made()
        if hub is not None:
            change(hub)
        elif self._folder.is_dir():
            held = self._log()
            try:
                try:
                    held.forget_as_asked()
                except RecognizerError as error:  # the request stays, and is tried again by the next process
                    log.warning("a person could not be erased from the events: %s", error.message)
                change(held)
            finally:
                held.close()

    def purge(self) -> int:
        """Delete expired events if no process makes events any more, and return how many; otherwise the hub deletes them."""
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
        """Write the waiting events, end all threads."""
        hub = self._made()
        if hub is not None:
            hub.close()

    def _made(self) -> Events | None:
        """The hub, if it was created."""
        with self._lock:
            return self._hub

    def _log(self) -> EventLog:
        from recognizer.events.event_log import EventLog

        return EventLog(self._folder, self._retention, vault=self._vault)
