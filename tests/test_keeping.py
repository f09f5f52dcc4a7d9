"""Files that people put into the folder, and how they are kept: encrypted in their place, or replaced by templates."""

import os
import shutil
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from recognizer.core import files
from recognizer.core.errors import BrokenImage, ImageTooLarge
from recognizer.core.vault import Vault, is_sealed, new_key
from recognizer.enrolment import template_file
from recognizer.enrolment.encodings import photo_id

from .enrolling import Home, eventually, jpeg


@pytest.fixture
def sealed_home(tmp_path, engine, recipe) -> Home:
    home = Home(tmp_path, engine, recipe, Vault([new_key()]))
    yield home
    home.close()


def settled(enrolment) -> None:
    """Look until nothing is left to be done."""
    assert eventually(lambda: enrolment.sync(settle=True) is False)


def held(enrolment) -> dict[str, int]:
    return enrolment.gallery.subjects()


def on_disk(home: Home) -> dict[str, bytes]:
    return {file.relative_to(home.known.root).as_posix(): file.read_bytes() for file in home.known.root.rglob("*.*")}


# --- encrypted in their place ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [-3600, 0, 7200, 10**9])
def test_a_dropped_photo_is_encrypted_whatever_its_time(sealed_home, faces, when):
    file = sealed_home.put("Ann/a.jpg", faces["obama"])
    os.utime(file, (time.time() + when,) * 2)
    enrolment = sealed_home.enrolment()
    enrolment.sync()
    assert held(enrolment) == {"Ann": 1}
    settled(enrolment)
    assert is_sealed(file.read_bytes()) and held(enrolment) == {"Ann": 1} and enrolment.problems() == []
    assert sealed_home.engine.described == 1
    again = sealed_home.enrolment()
    again.sync()
    assert held(again) == {"Ann": 1} and sealed_home.engine.described == 1


def test_many_dropped_photos_are_encrypted(sealed_home, faces):
    for number in range(12):
        file = sealed_home.put(f"{number}/a.jpg", faces["obama"] + bytes([number]))
        os.utime(file, (1, 1))
    enrolment = sealed_home.enrolment()
    assert enrolment.sync() is False
    assert len(held(enrolment)) == 12 and all(map(is_sealed, on_disk(sealed_home).values()))


def test_an_empty_file_does_not_keep_the_watcher_busy(sealed_home):
    file = sealed_home.put("Ann/a.jpg", b"")
    os.utime(file, (1, 1))
    enrolment = sealed_home.enrolment()
    assert enrolment.sync() is False and enrolment.sync(settle=True) is False
    assert file.read_bytes() == b""
    assert [problem.code for problem in enrolment.problems()] == ["unsupported_image"]


def test_a_large_file_is_encrypted_piece_by_piece(sealed_home, faces):
    """A video that was dropped, and a photo that is large: neither needs memory of its size, and the photo is still read."""
    film, photo = os.urandom(1000) * 60_000, faces["obama"] + bytes(9_000_000)
    for name, data in (("film.mp4", film), ("large.jpg", photo)):
        os.utime(sealed_home.put(f"Ann/{name}", data), (1, 1))
    enrolment = sealed_home.enrolment()
    tracemalloc.start()
    try:
        assert enrolment.sync() is False
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(film)
    assert held(enrolment) == {"Ann": 1}
    assert {each.path: each.code for each in enrolment.problems()} == {"Ann/film.mp4": "image_too_large"}
    sealed = on_disk(sealed_home)
    assert all(map(is_sealed, sealed.values())) and film[:1000] not in sealed["Ann/film.mp4"]
    assert sealed_home.vault.open(sealed["Ann/film.mp4"], "photo") == film
    assert sealed_home.known.read("Ann/large.jpg", 25_000_000) == photo
    with pytest.raises(ImageTooLarge):
        sealed_home.known.read("Ann/large.jpg", len(photo) - 1)


def test_a_disk_that_refuses_is_told_and_tried_again(sealed_home, faces, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "No space left on device")

    file = sealed_home.put("Ann/a.jpg", faces["obama"])
    os.utime(file, (1, 1))
    enrolment = sealed_home.enrolment()
    with monkeypatch.context() as broken:
        broken.setattr(files, "write_durably", refuse)
        assert enrolment.sync() is False
        assert [(each.code, each.path) for each in enrolment.problems()] == [("not_converted", "Ann/a.jpg")]
        assert held(enrolment) == {"Ann": 1} and file.read_bytes() == faces["obama"]
    assert enrolment.sync(settle=True) is False
    assert enrolment.problems() == [] and is_sealed(file.read_bytes())


