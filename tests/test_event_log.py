"""The log of events: ids, rotation, what a kill leaves behind, reading back, forgetting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recognizer.core.errors import StorageError
from recognizer.events import event_log
from recognizer.events.appearances import iso
from recognizer.events.event_erasing import Retention
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog
from recognizer.events.event_sealing import read_all

from . import template

ROOT = Path(__file__).resolve().parents[1]
DAY = 86_400.0
#: When the events of these tests happened, and the log's clock unless a test brings its own: no test depends on its day.
TIME = "2026-11-21T10:00:00.000Z"


def clock() -> float:
    return seconds(TIME)


def event(kind: str = "appeared", subject: str | None = "Ada", **more) -> dict:
    return {"id": 0, "kind": kind, "camera": "door", "time": TIME, "subject": subject, **more}


@pytest.fixture
def make(tmp_path):
    made = []

    def open_log(retention: Retention | None = None, now=clock, **options) -> EventLog:
        made.append(EventLog(tmp_path / "events", retention, now=now, **options))
        return made[-1]

    yield open_log
    for log in made:
        log.close()


def ids(events: list[dict]) -> list[int]:
    return [each["id"] for each in events]


def files(log: EventLog) -> list[str]:
    return sorted(path.name for path in log.folder.glob("*.jsonl"))


# -- ids --------------------------------------------------------------------------------------------------------------


def test_an_empty_log(make):
    log = make()
    assert (log.first, log.last) == (1, 0)
    assert log.read(0, 10) == log.latest(None, 10) == [] and log.get(1) is None and log.thumbnail(1) is None
    assert log.get(0) is None and log.read(-1, 10) == []  # ids begin with 1
    assert read_all(log.folder) == read_all(log.folder / "nowhere") == []


def test_the_first_event_that_is_written_while_the_files_are_listed_is_the_first(make, monkeypatch):
    """Whoever delivers events would pass over those before the first as if they were deleted."""
    log, listed = make(), event_log.first_ids

    def list_then_write(folder):
        found = listed(folder)
        monkeypatch.setattr(event_log, "first_ids", listed)
        log.append([event()])
        return found

    monkeypatch.setattr(event_log, "first_ids", list_then_write)
    assert log.first == 1
    assert log.first == log.last == 1


def test_ids_grow_by_one_and_go_on_after_a_restart(make):
    log = make()
    assert log.append([event(), event()]) == 2
    assert log.append([event()]) == 3
    log.close()
    log = make()
    assert log.last == 3 and log.append([event()]) == 4
    assert ids(log.read(0, 10)) == [1, 2, 3, 4] == ids(read_all(log.folder))
    assert len(files(log)) == 1


def test_what_is_written_is_one_line_of_json_each(make):
    log = make()
    log.append([event(subject="Zoë\nÖ\u2028")])
    (line,) = (log.folder / files(log)[0]).read_bytes().splitlines()
    assert json.loads(line)["subject"] == "Zoë\nÖ\u2028"
    log.close()
    assert make().read(0, 1)[0]["subject"] == "Zoë\nÖ\u2028"


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remembered", [1000, 5])
def test_reading_from_an_id_on(make, remembered):
    log = make(Retention(file_bytes=500), remembered=remembered)
    for number in range(40):
        log.append([event(kind="left" if number % 2 else "appeared")])
    assert len(files(log)) > 5
    assert ids(log.read(0, 3)) == [1, 2, 3]
    assert ids(log.read(37, 10)) == [38, 39, 40]
    assert log.read(40, 10) == log.read(99, 10) == []
    assert ids(log.read(0, 3, lambda each: each["kind"] == "left")) == [2, 4, 6]
    assert log.scan(0, 3, lambda each: each["kind"] == "none") == ([], 40)
    assert ids(log.latest(None, 3)) == [38, 39, 40]
    assert ids(log.latest(10, 4)) == [6, 7, 8, 9]
    assert ids(log.latest(10, 2, lambda each: each["kind"] == "appeared")) == [7, 9]
    assert ids(log.latest(3, 100)) == [1, 2] and log.latest(1, 5) == []
    assert log.get(17)["id"] == 17 and log.get(41) is None and log.get(0) is None


def test_waiting_ends_with_the_next_event_or_the_time(make):
    log = make()
    assert log.wait(0, 0.05) is False
    threading.Timer(0.1, lambda: log.append([event()])).start()
    assert log.wait(0, 10) is True
    threading.Timer(0.1, log.close).start()
    assert log.wait(1, 10) is False


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_old_files_go_with_their_pictures_when_there_are_too_many_bytes(make):
    log = make(Retention(max_bytes=3000, file_bytes=500))
    for _ in range(60):
        log.append([event()], [b"\xff\xd8picture"])
    assert sum(path.stat().st_size for path in log.folder.glob("*.jsonl")) <= 3500
    first = log.first
    assert first > 20 and ids(log.read(0, 100)) == list(range(first, 61))
    assert log.thumbnail(first) == b"\xff\xd8picture" and log.thumbnail(first - 1) is None
    pictures = {int(path.stem) for path in log.folder.rglob("*.jpg")}
    assert pictures == set(range(first, 61))
    assert log.counts["purged"] == first - 1


def test_the_number_of_files_is_bounded(make):
    log = make(Retention(file_bytes=100, max_files=4))
    for _ in range(30):
        log.append([event()])
    assert len(files(log)) <= 4


def test_a_file_is_begun_each_day_and_goes_when_it_is_old(make):
    clock = [time.time()]
    log = make(Retention(max_days=3), now=lambda: clock[0])
    for _ in range(10):
        log.append([event(time="2026-11-21T10:00:00.000Z")])
        os.utime(log.folder / files(log)[-1], (clock[0], clock[0]))
        clock[0] += DAY + 1
    assert 3 <= len(files(log)) <= 5
    assert log.last == 10 and log.first > 5
    clock[0] += 10 * DAY
    log.purge()
    assert log.read(0, 10) == [] and log.last == 10
    log.close()
    assert make().append([event()]) == 11


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "torn",
    [
        b'{"id":4,"kind":"appe',
        b'{"id":4}',
        b"\0" * 300,
        b"\xff\xfe",
        b'{"id":4,"kind":"left","camera":"door"}\n{"id":',
        b'no json\n{"id": "x"}\n',
    ],
)
def test_a_torn_last_line_is_cut_off(make, torn):
    log = make()
    log.append([event(), event(), event()])
    log.close()
    file = log.folder / files(log)[0]
    whole = file.read_bytes()
    file.write_bytes(whole + torn)
    log = make()
    assert log.counts["repaired"] == 1
    kept = 4 if b"\n" in torn and b"no json" not in torn else 3
    assert log.last == kept and file.read_bytes().startswith(whole)
    assert log.append([event()]) == kept + 1
    assert ids(read_all(log.folder)) == list(range(1, kept + 2))


def test_a_damaged_line_in_the_middle_is_passed_over(make):
    log = make()
    log.append([event(), event(), event()])
    log.close()
    file = log.folder / files(log)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"garbage\n" + lines[2])
    log = make()
    assert ids(log.read(0, 10)) == [1, 3] and log.last == 3 and log.counts["unreadable"]


def test_an_empty_last_file_still_says_where_ids_go_on(make):
    log = make()
    log.append([event()])
    log.close()
    (log.folder / "000000000002.jsonl").write_bytes(b"")
    assert make().append([event()]) == 2


def test_no_room_is_an_error_and_the_next_event_is_whole(make, monkeypatch):
    log = make()
    log.append([event()])
    real = os.fsync

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        log.append([event()])
    monkeypatch.setattr(os, "fsync", real)
    assert log.append([event()]) == 2
    assert ids(read_all(log.folder)) == [1, 2] and log.counts["failed"] == 1


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the events cannot be kept"):
        EventLog(tmp_path / "file" / "events")


WRITER = """
import sys
from recognizer.events.appearances import iso
from recognizer.events.event_erasing import Retention
from recognizer.events.event_log import EventLog
log = EventLog(sys.argv[1], Retention(file_bytes=20_000))
while True:
    number = log.append([{"id": 0, "kind": "appeared", "camera": "door", "time": "2026-11-21T10:00:00Z", "fill": "x" * 300}])
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_told(tmp_path):
    told = 0
    for _ in range(3):
        process = template.start([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(40):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        rest = [int(line) for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        process.stdout.close()
        told = max([told, *rest])
        log = EventLog(tmp_path)
        try:
            assert log.writable
            assert ids(log.read(0, 10_000)) == list(range(1, log.last + 1)) and log.last >= told
        finally:
            log.close()


# -- two processes ----------------------------------------------------------------------------------------------------


def test_one_writes_the_others_read_and_one_of_them_follows_on(make):
    owner, reader = make(), make()
    assert owner.writable and not reader.writable
    with pytest.raises(StorageError, match="another process"):
        reader.append([event()])
    owner.append([event()], [b"jpeg"])
    assert reader.newest() == 1 and reader.thumbnail(1) == b"jpeg"
    assert ids(reader.read(0, 10)) == [1] == ids(reader.latest(None, 5))
    threading.Timer(0.2, lambda: owner.append([event()])).start()
    assert reader.wait(1, 10) is True
    assert reader.take_over() is False
    owner.close()
    assert reader.take_over() is True and reader.append([event()]) == 3


# -- forgetting -------------------------------------------------------------------------------------------------------


def test_a_person_is_taken_out_of_all_files(make):
    log = make(Retention(file_bytes=400))
    for number in range(20):
        log.append([event(subject="Ada" if number % 2 else "Bob")], [b"jpeg"])
    log.append([event("unknown", None)], [b"jpeg"])
    log.append([event("appeared", "Ada", replaces=21)], [b"jpeg"])
    assert log.erase("Ada") == 12
    assert log.erase("Ada") == 0 == log.erase("Nobody")
    held = read_all(log.folder)
    assert held == log.read(0, 100) and ids(held) == list(range(1, 23))
    assert {each["subject"] for each in held} == {None, "Bob"}
    assert b"Ada" not in b"".join(path.read_bytes() for path in log.folder.rglob("*") if path.is_file())
    assert log.thumbnail(2) is None and log.thumbnail(21) is None and log.thumbnail(1) == b"jpeg"
    assert log.append([event()]) == 23


def test_a_process_that_does_not_write_leaves_word(make):
    owner, other = make(), make()
    owner.append([event()])
    assert other.erase("Ada") == 0
    assert owner.read(0, 1)[0]["subject"] == "Ada"
    assert owner.forget_as_asked() is True
    assert owner.read(0, 1)[0]["subject"] is None and not list(owner.folder.glob("*.forget"))
    assert owner.forget_as_asked() is False


@pytest.mark.parametrize(("text", "value"), [("1970-01-01T00:00:10.500Z", 10.5), ("yesterday", 0.0), (None, 0.0)])
def test_times(text, value):
    assert seconds(text) == value


def test_a_picture_whose_event_was_torn_is_not_given_to_another_event(make):
    log = make()
    log.append([event(), event()], [b"A", b"B"])
    log.close()
    file = log.folder / files(log)[0]
    file.write_bytes(file.read_bytes()[:-9])
    log = make()
    assert log.last == 1 and log.append([event()]) == 2
    assert log.thumbnail(1) == b"A" and log.thumbnail(2) is None


# -- renaming and erasing ---------------------------------------------------------------------------------------------


def on_disk(log: EventLog) -> bytes:
    return b"".join(path.read_bytes() for path in log.folder.rglob("*") if path.is_file())


def test_a_person_is_renamed_in_all_files_and_then_erased(make):
    log = make(Retention(file_bytes=300))
    for number in range(10):
        log.append([event(subject="Ada" if number % 2 else "Bob")], [b"jpeg"])
    edition = log.edition
    assert log.rename("Ada", "Ada Lovelace") == 5 and log.edition != edition
    assert len(log.find("Ada Lovelace")) == 5 == log.verify("Ada Lovelace") and log.find("Ada") == []
    assert [picture for _, picture in log.export("Ada Lovelace")] == [b"jpeg"] * 5
    assert log.erase("Ada Lovelace") == 5 and log.verify("Ada Lovelace") == 0
    assert b"Ada" not in on_disk(log) and log.thumbnail(2) is None and log.thumbnail(1) == b"jpeg"


def test_events_of_an_unknown_person_get_a_name_later(make):
    log = make(Retention(file_bytes=300))
    since = {"since": iso(seconds(TIME) + 0.1239), "track": 7}
    others = [event("unknown", None, **since | each) for each in ({"track": 8}, {"camera": "yard"}, {"since": TIME})]
    log.append([event("unknown", None, **since), *others, event("left", None, **since, appearance=1)], [b"jpeg"] + 4 * [None])
    log.append([event(**since)])
    visit = f"door/7/{seconds(TIME) + 0.1239:.3f}"
    assert log.name_unknown("Eve", [visit, "", "door", "a/b/c/d", "door/7/x"]) == 2
    assert [(each["id"], each["subject"]) for each in log.read(0, 9)] == [
        *[(1, "Eve"), (2, None), (3, None), (4, None), (5, "Eve"), (6, "Ada")]
    ]
    assert log.erase("Eve") == 2 and log.thumbnail(1) is None and b"Eve" not in on_disk(log)


def test_a_process_that_does_not_write_asks_for_a_new_name(make):
    owner, other = make(), make()
    owner.append([event(), event(subject="Bob")])
    assert other.rename("Ada", "Eve") == 0 and other.erase("Eve") == 0 == other.erase("Bob")
    assert other.verify("Eve") == 2  # two open requests name her
    assert owner.forget_as_asked() and [each["subject"] for each in owner.read(0, 9)] == [None, None]
    assert owner.verify("Eve") == 0 == other.verify("Bob")


def test_whatever_turned_out_to_be_a_person_is_erased_too(make):
    """An unknown person who left when the track got the name of somebody who was there already, and the other way round."""
    log = make(Retention(file_bytes=100))
    log.append([event("appeared", "Ada")], [b"jpeg"])
    log.append([event("unknown", None)], [b"jpeg"])
    log.append([event("left", None, appearance=2, same_as=1)])
    log.append([event("unknown", None, same_as=1)], [b"jpeg"])
    log.append([event("unknown", None)], [b"jpeg"])
    assert ids(log.find("Ada")) == [1, 2, 3, 4]
    assert log.erase("Ada") == 3  # the third had neither name nor picture
    assert [number for number in range(1, 6) if log.thumbnail(number)] == [5]


GARBAGE = [b"garbage\n", b'{"id":2}\n', b"[" * 100_000 + b"\n", b'{"id":2,"sealed":7}\n', b'{"id":2,"sealed":"x"}\n', b"\xff\n"]


@pytest.mark.parametrize("damage", GARBAGE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_damaged_line_never_stops_an_erasure_and_goes_with_its_picture(make, damage, place):
    log = make()
    log.append([event(), event(subject="Bob"), event(subject="Eve")], [b"A", b"B", b"E"])
    log.close()
    file = log.folder / files(log)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[place] = damage
    file.write_bytes(b"".join(lines) + b'{"id":4,"kind":"left","camera":"door"}\n')
    log = make()
    for name in ("Ada", "Bob", "Eve"):
        log.erase(name)
        assert log.verify(name) == 0
    assert log.counts["damaged"] == 1 and damage.strip() not in file.read_bytes()
    assert not list(log.folder.rglob("*.jpg")) and ids(read_all(log.folder)) == [
        each for each in (1, 2, 3, 4) if each != place + 1
    ]


def test_the_id_of_a_damaged_last_line_is_not_given_again(make):
    log = make()
    log.append([event(), event(subject="Bob")], [b"A", b"B"])
    log.close()
    file = log.folder / files(log)[0]
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0] + b'{"id":2}\n')
    log = make()
    log.erase("Ada")
    log.close()
    log = make()
    assert log.last == 2 and log.append([event()]) == 3 and ids(log.read(0, 9)) == [1, 3]


def test_an_interrupted_erasure_is_completed_by_the_next(make, monkeypatch):
    log = make()
    log.append([event(), event()], [b"A", b"A"])
    real = os.replace

    def stopped(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(StorageError, match="input/output"):
        log.erase("Ada")
    monkeypatch.setattr(os, "replace", real)
    assert log.verify("Ada") == 2 and log.erase("Ada") == 2
    assert log.verify("Ada") == 0 and not list(log.folder.rglob("*.jpg"))


def test_one_file_that_cannot_be_read_does_not_protect_the_others(make):
    log = make(Retention(file_bytes=50))
    for _ in range(3):
        log.append([event()], [b"A"])
    second = log.folder / files(log)[1]
    second.unlink()
    second.mkdir()  # reading it is an error for every user
    with pytest.raises(StorageError):
        log.erase("Ada")
    assert log.thumbnail(1) is None is log.thumbnail(3)
    assert b"Ada" not in b"".join(path.read_bytes() for path in log.folder.glob("*.jsonl") if path.is_file())


# -- old events of unknown people -------------------------------------------------------------------------------------


def test_deleted_events_leave_no_placeholder_and_no_id_is_given_again(make):
    now = [clock()]
    log = make(Retention(unknown_days=1), now=lambda: now[0])
    log.append([event("unknown", None, time=iso(now[0]))], [b"A"])
    now[0] += 2 * DAY
    log.purge()
    assert log.latest(None, 9) == log.read(0, 9) == read_all(log.folder) == [] and log.scan(0, 9)[1] == 1
    log.close()
    log = make(Retention(unknown_days=1), now=lambda: now[0])
    assert log.last == 1 and log.append([event()]) == 2 and log.thumbnail(1) is None


def test_placeholders_of_earlier_versions_are_not_read(make):
    log = make()
    log.close()
    line = {"id": 7, "kind": "purged", "camera": "door", "time": TIME, "subject": None}
    (log.folder / "000000000007.jsonl").write_text(json.dumps(line) + "\n")
    log = make()
    assert log.last == 7 and log.latest(None, 9) == read_all(log.folder) == [] and log.get(7) is None
    assert log.erase("Ada") == 0 == log.counts["damaged"] and log.append([event()]) == 8


def test_files_without_anything_to_delete_are_not_read_each_minute(make):
    now = [clock()]
    log = make(Retention(unknown_days=2, file_bytes=50), now=lambda: now[0])
    log.append([event(time=iso(now[0]))])
    log.append([event("unknown", None, time=iso(now[0]))])
    log.append([event(time=iso(now[0]))])
    log.purge()
    files_then = {path: path.read_bytes() for path in sorted(log.folder.glob("*.jsonl"))[:2]}
    for path in files_then:
        path.unlink()
        path.mkdir()  # reading it is an error: then nothing would be deleted
    now[0] += DAY
    log.append([event("unknown", None, time=iso(now[0]))])
    log.purge()
    for path, data in files_then.items():
        path.rmdir()
        path.write_bytes(data)
    now[0] += 1.5 * DAY
    log.purge()
    assert ids(log.read(0, 9)) == [1, 3, 4]
    now[0] += DAY
    log.purge()
    assert ids(read_all(log.folder)) == [1, 3] and log.last == 4


def test_a_wrong_name_is_corrected_in_the_events_of_one_stay(make):
    log = make()
    later = "2026-11-21T12:00:00.000Z"
    log.append([event(since=TIME), event("left", since=TIME, appearance=1), event(camera="yard"), event("unknown", None)])
    log.append([event(time=later), event(subject="Bea")])
    begin = seconds(TIME)
    assert log.correct("door", begin, begin + 60, "Ada", "Bea") == 2
    assert [each["subject"] for each in log.read(0, 10)] == ["Bea", "Bea", "Ada", None, "Ada", "Bea"]
    assert log.correct("yard", begin + 1, begin + 1, "Ada", None) == 1 and log.get(3)["subject"] is None
    assert [each["subject"] for each in read_all(log.folder)] == ["Bea", "Bea", None, None, "Ada", "Bea"]
    assert EventLog(log.folder).correct("door", begin, begin, "Bea", "Cleo") == 0  # another process writes
