"""Against the community's own package: the same weights give the same sound and gradients."""

import pytest
import torch
from torch import Tensor, nn

from tests.training.models.bs_roformer.community_form import oracle_answer, oracle_of
from training.models.bs_roformer.config import MICRO
from training.models.bs_roformer.model import BsRoformer

CASES = [
    {"outputs": 1},
    {"outputs": 4},
    {"outputs": 1, "audio_channels": 1},
    {"outputs": 4, "audio_channels": 1, "blocks": 3, "dense_skips": True},
    {"outputs": 1, "blocks": 3, "dense_skips": True, "time_layers": 2, "mask_layers": 1},
    {"outputs": 2, "band_layers": 2, "mask_layers": 3, "head_width": 12, "heads": 3},
]


def relative(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())


@pytest.mark.parametrize("samples", [4_096, 3_001])
@pytest.mark.parametrize("changes", CASES)
def test_outputs_and_gradients_are_the_packages(changes: dict[str, object], samples: int) -> None:
    # The package's mask networks are four widths wide, always.
    config = type(MICRO).parse(MICRO.model_dump() | {"mask_expansion": 4} | changes)
    oracle = oracle_of(config)
    model = BsRoformer(config).eval()
    model.load_state_dict(oracle.state_dict())
    # The oracle's dense skips follow one example at a time.
    x = 0.3 * torch.randn(1, config.audio_channels, samples)
    expected = oracle_answer(oracle, x)
    ours = model(x.unsqueeze(1))
    assert relative(ours.detach(), expected.detach()) <= 1e-5
    pull = torch.randn_like(expected)
    torch.autograd.backward((ours * pull).sum())
    torch.autograd.backward((expected * pull).sum())
    theirs = gradients(oracle)
    # What is a hundred times smaller than the largest is not asked for more digits than that.
    floor = max(float(gradient.norm()) for gradient in theirs.values()) / 100
    for name, gradient in gradients(model).items():
        size = max(float(theirs[name].norm()), floor)
        assert float((gradient - theirs[name]).norm()) <= 1e-5 * size, name


def gradients(model: nn.Module) -> dict[str, Tensor]:
    named = model.named_parameters()
    return {name: value.grad for name, value in named if value.grad is not None}


def test_the_normalised_transform_changes_nothing() -> None:
    config = MICRO.model_copy(update={"mask_expansion": 4})
    oracle = oracle_of(config, stft_normalized=True)
    model = BsRoformer(config).eval()
    model.load_state_dict(oracle.state_dict())
    x = 0.3 * torch.randn(2, 2, 5_000)
    with torch.no_grad():
        assert relative(model(x.unsqueeze(1)), oracle_answer(oracle, x)) <= 1e-5
