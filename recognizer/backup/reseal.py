"""Whether an installation is encrypted, with which key, and bringing everything in it under another key, or none.

Two small files say so: ``state_dir/encryption.json`` and ``known_faces/.encryption.json``. They hold the id of the key, never
the key. Everything that is sealed says by itself which key it needs, so work that was interrupted is simply done again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from recognizer.access.signing import FILE as SIGNING_FILE
from recognizer.access.signing import PURPOSE as SIGNING_PURPOSE
from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.core import consent, identity, particulars, unfinished
from recognizer.core.audit import AuditLog
from recognizer.core.disk import REFUSALS, disk_errors, disk_reason, storage_error
from recognizer.core.errors import InUse, KeyMissing, SettingsError, StorageError
from recognizer.core.files import PART, open_regular, own_folder, replace_erasing, write_durably
from recognizer.core.names import GROUPS_FOLDER
from recognizer.core.sealed_sqlite import SET_ASIDE
from recognizer.core.vault import FACES_MARK, OVERHEAD, PIECE, PIECES_MAGIC, STATE_MARK, Vault, is_sealed, sealed_by
from recognizer.enrolment import bin_folder
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.conversion import WHOLE
from recognizer.enrolment.folder import PHOTO
from recognizer.enrolment.subject_files import CONSENT
from recognizer.events import event_sealing
from recognizer.events.receiver_store import PURPOSE as RECEIVERS_PURPOSE
from recognizer.events.receiver_store import RECEIVERS_FILE
from recognizer.events.visit_file import VISITS_FILE, VisitFile
from recognizer.jobs.job_file import JOBS_FILE, JobFile
from recognizer.rules.push_store import PURPOSE as PUSH_PURPOSE
from recognizer.rules.push_store import PUSH_FILE
from recognizer.rules.rule_file import RULES_FILE
from recognizer.rules.rule_store import PURPOSE as RULES_PURPOSE
from recognizer.strangers import stranger_files

if TYPE_CHECKING:
    from filelock import BaseFileLock

log = logging.getLogger(__name__)

#: Databases of encodings in the state folder.
CACHES = ("encodings.sqlite", "evaluation.sqlite", "archive.sqlite")
#: Folder of the notes of unfinished changes, in the state folder.
UNFINISHED = "unfinished"
#: Folder of what is kept for each group, in the state folder.
GROUPS = "groups"
#: Files beside photos, and what they are encrypted for.
_PURPOSES = {
    consent.FILE: CONSENT,
    identity.PERSON_FILE: identity.PERSON,
    particulars.FILE: particulars.PURPOSE,
}
#: How the names of folders begin that a backup works in, and that a restore leaves.
SCRATCH, DELETED = ".backup-", ".deleted-"


@dataclass(frozen=True)
class Places:
    """Where an installation keeps what it keeps.

    Attributes
    ----------
    known_faces, state : Path
    groups_root : Path, optional
        Where groups are; by default in `known_faces`.
    """

    known_faces: Path
    state: Path
    groups_root: Path | None = None

    @property
    def groups(self) -> Path:
        return self.known_faces / GROUPS_FOLDER if self.groups_root is None else self.groups_root

    def group_folders(self) -> list[Path]:
        """The folder of each group."""
        return list(_folders(self.groups))

    def caches(self) -> list[Path]:
        """Every database of encodings, there or not."""
        return [*(self.state / name for name in CACHES), *sorted(self.state.glob(f"{GROUPS}/*/{CACHES[0]}"))]

    def unfinished_folders(self) -> list[Path]:
        """Every folder of notes of unfinished changes."""
        return [self.unfinished, *sorted(self.state.glob(f"{GROUPS}/*/{UNFINISHED}"))]

    def bins(self) -> list[Path]:
        """Every bin, there or not."""
        return [self.state / bin_folder.BIN, *sorted(self.state.glob(f"{GROUPS}/*/{bin_folder.BIN}"))]

    @property
    def events(self) -> Path:
        return self.state / "events"

    @property
    def strangers(self) -> Path:
        return self.state / "strangers"

    @property
    def unfinished(self) -> Path:
        return self.state / UNFINISHED

    @property
    def audit(self) -> Path:
        return self.state / "audit"

    @property
    def signing(self) -> Path:
        """The keys that may sign; see `access.signing`."""
        return self.state / SIGNING_FILE

    @property
    def restoring(self) -> Path:
        """There while a backup takes the place of what was here."""
        return self.state / "restoring.json"

    @property
    def marks(self) -> tuple[Path, Path]:
        return self.state / STATE_MARK, self.known_faces / FACES_MARK

    def faces(self) -> Iterator[tuple[Path, str]]:
        """Every file below the subjects' folders that is ours to encrypt, those of groups too, and what it is for."""
        for group in (self.known_faces, *self.group_folders()):
            if (group / identity.GROUP_FILE).exists():
                yield group / identity.GROUP_FILE, identity.GROUP
            yield from _faces(group)


