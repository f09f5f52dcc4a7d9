"""Measures which qualities of a face's picture say that its match cannot be relied on, on damaged copies of photos.

    python benchmarks/quality.py [--images DIR] [--work DIR] [--people N] [--quick] [--json FILE]

DIR holds one folder per person; by default it is LFW's development view. Two thirds of the people are enrolled with undamaged
photos; photos of enrolled people and of strangers are damaged in many ways and searched. Printed are, for each damage and for
each part of each quality's range, strangers named (FPIR) and enrolled people not named (FNIR) at the thresholds of stranger
rates of 1 % and 5 %; and how often photos of different people match that are damaged alike, as when a bad photo was enrolled;
the ratio is how often two such photos match over how often undamaged ones do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import central, make_engine
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.evaluation import identification, people_folders
from recognizer.evaluation.encode import encode
from recognizer.galleries.thresholds import Curve, rate_per_comparison
from recognizer.photos import images, quality

RATES = (0.01, 0.05)
#: Where the range of each quality is divided.
PARTS = {
    "size": (16, 20, 24, 28, 32, 40, 60),
    "sharpness": (0.003, 0.01, 0.02, 0.04, 0.08, 0.16),
    "abs_yaw": (10, 20, 30, 40),
    "abs_pitch": (10, 20, 30),
    "cut_off": (0.001, 0.1, 0.2, 0.3),
    "brightness": (10, 20, 40, 80, 160, 200),
    "contrast": (5, 10, 20, 30),
    "clipped": (0.1, 0.3, 0.6, 0.9),
    "score": (0.65, 0.7, 0.75, 0.8, 0.85, 0.9),
}


def damages() -> Iterator[tuple[str, Callable[[np.ndarray, object], np.ndarray]]]:
    """Names, and what makes a damaged copy of pixels and the face in them."""
    yield "none", lambda pixels, face: pixels
    for side in (60, 40, 32, 28, 24, 20, 16):
        yield f"face of {side} px", lambda pixels, face, side=side: _shrunk(pixels, side / face.box.size)
    for sigma in (0.03, 0.06, 0.09):
        yield f"blur {sigma:.2f} of the face", lambda pixels, face, s=sigma: _blurred(pixels, s * face.box.size)
    for gain in (0.25, 0.1, 0.05):
        yield f"light x {gain}", lambda pixels, face, gain=gain: _lit(pixels, gain)
    yield "light x 3", lambda pixels, face: _lit(pixels, 3)
    for share in (0.15, 0.3, 0.45):
        yield f"right {share:.0%} cut off", lambda pixels, face, s=share: _cut(pixels, face, s, 0)
        yield f"bottom {share:.0%} cut off", lambda pixels, face, s=share: _cut(pixels, face, 0, s)


def _shrunk(pixels, factor):
    import cv2

    size = max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _blurred(pixels, sigma):
    import cv2

    return cv2.GaussianBlur(pixels, (0, 0), sigma)


def _lit(pixels, gain):
    noise = np.random.default_rng(0).normal(0, 1.5, pixels.shape)
    return np.clip(pixels * gain + noise, 0, 255).astype(np.uint8)


def _cut(pixels, face, right, bottom):
    edge_x = int(face.box.right - right * face.box.width) if right else pixels.shape[1]
    edge_y = int(face.box.bottom - bottom * face.box.height) if bottom else pixels.shape[0]
    return pixels[: max(1, edge_y), : max(1, edge_x)]


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--images", type=Path, help="one folder per person")
    parser.add_argument("--people", type=int, default=300, help="photos of strangers and of enrolled people, each")
    options = parser.parse_args()
    options.images = options.images or report.need(options.data, "lfw-dev", "images")
    if options.quick:
        options.people = 20
    recipe = {"models_dir": Settings.from_environment().models_dir, "detect_size_large": 1280}
    engine = make_engine(**recipe, min_face=8)
    rows = look(engine, recipe, options)
    searches, parts = searched(rows)
    pairs = paired(rows, Curve(engine.info.calibration.distances, engine.info.calibration.rates))
    report.table(searches, "Searches with damaged photos, in per cent")
    for key in PARTS:
        report.table([part for part in parts if part["quality"] == key], f"The same by {key}")
    report.table(pairs, "Pairs of different people within the distance of a false-match rate, in per cent")
    report.save(options, searches=searches, parts=parts, pairs=pairs)


def look(engine, recipe, options) -> list[dict]:
    """One row per damaged photo: the damage, the qualities, whose it is, what a search found."""
    options.work.mkdir(parents=True, exist_ok=True)
    cache = EncodingsCache(options.work / "evaluation.sqlite")
    photos = people_folders.read_people(options.images)[: 1200 if options.quick else None]
    source = BulkSettings(make_engine(**recipe), recipe, workers=report.cores())
    found = encode([photo.path for photo in photos], source, cache, _told)
    numbers = np.unique([photo.person for photo in photos], return_inverse=True)[1]
    rows = np.arange(len(photos), dtype=np.float32)[:, None]  # a split of indices
    gallery, probes = identification.split_photos(identification.Photos(numbers, rows, found.found), 0)
    chosen = gallery.vectors[:, 0].astype(int)
    enrolled = identification.Photos(numbers[chosen], found.vectors[chosen], found.found[chosen])
    random = np.random.default_rng(0)
    known = np.isin(probes.people, gallery.people)
    picked = []
    for mated in (False, True):
        one_each = np.unique(probes.people[known == mated], return_index=True)[1]
        indices = probes.vectors[known == mated][one_each, 0].astype(int)
        picked += [(int(i), mated) for i in random.permutation(indices)[: options.people]]
    curve = Curve(engine.info.calibration.distances, engine.info.calibration.rates)
    limits = [curve.distance(rate_per_comparison(rate, len(enrolled.people))) for rate in RATES]
    made = []
    for done, (index, mated) in enumerate(picked):
        made += list(_damaged(engine, photos[index].path, mated, int(numbers[index]), enrolled, limits))
        _told(done + 1, len(picked))
    cache.close()
    return made


def _told(done, total):
    if done % 100 == 0 or done == total:
        print(f"{done} of {total}", file=sys.stderr, flush=True)


def _damaged(engine, path, mated, person, enrolled, limits) -> Iterator[dict]:
    image = images.decode(path.read_bytes())
    faces = engine.find(image)
    if not len(faces):
        return
    face = faces[central(faces, image.width, image.height)]
    middle = np.array(face.box.centre) / (image.width, image.height)
    for name, damage in damages():
        pixels = damage(image.pixels, face)
        copy = images.from_array(pixels)
        again = engine.find(copy)
        row = {"damage": name, "mated": mated, "person": person, "found": len(again) > 0}
        if len(again):
            where = middle * (image.width, image.height) if "cut" in name else middle * (copy.width, copy.height)
            taken = again.select([central(again, 2 * where[0], 2 * where[1])])
            vector = engine.describe(copy, taken)[0]
            apart = np.linalg.norm(enrolled.vectors - vector, axis=1)
            best = int(apart.argmin())
            named = [bool(apart[best] <= limit) for limit in limits]
            row.update(asdict(quality.measure(pixels, taken[0])), right=bool(enrolled.people[best] == person), named=named)
            row.update(abs_yaw=abs(row["yaw"]), abs_pitch=abs(row["pitch"]), vector=vector)
        yield row


def searched(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """Rates of the searches, by damage, and by each part of each quality's range."""
    found = [row for row in rows if row["found"]]
    by_damage, by_part = [], []
    for name, _ in damages():
        here = [row for row in rows if row["damage"] == name]
        share = float(np.mean([row["found"] for row in here]))
        by_damage.append({"damage": name, "found": 100 * share, **_rates([row for row in here if row["found"]])})
    for key, edges in PARTS.items():
        for low, high in zip((-np.inf, *edges), (*edges, np.inf), strict=True):
            here = [row for row in found if low <= row[key] < high]
            count = sum(not row["mated"] for row in here)
            by_part.append({"quality": key, "range": f"{low:g} to {high:g}", "strangers": count, **_rates(here)})
    return by_damage, by_part


