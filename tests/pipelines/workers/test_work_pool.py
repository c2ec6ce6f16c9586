"""Many callers, one queue: what is done when, by whom, and what becomes of it when they leave."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from pipelines.workers.work_pool import Turn, WorkPool
from storage.errors import RunError, SourceError

Item = Callable[["Hand"], object]


class Hand:
    """A worker that calls what it is given, with itself."""

    def __init__(self, hired: "list[Hand]") -> None:
        hired.append(self)
        self.stopped, self.closed = threading.Event(), False
        self.thread = threading.get_ident()

    def fits(self, item: Item) -> bool:
        return not self.stopped.is_set()

    def do(self, item: Item) -> object:
        assert threading.get_ident() == self.thread, "a worker belongs to one thread"
        return item(self)

    def stop(self) -> None:
        self.stopped.set()

    def close(self) -> None:
        self.closed = True


class Pool:
    """A pool and its workers."""

    def __init__(self, workers: int) -> None:
        self.hired: list[Hand] = []
        self.interrupted = threading.Event()
        self.sizes: dict[Item, float] = {}
        self.pool: WorkPool[Item, object] = WorkPool(
            workers,
            lambda _: Hand(self.hired),
            lambda item: self.sizes.get(item, 0.0),
            self.interrupted.set,
        )

    @contextmanager
    def turn(self) -> Iterator[Turn[Item, object]]:
        with self.pool.turn() as turn:
            yield turn

    def do(self, *items: Item) -> list[object]:
        with self.turn() as turn:
            return turn.do(items)


@contextmanager
def opened(workers: int) -> Iterator[Pool]:
    made = Pool(workers)
    with made.pool:
        yield made
    assert all(hand.closed for hand in made.hired)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_results_are_in_order_and_told_as_they_come() -> None:
    told: list[object] = []
    first = threading.Event()

    def slow(_: Hand) -> str:
        assert first.wait(60)
        return "slow"

    def quick(_: Hand) -> str:
        return "quick"

    def note(result: object) -> None:
        told.append(result)
        first.set()

    with opened(2) as pool, pool.turn() as turn:
        assert turn.do([slow, quick], note) == ["slow", "quick"]
    assert told == ["quick", "slow"]


def test_the_largest_come_first() -> None:
    order: list[float] = []
    items: list[Item] = [partial(_note, order, size) for size in (2.0, 5.0, 3.0)]
    with opened(1) as pool:
        pool.sizes.update(zip(items, (2.0, 5.0, 3.0), strict=True))
        pool.do(*items)
    assert order == [5.0, 3.0, 2.0]


def _note(order: list[float], size: float, _: Hand) -> None:
    order.append(size)


def test_no_more_workers_than_there_is_work_for() -> None:
    with opened(8) as pool:
        pool.do(lambda _: 1)
        pool.do(*[lambda _: 1] * 3)
    assert 1 <= len(pool.hired) <= 3


def test_a_failing_item_keeps_none_from_being_done() -> None:
    done: list[int] = []

    def fails(_: Hand) -> object:
        raise SourceError("not delivered")

    with opened(2) as pool:
        with pytest.raises(SourceError, match="not delivered"):
            pool.do(fails, *[lambda _: done.append(1)] * 4)
        assert len(done) == 4
        assert pool.do(lambda _: "after") == ["after"]


def test_the_next_caller_comes_in_when_too_little_waits_for_the_workers() -> None:
    go = [threading.Event() for _ in range(3)]
    inside: list[int] = []

    def call(pool: Pool, number: int, items: list[Item]) -> None:
        with pool.turn() as turn:
            inside.append(number)
            turn.do(items)

    def waits_for(event: threading.Event) -> Item:
        return lambda _: event.wait(60)

    with opened(2) as pool, ThreadPoolExecutor(3) as threads:
        threads.submit(call, pool, 0, [waits_for(go[0])] * 4)
        until(lambda: inside == [0])
        threads.submit(call, pool, 1, [waits_for(go[1])] * 4)
        until(lambda: len(pool.pool._door) == 1)
        threads.submit(call, pool, 2, [])
        until(lambda: len(pool.pool._door) == 2)
        assert inside == [0], "two are being done and two wait: enough for two workers"
        go[0].set()
        until(lambda: inside == [0, 1])
        assert not go[1].is_set()
        go[1].set()
        until(lambda: inside == [0, 1, 2])


def test_who_brings_nothing_lets_the_next_one_in() -> None:
    with opened(1) as pool, ThreadPoolExecutor(1) as threads:
        with pool.turn():
            later = threads.submit(pool.do, lambda _: "later")
            until(lambda: len(pool.pool._door) == 1)
            assert not later.done(), "who was let in is expected to bring something"
        assert later.result(60) == ["later"]


class Waits:
    """An item that is done until its worker is stopped."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def __call__(self, hand: Hand) -> object:
        self.begun.set()
        assert hand.stopped.wait(60)
        raise RunError("the work was stopped")


def test_who_is_interrupted_takes_back_its_own_work_alone() -> None:
    mine, theirs, go = Waits(), threading.Event(), threading.Event()

    def other(_: Hand) -> str:
        theirs.set()
        assert go.wait(60)
        return "other"

    def interrupt(_: object) -> None:
        assert mine.begun.wait(60)
        assert theirs.wait(60)
        raise KeyboardInterrupt

    with opened(3) as pool, ThreadPoolExecutor(1) as threads:
        with pytest.raises(KeyboardInterrupt), pool.turn() as turn:
            others = threads.submit(pool.do, other)
            until(lambda: len(pool.pool._door) == 1)
            turn.do([lambda _: 1, mine], interrupt)
        assert not pool.interrupted.is_set(), "another caller still works"
        go.set()
        assert others.result(60) == ["other"]
        assert sum(hand.stopped.is_set() for hand in pool.hired) == 1
        assert pool.do(lambda _: "fit") == ["fit"], "a stopped worker is replaced"


def test_what_waits_is_not_begun_after_an_interruption() -> None:
    done: list[int] = []
    first = Waits()

    def later(_: Hand) -> None:
        assert pool.interrupted.wait(60)
        done.append(1)

    def interrupt(_: object) -> None:
        assert first.begun.wait(60)
        raise KeyboardInterrupt

    with opened(2) as pool:
        with pytest.raises(KeyboardInterrupt), pool.turn() as turn:
            pool.sizes[first] = 2.0
            # One worker waits; the other does one piece, on which this caller is interrupted.
            turn.do([first, lambda _: 1, *[later] * 5], interrupt)
        assert pool.interrupted.is_set(), "all who were in leave"
        assert len(done) <= 1, "what had begun by then"


def test_where_no_worker_can_be_hired_the_item_fails() -> None:
    def refuse(_: Item) -> Hand:
        raise RunError("a worker process cannot start")

    pool: WorkPool[Item, object] = WorkPool(1, refuse, lambda _: 0.0, lambda: None)
    with pool, pytest.raises(RunError, match="cannot start"), pool.turn() as turn:
        turn.do([lambda _: 1])
