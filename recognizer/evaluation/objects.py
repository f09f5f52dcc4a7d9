"""Finding objects: precision and recall at a threshold and over all of them, COCO's mean average precision, milliseconds.

"Objects" of a label are matched with boxes of the same label only.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import images
from ..errors import ImageError
from ..objects import DECODE_SIZE, LABELS, LEAST_SCORE, ObjectDetector
from .boxes import Truth
from .detection import Found, average_precision, match
from .intervals import interval
from .yolo import Scene

#: Least intersection over union of a found box and a true one.
IOU = 0.5
#: Scores at which the curve has a point.
STEPS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class Sight:
    """What was found in one photo.

    Attributes
    ----------
    boxes : ndarray, shape (n, 4)
        Best score first, in pixels.
    scores : ndarray, shape (n,)
    labels : ndarray of str, shape (n,)
    size : (int, int)
        Width and height of the photo; 1, 1 where it could not be read.
    ms, cpu_ms : float or None
        Milliseconds that looking took, without decoding, and of processor time; None where the photo could not be read.
    problem : str or None
        Why it could not.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    size: tuple[int, int]
    ms: float | None = None
    cpu_ms: float | None = None
    problem: str | None = None


def find(
    paths: Sequence[Path],
    detector: ObjectDetector,
    max_bytes: int,
    max_pixels: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Sight]:
    """Look for objects of any score in photos, one photo after the other, so that the time of each is its own."""
    detector.find(np.zeros((64, 64, 3), np.uint8))  # the first run takes longer
    found = []
    for path in paths:
        found.append(_look(path, detector, max_bytes, max_pixels))
        progress(len(found), len(paths))
    return found


def _look(path: Path, detector: ObjectDetector, max_bytes: int, max_pixels: int) -> Sight:
    try:
        data = images.read_file(path, max_bytes=max_bytes)
        image = images.decode(data, max_bytes=max_bytes, max_pixels=max_pixels, long_side=DECODE_SIZE)
    except ImageError as error:
        return _unseen(error.code)
    except OSError:
        return _unseen("unreadable")
    size = (image.width, image.height)
    start, used = time.perf_counter(), time.process_time()
    found = detector.find(image.pixels, LEAST_SCORE, size)
    ms, cpu_ms = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)
    boxes = np.array([tuple(each.box) for each in found], float).reshape(-1, 4)
    scores = np.array([each.score for each in found], float)
    return Sight(boxes, scores, np.array([each.label for each in found], dtype=object), size, ms, cpu_ms)


def _unseen(problem: str) -> Sight:
    return Sight(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=object), (1, 1), problem=problem)


# -- counting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counted:
    """All true objects and all found boxes of one label.

    Attributes
    ----------
    hit : ndarray of float, shape (n true,)
        The score of the box that was found for each true one; -1 for none.
    photo_true, photo_found : ndarray of int
        Which photo each is of.
    scores : ndarray, shape (n found,)
    good : ndarray of bool, shape (n found,)
        Whether each found box is on an object.
    """

    hit: np.ndarray
    photo_true: np.ndarray
    scores: np.ndarray
    good: np.ndarray
    photo_found: np.ndarray


def measure(scenes: Sequence[Scene], sights: Sequence[Sight], threshold: float, iou: float = IOU) -> dict:
    """Everything there is to say, as plain data; docs/accuracy.md explains it.

    Objects with labels that the detector does not have are left out. Photos that could not be read count as photos in
    which nothing was found.
    """
    known = set(LABELS.values())
    unknown = sorted({label for scene in scenes for label in scene.labels} - known)
    present = sorted({label for scene in scenes for label in scene.labels} & known)
    counted = {label: _count(scenes, sights, label, iou) for label in [*present, *_only_found(sights, present)]}
    averages = mean_average_precision(scenes, sights, present) if present else {}
    times = [sight.ms for sight in sights if sight.ms is not None]
    cpu_times = [sight.cpu_ms for sight in sights if sight.cpu_ms is not None]
    return {
        "photos": len(scenes), "iou": iou, "threshold": threshold, "labels_not_known": unknown,
        **_rates(list(counted.values()), threshold),
        "map_50": averages.get("map_50"), "map_50_95": averages.get("map_50_95"),
        "by_label": {
            label: {
                **_rates([one], threshold),
                "average_precision": average_precision(one.scores, one.good, len(one.hit)),
            }
            for label, one in counted.items()
            if len(one.hit) or (one.scores >= threshold).any()
        },
        "curve": [[step, *_point(list(counted.values()), step)] for step in STEPS],
        "ms": float(np.mean(times)) if times else None,
        "ms_median": float(np.median(times)) if times else None,
        "cpu_ms": float(np.mean(cpu_times)) if cpu_times else None,
    }  # fmt: skip


