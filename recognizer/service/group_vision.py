"""Cameras at which the people of one group are named: as ``<group>/<name>``, which no name of the default group can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.core.types import Candidate, Match
from recognizer.service.groups import SEPARATOR

if TYPE_CHECKING:
    from recognizer.core.types import Faces
    from recognizer.photos.images import Image
    from recognizer.photos.quality import Quality
    from recognizer.photos.remarks import Comparability
    from recognizer.video.tracking.vision import EngineVision


class GroupVision:
    """The steps of `video.frames.Vision` for one group. Any thread may call.

    The group may be made, deleted and made again while the camera runs; while there is none, nobody is named.

    Parameters
    ----------
    name : str
        Of the group.
    base : EngineVision
        Does everything that is not about names.
    find : callable
        Returns what names the people of the group now; None where there is no such group.
    """

    def __init__(self, name: str, base: EngineVision, find: Callable[[], EngineVision | None]):
        self._prefix, self._base, self._find = name + SEPARATOR, base, find
        self._known: EngineVision | None = None
        self._serial = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    def _now(self) -> EngineVision | None:
        found = self._find()
        if found is not self._known:  # another group of the name: everybody is compared again
            self._known, self._serial = found, self._serial + 1
        return found

    @property
    def generation(self) -> int:
        """Increases with every change of the group's gallery, and with every other group of the name."""
        found = self._now()
        return (self._serial << 40) + (0 if found is None else found.generation)

    def detect(self, image: Image, min_face: int | None = None) -> Faces:
        return self._base.detect(image, min_face)

    def describe(self, image: Image, faces: Faces, qualities: Sequence[Quality]) -> tuple[np.ndarray, Sequence[Comparability]]:
        return self._base.describe(image, faces, qualities)

    def match(self, vectors: np.ndarray, stranger_rate: float | None = None) -> list[Match]:
        found = self._now()
        if found is None:
            return [self._base.decide([], stranger_rate) for _ in vectors]
        return [self._named(match) for match in found.match(vectors, stranger_rate)]

    def decide(self, candidates: Sequence[Candidate], stranger_rate: float | None = None) -> Match:
        return (self._now() or self._base).decide(candidates, stranger_rate)

    def _named(self, match: Match) -> Match:
        candidates = tuple(replace(each, subject=self._prefix + each.subject) for each in match.candidates)
        return replace(match, subject=match.subject and self._prefix + match.subject, candidates=candidates)
