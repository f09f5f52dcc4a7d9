"""The past of the cameras: visits that are kept if a setting says so, who is found in them, and the report of presence."""

from __future__ import annotations

import sqlite3
from datetime import datetime

import numpy as np
import pytest

from recognizer.core.errors import EventNotFound, KeyMissing, SightingsOff, StorageError
from recognizer.core.settings import Settings
from recognizer.core.times import iso_time
from recognizer.core.types import Box, Face, Match
from recognizer.core.vault import Vault, new_key
from recognizer.enrolment.examination import EnrolmentRules
from recognizer.events.presence import as_csv, presence
from recognizer.events.visit_file import VISITS_FILE, KeptVisit, VisitFile
from recognizer.events.visit_shots import SeenVisit, VisitShots
from recognizer.photos import images
from recognizer.photos.quality import Quality
from recognizer.photos.results import SeenFace
from recognizer.service import make_service
from recognizer.service.face_storage import FaceStorage
from recognizer.service.matcher import Identification
from recognizer.service.visit_service import KeptVisits
from recognizer.strangers.model import StrangerShot
from recognizer.video.frames import Frame, FrameResult, TrackedFace

#: For what does without faces.
NOBODY = Identification(None, None, None, EnrolmentRules())


class Door:
    id = "door"


def result(
    now: float, subject: str | None = "Ada", track: int = 1, size: float = 60, ended=(), match: bool = True
) -> FrameResult:
    box = Box(10, 10, 10 + size, 10 + size)
    quality = Quality(size, 0.2, 0, 0, 0, 0, 120, 50, 0, 0.95)
    found = Match(subject, 0.5 if subject else 1.5, 1.2) if match else None
    face = Face(box, 0.95, np.zeros((5, 2), np.float32), "yunet5")
    tracked = TrackedFace(track, SeenFace(face, match=found, quality=quality), True, 1000.0)
    return FrameResult(
        Frame(np.zeros((120, 160, 3), np.uint8), 0, 1000 + now, now), (tracked,) if not ended else (), ended=ended
    )


def test_a_visit_is_offered_once_and_again_with_a_name_or_a_better_picture():
    seen: list[SeenVisit] = []
    shots = VisitShots(lambda visit: not seen.append(visit), unknown=True)
    shots(Door(), result(0.0, None))
    assert not seen
    shots(Door(), result(1.0, None))
    shots(Door(), result(2.0, None))
    assert [(each.id, each.subject, each.shot is not None) for each in seen] == [("door/1/1000.000", None, True)]
    shots(Door(), result(3.0, "Ada"))
    assert (seen[1].subject, seen[1].shot, seen[1].last) == ("Ada", None, 1003.0)
    shots(Door(), result(4.0, "Ada", ended=(1,)))
    assert len(seen) == 3 and not shots._tracks


def test_only_known_people_are_offered_where_that_is_set_and_only_those_who_were_compared():
    seen: list[SeenVisit] = []
    shots = VisitShots(lambda visit: not seen.append(visit), unknown=False)
    for now in (0.0, 1.0, 2.0):
        shots(Door(), result(now, None))
        shots(Door(), result(now, None, track=2, match=False))
    shots.stopped(Door())
    assert not seen and not shots._tracks


@pytest.mark.parametrize("is_followed", [True, False], ids=["still there", "waiting"])
def test_visits_that_are_not_stored_yet_follow_an_erasure_and_a_renaming(tmp_path, is_followed):
    clock = [1000.0]
    enrolled = {"Eve", "Mia", "Ada"}
    visits = KeptVisits(FaceStorage(tmp_path, "all", lambda: 1e9), NOBODY, enrolled.__contains__, lambda: clock[0])
    began = [SeenVisit(f"door/{each}", "door", 990.0, 999.0, each, None) for each in ("Ada", "Bob", "Eve", "Gus")]
    shown = StrangerShot(np.zeros((8, 8, 3), np.uint8), 999.0, 0.5)
    began.append(SeenVisit("door/?", "door", 990.0, 999.0, None, shown))  # perhaps the one who is erased
    if not is_followed:
        assert all(map(visits.offer, began))
        assert visits.waiting("Ada") == 1
    visits.rename("Bob", "Zoe")
    clock[0] = 1001.0
    visits.rename("Zoe", "Mia")
    visits.erase("Ada", np.zeros((0, 2), np.float32))
    assert visits.waiting("Ada") == visits.waiting("Bob") == 0
    if is_followed:
        assert all(map(visits.offer, began))  # True, so that the picture is not held until there is room
    clock[0] = 1010.0
    assert visits.offer(SeenVisit("door/new", "door", 1005.0, 1009.0, "Ada", None))  # another one of the name
    visits.start()
    visits.close()
    file = VisitFile(tmp_path / VISITS_FILE)
    # nobody knows a "Gus" any more: another process erased him
    assert {(each.id, each.subject) for each in file.find()} == {("door/Bob", "Mia"), ("door/Eve", "Eve"), ("door/new", "Ada")}
    file.close()


