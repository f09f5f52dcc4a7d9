"""Events to a topic of Kafka, confirmed by all replicas that are in sync.

The message is the event's JSON, as webhooks send it; its key is the camera or the person, so that the events of one keep their
order; its header ``message-id`` is ``recognizer-<id of the event>``, the same each time it is sent.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from recognizer.core.errors import SettingsError
from recognizer.events.broker_delivery import (
    CAMERA,
    BrokerDelivery,
    NotConfirmed,
    QueueServer,
    Undeliverable,
    host_and_port,
    key_of_event,
    parse_server,
)
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog

#: Seconds for connecting, and for the confirmation of a message.
_CONNECT_SECONDS, _CONFIRM_SECONDS = 10.0, 10.0


def parse_kafka(url: str, password: str | None = None, cafile: str | None = None) -> QueueServer:
    """Parse ``kafka://user:password@host:9092,host:9092`` or ``kafkas://...``; see `parse_server`.

    Raises
    ------
    SettingsError
    """
    found = parse_server("kafka_url", url, {"kafka": 9092, "kafkas": 9093}, password, cafile)
    if found.path:
        raise SettingsError("kafka_url: expected no path; RECOGNIZER_KAFKA_TOPIC names the topic")
    return found


@dataclass(frozen=True)
class KafkaOptions:
    """How events are published.

    Attributes
    ----------
    topic : str
    key : {"camera", "person"}
    mechanism : str
        Of SASL, used with a user.
    more : dict
        Further settings of librdkafka.
    """

    topic: str = "recognizer"
    key: str = CAMERA
    mechanism: str = "PLAIN"
    more: dict[str, Any] = field(default_factory=dict)


class Kafka(BrokerDelivery):
    """Publishes events to one cluster.

    Parameters
    ----------
    events : EventLog
    server : QueueServer
    options : KafkaOptions, optional
    **more
        See `BrokerDelivery`.

    Raises
    ------
    SettingsError
        The package is missing.
    """

    kind, package = "kafka", "confluent_kafka"
    missing = "kafka_url: Kafka needs the package of requirements-kafka.txt: pip install 'recognizer[kafka]'"

    def __init__(self, events: EventLog, server: QueueServer, options: KafkaOptions | None = None, **more: Any):
        super().__init__(events, server, **more)
        self.options = options or KafkaOptions()
        self._producer: Any = None

    def configuration(self) -> dict[str, Any]:
        """What librdkafka is told."""
        server = self.server
        found: dict[str, Any] = {
            "bootstrap.servers": ",".join(host_and_port(*each) for each in server.hosts),
            "client.id": "recognizer",
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": int(_CONFIRM_SECONDS * 1000),
            "socket.connection.setup.timeout.ms": int(_CONNECT_SECONDS * 1000),
            "log_level": 0,
        }
        if server.user:
            found |= {
                "sasl.mechanism": self.options.mechanism,
                "sasl.username": server.user,
                "sasl.password": server.password or "",
            }
        found["security.protocol"] = ("SASL_" if server.user else "") + ("SSL" if server.tls else "PLAINTEXT")
        if server.tls:
            import certifi

            found["ssl.ca.location"] = server.cafile or certifi.where()
        return found | self.options.more

    def _connect(self) -> None:
        from confluent_kafka import KafkaException, Producer

        self.pause(0)
        try:
            self._producer = Producer(self.configuration(), logger=_Silent())
            until = time.monotonic() + _CONNECT_SECONDS
            while True:
                try:
                    self._producer.list_topics(self.options.topic, timeout=1.0)
                    return
                except KafkaException:
                    self.pause(0)
                    if time.monotonic() > until:
                        raise
        except KafkaException as error:
            raise NotConfirmed(_reason(error.args[0], "no connection could be made")) from None

    def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):
                producer.purge()
                producer.flush(1.0)

    def _idle(self) -> None:
        self._producer.poll(0)

    def _publish(self, event: dict) -> None:
        from confluent_kafka import KafkaError, KafkaException

        outcome: list[Any] = []
        try:
            self._producer.produce(
                self.options.topic,
                self.body_of(event),
                key_of_event(event, self.options.key).encode(),
                headers={"message-id": self.id_of(event), "kind": event["kind"]},
                timestamp=int(seconds(event["time"]) * 1000) if event["time"] else 0,
                on_delivery=lambda error, message: outcome.append(error),
            )
        except BufferError:
            raise NotConfirmed("the queue of the client is full") from None
        except KafkaException as error:
            outcome.append(error.args[0])
        until = time.monotonic() + _CONFIRM_SECONDS + 5.0
        while not outcome:
            self._producer.poll(0.2)
            self.pause(0)
            if time.monotonic() > until:
                raise NotConfirmed("the broker does not confirm events")
        if outcome[0] is None:
            return
        if outcome[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise Undeliverable("an event is larger than the topic allows: it is dropped")
        raise NotConfirmed(_reason(outcome[0], "the broker does not confirm events"))


class _Silent:
    """Takes librdkafka's log, which names addresses; `Kafka.problem` says what matters."""

    def log(self, level: int, message: str, *args: Any) -> None:
        """Nothing."""


def _reason(error: Any, otherwise: str) -> str:
    """Why something failed, in words without the broker's address and credentials."""
    from confluent_kafka import KafkaError

    code = error.code()
    words = {
        KafkaError._AUTHENTICATION: "the broker refuses the user or the password",
        KafkaError.SASL_AUTHENTICATION_FAILED: "the broker refuses the user or the password",
        KafkaError.TOPIC_AUTHORIZATION_FAILED: "the user may not write to the topic",
        KafkaError.UNKNOWN_TOPIC_OR_PART: "there is no such topic",
        KafkaError._UNKNOWN_TOPIC: "there is no such topic",
        KafkaError._SSL: "the TLS connection failed",
        KafkaError._MSG_TIMED_OUT: "the broker does not confirm events",
    }
    return words.get(code, otherwise)
