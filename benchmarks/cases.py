"""Measures special cases: faces that are found on animals, and how often strangers of one age group are taken for each other.

    python benchmarks/cases.py [--data DIR] [--engine NAME] [--quick] [--json FILE]

Animals: COCO photos with animals and without people. Ages: labelled faces, each taken for another person; the false-match
rate is that of pairs of one age group at the engine's threshold for verification.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import report

from recognizer.core.settings import Settings
from recognizer.engines import largest, make_engine
from recognizer.photos import images

#: COCO's classes.
PERSON, ANIMALS = 0, range(14, 24)
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
        rows = [row for row in csv.DictReader(file) if row["age"] and row["set"] == "a"][:most]
    found: dict[tuple[int, int], list] = {group: [] for group in AGES}
    for row in rows:
        pixels = images.decode(next(folder.rglob(Path(row["photo"]).name)).read_bytes()).pixels
        verdicts, vectors = judged(engine, pixels, lambda faces: faces.select([largest(faces)]))
        group = next(group for group in AGES if group[0] <= float(row["age"]) <= group[1])
        found[group] += [(vector, verdict.comparable) for vector, verdict in zip(vectors, verdicts, strict=True)]
    return [_group(group, each, engine.info.calibration.threshold) for group, each in found.items() if len(each) > 1]


def _group(group: tuple[int, int], found: list, threshold: float) -> dict:
    vectors, comparable = np.array([vector for vector, _ in found]), np.array([usable for _, usable in found])
    usable = vectors[comparable]
    first, second = np.triu_indices(len(usable), 1)
    near = np.linalg.norm(usable[first] - usable[second], axis=1) <= threshold
    return {
        "age": f"{group[0]}-{group[1]}",
        "faces": len(found),
        "not comparable %": 100 * float((~comparable).mean()),
        "pairs": len(near),
        "FMR %": 100 * float(near.mean()) if len(near) else None,
    }


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    options = parser.parse_args()
    detector, _, embedder = options.engine.partition("+")
    engine = make_engine(detector, embedder, models_dir=Settings.from_environment().models_dir)
    most = 20 if options.quick else None
    pets, people = animals(engine, options.data, most), ages(engine, options.data, most)
    report.table([pets], f"{options.engine}: animals")
    report.table(people, f"{options.engine}: pairs of one age group, each photo taken for another person")
    report.save(options, engine=options.engine, animals=pets, ages=people)


if __name__ == "__main__":
    main()
