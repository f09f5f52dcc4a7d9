"""Photos that are dropped beside the photos of nodes: enrolled once, by one node, listed if they cannot be used, erased."""

from __future__ import annotations

import os
from contextlib import closing, nullcontext
from types import SimpleNamespace

import pytest

from recognizer.core.consent import Consent
from recognizer.core.errors import NoFace, StorageError
from recognizer.core.holdings import Whose
from recognizer.database.connection import DROPPED, Database
from recognizer.enrolment.encodings import photo_id
from recognizer.enrolment.photo_store import FolderPhotos
from recognizer.service import make_service
from recognizer.service.dropped_photos import DroppedHolding, DroppedPhotos, place_of

from .nodes import UP, Node, encoding
from .services import quick_settings

pytestmark = pytest.mark.network


def drop(stored, path: str, data: bytes):
    """Put a file below `people` that was completely written long ago."""
    file = stored / "people" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (1_000_000_000, 1_000_000_000 + len(data)))
    return file


def waiting(stored) -> list[str]:
    root = stored / "people"
    return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


@pytest.fixture
def stored(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def node(database_url, stored):
    with closing(Node(database_url, stored, "one").enrolment) as enrolment:
        yield enrolment


def dropped(node, stored, tried: list) -> DroppedPhotos:
    """What looks for dropped photos, with an engine that finds a face on all photos but those without one."""

    def enrol(subject, photo, *, face, force, alike, confirm):
        tried.append((subject, photo, face))
        if photo == b"none":
            raise NoFace("no face")
        confirm()
        node.add(subject, photo, "jpg", encoding(photo, UP))

    def set_consent(subject, note, expires):
        node.set_consent(subject, node.consent(subject).changed(note, expires))

    subjects = SimpleNamespace(enrol=enrol, set_consent=set_consent, changing=lambda name: nullcontext())
    group = SimpleNamespace(enrolment=node, subjects=subjects)
    return DroppedPhotos(node, SimpleNamespace(get=lambda name: group), FolderPhotos(stored), 100, 3600)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Ann/1.jpg", (None, "Ann", "1.jpg")),
        (".groups/staff/Ann/1.jpg", ("staff", "Ann", "1.jpg")),
        ("1.jpg", None),
        ("Ann/more/1.jpg", None),
        ("Ann/.consent.json", (None, "Ann", ".consent.json")),
        (".groups/staff/Ann/.consent.json", ("staff", "Ann", ".consent.json")),
        (".consent.json", None),
        ("Ann/.other.json", None),
        (".hidden/1.jpg", None),
        (".groups/staff/1.jpg", None),
    ],
)
def test_whose_photo_a_path_says(path, found):
    place = place_of(path)
    assert (None if place is None else (place.group, place.person, place.name)) == found


def test_a_dropped_photo_is_enrolled_once_and_one_that_cannot_be_used_is_listed(node, stored):
    tried: list = []
    looking = dropped(node, stored, tried)
    drop(stored, "Ann/1.largest.jpg", b"first")
    bad = drop(stored, "Ann/2.jpg", b"none")
    drop(stored, "Bob/large.jpg", b"x" * 101)
    drop(stored, "loose.jpg", b"loose")
    assert looking.look() == 1 and looking.look() == 0
    assert tried == [("Ann", b"first", "largest"), ("Ann", b"none", "only")]  # each once
    assert node.read(f"Ann/{photo_id(b'first')}.jpg", 99) == b"first"
    assert waiting(stored) == ["Ann/2.jpg", "Bob/large.jpg", "loose.jpg"]
    assert [(each.subject, each.path, each.code) for each in node.problems()] == [
        ("Ann", "Ann/2.jpg", "no_face"),
        ("Bob", "Bob/large.jpg", "image_too_large"),
    ]
    assert node.problem_count == 2
    drop(stored, "Ann/2.jpg", b"second")  # replaced
    (stored / "people" / "Bob" / "large.jpg").unlink()
    assert looking.look() == 1 and node.problems() == [] and node.problem_count == 0 and not bad.exists()


def test_one_node_looks_at_a_time(node, stored, database_url):
    tried: list = []
    looking = dropped(node, stored, tried)
    drop(stored, "Ann/1.jpg", b"first")
    with closing(Database(database_url)) as database, database.connect() as other:
        other.execute("select pg_advisory_lock(%s)", [DROPPED])
        assert looking.look() == 0 and tried == []
    assert looking.look() == 1


def test_a_file_that_is_still_being_written_waits_and_one_that_is_gone_is_nobody(node, stored):
    tried: list = []
    looking = dropped(node, stored, tried)
    file = drop(stored, "Ann/1.jpg", b"first")
    os.utime(file)  # now
    assert looking.look() == 0 and tried == []
    os.utime(file, (1_000_000_000, 1_000_000_000))
    looking._store.read_dropped = lambda path: file.read_bytes() if not file.unlink() else b""
    assert looking.look() == 0 and node.problems() == []


