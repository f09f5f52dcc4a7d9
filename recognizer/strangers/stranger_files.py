"""The folder of strangers: reads it, writes it, and follows what other processes change there.

::

    strangers/
      strangers.lock             held for every change and every refresh
      3f9a0c1b72.json            a stranger: when and where seen, and each picture's template
      pictures/8c1d....jpg       pictures, named by their content

A picture is written before the stranger that lists it, and erased after; what an interruption leaves over is erased by the
next `StrangerFolder.erase_leftovers`. Any process may change anything: each reads, under the lock, what others changed.

Where there is a key, both are encrypted with it.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from recognizer.core.disk import StatStamp, disk_errors
from recognizer.core.errors import KeyMissing, SealBroken, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.files import sync_folder, write_durably
from recognizer.core.vault import Vault, is_sealed
from recognizer.strangers.model import Picture, Stranger

log = logging.getLogger("recognizer.strangers")

_LOCK_SECONDS = 10.0
PICTURES, _LOCK = "pictures", "strangers.lock"
#: Age in seconds from which on a picture that no stranger lists is a leftover.
_LEFTOVER = 3600.0
_FAILURE = "the strangers cannot be kept"


class StrangerFolder:
    """All strangers as they are stored. Everything but `held` is called within `held`.

    Parameters
    ----------
    folder : path
        Created if it does not exist.
    engine : str
        Id of the engine that makes the templates.
    vault : Vault, optional
        Encrypts the stored data.

    Raises
    ------
    StorageError
    """

    def __init__(self, folder: Path, engine: str, vault: Vault | None = None):
        self.folder = folder
        self._engine, self._vault = engine, vault
        self._lock = threading.RLock()
        self._strangers: dict[str, Stranger] = {}
        self._foreign: set[str] = set()  # those whose templates another engine made
        self._stamps: dict[str, StatStamp] = {}
        with disk_errors(_FAILURE):
            (self.folder / PICTURES).mkdir(parents=True, exist_ok=True)
        self._file_lock = FairLock(self.folder / _LOCK)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The lock of this folder, over all threads and processes; what others changed is known inside.

        Raises
        ------
        StorageError
            Also for an `OSError` within the block.
        """
        with self._lock, disk_errors(_FAILURE), _locked(self._file_lock):
            self._refresh()
            yield

    def all(self) -> dict[str, Stranger]:
        """Everybody who is stored, by id, with those of other engines and those who were dismissed for ever."""
        return self._strangers

    def own(self) -> dict[str, Stranger]:
        """Those whose templates this engine made."""
        return {id_: each for id_, each in self._strangers.items() if id_ not in self._foreign}

    def foreign(self) -> dict[str, Stranger]:
        """Those whose templates another engine made."""
        return {id_: each for id_, each in self._strangers.items() if id_ in self._foreign}

    def read_picture(self, picture: str) -> bytes:
        """The JPEG of a picture.

        Raises
        ------
        OSError, SealBroken, KeyMissing
        """
        return _read(self._picture_file(picture), _picture_purpose(picture), self._vault)

    def write_picture(self, picture: str, jpeg: bytes) -> None:
        """Store the JPEG of a picture; durable on return."""
        _write(self._picture_file(picture), _picture_purpose(picture), jpeg, self._vault)

    def save(self, made: Mapping[str, Stranger], gone: Iterable[str] = ()) -> None:
        """Write the strangers `made`; erase those that are `gone`, and those all of whose pictures belong to `made` now.

        Pictures that no stranger lists any more are erased last.
        """
        claimed = {each.id for stranger in made.values() for each in stranger.pictures}
        gone = set(gone) | {
            id_
            for id_, each in self._strangers.items()
            if id_ not in made and each.pictures and all(p.id in claimed for p in each.pictures)
        }
        before = {each.id for id_ in (*made, *gone) if id_ in self._strangers for each in self._strangers[id_].pictures}
        for id_, stranger in made.items():
            path = self._file(id_)
            _write(path, _note_purpose(id_), json.dumps(_as_json(stranger, self._engine)).encode(), self._vault)
            self._stamps[id_] = StatStamp.from_status(path.stat())
            self._strangers[id_] = stranger
            self._foreign.discard(id_)
        for id_ in gone:
            self._file(id_).unlink(missing_ok=True)
            self._strangers.pop(id_, None)
            self._stamps.pop(id_, None)
            self._foreign.discard(id_)
        if gone:
            sync_folder(self.folder)
        for picture in before - self._listed_pictures():
            self._picture_file(picture).unlink(missing_ok=True)

    def erase_leftovers(self, edge: float) -> None:
        """Erase pictures that no stranger lists, and files before `edge` (seconds since the epoch) that cannot be read."""
        for file in self.folder.glob("*.json"):
            if file.stem not in self._strangers and file.stat().st_mtime < edge:
                file.unlink()
        listed = self._listed_pictures()
        for file in (self.folder / PICTURES).iterdir():
            if file.stem not in listed and file.stat().st_mtime < time.time() - _LEFTOVER:
                file.unlink()

    def _listed_pictures(self) -> set[str]:
        return {each.id for stranger in self._strangers.values() if not stranger.never for each in stranger.pictures}

    def _refresh(self) -> None:
        """Read what has changed since the last refresh."""
        stamps = {}
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json"):
                    stamps[entry.name[:-5]] = StatStamp.from_status(entry.stat())
        if stamps == self._stamps:
            return
        for id_ in self._strangers.keys() - stamps.keys():
            self._strangers.pop(id_)
            self._foreign.discard(id_)
        for id_, stamp in stamps.items():
            if self._stamps.get(id_) != stamp:
                self._read_one(id_)
        self._stamps = stamps
        owner: dict[str, str] = {}
        for id_ in sorted(self._strangers, key=lambda id_: stamps[id_], reverse=True):
            # two strangers list one picture if a merge was interrupted: the one that was written last has it
            stranger = self._strangers[id_]
            own = tuple(each for each in stranger.pictures if owner.setdefault(each.id, id_) == id_)
            if not own:
                del self._strangers[id_]
            elif len(own) < len(stranger.pictures):
                self._strangers[id_] = replace(stranger, pictures=own)

    def _read_one(self, id_: str) -> None:
        self._foreign.discard(id_)
        try:
            stored = json.loads(_read(self._file(id_), _note_purpose(id_), self._vault))
            self._strangers[id_] = _from_json(id_, stored)
            if stored["engine"] != self._engine:
                self._foreign.add(id_)
        except (OSError, ValueError, KeyError, TypeError, SealBroken, KeyMissing) as error:
            self._strangers.pop(id_, None)
            log.warning("a stranger cannot be read (%s)", type(error).__name__)

    def _file(self, id_: str) -> Path:
        return self.folder / f"{id_}.json"

    def _picture_file(self, picture: str) -> Path:
        return self.folder / PICTURES / f"{picture}.jpg"


