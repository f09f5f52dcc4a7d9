"""Killed at any moment, a full disk, a folder that must not be written, a cache that is ruined: what was acknowledged stays.

What the kills found is printed (``pytest -s``).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import requests
from PIL import Image

from recognizer.core.audit import AuditLog
from recognizer.core.errors import RecognizerError
from recognizer.core.particulars import FILE as ABOUT_FILE
from recognizer.core.vault import Vault, create_key_file, new_key
from recognizer.enrolment import template_file

from .. import fuzz, template
from .changers import Subject, drive, settle
from .homes import bytes_by_file
from .serving import ANNOUNCED, HUG, Server, code, environment

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="file systems are mounted and users changed as on Linux")
#: Changes that the kills interrupt, kills at least, and the clients that make the changes.
CHANGES, KILLS, CLIENTS = 60 * fuzz.factor(), 2, 6


def photos_of(photo: bytes, count: int, side: int = 220) -> list[bytes]:
    """So many different photos of one face, small ones."""
    with Image.open(io.BytesIO(photo)) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((side, side))
    made = []
    for number in range(count):
        file = io.BytesIO()
        picture.save(file, "jpeg", quality=80, comment=f"photo {number}".encode())
        made.append(file.getvalue())
    return made


def id_of(photo: bytes) -> str:
    return sha256(photo).hexdigest()[:32]


class Truth:
    """What was acknowledged, and what was asked for and not answered: that may have happened or not."""

    def __init__(self):
        self.lock = threading.Lock()
        self.there: set[tuple[str, str]] = set()
        self.open: set[tuple[str, str]] = set()
        self.acknowledged = self.interrupted = 0

    def begin(self, change: set[tuple[str, str]]):
        with self.lock:
            self.open |= change

    def end(self, added=frozenset(), removed=frozenset()):
        with self.lock:
            self.there = (self.there | added) - removed
            self.open -= added | removed
            self.acknowledged += 1

    def failed(self):
        with self.lock:
            self.interrupted += 1


def client(server: Server, name: str, photos: list[bytes], truth: Truth, stop: threading.Event, rng: random.Random):
    """Enrols and deletes the photos of one subject until the server is gone; each change is in `truth` before and after."""
    left = list(photos)
    with requests.Session() as session:
        while not stop.is_set():
            mine = sorted(photo for subject, photo in truth.there if subject == name)
            choice = rng.random()
            try:
                if mine and choice < 0.05:
                    gone = {(name, photo) for photo in mine}
                    truth.begin(gone)
                    reply = session.delete(f"{server.url}/people/{name}", timeout=60)
                    assert reply.status_code == 200 and not any(reply.json()["left"].values()), reply.text
                    truth.end(removed=gone)
                elif mine and choice < 0.35:
                    gone = {(name, rng.choice(mine))}
                    truth.begin(gone)
                    reply = session.delete(f"{server.url}/people/{name}/photos/{next(iter(gone))[1]}", timeout=60)
                    assert reply.status_code == 200, reply.text
                    truth.end(removed=gone)
                elif left:
                    photo = left.pop()
                    new = {(name, id_of(photo))}
                    truth.begin(new)
                    reply = session.post(
                        f"{server.url}/enroll",
                        params={"subject": name, "force": "true"},
                        data=photo,
                        headers={"Content-Type": "image/jpeg"},
                        timeout=60,
                    )
                    if reply.status_code == 503:  # too much at once: nothing happened, and nothing was promised
                        assert reply.headers["Retry-After"]
                        truth.end(removed=new)
                        continue
                    assert reply.status_code == 201, reply.text
                    truth.end(added=new)
                else:
                    return
            except requests.RequestException:
                truth.failed()
                return


def check(server: Server, truth: Truth, is_whole: Callable[[str, bytes], bool]) -> None:
    """After a start: all that was acknowledged is so, and every photo is whole, encoded, and one that was sent."""
    listed = server.get("/people").json()
    assert listed["problems"] == []
    found = set()
    for person in listed["people"]:
        if person["name"] == DROPPED:
            continue
        shown = server.get(f"/people/{person['name']}").json()["photos"]
        assert all("score" in photo for photo in shown)
        found |= {(person["name"], photo["id"]) for photo in shown}
        codes = [{warning["code"] for warning in photo.get("warnings", ())} for photo in shown]
        assert person["templates"] == sum("duplicate_of" not in each for each in codes)  # copies of one picture count once
    assert truth.there - truth.open <= found, "an acknowledged photo is gone"
    assert found <= truth.there | truth.open, "a deleted photo is back"
    for file in server.known_faces.rglob("*"):
        if file.is_file() and not file.name.startswith(".") and file.parent.name != DROPPED:
            assert is_whole(file.name.split(".")[0], file.read_bytes()), "a photo is not whole"
    truth.there, truth.open = found, set()


#: How photos are kept, and how many changes the kills interrupt then.
WAYS = {"as they are": CHANGES, "encrypted": CHANGES // 2, "as templates": CHANGES // 2, "as encrypted templates": CHANGES // 2}
#: Who has photos that are put into the folder.
DROPPED = "Dropped"


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random_moments(tmp_path, faces, way):
    seed = 5 if fuzz.factor() == 1 else random.randrange(2**32)
    print("seed", seed)
    rng, changes, vault = random.Random(seed), WAYS[way], None
    sent = photos_of(faces["obama"], 3 * changes)
    settings = {"keep_photos": "off"} if "templates" in way else {}
    if "encrypted" in way:
        keys = [new_key()]
        create_key_file(tmp_path / "key", keys)
        settings, vault = {**settings, "encryption_key_file": tmp_path / "key"}, Vault(keys)

    def is_whole(photo: str, data: bytes) -> bool:
        data = data if vault is None else vault.open(data, "photo")
        return template_file.read(data).photo == photo if "templates" in way else data == photos[photo]

    names = [f"Client {n}" for n in range(CLIENTS)]
    shares = {name: sent[n::CLIENTS] for n, name in enumerate(names)}
    photos = {id_of(photo): photo for photo in sent}
    truth, kills, dropped = Truth(), 0, set()
    with Server(tmp_path, queue=1000, **settings) as server:
        while truth.acknowledged < changes or kills < KILLS:
            stop = threading.Event()
            goal = truth.acknowledged + rng.randint(10, 40)
            with ThreadPoolExecutor(CLIENTS) as pool:
                running = []
                for name in names:
                    used = {photo for subject, photo in truth.there if subject == name}
                    left = [photo for photo in shares[name] if id_of(photo) not in used]
                    rng.shuffle(left)
                    running.append(pool.submit(client, server, name, left, truth, stop, random.Random(rng.random())))
                    running[-1].add_done_callback(raised)
                if settings:
                    for photo in photos_of(faces["obama2"], 4, 200 + kills):
                        server.put(f"{DROPPED}/{id_of(photo)}.jpg", photo)
                        photos[id_of(photo)] = photo
                        dropped.add(id_of(photo))
                while truth.acknowledged < goal and server.process.poll() is None and not all(each.done() for each in running):
                    time.sleep(0.005)
                time.sleep(rng.random() * 0.05)
                assert server.process.poll() is None, "it ended by itself"
                server.stop(signal.SIGKILL)
                kills += 1
                stop.set()
            assert raised.errors == []
            server.start()
            check(server, truth, is_whole)
        assert server.names(faces["obama3"])[0] in (*names, DROPPED)
        if settings:
            server.wait_for(
                lambda: all(
                    _holds(lambda file=file: is_whole(file.name.split(".")[0], file.read_bytes()))
                    for file in (server.known_faces / DROPPED).iterdir()
                    if not file.name.startswith(".")
                )
            )
            listed = server.get(f"/people/{DROPPED}").json()["photos"]
            assert {photo["id"] for photo in listed} == dropped and len(listed) == len(dropped)
        assert server.stop() == 0
    print(f"{kills} kills, {truth.acknowledged} changes acknowledged, {truth.interrupted} interrupted, none lost")


#: How photos are stored by two servers that are killed, and how often that is. By default, the way that all of them share.
PAIR_WAYS = list(WAYS) if fuzz.factor() > 1 else ["as encrypted templates"]
PAIR_KILLS, PAIR_CHANGES = 2 * fuzz.factor(), 5


def wait_until_nothing_holds(server: Server, names: list[str]) -> None:
    """Wait until no file of an installation has one of these names in its path or its content."""
    left: list[tuple[str, str]] = []

    def nothing_is_left() -> bool:
        held = bytes_by_file(server.state, server.known_faces)
        left[:] = [(name, path) for path, data in held.items() for name in names if name.encode() in data]
        return not left

    try:
        server.wait_for(nothing_is_left)
    except AssertionError:
        raise AssertionError(f"erased names are left: {left}") from None


@pytest.mark.parametrize("way", PAIR_WAYS)
def test_two_servers_are_killed_while_both_change_people(tmp_path, faces, way):
    seed = 5 if fuzz.factor() == 1 else random.randrange(2**32)
    print("seed", seed)
    rng, settings, vault = random.Random(seed), {}, None
    if "templates" in way:
        settings["keep_photos"] = "off"
    if "encrypted" in way:
        keys = [new_key()]
        create_key_file(tmp_path / "key", keys)
        settings["encryption_key_file"], vault = tmp_path / "key", Vault(keys)
    sent = {
        label: {id_of(photo): photo for photo in photos_of(faces[label], 6, 300)} for label in ("obama", "biden", "collins")
    }
    photos = {photo: data for each in sent.values() for photo, data in each.items()}
    subjects = [Subject(label, each) for label, each in sent.items()]

    def is_whole(file: Path) -> bool:
        data = file.read_bytes() if vault is None else vault.open(file.read_bytes(), "photo")
        photo = file.name.split(".")[0]
        return template_file.read(data).photo == photo if "templates" in way else data == photos[photo]

    one = Server(tmp_path / "one", **settings)
    pair = [one, Server(tmp_path / "other", known_faces=one.known_faces, state_dir=one.state, **settings)]

    def changed(servers: list[Server], changes: int, kill: Callable[[], None]) -> None:
        """Let every person be changed at servers that run, so often at least, then kill."""
        stop, goal = threading.Event(), sum(each.acknowledged for each in subjects) + changes
        with ThreadPoolExecutor(len(subjects)) as pool:
            try:
                running = [pool.submit(drive, each, servers, stop, random.Random(rng.random())) for each in subjects]
                while sum(each.acknowledged for each in subjects) < goal and not all(each.done() for each in running):
                    time.sleep(0.005)
                time.sleep(rng.random() * 0.05)
                kill()
            finally:
                stop.set()
        for each in running:
            each.result()

    try:
        for server in pair:
            server.start()
        for number in range(PAIR_KILLS):
            killed = pair if number % 4 == 3 else [pair[number % 2]]
            others = [server for server in pair if server not in killed]
            changes = rng.randint(PAIR_CHANGES, 3 * PAIR_CHANGES)
            changed(pair, changes, lambda killed=killed: [each.stop(signal.SIGKILL) for each in killed])
            since = time.monotonic()
            if others:  # the one that is left knows what was acknowledged, and goes on
                for each in subjects:
                    settle(each, others, since)
                changed(others, PAIR_CHANGES, lambda: None)
            for server in killed:
                server.start()
            for each in subjects:
                settle(each, pair, since)
            one.wait_for(lambda: all(server.get("/health").json()["retention"]["pending"] == 0 for server in pair))
            assert all(server.get("/people").json()["problems"] == [] for server in pair)
            files = [file for file in one.known_faces.rglob("*") if file.is_file() and not file.name.startswith(".")]
            one.wait_for(lambda files=files: all(_holds(lambda file=file: is_whole(file)) for file in files))
            wait_until_nothing_holds(one, [name for each in subjects for name in each.erased])
            audit_lines(one)
        for server in pair:
            assert server.stop() == 0
            assert "Traceback" not in server.log()
    finally:
        for server in pair:
            if server.process is not None:
                server.stop(signal.SIGKILL)
    took = sorted(seconds for each in subjects for seconds in each.took)
    print(
        f"{PAIR_KILLS} kills, {sum(each.acknowledged for each in subjects)} changes acknowledged, "
        f"{sum(each.interrupted for each in subjects)} interrupted, {sum(each.postponed for each in subjects)} erasures "
        "finished later, none lost; the other server knew "
        f"after {took[len(took) // 2]:.2f} s (p50), {took[len(took) * 99 // 100]:.2f} s (p99), {took[-1]:.2f} s (longest)"
    )
    kinds = {kind: sum(each.kinds.get(kind, 0) for each in subjects) for each in subjects for kind in each.kinds}
    print(", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items())))


def _holds(true: Callable[[], bool]) -> bool:
    """Whether something is so now, where it may still be on its way."""
    try:
        return true()
    except (RecognizerError, FileNotFoundError):
        return False


def raised(future):
    if future.exception() is not None:
        raised.errors.append(future.exception())


raised.errors = []


# -- a full disk ------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, size: str):
    """A file system of this size at `place`, or a skip that says why not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system could be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


