"""The pool: work alone and side by side, turned away when full, and nobody pays for somebody else's failure."""

from __future__ import annotations

import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from recognizer.core.errors import Busy
from recognizer.core.pool import MAX_BATCH, Pool
from recognizer.core.priorities import giving_way

from .streams import wait_for

NAME = contextvars.ContextVar("NAME", default="")


class Doubling:
    """Answers twice the question; notes what was asked together, and fails where a question is None."""

    def __init__(self, most: int = 100):
        self.asked: list[list] = []
        self._most = most

    def __call__(self, questions):
        self.asked.append(list(questions))
        return [2 * each for each in questions]

    def enough(self, questions):
        return len(questions) >= self._most


class Gate:
    """Work that holds all threads of an idle pool until the gate is opened."""

    def __init__(self, pool: Pool):
        self._open, self._executor = threading.Event(), ThreadPoolExecutor(pool.workers)
        self._held = [self._executor.submit(pool.run_inference, self._open.wait, 60) for _ in range(pool.workers)]
        wait_for(lambda: pool.inside == pool.workers)

    def open(self):
        self._open.set()
        for each in self._held:
            each.result(10)
        self._executor.shutdown()


def asks(question):
    return ((yield question), NAME.get(), threading.current_thread().name)


@pytest.fixture
def pool():
    made = Pool(2, 30)
    yield made
    made.close()


def all_of(pool, works, together):
    """The results of all work, or its error, when all of it waited before any began; each by a thread of its own."""

    def one(work):
        try:
            return pool.run_batched(work, together)[0]
        except Exception as error:
            return error

    gate = Gate(pool)
    with ThreadPoolExecutor(len(works)) as callers:
        found = []
        for done, work in enumerate(works, 1):  # so that they wait in this order
            found.append(callers.submit(one, work))
            wait_for(lambda done=done: pool.inside == pool.workers + done)
        gate.open()
        return [each.result(10) for each in found]


def test_work_is_done_on_a_thread_of_the_pool_and_says_how_long_it_waited(pool):
    result, waited = pool.run_inference(lambda a, b: (a + b, threading.current_thread().name), 1, b=2)
    assert result[0] == 3 and result[1].startswith("inference") and 0 <= waited < 10
    result, waited = pool.run_batched(asks(4), Doubling())
    assert result[0] == 8 and result[2].startswith("inference") and 0 <= waited < 10


def test_work_that_asks_nothing_is_just_done(pool):
    def silent():
        return "done"
        yield

    together = Doubling()
    assert pool.run_batched(silent(), together)[0] == "done" and together.asked == []


def test_alone_nobody_is_waited_for(pool):
    together = Doubling()
    assert [pool.run_batched(asks(each), together)[0][0] for each in (1, 2, 3)] == [2, 4, 6]
    assert together.asked == [[1], [2], [3]]


def test_what_waits_is_answered_together_and_each_gets_its_own_answer(pool):
    together = Doubling()
    found = all_of(pool, [asks(each) for each in range(20)], together)
    assert [answer for answer, _, _ in found] == [2 * each for each in range(20)]
    assert sorted(sum(together.asked, [])) == list(range(20))
    sizes = [len(each) for each in together.asked]
    assert max(sizes) == MAX_BATCH and len(sizes) < 12


def test_the_last_that_wait_are_left_to_the_other_threads():
    pool, together = Pool(3, 30), Doubling()
    all_of(pool, [asks(each) for each in range(3)], together)
    pool.close()
    assert max(map(len, together.asked)) == 1


def test_enough_is_enough(pool):
    together = Doubling(most=2)
    all_of(pool, [asks(each) for each in range(16)], together)
    assert max(map(len, together.asked)) == 2


def test_a_failure_is_only_its_own(pool):
    def broken():
        raise ValueError("a broken photo")
        yield

    def broken_later():
        yield 1
        raise KeyError("later")

    together = Doubling()
    works = [asks(0), broken(), asks(None), broken_later(), *(asks(each) for each in range(4, 12))]
    found = all_of(pool, works, together)
    assert [type(each) for each in found[1:4]] == [ValueError, TypeError, KeyError]
    assert [each[0] for each in (found[0], *found[4:])] == [0, *(2 * each for each in range(4, 12))]


def test_a_batch_that_cannot_be_sized_is_answered_as_it_is(pool):
    class Unsure(Doubling):
        def enough(self, questions):
            raise RuntimeError("out of order")

    found = all_of(pool, [asks(each) for each in range(8)], Unsure())
    assert [answer for answer, _, _ in found] == [2 * each for each in range(8)]


def test_work_may_get_over_a_failed_answer(pool):
    def stubborn():
        try:
            yield None
        except TypeError:
            return "without"

    assert pool.run_batched(stubborn(), Doubling())[0] == "without"


def test_a_second_question_is_a_mistake(pool):
    def curious():
        yield 1
        yield 2

    with pytest.raises(RuntimeError, match="second question"):
        pool.run_batched(curious(), Doubling())


def test_each_keeps_its_own_context(pool):
    def named(name):
        NAME.set(name)
        return pool.run_batched(asks(1), Doubling())[0][1]

    gate = Gate(pool)
    with ThreadPoolExecutor(8) as callers:
        found = [callers.submit(contextvars.copy_context().run, named, f"caller {each}") for each in range(8)]
        wait_for(lambda: pool.inside == 10)
        gate.open()
        assert [each.result(10) for each in found] == [f"caller {each}" for each in range(8)]


def test_a_full_pool_turns_away_either_kind():
    pool = Pool(1, 1)
    gate = Gate(pool)
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(pool.run_batched, asks(1), Doubling())
        wait_for(lambda: pool.inside == 2)
        for ask in (lambda: pool.run_inference(int), lambda: pool.run_batched(asks(1), Doubling())):
            with pytest.raises(Busy):
                ask()
        assert pool.refused == 2
        gate.open()
        assert waiting.result(10)[0][0] == 2
    assert pool.inside == 0
    pool.close()


def test_who_waits_when_the_pool_closes_or_comes_later_is_turned_away():
    pool = Pool(1, 5)
    gate = Gate(pool)
    with ThreadPoolExecutor(3) as callers:
        waiting = [callers.submit(pool.run_batched, asks(1), Doubling()), callers.submit(pool.run_inference, int)]
        wait_for(lambda: pool.inside == 3)
        closing = callers.submit(pool.close)
        wait_for(lambda: pool.closed)
        gate.open()
        for each in waiting:
            with pytest.raises(Busy, match="shutting down"):
                each.result(10)
        closing.result(10)
    for ask in (lambda: pool.run_inference(int), lambda: pool.run_batched(asks(1), Doubling())):
        with pytest.raises(Busy, match="shutting down"):
            ask()
    assert pool.inside == 0


def test_work_that_gives_way_takes_no_place():
    pool, together = Pool(1, 0), Doubling()
    gate = Gate(pool)
    try:
        with pytest.raises(Busy):
            pool.run_batched(asks(1), together)
        with giving_way():
            here = threading.current_thread().name
            assert pool.run_inference(lambda: (threading.current_thread().name, pool.inside)) == ((here, 1), 0.0)
            assert pool.run_batched(asks(4), together) == ((8, "", here), 0.0)
            with pytest.raises(ZeroDivisionError):
                pool.run_inference(lambda: 1 / 0)
        with pytest.raises(Busy):
            pool.run_batched(asks(1), together)
    finally:
        gate.open()
        pool.close()
    with giving_way(), pytest.raises(Busy, match="shutting down"):
        pool.run_inference(lambda: None)
    assert pool.refused == 2
