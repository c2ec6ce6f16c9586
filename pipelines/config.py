"""Every knob of the data side: what is read, kept, cut, packed and marked."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from pipelines.measures.config import MeasureLimits
from storage.config import Config, MeasuredIn
from storage.records import STEMS

Unit = Annotated[float, Field(ge=0, le=1)]

MUSDB_VALIDATION = (
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)
"""The 14 titles of musdb's own validation list, taken out of the 100 training songs."""

MoisesDbStem = Literal[
    "vocals", "bass", "drums", "other", "guitar", "other_plucked", "percussion",
    "piano", "other_keys", "bowed_strings", "wind",
]  # fmt: skip
MOISESDB_STEMS: tuple[str, ...] = get_args(MoisesDbStem)
SAMPLE_RATE = 44_100
"""Hz of songs with stems, as they are prepared."""
CHANNELS = 2
"""Of songs with stems, as they are prepared."""
MIXTURE = "mixture"
"""Name of a song's whole sound, beside its stems."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""A stem or a recording, as its WAV file is called."""


class FilterConfig(MeasureLimits):
    """What is kept of a track, and why the rest is not."""

    sample_rate: Annotated[PositiveInt, MeasuredIn("Hz")] = 44_100
    """Tracks below are filtered as `rate_below_44100`; above, resampled to it."""
    mono: Literal["duplicate", "drop"] = "duplicate"
    """Mono tracks become two equal channels, or are filtered as `mono`."""
    silence: Literal["paper", "official"] = "paper"
    """`paper`: clips with more than `silent_seconds` seconds below `silence_db` are dropped.
    `official`: the authors' code. Ten of twenty parts of exact zeros drop the whole track, in any
    clip or in what is left at its end, whose last clips are moved back to end with it; mono tracks
    are filtered, whatever `mono` says."""
    silence_db: Annotated[float, MeasuredIn("dBFS")] = -60.0
    """A second whose power (mean over channels and samples) is below is silent."""
    silent_seconds: NonNegativeInt = 5
    """A clip with more silent seconds than this is dropped."""
    licences: tuple[str, ...] = ()
    """Licences allowed, as shell patterns such as `*Attribution*`, whatever the case; none given
    allows all. Others are filtered as `licence`."""
    duplicates: Literal["drop", "keep"] = "drop"
    """Tracks whose bytes are those of another are filtered as `duplicate`, or packed again."""


class ClipConfig(Config):
    """How tracks are cut."""

    seconds: PositiveInt = 10
    """Length of a clip (paper: 10). A track that is shorter gives none."""
    hop_seconds: PositiveInt = 5
    """From the start of one clip to the start of the next (paper: 5); a shorter hop cuts more
    clips, which overlap more. Only whole clips are cut."""


class ShardConfig(Config):
    """How clips are stored."""

    storage: Literal["clips", "segments"] = "clips"
    """`clips`: each clip is a sample. `segments`: each kept second is stored once, in samples of
    one hop, and clips are cut when they are read: about half the bytes."""
    codec: Literal["flac", "wav"] = "flac"
    """How clips are written, 16-bit either way: compressed without loss, or plain."""
    compression: Annotated[int, Field(ge=0, le=8)] = 4
    """Of FLAC: 0 fastest, 8 smallest."""
    max_bytes: PositiveInt = 1_000_000_000
    """A unit's shard is closed and a new one opened before it would grow past this."""


