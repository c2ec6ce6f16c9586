"""One function in a child process that may crash, hang or outgrow its memory without harm.

`python -m pipelines.workers.isolation SOCKET MEMORY_MB PARENT` is the child. It starts as a program
of its own and is never forked: a fork of a process with threads may deadlock.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar

from storage.errors import LostError, RunError, StemworksError
from storage.processes import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

START_SECONDS = 120.0
"""Within which a child must have imported what it is to run."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Workers are as many as cores; threads of each would only hold memory."""


class _Reply(NamedTuple):
    result: object = None
    error: StemworksError | None = None
    cpu_seconds: float = 0.0
    """User and system time since the reply before, of the child."""
    peak_bytes: int = 0


class Isolated(Generic[Item, Result]):
    """Calls a function in a child process, one item at a time; a lost child is replaced.

    The function must be importable by name. Each thread takes one of its own: the kernel ends the
    child with the thread that started it.
    """

    def __init__(self, function: Callable[[Item], Result], memory_mb: int) -> None:
        self._function = function
        self._memory_mb = memory_mb
        self._child: subprocess.Popen[bytes] | None = None
        self._connection: Connection[object, object] | None = None
        self._stopped = False
        self.cpu_seconds = 0.0
        """User and system time of all children, as far as they reported it."""
        self.peak_bytes = 0
        """Largest resident memory of any child."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child, in the thread that uses it."""
        self._end()

    def stop(self) -> None:
        """End the child at once, from any thread; a thread that waits for it gets a `RunError`."""
        self._stopped = True
        if child := self._child:
            child.kill()

    def call(self, item: Item, timeout_seconds: float) -> Result:
        """Return the function of an item.

        Raises:
            LostError: the child died (`crash`), was too slow and killed (`timeout`), or got no
                more memory (`memory`).
            StemworksError: as the function raised it.
            RunError: no child can be started.
        """
        connection = self._connection or self._start()
        try:
            # Asked after the start: a child that `stop` was too early to see ends here.
            if self._stopped:
                raise RunError("the work was stopped")
            connection.send(item)
            if not connection.poll(timeout_seconds):
                raise LostError(f"it took longer than {timeout_seconds:g} s", "timeout")
            reply = connection.recv()
        except (EOFError, ConnectionError):
            reason = self._exit_reason()
            raise RunError("the work was stopped") if self._stopped else LostError(reason) from None
        except BaseException:
            # An answer still to come would be taken for the next item's.
            self._end()
            raise
        assert isinstance(reply, _Reply)
        return self._unpack(reply)

    def _unpack(self, reply: _Reply) -> Result:
        self.cpu_seconds += reply.cpu_seconds
        self.peak_bytes = max(self.peak_bytes, reply.peak_bytes)
        if isinstance(reply.error, LostError):
            self._end()
        if reply.error is not None:
            raise reply.error
        return reply.result  # type: ignore[return-value]

    def _start(self) -> "Connection[object, object]":
        ours, theirs = Pipe()
        arguments = [str(theirs.fileno()), str(self._memory_mb), str(os.getpid())]
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "pipelines.workers.isolation", *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        self._connection = ours
        try:
            ours.send(self._function)
            if ours.poll(START_SECONDS) and ours.recv() is True:
                return ours
        except (EOFError, ConnectionError):
            pass
        except BaseException:
            self._end()
            raise
        reason = self._exit_reason()
        raise RunError(f"a worker process cannot start: it {reason}; its own message is above")

    def _exit_reason(self) -> str:
        assert self._child
        with suppress(subprocess.TimeoutExpired):
            # Its end of the connection closes a moment before it is gone.
            self._child.wait(5)
        code = self._child.returncode
        self._end()
        if code is None:
            return "was too slow"
        if code >= 0:
            return f"ended with exit code {code}"
        hint = ", as the kernel does where memory is short" if code == -signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{hint}"

    def _end(self) -> None:
        if self._connection:
            self._connection.close()
        if self._child:
            self._child.kill()
            self._child.wait()
        self._connection = self._child = None


def _serve(connection: "Connection[object, object]", memory_mb: int) -> None:
    """Answer one item after the other until the connection is closed."""
    function = connection.recv()
    assert callable(function)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, hard))
    # Core dumps would fill the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send(True)
    spent = 0.0
    while True:
        reply = _answer(function, connection.recv())
        used = resource.getrusage(resource.RUSAGE_SELF)
        total = used.ru_utime + used.ru_stime
        connection.send(reply._replace(cpu_seconds=total - spent, peak_bytes=_peak_bytes()))
        spent = total


def _peak_bytes() -> int:
    """Return the largest resident memory of this process (Linux).

    `getrusage` would count the parent's, which a child shares until it becomes its own program.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def _answer(function: Callable[[object], object], item: object) -> _Reply:
    try:
        return _Reply(function(item))
    except MemoryError:
        return _Reply(error=LostError("it needs more memory than it may have", "memory"))
    except StemworksError as error:
        return _Reply(error=error)
    except Exception as error:  # noqa: BLE001  whatever a decoder raises fails this item alone
        return _Reply(error=LostError(f"{type(error).__name__}: {error}"))


def main(socket: str, memory_mb: str, parent: str) -> None:
    """Be the child of process `parent`."""
    die_with_parent(signal.SIGKILL)
    # The parent may have died before the kernel was asked.
    if os.getppid() != int(parent):
        sys.exit(1)
    # Ctrl-C reaches the whole group; what to do about it is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[object, object] = Connection(int(socket))
    with suppress(EOFError, ConnectionError), connection:
        _serve(connection, int(memory_mb))


if __name__ == "__main__":
    # Under its real name, so that what it sends is of the classes that the parent knows.
    from pipelines.workers.isolation import main as child_main

    child_main(*sys.argv[1:])
