"""An observer of live video that cannot be made yet, because the folder that it writes to cannot be used."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from recognizer.core.errors import RecognizerError

log = logging.getLogger("recognizer")

#: Seconds between two attempts to make it.
AGAIN = 10.0


class LateObserver:
    """Makes an observer as soon as that is possible, and stands in its place. What happens before is not observed.

    Parameters
    ----------
    things : str
        What the observer keeps, for the log.
    make : callable
        Returns the observer.
    """

    def __init__(self, things: str, make: Callable[[], Any], clock: Callable[[], float] = time.monotonic):
        self._things, self._make, self._clock = things, make, clock
        self._observer: Any = None
        self._try_at = float("-inf")
        self._problem: str | None = None
        self._states: dict[str, tuple[Any, Any]] = {}  # of the cameras, until there is an observer

    def __call__(self, camera: Any, result: Any) -> None:
        observer = self.made()
        if observer is not None:
            observer(camera, result)

    def state(self, camera: Any, state: Any) -> None:
        observer = self.made()
        if observer is None:
            self._states[camera.id] = camera, state
        elif hasattr(observer, "state"):
            observer.state(camera, state)

    def stopped(self, camera: Any) -> None:
        self._states.pop(camera.id, None)
        if hasattr(self._observer, "stopped"):
            self._observer.stopped(camera)

    def gone(self, camera: Any) -> None:
        self._states.pop(camera.id, None)
        if hasattr(self._observer, "gone"):
            self._observer.gone(camera)

    def made(self) -> Any:
        """The observer; None if it cannot be made for now."""
        if self._observer is None and self._clock() >= self._try_at:
            self._try_at = self._clock() + AGAIN
            try:
                self._observer = self._make()
            except RecognizerError as error:
                if error.message != self._problem:
                    log.warning("no %s are kept until their folder can be used: %s", self._things, error.message)
                self._problem = error.message
                return None
            if self._problem is not None:
                log.info("%s are kept again", self._things)
            states, self._states = self._states, {}
            if hasattr(self._observer, "state"):
                for camera, state in states.values():
                    self._observer.state(camera, state)
        return self._observer
