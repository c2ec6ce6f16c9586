"""Mean absolute error: references are the stems in the order of the model's outputs."""

from torch import Tensor

from training.models.separator import Separation
from training.objectives.l1.config import L1Objective
from training.objectives.objective import Objective, Score


class L1(Objective):
    """Each output's waveform is compared with its stem's, sample by sample."""

    config: L1Objective

    def score(self, separation: Separation, references_BPCT: Tensor) -> Score:
        """Return the mean of |reference - estimate|, in units of the mixture's level."""
        return Score((references_BPCT - separation.waveforms).abs().mean(), {})
