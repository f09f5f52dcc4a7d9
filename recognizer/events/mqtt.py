"""Events and who is where by MQTT, with what Home Assistant needs to show it without configuration.

Topics, below the prefix (`recognizer`):

::

    status                       online or offline, retained; the broker says offline when the connection is lost
    cameras/<id>/event           each event as it happens, QoS 1, not retained
    cameras/<id>/state           who is there now, and whether the camera is live; retained
    cameras/<id>/last            when somebody appeared or left there last, without a name; retained
    cameras/<id>/picture         the thumbnail, a JPEG; retained
    people/<name>/state          whether an enrolled person is at any camera; retained

Discovery is Home Assistant's: one retained message per camera (`<discovery>/device/<node>_<camera>/config`, with all of its
entities), one per person. What is no longer there is removed with an empty message, also after a restart.

After a connection is made, everything retained is published first and `online` last, so that nobody sees an outdated state as
current. Nothing waits inside the client library: each connection has a client of its own, and what was not acknowledged when
the connection was lost is read from the log again. So no name that was erased meanwhile is sent.

Nodes that share a database share the topics as well. Each publishes what is about the cameras that it reads, and has a status
of its own (`nodes/<node>/status`). A node learns from the states of the other nodes' cameras whom these show: only who sees
somebody, or all if nobody does, publish that person's state. Nodes remove the status of a node that the database has forgotten.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from recognizer.events import double_take_topics
from recognizer.events.appearances import PEOPLE_KINDS, iso
from recognizer.events.delivery import Delivery, backoff, of_node
from recognizer.events.event_files import seconds
from recognizer.events.event_hub import Events
from recognizer.events.home_assistant import LATE_SECONDS, Topics, camera_config, person_config
from recognizer.events.mqtt_announced import read_announced, write_announced
from recognizer.events.mqtt_broker import TOO_MUCH, Broker, Inflow, NotPermitted, end_connection, parse_broker

__all__ = ["MOST_PEOPLE", "Broker", "Mqtt", "parse_broker"]

log = logging.getLogger("recognizer.events")

_LOOK_SECONDS = 5.0
#: Maximum number of people with a sensor of their own.
MOST_PEOPLE = 200
#: Maximum number of messages that wait for an acknowledgement.
_UNACKNOWLEDGED = 50
#: Seconds without an acknowledgement after which the connection counts as lost, and after which connecting has failed.
_ACKNOWLEDGE_SECONDS, _CONNECT_SECONDS = 30.0, 10.0
#: Seconds that a connection must last before the next pause is a short one again.
_LASTING_SECONDS = 60.0
#: Seconds in which everything that a broker retains must be taken back.
_LEAVE_SECONDS = 10.0
#: How often an event is sent if the connection is lost each time: perhaps the broker does not accept it.
_TRIES = 10


class _Disconnected(Exception):
    """The connection was lost before the broker acknowledged a message."""


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """How events are published.

    Attributes
    ----------
    prefix : str
        First levels of all topics; two servers on one broker need two.
    discovery : str
        Home Assistant's discovery prefix; empty announces nothing.
    version : str
        Of this program, as Home Assistant shows it.
    double_take : bool
        Whether people who appear are published by Double Take's topics as well; see `double_take_topics`.
    backlog : int
        Maximum number of events that wait for the broker; older ones are dropped and counted.
    least, most : float
        Seconds before connecting again, doubled from the first to the second.
    node : str, optional
        The id of this node, where nodes share a database.
    """

    prefix: str = "recognizer"
    discovery: str = "homeassistant"
    version: str = ""
    double_take: bool = False
    backlog: int = 1000
    least: float = 1
    most: float = 120
    node: str | None = None


@dataclass(frozen=True)
class OtherNodes:
    """What a node knows of the others that share its database.

    Attributes
    ----------
    cameras : callable
        Returns the ids of the cameras that this node does not read; None while they are not known.
    ids : callable
        Returns the ids of all nodes.
    """

    cameras: Callable[[], Sequence[str] | None]
    ids: Callable[[], Sequence[str]]


class Mqtt(Delivery):
    """Publishes events, and the state of cameras and people, to one broker.

    Parameters
    ----------
    events : Events
    broker : Broker
    options : MqttOptions
    cameras : callable, optional
        Pairs of id and name of all cameras, called every few seconds. Without it: those that events came from.
    people : callable
        The names of the enrolled, called every few seconds.
    alike : callable
        The similarity (0 to 1) at a distance, given whether the person was recognised; for Double Take's topics.
    others : OtherNodes, optional
        Where nodes share a database.
    """

    def __init__(
        self,
        events: Events,
        broker: Broker,
        options: MqttOptions | None = None,
        *,
        cameras: Callable[[], Iterable[tuple[str, str]]] | None = None,
        people: Callable[[], Iterable[str]] = tuple,
        alike: Callable[[float, bool], float] = lambda distance, known: float(known),
        others: OtherNodes | None = None,
    ):
        options = options or MqttOptions()
        super().__init__(events.log, "mqtt", options.backlog)
        self.label = broker.shown
        self.problem = "not connected yet"
        self.hub, self.broker, self.version = events, broker, options.version
        self.topics = Topics(options.prefix, options.discovery, options.node)
        self._others = others
        self._elsewhere: dict[str, tuple[str, ...]] = {}  # whom other nodes' cameras show, by the topic of the state; replaced
        self._since_heard: dict[str, str] = {}  # since when people are present by what was heard, by topic; replaced
        self._contradicted: set[str] = set()  # topics of people that another node published otherwise; replaced
        self._statuses: frozenset[str] = frozenset()  # topics of nodes' statuses that the broker retains; replaced
        self._read_now: set[str] | None = None  # the cameras that this node read when `_announce` looked last
        self._cameras, self._people, self._alike = cameras, people, alike
        self._double_take = options.double_take
        self._sensors: dict[str, bytes] = {}  # Double Take's that Home Assistant was told of; replaced
        self._reconnect = (options.least, options.most)
        self._failures = 0
        self._connected_at = 0.0
        self._inflow = Inflow()
        self._connected = threading.Event()
        self._answered = threading.Event()  # the broker accepted or refused the connection
        self._acknowledged = threading.Condition()
        self._taken: set[int] = set()  # numbers of messages that the broker acknowledged
        self._fresh = False  # whether everything retained was published since the connection was made
        self._retained: dict[str, bytes] = {}  # what this connection's broker has; replaced, never changed
        self._announced = read_announced(self.events.folder)  # topics that the broker may retain from any connection; replaced
        self._looked = 0.0
        self._edition: object = None  # of the log, when the newest event of each camera was published
        #: Whether the broker is not used any longer once this has stopped: then nothing stays there.
        self.leaves = False
        self.client: Any = None  # paho's; None before the first connection and after `stop`

    def has_same_topics(self, broker: Broker, options: MqttOptions) -> bool:
        """Whether what is published by these options takes the place of what this has published."""
        return (broker.shown, options.prefix) == (self.broker.shown, self.topics.prefix)

    # -- life ---------------------------------------------------------------------------------------------------

    def stop(self, seconds: float = 5.0) -> None:
        super().stop(seconds)
        client, self.client = self.client, None
        if client is None:
            return
        if self.leaves:
            self._take_back(client)
        elif self._connected.is_set():
            with suppress(ValueError, RuntimeError, OSError):  # the connection is lost: then the broker says offline
                for topic, data in self._news(self._states()).items():
                    client.publish(topic, data, qos=1, retain=True)
                if self._double_take and self._others is None:  # other nodes may be there
                    client.publish(double_take_topics.AVAILABLE, b"offline", qos=1, retain=True)
                client.publish(self.topics.status, b"offline", qos=1, retain=True).wait_for_publish(1.0)
        end_connection(client)

    def _take_back(self, client: Any) -> None:
        """Take back everything that the broker retains, so that no name stays there."""
        topics = sorted(self._announced, key=lambda topic: not topic.endswith("/config"))
        topics += [self.topics.status, *([double_take_topics.AVAILABLE] if self._double_take else [])]
        taken = False
        with suppress(ValueError, RuntimeError, OSError):
            if self._connected.is_set():
                sent = [client.publish(topic, b"", qos=1, retain=True) for topic in dict.fromkeys(topics)]
                until = time.monotonic() + _LEAVE_SECONDS
                for each in sent:
                    each.wait_for_publish(max(0.0, until - time.monotonic()))
                taken = all(each.is_published() for each in sent)
        if taken:
            self._note_announced(set())
        else:
            log.warning("%s cannot be reached: it may still retain names of people", self.label)

    # -- the connection -----------------------------------------------------------------------------------------

    def _until_ready(self) -> None:
        """Wait for a connection on which everything retained was published.

        Raises
        ------
        Stopped
        """
        while True:
            if not self._connected.is_set():
                self._connect()
                continue
            if self._fresh:
                return
            self._fresh = True  # a change from here on makes it False again
            try:
                self._publish_everything()
            except BaseException as error:
                self._fresh = False
                if not isinstance(error, _Disconnected):
                    raise

    def _connect(self) -> None:
        """Try once to connect, after a pause if that failed before."""
        if self._failures:
            self.pause(backoff(self._failures, *self._reconnect))
        self._drop_client()
        self._fresh, self._retained = False, {}
        self._elsewhere, self._contradicted, self._read_now = {}, set(), None
        self._since_heard, self._statuses = {}, frozenset()
        with self._acknowledged:
            self._taken = set()
        self._answered.clear()
        self.client = client = self._new_client()
        try:
            self.broker.connect(client)
        except NotPermitted as error:
            self._lost(str(error))
            return
        except (OSError, ValueError):
            self._lost("no connection could be made")
            return
        client.loop_start()
        until = time.monotonic() + _CONNECT_SECONDS
        while not self._answered.wait(0.1):
            self.pause(0)
            if time.monotonic() > until:
                self._lost("the broker does not answer")
                return

    def _new_client(self) -> Any:
        name = f"recognizer-{self.topics.node}" + (f"-{self.topics.member}" if self.topics.member else "")
        client = self.broker.new_client(name, reconnect=False)
        client.will_set(self.topics.status, "offline", qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message = self._on_publish, self._on_message
        return client

    def _drop_client(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            self._connected.clear()
            end_connection(client)

    def _lost(self, problem: str) -> None:
        if self._connected.is_set() and time.monotonic() - self._connected_at > _LASTING_SECONDS:
            self._failures = 0
        self._connected.clear()
        self._failures += 1
        if self.problem != problem:
            log.warning("%s: %s; it is tried again", self.label, problem)
        self.problem = problem
        self.counts["retried"] += 1

    # called on paho's thread

    def _on_connect(self, client, userdata, flags, reason_code, properties) -> None:
        if client is not self.client:
            return
        if reason_code.is_failure:
            self._lost(f"the broker refuses the connection: {reason_code}")
        else:
            if self.problem:
                log.info("connected to %s", self.label)
            self.problem, self._connected_at = None, time.monotonic()
            if self.topics.discovery:
                client.subscribe(f"{self.topics.discovery}/status", qos=1)
            if self._others is not None:
                client.subscribe([(self.topics.all_cameras, 1), (self.topics.all_people, 1), (self.topics.all_statuses, 1)])
            self._connected.set()
        self._answered.set()

    def _on_disconnect(self, client, userdata, flags, reason_code, properties) -> None:
        if client is not self.client or self._stop.is_set():
            return
        if self._connected.is_set():  # else it is the end of a connection that was refused
            self._lost("the connection was lost")
        elif not self._answered.is_set():
            self._lost("no connection could be made")
            self._answered.set()

    def _on_publish(self, client, userdata, mid, reason_code, properties) -> None:
        with self._acknowledged:
            self._taken.add(mid)
            self._acknowledged.notify_all()

    def _on_message(self, client, userdata, message) -> None:
        if client is not self.client or not self._connected.is_set():
            return
        if self._inflow.is_too_much(message.payload):
            self._lost(TOO_MUCH)
            client.disconnect()
            return
        topic = message.topic
        if self._others is not None and topic.startswith(f"{self.topics.prefix}/"):
            self._hear(topic, message.payload)
        elif message.payload == b"online" and not message.retain:  # Home Assistant started
            self._fresh = False

    def _hear(self, topic: str, data: bytes) -> None:
        """Note what a node published, this one or another."""
        if topic.startswith(f"{self.topics.prefix}/cameras/"):
            try:
                names = tuple(name for name in _people_in(data) if isinstance(name, str))
            except (ValueError, TypeError, AttributeError, RecursionError):  # somebody else's message
                names = ()
            self._elsewhere = {**self._elsewhere, topic: names}
            return
        if topic.startswith(f"{self.topics.prefix}/nodes/"):
            self._statuses = self._statuses | {topic} if data else self._statuses - {topic}
            if topic == self.topics.status and not data:  # this node was forgotten while it was away
                self._fresh = False
            return
        since, before = _since_in(data), self._since_heard.get(topic)
        heard = {each: text for each, text in self._since_heard.items() if each != topic}
        if since is not None:
            heard[topic] = since if before is None else min(since, before, key=seconds)
        self._since_heard = heard
        if self._retained.get(topic, data) != data:
            self._contradicted = self._contradicted | {topic}

    # -- publishing ---------------------------------------------------------------------------------------------

    def _send(self, messages: Iterable[tuple[str, bytes, bool]]) -> None:
        """Publish messages (topic, payload, whether it is retained), and return when the broker has them.

        Raises
        ------
        _Disconnected, Stopped
        """
        for batch in _batches(messages, _UNACKNOWLEDGED):
            # The condition is not held while something is published: that takes the library's lock, under which it reports
            # acknowledgements.
            waiting = {self._publish(*message) for message in batch}
            until = time.monotonic() + _ACKNOWLEDGE_SECONDS
            while True:
                with self._acknowledged:
                    if not waiting <= self._taken:
                        self._acknowledged.wait(0.1)
                    self._taken, waiting = self._taken - waiting, waiting - self._taken
                if not waiting:
                    break
                self._check(until)

    def _publish(self, topic: str, data: bytes, retain: bool) -> int:
        """Hand a message to the library, which refuses it while too many are unacknowledged; returns the message's number."""
        import paho.mqtt.client as paho

        until = time.monotonic() + _ACKNOWLEDGE_SECONDS
        while True:
            message = self.client.publish(topic, data, qos=1, retain=retain)
            if message.rc == paho.MQTT_ERR_SUCCESS:
                return message.mid
            if message.rc != paho.MQTT_ERR_QUEUE_SIZE:
                raise self._disconnected()
            self._check(until)
            self.pause(0.05)

    def _check(self, until: float) -> None:
        self.pause(0)
        if not self._connected.is_set():
            raise _Disconnected
        if time.monotonic() > until:
            raise self._disconnected("the broker does not acknowledge messages")

    def _disconnected(self, problem: str = "the connection was lost") -> _Disconnected:
        """Give the connection up."""
        if self._connected.is_set():
            self._lost(problem)
        return _Disconnected()

    def deliver(self, event: dict) -> None:
        """Publish an event and wait until the broker has it, however long that takes."""
        for attempt in range(1, _TRIES + 1):
            self._until_ready()
            stored = self.renewed(event)
            if stored is None:  # it was deleted while it waited
                self.counts["dropped"] += 1
                return
            late = time.time() - seconds(stored["time"]) > LATE_SECONDS
            told = {"event_type": stored["kind"], **of_node(stored, self.topics.member), "late": late}
            payload = json.dumps(told, ensure_ascii=False).encode()
            last = self._news(self._needed(self._last(stored["camera"], stored))) if stored["kind"] in PEOPLE_KINDS else {}
            self._note_announced(self._announced | last.keys())
            try:
                event_topic = self.topics.camera(stored["camera"], "event")
                self._send([(event_topic, payload, False), *self._as_double_take(stored, late), *_retained(last)])
            except _Disconnected:
                if attempt == _TRIES:
                    log.warning("%s: event %d is dropped: the connection is lost each time", self.label, stored["id"])
                    self.counts["dropped"] += 1
                continue
            self.counts["delivered"] += 1
            self._retained = {**self._retained, **last}
            with suppress(_Disconnected):  # the next connection publishes them
                self._retain_states()
            return

    def _as_double_take(self, event: dict, late: bool) -> list[tuple[str, bytes, bool]]:
        """An event as Double Take's messages; none of what is old, which its automations would take for news."""
        if not self._double_take or late or event["kind"] not in ("appeared", "unknown") or event["box"] is None:
            return []
        known, box = event["subject"] is not None, event["box"]
        similarity = self._alike(event["distance"], known) if event["distance"] is not None else 0.0
        finding = double_take_topics.NamedFace(
            event["subject"], similarity, (box["left"], box["top"], box["right"], box["bottom"])
        )
        number = event["id"]
        picture = double_take_topics.LookedAt(str(number), event["camera"], event["time"], filename=f"{number}.jpg")
        made = double_take_topics.messages([finding], picture, self.topics.discovery)
        return [(topic, data, False) for topic, data in made]

    def tell(self, findings: Sequence[double_take_topics.NamedFace], picture: double_take_topics.LookedAt) -> None:
        """Publish what was found on a picture by Double Take's topics, if there is a connection now. Any thread may call."""
        client = self.client
        if not self._double_take or client is None or not self._connected.is_set():
            return
        for topic, data in double_take_topics.messages(findings, picture, self.topics.discovery):
            with suppress(ValueError, RuntimeError):
                client.publish(topic, data, qos=0)

    def _hand_over(self) -> None:
        self._until_ready()
        super()._hand_over()
        if self._connected.is_set():
            with suppress(_Disconnected):
                if self._edition != self.events.edition:  # events were changed or deleted
                    self._publish_lasts()
                if time.monotonic() - self._looked > _LOOK_SECONDS:
                    self._announce()
                if self._others is not None:
                    self._follow_cameras()
                self._retain_states()

    def _follow_cameras(self) -> None:
        """Replace what another node published of cameras that this one reads from now on."""
        read_now = {camera for camera, _ in self._all_cameras()}
        if read_now == self._read_now:
            return
        gained, self._read_now = read_now - (self._read_now or set()), read_now
        theirs = self._topics_of(gained)
        self._retained = {topic: data for topic, data in self._retained.items() if topic not in theirs}
        self._announce()
        self._publish_lasts()

    # -- one person ---------------------------------------------------------------------------------------------

    def find(self, subject: str) -> list[str]:
        """The topics of a person, and those with the name in what is retained."""
        named = {topic for topic, data in self._retained.items() if subject in _people_in(data)}
        return sorted((self.topics.of_person(subject) & self._announced) | named)

    def erase(self, subject: str) -> None:
        """Remove the person's topics, and publish everything that is retained again, within a second."""
        self._fresh = False

    def rename(self, old: str, new: str) -> None:
        """Replace the person's topics, and publish everything that is retained again, within a second."""
        self._fresh = False

    # -- what is retained ---------------------------------------------------------------------------------------

    def _publish_everything(self) -> None:
        self._retained, self._read_now = {}, {camera for camera, _ in self._all_cameras()}
        self._announce(again=True)
        self._retain_states()
        self._publish_lasts()
        if self._double_take:
            self._send([(double_take_topics.AVAILABLE, b"online", True)])
        alone = [] if self.topics.member is None else [(self.topics.status_alone, b"", True)]  # of a time without a database
        self._send([*alone, (self.topics.status, b"online", True)])

    def _news(self, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
        """What the broker does not have yet."""
        return {topic: data for topic, data in wanted.items() if self._retained.get(topic) != data}

    def _retain(self, wanted: Mapping[str, bytes]) -> None:
        news = self._news(wanted)
        self._send(_retained(news))
        self._retained = {**self._retained, **news}

    def _retain_states(self) -> None:
        """Publish who is where now, of cameras and people whose topics were noted before."""
        contradicted, self._contradicted = self._contradicted, set()
        self._retained = {topic: data for topic, data in self._retained.items() if topic not in contradicted}
        states = self._states()
        if states.keys() - self._announced:  # somebody was enrolled a moment ago
            self._announce()
        self._retain({topic: data for topic, data in states.items() if topic in self._announced})

    def _states(self) -> dict[str, bytes]:
        """Who is where now."""
        present, states = self.hub.present(), self.hub.camera_states()
        found: dict[str, bytes] = {}
        away = self._seen_elsewhere()
        where: dict[str | None, list[tuple[str, float]]] = {}
        for camera, _ in self._all_cameras():
            there = present.get(camera, [])
            known = sorted({subject for subject, _ in there if subject is not None})
            for subject, since in there:
                where.setdefault(subject, []).append((camera, since))
            found[self.topics.camera(camera, "state")] = _dumped(
                {
                    "person": _on(there),
                    "known": _on(known),
                    "count": len(there),
                    "people": known,
                    "unknown": sum(subject is None for subject, _ in there),
                    "live": _on(states.get(camera) == "live"),
                    "camera": states.get(camera, "idle"),
                }
            )
            if self._double_take:
                found[double_take_topics.person_count(camera)] = str(len(there)).encode()
        for person in self._all_people():
            seen, others = where.get(person, []), away.get(person, [])
            if others and not seen:
                continue  # who sees the person publishes it
            topic = self.topics.person(person)
            found[topic] = _dumped(
                {
                    "present": _on(seen),
                    "cameras": sorted([*(camera for camera, _ in seen), *others]),
                    "since": self._since(topic, min(since for _, since in seen), bool(others)) if seen else None,
                }
            )
        return found

    def _since(self, topic: str, own: float, is_elsewhere: bool) -> str:
        """Since when somebody is present: the earliest that any node says, so that nodes do not contradict each other."""
        text, heard = iso(own), self._since_heard.get(topic)
        if not is_elsewhere:  # what was heard was about an earlier time, or this node said it
            self._since_heard = {each: since for each, since in self._since_heard.items() if each != topic}
            return text
        return text if heard is None else min(text, heard, key=seconds)

    def _seen_elsewhere(self) -> dict[str, list[str]]:
        """At which cameras of other nodes everybody is."""
        found: dict[str, list[str]] = {}
        for camera in () if self._others is None else self._others.cameras() or ():
            for name in self._elsewhere.get(self.topics.camera(camera, "state"), ()):
                found.setdefault(name, []).append(camera)
        return found

    def _last(self, camera: str, event: dict | None) -> dict[str, bytes]:
        """What is retained of a camera's newest event about a person: no name, so that it cannot be mistaken for news."""
        shown, picture = b"", None
        if event is not None:
            kept = {name: event.get(name) for name in ("id", "kind", "camera", "time")}
            zones = {"zones": event["zones"]} if "zones" in event else {}
            shown = _dumped({**kept, "known": event.get("subject") is not None, **zones})
            number = event.get("appearance") if event["kind"] == "left" else event["id"]
            picture = self.events.thumbnail(number) if number and event.get("thumbnail") else None
        return {self.topics.camera(camera, "last"): shown, self.topics.camera(camera, "picture"): picture or b""}

    def _publish_lasts(self) -> None:
        """Publish the newest event of each camera as the log has it now, however old; nothing where there is none."""
        self._edition = self.events.edition
        cameras = [camera for camera, _ in self._all_cameras()]
        newest = self.events.newest_of(cameras, PEOPLE_KINDS, self._cursor.after)
        wanted: dict[str, bytes] = {}
        for camera in cameras:
            wanted |= self._needed(self._last(camera, newest.get(camera)))
        self._note_announced(self._announced | wanted.keys())
        self._retain(wanted)
        self._note_announced(self._announced - {topic for topic, data in wanted.items() if not data})

    def _needed(self, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
        """The same without empty messages where nothing can be retained: Home Assistant takes one for a new picture."""
        there = self._announced
        if self._others is not None:  # another node may have read the camera before, and published who was there
            return {topic: data for topic, data in wanted.items() if data or topic in there or topic not in self._retained}
        return {topic: data for topic, data in wanted.items() if data or topic in there}

    def _all_cameras(self) -> list[tuple[str, str]]:
        return sorted(self.hub.camera_names().items() if self._cameras is None else self._cameras())

    def _all_people(self) -> list[str]:
        """The names of the enrolled, without those that another process has erased or changed a moment ago."""
        return sorted(self.hub.still_named(self._people()))[:MOST_PEOPLE]

    # -- Home Assistant -----------------------------------------------------------------------------------------

    def _announce(self, again: bool = False) -> None:
        """Publish the configuration of everything that is there, and remove that of what is not.

        Parameters
        ----------
        again : bool
            Whether what is not retained is published even if it has not changed.
        """
        self._looked = time.monotonic()
        wanted: dict[str, dict] = {}
        topics = self._of_other_nodes()
        members = () if self._others is None else self._others.ids()
        if self.topics.member in members:  # else they are not known
            forgotten = self._statuses - {self.topics.status_of(member) for member in members}
            self._send([(topic, b"", True) for topic in sorted(forgotten)])
        for camera, name in self._all_cameras():
            wanted[self.topics.camera_config(camera)] = camera_config(self.topics, camera, name, self.version)
            topics.add(self.topics.camera(camera, "state"))
            topics |= {self.topics.camera(camera, leaf) for leaf in ("last", "picture")} & self._announced
        for person in self._all_people():
            wanted[self.topics.person_config(person)] = person_config(self.topics, person, self.version, members)
            topics.add(self.topics.person(person))
        if self._double_take:
            topics |= {double_take_topics.person_count(camera) for camera, _ in self._all_cameras()} | {
                double_take_topics.AVAILABLE
            }
        if not self.topics.discovery:
            wanted = {}
        topics |= set(wanted)
        self._note_announced(self._announced | topics)  # before: what is published must be known after a crash
        # configurations first: Home Assistant logs an error for an entity whose state is empty
        gone = sorted(self._announced - topics, key=lambda topic: not topic.endswith("/config"))
        self._retain(dict.fromkeys(gone, b""))
        self._retain({topic: _dumped(config) for topic, config in wanted.items()})
        self._retained = {topic: data for topic, data in self._retained.items() if data or topic in topics}
        self._note_announced(topics)
        if self._double_take and self.topics.discovery:
            self._announce_sensors(again)

    def _of_other_nodes(self) -> set[str]:
        """What this node announced of cameras that another one reads now: that one publishes it, until the camera is gone."""
        if self._others is None:
            return set()
        cameras = self._others.cameras()
        if cameras is None:
            return set(self._announced)
        return self._announced & self._topics_of(cameras)

    def _topics_of(self, cameras: Iterable[str]) -> set[str]:
        """All topics of cameras on which something is retained."""
        found: set[str] = set()
        for each in cameras:
            found |= {self.topics.camera(each, leaf) for leaf in ("state", "last", "picture")}
            found |= {self.topics.camera_config(each), double_take_topics.person_count(each)}
        return found

    def _announce_sensors(self, again: bool) -> None:
        """The same for Double Take's sensors, which are not retained, because their topics have names."""
        cameras = [camera for camera, _ in self._all_cameras()]
        made = double_take_topics.sensors(self.topics.discovery, self._all_people(), cameras, self.topics.status)
        wanted = {topic: _dumped(config) for topic, config in made.items()}
        gone = dict.fromkeys(self._sensors.keys() - wanted.keys(), b"")
        news = {topic: data for topic, data in wanted.items() if again or self._sensors.get(topic) != data}
        self._send([(topic, data, False) for topic, data in {**gone, **news}.items()])
        self._sensors = wanted

    def _note_announced(self, topics: set[str]) -> None:
        if topics != self._announced:
            self._announced = topics
            write_announced(self.events.folder, topics)


def _retained(wanted: Mapping[str, bytes]) -> list[tuple[str, bytes, bool]]:
    return [(topic, data, True) for topic, data in wanted.items()]


def _batches(messages: Iterable[tuple[str, bytes, bool]], size: int) -> Iterator[list[tuple[str, bytes, bool]]]:
    waiting = list(messages)
    for begin in range(0, len(waiting), size):
        yield waiting[begin : begin + size]


def _people_in(data: bytes) -> list[str]:
    """The names in a camera's state."""
    if not data.startswith(b"{"):
        return []
    state = json.loads(data)
    return [*state.get("people", ()), state.get("name")]


def _since_in(data: bytes) -> str | None:
    """Since when a person's state says that the person is present; None if it does not, or is somebody else's message."""
    try:
        since = json.loads(data)["since"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return since if seconds(since) else None


def _on(anything: object) -> str:
    return "ON" if anything else "OFF"


def _dumped(value: dict) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