@pytest.mark.slow
def test_a_photo_that_is_replaced_while_it_is_encrypted_is_not_lost(sealed_home, faces, monkeypatch):
    """The new photo comes after the old one was read and its encrypted form written, just before that gets its name."""
    file = sealed_home.put("Ann/a.jpg", faces["obama"])
    os.utime(file, (1, 1))
    enrolment = sealed_home.enrolment()
    sync = os.fsync

    def in_between(handle):
        sync(handle)
        if file.read_bytes() == faces["obama"]:
            incoming = sealed_home.root / "incoming"
            incoming.write_bytes(faces["biden"])
            os.replace(incoming, file)

    with monkeypatch.context() as slow:
        slow.setattr(files.os, "fsync", in_between)
        enrolment.sync()
    assert file.read_bytes() == faces["biden"]
    settled(enrolment)
    assert [entry.photo for entry in enrolment.entries("Ann")] == [photo_id(faces["biden"])]
    assert sealed_home.known.read("Ann/a.jpg", 10**7) == faces["biden"] and is_sealed(file.read_bytes())


@pytest.mark.slow
def test_two_processes_that_encrypt_the_same_files_agree(sealed_home, faces):
    for number in range(20):
        os.utime(sealed_home.put(f"Ann/{number}.jpg", faces["obama"] + bytes([number])), (1, 1))
    both = [sealed_home.enrolment(), sealed_home.enrolment()]
    threads = [threading.Thread(target=each.sync) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in both:
        settled(each)
        assert len(each.entries("Ann")) == 20 and each.problems() == []
    assert all(map(is_sealed, on_disk(sealed_home).values())) and len(on_disk(sealed_home)) == 20


def test_what_a_file_held_is_overwritten_unless_it_has_another_name(tmp_path):
    file, other = tmp_path / "a", tmp_path / "b"
    for linked in (False, True):
        file.write_bytes(b"face" * 1000)
        if linked:
            os.link(file, other)
        with open(file, "rb") as old:
            assert files.replace_erasing(file, b"sealed", expected=os.stat(file)) is not None
            assert (b"face" in old.read()) == linked
        assert file.read_bytes() == b"sealed"
    assert other.read_bytes() == b"face" * 1000


def test_a_file_that_nobody_may_write_is_replaced_by_its_owner(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"face")
    file.chmod(0o444)
    assert files.replace_erasing(file, b"sealed", expected=os.stat(file)) is not None
    assert file.read_bytes() == b"sealed" and file.stat().st_mode & 0o777 == 0o444


# --- replaced by templates ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("when", [-3600, 0, 7200])
def test_a_photo_is_replaced_by_its_template(home, faces, when):
    file = home.put("Ann/a.jpg", faces["obama"])
    os.utime(file, (time.time() + when,) * 2)
    enrolment = home.enrolment(keep_photos=False)
    enrolment.sync()
    settled(enrolment)
    assert list(on_disk(home)) == ["Ann/a.face"] and held(enrolment) == {"Ann": 1}
    assert enrolment.cache.thumbnail(photo_id(faces["obama"])) is None
    shutil.rmtree(home.cache_file.parent)
    again = home.enrolment(keep_photos=False)
    again.sync()
    assert held(again) == {"Ann": 1} and home.engine.described == 1


def test_photos_of_one_name_but_two_formats_become_two_templates(home, faces):
    pair = {"a.jpg": "obama", "a.jpeg": "biden", "b.largest.jpg": "collins", "b.largest.png": "obama"}
    for name, face in pair.items():
        os.utime(home.put(f"Ann/{name}", faces[face]), (1, 1))
    enrolment = home.enrolment(keep_photos=False)
    settled(enrolment)
    found = on_disk(home)
    assert {Path(name).suffix for name in found} == {".face"} and len(found) == 4
    expected = sorted((photo_id(faces[face]), "largest" if "largest" in name else "only") for name, face in pair.items())
    assert sorted((each.photo, each.face) for each in map(template_file.read, found.values())) == expected
    assert sorted(each.photo for each in enrolment.entries("Ann")) == [photo for photo, _ in expected]
    again = home.enrolment(keep_photos=False)
    again.sync()
    assert held(again) == held(enrolment) and len(again.entries("Ann")) == 4 and home.engine.described == 4


def test_a_replacement_that_was_cut_short_is_done_again_and_leaves_one_template(home, faces):
    file = home.put("Ann/a.jpg", faces["obama"])
    enrolment = home.enrolment()
    enrolment.sync()
    written = template_file.written(enrolment.entries("Ann")[0].encoding)
    home.put("Ann/a.face", written)  # and the process was killed here
    os.utime(file, (1, 1))
    again = home.enrolment(keep_photos=False)
    settled(again)
    assert list(on_disk(home)) == ["Ann/a.face"] and held(again) == {"Ann": 1}


def test_a_photo_that_enrols_nobody_stays(home, faces):
    os.utime(home.put("Ann/a.jpg", jpeg(np.zeros((200, 200, 3), np.uint8))), (1, 1))
    enrolment = home.enrolment(keep_photos=False)
    assert enrolment.sync() is False and enrolment.sync(settle=True) is False
    assert list(on_disk(home)) == ["Ann/a.jpg"] and [each.code for each in enrolment.problems()] == ["no_face"]


@pytest.mark.parametrize("name", ["Ann/b.largest.face", "Bob/c.face"])
def test_a_template_that_is_renamed_still_enrols(home, faces, name):
    os.utime(home.put("Ann/a.jpg", faces["obama"]), (1, 1))
    enrolment = home.enrolment(keep_photos=False)
    settled(enrolment)
    (home.known.root / name).parent.mkdir(exist_ok=True)
    os.rename(home.known.root / "Ann/a.face", home.known.root / name)
    settled(enrolment)
    assert held(enrolment) == {name[:3]: 1}
    shutil.rmtree(home.cache_file.parent)
    again = home.enrolment(keep_photos=False)
    again.sync()
    assert held(again) == {name[:3]: 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        (b'"photo": "', b'"photo": "../'),
        (b'"photo"', b'"foto"'),
        (b'"vector": "', b'"vector": "A'),
        (b'"box": [', b'"box": [1, '),
        (b'"width": ', b'"width": "x'),
        (b"}", b""),
    ],
)
def test_a_template_that_was_changed_is_told(home, faces, change):
    os.utime(home.put("Ann/a.jpg", faces["obama"]), (1, 1))
    enrolment = home.enrolment(keep_photos=False)
    settled(enrolment)
    file = home.known.root / "Ann/a.face"
    data = file.read_bytes().replace(*change)
    with pytest.raises(BrokenImage):
        template_file.read(data)
    home.put("Ann/a.face", data)
    settled(enrolment)
    assert held(enrolment) == {} and [each.code for each in enrolment.problems()] == ["broken_image"]