def _folders(root: Path) -> Iterator[Path]:
    """The folders in a folder, without hidden ones."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if not folder.name.startswith(".") and not folder.is_symlink() and folder.is_dir():
            yield folder


def _faces(root: Path) -> Iterator[tuple[Path, str]]:
    for folder in _folders(root):
        for file in sorted(folder.iterdir()):
            if file.name in _PURPOSES:
                yield file, _PURPOSES[file.name]
            elif not file.name.startswith(".") and file.is_file() and not file.is_symlink():
                yield file, PHOTO


def held_keys(places: Places) -> set[str]:
    """Ids of the keys that the installation is encrypted with; more than one while that is being changed.

    Raises
    ------
    StorageError
    """
    found: set[str] = set()
    for mark in places.marks:
        try:
            found |= set(json.loads(mark.read_bytes())["keys"])
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageError("the file that says which key the installation has is damaged or cannot be read") from error
    return found


def check(places: Places, vault: Vault | None) -> None:
    """See that the key fits the installation, before anything is opened; a new installation is given the key.

    Raises
    ------
    KeyMissing, SettingsError, StorageError
    """
    held = held_keys(places)
    if held and vault is None:
        raise KeyMissing(
            f"this installation is encrypted with the key {_all(held)}, and none is set: see RECOGNIZER_ENCRYPTION_KEY_FILE"
        )
    if vault is None:
        return
    require(held, vault)
    if held:
        return
    others = (
        *CACHES,
        ARCHIVE_FILE,
        VISITS_FILE,
        JOBS_FILE,
        "events",
        "audit/names.json",
        "strangers",
        RULES_FILE,
        PUSH_FILE,
        RECEIVERS_FILE,
        UNFINISHED,
        GROUPS,
    )
    used = any(True for _ in places.faces()) or any((places.state / name).exists() for name in others)
    if used:
        raise SettingsError(
            "a key is set, but the stored data is not encrypted yet: run `python -m recognizer encryption init`"
        )
    mark(places, [vault.current])


def require(held: set[str], vault: Vault) -> None:
    """See that `vault` has every key that the installation is encrypted with.

    Raises
    ------
    KeyMissing
    """
    if not held <= set(vault.ids):
        raise KeyMissing(
            f"this installation is encrypted with the key {_all(held)}, and the key that is set is {_all(vault.ids)}"
        )


def _all(keys) -> str:
    return ", ".join(sorted(keys))


def mark(places: Places, keys: list[str]) -> None:
    """Note with which keys an installation is encrypted; none of them is needed from now on where `keys` is empty."""
    try:
        for file in places.marks:
            file.parent.mkdir(parents=True, exist_ok=True)
            if keys:
                write_durably(file, json.dumps({"version": 1, "keys": keys}).encode())
            else:
                file.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"the installation cannot be marked: {(error.strerror or '').lower()}") from error


# -- who is at work ---------------------------------------------------------------------------------------------------


@contextmanager
def _lock(places: Places):
    from filelock import FileLock

    own_folder(places.state)
    yield lambda name: FileLock(places.state / name, thread_local=False)


class EncryptionPresence:
    """Says, until it is closed, that this process uses the installation: nobody may change its key meanwhile.

    On a disk that is full or cannot be written, this cannot be said: then it is only logged, so that a server starts.

    Raises
    ------
    InUse
        The key is being changed, or a backup was not wholly restored.
    StorageError
        The state folder is none, or may not be looked into.
    """

    def __init__(self, places: Places):
        from filelock import Timeout

        with disk_errors("the state folder cannot be used"):
            half_restored = places.restoring.exists()
        if half_restored:
            raise InUse("a backup was not wholly restored: run `python -m recognizer restore` with --replace again")
        self._held: BaseFileLock | None = None
        try:
            with _lock(places) as lock, lock("encryption.lock").acquire(timeout=5):
                for left in places.state.glob(DELETED + "*"):
                    shutil.rmtree(left, ignore_errors=True)
                folder = places.state / "running"
                folder.mkdir(exist_ok=True)
                held = lock(f"running/{os.getpid()}-{os.urandom(4).hex()}.lock")
                held.acquire(blocking=False)
                self._held = held
        except Timeout:
            raise InUse("the stored data is being encrypted with a new key; try again afterwards") from None
        except OSError as error:
            if error.errno not in REFUSALS:
                raise storage_error("the state folder cannot be used", error) from error
            log.warning("the state folder cannot be written (%s): end this process before changing the key", disk_reason(error))

    def close(self) -> None:
        if self._held is not None:
            self._held.release()
            with suppress(OSError):
                Path(self._held.lock_file).unlink(missing_ok=True)


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Nobody else uses the installation inside.

    Raises
    ------
    InUse
    """
    from filelock import Timeout

    with disk_errors("the state folder cannot be used"), _lock(places) as lock:
        try:
            with lock("encryption.lock").acquire(timeout=5):
                for file in (places.state / "running").glob("*.lock"):
                    with lock(f"running/{file.name}").acquire(blocking=False):
                        pass
                    file.unlink(missing_ok=True)  # of a process that was killed
                yield
        except Timeout:
            raise InUse("a server or a command is using the installation: stop it first") from None


