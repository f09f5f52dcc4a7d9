"""Events by AMQP with a real RabbitMQ, and by Kafka with the cluster that librdkafka simulates."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

import pytest

from recognizer.core.errors import SettingsError
from recognizer.core.settings import Settings
from recognizer.events import amqp as amqp_module
from recognizer.events import kafka as kafka_module
from recognizer.events.amqp import Amqp, AmqpOptions, parse_amqp
from recognizer.events.broker_delivery import QueueServer, key_of_event
from recognizer.events.delivery import message_body
from recognizer.events.event_log import EventLog
from recognizer.events.kafka import Kafka, KafkaOptions, parse_kafka

from .brokers import MISSING_RABBITMQ, RABBITMQ, RabbitMq, free_port, put, stopped
from .streams import wait_for

# --- where brokers are -------------------------------------------------------------------------------------------------


def test_urls_of_brokers():
    found = parse_amqp("amqps://cam:s3cr%25t%2F%40@[::1]:5671/my%2Fhost")
    assert found == QueueServer((("::1", 5671),), True, "cam", "s3cr%t/@", "my/host", None, "amqps")
    assert found.shown == "amqps://[::1]:5671" and "s3cr" not in repr(found)
    assert parse_amqp("amqp://host").hosts == (("host", 5672),) and parse_amqp("amqp://u@host", "other").password == "other"
    kafka = parse_kafka("kafka://u:p@one,two:9999")
    assert kafka.hosts == (("one", 9092), ("two", 9999)) and not kafka.tls and kafka.shown == "kafka://one:9092,two:9999"
    for parse, url in (
        *((parse_amqp, each) for each in ("http://x", "amqp://", "amqp://x:0", "amqp://x:y", "amqp://x/?secret=1", "x")),
        (parse_kafka, "kafka://host/topic"),
        (parse_kafka, "kafka://,"),
    ):
        with pytest.raises(SettingsError, match="_url: expected") as error:
            parse(url)
        assert "secret" not in error.value.message


def test_settings_of_brokers_are_checked():
    for name, value in (("amqp_exchange", "a b"), ("kafka_topic", "x/y"), ("kafka_sasl", "GSSAPI"), ("events_key", "name")):
        with pytest.raises(SettingsError):
            Settings.from_environment({f"RECOGNIZER_{name.upper()}": value})


@pytest.mark.parametrize(("package", "make"), [("pika", Amqp), ("confluent_kafka", Kafka)])
def test_without_the_package_a_sentence_says_what_to_install(log, monkeypatch, package, make):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=r"pip install 'recognizer\[(amqp|kafka)\]'"):
        make(log, QueueServer((("127.0.0.1", 1),)))


def test_keys_of_events():
    event = {"camera": "door", "subject": "Ada Lovelace"}
    assert key_of_event(event, "camera") == "door" and key_of_event(event, "person") == "Ada Lovelace"
    assert key_of_event({**event, "subject": None}, "person") == "unknown"


# --- AMQP --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker(tmp_path_factory, authority) -> Iterator[RabbitMq]:
    if not RABBITMQ.exists():
        pytest.skip(MISSING_RABBITMQ)
    pytest.importorskip("pika")
    with RabbitMq(tmp_path_factory.mktemp("rabbitmq"), authority / "server.pem") as made:
        yield made


def amqp(log: EventLog, broker: RabbitMq, exchange: str, queue: str | None = None, key: str = "camera", **server) -> Amqp:
    given = {"user": broker.user, "password": broker.password, "scheme": "amqp", **server}
    where = QueueServer((("127.0.0.1", broker.tls_port if given.get("tls") else broker.port),), **given)
    made = Amqp(log, where, AmqpOptions(exchange, queue, key), least=0.05, most=0.2)
    made.start()
    return made


@pytest.mark.network
@pytest.mark.slow
def test_events_reach_a_queue_once_confirmed(log, broker):
    sink = amqp(log, broker, "all", "all", key="person")
    wait_for(lambda: sink.problem is None)
    put(log, 3)
    put(log, subject=None, kind="unknown")
    wait_for(lambda: sink.counts["delivered"] == 4)
    messages = broker.messages("all")
    assert [message[1].message_id for message in messages] == [f"recognizer-{n}" for n in range(1, 5)]
    method, properties, body = messages[0]
    assert method.routing_key == "appeared.Ada" and messages[3][0].routing_key == "unknown.unknown"
    assert body == message_body(log.get(1)) and json.loads(body)["subject"] == "Ada"  # as webhooks get it
    assert (properties.content_type, properties.delivery_mode, properties.type) == ("application/json", 2, "appeared")
    assert sink.waiting == 0 and sink.label == f"amqp://127.0.0.1:{broker.port}"
    stopped(sink)
    put(log)  # while nobody delivers
    again = amqp(log, broker, "all", "all")
    wait_for(lambda: again.counts["delivered"] == 1)
    assert [(message[1].message_id, message[0].routing_key) for message in broker.messages("all")] == [
        ("recognizer-5", "appeared.front_door")
    ]
    stopped(again)


@pytest.mark.network
@pytest.mark.slow
def test_what_no_queue_takes_and_what_a_full_one_refuses_is_reported(log, broker):
    sink = amqp(log, broker, "lonely")
    wait_for(lambda: sink.problem is None)
    put(log)
    wait_for(lambda: sink.counts["dropped"] == 1)
    assert "no queue is bound" in sink.problem
    connection = broker.client()
    channel = connection.channel()
    channel.queue_declare("small", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.queue_bind("small", "lonely", "appeared.#")
    connection.close()
    put(log)
    wait_for(lambda: sink.counts["delivered"] == 1 and sink.problem is None)
    put(log)
    wait_for(lambda: sink.problem == "the broker refuses events: a queue is full")
    assert sink.waiting == 1
    assert [message[1].message_id for message in broker.messages("small")] == ["recognizer-2"]
    wait_for(lambda: sink.counts["delivered"] == 2)  # there is room now
    assert sink.counts["retried"] >= 1 and sink.problem is None
    stopped(sink)
    own = amqp(log, broker, "lonely", "small")  # whose declaration differs: it is used as it is
    wait_for(lambda: own.problem is None)
    stopped(own)


@pytest.mark.network
@pytest.mark.slow
def test_a_broker_that_is_killed_loses_no_event(log, broker):
    sink = amqp(log, broker, "killed", "killed")
    wait_for(lambda: sink.problem is None)
    put(log, 20)
    wait_for(lambda: sink.counts["delivered"] >= 5)
    broker.kill()
    put(log, 20)
    wait_for(lambda: sink.problem is not None)
    log.rename("Ada", "Eve")  # while events wait
    broker.start()
    wait_for(lambda: sink.waiting == 0)
    held = broker.messages("killed")
    ids = [message[1].message_id for message in held]
    assert set(ids) == {f"recognizer-{n}" for n in range(1, 41)}  # at least once
    assert json.loads(held[-1][2])["subject"] == "Eve"
    assert sink.counts["dropped"] == 0
    stopped(sink)


@pytest.mark.network
@pytest.mark.slow
def test_tls_and_wrong_passwords(log, broker, authority):
    good = amqp(log, broker, "tls", "tls", tls=True, cafile=str(authority / "ca.pem"))
    wait_for(lambda: good.problem is None)
    stopped(good)
    for more, problem in (
        ({"tls": True}, "no connection could be made"),  # nobody vouches for the certificate
        ({"password": "wrong"}, "the broker refuses the user or the password"),
        ({"path": "nowhere"}, "the broker refuses"),
    ):
        bad = amqp(log, broker, "tls", **more)
        wait_for(lambda bad=bad, problem=problem: problem in bad.problem)
        stopped(bad)


# --- Kafka -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """The addresses of a cluster of three."""
    kafka = pytest.importorskip("confluent_kafka")
    mock = kafka.Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 3})
    brokers = mock.list_topics(timeout=10).brokers.values()
    yield QueueServer(tuple((each.host, each.port) for each in brokers), scheme="kafka")
    del mock


def consumed(cluster: QueueServer, topic: str, count: int) -> list:
    from confluent_kafka import Consumer

    consumer = Consumer(
        {
            "bootstrap.servers": ",".join(f"{host}:{port}" for host, port in cluster.hosts),
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    found, until = [], time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < until
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message)
    consumer.close()
    return found


@pytest.mark.network
@pytest.mark.slow
def test_events_reach_a_topic_keyed_by_camera(log, cluster):
    sink = Kafka(log, cluster, KafkaOptions("events"), least=0.05, most=0.2)
    sink.start()
    wait_for(lambda: sink.problem is None)
    put(log, 5)
    put(log, 5, camera="yard")
    wait_for(lambda: sink.counts["delivered"] == 10)
    messages = consumed(cluster, "events", 10)
    by_camera = {
        camera: [dict(each.headers())["message-id"] for each in messages if each.key() == camera.encode()]
        for camera in ("front.door", "yard")
    }
    assert by_camera == {  # in order for each key
        "front.door": [f"recognizer-{n}".encode() for n in range(1, 6)],
        "yard": [f"recognizer-{n}".encode() for n in range(6, 11)],
    }
    first = next(each for each in messages if json.loads(each.value())["id"] == 1)
    assert first.value() == message_body(log.get(1)) and first.timestamp()[1] == 1796025600000
    assert sink.waiting == 0 and sink.label.startswith("kafka://127.0.0.1:")
    stopped(sink)


@pytest.mark.network
@pytest.mark.slow
def test_without_a_cluster_events_wait_and_are_sent_when_there_is_one(log, cluster, monkeypatch):
    monkeypatch.setattr(kafka_module, "_CONNECT_SECONDS", 1.0)
    nowhere = QueueServer((("127.0.0.1", free_port()),), scheme="kafka")
    sink = Kafka(log, nowhere, KafkaOptions("late"), least=0.05, most=0.2)
    sink.start()
    put(log, 2)
    wait_for(lambda: sink.problem == "no connection could be made")
    assert sink.waiting == 2
    sink.server = cluster
    wait_for(lambda: sink.counts["delivered"] == 2)
    assert sink.problem is None and len(consumed(cluster, "late", 2)) == 2
    stopped(sink)


@pytest.mark.network
@pytest.mark.slow
def test_an_event_that_is_too_large_is_dropped_and_others_are_not(log, cluster):
    sink = Kafka(log, cluster, KafkaOptions("large", more={"message.max.bytes": 2000}), least=0.05, most=0.2)
    sink.start()
    put(log, reason="x" * 5000)
    put(log)
    wait_for(lambda: sink.counts["delivered"] == 1)
    assert sink.counts["dropped"] == 1
    stopped(sink)


def test_what_the_library_is_told(log):
    pytest.importorskip("confluent_kafka")
    plain = Kafka(log, parse_kafka("kafka://host")).configuration()
    assert plain["security.protocol"] == "PLAINTEXT" and plain["acks"] == "all" and plain["enable.idempotence"]
    server = parse_kafka("kafkas://u:p@one,two", cafile="/ca.pem")
    secret = Kafka(log, server, KafkaOptions(mechanism="SCRAM-SHA-512")).configuration()
    assert secret["security.protocol"] == "SASL_SSL" and secret["ssl.ca.location"] == "/ca.pem"
    assert (secret["sasl.username"], secret["sasl.password"], secret["sasl.mechanism"]) == ("u", "p", "SCRAM-SHA-512")
    assert amqp_module.parse_amqp("amqps://u:p@h").tls
