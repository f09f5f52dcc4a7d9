"""What was seen in known_faces: photos, problems, and the folders of subjects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from recognizer.enrolment.encodings import FileStamp

#: File systems whose clocks count whole seconds round to two.
_TICK_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A file that should be a photo of `subject`; `path` is relative to the folder, with slashes."""

    subject: str
    path: str
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something in the folder is not used. `path` is relative to the folder, with slashes."""

    subject: str | None
    path: str
    code: str
    message: str


class FolderMark(NamedTuple):
    """Modification time and inode of a subject's folder: they change when a file comes, goes or is renamed."""

    mtime_ns: int
    inode: int

    def is_older_than(self, moment_ns: int) -> bool:
        """Whether a later change is sure to give another mark; clocks of file systems may count whole seconds only."""
        return 0 <= self.mtime_ns < moment_ns - _TICK_NS


@dataclass(slots=True)
class ReadFolder:
    """What was seen in a subject's folder beside its photos.

    Attributes
    ----------
    subject : str
    mark : FolderMark or None
        None while a change could leave the same mark.
    consent : FileStamp or None
        Of the note of consent, if there is one.
    problems : list of Problem
    left_over : bool
        Whether something is there that an interrupted write or deletion left, or one that is going on.
    """

    subject: str
    mark: FolderMark | None = None
    consent: FileStamp | None = None
    problems: list[Problem] = field(default_factory=list)
    left_over: bool = False


@dataclass(slots=True)
class FolderLook:
    """What `KnownFaces.look` found.

    Attributes
    ----------
    whole : bool
        Whether all names were listed; otherwise everything here is about some of them.
    folders : set of str
        Folders of subjects, whether they were read or not.
    absent : set of str
        Names that are no folder of a subject, or not any more.
    read : dict
        The folders that were read.
    photos : list of PhotoFile
        Of the folders that were read, by path.
    root_problems : dict
        Problem of each name that cannot be used.
    """

    whole: bool
    folders: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    read: dict[str, ReadFolder] = field(default_factory=dict)
    photos: list[PhotoFile] = field(default_factory=list)
    root_problems: dict[str, Problem] = field(default_factory=dict)

    @property
    def changed(self) -> set[str]:
        """The folders that were read or are gone."""
        return self.absent | self.read.keys()
