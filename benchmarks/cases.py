"""Measures special cases: faces that are found on animals, and how often strangers of one age group, or relatives, match.

    python benchmarks/cases.py [--data DIR] [--engine NAME] [--quick] [--json FILE]

Animals: COCO photos with animals and without people. Ages: labelled faces, each taken for another person; the false-match
rate is that of pairs of one age group at the engine's threshold for verification, and before it is lowered where strangers are
near. benchmarks/comparability.py measures the same by models that have not seen these people. Relatives: parents, children,
brothers and sisters among the people of LFW's development view.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import central, largest, make_engine
from recognizer.galleries.thresholds import Curve
from recognizer.photos import images
from recognizer.photos.remarks import factor_of_two

#: Sides of its photos, in pixels.
LFW_SIZE = 250
#: Two photos nearer than this are the same photo.
SAME_PHOTO = 0.3
#: COCO's classes.
PERSON, ANIMALS = 0, range(14, 24)
RELATIVES = (
    ("Venus_Williams", "Serena_Williams"),
    ("Oracene_Williams", "Serena_Williams"),
    ("Oracene_Williams", "Venus_Williams"),
    ("Michael_Schumacher", "Ralf_Schumacher"),
    ("George_HW_Bush", "George_W_Bush"),
    ("George_HW_Bush", "Jeb_Bush"),
    ("George_W_Bush", "Jeb_Bush"),
    ("Jeb_Bush", "George_P_Bush"),
    ("Jeb_Bush", "Noelle_Bush"),
    ("Columba_Bush", "Noelle_Bush"),
    ("Martin_Sheen", "Charlie_Sheen"),
    ("Kirk_Douglas", "Michael_Douglas"),
)
#: Photos of each relative that are used at most.
PHOTOS = 10
AGES = ((0, 2), (3, 12), (13, 17), (18, 29), (30, 44), (45, 59), (60, 120))


def judged(engine, pixels: np.ndarray, choose):
    """The verdict and embedding of each face that `choose` selects; nothing without a face."""
    faces, image = engine.find_with_image(images.from_array(pixels))
    if not len(faces):
        return [], np.zeros((0, engine.info.dim), np.float32)
    faces = choose(faces)
    found = engine.judged(image, faces, engine.described_all([(image, faces)])[0], engine.qualities(image, faces))
    return found.verdicts, found.vectors


def animals(engine, data: Path, most: int | None) -> dict:
    """How many faces are found on photos with animals and without people, and how many of them are comparable."""
    folder = report.need(data, "coco-dev")
    photos = faces = comparable = 0
    for labels in sorted(folder.rglob("labels/**/*.txt"))[:most]:
        kinds = {int(line.split()[0]) for line in labels.read_text().splitlines() if line.strip()}
        photo = next(folder.rglob(f"{labels.stem}.jpg"), None)
        if photo is None or PERSON in kinds or not kinds & set(ANIMALS):
            continue
        verdicts, _ = judged(engine, images.decode(photo.read_bytes()).pixels, lambda found: found)
        photos, faces, comparable = photos + 1, faces + len(verdicts), comparable + sum(each.comparable for each in verdicts)
    return {"photos with animals": photos, "faces found": faces, "comparable": comparable}


def ages(engine, data: Path, most: int | None) -> list[dict]:
    """False-match rate and share withheld, by age group."""
    folder = report.need(data, "attributes-dev")
    with report.need(folder, "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["age"]][:most]
    found: dict[tuple[int, int], list] = {group: [] for group in AGES}
    for row in rows:
        pixels = images.decode(next(folder.rglob(Path(row["photo"]).name)).read_bytes()).pixels
        verdicts, vectors = judged(engine, pixels, lambda faces: faces.select([largest(faces)]))
        group = next(group for group in AGES if group[0] <= float(row["age"]) <= group[1])
        found[group] += list(zip(vectors, verdicts, strict=True))
    return [_group(engine, group, each) for group, each in found.items() if len(each) > 1]


def _group(engine, group: tuple[int, int], found: list) -> dict:
    first, second = np.triu_indices(len(found), 1)
    pairs = [(found[i], found[j]) for i, j in zip(first, second, strict=True)]
    return {
        "age": f"{group[0]}-{group[1]}",
        "faces": len(found),
        "not comparable %": 100 * float(np.mean([not verdict.comparable for _, verdict in found])),
        **_matching(engine, pairs),
    }


def _matching(engine, pairs: list) -> dict:
    """The share of pairs, each of two embeddings with verdicts, that match; duplicates of one photo are left out."""
    points = engine.info.calibration
    curve = Curve(points.distances, points.rates)
    alike, same = [], []
    for (one, first), (other, second) in pairs:
        apart = float(np.linalg.norm(one - other))
        if apart > SAME_PHOTO:
            limit = min(points.threshold, curve.distance(curve.rate(points.threshold) / factor_of_two([first, second])))
            alike.append(apart <= points.threshold)
            same.append(apart <= limit and first.comparable and second.comparable)
    return {
        "pairs": len(same),
        "FMR %, one threshold for all": 100 * float(np.mean(alike)) if alike else None,
        "FMR %": 100 * float(np.mean(same)) if same else None,
    }


def relatives(engine, data: Path, most: int | None) -> dict:
    """How often photos of two relatives match."""
    folder, known, pairs = report.need(data, "lfw-dev", "images"), {}, []
    for one, other in RELATIVES[:most]:
        for person in (one, other):
            if person not in known:
                known[person] = [
                    (vectors[0], verdicts[0])
                    for path in sorted((folder / person).glob("*.jpg"))[:PHOTOS]
                    for verdicts, vectors in [judged(engine, images.decode(path.read_bytes()).pixels, _middle)]
                    if verdicts
                ]
        pairs += [(first, second) for first in known[one] for second in known[other]]
    return {"pairs of relatives": len(RELATIVES[:most]), **_matching(engine, pairs)}


def _middle(faces):
    """The face in the middle of a photo of LFW."""
    return faces.select([central(faces, LFW_SIZE, LFW_SIZE)])


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    options = parser.parse_args()
    detector, _, embedder = options.engine.partition("+")
    engine = make_engine(detector, embedder, models_dir=Settings.from_environment().models_dir)
    most = 20 if options.quick else None
    pets, people = animals(engine, options.data, most), ages(engine, options.data, most)
    families = relatives(engine, options.data, 2 if options.quick else None)
    report.table([pets], f"{options.engine}: animals")
    report.table(people, f"{options.engine}: pairs of one age group, each photo taken for another person")
    report.table([families], f"{options.engine}: relatives")
    report.save(options, engine=options.engine, animals=pets, ages=people, relatives=families)


if __name__ == "__main__":
    main()
