"""What cameras show, as events: who appeared, who left, an unknown person, a camera that was lost or came back.

Turns results of a pipeline and times into events, without any input, output or waiting. `event_hub` runs it.

One event per appearance, not per frame. A track counts once it has lasted (`EventRules.shown_seconds`) and was found often
enough (`EventRules.shown_frames`). Then:

- A track that was named gives `appeared`, unless that person is at the camera already: a second track of theirs joins it.
- A track that was compared and stayed nameless for `EventRules.unknown_seconds` without a break gives `unknown`. One that was
  not compared yet gives nothing. A new nameless track near where an unknown person was seen less than
  `EventRules.left_seconds` ago is the same one.
- A track that is named after it was reported as unknown gives `appeared`, whose `replaces` is the id of the `unknown`. No
  `left` follows for that `unknown`. If that person is at the camera already, the `unknown` gets a `left` whose `same_as` is
  the id of the person's `appeared`.
- An `unknown` whose track had a name before has the `same_as` of that person, since its picture may show that person.
- Somebody whose event is out and who then enters a named zone of the camera for the first time gives `entered`.
- A person who was not seen for `EventRules.left_seconds` gets `left`. Coming back sooner is no event.
- A camera's new state gives an event when it has lasted `EventRules.camera_seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

import numpy as np

from recognizer.core.answers import FaceAttributes
from recognizer.core.types import Box, Match
from recognizer.photos.quality import LEAST_VALUE, picture_value
from recognizer.video.frames import Frame, FrameResult, TrackedFace

PEOPLE_KINDS = ("appeared", "left", "unknown")
#: Kinds of events about a camera, by the name of its state.
CAMERA_KINDS = {
    "live": "camera_live",
    "lost": "camera_lost",
    "frozen": "camera_frozen",
    "ended": "camera_ended",
}
#: The state of a camera that is no longer read here.
GONE = "gone"
#: What is said of somebody who is no longer seen while a camera is not live.
_REASONS = {"lost": "the camera is lost", "frozen": "the camera is frozen", "ended": "the camera has ended"}
#: Somebody who is there enters a zone of the camera.
ENTERED = "entered"
KINDS = (*PEOPLE_KINDS, ENTERED, *CAMERA_KINDS.values())
THUMBNAIL = 160
_EDGES = ("left", "top", "right", "bottom")
#: Maximum distance of a nameless face from an unknown person's last position to count as the same person, in face widths.
_NEAR = 2.0
#: Factor by which a face's quality must exceed that of its picture for a new picture to be taken.
_BETTER = 1.15


@dataclass(frozen=True, slots=True)
class EventRules:
    """When something is an event.

    Attributes
    ----------
    shown_seconds, shown_frames
        How long a face must be followed, and how often detected, before it counts.
    unknown_seconds : float
        How long it must be without a name to count as an unknown person.
    unknown_quality : float
        Least quality, 0 to 1, of the best picture of an unknown person; see `quality.picture_value`. 0: any.
    left_seconds : float
        How long a person must be unseen to have left.
    camera_seconds : float
        How long a camera's state must last before it is reported.
    attributes : bool
        Whether events contain how people looked.
    """

    shown_seconds: float = 0.5
    shown_frames: int = 3
    unknown_seconds: float = 2.0
    left_seconds: float = 5.0
    camera_seconds: float = 2.0
    attributes: bool = False
    unknown_quality: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Something that happened at a camera. Times are seconds since the epoch.

    Attributes
    ----------
    id : int
        0 until the log assigns one.
    kind : str
        One of `KINDS`.
    since : float or None
        When the person was first seen.
    seconds : float or None
        Of `left`: from when the person was first seen to when last.
    match : Match or None
        From the best moment of the track.
    box : Box or None
        Where the face was in the frame that `picture` shows.
    picture : ndarray of uint8 (h, w, 3) or None
        The face in its best frame so far.
    presence : CameraPresence or None
        The presence that begins or ends; the hub stores the event's id there.
    appearance : int or None
        Of `left` and `entered`: the id of the event that reported this person's arrival.
    replaces : int or None
        Of `appeared`: the `unknown` that turned out to be this person.
    same_as : int or None
        Of an unknown person: the `appeared` of the enrolled person whose face the track showed as well.
    reason : str or None
        Of a camera's event: the sentence that says why.
    attributes : FaceAttributes or None
        How the person looked, decided so far.
    zones : tuple of str
        Names of the camera's zones in which the person was seen so far, in this order; of `entered`, only the new ones.
    """

    kind: str
    camera: str
    time: float
    id: int = 0
    subject: str | None = None
    track: int | None = None
    since: float | None = None
    seconds: float | None = None
    match: Match | None = None
    box: Box | None = None
    picture: np.ndarray | None = None
    presence: CameraPresence | None = None
    appearance: int | None = None
    replaces: int | None = None
    same_as: int | None = None
    reason: str | None = None
    attributes: FaceAttributes | None = None
    zones: tuple[str, ...] = ()


