"""The settings of mixture invariant training."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import PositiveFloat

from training.data.settings import DataSettings, References
from training.losses.limits import MOST_OUTPUTS
from training.models.settings import ModelSettings
from training.objectives.settings import ObjectiveSettings

FEWEST_OUTPUTS = 2
"""One output could play only one of the two mixtures."""


class MixitObjective(ObjectiveSettings):
    """Mixture invariant training (Wisdom 2020) with the thresholded SNR of the paper's eq. 4."""

    REFERENCES: ClassVar[References] = "mixtures"

    kind: Literal["mixit"] = "mixit"
    solver: Literal["exact", "lstsq"] = "exact"
    """`exact` searches all 2^N assignments by one Gram matrix; `lstsq`: the authors' heuristic."""
    soft_threshold_db: PositiveFloat = 30.0
    """SNR that the loss saturates at: τ = 10^(-this/10) of the paper's eq. 4 (paper: 30)."""

    def misfits(self, model: ModelSettings, data: DataSettings) -> Iterator[str]:
        """Yield why MixIT cannot train this model on these data."""
        yield from super().misfits(model, data)
        if model.outputs < FEWEST_OUTPUTS:
            yield (
                f"model.outputs = {model.outputs}: MixIT shares out outputs between two mixtures; "
                f"set model.outputs={FEWEST_OUTPUTS} or more"
            )
        if self.solver == "exact" and model.outputs > MOST_OUTPUTS:
            yield (
                f"model.outputs = {model.outputs}: objective.solver = 'exact' compares 2^outputs "
                f"assignments and takes at most {MOST_OUTPUTS} outputs; set "
                "objective.solver=lstsq, or fewer outputs"
            )
