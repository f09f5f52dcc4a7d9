"""Measures how far apart different people are, for every engine, and writes recognizer/engines/calibrations.json.

    python benchmarks/calibrate.py [--data DIR] [--work DIR] [--write] [--quick] [--json FILE]
                                   [--detectors NAMES] [--embedders NAMES] [--photos N]

All pairs of photos of different people in LFW's development view are compared, whoever is there under two names or under
another's put right (see lfw.py); the curve's points are a quarter of a decade of the false-match rate apart, down to the
last one that at least 8 pairs are counted for. The threshold for comparing one photo with one is where the rate is 1 in
1,000. The official test pairs check it. How near cohorts of people are to plain photos of others is measured, too. Without
--write nothing is changed.
"""

from __future__ import annotations

import json
from datetime import date

import lfw
import numpy as np
import report

from recognizer.engines import DETECTORS, EMBEDDERS
from recognizer.galleries import cohort, matching
from recognizer.galleries.thresholds import Curve

FILE = report.ROOT / "recognizer" / "engines" / "calibrations.json"
THRESHOLD_RATE = 1e-3
#: Pairs that must have come as close for a point of the curve to be believed.
LEAST_PAIRS = 8
#: Sizes of cohorts of which it is measured how near they are to a plain photo of somebody else, to how many photos, and the
#: share of photos to which cohorts are nearer than the distance that is written. It is smaller for dlib's embeddings alone,
#: of which a fifth would cost one enrolled person in thirty the name.
COHORT_SIZES = (4, 5, 7, 10, 20, 40, 80, cohort.SIZE)
PROBES = 3000
NEARER, NEARER_DLIB = 0.2, 0.05
_BINS, _PER_UNIT = 40_000, 10_000


