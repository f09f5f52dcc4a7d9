"""Erasures and renamings that could not be finished at once, noted on the disk until they are."""

from __future__ import annotations

import base64
import json
import logging
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.disk import disk_errors
from recognizer.core.errors import StorageError
from recognizer.core.files import own_folder, remove_erasing, remove_parts, write_durably
from recognizer.core.holdings import Whose
from recognizer.core.vault import Vault, is_sealed

log = logging.getLogger("recognizer.unfinished")

#: What an encrypted note is for.
PURPOSE = "unfinished work"


@dataclass(frozen=True, eq=False)
class UnfinishedWork:
    """A change that was begun.

    Attributes
    ----------
    id : str
        Sorts by the time at which the change was begun.
    whose : Whose
    new_name : str or None
        For a renaming; None for an erasure.
    about : str
        The id by which the audit log knows the subject.
    recorded : bool
        The audit log has the line of an erasure. For a renaming: known_faces has the new name, and so has the audit log.
    only_photos : bool
        Only the photos of `whose` are erased, after which the subject has none.
    """

    id: str
    whose: Whose
    new_name: str | None = None
    about: str = ""
    recorded: bool = False
    only_photos: bool = False


class Unfinished:
    """The notes. Owns their folder, together with other processes; every method is called under the write lock.

    A note that cannot be written, for example because the disk is full, is kept in memory.

    Parameters
    ----------
    folder : path
        Created when the first note is written.
    vault : Vault, optional
        Encrypts the notes.
    """

    def __init__(self, folder: Path, vault: Vault | None = None):
        self._folder, self._vault = Path(folder), vault
        self._memory: dict[str, UnfinishedWork] = {}
        self._lock = threading.Lock()

    def begin(self, whose: Whose, new_name: str | None = None, about: str = "", *, only_photos: bool = False) -> UnfinishedWork:
        """Note what is about to be done."""
        id_ = f"{time.time_ns():020}-{secrets.token_hex(4)}"
        work = UnfinishedWork(id_, whose, new_name, about, only_photos=only_photos)
        self.note(work)
        return work

    def note(self, work: UnfinishedWork) -> None:
        """Write the note of a work, or write it again."""
        try:
            own_folder(self._folder)
            data = json.dumps(_plain(work), ensure_ascii=False).encode()
            write_durably(self._file(work.id), data if self._vault is None else self._vault.seal(data, PURPOSE), mode=0o600)
        except OSError as error:
            log.warning("a change that may have to be finished later cannot be noted (%s)", error.strerror)
            with self._lock:
                self._memory[work.id] = work
            return
        with self._lock:
            self._memory.pop(work.id, None)

    def end(self, work: UnfinishedWork) -> None:
        """Erase the note: the work is finished.

        Raises
        ------
        StorageError
        """
        with self._lock:
            self._memory.pop(work.id, None)
        with disk_errors("the note of a finished change cannot be removed"), suppress(FileNotFoundError, NotADirectoryError):
            remove_parts(self._folder)
            remove_erasing(self._file(work.id))

    def all(self) -> list[UnfinishedWork]:
        """All work that is not finished, the oldest first.

        Raises
        ------
        StorageError, KeyMissing
        """
        with self._lock:
            found = dict(self._memory)
        with disk_errors("the notes of unfinished changes cannot be read"):
            files = sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []
            for file in files:
                with suppress(FileNotFoundError):  # finished by another process meanwhile
                    if (work := self._read(file)) is not None:
                        found.setdefault(work.id, work)
        return [found[id_] for id_ in sorted(found)]

    def count(self) -> int:
        """How many there are. Never waits for a lock, reads no file's contents."""
        with suppress(OSError):
            return len(self._memory) + sum(1 for file in self._folder.glob("*.json") if file.stem not in self._memory)
        return len(self._memory)

    def _read(self, file: Path) -> UnfinishedWork | None:
        data = file.read_bytes()
        if self._vault is None and is_sealed(data):
            raise StorageError("the notes of unfinished changes are encrypted, and no key is set")
        try:
            return _work(file.stem, json.loads(data if self._vault is None else self._vault.open_or_plain(data, PURPOSE)))
        except (ValueError, KeyError, TypeError):
            log.warning("the note %s of an unfinished change is damaged", file.name)
            return None

    def _file(self, id_: str) -> Path:
        return self._folder / f"{id_}.json"


def sealable(folder: Path) -> list[tuple[Path, str]]:
    """Every note, and the purpose that it is encrypted for."""
    return [(file, PURPOSE) for file in sorted(folder.glob("*.json"))]


def _plain(work: UnfinishedWork) -> dict[str, Any]:
    vectors = np.ascontiguousarray(work.whose.templates, "<f4")
    return {
        "name": work.whose.name,
        "photos": list(work.whose.photos),
        "templates": [base64.b64encode(vector.tobytes()).decode() for vector in vectors],
        "new_name": work.new_name,
        "about": work.about,
        "recorded": work.recorded,
        "only_photos": work.only_photos,
    }


def _work(id_: str, kept: dict[str, Any]) -> UnfinishedWork:
    vectors = [np.frombuffer(base64.b64decode(each), "<f4") for each in kept["templates"]]
    templates = np.array(vectors) if vectors else np.empty((0, 0), np.float32)
    whose = Whose(kept["name"], tuple(kept["photos"]), templates, again=True)
    return UnfinishedWork(id_, whose, kept["new_name"], kept["about"], kept["recorded"], kept.get("only_photos", False))
