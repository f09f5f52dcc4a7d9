"""The cache of encodings: what comes back, what damage does, what forgetting leaves, and several at once."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recognizer.core.errors import StorageError
from recognizer.enrolment import cache as encodings
from recognizer.enrolment.cache import EncodingsCache
from recognizer.enrolment.encodings import Encoding, FileStamp, photo_id

from . import template

ROOT = Path(__file__).resolve().parents[1]
STAMP = FileStamp(1234, 1_700_000_000_123_456_789, 42)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state" / "encodings.sqlite"


@pytest.fixture
def cache(path):
    cache = EncodingsCache(path)
    yield cache
    cache.close()


def vector(seed: int, dim: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=dim).astype(np.float32)


def encoding(photo: str = "a" * 32, engine: str = "e/1", face: str = "only", seed: int = 1) -> Encoding:
    return Encoding(photo, engine, face, vector(seed), None, None, (1.5, 2.0, 30.25, 40.0), 0.875, 640, 480)


def same(one: Encoding, other: Encoding) -> bool:
    def plain(each):
        return (
            each.photo,
            each.engine,
            each.face,
            each.problem,
            each.message,
            each.box,
            each.score,
            each.width,
            each.height,
            None if each.vector is None else (each.vector.dtype, each.vector.tobytes()),
        )

    return plain(one) == plain(other)


# --- what goes in comes out ------------------------------------------------------------------------------------------


def test_an_empty_cache_knows_nothing(cache):
    assert (cache.files(), cache.encodings("e/1"), cache.encodings("e/1", []), cache.photos()) == ({}, {}, {}, set())
    assert cache.thumbnail("a") is None
    assert cache.rows_about([]) == cache.rows_about(["a"]) == cache.forget_other_engines("e/1") == 0
    cache.remember_files([])
    cache.forget_files([])
    cache.forget([])
    cache.put([])
    assert cache.photos() == set()


@pytest.mark.parametrize(
    "kept",
    [
        Encoding("p", "e/1"),
        Encoding("p", "e/1", problem="no_face", message="no face was found in this photo"),
        Encoding("p", "e/1", "largest", problem="broken_image", message="Ελληνικά 😀"),
        Encoding("p", "e/1", vector=np.array([0.1, -0.0, np.float32(1e-45), 3e38], np.float32)),
        encoding("p"),
    ],
)
def test_an_encoding_comes_back_to_the_bit_also_after_closing(path, kept):
    first = EncodingsCache(path)
    first.put([kept], {"p": b"\xff\xd8thumb\0nail"})
    first.close()
    second = EncodingsCache(path)
    found = second.encodings("e/1")
    assert list(found) == [("p", kept.face)] and same(found["p", kept.face], kept)
    assert same(second.encodings("e/1", ["nothing", "p"])["p", kept.face], kept)
    assert second.encodings("e/2") == second.encodings("e/1", ["nothing"]) == {}
    assert second.thumbnail("p") == b"\xff\xd8thumb\0nail"
    second.close()


def test_one_photo_is_kept_for_every_engine_and_face_wanted(cache):
    kinds = [("e/1", "only"), ("e/1", "largest"), ("e/2", "only")]
    cache.put([encoding(engine=engine, face=face, seed=i) for i, (engine, face) in enumerate(kinds)])
    cache.put([encoding(seed=9)])  # again: replaced
    assert set(cache.encodings("e/1")) == {("a" * 32, "only"), ("a" * 32, "largest")}
    assert np.array_equal(cache.encodings("e/1")["a" * 32, "only"].vector, vector(9))
    assert cache.rows_about(["a" * 32]) == 3
    assert cache.forget_other_engines("e/2") == 2
    assert cache.encodings("e/1") == {} and len(cache.encodings("e/2")) == 1


@pytest.mark.parametrize("name", ["Ann/a.jpg", "Zoë/ü 😀.png", "Zoe\u0308/a.jpg", "O'Neil; DROP TABLE files/--.jpg"])
def test_files_come_back_with_their_stamps(cache, name):
    big = FileStamp(2**40, 2**62, 2**62)
    cache.remember_files([(name, STAMP, "p"), ("other/b.jpg", big, "q")])
    assert cache.files() == {name: (STAMP, "p"), "other/b.jpg": (big, "q")}
    cache.remember_files([(name, big, "r")])
    assert cache.files()[name] == (big, "r")
    cache.forget_files([name, "never/there.jpg"])
    assert set(cache.files()) == {"other/b.jpg"}


@pytest.mark.parametrize(("inode", "mtime_ns"), [(0, 0), (2**64 - 3, 2**63 + 5), (2**128 - 1, 2**70), (7, -1)])
def test_every_stamp_of_a_file_can_be_kept(cache, inode, mtime_ns):
    """Some file systems number files with all 64 bits or more, and clocks are sometimes centuries off."""

    class Status:
        st_size, st_ino, st_mtime_ns = 5, inode, mtime_ns

    stamp = FileStamp.of(Status)
    cache.remember_files([("a/b.jpg", stamp, "p")])
    assert cache.files()["a/b.jpg"] == (stamp, "p")


def test_photo_ids_are_of_the_content():
    assert photo_id(b"") == "e3b0c44298fc1c149afbf4c8996fb924"
    assert photo_id(b"a") != photo_id(b"b")


def test_a_state_folder_that_is_a_file_is_an_error_for_people(tmp_path):
    (tmp_path / "state").write_text("not a folder")
    with pytest.raises(StorageError) as caught:
        EncodingsCache(tmp_path / "state" / "encodings.sqlite")
    assert str(tmp_path) not in str(caught.value)


def test_a_cache_in_a_folder_of_that_name_is_an_error_for_people(path):
    path.mkdir(parents=True)
    with pytest.raises(StorageError):
        EncodingsCache(path)


# --- damage ----------------------------------------------------------------------------------------------------------


def filled(path: Path, count: int = 200) -> None:
    cache = EncodingsCache(path)
    cache.put([encoding(f"{i:032x}", seed=i) for i in range(count)], {f"{i:032x}": bytes(3000) for i in range(count)})
    cache.remember_files([(f"s/{i}.jpg", STAMP, f"{i:032x}") for i in range(count)])
    cache.close()


def other_version(data: bytes) -> bytes:
    return data[:60] + (encodings.VERSION + 1).to_bytes(4, "big") + data[64:]


DAMAGE = {
    "empty": lambda data: b"",
    "one byte": lambda data: b"\0",
    "not a database": lambda data: b"garbage " * 5000,
    "header only": lambda data: data[:100],
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by a page": lambda data: data[:-8192],
    "first page zeroed": lambda data: bytes(4096) + data[4096:],
    "schema damaged": lambda data: data[:100] + b"\xff" * 3000 + data[3100:],
    "a later version": other_version,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_anew_and_works(path, damage):
    filled(path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    cache = EncodingsCache(path)
    assert cache.encodings("e/1") == {} and cache.files() == {} and cache.photos() == set()
    cache.put([encoding("p")], {"p": b"jpeg"})
    cache.remember_files([("s/p.jpg", STAMP, "p")])
    cache.close()
    again = EncodingsCache(path)
    assert same(again.encodings("e/1")["p", "only"], encoding("p")) and again.thumbnail("p") == b"jpeg"
    again.close()


def use_all_of(path: Path) -> None:
    cache = EncodingsCache(path)
    cache.files()
    found = cache.encodings("e/1")
    assert all(each.vector is None or each.vector.dtype == np.float32 for each in found.values())
    cache.photos()
    for i in range(200):
        cache.thumbnail(f"{i:032x}")
    cache.put([encoding("p")], {"p": b"jpeg"})
    cache.remember_files([("s/p.jpg", STAMP, "p")])
    cache.forget([f"{i:032x}" for i in range(200)])
    assert same(cache.encodings("e/1")["p", "only"], encoding("p"))
    cache.close()


def test_a_cache_that_lost_its_last_bytes_is_read_as_far_as_it_goes_or_made_anew(path):
    filled(path)
    path.write_bytes(path.read_bytes()[:-100])
    use_all_of(path)


@pytest.mark.parametrize("page", [3, 4, 5, 10, 50, 100, -1])
def test_a_page_of_noise_inside_never_stops_the_work(path, page):
    """What is found only when that page is read is mended then: everything here can be made again."""
    filled(path)
    data = bytearray(path.read_bytes())
    start = (page % (len(data) // 4096)) * 4096
    data[start : start + 4096] = np.random.default_rng(page % 256).bytes(4096)
    path.write_bytes(data)
    use_all_of(path)


def test_a_repair_that_the_disk_refuses_is_tried_again_by_the_next_call(path):
    filled(path)
    cache = EncodingsCache(path)
    moved = path.with_name("moved")
    path.rename(moved)  # the cache has the file open
    moved.write_bytes(b"garbage " * 5000)
    path.mkdir()
    for _ in range(2):
        with pytest.raises(StorageError):
            cache.encodings("e/1")
    path.rmdir()
    assert cache.encodings("e/1") == {}
    cache.put([encoding("p")])
    assert same(cache.encodings("e/1")["p", "only"], encoding("p"))
    cache.close()
    with pytest.raises(StorageError):
        cache.photos()


def test_a_file_that_another_process_made_anew_is_opened(path):
    one = EncodingsCache(path)
    one.remember_files([("s/p.jpg", STAMP, "p")])
    before = one.version()
    for suffix in ("", "-wal", "-shm"):  # what a repair does
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    other = EncodingsCache(path)
    other.remember_files([("s/q.jpg", STAMP, "q")])
    assert one.version() != before
    assert set(one.files()) == {"s/q.jpg"}
    one.remember_files([("s/r.jpg", STAMP, "r")])
    assert set(other.files()) == {"s/q.jpg", "s/r.jpg"}
    one.close()
    other.close()


def test_the_version_tells_what_other_connections_changed(path):
    one, other = EncodingsCache(path), EncodingsCache(path)
    before = one.version()
    one.put([encoding("p")])
    assert one.version() == before
    other.put([encoding("q")])
    assert one.version() != before
    one.close()
    other.close()


def test_files_are_found_by_path_and_by_photo_and_move(cache):
    many = {f"s/{i}.jpg": f"{i:032x}" for i in range(100)}
    cache.remember_files([(path, STAMP, photo) for path, photo in many.items()])
    for some in (["s/3.jpg", "s/none.jpg"], [*many, "s/none.jpg"]):
        assert cache.files_at(some) == {path: (STAMP, many[path]) for path in some if path in many}
    for photos in ({many["s/3.jpg"], "f" * 32}, set(many.values())):
        assert sorted(cache.files_of(photos)) == sorted((path, STAMP, photo) for path, photo in many.items() if photo in photos)
    cache.move_files([("s/3.jpg", "t/3.jpg", STAMP, many["s/3.jpg"])])
    assert cache.files_of([many["s/3.jpg"]]) == [("t/3.jpg", STAMP, many["s/3.jpg"])]


@pytest.mark.slow
def test_a_cache_that_another_process_has_locked_is_waited_for_not_thrown_away(path):
    filled(path, 5)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("SELECT count(*) FROM files").fetchone()

    def let_go():
        other.execute("COMMIT")
        other.close()

    timer = threading.Timer(0.7, let_go)
    timer.start()
    cache = EncodingsCache(path)
    timer.join()
    assert len(cache.encodings("e/1")) == 5
    cache.close()


# --- forgetting ------------------------------------------------------------------------------------------------------


def bytes_on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def remnants(path: Path, secrets: list[bytes]) -> np.ndarray:
    """All pieces of 8 bytes of the secrets that are anywhere in the files."""
    data = bytes_on_disk(path) + bytes(16)
    there = np.concatenate([np.frombuffer(data[at : at + len(data) // 8 * 8 - 8], "<u8") for at in range(8)])
    return np.intersect1d(there, np.frombuffer(b"".join(secrets), "<u8"))


@pytest.mark.slow
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with another process's connection"])
def test_forgetting_leaves_no_byte_of_face_or_thumbnail(path, beside):
    cache = EncodingsCache(path)
    other = EncodingsCache(path) if beside else None
    photos = [f"{i:032x}" for i in range(300)]
    jpegs = {photo: np.random.default_rng(i).bytes(4000) for i, photo in enumerate(photos)}
    for part in range(0, 300, 20):
        names = photos[part : part + 20]
        cache.put([encoding(p, seed=1000 + int(p, 16)) for p in names], {p: jpegs[p] for p in names})
        cache.remember_files([(f"s/{p}.jpg", STAMP, p) for p in names])
    if other:
        assert len(other.encodings("e/1")) == 300
    order = np.random.default_rng(8).permutation(300)
    for i in order[:200]:
        cache.forget([photos[i]])
    for names in np.array_split(order[200:290], 6):
        cache.forget([photos[i] for i in names])
    secrets = [vector(1000 + int(i)).tobytes() + jpegs[photos[i]] for i in order[:290]]
    assert len(remnants(path, [vector(1000 + int(i)).tobytes() for i in order[290:]])) > 1000
    assert len(remnants(path, secrets)) == 0
    data = bytes_on_disk(path)
    assert not any(photos[i].encode() in data for i in order[:290])
    for i in order[290:]:  # the others are whole
        assert cache.rows_about([photos[i]]) == 3 and cache.thumbnail(photos[i]) == jpegs[photos[i]]
        assert np.array_equal(cache.encodings("e/1", [photos[i]])[photos[i], "only"].vector, vector(1000 + int(i)))
    if other:
        assert len(other.encodings("e/1")) == 10
        other.close()
    cache.close()


def test_a_replaced_vector_is_gone_too(path):
    cache = EncodingsCache(path)
    for seed in range(50):
        cache.put([encoding("p", seed=seed)], {"p": np.random.default_rng(seed).bytes(9000)})
    cache.forget(["nobody"])
    data = bytes_on_disk(path)
    assert vector(49).tobytes()[:64] in data
    assert not any(vector(seed).tobytes()[:64] in data for seed in range(49))
    cache.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=30))
def test_rows_about_counts_what_is_there(changes):
    cache, there = EncodingsCache(":memory:"), set()
    for number, keep in changes:
        photo = str(number)
        if keep:
            cache.put([encoding(photo)], {photo: b"x"})
            there.add(photo)
        else:
            cache.forget([photo])
            there.discard(photo)
        assert cache.photos() == there
    assert cache.rows_about([str(n) for n in range(7)]) == 2 * len(there)
    cache.close()


# --- several at once -------------------------------------------------------------------------------------------------

WRITER = """
import sys
import numpy as np
from recognizer.enrolment.cache import Encoding, EncodingsCache, FileStamp

