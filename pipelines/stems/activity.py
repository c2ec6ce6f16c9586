"""Source activity detection: the windows of each training song in which each stem sounds.

The method is BSRNN's in its authors' form; every choice that published versions make differently
is a field of `ActivityConfig`. What comes out are start frames: no audio is cut or changed.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.config import ActivityConfig
from storage.audio.waveforms import Waveform, read_window
from storage.errors import ConfigError
from storage.home.layout import Home
from storage.manifests import write_rows
from storage.records import ActiveWindows, StemSong

Energies = npt.NDArray[np.float64]


def detect(
    home: Home, songs: Sequence[StemSong], config: ActivityConfig, destination: Path
) -> list[ActiveWindows]:
    """Return the active windows of each stem of each `train` song; write them to `destination`.

    Raises:
        ConfigError: a window is too short to have that many chunks, or keeps more than it has.
        DecodeError: a stem cannot be read.
    """
    rows = [
        _windows(read_window(home.path(song.folder) / f"{stem}.wav"), song, stem, config)
        for song in songs
        if song.split == "train"
        for stem in sorted(song.stems)
    ]
    write_rows(destination, rows)
    return rows


def _windows(
    waveform: Waveform, song: StemSong, stem: str, config: ActivityConfig
) -> ActiveWindows:
    # A song shorter than the window has one, of its own length, judged like any other.
    window = min(round(config.window_seconds * song.sample_rate), song.frames)
    hop = round(config.hop_seconds * song.sample_rate)
    if window < config.chunks or hop < 1 or config.keep_chunks > config.chunks:
        raise ConfigError(
            f"activity: a window of {window} frames, hop {hop}, cannot keep {config.keep_chunks} "
            f"of {config.chunks} chunks; set longer windows or fewer chunks"
        )
    starts = range(0, song.frames - window + 1, hop)
    energies = chunk_energies(waveform, starts, window, config)
    active = energies > threshold(energies, config)
    kept = np.flatnonzero(active.sum(axis=1) >= config.keep_chunks)
    return ActiveWindows(
        song=song.name, stem=stem, starts=tuple(starts[n] for n in kept), window=window
    )


def chunk_energies(
    waveform: Waveform, starts: Sequence[int], window: int, config: ActivityConfig
) -> Energies:
    """Return [windows, chunks] of [channels, frames]: `config.statistic`, exact zeros replaced."""
    edges = [number * window // config.chunks for number in range(config.chunks + 1)]
    energies = np.array(
        [
            [
                _energy(waveform[:, start + first : start + last], config)
                for first, last in pairwise(edges)
            ]
            for start in starts
        ]
    )
    return np.where(energies == 0, config.zero, energies)


def threshold(energies: Energies, config: ActivityConfig) -> float:
    """Return the energy above which a chunk is active: a quantile of the song's, or the floor."""
    return max(float(np.quantile(energies, config.quantile)), config.floor)


def _energy(chunk: Waveform, config: ActivityConfig) -> float:
    squares = np.square(chunk, dtype=np.float64)
    if config.statistic == "sum":
        return float(squares.sum())
    mean = float(squares.mean())
    return mean if config.statistic == "mean" else float(np.sqrt(mean))
