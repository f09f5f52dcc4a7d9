"""The garbage collector while a program loads."""

from __future__ import annotations

import gc
import weakref

import pytest

from recognizer.core.collecting import collecting_later


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


class Ring:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


def test_nothing_is_collected_within_and_collecting_goes_on_after():
    with collecting_later(freeze=True):
        assert not gc.isenabled()
        stays = Ring()
        before = gc.get_freeze_count()
    assert gc.isenabled() and gc.get_freeze_count() > before
    seen, ring = weakref.ref(stays), weakref.ref(Ring())
    gc.collect()
    assert seen() is stays and ring() is None


def test_an_error_leaves_the_collector_as_it_was():
    with pytest.raises(ValueError), collecting_later(freeze=False):
        raise ValueError
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collecting_later(freeze=False):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
