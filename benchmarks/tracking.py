"""Compares trackers on the faces found in clips: identity switches, fragments, time; and what names become of them.

    TEST_DATA_DIR=DIR python benchmarks/tracking.py [--json FILE] [--quick] [--clips NAME ...]

Every tracker is given the same detections, of every picture and of every third one. Who a detected face is of is told
from its embedding: faces of a clip that are worth describing are grouped by likeness. "Mixed" counts the places where a
track goes over to another person, "fragments" the tracks of a person beyond the first, "switches" what MOT benchmarks
call so: how often a person's track differs from the one a moment before. Trackers of other projects take part where
they are installed (pip install trackers).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report

import recognizer
from recognizer.core.settings import Settings
from recognizer.core.types import Faces
from recognizer.photos import images
from recognizer.photos.quality import picture_value
from recognizer.service import make_service
from recognizer.video.frames import Frame
from recognizer.video.tracking.cuts import Cuts
from recognizer.video.tracking.scene import TrackedScene, single
from recognizer.video.tracking.tracker import Tracker

#: A face is told from others only if its picture is worth this much.
LABELLED = 0.3
QUICK = 90


@dataclass
class Step:
    """One picture of a clip."""

    time: float
    faces: Faces
    qualities: list
    vectors: np.ndarray
    people: np.ndarray  # (n,): number of the person, -1 where it cannot be told
    cut: bool


def main() -> None:
    made = report.parser(__doc__, data=True)
    made.add_argument("--clips", nargs="*", metavar="NAME", help="parts of the clips' names; by default all")
    options = made.parse_args()
    folder = report.need(options.data, "videos")
    clips = sorted(path for path in folder.iterdir() if path.suffix in (".mp4", ".mov", ".avi"))
    chosen = [path for path in clips if not options.clips or any(part in path.name for part in options.clips)]
    rows = []
    with tempfile.TemporaryDirectory() as empty:
        settings = Settings.from_environment(known_faces=Path(empty) / "known", state_dir=Path(empty) / "state", watch=False)
        service = make_service(settings)
        try:
            vision = service.video.vision
            for clip in chosen:
                steps = look(clip, vision, QUICK if options.quick else None)
                for every in (1, 3):
                    rows += [{"clip": clip.stem, "every": every, **row} for row in compare(steps[::every], vision)]
        finally:
            service.close()
    report.table(rows, "Trackers on the same detections")
    report.table(summed(rows), "All clips together")
    names = named(chosen, options.data, 30 if options.quick else 300)
    report.table(names, "Names: the cast of one clip and so many others enrolled, a photo each")
    report.save(options, clips=rows, all=summed(rows), names=names)


def look(clip: Path, vision, most: int | None) -> list[Step]:
    """Everything that is found in a clip, with all faces described, and grouped into people."""
    import cv2

    video = cv2.VideoCapture(str(clip))
    rate = video.get(cv2.CAP_PROP_FPS) or 25
    steps, cuts = [], Cuts()
    while most is None or len(steps) < most:
        there, bgr = video.read()
        if not there:
            break
        image = images.from_array(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        faces = single(vision.detect(image))
        qualities, cut = vision.qualities(image, faces), cuts.is_cut(image.pixels)
        vectors, _ = vision.describe(image, faces, qualities)
        steps.append(Step(len(steps) / rate, faces, qualities, vectors, np.zeros(0, int), cut))
    video.release()
    _tell_people_apart(steps, vision.same_within)
    return steps


def _tell_people_apart(steps: list[Step], same_within: float) -> None:
    """Number the people: each face joins those whose mean it is nearest to, if near enough; twice over."""
    values = {(s, i): picture_value(quality) for s, step in enumerate(steps) for i, quality in enumerate(step.qualities)}
    good = [at for at, value in values.items() if value >= LABELLED]
    good.sort(key=lambda at: -values[at])
    groups: list[dict[int, np.ndarray]] = []  # picture -> vector: nobody is in a picture twice
    for s, i in good:
        vector = steps[s].vectors[i]
        apart = [np.inf if s in group else np.linalg.norm(np.mean([*group.values()], axis=0) - vector) for group in groups]
        if apart and min(apart) <= same_within:
            groups[int(np.argmin(apart))][s] = vector
        else:
            groups.append({s: vector})
    means = np.array([np.mean([*group.values()], axis=0) for group in groups if len(group) >= 3])
    for step in steps:
        step.people = np.full(len(step.faces), -1)
    nearest: dict[tuple[int, int], tuple[float, int]] = {}
    for s, i in good:
        if len(means):
            apart = np.linalg.norm(means - steps[s].vectors[i], axis=1)
            best, second = np.sort(apart)[0], np.sort(apart)[min(1, len(means) - 1)]
            if best <= 0.9 * same_within and (len(means) < 2 or second - best > 0.1 * same_within):
                key = s, int(apart.argmin())
                nearest[key] = min(nearest.get(key, (np.inf, 0)), (float(best), i))
    for (s, person), (_, i) in nearest.items():
        steps[s].people[i] = person


# -- the trackers -----------------------------------------------------------------------------------------------------

#: A tracker takes steps one by one and gives the number of a track, or None, for each face.
Follow = Callable[[Step], list]


def ours_by_place() -> Follow:
    tracker = Tracker()

    def follow(step: Step) -> list:
        tracks = tracker.update(step.faces, step.time)
        tracker.expire(step.time)
        return [track.id for track in tracks]

    return follow


_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


def ours(vision) -> Follow:
    """As the pipeline does it, where three faces are described per picture."""
    from recognizer.core.types import Match

    scene = TrackedScene(vision.decide, vision.same_within, vision.other_beyond)

    def follow(step: Step) -> list:
        if step.cut:
            scene.cut(step.time)
        scene.detected(step.faces, step.qualities, step.time, Frame(_NO_PIXELS, 0, 0.0, step.time))
        for due in scene.due(step.time, 3):
            [at] = [i for i, face in enumerate(step.faces) if tuple(face.box) == tuple(due.face.box)][:1]
            scene.described(due, step.vectors[at], Match(None, None, 1.0), 0)
        scene.faces(step.time)
        scene.ended(step.time)
        of = {tuple(face.box): track for track, face in scene.seen_at(step.time)}
        return [of.get(tuple(face.box)) for face in step.faces]

    return follow


def theirs(name: str) -> Callable[[float], Follow] | None:
    """A tracker of roboflow's `trackers`, where it is installed."""
    try:
        import supervision
        import trackers
    except ImportError:
        return None
    kind = getattr(trackers, name, None)
    if kind is None:
        return None

    def make(rate: float) -> Follow:
        tracker = kind(frame_rate=rate)

        def follow(step: Step) -> list:
            found = supervision.Detections(
                xyxy=step.faces.boxes.astype(np.float32).reshape(-1, 4),
                confidence=step.faces.scores.astype(np.float32),
                class_id=np.zeros(len(step.faces), int),
                data={"row": np.arange(len(step.faces))},
            )
            tracked = tracker.update(found)
            given: list = [None] * len(step.faces)
            if len(tracked) and tracked.tracker_id is not None:
                for row, track in zip(tracked.data["row"], tracked.tracker_id, strict=True):
                    given[int(row)] = int(track) if track >= 0 else None
            return given

        return follow

    return make


