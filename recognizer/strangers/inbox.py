"""Sightings of unknown people from cameras and requests: examined on a thread, and stored.

Offering a sighting never waits: it enters a short queue, and is dropped and counted if the queue is full. Only pictures that
could enrol somebody are stored: each must pass the rules of enrolment, and enrolled people are not stored. A stranger who is
enrolled is removed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from recognizer.core.errors import FaceError, ImageError
from recognizer.core.types import Match
from recognizer.core.work_queue import WorkQueue
from recognizer.engines import Engine
from recognizer.enrolment.examination import EnrolmentRules, examine
from recognizer.photos import images
from recognizer.strangers.model import Fresh, Sighting, StrangerShot
from recognizer.strangers.store import Strangers

#: Maximum number of queued sightings, each with a few pictures.
QUEUED = 16
#: Long side of stored pictures, in pixels.
LONG_SIDE = 480
_QUALITY = 90
_HOUSEKEEPING = 60.0
#: Seconds that an erasure waits for the sighting that is being examined.
_EXAMINED_SECONDS = 10.0


class Inbox:
    """Takes sightings. Owns a queue, whose thread examines them.

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
        self._compared: int | None = None
        self._dropped_before = 0.0  # seconds since the epoch
        self._tidy_at = 0.0
        self._queue: WorkQueue[Sighting] = WorkQueue(
            "strangers",
            "sighting of a stranger",
            QUEUED,
            self._take,
            begin=lambda: strangers.renew(self._describe),
            idle=self._tidy,
            offered=lambda sighting: _newer(sighting, self._dropped_before),
            counts=("unfit", "known"),
        )
        self._queue.start()

    def offer(self, sighting: Sighting) -> bool:
        """Queue a sighting without waiting; returns whether there was room."""
        return self._queue.offer(sighting)

    def counts(self) -> dict[str, int]:
        """Counts of sightings and pictures since the start, and the sightings that are waiting to be processed."""
        return {**self._queue.counts(), **self.strangers.counts}

    def waiting_pictures(self, before: float) -> int:
        """How many pictures from before a time (seconds since the epoch) wait to be examined."""
        return sum(shot.time < before for sighting in self._queue.waiting() for shot in sighting.shots)

    def drop_pictures(self, before: float) -> None:
        """Drop the pictures from before a time that wait, and those that are still offered.

        What is being examined at the moment is stored when this returns.
        """
        self._dropped_before = max(self._dropped_before, before)
        dropped = 0

        def kept(sighting: Sighting) -> Sighting | None:
            nonlocal dropped
            new = _newer(sighting, before)
            dropped += len(sighting.shots) - len(new.shots)
            return new if new.shots or new.named else None

        self._queue.change(kept, _EXAMINED_SECONDS)
        self._queue.count("dropped", dropped)

    def close(self) -> None:
        """Process the queue, then end the thread."""
        self._queue.close()

    # -- the thread ---------------------------------------------------------------------------------------------

    def _take(self, sighting: Sighting) -> None:
        if sighting.named:
            self.strangers.forget_visit(sighting.visit)
            return
        fresh = []
        for shot in sighting.shots:
            made = self._made_of(shot)
            if made is None:
                self._queue.count("unfit")
            elif self._match(made.vector[None])[0].subject is not None:
                self._queue.count("known")
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
