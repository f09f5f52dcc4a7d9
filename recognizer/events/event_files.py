"""The files of the event log: their names, their lines as they are on the disk, and the times of events.

::

    events/
      owner.lock              locked by the one process that writes
      000000000001.jsonl      named after the first event in it
      000000000001/17.jpg     thumbnails of the events in that file
      000000000001/17-scene.jpg   whole pictures of their scenes, if a setting says so
      000000002350.jsonl      the newest file: lines are appended to it
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from recognizer.core.disk import storage_error
from recognizer.core.errors import StorageError
from recognizer.core.times import iso_seconds

#: The lock file of the process that writes.
OWNER_LOCK = "owner.lock"


def first_ids(folder: Path) -> list[int]:
    """The id of the first event of each file, oldest first."""
    with suppress(FileNotFoundError):
        names = (name.removesuffix(".jsonl") for name in os.listdir(folder) if name.endswith(".jsonl"))
        return sorted(int(name) for name in names if name.isdigit())
    return []


def lines_file(folder: Path, begin: int) -> Path:
    """The file whose first event is `begin`."""
    return folder / f"{begin:012}.jsonl"


def pictures_folder(folder: Path, begin: int) -> Path:
    """The folder of the thumbnails of a file's events."""
    return folder / f"{begin:012}"


def picture_file(folder: Path, begin: int, number: int) -> Path:
    """The thumbnail of event `number`, which is in the file `begin`."""
    return pictures_folder(folder, begin) / f"{number}.jpg"


def scene_file(folder: Path, begin: int, number: int) -> Path:
    """The picture of the scene of event `number`, which is in the file `begin`."""
    return pictures_folder(folder, begin) / f"{number}{_SCENE}.jpg"


def event_of_picture(path: Path) -> tuple[int, bool] | None:
    """The id of the event that a picture belongs to, and whether it shows the scene; None for another file."""
    stem = path.stem.removesuffix(_SCENE)
    return (int(stem), stem != path.stem) if stem.isascii() and stem.isdigit() else None


_SCENE = "-scene"


def scene_url(number: int) -> str:
    """The path of the picture of an event's scene in the HTTP API."""
    return f"/events/{number}/scene.jpg"


def thumbnail_url(number: int) -> str:
    """The path of an event's thumbnail in the HTTP API."""
    return f"/events/{number}/thumbnail.jpg"


def raw_lines(path: Path) -> Iterator[dict | None]:
    """The lines of a file as they are on the disk, perhaps encrypted; None for a line that is damaged or incomplete."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return  # deleted since it was listed
    yield from (parsed_line(line) for line in data.splitlines(keepends=True))


def parsed_line(line: bytes) -> dict | None:
    """The event of a complete line, perhaps encrypted; None for anything else."""
    if not line.endswith(b"\n"):
        return None
    return parsed_event(line)


def parsed_event(text: bytes) -> dict | None:
    """A JSON object with the id of an event; None for anything else."""
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and type(event.get("id")) is int and event["id"] > 0 else None


def last_id(lines: bytes) -> int:
    """The id in the last complete line; 0 if there is none."""
    return next((event["id"] for line in reversed(lines.splitlines(keepends=True)) if (event := parsed_line(line))), 0)


def last_id_of(folder: Path, files: Sequence[int]) -> int:
    """The highest id that was given, according to the newest of these files; 0 if there are none."""
    if not files:
        return 0
    ids = [event["id"] for event in raw_lines(lines_file(folder, files[-1])) if event is not None]
    return ids[-1] if ids else files[-1] - 1


def seconds(time: str | None) -> float:
    """An event's time in seconds since 1970; 0 if it is not a time."""
    try:
        return iso_seconds(time) if isinstance(time, str) else 0.0
    except ValueError:
        return 0.0


def refused(error: OSError) -> StorageError:
    """The error for a disk error of the event log."""
    return storage_error("the events cannot be kept", error)
