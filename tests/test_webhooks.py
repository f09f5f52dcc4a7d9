"""Webhooks against a real receiver of this machine: order, signature, failures, restarts, and where they may not lead."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time

import pytest

from recognizer.core.errors import InvalidUrl, SettingsError
from recognizer.events.delivery import Cursor, backoff
from recognizer.events.event_log import EventLog
from recognizer.events.webhooks import Webhook, WebhookRules, key_of, shown
from recognizer.fetching.fetcher import Fetcher

from .receivers import Receiver
from .streams import ends, wait_for

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
QUICK = {"least": 0.02, "most": 0.1}


@pytest.fixture
def start(log):
    made = []

    def run(url: str, allow=("127.0.0.1",), **rules) -> Webhook:
        rules = {**QUICK, **rules}
        made.append(Webhook(log, url, Fetcher(allow=allow, timeout=2), WebhookRules(**rules)))
        made[-1].start()
        return made[-1]

    yield run
    for each in made:
        each.stop()


def put(log: EventLog, count: int = 1, time: str | None = None) -> None:
    from recognizer.events.appearances import iso

    for _ in range(count):
        log.append([{"id": 0, "kind": "appeared", "camera": "door", "time": time or iso(_now()), "subject": "Zoë"}])


def _now() -> float:
    return time.time()


@pytest.mark.slow
def test_every_event_is_posted_in_order(log, receiver, start):
    put(log, 3)  # a receiver that is new hears of what comes from now on
    hook = start(receiver.url)
    put(log, 20)
    wait_for(lambda: len(receiver.taken) == 20)
    wait_for(lambda: hook.waiting == 0)
    assert receiver.ids == list(range(4, 24))
    headers, body = receiver.taken[0]
    assert headers["Content-Type"] == "application/json" and json.loads(body)["subject"] == "Zoë"
    assert "webhook-signature" not in headers
    assert hook.counts == {"delivered": 20, "retried": 0, "dropped": 0} and hook.waiting == 0


@pytest.mark.slow
@pytest.mark.parametrize("secret", [SECRET, "any text, Ö"])
def test_signatures_are_those_of_the_specification(log, receiver, start, secret):
    start(receiver.url, secret=key_of(secret))
    put(log)
    wait_for(lambda: receiver.taken)
    headers, body = receiver.taken[0]
    key = base64.b64decode(secret[6:]) if secret == SECRET else secret.encode()
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    assert hmac.compare_digest(headers["webhook-signature"], expected)
    assert abs(int(headers["webhook-timestamp"]) - _now()) < 30 and headers["webhook-id"] == "recognizer-1"


def test_the_example_of_the_specification():
    from recognizer.events.webhooks import signature

    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_a_secret_that_is_no_base64():
    with pytest.raises(SettingsError) as caught:
        key_of("whsec_hidden!")
    assert "hidden" not in str(caught.value)


@pytest.mark.slow
def test_failures_are_tried_again_in_order(log, receiver, start, caplog):
    receiver.answers = [500, 503, 302, 200, 404, 200]
    with caplog.at_level(logging.INFO):
        hook = start(receiver.url)
        put(log, 3)
        wait_for(lambda: len(receiver.taken) == 3)
        wait_for(lambda: hook.counts["delivered"] == 3 and hook.problem is None)  # noted after the receiver took it
    assert receiver.ids == [1, 2, 3]
    assert hook.counts == {"delivered": 3, "retried": 4, "dropped": 0}
    assert "hidden" not in caplog.text and f"http://127.0.0.1:{receiver.port}" in caplog.text


@pytest.mark.slow
def test_an_event_that_is_refused_makes_way_for_the_next(log, receiver, start):
    receiver.answers = [400, 422, 400]
    hook = start(receiver.url)
    put(log, 2)
    wait_for(lambda: hook.counts == {"delivered": 1, "retried": 2, "dropped": 1})
    assert receiver.ids == [2]


@pytest.mark.slow
def test_an_old_event_is_dropped_when_it_fails(log, receiver, start):
    receiver.answers = [500]
    hook = start(receiver.url, retry_seconds=60)
    put(log, time="2020-01-01T00:00:00.000Z")
    put(log)
    wait_for(lambda: len(receiver.taken) == 1)
    assert receiver.ids == [2] and hook.counts["dropped"] == 1


@pytest.mark.slow
def test_the_receiver_says_when_to_come_again(log, receiver):
    pauses = []

    class Hurried(Webhook):
        def pause(self, seconds):
            pauses.append(seconds)

    receiver.answers = [(429, {"Retry-After": "77"}), 429]
    hook = Hurried(log, receiver.url, Fetcher(allow=("127.0.0.1",)), WebhookRules(**QUICK))
    hook.start()
    put(log)
    wait_for(lambda: receiver.taken)
    hook.stop()
    assert len(pauses) == 2 and pauses[0] == 77 and pauses[1] <= QUICK["most"]


@pytest.mark.slow
def test_nothing_is_lost_while_the_receiver_and_then_the_server_are_away(log, tmp_path):
    receiver = Receiver()
    port = receiver.port

    def hook() -> Webhook:
        made = Webhook(log, receiver.url, Fetcher(allow=("127.0.0.1",), timeout=2), WebhookRules(**QUICK))
        made.start()
        return made

    running = hook()
    put(log, 5)
    wait_for(lambda: len(receiver.taken) == 5)
    receiver.close()
    put(log, 5)
    wait_for(lambda: running.problem)
    running.stop()
    put(log, 5)  # the server goes down and comes back
    log.close()
    log = EventLog(tmp_path / "events")
    receiver = Receiver(port)
    try:
        running = hook()
        wait_for(lambda: len(receiver.taken) == 10)
        assert receiver.ids == list(range(6, 16))
        running.stop()
    finally:
        receiver.close()
        log.close()


@pytest.mark.slow
def test_more_than_may_wait_is_dropped_and_counted(log, receiver, start):
    hook = start(receiver.url, backlog=10)
    hook.stop()
    put(log, 50)
    hook = start(receiver.url, backlog=10)
    wait_for(lambda: len(receiver.taken) == 10)
    assert receiver.ids == list(range(41, 51)) and hook.counts["dropped"] == 40


@pytest.mark.slow
def test_a_slow_receiver_delays_only_itself(log, receiver, start):
    slow = start("http://127.0.0.1:9/", least=3600, most=3600)
    start(receiver.url)
    put(log, 3)
    wait_for(lambda: len(receiver.taken) == 3)
    wait_for(lambda: slow.problem)
    ends(slow.stop, 3600)


@pytest.mark.parametrize("allow", [(), ("192.168.0.0/16",)])
def test_private_addresses_are_refused_unless_they_are_allowed(log, receiver, start, allow):
    hook = start(receiver.url, allow=allow)
    put(log)
    wait_for(lambda: hook.problem)
    assert "RECOGNIZER_WEBHOOK_ALLOW" in hook.problem and receiver.asked == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::1"])
def test_names_that_lead_to_private_addresses_are_refused(log, address):
    asked = []

    def resolve(host, port, **_):
        asked.append(host)
        return [(0, 0, 0, "", (address, port))]

    hook = Webhook(log, "https://hooks.example.org/", Fetcher(resolver=resolve), WebhookRules(**QUICK))
    hook.start()
    put(log)
    wait_for(lambda: hook.problem)
    hook.stop()
    assert asked and "not allowed" in hook.problem


def test_a_redirect_is_not_followed(log, receiver, start):
    receiver.answers = [(307, {"Location": f"http://127.0.0.1:{receiver.port}/other"})] * 3
    hook = start(receiver.url, least=5, most=5)
    put(log)
    wait_for(lambda: hook.problem)
    assert receiver.asked == 1 and receiver.taken == []


@pytest.mark.parametrize("url", ["ftp://example.org/", "http://", "nonsense", "http://user:pw@example.org/", "http://a b/"])
def test_urls_that_cannot_be_used(log, url):
    with pytest.raises(InvalidUrl) as caught:
        Webhook(log, url, Fetcher())
    assert "pw" not in str(caught.value)


def test_shown_urls_hold_nothing_secret():
    assert shown("https://hooks.example.org:8443/T0K3N?key=S3CR3T") == "https://hooks.example.org:8443"


def test_waits_grow_to_their_limit():
    waits = [backoff(attempt, 1, 300) for attempt in range(1, 40)]
    assert all(0.5 <= wait <= 300 for wait in waits) and min(waits[9:]) >= 150 and waits[0] <= 1


@pytest.mark.parametrize("content", ["", "{}", "nonsense", '{"after": "x"}', '{"after": 99}'])
def test_a_damaged_cursor_begins_with_new_events(tmp_path, content):
    (tmp_path / "x.cursor").write_text(content)
    assert Cursor(tmp_path / "x.cursor", 7).after == 7
    assert Cursor(tmp_path / "x.cursor", 9).after == 7
