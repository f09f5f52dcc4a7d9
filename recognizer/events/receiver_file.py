"""Where events are sent, as it was set while the server ran: a JSON file in the state folder, encrypted where there is a key.

It holds addresses of webhooks, a signing secret and a broker's password: its mode is 0600, and it is replaced in one step.
Several processes may share it: each reads what another one changed, and changes it under a lock.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recognizer.core.disk import SeenFile, disk_errors
from recognizer.core.errors import KeyMissing, SealBroken, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, replace_erasing, write_durably
from recognizer.core.vault import Vault, is_sealed

RECEIVERS_FILE = "receivers.json"
#: What the encrypted file is for.
PURPOSE = "receivers"
_LOCK_SECONDS = 10.0


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
        self._file, self._names, self._vault = file, frozenset(names), vault
        self._lock = threading.RLock()
        self._values: dict[str, Any] = {}
        self._seen = SeenFile(file)
        self._file_lock = FairLock(file.with_name(f"{file.name}.lock"))

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
        with self._changing():
            values = {name: value for name, value in change(dict(self._values)).items() if value is not None}
            if values != self._values:
                self._write(values)
            return dict(self._values)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """No other process changes the file inside, and what others changed is known."""
        with self._lock, disk_errors("the receivers of events cannot be stored"):
            own_folder(self._file.parent)
            try:
                with self._file_lock.hold(_LOCK_SECONDS):
                    self._refresh()
                    yield
            except TimeoutError:
                raise StorageError("the receivers of events are in use by another process") from None

    def _refresh(self) -> None:
        """Read the file if it has changed."""
        if not self._seen.changed():
            return
        try:
            self._values = {} if self._seen.missing else self._read()
        except BaseException:
            self._seen.forget()
            raise

    def _read(self) -> dict[str, Any]:
        with disk_errors("the receivers of events cannot be read"):
            data = self._file.read_bytes()
        if is_sealed(data):
            if self._vault is None:
                raise KeyMissing("the receivers of events are encrypted, and there is no key")
            try:
                data = self._vault.open(data, PURPOSE)
            except SealBroken as error:
                raise StorageError(f"{self._file.name} is damaged: {error.message}") from error
        try:
            stored = json.loads(data)["settings"]
            return {name: stored[name] for name in self._names & stored.keys()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StorageError(f"{self._file.name} is damaged ({type(error).__name__}): repair or delete it") from error

    def _write(self, values: Mapping[str, Any]) -> None:
        data = json.dumps({"version": 1, "settings": values}, ensure_ascii=False, indent=1).encode()
        if self._vault is not None:
            data = self._vault.seal(data, PURPOSE)
        try:  # what is replaced held secrets
            if replace_erasing(self._file, data, expected=os.stat(self._file)) is None:
                raise StorageError("the receivers of events were changed by hand at the same time; try again")
        except FileNotFoundError:
            write_durably(self._file, data, mode=0o600)
        self._values = dict(values)
        self._seen.forget()
