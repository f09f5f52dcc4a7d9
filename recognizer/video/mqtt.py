"""Events and who is where by MQTT, and all that Home Assistant needs to show it without being told.

Topics, below the prefix (`recognizer`):

::

    status                       online or offline, retained; the broker itself says offline when the connection is lost
    cameras/<id>/event           each event as it happens, QoS 1, not retained
    cameras/<id>/state           who is there now, and whether the camera is live; retained
    cameras/<id>/last            the newest event of a person there; retained
    cameras/<id>/picture         its thumbnail, a JPEG; retained
    people/<name>/state          whether an enrolled person is at any camera; retained

Discovery is Home Assistant's: one retained message per camera (`<discovery>/device/<node>_<camera>/config`, with all of its
entities), one per person. What is no longer there is taken back with an empty message, also after a restart.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ..errors import SettingsError
from .delivery import Delivery
from .event_hub import Events
from .events import KINDS, PEOPLE_KINDS, iso

log = logging.getLogger("recognizer.events")

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_LOOK_SECONDS = 5.0
#: Most people with a sensor of their own.
MOST_PEOPLE = 200


@dataclass(frozen=True)
class Broker:
    """Where the broker is. The representation shows no credentials."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None

    @property
    def shown(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def parse_broker(url: str, password: str | None = None, cafile: str | None = None) -> Broker:
    """A broker's URL: ``mqtt://user:password@host:1883`` or ``mqtts://...``, user and password percent-encoded.

    Raises
    ------
    SettingsError
        Never shows the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError("mqtt_url: expected mqtt://HOST or mqtts://HOST with a port from 1 to 65535") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or port == 0:
        raise SettingsError("mqtt_url: expected mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts:// for TLS")
    own = None if parts.password is None else unquote(parts.password)
    user = None if not parts.username else unquote(parts.username)
    return Broker(
        parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts", user, password or own, cafile
    )  # fmt: skip


class Mqtt(Delivery):
    """Publishes events, and the state of cameras and people, to one broker.

    Parameters
    ----------
    events : Events
    broker : Broker
    prefix : str
        Of all topics; two servers on one broker need two.
    discovery : str
        Home Assistant's discovery prefix; empty announces nothing.
    cameras, people : callable
        Pairs of id and name of all cameras, and the names of the enrolled. Asked every few seconds.
    version : str
    backlog : int
        Most events that wait for the broker; older ones are dropped and counted.
    least, most : float
        Seconds before connecting again, doubled from the first to the second.
    """

    def __init__(
        self,
        events: Events,
        broker: Broker,
        *,
        prefix: str = "recognizer",
        discovery: str = "homeassistant",
        cameras: Callable[[], Iterable[tuple[str, str]]] = tuple,
        people: Callable[[], Iterable[str]] = tuple,
        version: str = "",
        backlog: int = 1000,
        least: int = 1,
        most: int = 120,
    ):
        super().__init__(events.log, "mqtt", backlog)
        self.label = broker.shown
        self.problem = "not connected yet"
        self.hub, self.broker, self.prefix, self.discovery, self.version = events, broker, prefix, discovery, version
        self.node = _slug(prefix)
        self._cameras, self._people = cameras, people
        self._reconnect = (least, most)
        self._connected = threading.Event()
        self._acknowledged = threading.Condition()
        self._taken: set[int] = set()  # what the broker acknowledged since the last event was begun
        self._fresh = False  # whether everything retained was published since the connection was made
        self._retained: dict[str, bytes] = {}
        self._looked = 0.0
        self._announced = self._read_announced()
        self._client = None

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        import paho.mqtt.client as paho

        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"recognizer-{self.node}", clean_session=True)
        if self.broker.user:
            client.username_pw_set(self.broker.user, self.broker.password)
        if self.broker.tls:
            import ssl

            import certifi

            context = ssl.create_default_context()
            for file in filter(None, (certifi.where(), self.broker.cafile)):
                context.load_verify_locations(file)
            client.tls_set_context(context)
        client.reconnect_delay_set(*self._reconnect)
        client.max_queued_messages_set(1000)
        client.will_set(f"{self.prefix}/status", "offline", qos=1, retain=True)
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail = self._on_connect_fail
        client.on_publish, client.on_message = self._on_publish, self._on_message
        self._client = client
        client.connect_async(self.broker.host, self.broker.port, keepalive=30)
        client.loop_start()
        super().start()

    def stop(self, seconds: float = 5.0) -> None:
        super().stop(seconds)
        client, self._client = self._client, None
        if client is None:
            return
        if self._connected.is_set():
            client.publish(f"{self.prefix}/status", "offline", qos=1, retain=True).wait_for_publish(1.0)
        client.disconnect()
        client.loop_stop()

    # -- the connection: called on paho's thread -----------------------------------------------------------------

    def _on_connect(self, client, userdata, flags, reason_code, properties) -> None:
        if reason_code.is_failure:
            self._lost(f"the broker refuses the connection: {reason_code}")
            return
        self._fresh = False
        if self.problem:
            log.info("connected to %s", self.label)
        self.problem = None
        if self.discovery:
            client.subscribe(f"{self.discovery}/status", qos=1)
        self._connected.set()

    def _on_disconnect(self, client, userdata, flags, reason_code, properties) -> None:
        if self._connected.is_set() and not self._stop.is_set():  # else it is the end of one that was refused
            self._lost("the connection was lost")
        self._connected.clear()

    def _on_connect_fail(self, client, userdata) -> None:
        self._lost("no connection could be made")

    def _lost(self, problem: str) -> None:
        self._connected.clear()
        if self.problem != problem:
            log.warning("%s: %s; it is tried again", self.label, problem)
        self.problem = problem
        self.counts["retried"] += 1

    def _on_publish(self, client, userdata, mid, reason_code, properties) -> None:
        with self._acknowledged:
            self._taken.add(mid)
            self._acknowledged.notify_all()

    def _on_message(self, client, userdata, message) -> None:
        if message.payload == b"online":  # Home Assistant started
            self._fresh = False

    # -- events -------------------------------------------------------------------------------------------------

    def deliver(self, event: dict) -> None:
        """Publish an event and wait until the broker has it, however long that takes."""
        self._until_ready()
        topic = f"{self._camera_topic(event['camera'])}/event"
        payload = json.dumps({"event_type": event["kind"], **event}, ensure_ascii=False).encode()
        with self._acknowledged:
            self._taken.clear()
        # Not inside the block: publishing takes the library's lock, under which it tells us what was acknowledged.
        number = self._client.publish(topic, payload, qos=1).mid
        with self._acknowledged:
            while number not in self._taken:  # paho sends it again after a lost connection
                self._acknowledged.wait(0.2)
                if self._stop.is_set():
                    self.pause(0)
        self.counts["delivered"] += 1
        if event["kind"] in PEOPLE_KINDS:
            self._publish_last(event)
        self._publish_states()

    def _until_ready(self) -> None:
        while not self._connected.wait(0.0):
            self.pause(0.1)
        if not self._fresh:
            self._fresh = True
            self._retained.clear()
            self._client.publish(f"{self.prefix}/status", "online", qos=1, retain=True)
            self._announce()
            self._publish_lasts()
            self._publish_states()

    def _hand_over(self) -> None:
        self._until_ready()
        super()._hand_over()
        if self._connected.is_set():
            if time.monotonic() - self._looked > _LOOK_SECONDS:
                self._announce()
            self._publish_states()

    def forgotten(self) -> None:
        """Somebody was taken out of the events: publish everything that is retained anew."""
        self._fresh = False

    # -- what is retained ---------------------------------------------------------------------------------------

    def _retain(self, topic: str, payload: bytes | str | dict) -> None:
        """Publish what has changed since this connection was made."""
        data = payload if isinstance(payload, bytes) else _dumped(payload) if isinstance(payload, dict) else payload.encode()
        if self._retained.get(topic) != data and self._connected.is_set():
            self._client.publish(topic, data, qos=1, retain=True)
            self._retained[topic] = data

    def _publish_states(self) -> None:
        present, states = self.hub.present(), self.hub.camera_states()
        where: dict[str, list[tuple[str, float]]] = {}
        for camera, _ in self._all_cameras():
            there = present.get(camera, [])
            known = sorted({subject for subject, _ in there if subject is not None})
            for subject, since in there:
                where.setdefault(subject, []).append((camera, since))
            self._retain(
                f"{self._camera_topic(camera)}/state",
                {
                    "person": _on(there), "known": _on(known), "count": len(there), "people": known,
                    "unknown": sum(subject is None for subject, _ in there),
                    "live": _on(states.get(camera) == "live"), "camera": states.get(camera, "idle"),
                },
            )  # fmt: skip
        for person in self._all_people():
            seen = where.get(person, [])
            self._retain(
                f"{self.prefix}/people/{_slug(person)}/state",
                {
                    "present": _on(seen), "cameras": sorted(camera for camera, _ in seen),
                    "since": iso(min(since for _, since in seen)) if seen else None,
                },
            )  # fmt: skip

    def _publish_last(self, event: dict) -> None:
        topic = self._camera_topic(event["camera"])
        self._retain(f"{topic}/last", event)
        number = event.get("appearance") if event["kind"] == "left" else event["id"]
        picture = self.events.thumbnail(number) if number and event["thumbnail"] else None
        self._retain(f"{topic}/picture", picture or b"")

    def _publish_lasts(self) -> None:
        """The newest of each camera, as the log has it now."""
        newest = {event["camera"]: event for event in self.events.latest(None, 1000) if event["kind"] in PEOPLE_KINDS}
        for event in newest.values():
            if event["id"] <= self._cursor.after:
                self._publish_last(event)

    def _all_cameras(self) -> list[tuple[str, str]]:
        return sorted((dict(self._cameras()) or self.hub.camera_names()).items())

    def _all_people(self) -> list[str]:
        return sorted(self._people())[:MOST_PEOPLE]

    # -- Home Assistant -----------------------------------------------------------------------------------------

    def _announce(self) -> None:
        """Publish the configuration of what is there, and take back that of what is not."""
        self._looked = time.monotonic()
        wanted: dict[str, dict] = {}
        states = set()
        for camera, name in self._all_cameras():
            wanted[f"{self.discovery}/device/{self.node}_{_slug(camera)}/config"] = self.camera_config(camera, name)
            states |= {f"{self._camera_topic(camera)}/{leaf}" for leaf in ("state", "last", "picture")}
        for person in self._all_people():
            wanted[f"{self.discovery}/binary_sensor/{self.node}/{_slug(person)}/config"] = self.person_config(person)
            states.add(f"{self.prefix}/people/{_slug(person)}/state")
        if not self.discovery:
            wanted = {}
        for topic, config in wanted.items():
            self._retain(topic, config)
        for topic in self._announced - set(wanted) - states:
            self._retain(topic, b"")
        if self._announced != set(wanted) | states:
            self._announced = set(wanted) | states
            self._write_announced()

    def camera_config(self, camera: str, name: str) -> dict:
        """What makes Home Assistant show a camera as a device with its entities."""
        topic, ident = self._camera_topic(camera), f"{self.node}_{_slug(camera)}"

        def entity(key: str, platform: str, label: str, **more) -> tuple[str, dict]:
            return f"{ident}_{key}", {"platform": platform, "name": label, "unique_id": f"{ident}_{key}", **more}

        state = {"state_topic": f"{topic}/state"}
        return {
            "device": {
                "identifiers": [ident], "name": name or camera, "manufacturer": "Recognizer", "model": "Camera",
                "sw_version": self.version,
            },
            "origin": self._origin(),
            "availability_topic": f"{self.prefix}/status",
            "qos": 1,
            "components": dict(
                (
                    entity(
                        "person", "binary_sensor", "Person", device_class="occupancy", **state,
                        value_template="{{ value_json.person }}", json_attributes_topic=f"{topic}/state",
                    ),
                    entity(
                        "known", "binary_sensor", "Known person", device_class="occupancy", **state,
                        value_template="{{ value_json.known }}",
                    ),
                    entity(
                        "count", "sensor", "People", state_class="measurement", icon="mdi:account-multiple", **state,
                        value_template="{{ value_json.count }}",
                    ),
                    entity(
                        "last", "sensor", "Last person", icon="mdi:account", state_topic=f"{topic}/last",
                        value_template="{{ value_json.subject or 'unknown' }}", json_attributes_topic=f"{topic}/last",
                    ),
                    entity("event", "event", "Event", state_topic=f"{topic}/event", event_types=list(KINDS)),
                    entity("picture", "image", "Last person", image_topic=f"{topic}/picture", content_type="image/jpeg"),
                    entity(
                        "live", "binary_sensor", "Camera", device_class="connectivity", entity_category="diagnostic",
                        **state, value_template="{{ value_json.live }}",
                    ),
                )
            ),
        }  # fmt: skip

    def person_config(self, person: str) -> dict:
        """What makes Home Assistant show whether a person is at any camera."""
        topic = f"{self.prefix}/people/{_slug(person)}/state"
        return {
            "name": person, "unique_id": f"{self.node}_person_{_slug(person)}", "device_class": "occupancy",
            "state_topic": topic, "value_template": "{{ value_json.present }}", "json_attributes_topic": topic,
            "availability_topic": f"{self.prefix}/status", "qos": 1, "origin": self._origin(),
            "device": {
                "identifiers": [self.node], "name": "Recognizer", "manufacturer": "Recognizer", "sw_version": self.version,
            },
        }  # fmt: skip

    def _origin(self) -> dict:
        return {"name": "Recognizer", "sw_version": self.version}

    def _camera_topic(self, camera: str) -> str:
        return f"{self.prefix}/cameras/{_slug(camera)}"

    # -- what was published, to take it back -----------------------------------------------------------------------

    def _read_announced(self) -> set[str]:
        try:
            return {topic for topic in json.loads(self._announced_file().read_bytes()) if isinstance(topic, str)}
        except (OSError, ValueError, TypeError):
            return set()

    def _write_announced(self) -> None:
        try:
            self._announced_file().write_text(json.dumps(sorted(self._announced)))
        except OSError as error:
            log.warning("what was announced by MQTT cannot be noted: %s", error.strerror)

    def _announced_file(self):
        return self.events.folder / "mqtt-announced.json"


def _slug(name: str) -> str:
    """A name as one level of a topic and as an id: different names give different ones."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:40]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _on(anything) -> str:
    return "ON" if anything else "OFF"


def _dumped(value: dict) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
