"""Tracks faces from one detection to the next. Pure: NumPy, `geometry` and `types`.

Each edge of a box moves by a Kalman filter of constant velocity, with noise in units of the face's own size, so that
nothing depends on the resolution; time is in seconds, so that frames may be missing. A detection continues the track
whose expected box overlaps it most, or, where a quick face has left its box behind, the one it can have come from.
benchmarks/tracking.py compares it with well-kept trackers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recognizer.core import geometry
from recognizer.core.types import Box, Face, Faces

#: Error of a detector's box, in sizes of the face (standard deviation).
JITTER = 0.04
#: Acceleration of faces, in sizes per second squared (standard deviation).
ACCELERATION = 8.0
#: Largest velocity, in sizes per second.
FASTEST = 20.0
#: Seconds in which a velocity that is not confirmed decays to a third.
COASTING = 0.3
#: Minimum overlap of a predicted box and a detected one that certainly belong to one face.
LEAST_IOU = 0.2
#: Maximum distance of a face from its predicted place, in sizes, and its increase per second.
REACH, REACH_PER_SECOND = 0.6, 4.0
MOST_REACH = 1.5
#: Seconds without a detection after which the next face at this place may be another person.
BLINK = 0.15
#: Largest change of size of one face between two detections.
MOST_GROWTH = 1.8
#: How many times the delay of a detection pass the next pass may come later: its own delay, and that of the descriptions
#: which share its threads.
PASSES = 4
#: Longest delay of a detection pass that is allowed for, in seconds: after a longer one the picture may show anything.
MOST_DELAY = 10.0


class _Motion:
    """Centre and size of a box, and how they change: filters of constant velocity, in plain numbers, which are quicker here
    than short arrays.

    `place` is centre x, centre y, width and height in pixels, `speed` the same per second. The variances, in sizes of the
    face, are equal for both coordinates of the centre, and for both of the size.
    """

    __slots__ = ("centre", "place", "size", "speed", "time")

    def __init__(self, place: Sequence[float], time: float):
        self.place, self.speed, self.time = tuple(place), (0.0, 0.0, 0.0, 0.0), time
        self.centre, self.size = _Doubt(4.0, ACCELERATION**2), _Doubt(1.0, ACCELERATION**2 / 4)

    def at(self, time: float) -> tuple[float, float, float, float]:
        """The predicted box; a velocity decays the longer it is not confirmed."""
        passed = max(0.0, time - self.time)
        worth = COASTING * -math.expm1(-passed / COASTING)
        x, y, width, height = (place + worth * speed for place, speed in zip(self.place, self.speed, strict=True))
        w, h = self.place[2:]
        return x, y, min(max(width, w / 2), 2 * w), min(max(height, h / 2), 2 * h)

    def update(self, measured: Sequence[float], time: float) -> None:
        passed = max(0.0, time - self.time)
        # a moment ago is as good as now; what is longer ago says less and less of how it moves
        if passed <= COASTING:
            expected: Sequence[float] = [place + passed * speed for place, speed in zip(self.place, self.speed, strict=True)]
        else:
            expected = self.at(time)
        fading = min(1.0, math.exp(1 - passed / COASTING))
        limit = FASTEST * max(1.0, (self.place[2] + self.place[3]) / 2)
        gains = (self.centre.pass_and_measure(passed),) * 2 + (self.size.pass_and_measure(passed),) * 2
        places: list[float] = []
        speeds: list[float] = []
        for is_, was, moved, (gain, gain_of_speed) in zip(measured, expected, self.speed, gains, strict=True):
            off = is_ - was
            places.append(was + gain * off)
            speeds.append(min(max(fading * moved + gain_of_speed * off, -limit), limit))
        x, y, width, height = places
        self.place, self.time = (x, y, width, height), max(self.time, time)
        x, y, width, height = speeds
        self.speed = (x, y, width, height)


class _Doubt:
    """Variances of a place and its speed, and their covariance; of speed at first, and of what time adds to it."""

    __slots__ = ("covariance", "place", "restless", "speed")

    def __init__(self, speed: float, restless: float):
        self.place, self.covariance, self.speed, self.restless = JITTER**2, 0.0, speed, restless

    def pass_and_measure(self, passed: float) -> tuple[float, float]:
        """The variances after so many seconds and a measurement, and the gains of place and speed."""
        place = self.place + 2 * passed * self.covariance + passed**2 * self.speed + self.restless * passed**4 / 4
        covariance = self.covariance + passed * self.speed + self.restless * passed**3 / 2
        speed = self.speed + self.restless * passed**2
        gain, gain_of_speed = place / (place + JITTER**2), covariance / (place + JITTER**2)
        self.place, self.covariance = (1 - gain) * place, (1 - gain) * covariance
        self.speed = max(speed - gain_of_speed * covariance, 1e-6)
        return gain, gain_of_speed


@dataclass(eq=False)
class Track:
    """A tracked face.

    Attributes
    ----------
    id : int
    began, seen : float
        Time of the first and of the last detection, in seconds of the caller's clock.
    hits : int
        Detections.
    face : Face
        As last detected.
    doubtful : bool
        Whether the last detection may show another person: far from the predicted place, or after the face was lost.
    place_known : bool
        Whether the face may still be near where it was; not after a cut.
    """

    id: int
    began: float
    seen: float
    face: Face
    hits: int = 1
    doubtful: bool = False
    place_known: bool = True
    _motion: _Motion = field(init=False, repr=False)

    def __post_init__(self):
        self._motion = _Motion(_place(self.face.box), self.seen)

    def face_at(self, time: float) -> Face:
        """The face at `time`: as detected then, else predicted."""
        if time <= self.seen:
            return self.face
        place, box = self._motion.at(time), self.face.box
        scale = place[2] / box.width, place[3] / box.height
        points = (self.face.landmarks - box.centre) * scale + place[:2]
        return Face(_box(place), self.face.score, points.astype(np.float32), self.face.scheme)

    def expected(self, time: float) -> tuple[float, float, float, float]:
        """Predicted centre x, centre y, width and height at `time`."""
        return self._motion.at(time)

    @property
    def speed(self) -> float:
        """How fast the face's centre moves, in sizes of the face per second."""
        across, down, *_ = self._motion.speed
        return math.hypot(across, down) / max(1.0, (self.face.box.width + self.face.box.height) / 2)

    def see(self, face: Face, time: float, doubtful: bool) -> None:
        if doubtful:
            self._motion = _Motion(_place(face.box), time)  # its velocity is unknown
        else:
            self._motion.update(_place(face.box), time)
        self.face, self.seen, self.doubtful = face, max(time, self.seen), doubtful
        self.hits += 1


