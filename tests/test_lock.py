"""The write lock: one holder at a time, in any process, and an error instead of an endless wait."""

import os
import threading
import time

import pytest

from recognizer.core import fair_lock, lock
from recognizer.core.errors import Busy, StorageError
from recognizer.core.fair_lock import FairLock
from recognizer.core.lock import WriteLock


@pytest.fixture(autouse=True)
def short_patience(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.05)


def test_the_thread_that_holds_it_may_take_it_again(tmp_path):
    mine, other_process = WriteLock(tmp_path), WriteLock(tmp_path)
    with mine.hold():
        with mine.hold():
            pass
        with pytest.raises(Busy, match="in progress"), other_process.hold():
            pass
    with other_process.hold():
        pass


def test_another_thread_of_the_same_process_is_refused(tmp_path):
    shared, refused = WriteLock(tmp_path), []

    def other_thread():
        try:
            with shared.hold():
                pass
        except Busy as error:
            refused.append(error)

    with shared.hold():
        thread = threading.Thread(target=other_thread)
        thread.start()
        thread.join(10)
    assert len(refused) == 1


def test_it_is_released_after_an_error(tmp_path):
    mine = WriteLock(tmp_path)
    with pytest.raises(KeyError), mine.hold():
        raise KeyError
    with WriteLock(tmp_path).hold():
        pass


@pytest.mark.skipif(os.name != "posix", reason="a file in place of a folder")
def test_a_state_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StorageError, match="the state folder cannot be used: "), WriteLock(tmp_path / "state").hold():
        pass


# -- turns ------------------------------------------------------------------------------------------------------------


def test_one_who_takes_the_lock_again_and_again_lets_another_in(tmp_path):
    """The one who holds it releases it for an instant only: an attempt every now and then would hardly ever succeed."""
    greedy, patient = FairLock(tmp_path / "x.lock"), FairLock(tmp_path / "x.lock")
    turns, held, waits, over = [], threading.Event(), threading.Event(), threading.Event()

    def hog():
        while not over.is_set():
            with greedy.hold(60):
                held.set()
                if waits.is_set():
                    turns.append("hog")
                    time.sleep(8 * fair_lock.POLL_SECONDS)

    thread = threading.Thread(target=hog)
    thread.start()
    try:
        assert held.wait(60)
        waits.set()
        with patient.hold(60):
            before = len(turns)
    finally:
        over.set()
        thread.join()
    assert before <= 20, "it waited for turns without end"


def test_who_waits_does_not_keep_the_holder_from_taking_it_again(tmp_path):
    mine, other = FairLock(tmp_path / "x.lock"), FairLock(tmp_path / "x.lock")
    queued, taken = threading.Event(), threading.Event()
    file = other._file
    acquire = file.acquire

    def note(*args, **named):
        queued.set()
        return acquire(*args, **named)

    file.acquire = note

    def wait():
        with other.hold(60):
            taken.set()

    with mine.hold(1):
        thread = threading.Thread(target=wait)
        thread.start()
        assert queued.wait(60)
        with mine.hold(0):
            pass
        assert not taken.is_set()
    thread.join(60)
    assert taken.is_set()


def test_it_is_refused_after_the_patience_and_free_for_the_next(tmp_path):
    mine, other = FairLock(tmp_path / "x.lock"), FairLock(tmp_path / "x.lock")
    with mine.hold(1), pytest.raises(TimeoutError), other.hold(0.02):
        pass
    with other.hold(1), pytest.raises(TimeoutError), mine.hold(0.02):
        pass


def test_without_room_for_the_file_of_those_who_wait_it_works_all_the_same(tmp_path):
    (tmp_path / "x.lock.next").mkdir()  # cannot be opened as a file
    with FairLock(tmp_path / "x.lock").hold(1):
        other = FairLock(tmp_path / "x.lock")
        with pytest.raises(TimeoutError), other.hold(0.02):
            pass
