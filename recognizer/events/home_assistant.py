"""Topics of MQTT, and the discovery messages from which Home Assistant makes devices and entities.

No entity but *Event* has a name or a face as its state that an automation could wait for: Home Assistant shows a state again
when a connection comes back, which looks the same as news.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from recognizer.events.appearances import KINDS

#: Seconds after which an event is late: the person may have gone.
LATE_SECONDS = 10.0


def topic_part(name: str) -> str:
    """A name as one level of a topic and as an id: different names give different ones."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:40]
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Topics:
    """All topics of a server.

    Attributes
    ----------
    prefix : str
        The first levels of all topics.
    discovery : str
        Home Assistant's discovery prefix; empty if nothing is announced.
    member : str, optional
        The id of this node, where nodes share a database: then each has a status of its own.
    """

    prefix: str
    discovery: str
    member: str | None = None

    @property
    def node(self) -> str:
        """The server's id in discovery messages."""
        return topic_part(self.prefix)

    @property
    def status(self) -> str:
        return self.status_alone if self.member is None else self.status_of(self.member)

    @property
    def status_alone(self) -> str:
        """The status of a server that shares no database."""
        return f"{self.prefix}/status"

    def status_of(self, member: str) -> str:
        """The status of one of several nodes."""
        return f"{self.prefix}/nodes/{member}/status"

    @property
    def all_statuses(self) -> str:
        """A pattern for the statuses of all nodes."""
        return f"{self.prefix}/nodes/+/status"

    @property
    def all_cameras(self) -> str:
        """A pattern for the states of all cameras."""
        return f"{self.prefix}/cameras/+/state"

    @property
    def all_people(self) -> str:
        """A pattern for the states of all people."""
        return f"{self.prefix}/people/+/state"

    def camera(self, camera: str, leaf: str) -> str:
        """A camera's `event`, `state`, `last` or `picture`."""
        return f"{self.prefix}/cameras/{topic_part(camera)}/{leaf}"

    def person(self, person: str) -> str:
        return f"{self.prefix}/people/{topic_part(person)}/state"

    def camera_config(self, camera: str) -> str:
        return f"{self.discovery}/device/{self.node}_{topic_part(camera)}/config"

    def person_config(self, person: str) -> str:
        return f"{self.discovery}/binary_sensor/{self.node}/{topic_part(person)}/config"

    def of_person(self, person: str) -> set[str]:
        """Every topic whose name contains a person's."""
        return {self.person(person)} | ({self.person_config(person)} if self.discovery else set())


def _origin(version: str) -> dict:
    return {"name": "Recognizer", "sw_version": version}


def camera_config(topics: Topics, camera: str, name: str, version: str) -> dict:
    """The discovery message of a camera: a device with its entities."""
    ident = f"{topics.node}_{topic_part(camera)}"
    state, last = topics.camera(camera, "state"), topics.camera(camera, "last")

    def entity(key: str, platform: str, label: str, **more: Any) -> tuple[str, dict]:
        return f"{ident}_{key}", {"platform": platform, "name": label, "unique_id": f"{ident}_{key}", **more}

    occupancy = {"device_class": "occupancy", "state_topic": state}
    return {
        "device": {
            "identifiers": [ident],
            "name": name or camera,
            "manufacturer": "Recognizer",
            "model": "Camera",
            "sw_version": version,
        },
        "origin": _origin(version),
        "availability_topic": topics.status,
        "qos": 1,
        "components": dict(
            (
                entity(
                    "person",
                    "binary_sensor",
                    "Person",
                    **occupancy,
                    value_template="{{ value_json.person }}",
                    json_attributes_topic=state,
                ),
                entity("known", "binary_sensor", "Known person", **occupancy, value_template="{{ value_json.known }}"),
                entity(
                    "count",
                    "sensor",
                    "People",
                    state_class="measurement",
                    icon="mdi:account-multiple",
                    state_topic=state,
                    value_template="{{ value_json.count }}",
                ),
                entity(
                    "last",
                    "sensor",
                    "Last person",
                    device_class="timestamp",
                    icon="mdi:account-clock",
                    state_topic=last,
                    value_template="{{ value_json.time if value_json is defined else none }}",
                ),
                entity(
                    "event",
                    "event",
                    "Event",
                    state_topic=topics.camera(camera, "event"),
                    # an empty value is ignored: a delayed event is not news
                    value_template="{{ '' if value_json.late else value }}",
                    event_types=list(KINDS),
                ),
                entity(
                    "picture", "image", "Last person", image_topic=topics.camera(camera, "picture"), content_type="image/jpeg"
                ),
                entity(
                    "live",
                    "binary_sensor",
                    "Camera",
                    device_class="connectivity",
                    entity_category="diagnostic",
                    state_topic=state,
                    value_template="{{ value_json.live }}",
                ),
            )
        ),
    }


def person_config(topics: Topics, person: str, version: str, members: Sequence[str] = ()) -> dict:
    """The discovery message of an enrolled person: an entity that shows whether the person is at any camera.

    Parameters
    ----------
    members : sequence of str
        The ids of all nodes, where nodes share a database: it is available while one of them is.
    """
    topic = topics.person(person)
    available: dict[str, Any] = {"availability_topic": topics.status}
    if topics.member is not None:
        everyone = sorted({topics.member, *members})
        available = {"availability": [{"topic": topics.status_of(each)} for each in everyone], "availability_mode": "any"}
    return {
        "name": person,
        "unique_id": f"{topics.node}_person_{topic_part(person)}",
        "device_class": "occupancy",
        "state_topic": topic,
        "value_template": "{{ value_json.present }}",
        "json_attributes_topic": topic,
        **available,
        "qos": 1,
        "origin": _origin(version),
        "device": {
            "identifiers": [topics.node],
            "name": "Recognizer",
            "manufacturer": "Recognizer",
            "sw_version": version,
        },
    }