# -- the work ---------------------------------------------------------------------------------------------------------


def reseal(places: Places, old: Vault | None, new: Vault | None, step: Callable[[str], None] = lambda what: None) -> dict:
    """Bring everything under `new`'s current key, or under none; inside `alone`. How many files were written.

    Parameters
    ----------
    old : Vault or None
        Holds every key that anything may be sealed with.
    step : callable
        Called with a description of the next step.

    Raises
    ------
    KeyMissing, SealBroken, StorageError
    """
    mark(places, sorted({*(old.ids if old else ()), *(new.ids if new else ())}))  # from here on all of them are needed
    counts = {"photos": 0, "events": 0, "strangers": 0, "caches": 0}
    wanted = new.current if new else None
    step("photos")
    remove_leftovers(places)
    for file, purpose in places.faces():
        counts["photos"] += _reseal_file(file, purpose, old, new, wanted)
    step("events")
    counts["events"] = event_sealing.reseal(places.events, old, new)
    for word in places.events.glob("*.forget"):
        _reseal_file(word, "event erasure", old, new, wanted)
    if places.signing.exists():
        _reseal_file(places.signing, SIGNING_PURPOSE, old, new, wanted)
    sealed = ((RULES_FILE, RULES_PURPOSE), (RECEIVERS_FILE, RECEIVERS_PURPOSE), (PUSH_FILE, PUSH_PURPOSE))
    for name, purpose in sealed:
        if (places.state / name).exists():
            _reseal_file(places.state / name, purpose, old, new, wanted)
    step("unfinished changes")
    for folder in places.unfinished_folders():
        for file, purpose in unfinished.sealable(folder):
            _reseal_file(file, purpose, old, new, wanted)
    step("strangers")
    for file, purpose in stranger_files.sealable(places.strangers):
        counts["strangers"] += _reseal_file(file, purpose, old, new, wanted)
    step("bin")
    for folder in places.bins():
        for file, purpose in bin_folder.sealable(folder):
            _reseal_file(file, purpose, old, new, wanted)
    step("cache")
    for database in places.caches():
        if database.exists():
            cache = EncodingsCache(database, _both(old, new))
            if new is None:
                cache.decrypt()
            cache.close()
            counts["caches"] += 1
    databases: tuple[tuple[str, type[ArchiveFile] | type[VisitFile] | type[JobFile]], ...]
    databases = ((ARCHIVE_FILE, ArchiveFile), (VISITS_FILE, VisitFile), (JOBS_FILE, JobFile))
    for name, kind in databases:
        if (places.state / name).exists():
            opened = kind(places.state / name, _both(old, new))
            if new is None:
                opened.decrypt()
            opened.close()
            counts["caches"] += 1
    remove_leftovers(places)  # damage may have been found
    step("audit log")
    if places.audit.is_dir():
        AuditLog(places.audit, _both(old, new)).reseal(new)
    mark(places, [new.current] if new else [])
    return counts


def _both(old: Vault | None, new: Vault | None) -> Vault | None:
    """A vault with the keys of both, that seals as `new` does."""
    return new if new is not None else old


