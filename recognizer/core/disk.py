"""Disk errors as `StorageError`, and a stamp of a file that shows whether the file has changed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from recognizer.core.errors import StorageError

#: Numbers of errors of a disk that is full or must not be written, but can perhaps be read.
REFUSALS = frozenset({errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, getattr(errno, "EDQUOT", errno.ENOSPC)})


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
