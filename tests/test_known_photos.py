"""Starts with many photos that the cache knows: the same people as by reading every file, in little memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from recognizer.core.vault import Vault
from recognizer.enrolment import folder_sync
from recognizer.enrolment.cache import Encoding, FileStamp, photo_id
from recognizer.enrolment.entries import Entry

from .enrolling import Home

#: More files than are looked up one by one.
PEOPLE, EACH = 30, 3
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