def _only_found(sights: Sequence[Sight], present: Sequence[str]) -> list[str]:
    return sorted({label for sight in sights for label in sight.labels} - set(present))


def _count(scenes: Sequence[Scene], sights: Sequence[Sight], label: str, iou: float) -> _Counted:
    hits, true_of, scores, good, found_of = [], [], [], [], []
    for number, (scene, sight) in enumerate(zip(scenes, sights, strict=True)):
        wanted, seen = scene.labels == label, sight.labels == label
        boxes = scene.boxes[wanted] * (*sight.size, *sight.size)
        truth = Truth(scene.path, boxes, np.ones(len(boxes), bool))
        one = match(truth, Found(sight.boxes[seen], sight.scores[seen], None, None), iou)
        hit = np.full(len(boxes), -1.0)
        hit[one.match[one.match >= 0]] = sight.scores[seen][one.match >= 0]
        hits.append(hit)
        scores.append(sight.scores[seen])
        good.append(one.match >= 0)
        true_of.append(np.full(len(boxes), number))
        found_of.append(np.full(int(seen.sum()), number))
    return _Counted(*(np.concatenate(parts) for parts in (hits, true_of, scores, good, found_of)))


def _joined(counted: Sequence[_Counted]) -> _Counted:
    names = ("hit", "photo_true", "scores", "good", "photo_found")
    return _Counted(*(np.concatenate([getattr(one, name) for one in counted]) for name in names))


def _rates(counted: Sequence[_Counted], threshold: float) -> dict:
    """Precision and recall of what scores at least `threshold`."""
    if not counted:
        return {
            "objects": 0, "found": 0, "recall": None, "recall_interval": (0, 1), "precision": None,
            "precision_interval": (0, 1),
        }  # fmt: skip
    one = _joined(counted)
    hit, taken = one.hit >= threshold, one.scores >= threshold
    good = one.good[taken]
    return {
        "objects": len(hit), "found": int(taken.sum()),
        "recall": float(hit.mean()) if len(hit) else None, "recall_interval": interval(hit, one.photo_true),
        "precision": float(good.mean()) if len(good) else None,
        "precision_interval": interval(good, one.photo_found[taken]),
    }  # fmt: skip


def _point(counted: Sequence[_Counted], threshold: float) -> tuple[float | None, float | None]:
    rates = _rates(counted, threshold)
    return rates["precision"], rates["recall"]


def mean_average_precision(
    scenes: Sequence[Scene], sights: Sequence[Sight], labels: Sequence[str]
) -> dict[str, float | None]:
    """COCO's own figures, by its own code: the mean over `labels` of the average precision at an IoU of 0.5
    (``map_50``), and of its mean over 0.5, 0.55, ... 0.95 (``map_50_95``)."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    number = {label: i for i, label in enumerate(labels, 1)}
    truths, found = [], []
    for photo, (scene, sight) in enumerate(zip(scenes, sights, strict=True), 1):
        for label, box in zip(scene.labels, scene.boxes * (*sight.size, *sight.size), strict=True):
            if label in number:
                truths.append(_annotation(photo, number[label], box) | {"id": len(truths) + 1, "iscrowd": 0})
        for label, box, score in zip(sight.labels, sight.boxes, sight.scores, strict=True):
            if label in number:
                found.append(_annotation(photo, number[label], box) | {"score": float(score)})
    if not found:
        return {"map_50": 0.0, "map_50_95": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):  # it tells how far it is
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": photo} for photo in range(1, len(scenes) + 1)],
            "annotations": truths,
            "categories": [{"id": i, "name": label} for label, i in number.items()],
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {"map_50": float(judge.stats[1]), "map_50_95": float(judge.stats[0])}


def _annotation(photo: int, kind: int, box: np.ndarray) -> dict:
    left, top, right, bottom = (float(edge) for edge in box)
    width, height = right - left, bottom - top
    return {"image_id": photo, "category_id": kind, "bbox": [left, top, width, height], "area": width * height}
