"""How many operations the whole model takes, and the time that bare matrix products need for them.

`flows.commands.estimates.operations` leaves the band encoder and decoder out, which are small
beside the published separators and half of the demo's.
"""

import torch

from flows.commands.estimates import operations
from training.config import BsLocoformerConfig

BANDS = 62
SIDE = 1024
"""Of the square matrices: large enough for the machine's best rate, small enough for its caches."""


def whole_model(model: BsLocoformerConfig, frames: int) -> float:
    """Return the floating-point operations of one forward pass, encoder and decoder included."""
    bins, width, inner = model.n_fft // 2 + 1, model.width, 4 * model.width
    encoder = 2 * model.audio_channels * bins * width
    hidden = BANDS * (width * inner + inner * inner)
    # Real and imaginary part, each with its gate.
    masks = inner * 4 * model.outputs * model.audio_channels * bins
    return operations(model, frames) + 2.0 * frames * (encoder + hidden + masks)


class MatrixProducts:
    """As many operations as asked for, in float32 products of square matrices."""

    def __init__(self, total: float) -> None:
        self._times = max(1, round(total / (2 * SIDE**3)))
        self._left, self._right = torch.randn(2, SIDE, SIDE)
        self._product = torch.empty(SIDE, SIDE)

    @property
    def operations(self) -> float:
        """What one call computes."""
        return self._times * 2.0 * SIDE**3

    def __call__(self) -> None:
        """Compute them."""
        for _ in range(self._times):
            torch.mm(self._left, self._right, out=self._product)
