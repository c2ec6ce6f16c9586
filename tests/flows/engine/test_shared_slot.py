"""Tasks that share a slot: one at a time, and the slot is asked for once."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from flows.engine.shared_slot import SharedSlot


class Slot:
    """A slot, and what became of it."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals, self.asked, self.held, self.most = refusals, 0, 0, 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        self.asked += 1
        if self.asked <= self.refusals:
            raise OSError("no server")
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


def test_all_who_wait_share_one_hold_and_work_one_at_a_time() -> None:
    slot = Slot()
    shared = SharedSlot(slot.hold)
    working, most = [0], [0]
    together = threading.Barrier(6)

    def work(number: int) -> int:
        together.wait()
        with shared.turn():
            working[0] += 1
            most[0] = max(most[0], working[0])
            assert slot.held == 1
            time.sleep(0.05)
            working[0] -= 1
        return number

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [*range(6)]
    assert (most[0], slot.asked, slot.held) == (1, 1, 0)
    with shared.turn():
        assert (slot.asked, slot.held) == (2, 1), "given back when nobody wanted it"
    assert slot.held == 0


def test_a_failure_gives_the_slot_back() -> None:
    slot = Slot()
    shared = SharedSlot(slot.hold)
    with pytest.raises(ValueError, match="its own"), shared.turn():
        raise ValueError("its own")
    assert slot.held == 0
    with shared.turn():
        assert slot.held == 1


def test_where_it_cannot_be_had_the_next_asks_again() -> None:
    slot = Slot(refusals=1)
    shared = SharedSlot(slot.hold)
    with pytest.raises(OSError, match="no server"), shared.turn():
        pytest.fail("nobody works without the slot")
    with shared.turn():
        assert (slot.asked, slot.held) == (2, 1)
    assert slot.held == 0


def test_that_it_is_not_given_back_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    @contextmanager
    def lost() -> Iterator[None]:
        yield
        raise OSError("the server is away")

    with SharedSlot(lost).turn():
        pass
    assert "a slot was not given back: OSError('the server is away')" in caplog.text
