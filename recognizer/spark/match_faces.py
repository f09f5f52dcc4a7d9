"""Names for faces: each template is compared with all enrolled ones, by blocks, and the server's own matcher decides.

The gallery goes to the workers as a file that they map into memory. Thresholds, comparability and the order of candidates are
those of `service.matcher.Matcher`, so that a face gets the name that the server would give it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from recognizer.core.errors import InvalidParameter
from recognizer.engines.protocols import Calibration, EngineInfo
from recognizer.photos.remarks import Comparability
from recognizer.spark.face_columns import FACE_KEY, MATCH_COLUMNS, spark_schema, to_batch
from recognizer.spark.mapped_gallery import GalleryFiles, check_engine, mapped, write_gallery
from recognizer.spark.places import TablePlace

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from recognizer.service import Service
    from recognizer.service.matcher import Matcher
    from recognizer.spark.spark_session import Reporter

#: The file that notes what matches are made with; as its name begins with _, Spark and others pass it over.
_MARK = "_matched.parquet"
#: What is needed of each face.
_NEEDED = ("engine", "template", "comparable", "doubt", "rate_factor")
#: Columns of the tables that `match_tables` writes: the key, what a reader wants to see, and the match.
KEPT = (*FACE_KEY, "engine", "left", "top", "right", "bottom", "comparable", "quality")


@dataclass(frozen=True, slots=True)
class MatchPlan:
    """All that a worker needs to know.

    Attributes
    ----------
    gallery : GalleryFiles
    calibration : Calibration
        The engine's.
    fixed : float or None
        Maximum distance of a match, if it is fixed.
    stranger_rate : float
        The probability that a stranger's face gets a name.
    top_k : int
        Number of candidates that are kept.
    """

    gallery: GalleryFiles
    calibration: Calibration
    fixed: float | None
    stranger_rate: float
    top_k: int = 0


@dataclass(frozen=True, slots=True)
class MatchedFile:
    """What a task wrote: the file, and how many faces in it have a template, and a name."""

    file: str
    faces: int
    named: int


@dataclass(frozen=True, slots=True)
class MatchingTotals:
    """The result of a run: the files that were there already, and what was done."""

    before: int
    files: int
    faces: int
    named: int
    stranger_rate: float | None
    threshold: float
    templates: int


def stranger_rate_for(wrong_names: float, faces: int) -> float:
    """The stranger rate at which so many faces of strangers are expected to get a number of wrong names in all."""
    return min(0.5, max(1e-12, wrong_names / max(1, faces)))


@contextmanager
def gallery_plan(service: Service, top_k: int, stranger_rate: float | None = None) -> Iterator[MatchPlan]:
    """The plan for the people whom a service has enrolled; its files are erased at the end of the block.

    Parameters
    ----------
    stranger_rate : float, optional
        Instead of the service's, and of a fixed threshold.
    """
    folder = Path(tempfile.mkdtemp(prefix="recognizer-gallery-"))  # for this user only
    try:
        files = write_gallery(service.gallery, folder)
        rate = service.tuning.stranger_rate if stranger_rate is None else stranger_rate
        fixed = service.settings.threshold if stranger_rate is None else None
        yield MatchPlan(files, service.engine.info.calibration, fixed, rate, top_k)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# -- in a worker ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def matcher_of(plan: MatchPlan) -> Matcher:
    """This process's matcher: the server's, on a mapped gallery."""
    from recognizer.service.matcher import Matcher

    gallery = mapped(plan.gallery)
    info = EngineInfo(gallery.engine, gallery.dim, "euclidean", plan.calibration)
    return Matcher(info, gallery, plan.fixed, lambda: plan.stranger_rate)


def match_rows(plan: MatchPlan, columns: Mapping[str, pa.ChunkedArray | pa.Array]) -> list[dict[str, Any]]:
    """The match of each row, with `MATCH_COLUMNS`; empty for a row without a template.

    Parameters
    ----------
    columns : mapping
        The columns `_NEEDED`.

    Raises
    ------
    EngineMismatch
    """
    faces = columns["template"]
    has = faces.is_valid()
    rows: list[dict[str, Any]] = [{} for _ in range(len(faces))]
    which = np.flatnonzero(np.asarray(has))
    if not len(which):
        return rows
    gallery = mapped(plan.gallery)
    check_engine(gallery.engine, columns["engine"].filter(has).unique().to_pylist())
    vectors = vectors_of(faces, gallery.dim)
    told = (columns[name].filter(has).to_pylist() for name in ("comparable", "doubt", "rate_factor"))
    verdicts = [
        Comparability(bool(comparable), doubt or 0.0, factor or 1.0) for comparable, doubt, factor in zip(*told, strict=True)
    ]
    for row, match in zip(which.tolist(), matcher_of(plan).match(vectors, plan.top_k, verdicts=verdicts), strict=True):
        rows[row] = {
            "subject": match.subject,
            "distance": match.distance,
            "threshold": match.threshold,
            "false_match_rate": match.false_match_rate,
            "ambiguous": match.ambiguous,
            "candidates": [{"subject": each.subject, "distance": each.distance} for each in match.candidates],
        }
    return rows


def vectors_of(templates: pa.ChunkedArray | pa.Array, dim: int) -> np.ndarray:
    """The templates that are not null, float32 (n, dim), without a copy where they lie together.

    Raises
    ------
    EngineMismatch, InvalidParameter
        They have another length, or another type.
    """
    import pyarrow as pa

    whole = templates.combine_chunks() if isinstance(templates, pa.ChunkedArray) else templates
    if isinstance(whole, pa.ChunkedArray):  # without a chunk
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], pa.list_(pa.float32()))
    values = whole.drop_null().flatten()
    if not pa.types.is_floating(values.type):
        raise InvalidParameter(f"expected templates of float, got {values.type}")
    numbers = values.cast(pa.float32()).to_numpy(zero_copy_only=False)
    count = len(whole) - whole.null_count
    if len(numbers) != count * dim or (count and not (whole.drop_null().value_lengths().to_numpy() == dim).all()):
        raise InvalidParameter(f"expected templates of {dim} numbers")
    return numbers.reshape(count, dim)


def _match_batches(plan: MatchPlan, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What `match` runs in the workers: the columns as they are, and the match."""
    import pyarrow as pa

    for batch in batches:
        given = {name: batch.column(batch.schema.get_field_index(name)) for name in _NEEDED}
        matches = to_batch(match_rows(plan, given), MATCH_COLUMNS)
        schema = pa.schema([*batch.schema, *matches.schema])
        yield pa.RecordBatch.from_arrays([*batch.columns, *matches.columns], schema=schema)


