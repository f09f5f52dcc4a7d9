"""The markers of the tests, and what keeps them true.

e2e
    The test is in ``tests/e2e``: it starts the server, or runs the command line on its files.
browser
    The test drives Chromium.
network
    The test starts a network peer: a broker, a camera, an RTSP server, a package index, a webhook's receiver.
slow
    The test takes several seconds for another reason. Set by hand, where nothing makes it faster.
file_times
    The test compares times of files with the clock. Set by hand; `make check CLOCK=+1y` leaves it out: the clock of the file
    system is not ahead.

`assign` sets the first three: by path, by fixture, and by whether the test, its fixtures or the helpers that they use name
something that serves. Where that does not show, the test carries the marker itself: `Watch` sees sockets that listen and
programs that serve, and fails a test that lacks the marker for it.
"""

from __future__ import annotations

import functools
import inspect
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType

import pytest

E2E = Path(__file__).with_name("e2e")
#: Names of what serves, as they stand in the code of tests and helpers.
PEERS = {
    "create_server",
    "listen",
    "HTTPServer",
    "ThreadingHTTPServer",
    "ThreadingTCPServer",
    "Program",
    "ThreadedMotoServer",
    "rtsp_server",
}
#: Programs that serve, by a word of their command line, with the markers of which a test needs one.
PROGRAMS = {
    **dict.fromkeys(("hug", "gunicorn", "uvicorn", "waitress-serve", "serve"), ("e2e",)),
    **dict.fromkeys(("mosquitto", "nginx", "mediamtx", "rtsp_server.py"), ("network", "e2e")),
    **dict.fromkeys(("chromium", "chromium-headless-shell", "google-chrome", "run-driver"), ("browser",)),
}
#: The markers of which a test needs one to listen on a socket of the network.
LISTENERS = ("network", "e2e")


class Unmarked(AssertionError):
    """A test does what only tests with a certain marker may do."""


def assign(items: list[pytest.Item]) -> None:
    """Give each test the markers that follow from where it is and from what it uses."""
    for item in items:
        if E2E in item.path.parents:
            item.add_marker("e2e")
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        if any(serves(function) for function in functions(item)):
            item.add_marker("network")


def functions(item: pytest.Item) -> Iterator[Callable]:
    """The function of a test and those of its fixtures."""
    if isinstance(item, pytest.Function):
        yield item.function
        for found in item._fixtureinfo.name2fixturedefs.values():
            yield found[-1].func


@functools.cache
def serves(thing: Callable) -> bool:
    """Whether a function or class of the tests names one of `PEERS`, itself or through others of the tests that it names."""
    return _serves(thing, set())


def _serves(thing: Callable, seen: set) -> bool:
    thing = inspect.unwrap(thing)
    if thing in seen or not (getattr(thing, "__module__", None) or "").startswith("tests."):
        return False
    seen.add(thing)
    if isinstance(thing, type):
        if PEERS & {each.__name__ for each in thing.__mro__}:
            return True
        inherited = (each for base in thing.__mro__ for each in vars(base).values())
        return any(_serves(each, seen) for each in inherited if inspect.isfunction(each))
    if not inspect.isfunction(thing):
        return False
    for code in _codes(thing.__code__):
        if PEERS & set(code.co_names):
            return True
        used = (thing.__globals__.get(name) for name in code.co_names)
        if any(_serves(each, seen) for each in used if isinstance(each, type) or inspect.isfunction(each)):
            return True
    return False


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions inside it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)


def needed(command: list[str]) -> tuple[str, ...]:
    """The markers of which a test needs one to run a program; empty for a program that serves nothing."""
    words = {Path(word).name for word in command[:6]}
    return next((markers for word, markers in PROGRAMS.items() if word in words), ())


class Watch:
    """Fails a test that starts a peer without the marker for it. One for the process, since audit hooks stay for ever."""

    def __init__(self) -> None:
        self.item: pytest.Item | None = None
        self.found: list[Unmarked] = []
        self.real_listen = socket.socket.listen

    def install(self) -> None:
        watch = self

        def listen(self: socket.socket, *args: int) -> None:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                watch.require(LISTENERS, "listens on a socket")
            watch.real_listen(self, *args)

        socket.socket.listen = listen  # type: ignore[method-assign]
        sys.addaudithook(self._audit)

    def require(self, markers: tuple[str, ...], what: str) -> None:
        """Fail the running test if it has none of these markers.

        In another thread nothing is raised: whoever started that thread may wait for it for ever. `check` fails the test then.
        """
        if self.item is None or any(self.item.get_closest_marker(marker) for marker in markers):
            return
        error = Unmarked(f"{self.item.nodeid} {what} and lacks the marker {' or '.join(markers)} (tests/markers.py)")
        if threading.current_thread() is threading.main_thread():
            raise error
        self.found.append(error)

    def check(self) -> None:
        """Fail the test that ends if another thread did what the test has no marker for."""
        found, self.found = self.found, []
        if found:
            raise found[0]

    def _audit(self, event: str, args: tuple) -> None:
        if event == "subprocess.Popen" and self.item is not None:
            program, words = args[0], args[1]
            command = [str(word) for word in ([words] if isinstance(words, (str, bytes)) else words)]
            if markers := needed([str(program), *command]):
                self.require(markers, f"runs {Path(command[0]).name}")


WATCH = Watch()