@LINUX
@pytest.mark.parametrize("full", ["known_faces", "state_dir"])
def test_a_full_disk(tmp_path, faces, full):
    first, second = photos_of(faces["obama"], 2)
    other = photos_of(faces["biden"], 1, 400)[0]
    with small_disk(tmp_path / "disk", "3m") as disk, Server(tmp_path / "server", **{full: disk / full}) as server:
        server.known_faces = Path(server.settings["known_faces"])
        assert server.enroll("Barack Obama", first).status_code == 201
        before = server.people()
        filler = fill(disk)

        for _ in range(3):
            refused = server.enroll("Joe Biden", other)
            assert (refused.status_code, code(refused)) == (507, "storage_error")
            assert "full" in refused.json()["error"]["message"] or "space" in refused.json()["error"]["message"]
        assert server.people() == before
        assert server.names(faces["obama2"]) == ["Barack Obama"]
        assert server.get("/health").json()["ready"] is True
        assert [name for name in server.files() if "Joe" in name] == []

        filler.unlink()
        assert server.enroll("Joe Biden", other).status_code == 201
        assert server.enroll("Barack Obama", second).status_code == 201
        fill(disk)
        if full == "state_dir":
            refuse_changes(server)
        assert server.stop() == 0
        if full == "state_dir":
            server.put("Barack Obama/dropped.jpg", faces["obama3"])
        server.start()  # which takes no room
        assert set(server.people()) == {"Barack Obama", "Joe Biden"}
        assert server.names(faces["obama2"]) == ["Barack Obama"]
        if full == "known_faces":
            assert server.request("DELETE", "/people/Joe Biden").status_code == 200  # which is how room is made
        else:
            assert server.people()["Barack Obama"]["photos"] == 3
            refuse_changes(server)
        (disk / "filler").unlink()
        assert server.request("PATCH", "/people/Barack Obama", json={"name": "Barack"}).status_code == 200
        server.restart()
        assert server.names(faces["obama2"]) == ["Barack"]


