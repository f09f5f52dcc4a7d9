"""Erasures and renamings of other nodes, done in what this node stores for itself: events, strangers, caches."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recognizer.core.errors import RecognizerError
from recognizer.core.holdings import Holding, Holdings, Whose
from recognizer.enrolment.shared_enrolment import SharedEnrolment

log = logging.getLogger("recognizer.nodes")


class NodeWork:
    """Does what the others gave this node to do, in their order; what fails is tried again at the next call.

    Parameters
    ----------
    enrolment : SharedEnrolment
    holdings : callable
        Those of this node alone for the people of a group, which its enrolment tells.
    dim : int
        Length of templates.
    """

    def __init__(self, enrolment: SharedEnrolment, holdings: Callable[[SharedEnrolment], Sequence[Holding]], dim: int):
        self._enrolment, self._holdings, self._dim = enrolment, holdings, dim
        self._lock = threading.Lock()

    def run(self) -> int:
        """Do what waits; how much was finished.

        Raises
        ------
        DatabaseAway, StorageError
        """
        finished = 0
        with self._lock:
            for number, about in self._enrolment.work():
                if not self._do(about):
                    break
                self._enrolment.work_done(number)
                finished += 1
        return finished

    def _do(self, about: dict[str, Any]) -> bool:
        group = about.get("group")
        whose_people = self._enrolment if group is None else self._enrolment.of_group(about["number"], group)
        holdings = Holdings(self._holdings(whose_people))
        try:
            if "rename" in about:
                failed = holdings.rename(about["rename"], about["to"])
            elif "erase_photo" in about:
                whose = Whose("", tuple(about["photos"]))  # the name stays in use
                failed = holdings.erase(whose).failed
            else:
                vectors = np.frombuffer(base64.b64decode(about["templates"]), "<f4").reshape(-1, self._dim)
                outcome = holdings.erase(Whose(about["erase"], tuple(about["photos"]), vectors.astype(np.float32)))
                left = {place for place, count in outcome.left.items() if count and place != "leftovers"}
                failed = {**dict.fromkeys(left, "something is left"), **outcome.failed}
        except RecognizerError as error:
            failed = {"": error.message}
        if failed:
            log.warning("a change of another node is not finished here yet: %s", ", ".join(sorted(failed)))
        return not failed
