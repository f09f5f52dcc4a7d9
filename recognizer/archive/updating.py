"""Brings the index of an archive up to date: reads what is new or changed in its folders, and forgets what was deleted.

Results are stored every few photos, so that an update which was killed continues where it ended. The content of a file is read
only if its size, its time or its inode changed, and a photo is processed only if no photo with the same content was. A folder
that is missing, cannot be read, or is suddenly empty (an unmounted disk or network share) keeps its index.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.archive.archive_file import ArchiveFile
from recognizer.archive.archive_model import ArchiveFace, ArchiveFolder, ArchivePerson, ArchivePhoto, KnownFile, stored_path
from recognizer.archive.photo_faces import find_faces
from recognizer.archive.photo_index import TEMPORARY, FaceKey, files_below, is_photo
from recognizer.archive.video_scenes import find_video_faces, is_video, video_id
from recognizer.archive.video_time import video_times
from recognizer.core.disk import disk_reason
from recognizer.core.errors import ImageError, InUse, RecognizerError
from recognizer.core.files import is_special
from recognizer.enrolment.bulk import BulkSettings, in_batches
from recognizer.enrolment.encodings import FileStamp, photo_id
from recognizer.galleries.clustering import Group, Groups, nothing_lowered
from recognizer.photos import images
from recognizer.photos.capture_time import capture_time

log = logging.getLogger("recognizer.archive")

#: Photos that are processed between two writes of the index.
BATCH = 64
#: Files whose state is stored in one transaction.
_REMEMBERED = 500
#: Name of the file that an update locks, in the state folder.
LOCK = "photos.lock"
#: Seconds after which the stored progress of a process counts as out of date.
_STALE = 120.0


@dataclass
class UpdateReport:
    """What an update did.

    Attributes
    ----------
    folders : dict
        Path of each folder -> its state; see `archive_model.ArchiveFolder`.
    found : int
        Files in the folders that are photos, or may be.
    read : int
        Files whose content was read, because they are new or changed.
    processed : int
        Photos that were processed.
    faces : int
        Faces that were found on these.
    removed : int
        Files that no longer exist.
    forgotten : int
        Photos that are nowhere any more, and were forgotten.
    problems : int
        Files that were read now and cannot be used.
    other_files : int
        Files that are no pictures.
    grouped : int
        Faces that were grouped.
    complete : bool
        False if the update was ended before its end.
    seconds : float
    """

    folders: dict[str, str] = field(default_factory=dict)
    found: int = 0
    read: int = 0
    processed: int = 0
    faces: int = 0
    removed: int = 0
    forgotten: int = 0
    problems: int = 0
    other_files: int = 0
    grouped: int = 0
    complete: bool = True
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "seconds": round(self.seconds, 1)}


class ProgressRate:
    """How far an update is, how fast, and how long it may take; measured over the time since it began.

    Parameters
    ----------
    report : callable
        Receives the progress as plain data, at most once a second.
    clock : callable
        Seconds on a clock that never jumps.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None], clock: Callable[[], float] = time.monotonic):
        self._report, self._clock = report, clock
        self._begun, self._reported = clock(), float("-inf")
        self._stage: str | None = None

    def __call__(self, stage: str, done: int, total: int, share: float | None = None) -> None:
        """Report that so many are done, and `share` of the next one, if that is a video whose length is known."""
        now = self._clock()
        if done < total and stage == self._stage and now - self._reported < 1.0:
            return
        if stage != self._stage:
            self._stage, self._begun = stage, now
        self._reported = now
        seconds = now - self._begun
        passed = done + (share or 0.0)
        rate = passed / seconds if seconds > 0 and passed else None
        left = None if rate is None else (total - passed) / rate
        self._report(
            {
                "stage": stage,
                "done": done,
                "total": total,
                "share": None if share is None else round(share, 3),
                "per_second": None if rate is None else round(rate, 2),
                "seconds_left": None if left is None else round(left),
                "process": os.getpid(),
                "time": time.time(),
            }
        )


def running(file: ArchiveFile) -> dict[str, Any] | None:
    """The progress of an update that runs in any process; None if none does."""
    shown = file.progress()
    if shown is None or time.time() - shown["time"] > _STALE:
        return None
    return shown


