"""/enroll as a client sees it, and what it leaves on the disk."""

from __future__ import annotations

import base64
import hashlib
import shutil
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import pictures
from .serving import code


def id_of(photo: bytes) -> str:
    return hashlib.sha256(photo).hexdigest()[:32]


def test_one_photo_is_enrolled_durably_and_at_once(writer, faces):
    reply = writer.enroll("Barack Obama", faces["obama"])
    assert reply.status_code == 201
    shown = reply.json()
    assert (shown["subject"], shown["added"], shown["refused"]) == ("Barack Obama", 1, 0)
    [photo] = shown["photos"]
    assert (photo["status"], photo["photo"]) == ("added", id_of(faces["obama"]))
    assert set(photo) == {"photo", "status", "box", "score"}
    assert writer.names(faces["obama2"]) == ["Barack Obama"]
    assert writer.files() == [f"Barack Obama/{id_of(faces['obama'])}.jpg"]
    assert (writer.known_faces / writer.files()[0]).read_bytes() == faces["obama"]


def test_every_way_to_give_a_photo(writer, web, faces):
    url, encoded = web.url("/o.jpg", faces["obama"]), base64.b64encode(faces["obama"]).decode()
    for how in (
        {"json": {"subject": "A", "image_url": url}},
        {"json": {"subject": "A", "image_base64": encoded}},
        {"json": {"subject": "A", "image_base64": [encoded]}},
        {"data": {"subject": "A", "image_url": url}},
        {"data": faces["obama"], "params": {"subject": "A"}},
        {"params": {"subject": "A", "image_url": url}},
    ):
        assert writer.post("/enroll", **how).json()["photos"][0]["photo"] == id_of(faces["obama"]), how
    assert len(writer.files()) == 1


@pytest.mark.parametrize(("format", "extension"), [("PNG", "png"), ("WEBP", "webp"), ("HEIF", None), ("GIF", "gif")])
def test_photos_are_kept_as_they_were_received(writer, faces, format, extension):
    photo = pictures.converted(faces["obama"], format)
    assert writer.enroll("Barack Obama", photo).status_code == 201
    [file] = writer.files()
    assert extension is None or file.endswith("." + extension)
    assert (writer.known_faces / file).read_bytes() == photo
    shown = writer.get(f"/people/Barack Obama/photos/{id_of(photo)}")
    assert shown.content == photo
    assert shown.headers["Content-Type"].startswith("image/")


def test_the_same_photo_again(writer, faces):
    first = writer.enroll("Barack Obama", faces["obama"])
    again = writer.enroll("Barack Obama", faces["obama"])
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["photos"] == [{**first.json()["photos"][0], "status": "known"}]
    assert again.json()["added"] == 0
    assert len(writer.files()) == 1
    twice = writer.enroll("Joe Biden", faces["biden"], faces["biden"]).json()
    assert [photo["status"] for photo in twice["photos"]] == ["added", "known"]
    assert len(writer.files()) == 2


def test_many_photos_of_which_some_cannot_be_used(writer, faces):
    reply = writer.enroll("Barack Obama", faces["obama"], faces["nobody"], b"not a photo", faces["obama2"], faces["trio"])
    assert reply.status_code == 201
    shown = reply.json()
    assert (shown["added"], shown["refused"]) == (2, 3)
    assert [photo["status"] for photo in shown["photos"]] == ["added", "refused", "refused", "added", "refused"]
    codes = [photo["error"]["code"] for photo in shown["photos"] if photo["status"] == "refused"]
    assert codes == ["no_face", "unsupported_image", "several_faces"]
    assert len(writer.files()) == 2


def test_no_photo_can_be_used(writer, faces):
    reply = writer.enroll("Barack Obama", faces["nobody"], b"not a photo")
    assert (reply.status_code, code(reply)) == (422, "no_usable_photo")
    assert [photo["error"]["code"] for photo in reply.json()["error"]["photos"]] == ["no_face", "unsupported_image"]
    assert list(writer.known_faces.iterdir()) == []
    assert writer.get("/people/Barack Obama").status_code == 404


@pytest.mark.parametrize(
    ("photo", "status", "expected"),
    [("nobody", 422, "no_face"), ("trio", 422, "several_faces"), (None, 415, "unsupported_image")],
)
def test_one_photo_that_cannot_be_used(writer, faces, photo, status, expected):
    reply = writer.enroll("Barack Obama", faces[photo] if photo else b"not a photo")
    assert (reply.status_code, code(reply)) == (status, expected)
    assert list(writer.known_faces.iterdir()) == []


