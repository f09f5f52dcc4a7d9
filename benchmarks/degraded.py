"""Prints how often strangers are taken for somebody else on damaged photos, and what is withheld: docs/accuracy.md's table.

    python benchmarks/degraded.py [--images DIR] [--engine NAME] [--photos N] [--quick] [--json FILE]

DIR holds one folder per person; by default it is LFW's development view. It is `recognizer evaluate --degrade`, as Markdown.
"""

from __future__ import annotations

import sys
from pathlib import Path

import report

from recognizer.core.settings import Settings
from recognizer.engines import make_engine
from recognizer.evaluation import degrade, people_folders


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--images", type=Path, help="one folder per person")
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    parser.add_argument("--photos", type=int, default=160, help="how many are damaged, two of each person")
    parser.add_argument("--seed", type=int, default=2, help="of the choice of people")
    options = parser.parse_args()
    options.images = options.images or report.need(options.data, "lfw-dev", "images")
    if options.quick:
        options.photos = 6
    detector, _, embedder = options.engine.partition("+")
    engine = make_engine(detector, embedder, models_dir=Settings.from_environment().models_dir, min_face=8)
    photos = degrade.sample(people_folders.read_people(options.images), options.photos, options.seed)
    rows = degrade.measure(degrade.look(engine, photos, 25_000_000, _told), engine)
    report.table([_shown(row) for row in rows], f"{options.engine}, {len(photos)} photos, in per cent")
    report.save(options, engine=options.engine, rows=rows)


def _told(done: int, total: int) -> None:
    if done % 10 == 0 or done == total:
        print(f"{done} of {total}", file=sys.stderr, flush=True)


def _shown(row: dict) -> dict[str, str]:
    return {
        "photos": row["name"],
        "FMR, both sides (if all were compared)": f"{_percent(row['both'])} ({_percent(row['both_before'])})",
        "FMR, one side (if all were compared)": f"{_percent(row['one'])} ({_percent(row['one_before'])})",
        "strangers named among 10, 100, 1,000, both": ", ".join(map(_percent, row["fpir_both"].values())),
        "one side": ", ".join(map(_percent, row["fpir"].values())),
        "FNMR, one side": _percent(row["fnmr"]),
        "unanswered": _percent(row["unanswered"]),
        "not comparable": _percent(row["withheld"]),
    }


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"


if __name__ == "__main__":
    main()
