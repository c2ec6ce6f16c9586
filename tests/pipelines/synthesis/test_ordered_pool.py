"""Fanning out: results in order, a bounded number ahead, a dead worker reported."""

import math
import os

import pytest

from pipelines.synthesis.ordered_pool import open_pool
from storage.errors import RunError


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers: int) -> None:
    with open_pool(workers) as pool:
        assert list(pool.in_order(math.factorial, range(9))) == [
            math.factorial(number) for number in range(9)
        ]


def test_jobs_are_taken_only_a_little_ahead() -> None:
    taken: list[int] = []

    def jobs() -> object:
        for number in range(50):
            taken.append(number)
            yield number

    with open_pool(2) as pool:
        results = pool.in_order(math.factorial, jobs())  # type: ignore[arg-type]
        next(results)
        assert len(taken) <= 5


def test_a_dead_worker_is_reported() -> None:
    with open_pool(2) as pool, pytest.raises(RunError, match="fewer workers"):
        list(pool.in_order(os._exit, [1]))
