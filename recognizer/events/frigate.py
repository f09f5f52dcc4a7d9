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
from urllib.parse import quote

from recognizer.core.errors import Busy, FaceError, FetchError, ImageError, RecognizerError
from recognizer.events import double_take_topics
from recognizer.events.appearances import iso
from recognizer.events.delivery import Delivery
from recognizer.events.double_take_topics import LookedAt, NamedFace
from recognizer.events.event_log import EventLog
from recognizer.events.mqtt_broker import Broker
from recognizer.fetching.fetcher import Fetcher
from recognizer.photos.image_headers import read_jpeg

log = logging.getLogger("recognizer.events")

#: Looks at one event, and seconds between two of them.
MOST_LOOKS, LEAST_SECONDS = 10, 1.0
#: Events that are remembered, and that wait to be looked at.
_REMEMBERED, _WAITING = 1000, 100
#: Longest sub label that Frigate takes, and longest message about an event that is read.
_LABEL, _MESSAGE = 100, 100_000
#: How long Frigate's sizes of frames are remembered.
_SIZES_SECONDS = 600.0
#: By how much of its size Frigate's box of a person is enlarged: heads stick out of it.
_MARGIN = 0.15
_CONNECT_SECONDS = (1, 60)

#: Compares the faces of a photo (JPEG) with the enrolled.
Look = Callable[[bytes], Sequence[NamedFace]]


class FrigateApi:
    """What is asked of Frigate's API.

    Parameters
    ----------
    url : str
        Of Frigate, without ``/api``.
    fetcher : Fetcher
        Must be allowed to reach it.

    Raises
    ------
    InvalidUrl
    """

    def __init__(self, url: str, fetcher: Fetcher):
        fetcher.check(url)
        self._url, self._fetcher = url.rstrip("/"), fetcher
        self._sizes: dict[str, tuple[float, float]] = {}  # of each camera's frames; replaced
        self._sizes_until = float("-inf")

    def snapshot(self, after: Mapping[str, Any]) -> bytes:
        """The best picture of an event's person so far, a JPEG.

        It is the whole frame without drawings while the event lasts. Of one that has ended, versions before 0.18 have only what
        the camera's settings made of it, perhaps cut, smaller and drawn on; 0.18 makes it as small as these say at any time.

        Raises
        ------
        FetchError
        """
        return self._fetcher.get(f"{self._event(after)}/snapshot.jpg?bbox=0&timestamp=0&crop=0&quality=95")

    def of_person(self, findings: Sequence[NamedFace], after: Mapping[str, Any], snapshot: bytes) -> list[NamedFace]:
        """The faces of the person whom an event follows, on its snapshot: others may be on it as well.

        Parameters
        ----------
        findings : sequence of NamedFace
            The faces on the snapshot, the largest first.
        """
        box, found = _box_of(after), list(findings)
        if box is None or not found:
            return found
        try:
            header = read_jpeg(snapshot)
        except ImageError:
            return inside(found, box)
        width, height = header.width, header.height
        frame = self._frame_size(after["camera"])
        if frame is None:
            return inside(found, box) if box[2] <= width and box[3] <= height else found[:1]
        if abs(width * frame[1] - height * frame[0]) > max(frame):  # more than rounding: it is cut to the person
            return found[:1]
        scale = width / frame[0]
        return inside(found, (box[0] * scale, box[1] * scale, box[2] * scale, box[3] * scale))

    def _frame_size(self, camera: str) -> tuple[float, float] | None:
        """Width and height of the frames in which Frigate finds people, which boxes refer to; None if it does not tell."""
        if time.monotonic() > self._sizes_until:
            self._sizes_until = time.monotonic() + _SIZES_SECONDS
            try:
                self._sizes = _sizes_in(json.loads(self._fetcher.get(f"{self._url}/api/config")))
            except (FetchError, ValueError, RecursionError):
                self._sizes = {}
        return self._sizes.get(camera)

    def set_label(self, after: Mapping[str, Any], named: Sequence[NamedFace]) -> None:
        """Give an event the names of the faces as its sub label.

        Raises
        ------
        FetchError
        """
        names = list(dict.fromkeys(each.name for each in named if each.name is not None))
        while len(names) > 1 and len(", ".join(names)) > _LABEL:
            names.pop()
        score = round(min(each.similarity for each in named), 4)
        body = {"subLabel": ", ".join(names)[:_LABEL], "subLabelScore": score, "camera": after["camera"]}
        data = json.dumps(body, ensure_ascii=False).encode()
        self._fetcher.post(f"{self._event(after)}/sub_label", data, {"Content-Type": "application/json"})

    def _event(self, after: Mapping[str, Any]) -> str:
        return f"{self._url}/api/events/{quote(after['id'], safe='')}"


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
        self.problem = "not connected yet"
        self.options = options or FrigateOptions()
        self._broker, self._api, self._named = broker, api, look
        self._followed: OrderedDict[str, _Followed] = OrderedDict()
        self._waiting: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._wake = threading.Condition()
        self._client: Any = None

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
                client.disconnect()
                client.loop_stop()
        super().stop(seconds)

    @property
    def waiting(self) -> int:
        """The number of events that wait to be looked at."""
        return len(self._waiting)

    def find(self, subject: str) -> list[str]:
        """Nothing: names are at Frigate then, which keeps its own events."""
        return []

    def _run(self) -> None:
        self._client = client = self._broker.new_client(f"recognizer-frigate-{id(self):x}")
        client.on_connect, client.on_disconnect, client.on_message = self._on_connect, self._on_disconnect, self._on_message
        client.reconnect_delay_set(*_CONNECT_SECONDS)
        client.connect_async(self._broker.host, self._broker.port, keepalive=30)
        client.loop_start()
        while not self._stop.is_set():
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
            self._note(f"the broker refuses the connection: {reason_code}")
            return
        client.subscribe(f"{self.options.topic}/events", qos=0)
        self._note(None)

    def _on_disconnect(self, client, userdata, flags, reason_code, properties) -> None:
        if not self._stop.is_set():
            self._note("the connection was lost")

    def _on_message(self, client, userdata, message) -> None:
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

    def _note(self, problem: str | None) -> None:
        """Log once that something is wrong, and once that it works again."""
        if problem and problem != self.problem:
            log.warning("%s: %s; it is tried again", self.label, problem)
        elif self.problem and not problem:
            log.info("%s is followed", self.label)
        self.problem = problem

    # -- one event ----------------------------------------------------------------------------------------------

    def _follow(self, report: Mapping[str, Any]) -> None:
        after = report["after"]
        state = self._followed.setdefault(after["id"], _Followed())
        self._followed.move_to_end(after["id"])
        while len(self._followed) > _REMEMBERED:
            self._followed.popitem(last=False)
        ended = report["type"] == "end"
        if not state.done and not _has_other_name(after) and state.looks < MOST_LOOKS:
            if ended or time.monotonic() - state.last >= self.options.seconds:
                self._look(after, state)
        if ended and not state.done:
            state.done = True
            if state.strangers:
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
        self._note(None)
        self._publish(after, state, findings, time.perf_counter() - begun)

    def _failed(self, error: RecognizerError) -> None:
        """Count a failure; an event that Frigate does not know (any longer) is none of Frigate as a whole."""
        self.counts["retried"] += 1
        status = error.details.get("status")
        if status in (401, 403):
            self._note("Frigate refuses this: its API needs the role admin, which its port 5000 has")
        elif status != 404:
            self._note(f"Frigate's API cannot be used: {error.message}")

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


