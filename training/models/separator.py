"""`Separator`: the contract every model keeps, so that one loop, one score and one CLI fit all.

Tensors: B batch, I input waveforms, S outputs, C audio channels, T samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, Self, cast, runtime_checkable

import torch
from torch import Tensor, nn

from storage.errors import CheckpointError, ConfigError
from storage.unions import implementation_of
from training.models.settings import ModelSettings
from training.models.table import MODELS

Recompute = Literal["nothing", "cheap", "everything"]
"""Activations that a backward pass recomputes, to save memory."""


class Separation(NamedTuple):
    """What a forward pass gives where it gives more than waveforms."""

    waveforms: Tensor
    """[B, S, C, T]."""
    products: dict[str, Tensor]
    """By name, such as `masks`: for losses and measures."""


Forward = Callable[[Tensor], Tensor | Separation]
"""`x_BICT -> y_BSCT`, with or without side products."""


class Separator(nn.Module, ABC):
    """A map from waveforms to waveforms, `x_BICT -> y_BSCT`, with its config as an attribute.

    Any T >= 1 is accepted, odd lengths and lengths below one analysis window included. Inputs and
    outputs are float32 whatever autocast the caller has put around the call.
    """

    def __init__(self, config: ModelSettings) -> None:
        super().__init__()
        self.config: ModelSettings = config
        self.chunk_seconds: float = config.CHUNK_SECONDS
        """Length of the chunks that a song is separated in, unless it is said otherwise."""
        self.hop_seconds: float = config.CHUNK_SECONDS / 2
        """From the start of one chunk to the next."""

    @property
    def outputs(self) -> int:
        """Number of separated signals S."""
        return self.config.outputs

    @abstractmethod
    def forward(self, x_BICT: Tensor) -> Tensor | Separation:
        """Separate float32 waveforms [B, I, C, T] into [B, S, C, T]."""

    def bodies(self) -> Iterable[nn.Module]:
        """Return the parts that may be compiled, one at a time; none by default.

        Transforms and complex numbers stay outside them: Inductor has no kernels for those.
        """
        return ()

    def set_recompute(self, mode: Recompute) -> None:
        """Choose which activations the backward pass recomputes; by default there is no choice.

        What is computed stays the same.
        """


class ChoosesOutputs(Separator):
    """The ability `choose_outputs`: outputs can be picked, as channel selection does."""

    @abstractmethod
    def state_of(self, chosen: Sequence[int]) -> dict[str, Tensor]:
        """Return the state dict of this model with only the outputs `chosen`, in that order.

        Nothing in it is shared with this model.
        """

    def with_outputs(self, chosen: Sequence[int]) -> Self:
        """Return a new model whose output s is output `chosen[s]` of this one; nothing is shared.

        Raises:
            ConfigError: `chosen` is empty or names an output that does not exist.
        """
        if not chosen or not all(0 <= output < self.outputs for output in chosen):
            raise ConfigError(
                f"chosen outputs {list(chosen)}: choose one or more of 0 to {self.outputs - 1}"
            )
        # On the meta device nothing is drawn: choosing outputs leaves the random state alone.
        with torch.device("meta"):
            model = type(self)(self.config.model_copy(update={"outputs": len(chosen)}))
        model.load_state_dict(self.state_of(chosen), assign=True)
        return model.train(self.training)


@runtime_checkable
class Freezes(Protocol):
    """The ability `freeze`: the body between encoder and decoder can be held still."""

    def frozen_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters between encoder and decoder: what `freeze_separator` holds still."""
        ...


def build(config: ModelSettings) -> Separator:
    """Return a freshly initialised model for its settings."""
    return cast("Separator", implementation_of(MODELS, config)(config))


def separation_of(given: Tensor | Separation) -> Separation:
    """Return what a forward pass gave, with its side products, if it has any."""
    return given if isinstance(given, Separation) else Separation(given, {})


def select_outputs(model: Separator, chosen: Sequence[int]) -> Separator:
    """Return a new model whose output s is output `chosen[s]` of `model`; nothing is shared.

    Raises:
        CheckpointError: this kind of model cannot choose among its outputs.
        ConfigError: `chosen` is empty or names an output that does not exist.
    """
    if not isinstance(model, ChoosesOutputs):
        raise CheckpointError(
            f"a model of kind '{model.config.kind}' cannot choose among its outputs; pre-train it "
            "with as many outputs as there are stems"
        )
    return model.with_outputs(chosen)