@dataclass(eq=False)
class CameraPresence:
    """Somebody who is at a camera.

    Attributes
    ----------
    told : int
        The id of the event that reported this person, set by the hub.
    pictured : bool
        Whether that event has a thumbnail, set by the hub.
    known : CameraPresence or None
        Of an unknown person: the enrolled person whose face the same track showed as well.
    """

    subject: str | None
    track: int
    since: float  # both wall clock
    last_wall: float
    last: float  # steady clock
    box: Box
    told: int = 0
    pictured: bool = False
    shot: _Shot | None = None
    known: CameraPresence | None = None
    attributes: FaceAttributes | None = None
    zones: tuple[str, ...] = ()


@dataclass(eq=False)
class _Shot:
    """The best picture of a face so far. `worth` ranks pictures, `clearness` is the quality, 0 to 1."""

    worth: float
    pixels: np.ndarray
    box: Box
    match: Match | None
    clearness: float = 0.0


@dataclass(eq=False)
class _Track:
    """A face that is followed. `nameless` is when it was first compared and had no name, since it last had one."""

    number: int
    since: float
    first: float
    last: float
    frames: int = 0
    subject: str | None = None
    nameless: float | None = None
    match: Match | None = None
    shot: _Shot | None = None
    presence: CameraPresence | None = None
    attributes: FaceAttributes | None = None
    zones: tuple[str, ...] = ()


@dataclass(eq=False)
class _Camera:
    """What is known of one camera: its tracks by number and beginning, and who is there."""

    tracks: dict[tuple[int, float], _Track] = field(default_factory=dict)
    present: list[CameraPresence] = field(default_factory=list)
    told: str | None = None
    pending: tuple[str, str, float, float] | None = None  # state, reason, since when on either clock


