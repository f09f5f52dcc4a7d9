"""The routes of cameras on a real server, and that nothing of a camera outlives it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import simplejpeg

from recognizer.video.sources import pattern
from tests.streams import clip

from .serving import Server, code
from .watching import Stream

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


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A server for several tests, each of which adds the camera that it needs and removes it."""
    with Server(tmp_path_factory.mktemp("kept"), camera="test:320x240@10") as server:
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
        "fixed": False,
        "node": None,
        "state": None,
        "turn_wanted": 0,
        "zones": [],
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


def test_the_camera_of_the_setting_is_changed_removed_and_made_again(server):
    reply = server.request("PATCH", "/cameras/default", json={"name": "Hall", "always": False})
    assert (reply.status_code, reply.json()["name"], reply.json()["source"]) == (200, "Hall", "test:320x240@10")
    assert server.request("PATCH", "/cameras/default", json={"source": "clip.mp4"}).json()["source"] == "clip.mp4"
    server.restart()
    assert server.get("/cameras/default").json()["source"] == "clip.mp4"
    assert server.request("DELETE", "/cameras/default").json() == {"deleted": "default"}
    assert server.get("/cameras").json() == {"cameras": [], "removed": [{"id": "default", "name": "Hall"}]}
    assert code(server.get("/stream")) == code(server.request("PATCH", "/cameras/default", json={"name": "x"}))
    assert server.request("PATCH", "/cameras/default", json={"source": "test:320x240@10"}).json()["id"] == "default"
    with Stream(server.port, "/stream") as watching:
        assert watching.part().jpeg


SETTINGS = {
    "zones": [{"name": "Entrance", "points": [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]}],
    "masks": [{"points": [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.0, 0.5]]}],
    "schedule": [{"days": ["mon", "sun"], "from": "22:00", "to": "06:00"}],
    "events": False,
    "min_face": 40,
    "stranger_rate": 0.001,
    "unknown_quality": 0.25,
}


def test_settings_of_a_camera_are_kept_until_it_is_removed_and_masks_are_black_at_once(kept):
    server = kept
    server.post("/cameras", json={"source": "test:320x240@10", "name": "Door"})
    plain = server.get("/cameras/door/settings").json()
    assert plain == {**dict.fromkeys(SETTINGS), "zones": [], "masks": [], "schedule": [], "events": True}
    with Stream(server.port, "/cameras/door/stream?overlay=none") as watching:
        bright = next(part for part in watching.parts(40) if pattern.read(part.pixels()))
        assert bright.pixels()[:100].mean() > 30
        reply = server.request("PUT", "/cameras/door/settings", json=SETTINGS)
        assert (reply.status_code, reply.json()) == (200, SETTINGS)
        assert any(part.pixels()[:100].mean() < 3 for part in watching.parts(40))
    raw = server.get("/cameras/door/snapshot.jpg?raw=1").content
    assert simplejpeg.decode_jpeg(raw)[:100].mean() < 3
    server.restart()
    assert server.get("/cameras/door/settings").json() == SETTINGS
    assert server.get("/cameras/default/settings").json() == plain
    form = {"masks": '[{"points": [[0, 0], [1, 0], [1, 1]]}]', "events": "1"}
    reply = server.request("PUT", "/cameras/door/settings", data=form)
    assert reply.json() == plain | {"masks": [{"points": [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]}]}
    server.request("DELETE", "/cameras/door")
    server.post("/cameras", json={"source": "test:", "name": "Door"})
    assert server.get("/cameras/door/settings").json() == plain
    server.request("DELETE", "/cameras/door")
    lines = server.get("/audit?action=camera_settings").json()["lines"]
    assert [line["details"]["camera"] for line in lines] == ["door", "door"]


def test_a_wall_has_the_newest_pictures_of_every_camera_in_one_reply(kept):
    server = kept
    server.post("/cameras", json={"source": "test:320x240@10", "name": "Door"})
    with Stream(server.port, "/wall?cameras=default,door&width=160&overlay=none") as watching:
        assert watching.begin().headers["content-type"] == "multipart/mixed; boundary=frame"
        assert watching.headers["x-cameras"] == "default,door"
        seen = {"default": [], "door": []}
        for part in watching.parts(seconds=40):
            read = pattern.read(part.pixels())
            assert read is None or part.pixels().shape == (120, 160, 3)  # else it is a card
            seen[part.headers["x-camera"]] += [read[0]] if read else []
            if min(map(len, seen.values())) >= 3:
                break
        assert all(numbers == sorted(set(numbers)) and len(numbers) >= 3 for numbers in seen.values())
        assert server.get("/health").json()["video"] == {"viewers": 2, "running": ["default", "door"]}
        server.request("DELETE", "/cameras/door")
        assert {part.headers["x-camera"] for part in list(watching.parts(20))[10:]} == {"default"}
        server.request("DELETE", "/cameras/default")
        assert watching.ends()


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
        ("PATCH", "/cameras/nobody", {"name": "x"}, 404, "camera_not_found"),
        ("PATCH", "/cameras/default", {}, 400, "invalid_parameter"),
        ("DELETE", "/cameras/nobody", {}, 404, "camera_not_found"),
        ("GET", "/cameras/nobody", {}, 404, "camera_not_found"),
        ("PUT", "/cameras/default", {}, 405, "method_not_allowed"),
        ("GET", "/cameras/nobody/settings", {}, 404, "camera_not_found"),
        ("PUT", "/cameras/nobody/settings", {}, 404, "camera_not_found"),
        ("PUT", "/cameras/default/settings", {"min_face": "3"}, 400, "invalid_parameter"),
        ("PUT", "/cameras/default/settings", {"zones": "here"}, 400, "invalid_parameter"),
        ("PUT", "/cameras/default/settings", {"masks": '{"points": []}'}, 400, "invalid_parameter"),
        ("PUT", "/cameras/default/settings", {"schedule": '[{"days": "mon"}]'}, 400, "invalid_parameter"),
        ("PUT", "/cameras/default/settings", {"events": "perhaps"}, 400, "invalid_parameter"),
        ("GET", "/wall", {}, 400, "invalid_parameter"),
        ("GET", "/wall?cameras=,", {}, 400, "invalid_parameter"),
        ("GET", "/wall?cameras=default,nobody", {}, 404, "camera_not_found"),
        ("GET", "/wall?cameras=default&width=3", {}, 400, "invalid_parameter"),
    ]:
        reply = reader.request(method, path, data=fields)
        assert (reply.status_code, code(reply)) == (status, error), (method, path, reply.text)


def test_a_setting_that_names_no_camera_is_said_at_the_start(tmp_path):
    server = Server(tmp_path, camera=f"ftp://u:{SECRET}@x/")
    with pytest.raises(AssertionError):
        server.start()
    assert "RECOGNIZER_CAMERA" in server.log() and SECRET not in server.log()
    server.process = None
