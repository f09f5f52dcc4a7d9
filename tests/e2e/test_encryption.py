"""An encrypted installation: no plaintext face on its disk, nothing readable without the key, keys that change."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recognizer.core.vault import create_key_file, key_file_text, new_key
from recognizer.events.event_log import EventLog

from .. import template
from .homes import PICTURE, cli
from .pictures import JPEG
from .serving import ROOT, STARTED, Server, environment


@pytest.fixture
def key_file(tmp_path) -> Path:
    return tmp_path / "key"


def encrypt(server: Server, key_file: Path) -> None:
    cli(server, "encryption", "init", "--key-file", str(key_file))


def vectors(server: Server) -> list[bytes]:
    connection = sqlite3.connect(server.state / "encodings.sqlite")
    try:
        return [vector for (vector,) in connection.execute("SELECT vector FROM encodings WHERE vector IS NOT NULL")]
    finally:
        connection.close()


def on_disk(server: Server) -> dict[Path, bytes]:
    found = {}
    for path in (path for root in (server.known_faces, server.state) for path in root.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # deleted while we look
            if path.is_file():
                found[path] = path.read_bytes()
    return found


def traces(server: Server, secrets: list[bytes]) -> list[str]:
    """Files below an installation's folders that hold an image's magic or one of these byte strings.

    A JPEG's magic is three bytes, which encrypted data of 100 kB holds by chance once in 150 times, so it is looked
    for together with what follows it in JPEGs of cameras, of Pillow and of OpenCV.
    """
    magics = (b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\xff\xd8\xff\xdb\x00\x43", b"\x89PNG\r\n\x1a\n", b"RIFF")
    return [
        f"{path.name}: {secret[:12]!r}"
        for path, data in on_disk(server).items()
        for secret in (*magics, *secrets)
        if secret in data
    ]


def test_an_encrypted_installation_has_no_plaintext_face_on_the_disk(home, faces, key_file):
    secrets = [faces[name][2000:2040] for name in ("obama", "biden", "obama2", "collins")]
    secrets += [*(vector[:64] for vector in vectors(home)), b"QUUXNOTE", b"Barack", PICTURE[4:-2]]
    found = " ".join(traces(home, secrets))
    assert all(repr(secret[:12]) in found for secret in (secrets[0], secrets[1], secrets[4], b"QUUXNOTE", b"Barack"))
    encrypt(home, key_file)
    assert traces(home, secrets) == []
    home.start(encryption_key_file=key_file)
    assert home.names(faces["obama2"]) == ["Barack"] and home.names(faces["biden"]) == ["Joe"]
    stranger = home.get("/strangers").json()["strangers"][0]
    assert home.get(stranger["thumbnail"]).content[:3] == b"\xff\xd8\xff"
    home.enroll("Barack", faces["obama2"])
    file = home.put("Eileen/dropped.png", faces["collins"])
    home.wait_for(lambda: home.names(faces["collins"]) == ["Eileen"])
    home.wait_for(lambda: file.read_bytes()[:4] == b"RCGZ")
    assert traces(home, [*secrets, *(each[4:64] for each in (faces["obama2"], faces["collins"]))]) == []
    photos = home.get("/people/Barack").json()["photos"]
    assert {home.get(photo["url"]).content for photo in photos} == {faces["obama"], faces["obama2"], faces["obama3"]}
    assert home.get(photos[0]["thumbnail"]).content[:3] == b"\xff\xd8\xff"
    assert home.people()["Joe"]["consent"] == "QUUXNOTE"
    assert home.get("/events/1").json()["subject"] == "Barack" and home.get("/events/1/thumbnail.jpg").content == PICTURE
    assert home.get("/audit?action=enroll").json()["lines"][0]["name"] == "Barack"
    home.restart()
    assert home.names(faces["trio"]) == ["Barack", "Joe", "Eileen"]
    assert [each["code"] for each in home.get("/people").json()["problems"]] == ["no_face"]
    shown = cli(home, "encryption", "status")
    assert list(shown["photos"]) == shown["keys"] == list(shown["event_lines"]) == list(shown["event_pictures"])
    home.wait_for(lambda: home.get("/strangers").json()["total"] == 0)  # she is enrolled by now


def fails_to_start(server: Server, **settings) -> str:
    done = template.run(server.command, env=environment(**{**server.settings, **settings}))
    assert done.returncode == 1, done.stderr
    return done.stderr


def test_a_wrong_or_missing_key_refuses_to_start_and_destroys_nothing(home, key_file, tmp_path):
    encrypt(home, key_file)
    create_key_file(tmp_path / "other", [new_key()])
    before = on_disk(home)
    assert "none is set" in fails_to_start(home)
    assert "the key that is set is" in fails_to_start(home, encryption_key_file=tmp_path / "other")
    assert "cannot be read" in fails_to_start(home, encryption_key_file=tmp_path / "nowhere")
    shutil.copytree(home.known_faces, tmp_path / "copy")  # the folder alone says so as well
    assert "none is set" in fails_to_start(home, known_faces=tmp_path / "copy", state_dir=tmp_path / "new-state")
    assert {path: data for path, data in on_disk(home).items() if path in before} == before


def test_a_key_for_what_is_not_encrypted_yet_is_refused(home, key_file):
    create_key_file(key_file, [new_key()])
    assert "encryption init" in fails_to_start(home, encryption_key_file=key_file)


def test_nothing_is_changed_while_a_server_runs(home, key_file):
    home.start()
    assert cli(home, "encryption", "init", "--key-file", str(key_file), fails=1)["error"]["code"] == "in_use"
    assert not key_file.exists()


def test_a_rotation_that_is_killed_is_done_again(home, faces, key_file):
    for number in range(30):
        home.put(f"Barack/{number}.txt", os.urandom(200_000))
    encrypt(home, key_file)
    old, begun = key_file.read_text().strip(), 0
    home.settings["encryption_key_file"] = key_file
    command = [sys.executable, "-m", "recognizer", "encryption", "rotate"]
    for pause in (0.0, 0.1):
        with template.start(command, cwd=ROOT, env=environment(**home.settings), stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(key_file.read_text().split()) == 1:
                time.sleep(0.005)
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        begun += len(key_file.read_text().split()) == 2
        home.start()  # in the middle of it everything can be read
        assert home.names(faces["obama2"]) == ["Barack"]
        home.stop()
    assert begun
    done = cli(home, "encryption", "rotate")
    assert set(done) == {"photos", "events", "strangers", "caches"}
    assert len(key_file.read_text().split()) == 1 and old not in key_file.read_text()
    shown = cli(home, "encryption", "status")
    assert shown["keys"] == shown["set"] == list(shown["photos"]) and sum(shown["photos"].values()) == 34
    home.start()
    assert home.names(faces["obama2"]) == ["Barack"] and home.people()["Joe"]["consent"] == "QUUXNOTE"


def test_and_back_to_no_encryption(home, faces, key_file):
    encrypt(home, key_file)
    cli(home, "encryption", "decrypt", "--yes", encryption_key_file=key_file)
    home.start()
    photo = home.get("/people/Joe").json()["photos"][0]
    file = home.known_faces / "Joe" / photo["file"]
    assert home.get(photo["url"]).content == faces["biden"] == file.read_bytes()
    assert home.names(faces["obama2"]) == ["Barack"] and home.get("/events/1").json()["subject"] == "Barack"


def test_templates_without_photos(tmp_path, faces):
    with Server(tmp_path, keep_photos="off") as server:
        server.enroll("Barack", faces["obama"])
        file = server.put("Joe/dropped.jpg", faces["biden"])
        server.wait_for(lambda: not file.exists() and server.names(faces["biden"]) == ["Joe"])
        assert sorted(Path(each).suffix for each in server.files()) == [".face", ".face"]
        assert not any(JPEG in data for data in on_disk(server).values())
        assert server.names(faces["obama3"]) == ["Barack"]
        photo = server.get("/people/Joe").json()["photos"][0]
        assert photo["url"] is None and server.get(f"/people/Joe/photos/{photo['id']}").status_code == 404
        assert server.get(f"/people/Joe/photos/{photo['id']}?thumbnail=1").status_code == 404
        server.stop()
        shutil.rmtree(server.state)  # the templates are in the folder, not in the cache
        server.start()
        assert server.names(faces["obama3"]) == ["Barack"] and server.names(faces["biden"]) == ["Joe"]
        server.restart(embedder="sface")
        problems = server.get("/people").json()["problems"]
        assert [each["code"] for each in problems] == ["needs_new_photo"] * 2 and server.names(faces["obama3"]) == [None]
        server.restart(embedder="dlib+sface")
        assert server.names(faces["obama3"]) == ["Barack"]


def test_vectors_are_numbers_only_with_the_key(home, key_file):
    """Guards the test above against looking for what is never there."""
    assert all(np.isfinite(np.frombuffer(vector, "<f4")).all() for vector in vectors(home))
    encrypt(home, key_file)
    assert all(vector[:4] == b"RCGZ" for vector in vectors(home))
    log = EventLog(home.state / "events")
    assert log.read(0, 10) == []
    log.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the environments of processes are read from /proc")
def test_processes_that_decode_are_not_given_the_key(tmp_path, faces):
    key = key_file_text([new_key()]).strip()
    with Server(tmp_path, STARTED, encryption_key=key) as server:
        picture = Image.open(io.BytesIO(faces["obama"]))
        file = io.BytesIO()
        picture.save(file, "tiff")
        server.enroll("Barack", faces["obama"])
        assert server.post("/recognize", data=file.getvalue()).json()["faces"][0]["subject"] == "Barack"
        me = f"/proc/{server.process.pid}"
        assert key.encode() in Path(me, "environ").read_bytes()
        children = Path(me, f"task/{server.process.pid}/children").read_text().split()
        children += [child for task in Path(me, "task").iterdir() for child in (task / "children").read_text().split()]
        assert children
        for child in children:
            assert key.encode() not in Path("/proc", child, "environ").read_bytes(), child
        assert key not in server.log()
