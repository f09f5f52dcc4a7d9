"""Every holding of an installation: what is stored about people, and where. A new keeper of data is added to `all_holdings`."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath

import numpy as np

from recognizer.backup import backup
from recognizer.backup.reseal import DELETED, SCRATCH
from recognizer.core.audit import AuditLog
from recognizer.core.disk import disk_errors
from recognizer.core.errors import SubjectNotFound
from recognizer.core.files import PART, remove_erasing
from recognizer.core.holdings import ExportedFile, Whose
from recognizer.core.sealed_sqlite import remove_set_aside, set_aside_files
from recognizer.core.times import iso_time
from recognizer.enrolment.bin_store import BinItem, BinStore
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.shared_enrolment import SharedEnrolment
from recognizer.events.sightings import Sightings
from recognizer.galleries import matching
from recognizer.service.archive_service import KeptArchive
from recognizer.service.detected_faces import FaceStore
from recognizer.service.event_service import KeptEvents
from recognizer.service.job_service import KeptJobs
from recognizer.service.rule_service import KeptRules
from recognizer.service.stranger_service import KeptStrangers
from recognizer.service.visit_service import KeptVisits

log = logging.getLogger("recognizer.holdings")

#: Age in seconds at which a temporary file counts as abandoned: no write takes as long.
ABANDONED_SECONDS = 600.0


class EnrolledHolding:
    """Photos, consent notes, templates and thumbnails: the folder of a subject, the cache and the gallery.

    Parameters
    ----------
    enrolment : Enrolment
    max_bytes : int
        Size of the largest photo that is read.
    """

    label = "photos"

    def __init__(self, enrolment: Enrolment, max_bytes: int):
        self._enrolment, self._max_bytes = enrolment, max_bytes

    def _entries(self, name: str) -> list[Entry]:
        try:
            return self._enrolment.entries(name)
        except SubjectNotFound:
            return []

    def find(self, whose: Whose) -> int:
        return len(self._entries(whose.name)) or int(self._enrolment.has_folder(whose.name))

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        entries = self._entries(whose.name)
        for entry in entries:
            data = self._enrolment.read(entry.path, self._max_bytes)
            yield ExportedFile(f"photos/{PurePosixPath(entry.path).name}", data, "photos")
        keys = {entry.photo: thumbnail_key(entry.photo, entry.encoding.face) for entry in entries if entry.photo}
        for photo, key in keys.items():
            kept = self._enrolment.thumbnail(key)
            if kept is not None:
                yield ExportedFile(f"thumbnails/{photo}.jpg", kept, "thumbnails")
        yield as_json("templates.json", [_plain_template(entry) for entry in entries], "templates")
        agreed = self._enrolment.consent(whose.name)
        held = self._enrolment.identity(whose.name)
        if held is not None:
            yield as_json("identity.json", {"id": held.id, "made": held.made, **held.data}, "identity")
        about = self._enrolment.particulars(whose.name)
        if about:
            yield as_json("about.json", about.as_json(), "about")
        yield as_json("consent.json", {"consent": agreed.note, "expires": agreed.expires}, "consent")

    def rename(self, old: str, new: str) -> None:
        """Nothing: `Enrolment.rename` has done it before the holdings are walked."""

    def erase(self, whose: Whose) -> None:
        mine = {entry.photo for entry in self._entries(whose.name)}
        if whose.again and mine - set(whose.photos):  # somebody else was enrolled under this name since
            for photo in mine & set(whose.photos):
                self._enrolment.remove_photo(whose.name, photo)
            return
        for _ in range(max(1, self._enrolment.folders_of(whose.name))):  # as one in NFC and one in NFD
            with suppress(SubjectNotFound):
                self._enrolment.remove_subject(whose.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        mine = {entry.photo for entry in self._entries(whose.name)}
        left = self._enrolment.left_of(whose.name, list(whose.photos))
        if whose.again and mine - set(whose.photos):
            there = len(mine & set(whose.photos))
            return {"files": there, "templates": there, "cache_rows": left["cache_rows"]}
        return left


class BinHolding:
    """What somebody deleted by hand and can still restore: photos, notes of consent, templates.

    Parameters
    ----------
    bin : BinStore or None
        None where deletions are final.
    max_bytes : int
        Size of the largest photo that is read.
    """

    label = "bin"

    def __init__(self, bin: BinStore | None, max_bytes: int):
        self._bin, self._max_bytes = bin, max_bytes

    def _items(self, whose: Whose) -> list[BinItem]:
        items = [] if self._bin is None else self._bin.of(whose.name)
        return [each for each in items if not whose.again or not each.photos or set(each.photos) & set(whose.photos)]

    def find(self, whose: Whose) -> int:
        return len(self._items(whose))

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        items = self._items(whose)
        for item in items:
            assert self._bin is not None
            for name in item.files:
                if not name.startswith("."):
                    yield ExportedFile(f"bin/{item.id}/{name}", self._bin.read(item, name, self._max_bytes), "bin_photos")
        if items:
            shown = [
                {
                    "deleted": iso_time(each.deleted),
                    "photos": list(each.photos),
                    "templates": [[float(value) for value in vector] for vector in each.templates],
                }
                for each in items
            ]
            yield as_json("bin.json", shown, "bin")

    def rename(self, old: str, new: str) -> None:
        if self._bin is not None:
            self._bin.rename(old, new)

    def erase(self, whose: Whose) -> None:
        if self._bin is not None:
            for item in self._items(whose):
                self._bin.remove(item, whole=not whose.again)
            self._bin.erase_unreadable()

    def verify(self, whose: Whose) -> dict[str, int]:
        unreadable = 0 if self._bin is None else self._bin.count_unreadable()
        return {"bin": len(self._items(whose)) + unreadable}


class OtherCachesHolding:
    """What `evaluate` and `group` store about photos, which may be photos of enrolled people too.

    Parameters
    ----------
    enrolment : Enrolment
    files : sequence of Path
        Databases of encodings besides that of the enrolment.
    """

    label = "other caches"

    def __init__(self, enrolment: Enrolment, files: Sequence[Path]):
        self._enrolment, self._files = enrolment, files

    def _rows(self, whose: Whose, forget: bool = False) -> int:
        rows = 0
        for file in self._files:
            if whose.photos and file.exists():
                with closing(EncodingsCache(file, self._enrolment.vault)) as cache:
                    if forget:
                        cache.forget(whose.photos)
                    rows += cache.rows_about(whose.photos)
        return rows

    def find(self, whose: Whose) -> int:
        return self._rows(whose)

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        """Nothing that the photos' own templates and thumbnails do not show."""
        yield from ()

    def rename(self, old: str, new: str) -> None:
        """Nothing: these know photos by their ids only."""

    def erase(self, whose: Whose) -> None:
        self._rows(whose, forget=True)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"cache_rows": self._rows(whose)}


