"""What every separator promises, as checks that the tests of each kind of model call."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from storage.errors import ConfigError
from training.losses.mixit import mixit_loss
from training.losses.snr import thresholded_snr_loss
from training.models.separator import Recompute, Separator

LENGTHS = (1, 7, 100, 44_113)


def noise(model: Separator, batch: int, samples: int, seed: int = 1) -> Tensor:
    """Return mixtures [B, 1, C, T] that are the same each time."""
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, model.config.audio_channels, samples, generator=generator)


def keeps_shape_and_type(model: Separator, samples: int) -> None:
    """Any length comes back as it went in: float32, finite, one waveform for each output."""
    x = noise(model, 2, samples)
    with torch.no_grad():
        y = model.eval()(x)
    assert y.shape == (2, model.outputs, model.config.audio_channels, samples)
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    with torch.no_grad():
        assert model(torch.zeros_like(x)).abs().max() < 1e-6


def keeps_its_precision_under_autocast(model: Separator, tolerance: float) -> None:
    """Under bfloat16 autocast the result is float32 and near that without."""
    x = noise(model, 1, 6_001)
    with torch.no_grad():
        expected = model.eval()(x)
        with torch.autocast("cpu", torch.bfloat16):
            y = model(x)
    assert y.dtype == torch.float32
    assert (y - expected).norm() <= tolerance * expected.norm()


def keeps_examples_apart(model: Separator) -> None:
    """An example's result does not depend on its neighbours, and evaluation is deterministic."""
    x = noise(model, 3, 5_001) * torch.tensor([1.0, 10.0, 0.1]).view(3, 1, 1, 1)
    with torch.no_grad():
        together = model.eval()(x)
        assert torch.equal(together, model(x))
        for number in range(3):
            alone = model(x[number : number + 1])
            scale = float(alone.abs().max())
            torch.testing.assert_close(
                together[number : number + 1], alone, rtol=0, atol=1e-4 * scale
            )


def learns(model: Separator, *, all_parameters: bool = True) -> None:
    """MixIT's and a supervised loss send a finite gradient to the parameters."""
    first, second = noise(model, 2, 5_001), 0.5 * noise(model, 2, 5_001, seed=2)
    y = model.train()(first + second)
    torch.autograd.backward(_mixit(y, first, second))
    references = noise(model, 2 * model.outputs, 5_001, seed=3).reshape(y.shape)
    torch.autograd.backward(thresholded_snr_loss(model(first + second), references).mean())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert not all_parameters or parameter.grad.abs().sum() > 0, name


def _mixit(y: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return mixit_loss(y, torch.cat([first, second], dim=1), "exact", 30.0).loss


def chooses_outputs(model: Any, chosen: Sequence[int]) -> None:
    """`with_outputs` gives these outputs of the model, in weights of their own."""
    x = noise(model, 1, 5_001)
    before = torch.get_rng_state()
    fewer = model.eval().with_outputs(chosen)
    assert torch.equal(torch.get_rng_state(), before)
    assert fewer.config == model.config.model_copy(update={"outputs": len(chosen)})
    with torch.no_grad():
        expected = model(x)[:, list(chosen)]
        torch.testing.assert_close(fewer(x), expected, rtol=1e-4, atol=1e-5)
        for parameter in model.parameters():
            parameter.zero_()
        torch.testing.assert_close(fewer(x), expected, rtol=1e-4, atol=1e-5)
    for wrong in ([], [0, model.outputs], [-1]):
        with pytest.raises(ConfigError, match=r"chosen outputs .*: choose one or more of 0 to"):
            model.with_outputs(wrong)


def freezes(model: Any) -> None:
    """Some parameters are held still, others are left, and a step changes only those."""
    held = {id(parameter) for parameter in model.frozen_parameters()}
    named = dict(model.named_parameters())
    assert held <= {id(parameter) for parameter in named.values()}
    assert 0 < len(held) < len(named)
    before = {name: value.detach().clone() for name, value in named.items()}
    for parameter in model.frozen_parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in named.values() if p.requires_grad], lr=0.1)
    torch.autograd.backward(model.train()(noise(model, 1, 5_001)).square().sum())
    optimizer.step()
    for name, parameter in named.items():
        assert torch.equal(parameter, before[name]) == (id(parameter) in held), name


def recomputes(model: Separator) -> None:
    """Whatever is computed anew in the backward pass, outputs and gradients are the same."""
    x, answers = noise(model, 2, 3_001), []
    modes: tuple[Recompute, ...] = ("nothing", "cheap", "everything")
    for mode in modes:
        model.set_recompute(mode)
        model.zero_grad()
        torch.manual_seed(5)
        y = model.train()(x)
        torch.autograd.backward(y.square().sum())
        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        answers.append([y.detach(), *(gradient.clone() for gradient in gradients)])
    for other in answers[1:]:
        assert all(torch.equal(*both) for both in zip(other, answers[0], strict=True))


def counts_its_operations(model: Separator, samples: int) -> float:
    """Return counted operations over those that the config tells; they differ by 5 % at most.

    Called on a fake model, made in a `FakeTensorMode`, it computes nothing.
    """
    x = torch.empty(1, 1, model.config.audio_channels, samples)
    with (
        torch.no_grad(),
        # What the fused kernels of a CPU do is not counted: of attention none is taken, ...
        sdpa_kernel(SDPBackend.MATH),
        # ... and for LSTMs there is the formula.
        FlopCounterMode(
            display=False, custom_mapping={torch.ops.aten.mkldnn_rnn_layer: _lstm}
        ) as counter,
    ):
        model.eval()(x)
    config: Any = model.config
    told = config.operations(samples)
    assert told == pytest.approx(counter.get_total_flops(), rel=0.05)
    return float(counter.get_total_flops() / told)


def _lstm(
    sequence: list[int], inward: list[int], around: list[int], *_: object, **__: object
) -> int:
    """Two for each multiply-accumulate of one layer's gates, in one direction."""
    steps, batch = sequence[:2]
    return 2 * steps * batch * (math.prod(inward) + math.prod(around))


def compiles(model: Any) -> None:
    """Each body is one graph, and the compiled ones give the same sound."""
    x = noise(model, 1, 3_001)
    with torch.no_grad():
        expected = model.eval()(x)
        for body in model.bodies():
            body.compile(backend="eager", fullgraph=True, dynamic=False)
        torch.testing.assert_close(model(x), expected)
