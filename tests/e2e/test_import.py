"""`recognizer import`: people and photos from other services and from files, nothing twice, and what was refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from recognizer.core.errors import ImageTooLarge, InvalidParameter, StorageError, UnreadableImage
from recognizer.moving.from_files import from_csv, from_double_take, from_folders, from_zip
from recognizer.moving.incoming import Incoming, import_photos

from .serving import Server

MOST = 10_000_000


def put(folder: Path, path: str, data: bytes) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def run(home: Server, *words: str, code: int = 0) -> dict:
    done = home.cli("--json", "import", *words)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def old(tmp_path_factory, faces):
    """A server that speaks the old services' languages, with three photos of two people."""
    server = Server(tmp_path_factory.mktemp("old"), embedder="sface")
    server.put("Barack Obama/one.jpg", faces["obama"])
    server.put("Barack Obama/two.jpg", faces["obama2"])
    server.put("Eileen Collins/one.jpg", faces["collins"])
    with server:
        yield server


@pytest.fixture
def home(tmp_path):
    """An installation without a server."""
    return Server(tmp_path / "home", embedder="sface")


# -- services ----------------------------------------------------------------------------------------------------------


def test_from_compreface(old, home, faces):
    assert home.cli("enroll", "Barack Obama", str(put(home.folder, "a.jpg", faces["obama"]))).exit_code == 0
    (key := home.folder / "key").write_text("any\n")
    report = run(home, "compreface", old.url + "/", "--key-file", str(key))
    assert report == {"added": 2, "known": 1, "refused": []}
    assert len(home.files()) == 3 and {file.split("/")[0] for file in home.files()} == {"Barack Obama", "Eileen Collins"}
    assert run(home, "compreface", old.url) == {"added": 0, "known": 3, "refused": []}


def test_from_azure_and_rekognition_with_ones_own_photos(old, home, faces, monkeypatch):
    """They hand out names alone: photos are one's own, and whoever has none is named."""
    photos = home.folder / "photos"
    put(photos, "Barack Obama/a.jpg", faces["obama3"])
    url = f"{old.url}/face/v1.0/persongroups/default"
    report = run(home, "azure", url, "--key", "any", "--photos", str(photos), code=1)
    assert report["added"] == 1 and [each["subject"] for each in report["refused"]] == ["Eileen Collins"]
    assert "--photos" in report["refused"][0]["message"]
    for place, words in ((old.url, "address of a group"), (f"{old.url}/face/v1.0/persongroups/none", "404")):
        done = home.cli("import", "azure", place)
        assert done.exit_code != 0 and words in done.output
    monkeypatch.setenv("AWS_ENDPOINT_URL_REKOGNITION", f"{old.url}/rekognition")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    report = run(home, "rekognition", "default", "--photos", str(photos), code=1)
    assert (report["added"], report["known"]) == (0, 1) and len(report["refused"]) == 1
    done = home.cli("import", "rekognition", "none")
    assert done.exit_code != 0 and "ResourceNotFoundException" in done.output


def test_from_deepstack(old, home, faces):
    photos = home.folder / "photos"
    put(photos, "Eileen Collins/a.jpg", faces["collins"])
    put(photos, "Somebody Else/a.jpg", faces["biden"])
    report = run(home, "deepstack", old.url, "--photos", str(photos), code=1)
    assert report["added"] == 1 and [each["subject"] for each in report["refused"]] == ["Barack Obama"]
    assert "--photos" in report["refused"][0]["message"]


@pytest.mark.parametrize("place", ["localhost:1", "http://127.0.0.1:9"])
def test_a_service_that_is_not_there(home, place):
    assert run(home, "compreface", place, code=1)["error"]["code"] in ("invalid_url", "fetch_failed")


# -- files ---------------------------------------------------------------------------------------------------------------


