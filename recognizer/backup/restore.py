"""Putting a backup in the place of an installation, or into an empty one; see `backup_file` for the file.

The whole backup is unpacked beside the existing data, and checked, before anything is changed. Then the folders are swapped. If
the machine stops in between, a mark remains, and nothing starts until the restore was repeated.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recognizer.backup import reseal
from recognizer.backup.backup_file import FACES, GROUPS, STATE, BackupReader, Member
from recognizer.backup.reseal import Places
from recognizer.backup.restored_receivers import leave_out_receivers, stored_receivers
from recognizer.core import identity
from recognizer.core.audit import AuditLog
from recognizer.core.errors import KeyMissing, NotEmpty, StorageError
from recognizer.core.files import sync_folder, write_durably
from recognizer.core.sealed_sqlite import SET_ASIDE
from recognizer.core.vault import Vault

#: What is unpacked, and what was there before: the folder of known faces sweeps both itself.
_STAGED, _OLD = ".deleted-restoring-", ".deleted-"
#: What of the state folder is put away for a backup: all that one may hold, and what belongs to it.
_REPLACED = (
    "encodings.sqlite",
    "evaluation.sqlite",
    "archive.sqlite",
    "photos.sqlite",
    "visits.sqlite",
    "jobs.sqlite",
    *(f"{name}.sqlite{SET_ASIDE}" for name in ("photos", "visits", "jobs")),
    "access.sqlite",
    "cameras.json",
    "camera-settings.json",
    "settings.json",
    "rules.json",
    "push.json",
    "receivers.json",
    "strangers",
    "events",
    "audit",
    "encryption.json",
    "groups",
    "bin",
)
_JOURNALS = ("-wal", "-shm", "-journal")
#: Files that only their owner may read.
_PRIVATE = ("access.sqlite", "cameras.json", "rules.json", "receivers.json", "push.json", "audit/names.json")

Step = Callable[[str], None]


@dataclass(frozen=True)
class _Pair:
    """A folder of the installation, and what will take its content's place."""

    real: Path
    staged: Path
    old: Path

    @classmethod
    def beside(cls, real: Path) -> _Pair:
        mark = secrets.token_hex(8)
        return cls(real, real / f"{_STAGED}{mark}", real / f"{_OLD}{mark}")


def restore(
    backup: Path,
    places: Places,
    vault: Vault | None,
    *,
    replace: bool = False,
    receivers: bool = True,
    step: Step = lambda what: None,
) -> dict:
    """Restore a backup; returns a summary of its contents.

    Parameters
    ----------
    backup : path
    places : Places
        Of an installation that nobody uses.
    vault : Vault or None
        The key that is set. What was not encrypted is encrypted with it.
    replace : bool
        Whether existing data may be replaced.
    receivers : bool
        Whether webhooks, the MQTT broker and subscribed browsers are restored too, and rules that are on stay on.
    step : callable
        Called with a description of the next step.

    Raises
    ------
    BackupBroken, KeyMissing, NotEmpty, InUse, StorageError
        Nothing was changed.
    """
    with BackupReader(backup, vault) as reader:
        keys = set(reader.about["keys"])
        if keys:
            _require(keys, vault)
        try:
            places.known_faces.mkdir(parents=True, exist_ok=True)
            with reseal.alone(places):
                held = [] if places.restoring.exists() else list(_kept(places))
                if held and not replace:
                    raise NotEmpty(f"there are {', '.join(held)} here already; --replace puts the backup in their place")
                return _restore(reader, places, vault, receivers, step)
        except OSError as error:
            raise _refused(error) from error


def check(backup: Path, vault: Vault | None) -> dict:
    """Read all of a backup, and see that it is as it was written; what it is.

    Raises
    ------
    BackupBroken, KeyMissing, StorageError
    """
    with BackupReader(backup, vault) as reader:
        for member in reader.members.values():
            for _ in reader.read(member):
                pass
        return _told(reader)


def _told(reader: BackupReader) -> dict:
    about = {name: reader.about.get(name) for name in ("people", "photos", "engines", "audit_head")}
    header = reader.header
    return {"made": header.get("made"), "version": header.get("version"), **about, "files": len(reader.members)}


def _require(keys: set[str], vault: Vault | None) -> None:
    if vault is None:
        raise KeyMissing(f"the contents of this backup are encrypted with the key {', '.join(sorted(keys))}, and none is set")
    reseal.require(keys, vault)


def _kept(places: Places) -> Iterator[str]:
    """What an installation keeps that cannot be made again, in words."""
    if any(True for _ in places.faces()):
        yield "people"
    if any(places.events.glob("*.jsonl")):
        yield "events"
    if any(places.strangers.glob("*.json")):
        yield "strangers"
    if (places.state / "cameras.json").exists():
        yield "cameras"
    if (places.state / "access.sqlite").exists():
        yield "keys"
    if any(places.audit.glob("*.jsonl")):
        yield "an audit log"


