"""Disk errors as `StorageError`, and a stamp of a file that shows whether the file has changed."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from recognizer.core.errors import StorageError

#: Numbers of errors of a disk that is full or must not be written, but can perhaps be read.
REFUSALS = frozenset({errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, getattr(errno, "EDQUOT", errno.ENOSPC)})


#: Age below which a file may still be replaced without looking different.
_YOUNG_NS = 100_000_000


class StatStamp(NamedTuple):
    """Identifies the contents of a file at one time; a different stamp means that the file must be read again."""

    modified_ns: int
    size: int
    inode: int

    @classmethod
    def from_status(cls, status: os.stat_result) -> StatStamp:
        """The stamp for the result of `os.stat` or `os.fstat`."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str]) -> StatStamp | None:
        """The stamp of a path, following symbolic links; None if the path cannot be examined."""
        try:
            return cls.from_status(os.stat(path))
        except OSError:
            return None


class SeenFile:
    """Tells whether a file must be read again. Its owner sees to it that one thread at a time asks.

    A file that was changed a moment ago counts as changed: it may be replaced once more and look the same, since the clock of a
    file system is coarse and numbers of files are given again.

    Parameters
    ----------
    path : path of the file, which may be missing

    Attributes
    ----------
    missing : bool
        Whether it was missing at the last call of `changed`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._path = path
        self._stamp: StatStamp | None = None
        self._sure = False
        self.missing = True

    def changed(self) -> bool:
        """Whether the file may be another one than at the last call that said so; whoever asks reads it then."""
        stamp = StatStamp.from_path(self._path)
        if self._sure and stamp == self._stamp:
            return False
        self._stamp, self.missing = stamp, stamp is None
        self._sure = stamp is None or abs(time.time_ns() - stamp.modified_ns) >= _YOUNG_NS
        return True

    def forget(self) -> None:
        """Let the next `changed` say so: the file could not be read, or was written here and perhaps by others since."""
        self._sure = False


def disk_reason(error: OSError) -> str:
    """The reason of a disk error in a few words, without any path: ``no space left on device``."""
    return (error.strerror or type(error).__name__).lower()


def storage_error(what: str, error: OSError) -> StorageError:
    """A `StorageError` of the form ``<what>: <reason>``, such as ``the events cannot be stored: permission denied``."""
    return StorageError(f"{what}: {disk_reason(error)}")


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` that is raised within the block into a `StorageError` whose message begins with `what`.

    Raises
    ------
    StorageError
    """
    try:
        yield
    except OSError as error:
        raise storage_error(what, error) from error
