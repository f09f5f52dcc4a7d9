"""When a video was recorded, as MP4 and QuickTime files say: in UTC, by the clock of what recorded it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

#: Seconds from 1904, from which these files count, to 1970.
_EPOCH = 2_082_844_800
#: Times before digital video and far in the future come from clocks that were never set.
_FIRST, _LAST = 788_918_400, 7_258_118_400  # 1995, 2200
#: Boxes on one level that are looked at; more are no video.
_MOST_BOXES = 1000


def recorded_time(path: Path) -> float | None:
    """When a video was recorded, in seconds since 1970; None where its file does not say.

    Raises
    ------
    OSError
    """
    with path.open("rb") as file:
        try:
            movie = _box(file, 0, path.stat().st_size, b"moov")
            header = movie and _box(file, *movie, b"mvhd")
            if not header:
                return None
            file.seek(header[0])
            data = file.read(12)
            created = struct.unpack(">Q", data[4:12])[0] if data[0] == 1 else struct.unpack(">I", data[4:8])[0]
        except (struct.error, IndexError):
            return None
    seconds = float(created - _EPOCH)
    return seconds if _FIRST <= seconds < _LAST else None


def _box(file: BinaryIO, start: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    """Where the contents of the first box of a kind begin and end, within a part of a file."""
    at = start
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return None
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", file.read(8)), 16
        elif size == 0:  # up to the end
            size = end - at
        if size < head:
            return None
        if kind == wanted:
            return at + head, min(at + size, end)
        at += size
    return None
