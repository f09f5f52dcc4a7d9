"""Everybody's visits at the cameras, with the best picture of each: an observer of `live.Live`, if visits are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recognizer.events.sightings import cut
from recognizer.photos.quality import picture_value, remarks
from recognizer.strangers.model import StrangerShot
from recognizer.video.frames import FrameResult, TrackedFace

#: A face counts once it was followed for so many seconds; one that is gone for so many has left.
SHOWN_SECONDS, GONE_SECONDS = 0.5, 5.0
#: Time after which somebody who is still there is offered again, and factor by which a better picture must be better.
AGAIN_SECONDS, BETTER = 30.0, 1.15
#: Pictures that are copied from one frame: a crowd must not delay the loop.
_COPIES = 3


@dataclass(frozen=True, slots=True, eq=False)
class SeenVisit:
    """A visit so far. Times are seconds since 1970; `shot` is a picture that is better than those offered before, or None."""

    id: str
    camera: str
    first: float
    last: float
    subject: str | None
    shot: StrangerShot | None


@dataclass(eq=False)
class _Followed:
    """A track. `seen` and `told` are on the frames' steady clock."""

    first: float
    last: float
    begun: float
    seen: float
    subject: str | None = None
    decided: bool = False
    told: float | None = None
    best: float = 0.0
    shot: StrangerShot | None = None


class VisitShots:
    """Turns results into visits. Owns the followed tracks; called on one thread, and returns quickly.

    Parameters
    ----------
    offer : callable
        Takes a `SeenVisit` without waiting; whether there was room.
    unknown : bool
        Whether visits of people without a name count.
    least_size : int
        Smallest side of a face, in pixels.
    """

    def __init__(self, offer: Callable[[SeenVisit], bool], unknown: bool, least_size: int = 40):
        self._offer, self._unknown, self._least_size = offer, unknown, least_size
        self._tracks: dict[tuple[str, int, float], _Followed] = {}

    def __call__(self, camera, result: FrameResult) -> None:
        """Process the result of a frame."""
        now, copies = result.frame.taken, 0
        for face in result.faces:
            copies += self._follow(camera.id, face, result, copies < _COPIES)
        for key, track in list(self._tracks.items()):
            if key[0] == camera.id:
                gone = now - track.seen > GONE_SECONDS or key[1] in result.ended
                if gone or track.told is None or now - track.told >= AGAIN_SECONDS:
                    self._tell(key, track, now)
                if gone:
                    del self._tracks[key]

    def state(self, camera, state) -> None:
        """Process a camera's new state."""
        if state.name in ("lost", "ended"):
            self.stopped(camera)

    def stopped(self, camera) -> None:
        """End the tracks of a camera that gives no more frames."""
        for key, track in list(self._tracks.items()):
            if key[0] == camera.id:
                self._tell(key, track, track.seen)
                del self._tracks[key]

    def _follow(self, camera: str, face: TrackedFace, result: FrameResult, may_copy: bool) -> bool:
        """Note a face; whether its picture was copied."""
        frame, key = result.frame, (camera, face.track, face.since)
        track = self._tracks.get(key)
        if track is None:
            track = self._tracks[key] = _Followed(face.since, frame.time, frame.taken, frame.taken)
        track.last, track.seen = frame.time, frame.taken
        track.decided = track.decided or face.decided
        if face.subject is not None and face.subject != track.subject:
            track.subject, track.told = face.subject, None
        quality = face.seen.quality
        if not (face.found and may_copy) or quality is None or face.box.size < self._least_size or remarks(quality):
            return False
        value = picture_value(quality)
        if value < BETTER * max(track.best, track.shot.worth if track.shot else 0.0):
            return False
        track.shot = StrangerShot(cut(frame.pixels, face.box), frame.time, value)
        return True

    def _tell(self, key: tuple[str, int, float], track: _Followed, now: float) -> None:
        if not track.decided or track.seen - track.begun < SHOWN_SECONDS or (track.subject is None and not self._unknown):
            return
        if track.shot is None and track.told is None and track.best == 0.0:
            return  # there is nothing to show
        camera, number, since = key
        seen = SeenVisit(f"{camera}/{number}/{since:.3f}", camera, track.first, track.last, track.subject, track.shot)
        if self._offer(seen):  # else it is offered next time
            track.told = now
            track.best = max(track.best, track.shot.worth if track.shot else 0.0)
            track.shot = None
