"""Groups: galleries of their own, each with its folder of people. The default group is `known_faces` itself.

``<groups folder>/<group>/<person>/<photo>`` is the source of truth, as `known_faces` is for the default group. A group has two
places: its folder, and ``groups/<group>`` in the state folder, with the cache of encodings and the notes of unfinished changes.
Both are gone when the group is deleted.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recognizer.backup.reseal import GROUPS
from recognizer.core import identity, names
from recognizer.core.audit import AuditLog
from recognizer.core.disk import disk_errors
from recognizer.core.errors import (
    Busy,
    GroupFixed,
    GroupNotFound,
    GroupTaken,
    InvalidGroup,
    InvalidName,
    NameTaken,
    RecognizerError,
    StorageError,
)
from recognizer.core.holdings import Holdings
from recognizer.core.identity import Identity
from recognizer.core.lock import WriteLock
from recognizer.core.vault import Vault
from recognizer.enrolment.encodings import FileStamp
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.identities import Identities
from recognizer.enrolment.photo_encoding import EncodingReporter
from recognizer.enrolment.subject_files import read_identity, write_identity
from recognizer.galleries.contract import Gallery
from recognizer.service.erasures import Erasures
from recognizer.service.matcher import Matcher
from recognizer.service.recognition import Recognition
from recognizer.service.subjects import Subjects

log = logging.getLogger("recognizer.groups")

#: Maximum length of a group's name in characters.
MAX_NAME = 128
#: Separates the group from the name where one text stands for both; no name contains it.
SEPARATOR = "/"


@dataclass(frozen=True, eq=False)
class PeopleGroup:
    """One gallery of people, and everything that recognises and changes them.

    Attributes
    ----------
    name : str
    enrolment : Enrolment
        Folder, cache and gallery.
    matcher : Matcher
    recognition : Recognition
        Names the people of this group only.
    subjects : Subjects
    erasures : Erasures
    holdings : Holdings
    ids : Identities
        Ids of people, which outlive their names.
    """

    name: str
    enrolment: Enrolment
    matcher: Matcher
    recognition: Recognition
    subjects: Subjects
    erasures: Erasures
    holdings: Holdings
    ids: Identities

    @property
    def gallery(self) -> Gallery:
        """The templates of this group's people."""
        return self.enrolment.gallery

    @property
    def is_default(self) -> bool:
        """Whether this is `known_faces`."""
        return self.name == names.DEFAULT_GROUP

    def finish_changes(self) -> int:
        """Finish earlier erasures and renamings; returns how many were finished. What fails is done later."""
        try:
            return self.erasures.finish()
        except RecognizerError as error:
            log.warning("earlier changes cannot be finished for now: %s", error.message)
            return 0

    def sweep_folder(self, changes: WriteLock) -> None:
        """Remove what an interrupted write left in the folder, after `sync`; if that fails, the next start does it."""
        try:
            with changes.hold():
                self.enrolment.sweep_left_over()
        except (Busy, StorageError) as error:
            log.warning("what interrupted changes left in %s stays for now: %s", self.place, error.message)

    @property
    def place(self) -> str:
        """The group's folder, for messages."""
        return "known_faces" if self.is_default else "the folder of a group"


#: Makes a group: its name, its folder, and the folder for what is kept about it.
GroupMaker = Callable[[str, Path, Path], PeopleGroup]


@dataclass(eq=False)
class OpenGroup:
    """A group that is open, the id that its folder had or its number, and whether its folder was looked at."""

    group: PeopleGroup
    id: str | None
    looked_at: bool = False
    looking: threading.Lock = field(default_factory=threading.Lock)


