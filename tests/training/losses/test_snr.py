import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.losses.snr import supervised_loss, thresholded_snr_loss


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_loss_is_the_formula() -> None:
    reference, estimate = noise(2, 3, 100), noise(2, 3, 100, seed=1)
    loss = thresholded_snr_loss(estimate, reference, 30.0)
    assert loss.shape == (2, 3)
    signal = float((reference[1, 2] ** 2).sum())
    error = float(((reference - estimate)[1, 2] ** 2).sum())
    expected = 10 * math.log10(error + 1e-3 * signal + 1e-8) - 10 * math.log10(signal + 1e-8)
    assert loss[1, 2].item() == pytest.approx(expected, abs=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.floats(5, 60), st.integers(0, 1000))
def test_threshold_bounds_the_loss(threshold: float, seed: int) -> None:
    reference = noise(2, 200, seed=seed)
    perfect = thresholded_snr_loss(reference, reference, threshold)
    torch.testing.assert_close(perfect, torch.full((2,), -threshold), rtol=0, atol=1e-3)
    worse = thresholded_snr_loss(noise(2, 200, seed=seed + 1), reference, threshold)
    assert (worse > perfect).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(5, 60), st.integers(0, 1000))
def test_silence_costs_nothing_but_the_threshold(threshold: float, seed: int) -> None:
    reference = noise(2, 200, seed=seed)
    silent = thresholded_snr_loss(torch.zeros_like(reference), reference, threshold)
    expected = 10 * math.log10(1 + 10 ** (-threshold / 10))
    torch.testing.assert_close(silent, torch.full((2,), expected), rtol=0, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_level_does_not_matter(level: float, seed: int) -> None:
    reference, estimate = noise(2, 200, seed=seed), noise(2, 200, seed=seed + 1)
    plain, scaled = (thresholded_snr_loss(g * estimate, g * reference) for g in (1.0, level))
    torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 0.95), st.floats(0.01, 0.05), st.integers(0, 1000))
def test_a_smaller_error_is_a_smaller_loss(share: float, more: float, seed: int) -> None:
    reference, error = noise(1, 200, seed=seed), noise(1, 200, seed=seed + 1)
    small, large = (
        thresholded_snr_loss(reference + size * error, reference) for size in (share, share + more)
    )
    assert small < large


@pytest.mark.parametrize("silent", [False, True])
def test_gradient_is_that_of_finite_differences(silent: bool) -> None:
    reference, estimate = noise(1, 3, 2, 20).double(), noise(1, 3, 2, 20, seed=1).double()
    if silent:
        reference[:, 1] = 0
    assert torch.autograd.gradcheck(
        lambda y: supervised_loss(y, reference), (estimate.requires_grad_(),)
    )


def test_supervised_loss_without_silence_is_the_mean() -> None:
    reference, estimate = noise(2, 4, 2, 300), noise(2, 4, 2, 300, seed=1)
    expected = thresholded_snr_loss(estimate, reference, 30.0).mean()
    loss = supervised_loss(estimate, reference)
    torch.testing.assert_close(loss, expected)


def test_silent_references_push_the_estimate_down() -> None:
    reference, estimate = noise(1, 2, 1, 300), noise(1, 2, 1, 300, seed=1)
    reference[:, 1] = 0
    estimate = estimate.requires_grad_()
    loss = supervised_loss(estimate, reference, zero_reference_weight=0.5)
    heard = thresholded_snr_loss(estimate[:, :1], reference[:, :1]).mean()
    mixture = float(reference.square().sum())
    energy = float(estimate[0, 1].detach().square().sum())
    silent = 0.5 * 10 * math.log10(energy + 1e-3 * mixture + 1e-8)
    assert loss.item() == pytest.approx((heard.item() + silent) / 2, abs=1e-4)
    torch.autograd.backward(loss)
    assert estimate.grad is not None
    assert (estimate.grad[0, 1] * estimate.detach()[0, 1]).sum() > 0


@pytest.mark.parametrize(("level_db", "active"), [(-59.0, True), (-61.0, False)])
def test_a_reference_is_silent_60_db_below_its_mixture(level_db: float, active: bool) -> None:
    loud = noise(1, 1, 1, 4_000)
    quiet = loud.flip(-1) * 10 ** (level_db / 20)
    reference = torch.cat([loud, quiet], 1)
    loss = supervised_loss(reference, reference)
    mixture = float(reference.sum(1).square().sum())
    energy = float(quiet.square().sum())
    branch = -30.0 if active else 0.1 * 10 * math.log10(energy + 1e-3 * mixture)
    assert loss.item() == pytest.approx((-30.0 + branch) / 2, abs=1e-2)


def test_digital_silence_is_finite_with_a_finite_gradient() -> None:
    estimate = torch.zeros(1, 4, 2, 50, requires_grad=True)
    loss = supervised_loss(estimate, torch.zeros(1, 4, 2, 50))
    assert loss.item() == pytest.approx(0.1 * 10 * math.log10(1e-8), abs=1e-5)
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
