"""The bin: photos and people that somebody deleted by hand, until they are restored or their time is over.

::

    bin/
      3f9a0c1b72d4e5f6/     one deletion
        .binned.json        who, when, which photos, their templates
        <photo>, .consent.json, .person.json ...   the files, named and encrypted as they were beside each other

A folder without a readable note is what an interruption left, and is erased with the next erasure or purge.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from recognizer.core import consent, identity, particulars
from recognizer.core.consent import Consent
from recognizer.core.disk import disk_errors
from recognizer.core.errors import Conflict, KeyMissing, PhotoNotFound, SealBroken, SubjectNotFound
from recognizer.core.files import open_regular, remove_erasing, sync_folder, write_durably
from recognizer.core.vault import Vault, is_sealed
from recognizer.enrolment.bin_store import NOTE_PURPOSE, PERSON_KIND, PHOTO_KIND, BinItem, BinStore, preview, vectors_of
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.folder import PHOTO, read_photo
from recognizer.enrolment.subject_files import CONSENT

#: Name of the folder of a bin, beside the cache of the people whose deletions it keeps.
BIN = "bin"
#: Name of the note in each folder.
NOTE_FILE = ".binned.json"
_PURPOSES = {
    NOTE_FILE: NOTE_PURPOSE,
    consent.FILE: CONSENT,
    identity.PERSON_FILE: identity.PERSON,
    particulars.FILE: particulars.PURPOSE,
}
_ID = re.compile(r"[0-9a-f]{16}")
_FAILURE = "the bin cannot be used"
#: Age in seconds from which on a folder without a note is left over: no deletion takes as long.
_LEFTOVER = 600.0


class Bin(BinStore):
    """The deletions of one group, in a folder. Callers hold the lock of every write for everything that changes something.

    Parameters
    ----------
    folder : Path
        Created with the first deletion.
    days, grace_days, now
        See `BinStore`.
    vault : Vault, optional
    enrolment : Enrolment, optional
        Whose people are deleted and restored.
    """

    def __init__(
        self,
        folder: Path,
        days: Callable[[], float],
        grace_days: float = 0.0,
        vault: Vault | None = None,
        now: Callable[[], float] = time.time,
        enrolment: Enrolment | None = None,
    ):
        super().__init__(days, grace_days, now)
        self.folder, self._vault, self._enrolment = folder, vault, enrolment

    # -- reading ------------------------------------------------------------------------------------------------

    def all(self) -> list[BinItem]:
        found = [item for id_ in self._ids() if (item := self._read(id_)) is not None]
        return sorted(found, key=lambda item: item.deleted, reverse=True)

    def _find(self, id_: str) -> BinItem | None:
        return self._read(id_) if _ID.fullmatch(id_) else None

    def read(self, item: BinItem, name: str, max_bytes: int) -> bytes:
        return read_photo(self.file(item, name), max_bytes, self._vault)

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

    def discard(self, name: str, noted: Callable[[], object]) -> BinItem:
        enrolment = self._enrolled
        entries = enrolment.entries_so_far(name)
        folder = enrolment.folder.subject_folder(name)
        if folder is None:
            raise SubjectNotFound(f"nobody called {name!r} is enrolled")
        if any(each.is_dir() and not each.is_symlink() for each in folder.iterdir()):
            raise Conflict(
                f"the folder of {name!r} has another folder in it, which the bin cannot keep: move it, or delete for good",
                subject=name,
            )
        item = self._put(PERSON_KIND, name, sorted(file for file in folder.iterdir() if _is_kept(file)), entries)
        try:
            enrolment.remove_subject(name)
            noted()
        except BaseException:
            if enrolment.has_folder(name):
                self.remove(item)
            raise
        return item

    def discard_photo(self, name: str, photo: str, noted: Callable[[], object]) -> BinItem:
        enrolment = self._enrolled
        everything = enrolment.entries(name)
        entries = [entry for entry in everything if entry.photo == photo]
        if not entries:
            raise PhotoNotFound(f"{name!r} has no photo {photo!r}")
        files = [enrolment.folder.file(entry.path) for entry in entries]
        if len(entries) == len(everything):  # the folder goes with its last photo, and what is beside it
            folder = files[0].parent
            files += [file for file in (folder / consent.FILE, folder / particulars.FILE) if file.exists()]
        item = self._put(PHOTO_KIND, name, files, entries)
        try:
            enrolment.remove_photo(name, photo, noted=lambda last: noted())
        except BaseException:
            self.remove(item)
            raise
        return item

    def take_back(self, item: BinItem, noted: Callable[[], object]) -> Sequence[str] | None:
        folder = self._enrolled.folder
        folder.take_in(item.subject, [self.file(item, name) for name in item.files])
        try:
            noted()
        finally:  # the files are back: what is in the bin now is a second copy
            self.remove(item)
        found = folder.subject_folder(item.subject)
        return None if found is None else [found.name]

    @property
    def _enrolled(self) -> Enrolment:
        assert self._enrolment is not None, "this bin was made without an enrolment"
        return self._enrolment

    def _put(self, kind: str, name: str, files: Sequence[Path], entries: Sequence[Entry]) -> BinItem:
        enrolment = self._enrolled
        photos = [entry.photo for entry in entries if entry.photo]
        picture = preview(enrolment, entries)
        return self.put(kind, name, files, photos, vectors_of(entries), enrolment.consent(name), picture)

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

    def remove(self, item: BinItem, whole: bool = False) -> None:
        self._erase(item.id)

    def rename(self, old: str, new: str) -> None:
        for item in self.of(old):
            note = BinItem(**{**vars(item), "subject": new}).as_bytes()
            with disk_errors(_FAILURE):
                path = self.folder / item.id / NOTE_FILE
                write_durably(path, note if self._vault is None else self._vault.seal(note, NOTE_PURPOSE))

    def erase_unreadable(self, age: float = 0.0) -> None:
        for id_ in self._ids():
            if self._read(id_) is None and self._older(id_, age):
                self._erase(id_)

    def purge_leftovers(self) -> None:
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
        return sum(self._read(id_) is None for id_ in self._ids())


def _is_kept(file: Path) -> bool:
    """Whether a file of a subject's folder can come back from the bin: a photo, or what is stored beside photos."""
    ours = file.name in (consent.FILE, identity.PERSON_FILE, particulars.FILE) or not file.name.startswith(".")
    return ours and file.is_file() and not file.is_symlink()


def _purpose(name: str) -> str:
    return _PURPOSES.get(name, PHOTO)


def sealable(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file of a bin that is encrypted where there is a key, and what it is for."""
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _ID.fullmatch(place.name) and place.is_dir():
            for file in sorted(place.iterdir()):
                if file.name in _PURPOSES or not file.name.startswith("."):
                    yield file, _purpose(file.name)
