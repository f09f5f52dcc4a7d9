"""Groups in a database that nodes share: every node has their templates in memory, and knows which groups there are.

A group has a number, which is never used for another one. What this node notes about unfinished changes in a group is in
``groups/.<number>`` of its state folder, and is gone when the group is deleted on any node.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from recognizer.core import names
from recognizer.core.audit import AuditLog
from recognizer.core.disk import disk_errors
from recognizer.core.errors import Busy, GroupNotFound, GroupTaken, SubjectNotFound
from recognizer.core.identity import Identity
from recognizer.core.lock import WriteLock
from recognizer.core.vault import Vault
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.photo_encoding import EncodingReporter
from recognizer.enrolment.shared_enrolment import SharedEnrolment, open_identity, seal_identity
from recognizer.service.groups import OpenGroup, PeopleGroup, PeopleGroups, allowed_name, is_default

#: Makes a group: its enrolment, and the folder for what this node keeps about it.
SharedGroupMaker = Callable[[SharedEnrolment, Path], PeopleGroup]


class SharedGroups(PeopleGroups):
    """The groups of a database; see `PeopleGroups` for what each method does. Any thread may call.

    Parameters
    ----------
    state : Path
        The state folder.
    default : PeopleGroup
    enrolment : SharedEnrolment
        Of the default group.
    make : callable
        See `SharedGroupMaker`.
    audit : AuditLog
    changes : WriteLock
    vault : Vault, optional
    """

    def __init__(
        self,
        state: Path,
        default: PeopleGroup,
        enrolment: SharedEnrolment,
        make: SharedGroupMaker,
        audit: AuditLog,
        changes: WriteLock,
        vault: Vault | None,
    ):
        super().__init__(None, state, default, _not_by_folder, audit, changes, vault)
        self._enrolment, self._make_shared = enrolment, make
        self._copy = enrolment.shared_gallery.copy
        self._listed: object = None  # the list of groups for which `_numbers` was made
        self._numbers: dict[str, int] = {}

    # -- which there are ----------------------------------------------------------------------------------------

    def _by_name(self) -> dict[str, int]:
        """The numbers of the groups besides the default one, by name, as this node knows them."""
        if self._copy.applied < 0:  # nothing was read yet, by a command
            self._enrolment.catch_up()
        groups = self._copy.groups
        with self._lock:
            if self._listed is not groups:
                self._numbers = {each.name: each.number for each in groups.values() if each.number != self._enrolment.group}
                self._listed = groups
            return self._numbers

    def names(self) -> list[str]:
        return [names.DEFAULT_GROUP, *sorted(self._by_name(), key=names.comparison_key)]

    def get(self, name: str | None = None) -> PeopleGroup:
        if name is None or name == names.DEFAULT_GROUP:
            return self.default
        name = names.normalise_group_lookup(name)
        if is_default(name):
            return self.default
        number = self._by_name().get(name)
        if number is None:
            self._drop(name)
            raise GroupNotFound(f"there is no group {name!r}")
        with self._lock:
            if self._closed:
                raise Busy("the server is shutting down")
            opened = self._opened.get(name)
            if opened is None or opened.id != str(number):
                made = self._make_shared(self._enrolment.of_group(number, name), self._folder_of(number))
                opened = self._opened[name] = OpenGroup(made, str(number), looked_at=True)
            return opened.group

    def require_current(self, name: str, enrolment: Enrolment) -> None:
        assert isinstance(enrolment, SharedEnrolment), "these groups are in a database"
        self._enrolment.catch_up()
        number = self._by_name().get(name)
        if number is None:
            raise GroupNotFound(f"there is no group {name!r} any longer")
        if number != enrolment.group:
            raise Busy(f"the group {name!r} was made anew meanwhile; try again")

    def _folder_of(self, number: int) -> Path:
        return self._state / f".{number}"

    # -- identities ---------------------------------------------------------------------------------------------

    def _identity_of(self, group: PeopleGroup) -> Identity | None:
        row = self._copy.groups.get(_number(group))
        return None if row is None or row.identity is None else open_identity(row.identity, self._vault)

    def _set_identity(self, group: PeopleGroup, change: Callable[[Identity | None], Identity]) -> Identity:
        number = _number(group)
        with self._changes.hold():
            with self._enrolment.database.write() as changes:
                execute = changes.connection.execute
                found = execute("select identity from people_group where id = %s", [number]).fetchone()
                if found is None:
                    raise GroupNotFound(f"there is no group {group.name!r}")
                held = change(None if found[0] is None else open_identity(found[0], self._vault))
                execute("update people_group set identity = %s where id = %s", (seal_identity(held, self._vault), number))
                changes.note("group", number)
            self._enrolment.catch_up()
        return held

    # -- changes ------------------------------------------------------------------------------------------------

    def add(self, name: str, **data: Any) -> PeopleGroup:
        name = allowed_name(name)
        folded = names.comparison_key(name)
        with self._changes.hold():
            with self._enrolment.database.write() as changes:
                execute = changes.connection.execute
                taken = execute("select name from people_group where folded = %s", [folded]).fetchone()
                if taken is not None:
                    raise GroupTaken(f"{name!r} is, or cannot be told from, {taken[0]!r}, which is a group", group=taken[0])
                about = seal_identity(Identity.new(data), self._vault)
                made = execute(
                    "insert into people_group (name, folded, identity) values (%s, %s, %s) returning id", (name, folded, about)
                ).fetchone()
                assert made is not None  # an insert returns its row
                changes.note("group", made[0])
                self._audit.append("group_add", group=name)
            self._enrolment.catch_up()
        return self.get(name)

    def _remove(self, group: PeopleGroup) -> None:
        for name in group.enrolment.folder_names():  # people without photos
            with suppress(SubjectNotFound):
                group.erasures.erase(name)
        number = _number(group)
        with self._enrolment.database.write() as changes:
            changes.connection.execute("delete from people_group where id = %s", [number])
            changes.note("group", number)
            self._audit.append("group_delete", group=group.name)
        self._enrolment.catch_up()
        self._drop(group.name)
        self._erase_state(f".{number}")

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: EncodingReporter | None = None) -> None:
        self.follow()
        for group in self._each():
            group.finish_changes()

    def follow(self) -> None:
        """Close groups that were deleted on another node, and erase what this node kept about them."""
        there = self._by_name()
        for group in self.opened():
            if there.get(group.name) != _number(group):
                self._drop(group.name)
        for name in there:
            with suppress(GroupNotFound):
                self.get(name)
        self.erase_orphans()

    def erase_orphans(self) -> None:
        there = {f".{number}" for number in self._copy.groups}
        for folder in self._state.glob(".*"):
            if folder.name not in there and folder.name[1:].isdecimal():
                self._erase_state(folder.name)

    def _erase_state(self, name: str) -> None:
        folder = self._state / name
        with disk_errors("what is kept about a group cannot be erased"):
            while folder.is_dir():
                with suppress(FileNotFoundError):  # whoever deletes the group and the feed do this at once
                    shutil.rmtree(folder)


def _number(group: PeopleGroup) -> int:
    assert isinstance(group.enrolment, SharedEnrolment)  # as `SharedGroups` makes them
    return group.enrolment.group


def _not_by_folder(name: str, folder: Path, state: Path) -> PeopleGroup:
    raise AssertionError("groups of a database have no folder")
