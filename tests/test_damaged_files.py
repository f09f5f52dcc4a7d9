"""Damaged SQLite files are set aside, what can be read of them is kept, and an erasure is true all the same.

A damaged copy of the keys of nodes is not used.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from recognizer.access.access_file import ApiKey
from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.archive.archive_model import ArchiveFace, ArchivePerson, ArchivePhoto, KnownFile
from recognizer.archive.photo_index import FaceKey
from recognizer.backup import reseal
from recognizer.core.errors import DamageRepaired, StorageError, SubjectNotFound
from recognizer.core.sealed_sqlite import set_aside_files
from recognizer.core.settings import Settings
from recognizer.core.types import Box
from recognizer.core.vault import Vault, new_key
from recognizer.database.local_copy import LocalCopy
from recognizer.enrolment.encodings import FileStamp
from recognizer.events.visit_file import VISITS_FILE, KeptVisit, VisitFile
from recognizer.jobs.job_file import JOBS_FILE, JobFile
from recognizer.jobs.job_model import RECOGNIZE, JobPhoto
from recognizer.service import make_service

NAME = "Ada Zebulon"
VECTOR = np.array([1.0, 0.0], np.float32)
#: Kinds of damage to a whole file.
KINDS = ("noise", "cut", "emptied inside", "a page", "another database", "text")


def visit(number: int, subject: str | None = NAME) -> KeptVisit:
    return KeptVisit(0, f"v{number}", "door", 1e9 + 1000.0 * number, 1e9 + 1000.0 * number + 5, subject, 0.5, VECTOR)


def fill_visits(file: VisitFile) -> None:
    for number in range(40):
        file.put(visit(number), bytes([number]) * 3000)


def fill_archive(file: ArchiveFile) -> None:
    folder = file.add_folder("/photos").id
    for number in range(40):
        photo = f"{number:032x}"
        person = ArchivePerson(number + 1, NAME if number == 7 else f"Person {number}", True)
        face = ArchiveFace(FaceKey(photo, 0), Box(0, 0, 9, 9), 0.9, 0.5, None, np.ones(200, np.float32), person.id)
        with file.change():
            file.put_files(folder, [KnownFile(f"{number}.jpg", FileStamp(1, 2, 3), photo)])
            file.put_people([person])
            file.put_photos([(ArchivePhoto(photo, "engine", 10, 10, 5.0, "camera", 1), [face])])


def fill_jobs(file: JobFile) -> None:
    for number in range(20):
        file.add(RECOGNIZE, "tests", [JobPhoto({"url": f"http://x/{number}"}, b"JPEG" * 500), JobPhoto({}, b"JPEG" * 500)])


ADDS = {
    VISITS_FILE: lambda file: file.put(visit(100), b"JPEG"),
    ARCHIVE_FILE: lambda file: file.put_people([ArchivePerson(100, "Eve")]),
    JOBS_FILE: lambda file: file.add(RECOGNIZE, "tests", [JobPhoto({}, b"JPEG")]),
}
#: Name of the file -> its class, what fills it, what is counted in it, how many are there then.
STORES = {
    VISITS_FILE: (VisitFile, fill_visits, VisitFile.count, 40),
    ARCHIVE_FILE: (ArchiveFile, fill_archive, lambda file: file.counts()["faces"], 40),
    JOBS_FILE: (JobFile, fill_jobs, lambda file: len(file.all()), 20),
}


def ruin(path: Path, kind: str) -> None:
    """Damage a closed file."""
    data = bytearray(path.read_bytes())
    if kind == "noise":
        data[:] = np.random.default_rng(7).bytes(len(data))
    elif kind == "cut":
        del data[len(data) // 2 :]
    elif kind == "emptied inside":
        data[4096:] = bytes(len(data) - 4096)
    elif kind == "a page":
        middle = len(data) // 8192 * 4096
        data[middle : middle + 4096] = b"\xff" * 4096
    elif kind == "text":
        data[:] = b"a file of another program " * 500
    else:
        path.unlink()
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE visits (something TEXT)")
            other.execute("CREATE TABLE photos (something TEXT)")
            other.execute("CREATE TABLE job (something TEXT)")
        return
    path.write_bytes(data)


KEY = new_key()


@pytest.fixture(params=["plain", "encrypted"])
def vault(request):
    return Vault([KEY]) if request.param == "encrypted" else None


def patiently(work):
    """What clients do: try again where the reply says so."""
    try:
        return work()
    except DamageRepaired:
        return work()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Writes a filled file, which is made once."""
    made: dict[tuple[str, bool], bytes] = {}

    def write(path: Path, vault: Vault | None = None) -> None:
        store, fill, count, there = STORES[path.name]
        key = path.name, vault is not None
        if key not in made:
            first = tmp_path_factory.mktemp("filled") / path.name
            with closing(store(first, vault)) as file:
                fill(file)
                assert count(file) == there
            made[key] = first.read_bytes()
        path.write_bytes(made[key])

    return write


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STORES)
def test_a_damaged_file_is_set_aside_and_the_next_call_works(tmp_path, filled, name, kind, vault):
    store, _, count, there = STORES[name]
    filled(tmp_path / name, vault)
    ruin(tmp_path / name, kind)
    with closing(store(tmp_path / name, vault)) as file:
        patiently(file.leave_out_broken)
        before = patiently(lambda: count(file))
        assert 0 <= before <= there
        patiently(lambda: ADDS[name](file))
        patiently(lambda: ADDS[name](file))
        aside = [each.name for each in set_aside_files(tmp_path)]
        assert aside == [f"{name}.damaged"] or (kind == "a page" and not aside)  # of what nobody asked for
        assert patiently(lambda: count(file)) >= before
    with closing(store(tmp_path / name, vault)) as file:  # and so does the next process
        assert patiently(lambda: count(file)) >= before


