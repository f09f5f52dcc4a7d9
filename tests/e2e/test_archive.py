"""The archive over HTTP and on the page: a folder is added with progress, searched, named, corrected, and undone."""

from __future__ import annotations

import json
import time

import pytest

from . import pictures
from .browsing import Visit
from .serving import Server


@pytest.fixture
def empty(tmp_path, faces):
    """A server that may index a folder of five photos, and has not."""
    album = tmp_path / "photos" / "album"
    album.mkdir(parents=True)
    for name in ("obama", "obama2", "obama3", "biden"):
        (album / f"{name}.jpg").write_bytes(pictures.smaller(faces[name], 400))
    (album / "both.jpg").write_bytes(pictures.side_by_side([faces["biden"], faces["collins"]]))
    server = Server(tmp_path, camera="none", watch="off", archive_files=str(tmp_path / "photos"), strangers="all")
    server.put("Joe Biden/one.jpg", faces["biden"])
    with server:
        yield server


@pytest.fixture
def server(empty):
    """The same with the folder indexed."""
    assert empty.post("/archive/folders", json={"folder": "album"}).status_code == 201
    empty.wait_for(lambda: idle(empty))
    return empty


def search(server: Server, code: int = 200, **fields) -> dict:
    reply = server.post("/archive/search", json=fields)
    assert reply.status_code == code, reply.text
    return reply.json()


def names(found: dict) -> list[str]:
    return sorted(each["files"][0].rsplit("/", 1)[1] for each in found["faces"])


def idle(server: Server) -> bool:
    status = server.get("/archive").json()["status"]
    return status["update"] is None and status["last_update"] is not None


def test_a_folder_is_added_on_the_page_and_people_are_found(chromium, empty, faces):
    assert empty.get("/archive").json() == {"folders": [], "status": None, "addable": True}
    assert empty.post("/archive/folders", json={"folder": "/etc"}).status_code == 400
    assert empty.post("/archive/folders", json={"folder": "none"}).status_code == 400
    with Visit(chromium, empty.url) as visit:
        page = visit.open("#/archive")
        page.get_by_role("button", name="Add a folder").click()
        page.get_by_label("Folder on the server").fill("album")
        page.get_by_role("button", name="Add", exact=True).click()
        page.get_by_role("list", name="People of the archive").or_(page.get_by_role("status")).first.wait_for()
        empty.wait_for(lambda: idle(empty))
        visit.open("#/archive")
        page.get_by_text("5 photos, 6 faces, 3 people").wait_for()
        page.locator(".stranger", has_text="Joe Biden").get_by_text("2 pictures, recognised").wait_for()
        page.get_by_label("Find", exact=True).fill("Joe Biden")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("heading", name="2 pictures of Joe Biden").wait_for()
        image = page.locator(".archive-face img").first
        empty.wait_for(lambda: image.evaluate("image => image.complete && image.naturalWidth > 20"))
        page.locator(".archive-open").first.click()
        shown = page.get_by_role("dialog").locator("img")
        empty.wait_for(lambda: shown.evaluate("image => image.complete && image.naturalWidth > 100"))
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="All people").click()

        group = page.locator(".stranger", has_text="3 pictures")
        group.get_by_role("button", name="Name").click()
        page.get_by_label("Name", exact=True).fill("Barack <b>Obama")
        page.get_by_role("button", name="Save name").click()
        page.locator(".stranger-words", has_text="Barack <b>Obama").first.wait_for()
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("Undone: the name").wait_for()
        page.locator(".stranger", has_text="Group").get_by_text("3 pictures", exact=True).wait_for()

        visit.open("#/people/Joe%20Biden")
        page.get_by_role("link", name="Find in the archive").click()
        page.get_by_role("heading", name="2 pictures of Joe Biden").wait_for()
    health = empty.get("/health").json()["archive"]
    assert (health["folders"], health["photos"], health["named"]) == (1, 5, 1)


def test_a_search_is_paged_and_restricted(server, faces):
    obama = server.post("/archive/search?limit=2", data=faces["obama2"]).json()
    assert len(obama["faces"]) == 2 and obama["total"] == 3 and obama["cursor"]
    rest = server.post(f"/archive/search?limit=2&cursor={obama['cursor']}", data=faces["obama2"]).json()
    assert (
        names({"faces": obama["faces"] + rest["faces"]}) == ["obama.jpg", "obama2.jpg", "obama3.jpg"] and rest["cursor"] is None
    )
    group = obama["faces"][0]["group_id"]
    assert names(search(server, group_id=group)) == ["obama.jpg", "obama2.jpg", "obama3.jpg"]
    assert search(server, group_id=group, since="1990", until="1991")["total"] == 0
    assert search(server, group_id=group, max_distance=0.0001)["total"] == 3
    for wrong in (
        {},
        {"group_id": 1, "subject": "Joe Biden"},
        {"group_id": group, "cursor": "x"},
        {"group_id": group, "since": "x"},
    ):
        assert search(server, 400, **wrong)["error"]["code"] == "invalid_parameter"
    assert search(server, 404, group_id=9999)["error"]["code"] == "archive_group_not_found"
    assert search(server, 404, subject="Nobody")["error"]["code"] == "subject_not_found"
    assert search(server, 404, stranger="0123456789")["error"]["code"] == "stranger_not_found"
    assert search(server, 404, group_id=group, folder="/etc")["error"]["code"] == "folder_not_found"
    assert server.post("/archive/search?box=1,2,3,4", data=faces["obama2"]).status_code == 422
    assert server.get("/archive/photos/../../etc/passwd").status_code == 404
    assert server.get("/archive/photos/" + "0" * 32).status_code == 404


