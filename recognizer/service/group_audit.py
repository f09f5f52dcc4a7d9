"""The audit log of a group: the same lines in the same place, where people have the group's name before their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recognizer.core.audit import AuditLine, AuditLog, new_id
from recognizer.core.vault import Vault
from recognizer.database.audit_table import AuditTable
from recognizer.database.connection import Database


class _NamesOfAGroup(AuditLog):
    """Calls somebody ``<group>/<name>``, which no name can be, so that people of one name in two groups are told apart."""

    _prefix: str

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


class GroupAudit(_NamesOfAGroup):
    """The log of a group in the files of the installation's log.

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


class SharedGroupAudit(_NamesOfAGroup, AuditTable):
    """The log of a group in the tables of the installation's log.

    Parameters
    ----------
    database : Database
    vault : Vault, optional
    group : str
    """

    def __init__(self, database: Database, vault: Vault | None, group: str):
        AuditTable.__init__(self, database, vault)
        self._prefix = f"{group}/"

    def known_id(self, subject: str) -> str:
        return self._id(self._named(subject)) or new_id()
