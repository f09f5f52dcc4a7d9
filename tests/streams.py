"""Sources of video for the tests: clips, a camera that speaks HTTP, and real servers of Debian's packages."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from recognizer.photos.images import encode_jpeg
from recognizer.video.sources.pattern import Pattern

T = TypeVar("T")
#: Seconds that a test waits for what has to happen, on a machine with much other work too.
PATIENCE = 60.0


def clip(path: Path, frames: int = 30, size: tuple[int, int] = (320, 240), rate: float = 25, codec: str = "mp4v") -> Path:
    """A video of the test pattern, so that each frame tells its number."""
    path.write_bytes(_clip(path.suffix, frames, size, rate, codec))
    return path


@functools.cache
def _clip(suffix: str, frames: int, size: tuple[int, int], rate: float, codec: str) -> bytes:
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip" + suffix)
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, size)
        assert writer.isOpened()
        pattern = Pattern(*size)
        for number in range(frames):
            writer.write(np.ascontiguousarray(pattern.draw(number, number / rate)[..., ::-1]))
        writer.release()
        return path.read_bytes()


@functools.cache
def ffmpeg_clip(suffix: str, *options: str) -> bytes:
    """A file that ffmpeg writes, made once: one thread is quicker than many for clips as small as these.

    Raises
    ------
    AssertionError
        With what ffmpeg says, where it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clip" + suffix)
        quick = ("-preset", "ultrafast") if {"libx264", "libx265"} & set(options) else ()
        command = [tool("ffmpeg", "ffmpeg"), "-v", "error", "-y", "-filter_threads", 1, *options, *quick, "-threads", 1, path]
        done = subprocess.run([str(each) for each in command], capture_output=True)
        assert done.returncode == 0, done.stderr.decode(errors="replace")
        return path.read_bytes()


def jpeg(number: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    return encode_jpeg(Pattern(*size).draw(number, time.time()))


def tool(name: str, package: str) -> str:
    """A program of a Debian package, or a skip."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return found


def wait_for(condition, seconds: float = PATIENCE, what: str = ""):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"still not so after {seconds} s {what}"
        time.sleep(0.02)
    return value


def ends(call: Callable[..., T], *arguments) -> T:
    """What `call` returns. Fails if it does not end: what it must not wait for has to take longer than a test waits."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call(*arguments))
        except BaseException as error:  # for whoever waits
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(PATIENCE)


def decoders() -> dict[int, str]:
    """The decoder processes that this process started, with their command lines."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for number in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    line = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if "decoder.py" in line:
                        found[int(number)] = line
    return found


class HttpCamera(socketserver.ThreadingTCPServer):
    """A camera on HTTP whose behaviour a test changes while it runs.

    ``/mjpeg`` gives what `picture` returns, `rate` times a second; ``/bare`` the same without parts or times;
    ``/snapshot.jpg`` one JPEG; ``/slow`` nothing;
    ``/text`` a page; ``/elsewhere`` redirects to `redirect`; ``/reply`` the headers and the body of `reply`.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self):
        self.number, self.size, self.rate = 0, (320, 240), 25.0
        self.frozen = self.silent = False
        self.lengths, self.damage = True, False
        self.login = None  # callable(headers) -> challenge or None
        self.redirect = ""
        self.reply: tuple[dict[str, str], bytes] = ({}, b"")
        self.seen: list = []
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server_address[1]

    def url(self, path: str = "/mjpeg", login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.port}{path}"

    def picture(self) -> bytes:
        if not self.frozen:
            self.number += 1
            self._last = jpeg(self.number, self.size)
        return self._last

    def cut(self) -> None:
        """Break every connection."""
        for each in list(self.connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def __exit__(self, *_):
        self.shutdown()
        self.cut()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        server.connections.add(self.connection)
        server.seen.append((self.path, dict(self.headers)))
        with contextlib.suppress(OSError):
            self.answer(server)
        server.connections.discard(self.connection)
        self.close_connection = True

    def answer(self, server):
        challenge = server.login(self.headers) if server.login else None
        if challenge:
            self.send_response(401)
            self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path.startswith("/slow"):
            return time.sleep(30)
        if self.path.startswith("/elsewhere"):
            self.send_response(302)
            self.send_header("Location", server.redirect)
            return self.end_headers()
        if self.path.startswith("/text"):
            return self.whole("text/html", b"<p>hello")
        if self.path.startswith("/reply"):
            headers, body = server.reply
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            return self.wfile.write(body)
        if self.path.startswith("/snapshot.jpg"):
            return self.whole("image/jpeg", server.picture())
        if self.path.startswith("/bare"):
            return self.bare(server)
        self.send_response(200)
        self.send_header("Content-Type", 'multipart/x-mixed-replace; boundary="--picture"')
        self.end_headers()
        while True:
            if not server.silent:
                data = server.picture()
                if server.damage:
                    data = data[: len(data) // 2]
                length = f"Content-Length: {len(data)}\r\n" if server.lengths else ""
                self.wfile.write(f"--picture\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + data + b"\r\n")
            time.sleep(1 / server.rate)

    def bare(self, server):
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()
        begin, sent = time.perf_counter(), 0
        while True:
            self.wfile.write(server.picture())
            sent += 1
            time.sleep(max(0.0, begin + sent / server.rate - time.perf_counter()))

    def whole(self, kind: str, data: bytes):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Program:
    """A program that serves video, to be killed and started again."""

    def __init__(self, *command, cwd=None):
        self.process = subprocess.Popen(
            [str(each) for each in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.output = b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while piece := self.process.stdout.read1(65536):
            self.output += piece

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._thread.join()
        self.process.stdout.close()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_) -> None:
        self.kill()


@contextlib.contextmanager
def rtsp_server(port: int = 0, login: str = "", clip: str | Path = "") -> Iterator[str]:
    """A GStreamer RTSP server, see `rtsp_server.py`; the URL to which a path is added."""
    python, probe = "/usr/bin/python3", "import gi; gi.require_version('GstRtspServer', '1.0')"
    if not Path(python).exists() or subprocess.run([python, "-c", probe], capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server is not installed (Debian packages python3-gi and gir1.2-gst-rtsp-server-1.0)")
    with Program(python, Path(__file__).with_name("rtsp_server.py"), port, login, clip) as program:
        found = wait_for(lambda: re.search(rb"^([0-9]+)\n", program.output, re.MULTILINE), 20, program.output.decode())
        yield f"rtsp://127.0.0.1:{int(found[1])}/"
