import logging
from pathlib import Path

import pytest

from storage.home.runs import Run
from training.engine.telemetry import Telemetry, TrainRow, duration


def row(step: int) -> TrainRow:
    return TrainRow(step, -1.5, 1e-3, 0.5, 0, {"first_mixture_share": 0.5})


def test_rows_say_how_far_and_how_fast(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path)
    with caplog.at_level(logging.INFO), Telemetry(run, 10, 4, leads=True) as telemetry:
        telemetry.begin(0)
        telemetry.stepped(0.0)
        telemetry.train(row(5))
        telemetry.validation(5, {"loss": -2.0, "examples": 8}, 0.1)
    train, validation = run.read_metrics()
    assert train["kind"] == "train"
    assert train["step"], train["steps"] == (5, 10)
    assert train["examples_per_second"] * train["seconds_per_step"] == pytest.approx(4)
    assert 0 <= train["data_wait"] <= 1
    assert validation | {"seconds": 0} == {
        "kind": "validation", "step": 5, "steps": 10, "loss": -2.0, "examples": 8, "seconds": 0,
    }  # fmt: skip
    assert caplog.messages[0].startswith("step 5/10 loss -1.50 lr 1.0e-03 ")
    assert list(run.tensorboard.glob("events.*"))


def test_resuming_removes_what_came_after(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with Telemetry(run, 10, 4, leads=True) as telemetry:
        telemetry.begin(0)
        for step in (2, 4, 6):
            telemetry.train(row(step))
    with run.metrics.open("a") as stream:
        stream.write('{"kind": "train", "st')
    with Telemetry(run, 10, 4, leads=True) as telemetry:
        telemetry.begin(4)
        telemetry.train(row(6))
    assert [each["step"] for each in run.read_metrics()] == [2, 4, 6]
    assert run.metrics.read_text().endswith("}\n")


def test_a_validation_that_its_checkpoint_does_not_know_is_done_and_logged_once(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path)
    for unjudged in (False, True, True):
        with Telemetry(run, 10, 4, leads=True) as telemetry:
            telemetry.begin(4, unjudged)
            if not unjudged:
                telemetry.train(row(4))
            telemetry.validation(4, {"loss": -2.0}, 0.1)
    assert [each["kind"] for each in run.read_metrics()] == ["train", "validation"]


def test_what_is_not_finite_is_text(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with Telemetry(run, 10, 4, leads=True) as telemetry:
        telemetry.begin(0)
        telemetry.skipped(3, float("nan"), float("inf"), ["t1_c2"])
    (skipped,) = run.read_metrics()
    assert skipped == {
        "kind": "skipped", "step": 3, "steps": 10, "loss": "nan", "grad_norm": "inf",
        "first_example": 8, "keys": ["t1_c2"],
    }  # fmt: skip


def test_followers_write_nothing(tmp_path: Path) -> None:
    with Telemetry(Run(tmp_path), 10, 4, leads=False) as telemetry:
        telemetry.begin(0)
        telemetry.train(row(1))
        telemetry.validation(1, {"loss": 0.0}, 0.0)
    assert not list(tmp_path.iterdir())


def test_durations() -> None:
    assert [duration(s) for s in (0.4, 45, 80, 11_100)] == ["0s", "45s", "1m20s", "3h05m"]
