"""Events by NATS JetStream: to a durable stream, each with an id by which the server leaves out what it has already.

The subject is ``<stream>.<kind>.<camera or person>``, such as ``recognizer.appeared.door``. The message is the event's JSON, as
webhooks send it; its id, the header ``Nats-Msg-Id``, is ``recognizer-<id of the event>``, the same each time it is sent.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

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
from recognizer.events.event_log import EventLog

Answer = TypeVar("Answer")

#: Seconds for connecting, and for an answer.
_CONNECT_SECONDS, _ANSWER_SECONDS = 10.0, 10.0
#: Seconds for which a stream that is declared here knows the ids of messages.
_WINDOW = 3600.0
#: A stream of this name is there with other properties.
_NAME_IN_USE = 10058
_NO_TLS = "the server offers no TLS, so nothing is sent to it: use nats:// where that is meant"
#: Longest part of a subject, in characters.
_LONGEST_PART = 200


def parse_nats(url: str, password: str | None = None, cafile: str | None = None) -> QueueServer:
    """Parse ``nats://user:password@host:4222`` or ``tls://...``; see `parse_server`. A user without a password is a token.

    Raises
    ------
    SettingsError
    """
    return parse_server("nats_url", url, {"nats": 4222, "tls": 4222}, password, cafile)


@dataclass(frozen=True)
class JetStreamOptions:
    """How events are published.

    Attributes
    ----------
    stream : str
        The stream, and the first part of subjects. It is declared if there is none of this name.
    key : {"camera", "person"}
        The last part of the subject.
    """

    stream: str = "recognizer"
    key: str = CAMERA


class JetStream(BrokerDelivery):
    """Publishes events to a stream, and waits for the server to have stored each.

    Parameters
    ----------
    events : EventLog
    server : QueueServer
    options : JetStreamOptions, optional
    **more
        See `BrokerDelivery`.

    Raises
    ------
    SettingsError
        The package is missing.
    """

    kind, package = "nats", "nats"
    missing = "nats_url: NATS needs the package of requirements-nats.txt: pip install 'recognizer[nats]'"

    def __init__(self, events: EventLog, server: QueueServer, options: JetStreamOptions | None = None, **more: Any):
        super().__init__(events, server, **more)
        self.options = options or JetStreamOptions()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None
        self._stream: Any = None

    def _wait_for(self, what: Awaitable[Answer], seconds: float = _ANSWER_SECONDS) -> Answer:
        """Wait for the server on the thread that delivers, which alone uses the loop."""
        assert self._loop is not None
        return self._loop.run_until_complete(asyncio.wait_for(what, seconds))

    def _connect(self) -> None:
        import nats

        self.pause(0)
        self._loop = asyncio.new_event_loop()
        server = self.server
        names: dict[str, Any] = {}
        if server.user and server.password is None:
            names = {"token": server.user}
        elif server.user:
            names = {"user": server.user, "password": server.password}
        if server.tls:
            from recognizer.core.trust import trusting_context

            names["tls"] = trusting_context(*filter(None, (server.cafile,)))
        place = host_and_port(*self.next_host())

        async def quietly(error: Exception) -> None:
            """What fails is reported once, where it is waited for."""

        self._client = _client(server.tls)
        try:
            self._wait_for(
                self._client.connect(
                    f"{'tls' if server.tls else 'nats'}://{place}",
                    allow_reconnect=False,
                    connect_timeout=int(_CONNECT_SECONDS),
                    name="recognizer",
                    error_cb=quietly,
                    **names,
                ),
                _CONNECT_SECONDS + 1,
            )
            self._stream = self._client.jetstream(timeout=_ANSWER_SECONDS)
            self._declare_stream()
        except (nats.errors.Error, OSError, asyncio.TimeoutError) as error:
            raise NotConfirmed(_reason(error, "no connection could be made")) from None

    def _declare_stream(self) -> None:
        """Declare the stream, or use the one that there is, whatever its limits are."""
        from nats.js import api, errors

        name = self.options.stream
        wanted = api.StreamConfig(name=name, subjects=[f"{name}.>"], duplicate_window=_WINDOW)
        try:
            self._wait_for(self._stream.add_stream(wanted))
        except errors.APIError as error:
            if error.err_code != _NAME_IN_USE:
                raise

    def _disconnect(self) -> None:
        client, loop, self._client, self._stream, self._loop = self._client, self._loop, None, None, None
        if loop is None:
            return
        with suppress(Exception):
            loop.run_until_complete(_ended(client))
        loop.close()

    def _idle(self) -> None:
        self._wait_for(asyncio.sleep(0.01))  # the client answers the server's questions whether it is there
        if not self._client.is_connected:
            raise NotConfirmed("the connection was lost")

    def subject(self, event: dict) -> str:
        """Where an event is published. What separates parts of a subject, or stands for them, is in no part."""
        part = re.sub(r"[\s.*>\x00-\x1f]+", "_", key_of_event(event, self.options.key))[:_LONGEST_PART]
        return f"{self.options.stream}.{event['kind']}.{part}"

    def _publish(self, event: dict) -> None:
        import nats
        from nats.js import api, errors

        headers = {api.Header.MSG_ID.value: self.id_of(event), "Content-Type": "application/json"}
        body = self.body_of(event)
        try:
            self._wait_for(
                self._stream.publish(self.subject(event), body, timeout=_ANSWER_SECONDS, headers=headers), _ANSWER_SECONDS + 1
            )
        except nats.errors.MaxPayloadError:
            raise Undeliverable(f"an event of {len(body)} bytes is too large for the server: it is dropped") from None
        except errors.NoStreamResponseError:
            raise NotConfirmed("no stream takes the subjects of events") from None
        except errors.APIError as error:
            raise NotConfirmed(_reason(error, "the server refuses")) from None
        except (nats.errors.Error, OSError, asyncio.TimeoutError) as error:
            raise NotConfirmed(_reason(error, "the connection was lost")) from None


def _client(tls: bool) -> Any:
    """nats-py's client; where `tls`, it sends nothing before the connection is encrypted.

    By itself it encrypts only what the server asks to be encrypted: whoever is between could read the password and all names.
    """
    import nats

    class Client(nats.NATS):
        def _connect_command(self) -> bytes:
            transport: Any = self._transport
            if tls and transport._io_writer.get_extra_info("ssl_object") is None:
                raise nats.errors.Error(_NO_TLS)
            return super()._connect_command()

    return Client()


async def _ended(client: Any) -> None:
    """Close a client, whatever state it is in, and what it leaves behind."""
    with suppress(Exception):
        await asyncio.wait_for(client.close(), 1)
    if (transport := getattr(client, "_transport", None)) is not None:  # the user was refused
        transport.close()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.sleep(0.01)  # sockets are closed in the loop's next rounds


def _reason(error: Exception, otherwise: str) -> str:
    """Why something failed, in words without the server's address and credentials."""
    from nats.js import errors

    text = str(error).lower()
    if str(error) == _NO_TLS:
        return _NO_TLS
    if "authorization violation" in text or "authentication" in text:
        return "the server refuses the user, the password or the token"
    if isinstance(error, errors.APIError):
        if "maximum" in text or "resource" in text or "storage" in text:
            return "the server refuses events: the stream is full"
        if isinstance(error, errors.ServiceUnavailableError):
            return "the server has no JetStream, or it is not ready"
        return f"the server refuses: {error.err_code or error.code}"
    return otherwise