def match_file(plan: MatchPlan, source: TablePlace, dest: TablePlace, name: str) -> MatchedFile:
    """Match the faces of a file, and write one file of the same name."""
    if dest.has(name):
        table = dest.read(name, ("subject", "face"))
        return _told(name, table)
    import pyarrow as pa

    faces = source.read(name, (*KEPT, *(column for column in _NEEDED if column not in KEPT)))
    faces = faces.filter(faces["template"].is_valid())
    matches = pa.Table.from_batches([to_batch(match_rows(plan, {column: faces[column] for column in _NEEDED}), MATCH_COLUMNS)])
    for column in MATCH_COLUMNS:
        faces = faces.append_column(matches.schema.field(column), matches[column])
    dest.write(name, faces.select([*KEPT, *MATCH_COLUMNS]))
    return _told(name, faces)


def _told(name: str, table: pa.Table) -> MatchedFile:
    return MatchedFile(name, table.num_rows, table.num_rows - table["subject"].null_count)


# -- DataFrames -------------------------------------------------------------------------------------------------------


def match(
    frame: DataFrame,
    *,
    top_k: int = 0,
    wrong_names: float | None = None,
    faces: int | None = None,
    **settings: Any,
) -> DataFrame:
    """Name the faces of a table that `encode` made.

    Parameters
    ----------
    frame : DataFrame
        With the columns ``engine``, ``template``, ``comparable``, ``doubt`` and ``rate_factor``; it may have others.
    top_k : int
        Number of candidates for each face.
    wrong_names : float, optional
        The number of wrong names that are expected in all if every face is a stranger's. By default each face is compared at
        the stranger rate of the settings, as the server does: a million strangers at 0.01 would get 10,000 names.
    faces : int, optional
        Number of faces that `wrong_names` is about; counted by Spark if it is not given.
    **settings
        Fields of `recognizer.core.settings.Settings`, such as ``known_faces``; they override the environment.

    Returns
    -------
    DataFrame
        The frame with `face_columns.MATCH_COLUMNS`, which are null where there is no template.

    Raises
    ------
    InvalidParameter
        A column is missing, or is there already.
    SettingsError, ModelError, StorageError

    Notes
    -----
    The gallery is a copy of what is enrolled now. Its file exists until Python ends, since Spark computes when it wants.
    Templates of another engine fail the job with `EngineMismatch`.
    """
    import atexit

    from pyspark.sql.types import StructType

    from recognizer.service import make_service
    from recognizer.spark.spark_session import distribute, settings_of

    _check_columns(frame)
    if wrong_names is not None and faces is None:
        faces = frame.filter(frame["template"].isNotNull()).count()
    rate = None if wrong_names is None else stranger_rate_for(wrong_names, faces or 0)
    lasting = ExitStack()
    atexit.register(lasting.close)
    service = make_service(settings_of({"watch": False, **settings}))
    try:
        service.start()
        plan = lasting.enter_context(gallery_plan(service, top_k, rate))
    finally:
        service.close()
    distribute(frame.sparkSession, plan.gallery.paths)
    schema = StructType([*frame.schema.fields, *cast(StructType, StructType.fromDDL(spark_schema(MATCH_COLUMNS))).fields])
    return frame.mapInArrow(partial(_match_batches, plan), schema)