def compare(steps: list[Step], vision) -> Iterator[dict]:
    rate = 1 / (steps[1].time - steps[0].time) if len(steps) > 1 else 25.0
    followers: dict[str, Follow] = {"ours, by place only": ours_by_place(), "ours": ours(vision)}
    for name in ("SORTTracker", "ByteTrackTracker", "OCSORTTracker", "BoTSORTTracker"):
        make = theirs(name)
        if make is not None:
            followers[name] = make(rate)
    for name, follow in followers.items():
        given, spent = [], 0.0
        for step in steps:
            began = time.perf_counter()
            given.append(follow(step))
            spent += time.perf_counter() - began
        yield {"tracker": name, **score(steps, given), "us_per_picture": 1e6 * spent / max(1, len(steps))}


def score(steps: list[Step], given: list[list]) -> dict:
    last_of_person: dict[int, int] = {}
    last_of_track: dict[int, int] = {}
    tracks_of: dict[int, set] = {}
    switches = mixed = untracked = faces = 0
    for step, tracks in zip(steps, given, strict=True):
        faces += len(tracks)
        untracked += sum(track is None for track in tracks)
        for person, track in zip(step.people, tracks, strict=True):
            person = int(person)
            if track is None or person < 0:
                continue
            switches += last_of_person.get(person, track) != track
            mixed += last_of_track.get(track, person) != person
            last_of_person[person], last_of_track[track] = track, person
            tracks_of.setdefault(person, set()).add(track)
    fragments = sum(len(tracks) - 1 for tracks in tracks_of.values())
    return {
        "people": len(tracks_of),
        "faces": faces,
        "untracked": untracked,
        "mixed": mixed,
        "fragments": fragments,
        "switches": switches,
    }


