"""A camera before which tests hold photos."""

from __future__ import annotations

import numpy as np
import pytest

from recognizer.photos import images

from ..streams import HttpCamera


class Stage(HttpCamera):
    """A camera before which photos are held; its noise shows that it is alive."""

    def __init__(self):
        super().__init__()
        self.rate, self.scene = 12.0, np.full((360, 640, 3), 90, np.uint8)
        self.noise = np.random.default_rng(0)

    def hold(self, photo: bytes | None) -> None:
        scene = np.full((360, 640, 3), 90, np.uint8)
        if photo is not None:
            pixels = images.resize(images.decode(photo, max_bytes=10**8, max_pixels=10**8).pixels, 340)
            scene[10 : 10 + pixels.shape[0], 150 : 150 + pixels.shape[1]] = pixels[:340, :480]
        self.scene = scene

    def picture(self) -> bytes:
        scene = self.scene.copy()
        scene[:8] = self.noise.integers(0, 255, (8, 640, 3), np.uint8)
        return images.encode_jpeg(scene)


@pytest.fixture(scope="module")
def stage():
    with Stage() as camera:
        yield camera