class FmaConfig(Config):
    """A Free Music Archive corpus."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset(
        {
            "connections",
            "units_per_task",
            "workers",
            "engine",
            "scheduler",
            "timeout_seconds",
            "memory_mb",
            "disk_reserve_gb",
        }
    )
    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"measures"})

    source: Literal["archive", "folder"] = "archive"
    """A zip in the FMA's layout, or any folder of audio files."""
    archive: str = "fma_full.zip"
    """Name of the archive, or of the folder, in the data root."""
    sha1: str | None = None
    """The archive's published sha1; checked before anything is read."""
    metadata: str = "fma_metadata.zip"
    """File name of the metadata archive, in the data root."""
    metadata_sha1: str | None = None
    """The metadata archive's published sha1, likewise."""
    filters: FilterConfig = FilterConfig()
    """Which tracks and clips are kept."""
    clips: ClipConfig = ClipConfig()
    """How tracks are cut."""
    shards: ShardConfig = ShardConfig()
    """How clips are stored."""
    measures: bool = True
    """Whether every track and second is measured (bandwidth, correlation of left and right,
    clipping, loudness, digital silence) and annotated with it. Filters on these need it."""
    unit_tracks: PositiveInt = 48
    """Tracks packed as one unit: the smallest thing that is done, or not."""
    seed: NonNegativeInt = 0
    """Seed of the permutation of tracks into units."""
    error_budget: Unit = 0.05
    """The census fails the run when a larger share of tracks than this is quarantined."""
    track_seconds: PositiveFloat = 14_400.0
    """A longer track is quarantined as `too_long` before it fills the disk."""
    timeout_seconds: PositiveFloat = 900.0
    """A track that takes longer to decode and cut is quarantined as `timeout`."""
    memory_mb: Annotated[PositiveInt, MeasuredIn("MiB")] = 600
    """A track that needs more memory is quarantined as `memory`."""
    disk_reserve_gb: NonNegativeFloat = 1.0
    """Packing stops, to be continued, before less than this is free on the disk that it writes to;
    0 writes until the disk is full."""
    connections: Annotated[int, Field(ge=1, le=16)] = 6
    """To the archive's server, at a time and from one machine."""
    units_per_task: NonNegativeInt = 0
    """Units in one orchestrated task; 0 takes as many as keep every core busy and the tasks few."""
    workers: NonNegativeInt = 0
    """Processes that decode; 0 takes one per core."""
    engine: Literal["local", "dask"] = "local"
    """Where units are packed: in processes of this machine, or by the workers of a Dask cluster."""
    scheduler: str = ""
    """Address of the Dask scheduler, such as `tcp://host:8786`."""

    @model_validator(mode="after")
    def _cuts_at_hops(self) -> Self:
        if (self.filters.silence, self.shards.storage) == ("official", "segments"):
            raise ValueError(
                "filters.silence=official moves the last clips of a track off the hops that "
                "shards.storage=segments stores; set shards.storage=clips, or filters.silence=paper"
            )
        return self

    @model_validator(mode="after")
    def _measures_what_it_judges(self) -> Self:
        if (names := self.filters.measured) and not self.measures:
            raise ValueError(
                f"filters.{names[0]} judges what is measured, but measures is false; set "
                f"measures=true, or filters.{names[0]}=null"
            )
        return self


class ActivityConfig(Config):
    """Source activity detection: where each stem sounds (BSRNN's method, authors' form)."""

    window_seconds: PositiveFloat = 8.0
    """Length of a window, which as a whole is judged to hold a stem or not (authors' code: 8)."""
    hop_seconds: PositiveFloat = 4.0
    """From the start of one window to the start of the next (authors' code: 4)."""
    chunks: PositiveInt = 10
    """Chunks per window (0.8 s each at the defaults)."""
    statistic: Literal["sum", "mean", "rms"] = "sum"
    """Of a chunk's samples over both channels: sum of squares (authors), their mean, or RMS."""
    quantile: Unit = 0.15
    """Of the song's chunk energies: the threshold, unless `floor` is higher."""
    floor: NonNegativeFloat = 1e-3
    """Lowest threshold, in the unit of `statistic`. TUSS's recipe lowers it for MoisesDB's quieter
    stems to 1e-5, and `zero` to 1e-7."""
    zero: NonNegativeFloat = 1e-5
    """Stands in for an energy of exactly zero before the quantile is taken."""
    keep_chunks: PositiveInt = 5
    """Active chunks that keep a window."""


