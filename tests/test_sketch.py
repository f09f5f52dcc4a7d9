"""Sketches and codes change how many rows are read; what is found, hardly ever."""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading as sketch_thread
from pathlib import Path

import numpy as np
import pytest

from recognizer.core.types import Embedding, Template
from recognizer.galleries import codes, vector_store
from recognizer.galleries import sketch as sketch_module
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.sketch import MEASURED, MEASURED_PER_SUBJECT, PARTS, Sketch
from recognizer.galleries.vector_store import BLOCK, FirstRows, VectorStore

DIM = 128


@pytest.fixture(params=["sketches", "codes"], autouse=True)
def kind(request, monkeypatch) -> str:
    """Which of the two galleries use, whatever is installed."""
    if request.param == "codes" and not codes.is_available():
        pytest.skip("faiss is not installed: pip install faiss-cpu")
    monkeypatch.setattr(codes, "suits", lambda dim: request.param == "codes")
    monkeypatch.setattr(codes, "_TAIL", 100)
    return request.param


def few(monkeypatch) -> None:
    """Let few rows be measured."""
    monkeypatch.setattr(sketch_module, "MEASURED", 16)  # in each part of 560 rows
    monkeypatch.setattr(codes, "MEASURED", 300)


def stored(vectors: np.ndarray) -> VectorStore:
    store = VectorStore(vectors.shape[1])
    store.reserve(len(vectors))
    store.write(0, vectors.astype(np.float32))
    return store


def people(count: int, photos: int, seed: int = 1) -> np.ndarray:
    """Vectors of so many people, a few of each, as embeddings are: near each other, far from others'; (count, photos, DIM)."""
    rng = np.random.default_rng(seed)
    spread = np.exp(-np.arange(DIM) / 40)
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


@pytest.mark.slow
def test_finds_what_a_full_search_finds(monkeypatch):
    few(monkeypatch)
    vectors = people(3000, 3)
    sketched, plain = gallery_of(vectors, 1000), gallery_of(vectors, 10**9)
    rng = np.random.default_rng(2)
    probes = np.concatenate([vectors[:40, 0] + 0.05 * rng.normal(size=(40, DIM)), people(40, 1, seed=3)[:, 0]])
    for k in (1, 2, 7):
        assert answers(sketched, probes, k) == answers(plain, probes, k), k


def test_few_rows_are_left_and_the_nearest_is_among_the_first_of_them():
    vectors = people(3000, 3).reshape(-1, DIM).astype(np.float32)
    sketch = Sketch(stored(vectors), len(vectors))
    for row in range(0, 9000, 900):
        left = sketch.candidates(vectors[row] + 0.01, len(vectors), 1).rows
        assert len(set(left)) == PARTS * (MEASURED + MEASURED_PER_SUBJECT) < len(vectors)
        assert row in left[:: MEASURED + MEASURED_PER_SUBJECT]


def test_sketches_order_rows_as_their_distances_do():
    vectors = people(3000, 1).reshape(-1, DIM).astype(np.float32)
    probe = people(1, 1, seed=5).reshape(DIM).astype(np.float32)
    order = Sketch(stored(vectors), len(vectors)).candidates(probe, len(vectors), 1).rows[: MEASURED + MEASURED_PER_SUBJECT]
    by_distance = np.argsort(np.linalg.norm(vectors - probe, axis=1))
    rank = np.empty(len(vectors), int)
    rank[by_distance] = np.arange(len(vectors))
    assert np.corrcoef(rank[order], np.arange(len(order)))[0, 1] > 0.98


@pytest.mark.slow
def test_a_few_people_with_most_of_the_photos_do_not_hide_the_others():
    crowd = people(1, 4000)
    gallery = gallery_of(crowd, 1000)
    gallery.add(templates(people(3, 1, seed=9), first=1))
    gallery.settle()
    found = answers(gallery, crowd[0, :1], 4)[0]
    assert {subject for subject, *_ in found} == {"s0", "s1", "s2", "s3"}


@pytest.mark.slow
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


