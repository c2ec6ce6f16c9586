"""Thresholded SNR: references are the stems in the order of the model's outputs."""

from torch import Tensor

from training.losses.snr import supervised_loss
from training.models.separator import Separation
from training.objectives.objective import Objective, Score
from training.objectives.supervised.config import SupervisedObjective


class Supervised(Objective):
    """Each output is compared with its stem, silent stems included."""

    config: SupervisedObjective

    def score(self, separation: Separation, references_BPCT: Tensor) -> Score:
        """Return the mean loss over stems and channels, in dB."""
        config = self.config
        loss = supervised_loss(
            separation.waveforms,
            references_BPCT,
            soft_threshold_db=config.soft_threshold_db,
            inactive_db=config.inactive_db,
            zero_reference_weight=config.zero_reference_weight,
        )
        return Score(loss, {})