def refuse_changes(server: Server) -> None:
    """Every change is refused, and none is made: neither photos nor names are other than before."""
    before, names, lines = server.files(), audit_names(server), audit_lines(server)
    photo = server.get("/people/Joe Biden").json()["photos"][0]["id"]
    for method, path, how in (
        ("PATCH", "/people/Joe Biden", {"json": {"name": "Joseph"}}),
        ("PATCH", "/people/Joe Biden", {"json": {"consent": "in writing"}}),
        ("DELETE", "/people/Joe Biden", {}),
        ("DELETE", f"/people/Joe Biden/photos/{photo}", {}),
    ):
        reply = server.request(method, path, **how)
        assert (reply.status_code, code(reply)) == (507, "storage_error"), reply.text
        hidden = {each.name for each in server.known_faces.rglob(".*")}
        assert server.files() == before and hidden <= {ABOUT_FILE}, reply.text
    person = server.get("/people/Joe Biden").json()
    assert (person["templates"], person["consent"]) == (1, None)
    assert (audit_names(server), audit_lines(server)) == (names, lines)


def audit_names(server: Server) -> set[str]:
    return set(json.loads((Path(server.settings["state_dir"]) / "audit" / "names.json").read_bytes()).values())


def audit_lines(server: Server) -> int:
    """How many lines the audit log has; it must be whole."""
    log = AuditLog(Path(server.settings["state_dir"]) / "audit")
    found = log.verify()
    assert found.problems == []
    return found.lines


