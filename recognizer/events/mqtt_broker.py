"""Where the MQTT broker is: parsed from its URL, shown without credentials."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from recognizer.core.errors import ActionFailed, FetchError, SettingsError
from recognizer.core.origins import parse_address
from recognizer.fetching.addresses import Address, resolve

_PORTS = {"mqtt": 1883, "mqtts": 8883}
#: Seconds that a single message may take.
_ONCE_SECONDS = 10.0
#: The longest message, and the largest number of messages in a second, that are taken from a broker.
MOST_BYTES, MOST_A_SECOND = 16 * 2**20, 5000
TOO_MUCH = "the broker sends more than was asked for"
_NOT_ALLOWED = "its address is not allowed; RECOGNIZER_WEBHOOK_ALLOW lists those that are"


@dataclass(frozen=True)
class Broker:
    """Where the broker is. The representation contains no credentials.

    Attributes
    ----------
    cafile : str or None
        PEM file of certificate authorities to trust in addition.
    permit : callable, optional
        Given an address, whether a connection to it is allowed; all are without it. The broker that the environment names may
        be anywhere.
    """

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None
    permit: Callable[[Address], bool] | None = field(default=None, repr=False, compare=False)

    @property
    def shown(self) -> str:
        """Its URL without credentials."""
        return f"{self._scheme}://{self._place}"

    @property
    def url(self) -> str:
        """Its URL with the user, and without the password."""
        return f"{self._scheme}://{quote(self.user, safe='') + '@' if self.user else ''}{self._place}"

    @property
    def _scheme(self) -> str:
        return "mqtts" if self.tls else "mqtt"

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def connect(self, client: Any) -> None:
        """Let a client of `new_client` connect.

        Raises
        ------
        OSError, ValueError
            No connection can be made, or none is allowed.
        """
        if self.permit is not None:
            try:
                addresses = resolve(self.host, self.port, _ONCE_SECONDS)
            except FetchError as error:
                raise OSError(error.message) from None
            if not all(map(self.permit, addresses)):
                raise NotPermitted(_NOT_ALLOWED)
        client.connect(self.host, self.port, keepalive=30)

    def new_client(self, client_id: str, *, reconnect: bool = True) -> Any:
        """A client of paho's that has the credentials, and trusts the right authorities; it is not connected."""
        import paho.mqtt.client as paho

        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=True,
            reconnect_on_failure=reconnect,
        )
        if self.permit is not None:
            client.on_socket_open = self._check_connected
        if self.user:
            client.username_pw_set(self.user, self.password)
        if self.tls:
            from recognizer.core.trust import trusting_context

            client.tls_set_context(trusting_context(*filter(None, (self.cafile,))))
        return client

    def _check_connected(self, client: Any, userdata: Any, connection: Any) -> None:
        """See that the client is where it may be, before it sends anything: it resolves the name itself."""
        try:
            address = parse_address(connection.getpeername()[0])
        except (OSError, ValueError):
            address = None
        if address is None or (self.permit is not None and not self.permit(address)):
            connection.close()
            raise NotPermitted(_NOT_ALLOWED)


class Inflow:
    """Tells when a broker sends more than anybody asked for. One thread calls it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._second, self._count = 0.0, 0

    def is_too_much(self, payload: bytes) -> bool:
        """Whether this message is too long, or too many came within a second; then the connection is to be ended."""
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._count = now, 0
        self._count += 1
        return len(payload) > MOST_BYTES or self._count > MOST_A_SECOND


class NotPermitted(OSError):
    """No connection to the broker's address is allowed; the message says so."""


def publish_once(broker: Broker, topic: str, payload: str, retain: bool = False) -> None:
    """Connect, publish a message, and return when the broker has it.

    Raises
    ------
    ActionFailed
    """
    client = broker.new_client(f"recognizer-once-{secrets.token_hex(4)}", reconnect=False)
    answered, refusal = threading.Event(), []

    def on_connect(client, userdata, flags, reason_code, properties) -> None:
        if reason_code.is_failure:
            refusal.append(str(reason_code))
        answered.set()

    client.on_connect = on_connect
    try:
        broker.connect(client)
        client.loop_start()
        if not answered.wait(_ONCE_SECONDS):
            raise ActionFailed("the broker does not answer")
        if refusal:
            raise ActionFailed(f"the broker refuses the connection: {refusal[0]}")
        sent = client.publish(topic, payload.encode(), qos=1, retain=retain)
        sent.wait_for_publish(_ONCE_SECONDS)
        if not sent.is_published():
            raise ActionFailed("the broker did not confirm the message")
    except NotPermitted as error:
        raise ActionFailed(f"no connection to the broker could be made: {error}") from None
    except (OSError, ValueError, RuntimeError):
        raise ActionFailed("no connection to the broker could be made") from None
    finally:
        with suppress(OSError, ValueError, RuntimeError):
            end_connection(client)


def end_connection(client: Any) -> None:
    """Disconnect a client of `Broker.new_client`, and wait for its thread to end."""
    client.disconnect()
    # paho's thread forgets itself when it ends, perhaps between the moments at which `loop_stop` sees and joins it
    with suppress(AttributeError):
        client.loop_stop()


def parse_broker(url: str, password: str | None = None, cafile: str | None = None) -> Broker:
    """Parse a broker's URL: ``mqtt://user:password@host:1883`` or ``mqtts://...``, user and password percent-encoded.

    Raises
    ------
    SettingsError
        The message never contains the URL, which may contain a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SettingsError("mqtt_url: expected mqtt://HOST or mqtts://HOST with a port from 1 to 65535") from None
    if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment or port == 0:
        raise SettingsError("mqtt_url: expected mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts:// for TLS")
    own = None if parts.password is None else unquote(parts.password)
    user = None if not parts.username else unquote(parts.username)
    return Broker(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts", user, password or own, cafile)
