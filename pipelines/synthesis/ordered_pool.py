"""Fan work out over processes and take the results in order, a bounded number ahead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from pipelines.workers.fan_out import cores, worker_pool
from storage.errors import RunError

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 2
"""Finished songs that may wait, beyond one per process: what bounds the memory."""


class OrderedPool:
    """Some processes, or none: with one worker the work is done right here."""

    def __init__(self, workers: int, pool: ProcessPoolExecutor | None) -> None:
        self.workers = workers
        self._pool = pool

    def in_order(self, work: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Yield `work(job)` for each job, in the jobs' order. `work` is a top-level function.

        Raises:
            RunError: a process died under its job.
        """
        if self._pool is None:
            yield from map(work, jobs)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(work, job))
                if len(waiting) >= self.workers + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise RunError(
                f"one of {self.workers} rendering processes died, most likely for want of memory: "
                "run again with fewer workers"
            ) from error


@contextmanager
def open_pool(workers: int) -> Iterator[OrderedPool]:
    """Start `workers` processes (0: one per core) and see them off at the end."""
    workers = workers or cores()
    if workers == 1:
        yield OrderedPool(1, None)
        return
    with worker_pool(workers) as pool:
        yield OrderedPool(workers, pool)
