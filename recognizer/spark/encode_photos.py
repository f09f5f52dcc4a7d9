"""Photos to faces with templates: `encode` on a DataFrame, and `PhotoEncoding` from photos to files.

Each Python worker of Spark loads one engine, which takes one core, and keeps it from task to task. A photo that cannot be used
is a row with an error; it never fails the task.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recognizer.core import geometry
from recognizer.core.errors import BrokenImage, EngineMismatch, InvalidParameter, RecognizerError
from recognizer.engines import make_engine, weights_for
from recognizer.enrolment.bulk import BulkSettings, judged_faces
from recognizer.enrolment.encodings import photo_id
from recognizer.fetching.fetcher import Fetcher
from recognizer.photos.quality import Quality, picture_value, remarks
from recognizer.spark.face_columns import FACE_COLUMNS, spark_schema, to_batch
from recognizer.spark.photo_lists import PASSING, list_photos, read_all
from recognizer.spark.places import TablePlace

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from recognizer.attributes.reader import AttributeReader
    from recognizer.core.settings import Settings
    from recognizer.spark.spark_session import Reporter

#: Photos in a batch of rows that is sent on.
BATCH = 64
#: Photos of a task, and of a file that it writes: as many as a core describes in a few seconds, and more where there are
#: millions, so that there are not too many files.
MOST_PHOTOS, MOST_FILES = 256, 8192
_MEASURES = ("size", "sharpness", "yaw", "pitch", "roll", "cut_off", "brightness", "contrast", "clipped")


@dataclass(frozen=True, slots=True)
class EncodingPlan:
    """All that a worker needs to know; plain values, which are sent to it.

    Attributes
    ----------
    recipe : tuple of (str, value)
        The keywords of `engines.make_engine`, without the folder of weights.
    models_dir : str
        Folder of weights of the driver. A worker that does not find them there takes those that Spark distributed.
    attributes : tuple of str
        What to say of how faces look.
    max_bytes, max_pixels : int
        Limits of the size of a photo.
    fetch_allow : tuple of str
        Addresses besides the public ones from which photos may be fetched.
    fetch_timeout : float
    engine, dim : str, int
        Id of the engine, and the length of its templates.
    """

    recipe: tuple[tuple[str, Any], ...]
    models_dir: str
    attributes: tuple[str, ...]
    max_bytes: int
    max_pixels: int
    fetch_allow: tuple[str, ...]
    fetch_timeout: float
    engine: str
    dim: int

    @property
    def files(self) -> tuple[str, ...]:
        """Keys of the weights that a worker loads."""
        from recognizer.attributes.reader import needed_networks

        chosen = dict(self.recipe)
        return (*weights_for(chosen["detector"], chosen["embedder"]), *needed_networks(self.attributes))


def make_plan(settings: Settings, attributes: Sequence[str] = (), download: Any = None) -> EncodingPlan:
    """The plan for some settings. Weights that are missing are fetched, and converted networks are stored for the workers.

    Parameters
    ----------
    attributes : sequence of str
        What to say of how faces look: some of those that the setting enables.
    download : callable, optional
        Progress; see `manifest.fetch`.

    Raises
    ------
    InvalidParameter, AttributesOff, ModelMissing
    """
    from recognizer.service.attribute_finder import AttributeFinder
    from recognizer.weights import manifest

    wanted = AttributeFinder(settings.models_dir, settings.attributes).chosen(list(attributes))
    names = ("detector", "embedder", "detect_size", "detect_size_large", "min_face", "hog_upsample", "provider")
    recipe = {name: getattr(settings, name) for name in names}
    plan = EncodingPlan(
        tuple(recipe.items()),
        str(settings.models_dir.absolute()),
        wanted,
        settings.max_image_bytes,
        settings.max_image_pixels,
        tuple(settings.fetch_allow),
        settings.fetch_timeout,
        "",
        0,
    )
    manifest.fetch(plan.files, settings.models_dir, download)
    info = make_engine(**recipe, models_dir=settings.models_dir).info
    values = {name: getattr(plan, name) for name in EncodingPlan.__slots__}
    return EncodingPlan(**{**values, "engine": info.id, "dim": info.dim})


# -- in a worker ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhotoWorker:
    """What a Python worker keeps from task to task."""

    settings: BulkSettings
    reader: AttributeReader | None
    fetcher: Fetcher


@lru_cache(maxsize=1)
def worker_of(plan: EncodingPlan) -> PhotoWorker:
    """This process's engine for a plan.

    Raises
    ------
    ModelMissing
        The weights are neither in their folder nor among what Spark distributed.
    EngineMismatch
        The worker's installation makes other templates than the driver's.
    """
    import cv2

    from recognizer.attributes.reader import AttributeReader
    from recognizer.spark.spark_session import weights_folder

    cv2.setNumThreads(1)
    folder = weights_folder(plan.files, Path(plan.models_dir))
    recipe = {**dict(plan.recipe), "models_dir": folder}
    engine = make_engine(**recipe)
    if engine.info.id != plan.engine:
        raise EngineMismatch(
            f"this worker's engine is {engine.info.id}, the driver's is {plan.engine}: install the same version"
        )
    if hasattr(engine.embedder, "idle"):
        engine.embedder.idle = lambda: False  # there is a worker for each core
    settings = BulkSettings(engine, recipe, max_bytes=plan.max_bytes, max_pixels=plan.max_pixels)
    reader = AttributeReader(plan.attributes, folder) if plan.attributes else None
    return PhotoWorker(settings, reader, Fetcher(plan.fetch_allow, plan.fetch_timeout, plan.max_bytes))


def photo_rows(worker: PhotoWorker, source: str | None, data: bytes | RecognizerError | None) -> list[dict[str, Any]]:
    """The rows of a photo: one for each face, or one without a face, or one with the error."""
    engine = worker.settings.engine.info.id
    whole: dict[str, Any] = {"source": source, "engine": engine}
    try:
        if data is None:
            raise BrokenImage("there is no photo: the column is null")
        if isinstance(data, RecognizerError):
            raise data
        whole["photo"] = photo_id(data)
        image, judged = judged_faces(worker.settings, data)
    except (RecognizerError, MemoryError, ValueError, OSError) as error:
        code = error.code if isinstance(error, RecognizerError) else BrokenImage.code
        message = error.message if isinstance(error, RecognizerError) else f"the photo cannot be used: {type(error).__name__}"
        return [{**whole, "error": code, "message": message}]
    whole |= {"width": image.width, "height": image.height}
    if judged is None:
        return [whole]
    looks: Sequence[dict[str, Any]] = [{}] * len(judged.faces)
    if worker.reader is not None:
        near, scaled = worker.settings.engine.aligned(image, judged.faces)
        codes = [
            remarks(quality) + ([] if verdict.comparable else ["not_comparable"])
            for quality, verdict in zip(judged.qualities, judged.verdicts, strict=True)
        ]
        read = worker.reader.read(near.pixels, scaled, codes, points=judged.points_on(near))
        looks = [_looks(each.answers) for each in read]
    rows = []
    for number, (face, vector, quality, verdict) in enumerate(
        zip(judged.faces, judged.vectors, judged.qualities, judged.verdicts, strict=True)
    ):
        left, top, right, bottom = geometry.inside(face.box, image.width, image.height)
        rows.append(
            {
                **whole,
                **_measures(quality),
                **looks[number],
                "face": number,
                "left": left,
                "top": top,
                "right": right,
                "bottom": bottom,
                "score": face.score,
                "landmarks": face.landmarks.reshape(-1),
                "template": vector,
                "comparable": verdict.comparable,
                "doubt": verdict.doubt,
                "rate_factor": verdict.rate_factor,
                "remarks": list(verdict.remarks),
                "quality": picture_value(quality),
            }
        )
    return rows


def _measures(quality: Quality) -> dict[str, float | None]:
    values = {name: float(getattr(quality, name)) for name in _MEASURES}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _looks(answers: Any) -> dict[str, Any]:
    said = {name: answer.to_dict() for name, answer in answers.items() if answer is not None}
    age, gender, expression = (said.get(name, {}) for name in ("age", "gender", "expression"))
    return {
        "age_low": age.get("low"),
        "age_high": age.get("high"),
        "gender": gender.get("value"),
        "gender_probability": gender.get("probability"),
        "expression": expression.get("value"),
        "expression_probability": expression.get("probability"),
    }


def _batches(rows: Iterable[list[dict[str, Any]]]) -> Iterator[pa.RecordBatch]:
    """Batches of the rows of `BATCH` photos."""
    photos = iter(rows)
    while together := [row for several in islice(photos, BATCH) for row in several]:
        yield to_batch(together, FACE_COLUMNS)


def _encode_batches(plan: EncodingPlan, with_content: bool, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What `encode` runs in the workers: the columns are the source, and the photo itself where there is a column of it."""
    worker = worker_of(plan)
    if with_content:
        given = ((source.as_py(), _bytes(data)) for batch in batches for source, data in zip(*batch.columns, strict=True))
        yield from _batches(photo_rows(worker, source, data) for source, data in given)
        return
    sources = (source for batch in batches for source in batch.column(0).to_pylist())
    yield from _batches(photo_rows(worker, source, data) for source, data in _read(worker, sources))


