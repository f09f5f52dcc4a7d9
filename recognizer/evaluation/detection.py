"""Metrics of face detection: recall by size of the face, precision, average precision, milliseconds per photo."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recognizer.core import geometry
from recognizer.core.errors import ImageError
from recognizer.enrolment.bulk import BulkSettings, decode
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding
from recognizer.evaluation.boxes import Truth
from recognizer.evaluation.encode import identify, unread
from recognizer.evaluation.intervals import interval
from recognizer.photos import images

#: Key in the report -> minimum height of the faces, in pixels of the photo.
SIZES = {">=40": 40, ">=20": 20, ">=10": 10}
#: Minimum intersection over union of a detected box and a true one.
IOU = 0.4
_BATCH = 50  # photos between two writes of the cache


@dataclass(frozen=True)
class DetectedFaces:
    """The faces detected on one photo.

    Attributes
    ----------
    boxes : ndarray, shape (n, 4)
        left, top, right, bottom in pixels; best score first.
    scores : ndarray, shape (n,)
    ms : float or None
        Duration of detection in milliseconds, without decoding; None if the photo could not be decoded.
    cpu_ms : float or None
        Processor time of all threads in milliseconds, which other work on the machine hardly changes.
    problem : str or None
        Why the photo could not be decoded.
    """

    boxes: np.ndarray
    scores: np.ndarray
    ms: float | None
    cpu_ms: float | None
    problem: str | None = None


def detect_faces(
    paths: Sequence[Path],
    settings: BulkSettings,
    cache: EncodingsCache,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[DetectedFaces]:
    """Detect faces on photos, one photo at a time, so that the durations are comparable."""
    key = f"detections:{settings.key}"
    photos = [identify(path, settings.max_bytes) for path in paths]
    known = cache.encodings(key)
    new: list[Encoding] = []
    found: list[DetectedFaces] = []
    for path, photo in zip(paths, photos, strict=True):
        one = known.get((photo, "all"))
        if one is None:
            if not found or found[-1].ms is None:
                _warm_up(settings)
            one = _detect(path, photo, key, settings)
            known[photo, "all"] = one
            if not unread(photo):
                new.append(one)
        found.append(_unpack(one))
        if len(new) >= _BATCH:
            cache.put(new)
            new = []
        progress(len(found), len(paths))
    cache.put(new)
    return found


def _warm_up(settings: BulkSettings) -> None:
    settings.engine.find_with_image(images.from_array(np.zeros((64, 64, 3), np.uint8)))


def _detect(path: Path, photo: str, key: str, settings: BulkSettings) -> Encoding:
    empty = Encoding(photo, key, "all")
    try:
        image = decode(settings, images.read_file(path, max_bytes=settings.max_bytes))
        start, used = time.perf_counter(), time.process_time()
        faces, _ = settings.engine.find_with_image(image)
        ms, cpu_ms = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)
    except ImageError as error:
        return replace(empty, problem=error.code, message=error.message)
    except OSError:
        return replace(empty, problem="unreadable", message="the file cannot be read")
    packed = np.append(np.column_stack([faces.boxes, faces.scores]).ravel(), cpu_ms).astype(np.float32)
    return replace(empty, vector=packed, score=ms, width=image.width, height=image.height)


def _unpack(one: Encoding) -> DetectedFaces:
    if one.vector is None:
        return DetectedFaces(np.zeros((0, 4)), np.zeros(0), None, None, one.problem)
    rows = one.vector[:-1].reshape(-1, 5).astype(float)
    return DetectedFaces(rows[:, :4], rows[:, 4], one.score, float(one.vector[-1]))


# -- metrics --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matched:
    """The assignment of the detected boxes of one photo to the true ones.

    Attributes
    ----------
    hit : ndarray of bool, shape (n true,)
        Whether each true box was detected.
    match : ndarray of int, shape (n detected,)
        Index of the true box of each detected one; -1 for none, -2 for one on a face that is not valid.
    """

    hit: np.ndarray
    match: np.ndarray


def match(truth: Truth, found: DetectedFaces, iou: float = IOU) -> Matched:
    """Assign each detected box, best score first, to the unassigned true box that it overlaps most."""
    hit, matches = np.zeros(len(truth.boxes), bool), np.full(len(found.boxes), -1)
    for i, box in enumerate(found.boxes):
        if not len(truth.boxes):
            break
        overlap = geometry.iou(box, truth.boxes)
        free = np.where(truth.valid & ~hit, overlap, 0)
        best = int(free.argmax())
        if free[best] >= iou:
            hit[best], matches[i] = True, best
        elif (overlap[~truth.valid] >= iou).any():
            matches[i] = -2
    return Matched(hit, matches)


def measure(truths: Sequence[Truth], found: Sequence[DetectedFaces], iou: float = IOU) -> dict[str, Any]:
    """The report as plain data; docs/accuracy.md explains it.

    Recall is computed over the valid faces of a minimum height; precision over all boxes except those on faces that are not
    valid. The average precision for a height is the area under the curve of precision over recall for the faces of at least
    that height, ignoring boxes on smaller faces. The precision at a recall is the best one at that recall or above, as in
    PASCAL VOC since 2010. The curve ends at the recall that the detector's minimum score permits.
    """
    matched = [match(truth, one, iou) for truth, one in zip(truths, found, strict=True)]
    photos = np.arange(len(truths))
    height = np.concatenate([truth.boxes[:, 3] - truth.boxes[:, 1] for truth in truths])
    valid, hit = np.concatenate([t.valid for t in truths]), np.concatenate([m.hit for m in matched])
    of_photo = np.repeat(photos, [len(truth.boxes) for truth in truths])
    matches = np.concatenate([m.match for m in matched])
    of_found = np.repeat(photos, [len(m.match) for m in matched])
    scores = np.concatenate([one.scores for one in found])
    found_height = _heights_found(truths, matched)
    counted = matches != -2
    good = matches[counted] >= 0
    report: dict[str, Any] = {
        "photos": len(truths),
        "iou": iou,
        "faces": {},
        "recall": {},
        "recall_interval": {},
        "average_precision": {},
        "curve": {},
    }
    for key, least in SIZES.items():
        wanted = valid & (height >= least)
        report["faces"][key] = int(wanted.sum())
        report["recall"][key] = float(hit[wanted].mean()) if wanted.any() else None
        report["recall_interval"][key] = interval(hit[wanted], of_photo[wanted])
        here = counted & ((matches < 0) | (found_height >= least))
        ranked = scores[here], matches[here] >= 0, int(wanted.sum())
        report["average_precision"][key], report["curve"][key] = average_precision(*ranked), curve(*ranked)
    times = [one.ms for one in found if one.ms is not None]
    cpu_times = [one.cpu_ms for one in found if one.cpu_ms is not None]
    report.update(
        boxes_found=int(counted.sum()),
        precision=float(good.mean()) if len(good) else None,
        precision_interval=interval(good, of_found[counted]),
        ms=float(np.mean(times)) if times else None,
        ms_median=float(np.median(times)) if times else None,
        cpu_ms=float(np.mean(cpu_times)) if times else None,
    )
    return report


def _heights_found(truths: Sequence[Truth], matched: Sequence[Matched]) -> np.ndarray:
    """Height of the true box of every detected one; 0 where there is none."""
    rows = []
    for truth, one in zip(truths, matched, strict=True):
        heights = np.append(truth.boxes[:, 3] - truth.boxes[:, 1], [0, 0])  # the indices -1 and -2 select these
        rows.append(heights[one.match])
    return np.concatenate(rows)


def average_precision(scores: np.ndarray, good: np.ndarray, total: int) -> float | None:
    """Area under precision over recall.

    Parameters
    ----------
    scores : ndarray, shape (n,)
    good : ndarray of bool, shape (n,)
        Whether each detected box is on a face.
    total : int
        Number of true faces.
    """
    if not total:
        return None
    good = good[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(good)
    precision = hits / np.arange(1, len(good) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[good].sum() / total)


def curve(scores: np.ndarray, good: np.ndarray, total: int, points: int = 100) -> list[list[float]]:
    """About `points` points (recall, precision, minimum score) at most, score falling."""
    if not total or not len(scores):
        return []
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(good[order])
    ranks = np.unique(np.linspace(0, len(hits) - 1, points).astype(int))
    return [[float(hits[i] / total), float(hits[i] / (i + 1)), float(scores[order[i]])] for i in ranks]
