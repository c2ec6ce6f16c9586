import math
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.models.bs_locoformer.bands import BandLinear, BandNorm, band_groups, band_widths

PUBLISHED = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)


def test_the_published_table_has_62_bands() -> None:
    assert band_widths(2048, 44_100) == PUBLISHED
    assert len(PUBLISHED) == 62


def test_groups_are_runs_of_equal_width() -> None:
    groups = band_groups(2048, 44_100)
    assert [tuple(group) for group in groups] == [
        (len(list(run)), width) for width, run in groupby(PUBLISHED)
    ]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("n_fft", [64, 512, 1024, 2048, 4096])
def test_bands_cover_every_bin_once(n_fft: int, rate: int) -> None:
    widths = band_widths(n_fft, rate)
    assert sum(widths) == n_fft // 2 + 1
    assert all(width > 0 for width in widths)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 4096), st.integers(1_000, 200_000))
def test_any_transform_and_rate_is_covered(half: int, rate: int) -> None:
    assert sum(band_widths(2 * half, rate)) == half + 1


def test_48_khz_cuts_the_top_in_four() -> None:
    assert band_widths(2048, 48_000)[-4:] == (66, 66, 66, 67)


def test_band_norm_is_a_group_norm_per_band() -> None:
    torch.manual_seed(0)
    norm, x = BandNorm(3, 8), torch.randn(3, 2, 5, 8) * 4 + 1
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    for band in range(3):
        plain = torch.nn.GroupNorm(1, 8)
        plain.weight.data, plain.bias.data = norm.weight[band].flatten(), norm.bias[band].flatten()
        expected = plain(x[band].transpose(1, 2)).transpose(1, 2)
        torch.testing.assert_close(norm(x)[band], expected, rtol=1e-5, atol=1e-5)


def test_band_linear_starts_as_pytorch_linear_layers_do() -> None:
    torch.manual_seed(0)
    linear = BandLinear(4, 25, 500)
    for parameter in linear.parameters():
        assert 0.99 / math.sqrt(25) < parameter.abs().max().item() <= 1 / math.sqrt(25)
    x = torch.randn(4, 3, 25)
    expected = x[1] @ linear.weight[1].T + linear.bias[1]
    torch.testing.assert_close(linear(x)[1], expected)
