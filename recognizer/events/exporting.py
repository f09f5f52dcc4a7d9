"""Events and recognition results as tables: Parquet, JSON Lines or CSV, in a folder or at any fsspec URL, one folder per day.

::

    DESTINATION/events/day=2026-11-21/000000000017-000000000123.parquet
    DESTINATION/results/day=2026-11-21/1e5d07c2a9b34f60d8a1c37b.parquet

Files of events are named after the first and last id in them: the next export continues after the last id at the destination,
and nothing is exported twice. Files of results are named after their content. Some formats and destinations need pyarrow,
fsspec or s3fs (requirements-export.txt).
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.core.files import write_durably

FORMATS = ("parquet", "jsonl", "csv")
_HOW = "pip install -r requirements-export.txt"

#: Columns for how a face looks.
LOOKS_COLUMNS = {
    "age_low": "int32",
    "age_high": "int32",
    "gender": "string",
    "gender_probability": "float64",
    "expression": "string",
    "expression_probability": "float64",
}
#: Columns of each table: name -> type, as pyarrow calls it.
EVENT_COLUMNS = {
    "id": "int64",
    "kind": "string",
    "camera": "string",
    "time": "time",
    "subject": "string",
    "track": "int64",
    "distance": "float64",
    "false_match_rate": "float64",
    "left": "int32",
    "top": "int32",
    "right": "int32",
    "bottom": "int32",
    "thumbnail": "string",
    "since": "time",
    "seconds": "float64",
    "appearance": "int64",
    "replaces": "int64",
    "same_as": "int64",
    "reason": "string",
    "zones": "string",
    **LOOKS_COLUMNS,
}
RESULT_COLUMNS = {
    "exported": "time",
    "source": "string",
    "width": "int32",
    "height": "int32",
    "face": "int32",
    "subject": "string",
    "distance": "float64",
    "threshold": "float64",
    "false_match_rate": "float64",
    "ambiguous": "bool",
    "left": "int32",
    "top": "int32",
    "right": "int32",
    "bottom": "int32",
    "score": "float64",
    "sharpness": "float64",
    "yaw": "float64",
    **LOOKS_COLUMNS,
    "error": "string",
    "message": "string",
}


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written: its name below the destination, and how many rows are in it."""

    file: str
    rows: int


# -- rows -------------------------------------------------------------------------------------------------------------


def event_row(event: Mapping) -> dict:
    """An event as a flat row; times become datetimes in UTC, names of zones one text."""
    row = {name: event.get(name) for name in EVENT_COLUMNS}
    row |= _edges(event) | _looks(event) | {"zones": "; ".join(event.get("zones") or ()) or None}
    for name, kind in EVENT_COLUMNS.items():
        if kind == "time" and (text := row[name]) is not None:
            row[name] = _time(text)
    return row


def result_rows(photo: Mapping, now: datetime) -> Iterator[dict]:
    """One photo of ``recognize --json`` as rows: one per face, one for a photo without any, or for its error."""
    empty = dict.fromkeys(RESULT_COLUMNS)
    image, error = photo.get("image") or {}, photo.get("error") or {}
    about = empty | {
        "exported": now,
        "source": photo.get("source"),
        "width": image.get("width"),
        "height": image.get("height"),
        "error": error.get("code"),
        "message": error.get("message"),
    }
    faces = photo.get("faces") or []
    if not faces:
        yield about
    for number, face in enumerate(faces):
        quality = face.get("quality") or {}
        taken = {name: face.get(name) for name in ("subject", "distance", "threshold", "false_match_rate", "score")}
        measured = {name: quality.get(name) for name in ("sharpness", "yaw")}
        yield (
            about | taken | measured | _edges(face) | _looks(face) | {"face": number, "ambiguous": bool(face.get("ambiguous"))}
        )


def _edges(found: Mapping) -> dict:
    return {edge: (found.get("box") or {}).get(edge) for edge in ("left", "top", "right", "bottom")}