def test_a_face_too_small(writer, faces):
    small = pictures.smaller(faces["obama"], 90)
    canvas = pictures.load(pictures.nobody(800, 600))
    canvas.paste(pictures.load(small), (300, 300))
    reply = writer.enroll("Barack Obama", pictures.save(canvas))
    assert (reply.status_code, code(reply)) == (422, "face_too_small")


def test_one_photo_enrols_two_people_by_their_boxes(writer, faces):
    found = sorted(writer.post("/detect", data=faces["trio"]).json()["faces"], key=lambda face: face["box"]["left"])
    for name, face in zip(("Barack Obama", "Joe Biden"), found[:2], strict=True):
        box = ",".join(str(face["box"][edge]) for edge in ("left", "top", "right", "bottom"))
        reply = writer.enroll(name, faces["trio"], face=box)
        assert reply.status_code == 201 and reply.json()["photos"][0]["box"] == face["box"]
    assert [writer.names(faces[each]) for each in ("obama", "biden")] == [["Barack Obama"], ["Joe Biden"]]
    assert code(writer.enroll("X", faces["trio"], face="0,0,20,20")) == "no_face"
    for wrong in ("best", "1,2,3", "5,5,1,1", "0,0,nan,1", "90000,0,90001,1"):
        assert code(writer.enroll("X", faces["trio"], face=wrong)) == "invalid_parameter"


def test_the_largest_face_stays_enrolled_without_the_cache(writer, faces):
    crowd = pictures.load(faces["obama"])
    other = pictures.load(faces["biden"])
    other.thumbnail((700, 700))
    crowd.paste(other, (0, crowd.height - other.height))
    photo = pictures.save(crowd)
    assert code(writer.enroll("Barack Obama", photo)) == "several_faces"
    assert writer.enroll("Barack Obama", photo, face="largest").status_code == 201
    assert writer.names(faces["obama2"]) == ["Barack Obama"]
    assert writer.stop() == 0
    shutil.rmtree(writer.state)
    writer.start()
    assert writer.names(faces["obama2"]) == ["Barack Obama"]
    assert writer.names(faces["biden"]) == [None]
    assert writer.people()["Barack Obama"]["problems"] == 0


def test_somebody_who_looks_like_another(writer, faces):
    writer.enroll("Barack Obama", faces["obama"])
    reply = writer.enroll("Somebody Else", faces["obama2"])
    assert (reply.status_code, code(reply)) == (409, "looks_like_another")
    assert reply.json()["error"]["subject"] == "Barack Obama"
    assert reply.json()["error"]["distance"] <= reply.json()["error"]["threshold"]
    assert list(writer.people()) == ["Barack Obama"]
    reply = writer.enroll("Somebody Else", faces["obama2"], force="true")
    assert reply.status_code == 201
    assert [each["code"] for each in reply.json()["photos"][0]["warnings"]] == ["looks_like_another"]
    assert list(writer.people()) == ["Barack Obama", "Somebody Else"]


def test_a_photo_unlike_the_others_is_taken_with_a_warning(writer, faces):
    writer.enroll("Barack Obama", faces["obama"])
    reply = writer.enroll("Barack Obama", faces["biden"])
    assert reply.status_code == 201
    [warning] = reply.json()["photos"][0]["warnings"]
    assert warning["code"] == "unlike_others"
    assert warning["distance"] > warning["threshold"]
    assert "warnings" not in writer.enroll("Barack Obama", faces["obama2"]).json()["photos"][0]


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "..",
        ".hidden",
        "../up",
        "a/b",
        "a\\b",
        "C:",
        "a\0b",
        "a\nb",
        "a\tb",
        "\u202ecba",
        "zero\u200bwidth",
        "\ufeffBOM",
        "nul",
        "CON",
        "com1.txt",
        "Bob.",
        "x" * 201,
        "é" * 101,
        "a\u2028b",
        "\ud800",
        "\ue000",
        ".deleted-0123456789abcdef",
    ],
    ids=ascii,
)
def test_names_that_cannot_be_used(writer, faces, name):
    how = {"subject": name, "image_base64": base64.b64encode(faces["obama"]).decode()}
    reply = writer.post("/enroll", json=how)
    assert (reply.status_code, code(reply)) == (400, "invalid_name"), reply.text
    assert list(writer.known_faces.iterdir()) == []


