"""Pictures for viewers: each distinct view of a camera is drawn and encoded once for all its viewers.

::

    offer(picture) -> newest only -> drawn and encoded on a thread, if somebody waits -> the same bytes for all viewers

A viewer requests the picture after the one it had. A slow viewer gets the newest and skips the rest; nothing queues, and no
viewer waits for another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.video.output.overlay import USUAL_LAYERS, parse_layers

BOUNDARY = "frame"
CONTENT_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
#: The first bytes of a stream. Every part ends with the next boundary, since browsers show a part when they see that.
OPENING = f"--{BOUNDARY}\r\n".encode()
USUAL_QUALITY = 80
#: Limits of the parameters of a view.
LIMITS = {"width": (16, 7680), "fps": (0.1, 120), "quality": (1, 100)}
#: Seconds after which a waiting viewer checks whether its client is still connected.
_LOOK = 0.25
#: How much earlier than due a picture is accepted, as a share of the interval: sources are never quite regular.
_EARLY = 0.2
_RATE_SECONDS = 2.0

log = logging.getLogger("recognizer.video")

#: Makes a picture, RGB uint8 (H, W, 3), given the rate at which the view shows pictures.
Make = Callable[[float], np.ndarray]


@dataclass(frozen=True, slots=True)
class ViewKey:
    """What makes a view distinct.

    Attributes
    ----------
    camera : str
        Its id.
    width : int or None
        In pixels; None is the camera's own, which is the maximum.
    quality : int
        Of the JPEGs, 1 to 100.
    fps : float or None
        Maximum number of pictures per second; None for all.
    layers : frozenset of str
        See `overlay.LAYERS`.
    """

    camera: str
    width: int | None = None
    quality: int = USUAL_QUALITY
    fps: float | None = None
    layers: frozenset[str] = USUAL_LAYERS


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An encoded picture of a view.

    Attributes
    ----------
    number : int
        Counts the pictures that were offered to the view, from 1; a gap means skipped pictures.
    time : float
        Seconds since the epoch, when the picture was taken.
    card : bool
        Whether it is a card with the reason why there is no picture.
    settled : bool
        Whether everybody in it was followed long enough to be decided.
    jpeg : bytes
    part : bytes
        The same as a part of the stream, made once for all viewers.
    """

    number: int
    time: float
    card: bool
    settled: bool
    jpeg: bytes
    part: bytes


def view_key(
    camera: str,
    width: int | None = None,
    fps: float | None = None,
    quality: int | None = None,
    overlay: str | None = None,
) -> ViewKey:
    """A view by its parameters; None is the default. `overlay` is as `overlay.parse_layers` reads it.

    Raises
    ------
    InvalidParameter
    """
    layers = USUAL_LAYERS if overlay is None else parse_layers(overlay)
    for name, value in (("width", width), ("fps", fps), ("quality", quality)):
        least, most = LIMITS[name]
        if value is not None and not least <= value <= most:  # NaN is neither
            raise InvalidParameter(f"{name}: expected {least} to {most}, got {value}")
    return ViewKey(camera, width, USUAL_QUALITY if quality is None else quality, fps, layers)


def as_part(jpeg: bytes, time: float) -> bytes:
    """A JPEG as a part of a stream, the next boundary included."""
    head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\nX-Timestamp: {time:.6f}\r\n\r\n"
    return b"".join((head.encode(), jpeg, b"\r\n", OPENING))


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """RGB uint8 (H, W, 3) as JPEG."""
    import simplejpeg

    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality, colorspace="RGB", colorsubsampling="420", fastdct=True)


