"""Where events are sent, as it was set while the server ran: a JSON file in the state folder, encrypted where there is a key.

It holds addresses of webhooks, a signing secret and a broker's password: its mode is 0600, and it is replaced in one step.
Several processes may share it: each reads what another one changed, and changes it under a lock.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from recognizer.core.errors import SealBroken, StorageError
from recognizer.core.sealed_file import SealedFile
from recognizer.core.vault import Vault

RECEIVERS_FILE = "receivers.json"
#: What the encrypted file is for.
PURPOSE = "receivers"


class ReceiverFile:
    """Settings by name, as JSON has them. Any thread may call.

    Parameters
    ----------
    file : Path
        May be missing; the first change creates it.
    names : collection of str
        Settings that the file may contain; others are ignored.
    vault : Vault, optional
    """

    def __init__(self, file: Path, names: Collection[str], vault: Vault | None = None):
        self._stored, self._names = SealedFile(file, "the receivers of events", PURPOSE, vault), frozenset(names)
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {}

    def all(self) -> dict[str, Any]:
        """The stored values.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            self._refresh()
            return dict(self._values)

    def change(self, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
        """Store the values that `change` makes of those that are stored, without those that are None; durable on return.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock, self._stored.held():
            self._refresh()
            values = {name: value for name, value in change(dict(self._values)).items() if value is not None}
            if values != self._values:
                self._write(values)
            return dict(self._values)

    def _refresh(self) -> None:
        """Read the file if it has changed."""
        if not self._stored.changed():
            return
        try:
            self._values = {} if self._stored.missing else self._read()
        except BaseException:
            self._stored.forget()
            raise

    def _read(self) -> dict[str, Any]:
        name = self._stored.file.name
        try:
            stored = json.loads(self._stored.read())["settings"]
            return {each: stored[each] for each in self._names & stored.keys()}
        except SealBroken as error:
            raise StorageError(f"{name} is damaged: {error.message}") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{name} is damaged ({type(error).__name__}): repair or delete it") from error

    def _write(self, values: Mapping[str, Any]) -> None:
        self._stored.write(json.dumps({"version": 1, "settings": values}, ensure_ascii=False, indent=1).encode())
        self._values = dict(values)
