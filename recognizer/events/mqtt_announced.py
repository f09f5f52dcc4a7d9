"""Which topics the broker may retain: stored in a file, so that they are removed after a restart as well."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from recognizer.core.disk import disk_reason
from recognizer.core.files import write_durably
from recognizer.events.home_assistant import topic_part

log = logging.getLogger("recognizer.events")

_FILE = "mqtt-announced.json"


def read_announced(folder: Path) -> set[str]:
    """The topics in an event log's folder; none if there is no file, or if it is damaged."""
    try:
        return {topic for topic in json.loads((folder / _FILE).read_bytes()) if isinstance(topic, str)}
    except (OSError, ValueError, TypeError, RecursionError):
        return set()


def write_announced(folder: Path, topics: Iterable[str]) -> None:
    """Store the topics."""
    try:
        write_durably(folder / _FILE, json.dumps(sorted(topics)).encode())
    except OSError as error:
        log.warning("the topics that were announced by MQTT cannot be stored: %s", disk_reason(error))


def topics_about(folder: Path, subject: str) -> set[str]:
    """The topics in an event log's folder whose names contain a person's."""
    name = topic_part(subject)
    endings = (f"/people/{name}/state", f"/{name}/config")
    return {topic for topic in read_announced(folder) if topic.endswith(endings)}


def forget_topics(folder: Path, subject: str) -> int:
    """Delete a person's topics from the file; how many there were. For when nobody is going to remove them at the broker."""
    theirs = topics_about(folder, subject)
    if theirs:
        write_announced(folder, read_announced(folder) - theirs)
    return len(theirs)
