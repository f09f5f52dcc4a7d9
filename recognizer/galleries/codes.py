"""Short codes: templates in 64 bytes, of which faiss scans a million in three milliseconds.

A vector is cut into 128 pieces, and each is replaced by the nearest of 16 that were learned for its place (product
quantisation; Jégou, Douze, Schmid: "Product quantization for nearest neighbor search", IEEE TPAMI 2011). faiss compares 32 rows
at once within the processor's registers (André, Kermarrec, Le Scouarnec: "Quicker ADC", IEEE TPAMI 2021). As with `sketch`,
only the nearest by code are then measured exactly, and if those that were left out are not surely farther away, everything is.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import numpy as np

from recognizer.galleries.sketch import Candidates, Preselection
from recognizer.galleries.vector_store import VectorStore

#: Rows that are measured exactly, and how many more for each subject that is asked for.
MEASURED, MEASURED_PER_SUBJECT = 2_000, 32
#: Pieces of a vector; each takes half a byte.
_PIECES = 128
#: Rows of one index, and of the newest ones that are measured without codes until there are enough to be added at once.
_SEGMENT, _TAIL = 1 << 20, 1 << 10
#: Of how many rows the pieces are learned, at most twice as many: faiss takes 4,096 of them.
_SAMPLE = 1 << 13
_ROWS_AT_ONCE = 32
_ADDED_AT_ONCE = 1 << 14


@cache
def is_available() -> bool:
    """Whether faiss is installed."""
    return importlib.util.find_spec("faiss") is not None


def _faiss() -> Any:
    import faiss

    faiss.omp_set_num_threads(1)  # of the calling thread; a single search would occupy all cores
    return faiss


def suits(dim: int) -> bool:
    """Whether vectors of this length can be coded."""
    return dim % _PIECES == 0 and is_available()


class Codes(Preselection):
    """Codes of the first `count` rows of `store`. The pieces are learned from a sample of them.

    Parameters
    ----------
    store : VectorStore
        Of vectors whose length `suits`.
    count : int
    """

    def __init__(self, store: VectorStore, count: int):
        super().__init__(store, count)
        faiss = _faiss()
        index = faiss.IndexPQFastScan(store.dim, _PIECES, 4)
        index.train(np.ascontiguousarray(store.take(np.arange(0, count, max(1, count // _SAMPLE)))))
        self._empty = index
        self._masks = self._learned_masks()
        #: Indexes of `_SEGMENT` rows each; the last one may have fewer. Replaced as a whole.
        self._segments: tuple[Any, ...] = ()
        self._coded = 0
        self.extend(count)

    def extend(self, count: int) -> None:
        """Add the rows up to `count`. Searches in progress do not see them."""
        if count - self._coded > _TAIL:
            faiss = _faiss()
            segments = list(self._segments)
            while self._coded < count:
                if self._coded % _SEGMENT == 0:
                    segments.append(faiss.clone_index(self._empty))
                else:
                    segments[-1] = faiss.clone_index(segments[-1])  # searches may be reading the other one
                end = min(count, (self._coded // _SEGMENT + 1) * _SEGMENT)
                for start in range(self._coded, end, _ADDED_AT_ONCE):
                    rows = self.store.rows(start, min(start + _ADDED_AT_ONCE, end))
                    segments[-1].add(np.ascontiguousarray(rows))
                self._coded = end
            self._segments = tuple(segments)
        self.count = count

    def clear(self, row: int | np.ndarray) -> None:
        """Erase the code of one row or several. It may still be a candidate, which is ignored when it is measured."""
        for each in np.atleast_1d(row).tolist():
            if each < self._coded:
                codes = _codes_of(self._segments[each // _SEGMENT])
                mask = self._masks[each % _ROWS_AT_ONCE]
                start = each % _SEGMENT // _ROWS_AT_ONCE * len(mask)
                codes[start : start + len(mask)] &= ~mask

    def _learned_masks(self) -> np.ndarray:
        """Which bits of a block of 32 rows belong to which row, uint8 (32, bytes of a block): faiss interleaves them."""
        faiss, dim = _faiss(), self.store.dim
        pieces = faiss.vector_to_array(self._empty.pq.centroids).reshape(_PIECES, 16, dim // _PIECES)
        plain = np.tile(pieces[:, 0].reshape(1, dim), (_ROWS_AT_ONCE, 1))
        found = []
        for row in range(_ROWS_AT_ONCE):
            bits = None
            for number in (1, 2, 4, 8):
                other = plain.copy()
                other[row] = pieces[:, number].reshape(dim)
                differing = _packed(self._empty, other) ^ _packed(self._empty, plain)
                bits = differing if bits is None else bits | differing
            found.append(bits)
        masks = np.array(found)
        # a piece that was learned twice has one code only: then whole half bytes are taken
        return masks | np.where(masks & 0x0F, 0x0F, 0).astype(np.uint8) | np.where(masks & 0xF0, 0xF0, 0).astype(np.uint8)

    def candidates(self, probe: np.ndarray, count: int, k: int) -> Candidates:
        """The rows that are nearest to the probe by code, and the newest ones, which have no code yet."""
        _faiss()
        wanted = MEASURED + MEASURED_PER_SUBJECT * k
        segments, coded = self._segments, 0
        rows, apart, passed_over = [], [], np.inf
        share = max(wanted // max(len(segments), 1), wanted // 4)  # of one segment, more may be near than of another
        for number, segment in enumerate(segments):
            size = int(segment.ntotal)
            distances, found = segment.search(probe[None], min(share, size))
            there = found[0] >= 0
            rows.append(found[0][there] + number * _SEGMENT)
            apart.append(distances[0][there])
            if size > share:
                passed_over = min(passed_over, float(distances[0][-1]))
            coded = number * _SEGMENT + size
        left = np.arange(coded, count)
        rows.append(left)
        apart.append(np.full(len(left), np.nan, np.float32))
        everything = np.concatenate(rows)
        known = everything < count  # of rows that were added meanwhile, the search knows nothing
        return Candidates(everything[known], np.concatenate(apart)[known], passed_over)


def _codes_of(index: Any) -> np.ndarray:
    """The codes of an index, as they are in its memory."""
    faiss = _faiss()
    view: np.ndarray = faiss.rev_swig_ptr(index.codes.get(), index.codes.size())
    return view


def _packed(empty: Any, vectors: np.ndarray) -> np.ndarray:
    index = _faiss().clone_index(empty)
    index.add(vectors)
    packed: np.ndarray = _codes_of(index).copy()
    return packed
