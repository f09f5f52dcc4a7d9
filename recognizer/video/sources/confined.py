"""Opens files that must be below a folder, by descriptor: the file that is checked is the one that is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from recognizer.video.sources.source import CameraSource

OUTSIDE = "it is not below the folder of RECOGNIZER_CAMERA_FILES: a symbolic link leads out of it"
_PLAIN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class OutsideFolder(OSError):
    """A path is outside of its folder."""


def open_file(source: CameraSource, path: str | os.PathLike[str] | None = None) -> int:
    """Open the file of a source, or a file in its folder, for reading; the descriptor is the caller's to close.

    Symbolic links are followed within the source's root only. Never waits, not even for a FIFO.

    Raises
    ------
    OutsideFolder
        It is outside of the source's root.
    OSError
    """
    name = os.fspath(source.address if path is None else path)
    if source.root is None:
        return os.open(name, _PLAIN)
    target = os.path.realpath(name)
    try:
        parts = Path(target).relative_to(source.root).parts
    except ValueError:
        raise OutsideFolder(OUTSIDE) from None
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        return os.open(target, _PLAIN)
    if not parts:
        return os.open(source.root, _PLAIN | os.O_DIRECTORY)
    folder = os.open(source.root, _PLAIN | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            below = _step(part, folder, os.O_DIRECTORY)
            os.close(folder)
            folder = below
        return _step(parts[-1], folder, 0)
    finally:
        os.close(folder)


def _step(name: str, folder: int, flags: int) -> int:
    try:
        return os.open(name, _PLAIN | os.O_NOFOLLOW | flags, dir_fd=folder)
    except OSError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OutsideFolder(OUTSIDE) from None  # it was created after the path was resolved
        raise


def read_start(source: CameraSource, path: str | os.PathLike[str], size: int) -> bytes:
    """The first bytes of a regular file, at most `size`.

    Raises
    ------
    OSError
        It cannot be opened, or is no regular file.
    """
    number = open_file(source, path)
    with open(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError("not a file")
        return file.read(size)
