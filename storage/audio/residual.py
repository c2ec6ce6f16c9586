"""How far a mixture is from the sum of its stems: one rule for preparing songs and scoring them."""

import math

NOTICEABLE_RESIDUAL = 0.05
"""A residual above this is reported: rounding makes less than a hundredth of it."""


def residual_share(error: float, mixture: float) -> float:
    """Return the RMS of mixture less stems as a share of the mixture's; 0 for digital silence.

    Args:
        error: sum of squares of the mixture less its stems.
        mixture: sum of squares of the mixture.
    """
    return math.sqrt(error / mixture) if mixture else 0.0
