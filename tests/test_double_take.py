"""Double Take's topics with a real Mosquitto broker, and a Frigate that is played: its events by MQTT, its API by HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import numpy as np
import pytest

from recognizer.core.errors import BrokenImage, SettingsError
from recognizer.core.settings import Settings
from recognizer.events.appearances import EventRules
from recognizer.events.double_take_topics import LookedAt, NamedFace, messages, result, sensors, topic_part
from recognizer.events.event_hub import Events
from recognizer.events.frigate import MOST_LOOKS, Frigate, FrigateOptions, has_picture, read_report
from recognizer.events.frigate_api import FrigateApi
from recognizer.events.frigate_login import FrigateRequests
from recognizer.events.mqtt import Mqtt, MqttOptions
from recognizer.events.mqtt_broker import Broker as Where
from recognizer.fetching.fetcher import Fetcher
from recognizer.photos import images
from recognizer.service.delivering import frigate_api

from .brokers import MISSING, MOSQUITTO, Broker, Listener
from .frigates import PlayedFrigate, report
from .scenes import Camera, State, face, frame
from .streams import wait_for

needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
QUICK = EventRules(shown_seconds=0, shown_frames=1, unknown_seconds=0.05, left_seconds=0.4, camera_seconds=0)
ADA = NamedFace("Ada Lovelace", 0.93, (100, 50, 200, 150))
STRANGER = NamedFace(None, 0.2, (400, 50, 480, 150))


# -- topics and payloads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Ada Lovelace", "ada-lovelace"),
        ("Zoë  Straße", "zoe-strasse"),
        ("O'Brien, Jr.", "obrien-jr"),
        ("a+b/#", "ab"),
        ("front_door", "frontdoor"),
    ],
)
def test_names_in_topics(name, part):
    assert topic_part(name) == part


def test_names_of_which_no_letter_is_left_differ():
    assert topic_part("李") != topic_part("王") and topic_part("李").isalnum()


def test_messages_about_two_people():
    made = dict(messages([ADA, STRANGER], LookedAt("7", "Front Door", "2026-11-30T00:00:00.000Z", filename="7.jpg"), "ha"))
    assert set(made) == {
        "double-take/matches/ada-lovelace",
        "double-take/matches/unknown",
        "double-take/cameras/front-door",
        "ha/sensor/double-take/ada-lovelace/state",
        "ha/sensor/double-take/unknown/state",
        "ha/sensor/double-take/front-door/state",
    }
    ada = json.loads(made["double-take/matches/ada-lovelace"])
    assert ada["match"] == {
        "name": "ada lovelace",
        "confidence": 93.0,
        "match": True,
        "box": {"top": 50, "left": 100, "width": 100, "height": 100},
        "type": "mqtt",
        "duration": 0.0,
        "detector": "recognizer",
        "filename": "7.jpg",
        "base64": None,
    }
    camera = json.loads(made["double-take/cameras/front-door"])
    assert camera["counts"] == {"person": 2, "match": 1, "miss": 0, "unknown": 1} and camera["personCount"] == 2
    assert json.loads(made["double-take/matches/unknown"])["unknown"]["match"] is False
    assert messages([], LookedAt("7", "door", ""), "ha") == []
    assert len(messages([ADA], LookedAt("7", "door", ""), "")) == 2
    assert result([STRANGER], LookedAt("7", "door", ""))["matches"] == []


def test_sensors_of_home_assistant():
    made = sensors("ha", ["Ada Lovelace"], ["door"], "recognizer/status")
    ada = made["ha/sensor/double-take/ada-lovelace/config"]
    assert ada["unique_id"] == ada["object_id"] == "double_take_ada_lovelace" and ada["expire_after"] == 600
    assert ada["default_entity_id"] == "sensor.double_take_ada_lovelace"
    assert (
        ada["state_topic"] == "ha/sensor/double-take/ada-lovelace/state" and ada["value_template"] == "{{ value_json.camera }}"
    )
    assert made["ha/sensor/double-take/door/config"]["value_template"] == "{{ value_json.counts.person }}"
    assert "ha/sensor/double-take/unknown/config" in made


# -- by MQTT -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def hub(tmp_path) -> Iterator[Events]:
    made = Events(tmp_path / "events", QUICK)
    yield made
    made.close()


def api_of(frigate: PlayedFrigate) -> FrigateApi:
    return FrigateApi(FrigateRequests(frigate.url, Fetcher(allow=["127.0.0.1"])))


def where(broker: Broker) -> Where:
    return Where("127.0.0.1", broker.port, user=broker.user, password=broker.password)


@pytest.mark.slow
@needs_broker
def test_who_appears_is_published_and_no_name_is_retained(hub, broker):
    people = ["Ada", "Bob"]
    listener = Listener(broker)
    options = MqttOptions(version="1.0", double_take=True)
    mqtt = Mqtt(
        hub, where(broker), options, cameras=lambda: [("door", "Front door")], people=lambda: people, alike=lambda *_: 0.9
    )
    hub.deliver_to([mqtt])
    wait_for(lambda: listener.held().get("double-take/available") == b"online")
    assert listener.held()["double-take/cameras/door/person"] == b"0"
    assert "homeassistant/sensor/double-take/ada/config" in listener.held()
    hub.state(Camera(), State("live"))
    for number in range(6):
        hub(Camera(), frame(number, face(1, "Ada"), time=time.time()))
        time.sleep(0.03)
    (shown,) = wait_for(lambda: listener.of("double-take/matches/ada"))
    assert json.loads(shown)["match"]["confidence"] == 90 and json.loads(shown)["camera"] == "door"
    wait_for(lambda: listener.of("homeassistant/sensor/double-take/door/state"))
    wait_for(lambda: listener.held()["double-take/cameras/door/person"] == b"1")
    mqtt.tell([STRANGER], LookedAt("x", "manual", "2026-11-30T00:00:00.000Z", "manual"))
    wait_for(lambda: listener.of("double-take/matches/unknown"))
    before = len(listener.of("recognizer/status"))
    people.remove("Ada")
    hub.erase("Ada")
    wait_for(lambda: "homeassistant/sensor/double-take/ada/config" not in listener.held())
    wait_for(lambda: len(listener.of("recognizer/status")) > before)  # the last of what is published again
    late = Listener(broker, "double-take/#", "homeassistant/sensor/double-take/#")
    wait_for(lambda: {"double-take/available", "double-take/cameras/door/person"} <= set(late.held()))
    assert set(late.held()) == {"double-take/available", "double-take/cameras/door/person"}
    mqtt.stop()
    wait_for(lambda: listener.held().get("double-take/available") == b"offline")
    for each in (listener, late):
        each.close()


# -- Frigate ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def frigate() -> Iterator[PlayedFrigate]:
    played = PlayedFrigate()
    yield played
    played.close()


@needs_broker
def test_events_of_frigate_get_sub_labels(hub, broker, frigate):
    known = {
        b"ada": [ADA, STRANGER],
        b"stranger": [STRANGER],
        b"gone": [ADA],
        b"both": [ADA, NamedFace("Bob", 0.85, (0, 0, 9, 9))],
    }
    looked: list[bytes] = []

    def look(photo: bytes) -> list[NamedFace]:
        looked.append(photo[3:])
        if photo.endswith(b"broken"):
            raise BrokenImage("it is broken")
        return known[photo[3:]]

    options = FrigateOptions(double_take=True, discovery="homeassistant", seconds=0)
    watch = Frigate(hub.log, where(broker), api_of(frigate), look, options)
    listener = Listener(broker, "double-take/#")
    hub.deliver_to([watch])
    wait_for(lambda: watch.problem is None)

    def publish(**event) -> None:
        listener.client.publish("frigate/events", json.dumps(report(**event)), qos=1).wait_for_publish(10)

    publish(id="ada", snapshot={"box": [90, 40, 220, 600]})  # the stranger stands beside
    (shown,) = wait_for(lambda: listener.of("double-take/matches/ada-lovelace"))
    assert frigate.labels == [
        ("/api/events/ada/sub_label", {"subLabel": "Ada Lovelace", "subLabelScore": 0.93, "camera": "door"})
    ]
    assert json.loads(shown)["zones"] == ["porch"] and json.loads(shown)["match"]["type"] == "snapshot"
    publish(id="ada", kind="update")  # is known
    publish(id="named", sub_label=["Somebody", 0.8])
    publish(id="car", label="car")
    listener.client.publish("frigate/events", b"{no json", qos=1)
    publish(id="broken")
    publish(id="stranger")
    wait_for(lambda: b"stranger" in looked)  # an end that came before would take the place of what waits
    publish(id="stranger", kind="update")
    publish(id="stranger", kind="end", has_snapshot=False)  # as with Frigate's default
    (unknown,) = wait_for(lambda: listener.of("double-take/matches/unknown"))
    assert json.loads(unknown)["id"] == "stranger"
    publish(id="gone")
    publish(id="both")
    wait_for(lambda: len(frigate.labels) == 2)
    assert frigate.labels[1][1] == {"subLabel": "Ada Lovelace, Bob", "subLabelScore": 0.85, "camera": "door"}
    assert set(looked) == {b"ada", b"broken", b"stranger", b"gone", b"both"} and looked.count(b"ada") == 1
    assert watch.problem is None  # an event that Frigate has forgotten is no problem
    frigate.status = 403
    publish(id="both", kind="update")
    known[b"late"] = [ADA]
    publish(id="late")
    wait_for(lambda: watch.problem is not None)
    assert "admin" in watch.problem
    frigate.status = 200
    publish(id="late", kind="update")
    wait_for(lambda: watch.problem is None and len(frigate.labels) == 3)
    assert next(each for each in hub.counts()["sinks"] if each["name"] == watch.label)["delivered"] == 3
    for _ in range(MOST_LOOKS + 5):
        known[b"long"] = [STRANGER]
        publish(id="long", kind="update")
        wait_for(lambda: not watch.waiting)
    publish(id="last")
    known[b"last"] = []
    wait_for(lambda: b"last" in looked)
    assert looked.count(b"long") <= MOST_LOOKS
    listener.close()


def test_only_reports_about_people_with_a_snapshot_are_read():
    assert read_report(json.dumps(report()).encode())["after"]["camera"] == "door"
    assert has_picture(read_report(json.dumps(report(has_snapshot=False)).encode()))  # none is kept, but there is one now
    assert not has_picture(read_report(json.dumps(report(kind="end", has_snapshot=False)).encode()))
    for wrong in (
        report(label="car"),
        report(false_positive=True),
        report(kind="other"),
        report(id=""),
        report(camera=7),
        {"type": "new", "after": []},
        [],
        None,
    ):
        assert read_report(json.dumps(wrong).encode()) is None, wrong
    assert read_report(b"\xff") is None and read_report(b"[" * 100_000) is None


def picture(width: int, height: int) -> bytes:
    return images.encode_jpeg(np.zeros((height, width, 3), np.uint8))


def test_whose_face_it_is(frigate):
    api, found = api_of(frigate), [ADA, STRANGER]
    whole = picture(1280, 720)

    def whose(photo: bytes, *box: float) -> list[NamedFace]:
        return api.of_person(found, report(snapshot={"box": list(box)})["after"], photo)

    assert api.of_person(found, report()["after"], whole) == found
    for odd in ({"box": [1, 2]}, {"box": "x"}, {"box": [1, 2, 3, None]}, None, []):
        assert api.of_person(found, report(snapshot=odd)["after"], whole) == found
    assert whose(whole, 390, 40, 500, 500) == whose(b"no photo", 390, 40, 500, 500) == [STRANGER]
    assert whose(whole, 90, 40, 220, 600) == [ADA] and whose(whole, 700, 40, 800, 600) == []
    # as high as the camera's settings say: the box is still about the whole frame
    assert whose(picture(640, 360), 780, 80, 1000, 700) == [STRANGER] == whose(picture(641, 360), 780, 80, 1000, 700)
    # cut to the person, who is the largest on it
    assert whose(picture(480, 480), 780, 80, 1000, 700) == [ADA]
    assert frigate.asked.count("/api/config") == 1


@pytest.mark.parametrize("config", [{}, {"cameras": {"yard": {}, "door": {"detect": {"width": "x"}}}}, {"cameras": 7}, [], 0])
def test_whose_face_it_is_where_frigate_does_not_tell_its_sizes(frigate, config):
    frigate.config = config
    api, found = api_of(frigate), [ADA, STRANGER]
    beside = report(snapshot={"box": [390, 40, 500, 500]})["after"]
    assert api.of_person(found, beside, picture(1280, 720)) == [STRANGER]
    assert api.of_person(found, beside, picture(480, 270)) == [ADA]  # the box is not on it


def test_long_sub_labels_are_cut_at_a_name(frigate):
    api = api_of(frigate)
    api.set_label(report("a/b")["after"], [NamedFace(letter * 60, 0.9, (0, 0, 1, 1)) for letter in "ab"])
    path, body = frigate.labels[0]
    assert path == "/api/events/a%2Fb/sub_label" and body["subLabel"] == "a" * 60


def test_an_address_that_is_none(tmp_path):
    with pytest.raises(SettingsError, match="frigate_url"):
        frigate_api(Settings(frigate_url="frigate:5000"))
