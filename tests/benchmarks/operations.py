"""The time that bare matrix products need for as many operations as a model takes."""

import torch

SIDE = 1024
"""Of the square matrices: large enough for the machine's best rate, small enough for its caches."""


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