class SnapshotHolding:
    """The copy of the templates in this node's state folder, which is brought in step with the gallery after every change.

    Parameters
    ----------
    enrolment : SharedEnrolment
    """

    label = "snapshot"

    def __init__(self, enrolment: SharedEnrolment):
        self._enrolment = enrolment

    def find(self, whose: Whose) -> int:
        """What the enrolment does not have any longer."""
        return self._enrolment.shared_gallery.copy.stale(self._enrolment.group, whose.name, whose.photos)

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        """Nothing that the photos' own templates do not show."""
        yield from ()

    def rename(self, old: str, new: str) -> None:
        self._enrolment.save()

    def erase(self, whose: Whose) -> None:
        self._enrolment.save()

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"templates": self.find(whose)}


class EventsHolding:
    """Events and their pictures, who is present now, and what was handed on to a broker.

    Parameters
    ----------
    events : KeptEvents
    prefix : str
        Before a name in events, for people of a group.
    """

    label = "events"

    def __init__(self, events: KeptEvents, prefix: str = ""):
        self._events, self._prefix = events, prefix

    def find(self, whose: Whose) -> int:
        return len(self._events.find(self._prefix + whose.name))

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        events, pictures = self._events.export(self._prefix + whose.name)
        for name, data in pictures:
            yield ExportedFile(f"events/{name}", data, "event_pictures")
        yield as_json("events.json", events, "events")

    def rename(self, old: str, new: str) -> None:
        self._events.rename(self._prefix + old, self._prefix + new)

    def erase(self, whose: Whose) -> None:
        self._events.erase(self._prefix + whose.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        return self._events.verify(self._prefix + whose.name)


class RulesHolding:
    """Rules about what happens when somebody comes or goes: whom they name.

    Parameters
    ----------
    rules : KeptRules
    prefix : str
        Before a name in events, for people of a group.
    """

    label = "rules"

    def __init__(self, rules: KeptRules, prefix: str = ""):
        self._rules, self._prefix = rules, prefix

    def find(self, whose: Whose) -> int:
        return len(self._rules.find(self._prefix + whose.name))

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        """What each rule says; where it sends something belongs to whoever made it."""
        found = self._rules.find(self._prefix + whose.name)
        if found:
            yield as_json("rules.json", [{"rule": each.rule.id, "sentence": each.sentence} for each in found], "rules")

    def rename(self, old: str, new: str) -> None:
        self._rules.rename(self._prefix + old, self._prefix + new)

    def erase(self, whose: Whose) -> None:
        self._rules.erase(self._prefix + whose.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"rules": self.find(whose)}


class NamelessHolding:
    """What has no names in it, so that nobody knows for certain whom it is about.

    It may be erased with somebody, and is neither exported, which could hand it to somebody else, nor renamed.
    """

    def find(self, whose: Whose) -> int:
        """None that are known to be about this subject."""
        return 0

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        """Nothing."""
        yield from ()

    def rename(self, old: str, new: str) -> None:
        """Nothing."""


class WaitingPicturesHolding(NamelessHolding):
    """Pictures of unknown people that are in memory until they are examined: a nameless track, or a waiting sighting.

    Nobody knows whose they are, so those that are older than an erasure are dropped with anybody.

    Parameters
    ----------
    strangers : KeptStrangers
    sightings : callable
        Returns what follows strangers at the cameras; None while there is no live video.
    now : callable
        Seconds since 1970.
    """

    label = "waiting pictures"

    def __init__(
        self, strangers: KeptStrangers, sightings: Callable[[], Sightings | None], now: Callable[[], float] = time.time
    ):
        self._strangers, self._sightings, self._now = strangers, sightings, now
        self._erased: dict[str, float] = {}  # by name: when

    def erase(self, whose: Whose) -> None:
        before = self._erased[whose.name] = self._now()
        sightings = self._sightings()
        if sightings is not None:  # first, because they are offered to the inbox
            sightings.drop_pictures(before)
        self._strangers.drop_pictures(before)

    def verify(self, whose: Whose) -> dict[str, int]:
        before, sightings = self._erased.get(whose.name, 0.0), self._sightings()
        waiting = 0 if sightings is None else sightings.waiting_pictures(before)
        return {"waiting_pictures": waiting + self._strangers.waiting_pictures(before)}


def _resembles(whose: Whose, limit: float) -> Callable[[np.ndarray], bool]:
    """Whether an embedding is within `limit` of a template of `whose`, who must have one."""
    return lambda vector: bool(matching.distances(vector, whose.templates).min() <= limit)


class StrangersHolding(NamelessHolding):
    """Pictures of somebody from before they were enrolled. A stranger has no name: the templates tell.

    Parameters
    ----------
    strangers : KeptStrangers
    limit : callable
        Returns the largest distance of two templates of one person.
    """

    label = "strangers"

    def __init__(self, strangers: KeptStrangers, limit: Callable[[], float]):
        self._strangers, self._limit = strangers, limit

    def find(self, whose: Whose) -> int:
        return self._strangers.count_like(_resembles(whose, self._limit())) if len(whose.templates) else 0

    def erase(self, whose: Whose) -> None:
        if len(whose.templates):
            self._strangers.forget_like(_resembles(whose, self._limit()))

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"strangers": self.find(whose)}


