"""The rule of the paper authors' code: which tracks it drops whole, and the segments it makes.

A segment starts every hop as long as that lies before the track's end. Each is judged on the sound
that is there, a tail on its own shorter length; those that would pass the end are then moved back
to end with it, so that one or two at the end are shifted, or the same sound twice
(`recipes/fma/scripts/chunking_sad.py` of Saijo and Bando 2025). Tails under 20 samples drop a track
there, and so they do here.
"""

from collections.abc import Iterator

import numpy as np

from pipelines.config import FmaConfig
from pipelines.packing.clips import Clip, Cutter, Piece
from storage.audio.waveforms import Waveform

PARTS = 20
SILENT_PARTS = 10
"""Of a segment's parts: so many that are exactly zero drop the whole track."""


def cutter_of(config: FmaConfig) -> Cutter:
    """Return what cuts and judges a track as the configuration says."""
    kind = OfficialCutter if config.filters.silence == "official" else Cutter
    return kind(config.filters.sample_rate, config.clips, config.filters)


class OfficialCutter(Cutter):
    """Cuts [2, frames], block by block, as the authors' code does; holds one clip and one hop."""

    _silent_at: tuple[float, float, int] | None = None
    """Of the first silent segment: start and length in seconds, parts that are zero."""

    def rest(self) -> Iterator[Clip]:
        """Yield the segments that start in the track, but would pass its end: moved back, whole."""
        clip_frames, hop_frames = (
            self._clips.seconds * self._rate,
            self._clips.hop_seconds * self._rate,
        )
        frames = self._pieces * len(self._buffer) + self._filled
        if frames < clip_frames:
            return
        held = np.concatenate(
            [*(piece.sound for piece in self._window), self._unfinished()], axis=1
        )
        first = (frames - clip_frames) // hop_frames + 1
        last: tuple[Piece, ...] = ()
        for number in range(first, -(-frames // hop_frames)):
            last = last or self._last_pieces(held)
            left = frames - number * hop_frames
            kept = self._survives(held[:, held.shape[1] - left :], number * hop_frames)
            yield self._counted(Clip(number, self._seconds_at(frames - clip_frames), last, kept))

    def silence(self) -> str:
        """Say which segment dropped the track."""
        if self._silent_at is None:
            return super().silence()
        start, seconds, parts = self._silent_at
        where = f"the {seconds:.3g} s from {start:g} s on"
        return f"{parts} of {PARTS} parts of {where} are digital silence"

    def _keeps(self, first: int, pieces: tuple[Piece, ...]) -> bool:
        sound = np.concatenate([piece.sound for piece in pieces], axis=1)
        return self._survives(sound, first * len(self._buffer))

    def _survives(self, sound: Waveform, start: int) -> bool:
        """Judge one segment; `start` is its first frame."""
        parts = silent_parts(sound)
        if parts < SILENT_PARTS:
            return True
        if not self.lost:
            seconds = sound.shape[1] / self._rate
            self._silent_at = (start / self._rate, seconds, parts)
        self.lost = True
        return False

    def _last_pieces(self, held: Waveform) -> tuple[Piece, ...]:
        """Return the track's last whole clip: of the pieces cut already, if they end with it."""
        if not self._filled:
            return tuple(self._window)
        size, count = len(self._buffer), self._per_clip
        sound = held[:, held.shape[1] - count * size :]
        parts = (sound[:, number * size : (number + 1) * size] for number in range(count))
        # Numbered behind all others: no encoded sound is shared with them.
        return tuple(self._piece(self._pieces + number, part) for number, part in enumerate(parts))

    def _seconds_at(self, frame: int) -> float:
        """Return where a frame is; whole seconds as an integer, as those of other clips are."""
        seconds, rest = divmod(frame, self._rate)
        return frame / self._rate if rest else seconds

    def _unfinished(self) -> Waveform:
        return self._buffer[: self._filled].T


def silent_parts(sound: Waveform) -> int:
    """Return how many of 20 equal parts of [channels, frames] are exactly zero.

    What 20 does not divide is ignored; parts of no length are zero, all of them.
    """
    size = sound.shape[1] // PARTS
    parts = sound[:, : PARTS * size].reshape(len(sound), PARTS, size)
    return PARTS - int(np.count_nonzero(parts.any(axis=(0, 2))))
