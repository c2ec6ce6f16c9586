"""Fan work out over processes and take the results in order, a bounded number ahead."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from typing import TypeVar

from pipelines.workers.fan_out import cores, worker_pool
from storage.errors import RunError
from storage.read_ahead import ordered_results

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 1
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
        try:
            with closing(ordered_results(self._pool, work, jobs, self.workers + AHEAD)) as results:
                yield from results
        except BrokenProcessPool as error:
            raise RunError(
                f"one of {self.workers} rendering processes died, probably out of memory: "
                "run again with fewer workers"
            ) from error


@contextmanager
def open_pool(workers: int) -> Iterator[OrderedPool]:
    """Start `workers` processes (0: one per core) and end them afterwards."""
    workers = workers or cores()
    if workers == 1:
        yield OrderedPool(1, None)
        return
    with worker_pool(workers) as pool:
        yield OrderedPool(workers, pool)
