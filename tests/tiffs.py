"""A writer of TIFFs in every form, rare ones included, for comparing what is read with what was written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np

SHORT, LONG, RATIONAL = 3, 4, 5
UINT, INT, FLOAT = 1, 2, 3
RAW, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 8, 32946, 32773


def reverse_bits(data: bytes) -> bytes:
    """Each byte with its lowest bit first (FillOrder 2)."""
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tobytes()


def pack_rows(rows: np.ndarray, bits: int, order: str) -> bytes:
    """Samples, shape (rows, samples), as bytes; each row is filled up to whole bytes."""
    if bits in (8, 16, 32, 64):
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    shifts = np.arange(bits - 1, -1, -1)
    spread = (rows[..., None].astype(np.uint32) >> shifts & 1).astype(np.uint8)
    return np.packbits(spread.reshape(len(rows), -1), axis=1).tobytes()


def difference(rows: np.ndarray, samples: int) -> np.ndarray:
    """Predictor 2: each sample minus the one of the pixel to its left."""
    shaped = rows.reshape(len(rows), -1, samples)
    return np.concatenate([shaped[:, :1], np.diff(shaped, axis=1)], axis=1).reshape(rows.shape).astype(rows.dtype)


def pack(data: bytes, compression: int) -> bytes:
    if compression in (DEFLATE, OLD_DEFLATE):
        return zlib.compress(data)
    if compression == PACKBITS:
        pieces = (data[i : i + 128] for i in range(0, len(data), 128))
        return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    return data


def directory(order: str, start: int, tags: Mapping[int, tuple[int, list]], following: int = 0) -> bytes:
    """A directory at offset `start`, followed by its values."""
    forms = {1: "B", 2: "s", SHORT: "H", LONG: "I", RATIONAL: "I", 7: "B"}
    body, values = b"", b""
    end = start + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, content = tags[tag]
        count = len(content) // 2 if kind == RATIONAL else len(content)
        packed = bytes(content) if kind in (1, 2, 7) else struct.pack(f"{order}{len(content)}{forms[kind]}", *content)
        field = packed.ljust(4, b"\0")
        if len(packed) > 4:
            field = struct.pack(order + "I", end + len(values))
            values += packed + b"\0" * (len(packed) % 2)
        body += struct.pack(order + "HHI", tag, kind, count) + field
    return struct.pack(order + "H", len(tags)) + body + struct.pack(order + "I", following) + values


def tiff(
    samples: np.ndarray,
    *,
    bits: int = 8,
    photometric: int | None = 2,
    sample_format: int = UINT,
    planar: bool = False,
    compression: int = RAW,
    predictor: bool = False,
    order: str = "<",
    fill_order: int = 1,
    extra: list[int] | None = None,
    tile: int = 0,
    rows_per_strip: int = 0,
    orientation: int = 1,
    more: Mapping[int, tuple[int, list]] | None = None,
) -> bytes:
    """A TIFF of `samples`, shape (h, w, channels), whose values are as stored.

    Parameters
    ----------
    photometric : int, optional
        None leaves the tag out.
    tile : int
        Side of the tiles, a multiple of 16; 0 writes strips.
    more : dict
        Further tags, or tags to replace: tag -> (type, values). An empty list of values removes the tag.
    """
    height, width, channels = samples.shape
    planes = [samples[:, :, i : i + 1] for i in range(channels)] if planar else [samples]
    pieces = []
    for plane in planes:
        if tile:
            padded = np.zeros((-(-height // tile) * tile, -(-width // tile) * tile, plane.shape[2]), plane.dtype)
            padded[:height, :width] = plane
            parts = [
                padded[top : top + tile, left : left + tile]
                for top in range(0, padded.shape[0], tile)
                for left in range(0, padded.shape[1], tile)
            ]
        else:
            step = rows_per_strip or height
            parts = [plane[top : top + step] for top in range(0, height, step)]
        for part in parts:
            rows = part.reshape(part.shape[0], -1)
            if predictor:
                rows = difference(rows, plane.shape[2])
            data = pack(pack_rows(rows, bits, order), compression)
            pieces.append(reverse_bits(data) if fill_order == 2 else data)

    offsets, data = [], b""
    for piece in pieces:
        offsets.append(8 + len(data))
        data += piece + b"\0" * (len(piece) % 2)
    counts = [len(piece) for piece in pieces]
    tags: dict[int, tuple[int, list]] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits] * channels),
        259: (SHORT, [compression]),
        274: (SHORT, [orientation]),
        277: (SHORT, [channels]),
        284: (SHORT, [2 if planar else 1]),
        339: (SHORT, [sample_format] * channels),
    }
    if photometric is not None:
        tags[262] = SHORT, [photometric]
    if fill_order != 1:
        tags[266] = SHORT, [fill_order]
    if predictor:
        tags[317] = SHORT, [2]
    if extra is not None:
        tags[338] = SHORT, extra
    if tile:
        tags |= {322: (LONG, [tile]), 323: (LONG, [tile]), 324: (LONG, offsets), 325: (LONG, counts)}
    else:
        tags |= {273: (LONG, offsets), 278: (LONG, [rows_per_strip or height]), 279: (LONG, counts)}
    tags |= more or {}
    tags = {tag: found for tag, found in tags.items() if found[1]}
    start = 8 + len(data)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HI", 42, start) + data + directory(order, start, tags)
