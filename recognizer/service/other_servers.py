"""What other processes changed in the folder that they share with this one, learned before a request is answered.

A change that another server has acknowledged is in the cache's file, and its lock of every write is free. Whoever asks this
server afterwards gets an answer that knows of the change: one query of the file tells whether there is anything to learn.
"""

from __future__ import annotations

import logging
import threading
import time

from recognizer.core.errors import Busy, StorageError
from recognizer.core.lock import WriteLock
from recognizer.enrolment.enrolment import Enrolment

log = logging.getLogger(__name__)

#: Seconds that a request waits for what other processes changed.
PATIENCE = 2.0
#: Of the time of requests, learning takes at most one part in so many: a large folder takes long to compare.
_SHARE = 4


class OtherServers:
    """Lets requests wait until what other processes changed is known here. Any thread may call it.

    Parameters
    ----------
    enrolment : Enrolment
    changes : WriteLock
        The lock of every write.
    """

    def __init__(self, enrolment: Enrolment, changes: WriteLock):
        self._enrolment, self._changes = enrolment, changes
        self._lock = threading.Lock()
        self._not_before = 0.0

    def learn(self, patience: float | None = None) -> bool:
        """Learn what other processes have changed until now.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for changes that others make at the moment; `PATIENCE` by default.

        Returns
        -------
        bool
            Whether everything is known; if not, `enrolment.watcher` learns it as soon as possible.
        """
        try:
            if not self._enrolment.others_changed():
                return True
            until = time.monotonic() + (PATIENCE if patience is None else patience)
            if not self._lock.acquire(timeout=max(0.0, until - time.monotonic())):
                return False
            try:
                return self._learn(until)
            finally:
                self._lock.release()
        except (Busy, StorageError) as error:
            log.debug("what other processes changed is not known yet: %s", error.message)
            return False

    def _learn(self, until: float) -> bool:
        if not self._enrolment.others_changed():  # another request learned it meanwhile
            return True
        wait = self._not_before - time.monotonic()
        if time.monotonic() + wait > until:
            return False
        if wait > 0:
            time.sleep(wait)
        with self._changes.hold(max(0.0, until - time.monotonic())):
            begun = time.monotonic()
            self._enrolment.catch_up()
            ended = time.monotonic()
        self._not_before = ended + _SHARE * (ended - begun)
        return True