def _read(worker: PhotoWorker, sources: Iterator[str | None]) -> Iterator[tuple[str | None, bytes | RecognizerError | None]]:
    """`read_all` of one batch after the other, with what is null."""
    while several := list(islice(sources, BATCH)):
        found = read_all([each for each in several if each is not None], worker.fetcher, worker.settings.max_bytes)
        for source in several:
            yield (None, None) if source is None else next(found)


def _bytes(data: pa.Scalar) -> bytes | None:
    return data.as_py() if data.is_valid else None


# -- DataFrames -------------------------------------------------------------------------------------------------------


def encode(
    frame: DataFrame,
    *,
    source: str | None = None,
    content: str | None = None,
    attributes: Sequence[str] = (),
    **settings: Any,
) -> DataFrame:
    """Find and describe the faces of photos.

    Parameters
    ----------
    frame : DataFrame
        Its partitions are the tasks, in which photos are described one after the other.
    source : str, optional
        Column with the path or URL of each photo: by default ``path``, as of Spark's ``binaryFile``, or else ``source``.
    content : str, optional
        Column with the bytes of each photo: by default ``content`` if there is such a column. Without one, the workers read
        what `source` names: files that they see, buckets through fsspec, and http(s) URLs under the server's guard.
    attributes : sequence of str
        What to say of how faces look: ``age``, ``gender``, ``expression``.
    **settings
        Fields of `recognizer.core.settings.Settings`; they override the environment.

    Returns
    -------
    DataFrame
        With `face_columns.FACE_COLUMNS`: a row for each face, and one for each photo without a face or with an error.

    Raises
    ------
    InvalidParameter
        There is no such column.
    SettingsError, ModelError
    """
    from recognizer.spark.spark_session import distribute_weights, settings_of

    names = frame.columns
    source = source or next((name for name in ("path", "source") if name in names), None)
    content = content or ("content" if "content" in names else None)
    if source is None or source not in names or (content is not None and content not in names):
        raise InvalidParameter(f"expected columns with a photo's source, and its content if any; got {', '.join(names)}")
    if attributes and "attributes" not in settings:
        settings["attributes"] = tuple(attributes)
    plan = make_plan(settings_of(settings), attributes)
    distribute_weights(frame.sparkSession, plan.files, Path(plan.models_dir))
    chosen = [frame[source].cast("string").alias("source"), *([frame[content].alias("content")] if content else [])]
    work = partial(_encode_batches, plan, content is not None)
    return frame.select(*chosen).mapInArrow(work, spark_schema(FACE_COLUMNS))