class DetectedFacesHolding(NamelessHolding):
    """Faces that clients of other services may still ask about by an id; the templates tell whose they are.

    Parameters
    ----------
    faces : FaceStore
    limit : callable
        Returns the largest distance of two templates of one person.
    """

    label = "detected faces"

    def __init__(self, faces: FaceStore, limit: Callable[[], float]):
        self._faces, self._limit = faces, limit

    def erase(self, whose: Whose) -> None:
        if len(whose.templates):
            self._faces.forget_like(_resembles(whose, self._limit()))

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"templates": self._faces.count_like(_resembles(whose, self._limit())) if len(whose.templates) else 0}


class VisitsHolding:
    """Visits at the cameras: pictures, templates, when and where. Nameless ones are told by the templates.

    Parameters
    ----------
    visits : KeptVisits
    prefix : str
        Before a name in visits, for people of a group.
    """

    label = "visits"

    def __init__(self, visits: KeptVisits, prefix: str = ""):
        self._visits, self._prefix = visits, prefix

    def find(self, whose: Whose) -> int:
        return len(self._visits.about(self._prefix + whose.name, whose.templates))

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        visits = self._visits.file.of_subject(self._prefix + whose.name) if self._visits.exists else []
        for each in visits:
            picture = self._visits.file.picture(each.number)
            if picture is not None:
                yield ExportedFile(f"visits/{each.number}.jpg", picture, "visit_pictures")
        if visits:
            shown = [
                {
                    "visit": each.number,
                    "camera": each.camera,
                    "first": iso_time(each.first),
                    "last": iso_time(each.last),
                    "vector": None if each.vector is None else [float(value) for value in each.vector],
                }
                for each in visits
            ]
            yield as_json("visits.json", shown, "visits")

    def rename(self, old: str, new: str) -> None:
        self._visits.rename(self._prefix + old, self._prefix + new)

    def erase(self, whose: Whose) -> None:
        self._visits.erase(self._prefix + whose.name, whose.templates)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"visits": self.find(whose) + self._visits.waiting(self._prefix + whose.name)}


