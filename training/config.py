"""The settings of training, selection, separation and evaluation, torch-free.

What can be of several kinds has a room of its own: `models`, `data`, `objectives`, `schedules`,
`optimisers`, `starts`. Defaults are the first paper's as its authors' code runs it; where the paper
says otherwise, the field's docstring says so.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from storage.config import Config, Json, MeasuredIn
from storage.records import STEMS
from training.data.clips.config import ClipsData
from training.data.table import DataConfig
from training.models.table import ModelConfig
from training.objectives.mixit.config import MixitObjective
from training.objectives.table import ObjectiveConfig
from training.settings import former
from training.settings.optimisers import AdamWConfig, OptimConfig
from training.settings.runtime import RuntimeConfig
from training.settings.schedules import ExponentialSchedule, ScheduleConfig
from training.settings.starts import InputsStart, StartConfig


class LoopConfig(Config):
    """How long, how often, how many."""

    steps: PositiveInt = 152_850
    """Of the whole run, one update of the weights each (150 epochs of 1019 in pre-training)."""
    validate_every: Annotated[PositiveInt, MeasuredIn("steps")] = 2038
    """Between two validations; each writes a checkpoint that competes for the best."""
    validation_batches: PositiveInt = 32
    """Batches that a validation loss is the mean of; more make it steadier, and take longer."""
    checkpoint_every: Annotated[PositiveInt, MeasuredIn("steps")] = 500
    """Between two checkpoints to resume from; a crash costs so many steps at most."""
    log_every: Annotated[PositiveInt, MeasuredIn("steps")] = 10
    """Between two lines of the run's log and points of its curves."""
    keep_best: PositiveInt = 5
    """Checkpoints kept by validation loss; their average is the run's result."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Per step, of an exponential moving average of the weights, which is then what is validated
    and averaged into the result; 0 keeps none, as the authors do."""
    seed: NonNegativeInt = 0
    """Decides the first weights, the order of examples and what is drawn at random."""


class TrainConfig(Config):
    """One training run."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime"})
    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"start"})

    model: ModelConfig
    """What is trained."""
    data: DataConfig = ClipsData()
    """Where its examples are taken from."""
    objective: ObjectiveConfig = MixitObjective()
    """The loss that it is trained to lower."""
    start: StartConfig = InputsStart()
    """The weights before the first step."""
    optim: OptimConfig = AdamWConfig()
    """How a step changes the weights."""
    schedule: ScheduleConfig = ExponentialSchedule()
    """The learning rate over the run's steps."""
    loop: LoopConfig = LoopConfig()
    """How many steps, and what is done between them."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Autocast of the network body; `auto` is bf16 on CUDA and float32 on CPU."""
    freeze_separator: bool = False
    """Train only what lies before and after the model's body, such as the band encoder and decoder
    (the paper's Table 2)."""
    runtime: RuntimeConfig = RuntimeConfig()
    """Where and how fast it runs; never what its result is."""

    @model_validator(mode="before")
    @classmethod
    def _of_former_releases(cls, values: Any) -> Any:
        return former.lifted(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        misfits = list(self.objective.misfits(self.model, self.data))
        if self.freeze_separator and "freeze" not in self.model.ABILITIES:
            misfits.append(
                f"freeze_separator = true, but a model of kind '{self.model.kind}' has no body to "
                "freeze; set freeze_separator=false"
            )
        if misfits:
            raise ValueError("; ".join(misfits))
        return self

    def what_matters(self) -> Json:
        """Return the fields that decide the result, under the names that homes are keyed by."""
        return former.keyed(super().what_matters())


class SelectConfig(Config):
    """Which pre-trained output plays which stem (section 4.3, three steps)."""

    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"stems"})

    chunk_seconds: PositiveFloat = 6.0
    """Length of the pieces of a song that each cast a vote."""
    stems: tuple[str, ...] = STEMS
    """Names of the stems that outputs are chosen for."""


class SeparateConfig(Config):
    """Whole-song separation by overlapping chunks."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    chunk_seconds: PositiveFloat | None = None
    """Length of a chunk; none takes what the model works best with."""
    hop_seconds: PositiveFloat | None = None
    """From one chunk to the next; none takes half a chunk."""
    shifts: PositiveInt = 1
    """Framings of the song that are averaged. Spread evenly over a hop, they are the chunks of a
    hop so many times shorter, and that is how they are computed."""
    swap_channels: bool = False
    """Average with the result for left and right exchanged; takes twice as long."""
    sum_to_mixture: bool = False
    """Share out what is left of the mixture equally, so that the stems add up to it."""
    batch_size: PositiveInt = 4
    """Chunks per forward pass."""

    def what_matters(self) -> Json:
        """Return the fields that decide the result, under the names that homes are keyed by."""
        return former.keyed_chunks(super().what_matters())


class DeliveryConfig(Config):
    """What a separated song is written as."""

    format: Literal["wav", "wav24", "flac"] = "wav"
    """32-bit float WAV; or 24-bit PCM in WAV or FLAC, where what is beyond full scale is clipped.
    A WAV too large for its 32-bit sizes is written as RF64."""
    pictures: bool = False
    """Draw a spectrogram of every stem beside it."""


class EvaluateConfig(Config):
    """Separate the test songs and score them."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"workers"})
    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"stems", "assignment"})

    stems: tuple[str, ...] = STEMS
    """Names of the stems to score, in the order of the model's outputs."""
    assignment: Literal["named", "oracle"] = "named"
    """`named`: output s is stem s. `oracle`: of each song, outputs are assigned to stems so that
    their mean SI-SDR is highest, for models whose outputs have no names; there may be more outputs
    than stems."""
    separate: SeparateConfig = SeparateConfig()
    """How a whole song is separated."""
    frame_seconds: PositiveFloat = 1.0
    """Window and hop of the chunk-wise SDR (museval v4)."""
    excerpt_seconds: PositiveFloat = 6.0
    """Length of the excerpt kept of each song, with its stems, for the report."""
    museval: bool = False
    """Also run museval itself and store its numbers beside ours."""
    workers: PositiveInt = 2
    """Songs that are scored at once, while the next is separated; each holds some 1.5 GB for
    four minutes of music."""
