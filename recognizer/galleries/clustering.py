"""Grouping of unnamed faces by person. Uses NumPy, and dlib for Chinese whispers.

Faces within a distance of each other are neighbours. Chinese whispers (Biemann, 2006) repeatedly gives each face the label that
most of its neighbours have. Groups grow incrementally: new faces are compared with all faces, and only the groups that they
touch are formed again together with them, so that these can gain faces, merge or lose a face. A group keeps its id throughout.
Decisions by people (`join`, `split`) are permanent: such a group is never taken apart, and groups that were split never merge.

benchmarks/clustering.py compares the algorithm with others, and measures incremental growth.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar, cast

import numpy as np

#: Expected number of neighbours of a face that show other people, on average over the faces that are grouped; it determines the
#: limit. At 0.005, LFW's 4,992 faces had a pairwise precision of 98.6 % (benchmarks/clustering.py); a larger value merges
#: strangers.
FALSE_NEIGHBOURS = 0.005
#: Below and above these numbers of faces the limit is constant. Calibrations are measured down to a false-match rate of one in
#: a million, which is reached at 5,000 faces; beyond, `thresholds.Curve` extrapolates on the careful side. Without that,
#: 100,000 faces had a pairwise precision of 75 % (benchmarks/grouping.py).
LEAST_FACES, MOST_FACES = 300, 1_000_000
#: Most nearest neighbours of a face: a person with thousands of photos must not need millions of edges.
NEIGHBOURS = 64
#: Rows whose distances to all others are computed at once, and at most so many distances.
_BLOCK, _DISTANCES = 256, 1 << 23
#: The square of a distance that rounding can make of 0.
_SAME = 1e-5
#: Edges that are handed to dlib at once, unless one connected part has more: as Python objects each takes 120 bytes.
_EDGES = 1 << 18

FaceT = TypeVar("FaceT", bound=Hashable)
GroupT = TypeVar("GroupT", bound=Hashable)


def limit_for(faces: int, distance_of: Callable[[float], float]) -> float:
    """The largest distance of neighbours for grouping a number of faces.

    Parameters
    ----------
    faces : int
    distance_of : callable
        False-match rate -> distance, by the engine's calibration; see `thresholds.Curve.distance`.
    """
    return distance_of(FALSE_NEIGHBOURS / min(max(faces, LEAST_FACES), MOST_FACES))


def nothing_lowered(vectors: np.ndarray) -> np.ndarray:
    """The limit is the same for every face."""
    return np.zeros(len(vectors), np.float32)


def neighbours(
    vectors: np.ndarray,
    others: np.ndarray,
    limit: float,
    most: int = NEIGHBOURS,
    lowered: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Which of `others` are neighbours of each of `vectors`.

    Parameters
    ----------
    vectors : ndarray of float32, shape (m, d)
    others : ndarray of float32, shape (n, d)
    limit : float
        Largest Euclidean distance of neighbours.
    most : int
        Number of nearest neighbours that each row has at most.
    lowered : tuple of ndarray of float, shapes (m,) and (n,), optional
        By how much the limit is lowered for each of `vectors` and of `others`; for a pair the larger one counts.

    Returns
    -------
    ndarray of int, shape (pairs, 2)
        Row of `vectors`, row of `others`. A vector that is among the others is its own neighbour too.
    """
    squares, found = np.einsum("ij,ij->i", others, others), [np.zeros((0, 2), int)]
    size = max(1, min(_BLOCK, _DISTANCES // max(1, len(others))))
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size]
        squared = block @ others.T
        squared *= -2
        squared += squares
        squared += np.einsum("ij,ij->i", block, block)[:, None]
        near = np.flatnonzero(squared <= limit**2)
        rows, columns = np.divmod(near, len(others))
        if lowered is not None:
            larger = np.maximum(lowered[0][rows + start], lowered[1][columns])
            kept = within_lowered(squared.reshape(-1)[near], limit, larger)
            near, rows, columns = near[kept], rows[kept], columns[kept]
        ends = np.searchsorted(rows, np.arange(len(block) + 1))
        if len(near) and np.diff(ends).max() > most:
            apart, kept = squared.reshape(-1)[near], np.ones(len(near), bool)
            for row in np.flatnonzero(np.diff(ends) > most):
                part = slice(ends[row], ends[row + 1])
                kept[part] = apart[part] <= np.partition(apart[part], most - 1)[most - 1]
            rows, columns = rows[kept], columns[kept]
        found.append(np.stack([rows + start, columns], axis=1))
    return np.concatenate(found)


def within_lowered(squared: np.ndarray, limit: float, lowered: np.ndarray) -> np.ndarray:
    """Which pairs are within the limit less what it is lowered for each; a vector stays its own neighbour, whatever rounding
    makes of its distance. `squared` distances, shape (n,) as `lowered`; bool, shape (n,)."""
    within: np.ndarray = squared <= np.maximum(np.maximum(0, limit - lowered) ** 2, _SAME)
    return within


def whispers(number: int, edges: np.ndarray) -> np.ndarray:
    """The cluster of each of `number` vertices by Chinese whispers; deterministic.

    Parameters
    ----------
    number : int
    edges : ndarray of int, shape (n, 2)
        Pairs of neighbours. A pair that is listed twice counts twice; a pair of a vertex with itself is ignored.

    Returns
    -------
    ndarray of int, shape (number,)
        Labels, numbered from 0.
    """
    import dlib

    labels = np.arange(number)
    edges = edges[edges[:, 0] != edges[:, 1]]
    following = number
    for part in _connected_parts(number, edges):
        used, rows = np.unique(part, return_inverse=True)
        rows = rows.reshape(part.shape)
        found = np.array(dlib.chinese_whispers(list(zip(rows[:, 0].tolist(), rows[:, 1].tolist(), strict=True))))
        labels[used] = following + found
        following += int(found.max()) + 1
    numbered: np.ndarray = np.unique(labels, return_inverse=True)[1]
    return numbered


def _connected_parts(number: int, edges: np.ndarray) -> Iterator[np.ndarray]:
    """The edges in parts that have no vertex in common, of about `_EDGES` each: what is not connected is labelled alike."""
    if len(edges) <= _EDGES:
        if len(edges):
            yield edges
        return
    lowest = np.arange(number)  # of each vertex the lowest one that it is known to be connected with
    while True:
        before = lowest.copy()
        least = np.minimum(lowest[edges[:, 0]], lowest[edges[:, 1]])
        for side in (0, 1):
            np.minimum.at(lowest, edges[:, side], least)
            np.minimum.at(lowest, before[edges[:, side]], least)
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            break
    of_edge = lowest[edges[:, 0]]
    order = np.argsort(of_edge, kind="stable")
    edges, of_edge = edges[order], of_edge[order]
    begin = 0
    while begin < len(edges):
        end = min(len(edges), begin + _EDGES)
        cut = int(np.searchsorted(of_edge, of_edge[end - 1])) if end < len(edges) else end
        end = cut if cut > begin else int(np.searchsorted(of_edge, of_edge[begin], "right"))
        yield edges[begin:end]
        begin = end


@dataclass(frozen=True)
class Group(Generic[FaceT, GroupT]):
    """The stored form of a group: what `Groups.groups` returns and `Groups` accepts.

    Attributes
    ----------
    faces : dict
        Key of each face -> its vector.
    fixed : bool
        Whether a person decided what belongs together: the group is never taken apart.
    apart : frozenset
        Ids of groups that people split from it.
    """

    faces: Mapping[FaceT, np.ndarray]
    fixed: bool = False
    apart: frozenset[GroupT] = field(default=frozenset())


class Groups(Generic[FaceT, GroupT]):
    """Groups of faces that grow incrementally. Not thread-safe.

    Parameters
    ----------
    limit : float
        Largest distance of neighbours.
    groups : mapping, optional
        Id of each group -> `Group`, as `groups` returned them.
    new_id : callable, optional
        Returns an id that was never used. Default: integers above the existing ids.
    lowered : callable
        By how much the limit is lowered for each vector, (m, d) -> (m,); see `engines.crowding`.
    """

    def __init__(
        self,
        limit: float,
        groups: Mapping[GroupT, Group[FaceT, GroupT]] | None = None,
        new_id: Callable[[], GroupT] | None = None,
        lowered: Callable[[np.ndarray], np.ndarray] = nothing_lowered,
    ):
        groups, self._lower = groups or {}, lowered
        self._lowered = np.empty(0, np.float32)  # as long as `_vectors`
        self.limit = limit
        self._new_id = new_id or cast("Callable[[], GroupT]", _integers_above(groups))
        self._vectors = np.empty((0, 0), np.float32)  # (capacity, d); d is known once there are faces
        self._keys: list[FaceT | None] = []  # by row; None where the face was removed
        self._rows: dict[FaceT, int] = {}
        self._group_of_row: dict[int, GroupT] = {}
        self._members: dict[GroupT, set[int]] = {}  # group -> rows
        self._fixed: set[GroupT] = set()
        self._apart: dict[GroupT, set[GroupT]] = defaultdict(set)  # symmetric
        for id_, group in groups.items():
            rows = self._append(list(group.faces), np.array(list(group.faces.values()), np.float32))
            self._place(id_, rows)
            if group.fixed:
                self._fixed.add(id_)
            for other in group.apart & groups.keys():
                self._apart[id_].add(other)
                self._apart[other].add(id_)

    # -- queries ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, id_: GroupT) -> bool:
        return id_ in self._members

    def group_of(self, key: FaceT) -> GroupT:
        """The id of a face's group.

        Raises
        ------
        KeyError
        """
        return self._group_of_row[self._rows[key]]

    def faces(self, id_: GroupT) -> list[FaceT]:
        """Keys of a group's faces, in the order in which they were added."""
        return [cast(FaceT, self._keys[row]) for row in sorted(self._members[id_])]

    def groups(self, ids: Iterable[GroupT] | None = None) -> dict[GroupT, Group[FaceT, GroupT]]:
        """All groups, or those with `ids`, in the form in which they are stored."""
        return {
            id_: Group(
                {cast(FaceT, self._keys[row]): self._vectors[row].copy() for row in sorted(self._members[id_])},
                id_ in self._fixed,
                frozenset(self._apart.get(id_, ())),
            )
            for id_ in (self._members if ids is None else ids)
        }

    # -- changes ------------------------------------------------------------------------------------------------

    def add_faces(self, keys: Sequence[FaceT], vectors: np.ndarray) -> set[GroupT]:
        """Add faces with their `vectors`, shape (n, d); return the ids of all groups that were formed, changed or dissolved.

        Raises
        ------
        ValueError
            A key exists already or is listed twice, or the number of vectors differs.
        """
        fresh = self._append(keys, np.asarray(vectors, np.float32))
        if not fresh:
            return set()
        old = self._rows_in_use(fresh[0])
        lowered = self._lowered[fresh], self._lowered[old]
        near = neighbours(self._vectors[fresh], self._vectors[old], self.limit, lowered=lowered)[:, 1]
        touched = {self._group_of_row[row] for row in old[np.unique(near)].tolist()}
        rows = sorted(row for id_ in touched for row in self._members[id_]) + fresh
        return self._regroup(rows, touched)

    def remove_faces(self, keys: Iterable[FaceT]) -> set[GroupT]:
        """Remove faces; return the ids of the groups that changed or dissolved."""
        changed = set()
        for key in keys:
            row = self._rows.pop(key)
            id_ = self._group_of_row.pop(row)
            self._keys[row] = None
            self._members[id_].discard(row)
            changed.add(id_)
            if not self._members[id_]:
                self._dissolve(id_)
        return changed

    def join(self, id_: GroupT, other: GroupT) -> set[GroupT]:
        """Merge `other` into `id_`, permanently; return the ids of all groups that changed or dissolved."""
        changed = {id_, other} | self._apart[other]
        inherited = self._apart[other] - {id_}
        rows = self._members[other]
        self._dissolve(other)
        self._place(id_, rows)
        self._fixed.add(id_)
        for each in inherited:
            self._separate(id_, each)
        return changed

    def split(self, keys: Collection[FaceT]) -> GroupT:
        """Move some faces of one group to a new group, whose id is returned; both groups are fixed and never merge.

        Raises
        ------
        ValueError
            `keys` is empty, has all faces of the group, or faces of several groups.
        """
        rows = {self._rows[key] for key in keys}
        ids = {self._group_of_row[row] for row in rows}
        if len(ids) != 1 or rows == self._members[next(iter(ids))]:
            raise ValueError("expected some of one group's faces, and not all of them")
        old, new = ids.pop(), self._new_id()
        self._members[old] -= rows
        self._place(new, rows)
        self._fixed |= {old, new}
        for each in (old, *self._apart[old]):
            self._separate(new, each)
        return new

    # -- forming groups again -----------------------------------------------------------------------------------

    def _regroup(self, rows: list[int], touched: set[GroupT]) -> set[GroupT]:
        """Form the groups of these rows again: all members of the groups `touched`, and new faces without a group.

        A fixed group is contracted to one vertex of the graph, so that the algorithm cannot take it apart.
        """
        vectors, lowered = self._vectors[rows], self._lowered[rows]
        fixed = [id_ for id_ in touched if id_ in self._fixed]
        vertices = self._vertices(rows, fixed)
        forbidden = self._forbidden_pairs(fixed)
        edges = _without(forbidden, vertices[neighbours(vectors, vectors, self.limit, lowered=(lowered, lowered))])
        labels = whispers(len(fixed) + len(rows), edges)[vertices]
        labels = _part_forbidden(forbidden, labels, vertices, vectors)
        order = np.argsort(labels, kind="stable")
        parts = np.split(np.array(rows)[order], np.flatnonzero(np.diff(labels[order])) + 1)
        clusters: list[list[int]] = [part.tolist() for part in parts]
        return self._replace(touched, clusters)

    def _vertices(self, rows: list[int], fixed: list[GroupT]) -> np.ndarray:
        """The vertex of each row: vertex i stands for all of ``fixed[i]``; every other face has a vertex of its own."""
        vertex_of = {row: vertex for vertex, id_ in enumerate(fixed) for row in self._members[id_]}
        return np.array([vertex_of.get(row, len(fixed) + i) for i, row in enumerate(rows)])

    def _forbidden_pairs(self, fixed: list[GroupT]) -> set[tuple[int, int]]:
        """Pairs of vertices, in both orders, whose groups people split from each other."""
        place = {id_: i for i, id_ in enumerate(fixed)}
        return {(place[other], i) for i, id_ in enumerate(fixed) for other in self._apart[id_] if other in place}

    def _replace(self, touched: set[GroupT], clusters: list[list[int]]) -> set[GroupT]:
        """Replace the groups `touched` by `clusters`; return the ids of all groups that were formed, changed or dissolved."""
        ids = self._inherited_ids(clusters)
        members_before = {id_: set(self._members[id_]) for id_ in touched}
        fixed = {id_: next(iter(self._members[id_])) for id_ in touched if id_ in self._fixed}  # with one of its rows
        apart = {id_: set(self._apart[id_]) for id_ in fixed}

        for id_ in touched:
            self._dissolve(id_)
        for id_or_none, cluster in zip(ids, clusters, strict=True):
            self._place(self._new_id() if id_or_none is None else id_or_none, cluster)

        # what people decided about a fixed group now holds for the group that contains it
        successor = {id_: self._group_of_row[row] for id_, row in fixed.items()}
        self._fixed.update(successor.values())
        for id_, others in apart.items():
            for other in others:
                self._separate(successor[id_], successor.get(other, other))

        changed = {id_ for id_, before in members_before.items() if self._members.get(id_, set()) != before}
        formed = {self._group_of_row[row] for cluster in clusters for row in cluster} - touched
        partners = {other for id_ in fixed for other in apart[id_] if successor[id_] != id_}  # they name another id now
        return changed | formed | partners

    def _inherited_ids(self, clusters: list[list[int]]) -> list[GroupT | None]:
        """The id that each cluster inherits from the groups that its rows come from; None for a new one.

        Each group's id goes to one cluster at most. Clusters and groups with the most rows in common are paired first; of equal
        ones, the older group.
        """
        age = {id_: number for number, id_ in enumerate(self._members)}
        claims: list[tuple[int, int, int, GroupT]] = []
        for number, cluster in enumerate(clusters):
            in_common = Counter(self._group_of_row[row] for row in cluster if row in self._group_of_row)
            claims += [(-rows, age[id_], number, id_) for id_, rows in in_common.items()]
        inherited: dict[int, GroupT] = {}
        given: set[GroupT] = set()
        for _, _, number, id_ in sorted(claims, key=lambda claim: claim[:3]):
            if number not in inherited and id_ not in given:
                inherited[number] = id_
                given.add(id_)
        return [inherited.get(number) for number in range(len(clusters))]

    # -- bookkeeping --------------------------------------------------------------------------------------------

    def _append(self, keys: Sequence[FaceT], vectors: np.ndarray) -> list[int]:
        if len(keys) != len(vectors) or len(set(keys)) < len(keys) or self._rows.keys() & set(keys):
            raise ValueError(f"expected {len(keys)} new faces with a vector each")
        if not len(keys):
            return []
        begin = len(self._keys)
        if begin + len(keys) > len(self._vectors):
            larger = np.zeros((max(2 * begin, begin + len(keys)), vectors.shape[1]), np.float32)
            if begin:
                larger[:begin] = self._vectors[:begin]
            self._vectors = larger
            self._lowered = np.concatenate([self._lowered[:begin], np.zeros(len(larger) - begin, np.float32)])
        self._vectors[begin : begin + len(keys)] = vectors
        self._lowered[begin : begin + len(keys)] = self._lower(vectors)
        self._keys += keys
        rows = list(range(begin, begin + len(keys)))
        self._rows.update(zip(keys, rows, strict=True))
        return rows

    def _rows_in_use(self, before: int) -> np.ndarray:
        """Rows below `before` whose face was not removed."""
        return np.array([row for row in range(before) if self._keys[row] is not None], int)

    def _place(self, id_: GroupT, rows: Iterable[int]) -> None:
        rows = set(rows)
        self._members.setdefault(id_, set()).update(rows)
        self._group_of_row.update(dict.fromkeys(rows, id_))

    def _separate(self, one: GroupT, other: GroupT) -> None:
        if one in self._members and other in self._members and one != other:
            self._apart[one].add(other)
            self._apart[other].add(one)

    def _dissolve(self, id_: GroupT) -> None:
        self._members.pop(id_, None)
        self._fixed.discard(id_)
        for other in self._apart.pop(id_, ()):
            self._apart[other].discard(id_)


def _integers_above(ids: Iterable[Hashable]) -> Callable[[], int]:
    return count(max(cast("Iterable[int]", ids), default=0) + 1).__next__


def _without(forbidden: set[tuple[int, int]], edges: np.ndarray) -> np.ndarray:
    """`edges`, shape (n, 2), less the pairs that are `forbidden`."""
    if not forbidden:
        return edges
    return np.array([pair for pair in edges.tolist() if tuple(pair) not in forbidden], int).reshape(-1, 2)


def _part_forbidden(
    forbidden: set[tuple[int, int]], labels: np.ndarray, vertices: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Part the clusters that contain two groups which people split.

    Such groups can meet through faces between them although no edge connects them. Each face of the cluster then goes to the
    nearest of the split groups in it.

    Parameters
    ----------
    forbidden : set of (int, int)
        Pairs of vertices, in both orders.
    labels, vertices : ndarray of int, shape (n,)
        Cluster and vertex of each face.
    vectors : ndarray of float32, shape (n, d)

    Returns
    -------
    ndarray of int, shape (n,)
        Labels.
    """
    split_vertices = {vertex for pair in forbidden for vertex in pair}
    for one, other in sorted(pair for pair in forbidden if pair[0] < pair[1]):
        label = labels[vertices == one][0]
        if label != labels[vertices == other][0]:
            continue
        cluster = np.flatnonzero(labels == label)
        groups = sorted(split_vertices & set(vertices[cluster].tolist()))
        nearest = np.array(groups)[np.argmin([_distances(vectors[cluster], vectors[vertices == v]) for v in groups], axis=0)]
        in_a_group = np.isin(vertices[cluster], groups)
        labels = labels.copy()
        labels[cluster] = labels.max() + 1 + np.where(in_a_group, vertices[cluster], nearest)
    return labels


def _distances(vectors: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Distance of each of `vectors`, shape (n, d), from the nearest of `group`, shape (m, d); shape (n,)."""
    nearest: np.ndarray = np.linalg.norm(vectors[:, None] - group[None], axis=2).min(axis=1)
    return nearest
