"""The paper's study as one frozen value, around which its tables vary."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from flows.config import NAME, StudyConfig
from pipelines.config import FmaConfig, MusdbConfig
from storage.config import Config, changes
from training.config import EvaluateConfig, SelectConfig, TrainConfig
from training.models.settings import ModelSettings
from training.models.table import MODELS
from training.settings.starts import InputsStart


class VariantConfig(Config):
    """One value of what a table varies: a size of the separator, or a scale of the archive."""

    name: Annotated[str, Field(pattern=NAME)]
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
    """The music without stems that pre-training learns from."""
    musdb: MusdbConfig = MusdbConfig()
    """The songs with stems that fine-tuning learns from and separators are scored on."""
    pretraining: TrainConfig
    """MixIT on the FMA's clips."""
    selection: SelectConfig = SelectConfig()
    """Which of the pre-trained model's outputs becomes which stem."""
    finetuning: TrainConfig
    """Supervised, on MUSDB18's stems, from the pre-trained model and from scratch alike."""
    from_scratch: bool = True
    """Also fine-tune from random weights, to see what pre-training is worth."""
    evaluation: EvaluateConfig = EvaluateConfig()
    """How the test songs are separated and scored."""
    tables: TablesConfig = TablesConfig()
    """What the paper's tables vary."""

    @model_validator(mode="after")
    def _halves_fit(self) -> Self:
        if found := list(self._misfits()):
            raise ValueError("; ".join(found))
        return self

    def _misfits(self) -> Iterator[str]:
        """Yield, in words, why fine-tuning cannot begin with the pre-trained model."""
        before, after = self.pretraining.model, self.finetuning.model
        if "choose_outputs" not in before.ABILITIES:
            yield (
                f"pretraining.model.kind = '{before.kind}', but a model of this kind cannot choose "
                "outputs, which channel selection does; set pretraining.model.kind and "
                f"finetuning.model.kind to one of {', '.join(_able_to_choose())}"
            )
        if before.outputs < len(self.stems):
            yield (
                f"pretraining.model.outputs = {before.outputs}, but stems names {len(self.stems)} "
                "and each needs an output of its own; set pretraining.model.outputs="
                f"{len(self.stems)} or more"
            )
        # A start by prefixes takes parts of another model on purpose.
        if isinstance(self.finetuning.start, InputsStart):
            yield from _differences(before, after)


def _differences(before: ModelSettings, after: ModelSettings) -> Iterator[str]:
    """Yield in which settings two models differ, their outputs apart."""
    if before.kind != after.kind:
        yield (
            f"pretraining.model.kind = '{before.kind}', but finetuning.model.kind = "
            f"'{after.kind}'; fine-tuning continues with the pre-trained model: set both alike"
        )
        return
    found = changes(before.what_matters(), after.what_matters())
    for change in (one for one in found if one.path != "outputs"):
        yield (
            f"pretraining.model.{change.path} = {change.old_text}, but finetuning.model."
            f"{change.path} = {change.new_text}; fine-tuning continues with the pre-trained "
            "model: set both alike"
        )


def _able_to_choose() -> list[str]:
    kinds = [model for model in MODELS if "choose_outputs" in model.ABILITIES]
    return [str(model.model_fields["kind"].default) for model in kinds]
