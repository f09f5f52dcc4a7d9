"""The server's video: which cameras run, who watches them, and what viewers see while there is no picture.

A camera's pipeline runs while it is needed: by a viewer, by a snapshot, or because it always runs. It stops a few
seconds after the last need ended, so that looking at it again and again does not open it again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from recognizer.core.answers import ATTRIBUTES
from recognizer.core.errors import Busy, CameraElsewhere, CameraUnavailable
from recognizer.video.camera_settings import PLAIN, CameraSettings
from recognizer.video.frames import FrameResult, TrackedFace, Vision
from recognizer.video.output import overlay
from recognizer.video.output.mjpeg import Encoded, View, Viewer, ViewKey
from recognizer.video.output.wall import WallViewer
from recognizer.video.sources.camera import Camera, CameraState
from recognizer.video.sources.cameras import CameraEntry, Cameras
from recognizer.video.spare_pixels import SparePixels
from recognizer.video.tracking.pipeline import Pipeline, Wants

#: Seconds for which a camera goes on after it is no longer needed.
LINGER = 5.0
#: Seconds that a snapshot waits for a camera that has to be opened first.
SNAPSHOT_SECONDS = 8.0
#: Seconds that a snapshot waits for the names of the people in it.
NAMES_SECONDS = 1.5
#: Maximum number of waiting snapshots; further ones get Busy, because each occupies a thread that answers requests.
SNAPSHOTS = 8
#: Seconds between two pictures of a view while nothing in them changes.
STILL_EVERY = 0.5
#: Seconds between two cards.
_CARD_EVERY = 1.0
#: Seconds without a result after which a camera that should be live gets a card too.
_LATE = 3.0
#: Seconds before a pipeline that failed is started again, after its first failure in a row, the second and so on.
_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
#: Seconds that a pipeline has to run for its next failure to count as a first one.
_HEALTHY_SECONDS = 60.0
#: Size of a card where no frame was seen yet.
_CARD_SIZE = (1280, 720)
#: The text of a card for each state of a camera.
_TITLES = {
    "idle": "Connecting to {}",
    "connecting": "Connecting to {}",
    "live": "Waiting for {}",
    "frozen": "{} is frozen",
    "lost": "No picture from {}",
    "ended": "{} has ended",
}

log = logging.getLogger("recognizer.video")

Observer = Callable[[CameraEntry, FrameResult], None]


class _Channel:
    """One camera, while the server runs: its session, its views, and who needs it.

    `views`, `needs` and `latest` are changed under the lock of `Live`; all else belongs to the loop's thread.
    """

    def __init__(self, entry: CameraEntry):
        self.entry = entry
        self.views: dict[ViewKey, tuple[View, int]] = {}
        self.needs = 0
        self.changed = asyncio.Event()
        self.removed = False
        self.state: CameraState | None = None
        self.size: tuple[int, int] | None = None
        self.last_result = 0.0
        self.drawn: dict[View, tuple[float, tuple]] = {}  # when, and what of the faces and objects
        self.trouble = ""
        self.task: asyncio.Task | None = None

    @property
    def needed(self) -> bool:
        return not self.removed and (self.needs > 0 or self.entry.runs_always)

    def wants(self, attributes: frozenset[str]) -> Wants:
        """What the views show, and `attributes` that others want."""
        layers = frozenset().union(*(key.layers for key in list(self.views)))
        looks = attributes | layers.intersection(ATTRIBUTES)
        return Wants("landmarks68" in layers, "objects" in layers, attributes=looks, every_picture=bool(self.views))


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How live video is made.

    Attributes
    ----------
    font : path, optional
        For names.
    encoders : int
        Number of pictures that are encoded at once.
    linger : float
        Seconds for which a camera goes on after it was last needed.
    attributes : frozenset of str
        What observers need of each face, whoever watches.
    """

    font: Path | None = None
    encoders: int = 2
    linger: float = LINGER
    attributes: frozenset[str] = frozenset()


