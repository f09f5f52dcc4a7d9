"""Groups over HTTP and on the command line, by this server's own routes and by Azure Face's dialect, on one server."""

from __future__ import annotations

import json

import pytest
import requests

from .serving import IN_FOLDER_AND_DATABASE, Server

FACE = "/face/v1.0"
PHOTO = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, faces, people_in):
    with Server(tmp_path_factory.mktemp("groups"), embedder="sface", **people_in) as server:
        assert server.enroll("Barack Obama", faces["obama"]).status_code == 201
        yield server


def ask(server: Server, method: str, path: str, **how) -> requests.Response:
    return requests.request(method, server.url + path, timeout=60, **how)


def azure(server: Server, method: str, path: str, status: int = 200, **how):
    reply = ask(server, method, FACE + path, **how)
    assert reply.status_code == status, reply.text
    return reply.json()


def code(shown: dict) -> str:
    return shown["error"]["code"]


def detected(server: Server, photo: bytes, **parameters) -> list[dict]:
    return azure(server, "POST", "/detect", data=photo, headers=PHOTO, params=parameters)


# -- this server's own routes --------------------------------------------------------------------------------------------


@IN_FOLDER_AND_DATABASE
def test_a_group_by_http_and_by_the_command_line(server, faces, tmp_path):
    made = ask(server, "POST", "/groups", data={"name": "Night shift"})
    assert made.status_code == 201
    assert made.json() == {"name": "Night shift", "default": False, "people": 0, "templates": 0, "problems": 0}
    again = ask(server, "POST", "/groups", data={"name": "night shift"})
    assert again.status_code == 409 and code(again.json()) == "group_taken"
    bad = ask(server, "POST", "/groups", data={"name": "a/b"})
    assert bad.status_code == 400 and code(bad.json()) == "invalid_group"
    done = ask(server, "POST", "/enroll", files={"file": faces["biden"]}, data={"subject": "Joe", "group": "Night shift"})
    assert done.status_code == 201, done.text
    for group, names in (("Night shift", [None, "Joe", None]), (None, ["Barack Obama", None, None])):
        data = {} if group is None else {"group": group}
        found = ask(server, "POST", "/recognize", files={"file": faces["trio"]}, data=data).json()["faces"]
        assert [each["subject"] for each in sorted(found, key=lambda each: each["box"]["left"])] == names
    person = ask(server, "GET", "/people/Joe", params={"group": "Night shift"}).json()
    picture = ask(server, "GET", person["photos"][0]["thumbnail"])
    assert picture.status_code == 200 and picture.headers["Content-Type"] == "image/jpeg"
    same = ask(server, "POST", "/verify", files={"file": faces["biden"]}, data={"subject": "Joe", "group": "Night shift"})
    assert same.json()["same"] is True
    for path in ("/people", "/people/Joe", "/groups/nobody"):
        missing = ask(server, "GET", path, params={} if "groups" in path else {"group": "nobody"})
        assert missing.status_code == 404 and code(missing.json()) == "group_not_found"
    listed = json.loads(server.cli("--json", "groups").stdout)["groups"]
    assert [(each["name"], each["people"]) for each in listed] == [("default", 1), ("Night shift", 1)]
    assert ask(server, "GET", "/groups").json()["groups"] == listed
    renamed = ask(server, "PATCH", "/people/Joe", params={"group": "Night shift"}, data={"name": "Joe Biden"})
    assert renamed.json()["name"] == "Joe Biden"
    people = json.loads(server.cli("--json", "people", "--group", "Night shift").stdout)["people"]
    assert [each["name"] for each in people] == ["Joe Biden"]
    assert ask(server, "DELETE", "/people/Joe Biden", params={"group": "Night shift"}).json()["photos"] == 1
    (tmp_path / "Ada").mkdir()
    (tmp_path / "Ada" / "1.jpg").write_bytes(faces["collins"])
    moved = json.loads(server.cli("--json", "import", "folders", str(tmp_path), "--group", "Night shift").stdout)
    assert (moved["added"], moved["refused"]) == (1, [])
    assert ask(server, "DELETE", "/groups/Night shift").json() == {"deleted": "Night shift", "people": 1, "photos": 1}
    assert ask(server, "DELETE", "/groups/default").status_code == 409


# -- Azure Face -----------------------------------------------------------------------------------------------------------


