"""Deletions that can be undone: what the bin keeps, how it comes back, and how a real erasure and time empty it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from recognizer.backup import reseal
from recognizer.backup.reseal import Places
from recognizer.core.consent import Consent
from recognizer.core.errors import BinItemNotFound, BinOff, Conflict, PhotoNotFound, StorageError, SubjectNotFound
from recognizer.core.vault import Vault, new_key
from recognizer.enrolment.bin_folder import NOTE_FILE, Bin
from recognizer.enrolment.bin_store import PERSON_KIND, PHOTO_KIND
from recognizer.service import make_service

from .e2e.homes import event
from .test_erasures import happened

DAY = 86_400.0


class Clock:
    """Seconds since 1970 that the test sets."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def put(bin: Bin, folder, name: str = "Ada", held: Consent = Consent(), data: bytes = b"a photo of her"):  # noqa: B008
    folder.mkdir(exist_ok=True)
    (folder / "one.jpg").write_bytes(data)
    return bin.put(PHOTO_KIND, name, [folder / "one.jpg"], ["p1"], np.array([[0.5, 0.25]]), held, b"small")


def test_a_deletion_is_kept_with_everything_that_brings_it_back(tmp_path, vault):
    clock = Clock()
    bin = Bin(tmp_path / "bin", lambda: 7, vault=vault, now=clock)
    item = put(bin, tmp_path / "Ada")
    (read,) = Bin(tmp_path / "bin", lambda: 7, vault=vault, now=clock).all()
    assert (read.id, read.kind, read.subject, read.deleted, read.files, read.photos, read.thumbnail) == (
        item.id,
        PHOTO_KIND,
        "Ada",
        clock.now,
        ("one.jpg",),
        ("p1",),
        b"small",
    )
    assert np.array_equal(read.templates, np.array([[0.5, 0.25]], np.float32))
    stored = bin.file(item, "one.jpg").read_bytes()
    assert (stored == b"a photo of her") is (vault is None)  # one that was in plain form is encrypted here
    note = (tmp_path / "bin" / item.id / NOTE_FILE).read_bytes()
    assert (b"Ada" in note) is (vault is None)


def test_it_becomes_final_after_its_days_and_no_later_than_the_consent_allows(tmp_path):
    clock = Clock()
    bin = Bin(tmp_path / "bin", lambda: 7, grace_days=1, now=clock)
    put(bin, tmp_path / "Ada")
    clock.now += 1
    agreed = Consent(expires="1970-01-14")  # ends with that day, 1,209,600 s: over two days from now
    early = put(bin, tmp_path / "Bob", "Bob", agreed)
    assert bin.until(early) == agreed.ends + DAY and not bin.due()
    clock.now += 4 * DAY
    assert [each.subject for each in bin.due()] == ["Bob"]
    clock.now += 3 * DAY
    assert [each.subject for each in bin.due()] == ["Ada", "Bob"]
    bin.remove(early)
    assert [each.subject for each in bin.all()] == ["Ada"] and not (tmp_path / "bin" / early.id).exists()


@pytest.mark.parametrize("bad", ["", "../Ada", "0" * 16, "x" * 400])
def test_what_is_not_in_it_is_not_found(tmp_path, bad):
    with pytest.raises(BinItemNotFound):
        Bin(tmp_path / "bin", lambda: 7).get(bad)


def test_what_an_interruption_left_goes_with_the_next_erasure_or_after_a_while(tmp_path):
    clock = Clock()
    bin = Bin(tmp_path / "bin", lambda: 7, now=clock)
    left = tmp_path / "bin" / ("a" * 16)
    left.mkdir(parents=True)
    (left / "one.jpg").write_bytes(b"x")
    assert not bin.all() and bin.count_unreadable() == 1
    clock.now = left.stat().st_mtime + 1
    bin.purge_leftovers()
    assert left.exists()
    clock.now += 3600
    bin.purge_leftovers()
    assert not left.exists()
    left.mkdir()
    bin.erase_unreadable()
    assert not left.exists()


def test_a_photo_that_cannot_be_copied_leaves_nothing_in_the_bin(tmp_path):
    bin = Bin(tmp_path / "bin", lambda: 7)
    with pytest.raises(StorageError):
        bin.put(PHOTO_KIND, "Ada", [tmp_path / "gone.jpg"], ["p"], np.empty((0, 0)), Consent(), None)
    assert not list((tmp_path / "bin").iterdir())