class MusdbConfig(Config):
    """A corpus of songs with stems: MUSDB18-HQ, MoisesDB, or any folder in MUSDB's layout."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"workers"})
    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"stems", "mix", "licence"})

    source: Literal["musdb18hq", "folder", "moisesdb"] = "musdb18hq"
    """`musdb18hq`: the published zip. `folder`: songs under `train/`, `test/` and, if it is there,
    `validation/`, read in place. `moisesdb`: its zip or its folder, mixed down to `stems`."""
    archive: str = "musdb18hq.zip"
    """Name of the archive, or of the folder, in the data root."""
    sha1: str | None = None
    """The archive's published sha1, checked before anything is unpacked; a folder has none."""
    md5: str | None = None
    """The archive's published md5, likewise."""
    licence: str = ""
    """Of the songs, where their source has none that is known: a folder's, or another zip's."""
    stems: Annotated[tuple[Name, ...], Field(min_length=1)] = STEMS
    """What songs consist of, in the order of a model's outputs. Each stem is the recording of its
    name, or a sum that `mix` names. MoisesDB's recordings are its own eleven stems; at the default,
    `other` is the sum of eight of them."""
    mix: dict[Name, Annotated[tuple[Name, ...], Field(min_length=1)]] = Field(default_factory=dict)
    """Stems that are sums of recordings, as in `{"rest": ["bass", "drums", "other"]}`. Sums are
    written as float WAVs."""
    validation: tuple[str, ...] = MUSDB_VALIDATION
    """Titles taken out of `train` for validation. Titles MUSDB18-HQ lacks are reported."""
    validation_share: Unit = 0.1
    """Of the songs of MoisesDB, which publishes no split, and of a folder's training songs if
    neither `validation/` nor `validation` names one. Whole artists are taken."""
    test_share: Unit = 0.1
    """Of MoisesDB's songs, likewise."""
    seed: NonNegativeInt = 0
    """Decides which artists are taken."""
    max_stems: NonNegativeInt = 0
    """MoisesDB's songs with more of its eleven stems are filtered as `too_many_stems`; 0 takes all.
    4 leaves 61 of 240."""
    error_budget: Unit = 0.05
    """A folder or MoisesDB is refused when a larger share of its songs than this is quarantined."""
    workers: NonNegativeInt = 0
    """Processes that check a folder's songs or mix MoisesDB's; 0 takes one per core."""
    activity: ActivityConfig = ActivityConfig()
    """How the places are found where each stem sounds."""

    @model_validator(mode="after")
    def _leaves_songs_to_train(self) -> Self:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share:g} and test_share {self.test_share:g} "
                "leave no song to train on; they must add up to less than 1"
            )
        return self

    @model_validator(mode="after")
    def _has_distinct_stems(self) -> Self:
        if fault := _stems_fault(self.stems, self.mix):
            raise ValueError(fault)
        if self.source == "moisesdb":
            used = {name for names in self.recordings().values() for name in names}
            if unknown := sorted(used - set(MOISESDB_STEMS)):
                raise ValueError(
                    f"MoisesDB has no recordings of {', '.join(unknown)}; it has "
                    f"{', '.join(MOISESDB_STEMS)}: name these in stems, or sum them in mix"
                )
        return self

    def recordings(self) -> dict[str, tuple[str, ...]]:
        """Return which recordings' sum each stem is, in the order in which stems are added up."""
        mix = self.mix
        if self.source == "moisesdb" and not mix and set(self.stems) == set(STEMS):
            own = set(STEMS) - {"other"}
            mix = {"other": tuple(name for name in MOISESDB_STEMS if name not in own)}
        return {stem: mix.get(stem, (stem,)) for stem in sorted(self.stems)}


def _stems_fault(stems: tuple[str, ...], mix: dict[str, tuple[str, ...]]) -> str:
    """Say what is wrong with a list of stems and their sums; an empty string if nothing is."""
    if len(set(stems)) < len(stems):
        twice = ", ".join(sorted({stem for stem in stems if stems.count(stem) > 1}))
        return f"stems lists {twice} more than once; list each stem once"
    used = [name for stem in stems for name in mix.get(stem, (stem,))]
    if MIXTURE in (*stems, *used):
        return f"no stem or recording may be called {MIXTURE}, which is the whole song; rename it"
    if unlisted := sorted(set(mix) - set(stems)):
        return f"mix has a sum for {', '.join(unlisted)}, which stems does not list; add it there"
    if shared := sorted({name for name in used if used.count(name) > 1}):
        return f"recordings in more than one stem: {', '.join(shared)}; use each in one stem"
    return ""
