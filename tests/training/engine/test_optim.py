import pytest
import torch
from torch import nn

from training.engine import optim
from training.optimisers import AdamWConfig
from training.recipes import finetune_medium, pretrain_medium


def test_warm_up_is_never_negative_and_reaches_the_peak() -> None:
    config = AdamWConfig(lr=1.0, warmup_steps=4, decay=0.5, decay_every=2)
    rates = [optim.learning_rate(config, step) for step in range(10)]
    assert rates == [0.25, 0.5, 0.75, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_hold_comes_between_warm_up_and_decay() -> None:
    config = AdamWConfig(lr=2.0, warmup_steps=2, hold_steps=5, decay=0.5, decay_every=1)
    rates = [optim.learning_rate(config, step) for step in range(8)]
    assert rates == [1, 2, 2, 2, 2, 2, 1, 0.5]


def test_no_warm_up() -> None:
    assert optim.learning_rate(AdamWConfig(lr=1.0, warmup_steps=0), 0) == 1


def test_the_published_schedules_end_where_they_should() -> None:
    for recipe, share in ((pretrain_medium(), 0.0742), (finetune_medium(), 0.0297)):
        last = optim.learning_rate(recipe.optim, recipe.loop.steps - 1)
        assert last / recipe.optim.lr == pytest.approx(share, abs=2e-4)


def test_only_what_wants_a_gradient_is_optimised() -> None:
    model = nn.Linear(3, 3)
    model.bias.requires_grad_(False)
    optimizer = optim.build(model.parameters(), AdamWConfig())
    assert [p is model.weight for p in optimizer.param_groups[0]["params"]] == [True]
    optim.set_learning_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert isinstance(optimizer, torch.optim.AdamW)