def _looks(found: Mapping) -> dict:
    said = found.get("attributes") or {}
    age, gender, expression = (said.get(name) or {} for name in ("age", "gender", "expression"))
    return {
        "age_low": age.get("low"),
        "age_high": age.get("high"),
        "gender": gender.get("value"),
        "gender_probability": gender.get("probability"),
        "expression": expression.get("value"),
        "expression_probability": expression.get("probability"),
    }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def parse(data: bytes, name: str) -> tuple[str, list[dict]]:
    """What a file holds: ``"events"`` (JSON Lines of events) or ``"results"`` (what ``recognize --json`` wrote).

    Raises
    ------
    InvalidParameter
        It is neither.
    """
    neither = f"{name}: expected events as JSON Lines, or what `recognize --json` writes"
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidParameter(neither) from None
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    if isinstance(whole, dict) and isinstance(whole.get("photos"), list):
        return "results", [photo for photo in whole["photos"] if isinstance(photo, dict)]
    events = []
    for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
        try:
            event = json.loads(line)
            _time(event["time"])
            events.append({**event, "id": int(event["id"]), "kind": str(event["kind"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidParameter(f"{neither}; line {number} is neither") from None
    if not events:
        raise InvalidParameter(f"{neither}; it is empty")
    return "events", events


# -- writing ----------------------------------------------------------------------------------------------------------


def export_events(events: Iterable[Mapping], destination: str, kind: str = "parquet", *, anew: bool = False) -> list[Exported]:
    """Write events that are not at the destination yet, one file per day.

    Parameters
    ----------
    events : iterable of dict
        By id.
    destination : str
        A folder, or a URL that fsspec knows (``s3://bucket/folder``).
    kind : str
        One of `FORMATS`.
    anew : bool
        Also those that are at the destination.

    Raises
    ------
    InvalidParameter
        A package is missing, or the destination has newer events than the log: they are from another log.
    StorageError
        The destination cannot be used.
    """
    place = _place(destination)
    encode = _encoder(kind)
    events = list(events)
    after = 0 if anew else _reached(place, kind)
    if events and after > events[-1]["id"]:
        raise InvalidParameter(
            f"event {after} is at the destination already, but the newest here is {events[-1]['id']}: these are "
            "events of another log; choose another destination, or --anew"
        )
    days: dict[str, list[dict]] = {}
    for event in events:
        if event["id"] > after:
            row = event_row(event)
            days.setdefault(f"{row['time']:%Y-%m-%d}", []).append(row)
    written = []
    for day, rows in days.items():
        name = f"events/day={day}/{rows[0]['id']:012}-{rows[-1]['id']:012}.{kind}"
        written.append(_write(place, name, rows, EVENT_COLUMNS, encode))
    return written


def export_results(
    photos: Iterable[Mapping], destination: str, kind: str = "parquet", *, now: datetime | None = None
) -> list[Exported]:
    """Write recognition results under the day of the export. The same results on the same day give the same file.

    Raises
    ------
    InvalidParameter, StorageError
        As for `export_events`.
    """
    place, encode, photos = _place(destination), _encoder(kind), list(photos)
    moment = (now or datetime.now(timezone.utc)).astimezone(timezone.utc)
    rows = [row for photo in photos for row in result_rows(photo, moment)]
    if not rows:
        return []
    name = hashlib.sha256(json.dumps(photos, sort_keys=True).encode()).hexdigest()[:24]
    return [_write(place, f"results/day={moment:%Y-%m-%d}/{name}.{kind}", rows, RESULT_COLUMNS, encode)]


def _write(place: _Place, name: str, rows: list[dict], columns: Mapping, encode: Callable) -> Exported:
    with _storage():
        place.write(name, encode(rows, columns))
    return Exported(place.shown(name), len(rows))


def _reached(place: _Place, kind: str) -> int:
    """The id of the newest event at the destination."""
    with _storage():
        found = [re.search(rf"(\d{{12}})-(\d{{12}})\.{kind}$", name) for name in place.names("events")]
    return max((int(match[2]) for match in found if match), default=0)


# -- formats ----------------------------------------------------------------------------------------------------------


def _encoder(kind: str) -> Callable[[list[dict], Mapping], bytes]:
    if kind == "parquet":
        _require("pyarrow", "Parquet")
    return {"parquet": _parquet, "jsonl": _jsonl, "csv": _csv}[kind]


def _parquet(rows: list[dict], columns: Mapping) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"time": pa.timestamp("ms", tz="UTC"), "string": pa.string(), "bool": pa.bool_()}
    kinds |= {name: getattr(pa, name)() for name in ("int32", "int64", "float64")}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out, compression="zstd")
    return out.getvalue()


def _jsonl(rows: list[dict], columns: Mapping) -> bytes:
    return b"".join(json.dumps(_texts(row), ensure_ascii=False).encode() + b"\n" for row in rows)


def _csv(rows: list[dict], columns: Mapping) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(columns))
    writer.writeheader()
    writer.writerows(_texts(row) for row in rows)
    return out.getvalue().encode()


def _texts(row: Mapping) -> dict:
    return {
        name: value.isoformat(timespec="milliseconds").replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in row.items()
    }


# -- places -----------------------------------------------------------------------------------------------------------


class _Place:
    """A folder of this machine. Files appear only when they are complete."""

    def __init__(self, root: str):
        self.root = Path(root)

    def names(self, below: str) -> Sequence[str]:
        return [file.name for file in (self.root / below).rglob("*") if file.is_file()]

    def write(self, name: str, data: bytes) -> None:
        final = self.root / name
        final.parent.mkdir(parents=True, exist_ok=True)
        write_durably(final, data)

    def shown(self, name: str) -> str:
        return str(self.root / name)


class _Remote(_Place):
    """A place that fsspec reaches. Object stores show an object only when it is complete."""

    def __init__(self, url: str):
        import fsspec

        self._url = url.rstrip("/")
        self.filesystem, self.root = fsspec.core.url_to_fs(self._url)

    def names(self, below: str) -> Sequence[str]:
        self.filesystem.invalidate_cache()
        try:
            return self.filesystem.find(posixpath.join(self.root, below))
        except FileNotFoundError:
            return []

    def write(self, name: str, data: bytes) -> None:
        path = posixpath.join(self.root, name)
        self.filesystem.makedirs(posixpath.dirname(path), exist_ok=True)
        self.filesystem.pipe_file(path, data)

    def shown(self, name: str) -> str:
        """The URL without user and password."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}/{name}"


def _place(destination: str) -> _Place:
    scheme, found, _ = destination.partition("://")
    if not found:
        return _Place(destination)
    _require("fsspec", f"{scheme}://")
    if scheme in ("s3", "s3a"):
        _require("s3fs", f"{scheme}://")
    try:
        with _storage():
            return _Remote(destination)
    except (ImportError, ValueError) as error:
        raise InvalidParameter(f"{scheme}:// cannot be written to: {error}") from None


def _require(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise InvalidParameter(f"{what} needs {package}, which is not installed: {_HOW}")


@contextmanager
def _storage():
    """Turn the errors of file systems into one sentence without secrets."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"the destination cannot be used: {_reason(error)}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("botocore", "aiohttp", "s3fs", "fsspec"):
            raise StorageError(f"the destination cannot be used: {type(error).__name__}") from error
        raise


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
