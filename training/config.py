"""Every knob of a training, selection or evaluation job, torch-free, on one scroll.

Defaults are the published medium recipe as its authors' code runs it; where the paper says
otherwise, the field's docstring says so.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from storage.config import Config

Unit = Annotated[float, Field(ge=0, le=1)]


class BsLocoformerConfig(Config):
    """BS-Locoformer (Saijo & Bando 2025, section 4.2). Small, medium and large are values."""

    kind: Literal["bs_locoformer"] = "bs_locoformer"
    outputs: PositiveInt = 12
    """Separated signals N (12 in pre-training, 4 after channel selection)."""
    audio_channels: PositiveInt = 2
    sample_rate: PositiveInt = 44_100
    """Hz. Decides the band split."""
    n_fft: PositiveInt = 2048
    """STFT window and transform length in samples (Hann)."""
    hop: PositiveInt = 512
    """STFT hop in samples."""
    blocks: PositiveInt = 6
    """TF-Locoformer blocks B, each a frequency path then a temporal path."""
    width: PositiveInt = 128
    """Embedding dimension D."""
    hidden: PositiveInt = 192
    """Hidden dimension C of each of the two convolutional feed-forward networks of a path."""
    kernel: PositiveInt = 8
    """Kernel size K of the feed-forward convolutions (stride 1)."""
    heads: PositiveInt = 8
    groups: PositiveInt = 8
    """Groups G of the RMS group normalisation."""
    dropout: Unit = 0.1
    """Not in the paper; 0.1 in the authors' code, in FFNs, attention and its projection."""
    keep_last_frame: bool = False
    """Keep all 1 + L // hop STFT frames. The authors' code drops the last one."""
    decoder_tanh: Literal["second", "first", "both"] = "second"
    """Which of the mask decoder's two hidden layers end in a tanh: `second` in the code of this
    paper, `first` in its authors' later release of the model, `both` in their TUSS (2025)."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for name in ("heads", "groups"):
            if self.width % getattr(self, name):
                raise ValueError(f"width {self.width} must be a multiple of {name}")
        return self


class MixitData(Config):
    """Clips from shards, added in pairs to mixtures of mixtures (MoM)."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"cache", "cache_gb"})

    kind: Literal["mixit"] = "mixit"
    batch_size: PositiveInt = 128
    """MoMs per step over all processes (so twice as many clips)."""
    segment_seconds: PositiveFloat = 6.0
    """Length of the random crop taken of each 10 s clip."""
    gain_db: NonNegativeFloat = 5.0
    """The power ratio of the two mixtures is uniform in ±gain_db. Not in the paper; in the code."""
    validation_share: Unit = 0.05
    """Share of tracks held out when the archive names no validation split."""
    order: Literal["clips", "shards"] = "clips"
    """How an epoch is shuffled. `clips`: one permutation of all clips. `shards`: shards are
    permuted and dealt into groups, and clips are permuted within a group only, for corpora in a
    bucket that are larger than `cache_gb`."""
    shards_at_once: PositiveInt = 16
    """Shards of a group. The cache holds two groups: the one in use and the next."""
    cache: str = ""
    """Folder of shards fetched from a bucket; empty takes one in the home's scratch folder."""
    cache_gb: NonNegativeFloat = 100.0
    """What may lie there; 0 reads every clip from the bucket."""


class StemsData(Config):
    """Stems by random active windows, mixed dynamically (Saijo & Bando 2025, section 4.3)."""

    kind: Literal["stems"] = "stems"
    batch_size: PositiveInt = 32
    """Mixtures per step over all processes."""
    segment_seconds: PositiveFloat = 6.0
    gain_db: NonNegativeFloat = 10.0
    """Each stem is scaled by a gain uniform in ±gain_db."""
    drop_probability: Unit = 0.05
    """Chance that a stem is left out of a mixture; redrawn if all would be."""
    normalise: Literal["mean_abs", "rms"] = "mean_abs"
    """Level that each stem is divided by. The paper says RMS; the authors' code is mean_abs."""


class MixitObjective(Config):
    """Mixture invariant training (Wisdom 2020) with the thresholded SNR of the paper's eq. 4."""

    kind: Literal["mixit"] = "mixit"
    solver: Literal["exact", "lstsq"] = "exact"
    """`exact` searches all 2^N assignments by one Gram matrix; `lstsq`: the authors' heuristic."""
    soft_threshold_db: PositiveFloat = 30.0
    """τ = 10^(-this/10) clamps the SNR."""


class SupervisedObjective(Config):
    """Thresholded SNR per stem in fixed order, accepting silent references."""

    kind: Literal["supervised"] = "supervised"
    soft_threshold_db: PositiveFloat = 30.0
    inactive_db: float = -60.0
    """A reference below this level against its mixture counts as silent."""
    zero_reference_weight: NonNegativeFloat = 0.1
    """Weight of the loss of silent references (0.1 in the authors' code, 1.0 in FUSS)."""