class Live:
    """Cameras' pipelines on one asyncio loop, and the views of them.

    Owns the loop and its thread, which start when they are first needed, the threads that encode pictures, and which
    camera runs. Every method may be called from any thread.

    Parameters
    ----------
    cameras : Cameras
        The list of cameras.
    vision : Vision
        Detects and recognises on their frames.
    executor : Executor
        Runs the work on frames; its maker shuts it down, after this is closed.
    options : LiveOptions
    observers : sequence of callable
        Each is called with the camera's entry and each of its results, less the faces that the camera's settings exclude,
        on the loop's thread: it must not take longer than a millisecond. Where it has a method `state`, that is called with
        the entry and each new `CameraState`; where it has a method `stopped`, that is called with the entry once the camera
        is stopped or removed; where it has a method `gone`, that is called with the entry when the camera is removed, or read
        by another node from now on.
    timed : callable
        Called, from any thread, with the name of each stage that was completed for a picture, and its seconds.
    vision_of : callable, optional
        Returns the vision of one camera, instead of `vision`.
    settings_of : callable
        Returns the settings of a camera, by its id, as they are now.
    """

    def __init__(
        self,
        cameras: Cameras,
        vision: Vision,
        *,
        executor: Executor,
        options: LiveOptions = LiveOptions(),
        observers: Sequence[Observer] = (),
        timed: Callable[[str, float], None] = lambda stage, seconds: None,
        vision_of: Callable[[CameraEntry], Vision] | None = None,
        settings_of: Callable[[str], CameraSettings] = lambda camera: PLAIN,
    ):
        self._settings_of = settings_of
        self._vision_of = vision_of or (lambda entry: vision)
        self.cameras, self.vision = cameras, vision
        self.font, self.linger, self.attributes = options.font, options.linger, options.attributes
        self.observers = tuple(observers)
        self._timed = timed
        self._lock = threading.Lock()
        self._channels: dict[str, _Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._snapshots = threading.BoundedSemaphore(SNAPSHOTS)
        self._unsubscribe = cameras.subscribe(self._camera_changed)
        self._executor = executor
        self._spare = SparePixels()  # for drawn pictures, which are encoded at once
        self._encoders = ThreadPoolExecutor(options.encoders, thread_name_prefix="video-out")

    # -- watching -----------------------------------------------------------------------------------------------

    def watch(self, key: ViewKey, over: Callable[[], bool] | None = None) -> Viewer:
        """A viewer of `key`; the camera runs until it is closed, and a little longer.

        Parameters
        ----------
        key : ViewKey
        over : callable returning bool, optional
            Whether the viewer is gone.

        Raises
        ------
        CameraNotFound, Busy
        """
        channel, view = self._join(key)
        return Viewer(view, lambda: self._leave(channel, key), over)

    def watch_all(self, keys: Sequence[ViewKey], over: Callable[[], bool] | None = None) -> WallViewer:
        """One viewer of several cameras, which run until it is closed.

        Parameters
        ----------
        keys : sequence of ViewKey
            Each of another camera.
        over : callable returning bool, optional
            Whether the viewer is gone.

        Raises
        ------
        CameraNotFound, CameraElsewhere, Busy
        """
        with contextlib.ExitStack() as joined:
            views = {}
            for key in keys:
                channel, views[key.camera] = self._join(key)
                joined.callback(self._leave, channel, key)
            return WallViewer(views, joined.pop_all().close, over)

    @contextlib.contextmanager
    def view(self, key: ViewKey) -> Iterator[View]:
        """The view of `key`, while the block runs.

        Raises
        ------
        CameraNotFound, Busy
        """
        channel, view = self._join(key)
        try:
            yield view
        finally:
            self._leave(channel, key)

    def snapshot(self, key: ViewKey, timeout: float = SNAPSHOT_SECONDS) -> Encoded:
        """The next picture of `key`; the camera is opened if necessary, and people in the picture have a moment to get a name.

        Raises
        ------
        CameraNotFound, Busy
        CameraUnavailable
            There is none within `timeout` seconds, or the camera has failed.
        """
        if not self._snapshots.acquire(blocking=False):
            raise Busy("too many snapshots wait for their cameras; try again shortly")
        until = time.monotonic() + timeout
        try:
            with self.view(replace(key, fps=None)) as view:
                found = view.next(0, timeout)
                while found is not None and found.card and (left := until - time.monotonic()) > 0:
                    if self._state(key.camera) in ("lost", "frozen", "ended"):
                        break
                    found = view.next(found.number, left)
                until = min(until, time.monotonic() + NAMES_SECONDS)
                while found and "faces" in key.layers and not found.settled and (left := until - time.monotonic()) > 0:
                    newer = view.next(found.number, left)
                    if newer is None or newer.card:
                        break
                    found = newer
        finally:
            self._snapshots.release()
        if found is None or found.card:
            raise CameraUnavailable(f"camera {key.camera!r} gave no picture: {self._why(key.camera)}")
        return found

    def _state(self, camera: str) -> str | None:
        channel = self._channels.get(camera)
        state = channel.state if channel else None
        return state.name if state else None

    def _why(self, camera: str) -> str:
        channel = self._channels.get(camera)
        state = channel.state if channel else None
        if channel and channel.trouble:
            return channel.trouble
        if state and state.name == "live":
            damaged = channel is not None and channel.size is None and channel.entry.camera.counts["broken"]
            return "its pictures are damaged" if damaged else "none was ready in time"
        return (state and state.reason) or "it was not opened in time"

    def viewers(self, camera: str | None = None) -> int:
        """Viewers and snapshots at this moment, of one camera or of all."""
        with self._lock:
            channels = [channel for name, channel in self._channels.items() if camera in (None, name)]
            return sum(count for channel in channels for _, count in channel.views.values())

    def running(self) -> list[str]:
        """Ids of the cameras whose pipeline runs."""
        with self._lock:
            return [name for name, channel in self._channels.items() if channel.state is not None]

    def summary(self) -> dict:
        """Plain data about viewers and running cameras."""
        return {"viewers": self.viewers(), "running": self.running()}

    def _join(self, key: ViewKey) -> tuple[_Channel, View]:
        entry = self.cameras.get(key.camera)
        if not entry.here:
            raise CameraElsewhere(f"camera {key.camera!r} is read by another node")
        with self._lock:
            channel = self._channel(entry)
            view, count = channel.views.get(key) or (View(key, self._encoders.submit, self._timed), 0)
            channel.views = {**channel.views, key: (view, count + 1)}
            channel.needs += 1
            self._notify(channel)
            return channel, view

    def _leave(self, channel: _Channel, key: ViewKey) -> None:
        with self._lock:
            views = dict(channel.views)
            if key in views:
                view, count = views[key]
                views[key] = (view, count - 1)
                if count <= 1:
                    del views[key]
                    view.close()
            channel.views = views
            channel.needs -= 1
            self._notify(channel)

    # -- cameras ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the cameras that always run."""
        for entry in self.cameras.all():
            self._camera_changed("added", entry)

    def _camera_changed(self, what: str, entry: CameraEntry) -> None:
        """End the views of a camera that was removed, or that another node reads now.

        Those of a changed one continue with its new source.
        """
        with self._lock:
            channel = self._channels.get(entry.id)
            if self._closed or (channel is None and not (entry.runs_always and what != "removed")):
                return
            if channel is not None and (what == "removed" or not entry.here):
                channel = self._channels.pop(entry.id)
                self._remove(channel)
                self._started_loop().call_soon_threadsafe(self._tell_observers, "gone", channel.entry)
            else:
                channel = self._channel(entry)
                channel.entry = entry
            self._notify(channel)

    def _remove(self, channel: _Channel) -> None:
        channel.removed = True
        for view, _ in channel.views.values():
            view.close()

    def _channel(self, entry: CameraEntry) -> _Channel:
        """The camera's channel, created if necessary. The lock is held."""
        if self._closed:
            raise Busy("the server is closing")
        channel = self._channels.get(entry.id)
        if channel is None:
            loop = self._started_loop()
            channel = self._channels[entry.id] = _Channel(entry)
            loop.call_soon_threadsafe(self._supervise, channel)
        return channel

    def _notify(self, channel: _Channel) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(channel.changed.set)

    # -- the loop -----------------------------------------------------------------------------------------------

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run_loop, name="video-loop", daemon=True)
            self._thread.start()
        return self._loop

    def _run_loop(self) -> None:
        loop = self._loop
        assert loop is not None  # `_started_loop` made it
        asyncio.set_event_loop(loop)
        loop.run_forever()

    def _supervise(self, channel: _Channel) -> None:
        assert self._loop is not None  # this runs on it
        channel.task = self._loop.create_task(self._run(channel), name=f"camera {channel.entry.id}")

    async def _run(self, channel: _Channel) -> None:
        """Run one session after the other until the camera is removed; never two at once, so that a device is opened once."""
        while not channel.removed:
            if channel.needed:
                try:
                    await self._session(channel)
                except Exception:
                    log.exception("camera %s could not be run", channel.entry.id)
                    await asyncio.sleep(_RETRY_SECONDS[-1])
            else:
                channel.changed.clear()
                if not channel.needed and not channel.removed:
                    await channel.changed.wait()

    async def _session(self, channel: _Channel) -> None:
        camera = channel.entry.camera
        loop = asyncio.get_running_loop()
        channel.state, channel.last_result, channel.trouble = camera.state, time.perf_counter(), ""

        def told(state: CameraState) -> None:
            with contextlib.suppress(RuntimeError):  # the loop ended
                loop.call_soon_threadsafe(self._state_changed, channel, state)

        unsubscribe = camera.subscribe(told)
        camera.start()
        work = [asyncio.ensure_future(self._pipeline(channel, camera)), asyncio.ensure_future(self._cards(channel))]
        try:
            await self._unneeded(channel, camera)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            unsubscribe()
            await asyncio.shield(loop.run_in_executor(None, camera.stop))
            channel.state = None
            self._tell_observers("stopped", channel.entry)

    def _tell_observers(self, what: str, entry: CameraEntry, *more: CameraState) -> None:
        """Call a method of the observers that have it."""
        for observer in self.observers:
            if hasattr(observer, what):
                try:
                    getattr(observer, what)(entry, *more)
                except Exception:
                    log.exception("an observer of camera %s failed", entry.id)

    async def _unneeded(self, channel: _Channel, camera: Camera) -> None:
        """Return once the camera was not needed for a while, or at once when it is removed or replaced."""
        while not channel.removed and channel.entry.camera is camera:
            channel.changed.clear()
            if channel.needed:
                await channel.changed.wait()
                continue
            try:
                await asyncio.wait_for(channel.changed.wait(), self.linger)
            except asyncio.TimeoutError:
                if not channel.needed:
                    return

    async def _pipeline(self, channel: _Channel, camera: Camera) -> None:
        failures = 0
        while True:
            pipeline = Pipeline(
                camera,
                self._vision_of(channel.entry),
                executor=self._executor,
                wants=partial(channel.wants, self.attributes),
                timed=self._timed,
                settings=partial(self._settings_of, channel.entry.id),
            )
            begun = time.monotonic()
            try:
                await pipeline.run(lambda result: self._publish(channel, result))
                return  # the source ended
            except Exception:
                log.exception("the pipeline of camera %s failed", channel.entry.id)
            if time.monotonic() - begun > _HEALTHY_SECONDS:
                failures = 0
            channel.trouble = "recognition failed here; the server's log says why. It is tried again."
            self._offer_cards(channel)
            await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
            failures += 1

    # -- what comes of it ---------------------------------------------------------------------------------------

    def _publish(self, channel: _Channel, result: FrameResult) -> None:
        frame = result.frame
        channel.size, channel.last_result, channel.trouble = (frame.width, frame.height), time.perf_counter(), ""
        noted = self._settings_of(channel.entry.id).noted(result)
        for observer in self.observers:
            try:
                observer(channel.entry, noted)
            except Exception:
                log.exception("an observer of camera %s failed", channel.entry.id)
        if channel.state is not None and channel.state.name in ("frozen", "lost"):
            return  # a card is shown; the same old frame would only make it flicker
        settled = result.searched and all(face.decided for face in result.faces)
        shown = (*map(_drawn, result.faces), *result.objects)
        drawn, channel.drawn = channel.drawn, {}
        for key, (view, _) in channel.views.items():
            when, before = channel.drawn[view] = drawn.get(view, (float("-inf"), ()))
            if result.still and shown == before and frame.taken - when < STILL_EVERY:
                continue
            if view.offer(partial(self._draw, result, key), taken=frame.taken, time=frame.time, settled=settled):
                channel.drawn[view] = frame.taken, shown

    def _draw(self, result: FrameResult, key: ViewKey, fps: float) -> np.ndarray:
        return overlay.draw(result, layers=key.layers, font=self.font, width=key.width, fps=fps, spare=self._spare)

    def _card(self, size: tuple[int, int], title: str, reason: str, now: float, fps: float) -> np.ndarray:
        width, height = size
        return overlay.card(width, height, title, reason, self.font, clock=now)

    def _state_changed(self, channel: _Channel, state: CameraState) -> None:
        channel.state = state
        if not channel.removed:  # the next one of this id may have begun
            self._tell_observers("state", channel.entry, state)
        if state.name != "live":
            self._offer_cards(channel)

    async def _cards(self, channel: _Channel) -> None:
        """While there is no picture, show the reason repeatedly: later viewers see it too, and lost viewers are noticed."""
        while True:
            late = time.perf_counter() - channel.last_result > _LATE
            if channel.state is None or channel.state.name != "live" or late or channel.trouble:
                self._offer_cards(channel)
            await asyncio.sleep(_CARD_EVERY)

    def _offer_cards(self, channel: _Channel) -> None:
        state, now = channel.state, time.time()
        title = _TITLES[state.name if state else "idle"].format(channel.entry.name or channel.entry.id)
        reason = channel.trouble or (state.reason if state else None) or ""
        if state and state.name in ("frozen", "lost", "ended"):
            reason += f"\nSince {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(state.since))}."
        for key, (view, _) in channel.views.items():
            size = _card_size(channel.size or _CARD_SIZE, key.width)
            view.offer(
                partial(self._card, size, title, reason[:1].upper() + reason[1:], now),
                taken=time.perf_counter(),
                time=now,
                card=True,
            )

    # -- the end ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all viewers, stop all cameras, and end all threads."""
        with self._lock:
            closed, self._closed = self._closed, True
            channels = list(self._channels.values())
            for channel in channels:
                self._remove(channel)
                self._notify(channel)
        if closed:
            return
        self._unsubscribe()
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            if self._thread is not None:
                self._thread.join()
            self._loop.close()
        self._encoders.shutdown(wait=True, cancel_futures=True)

    async def _finish(self) -> None:
        """Wait for every task but this one; channels that were removed end by themselves."""
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        _, hanging = await asyncio.wait(others, timeout=10.0) if others else ((), ())
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()


def _drawn(face: TrackedFace) -> tuple:
    """What is drawn of a face."""
    return face.track, face.box, face.decided, face.seen.match, face.seen.attributes


def _card_size(size: tuple[int, int], width: int | None) -> tuple[int, int]:
    if width is None or width >= size[0]:
        return size
    return width, max(1, round(size[1] * width / size[0]))
