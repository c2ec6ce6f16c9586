"""Shards -> pairs of clips for mixtures of mixtures (MoM), in a seeded order without state."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from storage.audio import Waveform
from storage.errors import ConfigError, DataError
from storage.shards import ClipEntry, ShardReader
from training import seeds
from training.config import BsLocoformerConfig, MixitData
from training.data.batches import Example
from training.data.mixtures import scale_pair

TRIES = 10
"""Crops drawn of a clip before the loudest of them is taken."""
SILENT_POWER = 1e-6
"""Mean square below which a crop counts as silent: -60 dBFS, as for the clips themselves."""
FEWEST_TRACKS = 2
"""Of either side of the hold-out: a pair needs two."""


class ClipPairs:
    """Random crops of two clips of different tracks, and the ratio of their powers.

    An epoch is a seeded permutation of all clips, cut into pairs. Example `number` is a pure
    function of (seed, name, number).
    """

    def __init__(
        self, reader: ShardReader, clips: Sequence[ClipEntry], config: MixitData, seed: int
    ) -> None:
        self._reader, self._clips = reader, clips
        self._frames = round(config.segment_seconds * reader.index.sample_rate)
        self._gain_db, self._seed = config.gain_db, seed
        _, self._tracks = np.unique([clip.track for clip in clips], return_inverse=True)
        self._epoch = lru_cache(maxsize=2)(self._pairs_of_epoch)

    def __len__(self) -> int:
        """Return the pairs of an epoch."""
        return len(self._clips) // 2

    def example(self, number: int) -> Example:
        """Return the two crops [2, C, T] and the power ratio [1] in dB of one MoM.

        Raises:
            DataError: a shard is damaged; the message names clip and shard.
        """
        epoch, position = divmod(number, len(self))
        draw = seeds.generator(self._seed, "example", number)
        first, second = (self._clips[clip] for clip in self._epoch(epoch)[position])
        parts = np.stack([self._crop(first, draw), self._crop(second, draw)])
        ratio = draw.uniform(-self._gain_db, self._gain_db, size=1).astype(np.float32)
        return Example(parts, ratio)

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Tensor:
        """Return the two mixtures [B, 2, C, T] at their drawn power ratio."""
        return scale_pair(parts_BPCT, gains_db[:, 0])

    def pair(self, number: int) -> tuple[ClipEntry, ClipEntry]:
        """Return the two clips of one MoM."""
        epoch, position = divmod(number, len(self))
        first, second = self._epoch(epoch)[position]
        return self._clips[first], self._clips[second]

    def _crop(self, clip: ClipEntry, draw: np.random.Generator) -> Waveform:
        slack = self._reader.index.clip_frames - self._frames
        loudest, power = np.zeros((0, 0), np.float32), -1.0
        for _ in range(TRIES if slack else 1):
            start = int(draw.integers(slack + 1))
            crop = self._reader.read(clip, start, self._frames)
            crop_power = float(np.square(crop).mean())
            if crop_power > power:
                loudest, power = crop, crop_power
            if power >= SILENT_POWER:
                break
        return loudest

    def _pairs_of_epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        return pair_up(self._tracks, seeds.generator(self._seed, "epoch", epoch))


class HeldOutPairs(ClipPairs):
    """A fixed number of fixed pairs, crops and ratios."""

    def __init__(
        self,
        reader: ShardReader,
        clips: Sequence[ClipEntry],
        config: MixitData,
        seed: int,
        limit: int,
    ) -> None:
        super().__init__(reader, clips, config, seeds.derive(seed, "validation"))
        self._limit = limit

    def __len__(self) -> int:
        """Return the pairs: those of one epoch, as far as the limit allows."""
        return min(self._limit, super().__len__())


def pair_up(tracks: npt.NDArray[np.intp], draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Pair n clips at random, never two of one track.

    Two pairs trade partners where chance put one track together. Where one track holds most
    clips, a clip without a partner borrows one from another pair, so an epoch's length is fixed.

    Args:
        tracks: [n], a number for each clip's track; at least two differ.
        draw: where chance comes from.

    Returns:
        [n // 2, 2] clip numbers.
    """
    count = len(tracks) // 2
    pairs = draw.permutation(len(tracks))[: 2 * count].reshape(count, 2)
    for row in np.flatnonzero(tracks[pairs[:, 0]] == tracks[pairs[:, 1]]):
        ours = tracks[pairs[row, 0]]
        if tracks[pairs[row, 1]] != ours:
            continue
        # Both clips are of one track, so a pair without that track can trade either way.
        fitting = np.flatnonzero((tracks[pairs] != ours).all(axis=1))
        if fitting.size:
            other = draw.choice(fitting)
            pairs[[row, other], 1] = pairs[[other, row], 1]
        else:
            pairs[row, 1] = draw.choice(np.flatnonzero(tracks != ours))
    return pairs


