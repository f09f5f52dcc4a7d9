"""Other services' own clients, as their makers published them, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from recognizer.photos.objects import LABELS

from . import pictures
from .client_packages import ran
from .serving import IN_FOLDER_AND_DATABASE, Server

SCRIPTS = Path(__file__).with_name("client_scripts.py")

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory, people_in):
    with Server(tmp_path_factory.mktemp("clients"), embedder="sface", **people_in) as server:
        yield server


@pytest.fixture
def album(server, faces, tmp_path) -> Path:
    """A folder of photos; nobody is enrolled."""
    for name in ("obama", "obama2", "biden", "collins", "nobody"):
        (tmp_path / f"{name}.jpg").write_bytes(faces[name])
    server.clear()
    return tmp_path


@pytest.fixture
def ask(clients, server, album):
    """Run what users of a Python client do; what the client said."""
    return lambda client: ran(sys.executable, SCRIPTS, client, server.port, album, folder=album, PYTHONPATH=str(clients))


def test_deepstack_sdk(ask, server):
    said = ask("deepstack_sdk")
    assert said.pop("refused") == "Invalid image"
    assert said == {
        "registered": True,
        "known": ["Barack & Co"],
        "stranger": ["unknown"],
        "nobody": 0,
        "found": 1,
        "list": ["Barack & Co"],
        "deleted": True,
        "left": [],
    }
    assert server.files() == []


def test_deepstack_python(ask):
    said = ask("deepstack_python")
    assert said["registered"] == ["face added", "face updated"]
    assert list(said["known"]) == ["Ada"] and said["known"]["Ada"] > 99
    assert said["stranger"] == {} and said["nobody"] == [] and said["found"] == 1
    assert "person" in said["objects"] and "400" in said["refused"]


def test_codeproject_ai_api(ask):
    said = ask("codeproject_ai_api")
    assert said["registered"] == "face added" and list(said["known"]) == ["Ada"]
    assert said["stranger"] == {} and said["nobody"] == [] and said["list"] == ["Ada"]


def test_compreface_sdk(ask, server):
    said = ask("compreface_sdk")
    assert said["made"] == {"subject": "Empty"} and said["subjects"] == [{"subjects": ["Empty"]}]
    assert set(said["added"]) == {"image_id", "subject"} and len(said["added"]["image_id"]) == 36
    assert said["known"] == ["Barack Obama"] and said["stranger"] == [] and said["known_again"] == ["The President"]
    assert said["nobody"]["code"] == said["refused"]["code"] == 28
    assert len(said["face"]["landmarks"]) == 5 and len(said["face"]["embedding"]) > 100 and "age" not in said["face"]
    assert said["face"]["execution_time"]["detector"] >= 0
    assert said["same"] > 0.8 and said["other"] < 0.4 and said["stored"]["similarity"] > 0.8
    assert said["renamed"] == {"updated": True} and said["slash"]["code"] == 42
    assert said["list"]["faces"] == [{"image_id": said["added"]["image_id"], "subject": "The President"}]
    assert said["deleted"][0]["subject"] == "The President" and said["deleted"][1]["code"] == 44
    assert said["everybody"] == [{"deleted": 1}, {"subjects": []}] and server.files() == []


@IN_FOLDER_AND_DATABASE
def test_azure_cognitiveservices_vision_face(ask, server):
    said = ask("azure_cognitiveservices")
    assert said["group"] == {"name": "My friends", "user_data": "of mine", "person_group_id": "friends"}
    assert said["again"].startswith("(PersonGroupExists) ") and said["untrained"].startswith("(PersonGroupNotTrained) ")
    assert said["no_face"].startswith("(InvalidImage) ") and said["trained"] is said["face_known"] is True
    assert said["person"]["name"] == "Barack & Co" and said["person"]["user_data"] == "president"
    assert said["names"] == {"obama2": ["Barack & Co"], "collins": [None], "nobody": []}
    seen = said["seen"]
    assert len(seen["face_landmarks"]) == 23 and seen["recognition_model"] == "recognition_01"
    rectangle, nose = seen["face_rectangle"], seen["face_landmarks"]["nose_tip"]
    assert 0 < nose["x"] - rectangle["left"] < rectangle["width"] and 0 < nose["y"] - rectangle["top"] < rectangle["height"]
    assert seen["face_landmarks"]["pupil_left"]["x"] < nose["x"] < seen["face_landmarks"]["pupil_right"]["x"]
    shown = seen["face_attributes"]  # those that a setting enables are off, and glasses cannot be told
    assert set(shown) == {"head_pose", "blur", "exposure", "quality_for_recognition"}
    assert shown["quality_for_recognition"] == "High" and shown["blur"]["blur_level"] == "Low"
    assert said["verified"]["is_identical"] is True and said["verified"]["confidence"] > 0.8
    assert said["other"]["is_identical"] is False and said["other"]["confidence"] < 0.4
    assert said["similar"] == [True] and said["list"] == ["one", None] and said["grouped"] == [[2], True]
    assert said["renamed"] == ["The President"] and said["faceless"] == [[]]
    assert said["missing"].startswith("(PersonNotFound) ") and said["gone"].startswith("(PersonGroupNotFound) ")
    assert said["lists"] == ["default", "friends"] and said["left"] == [["default"], []]
    assert server.files() == []


def test_the_example_with_a_clip_instead_of_a_webcam(clients, server, album, faces):
    import cv2
    import numpy as np

    for person, name in (("Barack", "obama"), ("Joe", "biden")):
        (album / "photos" / person).mkdir(parents=True)
        (album / f"{name}.jpg").rename(album / "photos" / person / "1.jpg")
    picture = cv2.imdecode(np.frombuffer(faces["trio"], np.uint8), cv2.IMREAD_COLOR)
    height, width = (each - each % 2 for each in picture.shape[:2])
    clip = cv2.VideoWriter(str(album / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (width, height))
    for _ in range(2):
        clip.write(picture[:height, :width])
    clip.release()
    example = Path(__file__).parents[2] / "examples" / "azure_webcam.py"
    command = [sys.executable, example, album / "photos", "--source", album / "clip.mp4", "--output", album / "film.mp4"]
    environ = {**os.environ, "PYTHONPATH": str(clients)}
    for _ in range(2):  # the group of the first run is made anew
        done = subprocess.run(
            [*map(str, command), "--endpoint", server.url], capture_output=True, text=True, env=environ, timeout=300
        )
        assert done.returncode == 0, done.stderr
        shown = [sorted(line.split("; ")) for line in done.stdout.splitlines()]
        assert shown == [["Barack", "Joe", "unknown"]] * 2
    film = cv2.VideoCapture(str(album / "film.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 2
    film.release()
    assert server.request("DELETE", "/groups/webcam").json()["people"] == 2


def test_azure_ai_vision_face(ask):
    said = ask("azure_ai")
    assert "(LargePersonGroupEmpty)" in said["empty"] and said["status"] == "succeeded"
    assert said["known"] is True and said["stranger"] == [] and said["same"] is False
    assert said["missing"] == [404, "LargePersonGroupNotFound"] and said["left"] == 1


def test_the_programs_that_azure_ai_vision_face_carries(ask, samples, album, faces, web):
    """As published; only their photos are others, and the one on the Internet is on this machine."""
    smaller = {name: pictures.smaller(faces[name], 600) for name in ("obama", "biden", "collins")}
    photos = {
        "Family1-Dad1": faces["obama"], "Family1-Dad2": smaller["obama"], "Family1-Dad3": faces["obama2"],
        "Family1-Mom1": faces["collins"], "Family1-Mom2": smaller["collins"],
        "Family1-Son1": faces["biden"], "Family1-Son2": smaller["biden"], "Family3-Man1": faces["biden"],
        "Family2-Lady1": faces["obama"], "Family2-Lady2": smaller["obama"], "Family3-Lady1": faces["biden"],
        "findsimilar": faces["obama2"], "detection1": faces["collins"], "detection5": faces["obama2"],
    }  # fmt: skip
    images = samples / "images"
    images.mkdir()
    for name, photo in photos.items():
        (images / f"{name}.jpg").write_bytes(photo)
    several = pictures.side_by_side([faces["obama"], faces["obama2"], faces["biden"], faces["collins"]])
    (images / "nine-faces.png").write_bytes(pictures.converted(several, "PNG"))
    (album / "samples").symlink_to(samples)
    (album / "url").write_text(web.url("/sample.jpg", faces["obama2"]))
    said = ask("azure_ai_samples")
    assert "faceRectangle" in said["authentication_by_api_key"]
    assert '"qualityForRecognition": "high"' in said["detect"] and '"headPose"' in said["detect"]
    assert "Detection result: #1" in said["detect_from_url"]
    groups = json.loads(said["group"].partition("Group result: ")[2])
    assert [len(each) for each in groups["groups"]] == [2] and len(groups["messyGroup"]) == 2
    assert (
        said["verify_face_to_face"].count('"isIdentical": true')
        == said["verify_face_to_face"].count('"isIdentical": false')
        == 1
    )
    assert said["find_similar_from_face_ids"].count('"confidence"') == 2
    assert said["find_similar_from_large_face_list"].count('"persistedFaceId"') == 3
    verified, _, identified = said["verify_and_identify_from_large_person_group"].partition("Identify the face")
    bill, clare = verified.split("Verify the face with ")[1:]
    assert '"isIdentical": true' in bill and '"isIdentical": false' in clare and '"personId"' in identified
    assert "Remove the LargePersonGroup" in identified


def test_compreface_js_sdk(node_clients, server, album):
    script = SCRIPTS.with_name("compreface_js.mjs")
    said = ran("node", script, node_clients, server.port, folder=album)
    assert said["added"]["subject"] == "Barack & Co" and said["base64"]["subject"] == "Joe"
    assert said["subjects"] == {"subjects": ["Barack & Co", "Joe"]}
    assert said["known"] == ["Barack & Co"] and said["stranger"] == [None] and said["nobody"]["code"] == 28
    assert len(said["detected"]["result"]) == 1
    assert said["verified"]["result"][0]["face_matches"][0]["similarity"] > 0.8
    assert said["renamed"] == {"updated": True} and said["list"]["total_elements"] == 2
    assert said["deleted"] == {"image_id": said["added"]["image_id"], "subject": "Barack"}
    assert said["several"] == [{"image_id": said["base64"]["image_id"], "subject": "Joe"}]
    assert said["missing"]["code"] == 44 and said["left"] == {"subjects": []} and server.files() == []


def test_azure_js_packages(node_clients, server, album):
    said = ran("node", SCRIPTS.with_name("azure_js.mjs"), node_clients, server.port, folder=album)
    assert said == {
        "again": "PersonGroupExists",
        "training": "succeeded",
        "attributes": ["blur", "headPose"],
        "names": [[True], []],
        "people": ["Barack"],
        "rest": [[True]],
        "missing": "PersonGroupNotFound",
        "left": ["default"],
    }
    assert server.files() == []


def test_frigates_detector_as_it_was_recorded(server, faces):
    """The picture is the model's input; Frigate stops at the first label that it does not know, or that is not certain."""
    picture = pictures.smaller(faces["biden"], 320)
    form = {"data": {"api_key": ""}, "files": {"image": ("image", picture)}}
    found = requests.post(f"{server.url}/v1/vision/detection", timeout=60, **form).json()["predictions"]
    assert found and {each["label"] for each in found} <= set(LABELS.values())
    assert [each["confidence"] for each in found] == sorted((each["confidence"] for each in found), reverse=True)
    assert all(each["confidence"] >= 0.4 and 0 <= each["x_min"] < each["x_max"] <= 320 for each in found)
