"""Fan work out over processes and take the results in order, a bounded number ahead."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

from storage.errors import RunError

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 2
"""Finished songs that may wait, beyond one per process: what bounds the memory."""


class Crew:
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
def hire(workers: int) -> Iterator[Crew]:
    """Start `workers` processes (0: one per core) and see them off at the end."""
    workers = workers or len(os.sched_getaffinity(0))
    if workers == 1:
        yield Crew(1, None)
        return
    # Spawned, not forked: the caller may hold threads and locks.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_leave_with_parent
    )
    try:
        yield Crew(workers, pool)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _leave_with_parent() -> None:
    """End this process when its parent dies: a killed run must not leave workers behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
