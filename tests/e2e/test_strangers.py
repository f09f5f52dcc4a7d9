"""The strangers' inbox of a real server: a camera's stranger is there once, gets a name, and is known from then on."""

from __future__ import annotations

import pytest
from PIL import Image

from . import pictures
from .serving import Server, code
from .stages import Stage


def inbox(server: Server) -> list[dict]:
    reply = server.get("/strangers")
    assert reply.status_code == 200
    shown = reply.json()
    assert shown["on"] is True and shown["setting"] == "RECOGNIZER_STRANGERS" and shown["total"] == len(shown["strangers"])
    return shown["strangers"]


def counts(server: Server) -> dict[str, int]:
    return server.get("/health").json()["strangers"]


def happened(server: Server, kind: str, subject: str) -> bool:
    """Whether an event of this kind tells of this person."""
    return subject in server.get(f"/events?format=json&kind={kind}").text


def test_a_cameras_stranger_is_in_the_inbox_once_gets_a_name_and_is_known(tmp_path, faces):
    server = Server(
        tmp_path,
        strangers="cameras",
        camera_allow="127.0.0.1",
        event_unknown_seconds=1,
        event_left_seconds=2,
    )
    server.put("Barack Obama/one.jpg", faces["obama"])
    with Stage() as camera, server:
        made = server.post("/cameras", data={"source": camera.url(), "name": "Door", "always": "1"}).json()
        camera.hold(faces["obama2"])  # who is enrolled is no stranger
        server.wait_for(lambda: happened(server, "appeared", "Barack Obama"))
        camera.hold(None)
        server.wait_for(lambda: happened(server, "left", "Barack Obama"))
        server.wait_for_strangers()
        assert inbox(server) == []
        camera.hold(faces["collins"])
        server.wait_for(lambda: inbox(server))
        before = counts(server)["offered"]
        server.wait_for(lambda: counts(server)["offered"] > before)  # she stays: that is reported again, and no other sighting
        server.wait_for_strangers()
        found = inbox(server)
        assert len(found) == 1
        shown = found[0]
        assert shown["sightings"] == 1 and shown["cameras"] == [made["id"]] and shown["resembles"] is None
        assert 1 <= len(shown["pictures"]) <= 8 and shown["thumbnail"] == shown["pictures"][0]["url"]
        assert shown["first_seen"] < shown["last_seen"]
        assert all(0 < each["quality"] <= 1 and each["camera"] == made["id"] for each in shown["pictures"])
        reply = server.get(shown["thumbnail"])
        assert reply.headers["Content-Type"] == "image/jpeg"
        assert server.names(reply.content) == [None]
        assert server.get(f"/strangers/{shown['id']}").json()["id"] == shown["id"]

        named = server.post(f"/strangers/{shown['id']}/name", json={"subject": "Eileen Collins"})
        assert named.status_code == 201, named.text
        assert named.json()["subject"] == "Eileen Collins" and named.json()["added"] >= 1
        assert inbox(server) == []
        assert not list((server.state / "strangers" / "pictures").iterdir())
        # the next frames, the events, and photos of requests know her
        server.wait_for(lambda: happened(server, "appeared", "Eileen Collins"))
        assert server.names(faces["collins"]) == ["Eileen Collins"]
        server.wait_for_strangers()
        assert inbox(server) == []
        assert counts(server)["dropped"] == 0


@pytest.fixture(scope="module")
def asked(tmp_path_factory, faces):
    """A server that keeps the strangers of requests too."""
    server = Server(tmp_path_factory.mktemp("asked"), strangers="all")
    with server:
        yield server


@pytest.fixture
def emptied(asked):
    asked.clear()
    for each in inbox(asked):
        asked.request("DELETE", f"/strangers/{each['id']}")
    return asked


def show(server: Server, photo: bytes) -> None:
    assert server.post("/recognize", data=photo).status_code == 200