class Appearances:
    """Turns results into events. Owns who is where; one thread calls it.

    Every method takes ``now``, seconds on a clock that never jumps, and yields the events of this moment.

    Parameters
    ----------
    rules : EventRules
    unknown_quality : callable
        Returns the `EventRules.unknown_quality` of a camera of its own, by the camera's id; None for that of the rules.
    """

    def __init__(self, rules: EventRules | None = None, unknown_quality: Callable[[str], float | None] = lambda camera: None):
        self.rules, self._unknown_quality = rules or EventRules(), unknown_quality
        self._cameras: dict[str, _Camera] = {}

    def observe(self, camera: str, result: FrameResult, now: float) -> Iterator[Event]:
        """Process the result of a frame; events have the frame's own time."""
        held = self._cameras.setdefault(camera, _Camera())
        wall = result.frame.time
        yield from self._states(camera, held, now)
        yield from self._left(camera, held, now, wall)
        for face in result.faces:
            yield from self._follow(camera, held, face, result, now)
        yield from self._appeared(camera, held, now, wall)

    def state(self, camera: str, state: str, reason: str, now: float, wall: float) -> Iterator[Event]:
        """Process a camera's new state."""
        held = self._cameras.setdefault(camera, _Camera())
        if state == GONE:
            held.told = held.pending = None
        elif state in ("idle", held.told):
            held.pending = None
        elif state in CAMERA_KINDS and (held.pending is None or held.pending[0] != state):
            held.pending = (state, reason, now, wall)
        yield from self._states(camera, held, now)

    def tick(self, now: float, wall: float) -> Iterator[Event]:
        """Let time pass: people leave even if no frame comes."""
        for camera, held in list(self._cameras.items()):
            yield from self._states(camera, held, now)
            yield from self._left(camera, held, now, wall)

    def end(self, wall: float, reason: str, camera: str | None = None) -> Iterator[Event]:
        """Let everybody leave, at one camera or at all: it is no longer watched."""
        for name in [camera] if camera is not None else list(self._cameras):
            held = self._cameras.pop(name, _Camera())
            for presence in held.present:
                yield replace(_left(name, presence, wall), reason=reason)

    # -- people who are erased or renamed -----------------------------------------------------------------------

    def find(self, subject: str) -> list[CameraPresence]:
        """Everybody at a camera who is this person, or an unknown one who turned out to be this person."""
        everybody = [each for held in self._cameras.values() for each in held.present]
        return [each for each in everybody if subject in (each.subject, each.known and each.known.subject)]

    def rename(self, old: str, new: str) -> None:
        """Give a person at a camera another name."""
        for held in self._cameras.values():
            for presence in [each for each in held.present if each.subject == old]:
                other = next((each for each in held.present if each.subject == new), None)
                presence.subject = new
                if other is not None:  # two were merged: the one who came first stays
                    first, second = sorted((presence, other), key=lambda each: each.since)
                    first.last, first.last_wall = max(first.last, second.last), max(first.last_wall, second.last_wall)
                    held.present.remove(second)
                    for track in held.tracks.values():
                        track.presence = first if track.presence is second else track.presence
            for track in held.tracks.values():
                track.subject = new if track.subject == old else track.subject

    def erase(self, subject: str) -> set[int]:
        """Turn a person at a camera into an unknown one without pictures; returns the ids of the events about them so far.

        A `left` without a name follows when that person leaves.
        """
        theirs, told = self.find(subject), set()
        for presence in theirs:
            told |= {presence.told} | ({presence.known.told} if presence.known is not None else set())
            presence.shot, presence.pictured, presence.known, presence.attributes = None, False, None, None
        for held in self._cameras.values():
            for track in held.tracks.values():
                if track.subject == subject or track.presence in theirs:
                    track.subject = track.nameless = track.match = track.shot = track.attributes = None
        for presence in theirs:
            presence.subject = None
        return told - {0}

    @property
    def present(self) -> dict[str, list[CameraPresence]]:
        """Who is at which camera; cameras without people are omitted."""
        return {camera: list(held.present) for camera, held in self._cameras.items() if held.present}

    @property
    def states(self) -> dict[str, str]:
        """The last reported state of each camera."""
        return {camera: held.told for camera, held in self._cameras.items() if held.told}

    # -- faces --------------------------------------------------------------------------------------------------

    def _follow(self, camera: str, held: _Camera, face: TrackedFace, result: FrameResult, now: float) -> Iterator[Event]:
        key = (face.track, face.since)  # numbers begin anew when a pipeline does
        track = held.tracks.get(key)
        if track is None:
            track = held.tracks[key] = _Track(face.track, face.since, now, now)
        track.last = now
        track.frames += face.found
        if face.decided:
            track.match = face.seen.match
            if face.subject is not None:
                track.subject, track.nameless = face.subject, None
            elif track.nameless is None:
                track.nameless = now
        if face.found:
            _take_picture(track, face, result.frame)
        if self.rules.attributes and face.seen.attributes is not None and face.seen.attributes.labels:
            track.attributes = face.seen.attributes
        track.zones = _joined(track.zones, face.zones)
        presence = self._shown_by(held, track, face, now)
        if presence is not None:
            presence.attributes = track.attributes or presence.attributes
            before, presence.zones = presence.zones, _joined(presence.zones, face.zones)
            presence.last, presence.last_wall, presence.box = now, result.frame.time, face.box
            is_named_now = presence.subject is None and face.subject is not None  # `appeared` follows, with all zones
            if presence.zones is not before and not is_named_now:
                yield _entered(camera, presence, result.frame.time, presence.zones[len(before) :])

    def _shown_by(self, held: _Camera, track: _Track, face: TrackedFace, now: float) -> CameraPresence | None:
        """The person, among those present, whom this face keeps present, even if it has not lasted long enough for an event."""
        presence = track.presence
        if presence is None:
            return None if not face.decided else self._known(held, track, face.subject)
        if presence.subject is None or face.subject == presence.subject:
            return presence
        # a name that disappears for a moment is still that person; a lasting loss or another name is not
        flickers = face.subject is None and now - (track.nameless or now) < self.rules.unknown_seconds
        return presence if flickers else None

    def _appeared(self, camera: str, held: _Camera, now: float, wall: float) -> Iterator[Event]:
        for track in held.tracks.values():
            if now - track.first < self.rules.shown_seconds or track.frames < self.rules.shown_frames:
                continue
            nameless = track.nameless is not None and now - track.nameless >= self.rules.unknown_seconds
            subject = None if nameless else track.subject
            if track.last != now or (subject is None and not nameless):
                continue
            if track.presence is not None and track.presence.subject == subject:
                continue
            if subject is None and track.presence is None and not self._is_clear(camera, track):
                continue
            before, presence = track.presence, self._known(held, track, subject)
            track.presence = presence
            if presence is None:
                yield self._begin(camera, held, track, subject, before, wall, now)
            elif before is not None and before.subject is None and subject is not None:
                # this person was present all the time, as the unknown person
                before.known = presence
                yield from self._dissolve(camera, held, before, wall)
            presence = track.presence
            assert presence is not None  # `_begin` sets it
            presence.last, presence.last_wall = now, wall
            presence.box = track.shot.box if track.shot else presence.box

    def _is_clear(self, camera: str, track: _Track) -> bool:
        """Whether the best picture of a nameless track is good enough to be somebody: a dark smudge is no event."""
        own = self._unknown_quality(camera)
        least = self.rules.unknown_quality if own is None else own
        return least <= 0 or (track.shot is not None and track.shot.clearness >= least)

    def _known(self, held: _Camera, track: _Track, subject: str | None) -> CameraPresence | None:
        """The person, among those present, whom this track shows."""
        if subject is not None:
            return next((each for each in held.present if each.subject == subject), None)
        followed = {id(each.presence) for each in held.tracks.values() if each is not track and each.last >= track.first}
        nearby = [
            each
            for each in held.present
            if each.subject is None and id(each) not in followed and track.shot and _near(each.box, track.shot.box)
        ]
        return max(nearby, key=lambda each: each.last, default=None)

    def _begin(self, camera, held: _Camera, track: _Track, subject, before: CameraPresence | None, wall, now) -> Event:
        replaces = None
        if subject is not None and before is not None and before.subject is None:
            held.present.remove(before)
            replaces = before.told
            for other in held.tracks.values():
                if other.presence is before:
                    other.presence = None
        since = before.since if before is not None and replaces is not None else track.since
        shot = track.shot
        presence = CameraPresence(subject, track.number, since, wall, now, shot.box if shot else Box(0, 0, 1, 1), shot=shot)
        presence.attributes = track.attributes
        presence.zones = track.zones if replaces is None or before is None else _joined(before.zones, track.zones)
        if subject is None and before is not None and before.subject is not None:
            presence.known = before
        track.presence = presence
        held.present.append(presence)
        return Event(
            "unknown" if subject is None else "appeared",
            camera,
            wall,
            subject=subject,
            track=track.number,
            since=since,
            match=_fitting(shot, track, subject),
            box=shot.box if shot else None,
            picture=shot.pixels if shot else None,
            presence=presence,
            replaces=replaces,
            same_as=presence.known.told if presence.known is not None else None,
            attributes=presence.attributes,
            zones=presence.zones,
        )

    def _dissolve(self, camera: str, held: _Camera, presence: CameraPresence, wall: float) -> Iterator[Event]:
        if any(track.presence is presence for track in held.tracks.values()):
            return
        held.present.remove(presence)
        yield _left(camera, presence, wall)

    def _left(self, camera: str, held: _Camera, now: float, wall: float) -> Iterator[Event]:
        limit = now - self.rules.left_seconds
        for key in [key for key, track in held.tracks.items() if track.last < limit]:
            del held.tracks[key]
        for presence in [presence for presence in held.present if presence.last <= limit]:
            held.present.remove(presence)
            for track in held.tracks.values():
                if track.presence is presence:
                    track.presence = None
            yield replace(_left(camera, presence, wall), reason=self._why(held))

    def _why(self, held: _Camera) -> str | None:
        return None if held.told is None else _REASONS.get(held.told)

    # -- cameras ------------------------------------------------------------------------------------------------

    def _states(self, camera: str, held: _Camera, now: float) -> Iterator[Event]:
        if held.pending is None or now - held.pending[2] < self.rules.camera_seconds:
            return
        state, reason, _, wall = held.pending
        held.pending, held.told = None, state
        yield Event(CAMERA_KINDS[state], camera, wall, reason=reason)