def sealable(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every file that is encrypted where there is a key, and what it is for."""
    for file in sorted(folder.glob("*.json")):
        yield file, _note_purpose(file.stem)
    for file in sorted((folder / PICTURES).glob("*.jpg")):
        yield file, _picture_purpose(file.stem)


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """No process changes any stranger inside.

    Raises
    ------
    StorageError
    """
    if not folder.is_dir():
        yield
        return
    with _locked(FairLock(folder / _LOCK)):
        yield


@contextmanager
def _locked(lock: FairLock) -> Iterator[None]:
    """Hold a file lock; no other process is inside."""
    with ExitStack() as held:
        try:
            held.enter_context(lock.hold(_LOCK_SECONDS))
        except TimeoutError:
            raise StorageError("the strangers are in use by another process") from None
        yield


def _as_json(stranger: Stranger, engine: str) -> dict:
    return {
        "engine": engine,
        "sightings": stranger.sightings,
        "first_seen": stranger.first_seen,
        "last_seen": stranger.last_seen,
        "at": list(stranger.at.items()),
        "visits": stranger.visits,
        "never": stranger.never,
        "fixed": stranger.fixed,
        "apart": sorted(stranger.apart),
        "pictures": [
            {
                "id": each.id,
                "time": each.time,
                "camera": each.camera,
                "quality": each.quality,
                "visit": each.visit,
                "template": base64.b64encode(np.ascontiguousarray(each.vector, "<f4").tobytes()).decode(),
            }
            for each in stranger.pictures
        ],
    }


def _from_json(id_: str, stored: Mapping) -> Stranger:
    pictures = tuple(
        Picture(
            each["id"],
            each["time"],
            each["camera"],
            each["quality"],
            each["visit"],
            np.frombuffer(base64.b64decode(each["template"]), "<f4"),
        )
        for each in stored["pictures"]
    )
    if not pictures:
        raise ValueError("expected pictures")
    return Stranger(
        id_,
        stored["sightings"],
        stored["first_seen"],
        stored["last_seen"],
        dict(map(tuple, stored["at"])),
        pictures,
        tuple(stored.get("visits", ())),
        stored["never"],
        stored["fixed"],
        frozenset(stored["apart"]),
    )


def _note_purpose(id_: str) -> str:
    """What an encrypted file of a stranger is for."""
    return f"stranger {id_}"


def _picture_purpose(picture: str) -> str:
    return f"picture of a stranger {picture}"


def _read(path: Path, purpose: str, vault: Vault | None) -> bytes:
    data = path.read_bytes()
    if vault is None and is_sealed(data):
        raise SealBroken("what is kept of a stranger is encrypted, and there is no key")
    return data if vault is None else vault.open_or_plain(data, purpose)


def _write(path: Path, purpose: str, data: bytes, vault: Vault | None) -> None:
    write_durably(path, data if vault is None else vault.seal(data, purpose))
