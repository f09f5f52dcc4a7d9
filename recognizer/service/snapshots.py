"""Keeps a node's snapshot of the templates in step, on a thread."""

from __future__ import annotations

import logging
import threading
import time

from recognizer.core.errors import RecognizerError
from recognizer.core.priorities import lower_thread_priority
from recognizer.enrolment.shared_enrolment import SharedEnrolment

log = logging.getLogger("recognizer.nodes")

#: Seconds between two rounds: for how long enrolments are only in the database and in memory.
SAVE_SECONDS = 10.0
#: Seconds after which the snapshot is noted as current although nothing changed.
CURRENT_SECONDS = 60.0
#: Files that are still written when a node is stopped; more have to be read from the database at the next start.
_MOST_AT_THE_END = 16


class SnapshotKeeper:
    """Saves what changed every `SAVE_SECONDS`. Erasures and renamings save at once; see `SnapshotHolding`.

    Parameters
    ----------
    enrolment : SharedEnrolment
    """

    def __init__(self, enrolment: SharedEnrolment):
        self._enrolment = enrolment
        self._ended = threading.Event()
        self._saved = (-1, float("-inf"))  # the change, and when
        self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Save what little has changed, and end the thread."""
        self._ended.set()
        self._thread.join(5)
        if not self._thread.is_alive() and self._enrolment.shared_gallery.copy.unsaved <= _MOST_AT_THE_END:
            self._save()

    def _run(self) -> None:
        lower_thread_priority()
        while not self._ended.is_set():
            self._enrolment.shared_gallery.copy.expire()  # also while the database is away
            self._save()
            self._ended.wait(SAVE_SECONDS)

    def _save(self) -> None:
        copy = self._enrolment.shared_gallery.copy
        change, saved = copy.applied, time.monotonic()
        if not copy.unsaved and change == self._saved[0] and saved - self._saved[1] < CURRENT_SECONDS:
            return
        try:
            if self._enrolment.save():
                self._saved = (change, saved)
        except RecognizerError as error:
            log.warning("the snapshot is not current: %s", error.message)
        except Exception:
            log.exception("the snapshot is not current")
