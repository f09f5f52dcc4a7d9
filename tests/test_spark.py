"""Bulk work as a worker of Spark does it, without Spark; tests/e2e/test_spark.py has it with Spark."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.core.errors import EngineMismatch, InvalidParameter, SettingsError
from recognizer.core.settings import Settings
from recognizer.core.types import Embedding, Template
from recognizer.galleries import clustering
from recognizer.galleries.memory import MemoryGallery
from recognizer.service import make_service
from recognizer.spark import encode_photos, group_faces, mapped_gallery, match_faces, photo_lists, spark_session
from recognizer.spark.face_columns import FACE_COLUMNS, MATCH_COLUMNS, spark_schema, to_batch
from recognizer.spark.places import TablePlace

pytest.importorskip("pyarrow", reason="needs pyarrow (requirements-export.txt)")


@pytest.fixture(scope="module")
def people(tmp_path_factory, models_dir, faces):
    """A service with two of the three people enrolled."""
    root = tmp_path_factory.mktemp("people")
    for name in ("obama", "biden"):
        (root / "known" / name).mkdir(parents=True)
        (root / "known" / name / "photo.jpg").write_bytes(faces[name])
    settings = Settings.from_environment(
        {}, known_faces=root / "known", state_dir=root / "state", models_dir=models_dir, watch=False
    )
    with_people = make_service(settings)
    with_people.start()
    yield with_people
    with_people.close()


@pytest.fixture(scope="module")
def plan(people) -> encode_photos.EncodingPlan:
    return encode_photos.make_plan(people.settings)


@pytest.fixture(scope="module")
def worker(plan) -> encode_photos.PhotoWorker:
    return encode_photos.worker_of(plan)


@pytest.fixture(scope="module")
def album(tmp_path_factory, faces, photos) -> Path:
    """A folder of photos, of which some are none."""
    folder = tmp_path_factory.mktemp("album")
    for name, data in faces.items():
        (folder / f"{name}.jpg").write_bytes(data)
    (folder / "below").mkdir()
    (folder / "below" / "negative.jpg").write_bytes(negative(faces["obama"]))
    (folder / "below" / "grey.png").write_bytes(grey())
    (folder / "broken.jpg").write_bytes(faces["obama"][:5000])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_bytes(b"not listed")
    (folder / ".hidden.jpg").write_bytes(faces["obama"])
    return folder


def negative(photo: bytes) -> bytes:
    """A photo's negative, whose face cannot be compared."""
    return encoded(Image.fromarray(255 - np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))), "JPEG")


def grey() -> bytes:
    return encoded(Image.new("RGB", (200, 150), (128, 128, 128)), "PNG")


def encoded(image: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def encode_all(plan, album: Path, dest: Path) -> TablePlace:
    """The album in two files, as two tasks write them."""
    photos, place = photo_lists.list_photos(str(album)), TablePlace(str(dest))
    for chunk in (photos[:4], photos[4:]):
        encode_photos.encode_chunk(plan, place, chunk)
    return place


def rows_at(place: TablePlace) -> list[dict]:
    return [row for name in place.tables() for row in place.read(name).to_pylist()]


@pytest.fixture(scope="module")
def encoded_album(plan, album, tmp_path_factory) -> TablePlace:
    return encode_all(plan, album, tmp_path_factory.mktemp("encoded"))


# -- photos -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_listed_with_its_photos_only(album):
    names = [Path(each).relative_to(album).as_posix() for each in photo_lists.list_photos(str(album))]
    # a file that is no picture by its content is not listed, whatever its name
    assert names == ["biden.jpg", "broken.jpg", "collins.jpg", "obama.jpg", "below/grey.png", "below/negative.jpg"]


def test_names_of_cameras_that_begin_with_an_underscore_are_listed(tmp_path, faces):
    """Spark's own reader leaves them out: findings/spark-skips-camera-names.sh."""
    for name in ("_DSC0001.JPG", "_MG_0002.JPG"):
        (tmp_path / name).write_bytes(faces["obama"])
    for source in (str(tmp_path), f"file://{tmp_path}"):
        assert [Path(each).name for each in photo_lists.list_photos(source)] == ["_DSC0001.JPG", "_MG_0002.JPG"]


def test_a_list_of_photos_is_taken_as_it_is(tmp_path):
    (tmp_path / "list.txt").write_text("/a.jpg\n\n https://example.org/b.jpg \n/a.jpg\nc.jpg\n")
    assert photo_lists.list_photos(str(tmp_path / "list.txt")) == [
        "/a.jpg",
        "https://example.org/b.jpg",
        str(Path("c.jpg").absolute()),
    ]


@pytest.mark.parametrize("source", ["nowhere", "https://example.org/photo.jpg", "nonsense://bucket/folder"])
def test_a_place_without_photos_is_refused(source):
    with pytest.raises(InvalidParameter, match="no folder or file|text file|cannot be used"):
        photo_lists.list_photos(source)


def test_a_bad_list_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidParameter, match="UTF-8"):
        photo_lists.list_photos(str(tmp_path / "list.txt"))


