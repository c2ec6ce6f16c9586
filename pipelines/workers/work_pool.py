"""Worker threads that take the work of many callers from one queue.

Callers that took turns would leave workers idle while the last piece of each is done. Here the next
caller is let in as soon as fewer pieces wait than there are workers: it adds its own while the last
pieces of the callers before are still being done.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, Protocol, Self, TypeVar

from pipelines.workers.fan_out import WAIT_SECONDS, as_they_come
from storage.errors import RunError

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Worker(Protocol[Item_contra, Result_co]):
    """Does one item at a time; it is made, used and closed by one thread."""

    def fits(self, item: Item_contra) -> bool:
        """Whether it can do this item. One that was stopped can do none."""
        ...

    def do(self, item: Item_contra) -> Result_co:
        """Do an item."""
        ...

    def stop(self) -> None:
        """Let its item fail soon; called from any thread."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class WorkQueue(Generic[Item]):
    """Decides what is done next and when the next caller is let in; it knows no threads.

    What an earlier caller brought comes first. Of one caller's pieces the largest come first, so
    that workers end at nearly the same time when no caller brings more.
    """

    def __init__(self, workers: int, size: Callable[[Item], float]) -> None:
        self.workers = workers
        self._size = size
        self._waiting: deque[Item] = deque()
        self._expected = 0
        """Callers that were let in and have brought nothing yet."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_open(self) -> bool:
        """Whether the next caller is let in."""
        return not self._expected and len(self._waiting) < self.workers

    def let_in(self) -> None:
        """Expect what a caller brings."""
        self._expected += 1

    def bring(self, pieces: Iterable[Item]) -> None:
        """Add what a caller brings; nothing, if it leaves without."""
        self._expected -= 1
        self.add(pieces)

    def add(self, pieces: Iterable[Item]) -> None:
        """Add more of a caller that has brought something before."""
        self._waiting.extend(sorted(pieces, key=self._size, reverse=True))

    def take(self) -> Item | None:
        """Return the next piece; None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    def withdraw(self, leaves: Callable[[Item], bool]) -> None:
        """Remove those pieces of which this holds."""
        self._waiting = deque(piece for piece in self._waiting if not leaves(piece))


class _Piece(Generic[Item, Result]):
    def __init__(self, item: Item, turn: "Turn[Item, Result]") -> None:
        self.item, self.turn = item, turn
        self.future: Future[Result] = Future()


class Turn(Generic[Item, Result]):
    """A caller that was let in."""

    def __init__(self, pool: "WorkPool[Item, Result]") -> None:
        self._pool = pool
        self.has_brought = self.is_leaving = False

    def do(
        self, items: Sequence[Item], on_done: Callable[[Result], None] | None = None
    ) -> list[Result]:
        """Return the result of each item, in the items' order.

        `on_done` is called here with each result as it comes. A failing item does not keep the
        others from being done; the first one's failure is raised when they are. An error that is
        raised here meanwhile, such as Ctrl-C, stops what is being done of these items.
        """
        pieces = [_Piece(item, self) for item in items]
        try:
            self._pool._bring(self, pieces)
            for future in as_they_come([piece.future for piece in pieces]):
                if future.exception() is None and on_done:
                    on_done(future.result())
        except BaseException:
            self._pool._withdraw(self)
            raise
        return [piece.future.result() for piece in pieces]


class WorkPool(Generic[Item, Result]):
    """Threads with a worker each, for callers that come one after the other.

    Args:
        workers: threads at most; they start when there is work for them.
        hire: makes a worker that fits an item.
        size: of an item, in any unit.
        interrupt: called when all who are in leave: lets everything fail that workers wait for.
    """

    def __init__(
        self,
        workers: int,
        hire: Callable[[Item], Worker[Item, Result]],
        size: Callable[[Item], float],
        interrupt: Callable[[], None],
    ) -> None:
        self._hire, self._interrupt = hire, interrupt
        self._queue: WorkQueue[_Piece[Item, Result]] = WorkQueue(
            workers, lambda piece: size(piece.item)
        )
        self._changed = threading.Condition()
        self._door: deque[Turn[Item, Result]] = deque()
        self._inside: set[Turn[Item, Result]] = set()
        self._at_work: dict[_Piece[Item, Result], Worker[Item, Result] | None] = {}
        self._threads: list[threading.Thread] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @contextmanager
    def turn(self) -> Iterator[Turn[Item, Result]]:
        """Wait until there is need for more work, in the order in which callers come."""
        turn = Turn(self)
        with self._changed:
            self._door.append(turn)
            try:
                while not (self._door[0] is turn and self._queue.is_open):
                    self._changed.wait(WAIT_SECONDS)
            finally:
                self._door.remove(turn)
            self._queue.let_in()
            self._inside.add(turn)
        try:
            yield turn
        finally:
            with self._changed:
                self._inside.discard(turn)
                if not turn.has_brought:
                    self._queue.bring([])
                self._changed.notify_all()

    def _bring(self, turn: Turn[Item, Result], pieces: Sequence[_Piece[Item, Result]]) -> None:
        with self._changed:
            if turn.has_brought:
                self._queue.add(pieces)
            else:
                self._queue.bring(pieces)
            turn.has_brought = True
            needed = min(self._queue.workers, len(self._queue) + len(self._at_work))
            while len(self._threads) < needed:
                # A daemon: what it does starts again from the beginning, so nobody waits for it.
                thread = threading.Thread(target=self._work, name="worker", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify_all()

    def _withdraw(self, turn: Turn[Item, Result]) -> None:
        """Take back what a caller brought, stop what is being done of it, and wait for that."""
        with self._changed:
            turn.is_leaving = True
            self._queue.withdraw(lambda piece: piece.turn is turn)
            for piece, worker in self._at_work.items():
                if piece.turn is turn and worker and not piece.future.done():
                    worker.stop()
            if all(one.is_leaving for one in self._inside):
                self._interrupt()
            self._changed.notify_all()
            while any(piece.turn is turn for piece in self._at_work):
                self._changed.wait(WAIT_SECONDS)

    def _work(self) -> None:
        worker: Worker[Item, Result] | None = None
        while piece := self._next():
            try:
                if worker and not worker.fits(piece.item):
                    worker.close()
                    worker = None
                worker = worker or self._hire(piece.item)
                if self._begins(piece, worker):
                    piece.future.set_result(worker.do(piece.item))
            except BaseException as error:  # noqa: BLE001  handed to the caller
                piece.future.set_exception(error)
            finally:
                self._ends(piece)
        if worker:
            worker.close()

    def _next(self) -> _Piece[Item, Result] | None:
        """Wait for a piece of work; None if there will be no more."""
        with self._changed:
            while (piece := self._queue.take()) is None:
                if self._closed:
                    return None
                self._changed.wait()
            self._at_work[piece] = None
            # Whoever waits at the door may be let in now.
            self._changed.notify_all()
            return piece

    def _begins(self, piece: _Piece[Item, Result], worker: Worker[Item, Result]) -> bool:
        """Note who does a piece; False if its caller left meanwhile."""
        with self._changed:
            self._at_work[piece] = worker
            return not piece.turn.is_leaving

    def _ends(self, piece: _Piece[Item, Result]) -> None:
        with self._changed:
            if not piece.future.done():
                piece.future.set_exception(RunError("the work was stopped"))
            del self._at_work[piece]
            self._changed.notify_all()
