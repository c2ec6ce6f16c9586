"""The machine in words, how busy it is, and which state of the code is measured."""

import os
import platform
import re
import resource
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from pipelines.workers.fan_out import cores
from tests.benchmarks.report.form import Load, Machine

ROOT = Path(__file__).parents[3]
LIBRARIES = (
    "torch", "numpy", "soundfile", "soxr", "av", "indexed_bzip2", "librosa", "webdataset",
    "museval", "prefect",
)  # fmt: skip
WRITTEN = (":(exclude)tests/benchmarks/results", ":(exclude)BENCHMARKS.md")
"""What storing results alters: measuring one benchmark after another leaves the tree clean."""
NOISE = re.compile(r"\s*@.*|\((?:r|tm)\)|\b(?:processor|cpu|\d+-core)\b|[^a-z0-9]+")
"""In the names of processors and GPUs."""


def machine() -> Machine:
    """Describe this machine."""
    return Machine(
        processor=_processor(),
        cores=cores(),
        memory_gb=round(psutil.virtual_memory().total / 1e9),
        vector_instructions=torch.backends.cpu.get_cpu_capability(),
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        torch_threads=torch.get_num_threads(),
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
    )


def slug(one: Machine) -> str:
    """Return a short name of the hardware, such as `amd-epyc-2-cores-25gb`."""
    parts = [_short(one.processor), f"{one.cores}-cores", f"{one.memory_gb}gb", _short(one.gpu)]
    return "-".join(part for part in parts if part)


def _short(name: str) -> str:
    return "-".join(NOISE.sub(" ", name.lower()).split())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def processor_seconds() -> float:
    """Return user and system time so far, of this process and the children it waited for."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


class Watch:
    """How busy the machine is from now on, with us and with others."""

    def __init__(self) -> None:
        self._before = os.getloadavg()[0]
        self._began, self._busy, self._ours = time.monotonic(), _busy(), processor_seconds()

    def load(self, detached_seconds: float = 0.0) -> Load:
        """Return what is known up to here; some time was ours, though not waited for."""
        passed = max(time.monotonic() - self._began, 1e-9)
        ours = processor_seconds() - self._ours + detached_seconds
        others = _busy() - self._busy - ours
        return Load(
            before=round(self._before, 2),
            after=round(os.getloadavg()[0], 2),
            elsewhere=round(max(0.0, others / passed), 2),
        )


def _busy() -> float:
    """Return the processor seconds that all processes of the machine have had."""
    times = psutil.cpu_times()
    return float(times.user + times.system + times.nice)


def checkout(root: Path = ROOT) -> tuple[str, bool]:
    """Return the commit that is checked out, and whether files differ from it."""
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
        return commit, bool(_git(root, "status", "--porcelain", "--", ".", *WRITTEN).strip())
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "", True


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout
