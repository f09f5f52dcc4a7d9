"""What is stored about people besides photos, and deletions that can be undone, where nodes share a database."""

from __future__ import annotations

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.core.consent import Consent
from recognizer.core.errors import BinItemNotFound, NameTaken, PhotoNotFound, StorageError, SubjectNotFound
from recognizer.core.identity import Identity
from recognizer.core.particulars import Particulars, PhotoOrigin
from recognizer.enrolment.bin_store import PERSON_KIND, PHOTO_KIND
from recognizer.enrolment.bin_table import BinTable
from recognizer.enrolment.encodings import photo_id
from recognizer.service import make_service

from .e2e.homes import event
from .nodes import UP, Node
from .services import quick_settings, started
from .test_bin import (  # the same tests as for a folder; `home` is the one below
    furnished,
    names_on,
    test_a_deletion_that_cannot_be_recorded_does_not_happen,  # noqa: F401
    test_a_photo_comes_back_and_the_last_one_with_the_note_of_consent,  # noqa: F401
    test_a_photo_moves_to_somebody_else_with_its_file_name,  # noqa: F401
    test_after_a_week_nothing_is_left_not_even_the_name,  # noqa: F401
)
from .test_erasures import happened

pytestmark = pytest.mark.network
RIGHT = [0, 1, 0, 0]


# --- the table, without an engine ------------------------------------------------------------------------------------


def bin_of(node: Node, now: float = 1000.0) -> BinTable:
    return BinTable(node.enrolment, lambda: 7, now=lambda: now)


def stored(database) -> str:
    """All tables, as text; bytes as hexadecimal digits and as what they say."""
    tables = database.rows("select table_name from information_schema.tables where table_schema = 'public'")
    rows = [row[0] for (name,) in tables for row in database.rows(f"select t::text from {name} t")]
    binary = [bytes(value) for row in database.rows("select note, content from bin") for value in row]
    binary += [bytes(row[0]) for row in database.rows("select about from subject where about is not null")]
    return "\n".join(rows) + "\n".join(each.decode("latin-1") for each in binary)


def nothing() -> None:
    pass


def test_what_is_known_about_a_person_is_known_on_every_node(pair):
    one, two = (each.enrolment for each in pair)
    pair[0].enrol("Ada", b"photo", UP)
    about = Particulars(photo_id(b"photo"), ("office",), {photo_id(b"photo"): PhotoOrigin("beach.jpg")})
    assert one.change_particulars("Ada", lambda held: about) == about == two.particulars("Ada")
    two.set_consent("Ada", Consent("signed"))
    pair[0].enrol("Bob", b"other", RIGHT)
    assert one.about_all(["Ada", "Bob", "Eve"]) == {"Ada": (Consent("signed"), about), "Bob": (Consent(), Particulars())}
    two.rename("Ada", "Eve")
    assert one.particulars("Eve") == about and not one.particulars("Ada")
    one.change_particulars("Bob", lambda held: Particulars(tags=("guest",)))
    one.rename("Bob", "Eve", merge=True)
    assert two.particulars("Eve").tags == ("guest", "office") or two.particulars("Eve").tags == ("office", "guest")
    assert ("beach.jpg" in stored(one.database)) is (one.vault is None)
    with pytest.raises(SubjectNotFound):
        one.change_particulars("Nobody", lambda held: about)
    two.remove_subject("Eve")
    assert "beach.jpg" not in stored(one.database)


def test_a_person_waits_in_the_bin_and_comes_back_on_another_node(pair):
    one, two = pair
    for data, vector in ((b"first", UP), (b"second", RIGHT)):
        one.enrol("Ada", data, vector)
    one.enrol("Bob", b"bob", RIGHT)
    photos = {photo_id(b"first"), photo_id(b"second")}
    one.enrolment.set_consent("Ada", Consent("signed", "2999-01-01"))
    one.enrolment.change_particulars("Ada", lambda held: Particulars(photo_id(b"first"), ("office",)))
    one.enrolment.set_identity("Ada", held := Identity.new())
    before = one.memory()
    item = bin_of(one).discard("Ada", nothing)
    assert (item.kind, item.subject, set(item.photos), item.deleted) == (PERSON_KIND, "Ada", photos, 1000.0)
    assert {name for name, _ in two.memory()} == {"Bob"} and not two.enrolment.has_folder("Ada")
    assert one.enrolment.remove_orphans() == 0 and one.enrolment.remove_strays() == 0  # the photos wait too
    assert not two.enrolment.work() and not one.enrolment.work()  # what others keep about her stays
    (found,) = bin_of(two).all()
    assert found.id == item.id and found.subject == "Ada" and np.array_equal(found.templates, item.templates)
    assert bin_of(two).read(found, found.files[0], 100) in (b"first", b"second")
    assert ("signed" in stored(one.database)) is (one.enrolment.vault is None)
    bin_of(two).take_back(found, nothing)
    assert one.memory() == before == two.memory() and not bin_of(one).all()
    assert one.enrolment.consent("Ada") == Consent("signed", "2999-01-01")
    assert one.enrolment.particulars("Ada") == Particulars(photo_id(b"first"), ("office",))
    assert one.enrolment.identity("Ada") == held and one.enrolment.read(f"Ada/{photo_id(b'first')}.jpg", 100) == b"first"
    with pytest.raises(BinItemNotFound):
        bin_of(one).take_back(found, nothing)


