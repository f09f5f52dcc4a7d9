"""Files of the folder that are stored in another form: encrypted in place, or replaced by their templates.

A file that may still be being written is converted later.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from recognizer.core import names
from recognizer.core.errors import StorageError
from recognizer.core.files import open_regular, replace_erasing
from recognizer.core.vault import OVERHEAD, Vault, is_sealed
from recognizer.enrolment.encodings import FileStamp
from recognizer.enrolment.entries import EnrolmentState, Entry
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.folder import PHOTO
from recognizer.enrolment.folder_look import PhotoFile, Problem
from recognizer.enrolment.photo_marks import marks
from recognizer.enrolment.template_file import EXTENSION, written

log = logging.getLogger("recognizer.enrolment")

#: Larger files are encrypted in pieces, so that a video that is dropped into the folder does not fill the memory.
WHOLE = 4_000_000


class Conversion:
    """Converts files, and knows which are still to be converted.

    Parameters
    ----------
    state : EnrolmentState
    """

    def __init__(self, state: EnrolmentState):
        self._folder, self._cache, self._table, self._writing = state.folder, state.cache, state.table, state.writing
        self._due: set[str] = set()
        self._failed: dict[str, Problem] = {}  # those of them that failed

    @property
    def due(self) -> set[str]:
        """Paths of the files that are still to be converted, with those that failed."""
        return self._due

    @property
    def waits(self) -> bool:
        """Whether files are to be converted that did not fail."""
        return bool(self._due - set(self._failed))

    @property
    def failure_count(self) -> int:
        """The number of `failures`; needs no lock."""
        return len(self._failed)

    def failures(self) -> list[Problem]:
        """Files that could not be converted."""
        return list(self._failed.values())

    def forget_gone(self, folders: Collection[str], there: Collection[str]) -> None:
        """Forget the files of these folders but those that are still there."""
        self._due = {path for path in self._due if path in there or path.partition("/")[0] not in folders}
        self._failed = {path: why for path, why in self._failed.items() if path in self._due}

    def encrypt(self, photo: PhotoFile, settled: bool) -> PhotoFile:
        """Encrypt a plain file in place, unless it may still be being written; returns the file as it is then."""
        vault = self._folder.vault
        if vault is None:
            return photo
        path = self._folder.file(photo.path)
        try:
            with open_regular(path) as file:
                status = os.fstat(file.fileno())
                if not status.st_size or is_sealed(file.read(OVERHEAD)):
                    self._done(photo.path)
                elif settled and FileStamp.of(status) == photo.stamp:
                    file.seek(0)
                    done = self._encrypt_file(vault, path, file, status)
                    if done is not None:
                        self._done(photo.path)
                        return PhotoFile(photo.subject, photo.path, FileStamp.of(done))
                    self._due.add(photo.path)
                else:
                    self._due.add(photo.path)
        except FileNotFoundError:
            pass  # deleted meanwhile
        except OSError as error:
            self._fail(photo.path, f"not encrypted: {(error.strerror or '').lower()}")
        return photo

    def _encrypt_file(self, vault: Vault, path: Path, file: BinaryIO, status: os.stat_result) -> os.stat_result | None:
        """Replace a plain file by its encrypted form; its new status, None if it has changed meanwhile."""
        if status.st_size > WHOLE:  # this takes a while, and nothing else has to wait for it
            return replace_erasing(path, vault.sealed_pieces(file.read, PHOTO), expected=status)
        data = vault.seal(file.read(), PHOTO)
        with self._table.lock:
            return replace_erasing(path, data, expected=status)

    def replace_by_template(self, path: str, settled: bool) -> None:
        """Put a template in the place of a photo that enrols somebody, unless it may still be being written."""
        with self._writing.locked() as writable:
            entry = self._table.get(path)
            if not writable or entry is None or entry.encoding.vector is None or path.endswith("." + EXTENSION):
                return
            if not settled:
                self._due.add(path)
                return
            try:
                new = self._folder.replace_with(
                    path, entry.stamp, EXTENSION, written(entry.encoding), marks(entry.encoding.face)
                )
            except StorageError as error:
                self._fail(path, f"not replaced by its template: {error.message}")
                return
            stamp = self._folder.stamp(new) if new else None
            if new is None or stamp is None:
                self._due.add(path)  # it is another file by now
                return
            self._done(path)
            self._table.forget(path)
            self._table.forget(new)
            self._table.record(Entry(entry.subject, new, stamp, entry.photo, entry.encoding))
            self._table.pack(entry.subject)
            self._cache.forget_files([path])
            self._cache.remember_files([(new, stamp, entry.photo)])
            self._cache.forget_thumbnail(thumbnail_key(entry.photo, entry.encoding.face))

    def _done(self, path: str) -> None:
        self._due.discard(path)
        self._failed.pop(path, None)

    def _fail(self, path: str, why: str) -> None:
        """Report the file as a problem; the next regular sync tries again."""
        if path not in self._failed:
            log.warning("a file of the folder stays as it is: %s", why)
        self._due.add(path)
        self._failed[path] = Problem(names.normalise(path.partition("/")[0]), path, "not_converted", why)
