"""Searching the enrolled: the gallery in memory against face_recognition's ways, from 1,000 to 1,000,000 templates.

    python benchmarks/search.py [--quick] [--json FILE] [--profile] [--millions N ...]

Vectors are drawn at random: as spread as faces are, and in the last rows evenly in all directions, which no search can shorten
well. The gallery's are as long as the default engine's (256) or one embedder's (128); face_recognition gets 128 numbers of
them, which is what its own encodings have. `product` is NumPy's matrix product of all templates with the probes alone, which
no search that reads everything can beat; `list` is face_recognition.compare_faces on a list of float64 arrays, as in its
examples, and `array` its face_distance on one float32 array. Everything runs on one thread, as in a server whose other cores
work on other requests (BLAS threads that wait for a busy core make a search many times slower). `changed` is how often, of 200
probes of the enrolled and 200 of strangers, the search names another person than the nearest.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tracemalloc
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import cv2
import numpy as np
import report

from recognizer.core.types import Embedding, Template
from recognizer.galleries.memory import MemoryGallery

ENGINE = "drawn/1"
#: compare_faces copies the list each time; beyond this it is too slow to be asked.
MOST_IN_LIST = 100_000


#: Share of the variance in the first so many eighths of the principal axes, of the default engine's templates of 3,095 people
#: of LFW's development view.
SPECTRUM = (0.422, 0.654, 0.819, 0.938, 0.976, 0.990, 0.997, 1.0)
#: Probes that are held against all templates.
CHECKED = 400
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


def probes_for(vectors: np.ndarray, spread: str, count: int = 8) -> np.ndarray:
    """Probes: of people who are enrolled, and of as many who are not; in turns."""
    dim, half = vectors.shape[1], count // 2
    probes, noise = drawn(count, dim, 2, spread), drawn(count, dim, 4, spread)
    noise *= GENUINE / np.linalg.norm(noise, axis=1, keepdims=True)
    probes[::2] = (vectors[:: len(vectors) // half][:half] + noise[::2]).astype(np.float32)
    return probes


def filled(vectors: np.ndarray) -> MemoryGallery:
    """A gallery of these vectors, 4 photos of each person."""
    gallery = MemoryGallery(ENGINE, vectors.shape[1])
    if len(vectors) > 100_000:
        load(gallery, vectors, 0)
    else:
        for start in range(0, len(vectors), 10_000):
            rows = range(start, min(start + 10_000, len(vectors)))
            gallery.add([Template(f"person {i // 4}", f"{i:032x}", Embedding(vectors[i], ENGINE)) for i in rows])
    gallery.settle()
    return gallery


def load(gallery: MemoryGallery, vectors: np.ndarray, first: int) -> None:
    """Add many templates at once, 4 photos of each person, as of row `first`."""
    count = len(vectors)
    people = [f"person {i}" for i in range(first // 4, (first + count + 3) // 4)]
    photos = np.zeros((count, 16), np.uint8)
    photos[:, 8:] = np.arange(first, first + count, dtype=">u8").view(np.uint8).reshape(count, 8)
    gallery.load(vectors, np.arange(count) // 4, people, photos)


# -- ten million -----------------------------------------------------------------------------------------------------


def inside(count: int, folder: str) -> None:
    """Fill a gallery with so many, search it, and print what that took as JSON. Its vectors are drawn in parts and not kept."""
    import json
    import time

    dim, part = 256, 250_000
    gallery = MemoryGallery(ENGINE, dim, folder=Path(folder))
    before, used = resident(), time.process_time()
    drawing = 0.0
    probes, best, nearest = None, np.full(CHECKED, np.inf), np.zeros(CHECKED, int)
    for first in range(0, count, part):
        begun = time.process_time()
        vectors = drawn(min(part, count - first), dim, 100 + first // part)
        if probes is None:
            probes = probes_for(vectors, "faces", CHECKED)
        apart = np.einsum("ij,ij->i", vectors, vectors)[None] - 2 * (probes @ vectors.T)
        found = apart.argmin(axis=1)
        nearer = apart[np.arange(CHECKED), found] < best
        best[nearer], nearest[nearer] = apart[nearer, found[nearer]], first + found[nearer]
        drawing += time.process_time() - begun
        load(gallery, vectors, first)
    del vectors, apart
    gallery.settle()
    filling, peak = time.process_time() - used - drawing, resident("VmHWM")
    times, wrong = [], 0
    for i in range(-4, CHECKED):
        begun = time.process_time()
        [candidates] = gallery.search(probes[i][None], 1)
        if i >= 0:
            times.append(1000 * (time.process_time() - begun))
            wrong += candidates[0].subject != f"person {nearest[i] // 4}"
    one = np.ascontiguousarray(drawn(min(count, 1_000_000), 128, 5))
    theirs = []
    for probe in probes[:9, :128]:
        begun = time.process_time()
        np.linalg.norm(one - probe, axis=1)  # what face_recognition.face_distance does
        theirs.append(1000 * (time.process_time() - begun) * count / len(one))
    taken = 1e6 * (resident() - before - one.nbytes / 1e6)
    found = {
        "templates": count,
        "search cpu ms": float(np.median(times)),
        "face_distance cpu ms": float(np.median(theirs)),
        "ratio": float(np.median(theirs) / np.median(times)),
        "changed %": 100 * wrong / CHECKED,
        "resident bytes per template": taken / count,
        "peak MB while filling": peak,
        "filling cpu s": filling,
    }
    print(json.dumps(found))


def resident(field: str = "VmRSS") -> float:
    """Resident memory of this process, or its peak, in MB."""
    return next(int(line.split()[1]) / 1000 for line in Path("/proc/self/status").read_text().splitlines() if field in line)


def in_a_process(count: int) -> dict:
    import json
    import subprocess
    import sys
    import tempfile

    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        command = [sys.executable, __file__, "--inside", str(count), folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def bytes_per_template(dim: int, count: int = 10_000) -> float:
    """What a gallery takes for each of 10,000 templates, names and ids included."""
    vectors = drawn(count, dim, 3)
    tracemalloc.start()
    gallery = filled(vectors)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return taken / len(gallery)


def changed(gallery: MemoryGallery, vectors: np.ndarray, probes: np.ndarray) -> float:
    """Per cent of the probes for which the gallery does not name the nearest template's owner at its distance."""
    best, nearest = np.full(len(probes), np.inf), np.zeros(len(probes), int)
    squares, own = np.einsum("ij,ij->i", vectors, vectors), np.einsum("ij,ij->i", probes, probes)
    for start in range(0, len(vectors), 100_000):
        rows = slice(start, start + 100_000)
        apart = squares[None, rows] - 2 * (probes @ vectors[rows].T) + own[:, None]
        found = apart.argmin(axis=1)
        nearer = apart[np.arange(len(probes)), found] < best
        best[nearer], nearest[nearer] = apart[nearer, found[nearer]], start + found[nearer]
    exact = np.linalg.norm(vectors[nearest].astype(np.float64) - probes, axis=1)
    wrong = sum(
        candidates[0].subject != f"person {row // 4}" and candidates[0].distance > distance + 1e-5
        for candidates, row, distance in zip(gallery.search(probes, 1), nearest, exact, strict=True)
    )
    return 100 * wrong / len(probes)


