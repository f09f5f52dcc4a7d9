"""Ids of people by which other services' clients know them, stored where their photos are; see `core.identity`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from recognizer.core.errors import SubjectNotFound
from recognizer.core.identity import Identity
from recognizer.enrolment.encodings import FileStamp
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.shared_enrolment import SharedEnrolment


class Identities:
    """The ids of the people in one folder. The files are the truth; what was read of them is remembered. Any thread may call.

    Parameters
    ----------
    folder : KnownFaces
    hold_lock : callable
        Returns the lock of every write.
    """

    def __init__(self, folder: KnownFaces, hold_lock: Callable[[], AbstractContextManager[Any]]):
        self._folder, self._hold_lock = folder, hold_lock
        self._read: dict[str, tuple[FileStamp, Identity]] = {}
        self._names: dict[str, str] = {}  # by id; what is here is checked before it is used
        self._lock = threading.Lock()

    def known(self, name: str) -> Identity | None:
        """The id of a subject, if it has one already.

        Raises
        ------
        StorageError, SealBroken, KeyMissing
        """
        stamp = self._folder.identity_stamp(name)
        with self._lock:
            held = self._read.get(name)
            if held is not None and held[0] == stamp:
                return held[1]
        found = None if stamp is None else self._folder.identity(name)
        if found is not None and self._is_copy(name, found):
            found = None
        with self._lock:
            old = self._read.pop(name, None)
            if old is not None and self._names.get(old[1].id) == name:
                del self._names[old[1].id]
            if stamp is not None and found is not None:
                self._read[name] = stamp, found
                self._names[found.id] = name
        return found

    def _is_copy(self, name: str, found: Identity) -> bool:
        """Whether somebody else has this id: a folder that was copied by hand is another person's."""
        with self._lock:
            other = self._names.get(found.id)
        if other is None or other == name:
            return False
        held = self._folder.identity(other)
        return held is not None and held.id == found.id

    def of(self, name: str) -> Identity:
        """The id of a subject, with what clients stored about it; made where there is none. It outlives renaming.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        return self.known(name) or self._change(name, lambda held: held or Identity.new())

    def set_data(self, name: str, **data: Any) -> Identity:
        """Store what clients of other services keep about a subject, by the name of the dialect; None removes it.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        return self._change(name, lambda held: (held or Identity.new()).with_data(**data))

    def update(self, name: str, change: Callable[[Identity], Identity]) -> Identity:
        """Change what is stored about a subject, while no other process does.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        return self._change(name, lambda held: change(held or Identity.new()))

    def _change(self, name: str, change: Callable[[Identity | None], Identity]) -> Identity:
        with self._hold_lock():
            held = self.known(name)
            changed = change(held)
            if changed != held:
                self._folder.set_identity(name, changed)
                self.known(name)
        return changed

    def name_of(self, id_: str) -> str:
        """The name of the subject with an id.

        Raises
        ------
        SubjectNotFound
        """
        with self._lock:
            name = self._names.get(id_)
        if name is not None:
            found = self.known(name)
            if found is not None and found.id == id_:
                return name
        for each in self._folder.names():  # enrolled or renamed by another process, or not read yet
            found = self.known(each)
            if found is not None and found.id == id_:
                return each
        raise SubjectNotFound("nobody with that id is enrolled")


class SharedIdentities(Identities):
    """The ids of the people of a group in a database that nodes share. Nothing is remembered: other nodes change them too.

    Parameters
    ----------
    enrolment : SharedEnrolment
    hold_lock : callable
        Returns the lock of every write.
    """

    def __init__(self, enrolment: SharedEnrolment, hold_lock: Callable[[], AbstractContextManager[Any]]):
        self._enrolment, self._hold_lock = enrolment, hold_lock

    def known(self, name: str) -> Identity | None:
        return self._enrolment.identity(name)

    def _change(self, name: str, change: Callable[[Identity | None], Identity]) -> Identity:
        with self._hold_lock():
            held = self.known(name)
            changed = change(held)
            if changed != held:
                self._enrolment.set_identity(name, changed)
        return changed

    def name_of(self, id_: str) -> str:
        name = self._enrolment.name_of(id_)
        if name is None:
            raise SubjectNotFound("nobody with that id is enrolled")
        return name