@contextmanager
def updating_alone(state: Path) -> Iterator[None]:
    """Nobody else updates the index inside.

    Raises
    ------
    InUse
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(state / LOCK, thread_local=False).acquire(blocking=False):
            yield
    except Timeout:
        raise InUse("the archive is being updated already") from None


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that is new or changed."""

    folder: ArchiveFolder
    path: str
    stamp: FileStamp

    @property
    def file(self) -> Path:
        return Path(self.folder.path, self.path)


class ArchiveUpdate:
    """One update of the index; inside `updating_alone`.

    Parameters
    ----------
    file : ArchiveFile
    settings : BulkSettings
    limit : callable
        Number of faces -> largest distance of neighbours for grouping; see `clustering.limit_for`.
    progress : callable
        Called with a stage, how much of how much is done, and within a video with the share of it that was read, None if its
        length is not known.
    ended : threading.Event, optional
        Ends the update early, after the current batch or within a video; nothing is lost.
    video_seconds : float
        How much of each video is read; 0 for no videos.
    lowered : callable
        By how much that is lowered for each vector; see `clustering.Groups`.
    """

    def __init__(
        self,
        file: ArchiveFile,
        settings: BulkSettings,
        limit: Callable[[int], float],
        progress: Callable[..., None] = lambda *_: None,
        ended: threading.Event | None = None,
        video_seconds: float = 0.0,
        lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
    ):
        self._video_seconds, self._lowered = video_seconds, lowered
        self._file, self._settings, self._limit, self._progress = file, settings, limit, progress
        self._ended = ended or threading.Event()
        self._report = UpdateReport()

    def run(self, only: Collection[int] | None = None) -> UpdateReport:
        """Bring the index up to date.

        Parameters
        ----------
        only : collection of int, optional
            Ids of the folders that are looked at; all by default.

        Raises
        ------
        StorageError
        """
        begun = time.monotonic()
        chosen = [each for each in self._file.folders() if only is None or each.id in only]
        gone: list[tuple[ArchiveFolder, list[str]]] = []
        wanted: list[_Found] = []
        self._progress("looking", 0, len(chosen))
        for number, folder in enumerate(chosen, 1):
            found, vanished = self._look(folder)
            wanted += found
            gone.append((folder, vanished))
            self._progress("looking", number, len(chosen))
        self._process(wanted)
        if not self._ended.is_set():
            for folder, vanished in gone:  # after what is new was read: a file that was moved keeps what is known of it
                if vanished:
                    self._report.forgotten += self._file.remove_files(folder.id, vanished)
                    self._report.removed += len(vanished)
            self._report.grouped = group_new_faces(self._file, self._settings.key, self._limit, self._lowered)
        self._report.complete = not self._ended.is_set()
        self._report.seconds = time.monotonic() - begun
        return self._report

    # -- what is there ------------------------------------------------------------------------------------------

    def _look(self, folder: ArchiveFolder) -> tuple[list[_Found], list[str]]:
        """The files of a folder that are new or changed, and the paths of those that no longer exist."""
        known = self._file.files(folder.id)
        outdated = self._file.outdated(self._settings.key)
        root = Path(folder.path)
        state = folder_state(root, bool(known))
        self._report.folders[folder.path] = state
        self._file.set_folder_state(folder.id, state)
        if state != "present":
            return [], []
        unreadable: list[str] = []
        wanted, seen = [], set()
        for path in files_below(root, lambda path, _: unreadable.append(os.path.relpath(path, root) + os.sep)):
            name = os.path.relpath(path, root)
            before = known.get(stored_path(name))
            skipped = is_video(path) and not self._video_seconds
            try:
                if is_special(path):
                    continue
                stamp = FileStamp.of(path.stat())
                if before is None and (skipped or not (is_video(path) or is_photo(path))):
                    self._report.other_files += 1
                    continue
            except OSError:
                if before is not None:
                    seen.add(stored_path(name))  # it is there, whatever it is
                continue
            seen.add(stored_path(name))
            again = before is None or before.stamp != stamp or before.problem in TEMPORARY or before.photo in outdated
            if again and not skipped:
                wanted.append(_Found(folder, name, stamp))
        self._report.found += len(seen)
        vanished = [name for name in known if name not in seen and not any(map(name.startswith, unreadable))]
        return wanted, vanished

    # -- what is new --------------------------------------------------------------------------------------------

    def _process(self, wanted: list[_Found]) -> None:
        photos = [each for each in wanted if not is_video(each.file)]
        videos = [each for each in wanted if is_video(each.file)]
        done = 0
        self._progress("photos", done, len(wanted))
        size = BATCH * max(1, self._settings.workers)
        for start in range(0, len(photos), size):
            if self._ended.is_set():
                return
            batch = photos[start : start + size]
            self._process_batch(batch)
            done += len(batch)
            self._progress("photos", done, len(wanted))
        for each in videos:
            if self._ended.is_set():
                return
            self._process_video(each, partial(self._progress, "photos", done, len(wanted)))
            done += not self._ended.is_set()
            self._progress("photos", done, len(wanted))

    def _process_video(self, found: _Found, going_on: Callable[[float | None], None]) -> None:
        """Read a video, and store what it shows in one transaction; nothing if the update is ended before that."""
        problem: tuple[str, str] | None = None
        video: str | None = None
        made: tuple[ArchivePhoto, list[ArchiveFace]] | None = None
        thumbnails: dict[FaceKey, bytes] = {}
        try:
            video = video_id(found.file, self._ended)
        except OSError as error:
            problem = ("unreadable", f"the file cannot be read: {disk_reason(error)}")
        if video is not None:
            known = self._file.photo(video)
            if known is None or known.engine != self._settings.key or known.problem in TEMPORARY:
                made, thumbnails = self._examine_video(video, found, going_on)
                if made is not None and made[0].problem in TEMPORARY:
                    problem = made[0].problem or "", made[0].message or ""
            elif known.problem is not None:
                self._report.problems += 1
        if self._ended.is_set():
            return
        with self._file.change():
            if made is not None:
                self._file.put_photos([made])
                for key, jpeg in thumbnails.items():
                    self._file.put_thumbnail(key, jpeg)
            code, message = problem or (None, None)
            self._file.put_files(found.folder.id, [KnownFile(stored_path(found.path), found.stamp, video, code, message)])
        self._report.read += 1
        self._report.problems += code is not None or (made is not None and made[0].problem is not None)
        if made is not None:
            self._report.processed += 1
            self._report.faces += len(made[1])

    def _examine_video(
        self, video: str, found: _Found, going_on: Callable[[float | None], None]
    ) -> tuple[tuple[ArchivePhoto, list[ArchiveFace]] | None, dict[FaceKey, bytes]]:
        """A video with its faces, and their thumbnails: making them later would mean decoding it again."""
        try:
            times = video_times(found.file)
            length = None if times.seconds is None else min(times.seconds, self._video_seconds)
            shown = find_video_faces(
                self._settings,
                found.file,
                most_seconds=self._video_seconds,
                same=self._limit(0),
                ended=self._ended,
                going_on=lambda seconds: going_on(None if length is None else min(1.0, seconds / length)),
            )
            recorded = times.recorded
            taken = _local(found.file.stat().st_mtime if recorded is None else recorded)
        except OSError:
            problem, message = "unreadable", "the file cannot be read"
        except RecognizerError as error:
            problem, message = error.code, error.message
        else:
            if shown is None:
                return None, {}
            photo = ArchivePhoto(
                video,
                self._settings.key,
                shown.width,
                shown.height,
                taken,
                "file" if recorded is None else "video",
                len(shown.faces),
                seconds=shown.seconds,
            )
            faces, thumbnails = [], {}
            for number, each in enumerate(shown.faces):
                key, face = FaceKey(video, number), each.face
                remarks = ",".join(face.remarks) or None
                faces.append(ArchiveFace(key, face.box, face.score, face.quality, remarks, face.vector, seconds=each.seconds))
                thumbnails[key] = each.thumbnail
            return (photo, faces), thumbnails
        return (ArchivePhoto(video, self._settings.key, problem=problem, message=message, seconds=0.0), []), {}

    def _process_batch(self, batch: list[_Found]) -> None:
        """Read the files of a batch, process the photos that nobody knows yet, and store all of it in one transaction."""
        with ThreadPoolExecutor(max(1, min(4, self._settings.workers))) as pool:
            contents = list(pool.map(lambda each: _content(each, self._settings.max_bytes), batch))
        self._report.read += len(batch)
        names = {photo for photo, _ in contents if photo is not None}
        known = {
            id_: photo
            for id_, photo in self._file.known_photos(names).items()
            if photo.engine == self._settings.key and photo.problem not in TEMPORARY
        }
        new: dict[str, Path] = {}
        for each, (photo, _) in zip(batch, contents, strict=True):
            if photo is not None and photo not in known:
                new.setdefault(photo, each.file)
        results = [made for part in in_batches(_examine, list(new.items()), self._settings) for made in part]
        with self._file.change():
            self._file.put_photos(results)
            for folder in {each.folder.id for each in batch}:
                self._file.put_files(folder, self._rows(folder, batch, contents, results))
        self._report.processed += len(results)
        self._report.faces += sum(len(faces) for _, faces in results)

    def _rows(
        self,
        folder: int,
        batch: list[_Found],
        contents: list[tuple[str | None, tuple[str, str] | None]],
        results: list[tuple[ArchivePhoto, list[ArchiveFace]]],
    ) -> list[KnownFile]:
        """The rows of the files of one folder; a problem that may pass is one of the file, so that it is tried again."""
        passing = {photo.id: (photo.problem, photo.message) for photo, _ in results if photo.problem in TEMPORARY}
        failed = {photo.id for photo, _ in results if photo.problem is not None}
        rows = []
        for each, (photo, problem) in zip(batch, contents, strict=True):
            if each.folder.id != folder:
                continue
            code, message = problem or passing.get(photo or "") or (None, None)
            self._report.problems += code is not None or photo in failed
            rows.append(KnownFile(stored_path(each.path), each.stamp, photo, code, message))
        return rows


