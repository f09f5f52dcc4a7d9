"""The photo archive of an installation: its folders, updates on a thread, search by face, and pictures made when asked for."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.archive import decisions, group_names, updating
from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.archive.archive_model import ArchiveFace, ArchiveFolder, ArchivePerson, ArchivePhoto, shown_path
from recognizer.archive.face_search import FaceSearch, FoundPage
from recognizer.archive.photo_index import FaceKey
from recognizer.archive.updating import ArchiveUpdate, ProgressRate, UpdateReport
from recognizer.core.disk import disk_reason
from recognizer.core.errors import (
    ArchiveGroupNotFound,
    FolderInArchive,
    FolderNotFound,
    InUse,
    InvalidParameter,
    PhotoNotFound,
    PictureNotFound,
    RecognizerError,
    SettingFixed,
)
from recognizer.core.priorities import lower_thread_priority
from recognizer.core.types import Box
from recognizer.core.vault import Vault
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.encodings import FileStamp, photo_id
from recognizer.enrolment.examination import THUMBNAIL, thumbnail
from recognizer.events.sightings import AROUND
from recognizer.galleries import clustering
from recognizer.galleries.contract import Gallery
from recognizer.photos import images
from recognizer.service.matcher import Matcher
from recognizer.video.sources.recording import frame_at

log = logging.getLogger("recognizer.archive")

#: Expected number of faces of other people among all faces that a search compares; its default distance follows from this.
FALSE_FACES = 1.0
#: Long side of a photo as it is shown.
SHOWN_SIDE = 1600
#: Maximum number of pictures that enrol a group, and how many of its best ones they are chosen from.
ENROLLING_PICTURES, _CANDIDATES = 5, 30
#: Most templates of a group or person that a search compares with; the best pictures are taken.
_MOST_PROBES = 64
#: How an address begins, also after its two slashes have become one.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True)
class Wanted:
    """What a search is restricted to.

    Attributes
    ----------
    since, until : str or None
        Days or times on the camera's clock, both included.
    folder : str or None
        A folder of the archive, or one below it.
    max_distance : float or None
        Largest distance; by default it follows from the number of faces that are compared.
    limit : int
    cursor : str or None
    """

    since: str | None = None
    until: str | None = None
    folder: str | None = None
    max_distance: float | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True)
class ArchiveResult:
    """A page of a search.

    Attributes
    ----------
    page : FoundPage
    faces : dict
        Key of each face of the page -> the face.
    photos : dict
        Id of each photo of the page -> the photo.
    paths : dict
        Id of each photo of the page -> its files.
    people : dict
        Id of each group of the page -> the group.
    max_distance : float
    """

    page: FoundPage
    faces: dict[FaceKey, ArchiveFace]
    photos: dict[str, ArchivePhoto]
    paths: dict[str, list[str]]
    people: dict[int, ArchivePerson]
    max_distance: float


class KeptArchive:
    """Owns the one index of an installation. Any thread may call.

    Parameters
    ----------
    state : Path
        The state folder.
    settings : callable
        Returns how photos are read and described.
    gallery : Gallery
    matcher : Matcher
    vault : Vault, optional
    allowed : Path, optional
        The folder that must contain folders which are added over the API; None if none may be.
    video_minutes : int
        How much of each video is read; 0 for no videos.
    changing : callable
        The lock of every write, within which `gallery` knows of all earlier changes.
    """

    def __init__(
        self,
        state: Path,
        settings: Callable[[], BulkSettings],
        gallery: Gallery,
        matcher: Matcher,
        vault: Vault | None,
        allowed: Path | None,
        video_minutes: int = 0,
        changing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ):
        self._video_minutes, self._changing = video_minutes, changing
        self._state, self._settings, self._vault, self._allowed = state, settings, vault, allowed
        self._gallery, self._matcher = gallery, matcher
        self._lock = threading.RLock()
        self._file: ArchiveFile | None = None
        self._search: FaceSearch | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._last: dict[str, Any] | None = None
        self._counted: tuple[int, dict[str, int]] | None = None

    # -- the file -----------------------------------------------------------------------------------------------

    @property
    def file(self) -> ArchiveFile:
        """The index; made when it is first used.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            if self._file is None:
                self._file = ArchiveFile(self._state / ARCHIVE_FILE, self._vault)
            return self._file

    @property
    def exists(self) -> bool:
        """Whether there is an index."""
        return self._file is not None or (self._state / ARCHIVE_FILE).exists()

    @property
    def engine(self) -> str:
        """Key of the engine whose templates are compared."""
        return self._settings().key

    @property
    def search(self) -> FaceSearch:
        """Search by template."""
        with self._lock:
            if self._search is None:
                self._search = FaceSearch(self.file, self.engine)
            return self._search

    def close(self) -> None:
        """End a running update after its current batch, and close the file."""
        self._ended.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    # -- folders ------------------------------------------------------------------------------------------------

    def folders(self) -> list[ArchiveFolder]:
        """All folders of the archive."""
        return self.file.folders() if self.exists else []

    def add_folder(self, path: Path, *, restricted: bool = False) -> ArchiveFolder:
        """Add a folder; its photos are read by the next update.

        Parameters
        ----------
        restricted : bool
            Whether it must be in the folder that a setting names.

        Raises
        ------
        InvalidParameter
            It is no folder, cannot be read, or is outside the folder that may be used.
        FolderInArchive
            It is there, or a folder around it or in it.
        SettingFixed
            The setting allows none.
        """
        if restricted and self._allowed is None:
            raise SettingFixed("folders can only be added here if RECOGNIZER_ARCHIVE_FILES names the folder that contains them")
        if _ADDRESS.match(str(path)):
            raise InvalidParameter("folder: expected a folder, not an address; mount the bucket or share, as rclone does")
        try:
            real = (self._allowed / path if restricted and self._allowed is not None else path).resolve()
            state = updating.folder_state(real, False)
        except (OSError, ValueError):
            raise InvalidParameter("folder: expected a folder") from None
        if restricted and self._allowed is not None:
            allowed = self._allowed.resolve()
            if real != allowed and allowed not in real.parents:
                raise InvalidParameter("folder: expected one in the folder that RECOGNIZER_ARCHIVE_FILES names")
        if state != "present":
            raise InvalidParameter(f"folder: the folder is {state}")
        for each in self.folders():
            other = Path(each.path)
            if other == real or other in real.parents or real in other.parents:
                raise FolderInArchive("the folder, or one around or in it, is in the archive already", folder=each.id)
        return self.file.add_folder(str(real))

    def folder(self, id_: int) -> ArchiveFolder:
        """One folder.

        Raises
        ------
        FolderNotFound
        """
        for each in self.folders():
            if each.id == id_:
                return each
        raise FolderNotFound(f"there is no folder {id_} in the archive", folder=id_)

    def folder_at(self, path: Path) -> ArchiveFolder:
        """The folder with a path, also if it is missing.

        Raises
        ------
        FolderNotFound
        """
        wanted = {str(path), str(path.absolute()), str(path.resolve())}
        for each in self.folders():
            if each.path in wanted:
                return each
        raise FolderNotFound("the archive has no such folder")

    def remove_folder(self, id_: int) -> None:
        """Remove a folder from the index, with everything about photos that are in no other one. No photo is changed.

        Raises
        ------
        FolderNotFound
        InUse
            An update is running.
        """
        found = self.folder(id_)
        with updating.updating_alone(self._state):
            self.file.remove_folder(found.id)

    # -- updates ------------------------------------------------------------------------------------------------

    def update(
        self, only: Collection[int] | None = None, progress: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> UpdateReport:
        """Bring the index up to date, here and now; then recognise the groups.

        Parameters
        ----------
        only : collection of int, optional
            Ids of folders; all by default.
        progress : callable
            Receives how far it is as plain data, about once a second.

        Raises
        ------
        InUse
            Another update is running, here or in another process.
        StorageError
        """
        file = self.file

        def report(shown: dict[str, Any]) -> None:
            file.report_progress(shown)
            progress(shown)

        with updating.updating_alone(self._state):
            try:
                made = ArchiveUpdate(
                    file,
                    self._settings(),
                    self._grouping_limit,
                    ProgressRate(report),
                    self._ended,
                    self._video_minutes * 60.0,
                    self._matcher.crowded,
                )
                found = made.run(only)
                if found.complete:
                    self.recognise()
            finally:
                file.report_progress(None)
        return found

    def start_update(self) -> None:
        """Begin an update on a thread of its own.

        Raises
        ------
        InUse
            One is running already.
        """
        with self._lock:
            if (self._thread is not None and self._thread.is_alive()) or self._running() is not None:
                raise InUse("the archive is being updated already")
            self._thread = threading.Thread(target=self._update_here, name="archive", daemon=True)
            self._thread.start()

    def _update_here(self) -> None:
        lower_thread_priority()
        try:
            found = self.update()
            done = {name: value for name, value in found.as_dict().items() if name != "folders"}  # which are paths
            self._last = {"time": time.time(), "error": None, **done}
            log.info("the archive was updated: %d photos processed, %d faces", found.processed, found.faces)
        except RecognizerError as error:
            self._last = {"time": time.time(), "error": {"code": error.code, "message": error.message}}
            log.warning("the archive could not be updated: %s", error.message)
        except Exception:
            self._last = {"time": time.time(), "error": {"code": "error", "message": "unexpected error; see the log"}}
            log.exception("the archive could not be updated")

    def _running(self) -> dict[str, Any] | None:
        return updating.running(self.file) if self.exists else None

    def status(self) -> dict[str, Any] | None:
        """Counts, the progress of an update in any process, and what the last one here did; None without an archive."""
        if not self.exists:
            return None
        generation = self.file.generation
        if self._counted is None or self._counted[0] != generation:
            self._counted = generation, {"folders": len(self.folders()), **self.file.counts()}
        return {**self._counted[1], "update": self._running(), "last_update": self._last}

    def _grouping_limit(self, faces: int) -> float:
        return clustering.limit_for(faces, self._matcher.curve.distance)

    def recognise(self) -> int:
        """Recognise enrolled people in the groups that no person named; how many groups have a name by that now."""
        with self._changing():  # an update takes long: of what others changed meanwhile, this process may know nothing
            pass
        matcher = self._matcher
        return group_names.recognise_groups(
            self.file, self.engine, self._gallery, matcher.curve, matcher.stranger_rate, matcher.crowded, self._changing
        )

    # -- search -------------------------------------------------------------------------------------------------

    def find(self, probes: np.ndarray, wanted: Wanted, people: Collection[int] = ()) -> ArchiveResult:
        """The faces that are near one of some templates, float32 (n, d), and those of some groups.

        Raises
        ------
        InvalidParameter, FolderNotFound
        """
        since, until = moment(wanted.since, "since"), moment(wanted.until, "until", end=True)
        photos = None if wanted.folder is None else self._photos_below(wanted.folder)
        limit = wanted.max_distance
        if limit is None:
            limit = self.default_distance(len(probes))
        page = self.search.find(
            probes,
            limit,
            people=people,
            since=since,
            until=until,
            photos=photos,
            limit=wanted.limit,
            cursor=wanted.cursor,
        )
        return self._described(page, limit)

    def _described(self, page: FoundPage, limit: float) -> ArchiveResult:
        keys = [each.key for each in page.faces]
        ids = list(dict.fromkeys(key.photo for key in keys))
        faces = {key: face for key in keys if (face := self.file.face(key)) is not None}
        groups = {face.person for face in faces.values() if face.person is not None}
        return ArchiveResult(page, faces, self.file.known_photos(ids), self.file.paths_of(ids), self.file.people(groups), limit)

    def default_distance(self, probes: int) -> float:
        """The largest distance at which a search is expected to find no more than `FALSE_FACES` faces of other people."""
        comparisons = max(1, probes) * max(1, len(self.search))
        return min(self._matcher.one_to_one, self._matcher.curve.distance(FALSE_FACES / comparisons))

    def rate(self, distance: float) -> float:
        """The false-match rate of one comparison at a distance."""
        return self._matcher.curve.reported_rate(distance)

    def probes_of_subject(self, subject: str) -> tuple[np.ndarray, list[int]]:
        """Templates of an enrolled person, and the groups that have the name."""
        vectors = [each.embedding.vector for each in self._gallery.templates(subject)]
        named = self.file.named(subject)
        if not vectors:  # named in the archive, but not enrolled
            return np.concatenate([self.probes_of_group(id_) for id_ in named] or [np.empty((0, 0), np.float32)]), named
        return np.array(vectors[:_MOST_PROBES], np.float32), named

    def probes_of_group(self, id_: int) -> np.ndarray:
        """Templates of the best faces of a group.

        Raises
        ------
        ArchiveGroupNotFound
        """
        decisions.get_person(self.file, id_)
        return self.search.vectors_of(self.file.keys_of(id_)[:_MOST_PROBES])

    def _photos_below(self, folder: str) -> set[str]:
        """Ids of the photos in a folder of the archive, or in one below it; by its path, or as `shown_file` shows it."""
        path = Path(folder)
        names = {name: each.path for each, name in folder_names(self.folders())}
        if path.parts and path.parts[0] in names:
            path = Path(names[path.parts[0]], *path.parts[1:])
        if not path.is_absolute():
            path = path.absolute()
        for each in self.folders():
            root = Path(each.path)
            if path == root:
                return self.file.photos_in([each.id])
            if root in path.parents:
                below = str(path.relative_to(root)) + "/"
                return {file.photo for name, file in self.file.files(each.id).items() if file.photo and name.startswith(below)}
        raise FolderNotFound("the folder is in no folder of the archive")

    # -- pictures -----------------------------------------------------------------------------------------------

    def photo_data(self, photo: str) -> tuple[bytes, str]:
        """The content of a photo, and the path of a file that has it.

        Raises
        ------
        PhotoNotFound
            It is not in the archive, or no file has this content at the moment.
        """
        for path in self.file.paths_of([photo])[photo]:
            try:
                data = images.read_file(path, max_bytes=self._settings().max_bytes)
            except (OSError, RecognizerError) as error:
                log.debug(
                    "a photo of the archive cannot be read: %s", disk_reason(error) if isinstance(error, OSError) else error
                )
                continue
            if photo_id(data) == photo:
                return data, path
        raise PhotoNotFound("the archive has no such photo, or its file is not there at the moment", photo=photo)

    def shown_photo(self, photo: str, seconds: float | None = None) -> bytes:
        """A photo, or the frame of a video at a time, as a JPEG of at most `SHOWN_SIDE` pixels.

        Parameters
        ----------
        seconds : float, optional
            From the beginning of a video; by default that of its first face.

        Raises
        ------
        PhotoNotFound, ImageError
        """
        if seconds is None:
            seconds = next((each.seconds for each in self.file.faces_on(photo) if each.seconds is not None), 0.0)
        image = self._picture(photo, seconds, SHOWN_SIDE)
        return images.encode_jpeg(images.resize(image.pixels, SHOWN_SIDE), quality=85)

    def _picture(self, photo: str, seconds: float | None, long_side: int) -> images.Image:
        """A photo, or a frame of a video, at least so large if it is that large.

        Raises
        ------
        PhotoNotFound, ImageError
        """
        known = self.file.photo(photo)
        if known is None or known.seconds is None:
            return self._decoded(self.photo_data(photo)[0], long_side)
        for path, stamp in self.file.stamps_of(photo).items():
            try:  # an unchanged file has the content that the update read; reading all of it again could take minutes
                if FileStamp.of(Path(path).stat()) != stamp:
                    continue
            except OSError as error:
                log.debug("a video of the archive cannot be read: %s", disk_reason(error))
                continue
            pixels = frame_at(Path(path), min(seconds or 0.0, known.seconds))
            height, width = pixels.shape[:2]
            return images.Image(images.resize(pixels, long_side), width, height, "array")
        raise PhotoNotFound("the archive has no such photo, or its file is not there at the moment", photo=photo)

    def _decoded(self, data: bytes, long_side: int) -> images.Image:
        settings = self._settings()
        return images.decode(data, max_bytes=settings.max_bytes, max_pixels=settings.max_pixels, long_side=long_side)

    def face(self, key: FaceKey) -> ArchiveFace:
        """One face.

        Raises
        ------
        PictureNotFound
        """
        found = self.file.face(key)
        if found is None:
            raise PictureNotFound("the archive has no such face", face=str(key))
        return found

    def thumbnail(self, key: FaceKey) -> bytes:
        """A small JPEG of a face; made when it is first asked for.

        Raises
        ------
        PictureNotFound, PhotoNotFound, ImageError
        """
        face = self.face(key)
        kept = self.file.thumbnail(key)
        if kept is not None:
            return kept
        photo = self.file.photo(key.photo)
        longest = max(photo.width or 1, photo.height or 1) if photo else 1
        side = round(longest * min(1.0, 2 * THUMBNAIL / max(face.box.width, face.box.height)))
        made = thumbnail(self._picture(key.photo, face.seconds, max(side, THUMBNAIL)), face.box)
        self.file.put_thumbnail(key, made)
        return made

    def cut(self, key: FaceKey) -> bytes:
        """A JPEG of a face with what is around it, as sharp as the photo, for enrolment.

        Raises
        ------
        PictureNotFound, PhotoNotFound, ImageError
        """
        face = self.face(key)
        image = self._picture(key.photo, face.seconds, 100_000)
        height, width = image.pixels.shape[:2]
        fx, fy = width / image.width, height / image.height
        reach = AROUND * max(face.box.width, face.box.height)
        left, right = max(0, int((face.box.left - reach) * fx)), min(width, int((face.box.right + reach) * fx))
        top, bottom = max(0, int((face.box.top - reach) * fy)), min(height, int((face.box.bottom + reach) * fy))
        return images.encode_jpeg(np.ascontiguousarray(image.pixels[top:bottom, left:right]), quality=95)

    def enrolling_pictures(self, id_: int) -> list[bytes]:
        """The pictures that enrol a group: the best ones, which differ enough from each other.

        Raises
        ------
        ArchiveGroupNotFound, PhotoNotFound, ImageError
        """
        decisions.get_person(self.file, id_)
        chosen: list[np.ndarray] = []
        pictures = []
        for key in self.file.keys_of(id_)[:_CANDIDATES]:
            vector = self.face(key).vector
            if chosen and np.linalg.norm(np.array(chosen) - vector, axis=1).min() < 0.3 * self._matcher.one_to_one:
                continue
            chosen.append(vector)
            pictures.append(self.cut(key))
            if len(pictures) == ENROLLING_PICTURES:
                break
        return pictures

    def name_enrolled(self, id_: int, subject: str) -> None:
        """Give a group the name of the person whom its pictures enrolled, if both are still there."""
        with self._changing():
            if self._gallery.templates(subject):
                with suppress(ArchiveGroupNotFound):  # an update has joined it with another
                    decisions.name_person(self.file, id_, subject)

    # -- one person ---------------------------------------------------------------------------------------------

    def keys_about(self, subject: str, templates: np.ndarray) -> set[FaceKey]:
        """The faces that are about somebody: of groups with the name, and those that would be recognised by the templates."""
        if not self.exists:
            return set()
        found = {key for id_ in self.file.named(subject) for key in self.file.keys_of(id_)}
        if len(templates) and len(self.search):
            limit = self._matcher.threshold_now(max(1, len(templates)))
            page = self.search.find(templates, limit, limit=len(self.search))
            found |= {each.key for each in page.faces}
        return found

    def forget(self, subject: str, templates: np.ndarray) -> None:
        """Erase everything about somebody from the index; the photos are not touched."""
        if self.exists:
            keys = self.keys_about(subject, templates)
            self.file.forget_name(subject)
            self.file.forget_faces(keys)
            if self._search is not None:
                self._search.forget()

    def exported(self, subject: str) -> list[dict[str, Any]]:
        """Every face of groups that have a name, as plain data."""
        if not self.exists:
            return []
        shown = []
        for id_ in self.file.named(subject):
            for face in self.file.faces_of(id_):
                photo = self.file.photo(face.key.photo)
                shown.append(
                    {
                        "photo": face.key.photo,
                        "files": self.file.paths_of([face.key.photo])[face.key.photo],
                        "box": face.box.to_dict(),
                        "time_s": face.seconds,
                        "taken": None if photo is None else shown_time(photo.taken),
                        "group_id": id_,
                        "vector": [float(value) for value in face.vector],
                    }
                )
        return shown


def folder_names(folders: Sequence[ArchiveFolder]) -> list[tuple[ArchiveFolder, str]]:
    """Each folder with a name that tells it from the others without saying where it is on the server."""
    counts = Counter(Path(each.path).name for each in folders)
    return [
        (each, name if counts[name] == 1 and name else f"{name or 'folder'} ({each.id})")
        for each in folders
        for name in (Path(each.path).name,)
    ]


def shown_file(path: str, folders: Sequence[ArchiveFolder]) -> str:
    """A file of the archive without where its folder is on the server: the folder's name, and the path below it."""
    for each, name in folder_names(folders):
        if Path(each.path) in Path(path).parents:
            return shown_path(str(Path(name, Path(path).relative_to(each.path))))
    return shown_path(Path(path).name)


def moment(text: str | None, name: str, *, end: bool = False) -> float | None:
    """A day or a time on the camera's clock as seconds; of a day the first, or with `end` the last moment.

    Raises
    ------
    InvalidParameter
    """
    if text is None or not text.strip():
        return None
    text = text.strip()
    try:
        if len(text) <= 10:
            parts = [int(part) for part in text.split("-")]
            first = date(*(parts + [1, 1])[:3])
            if len(parts) == 1:
                after = date(first.year + 1, 1, 1)
            elif len(parts) == 2:
                after = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
            else:
                after = first + timedelta(days=1)
            chosen = datetime(after.year, after.month, after.day) if end else datetime(first.year, first.month, first.day)
            return chosen.replace(tzinfo=timezone.utc).timestamp() - (0.001 if end else 0)
        return datetime.fromisoformat(text.rstrip("Zz")).replace(tzinfo=timezone.utc).timestamp()
    except (ValueError, TypeError, OverflowError):
        raise InvalidParameter(f"{name}: expected a day such as 2026-07-31, a month, a year, or a time") from None


def shown_time(seconds: float | None) -> str | None:
    """A time on the camera's clock as text, without a time zone."""
    if seconds is None:
        return None
    return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def box_of(text: str | Sequence[float]) -> Box:
    """A box from its edges, as a list or separated by commas.

    Raises
    ------
    InvalidParameter
    """
    try:
        parts = [float(part) for part in (text.split(",") if isinstance(text, str) else text)]
        return Box(*parts)
    except (ValueError, TypeError):
        raise InvalidParameter("box: expected left,top,right,bottom in pixels of the photo") from None
