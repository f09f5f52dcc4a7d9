"""MQTT with a real Mosquitto broker: events, what is retained, Home Assistant's discovery, a broker that is killed."""

from __future__ import annotations

import dataclasses
import gc
import ipaddress
import json
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import paho.mqtt.client as paho
import pytest

from recognizer.core.errors import SettingsError
from recognizer.events import mqtt as mqtt_module
from recognizer.events import mqtt_broker
from recognizer.events.appearances import EventRules, iso
from recognizer.events.event_erasing import Retention
from recognizer.events.event_hub import Events
from recognizer.events.home_assistant import topic_part
from recognizer.events.mqtt import Broker as Where
from recognizer.events.mqtt import Mqtt, MqttOptions, parse_broker
from recognizer.events.mqtt_broker import Inflow, end_connection

from . import template
from .brokers import MISSING, MOSQUITTO, Broker, FloodingBroker, Listener, free_port
from .scenes import Camera, State, face, frame
from .streams import ends, wait_for

needs_broker = pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
QUICK = EventRules(shown_seconds=0, shown_frames=1, unknown_seconds=0.05, left_seconds=0.4, camera_seconds=0)
DOOR = Camera()
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def _broker(tmp_path_factory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def broker(_broker) -> Broker:
    """A broker that holds nothing."""
    _broker.kill()
    return _broker.start()


@pytest.fixture
def hub(tmp_path, request) -> Iterator[Events]:
    made = Events(tmp_path / "events", getattr(request, "param", QUICK))
    yield made
    made.close()


def sink(hub: Events, broker: Broker, **options) -> Mqtt:
    where = Where("127.0.0.1", broker.port, user=broker.user, password=options.pop("password", broker.password))
    cameras = options.pop("cameras", lambda: [("door", "Front door")])
    people = options.pop("people", lambda: ["Ada Lovelace", "Bob"])
    made = Mqtt(hub, where, MqttOptions(version="1.0", **{"most": 1, **options}), cameras=cameras, people=people)
    hub.deliver_to([made])
    return made


def put(hub: Events, count: int = 1) -> None:
    for _ in range(count):
        hub.log.append([{"id": 0, "kind": "camera_live", "camera": "door", "time": "", "subject": None, "thumbnail": None}])


def ids(listener: Listener) -> list[int]:
    return [json.loads(payload)["id"] for payload in listener.of("recognizer/cameras/door/event")]


@pytest.mark.slow
@needs_broker
@pytest.mark.parametrize("hub", [dataclasses.replace(QUICK, left_seconds=3.0)], indirect=True)  # a busy machine pauses
def test_an_appearance_reaches_a_subscriber(hub, broker):
    listener = Listener(broker)
    mqtt = sink(hub, broker)
    wait_for(lambda: listener.held().get("recognizer/status") == b"online")
    assert "recognizer/cameras/door/state" in listener.held()  # an outdated state is never shown as current
    hub.state(DOOR, State("live"))
    faces = [dataclasses.replace(each, zones=("Porch",)) for each in (face(1, "Ada Lovelace"), face(2, None, 250))]
    for number in range(6):
        hub(DOOR, frame(number, *faces, time=time.time()))
        time.sleep(0.03)
    wait_for(lambda: len(listener.of("recognizer/cameras/door/event")) == 5)
    events = [json.loads(payload) for payload in listener.of("recognizer/cameras/door/event")]
    assert [each["event_type"] for each in events] == ["camera_live", "appeared", "unknown", "left", "left"]
    assert events[1]["zones"] == ["Porch"]
    assert events[1]["subject"] == "Ada Lovelace" and events[1]["kind"] == "appeared" and events[1]["box"]["left"] == 100
    states = [json.loads(payload) for payload in listener.of("recognizer/cameras/door/state")]
    both = {"person": "ON", "known": "ON", "count": 2, "people": ["Ada Lovelace"], "unknown": 1, "live": "ON", "camera": "live"}
    assert both in states
    wait_for(lambda: json.loads(listener.held()["recognizer/cameras/door/state"])["person"] == "OFF")
    person = f"recognizer/people/{topic_part('Ada Lovelace')}/state"
    assert {"present": "ON", "cameras": ["door"]}.items() <= json.loads(listener.of(person)[1]).items()
    wait_for(lambda: json.loads(listener.held()[person])["present"] == "OFF")
    assert listener.held()["recognizer/cameras/door/picture"].startswith(b"\xff\xd8")
    wait_for(lambda: json.loads(listener.held()["recognizer/cameras/door/last"])["kind"] == "left")
    assert json.loads(listener.held()["recognizer/cameras/door/last"])["zones"] == ["Porch"]
    wait_for(lambda: mqtt.counts["delivered"] == 5)  # noted after the broker passed it on
    assert mqtt.counts["dropped"] == 0 and mqtt.problem is None
    late = Listener(broker)  # what is retained tells how it is, and no event again
    wait_for(lambda: {"recognizer/status", person} <= set(late.held()))
    assert all(retained for _, _, retained in late.messages) and not ids(late)
    hub.close()
    wait_for(lambda: listener.held()["recognizer/status"] == b"offline")
    listener.close()
    late.close()


@needs_broker
def test_home_assistant_is_told_what_there_is(hub, broker):
    listener = Listener(broker, "homeassistant/#")
    sink(hub, broker)
    topic = "homeassistant/device/recognizer_door/config"
    config = json.loads(wait_for(lambda: listener.held().get(topic)))
    assert config["device"]["name"] == "Front door" and config["device"]["identifiers"] == ["recognizer_door"]
    assert config["origin"]["name"] == "Recognizer" and config["availability_topic"] == "recognizer/status"
    parts = config["components"]
    assert {part["platform"] for part in parts.values()} == {"binary_sensor", "sensor", "event", "image"}
    for key, part in parts.items():
        assert part["unique_id"] == key and part["name"]
        topics = [value for name, value in part.items() if name.endswith("_topic")]
        assert topics and all(each.startswith("recognizer/cameras/door/") for each in topics)
    assert parts["recognizer_door_person"]["device_class"] == "occupancy"
    assert set(parts["recognizer_door_event"]["event_types"]) >= {"appeared", "left", "unknown", "camera_lost"}
    person = json.loads(
        wait_for(lambda: listener.held().get(f"homeassistant/binary_sensor/recognizer/{topic_part('Bob')}/config"))
    )
    assert person["name"] == "Bob" and person["state_topic"] == "recognizer/people/Bob/state"
    before = len(listener.of(topic))
    listener.client.publish("homeassistant/status", "online", qos=1)
    wait_for(lambda: len(listener.of(topic)) > before)  # Home Assistant started anew
    listener.close()


@needs_broker
def test_what_is_no_longer_there_is_taken_back_also_after_a_restart(tmp_path, broker):
    listener = Listener(broker)
    bob = f"homeassistant/binary_sensor/recognizer/{topic_part('Bob')}/config"
    door = "homeassistant/device/recognizer_door/config"
    first = Events(tmp_path / "events", QUICK)
    sink(first, broker)
    wait_for(lambda: {bob, door} <= set(listener.held()))
    first.close()
    second = Events(tmp_path / "events", QUICK)
    sink(second, broker, cameras=lambda: [("yard", "Yard")], people=lambda: ["Ada Lovelace"])
    wait_for(lambda: "homeassistant/device/recognizer_yard/config" in listener.held())
    wait_for(lambda: not {bob, door, "recognizer/people/Bob/state", "recognizer/cameras/door/state"} & set(listener.held()))
    second.close()
    listener.close()


@pytest.mark.slow
@needs_broker
def test_the_last_camera_is_taken_back_as_well(hub, broker):
    listener = Listener(broker)
    cameras = [("door", "Front door")]
    mqtt = sink(hub, broker, cameras=lambda: cameras)
    hub.state(DOOR, State("live"))
    wait_for(lambda: b'"live": "ON"' in listener.held().get("recognizer/cameras/door/state", b""))
    cameras.clear()
    mqtt.erase("nobody")  # looks at once what is there
    event = "recognizer/cameras/door/event"  # which is not retained
    wait_for(lambda: not [topic for topic in listener.held() if "door" in topic and topic != event])
    emptied = [topic for topic, payload, _ in listener.messages if not payload]
    assert emptied[0] == "homeassistant/device/recognizer_door/config"  # else Home Assistant logs errors about the state
    assert "recognizer/cameras/door/state" in emptied
    listener.close()


@pytest.mark.slow
@needs_broker
def test_no_picture_is_published_before_there_is_one_nor_again_after_it_has_gone(tmp_path, broker):
    listener = Listener(broker)
    picture, last = "recognizer/cameras/door/picture", "recognizer/cameras/door/last"

    def connected() -> tuple[Events, Mqtt]:
        before = len(listener.of("recognizer/status"))
        events = Events(tmp_path / "events", QUICK)
        mqtt = sink(events, broker)
        wait_for(lambda: b"online" in listener.of("recognizer/status")[before:])
        return events, mqtt

    events, _ = connected()
    assert listener.of(picture) == listener.of(last) == []  # Home Assistant would show an empty picture
    appear(events, "Ada Lovelace")
    wait_for(lambda: listener.held().get(picture) == b"\xff\xd8 a face")
    events.close()
    events, _ = connected()  # knows that there may be one
    events.erase("Ada Lovelace")
    wait_for(lambda: listener.of(picture)[-1] == b"")
    events.close()
    there = len(listener.of(picture))
    events, _ = connected()
    events.close()
    assert len(listener.of(picture)) == there
    listener.close()


@needs_broker
def test_nothing_is_announced_without_discovery(hub, broker):
    listener = Listener(broker)
    sink(hub, broker, discovery="", prefix="home/cams")
    wait_for(lambda: "home/cams/cameras/door/state" in listener.held())
    assert not [topic for topic in listener.held() if not topic.startswith("home/cams/")]
    listener.close()


@pytest.mark.slow
@needs_broker
def test_a_broker_that_is_killed_loses_no_event(hub, broker):
    mqtt = sink(hub, broker)
    put(hub, 5)
    wait_for(lambda: mqtt.counts["delivered"] == 5)
    broker.kill()
    wait_for(lambda: mqtt.problem)
    put(hub, 20)
    before = mqtt.counts["retried"]
    wait_for(lambda: mqtt.counts["retried"] > before)
    assert mqtt.waiting >= 19 and mqtt.counts["delivered"] <= 6
    broker.start()
    listener = Listener(broker)
    wait_for(lambda: mqtt.counts["delivered"] == 25)
    wait_for(lambda: "recognizer/status" in listener.held())
    wait_for(lambda: mqtt.waiting == 0)
    assert mqtt.counts["dropped"] == 0 and mqtt.counts["retried"] >= 1
    # the subscriber may have come a moment later than the server, and the broker passes on what it has taken
    wait_for(lambda: not ids(listener) or ids(listener)[-1] == 25)
    assert ids(listener) == sorted(ids(listener))
    put(hub)
    wait_for(lambda: ids(listener) and ids(listener)[-1] == 26)
    listener.close()


@needs_broker
def test_what_a_lost_connection_kept_is_not_sent_by_the_next_one(hub, broker):
    """paho sends at its next connection what it said had failed: findings/paho-failed-publish.sh."""
    listener, mqtt = Listener(broker), sink(hub, broker)
    put(hub)
    wait_for(lambda: ids(listener) == [1])
    client, refused = mqtt.client, []
    publish = client.publish

    def lost(topic, *rest, **options):
        client.disconnect()
        wait_for(lambda: client.socket() is None)
        kept = publish(topic, *rest, **options)
        refused.append(kept.rc)
        return kept

    client.publish = lost
    put(hub)
    wait_for(lambda: mqtt.counts["delivered"] == 2)
    assert refused == [paho.MQTT_ERR_NO_CONN] and mqtt.client is not client
    del client.publish  # else the client refers to itself
    put(hub)
    wait_for(lambda: ids(listener)[-1:] == [3])
    assert ids(listener) == [1, 2, 3]
    listener.close()


@needs_broker
def test_events_wait_through_a_restart_of_the_server(tmp_path, broker):
    listener = Listener(broker)
    first = Events(tmp_path / "events", QUICK)
    sink(first, broker)
    put(first, 2)
    wait_for(lambda: ids(listener) == [1, 2])
    first.close()
    between = Events(tmp_path / "events", QUICK)
    put(between, 3)
    between.close()
    second = Events(tmp_path / "events", QUICK)
    sink(second, broker, backlog=2)
    wait_for(lambda: ids(listener) == [1, 2, 4, 5])  # two may wait: of three the oldest is dropped, and counted
    assert second.counts()["sinks"][0]["dropped"] == 1
    second.close()
    listener.close()


def test_a_thread_of_the_client_that_ends_while_it_is_stopped_is_no_error():
    class Ending(paho.Client):
        """Its thread is seen once, as by `loop_stop` at the moment at which it ends."""

        looks: ClassVar[list[threading.Thread]] = []

        @property
        def _thread(self):
            return self.looks.pop() if self.looks else None

        @_thread.setter
        def _thread(self, thread):
            pass

    client = Ending(paho.CallbackAPIVersion.VERSION2)
    client.looks.append(threading.Thread())
    end_connection(client)
    assert client.looks == [] and client._thread_terminate


@pytest.mark.parametrize(("lasting", "attempts"), [(60.0, [1, 2]), (-1.0, [1, 1])])
def test_a_broker_that_sends_more_than_was_asked_for_is_left_and_tried_again_after_pauses(hub, monkeypatch, lasting, attempts):
    """The pauses grow while no connection lasts."""
    paused: list[int] = []
    monkeypatch.setattr(mqtt_module, "backoff", lambda attempt, *limits: paused.append(attempt) or 0.0)
    monkeypatch.setattr(mqtt_module, "_LASTING_SECONDS", lasting)
    flooding = FloodingBroker(floods=2)
    mqtt = Mqtt(hub, Where("127.0.0.1", flooding.port), MqttOptions())
    hub.deliver_to([mqtt])
    wait_for(lambda: flooding.came == 3 and mqtt.problem is None)  # the third one is quiet
    assert paused == attempts and mqtt.counts["retried"] == 2
    mqtt.stop()
    flooding.close()


def test_what_is_more_than_anybody_asked_for():
    now = 0.0
    inflow = Inflow(lambda: now)
    assert inflow.is_too_much(bytes(mqtt_broker.MOST_BYTES + 1)) and not inflow.is_too_much(bytes(mqtt_broker.MOST_BYTES))
    assert [inflow.is_too_much(b"") for _ in range(mqtt_broker.MOST_A_SECOND)][-3:] == [False, True, True]
    now = 1.0
    assert not inflow.is_too_much(b"")


@needs_broker
def test_a_wrong_password_is_said_and_never_shown(hub, broker, caplog):
    with caplog.at_level(logging.DEBUG):
        mqtt = sink(hub, broker, password="wr0ng")
        wait_for(lambda: mqtt.problem and "refuses" in mqtt.problem)
    shown = caplog.text + repr(mqtt.broker) + json.dumps(hub.counts()) + mqtt.label
    assert "wr0ng" not in shown and "uthori" in mqtt.problem


@pytest.mark.slow
@needs_broker
def test_the_broker_says_offline_when_the_server_is_gone_at_once(hub, broker):
    listener = Listener(broker)
    mqtt = sink(hub, broker)
    wait_for(lambda: listener.held().get("recognizer/status") == b"online")
    mqtt.client.loop_stop()
    mqtt.client.socket().close()  # as when the machine loses its power
    wait_for(lambda: listener.held().get("recognizer/status") == b"offline")
    mqtt.client = None
    listener.close()


@pytest.mark.slow
@needs_broker
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")  # paho leaves it unclosed
def test_tls_with_an_authority_of_ones_own_and_none_without(hub, tmp_path, authority):
    with Broker(tmp_path / "tls", certificate=authority / "server.pem") as broker:
        told = {"user": broker.user, "password": broker.password, "tls": True}
        stranger = Mqtt(hub, Where("127.0.0.1", broker.port, **told), MqttOptions(prefix="stranger", most=1))
        friend = Mqtt(hub, Where("127.0.0.1", broker.port, **told, cafile=str(authority / "ca.pem")), MqttOptions(most=1))
        hub.deliver_to([friend])
        put(hub)
        wait_for(lambda: friend.counts["delivered"] == 1)
        friend.stop()
        hub.deliver_to([stranger])
        wait_for(lambda: stranger.counts["retried"] >= 1)
        put(hub)
        before = stranger.counts["retried"]
        wait_for(lambda: stranger.counts["retried"] > before)
        assert stranger.counts["delivered"] == 0 and stranger.problem == "no connection could be made"
        stranger.stop()
        gc.collect()


def test_no_broker_is_no_reason_not_to_start(hub):
    mqtt = Mqtt(hub, Where("127.0.0.1", free_port()), MqttOptions(least=3600, most=3600))
    ends(hub.deliver_to, [mqtt])
    wait_for(lambda: mqtt.problem == "no connection could be made")
    ends(hub.close)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://broker", Where("broker", 1883)),
        ("mqtts://broker", Where("broker", 8883, True)),
        ("mqtt://u:p%40%2F@10.0.0.1:1884/", Where("10.0.0.1", 1884, False, "u", "p@/")),
        ("mqtt://u@[::1]", Where("::1", 1883, False, "u", "from file")),
    ],
)
def test_urls(url, broker):
    assert parse_broker(url, "from file" if url.startswith("mqtt://u@") else None) == broker
    assert "p@/" not in repr(parse_broker(url)) + parse_broker(url).shown


