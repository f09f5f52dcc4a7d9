"""The folder, the cache and the gallery stay one, whatever happens to the folder; real photos, a real engine."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognizer.core.consent import Consent
from recognizer.core.errors import InvalidParameter, NameTaken, NoFace, PhotoNotFound, StorageError, SubjectNotFound
from recognizer.engines import make_engine
from recognizer.enrolment import folder_sync, photo_encoding
from recognizer.enrolment.cache import photo_id
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import FEW, EnrolmentRules, examine
from recognizer.enrolment.face_choice import thumbnail_key
from recognizer.enrolment.folder import KnownFaces
from recognizer.enrolment.photo_marks import wanted_face
from recognizer.enrolment.watcher import Watcher
from recognizer.photos import images

from . import template
from .enrolling import Home, Spy, eventually, jpeg, portrait

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def faces(photos) -> dict[str, np.ndarray]:
    return {
        "obama": portrait(photos["obama.jpg"]),
        "obama2": portrait(photos["obama2.jpg"]),
        "biden": portrait(photos["biden.jpg"]),
        "collins": portrait(photos["astronaut.png"]),
    }


@pytest.fixture
def home(tmp_path, engine, recipe) -> Home:
    home = Home(tmp_path, engine, recipe)
    yield home
    home.close()


def held(enrolment: Enrolment) -> dict[str, set[str]]:
    """Who is in the gallery with which photos; the gallery and the list of entries must agree."""
    gallery = enrolment.gallery

    def both() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
        in_gallery = {name: {each.photo for each in gallery.templates(name)} for name in gallery.subjects()}
        usable = {
            name: {entry.photo for entry in entries if entry.encoding.vector is not None}
            for name, entries in enrolment.subjects().items()
        }
        return in_gallery, {name: photos for name, photos in usable.items() if photos}

    found = both()

    def agree() -> bool:  # a watcher may be between the two
        nonlocal found
        found = both()
        return found[0] == found[1]

    assert found[0] == found[1] or eventually(agree), found
    return found[0]


def reasons(enrolment: Enrolment) -> list[tuple[str, str]]:
    return [(problem.path, problem.code) for problem in enrolment.problems()]


def name_of(enrolment: Enrolment, engine, data: bytes) -> tuple[str, float]:
    vector = examine(engine, data, EnrolmentRules()).encoding.vector
    nearest = enrolment.gallery.search(vector[None])[0][0]
    return nearest.subject, nearest.distance


# --- the empty folder, and every kind of photo -------------------------------------------------------------------------


def test_an_empty_folder_enrols_nobody(home):
    enrolment = home.enrolment()
    told = []
    assert enrolment.sync(progress=lambda done, total: told.append((done, total))) is False
    enrolment.tidy()
    assert (held(enrolment), enrolment.subjects(), enrolment.problems(), told) == ({}, {}, [], [])
    with pytest.raises(SubjectNotFound):
        enrolment.entries("ann")


@pytest.fixture
def kinds(faces) -> dict[str, bytes]:
    both = np.hstack([faces["obama"], np.zeros((faces["obama"].shape[0], 40, 3), np.uint8), faces["obama"]])
    small = images.resize(faces["collins"], 150)
    good = jpeg(faces["obama"])
    background = np.zeros((400, 700, 3), np.uint8)
    background[:400, : faces["obama"].shape[1]] = faces["obama"]
    background[300:, 600:] = images.resize(faces["collins"], 100)
    return {
        "good": good,
        "several": jpeg(both),
        "small": jpeg(small),
        "background": jpeg(background),
        "nobody": jpeg(np.full((300, 400, 3), 90, np.uint8)),
        "cut short": good[: len(good) // 2],
        "text": b"this is not a photo",
        "empty": b"",
        "many bytes": good + bytes(2_000_000),
        "many pixels": jpeg(np.zeros((2000, 2500, 3), np.uint8)),
    }


@pytest.mark.parametrize(
    ("kind", "file", "problem"),
    [
        ("empty", "a.jpg", "unsupported_image"),
        ("good", "a.jpg", None),
        ("good", "a", None),
        ("good", "a.txt", None),  # the content decides
        ("background", "a.jpg", None),  # people in the background are no rivals
        ("several", "a.jpg", "several_faces"),
        ("several", "a.largest.jpg", None),
        ("good", "a.largest.jpg", None),
        ("nobody", "a.jpg", "no_face"),
        ("nobody", "a.largest.jpg", "no_face"),
        ("small", "a.jpg", "face_too_small"),
        ("small", "a.largest.jpg", "face_too_small"),
        ("cut short", "a.jpg", "broken_image"),
        ("text", "a.jpg", "unsupported_image"),
        ("text", "notes.txt", "unsupported_image"),
        ("many bytes", "a.jpg", "image_too_large"),
        ("many pixels", "a.jpg", "image_too_large"),
    ],
)
def test_a_photo_enrols_or_its_reason_is_told_now_and_after_a_restart(home, kinds, kind, file, problem):
    home.put(f"Ann/{file}", kinds[kind])
    for _ in range(2):
        enrolment = home.enrolment(max_bytes=1_000_000, max_pixels=4_000_000)
        enrolment.sync()
        enrolment.tidy()
        assert held(enrolment) == ({} if problem else {"Ann": {photo_id(kinds[kind])}})
        assert reasons(enrolment) == ([(f"Ann/{file}", problem)] if problem else [])
        assert all(each.message and str(home.root) not in each.message for each in enrolment.problems())
        described = home.engine.described
        enrolment.sync()
        assert home.engine.described == described  # nothing is looked at twice
    assert described == (0 if problem else 1)


@pytest.mark.parametrize(
    ("path", "face"),
    [
        ("Ann/a.jpg", "only"),
        ("Ann/a.largest.jpg", "largest"),
        ("Ann/.largest", "largest"),
        ("Ann/largest.jpg", "only"),
        ("Ann/a.largest.b.jpg", "only"),
        ("A.largest/a.jpg", "only"),
        ("Ann/a.at-512-40.jpg", "at-512-40"),
        ("Ann/a.at-512-40.forced.jpg", "at-512-40+forced"),
        ("Ann/a.at-512.jpg", "only"),
        ("Ann/a.at-512-40.b.jpg", "only"),
    ],
)
def test_which_face_a_name_asks_for(path, face):
    assert wanted_face(path) == face


def test_of_several_faces_the_largest_is_the_one_enrolled(home, faces, engine):
    canvas = np.zeros((400, 800, 3), np.uint8)
    canvas[:, :320] = faces["obama"][:400, :320]
    other = images.resize(faces["collins"], 330)
    canvas[: other.shape[0], 400 : 400 + other.shape[1]] = other
    home.put("Who/both.largest.jpg", jpeg(canvas))
    enrolment = home.enrolment()
    enrolment.sync()
    largest, other = (name_of(enrolment, engine, jpeg(faces[name]))[1] for name in ("obama", "collins"))
    assert largest < 0.5 < other


def test_a_photo_enrols_each_person_by_the_face_at_its_place(home, faces, engine, tmp_path):
    canvas = np.zeros((400, 800, 3), np.uint8)
    canvas[:, :320] = faces["obama"][:400, :320]
    other = images.resize(faces["collins"], 330)
    canvas[: other.shape[0], 400 : 400 + other.shape[1]] = other
    data = jpeg(canvas)
    boxes = sorted(engine.find_with_image(images.decode(data))[0].boxes[:, :4].tolist())
    enrolment = home.enrolment()
    for name, box in zip(("Ann", "Bob"), boxes, strict=True):
        entry, new = added(enrolment, engine, name, data, ",".join(map(str, box)))
        assert new and wanted_face(entry.path) == entry.encoding.face and ".at-" in entry.path
        assert entry.encoding.box == pytest.approx(box, abs=0.01)
    home.cache_file = tmp_path / "other" / "encodings.sqlite"
    fresh = home.enrolment()
    fresh.sync()
    for each in (enrolment, fresh):
        found = {name: name_of(each, engine, jpeg(faces[name])) for name in ("obama", "collins")}
        assert [found["obama"][0], found["collins"][0]] == ["Ann", "Bob"] and max(one[1] for one in found.values()) < 0.5
    keys = [thumbnail_key(entry.photo, entry.encoding.face) for name in ("Ann", "Bob") for entry in fresh.entries(name)]
    pictures = [fresh.cache.thumbnail(key) for key in keys]
    assert len(set(keys)) == 2 and None not in pictures and pictures[0] != pictures[1]
    for place, error in (("390,390,399,399", NoFace), ("900,0,990,90", InvalidParameter)):
        with pytest.raises(error):
            examine(engine, data, EnrolmentRules(), place)
    fresh.rename("Ann", "Bob", merge=True)
    assert len({entry.encoding.face for entry in fresh.entries("Bob")}) == 2


# --- what happens to the folder -----------------------------------------------------------------------------------------


@pytest.fixture
def three(home, faces):
    """An enrolment of three photos, and their ids."""
    for path, name in (("Obama/1.jpg", "obama"), ("Obama/2.jpg", "obama2"), ("Biden/1.jpg", "biden")):
        home.put(path, jpeg(faces[name]))
    enrolment = home.enrolment()
    assert enrolment.sync() is False
    ids = {name: photo_id(jpeg(faces[name])) for name in faces}
    assert held(enrolment) == {"Obama": {ids["obama"], ids["obama2"]}, "Biden": {ids["biden"]}}
    assert home.engine.described == 3
    return enrolment, ids


def test_people_are_recognised(three, engine, photos):
    enrolment, _ = three
    limit = engine.info.calibration.threshold
    for file, expected in (("obama3.jpg", "Obama"), ("biden.jpg", "Biden")):
        name, distance = name_of(enrolment, engine, photos[file].read_bytes())
        assert name == expected and distance < limit
    assert name_of(enrolment, engine, photos["astronaut.png"].read_bytes())[1] > limit


def test_a_page_of_people_reads_the_gallery_once(three, monkeypatch):
    enrolment, ids = three
    asked = []
    real = enrolment.gallery.templates_of
    monkeypatch.setattr(enrolment.gallery, "templates_of", lambda subjects: asked.append(list(subjects)) or real(subjects))
    people, total = enrolment.page(0, None, "")
    assert total == 2 and len(asked) == 1
    assert {name: [entry.path for entry in entries] for name, entries in people.items()} == {
        "Biden": ["Biden/1.jpg"],
        "Obama": ["Obama/1.jpg", "Obama/2.jpg"],
    }
    assert {entry.photo for entry in people["Obama"]} == {ids["obama"], ids["obama2"]}
    assert people == enrolment.subjects()


def test_people_stay_in_the_order_of_their_names(home, three, faces):
    enrolment, _ = three
    home.put("adams/1.jpg", jpeg(faces["collins"]))
    home.put("Zoë/1.jpg", jpeg(faces["collins"], 3))
    enrolment.sync()
    assert enrolment.names() == ["adams", "Biden", "Obama", "Zoë"]
    enrolment.remove_subject("Biden")
    assert enrolment.names() == ["adams", "Obama", "Zoë"]
    enrolment.names().clear()  # a list of its own
    assert list(enrolment.subjects()) == ["adams", "Obama", "Zoë"]


def test_nothing_changed(home, three):
    enrolment, _ = three
    before = held(enrolment)
    for _ in range(3):
        assert enrolment.sync() is False
    assert held(enrolment) == before and home.engine.described == 3


def test_new_photos_and_new_people(home, three, faces):
    enrolment, ids = three
    home.put("Collins/1.png", jpeg(faces["collins"]))
    home.put("Biden/2.jpg", jpeg(faces["biden"], 3))
    enrolment.sync()
    assert held(enrolment)["Collins"] == {ids["collins"]}
    assert held(enrolment)["Biden"] == {ids["biden"], photo_id(jpeg(faces["biden"], 3))}
    assert home.engine.described == 5


def test_a_touched_file_is_read_but_not_encoded_again(home, three):
    enrolment, _ = three
    before = held(enrolment)
    os.utime(home.known.root / "Biden/1.jpg", (1, 1))
    enrolment.sync()
    assert held(enrolment) == before and home.engine.described == 3


def test_a_changed_photo_replaces_its_template(home, three, faces):
    enrolment, ids = three
    home.put("Biden/1.jpg", jpeg(faces["collins"]))
    enrolment.sync()
    assert held(enrolment)["Biden"] == {ids["collins"]}
    assert enrolment.cache.rows_about([ids["biden"]]) == 0


@pytest.mark.parametrize("kind", ["nobody", "cut short", "text", "many bytes", "empty"])
def test_a_photo_that_becomes_unusable_is_no_longer_enrolled(home, three, kinds, kind):
    _, ids = three
    enrolment = home.enrolment(max_bytes=1_000_000)
    enrolment.sync()
    home.put("Biden/1.jpg", kinds[kind])
    enrolment.sync()
    assert "Biden" not in held(enrolment) and [path for path, _ in reasons(enrolment)] == ["Biden/1.jpg"]
    assert enrolment.cache.rows_about([ids["biden"]]) == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Biden/1.jpg", "Biden/other name.jpeg", {"Biden": "biden"}),
        ("Biden/1.jpg", "Joe/1.jpg", {"Joe": "biden"}),
        ("Obama/2.jpg", "Biden/2.jpg", {"Biden": "biden obama2", "Obama": "obama"}),
        ("Biden", "Joe Biden", {"Joe Biden": "biden"}),
        ("Biden/1.jpg", "Biden/1.largest.jpg", {"Biden": "biden"}),
    ],
)
def test_what_is_moved_follows_and_is_not_encoded_again(home, three, old, new, expected):
    enrolment, ids = three
    target = home.known.root / new
    target.parent.mkdir(exist_ok=True)
    (home.known.root / old).rename(target)
    enrolment.sync(settle=True)  # a file that was only moved need not settle
    found = held(enrolment)
    for name, photos in expected.items():
        assert found[name] == {ids[each] for each in photos.split()}
    assert sum(len(photos) for photos in found.values()) == 3
    again = 1 if "largest" in new else 0  # another face might be wanted
    assert home.engine.described == 3 + again


def test_two_files_that_change_places(home, three):
    enrolment, ids = three
    root = home.known.root
    (root / "Obama/1.jpg").rename(root / "aside")
    (root / "Biden/1.jpg").rename(root / "Obama/1.jpg")
    (root / "aside").rename(root / "Biden/1.jpg")
    enrolment.sync()
    assert held(enrolment) == {"Obama": {ids["biden"], ids["obama2"]}, "Biden": {ids["obama"]}}


def test_a_deleted_photo_and_a_deleted_folder_leave_gallery_and_cache(home, three):
    enrolment, ids = three
    (home.known.root / "Obama/2.jpg").unlink()
    enrolment.sync()
    assert held(enrolment) == {"Obama": {ids["obama"]}, "Biden": {ids["biden"]}}
    (home.known.root / "Biden/1.jpg").unlink()
    (home.known.root / "Biden").rmdir()
    enrolment.sync()
    assert held(enrolment) == {"Obama": {ids["obama"]}}
    assert enrolment.cache.photos() == {ids["obama"]}
    data = b"".join(file.read_bytes() for file in home.cache_file.parent.iterdir())
    assert ids["biden"].encode() not in data and ids["obama2"].encode() not in data


def test_one_photo_in_two_places_is_encoded_once_and_stays_until_the_last_is_gone(home, three, faces):
    enrolment, ids = three
    for path in ("Biden/copy.jpg", "Joe/1.jpg"):
        home.put(path, jpeg(faces["biden"]))
    enrolment.sync()
    assert home.engine.described == 3
    assert held(enrolment)["Biden"] == held(enrolment)["Joe"] == {ids["biden"]}
    (home.known.root / "Biden/1.jpg").unlink()
    enrolment.sync()
    assert held(enrolment)["Biden"] == held(enrolment)["Joe"] == {ids["biden"]}
    (home.known.root / "Biden/copy.jpg").unlink()
    enrolment.sync()
    assert "Biden" not in held(enrolment) and held(enrolment)["Joe"] == {ids["biden"]}
    assert enrolment.cache.rows_about([ids["biden"]]) == 3
    (home.known.root / "Joe/1.jpg").unlink()
    enrolment.sync()
    assert enrolment.cache.rows_about([ids["biden"]]) == 0


def test_a_photo_that_becomes_a_link_or_a_folder_is_no_longer_enrolled(home, three):
    enrolment, ids = three
    photo = home.known.root / "Biden/1.jpg"
    photo.rename(home.root / "elsewhere.jpg")
    photo.mkdir()
    enrolment.sync()
    assert "Biden" not in held(enrolment) and ("Biden/1.jpg", "nested_folder") in reasons(enrolment)


def test_a_folder_that_becomes_somebodys_twin_is_enrolled_as_a_restart_would_have_it(home, three, faces):
    enrolment, _ = three
    home.put("BIDEN/1.jpg", jpeg(faces["biden"], 5))
    enrolment.sync()
    fresh = home.enrolment()
    fresh.sync()
    assert held(enrolment) == held(fresh)


def test_a_restart_takes_everything_from_the_cache(home, three):
    enrolment, _ = three
    again = home.enrolment()
    told = []
    again.sync(progress=lambda done, total: told.append((done, total)))
    again.tidy()
    assert held(again) == held(enrolment) and home.engine.described == 3 and told == []
    for name in held(enrolment):
        for one in enrolment.gallery.templates(name):
            other = next(each for each in again.gallery.templates(name) if each.photo == one.photo)
            assert np.array_equal(one.embedding.vector, other.embedding.vector)


@pytest.mark.parametrize("also_elsewhere", [False, True])
def test_a_restart_reads_no_photo_that_was_rewritten_in_place(home, faces, monkeypatch, also_elsewhere):
    for number, name in enumerate(("Biden", "Obama")):
        home.put(f"{name}/1.jpg", jpeg(faces[name.lower()], number))
    enrolment = home.enrolment()
    enrolment.sync()
    (old,) = held(enrolment)["Biden"]
    other = jpeg(faces["collins"])
    home.put("Biden/1.jpg", other)
    if also_elsewhere:
        home.put("Obama/2.jpg", other)
    enrolment.sync()
    assert held(enrolment)["Biden"] == {photo_id(other)} and old not in enrolment.cache.photos()
    read = []
    monkeypatch.setattr(KnownFaces, "read", lambda self, path, most: read.append(path))
    again = home.enrolment()
    again.sync()
    assert held(again) == held(enrolment) and read == []


def test_photos_that_vanished_while_nobody_looked_are_erased_from_the_cache(home, three):
    _, ids = three
    (home.known.root / "Biden/1.jpg").unlink()
    again = home.enrolment()
    again.sync()
    again.tidy()
    assert again.cache.photos() == {ids["obama"], ids["obama2"]}
    assert not any(path.startswith("Biden/") for path in again.cache.files())


def test_another_engine_encodes_anew_and_the_old_rows_stay_until_that_is_done(home, three, models_dir):
    enrolment, _ = three
    old_id = home.engine.info.id
    other = Spy(make_engine("yunet", "dlib", models_dir=models_dir))
    changed = home.enrolment(other)
    during = []
    changed.sync(progress=lambda done, total: during.append((done, total, len(changed.cache.encodings(old_id)))))
    assert during == [(0, 3, 3), (1, 3, 3), (2, 3, 3), (3, 3, 3)]
    assert other.described == 3 and home.engine.described == 3
    assert held(changed) == held(enrolment) and changed.gallery.dim == 128
    changed.tidy()
    assert len(changed.cache.encodings(old_id)) == 0 and len(changed.cache.encodings(other.info.id)) == 3


def test_a_start_that_was_cut_short_goes_on_where_it_was(home, faces, monkeypatch):
    monkeypatch.setattr(photo_encoding, "BATCH", 2)
    for i in range(1, 8):
        home.put(f"Obama/{i}.jpg", jpeg(faces["obama"], i))
    first = home.enrolment()

    class Stopped(Exception):
        pass

    def stop(done, total):
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        first.sync(progress=stop)
    described = home.engine.described
    second = home.enrolment()
    second.sync()
    assert len(held(second)["Obama"]) == 7
    assert home.engine.described - described == 7 - 4  # two batches were kept


@pytest.mark.slow
def test_a_file_with_a_time_of_another_century_is_enrolled(home, faces):
    file = home.put("Ann/a.jpg", jpeg(faces["obama"]))
    os.utime(file, ns=(2**62 * 3, 2**62 * 3))
    enrolment = home.enrolment()
    assert eventually(lambda: enrolment.sync(settle=True) is False)
    assert list(held(enrolment)) == ["Ann"]


# --- asked for ----------------------------------------------------------------------------------------------------------


def added(enrolment: Enrolment, engine, subject: str, data: bytes, face: str = "only"):
    return enrolment.add(subject, data, "jpg", examine(engine, data, EnrolmentRules(), face))


def test_add_is_in_folder_cache_and_gallery_and_the_folder_agrees(home, faces, engine):
    enrolment = home.enrolment()
    data = jpeg(faces["obama"])
    entry, new = added(enrolment, engine, "Ann", data)
    assert new and (home.known.root / entry.path).read_bytes() == data
    assert held(enrolment) == {"Ann": {photo_id(data)}}
    assert enrolment.cache.thumbnail(photo_id(data))
    again, new = added(enrolment, engine, "Ann", data)
    assert not new and again == entry
    enrolment.sync()
    fresh = home.enrolment()
    fresh.sync()
    assert held(fresh) == held(enrolment) and home.engine.described == 0
    other, new = added(enrolment, engine, "Bob", data)
    assert new and other.path.startswith("Bob/")
    with pytest.raises(NameTaken):
        added(enrolment, engine, "ANN", data)
    assert set(held(enrolment)) == {"Ann", "Bob"}


def test_add_of_the_largest_face_is_so_after_a_restart(home, kinds, engine):
    enrolment = home.enrolment()
    entry, _ = added(enrolment, engine, "Ann", kinds["several"], "largest")
    assert wanted_face(entry.path) == "largest"
    fresh = home.enrolment()
    fresh.sync()
    assert held(fresh) == held(enrolment) == {"Ann": {photo_id(kinds["several"])}}


def test_a_cache_that_refuses_leaves_no_photo_behind(home, faces, engine):
    enrolment = home.enrolment()
    enrolment.cache.close()
    with pytest.raises(StorageError):
        added(enrolment, engine, "Ann", jpeg(faces["obama"]))
    assert list(home.known.root.rglob("*.jpg")) == [] and len(enrolment.gallery) == 0
    assert enrolment.subjects() == {}


def test_remove_photo_and_remove_subject_leave_nothing(home, three):
    enrolment, ids = three
    with pytest.raises(PhotoNotFound):
        enrolment.remove_photo("Obama", "0" * 32)
    with pytest.raises(SubjectNotFound):
        enrolment.remove_photo("Nobody", ids["obama"])
    assert enrolment.remove_photo("Obama", ids["obama"]) == 1
    assert held(enrolment)["Obama"] == {ids["obama2"]} and not (home.known.root / "Obama/1.jpg").exists()
    assert enrolment.cache.rows_about([ids["obama"]]) == 0
    home.put("Obama/notes.txt", b"about")
    assert enrolment.left_of("Obama", [ids["obama2"]]) == {"files": 2, "templates": 1, "cache_rows": 0}
    gone = enrolment.remove_subject("Obama")
    assert gone == [ids["obama2"]]
    assert enrolment.left_of("Obama", gone) == {"files": 0, "templates": 0, "cache_rows": 0}
    assert held(enrolment) == {"Biden": {ids["biden"]}}
    with pytest.raises(SubjectNotFound):
        enrolment.remove_subject("Obama")
    enrolment.sync()
    assert held(enrolment) == {"Biden": {ids["biden"]}}


def test_removing_a_subject_keeps_photos_that_somebody_else_has_too(home, three, faces):
    enrolment, ids = three
    home.put("Joe/1.jpg", jpeg(faces["biden"]))
    enrolment.sync()
    enrolment.remove_subject("Biden")
    assert held(enrolment)["Joe"] == {ids["biden"]}
    assert enrolment.cache.rows_about([ids["biden"]]) == 3 and enrolment.cache.thumbnail(ids["biden"])
    assert enrolment.left_of("Biden", [ids["biden"]]) == {"files": 0, "templates": 0, "cache_rows": 0}


@pytest.mark.parametrize(
    ("old", "new", "merge", "names"),
    [
        ("Biden", "Joe Biden", False, {"Joe Biden": "biden", "Obama": "obama obama2"}),
        ("Biden", "BIDEN", False, {"BIDEN": "biden", "Obama": "obama obama2"}),
        ("Biden", "Biden", False, {"Biden": "biden", "Obama": "obama obama2"}),
        ("Biden", "Obama", True, {"Obama": "biden obama obama2"}),
        ("Obama", "Biden", True, {"Biden": "biden obama obama2"}),
    ],
)
def test_rename_and_merge(home, three, old, new, merge, names):
    enrolment, ids = three
    enrolment.rename(old, new, merge)
    expected = {name: {ids[each] for each in photos.split()} for name, photos in names.items()}
    assert held(enrolment) == expected
    enrolment.sync()
    assert held(enrolment) == expected and home.engine.described == 3
    fresh = home.enrolment()
    fresh.sync()
    assert held(fresh) == expected and home.engine.described == 3


def test_merging_two_who_have_the_same_photo(home, three, faces):
    enrolment, ids = three
    home.put("Joe/1.jpg", jpeg(faces["biden"]))
    enrolment.sync()
    enrolment.rename("Joe", "Biden", merge=True)
    assert held(enrolment)["Biden"] == {ids["biden"]}
    assert enrolment.remove_photo("Biden", ids["biden"]) == 2
    assert set(held(enrolment)) == {"Obama"}


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [("Nobody", "Somebody", SubjectNotFound), ("Nobody", "Nobody", SubjectNotFound), ("Biden", "Obama", NameTaken)],
)
def test_a_rename_that_cannot_be_changes_nothing(three, old, new, error):
    enrolment, _ = three
    before = held(enrolment)
    with pytest.raises(error):
        enrolment.rename(old, new)
    assert held(enrolment) == before


@pytest.mark.slow
def test_requests_and_looks_at_the_folder_side_by_side(home, faces, engine):
    enrolment = home.enrolment()
    examined = [(data := jpeg(faces["obama"], i), examine(engine, data, EnrolmentRules())) for i in range(1, 13)]
    errors, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            try:
                enrolment.sync(settle=True)
                held_now = enrolment.gallery.subjects()
                assert all(count > 0 for count in held_now.values())
            except BaseException as error:
                errors.append(error)
                return

    def work(who: int):
        try:
            for data, each in examined:
                enrolment.add(f"P{who}", data, "jpg", each)
            for _, each in examined[::2]:
                enrolment.remove_photo(f"P{who}", each.encoding.photo)
            enrolment.rename(f"P{who}", f"Q{who}")
        except BaseException as error:
            errors.append(error)

    looker = threading.Thread(target=look)
    workers = [threading.Thread(target=work, args=(who,)) for who in range(3)]
    for thread in (looker, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    looker.join()
    assert errors == []
    kept = {each.encoding.photo for _, each in examined[1::2]}
    enrolment.sync()
    assert held(enrolment) == {f"Q{who}": kept for who in range(3)}


# --- files that are still being written -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.1, 0.5], ids=["faster than it settles", "slower than it settles"])
@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_file_that_grows_is_enrolled_when_it_is_complete_and_never_before(home, faces, monkeypatch, pause, kind):
    monkeypatch.setattr(folder_sync, "SETTLE", 0.3)
    data = jpeg(faces["obama"])
    if kind == "png":
        data = cv2.imencode(".png", faces["obama"][:, :, ::-1])[1].tobytes()
    enrolment = home.enrolment()
    path = home.put("Ann/a.jpg", b"")
    done = threading.Event()

    def copy():
        with path.open("ab", buffering=0) as file:
            for part in np.array_split(np.frombuffer(data, np.uint8), 5):
                time.sleep(pause)
                file.write(part.tobytes())
        done.set()

    thread = threading.Thread(target=copy)
    thread.start()
    while not done.is_set():
        enrolment.sync(settle=True)
        if len(enrolment.gallery):  # then the last part must have been written meanwhile
            assert path.stat().st_size == len(data)
        time.sleep(0.02)
    thread.join()
    assert eventually(lambda: enrolment.sync(settle=True) is False)
    assert held(enrolment) == {"Ann": {photo_id(data)}} and reasons(enrolment) == []
    assert home.engine.described in (1, 2)  # again, where the last part came while the file was read: that is not believed


def test_files_copied_with_their_old_times_are_taken_at_once(home, faces):
    file = home.put("Ann/a.jpg", jpeg(faces["obama"]))
    os.utime(file, (1_000_000_000, 1_000_000_000))
    enrolment = home.enrolment()
    assert enrolment.sync(settle=True) is False
    assert list(held(enrolment)) == ["Ann"]


# --- many, and several processes ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("holds_lock", [False, True], ids=["in threads", "in processes"])
def test_all_cores_make_the_templates_that_one_makes(home, faces, tmp_path, engine, monkeypatch, holds_lock):
    monkeypatch.setattr(type(engine.embedder), "holds_lock", holds_lock)
    names = list(faces)
    for i in range(FEW + 4):
        home.put(f"{names[i % 4]}/{i}.jpg", jpeg(faces[names[i % 4]], 1 + i))
    home.put("nobody/text.jpg", b"no photo")
    one, told = home.enrolment(workers=1), []
    one.sync()
    assert home.engine.described == FEW + 4
    home.cache_file = tmp_path / "other" / "encodings.sqlite"
    many = home.enrolment(workers=2)
    many.sync(progress=lambda done, total: told.append((done, total)))
    assert home.engine.described == (1 if holds_lock else 2) * (FEW + 4)  # in processes, other engines did it
    assert told[0] == (0, FEW + 5) and told[-1] == (FEW + 5, FEW + 5)
    assert held(one) == held(many) and reasons(one) == reasons(many) == [("nobody/text.jpg", "unsupported_image")]
    for name in held(one):
        theirs = {each.photo: each.embedding.vector for each in many.gallery.templates(name)}
        for each in one.gallery.templates(name):
            assert np.array_equal(each.embedding.vector, theirs[each.photo])


OTHER = """
import json, sys
from pathlib import Path
from recognizer.enrolment.cache import EncodingsCache
from recognizer.engines import make_engine
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import EncodingOptions, EnrolmentRules
from recognizer.enrolment.folder import KnownFaces
from recognizer.galleries.memory import MemoryGallery
from recognizer.enrolment.watcher import Watcher

