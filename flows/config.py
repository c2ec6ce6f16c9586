"""A study as one frozen value: what the command line overrides and the Prefect UI shows."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from pipelines.config import FmaConfig, MusdbConfig, SynthesisConfig
from storage.config import Config
from training.config import EvaluateConfig, SelectConfig, TrainConfig


class SourceConfig(Config):
    """Where the archives are."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"root", "access", "mirror"})

    root: str = "archives"
    """Folder that holds the archives. Left unread when the study synthesises its own."""
    access: Literal["local", "download", "range"] = "local"
    """`local`: the archives lie in `root`. `download`: those that do not are fetched to it whole
    first. `range`: as `download`, but the FMA's tracks are read in place, by HTTP ranges."""
    mirror: str = ""
    """Address of a folder that serves the archives under their names; none: their publishers."""


class LimitsConfig(Config):
    """How long a job may take, and how many run at once. Never what comes out."""

    job_hours: PositiveFloat = 24 * 14
    """A training or evaluation job is stopped, resumably, after this many hours."""
    gpu_jobs: PositiveInt = 1
    """Jobs of this study at a time. All studies together keep to the server's limit `gpu`."""


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

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"limits"})

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
