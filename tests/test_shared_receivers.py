"""Where events are sent, and browsers that get notifications, where nodes share a database."""

from __future__ import annotations

import json
import time
from contextlib import closing
from types import SimpleNamespace

import pytest

from recognizer.core.audit import AuditLog
from recognizer.core.errors import DatabaseAway
from recognizer.core.settings import RECEIVER_SETTINGS, Settings
from recognizer.database import nodes
from recognizer.database.connection import Database
from recognizer.events.appearances import EventRules, iso
from recognizer.events.delivery import Delivery
from recognizer.events.event_erasing import Retention
from recognizer.events.event_hub import Events
from recognizer.events.event_options import EventOptions
from recognizer.events.home_assistant import topic_part
from recognizer.events.mqtt import Broker as Where
from recognizer.events.mqtt import Mqtt, MqttOptions, OtherNodes
from recognizer.events.receiver_store import ReceiverStore
from recognizer.events.webhooks import webhook_id
from recognizer.fetching.fetcher import Fetcher
from recognizer.rules.push_sender import PushSender
from recognizer.rules.push_store import PushStore
from recognizer.rules.rule_actions import RuleActions, RuleTools
from recognizer.rules.rule_model import make_rule
from recognizer.service import push_service
from recognizer.service.delivering import DeliveryTools
from recognizer.service.event_service import KeptEvents
from recognizer.service.push_service import KeptPush
from recognizer.service.receivers import Receivers

from .brokers import MISSING, MOSQUITTO, Broker, Listener
from .certificates import authority  # noqa: F401, a fixture
from .push_services import Browser, PushService
from .scenes import Camera, State, face, frame
from .streams import wait_for
from .test_mqtt import QUICK
from .test_rules import event

pytestmark = [pytest.mark.network, pytest.mark.slow]


@pytest.fixture
def database(database_url):
    with closing(Database(database_url)) as made:
        for name in ("a", "b"):
            nodes.report(made, name, 0)
        yield made


class Node:
    """What a node has that delivers its events."""

    def __init__(self, database: Database, folder, name: str):
        settings = Settings(state_dir=folder / name, webhook_allow=("127.0.0.1",))
        self.events = KeptEvents(folder / name / "events", True, EventRules(), Retention(), EventOptions(node=name))
        store = ReceiverStore.in_database(database, RECEIVER_SETTINGS)
        self.receivers = Receivers(settings, store, self.events, AuditLog(folder / name / "audit"))
        self._tools = DeliveryTools(self.events, None, None, None, None, self.receivers.permits)

    @property
    def log(self):
        return self.events.hub.log

    def start(self) -> Node:
        self.receivers.start(self._tools)
        return self

    def happen(self, subject: str, moment: float | None = None) -> None:
        made = {"id": 0, "kind": "appeared", "camera": "door", "time": iso(moment or time.time()), "subject": subject}
        self.log.append([made])

    def close(self) -> None:
        self.receivers.close()
        self.events.close()