@IN_FOLDER_AND_DATABASE
def test_the_life_of_a_person_group_outlives_a_restart(server, faces):
    azure(server, "PUT", "/persongroups/staff", json={"name": "The staff"})
    people = "/persongroups/staff/persons"
    ids = [azure(server, "POST", people, json={"name": "Joe"})["personId"] for _ in range(2)]  # two of one name
    assert [each["name"] for each in azure(server, "GET", people)] == ["Joe", "Joe"]
    if "database_url" not in server.settings:
        kept = server.known_faces / ".groups" / "staff"
        assert {folder.name for folder in kept.iterdir() if folder.is_dir()} == {"Joe", "Joe (2)"}
    face = azure(server, "POST", f"{people}/{ids[0]}/persistedfaces?userData=x", data=faces["biden"], headers=PHOTO)
    azure(server, "POST", "/persongroups/staff/train", 202)
    server.restart()
    held = azure(server, "GET", f"{people}/{ids[0]}")
    assert held == {"personId": ids[0], "name": "Joe", "userData": None, "persistedFaceIds": [face["persistedFaceId"]]}
    assert azure(server, "GET", f"{people}/{ids[0]}/persistedfaces/{face['persistedFaceId']}")["userData"] == "x"
    (seen,) = detected(server, faces["biden"])
    asked = {"faceIds": [seen["faceId"]], "personGroupId": "staff"}
    (found,) = azure(server, "POST", "/identify", json=asked)
    assert found["candidates"][0]["personId"] == ids[0] and found["candidates"][0]["confidence"] > 0.82
    azure(server, "DELETE", f"{people}/{ids[0]}")
    assert azure(server, "POST", "/identify", 400, json=asked)["error"]["code"] == "FaceNotFound"  # erased with the person
    assert code(azure(server, "GET", f"{people}/{ids[0]}", 404)) == "PersonNotFound"
    azure(server, "DELETE", "/persongroups/staff")
    assert not (server.known_faces / ".groups" / "staff").exists()


def test_a_face_among_several_and_a_photo_by_its_address(server, faces):
    azure(server, "PUT", "/largepersongroups/crew", json={"name": "Crew"})
    people = "/largepersongroups/crew/persons"
    person = azure(server, "POST", people, json={"name": "Joe"})["personId"]
    several = azure(server, "POST", f"{people}/{person}/persistedfaces", 400, data=faces["trio"], headers=PHOTO)
    assert code(several) == "InvalidImage"
    rectangles = sorted((each["faceRectangle"] for each in detected(server, faces["trio"])), key=lambda each: each["left"])
    target = ",".join(str(rectangles[1][name]) for name in ("left", "top", "width", "height"))
    added = f"{people}/{person}/persistedfaces"
    azure(server, "POST", added, data=faces["trio"], headers=PHOTO, params={"targetFace": target})
    for wrong in ("1,2,3", "a,b,c,d", "0,0,0,0"):
        refused = azure(server, "POST", added, 400, data=faces["trio"], headers=PHOTO, params={"targetFace": wrong})
        assert code(refused) == "BadArgument"
    azure(server, "POST", "/largepersongroups/crew/train", 202)
    (seen,) = detected(server, faces["biden"], faceIdTimeToLive="60")
    (found,) = azure(server, "POST", "/identify", json={"faceIds": [seen["faceId"]], "largePersonGroupId": "crew"})
    assert [each["personId"] for each in found["candidates"]] == [person]
    photo = ask(server, "GET", "/people/Barack Obama").json()["photos"][0]["url"]
    (by_url,) = azure(server, "POST", "/detect", json={"url": server.url + photo})
    verified = azure(server, "POST", "/verify", json={"faceId1": seen["faceId"], "faceId2": by_url["faceId"]})
    assert verified["isIdentical"] is False and verified["confidence"] < 0.36
    azure(server, "DELETE", "/largepersongroups/crew")


def test_what_is_not_possible_is_told_in_azures_codes(server, faces):
    nobody = {"faceIds": ["00000000-0000-0000-0000-000000000000"], "personGroupId": "default"}
    assert code(azure(server, "POST", "/identify", 400, json=nobody)) == "FaceNotFound"
    assert code(azure(server, "POST", "/verify", 404, json={"faceId1": "x", "faceId2": "y"})) == "FaceNotFound"
    (seen,) = detected(server, faces["biden"])
    asked = {"faceIds": [seen["faceId"]], "personGroupId": "nothing"}
    assert code(azure(server, "POST", "/identify", 400, json=asked)) == "PersonGroupNotFound"
    assert code(azure(server, "PUT", "/persongroups/Capitals", 400, json={"name": "x"})) == "BadArgument"
    assert code(azure(server, "PUT", "/persongroups/default", 409, json={"name": "x"})) == "PersonGroupExists"
    assert code(azure(server, "PUT", "/persongroups/fine", 400, json={})) == "BadArgument"
    assert code(azure(server, "GET", "/largefacelists/nothing", 404)) == "LargeFaceListNotFound"
    azure(server, "PUT", "/persongroups/fine", json={"name": "x"})
    untrained = {"faceIds": [seen["faceId"]], "personGroupId": "fine"}
    assert code(azure(server, "POST", "/identify", 400, json=untrained)) == "PersonGroupNotTrained"
    azure(server, "POST", "/persongroups/fine/train", 202)
    status = azure(server, "GET", "/persongroups/fine/training")
    assert status["status"] == "failed" and status["message"]
    azure(server, "DELETE", "/persongroups/fine")
    for parameters in ({"recognitionModel": "recognition_99"}, {"faceIdTimeToLive": "5"}, {"detectionModel": "x"}):
        wrong = azure(server, "POST", "/detect", 400, data=faces["biden"], headers=PHOTO, params=parameters)
        assert code(wrong) == "BadArgument"
    head = f"GET //face/v1.2/persongroups HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
    assert server.raw(head.encode())[0] == 200  # from clients of an address with a final slash
    assert ask(server, "POST", "/face/v9/detect", data=faces["biden"], headers=PHOTO).status_code == 404
    assert azure(server, "GET", "/persongroups?top=1") == [{"personGroupId": "default", "name": "default", "userData": None}]
