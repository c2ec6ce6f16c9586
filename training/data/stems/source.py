"""Songs with stems -> dynamic mixes to train on, fixed segments to validate with."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from storage.audio.waveforms import Waveform
from storage.config import Json
from storage.errors import DataError
from storage.home.runs import Job
from storage.manifests import read_rows
from storage.records import ActiveWindows, StemSong
from training import seeds
from training.data.batches import Batch, Example, Request, Sources
from training.data.mixtures import level_stems
from training.data.stems.config import StemsData
from training.data.stems.corpus import StemCorpus

PUBLISHED_SEGMENTS = (3513, 3544)
"""Active segments of MUSDB18-HQ's rarest stem as the authors' code counts them, within what 110
steps of 8 processes of 4 mixtures each can mean."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Window:
    song: StemSong
    start: int
    frames: int

    @property
    def name(self) -> str:
        return f"'{self.song.name}' from frame {self.start}"


class DynamicMixes:
    """Each stem from another song: one active window each, one crop for all, gains and drops.

    As the authors' code does it (Saijo & Bando 2025, section 4.3). Example `number` is a pure
    function of (seed, number).
    """

    def __init__(
        self, corpus: StemCorpus, activity: Path, config: StemsData, frames: int, seed: int
    ) -> None:
        self._corpus, self._config, self._seed, self._frames = corpus, config, seed, frames
        self._windows = _active_windows(corpus, activity)

    def __len__(self) -> int:
        """Return the windows of the rarest stem: the authors' epoch."""
        return min(len(windows) for windows in self._windows.values())

    def epoch(self) -> Json:
        """Return the active segments of each stem, and what an epoch is by them.

        An epoch draws as many mixtures as the rarest stem has segments, in whole batches; training
        is counted in steps, so it decides nothing but what a step is worth.
        """
        segments = {stem: len(windows) for stem, windows in self._windows.items()}
        return {
            "segments": segments,
            "epoch_segments": len(self),
            "epoch_steps": len(self) // self._config.batch_size,
            "published_epoch_segments": list(PUBLISHED_SEGMENTS),
        }

    def example(self, number: int) -> Example:
        """Return stems [S, C, T], zero where dropped, and their gains [S] in dB.

        Raises:
            DecodeError: a stem's file is damaged; the message names it.
        """
        draw, stems = seeds.generator(self._seed, "example", number), self._corpus.stems
        chosen = self._choose(draw)
        kept = draw.random(len(stems)) >= self._config.drop_probability
        while not kept.any() and self._config.drop_probability < 1:
            kept = draw.random(len(stems)) >= self._config.drop_probability
        place = float(draw.random())
        gains = draw.uniform(-self._config.gain_db, self._config.gain_db, len(stems))
        cuts = [
            self._cut(stem, window, place) if keep else None
            for stem, window, keep in zip(stems, chosen, kept, strict=True)
        ]
        channels = max((cut.shape[0] for cut in cuts if cut is not None), default=2)
        parts = np.zeros((len(stems), channels, self._frames), np.float32)
        for part, cut in zip(parts, cuts, strict=True):
            if cut is not None:
                part[:, : cut.shape[1]] = cut
        return Example(parts, gains.astype(np.float32))

    def keys(self, number: int) -> tuple[str, ...]:
        """Return the window of each stem of one example."""
        chosen = self._choose(seeds.generator(self._seed, "example", number))
        named = zip(self._corpus.stems, chosen, strict=True)
        return tuple(f"{stem} of {window.name}" for stem, window in named)

    def _choose(self, draw: np.random.Generator) -> list[_Window]:
        windows = (self._windows[stem] for stem in self._corpus.stems)
        return [one[draw.integers(len(one))] for one in windows]

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        """Return the stems [B, S, C, T] at their drawn levels, and their sum."""
        return Batch.of_sum(level_stems(parts_BPCT, gains_db, self._config.normalise))

    def _cut(self, stem: str, window: _Window, place: float) -> Waveform:
        frames = min(self._frames, window.frames)
        start = window.start + int(place * (window.frames - frames + 1))
        return self._corpus.read(window.song, stem, start, frames)