@pytest.mark.parametrize(
    "url", ["broker", "http://broker", "mqtt://", "mqtt://h:0", "mqtt://h:99999", "mqtt://u:hidden@h/x", "mqtt://u:hidden@:1"]
)
def test_urls_that_cannot_be_used(url):
    with pytest.raises(SettingsError) as caught:
        parse_broker(url)
    assert "hidden" not in str(caught.value)


def test_names_as_topics_stay_apart():
    names = ["door", "Door", "a/b", "a_b", "a b", "+", "#", "Zoë", "Zoe", "x" * 300, "x" * 301]
    assert len({topic_part(name) for name in names}) == len(names)
    assert all(set(topic_part(name)).isdisjoint("/+# ") for name in names) and topic_part("door") == "door"


@pytest.mark.slow
@needs_broker
def test_what_is_acknowledged_while_an_event_is_published_holds_nothing_up(hub, broker):
    listener = Listener(broker)
    mqtt = sink(hub, broker)
    wait_for(lambda: mqtt.problem is None)
    publish = mqtt.client.publish

    def slowly(topic, *arguments, **options):
        if topic.endswith("/event"):
            publish("recognizer/other", b"", qos=1)
            time.sleep(0.3)  # that is acknowledged now, on the client library's thread, which holds its own lock meanwhile
        return publish(topic, *arguments, **options)

    mqtt.client.publish = slowly
    put(hub, 2)
    wait_for(lambda: ids(listener) == [1, 2])
    wait_for(lambda: mqtt.counts["delivered"] == 2)
    listener.close()


