"""A study as one frozen value: what the command line overrides and the Prefect UI shows."""

from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from pydantic_core import PydanticCustomError

from pipelines.config import FmaConfig, MusdbConfig, SynthesisConfig
from storage.config import SECRET, Config
from training.config import EvaluateConfig, SelectConfig, TrainConfig


def _bare(address: str) -> str:
    """Refuse a secret in an address: settings are shown in forms, and kept in homes."""
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query:
        raise PydanticCustomError(
            SECRET,
            "it holds a user, a password or a query, and settings are no place for secrets; give "
            "the bare address of a server that asks for none, or put the archives in data.root",
        )
    return address


class SourceConfig(Config):
    """Where the archives are."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"root", "access", "mirror"})

    root: str = "archives"
    """Folder that holds the archives. Left unread when the study synthesises its own."""
    access: Literal["local", "download", "range"] = "local"
    """`local`: the archives lie in `root`. `download`: those that do not are fetched to it whole
    first. `range`: as `download`, but the FMA's tracks are read in place, by HTTP ranges."""
    mirror: Annotated[str, AfterValidator(_bare)] = ""
    """Address of a folder that serves the archives under their names; none: their publishers."""


class LimitsConfig(Config):
    """How long a stage may take, how many jobs run at once, how often a run resumes by itself.

    Never what comes out. A stage past its time ends as `TimedOut`; what it did until then is kept.
    """

    training_hours: PositiveFloat = 24 * 14
    """Of one training job: pre-training, fine-tuning, training from scratch."""
    selection_hours: PositiveFloat = 24
    """Of choosing the output channels."""
    evaluation_hours: PositiveFloat = 48
    """Of one evaluation."""
    packing_hours: PositiveFloat = 48
    """Of one task that packs a batch of units."""
    other_hours: PositiveFloat = 24 * 7
    """Of any other stage: fetching, checking, planning, unpacking, detecting activity, a report."""
    resumes: NonNegativeInt = 2
    """A deployed run whose process was lost is started again by itself so many times."""
    stall_minutes: PositiveFloat = 60
    """A stage that shows no sign of life for so long is told of, and goes on."""
    gpu_jobs: PositiveInt = 1
    """Jobs of this study at a time. All studies together keep to the server's limit `gpu`."""


class GatesConfig(Config):
    """What is asked of data and people before GPU time is spent. Never what comes out."""

    minimum_hours: NonNegativeFloat = 0.0
    """Of music kept from the archive."""
    maximum_failures: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of tracks that are quarantined."""
    maximum_silence: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of decoded hours that no clip holds: silence, and what is left over at tracks' ends."""
    action: Literal["block", "warn"] = "block"
    """What comes of data that is worse: pre-training does not begin, or begins with a warning."""
    approval_gpu_hours: NonNegativeFloat | None = None
    """Pause for a person's approval before spending more than so much; none: never ask."""
    approval_wait_hours: PositiveFloat = 72
    """How long to wait for an answer; then the run fails, and can be run again."""

    @property
    def judge(self) -> bool:
        """Say whether any data could be refused."""
        strictest = (self.minimum_hours, 1 - self.maximum_failures, 1 - self.maximum_silence)
        return any(value > 0 for value in strictest)


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


class StudyConfig(Config):
    """From archives to a scored, reported separator."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"limits", "gates"})

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    """What this study is called in its home. One home holds one configuration under a name."""
    data: SourceConfig = SourceConfig()
    synthesis: SynthesisConfig | None = None
    """Make the archives on the spot instead of reading `data.root`."""
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
    limits: LimitsConfig = LimitsConfig()
    gates: GatesConfig = GatesConfig()
