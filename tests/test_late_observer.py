"""Observers of video whose folder cannot be used when the server starts: they are made once it can be."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from recognizer.core.errors import StorageError
from recognizer.service.late_observer import AGAIN, LateObserver

from .scenes import Camera, State

DOOR, YARD = Camera(), Camera("yard", "Yard")


class Observer:
    def __init__(self):
        self.seen: list[tuple] = []

    def __call__(self, camera, result):
        self.seen.append((camera.id, result))

    def state(self, camera, state):
        self.seen.append((camera.id, state.name))

    def stopped(self, camera):
        self.seen.append((camera.id, "stopped"))


@pytest.fixture
def folder():
    """A folder that cannot be used yet, and a clock."""
    return SimpleNamespace(broken=True, now=0.0, tries=0, made=Observer())


@pytest.fixture
def late(folder) -> LateObserver:
    def make():
        folder.tries += 1
        if folder.broken:
            raise StorageError("the disk is full")
        return folder.made

    return LateObserver("events", make, clock=lambda: folder.now)


def test_it_is_made_when_it_can_be_and_knows_the_cameras_states(late, folder, caplog):
    caplog.set_level(logging.INFO, "recognizer")
    late.state(DOOR, State("connecting"))
    late.state(DOOR, State("live"))
    late.state(YARD, State("live"))
    late.stopped(YARD)
    for number in range(5):
        late(DOOR, number)
    assert folder.tries == 1 and late.made() is None
    folder.now += AGAIN
    late(DOOR, 5)
    folder.broken = False
    late(DOOR, 6)
    assert folder.tries == 2 and not folder.made.seen
    folder.now += AGAIN
    late(DOOR, 7)
    late(DOOR, 8)
    late.state(DOOR, State("lost"))
    late.stopped(DOOR)
    assert folder.tries == 3 and late.made() is folder.made
    assert folder.made.seen == [("door", "live"), ("door", 7), ("door", 8), ("door", "lost"), ("door", "stopped")]
    messages = [record.message for record in caplog.records]
    assert messages == ["no events are kept until their folder can be used: the disk is full", "events are kept again"]


def test_what_cannot_be_told_states_is_not(folder, late):
    folder.broken, seen = False, []
    folder.made = lambda camera, result: seen.append(result)
    late.state(DOOR, State("live"))
    late(DOOR, 1)
    late.stopped(DOOR)
    assert seen == [1]
