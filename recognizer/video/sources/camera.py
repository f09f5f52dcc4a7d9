"""One camera: a thread reads its source and stores the newest frame; a lost source is opened again.

::

    camera = Camera(parse_source("rtsp://cam.local/main"))
    camera.start()
    frame = camera.wait(after=-1, timeout=10)
    camera.stop()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recognizer.video.frames import Frame
from recognizer.video.sources.base import BrokenShot, FrameReader, Shot, SourceEnded, SourceLost, Stopper
from recognizer.video.sources.reach import Reach
from recognizer.video.sources.readers import open_reader
from recognizer.video.sources.source import CameraSource, SourceView
from recognizer.video.stillness import SAFETY, UNSEEN, UsualSizes, alike

#: Seconds before a lost source is tried again: the first time, and at most. Each is varied by a quarter, so that
#: cameras that went together do not come back together.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
#: Number of frames in a row that cannot be decoded after which a source is opened again.
MOST_BROKEN = 25
#: Seconds of pictures of a single value after which the state of a live source reports it.
BLANK_AFTER = 3.0
#: No more frames than this are left out on purpose.
_MOST_LEFT_OUT = 100
#: A glance costs half of decoding, so while the picture moves only one of so many shots is glanced at.
_MOST_UNSEEN = 8
_TICK = 0.5
_RATE_OVER = 2.0

log = logging.getLogger("recognizer.video")


@dataclass(frozen=True, slots=True)
class CameraState:
    """The state of a camera.

    Attributes
    ----------
    name : {"idle", "connecting", "live", "frozen", "lost", "ended"}
    reason : str
        A sentence for people, without secrets. Empty if there is nothing to explain.
    since : float
        Seconds since the epoch.
    """

    name: str
    reason: str = ""
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class CameraTimeouts:
    """How long a camera waits, in seconds.

    Attributes
    ----------
    opening : float
        For its source to open.
    frozen : float
        Without a frame, until a live source is "frozen"; after twice that it is given up and opened anew.
    unchanged : float
        While frames are equal in every pixel, until a live source is "frozen".
    """

    opening: float = 10.0
    frozen: float = 5.0
    unchanged: float = 20.0


class ShotPixels:
    """The pixels of a camera's shots. A shot that shows what the last decoded one showed, but for noise, is not decoded, and
    has the same pixels; for at most `SAFETY` seconds. While a picture stands still, most shots are not even glanced at: one of
    the usual size passes for the same, for at most `UNSEEN` seconds. Any thread may call it."""

    def __init__(self, view: SourceView):
        self._view = view
        self._lock = threading.Lock()
        self._last: tuple[np.ndarray, np.ndarray, float] | None = None  # pixels, small copy, when they were taken
        self._moved = self._unseen = 0  # glances in a row that saw a change, and shots since the last glance
        self._sizes, self._same_at = UsualSizes(), float("-inf")  # of glances that saw no change, and when the last one did

    def of(self, shot: Shot) -> np.ndarray:
        """The pixels of a shot, changed as the view says.

        Raises
        ------
        BrokenShot
        """
        with self._lock:
            last = self._last
            self._unseen += 1
            glance = self._unseen > min(self._moved, _MOST_UNSEEN)
            fresh = last is not None and 0 <= shot.taken - last[2] < SAFETY
            unseen = fresh and 0 <= shot.taken - self._same_at < UNSEEN and shot.size is not None and self._sizes.has(shot.size)
        if last is not None and unseen:
            return last[0]
        copy = shot.glance() if glance else None
        if copy is not None:
            same = last is not None and alike(copy, last[1])
            with self._lock:
                self._unseen, self._moved = 0, 0 if same or not fresh else self._moved + 1
                self._same_at = shot.taken if same else float("-inf")
                if shot.size is not None and same:
                    self._sizes.note(shot.size)
                elif not same:
                    self._sizes.forget()
            if last is not None and fresh and same:
                return last[0]
        pixels = shot.load()
        if self._view:
            pixels = self._view.apply(pixels)
        if copy is not None:
            with self._lock:
                self._last = pixels, copy, shot.taken
        return pixels


class _Kept:
    """A shot with its number; it becomes a frame when it is first needed, once for all callers."""

    def __init__(self, shot: Shot, number: int, pixels: ShotPixels):
        self.number, self._shot, self._pixels = number, shot, pixels
        self._lock = threading.Lock()
        self._frame: Frame | None = None
        self._broken = False
        self.taken = False

    def frame(self) -> Frame | None:
        """The frame; None when it cannot be decoded."""
        with self._lock:
            if self._frame is None and not self._broken:
                try:
                    shot = self._shot
                    try:
                        pixels = self._pixels.of(shot)
                    finally:
                        shot.release()
                    self._frame = Frame(pixels, self.number, shot.time, shot.taken, shot.position)
                except BrokenShot:
                    self._broken = True
            return self._frame

    def drop(self) -> bool:
        """Release the shot; True if it was never taken."""
        with self._lock:
            untaken, self.taken = not self.taken, True
            if self._frame is None:
                self._broken = True  # it is not loaded any more
                self._shot.release()
            return untaken


class Camera:
    """Reads one source on a thread of its own, or through it in a process, and keeps only its newest frame.

    May be started again after it was stopped. All methods may be called from any thread, and none but `wait` and `stop`
    takes time.

    Parameters
    ----------
    source : CameraSource
    paced : bool
        A recording plays at its own pace, and frames that nobody takes in time are dropped. Without it, the next frame is
        read once the last one was taken, and none is dropped: for working through a file. Live sources are always paced.
    timeouts : CameraTimeouts
    reach : Reach, optional
        The addresses that a URL may lead to; by default all.
    id, name : str

    Attributes
    ----------
    turn_wanted : {0, 90, 180, 270}
        Degrees, clockwise, by which its pictures would have to be turned for faces to be upright; set by what searches them.
        0 if faces are upright, or if it is not known.
    """

    turn_wanted = 0

    def __init__(
        self,
        source: CameraSource,
        *,
        paced: bool = True,
        timeouts: CameraTimeouts = CameraTimeouts(),
        reach: Reach | None = None,
        id: str = "",
        name: str = "",
    ):
        self.source, self.id, self.name = source, id, name or source.shown
        self.paced = paced or source.live
        self._timeouts = timeouts
        self._reach = reach or Reach.everywhere()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._state = CameraState("idle", "", time.time())
        self._kept: _Kept | None = None
        self._pixels = ShotPixels(source.view)
        self._number = -1
        self._times: deque[tuple[float, int]] = deque(maxlen=256)
        self._counts = {"read": 0, "dropped": 0, "broken": 0, "connects": 0}
        self._watchers: list[Callable[[CameraState], None]] = []
        self._waiters: dict[tuple[asyncio.AbstractEventLoop, asyncio.Future], int] = {}  # and after which frame each waits
        self._unwanted = -1  # number of the last frame that whoever takes them asked to leave out
        self._stopper: Stopper | None = None
        self._thread: threading.Thread | None = None
        self._broken_in_a_row = 0
        self._blank: tuple[float, str] | None = None  # since when every picture was of one value, and what they are
        self._since: float | None = None  # the first frame of this connection; the camera's thread alone uses it

    def __repr__(self) -> str:
        return f"<Camera {self.id or self.source.shown!r}: {self._state.name}>"

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read; returns at once. Does nothing while it runs, and begins anew after "ended"."""
        with self._lock:
            if self._stopper is not None and self._state.name != "ended" and self.running:
                return
            self._stopper = Stopper()
            tell = self._set_state("connecting")
            self._thread = threading.Thread(
                target=self._run, args=(self._stopper, self._thread), name=f"camera-{self.id}", daemon=True
            )
            self._thread.start()
        tell()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop reading. If this returns within `timeout`, all of the camera has ended; waiting callers get None at once."""
        with self._lock:
            stopper, thread, self._stopper = self._stopper, self._thread, None
            kept, self._kept = self._kept, None
            tell = self._set_state("idle")
            self._wake()
        tell()
        if kept is not None:
            kept.drop()
        if stopper is not None:
            stopper.stop()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    @property
    def running(self) -> bool:
        """Whether a thread works for this camera."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    # -- how it is ----------------------------------------------------------------------------------------------

    @property
    def state(self) -> CameraState:
        return self._state

    @property
    def fps(self) -> float:
        """Frames per second that the source gave over the last two seconds; 0 if unknown."""
        with self._lock:
            now = time.perf_counter()
            recent = [each for each in self._times if now - each[0] <= _RATE_OVER]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    @property
    def counts(self) -> dict[str, int]:
        """Counts of frames that were read, dropped (a newer one came first) and broken, and of times the source was opened."""
        with self._lock:
            return dict(self._counts)

    def subscribe(self, callback: Callable[[CameraState], None]) -> Callable[[], None]:
        """Have `callback` called at each change of the state, on the thread that changes it; it must not wait.
        Returns a function that ends this."""
        with self._lock:
            self._watchers.append(callback)

        def end() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._watchers.remove(callback)

        return end

    # -- frames -------------------------------------------------------------------------------------------------

    def newest(self) -> Frame | None:
        """The newest frame; None before the first one, and after `stop`."""
        kept = self._kept
        return None if kept is None else self._take(kept)

    def wait(self, after: int, timeout: float | None = None) -> Frame | None:
        """The newest frame once its number is greater than `after`.

        None when `timeout` seconds have passed, when the source has ended, and while the camera is not started. Not for
        an event loop: see `next`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                while (kept := self._ready(after)) is None:
                    left = None if until is None else until - time.monotonic()
                    if self._over or (left is not None and left <= 0):
                        return None
                    self._changed.wait(left)
            frame = self._take(kept)
            if frame is not None:
                return frame
            after = kept.number

    async def next(self, after: int) -> Frame | None:
        """The newest frame once its number is greater than `after`; None when the source has ended or `stop` was called.

        `after` may be the number of a frame that is still to come: those up to it are not decoded, and not counted as dropped.
        Never blocks the event loop: pixels are copied or decoded elsewhere.
        """
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                kept = self._ready(after)
                if kept is None:
                    if self._over:
                        return None
                    waiter = (loop, loop.create_future())
                    self._waiters[waiter] = after
                    if after <= self._number + _MOST_LEFT_OUT:
                        self._unwanted = max(self._unwanted, after)
            if kept is None:
                try:
                    await waiter[1]
                finally:
                    with self._lock:
                        self._waiters.pop(waiter, None)
                continue
            frame = await loop.run_in_executor(None, self._take, kept)
            if frame is not None:
                return frame
            after = kept.number

    @property
    def waiting(self) -> int:
        """How many calls of `next` wait for a frame."""
        return len(self._waiters)

    @property
    def _over(self) -> bool:
        return self._state.name in ("idle", "ended")

    def _ready(self, after: int) -> _Kept | None:
        kept = self._kept
        return kept if kept is not None and kept.number > after else None

    def _take(self, kept: _Kept) -> Frame | None:
        frame = kept.frame()
        with self._changed:
            if not kept.taken:
                self._counts["broken"] += frame is None
                self._broken_in_a_row = self._broken_in_a_row + 1 if frame is None else 0
                self._note_blank(frame)
            kept.taken = True
            self._changed.notify_all()  # unpaced reading waits for this
        return frame

    def _note_blank(self, frame: Frame | None) -> None:
        """Note whether a picture shows nothing: every pixel of a grid has one value. The lock is held."""
        what = blank(frame.pixels) if frame is not None else ""
        if not what:
            self._blank = None
        elif self._blank is None or self._blank[1] != what:
            self._blank = time.monotonic(), what

    @property
    def _remark(self) -> str:
        """The reason of the state "live", if it has one."""
        noted = self._blank
        return noted[1] if noted is not None and time.monotonic() - noted[0] > BLANK_AFTER else ""

    def _wake(self) -> None:
        """Wake all waiting callers; the lock is held."""
        self._changed.notify_all()
        waiters, self._waiters = self._waiters, {}
        for loop, future in waiters:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(_settle, future)

    def _set_state(self, name: str, reason: str = "") -> Callable[[], None]:
        """Change the state; the lock is held. Returns a function that notifies subscribers, to be called without the lock."""
        before = self._state
        if (name, reason) == (before.name, before.reason):
            return lambda: None
        state = self._state = CameraState(name, reason, before.since if name == before.name else time.time())
        watchers = list(self._watchers)
        self._wake()

        def tell() -> None:
            level = logging.WARNING if name in ("lost", "frozen") else logging.INFO
            log.log(level, "camera %s: %s%s", self.id or self.source.shown, name, f": {reason}" if reason else "")
            for watcher in watchers:
                try:
                    watcher(state)
                except Exception:
                    log.exception("camera %s: whoever is told of its state failed", self.id)

        return tell

    # -- the camera's thread ------------------------------------------------------------------------------------

    def _run(self, stopper: Stopper, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # one run at a time touches the source
        wait = FIRST_WAIT
        try:
            while not stopper.stopped:
                self._since, self._broken_in_a_row, self._blank = None, 0, None
                try:
                    self._read_once(stopper)
                    return
                except SourceLost as lost:
                    self._say(stopper, "lost", str(lost))
                except SourceEnded as end:
                    self._count_skipped(end.skipped, stopper)
                    return self._say(stopper, "ended", str(end))
                except Exception:
                    log.exception("camera %s: reading it failed", self.id)
                    self._say(stopper, "lost", "reading it failed; the server's log says how")
                if self._since is not None and not self._broken_in_a_row:
                    wait = FIRST_WAIT  # it gave pictures: a source that fails every few seconds is opened again quickly
                stopper.wait(wait * random.uniform(0.75, 1.25))
                wait = min(2 * wait, LONGEST_WAIT)
        finally:
            with self._lock:
                self._wake()

    def _say(self, stopper: Stopper, name: str, reason: str = "") -> None:
        """Change the state, unless this run has ended: then the state belongs to the next one."""
        with self._lock:
            if self._stopper is not stopper:
                return
            tell = self._set_state(name, reason)
        tell()

    def _count_skipped(self, skipped: int, stopper: Stopper) -> None:
        with self._lock:
            if self._stopper is stopper:
                self._counts["read"] += skipped
                self._counts["dropped"] += skipped

    def _read_once(self, stopper: Stopper) -> None:
        """Open the source and read it until it is lost or ended (both raised) or the camera is to stop."""
        with self._lock:
            self._counts["connects"] += 1
        reader = open_reader(self.source, stopper=stopper, reach=self._reach, paced=self.paced, timeout=self._timeouts.opening)
        try:
            self._follow(reader, stopper)
        finally:
            reader.close()

    def _follow(self, reader: FrameReader, stopper: Stopper) -> None:
        begun = last = changed = time.monotonic()
        frozen, unchanged = self._timeouts.frozen, self._timeouts.unchanged
        patience = self._timeouts.opening + 2 * frozen
        while not stopper.stopped:
            shot = reader.read(min(_TICK, frozen / 4))
            now = time.monotonic()
            if shot is None:
                if not self.source.live:
                    continue
                if self._since is None:
                    if now - begun > patience:
                        raise SourceLost("it was opened, but no picture came")
                elif now - last > 2 * frozen:
                    raise SourceLost(f"no picture came for {2 * frozen:g} seconds")
                elif now - last > frozen:
                    self._say(stopper, "frozen", f"no picture came for {frozen:g} seconds")
                continue
            last = now
            if self._since is None:
                self._since = changed = now
            if not shot.same:
                changed = now
            if self._broken_in_a_row >= MOST_BROKEN:
                raise SourceLost("its pictures are damaged")
            if self.source.live and now - changed > unchanged:
                reason = f"the picture has not changed for {unchanged:g} seconds"
                self._say(stopper, "frozen", f"{reason}; {self._remark}" if self._remark else reason)
            elif (self._state.name, self._state.reason) != ("live", remark := self._remark):
                self._say(stopper, "live", remark)
            self._keep(shot, stopper)

    def _keep(self, shot: Shot, stopper: Stopper) -> None:
        """Make a shot the newest; unpaced, wait until it was taken."""
        with self._lock:
            if self._stopper is not stopper:
                return shot.release()
            self._number += 1 + shot.skipped
            self._counts["read"] += 1 + shot.skipped
            self._counts["dropped"] += shot.skipped
            self._times.append((time.perf_counter(), self._number))
            before, kept = self._kept, _Kept(shot, self._number, self._pixels)
            wanted = any(self._number > after for after in self._waiters.values())
        if wanted:
            kept.frame()  # a caller waits for it: decoding it here saves a change of threads
        with self._changed:
            if self._stopper is not stopper:
                kept.drop()
                return
            self._kept = kept
            self._wake()
        if before is not None and before.drop():  # without the lock: it waits for whoever decodes it at the moment
            with self._lock:
                self._counts["dropped"] += before.number > self._unwanted
        if not self.paced:
            with stopper.calling(self._wake_locked), self._changed:
                while not kept.taken and self._stopper is stopper and not stopper.stopped:
                    self._changed.wait()

    def _wake_locked(self) -> None:
        with self._lock:
            self._wake()


def blank(pixels: np.ndarray) -> str:
    """The problem of a picture that shows nothing; empty for all others."""
    grid = pixels[:: max(1, pixels.shape[0] // 64), :: max(1, pixels.shape[1] // 64)]
    if int(grid.max()) <= 2:
        return "every picture is black"
    apart = int((grid.max(axis=(0, 1)) - grid.min(axis=(0, 1))).max())
    return "every picture is of a single colour" if apart <= 2 else ""


def _settle(future: asyncio.Future) -> None:
    if not future.done():
        future.set_result(None)