def test_the_rows_of_a_photo_are_what_the_server_sees(people, worker, faces):
    [row] = encode_photos.photo_rows(worker, "obama.jpg", faces["obama"])
    seen = people.recognition.recognize(faces["obama"])
    [face] = seen.faces
    assert (row["left"], row["top"], row["right"], row["bottom"]) == tuple(face.face.box)
    assert np.allclose(row["template"], face.embedding, atol=1e-6)
    assert row["comparable"] and row["doubt"] == pytest.approx(face.comparability.doubt, abs=1e-5)
    assert row["engine"] == people.engine.info.id and row["photo"] and row["face"] == 0
    assert (row["width"], row["height"]) == (seen.image.width, seen.image.height)
    assert to_batch([row], FACE_COLUMNS).num_rows == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unsupported_image"),
        (b"no photo", "unsupported_image"),
        (None, "broken_image"),
        (b"\xff\xd8\xff\xe0", "broken_image"),
    ],
)
def test_a_photo_that_cannot_be_used_is_a_row(worker, data, code):
    [row] = encode_photos.photo_rows(worker, "photo", data)
    assert row["error"] == code and row["message"] and row["source"] == "photo" and "face" not in row


def test_what_fails_inside_is_a_row_too(worker, faces, monkeypatch):
    def fails(*_):
        raise ValueError("expected something else")

    monkeypatch.setattr(encode_photos, "judged_faces", fails)
    [row] = encode_photos.photo_rows(worker, "photo", faces["obama"])
    assert row["error"] == "broken_image" and "ValueError" in row["message"]


def test_photos_that_cannot_be_read_are_rows(plan, worker, tmp_path):
    (tmp_path / "folder").mkdir()
    wanted = [str(tmp_path / "missing.jpg"), str(tmp_path / "folder"), "http://127.0.0.1:9/a.jpg", "ftp-nonsense://a/b.jpg"]
    read = list(photo_lists.read_all(wanted, worker.fetcher, plan.max_bytes))
    assert [error.code for _, error in read] == ["unreadable", "unsupported_image", "address_refused", "unreadable"]
    assert [source for source, _ in read] == wanted


def test_photos_far_away_come_in_order(worker, monkeypatch):
    monkeypatch.setattr(photo_lists, "read_photo", lambda source, *_: source.encode())
    wanted = [f"https://example.org/{number}.jpg" for number in range(50)]
    assert list(photo_lists.read_all(wanted, worker.fetcher, 1)) == [(each, each.encode()) for each in wanted]


def test_attributes_are_in_the_rows(people, faces, attribute_weights):
    settings = people.settings.replace(attributes=("age", "gender", "expression"))
    worker = encode_photos.worker_of(encode_photos.make_plan(settings, ("age", "gender")))
    encode_photos.worker_of.cache_clear()
    [row] = encode_photos.photo_rows(worker, "obama.jpg", faces["obama"])
    assert 30 <= row["age_high"] <= 80 and row["gender"] == "male" and row["expression"] is None


