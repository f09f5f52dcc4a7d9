"""A bounded thread pool for inference: limited numbers of calls run and wait; further calls are refused at once."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from recognizer.core.errors import Busy
from recognizer.core.priorities import gives_way

Result = TypeVar("Result")
Returned = TypeVar("Returned")

log = logging.getLogger("recognizer")

#: Maximum number of calls that one thread processes as a batch.
MAX_BATCH = 4


class BatchFunction(Protocol):
    """Answers the questions of several calls at once, which is faster than one after the other."""

    def __call__(self, questions: list[Any]) -> Sequence[Any]:
        """The answers, in the order of the questions."""

    def enough(self, questions: list[Any]) -> bool:
        """Whether adding another question would not help, or would need too much memory."""


class Pool:
    """Threads that do the work of requests.

    Owns its threads and the number of waiting calls. Work that gives way (`priorities.giving_way`) is done on the thread that
    calls, beside them, and is not counted.

    Parameters
    ----------
    workers : int
        Maximum number of calls that run at once.
    queue : int
        Maximum number of calls that wait.

    Attributes
    ----------
    refused : int
        Calls refused because the queue was full, since the start.
    """

    def __init__(self, workers: int, queue: int):
        self.workers, self.queue = workers, queue
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._places = threading.BoundedSemaphore(workers + queue)
        self._lock = threading.Lock()
        self._inside = 0
        self._waiting: deque[_Call[Any]] = deque()
        self._closed = False
        self.refused = 0

    @property
    def inside(self) -> int:
        """Calls that are running or waiting now."""
        return self._inside

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def run_inference(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> tuple[Result, float]:
        """Call `work` on a thread of the pool and wait for it; the result, and how long it waited for a thread, in seconds.

        Raises
        ------
        Busy
            The queue is full, or the pool is closed.
        """
        if gives_way():
            return self._aside(work, *args, **kwargs), 0.0
        entered = time.perf_counter()

        def timed() -> tuple[float, Result]:
            return time.perf_counter() - entered, work(*args, **kwargs)

        # the context contains the id of the request, for the logs of the work
        context = contextvars.copy_context()
        waited, result = self._wait_for(lambda: self._submit(context.run, timed))
        return result, waited

    def run_batched(self, work: Generator[Any, Any, Result], batch: BatchFunction) -> tuple[Result, float]:
        """Like `run_inference`, for a generator that may yield one question and is then sent the answer.

        `batch` answers the questions of several such calls at once. A thread starts several calls only if so many are
        waiting that the other threads do not run out of work.
        """
        call = _Call(work)
        if gives_way():
            if self._aside(call.start):
                _answer([call], batch)
            return call.future.result(), 0.0

        def submit() -> Future[Result]:
            with self._lock:
                self._waiting.append(call)
            # one turn for each call; a turn that finds none has nothing to do, because another turn took the call
            self._submit(self._turn, batch)
            return call.future

        return self._wait_for(submit), call.waited

    def _aside(self, work: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        if self._closed:
            raise Busy("the server is shutting down")
        return work(*args, **kwargs)

    def _submit(self, work: Callable[..., Returned], *args: Any) -> Future[Returned]:
        with self._lock:
            if self._closed:
                raise CancelledError
            return self._executor.submit(self._unless_closed, work, *args)

    def _unless_closed(self, work: Callable[..., Returned], *args: Any) -> Returned:
        if self._closed:
            raise CancelledError
        return work(*args)

    def _wait_for(self, submit: Callable[[], Future[Returned]]) -> Returned:
        if not self._places.acquire(blocking=False):
            with self._lock:
                self.refused += 1
            raise Busy(f"{self.workers + self.queue} photos are being processed or waiting; try again shortly")
        with self._lock:
            self._inside += 1
        try:
            return submit().result()
        except CancelledError:
            raise Busy("the server is shutting down") from None
        finally:
            with self._lock:
                self._inside -= 1
            self._places.release()

    def _turn(self, batch: BatchFunction) -> None:
        asking: list[_Call[Any]] = []
        for started in range(MAX_BATCH):
            call = self._next(bool(started))
            if call is None:
                break
            if call.start():
                asking.append(call)
                if _is_full(batch, asking):
                    break
        _answer(asking, batch)

    def _next(self, in_addition: bool) -> _Call[Any] | None:
        with self._lock:
            if len(self._waiting) < (self.workers if in_addition else 1):
                return None
            return self._waiting.popleft()

    def close(self) -> None:
        """Finish running calls, refuse waiting and later ones, and end the threads."""
        with self._lock:
            self._closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            while self._waiting:
                self._waiting.popleft().future.cancel()


class _Call(Generic[Result]):
    """A call of `Pool.run_batched`: a generator that yields at most one question, and the future of its result."""

    def __init__(self, work: Generator[Any, Any, Result]):
        self.work = work
        self.context = contextvars.copy_context()
        self.future: Future[Result] = Future()
        self.entered = time.perf_counter()
        self.waited = 0.0
        self.question: Any = None

    def start(self) -> bool:
        """Run up to the question; whether there is one."""
        self.waited = time.perf_counter() - self.entered
        return self._step(lambda: next(self.work))

    def resume(self, answer: Any) -> None:
        """Run to the end with the answer."""
        if self._step(lambda: self.work.send(answer)):
            self.fail(RuntimeError("work asked a second question"))

    def fail(self, error: BaseException) -> None:
        """Raise `error` in the generator, which may handle it."""
        if self._step(lambda: self.work.throw(error)):
            self.future.set_exception(error)

    def _step(self, step: Callable[[], Any]) -> bool:
        """Run the generator; whether it yielded. Its result or error is set on the future."""
        try:
            self.question = self.context.run(step)
            return True
        except StopIteration as end:
            self.future.set_result(end.value)
        except BaseException as error:
            self.future.set_exception(error)
        return False


def _is_full(batch: BatchFunction, asking: list[_Call[Any]]) -> bool:
    """`enough`; if that fails, the calls that were started are answered without further ones."""
    try:
        return batch.enough([each.question for each in asking])
    except Exception:
        log.exception("the size of a batch could not be decided")
        return True


def _answer(asking: list[_Call[Any]], batch: BatchFunction) -> None:
    """Answer all questions at once or, if that fails, one by one, so that one photo does not fail the others."""
    if not asking:
        return
    try:
        answers = batch([each.question for each in asking])
    except Exception as error:
        if len(asking) == 1:
            asking[0].fail(error)
            return
        for each in asking:
            _answer([each], batch)
        return
    for each, answer in zip(asking, answers, strict=True):
        each.resume(answer)
