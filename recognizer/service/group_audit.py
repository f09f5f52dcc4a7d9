"""The audit log of a group: the same lines in the same files, where people have the group's name before their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recognizer.core.audit import AuditLine, AuditLog
from recognizer.core.vault import Vault


class GroupAudit(AuditLog):
    """Calls somebody ``<group>/<name>``, which no name can be, so that people of one name in two groups are told apart.

    Parameters
    ----------
    folder : Path
        Of the installation's audit log.
    vault : Vault, optional
    group : str
    """

    def __init__(self, folder: Path, vault: Vault | None, group: str):
        super().__init__(folder, vault)
        self._prefix = f"{group}/"

    def _named(self, subject: str) -> str:
        return self._prefix + subject

    def append(self, action: str, subject: str | None = None, **details: Any) -> AuditLine:
        return super().append(action, None if subject is None else self._named(subject), **details)

    def rename(self, old: str, new: str, *, merge: bool = False) -> None:
        super().rename(self._named(old), self._named(new), merge=merge)

    def forget(self, name: str) -> None:
        super().forget(self._named(name))

    def erase_photo(self, name: str, *, last: bool) -> None:
        super().erase_photo(self._named(name), last=last)

    def id_of(self, subject: str) -> str:
        return super().id_of(self._named(subject))

    def names(self) -> dict[str, str]:
        """The names of this group's people, without the group, by id."""
        return {
            about: name.removeprefix(self._prefix) for about, name in super().names().items() if name.startswith(self._prefix)
        }