def test_a_worker_with_another_engine_is_refused(plan):
    from dataclasses import replace

    try:
        with pytest.raises(EngineMismatch, match="install the same version"):
            encode_photos.worker_of(replace(plan, engine="yunet+other/1"))
    finally:
        encode_photos.worker_of.cache_clear()


@pytest.mark.parametrize(
    ("photos", "cores", "size"), [(0, 2, 1), (3, 2, 1), (100, 2, 13), (5000, 2, 256), (10_000_000, 100, 1221)]
)
def test_tasks_are_small_but_not_too_many(photos, cores, size):
    assert encode_photos.photos_per_task(photos, cores) == size


# -- files ------------------------------------------------------------------------------------------------------------


def test_every_photo_has_its_rows(encoded_album, album):
    rows = {Path(row["source"]).name: row for row in rows_at(encoded_album)}
    assert len(rows) == 6 and list(rows["obama.jpg"]) == list(FACE_COLUMNS)
    assert rows["broken.jpg"]["error"] == "broken_image" and rows["broken.jpg"]["template"] is None
    assert rows["grey.png"]["error"] is None and rows["grey.png"]["face"] is None
    assert rows["negative.jpg"]["comparable"] is False and rows["negative.jpg"]["remarks"]
    assert len(rows["obama.jpg"]["template"]) == 256 and rows["obama.jpg"]["comparable"] is True


def test_what_an_earlier_attempt_wrote_is_not_done_again(plan, album, tmp_path, monkeypatch):
    place, photos = TablePlace(str(tmp_path)), photo_lists.list_photos(str(album))
    first = encode_photos.encode_chunk(plan, place, photos)
    assert first == encode_photos.EncodedFile(first.file, 6, 4, 1)
    monkeypatch.setattr(encode_photos, "photo_rows", None)
    assert encode_photos.encode_chunk(plan, place, photos) == first


def test_what_is_at_the_destination_is_known_and_passing_errors_are_tried_again(plan, worker, album, tmp_path):
    place, photo = TablePlace(str(tmp_path)), str(album / "obama.jpg")
    missing = str(tmp_path / "missing.jpg")
    encode_photos.encode_chunk(plan, place, [photo, missing])
    encode_photos.encode_chunk(plan, place, [missing])
    assert len(rows_at(place)) == 3
    assert encode_photos._known(place, plan.engine) == {photo}
    assert [row["source"] for row in rows_at(place)] == [photo]
    with pytest.raises(EngineMismatch, match="another destination, or --anew"):
        encode_photos._known(place, "yunet+other/1")
    place.write("other.parquet", place.read(place.tables()[0]))
    with pytest.raises(InvalidParameter, match="a place of its own"):
        encode_photos._known(place, plan.engine)


@pytest.mark.slow
def test_a_bucket_is_read_and_written(plan, faces, bucket):
    import fsspec

    files = fsspec.filesystem("s3")
    for name in ("one/obama.jpg", "one/.hidden/biden.jpg", "two/ä b%20+.png", "two/notes.txt"):
        files.pipe_file(f"faces/photos/{name}", faces["obama"])
    photos = photo_lists.list_photos("s3://faces/photos")
    assert photos == ["s3://faces/photos/one/obama.jpg", "s3://faces/photos/two/ä b%20+.png"]
    place = TablePlace("s3://faces/out")
    assert place.tables() == []
    done = encode_photos.encode_chunk(plan, place, [*photos, "s3://faces/photos/missing.jpg", "s3://nowhere/a.jpg"])
    assert (done.photos, done.faces, done.errors) == (4, 2, 2) and place.tables() == [done.file] and place.has(done.file)
    assert encode_photos._known(place, plan.engine) == set(photos)
    place.remove(done.file)
    assert place.tables() == [] and not place.has(done.file)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    with pytest.raises(InvalidParameter, match=r"a\.parquet"):
        TablePlace(str(tmp_path)).read("a.parquet")
    assert TablePlace(str(tmp_path / "nothing")).tables() == []


