"""Names for the groups of an archive: how many are right and wrong, with 3 to 300 people enrolled and thousands of strangers.

    python benchmarks/archive_names.py [--data DIR] [--work DIR] [--engine yunet+dlib+sface] [--quick] [--json FILE]

All photos of LFW's development view are grouped. Some people with four photos or more are enrolled with three photos each,
which leave the groups; everybody else is a stranger. "named" is the number of groups with a name over all repetitions,
"wrong" those whose faces are not mostly that person's, "recall" the share of the enrolled people's groups that have their
name, "suggested" the number of suggestions. Groups and names are those of an archive: where strangers are expected to be near
(`engines.crowding`), faces must be nearer. The last columns are the rule that was used before: each face is matched on its
own, and half of a group's faces name it. The correlation is that of two faces of one group with regard to somebody else's
template.
"""

from __future__ import annotations

from collections import Counter

import lfw
import numpy as np
import report

from recognizer.archive import group_names
from recognizer.archive.archive_model import ArchivePerson
from recognizer.core.settings import Settings
from recognizer.core.types import Embedding, Template
from recognizer.engines import make_engine
from recognizer.engines.crowding import crowding
from recognizer.galleries import thresholds
from recognizer.galleries.clustering import Groups, limit_for
from recognizer.galleries.memory import MemoryGallery
from recognizer.galleries.thresholds import Curve

ENROLLED = (3, 10, 30, 100, 300)
PHOTOS_EACH, LEAST_PHOTOS = 3, 4


def correlation(found: lfw.Vectors, pairs: int = 20_000) -> float:
    """Of the distances of two faces of one person from a template of somebody else."""
    random, people = np.random.default_rng(0), found.people
    rows = [np.flatnonzero(people == person) for person in range(people.max() + 1)]
    several = [each for each in rows if len(each) >= 2]
    distances = []
    while len(distances) < pairs:
        mine, others = several[random.integers(len(several))], rows[random.integers(len(rows))]
        if people[mine[0]] != people[others[0]]:
            two = random.choice(mine, 2, replace=False)
            distances.append(np.linalg.norm(found.vectors[two] - found.vectors[random.choice(others)], axis=1))
    return float(np.corrcoef(np.array(distances).T)[0, 1])


def trial(found: lfw.Vectors, groups: list[list[int]], enrolled: int, seed: int, curve: Curve, engine, lowered) -> Counter:
    """Counts of one repetition."""
    random, people = np.random.default_rng(seed), found.people
    sizes = np.bincount(people)
    who = random.choice(np.flatnonzero(sizes >= LEAST_PHOTOS), enrolled, replace=False)
    gallery, used = MemoryGallery(engine.id, engine.dim), set()
    for person in who:
        rows = random.choice(np.flatnonzero(people == person), PHOTOS_EACH, replace=False)
        used |= set(rows.tolist())
        gallery.add([Template(str(person), str(row), Embedding(found.vectors[row], engine.id)) for row in rows])
    left = [rows for group in groups if (rows := [row for row in group if row not in used])]
    name_limit, likely_limit = group_names.limits(len(left), group_names.DEFAULT_STRANGER_RATE)
    fixed = curve.distance(thresholds.rate_per_comparison(group_names.DEFAULT_STRANGER_RATE, len(gallery)))
    counts: Counter = Counter()

    def templates(subject: str) -> np.ndarray:
        return np.array([each.embedding.vector for each in gallery.templates(subject)])

    for rows in left:
        person, times = Counter(people[rows].tolist()).most_common(1)[0]
        true = str(person) if 2 * times >= len(rows) and person in who else None
        match = group_names.match_group(found.vectors[rows], gallery.search, templates, len(gallery), curve, lowered=lowered)
        got = group_names.decided(ArchivePerson(1), match, name_limit, likely_limit, curve)
        counts["theirs"] += true is not None
        counts["named"] += got.subject is not None
        counts["wrong"] += got.subject is not None and got.subject != true
        counts["right"] += got.subject is not None and got.subject == true
        counts["suggested"] += got.likely is not None
        counts["wrong suggestions"] += got.likely is not None and got.likely != true
        counts["found"] += true is not None and true in (got.subject, got.likely)
        singles = [each[0].subject for each in gallery.search(found.vectors[rows], 1) if each[0].distance <= fixed]
        most = Counter(singles).most_common(1)
        old = most[0][0] if most and 2 * most[0][1] >= len(rows) else None
        counts["named before"] += old is not None
        counts["wrong before"] += old is not None and old != true
    return counts


def main() -> None:
    parser = report.parser(__doc__, data=True, work=True)
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    options = parser.parse_args()
    detector, embedder = options.engine.split("+", 1)
    found = lfw.encode(options.data, options.work, detector)[options.engine]
    engine = make_engine(detector, embedder, models_dir=Settings.from_environment().models_dir).info
    curve = Curve(engine.calibration.distances, engine.calibration.rates)
    lowered = crowding(embedder).lowerings
    grown: Groups[int, int] = Groups(limit_for(len(found.names), curve.distance), lowered=lowered)
    grown.add_faces(list(range(len(found.names))), found.vectors)
    groups = [grown.faces(id_) for id_ in grown.groups()]
    several = int((np.bincount(found.people) >= LEAST_PHOTOS).sum())
    rows = []
    for enrolled in ENROLLED[:2] if options.quick else ENROLLED:
        number = min(enrolled, several)
        repetitions = max(2, min(10, 100 // number))
        total: Counter = Counter()
        for seed in range(repetitions):
            total += trial(found, groups, number, seed, curve, engine, lowered)
        rows.append(
            {
                "enrolled": number,
                "repetitions": repetitions,
                "theirs": total["theirs"],
                "named": total["named"],
                "wrong": total["wrong"],
                "recall": total["right"] / max(1, total["theirs"]),
                "suggested": total["suggested"],
                "wrong suggestions": total["wrong suggestions"],
                "named or suggested": total["found"] / max(1, total["theirs"]),
                "named before": total["named before"],
                "wrong before": total["wrong before"],
            }
        )
    report.table(rows, f"{options.engine}: names for {len(groups)} groups of {len(found.names)} faces")
    related = [{"correlation": correlation(found)}]
    report.table(related, "Two faces of one group, and somebody else's template")
    report.save(options, names=rows, correlation=related)


if __name__ == "__main__":
    main()
