"""Work done ahead of its use, in order: one rule for fetching, rendering and sending."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_results(
    pool: Executor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
    discard: Callable[[Result], object] | None = None,
) -> Generator[Result]:
    """Yield the function of each item, in the items' order, while up to `ahead` more are worked on.

    An item is drawn only when it is submitted, so that `ahead` bounds what is held in memory. When
    the generator is closed early, waiting calls are cancelled and `discard` is called with each
    result that was not yielded. An error of the function is raised in its item's turn.
    """
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            if not future.cancel() and discard and future.exception() is None:
                discard(future.result())
