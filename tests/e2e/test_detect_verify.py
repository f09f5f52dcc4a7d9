"""/detect and /verify as a client sees them."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from . import pictures
from .serving import code


def test_detect_finds_everybody_and_names_nobody(reader, faces):
    answer = reader.post("/detect", data=faces["trio"]).json()
    assert list(answer) == ["image", "faces", "timing_ms"]
    assert len(answer["faces"]) == 3
    for face in answer["faces"]:
        assert set(face) == {"box", "score", "landmarks"}
        assert set(face["landmarks"]) == {"left_eye", "right_eye", "nose_tip", "mouth_left", "mouth_right"}


def test_detect_sees_what_recognize_sees(reader, faces):
    found, recognised = reader.post("/detect", data=faces["trio"]).json(), reader.recognize(faces["trio"])
    assert [face["box"] for face in found["faces"]] == [face["box"] for face in recognised["faces"]]


def test_detect_takes_a_photo_in_every_way(reader, web, faces):
    photo = faces["obama2"]
    for reply in (
        reader.post("/detect", params={"image_url": web.url("/o.jpg", photo)}),
        reader.post("/detect", files={"file": photo}),
        reader.post("/detect", json={"image_base64": base64.b64encode(photo).decode()}),
    ):
        assert len(reply.json()["faces"]) == 1


def test_detect_parameters(reader, faces):
    [face] = reader.post("/detect?landmarks=68", data=faces["obama2"]).json()["faces"]
    assert len(face["landmarks"]["chin"]) == 17
    encoded = base64.b64encode(faces["obama2"]).decode()
    for number in (68, "68"):
        reply = reader.post("/detect", json={"image_base64": encoded, "landmarks": number})
        assert reply.json()["faces"] == [face]
    assert reader.post("/detect?min_face=700", data=faces["obama2"]).json()["faces"] == []
    assert reader.post("/detect", data=faces["nobody"]).json()["faces"] == []
    reply = reader.post("/detect?format=jpeg", data=faces["obama2"])
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert picture.size == pictures.load(faces["obama2"]).size
    for query in ("top_k=1", "threshold=1", "landmarks=7", "min_face=0"):
        reply = reader.post(f"/detect?{query}", data=faces["obama2"])
        assert (reply.status_code, code(reply)) == (400, "invalid_parameter")


# -- verify ----------------------------------------------------------------------------------------------------------


def pair_ways(web, one: bytes, two: bytes) -> dict[str, dict]:
    encoded = [base64.b64encode(photo).decode() for photo in (one, two)]
    urls = [web.url("/one.jpg", one), web.url("/two.jpg", two)]
    return {
        "two files": {"files": [("file", ("a", one)), ("file", ("b", two))]},
        "file and other": {"files": {"file": one, "other": two}},
        "urls": {"params": {"image_url": urls[0], "other_url": urls[1]}},
        "urls in a form": {"data": {"image_url": urls[0], "other_url": urls[1]}},
        "base64": {"json": {"image_base64": encoded[0], "other_base64": encoded[1]}},
        "base64 and url": {"json": {"image_base64": encoded[0], "other_url": urls[1]}},
        "file and url": {"files": {"file": one}, "data": {"other_url": urls[1]}},
        "body and url": {"data": one, "params": {"other_url": urls[1]}},
    }


def test_verify_in_every_way(reader, web, faces):
    for way, how in pair_ways(web, faces["obama"], faces["obama2"]).items():
        answer = reader.post("/verify", **how).json()
        assert answer["same"] is True, way
        keys = {"same", "distance", "threshold", "false_match_rate", "comparable", "faces", "timing_ms"}
        assert set(answer) == keys and answer["comparable"] is True
        assert 0 < answer["distance"] <= answer["threshold"]
        assert len(answer["faces"]) == 2
    for way, how in pair_ways(web, faces["obama"], faces["biden"]).items():
        answer = reader.post("/verify", **how).json()
        assert answer["same"] is False, way
        assert answer["distance"] > answer["threshold"]


def test_order_does_not_matter_and_the_same_photo_is_at_no_distance(reader, faces):
    def distance(one, two):
        return reader.post("/verify", files={"file": one, "other": two}).json()["distance"]

    assert distance(faces["obama"], faces["obama2"]) == distance(faces["obama2"], faces["obama"])
    assert distance(faces["obama"], faces["obama"]) == pytest.approx(0, abs=1e-3)


def test_the_largest_face_is_taken(reader, faces):
    crowd = pictures.load(faces["biden"])
    small = pictures.load(faces["obama"])
    small.thumbnail((200, 200))
    crowd.paste(small, (0, crowd.height - small.height))
    answer = reader.post("/verify", files={"file": pictures.save(crowd), "other": faces["biden"]}).json()
    assert answer["same"] is True


def test_verify_a_subject(reader, faces):
    for subject, photo, same in (
        ("Barack Obama", "obama2", True),
        ("Barack Obama", "biden", False),
        ("Joe Biden", "biden", True),
        ("  Barack   Obama ", "obama2", True),
    ):
        answer = reader.post("/verify", files={"file": faces[photo]}, data={"subject": subject}).json()
        assert answer["same"] is same
        assert len(answer["faces"]) == 1


def test_verify_threshold(reader, faces):
    pair = {"file": faces["obama"], "other": faces["obama2"]}
    assert reader.post("/verify?threshold=0", files=pair).json()["same"] is False
    assert reader.post("/verify?threshold=4", files={"file": faces["obama"], "other": faces["biden"]}).json()["same"] is True
    for value in ("nan", "-1", "5", "x"):
        assert reader.post(f"/verify?threshold={value}", files=pair).status_code == 400


@pytest.mark.parametrize(("names", "which"), [(("nobody", "obama"), "photo"), (("obama", "nobody"), "other")])
def test_no_face_says_on_which_photo(reader, faces, names, which):
    reply = reader.post("/verify", files={"file": faces[names[0]], "other": faces[names[1]]})
    assert (reply.status_code, code(reply)) == (422, "no_face")
    assert reply.json()["error"]["photo"] == which


def test_verify_needs_a_photo_and_one_thing_to_compare_it_with(reader, web, faces):
    photo = faces["obama"]
    three = [("file", ("a", photo))] * 3
    url = web.url("/one.jpg", photo)
    for how in (
        {},
        {"files": {"file": photo}},
        {"files": {"other": photo}},
        {"data": {"subject": "Joe Biden"}},
        {"files": {"file": photo, "other": photo}, "data": {"subject": "Joe Biden"}},
        {"files": {"file": photo, "other": photo}, "data": {"other_url": url}},
        {"files": [("file", photo), ("file", photo), ("other", photo)]},
        {"files": three},
        {"files": {"file": photo, "other": photo}, "data": {"image_url": url}},
        {"params": {"image_url": [url, url]}},
    ):
        assert reader.post("/verify", **how).status_code == 400, how


def test_a_broken_second_photo(reader, faces):
    reply = reader.post("/verify", files={"file": faces["obama"], "other": b"not a photo"})
    assert (reply.status_code, code(reply)) == (415, "unsupported_image")