def sources(
    index: Path, config: MixitData, model: BsLocoformerConfig, seed: int, limit: int
) -> tuple[ClipPairs, HeldOutPairs]:
    """Return the training and the validation source of a corpus.

    Args:
        index: the corpus's `index.json`.
        config: batch and gains.
        model: for its sample rate and channels.
        seed: of the run.
        limit: most validation examples.

    Raises:
        ConfigError: the clips are too short for the segments, or of another sample rate.
        DataError: too few tracks to train on and to validate with.
    """
    reader = ShardReader(index)
    rate, frames = reader.index.sample_rate, reader.index.clip_frames
    if rate != model.sample_rate:
        raise ConfigError(
            f"model.sample_rate is {model.sample_rate} Hz, but the clips of {index} are at {rate} "
            f"Hz; set model.sample_rate={rate}, or pack the corpus again"
        )
    if round(config.segment_seconds * rate) > frames:
        raise ConfigError(
            f"data.segment_seconds is {config.segment_seconds:g}, but the clips of {index} last "
            f"{frames / rate:g} s; set data.segment_seconds to {frames / rate:g} or less"
        )
    training, held_out = split_tracks(reader.entries, config.validation_share, seed)
    if training and reader.read(training[0], 0, 1).shape[0] != model.audio_channels:
        raise ConfigError(
            f"model.audio_channels is {model.audio_channels}, but the clips of {index} have "
            "another number of channels; set it to theirs"
        )
    return (
        ClipPairs(reader, training, config, seed),
        HeldOutPairs(reader, held_out, config, seed, limit),
    )


def split_tracks(
    clips: Sequence[ClipEntry], share: float, seed: int
) -> tuple[list[ClipEntry], list[ClipEntry]]:
    """Split clips by track into training and validation; an archive's test tracks are left out.

    The archive's own validation tracks are held out. Where it names fewer than two, a seeded
    `share` of its training tracks joins them.

    Raises:
        DataError: either side would have fewer than two tracks, so no pairs.
    """
    held_out = {clip.track for clip in clips if clip.split == "validation"}
    rest = sorted({clip.track for clip in clips if clip.split == "training"})
    if len(held_out) < FEWEST_TRACKS:
        wanted = max(FEWEST_TRACKS - len(held_out), round(share * len(rest)))
        order = seeds.generator(seed, "held out").permutation(len(rest))
        held_out |= {rest[track] for track in order[:wanted]}
    training = [clip for clip in clips if clip.split == "training" and clip.track not in held_out]
    for name, side in (("training", {clip.track for clip in training}), ("validation", held_out)):
        if len(side) < FEWEST_TRACKS:
            raise DataError(
                f"the corpus leaves {len(side)} tracks for {name}, but mixtures of mixtures pair "
                "different tracks: at least 4 are needed, 2 to train on and 2 to validate with; "
                "add music, or loosen the filters"
            )
    return training, [clip for clip in clips if clip.track in held_out]
