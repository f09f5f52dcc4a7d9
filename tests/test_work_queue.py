"""The queue that cameras' sightings and visits wait in: bounded, never waited for, and not ended by an error."""

from __future__ import annotations

import threading

import pytest

from recognizer.core.errors import StorageError
from recognizer.core.work_queue import WorkQueue

from .streams import wait_for


class Work:
    """What a queue's thread does, as a test says."""

    def __init__(self):
        self.done: list[str] = []
        self.inside, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.idled = 0

    def take(self, item: str) -> None:
        self.inside.set()
        assert self.go.wait(60)
        if item == "full":
            raise StorageError("the disk is full")
        if item == "odd":
            raise ValueError(item)
        self.done.append(item)

    def idle(self) -> None:
        self.idled += 1


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def queue(work):
    made = WorkQueue("test", "parcel", 2, work.take, idle=work.idle, counts=("unfit",))
    yield made
    work.go.set()
    made.close()


def test_what_finds_no_room_is_dropped_and_counted(work, queue):
    work.go.clear()
    queue.start()
    queue.start()  # once is enough
    assert queue.offer("one")
    assert work.inside.wait(60)
    assert [queue.offer(each) for each in ("two", "three", "four")] == [True, True, False]
    assert queue.counts() == {"offered": 4, "dropped": 1, "unfit": 0, "failed": 0, "waiting": 3}
    assert queue.waiting() == ["two", "three"]
    work.go.set()
    wait_for(lambda: work.done == ["one", "two", "three"])
    wait_for(lambda: queue.counts()["waiting"] == 0)
    assert work.idled >= 3


def test_an_error_with_one_item_does_not_end_the_thread(work, queue, caplog):
    queue.start()
    for each in ("full", "odd"):
        assert queue.offer(each)
        wait_for(lambda: queue.counts()["waiting"] == 0)
    queue.offer("one")
    wait_for(lambda: work.done == ["one"])
    queue.count("unfit", 2)
    assert (queue.counts()["failed"], queue.counts()["unfit"]) == (2, 2)
    assert "a parcel is lost: the disk is full" in caplog.text and "a parcel could not be processed" in caplog.text


def test_what_waits_is_changed_and_what_is_worked_on_is_waited_for(work, queue):
    work.go.clear()
    queue.start()
    queue.offer("one")
    assert work.inside.wait(60)
    queue.offer("two")
    queue.offer("three")
    changed = threading.Thread(target=queue.change, args=(lambda item: None if item == "two" else item.upper(), 60.0))
    changed.start()
    wait_for(lambda: queue.waiting() == ["THREE"])
    assert changed.is_alive() and work.done == []
    work.go.set()
    changed.join(60)
    assert not changed.is_alive() and work.done[0] == "one"
    wait_for(lambda: work.done == ["one", "THREE"])


def test_closing_works_off_what_waits_and_takes_nothing_more(work, queue):
    queue.offer("before the start")
    queue.start()
    queue.close()
    assert work.done == ["before the start"] and not queue.offer("too late")


def test_a_queue_that_never_began_can_be_closed(work, queue):
    queue.close()
    assert not queue.offer("one") and work.done == []


def test_what_is_offered_can_be_changed_on_the_way_in(work):
    queue = WorkQueue("test", "parcel", 2, work.take, offered=str.upper, begin=lambda: work.done.append("begun"))
    queue.start()
    queue.offer("one")
    queue.close()
    assert work.done == ["begun", "ONE"]