class Tracker:
    """Assigns detections of one source to tracks. Owns the tracks; one caller at a time.

    Parameters
    ----------
    shown : float
        Seconds for which a face that is no longer detected is predicted.
    kept : float
        Seconds after which a face that is no longer detected is forgotten: its track ends.

        Both are for detection that keeps up with the pictures. Where it is slower, `delayed` reports by how much, and a face
        that the newest pass found remains until the next pass can have found it.
    sure : float
        Score from which one detection is enough; with a lower one, a second detection is needed.
    """

    def __init__(self, *, shown: float = 0.4, kept: float = 4.0, sure: float = 0.75):
        self.tracks: list[Track] = []
        self.shown, self.kept, self.sure = shown, kept, sure
        self._ids = itertools.count(1)
        self._cut: float | None = None
        self._looked = float("-inf")
        self._delay = 0.0

    def update(self, faces: Faces, time: float) -> list[Track]:
        """Process the detections at `time`; returns the track of each face, in the order of `faces`."""
        given: dict[int, tuple[Track, bool]] = {}
        if self._cut is not None and time >= self._cut:
            self._lose_all(time)
        # tracks that were detected a moment ago are assigned before those that were lost
        recent = [track for track in self.tracks if self._is_recent(track, time)]
        lost = [track for track in self.tracks if not self._is_recent(track, time) and track.place_known]
        for tracks in (recent, lost):
            free = [i for i in range(len(faces)) if i not in given]
            for track, row, close in _pairs(tracks, faces.boxes[free], time):
                missed = track.seen < self._looked and time - track.seen > BLINK
                given[free[row]] = track, missed or not close
        found = []
        for i, face in enumerate(faces):
            if i in given:
                track, doubtful = given[i]
                track.see(face, time, doubtful)
            else:
                track = Track(next(self._ids), time, time, face)
                self.tracks.append(track)
            found.append(track)
        self._looked = max(time, self._looked)
        return found

    def delayed(self, time: float) -> None:
        """Note that the first picture which shows the results of the newest detection pass is the one of `time`."""
        self._delay = min(MOST_DELAY, max(0.0, time - self._looked))

    def _allowance(self, track: Track) -> float:
        """Seconds for which a face that the newest pass found may be unconfirmed because passes take long. The next pass
        that misses it hides it at once."""
        return PASSES * self._delay if track.seen >= self._looked else 0.0

    def _is_recent(self, track: Track, time: float) -> bool:
        return time - track.seen <= self.shown + self._allowance(track)

    def _lose_all(self, time: float) -> None:
        """After a cut, positions mean nothing: tracks continue only by the appearance of faces."""
        self._cut = None
        for track in self.tracks:
            track.seen = min(track.seen, time - self.shown - 1e-3)
            track.place_known = False

    def cut(self, time: float) -> None:
        """The picture of `time` does not continue the previous one: its faces may be anybody's."""
        self._cut = time

    def visible(self, time: float) -> list[Track]:
        """Tracks to show at `time`, by id."""
        if self._cut is not None and time >= self._cut:
            return []  # detection has not run on the new picture yet
        there = (track for track in self.tracks if self._is_recent(track, time))
        return sorted((track for track in there if self.believed(track)), key=lambda track: track.id)

    def believed(self, track: Track) -> bool:
        return track.hits > 1 or track.face.score >= self.sure

    def expire(self, time: float) -> list[Track]:
        """Remove and return the tracks that were not seen for too long; one with a single uncertain detection ends sooner."""

        def is_gone(track: Track) -> bool:
            if self.believed(track):
                return time - track.seen > self.kept + PASSES * self._delay
            return not self._is_recent(track, time)

        gone = [track for track in self.tracks if is_gone(track)]
        self.tracks = [track for track in self.tracks if track not in gone]
        return gone

    def lost(self, time: float) -> list[Track]:
        """Tracks that are remembered but not shown."""
        return [track for track in self.tracks if not self._is_recent(track, time) and self.believed(track)]

    def merge(self, new: Track, old: Track) -> None:
        """`new` turned out to be the face of `old`, which continues at the place of `new`; `new` is removed."""
        old.face, old.seen, old.doubtful, old.place_known = new.face, new.seen, False, True
        old.hits += new.hits
        old._motion = new._motion
        self.tracks.remove(new)

    def split(self, track: Track) -> Track:
        """The last detection of `track` is another person: a new track begins there, and `track` is lost."""
        other = Track(next(self._ids), track.seen, track.seen, track.face)
        other._motion = track._motion
        track.seen, track.place_known = track.seen - self.shown - 1e-3, False
        self.tracks.append(other)
        return other


