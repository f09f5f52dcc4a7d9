"""Names for what Frigate follows: reads its events by MQTT, looks at its snapshots, and sets sub labels through its API.

::

    frigate/events -> queue of event ids -> this thread: snapshot -> recognise -> sub label, and Double Take's topics

An event is looked at when it begins and each time Frigate reports a better snapshot, at most `MOST_LOOKS` times, until
somebody is recognised. Whatever sub label the event has from elsewhere is left alone. Nothing is stored, and what cannot be
done at once is given up: the next report of the same event is the next try.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from recognizer.core.errors import Busy, FaceError, FetchError, ImageError, RecognizerError
from recognizer.events import double_take_topics
from recognizer.events.appearances import iso
from recognizer.events.delivery import Delivery
from recognizer.events.double_take_topics import LookedAt, NamedFace
from recognizer.events.event_log import EventLog
from recognizer.events.frigate_api import FrigateApi
from recognizer.events.mqtt_broker import TOO_MUCH, Broker, Inflow, end_connection

log = logging.getLogger("recognizer.events")

#: Looks at one event, and seconds between two of them.
MOST_LOOKS, LEAST_SECONDS = 10, 1.0
#: Events that are remembered, and that wait to be looked at.
_REMEMBERED, _WAITING = 1000, 100
#: Longest message about an event that is read.
_MESSAGE = 100_000
_CONNECT_SECONDS = (1, 60)
#: Seconds without a connection after the broker sent more than was asked for.
_TOO_MUCH_SECONDS = 60.0
#: Seconds until Frigate's API is tried again after it could not be used.
_CHECK_SECONDS = 60.0

#: Compares the faces of a photo (JPEG) with the enrolled.
Look = Callable[[bytes], Sequence[NamedFace]]


@dataclass(frozen=True, slots=True)
class FrigateOptions:
    """How Frigate is followed.

    Attributes
    ----------
    topic : str
        First levels of Frigate's topics.
    double_take : bool
        Whether Double Take's topics are published for what is found.
    discovery : str
        Home Assistant's discovery prefix for these; empty for none.
    seconds : float
        Least time between two looks at an event.
    """

    topic: str = "frigate"
    double_take: bool = False
    discovery: str = ""
    seconds: float = LEAST_SECONDS


@dataclass(slots=True)
class _Followed:
    """An event of Frigate's as far as it was looked at."""

    looks: int = 0
    last: float = float("-inf")
    done: bool = False
    strangers: tuple[NamedFace, ...] = ()
    reported: dict[str, Any] = field(default_factory=dict)  # Frigate's newest report