# -- from photos to files ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """What a task wrote: the file, and how many photos, faces and errors are in it."""

    file: str
    photos: int
    faces: int
    errors: int


@dataclass(frozen=True, slots=True)
class EncodingTotals:
    """The result of a run: photos that were there already, and what was done."""

    before: int
    photos: int
    faces: int
    errors: int
    files: int


def encode_chunk(plan: EncodingPlan, place: TablePlace, chunk: Sequence[str]) -> EncodedFile:
    """Describe the photos of a task, and write one file of them; what an earlier attempt wrote is taken as it is."""
    name = f"faces-{hashlib.sha256(chr(0).join(chunk).encode('utf-8', 'surrogatepass')).hexdigest()[:24]}.parquet"
    if place.has(name):
        return _told(name, place.read(name, ("face", "error", "source")))
    worker = worker_of(plan)
    photos = read_all(chunk, worker.fetcher, plan.max_bytes)
    return _write(place, name, _batches(photo_rows(worker, source, data) for source, data in photos))


def _write(place: TablePlace, name: str, batches: Iterator[pa.RecordBatch]) -> EncodedFile:
    import pyarrow as pa

    table = pa.Table.from_batches(list(batches))
    place.write(name, table)
    return _told(name, table)


def _told(name: str, table: pa.Table) -> EncodedFile:
    """What is in a table. Rows of one photo follow each other, and its faces are numbered from 0."""
    import pyarrow.compute as pc

    faces = table.num_rows - table["face"].null_count
    errors = table.num_rows - table["error"].null_count
    later = pc.sum(pc.greater(table["face"], 0)).as_py() or 0
    return EncodedFile(name, table.num_rows - later, faces, errors)


