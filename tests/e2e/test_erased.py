"""Erased means erased: after a whole life with cameras, a broker and readers, no byte about the person is left anywhere."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from recognizer.core.vault import create_key_file, new_key

from ..brokers import MISSING, MOSQUITTO, Broker, Listener
from .homes import NOTHING_LEFT, cli, every_byte
from .serving import Server

FIRST, LAST = "Ada Zebulon", "Ada Quuxworth"


@pytest.fixture
def broker(tmp_path):
    if MOSQUITTO is None:
        pytest.skip(MISSING)
    with Broker(tmp_path / "broker", password="s3cret") as broker:
        yield broker


@pytest.fixture
def listener(broker):
    listener = Listener(broker)
    yield listener
    listener.close()


def piece(data: bytes) -> bytes:
    """Part of a picture's compressed pixels, which no other picture has."""
    middle = len(data) // 2
    return data[middle : middle + 48]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_no_byte_is_left_of_somebody_who_is_erased_during_a_visit(tmp_path, faces, stage, broker, listener, encrypted):
    stage.hold(None)
    server = Server(
        tmp_path / "home",
        camera_allow="127.0.0.1",
        strangers="cameras",
        sightings="all",
        event_scenes=True,
        event_shown_seconds=0.3,
        event_unknown_seconds=1,
        event_left_seconds=1,
        mqtt_url=f"mqtt://{broker.user}:{broker.password}@127.0.0.1:{broker.port}",
    )
    pictures: list[bytes] = [faces["collins"]]
    try:
        server.start()
        server.post("/cameras", data={"source": stage.url(), "name": "Door", "always": "1"})
        _camera_is_on(server)
        # a stranger at first
        stage.hold(faces["collins"])
        server.wait_for(lambda: _kinds(server, "unknown") and server.get("/strangers").json()["total"] == 1)
        # enrolled, recognised and renamed while at the camera
        server.enroll(FIRST, faces["collins"])
        server.enroll("Bob Other", faces["biden"])
        server.wait_for(lambda: FIRST in _subjects(server))
        server.request("PATCH", f"/people/{FIRST}", data={"name": LAST, "consent": "signed by Quuxworth"})
        server.wait_for(lambda: FIRST not in _subjects(server))
        rule = {"people": [LAST, "Bob Other"], "action": "mqtt", "topic": "home/hall/set", "payload": "ON"}
        assert server.post("/rules", json=rule).status_code == 201
        # a photo archive, grouped
        archive = tmp_path / "archive"
        archive.mkdir()
        for name in ("collins", "biden"):
            (archive / f"{name}.jpg").write_bytes(faces[name])
        cli(server, "group", str(archive), "--out", str(tmp_path / "sheet.html"))
        if encrypted:
            server.stop()
            key = tmp_path / "key"
            create_key_file(key, [new_key()])
            cli(server, "encryption", "init", "--key-file", str(key))
            server.start(encryption_key_file=key)
            _camera_is_on(server)
        server.wait_for(lambda: _is_there(server, LAST))
        photos = [each["id"] for each in server.get(f"/people/{LAST}").json()["photos"]]
        cli(server, "people", "export", LAST, "--to", str(tmp_path / "theirs.zip"))
        with zipfile.ZipFile(tmp_path / "theirs.zip") as export:
            templates = json.loads(export.read("templates.json"))
            names = [name for name in export.namelist() if name.endswith(".jpg")]
            pictures += [export.read(name) for name in names]
        theirs = [piece(picture) for picture in pictures]
        vectors = [np.array(each["vector"], "<f4").tobytes()[:64] for each in templates]
        held = every_byte(server.state, server.known_faces)
        if not encrypted:  # otherwise the search below could find nothing
            assert all(vector in held for vector in vectors) and all(part in held for part in theirs[:1])
            assert LAST.encode() in held
        # erased while at the camera
        done = server.request("DELETE", f"/people/{LAST}").json()
        assert done.get("left") == NOTHING_LEFT and done["photos"] == 1, json.dumps(done)
        stage.hold(None)
        server.wait_for(lambda: _events(server)[-1]["kind"] == "left")
        held = every_byte(server.state, server.known_faces)
        for what in (FIRST, LAST, "Zebulon", "Quuxworth"):
            assert what.encode() not in held, what
        assert not [photo for photo in photos if photo.encode() in held]
        assert not [number for number, part in enumerate(theirs) if part in held]
        assert not [number for number, vector in enumerate(vectors) if vector in held]
        assert not {FIRST, LAST} & set(_subjects(server))
        assert [each["people"] for each in server.get("/rules").json()["rules"]] == [["Bob Other"]]
        assert server.get("/health").json()["retention"]["pending"] == 0
        assert b"Bob Other" in held
        # and at the broker
        late = Listener(broker)
        try:
            server.wait_for(late.held)
            for topic, payload in late.held().items():
                assert b"Quuxworth" not in payload and b"Zebulon" not in payload, topic
                assert "Quuxworth" not in topic and "Zebulon" not in topic
                assert not [part for part in theirs if part in payload], topic
        finally:
            late.close()
        server.stop()
        held = every_byte(server.state, server.known_faces)
        assert b"Quuxworth" not in held and b"Zebulon" not in held
    finally:
        server.__exit__()


def _events(server: Server) -> list[dict]:
    return server.get("/events?format=json&limit=1000").json()["events"]


def _kinds(server: Server, kind: str) -> list[dict]:
    return [event for event in _events(server) if event["kind"] == kind]


def _subjects(server: Server) -> list[str | None]:
    return [event.get("subject") for event in _events(server)]


def _is_there(server: Server, name: str) -> bool:
    """Whether somebody came, and has not left yet."""
    about = [event["kind"] for event in _events(server) if event.get("subject") == name]
    return bool(about) and about[-1] == "appeared"


def _camera_is_on(server: Server) -> None:
    server.wait_for(lambda: _events(server)[-1:] and _events(server)[-1]["kind"] == "camera_live")
