"""How well odd photos among the enrolled are told, and what telling costs.

    python benchmarks/odd_photos.py [--images DIR] [--embedder dlib+sface] [--quick] [--json FILE]

First, photos of people with three or more are enrolled as they are; then in one folder out of ten a photo of somebody
else is put, and it is counted how often that one is told, and how often another. Second, the milliseconds that looking at one
person and at everybody takes, in galleries of drawn templates.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.core.types import Embedding, Template
from recognizer.engines import calibration, make_engine
from recognizer.enrolment.bulk import BulkSettings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.review import MOST_AT_ONCE, Review
from recognizer.evaluation.encode import encode
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.thresholds import Curve, rate_per_comparison

STRANGER_RATE = 0.01


class Enrolled:
    """What `Review` sees of an enrolment."""

    def __init__(self, engine: str, dim: int, templates: list[Template]):
        self.gallery, self.revision = MemoryGallery(engine, dim), 0
        self.gallery.add(templates)


def review(templates: list[Template], engine: str, embedder: str) -> Review:
    points = calibration("yunet", embedder)
    enrolled = Enrolled(engine, len(templates[0].embedding.vector), templates)
    rate = rate_per_comparison(STRANGER_RATE, len(templates))
    named = Curve(points.distances, points.rates).distance(rate)
    return Review(enrolled, points.threshold, lambda: named)


def told(templates: list[Template], engine: str, embedder: str) -> dict[tuple[str, str], set[str]]:
    found = {}
    for subject, photos in review(templates, engine, embedder).of_all().items():
        for photo, warnings in photos.items():
            found[subject, photo] = {warning["code"] for warning in warnings}
    return found


def accuracy(options) -> list[dict]:
    recipe = {"embedder": options.embedder, "models_dir": Settings.from_environment().models_dir}
    source = BulkSettings(make_engine(**recipe), recipe, workers=report.cores())
    root = options.images or report.need(options.data, "lfw-dev", "images")
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir()][: 300 if options.quick else None]
    named = [(folder.name, file) for folder in folders for file in sorted(folder.glob("*.jpg"))[:5]]
    found = encode([file for _, file in named], source, EncodingsCache(":memory:"))
    engine = source.engine.info.id
    templates = [
        Template(name, photo, Embedding(vector, engine))
        for (name, _), photo, vector, ok in zip(named, found.photos, found.vectors, found.found, strict=True)
        if ok
    ]
    subjects = [template.subject for template in templates]
    several = {name for name in set(subjects) if subjects.count(name) > 2}
    before = told(templates, engine, options.embedder)
    chance = np.random.default_rng(0)
    hosts = sorted(several)[::10]
    strangers = chance.permutation([i for i, name in enumerate(subjects) if name not in several])[: len(hosts)]
    guests = dict(zip(strangers.tolist(), hosts, strict=True))
    planted = [Template(guests.get(i, each.subject), each.photo, each.embedding) for i, each in enumerate(templates)]
    after = told(planted, engine, options.embedder)
    wrong = {(host, templates[i].photo) for i, host in guests.items()}
    many = {(each.subject, each.photo) for each in templates if each.subject in several}
    few = {(each.subject, each.photo) for each in templates} - many
    rows = {
        "as they are, of people with three or more": (many, before),
        "as they are, of people with one or two": (few, before),
        "somebody else's, in a folder of three or more": (wrong, after),
    }
    codes = ("unlike_others", "looks_like_another")
    table = [
        {"photos": name, "count": len(which)}
        | {f"{code} %": float(100 * np.mean([code in flags.get(each, ()) for each in which])) for code in codes}
        for name, (which, flags) in rows.items()
    ]
    report.table(table, f"{engine}: {len(templates)} photos of {len(set(subjects))} people")
    return table


def cost(options) -> list[dict]:
    rows = []
    chance = np.random.default_rng(0)
    for people, each in ((1_000, 2), (10_000, 1), (10_000, 2), (10_000, 5)):
        if options.quick and people > 1_000:
            break
        centres = chance.normal(0, 0.9 / 16, (people, 256))
        vectors = (centres[:, None] + chance.normal(0, 0.4 / 16, (people, each, 256))).astype(np.float32)
        templates = [
            Template(f"p{i}", f"{i}-{j}", Embedding(vectors[i, j], "drawn")) for i in range(people) for j in range(each)
        ]
        looked = review(templates, "drawn", "dlib+sface")
        single = [_ms(lambda i=i, looked=looked: looked.of(f"p{i}")) for i in range(20)]
        few = people * each <= MOST_AT_ONCE
        rows.append(
            {
                "people": people,
                "photos of each": each,
                "one person, ms": float(np.median(single)),
                "everybody, ms": _ms(looked.of_all) if few else None,
                "everybody again, ms": _ms(looked.of_all) if few else None,
            }
        )
    report.table(rows, "Looking for odd photos")
    return rows


def _ms(work) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--images", type=Path, help="one folder per person")
    parser.add_argument("--embedder", default="dlib+sface")
    options = parser.parse_args()
    report.save(options, accuracy=accuracy(options), cost=cost(options))


if __name__ == "__main__":
    main()