def _write_batches(plan: EncodingPlan, place: TablePlace, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What the command runs on a table with photos: faces go to files, and their counts on to Spark."""
    import pyarrow as pa

    worker = worker_of(plan)
    given = ((source.as_py(), _bytes(data)) for batch in batches for source, data in zip(*batch.columns, strict=True))
    while several := list(islice(given, MOST_PHOTOS)):
        content = hashlib.sha256(chr(0).join(str(source) for source, _ in several).encode()).hexdigest()[:24]
        done = _write(place, f"faces-{content}.parquet", _batches(photo_rows(worker, *each) for each in several))
        yield pa.RecordBatch.from_pylist([{name: getattr(done, name) for name in EncodedFile.__slots__}])


def encode_photos(
    session: SparkSession,
    source: str,
    dest: str,
    plan: EncodingPlan,
    report: Reporter,
    *,
    column: str | None = None,
    source_column: str | None = None,
    anew: bool = False,
) -> EncodingTotals:
    """Describe the photos at a place that are not at the destination yet.

    Parameters
    ----------
    source : str
        As for `list_photos`; or Parquet files that Spark reads, with `column`.
    dest : str
        A folder that every worker sees, or a URL that fsspec knows.
    column : str, optional
        Column of Parquet files at `source` with URLs or paths (string) or photos (binary).
    source_column : str, optional
        Column that names each photo, where `column` has the photos themselves.
    anew : bool
        Also describe photos that are at the destination; the tables there are removed first.

    Raises
    ------
    EngineMismatch
        The tables at the destination are of another engine.
    InvalidParameter, StorageError, SettingsError
    """
    from recognizer.spark.spark_session import distribute_weights, run_tasks

    place = TablePlace.at(dest)
    known = _clear(place) if anew else _known(place, plan.engine)
    distribute_weights(session, plan.files, Path(plan.models_dir))
    if column is not None:
        frame, is_content = _table(session, source, column, source_column)
        if is_content:
            return _encode_table(session, frame, place, plan, known, report)
        photos = [row[0] for row in frame.select("source").distinct().collect() if row[0] is not None]
    else:
        photos = list_photos(source)
    missing = [photo for photo in photos if photo not in known]
    size = photos_per_task(len(missing), session.sparkContext.defaultParallelism)
    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    before = len(photos) - len(missing)
    done: list[EncodedFile] = run_tasks(
        session,
        chunks,
        partial(encode_chunk, plan, place),
        lambda tasks: report(min(before + tasks * size, len(photos)), len(photos)),
    )
    return _totals(before, done)


def photos_per_task(photos: int, cores: int) -> int:
    """Photos of one task: few enough that every core has several tasks."""
    if photos > MOST_PHOTOS * MOST_FILES:
        return -(-photos // MOST_FILES)
    return max(1, min(MOST_PHOTOS, -(-photos // (4 * max(1, cores)))))


def _totals(before: int, done: Sequence[EncodedFile]) -> EncodingTotals:
    photos, faces, errors = (sum(getattr(each, name) for each in done) for name in ("photos", "faces", "errors"))
    return EncodingTotals(before, photos, faces, errors, len(done))


def _clear(place: TablePlace) -> frozenset[str]:
    for name in place.tables():
        if name.startswith("faces-"):
            place.remove(name)
    return frozenset()


def _known(place: TablePlace, engine: str) -> set[str]:
    """The photos at the destination. Those with an error that may pass are taken out of its tables, to be tried again."""
    import pyarrow.compute as pc

    known: set[str] = set()
    for name in place.tables():
        if not name.startswith("faces-"):
            raise InvalidParameter(f"the destination has other tables, such as {name}: choose a place of its own")
        table = place.read(name, tuple(FACE_COLUMNS))
        others = set(table["engine"].unique().to_pylist()) - {engine}
        if others:
            raise EngineMismatch(
                f"the destination has templates of {', '.join(map(str, sorted(others, key=str)))}, this engine is {engine}: "
                "choose another destination, or --anew"
            )
        passing = pc.fill_null(pc.is_in(table["error"], value_set=_passing_codes()), False)
        if pc.any(passing).as_py():
            table = table.filter(pc.invert(passing))
            if table.num_rows:
                place.write(name, table)
            else:
                place.remove(name)
        known.update(table["source"].to_pylist())
    return known


def _passing_codes() -> pa.Array:
    import pyarrow as pa

    return pa.array(PASSING)


def _table(session: SparkSession, source: str, column: str, source_column: str | None) -> tuple[DataFrame, bool]:
    """Parquet files as columns ``source`` and, if the column has photos, ``content``."""
    from pyspark.errors import AnalysisException

    try:
        frame = session.read.parquet(source)
    except AnalysisException as error:
        raise InvalidParameter(f"Spark cannot read {source!r}: {str(error).splitlines()[0]}") from None
    kinds = dict(frame.dtypes)
    wanted = [name for name in (column, source_column) if name is not None]
    if set(wanted) - set(kinds):
        raise InvalidParameter(f"there is no column {', '.join(set(wanted) - set(kinds))}: there are {', '.join(kinds)}")
    if kinds[column] == "string":
        return frame.select(frame[column].alias("source")), False
    if kinds[column] != "binary":
        raise InvalidParameter(f"expected a column of URLs (string) or photos (binary), got {kinds[column]}")
    if source_column is None:
        raise InvalidParameter("expected also the column that names each photo: --source-column")
    return frame.select(frame[source_column].cast("string").alias("source"), frame[column].alias("content")), True


def _encode_table(
    session: SparkSession,
    frame: DataFrame,
    place: TablePlace,
    plan: EncodingPlan,
    known: set[str] | frozenset[str],
    report: Reporter,
) -> EncodingTotals:
    from recognizer.spark.spark_session import run_job

    before = 0
    if known:
        there = session.createDataFrame([(each,) for each in known], "source string")
        everything = frame.count()
        frame = frame.join(there, "source", "left_anti")
        before = everything - frame.count()
    columns = {"file": "string", "photos": "bigint", "faces": "bigint", "errors": "bigint"}
    written = frame.mapInArrow(partial(_write_batches, plan, place), spark_schema(columns))
    rows = run_job(session, written.collect, lambda tasks, of: report(tasks, of))
    return _totals(before, [EncodedFile(*row) for row in rows])
