"""Correlation of left and right: 1 where both channels are the same, as in mono sold as stereo."""

import math

import numpy as np

from pipelines.measures.measure import Figure, Kind, Second, Value

DIGITS = 4
EDGES = (-0.5, 0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)


class Correlation:
    """From -1 to 1, without any delay; None where a channel is silent.

    The mean is not subtracted: that is what a correlation meter shows.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sums = np.zeros(3)
        """Of left squared, right squared, and their product."""

    def take(self, second: Second) -> Value:
        """Return the second's correlation."""
        # In double precision: sums of singles would differ with the way in which they are added.
        left, right = second.frames.T.astype(np.float64, order="C")
        sums = np.array([np.vdot(left, left), np.vdot(right, right), np.vdot(left, right)])
        self._sums += sums
        return _correlation(*sums.tolist())

    def whole(self) -> dict[str, Value]:
        """Return the correlation of all the track's samples."""
        return {"correlation": _correlation(*self._sums.tolist())}


def _correlation(left: float, right: float, product: float) -> Value:
    # Each root by itself: the product of two faint powers may be too small for a number.
    size = math.sqrt(left) * math.sqrt(right)
    return round(product / size, DIGITS) if size else None


KIND = Kind(
    "correlation_by_second",
    (Figure("correlation", "Correlation of left and right", EDGES),),
    Correlation,
)
