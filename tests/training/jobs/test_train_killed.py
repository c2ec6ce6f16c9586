"""Real processes, really killed: whatever ends them and whenever, the run goes on exactly."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from storage.home.runs import Run
from tests.processes import with_words
from tests.training.jobs.test_train import MakeRun, losses_of, outputs, rows, still, weights
from training.config import TrainConfig
from training.jobs.train import train
from training.models.bs_locoformer.config import BsLocoformerConfig

ROOT = Path(__file__).parents[3]
ALONE = [sys.executable, "-m"]
ENDLESS = ["loop.steps=100000", "loop.validate_every=100000", "loop.log_every=1"]


def together(*words: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", *words, "-m"]


@contextmanager
def running(run: Run, command: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A job in a session of its own, which ends with the block."""
    with run.log.open("ab") as log:
        child = subprocess.Popen(
            [*command, "training", "train", str(run.root)],
            stderr=log, cwd=ROOT, start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def wait_until(so: Callable[[], object], child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not so() and child.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def process_of_rank(root: Path, rank: int) -> int:
    """Find the process of a job by what torchrun put into its environment."""
    for process in with_words(str(root)):
        with suppress(psutil.NoSuchProcess):
            if process.environ().get("RANK") == str(rank):
                return int(process.pid)
    raise AssertionError(f"no process has rank {rank}")


@pytest.mark.slow
def test_killed_at_any_moment_a_run_ends_as_if_nothing_had_been(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    recipe = mixit.override(["loop.steps=30", "loop.validate_every=10", "loop.checkpoint_every=3"])
    recipe = recipe.override(["loop.ema_decay=0.9", "runtime.snapshot_every=20"])
    assert isinstance(recipe.model, BsLocoformerConfig)
    assert recipe.model.dropout > 0, "else nothing random is drawn in a step"
    straight, hurt = make_run("straight", "train", recipe), make_run("hurt", "train", recipe)
    train(straight)
    kills = 0
    while not hurt.result.exists():
        with running(hurt, ALONE) as child:
            if kills < 2:
                step = random.randrange(30)
                wait_until(partial(reached, hurt, step), child)
                time.sleep(random.random() / 20)
                child.kill()
                kills += child.wait() == -signal.SIGKILL
            else:
                assert child.wait(120) == 0, hurt.log.read_text()
    assert outputs(hurt) == outputs(straight)
    assert rows(hurt) == rows(straight)
    assert snapshots(hurt) == snapshots(straight)


def reached(run: Run, step: int) -> bool:
    found = run.read_metrics()
    return bool(found) and found[-1]["step"] >= step


def snapshots(run: Run) -> dict[str, bytes]:
    folder = run.root / "snapshots"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.slow
def test_a_process_that_dies_ends_the_job_and_the_run_goes_on(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    recipe = still(mixit).override(["loop.steps=60", "loop.validate_every=20", "loop.log_every=1"])
    alone, hurt = make_run("alone", "train", recipe), make_run("hurt", "train", recipe)
    command = together("--standalone", "--nproc-per-node=2")
    with running(hurt, command) as child:
        wait_until(lambda: reached(hurt, 7), child)
        os.kill(process_of_rank(hurt.root, 1), signal.SIGKILL)
        assert child.wait(60) != 0
    errors = [line for line in hurt.log.read_text().splitlines() if line.startswith("error: ")]
    assert errors and "lost another of the job's 2 processes" in errors[0], hurt.log.read_text()
    done = max(hurt.checkpoints.iterdir()).name
    assert "arriving" not in done and not hurt.result.exists()
    # Another number of processes takes it up; sums come in another order, so not bitwise.
    train(hurt)
    train(alone)
    assert losses_of(hurt) == pytest.approx(losses_of(alone), abs=0.05)
    assert losses_of(hurt)[:20] == pytest.approx(losses_of(alone)[:20], abs=1e-4)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_with_its_own_code(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    run = make_run("stopped", "train", mixit.override([*ENDLESS, "loop.checkpoint_every=100000"]))
    with running(run, together("--standalone", "--nproc-per-node=2")) as child:
        wait_until(lambda: reached(run, 2), child)
        os.kill(process_of_rank(run.root, 1), signal.SIGTERM)
        assert child.wait(60) != 0
    assert "exitcode  : 143" in run.log.read_text()
    (checkpoint,) = run.checkpoints.iterdir()
    assert int(checkpoint.name.removeprefix("step-")) == run.read_metrics()[-1]["step"]


@pytest.mark.slow
def test_two_nodes_meet_and_learn_what_one_process_does(
    make_run: MakeRun, mixit: TrainConfig
) -> None:
    recipe = still(mixit)
    alone, apart = make_run("alone", "train", recipe), make_run("apart", "train", recipe)
    train(alone)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = together(
        "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=apart",
        f"--rdzv-endpoint=127.0.0.1:{port}", "--local-addr=127.0.0.1",
    )  # fmt: skip
    with running(apart, command) as first, running(apart, command) as second:
        for node in (first, second):
            assert node.wait(120) == 0, apart.log.read_text()
    assert losses_of(apart) == pytest.approx(losses_of(alone), abs=1e-4)
    ours, theirs = weights(apart), weights(alone)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in theirs)
