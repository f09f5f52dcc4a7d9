"""Detects and names faces with the limits that are set for one camera, where they differ from the server's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recognizer.core.types import Candidate, Faces, Match
from recognizer.photos.images import Image
from recognizer.video.camera_settings import CameraSettings
from recognizer.video.frames import Vision


class CameraVision:
    """The steps of `video.frames.Vision` for one camera. Any thread may call.

    Parameters
    ----------
    base : Vision
        Does everything.
    settings : callable
        Returns the camera's settings as they are now.
    revision : callable
        Returns a number that increases when they change: tracks are then compared again.
    """

    def __init__(self, base: Vision, settings: Callable[[], CameraSettings], revision: Callable[[], int]):
        self._base, self._settings, self._revision = base, settings, revision

    def __getattr__(self, name: str) -> Any:
        return getattr(self._base, name)

    @property
    def generation(self) -> int:
        """Increases with every change of the gallery, and of the camera's settings."""
        return self._base.generation + self._revision()

    def detect(self, image: Image, min_face: int | None = None) -> Faces:
        return self._base.detect(image, self._settings().min_face if min_face is None else min_face)

    def match(self, vectors: np.ndarray, stranger_rate: float | None = None) -> list[Match]:
        return self._base.match(vectors, self._settings().stranger_rate if stranger_rate is None else stranger_rate)

    def decide(self, candidates: Sequence[Candidate], stranger_rate: float | None = None) -> Match:
        return self._base.decide(candidates, self._settings().stranger_rate if stranger_rate is None else stranger_rate)