@LINUX
def test_a_state_folder_that_can_only_be_read(tmp_path, faces):
    first, second = photos_of(faces["obama"], 2)
    with small_disk(tmp_path / "disk", "3m") as disk, Server(tmp_path / "server", state_dir=disk / "state") as server:
        assert server.enroll("Barack Obama", first).status_code == 201
        assert server.enroll("Joe Biden", faces["biden"]).status_code == 201
        assert server.stop() == 0
        server.put("Barack Obama/dropped.jpg", faces["obama3"])
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        server.start()
        assert server.names(faces["obama2"]) == ["Barack Obama"]
        assert server.people()["Barack Obama"]["photos"] == 2
        assert code(server.enroll("Barack Obama", second)) == "storage_error"
        refuse_changes(server)
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert server.enroll("Barack Obama", second).status_code == 201
        assert server.request("DELETE", "/people/Joe Biden").status_code == 200
        server.restart()
        assert server.people()["Barack Obama"]["photos"] == 3


def test_events_are_kept_and_sent_again_once_their_folder_can_be_used(tmp_path, receiver):
    settings = {"webhooks": receiver.url, "webhook_allow": "127.0.0.1", "camera": "test:320x240@10"}
    with Server(tmp_path, **settings) as server:
        assert server.request("PATCH", "/cameras/default", json={"always": True}).status_code == 200
        server.wait_for(lambda: receiver.taken)
        assert server.stop() == 0
        shutil.rmtree(server.state / "events")
        (server.state / "events").write_text("no folder")
        before = len(receiver.taken)
        server.start()
        server.wait_for(lambda: server.get("/cameras/default").json()["state"]["name"] == "live")
        page = {"params": {"format": "json"}}
        assert code(server.get("/events", **page)) == "storage_error"
        (server.state / "events").unlink()
        server.wait_for(lambda: len(receiver.taken) > before)
        assert [each["kind"] for each in server.get("/events", **page).json()["events"]] == ["camera_live"]


