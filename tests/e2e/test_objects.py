"""/objects as a client sees it."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from recognizer.photos.objects import LABELS

from . import pictures
from .serving import code


def test_objects_of_a_photo(reader, faces):
    answer = reader.post("/objects", data=faces["collins"]).json()
    assert list(answer) == ["image", "objects", "timing_ms"]
    assert answer["image"] == {"width": 512, "height": 512}
    person = answer["objects"][0]
    assert list(person) == ["label", "score", "box"] and list(person["box"]) == ["left", "top", "right", "bottom"]
    assert person["label"] == "person" and 0.5 <= person["score"] <= 1
    assert {"decode", "detect", "queue", "total"} == set(answer["timing_ms"])


def test_every_way_to_give_a_photo(reader, web, faces):
    photo = faces["collins"]
    url, encoded = web.url("/c.jpg", photo), base64.b64encode(photo).decode()
    answers = [
        reader.get("/objects", params={"image_url": url}),
        reader.post("/objects", params={"image_url": url}),
        reader.post("/objects", files={"file": photo}),
        reader.post("/objects", data=photo),
        reader.post("/objects", json={"image_base64": encoded}),
        reader.post("/objects", json={"image_url": url, "labels": "person", "threshold": 0.5}),
    ]
    found = [[each for each in answer.json()["objects"] if each["label"] == "person"] for answer in answers]
    assert found[0] and all(each == found[0] for each in found)


def test_nothing_found(reader, faces):
    answer = reader.post("/objects?labels=giraffe", data=faces["collins"])
    assert (answer.status_code, answer.json()["objects"]) == (200, [])
    assert reader.post("/objects?threshold=1", data=faces["nobody"]).json()["objects"] == []


def test_threshold_and_labels(reader, faces):
    def ask(**params) -> list:
        return reader.post("/objects", params=params, data=faces["trio"]).json()["objects"]

    many, few = ask(threshold=0.1), ask(threshold=0.6)
    assert few == [each for each in many if each["score"] >= 0.6]
    assert ask(threshold=0.1, labels="person, tie") == [each for each in many if each["label"] in ("person", "tie")]


@pytest.mark.parametrize("ask", ["format=jpeg", "accept"])
def test_the_annotated_photo(reader, faces, ask):
    query, headers = ("?format=jpeg", {}) if ask != "accept" else ("", {"Accept": "image/jpeg"})
    reply = reader.post(f"/objects{query}", data=faces["collins"], headers=headers)
    assert reply.headers["Content-Type"] == "image/jpeg"
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert picture.size == pictures.load(faces["collins"]).size
    assert reply.content != faces["collins"]


def test_labels(reader):
    assert reader.get("/objects/labels").json() == {"labels": list(LABELS.values())}
    assert reader.get("/objects/labels?x=1").status_code == 400
    assert reader.post("/objects/labels").status_code == 405


@pytest.mark.parametrize(
    "query", ["threshold=0", "threshold=1.1", "threshold=nan", "threshold=x", "labels=dgo", "labels=,", "top_k=1", "format=png"]
)
def test_parameters_that_cannot_be_used(reader, faces, query):
    reply = reader.post(f"/objects?{query}", data=faces["collins"])
    assert (reply.status_code, code(reply)) == (400, "invalid_parameter")


def test_bad_photos(reader, faces):
    for body, status, expected in (
        (b"not a photo", 415, "unsupported_image"),
        (faces["collins"][:2000], 422, "broken_image"),
        (b"", 400, "no_image"),
    ):
        reply = reader.post("/objects", data=body)
        assert (reply.status_code, code(reply)) == (status, expected)
    assert code(reader.get("/objects")) == "no_image"


def test_a_label_that_is_misspelt_is_told(reader, faces):
    error = reader.post("/objects?labels=dgo", data=faces["collins"]).json()["error"]
    assert "'dog'" in error["message"] and "dog" in error["labels"]
