"""An engine: one detector and one embedder, applied to photos of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import images, quality
from ..quality import Quality
from ..types import Faces
from .base import Detector, Embedder, EngineInfo

#: Side in pixels, of a face's box, beyond which decoding a photo any sharper changes nothing that an embedder sees:
#: dlib shows a box at 100 px, SFace at less.
ENOUGH_FOR_CHIP = 120
#: A first look that found no face, or one smaller than this in the copy that was looked at, earns a second, larger
#: look (benchmarks/detection.py prints what that costs and brings).
SMALL_IN_COPY = 32


@dataclass(frozen=True, slots=True)
class LookSizes:
    """Long sides, in pixels, of the copies on which faces are looked for; `large` 0 means one look only."""

    first: int
    large: int = 0


class Engine:
    """Finds and describes the faces of photos.

    Parameters
    ----------
    detector : Detector
    embedder : Embedder
    info : EngineInfo
    sizes : LookSizes
    min_face : int
        Faces whose box has a side below this many pixels of the photo are left out.
    """

    def __init__(self, detector: Detector, embedder: Embedder, info: EngineInfo, sizes: LookSizes, min_face: int = 20):
        self.detector, self.embedder, self.info = detector, embedder, info
        self.sizes, self.min_face = sizes, min_face

    @property
    def decode_size(self) -> int:
        """Long side to which a large JPEG may be decoded before `find`."""
        return self.sizes.first

    def find(self, image: images.Image, min_face: int | None = None) -> Faces:
        """Find faces; boxes and landmarks in pixels of the original photo, best score first."""
        return self.look(image, min_face)[0]

    def look(self, image: images.Image, min_face: int | None = None) -> tuple[Faces, images.Image]:
        """Like `find`, and the photo as sharp as it had to be decoded, for what comes next."""
        least = self.min_face if min_face is None else min_face
        faces, image = self._look(image, self.sizes.first)
        if self._second_look_pays(image, faces, least):
            faces, image = self._look(image, self.sizes.large)
        return _of_size(faces, least), image

    def glance(self, image: images.Image, min_face: int | None = None) -> Faces:
        """Like `find`, by one look only: for live video, where a face that is missed is soon a little larger, and where
        a picture without faces must not cost more than others."""
        return _of_size(self._look(image, self.sizes.first)[0], self.min_face if min_face is None else min_face)

    def _look(self, image: images.Image, size: int) -> tuple[Faces, images.Image]:
        image = image.sharper(min(1.0, size / max(image.width, image.height)))
        copy = images.resize(image.pixels, size)
        height, width = copy.shape[:2]
        return self.detector.detect(copy).scaled(image.width / width, image.height / height), image

    def _second_look_pays(self, image: images.Image, faces: Faces, least: int) -> bool:
        long_side = max(image.width, image.height)
        if self.sizes.large <= self.sizes.first or long_side <= self.sizes.first:
            return False
        scale = self.sizes.first / long_side
        if least * scale >= SMALL_IN_COPY:
            return False  # whatever a larger copy would add is smaller than what was asked for
        if not len(faces):
            return True
        return float((faces.boxes[:, 3] - faces.boxes[:, 1]).min()) * scale < SMALL_IN_COPY

    def describe(self, image: images.Image, faces: Faces) -> np.ndarray:
        """Describe faces that `find` found in `image`; float32 (len(faces), info.dim)."""
        return self.describe_all([(image, faces)])[0]

    def describe_all(self, photos: Sequence[tuple[images.Image, Faces]]) -> list[np.ndarray]:
        """`describe` for each of several photos, all at once where that is quicker."""
        with_faces = [self.aligned(image, faces) for image, faces in photos if len(faces)]
        found = iter(self.embedder.embed_all([(image.pixels, faces) for image, faces in with_faces]) if with_faces else ())
        return [next(found) if len(faces) else np.zeros((0, self.info.dim), np.float32) for _, faces in photos]

    def aligned(self, image: images.Image, faces: Faces) -> tuple[images.Image, Faces]:
        """The photo decoded sharply enough for its smallest face, and the faces in *its* pixels."""
        smallest = float(np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1]).min())
        image = image.sharper(min(1.0, ENOUGH_FOR_CHIP / max(smallest, 1.0)))
        height, width = image.pixels.shape[:2]
        return image, faces.scaled(width / image.width, height / image.height)

    def qualities(self, image: images.Image, faces: Faces) -> list[Quality]:
        """How good the picture of each face is; sizes in pixels of the original photo."""
        if not len(faces):
            return []
        near, scaled = self.aligned(image, faces)
        return [
            replace(quality.measure(near.pixels, face), size=original.box.size)
            for face, original in zip(scaled, faces, strict=True)
        ]

    def landmarks_68(self, image: images.Image, faces: Faces) -> np.ndarray:
        """68 landmarks of each face in pixels of the original photo, float32 (n, 68, 2); see `engines.dlib`."""
        from .dlib import landmarks_68

        if not len(faces):
            return np.zeros((0, 68, 2), np.float32)
        near, scaled = self.aligned(image, faces)
        height, width = near.pixels.shape[:2]
        return landmarks_68(near.pixels, scaled) * np.float32([image.width / width, image.height / height])


def _of_size(faces: Faces, least: int) -> Faces:
    """Those of which no side is shorter than `least` pixels."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    return faces.select(sides >= least)


def largest(faces: Faces) -> int:
    """Index of the face with the largest box."""
    return int(np.argmax((faces.boxes[:, 2] - faces.boxes[:, 0]) * (faces.boxes[:, 3] - faces.boxes[:, 1])))


def central(faces: Faces, width: float, height: float) -> int:
    """Index of the face whose box's centre is nearest to the photo's."""
    x, y = (faces.boxes[:, 0] + faces.boxes[:, 2]) / 2, (faces.boxes[:, 1] + faces.boxes[:, 3]) / 2
    return int(np.argmin((x - width / 2) ** 2 + (y - height / 2) ** 2))


