"""Bulk work on a real Spark in this process's JVM: DataFrames, the commands, and workers that are killed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from recognizer import spark
from recognizer.core.errors import EngineMismatch, InvalidParameter, SettingsError
from recognizer.core.settings import Settings
from recognizer.service import make_service
from recognizer.spark import encode_photos, spark_session

from .. import enrolling
from ..commands import run_command
from ..test_spark import negative

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="needs pyspark (requirements-spark.txt)"),
    pytest.mark.skipif(not (shutil.which("java") or os.environ.get("JAVA_HOME")), reason="needs Java 17 or newer"),
    # pyspark's own, where Python looks for what is not closed
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning", "ignore::DeprecationWarning:pyspark", "ignore::FutureWarning:pyspark"
    ),
]


@pytest.fixture(scope="module")
def faces(photos) -> dict[str, bytes]:
    """Small photos of one person each."""
    files = {"obama": "obama.jpg", "biden": "biden.jpg", "collins": "astronaut.png"}
    return {name: enrolling.jpeg(enrolling.portrait(photos[file])) for name, file in files.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory, models_dir, faces) -> Path:
    """An installation with two people, and an album of photos: of these, of somebody else, and of nobody."""
    root = tmp_path_factory.mktemp("spark")
    for name in ("obama", "biden"):
        (root / "known" / name).mkdir(parents=True)
        (root / "known" / name / "photo.jpg").write_bytes(faces[name])
    album = root / "album"
    album.mkdir()
    for name, data in faces.items():
        (album / f"{name}.jpg").write_bytes(data)
        (album / f"{name} again.jpg").write_bytes(data + b"\0")  # another file with the same picture
    (album / "negative.jpg").write_bytes(negative(faces["obama"]))
    (album / "broken.jpg").write_bytes(faces["obama"][:5000])
    return root


@pytest.fixture(scope="module")
def environ(home, models_dir) -> dict[str, str]:
    return {
        "RECOGNIZER_KNOWN_FACES": str(home / "known"),
        "RECOGNIZER_STATE_DIR": str(home / "state"),
        "RECOGNIZER_MODELS_DIR": str(models_dir),
    }


@pytest.fixture(scope="module")
def session(environ) -> Iterator:
    made = spark.open_session("local[2]", {"spark.sql.shuffle.partitions": "2", "spark.driver.memory": "512m"})
    yield made
    made.stop()


@pytest.fixture(scope="module")
def settings(home, models_dir) -> dict:
    return {"known_faces": str(home / "known"), "state_dir": str(home / "state"), "models_dir": str(models_dir)}


@pytest.fixture(scope="module")
def encoded(session, home, settings):
    """The album's faces, computed once; a path that leads nowhere and a null are in it."""
    paths = [str(each) for each in sorted((home / "album").iterdir())]
    frame = session.createDataFrame([(each,) for each in [*paths, "/nowhere.jpg", None]], "path string").repartition(2)
    return spark.encode(frame, **settings).cache()


def by_name(rows) -> dict:
    return {Path(row["source"] or "null").name: row for row in rows}


def test_photos_become_rows(encoded, session, home, settings):
    rows = by_name(encoded.collect())
    assert len(rows) == 10 and encoded.columns == list(spark.FACE_COLUMNS)
    errors = {name: row["error"] for name, row in rows.items() if row["error"]}
    assert errors == {"broken.jpg": "broken_image", "nowhere.jpg": "unreadable", "null": "broken_image"}
    assert len(rows["obama.jpg"]["template"]) == 256 and not rows["negative.jpg"]["comparable"]
    # the same from photos that Spark has read
    files = session.read.format("binaryFile").option("pathGlobFilter", "b*.jpg").load(str(home / "album"))
    others = by_name(spark.encode(files.coalesce(1), **settings).collect())
    assert set(others) == {"biden.jpg", "biden again.jpg", "broken.jpg"}
    assert others["biden.jpg"]["template"] == rows["biden.jpg"]["template"]
    with pytest.raises(InvalidParameter, match="expected columns"):
        spark.encode(session.range(1))


def test_names_are_the_servers(encoded, home, settings, models_dir):
    named = by_name(spark.match(encoded.filter("error is null"), top_k=2, **settings).collect())
    with_people = make_service(
        Settings.from_environment({}, watch=False, **{name: Path(each) for name, each in settings.items()})
    )
    try:
        with_people.start()
        for name, row in named.items():
            [face] = with_people.recognition.recognize((home / "album" / name).read_bytes(), top_k=2).faces
            assert (row["subject"], row["ambiguous"]) == (face.match.subject, face.match.ambiguous)
            assert row["distance"] == pytest.approx(face.match.distance, abs=1e-5)
            assert [each["subject"] for each in row["candidates"]] == [each.subject for each in face.match.candidates]
    finally:
        with_people.close()
    assert named["obama again.jpg"]["subject"] == "obama" and named["collins.jpg"]["subject"] is None
    with pytest.raises(InvalidParameter, match="lacks"):
        spark.match(encoded.drop("engine"), **settings)


def test_faces_are_grouped(encoded, settings):
    for method in ("whispers", "components"):
        rows = by_name(spark.group(encoded, method=method, **settings).collect())
        groups = {name: row["group"] for name, row in rows.items()}
        assert groups["obama.jpg"] == groups["obama again.jpg"] is not None
        assert len({groups[name] for name in ("obama.jpg", "biden.jpg", "collins.jpg")}) == 3
        assert groups["negative.jpg"] is None and rows["negative.jpg"]["unfit"]


