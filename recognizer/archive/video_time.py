"""When a video was recorded and how long it is, as its file says: MP4 and QuickTime, and Matroska with WebM.

The time is in UTC, by the clock of what recorded it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import BinaryIO

#: Seconds to 1970 from 1904, from which MP4 files count, and from 1970 to 2001, from which Matroska files do.
_MP4_EPOCH, _MATROSKA_EPOCH = 2_082_844_800, 978_307_200
#: Times before digital video and far in the future come from clocks that were never set.
_FIRST, _LAST = 788_918_400, 7_258_118_400  # 1995, 2200
#: Boxes or elements on one level that are looked at; more are no video. Of tags, so many are looked at in all.
_MOST_BOXES = 1000
#: Elements that are looked at for the values of one.
_MOST_VALUES = 100
#: Bytes of a value that are read at most.
_MOST_BYTES = 256

# elements of Matroska files
_EBML, _SEGMENT, _SEEK_HEAD, _CLUSTER, _INFO, _TAGS = 0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1F43B675, 0x1549A966, 0x1254C367
_SEEK, _SEEK_ID, _SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
_SCALE, _DURATION, _DATE = 0x2AD7B1, 0x4489, 0x4461
_TAG, _SIMPLE_TAG, _TAG_NAME, _TAG_STRING = 0x7373, 0x67C8, 0x45A3, 0x4487
#: How programs write the time of a recording into a tag, in UTC where nothing else is said.
_FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f")


@dataclass(frozen=True, slots=True)
class VideoTimes:
    """What a file says of its video.

    Attributes
    ----------
    recorded : float or None
        When it was recorded, in seconds since 1970.
    seconds : float or None
        How long it is.
    """

    recorded: float | None = None
    seconds: float | None = None


def video_times(path: Path) -> VideoTimes:
    """When a video was recorded, and how long it is.

    Raises
    ------
    OSError
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            begins = file.read(4)
            found = _of_matroska(file, size) if begins == _EBML.to_bytes(4, "big") else _of_mp4(file, size)
        except (struct.error, IndexError, OverflowError):  # the last, of a number that is larger than any length
            return VideoTimes()
    recorded, seconds = found.recorded, found.seconds
    if recorded is not None and not _FIRST <= recorded < _LAST:
        recorded = None
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        seconds = None
    return VideoTimes(recorded, seconds)


# -- MP4 and QuickTime ---------------------------------------------------------------------------------------------------


def _of_mp4(file: BinaryIO, size: int) -> VideoTimes:
    movie = _box(file, 0, size, b"moov")
    header = movie and _box(file, *movie, b"mvhd")
    if not header:
        return VideoTimes()
    file.seek(header[0])
    data = file.read(32)
    if data[0] == 1:
        created, _, scale, length = struct.unpack_from(">QQIQ", data, 4)
    else:
        created, _, scale, length = struct.unpack_from(">IIII", data, 4)
    return VideoTimes(float(created - _MP4_EPOCH), length / scale if scale else None)


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


# -- Matroska and WebM ---------------------------------------------------------------------------------------------------


def _of_matroska(file: BinaryIO, size: int) -> VideoTimes:
    """The date of the recording is in a tag, or else in the head, where programs write when the file was made."""
    segment = next((place for kind, *place in _elements(file, 0, size) if kind == _SEGMENT), None)
    if segment is None:
        return VideoTimes()
    start, end = segment
    parts: dict[int, tuple[int, int]] = {}
    for kind, *place in _elements(file, start, end):
        if kind == _CLUSTER:  # what follows is the video; the list of places says where the rest is
            break
        parts.setdefault(kind, (place[0], place[1]))
    for kind, at in _listed(file, parts.get(_SEEK_HEAD)):
        if kind in (_INFO, _TAGS) and kind not in parts:
            found = next(_elements(file, start + at, end), None)
            if found is not None and found[0] == kind:
                parts[kind] = found[1:]
    head = _values(file, parts.get(_INFO))
    recorded, seconds = _tagged(file, parts.get(_TAGS)), None
    if recorded is None and len(head.get(_DATE, b"")) == 8:
        recorded = int.from_bytes(head[_DATE], "big", signed=True) / 1e9 + _MATROSKA_EPOCH
    if len(head.get(_DURATION, b"")) in (4, 8):
        (length,) = struct.unpack(">f" if len(head[_DURATION]) == 4 else ">d", head[_DURATION])
        seconds = length * int.from_bytes(head.get(_SCALE, b"\x0f\x42\x40"), "big") / 1e9
    return VideoTimes(recorded, seconds)


def _elements(file: BinaryIO, start: int, end: int, most: int = _MOST_BOXES) -> Iterator[tuple[int, int, int]]:
    """The elements in a part of a file, at most so many: kind, and where its contents begin and end."""
    at = start
    for _ in range(most):
        if at >= end:
            return
        file.seek(at)
        head = file.read(12)
        kind_length = 9 - head[0].bit_length()
        size_length = 9 - head[kind_length].bit_length() if kind_length <= 4 else 9
        if kind_length > 4 or size_length > 8 or len(head) < kind_length + size_length:
            return
        kind = int.from_bytes(head[:kind_length], "big")
        size = int.from_bytes(head[kind_length : kind_length + size_length], "big") - (1 << 7 * size_length)
        begin = at + kind_length + size_length
        if begin > end:  # of the element around it only a part is there
            return
        unknown = size == (1 << 7 * size_length) - 1  # a recording that was cut off or streamed
        at = end if unknown else begin + size
        yield kind, begin, min(at, end)


def _values(file: BinaryIO, place: tuple[int, int] | None) -> dict[int, bytes]:
    """The short values in an element by kind, the first of each kind."""
    found: dict[int, bytes] = {}
    for kind, begin, end in _elements(file, *place, _MOST_VALUES) if place else ():
        if kind not in found and end - begin <= _MOST_BYTES:
            file.seek(begin)
            found[kind] = file.read(end - begin)
    return found


def _listed(file: BinaryIO, place: tuple[int, int] | None) -> Iterator[tuple[int, int]]:
    """Kinds and places, from the segment's beginning, of the elements that a file lists."""
    for kind, begin, end in _elements(file, *place) if place else ():
        if kind == _SEEK:
            values = _values(file, (begin, end))
            yield int.from_bytes(values.get(_SEEK_ID, b""), "big"), int.from_bytes(values.get(_SEEK_POSITION, b""), "big")


def _tagged(file: BinaryIO, place: tuple[int, int] | None) -> float | None:
    """When the video was recorded, by its tags."""
    tags = (tag for kind, *tag in _elements(file, *place) if kind == _TAG) if place else ()
    for inner, *simple in islice((each for tag in tags for each in _elements(file, *tag)), _MOST_BOXES):
        if inner == _SIMPLE_TAG:
            values = _values(file, (simple[0], simple[1]))
            if values.get(_TAG_NAME) == b"DATE_RECORDED":
                found = _moment(values.get(_TAG_STRING, b"").decode("utf-8", "replace"))
                if found is not None:
                    return found
    return None


def _moment(text: str) -> float | None:
    """A time as tags have it, in seconds since 1970; None for one that has no time of day."""
    clean = text.strip("\0 ").removesuffix("Z")
    for form in _FORMS:
        for zone in ("", "%z"):
            try:
                found = datetime.strptime(clean, form + zone)
            except ValueError:
                continue
            return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
    return None
