"""What can be seen of a running server from outside: metrics, logs, and whether it lives and is ready."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from recognizer.core.metrics import METRICS, PROCESS_METRICS

from .. import template
from .serving import GUNICORN, HUG, Server, code, environment


def metrics(server: Server) -> dict[tuple, float]:
    reply = server.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def lines(server: Server) -> list[dict]:
    """Every line of the server's log: each has to be an object. What gunicorn says of itself is its own affair."""
    own = [line for line in server.log().splitlines() if server.command != GUNICORN or not line.startswith("[")]
    return [json.loads(line) for line in own]


@pytest.fixture(scope="module", params=[HUG, GUNICORN], ids=["hug", "gunicorn"])
def server(request, tmp_path_factory, faces):
    server = Server(tmp_path_factory.mktemp("seen"), request.param, log="json")
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        yield server


def test_photos_are_counted_and_timed(server, faces):
    before = metrics(server)
    server.names(faces["trio"])
    server.names(faces["nobody"])
    assert server.post("/recognize", data=b"no photo").status_code == 415
    after = metrics(server)

    def grew(name, *labels):
        return after[(name, *labels)] - before.get((name, *labels), 0)

    route, post = ("route", "/recognize"), ("method", "POST")
    assert grew("recognizer_http_requests_total", post, route, ("status", "200")) == 2
    assert grew("recognizer_http_requests_total", post, route, ("status", "415")) == 1
    assert grew("recognizer_http_request_duration_seconds_count", route) == 3
    assert grew("recognizer_errors_total", ("code", "unsupported_image")) == 1
    assert grew("recognizer_faces_found_total") == 3
    assert grew("recognizer_faces_matched_total") == 1
    assert grew("recognizer_faces_strangers_total") == 2
    for stage in ("decode", "detect", "embed", "match", "queue"):
        assert grew("recognizer_stage_duration_seconds_count", ("stage", stage)) >= 1
    assert after[("recognizer_gallery_subjects",)] == after[("recognizer_gallery_templates",)] == 1
    assert after[("recognizer_ready",)] == 1
    assert after[("recognizer_queue_inside",)] == 0 and after[("recognizer_queue_capacity",)] > 1
    # the one that asks; one that was answered counts until its thread has put it away
    server.wait_for(lambda: metrics(server)[("recognizer_http_requests_active",)] == 1)
    assert after["recognizer_disk_free_bytes", ("folder", "known_faces")] > 0


def test_only_what_is_defined_is_told_and_labels_stay_few(server, faces):
    for number in range(30):
        server.get(f"/nothing/{number}")
        server.get(f"/people/Nobody {number}")
        server.get(f"/people/Nobody {number}/photos/{number}")
        server.request(f"BREW{number}", "/people")
    told = metrics(server)
    defined = {each.name.removesuffix("_total") for each in (*METRICS, *PROCESS_METRICS)}
    for key in told:
        name = key[0]
        for ending in ("_total", "_bucket", "_sum", "_count"):
            name = name.removesuffix(ending) if name.removesuffix(ending) in defined else name
        assert name in defined, key
    assert "Nobody" not in str(told) and "BREW" not in str(told)
    assert len({dict(key[1:]).get("route") for key in told}) < 30


