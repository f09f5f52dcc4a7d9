"""What every place for deletions that can be undone does alike: which there are, until when, and what one is."""

from __future__ import annotations

import base64
import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recognizer.core.errors import BinItemNotFound
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.face_choice import thumbnail_key

#: What a note is encrypted for.
NOTE_PURPOSE = "bin note"
PHOTO_KIND, PERSON_KIND = "photo", "person"
_DAY = 86_400.0


@dataclass(frozen=True, eq=False)
class BinItem:
    """One deletion.

    Attributes
    ----------
    id : str
    kind : str
        ``photo`` or ``person``.
    subject : str
    deleted : float
        When, in seconds since 1970.
    files : tuple of str
        Names of the files, without the note.
    photos : tuple of str
        Ids of the photos.
    templates : (n, d) float32 array
        Of those photos.
    consent_ends : float or None
        When the consent ends, in seconds since 1970.
    thumbnail : bytes or None
        A small JPEG of the face.
    """

    id: str
    kind: str
    subject: str
    deleted: float
    files: tuple[str, ...] = ()
    photos: tuple[str, ...] = ()
    templates: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    consent_ends: float | None = None
    thumbnail: bytes | None = None

    def as_bytes(self) -> bytes:
        """The contents of the note, JSON."""
        shown: dict[str, Any] = {
            "kind": self.kind,
            "subject": self.subject,
            "deleted": self.deleted,
            "files": list(self.files),
            "photos": list(self.photos),
            "dim": self.templates.shape[1] if len(self.templates) else 0,
            "templates": base64.b64encode(np.ascontiguousarray(self.templates, "<f4").tobytes()).decode(),
            "consent_ends": self.consent_ends,
            "thumbnail": None if self.thumbnail is None else base64.b64encode(self.thumbnail).decode(),
        }
        return json.dumps(shown, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, id_: str, data: bytes) -> BinItem:
        """Parse a note that `as_bytes` wrote.

        Raises
        ------
        ValueError, KeyError, TypeError
        """
        held = json.loads(data)
        templates = np.frombuffer(base64.b64decode(held["templates"]), "<f4").astype(np.float32)
        picture = held["thumbnail"]
        return cls(
            id_,
            held["kind"],
            held["subject"],
            float(held["deleted"]),
            tuple(held["files"]),
            tuple(held["photos"]),
            templates.reshape(-1, held["dim"]) if held["dim"] else np.empty((0, 0), np.float32),
            held["consent_ends"],
            None if picture is None else base64.b64decode(picture),
        )


class BinStore(ABC):
    """The deletions of one group. Callers hold the lock of every write for everything that changes something.

    Parameters
    ----------
    days : callable
        For how many days a deletion can be undone.
    grace_days : float
        Days after the end of a consent for which anything of that person may be kept.
    now : callable
        Seconds since 1970.
    """

    def __init__(self, days: Callable[[], float], grace_days: float = 0.0, now: Callable[[], float] = time.time):
        self._days, self._grace, self._now = days, grace_days * _DAY, now

    @property
    def days(self) -> float:
        """For how many days a deletion can be undone; 0 where deletions are final."""
        return self._days()

    # -- reading ------------------------------------------------------------------------------------------------

    @abstractmethod
    def all(self) -> list[BinItem]:
        """Every deletion, the latest first."""

    def of(self, subject: str) -> list[BinItem]:
        """Those of one subject, the latest first."""
        return [item for item in self.all() if item.subject == subject]

    def get(self, id_: str) -> BinItem:
        """One deletion.

        Raises
        ------
        BinItemNotFound
        """
        item = self._find(id_)
        if item is None:
            raise BinItemNotFound("the bin has no such item, or no longer", item=id_[:40])
        return item

    @abstractmethod
    def _find(self, id_: str) -> BinItem | None:
        """One deletion, by what may be an id."""

    def until(self, item: BinItem) -> float:
        """When a deletion becomes final, in seconds since 1970: earlier where the consent ends."""
        until = item.deleted + self.days * _DAY
        return until if item.consent_ends is None else min(until, item.consent_ends + self._grace)

    def due(self) -> list[BinItem]:
        """The deletions that are final by now, the oldest first."""
        now = self._now()
        return [item for item in reversed(self.all()) if self.until(item) <= now]

    @abstractmethod
    def read(self, item: BinItem, name: str, max_bytes: int) -> bytes:
        """The photo of a deletion whose file has this name, as it was received.

        Raises
        ------
        OSError, StorageError, ImageTooLarge, SealBroken, KeyMissing
        """

    # -- changing -----------------------------------------------------------------------------------------------

    @abstractmethod
    def discard(self, name: str, noted: Callable[[], object]) -> BinItem:
        """Put everything that is enrolled of a subject into the bin.

        Parameters
        ----------
        noted : callable
            Notes it in the audit log; what it raises is raised, and nothing is changed.

        Raises
        ------
        SubjectNotFound, StorageError
        Conflict
            The subject's folder contains a folder, which could not be restored.
        """

    @abstractmethod
    def discard_photo(self, name: str, photo: str, noted: Callable[[], object]) -> BinItem:
        """Put one photo of a subject into the bin; see `discard`.

        Raises
        ------
        SubjectNotFound, PhotoNotFound, StorageError
        """

    @abstractmethod
    def take_back(self, item: BinItem, noted: Callable[[], object]) -> Sequence[str] | None:
        """Enrol what a deletion has; the folders that are to be read again, None if there are none.

        Raises
        ------
        NameTaken, StorageError
        """

    @abstractmethod
    def remove(self, item: BinItem, whole: bool = False) -> None:
        """Erase a deletion for good.

        Parameters
        ----------
        whole : bool
            Whether everything about the subject is erased.

        Raises
        ------
        StorageError
        """

    @abstractmethod
    def rename(self, old: str, new: str) -> None:
        """Give a subject another name in the notes.

        Raises
        ------
        StorageError
        """

    @abstractmethod
    def erase_unreadable(self, age: float = 0.0) -> None:
        """Erase deletions whose note cannot be read and that are older than `age` seconds: they may be about anybody.

        Raises
        ------
        StorageError
        """

    @abstractmethod
    def purge_leftovers(self) -> None:
        """Erase what interrupted deletions left; a note that a missing key hides stays."""

    @abstractmethod
    def count_unreadable(self) -> int:
        """How many deletions have a note that cannot be read."""


def vectors_of(entries: Sequence[Entry]) -> np.ndarray:
    """The templates of some photos; (0, 0) without any."""
    vectors = [entry.encoding.vector for entry in entries if entry.encoding.vector is not None]
    return np.array(vectors, np.float32) if vectors else np.empty((0, 0), np.float32)


def preview(enrolment: Enrolment, entries: Sequence[Entry]) -> bytes | None:
    """The first small picture of a face on some photos."""
    for entry in entries:
        picture = enrolment.thumbnail(thumbnail_key(entry.photo, entry.encoding.face))
        if picture is not None:
            return picture
    return None
