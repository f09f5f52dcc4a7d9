"""Keeps known_faces/ and the gallery in step: what is in the folder is enrolled, and nothing else is.

The order of every change is folder, cache, gallery, and only then the reply. An interrupted change is completed by the
next sync.

The jobs are in modules of their own: `entries` (which file holds which photo, and the gallery), `folder_sync` (following the
folder and other processes), `photo_encoding`, `conversion` (encrypting files, replacing photos by templates), `consents` and
`changes` (enrol, rename, erase). The queries are here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from recognizer.core.consent import Consent
from recognizer.core.identity import Identity
from recognizer.core.particulars import Particulars
from recognizer.core.vault import Vault
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.cache_writing import CacheWriting
from recognizer.enrolment.changes import EnrolmentChanges
from recognizer.enrolment.consents import Consents
from recognizer.enrolment.conversion import Conversion
from recognizer.enrolment.duplicates import DISTANCE_SHARE
from recognizer.enrolment.entries import EnrolmentState, Entry, EntryTable
from recognizer.enrolment.examination import EncodingOptions, Examined
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.folder_look import Problem
from recognizer.enrolment.folder_sync import FolderSync
from recognizer.enrolment.particulars_files import ParticularsFiles
from recognizer.enrolment.photo_encoding import EncodingProgress, EncodingReporter, PhotoEncoder
from recognizer.enrolment.renamed_folders import RenameReporter
from recognizer.galleries.contract import Gallery


class Enrolment:
    """The enrolled people of one folder. Safe from any thread.

    Parameters
    ----------
    folder : KnownFaces
        The photos, which are the truth.
    cache : EncodingsCache
        What an engine made of each photo, so that none is encoded twice.
    gallery : Gallery
        The templates that searches see. Empty at first: `sync` fills it.
    options : EncodingOptions
    keep_photos : bool
        If false, a photo is replaced by its template once it enrols somebody.
    hold_lock : callable
        Returns the lock of every write, over all processes; callers of the public methods that change something already hold
        it.
    """

    def __init__(
        self,
        folder: KnownFaces,
        cache: EncodingsCache,
        gallery: Gallery,
        options: EncodingOptions,
        keep_photos: bool = True,
        hold_lock: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ):
        self.folder, self.cache, self.gallery, self.options = folder, cache, gallery, options
        self._table = EntryTable(folder, cache, gallery, DISTANCE_SHARE * options.engine.info.calibration.threshold)
        writing = CacheWriting(hold_lock, self._table.lock)
        state = EnrolmentState(folder, cache, self._table, writing)
        self._consents = Consents(state)
        self._particulars = ParticularsFiles(folder)
        self._conversion = Conversion(state)
        self._encoder = PhotoEncoder(state, options, keep_photos)
        self._sync = FolderSync(state, self._consents, self._conversion, self._encoder, keep_photos)
        self._changes = EnrolmentChanges(state, self._consents, keep_photos)

    @property
    def revision(self) -> int:
        """Increases with every change of the gallery."""
        return self._table.revision

    # -- what is stored, for others -----------------------------------------------------------------------------

    @property
    def vault(self) -> Vault | None:
        """Encrypts the stored data; None if it is stored in plain form."""
        return self.folder.vault

    def read(self, path: str, max_bytes: int) -> bytes:
        """The photo, or the template in its place, at the path of an entry.

        Raises
        ------
        OSError, ImageTooLarge, SealBroken, KeyMissing
        """
        return self.folder.read(path, max_bytes)

    def thumbnail(self, photo: str) -> bytes | None:
        """The stored JPEG of the face on a photo, if there is one."""
        return self.cache.thumbnail(photo)

    def make_folder(self, name: str) -> None:
        """Make a subject without photos.

        Raises
        ------
        NameTaken, StorageError
        """
        self.folder.make_folder(name)

    def folder_names(self) -> list[str]:
        """The names of all subjects, also of those without photos."""
        return self.folder.names()

    def has_files(self, subject: str) -> bool:
        """Whether a subject has any photo, read or not."""
        return bool(self.folder.files_of(subject))

    def is_unsorted(self, name: str) -> bool:
        """Whether a picture of this name lies in the folder itself."""
        return self.folder.is_unsorted(name)

    def sweep(self, subject: str | None = None) -> None:
        """Remove what interrupted writes left, everywhere or of one subject; see `KnownFaces.sweep`."""
        self.folder.sweep(subject)

    def sweep_left_over(self) -> None:
        """The same after `sync`, only where it saw anything."""
        self.folder.sweep(folders=self._sync.left_over)

    def folders_of(self, subject: str) -> int:
        """See `KnownFaces.folders_of`."""
        return self.folder.folders_of(subject)

    def left_over(self) -> int:
        """See `KnownFaces.left_over`."""
        return self.folder.left_over()

    def is_free(self, name: str) -> bool:
        """Whether nobody has a name or one that readers cannot tell from it."""
        return self.folder.subject_folder(name) is None and self.folder.clash(name) is None

    def has_folder_named(self, subject: str) -> bool:
        """See `KnownFaces.has_folder_named`."""
        return self.folder.has_folder_named(subject)

    def remove_folder_without_files(self, subject: str) -> bool:
        """See `KnownFaces.remove_folder_without_files`."""
        return self.folder.remove_folder_without_files(subject)

    def identity(self, subject: str) -> Identity | None:
        """The id by which other services' clients know a subject, if it has one."""
        return self.folder.identity(subject)

    @property
    def place(self) -> str:
        """Where people are stored, for messages."""
        return os.fspath(self.folder.root)

    def unreadable(self) -> str | None:
        """Why the stored photos cannot be read; None if they can be."""
        return None if os.access(self.folder.root, os.R_OK | os.X_OK) else "known_faces cannot be read"

    def close(self) -> None:
        """Close the files."""
        self.cache.close()

    # -- the folder as it is ------------------------------------------------------------------------------------

    def sync(
        self,
        *,
        settle: bool = False,
        progress: EncodingReporter | None = None,
        changed: Collection[str] | None = None,
        trusting: bool = False,
    ) -> bool:
        """Update the gallery to match the folder.

        A folder of a subject is read if its modification time changed. Files that are written anew in place do not change it:
        of those, some thousands are looked at in each call, in turn.

        Parameters
        ----------
        settle : bool
            Skip files that may still be being written.
        progress : callable, optional
            Called with ``(done, total)`` of the photos to be encoded.
        changed : collection of str, optional
            Names in the folder of known faces below which something changed; only these are looked at.
        trusting : bool
            At the first call, take the files of folders that have not changed for what the cache knows of them; later calls
            look at each of them once. For those who call it again soon.

        Returns
        -------
        bool
            Whether some files were skipped, so that another sync is due soon.

        Raises
        ------
        StorageError
        Busy
            It was interrupted, see `interrupt`, or another process holds the lock of every write.
        """
        return self._sync.sync(settle, progress, changed, trusting)

    @property
    def look_seconds(self) -> float:
        """Seconds of processor time that the last look at the whole folder took, without reading and encoding photos."""
        return self._sync.look_seconds

    def interrupt(self) -> None:
        """End the `sync` that runs, within a few photos, and refuse later ones: the process is about to end."""
        self._encoder.interrupt()

    @property
    def encoding(self) -> EncodingProgress | None:
        """How many photos are encoded; None while none are being encoded."""
        return self._encoder.progress

    def catch_up(self, *subjects: str) -> bool:
        """Learn what other processes changed, without encoding anything; call it while holding the lock of every write.

        Whatever another process enrolled, renamed or erased is in the folder and in the cache before that process releases
        the lock. Photos that no process has encoded are left to `sync`.

        Parameters
        ----------
        subjects : str
            Compare their folders with what is known also if no other process changed anything: people change them as well.

        Returns
        -------
        bool
            Whether there was something to learn.
        """
        return self._sync.catch_up(*subjects)

    def others_changed(self) -> bool:
        """Whether another process changed the cache since `sync` or `catch_up` last learned what is in it."""
        return self._sync.others_changed()

    def report_renamed(self, reporter: RenameReporter) -> None:
        """Call `reporter` with the old and the new name of everybody whose folder was renamed or moved into another by hand.

        It is called while the lock of every write is held, before anything about the old name is dropped here. If it raises,
        the same folder is reported again by the next `sync`.
        """
        self._sync.on_renamed = reporter

    def learn(self, subject: str) -> None:
        """Enrol those photos of a subject that another process has encoded."""
        self._sync.learn(subject)

    def tidy(self, later: bool = False) -> None:
        """Call after a complete `sync`: erase cache rows that no photo of the folder needs any longer.

        Parameters
        ----------
        later : bool
            Leave to the next `sync` what takes long where many are enrolled: looking for rows of which nothing tells that
            their photo is gone, and noting for the next start which folders have not changed.
        """
        self._sync.tidy(later)

    # -- consent ------------------------------------------------------------------------------------------------

    def consent(self, subject: str) -> Consent:
        """A subject's note and expiry, as of the last sync."""
        return self._consents.get(subject)

    def set_consent(self, subject: str, consent: Consent) -> None:
        """Store a subject's note and expiry; durable and in force on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        self._consents.set(subject, consent)

    def particulars(self, subject: str) -> Particulars:
        """What is stored about a subject besides photos."""
        return self._particulars.of(subject)

    def about_all(self, subjects: Collection[str]) -> dict[str, tuple[Consent, Particulars]]:
        """The consent of several subjects, and what is known about them besides photos; those without any may be missing."""
        return {name: (self.consent(name), self.particulars(name)) for name in subjects}

    def change_particulars(self, subject: str, change: Callable[[Particulars], Particulars]) -> Particulars:
        """Change what is stored about a subject; durable on return.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        return self._particulars.change(subject, change)

    def expired(self, now: float | None = None) -> dict[str, float]:
        """The subjects whose consent has expired, and since when."""
        return self._consents.expired(now)

    def next_expiry(self) -> float | None:
        """When somebody's consent expires next, in seconds since the epoch."""
        return self._consents.next_expiry()

    # -- changes ------------------------------------------------------------------------------------------------

    def add(
        self, subject: str, data: bytes, extension: str, examined: Examined, noted: Callable[[], object] = lambda: None
    ) -> tuple[Entry, bool]:
        """See `EnrolmentChanges.add`."""
        return self._changes.add(subject, data, extension, examined, noted)

    def mark_largest(self, subject: str | None = None) -> dict[str, str]:
        """See `EnrolmentChanges.mark_largest`."""
        return self._changes.mark_largest(subject)

    def remove_photo(self, subject: str, photo: str, noted: Callable[[bool], object] = lambda last: None) -> int:
        """See `EnrolmentChanges.remove_photo`."""
        return self._changes.remove_photo(subject, photo, noted)

    def remove_unsorted(self, name: str, noted: Callable[[], object] = lambda: None) -> None:
        """See `EnrolmentChanges.remove_unsorted`."""
        self._changes.remove_unsorted(name, noted)

    def remove_subject(self, subject: str) -> list[str]:
        """See `EnrolmentChanges.remove_subject`."""
        return self._changes.remove_subject(subject)

    def rename(self, old: str, new: str, merge: bool = False, noted: Callable[[], object] = lambda: None) -> None:
        """See `EnrolmentChanges.rename`."""
        self._changes.rename(old, new, merge, noted)

    # -- who there is -------------------------------------------------------------------------------------------

    def subjects(self) -> dict[str, list[Entry]]:
        """Everybody with a folder, by name, with what was read from it."""
        with self._table.lock:
            return self._table.entries_of(self._table.subjects())

    def names(self) -> list[str]:
        """Everybody with a folder from which something was read, in the order in which people are listed."""
        with self._table.lock:
            return self._table.subjects()

    def page(self, offset: int, limit: int | None, wanted: str) -> tuple[dict[str, list[Entry]], int]:
        """Part of `subjects`: those with `wanted` in their name, `limit` of them from `offset` on; and their total number."""
        found, search = self.names(), wanted.casefold()
        if search:
            found = [name for name in found if search in name.casefold()]
        chosen = found[offset:] if limit is None else found[offset : offset + limit]
        with self._table.lock:
            return self._table.entries_of(chosen), len(found)

    def is_enrolled(self, subject: str) -> bool:
        """Whether anything was read from a subject's folder."""
        return self._table.is_enrolled(subject)

    def has_folder(self, subject: str) -> bool:
        """Whether a subject has a folder on the disk."""
        return self.folder.subject_folder(subject) is not None

    def entries(self, subject: str) -> list[Entry]:
        """What was read from a subject's folder.

        Raises
        ------
        SubjectNotFound
        """
        with self._table.lock:
            return self._table.entries_of_somebody(subject)

    def is_forced(self, photo: str | None) -> bool:
        """Whether a photo is used although its face may not be comparable; never waits for a lock."""
        return self._table.is_forced(photo)

    def entries_so_far(self, subject: str) -> list[Entry]:
        """The same; empty if nothing was read yet."""
        with self._table.lock:
            return self._table.entries(subject)

    def original_of(self, subject: str, photo: str) -> str | None:
        """The photo of `subject` that is the same picture as this one and stands for both in the gallery; None if it does."""
        with self._table.lock:
            return self._table.original_of(subject, photo)

    def left_of(self, subject: str, photos: list[str]) -> dict[str, int]:
        """What is still stored about an erased subject, counted by place: all zero if the erasure is complete.

        Photos that another subject has too are not counted in the cache.
        """
        with self._table.lock:
            folder = self.folder.subject_folder(subject)
            files = 0 if folder is None else sum(len(files) for _, _, files in os.walk(folder))
            unshared = sorted(self._table.unused(set(photos)))
            return {
                "files": files,
                "templates": len(self.gallery.templates(subject)),
                "cache_rows": self.cache.rows_about(unshared),
            }

    def entry_of(self, photo: str) -> Entry | None:
        """The file that holds a usable photo, the first by path whoever's it is; None where there is none."""
        with self._table.lock:
            return self._table.entry_of(photo)

    @property
    def problem_count(self) -> int:
        """The number of `problems`. Unlike `problems` it never waits for a lock: health requests must not queue."""
        others = len(self._table.folder_problems) + len(self._consents.problems) + self._conversion.failure_count
        return others + self._table.unusable

    def problems(self) -> list[Problem]:
        """Everything in the folder that is not used, and why."""
        with self._table.lock:
            unusable = [
                Problem(entry.subject, entry.path, entry.encoding.problem, entry.encoding.message or "")
                for entry in self._table.unusable_entries()
                if entry.encoding.problem
            ]
            others = [*self._table.folder_problems, *self._consents.problems, *self._conversion.failures()]
            return sorted([*others, *unusable], key=lambda problem: problem.path)
