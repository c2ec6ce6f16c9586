from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from storage.errors import CheckpointError
from tests.training.jobs.test_train import MakeRun, weights
from training.checkpoints.ema import MovingAverage
from training.config import TrainConfig
from training.jobs.train import train


def test_it_is_the_plain_recurrence() -> None:
    model = nn.Linear(3, 2)
    ema = MovingAverage(model, decay=0.5)
    expected = model.weight.detach().clone().double()
    for number in range(1, 12):
        with torch.no_grad():
            model.weight.add_(torch.randn(2, 3))
        ema.update(number)
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * model.weight.detach().double()
    assert torch.allclose(ema.state()["weight"].double(), expected, atol=1e-5)


def test_it_stands_in_and_leaves_no_trace() -> None:
    model = nn.Linear(3, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ema = MovingAverage(model, decay=0.9)
    with torch.no_grad():
        model.weight.fill_(7)
    average = {name: value.clone() for name, value in ema.state().items()}
    with pytest.raises(KeyError), ema.standing_in():
        assert torch.equal(model.weight, before["weight"])
        raise KeyError
    assert (model.weight == 7).all()
    assert all(torch.equal(ema.state()[name], value) for name, value in average.items())


def test_what_is_frozen_is_not_followed() -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    assert set(MovingAverage(model, 0.9).state()) == {"weight"}


def test_an_average_of_another_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"ema\.safetensors holds an average of other"):
        MovingAverage(nn.Linear(3, 2), 0.9).restore(
            {"weight": torch.ones(2, 2)}, Path("ema.safetensors")
        )


def test_the_result_is_the_mean_of_the_best_averages(make_run: MakeRun, mixit: TrainConfig) -> None:
    plain, kept = make_run("plain", "train", mixit), None
    train(plain)
    run = make_run("averaged", "train", mixit.override(["loop.ema_decay=0.9"]))
    train(run)
    averages = [load_file(path) for path in sorted(run.checkpoints.glob("*/ema.safetensors"))]
    # Of the steps kept, 3 and 6 were validated; 4 is there to resume from.
    first, *_, last = averages
    kept = {name: (first[name].double() + last[name].double()).float() / 2 for name in first}
    ours, unaveraged = weights(run), weights(plain)
    assert all(torch.allclose(ours[name], value, atol=1e-6) for name, value in kept.items())
    assert any(not torch.allclose(ours[name], unaveraged[name], atol=1e-4) for name in ours)
    validations = [
        [row["loss"] for row in each.read_metrics() if row["kind"] == "validation"]
        for each in (plain, run)
    ]
    assert validations[0] != validations[1], "the average is what is validated"
    trained = [
        [row["loss"] for row in each.read_metrics() if row["kind"] == "train"]
        for each in (plain, run)
    ]
    assert trained[0] == trained[1], "and training does not notice"
