"""The asyncio pipeline that detects, tracks and names faces on a camera's frames, for programs and for the server.

Everything that takes long runs in an executor. A picture of a live source waits for its faces only as long as the next
one is not held up; beyond that it goes out with the faces where they are expected, and what was found in it counts from
then on. Where pictures come seldom, that is everything. Pictures of a recording that is not played at its own speed are each
looked at completely.

A picture of a live source that shows what the last examined one showed is not examined: its faces are the same. Once a second
one is examined all the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from recognizer.core.errors import InvalidParameter, ModelError
from recognizer.core.types import Faces
from recognizer.photos import images
from recognizer.photos.results import FoundObject
from recognizer.video.camera_settings import PLAIN, CameraSettings
from recognizer.video.frames import Frame, FrameResult, Vision
from recognizer.video.stillness import SAFETY, alike, small_copy
from recognizer.video.tracking.cuts import Cuts
from recognizer.video.tracking.lying import LyingFaces
from recognizer.video.tracking.pace import Pace
from recognizer.video.tracking.scene import ENOUGH_PASSES, Due, TrackedScene, single

log = logging.getLogger(__name__)

#: Maximum number of faces that are described per picture: a crowd must not delay the following pictures.
DESCRIBED_AT_ONCE = 3
#: Number of failed calls in a row after which the engine counts as broken.
PERMANENT = 20
#: Seconds for which landmarks or objects are not tried again after a failure.
RESTS = 10.0
#: Seconds to the next picture from which on one is not given before everything that is done for it is done; and for which
#: the first one waits, since nobody knows when the next will come.
LEISURE = FIRST = 0.25
#: Seconds between two object detections in a live source, and for which their objects are shown.
OBJECTS_EVERY, OBJECTS_SHOWN = 0.15, 1.0


@dataclass(frozen=True, slots=True)
class Wants:
    """What the viewers of the results need now besides faces and names.

    Without `every_picture`, pictures between two detection passes are left out while somebody is in sight.
    """

    landmarks_68: bool = False
    objects: bool = False
    objects_threshold: float = 0.5
    attributes: frozenset[str] = frozenset()
    every_picture: bool = True


@dataclass(frozen=True, slots=True)
class _Looked:
    """A picture, and the faces that were detected in it."""

    frame: Frame
    time: float
    image: images.Image
    faces: Faces
    qualities: Sequence


@dataclass(frozen=True, slots=True)
class _Examined:
    """The picture that was examined last: its small copy, its faces, and since when pictures look like it."""

    copy: np.ndarray
    faces: Faces
    qualities: Sequence
    time: float
    since: float


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How much a pipeline does with each picture.

    Attributes
    ----------
    detect_every : int, optional
        Detect faces on every n-th picture, instead of as often as speed allows.
    complete : bool
        Complete all work on each picture before the next one is taken, however long it takes.
    strict : bool
        Raise an error if landmarks or objects cannot be detected at all, instead of continuing without them.

    Raises
    ------
    InvalidParameter
    """

    detect_every: int | None = None
    complete: bool = False
    strict: bool = False

    def __post_init__(self) -> None:
        if self.detect_every is not None and self.detect_every < 1:
            raise InvalidParameter(f"detect_every: expected at least 1, got {self.detect_every}")


