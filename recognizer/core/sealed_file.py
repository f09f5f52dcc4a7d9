"""A small file in the state folder that several processes share, encrypted where there is a key.

What the file had before may be secret, or name somebody who is erased: it is overwritten when the file is replaced.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recognizer.core.disk import SeenFile, disk_errors
from recognizer.core.errors import StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import own_folder, replace_erasing, write_durably
from recognizer.core.vault import Vault, unsealed

_LOCK_SECONDS = 10.0


class SealedFile(SeenFile):
    """A file of mode 0600 that is replaced in one step. Its owner sees to it that one thread at a time uses it.

    Parameters
    ----------
    file : Path
        May be missing; the first `write` creates it.
    what : str
        What it has, as the plural subject of error messages: ``the rules``.
    purpose : str
        What the encrypted file is for; another purpose's file is not accepted in its place.
    vault : Vault, optional
    """

    def __init__(self, file: Path, what: str, purpose: str, vault: Vault | None = None):
        super().__init__(file)
        self.file, self._what, self._purpose, self._vault = file, what, purpose, vault
        self._lock = FairLock(file.with_name(f"{file.name}.lock"))

    @property
    def name(self) -> str:
        """What error messages call it."""
        return self.file.name

    @contextmanager
    def held(self) -> Iterator[None]:
        """No other process changes the file inside.

        Raises
        ------
        StorageError
        """
        with disk_errors(f"{self._what} cannot be stored"):
            own_folder(self.file.parent)
            try:
                with self._lock.hold(_LOCK_SECONDS):
                    yield
            except TimeoutError:
                raise StorageError(f"{self._what} are in use by another process") from None

    def read(self) -> bytes:
        """The content of the file, which is there.

        Raises
        ------
        StorageError, SealBroken, KeyMissing
        """
        with disk_errors(f"{self._what} cannot be read"):
            data = self.file.read_bytes()
        return unsealed(data, self._vault, self._purpose, f"{self._what} are")

    def write(self, data: bytes) -> None:
        """Replace the content; durable on return. The caller is inside `held`.

        Raises
        ------
        StorageError
        """
        if self._vault is not None:
            data = self._vault.seal(data, self._purpose)
        try:
            if replace_erasing(self.file, data, expected=os.stat(self.file)) is None:
                raise StorageError(f"{self._what} were changed by hand at the same time; try again")
        except FileNotFoundError:
            write_durably(self.file, data, mode=0o600)
        self.forget()
