"""The write lock: one holder at a time, in any process, and an error instead of an endless wait."""

import os
import threading

import pytest

from recognizer.core import lock
from recognizer.core.errors import Busy, StorageError
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
