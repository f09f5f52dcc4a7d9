"""The files with what is stored about people besides photos; see `core.particulars`."""

from __future__ import annotations

import threading
from collections.abc import Callable

from recognizer.core.particulars import Particulars
from recognizer.enrolment.encodings import FileStamp
from recognizer.enrolment.folder import KnownFaces


class ParticularsFiles:
    """What is stored about the people in one folder. The files are the truth; what was read is remembered. Any thread may call.

    Parameters
    ----------
    folder : KnownFaces
    """

    def __init__(self, folder: KnownFaces):
        self._folder = folder
        self._read: dict[str, tuple[FileStamp, Particulars]] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Particulars:
        """What is stored about a subject; nothing where a file is damaged or cannot be decrypted."""
        stamp = self._folder.particulars_stamp(name)
        with self._lock:
            held = self._read.get(name)
            if stamp is None:
                self._read.pop(name, None)
                return Particulars()
            if held is not None and held[0] == stamp:
                return held[1]
        found = self._folder.particulars(name)
        with self._lock:
            self._read[name] = stamp, found
        return found

    def change(self, name: str, change: Callable[[Particulars], Particulars]) -> Particulars:
        """Change what is stored about a subject; durable on return. The caller holds the lock of every write.

        Raises
        ------
        SubjectNotFound, StorageError
        """
        held = self.of(name)
        changed = change(held)
        if changed != held:
            self._folder.set_particulars(name, changed)
        return changed
