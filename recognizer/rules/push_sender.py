"""Sends messages to browsers: encrypted for each, through their push services, guarded as webhooks are."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from recognizer.core.errors import ActionFailed, AddressRefused, FetchError, InvalidParameter, InvalidUrl, RecognizerError
from recognizer.fetching.fetcher import Fetcher
from recognizer.rules import web_push
from recognizer.rules.apprise_process import REFUSED
from recognizer.rules.push_store import PushStore, PushSubscription

log = logging.getLogger("recognizer.rules")

NOBODY = "no browser is subscribed: choose “Notify this browser” on the page"
#: Statuses with which a push service says that a subscription is over.
_OVER = {404, 410}
#: Seconds for which a push service keeps a message for a browser that is away.
_KEPT_SECONDS = 3600
_AT_ONCE = 8
#: How many messages are remembered, with the browsers that have them already.
_REMEMBERED = 200
#: Times in succession that a browser is not reached, after which no message to others waits for it any more.
_PATIENCE = 5
_LONGEST = {"title": 100, "body": 800}


@dataclass(frozen=True)
class PushMessage:
    """What a notification shows.

    Attributes
    ----------
    title, body : str
    tag : str
        A message with the tag of an earlier one takes its place, so one that is sent twice is shown once.
    view : str
        The view of the page that a click opens, such as ``#/live``.
    """

    title: str
    body: str
    tag: str
    view: str = "#/live"

    def data(self) -> bytes:
        """The JSON that the page's service worker reads."""
        shown = {"title": self.title[: _LONGEST["title"]], "body": self.body[: _LONGEST["body"]]}
        return json.dumps({**shown, "tag": self.tag, "view": self.view}, ensure_ascii=False).encode()


class PushSender:
    """Sends to all subscribed browsers, or to one. Any thread may call.

    Parameters
    ----------
    store : PushStore
    fetcher : Fetcher
        Refuses addresses that are not allowed.
    may_get : callable
        Whether a subscription still holds: whether its key does. One that does not is removed.
    now : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        store: PushStore,
        fetcher: Fetcher,
        may_get: Callable[[PushSubscription], bool] = lambda subscription: True,
        now: Callable[[], float] = time.time,
    ):
        self.store, self._fetcher, self._may_get, self._now = store, fetcher, may_get, now
        self._lock = threading.Lock()
        self._reached: OrderedDict[str, set[str]] = OrderedDict()  # tag -> ids of the browsers that have it
        self._missed: dict[str, int] = {}  # how many times in succession each browser was not reached

    def check(self, endpoint: str) -> None:
        """See that an endpoint may be one; names are not resolved.

        Raises
        ------
        InvalidParameter
        """
        try:
            self._fetcher.check(endpoint)
        except InvalidUrl:
            raise InvalidParameter("endpoint: expected the https:// URL of a push service") from None
        if not endpoint.lower().startswith("https://"):
            raise InvalidParameter("endpoint: expected the https:// URL of a push service")

    def valid(self) -> list[PushSubscription]:
        """The subscriptions that hold; the others are removed.

        Raises
        ------
        StorageError, KeyMissing
        """
        gone = self.store.remove(lambda each: not self._may_get(each))
        for each in gone:
            log.info("the browser %s (%s) gets no messages any more: its key has ended", each.id, each.label)
        return self.store.all()

    def send(self, message: PushMessage) -> int:
        """Send a message to all browsers that do not have it yet; returns how many have it now.

        Raises
        ------
        ActionFailed
            No browser is subscribed, or one could not be reached for the moment; the others have the message. One that could
            not be reached for several times in succession counts only where nobody has it.
        StorageError, KeyMissing
        """
        everybody = self.valid()
        if not everybody:
            raise ActionFailed(NOBODY)
        with self._lock:
            reached = self._reached.setdefault(message.tag, set())
            while len(self._reached) > _REMEMBERED:
                self._reached.popitem(last=False)
            self._missed = {each.id: self._missed.get(each.id, 0) for each in everybody}
            missed = self._missed
        waiting = [each for each in everybody if each.id not in reached]
        failed: list[RecognizerError] = []
        given_up: list[RecognizerError] = []

        def try_one(subscription: PushSubscription) -> None:
            try:
                if self._send(subscription, message):
                    reached.add(subscription.id)
                missed[subscription.id] = 0
            except RecognizerError as error:
                missed[subscription.id] += 1
                if missed[subscription.id] == _PATIENCE:
                    log.warning("the browser %s is not waited for any more: %s", subscription.id, error.message)
                (failed if missed[subscription.id] < _PATIENCE else given_up).append(error)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(try_one, waiting))
        if failed:
            raise failed[0]
        if not reached:
            raise given_up[0] if given_up else ActionFailed(NOBODY)  # every subscription was over
        return len(reached)

    def send_to(self, subscription: PushSubscription, message: PushMessage) -> None:
        """Send a message to one browser.

        Raises
        ------
        ActionFailed
        """
        if not self._send(subscription, message):
            raise ActionFailed("the push service says that this browser is no longer subscribed; it was removed")

    def _send(self, subscription: PushSubscription, message: PushMessage) -> bool:
        """Whether the push service has the message; if the subscription is over, it is removed."""
        body = web_push.encrypted(message.data(), subscription.p256dh, subscription.auth)
        headers = {
            "Authorization": web_push.authorization(self.store.key(), subscription.endpoint, subscription.contact, self._now()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(_KEPT_SECONDS),
            "Urgency": "high",
        }
        try:
            self.check(subscription.endpoint)
            self._fetcher.post(subscription.endpoint, body, headers)
        except FetchError as error:
            if error.details.get("status") in _OVER:
                self.store.remove(lambda each: each.id == subscription.id)
                log.info("the browser %s (%s) is no longer subscribed", subscription.id, subscription.label)
                return False
            said = REFUSED if isinstance(error, AddressRefused) else error.message
            failed = ActionFailed(f"the push service did not take the message: {said}", **error.details)
            failed.retry_after = error.retry_after
            raise failed from None
        return True
