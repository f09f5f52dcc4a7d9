"""What was read from known_faces/: which file holds which photo, and the templates of the gallery that follow from it."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from recognizer.core import names
from recognizer.core.errors import StorageError, SubjectNotFound
from recognizer.core.types import Embedding, Template
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.cache_writing import CacheWriting
from recognizer.enrolment.duplicates import Change, PictureGroups, like_another
from recognizer.enrolment.encodings import FORCED, Encoding, FileStamp
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.folder_look import PhotoFile, Problem
from recognizer.enrolment.known_photos import PACKED, PACKED_ID, STAMP, KnownPhotos, photo_of
from recognizer.enrolment.photo_marks import FORCED_MARK, wanted_face
from recognizer.enrolment.photo_uses import PhotoUses
from recognizer.galleries.contract import Gallery
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.photo_ids import PhotoIds, as_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder that was read: its photo, and the engine's result for it."""

    subject: str
    path: str
    stamp: FileStamp
    photo: str
    encoding: Encoding


class EntryTable:
    """The entries of all files that were read. Owns the gallery's content, and the cache rows of files that are gone.

    All methods must be called with `lock` held, except where they say otherwise.

    Entries are many, and most of each is a template that the gallery has as well. So an entry is packed into a few bytes while
    its template is in the gallery, and completed from there when it is asked for. Before a subject changes, its entries are
    completed (`_wake`), and afterwards packed again (`_sleep`).

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
        self._by_subject: dict[str, dict[str, Entry | bytes]] = defaultdict(dict)
        self._subject_of: dict[str, str] = {}  # by folder, as it is written on the disk
        self._count = 0
        self._several: set[str] = set()  # subjects with files in more than one folder, perhaps
        self._uses = PhotoUses()
        self._forced: set[str] = set()
        self._unusable: dict[str, Entry] = {}
        self._in_order: list[str] | None = None  # the subjects, by comparison key; made when first asked for
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
        held = self._held(photo.path)
        if held is None or self._subject_of[_folder_of(photo.path)] != photo.subject:
            return False
        if isinstance(held, Entry):
            return held.stamp == photo.stamp
        stamp = photo.stamp
        return STAMP.unpack_from(held) == (stamp.size, stamp.mtime_ns, stamp.inode)

    def holds(self, entry: Entry) -> bool:
        """Whether this is still the entry of its file."""
        held = self._held(entry.path)
        known = self.is_known(PhotoFile(entry.subject, entry.path, entry.stamp))
        return known and held is not None and _photo(held) == entry.photo

    def has(self, path: str) -> bool:
        """Whether a file was read."""
        return self._held(path) is not None

    def get(self, path: str) -> Entry | None:
        """The entry of one file."""
        held = self._held(path)
        if held is None or isinstance(held, Entry):
            return held
        subject = self._subject_of[_folder_of(path)]
        return self._complete(subject, path, held, self._vectors(subject))

    def folders(self) -> AbstractSet[str]:
        """The folders, as they are written on the disk, from which anything was read."""
        return self._subject_of.keys()

    def paths_in(self, folder: str) -> list[str]:
        """The paths of the files that were read from a folder, as it is written on the disk."""
        subject = self._subject_of.get(folder)
        if subject is None:
            return []
        return [path for path in self._by_subject[subject] if path.startswith(folder + "/")]

    def count_in(self, folder: str) -> int:
        """The number of files read from a folder, as it is written on the disk."""
        subject = self._subject_of.get(folder)
        if subject is None:
            return 0
        return len(self.paths_in(folder)) if subject in self._several else len(self._by_subject[subject])

    def counts(self) -> dict[str, int]:
        """The number of files read from each folder."""
        return {
            name: self.count_in(name) if whose in self._several else len(self._by_subject[whose])
            for name, whose in self._subject_of.items()
        }

    def known_paths(self) -> AbstractSet[str]:
        """The paths of all files that were read."""
        return {path for held in self._by_subject.values() for path in held}

    def unusable_entries(self) -> Collection[Entry]:
        """The files that enrol nobody."""
        return self._unusable.values()

    def __len__(self) -> int:
        """The number of files. Needs no lock."""
        return self._count

    def all(self) -> Iterator[Entry]:
        """All entries."""
        for subject in list(self._by_subject):
            yield from self.entries(subject)

    def entry_of(self, photo: str) -> Entry | None:
        """The file that holds a usable photo, the first by path whoever's it is; None where there is none."""
        if not self._uses[photo]:
            return None
        found = [path for held in self._by_subject.values() for path, each in held.items() if _photo(each) == photo]
        entries = [entry for entry in map(self.get, sorted(found)) if entry is not None and entry.encoding.vector is not None]
        return entries[0] if entries else None

    def subjects(self) -> list[str]:
        """Everybody with an entry, by comparison key."""
        if self._in_order is None:
            self._in_order = sorted(self._by_subject, key=_order)
        return self._in_order.copy()

    def entries(self, subject: str) -> list[Entry]:
        """The entries of one subject, by path."""
        return self.entries_of([subject])[subject]

    def entries_of(self, subjects: Iterable[str]) -> dict[str, list[Entry]]:
        """The entries of several subjects, by path, each under the subject's name; the gallery is read once."""
        held = {subject: self._by_subject.get(subject) or {} for subject in subjects}
        packed = [subject for subject, each in held.items() if not all(isinstance(entry, Entry) for entry in each.values())]
        vectors = {
            subject: {template.photo: template.embedding.vector for template in templates}
            for subject, templates in self._gallery.templates_of(packed).items()
        }
        return {
            subject: [self._complete(subject, path, each[path], vectors.get(subject, {})) for path in sorted(each)]
            for subject, each in held.items()
        }

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

    # -- packed entries -----------------------------------------------------------------------------------------

    def _held(self, path: str) -> Entry | bytes | None:
        subject = self._subject_of.get(_folder_of(path))
        return None if subject is None else self._by_subject[subject].get(path)

    def _vectors(self, subject: str) -> dict[str, np.ndarray]:
        """The subject's templates in the gallery, by photo."""
        return {template.photo: template.embedding.vector for template in self._gallery.templates(subject)}

    def _complete(self, subject: str, path: str, held: Entry | bytes, vectors: Mapping[str, np.ndarray]) -> Entry:
        if isinstance(held, Entry):
            return held
        *stamp, photo_bytes, left, top, right, bottom, score, width, height = PACKED.unpack(held)
        photo, box = photo_bytes.hex(), (left, top, right, bottom)
        encoding = Encoding(
            photo,
            self._gallery.engine,
            wanted_face(path),
            vectors[photo],
            box=box,
            score=score,
            width=width,
            height=height,
        )
        return Entry(subject, path, FileStamp(*stamp), photo, encoding)

    def _packed(self, entry: Entry, vectors: Mapping[str, np.ndarray]) -> Entry | bytes:
        """The entry in a few bytes, if the gallery has its template and nothing about it is unusual."""
        encoding, stamp = entry.encoding, entry.stamp
        template, photo = vectors.get(entry.photo), as_bytes(entry.photo)
        if template is None or photo is None or encoding.vector is None or encoding.box is None:
            return entry
        if encoding.engine != self._gallery.engine or encoding.face != wanted_face(entry.path) or encoding.photo != entry.photo:
            return entry
        if None in (encoding.score, encoding.width, encoding.height) or not np.array_equal(template, encoding.vector):
            return entry
        size = encoding.width, encoding.height
        return PACKED.pack(stamp.size, stamp.mtime_ns, stamp.inode, photo, *encoding.box, encoding.score, *size)

    def _wake(self, *subjects: str) -> None:
        """Complete the entries of subjects that are about to change, while the gallery still has their templates."""
        for subject in subjects:
            held = self._by_subject.get(subject)
            if not held or self._pictures.is_awake(subject):
                continue
            vectors = self._vectors(subject)
            originals = []
            for path, each in held.items():
                entry = held[path] = self._complete(subject, path, each, vectors)
                template = vectors.get(entry.photo)
                vector = entry.encoding.vector
                if template is not None and vector is not None and np.array_equal(template, vector):
                    originals.append(entry.encoding)
            self._pictures.wake(subject, originals)

    def _sleep(self, *subjects: str) -> None:
        """Pack the entries of subjects that have changed. Those of the hidden stay whole: the gallery has nothing of them."""
        for subject in subjects:
            held = self._by_subject.get(subject)
            if held is None or subject in self._hidden:
                continue
            vectors = self._vectors(subject)
            for path, each in held.items():
                if isinstance(each, Entry):
                    held[path] = self._packed(each, vectors)
            self._pictures.sleep(subject)

    def pack(self, subject: str) -> None:
        """Keep the entries of a subject in few bytes, after `record`."""
        self._sleep(subject)

    def load(self, known: KnownPhotos) -> None:
        """Enrol files of subjects of whom nothing was read yet, and note those that enrol nobody; the files of others are left
        out. Takes the lock itself."""
        gallery = self._gallery
        if not isinstance(gallery, MemoryGallery):
            return
        with self.lock:
            taken = self._by_subject.keys() | self._hidden
            if taken:
                known = known.select([i for i, subject in enumerate(known.subjects) if subject not in taken])
            unusable = [each for each in known.unusable if each[0].subject not in taken]
            subjects, owners = _numbered(known.subjects)
            odd = like_another(known.vectors, owners, self._pictures.distance)
            if len(odd):
                is_odd = np.isin(owners, odd)
                plain = known.select(np.flatnonzero(~is_odd).tolist())
                self._load(gallery, plain, *_numbered(plain.subjects))
                self._enrol_packed(known.select(np.flatnonzero(is_odd).tolist()))
            else:
                self._load(gallery, known, subjects, owners)
            for file, encoding in unusable:
                self.record(Entry(file.subject, file.path, file.stamp, encoding.photo, encoding))

    def _load(self, gallery: MemoryGallery, known: KnownPhotos, subjects: list[str], owners: np.ndarray) -> None:
        photos = [each[PACKED_ID] for each in known.packed]
        ids = np.frombuffer(b"".join(photos), np.uint8)
        gallery.load(known.vectors, owners, subjects, ids.reshape(-1, PhotoIds.BYTES))
        self.revision += 1
        self._in_order = None
        folder, held = None, {}
        for subject, path, packed in zip(known.subjects, known.paths, known.packed, strict=True):
            name = _folder_of(path)
            if name != folder:
                folder, held = name, self._held_by(subject, name)
            held[path] = packed
            if FORCED_MARK in path and wanted_face(path).endswith(FORCED):
                self._forced.add(photo_of(packed))
        self._uses.load(photos)
        self._count += len(photos)

    def _held_by(self, subject: str, folder: str) -> dict[str, Entry | bytes]:
        """The entries of a subject, who has some in this folder from now on."""
        held = self._by_subject[subject]
        if held and self._subject_of.get(folder) != subject:
            self._several.add(subject)
        self._subject_of[folder] = subject
        return held

    def _enrol_packed(self, known: KnownPhotos) -> None:
        """Enrol files the usual way, which looks for copies."""
        pairs, encodings = [], {}
        for file, packed, vector in zip(known.files(), known.packed, known.vectors, strict=True):
            entry = self._complete(file.subject, file.path, packed, {photo_of(packed): vector})
            pairs.append((file, entry.photo))
            encodings[entry.photo, entry.encoding.face] = entry.encoding
        self.enrol(pairs, encodings)

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
            pairs = list(pairs)
            subjects = dict.fromkeys(file.subject for file, _ in pairs)
            self._wake(*subjects)
            for file, photo in pairs:
                if self._folder.stamp(file.path) != file.stamp:
                    continue
                encoding = encodings[photo, wanted_face(file.path)]
                old = self.get(file.path)
                if old is not None and (old.photo != photo or old.subject != file.subject):
                    self._leave([old])
                    self.erase_rows((), {old.photo})  # that of the path is about the new content
                self.forget(file.path)
                self.record(Entry(file.subject, file.path, file.stamp, photo, encoding))
                if encoding.vector is not None:
                    usable[file.subject].append(encoding)
            self._wake(*usable)  # again: `_leave` may have packed some
            self._apply({subject: self._pictures.note(subject, encodings) for subject, encodings in usable.items()})
            self._sleep(*subjects)

    def enrol_entry(self, entry: Entry) -> None:
        """Enrol one file that is usable."""
        self._wake(entry.subject)
        self.forget(entry.path)
        self.record(entry)
        self._apply({entry.subject: self._pictures.note(entry.subject, [entry.encoding])})
        self._sleep(entry.subject)

    def record(self, entry: Entry) -> None:
        """Add an entry to the table; the gallery stays as it is."""
        self.forget(entry.path)
        if entry.subject not in self._by_subject and self._in_order is not None:
            insort(self._in_order, entry.subject, key=_order)
        self._held_by(entry.subject, _folder_of(entry.path))[entry.path] = entry
        self._count += 1
        self._uses.add(entry.photo)
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

    def forget(self, path: str) -> bool:
        """Remove an entry from the table, if there is one; the gallery and the cache stay as they are."""
        held = self._held(path)
        if held is None:
            return False
        folder, photo = _folder_of(path), _photo(held)
        subject = self._subject_of[folder]
        self._unusable.pop(path, None)
        del self._by_subject[subject][path]
        self._count -= 1
        if not self.paths_in(folder):
            del self._subject_of[folder]
        if not self._by_subject[subject]:
            del self._by_subject[subject]
            self._several.discard(subject)
            if self._in_order is not None:
                del self._in_order[bisect_left(self._in_order, _order(subject), key=_order)]
        self._uses.remove(photo)
        if photo in self._forced and not self._uses[photo]:
            self._forced.discard(photo)
        return True

    def drop(self, entries: Collection[Entry], spared: Collection[str] = ()) -> None:
        """Remove files that are gone from the gallery, and their cache rows unless others use them.

        Parameters
        ----------
        entries : collection of Entry
        spared : collection of str
            Photos whose encodings stay in the cache.
        """
        self._leave(entries)
        if entries:
            self.erase_rows([entry.path for entry in entries], {entry.photo for entry in entries}.difference(spared))

    def _leave(self, entries: Collection[Entry]) -> None:
        """Remove files that are gone from the table and the gallery."""
        gone: dict[str, set[str]] = defaultdict(set)
        subjects = dict.fromkeys(entry.subject for entry in entries)
        self._wake(*subjects)
        for entry in entries:
            if self.forget(entry.path):
                gone[entry.subject].add(entry.photo)
        changes = {}
        for subject, photos in gone.items():
            left = {entry.photo for entry in self.entries(subject) if entry.encoding.vector is not None}
            changes[subject] = self._pictures.forget(subject, photos - left)
        if entries:
            self._apply(changes)
            self._sleep(*subjects)

    def drop_subject(self, subject: str, folder: str, entries: Collection[Entry]) -> set[str]:
        """Remove a subject, its folder and these entries of it from the gallery and the cache; the ids of the photos."""
        known = self._cache.files_below(folder)  # photos that were just being encoded as well
        self._wake(subject)
        self._gallery.remove(subject)
        self._leave(entries)
        photos = {entry.photo for entry in entries} | set(known.values())
        self.erase_rows({entry.path for entry in entries} | known.keys(), photos, [folder])
        self._pictures.forget_subject(subject)
        return photos

    def erase_rows(self, paths: Iterable[str], photos: set[str], folders: Iterable[str] = ()) -> None:
        """Erase these files from the cache, those of these photos that no other file of the folder contains, and what is known
        of these folders."""
        gone = set(paths)
        self._cache.erase(gone, sorted(self.unused(photos, gone)), folders)

    def unused(self, photos: set[str], without: AbstractSet[str] = frozenset()) -> set[str]:
        """Those of these photos that no file of the folder contains, including files that another process has enrolled.

        Parameters
        ----------
        without : set of str
            Paths of files that do not count.
        """
        unused = {photo for photo in photos if photo and not self._uses[photo]}
        known = [each for each in self._cache.files_of(unused) if each[0] not in without]
        return unused - {photo for path, stamp, photo in known if self._folder.stamp(path) == stamp}

    def take_back(self, entries: Collection[Entry]) -> None:
        """Enrol files again that could not be removed. Takes the lock itself."""
        with self.lock:
            for entry in entries:
                if not self.has(entry.path) and self._folder.stamp(entry.path) == entry.stamp:
                    self.record(entry)
            for subject in {entry.subject for entry in entries}:
                self.sort_anew(subject)
            with suppress(StorageError):  # then the next start encodes them again
                self._cache.put([entry.encoding for entry in entries if entry.photo])
                self._cache.remember_files([(each.path, each.stamp, each.photo) for each in entries if each.photo])

    # -- subjects -----------------------------------------------------------------------------------------------

    def rename(self, old: str, new: str, entries: Collection[Entry], moved: Collection[Entry]) -> None:
        """Give the entries of `old` to `new`, where they have other paths; `new` may have entries of its own."""
        self._wake(old, new)
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
        self._wake(subject)
        self._pictures.forget_subject(subject)
        usable = [entry.encoding for entry in self.entries(subject) if entry.encoding.vector is not None]
        change = self._pictures.note(subject, usable)
        stay = {each.photo for each in change.added}
        there = {template.photo for template in self._gallery.templates(subject)}
        added = tuple(each for each in change.added if each.photo not in there)
        self._apply({subject: Change(added, tuple(sorted(there - stay)))})
        self._sleep(subject)

    def hide(self, subjects: Iterable[str]) -> None:
        """Keep the templates of these subjects, and of nobody else, out of the gallery."""
        hidden = frozenset(subjects)
        for subject in hidden - self._hidden:
            self.revision += 1
            self._wake(subject)
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


def _order(subject: str) -> tuple[str, str]:
    """The key by which people are listed."""
    return names.comparison_key(subject), subject


def _folder_of(path: str) -> str:
    return path.partition("/")[0]


def _numbered(subjects: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Each subject once, and of every row the index of its subject."""
    numbers: dict[str, int] = {}
    owners = np.fromiter((numbers.setdefault(subject, len(numbers)) for subject in subjects), int, len(subjects))
    return list(numbers), owners


def _photo(held: Entry | bytes) -> str:
    return held.photo if isinstance(held, Entry) else photo_of(held)


def _template(subject: str, encoding: Encoding) -> Template:
    assert encoding.vector is not None  # it is usable
    return Template(subject, encoding.photo, Embedding(encoding.vector, encoding.engine))
