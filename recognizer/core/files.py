"""Atomic and durable writes: after a crash at any time, either the complete old file or the complete new file exists."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from recognizer.core.disk import StatStamp

#: Prefix of the names of files that are being written.
PART = ".part-"
_BLOCK = 1 << 20


@contextmanager
def new_file(final: Path, *, mode: int = 0o600, unless: Callable[[], bool] = lambda: False) -> Iterator[BinaryIO]:
    """A temporary file, open for reading and writing, that is renamed to `final` at the end of the block.

    The rename is durable when the block ends. If the block raises, the temporary file is deleted.

    Parameters
    ----------
    mode : int
        Permissions of the file, set when it is created.
    unless : callable
        Called when the data is on the disk; if it returns True, the file is not renamed.

    Raises
    ------
    OSError
    """
    part = final.parent / f"{PART}{secrets.token_hex(8)}"
    try:
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
        with open(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not unless():
            os.replace(part, final)
            sync_folder(final.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remove_parts(folder: Path) -> None:
    """Remove the temporary files of `new_file` that killed processes left in a folder; those that cannot be removed stay.

    To be called while holding the lock under which all files of the folder are written: then nobody is writing one.
    """
    with suppress(OSError):
        for part in folder.glob(f"{PART}*"):
            with suppress(OSError):
                remove_erasing(part)


def write_durably(
    final: Path, data: bytes | Iterable[bytes], *, mode: int | None = None, unless: Callable[[], bool] = lambda: False
) -> bool:
    """Write `data` to the file `final` atomically and durably; see `new_file`.

    Returns
    -------
    bool
        Whether it was written, which `unless` may have prevented.

    Raises
    ------
    OSError
    """
    written = True

    def prevented() -> bool:
        nonlocal written
        written = not unless()
        return not written

    with new_file(final, mode=mode or 0o666, unless=prevented) as file:
        for piece in (data,) if isinstance(data, bytes) else data:
            file.write(piece)
    return written


def replace_erasing(final: Path, data: bytes | Iterable[bytes], *, expected: os.stat_result) -> os.stat_result | None:
    """Replace the contents of the file `final` by `data`, which may come in pieces, and overwrite the old contents with zeros.

    Overwriting is best effort: copy-on-write file systems, and disks that remap blocks, keep old blocks for a while.

    Parameters
    ----------
    expected : os.stat_result
        The file's status when it was read. If the file has changed since, nothing is done.

    Returns
    -------
    os.stat_result or None
        The new file's status; None if the file had changed.
    """

    def changed(status: os.stat_result) -> bool:
        return StatStamp.from_status(status) != StatStamp.from_status(expected)

    with _writable(final) as old:
        if changed(os.fstat(old.fileno())):
            return None
        if os.name == "nt":  # an open file cannot be replaced there
            old.close()
        if not write_durably(final, data, mode=expected.st_mode & 0o777, unless=lambda: changed(os.lstat(final))):
            return None
        if os.name != "nt":
            _overwrite_if_gone(old)
    return os.stat(final)


def remove_erasing(path: Path) -> None:
    """Delete a file, and overwrite its contents with zeros unless it has another name (a hard link)."""
    with _writable(path) as old:
        if os.name == "nt":
            old.close()
        path.unlink()
        if os.name != "nt":
            _overwrite_if_gone(old)


def _writable(path: Path) -> BinaryIO:
    """Open a file for overwriting, even if its permissions are read-only."""
    try:
        return open(path, "r+b")
    except PermissionError:
        os.chmod(path, os.stat(path).st_mode | stat.S_IWUSR)
        return open(path, "r+b")


def _overwrite_if_gone(old: BinaryIO) -> None:
    """Fill an open file with zeros if it has no name any more."""
    status = os.fstat(old.fileno())
    if status.st_nlink:
        return
    with suppress(OSError):
        old.seek(0)
        for begin in range(0, status.st_size, _BLOCK):
            old.write(bytes(min(_BLOCK, status.st_size - begin)))
        old.flush()
        os.fsync(old.fileno())


def open_regular(path: str | os.PathLike[str], *, linked_folder: bool = False) -> BinaryIO:
    """Open a regular file for reading, and neither a symbolic link nor a file in a folder that is one.

    What is checked is what is opened, so a link that takes the file's place at the last moment is refused as well.

    Parameters
    ----------
    linked_folder : bool
        Whether the file's folder may be a symbolic link.

    Raises
    ------
    OSError
        It cannot be opened, or is not a regular file: ELOOP for a link, ENOTDIR for a linked folder.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if linked_folder or os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
        handle = os.open(path, flags)
    else:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            handle = os.open(os.path.basename(path), flags, dir_fd=folder)
        finally:
            os.close(folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "this is not a regular file")
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def own_folder(folder: Path) -> None:
    """Create a folder if it is missing, accessible to its owner only; missing parents get the usual permissions.

    Raises
    ------
    OSError
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the creation, renaming and deletion of files in a folder durable."""
    if os.name == "nt":  # Windows cannot open a folder for this, and makes renames durable by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_special(path: Path) -> bool:
    """Whether a path is a pipe, a socket or a device, so that reading it may never end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading it will report the error
