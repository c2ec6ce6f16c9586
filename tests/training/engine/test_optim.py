"""Optimisers against torch's own, step by step."""

import pytest
import torch
from torch import Tensor, nn

from training.engine import optim
from training.optimisers import AdamConfig, AdamSettings, AdamWConfig

RATES = (0.1, 0.02, 0.3, 0.0, 0.05)


def trained(model: nn.Linear, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the weights after a few steps at `RATES`."""
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    for rate in RATES:
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.autograd.backward((model(x) - 1).square().sum())
        optimizer.step()
        optimizer.zero_grad()
    return model.state_dict()


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (AdamWConfig(betas=(0.8, 0.95), weight_decay=0.3), torch.optim.AdamW),
        (AdamConfig(betas=(0.8, 0.95), weight_decay=0.3), torch.optim.Adam),
        (AdamConfig(), torch.optim.Adam),
    ],
)
def test_settings_mean_what_they_mean_to_torch(
    config: AdamSettings, theirs: type[torch.optim.Optimizer]
) -> None:
    model, other = linear(), linear()
    expected = trained(
        other,
        theirs(other.parameters(), betas=config.betas, weight_decay=config.weight_decay),  # type: ignore[call-arg]
    )
    ours = trained(model, optim.build(model.parameters(), config))
    assert all(torch.equal(ours[name], value) for name, value in expected.items())
    assert not torch.equal(ours["weight"], linear().weight)


def test_decay_is_decoupled_in_adamw_alone() -> None:
    results = []
    for config in (AdamWConfig(weight_decay=0.3), AdamConfig(weight_decay=0.3)):
        model = linear()
        results.append(trained(model, optim.build(model.parameters(), config))["weight"])
    decoupled, coupled = results
    assert not torch.allclose(decoupled, coupled)


def test_adam_decays_nothing_unless_asked() -> None:
    assert (AdamConfig().weight_decay, AdamWConfig().weight_decay) == (0.0, 1e-2)


def test_only_what_wants_a_gradient_is_optimised() -> None:
    model = linear()
    model.bias.requires_grad_(False)
    optimizer = optim.build(model.parameters(), AdamWConfig())
    assert [p is model.weight for p in optimizer.param_groups[0]["params"]] == [True]
    optim.set_learning_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert isinstance(optimizer, torch.optim.AdamW)
