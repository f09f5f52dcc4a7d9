"""What Double Take says about recognised people, by MQTT and in the replies of its API: topics and payloads, nothing else.

Topics: ``double-take/matches/<name>``, ``double-take/matches/unknown`` and ``double-take/cameras/<camera>`` as something is
found; ``double-take/cameras/<camera>/person`` with the number of people, retained; and the states of Home Assistant's sensors
below ``<discovery>/sensor/double-take``. Double Take retains the sensors and their states, and automations then take the last
sighting for a new one after each reconnection. Here nothing with a name is retained: the sensors' configuration is published
again whenever Home Assistant starts.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

ROOT = "double-take"
AVAILABLE, ERRORS = f"{ROOT}/available", f"{ROOT}/errors"
UNKNOWN = "unknown"
#: Seconds after which Home Assistant shows a sensor as unknown.
_EXPIRE_SECONDS = 600
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class NamedFace:
    """A face that was compared.

    Attributes
    ----------
    name : str or None
        None for a stranger.
    similarity : float
        0 to 1; see `galleries.similarity`.
    box : tuple of int
        left, top, right, bottom in the picture.
    """

    name: str | None
    similarity: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class LookedAt:
    """Where and when something was found.

    Attributes
    ----------
    id : str
        Of the event.
    camera, time : str
        `time` as ISO 8601.
    kind : str
        ``latest``, ``snapshot``, ``mqtt`` or ``manual``.
    filename : str
        Under which the picture is known.
    seconds : float
        How long it took.
    attempts : int
    zones : tuple of str
    """

    id: str
    camera: str
    time: str
    kind: str = "mqtt"
    filename: str = ""
    seconds: float = 0.0
    attempts: int = 1
    zones: tuple[str, ...] = ()


def topic_part(name: str) -> str:
    """A name as a level of Double Take's topics: lower case, letters without accents, hyphens for blanks, nothing else.

    A name of which nothing is left, in another script, becomes a part of its hash.
    """
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss").replace("ø", "o").replace("ł", "l"))
    kept = re.sub(r"[^a-z0-9-]", "", re.sub(r"\s+", "-", plain.strip()))[:_LONGEST].strip("-")
    return kept or hashlib.sha256(name.encode()).hexdigest()[:12]


def match(finding: NamedFace, picture: LookedAt) -> dict[str, Any]:
    """A finding as Double Take shows it. The server has decided: what has a name is a match."""
    left, top, right, bottom = finding.box
    return {
        "name": UNKNOWN if finding.name is None else finding.name.lower(),
        "confidence": round(100 * finding.similarity, 2),
        "match": finding.name is not None,
        "box": {"top": top, "left": left, "width": right - left, "height": bottom - top},
        "type": picture.kind,
        "duration": round(picture.seconds, 2),
        "detector": "recognizer",
        "filename": picture.filename,
        "base64": None,
    }


def result(findings: Sequence[NamedFace], picture: LookedAt) -> dict[str, Any]:
    """The outcome for a picture, or for several of one event, as the API answers it."""
    shown = [match(each, picture) for each in findings]
    matches, unknowns = [each for each in shown if each["match"]], [each for each in shown if not each["match"]]
    counts = {"person": len(shown), "match": len(matches), "miss": 0, "unknown": len(unknowns)}
    return {**_head(picture), "counts": counts, "matches": matches, "misses": [], "unknowns": unknowns}


def messages(findings: Sequence[NamedFace], picture: LookedAt, discovery: str) -> list[tuple[str, bytes]]:
    """What is published for a picture; none of it is retained.

    Parameters
    ----------
    findings : sequence of NamedFace
    picture : LookedAt
    discovery : str
        Home Assistant's prefix; empty if there are no sensors.
    """
    if not findings:
        return []
    whole, head = result(findings, picture), _head(picture)
    made: list[tuple[str, dict[str, Any]]] = []
    for finding in findings:
        if finding.name is not None:
            content = {**head, "match": match(finding, picture)}
            made.append((f"{ROOT}/matches/{topic_part(finding.name)}", content))
            made += _states(discovery, finding.name, content)
    if whole["unknowns"]:
        best = max(whole["unknowns"], key=lambda each: each["confidence"])
        content = {**head, "unknown": best, "unknowns": whole["unknowns"]}
        made.append((f"{ROOT}/matches/{UNKNOWN}", content))
        made += _states(discovery, UNKNOWN, content)
    content = {**whole, "personCount": len(findings)}
    made.append((f"{ROOT}/cameras/{topic_part(picture.camera)}", content))
    made += _states(discovery, picture.camera, content)
    return [(topic, json.dumps(content, ensure_ascii=False).encode()) for topic, content in made]


def person_count(camera: str) -> str:
    """The topic with the number of people at a camera."""
    return f"{ROOT}/cameras/{topic_part(camera)}/person"


def sensor_topic(discovery: str, name: str, leaf: str = "config") -> str:
    """A topic of the sensor of a person or a camera."""
    return f"{discovery}/sensor/{ROOT}/{topic_part(name)}/{leaf}"


def sensors(discovery: str, people: Iterable[str], cameras: Iterable[str], availability: str) -> dict[str, dict[str, Any]]:
    """The configuration of each sensor, by its topic: of people, of cameras, and of strangers.

    Parameters
    ----------
    availability : str
        The topic that says whether this server is there.
    """
    made = {sensor_topic(discovery, camera): _sensor(discovery, camera, "counts.person", availability) for camera in cameras}
    for name in (UNKNOWN, *people):
        made[sensor_topic(discovery, name)] = _sensor(discovery, name, "camera", availability)
    return made


def _sensor(discovery: str, name: str, value: str, availability: str) -> dict[str, Any]:
    ident, state = f"double_take_{topic_part(name).replace('-', '_')}", sensor_topic(discovery, name, "state")
    return {
        "name": name,
        "unique_id": ident,
        "object_id": ident,
        "default_entity_id": f"sensor.{ident}",  # in its place from Home Assistant 2026.4 on; both together since 2025.10
        "icon": "mdi:account",
        "state_topic": state,
        "json_attributes_topic": state,
        "value_template": f"{{{{ value_json.{value} }}}}",
        "availability_topic": availability,
        "expire_after": _EXPIRE_SECONDS,
    }


def _states(discovery: str, name: str, content: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(sensor_topic(discovery, name, "state"), content)] if discovery else []


def _head(picture: LookedAt) -> dict[str, Any]:
    return {
        "id": picture.id,
        "duration": round(picture.seconds, 2),
        "timestamp": picture.time,
        "attempts": picture.attempts,
        "camera": picture.camera,
        "zones": list(picture.zones),
    }
