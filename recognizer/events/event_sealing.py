"""Encryption of the event log: events to lines and back, thumbnails, and rewriting everything under another key.

An encrypted line shows only the event's id: ``{"id": 17, "sealed": "<base64>"}``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from recognizer.core.errors import KeyMissing, RecognizerError
from recognizer.core.files import sync_folder, write_durably
from recognizer.core.vault import Vault, sealed_by
from recognizer.events import event_links
from recognizer.events.event_files import (
    event_of_picture,
    first_ids,
    lines_file,
    parsed_event,
    picture_file,
    pictures_folder,
    raw_lines,
    refused,
    scene_file,
)

log = logging.getLogger("recognizer.events")

# -- lines ------------------------------------------------------------------------------------------------------------


def encoded(event: dict, vault: Vault | None = None) -> bytes:
    """An event as a line."""
    if vault is not None:
        sealed = vault.seal(json.dumps(event, ensure_ascii=False).encode(), _event_purpose(event["id"]))
        event = {"id": event["id"], "sealed": base64.b64encode(sealed).decode()}
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decoded_lines(path: Path, vault: Vault | None = None) -> Iterator[dict | None]:
    """The events of a file; None for a line that is damaged, incomplete, or encrypted with a key that is missing."""
    for line in raw_lines(path):
        yield _opened(line, vault)


def readable_events(path: Path, vault: Vault | None = None) -> tuple[list[dict], int]:
    """The events of a file that is to be rewritten, and the number of its damaged lines, which get lost then.

    An encrypted line is damaged if it cannot be decrypted, unless it is one of several under a key that is missing.

    Raises
    ------
    KeyMissing
        Lines are encrypted with a key that the vault lacks.
    OSError
    """
    lines = list(raw_lines(path))
    events = [event for line in lines if (event := _opened(line, vault)) is not None]
    keys = Counter(sealed_by(_sealed_part(line)) for line in lines if line is not None)
    for key, count in keys.items():
        # a damaged line may show a key that never existed, but hardly the same one as another line
        if key is not None and (vault is None or (key not in vault.ids and count > 1)):
            raise KeyMissing(f"the events are encrypted with the key {key}, which is missing", key=key)
    placeholders = sum(line is not None and line.get("kind") == "purged" for line in lines)
    return events, len(lines) - len(events) - placeholders


def _opened(line: dict | None, vault: Vault | None) -> dict | None:
    """The event of a line, decrypted; None if that is impossible, or if it is no event."""
    if line is not None and "sealed" in line:
        try:
            if vault is None:
                return None
            opened = parsed_event(vault.open(_sealed_part(line), _event_purpose(line["id"])))
        except RecognizerError:
            return None
        line = opened if opened is not None and opened["id"] == line["id"] else None
    complete = line is not None and all(isinstance(line.get(name), str) for name in ("kind", "camera"))
    # logs of earlier versions have a placeholder where the newest event was deleted
    return line if complete and line is not None and line["kind"] != "purged" else None


def replace_lines(path: Path, events: Iterable[dict], vault: Vault | None = None) -> None:
    """Replace the contents of a file durably; its modification time, which says how old its events are, stays.

    Raises
    ------
    OSError
    """
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        file.write(b"".join(encoded(event, vault) for event in events))
        file.flush()
        os.fsync(file.fileno())
    before = path.stat()
    os.utime(part, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(part, path)
    sync_folder(path.parent)


def read_all(folder: Path, vault: Vault | None = None) -> list[dict]:
    """Every event in a log's folder, by id, without locking the log; none if there is no folder.

    Raises
    ------
    StorageError
    """
    try:
        found = (event for begin in first_ids(folder) for event in decoded_lines(lines_file(folder, begin), vault))
        return [event for event in found if event is not None]
    except OSError as error:
        raise refused(error) from error


def find_events(folder: Path, subject: str, vault: Vault | None = None) -> list[dict]:
    """Every event in a log's folder that is about a person, by id; see `event_links.about`.

    Raises
    ------
    StorageError
    """
    everything = read_all(folder, vault)
    theirs = event_links.about(subject, everything)
    return [event for event in everything if event["id"] in theirs]


def _sealed_part(event: dict) -> bytes:
    """The encrypted part of a line; empty if it is not encrypted, or damaged."""
    try:
        return base64.b64decode(event.get("sealed", ""))
    except (ValueError, TypeError):
        return b""


def _event_purpose(number: int) -> str:
    return f"event {number}"


# -- thumbnails -------------------------------------------------------------------------------------------------------


def write_thumbnail(
    folder: Path, begin: int, number: int, data: bytes, vault: Vault | None = None, *, scene: bool = False
) -> None:
    """Write the thumbnail of an event in the file `begin`, or the picture of its scene.

    Raises
    ------
    OSError
    """
    pictures_folder(folder, begin).mkdir(exist_ok=True)
    if vault is not None:
        data = vault.seal(data, _picture_purpose(number, scene))
    (scene_file if scene else picture_file)(folder, begin, number).write_bytes(data)


def read_thumbnail(folder: Path, number: int, vault: Vault | None = None, *, scene: bool = False) -> bytes | None:
    """The JPEG of an event, or that of its scene; None if there is none, or if it was deleted."""
    begin = max((begin for begin in first_ids(folder) if begin <= number), default=None)
    if begin is None:
        return None
    try:
        data = (scene_file if scene else picture_file)(folder, begin, number).read_bytes()
        return data if vault is None else vault.open_or_plain(data, _picture_purpose(number, scene))
    except OSError:
        return None


def _picture_purpose(number: int, scene: bool = False) -> str:
    return f"event scene {number}" if scene else f"event picture {number}"


# -- another key ------------------------------------------------------------------------------------------------------


def reseal(folder: Path, old: Vault | None, new: Vault | None) -> int:
    """Rewrite lines and thumbnails that are not sealed with `new`; returns the number of files written.

    Nobody may be writing events. Damaged lines are deleted: no key opens them.

    Raises
    ------
    StorageError, KeyMissing
    """
    written = 0

    def has_key(data: bytes) -> bool:
        return sealed_by(data) == (new.current if new else None)

    try:
        for begin in first_ids(folder):
            path = lines_file(folder, begin)
            raw = list(raw_lines(path))
            if not all(event is not None and has_key(_sealed_part(event)) for event in raw):
                events, damaged = readable_events(path, old)
                if damaged:
                    log.warning("%d damaged lines of the event log were deleted", damaged)
                replace_lines(path, events, new)
                written += 1
            for picture in pictures_folder(folder, begin).glob("*.jpg"):
                data = picture.read_bytes()
                about = event_of_picture(picture)
                if about is not None and not has_key(data):
                    purpose = _picture_purpose(*about)
                    data = data if old is None else old.open_or_plain(data, purpose)
                    write_durably(picture, data if new is None else new.seal(data, purpose))
                    written += 1
    except OSError as error:
        raise refused(error) from error
    return written


def sealed_parts(folder: Path) -> Iterator[bytes]:
    """The encrypted part of each line; empty for a line that is not encrypted."""
    for begin in first_ids(folder):
        yield from (_sealed_part(event) for event in raw_lines(lines_file(folder, begin)) if event is not None)
