"""What `published_step` measures: training steps of ours and of the transcription on one device."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tests.training.models.bs_locoformer.transcription import PublishedAttention, copied_from
from training.data.batches import Batch
from training.engine.acceleration import accelerate, compile_bodies
from training.models.bs_locoformer.config import (
    LARGE,
    MEDIUM,
    MICRO,
    SMALL,
    TINY,
    BsLocoformerConfig,
)
from training.models.bs_locoformer.model import BsLocoformer
from training.objectives.mixit.config import MixitObjective
from training.objectives.objective import build
from training.settings.optimisers import AdamWConfig
from training.settings.runtime import RuntimeConfig

SIZES = {"micro": MICRO, "demo": TINY, "small": SMALL, "medium": MEDIUM, "large": LARGE}
PRODUCTS = {"cpu": (1024, 20), "cuda": (8192, 50)}
"""Side of the square matrices, and how many are multiplied in a round."""


class Setup(NamedTuple):
    """What is measured."""

    size: str
    outputs: int
    seconds: float
    batch: int
    compile: str


class MatrixRate:
    """Products of square matrices in the precision of the model's body."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._side, self._times = PRODUCTS[device.type]
        self._left, self._right = (
            torch.randn(self._side, self._side, device=device, dtype=dtype) for _ in range(2)
        )

    @property
    def operations(self) -> float:
        """What one call computes."""
        return self._times * 2.0 * self._side**3

    def __call__(self) -> None:
        """Compute them, and wait."""
        for _ in range(self._times):
            torch.mm(self._left, self._right)
        wait(self._left.device)


class Step:
    """Forward, MixIT loss, backward, clipping and AdamW on one batch; returns when it is done."""

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Tensor], lab: "Lab") -> None:
        self._model, self._forward, self._lab = model, forward, lab
        self._graphs = lab.device.type == "cuda"
        self._optimiser = torch.optim.AdamW(
            model.parameters(), AdamWConfig().lr, fused=lab.device.type == "cuda"
        )

    def __call__(self, batch: int | None = None) -> None:
        """Take one step on noise."""
        self.take(self._lab.batch(batch or self._lab.setup.batch))

    def take(self, batch: Batch) -> None:
        """Take one step on a batch of two mixtures per example."""
        lab = self._lab
        if self._graphs:
            # Tells CUDA graphs, where there are any, that the last step's tensors are free.
            torch.compiler.cudagraph_mark_step_begin()
        torch.autograd.backward(lab.objective(self._in_precision, batch).loss)
        nn.utils.clip_grad_norm_(self._model.parameters(), AdamWConfig().clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        wait(lab.device)

    def _in_precision(self, x_BICT: Tensor) -> Tensor:
        enabled = self._lab.dtype != torch.float32
        with torch.autocast(self._lab.device.type, torch.bfloat16, enabled=enabled):
            return self._forward(x_BICT)


class Lab:
    """One device, one model size, one batch: bf16 on CUDA, float32 on a CPU, no dropout."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        changes = {"outputs": setup.outputs, "dropout": 0.0}
        self.config: BsLocoformerConfig = SIZES[setup.size].model_copy(update=changes)
        self.objective = build(MixitObjective(), self.config)
        wanted = setup.compile
        if wanted == "auto":
            wanted = "on" if self.device.type == "cuda" else "off"
        self.runtime = RuntimeConfig.parse({"compile": wanted})

    def describe(self) -> str:
        """Say in one line what is measured, and on what."""
        setup, device = self.setup, self.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
        return (
            f"{setup.size}, {setup.outputs} outputs, {setup.seconds:g} s, {setup.batch} MoMs, "
            f"{self.dtype}, on {name}; torch {torch.__version__}"
        )

    def batch(self, examples: int) -> Batch:
        """Return two mixtures per example: noise, always the same."""
        torch.manual_seed(0)
        samples = round(self.setup.seconds * self.config.sample_rate)
        shape = (examples, 2, self.config.audio_channels, samples)
        return Batch.of_sum(0.1 * torch.randn(shape, device=self.device))

    def model(self) -> BsLocoformer:
        """Return a model with always the same weights."""
        torch.manual_seed(0)
        return BsLocoformer(self.config).to(self.device).train()

    def ours(self, runtime: RuntimeConfig) -> Step:
        """Return a step of the fast model."""
        model = self.model()
        accelerate(model, runtime, self.device)
        return Step(model, model, self)

    def replayed(self) -> Step:
        """Return a step of the fast model whose compiled bodies are replayed as CUDA graphs."""
        model = self.model()
        compile_bodies(model, mode="reduce-overhead")
        return Step(model, model, self)

    def transcription(self) -> Step:
        """Return a step of the plain eager transcription, with torch's fused attention."""
        oracle = copied_from(self.model().cpu()).to(self.device)
        for module in oracle.modules():
            if isinstance(module, PublishedAttention):
                module.fused = True
        return Step(oracle, lambda x_BICT: oracle(x_BICT[:, 0]), self)

    def steps(self) -> dict[str, Callable[[], Step]]:
        """Return what makes a step of every variant, the fastest first."""
        eager = self.runtime.model_copy(update={"compile": "off"})
        makers: dict[str, Callable[[], Step]] = {}
        if self.runtime.compile == "on":
            makers["ours, compiled"] = partial(self.ours, self.runtime)
            makers["ours, compiled, CUDA graphs"] = self.replayed
        makers["ours, eager"] = partial(self.ours, eager)
        makers["transcription"] = self.transcription
        return makers

    def loss_alone(self) -> Callable[[], None]:
        """Return what a step does outside the model and the optimiser."""
        batch = self.batch(self.setup.batch)
        shape = (self.setup.batch, self.setup.outputs, *batch.references.shape[2:])
        estimate = torch.randn(shape, device=self.device, requires_grad=True)

        def work() -> None:
            torch.autograd.backward(self.objective(lambda _: estimate, batch).loss)
            wait(self.device)

        return work


def peak_memory(lab: Lab, runtime: RuntimeConfig, batch: int) -> int:
    """Return the most bytes that a step of ours held on CUDA; raise where it does not fit."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step = lab.ours(runtime)
    step(batch)
    step(batch)
    return torch.cuda.max_memory_allocated() - before


def wait(device: torch.device) -> None:
    """Return when the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
