"""The input of dlib's mmod network: a canvas with copies of an image at decreasing sizes (a tiled image pyramid).

The rules are those of dlib's image_pyramid.h (pyramid_down<6>), interpolation.h (resize_image) and loss.h (loss_mmod), so that
boxes and scores are the same. Each copy has 5/6 of the size of the previous one. The first column runs downwards, the second
one upwards on its right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAST_HEIGHT = 5
_BLOCK = 64  # rows that are resized at once: few enough to fit in the processor's cache


@dataclass(frozen=True)
class Layout:
    """The positions of the copies on the canvas.

    Attributes
    ----------
    height, width : int
        Size of the canvas.
    tiles : ndarray of int, shape (levels, 4)
        left, top, right, bottom of each copy, right and bottom exclusive, the largest copy first.
    """

    height: int
    width: int
    tiles: np.ndarray


def layout(height: int, width: int, padding: int = 10, outer_padding: int = 11) -> Layout:
    """Lay out the copies of an image of `height` x `width` pixels."""
    sizes = _sizes(height, width)
    canvas_height = _column_height(sizes, padding) + 2 * outer_padding
    tiles: list[tuple[int, int, int, int]] = []
    top = outer_padding
    while top < canvas_height - outer_padding and len(tiles) < len(sizes):
        rows, columns = sizes[len(tiles)]
        tiles.append((outer_padding, top, outer_padding + columns, top + rows))
        top += rows + padding
    # upwards on the right, from the bottom, until a copy would overlap the largest one
    bottom, right = top - padding, outer_padding + width
    for rows, columns in sizes[len(tiles) :]:
        tile = (right - columns, bottom - rows, right, bottom)
        if _overlap(tile, tiles[0]):
            break
        tiles.append(tile)
        bottom -= rows + padding
    return Layout(canvas_height, width + 2 * outer_padding, np.array(tiles, np.int64))


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    sizes = [(height, width)]
    while True:
        # as in dlib: the factor is a double, and the product is truncated
        height, width = int(5 / 6 * height), int(5 / 6 * width)
        if width == 0 or height < _LEAST_HEIGHT:
            return sizes
        sizes.append((height, width))


def _column_height(sizes: list[tuple[int, int]], padding: int) -> int:
    """Height of the first column: it ends once the next copy fits beside the last one and half of the copies are placed."""
    first_height, first_width = sizes[0]
    total = sum(rows + padding for rows, _ in sizes) - 2 * padding
    height = last_width = 0
    for rows, columns in sizes:
        room = first_width - last_width - padding
        # dlib subtracts unsigned numbers: a negative room counts as a very large one
        if (columns <= room or room < 0) and (height - first_height) * 2 >= total - first_height:
            break
        height, last_width = height + rows + padding, columns
    return height - padding


def _overlap(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def canvas(plan: Layout, picture: np.ndarray) -> np.ndarray:
    """The canvas with the copies of an image, and zeros between them; float32 (1, channels, height, width).

    Parameters
    ----------
    plan : Layout
    picture : ndarray of float32, shape (channels, H, W)
    """
    whole = np.zeros((1, len(picture), plan.height, plan.width), np.float32)
    tiles = [whole[0, :, top:bottom, left:right] for left, top, right, bottom in plan.tiles]
    tiles[0][:] = picture
    for larger, smaller in zip(tiles, tiles[1:], strict=False):
        _shrink(larger, smaller)
    return whole


def _shrink(source: np.ndarray, target: np.ndarray) -> None:
    """Fill `target` with `source`, resized bilinearly with aligned corners; both (channels, rows, columns)."""
    above, below, down = _rows_between(source.shape[1], target.shape[1])
    left, right, across = _columns_between(source.shape[2], target.shape[2])
    for plane, filled in zip(source, target, strict=True):
        for start in range(0, len(filled), _BLOCK):
            rows = slice(start, start + _BLOCK)
            mixed = _mixed(plane[above[rows]], plane[below[rows]], down[rows, None])
            filled[rows] = _mixed(mixed.take(left, 1, mode="clip"), mixed.take(right, 1, mode="clip"), across)


def _mixed(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Interpolate linearly: `first` where `share` is 0, `second` where it is 1. The result overwrites `second`."""
    second -= first
    second *= share
    second += first
    return second


