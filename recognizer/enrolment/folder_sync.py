"""Brings cache and gallery in step with known_faces/, whatever people and other processes changed there."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

from recognizer.core import names
from recognizer.core.errors import ImageError, InvalidName, KeyMissing, SealBroken
from recognizer.enrolment import known_photos
from recognizer.enrolment.cache import FEW
from recognizer.enrolment.consents import Consents
from recognizer.enrolment.conversion import Conversion
from recognizer.enrolment.encodings import Encoding, FileStamp, KnownFolder, photo_id
from recognizer.enrolment.entries import EnrolmentState, Entry
from recognizer.enrolment.folder_look import FolderLook, FolderMark, PhotoFile, Problem, ReadFolder
from recognizer.enrolment.photo_encoding import PASSING, EncodingReporter, PhotoEncoder
from recognizer.enrolment.photo_marks import wanted_face
from recognizer.enrolment.renamed_folders import PhotoOf, RenameReporter, renamed
from recognizer.enrolment.template_file import is_template
from recognizer.enrolment.template_file import read as read_template

#: Seconds for which a new file must not have changed before it is read: it may still be being copied.
SETTLE = 0.6
#: Files in folders that did not change whose stamps each `sync` reads, in turn: some may have been written anew in place.
IN_TURN = 4_000
#: Number of enrolled files from which on `tidy` may leave something to the next `sync`.
LATER_FROM = 10_000
#: Folders that are remembered at once, while changes wait.
_REMEMBERED_AT_ONCE = 2_000

#: Of a file that the cache does not know.
_NONE: tuple[None, None] = (None, None)


class FolderSync:
    """Follows the folder. `Enrolment` documents the public operations.

    Parameters
    ----------
    state : EnrolmentState
    consents : Consents
    conversion : Conversion
    encoder : PhotoEncoder
    keep_photos : bool
        If false, a photo is replaced by its template once it enrols somebody.

    Attributes
    ----------
    look_seconds : float
        See `Enrolment.look_seconds`.
    on_renamed : callable
        See `Enrolment.report_renamed`.
    """

    def __init__(
        self,
        state: EnrolmentState,
        consents: Consents,
        conversion: Conversion,
        encoder: PhotoEncoder,
        keep_photos: bool,
    ):
        self._folder, self._cache, self._table, self._writing = state.folder, state.cache, state.table, state.writing
        self._consents, self._conversion, self._encoder, self._keep_photos = consents, conversion, encoder, keep_photos
        self._engine, self._max_bytes = encoder.options.engine.info.id, encoder.options.rules.max_bytes
        self._dim = encoder.options.engine.info.dim
        self.look_seconds = 0.0
        self.on_renamed: RenameReporter = lambda old, new: None
        self._lock = threading.Lock()  # one `sync` at a time
        self._tidies = False  # whether `tidy` was ever called
        self._known_version: tuple[int, int] | None = None  # the cache's version when everything in it was last learned
        self._waiting: dict[str, tuple[FileStamp, float]] = {}  # files that may still be being written, and since when
        # under the table's lock, like what follows: by folder, what was last read from it
        self._read: dict[str, ReadFolder] = {}
        self._unmarked: set[str] = set()  # those of them that are to be read again
        self._troubled: set[str] = set()  # those in which something cannot be used
        self._root_problems: dict[str, Problem] = {}
        self._turn: list[str] = []  # folders whose files are still to be looked at, although the folders did not change
        self._checks = False  # whether some of these were only trusted so far
        self._remembered: dict[str, KnownFolder] | None = None  # what the cache has of the folders, where this is known
        self._is_untidy = False  # whether `tidy` has left something to the next `sync`
        # files that the cache knew and that were not enrolled at once, each with its photo, and the cache's version then
        self._unclaimed: tuple[dict[str, str], tuple[int, int]] | None = None

    # -- the folder ---------------------------------------------------------------------------------------------

    def sync(
        self,
        settle: bool,
        report: EncodingReporter | None,
        changed: Collection[str] | None = None,
        trusting: bool = False,
    ) -> bool:
        """See `Enrolment.sync`."""
        with self._lock:
            self._encoder.check_interrupted()
            version, is_first = self._cache.version(), self._known_version is None and self._keep_photos
            with known_photos.uncollected() if is_first else nullcontext():
                trusted = self._trust() if trusting and is_first and not len(self._table) else frozenset()
                look = self._look(changed, trusted)
                if not look.whole and self._lacks_somebody(look):  # whose folder may be there under another name
                    look = self._look(None)
                new = look.photos if is_first else []
                if len(self._table):
                    new = [photo for photo in new if not self._table.is_known(photo)]
                if len(new) > FEW:
                    self._take_known(new, version)
                with self._table.lock:
                    seen, gone = self._compared(look)
                    self._conversion.forget_gone(look.changed, seen)
                    due = self._conversion.due
                    fresh = [photo for path, photo in seen.items() if path in due or not self._table.is_known(photo)]
            moved = {entry.stamp: entry.photo for entry in gone}
            cached = self._cache.files_at([photo.path for photo in fresh])
            complete = {photo.path for photo in fresh if cached.get(photo.path, _NONE)[0] == photo.stamp} - due
            complete |= {photo.path for photo in fresh if photo.stamp in moved}
            ready = [photo for photo in fresh if not settle or photo.path in complete or self._is_settled(photo)]
            unknown, changed_folders = {photo.path for photo in fresh}, look.changed
            self._waiting = {
                path: since
                for path, since in self._waiting.items()
                if path in unknown or _folder_of_path(path) not in changed_folders
            }
            self._take(ready, moved, cached, report)
            if gone:
                self._report_renamed([(entry.subject, entry.path, entry.photo) for entry in gone])
                self._drop_gone(gone)
            if self._writing.was_refused:
                self._complete_cache()
            self._note_read(look, fresh)
            waits = len(ready) < len(fresh) or self._conversion.waits
            if not waits and look.whole:
                self._known_version = version
            if self._is_untidy:
                self._tidy_rest()
            return waits or self._checks

    @property
    def left_over(self) -> list[str]:
        """The folders in which something is that an interrupted write or deletion left."""
        with self._table.lock:
            return [name for name, each in self._read.items() if each.left_over]

    def _trust(self) -> AbstractSet[str]:
        """Enrol what the cache knows of folders that have not changed, without a look at their files: that comes later.

        Returns
        -------
        set of str
            Those of which every file is enrolled.
        """
        version = self._cache.version()
        known = self._remembered = self._cache.folders()
        if len(known) <= FEW:
            return frozenset()
        marks = {name: FolderMark(*each[:2]) for name, each in known.items()}
        subjects = self._folder.unchanged(marks)
        noted = {subjects[name]: each.note for name, each in known.items() if name in subjects}
        self._consents.read({subject: note for subject, note in noted.items() if note is not None})
        rest: dict[str, str] = {}
        self._table.load(known_photos.in_folders(self._cache, self._engine, self._dim, subjects, rest))
        self._unclaimed = rest, version
        with self._table.lock:
            counts = self._table.counts()
            for name, subject in subjects.items():
                if counts.get(name, 0) == known[name].files:
                    self._read[name] = ReadFolder(subject, marks[name], known[name].note)
            self._turn, self._checks = list(self._read), bool(self._read)
            return set(self._read)

    def _look(self, changed: Collection[str] | None, trusted: AbstractSet[str] = frozenset()) -> FolderLook:
        """What may have changed; notes of consent and problems of the folder are up to date afterwards."""
        with self._table.lock:
            again = {_folder_of_path(path) for path in (*list(self._conversion.due), *list(self._waiting))}
            again.update(changed or ())
            if not trusted and (changed is None or self._checks):  # a start is ready sooner, and looks at them right afterwards
                again.update(self._next_in_turn())
            only = None if changed is None else again | self._unmarked
        begun = time.thread_time()
        look = self._folder.look(_Marks(self._read, again), only, trusted)
        if look.whole and len(look.read) < len(look.folders):
            self.look_seconds = time.thread_time() - begun
        with self._table.lock:
            if look.whole:
                look.absent |= self._read.keys() - look.folders
                look.absent |= self._table.folders() - look.folders
            for name in look.absent:
                self._read.pop(name, None)
            self._unmarked -= look.absent
            self._troubled -= look.absent
            for name in list(self._root_problems) if look.whole else (*look.absent, *look.folders):
                self._root_problems.pop(name, None)
            self._root_problems |= look.root_problems
            for name, each in look.read.items():
                self._read[name] = replace(each, mark=None)  # until all of its files are known
                self._unmarked.add(name)
                (self._troubled.add if each.problems else self._troubled.discard)(name)
            self._read_consents(look)
            if look.changed or look.whole:
                within = [problem for name in sorted(self._troubled) for problem in self._read[name].problems]
                self._table.folder_problems = [*self._root_problems.values(), *within]
        return look

    def _read_consents(self, look: FolderLook) -> None:
        if look.whole and len(look.changed) > FEW:
            self._consents.read({each.subject: each.consent for each in self._read.values() if each.consent is not None})
            return
        subjects = {each.subject for each in look.read.values()}
        for name in look.absent:
            with suppress(InvalidName):
                subjects.add(names.normalise(name))
        self._consents.reread(*subjects)

    def _next_in_turn(self) -> list[str]:
        """Folders whose files are looked at although the folders did not change, some thousands of files at a time."""
        chosen: list[str] = []
        files = 0
        for again in (False, True):
            if again and not self._turn:
                self._turn, self._checks = list(self._read), False
            while self._turn and files < IN_TURN and (not again or len(chosen) < len(self._read)):
                name = self._turn.pop()
                if name in self._read:
                    chosen.append(name)
                    files += 1 + self._table.count_in(name)
        return chosen

    def _compared(self, look: FolderLook) -> tuple[dict[str, PhotoFile], list[Entry]]:
        """The files that were seen, by path, and the entries of those that are gone."""
        seen, changed = {photo.path: photo for photo in look.photos}, look.changed
        if 2 * len(look.read) > len(self._table.folders()):  # most were read: asking for each of them would take longer
            missing = self._table.known_paths() - seen.keys()
            gone = [self._table.get(path) for path in sorted(missing) if _folder_of_path(path) in changed]
        else:
            known = (path for name in changed for path in self._table.paths_in(name))
            gone = [self._table.get(path) for path in known if path not in seen]
        return seen, [entry for entry in gone if entry is not None]

    def _note_read(self, look: FolderLook, fresh: Sequence[PhotoFile] | None = None) -> None:
        """Do not read a folder again, until it changes, of which every file is known.

        Parameters
        ----------
        fresh : sequence of PhotoFile, optional
            The files that were not known when they were looked at, where that is known.
        """
        with self._table.lock:
            doubtful = look.photos if fresh is None else fresh
            unknown = {photo.path.partition("/")[0] for photo in doubtful if not self._table.is_known(photo)}
            if self._waiting:
                known = {photo.path for photo in look.photos if self._table.is_known(photo)} - self._conversion.due
                self._waiting = {path: since for path, since in list(self._waiting.items()) if path not in known}
            unknown.update(path.partition("/")[0] for path in (*list(self._conversion.due), *list(self._waiting)))
            for name, each in look.read.items():
                if each.mark is not None and name in self._read and name not in unknown:
                    self._read[name] = each
                    self._unmarked.discard(name)

    def _is_settled(self, photo: PhotoFile) -> bool:
        """Whether a file has been left alone for long enough to be complete."""
        if 0 <= time.time() - photo.stamp.mtime_ns / 1e9 < SETTLE or photo.stamp.mtime_ns / 1e9 > time.time():
            stamp, since = self._waiting.get(photo.path, (None, 0.0))
            if stamp != photo.stamp:
                self._waiting[photo.path] = (photo.stamp, time.monotonic())
                return False
            return time.monotonic() - since >= SETTLE
        return True

    def _take_known(self, photos: Sequence[PhotoFile], version: tuple[int, int]) -> None:
        """Enrol what the cache knows of many files, before anything was read, without a look into each.

        Parameters
        ----------
        photos : sequence of PhotoFile
            By path.
        version : tuple of int
            The cache's before the folder was looked at: while it is the same, no other process has erased anybody.
        """
        rest: dict[str, str] = {}
        known = known_photos.read(self._cache, self._engine, self._dim, photos, rest)
        self._unclaimed = rest, version
        self._encoder.check_interrupted()
        if self._cache.version() != version:
            files = known.files()
            known = known.select([i for i, file in enumerate(files) if self._folder.stamp(file.path) == file.stamp])
            known.unusable[:] = [each for each in known.unusable if self._folder.stamp(each[0].path) == each[0].stamp]
        self._table.load(known)

    def _take(
        self,
        photos: Sequence[PhotoFile],
        moved: Mapping[FileStamp, str],
        known: Mapping[str, tuple[FileStamp, str]],
        report: EncodingReporter | None,
    ) -> None:
        """Read new and changed files, convert them, and enrol them.

        Parameters
        ----------
        moved : mapping
            The photo of each file that is gone, by stamp: a file with the same stamp is the same file.
        known : mapping
            Stamp and photo of each file that the cache knows, by path.
        """
        if not photos:
            return
        settled = {photo.path for photo in photos if self._is_settled(photo)}
        identified: list[tuple[PhotoFile, str]] = []
        to_remember: list[tuple[str, FileStamp, str]] = []
        for photo in photos:
            self._encoder.check_interrupted()
            stamp, photo_of = known.get(photo.path, _NONE)
            if stamp != photo.stamp:
                before = photo.stamp
                photo = self._conversion.encrypt(photo, photo.path in settled)
                photo_of = moved.get(before) or self._read_id(photo)
                if photo_of is None:
                    continue
            assert photo_of is not None  # a known file has one
            if stamp != photo.stamp and photo.path not in self._conversion.due:
                to_remember.append((photo.path, photo.stamp, photo_of))
            identified.append((photo, photo_of))
        with self._writing.locked() as writable:
            # only of what is still there: a name that was erased meanwhile must not come back into the cache
            here = [each for each in to_remember if self._folder.stamp(each[0]) == each[1]]
            if here and writable:
                self._writing.attempt(lambda: self._cache.remember_files(here))
        self._encoder.encode_and_enrol(identified, report)
        if not self._keep_photos:
            for photo, _ in identified:
                self._conversion.replace_by_template(photo.path, photo.path in settled)

    def _read_id(self, photo: PhotoFile) -> str | None:
        """The photo's id by its content; None when it is gone or cannot be read, which becomes a problem."""
        try:
            data = self._folder.read(photo.path, self._max_bytes)
            return read_template(data).photo if is_template(data) else photo_id(data)
        except FileNotFoundError:
            return None
        except (ImageError, SealBroken, KeyMissing, OSError) as error:
            code = getattr(error, "code", "unreadable")
            message = getattr(error, "message", None) or f"the file cannot be read: {getattr(error, 'strerror', '')}"
            encoding = Encoding("", self._engine, problem=code, message=message)
            with self._table.lock:
                old = self._table.get(photo.path)
                self._table.drop([] if old is None else [old])
                self._table.record(Entry(photo.subject, photo.path, photo.stamp, "", encoding))
            return None

    def _drop_gone(self, gone: Sequence[Entry]) -> None:
        """Remove files that the folder no longer contains."""
        with self._writing.locked():
            if any(self._folder.stamp(entry.path) == entry.stamp for entry in gone):  # some may be back
                there = {photo.path for photo in self._folder.look({}, {_folder_of(entry) for entry in gone}).photos}
                gone = [entry for entry in gone if entry.path not in there]
            gone = [entry for entry in gone if self._table.holds(entry)]
            self._writing.attempt(lambda: self._table.drop(gone))

    # -- folders that were renamed ------------------------------------------------------------------------------

    def _lacks_somebody(self, look: FolderLook) -> bool:
        with self._table.lock:
            return any(self._table.count_in(folder) for folder in look.absent)

    def _report_renamed(self, gone: Iterable[tuple[str, str, str]]) -> None:
        """Report those whose folders were renamed. Called before anything is dropped, so that what fails is found again.

        Parameters
        ----------
        gone : iterable of (str, str, str)
            Subject, path and photo of each file that is gone.

        Raises
        ------
        Busy
        """
        before: list[tuple[str, PhotoOf]] = [(name, (photo, wanted_face(path))) for name, path, photo in gone if photo]
        left = {name for name in {name for name, _ in before} if not self._folder.has_folder_named(name)}
        before = [each for each in before if each[0] in left]
        if not before:
            return
        with self._table.lock:
            there = [
                (each.subject, (each.photo, wanted_face(each.path))) for each in self._table.all() if each.subject not in left
            ]
        for old, new in renamed(before, there).items():
            with self._writing.holding_lock() as writable:
                if writable and not self._folder.has_folder_named(old) and self._folder.has_folder_named(new):
                    self.on_renamed(old, new)

    # -- other processes ----------------------------------------------------------------------------------------

    def catch_up(self, *subjects: str) -> bool:
        """See `Enrolment.catch_up`."""
        version = self._cache.version()
        with self._table.lock:
            if version == self._known_version and all(self._is_current(subject) for subject in subjects):
                return False
        look = self._look(None)
        with self._table.lock:
            seen, gone = self._compared(look)
            unread = self._learn(seen.values(), {entry.stamp: entry.photo for entry in gone})
        if gone:
            self._report_renamed([(entry.subject, entry.path, entry.photo) for entry in gone])
        with self._table.lock:
            self._table.drop([entry for entry in gone if self._table.holds(entry)], unread)
            self._known_version = version
        self._note_read(look)
        return True

    def others_changed(self) -> bool:
        """See `Enrolment.others_changed`."""
        return self._cache.version() != self._known_version

    def _is_current(self, subject: str) -> bool:
        known = {entry.path: entry.stamp for entry in self._table.entries(subject)}
        return known == self._folder.files_of(subject) and self._consents.is_current(subject)

    def learn(self, subject: str) -> None:
        """See `Enrolment.learn`."""
        with self._table.lock:
            files = self._folder.files_of(subject)
            if files and self._folder.clash(subject) is None:
                self._learn([PhotoFile(subject, path, stamp) for path, stamp in files.items()], {})

    def _learn(self, photos: Iterable[PhotoFile], moved: Mapping[FileStamp, str]) -> set[str]:
        """Enrol files whose content and encoding the cache has; the ids of photos that are known, but not encoded."""
        fresh = [photo for photo in photos if not self._table.is_known(photo)]
        cached = self._cache.files_at([photo.path for photo in fresh])
        found: list[tuple[PhotoFile, str]] = []
        for photo in fresh:
            stamp, photo_of = cached.get(photo.path, _NONE)
            known = photo_of if stamp == photo.stamp else moved.get(photo.stamp)
            if known is not None:
                found.append((photo, known))
        ids = {photo_of for _, photo_of in found}
        encodings = self._cache.encodings(self._engine, None if len(ids) > FEW else ids)
        ready = [each for each in found if (each[1], wanted_face(each[0].path)) in encodings]
        carried = [(photo.path, photo.stamp, photo_of) for photo, photo_of in ready if photo.path not in cached]
        if carried:
            self._cache.remember_files(carried)
        self._table.enrol(ready, encodings)
        return ids - {photo_of for _, photo_of in ready}

    # -- the cache ----------------------------------------------------------------------------------------------

    def tidy(self, later: bool) -> None:
        """See `Enrolment.tidy`."""
        self._tidies = True
        version = self._cache.version()
        with self._table.lock:
            gone = self._gone_from_cache()
        owners: list[tuple[str, str, str]] = []
        for path, photo in gone.items():
            with suppress(InvalidName):
                owners.append((names.normalise(_folder_of_path(path)), path, photo))
        self._report_renamed(owners)  # while no server ran
        with self._writing.locked() as writable:
            if writable:
                if gone or self._cache.version() != version:  # another process may have changed it, or the folder
                    gone = self._gone_from_cache()
                self._writing.attempt(lambda: self._table.erase_rows(gone, set(gone.values())))
        self._is_untidy = True
        if not later or len(self._table) < LATER_FROM:
            self._tidy_rest()

    def _gone_from_cache(self) -> dict[str, str]:
        """The files that the cache knows and that are not in the folder, each with its photo. Call with the table's lock."""
        unclaimed, self._unclaimed = self._unclaimed, None
        if unclaimed is not None and unclaimed[1] == self._cache.version():  # what this process has added since is enrolled
            return {path: photo for path, photo in unclaimed[0].items() if not self._table.has(path)}
        return self._cache.paths(self._table.known_paths())

    def _tidy_rest(self) -> None:
        """Erase rows that nothing refers to, and let the next start know which folders have not changed. What the disk refuses
        is tried again by the next `sync`."""

        def work() -> None:
            unused = self._cache.without_file()  # which takes long: each is looked at again before it is erased
            with self._writing.locked() as writable:
                if writable:
                    self._table.erase_rows((), unused)
                    self._cache.forget_other_engines(self._engine)
            self._remember_folders()
            self._is_untidy = False

        self._writing.attempt(work)

    def _remember_folders(self) -> None:
        before, self._remembered = self._cache.folders() if self._remembered is None else self._remembered, None
        with self._table.lock:
            read = list(self._read.items()) if len(self._read) > FEW else []
        left = dict(before)
        for start in range(0, len(read), _REMEMBERED_AT_ONCE):
            self._encoder.check_interrupted()
            with self._writing.locked() as writable:
                now = dict(self._known_folders(read[start : start + _REMEMBERED_AT_ONCE]))
                changed = {name: each for name, each in now.items() if left.pop(name, None) != each}
                if writable and changed:
                    self._writing.attempt(partial(self._cache.remember_folders, changed))
        with self._writing.locked() as writable:
            if writable and left:
                self._writing.attempt(lambda: self._cache.forget_folders(left))

    def _known_folders(self, read: Iterable[tuple[str, ReadFolder]]) -> Iterator[tuple[str, KnownFolder]]:
        """Those of these folders that are still as they were read, as the cache keeps them. Call with both locks: a folder that
        was erased meanwhile is none of them."""
        for name, each in read:
            if each.mark is not None and not each.problems and each.mark == self._folder.mark(name):
                note = each.consent
                parts = () if note is None else (note.size, note.mtime_ns, note.inode)
                yield name, KnownFolder(*each.mark, self._table.count_in(name), *parts)

    def _complete_cache(self) -> None:
        """Bring the cache up to date after the disk refused it, if it does so no longer."""

        def work() -> None:
            known = self._cache.files()
            missing = [entry for entry in self._table.all() if entry.photo and entry.path not in known]
            self._cache.put([each.encoding for each in missing if each.encoding.problem not in PASSING])
            self._cache.remember_files([(each.path, each.stamp, each.photo) for each in missing])
            if self._tidies:
                gone = self._gone_from_cache()
                self._table.erase_rows(gone, set(gone.values()))
                self._is_untidy = True
            self._writing.recovered()

        with self._writing.locked() as writable:
            if writable:
                self._writing.attempt(work)


class _Marks(Mapping[str, FolderMark | None]):
    """The marks of the folders that were read; of some of them None. There may be very many: nothing is copied."""

    def __init__(self, read: Mapping[str, ReadFolder], again: AbstractSet[str]):
        self._read, self._again = read, again

    def __getitem__(self, name: str) -> FolderMark | None:
        return None if name in self._again else self._read[name].mark

    def __iter__(self) -> Iterator[str]:
        return iter(self._read.keys() | self._again)

    def __len__(self) -> int:
        return len(self._read.keys() | self._again)


def _folder_of(entry: Entry) -> str:
    return _folder_of_path(entry.path)


def _folder_of_path(path: str) -> str:
    return path.partition("/")[0]
