"""The cameras of an installation, and the live video made of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from ..errors import StorageError
from ..metrics import CameraSample, Metrics
from ..video.cameras import Cameras
from ..video.live import Live
from ..video.sightings import Rules, Sightings
from ..video.workers import Workers, cores, sensible
from ..vision import EngineVision
from .events import KeptEvents
from .strangers import KeptStrangers

log = logging.getLogger("recognizer")


class Video:
    """Owns the cameras, the threads that they share, and the live video. Each is made when it is first asked for, from any
    thread.

    Parameters
    ----------
    listed : callable
        Makes the list of cameras.
    vision : EngineVision
        What is asked about each picture.
    events : KeptEvents
    strangers : KeptStrangers
        Both are told of what is seen, as far as they are kept.
    sighting : Rules
        Which unknown people are offered to `strangers`.
    font : Path
        What is written on pictures.
    metrics : Metrics, optional
        Where stages are counted.
    """

    def __init__(
        self,
        listed: Callable[[], Cameras],
        vision: EngineVision,
        events: KeptEvents,
        strangers: KeptStrangers,
        sighting: Rules,
        font: Path,
        metrics: Metrics | None,
    ):
        self._listed, self.vision, self._font, self._metrics = listed, vision, font, metrics
        self._events, self._strangers, self._sighting = events, strangers, sighting
        self._workers: Workers | None = None
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._cameras: Cameras | None = None
        self._cameras_lock = threading.Lock()

    @property
    def cameras(self) -> Cameras:
        """The list of cameras, read when it is first asked for."""
        with self._cameras_lock:
            if self._cameras is None:
                self._cameras = self._listed()
            return self._cameras

    @property
    def workers(self) -> Workers:
        """The threads that all cameras share."""
        with self._lock:
            if self._workers is None:
                self._workers = Workers(sensible(cores()))
            return self._workers

    @property
    def live(self) -> Live:
        """The server's video."""
        with self._lock:
            if self._live is None:
                timed = {} if self._metrics is None else {"timed": self._metrics.video_stage}
                self._live = Live(
                    self.cameras, self.vision, executor=self.workers, font=self._font, encoders=max(2, cores() // 2),
                    observers=self._observers(), **timed,
                )  # fmt: skip
            return self._live

    def start(self) -> None:
        """Start the cameras that are kept on always, now and when one is added: for a server, not for whoever looks in for
        a moment."""
        self.live.start()

    def _observers(self) -> tuple[Callable, ...]:
        """The events and the strangers, if there are any: video goes on where their folder cannot be used."""
        found: list[Callable] = []
        try:
            if self._events.wanted:
                found.append(self._events.hub)
        except StorageError as error:
            log.warning("no events are kept: %s", error.message)
        try:
            if self._strangers.wanted:
                found.append(Sightings(self._strangers.inbox.offer, self._sighting))
        except StorageError as error:
            log.warning("no strangers are kept: %s", error.message)
        return tuple(found)

    def summary(self) -> dict:
        """Who watches what runs."""
        return self._live.summary() if self._live else {"viewers": 0, "running": []}

    def names(self) -> list[tuple[str, str]]:
        """Id and name of each camera."""
        return [(each.id, each.name or each.id) for each in self.cameras.all()]

    def samples(self) -> list[CameraSample]:
        """What each camera does now, for the metrics."""
        samples = []
        for entry in self.cameras.all():
            camera, counts = entry.camera, entry.camera.counts
            numbers = (counts[name] for name in ("read", "dropped", "connects"))
            viewers = 0 if self._live is None else self._live.viewers(entry.id)
            samples.append(CameraSample(entry.id, camera.state.name, camera.fps, *numbers, viewers))
        return samples

    def end_live(self) -> None:
        """End the live video: whoever is before a camera leaves now, which the events still have to hear."""
        with self._lock:
            if self._live is not None:
                self._live.close()

    def close(self) -> None:
        """Let go of the cameras."""
        with self._cameras_lock:
            cameras, self._cameras = self._cameras, None
        if cameras is not None:
            cameras.close()

    def end_workers(self) -> None:
        """End the shared threads, after everything that they might be asked for."""
        with self._lock:
            if self._workers is not None:
                self._workers.shutdown(wait=True, cancel_futures=True)
