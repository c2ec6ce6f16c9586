"""What a step minimises: a batch of inputs and references -> separation -> loss.

Losses are computed in the domain where each mixture's channels have STFT RMS 1, as the authors of
the first paper do (the level matters only to the losses' small constants).

Tensors: B batch, I inputs, P references (mixtures or stems), S outputs, C audio channels,
T samples.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol, cast

from torch import Tensor

from storage.unions import implementation_of
from training.data.batches import Batch
from training.losses.level import at_level_of
from training.models.separator import Forward, Separation, separation_of
from training.models.settings import ModelSettings
from training.objectives.settings import ObjectiveSettings
from training.objectives.table import OBJECTIVES

Numbers = dict[str, float | list[float]]
"""Named measures, for the log."""


class Score(NamedTuple):
    """A loss, the mean over its batch, and numbers worth logging beside it."""

    loss: Tensor
    logs: dict[str, Tensor]


class Outcome(NamedTuple):
    """A score, with gradient, and what it was given for, without."""

    loss: Tensor
    logs: dict[str, Tensor]
    inputs: Tensor
    """[B, I, C, T], as the model was given them: at their own level."""
    separation: Separation
    references: Tensor
    """[B, P, C, T], at the inputs' level."""


class Statistics(Protocol):
    """Sums over examples, which add up over batches and processes, and the measures they give."""

    def add(self, outcome: Outcome) -> None:
        """Count a batch."""

    def sums(self) -> list[float]:
        """Return the sums, to be added to those of other processes."""

    def numbers(self, sums: list[float]) -> Numbers:
        """Return the measures that the sums give, by name."""


class Objective(ABC):
    """A batch and a model's forward pass -> loss."""

    def __init__(self, config: ObjectiveSettings, model: ModelSettings) -> None:
        self.config: ObjectiveSettings = config
        self.model = model

    def __call__(self, forward: Forward, batch: Batch) -> Outcome:
        """Return the mean loss over the batch, with gradient."""
        inputs_BICT, references_BPCT = self.levelled(batch)
        waveforms, products = separation_of(forward(inputs_BICT))
        separation = Separation(waveforms.float(), products)
        loss, logs = self.score(separation, references_BPCT)
        given = Separation(
            separation.waveforms.detach(), {name: one.detach() for name, one in products.items()}
        )
        return Outcome(loss, logs, inputs_BICT, given, references_BPCT)

    def levelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return inputs [B, I, C, T] and references [B, P, C, T] at the first input's level."""
        config = self.config
        inputs_BICT, references_BPCT = at_level_of(
            batch.inputs[:, 0],
            batch.inputs,
            batch.references,
            n_fft=config.level_n_fft,
            hop=config.level_hop,
        )
        return inputs_BICT, references_BPCT

    @abstractmethod
    def score(self, separation: Separation, references_BPCT: Tensor) -> Score:
        """Return the loss of what the model gave, all at the input's level, in float32."""

    def statistics(self) -> Statistics | None:
        """Return what counts measures beside the loss; by default there is nothing to count."""
        return None

    def output_names(self, stems: Sequence[str]) -> list[str]:
        """Return what each output is called: the stems in their order, by default."""
        return list(stems)


def build(config: ObjectiveSettings, model: ModelSettings) -> Objective:
    """Return the objective of its settings, for a model of these."""
    return cast("Objective", implementation_of(OBJECTIVES, config)(config, model))