class ArchiveHolding:
    """The index of the photo archive: names of groups, and the faces that show somebody. The photos are not ours.

    Parameters
    ----------
    archive : KeptArchive
    prefix : str
        Before a name, for people of a group: the names in the archive are those of the default group.
    """

    label = "archive"

    def __init__(self, archive: KeptArchive, prefix: str = ""):
        self._archive, self._prefix = archive, prefix

    def find(self, whose: Whose) -> int:
        if not self._archive.exists:
            return 0
        return len(self._archive.keys_about(self._prefix + whose.name, whose.templates)) + self._archive.file.mentions(
            self._prefix + whose.name
        )

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        faces = self._archive.exported(self._prefix + whose.name)
        if faces:
            yield as_json("archive.json", faces, "archive_faces")

    def rename(self, old: str, new: str) -> None:
        if self._archive.exists:
            self._archive.file.rename(self._prefix + old, self._prefix + new)

    def erase(self, whose: Whose) -> None:
        if self._archive.exists:
            self._archive.file.leave_out_broken()
        self._archive.forget(self._prefix + whose.name, whose.templates)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"archive": self.find(whose)}


class JobsHolding:
    """Jobs: results that name somebody, and photos that are to enrol somebody.

    Parameters
    ----------
    jobs : KeptJobs
    prefix : str
        Before a name in jobs, for people of a group.
    """

    label = "jobs"

    def __init__(self, jobs: KeptJobs, prefix: str = ""):
        self._jobs, self._prefix = jobs, prefix

    def find(self, whose: Whose) -> int:
        return self._jobs.store.find(self._prefix + whose.name) if self._jobs.exists and whose.name else 0

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        found = self._jobs.store.export(self._prefix + whose.name) if self._jobs.exists else []
        if found:
            yield as_json("jobs.json", found, "job_results")

    def rename(self, old: str, new: str) -> None:
        if self._jobs.exists:
            self._jobs.store.rename(self._prefix + old, self._prefix + new)

    def erase(self, whose: Whose) -> None:
        if self._jobs.exists and whose.name:
            self._jobs.store.leave_out_broken()
            self._jobs.store.erase(self._prefix + whose.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"jobs": self.find(whose)}


