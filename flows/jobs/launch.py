"""A GPU job as a supervised child: `python -m training VERB RUN`, several processes by torchrun.

The child runs in its own session, so that this process decides which signals it passes on; the
kernel ends it when this process dies. What it reports it appends to a file in its run directory,
and what it prints goes to another: never to a pipe that breaks when this process dies.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

from flows.jobs.gpus import allotted
from flows.jobs.multi_node import TORCHRUN, torchrun
from storage.errors import LaunchError, MachineError, PreemptedError, StemworksError
from storage.home.job_events import EventReader, JobEvent, read_failure
from storage.home.runs import Run
from storage.processes import bound, children

GRACE_SECONDS = 60.0
"""From SIGTERM, on which a job writes a checkpoint, to SIGKILL."""
POLL_SECONDS = 0.25
TAIL_BYTES = 4000
FOREIGN = (2, 3, 5)
"""Exit codes of a job that failed because of a setting, a recording or the machine."""

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
}
"""Keep freed memory in the process: training on a CPU asks for the same large blocks at each step,
and having the kernel clear them again costs a third of its time (see BENCHMARKS.md)."""

PREEMPTED = (75, 130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a job that another process asked to stop; it wrote a checkpoint if it could."""
KILLED = (137, -signal.SIGKILL)


def launch(
    run: Run, verb: str, processes: int, on_event: Callable[[JobEvent], None], hosts: int = 1
) -> None:
    """Run one job to its end, passing each of its events to `on_event`.

    Raises:
        ConfigError: it is to train on several hosts, and no launcher is set.
        LaunchError: the job failed; has its last lines, and its own exit code where that is one of
            Stemworks'.
        MachineError: it failed, and the disk is too full for it to say why.
        PreemptedError: it was stopped from outside: when retried, it resumes from its last
            checkpoint.
    """
    run.root.mkdir(parents=True, exist_ok=True)
    # Only training runs in several processes. One alone needs no rendezvous, which costs seconds.
    command = [sys.executable, "-m", "training", verb, str(run.root)]
    command = torchrun(run, processes, hosts) if processes * hosts > 1 else command
    begin = run.log.stat().st_size if run.log.exists() else 0
    run.failure.unlink(missing_ok=True)
    events, killed_before = EventReader(run), _oom_kills()
    with (
        # On several hosts, their launcher assigns the GPUs.
        allotted(processes if hosts == 1 else 0) as gpus,
        run.log.open("ab") as log,
        _child(command, log.fileno(), gpus) as child,
    ):
        for event in _events(events, child):
            on_event(event)
        code = child.wait()
    if code:
        raise _failure(run, verb, code, begin, _oom_kills() > killed_before)


@contextmanager
def _child(
    command: list[str], log: int, gpus: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child; whatever ends this block ends the child, with SIGTERM first."""
    environment = {**ALLOCATOR, **os.environ, **gpus, "PYTHONUNBUFFERED": "1"}
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
            _end(child, children(child.pid) if TORCHRUN in command else [])


def _end(child: "subprocess.Popen[bytes]", workers: list[int]) -> None:
    # Torchrun, asked to stop, kills its workers half a minute later, checkpoint or not. So the
    # workers are asked directly, and torchrun ends when they have.
    for worker in workers or [child.pid]:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _events(events: EventReader, child: "subprocess.Popen[bytes]") -> Iterator[JobEvent]:
    """Yield the job's events until the child has ended and all are read."""
    while True:
        ended = child.poll() is not None
        yield from events.new()
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _failure(run: Run, verb: str, code: int, begin: int, out_of_memory: bool) -> StemworksError:
    """Return in one sentence why a job failed: as the job itself says, if it does."""
    failure, tail = read_failure(run), _tail(run.log, begin)
    name = f"{verb} job ended with exit code {code}"
    if code in KILLED and out_of_memory:
        return LaunchError(
            f"{name}: the kernel killed it because memory ran out; use a machine with more, or "
            "less at once (runtime.micro_batch, runtime.workers)", code, tail
        )  # fmt: skip
    if code in PREEMPTED or code in KILLED:
        how = "was killed" if code in KILLED else "was asked to stop"
        return PreemptedError(
            f"{name}: it {how} from outside; run it again to resume from its last checkpoint",
            code,
            tail,
        )
    if not failure and shutil.disk_usage(run.root).free < TAIL_BYTES:
        return MachineError(
            f"{name}, and could not say why: no space is left under {run.root}; free some, or use "
            "another --home"
        )
    why = failure.message if failure else f"see the end of {run.log}"
    error = LaunchError(f"{name}: {why}", code, tail)
    if failure and code in FOREIGN:
        error.exit_code = code
    return error


def _oom_kills() -> int:
    """Return how many processes the kernel has killed here because memory ran out (Linux)."""
    counts = [0]
    for path in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):
        with suppress(OSError):
            words = path.read_text().split()
            counts += [int(n) for key, n in pairwise(words) if key == "oom_kill"]
    return sum(counts)


def _tail(log: Path, begin: int) -> str:
    size = log.stat().st_size
    with log.open("rb") as stream:
        stream.seek(max(begin, size - TAIL_BYTES))
        return stream.read().decode(errors="replace")