def test_every_line_of_the_log_is_an_object_with_the_requests_id(server, faces):
    reply = server.get("/people/Barack Obama", headers={"X-Request-Id": "asked-by-me.1"})
    assert reply.headers["X-Request-Id"] == "asked-by-me.1"
    refused = server.get("/people/Nobody?image_url=http://user:hunter2@host/", headers={"X-Request-Id": "bad id!"})
    assert refused.headers["X-Request-Id"] not in ("", "bad id!")
    other = server.post("/recognize", data=faces["nobody"])
    server.wait_for(lambda: other.headers["X-Request-Id"] in server.log())
    found = {line.get("request_id"): line for line in lines(server) if line["logger"] == "recognizer.access"}
    line = found["asked-by-me.1"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/people/{person}", 200)
    assert line["ms"] > 0 and line["bytes"] == len(reply.content)
    assert found[refused.headers["X-Request-Id"]]["error"] == "invalid_parameter"
    assert found[other.headers["X-Request-Id"]]["route"] == "/recognize"
    for secret in ("Barack", "hunter2", "Nobody"):
        assert secret not in server.log()


def test_it_lives_and_is_ready(server):
    assert server.get("/health/live").json() == {"live": True}
    assert server.get("/health/ready").json() == {"ready": True}
    assert all(line.get("route") != "/health/live" for line in lines(server))  # probes are no news


def test_requests_refused_before_they_are_read_are_counted(tmp_path, faces):
    with Server(tmp_path) as server:
        status, headers, _ = server.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
        assert status == 431
        told = metrics(server)
        key = ("recognizer_http_requests_total", ("method", "OTHER"), ("route", "unread"), ("status", "431"))
        assert told[key] == 1
        server.wait_for(lambda: metrics(server)[("recognizer_http_requests_active",)] == 1)  # the one that asks


def test_while_it_loads_it_lives_and_says_that_it_is_not_ready(tmp_path, faces):
    """Thirty photos have to be encoded first: long enough to ask, however quick the machine."""
    server = Server(tmp_path, log="json", workers=1)
    for number in range(30):
        server.put(f"Person {number}/one.jpg", faces["trio"] + bytes(number))
        server.put(f"Person {number}/two.jpg", faces["obama"] + bytes(number))
    seen = {"live": set(), "ready": set(), "people": set()}

    def ask():
        while server.url == "" and server.process is None or not _listening(server):
            time.sleep(0.01)
        port = _listening(server)
        while True:
            ready = requests.get(f"http://127.0.0.1:{port}/health/ready", timeout=10)
            seen["ready"].add(ready.status_code)
            if ready.status_code == 200:
                return
            error = ready.json()["error"]
            assert error["code"] == "not_ready" and error["reasons"] and ready.headers["Retry-After"]
            seen["live"].add(requests.get(f"http://127.0.0.1:{port}/health/live", timeout=10).status_code)
            refused = requests.get(f"http://127.0.0.1:{port}/people", timeout=10)
            seen["people"].add((refused.status_code, code(refused) if refused.status_code != 200 else ""))

    asking = threading.Thread(target=ask)
    asking.start()
    with server:
        asking.join(60)
        assert not asking.is_alive()
        assert seen["ready"] == {503, 200} and seen["live"] == {200}
        assert (503, "starting") in seen["people"]
        assert any(line["message"].startswith("encoding photos") for line in lines(server))


def _listening(server: Server) -> int | None:
    """The port on which the server's process listens, as the system tells: it has not said so yet."""
    if server.process is None:
        return None
    try:
        inodes = set()
        for entry in Path(f"/proc/{server.process.pid}/fd").iterdir():
            target = entry.readlink().name if entry.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                return int(parts[1].split(":")[1], 16)
    except OSError:
        pass
    return None


def test_a_folder_that_is_gone_makes_it_unready_and_not_dead(tmp_path, faces):
    with Server(tmp_path, log="json") as server:
        server.known_faces.rename(tmp_path / "elsewhere")
        reply = server.get("/health/ready")
        assert (reply.status_code, code(reply)) == (503, "not_ready")
        assert any("known_faces" in reason for reason in reply.json()["error"]["reasons"])
        assert metrics(server)[("recognizer_ready",)] == 0
        assert server.get("/health/live").status_code == 200
        (tmp_path / "elsewhere").rename(server.known_faces)
        server.wait_for(lambda: server.get("/health/ready").status_code == 200)


def test_text_for_people(tmp_path):
    with Server(tmp_path, log="text") as server:
        server.get("/people")
        server.wait_for(lambda: "GET /people 200" in server.log())
        assert "Serving on http://127.0.0.1" in server.log() and "{" not in server.log()


def test_what_keeps_it_from_starting_is_a_line_of_json_too(tmp_path):
    done = template.run(HUG, env=environment(known_faces=tmp_path, state_dir="/proc/nowhere", log="json"))
    assert done.returncode == 1
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["level"] == "critical" and "cannot start" in last["message"]
