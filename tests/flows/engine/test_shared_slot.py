"""Tasks that share a slot and a pool: both are asked for once, and tasks overlap in the pool."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from flows.engine.shared_slot import Say, SharedSlot
from pipelines.workers.work_pool import WorkPool


class Does:
    """A worker that calls what it is given."""

    def fits(self, item: Callable[[], str]) -> bool:
        return True

    def do(self, item: Callable[[], str]) -> str:
        return item()

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class Slot:
    """A slot and a pool, and what became of them."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals, self.asked, self.held = refusals, 0, 0
        self.workers: list[int] = []

    @contextmanager
    def hold(self, say: Say) -> Iterator[None]:
        self.asked += 1
        say("waits")
        if self.asked <= self.refusals:
            raise OSError("no server")
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    @contextmanager
    def open_pool(self, workers: int) -> Iterator[Any]:
        self.workers.append(workers)
        with WorkPool(workers, lambda _: Does(), lambda _: 1.0, lambda: None) as pool:
            yield pool
        assert self.held == 1, "the pool ends before the slot is given back"

    def shared(self) -> SharedSlot:
        return SharedSlot(self.hold, self.open_pool)


def test_all_who_wait_share_one_hold_and_one_pool() -> None:
    slot, said = Slot(), list[str]()
    shared = slot.shared()
    together = threading.Barrier(6)

    def work(number: int) -> list[str]:
        together.wait()
        with shared.turn(said.append, 2) as turn:
            assert slot.held == 1
            return turn.do([lambda: str(number)])  # type: ignore[list-item,return-value]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [[str(number)] for number in range(6)]
    assert (slot.asked, slot.held, slot.workers, said) == (1, 0, [2], ["waits"])
    with shared.turn(said.append, 3):
        assert (slot.asked, slot.held) == (2, 1), "given back when nobody wanted it"
    assert (slot.held, slot.workers) == (0, [2, 3])


def test_a_task_begins_while_the_last_piece_of_the_one_before_is_done() -> None:
    shared = Slot().shared()
    begun = threading.Event()

    def last_piece() -> str:
        assert begun.wait(60), "the other task waits for this one"
        return "last"

    def piece() -> str:
        begun.set()
        return "first"

    def task(pieces: list[Callable[[], str]]) -> list[Any]:
        with shared.turn(str, 2) as turn:
            return turn.do(pieces)  # type: ignore[arg-type]

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(task, [one]) for one in (last_piece, piece)]
        assert [future.result() for future in done] == [["last"], ["first"]]


def test_a_failure_gives_the_slot_back() -> None:
    slot = Slot()
    shared = slot.shared()
    with pytest.raises(ValueError, match="its own"), shared.turn(str, 1):
        raise ValueError("its own")
    assert slot.held == 0
    with shared.turn(str, 1):
        assert slot.held == 1


def test_where_it_cannot_be_had_the_next_asks_again() -> None:
    slot = Slot(refusals=1)
    shared = slot.shared()
    with pytest.raises(OSError, match="no server"), shared.turn(str, 1):
        pytest.fail("nobody works without the slot")
    with shared.turn(str, 1):
        assert (slot.asked, slot.held) == (2, 1)
    assert slot.held == 0
