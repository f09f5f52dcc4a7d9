"""known_faces/ and the gallery, kept the same: what is in the folder is enrolled, and nothing else is.

The order of every change is: the folder, the cache, the gallery, and only then the reply; whatever is interrupted
is put right by the next look at the folder.
"""

from __future__ import annotations

import logging
import os
import posixpath
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from . import images, names
from .duplicates import DISTANCE_SHARE, Change, Pictures
from .encodings import Encoding, EncodingsCache, FileStamp, photo_id
from .engines import Engine
from .errors import (
    DecoderCrashed,
    DecoderTooSlow,
    DecoderUnavailable,
    ImageError,
    PhotoNotFound,
    StorageError,
    SubjectNotFound,
)
from .examination import Examined, Rules, Work, examine_files
from .folder import KnownFaces, PhotoFile, Problem
from .galleries.base import Gallery
from .types import Embedding, Template

log = logging.getLogger(__name__)

#: Seconds for which a new file must not have changed before it is read: it may still be being copied.
SETTLE = 0.6
#: Photos encoded between two writes to the cache, so that an interrupted start goes on where it was.
BATCH = 64
#: A photo whose name ends so (before its extension) enrols its largest face, however many there are.
LARGEST_MARK = ".largest"

#: Problems that may be the machine's and not the photo's: the next start tries again.
PASSING = {kind.code for kind in (DecoderCrashed, DecoderTooSlow, DecoderUnavailable)}

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the folder that was read: its photo, and what the engine made of it."""

    subject: str
    path: str
    stamp: FileStamp
    photo: str
    encoding: Encoding


def wanted_face(path: str) -> str:
    """Which face the photo at this path enrols, by its name: ``"only"`` or ``"largest"``."""
    stem = posixpath.splitext(posixpath.basename(path))[0]  # as strings: thousands of pathlib's objects slow a start
    return "largest" if stem.endswith(LARGEST_MARK) else "only"


class Enrolment:
    """Who is enrolled. Owns the gallery's content and the list of what was read from the folder.

    Parameters
    ----------
    folder, cache, gallery, engine
    recipe : mapping
        Keywords of `engines.make_engine` that made `engine`, for encoding in other processes.
    rules : Rules
    workers : int
        Processes for encoding many photos.
    """

    def __init__(
        self,
        folder: KnownFaces,
        cache: EncodingsCache,
        gallery: Gallery,
        engine: Engine,
        recipe: Mapping,
        rules: Rules,
        workers: int,
    ):
        self.folder, self.cache, self.gallery = folder, cache, gallery
        self._engine, self.recipe, self._rules, self._workers = engine, recipe, rules, workers
        self._lock = threading.RLock()  # held for every change of the folder, the cache and what follows, never to encode
        self._sync_lock = threading.Lock()  # one look at the folder at a time
        self._entries: dict[str, Entry] = {}
        self._by_subject: dict[str, dict[str, Entry]] = defaultdict(dict)
        self._uses: Counter[str] = Counter()
        self._pictures = Pictures(DISTANCE_SHARE * engine.info.calibration.threshold)
        #: Rises with every change of the gallery.
        self.revision = 0
        self._folder_problems: list[Problem] = []
        self._unusable = 0
        self._waiting: dict[str, tuple[FileStamp, float]] = {}

    # -- the folder as it is ------------------------------------------------------------------------------------

    def sync(self, *, settle: bool = False, progress: Progress | None = None) -> bool:
        """Bring the gallery in line with the folder.

        Parameters
        ----------
        settle : bool
            Leave files alone that may still be being written.
        progress : callable, optional
            Told ``(done, total)`` of the photos that have to be encoded.

        Returns
        -------
        bool
            Whether some files were left alone, so that another look is due soon.
        """
        with self._sync_lock:
            with self._lock:
                before = dict(self._entries)
            photos, problems = self.folder.scan()
            seen = {photo.path: photo for photo in photos}
            with self._lock:
                self._folder_problems = problems
                gone = [entry for path, entry in before.items() if path not in seen]
                fresh = [photo for path, photo in seen.items() if not self._is_known(photo)]
            moved = {entry.stamp: entry.photo for entry in gone}
            ready = [photo for photo in fresh if not settle or photo.stamp in moved or self._is_still(photo)]
            self._waiting = {path: since for path, since in self._waiting.items() if path in seen}
            self._take(ready, moved, progress)
            with self._lock:
                self._drop([entry for entry in gone if self._entries.get(entry.path) is entry])
            return len(ready) < len(fresh)

    def tidy(self) -> None:
        """After a complete `sync`: erase from the cache what no photo of the folder needs any longer."""
        with self._lock:
            self._forget(set(self.cache.files()) - set(self._entries), self.cache.photos())
            self.cache.forget_other_engines(self._engine.info.id)

    def _is_known(self, photo: PhotoFile) -> bool:
        entry = self._entries.get(photo.path)
        return entry is not None and entry.stamp == photo.stamp and entry.subject == photo.subject

    def _is_still(self, photo: PhotoFile) -> bool:
        """Whether a file has been left alone for long enough to be complete."""
        if 0 <= time.time() - photo.stamp.mtime_ns / 1e9 < SETTLE or photo.stamp.mtime_ns / 1e9 > time.time():
            stamp, since = self._waiting.get(photo.path, (None, 0.0))
            if stamp != photo.stamp:
                self._waiting[photo.path] = (photo.stamp, time.monotonic())
                return False
            return time.monotonic() - since >= SETTLE
        return True

    def _take(self, photos: list[PhotoFile], moved: dict[FileStamp, str], progress: Progress | None) -> None:
        """Read new and changed files, encode what no cache knows, and enrol them."""
        if not photos:
            return
        known = self.cache.files() if len(photos) > 8 else {}
        identified: list[tuple[PhotoFile, str]] = []
        to_remember: list[tuple[str, FileStamp, str]] = []
        for photo in photos:
            stamp, photo_of = known.get(photo.path, (None, None))
            if stamp != photo.stamp:
                photo_of = moved.get(photo.stamp) or self._read_id(photo)
                if photo_of is None:
                    continue
                to_remember.append((photo.path, photo.stamp, photo_of))
            identified.append((photo, photo_of))
        with self._lock:
            # only of what is still there: a name that was erased meanwhile must not come back into the cache
            still = [each for each in to_remember if self.folder.stamp(each[0]) == each[1]]
            if still:
                self.cache.remember_files(still)
        self._encode_and_enrol(identified, progress)

    def _read_id(self, photo: PhotoFile) -> str | None:
        """The photo's id by its content; None when it is gone or cannot be read, which becomes a problem."""
        try:
            return photo_id(images.read_file(self.folder.file(photo.path), max_bytes=self._rules.max_bytes))
        except FileNotFoundError:
            return None
        except (ImageError, OSError) as error:
            code = getattr(error, "code", "unreadable")
            message = getattr(error, "message", None) or f"the file cannot be read: {getattr(error, 'strerror', '')}"
            encoding = Encoding("", self._engine.info.id, problem=code, message=message)
            with self._lock:
                self._drop([self._entries[photo.path]] if photo.path in self._entries else [])
                self._record(Entry(photo.subject, photo.path, photo.stamp, "", encoding))
            return None

    def _encode_and_enrol(self, identified: list[tuple[PhotoFile, str]], progress: Progress | None) -> None:
        engine = self._engine.info.id
        many = len(identified) > 64
        cached = self.cache.encodings(engine, None if many else {photo for _, photo in identified})
        missing: dict[tuple[str, str], Work] = {}
        ready: list[tuple[PhotoFile, str]] = []
        users = defaultdict(list)
        for file, photo in identified:
            key = (photo, wanted_face(file.path))
            if key in cached:
                ready.append((file, photo))
                continue
            users[key].append((file, photo))
            if key not in missing:
                missing[key] = Work(self.folder.file(file.path), *key)
        self._enrol(ready, cached)
        done, batch = 0, []

        def step(count: int) -> None:
            nonlocal done
            done += count
            if progress:
                progress(done, len(missing))

        if progress and missing:
            progress(0, len(missing))
        results = examine_files(list(missing.values()), self._engine, self.recipe, self._rules, self._workers, step)
        for examined in results:
            batch.append(examined)
            if len(batch) >= BATCH:
                self._keep(batch, users)
                batch = []
        self._keep(batch, users)

    def _keep(self, batch: list[Examined], users: Mapping) -> None:
        if not batch:
            return
        with self._lock:
            here, gone = {}, []
            for each in batch:
                key = each.encoding.photo, each.encoding.face
                left = [file.path for file, _ in users.get(key, ()) if self.folder.stamp(file.path) != file.stamp]
                gone += left
                if len(left) < len(users.get(key, ())):
                    here[key] = each
            thumbnails = {photo: each.thumbnail for (photo, _), each in here.items() if each.thumbnail is not None}
            encodings = {key: each.encoding for key, each in here.items()}
            lasting = [encoding for encoding in encodings.values() if encoding.problem not in PASSING]
            self.cache.put(lasting, thumbnails)
            self._enrol([pair for key in here for pair in users[key]], encodings)
            if gone:  # erased while it was looked at
                self._forget(gone, {each.encoding.photo for each in batch})

    def _enrol(self, pairs: Iterable[tuple[PhotoFile, str]], encodings: Mapping[tuple[str, str], Encoding]) -> None:
        """Enrol files whose encodings are known, unless they changed or went meanwhile."""
        with self._lock:
            usable: dict[str, list[Encoding]] = defaultdict(list)
            for file, photo in pairs:
                if self.folder.stamp(file.path) != file.stamp:
                    continue
                encoding = encodings[photo, wanted_face(file.path)]
                old = self._entries.get(file.path)
                if old is not None and (old.photo != photo or old.subject != file.subject):
                    self._drop([old])
                self._forget_entry(file.path)
                self._record(Entry(file.subject, file.path, file.stamp, photo, encoding))
                self._waiting.pop(file.path, None)
                if encoding.vector is not None:
                    usable[file.subject].append(encoding)
            self._apply({subject: self._pictures.note(subject, encodings) for subject, encodings in usable.items()})

    def _apply(self, changes: Mapping[str, Change]) -> None:
        """Let the gallery follow: what comes before what goes, so that nobody is missing in between."""
        self.revision += 1
        self.gallery.add([_template(subject, each) for subject, change in changes.items() for each in change.added])
        for subject, change in changes.items():
            for photo in change.removed:
                self.gallery.remove(subject, photo)

    def _record(self, entry: Entry) -> None:
        self._entries[entry.path] = entry
        self._by_subject[entry.subject][entry.path] = entry
        self._uses[entry.photo] += 1
        self._unusable += entry.encoding.problem is not None

    def _forget_entry(self, path: str) -> Entry | None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self._unusable -= entry.encoding.problem is not None
            del self._by_subject[entry.subject][path]
            if not self._by_subject[entry.subject]:
                del self._by_subject[entry.subject]
            self._uses[entry.photo] -= 1
            if self._uses[entry.photo] <= 0:
                del self._uses[entry.photo]
        return entry

    def _drop(self, entries: list[Entry]) -> None:
        """Take files that are gone out of the gallery, and out of the cache what nobody else uses."""
        gone: dict[str, set[str]] = defaultdict(set)
        for entry in entries:
            if self._forget_entry(entry.path) is not None:
                gone[entry.subject].add(entry.photo)
        changes = {}
        for subject, photos in gone.items():
            left = {entry.photo for entry in self._by_subject.get(subject, {}).values() if entry.encoding.vector is not None}
            changes[subject] = self._pictures.forget(subject, photos - left)
        if entries:
            self._apply(changes)
            self._forget([entry.path for entry in entries], {entry.photo for entry in entries})

    def _forget(self, paths: Iterable[str], photos: set[str]) -> None:
        """Erase these files from the cache, and those of these photos that no file of the folder holds any longer."""
        self.cache.forget_files(paths)
        self.cache.forget(sorted(photos - set(self._uses) - {""}))

    # -- asked for --------------------------------------------------------------------------------------------

    def add(self, subject: str, data: bytes, extension: str, examined: Examined) -> tuple[Entry, bool]:
        """Enrol a photo that was examined; durable when this returns. The entry, and whether it is new.

        Raises
        ------
        NameTaken, StorageError
        """
        encoding = examined.encoding
        with self._lock:
            for entry in self._by_subject.get(subject, {}).values():
                if entry.photo == encoding.photo and entry.encoding.vector is not None:
                    if self.folder.stamp(entry.path) is not None:
                        return entry, False
            mark = LARGEST_MARK if encoding.face == "largest" else ""
            path = self.folder.add(subject, encoding.photo + mark, extension, data)
            try:
                stamp = self.folder.stamp(path)
                if stamp is None:
                    raise StorageError("the photo was removed while it was being stored")
                thumbnails = {} if examined.thumbnail is None else {encoding.photo: examined.thumbnail}
                self.cache.put([encoding], thumbnails)
                self.cache.remember_files([(path, stamp, encoding.photo)])
            except StorageError:
                self.folder.remove_files([path])
                raise
            self._forget_entry(path)
            entry = Entry(subject, path, stamp, encoding.photo, encoding)
            self._record(entry)
            self._apply({subject: self._pictures.note(subject, [encoding])})
            return entry, True

    def original_of(self, subject: str, photo: str) -> str | None:
        """The photo of `subject` that is the same picture as this one and stands for both in the gallery; None if it does."""
        with self._lock:
            return self._pictures.original_of(subject, photo)

    def remove_photo(self, subject: str, photo: str) -> int:
        """Erase a photo of a subject; how many files held it.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, StorageError
        """
        with self._lock:
            entries = [entry for entry in self.entries(subject) if entry.photo == photo]
            if not entries:
                raise PhotoNotFound(f"{subject!r} has no photo {photo!r}")
            self.folder.remove_files([entry.path for entry in entries])
            self._drop(entries)
            return len(entries)

    def remove_subject(self, subject: str) -> list[str]:
        """Erase a subject from the folder, the gallery and the cache; the ids of the photos that were there.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        with self._lock:
            entries = list(self._by_subject.get(subject, {}).values())
            folder = self.folder.subject_folder(subject)
            if not entries and folder is None:
                raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
            self.folder.remove_subject(subject)
            self._drop(entries)
            self._pictures.forget_subject(subject)
            self.gallery.remove(subject)
            photos = {entry.photo for entry in entries} | self.cache.forget_folder(folder.name if folder else subject)
            self._forget([], photos)  # of photos that were just being encoded as well
            self._folder_problems = [problem for problem in self._folder_problems if problem.subject != subject]
            return sorted(photos - {""})

    def rename(self, old: str, new: str, merge: bool = False) -> None:
        """Give a subject another name, or with `merge` its photos to one that exists.

        Raises
        ------
        SubjectNotFound, NameTaken, StorageError
        """
        if old == new:
            self.entries(old)
            return
        with self._lock:
            self.folder.rename_subject(old, new, merge)
            self.gallery.rename(old, new)
            entries = list(self._by_subject.get(old, {}).values())
            stamps = {}
            for entry in entries:
                self._forget_entry(entry.path)
                stamps[entry.stamp, entry.photo] = entry
            scanned, _ = self.folder.scan()
            for photo in scanned:
                if photo.subject == new and photo.path not in self._entries:
                    same = [e for (stamp, _), e in stamps.items() if stamp == photo.stamp]
                    if same:
                        self._record(Entry(new, photo.path, photo.stamp, same[0].photo, same[0].encoding))
            self.cache.forget_files([entry.path for entry in entries])
            held = self._by_subject.get(new, {}).values()
            self._sort_anew(old, new, held)
            self.cache.remember_files([(entry.path, entry.stamp, entry.photo) for entry in held if entry.photo])

    def _sort_anew(self, old: str, new: str, held: Iterable[Entry]) -> None:
        """After `old` became `new`, who may have had photos: which of all are templates."""
        for subject in (old, new):
            self._pictures.forget_subject(subject)
        usable = sorted((entry for entry in held if entry.encoding.vector is not None), key=lambda entry: entry.path)
        change = self._pictures.note(new, [entry.encoding for entry in usable])
        stay = {each.photo for each in change.added}
        there = {template.photo for template in self.gallery.templates(new)}
        added = tuple(each for each in change.added if each.photo not in there)
        self._apply({new: Change(added, tuple(sorted(there - stay)))})

    def left_of(self, subject: str, photos: list[str]) -> dict[str, int]:
        """What is still held of an erased subject, counted where it is held: all zero when the erasure is complete.

        Photos that another subject has too are not counted in the cache.
        """
        with self._lock:
            folder = self.folder.subject_folder(subject)
            files = 0 if folder is None else sum(len(files) for _, _, files in os.walk(folder))
            unshared = [photo for photo in photos if photo not in self._uses]
            return {
                "files": files,
                "templates": self.gallery.subjects().get(subject, 0),
                "cache_rows": self.cache.rows_about(unshared),
            }

    # -- who there is -------------------------------------------------------------------------------------------

    def subjects(self) -> dict[str, list[Entry]]:
        """Everybody with a folder, by name, with what was read from it."""
        with self._lock:
            return {
                subject: sorted(entries.values(), key=lambda entry: entry.path)
                for subject, entries in sorted(self._by_subject.items(), key=lambda pair: names.key(pair[0]))
            }

    def entries(self, subject: str) -> list[Entry]:
        """What was read from a subject's folder.

        Raises
        ------
        SubjectNotFound
        """
        with self._lock:
            entries = self._by_subject.get(subject)
            if not entries:
                raise SubjectNotFound(f"nobody called {subject!r} is enrolled")
            return sorted(entries.values(), key=lambda entry: entry.path)

    @property
    def problem_count(self) -> int:
        """How many `problems` there are. Waits for nobody, unlike them: whoever asks for health must not queue."""
        return len(self._folder_problems) + self._unusable

    def problems(self) -> list[Problem]:
        """Everything in the folder that is not used, and why."""
        with self._lock:
            unusable = [
                Problem(entry.subject, entry.path, entry.encoding.problem, entry.encoding.message or "")
                for entry in self._entries.values()
                if entry.encoding.problem
            ]
            return sorted([*self._folder_problems, *unusable], key=lambda problem: problem.path)


def _template(subject: str, encoding: Encoding) -> Template:
    return Template(subject, encoding.photo, Embedding(encoding.vector, encoding.engine))