# -- what is retained -------------------------------------------------------------------------------------------------


def shown(listener: Listener, topic: str) -> dict:
    return json.loads(listener.held().get(topic) or b"{}")


def appear(hub: Events, name: str | None, camera: str = "door", **more) -> None:
    event = {"id": 0, "kind": "appeared", "camera": camera, "time": iso(time.time()), "subject": name, "thumbnail": None}
    hub.log.append([event | more], [b"\xff\xd8 a face"])


SERVER = """
import sys, time
from recognizer.events.appearances import EventRules
from recognizer.events.event_hub import Events
from recognizer.events.mqtt import Broker, Mqtt, MqttOptions
from tests.scenes import Camera, face, frame
folder, port, user, password = sys.argv[1:]
hub = Events(folder, EventRules(shown_seconds=0, shown_frames=1, left_seconds=3600))
broker = Broker("127.0.0.1", int(port), user=user, password=password)
sink = Mqtt(hub, broker, MqttOptions(most=1), cameras=lambda: [("door", "Front door")], people=lambda: ["Ada"])
hub.deliver_to([sink])
for number in range(100_000):
    hub(Camera(), frame(number, face(1, "Ada"), time=time.time()))
    time.sleep(0.05)
"""


@needs_broker
def test_nobody_seems_to_be_there_after_a_kill_and_a_start(tmp_path, broker):
    """The state of the person who was there when the server was killed is corrected before the server is online again."""
    listener = Listener(broker)
    arguments = [str(tmp_path / "events"), str(broker.port), broker.user, broker.password]
    server = template.start([sys.executable, "-c", SERVER, *arguments], cwd=ROOT)
    try:
        wait_for(lambda: shown(listener, "recognizer/people/Ada/state").get("present") == "ON")
    finally:
        server.kill()
        server.wait()
    wait_for(lambda: listener.held().get("recognizer/status") == b"offline")
    before = len(listener.messages)
    events = Events(tmp_path / "events", QUICK)
    sink(events, broker, people=lambda: ["Ada"])
    wait_for(lambda: listener.held().get("recognizer/status") == b"online")
    came = [(topic, payload) for topic, payload, _ in listener.messages[before:]]
    online = came.index(("recognizer/status", b"online"))
    first = dict(came[:online])
    assert json.loads(first["recognizer/people/Ada/state"])["present"] == "OFF"
    assert {"person": "OFF", "known": "OFF", "people": []}.items() <= json.loads(first["recognizer/cameras/door/state"]).items()
    assert not [topic for topic, _ in came[:online] if topic.endswith("/event")]
    assert b"Ada" not in first.get("recognizer/cameras/door/last", b"")
    events.close()
    listener.close()


