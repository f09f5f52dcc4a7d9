"""What all who follow folders have in common: the system's notifications, and threads that end together."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: Seconds that `FollowingThreads.join` waits for a photo that is just being encoded.
CLOSE_SECONDS = 5.0
#: Seconds without a failure after which the next one like it is news.
NEWS_SECONDS = 60.0
_QUOTED = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""")


class FollowingThreads:
    """Threads that follow folders until they are told to stop.

    Attributes
    ----------
    stop : threading.Event
        Set once the threads must end.
    """

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, name: str, target: Callable[[], object]) -> None:
        """Start one more thread."""
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread that was started first runs."""
        return bool(self._threads) and self._threads[0].is_alive()

    def join(self) -> None:
        """Wait until the threads have ended, or for `CLOSE_SECONDS`; `stop` has to be set, and who waits to be woken."""
        until = time.monotonic() + CLOSE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


class RepeatedFailures:
    """Tells failures that come every few seconds for as long as something lasts from new ones.

    Parameters
    ----------
    clock : callable
        Seconds on a clock that never jumps.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._seen: dict[str, float] = {}  # the reasons of the last minute, and when each came last

    def news(self, error: Exception) -> str | None:
        """Why it failed, if that is new; without paths, which contain names that no log is to keep."""
        reason, now = _QUOTED.sub("...", str(error)), self._clock()
        self._seen = {each: at for each, at in self._seen.items() if now - at < NEWS_SECONDS}
        new = reason not in self._seen
        self._seen[reason] = now
        return reason if new else None


def announced(root: Path, stop: threading.Event) -> Iterator[set[Path]]:
    """The paths below a folder that the system reports as changed; empty each second without changes. Ends with `stop`.

    Raises
    ------
    OSError, RuntimeError
        There are no notifications: the folder is gone or unmounted, the system allows no more, or a name is not Unicode.
    """
    import watchfiles

    for changes in watchfiles.watch(
        root,
        watch_filter=None,
        debounce=100,
        step=20,
        rust_timeout=1000,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
        ignore_permission_denied=True,
    ):
        yield {Path(path) for _, path in changes}


def place_of(root: Path) -> tuple[int, int]:
    """What tells a folder from another one of the same name.

    Raises
    ------
    OSError
    """
    status = root.stat()
    return status.st_dev, status.st_ino
