"""Erasing people through the service: under every name that they had, whatever is damaged, and always noted."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import Iterator

import pytest

import recognizer
from recognizer.core.errors import StorageError
from recognizer.core.vault import Vault, new_key
from recognizer.events.event_log import EventLog

TIME = "2026-11-21T10:00:00.000Z"
KEY = new_key()


def event(subject: str | None, kind: str = "appeared", **more) -> dict:
    return {"id": 0, "kind": kind, "camera": "door", "time": TIME, "subject": subject, "thumbnail": None, **more}


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def people(request, tmp_path, models_dir) -> Iterator[recognizer.People]:
    key = {} if request.param is None else {"encryption_key": base64.b64encode(request.param).decode()}
    folders = {"state_dir": tmp_path / "state", "models_dir": models_dir}
    with recognizer.open(tmp_path / "known", embedder="sface", workers=1, **folders, **key) as opened:
        opened.vault = None if request.param is None else Vault([request.param])
        yield opened


def happened(people, tmp_path, *events: dict) -> None:
    log = EventLog(tmp_path / "state" / "events", vault=people.vault)
    log.append(list(events), [b"\xff\xd8 a face"] * len(events))
    log.close()


def actions(people) -> list[str]:
    return [line["action"] for line in people.service.audit.lines()]


def named(people, tmp_path) -> bool:
    """Whether her name is on the disk in plain text; what is encrypted may contain any three letters by chance."""
    files = (path for path in (tmp_path / "state" / "events").rglob("*") if path.is_file())
    return people.vault is None and b"Ada" in b"".join(path.read_bytes() for path in files)


def test_events_follow_every_new_name(people, photos, tmp_path):
    people.enroll("Ada", photos["astronaut.png"])
    happened(people, tmp_path, event("Ada"), event("Ada", "left", appearance=1), event(None, "unknown"))
    people.rename("Ada", "Ada King")
    people.rename("Ada King", "Ada Lovelace")
    people.service.subjects.export("Ada Lovelace", tmp_path / "ada.zip")
    with zipfile.ZipFile(tmp_path / "ada.zip") as archive:
        assert [each["subject"] for each in json.loads(archive.read("events.json"))] == ["Ada Lovelace"] * 2
        assert "events/1.jpg" in archive.namelist()
    done = people.service.subjects.delete("Ada Lovelace")
    assert not any(done["left"].values())
    log = EventLog(tmp_path / "state" / "events", vault=people.vault)
    assert [each["subject"] for each in log.read(0, 9)] == [None] * 3
    assert [number for number in (1, 2, 3) if log.thumbnail(number)] == [3]
    log.close()
    assert not named(people, tmp_path)


def test_events_of_both_names_are_erased_after_a_merge(people, photos, tmp_path):
    people.enroll("Ada", photos["astronaut.png"])
    people.enroll("Bob", photos["biden.jpg"])
    happened(people, tmp_path, event("Ada"), event("Bob"))
    people.service.subjects.rename("Bob", "Ada", merge=True)
    assert len(people.service.events.find("Ada")) == 2
    assert not any(people.service.subjects.delete("Ada")["left"].values())
    assert people.service.events.find("Ada") == people.service.events.find("Bob") == []


def damage(people, tmp_path, number: int) -> None:
    """Damage a line as a bad disk would: encrypted, its last byte changes; plain, it is cut."""
    (file,) = (tmp_path / "state" / "events").glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    if people.vault is None:
        lines[number] = lines[number][: len(lines[number]) // 2] + b"\n"
    else:
        line = json.loads(lines[number])
        sealed = bytearray(base64.b64decode(line["sealed"]))
        sealed[-1] ^= 1
        lines[number] = json.dumps({**line, "sealed": base64.b64encode(bytes(sealed)).decode()}).encode() + b"\n"
    file.write_bytes(b"".join(lines))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_damaged_line_does_not_stop_an_erasure(people, photos, tmp_path, number):
    people.enroll("Ada", photos["astronaut.png"])
    happened(people, tmp_path, event("Ada"), event("Bob"), event("Ada", "left", appearance=1))
    damage(people, tmp_path, number)
    done = people.service.subjects.delete("Ada")
    assert not any(done["left"].values()) and actions(people)[-1] == "delete"
    assert not named(people, tmp_path)
    pictures = {path.name for path in (tmp_path / "state" / "events").rglob("*.jpg")}
    assert pictures == ({"2.jpg"} if number != 1 else set())


@pytest.mark.slow
def test_an_erasure_that_fails_in_the_events_is_finished_later(people, photos, tmp_path):
    people.enroll("Ada", photos["astronaut.png"])
    happened(people, tmp_path, event("Ada"))
    (file,) = (tmp_path / "state" / "events").glob("*.jsonl")
    blocked = file.with_suffix(".part")
    blocked.mkdir()  # nothing can be written in its place
    with pytest.raises(StorageError):
        people.service.subjects.delete("Ada")
    assert people.names() == [] and actions(people) == ["enroll", "delete"]
    blocked.rmdir()
    assert people.service.erasures.finish() == 1
    assert actions(people) == ["enroll", "delete", "delete_finished"] and not named(people, tmp_path)