def compare(count: int, dim: int, rounds: int, spread: str) -> list[dict]:
    import face_recognition

    cv2.setNumThreads(1)
    vectors = drawn(count, dim, 1, spread)
    probes, theirs = probes_for(vectors, spread), np.ascontiguousarray(vectors[:, :128])
    gallery = filled(vectors)
    many = probes_for(vectors, spread, CHECKED)
    rows, wrong = [], (changed(gallery, vectors, many[::2]), changed(gallery, vectors, many[1::2]))
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
                "templates": count,
                "dim": dim,
                "spread": spread,
                "probes": label,
                **{f"{name} ms": ms for name, ms in wall.items()},
                "product's share": wall["product"] / wall["gallery"],
                "ratio": wall["array"] / wall["gallery"],
                "list ratio": wall["list"] / wall["gallery"] if wall["list"] else None,
                "changed %: enrolled": wrong[0],
                "strangers": wrong[1],
            }
        )
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
    parser.add_argument(
        "--millions", metavar="N", type=float, nargs="+", help="only this: so many million templates, in a file"
    )
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(int(options.inside[0]), options.inside[1])
        return
    if options.millions:
        rows = [in_a_process(round(millions * 1_000_000)) for millions in options.millions]
        report.table(rows, "One probe at a time, on one thread; times are the process's own")
        report.save(options, millions=rows)
        return
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
