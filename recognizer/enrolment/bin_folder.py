"""The bin: photos and people that somebody deleted by hand, until they are restored or their time is over.

::

    bin/
      3f9a0c1b72d4e5f6/     one deletion
        .binned.json        who, when, which photos, their templates
        <photo>, .consent.json, .person.json ...   the files, named and encrypted as they were beside each other

A folder without a readable note is what an interruption left, and is erased with the next erasure or purge.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core import consent, identity, particulars
from recognizer.core.consent import Consent
from recognizer.core.disk import disk_errors
from recognizer.core.errors import BinItemNotFound, KeyMissing, SealBroken
from recognizer.core.files import open_regular, remove_erasing, sync_folder, write_durably
from recognizer.core.vault import Vault, is_sealed
from recognizer.enrolment.folder import CONSENT, PHOTO

#: Name of the folder of a bin, beside the cache of the people whose deletions it keeps.
BIN = "bin"
#: Name of the note in each folder, and what it is encrypted for.
NOTE_FILE, NOTE_PURPOSE = ".binned.json", "bin note"
_PURPOSES = {
    NOTE_FILE: NOTE_PURPOSE,
    consent.FILE: CONSENT,
    identity.PERSON_FILE: identity.PERSON,
    particulars.FILE: particulars.PURPOSE,
}
PHOTO_KIND, PERSON_KIND = "photo", "person"
_ID = re.compile(r"[0-9a-f]{16}")
_FAILURE = "the bin cannot be used"
_DAY = 86_400.0
#: Age in seconds from which on a folder without a note is left over: no deletion takes as long.
_LEFTOVER = 600.0


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


class Bin:
    """The deletions of one group. Callers hold the lock of every write for everything that changes something.

    Parameters
    ----------
    folder : Path
        Created with the first deletion.
    days : float
        How long a deletion can be undone.
    grace_days : float
        Days after the end of a consent for which anything of that person may be kept.
    vault : Vault, optional
    now : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        days: float,
        grace_days: float = 0.0,
        vault: Vault | None = None,
        now: Callable[[], float] = time.time,
    ):
        self.folder, self.days = folder, days
        self._grace, self._vault, self._now = grace_days * _DAY, vault, now

    # -- reading ------------------------------------------------------------------------------------------------

    def all(self) -> list[BinItem]:
        """Every deletion, the latest first."""
        found = [item for id_ in self._ids() if (item := self._read(id_)) is not None]
        return sorted(found, key=lambda item: item.deleted, reverse=True)

    def of(self, subject: str) -> list[BinItem]:
        """Those of one subject, the latest first."""
        return [item for item in self.all() if item.subject == subject]

    def get(self, id_: str) -> BinItem:
        """One deletion.

        Raises
        ------
        BinItemNotFound
        """
        item = self._read(id_) if _ID.fullmatch(id_) else None
        if item is None:
            raise BinItemNotFound("the bin has no such item, or no longer", item=id_[:40])
        return item

    def until(self, item: BinItem) -> float:
        """When a deletion becomes final, in seconds since 1970: earlier where the consent ends."""
        until = item.deleted + self.days * _DAY
        return until if item.consent_ends is None else min(until, item.consent_ends + self._grace)

    def due(self) -> list[BinItem]:
        """The deletions that are final by now, the oldest first."""
        now = self._now()
        return [item for item in reversed(self.all()) if self.until(item) <= now]

    def file(self, item: BinItem, name: str) -> Path:
        """Where a file of a deletion is; it is encrypted as it was among the photos."""
        return self.folder / item.id / name

    def _ids(self) -> list[str]:
        with disk_errors(_FAILURE):
            return [each for each in os.listdir(self.folder) if _ID.fullmatch(each)] if self.folder.is_dir() else []

    def _read(self, id_: str) -> BinItem | None:
        try:
            with open_regular(self.folder / id_ / NOTE_FILE) as opened:
                data = opened.read()
            if self._vault is None and is_sealed(data):
                return None
            plain = data if self._vault is None else self._vault.open_or_plain(data, NOTE_PURPOSE)
            return BinItem.from_bytes(id_, plain)
        except (OSError, ValueError, KeyError, TypeError, SealBroken, KeyMissing):
            return None

    # -- changing -----------------------------------------------------------------------------------------------

    def put(
        self,
        kind: str,
        subject: str,
        files: Sequence[Path],
        photos: Sequence[str],
        templates: np.ndarray,
        held: Consent,
        thumbnail: bytes | None,
    ) -> BinItem:
        """Copy files into the bin; durable on return. The caller deletes them where they were.

        Raises
        ------
        StorageError
        """
        id_ = secrets.token_hex(8)
        place = self.folder / id_
        item = BinItem(
            id_,
            kind,
            subject,
            self._now(),
            tuple(file.name for file in files),
            tuple(dict.fromkeys(photos)),
            np.asarray(templates, np.float32),
            held.ends,
            thumbnail,
        )
        try:
            with disk_errors(_FAILURE):
                place.mkdir(parents=True, mode=0o700)
                for file in files:
                    with open_regular(file) as opened:
                        write_durably(place / file.name, self._sealed(file.name, opened.read()))
                note = item.as_bytes()
                write_durably(place / NOTE_FILE, note if self._vault is None else self._vault.seal(note, NOTE_PURPOSE))
                sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        return item

    def _sealed(self, name: str, data: bytes) -> bytes:
        """A file as it is kept: one that somebody copied among the photos may be in plain form still."""
        return data if self._vault is None or is_sealed(data) else self._vault.seal(data, _purpose(name))

    def remove(self, item: BinItem) -> None:
        """Erase a deletion for good.

        Raises
        ------
        StorageError
        """
        self._erase(item.id)

    def rename(self, old: str, new: str) -> None:
        """Give a subject another name in the notes.

        Raises
        ------
        StorageError
        """
        for item in self.of(old):
            note = BinItem(**{**vars(item), "subject": new}).as_bytes()
            with disk_errors(_FAILURE):
                path = self.folder / item.id / NOTE_FILE
                write_durably(path, note if self._vault is None else self._vault.seal(note, NOTE_PURPOSE))

    def erase_unreadable(self, age: float = 0.0) -> None:
        """Erase folders whose note cannot be read and that are older than `age` seconds: they may be about anybody.

        Raises
        ------
        StorageError
        """
        for id_ in self._ids():
            if self._read(id_) is None and self._older(id_, age):
                self._erase(id_)

    def purge_leftovers(self) -> None:
        """Erase what interrupted deletions left; a note that a missing key hides stays."""
        for id_ in self._ids():
            if not os.path.lexists(self.folder / id_ / NOTE_FILE) and self._older(id_, _LEFTOVER):
                self._erase(id_)

    def _older(self, id_: str, age: float) -> bool:
        try:
            return self._now() - (self.folder / id_).stat().st_mtime >= age
        except OSError:
            return False

    def _erase(self, id_: str) -> None:
        place = self.folder / id_
        with disk_errors(_FAILURE):
            files = sorted(os.listdir(place)) if place.is_dir() else []
            for name in sorted(files, key=lambda name: name != NOTE_FILE):  # without its note, nothing of it can come back
                remove_erasing(place / name)
            shutil.rmtree(place, ignore_errors=True)
            if self.folder.is_dir():
                sync_folder(self.folder)

    def count_unreadable(self) -> int:
        """How many folders have a note that cannot be read."""
        return sum(self._read(id_) is None for id_ in self._ids())


def _purpose(name: str) -> str:
    return _PURPOSES.get(name, PHOTO)


def sealable(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file of a bin that is encrypted where there is a key, and what it is for."""
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _ID.fullmatch(place.name) and place.is_dir():
            for file in sorted(place.iterdir()):
                if file.name in _PURPOSES or not file.name.startswith("."):
                    yield file, _purpose(file.name)