def inside(findings: Sequence[NamedFace], box: tuple[float, float, float, float]) -> list[NamedFace]:
    """The faces in Frigate's box of a person (left, top, right, bottom)."""
    left, top, right, bottom = box
    dx, dy = _MARGIN * (right - left), _MARGIN * (bottom - top)
    centres = [((each.box[0] + each.box[2]) / 2, (each.box[1] + each.box[3]) / 2) for each in findings]
    return [
        each
        for each, (x, y) in zip(findings, centres, strict=True)
        if left - dx <= x <= right + dx and top - dy <= y <= bottom + dy
    ]


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
    # whether a snapshot is going to be kept, which it is not by default: there is one as long as the event lasts
    return None if report["type"] == "end" and after.get("has_snapshot") is False else report


def _has_other_name(after: Mapping[str, Any]) -> bool:
    """Whether the event has a sub label already: Frigate's own, or somebody's."""
    return bool(after.get("sub_label"))


def _sizes_in(config: object) -> dict[str, tuple[float, float]]:
    """The sizes of the frames that Frigate detects on, by camera, in its configuration."""
    cameras = config.get("cameras") if isinstance(config, dict) else None
    sizes: dict[str, tuple[float, float]] = {}
    for name, camera in cameras.items() if isinstance(cameras, dict) else ():
        detect = camera.get("detect") if isinstance(camera, dict) else None
        width, height = (detect.get("width"), detect.get("height")) if isinstance(detect, dict) else (None, None)
        if isinstance(width, (int, float)) and isinstance(height, (int, float)) and width > 0 and height > 0:
            sizes[name] = width, height
    return sizes


def _box_of(after: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Where the person is on the snapshot, if Frigate says so."""
    snapshot = after.get("snapshot")
    box = snapshot.get("box") if isinstance(snapshot, dict) else None
    if not isinstance(box, list) or len(box) != 4 or not all(type(edge) in (int, float) for edge in box):
        return None
    return box[0], box[1], box[2], box[3]
