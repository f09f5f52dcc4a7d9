"""Faces that clients of other services detected and will ask about by an id, for as long as they said.

Only embeddings are kept, in memory: nothing of them outlives the process. They are personal data all the same, and erased with
the person whom they show.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recognizer.photos.remarks import Comparability

#: Most faces that are kept: of more, the oldest are forgotten. Each takes about a kilobyte.
MOST = 20_000


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face that was detected.

    Attributes
    ----------
    vector : ndarray of float32, shape (d,)
    verdict : Comparability
        Whether it can be compared with others.
    ends : float
        When it is forgotten, on the clock of the store.
    """

    vector: np.ndarray
    verdict: Comparability
    ends: float


class FaceStore:
    """Remembers faces by id. Any thread may call.

    Parameters
    ----------
    most : int
    now : callable
        Seconds on a clock that only goes forward.
    """

    def __init__(self, most: int = MOST, now: Callable[[], float] = time.monotonic):
        self._most, self._now = most, now
        self._faces: OrderedDict[str, DetectedFace] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, vector: np.ndarray, verdict: Comparability, seconds: float) -> str:
        """Remember a face for so many seconds; its id, a UUID."""
        made = str(uuid.uuid4())
        with self._lock:
            self._purge()
            self._faces[made] = DetectedFace(np.array(vector, np.float32), verdict, self._now() + seconds)
            while len(self._faces) > self._most:
                self._faces.popitem(last=False)
        return made

    def get(self, id_: str) -> DetectedFace | None:
        """A face; None where there is none of that id, or no longer."""
        with self._lock:
            found = self._faces.get(id_)
            return found if found is not None and found.ends > self._now() else None

    def purge(self) -> None:
        """Forget the faces whose time is over."""
        with self._lock:
            self._purge()

    def _purge(self) -> None:
        now = self._now()
        for id_ in [each for each, face in self._faces.items() if face.ends <= now]:
            del self._faces[id_]

    def count_like(self, same: Callable[[np.ndarray], bool]) -> int:
        """The number of faces that are `same`."""
        with self._lock:
            self._purge()
            return sum(same(face.vector) for face in self._faces.values())

    def forget_like(self, same: Callable[[np.ndarray], bool]) -> int:
        """Forget the faces that are `same`; returns how many."""
        with self._lock:
            gone = [id_ for id_, face in self._faces.items() if same(face.vector)]
            for id_ in gone:
                del self._faces[id_]
            return len(gone)

    def __len__(self) -> int:
        return len(self._faces)
