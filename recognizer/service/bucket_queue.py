"""A queue of Amazon SQS that a bucket's notifications are sent to: the photos that they name are checked at once.

A message is taken off the queue once its photos are noted. If the node ends before it has checked them, the next listing of the
bucket finds them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from recognizer.core.errors import SettingsError
from recognizer.core.outside_json import parse_outside
from recognizer.enrolment.bucket_notifications import MOST_BYTES, NamedObject, named_objects
from recognizer.events.delivery import backoff

log = logging.getLogger("recognizer.nodes")

#: Seconds that one request waits for messages.
WAIT_SECONDS = 10
_AT_ONCE = 10
MISSING = "dropped_queue: needs the packages of requirements-postgres.txt: pip install 'recognizer[postgres]'"


class BucketQueue:
    """Reads the queue, on a thread.

    Parameters
    ----------
    url : str
        Of the queue. Credentials are read as Amazon's own tools do, for example from the environment.
    wake : callable
        Given objects that were put into the bucket.

    Raises
    ------
    SettingsError
    """

    def __init__(self, url: str, wake: Callable[[Iterable[NamedObject]], object]):
        try:
            from botocore.exceptions import BotoCoreError
            from botocore.session import get_session
        except ImportError:
            raise SettingsError(MISSING) from None
        host = (urlsplit(url).hostname or "").split(".")
        region = {"region_name": host[1]} if host[0] == "sqs" and len(host) > 3 else {}
        try:
            self._client = get_session().create_client("sqs", **region)
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"dropped_queue: the queue cannot be used: {error}") from None
        self._url, self._wake = url, wake
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0

    def start(self) -> None:
        """Read from now on."""
        self._thread = threading.Thread(target=self._run, name="bucket-queue", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Read no more; a request that waits for messages ends by itself."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(1)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.read()
            except Exception as error:  # the library has many
                self._failures += 1
                if self._failures == 1:
                    log.warning("the queue of the bucket's notifications cannot be read: %s", type(error).__name__)
                self._ended.wait(backoff(self._failures, 1.0, 60.0))
            else:
                if self._failures:
                    log.info("the queue of the bucket's notifications is read again")
                self._failures = 0

    def read(self) -> int:
        """Read some messages and take them off the queue, but those that are no notifications; how many were taken off."""
        reply = self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=_AT_ONCE, WaitTimeSeconds=WAIT_SECONDS)
        taken: list[dict[str, str]] = []
        for each in reply.get("Messages", ()):
            objects = _objects(each)
            if objects is not None:
                self._wake(objects)
                taken.append({"Id": str(len(taken)), "ReceiptHandle": each["ReceiptHandle"]})
        if taken:
            self._client.delete_message_batch(QueueUrl=self._url, Entries=taken)
        return len(taken)


def _objects(message: dict[str, Any]) -> list[NamedObject] | None:
    try:
        content = parse_outside(message["Body"].encode(), MOST_BYTES)
        if not isinstance(content, dict):
            raise ValueError("expected an object")
        return named_objects(content)
    except (ValueError, KeyError) as error:
        log.warning("a message in the queue of the bucket's notifications is none, and stays there: %s", error)
        return None
