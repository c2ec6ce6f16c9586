"""Whole training runs, tiny: resuming, accumulating, distributing, stopping, failing."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from storage.errors import RunError
from storage.home.runs import Run
from tests.training.conftest import MIXIT, SUPERVISED, maker_of_runs
from training.checkpoints.weights import load_model
from training.config import TrainConfig
from training.data.batches import Batch
from training.distributed import join
from training.engine.guards import Interruption
from training.engine.loop import fit
from training.jobs.train import assemble, train
from training.objectives.objective import Objective, Outcome

MakeRun = Callable[..., Run]
TIMES = ("seconds_per_step", "examples_per_second", "data_wait", "eta_seconds", "seconds")


def rows(run: Run) -> list[dict[str, Any]]:
    """What was logged, without what a clock measured."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in run.read_metrics()]


def weights(run: Run) -> dict[str, Tensor]:
    return load_file(run.model / "model.safetensors")


def still(recipe: TrainConfig) -> TrainConfig:
    """Without dropout, whose draws depend on how a batch is cut."""
    return recipe.override(["model.dropout=0"])


class StopAfter(Interruption):
    """A signal that comes when the loop looks for the `number`th time: at each step, and at each
    batch of a validation. So 3 is a step with a validation to come, 4 is in its midst."""

    number = 0

    def __init__(self) -> None:
        self._asked = 0
        super().__init__()

    @property
    def signal(self) -> int:
        self._asked += 1
        return signal.SIGTERM if self._asked == type(self).number else 0

    @signal.setter
    def signal(self, value: int) -> None:
        pass


@pytest.fixture(scope="module", params=[MIXIT, SUPERVISED], ids=["mixit", "supervised"])
def straight(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory,
    index: Path, songs: Path,
) -> Run:  # fmt: skip
    """A run that nothing disturbed, of each regime."""
    make = maker_of_runs(tmp_path_factory.mktemp("straight"), index, songs)
    run = make("straight", "train", request.param)
    train(run)
    return run


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_stopping_anywhere_and_resuming_changes_nothing(
    make_run: MakeRun, straight: Run, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    recipe = TrainConfig.parse(dict(straight.job().recipe))
    halting = make_run("halting", "train", recipe)
    with monkeypatch.context() as patch:
        patch.setattr("training.engine.loop.Interruption", StopAfter)
        patch.setattr(StopAfter, "number", stop)
        with pytest.raises(SystemExit) as stopped:
            train(halting)
    assert stopped.value.code == 143
    assert not halting.result.exists()
    train(halting)
    assert rows(halting) == rows(straight)
    assert [row["step"] for row in rows(straight) if row["kind"] == "train"] == [2, 4, 6]
    assert [row["step"] for row in rows(straight) if row["kind"] == "validation"] == [3, 6]
    assert outputs(halting) == outputs(straight)


def outputs(run: Run) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in run.outputs().items()}


def test_training_learns(make_run: MakeRun, supervised: TrainConfig) -> None:
    longer = supervised.override(
        ["loop.steps=30", "loop.validate_every=10", "optim.lr=0.02", "schedule.hold_steps=60"]
    )
    run = make_run("learn", "train", longer)
    train(run)
    losses = [row["loss"] for row in rows(run) if row["kind"] == "validation"]
    assert losses[-1] < losses[0] - 0.5


def test_a_finished_run_writes_the_same_result_again(make_run: MakeRun, mixit: TrainConfig) -> None:
    run = make_run("again", "train", mixit)
    train(run)
    before, logged = outputs(run), rows(run)
    assert set(before) == {"model/model.json", "model/model.safetensors"}
    train(run)
    assert outputs(run) == before
    assert rows(run) == logged
    assert load_model(run.model).config == mixit.model


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    hurt = make_run("hurt", "train", mixit)
    train(hurt)
    before, logged = outputs(hurt), rows(hurt)
    newest = max(hurt.checkpoints.iterdir())
    (newest / "model.safetensors").write_bytes(b"torn")
    shutil.rmtree(hurt.result)
    train(hurt)
    assert outputs(hurt) == before
    assert rows(hurt) == logged


def test_accumulating_equals_a_whole_batch(make_run: MakeRun, mixit: TrainConfig) -> None:
    whole = make_run("whole", "train", still(mixit))
    train(whole)
    for micro_batch in (1, 3):
        recipe = still(mixit).override([f"runtime.micro_batch={micro_batch}"])
        pieces = make_run(f"pieces-{micro_batch}", "train", recipe)
        train(pieces)
        assert losses_of(pieces) == pytest.approx(losses_of(whole), abs=1e-4), micro_batch