class View:
    """The pictures of one `ViewKey`.

    Owns the newest picture offered and the newest encoded one, under its lock. Every method may be called from any
    thread; `offer` never waits.

    Parameters
    ----------
    key : ViewKey
    submit : callable
        Runs a function on a thread, soon.
    timed : callable
        Called with "encode" and its seconds for each picture, on the encoding thread.

    Attributes
    ----------
    encoded, skipped : int
        Numbers of pictures that were encoded, and of those that no viewer requested in time.
    """

    def __init__(
        self,
        key: ViewKey,
        submit: Callable[[Callable[[], None]], object],
        timed: Callable[[str, float], None] = lambda stage, seconds: None,
    ):
        self.key, self._timed = key, timed
        self.encoded = self.skipped = 0
        self._submit = submit
        self._changed = threading.Condition(threading.Lock())
        self._offered: tuple[int, float, bool, bool, Make] | None = None
        self._number = 0
        self._newest: Encoded | None = None
        self._waiting = 0
        self._wakes: set[Callable[[], None]] = set()
        self._encoding = self._closed = False
        self._due = 0.0
        self._times: deque[float] = deque()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def fps(self) -> float:
        """The recent number of pictures per second; 0 if unknown."""
        times = self._times
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0

    def offer(self, make: Make, *, taken: float, time: float, card: bool = False, settled: bool = True) -> bool:
        """Offer a newer picture; returns whether the view takes it, which its `fps` limits.

        Parameters
        ----------
        make : callable
            Makes the picture, on another thread, if a viewer wants it.
        taken : float
            When it was taken, on `time.perf_counter`'s clock.
        time : float
            The same in seconds since the epoch.
        card : bool
            Whether it is a card with the reason why there is no picture; cards are taken at any rate.
        settled : bool
            See `Encoded`.
        """
        with self._changed:
            if self._closed or not (card or self._is_due(taken)):
                return False
            if self._offered is not None:
                self.skipped += 1
            self._number += 1
            self._offered = (self._number, time, card, settled, make)
            self._begin()
            return True

    def _is_due(self, taken: float) -> bool:
        if self.key.fps is not None:
            interval = 1 / self.key.fps
            if taken < self._due - _EARLY * interval:
                return False
            self._due = (taken if taken > self._due + interval else self._due) + interval
        self._times.append(taken)
        while taken - self._times[0] > _RATE_SECONDS:
            self._times.popleft()
        return True

    def next(self, after: int = 0, timeout: float | None = None) -> Encoded | None:
        """The newest picture, if its number is above `after`, else the next one; None after `timeout` seconds or when
        the view closed."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._waiting += 1
            before = self._newest
            try:
                while not self._closed:
                    self._begin()
                    newest = self._newest
                    # What is offered is newer than what is encoded: it is worth waiting its few milliseconds for, once.
                    if newest is not None and newest.number > after and (newest is not before or not self._encoding):
                        return newest
                    left = None if until is None else until - time.monotonic()
                    if left is not None and left <= 0:
                        return None
                    self._changed.wait(left)
                return None
            finally:
                self._waiting -= 1

    def ask(self, after: int, wake: Callable[[], None]) -> Encoded | None:
        """The newest picture, if its number is above `after`, without waiting; else None, and `wake` is called once, from any
        thread, as soon as there is another picture or the view is closed."""
        with self._changed:
            self._wakes.add(wake)
            self._begin()
            newest = self._newest
            if newest is None or newest.number <= after or self._encoding:
                return None
            self._wakes.discard(wake)
            return newest

    def stop_asking(self, wake: Callable[[], None]) -> None:
        """`wake` is not called any more."""
        with self._changed:
            self._wakes.discard(wake)

    def _begin(self) -> None:
        """Start encoding the offered picture, if a viewer waits for it. The lock is held."""
        if self._offered is None or self._encoding or self._closed or not (self._waiting or self._wakes):
            return
        self._encoding = True
        try:
            self._submit(self._encode)
        except RuntimeError:  # the threads ended
            self._encoding = False

    def _encode(self) -> None:
        with self._changed:
            offered, self._offered = self._offered, None
            fps = self.fps
        made, began = None, time.perf_counter()
        try:
            if offered is not None:
                number, when, card, settled, make = offered
                jpeg = encode(make(fps), self.key.quality)
                made = Encoded(number, when, card, settled, jpeg, as_part(jpeg, when))
                self._timed("encode", time.perf_counter() - began)
        except Exception:
            log.exception("a picture of camera %s could not be drawn", self.key.camera)
        finally:
            with self._changed:
                self._encoding = False
                if made is not None:
                    self._newest = made
                    self.encoded += 1
                wakes, self._wakes = self._wakes, set()
                self._changed.notify_all()
            for wake in wakes:
                wake()

    def close(self) -> None:
        """End the view: waiting viewers get None."""
        with self._changed:
            self._closed = True
            self._offered = self._newest = None
            wakes, self._wakes = self._wakes, set()
            self._changed.notify_all()
        for wake in wakes:
            wake()


class Viewer:
    """One viewer of a view: a file-like object without end, as WSGI servers send it.

    Parameters
    ----------
    view : View
    leave : callable
        Called once, when the viewer is gone.
    over : callable returning bool, optional
        Whether the viewer is gone, or the server ends; called a few times per second.
    """

    def __init__(self, view: View, leave: Callable[[], None], over: Callable[[], bool] | None = None):
        self.view = view
        self._leave, self._over = leave, over or (lambda: False)
        self._number = -1
        self._lock = threading.Lock()
        self._left = False

    def read(self, size: int = -1) -> bytes:
        """The next part, whatever `size` is; nothing when the stream ends."""
        if self._number < 0:
            self._number = 0
            return OPENING
        while not (self._left or self.view.closed or self._over()):
            found = self.view.next(self._number, _LOOK)
            if found is not None:
                self._number = found.number
                return found.part
        return b""

    def close(self) -> None:
        with self._lock:
            left, self._left = self._left, True
        if not left:
            self._leave()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_) -> None:
        self.close()
