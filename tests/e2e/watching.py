"""A viewer of a live stream, on a socket of its own: it reads when it is told to, and sees exactly what was sent."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg

SECONDS = 20.0


@dataclass(frozen=True)
class Part:
    """One picture as it came: its headers, the JPEG, and when its last byte was there, seconds since the epoch."""

    headers: dict[str, str]
    jpeg: bytes
    came: float

    @property
    def time(self) -> float:
        return float(self.headers["x-timestamp"])

    def pixels(self) -> np.ndarray:
        return simplejpeg.decode_jpeg(self.jpeg)


class Stream:
    """A GET of `path` whose reply is read part by part.

    `buffer` is the size of the socket's receive buffer, in bytes.
    """

    def __init__(self, port: int, path: str = "/stream", buffer: int | None = None, timeout: float = SECONDS):
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._data = b""
        self.headers: dict[str, str] = {}
        self.status = 0

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def begin(self) -> Stream:
        """Read the head of the reply."""
        first, *lines = self._until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = _headers(lines)
        return self

    def part(self) -> Part:
        """The next picture.

        Raises
        ------
        EOFError
            The stream ended.
        """
        if not self.headers:
            self.begin()
            assert self.status == 200, (self.status, self.headers, self._data)
        boundary = "--" + self.headers["content-type"].split("boundary=")[1]
        assert self._until(b"\r\n").decode() == boundary
        headers = _headers(self._until(b"\r\n\r\n").decode().split("\r\n"))
        length = int(headers["content-length"])
        self._need(length + 2)
        came = time.time()
        jpeg, end, self._data = self._data[:length], self._data[length : length + 2], self._data[length + 2 :]
        assert end == b"\r\n" and jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9"
        return Part(headers, jpeg, came)

    def parts(self, count: int | None = None, seconds: float = SECONDS) -> Iterator[Part]:
        """So many pictures, or what comes in so many seconds."""
        until = time.monotonic() + seconds
        while (count is None or count > 0) and time.monotonic() < until:
            yield self.part()
            count = None if count is None else count - 1

    def ends(self) -> bool:
        """Read on; whether the stream ends before the time-out."""
        with contextlib.suppress(ConnectionError):
            try:
                while self.socket.recv(1 << 20):
                    pass
            except TimeoutError:
                return False
        return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._data:
            self._more()
        found, _, self._data = self._data.partition(mark)
        return found

    def _need(self, size: int) -> None:
        while len(self._data) < size:
            self._more()

    def _more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise EOFError("the stream ended")
        self._data += data


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
