"""The contract of objectives: levels, inputs and references apart, side products handed on."""

from collections.abc import Callable

import torch
from torch import Tensor

from training.data.batches import Batch
from training.models.bs_locoformer.config import MICRO
from training.models.separator import Separation
from training.objectives.l1.config import L1Objective
from training.objectives.mixit.config import MixitObjective
from training.objectives.objective import Objective, Score, build
from training.objectives.supervised.config import SupervisedObjective

MODEL = MICRO.model_copy(update={"outputs": 4})


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def truth(references_BPCT: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a model that knows the references, at whatever level it is given their sum."""
    mixture_B1CT = references_BPCT.sum(1, keepdim=True)
    return lambda x_BICT: references_BPCT * (x_BICT / mixture_B1CT)


def test_perfect_estimates_reach_the_bound() -> None:
    references = noise(2, 4, 2, 4000)
    supervised = build(SupervisedObjective(), MODEL)
    assert supervised(truth(references), Batch.of_sum(references)).loss < -29.9
    l1 = build(L1Objective(), MODEL)
    assert l1(truth(references), Batch.of_sum(references)).loss < 1e-6


def test_l1_is_the_mean_distance_at_the_mixtures_level() -> None:
    references = noise(2, 4, 2, 4000)
    batch = Batch.of_sum(references)
    outcome = build(L1Objective(), MODEL)(lambda x: x.expand(-1, 4, -1, -1) / 4, batch)
    window = torch.hann_window(2048)
    expected = []
    for mixture, parts in zip(batch.inputs[:, 0], references, strict=True):
        for channel in range(2):
            spectrum = torch.stft(mixture[channel], 2048, 512, window=window, return_complex=True)
            level = spectrum.abs().square().mean().sqrt()
            expected.append((parts[:, channel] - mixture[channel] / 4).abs().mean() / level)
    torch.testing.assert_close(outcome.loss, torch.stack(expected).mean(), rtol=1e-4, atol=0)


def test_mixit_reports_how_outputs_are_shared() -> None:
    references = noise(3, 2, 2, 4000)
    knows = truth(references)
    outcome = build(MixitObjective(), MODEL)(
        lambda x: knows(x).repeat_interleave(2, 1) / 2, Batch.of_sum(references)
    )
    assert outcome.loss < -29.9
    assert outcome.logs["first_mixture_share"] == 0.5


def test_level_does_not_matter() -> None:
    references = noise(2, 4, 2, 4000)
    objective = build(SupervisedObjective(), MODEL)
    losses = [
        objective(lambda x: x.expand(-1, 4, -1, -1) / 4, Batch.of_sum(references * level)).loss
        for level in (1.0, 1e-3)
    ]
    assert torch.allclose(losses[0], losses[1], atol=1e-4)


def test_inputs_need_not_be_the_sum_of_the_references() -> None:
    """What a mixer is given, others' stems beside the mixture, reaches the model unchanged but for
    its level, and the outcome holds it."""
    inputs, references = noise(3, 2, 2, 4000), noise(3, 4, 2, 4000, seed=1)
    seen: list[Tensor] = []

    def forward(x_BICT: Tensor) -> Tensor:
        seen.append(x_BICT)
        return references

    outcome = build(SupervisedObjective(), MODEL)(forward, Batch(inputs, references))
    (given,) = seen
    assert given.shape == (3, 2, 2, 4000)
    assert torch.equal(outcome.inputs, given)
    # One level for each example and channel, that of the first input: ratios stay.
    ratio = given / inputs
    flat = ratio[:, :1, :, :1].expand_as(ratio)
    torch.testing.assert_close(ratio, flat, rtol=1e-5, atol=0)
    torch.testing.assert_close(outcome.references / references, flat[:, :1].expand(-1, 4, -1, -1))


class Sparse(Objective):
    """How much of a mask is open, for what a test counts."""

    def score(self, separation: Separation, references_BPCT: Tensor) -> Score:
        return Score(separation.products["masks"].mean(), {"outputs": separation.waveforms.sum()})


def test_side_products_reach_the_score_with_gradient_and_the_outcome_without() -> None:
    masks = torch.full((2, 4, 5), 0.25, requires_grad=True)
    batch = Batch.of_sum(noise(2, 2, 2, 4000))
    objective = Sparse(MixitObjective(), MODEL)
    outcome = objective(lambda x: Separation(x.expand(-1, 4, -1, -1), {"masks": masks}), batch)
    assert float(outcome.loss.detach()) == 0.25
    torch.autograd.backward(outcome.loss)
    assert masks.grad is not None
    torch.testing.assert_close(masks.grad, torch.full_like(masks, 1 / masks.numel()))
    assert not outcome.separation.products["masks"].requires_grad
    assert torch.equal(outcome.separation.products["masks"], masks)


def test_outputs_are_called_by_their_stems_or_numbered() -> None:
    stems = ("vocals", "rest")
    assert build(SupervisedObjective(), MODEL).output_names(stems) == ["vocals", "rest"]
    assert build(MixitObjective(), MODEL).output_names(()) == [
        f"output-0{number}" for number in range(4)
    ]
