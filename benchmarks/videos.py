"""What the archive takes for videos, and whom it finds: key scenes against two frames of every second.

    python benchmarks/videos.py [--data DIR] [--engine NAME] [--quick] [--json FILE]

The videos are the clips of the measuring data, one after the other. Time is processor time, with that of the processes that
decode. The baseline examines two frames of every second and keeps every face. A person counts as found by the key scenes if
one of their faces is in a group with the baseline's, grouped together; people with fewer than three faces in the baseline are
left out.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import report

from recognizer.archive.photo_faces import faces_on
from recognizer.archive.video_scenes import find_video_faces
from recognizer.core.settings import Settings
from recognizer.engines import make_engine
from recognizer.enrolment.bulk import BulkSettings
from recognizer.galleries.clustering import Groups, limit_for
from recognizer.galleries.thresholds import Curve
from recognizer.photos.images import Image
from recognizer.video.sources.recording import frames_of

#: Frames that the baseline examines in a second, and faces that a person must have there to count.
RATE, LEAST_FACES = 2, 3


def processor_time() -> float:
    """Seconds of this process and of those that it started and that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def of_every_frame(settings: BulkSettings, path: Path) -> tuple[list[np.ndarray], int, float]:
    """Templates of every good face on two frames of every second, how many faces there were, and the length in seconds."""
    found, faces, last = [], 0, 0.0
    for last, pixels in frames_of(path, every=1 / RATE):  # noqa: B007, the last one is the length
        height, width = pixels.shape[:2]
        for face in faces_on(settings, Image(pixels, width, height, "array"))[1]:
            faces += 1
            if not face.remarks:
                found.append(face.vector)
    return found, faces, last


def people_found(baseline: list[np.ndarray], ours: list[np.ndarray], limit) -> tuple[int, int]:
    """How many people the baseline shows, and how many of them the key scenes show too."""
    if not baseline:
        return 0, 0
    groups: Groups[int, int] = Groups(limit(len(baseline) + len(ours)))
    groups.add_faces(list(range(len(baseline) + len(ours))), np.array([*baseline, *ours]))
    members = [groups.faces(id_) for id_ in groups.groups()]
    people = [each for each in members if sum(key < len(baseline) for key in each) >= LEAST_FACES]
    return len(people), sum(any(key >= len(baseline) for key in each) for each in people)


def main() -> None:
    parser = report.parser(__doc__, data=True)
    parser.add_argument("--engine", default="yunet+dlib+sface", help="detector+embedder")
    options = parser.parse_args()
    detector, embedder = options.engine.split("+", 1)
    recipe = {"detector": detector, "embedder": embedder, "models_dir": Settings.from_environment().models_dir}
    engine = make_engine(**recipe)
    settings = BulkSettings(engine, recipe)
    curve = Curve(engine.info.calibration.distances, engine.info.calibration.rates)

    def limit(faces: int) -> float:
        return limit_for(faces, curve.distance)

    clips = sorted(each for each in report.need(options.data, "videos").iterdir() if each.suffix in (".mp4", ".mov"))
    faces_on(settings, Image(np.zeros((480, 640, 3), np.uint8), 640, 480, "array"))  # what is loaded once does not count
    rows = []
    for path in clips[: 1 if options.quick else None]:
        begun = processor_time()
        baseline, faces, seconds = of_every_frame(settings, path)
        whole = processor_time() - begun
        begun, clock = processor_time(), time.perf_counter()
        found = find_video_faces(settings, path, most_seconds=7200, same=limit(0), ended=threading.Event())
        ours = processor_time() - begun
        assert found is not None
        good = [each.face.vector for each in found.faces if not each.face.remarks]
        people, both = people_found(baseline, good, limit)
        rows.append(
            {
                "video": path.name,
                "seconds": round(seconds, 1),
                "processor time": round(ours, 2),
                "wall time": round(time.perf_counter() - clock, 2),
                "of the baseline's": round(ours / whole, 2),
                "faces": len(found.faces),
                "baseline's faces": faces,
                "people": people,
                "found": both,
            }
        )
    total = {"video": "all", **{name: round(sum(row[name] for row in rows), 2) for name in list(rows[0])[1:]}}
    total["of the baseline's"] = round(
        total["processor time"] / sum(row["processor time"] / row["of the baseline's"] for row in rows), 2
    )
    rows.append(total)
    report.table(rows, f"{options.engine}: key scenes, and {RATE} frames of every second")
    report.save(options, videos=rows)


if __name__ == "__main__":
    main()
