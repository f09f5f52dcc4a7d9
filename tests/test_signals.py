"""Tests that send a signal do not depend on how pytest was started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

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
