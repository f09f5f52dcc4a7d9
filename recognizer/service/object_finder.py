"""What finds objects: fetched and loaded by whoever wants it first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from .. import models
from ..errors import Busy, ModelError, ModelMissing, StorageError
from ..objects import GRAPH, WEIGHTS, ObjectDetector

#: Seconds for which a call waits while another one fetches what finds objects, and for which a failure to is believed.
OBJECTS_WAIT, OBJECTS_RETRY = 10.0, 60.0


class ObjectFinder:
    """Owns the one `ObjectDetector` of a service.

    Parameters
    ----------
    folder : Path
        Where weights are kept.
    threshold : float
        Least score of an object, where nobody asks for another.
    """

    def __init__(self, folder: Path, threshold: float):
        self._folder, self.threshold = folder, threshold
        self._detector: ObjectDetector | None = None
        self._lock = threading.Lock()
        self._failed = -float("inf")

    def detector(self, download: models.Progress | None = None) -> ObjectDetector:
        """What finds objects; the first call takes as long as fetching and loading take. Its `find` may be called from any
        thread, outside the pool as well.

        Parameters
        ----------
        download : callable, optional
            Told how fetching goes.

        Raises
        ------
        ModelMissing, ModelCorrupt
        Busy
            Another call is fetching it.
        """
        if self._detector is not None:
            return self._detector
        if not self._lock.acquire(timeout=OBJECTS_WAIT):
            raise Busy("what finds objects is being fetched; try again shortly")
        try:
            if self._detector is None:
                self._detector = self._load(download)
            return self._detector
        finally:
            self._lock.release()

    def _load(self, download: models.Progress | None) -> ObjectDetector:
        """Whoever asks again soon after a failure to fetch is not kept waiting for the next one."""
        waiting = time.monotonic() < self._failed + OBJECTS_RETRY
        try:
            if waiting:
                files = [models.path(key, self._folder) for key in (WEIGHTS, GRAPH)]
            else:
                files = models.ensure((WEIGHTS, GRAPH), self._folder, download)
        except (ModelError, StorageError) as error:
            if not waiting:
                self._failed = time.monotonic()
            raise ModelMissing(
                "what finds objects is not there and could not be fetched: "
                "run `python -m recognizer models fetch objects` where the server runs"
            ) from error
        return ObjectDetector(*files)