@pytest.mark.slow
@needs_broker
def test_a_connection_that_comes_back_shows_who_is_there_before_it_is_online(hub, broker):
    mqtt = sink(hub, broker)
    wait_for(lambda: mqtt.problem is None)
    broker.kill()
    wait_for(lambda: mqtt.problem)
    broker.start()
    listener = Listener(broker)
    wait_for(lambda: listener.held().get("recognizer/status") == b"online")
    topics = [topic for topic, _, _ in listener.messages]
    if topics[0] != "recognizer/status":  # the subscriber came before the server
        assert topics.index("recognizer/people/Bob/state") < topics.index("recognizer/status")
    listener.close()


@needs_broker
def test_only_the_event_entity_has_names_and_it_ignores_what_is_late(hub, broker):
    jinja2 = pytest.importorskip("jinja2")
    listener = Listener(broker)
    appear(hub, "Ada Lovelace", time="2026-11-21T10:00:00.000Z")
    hub.log.append([{"id": 0, "kind": "camera_live", "camera": "door", "time": "", "subject": None, "thumbnail": None}])
    mqtt = sink(hub, broker)
    appear(hub, "Ada Lovelace", time="2026-11-21T10:00:00.000Z")  # as after a broker that was away for days
    appear(hub, "Ada Lovelace")
    wait_for(lambda: mqtt.counts["delivered"] == 2)
    wait_for(lambda: len(listener.of("recognizer/cameras/door/event")) == 2)  # delivered to the broker, which passes it on
    late, new = listener.of("recognizer/cameras/door/event")
    config = shown(listener, "homeassistant/device/recognizer_door/config")["components"]

    def value(key: str, payload: bytes) -> str:
        text = payload.decode()
        known = {"value_json": json.loads(text)} if text else {}
        return jinja2.Template(config[f"recognizer_door_{key}"]["value_template"]).render(value=text, **known)

    assert value("event", late) == "" and json.loads(value("event", new))["subject"] == "Ada Lovelace"
    wait_for(lambda: shown(listener, "recognizer/cameras/door/last").get("id") == 4)
    for key, part in config.items():
        retained = listener.held().get(part.get("state_topic", ""), b"")
        if part["platform"] in ("sensor", "binary_sensor"):
            assert "Ada" not in value(key.removeprefix("recognizer_door_"), retained)
    assert value("last", b"") == "None" and value("last", listener.held()["recognizer/cameras/door/last"]).startswith("2")
    assert b"Ada" not in listener.held()["recognizer/cameras/door/last"]
    listener.close()


