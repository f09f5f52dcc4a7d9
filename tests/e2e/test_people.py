"""/people and below it as a client sees it; and that erasing leaves nothing behind."""

from __future__ import annotations

import io
import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

import pytest
from PIL import Image

from . import pictures
from .homes import NOTHING_LEFT
from .serving import Server, code
from .test_enroll import id_of


def at(name: str, photo: str = "") -> str:
    return f"/people/{quote(name, safe='')}" + (f"/photos/{photo}" if photo else "")


def raw_cache(server: Server) -> bytes:
    """Every byte of the cache's files, also those that no query shows."""
    return b"".join(path.read_bytes() for path in server.state.iterdir() if path.name.startswith("encodings.sqlite"))


def kept_about(server: Server, photo: str) -> list[bytes]:
    """What the cache holds about a photo: pieces of its vector and of its thumbnail, and the photo's id."""
    with closing(sqlite3.connect(f"file:{server.state}/encodings.sqlite?mode=ro", uri=True)) as connection:
        [(vector,)] = connection.execute("SELECT vector FROM encodings WHERE photo = ?", (photo,)).fetchall()
        [(jpeg,)] = connection.execute("SELECT jpeg FROM thumbnails WHERE photo = ?", (photo,)).fetchall()
    middle = len(jpeg) // 2  # what stands at a JPEG's beginning is in many of them
    return [vector[100:140], vector[-40:], jpeg[middle : middle + 40], jpeg[-200:-160], photo.encode()]


# -- particulars, and the bin ------------------------------------------------------------------------------------------


def test_cover_tags_order_and_where_photos_came_from(writer, faces):
    writer.post("/enroll", data={"subject": "Ada"}, files=[("file", ("Urlaub à la mer.jpg", faces["obama"]))])
    writer.post("/enroll", data={"subject": "Ada"}, files=[("file", ("b.jpg", faces["obama2"]))])
    writer.post(
        "/enroll", data={"subject": "Bob", "taken": "2021-03-04T05:06:07Z"}, files=[("file", ("b.jpg", faces["biden"]))]
    )
    photos = writer.get(at("Ada")).json()["photos"]
    assert sorted(each["original"]["name"] for each in photos) == ["Urlaub à la mer.jpg", "b.jpg"]
    [bobs] = writer.get(at("Bob")).json()["photos"]
    assert bobs["original"]["added"] and bobs["original"]["taken"]
    second = photos[1]["id"]
    changed = writer.request("PATCH", at("Ada"), json={"tags": "office,  night  shift ,office", "cover": second}).json()
    assert (changed["tags"], changed["cover"]) == (["office", "night shift"], second)
    listed = writer.people()["Ada"]
    assert second in listed["thumbnail"] and listed["tags"] == ["office", "night shift"]
    assert [each["name"] for each in writer.get("/people", params={"tag": "OFFICE"}).json()["people"]] == ["Ada"]
    writer.request("PATCH", at("Bob"), json={"expires": "2090-01-01"})
    for sort, first in (("name", "Ada"), ("photos", "Ada"), ("expires", "Bob"), ("seen", "Ada")):
        assert writer.get("/people", params={"sort": sort, "limit": 1}).json()["people"][0]["name"] == first
    assert code(writer.get("/people", params={"sort": "age"})) == "invalid_parameter"
    for wrong in ({"tags": "x" * 41}, {"tags": ",".join(map(str, range(21)))}):
        assert code(writer.request("PATCH", at("Ada"), json=wrong)) == "invalid_parameter"
    assert code(writer.request("PATCH", at("Ada"), json={"cover": bobs["id"]})) == "photo_not_found"
    assert code(writer.post("/enroll", data={"subject": "Z", "taken": "soon"}, files=[("file", faces["collins"])])) == (
        "invalid_parameter"
    )
    writer.request("PATCH", at("Ada"), json={"name": "Bob", "merge": True})
    merged = writer.get(at("Bob")).json()
    assert len([each for each in merged["photos"] if "original" in each]) == 3 and merged["tags"] == ["office", "night shift"]
    cleared = writer.request("PATCH", at("Bob"), json={"tags": "none", "cover": "none"}).json()
    assert (cleared["tags"], cleared["cover"]) == ([], None)