who, path = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
cache = EncodingsCache(path)
for i in range(25):
    photo = f"{who}-{i}"
    cache.put([Encoding(photo, "e/1", vector=np.full(8, i, np.float32))], {photo: b"x" * 2000})
    cache.remember_files([(f"{who}/{i}.jpg", FileStamp(i, i, i), photo)])
    if i % 5 == 4:
        cache.forget([f"{who}-{i - 1}"])
cache.close()
"""


@pytest.mark.slow
def test_processes_that_start_at_once_on_a_new_cache_lose_nothing(path):
    for turn in range(3):
        file = path.with_name(f"{turn}.sqlite")
        writers = [
            template.start(
                [sys.executable, "-c", WRITER, str(who), str(file)],
                cwd=ROOT,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for who in range(4)
        ]
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            _, errors = writer.communicate(timeout=120)
            assert (writer.returncode, errors) == (0, "")
        cache = EncodingsCache(file)
        expected = {f"{who}-{i}" for who in range(4) for i in range(25) if i % 5 != 3}
        assert cache.photos() == expected
        assert {photo for photo, _ in cache.encodings("e/1")} == expected
        cache.close()


@pytest.mark.slow
def test_threads_share_one_cache(cache):
    failures = []

    def work(who: int):
        try:
            for i in range(30):
                cache.put([encoding(f"{who}-{i}", seed=i)])
                assert np.array_equal(cache.encodings("e/1", [f"{who}-{i}"])[f"{who}-{i}", "only"].vector, vector(i))
                if i % 2:
                    cache.forget([f"{who}-{i}"])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache.photos() == {f"{who}-{i}" for who in range(4) for i in range(0, 30, 2)}


def test_vectors_are_kept_as_plain_numbers(path):
    filled(path, 3)
    database = sqlite3.connect(path)
    blobs = [row[0] for row in database.execute("SELECT vector FROM encodings")]
    database.close()
    assert len(blobs) == 3
    assert blobs == [vector(i).astype("<f4").tobytes() for i in range(3)]
