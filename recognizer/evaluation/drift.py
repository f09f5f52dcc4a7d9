"""How far a provider's results are from the default one's, on the same photos; see `engines.runtime`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import geometry, images
from ..engines import Engine, central, largest
from ..errors import ImageError
from ..types import Faces
from .encode import Source, decode

#: Photos that are looked at, at most.
SAMPLE = 500
#: Least intersection over union of a box of either that is the same face.
IOU = 0.5


def sample(paths: Sequence[Path], count: int = SAMPLE) -> list[Path]:
    """At most `count` of the photos, each once, spread over all.

    They are taken in twos that follow each other, since neighbours are often one person's: decisions about them count too.
    """
    paths = list(dict.fromkeys(paths))
    if len(paths) <= count:
        return paths
    starts = np.linspace(0, len(paths) - 2, count // 2).astype(int)
    return [paths[i] for i in sorted({*starts.tolist(), *(starts + 1).tolist()})]


@dataclass
class _Found:
    """What was gathered, a row or a number per face or photo."""

    reference: list[np.ndarray] = field(default_factory=list)  # embeddings by the default provider
    same_chips: list[np.ndarray] = field(default_factory=list)  # of the same faces, by the provider
    own_boxes: list[float] = field(default_factory=list)  # distance with the provider's own detection as well
    boxes: list[float] = field(default_factory=list)  # largest difference of an edge, in pixels
    landmarks: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    faces: int = 0
    gained: int = 0
    lost: int = 0
    photos: int = 0
    unread: int = 0


class _Stopwatch:
    """Milliseconds of processor time of all threads, by what was done."""

    def __init__(self):
        self.times: dict[str, list[float]] = {}

    def time(self, what: str, work: Callable, *args):
        start = time.process_time()
        result = work(*args)
        self.times.setdefault(what, []).append(1000 * (time.process_time() - start))
        return result

    def medians(self) -> dict[str, float]:
        return {what: float(np.median(times)) for what, times in self.times.items()}


def measure(
    paths: Sequence[Path],
    source: Source,
    reference: Engine,
    threshold: float,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict:
    """Everything there is to say, as plain data; docs/accuracy.md explains it.

    Parameters
    ----------
    paths : sequence of path
        See `sample`.
    source : Source
        Its engine is the one whose drift is measured.
    reference : Engine
        The same on the default provider.
    threshold : float
        The largest distance that is a match.
    """
    found, watch = _Found(), _Stopwatch()
    for done, path in enumerate(paths, 1):
        try:
            image = decode(source, images.read_file(path, max_bytes=source.max_bytes))
        except (ImageError, OSError):
            found.unread += 1
        else:
            if not found.photos:
                _compare(image, source, reference, _Found(), _Stopwatch())  # the first call of a network takes longer
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


def _compare(image: images.Image, source: Source, reference: Engine, found: _Found, watch: _Stopwatch) -> None:
    engine = source.engine
    found.photos += 1
    ours, near = watch.time("detect_reference", reference.look, image)
    theirs, other = watch.time("detect", engine.look, image)
    _compare_boxes(ours, theirs, found)
    if not len(ours):
        return
    chosen = ours.select([_chosen(source, ours, image)])
    near, aligned = reference.aligned(near, chosen)
    found.reference.append(watch.time("embed_reference", reference.embedder.embed, near.pixels, aligned)[0])
    found.same_chips.append(watch.time("embed", engine.embedder.embed, near.pixels, aligned)[0])
    if len(theirs):
        own = engine.describe(other, theirs.select([_chosen(source, theirs, image)]))[0]
        found.own_boxes.append(float(np.linalg.norm(own - found.reference[-1])))


def _chosen(source: Source, faces: Faces, image: images.Image) -> int:
    return central(faces, image.width, image.height) if source.subject == "central" else largest(faces)


def _compare_boxes(ours: Faces, theirs: Faces, found: _Found) -> None:
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


def _embedding(found: _Found, threshold: float) -> dict:
    ours, theirs = np.array(found.reference, np.float64), np.array(found.same_chips, np.float64)
    shown = {
        "faces": len(ours),
        "same_chips": _spread(np.linalg.norm(ours - theirs, axis=1)) if len(ours) else None,
        "own_boxes": _spread(np.array(found.own_boxes)) if found.own_boxes else None,
        "threshold": threshold,
    }
    if len(ours) > 1:
        shown |= _decisions(ours, theirs, threshold)
    return shown


def _spread(values: np.ndarray) -> dict:
    return {"median": float(np.median(values)), "p99": float(np.quantile(values, 0.99)), "max": float(values.max())}


def _decisions(ours: np.ndarray, theirs: np.ndarray, threshold: float) -> dict:
    """Of all pairs of the faces: how many are a match by one and none by the other.

    Mixed are pairs of which one template comes from either provider, as where a gallery was made by the other.
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


def _detection(found: _Found) -> dict:
    return {
        "faces": found.faces,
        "gained": found.gained,
        "lost": found.lost,
        "box_px": _spread(np.array(found.boxes)) if found.boxes else None,
        "landmark_px": _spread(np.array(found.landmarks)) if found.landmarks else None,
        "score": _spread(np.array(found.scores)) if found.scores else None,
    }
