"""How many faces the detectors find, and what it costs, on WIDER FACE photos.

    python benchmarks/detection.py [--data DIR] [--quick] [--json FILE]

A face counts as found when a box overlaps it with IoU 0.4 or more. Faces marked invalid neither help nor hurt: they are not
looked for, and a box on one is not an error. "Two looks" is the engine's rule: a second look at 1280 where the first, at
640, found nothing or a face lower than so many pixels of the copy (`SMALL_IN_COPY`).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import report

from recognizer.core import geometry
from recognizer.core.settings import Settings
from recognizer.engines import engine as engines
from recognizer.engines import make_engine
from recognizer.photos import images

IOU = 0.4
HEIGHTS = (40, 20, 10)
SMALL_IN_COPY = (0, 12, 16, 24, 32, 48)


@dataclass
class Tally:
    """What one way of finding faces found."""

    found: dict[int, int] = field(default_factory=lambda: dict.fromkeys(HEIGHTS, 0))
    there: dict[int, int] = field(default_factory=lambda: dict.fromkeys(HEIGHTS, 0))
    right: int = 0
    wrong: int = 0
    times: list[float] = field(default_factory=list)

    def add(self, boxes: np.ndarray, faces: list[dict], milliseconds: float) -> None:
        """Count the boxes (n, 4), best first, of one photo."""
        self.times.append(milliseconds)
        there = np.array([face["bbox_xywh"] for face in faces], float).reshape(-1, 4)
        there[:, 2:] += there[:, :2]
        taken = np.zeros(len(faces), bool)
        invalid = np.array([bool(face["invalid"]) for face in faces], bool)
        for box in boxes:
            with np.errstate(invalid="ignore", divide="ignore"):
                overlap = np.nan_to_num(geometry.iou(box, there)) if len(faces) else np.zeros(0)
            free = np.where(taken, 0, overlap)
            if len(free) and free.max() >= IOU:
                best = int(free.argmax())
                taken[best] = True
                self.right += not invalid[best]
            else:
                self.wrong += 1
        for face, hit in zip(faces, taken, strict=True):
            for height in HEIGHTS:
                if not face["invalid"] and face["bbox_xywh"][3] >= height:
                    self.there[height] += 1
                    self.found[height] += bool(hit)

    def row(self, name: str) -> dict:
        recall = {f"recall >= {h} px": self.found[h] / max(1, self.there[h]) for h in HEIGHTS}
        mean = sum(self.times) / len(self.times)
        return {
            "detector": name,
            **recall,
            "precision": self.right / max(1, self.right + self.wrong),
            "median ms": report.percentile(self.times, 0.5),
            "mean ms": mean,
            "photos": len(self.times),
        }


def ways(models_dir: Path) -> dict[str, tuple]:
    """Name -> engine and the value of SMALL_IN_COPY that it is used with."""

    def yunet(first: int, large: int = 0):
        return make_engine("yunet", "sface", models_dir=models_dir, detect_size=first, detect_size_large=large, min_face=1)

    one, two = yunet(640), yunet(640, 1280)
    return {
        "yunet 640": (one, 0),
        "yunet 1280": (yunet(1280), 0),
        **{f"yunet two looks, {small}": (two, small) for small in SMALL_IN_COPY},
        "hog": (make_engine("hog", "dlib", models_dir=models_dir, min_face=1), 0),
    }


def measure(data: Path, quick: bool) -> dict[str, Tally]:
    annotations = json.loads(report.need(data, "wider-dev", "annotations.json").read_text())
    names = sorted(annotations)[:: 8 if quick else 1]
    tried = ways(Settings.from_environment().models_dir)
    tallies = {name: Tally() for name in tried}
    for photo in names:
        image = images.decode(report.need(data, "wider-dev", "images", photo).read_bytes())
        for name, (engine, small) in tried.items():
            engines.SMALL_IN_COPY = small
            start = time.perf_counter()
            faces = engine.find(image)
            spent = 1000 * (time.perf_counter() - start)
            tallies[name].add(faces.boxes, annotations[photo], spent)
    return tallies


def main() -> None:
    options = report.parser(__doc__, data=True).parse_args()
    tallies = measure(options.data, options.quick)
    rows = [tally.row(name) for name, tally in tallies.items()]
    slowest = next(row["mean ms"] for row in rows if row["detector"] == "hog")
    rows = [{**row, "ratio": slowest / row["mean ms"]} for row in rows]
    there = next(iter(tallies.values())).there
    report.table(rows, f"Faces found, of {there} by least height; ratio is HOG's mean time over this")
    report.save(options, detection=rows, faces=there)


if __name__ == "__main__":
    main()
