"""Where and how fast a job runs, torch-free; never what its result is."""

from typing import Annotated, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from storage.config import Config, MeasuredIn


class RuntimeConfig(Config):
    """Where and how fast; never what comes out."""

    processes: PositiveInt = 1
    """torchrun processes on each host (one per GPU)."""
    hosts: PositiveInt = 1
    """Hosts that train together; several are started through STEMWORKS_LAUNCHER."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """What a process computes on; `auto` is a GPU where there is one."""
    threads: NonNegativeInt = 0
    """CPU threads per process; 0 leaves torch's default."""
    loader_workers: NonNegativeInt = 0
    """Threads that read ahead, beside the one that trains; 0 is one."""
    micro_batch: NonNegativeInt = 0
    """Examples per forward pass and process; 0 takes the whole batch at once."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the model's bodies (a minute at the start); `auto` does so on CUDA."""
    recompute: Literal["nothing", "cheap", "everything"] = "nothing"
    """Activations recomputed in the backward pass, for memory: `cheap` keeps what products,
    convolutions and attention return; `everything` keeps the tokens between paths alone."""
    gpu_tflops: PositiveFloat = 150.0
    """TFLOP/s that a training step is taken to sustain on one GPU: an assumption, 15 % of an H200's
    peak in bf16. Estimates alone read it, and only until their home has trained such a model."""
    snapshot_every: Annotated[NonNegativeInt, MeasuredIn("steps")] = 10_190
    """Between two snapshots of one fixed example's outputs; 0 takes none, else one ends a run."""
