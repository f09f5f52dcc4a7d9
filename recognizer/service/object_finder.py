"""The object detector, which is fetched and loaded when it is first used."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from recognizer.core.errors import Busy, ModelError, ModelMissing, StorageError
from recognizer.photos.objects import GRAPH, WEIGHTS, ObjectDetector
from recognizer.weights import manifest

#: Seconds that a call waits while another downloads the object detector; seconds for which a failed download is remembered.
OBJECTS_WAIT, OBJECTS_RETRY = 10.0, 60.0


class ObjectFinder:
    """Owns the one `ObjectDetector` of a service.

    Parameters
    ----------
    folder : Path
        Of the weights.
    threshold : float
        Minimum score of an object, unless a request has another.
    """

    def __init__(self, folder: Path, threshold: float):
        self._folder, self.threshold = folder, threshold
        self._detector: ObjectDetector | None = None
        self._lock = threading.Lock()
        self._failed = -float("inf")

    def detector(self, download: manifest.Progress | None = None) -> ObjectDetector:
        """The object detector; the first call fetches and loads it. Its `find` may be called from any thread, also outside
        the pool.

        Parameters
        ----------
        download : callable, optional
            Called with the progress of fetching.

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

    def _load(self, download: manifest.Progress | None) -> ObjectDetector:
        """Raise at once if fetching failed a short time ago."""
        waiting = time.monotonic() < self._failed + OBJECTS_RETRY
        try:
            if waiting:
                files = [manifest.path(key, self._folder) for key in (WEIGHTS, GRAPH)]
            else:
                files = manifest.fetch((WEIGHTS, GRAPH), self._folder, download)
        except (ModelError, StorageError) as error:
            if not waiting:
                self._failed = time.monotonic()
            raise ModelMissing(
                "what finds objects is not there and could not be fetched: "
                "run `python -m recognizer models fetch objects` where the server runs"
            ) from error
        return ObjectDetector(*files)
