"""Detection on tiles of a very large copy: small faces of panoramas and photos of tens of megapixels.

Tiles overlap, so that a face that is small in the copy lies whole in one of them. Larger faces were found on smaller copies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Faces
from recognizer.engines.protocols import Detector

#: Scale of the copy: a face of 50 pixels has 25 in it, which is enough for detectors.
SCALE = 0.5
#: Most pixels of the copy; larger photos are reduced further.
MOST_PIXELS = 16_000_000
#: Side of a tile, and how much tiles overlap, in pixels of the copy. A face in the overlap is found whole in one of two tiles.
TILE, OVERLAP = 1024, 128
#: A face whose box comes within so many pixels of an edge that is not the copy's is cut there, and whole in the next tile.
EDGE = 3
#: Overlap (IoU) above which two boxes are one face.
SAME = 0.3
#: A box that lies in a better one by more than this share of its area is the same face, or part of it.
WITHIN = 0.7


def copy_size(width: int, height: int) -> int:
    """Long side of the copy of a photo of that size."""
    scale = min(SCALE, (MOST_PIXELS / (width * height)) ** 0.5)
    return int(round(scale * max(width, height)))


def starts(length: int) -> list[int]:
    """Where the tiles along a side of that length begin: as few as possible, evenly spread."""
    if length <= TILE:
        return [0]
    count = -(-(length - OVERLAP) // (TILE - OVERLAP))
    return [round(i * (length - TILE) / (count - 1)) for i in range(count)]


def tiles(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each tile."""
    for top in starts(height):
        for left in starts(width):
            yield left, top, min(width, left + TILE), min(height, top + TILE)


def detect(detector: Detector, pixels: np.ndarray) -> Faces:
    """The faces on the tiles of a copy, RGB (H, W, 3), in its pixels, best score first."""
    height, width = pixels.shape[:2]
    found = Faces.empty()
    for left, top, right, bottom in tiles(width, height):
        faces = detector.detect(np.ascontiguousarray(pixels[top:bottom, left:right]))
        if len(faces):
            near = np.array([left, top, -right, -bottom]) + EDGE
            whole = faces.boxes * [1, 1, -1, -1] + [left, top, -left, -top] >= near
            at_end = np.array([left == 0, top == 0, right == width, bottom == height])
            found = joined(found, faces.shifted(left, top).select((whole | at_end).all(axis=1)))
    return found


def joined(faces: Faces, others: Faces) -> Faces:
    """The faces of both, each once, the one with the better score; best score first."""
    if not len(faces) or not len(others):
        return faces if len(faces) else others
    boxes, scores, points = (
        np.concatenate([getattr(faces, part), getattr(others, part)]) for part in ("boxes", "scores", "landmarks")
    )
    every = Faces(boxes, scores, points, faces.scheme)
    kept = every.select(geometry.suppress(boxes, scores, SAME))
    return kept.select([i for i in range(len(kept)) if not _covered(kept.boxes[i], kept.boxes[:i])])


def _covered(box: np.ndarray, better: np.ndarray) -> bool:
    shared = np.minimum(box[2:], better[:, 2:]) - np.maximum(box[:2], better[:, :2])
    area = float((box[2:] - box[:2]).prod())
    return bool((np.clip(shared, 0, None).prod(axis=1) > WITHIN * area).any())
