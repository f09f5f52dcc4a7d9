"""Files written so that a crash at any instant leaves the old one or the new one, whole."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

#: What files begin with that are being written.
PART = ".part-"
_BLOCK = 1 << 20


@contextmanager
def new_file(
    final: Path, *, mode: int = 0o600, unless: Callable[[], bool] = lambda: False
) -> Iterator[BinaryIO]:
    """A file, open for writing and reading, that gets the name `final` at the end of the block, durably; or none is left.

    Parameters
    ----------
    mode : int
        Permissions of the file, from before its first byte on.
    unless : callable
        Asked when all of it is on the disk: if true, the name stays as it is.

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


def write_durably(
    final: Path, data: bytes, *, mode: int | None = None, unless: Callable[[], bool] = lambda: False
) -> bool:
    """Write `data` under the name `final`; durable when this returns. Whether it was done; see `new_file`.

    Raises
    ------
    OSError
    """
    done = True

    def stays() -> bool:
        nonlocal done
        done = not unless()
        return not done

    with new_file(final, mode=mode or 0o666, unless=stays) as file:
        file.write(data)
    return done


def replace_erasing(final: Path, data: bytes, *, expected: os.stat_result) -> os.stat_result | None:
    """Put `data` in the place of the file `final`, and overwrite what that held; the new file's status.

    Overwriting is what can be done: file systems that copy on write, and disks that move blocks, keep old ones for a while.

    Parameters
    ----------
    expected : os.stat_result
        Of the file when it was read. If it is another one by now, nothing is done, and None returned.
    """


    def other(status: os.stat_result) -> bool:
        return any(getattr(status, each) != getattr(expected, each) for each in ("st_ino", "st_size", "st_mtime_ns"))

    with _writable(final) as old:
        if other(os.fstat(old.fileno())):
            return None
        if os.name == "nt":  # an open file cannot be replaced there
            old.close()
        if not write_durably(final, data, mode=expected.st_mode & 0o777, unless=lambda: other(os.lstat(final))):
            return None
        if os.name != "nt":
            _overwrite_if_gone(old)
    return os.stat(final)


def remove_erasing(path: Path) -> None:
    """Delete a file, and overwrite what it held unless it has another name too."""
    with _writable(path) as old:
        if os.name == "nt":
            old.close()
        path.unlink()
        if os.name != "nt":
            _overwrite_if_gone(old)


def _writable(path: Path):
    """A file, opened to be overwritten, also if its permissions say that nobody should."""
    try:
        return open(path, "r+b")
    except PermissionError:
        os.chmod(path, os.stat(path).st_mode | stat.S_IWUSR)
        return open(path, "r+b")


def _overwrite_if_gone(old) -> None:
    """Fill an open file with zeros if no name leads to it any longer."""
    status = os.fstat(old.fileno())
    if status.st_nlink:
        return
    with suppress(OSError):
        old.seek(0)
        for begin in range(0, status.st_size, _BLOCK):
            old.write(bytes(min(_BLOCK, status.st_size - begin)))
        old.flush()
        os.fsync(old.fileno())


def own_folder(folder: Path) -> None:
    """See that a folder is there. One that is made here, nobody but its owner may look into; those above it are as usual.

    Raises
    ------
    OSError
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    if os.name == "nt":  # Windows cannot open a folder for this, and writes renames through by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, reading which may never end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False  # reading it will say what is wrong
