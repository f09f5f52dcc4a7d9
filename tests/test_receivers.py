"""Where events are sent, changed while the server runs: stored, applied at once by every process, tested, and kept secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from recognizer.backup import reseal
from recognizer.core.audit import AuditLog
from recognizer.core.errors import (
    ActionFailed,
    ActionOff,
    AddressRefused,
    InvalidParameter,
    InvalidUrl,
    ReceiverNotFound,
    SettingFixed,
    SettingsError,
    StorageError,
)
from recognizer.core.settings import DEFAULT, PAGE, RECEIVER_SETTINGS, Settings
from recognizer.core.vault import Vault, is_sealed
from recognizer.events.appearances import EventRules
from recognizer.events.event_erasing import Retention
from recognizer.events.event_options import EventOptions
from recognizer.events.receiver_store import RECEIVERS_FILE, ReceiverStore
from recognizer.events.webhooks import webhook_id
from recognizer.service.delivering import DeliveryTools
from recognizer.service.event_service import KeptEvents
from recognizer.service.receivers import MOST_WEBHOOKS, Receivers

from .brokers import MISSING, MOSQUITTO, Broker, Listener
from .streams import wait_for
from .test_webhooks import SECRET, put


def stored_in(state: Path, vault: Vault | None = None) -> ReceiverStore:
    return ReceiverStore.in_file(state / RECEIVERS_FILE, RECEIVER_SETTINGS, vault)


@pytest.fixture
def house(tmp_path):
    """Makes processes of one installation: each has events, and receivers that run if they are to."""
    made = []

    def build(run: bool = True, vault: Vault | None = None, **settings) -> Receivers:
        given = Settings(state_dir=tmp_path / "state", **{"webhook_allow": ("127.0.0.1",), **settings})
        events = KeptEvents(given.state_dir / "events", given.events, EventRules(), Retention(), EventOptions(vault))
        audit = AuditLog(given.state_dir / "audit", vault)
        receivers = Receivers(given, stored_in(given.state_dir, vault), events, audit)
        made.append(receivers)
        if run:
            video = SimpleNamespace(names=lambda: [("door", "Front door")])
            gallery = SimpleNamespace(subjects=lambda: {"Zoë": 1})
            receivers.start(DeliveryTools(events, video, gallery, None, None, receivers.permits))
        return receivers

    yield build
    for each in made:
        each.close()
        each._events.close()


@pytest.fixture
def broker(tmp_path):
    if MOSQUITTO is None:
        pytest.skip(MISSING)
    with Broker(tmp_path / "broker") as made:
        yield made


def log_of(receivers: Receivers):
    return receivers._events.hub.log


def stored(tmp_path: Path) -> bytes:
    return (tmp_path / "state" / "receivers.json").read_bytes()


def state(receivers: Receivers, number: int = 0) -> dict:
    return receivers.report()["webhooks"][number]["state"]


def audited(receivers: Receivers) -> list[dict]:
    return receivers._audit.page(None, 100)


# -- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_webhook_is_added_signed_limited_and_removed_while_events_happen(house, receiver, tmp_path):
    receivers = house()
    receivers.change({"webhooks": [receiver.url], "webhook_secret": SECRET})
    put(log_of(receivers))
    wait_for(lambda: len(receiver.taken) == 1)
    headers, body = receiver.taken[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    said = receivers.report()
    assert said["webhooks"][0]["url"] == f"http://127.0.0.1:{receiver.port}" and said["webhook_signed"] is True
    assert "hidden" not in json.dumps(said) + repr(receivers.in_force()) and SECRET not in json.dumps(said)
    wait_for(lambda: state(receivers)["delivered"] == 1)

    receivers.change({"webhook_events": ["unknown"]})
    put(log_of(receivers))
    wait_for(lambda: state(receivers)["waiting"] == 0)
    receivers.change({"webhook_events": ["all"], "webhook_secret": "none"})
    put(log_of(receivers))
    wait_for(lambda: len(receiver.taken) == 2)
    assert receiver.ids == [1, 3] and "webhook-signature" not in receiver.taken[1][0]

    receivers.change({"webhooks": []})
    put(log_of(receivers))
    assert not list((tmp_path / "state" / "events").glob("webhook-*"))
    receivers.change({"webhooks": [receiver.url]})  # nothing that happened meanwhile is sent
    put(log_of(receivers))
    wait_for(lambda: len(receiver.taken) == 3)
    assert receiver.ids == [1, 3, 5] and json.loads(stored(tmp_path))["settings"] == {"webhooks": [receiver.url]}


def test_webhooks_that_stay_are_named_by_their_ids(house, receiver, tmp_path):
    receivers = house(run=False)
    first, second = receiver.url, "https://example.org/hook?token=hidden"
    receivers.change({"webhooks": [first]})
    receivers.change({"webhooks": [webhook_id(first), second]})
    assert json.loads(stored(tmp_path))["settings"]["webhooks"] == [first, second]
    receivers.change({"webhooks": [webhook_id(second)]})
    assert json.loads(stored(tmp_path))["settings"]["webhooks"] == [second]
    for given, kind in (
        (["0" * 16], InvalidParameter),
        (["ftp://x/"], InvalidParameter),
        (["https://"], InvalidUrl),
        ([f"https://example.org/{number}" for number in range(MOST_WEBHOOKS + 1)], InvalidParameter),
    ):
        with pytest.raises(kind):
            receivers.change({"webhooks": given})
    assert json.loads(stored(tmp_path))["settings"]["webhooks"] == [second]


@pytest.mark.slow
def test_another_process_notices_within_a_second(house, receiver):
    writes = house()
    put(log_of(writes))  # this process has the log
    other = house()
    other.change({"webhooks": [receiver.url]})
    assert other.report()["webhooks"][0]["state"] is None  # the other one delivers
    wait_for(lambda: state(writes) is not None)
    put(log_of(writes))
    wait_for(lambda: len(receiver.taken) == 1)
    writes.change({"webhooks": []})
    assert other.report()["webhooks"] == []


def test_a_test_is_really_sent_and_says_what_went_wrong(house, receiver):
    receivers = house(run=False)
    receivers.change({"webhooks": [receiver.url, "http://127.0.0.2:1/"], "webhook_secret": SECRET})
    assert receivers.test(webhook_id(receiver.url)) == webhook_id(receiver.url)
    headers, body = receiver.taken[0]
    assert json.loads(body)["test"] is True and headers["webhook-signature"].startswith("v1,")
    receiver.answers = [503]
    with pytest.raises(ActionFailed, match="503"):
        receivers.test(webhook_id(receiver.url))
    with pytest.raises(ActionFailed, match="RECOGNIZER_WEBHOOK_ALLOW"):
        receivers.test(webhook_id("http://127.0.0.2:1/"))
    with pytest.raises(ReceiverNotFound):
        receivers.test("0" * 16)
    with pytest.raises(ActionOff):
        receivers.test("mqtt")


# -- MQTT -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_broker_is_set_changed_tested_and_left_without_names(house, broker, tmp_path):
    receivers = house()
    url = f"mqtt://{broker.user}@127.0.0.1:{broker.port}"
    receivers.change({"mqtt_url": url, "mqtt_password": broker.password, "mqtt_prefix": "first"})
    listener = Listener(broker)
    wait_for(lambda: listener.held().get("first/status") == b"online")
    assert [topic for topic in listener.held() if topic.startswith("first/people/")]
    said = receivers.report()["mqtt"]
    assert said["url"] == url and said["password"] is True and said["state"]["problem"] is None
    assert broker.password not in json.dumps(receivers.report())
    assert receivers.test("mqtt") == "mqtt"
    wait_for(lambda: listener.of("first/test"))
    assert json.loads(listener.of("first/test")[0])["test"] is True

    receivers.change({"mqtt_prefix": "second", "mqtt_discovery": "none"})
    wait_for(lambda: listener.held().get("second/status") == b"online")
    wait_for(lambda: not [topic for topic in listener.held() if topic.startswith(("first/people", "homeassistant/"))])
    receivers.change({"mqtt_url": "none"})
    wait_for(lambda: not [topic for topic in listener.held() if not topic.endswith("/test")])
    assert receivers.report()["mqtt"] is None
    assert json.loads(stored(tmp_path))["settings"].keys() == {
        "mqtt_prefix",
        "mqtt_discovery",
    }
    listener.close()


def test_a_password_is_taken_out_of_the_url_and_goes_to_no_other_broker(house, tmp_path):
    receivers = house(run=False)
    receivers.change({"mqtt_url": "mqtt://cam:s%40cret@127.0.0.1"})
    values = json.loads(stored(tmp_path))["settings"]
    assert values == {"mqtt_url": "mqtt://cam@127.0.0.1:1883", "mqtt_password": "s@cret"}
    assert os.name == "nt" or (tmp_path / "state" / "receivers.json").stat().st_mode & 0o777 == 0o600
    receivers.change({"mqtt_url": "mqtt://other@127.0.0.1"})  # the same broker
    for elsewhere in ("mqtt://other@10.0.0.1", "mqtts://other@127.0.0.1:1883", "mqtt://other@127.0.0.1:1884"):
        with pytest.raises(InvalidParameter, match="expected it again"):
            receivers.change({"mqtt_url": elsewhere})
    receivers.change({"mqtt_url": "mqtt://other@10.0.0.1", "mqtt_password": "none"})
    assert json.loads(stored(tmp_path))["settings"] == {"mqtt_url": "mqtt://other@10.0.0.1:1883"}
    receivers.change({"mqtt_password": "new"})
    receivers.change({"mqtt_url": ""})
    assert json.loads(stored(tmp_path))["settings"] == {}


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({}, InvalidParameter, "expected some of"),
        ({"mqtt_url": "http://u:hidden@x"}, InvalidParameter, "expected mqtt://"),
        ({"mqtt_url": "mqtt://u:hid%0Aden@x"}, InvalidParameter, "printable"),
        ({"mqtt_url": "mqtt://169.254.169.254"}, AddressRefused, "RECOGNIZER_WEBHOOK_ALLOW"),
        ({"mqtt_url": "mqtt://127.0.0.2"}, AddressRefused, "not allowed"),
        ({"mqtt_password": "x"}, InvalidParameter, "no broker"),
        ({"mqtt_url": "mqtt://10.0.0.1", "mqtt_password": "x"}, InvalidParameter, "expected a user"),
        ({"mqtt_prefix": "a/#"}, InvalidParameter, "mqtt_prefix"),
        ({"mqtt_prefix": ""}, InvalidParameter, "mqtt_prefix"),
        ({"mqtt_double_take": "perhaps"}, InvalidParameter, "mqtt_double_take"),
        ({"webhook_secret": "whsec_hidden!"}, InvalidParameter, "expected base64"),
        ({"webhook_secret": "a\nb"}, InvalidParameter, "printable"),
        ({"webhook_events": ["nonesuch"]}, InvalidParameter, "there are appeared"),
    ],
)
def test_wrong_values_are_refused_and_nothing_is_stored(house, tmp_path, given, kind, said):
    receivers = house(run=False)
    with pytest.raises(kind, match=said) as caught:
        receivers.change(given)
    assert "hidden" not in caught.value.message and not (tmp_path / "state" / "receivers.json").exists()


# -- what is set elsewhere, and what is stored ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "fixed"),
    [
        ({"RECOGNIZER_WEBHOOKS": "https://example.org/"}, {"webhooks": "RECOGNIZER_WEBHOOKS"}),
        ({"RECOGNIZER_MQTT_PREFIX": "house"}, {"mqtt_prefix": "RECOGNIZER_MQTT_PREFIX"}),
        (
            {"RECOGNIZER_MQTT_URL": "mqtt://x", "RECOGNIZER_WEBHOOK_SECRET_FILE": "/secret"},
            {
                "mqtt_url": "RECOGNIZER_MQTT_URL",
                "mqtt_password": "RECOGNIZER_MQTT_URL",
                "webhook_secret": "RECOGNIZER_WEBHOOK_SECRET_FILE",
            },
        ),
        (
            {"RECOGNIZER_MQTT_PASSWORD": "x"},
            {"mqtt_url": "RECOGNIZER_MQTT_PASSWORD", "mqtt_password": "RECOGNIZER_MQTT_PASSWORD"},
        ),
    ],
)
def test_what_the_environment_sets_takes_precedence_and_cannot_be_changed(tmp_path, environment, fixed):
    settings = Settings.from_environment({"RECOGNIZER_STATE_DIR": str(tmp_path / "state"), **environment})
    events = KeptEvents(settings.state_dir / "events", True, EventRules(), Retention())
    receivers = Receivers(settings, stored_in(settings.state_dir), events, AuditLog(settings.state_dir / "audit"))
    assert {name: receivers.fixed_by(name) for name in fixed} == fixed
    for name, label in fixed.items():
        with pytest.raises(SettingFixed, match=label):
            receivers.change({name: "other"})
    assert receivers.in_force() == settings
    values = {name: ["https://other.org/"] if name == "webhooks" else "mqtt://other" for name in fixed}
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "receivers.json").write_text(json.dumps({"version": 1, "settings": values}))
    assert receivers.in_force() == settings  # of a time when the environment said nothing
    events.close()


def test_what_is_stored_is_in_force_after_a_restart_and_says_where_it_is_from(house, tmp_path):
    house(run=False).change({"webhooks": ["https://example.org/x"], "mqtt_double_take": True})
    settings = house(run=False).in_force()
    assert settings.webhooks == ("https://example.org/x",) and settings.mqtt_double_take is True
    assert settings.source("webhooks") == (PAGE, "RECOGNIZER_WEBHOOKS") and settings.source("mqtt_prefix")[0] == DEFAULT
    again = house(run=False)
    again.change({"mqtt_double_take": False})
    assert json.loads(stored(tmp_path))["settings"] == {"webhooks": ["https://example.org/x"]}  # the default is not stored


def test_a_file_that_was_damaged_is_reported_and_not_overwritten(house, tmp_path, caplog):
    receivers = house(run=False)
    (tmp_path / "state").mkdir(exist_ok=True)
    file = tmp_path / "state" / "receivers.json"
    file.write_text('{"version": 1, "settings": {"mqtt_prefix": 5, "mqtt_double_take": true, "admin_key": "x"}}')
    assert receivers.in_force().mqtt_double_take and receivers.in_force().mqtt_prefix == "recognizer"
    assert receivers.in_force().admin_key is None and "mqtt_prefix" in caplog.text
    file.write_text("{broken")
    assert receivers.in_force().mqtt_double_take  # those from before
    assert "receivers.json is damaged" in caplog.text
    for call in (receivers.report, lambda: receivers.change({"mqtt_prefix": "x"})):
        with pytest.raises(StorageError, match="damaged"):
            call()
    assert file.read_text() == "{broken"


def test_a_file_is_encrypted_with_the_key_and_with_the_next_one(house, tmp_path):
    old, new = Vault([b"a" * 32]), Vault([b"b" * 32, b"a" * 32])
    house(run=False, vault=old).change({"webhook_secret": "hidden words"})
    assert is_sealed(stored(tmp_path)) and b"hidden" not in stored(tmp_path)
    places = reseal.Places(tmp_path / "faces", tmp_path / "state", tmp_path / "faces" / ".groups")
    reseal.reseal(places, new, new)
    assert house(run=False, vault=Vault([b"b" * 32])).in_force().webhook_secret == "hidden words"


def test_the_audit_log_says_what_was_changed_without_secrets(house, receiver, tmp_path):
    receivers = house(run=False)
    receivers.change({"webhooks": [receiver.url], "webhook_secret": SECRET, "mqtt_url": "mqtt://u:hidden@10.0.0.1"})
    receivers.test(webhook_id(receiver.url))
    receivers.change({"webhook_secret": "none", "webhook_events": ["left"]})
    lines = audited(receivers)
    changes = [(line["details"]["setting"], line["details"]["value"]) for line in lines if line["action"] == "setting_change"]
    assert changes == [
        ("webhooks", f"http://127.0.0.1:{receiver.port}"),
        ("webhook_secret", "set"),
        ("mqtt_url", "mqtt://u@10.0.0.1:1883"),
        ("mqtt_password", "set"),
        ("webhook_secret", "not set"),
        ("webhook_events", "left"),
    ]
    assert [line["details"]["receiver"] for line in lines if line["action"] == "receiver_test"] == [webhook_id(receiver.url)]
    assert b"hidden" not in b"".join(file.read_bytes() for file in (tmp_path / "state" / "audit").rglob("*.jsonl"))


def test_message_queues_are_made_once_whatever_else_is_changed(house, receiver):
    pytest.importorskip("pika", reason="needs pika (requirements-amqp.txt)")
    receivers = house(amqp_url="amqp://guest:guest@127.0.0.1:1", webhook_allow=("127.0.0.1",))
    before = receivers._running["amqp"]
    receivers.change({"webhooks": [receiver.url]})
    receivers.change({"webhook_events": ["appeared"]})
    assert receivers._running["amqp"] is before
    made = {each.key: each.make() for each in receivers._tools.wanted(receivers.in_force())}
    assert made["amqp"] is before.delivery


def test_without_events_the_settings_are_stored_and_the_report_says_that_none_are_sent(house):
    receivers = house(events=False)
    receivers.change({"mqtt_prefix": "house"})
    assert "RECOGNIZER_EVENTS" in receivers.report()["off"] and receivers.report()["mqtt_prefix"] == "house"


def test_wrong_settings_of_the_environment_end_the_start(house):
    with pytest.raises(SettingsError, match="webhooks: URL 1"):
        house(webhooks=("https://",))


def test_a_file_with_what_cannot_be_followed_does_not_keep_the_server_from_starting(house, receiver, tmp_path, caplog):
    (tmp_path / "state").mkdir()
    file = tmp_path / "state" / "receivers.json"
    file.write_text(json.dumps({"version": 1, "settings": {"webhooks": ["https://"]}}))
    receivers = house()
    assert "where events are sent cannot be changed" in caplog.text
    receivers.change({"webhooks": [receiver.url]})
    put(log_of(receivers))
    wait_for(lambda: len(receiver.taken) == 1)


def test_a_frigate_whose_certificate_is_not_checked_is_logged_once(house, caplog):
    house(frigate_url="http://127.0.0.1:1", frigate_verify=False)
    assert "FRIGATE_VERIFY" not in caplog.text  # there is no certificate
    house(frigate_url="https://127.0.0.1:1", frigate_verify=False)
    assert caplog.text.count("RECOGNIZER_FRIGATE_VERIFY is off") == 1
