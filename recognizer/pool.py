"""A bounded pool for inference: so many at work, so many waiting, and the next is turned away at once."""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from .errors import Busy

Result = TypeVar("Result")

#: Most pieces of work that one thread does side by side.
MOST_TOGETHER = 4


class Together(Protocol):
    """What several pieces of work have done in one go, since that is quicker than one after the other."""

    def __call__(self, questions: list) -> list:
        """The answer to each question."""

    def enough(self, questions: list) -> bool:
        """Whether another one would bring nothing, or take too much memory."""


class Pool:
    """Threads that do the work of requests.

    Owns its threads and the count of what waits.

    Parameters
    ----------
    workers : int
        Calls that run at once.
    queue : int
        Calls that may wait beyond those.
    """

    def __init__(self, workers: int, queue: int):
        self.workers, self.queue = workers, queue
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._places = threading.BoundedSemaphore(workers + queue)
        self._lock = threading.Lock()
        self._inside = 0
        self._waiting: deque[_Steps] = deque()
        self._closed = False
        self.refused = 0

    @property
    def inside(self) -> int:
        """Calls that run or wait now."""
        return self._inside

    def run(self, work: Callable[..., Result], *args, **kwargs) -> tuple[Result, float]:
        """Do `work` on a pool thread and wait for it; its result, and the seconds that it waited for its turn.

        Raises
        ------
        Busy
            The queue is full, or the pool is closed.
        """
        entered = time.perf_counter()

        def timed():
            return time.perf_counter() - entered, work(*args, **kwargs)

        # the logs of the work name the request that it is for
        context = contextvars.copy_context()
        waited, result = self._wait_for(lambda: self._submit(context.run, timed))
        return result, waited

    def run_together(self, work: Generator[Any, Any, Result], together: Together) -> tuple[Result, float]:
        """Like `run`, for work that may yield a question once, to be answered by `together` with those of other such work.

        A thread begins several pieces of work only while so many wait that the other threads do not lack any.
        """
        steps = _Steps(work)

        def submit() -> Future:
            with self._lock:
                self._waiting.append(steps)
            # one turn for each: whoever finds nothing was served in somebody else's
            self._submit(self._turn, together)
            return steps.future

        return self._wait_for(submit), steps.waited

    def _submit(self, work: Callable, *args) -> Future:
        with self._lock:
            if self._closed:
                raise CancelledError
            return self._executor.submit(work, *args)

    def _wait_for(self, submit: Callable[[], Future]):
        if not self._places.acquire(blocking=False):
            with self._lock:
                self.refused += 1
            raise Busy(f"{self.workers + self.queue} photos are being worked on or waiting already; try again shortly")
        with self._lock:
            self._inside += 1
        try:
            return submit().result()
        except CancelledError:
            raise Busy("the server is closing") from None
        finally:
            with self._lock:
                self._inside -= 1
            self._places.release()

    def _turn(self, together: Together) -> None:
        asking: list[_Steps] = []
        for begun in range(MOST_TOGETHER):
            steps = self._next(bool(begun))
            if steps is None:
                break
            if steps.begin():
                asking.append(steps)
                if together.enough([each.question for each in asking]):
                    break
        _answer(asking, together)

    def _next(self, beside_others: bool) -> _Steps | None:
        with self._lock:
            if len(self._waiting) < (self.workers if beside_others else 1):
                return None
            return self._waiting.popleft()

    def close(self) -> None:
        """Finish what runs, turn away what waits or comes later, and end the threads."""
        with self._lock:
            self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            while self._waiting:
                self._waiting.popleft().future.cancel()


class _Steps:
    """Work that asks at most one question, and the future of its result."""

    def __init__(self, work: Generator):
        self.work = work
        self.context = contextvars.copy_context()
        self.future: Future = Future()
        self.entered = time.perf_counter()
        self.waited = 0.0
        self.question: Any = None

    def begin(self) -> bool:
        """Run up to the question; whether there is one."""
        self.waited = time.perf_counter() - self.entered
        return self._step(lambda: next(self.work))

    def go_on(self, answer: Any) -> None:
        if self._step(lambda: self.work.send(answer)):
            self.fail(RuntimeError("work asked a second question"))

    def fail(self, error: BaseException) -> None:
        if self._step(lambda: self.work.throw(error)):
            self.future.set_exception(error)

    def _step(self, step: Callable[[], Any]) -> bool:
        try:
            self.question = self.context.run(step)
            return True
        except StopIteration as end:
            self.future.set_result(end.value)
        except BaseException as error:
            self.future.set_exception(error)
        return False


def _answer(asking: list[_Steps], together: Together) -> None:
    """Answer all at once; where that fails, each alone, so that nobody pays for another's photo."""
    if not asking:
        return
    try:
        answers = together([each.question for each in asking])
    except Exception as error:
        if len(asking) == 1:
            asking[0].fail(error)
            return
        for each in asking:
            _answer([each], together)
        return
    for each, answer in zip(asking, answers, strict=True):
        each.go_on(answer)
