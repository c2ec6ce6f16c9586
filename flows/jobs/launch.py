"""A GPU job as a supervised child: `torchrun -m training train RUN`, or another verb alone.

The child runs in its own session, so that a signal to us is ours to pass on; the kernel ends it
when we die; its output goes to a file in its run directory, never to a pipe that dies with us.
"""

import os
import re
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
from flows.jobs.multi_node import torchrun
from storage.errors import LaunchError, MachineError, PreemptedError, StemworksError
from storage.home.runs import Run
from storage.processes import bound, children

GRACE_SECONDS = 60.0
"""From SIGTERM, on which a job writes a checkpoint, to SIGKILL."""
POLL_SECONDS = 0.25
TAIL_BYTES = 4000
FOREIGN = (2, 3, 5)
"""Exit codes with which a job says that a setting, a recording or the machine is to blame."""

ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(8 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
}
"""Keep freed memory in the process: training on a CPU asks for the same large blocks at each step,
and having the kernel clear them anew costs a third of its time (see BENCHMARKS.md)."""

PREEMPTED = (75, 130, 143, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a job that was told to stop, not by us, and wrote a checkpoint if it could."""
KILLED = (137, -signal.SIGKILL)


def launch(
    run: Run, verb: str, processes: int, on_line: Callable[[str], None], hosts: int = 1
) -> None:
    """Run one job to its end, handing each line it prints to `on_line`.

    Raises:
        ConfigError: it is to train on several hosts, and nothing says how to start it there.
        LaunchError: the job failed; carries its last lines, and its own exit code where that is
            one of ours.
        MachineError: it failed, and the disk is too full for it to say why.
        PreemptedError: somebody stopped it: it goes on from its last checkpoint if tried again.
    """
    run.root.mkdir(parents=True, exist_ok=True)
    # Only training runs in several processes; the rendezvous costs seconds.
    command = [sys.executable, "-m", "training", verb, str(run.root)]
    command = torchrun(run, processes, hosts) if verb == "train" else command
    begin = run.log.stat().st_size if run.log.exists() else 0
    starved = _starved()
    with (
        # Of several hosts, their launcher allots the GPUs.
        allotted(processes if hosts == 1 else 0) as gpus,
        run.log.open("ab") as log,
        _child(command, log.fileno(), gpus) as child,
    ):
        for line in _lines(run.log, begin, child):
            on_line(line)
        code = child.wait()
    if code:
        raise _failure(run, verb, code, begin, _starved() > starved)


@contextmanager
def _child(
    command: list[str], log: int, gpus: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a child; whatever ends this block ends the child, politely first."""
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
            _end(child, children(child.pid) if "torch.distributed.run" in command else [])


def _end(child: "subprocess.Popen[bytes]", workers: list[int]) -> None:
    # Torchrun, told to stop, kills its workers half a minute later, checkpoint or not. So they are
    # told themselves, and it ends when they have.
    for worker in workers or [child.pid]:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _lines(log: Path, begin: int, child: "subprocess.Popen[bytes]") -> Iterator[str]:
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
            time.sleep(POLL_SECONDS)


def _failure(run: Run, verb: str, code: int, begin: int, starved: bool) -> StemworksError:
    """Say in one sentence why a job failed: its own words if it had any."""
    tail = _tail(run.log, begin)
    said = [line.removeprefix("error: ") for line in tail.splitlines() if line[:7] == "error: "]
    own = _own_code(tail, code)
    name = f"{verb} job ended with exit code {own}"
    if own in KILLED and starved:
        return LaunchError(
            f"{name}: the kernel killed it for want of memory; give it a machine with more, or "
            "less to do at once (runtime.micro_batch, runtime.workers)", own, tail
        )  # fmt: skip
    if own in PREEMPTED or own in KILLED:
        how = "was killed" if own in KILLED else "was told to stop"
        return PreemptedError(
            f"{name}: it {how} from outside; again, it goes on from its last checkpoint", own, tail
        )
    if not said and shutil.disk_usage(run.root).free < TAIL_BYTES:
        return MachineError(
            f"{name}, and could not say why: no space is left under {run.root}; free some, or use "
            "another --home"
        )
    failure = LaunchError(f"{name}: {said[-1] if said else f'see the end of {run.log}'}", own, tail)
    if said and own in FOREIGN:
        failure.exit_code = own
    return failure


def _own_code(tail: str, code: int) -> int:
    """Return the exit code of the job itself: torchrun's is 1 whatever happened to its workers."""
    found = re.findall(r"^\s*exitcode\s*: (-?\d+) \(pid", tail, re.MULTILINE)
    return int(found[-1]) if found else code


def _starved() -> int:
    """Return how many processes the kernel has killed here for want of memory (Linux)."""
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