# -- with everything ----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(service, faces, photos):
    return furnished(service, faces, photos)


def furnished(service, faces, photos):
    """The service with Ada, who has two photos, a note, tags and file names, and Bob."""
    service.subjects.enrol("Ada", faces["obama"], file="beach.jpg")
    service.subjects.enrol("Ada", photos["obama3.jpg"].read_bytes(), file="C:\\pictures\\party.jpg", taken="2020-01-02")
    service.subjects.enrol("Bob", faces["biden"])
    service.subjects.set_consent("Ada", "signed", "2090-01-01")
    service.subjects.describe("Ada", tags=("office",))
    return service


def names_on(service, photo: bytes) -> list:
    return [each.match.subject for each in service.recognition.recognize(photo).faces]


def everything(service) -> dict:
    person = service.subjects.person("Ada")
    return {
        "photos": {each.id: person.particulars.photos.get(each.id) for each in person.photos},
        "consent": person.consent,
        "tags": person.particulars.tags,
        "id": service.groups.default.ids.known("Ada"),
    }


@pytest.mark.slow
def test_a_person_comes_back_as_they_were(home, faces):
    happened(home, event(subject="Ada"))
    identity, before = home.groups.default.ids.of("Ada"), everything(home)
    assert before["id"] == identity and {each.name for each in before["photos"].values()} == {"beach.jpg", "party.jpg"}
    item = home.subjects.discard("Ada")
    assert item.kind == PERSON_KIND and len(item.photos) == 2 and item.thumbnail
    assert names_on(home, faces["obama"]) == [None] and names_on(home, faces["biden"]) == ["Bob"]
    with pytest.raises(SubjectNotFound):
        home.subjects.person("Ada")
    assert len(home.events.find("Ada")) == 1  # they can be undone as well
    home.subjects.restore(item.id)
    assert everything(home) | {"id": None} == before | {"id": None}
    assert home.groups.default.ids.known("Ada").id == identity.id
    assert names_on(home, faces["obama"]) == ["Ada"] and not home.subjects.bin.all()
    with pytest.raises(BinItemNotFound):
        home.subjects.restore(item.id)
    actions = [line["action"] for line in home.audit_page()["lines"]]
    assert actions[-2:] == ["bin_put", "bin_restore"]


@pytest.mark.slow
def test_a_photo_comes_back_and_the_last_one_with_the_note_of_consent(home, faces):
    first, second = (each.id for each in home.subjects.person("Ada").photos)
    home.subjects.describe("Ada", cover=second)
    one = home.subjects.discard_photo("Ada", second)
    assert [each.id for each in home.subjects.person("Ada").photos] == [first]
    with pytest.raises(PhotoNotFound):
        home.subjects.discard_photo("Ada", second)
    home.subjects.restore(one.id)
    assert home.subjects.person("Ada").particulars.cover == second
    home.subjects.discard_photo("Ada", second)
    last = home.subjects.discard_photo("Ada", first)
    with pytest.raises(SubjectNotFound):
        home.subjects.person("Ada")
    restored = home.subjects.restore(last.id)
    assert restored.consent.note == "signed" and [each.id for each in restored.photos] == [first]
    assert restored.particulars.tags == ("office",)


@pytest.mark.slow
def test_a_deletion_that_cannot_be_recorded_does_not_happen(home, faces, monkeypatch):
    def full(*_, **__):
        raise StorageError("the disk is full")

    monkeypatch.setattr(home.audit, "append", full)
    with pytest.raises(StorageError):
        home.subjects.discard_photo("Ada", home.subjects.person("Ada").photos[0].id)
    assert len(home.subjects.person("Ada").photos) == 2 and not home.subjects.bin.all()
    assert names_on(home, faces["obama"]) == ["Ada"]