def test_from_folders_with_a_report_of_what_was_refused(home, faces):
    photos = home.folder / "photos"
    put(photos, "Barack Obama/2009/a.jpg", faces["obama"])
    put(photos, "Barack Obama/none.jpg", faces["nobody"])
    put(photos, "Barack Obama/broken.jpg", faces["obama"][:3000])
    put(photos, "Barack Obama/notes.txt", b"his photos")
    put(photos, "no name./a.jpg", faces["biden"])
    report = run(home, "folders", str(photos), code=1)
    assert (report["added"], report["known"]) == (1, 0)
    assert {each["photo"]: each["code"] for each in report["refused"]} == {
        "Barack Obama/broken.jpg": "broken_image",
        "Barack Obama/none.jpg": "no_face",
        "Barack Obama/notes.txt": "unsupported_image",
        "no name./a.jpg": "invalid_name",
    }
    again = home.cli("import", "folders", str(photos))
    assert again.exit_code == 1 and again.stdout.endswith("0 photos added, 1 enrolled before, 4 refused\n")


def read(incoming: list[Incoming]) -> list[tuple[str, bytes]]:
    return [(each.subject, each.read()) for each in incoming]


def test_photos_in_a_zip_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        archive.writestr("all/Ada/1.jpg", b"one")
        archive.writestr("Bob/2.jpg", b"two")
        archive.writestr("__MACOSX/Bob/._2.jpg", b"no")
        archive.writestr("readme.txt", b"no")
        archive.writestr("Cid/large.jpg", bytes(MOST + 1))
    found = from_zip(tmp_path / "people.zip", MOST)
    assert read(found[:2]) == [("Ada", b"one"), ("Bob", b"two")] and len(found) == 3
    with pytest.raises(ImageTooLarge):
        found[2].read()
    damaged = (tmp_path / "people.zip").read_bytes().replace(b"one", b"eno")
    put(tmp_path, "damaged.zip", damaged)
    with pytest.raises(UnreadableImage):
        from_zip(tmp_path / "damaged.zip", MOST)[0].read()
    for file in (put(tmp_path, "no.zip", b"PK no"), tmp_path / "missing.zip"):
        with pytest.raises(InvalidParameter):
            from_zip(file, MOST)


@pytest.mark.parametrize("text", ["name,photo\nAda,in/a.jpg\n", "Photo;x;Subject\r\nin\\a.jpg;1;Ada\r\n;;\r\n"])
def test_photos_in_a_list(tmp_path, text):
    put(tmp_path, "in/a.jpg", b"photo")
    assert read(from_csv(put(tmp_path, "list.csv", b"\xef\xbb\xbf" + text.encode()), MOST)) == [("Ada", b"photo")]


@pytest.mark.parametrize("data", [b"", b"name\nAda\n", b"\xff\xfe", b"name,photo"])
def test_lists_that_are_none(tmp_path, data):
    file = put(tmp_path, "list.csv", data)
    if data == b"name,photo":
        assert from_csv(file, MOST) == []
        return
    with pytest.raises(InvalidParameter):
        from_csv(file, MOST)


def test_double_takes_folder(tmp_path):
    put(tmp_path, "train/ada/a.jpg", b"a")
    put(tmp_path, "matches/b.jpg", b"b")
    assert read(from_double_take(tmp_path, MOST)) == [("ada", b"a")] == read(from_double_take(tmp_path / "train", MOST))
    with pytest.raises(InvalidParameter):
        from_folders(tmp_path / "nowhere", MOST)


def test_a_full_disk_ends_an_import():
    enrolled: list[str] = []

    def enrol(subject: str, photo: bytes) -> bool:
        if enrolled:
            raise StorageError("the disk is full")
        enrolled.append(subject)
        return True

    incoming = [Incoming(name, name, lambda: b"") for name in ("Ada", "Bob", "Cid")]
    with pytest.raises(StorageError):
        import_photos(incoming, enrol)
    assert enrolled == ["Ada"]