@pytest.mark.slow
@needs_broker
def test_a_quiet_camera_loses_the_picture_of_who_is_erased(hub, broker):
    listener = Listener(broker)
    people = ["Ada", "Bob"]
    appear(hub, "Ada", "quiet")
    cameras = [("quiet", "Quiet"), ("busy", "Busy"), ("empty", "Empty")]
    mqtt = sink(hub, broker, cameras=lambda: cameras, people=lambda: people, backlog=10)
    wait_for(lambda: listener.held().get("recognizer/cameras/quiet/picture") == b"\xff\xd8 a face")
    for _ in range(11):
        hub.log.append(
            [{"id": 0, "kind": "unknown", "camera": "busy", "time": "", "subject": None, "thumbnail": None} for _ in range(100)]
        )
    wait_for(lambda: mqtt.waiting == 0)
    config = "homeassistant/binary_sensor/recognizer/Ada/config"
    assert config in listener.held() and hub.verify("Ada")["receivers"] == 2
    people.remove("Ada")
    hub.erase("Ada")
    wait_for(lambda: not any(hub.verify("Ada").values()))
    wait_for(lambda: "recognizer/cameras/quiet/picture" not in listener.held())
    assert not {config, "recognizer/people/Ada/state"} & set(listener.held())
    assert not [payload for payload in listener.held().values() if b"Ada" in payload]
    late = Listener(broker)
    wait_for(lambda: "recognizer/status" in late.held())
    assert not [topic for topic, payload in late.held().items() if "Ada" in topic or b"Ada" in payload]
    late.close()
    listener.close()


