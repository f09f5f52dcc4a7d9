"""Extracts JPEGs from a stream of bytes: multipart bodies as cameras write them, or bare JPEGs one after the other."""

from __future__ import annotations

import re

from recognizer.video.sources.base import SourceLost

#: Maximum size of a JPEG, in bytes.
MOST_JPEG = 20_000_000
#: Number of bytes without a JPEG after which a stream counts as invalid.
MOST_JUNK = 1_000_000
_START = b"\xff\xd8\xff"
_END = b"\xff\xd9"
#: Markers that may follow the coded data of a picture: tables, another scan, a comment, the end, or the next picture.
_MARKER = re.compile(rb"\xff[\xc4\xd8\xd9\xda\xdb\xdc\xdd\xfe]")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,10})[ \t]*\r?$")
#: A boundary's line, and its headers up to the next picture.
_BETWEEN = re.compile(rb"\r?\n--[^\r\n]{0,200}\r?\n(?:[^\r\n]{0,2000}\r?\n){0,40}\r?\n?$")
_BETWEEN_BYTES = 16_384


class JpegStream:
    """Finds the JPEGs in the data that is fed to it.

    It parses the JPEGs themselves, as players do: from their first marker, segment by segment, to their last one.
    Lengths and boundaries only help where a JPEG lacks its end marker, since many cameras get them wrong.

    Parameters
    ----------
    boundary : bytes
        Of a multipart body, without dashes; empty if there is none.
    """

    def __init__(self, boundary: bytes = b""):
        self._boundary = boundary
        self._buffer = bytearray()
        self._inside = False  # whether the buffer begins with a picture
        self._length: int | None = None  # of that picture, as its header says
        self._at = 0  # in it: where the next segment begins, or how far the coded data was searched
        self._coded = False  # whether `_at` is within coded data
        self._moved = False
        self._junk = 0  # bytes that were skipped since the last picture

    def feed(self, piece: bytes) -> list[bytes]:
        """The pictures that are complete now.

        Raises
        ------
        SourceLost
            It is no stream of JPEGs, or one of them is too large.
        """
        self._buffer += piece
        found = []
        while (picture := self._next()) is not None:
            found.append(picture)
        return found

    def rest(self) -> bytes | None:
        """The last picture of a stream that has ended, if it lacks its end marker."""
        if not self._inside or not self._coded:
            return None
        picture, self._buffer, self._inside = _trimmed(bytes(self._buffer)), bytearray(), False
        return picture

    def _next(self) -> bytes | None:
        if not self._inside and not self._begin():
            return None
        end = self._end()
        if end is None:
            if len(self._buffer) > MOST_JPEG:
                raise _too_large()
            return None
        picture = bytes(self._buffer[:end])
        del self._buffer[:end]
        self._inside = False
        return picture if picture.endswith(_END) else _trimmed(picture)

    def _begin(self) -> bool:
        """Skip everything before the next picture, except for a Content-Length."""
        buffer = self._buffer
        start = buffer.find(_START)
        if start < 0:
            spare = len(buffer) - _BETWEEN_BYTES
            if spare > 0:
                del buffer[:spare]
                self._junk += spare
            if self._junk > MOST_JUNK:
                raise SourceLost("it announces MJPEG, but its data is not MJPEG")
            return False
        lengths = _LENGTH.findall(bytes(buffer[max(0, start - _BETWEEN_BYTES) : start]))
        self._length = int(lengths[-1]) if lengths else None
        if self._length is not None and self._length > MOST_JPEG:
            raise _too_large()
        del buffer[:start]
        self._inside, self._at, self._coded, self._junk = True, 2, False, 0
        return True

    def _end(self) -> int | None:
        """The end of the picture at the buffer's beginning; None while it has not arrived."""
        buffer, length = self._buffer, self._length
        if length is not None and len(buffer) >= length and buffer[length - 2 : length] == _END:
            return length
        while (end := self._step()) is None and self._moved:
            pass
        if end is None and self._coded and length is not None and len(buffer) > length + 4:
            if bytes(buffer[length : length + 8]).lstrip(b"\r\n").startswith(b"--"):
                return length  # the end marker is missing, but the next boundary is where it should be
        return end

    def _step(self) -> int | None:
        """Advance to the next marker; returns the end of the picture, if found. `_moved` says whether there was a marker."""
        buffer, at = self._buffer, self._at
        self._moved = False
        if self._coded:
            return self._search()
        if len(buffer) < at + 4:
            return None
        if buffer[at] != 0xFF:  # there is no marker where one must be: search for one
            self._coded = self._moved = True
            return None
        marker = buffer[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker == 0xD8:
            return at
        self._moved = True
        if marker == 0xFF:
            self._at = at + 1
        elif 0xD0 <= marker <= 0xD7 or marker == 0x01:
            self._at = at + 2
        else:
            size = int.from_bytes(buffer[at + 2 : at + 4], "big")
            if len(buffer) < at + 2 + size:
                self._moved = False
                return None
            self._at = at + 2 + max(2, size)
            self._coded = marker == 0xDA
        return None

    def _search(self) -> int | None:
        """Search coded data for a marker, or for the boundary."""
        found = _MARKER.search(self._buffer, self._at)
        limit = found.start() if found else len(self._buffer)
        if self._boundary:
            mark = b"--" + self._boundary
            edge = self._buffer.find(mark, max(0, self._at - len(mark)), limit + len(mark))
            if 0 <= edge <= limit:
                return edge
        if found is None:
            self._at = max(self._at, len(self._buffer) - 1)
            return None
        marker = self._buffer[limit + 1]
        if marker == 0xD9:
            return limit + 2
        if marker == 0xD8:
            return limit
        self._at, self._coded, self._moved = limit, False, True
        return None


def _trimmed(picture: bytes) -> bytes:
    """A picture without end marker, without the bytes between it and the next one."""
    tail = picture[-_BETWEEN_BYTES:]
    at = max(tail.rfind(b"\r\n--"), tail.rfind(b"\n--"))
    if at >= 0 and _BETWEEN.fullmatch(tail[at:]):
        picture = picture[: len(picture) - len(tail) + at]
    return picture.rstrip(b"\r\n")


def _too_large() -> SourceLost:
    return SourceLost(f"a picture of it has more than {MOST_JPEG} bytes")
