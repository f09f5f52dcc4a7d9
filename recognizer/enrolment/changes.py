"""Changes of the enrolment that somebody asked for. The order of each is folder, cache, gallery, and only then the reply."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from recognizer.core.errors import PhotoNotFound, SeveralFaces, StorageError, SubjectNotFound
from recognizer.enrolment.consents import Consents
from recognizer.enrolment.entries import EnrolmentState, Entry
from recognizer.enrolment.examination import Examined
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.photo_marks import marks
from recognizer.enrolment.template_file import EXTENSION, written


class EnrolmentChanges:
    """Enrols, renames and erases. Callers hold the lock of every write.

    Parameters
    ----------
    state : EnrolmentState
    consents : Consents
    keep_photos : bool
        If false, the template of a photo is stored in its place.
    """

    def __init__(self, state: EnrolmentState, consents: Consents, keep_photos: bool):
        self._folder, self._cache, self._table = state.folder, state.cache, state.table
        self._consents, self._keep_photos = consents, keep_photos

    def add(
        self, subject: str, data: bytes, extension: str, examined: Examined, noted: Callable[[], object] = lambda: None
    ) -> tuple[Entry, bool]:
        """Enrol an examined photo; durable on return. Returns the entry and whether it is new.

        Parameters
        ----------
        noted : callable
            Called when a new photo is stored. If it raises, the photo is removed again.

        Raises
        ------
        NameTaken, StorageError
        """
        encoding = examined.encoding
        with self._table.lock:
            for entry in self._table.entries(subject):
                if entry.photo == encoding.photo and entry.encoding.vector is not None:
                    if self._folder.stamp(entry.path) is not None:
                        return entry, False
            mark = marks(encoding.face)
            if not self._keep_photos:
                data, extension = written(encoding), EXTENSION
            path = self._folder.add(subject, encoding.photo + mark, extension, data)
            try:
                stamp = self._folder.stamp(path)
                if stamp is None:
                    raise StorageError("the photo was removed while it was being stored")
                picture = examined.thumbnail if self._keep_photos else None
                thumbnails = {} if picture is None else {thumbnail_key(encoding.photo, encoding.face): picture}
                self._cache.put([encoding], thumbnails, [(path, stamp, encoding.photo)])
                noted()
            except BaseException:
                self._folder.remove_files([path])
                with suppress(StorageError):  # then the next start erases it
                    self._table.erase_rows([path], {encoding.photo})
                raise
            entry = Entry(subject, path, stamp, encoding.photo, encoding)
            self._table.enrol_entry(entry)
            return entry, True

    def mark_largest(self, subject: str | None = None) -> dict[str, str]:
        """Rename the photos that show several people, of a subject or of everybody, so that each enrols its largest face.

        They are enrolled by the next `sync`.

        Returns
        -------
        dict of str
            The new path of each, by the old one.

        Raises
        ------
        StorageError
        """
        with self._table.lock:
            unused = [entry for entry in self._table.unusable_entries() if entry.encoding.problem == SeveralFaces.code]
            chosen = [entry for entry in unused if subject is None or entry.subject == subject]
            return {entry.path: self._folder.mark_largest(entry.path) for entry in sorted(chosen, key=lambda each: each.path)}

    def remove_photo(self, subject: str, photo: str, noted: Callable[[bool], object] = lambda last: None) -> int:
        """Erase a photo of a subject; how many files held it.

        Parameters
        ----------
        noted : callable
            Called before the files are deleted, with whether the subject has no other photo. If it raises, they stay.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, StorageError
        """
        with self._table.lock:
            everything = self._table.entries_of_somebody(subject)
            entries = [entry for entry in everything if entry.photo == photo]
            if not entries:
                raise PhotoNotFound(f"{subject!r} has no photo {photo!r}")
            paths = [entry.path for entry in entries]
            last = len(entries) == len(everything)
            try:
                with self._folder.files_set_aside(paths):
                    self._table.drop(entries)
                    noted(last)
            except BaseException:
                self._table.take_back(entries)
                raise
            return len(entries)

    def remove_unsorted(self, name: str, noted: Callable[[], object] = lambda: None) -> None:
        """Erase a file that lies in the folder itself; if `noted` raises, it stays.

        Raises
        ------
        PhotoNotFound, StorageError
        """
        with self._table.lock:
            if not self._folder.is_unsorted(name):
                raise PhotoNotFound(f"no file {name!r} lies in known_faces itself")
            with self._folder.files_set_aside([name]):
                noted()
            problems = self._table.folder_problems
            self._table.folder_problems = [each for each in problems if (each.subject, each.path) != (None, name)]

    def remove_subject(self, subject: str) -> list[str]:
        """Erase a subject from the folder, the gallery and the cache; returns the ids of the photos.

        If it fails, the subject is enrolled as before.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        with self._table.lock:
            entries = self._table.entries(subject)
            folder = self._folder.subject_folder(subject)
            if not entries and folder is None:
                raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        try:
            with self._folder.subject_set_aside(subject), self._table.lock:
                photos = self._table.drop_subject(subject, folder.name if folder else subject, entries)
        except BaseException:
            self._table.take_back(entries)
            raise
        with self._table.lock:
            self._table.folder_problems = [each for each in self._table.folder_problems if each.subject != subject]
            self._consents.forget(subject)
        return sorted(photos - {""})

    def rename(self, old: str, new: str, merge: bool = False, noted: Callable[[], object] = lambda: None) -> None:
        """Give a subject another name, or with `merge` its photos to one that exists.

        Parameters
        ----------
        noted : callable
            Called when the folder and the cache are changed. If it raises, they are changed back.

        Raises
        ------
        SubjectNotFound, NameTaken, StorageError
        """
        if old == new:
            self._table.entries_of_somebody(old)
            return
        with self._table.lock:
            entries = self._table.entries(old)
            with self._folder.subject_renamed(old, new, merge) as paths:
                moved = [Entry(new, paths[e.path], e.stamp, e.photo, e.encoding) for e in entries if e.path in paths]
                files = [(was.path, paths[was.path], was.stamp, was.photo) for was in entries if was.path in paths]
                self._cache.move_files([each for each in files if each[3]])
                try:
                    noted()
                except BaseException:
                    with suppress(StorageError):  # then their files are read again
                        self._cache.move_files([(now, was, stamp, photo) for was, now, stamp, photo in files if photo])
                    raise
            self._table.rename(old, new, entries, moved)
            self._consents.reread(old, new)
