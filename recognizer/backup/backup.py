"""Everything that an installation keeps, copied into one file while it is used; see `backup_file` for the file and `restore`.

Most is copied while people are enrolled and erased. Then, with the lock of every write held, everything that changed meanwhile
is copied again, or removed, until a pass finds no difference; the databases, the audit log and the events follow. So a person
who is enrolled or erased by the server or a command is either complete in the copy or absent.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from recognizer.archive.archive_file import ARCHIVE_FILE
from recognizer.backup.backup_file import FACES, GROUPS, STATE, Writer, belongs, chunks
from recognizer.backup.reseal import GROUPS as GROUPS_STATE
from recognizer.backup.reseal import SCRATCH, Places, held_keys, require
from recognizer.core import identity
from recognizer.core.audit import AuditLog
from recognizer.core.errors import KeyMissing, StorageError
from recognizer.core.lock import WriteLock
from recognizer.core.vault import Vault
from recognizer.enrolment.encodings import FileStamp
from recognizer.events.visit_file import VISITS_FILE
from recognizer.strangers import stranger_files

#: Seconds for which a file must not have changed: somebody may still be copying it into the folder.
SETTLE = 0.6
#: Seconds after which what still changes is left out.
_PATIENCE = 5.0
_LOCKED_SECONDS = 30.0
#: Age in seconds at which a backup's folder counts as left by a killed process: no backup takes as long.
ABANDONED_SECONDS = 86_400.0
_DATABASES = ("encodings.sqlite", "access.sqlite", ARCHIVE_FILE, VISITS_FILE)
#: Tables that are not copied: nobody who was signed in here is so where this is restored, and thumbnails are made again.
_LEFT_OUT = {"access.sqlite": "sessions", ARCHIVE_FILE: "thumbnails"}

Step = Callable[[str], None]


@dataclass
class _Copy:
    """What was copied so far, with the stamp that each file had."""

    writer: Writer
    stamps: dict[str, FileStamp] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)

    def take(self, path: str, file: Path, stamp: FileStamp) -> bool:
        """Copy a file, unless that was done; False if it is another one by now."""
        if self.stamps.get(path) == stamp:
            return True
        try:
            with open(file, "rb") as opened:
                status = os.fstat(opened.fileno())
                if FileStamp.of(status) != stamp:
                    return False
                self.writer.add(path, _unchanged(opened, stamp), status.st_mtime_ns)
        except (FileNotFoundError, _Changed):
            self.drop(path)
            return False
        except PermissionError:  # it is of no use here either
            self.drop(path)
            self.left_out.add(path.removeprefix(FACES))
        self.stamps[path] = stamp
        return True

    def drop(self, path: str) -> None:
        self.writer.drop(path)
        self.stamps.pop(path, None)


class _Changed(Exception):
    """A file was written to while it was read."""


def _unchanged(opened: BinaryIO, stamp: FileStamp) -> Iterator[bytes]:
    yield from chunks(opened)
    if FileStamp.of(os.fstat(opened.fileno())) != stamp:
        raise _Changed


def write(
    places: Places, file: BinaryIO, vault: Vault | None, changes: WriteLock, version: str, step: Step = lambda what: None
) -> dict:
    """Write a backup into an open file; returns a summary of its contents.

    Parameters
    ----------
    places : Places
        Of an installation that the caller holds an `encryption.Presence` of.
    file : binary file
        Empty, open for reading, writing and seeking.
    vault : Vault or None
        What the backup is encrypted with; has the installation's keys, if that is encrypted.
    version : str
        Of this program.
    step : callable
        Called with a description of the next step.

    Raises
    ------
    KeyMissing, Busy, StorageError
    """
    keys = held_keys(places)
    if keys:
        if vault is None:
            raise KeyMissing(f"this installation is encrypted with the key {', '.join(sorted(keys))}, and none is set")
        require(keys, vault)
    audit = AuditLog(places.audit, vault)
    made = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    audit.append("backup")
    try:
        with scratch_folder(places.state) as scratch, Writer(file, vault) as writer:
            copy = _Copy(writer)
            step("photos")
            for path, found, stamp in (*_everybody(places)[0], *_pictures(places.events)):
                copy.take(path, found, stamp)
            with changes.hold():
                _settle(copy, places)
                people, photos = counted(copy.writer.paths)
                step("state")
                engines = _databases(copy, places.state, scratch)
                step("events")
                _events(copy, places.events)
                _strangers(copy, places.strangers)
                names = ("cameras.json", "camera-settings.json", "settings.json", "rules.json", "receivers.json", "push.json")
                for name in names:
                    _file(copy, STATE + name, places.state / name)
                with audit.exclusive():
                    _audit(copy, places.audit)
                    head = audit.head()
            about = {"keys": sorted(keys), "engines": engines, "people": people, "photos": photos, "audit_head": head}
            copy.writer.close(version, made, about)
    except OSError as error:
        raise StorageError(f"the backup cannot be written: {(error.strerror or type(error).__name__).lower()}") from error
    sealer = None if vault is None else vault.current
    return {
        "made": made,
        "people": people,
        "photos": photos,
        "files": len(copy.writer.paths),
        "engines": engines,
        "encrypted_with": sealer,
        "audit_head": head,
        "left_out": sorted(copy.left_out),
    }


@contextmanager
def spool(state: Path) -> Iterator[BinaryIO]:
    """A file without a name in the state folder, for a backup that is sent; the caller closes it, and then it is gone."""
    with scratch_folder(state) as scratch:
        handle = os.open(scratch / "backup", os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        yield open(handle, "w+b")


@contextmanager
def scratch_folder(state: Path) -> Iterator[Path]:
    """A temporary folder for a backup; folders that a killed process left are deleted."""
    for old in state.glob(SCRATCH + "*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    folder = state / f"{SCRATCH}{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- the folder -------------------------------------------------------------------------------------------------------


_Found = tuple[list[tuple[str, Path, FileStamp]], set[str], float]


def _everybody(places: Places) -> _Found:
    """Every file of a person, those of groups too, with its stamp; what else lies there; and when anything changed last."""
    found: list[tuple[str, Path, FileStamp]] = []
    others: set[str] = set()
    newest = 0.0
    folders = [(places.known_faces, FACES), *((group, f"{GROUPS}{group.name}/") for group in places.group_folders())]
    for group, place in folders:
        more, left, later = _faces(group, place)
        with suppress(FileNotFoundError):
            status = os.lstat(group / identity.GROUP_FILE)
            if belongs(place + identity.GROUP_FILE):
                more.append((place + identity.GROUP_FILE, group / identity.GROUP_FILE, FileStamp.of(status)))
        found, others, newest = found + more, others | {place.removeprefix(FACES) + each for each in left}, max(newest, later)
    return found, others, newest


def _faces(root: Path, place: str) -> _Found:
    found: list[tuple[str, Path, FileStamp]] = []
    others: set[str] = set()
    newest = 0.0
    for folder in _content(root):
        if folder.name.startswith("."):
            continue
        if folder.is_symlink() or not folder.is_dir():
            if folder.name.lower() not in ("readme.md", "readme.txt", "readme"):
                others.add(folder.name)
            continue
        try:
            newest = max(newest, _past(folder.stat().st_mtime))
            files = sorted(folder.iterdir())
        except FileNotFoundError:  # erased while we look
            continue
        except PermissionError:  # nobody here is enrolled from it either
            others.add(folder.name)
            continue
        for file in files:
            path = f"{place}{folder.name}/{file.name}"
            try:
                status = os.lstat(file)
            except FileNotFoundError:  # this one was erased: the person's others stay
                continue
            if not belongs(path) or not stat.S_ISREG(status.st_mode):
                if not file.name.startswith("."):
                    others.add(f"{folder.name}/{file.name}")
                continue
            newest = max(newest, _past(status.st_mtime))
            found.append((path, file, FileStamp.of(status)))
    return found, others, newest


def _content(root: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none, such as that of a group which was deleted while we look."""
    try:
        return sorted(root.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _past(seconds: float) -> float:
    """A time, if it is one: what lies in the future tells nothing."""
    return seconds if seconds <= time.time() else 0.0


def _settle(copy: _Copy, places: Places) -> None:
    """Copy changed files again and remove deleted ones, until a pass finds no change and no file that was just written."""
    until = time.monotonic() + _PATIENCE
    while True:
        files, others, newest = _everybody(places)
        for path in {path for path in copy.writer.paths if path.startswith((FACES, GROUPS))} - {path for path, _, _ in files}:
            copy.drop(path)
        fresh = [each for each in files if copy.stamps.get(each[0]) != each[2]]
        unsteady = [path for path, file, stamp in fresh if not copy.take(path, file, stamp)]
        pause = SETTLE - (time.time() - newest)
        late = time.monotonic() > until
        if late or not (unsteady or fresh or pause > 0):
            break
        time.sleep(max(0.02, min(pause, SETTLE)))
    young = {path for path, _, stamp in files if late and time.time() - stamp.mtime_ns / 1e9 < SETTLE}
    for path in {*unsteady, *young}:
        copy.drop(path)
        others.add(path.removeprefix(FACES))
    copy.left_out |= {each.encode("utf-8", "backslashreplace").decode() for each in others}


def counted(paths: set[str]) -> tuple[int, int]:
    """How many people, and how many photos or templates of them."""
    photos = [path for path in paths if path.startswith((FACES, GROUPS)) and not path.rpartition("/")[2].startswith(".")]
    return len({path.rpartition("/")[0] for path in photos}), len(photos)


# -- the state ----------------------------------------------------------------------------------------------------------


def _file(copy: _Copy, path: str, file: Path) -> None:
    """Copy a small file that is only ever replaced as a whole, if it is there."""
    with suppress(FileNotFoundError):
        copy.writer.add(path, [file.read_bytes()], file.stat().st_mtime_ns)


def _databases(copy: _Copy, state: Path, scratch: Path) -> list[str]:
    """Copy the databases as they are at one instant; the ids of the engines that the cache has encodings of."""
    engines: list[str] = []
    of_groups = [file.relative_to(state).as_posix() for file in sorted(state.glob(f"{GROUPS_STATE}/*/{_DATABASES[0]}"))]
    for name in (*_DATABASES, *filter(lambda each: belongs(STATE + each), of_groups)):
        if not (state / name).exists():
            continue
        copied_to = scratch / name.replace("/", "-")
        try:
            with closing(_connect(state / name)) as source, closing(sqlite3.connect(copied_to)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode = DELETE")
                if PurePosixPath(name).name == "encodings.sqlite":
                    found = {engine for (engine,) in target.execute("SELECT DISTINCT engine FROM encodings")}
                    engines = sorted({*engines, *found})
                elif name in _LEFT_OUT:
                    target.execute("PRAGMA secure_delete = ON")
                    target.execute(f"DELETE FROM {_LEFT_OUT[name]}")
                    target.commit()
                    target.execute("VACUUM")
        except sqlite3.Error as error:
            if name == "access.sqlite":
                raise StorageError(f"{name} cannot be copied: {error}") from error
            copy.left_out.add(name)  # it is made again from the photos
            continue
        with open(copied_to, "rb") as copied:
            copy.writer.add(STATE + name, chunks(copied), (state / name).stat().st_mtime_ns)
    return engines


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=_LOCKED_SECONDS)


def _strangers(copy: _Copy, folder: Path) -> None:
    """Copy the strangers, whom nobody changes meanwhile."""
    with stranger_files.unchanged(folder):
        for file, _ in stranger_files.sealable(folder):
            path = STATE + "strangers/" + file.relative_to(folder).as_posix()
            if belongs(path):
                _file(copy, path, file)


def _events(copy: _Copy, folder: Path) -> None:
    """Copy the events: whole lines, and the pictures of those lines. Events that come meanwhile are wholly in or not."""
    from recognizer.events.event_files import event_of_picture

    last = 0
    for file in sorted(folder.glob("*.jsonl")):
        last = _lines(copy, f"{STATE}events/{file.name}", file) or last
    told = {path: (file, stamp) for path, file, stamp in _pictures(folder) if (event_of_picture(file) or (0,))[0] <= last}
    for path in {path for path in copy.writer.paths if path.endswith(".jpg") and path.startswith(STATE)} - set(told):
        copy.drop(path)
    for path, (file, stamp) in told.items():
        copy.take(path, file, stamp)
    for pattern in ("*.cursor", "*.sent", "*.forget", "mqtt-announced.json"):
        for file in folder.glob(pattern):
            if belongs(f"{STATE}events/{file.name}"):
                _file(copy, f"{STATE}events/{file.name}", file)


def _pictures(folder: Path) -> list[tuple[str, Path, FileStamp]]:
    """The pictures of events, with their stamps."""
    found = []
    for file in sorted(folder.glob("*/*.jpg")):
        path = f"{STATE}events/{file.parent.name}/{file.name}"
        with suppress(FileNotFoundError):  # purged while we look
            if belongs(path):
                found.append((path, file, FileStamp.of(os.lstat(file))))
    return found


def _lines(copy: _Copy, path: str, file: Path) -> int:
    """Copy the whole lines of a file; the id in the last one."""
    from recognizer.events.event_files import last_id

    if not belongs(path):
        return 0
    with suppress(FileNotFoundError):
        data = file.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        copy.writer.add(path, [data], file.stat().st_mtime_ns)
        return last_id(data)
    return 0


def _audit(copy: _Copy, folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        if belongs(f"{STATE}audit/{file.name}"):
            _file(copy, f"{STATE}audit/{file.name}", file)