def test_a_place_is_the_same_for_workers():
    assert TablePlace.at("faces").address == str(Path.cwd() / "faces")
    assert TablePlace.at("s3://bucket/faces").address == "s3://bucket/faces"


# -- matching ---------------------------------------------------------------------------------------------------------


def many(count: int, people: int, dim: int = 256) -> tuple[MemoryGallery, np.ndarray]:
    """A gallery of drawn templates, and probes near some of them."""
    rng = np.random.default_rng(5)
    gallery = MemoryGallery("drawn", dim, sketch_from=10**9)
    vectors = rng.normal(size=(count, dim)).astype(np.float32) * 0.08
    gallery.add([Template(f"p{i % people}", f"{i:032x}", Embedding(each, "drawn")) for i, each in enumerate(vectors)])
    probes = vectors[::7] + rng.normal(size=vectors[::7].shape).astype(np.float32) * 0.02
    return gallery, probes


def test_a_mapped_gallery_finds_what_the_servers_finds(tmp_path):
    gallery, probes = many(5000, 900)
    mapped = mapped_gallery.MappedGallery(mapped_gallery.write_gallery(gallery, tmp_path))
    assert len(mapped) == len(gallery) and mapped.subjects() == gallery.subjects()

    def plainly(found):
        return [[(each.subject, each.distance) for each in candidates] for candidates in found]

    assert plainly(mapped.search(probes, 5)) == plainly(gallery.search(probes, 5))


def test_the_mark_of_a_gallery_follows_its_content(tmp_path):
    gallery, _ = many(20, 3)
    before = mapped_gallery.write_gallery(gallery, tmp_path).mark
    assert mapped_gallery.write_gallery(gallery, tmp_path).mark == before
    gallery.rename("p1", "somebody")
    assert mapped_gallery.write_gallery(gallery, tmp_path).mark != before


def test_nobody_is_enrolled(tmp_path):
    mapped = mapped_gallery.MappedGallery(mapped_gallery.write_gallery(MemoryGallery("drawn", 4), tmp_path))
    assert len(mapped) == 0 and mapped.search(np.zeros((2, 4), np.float32), 3) == [[], []]


def test_faces_get_the_names_that_the_server_gives(people, plan, album, encoded_album, tmp_path):
    dest = TablePlace(str(tmp_path))
    with match_faces.gallery_plan(people, top_k=2) as matching:
        folder = Path(matching.gallery.vectors).parent
        done = [match_faces.match_file(matching, encoded_album, dest, name) for name in encoded_album.tables()]
        assert [match_faces.match_file(matching, encoded_album, dest, name) for name in encoded_album.tables()] == done
        if os.name == "posix":
            assert folder.stat().st_mode & 0o77 == 0
    assert not folder.exists()
    rows = {Path(row["source"]).name: row for row in rows_at(dest)}
    assert set(rows) == {"obama.jpg", "biden.jpg", "collins.jpg", "negative.jpg"}
    assert sum(each.faces for each in done) == 4 and sum(each.named for each in done) == 2
    for name, row in rows.items():
        [face] = people.recognition.recognize(next(album.rglob(name)).read_bytes(), top_k=2).faces
        assert row["subject"] == face.match.subject
        assert row["distance"] == pytest.approx(face.match.distance, abs=1e-5)
        assert row["threshold"] == pytest.approx(face.match.threshold, abs=1e-5)
        assert row["false_match_rate"] == (face.match.false_match_rate and pytest.approx(face.match.false_match_rate, rel=1e-3))
        assert [each["subject"] for each in row["candidates"]] == [each.subject for each in face.match.candidates]
    assert rows["obama.jpg"]["subject"] == "obama" and rows["collins.jpg"]["subject"] is None
    assert rows["negative.jpg"]["subject"] is None and rows["negative.jpg"]["candidates"] == []


