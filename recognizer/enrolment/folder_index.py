"""The names of the folders in known_faces/, read once and kept: which subject each belongs to, and which names clash.

With 50,000 people, reading and normalising all names takes seconds, and every change of somebody asks for it several times. The
folder's modification time tells whether a name came or went; then the names are listed again, which takes 30 ms, and only new
ones are normalised.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from recognizer.core import names
from recognizer.core.errors import InvalidName

#: Two changes within this time may leave the same modification time: where clocks count finely, and where they count seconds.
_TICK_NS, _COARSE_TICK_NS = 20_000_000, 2_000_000_000


class FolderIndex:
    """The folders below `root` by name, subject and comparison key. Thread-safe.

    Files, symbolic links, names that begin with a dot and names that no subject may have are not in it.
    """

    def __init__(self, root: Path):
        self._root = root
        self._lock = threading.Lock()
        self._mark: tuple[int, int, int] | None = None
        self._settles_at = 0
        self._subjects: dict[str, tuple[str, str] | None] = {}  # folder -> subject and key; None for names that are not allowed
        self._by_key: dict[str, list[str]] = {}  # key -> folders, the one that counts first

    def refresh(self, listed: Iterable[tuple[str, bool]] | None = None) -> None:
        """List the names again if they may have changed.

        Parameters
        ----------
        listed : iterable of (str, bool), optional
            What the caller has just listed: names, and whether each is a folder.

        Raises
        ------
        OSError
        """
        with self._lock:
            status = os.stat(self._root)
            mark = status.st_dev, status.st_ino, status.st_mtime_ns
            now = time.time_ns()
            if listed is None:
                if mark == self._mark and (not self._settles_at or now < self._settles_at):
                    return
                with os.scandir(self._root) as entries:
                    listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            self._take({name for name, is_folder in listed if is_folder and not name.startswith(".")})
            tick = _TICK_NS if status.st_mtime_ns % 1_000_000_000 else _COARSE_TICK_NS
            settles_at = status.st_mtime_ns + tick
            # a change in the same tick as the last one leaves the same mark: list once more after it
            self._mark, self._settles_at = mark, settles_at if settles_at > now else 0

    def _take(self, there: set[str]) -> None:
        known = self._subjects.keys()
        gone, new = known - there, there - known
        for name in gone:
            parts = self._subjects.pop(name)
            if parts is not None:
                same = self._by_key[parts[1]]
                same.remove(name)
                if not same:
                    del self._by_key[parts[1]]
        for name in new:
            self._subjects[name] = parts = _parts(name)
            if parts is not None:
                same = self._by_key.setdefault(parts[1], [])
                same.append(name)
                same.sort(key=self._order)

    def _order(self, name: str) -> tuple[bool, str]:
        """Folders whose names are written as `names.normalise` has them first: of two for one subject, that one counts."""
        parts = self._subjects[name]
        return parts is None or parts[0] != name, name

    def parts(self, folder: str) -> tuple[str, str]:
        """Subject and comparison key of a folder, also of one that is not in the index.

        Raises
        ------
        InvalidName
        """
        known = self._subjects.get(folder)
        if known is None:
            subject = names.normalise(folder)
            return subject, names.comparison_key(subject)
        return known

    def first(self, key: str) -> str | None:
        """Of the folders with this comparison key, the one that counts."""
        same = self._by_key.get(key)
        return same[0] if same else None

    def alike(self, key: str) -> list[str]:
        """All folders with this comparison key, the one that counts first."""
        return list(self._by_key.get(key, ()))

    def folder_of(self, subject: str) -> str | None:
        """The folder of a subject, however its name is written on the disk."""
        for name in self.alike(names.comparison_key(subject)):
            parts = self._subjects.get(name)
            if parts is not None and parts[0] == subject:
                return name
        return None

    def clash(self, subject: str) -> str | None:
        """Another subject's name that some file systems cannot tell from this one."""
        for name in self.alike(names.comparison_key(subject)):
            parts = self._subjects.get(name)
            if parts is not None and parts[0] != subject:
                return parts[0]
        return None

    def counting(self) -> Iterator[tuple[str, str]]:
        """The same without the folders whose names some systems cannot tell from another one that counts."""
        for same in list(self._by_key.values()):
            parts = self._subjects.get(same[0])
            if parts is not None:
                yield same[0], parts[0]

    def subjects(self) -> Iterator[tuple[str, str]]:
        """Folder and subject of each, in no order."""
        for name, parts in list(self._subjects.items()):
            if parts is not None:
                yield name, parts[0]


def _parts(name: str) -> tuple[str, str] | None:
    try:
        subject = names.normalise(name)
    except InvalidName:
        return None
    return (name if subject == name else subject), names.comparison_key(subject)
