"""The same function over many items in worker processes that never outlive this one."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

from storage.errors import RunError, StemworksError
from storage.processes import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

_SPAWNING = threading.Lock()
WAIT_SECONDS = 1.0
"""Python raises pending exceptions in a thread, such as a timeout, only between two waits."""


def fan_out(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int = 0,
    on_done: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Return the function of each item, in the items' order.

    `workers` 0 takes one per core; one worker, or one item, runs in this process. `on_done` is
    called here with each result as it comes. A failing item does not keep the others from being
    done; the first item's failure is raised when they are.

    Raises:
        RunError: a worker died: killed, out of memory, or crashed in a decoder.
    """
    count = min(workers or cores(), len(items))
    report = on_done or (lambda _: None)
    if count <= 1:
        return _in_turn(function, items, report)
    with worker_pool(count) as pool:
        return _gather([pool.submit(function, item) for item in items], report)


@contextmanager
def worker_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that never outlive this one; an error in the block ends them at once."""
    context = _WorkerContext()
    pool = ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        # Work in progress starts again from the beginning: it is not waited for.
        pool.shutdown(wait=False, cancel_futures=True)
        context.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def as_they_come(futures: Iterable[Future[Result]]) -> Iterator[Future[Result]]:
    """Yield futures as they are done; unlike the library's, it can be interrupted in a thread."""
    left = set(futures)
    while left:
        done, left = wait(left, WAIT_SECONDS, FIRST_COMPLETED)
        yield from done


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def _in_turn(
    function: Callable[[Item], Result], items: Sequence[Item], report: Callable[[Result], None]
) -> list[Result]:
    results: list[Result] = []
    failures: list[StemworksError] = []
    for item in items:
        try:
            results.append(function(item))
        except StemworksError as error:
            failures.append(error)
        else:
            report(results[-1])
    if failures:
        raise failures[0]
    return results


def _gather(futures: list[Future[Result]], report: Callable[[Result], None]) -> list[Result]:
    for future in as_they_come(futures):
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            done = sum(f.done() and f.exception() is None for f in futures)
            raise RunError(
                f"a worker process died with {done} of {len(futures)} pieces done (killed, out of "
                "memory, or crashed in a decoder); what is done is kept: run again, with fewer "
                "workers if memory is short"
            ) from error
        if error is None:
            report(future.result())
    return [future.result() for future in futures]


def _start_worker(parent: int) -> None:
    """Tie a fresh worker's life to its parent's."""
    die_with_parent(signal.SIGKILL)
    # The parent may have died before the kernel was asked.
    if os.getppid() != parent:
        os._exit(1)
    # Ctrl-C reaches the whole group; what to do about it is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _WorkerProcess(SpawnProcess):
    """A spawned process that does not import the parent's main module.

    That module is the command line with its orchestrator: seconds and a hundred megabytes for each
    worker, which needs none of it.
    """

    def start(self) -> None:
        with _SPAWNING:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class _WorkerContext(SpawnContext):
    """Starts the workers of one executor and remembers them."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[multiprocessing.process.BaseProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> _WorkerProcess:  # type: ignore[override]  # noqa: N802
        """Return a worker that is not started yet."""
        process = _WorkerProcess(*args, **kwargs)
        self._started.append(process)
        return process

    def kill(self) -> None:
        """End every worker at once."""
        for process in self._started:
            if process.pid is not None:
                process.kill()
