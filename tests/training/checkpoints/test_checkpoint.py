import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from storage.errors import CheckpointError
from training.checkpoints.checkpoint import Checkpoints, Progress, State


def model_after(steps: int) -> tuple[nn.Linear, AdamW]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        torch.autograd.backward(model(torch.ones(1, 3)).square().sum())
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def saved(folder: Path, losses: dict[int, float | None], keep_best: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, {"config": "a"}, keep_best)
    for step, loss in losses.items():
        checkpoints.save(Progress(step, [1.5], 2, 1), State(*model_after(step)), loss)
    return checkpoints


def test_best_and_latest_are_kept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, {1: -3.0, 2: -9.0, 3: None, 4: -5.0, 5: -1.0, 6: None})
    assert checkpoints.steps() == [2, 4, 5, 6]
    assert checkpoints.best() == [2, 4]
    weights, chosen = checkpoints.result({"weight", "bias"})
    assert chosen == {"averaged_steps": [2, 4], "validation_losses": [-9.0, -5.0]}
    expected = (model_after(2)[0].weight + model_after(4)[0].weight) / 2
    assert torch.allclose(weights["weight"], expected)
    assert not list(tmp_path.glob(".*"))


def test_resuming_restores_everything(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, {3: None})
    model, optimizer = model_after(0)
    progress = checkpoints.resume(3, State(model, optimizer))
    assert progress == Progress(3, [1.5], 2, 1)
    expected, expected_optimizer = model_after(3)
    assert torch.equal(model.weight, expected.weight)
    ours, theirs = (each.state_dict()["state"] for each in (optimizer, expected_optimizer))
    assert ours.keys() == theirs.keys()
    for number, tensors in theirs.items():
        assert all(torch.equal(ours[number][key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, file: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = saved(tmp_path, {1: None, 2: None})
    victim = tmp_path / "step-00000002" / file
    if damage == "cut":
        victim.write_bytes(victim.read_bytes()[:-9])
    else:
        victim.unlink()
    with caplog.at_level(logging.WARNING):
        assert checkpoints.latest() == 1
    assert "step 2 is passed over" in caplog.text
    checkpoints.save(Progress(2), State(*model_after(2)), None)
    assert checkpoints.latest() == 2


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, {1: None})
    with pytest.raises(CheckpointError, match=r'config: "a" -> "b".*to start again'):
        Checkpoints(tmp_path, {"config": "b"}, 1).latest()


def test_nothing_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "none", {}, 1)
    assert checkpoints.latest() is None
    with pytest.raises(CheckpointError, match="no checkpoint; train first"):
        checkpoints.result({"weight", "bias"})


def test_a_damaged_best_is_named(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, {1: -2.0})
    (tmp_path / "step-00000001" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="missing or damaged"):
        checkpoints.result({"weight", "bias"})


def test_frozen_parameters_have_no_moments(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    optimizer = AdamW([model.weight])
    torch.autograd.backward(model(torch.ones(1, 3)).sum())
    optimizer.step()
    checkpoints = Checkpoints(tmp_path, {}, 1)
    checkpoints.save(Progress(1), State(model, optimizer))
    checkpoints.resume(1, State(model, optimizer))
    with pytest.raises(CheckpointError, match="does not train"):
        checkpoints.resume(1, State(model, AdamW([model.bias])))


def test_a_validation_joins_its_checkpoint_later(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, {1: -9.0, 2: None, 3: None, 4: None}, keep_best=1)
    assert checkpoints.steps() == [1, 3, 4]
    progress = Progress(4, unjudged=False)
    checkpoints.judge(progress, -12.0)
    assert checkpoints.best() == [4]
    assert checkpoints.steps() == [3, 4], "the former best is no longer needed"
    assert checkpoints.latest() == 4
    assert checkpoints.resume(4, State(*model_after(0))) == progress
