"""Finding faces: recall by the face's size, precision, average precision, milliseconds per photo."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .. import geometry, images
from ..encodings import Encoding, EncodingsCache
from ..errors import ImageError
from .boxes import Truth
from .encode import Source, decode, identify, unread
from .intervals import interval

#: Heights, in pixels of the photo, from which on faces count, as the report's keys write them.
SIZES = {">=40": 40, ">=20": 20, ">=10": 10}
#: Least intersection over union of a found box and a true one.
IOU = 0.4
_PART = 50


@dataclass(frozen=True)
class Found:
    """What was found in one photo.

    Attributes
    ----------
    boxes : ndarray, shape (n, 4)
        Best score first.
    scores : ndarray, shape (n,)
    ms : float or None
        Milliseconds that looking took, without decoding; None where the photo could not be decoded.
    cpu_ms : float or None
        Milliseconds of processor time, of all threads, which other work on the machine does not change much.
    problem : str or None
        Why it could not.
    """

    boxes: np.ndarray
    scores: np.ndarray
    ms: float | None
    cpu_ms: float | None
    problem: str | None = None


def find(
    paths: Sequence[Path], source: Source, cache: EncodingsCache, progress: Callable[[int, int], None] = lambda *_: None
) -> list[Found]:
    """Look for faces in photos, one photo after the other, so that the time of each is its own."""
    key = f"detections:{source.key}"
    photos = [identify(path, source.max_bytes) for path in paths]
    held, fresh = cache.encodings(key), []
    found = []
    for path, photo in zip(paths, photos, strict=True):
        one = held.get((photo, "all"))
        if one is None:
            if not found or found[-1].ms is None:
                _warm_up(source)
            one = _look(path, photo, key, source)
            held[photo, "all"] = one
            if not unread(photo):
                fresh.append(one)
        found.append(_unpack(one))
        if len(fresh) >= _PART:
            cache.put(fresh)
            fresh = []
        progress(len(found), len(paths))
    cache.put(fresh)
    return found


def _warm_up(source: Source) -> None:
    source.engine.look(images.from_array(np.zeros((64, 64, 3), np.uint8)))


def _look(path: Path, photo: str, key: str, source: Source) -> Encoding:
    empty = Encoding(photo, key, "all")
    try:
        image = decode(source, images.read_file(path, max_bytes=source.max_bytes))
        start, used = time.perf_counter(), time.process_time()
        faces, _ = source.engine.look(image)
        ms, cpu_ms = 1000 * (time.perf_counter() - start), 1000 * (time.process_time() - used)
    except ImageError as error:
        return replace(empty, problem=error.code, message=error.message)
    except OSError:
        return replace(empty, problem="unreadable", message="the file cannot be read")
    packed = np.append(np.column_stack([faces.boxes, faces.scores]).ravel(), cpu_ms).astype(np.float32)
    return replace(empty, vector=packed, score=ms, width=image.width, height=image.height)


def _unpack(one: Encoding) -> Found:
    if one.vector is None:
        return Found(np.zeros((0, 4)), np.zeros(0), None, None, one.problem)
    rows = one.vector[:-1].reshape(-1, 5).astype(float)
    return Found(rows[:, :4], rows[:, 4], one.score, float(one.vector[-1]))


# -- counting -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Matched:
    """One photo's found boxes held against the true ones.

    Attributes
    ----------
    hit : ndarray of bool, shape (n true,)
        Whether a box was found for each true one.
    match : ndarray of int, shape (n found,)
        Index of the true box of each found one; -1 for none, -2 for one that is on a face that does not count.
    """

    hit: np.ndarray
    match: np.ndarray


def match(truth: Truth, found: Found, iou: float = IOU) -> Matched:
    """Give each found box, best score first, the true one that it overlaps most and that none has yet."""
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


def measure(truths: Sequence[Truth], found: Sequence[Found], iou: float = IOU) -> dict:
    """Everything there is to say, as plain data; docs/accuracy.md explains it.

    Recall counts the valid faces of at least a height; precision all boxes except those on faces that are not valid.
    The average precision of a height is the area under the curve of precision over recall for the faces of at least
    that height, where boxes on smaller ones do not count (every recall's precision is the best at that recall or above,
    as in PASCAL VOC since 2010). It ends at the recall that the detector's least score allows.
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
    report = {
        "photos": len(truths), "iou": iou, "faces": {}, "recall": {},
        "recall_interval": {}, "average_precision": {}, "curve": {},
    }  # fmt: skip
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
    """Height of the true box of every found one; 0 where it has none."""
    rows = []
    for truth, one in zip(truths, matched, strict=True):
        heights = np.append(truth.boxes[:, 3] - truth.boxes[:, 1], [0, 0])  # -1 and -2 fall on the end
        rows.append(heights[one.match])
    return np.concatenate(rows)


def average_precision(scores: np.ndarray, good: np.ndarray, total: int) -> float | None:
    """Area under precision over recall.

    Parameters
    ----------
    scores : ndarray, shape (n,)
    good : ndarray of bool, shape (n,)
        Whether each found box is on a face.
    total : int
        Faces there are.
    """
    if not total:
        return None
    good = good[np.argsort(-scores, kind="stable")]
    hits = np.cumsum(good)
    precision = hits / np.arange(1, len(good) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[good].sum() / total)


def curve(scores: np.ndarray, good: np.ndarray, total: int, points: int = 100) -> list[list[float]]:
    """Points (recall, precision, least score), score falling; at most about `points`."""
    if not total or not len(scores):
        return []
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(good[order])
    ranks = np.unique(np.linspace(0, len(hits) - 1, points).astype(int))
    return [[float(hits[i] / total), float(hits[i] / (i + 1)), float(scores[order[i]])] for i in ranks]
