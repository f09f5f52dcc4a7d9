"""The archive: folders of photos that are indexed once, brought up to date, and searched by face; decisions and erasure."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import threading
import time
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.archive import decisions, updating
from recognizer.archive.archive_file import ARCHIVE_FILE, ArchiveFile
from recognizer.archive.archive_model import real_path, shown_path, stored_path
from recognizer.archive.face_search import FaceSearch
from recognizer.archive.photo_index import FaceKey
from recognizer.core.errors import InvalidParameter, KeyMissing, NothingToUndo
from recognizer.core.vault import Vault, new_key
from recognizer.photos.capture_time import capture_time
from recognizer.service.archive_service import moment, shown_time

from .e2e import pictures
from .test_cli import Home


@pytest.fixture(scope="module")
def small(photos) -> dict[str, bytes]:
    names = {"obama": "obama.jpg", "obama2": "obama2.jpg", "obama3": "obama3.jpg", "biden": "biden.jpg"}
    names["collins"] = "astronaut.png"
    return {short: pictures.smaller(photos[name].read_bytes(), 400) for short, name in names.items()}


def dated(jpeg: bytes, text: str) -> bytes:
    """A JPEG with an EXIF that says when it was taken."""
    value = text.encode() + b"\0"
    exposure = 8 + 2 + 12 + 4
    tiff = b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIII", 1, 34665, 4, 1, exposure, 0)
    tiff += struct.pack("<HHHIII", 1, 36867, 2, len(value), exposure + 18, 0) + value
    block = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def filled(home: Home, small: dict[str, bytes]) -> Path:
    album = home.known.parent / "album"
    (album / "trips").mkdir(parents=True)
    (album / "obama.jpg").write_bytes(dated(small["obama"], "2020:05:06 07:08:09"))
    (album / "trips" / "obama2.jpg").write_bytes(dated(small["obama2"], "2021:01:01 00:00:00"))
    (album / "trips" / "copy.jpg").write_bytes(dated(small["obama"], "2020:05:06 07:08:09"))
    (album / "biden.jpg").write_bytes(small["biden"])
    (album / "both.jpg").write_bytes(pictures.side_by_side([small["obama3"], small["biden"]]))
    (album / "nobody.jpg").write_bytes(pictures.nobody())
    (album / "broken.jpg").write_bytes(small["biden"][:300])
    (album / "notes.txt").write_bytes(b"no photo")
    (album / ".hidden.jpg").write_bytes(small["collins"])
    return album


@pytest.fixture
def home(tmp_path, models_dir, small) -> Home:
    made = Home(tmp_path, models_dir)
    made.album = filled(made, small)
    (made.known / "Barack Obama").mkdir(parents=True)
    (made.known / "Barack Obama" / "one.jpg").write_bytes(small["obama3"])
    made.state = tmp_path / "state"
    return made


def names(found: dict) -> list[str]:
    return [Path(each["files"][0]).name for each in found["faces"]]


@pytest.mark.parametrize("address", ["s3://bucket/photos", "https://example.com/photos"])
def test_an_address_is_refused_with_what_to_do_instead(home, address):
    done = home.run("archive", "add", address)
    assert done.exit_code != 0 and "mount the bucket or share" in done.stderr
    assert home.json("archive", "list")["folders"] == []


@pytest.mark.slow
def test_a_folder_is_indexed_once_and_searched_by_photo_person_and_group(home, tmp_path):
    made = home.json("archive", "add", home.album)["update"]
    assert (made["found"], made["processed"], made["faces"], made["problems"], made["other_files"]) == (7, 6, 5, 1, 1)
    assert made["complete"] and made["folders"] == {str(home.album.resolve()): "present"}
    again = home.json("archive", "update")["update"]
    assert (again["found"], again["read"], again["processed"], again["removed"]) == (7, 0, 0, 0)
    listed = home.json("archive", "list")
    assert listed["status"]["photos"] == 6 and listed["status"]["files"] == 7 and listed["status"]["people"] == 2
    assert [(Path(each["photo"]).name, each["code"]) for each in listed["problems"]] == [("broken.jpg", "broken_image")]

    found = home.json("archive", "search", "--person", "Barack Obama")
    assert sorted(names(found)) == ["both.jpg", "obama.jpg", "obama2.jpg"] and found["total"] == 3
    assert found["faces"][0]["distance"] <= found["faces"][-1]["distance"] and found["cursor"] is None
    nearest = found["faces"][0]
    assert Path(nearest["files"][0]).name == "both.jpg" and nearest["box"]["left"] < nearest["box"]["right"] < nearest["width"]
    copied = next(each for each in found["faces"] if Path(each["files"][0]).name == "obama.jpg")
    assert [Path(each).name for each in copied["files"]] == ["obama.jpg", "copy.jpg"]
    assert copied["taken"] == "2020-05-06T07:08:09" and copied["clock"] == "camera"

    of = ("archive", "search", "--person", "Barack Obama")
    assert names(home.json(*of, "--from", "2021", "--to", "2021-01-01")) == ["obama2.jpg"]
    assert sorted(names(home.json(*of, "--to", "2020-05"))) == ["obama.jpg"]
    assert sorted(names(home.json(*of, "--folder", home.album / "trips"))) == ["obama.jpg", "obama2.jpg"]
    assert len(home.json(*of, "--limit", "1")["faces"]) == 1
    assert home.json(*of, "--folder", tmp_path, code=1)["error"]["code"] == "folder_not_found"
    assert home.json(*of, "--from", "soon", code=1)["error"]["code"] == "invalid_parameter"
    assert home.json("archive", "search", "--person", "Nobody", code=1)["error"]["code"] == "subject_not_found"
    assert home.run("archive", "search").exit_code == 2

    by_photo = home.json("archive", "search", "--photo", home.album / "biden.jpg", "--copy-to", tmp_path / "c")
    assert sorted(names(by_photo)) == ["biden.jpg", "both.jpg"] and by_photo["faces"][0]["distance"] < 0.01
    assert (tmp_path / "c" / "biden.jpg").read_bytes() == (home.album / "biden.jpg").read_bytes()
    left = by_photo["faces"][1]["box"]
    box = f"{left['left']},{left['top']},{left['right']},{left['bottom']}"
    linked = home.json("archive", "search", "--photo", home.album / "both.jpg", "--box", box, "--symlink", tmp_path / "l")
    assert sorted(names(linked)) == ["biden.jpg", "both.jpg"]
    assert (tmp_path / "l" / "biden.jpg").resolve() == (home.album / "biden.jpg").resolve()
    group = by_photo["faces"][0]["group_id"]
    assert sorted(names(home.json("archive", "search", "--group-id", group))) == ["biden.jpg", "both.jpg"]
    assert home.json("archive", "search", "--group-id", 999, code=1)["error"]["code"] == "archive_group_not_found"
    assert home.json("archive", "search", "--photo", home.album / "nobody.jpg", code=1)["error"]["code"] == "no_face"


@pytest.mark.slow
def test_only_what_changed_is_read_and_a_missing_folder_is_no_deleted_one(home, small):
    home.json("archive", "add", home.album)
    (home.album / "trips" / "obama2.jpg").rename(home.album / "moved.jpg")
    (home.album / "biden.jpg").unlink()
    (home.album / "collins.jpg").write_bytes(small["collins"])
    made = home.json("archive", "update")["update"]
    assert (made["read"], made["processed"], made["removed"], made["forgotten"]) == (2, 1, 2, 1)  # what moved is known
    assert names(home.json("archive", "search", "--person", "Barack Obama"))[-1] != "obama2.jpg"

    away = home.album.rename(home.album.with_name("away"))
    made = home.json("archive", "update")["update"]
    assert list(made["folders"].values()) == ["missing"] and made["removed"] == 0
    assert home.json("archive", "list")["status"]["faces"] == 5
    home.album.mkdir()  # a mount point without its disk
    assert list(home.json("archive", "update")["update"]["folders"].values()) == ["empty"]
    assert home.json("archive", "list")["status"]["faces"] == 5
    home.album.rmdir()
    away.rename(home.album)
    assert home.json("archive", "update")["update"]["read"] == 0

    assert home.json("archive", "add", home.album / "trips", code=1)["error"]["code"] == "folder_in_archive"
    assert home.json("archive", "add", home.album / "none", code=1)["error"]["code"] == "invalid_parameter"
    home.json("archive", "remove", home.album)
    status = home.json("archive", "list")["status"]
    assert (status["folders"], status["photos"], status["faces"], status["people"]) == (0, 0, 0, 0)
    assert home.json("archive", "remove", "7", code=1)["error"]["code"] == "folder_not_found"
    assert (home.album / "obama.jpg").exists()


@pytest.mark.slow
def test_an_update_that_was_killed_continues(home, small):
    empty = pictures.save(Image.new("RGB", (320, 240), "grey"), "PNG")
    for number in range(140):
        (home.album / f"empty{number}.png").write_bytes(empty + bytes([number]))
    home.json("archive", "add", home.album, "--later")
    process = home.start("archive", "update")
    index = home.state / ARCHIVE_FILE
    done = 0
    until = time.monotonic() + 120
    while not done and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
        with sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=5) as connection:
            done = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stderr.close()
    made = home.json("archive", "update")["update"]
    assert done and made["processed"] == 146 - done and made["complete"]
    assert sorted(names(home.json("archive", "search", "--person", "Barack Obama"))) == ["both.jpg", "obama.jpg", "obama2.jpg"]


@pytest.mark.slow
def test_erasing_somebody_leaves_nothing_of_them_in_the_index(home):
    home.json("archive", "add", home.album)
    exported = home.state.parent / "export.zip"
    home.json("people", "export", "Barack Obama", "--to", exported)
    import zipfile

    with zipfile.ZipFile(exported) as archive:
        assert "archive.json" in archive.namelist()
    held = ArchiveFile(home.state / ARCHIVE_FILE)
    engine = held._rows("SELECT engine FROM photos")[0][0]
    theirs = {each.key: each.vector for id_ in held.named("Barack Obama") for each in held.faces_of(id_)}
    others = {each.key for each in held.all_faces(engine)} - set(theirs)
    pictures_of = {key: b"\xff\xd8\xff" + os.urandom(5000) for key in (*theirs, *others)}
    for key, jpeg in pictures_of.items():
        held.put_thumbnail(key, jpeg)
    decisions.name_person(held, held.named("Barack Obama")[0], "Barack Obama")  # which could be undone
    held.close()
    assert len(theirs) == 3
    home.json("people", "delete", "Barack Obama", "--yes")
    held = ArchiveFile(home.state / ARCHIVE_FILE)
    assert {each.key for each in held.all_faces(engine)} == others and not held.mentions("Barack Obama")
    held.close()
    data = b"".join(file.read_bytes() for file in home.state.rglob("*") if file.is_file())
    assert b"Barack Obama" not in data and not any(vector.tobytes() in data for vector in theirs.values())
    there = {key for key, jpeg in pictures_of.items() if jpeg[3:40] in data or jpeg[-40:] in data}
    assert there == others  # no thumbnail of theirs is left, not even in what the file does not use any more
    assert home.json("archive", "update")["update"]["processed"] == 0  # the photos are known, and are not read again
    assert home.json("archive", "list")["status"]["faces"] == len(others)


@pytest.mark.slow
def test_nothing_about_people_is_readable_without_the_key(home, tmp_path):
    key = tmp_path / "key"
    home.json("archive", "add", home.album)
    home.json("encryption", "init", "--key-file", key)
    data = b"".join(file.read_bytes() for file in home.state.glob("photos.sqlite*"))
    assert b"Barack" not in data and b"obama" not in data and b"album" not in data
    home.environ["RECOGNIZER_ENCRYPTION_KEY_FILE"] = str(key)
    assert len(home.json("archive", "search", "--person", "Barack Obama")["faces"]) == 3
    with pytest.raises(KeyMissing):
        ArchiveFile(home.state / ARCHIVE_FILE)
    home.json("encryption", "decrypt", "--yes")
    del home.environ["RECOGNIZER_ENCRYPTION_KEY_FILE"]
    assert len(home.json("archive", "search", "--person", "Barack Obama")["faces"]) == 3


# -- without photos ---------------------------------------------------------------------------------------------------


def face(photo: str, number: int, vector: list[float], person: int | None = None):
    from recognizer.archive.archive_model import ArchiveFace
    from recognizer.core.types import Box

    box = Box(10 * number, 0, 10 * number + 8, 8)
    return ArchiveFace(FaceKey(photo, number), box, 0.9, 0.5 + number / 100, None, np.array(vector, np.float32), person)


@pytest.fixture(params=["plain", "encrypted"])
def index(request):
    """Two groups of two faces each, and one face without a group, on three photos."""
    from recognizer.archive.archive_model import ArchivePerson, ArchivePhoto, KnownFile
    from recognizer.enrolment.encodings import FileStamp

    made = ArchiveFile(":memory:", Vault([new_key()]) if request.param == "encrypted" else None)
    folder = made.add_folder("/photos")
    with made.change():
        made.put_people([ArchivePerson(1), ArchivePerson(2)])
        made.put_photos(
            [
                (ArchivePhoto("a", "e", 100, 80, 10.0, "camera", 2), [face("a", 0, [0, 0], 1), face("a", 1, [1, 0], 2)]),
                (ArchivePhoto("b", "e", 100, 80, 20.0, "camera", 2), [face("b", 0, [0, 0.1], 1), face("b", 1, [1, 0.1], 2)]),
                (ArchivePhoto("c", "e", 100, 80, None, None, 1), [face("c", 0, [0.5, 0.5])]),
            ]
        )
        made.put_files(folder.id, [KnownFile(f"{name}.jpg", FileStamp(1, 2, 3), name) for name in "abc"])
    yield made
    made.close()


def found_keys(page) -> list[str]:
    return [str(each.key) for each in page.faces]


def test_pages_of_a_search_have_everything_once_and_in_order(index):
    search = FaceSearch(index, "e")
    probe = np.zeros((1, 2), np.float32)
    whole = search.find(probe, 2.0)
    assert found_keys(whole) == ["a/0", "b/0", "c/0", "a/1", "b/1"] and whole.total == 5 and whole.cursor is None
    pages, cursor = [], None
    while True:
        page = search.find(probe, 2.0, limit=2, cursor=cursor)
        pages += found_keys(page)
        if (cursor := page.cursor) is None:
            break
    assert pages == found_keys(whole)
    assert found_keys(search.find(probe, 0.05, people=[2])) == ["a/0", "a/1", "b/1"]
    assert found_keys(search.find(probe, 2.0, since=15)) == ["b/0", "b/1"]
    assert found_keys(search.find(probe, 2.0, photos=["c"])) == ["c/0"]
    assert found_keys(search.find(np.array([[0, 0], [1, 0]], np.float32), 0.2)) == ["a/0", "a/1", "b/0", "b/1"]
    for bad in ("!", "YQ", "bm90IG9uZQ"):
        with pytest.raises(InvalidParameter, match="cursor"):
            search.find(probe, 2.0, cursor=bad)
    index.forget_faces([FaceKey("a", 0)])
    assert found_keys(search.find(probe, 0.2)) == ["b/0"]  # what another process erased is not found any more


def test_each_decision_can_be_undone(index):
    def state():
        return index.people(), {id_: index.keys_of(id_) for id_ in index.people()}

    before = state()
    for decide in (
        lambda: decisions.name_person(index, 1, "Ada"),
        lambda: decisions.hide(index, 2, True),
        lambda: decisions.join(index, 1, 2),
        lambda: decisions.move(index, [FaceKey("a", 1)], None),
        lambda: decisions.move(index, [FaceKey("a", 1), FaceKey("c", 0)], 1),
        lambda: decisions.mark_no_face(index, FaceKey("a", 0)),
        lambda: decisions.refuse(index, 1, "Bob"),
    ):
        decide()
        assert state() != before
        decisions.undo(index)
        assert state() == before
    with pytest.raises(NothingToUndo):
        decisions.undo(index)
    decisions.name_person(index, 1, "Ada")
    index.rename("Ada", "Eve")
    with pytest.raises(NothingToUndo):
        decisions.undo(index)
    assert index.people()[1].subject == "Eve" and index.named("Eve") == [1]


def test_what_people_decided_survives_new_photos(index):
    decisions.name_person(index, 1, "Ada")
    decisions.name_person(index, 2, "Bob")
    from recognizer.archive.archive_model import ArchivePhoto, KnownFile
    from recognizer.enrolment.encodings import FileStamp

    with index.change():  # faces between the two, so near that everything would be one group
        between = [face("d", number, [number / 10, 0.05]) for number in range(10)]
        index.put_photos([(ArchivePhoto("d", "e", 100, 80, 30.0, "camera", 10), between)])
        index.put_files(1, [KnownFile("d.jpg", FileStamp(1, 2, 3), "d")])
    assert updating.group_new_faces(index, "e", lambda faces: 0.3) == 11
    people = index.people()
    home = {str(key): id_ for id_ in people for key in index.keys_of(id_)}
    assert people[home["a/0"]].subject == "Ada" and home["a/0"] == home["b/0"]
    assert people[home["a/1"]].subject == "Bob" and home["a/1"] == home["b/1"]
    assert home["d/0"] == home["a/0"] and home["d/9"] == home["a/1"]
    assert updating.group_new_faces(index, "e", lambda faces: 0.3) == 0


def test_paths_of_any_bytes_can_be_stored():
    for path in ("a/b.jpg", "Zoë.jpg", os.fsdecode(b"caf\xe9/x.jpg")):
        assert real_path(stored_path(path)) == path
        stored_path(path).encode()
    assert shown_path(os.fsdecode(b"caf\xe9")) == "caf\\xe9"


def test_when_a_photo_was_taken(small):
    assert shown_time(capture_time(dated(small["obama"], "2020:05:06 07:08:09"))) == "2020-05-06T07:08:09"
    for text in ("0000:00:00 00:00:00", "2020:13:01 00:00:00", "    :  :     :  :  ", "soon"):
        assert capture_time(dated(small["obama"], text)) is None
    assert capture_time(small["obama"]) is None and capture_time(b"no photo") is None and capture_time(b"II*\0") is None
    assert shown_time(-86400.0) == "1969-12-31T00:00:00"
    assert moment("2020-02", "since") == moment("2020-02-01", "since")
    assert shown_time(moment("2020-02", "until", end=True)).startswith("2020-02-29T23:59:59")
    assert moment("2020-05-06T07:08:09", "since") == capture_time(dated(small["obama"], "2020:05:06 07:08:09"))


def test_progress_has_a_rate_and_the_time_that_is_left():
    now, shown = [0.0], []
    report = updating.ProgressRate(shown.append, lambda: now[0])
    report("photos", 0, 100)
    now[0] = 5.0
    report("photos", 10, 100)
    now[0] = 5.5
    report("photos", 11, 100)  # too soon
    now[0] = 50.0
    report("photos", 100, 100)
    assert [(e["done"], e["per_second"], e["seconds_left"]) for e in shown] == [(0, None, None), (10, 2.0, 45), (100, 2.0, 0)]
    report("again", 0, 2, 0.0)
    now[0] = 60.0
    report("again", 0, 2, 0.25)  # within a video
    assert [(e["share"], e["seconds_left"]) for e in shown] == [(None, None), (None, 45), (None, 0), (0.0, None), (0.25, 70)]


# -- who is not whom ---------------------------------------------------------------------------------------------------


def bridge(index) -> dict[str, int]:
    """Add faces between the two groups, so near that everything would be one group; the group of each face."""
    from recognizer.archive.archive_model import ArchivePhoto, KnownFile
    from recognizer.enrolment.encodings import FileStamp

    with index.change():
        between = [face("d", number, [number / 10, 0.05]) for number in range(11)]
        index.put_photos([(ArchivePhoto("d", "e", 100, 80, 30.0, "camera", 11), between)])
        index.put_files(1, [KnownFile("d.jpg", FileStamp(1, 2, 3), "d")])
    updating.group_new_faces(index, "e", lambda faces: 2.0)
    return {str(key): id_ for id_ in index.people() for key in index.keys_of(id_)}


def test_without_a_decision_faces_between_two_groups_make_them_one(index):
    home = bridge(index)
    assert home["a/0"] == home["a/1"]


def test_two_groups_that_show_two_people_are_never_merged(index):
    with pytest.raises(InvalidParameter):
        decisions.keep_apart(index, 1, 1)
    before = index.people()
    assert decisions.keep_apart(index, 1, 2).apart == {2}
    assert decisions.undo(index) == "apart" and index.people() == before
    decisions.keep_apart(index, 1, 2)
    home = bridge(index)
    assert home["a/0"] == home["b/0"] != home["a/1"] == home["b/1"]
    assert index.people()[home["a/0"]].apart == {home["a/1"]}


def test_a_group_is_not_merged_with_one_of_a_name_that_it_refused(index):
    decisions.name_person(index, 1, "Ada")
    decisions.refuse(index, 2, "Ada")
    home = bridge(index)
    people = index.people()
    assert home["a/0"] == home["b/0"] != home["a/1"] == home["b/1"]
    assert people[home["a/0"]].subject == "Ada" and people[home["a/1"]].refused == {"Ada"}
    assert not people[home["a/1"]].apart and not people[home["a/1"]].fixed  # it follows from the name, as long as that stays
    index.forget_name("Ada")
    assert updating.kept_apart(index.people()) == {id_: frozenset() for id_ in index.people()}


def test_faces_that_were_moved_away_are_never_merged_back(index):
    moved = decisions.move(index, [FaceKey("b", 0)], None)
    home = bridge(index)
    assert moved.apart == {1} and home["b/0"] != home["a/0"]
    assert home["a/0"] in index.people()[home["b/0"]].apart  # whatever ids they have by now


class OnePerson:
    """A gallery with one template of Ada, and one of Eve far away."""

    def __len__(self):
        return 2

    def search(self, probes, k):
        from recognizer.core.types import Candidate

        return [[Candidate("Ada", 0.1), Candidate("Eve", 9.0)] for _ in probes]

    def templates(self, subject):
        from types import SimpleNamespace

        vector = np.array([0.0, 0.0] if subject == "Ada" else [9.0, 9.0], np.float32)
        return [SimpleNamespace(embedding=SimpleNamespace(vector=vector))]


class Certain:
    """A curve by which every distance below 2 is certain."""

    def log_rate(self, distance):
        return -100.0 if distance < 2 else 0.0

    def distance(self, rate):
        return 0.5


def recognised(index) -> dict[int, str | None]:
    from recognizer.archive import group_names

    group_names.recognise_groups(index, "e", OnePerson(), Certain(), 0.01)
    return {id_: each.subject or each.likely for id_, each in index.people().items()}


class Interrupting(OnePerson):
    """A gallery during whose search something else happens."""

    def __init__(self, meanwhile):
        self.meanwhile, self.erased = meanwhile, False

    def search(self, probes, k):
        self.meanwhile(self)
        return super().search(probes, k)

    def templates(self, subject):
        return [] if self.erased and subject == "Ada" else super().templates(subject)


@pytest.mark.parametrize("renamed", [False, True])
def test_whoever_is_erased_or_renamed_while_groups_are_recognised_gets_no_name_back(index, renamed):
    from recognizer.archive import group_names

    begun = []

    def gone():  # before the names are stored, as the lock of every write is taken
        gallery.erased = True
        index.rename("Ada", "Eve") if renamed else index.forget_name("Ada")
        begun.append(True)
        return nullcontext()

    gallery = Interrupting(lambda _: None)
    assert group_names.recognise_groups(index, "e", gallery, Certain(), 0.01, changing=gone) == 0
    assert begun and index.mentions("Ada") == 0


def test_what_somebody_decides_while_groups_are_recognised_stays(index):
    from recognizer.archive import group_names

    def decide(gallery):
        if not index.named("Bob"):
            decisions.name_person(index, 1, "Bob")

    group_names.recognise_groups(index, "e", Interrupting(decide), Certain(), 0.01)
    people = index.people()
    assert (people[1].subject, people[1].decided, people[2].likely or people[2].subject) == ("Bob", True, "Ada")


def test_what_is_decided_while_faces_are_grouped_stays(tmp_path):
    from recognizer.archive.archive_model import ArchivePerson, ArchivePhoto, KnownFile
    from recognizer.enrolment.encodings import FileStamp

    with closing(ArchiveFile(tmp_path / ARCHIVE_FILE)) as ours, closing(ArchiveFile(tmp_path / ARCHIVE_FILE)) as others:
        folder = ours.add_folder("/photos")
        with ours.change():
            ours.put_people([ArchivePerson(1)])
            ours.put_photos(
                [(ArchivePhoto("a", "e", 9, 9, 1.0, "camera", 2), [face("a", 0, [0, 0], 1), face("a", 1, [0, 0.1])])]
            )
            ours.put_files(folder.id, [KnownFile("a.jpg", FileStamp(1, 2, 3), "a")])
        deciding = threading.Thread(target=decisions.name_person, args=(others, 1, "Bob"))
        read = ours.all_faces

        def reading(engine):
            deciding.start()
            deciding.join(0.5)  # it has to wait until the groups are stored
            return read(engine)

        ours.all_faces = reading
        updating.group_new_faces(ours, "e", lambda _: 0.5)
        deciding.join()
        assert ours.people()[1].subject == "Bob" and len(ours.keys_of(1)) == 2


@pytest.mark.slow
def test_a_group_gets_the_name_of_whom_it_enrolled_only_if_both_are_still_there(service, small):
    from recognizer.archive.archive_model import ArchivePerson, ArchivePhoto, KnownFile
    from recognizer.enrolment.encodings import FileStamp

    archive, file = service.archive, service.archive.file
    with file.change():
        file.put_people([ArchivePerson(1)])
        file.put_photos([(ArchivePhoto("a", "e", 9, 9, 1.0, "camera", 1), [face("a", 0, [0, 0], 1)])])
        file.put_files(file.add_folder("/photos").id, [KnownFile("a.jpg", FileStamp(1, 2, 3), "a")])
    archive.name_enrolled(1, "Ada")  # erased by others right after she was enrolled
    assert file.mentions("Ada") == 0
    service.subjects.enrol("Ada", small["obama"])
    archive.name_enrolled(2, "Ada")
    archive.name_enrolled(1, "Ada")
    assert file.named("Ada") == [1]


def test_what_was_moved_out_of_somebody_does_not_get_the_name_again(index):
    assert recognised(index) == {1: "Ada", 2: "Ada"}  # group 2 is a little farther away
    moved = decisions.move(index, [FaceKey("b", 0)], None)
    assert moved.refused == {"Ada"}
    assert recognised(index) == {1: "Ada", 2: "Ada", moved.id: None}


def test_of_two_groups_that_show_two_people_only_one_gets_a_name(index):
    recognised(index)
    decisions.keep_apart(index, 1, 2)
    assert [each.subject for each in index.people().values()].count("Ada") == 1
    assert list(recognised(index).values()).count("Ada") == 1
    decisions.undo(index)
    decisions.name_person(index, 1, "Ada")
    decisions.keep_apart(index, 1, 2)
    assert recognised(index) == {1: "Ada", 2: None}
    decisions.name_person(index, 2, "Ada")  # a person may say so after all, but not both at once
    with pytest.raises(InvalidParameter, match="same name"):
        decisions.keep_apart(index, 1, 2)
