"""The settings of the L1 objective."""

from typing import Literal

from training.objectives.settings import StemObjectiveSettings


class L1Objective(StemObjectiveSettings):
    """Mean absolute error of waveforms, per stem in fixed order (Défossez et al. 2019, Demucs)."""

    kind: Literal["l1"] = "l1"
