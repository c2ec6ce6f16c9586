"""Whole songs -> pairs of windows of their mixtures, in a seeded order without state."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from storage.audio.waveforms import Waveform
from storage.config import Json
from storage.errors import DataError
from storage.home.runs import Job
from storage.records import StemSong
from training import seeds
from training.data.batches import Batch, Example, Request, Sources
from training.data.mixtures import scale_pair
from training.data.stems.corpus import StemCorpus
from training.data.windows.config import WindowsData

FEWEST_SONGS = 2
"""A pair is of two different songs."""


class WindowPairs:
    """Windows of the mixtures of two different songs, and the ratio of their powers.

    Example `number` is a pure function of (seed, number). An epoch has as many pairs as windows
    that do not overlap fit into the songs, halved: songs are drawn by their length.
    """

    def __init__(
        self, corpus: StemCorpus, songs: Sequence[StemSong], frames: int, config: WindowsData,
        seed: int,
    ) -> None:  # fmt: skip
        if len(songs) < FEWEST_SONGS:
            raise DataError(
                f"{len(songs)} song(s) of the '{songs[0].split}' split: pairs of windows need two "
                "songs or more; add songs"
            )
        self._corpus, self._songs, self._frames = corpus, songs, frames
        self._gain_db, self._seed = config.gain_db, seed
        windows = np.array([max(1, song.frames // frames) for song in songs])
        self._shares, self._pairs = windows / windows.sum(), max(1, int(windows.sum()) // 2)

    def __len__(self) -> int:
        """Return the pairs of an epoch."""
        return self._pairs

    def example(self, number: int) -> Example:
        """Return the two windows [2, C, T] and the power ratio [1] in dB of one MoM.

        Raises:
            DecodeError: a song's file is damaged; the message names it.
        """
        draw = seeds.generator(self._seed, "example", number)
        parts = np.stack([self._window(song, draw) for song in self._pair(draw)])
        ratio = draw.uniform(-self._gain_db, self._gain_db, size=1).astype(np.float32)
        return Example(parts, ratio)

    def epoch(self) -> Json:
        """Return the songs and the pairs of an epoch."""
        return {"songs": len(self._songs), "pairs": len(self)}

    def keys(self, number: int) -> tuple[str, ...]:
        """Return the names of the two songs of one MoM."""
        pair = self._pair(seeds.generator(self._seed, "example", number))
        return tuple(f"'{song.name}'" for song in pair)

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        """Return the two mixtures [B, 2, C, T] at their drawn power ratio, and their sum."""
        return Batch.of_sum(scale_pair(parts_BPCT, gains_db[:, 0]))

    def _pair(self, draw: np.random.Generator) -> list[StemSong]:
        chosen = draw.choice(len(self._songs), size=2, replace=False, p=self._shares)
        return [self._songs[number] for number in chosen]

    def _window(self, song: StemSong, draw: np.random.Generator) -> Waveform:
        slack = max(0, song.frames - self._frames)
        start = int(draw.integers(slack + 1))
        sound = self._corpus.read(song, "mixture", start, min(self._frames, song.frames))
        return np.pad(sound, ((0, 0), (0, self._frames - sound.shape[-1])))


class HeldOutWindowPairs(WindowPairs):
    """A fixed number of fixed pairs."""

    def __init__(
        self, corpus: StemCorpus, songs: Sequence[StemSong], frames: int, config: WindowsData,
        seed: int, limit: int,
    ) -> None:  # fmt: skip
        super().__init__(corpus, songs, frames, config, seeds.derive(seed, "validation"))
        self._pairs = min(limit, self._pairs)


def open_sources(job: Job, request: Request) -> Sources:
    """Return the training source (train songs) and the validation source (validation songs).

    Of the job's inputs, `songs` is the table, `home` is what its paths are relative to.

    Raises:
        RunError: an input is not named in the job.
        ConfigError: the songs are not at the model's sample rate.
        DataError: a split has fewer than two songs.
    """
    data, model, seed, limit = request
    assert isinstance(data, WindowsData)
    corpus = StemCorpus.open(job.path("songs"), job.home().root, model.sample_rate, ())
    frames = round(data.segment_seconds * model.sample_rate)
    return Sources(
        WindowPairs(corpus, corpus.of("train"), frames, data, seed),
        HeldOutWindowPairs(corpus, corpus.of("validation"), frames, data, seed, limit),
    )
