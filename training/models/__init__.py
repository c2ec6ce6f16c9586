"""Config type to model class: one table, and `build`."""

from collections.abc import Iterator, Sequence

from torch import nn

from training.config import BsLocoformerConfig, ModelConfig
from training.models.bs_locoformer.model import BsLocoformer
from training.models.separator import Separator

MODELS: dict[type[ModelConfig], type[BsLocoformer]] = {BsLocoformerConfig: BsLocoformer}
"""Every model by the type of its config."""


def build(config: ModelConfig) -> Separator:
    """Return a freshly initialised model for its config."""
    return MODELS[type(config)](config)


def select_outputs(model: Separator, chosen: Sequence[int]) -> Separator:
    """Return a new model whose output s is output `chosen[s]` of `model`; nothing is shared.

    Raises:
        ConfigError: `chosen` is empty or names an output that does not exist.
    """
    return model.with_outputs(chosen)


def separator_parameters(model: Separator) -> Iterator[nn.Parameter]:
    """Yield the parameters between encoder and decoder: what `freeze_separator` holds still."""
    return model.separator_parameters()
