"""Webhooks: events by POST, signed, in order, repeated until the receiver accepts them.

The signature is that of the Standard Webhooks specification (standardwebhooks.com), for which there are libraries in most
languages: ``webhook-signature: v1,<base64 of HMAC-SHA256 of "<webhook-id>.<webhook-timestamp>.<body>">``.

An event may come twice (the receiver accepted it, and the reply was lost): `webhook-id` is then the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from recognizer.core.errors import AddressRefused, FetchError, InvalidUrl, RecognizerError, SettingsError
from recognizer.events.appearances import KINDS
from recognizer.events.delivery import Delivery, backoff, message_body, message_id
from recognizer.events.event_files import seconds
from recognizer.events.event_log import EventLog

if TYPE_CHECKING:
    from recognizer.fetching.fetcher import Fetcher

log = logging.getLogger("recognizer.events")

#: Statuses that refuse this event: repeating it is useless.
_REFUSALS = {400, 413, 415, 422}
_TRIES_REFUSED = 3


@dataclass(frozen=True)
class WebhookRules:
    """How events are sent.

    Attributes
    ----------
    secret : bytes or None
        Key of the signature; see `key_of`. Without one, events are not signed.
    retry_seconds : float
        Age at which an event that fails is dropped instead of being tried again.
    backlog : int
        Maximum number of events that wait for a receiver.
    least, most : float
        Seconds before the second try, and the longest wait between two.
    kinds : tuple of str
        Kinds of events that are sent; empty for all.

    Raises
    ------
    SettingsError
        There is no such kind.
    """

    secret: bytes | None = None
    retry_seconds: float = 24 * 3600.0
    backlog: int = 10_000
    least: float = 1.0
    most: float = 300.0
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise SettingsError(f"webhook_events: there is no {unknown[0]!r}; there are {', '.join(KINDS)}, and all")


def key_of(secret: str) -> bytes:
    """The signing key of a secret: base64 behind ``whsec_``, as the specification writes it, or else its own bytes.

    Raises
    ------
    SettingsError
        What follows ``whsec_`` is not base64.
    """
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):
        raise SettingsError("webhook_secret: expected base64 after whsec_") from None


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header ``webhook-signature``."""
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def shown(url: str) -> str:
    """A URL without its secrets: path and query often contain tokens."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def webhook_id(url: str) -> str:
    """What a receiver is called where its URL, which is secret, must not be repeated: 16 hexadecimal digits."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def post_message(fetcher: Fetcher, url: str, message_id: str, timestamp: int, body: bytes, key: bytes | None) -> None:
    """Post a message once, signed if there is a key.

    Raises
    ------
    FetchError, InvalidUrl
    """
    headers = {"Content-Type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    if key:
        headers["webhook-signature"] = signature(key, message_id, timestamp, body)
    fetcher.post(url, body, headers)


def why_refused(error: Exception) -> str:
    """Why a message was not taken, without the URL."""
    if isinstance(error, AddressRefused):
        return "its address is not allowed; RECOGNIZER_WEBHOOK_ALLOW lists private ones that are"
    return error.message if isinstance(error, RecognizerError) else type(error).__name__


class Webhook(Delivery):
    """One receiver.

    Parameters
    ----------
    url : str
    fetcher : Fetcher
        Refuses URLs of forbidden addresses.
    now : callable
        Seconds since the epoch.

    Raises
    ------
    InvalidUrl
    """

    def __init__(
        self, events: EventLog, url: str, fetcher: Fetcher, rules: WebhookRules | None = None, now: Callable = time.time
    ):
        self.rules = rules or WebhookRules()
        super().__init__(events, f"webhook-{webhook_id(url)}", self.rules.backlog)
        fetcher.check(url)
        self._url, self.shown, self._fetcher, self._now = url, shown(url), fetcher, now
        self.label = self.shown
        self._failures = 0

    def deliver(self, event: dict) -> None:
        """Send an event until it is accepted or given up."""
        if self.rules.kinds and event["kind"] not in self.rules.kinds:
            return
        refusals = 0
        while True:
            try:
                self._send(event)
            except (FetchError, InvalidUrl) as error:
                self._failures += 1
                refusals += error.details.get("status") in _REFUSALS
                self._note(why_refused(error))
                if refusals < _TRIES_REFUSED:
                    self.pause(max(error.retry_after or 0.0, backoff(self._failures, self.rules.least, self.rules.most)))
                if refusals >= _TRIES_REFUSED or self._now() - seconds(event["time"]) > self.rules.retry_seconds:
                    log.warning("webhook %s: event %d is dropped: %s", self.shown, event["id"], why_refused(error))
                    self.counts["dropped"] += 1
                    return
                self.counts["retried"] += 1
                stored = self.renewed(event)
                if stored is None:
                    self.counts["dropped"] += 1
                    return
                event = stored
            else:
                self.counts["delivered"] += 1
                self._failures = 0
                self._note(None)
                return

    def _note(self, problem: str | None) -> None:
        """Log once that a receiver fails, and once that it works again."""
        if problem and not self.problem:
            log.warning("webhook %s fails and is tried again: %s", self.shown, problem)
        elif self.problem and not problem:
            log.info("webhook %s takes events again", self.shown)
        self.problem = problem

    def _send(self, event: dict) -> None:
        post_message(
            self._fetcher,
            self._url,
            message_id(event, self.events.node),
            int(self._now()),
            message_body(event, self.events.node),
            self.rules.secret,
        )
