"""Faces put together by whose they are, without knowing who that is. Pure: NumPy, and dlib for its Chinese whispers.

Faces within a distance of each other are neighbours; Chinese whispers (Biemann, 2006) gives each face, again and again, the
group that most of its neighbours are in. Groups grow: what is new is compared with all, and only the groups that it touches
are formed anew together with it, so that they may take it in, merge, or let go of a face. A group keeps its id through that.
What people say (`join`, `split`) stays: such a group is never taken apart, and groups that were split never meet again.

benchmarks/clustering.py compares the algorithm with others, and measures how well groups grow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

#: Neighbours that a face should have among other people's faces at most, on average, where so many faces are grouped: it sets
#: the limit. At 0.005, LFW's 4,992 faces had a pairwise precision of 98.6 % (benchmarks/clustering.py); more joins strangers.
FALSE_NEIGHBOURS = 0.005
#: Below and beyond so many faces the limit stays as it is. Beyond, calibrations do not tell: they are measured down to a
#: false-match rate of one in a million.
LEAST_FACES, MOST_FACES = 300, 5000
#: Nearest neighbours that a face has at most: somebody with thousands of photos must not need millions of edges.
NEIGHBOURS = 64
_BLOCK = 256


def limit_for(faces: int, distance_of: Callable[[float], float]) -> float:
    """The largest distance of neighbours where so many faces are grouped.

    Parameters
    ----------
    faces : int
    distance_of : callable
        False-match rate -> distance, by the engine's calibration; see `matching.Curve.distance`.
    """
    return distance_of(FALSE_NEIGHBOURS / min(max(faces, LEAST_FACES), MOST_FACES))


def neighbours(vectors: np.ndarray, others: np.ndarray, limit: float, most: int = NEIGHBOURS) -> np.ndarray:
    """Which of `others` are neighbours of each of `vectors`.

    Parameters
    ----------
    vectors : ndarray of float32, shape (m, d)
    others : ndarray of float32, shape (n, d)
    limit : float
        Largest distance of neighbours.
    most : int
        Of each row the nearest so many.

    Returns
    -------
    ndarray of int, shape (pairs, 2)
        Rows of either; a vector that is among the others is its own neighbour too.
    """
    squares, found = (others**2).sum(axis=1), [np.zeros((0, 2), int)]
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        apart = (block**2).sum(axis=1)[:, None] + squares - 2 * block @ others.T
        if apart.shape[1] > most:
            furthest = np.partition(apart, most - 1, axis=1)[:, most - 1 : most]
            near = apart <= np.minimum(furthest, limit**2)
        else:
            near = apart <= limit**2
        found.append(np.argwhere(near) + (start, 0))
    return np.concatenate(found)


def whispers(number: int, edges: np.ndarray) -> np.ndarray:
    """The group of each of `number` faces, by Chinese whispers; the same for the same input.

    Parameters
    ----------
    number : int
    edges : ndarray of int, shape (n, 2)
        Pairs of neighbours; one that stands twice counts twice, and one of a face with itself not at all.
    """
    import dlib

    labels = np.arange(number)
    edges = edges[edges[:, 0] != edges[:, 1]]
    if len(edges):
        used, rows = np.unique(edges, return_inverse=True)
        rows = rows.reshape(edges.shape)
        found = np.array(dlib.chinese_whispers(list(zip(rows[:, 0].tolist(), rows[:, 1].tolist(), strict=True))))
        labels[used] = number + found
    return np.unique(labels, return_inverse=True)[1]


@dataclass(frozen=True)
class Group:
    """A group as it is kept: what `Groups.groups` gives and takes.

    Attributes
    ----------
    faces : dict
        Key of each face -> its vector.
    fixed : bool
        Whether people said what belongs together: it is never taken apart.
    apart : frozenset
        Ids of groups that people split from it.
    """

    faces: Mapping[Hashable, np.ndarray]
    fixed: bool = False
    apart: frozenset = field(default=frozenset())


class Groups:
    """Groups of faces, which grow. Owns who is in which; one caller at a time.

    Parameters
    ----------
    limit : float
        Largest distance of neighbours.
    groups : mapping, optional
        Group's id -> `Group`, as `groups` gave them.
    new_id : callable, optional
        Gives an id that was never used. Default: numbers beyond those that are there.
    """

    def __init__(
        self, limit: float, groups: Mapping[Hashable, Group] | None = None, new_id: Callable[[], Hashable] | None = None
    ):
        groups = groups or {}
        self.limit = limit
        self._new_id = new_id or count(max(groups, default=0) + 1).__next__
        self._vectors: np.ndarray | None = None
        self._keys: list[Hashable | None] = []  # by row; None of a face that was removed
        self._rows: dict[Hashable, int] = {}
        self._of: dict[int, Hashable] = {}  # row -> group
        self._members: dict[Hashable, set[int]] = {}
        self._fixed: set[Hashable] = set()
        self._apart: dict[Hashable, set[Hashable]] = defaultdict(set)
        for id_, group in groups.items():
            rows = self._append(list(group.faces), np.array(list(group.faces.values()), np.float32))
            self._place(id_, rows)
            if group.fixed:
                self._fixed.add(id_)
            for other in group.apart & groups.keys():
                self._apart[id_].add(other)
                self._apart[other].add(id_)

    # -- what there is ------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, id_: Hashable) -> bool:
        return id_ in self._members

    def of(self, key: Hashable) -> Hashable:
        """The id of the group that a face is in.

        Raises
        ------
        KeyError
        """
        return self._of[self._rows[key]]

    def faces(self, id_: Hashable) -> list[Hashable]:
        """Keys of a group's faces, in the order in which they came."""
        return [self._keys[row] for row in sorted(self._members[id_])]

    def groups(self, ids: Iterable[Hashable] | None = None) -> dict[Hashable, Group]:
        """All groups, or some, as they are to be kept."""
        return {
            id_: Group(
                {self._keys[row]: self._vectors[row].copy() for row in sorted(self._members[id_])},
                id_ in self._fixed, frozenset(self._apart.get(id_, ())),
            )
            for id_ in (self._members if ids is None else ids)
        }  # fmt: skip

    # -- growing ------------------------------------------------------------------------------------------------

    def add(self, keys: Sequence[Hashable], vectors: np.ndarray) -> set[Hashable]:
        """Take in faces that are not there yet, `vectors` (n, d); the ids of all groups that came, changed or went."""
        fresh = self._append(keys, np.asarray(vectors, np.float32))
        if not fresh:
            return set()
        old = self._live(fresh[0])
        near = neighbours(self._vectors[fresh], self._vectors[old], self.limit)[:, 1]
        touched = {self._of[row] for row in old[np.unique(near)].tolist()}
        rows = sorted(row for id_ in touched for row in self._members[id_]) + fresh
        return self._form(rows, touched)

    def remove(self, keys: Iterable[Hashable]) -> set[Hashable]:
        """Take faces out; the ids of the groups that changed or went."""
        changed = set()
        for key in keys:
            row = self._rows.pop(key)
            id_ = self._of.pop(row)
            self._keys[row] = None
            self._members[id_].discard(row)
            changed.add(id_)
            if not self._members[id_]:
                self._end(id_)
        return changed

    def join(self, id_: Hashable, other: Hashable) -> set[Hashable]:
        """Make two groups one, which stays `id_` and is not taken apart again; the ids of all that changed or went."""
        changed = {id_, other} | self._apart[other]
        inherited = self._apart[other] - {id_}
        rows = self._members[other]
        self._end(other)
        self._place(id_, rows)
        self._fixed.add(id_)
        for each in inherited:
            self._separate(id_, each)
        return changed

    def split(self, keys: Collection[Hashable]) -> Hashable:
        """Make faces of one group another one, whose id is returned. The two stay as they are, and apart.

        Raises
        ------
        ValueError
            They are none, all, or not of one group.
        """
        rows = {self._rows[key] for key in keys}
        ids = {self._of[row] for row in rows}
        if len(ids) != 1 or rows == self._members[next(iter(ids))]:
            raise ValueError("expected some of one group's faces, and not all of them")
        old, new = ids.pop(), self._new_id()
        self._members[old] -= rows
        self._place(new, rows)
        self._fixed |= {old, new}
        for each in (old, *self._apart[old]):
            self._separate(new, each)
        return new

    # -- the steps ----------------------------------------------------------------------------------------------

    def _append(self, keys: Sequence[Hashable], vectors: np.ndarray) -> list[int]:
        if len(keys) != len(vectors) or len(set(keys)) < len(keys) or self._rows.keys() & set(keys):
            raise ValueError(f"expected {len(keys)} faces that are not there yet, with a vector each")
        if not len(keys):
            return []
        begin = len(self._keys)
        if self._vectors is None:
            self._vectors = np.empty((0, vectors.shape[1]), np.float32)
        if begin + len(keys) > len(self._vectors):
            larger = np.zeros((max(2 * begin, begin + len(keys)), vectors.shape[1]), np.float32)
            larger[:begin] = self._vectors[:begin]
            self._vectors = larger
        self._vectors[begin : begin + len(keys)] = vectors
        self._keys += keys
        rows = list(range(begin, begin + len(keys)))
        self._rows.update(zip(keys, rows, strict=True))
        return rows

    def _live(self, before: int) -> np.ndarray:
        """Rows below `before` that hold a face."""
        return np.array([row for row in range(before) if self._keys[row] is not None], int)

    def _form(self, rows: list[int], touched: set[Hashable]) -> set[Hashable]:
        """Form the groups of these rows anew: all members of `touched`, and faces that have none yet."""
        vectors = self._vectors[rows]
        edges = neighbours(vectors, vectors, self.limit)
        blocks = [id_ for id_ in touched if id_ in self._fixed]
        block_of = {row: number for number, id_ in enumerate(blocks) for row in self._members[id_]}
        # a block is one vertex, and so is each other face
        vertices = np.array([block_of.get(row, len(blocks) + i) for i, row in enumerate(rows)])
        ends = vertices[edges]
        apart = {(blocks.index(other), i) for i, id_ in enumerate(blocks) for other in self._apart[id_] if other in blocks}
        if apart:
            ends = np.array([pair for pair in ends.tolist() if tuple(pair) not in apart], int).reshape(-1, 2)
        labels = whispers(len(blocks) + len(rows), ends)[vertices]
        labels = self._kept_apart(labels, vertices, vectors, apart)
        clusters = [[rows[i] for i in np.flatnonzero(labels == label)] for label in np.unique(labels)]
        return self._name(clusters, touched)

    def _kept_apart(self, labels: np.ndarray, vertices: np.ndarray, vectors: np.ndarray, apart: set) -> np.ndarray:
        """Where groups that people split met again over others' faces: each face to the nearest of them."""
        for one, other in sorted(apart):
            if one >= other or labels[vertices == one][0] != labels[vertices == other][0]:
                continue
            together = np.flatnonzero(labels == labels[vertices == one][0])
            blocks = sorted({v for v in vertices[together].tolist() if any(v in pair for pair in apart)})
            apart_from = [np.linalg.norm(vectors[together][:, None] - vectors[vertices == v][None], axis=2).min(axis=1)
                          for v in blocks]  # fmt: skip
            nearest = np.array(blocks)[np.argmin(apart_from, axis=0)]
            own = np.isin(vertices[together], blocks)
            labels = labels.copy()
            labels[together] = labels.max() + 1 + np.where(own, vertices[together], nearest)
        return labels

    def _name(self, clusters: list[list[int]], touched: set[Hashable]) -> set[Hashable]:
        """Give each cluster the id of the group that most of it comes from, where that has most of its faces in it."""
        order = {id_: number for number, id_ in enumerate(self._members)}  # older groups first
        claims = sorted(
            (-shared, order[id_], number, id_)
            for number, cluster in enumerate(clusters)
            for id_, shared in Counter(self._of[row] for row in cluster if row in self._of).items()
        )  # fmt: skip
        ids: dict[int, Hashable] = {}
        for _, _, number, id_ in claims:
            if number not in ids and id_ not in ids.values():
                ids[number] = id_
        before = {id_: frozenset(self._members[id_]) for id_ in touched}
        fixed = {id_: next(iter(self._members[id_])) for id_ in touched if id_ in self._fixed}
        apart = {id_: set(self._apart[id_]) for id_ in fixed}
        for id_ in touched:
            self._end(id_)
        for number, cluster in enumerate(clusters):
            self._place(ids.setdefault(number, None) or self._new_id(), cluster)
        now = {id_: self._of[row] for id_, row in fixed.items()}
        self._fixed.update(now.values())
        for id_, others in apart.items():
            for other in others:
                self._separate(now[id_], now.get(other, other))
        changed = {id_ for id_ in touched if self._members.get(id_) != before[id_]}
        changed |= {self._of[row] for cluster in clusters for row in cluster} - touched
        return changed | {other for id_ in fixed for other in apart[id_] if now[id_] != id_}

    def _place(self, id_: Hashable, rows: Iterable[int]) -> None:
        rows = set(rows)
        self._members.setdefault(id_, set()).update(rows)
        self._of.update(dict.fromkeys(rows, id_))

    def _separate(self, one: Hashable, other: Hashable) -> None:
        if one in self._members and other in self._members and one != other:
            self._apart[one].add(other)
            self._apart[other].add(one)

    def _end(self, id_: Hashable) -> None:
        self._members.pop(id_, None)
        self._fixed.discard(id_)
        for other in self._apart.pop(id_, ()):
            self._apart[other].discard(id_)
