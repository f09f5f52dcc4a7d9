"""The browsers that get notifications: subscribed, removed, and notified of new strangers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from recognizer.core.audit import AuditLog
from recognizer.core.brief import brief
from recognizer.core.errors import InvalidParameter, RecognizerError
from recognizer.core.times import iso_time
from recognizer.rules.push_store import PushStore, PushSubscription

if TYPE_CHECKING:
    from recognizer.rules.push_sender import PushSender

log = logging.getLogger("recognizer.rules")

#: Least time in seconds between two messages about new strangers.
STRANGERS_APART = 600.0
_LONGEST_ENDPOINT, _LONGEST_LABEL, _LONGEST_TEXT = 2000, 80, 300
#: The contact for push services where no page of this server is reached over HTTPS.
_NO_CONTACT = "https://localhost"


class KeptPush:
    """Subscribes browsers, and notifies them. Any thread may call.

    Parameters
    ----------
    store : PushStore
        Where they are stored.
    allow : sequence of str
        Private networks that messages may be sent to, as for webhooks.
    timeout : float
        Seconds for one message to one browser.
    audit : AuditLog
    """

    def __init__(self, store: PushStore, allow: Sequence[str], timeout: float, audit: AuditLog):
        self.store = store
        self._allow, self._timeout, self._audit = allow, timeout, audit
        self._lock = threading.Lock()
        self._sender: PushSender | None = None
        self._timer: threading.Timer | None = None
        self._last = self._heard = float("-inf")  # when a message was sent, and when a new stranger was heard of
        self._closed = False
        #: Whether a subscription still holds; who serves requests knows.
        self.may_get: Callable[[PushSubscription], bool] = lambda subscription: True

    @property
    def sender(self) -> PushSender:
        """What sends; made when it is first used."""
        from recognizer.fetching.fetcher import Fetcher
        from recognizer.rules.push_sender import PushSender

        with self._lock:
            if self._sender is None:
                fetcher = Fetcher(allow=self._allow, timeout=self._timeout)
                self._sender = PushSender(self.store, fetcher, lambda each: self.may_get(each))
            return self._sender

    def close(self) -> None:
        """Send nothing about strangers any more."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()

    # -- subscriptions ------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """The server's public key, and the subscribed browsers, without secrets. The first call makes the key.

        Raises
        ------
        StorageError, KeyMissing
        """
        from recognizer.rules import web_push

        key = web_push.public_key(self.store.key())
        return {"public_key": key, "subscriptions": [shown(each) for each in self.sender.valid()]}

    def add(self, given: PushSubscription) -> dict[str, Any]:
        """Subscribe a browser; one that is subscribed already keeps its id.

        Raises
        ------
        InvalidParameter, TooManySubscriptions, StorageError, KeyMissing
        """
        from recognizer.rules import web_push

        for name, value, most in (
            ("endpoint", given.endpoint, _LONGEST_ENDPOINT),
            ("label", given.label, _LONGEST_LABEL),
            ("strangers", given.strangers, _LONGEST_TEXT),
        ):
            if value is not None and (len(value) > most or not value.isprintable()):
                raise InvalidParameter(f"{name}: expected printable text of at most {most} characters")
        self.sender.check(given.endpoint)
        try:
            web_push.check_subscription(given.p256dh, given.auth)
        except ValueError:
            raise InvalidParameter("p256dh: expected it and auth as the browser's PushSubscription gives them") from None
        made = self.store.add(given)
        self._audit.append("push_add", browser=made.id)
        return shown(made)

    def remove(self, id_: str) -> None:
        """Remove a browser.

        Raises
        ------
        SubscriptionNotFound, StorageError, KeyMissing
        """
        self.store.get(id_)
        self.store.remove(lambda each: each.id == id_)
        self._audit.append("push_remove", browser=id_)

    def test(self, id_: str, text: str) -> None:
        """Send a message to a browser.

        Raises
        ------
        SubscriptionNotFound, InvalidParameter, ActionFailed, StorageError, KeyMissing
        """
        from recognizer.rules.push_sender import PushMessage

        if len(text) > _LONGEST_TEXT or not text.isprintable():
            raise InvalidParameter(f"message: expected printable text of at most {_LONGEST_TEXT} characters")
        subscription = self.store.get(id_)
        self._audit.append("push_test", browser=id_)
        self.sender.send_to(subscription, PushMessage("Recognizer", text, "test", "#/rules"))

    # -- strangers ----------------------------------------------------------------------------------------------

    def notify_of_stranger(self) -> None:
        """Send a message about somebody who is new, soon: at once, or when `STRANGERS_APART` is over. Does not wait.

        Where nodes share a database, one of them sends it.
        """
        with self._lock:
            self._heard = time.monotonic()
            if self._closed or (self._timer is not None and self._timer.is_alive()):
                return
            self._notify_in(max(0.0, self._last + STRANGERS_APART - time.monotonic()))

    def _notify_in(self, seconds: float) -> None:
        """Notify after so many seconds; the lock is held."""
        self._timer = threading.Timer(seconds, self._notify)
        self._timer.daemon = True
        self._timer.start()

    def _notify(self) -> None:
        from recognizer.rules.push_sender import PushMessage

        try:
            wanting = [each for each in (self.sender.valid() if self.store.all() else ()) if each.strangers is not None]
            wait = self.store.turn(time.monotonic() - self._heard, STRANGERS_APART) if wanting else 0.0
            if wait:
                with self._lock:
                    if not self._closed:
                        self._notify_in(wait)
                return
            self._last = time.monotonic()
            for each in wanting if wait is not None else ():
                assert each.strangers is not None  # they were selected
                try:
                    self.sender.send_to(each, PushMessage("Recognizer", each.strangers, "strangers", "#/strangers"))
                except RecognizerError as error:  # the page has a badge as well
                    log.warning("the browser %s got no message about a new stranger: %s", each.id, error.message)
        except RecognizerError as error:
            log.warning("no browser got a message about a new stranger: %s", error.message)
        except Exception:  # an unexpected error is not lost
            log.exception("notifying browsers of a new stranger failed")


def shown(subscription: PushSubscription) -> dict[str, Any]:
    """A subscription as replies show it: of where its messages go, only the push service."""
    return {
        "id": subscription.id,
        "label": subscription.label,
        "service": urlsplit(subscription.endpoint).hostname or "",
        "made": iso_time(subscription.made),
        "key": subscription.key,
        "strangers": subscription.strangers is not None,
    }


def contact_of(origin: str | None) -> str:
    """Whom push services may ask about the messages of this server: the origin of its page, if that is one of HTTPS."""
    parts = urlsplit(brief(origin or ""))
    return f"https://{parts.netloc}" if parts.scheme == "https" and parts.netloc else _NO_CONTACT
