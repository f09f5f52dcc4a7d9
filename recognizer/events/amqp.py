"""Events by AMQP 0-9-1, such as RabbitMQ's: to a durable topic exchange, persistent, confirmed by the broker.

The routing key is ``<kind>.<camera or person>``, such as ``appeared.door``. The message is the event's JSON, as webhooks send
it; its message id is ``recognizer-<id of the event>``, the same each time it is sent.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from recognizer.events.broker_delivery import (
    CAMERA,
    BrokerDelivery,
    NotConfirmed,
    QueueServer,
    Undeliverable,
    key_of_event,
    parse_server,
)
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog

#: Seconds for connecting, for an answer, and between two signs of life.
_CONNECT_SECONDS, _BLOCKED_SECONDS, _HEARTBEAT = 10.0, 30.0, 30
_LONGEST_KEY = 255


def parse_amqp(url: str, password: str | None = None, cafile: str | None = None) -> QueueServer:
    """Parse ``amqp://user:password@host:5672/vhost`` or ``amqps://...``; see `parse_server`.

    Raises
    ------
    SettingsError
    """
    return parse_server("amqp_url", url, {"amqp": 5672, "amqps": 5671}, password, cafile)


@dataclass(frozen=True)
class AmqpOptions:
    """How events are published.

    Attributes
    ----------
    exchange : str
        Declared as a durable topic exchange.
    queue : str or None
        A durable queue that is declared and gets every event; without one, others bind theirs.
    key : {"camera", "person"}
        The second part of the routing key.
    """

    exchange: str = "recognizer"
    queue: str | None = None
    key: str = CAMERA


class Amqp(BrokerDelivery):
    """Publishes events to one broker.

    An event for which no queue is bound is dropped and reported; with `AmqpOptions.queue` it is tried again. One that a queue
    refuses because it is full is tried again.

    Parameters
    ----------
    events : EventLog
    server : QueueServer
    options : AmqpOptions, optional
    **more
        See `BrokerDelivery`.

    Raises
    ------
    SettingsError
        The package is missing.
    """

    kind, package = "amqp", "pika"
    missing = "amqp_url: AMQP needs the package of requirements-amqp.txt: pip install 'recognizer[amqp]'"

    def __init__(self, events: EventLog, server: QueueServer, options: AmqpOptions | None = None, **more: Any):
        super().__init__(events, server, **more)
        self.options = options or AmqpOptions()
        self._connection: Any = None
        self._channel: Any = None

    def _parameters(self) -> Any:
        import pika

        tls = None
        host, port = self.next_host()
        if self.server.tls:
            from recognizer.core.trust import trusting_context

            tls = pika.SSLOptions(trusting_context(*filter(None, (self.server.cafile,))), host)
        credentials = pika.PlainCredentials(self.server.user or "guest", self.server.password or "guest", erase_on_connect=True)
        return pika.ConnectionParameters(
            host,
            port,
            self.server.path or "/",
            credentials,
            heartbeat=_HEARTBEAT,
            ssl_options=tls,
            socket_timeout=_CONNECT_SECONDS,
            stack_timeout=_CONNECT_SECONDS,
            blocked_connection_timeout=_BLOCKED_SECONDS,
            connection_attempts=1,
        )

    def _connect(self) -> None:
        import pika

        self.pause(0)
        try:
            self._connection = pika.BlockingConnection(self._parameters())
            self._channel = channel = self._connection.channel()
            channel.confirm_delivery()
            if self.options.exchange:
                channel.exchange_declare(self.options.exchange, "topic", durable=True)
            if self.options.queue:
                self._declare_queue()
        except (pika.exceptions.AMQPError, OSError) as error:
            raise NotConfirmed(_reason(error, "no connection could be made")) from None

    def _declare_queue(self) -> None:
        """Declare the queue, or use the one that there is, with whatever arguments it was declared, such as a length limit."""
        import pika

        queue = self.options.queue
        try:
            self._channel.queue_declare(queue, durable=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != 406:  # declared in another way
                raise
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        if self.options.exchange:
            self._channel.queue_bind(queue, self.options.exchange, "#")

    def _disconnect(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def _idle(self) -> None:
        import pika

        try:
            self._connection.process_data_events(0)
        except (pika.exceptions.AMQPError, OSError) as error:
            raise NotConfirmed(_reason(error, "the connection was lost")) from None

    def routing_key(self, event: dict) -> str:
        """The kind and the key of an event. A point separates parts of a routing key, so there is none in the parts."""
        part = re.sub(r"[.\s]+", "_", key_of_event(event, self.options.key))
        if not self.options.exchange and self.options.queue:
            return self.options.queue
        return f"{event['kind']}.{part}".encode()[:_LONGEST_KEY].decode(errors="ignore")

    def _publish(self, event: dict) -> None:
        import pika

        properties = pika.BasicProperties(
            content_type="application/json",
            delivery_mode=2,
            message_id=self.id_of(event),
            timestamp=int(seconds(event["time"])) if event["time"] else None,
            type=event["kind"],
            app_id="recognizer",
        )
        try:
            self._channel.basic_publish(
                self.options.exchange,
                self.routing_key(event),
                self.body_of(event),
                properties,
                mandatory=True,
            )
        except pika.exceptions.UnroutableError:
            if self.options.queue:
                raise NotConfirmed("the queue is not bound any longer") from None
            raise Undeliverable("no queue is bound for some events: they are dropped") from None
        except pika.exceptions.NackError:
            raise NotConfirmed("the broker refuses events: a queue is full") from None
        except (pika.exceptions.AMQPError, OSError) as error:
            raise NotConfirmed(_reason(error, "the connection was lost")) from None


def _reason(error: Exception, otherwise: str) -> str:
    """Why something failed, in words without the broker's address and credentials."""
    import pika

    if isinstance(error, (pika.exceptions.ProbableAuthenticationError, pika.exceptions.AuthenticationError)):
        return "the broker refuses the user or the password"
    if isinstance(error, pika.exceptions.ProbableAccessDeniedError):
        return "the broker refuses the virtual host"
    if isinstance(error, pika.exceptions.ConnectionBlockedTimeout):
        return "the broker takes nothing: its memory or its disk is full"
    if isinstance(error, (pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker)):
        return f"the broker refuses: {error.reply_code}"
    return otherwise
