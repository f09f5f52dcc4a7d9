"""Erases and renames subjects in all holdings, and finishes later what could not be done at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from recognizer.core import audit as audit_log
from recognizer.core.audit import AuditLog, new_id
from recognizer.core.errors import RecognizerError, StorageError, SubjectNotFound
from recognizer.core.holdings import Erasure, Holdings, Whose
from recognizer.core.lock import WriteLock
from recognizer.core.unfinished import Unfinished, UnfinishedWork
from recognizer.enrolment.bin_store import BinStore
from recognizer.enrolment.enrolment import Enrolment

log = logging.getLogger("recognizer.erasures")


class Erasures:
    """Walks the holdings. Any thread may call.

    Before anything is erased, a note of the work is stored; it is removed when nothing is left. `finish` continues with all
    notes: those of this process, of one that was killed, and of another server on the same folder.

    Parameters
    ----------
    holdings : Holdings
    enrolment : Enrolment
        Knows which photos and templates a subject has.
    audit : AuditLog
    unfinished : Unfinished
    changes : WriteLock
    bin : BinStore, optional
        Has photos and templates of what somebody deleted and can restore.
    """

    def __init__(
        self,
        holdings: Holdings,
        enrolment: Enrolment,
        audit: AuditLog,
        unfinished: Unfinished,
        changes: WriteLock,
        bin: BinStore | None = None,
    ):
        self.holdings, self._bin = holdings, bin
        self._enrolment, self._audit, self._unfinished, self._changes = enrolment, audit, unfinished, changes
        enrolment.report_renamed(self._follow_folder)

    @property
    def pending(self) -> int:
        """How many erasures and renamings are not finished."""
        return self._unfinished.count()

    def whose(self, name: str) -> Whose:
        """The data of a subject as it is stored now; without photos if none are known."""
        try:
            entries = self._enrolment.entries(name)
        except SubjectNotFound:
            entries = []
        binned = [] if self._bin is None else self._bin.of(name)
        vectors = [each.encoding.vector for each in entries if each.encoding.vector is not None]
        for item in binned:  # those of an engine that is not used any more tell nothing
            vectors += [each for each in item.templates if each.shape == (self._enrolment.options.engine.info.dim,)]
        photos = [each.photo for each in entries if each.photo] + [photo for item in binned for photo in item.photos]
        unique = tuple(dict.fromkeys(photos))
        return Whose(name, unique, np.array(vectors) if vectors else np.empty((0, 0), np.float32))

    def erase(self, name: str) -> dict:
        """Erase a subject everywhere, check what is left, and report it.

        Raises
        ------
        SubjectNotFound
        StorageError
            The photos cannot be removed: then nothing was erased. Or something else is left, see the details: then `finish`
            completes the erasure as soon as that is possible.
        """
        with self._changes.hold():
            self._finish_about(name)
            whose = self.whose(name)
            if not self.holdings.anything(whose):
                raise SubjectNotFound(f"nobody called {name!r} is enrolled")
            work = self._unfinished.begin(whose, about=self._about(name))
            try:
                next(iter(self.holdings)).erase(whose)
            except BaseException:  # while the photos exist, nothing is erased
                self._unfinished.end(work)
                raise
            outcome = self._erase(work)
        if not outcome.complete:
            raise StorageError(
                f"not everything about {name!r} could be erased{_why(outcome)}; the rest is erased as soon as that is possible",
                left=outcome.left,
                failed=outcome.failed,
            )
        return {"deleted": name, "photos": len(whose.photos), "left": outcome.left}

    def _about(self, name: str) -> str:
        try:
            return self._audit.known_id(name)
        except StorageError:  # reported by the holding of the names
            return new_id()

    def _erase(self, work: UnfinishedWork) -> Erasure:
        outcome = self.holdings.erase(work.whose)
        try:
            if not work.recorded:
                unfinished = {} if outcome.complete else {"unfinished": _unfinished(outcome)}
                self._audit.append_about(work.about, "delete", **unfinished)
                work = replace(work, recorded=True)
            elif outcome.complete:
                self._audit.append_about(work.about, "delete_finished")
        except RecognizerError as error:
            outcome.failed["audit log"] = error.message
        if outcome.complete:
            self._unfinished.end(work)
        else:
            self._unfinished.note(work)
            log.warning("an erasure is not finished yet: %s", ", ".join(_unfinished(outcome)))
        return outcome

    @contextmanager
    def renaming(self, old: str, new: str) -> Iterator[None]:
        """Within the block, a subject is renamed in known_faces and in the audit log; after it, in all holdings.

        What fails in the holdings is finished later. If the block raises, nothing is renamed. If the process ends within the
        block, `finish` completes what known_faces shows to have happened.
        """
        with self._changes.hold():
            work = self._unfinished.begin(Whose(old), new_name=new)
            try:
                yield
            except BaseException:
                self._unfinished.end(work)
                raise
            self._rename(replace(work, recorded=True))

    @contextmanager
    def erasing_last_photo(self, name: str, photo: str) -> Iterator[None]:
        """Within the block, the last photo of a subject is erased, and with it the subject's name in the audit log.

        If the process ends within the block, `finish` completes it.
        """
        with self._changes.hold():
            work = self._unfinished.begin(Whose(name, (photo,)), only_photos=True)
            try:
                yield
            finally:
                self._unfinished.end(work)

    def _follow_folder(self, old: str, new: str) -> None:
        """Rename somebody whose folder was renamed by hand in everything else that stores the name.

        Raises
        ------
        StorageError, Busy
        """
        with self._changes.hold():
            _, *others = self.holdings  # the photos have the new name
            if not Holdings(others).anything(Whose(old)):  # renamed by another process, which has done it
                return
            log.info("a folder of known_faces was renamed: what is stored about the person follows")
            with audit_log.acting("folder"):
                self._rename(self._unfinished.begin(Whose(old), new_name=new))

    def _rename(self, work: UnfinishedWork) -> bool:
        assert work.new_name is not None
        old, new = work.whose.name, work.new_name
        if not work.recorded:
            if self._enrolment.has_folder_named(old):  # the process ended before it renamed anything
                self._unfinished.end(work)
                return True
            known = self._audit.names().values()
            if old in known:
                self._audit.rename(old, new, merge=new in known)
        failed = self.holdings.rename(old, new)
        if failed:
            log.warning("a renaming is not finished yet: %s", ", ".join(failed))
            self._unfinished.note(replace(work, recorded=True))
        else:
            self._unfinished.end(work)
        return not failed

    def _erase_last_photo(self, work: UnfinishedWork) -> bool:
        name = work.whose.name
        if self._enrolment.remove_folder_without_files(name) and name in self._audit.names().values():
            self._audit.erase_photo(name, last=True)
        self._unfinished.end(work)
        return True

    def finish(self) -> int:
        """Continue everything that is not finished; returns how much was finished. A failure does not stop the rest."""
        finished = 0
        if not self.pending:
            return finished
        with self._changes.hold():
            for work in self._unfinished.all():
                finished += self._resume(work)
        return finished

    def require_finished(self, name: str) -> None:
        """Finish what is pending about a name before somebody is enrolled under it. Called under the write lock.

        Raises
        ------
        StorageError
        """
        if self.pending and not self._finish_about(name):
            raise StorageError(f"an earlier {name!r} is not completely erased or renamed yet; try again later")

    def _finish_about(self, name: str) -> bool:
        about = [each for each in self._unfinished.all() if name in (each.whose.name, each.new_name)]
        return not [work for work in about if not self._resume(work)]

    def _resume(self, work: UnfinishedWork) -> bool:
        try:
            if work.only_photos:
                return self._erase_last_photo(work)
            return self._erase(work).complete if work.new_name is None else self._rename(work)
        except RecognizerError as error:
            log.warning("a change that was begun could not be finished: %s", error.message)
            return False


def _why(outcome: Erasure) -> str:
    if outcome.left.get("receivers"):
        return ": the MQTT broker retains the name until the server is connected to it"
    return ""


def _unfinished(outcome: Erasure) -> list[str]:
    return sorted({*outcome.failed, *(place for place, count in outcome.left.items() if count)})