root, cache, models = map(Path, sys.argv[1:])
recipe = {"detector": "yunet", "embedder": "sface", "models_dir": models}
engine = make_engine(**recipe)
gallery = MemoryGallery(engine.info.id, engine.info.dim)
options = EncodingOptions(engine, recipe, EnrolmentRules())
enrolment = Enrolment(KnownFaces(root), EncodingsCache(cache), gallery, options)
enrolment.sync()
watcher = Watcher(enrolment)
print("ready", flush=True)
for line in sys.stdin:
    photos = {name: sorted(each.photo for each in gallery.templates(name)) for name in gallery.subjects()}
    print(json.dumps(photos), flush=True)
watcher.close()
enrolment.cache.close()
"""


@pytest.mark.slow
def test_two_processes_on_one_folder_come_to_agree(home, faces, engine, models_dir):
    home.put("Biden/1.jpg", jpeg(faces["biden"]))
    command = [sys.executable, "-c", OTHER, home.known.root, home.cache_file, models_dir]
    other = template.start(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    enrolment = home.enrolment()
    enrolment.sync()
    watcher = Watcher(enrolment)

    def theirs() -> dict[str, set[str]]:
        other.stdin.write("\n")
        other.stdin.flush()
        return {name: set(photos) for name, photos in json.loads(other.stdout.readline()).items()}

    def agree(expected) -> bool:
        return eventually(lambda: held(enrolment) == expected and theirs() == expected)

    try:
        assert other.stdout.readline() == "ready\n"
        ids = {name: photo_id(jpeg(faces[name])) for name in faces}
        assert agree({"Biden": {ids["biden"]}})
        added(enrolment, engine, "Obama", jpeg(faces["obama"]))  # by a request to one of them
        assert agree({"Biden": {ids["biden"]}, "Obama": {ids["obama"]}})
        home.put("Collins/1.jpg", jpeg(faces["collins"]))  # by a person
        assert agree({"Biden": {ids["biden"]}, "Obama": {ids["obama"]}, "Collins": {ids["collins"]}})
        enrolment.rename("Biden", "Joe Biden")
        assert agree({"Joe Biden": {ids["biden"]}, "Obama": {ids["obama"]}, "Collins": {ids["collins"]}})
        enrolment.rename("Collins", "Obama", merge=True)
        assert agree({"Joe Biden": {ids["biden"]}, "Obama": {ids["obama"], ids["collins"]}})
        enrolment.remove_photo("Obama", ids["collins"])
        enrolment.remove_subject("Joe Biden")
        assert agree({"Obama": {ids["obama"]}})
    finally:
        watcher.close()
        other.stdin.close()
        other.stdout.close()
        assert other.wait(60) == 0


# --- folders that did not change ---------------------------------------------------------------------------------------


@pytest.fixture
def two(home, faces) -> Enrolment:
    """Two people whose folders were last changed long ago."""
    for name in ("obama", "biden"):
        home.put(f"{name}/1.jpg", jpeg(faces[name]))
        os.utime(home.known.root / name, (1.7e9, 1.7e9))
    enrolment = home.enrolment()
    enrolment.sync()
    return enrolment


@pytest.fixture
def read(home, monkeypatch) -> list[str]:
    """The folders that are read from now on."""
    found: list[str] = []
    real = home.known._scan_subject

    def noting(subject, folder, photos, seen):
        found.append(folder)
        return real(subject, folder, photos, seen)

    monkeypatch.setattr(home.known, "_scan_subject", noting)
    return found


def test_folders_that_did_not_change_are_not_read(two, read, home, faces, monkeypatch):
    monkeypatch.setattr(folder_sync, "IN_TURN", 0)
    two.sync()
    assert read == []
    home.put("obama/2.jpg", jpeg(faces["obama2"]))
    two.sync()
    assert read == ["obama"] and {name: len(photos) for name, photos in held(two).items()} == {"biden": 1, "obama": 2}


def test_a_file_that_is_written_anew_in_place_is_found_in_turn(two, home, faces, monkeypatch):
    monkeypatch.setattr(folder_sync, "IN_TURN", 2)  # one folder of one file in each sync
    data = jpeg(faces["collins"])
    with open(home.known.root / "biden" / "1.jpg", "r+b") as file:
        file.truncate()
        file.write(data)
    for _ in range(2):
        two.sync()
    assert held(two)["biden"] == {photo_id(data)}


def test_only_what_was_announced_is_looked_at(two, read, home, faces):
    home.put("obama/2.jpg", jpeg(faces["obama2"]))
    shutil.rmtree(home.known.root / "biden")
    two.sync(changed=["obama"])
    assert read == ["obama"] and set(held(two)) == {"biden", "obama"}
    two.sync(changed=["biden"])
    assert set(held(two)) == {"obama"}


def test_a_folder_that_came_and_went_between_two_looks_leaves_nothing(two, home, faces):
    data = jpeg(faces["collins"])
    two.add("Guest", data, "jpg", examine(home.engine, data, EnrolmentRules()))
    assert set(held(two)) == {"Guest", "biden", "obama"}
    shutil.rmtree(home.known.root / "Guest")
    two.sync()
    assert set(held(two)) == {"biden", "obama"} and not two.is_enrolled("Guest")


def test_of_two_names_that_are_alike_the_second_is_used_once_the_first_is_gone(two, home, faces):
    home.put("OBAMA/1.jpg", jpeg(faces["obama2"]))
    two.sync(changed=["OBAMA"])
    assert set(held(two)) == {"OBAMA", "biden"} and reasons(two) == [("obama", "name_taken")]
    shutil.rmtree(home.known.root / "OBAMA")
    assert eventually(lambda: two.sync(changed=["OBAMA"]) is False and set(two.gallery.subjects()) == {"biden", "obama"})
    assert reasons(two) == []


def test_people_are_listed_in_order_whatever_came_and_went(two, home, faces):
    home.put("Amy/1.jpg", jpeg(faces["collins"]))
    two.sync()
    assert two.names() == ["Amy", "biden", "obama"]
    two.rename("biden", "Zoe")
    assert two.names() == ["Amy", "obama", "Zoe"]
    two.remove_subject("obama")
    assert two.names() == ["Amy", "Zoe"] == list(two.subjects())


def test_an_expired_consent_counts_although_nothing_changed(two, home):
    two.set_consent("obama", Consent(expires="2020-01-01"))
    two.set_consent("obama", Consent(expires=None))
    assert set(held(two)) == {"biden", "obama"}
    coming = time.time() + 0.3
    two.set_consent("obama", Consent(expires=datetime.fromtimestamp(coming, timezone.utc).isoformat()))
    assert eventually(lambda: time.time() > coming)
    two.sync()
    assert set(two.gallery.subjects()) == {"biden"}
