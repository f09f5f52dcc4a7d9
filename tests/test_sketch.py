"""Sketches change how many rows are read; what is found, hardly ever."""

from __future__ import annotations

import threading as sketch_thread

import numpy as np
import pytest

from recognizer.core.types import Embedding, Template
from recognizer.galleries import sketch as sketch_module
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.sketch import MEASURED, MEASURED_PER_SUBJECT, PARTS, Sketch

DIM = 64


def people(count: int, photos: int, seed: int = 1) -> np.ndarray:
    """Vectors of so many people, a few of each, as embeddings are: near each other, far from others'; (count, photos, DIM)."""
    rng = np.random.default_rng(seed)
    spread = np.exp(-np.arange(DIM) / 20)
    return (rng.normal(size=(count, 1, DIM)) + 0.2 * rng.normal(size=(count, photos, DIM))) * spread


def gallery_of(vectors: np.ndarray, sketch_from: int) -> MemoryGallery:
    gallery = MemoryGallery("e", DIM, sketch_from)
    gallery.add(templates(vectors))
    gallery.settle()
    return gallery


def templates(vectors: np.ndarray, first: int = 0) -> list[Template]:
    return [
        Template(f"s{first + i}", f"p{j}", Embedding(vector.astype(np.float32), "e"))
        for i, photos in enumerate(vectors)
        for j, vector in enumerate(photos)
    ]


def answers(gallery: MemoryGallery, probes: np.ndarray, k: int) -> list:
    return [
        [(each.subject, each.photo, round(each.distance, 4)) for each in found]
        for found in gallery.search(probes.astype(np.float32), k)
    ]


@pytest.mark.parametrize("k", [1, 2, 7])
def test_finds_what_a_full_search_finds(k, monkeypatch):
    monkeypatch.setattr(sketch_module, "MEASURED", 16)  # in each part of 560 rows
    vectors = people(3000, 3)
    sketched, plain = gallery_of(vectors, 1000), gallery_of(vectors, 10**9)
    rng = np.random.default_rng(2)
    probes = np.concatenate([vectors[:40, 0] + 0.05 * rng.normal(size=(40, DIM)), people(40, 1, seed=3)[:, 0]])
    assert answers(sketched, probes, k) == answers(plain, probes, k)


def test_few_rows_are_left_and_the_nearest_is_among_the_first_of_them():
    vectors = people(3000, 3).reshape(-1, DIM).astype(np.float32)
    sketch = Sketch(vectors, len(vectors))
    for row in range(0, 9000, 900):
        left = sketch.candidates(vectors[row] + 0.01, len(vectors), 1).rows
        assert len(set(left)) == PARTS * (MEASURED + MEASURED_PER_SUBJECT) < len(vectors)
        assert row in left[:: MEASURED + MEASURED_PER_SUBJECT]


def test_sketches_order_rows_as_their_distances_do():
    vectors = people(3000, 1).reshape(-1, DIM).astype(np.float32)
    probe = people(1, 1, seed=5).reshape(DIM).astype(np.float32)
    order = Sketch(vectors, len(vectors)).candidates(probe, len(vectors), 1).rows[: MEASURED + MEASURED_PER_SUBJECT]
    by_distance = np.argsort(np.linalg.norm(vectors - probe, axis=1))
    rank = np.empty(len(vectors), int)
    rank[by_distance] = np.arange(len(vectors))
    assert np.corrcoef(rank[order], np.arange(len(order)))[0, 1] > 0.98


def test_a_few_people_with_most_of_the_photos_do_not_hide_the_others():
    crowd = people(1, 4000)
    gallery = gallery_of(crowd, 1000)
    gallery.add(templates(people(3, 1, seed=9), first=1))
    gallery.settle()
    found = answers(gallery, crowd[0, :1], 4)[0]
    assert {subject for subject, *_ in found} == {"s0", "s1", "s2", "s3"}


