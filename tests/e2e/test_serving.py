"""How the server behaves under load, when it is told to stop, and with several processes behind one address."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from recognizer.access.sessions import session_name
from recognizer.enrolment.cache import EncodingsCache
from recognizer.rules.push_store import PushStore

from ..push_services import Browser
from . import pictures
from .serving import GUNICORN, HUG, REPLY_SECONDS, ROOT, START_SECONDS, Server, code, environment


def test_sixteen_clients_all_get_their_own_answer(reader, faces):
    people = {"obama2": ["Barack Obama"], "biden": ["Joe Biden"], "collins": [None], "nobody": []}
    asked = [name for name in people for _ in range(12)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda name: reader.names(faces[name]), asked))
    assert answers == [people[name] for name in asked]


def test_other_requests_are_answered_during_a_burst(reader, faces):
    with ThreadPoolExecutor(16) as pool:
        burst = [pool.submit(reader.names, faces["trio"]) for _ in range(24)]
        answered = 0
        while not all(each.done() for each in burst):
            assert reader.get("/health").status_code == 200
            assert reader.get("/people").json()["total"] == 2
            answered += 1
    assert answered > 1
    assert [each.result() for each in burst] == [["Barack Obama", "Joe Biden", None]] * 24


class Held:
    """A page of the web server that answers when the test says so."""

    def __init__(self, photo: bytes):
        self.photo, self.asked, self.go = photo, threading.Semaphore(0), threading.Event()

    def __call__(self, handler):
        self.asked.release()
        assert self.go.wait(60)
        handler.reply(self.photo)

    def wait(self, clients: int = 1):
        for _ in range(clients):
            assert self.asked.acquire(timeout=60)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, faces):
    """A server that works on one photo at a time and lets one more wait, with few threads."""
    server = Server(tmp_path_factory.mktemp("narrow"), workers=1, queue=1, http_threads=6, fetch_timeout=60)
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        yield server


def test_a_full_queue_is_refused_at_once(narrow, faces):
    start = threading.Barrier(12)

    def ask(_):
        start.wait()
        return narrow.post("/recognize", data=faces["trio"])

    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(ask, range(12)))
    assert {reply.status_code for reply in replies} == {200, 503}
    for reply in replies:
        if reply.status_code == 503:
            assert code(reply) == "busy"
            assert int(reply.headers["Retry-After"]) >= 1
        else:
            assert "Barack Obama" in [face["subject"] for face in reply.json()["faces"]]
    assert narrow.names(faces["obama2"]) == ["Barack Obama"]  # and everything is free again
    assert narrow.get("/health").json()["queue"]["inside"] == 0


def test_urls_that_are_waited_for_do_not_take_every_thread(narrow, web, faces):
    held = Held(faces["obama2"])
    url = web.url("/held", held)
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(narrow.get, "/recognize", params={"image_url": url}) for _ in range(3)]
        held.wait(3)  # half of the server's threads
        try:
            refused = narrow.get("/recognize", params={"image_url": url})
            assert (refused.status_code, code(refused)) == (503, "busy")
            assert int(refused.headers["Retry-After"]) >= 1
            assert narrow.get("/health").status_code == 200
            assert narrow.names(faces["obama2"]) == ["Barack Obama"]
        finally:
            held.go.set()
        assert {each.result().status_code for each in waiting} <= {200, 503}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_runs_is_finished_before_the_end(tmp_path, web, faces, number):
    held = Held(faces["obama2"])
    with Server(tmp_path, fetch_timeout=60) as server, ThreadPoolExecutor(2) as pool:
        assert server.enroll("Barack Obama", faces["obama"]).status_code == 201
        running = pool.submit(server.get, "/recognize", params={"image_url": web.url("/held", held)})
        held.wait()
        ended = pool.submit(server.stop, number)
        held.go.set()
        assert running.result().json()["faces"][0]["subject"] == "Barack Obama"
        assert ended.result() == 0
        assert "Traceback" not in server.log()


# -- ending and failing while it starts ---------------------------------------------------------------------------------


def many_photos(server: Server, photo: bytes, count: int, name: str = "Person") -> None:
    """So many photos of different content, small ones: encoding all of them takes longer than the test."""
    photo = pictures.smaller(photo, 300)
    for number in range(count):
        server.put(f"{name} {number}/one.jpg", photo + number.to_bytes(2, "big"))


def encoded(server: Server) -> int:
    """How many photos the cache has an encoding of."""
    EncodingsCache(server.state / "encodings.sqlite").close()  # there may be none yet
    with contextlib.closing(sqlite3.connect(server.state / "encodings.sqlite")) as database:
        return database.execute("SELECT count(*) FROM encodings").fetchone()[0]


@contextlib.contextmanager
def starting(server: Server, command: tuple[str, ...] | None = None):
    """The server's process, which is not waited for. SIGINT works in it however this process was started."""
    with server.log_file.open("ab") as log:
        process = subprocess.Popen(
            (sys.executable, "-c", SIGNALS_AS_USUAL, *(command or server.command)),
            cwd=ROOT,
            env=environment(**server.settings),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


SIGNALS_AS_USUAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
"""


def printed(server: Server, process: subprocess.Popen, text: str) -> None:
    """Wait until the server has printed this."""
    until = time.monotonic() + START_SECONDS
    while text not in server.log():
        assert process.poll() is None and time.monotonic() < until, server.log()
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_while_it_encodes_for_its_start(tmp_path, faces, number):
    server = Server(tmp_path, embedder="sface")  # the quicker one, since many are encoded before
    many_photos(server, faces["obama"], 800)
    with starting(server) as process:
        printed(server, process, "encoding photos: 80 of")  # so that a batch of 64 is stored
        process.send_signal(number)
        assert process.wait(60) == 0, server.log()
    assert "Traceback" not in server.log() and "cannot start" not in server.log()
    assert 64 <= encoded(server) < 800


def test_a_signal_ends_it_while_it_encodes_what_was_dropped(tmp_path, faces):
    with Server(tmp_path) as server:
        many_photos(server, faces["obama"], 600)
        shown = server.wait_for(lambda: server.get("/health").json()["encoding"])
        assert 0 <= shown["done"] <= shown["total"] <= 600
        server.wait_for(lambda: (server.get("/health").json()["encoding"] or {}).get("seconds_left") is not None)
        assert server.stop() == 0
        assert "Traceback" not in server.log()
    assert encoded(server) < 600


@pytest.mark.parametrize("seconds", [0.7, 1.4, 2.1, 2.8])
def test_ctrl_c_ends_it_at_any_moment_of_its_start(tmp_path, faces, seconds):
    server = Server(tmp_path)
    many_photos(server, faces["obama"], 300)
    with starting(server) as process:
        time.sleep(seconds)  # whatever it does by then
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert not server.state.exists() or encoded(server) < 300


def test_what_is_being_loaded_is_reported(tmp_path, faces):
    server = Server(tmp_path)
    many_photos(server, faces["obama"], 300)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with starting(server, (HUG[0], "-f", "api.py", "-p", str(port))) as process:
        seen, until = [], time.monotonic() + START_SECONDS
        while not seen or "encoding" not in seen[-1]:
            assert process.poll() is None and time.monotonic() < until, server.log()
            with contextlib.suppress(requests.ConnectionError):
                reply = requests.get(f"http://127.0.0.1:{port}/health", timeout=REPLY_SECONDS)
                assert (reply.status_code, code(reply)) == (503, "starting")
                seen.append(reply.json()["error"])
    assert not any("()" in error["message"] for error in seen)
    assert seen[-1]["encoding"]["total"] == 300 and set(seen[-1]["encoding"]) == {"done", "total", "seconds_left"}


def test_who_signs_out_while_it_loads_is_notified_no_more(tmp_path, faces):
    server = Server(tmp_path)
    many_photos(server, faces["obama"], 300)
    shown = server.cli("--json", "keys", "add", "door", "--role", "write")
    key = json.loads(shown.stdout)
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with starting(server, (HUG[0], "-f", "api.py", "-p", url.rpartition(":")[2])) as process:
        printed(server, process, "encoding photos")
        page = {"Origin": url}
        begun = requests.post(f"{url}/session", json={"key": key["key"]}, headers=page, timeout=REPLY_SECONDS)
        page["X-CSRF-Token"] = begun.json()["csrf_token"]
        push = PushStore.in_file(server.state / "push.json")
        (token,) = begun.cookies.values()
        push.add(Browser("https://push.example").subscription(key=key["id"], session=session_name(token)))
        stays = push.add(Browser("https://push.example", "other").subscription(key=key["id"], session="of another"))
        ended = requests.delete(f"{url}/session", cookies=begun.cookies, headers=page, timeout=REPLY_SECONDS)
        assert ended.json() == {"ended": True} and push.all() == [stays]


def test_a_port_in_use_is_reported_before_anything_is_encoded(tmp_path, faces):
    server = Server(tmp_path)
    many_photos(server, faces["obama"], 30)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with starting(server, (HUG[0], "-f", "api.py", "-p", str(taken.getsockname()[1]))) as process:
            assert process.wait(START_SECONDS) == 1
    assert "is in use" in server.log() and "encoding photos" not in server.log()
    assert encoded(server) == 0


# -- gunicorn --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    pytest.importorskip("gunicorn", reason="gunicorn is not installed; it is in requirements-dev.txt")
    command = (*GUNICORN, "-w", "2", "--timeout", "300", "--no-control-socket")
    with Server(tmp_path_factory.mktemp("gunicorn"), command, fetch_timeout=60) as server:
        yield server


def ask_both(server: Server, web, photo: bytes) -> list[list[str | None]]:
    """Ask two workers who is on a photo. Each takes one request at a time, so two that wait are with two workers."""
    held = Held(photo)
    url = web.url("/both", held)
    with ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(server.get, "/recognize", params={"image_url": url}) for _ in range(2)]
        held.wait(2)
        held.go.set()
        return [[face["subject"] for face in reply.result().json()["faces"]] for reply in replies]


def test_gunicorn_serves_the_same(two_workers, web, faces):
    two_workers.clear()
    assert ask_both(two_workers, web, faces["nobody"]) == [[], []]
    assert two_workers.get("/recognize", params={"image_url": web.url("/a,b.jpg", faces["nobody"])}).status_code == 200
    assert two_workers.request("PUT", "/recognize").status_code == 405
    assert two_workers.get("/nothing").status_code == 404
    assert two_workers.post("/recognize", files={"file": b"not a photo"}).status_code == 415
    pieces = (faces["nobody"][at : at + 1000] for at in range(0, len(faces["nobody"]), 1000))
    assert two_workers.post("/recognize", data=pieces).status_code == 200


def test_what_one_worker_enrols_all_recognise(two_workers, web, faces):
    two_workers.clear()
    assert two_workers.enroll("Barack Obama", faces["obama"]).status_code == 201
    two_workers.wait_for(lambda: ask_both(two_workers, web, faces["obama2"]) == [["Barack Obama"]] * 2)
    assert two_workers.request("PATCH", "/people/Barack Obama", json={"name": "Barack"}).status_code == 200
    two_workers.wait_for(lambda: ask_both(two_workers, web, faces["obama2"]) == [["Barack"]] * 2)
    two_workers.put("Joe/by hand.jpg", faces["biden"])
    two_workers.wait_for(lambda: ask_both(two_workers, web, faces["biden"]) == [["Joe"]] * 2)
    assert two_workers.request("DELETE", "/people/Barack").status_code == 200
    two_workers.wait_for(lambda: ask_both(two_workers, web, faces["obama2"]) == [[None]] * 2)
    assert two_workers.files() == ["Joe/by hand.jpg"]
