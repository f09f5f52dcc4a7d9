"""Signals while a program is still being imported, or is over already: the process ends at once, without a traceback."""

from __future__ import annotations

import os
import signal
import threading


def end_quietly() -> None:
    """From here on Ctrl-C ends this process with 130, unless something else is done with it already.

    So does SIGTERM, with 143, in process 1 of a container, which ignores signals that it has no handler for.
    """
    if threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, end)
        if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, end)


def raise_interrupts() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end(number: int, frame: object) -> None:
    """The handler: an exception would show where it came, and wait for threads that load."""
    os._exit(128 + number)
