"""Metrics of object detection: precision and recall by threshold, COCO's mean average precision, milliseconds per photo.

Objects are matched only with boxes of the same label.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core.errors import ImageError
from recognizer.evaluation.boxes import Truth
from recognizer.evaluation.detection import DetectedFaces, average_precision, match
from recognizer.evaluation.intervals import interval
from recognizer.evaluation.yolo import LabelledPhoto
from recognizer.photos import images
from recognizer.photos.objects import DECODE_SIZE, LABELS, LEAST_SCORE, ObjectDetector

#: Minimum intersection over union of a detected box and a true one.
IOU = 0.5
#: Scores at which the curve has points.
STEPS = tuple(round(0.05 * step, 2) for step in range(1, 20))


@dataclass(frozen=True)
class DetectedObjects:
    """The objects detected on one photo.

    Attributes
    ----------
    boxes : ndarray, shape (n, 4)
        left, top, right, bottom in pixels; best score first.
    scores : ndarray, shape (n,)
    labels : ndarray of str, shape (n,)
    size : (int, int)
        Width and height of the photo; 1, 1 if it could not be read.
    ms, cpu_ms : float or None
        Duration of detection without decoding, and processor time, in milliseconds; None if the photo could not be read.
    problem : str or None
        Why the photo could not be read.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    size: tuple[int, int]
    ms: float | None = None
    cpu_ms: float | None = None
    problem: str | None = None


def detect_objects(
    paths: Sequence[Path],
    detector: ObjectDetector,
    max_bytes: int,
    max_pixels: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[DetectedObjects]:
    """Detect objects of any score on photos, one photo at a time, so that the durations are comparable."""
    detector.find(np.zeros((64, 64, 3), np.uint8))  # the first run is slower
    found = []
    for path in paths:
        found.append(_detect(path, detector, max_bytes, max_pixels))
        progress(len(found), len(paths))
    return found


def _detect(path: Path, detector: ObjectDetector, max_bytes: int, max_pixels: int) -> DetectedObjects:
    try:
        data = images.read_file(path, max_bytes=max_bytes)
        image = images.decode(data, max_bytes=max_bytes, max_pixels=max_pixels, long_side=DECODE_SIZE)
    except ImageError as error:
        return nothing_detected(error.code)
    except OSError:
        return nothing_detected("unreadable")
    size = (image.width, image.height)
    start, used = time.perf_counter(), time.process_time()
    found = detector.find(image.pixels, LEAST_SCORE, size)
    ms, cpu_ms = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)
    boxes = np.array([tuple(each.box) for each in found], float).reshape(-1, 4)
    scores = np.array([each.score for each in found], float)
    return DetectedObjects(boxes, scores, np.array([each.label for each in found], dtype=object), size, ms, cpu_ms)


def nothing_detected(problem: str) -> DetectedObjects:
    """The result for a photo that could not be read."""
    return DetectedObjects(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=object), (1, 1), problem=problem)


# -- metrics --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counted:
    """All true objects and all detected boxes of one label.

    Attributes
    ----------
    hit : ndarray of float, shape (n true,)
        The score of the box that was detected for each true one; -1 for none.
    photo_true, photo_found : ndarray of int
        Number of the photo of each true object, and of each detected box.
    scores : ndarray, shape (n detected,)
    good : ndarray of bool, shape (n detected,)
        Whether each detected box is on an object.
    """

    hit: np.ndarray
    photo_true: np.ndarray
    scores: np.ndarray
    good: np.ndarray
    photo_found: np.ndarray


