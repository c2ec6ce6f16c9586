"""Runs whose rate depends on their validations resume with the rate that they would have had."""

import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from storage.home.runs import Run
from tests.training.conftest import MIXIT, maker_of_runs
from tests.training.jobs.test_train import MakeRun, StopAfter, losses_of, outputs, rows, weights
from tests.training.jobs.test_train_killed import ALONE, reached, running, wait_until
from training.config import TrainConfig
from training.jobs.train import train

PLATEAU = [
    "schedule.kind=plateau", "schedule.warmup_steps=0", "schedule.patience=0",
    # No loss falls so far within a step: each validation but the first lowers the rate.
    "schedule.threshold=50", "loop.validate_every=2", "loop.checkpoint_every=1", "loop.log_every=1",
    "optim.lr=0.01",
]  # fmt: skip


def rates(found: list[dict[str, object]]) -> list[object]:
    return [row["lr"] for row in found if row["kind"] == "train"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, index: Path, songs: Path) -> Run:
    """A run on a plateau that nothing disturbed."""
    make = maker_of_runs(tmp_path_factory.mktemp("straight"), index, songs)
    run = make("straight", "train", MIXIT.override(PLATEAU))
    train(run)
    return run


# The loop looks for a signal at each step and each batch of a validation: 3 is in the midst of the
# first validation, 6 of the second, 7 the step after it.
@pytest.mark.parametrize("stop", [2, 3, 6, 7])
def test_a_plateau_is_remembered_over_a_stop(
    make_run: MakeRun, straight: Run, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    assert rates(rows(straight)) == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.005, 0.005])
    halting = make_run("halting", "train", MIXIT.override(PLATEAU))
    with monkeypatch.context() as patch:
        patch.setattr("training.engine.loop.Interruption", StopAfter)
        patch.setattr(StopAfter, "number", stop)
        with pytest.raises(SystemExit):
            train(halting)
    train(halting)
    assert rows(halting) == rows(straight)
    assert outputs(halting) == outputs(straight)


def test_a_plateau_is_forgotten_with_the_checkpoint_that_knew_of_it(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    """Resumed from before a validation, a run does not have its loss twice."""
    recipe = mixit.override([*PLATEAU, "loop.checkpoint_every=3"])
    straight, hurt = make_run("straight", "train", recipe), make_run("hurt", "train", recipe)
    train(straight)
    train(hurt)
    newest = max(hurt.checkpoints.iterdir())
    (newest / "model.safetensors").write_bytes(b"torn")
    train(hurt)
    assert rows(hurt) == rows(straight)
    assert outputs(hurt) == outputs(straight)


@pytest.mark.slow
def test_a_run_on_a_plateau_is_really_killed(make_run: MakeRun, mixit: TrainConfig) -> None:
    recipe = mixit.override([*PLATEAU, "loop.steps=24"])
    straight, hurt = make_run("straight", "train", recipe), make_run("hurt", "train", recipe)
    train(straight)
    with running(hurt, ALONE) as child:
        wait_until(partial(reached, hurt, 5), child)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    train(hurt)
    assert rows(hurt) == rows(straight)
    assert outputs(hurt) == outputs(straight)


@pytest.mark.parametrize("kind", ["cosine", "constant"])
def test_other_schedules_and_optimisers_train(
    make_run: MakeRun, mixit: TrainConfig, kind: str
) -> None:
    recipe = mixit.override([
        f"schedule.kind={kind}", "schedule.warmup_steps=2", "optim.kind=adam", "loop.log_every=1",
        "optim.weight_decay=0",
    ])  # fmt: skip
    run, other = make_run("run", "train", recipe), make_run("other", "train", mixit)
    train(run)
    train(other)
    expected = {"cosine": [0.5, 1, 1, 0.853553, 0.5, 0.146447], "constant": [0.5, 1, 1, 1, 1, 1]}
    assert rates(rows(run)) == pytest.approx([1e-3 * share for share in expected[kind]], rel=1e-5)
    assert all(torch.isfinite(torch.tensor(losses_of(run))))
    ours, theirs = weights(run), weights(other)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