class OptimConfig(Config):
    """AdamW, linear warm-up, constant, then exponential decay in steps."""

    lr: PositiveFloat = 1e-3
    """Peak learning rate (1e-3 small and medium, 5e-4 large)."""
    weight_decay: NonNegativeFloat = 1e-2
    betas: tuple[Unit, Unit] = (0.9, 0.999)
    warmup_steps: NonNegativeInt = 4000
    """Steps of linear warm-up (the paper says 5000 in pre-training; the code 4000)."""
    hold_steps: NonNegativeInt = 0
    """Step up to which the learning rate stays at its peak after the warm-up."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.965
    decay_every: PositiveInt = 2038
    """Steps between two decays (2 epochs in the code; the paper says every epoch)."""
    clip_norm: PositiveFloat = 5.0
    """Global L2 norm that gradients are clipped to."""


class LoopConfig(Config):
    """How long, how often, how many."""

    steps: PositiveInt = 152_850
    validate_every: PositiveInt = 2038
    """Steps between validations; each writes a checkpoint that competes for the best."""
    validation_batches: PositiveInt = 32
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints to resume from."""
    log_every: PositiveInt = 10
    keep_best: PositiveInt = 5
    """Checkpoints kept by validation loss; their average is the run's result."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Per step, of an exponential moving average of the weights, which is then what is validated
    and averaged into the result; 0 keeps none, as the authors do."""
    seed: NonNegativeInt = 0


class RuntimeConfig(Config):
    """Where and how fast; never what comes out."""

    processes: PositiveInt = 1
    """torchrun processes on each host (one per GPU)."""
    hosts: PositiveInt = 1
    """Hosts that train together; several are started through STEMWORKS_LAUNCHER."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: NonNegativeInt = 0
    """CPU threads per process; 0 leaves torch's default."""
    loader_workers: NonNegativeInt = 0
    """Threads that read ahead, beside the one that trains; 0 is one."""
    micro_batch: NonNegativeInt = 0
    """Examples per forward pass and process; 0 takes the whole batch at once."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the model's bodies (a minute at the start); `auto` does so on CUDA."""
    recompute: Literal["nothing", "cheap", "everything"] = "nothing"
    """Activations computed anew in the backward pass, for memory: `cheap` keeps what products,
    convolutions and attention return; `everything` keeps the tokens between paths alone."""
    gpu_tflops: PositiveFloat = 150.0
    """TFLOP/s that a training step is taken to sustain on one GPU: an assumption, 15 % of an H200's
    peak in bf16. Estimates alone read it, and only until their home has trained such a model."""
    snapshot_every: NonNegativeInt = 10_190
    """Steps between snapshots of one fixed example's outputs; 0 takes none, else one ends a run."""


ModelConfig = BsLocoformerConfig
DataConfig = Annotated[MixitData | StemsData, Field(discriminator="kind")]
ObjectiveConfig = Annotated[MixitObjective | SupervisedObjective, Field(discriminator="kind")]


class TrainConfig(Config):
    """One training run."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime"})

    model: ModelConfig = BsLocoformerConfig()
    data: DataConfig = MixitData()
    objective: ObjectiveConfig = MixitObjective()
    optim: OptimConfig = OptimConfig()
    loop: LoopConfig = LoopConfig()
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Autocast of the network body; `auto` is bf16 on CUDA and float32 on CPU."""
    freeze_separator: bool = False
    """Train only the band encoder and decoder (the paper's Table 2)."""
    runtime: RuntimeConfig = RuntimeConfig()


class SelectConfig(Config):
    """Which pre-trained output plays which stem (section 4.3, three steps)."""

    chunk_seconds: PositiveFloat = 6.0


class SeparateConfig(Config):
    """Whole-song separation by overlapping chunks."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    chunk_seconds: PositiveFloat = 12.0
    hop_seconds: PositiveFloat = 6.0
    shifts: PositiveInt = 1
    """Framings of the song that are averaged. Spread evenly over a hop, they are the chunks of a
    hop so many times shorter, and that is how they are computed."""
    swap_channels: bool = False
    """Average with what comes of left and right exchanged; takes twice as long."""
    sum_to_mixture: bool = False
    """Share out what is left of the mixture equally, so that the stems add up to it."""
    batch_size: PositiveInt = 4
    """Chunks per forward pass."""


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

    separate: SeparateConfig = SeparateConfig()
    frame_seconds: PositiveFloat = 1.0
    """Window and hop of the chunk-wise SDR (museval v4)."""
    excerpt_seconds: PositiveFloat = 6.0
    """Length of the excerpt kept of each song, with its stems, for the report."""
    museval: bool = False
    """Also run museval itself and store its numbers beside ours."""
    workers: PositiveInt = 2
    """Songs that are scored at once, while the next is separated; each holds some 1.5 GB for
    four minutes of music."""
