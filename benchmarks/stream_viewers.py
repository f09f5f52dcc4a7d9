"""Several viewers of live streams, in a process of their own; what they got, as JSON.

    python benchmarks/stream_viewers.py URL[,URL...] VIEWERS SECONDS [--keep N]

Viewers take the URLs in turns. The first viewer of each URL keeps the pictures it gets (each N-th, with --keep) and at the
end reads the clip's frame number in them (see stream_clip.py); the others only note when each picture came, and by its
X-Timestamp it is known which one it was.
"""

from __future__ import annotations

import argparse
import json
import selectors
import socket
import time
from urllib.parse import urlsplit

import simplejpeg
import stream_clip


class Viewer:
    """One connection; `feed` takes in what came."""

    def __init__(self, url: str, keeps: int):
        parts = urlsplit(url)
        self.url, self._keeps = url, keeps
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self.socket.sendall(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
        self.socket.setblocking(False)
        self.came: list[tuple[str, float]] = []
        self.kept: list[tuple[str, bytes]] = []
        self.bytes = 0
        self._head, self._left, self._body = b"", 0, []
        self._stamp = ""

    def feed(self, data: bytes) -> None:
        now = time.time()
        self.bytes += len(data)
        while data:
            if self._left:
                taken, data = data[: self._left], data[self._left :]
                self._left -= len(taken)
                if self._keeps and len(self.came) % self._keeps == 0:
                    self._body.append(taken)
                if not self._left:
                    if self._body:
                        self.kept.append((self._stamp, b"".join(self._body)))
                    self.came.append((self._stamp, now))
                    self._body = []
                continue
            self._head += data
            data = b""
            begin = self._head.find(b"Content-Length: ")
            end = self._head.find(b"\r\n\r\n", begin)
            if begin >= 0 and end >= 0:
                head, data, self._head = self._head[begin:end], self._head[end + 4 :], b""
                lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                self._left, self._stamp = int(lines["Content-Length"]), lines["X-Timestamp"]


def watch(urls: list[str], count: int, seconds: float, keep: int) -> dict:
    viewers = [Viewer(urls[i % len(urls)], keep if i < len(urls) else 0) for i in range(count)]
    selector = selectors.DefaultSelector()
    for viewer in viewers:
        selector.register(viewer.socket, selectors.EVENT_READ, viewer)
    begun, used, lost = time.time(), time.process_time(), 0
    while (left := begun + seconds - time.time()) > 0:
        for ready, _ in selector.select(left):
            data = ready.data.socket.recv(1 << 18)
            if data:
                ready.data.feed(data)
            else:
                selector.unregister(ready.fileobj)
                lost += 1
    used = time.process_time() - used
    for viewer in viewers:
        viewer.socket.close()
    if not all(viewer.came for viewer in viewers):
        raise SystemExit("Expected pictures, and a viewer got none.")
    numbers = {}
    for viewer in viewers:
        for stamp, jpeg in viewer.kept:
            numbers[viewer.url + stamp] = stream_clip.number_in(simplejpeg.decode_jpeg(jpeg))
    return {
        "seconds": seconds,
        "lost": lost,
        "processor": used,
        "viewers": [
            {
                "url": viewer.url,
                "bytes": viewer.bytes,
                "came": [(came, numbers.get(viewer.url + stamp)) for stamp, came in viewer.came],
            }
            for viewer in viewers
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("urls")
    parser.add_argument("viewers", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--keep", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(watch(options.urls.split(","), options.viewers, options.seconds, options.keep)))


if __name__ == "__main__":
    main()
