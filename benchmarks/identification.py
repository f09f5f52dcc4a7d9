"""Which rule makes one distance of a person's several photos, and whether strangers get names as often as is set.

    python benchmarks/identification.py [--data DIR] [--work DIR] [--engine yunet+dlib+sface] [--quick] [--json FILE]

Rules: two thirds of the people with several photos are enrolled with 1, 2, 3, 5 or a mixed number of them, up to four of
their other photos are searched, and one photo of everybody else. FNIR is the share of searches of enrolled people that do
not end with their name, at the threshold where FPIR, the share of strangers who get any name, is 1 % or 0.3 %; rank-1
errors need no threshold. "Wrong" galleries have one photo of somebody else among those of one person in ten; whoever is on
such a photo is no stranger any more and is left out.

Strangers: the curve is fitted on one half of the people, galleries and strangers come from the other half, and the
threshold is the one that the service would take. Where the other half is too small, all people are used and marked so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import calibrate
import lfw
import numpy as np
import report

from recognizer.galleries.thresholds import Curve, rate_per_comparison

RATES = (0.01, 0.003)
PHOTOS = {"1": 1, "2": 2, "3": 3, "5": 5, "mixed": 0}
WRONG = 0.1
STRANGER_RATE = 0.01


# -- rules -----------------------------------------------------------------------------------------------------------


def _best(count: int) -> Callable:
    return lambda apart, templates, probes: np.sort(apart, axis=1)[:, :count].mean(axis=1)


def _centroid(apart, templates, probes):
    return np.linalg.norm(probes - templates.mean(axis=0), axis=1)


def _trimmed_centroid(apart, templates, probes):
    """Distance from the mean of the three quarters of the templates that lie nearest to the mean of all."""
    from_centre = np.linalg.norm(templates - templates.mean(axis=0), axis=1)
    kept = np.argsort(from_centre)[: max(1, int(np.ceil(0.75 * len(templates))))]
    return np.linalg.norm(probes - templates[kept].mean(axis=0), axis=1)


#: (distances (m, n), templates (n, d), probes (m, d)) -> one distance of each probe from the person, (m,)
RULES: dict[str, Callable] = {
    "nearest": lambda apart, templates, probes: apart.min(axis=1),
    "best 2": _best(2),
    "best 3": _best(3),
    "mean": lambda apart, templates, probes: apart.mean(axis=1),
    "centroid": _centroid,
    "trimmed centroid": _trimmed_centroid,
}


def distances_by_rule(galleries: list[np.ndarray], probes: np.ndarray) -> dict[str, np.ndarray]:
    """For each rule the distance of every probe from every person, (m, people)."""
    found = {rule: np.empty((len(probes), len(galleries)), np.float32) for rule in RULES}
    lengths = (probes**2).sum(axis=1)[:, None]
    for person, templates in enumerate(galleries):
        square = lengths + (templates**2).sum(axis=1) - 2 * probes @ templates.T
        apart = np.sqrt(np.maximum(0, square))
        for rule, measure in RULES.items():
            found[rule][:, person] = measure(apart, templates, probes)
    return found


class Draw:
    """Who is enrolled with which photos, who is searched, and who is a stranger: row numbers of the vectors."""

    def __init__(self, names: np.ndarray, photos: int, wrong: float, seed: int):
        random = np.random.default_rng(seed)
        people, counts = np.unique(names, return_counts=True)
        several = random.permutation(people[counts >= 2])
        enrolled = several[: len(several) * 2 // 3]
        rows = {name: np.flatnonzero(names == name) for name in people}
        strangers = sorted(set(people.tolist()) - set(enrolled.tolist()))
        self.galleries: list[np.ndarray] = []
        self.probes: list[int] = []
        self.owners: list[int] = []
        for person, name in enumerate(enrolled):
            mine = random.permutation(rows[name])
            taken = min(photos or int(random.integers(1, 9)), len(mine) - 1)
            self.galleries.append(mine[:taken])
            self.probes += mine[taken : taken + 4].tolist()
            self.owners += [person] * len(mine[taken : taken + 4])
        gone: set[str] = set()
        for person, mine in enumerate(self.galleries):
            if len(mine) > 1 and random.random() < wrong:
                other = strangers[int(random.integers(len(strangers)))]
                gone.add(other)
                self.galleries[person] = np.append(mine[:-1], random.choice(rows[other]))
        self.strangers = [int(random.choice(rows[name])) for name in strangers if name not in gone]


def errors_of_rules(found: lfw.Vectors, photos: int, wrong: float, seed: int) -> tuple[dict[str, list[float]], tuple]:
    """Per rule the FNIR at each of RATES and the rank-1 error; and how many people, searches and strangers there were."""
    draw = Draw(found.names, photos, wrong, seed)
    probes = found.vectors[np.array(draw.probes + draw.strangers)]
    count, owners, errors = len(draw.probes), np.array(draw.owners), {}
    for rule, apart in distances_by_rule([found.vectors[rows] for rows in draw.galleries], probes).items():
        nearest, right = apart.min(axis=1), apart.argmin(axis=1)[: len(draw.probes)] == owners
        of_strangers = np.sort(nearest[count:])
        errors[rule] = [
            float(1 - np.mean(right & (nearest[:count] < of_strangers[int(rate * len(of_strangers))]))) for rate in RATES
        ] + [float(1 - right.mean())]
    return errors, (len(draw.galleries), count, len(draw.strangers))


def compare_rules(found: lfw.Vectors, seeds: int) -> Iterator[dict]:
    for wrong in (0.0, WRONG):
        for label, photos in PHOTOS.items():
            if wrong and label == "1":
                continue  # with one photo only, a wrong one is another person
            runs = [errors_of_rules(found, photos, wrong, seed) for seed in range(seeds)]
            for rule in RULES:
                values = np.array([errors[rule] for errors, _ in runs])
                yield {
                    "gallery": "wrong photos" if wrong else "clean",
                    "photos": label,
                    "rule": rule,
                    **{f"FNIR at FPIR {rate:.1%}": float(mean) for rate, mean in zip(RATES, values.mean(axis=0), strict=False)},
                    "rank-1 error": float(values[:, -1].mean()),
                    "spread": float(values[:, 0].std()),
                    "people": runs[0][1][0],
                    "searches": runs[0][1][1],
                    "strangers": runs[0][1][2],
                }


# -- strangers -------------------------------------------------------------------------------------------------------


def strangers_named(found: lfw.Vectors, curve: Curve, people: int, one_photo: bool, seed: int) -> tuple[int, int, int]:
    """How many strangers got a name, of how many, with how many templates."""
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(found.names))
    inside = np.flatnonzero(np.isin(found.names, names[:people]))
    if one_photo:
        inside = inside[np.unique(found.names[inside], return_index=True)[1]]
    outside = random.permutation(np.flatnonzero(np.isin(found.names, names[people:])))
    outside = outside[np.unique(found.names[outside], return_index=True)[1]]  # one photo of each stranger
    gallery, probes = found.vectors[inside], found.vectors[outside]
    square = (probes**2).sum(axis=1)[:, None] + (gallery**2).sum(axis=1) - 2 * probes @ gallery.T
    limit = curve.distance(rate_per_comparison(STRANGER_RATE, len(inside)))
    return int((np.sqrt(np.maximum(0, square.min(axis=1))) <= limit).sum()), len(outside), len(inside)


def check_strangers(found: lfw.Vectors, seeds: int) -> Iterator[dict]:
    people = np.unique(found.names)
    for count in (10, 100, 1000, 2000):
        halves = count + 200 <= len(people) // 2
        for one_photo in (True, False):
            results = []
            for seed in range(seeds):
                mixed = np.random.default_rng(seed).permutation(people)
                first = np.isin(found.names, mixed[: len(people) // 2])
                fitted = found.part(first) if halves else found
                distances, rates, _ = calibrate.curve_points(fitted.vectors, fitted.people)
                checked = found.part(~first) if halves else found
                curve = Curve(distances, rates)
                draws = max(1, min(100, 1000 // count))
                results += [strangers_named(checked, curve, count, one_photo, 1000 * seed + i) for i in range(draws)]
            named, of, templates = np.array(results).sum(axis=0)
            if not of:
                continue
            yield {
                "people": count,
                "photos each": "1" if one_photo else "all",
                "templates": round(templates / len(results)),
                "curve from": "other half" if halves else "the same people",
                "set": STRANGER_RATE,
                "strangers named": named / of,
                "searches": int(of),
                "ratio": named / of / STRANGER_RATE,
            }


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    options = parser.parse_args()
    detector = options.engine.split("+")[0]
    found = lfw.encode(options.data, options.work, detector, limit=400 if options.quick else None)[options.engine]
    rules = list(compare_rules(found, 1 if options.quick else 5))
    report.table(rules, f"Rules, {options.engine}: means over draws, spread of the first column over draws")
    strangers = list(check_strangers(found, 1 if options.quick else 4))
    report.table(strangers, "Strangers: the share that gets a name, against the setting")
    report.save(options, rules=rules, strangers=strangers)


if __name__ == "__main__":
    main()
