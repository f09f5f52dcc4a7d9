"""What a node last read of a small table, in its state folder: for a start while the database is away."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recognizer.core.errors import RecognizerError
from recognizer.core.files import own_folder, write_durably
from recognizer.core.vault import Vault

log = logging.getLogger(__name__)

_PURPOSE = "copy of a table "


class LocalCopy:
    """One file, readable by its owner alone. Failures are logged: a node works without it.

    Parameters
    ----------
    path : Path
    vault : callable
        Returns what encrypts the file, or None; called when the file is read or written.
    most_hours : float
        An older copy is not used; 0 stores and uses none.
    """

    def __init__(self, path: Path, vault: Callable[[], Vault | None], most_hours: float):
        self._path, self._vault, self._most_hours = path, vault, most_hours
        self._written: Any = None
        self._when = float("-inf")

    def write(self, content: Any) -> None:
        """Store what was read just now."""
        if not self._most_hours or (content == self._written and time.monotonic() - self._when < 60):
            return
        try:
            vault = self._vault()
            held = {"written": time.time(), "content": content}
            data = json.dumps({**held, "digest": _digest(held)}).encode()
            own_folder(self._path.parent)
            write_durably(self._path, data if vault is None else vault.seal(data, _PURPOSE + self._path.name), mode=0o600)
            self._written, self._when = content, time.monotonic()
        except (OSError, RecognizerError) as error:
            log.warning("%s cannot be stored: %s", self._path.name, error)

    def read(self) -> Any:
        """What was stored; None if there is nothing that may be used."""
        try:
            vault, data = self._vault(), self._path.read_bytes()
            held = json.loads(data if vault is None else vault.open(data, _PURPOSE + self._path.name))
            if held.pop("digest", None) not in (None, _digest(held)):  # earlier releases wrote none
                raise ValueError("it is damaged")
            return held["content"] if time.time() - held["written"] <= self._most_hours * 3600 else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecognizerError) as error:
            log.warning("%s cannot be used: %s", self._path.name, error)
            return None


def _digest(held: dict[str, Any]) -> str:
    """Of what a file holds: a changed digit would make another time of it, and a changed letter another key."""
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()
