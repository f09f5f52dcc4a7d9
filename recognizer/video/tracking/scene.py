"""The faces at one camera: their tracks, their names, and which is to be described next. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recognizer.core.types import Candidate, Face, Faces, Match
from recognizer.photos.quality import Quality, picture_value
from recognizer.photos.remarks import MOST_FACTOR, Comparability
from recognizer.photos.results import SeenFace
from recognizer.video.frames import DetectedIn, Frame, TrackedFace
from recognizer.video.tracking.looks import Looks, is_good
from recognizer.video.tracking.naming import Description, Naming
from recognizer.video.tracking.tracker import BLINK, Track, Tracker

#: Seconds after which a face that has a name, and one that has none, is described again; the latter sooner at first: by so
#: many seconds per description that there is.
RECHECK_NAMED, RECHECK_UNKNOWN = 4.0, 1.5
SOONER = 0.1
#: The same for a face in a picture that has not changed since its last description: another one would say the same.
RECHECK_STILL = 15.0
#: Seconds between two descriptions while a track is not decided: pictures of the same instant say the same.
BUILD_UP = 0.1
#: By how much a picture's quality must exceed the best so far to be described for that reason, and how many seconds later.
BETTER, BETTER_AFTER = 1.3, 0.4
#: A description splits its track only if the quality of its picture is at least this.
WORTH_SPLITTING = 0.3
#: A predicted face of which a detected one covers this share is not shown.
COVERED = 0.4
#: A box that lies within another by this share of its area, which is no more than so many times as large, is the same
#: face's.
WITHIN, LIKE = 0.7, 4.0
#: A track may be joined with an older one as long as it has at most so many descriptions.
STILL_NEW = 3
#: Detection passes per second while faces are in sight, which the tracker follows between two passes; and while all of them are
#: known and move by less than `SLOW` of their own sizes a second.
ENOUGH_PASSES, CALM_PASSES, SLOW = 15.0, 10.0, 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """A detected face that should be described, and the quality of its picture."""

    track: int
    face: Face
    weight: float
    time: float


@dataclass(eq=False)
class _Known:
    """Data of a track that belongs neither to the tracker nor to its naming."""

    since: float  # seconds since the epoch, as is the next
    detected: float
    quality: Quality | None = None
    weight: float = 0.0
    comparability: Comparability | None = None  # of the face as it was described last
    points: np.ndarray | None = None  # (68, 2), and the face that they belong to
    points_of: Face | None = None
    looks: Looks = field(default_factory=Looks)


class TrackedScene:
    """Faces at one camera. Owns the tracker and the names; one caller at a time, and no method takes long.

    Parameters
    ----------
    decide : callable
        See `naming.Naming`.
    same_within, other_beyond : float or None
        Distances of two descriptions within which they are one person's, and beyond which they are not. None: tracks are
        neither joined nor split by what their faces look like.
    """

    def __init__(
        self,
        decide: Callable[[Sequence[Candidate]], Match],
        same_within: float | None = None,
        other_beyond: float | None = None,
        tracker: Tracker | None = None,
    ):
        self.tracker, self.naming = tracker or Tracker(), Naming(decide)
        self._same_within, self._other_beyond = same_within, other_beyond
        self._known: dict[int, _Known] = {}
        self._shown: set[int] = set()
        self._ended: list[int] = []
        self._unshown: tuple[float, Frame] | None = None  # of the newest detection, until its results were shown

    # -- what was seen ------------------------------------------------------------------------------------------

    def cut(self, time: float) -> None:
        """The picture of `time` does not continue the previous one."""
        self.tracker.cut(time)

    def detected(self, faces: Faces, qualities: Sequence[Quality], time: float, frame: Frame) -> None:
        """Process all faces of a picture of `time`."""
        epoch, self._unshown = frame.time, (time, frame)
        for track, quality in zip(self.tracker.update(faces, time), qualities, strict=True):
            known = self._known.setdefault(track.id, _Known(epoch, epoch))
            known.detected, known.quality, known.weight = epoch, quality, picture_value(quality)

    def due(self, time: float, most: int, still_since: float | None = None) -> list[Due]:
        """Up to `most` of the faces detected at `time`, the most urgent first; `still_since` is the time since which the
        picture has not changed, if it has not."""
        waiting = []
        for track in self.tracker.tracks:
            if track.seen != time:
                continue
            known = self._known[track.id]
            urgency = self._urgency(track, known, time, still_since)
            if urgency is not None:
                waiting.append((urgency, -known.weight, track.id, Due(track.id, track.face, known.weight, time)))
        return [due for *_, due in sorted(waiting, key=lambda each: each[:3])[:most]]

    def _urgency(self, track: Track, known: _Known, time: float, still_since: float | None) -> int | None:
        name = self.naming.of(track.id)
        passed = time - name.last
        if not name.descriptions:
            return 0
        if track.doubtful:
            return 1
        if not name.ripe and passed >= BUILD_UP:
            return 2
        if known.weight >= BETTER * name.best and passed >= BETTER_AFTER:
            return 3
        named = name.match is not None and name.match.subject is not None
        if still_since is not None and name.last >= still_since:
            return 4 if passed >= RECHECK_STILL else None
        if passed >= (RECHECK_NAMED if named else min(RECHECK_UNKNOWN, SOONER * len(name.descriptions))):
            return 4
        return None

    def described(
        self, due: Due, vector: np.ndarray, match: Match, generation: int, verdict: Comparability | None = None
    ) -> None:
        """Add the embedding of a face that was due; ignored if its track has ended."""
        track = self._track(due.track)
        if track is None:
            return
        comparable = verdict is None or (verdict.comparable and verdict.rate_factor <= MOST_FACTOR)
        description = Description(vector, due.weight, match, due.time, generation, comparable)
        self._known[track.id].comparability = verdict
        if comparable and self._is_another(track, description):
            known = self._known[track.id]
            track = self.tracker.split(track)
            self._known[track.id] = replace(known, since=known.detected, points=None, looks=Looks())
        track.doubtful = False
        self.naming.describe(track.id, description)
        if comparable and len(self.naming.of(track.id).descriptions) <= STILL_NEW:
            self._join_older(track, vector)

    def quality_of(self, track: int) -> Quality | None:
        """The quality of a track's picture as it was detected last."""
        known = self._known.get(track)
        return None if known is None else known.quality

    def _track(self, id: int) -> Track | None:
        return next((track for track in self.tracker.tracks if track.id == id), None)

    def _is_another(self, track: Track, description: Description) -> bool:
        apart = self.naming.of(track.id).distance_of(description.vector)
        if apart is None or self._same_within is None or self._other_beyond is None:
            return False
        if track.doubtful:
            return apart > self._same_within
        return apart > self._other_beyond and description.weight >= WORTH_SPLITTING

    def _join_older(self, track: Track, vector: np.ndarray) -> None:
        """If the face of `track` was lost before, continue the earlier track."""
        if self._same_within is None:
            return
        lost = [
            (distance, other.id, other)
            for other in self.tracker.tracks
            if other is not track
            and other.seen < track.began
            and (distance := self.naming.of(other.id).distance_of(vector)) is not None
            and distance <= self._same_within
        ]
        if lost:
            *_, old = min(lost, key=lambda each: each[:2])
            self.tracker.merge(track, old)
            self.naming.join(track.id, old.id)
            before = self._known[old.id]
            self._known[old.id] = replace(self._known.pop(track.id), since=before.since, looks=before.looks)
            self._ended.append(track.id)

    def stale(self, generation: int) -> list[tuple[int, Description]]:
        """Descriptions that were compared with an earlier state of the gallery."""
        return [
            (track.id, each)
            for track in self.tracker.tracks
            for each in self.naming.of(track.id).descriptions
            if each.generation != generation
        ]

    def compared(self, stale: Sequence[tuple[int, Description]], matches: Sequence[Match], generation: int) -> None:
        """Replace the matches of stale descriptions."""
        self.naming.compare_anew(stale, matches, generation)

    def landmarks(self, tracks: Sequence[int], faces: Sequence[Face], points: np.ndarray) -> None:
        """Store 68 landmarks of detected faces."""
        for id, face, each in zip(tracks, faces, points, strict=True):
            if id in self._known:
                self._known[id].points, self._known[id].points_of = each, face

    def looks_due(self, time: float, attributes: Collection[str], most: int) -> list[tuple[int, Face, tuple[str, ...]]]:
        """Up to `most` of the faces detected at `time` that should be looked at, seen least first; for which attributes."""
        due = [
            (self._known[track].looks.pictures, track, face, names)
            for track, face in self.seen_at(time)
            if self._may_be_read(self._known[track]) and (names := self._known[track].looks.due(time, attributes))
        ]
        return [(track, face, names) for _, track, face, names in sorted(due, key=lambda each: each[:2])[:most]]

    @staticmethod
    def _may_be_read(known: _Known) -> bool:
        return is_good(known.quality) and (known.comparability is None or known.comparability.comparable)

    def looked(self, tracks: Sequence[int], evidence: Sequence[Mapping[str, np.ndarray]], time: float) -> None:
        """Take in the evidence about how faces of `time` look; tracks that are gone by now stay gone."""
        for id, each in zip(tracks, evidence, strict=True):
            if id in self._known:
                self._known[id].looks.take(each, self._known[id].weight, time)

    def passes_wanted(self, time: float) -> float:
        """How many detection passes a second are enough after the one of `time`; infinity if it should run again at once.

        Fewer while every face in sight is known and moves slowly. A known face that was just missed is looked for at once:
        after `tracker.BLINK` it would have to be described again.
        """
        wanted = CALM_PASSES
        in_sight = [track for track in self.tracker.tracks if time - track.seen <= self.tracker.shown]
        for track in in_sight:
            missed = time - track.seen
            known = self.naming.of(track.id).ripe and not track.doubtful
            if known and 0 < missed < BLINK:
                return math.inf
            if not known or missed or track.speed > SLOW:
                wanted = ENOUGH_PASSES
        return wanted if in_sight else ENOUGH_PASSES

    # -- what is known ------------------------------------------------------------------------------------------

    def seen_at(self, time: float) -> list[tuple[int, Face]]:
        """The tracks and faces that were detected at `time`."""
        return [(track.id, track.face) for track in self.tracker.tracks if track.seen == time]

    def faces(self, time: float, landmarks_68: bool = False, attributes: Collection[str] = ()) -> tuple[TrackedFace, ...]:
        """The faces at `time`, by track; those that were not detected then are at their predicted places."""
        if self._unshown is not None:
            self.tracker.delayed(time)
        visible = self._without_doubles(self.tracker.visible(time), time)
        self.naming.settle([track.id for track in visible])
        self._shown.update(track.id for track in visible)
        unshown, self._unshown = self._unshown, None
        return tuple(self._face(track, time, landmarks_68, attributes, unshown) for track in visible)

    def _without_doubles(self, visible: list[Track], time: float) -> list[Track]:
        """Remove predicted faces where another face was detected since: it is the same face, or hides it."""
        fresh = max((track.seen for track in visible), default=0.0)
        taken = [tuple(track.face_at(time).box) for track in visible if track.seen == fresh]

        def is_free(track: Track) -> bool:
            box = track.face_at(time).box
            return not any(_shared(tuple(box), other) > COVERED * box.area for other in taken)

        return [track for track in visible if track.seen == fresh or is_free(track)]

    def _face(
        self,
        track: Track,
        time: float,
        landmarks_68: bool,
        attributes: Collection[str],
        unshown: tuple[float, Frame] | None,
    ) -> TrackedFace:
        known, face = self._known[track.id], track.face_at(time)
        points = None
        if landmarks_68 and known.points is not None and known.points_of is not None:
            points = _moved(known.points, known.points_of, face)
        said = known.looks.attributes(attributes, known.quality) if attributes else None
        match = self.naming.of(track.id).match
        seen = SeenFace(face, points, match, known.quality, attributes=said, comparability=known.comparability)
        detected = track.seen >= time
        detected_in = None
        if unshown is not None and not detected and track.seen == unshown[0]:
            detected_in = DetectedIn(unshown[1], track.face.box)
        return TrackedFace(track.id, seen, detected, known.since, late=detected_in is not None, detected_in=detected_in)

    def ended(self, time: float) -> tuple[int, ...]:
        """Tracks that were shown, and have ended since the last call."""
        for track in self.tracker.expire(time):
            self._ended.append(track.id)
            self._known.pop(track.id, None)
            self.naming.forget(track.id)
        ended = tuple(sorted(self._shown.intersection(self._ended)))
        self._shown.difference_update(self._ended)
        self._ended = []
        return ended


def single(faces: Faces) -> Faces:
    """Remove boxes inside another of similar size and better score: one face, detected twice."""
    boxes, areas = faces.boxes, (faces.boxes[:, 2:] - faces.boxes[:, :2]).prod(axis=1)
    kept: list[int] = []
    for i in np.argsort(-faces.scores, kind="stable"):
        small, large = np.minimum(areas[i], areas[kept]), np.maximum(areas[i], areas[kept])
        shared = np.array([_shared(boxes[i], boxes[j]) for j in kept])
        if not ((shared >= WITHIN * small) & (large <= LIKE * small)).any():
            kept.append(int(i))
    return faces if len(kept) == len(faces) else faces.select(sorted(kept))


def _shared(one, other) -> float:
    """Area of the intersection of two boxes."""
    width, height = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _moved(points: np.ndarray, of: Face, to: Face) -> np.ndarray:
    """Landmarks of a face, moved along with its box."""
    if to is of:
        return points
    scale = to.box.width / of.box.width, to.box.height / of.box.height
    return ((points - of.box.centre) * scale + to.box.centre).astype(np.float32)
