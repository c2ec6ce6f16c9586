"""Whether a micro-batch fits: measured, by doing what a step does, never estimated.

A recipe's batch is cut into micro-batches whose gradients add up, so what fits decides how fast a
recipe runs and not what comes out.
"""

import copy
import gc
from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.data.batches import Batch
from training.distributed import ProcessRank
from training.engine.guards import is_exhaustion
from training.objectives.objective import Objective

Trial = Callable[[int], None]
"""Does what a step does with so many examples, and leaves no trace."""


def rehearse(model: nn.Module, objective: Objective, process: ProcessRank, batch: Batch) -> None:
    """Do what a step does with a micro-batch, and leave no trace.

    Twice, because the second one's activations come on top of the first one's gradients.
    """
    try:
        for _ in range(2):
            objective(process.in_precision(model), batch).loss.backward()
    finally:
        model.zero_grad(set_to_none=True)


def moments(model: nn.Module) -> list[Tensor]:
    """Return as much as the optimiser will hold: two tensors for each trained parameter."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [torch.zeros_like(parameter) for parameter in trained for _ in range(2)]


def fits(trial: Trial, examples: int) -> bool:
    """Say whether a trial stays within memory."""
    try:
        trial(examples)
    except (MemoryError, RuntimeError) as error:
        if not is_exhaustion(error):
            raise
        full = True
    else:
        full = False
    # Only here, with the error gone, are the failed trial's tensors free.
    release()
    return not full


def release() -> None:
    """Give back what no tensor uses."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halved(trial: Trial, examples: int) -> int:
    """Return the first of examples / 2, / 4, ... that fits, or 0."""
    while examples := examples // 2:
        if fits(trial, examples):
            return examples
    return 0


def advice(model: nn.Module, objective: Objective, process: ProcessRank, batch: Batch) -> str:
    """Say which part of a micro-batch that did not fit would have, having tried it."""
    model.zero_grad(set_to_none=True)
    if process.world > 1:
        # The wrapped model's gradients call for the other processes; its copy's do not.
        model = copy.deepcopy(model)
    release()

    def trial(examples: int) -> None:
        rehearse(model, objective, process, batch.first(examples))

    most = halved(trial, batch.size)
    if most:
        return (
            f"memory is full with {batch.size} examples at a time; {most} fit, as was just "
            f"measured: set runtime.micro_batch={most}, which changes no result, and run again"
        )
    return (
        f"memory is full with {batch.size} examples at a time, and not even one fits; give "
        "it more, or take a smaller model or data.segment_seconds"
    )
