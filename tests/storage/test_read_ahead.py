"""Results come in order, a bounded number ahead, and none is left behind."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.read_ahead import ordered_results


@pytest.mark.parametrize("ahead", [0, 1, 3, 50])
def test_order_and_bound(ahead: int) -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for number in range(20):
            drawn += 1
            yield number

    with ThreadPoolExecutor(4) as pool:
        for used, result in enumerate(ordered_results(pool, lambda n: n * n, items(), ahead)):
            assert result == used * used
            assert drawn <= used + 1 + ahead
    assert drawn == 20


def test_what_is_not_used_is_discarded() -> None:
    kept: list[int] = []
    ready = threading.Barrier(3)

    def work(number: int) -> int:
        ready.wait(10)
        return number

    with ThreadPoolExecutor(3) as pool:
        results = ordered_results(pool, work, range(100), 2, kept.append)
        assert next(results) == 0
        results.close()
    assert kept == [1, 2]


def test_an_error_is_raised_in_its_turn() -> None:
    kept: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        results = ordered_results(pool, lambda n: 1 / n, [2, 0, 4], 2, kept.append)
        assert next(results) == 0.5
        with pytest.raises(ZeroDivisionError):
            next(results)
    assert kept in ([], [0.25])