def impostor_rates(vectors: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Distances, the share of pairs of different people within each, and the number of pairs.

    `people` says who is on each photo, int (n,).
    """
    squares, counts = (vectors**2).sum(axis=1), np.zeros(_BINS + 1, np.int64)
    for start in range(0, len(vectors), 512):
        block = slice(start, start + 512)
        square = squares[block, None] + squares[None] - 2 * vectors[block] @ vectors.T
        later = np.arange(len(vectors))[None] > np.arange(start, start + len(square))[:, None]
        apart = np.sqrt(np.maximum(0, square[(people[block, None] != people[None]) & later]))
        counts += np.bincount(np.minimum(_BINS, (apart * _PER_UNIT).astype(int)), minlength=_BINS + 1)
    total = int(counts.sum())
    return (np.arange(_BINS + 1) + 1) / _PER_UNIT, np.cumsum(counts) / total, total


def curve_points(vectors: np.ndarray, people: np.ndarray) -> tuple[list[float], list[float], int]:
    """Points of the curve distance -> false-match rate, both rising, and the number of pairs behind them."""
    distances, rates, total = impostor_rates(vectors, people)
    points: list[tuple[float, float]] = []
    for rate in 10.0 ** np.arange(-6, -0.05, 0.25):
        i = int(np.searchsorted(rates, rate))
        enough = i < _BINS and rates[i] * total >= LEAST_PAIRS
        if enough and (not points or (distances[i] > points[-1][0] and rates[i] > points[-1][1])):
            points.append((float(distances[i]), float(rates[i])))
    return [distance for distance, _ in points], [rate for _, rate in points], total


def cohort_distances(found: lfw.Vectors, nearer: float, seed: int = 0) -> list[float]:
    """How near cohorts of `COHORT_SIZES` people are to plain photos of others: all but a share `nearer` are further away."""
    random, usual, people = np.random.default_rng(seed), [], found.people
    one_each = np.array([random.choice(np.flatnonzero(people == person)) for person in np.unique(people)])
    probes = random.permutation(len(people))[:PROBES]
    apart = matching.distances_between(found.vectors[probes], found.vectors[one_each])
    apart[people[probes][:, None] == people[one_each][None]] = np.inf
    for size in COHORT_SIZES:
        drawn = np.argpartition(random.random(apart.shape), size, axis=1)[
            :, : size + 1
        ]  # one more, for whoever is on the photo
        near = np.sort(np.take_along_axis(apart, drawn, axis=1), axis=1)[:, :size]
        usual.append(float(np.quantile(cohort.nearness(near), nearer)))
    return usual


def entry(found: lfw.Vectors, embedder: str) -> dict:
    """What calibrations.json says of an engine."""
    distances, rates, _ = curve_points(found.vectors, found.people)
    nearer = NEARER_DLIB if embedder == "dlib" else NEARER
    return {
        "threshold": round(Curve(distances, rates).distance(THRESHOLD_RATE), 4),
        "false_match_rate": THRESHOLD_RATE,
        "data_set": f"LFW development view, all pairs of different people among {len(found.names):,} photos",
        "date": date.today().isoformat(),
        "distances": [round(distance, 4) for distance in distances],
        "rates": [float(f"{rate:.4g}") for rate in rates],
        "cohort_sizes": list(COHORT_SIZES),
        "cohort_distances": [round(distance, 4) for distance in cohort_distances(found, nearer)],
    }


def genuine_distances(found: lfw.Vectors, most: int = 12) -> np.ndarray:
    """Distances between photos of one person, at most `most` photos of each."""
    apart = []
    people = found.people
    for person in np.unique(people):
        rows = found.vectors[np.flatnonzero(people == person)[:most]]
        first, second = np.triu_indices(len(rows), 1)
        apart.append(np.linalg.norm(rows[first] - rows[second], axis=1))
    return np.concatenate(apart)


def verification(name: str, found: lfw.Vectors, made: dict, test: list) -> dict:
    """How well one photo is told from one other."""
    curve = Curve(made["distances"], made["rates"])
    apart, same = lfw.pair_distances(found, test)
    genuine = genuine_distances(found)
    return {
        "engine": name,
        "photos": len(found.names),
        "lost": found.lost,
        "threshold": made["threshold"],
        "test pairs right": float(np.mean((apart <= made["threshold"]) == same)),
        "test FNMR": float(np.mean(apart[same] > made["threshold"])),
        "test FMR": float(np.mean(apart[~same] <= made["threshold"])),
        "TAR at FMR 1e-2": float(np.mean(genuine <= curve.distance(1e-2))),
        "TAR at FMR 1e-3": float(np.mean(genuine <= curve.distance(1e-3))),
        "TAR at FMR 1e-4": float(np.mean(genuine <= curve.distance(1e-4))),
        "FMR at 0.6": curve.rate(0.6) if name.endswith("+dlib") else None,
    }


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name}")
    parser.add_argument("--detectors", default=",".join(DETECTORS), help="which, separated by commas")
    parser.add_argument("--embedders", default=",".join(EMBEDDERS), help="which, separated by commas")
    parser.add_argument("--photos", type=int, help="how many, of people in the test pairs, instead of all")
    options = parser.parse_args()
    embedders = options.embedders.split(",")
    if options.write and options.quick:
        parser.error("--quick looks at too few photos to be written")
    test = lfw.pairs(options.data, "test")
    entries, rows = json.loads(FILE.read_text()), []
    for detector in options.detectors.split(","):
        encoded = lfw.encode(
            options.data, options.work, detector, limit=200 if options.quick else options.photos, embedders=embedders
        )
        for embedder in embedders:
            name = f"{detector}+{embedder}"
            entries[name] = entry(encoded[name], embedder)
            rows.append(verification(name, encoded[name], entries[name], test))
    report.table(rows, "One photo against one; TAR over pairs of photos of one person, 12 photos of each at most")
    if options.write:
        FILE.write_text(json.dumps(entries, indent=1) + "\n")
        print(f"\nwritten: {FILE.relative_to(report.ROOT)}")
    report.save(options, verification=rows, calibrations=entries)


if __name__ == "__main__":
    main()
