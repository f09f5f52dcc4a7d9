"""Unknown faces at cameras: their best pictures, offered once per stay, and from time to time while it lasts.

An observer of `live.Live`. A track counts once it was compared and stayed nameless for `SightingRules.nameless_seconds`; a
few pictures of each are stored, from different moments, and only those that could enrol somebody. They are offered then, from
time to time while there are better ones or the person is still there, and at the end. A track that gets a name after it was
offered is offered again as `named`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from recognizer.core.types import Box
from recognizer.photos.quality import picture_value, remarks
from recognizer.strangers.model import Sighting, StrangerShot
from recognizer.video.frames import FrameResult, TrackedFace

#: Pixels around a face, in sides of its box.
AROUND = 0.6
#: Maximum number of pictures that are copied from one frame: a crowd must not delay the loop.
_COPIES = 3
#: Long side above which a picture is subsampled; it is stored even smaller.
_SIDE = 640


@dataclass(frozen=True, slots=True)
class SightingRules:
    """When a face is a sighting.

    Attributes
    ----------
    nameless_seconds : float
        How long it must be without a name.
    least_size : int
        Smallest side of the face's box, in pixels of the picture.
    pictures : int
        Maximum number in one sighting.
    apart_seconds : float
        Minimum time between two pictures.
    again_seconds : float
        Time after which somebody who is still there is offered again.
    gone_seconds : float
        Time after which a track that is no longer seen has ended.
    """

    nameless_seconds: float = 2.0
    least_size: int = 40
    pictures: int = 3
    apart_seconds: float = 0.5
    again_seconds: float = 10.0
    gone_seconds: float = 5.0


@dataclass(eq=False)
class _Track:
    """A face without a name that is followed. Seconds on the frames' steady clock, unless said otherwise."""

    visit: str
    first: float  # since the epoch
    last: float  # since the epoch
    seen: float
    nameless: float | None = None
    told: float | None = None
    best: float = 0.0  # of the pictures that were offered
    shots: list[tuple[float, StrangerShot]] = field(default_factory=list)


class Sightings:
    """Turns results into sightings. Owns the followed tracks; called on one thread, and returns quickly.

    Parameters
    ----------
    offer : callable
        Takes a `strangers.Sighting`, without waiting; whether there was room.
    rules : SightingRules
    """

    def __init__(self, offer: Callable[[Sighting], bool], rules: SightingRules | None = None):
        self._offer, self.rules = offer, rules or SightingRules()
        self._tracks: dict[tuple[str, int, float], _Track] = {}
        self._copied = 0
        self._lock = threading.Lock()  # of the tracks' pictures, and of:
        self._dropped_before = 0.0  # seconds since the epoch; older pictures are not taken any more

    def __call__(self, camera, result: FrameResult) -> None:
        """Process the result of a frame."""
        now, self._copied = result.frame.taken, 0
        for face in result.faces:
            if face.decided:
                self._follow(camera.id, face, result)
        for key, track in list(self._tracks.items()):
            if key[0] != camera.id:
                continue
            gone = now - track.seen > self.rules.gone_seconds or key[1] in result.ended
            ripe = track.nameless is not None and track.seen - track.nameless >= self.rules.nameless_seconds
            if ripe and (gone or track.told is None or now - track.told >= self.rules.again_seconds):
                self._tell(camera.id, track, now)
            if gone:
                del self._tracks[key]

    def state(self, camera, state) -> None:
        """Process a camera's new state."""
        if state.name in ("lost", "ended"):
            self.stopped(camera)

    def stopped(self, camera) -> None:
        """End the tracks of a camera that gives no more frames, which would end them."""
        for key, track in list(self._tracks.items()):
            if key[0] != camera.id:
                continue
            if track.nameless is not None and track.seen - track.nameless >= self.rules.nameless_seconds:
                self._tell(camera.id, track, track.seen)
            del self._tracks[key]

    @property
    def followed(self) -> int:
        """How many tracks are followed; each has pictures."""
        return len(self._tracks)

    @property
    def copied_pictures(self) -> int:
        """How many pictures the followed tracks have that were not offered yet."""
        return sum(len(track.shots) for track in self._tracks.values())

    def waiting_pictures(self, before: float) -> int:
        """How many pictures from before a time (seconds since the epoch) were not offered yet."""
        return sum(shot.time < before for track in list(self._tracks.values()) for _, shot in list(track.shots))

    def drop_pictures(self, before: float) -> None:
        """Drop all pictures from before a time, also those that are still to come; the tracks go on. Any thread may call."""
        with self._lock:
            self._dropped_before = max(self._dropped_before, before)
            for track in list(self._tracks.values()):
                track.shots = [each for each in track.shots if each[1].time >= before]

    def _follow(self, camera: str, face: TrackedFace, result: FrameResult) -> None:
        key = (camera, face.track, face.since)  # numbers begin anew when a pipeline does
        track = self._tracks.get(key)
        if face.subject is not None:
            if track is not None:
                track.shots, track.nameless = [], None
                if track.told is not None:
                    track.told, track.best = None, 0.0
                    self._offer(Sighting(track.visit, camera, track.first, track.last, named=True))
            return
        frame = result.frame
        if track is None:
            track = self._tracks[key] = _Track(f"{camera}/{face.track}/{face.since:.3f}", face.since, frame.time, frame.taken)
        if track.nameless is None:
            track.nameless = frame.taken
        track.last, track.seen = frame.time, frame.taken
        if face.found:
            self._take_picture(track, face, result)

    def _take_picture(self, track: _Track, face: TrackedFace, result: FrameResult) -> None:
        """Store the picture if it is among the best so far, and not from the same moment as a better one."""
        quality = face.seen.quality
        if quality is None or face.box.size < self.rules.least_size or self._copied >= _COPIES or remarks(quality):
            return
        if face.seen.comparable is False:
            return
        found = face.picture(result.frame)
        value, now = picture_value(quality), found.frame.taken
        near = [each for each in track.shots if now - each[0] < self.rules.apart_seconds]
        if any(shot.worth >= value for _, shot in near):
            return
        others = [each for each in track.shots if each not in near]
        if len(others) >= self.rules.pictures:
            worst = min(others, key=lambda each: each[1].worth)
            if worst[1].worth >= value:
                return
            others.remove(worst)
        with self._lock:
            if found.frame.time < self._dropped_before:  # a frame from before an erasure, examined after it
                return
            self._copied += 1
            shot = StrangerShot(cut(found.frame.pixels, found.box), found.frame.time, value)
            track.shots = [*(each for each in others if each[1].time >= self._dropped_before), (now, shot)]

    def _tell(self, camera: str, track: _Track, now: float) -> None:
        shots = tuple(shot for _, shot in track.shots if shot.worth > track.best)
        if not shots and track.told is None:
            return  # there is nothing to show
        track.told = now
        if self._offer(Sighting(track.visit, camera, track.first, track.last, shots)):  # else they are offered next time
            track.shots = []
            track.best = max([track.best, *(shot.worth for shot in shots)])


def cut(pixels: np.ndarray, box: Box) -> np.ndarray:
    """A copy of the area around a face, subsampled if it is large."""
    height, width = pixels.shape[:2]
    reach = AROUND * max(box.width, box.height)
    left, top = int(min(max(0, box.left - reach), width - 1)), int(min(max(0, box.top - reach), height - 1))
    right, bottom = max(left + 1, int(min(width, box.right + reach))), max(top + 1, int(min(height, box.bottom + reach)))
    step = -(-max(right - left, bottom - top) // _SIDE)
    return np.ascontiguousarray(pixels[top:bottom:step, left:right:step])
