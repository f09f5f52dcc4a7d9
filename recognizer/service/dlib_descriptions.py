"""dlib's descriptors of faces, whatever the server's engine is: for services that keep and compare them themselves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.core.pool import Pool
from recognizer.core.types import Faces
from recognizer.engines import Engine
from recognizer.engines.protocols import Described
from recognizer.engines.runtime import EXACT
from recognizer.enrolment.examination import EnrolmentRules
from recognizer.photos import images

if TYPE_CHECKING:
    from recognizer.engines.dlib.onnx import DlibOnnxEmbedder


@dataclass(frozen=True, slots=True, eq=False)
class DlibFace:
    """A face as dlib's network describes it.

    Attributes
    ----------
    box : tuple of int
        left, top, right, bottom, as dlib's detector would have it: square, and perhaps partly outside the photo.
    landmarks : ndarray of int, shape (5, 2)
        dlib's five points, in its order.
    descriptor : ndarray of float32, shape (128,)
    score : float
        The detector's; 0 where the box was given.
    comparable : bool
        Whether the face can be compared with others; True where the box was given.
    """

    box: tuple[int, int, int, int]
    landmarks: np.ndarray
    descriptor: np.ndarray
    score: float = 0.0
    comparable: bool = True


class DlibDescriptions:
    """Describes the faces of photos by dlib's network, on pixels of full size as dlib does. Any thread may call.

    Owns the network, unless the server's engine has it anyway; it is loaded when it is first used.

    Parameters
    ----------
    engine : Engine
        The server's own, whose detector finds the faces.
    pool : Pool
    rules : EnrolmentRules
        Has the limits for photos.
    provider : str
        What the network runs on, if its results are exact there; see `runtime.EXACT`.
    """

    def __init__(self, engine: Engine, pool: Pool, rules: EnrolmentRules, provider: str):
        self._engine, self._pool, self._rules = engine, pool, rules
        self._provider = provider if provider in EXACT else "cpu"
        self._exact = provider in EXACT
        self._lock = threading.Lock()
        self._embedder: DlibOnnxEmbedder | None = None

    def detect(self, photo: bytes, max_pixels: int) -> list[DlibFace]:
        """Every face of a photo with dlib's landmarks and descriptor, the best score first.

        Parameters
        ----------
        photo : bytes
        max_pixels : int
            Most pixels of the photo.

        Raises
        ------
        ImageError, ModelError, Busy
        """
        return self._pool.run_inference(self._detect, photo, max_pixels)[0]

    def describe(self, photo: bytes, box: tuple[int, int, int, int], max_pixels: int) -> DlibFace:
        """The face in a box that is known: the same as `detect` gives for a box that it found on an upright face.

        Raises
        ------
        ImageError, ModelError, Busy
        InvalidParameter
            The box is none, or outside the photo.
        """
        return self._pool.run_inference(self._describe, photo, box, max_pixels)[0]

    def _decode(self, photo: bytes, max_pixels: int) -> images.Image:
        most = min(max_pixels, self._rules.max_pixels)
        return images.decode(photo, max_bytes=self._rules.max_bytes, max_pixels=most)

    def _detect(self, photo: bytes, max_pixels: int) -> list[DlibFace]:
        from recognizer.engines.dlib import native

        image = self._decode(photo, max_pixels)
        faces = self._engine.find(image)
        if not len(faces):
            return []
        embedder, pixels = self._network(), np.ascontiguousarray(image.pixels)
        near = faces.scaled(image.scale_x, image.scale_y)  # of a photo that memory did not allow to decode at full size
        shapes = native.shapes(pixels, near)
        vectors = embedder.embed_shapes([(pixels, shapes)])[0]
        boxes = np.rint(native.dlib_boxes(faces)).astype(int)
        back = np.array([1 / image.scale_x, 1 / image.scale_y])
        points = [np.rint(np.array(native.points_of(shape)) * back).astype(int) for shape in shapes]
        comparable = self._comparable(image, faces, vectors)
        return [
            DlibFace(tuple(map(int, box)), *found)  # type: ignore[arg-type]  # four edges
            for box, *found in zip(boxes, points, vectors, map(float, faces.scores), comparable, strict=True)
        ]

    def _describe(self, photo: bytes, box: tuple[int, int, int, int], max_pixels: int) -> DlibFace:
        import dlib

        from recognizer.engines.dlib import native

        image = self._decode(photo, max_pixels)
        left, top, right, bottom = box
        inside = left < image.width and top < image.height and right > 0 and bottom > 0
        if not (
            left < right and top < bottom and inside and max(right - left, bottom - top) <= 4 * max(image.width, image.height)
        ):
            raise InvalidParameter("face: expected left < right and top < bottom, in pixels of the photo")
        pixels, x, y = np.ascontiguousarray(image.pixels), image.scale_x, image.scale_y
        where = dlib.rectangle(round(left * x), round(top * y), round(right * x), round(bottom * y))
        shape = native.predictor(5)(pixels, where)
        vector = self._network().embed_shapes([(pixels, [shape])])[0][0]
        points = np.rint(np.array(native.points_of(shape)) / (x, y)).astype(int)
        return DlibFace(box, points, vector)

    def _comparable(self, image: images.Image, faces: Faces, vectors: np.ndarray) -> Sequence[bool]:
        judging = Engine(self._engine.detector, self._network(), self._engine.info, self._engine.sizes)
        described = Described(vectors, np.zeros(len(vectors), np.float32))
        judged = judging.judged(image, faces, described, again=False)
        return [each.comparable for each in judged.verdicts]

    def _network(self) -> DlibOnnxEmbedder:
        with self._lock:
            if self._embedder is None:
                self._embedder = self._loaded()
            return self._embedder

    def _loaded(self) -> DlibOnnxEmbedder:
        from recognizer.engines.dlib.onnx import DlibOnnxEmbedder

        used = self._engine.embedder
        used = getattr(used, "dlib", used)
        return used if self._exact and isinstance(used, DlibOnnxEmbedder) else DlibOnnxEmbedder(provider=self._provider)