@pytest.mark.slow
def test_a_real_erasure_empties_the_bin_of_that_person_only(home, faces, tmp_path):
    photo = home.subjects.person("Ada").photos[0].id
    home.subjects.discard_photo("Ada", photo)
    home.subjects.discard("Bob")
    home.subjects.export("Ada", tmp_path / "ada.zip")
    with zipfile.ZipFile(tmp_path / "ada.zip") as exported:
        inside = exported.namelist()
        assert any(name.startswith("bin/") and name.endswith(".jpg") for name in inside) and "bin.json" in inside
        assert json.loads(exported.read("about.json"))["tags"] == ["office"]
    home.subjects.rename("Ada", "Ada L")
    assert [item.subject for item in home.subjects.bin.all()] == ["Bob", "Ada L"]
    done = home.subjects.delete("Ada L")
    assert not any(done["left"].values()) and done["photos"] == 2
    assert [item.subject for item in home.subjects.bin.all()] == ["Bob"]
    assert not any(home.subjects.delete("Bob")["left"].values())  # somebody who is nowhere but in the bin
    assert not list(home.subjects.bin.folder.iterdir())


@pytest.mark.slow
def test_after_a_week_nothing_is_left_not_even_the_name(home, faces):
    happened(home, event(subject="Bob"))
    home.subjects.discard("Bob")
    photo = home.subjects.person("Ada").photos[0].id
    home.subjects.discard_photo("Ada", photo)
    assert home.subjects.empty_bin() == 0
    later = Clock()
    later.now = home.subjects.bin.all()[0].deleted + 7 * DAY
    home.subjects.bin._now = later
    assert home._purge() == 0 and not home.subjects.bin.all()
    assert not home.events.find("Bob") and "Bob" not in home.audit.names().values()
    assert photo not in home.subjects.person("Ada").particulars.photos
    assert len(home.subjects.person("Ada").photos) == 1 and "Ada" in home.audit.names().values()


@pytest.mark.slow
def test_a_deletion_that_cannot_be_made_final_keeps_no_other_in_the_bin(home, monkeypatch):
    bin, later = home.subjects.bin, Clock()
    home.subjects.discard("Bob")
    home.subjects.discard_photo("Ada", home.subjects.person("Ada").photos[0].id)
    later.now = bin.all()[0].deleted + 7 * DAY
    assert [item.subject for item in bin.all()] == ["Ada", "Bob"]  # the one that fails is tried first

    def remove(item, *, real=bin.remove, **named):
        if item.subject == "Ada":
            raise StorageError("the disk is full")
        real(item, **named)

    with monkeypatch.context() as patched:
        patched.setattr(bin, "remove", remove)
        bin._now = later
        with pytest.raises(StorageError, match="full"):
            home.subjects.empty_bin()
        assert [item.subject for item in bin.all()] == ["Ada"] and "Bob" not in home.audit.names().values()
    assert home.subjects.empty_bin() == 1 and not bin.all()


@pytest.mark.slow
@pytest.mark.parametrize("failure", [StorageError("damaged"), OSError(5, "i/o")])
def test_whatever_cannot_be_deleted_after_its_time_keeps_nothing_else(home, monkeypatch, failure):
    done, later = [], Clock()

    def fails() -> None:
        raise failure

    later.now = home.subjects.discard("Bob").deleted + 7 * DAY
    home.subjects.bin._now = later
    monkeypatch.setattr(home.jobs, "purge", fails)
    for part in (home.visits, home.strangers):
        monkeypatch.setattr(part, "purge_if_off", lambda part=part: done.append(part))
    monkeypatch.setattr(home.events, "purge", lambda: 7)
    assert home._purge() == 7 and done == [home.visits, home.strangers] and not home.subjects.bin.all()


@pytest.mark.slow
def test_one_deletion_is_made_final_at_once(home):
    item = home.subjects.discard("Bob")
    assert home.subjects.empty_bin(item.id) == 1 and not home.subjects.bin.all()
    with pytest.raises(BinItemNotFound):
        home.subjects.empty_bin(item.id)