def _place(box: Box) -> tuple[float, float, float, float]:
    return (*box.centre, box.width, box.height)


def _box(place: Sequence[float]) -> Box:
    x, y, width, height = place
    return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _pairs(tracks: Sequence[Track], boxes: np.ndarray, time: float) -> list[tuple[Track, int, bool]]:
    """Tracks with the rows of `boxes` that continue them, and whether that is certain; the best pairs first."""
    if not tracks or not len(boxes):
        return []
    places = np.array([track.expected(time) for track in tracks])
    half = places[:, 2:] / 2
    expected = np.hstack([places[:, :2] - half, places[:, :2] + half])
    overlap = np.array([geometry.iou(one, boxes) for one in expected])
    sizes = boxes[:, 2:] - boxes[:, :2]
    ratio = np.sqrt(places[:, 2:].prod(axis=1)[:, None] / np.maximum(sizes.prod(axis=1), 1e-9))
    alike = np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)) <= MOST_GROWTH
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    apart = np.linalg.norm(centres[None] - places[:, None, :2], axis=2) / np.sqrt(places[:, 2:].prod(axis=1))[:, None]
    passed = np.array([max(0.0, time - track.seen) for track in tracks])[:, None]
    reach = np.minimum(REACH + REACH_PER_SECOND * passed, MOST_REACH)
    close = (overlap >= LEAST_IOU) & alike
    possible = close | ((apart <= reach) & alike)
    # overlap decides; without overlap, distance
    worth = np.where(possible, overlap + 0.1 * np.clip(1 - apart / MOST_REACH, 0, 1), -1.0)
    pairs: list[tuple[Track, int, bool]] = []
    tracks_left, boxes_left = set(range(len(tracks))), set(range(len(boxes)))
    for flat in np.argsort(-worth, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(boxes))
        if worth[i, j] < 0:
            break
        if i in tracks_left and j in boxes_left:
            tracks_left.remove(i)
            boxes_left.remove(j)
            pairs.append((tracks[i], j, bool(close[i, j])))
    return pairs
