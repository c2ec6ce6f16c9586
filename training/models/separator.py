"""`Separator`: the contract every model keeps, so that one loop, one score and one CLI fit all.

Tensors: B batch, I input waveforms, S outputs, C audio channels, T samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, Self, cast, runtime_checkable

from torch import Tensor, nn

from storage.errors import CheckpointError
from storage.unions import implementation_of
from training.models.settings import ModelSettings
from training.models.table import MODELS

Recompute = Literal["nothing", "cheap", "everything"]
"""Activations that a backward pass computes anew, to save memory."""


class Separation(NamedTuple):
    """What a forward pass gives where it gives more than waveforms."""

    waveforms: Tensor
    """[B, S, C, T]."""
    products: dict[str, Tensor]
    """By name, such as `masks`: for losses and measures."""


Forward = Callable[[Tensor], Tensor | Separation]
"""`x_BICT -> y_BSCT`, with or without side products."""


class Imported(NamedTuple):
    """A model read of somebody else's checkpoint."""

    config: ModelSettings
    weights: dict[str, Tensor]
    """By the names of our model."""
    stems: tuple[str, ...] = ()
    """Names of its outputs, where the checkpoint's settings tell."""
    chunk_seconds: float | None = None
    """Length of the chunks that it was made for, where they tell."""
    hop_seconds: float | None = None
    """From the start of one chunk to the next, where they tell."""


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
        """Choose which activations the backward pass computes anew; by default there is no choice.

        What is computed stays the same.
        """


@runtime_checkable
class ChoosesOutputs(Protocol):
    """The ability `choose_outputs`: outputs can be picked, as channel selection does."""

    def with_outputs(self, chosen: Sequence[int]) -> Self:
        """Return a new model whose output s is output `chosen[s]` of this one; nothing is shared.

        Raises:
            ConfigError: `chosen` is empty or names an output that does not exist.
        """
        ...


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
    return cast("Separator", model.with_outputs(chosen))