def _restore(reader: BackupReader, places: Places, vault: Vault | None, receivers: bool, step: Step) -> dict:
    is_sealed = bool(reader.about["keys"])
    for root in (places.known_faces, places.groups, places.state):
        for left in root.glob(_STAGED + "*"):  # of a restore that was killed
            shutil.rmtree(left, ignore_errors=True)
    had_groups = places.groups.exists()
    faces, groups, state = (_Pair.beside(each) for each in (places.known_faces, places.groups, places.state))
    staged = Places(faces.staged, state.staged, groups.staged)
    try:
        step("reading the backup")
        for pair in (faces, groups, state):
            pair.staged.mkdir(mode=0o700, parents=True)
        for member in reader.members.values():
            _unpack(reader, member, staged)
        problems = _verify(staged, reader.about.get("audit_head"))
        if is_sealed:
            assert vault is not None  # else the file could not have been read
            reseal.mark(staged, sorted({*reader.about["keys"], vault.current}))
        elif vault is not None:
            step("encrypting its contents")
            reseal.reseal(staged, vault, vault)
        before = {each.key for each in stored_receivers(places.state, vault)}
        found = stored_receivers(staged.state, vault)
        if not receivers:
            leave_out_receivers(staged.state, vault)
        _make_durable(staged)
    except BaseException:
        for pair in (faces, groups, state):
            shutil.rmtree(pair.staged, ignore_errors=True)
        _remove_unless(had_groups, places.groups)
        raise
    step("putting it in place")
    replaced = AuditLog(places.audit).head()
    try:
        _exchange(places, faces, groups, state)
    finally:
        _remove_unless(had_groups, places.groups)
    without = {} if receivers else {"without": "receivers"}
    AuditLog(places.audit).append("restore", backup=reader.header.get("made"), replaced=replaced, **without)
    told = [{"file": each.file, "what": each.words, "new": each.key not in before} for each in found]
    done = {"audit_problems": problems, "encrypted": is_sealed or vault is not None}
    return {**_told(reader), **done, "receivers": told if receivers else [], "receivers_left_out": [] if receivers else told}


def _remove_unless(was_there: bool, folder: Path) -> None:
    """Remove the folder of groups if it was made for the restore only, and is empty."""
    with suppress(OSError):
        if not was_there:
            folder.rmdir()


def _unpack(reader: BackupReader, member: Member, staged: Places) -> None:
    of_state = member.path.startswith(STATE)
    root, place = next(
        (root, place)
        for root, place in ((staged.state, STATE), (staged.groups, GROUPS), (staged.known_faces, FACES))
        if member.path.startswith(place)
    )
    inside = member.path.removeprefix(place)
    file = root / inside
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if of_state and inside in _PRIVATE else 0o666
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    with open(handle, "wb") as opened:
        for data in reader.read(member):
            opened.write(data)
        if not hasattr(os, "sync"):
            opened.flush()
            os.fsync(opened.fileno())
    time = max(0, min(member.mtime_ns, 2**62))
    os.utime(file, ns=(time, time))


def _verify(staged: Places, head: dict | None) -> list[str]:
    """What is wrong with the chain of the audit log, in sentences: it was before the backup was made, or that was forged."""
    if not staged.audit.is_dir():
        return []
    staged.audit.chmod(0o700)
    noted = (head["seq"], head["hash"]) if isinstance(head, dict) and {"seq", "hash"} <= set(head) else None
    return AuditLog(staged.audit).verify(noted).problems


def _make_durable(staged: Places) -> None:
    """See that everything is on the disk."""
    if hasattr(os, "sync"):
        os.sync()  # much sooner done than file by file
    for root in (staged.known_faces, staged.groups, staged.state):
        for folder, _, _ in os.walk(root):
            sync_folder(Path(folder))


def _exchange(places: Places, faces: _Pair, groups: _Pair, state: _Pair) -> None:
    """Put what was there away, and what was unpacked in its place."""
    write_durably(places.restoring, json.dumps({"faces": faces.staged.name, "state": state.staged.name}).encode())
    moved: list[tuple[Path, Path]] = []

    def move(old: Path, new: Path) -> None:
        os.rename(old, new)
        moved.append((old, new))

    people, of_groups = (
        {entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")}
        for root in (faces.real, groups.real)
    )
    kept = {name + suffix for name in _REPLACED for suffix in ("", *_JOURNALS)}
    try:
        for pair, there in ((groups, of_groups), (faces, people | {places.marks[1].name, identity.GROUP_FILE}), (state, kept)):
            pair.old.mkdir(mode=0o700)
            new = os.listdir(pair.staged)
            for name in sorted(there | set(new)):
                if os.path.lexists(pair.real / name):
                    move(pair.real / name, pair.old / name)
            for name in new:
                move(pair.staged / name, pair.real / name)
            sync_folder(pair.real)
    except OSError:
        for before, after in reversed(moved):
            os.rename(after, before)
        places.restoring.unlink()
        for pair in (faces, groups, state):
            for folder in (pair.staged, pair.old):
                shutil.rmtree(folder, ignore_errors=True)
        raise
    places.restoring.unlink()
    sync_folder(places.state)
    for pair in (faces, groups, state):
        for folder in (pair.staged, pair.old):
            shutil.rmtree(folder, ignore_errors=True)


def _refused(error: OSError) -> StorageError:
    return StorageError(f"the backup cannot be restored: {(error.strerror or type(error).__name__).lower()}")
