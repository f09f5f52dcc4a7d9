"""Web push: what a browser decrypts and a push service can check, who gets it, and what is stored."""

from __future__ import annotations

import dataclasses
import json
import logging
import stat
import time
import zipfile

import pytest

from recognizer.backup import reseal
from recognizer.core.errors import (
    ActionFailed,
    ActionOff,
    InvalidParameter,
    KeyMissing,
    StorageError,
    SubscriptionNotFound,
    TooManySubscriptions,
)
from recognizer.core.vault import Vault, new_key
from recognizer.fetching.fetcher import Fetcher
from recognizer.http.site import Site
from recognizer.rules import push_store, web_push
from recognizer.rules.push_sender import PushMessage, PushSender
from recognizer.rules.push_store import PushStore
from recognizer.rules.rule_actions import RuleActions, RuleTools
from recognizer.rules.rule_model import changed_rule, make_rule
from recognizer.service import push_service
from recognizer.service.push_service import KeptPush, contact_of

from .certificates import authority  # noqa: F401, a fixture
from .push_services import Browser, PushService
from .streams import wait_for
from .test_erasures import service  # noqa: F401, a fixture
from .test_rules import event, follow, settings  # noqa: F401, fixtures

HELLO = PushMessage("Recognizer", "Somebody is at the door", "rule-1-7")
#: The example of RFC 8291, section 5.
EXAMPLE = {
    "message": b"When I grow up, I want to be a watermelon",
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    "salt": web_push.from_base64("DGv6ra1nlYgDCS1FRnbzlw"),
    "sender": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
}
ENCRYPTED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_"
    "yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)


@pytest.fixture
def pushes(authority):  # noqa: F811
    made = PushService(authority / "server.pem")
    yield made
    made.close()


@pytest.fixture
def sender(tmp_path, authority):  # noqa: F811
    fetcher = Fetcher(allow=["127.0.0.1"], timeout=10, cafile=str(authority / "ca.pem"))
    return PushSender(PushStore.in_file(tmp_path / "state" / "push.json"), fetcher)


# -- a message --------------------------------------------------------------------------------------------------------


def test_the_encryption_is_that_of_the_standard():
    assert web_push.to_base64(web_push.encrypted(**EXAMPLE)) == ENCRYPTED
    assert web_push.public_key(EXAMPLE["sender"]) == web_push.to_base64(web_push.from_base64(ENCRYPTED)[21:86])
    given = {**EXAMPLE, "salt": None, "sender": None}
    assert web_push.encrypted(**given) != web_push.encrypted(**given)  # a salt and a key are used once
    with pytest.raises(ValueError, match="at most 3900"):
        web_push.encrypted(b"x" * 3901, EXAMPLE["p256dh"], EXAMPLE["auth"])
    for p256dh, auth in (
        ("AAAA", EXAMPLE["auth"]),
        (EXAMPLE["p256dh"][:-1] + "B", EXAMPLE["auth"]),  # no point of the curve
        (EXAMPLE["p256dh"], "BTBZ"),
        ("!" * 87, EXAMPLE["auth"]),
    ):
        with pytest.raises(ValueError):
            web_push.check_subscription(p256dh, auth)


def test_every_browser_reads_its_message_and_the_service_can_check_who_sent_it(pushes, sender):
    jwt = pytest.importorskip("py_vapid.jwt")
    one, other = Browser(pushes.url), Browser(pushes.url, "other")
    for each in (one, other):
        sender.store.add(each.subscription())
    long = dataclasses.replace(HELLO, body=900 * "\u00e4", tag="long")
    assert sender.send(HELLO) == sender.send(long) == 2
    for browser in (one, other):
        (headers, body), (_, cut) = pushes.of(browser.path)
        shown = {"title": "Recognizer", "body": "Somebody is at the door", "tag": "rule-1-7", "view": "#/live"}
        assert browser.read(body) == shown and browser.read(cut)["body"] == 800 * "\u00e4" and len(cut) <= 4096
        assert b"door" not in body
        assert headers["Content-Encoding"] == "aes128gcm" and int(headers["TTL"]) > 0 and headers["Urgency"] == "high"
        scheme, told, key = headers["Authorization"].replace(",", "").split()
        assert scheme == "vapid" and key == f"k={web_push.public_key(sender.store.key())}"
        claims = jwt.decode(told.removeprefix("t="), key.removeprefix("k="))
        assert claims["aud"] == pushes.url and claims["sub"] == "https://home.example"
        assert time.time() + 3600 < claims["exp"] < time.time() + 86_400
    with pytest.raises(Exception):  # noqa: B017, the library's own
        other.read(pushes.of(one.path)[0][1])