def test_decisions_about_groups(server, faces):
    people = {each["subject"] or each["faces"]: each for each in server.get("/archive/people").json()["people"]}
    obama, collins, biden = people[3]["id"], people[1]["id"], people["Joe Biden"]["id"]
    refused = server.post(f"/archive/people/{biden}/refuse").json()
    assert refused["subject"] is None and refused["likely"] is None
    server.post("/archive/update")
    server.wait_for(lambda: idle(server))
    assert server.get(f"/archive/people/{biden}").json()["subject"] is None  # a refusal is remembered
    assert server.post("/archive/undo").json() == {"undone": "refuse"}
    joined = server.post(f"/archive/people/{obama}/join", json={"other_group_id": collins}).json()
    assert joined["faces"] == 4 and server.get(f"/archive/people/{collins}").status_code == 404
    assert server.post("/archive/undo").json() == {"undone": "join"}
    assert server.get(f"/archive/people/{collins}").json()["faces"] == 1
    face = "{photo}/{number}".format(**server.get(f"/archive/people/{obama}").json()["pictures"][0])
    moved = server.post("/archive/move", json={"faces": [face]}).json()
    assert moved["faces"] == 1 and server.get(f"/archive/people/{obama}").json()["faces"] == 2
    assert server.post("/archive/undo").json() == {"undone": "move"}
    photo, number = face.split("/")
    assert server.request("PATCH", f"/archive/photos/{photo}/faces/{number}", data={"no_face": "true"}).status_code == 200
    assert server.get(f"/archive/photos/{photo}/faces/{number}/thumbnail.jpg").status_code == 404
    server.post("/archive/undo")
    assert server.get(f"/archive/photos/{photo}/faces/{number}/thumbnail.jpg").content[:3] == b"\xff\xd8\xff"
    enrolled = server.post(f"/archive/people/{obama}/enroll", json={"subject": "Barack Obama"})
    assert enrolled.status_code == 201, enrolled.text
    assert server.recognize(faces["obama"])["faces"][0]["subject"] == "Barack Obama"
    deleted = server.request("DELETE", "/people/Barack%20Obama").json()
    assert deleted["left"]["archive"] == 0
    assert search(server, 404, subject="Barack Obama")["error"]["code"] == "subject_not_found"
    assert server.post("/archive/search", data=faces["obama2"]).json()["total"] == 0
    folder = server.get("/archive").json()["folders"][0]["id"]
    assert server.request("DELETE", f"/archive/folders/{folder}").json() == {"removed": folder}
    assert json.loads(server.get("/archive").text)["status"]["faces"] == 0


def test_presence_and_visits_over_http_and_on_the_page(chromium, tmp_path, faces):
    """Events and a visit that an earlier process left are shown, corrected on the page, and downloaded as CSV."""
    from recognizer.core.times import iso_time
    from recognizer.events.visit_file import VISITS_FILE, KeptVisit, VisitFile

    from .homes import event, happened

    server = Server(tmp_path, camera="none", watch="off", sightings="all")
    now = time.time()
    came, went = iso_time(now - 60), iso_time(now - 50)
    stay = [
        event(subject="Joe Biden", time=came),
        event("left", subject="Joe Biden", time=went, since=came, appearance=1, seconds=10),
    ]
    happened(server, stay, [])
    server.put("Joe Biden/one.jpg", faces["biden"])
    file = VisitFile(server.state / VISITS_FILE)
    file.put(
        KeptVisit(0, "door/1/1.000", "door", now - 60, now - 50, "Joe Biden", 0.5), pictures.smaller(faces["collins"], 500)
    )
    file.close()
    with server:
        (day,) = server.get("/presence").json()["days"]
        assert day["subject"] == "Joe Biden" and day["visits"] == 1
        table = server.get("/presence?format=csv")
        assert table.headers["Content-Type"].startswith("text/csv") and table.text.splitlines()[1].split(",")[1] == "Joe Biden"
        assert server.get("/presence?since=soon").status_code == 400
        found = server.post("/events/search", json={"subject": "Joe Biden"}).json()
        assert found["total"] == 1 and server.get(found["visits"][0]["picture"]).content[:3] == b"\xff\xd8\xff"
        assert server.post("/events/search", json={}).status_code == 400
        assert server.post("/events/search", json={"subject": "Nobody"}).status_code == 404
        with Visit(chromium, server.url) as visit:
            page = visit.open("#/people/Joe%20Biden")
            page.get_by_role("button", name="Presence").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("columnheader", name="First seen").wait_for()
            dialog.get_by_role("button", name="Not Joe Biden").click()
            dialog.get_by_text("0 visits").wait_for()
        assert server.post("/events/search", json={"subject": "Joe Biden"}).json()["total"] == 0
        corrected = server.get("/events?format=json&kind=appeared,left").json()["events"]
        assert [each["subject"] for each in corrected] == [None, None] and server.get("/presence").json()["days"] == []
        number = found["visits"][0]["id"]
        named = server.request("PATCH", f"/visits/{number}", data={"subject": "Eileen Collins", "enroll": "true"})
        assert named.status_code == 200 and named.json()["subject"] == "Eileen Collins", named.text
        assert server.get("/people/Eileen%20Collins").json()["photos"]
    off = Server(tmp_path, camera="none", watch="off")
    with off:
        assert off.post("/events/search", json={"subject": "Joe Biden"}).json()["error"]["code"] == "sightings_off"