def _reseal_file(file: Path, purpose: str, old: Vault | None, new: Vault | None, wanted: str | None) -> int:
    try:
        with open_regular(file) as opened:
            status, begin = os.fstat(opened.fileno()), opened.read(OVERHEAD)
            if sealed_by(begin) == wanted:
                return 0
            opened.seek(0)
            if status.st_size > WHOLE:
                data: bytes | Iterator[bytes] = _pieces(opened, begin, purpose, old, new)
            else:
                plain = opened.read() if old is None else old.open_or_plain(opened.read(), purpose)
                data = plain if new is None else new.seal(plain, purpose)
            written = replace_erasing(file, data, expected=status)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise storage_error("a file of a person cannot be encrypted with the new key", error) from error
    return 0 if written is None else 1


def _pieces(file: BinaryIO, begin: bytes, purpose: str, old: Vault | None, new: Vault | None) -> Iterator[bytes]:
    """What a large file is to hold, piece by piece."""
    if not is_sealed(begin) or old is None:
        plain = iter(lambda: file.read(PIECE), b"")
    elif begin.startswith(PIECES_MAGIC):
        plain = old.opened_pieces(file, purpose)
    else:
        plain = iter([old.open(file.read(), purpose)])
    return plain if new is None else new.sealed_pieces(_reader(plain), purpose)


def _reader(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """The `read` method of a file, for an iterator of bytes: returns exactly so many bytes, or the rest."""
    rest = bytearray()

    def read(size: int) -> bytes:
        while len(rest) < size and (piece := next(pieces, b"")):
            rest.extend(piece)
        data = bytes(rest[:size])
        del rest[:size]
        return data

    return read


def leftovers(places: Places) -> Iterator[Path]:
    """What interrupted writes, deletions and damage left behind: files that nothing reads, and that may show a face."""
    for root in dict.fromkeys((places.known_faces, places.groups, places.state)):
        for name in (PART, SCRATCH, DELETED):
            yield from (path for path in root.rglob(f"{name}*") if path.is_file() and not path.is_symlink())
            yield from (path for path in root.glob(f"{name}*/**/*") if path.is_file() and not path.is_symlink())
    yield from (path for path in places.state.glob(f"*{SET_ASIDE}*") if path.is_file() and not path.is_symlink())


def remove_leftovers(places: Places) -> None:
    """Delete `leftovers`; nobody else may use the installation.

    Raises
    ------
    StorageError
    """
    try:
        for path in set(leftovers(places)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error("what an interrupted write left behind cannot be deleted", error) from error


def status(places: Places, vault: Vault | None) -> dict:
    """What is sealed with which key, and what with none: counts by kind and key."""
    found: dict[str, dict[str, int]] = {
        "photos": {},
        "notes": {},
        "event_lines": {},
        "event_pictures": {},
        "strangers": {},
        "names": {},
        "unfinished_changes": {},
        "bin": {},
        "leftovers": {},
    }

    def count(kind: str, data: bytes) -> None:
        key = sealed_by(data) or "plain"
        found[kind][key] = found[kind].get(key, 0) + 1

    try:
        for file, purpose in places.faces():
            with open(file, "rb") as opened:
                count("photos" if purpose == PHOTO else "notes", opened.read(64))
        for file, _ in stranger_files.sealable(places.strangers):
            with open(file, "rb") as opened:
                count("strangers", opened.read(64))
        for folder in places.unfinished_folders():
            for file, _ in unfinished.sealable(folder):
                with open(file, "rb") as opened:
                    count("unfinished_changes", opened.read(64))
        for folder in places.bins():
            for file, _ in bin_folder.sealable(folder):
                with open(file, "rb") as opened:
                    count("bin", opened.read(64))
        if (places.audit / "names.json").exists():
            with open(places.audit / "names.json", "rb") as opened:
                count("names", opened.read(64))
        for data in event_sealing.sealed_parts(places.events):
            count("event_lines", data)
        for path in set(leftovers(places)):
            with suppress(FileNotFoundError), open(path, "rb") as opened:
                count("leftovers", opened.read(64))
        for picture in places.events.glob("*/*.jpg"):
            with open(picture, "rb") as opened:
                count("event_pictures", opened.read(64))
    except OSError as error:
        raise StorageError(f"the stored data cannot be read: {(error.strerror or '').lower()}") from error
    return {"keys": sorted(held_keys(places)), "set": vault.ids if vault else [], **found}