def test_visits_are_kept_from_when_the_file_can_be_opened(tmp_path):
    (tmp_path / VISITS_FILE).mkdir()
    visits = KeptVisits(FaceStorage(tmp_path, "all", lambda: 1e9), NOBODY)
    with pytest.raises(StorageError):
        visits.start()
    (tmp_path / VISITS_FILE).rmdir()
    assert visits.offer(SeenVisit("door/1", "door", 990.0, 999.0, "Ada", None))
    visits.close()
    assert [each.id for each in visits.file.find()] == ["door/1"]
    visits.file.close()


def test_visits_that_have_expired_go_also_where_none_are_kept_any_more(tmp_path):
    def put(id_: str) -> None:
        file = VisitFile(tmp_path / VISITS_FILE)
        file.put(KeptVisit(0, id_, "door", 1e9, 1e9 + 5, "Ada", 0.5, None), None)
        file.close()

    put("one")
    visits = KeptVisits(FaceStorage(tmp_path, "off", lambda: 1.0), NOBODY)
    visits.start()
    assert visits.file.find() == []
    put("two")  # as if it had expired while the server runs
    visits.purge_if_off()
    assert visits.file.find() == []
    visits.file.close()


def test_a_correction_outlasts_the_visit_that_goes_on(tmp_path):
    clock = [1000.0]
    visits = KeptVisits(FaceStorage(tmp_path, "all", lambda: 1e9), NOBODY, {"Ada", "Bob"}.__contains__, lambda: clock[0])

    def going_on(until: float) -> list[tuple[str | None, float]]:
        for each in ("one", "two"):
            visits.take(SeenVisit(each, "door" if each == "one" else "yard", 990.0, until, "Ada", None))
        return [(each.subject, each.last) for each in visits.file.find()]

    assert going_on(999.0) == [("Ada", 999.0)] * 2
    visits.name(1, "Cleo")  # nobody is enrolled by this name
    visits.name(2, None)
    assert going_on(1010.0) == [("Cleo", 1010.0), (None, 1010.0)]
    clock[0] = 1020.0
    visits.rename("Cleo", "Zoe")
    assert going_on(1030.0) == [("Zoe", 1030.0), (None, 1030.0)]
    clock[0] = 1040.0
    visits.file.erase([1])
    visits._note_changed("Zoe", None)
    assert going_on(1050.0) == [(None, 1050.0)]
    visits.close()


def visit(id_: str, subject: str | None, at: float, vector=(1.0, 0.0), quality: float = 0.5, camera: str = "door") -> KeptVisit:
    return KeptVisit(0, id_, camera, at, at + 5, subject, quality, np.array(vector, np.float32))


@pytest.mark.parametrize("vault", [None, Vault([new_key()])], ids=["plain", "encrypted"])
def test_visits_are_stored_joined_and_erased(tmp_path, vault):
    file = VisitFile(tmp_path / VISITS_FILE, vault)
    file.put(visit("a", None, 100.0), b"PICTURE ONE")
    file.put(visit("a", "Ada Zebulon", 100.0, quality=0.4), b"WORSE")
    file.put(visit("b", "Ada Zebulon", 140.0, quality=0.6), b"BETTER")  # seen again soon: the same visit
    file.put(visit("c", "Ada Zebulon", 400.0), b"PICTURE TWO")
    first, second = file.find()
    assert (first.id, first.subject, first.first, first.last, first.quality) == ("a", "Ada Zebulon", 100.0, 145.0, 0.6)
    assert file.picture(first.number) == b"BETTER" and second.id == "c"
    data = b"".join(path.read_bytes() for path in tmp_path.glob("visits.sqlite*"))
    assert (b"Zebulon" in data) is (b"PICTURE TWO" in data) is (vault is None)
    file.rename("Ada Zebulon", "Eve")
    assert len(file.of_subject("Eve")) == 2 and not file.of_subject("Ada Zebulon")
    file.erase([second.number])
    assert file.purge(50) == 0 and file.purge(1000) == 1 and file.count() == 0
    data = b"".join(path.read_bytes() for path in tmp_path.glob("visits.sqlite*"))
    assert b"PICTURE" not in data and b"Eve" not in data and b"BETTER" not in data
    file.close()


