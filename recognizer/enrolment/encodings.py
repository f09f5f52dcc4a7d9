"""What the cache stores: encodings of photos, and how files and folders were when they were last read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

#: End of `Encoding.face` where a person decided that the photo is used although its face is not comparable.
FORCED = "+forced"
#: Length of a photo's id.
PHOTO_ID_LENGTH = 32


def photo_id(data: bytes) -> str:
    """The id of a photo: the first 32 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:PHOTO_ID_LENGTH]


@dataclass(frozen=True, slots=True)
class Encoding:
    """The result of one engine for one photo.

    Attributes
    ----------
    photo, engine : str
    face : str
        Which face was requested: ``"only"``, ``"largest"`` or a place (see `face_choice`); with `FORCED` appended, also one
        that is not comparable.
    vector : ndarray of float32 or None
        None if the photo cannot be used; then `problem` is an error's code and `message` its text. Encodings of one photo, face
        and engine are equal.
    box : tuple of float
        left, top, right, bottom of the chosen face, in pixels of the photo.
    score : float
    width, height : int
        Of the photo.
    """

    photo: str
    engine: str
    face: str = "only"
    vector: np.ndarray | None = field(default=None, compare=False)
    problem: str | None = None
    message: str | None = None
    box: tuple[float, float, float, float] | None = None
    score: float | None = None
    width: int | None = None
    height: int | None = None

    @property
    def forced(self) -> bool:
        """Whether the photo is used although its face may not be comparable; such a template names nobody in video."""
        return self.face.endswith(FORCED)


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size, modification time and inode of a file: they change with its content, and can be read without opening it."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """The stamp, with numbers that fit into 63 bits: some systems have larger inodes, and broken clocks later times."""
        return cls(status.st_size, max(0, min(status.st_mtime_ns, 2**63 - 1)), status.st_ino % 2**63)


class KnownFolder(NamedTuple):
    """A subject's folder when it was last read.

    Attributes
    ----------
    mtime_ns, inode : int
        Of the folder.
    files : int
        How many files should be photos.
    note_size, note_mtime_ns, note_inode : int or None
        The stamp of the note of consent; None where there is none.
    """

    mtime_ns: int
    inode: int
    files: int
    note_size: int | None = None
    note_mtime_ns: int | None = None
    note_inode: int | None = None

    @property
    def note(self) -> FileStamp | None:
        """The stamp of the note of consent."""
        if self.note_size is None or self.note_mtime_ns is None or self.note_inode is None:
            return None
        return FileStamp(self.note_size, self.note_mtime_ns, self.note_inode)
