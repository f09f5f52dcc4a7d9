"""/recognize as a client sees it: every way to give a photo, every parameter, every shape of answer."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from . import pictures
from .serving import code


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def multipart(field: str):
    return lambda server, web, photo: server.post("/recognize", files={field: ("me.jpg", photo, "image/jpeg")})


def body(content_type: str | None):
    headers = {"Content-Type": content_type} if content_type else {}
    return lambda server, web, photo: server.post("/recognize", data=photo, headers=headers)


def in_json(write, content_type="application/json"):
    def ask(server, web, photo):
        return server.post("/recognize", json=write(web, photo), headers={"Content-Type": content_type})

    return ask


WAYS = {
    "GET image_url": lambda server, web, photo: server.get("/recognize", params={"image_url": web.url("/o.jpg", photo)}),
    "POST image_url": lambda server, web, photo: server.post("/recognize", params={"image_url": web.url("/o.jpg", photo)}),
    "form image_url": lambda server, web, photo: server.post("/recognize", data={"image_url": web.url("/o.jpg", photo)}),
    "multipart image_url": lambda server, web, photo: server.post(
        "/recognize", files={"image_url": (None, web.url("/o.jpg", photo))}
    ),
    "multipart file": multipart("file"),
    "multipart files": multipart("files"),
    "multipart image": multipart("image"),
    "multipart photo": multipart("photo"),
    "multipart image_base64": lambda server, web, photo: server.post(
        "/recognize", files={"image_base64": (None, base64_of(photo))}
    ),
    "body image/jpeg": body("image/jpeg"),
    "body image/png": body("image/png"),
    "body text/plain": body("text/plain; charset=utf-8"),
    "body octet-stream": body("application/octet-stream"),
    "body application/json": body("application/json"),
    "body curl's default": body("application/x-www-form-urlencoded"),
    "body without a type": body(None),
    "json image_url": in_json(lambda web, photo: {"image_url": web.url("/o.jpg", photo)}),
    "json with charset": in_json(lambda web, photo: {"image_url": web.url("/o.jpg", photo)}, "application/json; charset=utf-8"),
    "json base64": in_json(lambda web, photo: {"image_base64": base64_of(photo)}),
    "json data URL": in_json(lambda web, photo: {"image_base64": "data:image/jpeg;base64," + base64_of(photo)}),
    "json URL-safe, unpadded": in_json(
        lambda web, photo: {"image_base64": base64.urlsafe_b64encode(photo).decode().rstrip("=")}
    ),
    "json in lines": in_json(lambda web, photo: {"image_base64": base64.encodebytes(photo).decode()}),
    "json with nulls": in_json(lambda web, photo: {"image_base64": base64_of(photo), "image_url": None, "top_k": None}),
    "json with a URL and null": in_json(lambda web, photo: {"image_url": web.url("/o.jpg", photo), "image_base64": None}),
    "json with a URL and nothing": in_json(lambda web, photo: {"image_url": web.url("/o.jpg", photo), "image_base64": ""}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_give_a_photo(reader, web, faces, way):
    reply = WAYS[way](reader, web, faces["obama2"])
    assert reply.status_code == 200, reply.text
    assert [face["subject"] for face in reply.json()["faces"]] == ["Barack Obama"]


def test_a_photo_in_chunks(reader, faces):
    pieces = (faces["obama2"][at : at + 10_000] for at in range(0, len(faces["obama2"]), 10_000))
    reply = reader.post("/recognize", data=pieces)
    assert [face["subject"] for face in reply.json()["faces"]] == ["Barack Obama"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/a,b,c.jpg", "/a,b,c.jpg"),
        ("/photo of me.jpg", "/photo%20of%20me.jpg"),
        ("/photo%20of%20me.jpg", "/photo%20of%20me.jpg"),
        ("/写真/é.jpg", "/%E5%86%99%E7%9C%9F/%C3%A9.jpg"),
        ("/get?size=1,2&name=Zoë K&x=a+b", "/get?size=1,2&name=Zo%C3%AB%20K&x=a+b"),
        ("/100%25.jpg?q=50%26more", "/100%25.jpg?q=50%26more"),
        ("/o.jpg?sig=ab/cd==&next=http://x/y?z=1", "/o.jpg?sig=ab/cd==&next=http://x/y?z=1"),
        ("/o.jpg#part", "/o.jpg"),
    ],
)
def test_a_url_is_fetched_as_it_was_given(reader, web, faces, path, asked):
    reply = reader.get("/recognize", params={"image_url": web.url(path, faces["obama2"], at=asked)})
    assert reply.status_code == 200, reply.text
    assert web.asked[-1] == asked
    assert reply.json()["faces"][0]["subject"] == "Barack Obama"


def test_the_answer_has_these_keys(reader, faces):
    answer = reader.recognize(faces["obama2"])
    width, height = pictures.load(faces["obama2"]).size
    assert list(answer) == ["image", "faces", "timing_ms"]
    assert answer["image"] == {"width": width, "height": height}
    [face] = answer["faces"]
    keys = {"subject", "distance", "threshold", "false_match_rate", "box", "score", "quality", "comparable", "remarks"}
    assert set(face) == keys and face["comparable"] is True and face["remarks"] == []
    assert face["quality"]["remarks"] == [] and face["quality"]["cut_off"] == 0
    assert set(face["box"]) == {"left", "top", "right", "bottom"}
    assert all(type(edge) is int for edge in face["box"].values())
    assert 0 <= face["box"]["left"] < face["box"]["right"] <= width
    assert 0 <= face["box"]["top"] < face["box"]["bottom"] <= height
    assert face["subject"] == "Barack Obama"
    assert 0 < face["distance"] <= face["threshold"]
    assert 0 <= face["false_match_rate"] < 0.01
    assert {"decode", "detect", "embed", "match", "queue", "total"} <= set(answer["timing_ms"])
    assert all(value >= 0 for value in answer["timing_ms"].values())


def test_two_people_are_named_and_a_stranger_is_not(reader, faces):
    answer = reader.recognize(faces["trio"])
    assert reader.names(faces["trio"]) == ["Barack Obama", "Joe Biden", None]
    stranger = next(face for face in answer["faces"] if face["subject"] is None)
    assert stranger["distance"] > stranger["threshold"]


def test_a_photo_without_a_face(reader, faces):
    assert reader.recognize(faces["nobody"])["faces"] == []


def test_nobody_enrolled(writer, faces):
    answer = writer.recognize(faces["obama"], top_k=3)
    [face] = answer["faces"]
    assert (face["subject"], face["distance"], face["false_match_rate"]) == (None, None, None)
    assert face["candidates"] == []


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF"])
def test_formats(reader, faces, format):
    photo = pictures.converted(pictures.smaller(faces["obama2"], 500), format)
    assert reader.names(photo) == ["Barack Obama"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_in_upright_pixels(reader, faces, orientation):
    upright = reader.recognize(faces["obama2"])
    answer = reader.recognize(pictures.turned(faces["obama2"], orientation))
    assert answer["image"] == upright["image"]
    [face], [expected] = answer["faces"], upright["faces"]
    assert face["subject"] == "Barack Obama"
    assert face["box"] == pytest.approx(expected["box"], abs=6)  # the photo was compressed once more


# -- parameters ------------------------------------------------------------------------------------------------------


def test_top_k_lists_candidates_nearest_first(reader, faces):
    [face] = reader.recognize(faces["obama2"], top_k=5)["faces"]
    assert [each["subject"] for each in face["candidates"]] == ["Barack Obama", "Joe Biden"]
    assert face["candidates"][0]["distance"] == face["distance"] < face["candidates"][1]["distance"]
    assert [len(each["photo"]) for each in face["candidates"]] == [32, 32]
    [face] = reader.recognize(faces["obama2"], top_k=1)["faces"]
    assert len(face["candidates"]) == 1
    assert "candidates" not in reader.recognize(faces["obama2"], top_k=0)["faces"][0]


def test_min_face_leaves_smaller_faces_out(reader, faces):
    [face] = reader.recognize(faces["obama2"])["faces"]
    size = min(face["box"]["right"] - face["box"]["left"], face["box"]["bottom"] - face["box"]["top"])
    assert len(reader.recognize(faces["obama2"], min_face=size - 2)["faces"]) == 1
    assert reader.recognize(faces["obama2"], min_face=size + 2)["faces"] == []


def test_landmarks(reader, faces):
    [face] = reader.recognize(faces["obama2"], landmarks=5)["faces"]
    assert set(face["landmarks"]) == {"left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"}
    [face] = reader.recognize(faces["obama2"], landmarks=68)["faces"]
    assert {name: len(points) for name, points in face["landmarks"].items()} == {
        "chin": 17,
        "left_eyebrow": 5,
        "right_eyebrow": 5,
        "nose_bridge": 4,
        "nose_tip": 5,
        "left_eye": 6,
        "right_eye": 6,
        "top_lip": 12,
        "bottom_lip": 12,
    }
    x, y = face["landmarks"]["nose_tip"][2]
    assert face["box"]["left"] < x < face["box"]["right"] and face["box"]["top"] < y < face["box"]["bottom"]


def test_threshold(reader, faces):
    [face] = reader.recognize(faces["obama2"], threshold=0)["faces"]
    assert (face["subject"], face["threshold"]) == (None, 0)
    assert face["distance"] > 0
    [face] = reader.recognize(faces["collins"], threshold=4)["faces"]
    assert face["subject"] in ("Barack Obama", "Joe Biden")


def test_parameters_may_come_in_json_multipart_and_form(reader, web, faces):
    photo = faces["obama2"]
    replies = [
        reader.post("/recognize", json={"image_base64": base64_of(photo), "top_k": 1}),
        reader.post("/recognize", files={"file": photo}, data={"top_k": "1"}),
        reader.post("/recognize", data={"image_url": web.url("/o.jpg", photo), "top_k": "1"}),
        reader.post("/recognize?top_k=1", files={"file": photo}),
        reader.post("/recognize?top_k=1", data=photo),
    ]
    assert [len(reply.json()["faces"][0]["candidates"]) for reply in replies] == [1] * 5


@pytest.mark.parametrize(
    ("params", "headers"), [({"format": "jpeg"}, {}), ({}, {"Accept": "image/jpeg"}), ({}, {"Accept": "image/*"})]
)
def test_annotated_jpeg(reader, faces, params, headers):
    reply = reader.post("/recognize", data=faces["obama2"], params=params, headers=headers)
    assert reply.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert picture.format == "JPEG"
        drawn = np.asarray(picture.convert("RGB")).astype(int)
    photo = np.asarray(pictures.load(faces["obama2"])).astype(int)
    assert drawn.shape == photo.shape
    box = reader.recognize(faces["obama2"])["faces"][0]["box"]
    difference = np.abs(drawn - photo).mean(axis=2)
    rows = slice(box["top"] + 5, box["bottom"] - 5)
    edge = difference[rows, max(0, box["left"] - 4) : box["left"] + 5].max(axis=1)
    assert np.median(edge) > 30  # a line is drawn here
    assert np.median(difference[-40:, :]) < 8  # and nothing far away


def test_json_wins_where_both_are_accepted(reader, faces):
    reply = reader.post("/recognize", data=faces["obama2"], headers={"Accept": "application/json, image/jpeg"})
    assert reply.headers["Content-Type"] == "application/json"
    reply = reader.post("/recognize?format=json", data=faces["obama2"], headers={"Accept": "image/jpeg"})
    assert reply.headers["Content-Type"] == "application/json"


def test_a_turned_photo_is_annotated_upright(reader, faces):
    reply = reader.post("/recognize?format=jpeg", data=pictures.turned(faces["obama2"], 6))
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert picture.size == pictures.load(faces["obama2"]).size
        assert picture.getexif().get(0x0112, 1) == 1


# -- bad input -------------------------------------------------------------------------------------------------------

HUGE = "1" * 5000


@pytest.mark.parametrize(
    "query",
    [
        "topk=1",
        "Top_k=1",
        "request=1",
        "response=1",
        "self=1",
        "top_k=-1",
        "top_k=101",
        "top_k=1.5",
        "top_k=nan",
        "top_k=many",
        f"top_k={HUGE}",
        "top_k=1&top_k=2",
        "min_face=0",
        "min_face=-5",
        "min_face=inf",
        "min_face=1e3",
        "min_face=1000000000000000000000000000000",
        f"min_face={HUGE}",
        "threshold=-0.1",
        "threshold=4.1",
        "threshold=nan",
        "threshold=NaN",
        "threshold=inf",
        "threshold=-inf",
        "threshold=1e999",
        "threshold=near",
        f"threshold={HUGE}",
        "landmarks=6",
        "landmarks=",
        "landmarks=68,5",
        "format=png",
        "format=jpeg&format=json",
        "%00=1",
        "top_k=%00",
        "format=%F0%9F%92%A9",
    ],
)
def test_parameters_that_cannot_be_used(reader, faces, query):
    reply = reader.post(f"/recognize?{query}", data=faces["nobody"])
    if query == "landmarks=":
        assert reply.status_code == 200  # an empty field of a form is one that was not filled in
    else:
        assert (reply.status_code, code(reply)) == (400, "invalid_parameter"), reply.text


def test_a_query_that_is_not_utf_8(reader, faces):
    reply = reader.post("/recognize?%ff=1", data=faces["nobody"])
    assert (reply.status_code, code(reply)) == (400, "bad_request"), reply.text


@pytest.mark.parametrize(
    "fields",
    [
        '"top_k": "x"',
        '"top_k": []',
        '"top_k": {}',
        '"top_k": [1, 2]',
        '"top_k": 1e400',
        '"top_k": -1e400',
        '"min_face": 1e400',
        '"min_face": 1' + "0" * 400,
        '"threshold": 1e400',
        '"threshold": {"a": 1}',
        '"landmarks": true',
        '"landmarks": 6',
        '"format": 5',
        '"format": "\\ud800"',
        '"\\ud800": 1',
        '"image_url": ["a"]',
        '"": 1',
        '"top_k": "\\u0000"',
    ],
)
def test_json_parameters_that_cannot_be_used(reader, faces, fields):
    data = f'{{"image_base64": "{base64_of(faces["nobody"])}", {fields}}}'
    reply = reader.post("/recognize", data=data, headers={"Content-Type": "application/json"})
    expected = "bad_request" if "0" * 400 in fields else "invalid_parameter"  # such a number is not read at all
    assert (reply.status_code, code(reply)) == (400, expected), reply.text


def test_a_parameter_in_the_url_and_in_the_body(reader, web, faces):
    reply = reader.post("/recognize?top_k=1", files={"file": faces["nobody"]}, data={"top_k": "2"})
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")
    url = web.url("/o.jpg", faces["nobody"])
    reply = reader.post("/recognize", params={"image_url": url}, json={"image_url": url})
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")


def test_a_photo_given_twice(reader, web, faces):
    photo, url = faces["nobody"], web.url("/o.jpg", faces["nobody"])
    for reply in (
        reader.post("/recognize", files=[("file", photo), ("file", photo)]),
        reader.post("/recognize", files=[("file", photo), ("image", photo)]),
        reader.post("/recognize", files={"file": photo}, data={"image_url": url}),
        reader.post("/recognize", data=photo, params={"image_url": url}),
        reader.post("/recognize", json={"image_url": url, "image_base64": base64_of(photo)}),
        reader.post("/recognize", json={"image_base64": [base64_of(photo)] * 2}),
    ):
        assert (reply.status_code, code(reply)) == (400, "no_image"), reply.text


def test_no_photo_at_all(reader):
    for reply in (
        reader.get("/recognize"),
        reader.post("/recognize"),
        reader.post("/recognize", json={}),
        reader.get("/recognize", params={"image_url": ""}),
        reader.post("/recognize", files={"image_url": (None, "")}),
    ):
        assert (reply.status_code, code(reply)) == (400, "no_image"), reply.text


def test_a_photo_under_a_name_that_means_nothing(reader, faces):
    for fields in ({"picture": faces["nobody"]}, {"file": faces["nobody"], "other": faces["nobody"]}):
        reply = reader.post("/recognize", files=fields)
        assert (reply.status_code, code(reply)) == (400, "invalid_parameter"), reply.text


def test_a_photo_where_none_is_taken(reader, faces):
    for method, path in (("GET", "/people"), ("GET", "/health"), ("DELETE", "/people/Joe Biden")):
        reply = reader.request(method, path, data=faces["nobody"])
        assert (reply.status_code, code(reply)) == (400, "invalid_parameter"), reply.text
    assert "Joe Biden" in reader.people()