def test_fewer_wrong_names_lower_the_limit(people, encoded_album):
    with match_faces.gallery_plan(people, 0) as usual:
        limit = match_faces.matcher_of(usual).threshold_now()
        assert limit == people.matcher.threshold_now()
    rate = match_faces.stranger_rate_for(1, 1_000_000)
    assert rate == 1e-6
    with match_faces.gallery_plan(people, 0, rate) as careful:
        assert match_faces.matcher_of(careful).threshold_now() == people.matcher.threshold_at(1e-6) < limit
    assert match_faces.stranger_rate_for(100, 3) == 0.5 and match_faces.stranger_rate_for(1e-9, 10**9) == 1e-12


def test_a_fixed_threshold_counts_unless_wrong_names_are_given(people):
    fixed = people.settings.replace(threshold=0.5)

    class Fixed:
        settings, gallery, engine, tuning = fixed, people.gallery, people.engine, people.tuning

    with match_faces.gallery_plan(Fixed, 0) as plan:
        assert match_faces.matcher_of(plan).threshold_now() == 0.5
    with match_faces.gallery_plan(Fixed, 0, 1e-3) as plan:
        assert match_faces.matcher_of(plan).threshold_now() == people.matcher.threshold_at(1e-3)


def test_templates_of_another_engine_are_refused(people, encoded_album):
    import pyarrow as pa

    [name, *_] = encoded_album.tables()
    table = encoded_album.read(name)
    columns = {each: table[each] for each in match_faces._NEEDED}
    columns["engine"] = pa.chunked_array([pa.array(["yunet+other/1"] * table.num_rows)])
    with match_faces.gallery_plan(people, 0) as plan, pytest.raises(EngineMismatch, match="encode them again"):
        match_faces.match_rows(plan, columns)


def test_templates_of_another_length_or_type_are_refused():
    import pyarrow as pa

    for array in (pa.array([[1.0, 2.0], [1.0]]), pa.array([["a", "b"]])):
        with pytest.raises(InvalidParameter, match="expected templates of"):
            match_faces.vectors_of(array, 2)
    kept = match_faces.vectors_of(pa.chunked_array([pa.array([[1.0, 2.0], None, [3.0, 4.0]])]), 2)
    assert kept.tolist() == [[1, 2], [3, 4]] and kept.dtype == np.float32


def test_a_table_of_something_else_is_refused(tmp_path):
    import pyarrow as pa

    place = TablePlace(str(tmp_path))
    with pytest.raises(InvalidParameter, match="recognizer spark encode"):
        match_faces.count_faces(place)
    place.write("a.parquet", pa.table({"face": [1]}))
    with pytest.raises(InvalidParameter, match="is no table of faces"):
        match_faces.count_faces(place)


# -- grouping ---------------------------------------------------------------------------------------------------------


def test_neighbours_are_those_of_the_clustering():
    _, vectors = many(4000, 100)
    crowd = vectors[:1] * np.random.default_rng(7).uniform(0.8, 1.2, (90, 1)).astype(np.float32)  # more than may be neighbours
    vectors = np.concatenate([vectors, vectors[:70] * 0.99, crowd])
    everything = clustering.neighbours(vectors, vectors, 1.0)
    for start, stop in ((0, 300), (300, len(vectors))):
        expected = everything[(everything[:, 0] >= start) & (everything[:, 0] < stop)]
        assert group_faces.neighbours_of(vectors, start, stop, 1.0).tolist() == expected.tolist()


def test_neighbours_are_those_of_the_clustering_where_the_limit_is_lowered():
    vectors = np.random.default_rng(3).normal(size=(1500, 4)).astype(np.float32)
    lowered = np.random.default_rng(4).choice([0.0, 0.0, 0.3], len(vectors)).astype(np.float32)
    everything = clustering.neighbours(vectors, vectors, 1.0, lowered=(lowered, lowered))
    assert 0 < len(everything) < len(clustering.neighbours(vectors, vectors, 1.0))
    found = group_faces.neighbours_of(vectors, 0, len(vectors), 1.0, lowered=lowered)
    assert found.tolist() == everything.tolist()


