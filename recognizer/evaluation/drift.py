"""Differences between the results of a provider and those of the default one, on the same photos; see `engines.runtime`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recognizer.core import geometry
from recognizer.core.errors import ImageError
from recognizer.core.types import Faces
from recognizer.engines import Engine, central, largest
from recognizer.enrolment.bulk import BulkSettings, decode
from recognizer.photos import images

ResultT = TypeVar("ResultT")

#: Largest number of photos that are compared.
SAMPLE = 500
#: Minimum intersection over union of two boxes of the same face.
IOU = 0.5


def sample(paths: Sequence[Path], count: int = SAMPLE) -> list[Path]:
    """At most `count` distinct photos, spread evenly.

    Consecutive photos are selected in pairs, since they often show the same person: then genuine comparisons are measured too.
    """
    paths = list(dict.fromkeys(paths))
    if len(paths) <= count:
        return paths
    starts = np.linspace(0, len(paths) - 2, count // 2).astype(int)
    return [paths[i] for i in sorted({*starts.tolist(), *(starts + 1).tolist()})]


@dataclass
class DriftFindings:
    """The values collected, one per face or photo."""

    reference: list[np.ndarray] = field(default_factory=list)  # embeddings by the default provider
    same_chips: list[np.ndarray] = field(default_factory=list)  # embeddings of the same aligned faces by the provider
    own_boxes: list[float] = field(default_factory=list)  # distance if the provider detected the face as well
    boxes: list[float] = field(default_factory=list)  # largest difference of an edge, in pixels
    landmarks: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    faces: int = 0
    gained: int = 0
    lost: int = 0
    photos: int = 0
    unread: int = 0


class _Stopwatch:
    """Processor time of all threads in milliseconds, by task."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def time(self, what: str, work: Callable[..., ResultT], *args: Any) -> ResultT:
        start = time.process_time()
        result = work(*args)
        self.times.setdefault(what, []).append(1000 * (time.process_time() - start))
        return result

    def medians(self) -> dict[str, float]:
        return {what: float(np.median(times)) for what, times in self.times.items()}


def measure(
    paths: Sequence[Path],
    source: BulkSettings,
    reference: Engine,
    threshold: float,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """The report as plain data; docs/accuracy.md explains it.

    Parameters
    ----------
    paths : sequence of path
        See `sample`.
    source : BulkSettings
        With the engine whose drift is measured.
    reference : Engine
        The same engine on the default provider.
    threshold : float
        The largest distance of a match.
    progress : callable
        Called with the number of photos that are done, and their total number.
    """
    found, watch = DriftFindings(), _Stopwatch()
    for done, path in enumerate(paths, 1):
        try:
            image = decode(source, images.read_file(path, max_bytes=source.max_bytes))
        except (ImageError, OSError):
            found.unread += 1
        else:
            if not found.photos:
                _compare(image, source, reference, DriftFindings(), _Stopwatch())  # a network's first call is slower
            _compare(image, source, reference, found, watch)
        progress(done, len(paths))
    return {
        "provider": source.provider,
        "reference": "cpu",
        "photos": found.photos,
        "photos_unread": found.unread,
        "embedding": _embedding(found, threshold),
        "detection": _detection(found),
        "cpu_ms": watch.medians(),
    }


def _compare(image: images.Image, source: BulkSettings, reference: Engine, found: DriftFindings, watch: _Stopwatch) -> None:
    engine = source.engine
    found.photos += 1
    ours, near = watch.time("detect_reference", reference.find_with_image, image)
    theirs, other = watch.time("detect", engine.find_with_image, image)
    compare_boxes(ours, theirs, found)
    if not len(ours):
        return
    chosen = ours.select([_chosen(source, ours, image)])
    near, aligned = reference.aligned(near, chosen)
    found.reference.append(watch.time("embed_reference", reference.embedder.embed, near.pixels, aligned)[0])
    found.same_chips.append(watch.time("embed", engine.embedder.embed, near.pixels, aligned)[0])
    if len(theirs):
        own = engine.describe(other, theirs.select([_chosen(source, theirs, image)]))[0]
        found.own_boxes.append(float(np.linalg.norm(own - found.reference[-1])))


def _chosen(source: BulkSettings, faces: Faces, image: images.Image) -> int:
    return central(faces, image.width, image.height) if source.subject == "central" else largest(faces)


def compare_boxes(ours: Faces, theirs: Faces, found: DriftFindings) -> None:
    free = np.ones(len(theirs), bool)
    for i, box in enumerate(ours.boxes):
        overlap = np.where(free, geometry.iou(box, theirs.boxes), 0) if len(theirs) else np.zeros(1)
        best = int(overlap.argmax())
        if overlap[best] < IOU:
            found.lost += 1
            continue
        free[best] = False
        found.boxes.append(float(np.abs(box - theirs.boxes[best]).max()))
        found.landmarks.append(float(np.abs(ours.landmarks[i] - theirs.landmarks[best]).max()))
        found.scores.append(float(abs(ours.scores[i] - theirs.scores[best])))
    found.faces += len(ours)
    found.gained += int(free.sum())


def _embedding(found: DriftFindings, threshold: float) -> dict[str, Any]:
    ours, theirs = np.array(found.reference, np.float64), np.array(found.same_chips, np.float64)
    shown: dict[str, Any] = {
        "faces": len(ours),
        "same_chips": _spread(np.linalg.norm(ours - theirs, axis=1)) if len(ours) else None,
        "own_boxes": _spread(np.array(found.own_boxes)) if found.own_boxes else None,
        "threshold": threshold,
    }
    if len(ours) > 1:
        shown |= compare_decisions(ours, theirs, threshold)
    return shown


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"median": float(np.median(values)), "p99": float(np.quantile(values, 0.99)), "max": float(values.max())}


def compare_decisions(ours: np.ndarray, theirs: np.ndarray, threshold: float) -> dict[str, int]:
    """The number of pairs of faces that match with one provider only.

    In mixed pairs one template was made by each provider, as when the gallery was made by the other one.
    """
    upper = np.triu_indices(len(ours), 1)
    before, after = ((_distances(each, each) <= threshold)[upper] for each in (ours, theirs))
    mixed = (_distances(ours, theirs) <= threshold)[upper]
    return {
        "pairs": len(before),
        "matches": int(before.sum()),
        "decisions_changed": int((before != after).sum()),
        "decisions_changed_mixed": int((before != mixed).sum()),
    }


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0))


def _detection(found: DriftFindings) -> dict[str, Any]:
    return {
        "faces": found.faces,
        "gained": found.gained,
        "lost": found.lost,
        "box_px": _spread(np.array(found.boxes)) if found.boxes else None,
        "landmark_px": _spread(np.array(found.landmarks)) if found.landmarks else None,
        "score": _spread(np.array(found.scores)) if found.scores else None,
    }
