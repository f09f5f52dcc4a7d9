"""What is kept about people, over HTTP and on the command line: the audit log, consent that expires, exports, erasure."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

import pytest

from recognizer.enrolment.cache import EncodingsCache
from recognizer.events.event_erasing import Retention
from recognizer.events.event_log import EventLog

from .homes import NOTHING_LEFT, PICTURE, cli, event, happened
from .serving import Server, code


@pytest.fixture
def fresh(tmp_path):
    """A server of its own, not started; what runs at the end is stopped."""
    server = Server(tmp_path, events_max_days=30, unknown_days=2)
    yield server
    server.__exit__()


@pytest.fixture(scope="module")
def _shared(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("kept")) as server:
        yield server


@pytest.fixture
def server(_shared):
    """A server with nobody enrolled, for tests that do not mind what was there before."""
    _shared.clear()
    return _shared


def change(server: Server, who: str, /, **fields):
    return server.request("PATCH", f"/people/{quote(who, safe='')}", data=fields)


def test_several_photos_of_one_request_or_command_are_one_line(fresh, faces, tmp_path):
    server = fresh.start()
    server.enroll("Ada", faces["obama"], faces["obama2"], faces["nobody"])
    for name in ("obama", "obama2", "obama3"):
        (tmp_path / f"{name}.jpg").write_bytes(faces[name])
    cli(server, "enroll", "Ada", *(str(tmp_path / f"{name}.jpg") for name in ("obama3", "obama")))
    cli(server, "enroll", "Bob", *(str(file) for file in tmp_path.glob("*.jpg")), "--force")
    lines = server.get("/audit").json()["lines"]
    assert [(line["action"], line["name"]) for line in lines] == [("enroll", name) for name in ("Ada", "Ada", "Bob")]
    assert [line["actor"].split(":")[0] for line in lines] == ["local", "cli", "cli"]


def test_everything_that_changes_somebody_is_in_the_audit_log(fresh, faces):
    server = fresh.start()
    before = server.get("/audit").json()
    assert before["lines"] == []
    server.enroll("Ada", faces["obama"])
    server.enroll("Ada", faces["obama"])  # known already: nothing was done
    change(server, "Ada", name="Ada L", consent="signed", expires="2090-01-01")
    server.enroll("Bob", faces["obama2"], force="true")
    change(server, "Bob", name="Ada L", merge="true")
    server.post("/cameras", data={"source": "test:", "name": "yard"})
    photo = server.get("/people/Ada%20L").json()["photos"][0]["id"]
    server.request("DELETE", f"/people/Ada%20L/photos/{photo}")
    cli(server, "people", "export", "Ada L", "--to", str(server.folder / "ada.zip"))
    assert [line["action"] for line in server.get("/audit", params={"subject": "Ada L"}).json()["lines"]] == [
        "enroll",
        "rename",
        "consent",
        "enroll",
        "merge",
        "delete_photo",
        "export",
    ]
    server.request("DELETE", "/people/Ada%20L")
    page = server.get("/audit").json()
    actions = [line["action"] for line in page["lines"]]
    assert actions == ["enroll", "rename", "consent", "enroll", "merge", "camera_add", "delete_photo", "export", "delete"]
    assert {line["name"] for line in page["lines"]} == {None}  # nobody can be named any longer
    assert page["lines"][7]["actor"].startswith("cli:") and page["lines"][0]["actor"] == "local"
    assert page["head"] == {"seq": 9, "hash": page["lines"][-1]["hash"]}
    assert [line["seq"] for line in server.get("/audit?after=2&limit=2").json()["lines"]] == [3, 4]
    assert [line["seq"] for line in server.get("/audit?action=delete,export").json()["lines"]] == [8, 9]
    assert cli(server, "audit", "verify")["lines"] == 9
    assert [line["seq"] for line in cli(server, "audit", "show", "--limit", "2")["lines"]] == [8, 9]
    log = server.state / "audit" / "000000000001.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"export"', b'"enroll"'))
    assert cli(server, "audit", "verify", fails=1)["error"]["code"] == "audit_broken"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "before=x", "who=x"])
def test_questions_about_the_audit_log_that_make_no_sense(writer, query):
    reply = writer.get(f"/audit?{query}")
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")


def test_an_export_holds_everything_about_a_subject_and_nobody_else(fresh, faces):
    server = fresh
    number = happened(
        server, [event("unknown", None), event(replaces=1), event(subject="Bob")], [PICTURE, PICTURE + b"2", b"x"]
    )
    server.start()
    server.enroll("Ada", faces["obama"], faces["obama2"])
    server.enroll("Bob", faces["biden"])
    change(server, "Ada", consent="signed on paper, 2026-11-01")
    to = server.folder / "ada.zip"
    said = cli(server, "people", "export", "ada".title(), "--to", str(to))
    assert (said["photos"], said["thumbnails"], said["templates"], said["event_pictures"]) == (2, 2, 2, 2)
    assert to.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(to) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    photos = [data for name, data in held.items() if name.startswith("photos/")]
    assert sorted(photos) == sorted([faces["obama"], faces["obama2"]])
    assert [each["id"] for each in json.loads(held["events.json"])][:2] == [number - 2, number - 1]
    assert held[f"events/{number - 1}.jpg"] == PICTURE + b"2"
    templates = json.loads(held["templates.json"])
    assert all(len(each["vector"]) == server.get("/health").json()["engine"]["dim"] for each in templates)
    assert json.loads(held["consent.json"]) == {"consent": "signed on paper, 2026-11-01", "expires": None}
    assert [line["action"] for line in json.loads(held["audit.json"])] == ["enroll", "consent", "export"]
    assert not any(b"Bob" in data for data in held.values())
    assert cli(server, "people", "export", "Nobody", "--to", str(to), fails=1)["error"]["code"] == "subject_not_found"
    assert cli(server, "people", "export", "Ada", "--to", "/nowhere/x.zip", fails=1)["error"]["code"] == "storage_error"


def test_an_erasure_reaches_events_that_another_process_writes(server, faces):
    server.enroll("Ada", faces["obama"])
    server.get("/events?format=json")  # from here on the server writes the events
    log = EventLog(server.state / "events")
    assert not log.writable
    log.close()
    done = cli(server, "people", "delete", "Ada", "--yes")
    assert done["left"] == NOTHING_LEFT


def test_what_is_left_of_a_folder_that_was_deleted_by_hand_can_be_erased(fresh):
    happened(fresh, [event()], [PICTURE])
    server = fresh.start()
    assert server.request("DELETE", "/people/Ada").json()["photos"] == 0
    assert server.request("DELETE", "/people/Ada").status_code == 404
    assert b"Ada" not in b"".join(path.read_bytes() for path in server.state.rglob("*.json*"))


def test_nobody_is_matched_with_whose_consent_expired(server, faces):
    server.enroll("Ada", faces["obama"])
    soon = (datetime.now(timezone.utc) + timedelta(seconds=3)).isoformat()
    shown = change(server, "Ada", consent="for a day", expires=soon).json()
    assert shown["consent"] == "for a day" and not shown["expired"]
    assert server.names(faces["obama2"]) == ["Ada"]
    server.wait_for(lambda: server.names(faces["obama2"]) == [None])
    assert server.people()["Ada"]["expired"] and server.get("/health").json()["retention"]["expired"] == 1
    reply = server.post("/verify", files={"file": faces["obama2"]}, data={"subject": "Ada"})
    assert code(reply) == "subject_not_found"
    server.enroll("Ada", faces["obama3"])
    assert server.names(faces["obama2"]) == [None]
    server.restart()
    assert server.names(faces["obama2"]) == [None] and server.people()["Ada"]["photos"] == 2
    cli(server, "people", "consent", "Ada", "--expires", "2090-12-31")  # and the server notices
    server.wait_for(lambda: server.names(faces["obama2"]) == ["Ada"])
    shown = change(server, "Ada", expires="none", consent="none").json()
    assert (shown["consent"], shown["expires"]) == (None, None)
    assert not (server.known_faces / "Ada" / ".consent.json").exists()


def test_after_the_grace_they_are_erased(fresh, faces):
    server = fresh.start()
    server.enroll("Ada", faces["obama"])
    server.enroll("Bob", faces["biden"])
    change(server, "Ada", expires="2020-01-01")
    assert server.names(faces["obama2"]) == [None] and "Ada" in server.people()
    server.restart(expiry_grace_days=0)
    server.wait_for(lambda: list(server.people()) == ["Bob"])
    server.wait_for(lambda: server.get("/health").json()["retention"]["erased"] == 1)  # events and names are erased last
    line = server.get("/audit").json()["lines"][-1]
    assert (line["action"], line["actor"]) == ("delete", "retention")


def test_merged_people_have_the_earlier_expiry(server, faces):
    server.enroll("Ada", faces["obama"])
    server.enroll("Bob", faces["biden"])
    change(server, "Ada", expires="2020-01-01", consent="one")
    change(server, "Bob", expires="2090-01-01", consent="two")
    shown = change(server, "Ada", name="Bob", merge="true").json()
    assert (shown["expires"], shown["consent"], shown["expired"]) == ("2020-01-01", "two\none", True)
    assert server.names(faces["obama2"]) == server.names(faces["biden"]) == [None]


@pytest.mark.parametrize("expires", ["soon", "2026-13-01", "2026-02-30", "26-01-01", "9999-12-31", "x" * 1000])
def test_expiries_that_make_no_sense(server, faces, expires):
    server.enroll("Ada", faces["obama"])
    reply = change(server, "Ada", name="Eve", expires=expires)
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter") and list(server.people()) == ["Ada"]


def test_a_note_that_cannot_be_read_is_a_problem(server, faces):
    server.enroll("Ada", faces["obama"])
    (server.known_faces / "Ada" / ".consent.json").write_text("{")
    found = server.wait_for(lambda: server.get("/people").json()["problems"])
    assert [each["code"] for each in found] == ["consent_unreadable"]


def test_events_of_unknown_people_go_sooner(fresh):
    server = fresh
    happened(
        server,
        [event("unknown", None, 5), event("appeared", "Ada", 5), event("unknown", None, 1), event("unknown", None, 5)],
        [PICTURE] * 4,
    )
    server.start()

    def old() -> list[int]:
        return [each["id"] for each in server.get("/events?format=json").json()["events"] if each["id"] <= 4]

    server.wait_for(lambda: old() == [2, 3])
    assert server.get("/events/1/thumbnail.jpg").status_code == server.get("/events/4/thumbnail.jpg").status_code == 404
    assert server.get("/events/3/thumbnail.jpg").content == PICTURE
    server.restart()
    assert old() == [2, 3]


def test_the_id_of_a_purged_event_is_not_given_again(tmp_path):
    retention = Retention(unknown_days=2)
    log = EventLog(tmp_path / "events", retention)
    log.append([event("unknown", None, 5), event("unknown", None, 5)], [PICTURE, PICTURE])
    log.purge()
    assert log.read(0, 10) == [] and log.last == 2 and log.thumbnail(2) is None
    log.close()
    log = EventLog(tmp_path / "events", retention)
    assert log.append([event()]) == 3
    log.close()


def test_events_go_also_where_none_are_made_any_more(fresh):
    happened(fresh, [event("unknown", None, 1.5), event()], [PICTURE] * 2)
    server = fresh.start(events="off", unknown_days=1)
    server.wait_for(lambda: server.get("/health").json()["retention"]["purged_events"])


def test_erasing_somebody_erases_what_was_worked_out_from_the_same_photos(server, faces, tmp_path):
    """`group` and `evaluate` keep templates and thumbnails by what a photo holds."""
    server.enroll("Ada", faces["collins"])
    server.enroll("Bob", faces["biden"])
    (tmp_path / "pictures").mkdir()
    for name in ("collins", "biden"):
        (tmp_path / "pictures" / f"{name}.jpg").write_bytes(faces[name])
    cli(server, "group", str(tmp_path / "pictures"), "--out", str(tmp_path / "out"))
    (server.state / "evaluation.sqlite").write_bytes((server.state / "archive.sqlite").read_bytes())
    ids = {each: server.get(f"/people/{each}").json()["photos"][0]["id"] for each in ("Ada", "Bob")}

    def rows(photo: str) -> list[int]:
        caches = [EncodingsCache(server.state / f"{name}.sqlite") for name in ("archive", "evaluation")]
        try:
            return [cache.rows_about([photo]) for cache in caches]
        finally:
            for cache in caches:
                cache.close()

    assert all(found >= 3 for each in ids.values() for found in rows(each))
    assert server.request("DELETE", "/people/Ada").json()["left"]["cache_rows"] == 0
    assert rows(ids["Ada"]) == [0, 0] and min(rows(ids["Bob"])) >= 3
    assert server.request("DELETE", f"/people/Bob/photos/{ids['Bob']}").status_code == 200
    assert rows(ids["Bob"]) == [0, 0]
    for name in ("archive", "evaluation"):
        assert not [photo for photo in ids.values() if photo.encode() in (server.state / f"{name}.sqlite").read_bytes()]
