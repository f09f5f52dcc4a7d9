"""Backups of a running server, and what comes of them on another machine: another folder with a server of its own."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from recognizer.backup.backup_file import BackupReader
from recognizer.core.particulars import FILE as ABOUT_FILE

from .. import fuzz
from .homes import PICTURE, answers, cli, people
from .pictures import JPEG
from .serving import GUNICORN, Server, code
from .test_encryption import encrypt, fails_to_start


def vectors(server: Server) -> dict[tuple, bytes]:
    """Every template to the last bit."""
    with closing(sqlite3.connect(server.state / "encodings.sqlite")) as connection:
        rows = connection.execute("SELECT photo, engine, face, vector FROM encodings").fetchall()
    return {tuple(key): vector for *key, vector in rows}


def elsewhere(server: Server, tmp_path: Path, **settings) -> Server:
    """An installation in another folder, not started."""
    return Server(tmp_path / "another machine", **{"strangers": "all", **settings})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "backup.zip"


@pytest.mark.parametrize("way", ["command", "route", "command, stopped"])
def test_another_machine_gives_the_same_answers(inhabited, home, faces, file, tmp_path, way):
    held = vectors(home)
    if way == "command, stopped":
        told = cli(home, "backup", str(file))
    else:
        with home.start():
            if way == "route":
                reply = home.get("/backup")
                assert reply.status_code == 200 and reply.headers["Content-Type"] == "application/zip"
                assert int(reply.headers["Content-Length"]) == len(reply.content)
                assert home.request("HEAD", "/backup").content == b""
                file.write_bytes(reply.content)
            else:
                told = cli(home, "backup", str(file))
    if way != "route":
        assert (told["people"], told["photos"], told["left_out"], told["encrypted_with"]) == (3, 4, [], None)
    assert not [*home.state.glob(".backup-*")]
    there = elsewhere(home, tmp_path)
    assert cli(there, "restore", str(file), "--check")["photos"] == 4
    told = cli(there, "restore", str(file))
    assert told["audit_problems"] == [] and told["engines"]
    with there:
        assert there.get("/strangers").json()["strangers"] == inhabited.strangers
        assert there.get(inhabited.strangers[0]["thumbnail"]).content[:3] == b"\xff\xd8\xff"
        assert answers(there, faces) == inhabited.answers and vectors(there) == held and people(there) == inhabited.people
        assert there.people()["Joe"]["consent"] == "QUUXNOTE"
        assert there.get("/events/1").json()["subject"] == "Barack"
        assert there.get("/events/1/thumbnail.jpg").content == PICTURE
        assert "yard" in [each["name"] for each in there.get("/cameras").json()["cameras"]]
        photo = there.get("/people/Barack").json()["photos"][0]
        assert there.get(photo["url"]).content in (faces["obama"], faces["obama3"])
        assert cli(there, "audit", "verify")["problems"] == []
        lines = there.get("/audit").json()["lines"]
        assert [line["action"] for line in lines][-2:] == ["backup", "restore"]
        assert "setting_change" in [line["action"] for line in lines]
        assert lines[-2]["actor"] == "local" if way == "route" else lines[-2]["actor"].startswith("cli:")
        there.enroll("Eileen", faces["collins"])
        assert there.names(faces["collins"]) == ["Eileen"]


def test_an_encrypted_installation_and_its_backup(inhabited, home, faces, file, tmp_path):
    key = tmp_path / "key"
    encrypt(home, key)
    home.settings["encryption_key_file"] = key
    assert cli(home, "backup", str(file))["encrypted_with"]
    data = file.read_bytes()
    for secret in (b"Barack", b"QUUXNOTE", b"dropped", JPEG, key.read_bytes().strip(), faces["biden"][2000:2040]):
        assert secret not in data
    del home.settings["encryption_key_file"]
    there = elsewhere(home, tmp_path)
    assert cli(there, "restore", str(file), fails=1)["error"]["code"] == "key_missing"
    cli(there, "restore", str(file), encryption_key_file=key)
    assert "none is set" in fails_to_start(there)
    with there.start(encryption_key_file=key):
        assert answers(there, faces) == inhabited.answers and there.people()["Joe"]["consent"] == "QUUXNOTE"
        shown = cli(there, "encryption", "status")
        assert list(shown["photos"]) == shown["keys"]


def test_a_plain_backup_is_encrypted_where_a_key_is_set(inhabited, home, faces, file, tmp_path):
    from recognizer.core.vault import create_key_file, new_key

    key = tmp_path / "key"
    create_key_file(key, [new_key()])
    cli(home, "backup", str(file))
    there = elsewhere(home, tmp_path, encryption_key_file=key)
    cli(there, "restore", str(file))
    for root in (there.known_faces, there.state):
        for path in root.rglob("*"):
            if path.is_file():
                assert JPEG not in path.read_bytes() and b"QUUXNOTE" not in path.read_bytes(), path.name
    with there:
        assert answers(there, faces) == inhabited.answers and there.names(faces["biden"]) == ["Joe"]


def test_templates_without_photos_are_restored(faces, file, tmp_path):
    with Server(tmp_path / "home", keep_photos="off") as server:
        server.enroll("Barack", faces["obama"])
        before = answers(server, faces)
        cli(server, "backup", str(file))
    there = elsewhere(server, tmp_path, keep_photos="off", strangers="off")
    cli(there, "restore", str(file))
    with there:
        assert answers(there, faces) == before and there.names(faces["obama2"]) == ["Barack"]


def test_a_restore_refuses_what_it_must_not_touch(home, file, tmp_path):
    with home:
        cli(home, "backup", str(file))
        assert cli(home, "restore", str(file), "--replace", fails=1)["error"]["code"] == "in_use"
    assert cli(home, "restore", str(file), fails=1)["error"]["code"] == "not_empty"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    before = {path: path.read_bytes() for path in home.known_faces.rglob("*") if path.is_file()}
    assert cli(home, "restore", str(file), "--replace", fails=1)["error"]["code"] == "backup_broken"
    assert cli(home, "restore", str(file), "--check", fails=1)["error"]["code"] == "backup_broken"
    assert {path: path.read_bytes() for path in home.known_faces.rglob("*") if path.is_file()} == before
    assert cli(home, "restore", str(tmp_path / "none"), fails=1)["error"]["code"] == "storage_error"
    assert cli(home, "backup", str(tmp_path / "no" / "such.zip"), fails=1)["error"]["code"] == "storage_error"


def test_a_later_state_is_replaced_when_asked(inhabited, home, faces, file):
    cli(home, "backup", str(file))
    with home:
        home.request("DELETE", "/people/Barack")
        home.enroll("Eileen", faces["collins"])
    cli(home, "restore", str(file), "--replace")
    with home:
        assert answers(home, faces) == inhabited.answers and set(home.people()) == {"Barack", "Joe", "Nobody"}


def test_keys_come_back_and_sessions_do_not(home, file, tmp_path):
    server = home.start()
    made = cli(server, "keys", "add", "phone", "--role", "admin")
    server.always = {"headers": {"X-Api-Key": made["key"]}}
    server.wait_for(lambda: server.post("/session").status_code == 201, 5)
    gone = cli(server, "keys", "add", "old", "--role", "read")
    cli(server, "keys", "revoke", gone["id"])
    reader = cli(server, "keys", "add", "reader", "--role", "write")
    assert code(server.get("/backup", headers={"X-Api-Key": reader["key"]})) == "role_required"
    file.write_bytes(server.get("/backup").content)
    actions = [(line["actor"], line["action"]) for line in server.get("/audit").json()["lines"]]
    assert (f"key:{made['id']}", "sign_in") in actions and (f"key:{made['id']}", "backup") in actions
    assert [action for _, action in actions].count("key_add") == 3 and actions[-1][1] == "backup"
    there = elsewhere(server, tmp_path)
    cli(there, "restore", str(file))
    with closing(sqlite3.connect(there.state / "access.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (0,)
    assert (there.state / "access.sqlite").stat().st_mode & 0o777 == 0o600
    listed = {key["name"]: key["state"] for key in cli(there, "keys")["keys"]}
    assert listed == {"phone": "valid", "old": "revoked", "reader": "valid"}


@pytest.mark.parametrize("command", [None, GUNICORN + ("-w", "2")], ids=["hug", "gunicorn"])
def test_people_come_and_go_while_backups_are_made(tmp_path, faces, command):
    """Whoever is in a backup has all photos that were acknowledged before it began, and is told of in one way everywhere."""
    photos = [faces["obama"], faces["obama2"], faces["obama3"]]
    with Server(tmp_path / "home", **({} if command is None else {"command": command})) as server:
        for number in range(4):
            server.enroll(f"Stays{number}", faces["biden"], force="true")
        stop, failed = threading.Event(), []

        def live(name: str) -> None:
            while not stop.is_set():
                for photo in photos:
                    reply = server.enroll(name, photo, force="true")
                    if reply.status_code not in (200, 201):
                        failed.append(reply.text)
                reply = server.request("DELETE", f"/people/{name}")
                if reply.status_code not in (200, 404):
                    failed.append(reply.text)

        threads = [threading.Thread(target=live, args=(name,)) for name in ("Anna", "Berta")]
        for thread in threads:
            thread.start()
        found = []
        try:
            for number in range(4 * fuzz.factor()):
                file = tmp_path / f"{number}.zip"
                if number % 2:
                    cli(server, "backup", str(file))
                else:
                    file.write_bytes(server.get("/backup").content)
                found.append(held_in(file))
                time.sleep(0.3)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert failed == []
        for each in found:
            assert {f"Stays{number}" for number in range(4)} <= set(each["photos"])
            for name in ("Anna", "Berta"):
                assert all(data in photos for data in each["photos"].get(name, []))
                # of somebody who is out, nothing is left: who the audit log can name is who is there
                assert (name in each["names"]) == (name in each["photos"]), each["names"]
    there = elsewhere(server, tmp_path)
    assert cli(there, "restore", str(file))["audit_problems"] == []
    with there:
        assert set(there.people()) == set(found[-1]["photos"]) and there.get("/people").json()["problems"] == []


def held_in(file: Path) -> dict:
    """Photos of each person in a backup, and whom its audit log can name."""
    photos: dict[str, list[bytes]] = {}
    with BackupReader(file, None) as reader:
        data = {path: b"".join(reader.read(member)) for path, member in reader.members.items()}
    for path, content in data.items():
        if path.startswith("known_faces/") and not path.endswith(f"/{ABOUT_FILE}"):
            photos.setdefault(path.split("/")[1], []).append(content)
    return {"photos": photos, "names": set(json.loads(data["state/audit/names.json"]).values())}


def test_the_commands_speak_to_people(home, file):
    (home.known_faces / "stray.jpg").write_bytes(b"x")

    done = home.cli("backup", str(file))
    assert done.exit_code == 0 and "3 people with 4 photos, not encrypted" in done.stdout
    assert "left out: stray.jpg" in done.stderr and "audit log's head is" in done.stderr
    done = home.cli("restore", str(file), "--check")
    assert done.exit_code == 0 and "is whole: 3 people with 4 photos" in done.stdout
    assert home.cli("restore", str(file), "--check", "--without", "receivers").exit_code == 2
