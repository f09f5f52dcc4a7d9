"""The garbage collector while a program loads."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from contextvars import copy_context

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


def test_commands_build_the_service_without_collecting_and_freeze_in_their_own_process_only(monkeypatch):
    import click

    from recognizer import engines, service
    from recognizer.commands import common
    from recognizer.core import logs

    found = []

    class Made:
        def close(self) -> None:
            found.append((gc.isenabled(), gc.get_freeze_count() > 0))

    def make(settings, progress, make):
        found.append((gc.isenabled(), False))
        return Made()

    def run() -> None:
        with click.Context(click.Command("anything")), common.service(started=False):
            pass

    monkeypatch.setattr(service, "make_service", make)
    monkeypatch.setattr(engines, "engine_ahead", lambda recipe: None)
    monkeypatch.setattr(logs, "configure", lambda *how: None)
    for own in (False, True):
        monkeypatch.setattr(common.CommandState, "own_process", own)
        copy_context().run(run)
    assert found == [(False, False), (True, False), (False, False), (True, True)]


def test_what_names_a_photo_loads_nothing_of_cameras_events_and_urls():
    code = "import sys, recognizer.cli, recognizer.people, recognizer.service, recognizer.http.replies; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    later = {"recognizer.video.sources.cameras", "recognizer.events.event_hub", "recognizer.events.mqtt", "asyncio"}
    later |= {"recognizer.fetching.fetcher", "http.client", "ssl", "cv2", "onnxruntime", "dlib", "PIL", "hug"}
    assert "recognizer.service" in found and not later & set(found)
