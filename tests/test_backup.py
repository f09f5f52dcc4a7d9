"""The file that a backup is: what comes out is what went in, and whatever was changed is noticed before anything is touched."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.backup import backup, backup_file, reseal, restore
from recognizer.backup.backup_file import CHUNK, HEADER, MANIFEST, BackupReader, Writer, belongs
from recognizer.backup.reseal import EncryptionPresence, Places, alone, check, held_keys
from recognizer.core.audit import AuditLog
from recognizer.core.disk import disk_errors
from recognizer.core.errors import BackupBroken, InUse, KeyMissing, NotEmpty, RecognizerError, StorageError
from recognizer.core.files import new_file
from recognizer.core.lock import WriteLock
from recognizer.core.vault import Vault, is_sealed
from recognizer.events.event_log import EventLog
from recognizer.events.event_sealing import read_all
from recognizer.events.receiver_store import ReceiverStore
from recognizer.rules.push_store import PushStore
from recognizer.rules.rule_file import RuleFile
from recognizer.rules.rule_model import make_rule
from recognizer.strangers.stranger_files import sealable

from .commands import run_command
from .push_services import Browser

A, B = Vault([bytes(range(32))]), Vault([bytes(range(1, 33))])
PHOTO, OTHER = b"\xff\xd8\xff photo " + os.urandom(5000), b"\xff\xd8\xff other " + os.urandom(700)
KEYS = pytest.mark.parametrize("vault", [None, A], ids=["plain", "encrypted"])


def is_lock(file: Path) -> bool:
    return file.suffix in (".lock", ".next")


def event(subject: str) -> dict:
    return {"id": 0, "kind": "appeared", "camera": "door", "time": "2026-11-21T10:00:00Z", "subject": subject}


@pytest.fixture
def places(tmp_path) -> Places:
    """An installation with two people, an event, cameras and an audit log."""
    places = Places(tmp_path / "home" / "known_faces", tmp_path / "home" / "state")
    put(places, "Ann/a.jpg", PHOTO)
    put(places, "Ann/.consent.json", b'{"version": 1, "note": "yes", "expires": null}')
    put(places, "Zoë Ω/b c.jpg", OTHER)
    places.state.mkdir()
    (places.state / "cameras.json").write_text("{}")
    (places.state / "settings.json").write_text('{"stranger_rate": 0.02}')
    (places.state / "receivers.json").write_text('{"version": 1, "settings": {"mqtt_prefix": "house"}}')
    (places.state / "camera-settings.json").write_text('{"door": {"events": false}}')
    (places.strangers / "pictures").mkdir(parents=True)
    (places.strangers / "3f9a0c1b72.json").write_text("{}")
    (places.strangers / "pictures" / "8c1d.jpg").write_bytes(OTHER)
    log = EventLog(places.events)
    log.append([event("Ann")], [PHOTO])
    log.close()
    AuditLog(places.audit).append("enroll", "Ann")
    return places


def put(places: Places, path: str, data: bytes) -> Path:
    """A file that has lain there for a while."""
    file = places.known_faces / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (10**9, 10**9))
    os.utime(file.parent, (10**9, 10**9))
    return file


def made(places: Places, to: Path, vault: Vault | None = None) -> dict:
    with disk_errors("the backup cannot be written"), new_file(to) as file:
        return backup.write(places, file, vault, WriteLock(places.state), "1.0")


def other(tmp_path: Path) -> Places:
    return Places(tmp_path / "elsewhere" / "faces", tmp_path / "elsewhere" / "state")


def kept(places: Places) -> dict[str, bytes]:
    """What lies in an installation, but for locks and what is written at every visit."""
    found = {}
    for root in (places.known_faces, places.state):
        for file in root.rglob("*"):
            if file.is_file() and not is_lock(file):
                found[f"{root.name}/{file.relative_to(root).as_posix()}"] = file.read_bytes()
    return found


# --- there and back ----------------------------------------------------------------------------------------------------


@KEYS
def test_what_was_kept_is_there_again_elsewhere(places, tmp_path, vault):
    zip_file = tmp_path / "backup.zip"
    done = made(places, zip_file, vault)
    assert (done["people"], done["photos"], done["left_out"]) == (2, 2, [])
    assert stat.S_IMODE(zip_file.stat().st_mode) == 0o600 and [*places.state.glob(".backup-*")] == []
    assert restore.check(zip_file, vault)["files"] == done["files"]
    there = other(tmp_path)
    told = restore.restore(zip_file, there, vault)
    assert told["people"] == 2 and told["audit_problems"] == []
    log = AuditLog(there.audit, vault)
    assert [line["action"] for line in log.lines()] == ["enroll", "backup", "restore"] and log.verify().problems == []
    head = done["audit_head"]
    assert log.verify((head["seq"], head["hash"])).problems == [] and log.names() == AuditLog(places.audit).names()
    if vault is None:
        before, after = kept(places), kept(there)
        after = {name.replace("faces/", "known_faces/", 1): data for name, data in after.items()}
        same = {name for name in before if not name.startswith("state/audit/0") and name != "state/audit/head.json"}
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert (there.known_faces / "Ann/a.jpg").stat().st_mtime == 10**9
        assert (there.state / "audit/names.json").stat().st_mode & 0o077 == 0
    else:  # it was not encrypted before, and is now
        assert held_keys(there) == {vault.current}
        assert all(is_sealed(file.read_bytes()) for file in there.known_faces.glob("*/*"))
        assert [is_sealed(file.read_bytes()) for file, _ in sealable(there.strangers)] == [True, True]
        assert [each["subject"] for each in read_all(there.events, vault)] == ["Ann"]
        check(there, vault)


def test_an_encrypted_backup_tells_nothing_without_the_key(places, tmp_path):
    zip_file = tmp_path / "backup.zip"
    made(places, zip_file, A)
    data = zip_file.read_bytes()
    for secret in (PHOTO[20:60], OTHER[20:60], b"Ann", "Zoë".encode(), b"a.jpg", b"cameras", b"enroll", b"\xff\xd8\xff photo"):
        assert secret not in data
    for vault in (None, B):
        with pytest.raises(KeyMissing):
            restore.restore(zip_file, other(tmp_path), vault)
    assert not other(tmp_path).known_faces.exists()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_files_of_every_size(tmp_path, size):
    data = os.urandom(size)
    for vault in (None, A):
        with open(tmp_path / "x.zip", "w+b") as file:
            writer = Writer(file, vault)
            writer.add("known_faces/Ann/a.jpg", [data[:10], data[10:]], 1)
            writer.close("1", "now", {"keys": []})
        with BackupReader(tmp_path / "x.zip", vault) as reader:
            [member] = reader.members.values()
            assert b"".join(reader.read(member)) == data


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.binary(max_size=300))), max_size=30))
def test_what_was_dropped_or_replaced_is_nowhere_in_the_file(steps):
    expected: dict[str, bytes] = {}
    secrets = set()
    file = io.BytesIO()
    writer = Writer(file, None)
    for name, data in steps:
        path = f"known_faces/Ann/{name}.jpg"
        if data is None:
            writer.drop(path)
            expected.pop(path, None)
        else:
            data = b"secret:" + data
            writer.add(path, [data], 1)
            secrets.add(data)
            expected[path] = data
    writer.close("1", "now", {"keys": []})
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist() if name not in (HEADER, MANIFEST)} == expected
    assert file.getvalue().count(b"secret:") == len(expected)


def test_a_source_that_fails_leaves_nothing(tmp_path):
    def fails():
        yield b"secret"
        raise OSError("gone")

    file = io.BytesIO()
    writer = Writer(file, None)
    with pytest.raises(OSError, match="gone"):
        writer.add("known_faces/Ann/a.jpg", fails(), 1)
    writer.add("known_faces/Ann/b.jpg", [b"b"], 1)
    writer.close("1", "now", {"keys": []})
    with zipfile.ZipFile(file) as archive:
        assert set(archive.namelist()) == {"known_faces/Ann/b.jpg", HEADER, MANIFEST}
    assert b"secret" not in file.getvalue()


# --- while people come and go --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_whoever_comes_or_goes_meanwhile_is_wholly_in_or_wholly_out(places, tmp_path):
    """Each person has a number of photos that all hold the same; they are added one by one and erased in one step."""
    changes, stop, count = WriteLock(places.state), threading.Event(), 5

    def live() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            name = f"P{turn % 7}"
            folder = places.known_faces / name
            with changes.hold():
                if folder.exists():
                    trash = places.known_faces / f".deleted-{turn}"
                    folder.rename(trash)
                    for file in trash.iterdir():
                        file.unlink()
                    trash.rmdir()
                else:
                    folder.mkdir()
                    for number in range(count):
                        part = folder / f".part-{number}"
                        part.write_bytes(f"{name} {turn}".encode() * 2000)
                        part.rename(folder / f"{number}.jpg")
            time.sleep(0.002)

    thread = threading.Thread(target=live)
    thread.start()
    seen = set()
    try:
        for round in range(6):
            zip_file = tmp_path / f"{round}.zip"
            made(places, zip_file)
            people: dict[str, list[bytes]] = {}
            with BackupReader(zip_file, None) as reader:
                for path, member in reader.members.items():
                    if path.startswith("known_faces/P"):
                        people.setdefault(path.split("/")[1], []).append(b"".join(reader.read(member)))
            for name, photos in people.items():
                assert len(photos) == count and len(set(photos)) == 1, name
            seen.add(tuple(sorted(people)))
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 1  # they did come and go


def test_a_photo_that_vanishes_takes_no_other_out_of_the_backup(places, tmp_path, monkeypatch):
    put(places, "Ann/b.jpg", OTHER)
    real = os.lstat

    def lstat(path, *args, **named):
        if Path(path).name == "a.jpg" and Path(path).exists():
            Path(path).unlink()  # somebody deletes it in the middle
        return real(path, *args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", lstat)
        found = made(places, tmp_path / "backup.zip")
    assert found["left_out"] == []
    with BackupReader(tmp_path / "backup.zip", None) as reader:
        photos = {path for path in reader.members if path.startswith("known_faces/") and path.endswith(".jpg")}
    assert photos == {"known_faces/Ann/b.jpg", "known_faces/Zoë Ω/b c.jpg"}


def test_a_state_folder_that_may_not_be_looked_into_is_an_error_with_a_reason(tmp_path):
    with pytest.raises(StorageError, match="the state folder cannot be used: file name too long"):
        EncryptionPresence(Places(tmp_path / "known_faces", tmp_path / ("x" * 300)))


def test_a_folder_that_cannot_be_read_is_listed_and_everybody_else_is_in_the_backup(places, tmp_path, monkeypatch):
    real = Path.iterdir

    def iterdir(path):
        if path.name == "Ann":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "iterdir", iterdir)
        found = made(places, tmp_path / "backup.zip")
    assert found["left_out"] == ["Ann"] and found["people"] == 1
    with BackupReader(tmp_path / "backup.zip", None) as reader:
        assert "known_faces/Zoë Ω/b c.jpg" in reader.members


def test_a_group_that_is_deleted_meanwhile_does_not_end_the_backup(places, tmp_path, monkeypatch):
    monkeypatch.setattr(Places, "group_folders", lambda self: [self.groups / "gone"])
    monkeypatch.setattr(Path, "is_dir", lambda path, real=Path.is_dir: path.name == "gone" or real(path))  # until a moment ago
    assert made(places, tmp_path / "backup.zip")["people"] == 2


@pytest.mark.slow
def test_a_photo_that_is_still_being_copied_into_the_folder_is_left_out(places, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "_PATIENCE", 1.0)
    begun, stop = threading.Event(), threading.Event()

    def copying() -> None:
        with open(places.known_faces / "Ann" / "slow.jpg", "wb") as file:
            while not stop.is_set():
                file.write(b"x" * 100)
                file.flush()
                os.utime(file.name, (time.time(),) * 2)  # by the clock of these tests, which may be ahead of the system's
                begun.set()
                time.sleep(0.01)

    thread = threading.Thread(target=copying)
    thread.start()
    assert begun.wait(60)
    try:
        done = made(places, tmp_path / "backup.zip")
    finally:
        stop.set()
        thread.join()
    assert done["left_out"] == ["Ann/slow.jpg"] and done["photos"] == 2


def test_a_change_waits_for_the_last_look_and_says_so_when_that_is_long(places, monkeypatch):
    from recognizer.core import lock as changes
    from recognizer.core.errors import Busy

    monkeypatch.setattr(changes, "PATIENCE", 0.2)
    held, other_process = WriteLock(places.state), WriteLock(places.state)
    with held.hold(), held.hold():
        with pytest.raises(Busy):
            other_process.hold().__enter__()
    with other_process.hold():
        pass


def test_what_belongs_to_nobody_is_left_out(places, tmp_path):
    put(places, "Ann/inner/c.jpg", PHOTO)
    (places.known_faces / "stray.jpg").write_bytes(PHOTO)
    (places.known_faces / "Ann" / "link.jpg").symlink_to(places.known_faces / "Ann" / "a.jpg")
    (places.known_faces / "linked").symlink_to(places.known_faces / "Ann")
    (places.state / "notes.txt").write_text("x")
    done = made(places, tmp_path / "backup.zip")
    assert done["left_out"] == ["Ann/inner", "Ann/link.jpg", "linked", "stray.jpg"] and done["photos"] == 2
    with BackupReader(tmp_path / "backup.zip", None) as reader:
        assert not any("notes" in path for path in reader.members)


def test_a_disk_without_room_is_told_and_leaves_no_file(places, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    (tmp_path / "backup.zip").write_bytes(b"the one before")
    monkeypatch.setattr(backup_file.zipfile.ZipFile, "open", full)
    with pytest.raises(StorageError, match="no space left"):
        made(places, tmp_path / "backup.zip")
    assert (tmp_path / "backup.zip").read_bytes() == b"the one before" and not [*tmp_path.glob(".part-*")]


# --- what is refused, and leaves everything as it was ----------------------------------------------------------------------


def zipped(to: Path, members: dict[str, bytes], header=None, manifest=None, **how) -> Path:
    """A backup made by hand: true but for what is given."""
    rows = [
        {"path": path, "name": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "mtime_ns": 1}
        for path, data in members.items()
    ]
    listed = {"keys": [], "members": rows} if manifest is None else manifest
    header = {"recognizer_backup": 1, "version": "1", "made": "now", "sealed_by": None} if header is None else header
    with zipfile.ZipFile(to, "w", how.pop("compression", zipfile.ZIP_STORED)) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path, data in members.items():
            info = zipfile.ZipInfo(path)
            info.external_attr = how.get("mode", 0o600) << 16
            info.compress_type = archive.compression
            archive.writestr(info, data)
        for path, data in how.get("more", {}).items():
            archive.writestr(path, data)
        archive.writestr(MANIFEST, listed if isinstance(listed, bytes) else json.dumps(listed))
        archive.writestr(HEADER, json.dumps(header))
    return to


GOOD = {"known_faces/Ann/a.jpg": PHOTO}
HOSTILE_PATHS = [
    "known_faces/../a.jpg", "known_faces/Ann/../../x.jpg", "known_faces/Ann/b/c.jpg", "/etc/passwd", "known_faces//etc/passwd",
    "known_faces/Ann/..", "known_faces/Ann/.", "known_faces/Ann/", "known_faces/a.jpg", "known_faces/.deleted-x/a.jpg",
    "known_faces/Ann/.part-1", "known_faces/Ann/.ssh", "state/../x", "state/access.sqlite/x", "state/x", "state/audit/../x",
    "state/events/../../x", "state/events/000000000001/../../../x.jpg", "state/encryption.json", "state/events/owner.lock",
    "state/running/1.lock", "x", "", ".", "known_faces/A\0nn/a.jpg", "known_faces/Ann/a\0.jpg", "known_faces/con/a.jpg",
    "known_faces/Ann\\..\\..\\x/a.jpg", "C:/x", "known_faces/Ann\n/a.jpg", "known_faces/\ud800/a.jpg",
    "state/audit/head.json\n",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=ascii)
def test_paths_that_lead_elsewhere(path):
    assert not belongs(path)


@pytest.mark.parametrize("path", [path for path in HOSTILE_PATHS if path and "\0" not in path and path.isprintable()])
def test_a_backup_with_a_path_that_leads_elsewhere_is_refused(places, tmp_path, path):
    refused(zipped(tmp_path / "x.zip", {**GOOD, path: b"x"}), places, tmp_path)


def refused(zip_file: Path, places: Places, tmp_path: Path, vault: Vault | None = None) -> None:
    """Refused, whether something is there or nothing, and nothing is changed by that."""
    before, around = kept(places), {path for path in tmp_path.rglob("*") if not is_lock(path)}
    with pytest.raises(BackupBroken):
        restore.check(zip_file, vault)
    for where in (places, other(tmp_path)):
        with pytest.raises(BackupBroken):
            restore.restore(zip_file, where, vault, replace=True)
    assert kept(places) == before
    made_now = {path for path in tmp_path.rglob("*") if not is_lock(path)} - around
    assert not [path for path in made_now if path.is_file()]


def test_a_good_one_made_by_hand_is_taken(places, tmp_path):
    """Guards the tests of bad ones against being refused for another reason."""
    zip_file = zipped(tmp_path / "x.zip", GOOD)
    assert restore.check(zip_file, None)["files"] == 1
    restore.restore(zip_file, other(tmp_path), None)
    assert (other(tmp_path).known_faces / "Ann/a.jpg").read_bytes() == PHOTO


def rows(**changes) -> dict:
    row = {
        "path": "known_faces/Ann/a.jpg",
        "name": "known_faces/Ann/a.jpg",
        "size": len(PHOTO),
        "mtime_ns": 1,
        "sha256": hashlib.sha256(PHOTO).hexdigest(),
    }
    return {"keys": [], "members": [row | changes]}


@pytest.mark.parametrize(
    "how",
    [
        {"manifest": rows(sha256="0" * 64)},
        {"manifest": rows(size=len(PHOTO) - 1)},
        {"manifest": rows(size="x")},
        {"manifest": rows(name="nothing")},
        {"manifest": rows(name=HEADER)},
        {"manifest": rows(path=7)},
        {"manifest": rows(extra=1)},
        {"manifest": rows(mtime_ns=None)},
        {"manifest": rows(name=["x"])},
        {"manifest": {"keys": [], "members": rows()["members"] * 2}},
        {"manifest": {"keys": [], "members": []}},
        {"manifest": {"keys": [], "members": {}}},
        {"manifest": {"members": []}},
        {"manifest": {"keys": 5, "members": []}},
        {"manifest": b"["},
        {"manifest": b"[" * 100_000},
        {"manifest": b"null"},
        {"manifest": b'{"members": [], "keys": [' + b"[]," * 700_000 + b"1]}"},
        {"manifest": b"\xff"},
        {"header": {"recognizer_backup": 2, "sealed_by": None}},
        {"header": {"recognizer_backup": 1, "sealed_by": 7}},
        {"header": {"recognizer_backup": 1}, "more": {"x": b""}},
        {"more": {"x": b"not listed"}},
        {"more": {"folder/": b""}},
        {"more": {"known_faces/Ann/a.jpg": b"twice"}},
        {"mode": stat.S_IFLNK | 0o777},
        {"mode": stat.S_IFCHR | 0o600},
        {"compression": zipfile.ZIP_DEFLATED},
    ],
    ids=lambda how: repr(how)[:60],
)
def test_backups_that_are_not_as_they_should_be_are_refused(places, tmp_path, how):
    refused(zipped(tmp_path / "x.zip", GOOD, **how), places, tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"noise" * 100], ids=len)
def test_files_that_are_no_backups_are_refused(places, tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    refused(tmp_path / "x.zip", places, tmp_path)
    with pytest.raises(StorageError):
        restore.restore(tmp_path / "nothing", places, None)


@pytest.mark.slow
@KEYS
def test_any_changed_byte_is_noticed_or_harmless(places, tmp_path, vault):
    """Every byte counts in an encrypted one but the ZIP file's own words; nothing of what is kept is ever another."""
    zip_file, bad = tmp_path / "backup.zip", tmp_path / "bad.zip"
    made(places, zip_file, vault)
    data, there = zip_file.read_bytes(), other(tmp_path)
    with BackupReader(zip_file, vault) as reader:
        good = {path: b"".join(reader.read(member)) for path, member in reader.members.items()}
    noticed, places_changed = 0, range(0, len(data), 97)
    for at in places_changed:
        bad.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        try:
            with BackupReader(bad, vault) as reader:
                found = {path: b"".join(reader.read(member)) for path, member in reader.members.items()}
            assert found == good, at
        except RecognizerError:
            noticed += 1
    assert noticed > 0.5 * len(places_changed)
    for end in (10, len(data) // 2, len(data) - 1):
        bad.write_bytes(data[:end])
        with pytest.raises(BackupBroken):
            restore.restore(bad, there, vault)
    assert kept(there) == {}


def test_pieces_of_an_encrypted_backup_cannot_change_places(tmp_path):
    data = os.urandom(3 * CHUNK)
    pieces = list(backup_file.sealed(A, "a", [data]))
    assert b"".join(backup_file.opened(A, "a", io.BytesIO(b"".join(pieces)))) == data
    for order in ([0, 2, 1], [1, 0, 2], [0, 1], [0, 1, 2, 2], [2]):
        with pytest.raises(RecognizerError):
            list(backup_file.opened(A, "a", io.BytesIO(b"".join(pieces[i] for i in order))))
    with pytest.raises(RecognizerError):
        list(backup_file.opened(A, "b", io.BytesIO(b"".join(pieces))))


# --- where something is already ----------------------------------------------------------------------------------------------


def test_what_is_there_stays_unless_asked(places, tmp_path):
    zip_file, there = tmp_path / "backup.zip", other(tmp_path)
    made(places, zip_file)
    put(there, "Bob/b.jpg", OTHER)
    (there.known_faces / "README.md").write_text("mine")
    (there.known_faces / "Ann").write_text("a file in the way")
    AuditLog(there.audit).append("enroll", "Bob")
    before = kept(there)
    with pytest.raises(NotEmpty, match="people, an audit log"):
        restore.restore(zip_file, there, None)
    assert kept(there) == before
    head = AuditLog(there.audit).head()
    restore.restore(zip_file, there, None, replace=True)
    assert sorted(path.name for path in there.known_faces.iterdir()) == ["Ann", "README.md", "Zoë Ω"]
    last = [*AuditLog(there.audit).lines()][-1]
    assert last["action"] == "restore" and last["details"]["replaced"] == head
    assert not [*there.state.glob(".*")] and "Bob" not in json.dumps(AuditLog(there.audit).names())


NAMES = ("webhooks", "mqtt_url", "mqtt_password")


def receiving(places: Places, vault: Vault | None) -> tuple[ReceiverStore, PushStore, RuleFile]:
    """The files of an installation that say who gets messages."""
    state = places.state
    return (
        ReceiverStore.in_file(state / "receivers.json", NAMES, vault),
        PushStore.in_file(state / "push.json", vault),
        RuleFile(state / "rules.json", vault),
    )


def let_all_receive(places: Places, vault: Vault | None = None) -> None:
    receivers, push, rules = receiving(places, vault)
    given = {"webhooks": ["https://example.org/hidden"], "mqtt_url": "mqtt://home@broker:1883", "mqtt_password": "hidden"}
    receivers.change(lambda stored: given)
    push.add(Browser("https://push.example", "hidden").subscription())
    rules.add(lambda id_: make_rule(id_, {"action": "notify", "url": "ntfy://hidden"}))
    rules.add(lambda id_: make_rule(id_, {"action": "mqtt", "topic": "home/light", "payload": "ON", "enabled": False}))


@KEYS
def test_a_restore_says_who_gets_messages_again_and_whom_somebody_had_removed(places, tmp_path, vault):
    let_all_receive(places)
    made(places, tmp_path / "backup.zip", vault)
    receivers, push, rules = receiving(places, None)
    receivers.change(lambda stored: {**stored, "webhooks": None})
    push.remove(lambda each: True)
    (id_,) = [each.id for each in rules.all() if each.enabled]
    told = restore.restore(tmp_path / "backup.zip", places, vault, replace=True)
    assert [(each["what"], each["new"]) for each in told["receivers"]] == [
        ("webhook https://example.org", True),
        ("MQTT broker mqtt://broker:1883", False),
        ("browser Firefox, Android", True),
        (f"rule {id_}, which sends to ntfy://***", False),
    ]
    assert told["receivers_left_out"] == [] and "hidden" not in json.dumps(told)
    receivers, push, rules = receiving(places, vault)
    assert receivers.all()["mqtt_password"] == "hidden" and len(push.all()) == 1


@KEYS
def test_a_restore_without_receivers_sends_nothing_to_anybody(places, tmp_path, vault):
    let_all_receive(places)
    key = receiving(places, None)[1].key()
    made(places, tmp_path / "backup.zip", vault)
    there = other(tmp_path)
    told = restore.restore(tmp_path / "backup.zip", there, vault, receivers=False)
    assert told["receivers"] == [] and len(told["receivers_left_out"]) == 4
    receivers, push, rules = receiving(there, vault)
    assert receivers.all() == {} and push.all() == [] and [each.enabled for each in rules.all()] == [False, False]
    assert push.key() == key  # browsers that want messages subscribe again with it
    assert [each.url for each in rules.all()] == ["ntfy://hidden", None]
    assert [*AuditLog(there.audit, vault).lines()][-1]["details"]["without"] == "receivers"
    assert not [*there.state.glob("*.json.lock")]


def test_the_command_says_who_gets_messages_again_and_who_does_not(places, tmp_path):
    let_all_receive(places)
    made(places, tmp_path / "backup.zip")
    there = other(tmp_path)
    settings = {"RECOGNIZER_KNOWN_FACES": str(there.known_faces), "RECOGNIZER_STATE_DIR": str(there.state)}
    done = run_command(settings, "restore", tmp_path / "backup.zip")
    assert done.exit_code == 0, done.stderr
    assert "gets messages again: webhook https://example.org (not there before this restore)" in done.stderr
    assert "restore with --without receivers" in done.stderr
    done = run_command(settings, "restore", tmp_path / "backup.zip", "--replace", "--without", "receivers")
    assert "left out, gets no messages: browser Firefox, Android" in done.stderr and "gets messages again" not in done.stderr
    assert "hidden" not in done.stderr + done.stdout


def test_damaged_files_of_receivers_are_restored_as_they_are_or_left_out(places, tmp_path):
    for name in ("receivers.json", "push.json", "rules.json"):
        (places.state / name).write_text("{")
    made(places, tmp_path / "backup.zip")
    there = other(tmp_path)
    assert restore.restore(tmp_path / "backup.zip", there, None)["receivers"] == []
    assert (there.state / "push.json").read_text() == "{"
    restore.restore(tmp_path / "backup.zip", there, None, replace=True, receivers=False)
    assert not (there.state / "push.json").exists() and not (there.state / "receivers.json").exists()
    assert (there.state / "rules.json").read_text() == "{"  # which nobody follows, and somebody may repair


def test_an_installation_that_was_only_started_counts_as_empty(places, tmp_path):
    made(places, tmp_path / "backup.zip")
    there = other(tmp_path)
    EncryptionPresence(there).close()
    there.events.mkdir()
    (there.events / "owner.lock").touch()
    restore.restore(tmp_path / "backup.zip", there, None)
    assert (there.known_faces / "Ann/a.jpg").exists()


def test_nothing_is_restored_while_somebody_uses_the_installation(places, tmp_path):
    made(places, tmp_path / "backup.zip")
    presence = EncryptionPresence(places)
    try:
        with pytest.raises(InUse):
            restore.restore(tmp_path / "backup.zip", places, None, replace=True)
    finally:
        presence.close()


def test_a_failed_exchange_is_taken_back(places, tmp_path, monkeypatch):
    zip_file, there = tmp_path / "backup.zip", other(tmp_path)
    made(places, zip_file)
    put(there, "Bob/b.jpg", OTHER)
    AuditLog(there.audit).append("enroll", "Bob")
    before, rename, left = kept(there), os.rename, 5

    def fails(*args):
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(5, "Input/output error")
        rename(*args)

    monkeypatch.setattr(restore.os, "rename", fails)
    with pytest.raises(StorageError):
        restore.restore(zip_file, there, None, replace=True)
    monkeypatch.undo()
    assert kept(there) == before
    EncryptionPresence(there).close()


def test_a_restore_that_was_killed_keeps_everybody_out_until_it_is_done_again(places, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    zip_file, there = tmp_path / "backup.zip", other(tmp_path)
    made(places, zip_file)
    put(there, "Bob/b.jpg", OTHER)
    rename, left = os.rename, 3

    def killed(*args):
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        rename(*args)

    monkeypatch.setattr(restore.os, "rename", killed)
    with pytest.raises(Killed):
        restore.restore(zip_file, there, None, replace=True)
    monkeypatch.undo()
    with pytest.raises(InUse, match="restore"):
        EncryptionPresence(there)
    restore.restore(zip_file, there, None, replace=True)
    assert sorted(path.name for path in there.known_faces.iterdir() if not path.name.startswith(".")) == ["Ann", "Zoë Ω"]
    EncryptionPresence(there).close()
    with alone(there):
        pass


def test_a_plain_installation_is_not_restored_from_what_needs_another_key(places, tmp_path):
    """The backup of an encrypted installation, with a key that opens the backup but not what it holds."""
    zip_file = tmp_path / "x.zip"
    zipped(zip_file, GOOD, manifest={**rows(), "keys": [B.current]})
    for vault in (None, A):
        with pytest.raises(KeyMissing):
            restore.restore(zip_file, other(tmp_path), vault)
    assert not other(tmp_path).known_faces.exists()


# --- another key ------------------------------------------------------------------------------------------------------


def test_what_a_killed_process_left_half_written_is_found_and_deleted_before_the_key_is_changed(places):
    left = [
        places.known_faces / "Ann" / ".part-0123",
        places.known_faces / "Ann" / ".deleted-0123",
        places.known_faces / ".deleted-4567" / "a.jpg",
        places.events / "000000000001" / ".part-89ab",
        places.strangers / "pictures" / ".part-cdef",
        places.state / ".backup-0123" / "encodings.sqlite",
    ]
    for file in left:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PHOTO)
    assert reseal.status(places, None)["leftovers"] == {"plain": len(left)}
    with alone(places):
        reseal.reseal(places, None, A)
    assert not any(file.exists() for file in left)
    found = reseal.status(places, A)
    assert found["leftovers"] == {} and found["photos"] == {A.current: 2}
    for file in (*places.known_faces.rglob("*"), *places.state.rglob("*")):
        assert not file.is_file() or PHOTO[:64] not in file.read_bytes(), file


def test_large_files_get_another_key_piece_by_piece(places):
    film = os.urandom(1 << 16) * 150
    file = put(places, "Ann/film.mp4", film)
    for old, new in ((None, A), (A, Vault([bytes(range(1, 33)), bytes(range(32))])), (B, None)):
        with alone(places):
            reseal.reseal(places, old, new)
        data = file.read_bytes()
        assert is_sealed(data) == (new is not None)
        assert (film if new is None else new.open(data, "photo")) == film