@pytest.mark.parametrize("name", ["", " ", "\u3000", None, 5, ["a"], {"a": 1}, True])
def test_names_that_are_none(writer, faces, name):
    how = {"subject": name, "image_base64": base64.b64encode(faces["obama"]).decode()}
    reply = writer.post("/enroll", json=how)
    if reply.status_code != 400:
        assert name in (5, True) and type(name) is not list, reply.text
    else:
        assert code(reply) in ("invalid_name", "invalid_parameter")


@pytest.mark.parametrize(
    "name",
    [
        "José Núñez",
        "李小龍",
        "Владимир",
        "نجيب محفوظ",
        "O'Brien",
        'Dwayne "The Rock" Johnson',
        "Martin Luther King, Jr",
        "50% off & more?#x",
        "a+b=c;d",
        "<b>bold",
        "👩‍🚀",
        "-rf",
        "$(reboot)",
        "%2e%2e",
        "null",
        "x" * 200,
        "São_Tomé (2)",
        "ไทย",
        "a b  c",
    ],
)
def test_names_of_all_kinds(writer, faces, name):
    clean = unicodedata.normalize("NFC", " ".join(name.split()))
    reply = writer.enroll(name, faces["obama"])
    assert reply.status_code == 201, reply.text
    assert reply.json()["subject"] == clean
    assert writer.names(faces["obama2"]) == [clean]
    [path] = [path.name for path in writer.known_faces.iterdir()]
    assert unicodedata.normalize("NFC", path) == clean
    shown = writer.get("/people").json()["people"][0]
    assert shown["name"] == clean
    assert writer.get(shown["thumbnail"]).headers["Content-Type"] == "image/jpeg"


def test_decomposed_letters_are_the_same_name(writer, faces):
    writer.enroll(unicodedata.normalize("NFD", "José"), faces["obama"])
    reply = writer.enroll(unicodedata.normalize("NFC", "José"), faces["obama"])
    assert reply.status_code == 200
    assert len(writer.files()) == 1


def test_names_that_differ_in_case(writer, faces):
    writer.enroll("Straße Bob", faces["obama"])
    for name in ("straße bob", "STRASSE BOB"):
        reply = writer.enroll(name, faces["biden"])
        assert (reply.status_code, code(reply)) == (409, "name_taken")
        assert reply.json()["error"]["subject"] == "Straße Bob"
    assert list(writer.people()) == ["Straße Bob"]


# -- bad input, many at once -----------------------------------------------------------------------------------------


def test_requests_that_say_too_little_or_too_much(writer, faces):
    photo = faces["obama"]
    for how in (
        {},
        {"data": {"subject": "A"}},
        {"files": {"file": photo}},
        {"data": {"subject": "A", "face": "smallest"}, "files": {"file": photo}},
        {"data": {"subject": "A", "force": "perhaps"}, "files": {"file": photo}},
        {"data": {"subject": "A", "name": "B"}, "files": {"file": photo}},
        {"data": {"subject": "A"}, "params": {"subject": "B"}, "files": {"file": photo}},
        {"data": {"subject": ["A", "B"]}, "files": {"file": photo}},
        {"data": {"subject": "A"}, "files": {"file": photo, "other": photo}},
        {"data": {"subject": "A", "image_url": "nothing"}},
    ):
        assert writer.post("/enroll", **how).status_code == 400, how
    assert list(writer.known_faces.iterdir()) == []


def test_many_clients_enrol_the_same_photo_at_once(writer, faces):
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: writer.enroll("Barack Obama", faces["obama"]), range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    assert len(writer.files()) == 1
    assert writer.people()["Barack Obama"]["photos"] == writer.people()["Barack Obama"]["templates"] == 1


def test_many_clients_enrol_many_people_at_once(writer, faces):
    def enrol(n: int):
        return writer.enroll(f"Person {n % 4}", pictures.smaller(faces["obama"], 300 + n), force="true").status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(enrol, range(16))) == [201] * 16
    # one picture at four sizes is one template
    assert {name: (person["photos"], person["templates"]) for name, person in writer.people().items()} == {
        f"Person {n}": (4, 1) for n in range(4)
    }
    assert len(writer.files()) == 16