def test_visits_are_encrypted_anew_and_decrypted(tmp_path):
    path, one, two = tmp_path / VISITS_FILE, new_key(), new_key()
    for vault in (None, Vault([one]), Vault([two, one])):
        file = VisitFile(path, vault)
        if vault is None:
            file.put(visit("a", "Ada", 100.0), b"PICTURE")
        (held,) = file.of_subject("Ada")
        assert np.array_equal(held.vector, [1, 0]) and file.picture(held.number) == b"PICTURE"
        file.close()
    with pytest.raises(KeyMissing):
        VisitFile(path, Vault([one]))
    file = VisitFile(path, Vault([two]))
    file.decrypt()
    file.close()
    file = VisitFile(path)
    assert file.of_subject("Ada") and sqlite3.connect(path).execute("SELECT subject FROM visits").fetchall() == [("Ada",)]
    file.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory, models_dir, photos):
    root = tmp_path_factory.mktemp("visits")
    made = make_service(
        Settings(known_faces=root / "known", state_dir=root / "state", models_dir=models_dir, sightings="all", watch=False)
    )
    made.start()
    for name, photo in (("a", "obama.jpg"), ("b", "biden.jpg"), ("c", "obama2.jpg")):
        pixels = images.resize(images.decode(photos[photo].read_bytes()).pixels, 400)
        at = {"a": 1000.0, "b": 2000.0, "c": 3000.0}[name]
        made.visits.take(SeenVisit(name, "door", at, at + 10, None, StrangerShot(pixels, at, 0.5)))
    yield made
    made.close()


def found(service, probes, subject=None, **more) -> list[str]:
    return [each.id for each, _ in service.visits.search(probes, subject, **more)]


@pytest.mark.slow
def test_the_past_is_searched_named_corrected_and_erased(service, photos, tmp_path):
    obama3 = images.encode_jpeg(images.resize(images.decode(photos["obama3.jpg"].read_bytes()).pixels, 500))
    seen = service.recognition.describe(obama3)
    probes = seen.faces[0].embedding[None]
    assert found(service, probes) == ["c", "a"]  # the latest first
    assert found(service, probes, until=1500.0) == ["a"] and found(service, probes, camera="yard") == []
    service.subjects.enrol("Barack Obama", obama3)
    assert service.visits.name_unknown("Barack Obama", ["b"], probes) == 3  # by the visit's id, and by the face
    assert found(service, np.empty((0, 0), np.float32), "Barack Obama") == ["c", "b", "a"]
    wrong = next(each for each in service.visits.file.find() if each.id == "b")
    assert service.visits.name(wrong.number, None).subject is None
    with pytest.raises(EventNotFound):
        service.visits.name(999, "Ada")
    counts = service.subjects.export("Barack Obama", tmp_path / "export.zip")
    assert counts["visits"] == counts["visit_pictures"] == 2
    service.subjects.rename("Barack Obama", "B. Obama")
    assert len(service.visits.file.of_subject("B. Obama")) == 2
    done = service.subjects.delete("B. Obama")
    assert done["left"]["visits"] == 0 and [each.id for each in service.visits.file.find()] == ["b"]
    service.visits.purge()
    assert service.visits.file.count() == 0  # it was in 1970
    service.visits.kept = "off"
    with pytest.raises(SightingsOff):
        service.visits.search(probes)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def event(number: int, kind: str, subject: str | None, time: str, **more) -> dict:
    return {"id": number, "kind": kind, "camera": "door", "subject": subject, "time": iso_time(at(time)), **more}


def test_presence_by_person_and_day():
    events = [
        event(1, "appeared", "Ada", "2026-11-30T08:00:00"),
        event(2, "unknown", None, "2026-11-30T08:00:10"),
        event(3, "appeared", "Ada", "2026-11-30T08:00:30", camera="yard"),
        event(4, "left", "Ada", "2026-11-30T08:01:00", appearance=1, seconds=60.0),
        event(5, "left", "Ada", "2026-11-30T08:01:30", appearance=3, seconds=60.0),
        event(6, "appeared", "=Bob", "2026-11-30T23:50:00"),
        event(7, "left", "=Bob", "2026-12-01T00:10:00", appearance=6, seconds=1200.0),
        event(8, "left", "Ada", "2026-11-30T12:00:00", appearance=99, seconds=30.0, since=iso_time(at("2026-11-30T11:59:30"))),
        event(9, "appeared", "Ada", "2026-12-01T09:00:00"),
    ]
    days = presence(events, at("2026-12-01T09:00:20"))
    assert [(each.day, each.subject, each.first[11:], each.last[11:], each.seconds, each.visits) for each in days] == [
        ("2026-11-30", "=Bob", "23:50:00", "00:00:00", 600.0, 1),
        ("2026-11-30", "Ada", "08:00:00", "12:00:00", 120.0, 2),
        ("2026-12-01", "=Bob", "00:00:00", "00:10:00", 600.0, 1),
        ("2026-12-01", "Ada", "09:00:00", "09:00:20", 20.0, 1),
    ]
    assert [each.day for each in presence(events, at("2026-12-01T10:00:00"), since="2026-12-01")] == ["2026-12-01"] * 2
    lines = as_csv(days).splitlines()
    assert lines[0] == "day,subject,first,last,seconds,visits" and lines[1].startswith("2026-11-30,'=Bob,2026-11-30T23:50:00,")
