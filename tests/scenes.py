"""Scripts of what a camera shows, frame by frame, on a clock of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recognizer.core.types import Box, Face, Match
from recognizer.events.appearances import Appearances, Event, EventRules
from recognizer.photos.results import SeenFace
from recognizer.video.frames import Frame, FrameResult, TrackedFace

#: 2026-11-21T10:00:00Z
BEGIN = 1_795_255_200.0
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Camera:
    id: str = "door"
    name: str = "Front door"


@dataclass(frozen=True)
class State:
    name: str
    reason: str = ""
    since: float = 0.0


def face(track: int, name: str | None, at: float = 100, *, detected=True, since=BEGIN, size=40, score=0.9) -> TrackedFace:
    """A face that is followed; `name` is a subject, None for a stranger, or `UNDECIDED`."""
    match = None
    if name != UNDECIDED:
        match = Match(name, 0.4 if name else 1.5, 1.3, 1e-6 if name else 0.2)
    box = Box(at, 50, at + size, 50 + size)
    seen = SeenFace(Face(box, score, np.zeros((5, 2), np.float32), "yunet5"), match=match)
    return TrackedFace(track, seen, detected, since)


def frame(number: int, *faces: TrackedFace, time: float = BEGIN, pixels: np.ndarray | None = None) -> FrameResult:
    if pixels is None:
        pixels = np.full((240, 320, 3), number % 256, np.uint8)
    return FrameResult(Frame(pixels, number, time, time), tuple(faces))


class Scene:
    """Plays frames to `Appearances` and gathers the events; ids are given as the log does."""

    def __init__(self, rules: EventRules | None = None, rate: float = 10.0):
        self.appearances = Appearances(rules or EventRules())
        self.now, self.rate, self.number = 0.0, rate, 0
        self.events: list[Event] = []
        self.ids = 0

    def keep(self, made: Iterator[Event]) -> None:
        for event in made:
            self.ids += 1
            if event.kind in ("appeared", "unknown"):
                event.presence.told = self.ids
            self.events.append(event)

    def show(self, seconds: float, *faces: TrackedFace, camera: str = "door") -> Scene:
        """Frames that show these faces for so long."""
        for _ in range(round(seconds * self.rate)):
            self.keep(self.appearances.observe(camera, frame(self.number, *faces, time=BEGIN + self.now), self.now))
            self.now += 1 / self.rate
            self.number += 1
        return self

    def wait(self, seconds: float) -> Scene:
        """Time passes, no frame comes."""
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            self.keep(self.appearances.tick(self.now, BEGIN + self.now))
        return self

    def state(self, name: str, reason: str = "", camera: str = "door") -> Scene:
        self.keep(self.appearances.state(camera, name, reason, self.now, BEGIN + self.now))
        return self

    @property
    def story(self) -> list[str]:
        """The events so far, in short."""
        return [event.kind + (f" {event.subject}" if event.subject else "") for event in self.events]
