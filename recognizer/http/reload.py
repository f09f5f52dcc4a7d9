"""Reloading when a Python file changes: the process is replaced and keeps its sockets.

Hug's runner watches the files, raises a flag and interrupts the main thread; then it would delete all modules and
import them again, which compiled libraries such as cv2 do not survive. Here the flag leads to a fresh process instead,
once what changed can be read as Python. Only the runner's flag is used, found through `sys.modules`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from recognizer.core import interrupts
from recognizer.core.logs import announce

# Without the prefix of the settings, which refuse names they do not know.
SOCKETS_VARIABLE = "HUG_SERVE_SOCKETS"

Signature = tuple[int, int]


class _TimeWithoutWait:
    """The module `time` as hug's runner sees it: the main thread does not sleep, every other thread does."""

    def __getattr__(self, name):
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(seconds)


def serve_at_once() -> None:
    """Let hug's runner serve without the second that its main thread waits before.

    Its thread that watches files goes on waiting between two looks. The runner waits so that a reload that was raised meanwhile
    is noticed; `Reloader` notices it by itself.
    """
    runner = sys.modules.get("hug.development_runner")
    if getattr(runner, "time", None) is time:
        runner.time = _TimeWithoutWait()  # type: ignore[union-attr]


class Reloader:
    """Knows whether the files of this process changed, and whether a new process could read them."""

    def __init__(self):
        self.wanted = False
        self._seen = _loaded_files()
        self._refused: dict[str, Signature | None] = {}

    def take_flag(self) -> bool:
        """True if hug's runner asks for a reload; asks it only once."""
        checker = getattr(sys.modules.get("hug.development_runner"), "reload_checker", None)
        if checker is None or not getattr(checker, "reloading", False):
            return False
        checker.reloading = False
        self.wanted = True
        return True

    def watch_start(self):
        """Ignore the runner's interrupt while the process is not serving yet; Ctrl-C ends it."""

        def interrupted(number, frame):
            if not self.take_flag():
                interrupts.end(number, frame)

        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, interrupts.end):
            signal.signal(signal.SIGINT, interrupted)

    def begin(self):
        """Note the files loaded since this object was made; from here on `due` compares with them."""
        self._seen = {**_loaded_files(), **self._seen}

    def due(self) -> bool:
        """True if the process should be replaced now; reports on stderr when a changed file cannot be parsed."""
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            self.take_flag()  # Then the runner's interrupt reaches no handler.
        if any(_signature(path) != signature for path, signature in self._refused.items()):
            self.wanted = True
        if not self.wanted:
            return False
        self.wanted = False
        problems = self._problems()
        for problem in problems:
            announce(f"{problem}; serving on as before until that changes.", logging.WARNING)
        return not problems

    def _problems(self) -> list[str]:
        now = {**dict.fromkeys(self._seen), **_loaded_files()}
        problems = {path: _problem(path) for path, signature in now.items() if signature != self._seen.get(path)}
        self._refused = {path: _signature(path) for path, problem in problems.items() if problem}
        return [problem for problem in problems.values() if problem]


def _loaded_files() -> dict[str, Signature]:
    paths = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    found = {path: _signature(path) for path in paths if isinstance(path, str) and path.endswith(".py")}
    return {path: signature for path, signature in found.items() if signature}


def _signature(path: str) -> Signature | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _problem(path: str) -> str | None:
    try:
        compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{path}, line {error.lineno}, cannot be read as Python ({error.msg})"
    except (OSError, ValueError) as error:
        return f"{path} cannot be read ({error})"
    return None


def replace_process(listener: socket.socket, accepted: Sequence[socket.socket] = ()) -> None:
    """Start this command line afresh in this process, with these sockets; does not return.

    Connections that come meanwhile wait in `listener`; those in `accepted` have no request yet.
    """
    if os.name == "posix":
        sockets = [listener, *accepted]
        for each in sockets:
            each.set_inheritable(True)
        os.environ[SOCKETS_VARIABLE] = ":".join(map(str, [os.getpid(), *(each.fileno() for each in sockets)]))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def inherited_sockets() -> list[socket.socket]:
    """What the process before the replacement handed over: the listening socket, then connections; else nothing."""
    process, *numbers = os.environ.pop(SOCKETS_VARIABLE, "").split(":")
    if process != str(os.getpid()):
        return []
    sockets = [socket.socket(fileno=int(number)) for number in numbers]
    for each in sockets:
        each.set_inheritable(False)
    return sockets
