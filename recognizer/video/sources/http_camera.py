"""Cameras on HTTP: MJPEG and snapshots read here, everything else handed to a decoder. All over guarded connections.

The connection is `fetch.Fetcher`'s: the address that was checked is the one connected to, also after a redirect. FFmpeg
gets what came on it through a pipe, and connects to nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
import zlib

import numpy as np

from recognizer.core.errors import AddressRefused, FetchError, FetchFailed, InvalidUrl, RecognizerError
from recognizer.fetching.fetcher import Fetcher, FetchHooks, Stream
from recognizer.video.sources.base import BrokenShot, FrameReader, Shot, SourceLost, Stopper
from recognizer.video.sources.http_login import authorization
from recognizer.video.sources.jpeg_stream import MOST_JPEG, JpegStream
from recognizer.video.sources.process import MOST_PIXELS, ProcessReader, is_text, pipe_config
from recognizer.video.sources.reach import Reach, refusal
from recognizer.video.sources.source import CameraSource, StreamUrl, split_url
from recognizer.video.spare_pixels import SparePixels

#: Seconds between two pictures of a camera that gives one per request.
SNAPSHOT_SECONDS = 1.0
#: Number of first bytes of a reply that identify its content.
_PEEK = 64
#: Bytes within which the first box of an MP4 file that tells where its index is has to stand.
_MOST_PEEK = 4096
#: Seconds without a byte after which a connection is given up; the camera notices the silence before.
_SILENCE = 30.0
#: Seconds of pictures that a server may send ahead of time without being slowed down.
_AHEAD = 2.0
#: Bytes that are unpacked at once of what comes with a content encoding.
_UNPACKED = 65_536
#: What stands in a JPEG before its pixels if it says how it is to be turned.
_TURNING = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")
_PLAYLISTS = ("mpegurl", "dash+xml", "x-scpls")
_INDEX_FIRST = "ffmpeg -i in.mp4 -c copy -movflags +faststart out.mp4"
_NO_VIDEO = "it answers with a text or a playlist, not with a video: look for the URL of its stream"


def open_http(source: CameraSource, stopper: Stopper, reach: Reach, timeout: float) -> FrameReader:
    """Connect, and choose the reader that fits the content.

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
        if kind in ("image/jpeg", "image/jpg", "image/pjpeg"):
            return SnapshotReader(site, stream, stopper)
        if kind.startswith(("text/html", "application/json")) or any(mark in kind for mark in _PLAYLISTS):
            raise SourceLost(_NO_VIDEO)
        with stopper.calling(site.close):
            return _by_content(stream, stopper, site, timeout)
    except FetchError as error:
        site.close()
        stream.close()
        raise SourceLost(error.message) from None
    except BaseException:
        site.close()
        stream.close()
        raise


def _by_content(stream: CameraStream, stopper: Stopper, site: _Site, timeout: float) -> FrameReader:
    """A reader for the content that the first bytes of a reply identify; its header is ignored."""
    from recognizer.photos.image_headers import sniff

    head = stream.peek(_PEEK)
    if not head:
        raise SourceLost("its reply is empty")
    picture = sniff(head)
    if picture == "jpeg" and stream.length is None:
        return MjpegReader(stream, None, stopper, site)  # one JPEG, or one after the other
    if picture is not None and picture != "gif":
        return SnapshotReader(site, stream, stopper)
    if head.lstrip().startswith(b"--") and b"\n" in head:
        return MjpegReader(stream, b"", stopper, site)
    if is_text(head) or stream.content_type.lower().startswith("text/"):
        raise SourceLost(_NO_VIDEO)
    if head[4:8] == b"ftyp" and _index_is_last(stream.peek(_MOST_PEEK)):
        raise SourceLost(
            f"it is an MP4 file with its index at the end, which cannot be read while it arrives; {_INDEX_FIRST} "
            "puts it in front"
        )
    return PipedReader(stream, stopper, site, timeout)


def _index_is_last(head: bytes) -> bool:
    """Whether an MP4 file has its pictures before their index, by the boxes at its beginning."""
    at = 0
    while at + 8 <= len(head):
        size, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind in (b"moov", b"moof"):
            return False
        if kind == b"mdat":
            return True
        if size < 8:
            return False
        at += size
    return False


