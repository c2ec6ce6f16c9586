"""What a step minimises: references [B, P, C, T] -> mixture -> estimates -> loss.

Both objectives score in the domain where each mixture's channels have STFT RMS 1, as the authors
do (the level matters only to the losses' small constants). P counts mixtures or stems.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from training.config import (
    BsLocoformerConfig,
    MixitObjective,
    ObjectiveConfig,
    SupervisedObjective,
)
from training.losses.mixit import mixit_loss
from training.losses.snr import supervised_loss
from training.models.spectral import normalise

Forward = Callable[[Tensor], Tensor]
"""`x_BICT -> y_BSCT`."""


class Outcome(NamedTuple):
    """A loss, the mean over its batch, and numbers worth logging beside it."""

    loss: Tensor
    logs: dict[str, Tensor]


class Objective(ABC):
    """References and a model's forward pass -> loss."""

    def __init__(self, config: ObjectiveConfig, model: BsLocoformerConfig) -> None:
        self._config = config
        self._n_fft, self._hop = model.n_fft, model.hop

    def __call__(self, forward: Forward, references_BPCT: Tensor) -> Outcome:
        """Return the mean loss in dB over the batch, with gradient."""
        mixture_BCT = references_BPCT.sum(dim=1)
        mixture_BCT, references_BPCT = normalise(
            mixture_BCT, references_BPCT, n_fft=self._n_fft, hop=self._hop
        )
        estimate_BSCT = forward(mixture_BCT.unsqueeze(1)).float()
        return self._score(estimate_BSCT, references_BPCT)

    @abstractmethod
    def _score(self, estimate_BSCT: Tensor, references_BPCT: Tensor) -> Outcome: ...


class Mixit(Objective):
    """Mixture invariant training; references are the two mixtures."""

    _config: MixitObjective

    def _score(self, estimate_BSCT: Tensor, references_BPCT: Tensor) -> Outcome:
        loss, assignment_BMS = mixit_loss(estimate_BSCT, references_BPCT, self._config)
        # Half is balance; near 0 or 1 one mixture has taken all outputs.
        return Outcome(loss, {"first_mixture_share": assignment_BMS[:, 0].detach().mean()})


class Supervised(Objective):
    """Thresholded SNR; references are the stems in the order of the model's outputs."""

    _config: SupervisedObjective

    def _score(self, estimate_BSCT: Tensor, references_BPCT: Tensor) -> Outcome:
        return Outcome(supervised_loss(estimate_BSCT, references_BPCT, self._config), {})


def build(config: ObjectiveConfig, model: BsLocoformerConfig) -> Objective:
    """Return the objective of a config; `model` says which STFT measures levels."""
    kind = Mixit if isinstance(config, MixitObjective) else Supervised
    return kind(config, model)
