"""One training step of the demo's pre-training per line of standard input, in its own process.

`python -m tests.benchmarks.demo_child fast|transcription|products`; the allocator is the
environment's.
"""

import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tests.benchmarks.operations import MatrixProducts
from tests.training.models.bs_locoformer.transcription import copied_from
from training.data.batches import Batch
from training.models.bs_locoformer.config import TINY
from training.models.bs_locoformer.model import BsLocoformer
from training.objectives.objective import build
from training.recipes import pretrain_demo

CONFIG, MODEL = pretrain_demo(), TINY
FRAMES = round(CONFIG.data.segment_seconds * MODEL.sample_rate)
"""Samples of a segment."""


def step_operations() -> float:
    """Return the operations of a step: a backward pass takes twice its forward pass."""
    forward = CONFIG.model.operations(FRAMES)
    return 3 * CONFIG.data.batch_size * forward


def make(variant: str) -> Callable[[], object]:
    """Return a callable that takes one step."""
    if variant == "products":
        return MatrixProducts(step_operations())
    torch.manual_seed(0)
    model = BsLocoformer(MODEL).train()
    batch = Batch.of_sum(0.1 * torch.randn(CONFIG.data.batch_size, 2, 2, FRAMES))
    if variant == "fast":
        return _Step(model, model, batch)
    oracle = copied_from(model)
    return _Step(oracle, lambda x_BICT: oracle(x_BICT[:, 0]), batch)


class _Step:
    """Forward, loss and backward; no optimiser, no data loading."""

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Tensor], batch: Batch) -> None:
        self._objective = build(CONFIG.objective, CONFIG.model)
        self._model, self._forward, self._batch = model, forward, batch

    def __call__(self) -> None:
        self._model.zero_grad()
        torch.autograd.backward(self._objective(self._forward, self._batch).loss)


def main() -> None:
    """Answer every line with `done`, after a step."""
    step = make(sys.argv[1])
    for _ in sys.stdin:
        step()
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
