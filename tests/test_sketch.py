"""Sketches change which rows are read, never what is found."""

from __future__ import annotations

import numpy as np
import pytest

from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.sketch import Sketch
from recognizer.types import Embedding, Template

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
def test_finds_what_a_full_search_finds(k):
    vectors = people(3000, 3)
    sketched, plain = gallery_of(vectors, 1000), gallery_of(vectors, 10**9)
    rng = np.random.default_rng(2)
    probes = np.concatenate([vectors[:40, 0] + 0.05 * rng.normal(size=(40, DIM)), people(40, 1, seed=3)[:, 0]])
    assert answers(sketched, probes, k) == answers(plain, probes, k)


def test_the_sketch_is_used_and_leaves_few_rows():
    vectors = people(3000, 3).reshape(-1, DIM).astype(np.float32)
    sketch = Sketch(vectors, len(vectors))
    owners = np.arange(len(vectors)) // 3
    left = [len(sketch.candidates(vectors[row] + 0.01, owners, 1)) for row in range(0, 9000, 900)]
    assert max(left) < 90


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
    rows = gallery._sketch._rows[21:24]
    assert not rows[:, :-1].any() and np.isinf(rows[:, -1]).all()


def test_a_grown_gallery_is_sketched_anew():
    gallery = gallery_of(people(2000, 1), 1000)
    gallery.add(templates(people(2000, 1, seed=4), first=2000))
    gallery.settle()
    assert gallery._sketch.count == 4000 and gallery._sketch.vectors is gallery._rows.vectors


def test_without_enough_owners_the_search_is_full():
    vectors = people(3000, 1).reshape(-1, DIM).astype(np.float32)
    sketch = Sketch(vectors, len(vectors))
    assert sketch.candidates(vectors[0], np.zeros(3000, int), 2) is None