def test_what_was_deleted_joins_whoever_has_the_name_by_now(pair):
    one, two = pair
    one.enrol("Ada", b"first", UP)
    one.enrolment.set_consent("Ada", Consent("signed"))
    item = bin_of(one).discard("Ada", nothing)
    two.enrol("Ada", b"first", UP)  # the same photo again
    two.enrol("Ada", b"second", RIGHT)
    two.enrolment.set_consent("Ada", Consent("said yes"))
    bin_of(one).take_back(item, nothing)
    assert {photo for _, photo in two.memory()} == {photo_id(b"first"), photo_id(b"second")}
    assert two.enrolment.consent("Ada") == Consent("said yes\nsigned")
    again = bin_of(one).discard("Ada", nothing)
    two.enrol("ada", b"third", UP)
    with pytest.raises(NameTaken):
        bin_of(one).take_back(again, nothing)
    assert [each.id for each in bin_of(two).all()] == [again.id]


def test_one_photo_waits_and_the_others_stay(pair):
    one, two = pair
    one.enrol("Ada", b"first", UP)
    one.enrol("Ada", b"copy", UP)  # of which the first one stands for both
    item = bin_of(one).discard_photo("Ada", photo_id(b"first"), nothing)
    assert item.kind == PHOTO_KIND and list(two.memory()) == [("Ada", photo_id(b"copy"))]
    with pytest.raises(PhotoNotFound):
        bin_of(two).discard_photo("Ada", photo_id(b"first"), nothing)
    bin_of(two).take_back(item, nothing)
    assert list(one.memory()) == [("Ada", photo_id(b"first"))] and len(one.enrolment.entries("Ada")) == 2

    def fail():
        raise StorageError("the log is full")

    with pytest.raises(StorageError):
        bin_of(one).discard("Ada", fail)
    assert len(one.enrolment.entries("Ada")) == 2 and not bin_of(one).all()


def test_a_final_deletion_leaves_nothing_and_is_done_on_every_node(pair, tmp_path):
    one, two = pair
    one.enrol("Ada", b"first", UP)
    one.enrol("Bob", b"first", UP)  # who has the same photo
    one.enrol("Ada", b"second", RIGHT)
    item = bin_of(one).discard("Ada", nothing)
    bin_of(one).rename("Ada", "Eve")
    (item,) = bin_of(two).of("Eve")
    assert not bin_of(two).of("Ada")
    bin_of(two).remove(item, whole=True)
    (work,) = one.enrolment.work()
    assert work[1]["erase"] == "Eve" and set(work[1]["photos"]) == {photo_id(b"first"), photo_id(b"second")}
    one.enrolment.work_done(work[0])
    files = [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    assert [path.name for path in files] == [photo_id(b"first")]  # Bob's
    assert not bin_of(one).all() and "Eve" not in stored(one.database)
    seen = one.gallery.copy.applied
    one.enrolment.catch_up()
    assert one.gallery.copy.applied > seen  # it was woken


def test_a_note_that_nobody_can_read_goes_with_the_next_erasure(pair):
    one, _ = pair
    one.enrol("Ada", b"first", UP)
    bin_of(one).discard("Ada", nothing)
    one.database.rows("update bin set note = 'x' returning id")
    assert not bin_of(one).all() and bin_of(one).count_unreadable() == 1
    bin_of(one).erase_unreadable()
    assert bin_of(one).count_unreadable() == 0 and one.database.rows("select count(*) from orphan") == [(0,)]


# --- with everything -------------------------------------------------------------------------------------------------


@pytest.fixture
def home(database_url, tmp_path, models_dir, faces, photos):
    (tmp_path / "photos").mkdir()
    settings = quick_settings(tmp_path, models_dir, database_url=database_url, photos=str(tmp_path / "photos"))
    with started(settings) as made:
        yield furnished(made, faces, photos)


@pytest.mark.slow
def test_an_erasure_empties_the_bin_and_reaches_the_events_of_every_node(home, tmp_path, faces):
    other = make_service(home.settings.replace(state_dir=tmp_path / "other"))
    try:
        other.start()
        for node in (home, other):
            happened(node, event(subject="Bob"))
        item = home.subjects.discard("Bob")
        assert item.kind == PERSON_KIND and item.thumbnail and names_on(home, faces["biden"]) == [None]
        other.enrolment.catch_up()
        assert other.node_work.run() == 0 and len(other.events.find("Bob")) == 1
        assert names_on(other, faces["biden"]) == [None]
        home.subjects.discard_photo("Ada", home.subjects.person("Ada").photos[0].id)
        counts = home.subjects.export("Ada", tmp_path / "ada.zip")
        with zipfile.ZipFile(tmp_path / "ada.zip") as exported:
            assert counts["bin_photos"] == 1 and json.loads(exported.read("about.json"))["tags"] == ["office"]
        assert not any(home.subjects.delete("Bob")["left"].values())  # who is nowhere but in the bin
        assert other.node_work.run() == 1 and not other.events.find("Bob") and not home.events.find("Bob")
        assert [each.subject for each in other.subjects.bin.all()] == ["Ada"]
        done = other.subjects.delete("Ada")
        assert done["photos"] == 2 and not any(done["left"].values()) and not home.subjects.bin.all()
        assert not [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]
    finally:
        other.close()


@pytest.mark.slow
def test_groups_have_bins_of_their_own_that_go_with_them(home, faces):
    staff = home.groups.add("staff").subjects
    staff.enrol("Zed", faces["biden"])
    item = staff.discard("Zed")
    assert not home.subjects.bin.all() and [each.id for each in staff.bin.all()] == [item.id]
    home.groups.delete("staff")
    assert home.enrolment.database.rows("select count(*) from bin") == [(0,)]
    assert not [name for name in home.audit.names().values() if "Zed" in name]


def test_what_a_bin_is_made_of_is_not_needed_to_look_at_an_empty_one():
    empty = SimpleNamespace(database=SimpleNamespace(rows=lambda *_: []), vault=None, group=0)
    with pytest.raises(BinItemNotFound):
        BinTable(empty, lambda: 7).get("../Ada")