class StemSegments:
    """Whole songs cut into consecutive segments, as they are.

    A rest shorter than a segment is left out, except that a song shorter than one is itself a
    segment. `limit` takes segments evenly spread over all songs.
    """

    def __init__(
        self, corpus: StemCorpus, songs: Sequence[StemSong], frames: int, limit: int | None = None
    ) -> None:
        cuts = [
            _Window(song, start, min(frames, song.frames))
            for song in songs
            for start in range(0, max(1, song.frames - frames + 1), frames)
        ]
        if limit is not None and len(cuts) > limit:
            cuts = [cuts[position * len(cuts) // limit] for position in range(limit)]
        self._corpus, self._frames, self._cuts = corpus, frames, cuts

    def __len__(self) -> int:
        """Return the number of segments."""
        return len(self._cuts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stems, in their order."""
        return self._corpus.stems

    def stems(self, number: int) -> Waveform:
        """Return the stems [S, C, T] of one segment at its own length."""
        cut = self._cuts[number]
        return self._corpus.read_stems(cut.song, cut.start, cut.frames)

    def example(self, number: int) -> Example:
        """Return the stems [S, C, T] of one segment, zero-padded to a segment, without gains."""
        stems = self.stems(number)
        padding = self._frames - stems.shape[-1]
        parts = np.pad(stems, ((0, 0), (0, 0), (0, padding)))
        return Example(parts, np.zeros(len(stems), np.float32))

    def epoch(self) -> Json:
        """Return the number of segments."""
        return {"segments": len(self)}

    def keys(self, number: int) -> tuple[str, ...]:
        """Return which segment an example is."""
        return (self._cuts[number].name,)

    def mix(self, parts_BPCT: Tensor, gains_db: Tensor) -> Batch:
        """Return the stems [B, S, C, T] as they are, and their sum."""
        return Batch.of_sum(parts_BPCT)


def open_sources(job: Job, request: Request) -> Sources:
    """Return the training source (train songs) and the validation source (validation songs).

    Of the job's inputs, `songs` and `activity` are the tables, `home` is what their paths are
    relative to.

    Raises:
        RunError: an input is not named in the job.
        ConfigError: the songs are not at the model's sample rate, or lack a stem.
        DataError: a split has no songs, or a stem is never active.
    """
    data, model, seed, limit = request
    assert isinstance(data, StemsData)
    corpus = StemCorpus.open(job.path("songs"), job.home().root, model.sample_rate, data.stems)
    frames = round(data.segment_seconds * model.sample_rate)
    mixes = DynamicMixes(corpus, job.path("activity"), data, frames, seed)
    facts = mixes.epoch()
    logger.info(
        "an epoch is %d active segments of the rarest stem (%s), %d steps; published: %d to %d",
        facts["epoch_segments"],
        ", ".join(f"{stem} {count}" for stem, count in facts["segments"].items()),
        facts["epoch_steps"],
        *PUBLISHED_SEGMENTS,
    )
    return Sources(mixes, StemSegments(corpus, corpus.of("validation"), frames, limit))


def _active_windows(corpus: StemCorpus, activity: Path) -> dict[str, list[_Window]]:
    songs = {song.name: song for song in corpus.of("train")}
    windows: dict[str, list[_Window]] = {stem: [] for stem in corpus.stems}
    for row in read_rows(activity, ActiveWindows):
        song = songs.get(row.song)
        if song is not None and row.stem in windows:
            windows[row.stem] += [
                _Window(song, start, min(row.window, song.frames - start)) for start in row.starts
            ]
    for stem, found in windows.items():
        if not found:
            raise DataError(
                f"stem '{stem}' is active in none of the {len(songs)} training songs of "
                f"{activity}; loosen the activity settings, or add songs"
            )
    return windows
