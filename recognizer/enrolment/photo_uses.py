"""How many files hold each photo: of hundreds of thousands, in 16 bytes each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from recognizer.galleries.photo_ids import PhotoIds, as_bytes


class PhotoUses:
    """Counts files by the id of their photo. Not thread-safe."""

    def __init__(self) -> None:
        self._loaded = np.zeros(0, f"S{PhotoIds.BYTES}")  # ids of many files at once, in order; each as often as it is used
        self._since: Counter[str | bytes] = Counter()  # what came since, less what went

    def __getitem__(self, photo: str) -> int:
        """The number of files."""
        key = as_bytes(photo)
        if key is None:
            return self._since.get(photo, 0)
        id_ = np.array(key, self._loaded.dtype)
        begin, end = (int(self._loaded.searchsorted(id_, side)) for side in ("left", "right"))
        return end - begin + self._since.get(key, 0)

    def add(self, photo: str) -> None:
        """One more file."""
        self._change(photo, 1)

    def remove(self, photo: str) -> None:
        """One file less."""
        self._change(photo, -1)

    def _change(self, photo: str, by: int) -> None:
        key = as_bytes(photo) or photo
        self._since[key] += by
        if not self._since[key]:
            del self._since[key]

    def load(self, ids: Iterable[bytes]) -> None:
        """Many more files, by the ids of their photos as bytes."""
        new = np.frombuffer(b"".join(ids), self._loaded.dtype)
        self._loaded = np.sort(np.concatenate([self._loaded, new]))
