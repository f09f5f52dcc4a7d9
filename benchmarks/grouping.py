"""Grouping many faces by person: precision, recall, time and memory as an archive grows to 100,000 faces.

    python benchmarks/grouping.py [--faces N ...] [--engine yunet+dlib+sface] [--against DIR] [--data DIR] [--work DIR]
        [--quick] [--json FILE]

LFW has 4,992 faces, so more are made of them. People are drawn from the spread between LFW's people (mean and covariance of one
photo each, less the spread within); each photo adds the difference between two real photos of one person, divided by the square
root of two, so that poor photos are as far off as real ones. An archive has half of its faces from people with 5 to 500 photos,
as many of each order of magnitude, and half from people with one to four. What this leaves out: relatives, children who grow
up, and people whose photos are all poor.

The first half is grouped at once, as by the first update of an archive, and the rest comes in ten parts, as by later ones. The
limit is the one that the package takes for so many faces. `product` is NumPy's matrix product of all faces with all others
alone, once, from a sample; no exact method can do without it. Each size runs in a process of its own, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy is imported

import clustering
import lfw
import numpy as np
import report

from recognizer.galleries.clustering import Groups, limit_for
from recognizer.galleries.thresholds import Curve

LATER_PARTS = 10
#: Photos of people whom an archive is about: least and most.
FEWEST, MOST = 5, 500


def made(found: lfw.Vectors, faces: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """So many faces and whose they are: float32 (n, dim) and int (n,), in random order."""
    chance, people = np.random.default_rng(seed), found.people
    order = np.argsort(people, kind="stable")
    vectors, owners = found.vectors[order].astype(np.float64), people[order]
    edges = np.flatnonzero(np.diff(owners)) + 1
    groups = np.split(np.arange(len(owners)), edges)
    several = [group for group in groups if len(group) > 1]
    pairs = np.array([chance.choice(group, 2, replace=False) for group in several for _ in range(min(len(group), 6))])
    within = (vectors[pairs[:, 0]] - vectors[pairs[:, 1]]) / np.sqrt(2)
    one_each = vectors[[group[0] for group in groups]]
    spread, axes = np.linalg.eigh(np.cov(one_each.T) - within.T @ within / len(within))
    shape = axes * np.sqrt(np.maximum(spread, 0.0))
    sizes: list[int] = []
    while sum(sizes) < faces // 2:
        sizes.append(round(float(np.exp(chance.uniform(np.log(FEWEST), np.log(MOST))))))
    while sum(sizes) < faces:
        sizes.append(int(chance.integers(1, 5)))
    whose = np.repeat(np.arange(len(sizes)), sizes)[:faces]
    centres = one_each.mean(axis=0) + chance.standard_normal((len(sizes), len(axes))) @ shape.T
    shown = centres[whose] + within[chance.integers(0, len(within), faces)]
    mixed = chance.permutation(faces)
    return shown[mixed].astype(np.float32), whose[mixed]


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def inside(file: Path) -> None:
    """Group the faces in a file, and print what that took as JSON."""
    with np.load(file) as stored:
        vectors, whose, limit = stored["vectors"], stored["whose"], float(stored["limit"])
    count, before = len(vectors), peak_mb()
    groups: Groups[int, int] = Groups(limit)
    used = time.process_time()
    groups.add_faces(range(count // 2), vectors[: count // 2])
    at_once = time.process_time() - used
    for part in np.array_split(np.arange(count // 2, count), LATER_PARTS):
        groups.add_faces(part.tolist(), vectors[part])
    used, peak = time.process_time() - used, peak_mb()
    labels = np.array([groups.group_of(face) for face in range(count)])
    sample = vectors[: min(count, 512)]
    begun = time.process_time()
    for start in range(0, len(sample), 128):
        sample[start : start + 128] @ vectors.T
    product = (time.process_time() - begun) * count / len(sample)
    figures = clustering.figures(labels, whose)
    shown = {key: figures[key] for key in ("precision", "recall", "B3 precision", "B3 recall", "groups")}
    times = {"first half, cpu s": at_once, "cpu s": used, "product, cpu s": product, "ratio": used / product}
    print(json.dumps({"faces": count, "people": len(set(whose.tolist())), **shown, **times, "peak MB more": peak - before}))


def measured(root: Path, file: Path) -> dict:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).parent)])}
    command = [sys.executable, __file__, "--inside", str(file)]
    return json.loads(subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--faces", metavar="N", type=int, nargs="+", help="how many; 10,000, 30,000 and 100,000 by default")
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    parser.add_argument("--against", metavar="DIR", type=Path, help="another checkout, measured in the same run")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside)
        return
    from recognizer.core.settings import Settings
    from recognizer.engines import make_engine

    detector, embedder = options.engine.split("+", 1)
    found = lfw.encode(options.data, options.work, detector)[options.engine]
    points = make_engine(detector, embedder, models_dir=Settings.from_environment().models_dir).info.calibration
    curve, rows = Curve(points.distances, points.rates), []
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.work / "grouping.npz"
    for faces in options.faces or ([2_000] if options.quick else [10_000, 30_000, 100_000]):
        vectors, whose = made(found, faces)
        np.savez(file, vectors=vectors, whose=whose, limit=limit_for(faces, curve.distance))
        for name, root in {"before": options.against, "now": report.ROOT}.items():
            if root is not None:
                rows.append({"checkout": name, **measured(root.resolve(), file)})
    file.unlink()
    report.table(rows, "Faces that come in parts, made of LFW's; processor times, one thread")
    report.save(options, grouping=rows)


if __name__ == "__main__":
    main()
