"""Two embedders side by side: [weight x dlib, unit SFace], 256-d Euclidean.

The squared distance is ``weight**2 * dlib's + SFace's``, which beats each alone (docs/accuracy.md). The first half
divided by the weight is face_recognition's own encoding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from ..types import Faces, check_pixels
from .dlib import shapes
from .dlib_onnx import DlibOnnxEmbedder
from .sface import SfaceEmbedder

#: How much a dlib distance counts against one between SFace unit vectors; fitted on LFW's development view (docs/accuracy.md).
DLIB_WEIGHT = 1.0


class JoinedEmbedder:
    """Both networks side by side: while one caller has this to itself, they run at once, the second on a thread of its own.

    With several callers each keeps to its own thread, which costs less processor time for the same numbers.

    Attributes
    ----------
    idle : callable returning bool
        Whether the machine has nothing better to do than the second network; set by whoever knows.
    """

    name = "dlib+sface"
    holds_lock = False

    def __init__(self, dlib: DlibOnnxEmbedder, sface: SfaceEmbedder, weight: float = DLIB_WEIGHT):
        self._dlib, self._sface = dlib, sface
        self._weight = np.float32(weight)
        self.dim = dlib.dim + sface.dim
        self.idle: Callable[[], bool] = lambda: True
        self._inside = 0
        self._lock = threading.Lock()
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="embed")

    def embed(self, pixels: np.ndarray, faces: Faces) -> np.ndarray:
        """Describe faces; see `base.Embedder`."""
        return self.embed_all([(pixels, faces)])[0]

    def embed_all(self, photos: Sequence[tuple[np.ndarray, Faces]]) -> list[np.ndarray]:
        """Describe the faces of several photos; see `base.Embedder`."""
        whole = [(np.ascontiguousarray(check_pixels(pixels)), faces) for pixels, faces in photos]
        found = [shapes(pixels, faces) for pixels, faces in whole]  # both align by dlib's points
        for_dlib = [(pixels, each) for (pixels, _), each in zip(whole, found, strict=True)]
        for_sface = [(pixels, faces, each) for (pixels, faces), each in zip(whole, found, strict=True)]
        with self._alone() as alone:
            if alone:
                beside = self._beside.submit(self._dlib.embed_shapes, for_dlib)
                second = self._sface.embed_shapes(for_sface)
                first = beside.result()
            else:
                first = self._dlib.embed_shapes(for_dlib)
                second = self._sface.embed_shapes(for_sface)
        return [np.hstack([one * self._weight, other]) for one, other in zip(first, second, strict=True)]

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        with self._lock:
            self._inside += 1
            alone = self._inside == 1 and self.idle()
        try:
            yield alone
        finally:
            with self._lock:
                self._inside -= 1
