"""The cameras of an installation, and the live video made of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recognizer.core.metrics import CameraSample, Metrics
from recognizer.events.sightings import SightingRules, Sightings
from recognizer.events.visit_shots import VisitShots
from recognizer.service.event_service import KeptEvents
from recognizer.service.late_observer import LateObserver
from recognizer.service.stranger_service import KeptStrangers
from recognizer.service.visit_service import KeptVisits
from recognizer.video.camera_settings import PLAIN, CameraSettings
from recognizer.video.sources.camera_settings_store import CameraSettingsStore
from recognizer.video.tracking.camera_vision import CameraVision
from recognizer.video.tracking.vision import EngineVision
from recognizer.video.tracking.workers import Workers, cores, sensible

if TYPE_CHECKING:
    from recognizer.video.frames import Vision
    from recognizer.video.output.live import Live
    from recognizer.video.sources.cameras import CameraEntry, Cameras

log = logging.getLogger("recognizer")


def _untimed(stage: str, seconds: float) -> None:
    """Used if nobody counts how long stages take."""


@dataclass(frozen=True, slots=True)
class CameraObservers:
    """What receives the results of the cameras, where it is stored.

    Attributes
    ----------
    events : KeptEvents
    strangers : KeptStrangers
    visits : KeptVisits
    sighting : SightingRules
        Which unknown people are offered to `strangers`.
    attributes : frozenset of str
        What events contain about how people look.
    """

    events: KeptEvents
    strangers: KeptStrangers
    visits: KeptVisits
    sighting: SightingRules
    attributes: frozenset[str] = frozenset()


class Video:
    """Owns the cameras, the threads that they share, and the live video. Each is created when it is first used, from any
    thread.

    Parameters
    ----------
    listed : callable
        Creates the list of cameras.
    vision : EngineVision
        Detects and recognises on each frame.
    observers : CameraObservers
    font : Path
        For labels.
    metrics : Metrics, optional
        Counts stages.
    vision_of : callable, optional
        Returns the vision of a group, by its name; without it all cameras have `vision`.
    settings : CameraSettingsStore, optional
        What is set for each camera; without it nothing is.
    """

    def __init__(
        self,
        listed: Callable[[], Cameras],
        vision: EngineVision,
        observers: CameraObservers,
        font: Path,
        metrics: Metrics | None,
        vision_of: Callable[[str], Vision] | None = None,
        settings: CameraSettingsStore | None = None,
    ):
        self._settings = settings
        self._vision_of = vision_of
        self._listed, self.vision, self._font, self._metrics = listed, vision, font, metrics
        self._events, self._strangers, self._visits = observers.events, observers.strangers, observers.visits
        self._sighting, self._attributes = observers.sighting, observers.attributes
        #: Follows strangers at the cameras, while there is live video.
        self.sightings: Sightings | None = None
        self._workers: Workers | None = None
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._cameras: Cameras | None = None
        self._cameras_lock = threading.Lock()

    @property
    def cameras(self) -> Cameras:
        """The list of cameras, read when it is first used."""
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
                from recognizer.video.output.live import Live, LiveOptions  # brings asyncio, which commands do not need

                self._live = Live(
                    self.cameras,
                    self.vision,
                    executor=self.workers,
                    options=LiveOptions(
                        font=self._font,
                        encoders=max(2, cores() // 2),
                        attributes=self._attributes if self._events.wanted else frozenset(),
                    ),
                    observers=self._observers(),
                    timed=_untimed if self._metrics is None else self._metrics.video_stage,
                    vision_of=self.vision_at,
                    settings_of=self.settings_of,
                )
            return self._live

    def vision_at(self, entry: CameraEntry) -> Vision:
        """What finds and names faces at a camera."""
        vision = self.vision if entry.group is None or self._vision_of is None else self._vision_of(entry.group)
        kept = self._settings
        return vision if kept is None else CameraVision(vision, partial(kept.get, entry.id), partial(kept.revision, entry.id))

    def settings_of(self, camera: str) -> CameraSettings:
        """What is set for a camera, by its id, as this server uses it now."""
        return PLAIN if self._settings is None else self._settings.get(camera)

    def current_settings(self, camera: str) -> CameraSettings:
        """What is set for a camera, by its id, also if another server changed it a moment ago.

        Raises
        ------
        DatabaseAway
        """
        return PLAIN if self._settings is None else self._settings.current(camera)

    def configure(self, camera: str, settings: CameraSettings) -> None:
        """Change what is set for a camera, by its id; in force within a frame, durable on return.

        Raises
        ------
        StorageError, DatabaseAway
        """
        assert self._settings is not None  # the service has them
        self._settings.set(camera, settings)

    def remove(self, camera: str) -> CameraEntry:
        """Remove a camera and what is set for it.

        Raises
        ------
        CameraNotFound, CameraFixed, StorageError
        """
        removed = self.cameras.remove(camera)
        if self._settings is not None:
            self._settings.forget(removed.id)
        return removed

    def start(self) -> None:
        """Start the cameras that always run, now and when one is added: for a server, not for a command."""
        self.live.start()
        self.cameras.keep()

    def _observers(self) -> tuple[Callable, ...]:
        """The observers for events, strangers and visits. Video works without them while their folder cannot be used."""
        late = []
        if self._events.wanted:
            late.append(LateObserver("events", lambda: self._events.hub))
        if self._strangers.wanted:
            late.append(LateObserver("strangers", self._follow_strangers))
        found: list[Callable] = [each.made() or each for each in late]
        if self._visits.wanted:
            found.append(VisitShots(self._visits.offer, self._visits.kept == "all", self._sighting.least_size))
        return tuple(found)

    def _follow_strangers(self) -> Sightings:
        self.sightings = Sightings(self._strangers.inbox.offer, self._sighting)
        return self.sightings

    def summary(self) -> dict:
        """Who watches which camera."""
        return self._live.summary() if self._live else {"viewers": 0, "running": []}

    def names(self) -> list[tuple[str, str]]:
        """Id and name of each camera that this server reads."""
        return [(each.id, each.name or each.id) for each in self.cameras.all() if each.here]

    def samples(self) -> list[CameraSample]:
        """The state of each camera, for the metrics."""
        samples = []
        for entry in (each for each in self.cameras.all() if each.here):
            camera, counts = entry.camera, entry.camera.counts
            viewers = 0 if self._live is None else self._live.viewers(entry.id)
            samples.append(
                CameraSample(
                    entry.id, camera.state.name, camera.fps, counts["read"], counts["dropped"], counts["connects"], viewers
                )
            )
        return samples

    def end_live(self) -> None:
        """End the live video: people at the cameras leave now, which becomes events."""
        with self._lock:
            if self._live is not None:
                self._live.close()

    def close(self) -> None:
        """Release the cameras."""
        with self._cameras_lock:
            cameras, self._cameras = self._cameras, None
        if cameras is not None:
            cameras.close()
        if self._settings is not None:
            self._settings.close()

    def end_workers(self) -> None:
        """End the shared threads; call it last."""
        with self._lock:
            if self._workers is not None:
                self._workers.shutdown(wait=True, cancel_futures=True)
