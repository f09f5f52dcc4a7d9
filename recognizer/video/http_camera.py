"""Cameras on HTTP: MJPEG and snapshots read here, everything else handed to a decoder. All over guarded connections.

The connection is `fetch.Fetcher`'s: the address that was checked is the one connected to, also after a redirect. FFmpeg
gets what came on it through a pipe, and connects to nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time

import numpy as np

from ..errors import AddressRefused, FetchError, InvalidUrl
from ..fetch import Fetcher, Stream
from .http_login import authorization
from .network import lookup
from .process import MOST_PIXELS, ProcessReader, pipe_config
from .reach import Reach, refusal
from .readers import BrokenShot, Reader, Shot, SourceLost, Stopper
from .source import Source, StreamUrl, split_url

#: Seconds between two pictures of a camera that gives one per request.
SNAPSHOT_SECONDS = 1.0
#: The largest JPEG that is taken.
MOST_JPEG = 20_000_000
_MOST_HEADERS = 16_384
#: Seconds without a byte after which a connection is given up; the camera notices the silence before.
_SILENCE = 30.0
#: Seconds of pictures that a server may send ahead of time without being slowed down.
_AHEAD = 2.0
_PLAYLISTS = ("mpegurl", "dash+xml", "x-scpls")


def open_http(source: Source, stopper: Stopper, reach: Reach, timeout: float) -> Reader:
    """Connect, and read what is there in the way that it needs.

    Raises
    ------
    SourceLost
    """
    url = split_url(source.address)
    site = _Site(url, stopper, reach, timeout)
    stream = site.open()
    try:
        kind, _, parameters = stream.content_type.partition(";")
        kind = kind.strip().lower()
        if kind.startswith("multipart/"):
            return MjpegReader(stream, _boundary(parameters), stopper, site)
        if kind in ("image/jpeg", "image/jpg"):
            return SnapshotReader(site, stream, stopper)
        if kind.startswith(("text/", "application/json")) or any(mark in kind for mark in _PLAYLISTS):
            raise SourceLost("it answers with a text or a playlist, not with a video: look for the URL of its stream")
        return PipedReader(stream, stopper, site, timeout)
    except BaseException:
        site.close()
        stream.close()
        raise


class _Site:
    """Opens one URL, as often as wanted, and can break off from another thread whatever is waited for."""

    def __init__(self, url: StreamUrl, stopper: Stopper, reach: Reach, timeout: float):
        self._url, self._stopper = url, stopper
        self._socket: socket.socket | None = None
        self._closed = False
        self._fetcher = Fetcher(
            timeout=timeout, max_bytes=MOST_JPEG, permit=reach.permits, on_socket=self._watch,
            resolver=lambda host, port, **how: lookup(host, port, stopper, **how),
        )  # fmt: skip

    def _watch(self, connection: socket.socket) -> None:
        self._socket = connection
        if self._closed or self._stopper.stopped:
            raise OSError("stopped")

    def close(self) -> None:
        """Break off reading and connecting, for good; from any thread."""
        self._closed = True
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def open(self) -> Stream:
        login = None
        if self._url.user is not None:
            user, password = self._url.user, self._url.password or ""

            def login(challenges, path):
                return authorization(challenges, user, password, path)

        try:
            with self._stopper.calling(self.close):
                return self._fetcher.stream(self._url.plain, silence=_SILENCE, login=login)
        except FetchError as error:
            raise SourceLost(_reason(error)) from None
        except InvalidUrl as error:
            raise SourceLost(error.message) from None


def _reason(error: FetchError) -> str:
    if isinstance(error, AddressRefused):
        return refusal(error.details["host"])
    status = error.details.get("status")
    if status in (401, 403):
        return "the camera does not accept the user name and password"
    if status == 404:
        return "the camera has no such page"
    return f"the camera answered with status {status}" if status else error.message


def decode_jpeg(data: bytes) -> np.ndarray:
    """The RGB pixels of a camera's JPEG. Cameras' JPEGs may be odd, but not cut short.

    Raises
    ------
    BrokenShot
    """
    import simplejpeg

    try:
        height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        if height * width > MOST_PIXELS or not height * width:
            raise BrokenShot
        whole = data.rstrip(b"\0\r\n \xff").endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9", -64) > 0
        return simplejpeg.decode_jpeg(data, "RGB", fastdct=True, fastupsample=True, strict=not whole)
    except (ValueError, KeyError):  # the second for colours that it does not know
        raise BrokenShot from None


def _shot(data: bytes, skipped: int, same: bool) -> Shot:
    return Shot(lambda: decode_jpeg(data), time.time(), time.perf_counter(), None, skipped, same)


# --- MJPEG -----------------------------------------------------------------------------------------------------------


def _boundary(parameters: str) -> bytes:
    found = re.search(r'boundary\s*=\s*(?:"([^"]*)"|([^\s;]+))', parameters, re.IGNORECASE)
    text = (found[1] or found[2] or "") if found else ""
    return text.strip().removeprefix("--").encode("latin-1", "replace")


class Parts:
    """Takes a multipart body apart as it comes. Cameras write it in many ways: with and without lengths, with the
    boundary's dashes doubled, with and without a line's end before it."""

    def __init__(self, boundary: bytes):
        self._mark = b"--" + boundary
        self._buffer = bytearray()
        self._length: int | None = None
        self._inside = False
        self._seen = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The parts that are complete now; raises SourceLost for what is no multipart body of JPEGs."""
        self._buffer += piece
        found = []
        while (part := self._next()) is not None:
            if part:
                found.append(part)
        return found

    def _next(self) -> bytes | None:
        if not self._inside and not self._begin():
            return None
        buffer = self._buffer
        if self._length is not None:
            end = self._length
            if len(buffer) < end:
                return None
        else:
            end = buffer.find(self._mark, max(0, self._seen - len(self._mark)))
            self._seen = len(buffer)
            if end < 0:
                if len(buffer) > MOST_JPEG:
                    raise SourceLost(f"a picture of it has more than {MOST_JPEG} bytes")
                return None
        part = bytes(buffer[:end])
        del buffer[:end]
        self._inside = False
        return part.removesuffix(b"\r\n") if self._length is None else part

    def _begin(self) -> bool:
        """Pass over a boundary and a part's headers, once they are there."""
        buffer = self._buffer
        start = buffer.find(self._mark)
        ends = [(buffer.find(mark, start), len(mark)) for mark in (b"\r\n\r\n", b"\n\n")] if start >= 0 else []
        ends = [each for each in ends if each[0] >= 0]
        if not ends:
            if len(buffer) > _MOST_HEADERS + len(self._mark):
                raise SourceLost("what it gives is not the MJPEG that it says it is")
            return False
        end, count = min(ends)
        headers = bytes(buffer[start:end])
        del buffer[: end + count]
        length = re.search(rb"(?im)^content-length:\s*([0-9]{1,10})\s*$", headers)
        self._length = int(length[1]) if length else None
        if self._length is not None and self._length > MOST_JPEG:
            raise SourceLost(f"a picture of it has more than {MOST_JPEG} bytes")
        self._inside, self._seen = True, 0
        return True


