"""The ids of photos by row: 16 bytes each where they are as `enrolment.encodings.photo_id` makes them, and whole otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class PhotoIds:
    """Ids by row. One thread at a time may change them; others may read rows that are not being changed."""

    BYTES = 16

    def __init__(self, capacity: int):
        self._bytes = np.zeros((capacity, self.BYTES), np.uint8)
        self._others: dict[int, str] = {}

    def reserve(self, count: int) -> None:
        """Make room for `count` rows."""
        if count > len(self._bytes):
            larger = np.zeros((count * 5 // 4, self.BYTES), np.uint8)
            larger[: len(self._bytes)] = self._bytes
            self._bytes = larger

    def put(self, start: int, photos: Sequence[str]) -> None:
        """Set the ids of consecutive rows, for which there is room."""
        for row, photo in enumerate(photos, start):
            data = as_bytes(photo)
            if data is None:
                self._others[row] = photo
            else:
                self._bytes[row] = np.frombuffer(data, np.uint8)

    def put_bytes(self, start: int, photos: np.ndarray) -> None:
        """The same from bytes, ndarray of uint8, shape (n, 16)."""
        self._bytes[start : start + len(photos)] = photos

    def clear(self, row: int) -> None:
        self._bytes[row] = 0
        self._others.pop(row, None)

    def taken(self, rows: np.ndarray) -> PhotoIds:
        """The ids of these rows, as those of the rows 0, 1, 2, ..."""
        made = PhotoIds(max(64, len(rows)))
        made._bytes[: len(rows)] = self._bytes[rows]
        if self._others:
            made._others = {new: self._others[old] for new, old in enumerate(rows.tolist()) if old in self._others}
        return made

    def __getitem__(self, row: int) -> str:
        other = self._others.get(int(row))
        return self._bytes[row].tobytes().hex() if other is None else other


def as_bytes(photo: str) -> bytes | None:
    """The bytes of an id of 32 lower-case hexadecimal digits; None of any other."""
    if len(photo) != 2 * PhotoIds.BYTES:
        return None
    try:
        data = bytes.fromhex(photo)
    except ValueError:
        return None
    return data if data.hex() == photo else None
