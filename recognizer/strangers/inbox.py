"""Sightings of unknown people from cameras and requests: examined on a thread, and stored.

Offering a sighting never waits: it enters a short queue, and is dropped and counted if the queue is full. Only pictures that
could enrol somebody are stored: each must pass the rules of enrolment, and enrolled people are not stored. A stranger who is
enrolled is removed.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from recognizer.core.errors import FaceError, ImageError, StorageError
from recognizer.core.priorities import lower_thread_priority
from recognizer.core.types import Match
from recognizer.engines import Engine
from recognizer.enrolment.examination import EnrolmentRules, examine
from recognizer.photos import images
from recognizer.strangers.model import Fresh, Sighting, StrangerShot
from recognizer.strangers.store import Strangers

log = logging.getLogger("recognizer.strangers")

#: Maximum number of queued sightings, each with a few pictures.
QUEUED = 16
#: Long side of stored pictures, in pixels.
LONG_SIDE = 480
_QUALITY = 90
_TICK, _HOUSEKEEPING = 1.0, 60.0
#: Seconds that an erasure waits for the sighting that is being examined.
_EXAMINED_SECONDS = 10.0


class Inbox:
    """Takes sightings. Owns the queue and the thread that empties it.

    Parameters
    ----------
    strangers : Strangers
    engine : Engine
    rules : EnrolmentRules
        What a picture needs to enrol somebody.
    match : callable
        Embeddings (n, d) -> whom each belongs to.
    generation : callable
        Increases when the enrolled people change.
    """

    def __init__(
        self,
        strangers: Strangers,
        engine: Engine,
        rules: EnrolmentRules,
        match: Callable[[np.ndarray], Sequence[Match]],
        generation: Callable[[], int],
    ):
        self.strangers = strangers
        self._engine, self._rules, self._match, self._generation = engine, rules, match, generation
        self._counts = dict.fromkeys(("offered", "dropped", "unfit", "known", "failed"), 0)
        self._queue: deque[Sighting] = deque()
        self._wake = threading.Condition()
        self._working = self._closing = False
        self._compared: int | None = None
        self._dropped_before = 0.0  # seconds since the epoch
        self._tidy_at = 0.0
        self._thread = threading.Thread(target=self._run, name="strangers", daemon=True)
        self._thread.start()

    def offer(self, sighting: Sighting) -> bool:
        """Queue a sighting without waiting; returns whether there was room."""
        with self._wake:
            self._counts["offered"] += 1
            sighting = _newer(sighting, self._dropped_before)
            if len(self._queue) >= QUEUED or self._closing:
                self._counts["dropped"] += 1
                return False
            self._queue.append(sighting)
            self._wake.notify()
            return True

    def counts(self) -> dict[str, int]:
        """Counts of sightings and pictures since the start, and the sightings that are waiting to be processed."""
        with self._wake:
            waiting = len(self._queue) + self._working
            return {**self._counts, "waiting": waiting, **self.strangers.counts}

    def waiting_pictures(self, before: float) -> int:
        """How many pictures from before a time (seconds since the epoch) wait to be examined."""
        with self._wake:
            return sum(shot.time < before for sighting in self._queue for shot in sighting.shots)

    def drop_pictures(self, before: float) -> None:
        """Drop the pictures from before a time that wait, and those that are still offered.

        What is being examined at the moment is stored when this returns.
        """
        with self._wake:
            self._dropped_before = max(self._dropped_before, before)
            kept = [_newer(each, before) for each in self._queue]
            dropped = sum(len(each.shots) for each in self._queue) - sum(len(each.shots) for each in kept)
            self._counts["dropped"] += dropped
            self._queue = deque(each for each in kept if each.shots or each.named)
            self._wake.wait_for(lambda: not self._working, _EXAMINED_SECONDS)

    def close(self) -> None:
        """Process the queue, then end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(30.0)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        lower_thread_priority()
        self._guarded(self.strangers.renew, self._describe)
        while True:
            with self._wake:
                if not self._queue and not self._closing:
                    self._wake.wait(_TICK)
                if not self._queue and self._closing:
                    return
                sighting = self._queue.popleft() if self._queue else None
                self._working = sighting is not None
            if sighting is not None:
                self._guarded(self._take, sighting)
            self._guarded(self._tidy)
            with self._wake:
                self._working = False
                self._wake.notify_all()

    def _guarded(self, work: Callable, *args) -> None:
        """Do `work`; an error with one sighting must not end the thread."""
        try:
            work(*args)
        except StorageError as error:
            self._count("failed")
            log.warning("a stranger is lost: %s", error.message)
        except Exception:
            self._count("failed")
            log.exception("a sighting could not be processed")

    def _count(self, what: str) -> None:
        with self._wake:
            self._counts[what] += 1

    def _take(self, sighting: Sighting) -> None:
        if sighting.named:
            self.strangers.forget_visit(sighting.visit)
            return
        fresh = []
        for shot in sighting.shots:
            made = self._made_of(shot)
            if made is None:
                self._count("unfit")
            elif self._match(made.vector[None])[0].subject is not None:
                self._count("known")
                self.strangers.forget_visit(sighting.visit)
                return
            else:
                fresh.append(made)
        self.strangers.keep(sighting, fresh)

    def _made_of(self, shot: StrangerShot) -> Fresh | None:
        """The picture in its stored form; None if it could not enrol anybody."""
        jpeg = images.encode_jpeg(images.resize(shot.pixels, LONG_SIDE), quality=_QUALITY)
        vector = self._describe(jpeg)
        return None if vector is None else Fresh(jpeg, vector, shot.time, shot.worth)

    def _describe(self, jpeg: bytes) -> np.ndarray | None:
        with contextlib.suppress(ImageError, FaceError):
            return examine(self._engine, jpeg, self._rules, "largest").encoding.vector
        return None

    def _tidy(self) -> None:
        generation = self._generation()
        if generation != self._compared:
            self.strangers.forget_recognised(self._match)
            self._compared = generation
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + _HOUSEKEEPING
            self.strangers.purge()


def _newer(sighting: Sighting, time: float) -> Sighting:
    """A sighting without the pictures from before a time."""
    return replace(sighting, shots=tuple(shot for shot in sighting.shots if shot.time >= time))
