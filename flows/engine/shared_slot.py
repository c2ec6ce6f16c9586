"""One hold of a machine's slot, and one pool of workers under it, for all packing tasks of a run.

To give the slot back and ask for it again between two packing tasks took 2 s on SQLite, whose
server refuses while another client writes, and whose client then waits: a run has up
to 150 of them. And tasks that did not share their workers would leave cores idle while the last
unit of each is packed.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from pipelines.packing.unit_work import PackingPool, PackingTurn

Say = Callable[[str], object]
Hold = Callable[[Say], AbstractContextManager[None]]
OpenPool = Callable[[int], AbstractContextManager[PackingPool]]


class SharedSlot:
    """A slot and a pool, from the first task that wants them until none wants them any more."""

    def __init__(self, hold: Hold, open_pool: OpenPool) -> None:
        """Share what these open.

        Args:
            hold: waits for the slot, saying for whom, and holds it.
            open_pool: opens a pool of so many workers; 0: one for each core.
        """
        self._hold, self._open_pool = hold, open_pool
        self._counting, self._opening = threading.Lock(), threading.Lock()
        self._wanting = 0
        self._pool: PackingPool | None = None
        self._held = ExitStack()

    @contextmanager
    def turn(self, say: Say, workers: int = 0) -> Iterator[PackingTurn]:
        """Wait for the slot, then until the pool has too little to do; yield one's turn at it.

        The first who comes decides on the number of workers: a run has one setting for all.

        Raises:
            Exception: the slot cannot be had; the next task asks again.
        """
        with self._counting:
            self._wanting += 1
        try:
            with self._opened(say, workers).turn() as turn:
                yield turn
        finally:
            with self._counting:
                self._wanting -= 1
                last = not self._wanting
            if last:
                self._close()

    def _opened(self, say: Say, workers: int) -> PackingPool:
        with self._opening:
            if self._pool is None:
                with ExitStack() as stack:
                    stack.enter_context(self._hold(say))
                    self._pool = stack.enter_context(self._open_pool(workers))
                    self._held = stack.pop_all()
            return self._pool

    def _close(self) -> None:
        # Whoever wants it again meanwhile waits at the first lock, and opens it anew.
        with self._opening:
            with self._counting:
                wanted = self._wanting > 0
            if not wanted and self._pool is not None:
                self._pool = None
                self._held.close()
