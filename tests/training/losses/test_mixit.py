from collections.abc import Iterable, Iterator
from itertools import islice, product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from storage.errors import ConfigError
from training.losses import mixit
from training.losses.mixit import Solver, assign, mixit_loss
from training.losses.snr import thresholded_snr_loss

Choice = tuple[Solver, float]
"""How the assignment is chosen, and the threshold in dB."""
EXACT: Choice = ("exact", 30.0)
LSTSQ: Choice = ("lstsq", 30.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def brute_force(estimate: Tensor, mixtures: Tensor) -> Tensor:
    """Lowest loss of every example by summing waveforms for each of the 2^S assignments."""
    lowest = torch.full((len(estimate),), torch.inf, dtype=torch.float64)
    for choices in batched(product((0.0, 1.0), repeat=estimate.shape[1]), 256):
        first_PS = torch.tensor(choices, dtype=torch.float64)
        both = torch.stack([first_PS, 1 - first_PS], 1)
        sums = torch.einsum("pms,bsct->pbmct", both, estimate.double())
        losses = thresholded_snr_loss(sums, mixtures.double()).mean((2, 3))
        lowest = torch.minimum(lowest, losses.amin(0))
    return lowest


def batched(choices: Iterable[tuple[float, ...]], size: int) -> Iterator[list[tuple[float, ...]]]:
    left = iter(choices)
    while some := list(islice(left, size)):
        yield some


def losses_of(assignment: Tensor, estimate: Tensor, mixtures: Tensor) -> Tensor:
    sums = torch.einsum("bms,bsct->bmct", assignment.double(), estimate.double())
    return thresholded_snr_loss(sums, mixtures.double()).mean((1, 2))


def separated(outputs: int, batch: int = 3, leak: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Return estimates [B, S, 2, T], the mixtures they make, and the true first mixture [B, S]."""
    sources = noise(batch, outputs, 2, 400, seed=outputs)
    first = (torch.arange(outputs) % 2 == 0).float().expand(batch, -1)
    mixtures = torch.stack(
        [
            torch.einsum("bs,bsct->bct", first, sources),
            (1 - first)[..., None, None].mul(sources).sum(1),
        ],
        1,
    )
    return sources + leak * noise(*sources.shape, seed=99), mixtures, first


def of_kind(kind: str, outputs: int) -> tuple[Tensor, Tensor]:
    """Return estimates and mixtures, good, bad or degenerate."""
    estimate, mixtures, _ = separated(outputs, leak=0.5)
    if kind == "random":
        estimate = noise(3, outputs, 2, 400, seed=7)
    elif kind == "one alive":
        estimate = estimate * torch.tensor([1.0] + [0.0] * (outputs - 1)).view(1, -1, 1, 1)
    elif kind == "zero":
        estimate = torch.zeros_like(estimate)
    elif kind == "equal":
        estimate = mixtures.sum(1, keepdim=True).expand(-1, outputs, -1, -1) / outputs
    elif kind == "rank 2":
        estimate = torch.einsum("sm,bmct->bsct", noise(outputs, 2, seed=3), mixtures)
    elif kind == "silent mixture":
        mixtures = mixtures * torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    elif kind == "one channel":
        estimate = estimate * torch.tensor([1.0, 0.0]).view(1, 1, 2, 1)
    return estimate, mixtures


KINDS = (
    "separated", "random", "one alive", "zero", "equal", "rank 2", "silent mixture", "one channel",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outputs", range(1, 13))
def test_exact_search_finds_what_brute_force_finds(outputs: int, kind: str) -> None:
    estimate, mixtures = of_kind(kind, outputs)
    assignment = assign(estimate, mixtures, *EXACT)
    assert assignment.shape == (3, 2, outputs)
    assert torch.equal(assignment.sum(1), torch.ones(3, outputs))
    assert set(assignment.flatten().tolist()) <= {0.0, 1.0}
    found, best = losses_of(assignment, estimate, mixtures), brute_force(estimate, mixtures)
    torch.testing.assert_close(found, best, rtol=0, atol=1e-6)
    result = mixit_loss(estimate, mixtures, *EXACT)
    assert result.loss.item() == pytest.approx(best.mean().item(), abs=1e-4)


@pytest.mark.parametrize("outputs", [1, 2, 5, 12])
def test_least_squares_is_its_definition(outputs: int) -> None:
    estimate, mixtures, _ = separated(outputs, leak=2.0)
    first_channel = torch.linalg.lstsq(estimate[:, :, 0].double().mT, mixtures[:, :, 0].double().mT)
    expected = (first_channel.solution[..., 0] >= first_channel.solution[..., 1]).float()
    assert torch.equal(assign(estimate, mixtures, *LSTSQ)[:, 0], expected)


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_outputs_have_finite_losses_and_gradients(kind: str, config: Choice) -> None:
    estimate, mixtures = of_kind(kind, 6)
    estimate = estimate.clone().requires_grad_()
    loss = mixit_loss(estimate, mixtures, *config).loss
    torch.autograd.backward(loss)
    assert loss.isfinite()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("samples", [1, 4_095, 4_096, 9_000])
def test_inner_products_are_summed_over_all_of_time(samples: int) -> None:
    estimate, mixtures = noise(2, 3, 2, samples), noise(2, 2, 2, samples, seed=1)
    rows = torch.cat([estimate, mixtures], 1).double()
    expected = torch.einsum("brct,bqct->bcrq", rows, rows)
    torch.testing.assert_close(mixit._gram(estimate, mixtures), expected, rtol=1e-12, atol=1e-9)


def test_chunked_search_is_the_same_search(monkeypatch: pytest.MonkeyPatch) -> None:
    estimate, mixtures = noise(4, 7, 2, 300), noise(4, 2, 2, 300, seed=1)
    whole = assign(estimate, mixtures, *EXACT)
    monkeypatch.setattr(mixit, "CANDIDATES_AT_ONCE", 5)
    assert torch.equal(assign(estimate, mixtures, *EXACT), whole)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 10_000))
def test_order_of_the_outputs_does_not_matter(order: list[int], seed: int) -> None:
    estimate, mixtures = noise(2, 6, 2, 200, seed=seed), noise(2, 2, 2, 200, seed=seed + 1)
    plain, permuted = (mixit_loss(y, mixtures, *EXACT) for y in (estimate, estimate[:, order]))
    assert permuted.loss.item() == pytest.approx(plain.loss.item(), abs=1e-5)
    assert torch.equal(permuted.assignment, plain.assignment[:, :, order])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000), st.sampled_from([EXACT, LSTSQ]))
def test_order_of_the_mixtures_swaps_the_assignment(
    outputs: int, seed: int, config: Choice
) -> None:
    estimate, mixtures = noise(2, outputs, 2, 200, seed=seed), noise(2, 2, 2, 200, seed=seed + 1)
    plain, swapped = (mixit_loss(estimate, m, *config) for m in (mixtures, mixtures.flip(1)))
    assert swapped.loss.item() == pytest.approx(plain.loss.item(), abs=1e-5)
    assert torch.equal(swapped.assignment, plain.assignment.flip(1))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 100), st.booleans(), st.integers(0, 10_000))
@example(1e-3, False, 1)
@example(1e-3, True, 2)
def test_level_and_polarity_do_not_matter(level: float, flip: bool, seed: int) -> None:
    gain = -level if flip else level
    estimate, mixtures = noise(2, 5, 2, 300, seed=seed), noise(2, 2, 2, 300, seed=seed + 1)
    plain, scaled = (
        mixit_loss(estimate, mixtures, *EXACT),
        mixit_loss(gain * estimate, gain * mixtures, *EXACT),
    )
    assert scaled.loss.item() == pytest.approx(plain.loss.item(), abs=1e-4)
    assert torch.equal(scaled.assignment, plain.assignment)


def test_outputs_of_one_mixture_share_one_gradient() -> None:
    estimate, mixtures, first = separated(6, leak=0.3)
    estimate.requires_grad_()
    torch.autograd.backward(mixit_loss(estimate, mixtures, *EXACT).loss)
    assert estimate.grad is not None
    for side in (first == 1, first == 0):
        same = estimate.grad[side].view(3, 3, 2, 400)
        assert torch.equal(same, same[:, :1].expand_as(same))


def test_gradient_is_that_of_the_sums_of_the_winner() -> None:
    estimate, mixtures = noise(1, 4, 1, 40).double(), noise(1, 2, 1, 40, seed=1).double()
    winner = assign(estimate, mixtures, *EXACT).double()

    def loss_of(candidate: Tensor) -> Tensor:
        sums = torch.einsum("bms,bsct->bmct", winner, candidate)
        return thresholded_snr_loss(sums, mixtures).mean()

    assert torch.autograd.gradcheck(loss_of, (estimate.requires_grad_(),))
    (expected,) = torch.autograd.grad(loss_of(estimate), estimate)
    (ours,) = torch.autograd.grad(mixit_loss(estimate, mixtures, *EXACT).loss, estimate)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_exact_is_never_worse_than_least_squares(outputs: int, seed: int) -> None:
    estimate = noise(2, outputs, 2, 100, seed=seed)
    mixtures = noise(2, 2, 2, 100, seed=seed + 1) + estimate[:, :1]
    exact, heuristic = (mixit_loss(estimate, mixtures, *c).loss.item() for c in (EXACT, LSTSQ))
    assert exact <= heuristic + 1e-5


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
@pytest.mark.parametrize("outputs", [2, 5, 12])
def test_perfect_separation_reaches_the_bound(outputs: int, config: Choice) -> None:
    estimate, mixtures, first = separated(outputs)
    result = mixit_loss(estimate, mixtures, *config)
    assert torch.equal(result.assignment[:, 0], first)
    assert result.loss.item() == pytest.approx(-30.0, abs=1e-3)


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
def test_gradient_flows_to_every_output_but_not_through_the_choice(config: Choice) -> None:
    estimate, mixtures = noise(2, 4, 2, 200).requires_grad_(), noise(2, 2, 2, 200, seed=1)
    result = mixit_loss(estimate, mixtures, *config)
    assert not result.assignment.requires_grad
    torch.autograd.backward(result.loss)
    assert estimate.grad is not None
    assert (estimate.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
def test_dead_and_equal_outputs_and_nan_do_not_raise(config: Choice) -> None:
    mixtures = noise(1, 2, 2, 100)
    for estimate in (torch.zeros(1, 4, 2, 100), torch.ones(1, 4, 2, 100), noise(1, 4, 2, 100)):
        estimate[:, 3] = estimate[:, 2]
        assert mixit_loss(estimate, mixtures, *config).loss.isfinite()
    estimate[0, 0, 0, 0] = torch.nan
    assignment = assign(estimate, mixtures, *config)
    assert torch.equal(assignment.sum(1), torch.ones(1, 4))


def test_autocast_does_not_reach_the_loss() -> None:
    estimate, mixtures, _ = separated(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert mixit_loss(estimate, mixtures, *EXACT).loss.item() == pytest.approx(-30, abs=1e-3)


def test_too_many_outputs_for_the_exact_search_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"solver=lstsq"):
        assign(torch.zeros(1, 21, 1, 8), torch.zeros(1, 2, 1, 8), *EXACT)


def test_the_exact_search_stops_above_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixit, "MOST_OUTPUTS", 3)
    assert assign(noise(1, 3, 1, 8), noise(1, 2, 1, 8), *EXACT).shape == (1, 2, 3)
    with pytest.raises(ConfigError, match="outputs = 4"):
        assign(noise(1, 4, 1, 8), noise(1, 2, 1, 8), *EXACT)


def test_equal_coefficients_go_to_the_first_mixture() -> None:
    silent = torch.zeros(2, 3, 1, 50)
    assert torch.equal(assign(silent, noise(2, 2, 1, 50), *LSTSQ)[:, 0], torch.ones(2, 3))