def test_moved_photos_and_deletions_that_are_undone(writer, faces):
    writer.enroll("Ada", faces["obama"], faces["obama2"])
    first, second = (each["id"] for each in writer.get(at("Ada")).json()["photos"])
    assert code(writer.post(at("Ada", first) + "/move", json={"to": "Ada"})) == "invalid_parameter"
    assert code(writer.post(at("Ada", first) + "/move", json={"to": "a/b"})) == "invalid_name"
    moved = writer.post(at("Ada", first) + "/move", json={"to": "Eve"}).json()
    assert moved == {"moved": first, "of": "Ada", "to": "Eve", "files": 1}
    assert {name: each["photos"] for name, each in writer.people().items()} == {"Ada": 1, "Eve": 1}
    assert writer.get("/bin").json()["items"] == []
    done = writer.request("DELETE", at("Eve"), params={"bin": "true"}).json()
    assert (done["deleted"], done["photos"], done["left"]) == ("Eve", 1, {}) and list(writer.people()) == ["Ada"]
    gone = writer.request("DELETE", at("Ada", second), params={"bin": "true"}).json()
    held = writer.get("/bin").json()
    assert held["days"] == 7 and [(each["id"], each["kind"], each["subject"]) for each in held["items"]] == [
        (gone["bin"], "photo", "Ada"),
        (done["bin"], "person", "Eve"),
    ]
    picture = writer.get(held["items"][0]["thumbnail"])
    assert picture.headers["Content-Type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"
    assert code(writer.post("/bin/0000000000000000/restore")) == "bin_item_not_found"
    restored = writer.post(f"/bin/{gone['bin']}/restore").json()
    assert (restored["name"], [each["id"] for each in restored["photos"]]) == ("Ada", [second])
    assert writer.request("DELETE", f"/bin/{done['bin']}").json() == {"deleted": done["bin"]}
    assert writer.get("/bin").json()["items"] == [] and list(writer.people()) == ["Ada"]


# -- looking ---------------------------------------------------------------------------------------------------------


def test_list_page_and_search(writer, faces):
    assert writer.get("/people").json() == {"people": [], "total": 0, "problems": []}
    for name, photo in (("zoe", "obama"), ("Ángel", "biden"), ("Bob", "collins")):
        writer.enroll(name, faces[photo])
    writer.enroll("zoe", faces["obama2"])
    everybody = writer.get("/people").json()
    assert everybody["total"] == 3
    assert sorted(person["name"] for person in everybody["people"]) == sorted(["zoe", "Ángel", "Bob"])
    zoe = writer.people()["zoe"]
    assert (zoe["photos"], zoe["templates"], zoe["problems"]) == (2, 2, 0)
    about = {"tags", "cover", "last_seen", "visits"}
    assert set(zoe) == {"name", "photos", "templates", "problems", "thumbnail", "consent", "expires", "expired", *about}
    order = [person["name"] for person in everybody["people"]]
    pages = [writer.get("/people", params={"offset": n, "limit": 1}).json() for n in range(4)]
    assert [[person["name"] for person in page["people"]] for page in pages] == [[order[0]], [order[1]], [order[2]], []]
    assert all(page["total"] == 3 for page in pages)
    for search, found in (("ZO", ["zoe"]), ("ángel", ["Ángel"]), ("nobody", []), ("%", [])):
        shown = writer.get("/people", params={"search": search}).json()
        assert ([person["name"] for person in shown["people"]], shown["total"]) == (found, len(found))
    for query in ("offset=-1", "limit=0", "limit=100000", "offset=x", "limit=nan", "serch=x", "offset=" + "9" * 50):
        reply = writer.get(f"/people?{query}")
        assert (reply.status_code, code(reply)) == (400, "invalid_parameter"), query


@pytest.mark.parametrize("name", ["Bob", "José Núñez", "李小龍", "O'Brien & Søns?#%41+", "a;b=c,d", "👩‍🚀"])
def test_one_person_by_any_name(writer, faces, name):
    writer.enroll(name, faces["obama"])
    photo = id_of(faces["obama"])
    shown = writer.get(at(name)).json()
    assert shown["name"] == name
    [listed] = shown["photos"]
    assert (listed["id"], listed["bytes"]) == (photo, len(faces["obama"]))
    assert {"file", "width", "height", "box", "score", "url", "thumbnail"} <= set(listed)
    assert writer.get(listed["url"]).content == faces["obama"]
    assert writer.get(at(name, photo)).headers["Content-Type"] == "image/jpeg"
    small = writer.get(listed["thumbnail"])
    assert small.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(small.content)) as picture:
        assert max(picture.size) == 160
    assert writer.request("DELETE", at(name, photo)).status_code == 200
    assert writer.get(at(name)).status_code == 404