@pytest.mark.slow
def test_a_photo_moves_to_somebody_else_with_its_file_name(home, faces):
    photos = {each.name: id_ for id_, each in home.subjects.person("Ada").particulars.photos.items()}
    done = home.subjects.move_photo("Ada", photos["party.jpg"], "Barack")
    assert done == {"moved": photos["party.jpg"], "of": "Ada", "to": "Barack", "files": 1}
    barack, ada = home.subjects.person("Barack"), home.subjects.person("Ada")
    assert barack.particulars.photos[photos["party.jpg"]].name == "party.jpg"
    assert barack.particulars.photos[photos["party.jpg"]].taken == "2010-05-10T10:04:01"  # as the photo says itself
    assert set(ada.particulars.photos) == {photos["beach.jpg"]} and barack.templates == ada.templates == 1
    with pytest.raises(PhotoNotFound):
        home.subjects.move_photo("Ada", photos["party.jpg"], "Bob")
    home.subjects.move_photo("Ada", photos["beach.jpg"], "Barack")
    with pytest.raises(SubjectNotFound):
        home.subjects.person("Ada")
    assert home.subjects.person("Barack").templates == 2 and names_on(home, faces["obama"]) == ["Barack"]


@pytest.mark.slow
def test_a_photo_that_cannot_be_taken_from_somebody_is_nobody_elses(home, monkeypatch):
    before = home.subjects.person("Ada")
    photo = before.photos[0].id
    rename = Path.rename

    def refuse(path, to):
        if path.parent.name == "Ada":
            raise PermissionError(13, "Permission denied")
        return rename(path, to)

    with monkeypatch.context() as refusing:
        refusing.setattr(Path, "rename", refuse)
        for to in ("Barack", "Bob"):
            with pytest.raises(StorageError, match="permission denied"):
                home.subjects.move_photo("Ada", photo, to)
    assert home.subjects.person("Ada").particulars == before.particulars
    assert {each.name: each.templates for each in home.subjects.all()} == {"Ada": 2, "Bob": 1}
    assert sorted(path.name for path in home.settings.known_faces.iterdir()) == ["Ada", "Bob"]


@pytest.mark.slow
def test_somebody_whose_folder_has_a_folder_in_it_is_not_put_into_the_bin(home):
    inner = home.settings.known_faces / "Ada" / "more"
    inner.mkdir()
    (inner / "notes.txt").write_text("of no use here, but somebody's")
    with pytest.raises(Conflict, match="another folder in it"):
        home.subjects.discard("Ada")
    assert home.subjects.person("Ada").templates == 2 and (inner / "notes.txt").exists() and not home.subjects.bin.all()
    assert home.subjects.delete("Ada")["photos"] == 2 and not inner.exists()


@pytest.mark.slow
def test_a_key_that_is_taken_away_opens_the_bin_and_a_new_one_closes_it(settings, faces):
    made = make_service(settings)
    made.subjects.enrol("Ada", faces["obama"], file="beach.jpg")
    item = made.subjects.discard("Ada")
    held = made.vault
    made.close()
    places, other = Places(settings.known_faces, settings.state_dir), Vault([new_key()])
    with reseal.alone(places):
        reseal.reseal(places, held, other)
    note = (settings.state_dir / "bin" / item.id / NOTE_FILE).read_bytes()
    assert b"Ada" not in note and Bin(settings.state_dir / "bin", lambda: 7, vault=other).get(item.id).subject == "Ada"
    assert set(reseal.status(places, other)["bin"]) == {other.current}
    with reseal.alone(places):
        reseal.reseal(places, other, held)
    again = make_service(settings)
    try:
        again.subjects.restore(item.id)
        assert [each.name for each in again.subjects.person("Ada").particulars.photos.values()] == ["beach.jpg"]
    finally:
        again.close()


@pytest.mark.slow
def test_groups_have_bins_of_their_own_that_go_with_them(home, faces):
    staff = home.groups.add("staff").subjects
    staff.enrol("Zed", faces["biden"])
    item = staff.discard("Zed")
    assert not home.subjects.bin.all() and [each.id for each in staff.bin.all()] == [item.id]
    with pytest.raises(BinItemNotFound):
        home.subjects.restore(item.id)
    home.groups.delete("staff")
    assert not (home.settings.state_dir / "groups" / "staff").exists()
    assert not [name for name in home.audit.names().values() if "Zed" in name]


def test_where_there_is_no_bin_deletions_are_final(settings, faces):
    made = make_service(settings.replace(bin_days=0))
    try:
        made.subjects.enrol("Ada", faces["obama"])
        with pytest.raises(BinOff):
            made.subjects.discard("Ada")
        assert made.subjects.person("Ada").templates == 1 and not (settings.state_dir / "bin").exists()
    finally:
        made.close()