@pytest.mark.slow
@needs_broker
def test_a_picture_goes_from_the_broker_when_its_event_goes(tmp_path, broker):
    now = [time.time()]
    events = Events(tmp_path / "events", QUICK, Retention(unknown_days=1), wall=lambda: now[0])
    listener = Listener(broker)
    appear(events, None, kind="unknown")
    sink(events, broker)
    wait_for(lambda: "recognizer/cameras/door/picture" in listener.held())
    now[0] += 2 * 86_400
    events.log.purge()
    wait_for(lambda: not {"recognizer/cameras/door/picture", "recognizer/cameras/door/last"} & set(listener.held()))
    events.close()
    listener.close()


@pytest.mark.slow
@needs_broker
def test_no_name_that_was_erased_while_the_broker_was_away_is_sent(hub, broker):
    mqtt = sink(hub, broker, people=lambda: [])
    appear(hub, "Ada")
    wait_for(lambda: mqtt.counts["delivered"] == 1)
    broker.process.send_signal(signal.SIGSTOP)  # it takes messages, and acknowledges none
    appear(hub, "Ada")
    wait_for(lambda: mqtt.waiting == 1)
    broker.kill()
    wait_for(lambda: mqtt.problem)
    appear(hub, "Ada")
    hub.erase("Ada")
    broker.start()
    listener = Listener(broker)
    wait_for(lambda: mqtt.counts["delivered"] == 3)
    appear(hub, "Bob")
    wait_for(lambda: ids(listener) and ids(listener)[-1] == 4)
    assert not [payload for _, payload, _ in listener.messages if b"Ada" in payload]
    listener.close()


