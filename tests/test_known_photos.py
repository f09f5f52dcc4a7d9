"""Starts with many photos that the cache knows: the same people as by reading every file, in little memory."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.core.errors import StorageError
from recognizer.core.vault import Vault
from recognizer.enrolment import folder_sync, known_photos
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding, FileStamp, photo_id
from recognizer.enrolment.entries import Entry
from recognizer.enrolment.known_photos import photo_of
from recognizer.enrolment.photo_uses import PhotoUses

from .enrolling import Home

#: More files than are looked up one by one.
PEOPLE, EACH = 70, 3
KEY = bytes(range(32))


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def home(request, tmp_path, engine, models_dir):
    recipe = {"detector": "yunet", "embedder": "dlib+sface", "models_dir": models_dir}
    home = Home(tmp_path, engine, recipe, Vault([KEY]) if request.param else None)
    yield home
    home.close()


@pytest.fixture
def filled(home):
    """Files that are no photos, of which the cache knows what is in them. Person 3 has a copy, and one by its largest face."""
    enrolment, chance = home.enrolment(), np.random.default_rng(1)
    encodings, files = [], []
    for person in range(PEOPLE):
        for number in range(EACH):
            data = f"{person} {number}".encode()
            name = f"{number}.largest.jpg" if (person, number) == (3, 2) else f"{number}.jpg"
            file = home.put(f"Person {person:02d}/{name}", data if home.vault is None else home.vault.seal(data, "photo"))
            vector = chance.normal(0, 0.1, home.engine.info.dim).astype(np.float32)
            if (person, number) == (3, 1):
                vector = encodings[-1].vector
            face = "largest" if "largest" in name else "only"
            shown = Encoding(
                photo_id(data), home.engine.info.id, face, vector, None, None, (50.0, 60.5, 150, 160), 0.9, 250, 240
            )
            encodings.append(shown)
            files.append((f"Person {person:02d}/{name}", FileStamp.of(file.stat()), photo_id(data)))
        os.utime(file.parent, (1.7e9, 1.7e9))
    enrolment.cache.put(encodings)
    enrolment.cache.remember_files(files)
    return SimpleNamespace(home=home, files=files, encodings=encodings)


def started(home):
    enrolment = home.enrolment()
    enrolment.sync()
    return enrolment


def shown(enrolment) -> dict:
    """Everything about everybody that a start can get wrong."""
    return {
        name: [
            (
                each,
                each.encoding.vector.tobytes(),
                each.encoding.box,
                each.encoding.score,
                enrolment.original_of(name, each.photo),
            )
            for each in entries
        ]
        for name, entries in enrolment.subjects().items()
    }


def templates(enrolment) -> dict:
    gallery = enrolment.gallery
    return {
        name: {(each.photo, each.embedding.vector.tobytes()) for each in gallery.templates(name)} for name in gallery.subjects()
    }


def packed(enrolment) -> int:
    table = enrolment._table
    return sum(not isinstance(each, Entry) for held in table._by_subject.values() for each in held.values())


def test_many_known_photos_are_enrolled_as_one_by_one(filled, monkeypatch):
    quick = started(filled.home)
    monkeypatch.setattr(folder_sync, "FEW", 10**9)
    slow = started(filled.home)
    assert shown(quick) == shown(slow) and len(shown(quick)) == PEOPLE
    assert templates(quick) == templates(slow)
    assert [each[2] for each in filled.files] == [entry.photo for entries in quick.subjects().values() for entry in entries]
    assert filled.home.engine.described == 0 and quick.problems() == []
    assert packed(quick) == packed(slow) == PEOPLE * EACH - 1  # the copy has no template of its own in the gallery


def test_packed_entries_survive_changes(filled):
    enrolment = started(filled.home)
    before = shown(enrolment)
    copied, original = filled.files[3 * EACH + 1][2], filled.files[3 * EACH][2]
    assert enrolment.original_of("Person 03", copied) == original
    enrolment.remove_photo("Person 03", original)
    assert {each.photo for each in enrolment.gallery.templates("Person 03")} == {copied, filled.files[3 * EACH + 2][2]}
    enrolment.rename("Person 04", "Person 05", merge=True)
    assert {row[1] for row in shown(enrolment)["Person 05"]} == {
        row[1] for name in ("Person 04", "Person 05") for row in before[name]
    }
    assert enrolment.entry_of(filled.files[0][2]).path == filled.files[0][0]
    enrolment.remove_subject("Person 06")
    assert templates(enrolment) == templates(started(filled.home))
    assert packed(enrolment) == enrolment._table.__len__() == PEOPLE * EACH - 1 - EACH


def test_a_refused_erasure_leaves_the_templates(filled):
    enrolment = started(filled.home)
    before = shown(enrolment)

    def refuse(last):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        enrolment.remove_photo("Person 01", filled.files[EACH][2], refuse)
    assert shown(enrolment) == before
    assert shown(started(filled.home)) == before


def test_what_is_damaged_or_changed_is_read_from_its_file(filled):
    filled.home.put(filled.files[0][0], b"another, longer content")
    with closing(sqlite3.connect(filled.home.cache_file)) as connection, connection:
        connection.execute("UPDATE encodings SET score = 0.5 WHERE photo = ?", (filled.files[EACH][2],))
    enrolment = started(filled.home)
    assert {problem.path for problem in enrolment.problems()} == {
        filled.files[0][0],
        filled.files[EACH][0],
    }  # they are no photos
    assert sum(len(held) for held in templates(enrolment).values()) == PEOPLE * EACH - 3


# --- folders that have not changed -------------------------------------------------------------------------------------


@pytest.fixture
def stopped(filled):
    """The same after a server followed the folder and ended; `read` notes which folders are read from then on."""
    before = started(filled.home)
    before.tidy()
    before.cache.close()
    filled.before, filled.read = shown(before), []
    real = filled.home.known._scan_subject

    def noting(subject, folder, photos, seen):
        filled.read.append(folder)
        return real(subject, folder, photos, seen)

    filled.home.known._scan_subject = noting
    return filled


def trusting(home):
    enrolment = home.enrolment()
    return enrolment, enrolment.sync(trusting=True)


def test_a_start_reads_no_folder_that_did_not_change(stopped, monkeypatch):
    monkeypatch.setattr(folder_sync, "IN_TURN", 0)
    enrolment, _ = trusting(stopped.home)
    assert stopped.read == [] and shown(enrolment) == stopped.before and enrolment.problems() == []
    started(stopped.home)
    assert len(stopped.read) == PEOPLE  # who does not follow the folder looks at every file


def test_a_start_does_not_read_again_what_enrols_nobody(filled, monkeypatch):
    """Photos without a face, with several, or of a kind that was never usable: the folder is as well known as any other."""
    cache = filled.home.enrolment().cache
    chosen = [3 * EACH, 3 * EACH + 2, 5 * EACH, *range(7 * EACH, 8 * EACH)]
    for index in chosen:
        shown_there = filled.encodings[index]
        nothing = Encoding(shown_there.photo, shown_there.engine, shown_there.face, None, "no_face", "no face was found")
        cache.put([nothing])
    before = started(filled.home)
    before.tidy()
    problems = before.problems()
    assert [each.path for each in problems] == sorted(filled.files[index][0] for index in chosen)
    read, looked_up = [], []
    monkeypatch.setattr(filled.home.known, "_scan_subject", lambda *_: read.append(_))
    monkeypatch.setattr(EncodingsCache, "encodings", lambda *_: looked_up.append(_))
    enrolment, more = trusting(filled.home)
    assert more and read == [] and looked_up == []
    assert enrolment.problems() == problems and enrolment.problem_count == len(chosen)
    assert enrolment.names() == before.names() and templates(enrolment) == templates(before)
    whole = [(name, entry.path, entry.stamp, entry.photo) for name, held in before.subjects().items() for entry in held]
    assert whole == [
        (name, entry.path, entry.stamp, entry.photo) for name, held in enrolment.subjects().items() for entry in held
    ]


def test_what_enrols_nobody_and_is_damaged_is_examined_again(filled):
    cache = filled.home.enrolment().cache
    odd = filled.encodings[0]
    cache.put([Encoding(odd.photo, odd.engine, odd.face, None, "no_face", "no face was found")])
    started(filled.home).tidy()
    with closing(sqlite3.connect(filled.home.cache_file)) as connection, connection:
        connection.execute("UPDATE encodings SET problem = 'several_faces' WHERE photo = ?", (odd.photo,))
    enrolment, _ = trusting(filled.home)
    assert [(each.path, each.code) for each in enrolment.problems()] == [(filled.files[0][0], "unsupported_image")]


def test_a_start_sees_what_changed_meanwhile(stopped, monkeypatch):
    monkeypatch.setattr(folder_sync, "IN_TURN", 0)
    root = stopped.home.known.root
    shutil.rmtree(root / "Person 01")
    (root / "Person 02" / "0.jpg").unlink()
    stopped.home.put("New/1.jpg", b"no photo")
    (root / "Person 04" / ".part-left").write_bytes(b"x")
    enrolment, _ = trusting(stopped.home)
    assert sorted(stopped.read) == ["New", "Person 02", "Person 04"]
    assert "Person 01" not in enrolment.gallery.subjects() and len(enrolment.entries("Person 02")) == EACH - 1
    assert [problem.path for problem in enrolment.problems()] == ["New/1.jpg"]
    enrolment.sweep_left_over()
    assert not (root / "Person 04" / ".part-left").exists()


def test_files_that_were_written_anew_in_place_are_found_by_the_next_looks(stopped, monkeypatch):
    monkeypatch.setattr(folder_sync, "IN_TURN", 100)
    changed = stopped.files[-1][0], stopped.files[0][0]
    for path in changed:
        with open(stopped.home.known.root / path, "r+b") as file:
            file.write(b"another, longer content than before")
    enrolment, more = trusting(stopped.home)
    assert more and stopped.read == [] and shown(enrolment) == stopped.before  # a start waits for none of them
    looks = 0
    while more and looks < 10 and len(set(stopped.read)) < PEOPLE:
        more, looks = enrolment.sync(changed=[]), looks + 1
    assert {problem.path for problem in enrolment.problems()} == set(changed)
    assert looks == 3 and set(stopped.read) == {path.partition("/")[0] for path, *_ in stopped.files}


def test_the_folder_of_somebody_erased_is_not_in_the_cache(stopped):
    enrolment, _ = trusting(stopped.home)
    assert len(enrolment.cache.folders()) == PEOPLE
    enrolment.remove_subject("Person 05")
    for file in stopped.home.cache_file.parent.iterdir():
        assert b"Person 05" not in file.read_bytes()
    enrolment.remove_photo("Person 06", stopped.files[6 * EACH][2])
    enrolment.rename("Person 07", "Somebody")
    gone = {f"Person {number:02d}" for number in (5, 6, 7)}
    assert enrolment.cache.folders().keys() == {f"Person {number:02d}" for number in range(PEOPLE)} - gone


def test_what_takes_long_of_tidying_is_left_to_the_next_look(filled, monkeypatch):
    monkeypatch.setattr(folder_sync, "LATER_FROM", PEOPLE)
    monkeypatch.setattr(folder_sync, "_REMEMBERED_AT_ONCE", 20)
    before = filled.home.enrolment().cache
    before.put([replace(filled.encodings[0], photo="f" * 32), replace(filled.encodings[0], engine="another")])
    before.remember_files([("Gone/1.jpg", FileStamp(1, 2, 3), "e" * 32)])
    enrolment = started(filled.home)
    enrolment.tidy(later=True)
    assert "Gone/1.jpg" not in enrolment.cache.files() and "f" * 32 in enrolment.cache.photos()
    assert not enrolment.cache.folders()
    enrolment.sync(changed=[])
    assert "f" * 32 not in enrolment.cache.photos() and not enrolment.cache.encodings("another")
    assert len(enrolment.cache.folders()) == PEOPLE and len(enrolment.cache.photos()) == PEOPLE * EACH


@pytest.mark.parametrize("later", [True, False])
def test_what_the_disk_refuses_of_tidying_is_tried_again(filled, monkeypatch, later):
    monkeypatch.setattr(folder_sync, "LATER_FROM", PEOPLE)
    enrolment = started(filled.home)
    enrolment.cache.put([replace(filled.encodings[0], photo="f" * 32)])
    without_file, refused = enrolment.cache.without_file, []

    def refuse():
        if not refused:
            refused.append(1)
            raise StorageError("database is locked")
        return without_file()

    monkeypatch.setattr(enrolment.cache, "without_file", refuse)
    enrolment.tidy(later=later)
    enrolment.sync(changed=[])
    enrolment.sync(changed=[])
    assert refused and "f" * 32 not in enrolment.cache.photos() and len(enrolment.cache.folders()) == PEOPLE


COLUMNS = [("files", "path"), ("files", "photo"), ("encodings", "photo"), ("encodings", "face"), ("encodings", "vector")]


def of_another_type(home, table: str, column: str, photo: str) -> None:
    """Damage a row as a bit of its header can: a value has another type."""
    value = "5" if column == "vector" else f"CAST({column} AS BLOB)"
    with closing(sqlite3.connect(home.cache_file)) as connection, connection:
        assert connection.execute(f"UPDATE {table} SET {column} = {value} WHERE photo = ?", [photo]).rowcount == 1


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_of_another_type_ends_no_start(filled, table, column):
    photo = filled.files[0][2]
    of_another_type(filled.home, table, column, photo)
    for _ in range(2):
        enrolment = started(filled.home)
        enrolment.tidy()
        assert len(enrolment.names()) == PEOPLE
    assert enrolment.remove_subject("Person 00")
    with closing(sqlite3.connect(filled.home.cache_file)) as connection:
        for each in ("files", "encodings"):
            assert connection.execute(f"SELECT count(*) FROM {each} WHERE CAST(photo AS TEXT) = ?", [photo]).fetchone() == (0,)


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_value_of_another_type_stops_no_erasure(filled, table, column):
    enrolment = started(filled.home)
    of_another_type(filled.home, table, column, filled.files[0][2])
    enrolment.remove_subject("Person 00")
    assert "Person 00" not in enrolment.names() and not (filled.home.root / "known_faces" / "Person 00").exists()


def test_somebody_erased_while_folders_are_remembered_is_not_among_them(filled, monkeypatch):
    monkeypatch.setattr(folder_sync, "_REMEMBERED_AT_ONCE", 20)
    enrolment = started(filled.home)
    remember, gone = enrolment.cache.remember_folders, {"Person 01", "Person 69"}

    def remembering(folders):
        remember(folders)
        for name in gone & set(enrolment.names()):
            enrolment.remove_subject(name)

    monkeypatch.setattr(enrolment.cache, "remember_folders", remembering)
    enrolment.tidy()
    assert enrolment.cache.folders().keys() == {f"Person {number:02d}" for number in range(PEOPLE)} - gone


@pytest.mark.parametrize("changes", [False, True])
def test_after_a_start_the_cache_has_nothing_of_folders_that_are_gone(stopped, changes):
    """Also of a row that is damaged, and if another process has changed something since the cache was read."""
    shutil.rmtree(stopped.home.known.root / "Person 01")
    shutil.rmtree(stopped.home.known.root / "Person 02")
    other = stopped.home.enrolment().cache
    path = stopped.files[2 * EACH][0]
    with closing(sqlite3.connect(stopped.home.cache_file)) as connection, connection:
        connection.execute("UPDATE files SET size = size + 1 WHERE photo = ?", (stopped.files[2 * EACH][2],))
    enrolment, _ = trusting(stopped.home)
    if changes:
        other.remember_files([("Nobody/1.jpg", FileStamp(1, 2, 3), "e" * 32)])
    assert path not in enrolment.entries("Person 03")[0].path
    enrolment.tidy()
    assert not {name.partition("/")[0] for name in enrolment.cache.paths()} & {"Person 01", "Person 02", "Nobody"}
    assert len(enrolment.cache.photos()) == (PEOPLE - 2) * EACH


def test_of_names_that_some_systems_cannot_tell_apart_a_start_uses_the_first(stopped):
    """Also if that one came while no server ran: the other one, whose folder did not change, is trusted no longer."""
    stopped.home.put("PERSON 01/1.jpg", b"no photo")
    enrolment, _ = trusting(stopped.home)
    assert enrolment.names() == started(stopped.home).names() and "Person 01" not in enrolment.gallery.subjects()
    assert {(each.path, each.code) for each in enrolment.problems()} >= {("Person 01", "name_taken")}


def test_rows_that_lack_something_are_left_out_of_what_is_read_at_once(filled):
    cache, engine = filled.home.enrolment().cache, filled.home.engine.info
    odd = replace(filled.encodings[0], score=None)
    cache.put([odd])
    photos, _ = filled.home.known.scan()
    known = known_photos.read(cache, engine.id, engine.dim, photos)
    assert known.paths == [path for path, *_ in filled.files[1:]]
    assert [photo_of(each) for each in known.packed] == [photo for *_, photo in filled.files[1:]]
    assert all(np.array_equal(row, each.vector) for row, each in zip(known.vectors, filled.encodings[1:], strict=True))


def test_rows_are_read_together_as_they_are_one_by_one(filled, monkeypatch):
    cache, engine = filled.home.enrolment().cache, filled.home.engine.info
    cache.put([replace(filled.encodings[4], face="largest", score=0.1), replace(filled.encodings[5], photo="a" * 32)])
    photos, _ = filled.home.known.scan()
    again = [replace(photo, subject="Copies", path=f"Copies/{i}.jpg") for i, photo in enumerate(photos[:5])]
    cache.remember_files([(new.path, new.stamp, files[2]) for new, files in zip(again, filled.files, strict=False)])
    asked = [replace(photos[0], path="never/there.jpg"), *again, *photos[:-3]]
    rest = {}
    together = known_photos.read(cache, engine.id, engine.dim, asked, rest)
    assert rest == {path: photo for path, _, photo in filled.files[-3:]}
    taken = []
    monkeypatch.setattr(known_photos._Found, "_take_together", lambda self, *columns: taken.append(len(columns[0])))
    alone = known_photos.read(cache, engine.id, engine.dim, asked)
    assert sum(taken) == PEOPLE * EACH + 2
    assert (together.subjects, together.paths, together.packed) == (alone.subjects, alone.paths, alone.packed)
    assert np.array_equal(together.vectors, alone.vectors) and len(together.paths) == PEOPLE * EACH + 5 - 3
    assert all(np.array_equal(row, each.vector) for row, each in zip(together.vectors[5:], filled.encodings, strict=False))


def test_files_with_one_photo_are_all_read(filled):
    """Ten people with the same file, and one whose photo has an id that no photo gets."""
    cache, info = filled.home.enrolment().cache, filled.home.engine.info
    paths = [f"Person {number:02d}/same.jpg" for number in range(10)]
    stamp, photo = FileStamp(1, 2, 3), filled.files[0][2]
    unusual = replace(filled.encodings[1], photo="unusual")
    cache.put([unusual])
    cache.remember_files([(path, stamp, photo) for path in paths] + [("Person 11/odd.jpg", stamp, "unusual")])
    subjects = {f"Person {number:02d}": f"Person {number:02d}" for number in range(PEOPLE)}
    known = known_photos.in_folders(cache, info.id, info.dim, subjects)
    assert sorted(known.paths) == sorted([path for path, *_ in filled.files] + paths)
    rows = [known.paths.index(path) for path in paths]
    assert {known.vectors[row].tobytes() for row in rows} == {filled.encodings[0].vector.tobytes()}
    assert {photo_of(known.packed[row]) for row in rows} == {photo} and next(known.files()).stamp != stamp


def test_uses_of_photos():
    uses, ids = PhotoUses(), [f"{number:032x}" for number in (1, 2, 2, 255 << 64, 256)]
    uses.load(bytes.fromhex(each) for each in ids)
    uses.add(ids[0])
    uses.add("unusual")
    assert [uses[each] for each in (*ids, "unusual", f"{3:032x}")] == [2, 2, 2, 1, 1, 1, 0]
    uses.load([bytes.fromhex(ids[0])])
    for each in (ids[1], ids[1], ids[0], "unusual"):
        uses.remove(each)
    assert [uses[each] for each in (*ids, "unusual")] == [2, 0, 0, 1, 1, 0]


def test_files_in_a_folder_are_counted_also_where_a_subject_has_two(filled):
    table = started(filled.home)._table
    with table.lock:
        [entry] = [each for each in table.entries("Person 01") if each.path.endswith("/0.jpg")]
        assert table.count_in("Person 01") == EACH
        table.record(replace(entry, path="Person  01/0.jpg"))
        assert (table.count_in("Person 01"), table.count_in("Person  01"), table.count_in("Nobody")) == (EACH, 1, 0)
        table.forget(entry.path)
        assert (table.count_in("Person 01"), table.count_in("Person  01")) == (EACH - 1, 1)


def test_a_new_cache_has_a_page_for_each_template_and_an_older_one_goes_on(tmp_path):
    vector = np.arange(256, dtype=np.float32)
    encodings = [
        Encoding(f"{i:032x}", "engine", "only", vector, None, None, (1.0, 2.0, 3.0, 4.0), 0.5, 6, 7) for i in range(400)
    ]
    sizes = {}
    for name, page in (("new", None), ("older", 4096)):
        file = tmp_path / name
        with closing(sqlite3.connect(file)) as connection, connection:
            if page is not None:
                connection.execute(f"PRAGMA page_size = {page}")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA user_version = 0")
        cache = EncodingsCache(file)
        cache.put(encodings)
        assert list(cache.encodings("engine").values()) == encodings
        cache.close()
        sizes[name] = file.stat().st_size
    assert sizes["new"] < sizes["older"] / 2
