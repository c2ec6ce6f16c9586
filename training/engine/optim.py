"""Optimiser and learning rate: AdamW, linear warm-up, constant, exponential decay in steps."""

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW

from training.config import OptimConfig


def build(parameters: Iterable[nn.Parameter], config: OptimConfig) -> AdamW:
    """Return AdamW over the parameters that want a gradient.

    Weight decay hits all of them, norms and biases included, as in the authors' code.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return AdamW(
        trained,
        lr=learning_rate(config, 0),
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True if trained[0].is_cuda else None,
    )


def learning_rate(config: OptimConfig, step: int) -> float:
    """Return the learning rate of a step, counted from 0.

    (step + 1) / warmup_steps of the peak during the warm-up, the peak up to `hold_steps`, then
    the peak times decay ** (steps since // decay_every). The authors' warm-up counts from -1, so
    their first step climbs instead of descending; this one never does.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    since = max(0, step - max(config.warmup_steps, config.hold_steps))
    return float(config.lr * config.decay ** (since // config.decay_every))


def set_learning_rate(optimizer: AdamW, rate: float) -> None:
    """Use this learning rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
