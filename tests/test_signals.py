"""Tests that send a signal do not depend on how pytest was started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from recognizer.core import interrupts

from . import signals

CHILD = "import signal, sys; print(signal.getsignal(getattr(signal, sys.argv[1])) is signal.SIG_IGN)"
PARENT = f"""
import signal, subprocess, sys
from tests.signals import reach_children
signal.signal(getattr(signal, sys.argv[1]), signal.SIG_IGN)
child = [sys.executable, "-c", {CHILD!r}, sys.argv[1]]
subprocess.run(child, check=True)
reach_children()
subprocess.run(child, check=True)
signal.raise_signal(getattr(signal, sys.argv[1]))
"""


@pytest.mark.parametrize("name", [name for name in signals.SENT if hasattr(signal, name)])
def test_a_signal_that_is_ignored_here_reaches_what_is_started_here(name):
    done = subprocess.run([sys.executable, "-c", PARENT, name], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["True", "False"], "")


@pytest.fixture
def handlers():
    """Those of now come back after the test."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("process, expected", [(1, interrupts.end), (2, signal.SIG_DFL)])
def test_process_1_handles_sigterm_from_the_beginning(handlers, monkeypatch, process, expected):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(interrupts.os, "getpid", lambda: process)
    interrupts.end_quietly()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (interrupts.end, expected)
    interrupts.raise_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_handles_ctrl_c_already_is_kept(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.end_quietly()
    interrupts.raise_interrupts()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
