"""Something that is made on a thread before it is needed, while the program imports and opens what it needs besides."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")
#: How long a thread may run Python before another may, where several are to get on.
SWITCH_SECONDS = 0.0005


@contextmanager
def taking_turns() -> Iterator[None]:
    """Within the block, a thread that needs Python's lock only now and then does not wait 5 ms for it each time, as it usually
    would while another one imports. For a process that does nothing else."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Ahead(Generic[Made]):
    """A function that may have begun already. Thread-safe.

    Parameters
    ----------
    make : callable
        The function. It is called with keywords.
    """

    def __init__(self, make: Callable[..., Made]):
        self._make = make
        self._lock = threading.Lock()
        self._begun: tuple[dict[str, Any], Future[Made]] | None = None

    def begin(self, **values: Any) -> None:
        """Call the function with these keywords, on a thread; the process does not end before it has returned."""
        future: Future[Made] = Future()

        def work() -> None:
            try:
                future.set_result(self._make(**values))
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            self._begun = values, future
        threading.Thread(target=work, name="ahead").start()

    def __call__(self, **values: Any) -> Made:
        """What the function returns for these keywords. What was begun is given once; if it was begun with others, or failed,
        the function is called now."""
        with self._lock:
            begun, self._begun = self._begun, None
        if begun is not None and begun[0] == values:
            with suppress(Exception):  # it is raised by the call below, if it is still so
                return begun[1].result()
        return self._make(**values)
