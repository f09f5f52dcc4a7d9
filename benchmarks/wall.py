"""A wall of cameras: one reply of `GET /wall` against as many MJPEG streams: processor time per viewer, delay, and start.

    python benchmarks/wall.py [--cameras N] [--seconds S] [--rounds N] [--quick] [--json FILE]

The cameras are test patterns that always run, and nothing is looked for in them, so that what is left is what viewers cost; all
pictures are encoded, 480 pixels wide. In each round everything is measured in turn: nobody watches, one page with N streams,
one page with one wall, and four pages of each kind. Processor time is the server's, less that of nobody watching in the same
round, by page. `delay` is from the frame to its last byte at the viewer, `start` from connecting to a picture of each camera of
all pages. A browser opens six connections to one server at most: it cannot show the streams that are measured here for more
than six cameras.
"""

from __future__ import annotations

import selectors
import socket
import statistics
import tempfile
import time
from pathlib import Path

import report
from stream import processor

from tests.e2e.serving import Server, altered

#: A server whose engine finds nobody, at no cost.
BLIND = altered(
    "from recognizer.core.types import Faces\n"
    "from recognizer.video.tracking.vision import EngineVision\n"
    "EngineVision.detect = lambda self, image, min_face=None: Faces.empty()"
)
VIEW = "width=480"
PAGES = (1, 4)


class Viewer:
    """A connection that notes how old each picture is when its last byte is there."""

    def __init__(self, port: int, path: str):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self.socket.setblocking(False)
        self.delays: list[float] = []
        self.seen: set[str] = set()
        self._path, self._data = path, b""

    def feed(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            lines = dict(line.split(": ", 1) for line in self._data[:end].decode("latin-1").split("\r\n") if ": " in line)
            size = end + 4 + (int(lines["Content-Length"]) if "X-Timestamp" in lines else 0)
            if len(self._data) < size:
                return
            if "X-Timestamp" in lines:
                self.delays.append(time.time() - float(lines["X-Timestamp"]))
                self.seen.add(lines.get("X-Camera", self._path))
            self._data = self._data[size:]


def watch(server: Server, paths: list[str], seconds: float, cameras: int) -> tuple[float, list[float], float]:
    """The server's processor time per second while these are watched, the delays of all pictures, and the seconds until there
    was one of each camera."""
    assert server.process is not None
    connected = time.monotonic()
    viewers = [Viewer(server.port, path) for path in paths]
    with selectors.DefaultSelector() as selector:
        for viewer in viewers:
            selector.register(viewer.socket, selectors.EVENT_READ, viewer)

        def read(until: float) -> None:
            while (left := until - time.monotonic()) > 0:
                if not viewers:
                    time.sleep(left)
                for ready, _ in selector.select(left):
                    data = ready.data.socket.recv(1 << 18)
                    if not data:
                        raise SystemExit("A stream ended.")
                    ready.data.feed(data)

        while viewers and sum(len(viewer.seen) for viewer in viewers) < cameras and time.monotonic() < connected + 30:
            read(time.monotonic() + 0.01)
        start = time.monotonic() - connected
        read(time.monotonic() + 1)
        for viewer in viewers:
            viewer.delays.clear()
        before, began = processor(server.process.pid), time.monotonic()
        read(began + seconds)
        used = (processor(server.process.pid) - before) / (time.monotonic() - began)
    for viewer in viewers:
        viewer.socket.close()
    return used, [delay for viewer in viewers for delay in viewer.delays], start


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--cameras", metavar="N", type=int, default=16)
    parser.add_argument("--seconds", metavar="S", type=float, default=8)
    parser.add_argument("--rounds", metavar="N", type=int, default=3)
    options = parser.parse_args()
    seconds, rounds = (3, 1) if options.quick else (options.seconds, options.rounds)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), BLIND, camera="none", watch="off", streams=256) as server,
    ):
        ids = [
            server.post("/cameras", json={"source": "test:640x360@5", "name": f"Camera {n}", "always": True}).json()["id"]
            for n in range(options.cameras)
        ]
        server.wait_for(lambda: all(each["state"]["name"] == "live" for each in server.get("/cameras").json()["cameras"]))
        streams = [f"/cameras/{each}/stream?{VIEW}" for each in ids]
        kinds = {"nobody": [], "streams": streams, "wall": [f"/wall?cameras={','.join(ids)}&{VIEW}"]}
        used: dict[tuple[str, int], list[float]] = {}
        delays: dict[tuple[str, int], list[float]] = {}
        starts: dict[tuple[str, int], list[float]] = {}
        for _ in range(rounds):
            for pages in PAGES:
                for kind, paths in kinds.items():
                    found, late, start = watch(server, paths * pages, seconds, pages * options.cameras)
                    starts.setdefault((kind, pages), []).append(start)
                    used.setdefault((kind, pages), []).append(found)
                    delays.setdefault((kind, pages), []).extend(late)
    rows = []
    for pages in PAGES:
        idle = used["nobody", pages]
        costs = {
            kind: statistics.median(each - alone for each, alone in zip(used[kind, pages], idle, strict=True)) / pages
            for kind in ("streams", "wall")
        }
        for kind, cost in costs.items():
            late = sorted(delays[kind, pages])
            rows.append(
                {
                    "pages": pages,
                    "kind": kind,
                    "connections per page": len(kinds[kind]),
                    "pictures/s per page": len(late) / pages / seconds / rounds,
                    "% of a core per page": 100 * cost,
                    "of streams": cost / costs["streams"],
                    "delay ms": 1000 * statistics.median(late),
                    "delay p95 ms": 1000 * late[int(0.95 * len(late))],
                    "start ms": 1000 * statistics.median(starts[kind, pages]),
                }
            )
    report.table(rows, f"{options.cameras} cameras of 640x360 at 5 frames per second")
    report.save(options, wall=rows)


if __name__ == "__main__":
    main()
