"""Where events are made, kept and handed out: results of pipelines go in, and whoever wants events finds them here.

::

    pipeline's thread -> queue -> this thread: Appearances -> EventLog (disk) -> those who follow, webhooks, MQTT

Whoever brings results never waits: they go into a short queue, and what finds no room there is dropped and counted. That costs
no event, since the next frame tells the same. Changes of cameras' states have a queue of their own, so that no frame can
crowd them out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from .. import images
from ..errors import EventNotFound, StorageError
from ..vault import Vault
from .delivery import Delivery
from .event_log import EventLog, Retention, thumbnail_url
from .events import THUMBNAIL, Appearances, Event, Rules, plain
from .results import FrameResult

log = logging.getLogger("recognizer.events")

#: Results that may wait; each holds its frame, 2.8 MB at 720p.
QUEUED_RESULTS = 24
QUEUED_STATES = 1000
_TICK = 0.25
_LOOK = 2.0
_HOUSEKEEPING = 60.0
#: How many of the newest events are looked through at the start for people who never left.
_LOOK_BACK = 1000


class NamedCamera(Protocol):
    id: str
    name: str


class State(Protocol):
    name: str
    reason: str


class Events:
    """All events of a server. Owns the log, the thread that makes events, and the threads that deliver them.

    An instance is an observer of `live.Live`: called with a camera and a result, and told of states by `state`.

    Parameters
    ----------
    folder : path
    rules : Rules
    retention : Retention
    clock, wall : callable
        Seconds on a clock that never jumps, and since the epoch.
    vault : Vault, optional
        What events are encrypted with.

    Raises
    ------
    StorageError
        The folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        rules: Rules | None = None,
        retention: Retention | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
        vault: Vault | None = None,
    ):
        self.log = EventLog(folder, retention, now=wall, vault=vault)
        self.sinks: list[Delivery] = []
        self._waiting_sinks: Sequence[Delivery] = ()
        self._clock, self._wall = clock, wall
        self._appearances = Appearances(rules)
        self._results: deque[tuple[str, FrameResult, float]] = deque()
        self._states: deque[tuple[str, str, str, float, float]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._counts = {"observed": 0, "dropped_results": 0, "dropped_states": 0, "dropped_events": 0}
        self._names: dict[str, str] = {}
        self._present: dict[str, list[tuple[str | None, float]]] = {}
        self._camera_states: dict[str, str] = {}
        self._followers = 0
        self._tidy_at = self._look_at = 0.0
        if self.log.writable:
            self._close_what_was_left_open()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    # -- what comes in ------------------------------------------------------------------------------------------

    def __call__(self, camera: NamedCamera, result: FrameResult) -> None:
        """Take a result, without waiting for anything."""
        with self._wake:
            self._counts["observed"] += 1
            self._names[camera.id] = camera.name
            if len(self._results) >= QUEUED_RESULTS or self._closing:
                self._counts["dropped_results"] += 1
                return
            self._results.append((camera.id, result, self._clock()))
            self._wake.notify()

    def state(self, camera: NamedCamera, state: State) -> None:
        """Take a camera's new state, without waiting for anything."""
        with self._wake:
            self._names[camera.id] = camera.name
            if len(self._states) >= QUEUED_STATES or self._closing:
                self._counts["dropped_states"] += 1
                return
            self._states.append((camera.id, state.name, state.reason, self._clock(), self._wall()))
            self._wake.notify()

    # -- what is asked ------------------------------------------------------------------------------------------

    def page(
        self, *, after: int | None = None, before: int | None = None, limit: int = 100,
        wanted: Callable[[dict], bool] = lambda event: True,
    ) -> list[dict]:  # fmt: skip
        """Past events, oldest first: those that follow `after`, else the newest, or the newest below `before`."""
        if after is not None:
            return self.log.read(after, limit, lambda event: (before is None or event["id"] < before) and wanted(event))
        return self.log.latest(before, limit, wanted)

    def follow(
        self, after: int | None = None, wanted: Callable[[dict], bool] = lambda event: True, *, pause: float = 1.0
    ) -> Iterator[dict | int | None]:
        """Every wanted event beyond `after` (default: those to come) as it happens, for ever.

        Nothing queues for whoever follows: events are read from the log when they are asked for. Yields None each time that
        nothing happened for `pause` seconds, and a number where so many events are kept no longer. Ends when this closes.
        An `after` that no event has yet is of a log that was deleted: it begins with what comes, too.
        """
        self._followers += 1
        try:
            newest = self.log.newest()
            reached = newest if after is None else min(max(0, after), newest)
            while not self.log.closed:
                missing = self.log.first - 1 - reached
                if missing > 0:
                    reached += missing
                    yield missing
                found, reached = self.log.scan(reached, 100, wanted)
                yield from found
                if not found and not self.log.wait(reached, pause) and not self.log.closed:
                    yield None
        finally:
            self._followers -= 1

    def thumbnail(self, number: int) -> bytes:
        """The JPEG that belongs to an event.

        Raises
        ------
        EventNotFound
        """
        data = self.log.thumbnail(number)
        if data is None:
            raise EventNotFound(f"there is no picture of event {number}, or no longer", event=number)
        return data

    def present(self) -> dict[str, list[tuple[str | None, float]]]:
        """Who is at each camera: pairs of subject and since when, None for an unknown person."""
        return dict(self._present)

    def camera_states(self) -> dict[str, str]:
        return dict(self._camera_states)

    def camera_names(self) -> dict[str, str]:
        """Names of the cameras that events came from, by id."""
        with self._wake:
            return dict(self._names)

    def counts(self) -> dict:
        """Everything that was made, dropped and delivered since the start."""
        with self._wake:
            counts = dict(self._counts)
        return {
            "last": self.log.last, "first": self.log.first, "writes": self.log.writable, **self.log.counts, **counts,
            "followers": self._followers,
            "sinks": [
                {"name": sink.label, **sink.counts, "waiting": sink.waiting, "problem": sink.problem} for sink in self.sinks
            ],
        }  # fmt: skip

    def forget(self, subject: str) -> int:
        """Take a person's name and pictures out of all events; see `EventLog.forget`."""
        changed = self.log.forget(subject)
        self._forgotten()
        return changed

    def _forgotten(self) -> None:
        for sink in self.sinks:
            sink.forgotten()

    # -- life ---------------------------------------------------------------------------------------------------

    def deliver_to(self, sinks: Sequence[Delivery]) -> None:
        """Hand all events to these from now on; where another process writes the events, that one does it."""
        self._waiting_sinks = list(sinks)
        if self.log.writable:
            self._start_sinks()

    def _start_sinks(self) -> None:
        sinks, self._waiting_sinks = self._waiting_sinks, ()
        for sink in sinks:
            sink.start()
            self.sinks.append(sink)

    def close(self) -> None:
        """Everybody who is here leaves, what can be delivered is; no thread and no file is left."""
        with self._wake:
            if self._closing:
                return
            self._closing = True
            self._wake.notify()
        self._thread.join(10.0)
        for sink in self.sinks:
            sink.finish()
        self.log.close()
        for sink in self.sinks:
            sink.stop()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                if not (self._results or self._states or self._closing):
                    self._wake.wait(_TICK)
                results, states, closing = list(self._results), list(self._states), self._closing
                self._results.clear()
                self._states.clear()
            try:
                self._work(results, states, closing)
            except Exception:  # one odd result must not end all events
                log.exception("making events failed")
            if closing:
                return

    def _work(self, results, states, closing: bool) -> None:
        for camera, name, reason, now, wall in states:
            self._keep(self._appearances.state(camera, name, reason, now, wall))
        for camera, result, now in results:
            self._keep(self._appearances.observe(camera, result, now))
        self._keep(self._appearances.tick(self._clock(), self._wall()))
        if closing:
            self._keep(self._appearances.end(self._wall(), "the server stopped"))
        self._present = {
            camera: [(each.subject, each.since) for each in there] for camera, there in self._appearances.present.items()
        }
        self._camera_states = self._appearances.states
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK
            if self.log.forget_as_asked():
                self._forgotten()
        if self._clock() >= self._tidy_at:
            self._tidy_at = self._clock() + _HOUSEKEEPING
            if not self.log.writable and self.log.take_over():
                self._close_what_was_left_open()
                self._start_sinks()
            self.log.purge()

    def _keep(self, made: Iterator[Event]) -> None:
        """Write events as they are made: one that ends or replaces another needs its id."""
        for event in made:
            told = event.presence
            shown = plain(event)
            if event.kind == "left" and told is not None and told.pictured:
                shown["thumbnail"] = thumbnail_url(told.told)
            picture = None if event.kind == "left" else _jpeg(event.picture)
            try:
                number = self.log.append([shown], [picture])
            except StorageError as error:
                if self.log.writable:
                    log.warning("event %s at %s is lost: %s", event.kind, event.camera, error.message)
                with self._wake:
                    self._counts["dropped_events"] += 1
                continue
            if told is not None and event.kind != "left":
                told.told, told.pictured = number, shown["thumbnail"] is not None

    def _close_what_was_left_open(self) -> None:
        """People who were here when the process was killed get their `left`."""
        here: dict[int, dict] = {}
        for event in self.log.latest(None, _LOOK_BACK):
            if event["kind"] in ("appeared", "unknown"):
                here.pop(event.get("replaces", 0), None)
                here[event["id"]] = event
            elif event["kind"] == "left":
                here.pop(event.get("appearance", 0), None)
        for event in here.values():
            shown = plain(Event("left", event["camera"], self._wall(), subject=event["subject"], track=event.get("track")))
            shown |= {"appearance": event["id"], "reason": "the server was stopped abruptly"}
            shown |= {name: event[name] for name in ("since", "thumbnail", "box") if name in event}
            with suppress(StorageError):
                self.log.append([shown])


def _jpeg(picture: np.ndarray | None) -> bytes | None:
    if picture is None:
        return None
    if max(picture.shape[:2]) > THUMBNAIL:
        import cv2

        factor = THUMBNAIL / max(picture.shape[:2])
        size = tuple(max(1, round(edge * factor)) for edge in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return images.encode_jpeg(picture, quality=85)
