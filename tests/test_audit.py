"""The audit log: whole, changed, cut; several processes at once; killed while it writes; whom it names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recognizer.core.audit import BEGINNING, AuditLog, acting, one_act, require_whole
from recognizer.core.errors import AuditBroken, StorageError

from . import template

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def log(tmp_path) -> AuditLog:
    return AuditLog(tmp_path / "audit")


def filled(folder: Path, count: int = 6, **options) -> AuditLog:
    log = AuditLog(folder, **options)
    for number in range(count):
        log.append("enroll", f"Person {number % 3}", photo=number)
    return log


def file_of(log: AuditLog, begin: int = 1) -> Path:
    return log.folder / f"{begin:012}.jsonl"


def change(path: Path, work) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(work(lines)))


def test_nothing_written_yet(log):
    assert log.verify().problems == [] and log.verify().lines == 0 and log.head() is None
    assert list(log.lines()) == log.page(None, 10) == log.about("Ada") == [] and log.names() == {}
    assert not log.folder.exists()


def test_one_act_is_one_line_for_each_action_and_subject(log):
    with one_act(stranger="3f9a"):
        lines = [log.append("enroll", name, force=True) for name in ("Ada", "Ada", "Bob", "Ada")]
        log.append("consent", "Ada")
    log.append("enroll", "Ada")
    assert [(line["action"], line["name"], line["details"]) for line in log.lines()] == [
        ("enroll", "Ada", {"force": True, "stranger": "3f9a"}),
        ("enroll", "Bob", {"force": True, "stranger": "3f9a"}),
        ("consent", "Ada", {"stranger": "3f9a"}),
        ("enroll", "Ada", {}),
    ]
    assert lines[0] == lines[1] == lines[3] and log.verify().problems == []


def test_lines_say_who_did_what_to_whom_and_when(log):
    with acting("key-7"):
        log.append("enroll", "Ada", force=True)
    log.append("camera_add", camera="door")
    first, second = log.lines()
    assert (first["seq"], first["actor"], first["action"], first["name"]) == (1, "key-7", "enroll", "Ada")
    assert first["details"] == {"force": True} and first["previous"] == BEGINNING and first["time"].endswith("Z")
    assert second["actor"] == "local" and second["subject"] is None and second["previous"] == first["hash"]
    assert log.head() == {"seq": 2, "hash": second["hash"]}
    found = log.verify()
    assert (found.lines, found.first, found.last, found.problems) == (2, 1, 2, [])
    require_whole(found)


def test_no_line_holds_a_name(log):
    log.append("enroll", "Zebulon Quux")
    log.rename("Zebulon Quux", "Quentin Zeb")
    log.append("delete", "Quentin Zeb")
    log.forget("Quentin Zeb")
    held = b"".join(path.read_bytes() for path in log.folder.iterdir())
    assert b"Zebulon" not in held and b"Quentin" not in held and log.names() == {}
    assert len({line["subject"] for line in log.lines()}) == 1 and log.about("Quentin Zeb") == []


def test_a_name_keeps_its_id_and_merged_people_have_both(log):
    log.append("enroll", "Ada")
    log.append("enroll", "Bob")
    log.rename("Ada", "Ada L")
    assert log.id_of("Ada L") == next(log.lines())["subject"]
    log.rename("Ada L", "Bob", merge=True)
    assert [line["action"] for line in log.about("Bob")] == ["enroll", "enroll", "rename", "merge"]
    log.append("enroll", "Ada")
    assert log.id_of("Ada") not in {line["subject"] for line in log.about("Bob")}


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda lines: [lines[0].replace(b"enroll", b"delete"), *lines[1:]], "was changed"),
        (lambda lines: [*lines[:2], lines[2].replace(b'"photo":2', b'"photo":3'), *lines[3:]], "was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "missing"),
        (lambda lines: lines[1:], "older lines are missing"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "reordered"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "added"),
        (lambda lines: lines[:-1], "the end is missing"),
        (lambda lines: lines[:-3], "the end is missing"),
        (lambda lines: [], "the end is missing"),
        (lambda lines: [*lines, b"not json\n"], "not a complete line"),
        (lambda lines: [*lines[:-1], lines[-1][:-20]], "not a complete line"),
        (lambda lines: [lines[0].replace(b"{", b'{"actor":"somebody else",', 1), *lines[1:]], "was changed"),
        (lambda lines: [lines[0].replace(b",", b", ", 1), *lines[1:]], "was changed"),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], "was changed"),
        (lambda lines: [lines[0].replace(b"local", b"\\ud800"), *lines[1:]], "was changed"),
        (lambda lines: [b"[" * 100_000 + b"\n", *lines[1:]], "not a complete line"),
    ],
)
def test_what_was_changed_is_found(tmp_path, work, said):
    log = filled(tmp_path / "audit")
    change(file_of(log), work)
    found = log.verify()
    assert any(said in problem for problem in found.problems), found.problems
    with pytest.raises(AuditBroken):
        require_whole(found)


def _hashed(line: dict) -> bytes:
    import hashlib

    del line["hash"]
    line["hash"] = hashlib.sha256(
        json.dumps(line, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    ).hexdigest()
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def test_a_changed_line_with_a_new_hash_is_found_by_the_one_after_it(tmp_path):
    log = filled(tmp_path / "audit")

    def forge(lines):
        line = json.loads(lines[2])
        line["actor"] = "somebody else"
        return [*lines[:2], _hashed(line), *lines[3:]]

    change(file_of(log), forge)
    assert any("line before this one was changed" in problem for problem in log.verify().problems)


def test_what_only_a_noted_head_finds(tmp_path):
    log = filled(tmp_path / "audit")
    noted = log.verify()
    change(file_of(log), lambda lines: lines[:3])
    last = list(log.lines())[-1]
    (log.folder / "head.json").write_text(json.dumps({"seq": last["seq"], "hash": last["hash"]}))  # forged as well
    assert log.verify().problems == []
    assert log.verify((noted.last, noted.hash)).problems == ["line 6, which was recorded elsewhere, is missing"]
    log.append("enroll", "A")
    log.append("enroll", "B")
    log.append("enroll", "C")
    assert any(
        "differs from the one that was recorded elsewhere" in problem
        for problem in log.verify((noted.last, noted.hash)).problems
    )


def test_an_end_that_was_cut_stays_found_after_more_is_written(tmp_path):
    log = filled(tmp_path / "audit")
    change(file_of(log), lambda lines: lines[:-2])
    log.append("enroll", "Ada")
    assert [line["action"] for line in log.lines()][-2:] == ["audit.truncated", "enroll"]
    assert any("audit.truncated" in problem for problem in log.verify().problems)


def test_a_lost_head_is_noted(tmp_path):
    log = filled(tmp_path / "audit")
    (log.folder / "head.json").unlink()
    assert any("head.json" in problem for problem in log.verify().problems)
    log.append("enroll", "Ada")
    assert any("audit.head_missing" in problem for problem in log.verify().problems)


@pytest.mark.parametrize("folder_too", [False, True])
def test_an_emptied_folder_is_noticed(tmp_path, folder_too):
    log = filled(tmp_path / "audit")
    for file in log.folder.iterdir():
        file.unlink()
    if folder_too:
        log.folder.rmdir()
    assert log.verify().problems == ["the log is empty, although lines were written: they were removed"]
    AuditLog(log.folder).append("enroll", "Ada")
    assert [line["action"] for line in log.lines()] == ["audit.truncated", "enroll"]
    assert any("audit.truncated" in problem for problem in log.verify().problems)


def test_half_a_line_of_a_stopped_machine_is_cut_and_noted(tmp_path):
    log = filled(tmp_path / "audit", 3)
    with open(file_of(log), "ab") as file:
        file.write(b'{"seq":4,"time":"2026-')
    log.append("enroll", "Ada")
    assert [line["action"] for line in log.lines()] == ["enroll"] * 3 + ["audit.repaired", "enroll"]
    assert log.verify().problems == []


def test_rotation_keeps_the_chain(tmp_path):
    log = filled(tmp_path / "audit", 40, file_bytes=1500)
    files = sorted(path.name for path in log.folder.glob("*.jsonl"))
    assert len(files) > 5 and log.verify().problems == [] and log.verify().lines == 40
    assert [line["seq"] for line in log.page(17, 5)] == [18, 19, 20, 21, 22]
    assert [line["seq"] for line in log.page(None, 3)] == [38, 39, 40]
    assert [line["seq"] for line in log.page(None, 2, before=20)] == [18, 19]
    assert [line["seq"] for line in log.page(None, 2, lambda line: line["name"] == "Person 0")] == [37, 40]
    assert [line["seq"] for line in log.page(10, 100, before=13)] == [11, 12]
    (log.folder / files[2]).unlink()
    assert any("missing" in problem for problem in log.verify().problems)


_WRITER = """
import sys
from pathlib import Path
from recognizer.core.audit import AuditLog
log = AuditLog(Path(sys.argv[1]), file_bytes=3000)
for number in range(int(sys.argv[3])):
    print(log.append("enroll", f"{sys.argv[2]} {number % 2}")["seq"], flush=True)
"""


def writer(folder: Path, name: str, count: int) -> subprocess.Popen:
    return template.start(
        [sys.executable, "-c", _WRITER, str(folder), name, str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_several_processes_write_one_chain(tmp_path):
    processes = [writer(tmp_path / "audit", name, 25) for name in "abcd"]
    told = sorted(int(number) for process in processes for number in process.communicate(timeout=60)[0].split())
    assert told == list(range(1, 101))
    log = AuditLog(tmp_path / "audit")
    assert log.verify().problems == [] and log.verify().lines == 100 and len(log.names()) == 8


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_a_kill(tmp_path):
    log = AuditLog(tmp_path / "audit")
    for _ in range(8):
        process = writer(tmp_path / "audit", "a", 10_000)
        told = [process.stdout.readline()]
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            told.append(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        assert int([line for line in told if line.strip()][-1]) <= max(line["seq"] for line in log.lines())
    log.append("enroll", "Ada")
    assert log.verify().problems == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "audit").write_bytes(b"")
    with pytest.raises(StorageError):
        AuditLog(tmp_path / "audit").append("enroll", "Ada")