def _check_columns(frame: DataFrame) -> None:
    missing, taken = set(_NEEDED) - set(frame.columns), set(MATCH_COLUMNS) & set(frame.columns)
    if missing or taken:
        wrong = f"lacks {', '.join(sorted(missing))}" if missing else f"has {', '.join(sorted(taken))} already"
        raise InvalidParameter(f"expected a table of faces as `encode` makes it; this one {wrong}")


# -- from files to files ----------------------------------------------------------------------------------------------


def count_faces(source: TablePlace) -> tuple[int, set[str | None]]:
    """How many templates the tables at a place have, and of which engines.

    Raises
    ------
    InvalidParameter
        There are none, or they are no tables of faces.
    StorageError
    """
    names = source.tables()
    if not names:
        raise InvalidParameter("there are no Parquet files at the source: `recognizer spark encode` writes them")
    count, engines = 0, set()
    for name in names:
        table = source.read(name, ("face", "engine"))
        count += table.num_rows - table["face"].null_count
        engines |= set(table["engine"].unique().to_pylist())
    return count, engines


def match_tables(
    session: SparkSession, source: str, dest: str, plan: MatchPlan, report: Reporter, *, anew: bool = False
) -> MatchingTotals:
    """Match the faces of all tables at a place that are not at the destination yet.

    Parameters
    ----------
    source, dest : str
        Folders that every worker sees, or URLs that fsspec knows.
    anew : bool
        Also those at the destination.

    Raises
    ------
    EngineMismatch
        The faces are described by another engine than the gallery's.
    InvalidParameter
        The destination has matches with another gallery or at another rate; see `anew`.
    StorageError, SettingsError
    """
    from recognizer.spark.spark_session import distribute, run_tasks

    faces, there = TablePlace.at(source), TablePlace.at(dest)
    _, engines = count_faces(faces)
    gallery = mapped(plan.gallery)
    check_engine(gallery.engine, sorted(engines, key=str))
    threshold = matcher_of(plan).threshold_now()
    _mark(there, plan, threshold, anew)
    names = faces.tables()
    before = [name for name in names if there.has(name)] if not anew else []
    missing = [name for name in names if name not in set(before)]
    distribute(session, plan.gallery.paths)
    done: list[MatchedFile] = run_tasks(
        session,
        missing,
        partial(match_file, plan, faces, there),
        lambda tasks: report(len(before) + tasks, len(names)),
    )
    return MatchingTotals(
        len(before),
        len(done),
        sum(each.faces for each in done),
        sum(each.named for each in done),
        None if plan.fixed is not None else plan.stranger_rate,
        threshold,
        len(gallery),
    )


def _mark(place: TablePlace, plan: MatchPlan, threshold: float, anew: bool) -> None:
    """Note at the destination what the matches are made with, or check that it is the same as before."""
    import pyarrow as pa

    now = {"gallery": plan.gallery.mark, "threshold": threshold, "top_k": plan.top_k}
    if anew:
        for name in place.tables():
            place.remove(name)
    elif place.has(_MARK):
        [before] = place.read(_MARK).to_pylist()
        if before != now:
            raise InvalidParameter(
                "the destination has matches with other enrolled people, at another threshold or with other candidates: choose "
                "another destination, or --anew"
            )
        return
    elif place.tables():
        raise InvalidParameter("the destination has tables of something else: choose a place of its own")
    place.write(_MARK, pa.Table.from_pylist([now]))