# -- renaming --------------------------------------------------------------------------------------------------------


def test_how_good_each_photo_is(writer, faces):
    assert writer.enroll("Zoe", faces["obama"]).status_code == 201
    writer.put("Zoe/nobody.jpg", faces["nobody"])
    writer.wait_for(lambda: writer.people()["Zoe"]["problems"] == 1)
    good, none = (each["id"] for each in sorted(writer.get(at("Zoe")).json()["photos"], key=lambda each: "problem" in each))
    told = writer.get(at("Zoe", good) + "/quality").json()["quality"]
    assert told == writer.recognize(faces["obama"])["faces"][0]["quality"] and told["remarks"] == []
    for path in (at("Zoe", none), at("Zoe", "0" * 32)):
        reply = writer.get(path + "/quality")
        assert (reply.status_code, code(reply)) == (404, "photo_not_found")
    assert code(writer.get(at("Nobody", good) + "/quality")) == "subject_not_found"


def test_rename(writer, faces):
    writer.enroll("Barack Obama", faces["obama"], faces["obama2"])
    reply = writer.request("PATCH", at("Barack Obama"), json={"name": "Barack H. Obama"})
    assert reply.status_code == 200
    assert (reply.json()["name"], len(reply.json()["photos"])) == ("Barack H. Obama", 2)
    assert writer.names(faces["obama3"]) == ["Barack H. Obama"]
    assert list(writer.people()) == ["Barack H. Obama"]
    assert {file.split("/")[0] for file in writer.files()} == {"Barack H. Obama"}
    assert writer.get(at("Barack Obama")).status_code == 404
    assert writer.get(reply.json()["photos"][0]["url"]).status_code == 200


def test_rename_by_query_form_and_multipart(writer, faces):
    writer.enroll("One", faces["obama"])
    assert writer.request("PATCH", at("One"), params={"name": "Two"}).json()["name"] == "Two"
    assert writer.request("PATCH", at("Two"), data={"name": "Three"}).json()["name"] == "Three"
    assert writer.request("PATCH", at("Three"), files={"name": (None, "Vier")}).json()["name"] == "Vier"
    assert list(writer.people()) == ["Vier"]


def test_rename_in_case_only(writer, faces):
    writer.enroll("bob", faces["obama"])
    assert writer.request("PATCH", at("bob"), json={"name": "Bob"}).json()["name"] == "Bob"
    assert writer.names(faces["obama2"]) == ["Bob"]
    assert writer.request("PATCH", at("Bob"), json={"name": "Bob"}).status_code == 200
    assert len(writer.files()) == 1


def test_rename_onto_somebody_else(writer, faces):
    writer.enroll("Barack Obama", faces["obama"])
    writer.enroll("Barry", faces["obama2"], force="true")
    for name in ("Barack Obama", "BARACK obama"):
        reply = writer.request("PATCH", at("Barry"), json={"name": name})
        assert (reply.status_code, code(reply)) == (409, "name_taken")
    assert sorted(writer.people()) == ["Barack Obama", "Barry"]
    reply = writer.request("PATCH", at("Barry"), json={"name": "Barack Obama", "merge": True})
    assert reply.status_code == 200
    assert len(reply.json()["photos"]) == 2
    assert {name: person["templates"] for name, person in writer.people().items()} == {"Barack Obama": 2}
    assert len(writer.files()) == 2
    assert writer.names(faces["obama3"]) == ["Barack Obama"]


def test_merging_people_who_share_a_photo(writer, faces):
    writer.enroll("Barack Obama", faces["obama"])
    writer.enroll("Barry", faces["obama"], faces["obama2"], force="true")
    reply = writer.request("PATCH", at("Barry"), json={"name": "Barack Obama", "merge": True})
    assert reply.status_code == 200
    assert reply.json()["templates"] == 2
    assert writer.names(faces["obama3"]) == ["Barack Obama"]
    assert writer.request("DELETE", at("Barack Obama", id_of(faces["obama"]))).status_code == 200
    assert writer.get(at("Barack Obama")).json()["templates"] == 1
    assert len(writer.files()) == 1


