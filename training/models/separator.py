"""`Separator`: the contract every model keeps, so that one loop, one score and one CLI fit all.

Tensors: B batch, I input waveforms, S outputs, C audio channels, T samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Self

from torch import Tensor, nn

from training.config import ModelConfig


class Separator(nn.Module, ABC):
    """A map from waveforms to waveforms, `x_BICT -> y_BSCT`, with its config as an attribute.

    Any T >= 1 is accepted, odd lengths and lengths below one analysis window included. Inputs and
    outputs are float32 whatever autocast the caller has put around the call.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def outputs(self) -> int:
        """Number of separated signals S."""
        return self.config.outputs

    @abstractmethod
    def forward(self, x_BICT: Tensor) -> Tensor:
        """Separate float32 waveforms [B, I, C, T] into [B, S, C, T]."""

    @abstractmethod
    def separator_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters between encoder and decoder: what `freeze_separator` holds still."""

    @abstractmethod
    def with_outputs(self, chosen: Sequence[int]) -> Self:
        """Return a new model whose output s is output `chosen[s]` of this one; nothing is shared.

        Raises:
            ConfigError: `chosen` is empty or names an output that does not exist.
        """