@pytest.mark.parametrize("name", STORES)
def test_most_rows_of_a_file_with_one_bad_page_are_kept(tmp_path, filled, name, vault):
    store, _, count, there = STORES[name]
    filled(tmp_path / name, vault)
    main = {VISITS_FILE: "visits", ARCHIVE_FILE: "faces", JOBS_FILE: "job_photo"}[name]
    with closing(sqlite3.connect(tmp_path / name)) as raw:
        pages = [row[0] for row in raw.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (main,))]
    with open(tmp_path / name, "r+b") as damaged:
        damaged.seek((pages[len(pages) // 2] - 1) * 4096)
        damaged.write(b"\xff" * 4096)
    with closing(store(tmp_path / name, vault)) as file:
        patiently(file.leave_out_broken)
        if name == JOBS_FILE:
            assert patiently(file.waiting_bytes)
        kept = count(file)
        assert set_aside_files(tmp_path) and there // 2 < kept <= there
        if name == ARCHIVE_FILE:  # photos without their faces are read again by the next update
            known = [f"{number:032x}" for number in range(40)]
            assert len(file.known_photos(known)) == kept
            assert file.add_folder("/more").id == 2  # numbers stay taken


def test_a_file_that_is_damaged_while_it_is_open(tmp_path, filled):
    filled(tmp_path / VISITS_FILE)
    with closing(VisitFile(tmp_path / VISITS_FILE)) as file:
        file.purge(1e9 + 1500)  # ends the journal: everything is in the file
        for suffix in ("", "-wal"):
            path = tmp_path / (VISITS_FILE + suffix)
            path.write_bytes(np.random.default_rng(3).bytes(path.stat().st_size))
        other = VisitFile(tmp_path / VISITS_FILE)  # another server
        assert other.count() == 0
        other.put(visit(99), b"JPEG")
        assert patiently(file.count) == 1  # what the other put in its place
        patiently(lambda: file.put(visit(100), b"JPEG"))
        assert other.count() == 2
        other.close()


def test_two_processes_set_a_file_aside_once(tmp_path, filled):
    path = tmp_path / VISITS_FILE
    filled(path)
    ruin(path, "a page")
    one = VisitFile(path)
    patiently(lambda: one.find())
    kept = one.count()
    assert kept
    two = VisitFile(path)
    assert two.count() == kept and len(set_aside_files(tmp_path)) == 1
    one.close()
    two.close()


@pytest.mark.parametrize("name", STORES)
def test_rows_that_cannot_be_decrypted_do_not_fail_every_call(tmp_path, filled, name):
    vault = Vault([KEY])
    store, _, count, there = STORES[name]
    filled(tmp_path / name, vault)
    with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as raw:
        if name == VISITS_FILE:
            raw.execute("UPDATE visits SET subject = 'AAAA' || subject WHERE number = 3")
        elif name == ARCHIVE_FILE:
            raw.execute("UPDATE people SET subject = 'AAAA' || subject WHERE id = 3")
        else:
            raw.execute(
                "UPDATE job SET options = x'00' WHERE rowid IN (SELECT rowid FROM job LIMIT 1)" if False else "SELECT 1"
            )
            raw.execute("UPDATE job_photo SET source = x'00' WHERE place = 1 AND job = (SELECT min(id) FROM job)")
    with closing(store(tmp_path / name, vault)) as file:
        if name == VISITS_FILE:
            assert patiently(lambda: len(file.find())) == there - 1
        elif name == ARCHIVE_FILE:
            assert len(patiently(file.people)) == there - 1
        else:
            file.leave_out_broken()
            assert sum(job.photos for job in file.all()) == 2 * there - 1
        assert not set_aside_files(tmp_path)
    again = Vault([new_key(), KEY])
    with closing(store(tmp_path / name, again)) as file:  # the key can be changed
        assert count(file)


def test_a_wrong_statement_is_no_damage(tmp_path, filled):
    filled(tmp_path / VISITS_FILE)
    with closing(VisitFile(tmp_path / VISITS_FILE)) as file:
        for _ in range(3):
            with pytest.raises(StorageError, match="no such column"):
                file.find("wrong = 1")
        assert file.count() == 40 and not set_aside_files(tmp_path)


def test_a_file_of_a_later_release_is_left_alone(tmp_path, filled):
    for name, (store, *_) in STORES.items():
        filled(tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as raw:
            raw.execute("PRAGMA user_version = 99")
        with pytest.raises(StorageError, match="later release"):
            store(tmp_path / name)
    assert not set_aside_files(tmp_path)


def as_of_an_earlier_release(path: Path) -> None:
    """Take out the columns that version 2 of the archive's index added."""
    with closing(sqlite3.connect(path)) as raw:
        for table in ("photos", "faces"):
            raw.execute(f"ALTER TABLE {table} DROP COLUMN seconds")
        raw.execute("PRAGMA user_version = 1")


def test_an_index_of_an_earlier_release_gets_its_new_columns(tmp_path, filled, vault):
    filled(tmp_path / ARCHIVE_FILE, vault)
    as_of_an_earlier_release(tmp_path / ARCHIVE_FILE)
    for _ in range(2):
        with closing(ArchiveFile(tmp_path / ARCHIVE_FILE, vault)) as file:
            assert file.counts()["faces"] == 40 and file.counts()["videos"] == 0
    assert not set_aside_files(tmp_path)


def test_a_damaged_index_of_an_earlier_release_keeps_what_can_be_read(tmp_path, filled):
    filled(tmp_path / ARCHIVE_FILE)
    as_of_an_earlier_release(tmp_path / ARCHIVE_FILE)
    with closing(sqlite3.connect(tmp_path / ARCHIVE_FILE)) as raw:
        raw.execute("DROP TABLE refused")
        raw.execute("CREATE TABLE refused (other TEXT)")
    with closing(ArchiveFile(tmp_path / ARCHIVE_FILE)) as file:
        assert file.counts()["faces"] == 40
    assert set_aside_files(tmp_path)


# -- the whole installation -------------------------------------------------------------------------------------------


@pytest.fixture
def settings(settings) -> Settings:
    return settings.replace(sightings="all")


@pytest.fixture
def service(settings, faces, filled):
    """An installation with somebody enrolled, and with all files."""
    settings.state_dir.mkdir()
    for name in STORES:
        filled(settings.state_dir / name)
    made = make_service(replace(settings, watch=False))
    made.start()
    made.subjects.enrol(NAME, faces["obama"])
    yield made
    made.close()


def ruin_open(state: Path, name: str, kind: str) -> None:
    """Damage a file that a server may have open."""
    for suffix in ("-wal", "-shm"):
        (state / f"{name}{suffix}").unlink(missing_ok=True)
    ruin(state / name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "a page"])
def test_an_erasure_is_true_and_takes_what_was_set_aside(service, settings, kind):
    state = settings.state_dir
    for part in (service.visits, service.archive, service.jobs):
        part.close()  # as a server that starts now: nothing is open
    service.jobs._stop.clear()
    for name in (*STORES, "evaluation.sqlite"):
        if (state / name).exists():
            ruin_open(state, name, kind)
    (state / "evaluation.sqlite").write_bytes(b"noise" * 5000)
    assert [service.health()[part] is None for part in ("visits", "archive", "jobs")] == [False] * 3
    done = service.subjects.delete(NAME)
    assert not any(done["left"].values()) and done["left"]["damaged_files"] == 0
    assert not set_aside_files(state) and service.health()["damaged"] == []
    lines = [line for line in service.audit_page()["lines"] if line["action"] == "damaged_file_delete"]
    assert lines and {line["details"]["file"] for line in lines} <= {f"{name}.damaged" for name in STORES}
    data = b"".join(file.read_bytes() for file in state.rglob("*") if file.is_file())
    assert b"Zebulon" not in data
    with pytest.raises(SubjectNotFound):
        service.subjects.delete(NAME)


@pytest.mark.slow
@pytest.mark.file_times
def test_health_says_which_files_were_damaged_and_what_was_set_aside_expires(service, settings):
    places = reseal.Places(settings.known_faces, settings.state_dir, settings.groups_dir)
    for number, name in enumerate(sorted(STORES)):
        for part in (service.visits, service.archive, service.jobs):
            part.close()
        ruin_open(settings.state_dir, name, "text")
        first = service.health()
        assert service.health()["damaged"] == sorted(STORES)[: number + 1]
        part = {VISITS_FILE: "visits", ARCHIVE_FILE: "archive", JOBS_FILE: "jobs"}[name]
        assert first[part] is not None  # it works again
        assert settings.state_dir / f"{name}.damaged" in set(reseal.leftovers(places))  # which is deleted when a key is set
    aside = settings.state_dir / f"{VISITS_FILE}.damaged"
    service.visits.purge()
    assert aside.exists()
    os.utime(aside, (time.time() - 400 * 86_400,) * 2)
    service.visits.purge()
    assert not aside.exists()


def test_a_copy_of_keys_with_a_changed_byte_is_not_used(tmp_path):
    """A later end or another role of a key: whatever a failing disk changes is noticed."""
    copy = LocalCopy(tmp_path / "keys", lambda: None, 24.0)
    copy.write(content := {"keys": [asdict(ApiKey("k1", "door", "read", "hash", 1.0, 2.5))], "sessions": []})
    whole = (tmp_path / "keys").read_bytes()
    assert copy.read() == content
    for place in range(len(whole)):
        for bit in (1, 4):
            (tmp_path / "keys").write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            assert copy.read() in (None, content), place
    held = json.loads(whole)
    for value in ({**held, "digest": None}, [held], "held", 1):
        (tmp_path / "keys").write_text(json.dumps(value))
        assert copy.read() == (content if isinstance(value, dict) else None)  # earlier releases wrote no digest
