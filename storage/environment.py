"""Every `STEMWORKS_*` environment variable, once: what it means, its default, and who reads it.

They say what a machine is and how it reaches others: never what comes out of a study, which its
settings alone decide. `stemworks settings --variables` prints this table, and what reads one of
them reads it here.
"""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

from storage.errors import ConfigError, MachineError, StemworksError

Value_co = TypeVar("Value_co", covariant=True)
Checksums = Literal["when_required", "when_supported"]


@dataclass(frozen=True)
class Variable(Generic[Value_co]):
    """One environment variable. A text that is empty counts as none."""

    name: str
    meaning: str
    readers: str
    """Which command, process or file reads it."""
    parse: Callable[[str], Value_co]
    """From its text, or its default, to its value; raises `ValueError` that says what is allowed.
    """
    default: str = ""
    """Its text where none is given."""
    otherwise: str = ""
    """In words, what holds without it, where no text does."""
    refusal: type[StemworksError] = ConfigError
    """What a text that is not allowed raises."""

    @property
    def given(self) -> str | None:
        """Its text in the environment, which may be empty; None where it is not set."""
        return os.environ.get(self.name)

    def read(self) -> Value_co:
        """Return its value, or that of its default.

        Raises:
            StemworksError: its text is not allowed; names it, and what is.
        """
        text = self.given or self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise self.refusal(f"{self.name} is '{text}'; {error}") from error


def _folder(text: str) -> Path:
    return Path(text).expanduser().resolve()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError("give a port number from 1 to 65535")
    return int(text)


def _checksums(text: str) -> Checksums:
    for one in get_args(Checksums):
        if text == one:
            allowed: Checksums = one
            return allowed
    raise ValueError(f"give one of {', '.join(get_args(Checksums))}")


STATE = Variable(
    "STEMWORKS_STATE",
    "Folder of the Prefect server's database and log, and of the heartbeats of runs.",
    "every command that uses the server, and every run",
    _folder,
    default="~/.local/state/stemworks",
)
SERVER_HOST = Variable(
    "STEMWORKS_SERVER_HOST",
    "Address that the Prefect server listens on. Others than this machine's own need a password.",
    "every command that uses the server",
    str,
    default="127.0.0.1",
)
SERVER_PORT = Variable(
    "STEMWORKS_SERVER_PORT",
    "Port that the Prefect server listens on.",
    "every command that uses the server",
    _port,
    default="4200",
    refusal=MachineError,
)
SCRATCH = Variable(
    "STEMWORKS_SCRATCH",
    "Folder of the working copies of homes in buckets; the same path on every host of a job.",
    "every command and job whose home is in a bucket",
    _folder,
    default="~/.cache/stemworks",
)
S3_ENDPOINT = Variable(
    "STEMWORKS_S3_ENDPOINT",
    "Address of an S3 server other than that of AWS.",
    "every command and job whose home is in a bucket",
    str,
    otherwise="AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL; without these, AWS",
)
S3_CHECKSUMS = Variable(
    "STEMWORKS_S3_CHECKSUMS",
    "When botocore adds checksums of its own to those of Stemworks: `when_required` or "
    "`when_supported`. Some servers cannot read them.",
    "every command and job whose home is in a bucket",
    _checksums,
    default="when_required",
)
HOST = Variable(
    "STEMWORKS_HOST",
    "Name under which the runs of a machine share its GPUs and cores. Set to nothing, each run has "
    "a machine to itself, such as a pod.",
    "runs and workers",
    str,
    otherwise="the machine's host name",
)
METRICS = Variable(
    "STEMWORKS_METRICS",
    "File that runs keep their numbers in, for a Prometheus collector of text files.",
    "runs",
    str,
    otherwise="no file is written",
)
WEBHOOK = Variable(
    "STEMWORKS_WEBHOOK",
    "Address that is called when a run fails, crashes or stalls. It is a secret.",
    "`stemworks init`, and runs",
    str,
    otherwise="the webhook that `stemworks init` stored on the server; without it, none is called",
)
LAUNCHER = Variable(
    "STEMWORKS_LAUNCHER",
    "Command that runs the words after it once on each host of a job, as `srun` does.",
    "training jobs on several hosts",
    shlex.split,
    otherwise="jobs run on one host",
)
RENDEZVOUS = Variable(
    "STEMWORKS_RENDEZVOUS",
    "HOST:PORT at which the other hosts of a job reach the one that launched it.",
    "training jobs on several hosts",
    str,
    otherwise="the launching host's name, and port 29500",
)
NODE = Variable(
    "STEMWORKS_NODE",
    "Which host of a job this is: 0 is the one that launched it. The launcher sets it.",
    "training jobs on several hosts",
    str,
    otherwise="SLURM_NODEID, JOB_COMPLETION_INDEX or OMPI_COMM_WORLD_RANK",
)
TRACEBACK = Variable(
    "STEMWORKS_TRACEBACK",
    "Print the traceback of an unexpected error instead of keeping it in a file.",
    "every command",
    str,
    otherwise="it is kept in a file, which the error names",
)
BOUND = Variable(
    "STEMWORKS_BOUND",
    "Identity of the process that a child ends with, as JSON. Set for children; not meant to be "
    "set by hand.",
    "child processes",
    str,
    otherwise="a process ends with none",
)

OF_CONTAINERS = (
    Variable(
        "STEMWORKS_PORT",
        "Port of the UI on the host's loopback.",
        "`docker/compose.yaml`",
        _port,
        default="4200",
    ),
    Variable(
        "STEMWORKS_RECIPE",
        "Recipe that is deployed to the work pool `gpu`.",
        "`docker/compose.yaml`",
        str,
        default="paper_small",
    ),
    Variable(
        "STEMWORKS_ARCHIVES",
        "Folder of the archives, mounted read-only.",
        "`docker/compose.yaml`",
        str,
        default="../archives",
    ),
    Variable(
        "STEMWORKS_PYTHON",
        "Interpreter of the environment that Stemworks is installed in.",
        "`docker/slurm.sbatch`",
        str,
        default="python",
    ),
)
"""Read by what starts Stemworks, not by Stemworks."""

VARIABLES: tuple[Variable[object], ...] = (
    STATE, SERVER_HOST, SERVER_PORT, SCRATCH, S3_ENDPOINT, S3_CHECKSUMS, HOST, METRICS, WEBHOOK,
    LAUNCHER, RENDEZVOUS, NODE, TRACEBACK, BOUND, *OF_CONTAINERS,
)  # fmt: skip
"""The table."""