def folder_state(root: Path, was_filled: bool) -> str:
    """Whether a folder is there: ``present``, ``missing``, ``unreadable``, or ``empty`` where there were photos before."""
    try:
        if not root.is_dir():
            return "missing"
        with os.scandir(root) as entries:
            filled = any(True for _ in entries)
    except OSError:
        return "unreadable"
    return "present" if filled or not was_filled else "empty"


def _content(found: _Found, max_bytes: int) -> tuple[str | None, tuple[str, str] | None]:
    """The id of a file's content, or why it cannot be read: a code and a text."""
    try:
        return photo_id(images.read_file(found.file, max_bytes=max_bytes)), None
    except OSError as error:
        return None, ("unreadable", f"the file cannot be read: {disk_reason(error)}")
    except ImageError as error:
        return None, (error.code, error.message)


def _examine(settings: BulkSettings, item: tuple[str, Path]) -> tuple[ArchivePhoto, list[ArchiveFace]]:
    """A photo and its faces; one that cannot be used says why."""
    photo, path = item
    try:
        data = images.read_file(path, max_bytes=settings.max_bytes)
        taken = capture_time(data)
        clock = "file" if taken is None else "camera"
        if taken is None:
            taken = _local(path.stat().st_mtime)
        image, faces = find_faces(settings, data)
    except OSError:
        return ArchivePhoto(photo, settings.key, problem="unreadable", message="the file cannot be read"), []
    except RecognizerError as error:
        return ArchivePhoto(photo, settings.key, problem=error.code, message=error.message), []
    found = [
        ArchiveFace(FaceKey(photo, number), each.box, each.score, each.quality, ",".join(each.remarks) or None, each.vector)
        for number, each in enumerate(faces)
    ]
    return ArchivePhoto(photo, settings.key, image.width, image.height, taken, clock, len(found)), found


