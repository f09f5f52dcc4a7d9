"""Background work gives way to requests: the calling thread alone gets a lower priority."""

import os
import sys
import threading

import pytest

from recognizer.core.priorities import BACKGROUND, VIDEO, lower_thread_priority

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives each thread a priority of its own")


def priority() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def in_a_thread(*calls: int) -> int:
    found = []

    def work() -> None:
        for niceness in calls:
            lower_thread_priority(niceness)
        found.append(priority())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("niceness", [VIDEO, BACKGROUND])
def test_the_thread_steps_back_by_so_much_and_the_process_does_not(niceness):
    usual = priority()
    assert in_a_thread(niceness) == min(19, usual + niceness)
    assert priority() == usual


def test_a_second_call_changes_nothing():
    assert in_a_thread(VIDEO, VIDEO) == in_a_thread(VIDEO)
