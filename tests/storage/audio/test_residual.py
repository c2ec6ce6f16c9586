"""The share of a mixture that its stems do not explain."""

import pytest

from storage.audio.residual import residual_share


@pytest.mark.parametrize(
    ("error", "mixture", "share"),
    [(0.0, 4.0, 0.0), (1.0, 4.0, 0.5), (9.0, 1.0, 3.0), (5.0, 0.0, 0.0)],
)
def test_it_is_a_ratio_of_rms(error: float, mixture: float, share: float) -> None:
    assert residual_share(error, mixture) == share