class CameraStream:
    """A reply as it arrives, with its content coding undone; its beginning can be looked at first.

    Parameters
    ----------
    stream : Stream

    Raises
    ------
    SourceLost
        Its content coding is not supported.
    """

    def __init__(self, stream: Stream):
        coding = stream.encoding
        if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise SourceLost(f"it replies with the content encoding {coding[:20]!r}, which was not requested")
        self._stream, self._head = stream, b""
        self._unpacker = zlib.decompressobj(47) if coding not in ("", "identity") else None
        self._packed = b""
        self.content_type = stream.content_type
        self.length = None if self._unpacker else stream.length

    def peek(self, size: int) -> bytes:
        """The first bytes, at least as many as asked for unless there are fewer; they are read again."""
        while len(self._head) < size and (piece := self._more()):
            self._head += piece
        return self._head

    def read(self) -> bytes:
        """Bytes that have arrived; empty at the end.

        Raises
        ------
        FetchError
        """
        head, self._head = self._head, b""
        return head or self._more()

    def _more(self) -> bytes:
        if self._unpacker is None:
            return self._stream.read()
        while True:
            packed = self._packed or self._stream.read()
            try:
                piece = self._unpacker.decompress(packed, _UNPACKED) if packed else self._unpacker.flush()
            except zlib.error:
                raise FetchFailed("its content encoding is damaged") from None
            self._packed = self._unpacker.unconsumed_tail
            if piece or not packed:
                return piece

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


class _Site:
    """Opens one URL, any number of times; another thread can interrupt it at any moment."""

    def __init__(self, url: StreamUrl, stopper: Stopper, reach: Reach, timeout: float):
        self._url, self._stopper = url, stopper
        self._socket: socket.socket | None = None
        self._closed = False
        hooks = FetchHooks(reach.permits, self._watch, stopper.calling)
        self._fetcher = Fetcher(timeout=timeout, max_bytes=MOST_JPEG, hooks=hooks)

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

    def open(self) -> CameraStream:
        """Send the request.

        Raises
        ------
        SourceLost
        """
        login = None
        if self._url.user is not None:
            user, password = self._url.user, self._url.password or ""

            def login(challenges, path):
                return authorization(challenges, user, password, path)

        try:
            with self._stopper.calling(self.close):
                stream = self._fetcher.stream(self._url.plain, silence=_SILENCE, login=login)
        except FetchError as error:
            raise SourceLost(_reason(error)) from None
        except InvalidUrl as error:
            raise SourceLost(error.message) from None
        try:
            return CameraStream(stream)
        except BaseException:
            stream.close()
            raise


def _reason(error: FetchError) -> str:
    if isinstance(error, AddressRefused):
        return refusal(error.details["host"])
    status = error.details.get("status")
    if status in (401, 403):
        return "the camera does not accept the user name and password"
    if status == 404:
        return "the camera has no such page"
    return f"the camera answered with status {status}" if status else error.message


def decode_picture(data: bytes, spare: SparePixels | None = None) -> np.ndarray:
    """The RGB pixels of a picture that a camera gave, upright; in memory of `spare` where that is given.

    Raises
    ------
    BrokenShot
    """
    if data.startswith(b"\xff\xd8\xff"):
        return decode_jpeg(data, spare)
    from recognizer.photos import images

    try:
        return images.decode(data, max_bytes=MOST_JPEG, max_pixels=MOST_PIXELS).pixels
    except RecognizerError:
        raise BrokenShot from None


def decode_jpeg(data: bytes, spare: SparePixels | None = None) -> np.ndarray:
    """The RGB pixels of a camera's JPEG, upright; in memory of `spare` where that is given. It may be odd, and lack its end
    marker, but not be cut short.

    Raises
    ------
    BrokenShot
    """
    import simplejpeg

    whole = data.rstrip(b"\0\r\n \xff").endswith(b"\xff\xd9") or data.rfind(b"\xff\xd9", -64) > 0
    if not whole:
        data += b"\xff\xd9"  # if only that was missing, the decoder has nothing to complain about now
    try:
        height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        if height * width > MOST_PIXELS or not height * width:
            raise BrokenShot
        into = None if spare is None else spare.take(height, width)
        pixels = simplejpeg.decode_jpeg(data, "RGB", fastdct=True, fastupsample=True, buffer=into, strict=not whole)
    except (ValueError, KeyError):  # the second for colours that it does not know
        raise BrokenShot from None
    head = data[: data.find(b"\xff\xda") + 1]
    return _upright(pixels, data) if any(each in head for each in _TURNING) else pixels


