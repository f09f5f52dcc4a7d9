"""Cameras and a Vision that follow a script, for tests of live video without networks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from recognizer.core.types import Box, Candidate, Faces, Match
from recognizer.galleries import matching, thresholds
from recognizer.photos.quality import Quality
from recognizer.photos.remarks import Comparability
from recognizer.photos.results import FoundObject
from recognizer.video.frames import Frame

THRESHOLD = 1.0
CURVE = thresholds.Curve([0.5, 1.0, 1.5], [1e-6, 1e-2, 0.5])
SIZE = 320, 180


@dataclass
class Actor:
    """Somebody in the picture: a vector, and where their face is in picture number n (centre x, y, size), or None."""

    vector: np.ndarray
    place: Callable[[int], tuple[float, float, float] | None]
    sharpness: float = 0.1


def axis(i: int, dim: int = 64) -> np.ndarray:
    vector = np.zeros(dim, np.float32)
    vector[i] = 1
    return vector


@cache
def scenery(level: int) -> np.ndarray:
    """Another scene for each level."""
    coarse = np.random.default_rng(level).integers(0, 255, (6, 10, 3)).astype(np.uint8)
    return coarse.repeat(30, axis=0).repeat(32, axis=1)


def picture(number: int, level: int = 128, moving: bool = True) -> np.ndarray:
    """A picture that carries its number; `moving`, also large enough that no two pictures show the same."""
    pixels = scenery(level).copy()
    pixels[0, 0] = number % 256, number // 256, 0
    if moving:
        for bit in range(14):
            pixels[8:16, 8 * bit + 8 : 8 * bit + 16] = 255 * (number >> bit & 1)
    return pixels


scenery(128)  # made before anybody measures


class Camera:
    """Gives numbered pictures: all of them one by one, or, with a rate, the newest one as the event loop's time passes.
    In those whose number is not `moving`, nothing else changes."""

    def __init__(
        self,
        count: int,
        rate: float | None = None,
        level: Callable[[int], int] = lambda number: 128,
        moving: Callable[[int], bool] = lambda number: True,
    ):
        self.count, self.rate, self.level, self.moving = count, rate, level, moving
        self.paced = rate is not None
        self._began: float | None = None

    async def next(self, after: int) -> Frame | None:
        if self.rate is None:
            number = after + 1
            await asyncio.sleep(0)
        else:
            now = asyncio.get_running_loop().time()
            if self._began is None:
                self._began = now
            number = max(after + 1, int((now - self._began) * self.rate))
            await asyncio.sleep(max(0.0, self._began + number / self.rate - now))
        if number >= self.count:
            return None
        position = number / (self.rate or 25)
        return Frame(
            picture(number, self.level(number), self.moving(number)),
            number,
            time.time(),
            asyncio.get_running_loop().time(),
            position,
        )


@dataclass
class Vision:
    """Sees what the script says. Counts its calls, and the threads that they came from."""

    actors: Sequence[Actor] = ()
    enrolled: dict[str, np.ndarray] = field(default_factory=dict)
    slow: Callable[[str], None] = lambda step: None
    same_within: float = 0.5
    other_beyond: float = 1.2
    generation: int = 0
    broken: Callable[[str, int], Exception | None] = lambda step, call: None

    def __post_init__(self):
        self.calls: Counter = Counter()
        self.threads: set[int] = set()
        self._lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    def _step(self, name: str) -> None:
        with self._lock:
            self.calls[name] += 1
            call = self.calls[name]
            self.threads.add(threading.get_ident())
        error = self.broken(name, call)
        if error is not None:
            raise error
        self.slow(name)

    def _here(self, image) -> list[tuple[Actor, tuple[float, float, float]]]:
        number = int(image.pixels[0, 0, 0]) + 256 * int(image.pixels[0, 0, 1])
        return [(actor, place) for actor in self.actors if (place := actor.place(number)) is not None]

    def detect(self, image) -> Faces:
        self._step("detect")
        places = [place for _, place in self._here(image)]
        if not places:
            return Faces.empty()
        boxes = np.array([[x - s / 2, y - s / 2, x + s / 2, y + s / 2] for x, y, s in places])
        points = np.array([np.full((5, 2), (x, y)) for x, y, _ in places], np.float32)
        return Faces(boxes, np.full(len(places), 0.95), points)

    def _actor(self, image, face) -> Actor:
        x, y = face.box.centre
        return min(self._here(image), key=lambda each: abs(each[1][0] - x) + abs(each[1][1] - y))[0]

    def describe(self, image, faces: Faces, qualities: Sequence[Quality]) -> tuple[np.ndarray, list[Comparability]]:
        self._step("describe")
        self.calls["described"] += len(faces)
        vectors = np.array([self._actor(image, face).vector for face in faces], np.float32)
        return vectors, [Comparability()] * len(faces)

    def match(self, vectors: np.ndarray) -> list[Match]:
        self._step("match")
        found = []
        for vector in vectors:
            near = [Candidate(name, float(np.linalg.norm(vector - own))) for name, own in self.enrolled.items()]
            found.append(self.decide(sorted(near, key=lambda each: each.distance)))
        return found

    def decide(self, candidates: Sequence[Candidate]) -> Match:
        return matching.decide(candidates, THRESHOLD, CURVE, margin=0.05)

    def qualities(self, image, faces: Faces) -> list[Quality]:
        return [Quality(face.box.size, self._actor(image, face).sharpness, 0, 0, 0, 0, 120, 40, 0, 0.95) for face in faces]

    def landmarks_68(self, image, faces: Faces) -> np.ndarray:
        self._step("landmarks")
        return np.array([np.full((68, 2), face.box.centre) for face in faces], np.float32)

    def objects(self, pixels: np.ndarray, threshold: float) -> list[FoundObject]:
        self._step("objects")
        return [FoundObject("chair", 0.9, Box(0, 0, 10, 10))]
