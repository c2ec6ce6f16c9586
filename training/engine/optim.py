"""Settings -> optimiser: over the parameters that want a gradient."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Adam, AdamW

from training.settings.optimisers import AdamConfig, AdamSettings, AdamWConfig, OptimConfig

OPTIMISERS: dict[type[AdamSettings], type[Adam]] = {AdamWConfig: AdamW, AdamConfig: Adam}
"""Every optimiser by the type of its settings."""


def build(parameters: Iterable[nn.Parameter], config: OptimConfig) -> Adam:
    """Return the optimiser over the parameters that want a gradient.

    Weight decay hits all of them, norms and biases included, as in the authors' code.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return OPTIMISERS[type(config)](
        trained,
        lr=config.lr,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True if trained[0].is_cuda else None,
    )


def set_learning_rate(optimizer: Adam, rate: float) -> None:
    """Use this learning rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
