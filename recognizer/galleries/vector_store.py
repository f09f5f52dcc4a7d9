"""Rows of vectors in blocks: nothing is copied when more come, and large ones may lie in a file.

A file holds what has to be measured exactly only, so its pages need not stay in memory. It has no name in its folder, so
nothing of it is left when the process ends, however it ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

#: Rows of a block; a power of two, so that blocks of other lengths lie within one (see `matching.nearest_rows`).
BLOCK = 1 << 16
#: The file's pages are given back to the system, which keeps them as long as it has memory, when about so many bytes of them
#: for each row are mapped. A row that is read maps 64 kB: Linux maps the pages around it as well.
_MAPPED_PER_ROW, _MAPPED_BY_READING = 48, 1 << 16
#: No less than so many bytes are mapped before, or half of a smaller file.
_MAPPED_LEAST = 1 << 28
#: Number of rows from which on single rows of a file are read by system calls. A search takes 0.3 ms longer by that, but
#: reading a row that is mapped may map a megabyte around it: newer versions of Linux map all that they keep in one piece.
_READ_FROM = 1 << 18


class VectorStore:
    """Vectors of length `dim`, float32, by row. One thread at a time may add and change rows; others may read meanwhile.

    Parameters
    ----------
    dim : int
    folder : path, optional
        Where a file may be made.
    file_from : int
        Number of rows from which on all are in the file.
    """

    def __init__(self, dim: int, folder: Path | None = None, file_from: int = 1 << 20):
        self.dim, self._folder, self._file_from = dim, folder, file_from
        self._blocks: list[np.ndarray] = []
        self._maps: list[mmap.mmap] = []
        self._file: BinaryIO | None = None
        self._read = 0

    @property
    def on_disk(self) -> bool:
        """Whether rows are in a file."""
        return bool(self._maps)

    def __len__(self) -> int:
        """Rows that there is room for."""
        return len(self._blocks) * BLOCK

    def reserve(self, count: int) -> None:
        """Make room for `count` rows. If a file cannot be made, or the disk is full, memory is used."""
        if self._file is None and self._folder is not None and count >= self._file_from:
            self._move_to_file()
        while len(self) < count:
            self._blocks.append(self._block())

    def _block(self) -> np.ndarray:
        size, start = BLOCK * self.dim * 4, len(self._maps) * BLOCK * self.dim * 4
        if self._file is None or not _allocate(self._file, start, size):
            return np.zeros((BLOCK, self.dim), np.float32)  # of which the system gives the pages that are written to
        self._maps.append(mmap.mmap(self._file.fileno(), size, offset=start))
        return np.frombuffer(self._maps[-1], np.float32).reshape(BLOCK, self.dim)

    def _move_to_file(self) -> None:
        assert self._folder is not None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self._folder)
        except OSError:
            self._folder = None
            return
        weakref.finalize(self, file.close)
        self._file = file
        for number, block in enumerate(self._blocks):
            moved = self._block()
            if len(self._maps) == number:  # there is no room for it
                break
            moved[:] = block
            self._blocks[number] = moved
        self.release()

    def release(self) -> None:
        """Give the pages of the file back to the system."""
        self._read = 0
        if hasattr(mmap, "MADV_DONTNEED"):
            for each in self._maps:
                each.madvise(mmap.MADV_DONTNEED)

    def write(self, start: int, vectors: np.ndarray) -> None:
        """Write rows, for which there is room, from row `start` on."""
        for offset, part in self._parts(start, start + len(vectors)):
            part[:] = vectors[offset - start : offset - start + len(part)]
        self._note_read(len(vectors) * self.dim * 4 // _MAPPED_BY_READING)

    def clear(self, row: int) -> None:
        """Overwrite a row with zeros."""
        self._blocks[row // BLOCK][row % BLOCK] = 0

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        while start < stop:
            end = min(stop, (start // BLOCK + 1) * BLOCK)
            yield start, self._blocks[start // BLOCK][start % BLOCK : (end - 1) % BLOCK + 1]
            start = end

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Consecutive rows, float32 (stop - start, dim); not a copy if they lie in one block."""
        parts = [part for _, part in self._parts(start, stop)]
        self._note_read((stop - start) * self.dim * 4 // _MAPPED_BY_READING)
        if len(parts) == 1:
            return parts[0]
        joined: np.ndarray = np.concatenate([np.zeros((0, self.dim), np.float32), *parts])
        return joined

    def take(self, rows: np.ndarray) -> np.ndarray:
        """A copy of some rows, in the order of their numbers `rows`, ndarray of int."""
        if len(self._blocks) == 1:
            taken: np.ndarray = self._blocks[0][rows]
            return taken
        found = np.empty((len(rows), self.dim), np.float32)
        order = np.argsort(rows, kind="stable")  # one block after the other
        ordered = rows[order]
        edges = np.searchsorted(ordered, np.arange(len(self._blocks) + 1) * BLOCK)
        for number in np.flatnonzero(np.diff(edges)):
            part = slice(edges[number], edges[number + 1])
            if number < len(self._maps) and len(self) >= _READ_FROM and hasattr(os, "preadv"):
                self._read_rows(ordered[part], found, order[part])
            else:
                found[order[part]] = self._blocks[number][ordered[part] % BLOCK]
                self._note_read(int(edges[number + 1] - edges[number]))
        return found

    def _read_rows(self, rows: np.ndarray, found: np.ndarray, places: np.ndarray) -> None:
        """Read rows from the file into these places of `found`, without mapping them."""
        assert self._file is not None
        descriptor, size, room = self._file.fileno(), self.dim * 4, found.reshape(-1).view(np.uint8).data
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            if os.preadv(descriptor, (room[place * size : (place + 1) * size],), row * size) != size:
                raise OSError("the file of the vectors was cut off")

    def _note_read(self, count: int) -> None:
        if self._file is not None:
            self._read += count * _MAPPED_BY_READING
            half = len(self) * self.dim * 2
            if self._read > max(_MAPPED_PER_ROW * len(self), min(half, _MAPPED_LEAST)):
                self.release()


def _allocate(file: BinaryIO, start: int, size: int) -> bool:
    """Make a file longer; whether the disk has the room.

    Without allocating, a mapped page that the disk has no room for would end the process when it is written to.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), start, size)
        else:
            file.truncate(start + size)
    except OSError:
        return False
    return True


class FirstRows:
    """The first `count` rows of a store, indexed as an array is: by a slice or by numbers of rows."""

    def __init__(self, store: VectorStore, count: int):
        self._store, self._count = store, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, which: slice | np.ndarray) -> np.ndarray:
        if isinstance(which, slice):
            return self._store.rows(which.start, min(which.stop, self._count))
        return self._store.take(which)
