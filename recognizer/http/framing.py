"""Where a request's head and its body begin and end, strictly as RFC 9112 defines it.

What two programs may read differently is refused: otherwise a proxy in front could pass on one request in which this server
sees two, or a header that the proxy would have removed.
"""

from __future__ import annotations

import re
from typing import BinaryIO, NamedTuple
from urllib.parse import unquote_to_bytes

from cheroot.errors import MaxSizeExceeded
from cheroot.server import HeaderReader

_LINE_END = b"\r\n"
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])\r\n")
_ESCAPED_SLASH = re.compile(rb"(%2[fF])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")
#: Longest line between chunks.
_LONGEST = 8192
#: What the lines between chunks may take, and an eighth of the body more.
_FRAMING_BYTES = 64 * 1024
#: Headers that may occur once: a proxy in front might use the other one.
_ONCE = frozenset({b"Host", b"Content-Length", b"Content-Type", b"Transfer-Encoding", b"Authorization", b"X-Api-Key"})


class RequestLine(NamedTuple):
    """The first line of a request. `path` is unquoted but for slashes; `target` is as it was sent, in ASCII."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: tuple[int, int]


def read_request_line(line: bytes) -> RequestLine:
    """Read the first line of a request.

    Bytes outside ASCII in the target, which some clients send although they must not, count as if they were percent-encoded.
    Several slashes at its beginning count as one: proxies send them, and no path begins with two.

    Raises
    ------
    ValueError
    """
    if not line.endswith(_LINE_END):
        raise ValueError("expected lines that end with CR LF")
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise ValueError("malformed request line: expected a method, a target and the version, separated by one blank each")
    method, target = found[1], found[2]
    if method != method.upper():
        raise ValueError("malformed method: methods are case-sensitive and upper-case")
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise ValueError("malformed target: expected a path that begins with a slash")
    if b"#" in target:
        raise ValueError("malformed target: expected none with '#'")
    target = b"".join(b"%%%02X" % byte if byte > 0x7E else bytes((byte,)) for byte in target)
    if target.startswith(b"//"):
        target = b"/" + target.lstrip(b"/")
    path, _, query = target.partition(b"?")
    parts = [part.upper() if at % 2 else unquote_to_bytes(part) for at, part in enumerate(_ESCAPED_SLASH.split(path))]
    return RequestLine(method, target, b"".join(parts), query, (int(found[3]), int(found[4])))


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


class BodyReader:
    """A body that is put together as its bytes come.

    Attributes
    ----------
    size : int
        How many bytes of it are there.
    done : bool
        Whether it is whole.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self.size = 0
        self.done = False

    def feed(self, received: bytearray) -> None:
        """Take from the beginning of `received` what belongs to the body.

        Raises
        ------
        ValueError
            Those are no chunks.
        MaxSizeExceeded
            The body is larger than the limit, or its framing takes far more than it should.
        """
        raise NotImplementedError

    def missing(self) -> str:
        """What was expected and what came, of a body that ended early."""
        raise NotImplementedError

    def take(self) -> bytes:
        """The body. It is given once."""
        data, self._data = self._data, bytearray()
        return bytes(data)

    def _add(self, received: bytearray, begin: int, size: int) -> None:
        with memoryview(received) as view:
            self._data += view[begin : begin + size]
        self.size += size


class BodyOfLength(BodyReader):
    """A body of a length that is known."""

    def __init__(self, length: int):
        super().__init__()
        self._length = length
        self.done = not length

    def feed(self, received: bytearray) -> None:
        taken = min(len(received), self._length - self.size)
        self._add(received, 0, taken)
        del received[:taken]
        self.done = self.size == self._length

    def missing(self) -> str:
        return f"expected {self._length} bytes, got {self.size}"


class BodyInChunks(BodyReader):
    """A body that comes in chunks, of at most `limit` bytes. Trailers are ignored."""

    def __init__(self, limit: int):
        super().__init__()
        self._limit = limit
        self._left = 0  # of this chunk, with the line end after it
        self._chunked = True  # trailers otherwise
        self._framing = 0

    def feed(self, received: bytearray) -> None:
        at = 0
        try:
            while not self.done and at < len(received):
                if self._left:
                    at = self._go_on(received, at)
                    continue
                end = received.find(b"\n", at, at + _LONGEST)
                if end < 0:
                    if len(received) - at >= _LONGEST:
                        raise MaxSizeExceeded
                    return
                self._framing += end + 1 - at
                if self._framing > _FRAMING_BYTES + self.size // 8:
                    raise MaxSizeExceeded
                self._line(bytes(received[at : end + 1]))
                at = end + 1
        finally:
            del received[:at]

    def _go_on(self, received: bytearray, at: int) -> int:
        """Go on with a chunk; where the next thing begins."""
        taken = min(max(0, self._left - 2), len(received) - at)
        self._add(received, at, taken)
        self._left -= taken
        at += taken
        while 0 < self._left <= 2 and at < len(received):
            if received[at] != _LINE_END[2 - self._left]:
                raise ValueError("expected a chunk of the size that was announced, and CR LF after it")
            self._left -= 1
            at += 1
        return at

    def _line(self, line: bytes) -> None:
        if self._chunked:
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise ValueError("expected a chunk's size in hexadecimal digits")
            size = int(found[1], 16)
            if self.size + size > self._limit:
                raise MaxSizeExceeded
            self._left, self._chunked = (size + 2, True) if size else (0, False)
        elif not line.endswith(_LINE_END):
            raise ValueError("expected trailers whose lines end with CR LF")
        else:
            self.done = line == _LINE_END

    def missing(self) -> str:
        return f"expected a chunk of size 0 at its end, got {self.size} bytes without it"