def test_names_that_nobody_can_be_given(writer, faces):
    writer.enroll("Bob", faces["obama"])
    for name in ("", ".", "../x", "a/b", ".hidden", "nul", "x" * 201):
        reply = writer.request("PATCH", at("Bob"), json={"name": name})
        assert reply.status_code == 400, name
    for how in ({}, {"json": {"name": "A", "merge": "perhaps"}}, {"json": {"nam": "A"}}, {"data": b"A"}):
        assert writer.request("PATCH", at("Bob"), **how).status_code == 400
    assert writer.request("PATCH", at("Nobody"), json={"name": "A"}).status_code == 404
    assert list(writer.people()) == ["Bob"]


# -- what stands in the path cannot be overridden --------------------------------------------------------------------


def test_the_path_says_who_is_meant(writer, faces):
    writer.enroll("Alice", faces["collins"])
    writer.enroll("Bob", faces["obama"], faces["obama2"])
    photos = [id_of(faces[name]) for name in ("obama", "obama2")]
    for method, path in (
        ("GET", at("Bob")),
        ("DELETE", at("Bob")),
        ("PATCH", at("Bob") + "?name=X"),
        ("GET", at("Bob", photos[0])),
        ("DELETE", at("Bob", photos[0])),
    ):
        for field, value in (("person", "Alice"), ("photo_id", photos[1])):
            for how in (
                {"params": {field: value}},
                {"json": {field: value}},
                {"data": {field: value}},
                {"files": {field: (None, value)}},
            ):
                reply = writer.request(method, path, **how)
                assert (reply.status_code, code(reply)) == (400, "invalid_parameter"), (method, path, how)
    assert {name: person["templates"] for name, person in writer.people().items()} == {"Alice": 1, "Bob": 2}


# -- erasing ---------------------------------------------------------------------------------------------------------


def test_erasing_a_person_leaves_nothing(writer, faces):
    writer.enroll("Joe Biden", faces["biden"])
    writer.enroll("Zebulon Quux", faces["obama"], faces["obama2"])
    photos = [id_of(faces[name]) for name in ("obama", "obama2")]
    traces = [piece for photo in photos for piece in kept_about(writer, photo)] + [b"Zebulon"]
    before = raw_cache(writer)
    assert all(piece in before for piece in traces)

    reply = writer.request("DELETE", at("Zebulon Quux"))
    assert reply.status_code == 200
    assert reply.json() == {
        "deleted": "Zebulon Quux",
        "photos": 2,
        "left": NOTHING_LEFT,
    }
    assert writer.names(faces["obama3"]) == [None]
    assert [path.name for path in writer.known_faces.iterdir()] == ["Joe Biden"]
    assert [os.fsencode(path.name) for path in writer.state.rglob("*") if b"Zebulon" in os.fsencode(path.name)] == []
    after = raw_cache(writer)
    assert [piece for piece in traces if piece in after] == []
    assert writer.names(faces["biden"]) == ["Joe Biden"]
    for path in (at("Zebulon Quux"), at("Zebulon Quux", photos[0]), at("Zebulon Quux", photos[0]) + "?thumbnail=1"):
        assert writer.get(path).status_code == 404
    assert writer.request("DELETE", at("Zebulon Quux")).status_code == 404
    reply = writer.post("/verify", files={"file": faces["obama"]}, data={"subject": "Zebulon Quux"})
    assert reply.status_code == 404


def test_erasing_one_photo_leaves_the_others(writer, faces):
    writer.enroll("Barack Obama", faces["obama"], faces["obama2"])
    first, second = id_of(faces["obama"]), id_of(faces["obama2"])
    traces = kept_about(writer, first)
    reply = writer.request("DELETE", at("Barack Obama", first))
    assert reply.json() == {"deleted": first, "of": "Barack Obama", "files": 1}
    after = raw_cache(writer)
    assert [piece for piece in traces if piece in after] == []
    assert [photo["id"] for photo in writer.get(at("Barack Obama")).json()["photos"]] == [second]
    assert writer.names(faces["obama3"]) == ["Barack Obama"]
    assert writer.request("DELETE", at("Barack Obama", first)).status_code == 404


def test_erasing_one_of_two_people_with_the_same_photo(writer, faces):
    writer.enroll("Barack Obama", faces["obama"])
    writer.enroll("Barry", faces["obama"], force="true")
    left = writer.request("DELETE", at("Barry")).json()["left"]
    assert left == NOTHING_LEFT
    assert writer.names(faces["obama2"]) == ["Barack Obama"]
    assert writer.get(at("Barack Obama", id_of(faces["obama"])) + "?thumbnail=1").status_code == 200


