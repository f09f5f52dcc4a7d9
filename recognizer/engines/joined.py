"""Two embedders combined: [weight x dlib, unit SFace], 256 dimensions, Euclidean.

The squared distance is ``weight**2 * dlib's + SFace's``, which is more accurate than either alone (docs/accuracy.md). dlib's
part is the mean of face_recognition's encodings of the face and of its mirror image, which is more accurate again. SFace takes
most of the time, so its mirror image is left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from recognizer.core.priorities import gives_way
from recognizer.core.types import Faces, check_pixels
from recognizer.engines.dlib.native import points_array, shapes
from recognizer.engines.dlib.onnx import DlibOnnxEmbedder
from recognizer.engines.protocols import Described
from recognizer.engines.sface import SfaceEmbedder

#: Weight of dlib distances relative to distances of SFace unit vectors; fitted on LFW's development view (docs/accuracy.md).
DLIB_WEIGHT = 1.0


class JoinedEmbedder:
    """Runs both networks. For a single caller they run in parallel, one of them on a separate thread.

    With several concurrent callers each stays on its own thread, which takes less processor time for the same results.

    Parameters
    ----------
    dlib : DlibOnnxEmbedder
    sface : SfaceEmbedder
    weight : float

    Attributes
    ----------
    dlib : DlibOnnxEmbedder
    sface : SfaceEmbedder
    idle : callable returning bool
        Whether the machine has a spare core for the second network; set by the owner of the worker threads.
    """

    name = "dlib+sface"
    holds_lock = False

    def __init__(self, dlib: DlibOnnxEmbedder, sface: SfaceEmbedder, weight: float = DLIB_WEIGHT):
        self.dlib, self.sface = dlib, sface
        self._weight = np.float32(weight)
        self.dim = dlib.dim + sface.dim
        self.idle: Callable[[], bool] = lambda: True
        self._inside = 0
        self._lock = threading.Lock()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="embed")

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces; see `protocols.Embedder`."""
        return self.embed_all([(pixels, faces)])[0]

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """Describe the faces of several photos; see `protocols.Embedder`."""
        return [described.vectors for described in self.describe_all(photos)]

    def describe_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[Described]:
        """`embed_all` with the strengths of SFace's embeddings; see `protocols.Described`."""
        whole = [(np.ascontiguousarray(check_pixels(pixels)), faces) for pixels, faces in photos]
        found = [shapes(pixels, faces) for pixels, faces in whole]  # both networks align faces by dlib's points
        for_dlib = [(pixels, each) for (pixels, _), each in zip(whole, found, strict=True)]
        for_sface = [(pixels, faces, points_array(each)) for (pixels, faces), each in zip(whole, found, strict=True)]
        with self._alone() as alone:
            if alone:
                beside = self._beside.submit(self.dlib.embed_with_mirrored, for_dlib)
                second = self.sface.describe_points(for_sface)
                first = beside.result()
            else:
                first = self.dlib.embed_with_mirrored(for_dlib)
                second = self.sface.describe_points(for_sface)
        return [
            Described(np.hstack([one * self._weight, other.vectors]), other.strengths, other.points, apart)
            for (one, apart), other in zip(first, second, strict=True)
        ]

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        if gives_way():  # one thread, and those who do not wait for it go on as if it were not there
            yield False
            return
        with self._lock:
            self._inside += 1
            alone = self._inside == 1 and self.idle()
        try:
            yield alone
        finally:
            with self._lock:
                self._inside -= 1
