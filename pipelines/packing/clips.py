"""Decoded sound, block by block -> clips: brought to the corpus's form, cut whole, judged silent.

Sound is cut into pieces as long as clips and hops are multiples of, so that clips share the pieces
they overlap in, and the work done on each.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from pipelines.config import ClipConfig, FilterConfig
from storage.audio.decoding import Form
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError

STEREO = 2
FAINTEST = 1e-12
"""Mean square that stands in for digital silence in dB: -120 dBFS, below 16 bits' own noise."""
PART = 1 << 13
"""Frames whose energy is summed at a time."""


class Conformer:
    """Brings blocks to [2, frames] at one rate: higher rates resampled (soxr HQ), mono twice.

    Raises:
        DecodeError: the recording has more than two channels (`channels`).
    """

    def __init__(self, form: Form, sample_rate: int) -> None:
        if form.channels > STEREO:
            raise DecodeError(
                f"the song has {form.channels} channels; one or two are expected", "channels"
            )
        self._channels = form.channels
        self._resampler: Any = None
        if form.sample_rate != sample_rate:
            self._resampler = soxr.ResampleStream(
                form.sample_rate, sample_rate, form.channels, "float32", "HQ"
            )

    def take(self, block: Waveform) -> Waveform:
        """Return what of the sound a block completes; it may be a view of the block."""
        return self._doubled(self._resampled(block, last=False))

    def rest(self) -> Waveform:
        """Return what resampling has held back."""
        return self._doubled(self._resampled(np.zeros((self._channels, 0), np.float32), last=True))

    def _resampled(self, block: Waveform, last: bool) -> Waveform:
        if self._resampler is None:
            return block
        frames: Waveform = self._resampler.resample_chunk(np.ascontiguousarray(block.T), last)
        return frames.T

    def _doubled(self, sound: Waveform) -> Waveform:
        return np.broadcast_to(sound, (STEREO, sound.shape[1])) if self._channels == 1 else sound


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of sound that the clips around it share."""

    number: int
    """Counted from the track's beginning."""
    sound: Waveform
    """[2, frames]."""
    power_db: tuple[float, ...]
    """dBFS of each second: mean square over channels and samples."""
    clipped: int
    """Samples beyond full scale."""


class Clip(NamedTuple):
    """A whole clip of a track."""

    number: int
    """Counted by its start, dropped neighbours included."""
    start_seconds: float
    """A whole number, except of clips that are moved to end with their track."""
    pieces: tuple[Piece, ...]
    kept: bool
    """Whether the silence rule lets it live, as far as this clip alone decides that."""

    @property
    def power_db(self) -> tuple[float, ...]:
        """DBFS of each of its seconds."""
        return tuple(power for piece in self.pieces for power in piece.power_db)


class Cutter:
    """Cuts [2, frames], block by block, into every whole clip; a shorter remainder is left.

    The paper's rule: more than `silent_seconds` seconds below `silence_db` drop a clip.
    """

    def __init__(self, sample_rate: int, clips: ClipConfig, filters: FilterConfig) -> None:
        self._rate, self._clips, self._filters = sample_rate, clips, filters
        self._seconds = piece_seconds(clips)
        self._per_clip = clips.seconds // self._seconds
        self._per_hop = clips.hop_seconds // self._seconds
        self._window: deque[Piece] = deque(maxlen=self._per_clip)
        self._pieces = self._filled = 0
        self._buffer = self._fresh()
        self.clips = 0
        """Whole clips so far, kept or not."""
        self.loudest = -math.inf
        """dBFS of the loudest second in any clip so far."""
        self.lost = False
        """Whether the whole track is dropped, whatever was kept of it."""

    def take(self, sound: Waveform) -> Iterator[Clip]:
        """Take the next frames; yield the clips that they complete."""
        taken = 0
        while taken < sound.shape[1]:
            count = min(len(self._buffer) - self._filled, sound.shape[1] - taken)
            part = sound[:, taken : taken + count]
            self._buffer[self._filled : self._filled + count] = part.T
            taken += count
            self._filled += count
            if self._filled == len(self._buffer):
                yield from self._completed()

    def rest(self) -> Iterator[Clip]:
        """Yield the clips that the track's end completes: none by this rule."""
        yield from ()

    def silence(self) -> str:
        """Say why no clip is left of a track."""
        return f"none of {self.clips} clips; loudest second {self.loudest:.1f} dBFS"

    def _completed(self) -> Iterator[Clip]:
        self._window.append(self._piece(self._pieces, self._buffer.T))
        self._pieces += 1
        self._buffer, self._filled = self._fresh(), 0
        first = self._pieces - self._per_clip
        if first >= 0 and first % self._per_hop == 0:
            pieces = tuple(self._window)
            kept = self._keeps(first, pieces)
            start = first * self._seconds
            yield self._counted(Clip(first // self._per_hop, start, pieces, kept))

    def _piece(self, number: int, sound: Waveform) -> Piece:
        decibels = 10 * np.log10(np.maximum(second_powers(sound, self._rate), FAINTEST))
        return Piece(number, sound, tuple(decibels.tolist()), clipped(sound))

    def _counted(self, clip: Clip) -> Clip:
        self.loudest = max(self.loudest, *clip.power_db)
        self.clips += 1
        return clip

    def _keeps(self, first: int, pieces: tuple[Piece, ...]) -> bool:
        """Judge one clip, whose first piece is the track's piece `first`."""
        powers = (power for piece in pieces for power in piece.power_db)
        silent = sum(power < self._filters.silence_db for power in powers)
        return silent <= self._filters.silent_seconds

    def _fresh(self) -> npt.NDArray[np.float32]:
        return np.empty((self._seconds * self._rate, STEREO), np.float32)


def piece_seconds(config: ClipConfig) -> int:
    """Return the longest whole seconds that clips and hops are both multiples of."""
    return math.gcd(config.seconds, config.hop_seconds)


def key_of(track: str, clip: Clip) -> str:
    """Return the name that one sound has everywhere, such as `t000002_c0003`."""
    return f"t{track}_c{clip.number:04d}"


def second_powers(sound: Waveform, sample_rate: int) -> npt.NDArray[np.float64]:
    """Return [whole seconds]: mean square over channels and samples, summed in float64."""
    starts = range(0, sound.shape[1] - sample_rate + 1, sample_rate)
    seconds = (sound[:, start : start + sample_rate].T for start in starts)
    return np.array([_energy(second) / second.size for second in seconds])


def _energy(frames: Waveform) -> float:
    # In parts that stay in the processor's cache: in one, a second's doubles would leave it.
    parts = (frames[at : at + PART].astype(np.float64) for at in range(0, len(frames), PART))
    return float(sum(np.vdot(part, part) for part in parts))


def clipped(sound: Waveform) -> int:
    """Return how many samples are beyond full scale."""
    # Most sound has none, and its extremes show that at a third of the cost.
    if sound.max() <= 1 and sound.min() >= -1:
        return 0
    return int(np.count_nonzero(np.abs(sound) > 1))
