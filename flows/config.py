"""A study as one frozen value: what the command line overrides and the Prefect UI shows."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

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
    limits: LimitsConfig = LimitsConfig()
