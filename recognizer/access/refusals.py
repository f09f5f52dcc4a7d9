"""Keys that were refused, for the audit log: a line at once, and one that counts the rest when a minute is over.

However many keys somebody tries, and from however many addresses, the log grows by a bounded number of lines a minute.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter

from recognizer.core.audit import AuditLog, acting
from recognizer.core.errors import InvalidKey, KeyExpired, RecognizerError, StorageError

ACTION = "key_refused"
#: Who acts in the lines that stand for all addresses beyond `MOST`.
OTHERS = "address:others"
SECONDS = 60.0
#: Addresses that have lines of their own in one minute.
MOST = 20

log = logging.getLogger("recognizer.access")


class Refusals:
    """Notes refused keys. Owns the counts of the minute that runs; safe from several threads.

    Parameters
    ----------
    audit : AuditLog
    """

    def __init__(self, audit: AuditLog, *, seconds: float = SECONDS, most: int = MOST):
        self._audit, self._seconds, self._most = audit, seconds, most
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[str]] = {}
        self._timer: threading.Timer | None = None

    def note(self, actor: str, error: RecognizerError) -> None:
        """A request of `actor` was refused with `error`; nothing unless that was for the key it showed."""
        if not isinstance(error, (InvalidKey, KeyExpired)):
            return
        with self._lock:
            if actor not in self._counts and len(self._counts) >= self._most:
                actor = OTHERS
            first = actor not in self._counts
            if first:
                self._counts[actor] = Counter()
            else:
                self._counts[actor][error.code] += 1
            if self._timer is None:
                self._timer = threading.Timer(self._seconds, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if first:
            self._append(actor, Counter({error.code: 1}))

    def flush(self) -> None:
        """End the minute that runs: write what was only counted."""
        with self._lock:
            counts, self._counts = self._counts, {}
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for actor, reasons in counts.items():
            if reasons:
                self._append(actor, reasons)

    def _append(self, actor: str, reasons: Counter[str]) -> None:
        try:
            with acting(actor):
                self._audit.append(ACTION, count=reasons.total(), reasons=dict(reasons))
        except StorageError as error:  # the request is refused nevertheless
            log.warning("refused keys could not be noted: %s", error.message)
