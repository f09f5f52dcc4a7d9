"""What every place where settings of cameras are stored does alike: what was read last is in memory, and read at once."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

from recognizer.video.camera_settings import COVERED, PLAIN, CameraSettings


class CameraSettingsStore(ABC):
    """The settings of all cameras. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._settings: Mapping[str, CameraSettings] = MappingProxyType({})
        self._revisions: dict[str, int] = {}
        self._broken = self._known = False  # whether they cannot be read now, and whether they could be

    def get(self, camera: str) -> CameraSettings:
        """The settings of a camera, by its id; those of a camera for which nothing was set are `PLAIN`.

        While they cannot be read, those from before hold; where there are none, every camera is `COVERED`.
        """
        self._look()
        return self._settings.get(camera, COVERED if self._broken and not self._known else PLAIN)

    def revision(self, camera: str) -> int:
        """Increases whenever the settings of a camera change."""
        self.get(camera)
        return self._revisions.get(camera, 0)

    def current(self, camera: str) -> CameraSettings:
        """The settings of a camera, also if another process changed them a moment ago.

        Raises
        ------
        DatabaseAway
        """
        return self.get(camera)

    def all(self) -> dict[str, CameraSettings]:
        """The settings of all cameras for which something was set, by id.

        Raises
        ------
        DatabaseAway
        """
        self.current("")
        return dict(self._settings)

    @abstractmethod
    def set(self, camera: str, settings: CameraSettings) -> None:
        """Change the settings of a camera; durable on return.

        Raises
        ------
        StorageError, DatabaseAway
        """

    @abstractmethod
    def forget(self, camera: str) -> None:
        """Remove the settings of a camera that was removed.

        Raises
        ------
        StorageError, DatabaseAway
        """

    def close(self) -> None:  # noqa: B027, most follow nothing
        """End what follows the changes of others."""

    @abstractmethod
    def _look(self) -> None:
        """Learn what others changed, without waiting for long."""

    def _take_over(self, settings: dict[str, CameraSettings]) -> None:
        before = self._settings
        for camera in {*before, *settings}:
            if before.get(camera, PLAIN) != settings.get(camera, PLAIN):
                self._revisions[camera] = self._revisions.get(camera, 0) + 1
        self._settings = MappingProxyType(settings)
