"""One decoded track -> clips: brought to the corpus's form, cut whole, the silent ones dropped."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from pipelines.config import ClipConfig, FilterConfig
from storage.audio import Waveform
from storage.decode import Decoded
from storage.errors import DecodeError

STEREO = 2
FAINTEST = 1e-12
"""Mean square that stands in for digital silence in dB: -120 dBFS, below 16 bits' own noise."""
OFFICIAL_CHUNKS = 20
OFFICIAL_SILENT = 10


class Clip(NamedTuple):
    """A stretch of a track, not yet cut out of it."""

    number: int
    """Counted by its start, dropped neighbours included."""
    start_seconds: int
    frames: slice
    """In the conformed track."""
    power_db: tuple[float, ...]
    """dBFS of each second: mean square over channels and samples."""


def key_of(track: str, clip: Clip) -> str:
    """Return the name that one sound bears everywhere, such as `t000002_c0003`."""
    return f"t{track}_c{clip.number:04d}"


def conform(song: Decoded, sample_rate: int) -> Waveform:
    """Return [2, frames] at `sample_rate`: higher rates resampled (soxr HQ), mono twice.

    Raises:
        DecodeError: the song has more than two channels (`channels`).
    """
    if song.channels > STEREO:
        raise DecodeError(
            f"the song has {song.channels} channels; one or two are expected", "channels"
        )
    waveform = song.waveform
    if song.sample_rate != sample_rate:
        frames = soxr.resample(waveform.T, song.sample_rate, sample_rate, quality="HQ")
        waveform = np.ascontiguousarray(frames.T, dtype=np.float32)
    return np.repeat(waveform, STEREO, axis=0) if song.channels == 1 else waveform


def cut(waveform: Waveform, sample_rate: int, config: ClipConfig) -> list[Clip]:
    """Return every whole clip of [channels, frames]; a remainder shorter than a clip is left."""
    power = second_powers(waveform, sample_rate)
    decibels = 10 * np.log10(np.maximum(power, FAINTEST))
    starts = range(0, len(power) - config.seconds + 1, config.hop_seconds)
    return [
        Clip(
            number=number,
            start_seconds=start,
            frames=slice(start * sample_rate, (start + config.seconds) * sample_rate),
            power_db=tuple(decibels[start : start + config.seconds].tolist()),
        )
        for number, start in enumerate(starts)
    ]


def second_powers(waveform: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    """Return [whole seconds]: mean square over channels and samples, summed in float64."""
    starts = range(0, waveform.shape[1] - sample_rate + 1, sample_rate)
    # Second by second: squares of a whole track in float64 would be twice the track.
    blocks = (waveform[:, start : start + sample_rate] for start in starts)
    return np.array([np.square(block, dtype=np.float64).mean() for block in blocks])


def sounding(waveform: Waveform, clips: Sequence[Clip], config: FilterConfig) -> list[Clip]:
    """Return the clips that survive the silence rule.

    `paper`: more than `silent_seconds` seconds below `silence_db` drop a clip. `official`: twenty
    chunks a clip, silent if exactly zero; ten in any clip drop the whole track.
    """
    if config.silence == "paper":
        return [clip for clip in clips if _silent_seconds(clip, config) <= config.silent_seconds]
    lost = any(_zero_chunks(waveform[:, clip.frames]) >= OFFICIAL_SILENT for clip in clips)
    return [] if lost else list(clips)


def kept_seconds(clips: Sequence[Clip]) -> int:
    """Return how many seconds of the track lie in at least one of the clips."""
    return len({clip.start_seconds + n for clip in clips for n in range(len(clip.power_db))})


def _silent_seconds(clip: Clip, config: FilterConfig) -> int:
    return sum(power < config.silence_db for power in clip.power_db)


def _zero_chunks(waveform: Waveform) -> int:
    edges = np.arange(OFFICIAL_CHUNKS) * waveform.shape[1] // OFFICIAL_CHUNKS
    peaks = np.maximum.reduceat(np.abs(waveform).max(axis=0), edges)
    return int(np.count_nonzero(peaks == 0))