def _upright(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """Turn a JPEG's pixels as its EXIF block says."""
    from recognizer.photos import image_headers, images

    try:
        orientation = image_headers.read_jpeg(data).orientation
    except (RecognizerError, ValueError, IndexError, struct.error):
        return pixels
    return np.ascontiguousarray(images.upright(pixels, orientation))


def _shot(data: bytes, skipped: int, same: bool, spare: SparePixels) -> Shot:
    return Shot(
        lambda: decode_picture(data, spare),
        time.time(),
        time.perf_counter(),
        None,
        skipped,
        same,
        glance=lambda: glance_at(data),
        size=len(data),
    )


def glance_at(data: bytes) -> np.ndarray | None:
    """A camera's JPEG in grey and at an eighth of its size, for half of what decoding costs; None where it is no JPEG, is not
    whole, or is damaged."""
    import simplejpeg

    if not (data.startswith(b"\xff\xd8\xff") and data.endswith(b"\xff\xd9")):
        return None
    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
        if not 0 < height * width <= MOST_PIXELS:
            return None
        small = simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8)
    except (ValueError, KeyError):
        return None
    return small[..., 0]


# --- MJPEG -----------------------------------------------------------------------------------------------------------


def _boundary(parameters: str) -> bytes:
    found = re.search(r'boundary\s*=\s*(?:"([^"]*)"|([^\s;]+))', parameters, re.IGNORECASE)
    text = (found[1] or found[2] or "") if found else ""
    return text.strip().removeprefix("--").encode("latin-1", "replace")


class _Threaded:
    """A reader whose thread reads a connection; the camera takes the newest of what it read."""

    def __init__(self, stopper: Stopper, site: _Site):
        self._stopper, self.site = stopper, site
        self._changed = threading.Condition()
        self._shot: Shot | None = None
        self._skipped = 0
        self._spare = SparePixels()
        self._end: SourceLost | None = None
        self.closed = threading.Event()
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

    def put(self, data: bytes, same: bool) -> None:
        with self._changed:
            self._skipped += self._shot is not None
            self._shot = _shot(data, self._skipped, same, self._spare)
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
        self.closed.set()
        self.site.close()
        self._thread.join()


class MjpegReader(_Threaded):
    """JPEGs one after the other, in parts (multipart/x-mixed-replace) or bare, of which only the newest is kept.

    A reply without parts that ends after a single JPEG was a snapshot: then it is asked for again.
    """

    def __init__(self, stream: CameraStream, boundary: bytes | None, stopper: Stopper, site: _Site):
        self._stream, self._boundary = stream, boundary
        super().__init__(stopper, site)

    def _work(self) -> None:
        last = b""
        while True:
            last, count = self._read_all(last)
            if self._boundary is not None or count != 1 or self.closed.wait(SNAPSHOT_SECONDS):
                return
            self._stream = self.site.open()

    def _read_all(self, last: bytes) -> tuple[bytes, int]:
        """Read a reply to its end: its last picture, and how many there were."""
        parts, count = JpegStream(self._boundary or b""), 0
        try:
            while piece := self._stream.read():
                for picture in parts.feed(piece):
                    self.put(picture, picture == last)
                    last, count = picture, count + 1
            if (rest := parts.rest()) is not None:
                self.put(rest, rest == last)
                last, count = rest, count + 1
        finally:
            self._stream.close()
        return last, count


class SnapshotReader(_Threaded):
    """A URL that gives one picture, asked for again and again."""

    def __init__(self, site: _Site, stream: CameraStream, stopper: Stopper):
        self._first = stream
        super().__init__(stopper, site)

    def _work(self) -> None:
        last, due, stream = b"", time.monotonic(), self._first
        while True:
            due = max(due + SNAPSHOT_SECONDS, time.monotonic())
            try:
                data = b""
                while piece := stream.read():
                    data += piece
                    if len(data) > MOST_JPEG:
                        raise SourceLost(f"a picture of it has more than {MOST_JPEG} bytes")
            finally:
                stream.close()
            self.put(data, data == last)
            last = data
            if self.closed.wait(max(0.0, due - time.monotonic())):
                return
            stream = self.site.open()


# --- everything else -------------------------------------------------------------------------------------------------


class PipedReader:
    """A decoder that reads from a pipe what comes on the connection."""

    def __init__(self, stream: CameraStream, stopper: Stopper, site: _Site, timeout: float):
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
