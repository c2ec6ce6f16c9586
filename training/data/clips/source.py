"""Shards -> pairs of clips for mixtures of mixtures (MoM), in a seeded order without state."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from storage.audio.waveforms import Waveform
from storage.config import Json
from storage.errors import ConfigError, DataError
from storage.home.layout import Corpus
from storage.home.open import open_home
from storage.home.runs import Job
from storage.shards.cache import ShardCache
from storage.shards.clip_table import Clip, ClipTable
from storage.shards.reader import ShardReader
from training import seeds
from training.data.batches import Batch, Example, Request, Sources
from training.data.clips.config import ClipsData
from training.data.clips.order import ClipOrder, EpochOrder, Numbers, ShardOrder
from training.data.mixtures import scale_pair
from training.models.settings import ModelSettings

TRIES = 10
"""Crops drawn of a clip before the loudest of them is taken."""
SILENT_POWER = 1e-6
"""Mean square below which a crop counts as silent: -60 dBFS, as for the clips themselves."""
FEWEST_TRACKS = 2
"""Of either side of the hold-out: a pair needs two."""

GIGABYTE = 10**9

logger = logging.getLogger(__name__)


class ClipPairs:
    """Random crops of two clips of different tracks, and the ratio of their powers.

    An epoch is a seeded order of all clips, in pairs. Example `number` is a pure function of
    (seed, name, number).
    """

    def __init__(self, reader: ShardReader, clips: Numbers, config: ClipsData, seed: int) -> None:
        """Take the numbers of the clips to use, in the reader's order."""
        self._reader, self._clips = reader, clips
        self._frames = round(config.segment_seconds * reader.index.sample_rate)
        self._gain_db, self._seed = config.gain_db, seed
        self._order = _order(reader, clips, config, seed)

    def __len__(self) -> int:
        """Return the pairs of an epoch."""
        return len(self._clips) // 2

    def example(self, number: int) -> Example:
        """Return the two crops [2, C, T] and the power ratio [1] in dB of one MoM.

        Raises:
            DataError: a shard is damaged; the message names clip and shard.
        """
        draw = seeds.generator(self._seed, "example", number)
        parts = np.stack([self._crop(clip, draw) for clip in self._pair(number)])
        ratio = draw.uniform(-self._gain_db, self._gain_db, size=1).astype(np.float32)
        return Example(parts, ratio)

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        """Return the two mixtures [B, 2, C, T] at their drawn power ratio, and their sum."""
        return Batch.of_sum(scale_pair(parts_BPCT, gains_db[:, 0]))

    def pair(self, number: int) -> tuple[Clip, Clip]:
        """Return the two clips of one MoM."""
        first, second = self._pair(number)
        return self._reader.clip(first), self._reader.clip(second)

    def epoch(self) -> Json:
        """Return the clips and the pairs of an epoch."""
        return {"clips": len(self._clips), "pairs": len(self)}

    def keys(self, number: int) -> tuple[str, ...]:
        """Return the keys of the two clips of one MoM."""
        return tuple(clip.key for clip in self.pair(number))

    def _pair(self, number: int) -> tuple[int, int]:
        first, second = self._order.pair(*divmod(number, len(self)))
        return int(self._clips[first]), int(self._clips[second])

    def _crop(self, clip: int, draw: np.random.Generator) -> Waveform:
        slack = self._reader.index.clip_frames - self._frames
        loudest, power = np.zeros((0, 0), np.float32), -1.0
        for _ in range(TRIES if slack else 1):
            start = int(draw.integers(slack + 1))
            crop = self._reader.read(clip, start, self._frames)
            crop_power = float(np.einsum("ct,ct->", crop, crop)) / crop.size
            if crop_power > power:
                loudest, power = crop, crop_power
            if power >= SILENT_POWER:
                break
        return loudest


class TrainingPairs(ClipPairs):
    """Pairs without end, whose shards are fetched before they are needed."""

    def __init__(self, reader: ShardReader, clips: Numbers, config: ClipsData, seed: int) -> None:
        super().__init__(reader, clips, config, seed)
        self._reached = (-1, -1)

    def example(self, number: int) -> Example:
        """Return one MoM as `ClipPairs` does."""
        epoch, position = divmod(number, len(self))
        reached = (epoch, self._order.group(epoch, position))
        if reached > self._reached:
            self._reached = reached
            self._fetch_ahead(*reached)
        return super().example(number)

    def _fetch_ahead(self, epoch: int, group: int) -> None:
        now, then = self._order.shards(epoch, group), self._order.shards(epoch, group + 1)
        if not self._reader.fetch_ahead([*now, *then]):
            logger.warning(
                "the cache is smaller than the shards in use, so every clip is read from the "
                "bucket; raise data.cache_gb, or set data.order=shards and data.shards_at_once"
            )


