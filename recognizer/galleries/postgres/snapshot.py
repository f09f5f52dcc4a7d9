"""A copy of a node's templates in its state folder: with it the node is ready sooner, and also while the database is away.

Subjects are stored by their numbers in the database, `PER_FILE` in a file, so that a change writes one file anew. A file may be
newer than the change that the list says, never older: whoever loads it reads the changes since, and applies them again.
"""

from __future__ import annotations

import base64
import json
import struct
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from recognizer.core.disk import disk_errors
from recognizer.core.errors import RecognizerError, StorageError
from recognizer.core.files import own_folder, remove_erasing, replace_erasing, write_durably
from recognizer.core.vault import Vault

FOLDER = "snapshot"
#: Subjects in a file.
PER_FILE = 1024
_LIST, _OWNER = "list.json", "owner.lock"
_FORMAT = 2
_PURPOSE = "gallery snapshot "
_HEAD = struct.Struct("<4sI")
_MAGIC = b"RSN1"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group as the database has it.

    Attributes
    ----------
    number : int
        Never used again for another group.
    name : str
    identity : bytes or None
        See `core.identity`; encrypted where there is a key.
    """

    number: int
    name: str
    identity: bytes | None


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """What the list says.

    Attributes
    ----------
    seq : int
        Number of the last change that is in the files.
    stamp : str
        When that change was made, by the database: another database has another time.
    written : float
        When the node was last in step with the database, in seconds since 1970.
    forced : list of (int, str)
        Group and photo of those whose enrolment was forced.
    groups : list of GroupRow
    """

    seq: int
    stamp: str
    written: float
    forced: list[tuple[int, str]]
    groups: list[GroupRow]


class SnapshotSubject(NamedTuple):
    """A subject of a file: number, group, name, when the consent ends in seconds since 1970, and how many rows are theirs."""

    number: int
    group: int
    name: str
    ends: float | None
    rows: int


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """The subjects of one file.

    Attributes
    ----------
    subjects : list of SnapshotSubject
        In the order of their rows.
    photos : list of str
    vectors : ndarray of float32, shape (n, dim)
    """

    subjects: list[SnapshotSubject]
    photos: list[str]
    vectors: np.ndarray


class Snapshot:
    """The files. One process at a time writes them; see `own`.

    Parameters
    ----------
    folder : Path
    engine : str
    dim : int
    vault : Vault, optional
        Encrypts the files.
    """

    def __init__(self, folder: Path, engine: str, dim: int, vault: Vault | None = None):
        from filelock import FileLock

        self.folder = folder
        self._engine, self._dim, self._vault = engine, dim, vault
        self._owner = FileLock(folder / _OWNER, thread_local=False)
        self._lock = threading.Lock()

    # -- who writes ---------------------------------------------------------------------------------------------

    def own(self) -> bool:
        """Whether this process may write, which it then may until `disown`.

        Raises
        ------
        StorageError
        """
        from filelock import Timeout

        with self._lock, disk_errors("the snapshot cannot be stored"):
            own_folder(self.folder)
            try:
                if not self._owner.is_locked:
                    self._owner.acquire(blocking=False)
            except Timeout:
                return False
            return True

    def disown(self) -> None:
        self._owner.release(force=True)

    # -- files --------------------------------------------------------------------------------------------------

    def _seal(self, data: bytes, name: str) -> bytes:
        return data if self._vault is None else self._vault.seal(data, _PURPOSE + name)

    def _open(self, data: bytes, name: str) -> bytes:
        return data if self._vault is None else self._vault.open(data, _PURPOSE + name)

    def _path(self, key: int) -> Path:
        return self.folder / f"{key:08x}.rows"

    def keys(self) -> list[int]:
        """The numbers of the files that are there."""
        with disk_errors("the snapshot cannot be read"):
            return sorted(int(path.stem, 16) for path in self.folder.glob("*.rows")) if self.folder.is_dir() else []

    def _write(self, path: Path, data: bytes) -> None:
        with disk_errors("the snapshot cannot be stored"):
            try:
                before = path.stat()
            except FileNotFoundError:
                write_durably(path, data, mode=0o600)
                return
            if replace_erasing(path, data, expected=before) is None:
                raise StorageError("the snapshot cannot be stored: another process writes it")

    def put(self, key: int, rows: SnapshotRows) -> None:
        """Store the subjects of a file; one without subjects is removed.

        Raises
        ------
        StorageError
        """
        path = self._path(key)
        if not rows.subjects:
            with disk_errors("the snapshot cannot be stored"):
                if path.exists():
                    remove_erasing(path)
            return
        head = json.dumps({"subjects": rows.subjects, "photos": rows.photos}, ensure_ascii=False).encode()
        data = _HEAD.pack(_MAGIC, len(head)) + head + np.ascontiguousarray(rows.vectors, "<f4").tobytes()
        self._write(path, self._seal(data, path.stem))

    def get(self, key: int) -> SnapshotRows:
        """The subjects of a file.

        Raises
        ------
        StorageError, KeyMissing
            It is not there, or not whole, or sealed with a key that is missing.
        """
        path = self._path(key)
        with disk_errors("the snapshot cannot be read"):
            data = self._open(path.read_bytes(), path.stem)
        try:
            magic, length = _HEAD.unpack_from(data)
            held = json.loads(data[_HEAD.size : _HEAD.size + length])
            subjects = [
                SnapshotSubject(int(number), int(group), str(name), end, int(count))
                for number, group, name, end, count in held["subjects"]
            ]
            photos = [str(photo) for photo in held["photos"]]
            vectors = np.frombuffer(data, "<f4", offset=_HEAD.size + length).astype(np.float32, copy=False)
            vectors = vectors.reshape(len(photos), self._dim)
            if magic != _MAGIC or sum(subject.rows for subject in subjects) != len(photos):
                raise ValueError
        except (ValueError, KeyError, TypeError, struct.error):
            raise StorageError("the snapshot cannot be read: a file is damaged") from None
        return SnapshotRows(subjects, photos, vectors)

    # -- the list -----------------------------------------------------------------------------------------------

    def write_state(self, state: SnapshotState) -> None:
        """Store the list: the snapshot is complete with it.

        Raises
        ------
        StorageError
        """
        data = json.dumps(
            {
                "format": _FORMAT,
                "engine": self._engine,
                "dim": self._dim,
                "seq": state.seq,
                "stamp": state.stamp,
                "written": state.written,
                "forced": state.forced,
                "groups": [
                    (each.number, each.name, None if each.identity is None else base64.b64encode(each.identity).decode())
                    for each in state.groups
                ],
                "files": self.keys(),
            }
        ).encode()
        self._write(self.folder / _LIST, self._seal(data, _LIST))

    def state(self) -> SnapshotState | None:
        """What the list says; None if there is no complete snapshot of this engine that can be read."""
        try:
            held: dict[str, Any] = json.loads(self._open((self.folder / _LIST).read_bytes(), _LIST))
            same = (held["format"], held["engine"], held["dim"]) == (_FORMAT, self._engine, self._dim)
            if not same or not set(held["files"]) <= set(self.keys()):
                return None
            forced = [(int(group), str(photo)) for group, photo in held["forced"]]
            groups = [
                GroupRow(int(number), str(name), None if about is None else base64.b64decode(about))
                for number, name, about in held["groups"]
            ]
            return SnapshotState(int(held["seq"]), str(held["stamp"]), float(held["written"]), forced, groups)
        except (OSError, ValueError, KeyError, TypeError, RecognizerError):
            return None

    def clear(self) -> None:
        """Remove every file, the list first.

        Raises
        ------
        StorageError
        """
        with disk_errors("the snapshot cannot be removed"):
            for path in [self.folder / _LIST, *(self._path(key) for key in self.keys())]:
                if path.exists():
                    remove_erasing(path)

    # -- what is in the files -------------------------------------------------------------------------------------

    def rows_about(self, group: int, name: str, photos: Collection[str]) -> Iterator[tuple[tuple[int, str], str]]:
        """Group and name, and the photo, of each row that is of a subject or a photo, as the files have them.

        Raises
        ------
        StorageError, KeyMissing
        """
        wanted = frozenset(photos)
        for key in self.keys():
            rows = self.get(key)
            yield from ((owner, photo) for owner, photo in _pairs(rows) if owner == (group, name) or photo in wanted)


def _pairs(rows: SnapshotRows) -> Iterable[tuple[tuple[int, str], str]]:
    at = 0
    for each in rows.subjects:
        for photo in rows.photos[at : at + each.rows]:
            yield (each.group, each.name), photo
        at += each.rows


def remove_snapshot(folder: Path) -> None:
    """Remove a snapshot that is not wanted any longer."""
    Snapshot(folder, "", 0).clear()


def age_hours(state: SnapshotState) -> float:
    """How long ago the node was in step with the database."""
    return max(0.0, time.time() - state.written) / 3600
