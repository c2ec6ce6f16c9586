from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from storage.errors import ConfigError
from training.config import MixitObjective
from training.losses import mixit
from training.losses.mixit import assign, mixit_loss
from training.losses.snr import thresholded_snr_loss

EXACT, LSTSQ = MixitObjective(), MixitObjective(solver="lstsq")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def brute_force(estimate: Tensor, mixtures: Tensor) -> Tensor:
    """Lowest loss of every example by summing waveforms for each of the 2^S assignments."""
    losses = []
    for choice in product((0.0, 1.0), repeat=estimate.shape[1]):
        first = torch.tensor(choice).view(1, -1, 1, 1)
        sums = torch.stack([(first * estimate).sum(1), ((1 - first) * estimate).sum(1)], 1)
        losses.append(thresholded_snr_loss(sums.double(), mixtures.double()).mean((1, 2)))
    return torch.stack(losses).amin(0)


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


@pytest.mark.parametrize("kind", ["random", "separated", "collapsed", "zero", "equal"])
@pytest.mark.parametrize("outputs", range(1, 9))
def test_exact_search_finds_what_brute_force_finds(outputs: int, kind: str) -> None:
    estimate, mixtures, _ = separated(outputs, leak=0.5)
    if kind == "random":
        estimate = noise(3, outputs, 2, 400, seed=7)
    elif kind == "collapsed":
        estimate = estimate * torch.tensor([1.0] + [0.0] * (outputs - 1)).view(1, -1, 1, 1)
    elif kind == "zero":
        estimate = torch.zeros_like(estimate)
    elif kind == "equal":
        estimate = mixtures.sum(1, keepdim=True).expand(-1, outputs, -1, -1) / outputs
    assignment = assign(estimate, mixtures, EXACT)
    assert assignment.shape == (3, 2, outputs)
    assert torch.equal(assignment.sum(1), torch.ones(3, outputs))
    assert set(assignment.flatten().tolist()) <= {0.0, 1.0}
    found, best = losses_of(assignment, estimate, mixtures), brute_force(estimate, mixtures)
    torch.testing.assert_close(found, best, rtol=0, atol=1e-6)
    result = mixit_loss(estimate, mixtures, EXACT)
    assert result.loss.item() == pytest.approx(best.mean().item(), abs=1e-4)


def test_chunked_search_is_the_same_search(monkeypatch: pytest.MonkeyPatch) -> None:
    estimate, mixtures = noise(4, 7, 2, 300), noise(4, 2, 2, 300, seed=1)
    whole = assign(estimate, mixtures, EXACT)
    monkeypatch.setattr(mixit, "CANDIDATES_AT_ONCE", 5)
    assert torch.equal(assign(estimate, mixtures, EXACT), whole)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(6)), st.integers(0, 10_000))
def test_order_of_the_outputs_does_not_matter(order: list[int], seed: int) -> None:
    estimate, mixtures = noise(2, 6, 2, 200, seed=seed), noise(2, 2, 2, 200, seed=seed + 1)
    plain, permuted = (mixit_loss(y, mixtures, EXACT) for y in (estimate, estimate[:, order]))
    assert permuted.loss.item() == pytest.approx(plain.loss.item(), abs=1e-5)
    assert torch.equal(permuted.assignment, plain.assignment[:, :, order])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 10_000))
def test_exact_is_never_worse_than_least_squares(outputs: int, seed: int) -> None:
    estimate = noise(2, outputs, 2, 100, seed=seed)
    mixtures = noise(2, 2, 2, 100, seed=seed + 1) + estimate[:, :1]
    exact, heuristic = (mixit_loss(estimate, mixtures, c).loss.item() for c in (EXACT, LSTSQ))
    assert exact <= heuristic + 1e-5


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
@pytest.mark.parametrize("outputs", [2, 5, 12])
def test_perfect_separation_reaches_the_bound(outputs: int, config: MixitObjective) -> None:
    estimate, mixtures, first = separated(outputs)
    result = mixit_loss(estimate, mixtures, config)
    assert torch.equal(result.assignment[:, 0], first)
    assert result.loss.item() == pytest.approx(-30.0, abs=1e-3)


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
def test_gradient_flows_to_every_output_but_not_through_the_choice(config: MixitObjective) -> None:
    estimate, mixtures = noise(2, 4, 2, 200).requires_grad_(), noise(2, 2, 2, 200, seed=1)
    result = mixit_loss(estimate, mixtures, config)
    assert not result.assignment.requires_grad
    torch.autograd.backward(result.loss)
    assert estimate.grad is not None
    assert (estimate.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("config", [EXACT, LSTSQ], ids=["exact", "lstsq"])
def test_dead_and_equal_outputs_and_nan_do_not_raise(config: MixitObjective) -> None:
    mixtures = noise(1, 2, 2, 100)
    for estimate in (torch.zeros(1, 4, 2, 100), torch.ones(1, 4, 2, 100), noise(1, 4, 2, 100)):
        estimate[:, 3] = estimate[:, 2]
        assert mixit_loss(estimate, mixtures, config).loss.isfinite()
    estimate[0, 0, 0, 0] = torch.nan
    assignment = assign(estimate, mixtures, config)
    assert torch.equal(assignment.sum(1), torch.ones(1, 4))


def test_autocast_does_not_reach_the_loss() -> None:
    estimate, mixtures, _ = separated(4)
    with torch.autocast("cpu", torch.bfloat16):
        assert mixit_loss(estimate, mixtures, EXACT).loss.item() == pytest.approx(-30, abs=1e-3)


def test_too_many_outputs_for_the_exact_search_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"solver=lstsq"):
        assign(torch.zeros(1, 21, 1, 8), torch.zeros(1, 2, 1, 8), EXACT)
