"""Photos and enrolments that the tests of enrolment and of the watcher share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from recognizer.core.vault import Vault
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.enrolment import Enrolment
from recognizer.enrolment.examination import EncodingOptions, EnrolmentRules
from recognizer.enrolment.folder import KnownFaces
from recognizer.galleries.memory import MemoryGallery
from recognizer.photos import images

#: Seconds after which something that should happen soon is taken for not happening; no test asserts a time.
PATIENCE = 60


class Spy:
    """A real engine that counts the faces it describes."""

    def __init__(self, engine):
        self._engine, self._lock, self.described = engine, threading.Lock(), 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def described_all(self, photos):
        with self._lock:
            self.described += sum(len(faces) for _, faces in photos)
        return self._engine.described_all(photos)


class Home:
    """A folder of known faces with its state, and enrolments of it."""

    def __init__(self, root: Path, engine, recipe: dict, vault: Vault | None = None):
        self.root, self.recipe, self.vault = root, recipe, vault
        self.known = KnownFaces(root / "known_faces", vault)
        self.engine = Spy(engine)
        self.cache_file = root / "state" / "encodings.sqlite"
        self._open: list[Enrolment] = []

    def enrolment(self, engine=None, workers: int = 1, keep_photos: bool = True, **rules) -> Enrolment:
        engine = engine or self.engine
        gallery = MemoryGallery(engine.info.id, engine.info.dim)
        cache = EncodingsCache(self.cache_file, self.vault)
        options = EncodingOptions(engine, self.recipe, EnrolmentRules(**rules), workers)
        made = Enrolment(self.known, cache, gallery, options, keep_photos)
        self._open.append(made)
        return made

    def put(self, path: str, data: bytes) -> Path:
        file = self.known.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return file

    def close(self):
        for each in self._open:
            each.cache.close()


def portrait(path: Path, long_side: int = 400) -> np.ndarray:
    return images.resize(images.decode(path.read_bytes()).pixels, long_side)


def jpeg(pixels: np.ndarray, seed: int = 0) -> bytes:
    """A JPEG of these pixels; another `seed` gives another photo of the same, of another shape, so that none is a copy."""
    if seed:
        height = pixels.shape[0]
        pixels = cv2.copyMakeBorder(pixels, 0, round(height * 1.04**seed) - height, 0, 0, cv2.BORDER_CONSTANT)
    return images.encode_jpeg(pixels)


def eventually(true: Callable[[], bool]) -> bool:
    """Wait until `true()`; False if that does not come."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False
