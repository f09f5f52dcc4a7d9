"""Searching the enrolled: the gallery in memory against face_recognition's ways, from 1,000 to 1,000,000 templates.

    python benchmarks/search.py [--quick] [--json FILE] [--profile]

Vectors are drawn at random. `product` is NumPy's matrix product of all templates with the probes alone, which no exact
search can beat; `list` is face_recognition.compare_faces on a list of float64 arrays, as in its examples, and `array` its
face_distance on one float32 array. Everything runs on one thread, as in a server whose other cores work on other requests
(BLAS threads that wait for a busy core make a search many times slower). Every search's answer is compared with distances
taken in float64.
"""

from __future__ import annotations

import cProfile
import os
import pstats
import tracemalloc

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import numpy as np
import report

from recognizer.galleries.memory import MemoryGallery
from recognizer.types import Embedding, Template

ENGINE = "drawn/1"
#: compare_faces copies the list each time; beyond this it is too slow to be asked.
MOST_IN_LIST = 100_000


def drawn(count: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors, float32 (count, dim)."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(vectors: np.ndarray) -> MemoryGallery:
    """A gallery of these vectors, 4 photos of each person."""
    gallery = MemoryGallery(ENGINE, vectors.shape[1])
    for start in range(0, len(vectors), 10_000):
        rows = range(start, min(start + 10_000, len(vectors)))
        gallery.add([Template(f"person {i // 4}", f"{i:032x}", Embedding(vectors[i], ENGINE)) for i in rows])
    return gallery


def bytes_per_template(dim: int, count: int = 10_000) -> float:
    """What a gallery takes for each of 10,000 templates, names and ids included."""
    vectors = drawn(count, dim, 3)
    tracemalloc.start()
    gallery = filled(vectors)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / len(gallery)


def is_exact(gallery: MemoryGallery, vectors: np.ndarray, probes: np.ndarray) -> bool:
    """Whether the gallery names the nearest template's owner at its distance, for every probe."""
    for probe, candidates in zip(probes.astype(np.float64), gallery.search(probes, 1), strict=True):
        nearest, best = min(
            (float(apart.min()), start + int(apart.argmin()))
            for start in range(0, len(vectors), 10_000)
            for apart in [np.linalg.norm(vectors[start : start + 10_000] - probe, axis=1)]
        )
        if candidates[0].subject != f"person {best // 4}" or abs(candidates[0].distance - nearest) > 1e-6:
            return False
    return True


def compare(count: int, dim: int, rounds: int) -> list[dict]:
    import face_recognition

    vectors, probes = drawn(count, dim, 1), drawn(8, dim, 2)
    gallery = filled(vectors)
    rows, exact = [], is_exact(gallery, vectors, probes)
    as_list = list(vectors.astype(np.float64)) if count <= MOST_IN_LIST else None
    for number in (1, 8):
        given = probes[:number]
        calls = {
            "gallery": lambda given=given: gallery.search(given, 1),
            "product": lambda given=given: vectors @ given.T,
            "array": lambda given=given: [face_recognition.face_distance(vectors, probe) for probe in given],
        }
        if as_list is not None:
            calls["list"] = lambda given=given: [face_recognition.compare_faces(as_list, probe) for probe in given]
        times = report.alternate(calls, rounds, warm=2)
        wall = {name: times[name]["wall"] if name in times else None for name in ("gallery", "product", "array", "list")}
        rows.append(
            {
                "templates": count, "dim": dim, "probes": number, **{f"{name} ms": ms for name, ms in wall.items()},
                "product's share": wall["product"] / wall["gallery"], "ratio": wall["array"] / wall["gallery"],
                "list ratio": wall["list"] / wall["gallery"] if wall["list"] else None,
                "exact": exact,
            }
        )  # fmt: skip
    return rows


def profile(count: int, dim: int) -> None:
    gallery = filled(drawn(count, dim, 1))
    probes = drawn(1, dim, 2)
    gallery.search(probes)
    with cProfile.Profile() as profiler:
        for _ in range(10):
            gallery.search(probes)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--profile", action="store_true", help="print where a search among the largest number spends its time")
    options = parser.parse_args()
    sizes = (1000, 100_000) if options.quick else (1000, 10_000, 100_000, 1_000_000)
    rows = []
    for dim in (256, 128):
        for count in sizes:
            rows += compare(count, dim, 5 if options.quick else 9 if count >= 1_000_000 else 25)
    memory = [{"dim": dim, "bytes per template": bytes_per_template(dim)} for dim in (256, 128)]
    report.table(rows, "Median milliseconds; ratios are face_recognition's time over the gallery's")
    report.table(memory, "Memory of a gallery, room to grow and names included")
    if options.profile:
        profile(sizes[-1], 256)
    report.save(options, search=rows, memory=memory)


if __name__ == "__main__":
    main()
