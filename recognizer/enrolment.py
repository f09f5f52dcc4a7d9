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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from . import names
from .consent import FILE as CONSENT_FILE
from .consent import Consent
from .duplicates import DISTANCE_SHARE, Change, Pictures
from .encodings import Encoding, EncodingsCache, FileStamp, photo_id
from .engines import Engine
from .errors import (
    DecoderCrashed,
    DecoderTooSlow,
    DecoderUnavailable,
    ImageError,
    KeyMissing,
    PhotoNotFound,
    SealBroken,
    StorageError,
    SubjectNotFound,
)
from .examination import Examined, Rules, Work, examine_files
from .files import replace_erasing
from .folder import PHOTO, KnownFaces, PhotoFile, Problem
from .galleries.base import Gallery
from .template_file import EXTENSION, is_template, written
from .template_file import read as read_template
from .types import Embedding, Template
from .vault import is_sealed

log = logging.getLogger(__name__)

#: Seconds for which a new file must not have changed before it is read: it may still be being copied.
SETTLE = 0.6
#: Photos encoded between two writes to the cache, so that an interrupted start goes on where it was.
BATCH = 64
#: A photo whose name ends so (before its extension) enrols its largest face, however many there are.
LARGEST_MARK = ".largest"
#: Larger files are no photos, and are left as they are.
MAX_SEALED = 1_000_000_000

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
    keep_photos : bool
        Otherwise a photo is replaced by its template once it enrols somebody.
    gate : callable
        Gives what has to be held to change what other processes use as well; callers of what is asked for hold it already.
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
        keep_photos: bool = True,
        gate: Callable[[], AbstractContextManager] = nullcontext,
    ):
        self._keep_photos, self._gate = keep_photos, gate
        self._convert: set[str] = set()  # files still to be encrypted or replaced: they may still be being written
        self._unconverted: dict[str, Problem] = {}  # those of them for which it failed
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
        self._consents: dict[str, tuple[FileStamp, Consent]] = {}
        self._consent_problems: list[Problem] = []
        self._expired: set[str] = set()

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
            consents: dict[str, FileStamp] = {}
            photos, problems = self.folder.scan(consents)
            self._read_consents(consents)
            seen = {photo.path: photo for photo in photos}
            with self._lock:
                self._folder_problems = problems
                gone = [entry for path, entry in before.items() if path not in seen]
                self._convert &= set(seen)
                self._unconverted = {path: why for path, why in self._unconverted.items() if path in self._convert}
                fresh = [photo for path, photo in seen.items() if path in self._convert or not self._is_known(photo)]
            moved = {entry.stamp: entry.photo for entry in gone}
            ready = [photo for photo in fresh if not settle or photo.stamp in moved or self._is_still(photo)]
            self._waiting = {path: since for path, since in self._waiting.items() if path in seen}
            self._take(ready, moved, progress)
            with self._lock:
                self._drop([entry for entry in gone if self._entries.get(entry.path) is entry])
            return len(ready) < len(fresh) or bool(self._convert - set(self._unconverted))

    def tidy(self) -> None:
        """After a complete `sync`: erase from the cache what no photo of the folder needs any longer."""
        with self._lock:
            self._forget(set(self.cache.files()) - set(self._entries), self.cache.photos())
            self.cache.forget_other_engines(self._engine.info.id)

    # -- consent ------------------------------------------------------------------------------------------------

    def consent(self, subject: str) -> Consent:
        """A subject's note and expiry, as they were when the folder was last looked at."""
        with self._lock:
            return self._consents.get(subject, (None, Consent()))[1]

    def set_consent(self, subject: str, held: Consent) -> None:
        """Keep a subject's note and expiry; durable, and in force, when this returns.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        with self._lock:
            self.folder.set_consent(subject, held)
            self._reread_consents()

    def expired(self, now: float | None = None) -> dict[str, float]:
        """Who is not matched any longer, and since when."""
        with self._lock:
            return {name: held.ends for name, (_, held) in self._consents.items() if held.expired(now)}

    def next_expiry(self) -> float | None:
        """When somebody's consent expires next, in seconds since the epoch."""
        with self._lock:
            coming = [held.ends for _, held in self._consents.values() if held.ends is not None and not held.expired()]
            return min(coming, default=None)

    def _reread_consents(self) -> None:
        consents: dict[str, FileStamp] = {}
        self.folder.scan(consents)
        self._read_consents(consents)

    def _read_consents(self, stamps: Mapping[str, FileStamp]) -> None:
        """Read the notes that are new or changed, and see to it that nobody is matched whose consent has expired."""
        with self._lock:
            held, problems = {}, []
            for subject, stamp in stamps.items():
                before = self._consents.get(subject)
                if before is not None and before[0] == stamp:
                    held[subject] = before
                    continue
                try:
                    held[subject] = stamp, self.folder.consent(subject)
                except StorageError as error:
                    problems.append(Problem(subject, f"{subject}/{CONSENT_FILE}", "consent_unreadable", error.message))
            self._consents, self._consent_problems = held, problems
            expired = {subject for subject, (_, each) in held.items() if each.expired()}
            for subject in expired - self._expired:
                self.revision += 1
                self.gallery.remove(subject)
            back, self._expired = self._expired - expired, expired
            for subject in back:
                self._sort_anew(subject)

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
        still = {photo.path for photo in photos if self._is_still(photo)}
        identified: list[tuple[PhotoFile, str]] = []
        to_remember: list[tuple[str, FileStamp, str]] = []
        for photo in photos:
            stamp, photo_of = known.get(photo.path, (None, None))
            if stamp != photo.stamp:
                before = photo.stamp
                photo = self._sealed(photo, photo.path in still)
                photo_of = moved.get(before) or self._read_id(photo)
                if photo_of is None:
                    continue
            if photo_of is not None and stamp != photo.stamp and photo.path not in self._convert:
                to_remember.append((photo.path, photo.stamp, photo_of))
            identified.append((photo, photo_of))
        with self._gate(), self._lock:
            # only of what is still there: a name that was erased meanwhile must not come back into the cache
            here = [each for each in to_remember if self.folder.stamp(each[0]) == each[1]]
            if here:
                self.cache.remember_files(here)
        self._encode_and_enrol(identified, progress)
        if not self._keep_photos:
            for photo, _ in identified:
                self._replace_photo(photo.path, photo.path in still)

    def _sealed(self, photo: PhotoFile, still: bool) -> PhotoFile:
        """A file that was put into the folder as it was, encrypted in its place; later, if it may still be being written."""
        vault = self.folder.vault
        if vault is None:
            return photo
        path = self.folder.file(photo.path)
        try:
            status = os.stat(path)
            data = path.read_bytes() if status.st_size <= MAX_SEALED else b""
            if is_sealed(data) or not status.st_size:
                self._converted(photo.path)
            elif not data:
                self._not_converted(photo.path, "too large to be encrypted")
            elif still and FileStamp.of(status) == photo.stamp:
                with self._lock:
                    done = replace_erasing(path, vault.seal(data, PHOTO), expected=status)
                if done is not None:
                    self._converted(photo.path)
                    return PhotoFile(photo.subject, photo.path, FileStamp.of(done))
                self._convert.add(photo.path)
            else:
                self._convert.add(photo.path)
        except FileNotFoundError:
            pass  # deleted while we look
        except OSError as error:
            self._not_converted(photo.path, f"not encrypted: {(error.strerror or '').lower()}")
        return photo

    def _converted(self, path: str) -> None:
        self._convert.discard(path)
        self._unconverted.pop(path, None)

    def _not_converted(self, path: str, why: str) -> None:
        """Note a file that is kept otherwise than it should be, for the list of problems and for the next regular look."""
        if path not in self._unconverted:
            log.warning("a file of the folder stays as it is: %s", why)
        self._convert.add(path)
        self._unconverted[path] = Problem(names.normalise(path.partition("/")[0]), path, "not_converted", why)

    def _replace_photo(self, path: str, still: bool) -> None:
        """Put a template in the place of a photo that enrols somebody."""
        with self._gate(), self._lock:
            entry = self._entries.get(path)
            if entry is None or entry.encoding.vector is None or path.endswith("." + EXTENSION):
                return
            if not still:
                self._convert.add(path)
                return
            try:
                new = self.folder.replace_with(path, entry.stamp, EXTENSION, written(entry.encoding), LARGEST_MARK)
            except StorageError as error:
                self._not_converted(path, f"not replaced by its template: {error.message}")
                return
            stamp = self.folder.stamp(new) if new else None
            if stamp is None:
                self._convert.add(path)  # it is another file by now
                return
            self._converted(path)
            self._forget_entry(path)
            self._forget_entry(new)
            self._record(Entry(entry.subject, new, stamp, entry.photo, entry.encoding))
            self.cache.forget_files([path])
            self.cache.remember_files([(new, stamp, entry.photo)])
            self.cache.forget_thumbnail(entry.photo)

    def _read_id(self, photo: PhotoFile) -> str | None:
        """The photo's id by its content; None when it is gone or cannot be read, which becomes a problem."""
        try:
            data = self.folder.read(photo.path, self._rules.max_bytes)
            return read_template(data).photo if is_template(data) else photo_id(data)
        except FileNotFoundError:
            return None
        except (ImageError, SealBroken, KeyMissing, OSError) as error:
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
        results = examine_files(
            list(missing.values()), self._engine, self.recipe, self._rules, self._workers, step, self.folder.vault
        )
        for examined in results:
            batch.append(examined)
            if len(batch) >= BATCH:
                self._keep(batch, users)
                batch = []
        self._keep(batch, users)

    def _keep(self, batch: list[Examined], users: Mapping) -> None:
        if not batch:
            return
        with self._gate(), self._lock:
            here, gone = {}, []
            for each in batch:
                key = each.encoding.photo, each.encoding.face
                left = [file.path for file, _ in users.get(key, ()) if self.folder.stamp(file.path) != file.stamp]
                gone += left
                if len(left) < len(users.get(key, ())):
                    here[key] = each
            shown = here.items() if self._keep_photos else ()
            thumbnails = {photo: each.thumbnail for (photo, _), each in shown if each.thumbnail is not None}
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
        changed = [(subject, change) for subject, change in changes.items() if subject not in self._expired]
        self.gallery.add([_template(subject, each) for subject, change in changed for each in change.added])
        for subject, change in changed:
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
            if not self._keep_photos:
                data, extension = written(encoding), EXTENSION
            path = self.folder.add(subject, encoding.photo + mark, extension, data)
            try:
                stamp = self.folder.stamp(path)
                if stamp is None:
                    raise StorageError("the photo was removed while it was being stored")
                kept = self._keep_photos and examined.thumbnail is not None
                thumbnails = {encoding.photo: examined.thumbnail} if kept else {}
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

    def remove_unsorted(self, name: str) -> None:
        """Erase a file that lies in the folder itself.

        Raises
        ------
        PhotoNotFound, StorageError
        """
        with self._lock:
            if not self.folder.is_unsorted(name):
                raise PhotoNotFound(f"no file {name!r} lies in known_faces itself")
            self.folder.remove_unsorted(name)
            self._folder_problems = [each for each in self._folder_problems if (each.subject, each.path) != (None, name)]

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
            self._consents.pop(subject, None)
            self._expired.discard(subject)
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
            self._pictures.forget_subject(old)
            if self._expired & {old, new}:  # two notes become the one that ends first
                self._expired = self._expired - {old} | {new}
                self.gallery.remove(new)
            self._sort_anew(new)
            held = self._by_subject.get(new, {}).values()
            self.cache.remember_files([(entry.path, entry.stamp, entry.photo) for entry in held if entry.photo])
            self._reread_consents()

    def _sort_anew(self, subject: str) -> None:
        """Which of all photos of `subject`, whoever's they were, are templates."""
        self._pictures.forget_subject(subject)
        held = self._by_subject.get(subject, {}).values()
        usable = sorted((entry for entry in held if entry.encoding.vector is not None), key=lambda entry: entry.path)
        change = self._pictures.note(subject, [entry.encoding for entry in usable])
        stay = {each.photo for each in change.added}
        there = {template.photo for template in self.gallery.templates(subject)}
        added = tuple(each for each in change.added if each.photo not in there)
        self._apply({subject: Change(added, tuple(sorted(there - stay)))})

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
        others = self._folder_problems, self._consent_problems, self._unconverted
        return sum(map(len, others)) + self._unusable

    def problems(self) -> list[Problem]:
        """Everything in the folder that is not used, and why."""
        with self._lock:
            unusable = [
                Problem(entry.subject, entry.path, entry.encoding.problem, entry.encoding.message or "")
                for entry in self._entries.values()
                if entry.encoding.problem
            ]
            found = [*self._folder_problems, *self._consent_problems, *unusable, *self._unconverted.values()]
            return sorted(found, key=lambda problem: problem.path)


def _template(subject: str, encoding: Encoding) -> Template:
    return Template(subject, encoding.photo, Embedding(encoding.vector, encoding.engine))
