"""The way into the strangers' inbox: what cameras and requests did not know is looked at, on a thread, and kept.

Whoever offers a sighting never waits: it goes into a short queue, and what finds no room there is dropped and counted. What
is kept is what could enrol somebody: each picture passes the rules of enrolment, and nobody who is enrolled is kept. When
somebody is enrolled, they leave the inbox.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from . import images
from .engines import Engine
from .errors import FaceError, ImageError, StorageError
from .examination import Rules, examine, give_way
from .strangers import Fresh, Shot, Sighting, Strangers
from .types import Match

log = logging.getLogger("recognizer.strangers")

#: Sightings that may wait, each with a few pictures.
QUEUED = 16
#: Long side of the pictures that are kept.
LONG_SIDE = 480
_QUALITY = 90
_TICK, _HOUSEKEEPING = 1.0, 60.0


class Inbox:
    """Takes sightings. Owns the queue and the thread that empties it.

    Parameters
    ----------
    strangers : Strangers
    engine : Engine
    rules : Rules
        What a picture must be to enrol somebody.
    match : callable
        Embeddings (n, d) -> whom each belongs to.
    generation : callable
        Grows when who is enrolled changes.
    """

    def __init__(
        self, strangers: Strangers, engine: Engine, rules: Rules, match: Callable[[np.ndarray], Sequence[Match]],
        generation: Callable[[], int],
    ):  # fmt: skip
        self.strangers = strangers
        self._engine, self._rules, self._match, self._generation = engine, rules, match, generation
        self._counts = dict.fromkeys(("offered", "dropped", "unfit", "known", "failed"), 0)
        self._queue: deque[Sighting] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._compared: int | None = None
        self._tidy_at = 0.0
        self._thread = threading.Thread(target=self._run, name="strangers", daemon=True)
        self._thread.start()

    def offer(self, sighting: Sighting) -> bool:
        """Take a sighting, without waiting for anything; whether there was room."""
        with self._wake:
            self._counts["offered"] += 1
            if len(self._queue) >= QUEUED or self._closing:
                self._counts["dropped"] += 1
                return False
            self._queue.append(sighting)
            self._wake.notify()
            return True

    def counts(self) -> dict[str, int]:
        """What became of sightings and pictures since the start."""
        with self._wake:
            return {**self._counts, **self.strangers.counts}

    def close(self) -> None:
        """Finish what waits; no thread is left."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(30.0)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        give_way()
        self._guarded(self.strangers.renew, self._describe)
        while True:
            with self._wake:
                if not self._queue and not self._closing:
                    self._wake.wait(_TICK)
                if not self._queue and self._closing:
                    return
                sighting = self._queue.popleft() if self._queue else None
            if sighting is not None:
                self._guarded(self._take, sighting)
            self._guarded(self._tidy)

    def _guarded(self, work: Callable, *args) -> None:
        """Do `work`: nothing that goes wrong with one sighting may end all."""
        try:
            work(*args)
        except StorageError as error:
            self._count("failed")
            log.warning("a stranger is lost: %s", error.message)
        except Exception:
            self._count("failed")
            log.exception("looking at a stranger failed")

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

    def _made_of(self, shot: Shot) -> Fresh | None:
        """A picture as it is kept; None of one that could enrol nobody."""
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
