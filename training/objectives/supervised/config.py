"""The settings of the supervised objective."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat

from training.objectives.settings import StemObjectiveSettings


class SupervisedObjective(StemObjectiveSettings):
    """Thresholded SNR per stem in fixed order, accepting silent references."""

    kind: Literal["supervised"] = "supervised"
    soft_threshold_db: PositiveFloat = 30.0
    """SNR that the loss of a sounding reference saturates at: τ = 10^(-this/10) (paper: 30)."""
    inactive_db: float = -60.0
    """A reference below this level against its mixture counts as silent."""
    zero_reference_weight: NonNegativeFloat = 0.1
    """Weight of the loss of silent references (0.1 in the authors' code, 1.0 in FUSS)."""