class Frigate(Delivery):
    """Follows one Frigate. Like a receiver of events, it runs in the one process that writes events.

    Parameters
    ----------
    events : EventLog
        Of which nothing is read here.
    broker : Broker
        To which Frigate publishes.
    api : FrigateApi
    look : callable
        Finds and names faces; must not keep the photo.
    options : FrigateOptions, optional
    """

    def __init__(self, events: EventLog, broker: Broker, api: FrigateApi, look: Look, options: FrigateOptions | None = None):
        super().__init__(events, "frigate", 0)
        self.label = f"frigate at {broker.shown}"
        self._problems = {"broker": "not connected yet", "api": None}  # each written by one thread
        self.problem = self._problems["broker"]
        self._check_at = float("-inf")  # when Frigate's API is checked the next time
        self.options = options or FrigateOptions()
        self._broker, self._api, self._named = broker, api, look
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._waiting: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._wake = threading.Condition()
        self._client: Any = None
        self._connect_at = 0.0  # infinite while there is a client
        self._inflow = Inflow()

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        self._stop.set()
        with self._wake:
            self._wake.notify_all()
        client, self._client = self._client, None
        if client is not None:
            with suppress(ValueError, RuntimeError, OSError):
                end_connection(client)
        super().stop(seconds)

    @property
    def waiting(self) -> int:
        """The number of events that wait to be looked at."""
        return len(self._waiting)

    def find(self, subject: str) -> list[str]:
        """Nothing: names are at Frigate then, which keeps its own events."""
        return []

    def _connect(self) -> None:
        self._connect_at = float("inf")
        if self._client is not None:
            end_connection(self._client)
        self._client = client = self._broker.new_client(f"recognizer-frigate-{id(self):x}")
        client.on_connect, client.on_disconnect, client.on_message = self._on_connect, self._on_disconnect, self._on_message
        client.reconnect_delay_set(*_CONNECT_SECONDS)
        client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        client.loop_start()

    def _run(self) -> None:
        while not self._stop.is_set():
            if time.monotonic() >= self._connect_at:
                self._connect()
            if time.monotonic() >= self._check_at:
                self._check()
            with self._wake:
                if not self._waiting:
                    self._wake.wait(0.5)
                report = self._waiting.popitem(last=False)[1] if self._waiting else None
            if report is not None:
                try:
                    self._follow(report)
                except Exception:  # an unexpected report must not end the watch
                    log.exception("an event of Frigate's could not be looked at")

    # called on paho's thread

    def _on_connect(self, client, userdata, flags, reason_code, properties) -> None:
        if reason_code.is_failure:
            self._note("broker", f"the broker refuses the connection: {reason_code}")
            return
        client.subscribe(f"{self.options.topic}/events", qos=0)
        self._note("broker", None)

    def _on_disconnect(self, client, userdata, flags, reason_code, properties) -> None:
        if not self._stop.is_set() and self._connect_at == float("inf"):
            self._note("broker", "the connection was lost")

    def _on_message(self, client, userdata, message) -> None:
        if client is not self._client or self._connect_at < float("inf"):
            return
        if self._inflow.is_too_much(message.payload):  # paho connects no more after that
            self._connect_at = time.monotonic() + _TOO_MUCH_SECONDS
            self._note("broker", TOO_MUCH)
            client.disconnect()
            return
        if message.retain or len(message.payload) > _MESSAGE:
            return
        report = read_report(message.payload)
        if report is None:
            return
        with self._wake:
            self._waiting.pop(report["after"]["id"], None)  # its older report is outdated
            self._waiting[report["after"]["id"]] = report
            while len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)
                self.counts["dropped"] += 1
            self._wake.notify()

    def _note(self, part: str, problem: str | None) -> None:
        """Log once that something is wrong with the broker or the API, and once that both work again."""
        if problem and problem != self._problems[part]:
            log.warning("%s: %s; it is tried again", self.label, problem)
        self._problems[part] = problem
        before, self.problem = self.problem, self._problems["broker"] or self._problems["api"]
        if before and not self.problem:
            log.info("%s is followed", self.label)

    def _check(self) -> None:
        """Find out whether Frigate's API can be used, before the first event needs it and after a failure."""
        self._check_at = float("inf")
        try:
            self._api.check()
        except FetchError as error:
            self._cannot_be_used(error)
        else:
            self._note("api", None)

    # -- one event ----------------------------------------------------------------------------------------------

    def _follow(self, report: Mapping[str, Any]) -> None:
        after = report["after"]
        state = self._followed.setdefault(after["id"], _Followed())
        self._followed.move_to_end(after["id"])
        while len(self._followed) > _REMEMBERED:
            self._followed.popitem(last=False)
        ended = report["type"] == "end"
        if not state.done and not _has_other_name(after) and state.looks < MOST_LOOKS and has_picture(report):
            if ended or time.monotonic() - state.last >= self.options.seconds:
                self._look(after, state)
        if ended and not state.done:
            state.done = True
            if state.strangers and not _has_other_name(after):
                self._publish(after, state, state.strangers, 0.0)

    def _look(self, after: Mapping[str, Any], state: _Followed) -> None:
        state.last, begun = time.monotonic(), time.perf_counter()
        try:
            snapshot = self._api.snapshot(after)
            findings = self._api.of_person(self._named(snapshot), after, snapshot)
        except (ImageError, FaceError, Busy) as error:
            log.debug("a snapshot of Frigate's was not looked at: %s", error.message)
            self.counts["retried"] += 1
            return
        except FetchError as error:
            self._failed(error)
            return
        state.looks += 1
        named = [each for each in findings if each.name is not None]
        state.strangers = tuple(each for each in findings if each.name is None) or state.strangers
        if not named:
            return
        try:
            self._api.set_label(after, named)
        except FetchError as error:
            self._failed(error)
            return
        state.done = True
        self.counts["delivered"] += 1
        self._note("api", None)
        self._publish(after, state, findings, time.perf_counter() - begun)

    def _failed(self, error: RecognizerError) -> None:
        """Count a failure; an event that Frigate does not know (any longer) is none of Frigate as a whole."""
        self.counts["retried"] += 1
        if error.details.get("status") != 404:
            self._cannot_be_used(error)

    def _cannot_be_used(self, error: RecognizerError) -> None:
        self._check_at = time.monotonic() + _CHECK_SECONDS
        self._note("api", f"Frigate's API cannot be used: {error.message}")

    def _publish(self, after: Mapping[str, Any], state: _Followed, findings: Sequence[NamedFace], seconds: float) -> None:
        client = self._client
        if not self.options.double_take or client is None:
            return
        zones = after.get("current_zones")
        picture = LookedAt(
            after["id"],
            after["camera"],
            iso(time.time()),
            kind="snapshot",
            filename=f"{after['id']}.jpg",
            seconds=seconds,
            attempts=state.looks,
            zones=tuple(zone for zone in zones if isinstance(zone, str)) if isinstance(zones, list) else (),
        )
        for topic, data in double_take_topics.messages(findings, picture, self.options.discovery):
            with suppress(ValueError, RuntimeError):
                client.publish(topic, data, qos=0)


def read_report(payload: bytes) -> dict[str, Any] | None:
    """A message about an event of a person, with `type` and `after`; None if it is something else."""
    try:
        return checked_report(json.loads(payload))
    except (ValueError, RecursionError):
        return None


def checked_report(report: object) -> dict[str, Any] | None:
    """The same of what was read already."""
    if not isinstance(report, dict):
        return None
    after = report.get("after")
    if not isinstance(after, dict) or report.get("type") not in ("new", "update", "end"):
        return None
    texts = all(isinstance(after.get(name), str) and 0 < len(after[name]) <= 200 for name in ("id", "camera", "label"))
    if not texts or after["label"] != "person" or after.get("false_positive") is True:
        return None
    return report


def has_picture(report: Mapping[str, Any]) -> bool:
    """Whether Frigate has a snapshot of an event now: that of one that has ended is not kept by default."""
    return report["type"] != "end" or report["after"].get("has_snapshot") is not False


def _has_other_name(after: Mapping[str, Any]) -> bool:
    """Whether the event has a sub label already: Frigate's own, or somebody's."""
    label = after.get("sub_label")  # a name and its score; no name and no score, if it was taken away; text before 0.12
    return bool(label[0] if isinstance(label, list) and label else label)