class HeldOutPairs(ClipPairs):
    """A fixed number of fixed pairs, crops and ratios."""

    def __init__(
        self, reader: ShardReader, clips: Numbers, config: ClipsData, seed: int, limit: int
    ) -> None:
        # A few pairs of all shards, whatever the order of training.
        config = config.model_copy(update={"order": "clips"})
        super().__init__(reader, clips, config, seeds.derive(seed, "validation"))
        self._limit = limit

    def __len__(self) -> int:
        """Return the pairs: those of one epoch, as far as the limit allows."""
        return min(self._limit, super().__len__())


def open_sources(job: Job, request: Request) -> Sources:
    """Return the training and the validation source of a job's corpus of clips.

    The job's input `index` is the corpus's index; `home` and `corpus`, its folder relative to the
    home, are needed where it lies in a bucket.

    Raises:
        RunError: the job names no `index`.
        ConfigError: the clips are too short for the segments, or of another sample rate.
        DataError: too few tracks to train on and to validate with; a shard is damaged.
    """
    data, model, seed, limit = request
    assert isinstance(data, ClipsData)
    reader = open_clips(job, data)
    _require_fit(reader, data, model)
    training, held_out = split_tracks(reader.clips, data.validation_share, seed)
    if reader.read(int(training[0]), 0, 1).shape[0] != model.audio_channels:
        raise ConfigError(
            f"model.audio_channels is {model.audio_channels}, but the corpus's clips have another "
            "number of channels; set it to theirs"
        )
    return Sources(
        TrainingPairs(reader, training, data, seed),
        HeldOutPairs(reader, held_out, data, seed, limit),
    )


def open_clips(job: Job, config: ClipsData) -> ShardReader:
    """Open the clips of a job: beside their index, or in the bucket of the home.

    Raises:
        RunError: the job names no `index`.
        ConfigError: the home's address is malformed.
        DataError: a shard or a sidecar is missing or damaged.
    """
    index = job.path("index")
    if not {"corpus", "home"} <= job.inputs.keys():
        return ShardReader(index)
    home = open_home(job.inputs["home"])
    if not home.remote:
        return ShardReader(index)
    folder = Path(config.cache).expanduser() if config.cache else home.cache
    cache = ShardCache(folder, round(config.cache_gb * GIGABYTE)) if config.cache_gb else None
    shards = home.relative(Corpus(home.path(job.inputs["corpus"])).shards)
    return ShardReader(index, home.store, shards, cache)


def _require_fit(reader: ShardReader, config: ClipsData, model: ModelSettings) -> None:
    rate, frames = reader.index.sample_rate, reader.index.clip_frames
    if rate != model.sample_rate:
        raise ConfigError(
            f"model.sample_rate is {model.sample_rate} Hz, but the corpus's clips are at {rate} "
            f"Hz; set model.sample_rate={rate}, or pack the corpus again"
        )
    if round(config.segment_seconds * rate) > frames:
        raise ConfigError(
            f"data.segment_seconds is {config.segment_seconds:g}, but the corpus's clips last "
            f"{frames / rate:g} s; set data.segment_seconds to {frames / rate:g} or less"
        )


def split_tracks(clips: ClipTable, share: float, seed: int) -> tuple[Numbers, Numbers]:
    """Split clips by track into training and validation; an archive's test tracks are left out.

    The archive's own validation tracks are held out. Where it names fewer than two, a seeded
    `share` of its training tracks joins them.

    Returns:
        The numbers of the clips of either side, ascending.

    Raises:
        DataError: either side would have fewer than two tracks, so no pairs.
    """
    names, splits = np.array(clips.track_names, str), np.array(clips.track_splits, str)
    present = np.bincount(clips.tracks, minlength=len(names)) > 0
    training, held_out = present & (splits == "training"), present & (splits == "validation")
    if held_out.sum() < FEWEST_TRACKS:
        # By name: the order in which a corpus was packed decides nothing.
        rest = np.flatnonzero(training)
        rest = rest[np.argsort(names[rest])]
        wanted = max(FEWEST_TRACKS - int(held_out.sum()), round(share * len(rest)))
        chosen = rest[seeds.generator(seed, "held out").permutation(len(rest))[:wanted]]
        held_out[chosen], training[chosen] = True, False
    for name, side in (("training", training), ("validation", held_out)):
        if side.sum() < FEWEST_TRACKS:
            raise DataError(
                f"the corpus leaves {side.sum()} tracks for {name}, but mixtures of mixtures pair "
                "different tracks: at least 4 are needed, 2 to train on and 2 to validate with; "
                "add music, or loosen the filters"
            )
    return _clips_of(training, clips), _clips_of(held_out, clips)


def _clips_of(tracks: npt.NDArray[np.bool_], clips: ClipTable) -> Numbers:
    return np.flatnonzero(tracks[clips.tracks]).astype(np.uint32)


def _order(reader: ShardReader, clips: Numbers, config: ClipsData, seed: int) -> EpochOrder:
    tracks = reader.clips.tracks[clips]
    starts = np.array(reader.clips.shard_starts, np.uint32)
    shards = (np.searchsorted(starts, clips, "right") - 1).astype(np.uint32)
    if config.order == "shards":
        return ShardOrder(tracks, shards, config.shards_at_once, seed)
    return ClipOrder(tracks, shards, seed)
