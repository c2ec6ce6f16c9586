"""The paper's study as one frozen value, around which its tables vary."""

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from flows.config import StudyConfig
from pipelines.config import FmaConfig, MusdbConfig
from storage.config import Config
from training.config import EvaluateConfig, SelectConfig, TrainConfig


class VariantConfig(Config):
    """One value of what a table varies: a size of the separator, or a scale of the archive."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    """As the table's rows and the labels of its stages have it, such as `small`."""
    settings: tuple[str, ...] = ()
    """What differs from the study, as `--set` takes it, such as `fma.archive=fma_small.zip`."""


class TablesConfig(Config):
    """What the paper's tables vary around the study. A study's own run reads none of it."""

    sizes: tuple[VariantConfig, ...] = ()
    """Of the separator, in `table1` and `table2`; none: the study's own alone."""
    scales: tuple[VariantConfig, ...] = ()
    """Of the archive pre-trained on, in `table3`, the smallest first; none: the study's own."""
    frozen_steps: PositiveInt = 22_000
    """Fine-tuning steps in `table2`, whose separators stay frozen (200 epochs of 110 steps)."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1)
    """Of `mixit_gain`: each pre-trains once, then fine-tunes from that and from scratch."""


class MixitStudyConfig(StudyConfig):
    """From archives to a scored, reported separator."""

    STEMS_OF: ClassVar[tuple[str, ...]] = (
        "musdb.stems", "finetuning.data.stems", "selection.stems", "evaluation.stems",
    )  # fmt: skip
    OUTPUTS_OF: ClassVar[tuple[str, ...]] = ("finetuning.model.outputs",)

    fma: FmaConfig = FmaConfig()
    musdb: MusdbConfig = MusdbConfig()
    pretraining: TrainConfig
    """MixIT on the FMA's clips."""
    selection: SelectConfig = SelectConfig()
    finetuning: TrainConfig
    """Supervised, on MUSDB18's stems, from the pre-trained model and from scratch alike."""
    from_scratch: bool = True
    """Also fine-tune from random weights, to see what pre-training is worth."""
    evaluation: EvaluateConfig = EvaluateConfig()
    tables: TablesConfig = TablesConfig()
