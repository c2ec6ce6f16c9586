"""This process's place among the processes of a job: rank, device, precision, sums over all."""

import contextlib
import datetime
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from storage.errors import ConfigError, MachineError, RunError
from training.runtime import RuntimeConfig

Precision = Literal["auto", "bf16", "float32"]

PATIENCE = datetime.timedelta(minutes=10)
"""How long a process waits for the others before it gives the job up."""
LOST = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|timed out|NCCL|gloo|ProcessGroup", re.I
)
"""What torch's back ends say when a process that they wait for is gone."""


@dataclass(frozen=True)
class ProcessRank:
    """One process of a job."""

    rank: int = 0
    world: int = 1
    """Processes of the job."""
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - a constant
    autocast_dtype: torch.dtype | None = None
    """Precision of the network body; None is float32 throughout."""

    @property
    def leads(self) -> bool:
        """Say whether this process writes files and lines."""
        return self.rank == 0

    def share(self, start: int, stop: int) -> range:
        """Return this process's examples of `start` to `stop`: every world-th of them."""
        return range(start + self.rank, stop, self.world)

    def move(self, tensor: Tensor) -> Tensor:
        """Return a CPU tensor on this process's device, copied while the device works."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def autocast(self) -> AbstractContextManager[object]:
        """Return the precision that the network body runs in."""
        enabled = self.autocast_dtype is not None
        return torch.autocast(self.device.type, self.autocast_dtype, enabled=enabled)

    def in_precision(self, model: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return a model's forward pass in this place's precision."""

        def forward(x_BICT: Tensor) -> Tensor:
            with self.autocast():
                y_BSCT: Tensor = model(x_BICT)
            return y_BSCT

        return forward

    def peak_memory(self) -> int:
        """Return the most bytes that tensors held on the GPU since the last call; 0 on a CPU."""
        if self.device.type != "cuda":
            return 0
        peak = torch.cuda.max_memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        return peak

    def sum(self, *values: float) -> list[float]:
        """Return each value summed over all processes; every process must call this."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(value) for value in total]

    def agree(self, value: int) -> int:
        """Return the leader's value; every process must call this."""
        return int(self.sum(value if self.leads else 0)[0])

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model with its gradients averaged over all processes."""
        if self.world == 1:
            return model
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def unsynchronised(self, model: nn.Module) -> AbstractContextManager[object]:
        """Hold back the averaging of a wrapped model's gradients, to accumulate them first."""
        if isinstance(model, DistributedDataParallel):
            return model.no_sync()
        return contextlib.nullcontext()


@contextlib.contextmanager
def join(runtime: RuntimeConfig, precision: Precision = "auto") -> Iterator[ProcessRank]:
    """Take this process's place, as torchrun's environment (or its absence) says.

    Raises:
        MachineError: a CUDA device is asked for and there is none for this process.
    """
    rank, world = (int(os.environ.get(name, default)) for name, default in _WHERE)
    device = _device(runtime.device, int(os.environ.get("LOCAL_RANK", "0")))
    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    half = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    place = ProcessRank(rank, world, device, torch.bfloat16 if half else None)
    if world == 1:
        yield place
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield place
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def naming_the_lost(place: ProcessRank) -> Iterator[None]:
    """Turn the back end's complaint that a process is gone into one that says what to do.

    Raises:
        RunError: another process of the job ended or was cut off.
    """
    try:
        yield
    except RuntimeError as error:
        if place.world == 1 or not LOST.search(str(error)):
            raise
        raise RunError(
            f"process {place.rank} lost another of the job's {place.world} processes, which ended "
            "or was cut off: look above for its own error, or in the kernel's log for one that was "
            "killed; run again, and training goes on from its last checkpoint"
        ) from error


def require_examples(place: ProcessRank, batch_size: int) -> None:
    """Raise `ConfigError` unless every process has at least one example of a batch."""
    if place.world > batch_size:
        raise ConfigError(
            f"data.batch_size {batch_size} leaves some of {place.world} processes without an "
            f"example; set runtime.processes to {batch_size} or less, or raise the batch size"
        )


_WHERE = (("RANK", "0"), ("WORLD_SIZE", "1"))


def _device(wanted: str, local_rank: int) -> torch.device:
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    found = torch.cuda.device_count()
    if local_rank >= found:
        raise MachineError(
            f"process {local_rank} of this host has no CUDA device ({found} found); set "
            "runtime.device=cpu, or runtime.processes to the number of devices"
        )
    return torch.device("cuda", local_rank)
