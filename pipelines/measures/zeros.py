"""Digital silence: how long nothing but zeros is heard, at a track's ends and in each second."""

import numpy as np

from pipelines.measures.measure import Figure, Kind, Second, Value

ZERO = 0.5 / 32_768
"""Largest magnitude that is 0 once it is rounded to 16 bits, as clips are stored."""
DIGITS = 3
EDGES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Zeros:
    """In seconds in which both channels are zero."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._frames = self._leading = self._trailing = 0
        self._heard = False

    def take(self, second: Second) -> Value:
        """Return how much of the second is digital silence."""
        # The two truth values of a frame as one number, which is 0 if neither channel sounds.
        heard = (second.sizes > ZERO).view(np.uint16)[:, 0]
        count, sounding = len(heard), int(np.count_nonzero(heard))
        if not sounding:
            self._trailing += count
        else:
            if not self._heard:
                self._leading, self._heard = self._frames + int(np.argmax(heard > 0)), True
            self._trailing = 0 if heard[-1] else int(np.argmax(heard[::-1] > 0))
        self._frames += count
        return self._seconds(count - sounding)

    def whole(self) -> dict[str, Value]:
        """Return the silence before the track's first sound and after its last, in seconds."""
        leading = self._leading if self._heard else self._frames
        return {
            "leading_zeros_seconds": self._seconds(leading),
            "trailing_zeros_seconds": self._seconds(self._trailing),
        }

    def _seconds(self, frames: int) -> float:
        return round(frames / self._rate, DIGITS)


KIND = Kind(
    "zeros_by_second",
    (
        Figure("leading_zeros_seconds", "Digital silence at the beginning (s)", EDGES),
        Figure("trailing_zeros_seconds", "Digital silence at the end (s)", EDGES),
    ),
    Zeros,
)