class PeopleGroups:
    """The groups of an installation. Opens each when it is first used; any thread may call.

    Parameters
    ----------
    root : Path or None
        The folder of groups; created with the first group. None where they are in a database, see `shared_groups`.
    state : Path
        The state folder.
    default : PeopleGroup
    make : callable
        See `GroupMaker`.
    audit : AuditLog
    changes : WriteLock
    vault : Vault, optional
    """

    def __init__(
        self,
        root: Path | None,
        state: Path,
        default: PeopleGroup,
        make: GroupMaker,
        audit: AuditLog,
        changes: WriteLock,
        vault: Vault | None,
    ):
        self.root, self.default, self._state = root, default, state / GROUPS
        self._make, self._audit, self._changes, self._vault = make, audit, changes, vault
        self._opened: dict[str, OpenGroup] = {}
        self._identities: dict[str, tuple[FileStamp, Identity | None]] = {}
        self._lock = threading.RLock()
        self._follows = self._closed = False

    # -- which there are ----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of all groups, the default first.

        Raises
        ------
        StorageError
        """
        if self.root is None or not self._has_folder():
            return [names.DEFAULT_GROUP]
        found = {name for name in KnownFaces(self.root).names() if not is_default(name)}
        return [names.DEFAULT_GROUP, *sorted(found, key=names.comparison_key)]

    def opened(self) -> list[PeopleGroup]:
        """The groups that are open, without the default."""
        with self._lock:
            return [each.group for each in self._opened.values()]

    def get(self, name: str | None = None) -> PeopleGroup:
        """A group; the default without a name.

        Raises
        ------
        GroupNotFound, StorageError
        """
        if name is None or name == names.DEFAULT_GROUP:
            return self.default
        name = names.normalise_group_lookup(name)
        if is_default(name):
            return self.default
        folder = self._folder(name)
        if folder is None:
            self._drop(name)
            raise GroupNotFound(f"there is no group {name!r}")
        opened = self._known(name, folder) or self._open(name, folder)
        if not opened.looked_at and not self._follows:  # else whoever follows the folder does so
            with opened.looking:
                if not opened.looked_at:
                    opened.group.enrolment.sync()
                    opened.looked_at = True
        return opened.group

    def _has_folder(self) -> bool:
        """Whether there is a folder of groups. One that may not be looked into is an error: its groups are not gone.

        Raises
        ------
        StorageError
        """
        with disk_errors("the folder of groups cannot be used"):
            return self.root is not None and self.root.is_dir()

    def _folder(self, name: str) -> Path | None:
        return None if self.root is None or not self._has_folder() else KnownFaces(self.root).subject_folder(name)

    def _known(self, name: str, folder: Path) -> OpenGroup | None:
        """A group that is open, if its folder is still the one that it was opened for."""
        found = self._identity(folder)
        with self._lock:
            if self._closed:
                raise Busy("the server is shutting down")
            opened = self._opened.get(name)
            return opened if opened is not None and opened.id == (None if found is None else found.id) else None

    def require_current(self, name: str, enrolment: Enrolment) -> None:
        """Called under the write lock: whoever waited for it may have an enrolment of a group that was deleted meanwhile.

        Raises
        ------
        GroupNotFound, StorageError
        Busy
            Another group has the name by now.
        """
        folder = self._folder(name)
        if folder is None:
            raise GroupNotFound(f"there is no group {name!r} any longer")
        known = self._known(name, folder)
        if known is None or known.group.enrolment is not enrolment:
            raise Busy(f"the group {name!r} was made anew meanwhile; try again")

    def _open(self, name: str, folder: Path) -> OpenGroup:
        """Open a group with what the cache knows of it."""
        with self._changing() as may_write, self._lock:  # in this order, as everywhere
            known = self._known(name, folder)
            if known is not None:
                return known
            self._drop(name)
            if not folder.is_dir():  # deleted while this waited for the lock; it must not come back
                raise GroupNotFound(f"there is no group {name!r}")
            group = self._make(name, folder, self._state / folder.name)
            try:
                if may_write:
                    if self._follows:
                        group.enrolment.folder.sweep()
                    group.enrolment.catch_up()
                    group.finish_changes()
            except BaseException:
                group.enrolment.close()
                raise
            found = self._identity(folder)
            opened = self._opened[name] = OpenGroup(group, None if found is None else found.id)
            return opened

    @contextmanager
    def _changing(self) -> Iterator[bool]:
        """The lock of every write, where the disk allows it; whether it is held."""
        with ExitStack() as held:
            try:
                held.enter_context(self._changes.hold())
                may_write = True
            except StorageError:  # groups can be read all the same
                may_write = False
            yield may_write

    # -- identities ---------------------------------------------------------------------------------------------

    def identity(self, name: str) -> Identity:
        """The id of a group, which outlives a restart, with what clients stored about it; made where there is none.

        Raises
        ------
        GroupNotFound, StorageError
        """
        group = self.get(name)
        found = self._identity_of(group)
        return self._set_identity(group, lambda held: held or Identity.new()) if found is None else found

    def known_identity(self, name: str) -> Identity | None:
        """The id of a group, if it has one already.

        Raises
        ------
        GroupNotFound, StorageError
        """
        return self._identity_of(self.get(name))

    def _identity_of(self, group: PeopleGroup) -> Identity | None:
        return self._identity(group.enrolment.folder.root)

    def update(self, name: str, change: Callable[[Identity], Identity]) -> Identity:
        """Change what is stored about a group, while no other process does.

        Raises
        ------
        GroupNotFound, StorageError
        """
        return self._set_identity(self.get(name), lambda held: change(held or Identity.new()))

    def set_data(self, name: str, **data: Any) -> Identity:
        """Store what clients of other services keep about a group, by the name of the dialect; None removes it.

        Raises
        ------
        GroupNotFound, StorageError
        """
        return self._set_identity(self.get(name), lambda held: (held or Identity.new()).with_data(**data))

    def _set_identity(self, group: PeopleGroup, change: Callable[[Identity | None], Identity]) -> Identity:
        folder = group.enrolment.folder.root
        with self._changes.hold():
            if not group.is_default:
                self.require_current(group.name, group.enrolment)
            held = change(self._identity(folder))
            write_identity(folder / identity.GROUP_FILE, held, self._vault, identity.GROUP)
        with self._lock:  # it is the same group as before
            opened = self._opened.get(group.name)
            if opened is not None and opened.group is group:
                opened.id = held.id
        return held

    def _identity(self, folder: Path) -> Identity | None:
        file = folder / identity.GROUP_FILE
        try:
            stamp = FileStamp.of(file.lstat())
        except OSError:
            return None
        with self._lock:
            known = self._identities.get(folder.name)
            if known is None or known[0] != stamp:
                known = stamp, read_identity(file, self._vault, identity.GROUP)
                self._identities[folder.name] = known
            return known[1]

    # -- changes ------------------------------------------------------------------------------------------------

    def add(self, name: str, **data: Any) -> PeopleGroup:
        """Make a group; its folder is on the disk on return.

        Parameters
        ----------
        **data
            See `set_data`.

        Raises
        ------
        InvalidGroup, GroupTaken, StorageError
        """
        name = allowed_name(name)
        assert self.root is not None, "groups have folders"
        taken = GroupTaken(f"there is a group {name!r} already", group=name)
        with self._changes.hold():
            if self._folder(name) is not None:
                raise taken
            self._erase_state(name)  # of a group whose folder somebody deleted
            try:
                folder = KnownFaces(self.root).make_folder(name)
            except NameTaken as error:
                raise GroupTaken(error.message.replace("is enrolled", "is a group"), **error.details) from None
            try:
                write_identity(folder / identity.GROUP_FILE, Identity.new(data), self._vault, identity.GROUP)
                self._audit.append("group_add", group=name)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        return self.get(name)

    def delete(self, name: str) -> dict[str, Any]:
        """Erase everybody in a group, check what is left of them, and delete the group.

        Raises
        ------
        GroupNotFound, StorageError
            Of somebody something is left: the group stays, and can be deleted again.
        GroupFixed
            The default group cannot be deleted.
        """
        group = self.get(name)
        if group.is_default:
            raise GroupFixed("the default group is known_faces and cannot be deleted; its people can")
        photos = 0
        with self._changes.hold():
            self.require_current(group.name, group.enrolment)
            group.enrolment.catch_up()
            people = [person.name for person in group.subjects.all()]
            binned = [] if group.subjects.bin is None else [item.subject for item in group.subjects.bin.all()]
            for person in people:
                photos += group.erasures.erase(person)["photos"]
            for person in sorted(set(binned) - set(people)):
                group.erasures.erase(person)
            group.finish_changes()
            if group.erasures.pending:
                raise StorageError("an earlier erasure in this group is not finished yet; try again later")
            self._remove(group)
        return {"deleted": group.name, "people": len(people), "photos": photos}

    def _remove(self, group: PeopleGroup) -> None:
        """Remove a group in which nobody is left. Called under the write lock."""
        folder = group.enrolment.folder.root
        self._drop(group.name)
        self._audit.append("group_delete", group=group.name)
        KnownFaces(folder.parent).remove_subject(folder.name)
        self._erase_state(folder.name)

    def _erase_state(self, name: str) -> None:
        """Erase what is kept about a group beside its folder. Called under the write lock."""
        folder = self._state / name
        with self._lock:
            self._identities.pop(name, None)
        with disk_errors("what is kept about a group cannot be erased"):
            if folder.is_dir():
                shutil.rmtree(folder)

    def _drop(self, name: str) -> None:
        """Close a group that is gone, or that another one has taken the place of."""
        with self._lock:
            opened = self._opened.pop(name, None)
        if opened is not None:
            opened.group.enrolment.interrupt()
            opened.group.enrolment.close()

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, progress: EncodingReporter | None = None) -> None:
        """Open every group, as a server does; from then on, a `GroupFollower` takes up what changes in the folders."""
        self._follows = True
        self.erase_orphans()
        for group in self._each():
            group.enrolment.sync(progress=progress)
            group.enrolment.tidy()
            group.finish_changes()

    def _each(self) -> Iterator[PeopleGroup]:
        for name in self.names()[1:]:
            try:
                yield self.get(name)
            except GroupNotFound:  # deleted a moment ago
                continue

    def follow(self) -> None:
        """Open groups that are new, and close those whose folders are gone."""
        there = {name for name in self.names() if name != names.DEFAULT_GROUP}
        for group in self.opened():
            if group.name not in there:
                self._drop(group.name)
        for name in sorted(there):
            with suppress(GroupNotFound):
                self.get(name)
        self.erase_orphans()

    def erase_orphans(self) -> None:
        """Erase what is kept about groups whose folders are gone: encodings are templates of people's faces."""
        if not self._has_folder() or not self._state.is_dir():
            return
        there = set(self.names())
        gone = [each.name for each in self._state.iterdir() if each.is_dir() and _written(each.name) not in there]
        if gone:
            with self._changes.hold():
                for name in gone:
                    if self._folder(name) is None:
                        self._drop(name)
                        self._erase_state(name)

    def finish(self) -> int:
        """Continue the erasures and renamings of all groups; returns how many were finished.

        Raises
        ------
        Busy, StorageError
            Those of a group cannot be finished for now; those of the others are.
        """
        finished = 0
        failure: RecognizerError | None = None
        for group in (self.default, *self.opened()):
            try:
                finished += group.erasures.finish()
            except RecognizerError as error:
                failure = error
        if failure is not None:
            raise failure
        return finished

    @property
    def pending(self) -> int:
        """How many erasures and renamings are not finished."""
        return self.default.erasures.pending + sum(group.erasures.pending for group in self.opened())

    def interrupt(self) -> None:
        """End the `sync` of every group; the process is about to end."""
        for group in (self.default, *self.opened()):
            group.enrolment.interrupt()

    def close(self) -> None:
        """Close every group but the default."""
        with self._lock:
            self._closed = True
        for group in self.opened():
            self._drop(group.name)

    # -- retention: people of all groups, by the group and the name ---------------------------------------------

    def expired(self, now: float | None = None) -> dict[str, float]:
        """The people whose consent has expired, and since when; those of a group as ``<group>/<name>``."""
        found = self.default.enrolment.expired(now)
        for group in self.opened():
            found |= {f"{group.name}{SEPARATOR}{name}": since for name, since in group.enrolment.expired(now).items()}
        return found

    def erase(self, name: str) -> dict[str, Any]:
        """Erase somebody whom `expired` named.

        Raises
        ------
        SubjectNotFound, GroupNotFound, StorageError
        """
        group, separator, person = name.rpartition(SEPARATOR)
        return self.get(group if separator else None).subjects.delete(person)


def allowed_name(name: str) -> str:
    """A name for a new group, as it is written.

    Raises
    ------
    InvalidGroup
    GroupTaken
        It is the default group's.
    """
    name = names.normalise_group(name)
    if len(name) > MAX_NAME:
        raise InvalidGroup(f"group: expected a name of at most {MAX_NAME} characters, got {len(name)}")
    if is_default(name):
        raise GroupTaken(f"there is a group {name!r} already", group=name)
    return name


def _written(folder: str) -> str | None:
    """The name of the group that a folder is for; None where no group can have it."""
    with suppress(InvalidName):
        return names.normalise(folder)
    return None


def is_default(name: str) -> bool:
    """Whether a name is the default group's, or cannot be told from it."""
    return names.comparison_key(name) == names.DEFAULT_GROUP
