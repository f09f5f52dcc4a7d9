"""Searching the enrolled: the gallery in memory against face_recognition's ways, from 1,000 to 1,000,000 templates.

    python benchmarks/search.py [--quick] [--json FILE] [--profile]

Vectors are drawn at random: as spread as faces are, and in the last rows evenly in all directions, where no exact search can
leave anything out. The gallery's are as long as the default engine's (256) or one embedder's (128); face_recognition gets 128
numbers of them, which is what its own encodings have. `product` is NumPy's matrix product of all templates with the probes
alone, which no search that reads everything can beat; `list` is face_recognition.compare_faces on a list of float64 arrays, as
in its examples, and `array` its face_distance on one float32 array. Everything runs on one thread, as in a server whose other
cores work on other requests (BLAS threads that wait for a busy core make a search many times slower). Every search's answer is
compared with distances taken in float64.
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


#: Share of the variance in the first so many eighths of the principal axes, of the default engine's templates of 3,095 people
#: of LFW's development view.
SPECTRUM = (0.422, 0.654, 0.819, 0.938, 0.976, 0.990, 0.997, 1.0)
#: Distance between two photos of one person, about.
GENUINE = 0.8


def drawn(count: int, dim: int, seed: int, spread: str = "faces") -> np.ndarray:
    """Vectors, float32 (count, dim), as spread as faces are, or evenly in all directions, which is the worst case."""
    vectors = np.random.default_rng(seed).standard_normal((count, dim), np.float32)
    if spread == "faces":
        shares = np.diff(np.interp(np.arange(dim + 1) / dim, np.linspace(0, 1, 9), (0, *SPECTRUM)))
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, dim)))[0]
        vectors = vectors @ (np.sqrt(dim * shares)[:, None] * turn).astype(np.float32)
    return vectors / np.float32(np.sqrt(dim))


def probes_for(vectors: np.ndarray, spread: str) -> np.ndarray:
    """Eight probes: of four people who are enrolled, and of four who are not; in turns."""
    dim = vectors.shape[1]
    probes, noise = drawn(8, dim, 2, spread), drawn(8, dim, 4, spread)
    noise *= GENUINE / np.linalg.norm(noise, axis=1, keepdims=True)
    probes[::2] = (vectors[:: len(vectors) // 4][:4] + noise[::2]).astype(np.float32)
    return probes


def filled(vectors: np.ndarray) -> MemoryGallery:
    """A gallery of these vectors, 4 photos of each person."""
    gallery = MemoryGallery(ENGINE, vectors.shape[1])
    for start in range(0, len(vectors), 10_000):
        rows = range(start, min(start + 10_000, len(vectors)))
        gallery.add([Template(f"person {i // 4}", f"{i:032x}", Embedding(vectors[i], ENGINE)) for i in rows])
    while gallery._sketching is not None:  # one sketch may be followed by another, of what was added meanwhile
        gallery.settle()
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


def compare(count: int, dim: int, rounds: int, spread: str) -> list[dict]:
    import face_recognition

    vectors = drawn(count, dim, 1, spread)
    probes, theirs = probes_for(vectors, spread), np.ascontiguousarray(vectors[:, :128])
    gallery = filled(vectors)
    rows, exact = [], is_exact(gallery, vectors, probes)
    as_list = list(theirs.astype(np.float64)) if count <= MOST_IN_LIST else None
    for label, given in (("1 enrolled", probes[:1]), ("1 stranger", probes[1:2]), ("8", probes)):
        calls = {
            "gallery": lambda given=given: gallery.search(given, 1),
            "product": lambda given=given: vectors @ given.T,
            "array": lambda given=given: [face_recognition.face_distance(theirs, probe[:128]) for probe in given],
        }
        if as_list is not None:
            calls["list"] = lambda given=given: [face_recognition.compare_faces(as_list, probe[:128]) for probe in given]
        times = report.alternate(calls, rounds, warm=2)
        wall = {name: times[name]["wall"] if name in times else None for name in ("gallery", "product", "array", "list")}
        rows.append(
            {
                "templates": count, "dim": dim, "spread": spread, "probes": label,
                **{f"{name} ms": ms for name, ms in wall.items()},
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
            rows += compare(count, dim, 5 if options.quick else 9 if count >= 1_000_000 else 25, "faces")
    rows += compare(sizes[-1], 256, 5, "even")
    memory = [{"dim": dim, "bytes per template": bytes_per_template(dim)} for dim in (256, 128)]
    report.table(rows, "Median milliseconds; ratios are face_recognition's time over the gallery's")
    report.table(memory, "Memory of a gallery, room to grow and names included")
    if options.profile:
        profile(sizes[-1], 256)
    report.save(options, search=rows, memory=memory)


if __name__ == "__main__":
    main()