def measure(
    scenes: Sequence[LabelledPhoto], sights: Sequence[DetectedObjects], threshold: float, iou: float = IOU
) -> dict[str, Any]:
    """The report as plain data; docs/accuracy.md explains it.

    Objects with labels that the detector does not know are ignored. Photos that could not be read count as photos without
    detections.
    """
    known = set(LABELS.values())
    unknown = sorted({label for scene in scenes for label in scene.labels} - known)
    present = sorted({label for scene in scenes for label in scene.labels} & known)
    counted = {label: _count(scenes, sights, label, iou) for label in [*present, *_only_found(sights, present)]}
    averages = mean_average_precision(scenes, sights, present) if present else {}
    times = [sight.ms for sight in sights if sight.ms is not None]
    cpu_times = [sight.cpu_ms for sight in sights if sight.cpu_ms is not None]
    return {
        "photos": len(scenes),
        "iou": iou,
        "threshold": threshold,
        "labels_not_known": unknown,
        **_rates(list(counted.values()), threshold),
        "map_50": averages.get("map_50"),
        "map_50_95": averages.get("map_50_95"),
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
    }


def _only_found(sights: Sequence[DetectedObjects], present: Sequence[str]) -> list[str]:
    return sorted({label for sight in sights for label in sight.labels} - set(present))


def _count(scenes: Sequence[LabelledPhoto], sights: Sequence[DetectedObjects], label: str, iou: float) -> _Counted:
    hits, true_of, scores, good, found_of = [], [], [], [], []
    for number, (scene, sight) in enumerate(zip(scenes, sights, strict=True)):
        wanted, seen = scene.labels == label, sight.labels == label
        boxes = scene.boxes[wanted] * (*sight.size, *sight.size)
        truth = Truth(scene.path, boxes, np.ones(len(boxes), bool))
        one = match(truth, DetectedFaces(sight.boxes[seen], sight.scores[seen], None, None), iou)
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


def _rates(counted: Sequence[_Counted], threshold: float) -> dict[str, Any]:
    """Precision and recall of boxes with a score of at least `threshold`."""
    if not counted:
        return {
            "objects": 0,
            "found": 0,
            "recall": None,
            "recall_interval": (0, 1),
            "precision": None,
            "precision_interval": (0, 1),
        }
    one = _joined(counted)
    hit, taken = one.hit >= threshold, one.scores >= threshold
    good = one.good[taken]
    return {
        "objects": len(hit),
        "found": int(taken.sum()),
        "recall": float(hit.mean()) if len(hit) else None,
        "recall_interval": interval(hit, one.photo_true),
        "precision": float(good.mean()) if len(good) else None,
        "precision_interval": interval(good, one.photo_found[taken]),
    }


def _point(counted: Sequence[_Counted], threshold: float) -> tuple[float | None, float | None]:
    rates = _rates(counted, threshold)
    return rates["precision"], rates["recall"]


def mean_average_precision(
    scenes: Sequence[LabelledPhoto], sights: Sequence[DetectedObjects], labels: Sequence[str]
) -> dict[str, float | None]:
    """COCO's metrics, computed by COCO's code.

    ``map_50`` is the mean over `labels` of the average precision at an IoU of 0.5; ``map_50_95`` is its mean over the IoUs 0.5,
    0.55, ..., 0.95.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    number = {label: i for i, label in enumerate(labels, 1)}
    truths: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for photo, (scene, sight) in enumerate(zip(scenes, sights, strict=True), 1):
        for label, box in zip(scene.labels, scene.boxes * (*sight.size, *sight.size), strict=True):
            if label in number:
                truths.append(_annotation(photo, number[label], box) | {"id": len(truths) + 1, "iscrowd": 0})
        for label, box, score in zip(sight.labels, sight.boxes, sight.scores, strict=True):
            if label in number:
                found.append(_annotation(photo, number[label], box) | {"score": float(score)})
    if not found:
        return {"map_50": 0.0, "map_50_95": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
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


def _annotation(photo: int, kind: int, box: np.ndarray) -> dict[str, Any]:
    left, top, right, bottom = (float(edge) for edge in box)
    width, height = right - left, bottom - top
    return {"image_id": photo, "category_id": kind, "bbox": [left, top, width, height], "area": width * height}