def _rows_between(before: int, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The source rows above and below each target row, and the weight of the lower one."""
    step = (before - 1) / max(after - 1, 1)
    return _neighbours(_running(-step, step, after), before)


def _columns_between(before: int, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for columns: dlib processes them four at a time in float32, and the last ones in float64.

    Positions are accumulated step by step as in dlib, since the last digits of the scores depend on the rounding errors.
    """
    step = (before - 1) / max(after - 1, 1)
    fours = np.full((after // 4 + 2, 4), np.float32(4 * step))
    fours[0] = -4 * step + np.arange(4) * step
    fours = np.add.accumulate(fours, axis=0)[1:]
    beyond = np.flatnonzero(fours[:, 3].astype(np.int64) + 1 >= before)
    quick = fours[: beyond[0] if len(beyond) else len(fours)].ravel()
    rest = _running(-step + len(quick) * step, step, max(after - len(quick), 0))
    parts = zip(_neighbours(quick, before), _neighbours(rest, before), strict=True)
    low, high, share = (np.concatenate(part)[:after] for part in parts)
    return low, high, share


def _running(start: float, step: float, count: int) -> np.ndarray:
    """start + step, start + 2 step, ..., accumulated one step at a time."""
    return np.add.accumulate(np.r_[start, np.full(count, step)])[1:]


def _neighbours(places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low = np.floor(places).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), (places - low.astype(places.dtype)).astype(np.float32)


def to_image(plan: Layout, centres: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes of `width` x `height` around points of the canvas -> boxes in the image.

    Parameters
    ----------
    plan : Layout
    centres : ndarray of float, shape (n, 2)
        x, y on the canvas.
    width, height : int
        Of the boxes on the canvas.

    Returns
    -------
    ndarray of int64, shape (n, 4)
        left, top, right, bottom as in dlib's rectangles: right and bottom are inclusive.
    """
    level = _nearest(plan.tiles, np.floor(centres + 0.5))
    half = np.array([width - 1, height - 1]) / 2
    corners = np.hstack([centres - half, centres + half]) - np.tile(plan.tiles[level, :2], 2)
    for step in range(len(plan.tiles) - 1):
        corners = np.where((level > step)[:, None], corners * 1.2 + 0.3, corners)
    return round_away(corners)


def _nearest(tiles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Index of the tile nearest to each point; of equally near tiles, the first."""
    low, high = tiles[None, :, :2], tiles[None, :, 2:] - 1
    away = points[:, None] - np.clip(points[:, None], low, high)
    index: np.ndarray = np.argmin((away**2).sum(2), axis=1)
    return index


def round_away(values: np.ndarray) -> np.ndarray:
    """Round to integers, halves away from zero, as C's lround does; int64."""
    rounded: np.ndarray = (np.sign(values) * np.floor(np.abs(values) + 0.5)).astype(np.int64)
    return rounded


def suppress(boxes: np.ndarray, iou: float, covered: float) -> np.ndarray:
    """Indices of the boxes that remain after suppression, as in dlib's mmod.

    A box is dropped when it overlaps a better one that remains: their intersection exceeds the share `iou` of the rectangle
    *around both*, or the share `covered` of the smaller box.

    Parameters
    ----------
    boxes : ndarray of int, shape (n, 4)
        As dlib's rectangles, best score first.
    iou, covered : float
    """
    rest = np.arange(len(boxes))
    remaining = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        remaining.append(best)
        inner = _area(np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:]))
        outer = _area(np.minimum(boxes[best, :2], boxes[rest, :2]), np.maximum(boxes[best, 2:], boxes[rest, 2:]))
        smaller = np.minimum(_area(boxes[best, :2], boxes[best, 2:]), _area(boxes[rest, :2], boxes[rest, 2:]))
        rest = rest[(inner / outer <= iou) & (inner / smaller <= covered)]
    return np.array(remaining, np.int64)


def _area(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    area: np.ndarray = np.maximum(high - low + 1, 0).prod(axis=-1)
    return area
