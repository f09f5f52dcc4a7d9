"""Appending to the event log: the file that is written to, when a new one is started, and what a crash leaves."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from recognizer.core.files import sync_folder
from recognizer.core.vault import Vault
from recognizer.events.event_files import (
    event_of_picture,
    first_ids,
    last_id,
    lines_file,
    parsed_line,
    picture_file,
    pictures_folder,
    scene_file,
    scene_url,
    seconds,
    thumbnail_url,
)
from recognizer.events.event_sealing import decoded_lines, encoded, write_thumbnail

log = logging.getLogger("recognizer.events")

_DAY = 86_400.0


class EventAppender:
    """The newest file of the log, open for appending. Not safe to use from several threads.

    Parameters
    ----------
    folder : Path
    file_bytes : int
        Size at which a new file is started; one is also started each day.
    now : callable
        Seconds since 1970.
    vault : Vault, optional
    """

    def __init__(self, folder: Path, file_bytes: int, now: Callable[[], float], vault: Vault | None = None):
        self._folder, self._file_bytes, self._now, self._vault = folder, file_bytes, now, vault
        self._file: BinaryIO | None = None
        self._begin = self._size = 0
        self._begun = 0.0

    def append(
        self, events: Sequence[dict], pictures: Sequence[bytes | None], scenes: Sequence[bytes | None] | None = None
    ) -> None:
        """Write events, which have their ids, and their pictures to the file that `roll` opened; what returns is on the disk.

        Raises
        ------
        OSError
            No event was written.
        """
        for event, picture in zip(events, pictures, strict=True):
            if picture is not None:
                event["thumbnail"] = thumbnail_url(event["id"]) if self._store_picture(event["id"], picture) else None
        for event, scene in zip(events, scenes or (), strict=scenes is not None):
            if scene is not None and self._store_picture(event["id"], scene, scene=True):
                event["scene"] = scene_url(event["id"])
            else:
                event.pop("scene_faces", None)
        try:
            self._write(b"".join(encoded(event, self._vault) for event in events))
        except OSError:
            for event in events:  # another event will get the id
                for path in (picture_file, scene_file):
                    with suppress(OSError):
                        path(self._folder, self._begin, event["id"]).unlink(missing_ok=True)
            raise

    def roll(self, last: int) -> bool:
        """Open a file to append to if none is open, or if a new one is due; returns whether a new one was started.

        Parameters
        ----------
        last : int
            The id of the newest event.
        """
        if self._file is not None:
            old = self._now() - self._begun > _DAY and self._size > 0
            if self._size < self._file_bytes and not old:
                return False
            self.release()
        files = first_ids(self._folder)
        if files:  # continue the newest file, unless it is full or of another day
            self._open(files[-1])
            if self._size < self._file_bytes and (self._size == 0 or self._now() - self._begun <= _DAY):
                return False
        self.start(last + 1)
        return True

    def start(self, begin: int) -> None:
        """Start a new file whose first event is `begin`."""
        self.release()
        self._begin = begin
        self._file = file = open(lines_file(self._folder, begin), "ab")
        self._size, self._begun = file.tell(), self._now()
        sync_folder(self._folder)

    def release(self) -> None:
        """Close the file, so that it can be rewritten."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def repair(self) -> bool:
        """Remove what a crash left: incomplete files, and what follows the last complete line. Whether a line was cut off."""
        for part in self._folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if "-" not in part.stem or time.time() - part.stat().st_mtime > 60:  # else a request that is being written
                    part.unlink()
        files = first_ids(self._folder)
        if not files:
            return False
        path = lines_file(self._folder, files[-1])
        data = path.read_bytes()
        end = len(data)
        while end:
            start = data.rfind(b"\n", 0, end - 1) + 1
            if parsed_line(data[start:end]) is not None:
                break
            end = start
        self._delete_pictures_after(last_id(data[:end]) or files[-1] - 1, files[-1])
        if end == len(data):
            return False
        log.warning("the last line of the event log was incomplete; %d bytes were cut off", len(data) - end)
        with open(path, "r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
        return True

    def _delete_pictures_after(self, last: int, begin: int) -> None:
        """Delete pictures whose events were never complete: other events will get their ids."""
        for picture in pictures_folder(self._folder, begin).glob("*.jpg"):
            about = event_of_picture(picture)
            if about is not None and about[0] > last:
                picture.unlink(missing_ok=True)

    def _open(self, begin: int) -> None:
        path = lines_file(self._folder, begin)
        self._file = file = open(path, "ab")
        self._begin, self._size = begin, file.tell()
        first = next((event for event in decoded_lines(path, self._vault) if event is not None), None)
        self._begun = seconds(first.get("time")) if first else self._now()

    def _write(self, data: bytes) -> None:
        file = self._file
        assert file is not None, "`roll` opened one"
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            self._size += len(data)
        except OSError:
            with suppress(OSError):  # an incomplete line must not remain, because the next line would be appended to it
                file.close()
            with suppress(OSError):
                os.truncate(lines_file(self._folder, self._begin), self._size)
            self._file = None
            raise

    def _store_picture(self, number: int, data: bytes, scene: bool = False) -> bool:
        """Write a picture, once; if the disk is full, the event is stored without it."""
        try:
            write_thumbnail(self._folder, self._begin, number, data, self._vault, scene=scene)
        except OSError as error:
            log.warning("a picture of an event could not be written: %s", error.strerror)
            return False
        return True