def test_rows_added_since_and_rows_removed_are_seen():
    vectors = people(3000, 3)
    gallery = gallery_of(vectors, 1000)
    late = people(5, 1, seed=9)
    gallery.add(templates(late, first=5000))
    assert [found[0][0] for found in answers(gallery, late[:, 0], 1)] == [f"s{5000 + i}" for i in range(5)]
    assert answers(gallery, vectors[7, :1], 1)[0][0][:2] == ("s7", "p0")
    gallery.remove("s7")
    assert answers(gallery, vectors[7, :1], 1)[0][0][0] != "s7"
    gallery.remove("s5001")
    assert answers(gallery, late[1], 1)[0][0][0] != "s5001"


def test_nothing_of_a_removed_face_stays_in_its_sketch():
    vectors = people(3000, 3)
    gallery = gallery_of(vectors, 1000)
    gallery.remove("s7")
    rows = gallery.sketch.rows[21:24]
    assert (rows == 255).all()


def test_what_is_added_has_a_sketch_at_once_and_twice_as_many_have_new_axes():
    vectors = people(2000, 1)
    gallery = gallery_of(vectors[:1200], 1000)
    sketch = gallery.sketch
    gallery.add(templates(vectors[1200:1700], first=1200))
    gallery.settle()
    assert (gallery.sketch.count, gallery.sketch.made_of) == (1700, sketch.made_of)
    for start in range(1700, 2000, 100):
        gallery.add(templates(vectors[start : start + 100], first=start))
    gallery.add(templates(people(500, 1, seed=4), first=2000))
    gallery.settle()
    assert gallery.sketch.count == 2500 and gallery.sketch.made_of > sketch.made_of
    plain = gallery_of(np.concatenate([vectors, people(500, 1, seed=4)]), 10**9)
    assert plain.sketch is None
    assert answers(gallery, vectors[::40, 0], 2) == answers(plain, vectors[::40, 0], 2)


def test_a_gallery_that_is_packed_keeps_its_sketches():
    vectors = people(6000, 1)
    gallery = gallery_of(vectors, 1000)
    for i in range(4000):
        gallery.remove(f"s{i}")
    gallery.add(templates(people(5, 1, seed=9), first=9000))
    gallery.settle()
    assert len(gallery.sketch.vectors) < 6000 and gallery.sketch.count == len(gallery) == 2005
    for i in (4000, 5000, 5999):
        assert answers(gallery, vectors[i], 1)[0][0][:2] == (f"s{i}", "p0")


def test_vectors_without_principal_axes_are_searched_whole(monkeypatch):
    monkeypatch.setattr(sketch_module, "MEASURED", 16)
    vectors = np.random.default_rng(6).normal(size=(6000, 1, 256))
    galleries = [MemoryGallery("e", 256, sketch_from) for sketch_from in (1000, 10**9)]
    for gallery in galleries:
        gallery.add(templates(vectors))
        gallery.settle()
    probes = np.random.default_rng(7).normal(size=(40, 256))
    assert answers(galleries[0], probes, 2) == answers(galleries[1], probes, 2)
    assert galleries[0].sketch.misses > 0
    assert answers(galleries[0], vectors[3] + 0.1, 1)[0][0][0] == "s3"


def test_nothing_is_sketched_once_nearly_all_are_gone(monkeypatch):
    gallery = MemoryGallery("e", DIM, 8)
    begun = []
    monkeypatch.setattr(sketch_thread.Thread, "start", lambda thread: begun.append(thread))
    gallery.add(templates(people(3000, 1)))
    for i in range(2999):
        gallery.remove(f"s{i}")
    gallery.add([])
    monkeypatch.undo()
    assert len(begun) == 1 and len(gallery) == 1
    begun[0].run()
    assert gallery.sketch is None
    assert answers(gallery, people(3000, 1)[2999], 1)[0][0][:2] == ("s2999", "p0")
