"""The sweep: whoever cannot be erased keeps nobody else's data from being erased."""

from __future__ import annotations

import threading
import time

import pytest

from recognizer.core.errors import StorageError
from recognizer.enrolment.retention import Sweep

from .streams import wait_for


class Expired:
    """People whose consent has expired, since when."""

    def __init__(self, **since: float):
        self.since = since

    def expired(self) -> dict[str, float]:
        return dict(self.since)


@pytest.mark.parametrize("failure", [StorageError("not everything could be erased"), OSError(5, "i/o"), KeyError("camera")])
def test_one_erasure_that_fails_stops_neither_the_others_nor_the_purge(failure):
    people, erased, purged = Expired(Ada=0.0, Bob=0.0, Eve=time.time()), [], threading.Event()

    def erase(name: str) -> None:
        if name == "Ada":
            raise failure
        erased.append(name)
        del people.since[name]

    sweep = Sweep(people, erase, lambda: 3, lambda: purged.set() or 2, 1.0, pause=60)
    try:
        wait_for(purged.is_set)
        wait_for(lambda: sweep.counts()["sweeps"] == 1)
        assert erased == ["Bob"]
        assert {"erased": 1, "failed": 1, "purged_events": 2, "expired": 2}.items() <= sweep.counts().items()
    finally:
        sweep.close()


def test_an_erasure_that_failed_is_tried_again_but_not_with_every_sweep():
    people, tried, enough = Expired(Ada=0.0), [], threading.Event()

    def erase(name: str) -> None:
        tried.append(name)
        if len(tried) < 2:
            raise StorageError("busy")
        del people.since[name]
        enough.set()

    sweep = Sweep(people, erase, lambda: 0, lambda: 0, 0.0, pause=0.2)
    try:
        assert enough.wait(30)
        wait_for(lambda: sweep.counts()["erased"] == 1)
    finally:
        sweep.close()
    people, tried = Expired(Ada=0.0), []

    def fails(name: str) -> None:
        tried.append(name)
        raise StorageError("busy")

    sweep = Sweep(people, fails, lambda: 0, lambda: 0, 0.0, pause=60)
    try:
        wait_for(lambda: sweep.counts()["sweeps"] == 1)
        for _ in range(3):
            sweep.sweep()
        assert tried == ["Ada"] and sweep.counts()["failed"] == 1
    finally:
        sweep.close()


def test_a_purge_that_fails_stops_no_erasure():
    people, erased = Expired(Ada=0.0), threading.Event()

    def erase(name: str) -> None:
        del people.since[name]
        erased.set()

    def purge() -> int:
        raise StorageError("damaged")

    sweep = Sweep(people, erase, lambda: 0, purge, 0.0)
    try:
        assert erased.wait(30)
        wait_for(lambda: sweep.counts()["sweeps"] == 1)
        assert sweep.counts()["failed"] == 1
    finally:
        sweep.close()