class Pipeline:
    """The work for one camera, in `watch` and in the server. Owns the camera's scene and its jobs in the executor.

    Parameters
    ----------
    camera : Camera
        Its maker starts and stops it.
    vision : Vision
    executor : Executor
        May be shared by many pipelines: each has at most one job of a kind in it.
    wants : callable
        Called for each picture.
    thoroughness : Thoroughness
    timed : callable
        Called with the name of each completed stage, and its seconds.
    clock : callable
        Returns the seconds by which the pipeline measures how long its stages take and how long it waits for them.
    settings : callable
        Returns the camera's settings as they are now; called for each picture.
    """

    def __init__(
        self,
        camera,
        vision: Vision,
        *,
        executor: Executor,
        wants: Callable[[], Wants] = Wants,
        thoroughness: Thoroughness = Thoroughness(),
        timed: Callable[[str, float], None] = lambda stage, seconds: None,
        clock: Callable[[], float] = time.perf_counter,
        settings: Callable[[], CameraSettings] = lambda: PLAIN,
    ):
        self.camera, self.vision = camera, vision
        self.pace = Pace()
        self._settings = settings
        self._erased: tuple[np.ndarray, CameraSettings, np.ndarray] | None = None  # pixels, settings, and pixels without masks
        self._executor, self._wants, self._timed, self._seconds = executor, wants, timed, clock
        self._thoroughness = thoroughness
        self._scene = TrackedScene(vision.decide, vision.same_within, vision.other_beyond)
        self._jobs: dict[str, asyncio.Task] = {}  # by kind; one of each
        self._closing = False
        self._failures: dict[str, int] = {}
        self._logged: set[tuple[str, type]] = set()
        self._rests: dict[str, float] = {}
        self._offset, self._now = 0.0, float("-inf")
        self._since_detection = 0
        self._passes = ENOUGH_PASSES
        self._searched_at, self._cut_at = -1.0, 0.0  # on the same clock
        self._cuts = Cuts()
        self._examined: _Examined | None = None
        self._sampled: tuple[np.ndarray, np.ndarray] | None = None  # pixels and their small copy
        self._still = False
        self._objects_at = float("-inf")  # when they were looked for; `_objects` has when they were last known to be there
        self._lying = LyingFaces()
        self._objects: tuple[float, tuple[FoundObject, ...]] = (float("-inf"), ())
        self._timing: dict[str, float] = {}

    async def run(self, publish: Callable[[FrameResult], None]) -> None:
        """Call `publish` with every result, until the source ends."""
        async with aclosing(self.results()) as results:
            async for result in results:
                publish(result)

    async def results(self) -> AsyncGenerator[FrameResult, None]:
        """The results, one per request; for a live source, that of its newest picture."""
        last = -1
        try:
            while (frame := await self.camera.next(last + (left_out := self._left_out()))) is not None:
                dropped, last = max(0, frame.number - last - left_out - 1) if last >= 0 else 0, frame.number
                self._since_detection += left_out
                yield await self._result(frame, dropped)
        finally:
            await self._end_jobs()

    async def _end_jobs(self) -> None:
        """End all jobs in the executor, which use pictures and the engine."""
        self._closing = True
        await asyncio.gather(*self._jobs.values(), return_exceptions=True)

    async def _finish_jobs(self, seconds: float) -> None:
        """Wait for all jobs, and for those that they start, for at most so many seconds."""
        until = self._seconds() + seconds
        while (jobs := [job for job in self._jobs.values() if not job.done()]) and (left := until - self._seconds()) > 0:
            await asyncio.wait(jobs, timeout=left)

    # -- one picture --------------------------------------------------------------------------------------------

    async def _result(self, frame: Frame, dropped: int) -> FrameResult:
        began, now, wants = self._seconds(), self._clock(frame), self._wants()
        frame = self._without_masks(frame)
        self._timing = {}
        self.pace.came(frame.number, frame.taken)
        if self._cuts.is_cut(frame.pixels):
            self._scene.cut(now)
            self._cut_at, self._examined = now, None
        self._since_detection += 1
        if self._thoroughness.complete:
            await self._look_completely(frame, now, wants)
        else:
            await self._look_in_passing(frame, now, wants)
        ended = self._scene.ended(now)
        faces = self._scene.faces(now, wants.landmarks_68, wants.attributes)
        objects = self._objects[1] if wants.objects and now - self._objects[0] <= OBJECTS_SHOWN else ()
        self._timing["total"] = 1000 * (self._seconds() - began)
        searched = self._searched_at >= self._cut_at
        return FrameResult(frame, faces, tuple(objects), ended, dropped, self._timing, searched, self._still)

    def _without_masks(self, frame: Frame) -> Frame:
        """The frame with what the camera's masks cover in black, before anybody sees it."""
        settings = self._settings()
        if not settings.masks:
            self._erased = None
            return frame
        before = self._erased
        if before is None or before[0] is not frame.pixels or before[1] is not settings:
            before = self._erased = frame.pixels, settings, settings.erased(frame.pixels)
        return replace(frame, pixels=before[2])

    def _clock(self, frame: Frame) -> float:
        """Seconds on the tracker's clock, never backwards: a recording's own if it is not played at its own speed."""
        if not self._thoroughness.complete or frame.position is None:
            return frame.taken
        if frame.position + self._offset <= self._now:  # the recording started over
            self._offset = self._now + 1 / 30 - frame.position
        self._now = frame.position + self._offset
        return self._now

    async def _look_completely(self, frame: Frame, now: float, wants: Wants) -> None:
        if self._since_detection >= (self._thoroughness.detect_every or 1):
            looked = await self._try("detect", self._detect, frame, now)
            if looked is not None:
                self._since_detection = 0
                self._take(looked)
                due = self._scene.due(looked.time, DESCRIBED_AT_ONCE)
                if due:
                    await self._describe(looked, due)
                if wants.landmarks_68:
                    await self._landmarks(looked)
                if wants.attributes:
                    await self._attributes(looked, wants.attributes)
        await self._compare_anew()
        if wants.objects:
            await self._find_objects(frame, now, wants)

    async def _look_in_passing(self, frame: Frame, now: float, wants: Wants) -> None:
        began = self._seconds()
        if "detect" not in self._jobs:
            copy = self._copy_of(frame)
            self._still = self._shows_the_same(copy, now)
            every = self._thoroughness.detect_every or max(self.pace.every, self._enough())
            if self._still:
                self._know_again(frame, now, wants)
            elif self._since_detection >= every:
                self._start("detect", self._detect_and_follow, frame, now, wants, copy)
                self._since_detection = 0
        else:
            self._still = False
        job = self._jobs.get("detect")
        if job is not None and (self.pace.cost is None or self.pace.cost <= self.pace.budget):
            await asyncio.wait({job}, timeout=max(self.pace.budget, 0.05 if self.pace.cost is None else 0.0))
        if self._scene.stale(self.vision.generation):
            self._start("compare", self._compare_anew)
        if self._still and now - self._objects_at < SAFETY:
            self._objects = now, self._objects[1]
        elif wants.objects and now - self._objects[0] >= OBJECTS_EVERY:
            self._start("objects", self._find_objects, frame, now, wants)
        left = FIRST if self.pace.interval is None else self.pace.budget
        if left >= LEISURE and (self.pace.cost is None or self.pace.cost <= left):
            await self._finish_jobs(left - (self._seconds() - began))
        self._raise_failures()

    def _start(self, kind: str, work: Callable, *args) -> None:
        """Start `work` in the background, unless its previous run has not ended."""
        last = self._jobs.get(kind)
        if self._closing:
            return
        if last is None or (last.done() and last.exception() is None):
            self._jobs[kind] = asyncio.get_running_loop().create_task(work(*args))

    def _raise_failures(self) -> None:
        """Remove the jobs that have ended; an error of one of them is raised here."""
        for kind, job in list(self._jobs.items()):
            if job.done():
                del self._jobs[kind]
                job.result()

    # -- the steps ----------------------------------------------------------------------------------------------

    def _copy_of(self, frame: Frame) -> np.ndarray:
        """The small copy of a picture; a camera that stands still gives the same pixels again."""
        if self._sampled is None or self._sampled[0] is not frame.pixels:
            self._sampled = frame.pixels, small_copy(frame.pixels)
        return self._sampled[1]

    def _shows_the_same(self, copy: np.ndarray, now: float) -> bool:
        """Whether a picture shows what the one shows that was examined a moment ago."""
        before = self._examined
        return before is not None and 0 <= now - before.time < SAFETY and alike(copy, before.copy)

    def _left_out(self) -> int:
        """How many of the next pictures need not be looked at: a face is followed, and nobody watches."""
        if (
            self._thoroughness.complete
            or self._still
            or self._since_detection
            or "detect" in self._jobs
            or self._wants().every_picture
        ):
            return 0
        return (
            (self._thoroughness.detect_every or max(self.pace.every, self._enough())) - 1 if self._scene.tracker.tracks else 0
        )

    def _enough(self) -> int:
        """On one of so many pictures detection has to run while faces are in sight."""
        if self.pace.interval is None or not self._scene.tracker.tracks:
            return 1
        return max(1, int(1 / (self._passes * self.pace.interval) + 0.1))

    def _know_again(self, frame: Frame, now: float, wants: Wants) -> None:
        """The faces of the picture that was examined last are those of this one."""
        assert self._examined is not None
        looked = _Looked(frame, now, images.from_array(frame.pixels), self._examined.faces, self._examined.qualities)
        self._take(looked)
        self._follow(looked, wants, still=True)

    async def _detect_and_follow(self, frame: Frame, now: float, wants: Wants, copy: np.ndarray) -> None:
        looked = await self._try("detect", self._detect, frame, now)
        if looked is None:
            self._examined = None
            return
        before = self._examined
        still = before is not None and alike(copy, before.copy)
        since = before.since if still and before is not None else now
        self._examined = _Examined(copy, looked.faces, looked.qualities, now, since) if now >= self._cut_at else None
        self._take(looked)
        self._follow(looked, wants, still)
        if wants.landmarks_68:
            self._start("landmarks", self._landmarks, looked)

    def _follow(self, looked: _Looked, wants: Wants, still: bool) -> None:
        """Describe the faces that should be; of those that only stand still, less often."""
        since = self._examined.since if still and self._examined is not None else None
        due = self._scene.due(looked.time, DESCRIBED_AT_ONCE, since)
        if due:
            self._start("describe", self._describe, looked, due)
        if wants.attributes:
            self._start("attributes", self._attributes, looked, wants.attributes)

    def _detect(self, frame: Frame, now: float) -> _Looked:
        image = images.from_array(frame.pixels)
        faces = self._settings().unmasked(single(self.vision.detect(image)), frame.width, frame.height)
        if not self._thoroughness.complete:
            self._notice_lying(frame.pixels, faces, now)
        return _Looked(frame, now, image, faces, self.vision.qualities(image, faces))

    def _notice_lying(self, pixels: np.ndarray, faces: Faces, now: float) -> None:
        """Whether all faces lie: the camera is turned, and its source should say so."""
        before = self._lying.turn
        self._lying.saw(faces, now)
        copy = self._lying.turned_copy(pixels, now)
        if copy is not None:
            turned, quarter = copy
            self._lying.saw_turned(self.vision.detect(images.from_array(turned)), quarter)
        self.camera.turn_wanted = turn = self._lying.turn
        if turn and turn != before:
            name = getattr(self.camera, "name", "")
            log.warning("camera %s: all faces lie; put turn%d: before its source, and they are recognised", name, turn)

    def _take(self, looked: _Looked) -> None:
        self._scene.detected(looked.faces, looked.qualities, looked.time, looked.frame)
        self._passes = self._scene.passes_wanted(looked.time)
        self._searched_at = looked.time

    async def _describe(self, looked: _Looked, due: Sequence[Due]) -> None:
        """Describe one face at a time, so that other work can run between two."""

        def work(face, quality):
            generation = self.vision.generation  # before the search: if the gallery changes meanwhile, faces are compared again
            vectors, verdicts = self.vision.describe(looked.image, face, [quality])
            return vectors[0], self.vision.match(vectors)[0], generation, verdicts[0]

        for each in due:
            done = await self._try("describe", work, _faces([each.face]), self._scene.quality_of(each.track))
            if done is not None:
                self._scene.described(each, *done)

    async def _compare_anew(self) -> None:
        generation = self.vision.generation
        stale = self._scene.stale(generation)
        if stale:
            vectors = np.array([each.vector for _, each in stale])
            matches = await self._try("match", self.vision.match, vectors)
            if matches is not None:
                self._scene.compared(stale, matches, generation)

    async def _landmarks(self, looked: _Looked) -> None:
        seen = self._scene.seen_at(looked.time)
        if not seen or self._rests_now("landmarks"):
            return
        faces = [face for _, face in seen]
        points = await self._try("landmarks", self.vision.landmarks_68, looked.image, _faces(faces), optional=True)
        if points is not None:
            self._scene.landmarks([track for track, _ in seen], faces, points)

    async def _attributes(self, looked: _Looked, wanted: frozenset[str]) -> None:
        """One face at a time, as for `_describe`."""
        for track, face, names in self._scene.looks_due(looked.time, wanted, DESCRIBED_AT_ONCE):
            if self._rests_now("attributes"):
                return
            evidence = await self._try("attributes", self.vision.evidence, looked.image, _faces([face]), names, optional=True)
            if evidence is not None:
                self._scene.looked([track], evidence, looked.time)

    async def _find_objects(self, frame: Frame, now: float, wants: Wants) -> None:
        if self._rests_now("objects"):
            return
        found = await self._try("objects", self.vision.objects, frame.pixels, wants.objects_threshold, optional=True)
        if found is not None:
            self._objects = now, tuple(found)
            self._objects_at = now

    # -- the executor -------------------------------------------------------------------------------------------

    async def _try(self, stage: str, work: Callable, *args, optional: bool = False):
        """Run `work` in the executor; None if it failed, an error if it keeps failing."""
        began = self._seconds()
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._executor, work, *args)
        except Exception as error:  # any type of error: it comes from a network and a picture from outside
            self._failed(stage, error, optional)
            return None
        self._failures[stage] = 0
        seconds = self._seconds() - began
        self._timing[stage] = self._timing.get(stage, 0.0) + 1000 * seconds
        self._timed(stage, seconds)
        if stage == "detect":
            self.pace.took(seconds)
        return result

    def _failed(self, stage: str, error: Exception, optional: bool) -> None:
        count = self._failures[stage] = self._failures.get(stage, 0) + 1
        if (stage, type(error)) not in self._logged:
            self._logged.add((stage, type(error)))
            log.warning("a picture could not be worked on (%s); going on", stage, exc_info=error)
        for_good = isinstance(error, ModelError) or count >= PERMANENT
        if for_good and (self._thoroughness.strict or not optional):
            raise error
        if optional:
            self._rests[stage] = self._seconds() + RESTS

    def _rests_now(self, stage: str) -> bool:
        return self._seconds() < self._rests.get(stage, 0.0)


def _faces(faces: Sequence) -> Faces:
    """Single faces, together."""
    if not faces:
        return Faces.empty()
    boxes = np.array([tuple(face.box) for face in faces])
    scores = np.array([face.score for face in faces])
    return Faces(boxes, scores, np.array([face.landmarks for face in faces], np.float32), faces[0].scheme)