def paired(rows: list[dict], curve: Curve) -> list[dict]:
    """How often different people match: both photos damaged alike, and one damaged against one that is not."""
    made = []
    good = [row for row in rows if row["damage"] == "none" and row["found"]]
    for name, _ in damages():
        here = [row for row in rows if row["damage"] == name and row["found"]]
        made.append({"damage": name})
        for what, others in (("both", here), ("one", good)):
            for rate in (1e-2, 1e-3):
                made[-1][f"{what}, at {rate:.1%}"] = 100 * _matching(here, others, curve.distance(rate))
        usual = made[0]["both, at 0.1%"]
        made[-1]["ratio"] = made[-1]["both, at 0.1%"] / usual if usual else None
    return made


def _matching(rows: list[dict], others: list[dict], limit: float) -> float:
    if not rows or not others:
        return float("nan")
    a, b = (np.array([row["vector"] for row in part]) for part in (rows, others))
    owners, theirs = (np.array([row["person"] for row in part]) for part in (rows, others))
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)[owners[:, None] != theirs[None]]
    return float(np.mean(apart <= limit)) if len(apart) else float("nan")


def _rates(rows: list[dict]) -> dict[str, float | None]:
    rates: dict[str, float | None] = {}
    for i, rate in enumerate(RATES):
        strangers = [row["named"][i] for row in rows if not row["mated"]]
        missed = [not (row["named"][i] and row["right"]) for row in rows if row["mated"]]
        for what, part in (("FPIR", strangers), ("FNIR", missed)):
            rates[f"{what} at {rate:.0%}"] = 100 * float(np.mean(part)) if len(part) >= 20 else None
    return rates


if __name__ == "__main__":
    main()
