"""The verb `fit`: the largest micro-batch that a GPU, or so much of a machine's memory, holds."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from storage.config import Json
from storage.errors import MachineError
from storage.home.runs import Job
from training.checkpoints.ema import MovingAverage
from training.checkpoints.start import initial_model
from training.config import TrainConfig
from training.data.batches import Batch
from training.distributed import ProcessRank, join
from training.engine.acceleration import accelerate
from training.engine.memory import fits, moments, rehearse
from training.objectives.objective import build

GPU_SHARE = 0.92
"""Of a GPU's memory: the rest is for fragments, the back end of several processes, validation."""
GIGABYTE = 1e9
USES = ("VmHWM", "VmData", "RssAnon", "RssFile")
"""What the kernel counts of a process: the most it held, all data, and what it holds."""


class Attempt(NamedTuple):
    """One size that was tried."""

    examples: int
    fits: bool
    peak_bytes: int
    """Most bytes that torch held on the GPU; 0 on a CPU."""

    def plain(self) -> Json:
        """Return it as JSON."""
        peak_gb = self.peak_bytes / GIGABYTE or None
        return {"examples": self.examples, "fits": self.fits, "peak_gb": peak_gb}


def largest(attempt: Callable[[int], Attempt], most: int) -> list[Attempt]:
    """Try 1, 2, 4, ... up to `most` examples, then what lies between the last two."""
    tried = [attempt(1)]
    while tried[-1].fits and tried[-1].examples < most:
        tried.append(attempt(min(most, 2 * tried[-1].examples)))
    if tried[-1].fits:
        return tried
    low, high = tried[-1].examples // 2, tried[-1].examples
    if len(tried) > 1:
        low = tried[-2].examples
    while high - low > 1:
        middle = (low + high) // 2
        tried.append(attempt(middle))
        low, high = (middle, high) if tried[-1].fits else (low, middle)
    return tried


def even(share: int, most: int) -> int:
    """Return the smallest micro-batch that takes as few passes as the largest that fits."""
    passes = -(-share // most)
    return -(-share // passes)


def probe(config: TrainConfig, memory_bytes: int = 0) -> Json:
    """Measure the largest micro-batch of a recipe, on a CPU within `memory_bytes`.

    Returns:
        `device`, `memory_gb`, `examples` (per step and process), `largest`, `micro_batch` (as
        large, but even over the passes), `passes`, and each attempt in `tried`, with the most that
        torch held on a GPU.

    Raises:
        MachineError: there is no GPU and no memory is named, or not even one example fits.
    """
    wanted = "cpu" if memory_bytes else config.runtime.device
    runtime = config.runtime.model_copy(update={"device": wanted})
    # One process measures, whatever started it.
    with join(runtime, config.precision) as process:
        if process.device.type == "cpu" and not memory_bytes:
            raise MachineError(
                "there is no GPU here to fit a micro-batch to; '--memory-gb 8' tries it on the "
                "CPU, in so much"
            )
        share = -(-config.data.batch_size // runtime.processes)
        tried = largest(Rehearsal(config, process, memory_bytes).attempt, share)
        device, total = _device(process, memory_bytes)
    most = max((attempt.examples for attempt in tried if attempt.fits), default=0)
    if not most:
        raise MachineError(
            "not even one example of the recipe fits into memory; give it more, or take a smaller "
            "model or data.segment_seconds"
        )
    chosen = even(share, most)
    return {
        "device": device,
        "memory_gb": round(total / GIGABYTE, 2),
        "examples": share,
        "processes": runtime.processes,
        "largest": most,
        "micro_batch": chosen,
        "passes": -(-share // chosen),
        "tried": [attempt.plain() for attempt in tried],
    }


class Rehearsal:
    """What training holds in memory, ready to try steps of any size."""

    def __init__(self, config: TrainConfig, process: ProcessRank, memory_bytes: int) -> None:
        job = Job(verb="train", inputs={}, recipe={})
        self._config, self._process, self._memory_bytes = config, process, memory_bytes
        self._model = initial_model(config, job).to(process.device).train()
        accelerate(self._model, config.runtime, process.device)
        self._objective = build(config.objective, config.model)
        self._moments = moments(self._model)
        decay = config.loop.ema_decay
        self._average = MovingAverage(self._model, decay) if decay else None
        if process.device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(GPU_SHARE, process.device)

    def attempt(self, examples: int) -> Attempt:
        """Try so many examples. The first attempt must be of one."""
        if examples == 1 and self._process.device.type == "cpu":
            # Libraries settle in before memory is walled in: refused there, they crash.
            self._trial(1)
            if not _wall_in(self._memory_bytes):
                return Attempt(1, False, 0)
        self._process.peak_memory()
        return Attempt(examples, fits(self._trial, examples), self._process.peak_memory())

    def _trial(self, examples: int) -> None:
        config = self._config
        frames = round(config.data.segment_seconds * config.model.sample_rate)
        shape = (config.model.audio_channels, frames)
        inputs, references = (
            0.1 * torch.randn(examples, signals, *shape, device=self._process.device)
            for signals in (config.data.inputs, config.data.references)
        )
        rehearse(self._model, self._objective, self._process, Batch(inputs, references))


def _wall_in(memory_bytes: int) -> bool:
    """Hold this process's data to so many bytes from now on; say whether it was below so far."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {name: int(status[name].split()[0]) for name in USES}
    if 1024 * kilobytes["VmHWM"] > memory_bytes:
        return False
    # The kernel counts stacks and arenas that nothing has touched, which take no memory, and does
    # not count libraries, which do.
    uncounted = 1024 * (kilobytes["VmData"] - kilobytes["RssAnon"] - kilobytes["RssFile"])
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wall = memory_bytes + uncounted
    resource.setrlimit(
        resource.RLIMIT_DATA, (wall if hard == resource.RLIM_INFINITY else min(wall, hard), hard)
    )
    return True


def _device(process: ProcessRank, memory_bytes: int) -> tuple[str, int]:
    if process.device.type == "cuda":
        found = torch.cuda.get_device_properties(process.device)
        return found.name, found.total_memory
    return "CPU", memory_bytes