def test_who_is_no_longer_subscribed_is_removed_and_who_was_not_reached_is_tried_again(pushes, sender):
    gone, away, here = (Browser(pushes.url, name) for name in ("gone", "away", "here"))
    for each in (gone, away, here):
        sender.store.add(each.subscription())
    pushes.answers = {gone.path: [410], away.path: [503]}
    with pytest.raises(ActionFailed, match="503"):
        sender.send(HELLO)
    assert sender.send(HELLO) == 2
    assert [len(pushes.of(each.path)) for each in (gone, away, here)] == [0, 1, 1]  # nobody has it twice
    assert {each.endpoint for each in sender.store.all()} == {away.endpoint, here.endpoint}
    pushes.answers = {away.path: [404], here.path: [410]}
    with pytest.raises(ActionFailed, match="no browser is subscribed"):
        sender.send(dataclasses.replace(HELLO, tag="rule-1-8"))
    assert sender.store.all() == []
    with pytest.raises(ActionFailed, match="no browser is subscribed"):
        sender.send(HELLO)


def test_a_browser_that_is_never_reached_keeps_nobody_else_waiting(pushes, sender):
    dead, here = Browser(pushes.url, "dead"), Browser(pushes.url, "here")
    for each in (dead, here):
        sender.store.add(each.subscription())
    pushes.answers = {dead.path: [503] * 7}
    for _ in range(4):
        with pytest.raises(ActionFailed, match="503"):
            sender.send(HELLO)
    assert sender.send(HELLO) == 1
    assert sender.send(dataclasses.replace(HELLO, tag="next")) == 1
    assert len(pushes.of(here.path)) == 2
    sender.store.remove(lambda each: each.endpoint == here.endpoint)
    with pytest.raises(ActionFailed, match="503"):
        sender.send(dataclasses.replace(HELLO, tag="alone"))
    assert sender.send(dataclasses.replace(HELLO, tag="back")) == 1 and len(pushes.of(dead.path)) == 1
    pushes.answers = {dead.path: [503]}
    with pytest.raises(ActionFailed, match="503"):  # it is waited for again
        sender.send(dataclasses.replace(HELLO, tag="last"))


def test_messages_go_to_public_services_over_https_only(pushes, authority, tmp_path):  # noqa: F811
    guarded = PushSender(PushStore.in_file(tmp_path / "push.json"), Fetcher(timeout=5, cafile=str(authority / "ca.pem")))
    for endpoint in ("http://push.example/x", "ftp://push.example/x", "https://", "https://a:99999/", "javascript:1"):
        with pytest.raises(InvalidParameter, match="^endpoint: expected the https:// URL"):
            guarded.check(endpoint)
    subscription = guarded.store.add(Browser(pushes.url).subscription())
    with pytest.raises(ActionFailed, match="RECOGNIZER_WEBHOOK_ALLOW") as refused:
        guarded.send_to(subscription, HELLO)
    assert pushes.taken == [] and "/push/" not in refused.value.message
    assert guarded.store.all() == [subscription]  # what is refused here is not over


def test_who_may_not_look_any_more_gets_nothing(pushes, sender):
    kept, ended = Browser(pushes.url), Browser(pushes.url, "ended")
    sender.store.add(kept.subscription(key="a"))
    sender.store.add(ended.subscription(key="b"))
    strict = PushSender(sender.store, sender._fetcher, lambda each: each.key == "a")
    assert strict.send(HELLO) == 1
    assert [path for path, _, _ in pushes.taken] == [kept.path] and [each.key for each in sender.store.all()] == ["a"]


# -- what is stored ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vault", [None, Vault([new_key()])], ids=["plain", "sealed"])
def test_the_key_is_made_once_and_everything_is_for_its_owner_alone(tmp_path, vault):
    path, browser = tmp_path / "state" / "push.json", Browser("https://push.example")
    first, second = PushStore.in_file(path, vault), PushStore.in_file(path, vault)
    assert first.all() == [] and not path.exists()
    key = first.key()
    assert second.key() == key == first.key()
    made = second.add(browser.subscription())
    again = first.add(browser.subscription(strangers="Somebody new.", made=9.0))
    assert (again.id, again.made, again.strangers) == (made.id, 1.0, "Somebody new.") and second.all() == [again]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and (browser.auth.encode() in path.read_bytes()) is (vault is None)
    assert browser.endpoint not in repr(made) and browser.auth not in repr(made)
    assert second.remove(lambda each: each.id == made.id) == [again] and first.all() == []
    assert browser.path.encode() not in path.read_bytes() and first.key() == key
    with pytest.raises(SubscriptionNotFound):
        first.get(made.id)
    if vault is not None:
        with pytest.raises(KeyMissing):
            PushStore.in_file(path).key()


def test_a_damaged_file_is_reported_and_not_overwritten(tmp_path, monkeypatch):
    path = tmp_path / "push.json"
    file = PushStore.in_file(path)
    file.key()
    monkeypatch.setattr(push_store, "MOST_SUBSCRIPTIONS", 1)
    file.add(Browser("https://push.example").subscription())
    with pytest.raises(TooManySubscriptions):
        file.add(Browser("https://push.example", "other").subscription())
    for wrong in (b"{", b"[]", b'{"key": "", "subscriptions": []}', path.read_bytes().replace(b'"auth": "', b'"auth": "x')):
        path.write_bytes(wrong)
        with pytest.raises(StorageError, match=r"push\.json is damaged"):
            PushStore.in_file(path).add(Browser("https://push.example").subscription())
        assert path.read_bytes() == wrong


def test_subscriptions_are_in_backups_and_get_a_new_key_with_everything_else(service):  # noqa: F811
    made = service.push.store.add(Browser("https://push.example").subscription())
    key = service.push.store.key()
    with service.backup() as file, zipfile.ZipFile(file) as backup:
        assert "state/push.json" in {each["path"] for each in json.loads(backup.read("manifest.json"))["members"]}
    service.close()
    found, vault = service.settings, Vault([new_key()])
    reseal.reseal(reseal.Places(found.known_faces, found.state_dir), None, vault)
    path = found.state_dir / "push.json"
    assert b"push.example" not in path.read_bytes()
    assert PushStore.in_file(path, vault).key() == key and PushStore.in_file(path, vault).all() == [made]


# -- what is sent -----------------------------------------------------------------------------------------------------


def kept(tmp_path, authority, audit) -> KeptPush:  # noqa: F811
    made = KeptPush(PushStore.in_file(tmp_path / "state" / "push.json"), ["127.0.0.1"], 10, audit)
    made._sender = PushSender(made.store, Fetcher(allow=["127.0.0.1"], timeout=10, cafile=str(authority / "ca.pem")))
    return made


@pytest.mark.slow
def test_a_rule_tells_browsers_and_names_nobody_unless_its_message_does(pushes, sender, log, follow):  # noqa: F811
    browser = Browser(pushes.url)
    sender.store.add(browser.subscription())
    actions = RuleActions(RuleTools(Fetcher(), camera_name={"door": "Front door"}.get, push=sender))
    rule = make_rule("01", {"action": "push", "timezone": "UTC", "apart_minutes": 0.0, "picture": True, "url": "ntfy://x"})
    assert (rule.url, rule.picture, rule.late_minutes) == (None, False, 60.0)
    german = changed_rule(rule, {"language": "de"})
    assert german.notification(event(1, "Ada"), "Tür").startswith("Jemand ist bei Tür (")
    assert rule.sentence({}).startswith("When anybody comes to any camera, notify the subscribed browsers;")
    followed = follow(rule, actions)
    pushes.answers = {browser.path: [500]}
    log.append([event(0, "Ada")])
    wait_for(lambda: followed.counts["delivered"] == 1)
    followed.rule = changed_rule(rule, {"message": "{who} is back"})
    log.append([event(0, "Ada")])
    wait_for(lambda: followed.counts["delivered"] == 2)
    actions.do(rule, event(7, None), None, test=True)
    quiet, named, test = (browser.read(body) for _, body in pushes.of(browser.path))
    assert quiet["body"].startswith("Somebody is at Front door (") and quiet["tag"] == "rule-01-1"
    assert named["body"] == "Ada is back" and followed.counts["retried"] == 1
    assert test["title"] == "Recognizer: only a test" and test["body"].startswith("Somebody unknown is at Front door")
    with pytest.raises(ActionOff):
        RuleActions(RuleTools(Fetcher())).check(rule)


