"""Exports: there and back in every format, to a folder and to an S3 server of this machine, and going on where one ended."""

from __future__ import annotations

import csv
import importlib.util
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
from click.testing import CliRunner

from recognizer.cli import main
from recognizer.core.errors import InvalidParameter, StorageError
from recognizer.events import exporting
from recognizer.events.event_log import EventLog
from recognizer.events.exporting import EVENT_COLUMNS, RESULT_COLUMNS, export_events, export_results

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
needs_arrow = pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="needs pyarrow (requirements-export.txt)")

EVENTS = [
    {
        "id": number,
        "kind": kind,
        "camera": "door",
        "time": time,
        "subject": subject,
        "track": 3,
        "distance": 0.41,
        "false_match_rate": 1e-6,
        "box": {"left": 1, "top": 2, "right": 3, "bottom": 4},
        "thumbnail": None,
        "since": time,
    }
    for number, (kind, time, subject) in enumerate(
        [
            ("appeared", "2026-11-20T23:59:59.900Z", 'Zoë, "the" Ö\n=1+1'),
            ("left", "2026-11-21T00:00:00.000Z", "Ada"),
            ("unknown", "2026-11-21T10:00:00.123Z", None),
        ],
        1,
    )
]
EVENTS.append(
    {
        "id": 4,
        "kind": "camera_lost",
        "camera": "yard",
        "time": "2026-11-22T01:00:00.000Z",
        "subject": None,
        "track": None,
        "distance": None,
        "false_match_rate": None,
        "box": None,
        "thumbnail": None,
        "reason": "no route",
    }
)
PHOTOS = [
    {
        "source": "party.jpg",
        "image": {"width": 640, "height": 480},
        "faces": [
            {
                "subject": "Ada",
                "distance": 0.4,
                "threshold": 1.3,
                "false_match_rate": 1e-6,
                "score": 0.9,
                "box": {"left": 1, "top": 2, "right": 30, "bottom": 40},
                "quality": {"sharpness": 0.1, "yaw": None},
            },
            {
                "subject": None,
                "distance": None,
                "threshold": 1.3,
                "false_match_rate": None,
                "score": 0.8,
                "ambiguous": True,
                "box": {"left": 5, "top": 6, "right": 70, "bottom": 80},
            },
        ],
    },
    {"source": "wall.jpg", "image": {"width": 64, "height": 48}, "faces": []},
    {"source": "gone.jpg", "error": {"code": "unreadable", "message": "the file cannot be read"}},
]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def read(path: Path) -> list[dict]:
    """Rows of a file, None for what is empty."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read().to_pylist()


KINDS = [pytest.param("parquet", marks=needs_arrow), "jsonl", "csv"]


@pytest.mark.parametrize("kind", KINDS)
def test_events_there_and_back(tmp_path, kind):
    written = export_events(EVENTS, str(tmp_path / "out"), kind)
    assert [each.rows for each in written] == [1, 2, 1]
    assert files(tmp_path / "out") == [
        f"events/day=2026-11-20/000000000001-000000000001.{kind}",
        f"events/day=2026-11-21/000000000002-000000000003.{kind}",
        f"events/day=2026-11-22/000000000004-000000000004.{kind}",
    ]
    rows = [row for each in written for row in read(Path(each.file))]
    assert [list(row) for row in rows] == [list(EVENT_COLUMNS)] * 4
    assert [row["subject"] for row in rows] == [event["subject"] for event in EVENTS]
    assert [int(row["id"]) for row in rows] == [1, 2, 3, 4]
    assert int(rows[0]["bottom"]) == 4 and rows[3]["bottom"] is None and rows[3]["reason"] == "no route"
    if kind == "parquet":
        assert rows[2]["time"] == datetime(2026, 11, 21, 10, 0, 0, 123_000, tzinfo=timezone.utc)
    else:
        assert rows[2]["time"] == "2026-11-21T10:00:00.123Z"


@needs_arrow
def test_a_folder_is_one_data_set_by_day(tmp_path):
    import pyarrow.dataset as ds

    export_events(EVENTS, str(tmp_path))
    table = ds.dataset(tmp_path / "events", partitioning="hive").to_table(filter=ds.field("day") == "2026-11-21")
    assert table.column("id").to_pylist() == [2, 3] and str(table.schema.field("time").type) == "timestamp[ms, tz=UTC]"


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_export_goes_on(tmp_path, kind):
    export_events(EVENTS[:2], str(tmp_path), kind)
    assert [each.rows for each in export_events(EVENTS, str(tmp_path), kind)] == [1, 1]
    assert export_events(EVENTS, str(tmp_path), kind) == []
    assert sorted(int(row["id"]) for name in files(tmp_path) for row in read(tmp_path / name)) == [1, 2, 3, 4]
    assert sum(each.rows for each in export_events(EVENTS, str(tmp_path), kind, anew=True)) == 4
    with pytest.raises(InvalidParameter, match="another log"):
        export_events(EVENTS[:1], str(tmp_path), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_results_there_and_back(tmp_path, kind):
    now = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    (written,) = export_results(PHOTOS, str(tmp_path), kind, now=now)
    rows = read(Path(written.file))
    assert "day=2026-11-21" in written.file and written.rows == len(rows) == 4
    assert [list(row) for row in rows] == [list(RESULT_COLUMNS)] * 4
    assert [row["source"] for row in rows] == ["party.jpg", "party.jpg", "wall.jpg", "gone.jpg"]
    assert [row["subject"] for row in rows] == ["Ada", None, None, None] and rows[3]["error"] == "unreadable"
    assert int(rows[1]["right"]) == 70 and str(rows[1]["ambiguous"]) == "True"
    assert export_results(PHOTOS, str(tmp_path), kind, now=now)[0].file == written.file and len(files(tmp_path)) == 1
    assert export_results([], str(tmp_path), kind) == []


def test_a_destination_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="the destination cannot be used"):
        export_events(EVENTS, str(tmp_path / "file"), "jsonl")


@pytest.mark.parametrize(
    ("missing", "destination", "kind"),
    [("pyarrow", "out", "parquet"), ("fsspec", "memory://out", "jsonl"), ("s3fs", "s3://bucket/x", "jsonl")],
)
def test_what_is_missing_is_named_with_the_file_that_brings_it(tmp_path, monkeypatch, missing, destination, kind):
    real = importlib.util.find_spec
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    if missing == "s3fs" and not real("fsspec"):
        pytest.skip("needs fsspec")
    with pytest.raises(InvalidParameter, match=rf"{missing}, which is not installed: .*requirements-export\.txt"):
        export_events(EVENTS, destination, kind)
    assert files(tmp_path) == []


def test_a_scheme_that_nobody_knows(tmp_path):
    pytest.importorskip("fsspec", reason="needs fsspec (requirements-export.txt)")
    with pytest.raises(InvalidParameter, match="nonsense:// cannot be written to"):
        export_events(EVENTS, "nonsense://place", "jsonl")


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"nonsense", b"[1, 2]", b'{"id": 1}', b"\xff\xfe", b'{"id": "x", "kind": "left", "time": "2026"}']
)
def test_files_that_hold_neither_events_nor_results(data):
    with pytest.raises(InvalidParameter, match=r"file: expected events as JSON Lines, or what `recognize --json` writes"):
        exporting.parse(data, "file")


# -- S3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_arrow
def test_to_s3_and_back(bucket):
    import boto3
    import pyarrow.parquet as pq

    written = export_events(EVENTS[:2], bucket)
    assert written[0].file == f"{bucket}/events/day=2026-11-20/000000000001-000000000001.parquet"
    assert [each.rows for each in export_events(EVENTS, bucket)] == [1, 1]
    assert export_events(EVENTS, bucket) == []
    client, ids = boto3.client("s3"), []
    import io

    for each in client.list_objects_v2(Bucket="faces")["Contents"]:
        body = client.get_object(Bucket="faces", Key=each["Key"])["Body"].read()
        ids += pq.read_table(io.BytesIO(body)).column("id").to_pylist()
    assert sorted(ids) == [1, 2, 3, 4]
    assert export_results(PHOTOS, bucket, "csv")[0].rows == 4


@pytest.mark.slow
def test_a_bucket_that_is_not_there(bucket):
    with pytest.raises(StorageError, match="the destination cannot be used") as caught:
        export_events(EVENTS, "s3://no-such-bucket/x", "jsonl")
    assert "s3cret" not in str(caught.value)


# -- the command ------------------------------------------------------------------------------------------------------


def run(*args, state: Path, input: bytes | None = None):
    result = CliRunner(env={"RECOGNIZER_STATE_DIR": str(state)}).invoke(main, ["export", *map(str, args)], input=input)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def state(tmp_path) -> Path:
    log = EventLog(tmp_path / "state" / "events")
    for event in EVENTS:
        log.append([dict(event)])
    log.close()
    return tmp_path / "state"


def test_the_command_exports_the_servers_events_while_it_runs(state, tmp_path):
    running = EventLog(state / "events")
    result = run(tmp_path / "out", "--format", "jsonl", state=state)
    assert result.exit_code == 0 and [line.rsplit(": ", 1)[1] for line in result.stdout.splitlines()] == [
        "1 rows",
        "2 rows",
        "1 rows",
    ]
    running.append([{**EVENTS[3]}])
    shown = json.loads(run(tmp_path / "out", "--format", "jsonl", "--json", state=state).stdout)
    assert [each["rows"] for each in shown["files"]] == [1]
    again = run(tmp_path / "out", "--format", "jsonl", state=state)
    assert (again.exit_code, again.stdout) == (0, "") and "nothing new" in again.stderr
    running.close()


def test_the_command_takes_files_and_the_standard_input(tmp_path):
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)), "utf-8")
    data = json.dumps({"photos": PHOTOS}, indent=2).encode()
    result = run(tmp_path / "out", tmp_path / "events.jsonl", "-", "--format", "csv", state=tmp_path, input=data)
    assert result.exit_code == 0 and len(files(tmp_path / "out")) == 4, result.output


def test_the_command_without_any_events(tmp_path):
    result = run(tmp_path / "out", "--format", "csv", state=tmp_path)
    assert result.exit_code == 0 and "nothing new" in result.stderr and not (tmp_path / "events").exists()


def test_what_the_command_refuses(tmp_path):
    (tmp_path / "x.txt").write_text("nonsense")
    assert "[storage_error]" in run(tmp_path, tmp_path / "missing", state=tmp_path).stderr
    result = run(tmp_path, tmp_path / "x.txt", "--format", "csv", state=tmp_path)
    assert result.exit_code == 1 and "[invalid_parameter]" in result.stderr
    assert run(tmp_path, "--format", "xls", state=tmp_path).exit_code == 2
    assert run(state=tmp_path).exit_code == 2