def _left(camera: str, presence: CameraPresence, wall: float) -> Event:
    return Event(
        "left",
        camera,
        wall,
        subject=presence.subject,
        track=presence.track,
        since=presence.since,
        seconds=max(0.0, presence.last_wall - presence.since),
        match=presence.shot.match if presence.shot else None,
        box=presence.box,
        presence=presence,
        appearance=presence.told,
        same_as=presence.known.told if presence.known is not None else None,
        attributes=presence.attributes,
        zones=presence.zones,
    )


def _entered(camera: str, presence: CameraPresence, wall: float, zones: tuple[str, ...]) -> Event:
    return replace(_left(camera, presence, wall), kind=ENTERED, seconds=None, zones=zones)


def _joined(zones: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return zones if not more or set(more) <= set(zones) else tuple(dict.fromkeys((*zones, *more)))


def _near(one: Box, other: Box) -> bool:
    (x, y), (u, v) = one.centre, other.centre
    reach = _NEAR * max(one.width, one.height, other.width, other.height)
    return abs(x - u) <= reach and abs(y - v) <= reach


def _fitting(shot: _Shot | None, track: _Track, subject: str | None) -> Match | None:
    """The match that belongs to the picture, if it agrees with the final decision; else the newest."""
    if shot is not None and shot.match is not None and shot.match.subject == subject:
        return shot.match
    return track.match


def _take_picture(track: _Track, face: TrackedFace, shown: Frame) -> None:
    """Store the face's picture if it is the best so far."""
    quality = face.seen.quality
    if quality is not None:
        worth = picture_value(quality, full_size=THUMBNAIL)
    else:  # a face whose quality was not measured ranks below all others
        worth = LEAST_VALUE * min(1.0, face.box.size / THUMBNAIL) * face.seen.score
    shot = track.shot
    if shot is None or worth > _BETTER * shot.worth:
        found = face.picture(shown)
        clearness = 0.0 if quality is None else picture_value(quality)
        track.shot = _Shot(worth, cut(found.frame.pixels, found.box), found.box, face.seen.match, clearness)
    elif shot.match is None or (face.subject is not None and shot.match.subject != face.subject):
        shot.match = face.seen.match


def cut(pixels: np.ndarray, box: Box, side: int = 2 * THUMBNAIL) -> np.ndarray:
    """A copy of the square around a face, thinned out to at most about `side` pixels."""
    height, width = pixels.shape[:2]
    (x, y), half = box.centre, 0.7 * max(box.width, box.height)
    left, top = int(min(max(0, x - half), width - 1)), int(min(max(0, y - half), height - 1))
    right, bottom = max(left + 1, int(min(width, x + half))), max(top + 1, int(min(height, y + half)))
    step = max(1, max(right - left, bottom - top) // side)
    return pixels[top:bottom:step, left:right:step].copy()


# -- as plain data ----------------------------------------------------------------------------------------------------


def iso(seconds: float) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain(event: Event) -> dict:
    """An event as it is logged, sent and answered; the log sets `thumbnail` when it stores the picture."""
    match, box = event.match, event.box
    shown = {
        "id": event.id,
        "kind": event.kind,
        "camera": event.camera,
        "time": iso(event.time),
        "subject": event.subject,
        "track": event.track,
        "distance": None if match is None or match.distance is None else round(float(match.distance), 4),
        "false_match_rate": None if match is None or match.false_match_rate is None else float(f"{match.false_match_rate:.3g}"),
        "box": None if box is None else dict(zip(_EDGES, (round(edge) for edge in box), strict=True)),
        "thumbnail": None,
    }
    for name, value in (
        ("since", None if event.since is None else iso(event.since)),
        ("seconds", None if event.seconds is None else round(event.seconds, 1)),
        ("appearance", event.appearance or None),
        ("replaces", event.replaces or None),
        ("same_as", event.same_as or None),
        ("reason", event.reason),
        ("attributes", None if event.attributes is None else event.attributes.said()),
        ("zones", list(event.zones) or None),
    ):
        if value is not None:
            shown[name] = value
    return shown
