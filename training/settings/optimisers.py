"""The settings of optimisers, torch-free. `training.engine.optim` builds them.

To add an optimiser, write its settings, name them in `OptimConfig`, and give its class there.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from storage.config import Config

Beta = Annotated[float, Field(ge=0, le=1)]


class AdamSettings(Config):
    """What Adam and AdamW have in common (Kingma & Ba 2015)."""

    kind: str
    """Which optimiser this is."""
    lr: PositiveFloat = 1e-3
    """Peak learning rate (1e-3 small and medium, 5e-4 large)."""
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay per step of the means of gradients, and of their squares."""
    clip_norm: PositiveFloat = 5.0
    """Global L2 norm that gradients are clipped to."""


class AdamWConfig(AdamSettings):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegativeFloat = 1e-2
    """Share of each weight taken off per step and unit of learning rate, norms and biases included,
    as in the authors' code."""


class AdamConfig(AdamSettings):
    """Adam; weight decay, if any, is part of the gradient."""

    kind: Literal["adam"] = "adam"
    weight_decay: NonNegativeFloat = 0.0
    """Weight of the squared weights in the loss."""


OptimConfig = Annotated[AdamWConfig | AdamConfig, Field(discriminator="kind")]
"""Any optimiser, distinguished by its `kind`."""
