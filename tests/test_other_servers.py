"""Requests wait until what other processes changed is known, and not without end."""

from __future__ import annotations

import threading

import pytest

from recognizer.core.errors import StorageError
from recognizer.core.lock import WriteLock
from recognizer.service import other_servers
from recognizer.service.other_servers import OtherServers


class Folder:
    """An enrolment with changes of others, which `catch_up` learns."""

    def __init__(self, changes: int = 0):
        self.changes, self.learned, self.broken = changes, 0, False

    def others_changed(self) -> bool:
        if self.broken:
            raise StorageError("the disk is full")
        return self.changes > 0

    def catch_up(self) -> None:
        self.learned += self.changes
        self.changes = 0


@pytest.fixture
def folder() -> Folder:
    return Folder()


def test_without_changes_nothing_is_learned_and_no_lock_is_taken(folder, tmp_path):
    with WriteLock(tmp_path).hold():  # of another process
        assert OtherServers(folder, WriteLock(tmp_path)).learn(0)
    assert folder.learned == 0


def test_what_others_changed_is_learned_before_the_answer(folder, tmp_path):
    others = OtherServers(folder, WriteLock(tmp_path))
    for number in range(1, 4):
        folder.changes = 1
        assert others.learn(60) and folder.learned == number and folder.changes == 0


def test_a_change_that_goes_on_is_not_waited_for_without_end(folder, tmp_path):
    folder.changes = 1
    others = OtherServers(folder, WriteLock(tmp_path))
    with WriteLock(tmp_path).hold():
        assert not others.learn(0.02)
    assert folder.learned == 0
    assert others.learn(60) and folder.learned == 1


def test_requests_at_once_learn_it_once(folder, tmp_path):
    folder.changes = 1
    others, answers = OtherServers(folder, WriteLock(tmp_path)), []
    threads = [threading.Thread(target=lambda: answers.append(others.learn(60))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8 and folder.learned == 1


def test_a_folder_that_takes_long_is_not_compared_for_every_request(folder, tmp_path, monkeypatch):
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def slow() -> None:
        now[0] += 1.0
        folder.changes = 0

    monkeypatch.setattr(other_servers.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(other_servers.time, "sleep", sleep)
    monkeypatch.setattr(folder, "catch_up", slow)
    others = OtherServers(folder, WriteLock(tmp_path))
    folder.changes = 1
    assert others.learn(2.0)
    folder.changes = 1
    assert not others.learn(2.0) and slept == []
    assert others.learn(10.0) and slept == [4.0]


def test_a_cache_that_cannot_be_read_stops_no_request(folder, tmp_path):
    folder.broken = True
    assert not OtherServers(folder, WriteLock(tmp_path)).learn(0)
