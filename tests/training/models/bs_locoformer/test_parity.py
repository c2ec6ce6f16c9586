"""The fast model against the plain transcription: same weights, same outputs and gradients."""

import pytest
import torch
from torch import Tensor, nn

from tests.training.models.bs_locoformer.transcription import Transcription, copied_from, pairs
from training.models.bs_locoformer.config import LARGE, MEDIUM, SMALL, BsLocoformerConfig
from training.models.bs_locoformer.model import BsLocoformer

TINY = BsLocoformerConfig(
    outputs=3, blocks=2, width=16, hidden=12, kernel=4, heads=2, groups=4, dropout=0.0
)
TOLERANCE = 1e-5
"""Relative error in float32."""


def tiny(**changes: object) -> BsLocoformer:
    torch.manual_seed(0)
    model = BsLocoformer(TINY.model_copy(update=changes))
    # Away from the start values, where ones and zeros would hide a misplaced scale or bias.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def relative_error(ours: Tensor, expected: Tensor) -> float:
    return float(((ours - expected).norm() / expected.norm()).detach())


def gradients(oracle: Transcription, model: BsLocoformer) -> tuple[Tensor, Tensor]:
    """Return all gradients of both as one vector each, in the published order."""
    matched = [(p.grad, grad) for p, grad in pairs(oracle, model, gradient=True)]
    expected = torch.cat([grad.flatten() for grad, _ in matched if grad is not None])
    ours = torch.cat([grad.flatten() for _, grad in matched])
    assert ours.shape == expected.shape
    return ours, expected


def assert_alike(model: BsLocoformer, x: Tensor) -> None:
    """Compare outputs, and the gradients of a random linear function of them."""
    oracle = copied_from(model)
    ours, expected = model(x), oracle(x[:, 0])
    assert ours.shape == expected.shape
    assert relative_error(ours, expected) <= TOLERANCE
    direction = noise(*ours.shape)
    torch.autograd.backward((ours * direction).sum())
    torch.autograd.backward((expected * direction).sum())
    assert relative_error(*gradients(oracle, model)) <= TOLERANCE
    for parameter, grad in pairs(oracle, model, gradient=True):
        assert parameter.grad is not None
        assert relative_error(grad, parameter.grad) <= 1e-3


# Every two of the three settings meet in each of their values.
@pytest.mark.parametrize(
    ("outputs", "keep_last_frame", "tanh"),
    [
        (4, False, "second"),
        (12, True, "second"),
        (4, True, "first"),
        (12, False, "first"),
        (4, False, "both"),
        (12, True, "both"),
    ],
)
def test_every_variant(outputs: int, keep_last_frame: bool, tanh: str) -> None:
    model = tiny(outputs=outputs, keep_last_frame=keep_last_frame, decoder_tanh=tanh)
    assert_alike(model, 0.3 * noise(2, 1, 2, 7_000))


@pytest.mark.parametrize(
    ("samples", "batch"), [(2_049, 1), (4_097, 3), (7_001, 1), (9_215, 3), (10_751, 1)]
)
def test_any_batch_and_odd_lengths(samples: int, batch: int) -> None:
    # Where a length leaves its end to the tail of one window, ours keeps the last frame.
    hollow = samples % 512 > 500
    model = tiny(keep_last_frame=hollow)
    kept = tiny(keep_last_frame=False)
    x = noise(batch, 1, 2, samples)
    assert torch.equal(kept(x), model(x))
    assert_alike(model, x)


@pytest.mark.parametrize(
    "changes",
    [
        dict(audio_channels=1),
        dict(kernel=5),
        dict(kernel=1),
        dict(heads=1, groups=1),
        dict(sample_rate=48_000),
        dict(n_fft=512, hop=160, sample_rate=16_000),
    ],
    ids=lambda changes: "-".join(f"{name}{value}" for name, value in changes.items()),
)
def test_other_shapes(changes: dict[str, int]) -> None:
    model = tiny(keep_last_frame=True, **changes)
    assert_alike(model, noise(2, 1, model.config.audio_channels, 5_003))


@pytest.mark.parametrize("silent", ["right", "example", "beginning"])
def test_silence_in_part_of_the_input(silent: str) -> None:
    x = noise(2, 1, 2, 7_000)
    if silent == "right":
        x[:, :, 1] = 0
    elif silent == "example":
        x[1] = 0
    else:
        x[..., :5_000] = 0
    model = tiny()
    assert_alike(model, x)
    assert not model(x)[x.expand(-1, 3, -1, -1).abs().amax(-1) == 0].any()


def test_digital_silence() -> None:
    model = tiny()
    oracle = copied_from(model)
    x = torch.zeros(1, 1, 2, 7_000)
    ours, expected = model(x), oracle(x[:, 0])
    assert not ours.any()
    assert not expected.any()
    torch.autograd.backward(ours.sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def bfloat16(module: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        y: Tensor = module(x)
    return y


def published(size: BsLocoformerConfig, outputs: int) -> BsLocoformer:
    """Return a model as wide as published; of its blocks, which are all alike, there is one."""
    torch.manual_seed(0)
    return BsLocoformer(size.model_copy(update={"outputs": outputs, "dropout": 0.0, "blocks": 1}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "outputs"),
    [(SMALL, 12), (MEDIUM, 4), (LARGE, 4)],
    ids=["small-12", "medium-4", "large-4"],
)
def test_the_published_sizes(size: BsLocoformerConfig, outputs: int) -> None:
    assert_alike(published(size, outputs), noise(1, 1, 2, 2_561))


@pytest.mark.slow
@torch.no_grad()
def test_a_published_size_in_bfloat16() -> None:
    model, x = published(MEDIUM, 4), noise(1, 1, 2, 2_561)
    oracle = copied_from(model)
    exact = oracle(x[:, 0])
    allowed = relative_error(bfloat16(oracle, x[:, 0]), exact)
    assert 1e-3 < allowed < 0.05
    assert relative_error(bfloat16(model, x), exact) <= 1.25 * allowed


@pytest.mark.parametrize("tanh", ["second", "both"])
def test_bfloat16_is_as_near_to_float32_as_the_published_model(tanh: str) -> None:
    model, x = tiny(decoder_tanh=tanh), noise(1, 1, 2, 5_000)
    oracle = copied_from(model)
    exact = oracle(x[:, 0])
    direction = noise(*exact.shape)
    torch.autograd.backward((exact * direction).sum())
    exact_gradient = torch.cat(
        [p.grad.flatten() for p, _ in pairs(oracle, model) if p.grad is not None]
    )
    oracle.zero_grad()
    ours, theirs = bfloat16(model, x), bfloat16(oracle, x[:, 0])
    assert ours.dtype == torch.float32
    allowed = relative_error(theirs, exact)
    assert 1e-4 < allowed < 0.05
    assert relative_error(ours, exact) <= 1.25 * allowed
    torch.autograd.backward((ours * direction).sum())
    torch.autograd.backward((theirs * direction).sum())
    our_gradient, published_gradient = gradients(oracle, model)
    allowed = relative_error(published_gradient, exact_gradient)
    assert relative_error(our_gradient, exact_gradient) <= 1.25 * allowed