@pytest.mark.slow
def test_word_of_new_strangers_is_sent_seldom(pushes, authority, service, tmp_path, caplog, monkeypatch):  # noqa: F811
    wanting, other = Browser(pushes.url), Browser(pushes.url, "other")
    push = kept(tmp_path, authority, service.audit)
    push.notify_of_stranger()  # nobody is subscribed
    wait_for(lambda: not push._timer.is_alive())
    assert not push.store.all()
    push.store.add(wanting.subscription(strangers="Jemand Neues wurde gesehen."))
    push.store.add(other.subscription())
    monkeypatch.setattr(push_service, "STRANGERS_APART", 0.0)
    push.notify_of_stranger()
    wait_for(lambda: pushes.taken)
    ((_, body),) = pushes.of(wanting.path)
    shown = wanting.read(body)
    assert (shown["body"], shown["view"], shown["tag"]) == ("Jemand Neues wurde gesehen.", "#/strangers", "strangers")
    wait_for(lambda: not push._timer.is_alive())
    pushes.answers = {wanting.path: [500]}
    with caplog.at_level(logging.WARNING, "recognizer.rules"):
        push.notify_of_stranger()
        wait_for(lambda: "got no message about a new stranger" in caplog.text)
    wait_for(lambda: not push._timer.is_alive())
    monkeypatch.setattr(push_service, "STRANGERS_APART", 600.0)
    for _ in range(3):
        push.notify_of_stranger()
    assert len(pushes.taken) == 1 and push._timer.interval > 500
    push.close()
    wait_for(lambda: not push._timer.is_alive())
    push.notify_of_stranger()
    assert not push._timer.is_alive()


def test_browsers_are_subscribed_tried_and_removed(pushes, authority, service, tmp_path):  # noqa: F811
    assert service.strangers.heard == service.push.notify_of_stranger
    push, browser = kept(tmp_path, authority, service.audit), Browser(pushes.url)
    assert push.as_json()["subscriptions"] == []
    made = push.add(browser.subscription(key="7c3mz4qp", strangers="x"))
    assert made | {"id": "", "made": ""} == {
        "id": "",
        "label": "Firefox, Android",
        "service": "127.0.0.1",
        "made": "",
        "key": "7c3mz4qp",
        "strangers": True,
    }
    push.test(made["id"], "Es geht.")
    assert browser.read(pushes.of(browser.path)[0][1])["body"] == "Es geht."
    for change, said in (
        ({"endpoint": "http://push.example"}, "endpoint: expected the https"),
        ({"endpoint": "https://push.example/" + 2000 * "x"}, "endpoint: expected printable text"),
        ({"p256dh": "AAAA"}, "p256dh: expected it and auth"),
        ({"label": "a\nb"}, "label: expected printable"),
        ({"strangers": 301 * "x"}, "strangers: expected printable"),
    ):
        with pytest.raises(InvalidParameter) as caught:
            push.add(dataclasses.replace(browser.subscription(), **change))
        assert said in caught.value.message
    with pytest.raises(InvalidParameter, match="^message: "):
        push.test(made["id"], "a\nb")
    pushes.answers = {browser.path: [410]}
    with pytest.raises(ActionFailed, match="no longer subscribed"):
        push.test(made["id"], "x")
    with pytest.raises(SubscriptionNotFound):
        push.remove(made["id"])
    push.add(browser.subscription(session="s"))
    push.store.forget_session("other")
    assert len(push.store.all()) == 1
    push.store.forget_session("s")
    assert push.store.all() == []


def test_a_session_that_ends_before_there_is_a_service_ends_its_subscription_at_once(settings):  # noqa: F811
    browser, other = Browser("https://push.example"), Browser("https://push.example", "other")
    file = PushStore.in_file(settings.state_dir / "push.json")
    file.add(browser.subscription(session="s"))
    stays = file.add(other.subscription(session="t"))
    site = Site(settings)
    try:
        site.forget_session("s")
        assert file.all() == [stays]  # also if the process is killed now
        with site._loading() as progress:
            service = site._make(progress)
        assert service.push.store.all() == [stays]
        site.forget_session("t")
        assert service.push.store.all() == []
    finally:
        site.close()


@pytest.mark.parametrize("content", ["{", None])
def test_signing_out_before_there_is_a_service_with_a_list_of_browsers_that_is_damaged_or_missing(settings, content):  # noqa: F811
    site = Site(settings)
    if content is None:
        return site.forget_session("s")
    settings.state_dir.mkdir(exist_ok=True)
    (settings.state_dir / "push.json").write_text(content)
    with pytest.raises(StorageError):
        site.forget_session("s")


def test_push_services_are_told_of_pages_over_https_only():
    assert contact_of("https://home.example:8443") == "https://home.example:8443"
    assert {contact_of(each) for each in (None, "", "null", "http://home.example", "https://")} == {"https://localhost"}