def test_photos_of_requests_are_grouped_by_person(emptied, faces):
    for name in ("obama", "biden", "obama2", "collins", "obama3"):
        show(emptied, faces[name])
    emptied.wait_for(lambda: sum(len(each["pictures"]) for each in inbox(emptied)) == 5)
    found = inbox(emptied)
    assert sorted(len(each["pictures"]) for each in found) == [1, 1, 3]
    assert all(each["cameras"] == [] and each["pictures"][0]["camera"] is None for each in found)
    page = emptied.get("/strangers?offset=1&limit=1").json()
    assert page["total"] == 3 and [each["id"] for each in page["strangers"]] == [found[1]["id"]]
    # they outlive the server, under the same ids
    emptied.restart()
    assert {each["id"] for each in inbox(emptied)} == {each["id"] for each in found}


def test_naming_is_one_line_of_the_audit_log_and_enrols_different_pictures(emptied, faces):
    before = (emptied.get("/audit").json()["head"] or {"seq": 0})["seq"]
    for photo in (
        faces["obama"],
        pictures.smaller(faces["obama"], 700),
        pictures.smaller(faces["obama"], 600),
        faces["obama2"],
    ):
        show(emptied, photo)
    emptied.wait_for(lambda: [len(each["pictures"]) for each in inbox(emptied)] == [4], 30)
    named = emptied.post(f"/strangers/{(id_ := inbox(emptied)[0]['id'])}/name", json={"subject": "Barack Obama"})
    assert named.status_code == 201 and named.json()["added"] == len(named.json()["photos"]) == 2
    (line,) = emptied.get(f"/audit?after={before}").json()["lines"]
    assert (line["action"], line["name"], line["details"]) == ("enroll", "Barack Obama", {"stranger": id_})


def test_whoever_is_enrolled_by_any_way_leaves_the_inbox(emptied, faces):
    show(emptied, faces["obama2"])
    show(emptied, faces["biden"])
    emptied.wait_for(lambda: len(inbox(emptied)) == 2)
    assert emptied.enroll("Barack Obama", faces["obama"]).status_code == 201
    emptied.wait_for(lambda: len(inbox(emptied)) == 1)
    assert len(list((emptied.state / "strangers" / "pictures").iterdir())) == 1


def test_join_split_and_never(emptied, faces):
    for name in ("obama", "obama2", "biden"):
        show(emptied, faces[name])
    emptied.wait_for(lambda: sum(len(each["pictures"]) for each in inbox(emptied)) == 3)
    found = {len(each["pictures"]): each for each in inbox(emptied)}
    obama, biden = found[2], found[1]
    joined = emptied.post(f"/strangers/{obama['id']}/join", json={"other": biden["id"]})
    assert joined.status_code == 200 and joined.json()["id"] == obama["id"] and len(joined.json()["pictures"]) == 3
    assert [each["id"] for each in inbox(emptied)] == [obama["id"]]
    pictures = [biden["pictures"][0]["id"]]
    parted = emptied.post(f"/strangers/{obama['id']}/split", json={"pictures": pictures})
    assert parted.status_code == 201, parted.text
    assert [each["id"] for each in parted.json()["pictures"]] == pictures
    assert len(inbox(emptied)) == 2
    # of whom nobody wants to be asked again: no picture stays, and a new one of them is not kept
    gone = emptied.request("DELETE", f"/strangers/{obama['id']}", params={"never": 1})
    assert gone.json() == {"dismissed": obama["id"], "never": True}
    assert emptied.get(f"/strangers/{obama['id']}").status_code == 404
    assert emptied.get(obama["thumbnail"]).status_code == 404
    show(emptied, faces["obama3"])
    emptied.wait_for(lambda: emptied.get("/health").json()["strangers"]["never"] == 1)
    assert [each["id"] for each in inbox(emptied)] == [parted.json()["id"]]
    assert len(list((emptied.state / "strangers" / "pictures").iterdir())) == 1


def test_a_stranger_who_looks_like_somebody_enrolled_is_named_only_by_force(emptied, faces):
    show(emptied, faces["biden"])
    emptied.wait_for(lambda: inbox(emptied))
    id_ = inbox(emptied)[0]["id"]
    assert emptied.enroll("Barack Obama", faces["obama"]).status_code == 201
    assert code(emptied.post(f"/strangers/{id_}/name", data={"subject": "../x"})) == "invalid_name"
    assert emptied.post(f"/strangers/{id_}/name", data={"subject": "Joe Biden"}).status_code == 201
    assert sorted(emptied.people()) == ["Barack Obama", "Joe Biden"] and inbox(emptied) == []