def losses_of(run: Run) -> list[float]:
    return [row["loss"] for row in rows(run)]


def torchrun(run: Run, processes: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "training", "train", str(run.root)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[3],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=120,
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_see_and_learn_what_one_does(make_run: MakeRun, mixit: TrainConfig) -> None:
    """Of uneven shares; `test_two_nodes_meet_and_learn_what_one_process_does` is of even ones."""
    recipe = still(mixit).override(["data.batch_size=3"])
    alone = make_run("alone", "train", recipe)
    train(alone)
    # One of them accumulates over two passes, and the other over one.
    together = make_run("together", "train", recipe.override(["runtime.micro_batch=1"]))
    done = torchrun(together, 2)
    assert done.returncode == 0, done.stderr
    assert losses_of(together) == pytest.approx(losses_of(alone), abs=1e-4)
    ours, theirs = weights(together), weights(alone)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)


def test_sigterm_writes_a_checkpoint_and_leaves_with_143(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    recipe = mixit.override(
        ["loop.steps=100000", "loop.checkpoint_every=100000", "loop.log_every=1"]
    )
    recipe = recipe.override(["loop.validate_every=100000"])
    run = make_run("stopped", "train", recipe)
    child = subprocess.Popen(
        [sys.executable, "-m", "training", "train", str(run.root)],
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not run.read_metrics() and time.monotonic() < deadline:
        time.sleep(0.1)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143, said
    assert "Traceback" not in said
    (checkpoint,) = run.checkpoints.iterdir()
    assert int(checkpoint.name.removeprefix("step-")) == run.read_metrics()[-1]["step"]


@pytest.mark.slow
def test_torchrun_passes_a_signal_on_and_a_checkpoint_is_left(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    recipe = mixit.override(["loop.steps=100000", "loop.checkpoint_every=100000"])
    run = make_run("group", "train", recipe.override(["loop.validate_every=100000"]))
    child = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "-m", "training", "train",
         str(run.root)],
        stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[3], start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not run.read_metrics() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGTERM)
    assert child.wait(60) != 0
    (checkpoint,) = run.checkpoints.iterdir()
    assert checkpoint.name.startswith("step-")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("regime", ["mixit", "supervised"])
def test_on_a_gpu(make_run: MakeRun, request: pytest.FixtureRequest, regime: str) -> None:
    recipe: TrainConfig = request.getfixturevalue(regime).override(["runtime.device=cuda"])
    run = make_run("gpu", "train", recipe)
    train(run)
    train(run)
    assert len(losses_of(run)) == 5
    assert load_model(run.model).config == recipe.model


class Altered:
    """An objective of which a test alters something."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)


class Diverging(Altered):
    """Losses that are not finite on every second call, or on all."""

    def __init__(self, objective: Objective, every: int) -> None:
        super().__init__(objective)
        self._every, self._calls = every, 0

    def __call__(self, forward: Any, batch: Batch) -> Outcome:
        self._calls += 1
        outcome: Outcome = self._objective(forward, batch)
        if torch.is_grad_enabled() and self._calls % self._every == 0:
            return outcome._replace(loss=outcome.loss * torch.nan)
        return outcome


def diverging_work(make_run: MakeRun, recipe: TrainConfig, every: int) -> tuple[Run, Any]:
    run = make_run("diverging", "train", recipe)
    with join(recipe.runtime) as process:
        work = assemble(run, run.job(), recipe, process)
    return run, dataclasses.replace(
        work,
        objective=Diverging(work.objective, every),  # type: ignore[arg-type]
    )


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    run, work = diverging_work(make_run, mixit, every=2)
    fit(work)
    assert [row["skipped"] for row in rows(run) if row["kind"] == "train"][-1] >= 1
    assert all(value.isfinite().all() for value in work.model.state_dict().values())


def test_a_run_that_diverges_stops_with_advice(make_run: MakeRun, mixit: TrainConfig) -> None:
    _, work = diverging_work(make_run, mixit.override(["loop.steps=100"]), every=1)
    with pytest.raises(RunError, match=r"20 of 20 steps, the last 20 in a row.*lower optim.lr"):
        fit(work)