def test_erasing_what_was_dropped_in_by_hand(writer, faces):
    writer.put("Dropped/holiday.jpg", faces["obama"])
    writer.put("Dropped/broken.jpg", b"not a photo")
    writer.put("Dropped/sub/deeper.jpg", faces["obama2"])
    writer.wait_for(lambda: writer.get(at("Dropped")).status_code == 200 and len(writer.get("/people").json()["problems"]) == 2)
    assert writer.request("DELETE", at("Dropped")).json()["left"]["files"] == 0
    assert list(writer.known_faces.iterdir()) == []
    assert writer.get("/people").json() == {"people": [], "total": 0, "problems": []}
    assert writer.names(faces["obama2"]) == [None]


def test_erasing_somebody_whose_photos_are_just_being_read(writer, faces):
    photos = [pictures.smaller(faces["obama"], 400 + n) for n in range(10)]
    for n, photo in enumerate(photos):
        writer.put(f"Zebulon Quux/{n}.jpg", photo)
    writer.wait_for(lambda: b"Zebulon" in raw_cache(writer))  # their encoding has begun
    assert writer.request("DELETE", at("Zebulon Quux")).status_code == 200
    writer.put("Joe Biden/one.jpg", faces["biden"])
    writer.wait_for(lambda: writer.names(faces["biden"]) == ["Joe Biden"])  # what was begun has ended
    assert writer.names(faces["obama2"]) == [None]
    after = raw_cache(writer)
    assert [piece for piece in [b"Zebulon", *(id_of(photo).encode() for photo in photos)] if piece in after] == []


# -- problems --------------------------------------------------------------------------------------------------------


def test_everything_that_is_not_used_is_listed_with_its_reason(writer, faces):
    writer.put("Bob/good.jpg", faces["obama"])
    writer.put("Bob/broken.jpg", faces["biden"][:5000])
    writer.put("Bob/notes.doc", b"some words")
    writer.put("Bob/empty.jpg", b"")
    writer.put("Bob/trees.jpg", faces["nobody"])
    writer.put("Bob/party.jpg", faces["trio"])
    writer.put("Bob/sub/deeper.jpg", faces["biden"])
    writer.put("stray.jpg", faces["biden"])
    writer.put("nul/x.jpg", faces["biden"])
    writer.put("BOB/x.jpg", faces["biden"])
    (writer.known_faces / "Bob" / "link.jpg").symlink_to(writer.known_faces / "stray.jpg")
    (writer.known_faces / "Linked").symlink_to(writer.known_faces / "Bob")
    for ignored in (".DS_Store", "Bob/.hidden.jpg", "Bob/Thumbs.db", "README.md", "Bob/desktop.ini"):
        writer.put(ignored, b"x")
    # Of two names that differ in case only, the one that sorts first is used: BOB.
    shown = writer.wait_for(lambda: _settled(writer, 1))
    assert shown["BOB"] is None
    (writer.known_faces / "BOB" / "x.jpg").unlink()
    (writer.known_faces / "BOB").rmdir()
    shown = writer.wait_for(lambda: _settled(writer, 10))
    assert shown == {
        "Bob/broken.jpg": "broken_image",
        "Bob/notes.doc": "unsupported_image",
        "Bob/empty.jpg": "unsupported_image",
        "Bob/trees.jpg": "no_face",
        "Bob/party.jpg": "several_faces",
        "Bob/sub": "nested_folder",
        "stray.jpg": "not_in_a_folder",
        "nul": "invalid_name",
        "Bob/link.jpg": "symbolic_link",
        "Linked": "symbolic_link",
    }
    bob = writer.get(at("Bob")).json()
    assert (bob["templates"], bob["problems"]) == (1, 5)
    assert {photo["file"]: photo["problem"]["code"] for photo in bob["photos"] if "problem" in photo} == {
        path.split("/")[1]: reason for path, reason in shown.items() if reason.endswith(("image", "face", "faces"))
    }
    for problem in writer.get("/people").json()["problems"]:
        assert set(problem) == {"subject", "file", "code", "message"} and problem["message"]
    assert writer.names(faces["obama2"]) == ["Bob"]


def _settled(server: Server, least: int) -> dict | None:
    problems = {problem["file"]: problem["code"] for problem in server.get("/people").json()["problems"]}
    if least == 1:
        return {"BOB": None} if problems.get("Bob") == "name_taken" else None
    return problems if len(problems) == least else None