def _local(seconds: float) -> float:
    """A time on this machine's clock, as `capture_time` gives one on a camera's."""
    return seconds + (time.localtime(seconds).tm_gmtoff or 0)


# -- groups -----------------------------------------------------------------------------------------------------------


def group_new_faces(
    file: ArchiveFile,
    engine: str,
    limit: Callable[[int], float],
    lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
) -> int:
    """Group the faces that have no group yet; how many those are."""
    if not file.ungrouped(engine):
        return 0
    with file.change():  # also what is read: nobody decides, is renamed or erased before the groups are stored
        new, people = file.ungrouped(engine), file.people()
        members: dict[int, dict[FaceKey, np.ndarray]] = {}
        for face in file.all_faces(engine):
            if face.person in people:
                members.setdefault(face.person, {})[face.key] = face.vector
        total = len(new) + sum(map(len, members.values()))
        groups = grown_groups(limit(total), members, people, file.next_person, lowered)
        changed = groups.add_faces([face.key for face in new], np.array([face.vector for face in new]))
        store_groups(file, groups, changed, people)
    return len(new)


def grown_groups(
    limit: float,
    members: Mapping[int, Mapping[FaceKey, np.ndarray]],
    people: Mapping[int, ArchivePerson],
    new_id: Callable[[], int],
    lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
) -> Groups[FaceKey, int]:
    """The groups in the form in which they can grow. Whoever was named by a person is never taken apart, and groups that
    `kept_apart` names never become one.

    Parameters
    ----------
    limit : float
        Largest distance of neighbours.
    members : mapping
        Id of each group -> its faces with their templates.
    people : mapping
        The same groups by id.
    new_id : callable
        Returns an id that was never used.
    lowered : callable
        By how much that is lowered for each vector; see `clustering.Groups`.
    """
    apart = kept_apart({id_: people[id_] for id_ in members})
    groups = {
        id_: Group(faces, people[id_].fixed or people[id_].decided or bool(apart[id_]), people[id_].apart | apart[id_])
        for id_, faces in members.items()
    }
    return Groups(limit, groups, new_id, lowered)


