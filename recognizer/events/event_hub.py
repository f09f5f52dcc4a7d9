"""Makes events from results of pipelines, stores them, and distributes them.

::

    pipeline's thread -> queue -> this thread: Appearances -> EventLog (disk) -> readers, webhooks, MQTT

Offering a result never waits: it enters a short queue, and is dropped and counted if the queue is full. No event is lost,
since the next frame shows the same. Changes of cameras' states have a queue of their own, so that frames cannot
displace them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from recognizer.core.errors import EventNotFound, RecognizerError, StorageError
from recognizer.events.appearances import ENTERED, GONE, THUMBNAIL, Appearances, Event, EventRules, plain
from recognizer.events.delivery import Delivery
from recognizer.events.event_erasing import Retention
from recognizer.events.event_files import thumbnail_url
from recognizer.events.event_log import EventLog
from recognizer.events.event_options import EventOptions
from recognizer.events.mqtt_announced import topics_about
from recognizer.photos import images
from recognizer.video.frames import FrameResult, TrackedFace

log = logging.getLogger("recognizer.events")

#: Long side of the picture of a scene, in pixels.
SCENE_SIDE = 1280
#: Pixels that are blackened around a face outside of the camera's zones, in sides of its box.
_COVERED = 0.3
#: Maximum number of queued results, each with its frame: 2.8 MB at 720p.
QUEUED_RESULTS = 24
QUEUED_STATES = 1000
_TICK = 0.25
#: Seconds between two attempts to become the process that writes events, if another one is.
_TAKE_OVER = 2.0
#: Seconds between two looks for requests of other processes, which hold the lock of every change while they wait.
_LOOK = 0.1
_HOUSEKEEPING = 60.0
#: Seconds that closing waits for the events that are being written.
_LAST_WRITES = 5.0
#: How many of the newest events are searched at the start for people who never left.
_LOOK_BACK = 1000
#: Seconds for which results may still have a name that was erased or changed: if `enrolled` is given, and if it is not.
_OUTDATED_SECONDS, _OUTDATED_SECONDS_UNKNOWN = 60.0, 5.0


class NamedCamera(Protocol):
    id: str
    name: str


class HubState(Protocol):
    name: str
    reason: str


@dataclass(slots=True)
class _ChangedName:
    """A name that was erased or changed: results that are being processed may still have it.

    Attributes
    ----------
    to : str or None
        The new name; None if the person was erased.
    until : float
        When the last such result will have arrived, on the hub's clock.
    absent : bool
        Whether nobody had the name since: if somebody has it now, that is a new person.
    """

    to: str | None
    until: float
    absent: bool = False


class Events:
    """All events of a server. Owns the log, the thread that makes events, and the threads that deliver them.

    An instance is an observer of `live.Live`: called with a camera and a result; `state` receives states.

    Parameters
    ----------
    folder : path
    rules : EventRules
    retention : Retention
    options : EventOptions, optional
    clock, wall : callable
        Seconds on a clock that never jumps, and since the epoch.

    Raises
    ------
    StorageError
        The folder cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        rules: EventRules | None = None,
        retention: Retention | None = None,
        options: EventOptions | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        wall: Callable[[], float] = time.time,
    ):
        options = options or EventOptions()
        self._scenes, self._enrolled = options.scenes, options.enrolled
        self.log = EventLog(folder, retention, now=wall, vault=options.vault, node=options.node)
        self.sinks: list[Delivery] = []
        self._waiting_sinks: Sequence[Delivery] = ()
        self._clock, self._wall = clock, wall
        self._making = threading.RLock()  # held while events are made or presence is changed
        self._changed_names: dict[str, _ChangedName] = {}
        self._appearances = Appearances(rules, options.unknown_quality)
        self._results: deque[tuple[str, FrameResult, float]] = deque()
        self._states: deque[tuple[str, str, str, float, float]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._counts = {"observed": 0, "dropped_results": 0, "dropped_states": 0, "dropped_events": 0}
        self._names: dict[str, str] = {}
        self._present: dict[str, list[tuple[str | None, float]]] = {}
        self._camera_states: dict[str, str] = {}
        self._followers = 0
        self._tidy_at = self._look_at = self._take_over_at = 0.0
        if self.log.writable:
            self._fulfil_requests()
            self._close_what_was_left_open()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    # -- what comes in ------------------------------------------------------------------------------------------

    def __call__(self, camera: NamedCamera, result: FrameResult) -> None:
        """Queue a result, without waiting."""
        with self._wake:
            self._counts["observed"] += 1
            self._names[camera.id] = camera.name
            if len(self._results) >= QUEUED_RESULTS or self._closing:
                self._counts["dropped_results"] += 1
                return
            self._results.append((camera.id, result, self._clock()))
            self._wake.notify()

    def state(self, camera: NamedCamera, state: HubState) -> None:
        """Queue a camera's new state, without waiting."""
        with self._wake:
            self._names[camera.id] = camera.name
            if len(self._states) >= QUEUED_STATES or self._closing:
                self._counts["dropped_states"] += 1
                return
            self._states.append((camera.id, state.name, state.reason, self._clock(), self._wall()))
            self._wake.notify()

    def gone(self, camera: NamedCamera) -> None:
        """Queue that a camera was removed, or is read by another node from now on: the next time it is live is news again."""
        with self._wake:
            if not self._closing:
                self._states.append((camera.id, GONE, "", self._clock(), self._wall()))
                self._wake.notify()

    # -- what is asked ------------------------------------------------------------------------------------------

    def page(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        wanted: Callable[[dict], bool] = lambda event: True,
    ) -> list[dict]:
        """Past events, oldest first: those that follow `after`, else the newest, or the newest below `before`."""
        if after is not None:
            return self.log.read(after, limit, lambda event: (before is None or event["id"] < before) and wanted(event))
        return self.log.latest(before, limit, wanted)

    def follow(
        self, after: int | None = None, wanted: Callable[[dict], bool] = lambda event: True, *, pause: float = 1.0
    ) -> Iterator[dict | int | None]:
        """Every wanted event beyond `after` (default: those to come) as it happens, for ever.

        Nothing queues for a reader: events are read from the log when the reader wants the next one. Yields None each time that
        nothing happened for `pause` seconds, and a number if so many events are no longer stored. Ends when this closes.
        An `after` that no event has yet belongs to a log that was deleted: then it begins with new events, too.
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
                edition = self.log.edition
                found, scanned = self.log.scan(reached, 100, wanted)
                for event in found:
                    if self.log.edition != edition:
                        break  # somebody was erased or renamed after these were read
                    reached = event["id"]
                    yield event
                else:
                    reached = scanned
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

    def scene(self, number: int) -> bytes:
        """The JPEG of the whole picture at an event.

        Raises
        ------
        EventNotFound
        """
        data = self.log.scene(number)
        if data is None:
            raise EventNotFound(f"there is no picture of the scene of event {number}, or no longer", event=number)
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
        """Counts of events that were made, dropped and delivered since the start."""
        with self._wake:
            counts = dict(self._counts)
        return {
            "last": self.log.last,
            "first": self.log.first,
            "writes": self.log.writable,
            **self.log.counts,
            **counts,
            "followers": self._followers,
            "sinks": [
                {"name": sink.label, **sink.counts, "waiting": sink.waiting, "problem": sink.problem} for sink in self.sinks
            ],
        }

    # -- one person ---------------------------------------------------------------------------------------------

    def find(self, subject: str) -> list[dict]:
        """Every stored event about a person; see `EventLog.find`."""
        return self.log.find(subject)

    def export(self, subject: str) -> Iterator[tuple[dict, bytes | None]]:
        """Every stored event about a person, and its picture."""
        return self.log.export(subject)

    def rename(self, old: str, new: str) -> int:
        """Give a person another name: in the stored events, at the cameras now, and at the receivers."""
        with self._making:
            self._take_over()
            self._note_changed(old, new)
            self._appearances.rename(old, new)
            self._show_present()
            try:
                return self.log.rename(old, new)
            finally:
                for sink in self.sinks:
                    sink.rename(old, new)

    def name_unknown(self, subject: str, visits: Iterable[str]) -> int:
        """Give a name to past events of an unknown person; see `EventLog.name_unknown`. Receivers are not told."""
        with self._making:
            return self.log.name_unknown(subject, visits)

    def correct(self, camera: str, begin: float, end: float, old: str, new: str | None) -> int:
        """Replace a wrong name in the events of one stay; see `EventLog.correct`. Receivers are not told."""
        with self._making:
            return self.log.correct(camera, begin, end, old, new)

    def erase(self, subject: str) -> int:
        """Erase a person: from the stored events, at the cameras now, and at the receivers. How many events were changed.

        If the person is at a camera, an unknown person takes their place, whose `left` has no name. The name must not be
        enrolled any more.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._making:
            self._take_over()
            self._fulfil_requests()
            return self._erase(subject)

    def _erase(self, subject: str) -> int:
        self._note_changed(subject, None)
        also = self._appearances.erase(subject)
        self._show_present()
        try:
            return self.log.erase(subject, also)
        finally:
            for sink in self.sinks:
                sink.erase(subject)

    def verify(self, subject: str) -> dict[str, int]:
        """How much about an erased person is left: stored events and open requests, at the cameras, and at the receivers."""
        with self._making:
            present, sinks = len(self._appearances.find(subject)), list(self.sinks)
        topics = topics_about(self.log.folder, subject).union(*(sink.find(subject) for sink in sinks))
        return {"events": self.log.verify(subject), "present": present, "receivers": len(topics)}

    def current_name(self, name: str) -> str | None:
        """The name that replaces one that was changed; None for the name of somebody who was erased."""
        with self._making:
            for _ in range(1 + len(self._changed_names)):
                change = self._changed_names.get(name)
                if change is None or self._clock() >= change.until:
                    return name
                if self._enrolled is not None and change.absent and self._enrolled(name):
                    del self._changed_names[name]
                    return name
                change.absent = change.absent or (self._enrolled is not None and not self._enrolled(name))
                if change.to is None:
                    return None
                name = change.to
            return name

    def still_named(self, names: Iterable[str]) -> list[str]:
        """Those of some names that were not erased or changed a moment ago."""
        changed = dict(self._changed_names)
        return [name for name in names if name not in changed or self.current_name(name) == name]

    def _note_changed(self, name: str, to: str | None) -> None:
        """Expect results that still have a name that was erased or changed."""
        now = self._clock()
        self._changed_names = {each: change for each, change in self._changed_names.items() if now < change.until}
        if to is not None:
            self._changed_names.pop(to, None)
        lasts = _OUTDATED_SECONDS_UNKNOWN if self._enrolled is None else _OUTDATED_SECONDS
        absent = self._enrolled is not None and not self._enrolled(name)
        self._changed_names[name] = _ChangedName(to, now + lasts, absent)

    def _with_current_names(self, result: FrameResult) -> FrameResult:
        return replace(result, faces=tuple(map(self._with_current_name, result.faces))) if self._changed_names else result

    def _with_current_name(self, face: TrackedFace) -> TrackedFace:
        """A face with the name that is valid now; undecided if its person was erased."""
        match = face.seen.match
        if match is None or match.subject is None:
            return face
        name = self.current_name(match.subject)
        if name == match.subject:
            return face
        return replace(face, seen=replace(face.seen, match=None if name is None else replace(match, subject=name)))

    def _fulfil_requests(self) -> None:
        """Fulfil other processes' requests to erase and rename; failures are repeated."""
        for request in self.log.requests():
            try:
                if request.to is None:
                    self._erase(request.subject)
                else:
                    self.rename(request.subject, request.to)
                self.log.done(request)
            except RecognizerError as error:
                log.warning("a person could not be erased from the events, which is tried again: %s", error.message)

    # -- life ---------------------------------------------------------------------------------------------------

    def deliver_to(self, sinks: Sequence[Delivery]) -> None:
        """Deliver all events to these receivers from now on; if another process writes the events, that process does it."""
        with self._making:
            self._waiting_sinks = list(sinks)
            if self.log.writable:
                self._start_sinks()

    def add_sink(self, sink: Delivery) -> None:
        """Deliver events to one more receiver from now on; if another process writes the events, that process does it."""
        with self._making:
            self._waiting_sinks = [*self._waiting_sinks, sink]
            if self.log.writable:
                self._start_sinks()

    def remove_sink(self, sink: Delivery) -> None:
        """Deliver nothing more to a receiver; the caller stops it."""
        with self._making:
            self._waiting_sinks = [each for each in self._waiting_sinks if each is not sink]
            self.sinks = [each for each in self.sinks if each is not sink]

    def _start_sinks(self) -> None:
        sinks, self._waiting_sinks = self._waiting_sinks, ()
        for sink in sinks:
            sink.start()
            self.sinks.append(sink)

    def close(self) -> None:
        """Let everybody leave, deliver what can be delivered, end all threads and close all files."""
        with self._wake:
            if self._closing:
                return
            self._closing = True
            self._wake.notify()
        self._thread.join(_LAST_WRITES)
        for sink in self.sinks:
            sink.finish()
        self.log.close()
        self._thread.join(_LAST_WRITES)  # what it still writes is refused now
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
            except Exception:  # an unexpected result must not end all events
                log.exception("making events failed")
            if closing:
                return

    def _work(self, results, states, closing: bool) -> None:
        with self._making:
            self._make(results, states, closing)

    def _make(self, results, states, closing: bool) -> None:
        self._keep_together([event for state in states for event in self._appearances.state(*state)])
        for camera, result, now in results:
            current = self._with_current_names(result)
            self._keep(self._appearances.observe(camera, current, now), current)
        self._keep(self._appearances.tick(self._clock(), self._wall()))
        if closing:
            self._keep(self._appearances.end(self._wall(), "the server stopped"))
        self._show_present()
        if self._clock() >= self._take_over_at:
            self._take_over_at = self._clock() + _TAKE_OVER
            self._take_over()
        if self._clock() >= self._look_at:
            self._look_at = self._clock() + _LOOK
            self._fulfil_requests()
        if self._clock() >= self._tidy_at:
            self._tidy_at = self._clock() + _HOUSEKEEPING
            self.log.purge()

    def _take_over(self) -> None:
        """Become the process that writes events, if the one that did so has ended, and do what it left."""
        try:
            taken = not self.log.writable and self.log.take_over()
        except StorageError as error:
            log.debug("events cannot be written: %s", error.message)
            return
        if taken:
            self._fulfil_requests()
            self._close_what_was_left_open()
            self._start_sinks()

    def _show_present(self) -> None:
        present = self._appearances.present.items()
        self._present = {camera: [(each.subject, each.since) for each in there] for camera, there in present}
        self._camera_states = self._appearances.states

    def _keep_together(self, made: Sequence[Event]) -> None:
        """Write events about cameras in one piece: however many wait, the disk is waited for once."""
        if not made:
            return
        try:
            self.log.append([plain(event) for event in made])
        except StorageError as error:
            self._note_lost(f"{len(made)} states of cameras", error, len(made))

    def _note_lost(self, what: str, error: StorageError, count: int = 1) -> None:
        if self.log.writable:
            log.warning("%s: lost: %s", what, error.message)
        with self._wake:
            self._counts["dropped_events"] += count

    def _keep(self, made: Iterator[Event], result: FrameResult | None = None) -> None:
        """Write events as they are made: one that ends or replaces another needs its id."""
        scene: bytes | None = None
        for event in made:
            told = event.presence
            shown = plain(event)
            follows = event.kind in ("left", ENTERED)  # another event, which has the picture
            if follows and told is not None and told.pictured:
                shown["thumbnail"] = thumbnail_url(told.told)
            picture = None if follows else _jpeg(event.picture)
            if self._scenes and result is not None and event.kind in ("appeared", "unknown"):
                scene = scene or images.encode_jpeg(images.resize(_scene(result), SCENE_SIDE), quality=80)
                shown["scene_faces"] = len(result.faces)
            self._show_present()  # receivers publish it with the event
            try:
                number = self.log.append([shown], [picture], [scene if "scene_faces" in shown else None])
            except StorageError as error:
                self._note_lost(f"event {event.kind} at {event.camera}", error)
                continue
            if told is not None and not follows:
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


def _scene(result: FrameResult) -> np.ndarray:
    """The whole picture, RGB uint8 (H, W, 3), without the faces that give no events: no erasure could find it by them."""
    if not result.outside:
        return result.frame.pixels
    pixels = result.frame.pixels.copy()
    for box in result.outside:
        reach = _COVERED * max(box.width, box.height)
        top, bottom = max(0, int(box.top - reach)), max(0, int(box.bottom + reach))
        left, right = max(0, int(box.left - reach)), max(0, int(box.right + reach))
        pixels[top:bottom, left:right] = 0
    return pixels


def _jpeg(picture: np.ndarray | None) -> bytes | None:
    if picture is None:
        return None
    if max(picture.shape[:2]) > THUMBNAIL:
        import cv2

        factor = THUMBNAIL / max(picture.shape[:2])
        size = tuple(max(1, round(edge * factor)) for edge in picture.shape[1::-1])
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return images.encode_jpeg(picture, quality=85)
