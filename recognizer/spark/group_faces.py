"""Faces sorted by person: pairs of neighbours by blocks on the workers, groups of them on the driver.

Neighbours are those of `galleries.clustering`, and so is the clustering unless connected components are asked for: the groups
are those of `recognizer group`.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recognizer.archive.photo_faces import UNFIT
from recognizer.core.errors import InvalidParameter
from recognizer.engines.protocols import EngineInfo
from recognizer.galleries import clustering
from recognizer.galleries.thresholds import Curve
from recognizer.spark.face_columns import FACE_KEY, GROUP_COLUMNS, arrow_schema, spark_schema
from recognizer.spark.mapped_gallery import check_engine
from recognizer.spark.match_faces import vectors_of
from recognizer.spark.places import HOW, TablePlace
from recognizer.spark.spark_session import distributed

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from recognizer.spark.spark_session import Reporter

METHODS = ("whispers", "components")
#: Rows of a task, rows that are compared at once, and rows that they are compared with at once.
_ROWS, _BLOCK, _OTHERS = 4096, 256, 1 << 15
_NEEDED = (*FACE_KEY, "engine", "template", "comparable", "remarks")
_TABLE = "groups.parquet"


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """All that a worker needs to know.

    Attributes
    ----------
    vectors : str
        A file: float32, shape (n, dim).
    lowered : str
        A file: by how much the limit is lowered for each of them, float32, shape (n,).
    limit : float
        Largest distance of neighbours.
    mark : str
    """

    vectors: str
    lowered: str
    limit: float
    mark: str


@dataclass(frozen=True, slots=True)
class GroupingTotals:
    """The result of a run."""

    faces: int
    groups: int
    on_several: int
    not_grouped: int
    pairs: int
    limit: float


# -- in a worker ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _mapped(file: str) -> np.ndarray:
    return np.load(distributed(Path(file)), mmap_mode="r").view(np.ndarray)


def neighbours_of(
    vectors: np.ndarray,
    start: int,
    stop: int,
    limit: float,
    most: int = clustering.NEIGHBOURS,
    lowered: np.ndarray | None = None,
) -> np.ndarray:
    """The neighbours of some rows among all; see `clustering.neighbours`, of which this needs less memory.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, d)
    start, stop : int
        The rows.
    limit : float
    most : int
    lowered : ndarray of float32, shape (n,), optional
        By how much the limit is lowered for each row.

    Returns
    -------
    ndarray of int64, shape (pairs, 2)
        Sorted. A row is its own neighbour too.
    """
    pairs = [np.zeros((0, 2), np.int64)]
    squares = np.einsum("ij,ij->i", vectors, vectors)
    for first in range(start, stop, _BLOCK):
        block = vectors[first : min(first + _BLOCK, stop)]
        rows, columns, distances = [], [], []
        for other in range(0, len(vectors), _OTHERS):
            others = slice(other, other + _OTHERS)
            squared = squares[first : first + len(block), None] + squares[others] - 2 * block @ vectors[others].T
            near = np.nonzero(squared <= limit**2)
            if lowered is not None:
                larger = np.maximum(lowered[first + near[0]], lowered[other + near[1]])
                kept = clustering.within_lowered(squared[near], limit, larger)
                near = near[0][kept], near[1][kept]
            rows.append(near[0])
            columns.append(near[1] + other)
            distances.append(squared[near])
        row, column, apart = (np.concatenate(each) for each in (rows, columns, distances))
        kept = _nearest(row, apart, len(block), most)
        row, column = row[kept], column[kept]
        order = np.lexsort((column, row))
        pairs.append(np.stack([row[order] + first, column[order]], axis=1))
    return np.concatenate(pairs)


def _nearest(rows: np.ndarray, apart: np.ndarray, count: int, most: int) -> np.ndarray:
    """Which pairs are among the `most` nearest of their row, or as near as the last of these."""
    numbers = np.bincount(rows, minlength=count)
    kept = np.ones(len(rows), bool)
    for row in np.flatnonzero(numbers > most).tolist():
        own = np.flatnonzero(rows == row)
        kept[own] = apart[own] <= np.partition(apart[own], most - 1)[most - 1]
    return np.flatnonzero(kept)


def write_pairs(plan: GroupPlan, dest: TablePlace, rows: tuple[int, int]) -> str:
    """Write the pairs of some rows; what an earlier attempt or run wrote is taken as it is."""
    import pyarrow as pa

    name = f"pairs/{plan.mark}-{rows[0]:012}-{rows[1]:012}.parquet"
    if not dest.has(name):
        pairs = find_pairs(plan, rows)
        dest.write(name, pa.table({"face": pairs[:, 0], "other": pairs[:, 1]}))
    return name


def find_pairs(plan: GroupPlan, rows: tuple[int, int]) -> np.ndarray:
    """The pairs of some rows, sent back to the driver."""
    pairs = neighbours_of(_mapped(plan.vectors), *rows, plan.limit, lowered=_mapped(plan.lowered))
    return pairs[pairs[:, 0] != pairs[:, 1]]


# -- on the driver ----------------------------------------------------------------------------------------------------


def clusters(count: int, pairs: np.ndarray, method: str) -> np.ndarray:
    """The number of each face's group, int64 (count,): numbered from 0 by the first face of each.

    Raises
    ------
    InvalidParameter
        SciPy is missing, or there is no such method.
    """
    if method == "whispers":
        labels = clustering.whispers(count, pairs)
    elif method == "components":
        try:
            from scipy.sparse import coo_array
            from scipy.sparse.csgraph import connected_components
        except ImportError:
            raise InvalidParameter(f"components need SciPy, which is not installed: {HOW}") from None
        graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
        labels = connected_components(graph, directed=False)[1]
    else:
        raise InvalidParameter(f"expected a method of {', '.join(METHODS)}, got {method!r}")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    numbered: np.ndarray = np.argsort(np.argsort(first))[inverse].astype(np.int64)
    return numbered


def limit_of(faces: int, info: EngineInfo) -> float:
    """The largest distance of neighbours for so many faces, as `recognizer group` has it."""
    curve = Curve(info.calibration.distances, info.calibration.rates)
    return clustering.limit_for(faces, curve.distance)


def unfit_of(comparable: Iterable[bool | None], remarks: Iterable[Sequence[str] | None]) -> list[str | None]:
    """Why each face is not grouped, as the first code; None for a face that is."""
    found: list[str | None] = []
    for can, said in zip(comparable, remarks, strict=True):
        wrong = [code for code in said or () if code in UNFIT]
        if can is False and not wrong:
            wrong = list(said or ("unusual",))
        found.append(wrong[0] if wrong else None)
    return found


@contextmanager
def _vectors_file(
    tables: Iterable[pa.Table], most: int, info: EngineInfo
) -> Iterator[tuple[pa.Table, list[str | None], list[Path], str]]:
    """The faces of tables: keys, why each is not grouped, the files with the vectors of those that are and with what the limit
    is lowered for them; with a mark."""
    import pyarrow as pa

    from recognizer.engines.crowding import crowding

    lower = crowding(info.embedder).lowerings

    folder = Path(tempfile.mkdtemp(prefix="recognizer-faces-"))  # for this user only
    try:
        content = hashlib.sha256(info.id.encode())
        whole = np.lib.format.open_memmap(folder / "all.npy", "w+", np.float32, (max(1, most), info.dim))
        keys, unfit, lowered, count = [], [], [np.zeros(0, np.float32)], 0
        for table in tables:
            table = table.filter(table["template"].is_valid())
            check_engine(info.id, table["engine"].unique().to_pylist())
            vectors = vectors_of(table["template"], info.dim)
            wrong = unfit_of(table["comparable"].to_pylist(), table["remarks"].to_pylist())
            fit = vectors[[each is None for each in wrong]]
            whole[count : count + len(fit)] = fit
            content.update(fit.tobytes())
            lowered.append(lower(fit).astype(np.float32))
            count += len(fit)
            keys.append(table.select(list(FACE_KEY)))
            unfit += wrong
        whole.flush()
        mark = content.hexdigest()[:16]
        files = [folder / f"{mark}.npy", folder / f"{mark}-lowered.npy"]  # names of their own, by which they are distributed
        np.save(files[0], whole[:count])
        np.save(files[1], np.concatenate(lowered))
        (folder / "all.npy").unlink()
        schema = arrow_schema({name: GROUP_COLUMNS[name] for name in FACE_KEY})
        yield pa.concat_tables(keys) if keys else schema.empty_table(), unfit, files, mark
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ranges(count: int, cores: int) -> list[tuple[int, int]]:
    step = max(1, min(_ROWS, -(-count // (4 * max(1, cores)))))
    return [(start, min(start + step, count)) for start in range(0, count, step)]


def _grouped(keys: pa.Table, unfit: Sequence[str | None], labels: np.ndarray) -> pa.Table:
    """The table of groups: faces that are not grouped have no group, and the reason."""
    import pyarrow as pa

    groups: list[int | None] = [None] * len(unfit)
    for row, label in zip((row for row, each in enumerate(unfit) if each is None), labels.tolist(), strict=True):
        groups[row] = label
    return keys.append_column("group", pa.array(groups, pa.int64())).append_column("unfit", pa.array(unfit, pa.string()))


def group(frame: DataFrame, *, method: str = "whispers", limit: float | None = None, **settings: Any) -> DataFrame:
    """Sort the faces of a table that `encode` made by person.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``source``, ``photo``, ``face``, ``engine``, ``template``, ``comparable`` and ``remarks``. The driver
        collects it: about 1 kB for each face.
    method : {"whispers", "components"}
        Chinese whispers, as `recognizer group`; or connected components, by SciPy, which join two people through one face
        between them.
    limit : float, optional
        Largest distance of neighbours; by default that of `recognizer group` for as many faces.
    **settings
        Fields of `recognizer.core.settings.Settings`, of which the engine's matter.

    Returns
    -------
    DataFrame
        With `face_columns.GROUP_COLUMNS`, a row for each face.

    Raises
    ------
    EngineMismatch, InvalidParameter, SettingsError, ModelError
    """
    from recognizer.spark.encode_photos import make_plan
    from recognizer.spark.spark_session import distribute, run_tasks, settings_of

    missing = set(_NEEDED) - set(frame.columns)
    if missing:
        raise InvalidParameter(f"expected a table of faces as `encode` makes it; this one lacks {', '.join(sorted(missing))}")
    session = frame.sparkSession
    info = engine_info(make_plan(settings_of(settings)))
    table = frame.select(*_NEEDED).filter(frame["template"].isNotNull()).toArrow()
    with _vectors_file([table], table.num_rows, info) as (keys, unfit, files, mark):
        count = unfit.count(None)
        plan = GroupPlan(str(files[0]), str(files[1]), limit or limit_of(count, info), mark)
        distribute(session, files)
        ranges = _ranges(count, session.sparkContext.defaultParallelism)
        found: list[np.ndarray] = run_tasks(session, ranges, partial(find_pairs, plan), lambda _: None)
        labels = clusters(count, np.concatenate([np.zeros((0, 2), np.int64), *found]), method)
        return session.createDataFrame(_grouped(keys, unfit, labels), spark_schema(GROUP_COLUMNS))


def engine_info(plan: Any) -> EngineInfo:
    """What is known of the engine of a plan."""
    from recognizer.engines import calibration

    chosen = dict(plan.recipe)
    return EngineInfo(
        plan.engine, plan.dim, "euclidean", calibration(chosen["detector"], chosen["embedder"]), chosen["embedder"]
    )


def group_tables(
    session: SparkSession,
    source: str,
    dest: str,
    info: EngineInfo,
    report: Reporter,
    *,
    method: str = "whispers",
    limit: float | None = None,
) -> GroupingTotals:
    """Sort the faces of all tables at a place by person, and write one table of groups.

    Pairs of neighbours are at the destination as well, below ``pairs/``: a run that was interrupted goes on with them, and
    the next one with other faces replaces them.

    Raises
    ------
    EngineMismatch
        The faces are described by another engine.
    InvalidParameter, StorageError, SettingsError
    """
    from recognizer.spark.match_faces import count_faces
    from recognizer.spark.spark_session import distribute, run_tasks

    faces, there = TablePlace.at(source), TablePlace.at(dest)
    most, engines = count_faces(faces)
    check_engine(info.id, sorted(engines, key=str))
    strange = [name for name in there.tables() if name != _TABLE and not name.startswith("pairs/")]
    if strange:
        raise InvalidParameter(f"the destination has other tables, such as {strange[0]}: choose a place of its own")
    tables = (faces.read(name, _NEEDED) for name in faces.tables())
    with _vectors_file(tables, most, info) as (keys, unfit, files, content):
        count = unfit.count(None)
        chosen = limit or limit_of(count, info)
        # the version of the pairs: 2, since limits are lowered
        mark = hashlib.sha256(f"2 {content} {chosen!r}".encode()).hexdigest()[:16]
        plan = GroupPlan(str(files[0]), str(files[1]), chosen, mark)
        for name in there.tables("pairs"):
            if not name.startswith(f"pairs/{mark}-"):
                there.remove(name)
        distribute(session, files)
        ranges = _ranges(count, session.sparkContext.defaultParallelism)
        written: list[str] = run_tasks(
            session, ranges, partial(write_pairs, plan, there), lambda tasks: report(tasks, len(ranges))
        )
        pairs = [np.zeros((0, 2), np.int64)]
        for name in written:
            table = there.read(name)
            pairs.append(np.stack([table["face"].to_numpy(), table["other"].to_numpy()], axis=1))
        found = np.concatenate(pairs)
        labels = clusters(count, found, method)
        there.write(_TABLE, _grouped(keys, unfit, labels))
    sizes = np.bincount(labels) if len(labels) else np.zeros(0, int)
    return GroupingTotals(len(unfit), len(sizes), int((sizes > 1).sum()), len(unfit) - count, len(found), chosen)
