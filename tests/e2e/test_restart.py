"""Ending and starting again: everything is as it was, nothing is computed twice, and nothing stops the start."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from contextlib import closing

import pytest

from recognizer.enrolment.cache import EncodingsCache

from .. import template
from .serving import HUG, Server, environment

MARK = 0.1234


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, faces):
    """A server that was stopped after three people were enrolled: two through the API, one by hand. Copied, never started."""
    server = Server(tmp_path_factory.mktemp("restart"))
    server.put("Eileen Collins/portrait.jpg", faces["collins"])
    with server:
        assert server.enroll("Barack Obama", faces["obama"], faces["obama3"]).json()["added"] == 2
        assert server.enroll("Joe Biden", faces["biden"]).json()["added"] == 1
        server.put("Joe Biden/broken.jpg", faces["biden"][:3000])
        server.wait_for(lambda: len(server.get("/people").json()["problems"]) == 1)
        server.engine = server.get("/health").json()["engine"]["id"]
        server.before = {"people": server.get("/people").json(), "trio": server.recognize(faces["trio"])["faces"]}
        assert server.stop() == 0
    mark_cache(server)
    return server


@pytest.fixture
def server(stopped, tmp_path):
    """The same again, for a test to start and to change; all cached encodings have the score `MARK`."""
    server = stopped.copy(tmp_path)
    server.engine, server.before = stopped.engine, stopped.before
    return server


def mark_cache(server: Server) -> None:
    """Give every cached encoding a score that no detector gives: whoever shows it has read the cache."""
    with closing(EncodingsCache(server.state / "encodings.sqlite")) as cache:
        kept = [each for each in cache.encodings(server.engine).values() if each.score is not None]
        cache.put([dataclasses.replace(each, score=MARK) for each in kept])
        assert len(kept) == 4


def scores(server: Server) -> set[float]:
    photos = [photo for name in server.people() for photo in server.get(f"/people/{name}").json()["photos"]]
    return {photo["score"] for photo in photos if "score" in photo}


def test_everything_is_as_before_and_comes_from_the_cache(server, faces):
    with server:
        assert server.get("/people").json() == server.before["people"]
        assert server.recognize(faces["trio"])["faces"] == server.before["trio"]
        assert server.names(faces["trio"]) == ["Barack Obama", "Joe Biden", "Eileen Collins"]
        assert scores(server) == {MARK}


def test_photos_that_moved_while_it_was_down_are_not_encoded_again(server, faces):
    (server.known_faces / "Joe Biden").rename(server.known_faces / "Joe")
    with server:
        assert server.names(faces["trio"]) == ["Barack Obama", "Joe", "Eileen Collins"]
        assert scores(server) == {MARK}


def test_killed_in_the_middle(server, faces):
    server.start()
    server.stop(signal.SIGKILL)
    half = server.put("Joe Biden/.part-0123456789abcdef", b"half a photo")
    trash = server.known_faces / ".deleted-0123456789abcdef"
    trash.mkdir()
    (trash / "one.jpg").write_bytes(faces["obama"])
    with server:
        assert server.get("/people").json() == server.before["people"]
        assert scores(server) == {MARK}
        assert not trash.exists()
        assert not half.exists()


def test_another_engine_encodes_again(server, faces):
    with server.start(embedder="sface"):
        engine = server.get("/health").json()["engine"]
        assert (engine["embedder"], engine["dim"]) == ("sface", 128)
        assert server.names(faces["trio"]) == ["Barack Obama", "Joe Biden", "Eileen Collins"]
        assert MARK not in scores(server)
        assert server.stop() == 0
    del server.settings["embedder"]
    with server:
        assert server.names(faces["trio"]) == ["Barack Obama", "Joe Biden", "Eileen Collins"]
        assert MARK not in scores(server)


def test_without_the_cache_everything_is_encoded_again(server, faces):
    shutil.rmtree(server.state)
    with server:
        assert server.get("/people").json() == server.before["people"]
        assert server.recognize(faces["trio"])["faces"] == server.before["trio"]
        assert MARK not in scores(server)


def test_a_damaged_cache_is_made_anew(server, faces):
    (server.state / "encodings.sqlite").write_bytes(b"this is not a database" * 1000)
    with server:
        assert server.get("/people").json() == server.before["people"]


def test_a_folder_full_of_trouble_does_not_stop_the_start(tmp_path, faces):
    server = Server(tmp_path)
    server.put("Bob/good.jpg", faces["obama"])
    server.put("Bob/broken.jpg", faces["biden"][:3000])
    server.put("Bob/empty.jpg", b"")
    server.put("Bob/text.txt", b"words")
    server.put("Bob/nobody.jpg", faces["nobody"])
    server.put("stray.jpg", faces["biden"])
    server.put("nul/x.jpg", faces["biden"])
    (server.known_faces / "Empty").mkdir()
    (server.known_faces / "Bob" / "dangling.jpg").symlink_to("/nowhere")
    (server.known_faces / "Loop").symlink_to(server.known_faces)
    os.mkfifo(server.known_faces / "Bob" / "pipe.jpg")
    (server.known_faces / os.fsdecode(b"B\xffb")).mkdir()
    (server.known_faces / os.fsdecode(b"Bob/\xff.jpg")).write_bytes(faces["biden"])
    with server:
        assert server.names(faces["obama2"]) == ["Bob"]
        problems = {problem["file"]: problem["code"] for problem in server.get("/people").json()["problems"]}
        assert problems == {
            "Bob/broken.jpg": "broken_image",
            "Bob/empty.jpg": "unsupported_image",
            "Bob/text.txt": "unsupported_image",
            "Bob/nobody.jpg": "no_face",
            "Bob/dangling.jpg": "symbolic_link",
            "Bob/pipe.jpg": "not_a_file",
            "Bob/\\udcff.jpg": "invalid_name",
            "B\\udcffb": "invalid_name",
            "Loop": "symbolic_link",
            "nul": "invalid_name",
            "stray.jpg": "not_in_a_folder",
        }
        assert list(server.people()) == ["Bob"]


# -- what does stop it -----------------------------------------------------------------------------------------------


def start_that_fails(**settings) -> str:
    """Start with these settings; what it says before it gives up."""
    done = template.run(HUG, env=environment(**settings))
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith(("[ WARN", "/", " "))]
    assert len(said) == 1, done.stderr
    return said[0]


def test_settings_that_cannot_be_used(tmp_path):
    folders = {"known_faces": tmp_path / "faces", "state_dir": tmp_path / "state"}
    assert "RECOGNIZER_KNOWN_FACE" in start_that_fails(**folders, known_face="typo")
    assert "RECOGNIZER_WORKERS" in start_that_fails(**folders, workers="many")
    assert "workers" in start_that_fails(**folders, workers="-1")
    assert "embedder" in start_that_fails(**folders, embedder="arcface")
    assert "RECOGNIZER_FETCH_ALLOW" in start_that_fails(**folders, fetch_allow="everywhere")


def test_folders_that_cannot_be_used(tmp_path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    weights = tmp_path / "weights"
    good = {"known_faces": tmp_path / "faces", "state_dir": tmp_path / "state", "models_dir": weights}
    for bad in (file, file / "below"):
        assert "known faces" in start_that_fails(**good | {"known_faces": bad})
        assert "state" in start_that_fails(**good | {"state_dir": bad})
    assert not weights.exists()  # it is said before anything is fetched or loaded


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folders_without_rights(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    good = {"known_faces": tmp_path / "faces", "state_dir": tmp_path / "state"}
    assert "known faces" in start_that_fails(**good | {"known_faces": locked / "faces"})
    assert "state" in start_that_fails(**good | {"state_dir": locked / "state"})
    assert "state" in start_that_fails(**good | {"state_dir": locked})


def test_a_port_in_use(reader, tmp_path):
    command = (*HUG[:-1], str(reader.port))
    settings = environment(known_faces=tmp_path / "faces", state_dir=tmp_path / "state")
    done = template.run(command, env=settings)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"Port {reader.port}" in done.stderr


def test_known_faces_is_made(tmp_path, faces):
    server = Server(tmp_path, known_faces=tmp_path / "not" / "there" / "yet")
    with server:
        assert server.get("/people").json()["total"] == 0
        assert (tmp_path / "not" / "there" / "yet").is_dir()
