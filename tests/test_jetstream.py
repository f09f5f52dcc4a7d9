"""Events by NATS JetStream, with a real server."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from recognizer.core.errors import SettingsError
from recognizer.core.settings import Settings
from recognizer.events.broker_delivery import NotConfirmed, QueueServer
from recognizer.events.delivery import message_body
from recognizer.events.event_log import EventLog
from recognizer.events.jetstream import JetStream, JetStreamOptions, parse_nats
from recognizer.service import delivering

from .brokers import MISSING_NATS, NATS, NatsServer, put, stopped
from .streams import wait_for


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[NatsServer]:
    if NATS is None:
        pytest.skip(MISSING_NATS)
    pytest.importorskip("nats")
    with NatsServer(tmp_path_factory.mktemp("nats")) as made:
        yield made


def started(log: EventLog, server: NatsServer, stream: str, key: str = "camera", **where) -> JetStream:
    given = {"user": server.user, "password": server.password, "scheme": "nats", **where}
    place = QueueServer((("127.0.0.1", server.port),), **given)
    made = JetStream(log, place, JetStreamOptions(stream, key), least=0.05, most=0.2)
    made.start()
    return made


def ids(messages: list) -> list[str]:
    return [message.headers["Nats-Msg-Id"] for message in messages]


def test_urls_and_settings():
    found = parse_nats("tls://cam:s3cr%25t%2F@one,[::1]:4333", cafile="/ca.pem")
    assert found == QueueServer((("one", 4222), ("::1", 4333)), True, "cam", "s3cr%t/", "", "/ca.pem", "tls")
    assert found.shown == "tls://one:4222,[::1]:4333" and "s3cr" not in repr(found)
    token = parse_nats("nats://t0ken@host")
    assert (token.user, token.password, token.tls) == ("t0ken", None, False) and "t0ken" not in token.shown
    for url in ("http://x", "nats://", "nats://x:0", "x"):
        with pytest.raises(SettingsError, match="nats_url: expected"):
            parse_nats(url)
    for stream in ("a.b", "a b", "a*"):
        with pytest.raises(SettingsError, match="NATS_STREAM"):
            Settings.from_environment({"RECOGNIZER_NATS_STREAM": stream})


def test_without_the_package_a_sentence_says_what_to_install(log, monkeypatch):
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(SettingsError, match=r"pip install 'recognizer\[nats\]'"):
        JetStream(log, QueueServer((("127.0.0.1", 1),)))


def test_settings_make_it(log, tmp_path):
    pytest.importorskip("nats")
    (tmp_path / "password").write_text("s3cret\n")
    told = {"url": "nats://cam@host", "password_file": str(tmp_path / "password"), "stream": "faces"}
    told = {f"RECOGNIZER_NATS_{name.upper()}": value for name, value in told.items()}
    (sink,) = delivering._queues(Settings.from_environment({**told, "RECOGNIZER_EVENTS_KEY": "person"}), log)
    assert isinstance(sink, JetStream) and sink.options == JetStreamOptions("faces", "person")
    assert (sink.server.user, sink.server.password) == ("cam", "s3cret")


@pytest.mark.parametrize(
    ("name", "part"), [("a.b*c>d e", "a_b_c_d_e"), ("Zoë", "Zoë"), ("x" * 500, "x" * 200), ("a\r\nb", "a_b")]
)
def test_a_name_is_one_part_of_a_subject(log, name, part):
    pytest.importorskip("nats")
    sink = JetStream(log, QueueServer((("127.0.0.1", 1),)), JetStreamOptions("s", "person"))
    assert sink.subject({"kind": "appeared", "camera": "door", "subject": name}) == f"s.appeared.{part}"


def test_nothing_is_sent_without_tls_where_it_is_wanted(log):
    pytest.importorskip("nats")
    info = {"server_id": "a", "version": "2.10.0", "auth_required": True, "max_payload": 1000, "headers": True}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        sent: list[bytes] = []

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(10)
                connection.sendall(b"INFO " + json.dumps(info).encode() + b"\r\n")
                sent.append(connection.recv(1000))

        thread = threading.Thread(target=answer)
        thread.start()
        sink = JetStream(log, parse_nats(f"tls://cam:s3cret@127.0.0.1:{listening.getsockname()[1]}"))
        with pytest.raises(NotConfirmed, match="no TLS"):
            sink._connect()
        sink._disconnect()
        thread.join()
    assert sent == [b""]


@pytest.mark.network
@pytest.mark.slow
def test_events_reach_a_stream_once_although_they_are_sent_again(log, server, tmp_path):
    sink = started(log, server, "all", key="person")
    wait_for(lambda: sink.problem is None)
    put(log, 3)
    put(log, subject=None, kind="unknown")
    wait_for(lambda: sink.counts["delivered"] == 4)
    messages = server.messages("all")
    assert ids(messages) == [f"recognizer-{n}" for n in range(1, 5)]
    assert messages[0].subject == "all.appeared.Ada" and messages[3].subject == "all.unknown.unknown"
    assert messages[0].data == message_body(log.get(1)) and json.loads(messages[0].data)["subject"] == "Ada"
    assert messages[0].headers["Content-Type"] == "application/json"
    assert sink.waiting == 0 and sink.label == f"nats://127.0.0.1:{server.port}"
    stopped(sink)
    put(log)  # while nobody delivers
    again = started(log, server, "all")
    wait_for(lambda: again.counts["delivered"] == 1)
    # as where the server's answer was lost: all of them once more
    for number in range(1, 6):
        again_sent = JetStream(log, again.server, again.options)
        again_sent._connect()
        again_sent._publish(log.get(number))
        again_sent._disconnect()
    assert ids(server.messages("all")) == [f"recognizer-{n}" for n in range(1, 6)]
    assert server.messages("all")[4].subject == "all.appeared.front_door"
    stopped(again)


@pytest.mark.network
@pytest.mark.slow
def test_a_server_that_is_killed_loses_no_event(log, server):
    sink = started(log, server, "killed")
    wait_for(lambda: sink.problem is None)
    put(log, 20)
    wait_for(lambda: sink.counts["delivered"] >= 5)
    server.kill()
    put(log, 20)
    wait_for(lambda: sink.problem is not None)
    log.rename("Ada", "Eve")  # while events wait
    server.start()
    wait_for(lambda: sink.waiting == 0)
    held = server.messages("killed")
    assert sorted(ids(held), key=lambda each: int(each.rpartition("-")[2])) == [f"recognizer-{n}" for n in range(1, 41)]
    assert json.loads(held[-1].data)["subject"] == "Eve" and sink.counts["dropped"] == 0
    stopped(sink)


@pytest.mark.network
@pytest.mark.slow
def test_a_full_stream_and_a_wrong_password_are_reported_and_events_wait(log, server):
    from nats.js import api

    full = api.StreamConfig(name="small", subjects=["small.>"], max_msgs=1, discard=api.DiscardPolicy.NEW)
    server.ask(lambda jetstream: jetstream.add_stream(full))
    sink = started(log, server, "small")
    wait_for(lambda: sink.problem is None)  # it is used as it is
    put(log, 2)
    wait_for(lambda: sink.problem == "the server refuses events: the stream is full")
    assert sink.waiting == 1 and ids(server.messages("small")) == ["recognizer-1"]
    server.ask(lambda jetstream: jetstream.purge_stream("small"))
    wait_for(lambda: sink.counts["delivered"] == 2)
    assert sink.problem is None and ids(server.messages("small")) == ["recognizer-2"]
    stopped(sink)
    bad = started(log, server, "small", password="wrong")
    wait_for(lambda: bad.problem == "the server refuses the user, the password or the token")
    stopped(bad)


@pytest.mark.network
@pytest.mark.slow
def test_tls(log, server, tmp_path, authority):
    with NatsServer(tmp_path / "nats", authority / "server.pem") as secret:
        good = started(log, secret, "tls", tls=True, cafile=str(authority / "ca.pem"), scheme="tls")
        wait_for(lambda: good.problem is None)
        stopped(good)
        bad = started(log, secret, "tls", tls=True, scheme="tls")  # nobody vouches for the certificate
        wait_for(lambda: bad.problem == "no connection could be made")
        stopped(bad)