@pytest.fixture
def place(database, tmp_path):
    """Makes nodes."""
    made = []

    def make(name: str) -> Node:
        made.append(Node(database, tmp_path, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def heard(receiver) -> list[tuple[str, str]]:
    """Node and subject of every event that a receiver got."""
    return sorted((body["node"], body["subject"]) for body in (json.loads(body) for _, body in receiver.taken))


def test_a_webhook_that_is_set_once_gets_the_events_of_every_node_each_once(place, receiver):
    one, two = place("a").start(), place("b").start()
    two.happen("Old", time.time() - 60)
    one.receivers.change({"webhooks": [receiver.url]})
    two.happen("Bob")  # before this node knows the webhook
    one.happen("Ada")
    wait_for(lambda: heard(receiver) == [("a", "Ada"), ("b", "Bob")])
    two.happen("Cleo")
    wait_for(lambda: ("b", "Cleo") in heard(receiver))
    sent = [headers["webhook-id"] for headers, _ in receiver.taken]
    assert sorted(sent) == ["recognizer-a-1", "recognizer-b-2", "recognizer-b-3"]  # each node has numbers of its own
    assert [each["url"] for each in two.receivers.report()["webhooks"]] == [f"http://127.0.0.1:{receiver.port}"]
    assert two.receivers.report()["fixed"] == {}
    two.receivers.change({"webhooks": []})
    wait_for(lambda: not list(one.log.folder.glob("webhook-*")))
    one.happen("Dora")
    one.receivers.change({"webhooks": [receiver.url]})
    wait_for(lambda: list(two.log.folder.glob("webhook-*")))
    two.happen("Eve")
    wait_for(lambda: ("b", "Eve") in heard(receiver))
    assert len(receiver.taken) == 4  # nothing of the time between


def test_a_node_that_is_started_later_delivers_what_it_had_from_then_on(place, receiver):
    one, two = place("a").start(), place("b")
    two.happen("Old", time.time() - 60)
    one.receivers.change({"webhooks": [receiver.url]})
    two.happen("Bob")  # and then it was killed, before it knew the webhook
    two.start()
    wait_for(lambda: heard(receiver) == [("b", "Bob")])


class Recorded(Delivery):
    """Delivers to a list."""

    def __init__(self, log, since: float):
        super().__init__(log, "recorded", 1000)
        self.since, self.got = since, []

    def deliver(self, event: dict) -> None:
        self.got.append(event["subject"])


def test_what_was_before_the_receiver_is_passed_over_at_once(place):
    node = place("a")
    for moment, subject in ((100, "Ada"), (200, "Bob"), (400, "Cleo"), (300, "Dora"), (500, "Eve")):
        node.happen(subject, moment)
    made = Recorded(node.log, 400.0)
    made.start()
    assert made._cursor.after >= 2  # MQTT publishes the newest events up to here when it connects
    wait_for(lambda: made.waiting == 0)
    made.stop()
    assert made.got == ["Cleo", "Eve"]
    again = Recorded(node.log, 600.0)  # it was removed and set again while the node was off
    node.happen("Fay", 550)
    again.start()
    node.happen("Gus", 599)  # made later, although it happened before
    wait_for(lambda: again.waiting == 0)
    again.stop()
    assert again.got == ["Gus"]


def test_a_receiver_that_is_known_late_gets_everything_since_it_was_set(place):
    node = place("a")
    for number in range(300):
        node.happen(f"Person {number}", 1000 + number)
    made = Recorded(node.log, 1010.0)
    made.start()
    wait_for(lambda: made.waiting == 0)
    made.stop()
    assert made.got == [f"Person {number}" for number in range(10, 300)]


def test_while_the_database_is_away_each_node_goes_on_with_what_it_knows(place, receiver, database, monkeypatch):
    one = place("a").start()
    one.receivers.change({"webhooks": [receiver.url]})
    monkeypatch.setattr(database, "followed", True)
    database.note_away()
    one.happen("Ada")
    wait_for(lambda: heard(receiver) == [("a", "Ada")])
    assert one.receivers.in_force().webhooks == (receiver.url,)
    for call in (one.receivers.report, lambda: one.receivers.change({"webhooks": []})):
        with pytest.raises(DatabaseAway):
            call()
    late = place("b").start()  # a node that starts now knows no receivers
    late.happen("Bob")
    database.note_there()
    wait_for(lambda: heard(receiver) == [("a", "Ada"), ("b", "Bob")])
    assert [each["id"] for each in late.receivers.report()["webhooks"]] == [webhook_id(receiver.url)]


# --- browsers --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pushes(authority):  # noqa: F811
    made = PushService(authority / "server.pem")
    yield made
    made.close()


def test_a_browser_that_was_subscribed_at_one_node_gets_what_all_send(database, pushes, authority, tmp_path, monkeypatch):  # noqa: F811
    fetcher = Fetcher(allow=["127.0.0.1"], timeout=10, cafile=str(authority / "ca.pem"))
    browser, audit = Browser(pushes.url), AuditLog(tmp_path / "audit")
    one, two = (KeptPush(PushStore.in_database(database), ["127.0.0.1"], 10, audit) for _ in range(2))
    for each in (one, two):
        each._sender = PushSender(each.store, fetcher)
    assert one.as_json()["public_key"] == two.as_json()["public_key"]
    made = one.add(browser.subscription(strangers="Somebody new."))
    two.test(made["id"], "from the other")
    rule = make_rule("01", {"action": "push"})
    for node, push in (("a", one), ("b", two)):
        RuleActions(RuleTools(fetcher, push=push.sender, node=node)).do(rule, event(1, "Ada"), None)
    test, *both = [browser.read(body) for _, body in pushes.of(browser.path)]
    assert test["body"] == "from the other"
    assert [each["tag"] for each in both] == ["rule-01-a-1", "rule-01-b-1"]  # none takes the place of the other

    one.notify_of_stranger()
    wait_for(lambda: len(pushes.of(browser.path)) == 4)
    two.notify_of_stranger()  # of another one, on the other node: not so soon
    wait_for(lambda: two._timer.interval > 500)
    monkeypatch.setattr(push_service, "STRANGERS_APART", 0.0)
    wait_for(lambda: not one._timer.is_alive())
    one.notify_of_stranger()
    wait_for(lambda: len(pushes.of(browser.path)) == 5)
    two.remove(made["id"])
    assert one.as_json()["subscriptions"] == []
    for each in (one, two):
        each.close()


# --- one broker for all nodes ----------------------------------------------------------------------------------------


class Publisher:
    """A node that publishes to a broker; `cameras` says which node reads each, `members` which nodes there are."""

    def __init__(self, folder, name: str, broker: Broker, cameras: dict[str, str], delivers: bool = True, members=("a", "b")):
        self.hub, self.name = Events(folder / name, QUICK, options=EventOptions(node=name)), name
        reads = lambda: [(id, id) for id, node in cameras.items() if node == name]  # noqa: E731
        others = OtherNodes(lambda: [id for id, node in cameras.items() if node != name], lambda: members)
        where = Where("127.0.0.1", broker.port, user=broker.user, password=broker.password)
        options = MqttOptions(version="1.0", most=1, node=name)
        self.mqtt = Mqtt(self.hub, where, options, cameras=reads, people=lambda: ["Ada", "Bob"], others=others)
        if delivers:
            self.hub.deliver_to([self.mqtt])

    def shows(self, camera: str, subject: str, frames: int = 4) -> None:
        there = Camera(camera, camera)
        self.hub.state(there, State("live"))
        for number in range(frames):
            self.hub(there, frame(number, face(1, subject), time=time.time()))
            time.sleep(0.03)


def held(listener: Listener, topic: str) -> SimpleNamespace:
    """What is retained in a topic, as far as there is anything."""
    data = listener.held().get(topic)
    return SimpleNamespace(**json.loads(data)) if data else SimpleNamespace(present=None, person=None, cameras=None)


def test_nodes_agree_since_when_somebody_is_at_cameras_of_both(tmp_path, monkeypatch):
    broker, sent = SimpleNamespace(port=1, user=None, password=None), []
    nodes = [Publisher(tmp_path, name, broker, {"door": "a", "yard": "b"}, delivers=False).mqtt for name in ("a", "b")]
    there = [{"door": [("Ada", 100.0)]}, {"yard": [("Ada", 105.0)]}]

    def send(messages):
        for topic, data, _ in messages:
            sent.append((topic, data))
            for each in nodes:
                each._hear(topic, data)

    def rounds(number: int) -> list[dict]:
        """What is published about Ada."""
        sent.clear()
        for _ in range(number):
            for each in nodes:
                each._retain_states()
        return [json.loads(data) for topic, data in sent if topic == "recognizer/people/Ada/state"]

    for each, present in zip(nodes, there, strict=True):
        monkeypatch.setattr(each.hub, "present", lambda present=present: present)
        monkeypatch.setattr(each, "_send", send)
        monkeypatch.setattr(each, "_announce", lambda: None)
        each._announced = each._states().keys()
    assert rounds(3)[-1] == {"present": "ON", "cameras": ["door", "yard"], "since": iso(100.0)}
    assert rounds(2) == []  # nobody contradicts the other
    for present in there:
        present.clear()
    assert rounds(3)[-1]["present"] == "OFF" and rounds(2) == []
    there[1]["yard"] = [("Ada", 300.0)]
    there[0]["door"] = [("Ada", 310.0)]
    assert rounds(3)[-1]["since"] == iso(300.0) and rounds(2) == []  # not since the visit before


@pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
def test_nodes_publish_to_one_broker_without_disturbing_each_other(tmp_path, database):
    with Broker(tmp_path / "broker") as broker:
        listener, cameras, members = Listener(broker), {"door": "a", "yard": "b"}, ["a", "b"]
        listener.client.publish("recognizer/status", b"offline", qos=1, retain=True)  # of a server without a database
        wait_for(lambda: "recognizer/status" in listener.held())
        one, two = (Publisher(tmp_path, name, broker, cameras, members=members) for name in ("a", "b"))
        for name in ("a", "b"):
            wait_for(lambda name=name: listener.held().get(f"recognizer/nodes/{name}/status") == b"online")
        assert "recognizer/status" not in listener.held()
        config = json.loads(listener.held()[f"homeassistant/device/recognizer_{topic_part('door')}/config"])
        assert config["availability_topic"] == "recognizer/nodes/a/status"
        person = json.loads(listener.held()["homeassistant/binary_sensor/recognizer/Ada/config"])
        assert [each["topic"] for each in person["availability"]] == ["recognizer/nodes/a/status", "recognizer/nodes/b/status"]
        assert person["availability_mode"] == "any" and "availability_topic" not in person

        one.shows("door", "Ada")
        wait_for(lambda: held(listener, "recognizer/people/Ada/state").present == "OFF" and one.mqtt.counts["delivered"] >= 2)
        told = [json.loads(data) for data in listener.of("recognizer/people/Ada/state") if data]
        assert any(each["present"] == "ON" and each["cameras"] == ["door"] for each in told)
        events = [json.loads(data) for data in listener.of("recognizer/cameras/door/event")]
        assert {each["node"] for each in events} == {"a"} and two.mqtt.counts["delivered"] == 0
        assert listener.held()["recognizer/cameras/door/picture"].startswith(b"\xff\xd8")

        # the camera moves, as when its node was killed
        cameras["door"] = "b"
        topic = f"homeassistant/device/recognizer_{topic_part('door')}/config"
        wait_for(lambda: json.loads(listener.held()[topic])["availability_topic"] == "recognizer/nodes/b/status")
        wait_for(lambda: "recognizer/cameras/door/picture" not in listener.held())  # the other node has no such event
        two.shows("door", "Bob")
        wait_for(lambda: listener.held().get("recognizer/cameras/door/picture", b"").startswith(b"\xff\xd8"))
        one.hub.close()
        wait_for(lambda: listener.held()["recognizer/nodes/a/status"] == b"offline")
        assert listener.held()["recognizer/nodes/b/status"] == b"online" and topic in listener.held()
        del cameras["door"]  # it is removed for good
        wait_for(lambda: topic not in listener.held() and "recognizer/cameras/door/state" not in listener.held())

        members.remove("a")  # it is forgotten
        wait_for(lambda: "recognizer/nodes/a/status" not in listener.held())
        person = json.loads(listener.held()["homeassistant/binary_sensor/recognizer/Ada/config"])
        assert [each["topic"] for each in person["availability"]] == ["recognizer/nodes/b/status"]
        listener.client.publish("recognizer/nodes/b/status", b"", qos=1, retain=True)  # another took this one for forgotten
        wait_for(lambda: listener.of("recognizer/nodes/b/status")[-2:] == [b"", b"online"])
        members.clear()  # they are not known: the database is away since the start
        two.mqtt._looked = 0.0
        wait_for(lambda: two.mqtt._looked)
        assert listener.held()["recognizer/nodes/b/status"] == b"online"
        two.hub.close()
