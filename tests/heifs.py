"""HEIC and AVIF photos that usual encoders do not write: 10 bits, crop boxes, other descriptions of light."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image as pillow


def heic(pixels: np.ndarray, **options) -> bytes:
    """A HEIC of RGB or RGBA pixels, shape (h, w, 3 or 4): uint8, or uint16 for 10 bits."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="writing HEIC needs pillow-heif")
    options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0} | options
    file = io.BytesIO()
    if pixels.dtype == np.uint16:
        height, width, channels = pixels.shape
        mode = "RGB;16" if channels == 3 else "RGBA;16"
        pillow_heif.from_bytes(mode, (width, height), pixels.tobytes()).save(file, **options)
    else:
        pillow_heif.from_pillow(pillow.fromarray(pixels)).save(file, **options)
    return file.getvalue()


def avif(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    pillow.fromarray(pixels).save(file, "avif", **({"quality": 100, "subsampling": "4:4:4"} | options))
    return file.getvalue()


def described(data: bytes, primaries: int, transfer: int) -> bytes:
    """The same photo, whose light is said to be coded otherwise (the property `colr`)."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def cropped(data: bytes, width: int, height: int, right: int, down: int) -> bytes:
    """The same photo with a crop box before its other boxes; see `clap`."""
    return shaped(data, clap(width, height, right, down), first=True)


def clap(width: int, height: int, right: int = 0, down: int = 0) -> bytes:
    """A crop box: its size, and how far its centre lies right of and below the picture's."""
    return struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, right, 1, down, 1)


def irot(quarters: int) -> bytes:
    """A rotation anticlockwise."""
    return struct.pack(">I4sB", 9, b"irot", quarters)


def imir(axis: int) -> bytes:
    """A mirror: 0 exchanges top and bottom, 1 left and right."""
    return struct.pack(">I4sB", 9, b"imir", axis)


def shaped(data: bytes, *boxes: bytes, first: bool = False) -> bytes:
    """The same photo with more properties, after or before those that it has."""
    for box in boxes:
        data = _with_property(bytearray(data), box, first)
    return data


def _with_property(data: bytearray, box: bytes, first: bool) -> bytes:
    number = _properties(data) + 1
    ipma = data.index(b"ipma") - 4
    _, ipco_end = _extent(data, b"ipco")
    # the first entry: after size, type, version, count and the item's number
    place = ipma + 16 + (4 if data[ipma + 8] else 2)
    assert not data[ipma + 11] & 1 and number < 128
    data[place] += 1
    at = place + (1 if first else data[place])
    data[at:at] = bytes([0x80 | number])
    _grow(data, b"ipma", 1)
    if ipma < ipco_end:
        ipco_end += 1
    data[ipco_end:ipco_end] = box
    _grow(data, b"ipco", len(box))
    for kind in (b"iprp", b"meta"):
        _grow(data, kind, len(box) + 1)
    _move(data, len(box) + 1)
    return bytes(data)


def _extent(data: bytes, kind: bytes) -> tuple[int, int]:
    start = data.index(kind) - 4
    return start, start + struct.unpack_from(">I", data, start)[0]


def _grow(data: bytearray, kind: bytes, by: int) -> None:
    start, end = _extent(data, kind)
    struct.pack_into(">I", data, start, end - start + by)


def _properties(data: bytes) -> int:
    start, end = _extent(data, b"ipco")
    at, count = start + 8, 0
    while at < end:
        at += struct.unpack_from(">I", data, at)[0]
        count += 1
    return count


def _move(data: bytearray, by: int) -> None:
    """Add to the places of all items: what follows `meta` has moved."""
    start, _ = _extent(data, b"iloc")
    version = data[start + 8]
    sizes = data[start + 12], data[start + 13]
    offset, length, base, index = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4, sizes[1] & 15
    at = start + 14
    (count,) = struct.unpack_from(">H" if version < 2 else ">I", data, at)
    at += 2 if version < 2 else 4
    for _ in range(count):
        at += 2 if version < 2 else 4
        method = 0
        if version:
            method = data[at + 1] & 15
            at += 2
        at += 2
        moved = bool(base) and method == 0
        if moved:
            value = int.from_bytes(data[at : at + base], "big") + by
            data[at : at + base] = value.to_bytes(base, "big")
        at += base
        (extents,) = struct.unpack_from(">H", data, at)
        at += 2
        for _ in range(extents):
            at += index if version else 0
            if method == 0 and not moved:
                value = int.from_bytes(data[at : at + offset], "big") + by
                data[at : at + offset] = value.to_bytes(offset, "big")
            at += offset + length