# -- a folder that must not be written ----------------------------------------------------------------------------


#: Root may write everywhere. This takes that from the process that it then becomes.
WITHOUT_RIGHTS = """
import ctypes, os, sys
for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    if ctypes.CDLL(None, use_errno=True).prctl(24, right, 0, 0, 0):
        sys.exit("the rights of root could not be given up")
os.execv(sys.argv[1], sys.argv[1:])
"""


@LINUX
def test_folders_without_the_right_to_write(tmp_path, faces):
    first, second = photos_of(faces["obama"], 2)
    command = (sys.executable, "-c", WITHOUT_RIGHTS, *HUG) if os.geteuid() == 0 else HUG
    with Server(tmp_path, command) as server:
        assert server.enroll("Barack Obama", first).status_code == 201
        kept = server.people()
        locked = [server.known_faces / "Barack Obama", server.known_faces]
        try:
            for place in locked:
                place.chmod(0o555)
            for reply in (
                server.enroll("Barack Obama", second),
                server.enroll("Somebody Else", second, force="true"),
                server.request("DELETE", "/people/Barack Obama"),
                server.request("PATCH", "/people/Barack Obama", json={"name": "Barack"}),
                server.request("DELETE", f"/people/Barack Obama/photos/{id_of(first)}"),
            ):
                assert (reply.status_code, code(reply)) == (507, "storage_error"), reply.text
                assert "permission denied" in reply.json()["error"]["message"]
            assert server.people() == kept
            assert server.names(faces["obama2"]) == ["Barack Obama"]
            assert server.stop() == 0
            server.start()  # what can only be read is served
            assert server.names(faces["obama2"]) == ["Barack Obama"]
            assert server.enroll("Barack Obama", second).status_code == 507
        finally:
            for place in locked:
                place.chmod(0o755)
        assert server.enroll("Barack Obama", second).status_code == 201
        inner = server.known_faces / "Barack Obama" / "more"
        inner.mkdir()
        (inner / "third.jpg").write_bytes(faces["obama3"])
        for place in (inner, inner.parent):  # whose they are; only the folder of people may be written
            place.chmod(0o555)
        assert server.request("DELETE", "/people/Barack Obama").status_code == 200
        assert list(server.known_faces.iterdir()) == []


