"""Where a few secret settings are stored as one piece: a file of an installation, or a row of the database that nodes share."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class SealedPlace(Protocol):
    """Content that several processes share. Its owner sees to it that one thread at a time uses it.

    Attributes
    ----------
    missing : bool
        Whether nothing was stored at the last call of `changed`.
    """

    missing: bool

    @property
    def name(self) -> str:
        """What error messages call it."""

    def changed(self) -> bool:
        """Whether the content may be another one than at the last call that said so; whoever asks reads it then.

        Raises
        ------
        DatabaseAway
        """

    def forget(self) -> None:
        """Let the next `changed` say so."""

    def held(self) -> AbstractContextManager[None]:
        """Nobody else changes the content inside.

        Raises
        ------
        StorageError, DatabaseAway
        """

    def read(self) -> bytes:
        """The content, which is there.

        Raises
        ------
        StorageError, SealBroken, KeyMissing, DatabaseAway
        """

    def write(self, data: bytes) -> None:
        """Replace the content; durable once `held`, in which the caller is, has ended.

        Raises
        ------
        StorageError, DatabaseAway
        """
