"""What was read from known_faces/: which file holds which photo, and the templates of the gallery that follow from it."""

from __future__ import annotations

import posixpath
import threading
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from recognizer.core import names
from recognizer.core.errors import InvalidName, StorageError, SubjectNotFound
from recognizer.core.types import Embedding, Template
from recognizer.enrolment import face_choice
from recognizer.enrolment.cache import FORCED, Encoding, EncodingsCache, FileStamp
from recognizer.enrolment.cache_writing import CacheWriting
from recognizer.enrolment.duplicates import Change, PictureGroups
from recognizer.enrolment.folder import FORCED_MARK, LARGEST_MARK, PLACE_MARK, KnownFaces, PhotoFile, Problem
from recognizer.galleries.contract import Gallery


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder that was read: its photo, and the engine's result for it."""

    subject: str
    path: str
    stamp: FileStamp
    photo: str
    encoding: Encoding


def _has_no_mark(path: str) -> bool:
    return not any(mark in path for mark in (LARGEST_MARK, PLACE_MARK, FORCED_MARK))


def wanted_face(path: str) -> str:
    """Which face the photo at this path enrols, by its name; see `Encoding.face`."""
    if _has_no_mark(path):  # hundreds of thousands of paths are asked about at a start
        return "only"
    stem = posixpath.splitext(posixpath.basename(path))[0]
    forced = stem.endswith(FORCED_MARK)
    rest = stem.removesuffix(FORCED_MARK)
    face = "largest" if rest.endswith(LARGEST_MARK) else "only"
    if PLACE_MARK in rest and face_choice.is_place(place := rest[rest.rindex(PLACE_MARK) + 1 :]):
        face = place
    return face + FORCED if forced else face


def marks(face: str) -> str:
    """The end of the name of a photo that enrols this face; see `wanted_face`."""
    base = face.removesuffix(FORCED)
    chosen = LARGEST_MARK if base == "largest" else f".{base}" if face_choice.is_place(base) else ""
    return chosen + (FORCED_MARK if face.endswith(FORCED) else "")