@LINUX
def test_a_file_system_that_becomes_read_only(tmp_path, faces):
    first, second = photos_of(faces["obama"], 2)
    with small_disk(tmp_path / "disk", "3m") as disk, Server(tmp_path / "server", known_faces=disk / "faces") as server:
        assert server.enroll("Barack Obama", first).status_code == 201
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for reply in (
            server.enroll("Barack Obama", second),
            server.enroll("Somebody Else", second, force="true"),
            server.request("DELETE", "/people/Barack Obama"),
        ):
            assert (reply.status_code, code(reply)) == (507, "storage_error"), reply.text
            assert "read-only" in reply.json()["error"]["message"]
        assert server.names(faces["obama2"]) == ["Barack Obama"]
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert server.enroll("Barack Obama", second).status_code == 201
        assert server.people()["Barack Obama"]["photos"] == 2


# -- a cache that is ruined -----------------------------------------------------------------------------------------


def ruined(data: bytes, how: str, rng: random.Random) -> bytes:
    if how == "noise inside":
        data = bytearray(data)
        for _ in range(20):
            place = rng.randrange(100, len(data))
            data[place : place + 50] = rng.randbytes(50)
        return bytes(data[: len(data)])
    return {"empty": b"", "cut": data[: len(data) // 2], "text": b"this is no database" * 500}[how]


def test_a_cache_that_is_ruined_while_it_is_used(tmp_path, faces):
    photos = photos_of(faces["obama"], 4)
    with Server(tmp_path) as server:
        for how in ("noise inside", "empty", "cut", "text"):
            for photo in photos[:3]:
                assert server.enroll("Barack Obama", photo, force="true").status_code == 201
            before = server.get("/people").json()
            for suffix in ("", "-wal"):
                file = server.state / f"encodings.sqlite{suffix}"
                if file.exists() and file.stat().st_size > 100:
                    with file.open("r+b") as opened:  # the file that the server has open
                        damaged = ruined(opened.read(), how, random.Random(1))
                        opened.seek(0)
                        opened.truncate(0)
                        opened.write(damaged)
            assert server.names(faces["obama2"]) == ["Barack Obama"], how
            assert server.get("/people").json() == before, how
            replies = [server.enroll("Barack Obama", photos[3], force="true") for _ in range(3)]
            assert {reply.status_code for reply in replies} <= {200, 201, 507}, how
            assert replies[-1].status_code in (200, 201), (how, replies[-1].text)  # and mended by itself
            server.restart()
            assert server.people()["Barack Obama"]["photos"] == 4, how
            assert server.names(faces["obama2"]) == ["Barack Obama"], how
            assert not any(server.request("DELETE", "/people/Barack Obama").json()["left"].values()), how


# -- two processes on one folder ------------------------------------------------------------------------------------


def cli(server: Server, *arguments: str) -> str:
    done = template.run([sys.executable, "-m", "recognizer", *arguments], env=environment(**server.settings))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def _pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    with Server(folder / "one", ANNOUNCED) as one:
        with Server(folder / "other", ANNOUNCED, known_faces=one.known_faces, state_dir=one.state) as other:
            yield one, other


@pytest.fixture
def pair(_pair):
    """Two servers of one folder, in which nobody is enrolled."""
    one, other = _pair
    one.clear()
    other.wait_for(lambda: other.people() == {})
    return one, other


def test_two_servers_and_the_command_line_agree(pair, faces, tmp_path):
    one, other = pair
    assert one.enroll("Barack Obama", faces["obama"]).status_code == 201
    assert other.names(faces["obama2"]) == ["Barack Obama"]
    assert other.request("PATCH", "/people/Barack Obama", json={"name": "Barack"}).status_code == 200
    assert one.names(faces["obama2"]) == ["Barack"]
    file = tmp_path / "biden.jpg"
    file.write_bytes(faces["biden"])
    cli(one, "enroll", "Joe", str(file))
    assert one.names(faces["biden"]) == ["Joe"] and other.names(faces["biden"]) == ["Joe"]
    assert one.request("DELETE", "/people/Barack").status_code == 200
    assert other.names(faces["obama2"]) == [None]
    cli(one, "people", "delete", "Joe", "--yes")
    assert one.people() == {} and other.people() == {}


def test_what_one_server_acknowledged_every_later_answer_of_the_other_knows(pair, faces):
    """Who reads at one server what they wrote at the other is never told what was before, however soon they ask."""
    one, other = pair
    first, second = photos_of(faces["obama"], 2)
    for number in range(4):
        writer, reader = (one, other) if number % 2 else (other, one)
        assert writer.enroll("Ada", first).status_code == 201
        assert reader.names(faces["obama2"]) == ["Ada"]
        assert writer.enroll("Ada", second).status_code == 201
        assert {name: each["photos"] for name, each in reader.people().items()} == {"Ada": 2}
        assert writer.request("PATCH", "/people/Ada", json={"name": "Bea"}).status_code == 200
        assert code(reader.get("/people/Ada")) == "subject_not_found"
        assert len(reader.get("/people/Bea").json()["photos"]) == 2
        assert writer.request("DELETE", "/people/Bea").status_code == 200
        assert code(reader.get("/people/Bea")) == "subject_not_found" and reader.names(faces["obama2"]) == [None]


def test_a_person_who_may_exist_is_not_said_to_be_missing(pair, faces):
    """Another server holds the lock of every write, so that what it enrolled is not known here yet."""
    one, other = pair
    from recognizer.core.lock import WriteLock

    with WriteLock(one.state).hold():
        add_to_cache(one.state)
        assert code(other.get("/people/Ada")) == "busy"
        assert other.names(faces["obama2"]) == [None]  # what does not concern one person is answered
    assert code(other.get("/people/Ada")) == "subject_not_found"


def add_to_cache(state: Path) -> None:
    """What another process does to the cache's file while it changes people."""
    with contextlib.closing(sqlite3.connect(state / "encodings.sqlite", timeout=60)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS other (n)")
        connection.execute("INSERT INTO other VALUES (1)")
        connection.commit()


def test_what_one_server_did_is_known_to_the_other_when_it_is_asked_to_change_it(pair, faces):
    one, other = pair
    first, second = photos_of(faces["obama"], 2)
    path = "/people/Barack Obama"

    def enrolled() -> None:
        assert one.enroll("Barack Obama", first).status_code == 201

    for number in range(3):
        enrolled()
        assert other.get(path).status_code == 200
        assert one.enroll("Barack Obama", second).status_code == 201
        assert other.get(f"{path}/photos/{id_of(second)}").status_code == 200
        assert other.request("DELETE", f"{path}/photos/{id_of(second)}").status_code == 200
        renamed = other.request("PATCH", path, json={"name": f"Barack {number}"})
        assert (renamed.status_code, len(renamed.json()["photos"])) == (200, 1), renamed.text
        assert code(one.request("DELETE", path)) == "subject_not_found"  # and not "nothing is left"
        assert code(one.enroll("Somebody Else", first)) == "looks_like_another"
        merged = one.request("PATCH", f"/people/Barack {number}", json={"name": "Barack Obama"})
        assert merged.status_code == 200, merged.text
        assert other.request("PATCH", path, json={"consent": "in writing"}).status_code == 200
        kept = one.request("PATCH", path, json={"expires": "2999-12-31"}).json()
        assert (kept["consent"], kept["expires"]) == ("in writing", "2999-12-31")
        gone = other.request("DELETE", path)
        assert gone.status_code == 200 and not any(gone.json()["left"].values()), gone.text
        assert one.files() == []


def patiently(ask) -> requests.Response:
    """The answer of a client that asks again where it is told that another server is changing people."""
    until = time.monotonic() + 60
    while (reply := ask()).status_code == 503 and reply.json()["error"]["code"] == "busy" and time.monotonic() < until:
        assert reply.headers["Retry-After"]
        time.sleep(0.2)
    return reply


def test_a_rename_at_one_server_while_the_other_deletes(pair, faces):
    one, other = pair
    photo = photos_of(faces["obama"], 1)[0]
    outcomes = set()
    for number in range(6 * fuzz.factor()):
        assert pair[number % 2].enroll("Old", photo).status_code == 201
        start = threading.Barrier(2)

        def rename(server: Server, start=start) -> requests.Response:
            start.wait()
            return patiently(lambda: server.request("PATCH", "/people/Old", json={"name": "New"}))

        def delete(server: Server, start=start) -> requests.Response:
            start.wait()
            return patiently(lambda: server.request("DELETE", "/people/Old"))

        with ThreadPoolExecutor(2) as pool:
            renaming, deleting = pool.submit(rename, one), pool.submit(delete, other)
            statuses = renaming.result().status_code, deleting.result().status_code
        outcomes.add(statuses)
        assert statuses in ((200, 404), (404, 200)), (renaming.result().text, deleting.result().text)
        assert [file.split("/")[0] for file in one.files()] == (["New"] if statuses[0] == 200 else [])
        if statuses[0] == 200:
            assert other.request("DELETE", "/people/New").status_code == 200
    print("rename and delete answered", *outcomes)


def test_a_folder_renamed_by_hand_is_not_reported_as_erased(tmp_path, faces):
    with Server(tmp_path, watch="off") as server:
        assert server.enroll("Barack Obama", faces["obama"]).status_code == 201
        (server.known_faces / "Barack Obama").rename(server.known_faces / "Barack")
        assert code(server.request("PATCH", "/people/Barack Obama", json={"name": "Joe"})) == "subject_not_found"
        assert server.get("/people/Barack").json()["templates"] == 1
        assert server.names(faces["obama2"]) == ["Barack"]


def test_one_face_enrolled_under_two_names_at_once_is_refused_once(pair, faces):
    for servers in ((pair[0], pair[0]), pair):
        start = threading.Barrier(2)

        def enrol(name: str, server: Server, start=start) -> requests.Response:
            start.wait()
            return server.enroll(name, faces["obama"])

        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(enrol, name, server) for name, server in zip(("Ann", "Bea"), servers, strict=True)]
            replies = [each.result() for each in asked]
        assert sorted(reply.status_code for reply in replies) == [201, 409], [reply.text for reply in replies]
        name = next(name for name, reply in zip(("Ann", "Bea"), replies, strict=True) if reply.status_code == 201)
        assert pair[0].request("DELETE", f"/people/{name}").status_code == 200


def test_two_servers_that_both_change_everything_never_disagree_for_long(pair, faces):
    one, other = pair
    sent = photos_of(faces["obama"], 40)
    by_id = {id_of(photo): photo for photo in sent}
    kept: dict[str, set[str]] = {}

    def work(number: int):
        rng, server, mine = random.Random(number), pair[number % 2], set()
        name = f"Client {number}"
        for photo in sent[number::4]:
            assert server.enroll(name, photo, force="true").status_code == 201
            mine.add(id_of(photo))
            if rng.random() < 0.3:
                gone = rng.choice(sorted(mine))
                assert server.request("DELETE", f"/people/{name}/photos/{gone}").status_code == 200
                mine.discard(gone)
        kept[name] = mine

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, number) for number in range(4)]
        wait(done)
        for each in done:
            each.result()

    def seen_by(server: Server) -> dict[str, set[str]]:
        return {name: {photo["id"] for photo in server.get(f"/people/{name}").json()["photos"]} for name in server.people()}

    wanted = {name: photos for name, photos in kept.items() if photos}
    one.wait_for(lambda: seen_by(one) == wanted and seen_by(other) == wanted)
    assert one.get("/people").json()["problems"] == other.get("/people").json()["problems"] == []
    files = [file for file in one.known_faces.rglob("*") if file.is_file() and file.name != ABOUT_FILE]
    assert {(file.parent.name, file.stem) for file in files} == {(name, photo) for name in wanted for photo in wanted[name]}
    assert all(file.read_bytes() == by_id[file.stem] for file in files)
    for server in pair:
        server.restart()
        assert seen_by(server) == wanted
