"""The settings of each camera where nodes share a database: a row for each camera, followed by a thread.

No frame waits for the database: what was read last holds, and is a second old at most while the database can be reached.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from recognizer.core.errors import DatabaseAway, InvalidParameter, RecognizerError
from recognizer.database.connection import Database
from recognizer.database.local_copy import LocalCopy
from recognizer.video.camera_settings import COVERED, PLAIN, CameraSettings, parse_settings, plain_settings
from recognizer.video.sources.camera_settings_store import CameraSettingsStore

#: Seconds between two reads of the table.
NOTICED_SECONDS = 1.0

log = logging.getLogger("recognizer.video")


class CameraSettingsTable(CameraSettingsStore):
    """The settings of all cameras, in the database. Every method may be called from any thread.

    Parameters
    ----------
    database : Database
    copy : LocalCopy, optional
        Where what was read last is stored, for a start while the database is away.
    """

    def __init__(self, database: Database, copy: LocalCopy | None = None):
        super().__init__()
        self._database, self._copy = database, copy
        self._rows: list[tuple[str, Any]] | None = None  # as they were read last
        self._ended = threading.Event()
        self._follower: threading.Thread | None = None

    def current(self, camera: str) -> CameraSettings:
        self._read()
        return self._settings.get(camera, PLAIN)

    def set(self, camera: str, settings: CameraSettings) -> None:
        with self._database.transaction() as connection:
            if settings == PLAIN:
                connection.execute("delete from camera_setting where camera = %s", [camera])
            else:
                connection.execute(
                    "insert into camera_setting (camera, content) values (%s, %s) "
                    "on conflict (camera) do update set content = excluded.content",
                    (camera, json.dumps(plain_settings(settings), ensure_ascii=False)),
                )
        self._read()

    def forget(self, camera: str) -> None:
        self.set(camera, PLAIN)

    def close(self) -> None:
        self._ended.set()
        if self._follower is not None:
            self._follower.join(5)

    # -- following the database -----------------------------------------------------------------------------------

    def _look(self) -> None:
        """Nothing but the first time: then the settings are read, and followed from then on."""
        if self._follower is not None:
            return
        with self._lock:
            if self._follower is None:
                self._read_if_possible()
                follower = threading.Thread(target=self._follow, name="camera-settings", daemon=True)
                follower.start()
                self._follower = follower

    def _follow(self) -> None:
        while not self._ended.wait(NOTICED_SECONDS):
            try:
                self._read_if_possible()
            except Exception:  # an unexpected error must not end the thread
                log.exception("the settings of cameras are not followed")

    def _read_if_possible(self) -> None:
        try:
            self._read()
        except RecognizerError as error:
            if self._known:
                return
            copied = self._copy.read() if self._copy is not None and isinstance(error, DatabaseAway) else None
            with self._lock:
                if copied is not None and not self._known:
                    self._take_rows([(camera, said) for camera, said in copied])
                elif not self._known and not self._broken:
                    self._broken = True
                    log.error("the settings of cameras cannot be read (%s): all cameras are black", error.message)

    def _read(self) -> None:
        with self._lock:
            rows = self._database.rows("select camera, content from camera_setting order by camera")
            if rows != self._rows:
                self._take_rows(rows)
                self._rows = rows
            if self._copy is not None:
                self._copy.write([list(row) for row in rows])

    def _take_rows(self, rows: list[tuple[str, Any]]) -> None:
        """Use these rows from now on; of a camera whose row cannot be understood nothing is shown."""
        taken: dict[str, CameraSettings] = {}
        for camera, said in rows:
            try:
                taken[camera] = parse_settings(said)
            except (ValueError, TypeError, AttributeError, InvalidParameter) as error:
                log.error("the settings of the camera %s cannot be read (%s): it is black", camera, type(error).__name__)
                taken[camera] = COVERED
        self._take_over(taken)
        self._known, self._broken = True, False
