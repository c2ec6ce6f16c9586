"""Mixture invariant training: references are the two mixtures.

Tensors: B batch, M = 2 mixtures, S outputs, C audio channels, T samples.
"""

from collections.abc import Sequence

from torch import Tensor

from training.losses.mixit import mixit_loss
from training.models.separator import Separation
from training.objectives.mixit.config import MixitObjective
from training.objectives.mixit.statistics import OutputStatistics
from training.objectives.objective import Objective, Score


class Mixit(Objective):
    """Each output goes to one of two mixtures; what adds up to each is compared with it."""

    config: MixitObjective

    def score(self, separation: Separation, references_BPCT: Tensor) -> Score:
        """Return the loss of the best assignment, in dB, and how outputs are shared out."""
        config = self.config
        loss, assignment_BMS = mixit_loss(
            separation.waveforms, references_BPCT, config.solver, config.soft_threshold_db
        )
        # Half is balance; near 0 or 1 one mixture has taken all outputs.
        return Score(loss, {"first_mixture_share": assignment_BMS[:, 0].detach().mean()})

    def statistics(self) -> OutputStatistics:
        """Return what counts which outputs are alive."""
        return OutputStatistics(self.config, self.model.outputs)

    def output_names(self, stems: Sequence[str]) -> list[str]:
        """Return numbered names: which output plays which stem is not known yet."""
        return [f"output-{number:02d}" for number in range(self.model.outputs)]
