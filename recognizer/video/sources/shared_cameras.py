"""The cameras of nodes that share a database: their list is there, and the one node that has a camera's lease reads it.

While the database is away, the list is the one that was read last, and each node goes on with the cameras that it reads.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recognizer.core.errors import CameraNotFound, DatabaseAway, RecognizerError
from recognizer.core.vault import Vault
from recognizer.database import leases
from recognizer.database.connection import CAMERAS, Database
from recognizer.database.leases import Lease, Leases
from recognizer.video.sources.cameras import DEFAULT, MOST_REMOVED, CameraEntry, Cameras, Elsewhere, is_attached, plain_state
from recognizer.video.sources.source import RECORDINGS, CameraSource

#: Seconds for which the list is not read again: for how long a change by another node may be missed.
_FRESH_SECONDS = 0.5
_PURPOSE = "camera "

log = logging.getLogger("recognizer.video")


def _nothing() -> None:
    pass


class SharedCameras(Cameras):
    """See `Cameras` for what each method does.

    Parameters
    ----------
    database : Database
    node : str
        The id of this node.
    vault : Vault, optional
        Encrypts the sources, which contain passwords.
    reads : bool
        Whether this node reads cameras at all; the others do, if not.
    **others
        For `Cameras`.
    """

    _fixes_default = True

    def __init__(self, database: Database, node: str, vault: Vault | None = None, reads: bool = True, **others: Any):
        self._database, self._node, self._vault, self._reads = database, node, vault, reads
        self._mine = Leases(database, node)
        self._leases: dict[str, Lease] = {}
        self._homes: dict[str, str] = {}  # by camera: the node that it was added on
        self._looked = float("-inf")
        self._changing = self.known = False
        self._ended = threading.Event()
        self._keeper: threading.Thread | None = None
        super().__init__(Path(), **others)

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, id: str) -> CameraEntry:
        if id == DEFAULT:
            self.all()  # who reads it may have changed
        try:
            return super().get(id)
        except CameraNotFound:
            self._looked = float("-inf")  # added on another node a moment ago
            entry = self._entry_if_there(id)
            if entry is None and not self.known:
                raise DatabaseAway("the list of cameras is in the database, which cannot be reached") from None
            return entry or super().get(id)

    def elsewhere(self, id: str) -> Elsewhere | None:
        entry = self._entry_if_there(id)
        if entry is not None and entry.here:
            return None
        self._looked = float("-inf")
        entry, lease = self._entry_if_there(id), self._leases.get(id)
        if lease is None and entry is not None and self._keeper is not None and self._can_read(entry):
            with contextlib.suppress(DatabaseAway):
                if self._mine.take(id):
                    self._looked = float("-inf")
                    entry = self._entry_if_there(id)
        if entry is None and lease is None:
            return None  # there is no such camera
        return None if entry is not None and entry.here else _seen(lease)

    def _entry_if_there(self, id: str) -> CameraEntry | None:
        return next((entry for entry in self.all() if entry.id == id), None)

    def _look(self) -> Callable[[], None]:
        if self._closed or time.monotonic() - self._looked < _FRESH_SECONDS:
            return _nothing
        try:
            rows = self._database.rows("select id, name, source, always, people, home from camera order by position")
            removed = self._database.rows("select id, name from camera_removed order by position")
            self._leases = self._mine.all()
        except DatabaseAway:
            if self._changing:
                raise
            return _nothing
        self._looked, self.known = time.monotonic(), True
        entries: dict[str, CameraEntry] = {}
        for id, name, source, always, people, home in rows:
            self._homes[id] = home
            text = (source if self._vault is None else self._vault.open(source, _PURPOSE + id)).decode()
            entry = self._read({"id": id, "name": name, "source": text, "always": always, "group": people})
            if entry is not None:
                entries[id] = self._placed(entry)
        self._removed = dict(removed)
        before, tell = self._default, self._take_over(entries, self._default)
        if before is None:
            return tell
        now = self._default = self._placed(before)
        watchers = list(self._watchers) if now.here != before.here else []

        def tell_all() -> None:
            tell()
            for watcher in watchers:
                watcher("changed", now)

        return tell_all

    def _placed(self, entry: CameraEntry) -> CameraEntry:
        lease = self._leases.get(entry.id)
        here = lease is not None and lease.node == self._node
        return replace(entry, here=here, node=None if lease is None else lease.node, elsewhere=None if here else _seen(lease))

    # -- changing -----------------------------------------------------------------------------------------------

    def _entry(
        self, id: str, name: str, source: CameraSource, text: str, always: bool, group: str | None = None
    ) -> CameraEntry:
        return self._placed(super()._entry(id, name, source, text, always, group))

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        self._looked, self._changing = float("-inf"), True
        try:
            with self._database.transaction() as connection:
                connection.execute("select pg_advisory_xact_lock(%s)", [CAMERAS])
                yield
        finally:
            self._looked, self._changing = float("-inf"), False

    def _write(self, entries: dict[str, CameraEntry], default: CameraEntry | None) -> None:
        with self._database.transaction() as connection:
            for id, entry in self._added.items():
                if id not in entries:
                    connection.execute("delete from camera where id = %s", [id])
                    connection.execute("delete from camera_lease where camera = %s", [id])
                    connection.execute("delete from camera_removed where id = %s", [id])
                    connection.execute("insert into camera_removed (id, name) values (%s, %s)", (id, entry.name))
            connection.execute(
                "delete from camera_removed where id not in (select id from camera_removed order by position desc limit %s)",
                [MOST_REMOVED],
            )
            for entry in entries.values():
                source = entry.text.encode()
                if self._vault is not None:
                    source = self._vault.seal(source, _PURPOSE + entry.id)
                home = self._node
                if entry.id in self._added and self._added[entry.id].text == entry.text:
                    home = self._homes.get(entry.id, home)
                connection.execute(
                    "insert into camera (id, name, source, always, people, home) values (%s, %s, %s, %s, %s, %s) "
                    "on conflict (id) do update set name = excluded.name, source = excluded.source, always = excluded.always, "
                    "people = excluded.people, home = excluded.home",
                    (entry.id, entry.name, source, entry.always, entry.group, home),
                )

    # -- leases -------------------------------------------------------------------------------------------------

    def keep(self) -> None:
        if self._reads and self._keeper is None:
            self._keeper = threading.Thread(target=self._run, name="camera-leases", daemon=True)
            self._keeper.start()

    def _run(self) -> None:
        while True:
            try:
                self._renew()
            except RecognizerError as error:
                log.debug("the leases of cameras are not renewed: %s", error.message)
            except Exception:
                log.exception("the leases of cameras are not renewed")
            if self._ended.wait(leases.RENEWAL_SECONDS):
                return

    def _renew(self) -> None:
        entries = self.all()
        self._mine.keep(
            [each.id for each in entries if self._can_read(each)], {each.id: plain_state(each) for each in entries if each.here}
        )
        self._looked = float("-inf")
        self.all()

    def _can_read(self, entry: CameraEntry) -> bool:
        """Whether this node can read a camera: a webcam is on the node where it was added, and files have to be there."""
        if entry.fixed:
            return is_attached(entry.source)
        if entry.source.kind == "device":
            return self._homes.get(entry.id) == self._node
        return bool(entry.source.address) or entry.source.kind not in RECORDINGS

    def close(self) -> None:
        """Stop every camera, and let the other nodes take them at once."""
        self._ended.set()
        if self._keeper is not None:
            self._keeper.join(5)
        super().close()
        if self._keeper is not None:
            with contextlib.suppress(RecognizerError):
                self._mine.release()


def _seen(lease: Lease | None) -> Elsewhere:
    return Elsewhere(None, None, {}) if lease is None else Elsewhere(lease.node, lease.url, lease.state or {})
