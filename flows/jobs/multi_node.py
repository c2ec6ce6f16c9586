"""A training job on several hosts: what a cluster's launcher starts, once on each of them.

`LAUNCHER`, `RENDEZVOUS` and `NODE` of `storage/environment.py` say how they are started and meet.

`python -m flows.jobs.multi_node HOME RUN WORDS...` is one host's part: where the home is in a
bucket, it fetches what the job reads, and then becomes torchrun. The host that launched the job has
it already.
"""

import os
import socket
import sys
from pathlib import Path

from storage.environment import LAUNCHER, NODE, RENDEZVOUS
from storage.errors import ConfigError, StemworksError
from storage.home.job_events import write_failure
from storage.home.layout import Home
from storage.home.mirror import Mirror
from storage.home.open import WORKING_COPIES, open_home
from storage.home.runs import Job, Run
from storage.processes import BOUND_BELOW

NODES = (NODE.name, "SLURM_NODEID", "JOB_COMPLETION_INDEX", "OMPI_COMM_WORLD_RANK")
PORT = 29500
TORCHRUN = "training.torchrun"
"""The module that is torchrun, and ends with its worker's exit code."""


def torchrun(run: Run, processes: int, hosts: int) -> list[str]:
    """Return the command that trains a run, on this host or, through the launcher, on several.

    Raises:
        ConfigError: several hosts are asked for, and no launcher is named.
    """
    # When the threads of its parent die one after the other, torchrun is asked to stop as often,
    # and gives up ending its workers: so the kernel ends them with it.
    job = ["--nproc-per-node", str(processes), *BOUND_BELOW, "-m", "training", "train"]
    job.append(str(run.root))
    if hosts == 1:
        return [sys.executable, "-m", TORCHRUN, "--standalone", *job]
    launcher = LAUNCHER.read()
    if not launcher:
        raise ConfigError(
            f"runtime.hosts is {hosts}, but {LAUNCHER.name} names no command that starts others on "
            "them, such as 'srun --ntasks-per-node=1 --kill-on-bad-exit=1'; set it, or leave "
            "runtime.hosts at 1"
        )
    host, _, port = (RENDEZVOUS.read() or socket.gethostname()).partition(":")
    rendezvous = ["--nnodes", str(hosts), "--master-addr", host, "--master-port", port or str(PORT)]
    home = run.job().home().url
    return [
        *launcher,
        sys.executable,
        "-m",
        "flows.jobs.multi_node",
        home,
        str(run.root),
        *rendezvous,
        *job,
    ]


def node() -> int:
    """Return which host of a job this is; raise `ConfigError` if no variable says so."""
    given = next((os.environ[name] for name in NODES if os.environ.get(name)), "")
    if not given.isdecimal():
        raise ConfigError(
            f"no variable says which host of the job this is; have {LAUNCHER.name} set {NODE.name} "
            "to 0 on the host that it is called on, and to 1, 2 ... on the others"
        )
    return int(given)


def fetch(home: Home, run: Run) -> None:
    """Fetch a run directory and what its job reads from a bucket to this host.

    Raises:
        ConfigError: working copies are in another folder here than where the job was launched.
        RunError: the bucket holds no such run.
    """
    if not home.remote:
        return
    if not home.holds(run.root):
        raise ConfigError(
            f"{run.root} is no working copy of {home.url}, which is {home.root} here; give "
            f"{WORKING_COPIES} the same value on every host"
        )
    Mirror(home, run.root).pull()
    job = run.job()
    for name, path in _inputs(home, job):
        if home.store.listing(home.relative(path)):
            Mirror(home, path).pull()
        elif not path.is_file():
            home.fetch(path)
        if name == "songs":
            # Their stems lie beside their list.
            Mirror(home, path.parent).pull()


def _inputs(home: Home, job: Job) -> list[tuple[str, Path]]:
    named = ((name, Path(text)) for name, text in job.inputs.items())
    return [(name, path) for name, path in named if path.is_absolute() and home.holds(path)]


def main(words: list[str]) -> None:
    """Take part in a job: `HOME RUN TORCHRUN-WORDS...`; exit with an error's own exit code."""
    try:
        rank = node()
        if rank:
            fetch(open_home(words[0]), Run(Path(words[1])))
    except StemworksError as error:
        write_failure(Run(Path(words[1])), error, error.exit_code)
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
    command = [sys.executable, "-m", TORCHRUN, "--node-rank", str(rank)]
    os.execv(sys.executable, [*command, *words[2:]])


if __name__ == "__main__":
    main(sys.argv[1:])