class _Threaded:
    """A reader whose thread reads a connection; the camera takes the newest of what it read."""

    def __init__(self, stopper: Stopper, site: _Site):
        self._stopper, self._site = stopper, site
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._skipped = 0
        self._end: SourceLost | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http-camera", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        end = SourceLost("the stream ended")
        try:
            self._work()
        except SourceLost as lost:
            end = lost
        except FetchError as error:
            end = SourceLost(error.message)
        with self._changed:
            self._end = end
            self._changed.notify_all()

    def _work(self) -> None:
        raise NotImplementedError

    def _put(self, data: bytes, same: bool) -> None:
        with self._changed:
            self._skipped += self._shot is not None
            self._shot = _shot(data, self._skipped, same)
            self._changed.notify_all()

    def read(self, timeout: float) -> Shot | None:
        with self._stopper.calling(self._wake), self._changed:
            self._changed.wait_for(lambda: self._shot or self._end or self._stopper.stopped, timeout)
            shot, self._shot = self._shot, None
            if shot is not None:
                self._skipped = 0
                return shot
            if self._end is not None and not self._stopper.stopped:
                raise self._end
        return None

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        self._closed.set()
        self._site.close()
        self._thread.join()


class MjpegReader(_Threaded):
    """multipart/x-mixed-replace: JPEGs one after the other, of which only the newest is kept."""

    def __init__(self, stream: Stream, boundary: bytes, stopper: Stopper, site: _Site):
        self._stream, self._parts = stream, Parts(boundary)
        super().__init__(stopper, site)

    def _work(self) -> None:
        last = b""
        try:
            while piece := self._stream.read():
                for part in self._parts.feed(piece):
                    self._put(part, part == last)
                    last = part
        finally:
            self._stream.close()


class SnapshotReader(_Threaded):
    """A URL that gives one JPEG, asked again and again."""

    def __init__(self, site: _Site, stream: Stream, stopper: Stopper):
        self._first: Stream | None = stream
        super().__init__(stopper, site)

    def _work(self) -> None:
        last, due = b"", time.monotonic()
        while not self._closed.wait(max(0.0, due - time.monotonic())):
            due = max(due + SNAPSHOT_SECONDS, time.monotonic())
            stream, self._first = self._first or self._site.open(), None
            try:
                data = b""
                while piece := stream.read():
                    data += piece
                    if len(data) > MOST_JPEG:
                        raise SourceLost(f"a picture of it has more than {MOST_JPEG} bytes")
            finally:
                stream.close()
            self._put(data, data == last)
            last = data


# --- everything else -------------------------------------------------------------------------------------------------


class PipedReader:
    """A decoder that reads from a pipe what comes on the connection."""

    def __init__(self, stream: Stream, stopper: Stopper, site: _Site, timeout: float):
        if os.name != "posix":
            raise SourceLost("on this system only MJPEG is read over HTTP")
        self._stream, self._site = stream, site
        reading, self._writing = os.pipe()
        try:
            ahead = _AHEAD if stream.length is None else 0.0
            self._decoder = ProcessReader(pipe_config(reading, timeout, ahead), stopper, inherit=(reading,))
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)
        self._thread = threading.Thread(target=self._run, name="http-camera", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while piece := self._stream.read():
                view = memoryview(piece)
                while view:
                    view = view[os.write(self._writing, view) :]
        except (FetchError, OSError):
            pass  # the decoder comes to the end of what there is, and says so
        finally:
            os.close(self._writing)
            self._stream.close()

    def read(self, timeout: float) -> Shot | None:
        return self._decoder.read(timeout)

    def close(self) -> None:
        self._decoder.close()
        self._site.close()
        self._thread.join()