def summed(rows: list[dict]) -> list[dict]:
    together: dict[tuple, dict] = {}
    for row in rows:
        key = row["every"], row["tracker"]
        total = together.setdefault(key, {"every": key[0], "tracker": key[1]})
        for name in ("faces", "untracked", "mixed", "fragments", "switches"):
            total[name] = total.get(name, 0) + row[name]
        total["us_per_picture"] = max(total.get("us_per_picture", 0.0), row["us_per_picture"])
    return list(together.values())


# -- names ------------------------------------------------------------------------------------------------------------

#: Who is in the clips and enrolled: photos of the data's people/.
CAST = {"Alex Lacamoire": "alex-lacamoire.png", "Barack Obama": "obama.jpg", "Lin-Manuel Miranda": "lin-manuel-miranda.png"}


def named(clips: Sequence[Path], data: Path, others: int) -> list[dict]:
    """Per clip and name, for how many faces of pictures it was given, by the pipeline and by each picture alone."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known"
        for name, file in CAST.items():
            _enrol(known / name, report.need(data, "people", file))
        strangers = sorted(path for path in report.need(data, "lfw-dev", "images").iterdir() if "Obama" not in path.name)
        for person in strangers[:: max(1, len(strangers) // others)][:others]:
            _enrol(known / person.name, sorted(person.iterdir())[0])
        with recognizer.open(known, state_dir=Path(folder) / "state") as people:
            for clip in clips:
                held, changes = asyncio.run(_watched(people, clip))
                alone = _alone(people.service.video.vision, clip)
                for name in sorted(held.keys() | alone.keys()):
                    rows.append(
                        {
                            "clip": clip.stem,
                            "name": name,
                            "faces": held[name],
                            "by_single_pictures": alone[name],
                            "changes_in_clip": changes,
                        }
                    )
    return rows


def _enrol(folder: Path, photo: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copy(photo, folder)


async def _watched(people, clip: Path) -> tuple[Counter, int]:
    held, changes, before = Counter(), 0, {}
    async for result in people.watch(clip, paced=False):
        for face in result.faces:
            name = face.subject or ("(unknown)" if face.decided else "(undecided)")
            held[name] += 1
            changes += before.get(face.track, "(undecided)") not in ("(undecided)", name)
            before[face.track] = name
    return held, changes


def _alone(vision, clip: Path) -> Counter:
    """What recognising each picture by itself says."""
    import cv2

    found, video = Counter(), cv2.VideoCapture(str(clip))
    while (read := video.read())[0]:
        image = images.from_array(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        faces = vision.detect(image)
        vectors, _ = vision.describe(image, faces, vision.qualities(image, faces))
        found.update(match.subject or "(unknown)" for match in vision.match(vectors))
    video.release()
    return found


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    main()
