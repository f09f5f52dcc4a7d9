"""Erasure and renaming walk every holding; what cannot be done at once is reported, and finished later."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest

from recognizer.core.audit import AuditLog
from recognizer.core.errors import StorageError, SubjectNotFound
from recognizer.core.holdings import ExportedFile, Holdings, Whose
from recognizer.core.settings import Settings
from recognizer.core.unfinished import Unfinished
from recognizer.enrolment import folder
from recognizer.enrolment.examination import EnrolmentRules, examine
from recognizer.events.event_log import EventLog
from recognizer.service import make_service
from recognizer.strangers.model import Bounds, Fresh, Sighting
from recognizer.strangers.store import Strangers

from .e2e.homes import event

PICTURE = b"\xff\xd8\xff\xe0 a picture of her \xff\xd9"


class Shelf:
    """A holding of the tests: keeps names in a list, and fails while `broken`."""

    def __init__(self, label: str, *names: str):
        self.label, self.names, self.broken = label, list(names), False

    def _work(self) -> None:
        if self.broken:
            raise StorageError("the shelf is stuck")

    def find(self, whose: Whose) -> int:
        return self.names.count(whose.name)

    def export(self, whose: Whose):
        yield ExportedFile(f"{self.label}.txt", b"x", self.label, self.find(whose))

    def rename(self, old: str, new: str) -> None:
        self._work()
        self.names = [new if name == old else name for name in self.names]

    def erase(self, whose: Whose) -> None:
        self._work()
        self.names = [name for name in self.names if name != whose.name]

    def verify(self, whose: Whose) -> dict[str, int]:
        return {"books": self.find(whose)}


def test_a_holding_that_fails_does_not_keep_the_others_from_their_work():
    one, two, three = shelves = [Shelf("one", "Ada"), Shelf("two", "Ada", "Bob"), Shelf("three", "Ada", "Ada")]
    two.broken = True
    holdings = Holdings(shelves)
    outcome = holdings.erase(Whose("Ada"))
    assert (one.names, two.names, three.names) == ([], ["Ada", "Bob"], [])
    assert outcome.left == {"books": 1} and outcome.failed == {"two": "the shelf is stuck"} and not outcome.complete
    assert holdings.rename("Bob", "Rob") == {"two": "the shelf is stuck"}
    two.broken = False
    assert holdings.erase(Whose("Ada")).complete and two.names == ["Bob"]


def test_labels_are_unique():
    with pytest.raises(ValueError, match="unique"):
        Holdings([Shelf("one"), Shelf("one")])


def test_unfinished_work_outlives_the_process_and_is_encrypted(tmp_path, vault):
    notes = Unfinished(tmp_path / "unfinished", vault)
    whose = Whose("Ada Zebulon", ("p1", "p2"), np.array([[0.5, 0.25], [1, 2]], np.float32))
    first = notes.begin(whose, about="s-1")
    second = notes.begin(Whose("Bob"), new_name="Rob")
    (file, _) = sorted((tmp_path / "unfinished").iterdir())
    assert (b"Ada Zebulon" in file.read_bytes()) is (vault is None) and file.stat().st_mode & 0o77 == 0
    read = Unfinished(tmp_path / "unfinished", vault)
    assert read.count() == 2
    one, two = read.all()
    assert (one.id, one.whose.name, one.whose.photos, one.about, one.whose.again) == (
        first.id,
        "Ada Zebulon",
        ("p1", "p2"),
        "s-1",
        True,
    )
    assert np.array_equal(one.whose.templates, whose.templates)
    assert (two.whose.name, two.new_name, len(two.whose.templates)) == ("Bob", "Rob", 0)
    read.end(one)
    assert [each.id for each in notes.all()] == [second.id]


def test_what_killed_processes_left_half_written_goes_with_the_next_erasure(tmp_path):
    """However young it is: the lock of the audit log, or of every write, is held, so nobody is writing it."""
    log, notes = AuditLog(tmp_path / "audit"), Unfinished(tmp_path / "unfinished")
    for name in ("Ada", "Bob"):
        log.append("enroll", name)
    work = notes.begin(Whose("Ada"))
    left = [tmp_path / folder / ".part-0123456789abcdef" for folder in ("audit", "unfinished")]
    for part in left:
        part.write_text('{"s-1": "Ada"}')
    log.forget("Ada")
    notes.end(work)
    assert not any(part.exists() for part in left)
    assert set(log.names().values()) == {"Bob"} and notes.all() == []


def test_work_that_cannot_be_noted_is_remembered(tmp_path):
    (tmp_path / "unfinished").write_text("a file where the folder should be")
    notes = Unfinished(tmp_path / "unfinished")
    work = notes.begin(Whose("Ada"))
    assert [each.whose.name for each in notes.all()] == ["Ada"] and notes.count() == 1
    notes.end(work)
    assert notes.count() == 0


def test_a_damaged_note_does_not_hide_the_others(tmp_path):
    notes = Unfinished(tmp_path)
    notes.begin(Whose("Ada"))
    (tmp_path / "00000000000000000001-aa.json").write_bytes(b"{ no note")
    assert [each.whose.name for each in notes.all()] == ["Ada"]


# --- in a real installation --------------------------------------------------------------------------------------------


@pytest.fixture
def settings(settings) -> Settings:
    return settings.replace(strangers="cameras")


def happened(service, *events: dict, pictures=None) -> None:
    log = EventLog(service.settings.state_dir / "events", vault=service.vault)
    log.append(list(events), list(pictures or [PICTURE] * len(events)))
    log.close()


def everything(folder) -> bytes:
    return b"\n".join(
        os.fsencode(file.name) + b"\n" + (file.read_bytes() if file.is_file() else b"") for file in sorted(folder.rglob("*"))
    )


def test_events_are_found_exported_and_erased_after_a_renaming(service, faces, tmp_path):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    happened(service, event(subject="Ada Zebulon"))
    service.subjects.rename("Ada Zebulon", "Ada Lovelace")
    assert b"Zebulon" not in everything(service.settings.state_dir / "events")
    counts = service.subjects.export("Ada Lovelace", tmp_path / "ada.zip")
    assert (counts["events"], counts["event_pictures"]) == (1, 1)
    done = service.subjects.delete("Ada Lovelace")
    assert set(done["left"]) == {
        *(
            "files",
            "templates",
            "bin",
            "cache_rows",
            "events",
            "present",
            "receivers",
            "waiting_pictures",
            "strangers",
            "visits",
            "archive",
            "jobs",
            "damaged_files",
            "rules",
            "names",
            "leftovers",
        )
    }
    assert not any(done["left"].values())
    held = everything(service.settings.state_dir)
    assert b"Zebulon" not in held and b"Lovelace" not in held and PICTURE not in held


def test_strangers_who_are_the_erased_person_are_erased_too(service, faces):
    def made_of(name: str) -> Fresh:
        found = examine(service.engine, faces[name], EnrolmentRules(), "largest")
        return Fresh(faces[name], found.encoding.vector, 1.0, 0.9)

    strangers = Strangers(
        service.settings.state_dir / "strangers", service.engine.info.id, lambda n: 1.0, Bounds(days=10**6), now=lambda: 2.0
    )
    strangers.keep(Sighting("v1", "door", 1.0, 1.0), [made_of("obama")])
    strangers.keep(Sighting("v2", "door", 1.0, 1.0), [made_of("biden")])
    service.subjects.enrol("Ada", faces["obama"])
    assert service.subjects.delete("Ada")["left"]["strangers"] == 0
    assert len(strangers.all()) == 1
    held = everything(service.settings.state_dir / "strangers")
    assert faces["obama"] not in held and faces["biden"] in held


def test_a_group_whose_changes_cannot_be_finished_does_not_keep_the_others_from_it(service, monkeypatch):
    finished = []
    group = service.groups.add("family")

    def fails() -> int:
        raise StorageError("the notes cannot be read")

    monkeypatch.setattr(service.groups.default.erasures, "finish", fails)
    monkeypatch.setattr(group.erasures, "finish", lambda: finished.append("family") or 1)
    with pytest.raises(StorageError, match="notes"):
        service.groups.finish()
    assert finished == ["family"]


def test_groups_whose_folder_may_not_be_looked_into_are_not_gone(service, faces, tmp_path, monkeypatch):
    service.groups.add("family").subjects.enrol("Ada", faces["obama"])
    kept = everything(service.settings.state_dir / "groups")
    monkeypatch.setattr(service.groups, "root", tmp_path / ("x" * 300))
    for ask in (service.groups.names, service.groups.follow, service.groups.erase_orphans):
        with pytest.raises(StorageError, match="the folder of groups cannot be used"):
            ask()
    assert everything(service.settings.state_dir / "groups") == kept and b"family" in kept


def damage(service):
    """Make the events unusable; returns what repairs them."""
    (file,) = (service.settings.state_dir / "events").glob("*.jsonl")
    aside = service.settings.state_dir.parent / "aside"
    file.rename(aside)
    file.mkdir()

    def repair() -> None:
        file.rmdir()
        aside.rename(file)

    return repair


def test_an_erasure_that_could_not_be_finished_says_so_and_is_finished_later(service, faces, settings):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    service.subjects.enrol("Bob", faces["biden"])
    happened(service, event(subject="Ada Zebulon"), event(subject="Bob"), pictures=[PICTURE, b"bob"])
    ada = service.audit.id_of("Ada Zebulon")
    repair = damage(service)
    with pytest.raises(StorageError) as raised:
        service.subjects.delete("Ada Zebulon")
    assert "events" in raised.value.details["failed"] and raised.value.details["left"]["files"] == 0
    assert service.erasures.pending == 1 and list(service.enrolment.subjects()) == ["Bob"]
    last = list(service.audit.lines())[-1]
    assert (last["action"], last["subject"]) == ("delete", ada) and "events" in last["details"]["unfinished"]
    assert service.erasures.finish() == 0  # the fault is still there
    repair()
    assert service.erasures.finish() == 1 and service.erasures.pending == 0
    assert [(line["action"], line["subject"]) for line in service.audit.lines()][-1] == ("delete_finished", ada)
    held = everything(settings.state_dir)
    assert b"Zebulon" not in held and PICTURE not in held and b"bob" in held
    assert service.audit.verify().problems == []


@pytest.mark.slow
def test_an_erasure_is_finished_by_the_next_process(service, faces, settings):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    happened(service, event(subject="Ada Zebulon"))
    repair = damage(service)
    with pytest.raises(StorageError):
        service.subjects.delete("Ada Zebulon")
    service.close()
    repair()
    after = make_service(settings)
    try:
        after.start()
        assert after.erasures.pending == 0 and b"Zebulon" not in everything(settings.state_dir)
    finally:
        after.close()


@pytest.mark.slow
def test_nobody_is_enrolled_under_a_name_whose_erasure_is_not_finished(service, faces):
    service.subjects.enrol("Ada", faces["obama"])
    happened(service, event(subject="Ada"))
    repair = damage(service)
    with pytest.raises(StorageError):
        service.subjects.delete("Ada")
    with pytest.raises(StorageError, match="not completely erased"):
        service.subjects.enrol("Ada", faces["biden"])
    repair()
    service.subjects.enrol("Ada", faces["biden"])
    assert service.erasures.pending == 0 and service.erasures.finish() == 0
    assert service.subjects.person("Ada").templates == 1


def test_photos_dropped_under_the_name_meanwhile_are_not_erased(service, faces, settings):
    service.subjects.enrol("Ada", faces["obama"])
    happened(service, event(subject="Ada"))
    repair = damage(service)
    with pytest.raises(StorageError):
        service.subjects.delete("Ada")
    (settings.known_faces / "Ada").mkdir()
    (settings.known_faces / "Ada" / "another.jpg").write_bytes(faces["biden"])
    service.enrolment.sync()
    repair()
    assert service.erasures.finish() == 1
    assert [entry.path for entry in service.enrolment.entries("Ada")] == ["Ada/another.jpg"]


def test_a_renaming_goes_on_in_the_events_later(service, faces):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    happened(service, event(subject="Ada Zebulon"))
    repair = damage(service)
    assert service.subjects.rename("Ada Zebulon", "Ada Lovelace").name == "Ada Lovelace"
    assert service.erasures.pending == 1
    repair()
    assert service.erasures.finish() == 1
    assert [each["subject"] for each in service.events.find("Ada Lovelace")] == ["Ada Lovelace"]


@pytest.fixture
def next_process(service, settings):
    """Makes the service that is started after the process of the first one was killed."""
    made = []

    def start():
        service.close()
        made.append(make_service(settings))
        made[0].start()
        return made[0]

    yield start
    for each in made:
        each.close()


@pytest.mark.slow
def test_a_renaming_is_finished_by_the_next_process(service, faces, settings, next_process):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    happened(service, event(subject="Ada Zebulon"))
    ada = service.audit.id_of("Ada Zebulon")
    Unfinished(settings.state_dir / "unfinished").begin(Whose("Ada Zebulon"), new_name="Ada Lovelace")
    service.enrolment.rename("Ada Zebulon", "Ada Lovelace")  # killed before the audit log and the events knew
    after = next_process()
    assert after.audit.names() == {ada: "Ada Lovelace"} and after.erasures.pending == 0
    assert [line["action"] for line in after.audit.about("Ada Lovelace")] == ["enroll", "rename"]
    assert [each["subject"] for each in after.events.find("Ada Lovelace")] == ["Ada Lovelace"]
    assert b"Zebulon" not in everything(settings.state_dir)


def test_a_renaming_that_had_not_happened_is_not_done_later(service, faces, settings, next_process):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    happened(service, event(subject="Ada Zebulon"))
    Unfinished(settings.state_dir / "unfinished").begin(Whose("Ada Zebulon"), new_name="Ada Lovelace")
    after = next_process()
    assert list(after.audit.names().values()) == ["Ada Zebulon"] == list(after.enrolment.subjects())
    assert after.erasures.pending == 0
    assert [each["subject"] for each in after.events.find("Ada Zebulon")] == ["Ada Zebulon"]


def test_erasing_a_last_photo_is_finished_by_the_next_process(service, faces, settings, next_process):
    photo = service.subjects.enrol("Ada Zebulon", faces["obama"]).encoding.photo
    Unfinished(settings.state_dir / "unfinished").begin(Whose("Ada Zebulon", (photo,)), only_photos=True)
    service.enrolment.remove_photo("Ada Zebulon", photo)
    folder = settings.known_faces / "Ada Zebulon"  # killed before the folder was removed and the audit log knew
    folder.mkdir()
    (folder / ".deleted-0123").write_bytes(faces["obama"])
    after = next_process()
    assert after.audit.names() == {} and after.erasures.pending == 0
    assert [line["action"] for line in after.audit.lines()] == ["enroll", "delete_photo"]
    assert b"Zebulon" not in everything(settings.state_dir) + everything(settings.known_faces)


@pytest.mark.slow
def test_a_last_photo_that_was_not_erased_stays(service, faces, settings, next_process):
    photo = service.subjects.enrol("Ada Zebulon", faces["obama"]).encoding.photo
    Unfinished(settings.state_dir / "unfinished").begin(Whose("Ada Zebulon", (photo,)), only_photos=True)
    after = next_process()
    assert list(after.audit.names().values()) == ["Ada Zebulon"] and after.erasures.pending == 0


@pytest.mark.slow
def test_changes_are_noted_before_anything_is_changed(service, faces, monkeypatch):
    noted = []

    def watched(change):
        def call(*values, **named):
            noted.append(service.erasures.pending)
            return change(*values, **named)

        return call

    for method in ("rename", "remove_photo"):
        monkeypatch.setattr(service.enrolment, method, watched(getattr(service.enrolment, method)))
    first = service.subjects.enrol("Ada", faces["obama"]).encoding.photo
    second = service.subjects.enrol("Ada", faces["obama"] + b" ").encoding.photo
    service.subjects.rename("Ada", "Eve")
    service.subjects.delete_photo("Eve", first)
    service.subjects.delete_photo("Eve", second)
    assert noted == [1, 0, 1] and service.erasures.pending == 0
    with pytest.raises(SubjectNotFound):
        service.subjects.rename("Ada", "Bob")
    with pytest.raises(SubjectNotFound):
        service.subjects.delete_photo("Ada", first)
    assert service.erasures.pending == 0


def test_somebody_renamed_and_erased_while_the_events_are_stuck_is_gone_in_the_end(service, faces, settings):
    service.subjects.enrol("Ada Zebulon", faces["obama"])
    happened(service, event(subject="Ada Zebulon"))
    repair = damage(service)
    service.subjects.rename("Ada Zebulon", "Ada Lovelace")
    with pytest.raises(StorageError):
        service.subjects.delete("Ada Lovelace")
    repair()
    assert service.erasures.finish() == 2
    held = everything(settings.state_dir)
    assert b"Zebulon" not in held and b"Lovelace" not in held and PICTURE not in held


@pytest.mark.slow
@pytest.mark.parametrize("damaged", [b"{ no names", b"", b'[1, {"a": null}]', b'{"s-1": null}', b"[" * 100_000, b"\xff\xfe"])
def test_damaged_names_of_the_audit_log_do_not_stop_an_erasure(service, faces, settings, damaged):
    service.subjects.enrol("Ada", faces["obama"])
    names = settings.state_dir / "audit" / "names.json"
    whole = names.read_bytes()
    names.write_bytes(damaged)
    with pytest.raises(StorageError) as raised:
        service.subjects.delete("Ada")
    assert raised.value.details["left"]["files"] == 0 and "audit names" in raised.value.details["failed"]
    names.write_bytes(whole)
    assert service.erasures.finish() == 1 and json.loads(names.read_bytes()) == {}


def test_who_is_unknown_cannot_be_erased(service):
    with pytest.raises(SubjectNotFound):
        service.subjects.delete("Nobody")
    assert service.erasures.pending == 0 and list(service.audit.lines()) == []


def test_while_the_photos_cannot_be_removed_nothing_is_erased(service, faces, settings, monkeypatch):
    service.subjects.enrol("Ada", faces["obama"])
    happened(service, event(subject="Ada"))
    before = everything(settings.state_dir / "events"), list(service.audit.lines())
    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        broken.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(StorageError, match="permission denied"):
            service.subjects.delete("Ada")
    assert list(service.enrolment.subjects()) == ["Ada"] and service.erasures.pending == 0
    assert (everything(settings.state_dir / "events"), list(service.audit.lines())) == before
    assert service.subjects.delete("Ada")["photos"] == 1


def test_every_folder_that_has_the_name_is_erased(service, faces, settings):
    """As where a copy came from a Mac, which writes accents as characters of their own."""
    service.subjects.enrol("J\u00fcrgen", faces["obama"])
    for name in ("Ju\u0308rgen", "J\u00fcrgen "):
        (settings.known_faces / name).mkdir()
        (settings.known_faces / name / "copy.jpg").write_bytes(faces["biden"])
    (settings.known_faces / "J\u00dcRGEN").mkdir()  # somebody else, on a disk that tells the two apart
    service.enrolment.sync()
    assert set(service.subjects.delete("J\u00fcrgen")["left"].values()) == {0}
    assert service.erasures.pending == 0 and [each.name for each in settings.known_faces.iterdir()] == ["J\u00dcRGEN"]


def test_what_is_left_of_a_deletion_that_was_cut_short_is_counted_until_it_is_gone(service, faces, settings, monkeypatch):
    service.subjects.enrol("Ada", faces["obama"])
    left = settings.known_faces / ".deleted-0123456789abcdef"
    left.mkdir()
    (left / "one.jpg").write_bytes(faces["obama"])
    with monkeypatch.context() as refusing:
        refusing.setattr(folder, "_remove", lambda place: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(StorageError, match="not everything") as refused:
            service.subjects.delete("Ada")
    assert refused.value.details["left"]["leftovers"] == 1 and service.erasures.pending == 1
    assert service.erasures.finish() == 1 and not left.exists() and service.erasures.pending == 0


def test_left_over_files_are_erased_but_none_that_may_still_be_written(service, faces, settings):
    state, now = settings.state_dir, time.time()
    ages = {".part-1": 700, ".part-2": 60, ".deleted-1/a.jpg": 700, ".backup-1/a.sqlite": 700, ".backup-2/a.sqlite": 90_000}
    for name, age in ages.items():
        (state / name).parent.mkdir(exist_ok=True)
        (state / name).write_bytes(PICTURE)
        for path in {state / name, state / name.split("/")[0]}:
            os.utime(path, (now - age, now - age))
    service.subjects.enrol("Ada", faces["obama"])
    assert service.subjects.delete("Ada")["left"]["leftovers"] == 0
    assert {name for name in ages if (state / name).exists()} == {".part-2", ".backup-1/a.sqlite"}
