"""Attributes of faces as a client sees them: on photos and on live video."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import requests
from PIL import Image, ImageFilter, ImageOps

from .serving import Server, code


@pytest.fixture(scope="module")
def looks(tmp_path_factory, faces, attribute_weights):
    """A server that says age and gender, and no expression."""
    server = Server(
        tmp_path_factory.mktemp("looks"),
        attributes="gender,age",
        event_attributes="on",
        event_left_seconds=1,
        camera="none",
        camera_allow="127.0.0.1",
    )
    server.put("Barack Obama/one.jpg", faces["obama"])
    with server:
        yield server


def test_recognize_says_what_was_asked_for(looks, faces):
    reply = looks.post("/recognize?attributes=age,gender", data=faces["obama2"]).json()
    [face] = reply["faces"]
    assert face["subject"] == "Barack Obama"
    said = face["attributes"]
    assert set(said) == {"age", "gender", "reasons"} and said["reasons"] == {}
    assert said["age"]["low"] < said["age"]["high"] and said["age"]["coverage"] == 0.8
    assert said["gender"]["value"] == "male" and said["gender"]["probability"] >= 0.9
    assert reply["timing_ms"]["attributes"] > 0
    [face] = looks.post("/recognize?attributes=gender", data=faces["obama2"]).json()["faces"]
    assert set(face["attributes"]) == {"gender", "reasons"}


def test_detect_says_it_too_and_measures_the_quality(looks, faces):
    [face] = looks.post("/detect", files={"file": faces["biden"]}, data={"attributes": "gender"}).json()["faces"]
    assert face["attributes"]["gender"]["value"] == "male" and face["quality"]["remarks"] == []
    reply = looks.post("/detect?attributes=age&format=jpeg", data=faces["collins"])
    plain = looks.post("/detect?format=jpeg", data=faces["collins"])
    assert reply.headers["Content-Type"] == "image/jpeg" and reply.content != plain.content


def test_what_was_not_asked_for_is_not_said(looks, faces):
    [face] = looks.recognize(faces["obama2"])["faces"]
    assert "attributes" not in face
    [face] = looks.post("/detect", data=faces["obama2"]).json()["faces"]
    assert set(face) == {"box", "score", "landmarks"}
    assert looks.post("/recognize?attributes=age", data=faces["nobody"]).json()["faces"] == []


def test_of_a_blurred_face_nothing_is_said_and_why(looks, faces):
    with Image.open(io.BytesIO(faces["obama2"])) as photo:
        buffer = io.BytesIO()
        photo.filter(ImageFilter.GaussianBlur(14)).save(buffer, "JPEG")
    [face] = looks.post("/recognize?attributes=age,gender", data=buffer.getvalue()).json()["faces"]
    assert "blurred" in face["quality"]["remarks"]
    assert face["attributes"]["age"] is None and face["attributes"]["gender"] is None
    assert "blurred" in face["attributes"]["reasons"]["age"]


def test_of_a_face_that_cannot_be_compared_nothing_is_said(looks, faces):
    with Image.open(io.BytesIO(faces["obama2"])) as photo:
        buffer = io.BytesIO()
        ImageOps.invert(photo.convert("RGB")).save(buffer, "JPEG")
    [face] = looks.post("/recognize?attributes=age&min_face=40", data=buffer.getvalue()).json()["faces"]
    assert face["comparable"] is False and face["attributes"]["age"] is None
    assert "not_comparable" in face["attributes"]["reasons"]["age"]


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        ("shoes", "invalid_parameter"),
        ("age,ethnicity", "invalid_parameter"),
        ("age,expression", "attributes_off"),
    ],
)
def test_what_cannot_be_asked_for(looks, faces, wanted, refused):
    reply = looks.post(f"/recognize?attributes={wanted}", data=faces["obama2"])
    assert (reply.status_code, code(reply)) == (400, refused)
    assert wanted.split(",")[-1] in reply.json()["error"]["message"]


def test_everything_is_off_by_default(reader, faces):
    for route in ("/recognize", "/detect"):
        reply = reader.post(f"{route}?attributes=age", data=faces["obama2"])
        assert (reply.status_code, code(reply)) == (400, "attributes_off")


def test_on_the_command_line(looks, faces, tmp_path):
    (tmp_path / "one.jpg").write_bytes(faces["biden"])
    done = looks.cli("detect", str(tmp_path / "one.jpg"), "--attributes", "gender,age")
    assert done.exit_code == 0 and "years" in done.stdout and "male" in done.stdout
    done = looks.cli("detect", str(tmp_path / "one.jpg"), "--attributes", "expression")
    assert done.exit_code == 1 and "[attributes_off]" in done.stderr


def test_watching_a_recording_of_photos_says_it_per_track(looks, faces, tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(faces["biden"])
    done = looks.cli("watch", str(tmp_path), "--every-frame", "--json", "--attributes", "age,gender")
    assert done.exit_code == 0, done.stderr
    results = [json.loads(line)["faces"][0]["attributes"] for line in done.stdout.splitlines()]
    assert results[0]["age"] is None and results[0]["reasons"]["age"] == ["undecided"]
    assert results[-1]["age"]["low"] > 30 and results[-1]["gender"]["value"] == "male"


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(looks) -> Server:
    """What `visit` looks at."""
    return looks


def test_the_page_has_a_switch_for_what_is_enabled(visit, server, faces):
    made = server.post("/cameras", data={"source": "test:"}).json()
    page = visit.open()
    visit.drop("#main", ("one.jpg", faces["biden"]))
    page.get_by_role("switch", name="Looks").check()
    said = page.locator(".looks")
    said.wait_for()
    assert "years" in said.inner_text() and "male" in said.inner_text() and "Expression" not in said.inner_text()
    page.get_by_role("switch", name="Looks").uncheck()
    said.wait_for(state="detached")
    page = visit.open("#/live")
    page.get_by_role("switch", name="Gender").wait_for()
    assert page.get_by_role("switch", name="Age").count() == 1
    assert page.get_by_role("switch", name="Expression").count() == 0
    assert server.request("DELETE", f"/cameras/{made['id']}").status_code == 200


# -- live video --------------------------------------------------------------------------------------------------------


def test_layers_that_are_not_enabled_are_refused(looks, reader):
    for server, layer in ((looks, "expression"), (reader, "age")):
        for path in ("stream", "snapshot.jpg"):
            reply = server.get(f"/cameras/default/{path}?overlay=faces,{layer}")
            assert (reply.status_code, code(reply)) == (400, "attributes_off")


def test_live_video_draws_it_and_events_tell_it_until_it_is_erased(looks, faces, stage):
    made = looks.post("/cameras", data={"source": stage.url(), "name": "door", "always": "1"}).json()
    stage.hold(faces["obama2"])

    def events(kind: str) -> list[dict]:
        return [each for each in looks.get("/events?format=json&limit=100").json()["events"] if each["kind"] == kind]

    looks.wait_for(lambda: events("appeared"), 240)
    snapshot = f"/cameras/{made['id']}/snapshot.jpg?overlay="

    def labels_differ() -> bool:
        """Below the box, where the label is, both pictures differ."""
        one, other = (
            np.asarray(Image.open(io.BytesIO(looks.get(snapshot + layers).content))).astype(int)
            for layers in ("faces", "faces,age,gender")
        )
        return bool((np.abs(one - other)[8:].max(axis=2) > 80).sum() > 200)

    looks.wait_for(labels_differ, 240)
    stage.hold(None)
    looks.wait_for(lambda: events("left"), 240)
    said = events("left")[0]["attributes"]
    assert set(said) == {"age", "gender"} and said["gender"]["value"] == "male"
    assert looks.request("DELETE", f"/cameras/{made['id']}").status_code == 200
    assert looks.request("DELETE", "/people/Barack Obama").status_code == 200
    assert all("attributes" not in each for each in events("left") + events("appeared"))


def test_deepfaces_analysis_says_it_as_well(looks, faces):
    files = {"img": ("a.jpg", faces["obama2"])}
    (face,) = requests.post(f"{looks.url}/deepface/analyze", files=files, timeout=60).json()["results"]  # all, by default
    assert 20 < face["age"] < 80 and face["dominant_gender"] == "Man" and face["gender"]["Man"] > 90
    assert sum(face["gender"].values()) == pytest.approx(100, abs=0.1) and "emotion" not in face and face["region"]["w"] > 50
    asked = {"files": files, "data": {"actions": "['gender']"}}
    (face,) = requests.post(f"{looks.url}/deepface/analyze", timeout=60, **asked).json()["results"]
    assert "age" not in face and face["dominant_gender"] == "Man"
    for actions in ("emotion", "race"):
        refused = requests.post(f"{looks.url}/deepface/analyze", files=files, data={"actions": actions}, timeout=60)
        assert refused.status_code == 400 and actions in refused.json()["error"]


def test_comprefaces_plugins_say_it_as_well(looks, faces):
    url = f"{looks.url}/api/v1/recognition/recognize?face_plugins=age,gender,mask"
    [face] = requests.post(url, files={"file": ("a.jpg", faces["obama2"])}, timeout=60).json()["result"]
    assert set(face) == {"box", "subjects", "age", "gender"}
    assert face["age"]["low"] < face["age"]["high"] and face["gender"]["value"] == "male"
