"""Who is enrolled, asked about and changed: every change is noted, and what is erased is erased everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath

import numpy as np

from .. import geometry, images, matching, names, subject_export, template_file
from ..audit import AuditLog
from ..changes import Changes
from ..encodings import EncodingsCache
from ..engines import Engine
from ..enrolment import Enrolment, Entry
from ..errors import (
    InvalidParameter,
    LooksLikeAnother,
    PhotoNotFound,
    StorageError,
    SubjectNotFound,
    UnsupportedImage,
)
from ..examination import Examined, Rules, examine, thumbnail
from ..folder import Problem
from ..metrics import Metrics
from ..pool import Pool
from ..quality import Quality
from ..results import EnrolledPhoto, Person, PersonPhoto
from ..review import Review, Warnings, duplicate_of, looks_like_another, unlike_others
from ..types import Box
from .events import KeptEvents
from .matcher import Matcher
from .recognition import Recognition

#: Extensions under which photos are stored, by format.
EXTENSIONS = {"jpeg": "jpg", "tiff": "tif"}
#: Share that two boxes have in common from which on they are of one face.
_SAME_FACE = 0.5


class Subjects:
    """Enrols, shows, renames and erases people. Names are as `names.normalise` writes them; any thread may call.

    What is enrolled belongs to `enrolment.Enrolment`, what is odd about it to `review.Review`.

    Parameters
    ----------
    enrolment : Enrolment
    recognition : Recognition
        Reads photos.
    matcher : Matcher
    pool : Pool
        Where photos are looked at.
    engine : Engine
    rules : Rules
        What a photo must be to enrol somebody.
    events : KeptEvents
        Where people are named, too.
    audit : AuditLog
    changes : Changes
        The gate that every change passes.
    caches : sequence of Path
        Other files of encodings, which may hold some of the photos that are erased.
    metrics : Metrics, optional
    """

    def __init__(
        self,
        enrolment: Enrolment,
        recognition: Recognition,
        matcher: Matcher,
        pool: Pool,
        engine: Engine,
        rules: Rules,
        events: KeptEvents,
        audit: AuditLog,
        changes: Changes,
        caches: Sequence[Path],
        metrics: Metrics | None = None,
    ):
        self._enrolment, self._recognition, self._matcher, self._pool = enrolment, recognition, matcher, pool
        self._engine, self._rules, self._events, self._audit = engine, rules, events, audit
        self._changes, self._caches, self._metrics = changes, caches, metrics
        self._review = Review(enrolment, matcher.one_to_one, matcher.threshold_now)

    # -- enrolment ----------------------------------------------------------------------------------------------

    def enrol(self, subject: str, photo: bytes, *, face: str = "only", force: bool = False) -> EnrolledPhoto:
        """Enrol a photo of `subject`; what returns is on the disk and in the gallery.

        Parameters
        ----------
        face : {"only", "largest"}
            What to do with a photo of several people: refuse it, or take the largest face.
        force : bool
            Enrol even if the face looks like another subject's.

        Raises
        ------
        InvalidName, NameTaken, ImageError, FaceError, LooksLikeAnother, Busy, StorageError
        """
        subject = names.normalise(subject)
        if face not in ("only", "largest"):
            raise InvalidParameter(f"face: expected only or largest, got {face!r}")
        extension = images.sniff(photo) or "photo"
        examined, _ = self._pool.run(examine, self._engine, photo, self._rules, face)
        warnings = self._compare_with_enrolled(subject, examined, force)
        with self._changes.one():
            entry, new = self._enrolment.add(subject, photo, EXTENSIONS.get(extension, extension), examined)
            if new:
                self._audit.append("enroll", subject, **({"force": True} if force else {}))
        original = self._enrolment.original_of(subject, entry.photo)
        if original is not None:
            warnings.append(duplicate_of(original))
        if new and self._metrics is not None:
            self._metrics.enrolled()
        return EnrolledPhoto(subject, entry.encoding, new, tuple(warnings))

    def _compare_with_enrolled(self, subject: str, examined: Examined, force: bool) -> list[dict]:
        vector, limit = examined.encoding.vector, self._matcher.threshold_now()
        warnings = []
        other = self._matcher.nearest_other(subject, vector)
        if other is not None and other.distance <= limit:
            warning = looks_like_another(other.subject, other.distance, limit)
            if not force:
                about = {key: value for key, value in warning.items() if key not in ("code", "message")}
                raise LooksLikeAnother(warning["message"] + "; enrol it with force if it is not", **about)
            warnings.append(warning)
        own = self._enrolment.gallery.templates(subject)
        if own:
            nearest = float(matching.distances(vector, np.array([each.embedding.vector for each in own])).min())
            if nearest > self._matcher.one_to_one:
                warnings.append(unlike_others(subject, nearest, self._matcher.one_to_one))
        return warnings

    # -- people -------------------------------------------------------------------------------------------------

    def all(self) -> list[Person]:
        """Everybody with a folder, by name; what is odd about photos is not looked at (see `odd_photos` and `person`)."""
        return [self._person(name, entries) for name, entries in self._enrolment.subjects().items()]

    def page(self, offset: int = 0, limit: int | None = None, search: str = "") -> tuple[list[Person], int]:
        """Some of `all`: of those with `search` in their name, so many from the given one on; and how many they are."""
        wanted = search.casefold()
        found = [each for each in self._enrolment.subjects().items() if wanted in each[0].casefold()]
        chosen = found[offset:] if limit is None else found[offset : offset + limit]
        return [self._person(name, entries) for name, entries in chosen], len(found)

    def odd_photos(self) -> dict[str, int] | None:
        """How many photos of each subject are odd among the others (see `review`); those with none are left out.

        None where so many are enrolled that it would take long.
        """
        found = self._review.of_all()
        return None if found is None else {subject: len(photos) for subject, photos in found.items() if photos}

    def person(self, name: str) -> Person:
        """One subject.

        Raises
        ------
        SubjectNotFound
        """
        name = names.looked_up(name)
        entries = self._enrolment.entries(name)
        return self._person(name, entries, self._review.of(name))

    def _person(self, name: str, entries: Sequence[Entry], odd: Warnings | None = None) -> Person:
        originals = {entry.photo: self._enrolment.original_of(name, entry.photo) for entry in entries}
        photos = []
        for entry in entries:
            warnings = (odd or {}).get(entry.photo, [])
            original = originals[entry.photo] if entry.encoding.vector is not None else None
            if original is not None:
                warnings = [duplicate_of(original), *warnings]
            file = PurePosixPath(entry.path).name
            photos.append(PersonPhoto(entry.photo or None, file, entry.stamp.size, entry.encoding, tuple(warnings)))
        used = {photo.id for photo in photos if photo.encoding.vector is not None and originals[photo.id] is None}
        return Person(name, len(used), tuple(photos), self._enrolment.consent(name))

    def problems(self) -> list[Problem]:
        """What in known_faces is not used, and why."""
        return self._enrolment.problems()

    def rename(self, name: str, to: str, *, merge: bool = False) -> Person:
        """Give a subject another name; with `merge`, join it with one who has that name.

        Raises
        ------
        SubjectNotFound, InvalidName, NameTaken, StorageError
        """
        to, name = names.normalise(to), names.looked_up(name)
        with self._changes.one():
            joined = to != name and to in self._enrolment.subjects()
            self._enrolment.rename(name, to, merge)
            if to != name:
                self._audit.rename(name, to, merge=joined)
        return self.person(to)

    def set_consent(self, name: str, note: str | None = None, expires: str | None = None) -> Person:
        """Keep what a subject agreed to, and until when; what is None stays, ``none`` takes it away.

        From the expiry on nobody is matched with them, and after the grace of the settings they are erased.

        Raises
        ------
        SubjectNotFound, InvalidParameter, StorageError
        """
        name = names.looked_up(name)
        self._enrolment.entries(name)
        with self._changes.one():
            held = self._enrolment.consent(name).changed(note, expires)
            self._enrolment.set_consent(name, held)
            self._audit.append("consent", name, expires=held.expires, note=held.note is not None)
        return self.person(name)

    def export(self, name: str, to: Path) -> dict[str, int]:
        """Write everything that is held about a subject into a ZIP file; how many of each are in it.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        name = names.looked_up(name)
        entries = self._enrolment.entries(name)
        self._audit.append("export", name)
        events = self._events.about(name)
        holding = subject_export.Holding(
            name,
            photos=(
                (PurePosixPath(entry.path).name, self._enrolment.folder.read(entry.path, self._rules.max_bytes))
                for entry in entries
            ),
            thumbnails=self._kept_thumbnails(entries),
            event_pictures=self._events.pictures(events),
            templates=[_plain_template(entry) for entry in entries],
            events=events,
            audit=self._audit.about(name),
            consent={"consent": self._enrolment.consent(name).note, "expires": self._enrolment.consent(name).expires},
        )
        return subject_export.write(holding, to)

    def _kept_thumbnails(self, entries: Sequence[Entry]) -> Iterator[tuple[str, bytes]]:
        for photo in dict.fromkeys(entry.photo for entry in entries if entry.photo):
            kept = self._enrolment.cache.thumbnail(photo)
            if kept is not None:
                yield f"{photo}.jpg", kept

    def delete(self, name: str) -> dict:
        """Erase a subject everywhere, look whether anything is left, and say what was done.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        with self._changes.one():
            return self._delete(names.looked_up(name))

    def _delete(self, name: str) -> dict:
        try:
            photos = self._enrolment.remove_subject(name)
        except SubjectNotFound:  # the folder may have been deleted by hand: then the rest goes now
            if not self._events.about(name) and name not in self._audit.names().values():
                raise
            photos = []
        elsewhere = self._forget_elsewhere(photos)
        self._events.forget(name)
        self._audit.erase(name)
        left = self._enrolment.left_of(name, photos)
        left |= {
            "cache_rows": left["cache_rows"] + elsewhere,
            "events": self._events.left_of(name), "names": sum(each == name for each in self._audit.names().values())
        }  # fmt: skip
        if any(left.values()):
            raise StorageError(f"not everything about {name!r} could be erased", left=left)
        return {"deleted": name, "photos": len(photos), "left": left}

    def _forget_elsewhere(self, photos: list[str]) -> int:
        """Erase what `evaluate` and `group` keep about photos; how many rows of it are left."""
        left = 0
        for file in self._caches:
            if photos and file.exists():
                with closing(EncodingsCache(file, self._enrolment.folder.vault)) as cache:
                    cache.forget(photos)
                    left += cache.rows_about(photos)
        return left

    # -- photos -------------------------------------------------------------------------------------------------

    def delete_photo(self, name: str, photo: str) -> dict:
        """Erase one photo of a subject; see `delete`."""
        name = names.looked_up(name)
        with self._changes.one():
            files = self._enrolment.remove_photo(name, photo)
            self._forget_elsewhere([photo])
            self._audit.append("delete_photo", name)
            if name not in self._enrolment.subjects():
                self._audit.forget(name)
        return {"deleted": photo, "of": name, "files": files}

    def unsorted(self, file: str) -> bytes:
        """A picture that lies in known_faces itself, where it is nobody's.

        Raises
        ------
        PhotoNotFound, UnsupportedImage, ImageTooLarge, SealBroken, KeyMissing
        """
        missing = PhotoNotFound(f"no file {file!r} lies in known_faces itself")
        if not self._enrolment.folder.is_unsorted(file):
            raise missing
        try:
            data = self._enrolment.folder.read(file, self._rules.max_bytes)
        except OSError:
            raise missing from None
        if images.sniff(data) is None:
            raise UnsupportedImage("this file is not a photo")
        return data

    def delete_unsorted(self, file: str) -> dict:
        """Erase a file that lies in known_faces itself."""
        with self._changes.one():
            self._enrolment.remove_unsorted(file)
            self._audit.append("delete_file")  # without its name, which may be a person's
        return {"deleted": file}

    def photo(self, name: str, photo: str) -> bytes:
        """A subject's photo, as it was received.

        Raises
        ------
        SubjectNotFound, PhotoNotFound
        """
        entry = self._entry(name, photo)
        try:
            data = self._enrolment.folder.read(entry.path, self._rules.max_bytes)
            if template_file.is_template(data):
                raise PhotoNotFound(f"photo {photo!r} was not kept: only its template is")
            return data
        except OSError:
            raise PhotoNotFound(f"{entry.subject!r} has no photo {photo!r}") from None

    def thumbnail(self, name: str, photo: str) -> bytes:
        """A small JPEG of the face in a subject's photo.

        Raises
        ------
        SubjectNotFound, PhotoNotFound
        """
        entry = self._entry(name, photo)
        kept = self._enrolment.cache.thumbnail(photo)
        if kept is not None:
            return kept
        if entry.encoding.box is None:
            raise PhotoNotFound(f"photo {photo!r} has no face to show")
        data = self.photo(name, photo)
        return self._pool.run(lambda: thumbnail(self._recognition.decode(data), Box(*entry.encoding.box)))[0]

    def quality(self, name: str, photo: str) -> Quality | None:
        """How good the picture is that a photo has of its subject's face; None where the face is not found again.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, ImageError, Busy
        """
        entry = self._entry(name, photo)
        if entry.encoding.box is None:
            raise PhotoNotFound(f"photo {photo!r} has no face that is used")
        return self._pool.run(self._quality_of, self.photo(name, photo), entry.encoding.box)[0]

    def _quality_of(self, photo: bytes, box: Sequence[float]) -> Quality | None:
        faces, image = self._engine.look(self._recognition.decode(photo))
        if not len(faces):
            return None
        shared = geometry.iou(np.array(box), faces.boxes)
        nearest = int(shared.argmax())
        return self._engine.qualities(image, faces.select([nearest]))[0] if shared[nearest] > _SAME_FACE else None

    def _entry(self, name: str, photo: str) -> Entry:
        name = names.looked_up(name)
        for entry in self._enrolment.entries(name):
            if entry.photo == photo:
                return entry
        raise PhotoNotFound(f"{name!r} has no photo {photo!r}")


def _plain_template(entry: Entry) -> dict:
    """What the engine made of a photo, as plain data."""
    held = entry.encoding
    return {
        "file": PurePosixPath(entry.path).name, "photo": entry.photo, "engine": held.engine, "face": held.face,
        "vector": None if held.vector is None else [float(value) for value in held.vector],
        "problem": held.problem, "box": held.box, "score": held.score, "width": held.width, "height": held.height,
    }  # fmt: skip
