"""A GPU job as a supervised child: `torchrun -m training train RUN`, or another verb alone.

The child runs in its own session, so that a signal to us is ours to pass on; the kernel ends it
when we die; its output goes to a file in its run directory, never to a pipe that dies with us.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import LaunchError
from storage.processes import bound
from storage.runs import Run

GRACE_SECONDS = 60.0
"""From SIGTERM, on which a job writes a checkpoint, to SIGKILL."""
POLL_SECONDS = 0.25
TAIL_BYTES = 4000

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
}
"""Keep freed memory in the process: training on a CPU asks for the same large blocks at each step,
and having the kernel clear them anew costs a third of its time (see BENCHMARKS.md)."""

stopping = threading.Event()
"""Set when the flow is interrupted: jobs then end themselves, resumably."""


class Limits:
    """What a child is given."""

    def __init__(self, processes: int = 1, hours: float = 24 * 14) -> None:
        self.processes = processes
        self.hours = hours


def launch(run: Run, verb: str, limits: Limits, on_line: Callable[[str], None]) -> None:
    """Run one job to its end, handing each line it prints to `on_line`.

    Raises:
        LaunchError: the job failed, or ran past its time; carries its last lines.
    """
    run.root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m"]
    if verb == "train":
        # Only training runs in several processes; the rendezvous costs seconds.
        command += ["torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(limits.processes), "-m"]
    command += ["training", verb, str(run.root)]
    begin = run.log.stat().st_size if run.log.exists() else 0
    deadline = time.monotonic() + limits.hours * 3600
    with run.log.open("ab") as log, _child(command, log.fileno()) as child:
        for line in _lines(run.log, begin, child, deadline):
            on_line(line)
        code = child.wait()
    if code:
        raise LaunchError(_complaint(run, verb, code, begin), code, _tail(run.log, begin))


@contextmanager
def _child(command: list[str], log: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child; whatever ends this block ends the child, politely first."""
    environment = {**ALLOCATOR, **os.environ, "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen(
        bound(command),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            _end(child)


def _end(child: "subprocess.Popen[bytes]") -> None:
    os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _lines(
    log: Path, begin: int, child: "subprocess.Popen[bytes]", deadline: float
) -> Iterator[str]:
    """Yield the log's new lines until the child has ended and all are read."""
    rest = b""
    with log.open("rb") as stream:
        stream.seek(begin)
        while True:
            ended = child.poll() is not None
            *whole, rest = (rest + stream.read()).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
            if ended:
                if rest:
                    yield rest.decode(errors="replace")
                return
            if stopping.is_set():
                raise LaunchError(f"the job in {log.parent} was stopped with its flow")
            if time.monotonic() > deadline:
                raise LaunchError(
                    f"the job in {log.parent} ran past its time limit and was stopped; raise "
                    "limits.job_hours and run again, and it goes on from its last checkpoint"
                )
            time.sleep(POLL_SECONDS)


def _complaint(run: Run, verb: str, code: int, begin: int) -> str:
    """Say in one sentence why a job failed: its own words if it had any."""
    said = [
        line.removeprefix("error: ")
        for line in _tail(run.log, begin).splitlines()
        if line.startswith("error: ")
    ]
    why = said[-1] if said else f"see the end of {run.log}"
    return f"{verb} job ended with exit code {code}: {why}"


def _tail(log: Path, begin: int) -> str:
    size = log.stat().st_size
    with log.open("rb") as stream:
        stream.seek(max(begin, size - TAIL_BYTES))
        return stream.read().decode(errors="replace")