@pytest.mark.parametrize("method", group_faces.METHODS)
def test_faces_near_each_other_are_one_person(method):
    if method == "components":
        pytest.importorskip("scipy", reason="needs scipy (requirements-spark.txt)")
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(20, 128))
    who = np.concatenate([np.arange(20), rng.integers(0, 20, 200)])
    vectors = (centres[who] + rng.normal(size=(len(who), 128)) * 0.01).astype(np.float32)
    pairs = group_faces.neighbours_of(vectors, 0, len(vectors), 1.0)
    assert group_faces.clusters(len(vectors), pairs, method).tolist() == who.tolist()


def test_no_faces_no_groups():
    assert group_faces.clusters(0, np.zeros((0, 2), np.int64), "whispers").tolist() == []
    with pytest.raises(InvalidParameter, match="whispers, components"):
        group_faces.clusters(1, np.zeros((0, 2), np.int64), "magic")


def test_a_face_that_is_not_fit_has_no_group():
    told = group_faces.unfit_of([True, True, False, False], [["turned"], ["blurred"], ["negative", "flat"], []])
    assert told == [None, "blurred", "flat", "unusual"]


# -- the session ------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_one_sentence(monkeypatch):
    monkeypatch.setattr(spark_session.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install -r requirements-spark\.txt"):
        spark_session.require_spark()


@pytest.mark.parametrize("home", [None, "/nowhere"])
def test_missing_java_is_one_sentence(monkeypatch, home):
    monkeypatch.setattr(spark_session.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("JAVA_HOME", home)
    with pytest.raises(SettingsError, match="Java 17"):
        spark_session.require_spark()


@pytest.fixture
def spark_here(monkeypatch, tmp_path):
    """As if pyspark and Java were here."""
    monkeypatch.setattr(spark_session.importlib.util, "find_spec", lambda name: name)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("exit 3", "Python unknown; workers need the driver's"),
        ("echo 2.7", "Python 2.7; workers need the driver's"),
        (f"echo {sys.version_info[0]}.{sys.version_info[1]}; exit 1", "cannot import recognizer"),
        (None, "which does not run"),
    ],
)
@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_another_python_for_the_workers_is_one_sentence(spark_here, monkeypatch, body, sentence):
    python = spark_here / "python3"
    if body is not None:
        python.write_text(f"#!/bin/sh\n{body}\n")
        python.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(python))
    with pytest.raises(SettingsError, match=sentence):
        spark_session.require_spark()


def test_this_python_needs_no_check(spark_here, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setattr(spark_session, "_check_python", None)
    spark_session.require_spark()


def test_the_error_of_a_worker_is_told():
    told = "Traceback\n  File x\nrecognizer.core.errors.EngineMismatch: expected another one\n"
    found = spark_session._raised(told)
    assert isinstance(found, EngineMismatch) and found.message == "expected another one"
    assert (
        spark_session._raised("ValueError: no") is None and spark_session._raised("recognizer.core.errors.Nothing: x") is None
    )


def test_settings_are_checked(tmp_path):
    assert spark_session.settings_of({"state_dir": str(tmp_path)}).state_dir == tmp_path
    with pytest.raises(SettingsError, match="no such setting: colour"):
        spark_session.settings_of({"colour": "red"})


def test_the_documentation_has_every_column():
    page = (Path(__file__).resolve().parents[1] / "docs" / "spark.md").read_text("utf-8")
    columns = {**FACE_COLUMNS, **MATCH_COLUMNS, **group_faces.GROUP_COLUMNS}
    assert [name for name in columns if f"`{name}`" not in page] == []
    assert spark_schema({"a": "int", "b": "string"}) == "`a` int, `b` string"
