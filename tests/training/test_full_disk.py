"""Training on a disk that is really full: what was wrong, in one sentence, and the run goes on."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from storage.errors import MachineError
from storage.home.runs import Run
from tests.small_disk import PAGE, on_small_disks, small_disk
from tests.training.jobs.test_train import MakeRun, outputs, rows
from training.__main__ import main
from training.checkpoints.checkpoint import Checkpoints, Progress, State
from training.config import TrainConfig
from training.jobs.train import train

MB = 1 << 20
SIZE = 200
"""Of a square of weights: 0.16 MB, and twice that of moments."""


def trained(steps: int) -> State:
    torch.manual_seed(0)
    model = nn.Linear(SIZE, SIZE)
    optimizer = AdamW(model.parameters())
    for _ in range(steps):
        torch.autograd.backward(model(torch.ones(1, SIZE)).square().sum())
        optimizer.step()
        optimizer.zero_grad()
    return State(model, optimizer)


def bytes_under(folder: Path) -> int:
    """Return what a folder's files take on a disk: whole pages."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return sum(-(-size // PAGE) * PAGE for size in sizes)


@on_small_disks
def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path: Path) -> None:
    """The library that writes tensors tells of a full disk in words of its own, and as no
    `OSError`."""
    with small_disk(tmp_path / "disk", 4 * MB) as disk:
        checkpoints = Checkpoints(disk.root / "checkpoints", {}, keep_best=1)
        checkpoints.save(Progress(1), trained(1))
        bytes_each = bytes_under(disk.root)
        met = set()
        for room in (0, PAGE, bytes_each // 6, bytes_each // 2, bytes_each - PAGE):
            disk.leave(room)
            with pytest.raises(MachineError, match="no space is left; free some") as caught:
                checkpoints.save(Progress(2), trained(2))
            met |= set(re.findall(r"(\w+)\.safetensors", str(caught.value)))
            assert checkpoints.latest() == 1
            disk.free()
            shutil.rmtree(disk.root / "checkpoints" / ".step-00000002.arriving")
        assert met == {"model", "optimizer"}

        disk.leave(bytes_each // 2)
        with pytest.raises(MachineError):
            checkpoints.save(Progress(2), trained(2))
        disk.free()
        checkpoints.save(Progress(3), trained(3))
        assert checkpoints.latest() == 3
        assert not list((disk.root / "checkpoints").glob(".*")), "as much as it left"


# TensorBoard's own thread dies of it, beside telling us.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@on_small_disks
def test_whatever_of_a_job_finds_no_room(
    tmp_path: Path, make_run: MakeRun, mixit: TrainConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rows, TensorBoard, checkpoints, snapshots, the result: one sentence, and then the same."""
    straight = make_run("straight", "train", mixit.override(["runtime.snapshot_every=100"]))
    train(straight)
    folders = (straight.root, straight.result, straight.tensorboard, straight.root / "snapshots")
    needed, result, events, snapshots = map(bytes_under, folders)
    job = straight.job()
    met = set()
    with small_disk(tmp_path / "disk", 16 * MB) as disk:
        rooms = [0, PAGE, needed // 4]
        # Almost all of the events are what snapshots look and sound like.
        rooms += [needed - result - events - snapshots // 2, needed - result // 2]
        for room in rooms:
            run = Run(disk.root / f"with-{room}")
            run.prepare(job)
            disk.leave(room)
            capfd.readouterr()
            assert main(["train", str(run.root)]) == MachineError.exit_code
            said = capfd.readouterr().err
            errors = re.findall(rf"^error: cannot write {run.root}/(\w+).*: no space is left; free "
                                "some, or use another --home$", said, re.MULTILINE)  # fmt: skip
            assert len(errors) == 1, said
            met |= set(errors)
            disk.free()
            assert main(["train", str(run.root)]) == 0
            assert outputs(run) == outputs(straight)
            assert rows(run) == rows(straight)
            shutil.rmtree(run.root)
    assert {"checkpoints", "snapshots", "result"} <= met