@pytest.mark.slow
def test_nothing_of_a_removed_face_stays_in_its_sketch(kind):
    vectors = people(3000, 3)
    gallery = gallery_of(vectors, 1000)
    if kind == "sketches":
        gallery.remove("s7")
        assert (gallery.sketch.rows[21:24] == 255).all()
        return
    [index] = gallery.sketch._segments
    before = codes._codes_of(index).copy()
    distances = index.search(vectors[:, 0].astype(np.float32), 50)
    gallery.remove("s7")
    after = codes._codes_of(index)
    kept = np.ones(len(vectors) * 3, bool)
    kept[21:24] = False
    for row in np.flatnonzero(kept)[:200].tolist():  # the codes of others are as they were
        mask = gallery.sketch._masks[row % 32]
        block = slice(row // 32 * len(mask), (row // 32 + 1) * len(mask))
        assert ((before[block] ^ after[block]) & mask == 0).all()
    for row in (21, 22, 23):
        mask = gallery.sketch._masks[row % 32]
        assert (after[row // 32 * len(mask) : (row // 32 + 1) * len(mask)] & mask == 0).all()
        assert not (before[row // 32 * len(mask) : (row // 32 + 1) * len(mask)] & mask == 0).all()
    assert gallery.sketch._masks.sum(axis=0).max() <= 255  # no bit belongs to two rows
    again = index.search(vectors[:, 0].astype(np.float32), 50)
    assert (again[1][500:, 0] == distances[1][500:, 0]).mean() > 0.99


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_gallery_that_is_packed_keeps_its_sketches():
    vectors = people(6000, 1)
    gallery = gallery_of(vectors, 1000)
    for i in range(4000):
        gallery.remove(f"s{i}")
    gallery.add(templates(people(5, 1, seed=9), first=9000))
    gallery.settle()
    assert gallery.sketch.count == len(gallery) == 2005
    for i in (4000, 5000, 5999):
        assert answers(gallery, vectors[i], 1)[0][0][:2] == (f"s{i}", "p0")


@pytest.mark.slow
def test_vectors_without_principal_axes_are_searched_whole(monkeypatch):
    few(monkeypatch)
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


@pytest.mark.slow
def test_codes_in_several_segments_and_rows_that_have_none_yet(kind, monkeypatch):
    if kind == "sketches":
        pytest.skip("sketches have no segments")
    few(monkeypatch)
    monkeypatch.setattr(codes, "_SEGMENT", 4096)
    monkeypatch.setattr(codes, "_ADDED_AT_ONCE", 1024)
    vectors = people(3000, 3)
    coded, plain = gallery_of(vectors[:2500], 1000), gallery_of(vectors, 10**9)
    for first in (2500, 2520, 2540, 2900):
        coded.add(templates(vectors[first : {2500: 2520, 2520: 2540, 2540: 2900, 2900: 3000}[first]], first))
    assert [int(each.ntotal) for each in coded.sketch._segments] == [4096, 4096, coded.sketch._coded - 8192]
    for name in ("s3", "s1400", "s2905"):
        assert coded.remove(name) == plain.remove(name) == 3
    rng = np.random.default_rng(2)
    probes = np.concatenate([vectors[::75, 0] + 0.05 * rng.normal(size=(40, DIM)), people(40, 1, seed=3)[:, 0]])
    assert answers(coded, probes, 2) == answers(plain, probes, 2)


class TestVectorStore:
    @pytest.fixture(params=["memory", "file", "large file"])
    def store(self, request, tmp_path, monkeypatch) -> VectorStore:
        if request.param == "large file":
            monkeypatch.setattr(vector_store, "_READ_FROM", 1)
        return VectorStore(4, tmp_path / "state", 10**9 if request.param == "memory" else 3 * BLOCK // 2)

    def test_rows_across_blocks_are_as_they_were_written(self, store):
        rows = np.random.default_rng(1).normal(size=(3 * BLOCK, 4)).astype(np.float32)
        for start in range(0, len(rows), BLOCK - 7):
            part = rows[start : start + BLOCK - 7]
            store.reserve(start + len(part))
            store.write(start, part)
        assert store.on_disk == (store._file_from < 10**9)
        assert np.array_equal(store.rows(BLOCK - 5, 2 * BLOCK + 5), rows[BLOCK - 5 : 2 * BLOCK + 5])
        chosen = np.random.default_rng(2).integers(0, len(rows), 1000)
        assert np.array_equal(store.take(chosen), rows[chosen])
        store.clear(BLOCK + 3)
        store.release()
        assert not store.take(np.array([BLOCK + 3])).any() and np.array_equal(
            store.take(np.array([BLOCK + 4])), rows[[BLOCK + 4]]
        )
        store.write(BLOCK + 3, rows[:2])  # what was written last is read, whichever way
        assert np.array_equal(store.take(np.array([BLOCK + 4, 0, BLOCK + 3])), rows[[1, 0, 0]])
        first = FirstRows(store, 2 * BLOCK + 1)
        assert len(first) == 2 * BLOCK + 1 and len(first[slice(2 * BLOCK, 3 * BLOCK)]) == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is mapped")
    def test_single_rows_of_a_large_file_are_not_mapped(self, tmp_path, monkeypatch):
        def mapped() -> int:
            return int(Path("/proc/self/statm").read_text().split()[2]) * mmap.PAGESIZE

        store = VectorStore(64, tmp_path, 1)
        rows = np.random.default_rng(1).normal(size=(2 * BLOCK, 64)).astype(np.float32)
        store.reserve(len(rows))
        store.write(0, rows)
        chosen = np.random.default_rng(2).integers(0, len(rows), 250)
        monkeypatch.setattr(vector_store, "_READ_FROM", 1)
        store.release()
        before = mapped()
        assert np.array_equal(store.take(chosen), rows[chosen]) and mapped() - before < 1 << 20
        monkeypatch.setattr(vector_store, "_READ_FROM", 10**9)
        assert np.array_equal(store.take(chosen), rows[chosen]) and mapped() - before > 4 << 20

    def test_the_file_has_no_name(self, store, tmp_path):
        store.reserve(2 * BLOCK)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_a_folder_that_cannot_be_written_means_memory(self, tmp_path):
        (tmp_path / "file").write_text("")
        store = VectorStore(4, tmp_path / "file", 1)
        store.reserve(10)
        store.write(0, np.ones((10, 4), np.float32))
        assert not store.on_disk and store.rows(0, 10).all()

    @pytest.mark.parametrize("room", [0, 2])
    def test_a_full_disk_means_memory_for_what_has_no_room(self, tmp_path, monkeypatch, room):
        allocated = []

        def allocate(file, start, size):
            if len(allocated) == room:
                raise OSError(errno.ENOSPC, "No space left on device")
            allocated.append(start)

        monkeypatch.setattr(os, "posix_fallocate", lambda *place: (allocate(*place), os.truncate(place[0], sum(place[1:]))))
        store = VectorStore(4, tmp_path, 1)
        rows = np.random.default_rng(1).normal(size=(3 * BLOCK, 4)).astype(np.float32)
        for start in range(0, len(rows), BLOCK):
            store.reserve(start + BLOCK)
            store.write(start, rows[start : start + BLOCK])
        store.release()
        assert store.on_disk == (room > 0) and len(allocated) == room
        assert np.array_equal(store.rows(0, 3 * BLOCK), rows)


def test_many_are_loaded_at_once(kind):
    vectors = people(500, 2).reshape(-1, DIM).astype(np.float32)
    loaded, plain = MemoryGallery("e", DIM, 10**9), MemoryGallery("e", DIM, 10**9)
    photos = np.random.default_rng(1).integers(0, 256, (1000, 16), np.uint8)
    ids = [each.tobytes().hex() for each in photos]
    loaded.add(templates(vectors[:3, None], first=900))
    plain.add(templates(vectors[:3, None], first=900))
    loaded.load(vectors, np.arange(1000) // 2, [f"s{i}" for i in range(500)], photos)
    plain.add([Template(f"s{i // 2}", ids[i], Embedding(vectors[i], "e")) for i in range(1000)])
    assert loaded.subjects() == plain.subjects() and len(loaded) == len(plain) == 1003
    assert answers(loaded, vectors[::50] + 0.01, 3) == answers(plain, vectors[::50] + 0.01, 3)
    assert loaded.remove("s4", ids[9]) == 1 and loaded.rename("s4", "s5") == 1 and loaded.subjects()["s5"] == 3
    with pytest.raises(ValueError, match="subjects without templates"):
        loaded.load(vectors[:1], np.zeros(1, int), ["s7"], photos[:1])
    with pytest.raises(ValueError, match="expected 2 rows"):
        loaded.load(vectors[:1], np.zeros(2, int), ["new"], photos[:1])