@pytest.mark.parametrize(
    "rest",
    [b'"a":' + b"[" * 50_000, b'"a":[' + b"[]," * 1_000_000 + b"1]}", b'"width": 1e999}', b'"photo": NaN}'],
    ids=["nested", "many", "endless", "no number"],
)
def test_a_template_of_somebody_else_s_making_costs_nothing(home, faces, rest, monkeypatch):
    """It is refused by its size before it is parsed, and as damaged whatever its values are."""
    valid = (
        b'{"recognizer_template": 1,"photo":"' + b"0" * 32 + b'","engine":"e","face":"only","vector":"AACAPw==",'
        b'"box":[0,0,1,1],"score":1,"height":1,'
    )
    if len(rest) > 100_000:
        monkeypatch.setattr("recognizer.core.outside_json.json.loads", lambda *_, **__: pytest.fail("it was parsed"))
    with pytest.raises(BrokenImage):
        template_file.read(valid + rest)


def test_templates_are_encrypted_too(sealed_home, faces):
    file = sealed_home.put("Ann/a.jpg", faces["obama"])
    enrolment = sealed_home.enrolment(keep_photos=False)
    enrolment.sync()
    settled(enrolment)
    assert not file.exists() and list(on_disk(sealed_home)) == ["Ann/a.face"]
    assert all(map(is_sealed, on_disk(sealed_home).values())) and held(enrolment) == {"Ann": 1}
