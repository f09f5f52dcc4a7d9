"""The settings of each camera, by its id: a JSON file in the state folder, so that they survive restarts.

Several processes may use it: each notices a change within a second, and changes it under a lock.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from recognizer.core.disk import SeenFile, disk_errors
from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, write_durably
from recognizer.video.camera_settings import PLAIN, CameraSettings, parse_settings, plain_settings
from recognizer.video.sources.camera_settings_store import CameraSettingsStore

#: Maximum time in seconds until a change by another process is noticed.
NOTICED_SECONDS = 1.0
_LOCK_SECONDS = 10

log = logging.getLogger("recognizer.video")


class CameraSettingsFile(CameraSettingsStore):
    """The settings of all cameras, in a file. Every method may be called from any thread.

    Parameters
    ----------
    file : Path
        May be missing; the first change creates it.
    """

    def __init__(self, file: Path):
        super().__init__()
        self._file = Path(file)
        self._seen = SeenFile(self._file)
        self._refreshed = float("-inf")

    def _look(self) -> None:
        if time.monotonic() - self._refreshed >= NOTICED_SECONDS:
            with self._lock:
                self._refresh()

    def set(self, camera: str, settings: CameraSettings) -> None:
        with self._lock, disk_errors("the settings of the camera cannot be stored"):
            own_folder(self._file.parent)
            try:
                with FairLock(Path(f"{self._file}.lock")).hold(_LOCK_SECONDS):
                    self._refresh()
                    if self._broken:
                        raise StorageError("the settings of cameras on the disk cannot be read; the server's log says why")
                    changed = {id: each for id, each in self._settings.items() if id != camera}
                    if settings != PLAIN:
                        changed[camera] = settings
                    if changed != dict(self._settings):
                        content = {id: plain_settings(each) for id, each in changed.items()}
                        write_durably(self._file, json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n")
                        self._seen.forget()
                        self._take_over(changed)
                        self._known = True
            except TimeoutError:
                raise StorageError("another process holds the settings of cameras") from None

    def forget(self, camera: str) -> None:
        self.get(camera)  # as they are now
        if camera in self._settings:
            self.set(camera, PLAIN)

    def _refresh(self) -> None:
        """Read the file if it has changed. What cannot be read changes nothing. The lock is held."""
        self._refreshed = time.monotonic()
        if not self._seen.changed():
            return
        before, self._broken = self._broken, False
        if self._seen.missing:
            self._take_over({})
            return
        try:
            stored: dict[str, Any] = json.loads(self._file.read_text("utf-8"))
            self._take_over({str(id): parse_settings(said) for id, said in stored.items()})
            self._known = True
        except (OSError, ValueError, TypeError, AttributeError, InvalidParameter) as error:
            self._broken = True
            if isinstance(error, OSError):  # perhaps for a moment only
                self._seen.forget()
            if not before:
                reason = error.message if isinstance(error, InvalidParameter) else type(error).__name__
                effect = "the settings from before hold" if self._known else "all cameras are black and give no events"
                log.error("%s cannot be read (%s), so %s: mend or remove it", self._file.name, reason, effect)