def kept_apart(people: Mapping[int, ArchivePerson]) -> dict[int, frozenset[int]]:
    """The groups that each group must not be merged with because of its names: people gave them different names, or refused
    the name of one for the other.

    Parameters
    ----------
    people : mapping
        Groups by id.
    """
    named: dict[str, set[int]] = {}
    decided: set[int] = set()
    for id_, each in people.items():
        if each.subject:
            named.setdefault(each.subject, set()).add(id_)
            if each.decided:
                decided.add(id_)
    apart: dict[int, set[int]] = {id_: set() for id_ in people}
    for id_, each in people.items():
        others = set().union(*(named.get(subject, ()) for subject in each.refused)) - {id_}
        if id_ in decided:
            others |= decided - named[each.subject or ""]
        apart[id_] |= others
        for other in others:
            apart[other].add(id_)
    return {id_: frozenset(others) for id_, others in apart.items()}


def store_groups(
    file: ArchiveFile, groups: Groups[FaceKey, int], changed: Collection[int], people: Mapping[int, ArchivePerson]
) -> None:
    """Store the groups that changed.

    Parameters
    ----------
    people : mapping
        All groups by id, as they were before.
    """
    before = {id_: file.keys_of(id_) for id_ in changed}
    after = {id_: people.get(id_, ArchivePerson(id_)) for id_ in changed if id_ in groups}
    inherited: set[int] = set()  # groups with the faces of a group that a person formed
    for id_ in changed:  # what was decided about a group now holds for the group that has its faces
        old = people.get(id_)
        if old is None or not (old.decided or old.hidden or old.refused or old.fixed):
            continue
        heir = next((groups.group_of(key) for key in before[id_]), None)
        if heir is None or heir == id_:
            continue
        if old.fixed:
            inherited.add(heir)
        own = after.get(heir, people.get(heir, ArchivePerson(heir)))
        if old.decided and not own.decided:
            own = replace(own, subject=old.subject, decided=True, rate=None, likely=None, likely_rate=None)
        after[heir] = replace(own, hidden=own.hidden or old.hidden, refused=own.refused | old.refused)
        if id_ in after:
            after[id_] = ArchivePerson(id_)
    stored = groups.groups(after)
    by_names = kept_apart({id_: after.get(id_, people.get(id_, ArchivePerson(id_))) for id_ in {*people, *after}})
    for id_, each in after.items():
        apart = {other for other in stored[id_].apart if other in groups}
        decided_apart = frozenset(apart - (by_names[id_] - each.apart))  # what follows from names is not stored twice
        file.put_people([replace(each, fixed=each.fixed or id_ in inherited, apart=decided_apart)])
        present = set(before.get(id_, ()))
        file.set_faces(id_, [key for key in stored[id_].faces if key not in present])
    file.tidy_people()
