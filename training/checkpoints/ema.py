"""An exponential moving average of a model's weights: smoother than the last step's, and cheap."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from storage.errors import CheckpointError


class MovingAverage:
    """The average of a model's trained parameters, beside the model and on its device.

    Args:
        model: whose parameters that want a gradient are followed from where they are.
        decay: share of the average that a step keeps, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._parameters = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self._average = {name: value.detach().clone() for name, value in self._parameters.items()}

    def update(self, updates: int) -> None:
        """Take in the weights after update number `updates`, counted from 1.

        The decay climbs as (1 + n) / (10 + n), so that random first weights are soon forgotten. It
        is a function of the count alone, and so nothing but the average itself is state.
        """
        decay = min(self._decay, (1 + updates) / (10 + updates))
        merge = get_ema_multi_avg_fn(decay)
        now = [parameter.detach() for parameter in self._parameters.values()]
        merge(list(self._average.values()), now, None)

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Put the average in the place of the model's weights, and them back at the end."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return self._average

    def restore(self, weights: Mapping[str, Tensor], source: Path) -> None:
        """Go on from a saved average.

        Raises:
            CheckpointError: it is of other parameters; the message names `source`.
        """
        shapes = {name: value.shape for name, value in weights.items()}
        if shapes != {name: value.shape for name, value in self._average.items()}:
            raise CheckpointError(
                f"{source} holds an average of other parameters than this run trains; delete the "
                "checkpoints to start again from step 0"
            )
        for name, value in weights.items():
            self._average[name].copy_(value)

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self._parameters.items():
            held = parameter.clone()
            parameter.copy_(self._average[name])
            self._average[name].copy_(held)
