"""What the index of the archive consists of: folders, files, photos, faces, and groups of faces."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field

import numpy as np

from recognizer.archive.photo_index import FaceKey
from recognizer.core.types import Box
from recognizer.enrolment.encodings import FileStamp

#: How a stored path begins whose bytes are no text; no relative path begins like this.
_BYTES = "//"


@dataclass(frozen=True, slots=True)
class ArchiveFolder:
    """A folder of the archive.

    Attributes
    ----------
    id : int
    path : str
    added, seen : float
        Seconds since 1970: when it was added, and when it was last there; `seen` is None before the first update.
    state : str
        Of the last update: ``new``, ``present``, ``missing``, ``unreadable`` or ``empty``. The index of a folder that is not
        present is kept.
    """

    id: int
    path: str
    added: float
    seen: float | None
    state: str


@dataclass(frozen=True, slots=True)
class ArchivePhoto:
    """What is known about the content of a photo.

    Attributes
    ----------
    id : str
    engine : str
        Key of the engine and its sizes.
    width, height : int or None
        Of the upright photo, in pixels.
    taken : float or None
        Seconds since 1970, on the camera's clock as if that showed UTC.
    clock : str or None
        Where `taken` comes from: ``camera``; ``video`` for the time in a video, which is in UTC and is shown on this machine's
        clock; or ``file`` for the file's time.
    faces : int
    problem, message : str or None
        Why the photo cannot be used: an error's code and text.
    seconds : float or None
        Of a video, how much of it was read; None for a photo.
    """

    id: str
    engine: str
    width: int | None = None
    height: int | None = None
    taken: float | None = None
    clock: str | None = None
    faces: int = 0
    problem: str | None = None
    message: str | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ArchiveFace:
    """A face of the archive.

    Attributes
    ----------
    key : FaceKey
    box : Box
        In pixels of the upright photo.
    score : float
        The detector's.
    quality : float
        What the picture says about whose face it is, 0.01 to 1; see `quality.picture_value`.
    remarks : str or None
        Why it is not grouped, as codes separated by commas; None for a face that is.
    vector : ndarray of float32, shape (d,)
    person : int or None
        Id of its group.
    seconds : float or None
        Where it is in a video, from the beginning; None on a photo.
    """

    key: FaceKey
    box: Box
    score: float
    quality: float
    remarks: str | None
    vector: np.ndarray
    person: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ArchivePerson:
    """A group of faces.

    Attributes
    ----------
    id : int
    subject : str or None
        Name of the person.
    decided : bool
        Whether a person gave the name; otherwise it was recognised.
    rate : float or None
        Of a recognised name: the probability that a stranger's group is given it.
    likely : str or None
        The enrolled person whom the group may show, where that is not certain enough for a name.
    likely_rate : float or None
    fixed : bool
        Whether a person decided which faces belong to it.
    hidden : bool
        Whether it is left out of lists.
    apart : frozenset of int
        Ids of groups that a person split from it.
    refused : frozenset of str
        Names that a person refused.
    """

    id: int
    subject: str | None = None
    decided: bool = False
    rate: float | None = None
    likely: str | None = None
    likely_rate: float | None = None
    fixed: bool = False
    hidden: bool = False
    apart: frozenset[int] = field(default=frozenset())
    refused: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file of a folder as the last update found it.

    Attributes
    ----------
    path : str
        Relative to the folder, as `stored_path` writes it.
    stamp : FileStamp
    photo : str or None
        Id of its content; None if it could not be read or is no photo.
    problem, message : str or None
        Why it could not be read.
    """

    path: str
    stamp: FileStamp
    photo: str | None
    problem: str | None = None
    message: str | None = None


def stored_path(path: str) -> str:
    """A relative path as text that can be stored, whatever bytes its name has; `real_path` undoes it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _BYTES + base64.urlsafe_b64encode(os.fsencode(path)).decode()
    return path


def real_path(text: str) -> str:
    """The path that `stored_path` made a text of."""
    return os.fsdecode(base64.urlsafe_b64decode(text[len(_BYTES) :])) if text.startswith(_BYTES) else text


def shown_path(path: str) -> str:
    """A path as it is shown: bytes that are no text are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")
