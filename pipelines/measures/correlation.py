"""Correlation of left and right: 1 where both channels are the same, as in mono sold as stereo."""

import math

import numpy as np

from pipelines.measures.measure import Figure, Kind, Second, Value

DIGITS = 4
PART = 1 << 14
"""Frames that are brought to double precision at a time: so few stay in the processor's cache."""
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
        lefts = rights = products = 0.0
        for start in range(0, len(second.frames), PART):
            # In double precision: sums of singles differ with the way in which they are added.
            left, right = second.frames[start : start + PART].T.astype(np.float64, order="C")
            lefts += float(np.vdot(left, left))
            rights += float(np.vdot(right, right))
            products += float(np.vdot(left, right))
        self._sums += (lefts, rights, products)
        return _correlation(lefts, rights, products)

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
