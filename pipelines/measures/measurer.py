"""A track's sound, in blocks of any size -> the figures of each second and of the whole.

Measures are given exact seconds, so that their figures do not depend on how the sound was read.
"""

import math
from collections.abc import Sequence

import numpy as np

from pipelines.measures.measure import Kind, Second, Value
from storage.audio.waveforms import Waveform
from storage.config import Json


class Measurer:
    """Takes [2, frames] block by block, the rest of the last second included."""

    def __init__(self, sample_rate: int, kinds: Sequence[Kind]) -> None:
        self._rate = sample_rate
        self._measures = [(kind.by_second, kind.begin(sample_rate)) for kind in kinds]
        self._seconds: dict[str, list[Value]] = {kind.by_second: [] for kind in kinds}
        self._buffer = np.empty((sample_rate, 2), np.float32)
        self._filled = 0
        self._whole: dict[str, Value] = {}

    def take(self, sound: Waveform) -> None:
        """Take the next frames."""
        taken = 0
        while self._measures and taken < sound.shape[1]:
            count = min(self._rate - self._filled, sound.shape[1] - taken)
            part = sound[:, taken : taken + count]
            self._buffer[self._filled : self._filled + count] = part.T
            taken += count
            self._filled += count
            if self._filled == self._rate:
                self._measure()

    def close(self) -> None:
        """Measure what is left of the last second; nothing follows."""
        if self._filled:
            self._measure()
        for _, measure in self._measures:
            self._whole |= measure.whole()

    def between(self, start: float, stop: float) -> Json:
        """Return each measure's figures of the seconds in which a stretch of the track lies.

        Args:
            start, stop: in seconds of the track, all of which were taken.
        """
        span = slice(math.floor(start), math.ceil(stop))
        return {name: values[span] for name, values in self._seconds.items()}

    def found(self) -> Json:
        """Return the fields of the track's ledger row, once it is closed."""
        return {"measures": self._whole, "by_second": self._seconds} if self._whole else {}

    def _measure(self) -> None:
        second = Second(self._buffer[: self._filled])
        for name, measure in self._measures:
            self._seconds[name].append(measure.take(second))
        self._filled = 0