def test_bad_input_is_refused(emptied, faces):
    show(emptied, faces["collins"])
    emptied.wait_for(lambda: inbox(emptied))
    shown = inbox(emptied)[0]
    at, picture = f"/strangers/{shown['id']}", shown["pictures"][0]["id"]
    for method, path, fields, status, wanted in (
        ("GET", "/strangers?limit=0", {}, 400, "invalid_parameter"),
        ("GET", "/strangers?offset=-1", {}, 400, "invalid_parameter"),
        ("GET", "/strangers/nobody", {}, 404, "stranger_not_found"),
        ("GET", "/strangers/..%2Flock", {}, 404, "stranger_not_found"),
        ("GET", f"{at}/pictures/none", {}, 404, "picture_not_found"),
        ("POST", f"{at}/name", {}, 400, "invalid_parameter"),
        ("POST", f"{at}/name", {"subject": ""}, 400, "invalid_parameter"),
        ("POST", "/strangers/nobody/name", {"subject": "Zoë"}, 404, "stranger_not_found"),
        ("POST", f"{at}/join", {"other": "nobody"}, 404, "stranger_not_found"),
        ("POST", f"{at}/join", {"other": shown["id"]}, 400, "invalid_parameter"),
        ("POST", f"{at}/join", {}, 400, "invalid_parameter"),
        ("POST", f"{at}/split", {"pictures": [picture]}, 400, "invalid_parameter"),  # which is all
        ("POST", f"{at}/split", {"pictures": []}, 400, "invalid_parameter"),
        ("POST", f"{at}/split", {"pictures": [1]}, 400, "invalid_parameter"),
        ("POST", f"{at}/split", {"pictures": 7}, 400, "invalid_parameter"),
        ("POST", f"{at}/split", {"pictures": {"a": 1}}, 400, "invalid_parameter"),
        ("POST", f"{at}/split", {"pictures": "none"}, 404, "picture_not_found"),
        ("DELETE", f"{at}?never=perhaps", {}, 400, "invalid_parameter"),
        ("DELETE", "/strangers/nobody", {}, 404, "stranger_not_found"),
    ):
        reply = emptied.request(method, path, json=fields) if method == "POST" else emptied.request(method, path)
        assert (reply.status_code, code(reply)) == (status, wanted), (method, path, fields, reply.text)
    assert [each["id"] for each in inbox(emptied)] == [shown["id"]]


def test_blurred_and_small_faces_are_not_kept(emptied, faces):
    pixels = pictures.load(faces["collins"])
    show(emptied, pictures.save(pixels.resize((90, 90 * pixels.height // pixels.width))))
    smeared = pixels.resize((16, 16 * pixels.height // pixels.width)).resize(pixels.size, Image.Resampling.BICUBIC)
    show(emptied, pictures.save(smeared))
    show(emptied, faces["biden"])
    emptied.wait_for(lambda: inbox(emptied))
    emptied.wait_for_strangers()
    assert [len(each["pictures"]) for each in inbox(emptied)] == [1]


def test_while_it_is_off_nothing_is_kept(tmp_path, faces):
    with Server(tmp_path) as server:
        show(server, faces["obama"])
        assert server.get("/strangers").json() == {
            "on": False,
            "setting": "RECOGNIZER_STRANGERS",
            "total": 0,
            "strangers": [],
        }
        for method, path in (("GET", "/strangers/x"), ("DELETE", "/strangers/x"), ("GET", "/strangers/x/pictures/y")):
            reply = server.request(method, path)
            assert (reply.status_code, code(reply)) == (404, "strangers_off")
        assert code(server.post("/strangers/x/name", data={"subject": "Zoë"})) == "strangers_off"
        assert server.get("/health").json()["strangers"] is None
        assert not (server.state / "strangers").exists()
