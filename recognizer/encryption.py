"""Whether an installation is encrypted, with which key, and bringing everything in it under another key, or none.

Two small files say so: ``state_dir/encryption.json`` and ``known_faces/.encryption.json``. They hold the id of the key, never
the key. Everything that is sealed says by itself which key it needs, so work that was interrupted is simply done again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import consent, strangers
from .audit import AuditLog
from .encodings import EncodingsCache
from .errors import InUse, KeyMissing, SettingsError, StorageError
from .files import own_folder, replace_erasing, write_durably
from .folder import CONSENT, PHOTO
from .vault import FACES_MARK, STATE_MARK, Vault, sealed_by
from .video import event_log

#: Databases of encodings in the state folder.
CACHES = ("encodings.sqlite", "evaluation.sqlite", "archive.sqlite")
#: What begins so in the state folder was left by a restore that was killed, or that was done but for this.
_LEFTOVER = ".deleted-"


@dataclass(frozen=True)
class Places:
    """Where an installation keeps what it keeps."""

    known_faces: Path
    state: Path

    @property
    def events(self) -> Path:
        return self.state / "events"

    @property
    def strangers(self) -> Path:
        return self.state / "strangers"

    @property
    def audit(self) -> Path:
        return self.state / "audit"

    @property
    def restoring(self) -> Path:
        """There while a backup takes the place of what was here."""
        return self.state / "restoring.json"

    @property
    def marks(self) -> tuple[Path, Path]:
        return self.state / STATE_MARK, self.known_faces / FACES_MARK

    def faces(self) -> Iterator[tuple[Path, str]]:
        """Every file below the subjects' folders that is ours to encrypt, and what it is for."""
        for folder in sorted(self.known_faces.iterdir()) if self.known_faces.is_dir() else ():
            if folder.name.startswith(".") or folder.is_symlink() or not folder.is_dir():
                continue
            for file in sorted(folder.iterdir()):
                if file.name == consent.FILE:
                    yield file, CONSENT
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
    others = (*CACHES, "events", "audit/names.json", "strangers")
    used = any(True for _ in places.faces()) or any((places.state / name).exists() for name in others)
    if used:
        raise SettingsError("a key is set, but what is kept is not encrypted yet: run `python -m recognizer encryption init`")
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

    try:
        own_folder(places.state)
    except OSError as error:
        raise StorageError(f"the state folder cannot be used: {(error.strerror or '').lower()}") from error
    yield lambda name: FileLock(places.state / name, thread_local=False)


class Presence:
    """Says, until it is closed, that this process uses the installation: nobody may change its key meanwhile.

    Raises
    ------
    InUse
        The key is being changed, or a backup was not wholly restored.
    """

    def __init__(self, places: Places):
        from filelock import Timeout

        if places.restoring.exists():
            raise InUse("a backup was not wholly restored: run `python -m recognizer restore` with --replace again")
        with _lock(places) as lock:
            gate = lock("encryption.lock")
            try:
                with gate.acquire(timeout=5):
                    for left in places.state.glob(_LEFTOVER + "*"):
                        shutil.rmtree(left, ignore_errors=True)
                    folder = places.state / "running"
                    folder.mkdir(exist_ok=True)
                    self._held = lock(f"running/{os.getpid()}-{os.urandom(4).hex()}.lock")
                    self._held.acquire(blocking=False)
            except Timeout:
                raise InUse("what is kept is being encrypted anew; try again when that is done") from None
            except OSError as error:
                raise StorageError(f"the state folder cannot be used: {(error.strerror or '').lower()}") from error

    def close(self) -> None:
        self._held.release()
        Path(self._held.lock_file).unlink(missing_ok=True)


@contextmanager
def alone(places: Places) -> Iterator[None]:
    """Nobody else uses the installation inside.

    Raises
    ------
    InUse
    """
    from filelock import Timeout

    with _lock(places) as lock:
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
        Told what is done next.

    Raises
    ------
    KeyMissing, SealBroken, StorageError
    """
    mark(places, sorted({*(old.ids if old else ()), *(new.ids if new else ())}))  # from here on all of them are needed
    counts = {"photos": 0, "events": 0, "strangers": 0, "caches": 0}
    wanted = new.current if new else None
    step("photos")
    for file, purpose in places.faces():
        counts["photos"] += _reseal_file(file, purpose, old, new, wanted)
    step("events")
    counts["events"] = event_log.reseal(places.events, old, new)
    for word in places.events.glob("*.forget"):
        _reseal_file(word, "event erasure", old, new, wanted)
    step("strangers")
    for file, purpose in strangers.sealable(places.strangers):
        counts["strangers"] += _reseal_file(file, purpose, old, new, wanted)
    step("cache")
    for name in CACHES:
        if (places.state / name).exists():
            cache = EncodingsCache(places.state / name, _both(old, new))
            if new is None:
                cache.decrypt()
            cache.close()
            counts["caches"] += 1
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
        status, data = file.stat(), file.read_bytes()
        if sealed_by(data) == wanted:
            return 0
        opened = data if old is None else old.open_or_plain(data, purpose)
        written = replace_erasing(file, opened if new is None else new.seal(opened, purpose), expected=status)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"a file of a person cannot be encrypted anew: {(error.strerror or '').lower()}") from error
    return 0 if written is None else 1


def status(places: Places, vault: Vault | None) -> dict:
    """What is sealed with which key, and what with none: counts by kind and key."""
    found: dict[str, dict[str, int]] = {
        "photos": {}, "notes": {}, "event_lines": {}, "event_pictures": {}, "strangers": {},
    }  # fmt: skip

    def count(kind: str, data: bytes) -> None:
        key = sealed_by(data) or "plain"
        found[kind][key] = found[kind].get(key, 0) + 1

    try:
        for file, purpose in places.faces():
            with open(file, "rb") as opened:
                count("photos" if purpose == PHOTO else "notes", opened.read(64))
        for file, _ in strangers.sealable(places.strangers):
            with open(file, "rb") as opened:
                count("strangers", opened.read(64))
        for data in event_log.sealed_parts(places.events):
            count("event_lines", data)
        for picture in places.events.glob("*/*.jpg"):
            with open(picture, "rb") as opened:
                count("event_pictures", opened.read(64))
    except OSError as error:
        raise StorageError(f"what is kept cannot be read: {(error.strerror or '').lower()}") from error
    return {"keys": sorted(held_keys(places)), "set": vault.ids if vault else [], **found}