def test_templates_of_another_engine_fail_the_job(encoded, settings):
    from pyspark.sql import functions

    others = encoded.filter("template is not null").withColumn("engine", functions.lit("yunet+other/1"))
    named = spark.match(others, **settings)
    with pytest.raises(EngineMismatch, match="encode them again"):
        spark_session.run_job(named.sparkSession, named.collect, lambda *_: None)
    with pytest.raises(EngineMismatch):
        spark.group(others, **settings)


def test_a_killed_worker_costs_a_retry(session, home, settings, tmp_path):
    plan = encode_photos.make_plan(spark_session.settings_of(settings))
    place = encode_photos.TablePlace(str(tmp_path))
    photos = [str(each) for each in sorted((home / "album").iterdir())]

    def work(chunk):
        from pyspark import TaskContext

        done = encode_photos.encode_chunk(plan, place, chunk)
        if TaskContext.get().attemptNumber() == 0 and chunk == photos[4:]:
            os.kill(os.getpid(), signal.SIGKILL)  # after the file is written: it must not be there twice
        return done, TaskContext.get().attemptNumber()

    reported = []
    results = spark_session.run_tasks(session, [photos[:4], photos[4:]], work, reported.append)
    assert [attempt for _, attempt in results] == [0, 1] and reported[-1] == 2
    assert sum(done.photos for done, _ in results) == 8 and len(place.tables()) == 2


def test_a_job_that_fails_says_why(session):
    def fails(_):
        raise ValueError("no such thing")

    with pytest.raises(SettingsError, match="the job failed"):
        spark_session.run_tasks(session, [1], fails, lambda _: None)


class _Photos(BaseHTTPRequestHandler):
    def do_GET(self):
        data = self.server.photos.get(self.path)
        self.send_response(200 if data else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


@pytest.fixture
def web(faces):
    with HTTPServer(("127.0.0.1", 0), _Photos) as server:
        server.photos = {f"/{name}.jpg": data for name, data in faces.items()}
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_commands_from_photos_to_names_and_groups(session, home, environ, tmp_path):
    faces, named, grouped = (str(tmp_path / name) for name in ("faces", "named", "grouped"))

    def command(*args, code: int = 0):
        result = run_command(environ, "spark", *args, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    first = command("encode", home / "album", "--to", faces)
    assert {name: first[name] for name in ("before", "photos", "faces", "errors")} == {
        "before": 0,
        "photos": 8,
        "faces": 7,
        "errors": 1,
    }
    again = command("encode", home / "album", "--to", faces)
    assert (again["before"], again["photos"], again["files"]) == (8, 0, 0)
    matched = command("match", faces, "--to", named, "--top-k", "1")
    assert (matched["faces"], matched["named"], matched["templates"]) == (7, 4, 2)
    assert command("match", faces, "--to", named, "--top-k", "1")["before"] == first["files"]
    refused = command("match", faces, "--to", named, "--wrong-names", "0.001", code=1)
    assert "--anew" in refused["error"]["message"]
    careful = command("match", faces, "--to", named, "--wrong-names", "0.001", "--anew")
    assert careful["threshold"] < matched["threshold"] and careful["before"] == 0
    told = command("group", faces, "--to", grouped)
    assert (told["faces"], told["groups"], told["on_several"], told["not_grouped"]) == (7, 3, 3, 1)
    written = {path.name for path in Path(grouped, "pairs").iterdir()}
    assert command("group", faces, "--to", grouped) == told
    assert {path.name for path in Path(grouped, "pairs").iterdir()} == written
    assert session.range(2).count() == 2  # a session that ran before is left alone
    # Spark reads what was written
    assert session.read.parquet(named).filter("subject is not null").count() == careful["named"]


def test_the_command_takes_tables_of_urls_and_of_photos(session, home, environ, tmp_path, web):
    urls = [(f"{web}/obama.jpg",), (f"{web}/missing.jpg",)]
    session.createDataFrame(urls, "url string").write.parquet(str(tmp_path / "urls"))
    arguments = ("spark", "encode", tmp_path / "urls", "--column", "url", "--json", "--to")
    refused = json.loads(run_command(environ, *arguments, tmp_path / "refused").stdout)
    assert (refused["photos"], refused["errors"]) == (2, 2)
    rows = session.read.parquet(str(tmp_path / "refused")).collect()
    assert {row["error"] for row in rows} == {"address_refused"}
    allowing = {**environ, "RECOGNIZER_FETCH_ALLOW": "127.0.0.1"}
    fetched = json.loads(run_command(allowing, *arguments, tmp_path / "fetched").stdout)
    assert (fetched["photos"], fetched["faces"], fetched["errors"]) == (2, 1, 1)
    # what may pass is tried again
    again = json.loads(run_command(allowing, *arguments, tmp_path / "fetched").stdout)
    assert (again["before"], again["photos"], again["errors"]) == (1, 1, 1)

    photos = [(name, (home / "album" / f"{name}.jpg").read_bytes()) for name in ("obama", "broken")]
    session.createDataFrame(photos, "id string, photo binary").write.parquet(str(tmp_path / "photos"))
    arguments = ("spark", "encode", tmp_path / "photos", "--column", "photo", "--to", tmp_path / "faces", "--json")
    assert "--source-column" in run_command(environ, *arguments).stderr
    for before, done in ((0, 2), (2, 0)):
        told = json.loads(run_command(environ, *arguments, "--source-column", "id").stdout)
        assert (told["before"], told["photos"]) == (before, done)
    assert "there is no column" in run_command(environ, *arguments[:3], "--column", "x", *arguments[5:]).stderr