class EntryTable:
    """The entries of all files that were read. Owns the gallery's content, and the cache rows of files that are gone.

    All methods must be called with `lock` held, except where they say otherwise.

    Parameters
    ----------
    folder, cache, gallery
    same_picture : float
        Templates that are further apart belong to different pictures; see `duplicates.PictureGroups`.

    Attributes
    ----------
    lock : RLock
        Held for every change of the folder, the cache and the gallery; never while photos are encoded.
    revision : int
        Increases with every change of the gallery.
    folder_problems : list of Problem
        What the last scan of the folder could not use.
    """

    def __init__(self, folder: KnownFaces, cache: EncodingsCache, gallery: Gallery, same_picture: float):
        self.lock = threading.RLock()
        self.revision = 0
        self.folder_problems: list[Problem] = []
        self._folder, self._cache, self._gallery = folder, cache, gallery
        self._entries: dict[str, Entry] = {}
        self._by_subject: dict[str, dict[str, Entry]] = defaultdict(dict)
        self._uses: Counter[str] = Counter()
        self._forced: set[str] = set()
        self._unusable: dict[str, Entry] = {}
        self._folders: Counter[str] = Counter()
        self._by_name: list[tuple[str, str]] | None = None  # comparison keys and subjects, in order
        self._pictures = PictureGroups(same_picture)
        self._hidden: frozenset[str] = frozenset()

    # -- who there is -------------------------------------------------------------------------------------------

    @property
    def unusable(self) -> int:
        """The number of files that enrol nobody. Needs no lock."""
        return len(self._unusable)

    def is_enrolled(self, subject: str) -> bool:
        """Whether anything was read from a subject's folder. Needs no lock."""
        return subject in self._by_subject

    def is_forced(self, photo: str | None) -> bool:
        """Whether a photo is used although its face may not be comparable. Needs no lock."""
        return photo in self._forced

    def is_known(self, photo: PhotoFile) -> bool:
        """Whether this file was read and has not changed since."""
        entry = self._entries.get(photo.path)
        return entry is not None and entry.stamp == photo.stamp and entry.subject == photo.subject

    def get(self, path: str) -> Entry | None:
        """The entry of one file."""
        return self._entries.get(path)

    def by_path(self) -> dict[str, Entry]:
        """A copy of all entries, by path."""
        return dict(self._entries)

    def folders(self) -> AbstractSet[str]:
        """The folders, as they are written on the disk, from which anything was read."""
        return self._folders.keys()

    def in_folder(self, folder: str) -> list[Entry]:
        """The entries of the files in a folder, as it is written on the disk."""
        if folder not in self._folders:
            return []
        with suppress(InvalidName):
            there = self._by_subject.get(names.normalise(folder), {})
            return [entry for path, entry in there.items() if path.startswith(folder + "/")]
        return []

    def count_in(self, folder: str) -> int:
        """The number of files read from a folder, as it is written on the disk."""
        return self._folders.get(folder, 0)

    def unusable_entries(self) -> Collection[Entry]:
        """The files that enrol nobody."""
        return self._unusable.values()

    def all(self) -> Collection[Entry]:
        return self._entries.values()

    def subjects(self) -> list[str]:
        """Everybody with an entry, by comparison key."""
        if self._by_name is None:
            self._by_name = sorted((names.comparison_key(subject), subject) for subject in self._by_subject)
        return [subject for _, subject in self._by_name]

    def entries(self, subject: str) -> list[Entry]:
        """The entries of one subject, by path."""
        return sorted(self._by_subject.get(subject, {}).values(), key=lambda entry: entry.path)

    def entries_of_somebody(self, subject: str) -> list[Entry]:
        """The entries of a subject who has some.

        Raises
        ------
        SubjectNotFound
        """
        found = self.entries(subject)
        if not found:
            raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
        return found

    def original_of(self, subject: str, photo: str) -> str | None:
        """The photo of which this one is a copy; see `duplicates.PictureGroups.original_of`."""
        return self._pictures.original_of(subject, photo)

    # -- files come ---------------------------------------------------------------------------------------------

    def enrol(self, pairs: Iterable[tuple[PhotoFile, str]], encodings: Mapping[tuple[str, str], Encoding]) -> None:
        """Enrol files with known encodings, unless they changed or disappeared meanwhile.

        Parameters
        ----------
        pairs : iterable of (PhotoFile, str)
            Each file and the id of its photo.
        encodings : mapping
            By the photo's id and the face that is wanted. Takes the lock itself.
        """
        with self.lock:
            usable: dict[str, list[Encoding]] = defaultdict(list)
            for file, photo in pairs:
                if self._folder.stamp(file.path) != file.stamp:
                    continue
                encoding = encodings[photo, wanted_face(file.path)]
                old = self._entries.get(file.path)
                if old is not None and (old.photo != photo or old.subject != file.subject):
                    self.drop([old])
                self.forget(file.path)
                self.record(Entry(file.subject, file.path, file.stamp, photo, encoding))
                if encoding.vector is not None:
                    usable[file.subject].append(encoding)
            self._apply({subject: self._pictures.note(subject, encodings) for subject, encodings in usable.items()})

    def enrol_entry(self, entry: Entry) -> None:
        """Enrol one file that is usable."""
        self.forget(entry.path)
        self.record(entry)
        self._apply({entry.subject: self._pictures.note(entry.subject, [entry.encoding])})

    def record(self, entry: Entry) -> None:
        """Add an entry to the table; the gallery stays as it is."""
        if entry.subject not in self._by_subject and self._by_name is not None:
            insort(self._by_name, (names.comparison_key(entry.subject), entry.subject))
        self.forget(entry.path)
        self._entries[entry.path] = entry
        self._by_subject[entry.subject][entry.path] = entry
        self._folders[entry.path.partition("/")[0]] += 1
        self._uses[entry.photo] += 1
        if entry.encoding.forced:
            self._forced.add(entry.photo)
        if entry.encoding.problem is not None:
            self._unusable[entry.path] = entry

    def _apply(self, changes: Mapping[str, Change]) -> None:
        """Update the gallery: additions before removals, so that nobody is missing in between."""
        self.revision += 1
        changed = [(subject, change) for subject, change in changes.items() if subject not in self._hidden]
        self._gallery.add([_template(subject, each) for subject, change in changed for each in change.added])
        for subject, change in changed:
            for photo in change.removed:
                self._gallery.remove(subject, photo)

    # -- files go -----------------------------------------------------------------------------------------------

    def forget(self, path: str) -> Entry | None:
        """Remove an entry from the table, and return it; the gallery and the cache stay as they are."""
        entry = self._entries.pop(path, None)
        if entry is not None:
            self._unusable.pop(path, None)
            folder = path.partition("/")[0]
            self._folders[folder] -= 1
            if not self._folders[folder]:
                del self._folders[folder]
            del self._by_subject[entry.subject][path]
            if not self._by_subject[entry.subject]:
                del self._by_subject[entry.subject]
                if self._by_name is not None:
                    name = names.comparison_key(entry.subject), entry.subject
                    del self._by_name[bisect_left(self._by_name, name)]
            self._uses[entry.photo] -= 1
            if self._uses[entry.photo] <= 0:
                del self._uses[entry.photo]
                self._forced.discard(entry.photo)
        return entry

    def drop(self, entries: Collection[Entry], spared: Collection[str] = ()) -> None:
        """Remove files that are gone from the gallery, and their cache rows unless others use them.

        Parameters
        ----------
        entries : collection of Entry
        spared : collection of str
            Photos whose encodings stay in the cache.
        """
        gone: dict[str, set[str]] = defaultdict(set)
        for entry in entries:
            if self.forget(entry.path) is not None:
                gone[entry.subject].add(entry.photo)
        changes = {}
        for subject, photos in gone.items():
            left = {entry.photo for entry in self._by_subject.get(subject, {}).values() if entry.encoding.vector is not None}
            changes[subject] = self._pictures.forget(subject, photos - left)
        if entries:
            self._apply(changes)
            self.erase_rows([entry.path for entry in entries], {entry.photo for entry in entries}.difference(spared))

    def drop_subject(self, subject: str, entries: Collection[Entry]) -> None:
        """Remove a subject and these entries of it from the gallery and the cache."""
        self._gallery.remove(subject)
        self.drop(entries)
        self._pictures.forget_subject(subject)

    def erase_rows(self, paths: Iterable[str], photos: set[str]) -> None:
        """Erase these files from the cache, and those of these photos that no other file of the folder contains."""
        self._cache.forget_files(paths)
        self._cache.forget(sorted(self.unused(photos)))

    def unused(self, photos: set[str]) -> set[str]:
        """Those of these photos that no file of the folder contains, including files that another process has enrolled."""
        unused = photos - set(self._uses) - {""}
        elsewhere = {photo for path, stamp, photo in self._cache.files_of(unused) if self._folder.stamp(path) == stamp}
        return unused - elsewhere

    def take_back(self, entries: Collection[Entry]) -> None:
        """Enrol files again that could not be removed. Takes the lock itself."""
        with self.lock:
            for entry in entries:
                if entry.path not in self._entries and self._folder.stamp(entry.path) == entry.stamp:
                    self.record(entry)
            for subject in {entry.subject for entry in entries}:
                self.sort_anew(subject)
            with suppress(StorageError):  # then the next start encodes them again
                self._cache.put([entry.encoding for entry in entries if entry.photo])
                self._cache.remember_files([(each.path, each.stamp, each.photo) for each in entries if each.photo])

    # -- subjects -----------------------------------------------------------------------------------------------

    def rename(self, old: str, new: str, entries: Collection[Entry], moved: Collection[Entry]) -> None:
        """Give the entries of `old` to `new`, where they have other paths; `new` may have entries of its own."""
        self._gallery.rename(old, new)
        for entry in entries:
            self.forget(entry.path)
        for entry in moved:
            self.record(entry)
        self._pictures.forget_subject(old)
        if self._hidden & {old, new}:  # of two consents the one that ends first counts
            self._hidden = self._hidden - {old} | {new}
            self._gallery.remove(new)
        self.sort_anew(new)

    def sort_anew(self, subject: str) -> None:
        """Decide anew which photos of `subject` are templates and which are copies, and update the gallery."""
        self._pictures.forget_subject(subject)
        usable = [entry.encoding for entry in self.entries(subject) if entry.encoding.vector is not None]
        change = self._pictures.note(subject, usable)
        stay = {each.photo for each in change.added}
        there = {template.photo for template in self._gallery.templates(subject)}
        added = tuple(each for each in change.added if each.photo not in there)
        self._apply({subject: Change(added, tuple(sorted(there - stay)))})

    def hide(self, subjects: Iterable[str]) -> None:
        """Keep the templates of these subjects, and of nobody else, out of the gallery."""
        hidden = frozenset(subjects)
        for subject in hidden - self._hidden:
            self.revision += 1
            self._gallery.remove(subject)
        shown, self._hidden = self._hidden - hidden, hidden
        for subject in shown:
            self.sort_anew(subject)

    def unhide(self, subject: str) -> None:
        """Hide an erased subject no longer."""
        self._hidden -= {subject}


@dataclass(frozen=True, slots=True)
class EnrolmentState:
    """What the jobs of the enrolment share: the folder, the cache, the table of entries, and how the cache is changed."""

    folder: KnownFaces
    cache: EncodingsCache
    table: EntryTable
    writing: CacheWriting


def _template(subject: str, encoding: Encoding) -> Template:
    assert encoding.vector is not None  # it is usable
    return Template(subject, encoding.photo, Embedding(encoding.vector, encoding.engine))
