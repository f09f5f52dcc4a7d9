"""What is made on a thread before it is needed."""

from __future__ import annotations

import gc
import sys
import threading
from copy import copy

import click
import pytest

from recognizer import engines, service
from recognizer.commands import common
from recognizer.core import logs
from recognizer.core.ahead import SWITCH_SECONDS, Ahead, taking_turns
from recognizer.core.errors import ModelCorrupt, ModelMissing
from recognizer.core.settings import Settings
from recognizer.http import early

from .enrolling import PATIENCE


class Maker:
    """Notes what it is called with, and on which threads."""

    def __init__(self, *errors: Exception):
        self.errors, self.calls, self.threads = list(errors), [], []
        self.called = threading.Event()

    def __call__(self, **values):
        self.calls.append(values)
        self.threads.append(threading.current_thread())
        self.called.set()
        if self.errors:
            raise self.errors.pop(0)
        return copy(values)


def test_what_was_begun_is_given_once():
    maker = Maker()
    ahead = Ahead(maker)
    ahead.begin(detector="yunet")
    assert maker.called.wait(PATIENCE)  # before anybody asks
    assert ahead(detector="yunet") == {"detector": "yunet"}
    assert len(maker.calls) == 1 and maker.threads[0] is not threading.current_thread()
    assert ahead(detector="yunet") == {"detector": "yunet"} and len(maker.calls) == 2


def test_threads_take_turns_within_the_block_only():
    before = sys.getswitchinterval()
    with pytest.raises(ValueError), taking_turns():
        assert sys.getswitchinterval() <= SWITCH_SECONDS
        raise ValueError
    assert sys.getswitchinterval() == before


def test_what_was_begun_with_other_values_is_not_given():
    maker = Maker()
    ahead = Ahead(maker)
    ahead.begin(detector="yunet")
    assert ahead(detector="hog") == {"detector": "hog"}
    assert {"detector": "hog"} in maker.calls


def test_what_was_not_begun_is_made_at_once():
    maker = Maker()
    assert Ahead(maker)(a=1) == {"a": 1} and maker.threads == [threading.current_thread()]


def test_a_failure_is_tried_again_and_raised_if_it_is_still_there():
    ahead = Ahead(maker := Maker(ModelCorrupt("the file was being written")))
    ahead.begin(a=1)
    assert ahead(a=1) == {"a": 1} and len(maker.calls) == 2
    ahead = Ahead(Maker(ModelCorrupt("first"), ModelCorrupt("second")))
    ahead.begin(a=1)
    with pytest.raises(ModelCorrupt, match="second"):
        ahead(a=1)


def test_an_engine_begins_only_where_its_weights_are(monkeypatch, tmp_path, models_dir):
    monkeypatch.setattr(engines, "make_engine", maker := Maker())
    recipe = Settings(models_dir=tmp_path / "empty").engine_recipe
    ahead = engines.engine_ahead(recipe)
    assert ahead(**recipe) == recipe and maker.threads == [threading.current_thread()]
    recipe = Settings(models_dir=models_dir).engine_recipe
    ahead = engines.engine_ahead(recipe)
    assert ahead(**recipe) == recipe and threading.current_thread() is not maker.threads[1] and len(maker.calls) == 2


def test_without_weights_the_usual_error_is_raised(tmp_path):
    recipe = Settings(models_dir=tmp_path / "empty").engine_recipe
    with pytest.raises(ModelMissing):
        engines.engine_ahead(recipe)(**recipe)


def test_commands_begin_the_engine_before_they_import_the_service(monkeypatch, models_dir):
    monkeypatch.setattr(engines, "make_engine", maker := Maker())
    monkeypatch.setattr(logs, "configure", lambda *how: None)
    monkeypatch.setenv("RECOGNIZER_MODELS_DIR", str(models_dir))

    class Made:
        def close(self) -> None: ...

    def make_service(settings, download, make):
        assert make(**settings.engine_recipe) == settings.engine_recipe
        return Made()

    monkeypatch.setattr(service, "make_service", make_service)
    with click.Context(click.Command("anything")), common.service(started=False):
        assert len(maker.calls) == 1 and maker.threads[0] is not threading.current_thread()


@pytest.mark.parametrize("serving", [True, False])
def test_a_server_begins_the_engine_before_the_rest_is_imported(monkeypatch, models_dir, serving):
    monkeypatch.setattr(engines, "make_engine", maker := Maker())
    monkeypatch.setattr(logs, "configure", lambda *how: None)
    monkeypatch.setattr(early, "serving_by_command", serving)
    monkeypatch.setattr(early, "end_quietly", lambda: None)
    monkeypatch.setenv("RECOGNIZER_MODELS_DIR", str(models_dir))
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    with early.loading_early() as make:
        assert not gc.isenabled()
        assert (make is not None) == serving
        assert not serving or maker.called.wait(PATIENCE)
    assert gc.isenabled()
    recipe = Settings.from_environment().engine_recipe
    assert make is None or (make(**recipe) == recipe and len(maker.calls) == 1)


def test_wrong_settings_are_left_to_whoever_reports_them(monkeypatch):
    monkeypatch.setattr(early, "serving_by_command", True)
    monkeypatch.setattr(early, "end_quietly", lambda: None)
    monkeypatch.setenv("RECOGNIZER_DETECTOR", "none such")
    with early.loading_early() as make:
        assert make is None
