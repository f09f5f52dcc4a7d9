"""The enrolled subjects: queries and changes. Every change is in the audit log, and erasure covers every holding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from recognizer.core import geometry, names
from recognizer.core.audit import AuditLog
from recognizer.core.consent import Consent
from recognizer.core.errors import (
    BinItemNotFound,
    BinOff,
    InvalidParameter,
    LooksLikeAnother,
    NameTaken,
    PhotoNotFound,
    PoorPhoto,
    RecognizerError,
    StorageError,
    SubjectNotFound,
    UnsupportedImage,
)
from recognizer.core.holdings import Whose
from recognizer.core.lock import WriteLock
from recognizer.core.metrics import Metrics
from recognizer.core.particulars import Particulars, PhotoOrigin, file_name
from recognizer.core.pool import Pool
from recognizer.core.times import iso_time
from recognizer.core.types import Box
from recognizer.enrolment import face_choice, subject_export, template_file
from recognizer.enrolment.bin_store import BinItem, BinStore
from recognizer.enrolment.encodings import FORCED
from recognizer.enrolment.enrolled import EnrolledPhoto, Person, PersonPhoto
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.examination import Examined, examine, thumbnail
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.folder_look import Problem
from recognizer.enrolment.photo_encoding import EncodingReporter
from recognizer.enrolment.review import Review, Warnings, duplicate_of, looks_like_another, unlike_others
from recognizer.galleries import matching
from recognizer.photos import images, metadata
from recognizer.photos.capture_time import capture_time
from recognizer.photos.quality import Quality
from recognizer.service.erasures import Erasures
from recognizer.service.matcher import Matcher
from recognizer.service.recognition import Recognition
from recognizer.service.subject_holdings import OtherCachesHolding
from recognizer.service.visit_service import day_or_time

log = logging.getLogger("recognizer.subjects")

#: Extensions under which photos are stored, by format.
EXTENSIONS = {"jpeg": "jpg", "tiff": "tif"}
#: Minimum intersection over union of two boxes of the same face.
_SAME_FACE = 0.5


@dataclass(frozen=True)
class ChangeRecords:
    """What every change of people goes through.

    Attributes
    ----------
    changes : WriteLock
        The lock of every write.
    audit : AuditLog
    erasures : Erasures
        Erases and renames in every holding.
    other_caches : OtherCachesHolding
        May contain results for photos that are erased.
    bin : BinStore or None
        Where deletions wait that can be undone; None where all are final.
    require_group : callable
        Called under the lock of every write; raises if the group of these people is gone, or another one has its name.
    """

    changes: WriteLock
    audit: AuditLog
    erasures: Erasures
    other_caches: OtherCachesHolding
    bin: BinStore | None = None
    require_group: Callable[[], None] = lambda: None


class Subjects:
    """Enrols, shows, renames and erases people. Names are as `names.normalise` writes them; any thread may call.

    `enrolment.Enrolment` owns what is enrolled; `review.Review` finds suspicious photos.

    Parameters
    ----------
    enrolment : Enrolment
    recognition : Recognition
        Decodes photos.
    matcher : Matcher
    pool : Pool
        Examines photos.
    records : ChangeRecords
    metrics : Metrics, optional
    """

    def __init__(
        self,
        enrolment: Enrolment,
        recognition: Recognition,
        matcher: Matcher,
        pool: Pool,
        records: ChangeRecords,
        metrics: Metrics | None = None,
    ):
        self.bin = records.bin
        self._enrolment, self._recognition, self._matcher, self._pool = enrolment, recognition, matcher, pool
        self._engine, self._rules = enrolment.options.engine, enrolment.options.rules
        self._erasures, self._audit = records.erasures, records.audit
        self._changes, self._other_caches, self._metrics = records.changes, records.other_caches, metrics
        self._require_group = records.require_group
        self._review = Review(enrolment, matcher.one_to_one, matcher.threshold_now)

    @contextmanager
    def _change(self, *subjects: str) -> Iterator[None]:
        """Hold the lock of every write; the earlier changes of other processes are known inside.

        Parameters
        ----------
        subjects : str
            Those whom the change concerns.
        """
        with self._hold():
            self._enrolment.catch_up(*subjects)
            yield

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Hold the lock of every write; the group is still there inside."""
        with self._changes.hold():
            self._require_group()
            yield

    def changing(self, *subjects: str) -> AbstractContextManager[None]:
        """For changes of the enrolment from outside: see `_change`."""
        return self._change(*subjects)

    # -- enrolment ----------------------------------------------------------------------------------------------

    def enrol(
        self,
        subject: str,
        photo: bytes,
        *,
        face: str = "only",
        force: bool = False,
        alike: bool = False,
        confirm: Callable[[], None] = lambda: None,
        file: str | None = None,
        taken: str | None = None,
    ) -> EnrolledPhoto:
        """Enrol a photo of `subject`; what returns is on the disk and in the gallery.

        Parameters
        ----------
        face : str
            What to do with a photo of several people: ``only`` refuses it, ``largest`` takes the largest face, and a box
            as ``left,top,right,bottom``, in pixels of the upright photo, takes the face there.
        force : bool
            Enrol even if the face looks like another subject's, or is not comparable. A template of a face that is not
            comparable stays marked.
        alike : bool
            Enrol even if the face looks like another subject's, as files in known_faces are.
        confirm : callable
            Called before anything is stored, while nobody can be erased or renamed; what it raises is raised.
        file : str, optional
            The file's name where the photo came from; stored beside the photo.
        taken : str, optional
            When the photo was taken, if it does not say so itself.

        Raises
        ------
        InvalidName, InvalidParameter, NameTaken, ImageError, FaceError, LooksLikeAnother, Busy, StorageError
        """
        subject = names.normalise(subject)
        face_choice.check(face)
        origin = _origin(photo[: self._rules.max_bytes], file, taken)  # before the metadata is removed
        if len(photo) <= self._rules.max_bytes:  # others are refused below
            photo = metadata.strip(photo, self._rules.strip_metadata)
        extension = images.sniff(photo) or "photo"
        examined, _ = self._pool.run_inference(self._examine, photo, face, force)
        with self._change(subject):  # under the lock: of two requests that enrol one face at once, the second is refused
            confirm()
            self._erasures.require_finished(subject)
            warnings = self._compare_with_enrolled(subject, examined, force or alike)
            entry, new = self._enrolment.add(
                subject,
                photo,
                EXTENSIONS.get(extension, extension),
                examined,
                noted=lambda: self._audit.append("enroll", subject, **({"force": True} if force else {})),
            )
            if new and file is not None:
                self._note(subject, lambda held: held.with_photo(entry.photo, origin))
        original = self._enrolment.original_of(subject, entry.photo)
        if original is not None:
            warnings.append(duplicate_of(original))
        if new and self._metrics is not None:
            self._metrics.enrolled()
        return EnrolledPhoto(subject, entry.encoding, new, tuple(warnings))

    def add_empty(self, name: str) -> str:
        """Make the folder of a subject without a photo; the name as it is written there.

        Raises
        ------
        InvalidName, StorageError
        NameTaken
            There is such a folder already, or one that some systems cannot tell from it.
        """
        name = names.normalise(name)
        with self._change(name):
            self._erasures.require_finished(name)
            if self._enrolment.has_folder(name):
                raise NameTaken(f"{name!r} exists already", subject=name)
            self._enrolment.make_folder(name)
        return name

    def _note(self, subject: str, change: Callable[[Particulars], Particulars]) -> None:
        """Change what is stored beside photos, after they were changed: a failure does not undo that."""
        try:
            self._enrolment.change_particulars(subject, change)
        except (StorageError, SubjectNotFound) as error:
            log.warning("what is known about a photo was not stored: %s", error.message)

    def _examine(self, photo: bytes, face: str, force: bool) -> Examined:
        try:
            return examine(self._engine, photo, self._rules, face)
        except PoorPhoto:
            if not force:
                raise
            return examine(self._engine, photo, self._rules, face + FORCED)

    def _compare_with_enrolled(self, subject: str, examined: Examined, force: bool) -> list[dict]:
        vector, limit = examined.encoding.vector, self._matcher.threshold_now()
        warnings: list[dict] = []
        if vector is None:
            return warnings
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
        """Everybody with a folder, by name; suspicious photos are not searched for (see `odd_photos` and `person`)."""
        return self._people(self._enrolment.subjects())

    def _people(self, found: Mapping[str, Sequence[Entry]]) -> list[Person]:
        about = self._enrolment.about_all(found)
        return [self._person(name, entries, about=about.get(name)) for name, entries in found.items()]

    def page(
        self,
        offset: int = 0,
        limit: int | None = None,
        search: str = "",
        *,
        tag: str | None = None,
        order: Callable[[Person], Any] | None = None,
    ) -> tuple[list[Person], int]:
        """A page of `all`: those with `search` in their name, `limit` of them from `offset` on; and their total number.

        Parameters
        ----------
        tag : str, optional
            Only people with this tag, in whatever case.
        order : callable, optional
            Key by which people are sorted; those with equal keys stay in the order of their names.
        """
        if tag is None and order is None:
            chosen, total = self._enrolment.page(offset, limit, search)
            return self._people(chosen), total
        found, _ = self._enrolment.page(0, None, search)
        people = self._people(found)
        if tag is not None:
            wanted = tag.strip().casefold()
            people = [each for each in people if wanted in (held.casefold() for held in each.particulars.tags)]
        if order is not None:
            people.sort(key=order)
        return people[offset:] if limit is None else people[offset : offset + limit], len(people)

    def odd_photos(self) -> dict[str, int] | None:
        """How many photos of each subject are odd among the others (see `review`); those with none are left out.

        None if so many are enrolled that it would take long.
        """
        found = self._review.of_all()
        return None if found is None else {subject: len(photos) for subject, photos in found.items() if photos}

    def person(self, name: str) -> Person:
        """One subject.

        Raises
        ------
        SubjectNotFound
        """
        name = names.normalise_lookup(name)
        return self._person(name, self._entries(name), self._review.of(name))

    def _entries(self, name: str) -> list[Entry]:
        """What was read from a subject's folder, also if another process enrolled the subject a moment ago.

        Raises
        ------
        SubjectNotFound
        """
        if not self._enrolment.is_enrolled(name):
            self._enrolment.learn(name)
        return self._enrolment.entries(name)

    def _person(
        self,
        name: str,
        entries: Sequence[Entry],
        odd: Warnings | None = None,
        about: tuple[Consent, Particulars] | None = None,
    ) -> Person:
        originals = {entry.photo: self._enrolment.original_of(name, entry.photo) for entry in entries}
        photos = []
        for entry in entries:
            warnings = (odd or {}).get(entry.photo, [])
            original = originals[entry.photo] if entry.encoding.vector is not None else None
            if original is not None:
                warnings = [duplicate_of(original), *warnings]
            file = PurePosixPath(entry.path).name
            photos.append(PersonPhoto(entry.photo or None, file, entry.stamp.size, entry.encoding, tuple(warnings)))
        used = {
            photo.id
            for photo in photos
            if photo.encoding.vector is not None and photo.id is not None and originals[photo.id] is None
        }
        consent, particulars = about or (self._enrolment.consent(name), self._enrolment.particulars(name))
        return Person(name, len(used), tuple(photos), consent, particulars)

    def problems(self) -> list[Problem]:
        """The files in known_faces that are not used, and the reasons."""
        return self._enrolment.problems()

    def rename(self, name: str, to: str, *, merge: bool = False) -> Person:
        """Give a subject another name; with `merge`, join it with one who has that name.

        Raises
        ------
        SubjectNotFound, InvalidName, NameTaken, StorageError
        """
        to, name = names.normalise(to), names.normalise_lookup(name)
        with self._change(name, to):
            joined = to != name and self._enrolment.is_enrolled(to)
            if to == name:
                self._enrolment.entries(name)
            else:
                self._erasures.require_finished(to)
                with self._erasures.renaming(name, to):
                    self._enrolment.rename(name, to, merge, noted=lambda: self._audit.rename(name, to, merge=joined))
            entries = self._enrolment.entries_so_far(to)
        return self._person(to, entries, self._review.of(to))

    def use_largest(self, name: str | None = None, progress: EncodingReporter | None = None) -> dict[str, list[str]]:
        """Let the photos that show several people enrol their largest face: those of a subject, or of everybody.

        Parameters
        ----------
        progress : callable, optional
            Called with ``(done, total)`` of the photos to be encoded.

        Returns
        -------
        dict of list of str
            The paths of the photos that were ``renamed``, and of those that are still ``unused``.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        name = None if name is None else names.normalise_lookup(name)
        with self._change(*([] if name is None else [name])):
            if name is not None:
                self._enrolment.entries(name)
            renamed = list(self._enrolment.mark_largest(name).values())
            for subject in sorted({names.normalise(path.partition("/")[0]) for path in renamed}):
                self._audit.append("enroll", subject, face="largest")
        self._enrolment.sync(progress=progress)
        unused = {problem.path for problem in self._enrolment.problems()}
        return {"renamed": renamed, "unused": [path for path in renamed if path in unused]}

    def set_consent(self, name: str, note: str | None = None, expires: str | None = None) -> Person:
        """Store what a subject agreed to, and until when; None leaves a value as it is, ``none`` removes it.

        After the expiry the subject is no longer recognised, and is erased after the grace period of the settings.

        Raises
        ------
        SubjectNotFound, InvalidParameter, StorageError
        """
        name = names.normalise_lookup(name)
        with self._change(name):
            entries = self._enrolment.entries_so_far(name)
            if not entries and not self._enrolment.has_files(name):
                raise SubjectNotFound(f"nobody called {name!r} is enrolled")
            before = self._enrolment.consent(name)
            held = before.changed(note, expires)
            self._enrolment.set_consent(name, held)
            try:
                self._audit.append("consent", name, expires=held.expires, note=held.note is not None)
            except StorageError:
                self._enrolment.set_consent(name, before)
                raise
        return self._person(name, entries, self._review.of(name))

    def describe(self, name: str, cover: str | None = None, tags: Sequence[str] | None = None) -> Person:
        """Choose the photo that stands for a subject, the tags, or both; None leaves a value as it is, ``none`` is no cover.

        Raises
        ------
        SubjectNotFound, PhotoNotFound
        Conflict
            People are in a database that servers share, which stores no such things.
        StorageError
        """
        name = names.normalise_lookup(name)
        with self._change(name):
            entries = self._enrolment.entries(name)
            if cover not in (None, "none", "") and cover not in {entry.photo for entry in entries if entry.encoding.box}:
                raise PhotoNotFound(f"{name!r} has no photo {cover!r} with a face that is used")

            def changed(held: Particulars) -> Particulars:
                shown = held.cover if cover is None else None if cover in ("none", "") else cover
                return replace(held, cover=shown, tags=held.tags if tags is None else tuple(tags))

            self._enrolment.change_particulars(name, changed)
            self._audit.append("describe", name)
        return self._person(name, entries, self._review.of(name))

    def export(self, name: str, to: Path) -> dict[str, int]:
        """Write everything that is stored about a subject into a ZIP file; returns the counts by kind.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        name = names.normalise_lookup(name)
        self._entries(name)
        self._audit.append("export", name)
        return subject_export.write(name, self._erasures.holdings.export(self._erasures.whose(name)), to)

    def delete(self, name: str) -> dict:
        """Erase a subject everywhere, check whether anything is left, and report what was done.

        Raises
        ------
        SubjectNotFound
        StorageError
            Something is left; `Erasures.finish` erases it as soon as that is possible.
        """
        name = names.normalise_lookup(name)
        with self._change(name):
            return self._erasures.erase(name)

    # -- the bin ------------------------------------------------------------------------------------------------

    def _usable_bin(self) -> BinStore:
        if self.bin is None or not self.bin.days:
            raise BinOff("deletions cannot be undone here: delete for good instead")
        return self.bin

    def discard(self, name: str) -> BinItem:
        """Put what is enrolled of a subject into the bin: the subject is no longer recognised, and can be restored.

        What else is stored about the subject stays until the deletion is final; see `empty_bin`.

        Raises
        ------
        SubjectNotFound, BinOff, StorageError
        """
        bin, name = self._usable_bin(), names.normalise_lookup(name)
        with self._change(name):
            return bin.discard(name, noted=lambda: self._audit.append("bin_put", name))

    def discard_photo(self, name: str, photo: str) -> BinItem:
        """Put one photo of a subject into the bin; see `discard`.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, BinOff, StorageError
        """
        bin, name = self._usable_bin(), names.normalise_lookup(name)
        with self._change(name):
            return bin.discard_photo(name, photo, noted=lambda: self._audit.append("bin_put", name, photos=1))

    def restore(self, id_: str) -> Person:
        """Take a deletion back: its photos are enrolled again, also where somebody has the name again by now.

        Raises
        ------
        BinItemNotFound, BinOff, NameTaken, StorageError
        """
        bin = self._usable_bin()
        with self._hold():
            item = bin.get(id_)
            self._enrolment.catch_up(item.subject)
            self._erasures.require_finished(item.subject)
            noted = lambda: self._audit.append("bin_restore", item.subject, photos=len(item.photos))  # noqa: E731
            changed = bin.take_back(item, noted)
        self._enrolment.sync(changed=changed)
        return self.person(item.subject)

    def empty_bin(self, id_: str | None = None) -> int:
        """Make a deletion final, or all whose time is over: then nothing is left of it. How many these were.

        With the last that is stored of somebody, events, visits and names go as well, as in `delete`. One that fails keeps no
        other from being made final.

        Raises
        ------
        BinItemNotFound, StorageError
        """
        if self.bin is None:
            if id_ is not None:
                raise BinItemNotFound("there is no bin here")
            return 0
        failure: RecognizerError | None = None
        with self._hold():
            self.bin.purge_leftovers()
            due = self.bin.due() if id_ is None else [self.bin.get(id_)]
            for item in due:
                try:
                    self._make_final(self.bin, item)
                except RecognizerError as error:
                    failure = error
        if failure is not None:
            raise failure
        return len(due)

    def _make_final(self, bin: BinStore, item: BinItem) -> None:
        self._enrolment.catch_up(item.subject)
        others = [other for other in bin.of(item.subject) if other.id != item.id]
        if self._enrolment.has_folder(item.subject) or others:
            self._other_caches.erase(Whose(item.subject, item.photos))
            self._audit.append("delete_photo", item.subject, bin=True)
            bin.remove(item)
            enrolled = {entry.photo for entry in self._enrolment.entries_so_far(item.subject)}
            for photo in set(item.photos) - enrolled:
                self._forget_origin(item.subject, photo)
        else:
            self._erasures.erase(item.subject)

    # -- photos -------------------------------------------------------------------------------------------------

    def delete_photo(self, name: str, photo: str) -> dict:
        """Erase one photo of a subject; see `delete`."""
        name = names.normalise_lookup(name)

        def noted(last: bool) -> None:
            self._other_caches.erase(Whose(name, (photo,)))
            if self.bin is not None:
                for item in self.bin.of(name):
                    if set(item.photos) == {photo}:
                        self.bin.remove(item)
            binned = self.bin is not None and bool(self.bin.of(name))  # then the name is still somebody's
            self._audit.erase_photo(name, last=last and not binned)

        with self._change(name):
            self._forget_origin(name, photo)
            last = {entry.photo for entry in self._enrolment.entries_so_far(name)} == {photo}
            with self._erasures.erasing_last_photo(name, photo) if last else nullcontext():
                files = self._enrolment.remove_photo(name, photo, noted)
        return {"deleted": photo, "of": name, "files": files}

    def _forget_origin(self, name: str, photo: str) -> None:
        """Forget where a photo came from, before it is erased."""
        if photo in self._enrolment.particulars(name).photos or self._enrolment.particulars(name).cover == photo:
            self._enrolment.change_particulars(name, lambda held: held.without_photo(photo))

    def move_photo(self, name: str, photo: str, to: str) -> dict:
        """Give a photo of a subject to another one, who is made if there is no such subject.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, InvalidName, InvalidParameter, NameTaken, StorageError
        """
        name, to = names.normalise_lookup(name), names.normalise(to)
        if name == to:
            raise InvalidParameter("to: expected somebody else's name")
        with self._change(name, to):
            self._erasures.require_finished(to)
            everything = self._enrolment.entries(name)
            entries = [entry for entry in everything if entry.photo == photo]
            if not entries or entries[0].encoding.vector is None:
                raise PhotoNotFound(f"{name!r} has no photo {photo!r} with a face that is used")
            entry = entries[0]
            try:
                data = self._enrolment.read(entry.path, self._rules.max_bytes)
            except OSError:
                raise PhotoNotFound(f"{name!r} has no photo {photo!r}") from None
            picture = self._enrolment.thumbnail(thumbnail_key(photo, entry.encoding.face))
            extension = PurePosixPath(entry.path).suffix.lstrip(".") or "photo"
            about = self._enrolment.particulars(name)
            origin = about.photos.get(photo)
            _, new = self._enrolment.add(to, data, extension, Examined(entry.encoding, picture))
            try:
                if origin is not None:
                    self._note(to, lambda held: held.with_photo(photo, origin))
                self._note(name, lambda held: held.without_photo(photo))
                into = self._audit.id_of(to)
                self._enrolment.remove_photo(name, photo, lambda _: self._audit.append("move_photo", name, to=into))
            except BaseException:  # one photo must not enrol two people
                self._note(name, lambda held: about)
                if new:
                    with suppress(RecognizerError):
                        self._enrolment.remove_photo(to, photo)
                raise
        return {"moved": photo, "of": name, "to": to, "files": len(entries)}

    def unsorted(self, file: str) -> bytes:
        """A picture that is in known_faces itself and belongs to nobody.

        Raises
        ------
        PhotoNotFound, UnsupportedImage, ImageTooLarge, SealBroken, KeyMissing
        """
        missing = PhotoNotFound(f"no file {file!r} lies in known_faces itself")
        if not self._enrolment.is_unsorted(file):
            raise missing
        try:
            data = self._enrolment.read(file, self._rules.max_bytes)
        except OSError:
            raise missing from None
        if images.sniff(data) is None:
            raise UnsupportedImage("this file is not a photo")
        return data

    def delete_unsorted(self, file: str) -> dict:
        """Erase a file that lies in known_faces itself."""
        with self._hold():  # without the file's name, which may be a person's
            self._enrolment.remove_unsorted(file, noted=lambda: self._audit.append("delete_file"))
        return {"deleted": file}

    def photo(self, name: str, photo: str) -> bytes:
        """A subject's photo, as it was received.

        Raises
        ------
        SubjectNotFound, PhotoNotFound
        """
        entry = self._entry(name, photo)
        try:
            data = self._enrolment.read(entry.path, self._rules.max_bytes)
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
        kept = self._enrolment.thumbnail(thumbnail_key(photo, entry.encoding.face))
        if kept is not None:
            return kept
        if entry.encoding.box is None:
            raise PhotoNotFound(f"photo {photo!r} has no face to show")
        data, box = self.photo(name, photo), Box(*entry.encoding.box)
        return self._pool.run_inference(lambda: thumbnail(self._recognition.decode(data), box))[0]

    def quality(self, name: str, photo: str) -> Quality | None:
        """The quality of the subject's face on a photo; None if the face is not found again.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, ImageError, Busy
        """
        entry = self._entry(name, photo)
        if entry.encoding.box is None:
            raise PhotoNotFound(f"photo {photo!r} has no face that is used")
        return self._pool.run_inference(self._quality_of, self.photo(name, photo), entry.encoding.box)[0]

    def _quality_of(self, photo: bytes, box: Sequence[float]) -> Quality | None:
        faces, image = self._engine.find_with_image(self._recognition.decode(photo))
        if not len(faces):
            return None
        shared = geometry.iou(np.array(box), faces.boxes)
        nearest = int(shared.argmax())
        return self._engine.qualities(image, faces.select([nearest]))[0] if shared[nearest] > _SAME_FACE else None

    def _entry(self, name: str, photo: str) -> Entry:
        name = names.normalise_lookup(name)
        found = [entry for entry in self._entries(name) if entry.photo == photo]
        if not found:  # another process may have enrolled it a moment ago
            self._enrolment.learn(name)
            found = [entry for entry in self._enrolment.entries(name) if entry.photo == photo]
        if not found:
            raise PhotoNotFound(f"{name!r} has no photo {photo!r}")
        return found[0]


def _origin(photo: bytes, file: str | None, taken: str | None) -> PhotoOrigin:
    """Where a photo came from: its own date counts before the one that is given."""
    own = capture_time(photo) if file is not None else None
    if own is not None:
        date: str | None = iso_time(own, "seconds").removesuffix("Z")  # the camera's clock has no time zone
    else:
        given = day_or_time(taken, "taken")
        date = None if given is None else iso_time(given, "seconds")
    return PhotoOrigin(file_name(file), date, iso_time(None, "seconds"))