# -- odd photos and copies -------------------------------------------------------------------------------------------


def warnings(person: dict) -> dict[str, list[str]]:
    return {photo["id"]: [each["code"] for each in photo.get("warnings", ())] for photo in person["photos"]}


def test_the_same_picture_again_is_kept_and_counts_once(writer, faces):
    writer.enroll("Obama", faces["obama"])
    copy = pictures.smaller(faces["obama"], 400)
    reply = writer.enroll("Obama", copy)
    assert reply.status_code == 201
    [added] = reply.json()["photos"]
    [warning] = added["warnings"]
    assert (warning["code"], warning["photo"]) == ("duplicate_of", id_of(faces["obama"]))
    again = writer.enroll("Obama", copy)
    assert again.status_code == 200 and again.json()["photos"][0]["status"] == "known"
    person = writer.get(at("Obama")).json()
    assert (len(person["photos"]), person["templates"]) == (2, 1)
    assert warnings(person) == {id_of(faces["obama"]): [], id_of(copy): ["duplicate_of"]}
    assert writer.get("/health").json()["counts"]["templates"] == 1
    assert writer.request("DELETE", at("Obama", id_of(faces["obama"]))).status_code == 200
    person = writer.get(at("Obama")).json()
    assert person["templates"] == 1 and warnings(person) == {id_of(copy): []}


def test_somebody_elses_photo_in_a_folder_is_told(writer, faces):
    writer.enroll("Biden", faces["biden"])
    for name in ("obama", "obama2", "obama3"):
        writer.enroll("Obama", faces[name])
    writer.enroll("Obama", pictures.smaller(faces["biden"], 500), force=1)
    person = writer.get(at("Obama")).json()
    odd = {photo: found for photo, found in warnings(person).items() if found}
    wrong = id_of(pictures.smaller(faces["biden"], 500))
    assert odd == {wrong: ["unlike_others", "looks_like_another"]}
    [shown] = [photo for photo in person["photos"] if photo["id"] == wrong]
    assert shown["warnings"][1]["subject"] == "Biden" and shown["warnings"][1]["distance"] < 0.6
    writer.request("DELETE", at("Obama", wrong))
    assert not any(warnings(writer.get(at("Obama")).json()).values())


# -- what is nobody's ------------------------------------------------------------------------------------------------


def unsorted(name: str) -> str:
    return f"/unsorted/{quote(name, safe='')}"


def test_a_file_that_is_nobodys_is_shown_and_erased(writer, faces):
    name = "Zoë's #1 50%.jpg"
    writer.put(name, faces["obama"])
    writer.wait_for(lambda: writer.get("/people").json()["problems"])
    shown = writer.get(unsorted(name))
    assert shown.content == faces["obama"] and shown.headers["Content-Type"] == "image/jpeg"
    assert writer.request("DELETE", unsorted(name)).json() == {"deleted": name}
    assert writer.get("/people").json()["problems"] == [] and writer.files() == []
    assert writer.known_faces.is_dir(), "the folder stays, though nothing is left in it"
    assert code(writer.request("DELETE", unsorted(name))) == code(writer.get(unsorted(name))) == "photo_not_found"


def test_only_plain_files_of_the_folder_itself_are_nobodys(writer, faces, tmp_path):
    assert writer.enroll("Barack Obama", faces["obama"]).status_code == 201
    photo = writer.files()[0]
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(faces["biden"])
    (writer.known_faces / "link.jpg").symlink_to(outside)
    os.mkfifo(writer.known_faces / "pipe.jpg")
    writer.put(".hidden.jpg", faces["biden"])
    writer.put("notes.txt", b"a secret")
    refusals = ("photo_not_found", "unknown_route", "invalid_parameter")
    for name in ("link.jpg", "pipe.jpg", ".hidden.jpg", "Barack Obama", "\0", "x" * 300, "readme.md", photo, "../state/audit"):
        for method in ("GET", "DELETE"):
            assert code(writer.request(method, unsorted(name))) in refusals, name
    for dots in (".", ".."):
        line = f"GET /unsorted/{dots} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert writer.raw(line.encode())[0] == 404
    reply = writer.get(unsorted("notes.txt"))
    assert (reply.status_code, code(reply)) == (415, "unsupported_image")
    assert outside.exists() and writer.files().count(photo) == 1 and os.path.lexists(writer.known_faces / "link.jpg")