class AuditNamesHolding:
    """The names by which the audit log shows subjects; its lines have ids only."""

    label = "audit names"

    def __init__(self, audit: AuditLog):
        self._audit = audit

    def find(self, whose: Whose) -> int:
        return sum(each == whose.name for each in self._audit.names().values())

    def export(self, whose: Whose) -> Iterator[ExportedFile]:
        yield as_json("audit.json", self._audit.about(whose.name), "audit")

    def rename(self, old: str, new: str) -> None:
        """Nothing: the line that records the renaming renames here too."""

    def erase(self, whose: Whose) -> None:
        if not whose.again or self.find(whose):
            self._audit.forget(whose.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"names": self.find(whose)}


class DamagedFilesHolding(NamelessHolding):
    """Damaged files that were set aside. Nobody can tell whom they show, so they are erased with anybody.

    Parameters
    ----------
    state : Path
        The state folder.
    audit : AuditLog
        Notes which files were erased.
    """

    label = "damaged files"

    def __init__(self, state: Path, audit: AuditLog):
        self._state, self._audit = state, audit

    def erase(self, whose: Whose) -> None:
        for file in set_aside_files(self._state):
            with disk_errors("a damaged file that was set aside cannot be deleted"):
                remove_set_aside(file)
            log.warning("%s is deleted, because somebody is erased whom it may show", file.name)
            self._audit.append("damaged_file_delete", file=file.name)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"damaged_files": len(set_aside_files(self._state))}


class LeftoversHolding(NamelessHolding):
    """Files that an interrupted write, backup or restore left. Nobody knows whose they are, so they are erased with anybody.

    Parameters
    ----------
    enrolment : Enrolment
    state : Path
        The state folder.
    now : callable
        Seconds since 1970.
    """

    label = "left-over files"

    def __init__(self, enrolment: Enrolment, state: Path, now: Callable[[], float] = time.time):
        self._enrolment, self._state, self._now = enrolment, state, now

    def erase(self, whose: Whose) -> None:
        self._enrolment.sweep(whose.name)
        for path in self._abandoned():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(FileNotFoundError):
                    remove_erasing(path)

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"leftovers": len(self._abandoned()) + self._enrolment.left_over()}

    def _abandoned(self) -> list[Path]:
        """Temporary files and folders that no process is writing any longer."""
        backups = self._older(self._state.glob(SCRATCH + "*"), backup.ABANDONED_SECONDS)
        others = (*self._state.glob(DELETED + "*"), *self._state.rglob(PART + "*"))
        return [*backups, *self._older(others, ABANDONED_SECONDS)]

    def _older(self, paths: Iterable[Path], seconds: float) -> Iterator[Path]:
        for path in paths:
            with suppress(FileNotFoundError):
                if self._now() - path.stat().st_mtime > seconds:
                    yield path


def as_json(path: str, content: list | dict, kind: str) -> ExportedFile:
    """Plain data as a file of an export."""
    text = json.dumps(content, ensure_ascii=False, indent=1)
    return ExportedFile(path, text.encode(), kind, len(content) if isinstance(content, list) else 1)


def _plain_template(entry: Entry) -> dict:
    """What the engine made of a photo, as plain data."""
    held = entry.encoding
    return {
        "file": PurePosixPath(entry.path).name,
        "photo": entry.photo,
        "engine": held.engine,
        "face": held.face,
        "vector": None if held.vector is None else [float(value) for value in held.vector],
        "problem": held.problem,
        "box": held.box,
        "score": held.score,
        "width": held.width,
        "height": held.height,
    }
