"""Work in threads that can be ended: past its time, or because its flow is stopped.

Python cannot end a thread. So work that runs `within` a time limit is sent an exception, which is
raised between two of its own instructions: a library call that it waits for must return now and
then.
"""

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from storage.errors import StoppedError, TimeLimitError

STOP_SECONDS = 90.0
"""For all work to end when a flow is stopped: a job's checkpoint, and some more."""
POLL_SECONDS = 0.05

stopping = threading.Event()
"""Set when the flow is interrupted: nothing new begins, and what runs is ended."""
_at_work: "set[_Work]" = set()


class TimeLimit(NamedTuple):
    """How long some work may take, and the setting that limits it."""

    hours: float
    setting: str


class _Interruption(BaseException):
    """Not an `Exception`: no handler may take it for a failure of the work."""


class _Late(_Interruption):
    pass


class _Stopped(_Interruption):
    pass


class _Work:
    """What one thread does; it is interrupted once at most."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._sent = self._over = False

    def interrupt(self, kind: type[_Interruption]) -> None:
        """Have the thread raise this, unless it is done or was interrupted before."""
        if self._sent:
            return
        with self._lock:
            if not (self._sent or self._over):
                self._sent = True
                _send(self._thread, kind)

    def end(self) -> None:
        """Let nothing be raised any more."""
        with self._lock:
            self._over = True
            if self._sent:
                _send(self._thread, None)


@contextmanager
def within(limit: TimeLimit, what: str) -> Iterator[None]:
    """Do some work, which ends when its time limit is reached or its flow is stopped.

    Raises:
        TimeLimitError: it exceeded its time limit.
        StoppedError: its flow was stopped.
    """
    try:
        work = _Work()
        timer = threading.Timer(limit.hours * 3600, work.interrupt, [_Late])
        timer.daemon = True
        timer.start()
        _at_work.add(work)
        try:
            if stopping.is_set():
                raise _Stopped
            yield
        finally:
            timer.cancel()
            work.end()
            _at_work.discard(work)
    except _Late:
        raise TimeLimitError(
            f"{what} exceeded its time limit of {limit.hours:g} h and was stopped; raise "
            f"{limit.setting} and run again: it continues from what is done"
        ) from None
    except _Stopped:
        raise StoppedError(f"{what} was stopped with its flow; run it again to continue") from None


@contextmanager
def interruptible() -> Iterator[None]:
    """Where this block is interrupted, end all work of its threads, and wait for that."""
    stopping.clear()
    try:
        yield
    except BaseException:
        stop()
        raise


def stop() -> None:
    """End all work, and wait until it has ended."""
    stopping.set()
    for work in list(_at_work):
        work.interrupt(_Stopped)
    deadline = time.monotonic() + STOP_SECONDS
    while _at_work and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _send(thread: int, kind: type[_Interruption] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(kind) if kind else None
    )
