"""Reading the event log by id: what follows an event, and what is newest."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from recognizer.core.disk import disk_reason
from recognizer.core.vault import Vault
from recognizer.events.event_files import first_ids, lines_file
from recognizer.events.event_sealing import decoded_lines

log = logging.getLogger("recognizer.events")


def every(event: dict) -> bool:
    """Want every event."""
    return True


class EventPages:
    """Reads events from the files of a log, which somebody else may be writing. Safe to use from several threads.

    Attributes
    ----------
    unreadable : int
        How many damaged lines, and files that cannot be read, were met.
    """

    def __init__(self, folder: Path, vault: Vault | None = None):
        self._folder, self._vault = folder, vault
        self.unreadable = 0

    def after(self, number: int) -> Iterator[dict]:
        """Every event of the files that may hold events with a higher id than `number`, oldest first."""
        files = first_ids(self._folder)
        for begin, following in itertools.zip_longest(files, files[1:]):  # there may be none
            if following is None or following > number + 1:
                yield from self._events(begin)

    def backwards(self) -> Iterator[dict]:
        """Every event, newest first."""
        for begin in reversed(first_ids(self._folder)):
            yield from reversed(list(self._events(begin)))

    def newest(self, edge: int, limit: int, wanted: Callable[[dict], bool] = every) -> list[dict]:
        """The newest `limit` events with an id below `edge` that are wanted, oldest first."""
        found: list[dict] = []
        for begin in reversed(first_ids(self._folder)):
            if begin >= edge:
                continue
            here = [event for event in self._events(begin) if event["id"] < edge and wanted(event)]
            found = here[-(limit - len(found)) :] + found
            if len(found) >= limit:
                break
        return found

    def _events(self, begin: int) -> Iterator[dict]:
        try:
            for event in decoded_lines(lines_file(self._folder, begin), self._vault):
                if event is None:
                    self.unreadable += 1
                else:
                    yield event
        except OSError as error:
            self.unreadable += 1
            log.warning("a file of the event log cannot be read: %s", disk_reason(error))
