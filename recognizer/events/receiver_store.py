"""Where events are sent, as it was set while the server ran: in a file of the state folder, or in the database of nodes.

It holds addresses of webhooks, a signing secret and a broker's password: it is encrypted where there is a key, the file's mode
is 0600, and it is replaced in one step. Several processes may share it: each reads what another one changed, and changes it
under a lock.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from recognizer.core.errors import SealBroken, StorageError
from recognizer.core.sealed_file import SealedFile
from recognizer.core.sealed_place import SealedPlace
from recognizer.core.vault import Vault
from recognizer.database.connection import Database
from recognizer.database.sealed_row import SealedRow
from recognizer.events.webhooks import webhook_id

RECEIVERS_FILE = "receivers.json"
#: What the encrypted content is for.
PURPOSE = "receivers"
_WHAT = "the receivers of events"
#: Key of the broker that gets events by MQTT.
MQTT = "mqtt"


class ReceiverStore:
    """Settings by name, as JSON has them. Any thread may call.

    Parameters
    ----------
    stored : SealedPlace
        May be missing; the first change creates it.
    names : collection of str
        Settings that may be stored; others are ignored.
    clock : callable, optional
        Seconds since 1970, the same on all nodes. Without it, `since` is always 0.
    """

    def __init__(self, stored: SealedPlace, names: Collection[str], clock: Callable[[], float] | None = None):
        self._stored, self._names, self._clock = stored, frozenset(names), clock
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {}
        self._since: dict[str, float] = {}

    @classmethod
    def in_file(cls, file: Path, names: Collection[str], vault: Vault | None = None) -> ReceiverStore:
        """Those of an installation with a state folder."""
        return cls(SealedFile(file, _WHAT, PURPOSE, vault), names)

    @classmethod
    def in_database(cls, database: Database, names: Collection[str], vault: Vault | None = None) -> ReceiverStore:
        """Those of nodes that share a database."""
        row = SealedRow(database, "receivers", _WHAT, PURPOSE, vault)
        return cls(row, names, row.now)

    def all(self) -> dict[str, Any]:
        """The stored values.

        Raises
        ------
        StorageError, KeyMissing, DatabaseAway
        """
        with self._lock:
            self._refresh()
            return dict(self._values)

    def since(self, key: str) -> float:
        """When a receiver, a webhook by its id or `MQTT`, was set, in seconds since 1970, as it was read last.

        A node that learns of it later sends what happened from then on. 0 where nodes share nothing.
        """
        with self._lock:
            return self._since.get(key, 0.0)

    def change(self, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """Store the values that `change` makes of those that are stored, without those that are None; durable on return.

        Raises
        ------
        StorageError, KeyMissing, DatabaseAway
        """
        with self._lock, self._stored.held():
            self._refresh()
            values = {name: value for name, value in change(dict(self._values)).items() if value is not None}
            if values != self._values:
                self._write(values, self._begun(values))
            return dict(self._values)

    def take_in(self, values: Mapping[str, Any]) -> int:
        """Store the values of another installation, if nothing is stored yet; how many.

        Raises
        ------
        StorageError, KeyMissing, DatabaseAway
        """
        taken = 0

        def changed(held: dict[str, Any]) -> Mapping[str, Any]:
            nonlocal taken
            taken = 0 if held else len(values)
            return held or values

        self.change(changed)
        return taken

    def _begun(self, values: Mapping[str, Any]) -> dict[str, float]:
        """When each of the receivers was set, the new ones now."""
        if self._clock is None:
            return {}
        before, now = _receivers(self._values), math.floor(1000 * self._clock()) / 1000  # as exact as the times of events
        return {key: self._since.get(key, 0.0) if key in before else now for key in _receivers(values)}

    def _refresh(self) -> None:
        """Read what is stored, if it has changed."""
        if not self._stored.changed():
            return
        try:
            self._values, self._since = ({}, {}) if self._stored.missing else self._read()
        except BaseException:
            self._stored.forget()
            raise

    def _read(self) -> tuple[dict[str, Any], dict[str, float]]:
        name = self._stored.name
        try:
            content = json.loads(self._stored.read())
            stored = content["settings"]
            since = {key: float(moment) for key, moment in content.get("since", {}).items()}
            return {each: stored[each] for each in self._names & stored.keys()}, since
        except SealBroken as error:
            raise StorageError(f"{name} is damaged: {error.message}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{name} is damaged ({type(error).__name__}): repair or delete it") from error

    def _write(self, values: Mapping[str, Any], since: Mapping[str, float]) -> None:
        content = {"version": 1, "settings": values, **({"since": since} if since else {})}
        self._stored.write(json.dumps(content, ensure_ascii=False, indent=1).encode())
        self._values, self._since = dict(values), dict(since)


def _receivers(values: Mapping[str, Any]) -> set[str]:
    """The keys of the receivers that values name."""
    urls = values.get("webhooks")
    found = {webhook_id(each) for each in urls if isinstance(each, str)} if isinstance(urls, list) else set()
    return found | ({MQTT} if values.get("mqtt_url") else set())
