"""Signals that tests send to their children reach them, also where this process was started with them ignored."""

from __future__ import annotations

import signal

#: What a shell ignores for what it starts in the background, and what nohup ignores.
SENT = ("SIGINT", "SIGQUIT", "SIGHUP", "SIGTERM")


def reach_children() -> None:
    """Children inherit that a signal is ignored, but not that it is handled: this process handles it, by doing nothing."""
    for name in SENT:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