def test_whoever_is_erased_or_renamed_is_so_in_what_was_dropped(node, stored):
    looking = dropped(node, stored, [])
    node.add("Ann", b"first", "jpg", encoding(b"first", UP))
    drop(stored, "Ann/2.jpg", b"none")
    drop(stored, "Ann /3.jpg", b"first")  # read as Ann
    drop(stored, "Bob/4.jpg", b"none")
    looking.look()
    holding = DroppedHolding(node, FolderPhotos(stored))
    assert holding.find(Whose("Ann")) == 1 and holding.verify(Whose("Ann")) == {"files": 1}
    assert [(each.path, each.data) for each in holding.export(Whose("Ann"))] == [("dropped/2.jpg", b"none")]
    holding.rename("Ann", "Anna")
    assert waiting(stored) == ["Anna/2.jpg", "Bob/4.jpg"] and holding.find(Whose("Ann")) == 0
    looking.look()
    holding.erase(Whose("Anna", again=True))  # somebody else by now
    assert holding.find(Whose("Anna")) == 1
    holding.erase(Whose("Anna"))
    assert waiting(stored) == ["Bob/4.jpg"] and holding.verify(Whose("Anna")) == {"files": 0}
    assert [each.subject for each in node.problems()] == ["Bob"] and holding.find(Whose("Anna")) == 0


def test_a_note_of_consent_is_stored_with_the_photos_of_its_person(node, stored):
    looking = dropped(node, stored, [])
    drop(stored, "Ann/.consent.json", b'{"consent": "signed", "expires": "2999-01-01"}')
    drop(stored, "Bob/.consent.json", b'{"consent": "signed"}')
    assert looking.look() == 0 and len(waiting(stored)) == 2 and not node.problems()  # nobody is there yet
    drop(stored, "Ann/1.jpg", b"first")
    assert looking.look() == 1 and waiting(stored) == ["Bob/.consent.json"]
    assert node.consent("Ann") == Consent("signed", "2999-01-01")
    drop(stored, "Ann/.consent.json", b'{"expires": "2998-01-01"}')  # instead of what was agreed before
    looking.look()
    assert node.consent("Ann") == Consent(None, "2998-01-01")
    drop(stored, "Ann/.consent.json", b'{"expires": "some day"}')
    looking.look()
    (problem,) = node.problems()
    assert (problem.subject, problem.path, problem.code) == ("Ann", "Ann/.consent.json", "consent_unreadable")
    assert "some day" in problem.message and node.consent("Ann") == Consent(None, "2998-01-01")
    drop(stored, "Ann/.consent.json", b'{"expiry": "2027-01-01"}')
    looking.look()
    assert "neither" in node.problems()[0].message and node.consent("Ann") == Consent(None, "2998-01-01")
    holding = DroppedHolding(node, FolderPhotos(stored))
    assert [each.path for each in holding.export(Whose("Bob"))] == ["dropped/.consent.json"]
    holding.erase(Whose("Bob"))
    holding.erase(Whose("Ann"))
    assert waiting(stored) == [] and node.problems() == []


def test_a_store_that_fails_loses_nothing(node, stored):
    tried: list = []
    looking = dropped(node, stored, tried)
    drop(stored, "Ann/1.jpg", b"first")

    def fail(file, changed=False):
        raise StorageError("the bucket is away")

    looking._store.remove_dropped, real = fail, looking._store.remove_dropped
    with pytest.raises(StorageError):
        looking.look()
    looking._store.remove_dropped = real
    assert node.is_enrolled("Ann") and looking.look() == 1 and waiting(stored) == []
    assert len(node.entries("Ann")) == 1


@pytest.mark.slow
def test_a_node_names_who_was_dropped_also_in_a_group(database_url, stored, tmp_path, models_dir, photos):
    settings = quick_settings(tmp_path, models_dir, database_url=database_url, photos=str(stored))
    service = make_service(settings)
    try:
        service.start()
        drop(stored, "Joe/1.jpg", photos["biden.jpg"].read_bytes())
        drop(stored, ".groups/staff/Joe/1.jpg", photos["biden.jpg"].read_bytes())
        drop(stored, ".groups/staff/con/1.jpg", photos["biden.jpg"].read_bytes())
        looking = DroppedPhotos(service.enrolment, service.groups, service.enrolment.photos.store, 10_000_000, 3600)
        assert looking.look() == 2 and waiting(stored) == [".groups/staff/con/1.jpg"]
        staff = service.groups.get("staff")
        assert [each.name for each in service.subjects.all()] == [each.name for each in staff.subjects.all()] == ["Joe"]
        assert [each.code for each in staff.subjects.problems()] == ["invalid_name"] and service.subjects.problems() == []
        actors = {line["actor"] for line in service.audit_page(action="enroll")["lines"]}
        assert actors == {"dropped"}
    finally:
        service.close()
