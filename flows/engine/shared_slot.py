"""One hold of a machine's slot for all tasks of a run that take turns under it.

To give the slot back and ask for it again between two packing tasks took 2 s on SQLite, whose
server refuses while another client writes, and whose client then waits: a run has up
to 150 of them.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager

logger = logging.getLogger(__name__)

Hold = Callable[[], AbstractContextManager[None]]


class SharedSlot:
    """A slot that is held from the first task that wants it until none wants it any more."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._wanting = 0
        self._holder: _Holder | None = None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and for the slot; one task at a time has it.

        Raises:
            Exception: the slot cannot be had; the next task asks again.
        """
        with self._counting:
            self._wanting += 1
        with self._turn:
            try:
                if self._holder is None:
                    self._holder = _Holder(self._hold)
                yield
            finally:
                with self._counting:
                    self._wanting -= 1
                    last = not self._wanting
                if last and self._holder:
                    self._holder.end()
                    self._holder = None


class _Holder:
    """Holds a slot in a thread of its own.

    What Prefect holds belongs to the task and the thread that asked, and ends with either.
    """

    def __init__(self, hold: Hold) -> None:
        self._over = threading.Event()
        begun: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._keep, args=(hold, begun), name="slot", daemon=True
        )
        self._thread.start()
        begun.result()

    def end(self) -> None:
        """Give the slot back."""
        self._over.set()
        self._thread.join()

    def _keep(self, hold: Hold, begun: "Future[None]") -> None:
        try:
            with hold():
                begun.set_result(None)
                self._over.wait()
        except BaseException as error:  # noqa: BLE001  handed to the task that asked for the slot
            if not begun.done():
                begun.set_exception(error)
            else:
                # The work is done; the slot comes free when its lease ends.
                logger.warning("a slot was not given back: %r", error)