@pytest.mark.slow
@needs_broker
def test_more_topics_than_the_client_library_queues(hub, broker):
    cameras = [(f"camera{number}", f"Camera {number}") for number in range(400)]
    listener = Listener(broker)
    mqtt = sink(hub, broker, cameras=lambda: cameras)
    put(hub, 3)
    wait_for(lambda: ids(listener) == [1, 2, 3], seconds=60)
    wait_for(lambda: mqtt.waiting == 0)
    held = listener.held()
    assert all(f"recognizer/cameras/{camera}/state" in held for camera, _ in cameras)
    assert all(f"homeassistant/device/recognizer_{camera}/config" in held for camera, _ in cameras)
    listener.close()


@pytest.mark.slow
@needs_broker
def test_an_event_that_the_broker_refuses_each_time_holds_up_no_other(tmp_path, hub):
    with Broker(tmp_path / "small", options="max_packet_size 20000\n") as broker:
        listener = Listener(broker)
        mqtt = sink(hub, broker, least=0.01, most=0.02, discovery="")
        wait_for(lambda: mqtt.problem is None)
        appear(hub, "Ada", reason="x" * 30_000)
        put(hub)
        wait_for(lambda: ids(listener) == [2], seconds=60)
        assert mqtt.counts["dropped"] == 1
        listener.close()


def test_nothing_is_sent_to_an_address_that_the_name_has_only_when_the_client_connects(monkeypatch):
    monkeypatch.setattr(mqtt_broker, "resolve", lambda *_: [ipaddress.ip_address("203.0.113.5")])
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        port = server.getsockname()[1]
        where = Where("127.0.0.1", port, user="u", password="p", permit=lambda address: not address.is_loopback)
        with pytest.raises(mqtt_broker.NotPermitted):
            where.connect(where.new_client("a", reconnect=False))
        following = where.new_client("b")  # as Frigate's events are followed
        following.connect_async(where.host, where.port)
        following.loop_start()
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                assert connection.recv(1) == b""
        following.disconnect()
        following.loop_stop()
        allowed = Where("127.0.0.1", port, permit=lambda address: True)
        client = allowed.new_client("c", reconnect=False)
        allowed.connect(client)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1) == b"\x10"
        client.disconnect()
