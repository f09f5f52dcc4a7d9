"""The routes of cameras on a real server, and that nothing of a camera outlives it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.streams import clip

from .serving import Server, code

SECRET = "s3cretpassword"


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    clip(folder / "clip.mp4", 50)
    return folder


@pytest.fixture
def server(tmp_path, clips):
    with Server(tmp_path, camera="test:320x240@10", camera_files=clips, camera_allow="lan,127.0.0.1") as server:
        yield server


def test_adding_changing_and_removing(server):
    listed = server.get("/cameras").json()["cameras"]
    assert [each["id"] for each in listed] == ["default"]
    assert listed[0] | {"state": None} == {
        "id": "default",
        "name": "Camera",
        "source": "test:320x240@10",
        "kind": "pattern",
        "always": False,
        "group": "default",
        "fixed": True,
        "node": None,
        "state": None,
        "turn_wanted": 0,
        "fps": 0.0,
        "frames": {"read": 0, "dropped": 0, "broken": 0, "connects": 0},
    }
    assert listed[0]["state"]["name"] == "idle" and listed[0]["state"]["reason"] is None
    url = f"rtsp://admin:{SECRET}@192.168.1.9/main?token={SECRET}"
    reply = server.post("/cameras", json={"source": url, "name": "Front door", "always": False})
    assert reply.status_code == 201 and reply.json()["id"] == "front-door"
    assert reply.json()["source"] == "rtsp://***@192.168.1.9/main?token=***"
    assert server.get("/cameras/front-door").json() == reply.json()
    reply = server.request("PATCH", "/cameras/front-door", data={"name": "Hall", "source": "clip.mp4"})
    assert reply.status_code == 200 and (reply.json()["name"], reply.json()["source"]) == ("Hall", "clip.mp4")
    server.post("/cameras", data={"source": "1"})
    server.restart()
    assert [each["name"] for each in server.get("/cameras").json()["cameras"]] == ["Camera", "Hall", "Camera 1"]
    file = server.state / "cameras.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert server.get("/cameras").json()["removed"] == []
    assert server.request("DELETE", "/cameras/front-door").json() == {"deleted": "front-door"}
    assert server.get("/cameras").json()["removed"] == [{"id": "front-door", "name": "Hall"}]
    assert code(server.get("/cameras/front-door")) == "camera_not_found"
    assert SECRET not in server.log()


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({}, 400, "invalid_parameter"),
        ({"source": ""}, 400, "invalid_parameter"),
        ({"source": f"ftp://u:{SECRET}@x/"}, 400, "invalid_source"),
        ({"source": f"rtsp://u:{SECRET}@x:99999/"}, 400, "invalid_source"),
        ({"source": f"rtsp://u:{SECRET}@169.254.169.254/"}, 400, "address_refused"),
        ({"source": f"http://u:{SECRET}@[::1]/"}, 400, "address_refused"),
        ({"source": "/etc/passwd"}, 400, "invalid_source"),
        ({"source": "../x.mp4"}, 400, "invalid_source"),
        ({"source": "/dev/v4l/by-id/x"}, 400, "invalid_source"),
        ({"source": "test:", "name": "camera"}, 409, "name_taken"),
        ({"source": "test:", "name": "x" * 200}, 400, "invalid_parameter"),
        ({"source": "test:", "always": "perhaps"}, 400, "invalid_parameter"),
        ({"source": "test:", "nmae": "x"}, 400, "invalid_parameter"),
    ],
)
def test_what_cannot_be_added(reader, fields, status, error):
    reply = reader.post("/cameras", json=fields)
    assert (reply.status_code, code(reply)) == (status, error), reply.text
    assert SECRET not in reply.text + reader.log()


def test_what_cannot_be_changed(reader):
    for method, path, fields, status, error in [
        ("PATCH", "/cameras/default", {"name": "x"}, 409, "camera_fixed"),
        ("DELETE", "/cameras/default", {}, 409, "camera_fixed"),
        ("PATCH", "/cameras/nobody", {"name": "x"}, 404, "camera_not_found"),
        ("PATCH", "/cameras/default", {}, 400, "invalid_parameter"),
        ("DELETE", "/cameras/nobody", {}, 404, "camera_not_found"),
        ("GET", "/cameras/nobody", {}, 404, "camera_not_found"),
        ("PUT", "/cameras/default", {}, 405, "method_not_allowed"),
    ]:
        reply = reader.request(method, path, data=fields)
        assert (reply.status_code, code(reply)) == (status, error), (method, path, reply.text)


def test_a_setting_that_names_no_camera_is_said_at_the_start(tmp_path):
    server = Server(tmp_path, camera=f"ftp://u:{SECRET}@x/")
    with pytest.raises(AssertionError):
        server.start()
    assert "RECOGNIZER_CAMERA" in server.log() and SECRET not in server.log()
    server.process = None
