"""Where a request's head and its body begin and end, read as RFC 9112 has it and in no other way.

What two programs may read differently is refused: else a proxy before this server could pass a request on in which the server
sees two, or a header that the proxy would have taken out.
"""

from __future__ import annotations

import io
import re
from typing import BinaryIO

from cheroot.errors import MaxSizeExceeded
from cheroot.server import HeaderReader, SizeCheckWrapper

_LINE_END = b"\r\n"
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
#: Longest line between chunks.
_LONGEST = 8192
#: Headers of which a second one could be meant for somebody else's eyes.
_ONCE = frozenset({b"Host", b"Content-Length", b"Content-Type", b"Transfer-Encoding", b"Authorization", b"X-Api-Key"})


class HeadReader(HeaderReader):
    """Reads header lines into a dict, a name's first letters large. What comes several times is one list with commas.

    Names with an underscore are left out: WSGI tells ``X_Forwarded_For`` from ``X-Forwarded-For`` no more, a proxy does.
    """

    def __call__(self, rfile: BinaryIO, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        """Read until the empty line.

        Raises
        ------
        ValueError
        """
        found = {} if hdict is None else hdict
        while (line := rfile.readline()) != _LINE_END:
            if not line:
                raise ValueError("the head ended early")
            if not line.endswith(_LINE_END):
                raise ValueError("expected lines that end with CR LF")
            header = _HEADER.fullmatch(line)
            if header is None:
                raise ValueError("expected header lines of a name, a colon, and a value without control characters")
            name, value = header[1].title(), header[2].strip(b" \t")
            if b"_" in name:
                continue
            if name in found:
                if name in _ONCE:
                    raise ValueError(f"expected one header {name.decode()}")
                value = found[name] + (b"; " if name == b"Cookie" else b", ") + value
            found[name] = value
        return found


def read_chunked(rfile: BinaryIO, limit: int) -> bytes:
    """A body that comes in chunks. Trailers are passed over.

    Raises
    ------
    ValueError
        Those are no chunks, or they ended early.
    MaxSizeExceeded
        The body is larger than `limit`, or its framing takes far more than it should.
    """
    source = SizeCheckWrapper(rfile, 6 * limit + 64 * 1024)  # a byte per chunk costs six on the wire
    body = io.BytesIO()
    while size := _chunk_size(_line(source)):
        if body.tell() + size > limit:
            raise MaxSizeExceeded
        if body.write(source.read(size)) < size or source.read(2) != _LINE_END:
            raise ValueError("expected a chunk of the size that was said, and CR LF after it")
    while (line := _line(source)) != _LINE_END:
        if not line.endswith(_LINE_END):
            raise ValueError("the body ended early")
    return body.getvalue()


def _line(source: SizeCheckWrapper) -> bytes:
    line = source.readline(_LONGEST)
    if len(line) >= _LONGEST:  # what is buffered may be told on top
        raise MaxSizeExceeded
    return line


def _chunk_size(line: bytes) -> int:
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise ValueError("expected a chunk's size in hexadecimal digits")
    return int(found[1], 16)
