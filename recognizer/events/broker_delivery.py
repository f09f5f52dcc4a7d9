"""What the queues AMQP, Kafka and NATS have in common: where the broker is, and events repeated until it confirms them."""

from __future__ import annotations

import importlib
import logging
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from recognizer.core.errors import SettingsError
from recognizer.events.delivery import Delivery, backoff, message_body, message_id
from recognizer.events.event_log import EventLog

log = logging.getLogger("recognizer.events")

#: What events may be keyed by.
CAMERA, PERSON = KEYS = ("camera", "person")
#: The key of an event without a person.
NOBODY = "unknown"


class NotConfirmed(Exception):
    """The broker did not confirm an event; the message says why."""


class Undeliverable(Exception):
    """The broker will never take an event; the message says why."""


@dataclass(frozen=True)
class QueueServer:
    """Where a broker is. The representation contains no credentials.

    Attributes
    ----------
    hosts : tuple of (str, int)
        Names and ports.
    tls : bool
    user, password : str or None
    path : str
        What follows the hosts, without the first slash.
    cafile : str or None
        PEM file of certificate authorities to trust in addition.
    scheme : str
    """

    hosts: tuple[tuple[str, int], ...]
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    path: str = ""
    cafile: str | None = None
    scheme: str = ""

    @property
    def shown(self) -> str:
        """Its URL without credentials."""
        return f"{self.scheme}://" + ",".join(host_and_port(*each) for each in self.hosts)


def host_and_port(name: str, port: int) -> str:
    """Both as URLs have them."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def parse_server(
    setting: str, url: str, ports: dict[str, int], password: str | None = None, cafile: str | None = None
) -> QueueServer:
    """Parse the URL of a broker; user and password are percent-encoded. Several hosts are separated by commas.

    Parameters
    ----------
    setting : str
        The setting's name, for messages.
    ports : dict
        Scheme -> default port. The last scheme is the one with TLS.

    Raises
    ------
    SettingsError
        The message never contains the URL, which may contain a password.
    """
    tls = list(ports)[-1]
    schemes = " or ".join(f"{each}://" for each in ports)
    wrong = SettingsError(f"{setting}: expected {schemes} followed by [USER:PASSWORD@]HOST[:PORT]")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ports or any(each in rest for each in "?# "):
        raise wrong
    place, _, path = rest.partition("/")
    credentials, _, hosts = place.rpartition("@")
    found = []
    for each in hosts.split(","):
        try:
            parts = urlsplit(f"//{each}")
            port = parts.port
        except ValueError:
            raise wrong from None
        if not parts.hostname or port == 0:
            raise wrong
        found.append((parts.hostname, port or ports[scheme]))
    user, colon, own = credentials.partition(":")
    return QueueServer(
        tuple(found),
        scheme == tls,
        unquote(user) or None,
        password or (unquote(own) if colon else None),
        unquote(path),
        cafile,
        scheme,
    )


def key_of_event(event: dict, by: str) -> str:
    """What an event is keyed by: events with the same key keep their order also where a topic has several parts.

    Parameters
    ----------
    by : {"camera", "person"}
        For ``person`` the name, or `NOBODY`.
    """
    if by == PERSON:
        return event["subject"] or NOBODY
    camera: str = event["camera"]
    return camera


class BrokerDelivery(Delivery):
    """Publishes events to a broker, one after the other, each until the broker confirms it.

    Subclasses override `_connect`, `_publish` and `_disconnect`.

    Parameters
    ----------
    events : EventLog
    server : QueueServer
    backlog : int
        Maximum number of events that wait for the broker; older ones are dropped and counted.
    least, most : float
        Seconds before the second try, doubled up to the most.

    Raises
    ------
    SettingsError
        The package is missing.
    """

    #: Its name as a `Delivery`, the package that it needs, and what is reported where that is missing.
    kind: ClassVar[str]
    package: ClassVar[str]
    missing: ClassVar[str]

    def __init__(
        self,
        events: EventLog,
        server: QueueServer,
        backlog: int = 10_000,
        least: float = 1.0,
        most: float = 60.0,
    ):
        try:
            importlib.import_module(self.package)
        except ImportError:
            raise SettingsError(self.missing) from None
        super().__init__(events, self.kind, backlog)
        self.server, self.label = server, server.shown
        self.problem = "not connected yet"
        self._wait, self._failures, self._connected = (least, most), 0, False

    def next_host(self) -> tuple[str, int]:
        """The host and port to connect to: after each failure the next one of the server's."""
        return self.server.hosts[self._failures % len(self.server.hosts)]

    def id_of(self, event: dict) -> str:
        """The id of an event's message, the same each time it is sent."""
        return message_id(event, self.events.node)

    def body_of(self, event: dict) -> bytes:
        """An event's message: its JSON, as webhooks send it."""
        return message_body(event, self.events.node)

    @abstractmethod
    def _connect(self) -> None:
        """Connect anew.

        Raises
        ------
        NotConfirmed, Stopped
        """

    @abstractmethod
    def _publish(self, event: dict) -> None:
        """Publish an event, and return when the broker has confirmed it.

        Raises
        ------
        NotConfirmed, Undeliverable, Stopped
        """

    @abstractmethod
    def _disconnect(self) -> None:
        """Give the connection up, if there is one."""

    def _idle(self) -> None:
        """Called about once a second: keeps the connection alive.

        Raises
        ------
        NotConfirmed
        """

    def deliver(self, event: dict) -> None:
        """Publish an event until the broker has it, however long that takes."""
        while True:
            try:
                self._ensure_connected()
                stored = self.renewed(event)
                if stored is None:  # it was deleted while it waited
                    self.counts["dropped"] += 1
                    return
                self._publish(stored)
            except NotConfirmed as error:
                self.counts["retried"] += 1
                self._fail(str(error))
            except Undeliverable as error:
                self._note(str(error))
                self.counts["dropped"] += 1
                self._failures = 0
                return
            else:
                self.counts["delivered"] += 1
                self._failures = 0
                self._note(None)
                return

    def _ensure_connected(self) -> None:
        if not self._connected:
            self._connect()
            self._connected = True

    def _fail(self, problem: str) -> None:
        """Note why an event was not confirmed, and wait before the next try, which connects anew."""
        self._note(problem)
        self._connected = False
        self._disconnect()
        self._failures += 1
        self.pause(backoff(self._failures, *self._wait))

    def _note(self, problem: str | None) -> None:
        """Log once that there is a problem, and once that there is none any longer."""
        if problem and problem != self.problem:
            log.warning("%s: %s", self.label, problem)
        elif self.problem and not problem:
            log.info("%s takes events", self.label)
        self.problem = problem

    def _hand_over(self) -> None:
        try:
            if not self._connected:
                self._ensure_connected()
                self._note(None)
            self._idle()
        except NotConfirmed as error:
            self._fail(str(error))
            return
        super()._hand_over()

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._disconnect()
