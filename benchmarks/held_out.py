"""Checks the rule that thresholds follow on people whom the calibration has not seen.

    python benchmarks/held_out.py [--images DIR] [--work DIR] [--divisions N] [--quick] [--json FILE]

DIR holds one folder per person; by default it is LFW's development view. For each embedder a curve from distance to
false-match rate is fitted on a random half of the people, as calibrate.py does, and the rate of strangers named is measured
among the other half, whose names stay as they are, for galleries of several sizes. The ratio is that rate over the one that
is set.
"""

from __future__ import annotations

from pathlib import Path

import lfw
import numpy as np
import report
from calibrate import curve_points

from recognizer.core.settings import Settings
from recognizer.engines import EMBEDDERS, make_engine
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.evaluation import identification, people_folders
from recognizer.evaluation.encode import encode
from recognizer.evaluation.identification import Photos, Plan
from recognizer.galleries.thresholds import Curve, rate_per_comparison

RATE = 0.01


def check(photos: Photos, shown: np.ndarray, division: int) -> dict[str, float]:
    """Share of strangers named, by the size of the gallery, for one division of the people.

    `shown` says who is on each photo, int (n,): what the curve is fitted on.
    """
    everybody = np.random.default_rng(division).permutation(np.unique(photos.people))
    seen = np.isin(photos.people, everybody[: len(everybody) // 2])
    fitted, rest = seen & photos.found, photos.select(~seen)
    curve = Curve(*curve_points(photos.vectors[fitted], shown[fitted])[:2])

    def split(seed):
        return identification.split_photos(rest, seed)

    def threshold(templates):
        return curve.distance(rate_per_comparison(RATE, templates))

    plan = Plan((10, 100, 500), 10, division)
    report = identification.measure(*split(division), threshold, plan, split)
    return {size: part["fpir"] for size, part in report["by_size"].items()}


def _shown(photo) -> str:
    """Who is on a photo, where it is one of LFW's: those have a number at the end of their names."""
    number = photo.path.stem.removeprefix(f"{photo.person}_")
    return lfw.shown(photo.person, int(number)) if number.isdecimal() else photo.person


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--images", type=Path, help="one folder per person")
    parser.add_argument("--divisions", type=int, default=4)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    read = people_folders.read_people(options.images or report.need(options.data, "lfw-dev", "images"))
    if options.quick:
        read, options.divisions = read[:1200], 2
    numbers = np.unique([photo.person for photo in read], return_inverse=True)[1]
    shown = np.unique([_shown(photo) for photo in read], return_inverse=True)[1]
    cache = EncodingsCache(options.work / "evaluation.sqlite")
    rows = []
    for embedder in ("dlib+sface",) if options.quick else EMBEDDERS:
        recipe = {"embedder": embedder, "models_dir": Settings.from_environment().models_dir, "detect_size_large": 1280}
        source = BulkSettings(make_engine(**recipe), recipe, workers=report.cores())
        found = encode([photo.path for photo in read], source, cache)
        results = [check(Photos(numbers, found.vectors, found.found), shown, i) for i in range(options.divisions)]
        for size in results[0]:
            rates = [100 * result[size] for result in results]
            mean = float(np.mean(rates))
            rows.append(
                {
                    "embedder": embedder,
                    "people": size,
                    "strangers named %": mean,
                    "least %": min(rates),
                    "most %": max(rates),
                    "ratio": mean / (100 * RATE),
                }
            )
    cache.close()
    report.table(rows, f"Strangers named; {RATE:.0%} are wanted")
    report.save(options, strangers=rows)


if __name__ == "__main__":
    main()
