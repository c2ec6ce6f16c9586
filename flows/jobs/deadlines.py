"""Work in threads that can be ended: past its time, or because its flow is stopped.

Python ends no thread. So whoever works `within` a time limit is sent an exception, which it meets
between two of its own instructions: what it waits for in a library must return now and then.
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
"""Set when the flow is interrupted: nothing is begun any more, and what runs is ended."""
_at_work: "set[_Work]" = set()


class TimeLimit(NamedTuple):
    """How long some work may take, and which setting says so."""

    hours: float
    knob: str


class _Interruption(BaseException):
    """Not an `Exception`: nobody may take it for a failure of what he does."""


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
        """Have the thread raise this, unless it is done or has been told before."""
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
    """Do some work, which ends when its time is over or its flow is stopped.

    Raises:
        TimeLimitError: it ran past its time.
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
            f"{what} ran past its time limit of {limit.hours:g} h and was stopped; raise "
            f"{limit.knob} and run again, and it goes on from what is done"
        ) from None
    except _Stopped:
        raise StoppedError(f"{what} was stopped with its flow; again, it goes on") from None


@contextmanager
def obeyed() -> Iterator[None]:
    """Let whatever interrupts this block end all that its threads are doing, and wait for that."""
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
